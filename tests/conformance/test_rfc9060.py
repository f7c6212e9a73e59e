"""RFC 9060: delegate certificates."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lab.pki import Issued, ServiceProvider

from .support import credential, hierarchy, identity, outcome, replace, token

HUNDRED = TNAuthList(ranges=(TelephoneNumberRange("12155550100", 100),))
ONE = TNAuthList(numbers=("12155550121",))


def _delegate(issuer: Issued, authority: TNAuthList = ONE, *, ca: bool = False) -> Issued:
    return hierarchy().service_provider(ServiceProvider(ca=ca, tnauthlist=authority, common_name="Example Shop"), issuer)


def _provider(authority: TNAuthList | None = None) -> Issued:
    return hierarchy().service_provider(ServiceProvider(ca=True, tnauthlist=authority))


def _outcome(issued: Issued) -> str:
    try:
        credential(issued)
    except UnsupportedCredential as error:
        return error.token
    return "valid"


def _changed(issued: Issued, issuer: Issued, kind: type[x509.ExtensionType], value: x509.ExtensionType | None) -> Issued:
    """The certificate with another extension of this kind, or none."""
    old = issued.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), old.serial_number, old.not_valid_before_utc, old.not_valid_after_utc
    )
    for held in old.extensions:
        extension = value if isinstance(held.value, kind) else held.value
        builder = builder if extension is None else builder.add_extension(extension, held.critical)
    return replace(issued, certificate=builder.sign(issuer.key, SHA256()))


@pytest.mark.parametrize("authority", [None, HUNDRED, ONE], ids=["code", "range", "number"])
def test_scope_of_a_delegate_lies_within_its_issuers(authority: TNAuthList | None) -> None:
    """RFC 9060 4: the scope MUST be encompassed by the parent's; a provider code may delegate any number."""
    assert _outcome(_delegate(_provider(authority))) == "valid"


@pytest.mark.parametrize(
    "beyond",
    [
        TNAuthList(numbers=("12155550200",)),
        TNAuthList(spcs=("1234",)),
        TNAuthList(ranges=(TelephoneNumberRange("12155550150", 51),)),
        TNAuthList(ranges=(TelephoneNumberRange("12155550099", 2),)),
        TNAuthList(numbers=("12155550121", "12155550200")),
    ],
)
def test_scope_beyond_the_issuers_is_refused(beyond: TNAuthList) -> None:
    """RFC 9060 4, 5: a delegation that cannot be validated is 437."""
    assert _outcome(_delegate(_provider(HUNDRED), beyond)) == "credential_untrusted"


def test_every_link_of_a_delegation_is_nested() -> None:
    """RFC 9060 4: the scope of each certificate, not only of the last."""
    first = _provider(HUNDRED)
    second = _delegate(first, TNAuthList(ranges=(TelephoneNumberRange("12155550120", 10),)), ca=True)
    assert _outcome(_delegate(second)) == "valid"
    assert _outcome(_delegate(second, TNAuthList(numbers=("12155550130",)))) == "credential_untrusted"
    wider = _delegate(first, TNAuthList(ranges=(TelephoneNumberRange("12155550000", 1000),)), ca=True)
    assert _outcome(_delegate(wider)) == "credential_untrusted"


def test_issuer_of_a_delegate_is_a_ca() -> None:
    """RFC 9060 4: cA is TRUE in a certificate that delegates."""
    assert _outcome(_delegate(hierarchy().service_provider())) == "credential_untrusted"


def test_delegate_ca_signs_no_passports() -> None:
    """RFC 9060 4: only end-entity certificates sign."""
    assert _outcome(_delegate(_provider(HUNDRED), ca=True)) == "credential_usage_forbidden"


def test_delegate_names_the_key_of_its_issuer() -> None:
    """RFC 9060 4: authorityKeyIdentifier MUST be there and be the parent's subjectKeyIdentifier."""
    parent = _provider(HUNDRED)
    delegate = _delegate(parent)
    stranger = x509.AuthorityKeyIdentifier.from_issuer_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    nameless = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(parent.certificate.issuer)], 1)
    for value in (stranger, nameless, None):
        changed = _changed(delegate, parent, x509.AuthorityKeyIdentifier, value)
        assert _outcome(changed) == "credential_untrusted"
    assert _outcome(_changed(delegate, parent, x509.BasicConstraints, x509.BasicConstraints(False, None))) == "valid"


def test_issuer_of_a_delegate_names_its_key() -> None:
    """RFC 9060 4: the parent's subjectKeyIdentifier, without which nothing can be named."""
    intermediate = hierarchy().intermediate
    parent = _changed(_provider(HUNDRED), intermediate, x509.SubjectKeyIdentifier, None)
    delegate = _delegate(parent)
    assert _outcome(delegate) == "credential_untrusted"
    assert _outcome(_changed(delegate, parent, x509.AuthorityKeyIdentifier, None)) == "credential_untrusted"


def test_certificate_of_an_ordinary_ca_needs_no_key_identifiers() -> None:
    """RFC 9060 4 is about delegates: an STI-CA has no TNAuthList (ATIS-1000080 6.4.1 is a matter of the profile)."""
    issued = _changed(hierarchy().service_provider(), hierarchy().intermediate, x509.AuthorityKeyIdentifier, None)
    assert _outcome(issued) == "valid"


def test_delegates_chain_is_served_whole() -> None:
    """RFC 9060 5: x5u returns all certificates, signer first."""
    delegate = _delegate(_provider(HUNDRED))
    assert _outcome(replace(delegate, issuers=delegate.issuers[1:])) == "credential_untrusted"
    assert credential(delegate).path_pem == delegate.chain_pem.decode()
    assert [c.public_bytes(Encoding.PEM) for c in delegate.issuers[1:]] == [hierarchy().intermediate.pem]


@pytest.mark.parametrize(
    ("authority", "expected"), [(ONE, "valid"), (TNAuthList(numbers=("12155550122",)), "tn_not_authorized")]
)
def test_delegate_signs_for_its_numbers_only(authority: TNAuthList, expected: str) -> None:
    """RFC 9060 4: orig has to be in the scope of the certificate that signed."""
    issued = _delegate(_provider(HUNDRED), authority)
    assert outcome(identity(token(key=issued.key)), credential_=credential(issued)) == expected


def test_every_certificate_of_a_delegation_can_be_revoked() -> None:
    """RFC 9060 4, RFC 5280 6.3: the identifiers of the whole path but the anchor."""
    assert len(credential(_delegate(_provider(HUNDRED))).identifiers) == 3
