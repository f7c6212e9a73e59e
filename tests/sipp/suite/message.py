"""A SIP message as a person reads it: its place in the ladder, what of it matters to STIR, the PASSporTs it carries."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tests.sipp.suite.outcome import Step
from tests.sipp.suite.visible import visible

_ACTORS: Final = ("caller", "system", "callee")
_KINDS: Final = {"1": "provisional", "2": "final", "3": "redirect"}
_IDENTITY: Final = re.compile(r"(?:identity|y)[ \t]*:", re.IGNORECASE)
_STIR: Final = re.compile(
    r"Reason[ \t]*:[ \t]*STIR|(?:P-Attestation|P-Origination|Date)[^:\n]*:|[^\n]*;\s*verstat\s*=", re.IGNORECASE
)
_VERSTAT: Final = re.compile(r";\s*verstat\s*=\s*([\w-]{1,40})", re.IGNORECASE)
_REASON: Final = re.compile(r"^Reason[ \t]*:[ \t]*STIR[^\n]*?cause=(\d{3})", re.IGNORECASE | re.MULTILINE)
_PASSPORT: Final = re.compile(
    r"(?<![\w.-])([A-Za-z0-9_-]{2,8192})\.([A-Za-z0-9_-]{2,8192})\.[A-Za-z0-9_-]*(?:;([^,\n]{0,2048}))?"
)
_IAT: Final = re.compile(r'"iat"\s*:\s*(\d{9,10})\b')


@dataclass(frozen=True)
class Span:
    """A part of the message's text: "start", "identity", "stir" or "plain"."""

    kind: str
    text: str


@dataclass(frozen=True)
class Passport:
    """What a full-form Identity header field says, decoded but not parsed again: the very text that was signed."""

    header: str
    claims: str
    parameters: str
    issued: str


@dataclass(frozen=True)
class Message:
    """`lane` is "01" from the caller's line to the system's, "12" to the callee's; empty if an end is not known."""

    time: float
    label: str
    kind: str
    lane: str
    leftwards: bool
    ends: str
    chips: tuple[str, ...]
    spans: tuple[Span, ...]
    passports: tuple[Passport, ...]


def read(step: Step) -> Message:
    """Never fails: a message may be anything."""
    text = visible(step.text).rstrip("\n")
    head, gap, body = text.partition("\n\n")
    fields = _fields(head)
    identities = [field for field in fields if _IDENTITY.match(field)]
    spans = tuple(_spans(fields, gap + body))
    passports = tuple(passport for field in identities for passport in _passports(field))
    lane, leftwards = _lane(step)
    return Message(
        time=step.time,
        label=_label(visible(step.start_line), body),
        kind=_kind(step.start_line),
        lane=lane,
        leftwards=leftwards,
        ends=visible(f"{step.sender} to {step.receiver}"),
        chips=tuple(_chips(head, len(identities))),
        spans=spans,
        passports=passports,
    )


def _lane(step: Step) -> tuple[str, bool]:
    if step.sender == step.receiver or not {step.sender, step.receiver} <= set(_ACTORS):
        return "", False
    ends = _ACTORS.index(step.sender), _ACTORS.index(step.receiver)
    return f"{min(ends)}{max(ends)}", ends[0] > ends[1]


def _label(start_line: str, body: str) -> str:
    first, _, rest = start_line.partition(" ")
    sdp = " (SDP)" if body.startswith("v=0") else ""
    return (rest if first.upper() == "SIP/2.0" else first) + sdp


def _kind(start_line: str) -> str:
    version, _, code = start_line.partition(" ")
    return _KINDS.get(code[:1], "refusal") if version.upper() == "SIP/2.0" else "request"


def _chips(head: str, identities: int) -> Iterator[str]:
    if identities:
        yield "Identity" if identities == 1 else f"{identities} Identity"
    yield from dict.fromkeys(_VERSTAT.findall(head))
    yield from dict.fromkeys(f"STIR {cause}" for cause in _REASON.findall(head))


def _fields(head: str) -> list[str]:
    """The start line and the header fields, each with the lines that it is folded into."""
    fields: list[str] = []
    for line in head.split("\n"):
        if fields[1:] and line[:1] in (" ", "\t"):
            fields[-1] += f"\n{line}"
        else:
            fields.append(line)
    return fields


def _spans(fields: list[str], rest: str) -> Iterator[Span]:
    """Plain neighbours are one span: a page holds thousands of messages."""
    yield Span("start", fields[0] + "\n")
    plain = ""
    for field in fields[1:]:
        kind = "identity" if _IDENTITY.match(field) else "stir" if _STIR.match(field) else "plain"
        if kind == "plain":
            plain += f"{field}\n"
            continue
        if plain:
            yield Span("plain", plain)
        yield Span(kind, f"{field}\n")
        plain = ""
    if plain or rest.strip():
        yield Span("plain", plain + rest.removeprefix("\n"))


def _passports(field: str) -> Iterator[Passport]:
    for header, claims, parameters in _PASSPORT.findall(field):
        texts = [_decoded(header), _decoded(claims)]
        if all(text.lstrip().startswith("{") for text in texts):
            yield Passport(texts[0], texts[1], parameters.strip(), _issued(texts[1]))


def _decoded(part: str) -> str:
    try:
        return visible(urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace"))
    except ValueError:
        return ""


def _issued(claims: str) -> str:
    found = _IAT.search(claims)
    return datetime.fromtimestamp(int(found[1]), UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if found else ""
