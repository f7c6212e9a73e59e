"""Certificates from the field and from standards: what validates, and what does not and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import constraints, tnauthlist
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import TrustAnchors, fitness, validate
from kamailio_app.credentials.crl import Revocations, check_revocation, read_crl
from kamailio_app.credentials.names import issuer_key
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.credentials.trust_list import TrustList, read_trust_list, signer_url
from kamailio_app.errors import StirError

from .support import NOW, VECTORS, read, text


def _outcome(octets: bytes, anchors: TrustAnchors, now: float) -> str:
    try:
        validate(octets, anchors, now)
    except StirError as error:
        return error.token
    return "valid"


def _middle(certificates: Sequence[x509.Certificate]) -> float:
    """The middle of the time in which all are valid."""
    not_before = max(certificate.not_valid_before_utc.timestamp() for certificate in certificates)
    not_after = min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
    return (not_before + not_after) / 2


@cache
def _observed(kind: str) -> TrustAnchors:
    return TrustAnchors(parse_chain(read(f"stici_real/observed_{kind}.pem"), limit=100))


# --- Certificates served by real repositories ---------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """`complete`: the root is among those observed. Where it is not, no path can be built: credential_untrusted."""

    file: str
    spc: str
    complete: bool = True


CHAINS = [
    Chain("Comcast_SHAKEN_Intermediate_CA__318J_445050.chain.pem", "318J"),
    Chain("Martini_Security_SHAKEN_G2__738J_cf974d.chain.pem", "738J"),
    Chain("Metaswitch_STI_CA_SHAKEN_Issuing_1__122D_29b17d.chain.pem", "122D"),
    # Critical certificatePolicies, issuers signed with SHA-384 and SHA-512, a CN without SPC
    Chain("NetNumber_SHAKEN_Root_Intermediate_CA_1__321J_19d9f5.chain.pem", "321J"),
    # Canada's root is not among the observed ones
    Chain("Neustar_Canada_Certified_Caller_ID_SHAKE__464D_d3a868.chain.pem", "464D", complete=False),
    Chain("Neustar_Certified_Caller_ID_SHAKEN_CA_1__775J_aaea25.chain.pem", "775J"),
    Chain("Neustar_Certified_Caller_ID_SHAKEN_CA_2__872J_9b5959.chain.pem", "872J"),
    # A test CA, whose root was never observed
    Chain("Neustar_UAT_Enterprise_Certified_Caller___PNCB_d321a8.chain.pem", "PNCB", complete=False),
    Chain("SHAKEN_1RouteGroup_Intermediate_CA__600F_f975a5.chain.pem", "600F"),
    Chain("SHAKEN_Ribbon_Issuing_CA_2__2135_417aa4.chain.pem", "2135"),
    Chain("SHAKEN_Sansay_Intermediate_CA_US_WEST_1__828J_aa29f1.chain.pem", "828J"),
    # The root has no keyUsage
    Chain("Telonium_STI_CA_Intermediate_CA__421K_cfaa04.chain.pem", "421K"),
    Chain("TransNexus___498L_7ce32e.chain.pem", "498L"),
    # The first root of this CA (Issuing CA1's) is not among the observed ones
    Chain("TransNexus___663J_9cfd0b.chain.pem", "663J", complete=False),
]


def test_every_chain_file_is_judged() -> None:
    assert {chain.file for chain in CHAINS} == {path.name for path in (VECTORS / "stici_real").glob("*.chain.pem")}


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if chain.complete], ids=lambda chain: chain.spc)
def test_real_chain_validates_in_the_middle_of_its_validity(chain: Chain) -> None:
    """RFC 5280 6.1, ATIS-1000080 6.4.1: chains that production repositories serve."""
    octets = read(f"stici_real/{chain.file}")
    certificates = parse_chain(octets)
    credential = validate(octets, _observed("roots"), _middle(certificates))
    assert credential.tnauthlist == TNAuthList(spcs=(chain.spc,))
    signer = certificates[0]
    assert credential.not_after == signer.not_valid_after_utc.timestamp()
    assert credential.not_before == signer.not_valid_before_utc.timestamp()


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if not chain.complete], ids=lambda chain: chain.spc)
def test_real_chain_without_its_root_is_untrusted_and_nothing_else(chain: Chain) -> None:
    """RFC 8224 6.2 step 3: the only thing wrong is the missing anchor; with the issuing CA as anchor it validates."""
    octets = read(f"stici_real/{chain.file}")
    certificates = parse_chain(octets)
    now = _middle(certificates)
    assert not any(certificates[-1].issuer == root.subject for root in _observed("roots").certificates)
    assert _outcome(octets, _observed("roots"), now) == "credential_untrusted"
    assert validate(octets, TrustAnchors(certificates[1:]), now).tnauthlist == TNAuthList(spcs=(chain.spc,))


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.spc)
def test_real_chain_has_its_limits_in_time(chain: Chain) -> None:
    """RFC 8224 6.2 step 4, RFC 5280 4.1.2.5: the seconds before notBefore and after notAfter are outside."""
    octets = read(f"stici_real/{chain.file}")
    certificates = parse_chain(octets)
    anchors = TrustAnchors(certificates[1:])
    not_before = certificates[0].not_valid_before_utc.timestamp()
    not_after = certificates[0].not_valid_after_utc.timestamp()
    assert _outcome(octets, anchors, not_before) == "valid"
    assert _outcome(octets, anchors, not_after) == "valid"
    assert _outcome(octets, anchors, not_before - 1) == "credential_not_yet_valid"
    assert _outcome(octets, anchors, not_after + 1) == "credential_expired"


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.spc)
def test_real_chain_does_not_anchor_itself(chain: Chain) -> None:
    """ATIS-1000074 5.3: what x5u serves never becomes an anchor, not even a self-signed root."""
    octets = read(f"stici_real/{chain.file}")
    others = TrustAnchors(parse_chain(read("generated/cert_root.pem")))
    assert _outcome(octets, others, _middle(parse_chain(octets))) == "credential_untrusted"


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if chain.complete], ids=lambda chain: chain.spc)
def test_real_chain_validates_in_any_order(chain: Chain) -> None:
    """RFC 8555 9.1 has the signer first; repositories exist that reverse the file."""
    octets = read(f"stici_real/{chain.file}")
    certificates = parse_chain(octets)
    reversed_file = b"".join(c.public_bytes(Encoding.PEM) for c in reversed(certificates))
    expected = validate(octets, _observed("roots"), _middle(certificates))
    assert validate(reversed_file, _observed("roots"), _middle(certificates)) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("bad_00.der", "credential_malformed"),  # the two signature algorithm fields are broken
        ("bad_01.der", "tnauthlist_missing"),
        ("bad_02.der", "tnauthlist_malformed"),  # no context tag
        ("bad_03.der", "tnauthlist_malformed"),  # PrintableString without context tag
    ],
)
def test_broken_certificate_from_the_field(file: str, expected: str) -> None:
    """RFC 8226 9: encodings seen at production URLs that give no authority."""
    assert _outcome(read(f"stici_real/{file}"), _observed("roots"), NOW) == expected


def test_observed_intermediates_sign_no_passports() -> None:
    """RFC 9060 4: an issuing CA is no signer."""
    for certificate in _observed("intermediates").certificates:
        pem = certificate.public_bytes(Encoding.PEM)
        assert _outcome(pem, _observed("roots"), NOW) in ("credential_usage_forbidden", "credential_key_unsupported")


# --- France -------------------------------------------------------------------------------------------------------


def test_french_chain_validates_at_its_time() -> None:
    """RFC 5280 6.1, RFC 8226 9: six characters of SPC, UTF-8 encoded twice in the subject."""
    octets = read("apnf_fr/sti_cert_OPC000.pem") + read("apnf_fr/trustlist_ca_certs_0.pem")
    anchors = TrustAnchors(parse_chain(read("apnf_fr/trustlist_ca_0.pem")))
    credential = validate(octets, anchors, _middle(parse_chain(octets)))
    assert credential.tnauthlist == TNAuthList(spcs=("OPC000",))
    assert credential.fingerprint == parse_chain(octets)[0].fingerprint(SHA256()).hex()


def test_french_signer_alone_is_untrusted() -> None:
    """RFC 9060 5: the issuing CA has to be served with the certificate."""
    octets = read("apnf_fr/sti_cert_OPC000.pem")
    anchors = TrustAnchors(parse_chain(read("apnf_fr/trustlist_ca_0.pem")))
    assert _outcome(octets, anchors, _middle(parse_chain(octets))) == "credential_untrusted"


def test_french_certificate_has_expired() -> None:
    """RFC 8224 6.2 step 4."""
    octets = read("apnf_fr/sti_cert_OPC000.pem") + read("apnf_fr/trustlist_ca_certs_0.pem")
    anchors = TrustAnchors(parse_chain(read("apnf_fr/trustlist_ca_0.pem")))
    assert _outcome(octets, anchors, NOW) == "credential_expired"


# --- OpenSIPS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "now", "expected"),
    [
        ("leaf_SPC1001.pem", 1687444148, "valid"),
        ("leaf_SPC1001.pem", 1800000000, "credential_expired"),
        ("18_cert_0.pem", 1687444148, "credential_not_yet_valid"),  # notBefore a day after notAfter: never valid
        ("18_cert_0.pem", 1687800000, "credential_expired"),
        ("18_cert_0.pem", 1688000000, "credential_expired"),
        ("19_cert_0.pem", 1687444148, "credential_not_yet_valid"),
        ("19_cert_0.pem", 1940000000, "credential_untrusted"),  # the CA's signature is not its CA's
    ],
)
def test_opensips_certificate(file: str, now: float, expected: str) -> None:
    """RFC 8224 6.2 steps 3 and 4: the certificates of the OpenSIPS test suite."""
    anchors = TrustAnchors(parse_chain(read("opensips/ca-cert.pem")))
    assert _outcome(read(f"opensips/{file}"), anchors, now) == expected


# --- The profile of ATIS-1000080 ----------------------------------------------------------------------------------

_POINTS = "cRLDistributionPoints is not one URL with cRLIssuer (none in a root)"
_NAME = "common name is not SHAKEN's"
_POLICY = "certificatePolicies is not exactly one of SHAKEN's (none in a root)"
_SERIAL = "serial number is not positive, shorter than 64 random bits or longer than 20 octets"
_USAGE = "keyUsage is not critical or has other bits than the profile's"
_SUBJECT = "subject lacks country or organization"
FINDINGS: dict[str, set[str]] = {
    "122D": {
        f"signer's {_NAME}", f"signer's {_USAGE}", f"signer's {_POINTS}", f"issuer's {_SUBJECT}",
        f"root's {_SUBJECT}",
    },
    "2135": {f"signer's {_NAME}", f"signer's {_POINTS}", f"issuer's {_POINTS}"},
    "318J": {"signer's subjectKeyIdentifier is not the key's", f"signer's {_POINTS}", f"issuer's {_POINTS}"},
    "321J": {
        f"signer's {_NAME}", f"signer's {_POLICY}", f"signer's {_POINTS}", f"issuer's {_POLICY}", f"issuer's {_POINTS}",
        "root's signature is not ECDSA with SHA-256 or SHA-384", "root's key is not on P-256 (in a CA: or P-384)",
        f"root's {_POLICY}", f"root's {_POINTS}",
    },
    "421K": {
        f"signer's {_POINTS}", "signer's extensions are not of the profile", f"issuer's {_SUBJECT}", f"issuer's {_NAME}",
        f"issuer's {_POLICY}", f"issuer's {_POINTS}", f"root's {_NAME}", f"root's {_USAGE}",
    },
    "498L": set(),
    "600F": {f"signer's {_SERIAL}", f"signer's {_NAME}", f"issuer's {_SERIAL}"},
    "738J": {f"signer's {_POINTS}", f"root's {_NAME}"},
    "775J": {f"signer's {_POINTS}", f"issuer's {_POINTS}"},
    "828J": {f"signer's {_NAME}", f"signer's {_POINTS}", f"issuer's {_POINTS}"},
    "872J": set(),
}  # fmt: skip


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if chain.complete], ids=lambda chain: chain.spc)
def test_findings_of_real_chains(chain: Chain) -> None:
    """ATIS-1000080 6.4.1: two of eleven are of the profile, so it is not asked for by default."""
    octets = read(f"stici_real/{chain.file}")
    credential = validate(octets, _observed("roots"), _middle(parse_chain(octets)))
    assert set(credential.findings) == {f"ATIS-1000080 6.4.1: {words}" for words in FINDINGS[chain.spc]}


# --- CRLs ---------------------------------------------------------------------------------------------------------


def _list_outcome(octets: bytes, anchors: TrustAnchors, now: float, *signers: x509.Certificate) -> str:
    try:
        read_crl(octets, anchors, now, signers=signers)
    except StirError as error:
        return error.token
    return "valid"


def _anchor(file: str) -> TrustAnchors:
    return TrustAnchors(parse_chain(read(file)))


@cache
def _generated_crl(form: str) -> Revocations:
    signers = parse_chain(read("generated/cert_pa_signer.pem"))
    return read_crl(read(f"generated/indirect_crl.{form}"), _anchor("generated/cert_pa_root.pem"), NOW, signers=signers)


def test_indirect_crl_has_two_entries_of_two_issuers() -> None:
    """RFC 5280 5.3.3: each with its certificateIssuer."""
    held = _generated_crl("der")
    assert (held.number, held.this_update, held.next_update) == (7, 1699963200, 2524521600)
    assert sorted(identifier.partition(" ")[2] for identifier in held.revoked) == [
        "6115aa14141dc034e22b91f6",
        "d2e7b9989621a5790daa7cc5",
    ]
    assert _generated_crl("pem") == held


@pytest.mark.parametrize(
    ("chain", "expected"),
    [("chain_revoked.pem", "credential_revoked"), ("chain_leaf5678.pem", "good"), ("chain_leaf1234.pem", "good")],
)
def test_revoked_is_who_has_both_serial_number_and_issuer(chain: str, expected: str) -> None:
    """RFC 5280 5.3.3: vectors 51 and 52; the second has a revoked number under another issuer."""
    credential = validate(read(f"generated/{chain}"), _anchor("generated/cert_root.pem"), NOW)
    assert credential.findings == ()
    with nullcontext() if expected == "good" else pytest.raises(StirError, match=expected):
        check_revocation(credential, _generated_crl("der"), NOW, hard=True)


def test_crl_of_another_pa_is_untrusted() -> None:
    """RFC 5280 6.3.3 (f)."""
    signers = parse_chain(read("generated/cert_pa_signer.pem"))
    assert (
        _list_outcome(read("generated/indirect_crl.der"), _anchor("generated/cert_root.pem"), NOW, *signers) == "crl_untrusted"
    )


JULY_2022 = 1657200000


@pytest.mark.parametrize(
    ("file", "now", "expected"),
    [
        ("crl_example.der", JULY_2022, "valid"),
        ("crl_example.der", JULY_2022 + 30 * 86400, "crl_stale"),
        ("crl_example.der", NOW, "crl_untrusted"),  # its signer has expired
        ("ca_crl_example.der", JULY_2022, "crl_untrusted"),  # signed by the root, whose keyUsage lacks cRLSign
    ],
)
def test_french_crl(file: str, now: float, expected: str) -> None:
    """RFC 5280 6.3.3 (f): lists without issuingDistributionPoint, without entries."""
    signers = parse_chain(read("apnf_fr/ca_signing_cert_example.pem"))
    assert _list_outcome(read(f"apnf_fr/{file}"), _anchor("apnf_fr/trustlist_ca_0.pem"), now, *signers) == expected


def test_french_certificate_names_the_issuer_of_its_crl_in_another_order() -> None:
    """RFC 5280 7.1 would have the same order of attributes; published certificates have not."""
    certificate = parse_chain(read("apnf_fr/sti_cert_OPC000.pem"))[0]
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.crl_issuer
    (named,) = point.crl_issuer
    issuer = x509.load_der_x509_crl(read("apnf_fr/crl_example.der")).issuer
    assert isinstance(named.value, x509.Name)
    assert named.value != issuer
    assert issuer_key(named.value) == issuer_key(issuer)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("crlNotRevokedRaw.pem", "good"),
        ("crlRevokedRaw.pem", "credential_revoked"),
        ("deltaCrlNotRevokedRaw.pem", "good"),  # by its name only: it lacks deltaCRLIndicator
        ("deltaCrlRevokedRaw.pem", "credential_revoked"),
        ("crlWithDeltaURLNotRevokedRaw.pem", "crl_malformed"),  # its freshestCRL cannot be read
    ],
)
def test_direct_crl(file: str, expected: str) -> None:
    """RFC 5280 5.1: a CA's own list, which names no issuer in its entries."""
    (ca,) = parse_chain(read("crl/certRaw.pem"))
    outcome = _list_outcome(read(f"crl/{file}"), TrustAnchors([ca]), 1730000000)
    assert outcome == ("crl_malformed" if expected == "crl_malformed" else "valid")
    if outcome == "valid":
        held = read_crl(read(f"crl/{file}"), TrustAnchors([ca]), 1730000000)
        listed = f"{issuer_key(ca.issuer)} {ca.serial_number:x}" in held.revoked
        assert listed is (expected == "credential_revoked")


# --- Trust lists --------------------------------------------------------------------------------------------------


def _trust_list(file: str, now: float = NOW, former: TrustList | None = None) -> TrustList | str:
    signer, anchors = read("generated/cert_pa_signer.pem"), _anchor("generated/cert_pa_root.pem")
    try:
        return read_trust_list(text(f"generated/{file}"), signer, anchors, now, former=former)
    except StirError as error:
        return error.token


def test_trust_list_is_the_anchor_of_calls() -> None:
    """ATIS-1000084: vector 80."""
    held = _trust_list("80_pa_trustlist.jwt")
    assert isinstance(held, TrustList)
    assert held.certificates_pem.encode() == read("generated/cert_root.pem")
    assert (held.sequence, held.expires, held.version, held.skipped) == (42, 2500000000, "1.0", 0)
    assert validate(read("generated/chain_leaf1234.pem"), held.anchors(), NOW).tnauthlist == TNAuthList(spcs=("1234",))
    assert signer_url(text("generated/80_pa_trustlist.jwt")) == "https://pa.example.test/download/v1/certificate/pa.crt"


def test_trust_list_does_not_go_back_and_expires() -> None:
    """ATIS-1000084: vectors 81 and 82."""
    former = _trust_list("80_pa_trustlist.jwt")
    assert isinstance(former, TrustList)
    assert _trust_list("81_pa_trustlist_rollback.jwt", former=former) == "trust_list_rollback"
    assert isinstance(_trust_list("81_pa_trustlist_rollback.jwt"), TrustList)
    assert _trust_list("82_pa_trustlist_expired.jwt") == "trust_list_expired"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        # exp is in 2011, when nobody's certificate was valid: their signatures and signer are good
        ("trustlist_ca.jws.json", "trust_list_expired"),
        ("trustlist_ca_certs.jws.json", "trust_list_malformed"),  # a certList: of intermediates, which are no anchors
        ("trustlist_pa_certs.jws.json", "trust_list_signature"),  # another signer, which is not published
    ],
)
def test_french_trust_list(file: str, expected: str) -> None:
    """RFC 7515 7.2.2: the flattened serialisation."""
    octets = text(f"apnf_fr/{file}")
    assert signer_url(octets) == "https://<domaine-bpco>/ca/certs/2825D0EC08D575B25F595CA683A80F911590FCC3.cer"
    signer, anchors = read("apnf_fr/ca_signing_cert_example.pem"), _anchor("apnf_fr/trustlist_ca_0.pem")
    with pytest.raises(StirError) as caught:
        read_trust_list(octets, signer, anchors, JULY_2022)
    assert caught.value.token == expected


# --- Constraints --------------------------------------------------------------------------------------------------


def test_9118_figure_1_holds_its_constraints() -> None:
    """RFC 9118 figure 1: confidence has to be there and be high or medium; priority must not."""
    held = constraints.of_certificates(parse_chain(read("rfc/rfc9118_fig1.pem")))
    assert held == ClaimConstraints(
        frozenset({"confidence"}), (("confidence", frozenset({"high", "medium"})),), frozenset({"priority"})
    )


# --- TNAuthList ---------------------------------------------------------------------------------------------------


def test_9118_figure_1_holds_its_provider_code() -> None:
    """RFC 9118 figure 1: a TNAuthList next to EnhancedJWTClaimConstraints."""
    _key, authority = fitness(parse_chain(read("rfc/rfc9118_fig1.pem"))[0])
    assert authority == TNAuthList(spcs=("1234",))


DER: dict[str, bytes] = {
    name: bytes.fromhex(forms["hex"]) for name, forms in json.loads(read("generated/tnauthlist_der.json")).items()
}
RANGE = TelephoneNumberRange("12155550000", 100)
GOOD = {
    "spc_1234": TNAuthList(spcs=("1234",)),
    "spc_119F": TNAuthList(spcs=("119F",)),
    "one_12155551212": TNAuthList(numbers=("12155551212",)),
    "range_12155550000_x100": TNAuthList(ranges=(RANGE,)),
    "mixed_spc_range_one": TNAuthList(("1234",), (RANGE,), ("12155551212",)),
}


@pytest.mark.parametrize(("name", "value"), GOOD.items())
def test_good_tnauthlist_is_read_and_written_octet_for_octet(name: str, value: TNAuthList) -> None:
    """RFC 8226 9: explicit tags, IA5String."""
    assert tnauthlist.decode(DER[name]) == value
    assert tnauthlist.encode(value) == DER[name]


@pytest.mark.parametrize("name", [name for name in DER if name.startswith("BAD_")])
def test_bad_tnauthlist_is_refused(name: str) -> None:
    """RFC 8226 9: encodings that give no authority, most of them seen in the field."""
    with pytest.raises(StirError) as caught:
        tnauthlist.decode(DER[name])
    assert caught.value.token == "tnauthlist_malformed"


def test_every_tnauthlist_of_the_file_is_judged() -> None:
    assert DER.keys() == GOOD.keys() | {name for name in DER if name.startswith("BAD_")}
    assert sum(name.startswith("BAD_") for name in DER) == 6
