"""A TOOL FOR TESTS AND QA: how an STI-CA looks at an SPC token, in the nine steps of RFC 9448 6. Over josepy, apart from the
client.
"""

from __future__ import annotations

import json
import re
import warnings
from base64 import b64decode, urlsafe_b64decode
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from josepy.jwa import ES256

from kamailio_app.credentials.certificate import MALFORMED, parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.errors import StirError

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_\-]+", re.ASCII)
_MAX_TOKEN: Final = 16384
_ATC: Final = {"tktype": str, "tkvalue": str, "fingerprint": str}


class TokenRefused(Exception):
    """Which of the nine steps failed, and why."""

    def __init__(self, step: int, words: str) -> None:
        super().__init__(f"step {step}: {words}")
        self.step = step


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was read, not verified. `x5u` is empty if it brings its certificates along: `x5c`."""

    header: dict[str, Any]
    payload: dict[str, Any]
    atc: dict[str, Any]
    signing_input: str
    signature: bytes
    x5u: str
    x5c: bytes


def read_token(text: object) -> Token:
    """Step 1, and what steps 2 and 3 want of the header. Errors: `TokenRefused`."""
    if not isinstance(text, str) or len(text) > _MAX_TOKEN or text.count(".") != 2:
        _no(1, "no JWS in compact serialization")
    parts = text.split(".")
    if not all(_BASE64URL.fullmatch(part) for part in parts):
        _no(1, "no base64url")
    header, payload = (_object(_decoded(part)) for part in parts[:2])
    if header.get("alg") != "ES256" or "crit" in header:
        _no(4, "alg or crit")
    atc = payload.get("atc")
    if not isinstance(atc, dict) or any(type(atc.get(name)) is not kind for name, kind in _ATC.items()):
        _no(1, "atc lacks tktype, tkvalue or fingerprint")
    if type(atc.get("ca", False)) is not bool:
        _no(1, "ca is no boolean")
    x5u, x5c = header.get("x5u", ""), header.get("x5c")
    if x5c is None and (not isinstance(x5u, str) or not x5u.startswith("https://")):
        _no(2, "x5u is no HTTPS URL")
    certificates = b"" if x5c is None else _x5c(x5c)
    return Token(header, payload, atc, ".".join(parts[:2]), _decoded(parts[2]), "" if x5c is not None else x5u, certificates)


def check_token(token: Token, signer_octets: bytes, anchors: TrustAnchors, now: float, *, der: bytes, fingerprint: str) -> bool:
    """Steps 2 to 8: whether the certificate may be a CA's, which step 9 compares with the request.

    `signer_octets`: what is at its x5u; `der`: the TNAuthList of the order's identifier; `fingerprint`: of the account's key.
    Errors: `TokenRefused`.
    """
    step = 3 if token.x5c else 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signer, *others = parse_chain(token.x5c or signer_octets)
            anchors.path(signer, others, now)
            key = signer.public_key()
    except (StirError, *MALFORMED) as error:
        _no(step, f"who signed it is no issuer that we trust: {error}")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        _no(4, "the signer's key is not on P-256")
    if not ES256.verify(key, token.signing_input.encode(), token.signature):
        _no(4, "the signature is wrong")
    if token.atc["tktype"] != "TNAuthList":
        _no(5, "tktype is not TNAuthList")
    if _either_base64(token.atc["tkvalue"]) != der:
        _no(6, "tkvalue is not the order's identifier")
    expires, jti = token.payload.get("exp"), token.payload.get("jti")
    if type(expires) is not int or not isinstance(jti, str) or not jti:
        _no(7, "exp or jti is missing")
    if expires <= now:
        _no(7, "the token has expired")
    if token.atc["fingerprint"] != fingerprint:
        _no(8, "fingerprint is not the account key's")
    return bool(token.atc.get("ca", False))


def _no(step: int, words: str) -> NoReturn:
    raise TokenRefused(step, words)


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        _no(1, "no base64url")


def _object(octets: bytes) -> dict[str, Any]:
    try:
        members = json.loads(octets)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        _no(1, "no JSON object")
    return members


def _either_base64(text: str) -> bytes:
    """RFC 9448 5.2 has base64url; STI-PAs write base64 (PA-9)."""
    try:
        return b64decode(
            text.replace("-", "+").replace("_", "/").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except ValueError:
        _no(6, "tkvalue is no base64")


def _x5c(members: object) -> bytes:
    try:
        assert isinstance(members, list)
        return b"".join(x509.load_der_x509_certificate(b64decode(each)).public_bytes(Encoding.PEM) for each in members)
    except (AssertionError, *MALFORMED):
        _no(3, "x5c holds no certificates")
