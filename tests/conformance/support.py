"""What the conformance tests share: a request and a PASSporT that are right, of which a test states its deviation.

PASSporTs are built here with json, base64 and cryptography alone, so that a mistake of the product cannot hide in its own
encoder. Certificates come from the lab's hierarchy or from `tests/vectors`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from kamailio_app import sti_as, sti_vs
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signed, SignedCall, Signer, SigningRules, Wanted
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.verdict import Verification

VECTORS = Path(__file__).parent.parent / "vectors"
GENERATED = VECTORS / "generated"

NOW = 1700000010
ORIG = "12155550121"
DEST = "12155550131"
ORIGID = "123e4567-e89b-12d3-a456-426655440000"
X5U = "https://cr.example.test/1234/chain_leaf1234.pem"

HEADER = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U}
CLAIMS = {"attest": "A", "dest": {"tn": [DEST]}, "iat": NOW - 10, "orig": {"tn": ORIG}, "origid": ORIGID}
INVITE = Request(
    method="INVITE",
    request_uri=f"sip:+{DEST}@term.example.net;user=phone",
    from_uri=f"sip:+{ORIG}@orig.example.com;user=phone",
    to_uri=f"sip:+{DEST}@orig.example.com;user=phone",
)
SIGNING = SigningRules()
VERIFICATION = VerificationRules()

T = TypeVar("T")


def replace(value: T, **changes: Any) -> T:
    """A copy with other fields, of a dataclass or a named tuple."""
    if isinstance(value, tuple):
        return cast("T", type(value)(**{**value._asdict(), **changes}))  # type: ignore[attr-defined]
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


@cache
def hierarchy() -> Hierarchy:
    return Hierarchy(NOW)


@cache
def anchors() -> TrustAnchors:
    return TrustAnchors([hierarchy().root.certificate])


@cache
def provider() -> Issued:
    """The service provider that signs unless a test says otherwise."""
    return hierarchy().service_provider()


def credential(issued: Issued | None = None) -> Credential:
    return validate((issued or provider()).chain_pem, anchors(), NOW)


def issued_credential(**deviation: Any) -> Credential:
    return credential(hierarchy().service_provider(ServiceProvider(**deviation)))


def signer(key: ec.EllipticCurvePrivateKey | None = None, **deviation: Any) -> Signer:
    usual = Signer("leaf1234", X5U, NOW - 3600, NOW + 3600, "", ("1234",), key or provider().key)
    return replace(usual, **deviation)


def sign(
    request: Request = INVITE,
    attest: Attestation = Attestation.FULL,
    rules: SigningRules = SIGNING,
    signer_: Signer | None = None,
    *,
    now: float = NOW,
    origid: str = ORIGID,
) -> Signed:
    return sti_as.sign(request, attest, signer_ or signer(), rules, now=now, origid=origid)


def sign_all(
    request: Request = INVITE,
    rules: SigningRules = SIGNING,
    signer_: Signer | None = None,
    *,
    attest: Attestation = Attestation.FULL,
    **wanted: Any,
) -> SignedCall:
    return sti_as.sign_all(request, Wanted(attest, **wanted), signer_ or signer(), rules, now=NOW, origid=ORIGID)


def passes_on(
    made: SignedCall,
    request: Request = INVITE,
    rules: VerificationRules = VERIFICATION,
    credentials: Mapping[str, Credential] | None = None,
) -> Verification:
    """What the next network's verification service says of the request as it is sent. `credentials` are those of others."""
    before = request.identity if made.keep is None else made.keep
    date = made.date or request.date
    request = replace(request, identity=(*before, *made.identities), date=date)
    examination = sti_vs.examine(request, replace(rules, ignore_sip_date_header=False), now=NOW)
    answers = {**dict.fromkeys(examination.needed, credential()), **(credentials or {})}
    return sti_vs.conclude(examination, answers, now=NOW)


# --- PASSporTs ----------------------------------------------------------------------------------------------------


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def raw_signature(signing_input: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def signature_holds(token: str, key: ec.EllipticCurvePublicKey) -> bool:
    """An independent ES256 check: cryptography alone, over the text as it stands."""
    signing_input, _, signature = token.rpartition(".")
    raw = unb64(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        key.verify(der, signing_input.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return len(raw) == 64


def compact_json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def token(
    header: Mapping[str, Any] | bytes = HEADER,
    claims: Mapping[str, Any] | bytes = CLAIMS,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> str:
    """A signed PASSporT; header and claims as objects, or as the very octets."""
    parts = [b64(part if isinstance(part, bytes) else compact_json(part)) for part in (header, claims)]
    signing_input = ".".join(parts)
    return f"{signing_input}.{b64(raw_signature(signing_input, key or provider().key))}"


def without(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


def identity(passport: str, parameters: str = f";info=<{X5U}>;alg=ES256;ppt=shaken") -> str:
    return passport + parameters


def parts(identity_value: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """JOSE header, claims and signature of an Identity value, read by other means than the product's."""
    header, claims, signature = identity_value.partition(";")[0].split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims)), unb64(signature)


# --- Verification -------------------------------------------------------------------------------------------------


def verify(
    *identities: str,
    request: Request = INVITE,
    credential_: Credential | StirError | None = None,
    rules: VerificationRules = VERIFICATION,
    now: float = NOW,
) -> Verification:
    """Both steps, every URL answered with one credential."""
    examination = sti_vs.examine(replace(request, identity=identities), rules, now=now)
    answer = credential_ or credential()
    return sti_vs.conclude(examination, dict.fromkeys(examination.needed, answer), now=now)


def outcome(*identities: str, **deviation: Any) -> str:
    """The failure token, or "valid"."""
    return verify(*identities, **deviation).token or "valid"


def outcome_of_claims(**claims: Any) -> str:
    return outcome(identity(token(claims={**CLAIMS, **claims})))


# --- Files --------------------------------------------------------------------------------------------------------


def read(path: str) -> bytes:
    return (VECTORS / path).read_bytes()


def text(path: str) -> str:
    return read(path).decode().strip()


def public_key(path: str) -> ec.EllipticCurvePublicKey:
    """Of a PEM file with a certificate or a public key."""
    octets = read(path)
    key = x509.load_pem_x509_certificate(octets).public_key() if b"BEGIN CERTIFICATE" in octets else load_pem_public_key(octets)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def private_key(path: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(read(path), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
