"""What the STI-PA says, in memory that processes share: one writes, nobody reads half of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509

from kamailio_app.credentials.credential import Credential
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.settings import TrustRules
from kamailio_app.runtime.trust import CRL_FILE, LIST_FILE, Sources, Trust, TrustMemory

from ..builders import X5U, authority, evil, hierarchy, issue, pem, refused, request
from .support import LISTS, Host, trust


def test_nothing_is_there_until_it_is_written() -> None:
    assert TrustMemory().read() == (0, Trust())


def test_each_writing_is_another_generation() -> None:
    memory = TrustMemory()
    for number in range(1, 6):
        memory.write(Trust(f"list {number}", "crl\n" * number))
        assert memory.generation == number
        assert memory.read() == (number, Trust(f"list {number}", "crl\n" * number))


def test_other_process_reads_what_was_written() -> None:
    memory = TrustMemory()
    pid = os.fork()
    if pid == 0:
        memory.write(Trust("from the child", ""))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert memory.read() == (1, Trust("from the child", ""))


def test_text_in_use_is_not_written_to() -> None:
    memory = TrustMemory()
    memory.write(Trust("first", ""))
    before = bytes(memory._memory[4096 + (32 << 20) :][:64])
    memory.write(Trust("second", ""))
    assert bytes(memory._memory[4096 + (32 << 20) :][:64]) == before


def test_too_much_is_refused_and_changes_nothing() -> None:
    memory = TrustMemory()
    memory.write(Trust("first", ""))
    with refused("crl_malformed"):
        memory.write(Trust("", "x" * (33 << 20)))
    assert memory.read() == (1, Trust("first", ""))


def test_disk_has_the_last_good_ones(tmp_path: Path) -> None:
    assert Trust.from_disk(tmp_path) == Trust()
    kept = Trust("list", "crl\nend", "place root", "other root")
    kept.to_disk(tmp_path)
    assert Trust.from_disk(tmp_path) == kept
    assert Trust.from_disk(None) == Trust()


def test_memory_has_the_sources_too() -> None:
    memory, kept = TrustMemory(), Trust("list", "crl", "place root", "other root")
    memory.write(kept)
    assert memory.read() == (1, kept)


# --- Whose it is ------------------------------------------------------------------------------------------------


OURS, OTHERS = hierarchy().policy_root.certificate, evil().policy_root.certificate
URL = "https://pa.example.test/"


def kept_by(directory: Path, *roots: x509.Certificate, **rules: Path | str) -> tuple[Trust, TrustRules]:
    """What these rules brought, and the rules."""
    (directory / "pa.pem").write_bytes(pem(*roots))
    named = TrustRules(sti_pa_ca_file=directory / "pa.pem", **rules)  # type: ignore[arg-type]
    sources = Sources.read(named)
    return Trust("list", "crl", sources.trust_list, sources.crl), named


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"trust_list_url": URL + "list", "crl_url": URL + "crl"}, ("list", "crl")),
        ({"trust_list_url": URL + "list", "trust_list_file": Path("x"), "crl_url": URL + "crl"}, ("list", "crl")),
        ({"trust_list_url": URL + "other", "crl_url": URL + "crl"}, ("", "crl")),
        ({"trust_list_url": URL + "list", "crl_url": URL + "other"}, ("list", "")),
        ({"trust_list_url": URL + "list", "crl_file": Path("crl")}, ("list", "")),
        ({"trust_list_file": Path("list")}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_what_came_from_elsewhere_is_not_trusted(
    tmp_path: Path, rules: dict[str, Path | str], expected: tuple[str, str]
) -> None:
    kept, _ = kept_by(tmp_path, OURS, trust_list_url=URL + "list", crl_url=URL + "crl")
    _, named = kept_by(tmp_path, OURS, **rules)
    held = kept.under(named)
    assert held[:2] == expected
    assert [bool(source) for source in held[2:]] == [bool(text) for text in expected]


@pytest.mark.parametrize(
    ("before", "after", "trusted"),
    [
        ((OURS,), (OURS,), True),
        ((OURS,), (OTHERS,), False),
        ((OURS,), (OTHERS, OURS), True),
        ((OTHERS, OURS), (OURS, OTHERS), True),
        ((OTHERS, OURS), (OURS,), False),
        ((OURS,), (), False),
    ],
    ids=["the same", "another", "one more", "another order", "one is gone", "none"],
)
def test_what_another_sti_pa_signed_is_not_trusted(
    tmp_path: Path, before: tuple[x509.Certificate, ...], after: tuple[x509.Certificate, ...], trusted: bool
) -> None:
    places = {"trust_list_file": tmp_path / "list", "crl_file": tmp_path / "crl"}
    kept, _ = kept_by(tmp_path, *before, **places)
    _, named = kept_by(tmp_path, *after, **places)
    assert kept.under(named) == (kept if trusted else Trust())


def test_without_the_file_of_roots_nothing_is_trusted(tmp_path: Path) -> None:
    kept, named = kept_by(tmp_path, OURS, trust_list_url=URL)
    (tmp_path / "pa.pem").unlink()
    assert kept.under(named).trust_list == ""
    assert kept.under(TrustRules(trust_list_url=URL)).trust_list == ""


def test_what_has_no_source_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / LIST_FILE).write_text("list")
    (tmp_path / CRL_FILE).write_text("stirshaken-crl-1 1 2 3\n\nend")
    _, named = kept_by(tmp_path, OURS, trust_list_url=URL, crl_url=URL)
    assert Trust.from_disk(tmp_path).under(named)[:2] == Trust("list", "crl").under(named)[:2] == ("", "")


# --- What it leads to -------------------------------------------------------------------------------------------


def test_revoked_certificate_of_a_ca_that_has_another_costs_no_call(tmp_path: Path) -> None:
    """Of what the repository served, the fetch process keeps what the other path needs."""
    ca = x509.BasicConstraints(ca=True, path_length=None)
    end = x509.BasicConstraints(ca=False, path_length=None)
    roots = [issue(None, ca, name=f"ROOT {number}") for number in range(2)]
    first = issue(roots[0], ca, name="CA")
    second = issue(roots[1], ca, name="CA", key=first.key)
    chain = pem(issue(first, end, authority()).certificate, first.certificate, second.certificate)
    host = Host(tmp_path, trust=LISTS)
    (tmp_path / "trusted.pem").write_bytes(pem(*(root.certificate for root in roots)))
    host.web.answers[X5U] = Download(chain, "")
    service = host.service()
    host.obtain([X5U])
    paths = []
    for revoked in ([], [first.certificate], [second.certificate], [first.certificate, second.certificate]):
        host.trusts(trust(revoked=revoked))
        service.verify(request())
        held = service.credentials.get(X5U, host.clock.now)
        paths.append(held.path_pem.count("BEGIN") if isinstance(held, Credential) else str(held).partition(":")[0])
    assert paths == [2, 2, 2, "credential_revoked"]
    assert host.web.asked == [X5U]
