"""The shaken PASSporT as a value: JOSE header, claims, the octets that are signed, the signature (RFC 8225 3-6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import ShakenClaims, deterministic_claims, shaken_claims
from kamailio_app.passport.encoding import canonical_json, from_base64url, json_object, to_base64url

SHAKEN: Final = "shaken"
MAX_JOSE_TEXT: Final = 4096
_REMEMBERED_HEADERS: Final = 1024


class JoseHeader(NamedTuple):
    """The protected header (RFC 8225 4). `ppt` is None for a base PASSporT."""

    alg: str
    ppt: str | None
    typ: str
    x5u: str

    def text(self) -> str:
        """Its part of the PASSporT: constant per certificate, so made once."""
        return to_base64url(canonical_json({name: value for name, value in self._asdict().items() if value is not None}))


class Passport(NamedTuple):
    """A decoded full-form shaken PASSporT; nothing is verified yet. `signing_input` is what was received, octet for octet.

    `members` is the whole payload where it is not just the five claims in deterministic JSON, which it nearly always is.
    """

    header: JoseHeader
    claims: ShakenClaims
    signing_input: bytes
    signature: bytes
    members: Mapping[str, Any] | None = None

    def payload(self) -> Mapping[str, Any]:
        """All claims, also those that mean nothing to us."""
        return self.claims.members() if self.members is None else self.members


def jose_header(text: str) -> JoseHeader:
    """Decode the protected header. Errors: `passport_malformed`, `jose_header_incomplete`, `typ_unsupported`,
    `alg_unsupported`, `info_mismatch`, `claim_malformed`.
    """
    if len(text) > MAX_JOSE_TEXT:
        raise failure("passport_malformed", "JOSE header too large")
    return _remembered_header(text)


@lru_cache(maxsize=_REMEMBERED_HEADERS)
def _remembered_header(text: str) -> JoseHeader:
    # One certificate's header is the same text in every call; exceptions are not remembered
    members = json_object(from_base64url(text))
    for name in ("typ", "alg", "x5u"):
        if name not in members:
            raise failure("jose_header_incomplete", name)
    header = JoseHeader(members["alg"], members.get("ppt"), members["typ"], members["x5u"])
    if header.typ != "passport":
        raise failure("typ_unsupported", repr(header.typ))
    # RFC 8225 4: an allow-list of one, checked before any key is looked at
    if header.alg != "ES256":
        raise failure("alg_unsupported", repr(header.alg))
    # What is no text is no URI that info could be
    if type(header.x5u) is not str:
        raise failure("info_mismatch", f"x5u is {header.x5u!r}")
    if header.ppt is not None and type(header.ppt) is not str:
        raise failure("claim_malformed", "ppt")
    return header


def jose_ppt(text: str) -> str | None:
    """The type that a protected header names, whatever else is wrong with it; None if it says none."""
    try:
        ppt = json_object(from_base64url(text)).get("ppt") if len(text) <= MAX_JOSE_TEXT else None
    except StirError:
        return None
    return ppt if type(ppt) is str else None


def shaken_passport(digest: str, header: JoseHeader | None = None) -> Passport:
    """Decode the full form "header.payload.signature" of a shaken PASSporT. `header`, if it is decoded already.

    The digest has been through the Identity grammar. Errors: those of `jose_header` and `shaken_claims`, `ppt_mismatch`.
    """
    header_text, payload_text, signature_text = digest.split(".")
    header = header or jose_header(header_text)
    if header.ppt != SHAKEN:
        raise failure("ppt_mismatch", repr(header.ppt))
    payload = from_base64url(payload_text)
    signature = from_base64url(signature_text)
    # RFC 8225 6: the octets as received, never a re-encoding
    signed = digest[: len(header_text) + 1 + len(payload_text)].encode("ascii")
    if claims := deterministic_claims(payload):
        return Passport(header, claims, signed, signature)
    members = json_object(payload)
    return Passport(header, shaken_claims(members), signed, signature, members)
