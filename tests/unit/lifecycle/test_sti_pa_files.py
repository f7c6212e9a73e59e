"""List, CRL and token as files: verified before they are there, never older than the former one, never in another's place."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_pa import LabStiPa
from kamailio_app.lifecycle.sti_pa import StiPa
from kamailio_app.lifecycle.sti_pa_files import keep_crl, keep_list, keep_token

from ..builders import refused
from .sti_pa import FINGERPRINT, Office, lab, server

SPC = TNAuthList(spcs=("1234",))


@pytest.fixture(scope="module")
def _server() -> Iterator[LabStiPa]:
    with server() as running:
        yield running


@pytest.fixture
def office(_server: LabStiPa, tmp_path: Path) -> Office:
    _server.behave()
    _server.asked.clear()
    return Office(_server, tmp_path)


@pytest.fixture
def client(office: Office) -> Iterator[StiPa]:
    with office.client() as client:
        yield client


def token(client: StiPa, path: Path) -> None:
    keep_token(client, path, "1234", SPC, FINGERPRINT, ca=False, now=time.time())


def names(office: Office) -> list[str]:
    return sorted(path.name for path in office.directory.iterdir())


KEEPERS: dict[str, Callable[[StiPa, Path], object]] = {
    "list": lambda client, path: keep_list(client, path, time.time()),
    "crl": lambda client, path: keep_crl(client, path, time.time()),
    "token": token,
}


def test_list_is_written_as_it_came_and_says_what_is_in_it(office: Office, client: StiPa) -> None:
    path = office.directory / "list"
    kept = keep_list(client, path, time.time())
    assert kept.changed
    assert kept.value.anchors().fingerprints == TrustAnchors([lab().root.certificate]).fingerprints
    assert path.read_text().startswith('{"status": "success", "caList": "')
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names(office) == ["list", "web-roots.pem"]


def test_next_list_takes_its_place_and_an_older_one_does_not(office: Office, client: StiPa) -> None:
    path = office.directory / "list"
    keep_list(client, path, time.time())
    other = Hierarchy(time.time(), "Other").root.certificate
    office.server.list_ca(other)
    kept = keep_list(client, path, time.time())
    assert len(kept.value.anchors()) == 2
    office.server.unlist_ca(other)
    assert len(keep_list(client, path, time.time()).value.anchors()) == 1
    held = path.read_bytes()
    office.server.misbehave("list-rollback")
    with pytest.raises(StirError) as caught:
        keep_list(client, path, time.time())
    sequence = kept.value.sequence
    assert str(caught.value) == f"trust_list_rollback: sequence {sequence} after {sequence + 1}, which is in {path}"
    assert caught.value.advice.endswith(f"{path} stays as it is.")
    assert path.read_bytes() == held


@pytest.mark.parametrize(("fault", "advice"), [("list-expired", "chronyc"), ("list-bad-signature", "Show the STI-PA")])
def test_refused_list_is_told_of_the_file_and_not_of_a_server(office: Office, client: StiPa, fault: str, advice: str) -> None:
    office.server.misbehave(fault)
    with pytest.raises(StirError) as caught:
        keep_list(client, office.directory / "list", time.time())
    assert caught.value.detail
    assert advice in caught.value.advice
    assert caught.value.advice.endswith("list was not written.")
    assert "kamcmd" not in caught.value.advice


def test_crl_is_verified_with_who_signs_the_list(office: Office, client: StiPa) -> None:
    path = office.directory / "crl"
    kept = keep_crl(client, path, time.time())
    assert (kept.changed, kept.value.revoked) == (True, frozenset())
    assert office.server.asked == [
        "GET /download/v1/crl",
        "GET /api/v1/ca-list",
        "GET /download/v1/certificate/sti-pa.crt",
    ]


def test_crl_is_verified_with_a_signer_among_the_roots_at_once(office: Office) -> None:
    anchors = TrustAnchors([lab().policy_root.certificate, lab().policy_signer.certificate])
    with office.client(anchors=anchors) as client:
        keep_crl(client, office.directory / "crl", time.time())
        office.server.misbehave("crl-stale")
        with refused("crl_stale"):
            keep_crl(client, office.directory / "crl", time.time())
    assert office.server.asked == ["GET /download/v1/crl"] * 2


def test_next_crl_takes_its_place_and_an_older_one_does_not(office: Office, client: StiPa) -> None:
    path = office.directory / "crl"
    number = keep_crl(client, path, time.time()).value.number
    office.server.revoke(lab().service_provider().certificate)
    kept = keep_crl(client, path, time.time())
    assert (kept.changed, len(kept.value.revoked), kept.value.number) == (True, 1, number + 1)
    held = path.read_bytes()
    office.server.misbehave("crl-rollback")
    with pytest.raises(StirError) as caught:
        keep_crl(client, path, time.time())
    assert str(caught.value) == f"crl_rollback: number {number} after {number + 1}, which is in {path}"
    assert path.read_bytes() == held


def test_token_is_for_its_owner_alone_and_the_next_takes_its_place(office: Office, client: StiPa) -> None:
    path = office.directory / "spc.token"
    token(client, path)
    first = path.read_text()
    assert first.strip() in office.server.secrets
    path.chmod(0o644)
    token(client, path)
    assert path.read_text() != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("list-expired", "list"),
        ("list-bad-signature", "list"),
        ("list-unknown-signer", "list"),
        ("crl-stale", "crl"),
        ("crl-bad-signature", "crl"),
        ("crl-unknown-signer", "crl"),
        ("token-expired", "token"),
        ("token-bad-signature", "token"),
        ("token-wrong-spc", "token"),
    ],
)
def test_what_is_not_verified_is_never_written(office: Office, client: StiPa, fault: str, name: str) -> None:
    path = office.directory / "file"
    office.server.misbehave(fault)
    with pytest.raises(StirError):
        KEEPERS[name](client, path)
    assert not path.exists()
    office.server.behave()
    KEEPERS[name](client, path)
    held = path.read_bytes()
    office.server.misbehave(fault)
    with pytest.raises(StirError):
        KEEPERS[name](client, path)
    assert path.read_bytes() == held
    assert names(office) == ["file", "web-roots.pem"]


@pytest.mark.parametrize("name", KEEPERS)
@pytest.mark.parametrize(
    "octets",
    [b"", b"[provider]\n", b"\xff\xfe\x00", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b'{"a": 1}', b"a.b.c"],
)
def test_nothing_else_is_written_over_and_nobody_is_asked(office: Office, client: StiPa, name: str, octets: bytes) -> None:
    path = office.directory / "file"
    path.write_bytes(octets)
    with refused("sti_pa_file_foreign"):
        KEEPERS[name](client, path)
    assert path.read_bytes() == octets
    assert office.server.asked == []


def test_each_is_foreign_to_the_others(office: Office, client: StiPa) -> None:
    for name, keep in KEEPERS.items():
        keep(client, office.directory / name)
    for name, keep in KEEPERS.items():
        for other in KEEPERS.keys() - {name}:
            with refused("sti_pa_file_foreign"):
                keep(client, office.directory / other)


@pytest.mark.parametrize("sequence", [True, "7", None])
def test_list_whose_sequence_is_no_number_is_foreign(office: Office, client: StiPa, sequence: object) -> None:
    path = office.directory / "list"
    path.write_text(lab().trust_list(**{"sequence": sequence}))  # type: ignore[arg-type]
    with refused("sti_pa_file_foreign"):
        keep_list(client, path, time.time())


@pytest.mark.parametrize("name", KEEPERS)
def test_file_that_cannot_be_read_or_written_is_said(office: Office, client: StiPa, name: str) -> None:
    with refused("file_unreadable"):
        KEEPERS[name](client, office.directory)
    with refused("file_unwritable"):
        KEEPERS[name](client, office.directory / "absent" / "file")


def test_disk_that_is_full_leaves_the_former_and_nothing_beside_it(
    office: Office, client: StiPa, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = office.directory / "crl"
    keep_crl(client, path, time.time())
    held = path.read_bytes()
    office.server.revoke(lab().service_provider().certificate)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kamailio_app.lifecycle.sti_pa_files.os.fsync", full)
    with refused("file_unwritable"):
        keep_crl(client, path, time.time())
    assert path.read_bytes() == held
    assert names(office) == ["crl", "web-roots.pem"]


def test_same_list_is_no_change(office: Office, client: StiPa, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text = office.directory / "list", client.ca_list()
    monkeypatch.setattr(client, "ca_list", lambda: text)
    assert keep_list(client, path, time.time()).changed
    before = path.stat()
    assert not keep_list(client, path, time.time()).changed
    assert path.stat() == before
