"""A TOOL FOR TESTS AND QA: what an ACME server checks of a signed request (RFC 8555 6.2 to 6.5, 7.3.4, 7.3.5). Over josepy."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from josepy.errors import Error as JoseError
from josepy.jwa import ES256, HS256
from josepy.jwk import JWK, JWKEC

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_\-]*", re.ASCII)
_MEMBERS: Final = frozenset({"protected", "payload", "signature"})


class Refused(Exception):
    """A problem document (RFC 8555 6.7). `kind` is the last part of its type."""

    def __init__(self, kind: str, detail: str, status: int = 400, headers: Mapping[str, str] = {}) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.headers = dict(headers)

    @property
    def members(self) -> dict[str, object]:
        return {"type": f"urn:ietf:params:acme:error:{self.kind}", "detail": self.detail, "status": self.status}


@dataclass(frozen=True, slots=True)
class Signed:
    """A flattened JWS (RFC 7515 7.2.2) that was not verified yet."""

    header: dict[str, Any]
    payload: bytes
    protected: str
    signing_input: str
    signature: bytes

    def verify(self, key: JWKEC, *, bare: bool = False) -> None:
        """`bare`: what has no payload is signed over the protected header alone. Errors: `malformed`."""
        text = self.protected if bare and not self.payload else self.signing_input
        if not ES256.verify(key.key, text.encode(), self.signature):
            raise Refused("malformed", "the signature is wrong")

    def members(self) -> dict[str, Any]:
        """The payload as a JSON object. Errors: `malformed`."""
        return _object(self.payload)


def read_jws(octets: bytes, algorithm: str = "ES256") -> Signed:
    """RFC 8555 6.2: flattened, nothing unprotected. Errors: `malformed`, `badSignatureAlgorithm`."""
    members = _object(octets)
    if members.keys() != _MEMBERS or not all(isinstance(each, str) for each in members.values()):
        raise Refused("malformed", "no JWS in flattened JSON serialization")
    header = _object(_decoded(members["protected"]))
    if header.get("alg") != algorithm:
        raise Refused("badSignatureAlgorithm", f"alg has to be {algorithm}")
    if "crit" in header:
        raise Refused("malformed", "crit is not understood")
    signing_input = f"{members['protected']}.{members['payload']}"
    return Signed(header, _decoded(members["payload"]), members["protected"], signing_input, _decoded(members["signature"]))


def public_key(jwk: object) -> JWKEC:
    """An account's key: P-256. Errors: `badPublicKey`."""
    try:
        if not isinstance(jwk, dict) or jwk.get("crv") != "P-256" or "d" in jwk:
            raise Refused("badPublicKey", "the key has to be a public one on P-256")
        key = JWK.from_json(jwk)
    except (JoseError, ValueError, TypeError, LookupError) as error:
        raise Refused("badPublicKey", str(error)) from error
    assert isinstance(key, JWKEC)
    return key


def thumbprint(key: JWKEC) -> bytes:
    """RFC 7638 with SHA-256."""
    octets: bytes = key.thumbprint(hash_function=SHA256)
    return octets


def check_binding(binding: object, account: JWKEC, url: str, mac_keys: Mapping[str, bytes]) -> str:
    """RFC 8555 7.3.4: the account's key under the MAC of one whom the CA knows; the key identifier. Errors: `unauthorized`,
    `malformed`.
    """
    signed = read_jws(json.dumps(binding).encode(), "HS256")
    kid = signed.header.get("kid")
    if signed.header.get("url") != url or "nonce" in signed.header:
        raise Refused("malformed", "the binding's url is another, or it has a nonce")
    if not isinstance(kid, str) or kid not in mac_keys:
        raise Refused("unauthorized", "the binding's key identifier is not known", 403)
    if not HS256.verify(mac_keys[kid], signed.signing_input.encode(), signed.signature):
        raise Refused("unauthorized", "the binding's MAC is wrong", 403)
    if thumbprint(public_key(signed.members())) != thumbprint(account):
        raise Refused("malformed", "the binding is for another key")
    return kid


def check_key_change(members: dict[str, Any], account: str, old: JWKEC, url: str) -> JWKEC:
    """RFC 8555 7.3.5: the new key. Errors: `malformed`, `badPublicKey`."""
    inner = read_jws(json.dumps(members).encode())
    new = public_key(inner.header.get("jwk"))
    inner.verify(new)
    if inner.header.get("url") != url or "nonce" in inner.header:
        raise Refused("malformed", "the inner url is another, or it has a nonce")
    change = inner.members()
    if change.get("account") != account or thumbprint(public_key(change.get("oldKey"))) != thumbprint(old):
        raise Refused("malformed", "account or oldKey is another")
    return new


def _decoded(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise Refused("malformed", "no base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _object(octets: bytes) -> dict[str, Any]:
    try:
        members = json.loads(octets)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise Refused("malformed", "no JSON object")
    return members
