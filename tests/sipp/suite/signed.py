"""The Identity header that a system made, read with PyJWT and cryptography alone: this project's own reading has no part."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final

import jwt
from cryptography import x509

from kamailio_app.lab.sipp import Message
from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.scenario import TYPES, Call, Signed
from tests.sipp.suite.trace import all_values

_FRESH: Final = 10.0  # seconds since it was signed, in a laboratory
_NEAR: Final = 60  # seconds between iat and Date: RFC 8224 6.1 step 3
_FIELD: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)((?:\s*;\s*[^;]+)*)")
_COMPACT: Final = re.compile(r"\.\.([A-Za-z0-9_-]{86});info=<([^<>\s]+)>;alg=ES256")
_PARAMETER: Final = re.compile(r'\s*;\s*(\w+)\s*=\s*(<[^>]*>|"[^"]*"|[^;\s]+)')


def check(
    wanted: Signed,
    call: Call,
    sent: Message,
    invite: Message,
    signer: Callable[[str], tuple[str, x509.Certificate] | None],
) -> Iterator[Finding]:
    """Form, signature, header and claims, of what was `sent` to the system and left it as `invite`."""
    values = all_values(invite, "identity")
    ours = wanted.all
    count = wanted.count or len(ours)
    yield Finding("Identity headers at the callee", str(count), str(len(values)), len(values) == count >= len(ours))
    dates = all_values(sent, "date"), all_values(invite, "date")
    # Those that are put into a request stand behind those that were there
    for one, value in zip(ours, values[-len(ours) :], strict=False):
        yield from _of_one(one, value, call, dates, signer)


def _of_one(
    wanted: Signed,
    value: str,
    call: Call,
    dates: tuple[tuple[str, ...], tuple[str, ...]],
    signer: Callable[[str], tuple[str, x509.Certificate] | None],
) -> Iterator[Finding]:
    if wanted.ppt == "base":
        yield from _compact(wanted, value, call, dates[1], signer)
        return
    match = _FIELD.fullmatch(value)
    yield Finding("Identity in full form", "three texts in base64url, parameters", "so" if match else value[:200], bool(match))
    if match is None:
        return
    token = ".".join(match.group(1, 2, 3))
    parameters = {name.lower(): value for name, value in _PARAMETER.findall(match[4])}
    jose, claims = _members(match[1]), _members(match[2])
    yield from _deterministic(match[1], match[2])
    x5u = str(jose.get("x5u", ""))
    yield _same("JOSE header but x5u", {"alg": "ES256", "ppt": wanted.ppt, "typ": "passport"}, _without(jose, "x5u"))
    yield Finding("info", f"<{x5u}>, as x5u", parameters.get("info", "none"), parameters.get("info") == f"<{x5u}>" != "<>")
    for name, expected in (("alg", "ES256"), ("ppt", wanted.ppt)):
        got = parameters.get(name, expected if name == "alg" else "none").strip('"')  # RFC 8224 4: alg may be left out
        yield Finding(f"parameter {name}", expected, got, got == expected)
    found = signer(x5u)
    yield _same("certificate at x5u", wanted.certificate, found[0] if found else f"none at {x5u}")
    if found:
        yield _signature(token, found[1])
    yield from _claims(wanted, call, claims)
    yield from _moments(wanted, claims, *dates)


def _compact(
    wanted: Signed,
    value: str,
    call: Call,
    dates: tuple[str, ...],
    signer: Callable[[str], tuple[str, x509.Certificate] | None],
) -> Iterator[Finding]:
    """RFC 8225 7: header and claims are made of the request; the signature says whether they are those that were signed."""
    match = _COMPACT.fullmatch(value)
    yield Finding("Identity in compact form", "a signature, info and alg", "so" if match else value[:200], bool(match))
    found = signer(match[2]) if match else None
    yield _same("certificate at x5u", wanted.certificate, found[0] if found else "none")
    if match is None or found is None or len(dates) != 1:
        return
    iat = int(parsedate_to_datetime(dates[0]).timestamp())
    claims = {"dest": _dest(wanted, call), "iat": iat, "orig": _orig(wanted, call), **wanted.claims}
    texts = [_text(members) for members in ({"alg": "ES256", "typ": "passport", "x5u": match[2]}, claims)]
    yield _signature(".".join((*texts, match[1])), found[1])


def _signature(token: str, certificate: x509.Certificate) -> Finding:
    options = {"verify_aud": False, "verify_iat": False}
    try:
        jwt.decode(token, certificate.public_key(), algorithms=["ES256"], options=options)  # type: ignore[arg-type]
    except jwt.InvalidTokenError as error:
        return Finding("signature by the certificate's key", "good", f"{type(error).__name__}: {error}", False)
    return Finding("signature by the certificate's key", "good", "good", True)


def _claims(wanted: Signed, call: Call, claims: dict[str, Any]) -> Iterator[Finding]:
    yield _same("claims", sorted((*TYPES[wanted.ppt], *wanted.claims)), sorted(claims))
    for name, value in wanted.claims.items():
        yield _same(name, value, claims.get(name))
    if wanted.attest:
        yield _same("attest", wanted.attest, claims.get("attest"))
    yield _same("orig", _orig(wanted, call), claims.get("orig"))
    yield _same("dest", _dest(wanted, call), claims.get("dest"))
    if "origid" not in TYPES[wanted.ppt]:
        return
    origid = str(claims.get("origid"))
    if wanted.origid:
        yield Finding("origid", f"like {wanted.origid}", origid, bool(re.search(wanted.origid, origid)))
    else:
        yield Finding("origid", "a UUID", origid, _is_uuid(origid))


def _orig(wanted: Signed, call: Call) -> dict[str, str]:
    value = wanted.orig or call.caller.lstrip("+")
    return {_kind(value): value}


def _dest(wanted: Signed, call: Call) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for value in wanted.dest or (call.called.lstrip("+"),):
        found.setdefault(_kind(value), []).append(value)
    return found


def _kind(identity: str) -> str:
    return "uri" if ":" in identity else "tn"


def _deterministic(*texts: str) -> Iterator[Finding]:
    """RFC 8225 9: no spaces, names in order."""
    got = [_octets(text).decode("utf-8", "replace") for text in texts]
    wanted = [_json(_members(text)) for text in texts]
    yield Finding("JSON in its deterministic form", " ".join(wanted), " ".join(got), got == wanted)


def origid(invite: Message) -> str:
    """The origid in the last of its Identity headers that has one, or nothing."""
    matches = [_FIELD.fullmatch(value) for value in all_values(invite, "identity")]
    origids = [str(_members(match[2]).get("origid", "")) for match in matches if match]
    return next(filter(None, reversed(origids)), "")


def _moments(wanted: Signed, claims: dict[str, Any], sent: tuple[str, ...], dates: tuple[str, ...]) -> Iterator[Finding]:
    iat = claims.get("iat")
    age = time.time() - iat if isinstance(iat, int) else None
    yield Finding("iat", f"of the last {_FRESH:.0f} s", str(iat), age is not None and -1 <= age <= _FRESH)
    try:
        moments = [parsedate_to_datetime(date).timestamp() for date in dates]
    except ValueError:
        moments = []
    good = len(moments) == 1 and isinstance(iat, int) and abs(moments[0] - iat) <= _NEAR
    expected = {"near": "one, near iat", "kept": f"{' | '.join(sent)}, near iat"}[wanted.date]
    got = " | ".join(dates) or "none"
    yield Finding("Date at the callee", expected, got, good and (wanted.date != "kept" or dates == sent))


def _json(members: dict[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _text(members: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(_json(members).encode()).decode().rstrip("=")


def _octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _members(text: str) -> dict[str, Any]:
    try:
        members = json.loads(_octets(text))
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _same(what: str, expected: object, got: object) -> Finding:
    texts = [value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in (expected, got)]
    return Finding(what, texts[0], texts[1], texts[0] == texts[1])


def _without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
