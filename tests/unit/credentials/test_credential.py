"""The validated credential: chain, validity, fitness for signing PASSporTs."""

from __future__ import annotations

import random
import re
from base64 import encodebytes

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors, check_validity, fitness, kept_pem, validate
from kamailio_app.credentials.names import identifier, issuer_key
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider, expired

from ..builders import DAY, NOW, anchors, authority, evil, hierarchy, issue, key_usage, pem, provider, refused

LEAF = provider().certificate
INTERMEDIATE = hierarchy().intermediate.certificate
ROOT = hierarchy().root.certificate
YEAR = 365 * DAY
CA = x509.BasicConstraints(ca=True, path_length=None)
END = x509.BasicConstraints(ca=False, path_length=None)
ISSUER = hierarchy().intermediate


def refuses(token: str, octets: bytes, now: float = NOW) -> None:
    with refused(token):
        validate(octets, anchors(), now)


def refuses_provider(token: str, spec: ServiceProvider, now: float = NOW) -> None:
    refuses(token, hierarchy().service_provider(spec).chain_pem, now)


# --- Valid ------------------------------------------------------------------------------------------------------


def test_credential_holds_what_is_constant_per_certificate() -> None:
    credential = validate(provider().chain_pem, anchors(), NOW)
    assert credential.public_key == provider().key.public_key()
    assert credential.tnauthlist == TNAuthList(spcs=("1234",))
    assert credential.fingerprint == LEAF.fingerprint(SHA256()).hex()
    assert (credential.not_before, credential.not_after) == (NOW - 3600, NOW + 30 * DAY)


def test_credential_says_what_a_crl_may_name() -> None:
    held = validate(provider().chain_pem, anchors(), NOW)
    assert held.identifiers == (
        f"{issuer_key(INTERMEDIATE.subject)} {LEAF.serial_number:x}",
        f"{issuer_key(ROOT.subject)} {INTERMEDIATE.serial_number:x}",
    )
    assert held.anchor == ROOT.fingerprint(SHA256()).hex()
    itself = validate(provider().chain_pem, TrustAnchors([LEAF]), NOW)
    assert (itself.identifiers, itself.anchor) == (held.identifiers[:1], itself.fingerprint)


def test_crl_may_name_an_anchor_that_is_no_root() -> None:
    """A list of issuing CAs: their root can withdraw them."""
    held = validate(pem(LEAF), TrustAnchors([INTERMEDIATE]), NOW)
    assert held.identifiers == validate(provider().chain_pem, anchors(), NOW).identifiers
    assert held.path_pem == pem(LEAF).decode()


def test_anchor_with_an_extension_that_cannot_be_read() -> None:
    broken = x509.UnrecognizedExtension(x509.CRLDistributionPoints.oid, b"\x30\x00\x00")
    root = issue(None, CA, key_usage(certify=True), broken, name="ROOT")
    issued = issue(root, END, authority())
    with refused("credential_malformed"):
        validate(issued.pem, TrustAnchors([root.certificate]), NOW)


def test_path_is_kept_without_the_anchor_and_without_strangers() -> None:
    octets = pem(LEAF, evil().intermediate.certificate, ROOT, INTERMEDIATE, evil().root.certificate)
    credential = validate(octets, anchors(), NOW)
    assert credential.path_pem == pem(LEAF, INTERMEDIATE).decode()
    assert validate(credential.path_pem.encode(), anchors(), NOW) == credential
    assert "BEGIN CERTIFICATE" not in repr(credential)


def test_path_of_a_signer_that_is_an_anchor_itself_is_the_signer() -> None:
    credential = validate(provider().chain_pem, TrustAnchors([LEAF]), NOW)
    assert credential.path_pem == pem(LEAF).decode()


def test_validity_is_the_whole_chains() -> None:
    issued = hierarchy().service_provider(ServiceProvider(not_before=NOW - YEAR, not_after=NOW + 20 * YEAR))
    credential = validate(issued.chain_pem, anchors(), NOW)
    assert (credential.not_before, credential.not_after) == (NOW - 3600, NOW + 10 * YEAR)


@pytest.mark.parametrize(
    "certificates",
    [
        (LEAF, INTERMEDIATE),
        (LEAF, INTERMEDIATE, ROOT),
        (ROOT, INTERMEDIATE, LEAF),
        (INTERMEDIATE, LEAF),
        (LEAF, ROOT, INTERMEDIATE),
        (LEAF, INTERMEDIATE, INTERMEDIATE),
        (LEAF, INTERMEDIATE, evil().intermediate.certificate, evil().root.certificate),
    ],
    ids=["as served", "with root", "reversed", "intermediate first", "root in between", "twice", "with strangers"],
)
def test_order_and_superfluous_certificates_do_not_matter(certificates: tuple[x509.Certificate, ...]) -> None:
    assert validate(pem(*certificates), anchors(), NOW).tnauthlist.spcs == ("1234",)


def test_signer_may_be_issued_by_the_anchor_itself() -> None:
    assert validate(pem(LEAF), TrustAnchors([INTERMEDIATE]), NOW).not_after == NOW + 30 * DAY


@pytest.mark.parametrize("moment", [NOW - 3600, NOW + 30 * DAY])
def test_valid_from_the_first_to_the_last_second(moment: int) -> None:
    validate(provider().chain_pem, anchors(), moment)


def test_certificate_without_key_usage_may_sign() -> None:
    issued = issue(ISSUER, END, authority())
    assert validate(pem(issued.certificate, INTERMEDIATE), anchors(), NOW)


@pytest.mark.parametrize(
    "value",
    [
        TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),)),
        TNAuthList(numbers=("12155551212",)),
        TNAuthList(("1234",), (TelephoneNumberRange("12155550000", 100),), ("12155551212",)),
    ],
)
def test_delegate_certificates_hold_ranges_and_numbers(value: TNAuthList) -> None:
    issued = hierarchy().service_provider(ServiceProvider(tnauthlist=value))
    assert validate(issued.chain_pem, anchors(), NOW).tnauthlist == value


def test_private_matters_are_not_in_the_repr() -> None:
    assert "public_key" not in repr(validate(provider().chain_pem, anchors(), NOW))


# --- Chain ------------------------------------------------------------------------------------------------------


def test_missing_intermediate_is_untrusted() -> None:
    refuses("credential_untrusted", pem(LEAF))


def test_stranger_of_the_same_name_is_untrusted() -> None:
    refuses("credential_untrusted", evil().service_provider().chain_pem)


def test_own_root_in_the_file_is_no_trust_anchor() -> None:
    issued = evil().service_provider()
    refuses("credential_untrusted", issued.chain_pem + evil().root.pem)


def test_self_signed_signer_is_untrusted() -> None:
    refuses("credential_untrusted", issue(None, END, authority(), key_usage(sign=True)).pem)


def test_without_anchors_nothing_is_trusted() -> None:
    with refused("credential_untrusted"):
        validate(provider().chain_pem, TrustAnchors(()), NOW)


def test_anchors_are_counted() -> None:
    assert (len(TrustAnchors(())), len(anchors())) == (0, 1)


def test_signature_of_a_certificate_is_checked() -> None:
    der = bytearray(LEAF.public_bytes(Encoding.DER))
    der[-1] ^= 1
    tampered = x509.load_der_x509_certificate(bytes(der))
    refuses("credential_untrusted", pem(tampered, INTERMEDIATE))


def test_end_entity_certificate_cannot_issue() -> None:
    issued = issue(provider(), END, authority())
    refuses("credential_untrusted", pem(issued.certificate, LEAF, INTERMEDIATE))


def test_issuer_without_basic_constraints_is_no_issuer() -> None:
    issuer = issue(ISSUER, key_usage(certify=True), name="CA")
    refuses("credential_untrusted", pem(issue(issuer, END, authority()).certificate, issuer.certificate, INTERMEDIATE))


def test_issuer_without_key_cert_sign_is_no_issuer() -> None:
    issuer = issue(ISSUER, CA, key_usage(sign=True), name="CA")
    refuses("credential_untrusted", pem(issue(issuer, END, authority()).certificate, issuer.certificate, INTERMEDIATE))


@pytest.mark.parametrize("usage", [(), (key_usage(certify=True),), (key_usage(certify=True, sign=True),)])
def test_issuer_with_key_cert_sign_or_without_key_usage_is_one(usage: tuple[x509.KeyUsage, ...]) -> None:
    issuer = issue(ISSUER, CA, *usage, name="CA")
    chain = pem(issue(issuer, END, authority()).certificate, issuer.certificate, INTERMEDIATE)
    assert validate(chain, anchors(), NOW).tnauthlist.spcs == ("1234",)


def test_path_length_is_kept() -> None:
    issuer = issue(ISSUER, x509.BasicConstraints(ca=True, path_length=0), name="CA 0")
    below = issue(issuer, CA, name="CA 1")
    leaf = issue(below, END, authority())
    refuses("credential_untrusted", pem(leaf.certificate, below.certificate, issuer.certificate, INTERMEDIATE))


def test_unknown_critical_extension_is_untrusted() -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    issued = issue(ISSUER, END, authority(), unknown, critical=[x509.UnrecognizedExtension])
    refuses("credential_untrusted", pem(issued.certificate, INTERMEDIATE))


# --- Validity ---------------------------------------------------------------------------------------------------


def test_expired_signer() -> None:
    refuses_provider("credential_expired", expired(ServiceProvider(), NOW))


def test_signer_of_tomorrow() -> None:
    refuses_provider("credential_not_yet_valid", ServiceProvider(not_before=NOW + DAY))


@pytest.mark.parametrize(
    ("moment", "token"), [(NOW - 3601, "credential_not_yet_valid"), (NOW + 30 * DAY + 1, "credential_expired")]
)
def test_edges_of_validity(moment: int, token: str) -> None:
    refuses(token, provider().chain_pem, moment)


def test_expired_intermediate() -> None:
    refuses_provider("credential_expired", ServiceProvider(not_after=NOW + 20 * YEAR), NOW + 11 * YEAR)


def test_intermediate_of_tomorrow() -> None:
    issuer = issue(hierarchy().root, CA, not_before=NOW + DAY, not_after=NOW + YEAR, name="CA")
    refuses("credential_not_yet_valid", pem(issue(issuer, END, authority()).certificate, issuer.certificate))


def test_anchor_that_has_expired_is_none() -> None:
    issued = issue(hierarchy().root, END, authority(), not_after=NOW + 20 * YEAR)
    refuses("credential_untrusted", issued.pem, NOW + 11 * YEAR)


def test_detail_says_when() -> None:
    with pytest.raises(UnsupportedCredential, match="2023-12-14 22:13:20Z"):
        check_validity(LEAF, NOW + 31 * DAY)


@pytest.mark.parametrize("which", [0, 1])
def test_year_zero_is_malformed(which: int) -> None:
    # From 2050 on times have four digits of a year
    issued = issue(ISSUER, END, authority(), not_before=NOW + 40 * YEAR, not_after=NOW + 50 * YEAR)
    der = issued.certificate.public_bytes(Encoding.DER)
    moment = re.findall(rb"\x18\x0f(\d{14}Z)", der)[which]
    tampered = x509.load_der_x509_certificate(der.replace(moment, b"0000" + moment[4:]))
    refuses("credential_malformed", pem(tampered, INTERMEDIATE), NOW + 45 * YEAR)


# --- Several paths ----------------------------------------------------------------------------------------------


ROOTS = [issue(None, CA, name=f"ROOT {number}") for number in range(8)]
CROSSED = [issue(root, CA, name="CA", key=ISSUER.key) for root in ROOTS]
"""The same issuing CA under each root."""
SIGNER = issue(CROSSED[0], END, authority()).certificate


def crossed(count: int) -> tuple[bytes, TrustAnchors]:
    """The signer with so many certificates of its issuer, and the roots of all."""
    octets = pem(SIGNER, *(each.certificate for each in CROSSED[:count]))
    return octets, TrustAnchors(root.certificate for root in ROOTS)


def name_of(issued: Issued) -> str:
    return identifier(issuer_key(issued.certificate.issuer), issued.certificate.serial_number)


@pytest.mark.parametrize("revoked", range(8))
def test_path_without_a_revoked_issuer_goes_before_one_with(revoked: int) -> None:
    octets, roots = crossed(2)
    names = {name_of(CROSSED[revoked])}
    held = validate(octets, roots, NOW, revoked=names.__contains__)
    assert names.isdisjoint(held.identifiers)


@pytest.mark.parametrize("good", range(7))
def test_any_path_is_found_if_it_is_the_only_one_left(good: int) -> None:
    octets, roots = crossed(7)
    names = {name_of(issued) for number, issued in enumerate(CROSSED) if number != good}
    held = validate(octets, roots, NOW, revoked=names.__contains__)
    assert held.path_pem == pem(SIGNER, CROSSED[good].certificate).decode()


def test_where_every_path_has_a_revoked_issuer_the_first_path_stands() -> None:
    octets, roots = crossed(3)
    asked: list[str] = []

    def revoked(name: str) -> bool:
        asked.append(name)
        return True

    held = validate(octets, roots, NOW, revoked=revoked)
    assert held == validate(octets, roots, NOW)
    assert len(asked) == 3


def test_revoked_signer_has_one_path_only() -> None:
    held = validate(provider().chain_pem, anchors(), NOW, revoked={identifier("", LEAF.serial_number)}.__contains__)
    assert held == validate(provider().chain_pem, anchors(), NOW)


def test_other_certificates_of_the_same_cas_are_kept() -> None:
    stranger, junk = evil().intermediate.certificate, evil().service_provider().certificate
    octets = pem(SIGNER, ROOTS[0].certificate, *(each.certificate for each in CROSSED[:2]), stranger, junk)
    roots = TrustAnchors(root.certificate for root in ROOTS[:2])
    credential = validate(octets, roots, NOW)
    kept = kept_pem(octets, credential)
    assert kept.startswith(credential.path_pem)
    assert sorted(kept.split("-----BEGIN")) == sorted(
        pem(SIGNER, *(each.certificate for each in CROSSED[:2])).decode().split("-----BEGIN")
    )
    assert validate(kept.encode(), roots, NOW) == credential
    used = credential.identifiers[1]
    assert used not in validate(kept.encode(), roots, NOW, revoked=lambda name: name == used).identifiers


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_issuers_of_other_certificates_are_kept_in_any_order(order: tuple[int, int]) -> None:
    between = issue(ROOTS[1], CA, name="BETWEEN")
    cross = issue(between, CA, name="CA", key=ISSUER.key)
    spare = (cross.certificate, between.certificate)
    octets = pem(SIGNER, CROSSED[0].certificate, *(spare[number] for number in order))
    credential = validate(octets, TrustAnchors([ROOTS[0].certificate]), NOW)
    assert validate(kept_pem(octets, credential).encode(), TrustAnchors([ROOTS[1].certificate]), NOW)


def test_what_is_kept_is_bounded() -> None:
    padding = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), bytes(4000))
    large = [issue(root, CA, padding, name="CA", key=ISSUER.key).certificate for root in ROOTS[1:6]]
    octets = pem(SIGNER, CROSSED[0].certificate, *large)
    kept = kept_pem(octets, validate(octets, TrustAnchors([ROOTS[0].certificate]), NOW))
    assert 10_000 < len(kept) <= 16384
    assert kept.count("BEGIN") == 4


# --- Fitness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()])
def test_key_on_another_curve(curve: ec.EllipticCurve) -> None:
    refuses_provider("credential_key_unsupported", ServiceProvider(curve=curve))


def test_key_that_is_no_elliptic_curve_key() -> None:
    for key in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()):
        issued = issue(ISSUER, END, authority(), key=key)
        refuses("credential_key_unsupported", pem(issued.certificate, INTERMEDIATE))


def test_key_of_an_unknown_kind() -> None:
    der = LEAF.public_bytes(Encoding.DER)
    tampered = x509.load_der_x509_certificate(der.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")))
    refuses("credential_malformed", pem(tampered, INTERMEDIATE))


def test_ca_may_not_sign() -> None:
    refuses_provider("credential_usage_forbidden", ServiceProvider(ca=True))
    refuses("credential_usage_forbidden", issue(ISSUER, CA, authority()).pem)


def test_intermediate_alone_may_not_sign() -> None:
    refuses("credential_usage_forbidden", pem(INTERMEDIATE))


def test_key_usage_without_digital_signature() -> None:
    refuses_provider("credential_usage_forbidden", ServiceProvider(digital_signature=False))


def test_missing_tnauthlist() -> None:
    refuses_provider("tnauthlist_missing", ServiceProvider(with_tnauthlist=False))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", bytes.fromhex("300613043632324b"), bytes.fromhex("3008a006163535384a")])
def test_malformed_tnauthlist(der: bytes) -> None:
    refuses_provider("tnauthlist_malformed", ServiceProvider(tnauthlist=der))


def test_huge_count_in_a_tnauthlist_is_malformed() -> None:
    huge = TNAuthList(ranges=(TelephoneNumberRange("12155550000", 10**5000),))
    refuses_provider("tnauthlist_malformed", ServiceProvider(tnauthlist=tnauthlist.encode(huge)))


def test_fitness_asks_for_no_chain() -> None:
    key, authorized = fitness(LEAF)
    assert (key, authorized.spcs) == (provider().key.public_key(), ("1234",))


# --- Anything ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("original", [LEAF, INTERMEDIATE], ids=["signer", "intermediate"])
def test_one_flipped_octet_anywhere_ends_in_our_failure(original: x509.Certificate) -> None:
    generator = random.Random(5280)
    der = original.public_bytes(Encoding.DER)
    others = pem(*[certificate for certificate in (LEAF, INTERMEDIATE) if certificate != original])
    for position in range(len(der)):
        octets = bytearray(der)
        octets[position] ^= generator.randint(1, 255)
        flipped = b"-----BEGIN CERTIFICATE-----\n" + encodebytes(octets) + b"-----END CERTIFICATE-----\n"
        with pytest.raises(UnsupportedCredential):
            validate(flipped + others, anchors(), NOW)


def test_delegate_passes_on_no_more_than_it_has() -> None:
    pki, numbers = hierarchy(), TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),))
    delegate = pki.service_provider(ServiceProvider(ca=True, tnauthlist=numbers))
    anchors = TrustAnchors([pki.root.certificate])

    within = pki.service_provider(ServiceProvider(tnauthlist=TNAuthList(numbers=("12155550042",))), delegate)
    assert validate(within.chain_pem, anchors, NOW).tnauthlist.numbers == ("12155550042",)

    for beyond in (TNAuthList(numbers=("12155550100",)), TNAuthList(spcs=("1234",))):
        issued = pki.service_provider(ServiceProvider(tnauthlist=beyond), delegate)
        with refused("credential_untrusted"):
            validate(issued.chain_pem, anchors, NOW)


def test_whose_certificate_is_missing_is_said() -> None:
    stranger = Hierarchy(NOW, "Other")
    for octets, words in (
        (pem(LEAF), "no certificate of CN="),
        (stranger.service_provider().chain_pem + stranger.root.pem, "is not among the trust anchors"),
        (evil().service_provider().chain_pem, "no path to a trust anchor holds"),
        (issue(None, END, authority(), key_usage(sign=True)).pem, "is not among the trust anchors"),
    ):
        with pytest.raises(UnsupportedCredential) as caught:
            validate(octets, anchors(), NOW)
        assert words in caught.value.detail, caught.value
