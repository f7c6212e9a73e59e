"""RFC 8226 8 and RFC 9118: JWTClaimConstraints and EnhancedJWTClaimConstraints."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import constraints
from kamailio_app.credentials.constraints import ClaimConstraints, decode, encode
from kamailio_app.credentials.credential import Credential, validate
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import InvalidIdentityHeader, UnsupportedCredential
from kamailio_app.lab.pki import Issued, ServiceProvider

from .support import CLAIMS, NOW, anchors, credential, hierarchy, read, without

CONFIDENCE = ClaimConstraints(
    must_include=frozenset({"confidence"}),
    permitted=(("confidence", frozenset({"high", "medium"})),),
    must_exclude=frozenset({"priority"}),
)
BOTH = pytest.mark.parametrize("enhanced", [False, True], ids=["8226", "9118"])


def _held(value: ClaimConstraints | bytes, *, enhanced: bool = True) -> Credential:
    return credential(hierarchy().service_provider(ServiceProvider(constraints=value, enhanced=enhanced)))


def _outcome(value: ClaimConstraints, *, enhanced: bool = True, **claims: object) -> str:
    held = _held(value, enhanced=enhanced).constraints
    assert held is not None
    try:
        held.check({**CLAIMS, **claims})
    except InvalidIdentityHeader as error:
        return error.token
    return "permitted"


def _refused(value: bytes, *, enhanced: bool = True) -> bool:
    try:
        decode(value, enhanced)
    except UnsupportedCredential as error:
        return error.token == "constraints_malformed"
    return False


# --- Encoding -----------------------------------------------------------------------------------------------------


def test_9118_figure_1_and_2_are_read_and_written_octet_for_octet() -> None:
    """RFC 9118 3, figures 1 and 2: mustInclude, permittedValues and mustExclude, each with an explicit tag."""
    certificate = x509.load_pem_x509_certificate(read("rfc/rfc9118_fig1.pem"))
    der = certificate.extensions.get_extension_for_oid(constraints.ENHANCED_OID).value.public_bytes()
    assert der.hex() == (
        "3040a00e300c160a636f6e666964656e6365"
        "a120301e301c160a636f6e666964656e6365300e0c04686967680c066d656469756d"
        "a20c300a16087072696f72697479"
    )
    assert decode(der, enhanced=True) == CONFIDENCE
    assert encode(CONFIDENCE, enhanced=True) == der
    assert constraints.of_certificates([certificate]) == CONFIDENCE


def test_jwt_claim_constraints_are_the_same_without_must_exclude() -> None:
    """RFC 8226 8: SEQUENCE { mustInclude [0], permittedValues [1] }."""
    value = CONFIDENCE.__class__(CONFIDENCE.must_include, CONFIDENCE.permitted)
    der = encode(value, enhanced=False)
    assert decode(der, enhanced=False) == value
    assert decode(der, enhanced=True) == value
    assert _refused(encode(CONFIDENCE, enhanced=True), enhanced=False)


@BOTH
@pytest.mark.parametrize(
    "der",
    [
        "",
        "3000",  # none of the components
        "0500",
        "3004a0023000",  # SIZE (1..MAX)
        "3004a1023000",
        "300ba10930073005160161" + "3000",  # no value
        "3009a0073005160361626300",  # something behind it
        "3009a00730050c03616263",  # UTF8String as a name
        "3007a0053003160161" + "00",
        "30800000",
        "3009a007300516036162",  # cut off
        "3005a003160161",  # no SEQUENCE
        "30078005300316016100",
        "300ca1083006160161300116a000",
    ],
)
def test_anything_else_is_malformed(der: str, enhanced: bool) -> None:
    """RFC 8226 8, RFC 9118 3: ASN.1 in DER; at least one component; nothing empty."""
    assert _refused(bytes.fromhex(der), enhanced=enhanced)


def test_certificate_with_malformed_constraints_is_refused() -> None:
    """RFC 9118 3: what cannot be read cannot be obeyed."""
    with pytest.raises(UnsupportedCredential, match="constraints_malformed"):
        _held(b"\x30\x00")


def test_both_extensions_in_one_certificate_are_refused() -> None:
    """RFC 9118 3: a certificate MUST NOT include both."""
    issued = hierarchy().service_provider(ServiceProvider(constraints=CONFIDENCE))
    plain = x509.UnrecognizedExtension(constraints.OID, encode(ClaimConstraints(frozenset({"confidence"})), enhanced=False))
    chain = _with(issued, plain).public_bytes(Encoding.PEM) + hierarchy().intermediate.pem
    with pytest.raises(UnsupportedCredential, match="constraints_malformed: both"):
        validate(chain, anchors(), NOW)


def _with(issued: Issued, extension: x509.ExtensionType) -> x509.Certificate:
    """The certificate, issued again with one more extension."""
    old = issued.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), old.serial_number, old.not_valid_before_utc, old.not_valid_after_utc
    )
    for held in old.extensions:
        builder = builder.add_extension(held.value, held.critical)
    return builder.add_extension(extension, critical=False).sign(hierarchy().intermediate.key, SHA256())


# --- Meaning ------------------------------------------------------------------------------------------------------


def test_certificate_without_constraints_has_none() -> None:
    """RFC 8226 8: the extension is optional."""
    assert credential().constraints is None


@BOTH
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"confidence": "high"}, "permitted"),
        ({"confidence": "medium"}, "permitted"),
        ({"confidence": "low"}, "claim_not_permitted"),
        ({"confidence": "High"}, "claim_not_permitted"),
        ({"confidence": ""}, "claim_not_permitted"),
        ({"confidence": ["high"]}, "claim_not_permitted"),
        ({}, "claim_not_permitted"),
    ],
)
def test_example_of_the_standard(claims: dict[str, object], expected: str, enhanced: bool) -> None:
    """RFC 8226 8, RFC 9118 4: a claim of mustInclude is there, and has one of the permitted values."""
    value = ClaimConstraints(CONFIDENCE.must_include, CONFIDENCE.permitted)
    assert _outcome(value, enhanced=enhanced, **claims) == expected


@BOTH
def test_permitted_values_bind_only_a_claim_that_is_there(enhanced: bool) -> None:
    """RFC 8226 8: permittedValues says which values a claim may have if it is present."""
    value = ClaimConstraints(permitted=CONFIDENCE.permitted)
    assert _outcome(value, enhanced=enhanced) == "permitted"
    assert _outcome(value, enhanced=enhanced, confidence="low") == "claim_not_permitted"


def test_excluded_claim_may_not_be_there() -> None:
    """RFC 9118 4: a claim of mustExclude, whatever its value."""
    value = ClaimConstraints(must_exclude=frozenset({"priority"}))
    assert _outcome(value) == "permitted"
    assert _outcome(value, priority="") == "claim_not_permitted"
    assert _outcome(value, priority=None) == "claim_not_permitted"


@pytest.mark.parametrize("name", ["iat", "orig", "dest"])
def test_baseline_claims_are_always_to_be_there(name: str) -> None:
    """RFC 8226 8, RFC 9118 4: iat, orig and dest without being listed."""
    held = _held(ClaimConstraints(must_exclude=frozenset({"priority"}))).constraints
    assert held is not None
    with pytest.raises(InvalidIdentityHeader, match="claim_not_permitted"):
        held.check(without(CLAIMS, name))


@pytest.mark.parametrize("name", ["iat", "orig", "dest"])
def test_constraints_that_exclude_a_baseline_claim_count_as_absent(name: str) -> None:
    """RFC 9118 3: mustExclude MUST NOT name them; such an extension is treated as not present."""
    value = ClaimConstraints(must_include=frozenset({"confidence"}), must_exclude=frozenset({name, "priority"}))
    assert _held(value).constraints is None


def test_claim_that_is_no_string_is_compared_as_its_json() -> None:
    """RFC 8225 9: the deterministic form: no spaces, names in order. Values in a certificate are strings."""
    rcdi = {"/jcl": "sha256-b", "/icn": "sha256-a"}
    value = ClaimConstraints(permitted=(("rcdi", frozenset({'{"/icn":"sha256-a","/jcl":"sha256-b"}'})),))
    assert _outcome(value, rcdi=rcdi) == "permitted"
    assert _outcome(value, rcdi={**rcdi, "/icn": "sha256-x"}) == "claim_not_permitted"
    level = ClaimConstraints(permitted=(("level", frozenset({"5", "true"})),))
    assert [_outcome(level, level=given) for given in (5, "5", True, 6, False)] == [
        *("permitted",) * 3,
        *("claim_not_permitted",) * 2,
    ]


def test_constraint_on_attest_in_a_shaken_certificate() -> None:
    """RFC 8226 8: a provider that may sign with B and C only."""
    value = ClaimConstraints(permitted=(("attest", frozenset({"B", "C"})),))
    assert _outcome(value, attest="B") == "permitted"
    assert _outcome(value, attest="A") == "claim_not_permitted"


# --- Chains -------------------------------------------------------------------------------------------------------


def _delegated(parent: ClaimConstraints | None, own: ClaimConstraints | None) -> Credential:
    numbers = TNAuthList(numbers=("12155550121",))
    issuer = hierarchy().service_provider(ServiceProvider(ca=True, constraints=parent))
    return credential(hierarchy().service_provider(ServiceProvider(tnauthlist=numbers, constraints=own), issuer))


def test_constraints_of_an_issuer_bind_whom_it_issues_to() -> None:
    """RFC 9118 3, RFC 9060 4: a holder that may delegate does not get rid of its constraints that way."""
    assert _delegated(CONFIDENCE, None).constraints == CONFIDENCE
    assert _delegated(None, CONFIDENCE).constraints == CONFIDENCE
    assert _delegated(None, None).constraints is None


def test_constraints_of_a_path_hold_together() -> None:
    """RFC 9118 4: each of them, so that a value has to be permitted by all."""
    parent = ClaimConstraints(frozenset({"a"}), (("attest", frozenset({"A", "B"})),), frozenset({"x"}))
    own = ClaimConstraints(frozenset({"b"}), (("attest", frozenset({"B", "C"})),), frozenset({"y"}))
    held = _delegated(parent, own).constraints
    assert held is not None
    good = {**CLAIMS, "a": "", "b": "", "attest": "B"}
    held.check(good)
    for bad in ({"attest": "A"}, {"attest": "C"}, {"x": ""}, {"y": ""}):
        with pytest.raises(InvalidIdentityHeader, match="claim_not_permitted"):
            held.check({**good, **bad})
    for missing in ("a", "b"):
        with pytest.raises(InvalidIdentityHeader, match="claim_not_permitted"):
            held.check(without(good, missing))
