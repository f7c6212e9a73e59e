"""RFC 5280 5 and 6.3: the STI-PA's indirect CRL."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA224, SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, check_revocation, read_crl
from kamailio_app.credentials.names import issuer_key
from kamailio_app.errors import StirError, TrustRefused, UnsupportedCredential
from kamailio_app.lab.pki import Hierarchy, Issued

from .support import NOW, credential, hierarchy, provider

DAY = 86400
_O = NameOID.ORGANIZATION_NAME
LEAF = provider().certificate
INTERMEDIATE = hierarchy().intermediate.certificate
SIGNER = hierarchy().policy_signer
ROOT = hierarchy().policy_root
Builder = x509.CertificateRevocationListBuilder


@cache
def _anchors() -> TrustAnchors:
    return TrustAnchors([ROOT.certificate])


def _read(octets: bytes, *signers: x509.Certificate, now: float = NOW, former: Revocations | None = None) -> Revocations:
    return read_crl(octets, _anchors(), now, signers=signers or [SIGNER.certificate], former=former)


def _outcome(octets: bytes, *signers: x509.Certificate, now: float = NOW, former: Revocations | None = None) -> str:
    try:
        _read(octets, *signers, now=now, former=former)
    except TrustRefused as error:
        return error.token
    return "valid"


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _name(common_name: str, organization: str = "Lab") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _entry(serial: int, *extensions: x509.ExtensionType, critical: bool = True) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(NOW))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.build()


def _of(name: x509.Name) -> x509.CertificateIssuer:
    return x509.CertificateIssuer([x509.DirectoryName(name)])


def _list(
    *entries: x509.RevokedCertificate,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    signer: Issued = SIGNER,
    algorithm: SHA224 | SHA384 | None = None,
) -> bytes:
    """A list in DER with any deviation."""
    builder = Builder(signer.certificate.subject, _moment(NOW), _moment(NOW + DAY))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key, algorithm or SHA256()).public_bytes(Encoding.DER)


def _issued(issuer: Issued, subject: x509.Name, *, usage: x509.KeyUsage | None, key: ec.EllipticCurvePrivateKey) -> Issued:
    """A certificate that may sign CRLs, or not."""
    builder = x509.CertificateBuilder(
        issuer.certificate.subject, subject, key.public_key(), 4711, _moment(NOW - DAY), _moment(NOW + DAY)
    )
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    return Issued(builder.sign(issuer.key, SHA256()), key)


def _usage(*, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, False, crl_sign, False, False)


# --- What is revoked ----------------------------------------------------------------------------------------------


def test_list_revokes_what_it_names() -> None:
    """RFC 5280 5.1.2.6, 5.3.3: serial number and issuer."""
    held = _read(hierarchy().crl([LEAF]))
    assert held.revoked == {f"{issuer_key(LEAF.issuer)} {LEAF.serial_number:x}"}
    assert (held.this_update, held.next_update, held.number) == (NOW, NOW + 7 * DAY, 1)
    assert _read(hierarchy().crl()).revoked == frozenset()


def test_der_is_read_as_well_as_pem() -> None:
    """RFC 5280 4.2.1.13: DER is what a distribution point holds; PEM is served, too."""
    pem = hierarchy().crl([LEAF])
    assert _read(x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)) == _read(b"text\n" + pem)


def test_issuer_of_an_entry_holds_until_another_is_named() -> None:
    """RFC 5280 5.3.3: without certificateIssuer an entry has the issuer of the one before; the first has the CRL's."""
    first, second = _name("First"), _name("Second")
    held = _read(_list(_entry(1), _entry(2, _of(first)), _entry(3), _entry(4, _of(second)), _entry(5), _entry(6, _of(first))))
    crls, first_key, second_key = (issuer_key(name) for name in (SIGNER.certificate.subject, first, second))
    assert held.revoked == {
        f"{crls} 1", f"{first_key} 2", f"{first_key} 3", f"{second_key} 4", f"{second_key} 5", f"{first_key} 6"
    }  # fmt: skip


def test_serial_number_of_another_issuer_is_not_revoked() -> None:
    """RFC 5280 5.3.3: numbers are unique within an issuer only."""
    listed = _read(_list(_entry(LEAF.serial_number, _of(_name("Another CA")))))
    check_revocation(credential(), listed, NOW, hard=True)


def test_name_that_imitates_an_issuer_revokes_nothing_of_it() -> None:
    """RFC 5280 7.1: attributes are compared one by one."""
    organization, common = (INTERMEDIATE.subject.get_attributes_for_oid(oid)[0] for oid in (_O, NameOID.COMMON_NAME))
    forged = x509.Name(
        [
            *INTERMEDIATE.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME),
            x509.NameAttribute(_O, f"{organization.value!s}\x002.5.4.3={common.value!s}"),
        ]
    )
    check_revocation(credential(), _read(_list(_entry(LEAF.serial_number, _of(forged)))), NOW, hard=True)


@pytest.mark.parametrize("certificate", [LEAF, INTERMEDIATE], ids=["signer", "issuer"])
def test_revoked_certificate_anywhere_in_the_path_is_refused(certificate: x509.Certificate) -> None:
    """RFC 5280 6.3: each certificate of the path; 437."""
    listed = _read(hierarchy().crl([certificate]))
    with pytest.raises(UnsupportedCredential, match="credential_revoked"):
        check_revocation(credential(), listed, NOW, hard=False)


def test_anchor_that_its_root_has_revoked_is_refused() -> None:
    """RFC 5280 6.3: the anchor is no part of the path, but its issuer may have withdrawn what is a CA's alone."""
    held = validate(provider().pem, TrustAnchors([INTERMEDIATE]), NOW)
    with pytest.raises(UnsupportedCredential, match="credential_revoked"):
        check_revocation(held, _read(hierarchy().crl([INTERMEDIATE])), NOW, hard=False)


def test_order_and_spelling_of_a_name_do_not_matter() -> None:
    """RFC 5280 7.1: case and spaces; the order of attributes, too, in which published lists differ."""
    listed = _read(
        _list(
            _entry(
                LEAF.serial_number,
                _of(
                    x509.Name(
                        [
                            x509.NameAttribute(NameOID.COMMON_NAME, " lab SHAKEN  issuing CA"),
                            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "LAB"),
                            x509.NameAttribute(NameOID.COUNTRY_NAME, "us"),
                        ]
                    )
                ),
            )
        )
    )
    with pytest.raises(UnsupportedCredential, match="credential_revoked"):
        check_revocation(credential(), listed, NOW, hard=False)


@pytest.mark.parametrize(
    "extension",
    [x509.CRLReason(x509.ReasonFlags.certificate_hold), x509.InvalidityDate(datetime.datetime(2023, 1, 1))],
)
def test_reason_of_an_entry_changes_nothing(extension: x509.ExtensionType) -> None:
    """RFC 5280 5.3.1, 5.3.2: on hold is revoked, whatever the date."""
    assert len(_read(_list(_entry(1, extension, critical=False))).revoked) == 1
    assert len(_read(_list(_entry(1, extension))).revoked) == 1


@pytest.mark.parametrize("serial", [1, 1 << 158, (1 << 159) - 1])
def test_serial_numbers_of_any_length(serial: int) -> None:
    """RFC 5280 4.1.2.2: up to 20 octets."""
    assert _read(_list(_entry(serial))).revoked == {f"{issuer_key(SIGNER.certificate.subject)} {serial:x}"}


# --- Who signs ----------------------------------------------------------------------------------------------------


def test_list_without_its_signers_certificate_is_untrusted() -> None:
    """RFC 5280 6.3.3 (f): a path to the CRL's issuer."""
    assert _outcome(hierarchy().crl(), LEAF) == "crl_untrusted"
    with pytest.raises(TrustRefused, match="crl_untrusted: no certificate of O=STI-PA"):
        read_crl(hierarchy().crl(), _anchors(), NOW)


def test_list_of_a_stranger_is_untrusted() -> None:
    """RFC 5280 6.3.3 (f): the same names from another STI-PA do not chain to the pinned root."""
    other = Hierarchy(NOW)
    assert _outcome(other.crl(), other.policy_signer.certificate) == "crl_untrusted"
    assert _outcome(other.crl()) == "crl_untrusted"


def test_forged_list_is_untrusted() -> None:
    """RFC 5280 6.3.3 (g): the signature."""
    der = bytearray(_list(_entry(1)))
    assert _outcome(bytes(der)) == "valid"
    der[-1] ^= 1
    assert _outcome(bytes(der)) == "crl_untrusted"


def test_root_may_sign_itself_if_it_may_sign_lists() -> None:
    """RFC 5280 6.3.3 (f): cRLSign in the keyUsage of the CRL's issuer, if there is one."""
    key = ec.generate_private_key(ec.SECP256R1())
    for usage, expected in ((_usage(crl_sign=True), "valid"), (None, "valid"), (_usage(crl_sign=False), "crl_untrusted")):
        signer = _issued(ROOT, _name("STI-PA"), usage=usage, key=key)
        assert _outcome(_list(signer=signer), signer.certificate) == expected
    assert _outcome(_list(signer=ROOT)) == "crl_untrusted"  # keyCertSign alone
    anchor = _issued(Issued(ROOT.certificate, key), ROOT.certificate.subject, usage=_usage(crl_sign=True), key=key)
    assert read_crl(_list(signer=anchor), TrustAnchors([anchor.certificate]), NOW).number == 0


def test_signers_certificate_is_valid_now() -> None:
    """RFC 5280 6.3.3 (f), 6.1: the path at the moment."""
    assert _outcome(hierarchy().crl(next_update=NOW + 90 * DAY), now=NOW + 60 * DAY) == "crl_untrusted"


def test_hash_of_the_signature_is_sha256_or_longer() -> None:
    """ATIS-1000080 6.4.1, RFC 5280 6.3.3 (g): a shorter one proves less."""
    assert _outcome(_list(algorithm=SHA384())) == "valid"
    assert _outcome(_list(algorithm=SHA224())) == "crl_untrusted"


def test_list_signed_with_rsa_is_read() -> None:
    """RFC 5280 5.1.1.2: CAs with RSA keys exist."""
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateBuilder(
        ROOT.certificate.subject, _name("RSA"), key.public_key(), 1, _moment(NOW - DAY), _moment(NOW + DAY)
    )
    certificate = builder.sign(ROOT.key, SHA256())
    octets = Builder(_name("RSA"), _moment(NOW), _moment(NOW + DAY)).sign(key, SHA256()).public_bytes(Encoding.DER)
    assert _outcome(octets, certificate) == "valid"


def test_certificate_of_the_right_name_with_another_kind_of_key() -> None:
    """RFC 5280 6.3.3 (g)."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    subject = SIGNER.certificate.subject
    builder = x509.CertificateBuilder(ROOT.certificate.subject, subject, key, 1, _moment(NOW - DAY), _moment(NOW + DAY))
    other = builder.sign(ROOT.key, SHA256())
    assert _outcome(_list(), other) == "crl_untrusted"
    assert _outcome(_list(), other, SIGNER.certificate) == "valid"


# --- When ---------------------------------------------------------------------------------------------------------


def test_list_is_good_until_next_update() -> None:
    """RFC 5280 5.1.2.5: nextUpdate itself is too late."""
    crl = hierarchy().crl(next_update=NOW + 100)
    assert [_outcome(crl, now=NOW + late) for late in (0, 99, 100)] == ["valid", "valid", "crl_stale"]


def test_list_of_tomorrow_is_refused() -> None:
    """RFC 5280 5.1.2.4: thisUpdate, with five minutes for clocks."""
    crl = hierarchy().crl(this_update=NOW + 300)
    assert [_outcome(crl, now=NOW - early) for early in (0, 1)] == ["valid", "crl_stale"]


def test_list_without_next_update_is_malformed() -> None:
    """RFC 5280 5.1.2.5: MUST be in every CRL."""
    assert _outcome(_resigned(_list(), _without_next_update)) == "crl_malformed"


def test_year_zero_is_malformed() -> None:
    """RFC 5280 5.1.2.4."""
    far = Builder(SIGNER.certificate.subject, _moment(NOW), _moment(2600000000)).sign(SIGNER.key, SHA256())
    der = far.public_bytes(Encoding.DER)
    assert _outcome(_resigned(der, lambda tbs: tbs.replace(b"\x18\x0f2052", b"\x18\x0f0000"))) == "crl_malformed"


def test_older_list_does_not_replace_a_newer() -> None:
    """RFC 5280 5.2.3: CRLNumber goes up; the same list again is no step back."""
    former = _read(hierarchy().crl(number=7))
    outcomes = [_outcome(hierarchy().crl(number=number), former=former) for number in (6, 7, 8, None)]
    assert outcomes == ["crl_rollback", "valid", "valid", "crl_rollback"]


def test_list_with_an_older_this_update_does_not_replace_a_newer() -> None:
    """RFC 5280 5.1.2.4: also where the number goes up, or another key of the STI-PA signs."""
    former = _read(hierarchy().crl(number=7))
    assert _outcome(hierarchy().crl(number=8, this_update=NOW - 1), former=former) == "crl_rollback"
    assert _outcome(hierarchy().crl(number=1, this_update=NOW - 1), former=former._replace(issuer="x")) == "crl_rollback"


def test_numbers_of_another_issuer_begin_anew() -> None:
    """RFC 5280 5.2.3: one sequence per issuer."""
    former = _read(hierarchy().crl(number=7))._replace(issuer="CN=Former STI-PA")
    assert _outcome(hierarchy().crl(number=1), former=former) == "valid"


# --- What a list must not be --------------------------------------------------------------------------------------


def _scope(**deviation: object) -> x509.IssuingDistributionPoint:
    fields = {
        "full_name": [x509.UniformResourceIdentifier("https://pa.example.test/crl")],
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": True,
        "only_contains_attribute_certs": False,
        **deviation,
    }
    return x509.IssuingDistributionPoint(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "point",
    [_scope(), _scope(full_name=None)],
)
def test_issuing_distribution_point_is_understood(point: x509.IssuingDistributionPoint) -> None:
    """RFC 5280 5.2.5: critical; the STI-PA's list is indirect."""
    assert _outcome(_list(_entry(1), extensions=[(point, True)])) == "valid"


_RELATIVE = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "1")])


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "deviation",
    [
        {"only_contains_user_certs": True},
        {"only_contains_ca_certs": True},
        {"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})},
        {"full_name": None, "indirect_crl": False, "only_contains_attribute_certs": True},
        {"full_name": None, "indirect_crl": False, "only_contains_ca_certs": True},
        {"full_name": None, "only_contains_user_certs": True},
        {"indirect_crl": False},
        {"indirect_crl": False, "full_name": None, "relative_name": _RELATIVE},
    ],
)
def test_list_of_a_part_is_no_full_list(deviation: dict[str, object], critical: bool) -> None:
    """RFC 5280 5.2.5: what it does not name may be revoked all the same; it never takes the place of a full one."""
    assert _outcome(_list(_entry(1), extensions=[(_scope(**deviation), critical)])) == "crl_malformed"


@pytest.mark.parametrize("critical", [True, False])
def test_delta_is_no_full_list(critical: bool) -> None:
    """RFC 5280 5.2.4: what a delta does not name may be revoked all the same."""
    assert _outcome(_list(extensions=[(x509.DeltaCRLIndicator(1), critical)])) == "crl_malformed"


@pytest.mark.parametrize(("critical", "expected"), [(True, "crl_malformed"), (False, "valid")])
def test_unknown_critical_extension_forbids_the_list(critical: bool, expected: str) -> None:
    """RFC 5280 5.2, 5.3: of the list, or of an entry."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert _outcome(_list(extensions=[(unknown, critical)])) == expected
    assert _outcome(_list(_entry(1, unknown, critical=critical))) == expected


@pytest.mark.parametrize("number", [-1, 1 << 160, 1 << 40000], ids=["negative", "21 octets", "5000 octets"])
def test_number_of_a_list_has_twenty_octets(number: int) -> None:
    """RFC 5280 5.2.3: positive, at most 20 octets."""
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    extension = x509.UnrecognizedExtension(x509.CRLNumber.oid, b"\x02" + _length(len(octets)) + octets)
    assert _outcome(_list(extensions=[(extension, False)])) == "crl_malformed"


def test_largest_number_of_a_list() -> None:
    """RFC 5280 5.2.3."""
    assert _read(hierarchy().crl(number=(1 << 159) - 1)).number == (1 << 159) - 1


def test_issuer_of_an_entry_is_a_name() -> None:
    """RFC 5280 5.3.3: certificateIssuer without a distinguished name says nothing."""
    uri = x509.CertificateIssuer([x509.UniformResourceIdentifier("https://ca.example.test")])
    assert _outcome(_list(_entry(1, uri))) == "crl_malformed"


def test_extension_that_stands_twice_is_malformed() -> None:
    """RFC 5280 4.2: one instance of each."""
    numbers = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x02\x01\x02")
    crl = _list(extensions=[(x509.CRLNumber(1), False), (numbers, False)])
    assert _outcome(_resigned(crl, lambda tbs: tbs.replace(b"\x55\x1d\x15", b"\x55\x1d\x14"))) == "crl_malformed"


@pytest.mark.parametrize("octets", [b"", b"0\x00", b"<html>", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_list_is_malformed(octets: bytes) -> None:
    """RFC 5280 5.1."""
    assert _outcome(octets) == "crl_malformed"


# --- What an absent list means ------------------------------------------------------------------------------------


def _revocation(listed: Revocations | None, *, hard: bool, now: float = NOW) -> str:
    try:
        check_revocation(credential(), listed, now, hard=hard)
    except StirError as error:
        return error.token
    return "good"


def test_without_a_current_list_the_operator_decides() -> None:
    """RFC 5280 6.3.3: UNDETERMINED; `crl_failure`."""
    listed = _read(hierarchy().crl())
    stale = listed.next_update
    assert [_revocation(listed, hard=hard) for hard in (False, True)] == ["good", "good"]
    assert [_revocation(None, hard=hard) for hard in (False, True)] == ["good", "revocation_unknown"]
    assert [_revocation(listed, hard=hard, now=stale) for hard in (False, True)] == ["good", "revocation_unknown"]


def test_what_an_old_list_revoked_stays_revoked() -> None:
    """RFC 5280 6.3: revocation is for ever, so a stale list is better than none."""
    listed = _read(hierarchy().crl([LEAF]))
    outcomes = [_revocation(listed, hard=hard, now=NOW + 20 * DAY) for hard in (False, True)]
    assert outcomes == ["credential_revoked", "credential_revoked"]


# --- DER ----------------------------------------------------------------------------------------------------------


def _length(octets: int) -> bytes:
    if octets < 0x80:
        return bytes([octets])
    size = octets.to_bytes((octets.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(size)]) + size


def _resigned(der: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The list with another content, signed again: what a careless or hostile STI-PA would serve."""
    tbs = x509.load_der_x509_crl(der).tbs_certlist_bytes
    changed = change(tbs)
    assert changed != tbs
    signature = SIGNER.key.sign(changed, ec.ECDSA(SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    content = changed + algorithm + b"\x03" + _length(len(signature) + 1) + b"\x00" + signature
    return b"\x30" + _length(len(content)) + content


def _without_next_update(tbs: bytes) -> bytes:
    """The second of two UTCTimes is taken away; the outer length is short enough for the long form in one octet."""
    head = 3 if tbs[1] == 0x81 else 2
    second = tbs.index(b"\x17\x0d", tbs.index(b"\x17\x0d") + 1)
    content = tbs[head:second] + tbs[second + 15 :]
    return b"\x30" + _length(len(content)) + content
