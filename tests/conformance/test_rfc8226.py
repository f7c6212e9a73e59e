"""RFC 8226 (and RFC 9060, 5280 where it builds on them): STI certificates and their TNAuthList."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import MAX_CHAIN, parse_chain
from kamailio_app.credentials.credential import TrustAnchors, fitness, validate
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList, decode, encode
from kamailio_app.errors import StirError, UnsupportedCredential
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider, expired

from .support import NOW, anchors, hierarchy, provider

PROVIDER = TNAuthList(spcs=("1234",))
Builder = x509.CertificateBuilder


def _outcome(octets: bytes, trusted: TrustAnchors | None = None, now: float = NOW) -> str:
    try:
        validate(octets, anchors() if trusted is None else trusted, now)
    except UnsupportedCredential as error:
        return error.token
    return "valid"


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _issue(
    issuer: Issued,
    name: str,
    *,
    ca: bool | None = False,
    usage: str | None = "digital_signature",
    path_length: int | None = None,
    authority: bytes | None = None,
    extra: Callable[[Builder], Builder] = lambda builder: builder,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | None = None,
    not_after: float = NOW + 86400,
) -> Issued:
    """A certificate with any deviation, also ones no CA would issue."""
    subject_key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(subject_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(NOW - 86400))
        .not_valid_after(_moment(not_after))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    if usage is not None:
        flags = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(**{**flags, usage: True}), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(tnauthlist.OID, authority), critical=False)
    certificate = extra(builder).sign(issuer.key, SHA256())
    held = subject_key if isinstance(subject_key, ec.EllipticCurvePrivateKey) else ec.generate_private_key(ec.SECP256R1())
    return Issued(certificate, held)


def _signer(issuer: Issued | None = None, **deviation: object) -> Issued:
    deviations = {"authority": encode(PROVIDER), **deviation}
    return _issue(issuer or hierarchy().intermediate, "SHAKEN 1234", **deviations)  # type: ignore[arg-type]


def _authority(issuer: Issued | None = None, name: str = "SHAKEN CA", **deviation: object) -> Issued:
    deviations = {"ca": True, "usage": "key_cert_sign", **deviation}
    return _issue(issuer or hierarchy().intermediate, name, **deviations)  # type: ignore[arg-type]


def _file(*certificates: Issued) -> bytes:
    return b"".join(issued.pem for issued in certificates)


# --- Path ---------------------------------------------------------------------------------------------------------


def test_usual_chain_is_valid() -> None:
    """RFC 8226 3, RFC 5280 6.1: signer, intermediate, anchor."""
    assert _outcome(provider().chain_pem) == "valid"
    assert _outcome(_file(_signer(), hierarchy().intermediate)) == "valid"


def test_certificate_in_der_is_read() -> None:
    """RFC 8555 9.1: PEM is right; repositories serve DER, too."""
    der = _signer(hierarchy().root).certificate.public_bytes(Encoding.DER)
    assert _outcome(der) == "valid"


def test_text_around_pem_is_ignored() -> None:
    """RFC 7468 2: text before, line ends of any kind."""
    pem = b"subject=SHAKEN 1234\n\n" + provider().chain_pem.rstrip(b"\n")
    assert _outcome(pem) == "valid"
    assert _outcome(pem.replace(b"\n", b"\r\n")) == "valid"


def test_certificate_of_another_hierarchy_is_untrusted() -> None:
    """RFC 8224 6.2 step 3: no path to an anchor, even with names that are the same."""
    assert _outcome(Hierarchy(NOW).service_provider().chain_pem) == "credential_untrusted"


def test_nothing_is_trusted_without_anchors() -> None:
    """RFC 8224 6.2 step 3."""
    assert _outcome(provider().chain_pem, TrustAnchors([])) == "credential_untrusted"


def test_root_that_is_served_is_no_anchor() -> None:
    """ATIS-1000074 5.3: trust comes from the list, not from the repository."""
    other = Hierarchy(NOW)
    assert _outcome(other.service_provider().chain_pem + other.root.pem) == "credential_untrusted"


def test_self_signed_signer_is_untrusted() -> None:
    """RFC 8224 6.2 step 3."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SHAKEN 1234")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _moment(NOW - 60), _moment(NOW + 60))
    builder = builder.add_extension(x509.UnrecognizedExtension(tnauthlist.OID, encode(PROVIDER)), critical=False)
    assert _outcome(builder.sign(key, SHA256()).public_bytes(Encoding.PEM)) == "credential_untrusted"


def test_missing_intermediate_is_untrusted() -> None:
    """RFC 9060 5: the chain is served whole."""
    assert _outcome(provider().pem) == "credential_untrusted"


def test_order_of_the_file_does_not_matter() -> None:
    """RFC 8555 9.1: signer first; files in the other order exist."""
    ca = _authority()
    signer = _signer(ca)
    chain = (signer, ca, hierarchy().intermediate, hierarchy().root)
    assert _outcome(_file(*chain)) == "valid"
    assert _outcome(_file(*reversed(chain))) == "valid"


def test_first_signer_of_a_file_is_the_signer() -> None:
    """RFC 8555 9.1: of two end-entity certificates the first counts."""
    other = hierarchy().service_provider(ServiceProvider(spc="9999"))
    credential = validate(_file(provider(), other, hierarchy().intermediate), anchors(), NOW)
    assert credential.tnauthlist == PROVIDER
    assert credential.public_key.public_numbers() == provider().key.public_key().public_numbers()


def test_superfluous_certificates_do_no_harm() -> None:
    """RFC 5280 6.1: a path is valid whatever else the file holds, were it expired."""
    old = Hierarchy(NOW - 30 * 365 * 86400)
    assert _outcome(provider().chain_pem + old.root.pem + old.intermediate.pem) == "valid"


def test_service_providers_certificate_issues_no_others() -> None:
    """RFC 5280 6.1.4 (k), RFC 9060 4: otherwise every provider could sign as every other."""
    assert _outcome(_file(_signer(provider()), provider(), hierarchy().intermediate)) == "credential_untrusted"


def test_issuer_without_basic_constraints_is_no_issuer() -> None:
    """RFC 5280 6.1.4 (k): basicConstraints with cA TRUE."""
    issuer = _authority(ca=None)
    assert _outcome(_file(_signer(issuer), issuer, hierarchy().intermediate)) == "credential_untrusted"


def test_issuer_without_key_cert_sign_is_no_issuer() -> None:
    """RFC 5280 6.1.4 (n), ATIS-1000080 6.4.1: keyUsage of an issuer has keyCertSign."""
    issuer = _authority(usage="digital_signature")
    assert _outcome(_file(_signer(issuer), issuer, hierarchy().intermediate)) == "credential_untrusted"


def test_path_length_is_kept() -> None:
    """RFC 5280 6.1.4 (m): pathLenConstraint."""
    first = _authority(name="SHAKEN CA 1", path_length=0)
    second = _authority(first, name="SHAKEN CA 2")
    assert _outcome(_file(_signer(first), first, hierarchy().intermediate)) == "valid"
    assert _outcome(_file(_signer(second), second, first, hierarchy().intermediate)) == "credential_untrusted"


def test_unknown_critical_extension_is_fatal() -> None:
    """RFC 5280 4.2: a certificate with a critical extension that is not understood is refused; others are ignored."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    critical = _signer(extra=lambda builder: builder.add_extension(unknown, critical=True))
    ignored = _signer(extra=lambda builder: builder.add_extension(unknown, critical=False))
    assert _outcome(_file(critical, hierarchy().intermediate)) == "credential_untrusted"
    assert _outcome(_file(ignored, hierarchy().intermediate)) == "valid"


def test_forged_signature_is_untrusted() -> None:
    """RFC 5280 6.1.3 (a) (1): one flipped bit in the issuer's signature."""
    der = bytearray(_signer(hierarchy().root).certificate.public_bytes(Encoding.DER))
    assert _outcome(bytes(der)) == "valid"
    der[-1] ^= 1
    assert _outcome(bytes(der)) == "credential_untrusted"


# --- Time ---------------------------------------------------------------------------------------------------------


def test_validity_has_two_ends() -> None:
    """RFC 8224 6.2 step 4, RFC 5280 4.1.2.5: from notBefore through notAfter, inclusive."""
    chain = hierarchy().service_provider(ServiceProvider(not_before=NOW, not_after=NOW + 10)).chain_pem
    assert _outcome(chain, now=NOW - 1) == "credential_not_yet_valid"
    assert _outcome(chain, now=NOW) == "valid"
    assert _outcome(chain, now=NOW + 10) == "valid"
    assert _outcome(chain, now=NOW + 10.1) == "credential_expired"


def test_expired_signer() -> None:
    """RFC 8224 6.2 step 4."""
    chain = hierarchy().service_provider(expired(ServiceProvider(), NOW)).chain_pem
    assert _outcome(chain) == "credential_expired"


def test_expired_issuer_is_named_as_such() -> None:
    """RFC 5280 6.1.3 (a) (2): every certificate of the path is valid now."""
    issuer = _authority(not_after=NOW - 1)
    assert _outcome(_file(_signer(issuer), issuer, hierarchy().intermediate)) == "credential_expired"


def test_credential_is_valid_as_long_as_its_whole_path() -> None:
    """RFC 5280 6.1: the shortest certificate counts; times for the cache."""
    issuer = _authority(not_after=NOW + 100)
    credential = validate(_file(_signer(issuer), issuer, hierarchy().intermediate), anchors(), NOW)
    assert credential.not_after == NOW + 100
    assert credential.not_before == NOW - 3600  # the root's


# --- What lets a certificate sign ---------------------------------------------------------------------------------


def test_ca_certificate_signs_no_passports() -> None:
    """RFC 9060 4: only end-entity certificates sign."""
    chain = hierarchy().service_provider(ServiceProvider(ca=True)).chain_pem
    assert _outcome(chain) == "credential_usage_forbidden"


def test_certificate_without_tnauthlist_has_no_authority() -> None:
    """RFC 8226 9."""
    chain = hierarchy().service_provider(ServiceProvider(with_tnauthlist=False)).chain_pem
    assert _outcome(chain) == "tnauthlist_missing"


@pytest.mark.parametrize("der", [b"", b"\x05\x00", b"0\x00", b"\x16\x041234", b"\xff" * 20])
def test_certificate_with_a_broken_tnauthlist_has_no_authority(der: bytes) -> None:
    """RFC 8226 9."""
    chain = hierarchy().service_provider(ServiceProvider(tnauthlist=der)).chain_pem
    assert _outcome(chain) == "tnauthlist_malformed"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_key_of_another_kind_is_unsupported(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """RFC 8226 3, RFC 8225 4.2: ES256 needs an elliptic curve key."""
    assert _outcome(_file(_signer(key=key), hierarchy().intermediate)) == "credential_key_unsupported"


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x00", b"<html>not found</html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)
def test_what_is_no_certificate_is_malformed(octets: bytes) -> None:
    """RFC 8224 6.2.2: what was fetched is no credential."""
    assert _outcome(octets) == "credential_malformed"


def test_chain_has_a_bounded_length() -> None:
    """RFC 8224 6.2.2: no signer needs more certificates; a file of thousands costs nothing."""
    assert len(parse_chain(provider().pem * MAX_CHAIN)) == MAX_CHAIN
    assert _outcome(provider().pem * (MAX_CHAIN + 1)) == "credential_malformed"


def _rewritten(old: str, new: str) -> bytes:
    der = _signer().certificate.public_bytes(Encoding.DER)
    assert bytes.fromhex(old) in der
    return der.replace(bytes.fromhex(old), bytes.fromhex(new), 1)


@pytest.mark.parametrize(
    "der",
    [
        _rewritten("a003020102", "a003020101"),  # version 2
        _rewritten("a003020102", "a003020109"),
        _rewritten("551d0e", "551d23"),  # the same extension twice
    ],
)
def test_certificate_that_cannot_be_read_is_malformed(der: bytes) -> None:
    """RFC 5280 4.1.2.1, 4.2: version 3, each extension once."""
    assert _outcome(der) == "credential_malformed"
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) if der[:30].find(b"\xa0\x03\x02\x01\x02") > 0 else b""
    if pem:
        assert _outcome(provider().chain_pem + pem) == "credential_malformed"


def test_general_name_that_cannot_be_read_is_malformed() -> None:
    """RFC 5280 4.2.1.6: ediPartyName."""
    name = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3004a5020500"))
    signer = _signer(extra=lambda builder: builder.add_extension(name, critical=False))
    assert _outcome(_file(signer, hierarchy().intermediate)) == "credential_malformed"


def test_fitness_is_the_same_for_signing() -> None:
    """RFC 8224 6.1: a key is used only with a certificate that verifiers accept."""
    key, authority = fitness(provider().certificate)
    assert key.public_numbers() == provider().key.public_key().public_numbers()
    assert authority == PROVIDER


# --- TNAuthList ---------------------------------------------------------------------------------------------------


def _tlv(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def _list(*entries: bytes) -> bytes:
    return _tlv(0x30, b"".join(entries))


def _spc(text: bytes, tag: int = 0x16) -> bytes:
    return _tlv(0xA0, _tlv(tag, text))


def _one(text: bytes, tag: int = 0x16) -> bytes:
    return _tlv(0xA2, _tlv(tag, text))


def _range(start: bytes, count: bytes) -> bytes:
    return _tlv(0xA1, _tlv(0x30, _tlv(0x16, start) + _tlv(0x02, count)))


def _malformed(der: bytes) -> bool:
    try:
        decode(der)
    except StirError as error:
        return error.token == "tnauthlist_malformed"
    return False


def test_the_three_kinds_of_entry() -> None:
    """RFC 8226 9: spc [0] IA5String, range [1], one [2] TelephoneNumber, with explicit tags."""
    der = _list(_spc(b"1234"), _range(b"12155550000", b"\x64"), _one(b"12155551212"))
    value = TNAuthList(("1234",), (TelephoneNumberRange("12155550000", 100),), ("12155551212",))
    assert decode(der) == value
    assert encode(value) == der


def test_several_entries_of_one_kind() -> None:
    """RFC 8226 9: SEQUENCE SIZE (1..MAX) OF TNEntry."""
    assert decode(_list(_spc(b"1234"), _spc(b"5678"))).spcs == ("1234", "5678")
    assert decode(_list(_one(b"1"), _one(b"#*")))[2] == ("1", "#*")


@pytest.mark.parametrize(
    "der",
    [
        _list(),
        _spc(b"1234"),
        _list(_tlv(0x80, b"1234")),  # implicit tag
        _list(_tlv(0x16, b"1234")),  # no tag
        _list(_spc(b"1234", tag=0x13)),  # PrintableString
        _list(_spc(b"1234", tag=0x0C)),  # UTF8String
        _list(_tlv(0xA3, _tlv(0x16, b"1234"))),  # no such choice
        _list(_spc(b"1234")) + b"\x00",  # something behind it
        _list(_spc(b"1234")) * 2,
        _list(_tlv(0xA0, _tlv(0x16, b"1234") + b"\x05\x00")),  # something in the tag
        b"\x30\x81\x08" + _spc(b"1234"),  # a length longer than it needs to be
        b"\x30\x80" + _spc(b"1234") + b"\x00\x00",  # indefinite length
        _list(_spc(b"1234"))[:-1],
        b"\x31" + _list(_spc(b"1234"))[1:],  # SET
        b"",
    ],
)
def test_anything_else_is_no_tnauthlist(der: bytes) -> None:
    """RFC 8226 9, X.690 10: strict DER."""
    assert _malformed(der)


@pytest.mark.parametrize("spc", [b"", b"119f", b"12 4", b"12-4", b"1" * 17, b"SPC\x00", b"\xc3\x89"])
def test_provider_code_is_digits_and_capitals(spc: bytes) -> None:
    """ATIS-1000080 6.4.1: [0-9A-Z]."""
    assert _malformed(_list(_spc(spc)))


@pytest.mark.parametrize("number", [b"", b"1" * 16, b"+12155551212", b"1215555121a", b"1 2", b"\x00"])
def test_number_is_digits_hash_and_star(number: bytes) -> None:
    """RFC 8226 9: TelephoneNumber ::= IA5String (SIZE (1..15)) (FROM ("0123456789#*"))."""
    assert _malformed(_list(_one(number)))


def test_number_may_have_fifteen_characters() -> None:
    """RFC 8226 9: SIZE (1..15)."""
    assert decode(_list(_one(b"1" * 15))).numbers == ("1" * 15,)


@pytest.mark.parametrize(
    ("start", "count"),
    [
        (b"12155550000", b"\x00"),
        (b"12155550000", b"\x01"),
        (b"12155550000", b"\xff"),  # -1
        (b"12155550000", b"\x00\x64"),  # not minimal
        (b"10", b"\x5a"),  # 10 and 90: 100 has three digits
        (b"10", b"\x5b"),
        (b"9", b"\x02"),
        (b"*67", b"\x02"),
        (b"#1", b"\x02"),
        (b"", b"\x02"),
        (b"1" * 16, b"\x02"),
        (b"121", b"\x7f" + b"\xff" * 80),
    ],
)
def test_range_is_of_numbers_of_one_length(start: bytes, count: bytes) -> None:
    """RFC 8226 9: count INTEGER (2..MAX); start + count MUST be less than 10 to the power of the start's length."""
    assert _malformed(_list(_range(start, count)))


def test_largest_range_of_two_digits() -> None:
    """RFC 8226 9: 10 and 89 is allowed."""
    assert decode(_list(_range(b"10", b"\x59"))).ranges == (TelephoneNumberRange("10", 89),)


def test_count_too_large_to_print_is_malformed() -> None:
    """RFC 8226 9: an INTEGER of thousands of digits."""
    count = b"\x02\x82\x0b\xb9\x7f" + b"\xff" * 3000
    inner = b"\x16\x03121" + count
    for tag in (0x30, 0xA1, 0x30):
        inner = bytes([tag, 0x82]) + len(inner).to_bytes(2, "big") + inner
    assert _malformed(inner)


@pytest.mark.parametrize(
    ("number", "covered"),
    [
        ("12155550000", True),
        ("12155550099", True),
        ("12155550100", False),
        ("12155549999", False),
        ("012155550000", False),
        ("2155550000", False),
        ("12155551212", True),
        ("*67", True),
        ("#67", False),
        ("", False),
    ],
)
def test_range_and_number_cover_what_they_say(number: str, covered: bool) -> None:
    """RFC 8226 9: count numbers beginning with start."""
    value = TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),), numbers=("12155551212", "*67"))
    assert value.covers(number) is covered


def test_range_keeps_leading_zeros() -> None:
    """RFC 8226 9: numbers of the same length as start."""
    value = TNAuthList(ranges=(TelephoneNumberRange("0100", 100),))
    assert value.covers("0199")
    assert not value.covers("199")
    assert not value.covers("0200")


def test_provider_code_covers_every_number() -> None:
    """RFC 8226 9, ATIS-1000080 6.4.1: which numbers a provider has is not in the certificate."""
    assert PROVIDER.covers("12155550121")
