"""PASSporTs and Identity headers, looked at part by part. Nothing is verified here: that is what `shakenctl explain` does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import FOLD, LWS
from kamailio_app.identity import IdentityHeader, parse_identity, split_values
from kamailio_app.lifecycle.inspection_content import Content, Finding, moment
from kamailio_app.passport.encoding import from_base64url, json_object
from kamailio_app.passport.es256 import SIGNATURE_OCTETS
from kamailio_app.passport.passport import SHAKEN, jose_header, shaken_passport

PASSPORT: Final = "PASSporT"
IDENTITY: Final = "Identity header"
_FIELD: Final = re.compile(rf"^(?:Identity|y){LWS}:(.*)$", re.IGNORECASE | re.MULTILINE)
_NOT_VERIFIED: Final = "not verified: `shakenctl explain` says what a verifier makes of it"
_SPACE: Final = re.compile(r"\s+")
_ALPHABET: Final = re.compile(r"[A-Za-z0-9_\-]*", re.ASCII)
_YEAR_10000: Final = 253402300800


def identity_fields(text: str) -> list[str]:
    """The values of the Identity header fields of a SIP message, or of header lines (RFC 3261 7.3.3 has y for Identity)."""
    unfolded = FOLD.sub(" ", text.replace("\r\n", "\n"))
    return [value for match in _FIELD.finditer(unfolded) for value in split_values(match[1].strip())]


def look_at_identity(value: str) -> Content:
    """One value of an Identity header field; or a PASSporT alone, full or compact. What is wrong is among the findings."""
    digest, semicolon, _ = value.partition(";")
    if not semicolon:
        return _decoded(Content(PASSPORT), _SPACE.sub("", digest))
    try:
        header = parse_identity(value)
    except StirError as error:
        content = Content(IDENTITY, findings=[Finding.of(error)])
        return _decoded(content, _SPACE.sub("", digest))
    content = Content(IDENTITY, {"parameters": {name: held for name, held in header.parameters._asdict().items() if held}})
    return _decoded(content, header.digest, header)


def _decoded(content: Content, digest: str, header: IdentityHeader | None = None) -> Content:
    parts = digest.split(".")
    for name, text in zip(("header", "claims", "signature"), parts, strict=False):
        _show_part(content, name, text)
    _show_time(content)
    if len(parts) != 3:
        content.add(Finding.of(failure("passport_malformed", f"{len(parts)} parts")))
    elif not digest.startswith(".."):
        _show_form(content, digest)
    else:
        content.remarks.append("compact form: header and claims are rebuilt from the SIP request (RFC 8225 7)")
    if header is not None:
        _compare(content, header)
    content.remarks.append(_NOT_VERIFIED)
    return content


def _show_part(content: Content, name: str, text: str) -> None:
    if not text:
        return
    try:
        if not _ALPHABET.fullmatch(text):
            raise failure("passport_malformed", f"{name} is not base64url without padding")
        octets = from_base64url(text)
        content.fields[name] = f"{len(octets)} octets" if name == "signature" else json_object(octets)
    except StirError as error:
        content.fields[name] = f"{len(text)} characters that cannot be decoded"
        content.add(Finding.of(error))


def _show_time(content: Content) -> None:
    """iat, as a person reads it."""
    claims = content.fields.get("claims")
    iat = claims.get("iat") if isinstance(claims, dict) else None
    if isinstance(iat, int) and not isinstance(iat, bool) and 0 <= iat < _YEAR_10000:
        content.fields["signed"] = moment(datetime.fromtimestamp(iat, UTC))


def _show_form(content: Content, digest: str) -> None:
    """What the core says to its form, as far as it decodes."""
    if not all(isinstance(content.fields.get(name), dict) for name in ("header", "claims")):
        return
    try:
        header = jose_header(digest.partition(".")[0])
        if header.ppt == SHAKEN:
            shaken_passport(digest, header)
    except StirError as error:
        content.add(Finding.of(error))
    if content.fields.get("signature") != f"{SIGNATURE_OCTETS} octets":
        content.add(Finding("RFC 7518 3.4", f"the signature has not {SIGNATURE_OCTETS} octets"))


def _compare(content: Content, header: IdentityHeader) -> None:
    """RFC 8224 4.1: parameters repeat what the header says."""
    members: Any = content.fields.get("header")
    if not isinstance(members, dict):
        return
    for parameter, member in _pairs(header):
        if parameter is not None and members.get(member) != parameter:
            content.add(Finding("RFC 8224 4.1", f"the parameter for {member} is not what the PASSporT's header says"))


def _pairs(header: IdentityHeader) -> Iterator[tuple[str | None, str]]:
    yield header.parameters.info, "x5u"
    yield header.parameters.alg, "alg"
    yield header.parameters.ppt, "ppt"
