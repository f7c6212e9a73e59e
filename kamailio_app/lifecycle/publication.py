"""What a verifier of somebody else's would see at the URL where a chain is published (RFC 8224 7.3, AS-9, AS-10, FX-1, FX-2)."""

from __future__ import annotations

from typing import NamedTuple

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.runtime.provider import PublicationRules


class Finding(NamedTuple):
    """One check. `grade`: good, warning (some verifiers mind) or bad (no verifier gets the chain)."""

    check: str
    grade: str
    words: str
    clause: str

    @property
    def ok(self) -> bool:
        return self.grade != "bad"


class Seen(NamedTuple):
    """What was seen; `ok`: nothing of it is bad."""

    url: str
    ok: bool
    findings: tuple[Finding, ...]


def look(url: str, expected_chain: bytes | None, *, rules: PublicationRules, anchors: TrustAnchors, now: float) -> Seen:
    """Fetch the chain as strangers do and check everything about it; without `expected_chain` any good chain will do."""
    raise NotImplementedError
