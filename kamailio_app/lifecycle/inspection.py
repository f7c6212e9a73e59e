"""Any file on the way to a certificate, or from a call: what it is, what it says, what is wrong with it.

What it is, is found out from the octets; or it is named, and then the failure says why it is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kamailio_app.credentials.jws import JwsRefused, json_object, read_jws
from kamailio_app.errors import ProviderRefused, StirError, failure
from kamailio_app.grammar import FOLD
from kamailio_app.lifecycle.inspection_certificates import look_at_certificates
from kamailio_app.lifecycle.inspection_content import Content, authority_in_words
from kamailio_app.lifecycle.inspection_crl import look_at_crl
from kamailio_app.lifecycle.inspection_key import look_at_key, look_at_public_key
from kamailio_app.lifecycle.inspection_passport import identity_fields, look_at_identity
from kamailio_app.lifecycle.inspection_request import look_at_request
from kamailio_app.lifecycle.inspection_signed import LIST_ANSWERS, LISTS, look_at_ca_list, look_at_token
from kamailio_app.lifecycle.inspection_trust import Trusted
from kamailio_app.lifecycle.spc_token import ANSWERS, read_tkvalue

AUTO: Final = "auto"
MAX_OCTETS: Final = 16 << 20  # what the servers fetch from the STI-PA at most
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
# Header, claims and signature, whatever is wrong with them; "eyJ" is how a JSON object begins in base64url
_PASSPORT: Final = re.compile(r"(?:eyJ|[A-Za-z0-9+/=_\-]{16,}\.|\.)[A-Za-z0-9+/=_.\-]*[ \t]*(?:;.*)?", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{4,4096}={0,2}", re.ASCII)
_SEQUENCE: Final = b"0"  # of DER


class Origin(NamedTuple):
    """Where the octets are from and what is needed to look at them. `mode` is a file's; `now` in seconds since 1970."""

    trust: Trusted
    now: float
    mode: int | None = None
    passphrase: bytes | None = None


_Look = Callable[[bytes, Origin], list[Content]]


def inspect(octets: bytes, origin: Origin, kind: str = AUTO) -> list[Content]:
    """All that is in the octets. Errors: `file_unknown`; those of the kind that it is, or is said to be."""
    if len(octets) > MAX_OCTETS:
        raise failure("file_unknown", f"more than {MAX_OCTETS >> 20} MiB")
    if kind != AUTO:
        return KINDS[kind](octets, origin)
    if octets[:1] == _SEQUENCE and not octets.isascii():
        return _as_der(octets, origin)
    text = _text(octets)
    if text.startswith("{"):
        return KINDS[_kind_of_json(text)](octets, origin)
    if labels := [match[1].decode("ascii") for match in _BLOCK.finditer(octets)]:
        return _as_pem(octets, labels, origin)
    return KINDS[_kind_of_text(text)](octets, origin)


# --- What it may be -------------------------------------------------------------------------------------------------


def _key(octets: bytes, origin: Origin) -> list[Content]:
    return [look_at_key(octets, mode=origin.mode, passphrase=origin.passphrase)]


def _public_key(octets: bytes, _origin: Origin) -> list[Content]:
    return [look_at_public_key(octets)]


def _request(octets: bytes, _origin: Origin) -> list[Content]:
    return [look_at_request(octets)]


def _certificates(octets: bytes, origin: Origin) -> list[Content]:
    return [look_at_certificates(octets, origin.trust, origin.now)]


def _crl(octets: bytes, origin: Origin) -> list[Content]:
    return [look_at_crl(octets, origin.trust, origin.now)]


def _ca_list(octets: bytes, origin: Origin) -> list[Content]:
    return [look_at_ca_list(_text(octets), origin.trust, origin.now)]


def _token(octets: bytes, origin: Origin) -> list[Content]:
    return [look_at_token(_text(octets), origin.trust, origin.now)]


def _passports(octets: bytes, _origin: Origin) -> list[Content]:
    text = _text(octets)
    return [look_at_identity(value) for value in identity_fields(text) or _lines(text) or [text]]


def _tnauthlist(octets: bytes, _origin: Origin) -> list[Content]:
    try:
        authority = read_tkvalue(_text(octets))
    except ProviderRefused as error:
        raise failure("tnauthlist_malformed", error.detail) from error
    return [Content("TNAuthList", {"entries": authority_in_words(authority)})]


KINDS: Final[Mapping[str, _Look]] = {
    "key": _key,
    "public-key": _public_key,
    "csr": _request,
    "certificate": _certificates,
    "crl": _crl,
    "ca-list": _ca_list,
    "spc-token": _token,
    "passport": _passports,
    "tnauthlist": _tnauthlist,
}
_LABELS: Final = {
    "CERTIFICATE": "certificate",
    "CERTIFICATE REQUEST": "csr",
    "NEW CERTIFICATE REQUEST": "csr",
    "X509 CRL": "crl",
    "PRIVATE KEY": "key",
    "ENCRYPTED PRIVATE KEY": "key",
    "EC PRIVATE KEY": "key",
    "RSA PRIVATE KEY": "key",
    "PUBLIC KEY": "public-key",
}


# --- What it is -----------------------------------------------------------------------------------------------------


def _text(octets: bytes) -> str:
    # Latin-1 keeps every octet as a character that no grammar here allows
    return octets.decode("latin-1").strip(" \t\r\n\ufeff").removeprefix("\xef\xbb\xbf")


def _as_der(octets: bytes, origin: Origin) -> list[Content]:
    """DER does not say what it is: the first that reads it is right. Most are certificates."""
    errors = []
    for kind in ("certificate", "crl", "csr", "key", "public-key"):
        try:
            return KINDS[kind](octets, origin)
        except StirError as error:
            errors.append(error)
    raise failure("file_unknown", f"DER; as a certificate {errors[0]}")


def _lines(text: str) -> list[str]:
    """The values, if each line is one of an Identity header field; a line that begins with a space continues the one before."""
    lines = [line.strip() for line in FOLD.sub(" ", text).splitlines()]
    return lines if all(map(_PASSPORT.fullmatch, lines)) else []


def _as_pem(octets: bytes, labels: list[str], origin: Origin) -> list[Content]:
    """A file may hold a key and its chain."""
    kinds = dict.fromkeys(_LABELS[label] for label in labels if label in _LABELS)
    if not kinds:
        raise failure("file_unknown", f"PEM of {', '.join(dict.fromkeys(labels))}"[:200])
    return [content for kind in kinds for content in KINDS[kind](octets, origin)]


def _kind_of_json(text: str) -> str:
    """The STI-PA's answer, or a JWS in JSON."""
    try:
        members = json_object(text.encode("latin-1"))
    except JwsRefused as error:
        raise failure("file_unknown", f"JSON: {error.detail}") from error
    if any(isinstance(members.get(name), str) for name in LIST_ANSWERS):
        return "ca-list"
    if any(isinstance(members.get(name), str) for name in ANSWERS):
        return "spc-token"
    if "payload" not in members:
        raise failure("file_unknown", "JSON, but neither a JWS nor an answer of the STI-PA")
    return _kind_of_jws(text)


def _kind_of_text(text: str) -> str:
    if identity_fields(text):
        return "passport"
    if lines := _lines(text):
        return _kind_of_jws(text) if len(lines) == 1 else "passport"
    if _BASE64.fullmatch(text):
        return "tnauthlist"
    raise failure("file_unknown", "neither PEM, DER, JSON, a JWS nor an Identity header" if text else "empty")


def _kind_of_jws(text: str) -> str:
    """By what is signed; a PASSporT is what nothing else is."""
    try:
        payload: dict[str, Any] = json_object(read_jws(text).payload)
    except JwsRefused:
        return "passport" if not text.startswith("{") else "ca-list"
    if "atc" in payload:
        return "spc-token"
    return "ca-list" if any(name in payload for name in LISTS) else "passport"
