"""What the tests of `explain` share: an edge that has the tests' certificates, and messages as text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.explanation import Explanation, Header, explain
from kamailio_app.explain.judge import Edge, Found
from kamailio_app.explain.steps import State, Step
from kamailio_app.runtime.settings import Settings, parse
from kamailio_app.sip import Request

from ..builders import DATE, DEST, NOW, ORIG, X5U, anchors, identity, provider, request

OTHER_TN = "12155550199"


@cache
def settings(text: str = "") -> Settings:
    return parse(Path("/nowhere/stirshaken.toml"), text)


def edge(
    text: str = "",
    chains: Mapping[str, bytes | StirError | None] | None = None,
    revocations: Revocations | None = None,
    trust: TrustAnchors | None = None,
) -> Edge:
    """`text` is its settings; `chains` what is behind URLs: None for what nobody looked at."""
    held: Mapping[str, bytes | StirError | None] = {X5U: provider().chain_pem} if chains is None else chains

    def find(url: str) -> Found:
        found = held.get(url, failure("x5u_unreachable", "no such host"))
        if isinstance(found, StirError):
            return Found(error=found, words="fetched now")
        return Found(found, words="a file" if found else "not at hand")

    return Edge(settings(text), anchors() if trust is None else trust, revocations, find)


def told(*values: str, now: float = NOW, at: Edge | None = None, call: Request | None = None) -> Explanation:
    """An INVITE with these Identity headers explained."""
    return explain((call or request())._replace(identity=values or (identity(),)), at or edge(), now)


def step(header: Header, check: str) -> Step:
    """The one step of this name."""
    (found,) = [step for step in header.steps if step.check == check]
    return found


def wrong(header: Header) -> list[tuple[str, str, bool]]:
    """What failed: check, token, and whether an edge would not have come so far."""
    return [(step.check, step.token, step.further) for step in header.steps if step.state is State.FAILED]


def message(
    *fields: str, method: str = "INVITE", uri: str = f"sip:+{DEST}@term.example.net", date: str | None = DATE, eol: str = "\r\n"
) -> str:
    """A SIP request as text."""
    lines = [
        f"{method} {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc",
        f"From: <sip:+{ORIG}@orig.example.com;user=phone>;tag=one",
        f"To: <sip:+{DEST}@orig.example.com;user=phone>",
        "Call-ID: call@192.0.2.1",
        f"CSeq: 1 {method}",
        *([f"Date: {date}"] if date else []),
        *fields,
        "Content-Length: 0",
    ]
    return eol.join([*lines, "", ""])
