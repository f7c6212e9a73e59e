"""The STI-PA of the suite: what it writes is what it was told to say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.trust_list import TrustList, read_trust_list
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy
from tests.sipp.suite.actions import await_log
from tests.sipp.suite.ends import SippError
from tests.sipp.suite.trust_files import TrustFiles


def listed(directory: Path, former: TrustList | None = None) -> TrustList:
    anchors = TrustAnchors(parse_chain((directory / "sti-pa.pem").read_bytes()))
    return read_trust_list((directory / "ca-list.jws").read_text(), b"", anchors, time.time(), former=former)


def roots(found: TrustList) -> set[x509.Certificate]:
    return set(found.anchors().certificates)


def test_list_gains_and_loses_a_root(tmp_path: Path) -> None:
    policy, other = Hierarchy(time.time()), Hierarchy(time.time(), "Other")
    files = TrustFiles(tmp_path, policy, [])
    files.write()
    first = listed(tmp_path)
    assert roots(first) == {policy.root.certificate}
    files.list_ca(other.root.certificate)
    second = listed(tmp_path, first)
    assert roots(second) == {policy.root.certificate, other.root.certificate}
    files.unlist_ca(policy.root.certificate)
    third = listed(tmp_path, second)
    assert roots(third) == {other.root.certificate}
    assert [found.sequence for found in (first, second, third)] == [1, 2, 3]
    files.break_list()
    with pytest.raises(StirError, match="trust_list_untrusted"):
        listed(tmp_path, third)


def test_crl_has_what_was_revoked(tmp_path: Path) -> None:
    policy = Hierarchy(time.time())
    first, second = policy.service_provider().certificate, policy.service_provider().certificate
    files = TrustFiles(tmp_path, policy, [first])
    files.write()

    def serials() -> set[int]:
        crl = x509.load_pem_x509_crl((tmp_path / "sti.crl").read_bytes())
        return {entry.serial_number for entry in crl}

    assert serials() == {first.serial_number}
    files.revoke(second)
    assert serials() == {first.serial_number, second.serial_number}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca-list.jws", "sti-pa.pem", "sti.crl"]


def test_log_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = ["", "", "crl taken over: number=2 revoked=1\n"]
    await_log(lambda: logs.pop(0), "crl taken over: number=2 ")
    assert logs == []
    monkeypatch.setattr("tests.sipp.suite.actions._LOG_SECONDS", 0.05)
    with pytest.raises(SippError, match="number=3"):
        await_log(lambda: "crl taken over: number=2 revoked=1\n", "number=3")
