"""ATIS-1000080 6.4.1 and the certificate policy of the US, rule by rule: what is a finding, and a failure if strict."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from kamailio_app.credentials import constraints, tnauthlist
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.profile import findings
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lab.pki import CRL_URL, Issued, ServiceProvider

from .support import NOW, anchors, hierarchy, provider

CHAIN = (provider().certificate, hierarchy().intermediate.certificate, hierarchy().root.certificate)
SIGNER, ISSUER, ROOT = range(3)
POLICY = "2.16.840.1.114569.1.1."
CRL_ISSUER = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "STI-PA CRL")]))
URL = x509.UniformResourceIdentifier(CRL_URL)
RSA_KEY = rsa.generate_private_key(65537, 2048)


def _changed(
    place: int,
    *,
    subject: Mapping[ObjectIdentifier, str] | None = None,
    serial: int = 0,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    signed: tuple[ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, SHA256 | SHA384 | SHA512] | None = None,
    put: tuple[x509.ExtensionType, bool] | None = None,
    drop: ObjectIdentifier | None = None,
) -> tuple[x509.Certificate, ...]:
    """The chain with one certificate issued again with a deviation; `put` takes the place of an extension of its kind."""
    old = CHAIN[place]
    name = x509.Name(
        [
            x509.NameAttribute(attribute.oid, (subject or {}).get(attribute.oid, str(attribute.value)))
            for attribute in old.subject
            if (subject or {}).get(attribute.oid) != ""
        ]
    )
    builder = x509.CertificateBuilder(
        name if place == ROOT else old.issuer,
        name,
        key.public_key() if key else old.public_key(),
        serial or old.serial_number,
        old.not_valid_before_utc,
        old.not_valid_after_utc,
    )
    replaced = drop or (put[0].oid if put else None)
    for held in old.extensions:
        if held.oid != replaced:
            builder = builder.add_extension(held.value, held.critical)
    if put:
        builder = builder.add_extension(*put)
    private_key, algorithm = signed or (hierarchy().intermediate.key, SHA256())
    return (*CHAIN[:place], builder.sign(private_key, algorithm), *CHAIN[place + 1 :])


def _finding(place: int, words: str) -> str:
    return f"ATIS-1000080 6.4.1: {('signer', 'issuer', 'root')[place]}'s {words}"


def _all_but(place: int, **deviation: Any) -> bool:
    return findings(_changed(place, **deviation)) == ()


def test_certificates_of_the_lab_are_of_the_profile() -> None:
    """ATIS-1000080 6.4.1: all of it."""
    assert findings(CHAIN) == ()
    assert validate(provider().chain_pem, anchors(), NOW, strict=True).findings == ()
    assert [_all_but(place) for place in (SIGNER, ISSUER, ROOT)] == [True] * 3


def test_findings_are_told_and_refused_only_if_strict() -> None:
    """ATIS-1000080 6.4.1: one in five common names is another; the operator decides."""
    chain = hierarchy().service_provider(ServiceProvider(common_name="SHAKEN Example 1234")).chain_pem
    found = (_finding(SIGNER, "common name is not SHAKEN's"),)
    assert validate(chain, anchors(), NOW).findings == found
    with pytest.raises(UnsupportedCredential, match=r"credential_profile: ATIS-1000080 6.4.1: signer's common name"):
        validate(chain, anchors(), NOW, strict=True)


@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
@pytest.mark.parametrize("serial", [1, 0x11CA, (1 << 40) - 1])
def test_serial_number_has_64_random_bits(place: int, serial: int) -> None:
    """ATIS-1000080 6.4.1: positive, at least 64 bits of a random generator, at most 20 octets."""
    words = "serial number is not positive, shorter than 64 random bits or longer than 20 octets"
    assert findings(_changed(place, serial=serial)) == (_finding(place, words),)


@pytest.mark.parametrize("serial", [1 << 40, 1 << 63, (1 << 159) - 1])
def test_serial_numbers_that_are_right(serial: int) -> None:
    """ATIS-1000080 6.4.1."""
    assert _all_but(SIGNER, serial=serial)


VERSION_3 = bytes.fromhex("a003020102")


def _with_tbs(place: int, version: bytes, serial: bytes) -> tuple[x509.Certificate, ...]:
    """The chain with another version and INTEGER in one certificate, whose signature is not looked at here."""
    tbs = CHAIN[place].tbs_certificate_bytes
    assert (tbs[1], tbs[4:9]) == (0x82, VERSION_3)
    content = version + (serial or tbs[9 : 11 + tbs[10]]) + tbs[11 + tbs[10] :]
    content = b"\x30\x82" + len(content).to_bytes(2, "big") + content + bytes.fromhex("300a06082a8648ce3d040302030200ff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = x509.load_der_x509_certificate(b"\x30\x82" + len(content).to_bytes(2, "big") + content)
    return (*CHAIN[:place], changed, *CHAIN[place + 1 :])


@pytest.mark.parametrize("octets", [b"\x81" * 20, b"\x00" + b"\x81" * 20, b"\x7f" * 21, b"\x00"], ids=["-", "21", "21+", "0"])
@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
def test_serial_number_that_is_not_positive_or_too_long(place: int, octets: bytes) -> None:
    """ATIS-1000080 6.4.1, RFC 5280 4.1.2.2: positive, at most 20 octets."""
    words = "serial number is not positive, shorter than 64 random bits or longer than 20 octets"
    changed = _with_tbs(place, VERSION_3, bytes([0x02, len(octets)]) + octets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert findings(changed) == (_finding(place, words),)


def test_version_is_3() -> None:
    """ATIS-1000080 6.4.1: others have no extensions."""
    assert _finding(ROOT, "version is not 3") in findings(_with_tbs(ROOT, b"", b""))


@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
def test_signature_is_ecdsa(place: int) -> None:
    """ATIS-1000080 6.4.1: ecdsa-with-SHA256; SHA-384 where the CA's key is on P-384 (certificate policy 1.4, 6.1.5)."""
    words = "signature is not ECDSA with SHA-256 or SHA-384"
    p384 = ec.generate_private_key(ec.SECP384R1())
    assert _all_but(place, signed=(p384, SHA384()))
    assert findings(_changed(place, signed=(RSA_KEY, SHA256()))) == (_finding(place, words),)
    assert findings(_changed(place, signed=(p384, SHA512()))) == (_finding(place, words),)


@pytest.mark.parametrize(
    ("place", "key", "right"),
    [
        (SIGNER, ec.generate_private_key(ec.SECP256R1()), True),
        (SIGNER, ec.generate_private_key(ec.SECP384R1()), False),
        (ISSUER, ec.generate_private_key(ec.SECP384R1()), True),
        (ISSUER, ec.generate_private_key(ec.SECP521R1()), False),
        (ISSUER, RSA_KEY, False),
        (ROOT, ec.generate_private_key(ec.SECP384R1()), True),
        (ROOT, RSA_KEY, False),
    ],
)
def test_key_is_on_its_curve(place: int, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, right: bool) -> None:
    """ATIS-1000080 6.4.1: P-256; a CA may have P-384 (certificate policy 1.4, 6.1.5)."""
    found = findings(_changed(place, key=key))
    assert (_finding(place, "key is not on P-256 (in a CA: or P-384)") not in found) is right


@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
@pytest.mark.parametrize("subject", [{NameOID.COUNTRY_NAME: ""}, {NameOID.ORGANIZATION_NAME: ""}, {NameOID.COUNTRY_NAME: "us"}])
def test_subject_has_country_and_organization(place: int, subject: dict[ObjectIdentifier, str]) -> None:
    """ATIS-1000080 6.4.1: C, two capitals, and O."""
    assert findings(_changed(place, subject=subject)) == (_finding(place, "subject lacks country or organization"),)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        *(
            (SIGNER, name)
            for name in ("", "SHAKEN", "1234", "SHAKEN 5678", "SHAKEN  1234", "SHAKEN Example 1234", "shaken 1234")
        ),
        *((ISSUER, name) for name in ("", "Example Issuing CA")),
        *((ROOT, name) for name in ("", "Example ROOT CA", "SHAKEN CA", "Example SHAKEN R1")),
    ],
)
def test_common_name_is_of_shaken(place: int, name: str) -> None:
    """ATIS-1000080 6.4.1: "SHAKEN <SPC>", with the code of the TNAuthList; a CA's has SHAKEN, a root's ROOT, too."""
    words = "common name is not SHAKEN's"
    assert findings(_changed(place, subject={NameOID.COMMON_NAME: name})) == (_finding(place, words),)


@pytest.mark.parametrize(
    ("place", "name"), [(ISSUER, "Example Shaken CA"), (ROOT, "Example shaken Root"), (ROOT, "ROOT SHAKEN")]
)
def test_case_of_a_cas_name_does_not_matter(place: int, name: str) -> None:
    """ATIS-1000080 6.4.1."""
    assert _all_but(place, subject={NameOID.COMMON_NAME: name})


def _constraints(ca: bool) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca, None)


@pytest.mark.parametrize(
    ("place", "put"),
    [
        (SIGNER, (_constraints(False), False)),
        (SIGNER, (_constraints(True), True)),
        (SIGNER, None),
        (ISSUER, (_constraints(True), False)),
        (ISSUER, (_constraints(False), True)),
        (ROOT, (_constraints(True), False)),
        (ROOT, None),
    ],
)
def test_basic_constraints_are_critical(place: int, put: tuple[x509.ExtensionType, bool] | None) -> None:
    """ATIS-1000080 6.4.1: CA:FALSE for a provider, CA:TRUE for a CA."""
    found = findings(_changed(place, put=put, drop=None if put else x509.BasicConstraints.oid))
    assert found == (_finding(place, "basicConstraints is not critical or has the wrong cA"),)


def _usage(*bits: str) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in bits for name in names})


@pytest.mark.parametrize(
    ("place", "put"),
    [
        (SIGNER, (_usage("digital_signature"), False)),
        (SIGNER, (_usage("digital_signature", "content_commitment"), True)),
        (SIGNER, (_usage("digital_signature", "key_cert_sign"), True)),
        (SIGNER, None),
        (ISSUER, (_usage("key_cert_sign"), False)),
        (ISSUER, (_usage("digital_signature"), True)),
        (ISSUER, (_usage("key_cert_sign", "content_commitment"), True)),
        (ISSUER, (_usage("key_cert_sign", "key_agreement"), True)),
        (ROOT, None),
    ],
)
def test_key_usage_is_critical_and_alone(place: int, put: tuple[x509.ExtensionType, bool] | None) -> None:
    """ATIS-1000080 6.4.1: exactly digitalSignature for a provider; keyCertSign for a CA."""
    found = findings(_changed(place, put=put, drop=None if put else x509.KeyUsage.oid))
    assert found == (_finding(place, "keyUsage is not critical or has other bits than the profile's"),)


def test_key_usage_of_a_ca_in_former_versions() -> None:
    """ATIS-1000080 v003 6.4.1: a CA may have digitalSignature and cRLSign, too."""
    assert _all_but(ISSUER, put=(_usage("key_cert_sign", "digital_signature", "crl_sign"), True))


@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
def test_subject_key_identifier_is_the_keys_hash(place: int) -> None:
    """ATIS-1000080 6.4.1: SHA-1 of the key, 160 bits."""
    words = _finding(place, "subjectKeyIdentifier is not the key's")
    assert words in findings(_changed(place, drop=x509.SubjectKeyIdentifier.oid))
    assert words in findings(_changed(place, put=(x509.SubjectKeyIdentifier(b"1"), False)))


@pytest.mark.parametrize("place", [SIGNER, ISSUER])
def test_authority_key_identifier_is_the_issuers(place: int) -> None:
    """ATIS-1000080 6.4.1: keyIdentifier is the issuer's subjectKeyIdentifier."""
    words = _finding(place, "authorityKeyIdentifier is not its issuer's")
    assert findings(_changed(place, drop=x509.AuthorityKeyIdentifier.oid)) == (words,)
    assert findings(_changed(place, put=(x509.AuthorityKeyIdentifier(b"1", None, None), False))) == (words,)
    assert words in findings(_changed(place + 1, drop=x509.SubjectKeyIdentifier.oid))


def test_authority_key_identifier_of_a_root_is_its_own_if_there_is_one() -> None:
    """ATIS-1000080 6.4.1: optional in a root."""
    assert _all_but(ROOT, drop=x509.AuthorityKeyIdentifier.oid)
    found = findings(_changed(ROOT, put=(x509.AuthorityKeyIdentifier(b"1", None, None), False)))
    assert found == (_finding(ROOT, "authorityKeyIdentifier is not its issuer's"),)


def test_anchor_that_is_no_root_is_judged_as_an_issuer() -> None:
    """RFC 5280 6.1.1 (d): anchors need not be self-signed; whose certificate comes next is not known then."""
    held = validate(provider().pem, TrustAnchors([CHAIN[ISSUER]]), NOW, strict=True)
    assert held.findings == ()
    changed = _changed(ISSUER, drop=x509.AuthorityKeyIdentifier.oid)
    assert findings(changed[:2]) == (_finding(ISSUER, "authorityKeyIdentifier is not its issuer's"),)


def _policies(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids])


@pytest.mark.parametrize("place", [SIGNER, ISSUER])
@pytest.mark.parametrize("version", "1234")
def test_policy_of_any_version(place: int, version: str) -> None:
    """ATIS-1000080 6.4.1: 2.16.840.1.114569.1.1.1 to .4, by the certificate policy's version."""
    assert _all_but(place, put=(_policies(POLICY + version), False))


@pytest.mark.parametrize("place", [SIGNER, ISSUER])
@pytest.mark.parametrize(
    "put",
    [(_policies(f"{POLICY}5"), False), (_policies(f"{POLICY}3", f"{POLICY}4"), False), (_policies(f"{POLICY}4"), True), None],
)
def test_certificate_has_exactly_one_policy(place: int, put: tuple[x509.ExtensionType, bool] | None) -> None:
    """ATIS-1000080 6.4.1: one, not critical."""
    found = findings(_changed(place, put=put, drop=None if put else x509.CertificatePolicies.oid))
    assert found == (_finding(place, "certificatePolicies is not exactly one of SHAKEN's (none in a root)"),)


def test_root_has_no_policy() -> None:
    """ATIS-1000080 6.4.1."""
    found = findings(_changed(ROOT, put=(_policies(f"{POLICY}4"), False)))
    assert found == (_finding(ROOT, "certificatePolicies is not exactly one of SHAKEN's (none in a root)"),)


def _point(
    names: list[x509.GeneralName] | None = None, issuers: list[x509.GeneralName] | None = None
) -> x509.DistributionPoint:
    return x509.DistributionPoint([URL] if names is None else names, None, None, [CRL_ISSUER] if issuers is None else issuers)


@pytest.mark.parametrize("place", [SIGNER, ISSUER])
@pytest.mark.parametrize(
    "points",
    [
        [_point(), _point()],
        [_point([URL, URL])],
        [_point([x509.UniformResourceIdentifier("ldap://pa.example.test")])],
        [_point([x509.DNSName("pa.example.test")])],
        [x509.DistributionPoint([URL], None, None, None)],
        [x509.DistributionPoint(None, None, None, [CRL_ISSUER])],
        [_point(issuers=[CRL_ISSUER, CRL_ISSUER])],
        [_point(issuers=[URL])],
        None,
    ],
    ids=range(9),
)
def test_certificate_says_where_and_whose_the_crl_is(place: int, points: list[x509.DistributionPoint] | None) -> None:
    """ATIS-1000080 6.4.1: one distribution point, one URL, cRLIssuer."""
    put = (x509.CRLDistributionPoints(points), False) if points else None
    found = findings(_changed(place, put=put, drop=None if put else x509.CRLDistributionPoints.oid))
    assert found == (_finding(place, "cRLDistributionPoints is not one URL with cRLIssuer (none in a root)"),)


def test_root_has_no_crl() -> None:
    """ATIS-1000080 6.4.1."""
    found = findings(_changed(ROOT, put=(x509.CRLDistributionPoints([_point()]), False)))
    assert found == (_finding(ROOT, "cRLDistributionPoints is not one URL with cRLIssuer (none in a root)"),)


def _authority(value: TNAuthList) -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(tnauthlist.OID, tnauthlist.encode(value)), False


@pytest.mark.parametrize(
    "value",
    [
        TNAuthList(spcs=("1234", "5678")),
        TNAuthList(("1234",), (TelephoneNumberRange("12155550000", 100),)),
        TNAuthList(("1234",), (), ("12155550121",)),
    ],
)
def test_provider_has_one_code_and_no_numbers(value: TNAuthList) -> None:
    """ATIS-1000080 6.4.1: exactly one SPC."""
    found = findings(_changed(SIGNER, put=_authority(value), drop=tnauthlist.OID))
    assert found == (_finding(SIGNER, "TNAuthList is not one provider code (none in a CA)"),)


@pytest.mark.parametrize("place", [ISSUER, ROOT])
def test_ca_has_no_tnauthlist(place: int) -> None:
    """ATIS-1000080 6.4.1: never in CA certificates; RFC 9060 has it in those that delegate, which strict refuses."""
    found = findings(_changed(place, put=_authority(TNAuthList(spcs=("1234",))), drop=tnauthlist.OID))
    assert found == (_finding(place, "TNAuthList is not one provider code (none in a CA)"),)


def test_certificate_without_tnauthlist_has_findings() -> None:
    """ATIS-1000080 6.4.1: also where the list is asked about a certificate that is no credential."""
    assert findings(_changed(SIGNER, drop=tnauthlist.OID)) == (
        _finding(SIGNER, "common name is not SHAKEN's"),
        _finding(SIGNER, "TNAuthList is not one provider code (none in a CA)"),
    )


@pytest.mark.parametrize("place", [SIGNER, ISSUER, ROOT])
def test_certificate_has_no_other_extensions(place: int) -> None:
    """ATIS-1000080 6.4.1: but authorityInfoAccess is seen and does no harm."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    assert findings(_changed(place, put=(usage, False))) == (_finding(place, "extensions are not of the profile"),)
    access = x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, URL)
    assert _all_but(place, put=(x509.AuthorityInformationAccess([access]), False))


def test_constraints_are_of_the_profile() -> None:
    """RFC 8226 8, RFC 9118: they take from the certificate, and add nothing."""
    for enhanced in (False, True):
        spec = ServiceProvider(constraints=ClaimConstraints(frozenset({"origid"})), enhanced=enhanced)
        issued = hierarchy().service_provider(spec)
        assert validate(issued.chain_pem, anchors(), NOW, strict=True).constraints is not None
    assert constraints.OID != constraints.ENHANCED_OID


def test_delegate_certificates_are_not_of_the_profile() -> None:
    """RFC 9060 4: they are for networks that do not ask for ATIS-1000080 alone."""
    parent = hierarchy().service_provider(ServiceProvider(ca=True))
    number = ServiceProvider(tnauthlist=TNAuthList(numbers=("12155550121",)), common_name="Example Shop")
    delegate: Issued = hierarchy().service_provider(number, parent)
    assert validate(delegate.chain_pem, anchors(), NOW).tnauthlist.numbers == ("12155550121",)
    with pytest.raises(UnsupportedCredential, match="credential_profile"):
        validate(delegate.chain_pem, anchors(), NOW, strict=True)
