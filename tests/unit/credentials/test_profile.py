"""The profile of one CA's certificate, without a path."""

from __future__ import annotations

from cryptography import x509

from kamailio_app.credentials.profile import findings, findings_of_ca

from ..builders import hierarchy, issue, key_usage, provider

ROOT, INTERMEDIATE = hierarchy().root.certificate, hierarchy().intermediate.certificate


def test_ca_of_the_profile_has_no_findings() -> None:
    assert findings_of_ca(ROOT, None) == ()
    assert findings_of_ca(INTERMEDIATE, ROOT) == ()
    assert findings_of_ca(INTERMEDIATE, None) == ()


def test_its_findings_are_those_that_a_path_would_have() -> None:
    plain = issue(None, x509.BasicConstraints(True, None), key_usage(certify=True), name="Plain").certificate
    alone = findings_of_ca(plain, None)
    assert "ATIS-1000080 6.4.1: root's common name is not SHAKEN's" in alone
    assert tuple(each for each in findings((provider().certificate, plain)) if "root's" in each) == alone


def test_another_issuer_is_a_finding() -> None:
    assert findings_of_ca(INTERMEDIATE, provider().certificate) == (
        "ATIS-1000080 6.4.1: issuer's authorityKeyIdentifier is not its issuer's",
    )
