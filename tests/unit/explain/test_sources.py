"""Where certificates and trust come from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamailio_app.credentials.credential import validate
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.sources import MAX_FETCHED, Sources
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import Repository
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.disk import CertificateStore, read_kept
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import Settings, parse

from ..builders import X5U, hierarchy, provider, refused


def settings(directory: Path, text: str = "") -> Settings:
    return parse(directory / "stirshaken.toml", text)


def test_file_stands_for_every_url(tmp_path: Path) -> None:
    (tmp_path / "chain.pem").write_bytes(provider().chain_pem)
    sources = Sources(settings(tmp_path), file=tmp_path / "chain.pem")
    assert sources.find(X5U).octets == sources.find("https://x/y").octets == provider().chain_pem
    assert sources.find(X5U).words == str(tmp_path / "chain.pem")


def test_file_that_is_no_certificate_is_no_fault_of_the_signers(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("<html>")
    with pytest.raises(StirError) as caught:
        Sources(settings(tmp_path), file=tmp_path / "notes.txt")
    assert (caught.value.token, caught.value.detail) == (
        "input_unreadable",
        f"{tmp_path}/notes.txt holds no certificate chain",
    )
    assert f"shakenctl inspect {tmp_path}/notes.txt" in caught.value.advice
    (tmp_path / "chain.pem").write_text("<html>")
    error = Sources(settings(tmp_path), directory=tmp_path).find(X5U).error
    assert error
    assert f"shakenctl inspect {tmp_path}/chain.pem" in error.advice


def test_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with refused("input_unreadable"):
        Sources(settings(tmp_path), file=tmp_path / "chain.pem")


def test_directory_has_files_named_like_the_ends_of_urls(tmp_path: Path) -> None:
    (tmp_path / "1234").mkdir()
    (tmp_path / "chain.pem").write_bytes(provider().chain_pem)
    sources = Sources(settings(tmp_path), directory=tmp_path)
    assert sources.find(X5U).octets == provider().chain_pem
    (tmp_path / "1234" / "chain.pem").write_bytes(provider().pem)
    assert sources.find(X5U).octets == provider().pem
    other = sources.find("https://cr.example.test/1234/other.pem")
    assert (other.octets, other.words) == (None, f"not at hand: {tmp_path} has no 1234/other.pem, nor its last part alone")


@pytest.mark.parametrize(
    "path", ["../secret.pem", "a/../../secret.pem", "..", ".hidden", "%2e%2e/secret.pem", "", "a//b", "a\\b"]
)
def test_no_url_leads_out_of_the_directory(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.pem").write_bytes(b"secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / ".hidden").write_bytes(b"secret")
    assert Sources(settings(tmp_path), directory=inside).find(f"https://x/{path}").octets is None


def test_without_anything_nothing_is_at_hand(tmp_path: Path) -> None:
    found = Sources(settings(tmp_path, '[cache]\nstate_dir = ""')).find(X5U)
    assert (found.octets, found.error) == (None, None)
    assert "--fetch" in found.words


def test_what_the_edge_has_kept_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(CertificateStore(tmp_path / "state", 10, lambda text: pytest.fail(text))) as store:
        store.put(X5U, Fetched(1_900_000_000, pem="kept"))
        known = settings(tmp_path, '[cache]\nstate_dir = "state"')
        found = Sources(known).find(X5U)
    assert (found.octets, found.words) == (b"kept", "kept on disk by the edge, until 2030-03-17T17:46:40Z")
    before = {path: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    assert Sources(known).find(X5U).octets == b"kept"
    assert Sources(known).find("https://x/y").octets is None
    assert (tmp_path / "state" / "certificates.sqlite").read_bytes() == before[tmp_path / "state" / "certificates.sqlite"]


def test_store_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    broken = tmp_path / "certificates.sqlite"
    broken.write_bytes(b"no database " * 1000)
    assert read_kept(tmp_path, X5U) is None
    assert broken.read_bytes() == b"no database " * 1000
    assert read_kept(tmp_path / "none", X5U) is None
    assert not (tmp_path / "none").exists()
    assert read_kept(None, X5U) is None


def test_store_that_is_not_ours_to_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    found = Sources(settings(tmp_path, '[cache]\nstate_dir = "."')).find(X5U)
    assert found.octets is None
    assert "is not yours to read" in found.words


# --- Trust ------------------------------------------------------------------------------------------------------


def test_own_anchors_are_trusted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(hierarchy().root.pem)
    trusted = Sources(settings(tmp_path, '[verification]\nca_file = "ca.pem"')).prepare(())
    assert (len(trusted.anchors), trusted.revocations, trusted.remarks) == (1, None, ())


def test_ca_goes_before_what_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(hierarchy().root.pem)
    trusted = Sources(settings(tmp_path, '[verification]\nca_file = "ca.pem"'), ca=tmp_path / "other.pem").prepare(())
    assert len(trusted.anchors) == 1


@pytest.mark.parametrize("octets", [None, b"junk"])
def test_anchors_that_cannot_be_read_are_said(tmp_path: Path, octets: bytes | None) -> None:
    if octets is not None:
        (tmp_path / "ca.pem").write_bytes(octets)
    with refused("option_invalid"):
        Sources(settings(tmp_path, '[verification]\nca_file = "ca.pem"')).prepare(())


def test_no_anchors_are_a_remark(tmp_path: Path) -> None:
    (remark,) = Sources(settings(tmp_path)).prepare(()).remarks
    assert "no certificate can be judged. Give --ca FILE" in remark


# --- Live -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def now_hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture(scope="module")
def repository(now_hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    web = now_hierarchy.web_server(["localhost"])
    with Repository(tmp_path_factory.mktemp("repository"), web, "127.0.0.1", 0, "localhost") as served:
        yield served


@pytest.fixture
def live(tmp_path: Path, repository: Repository, now_hierarchy: Hierarchy) -> Settings:
    (tmp_path / "root.pem").write_bytes(now_hierarchy.root.pem)
    (tmp_path / "pa.pem").write_bytes(now_hierarchy.policy_root.pem)
    lists = f'trust_list_url = "{repository.url("list")}"\ncrl_url = "{repository.url("crl")}"'
    return settings(
        tmp_path,
        f'[x5u]\nx5u_ports = [{repository.port}]\nx5u_tls_ca_file = "root.pem"\nrelax_x5u_private_addresses = true\n'
        f'[trust]\n{lists}\nsti_pa_ca_file = "pa.pem"\n[cache]\nstate_dir = "state"\n[verification]\nca_file = "root.pem"\n',
    )


def test_certificates_are_fetched_under_the_settings_rules(
    live: Settings, repository: Repository, now_hierarchy: Hierarchy
) -> None:
    repository.chains["sp.pem"] = now_hierarchy.service_provider().chain_pem
    url, missing = repository.url("sp.pem"), repository.url("missing.pem")
    sources = Sources(live, live=True)
    trusted = sources.prepare([url, missing, "https://localhost:1/x.pem"])
    found = sources.find(url)
    assert found.octets == repository.chains["sp.pem"]
    assert found.fetched
    assert found.words.startswith("fetched now, Cache-Control: ")
    assert validate(found.octets or b"", trusted.anchors, time.time()).tnauthlist.spcs == ("1234",)
    errors = [sources.find(other).error for other in (missing, "https://localhost:1/x.pem")]
    assert [error.token for error in errors if error] == ["x5u_http_status", "x5u_refused"]
    # The lists are not there: said, and what is trusted is as it was
    assert len(trusted.remarks) == 3
    assert all("trust_unreachable" in remark for remark in trusted.remarks[:2])
    assert not (live.state_dir or Path()).exists()


def test_more_certificates_than_are_fetched_are_not_looked_at(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def fetch(_self: Fetcher, url: str, **_: object) -> StirError:
        asked.append(url)
        return failure("x5u_refused")

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    urls = [f"https://localhost:1/{number}.pem" for number in range(MAX_FETCHED + 1)]
    sources = Sources(live, live=True)
    sources.prepare(urls)
    assert [url for url in asked if url in urls] == urls[:-1]
    assert sources.find(urls[-1]).words == f"not fetched: more than {MAX_FETCHED} certificates"
    last = sources.find(urls[-2]).error
    assert last is not None
    assert last.token == "x5u_refused"


def test_what_the_edge_has_kept_is_at_hand_also_if_it_is_fetched(live: Settings, repository: Repository) -> None:
    kept, other = repository.url("kept.pem"), repository.url("other.pem")
    with closing(CertificateStore(live.state_dir or Path(), 10, lambda text: pytest.fail(text))) as store:
        store.put(kept, Fetched(1_900_000_000, pem="kept"))
    sources = Sources(live, live=True)
    sources.prepare([kept, other])
    assert [sources.find(url).fetched for url in (kept, other)] == [False, True]


def test_files_are_not_fetched(live: Settings, tmp_path: Path, repository: Repository) -> None:
    repository.chains["sp.pem"] = b"from the network"
    (tmp_path / "sp.pem").write_bytes(provider().chain_pem)
    repository.asked.clear()
    sources = Sources(live, live=True, directory=tmp_path, ca=tmp_path / "root.pem")
    assert sources.prepare([repository.url("sp.pem")]).remarks == ()
    assert sources.find(repository.url("sp.pem")).octets == provider().chain_pem
    assert "/sp.pem" not in repository.asked
