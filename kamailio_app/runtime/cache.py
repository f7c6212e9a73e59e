"""Validated credentials: an LRU in this process over a table that all processes share, over the disk of the fetch process.

The LRU holds parsed, validated objects. The shared table holds what was fetched, as text, for the other workers; each validates
for itself against its own trust anchors. Failures are remembered too, shortly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cachetools import LRUCache

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import FAILURES, StirError, failure

_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_GENERATION: Final = re.compile(r"-?[0-9]{1,20}:[0-9]{1,20}", re.ASCII)


class SharedTable(Protocol):
    """Text shared by all processes of the SIP server; an entry is gone after `lifetime` seconds."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str, lifetime: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought, until when it may be kept and from when on it is to be fetched anew: octets of certificates, or the
    token of its failure, `detail` for the log, and the state of settings and trust (`generation`) that it belongs to.
    """

    expires: int
    pem: str = ""
    token: str = ""
    generation: str = "0:0"
    detail: str = ""
    renew_at: int = 0

    def to_text(self) -> str:
        rest = f"{self.token} {self.generation} {self.detail}" if self.token else f"- {self.pem}"
        return f"{self.expires} {self.renew_at} {rest}"

    @classmethod
    def from_text(cls, text: str) -> Fetched | None:
        """None for what is not ours: an operator may have touched the table."""
        expires, _, rest = text.partition(" ")
        renew_at, _, rest = rest.partition(" ")
        token, _, text = rest.partition(" ")
        if not _SECONDS.fullmatch(expires) or not _SECONDS.fullmatch(renew_at):
            return None
        if token == "-":
            return cls(int(expires), text, renew_at=int(renew_at))
        generation, _, detail = text.partition(" ")
        if token not in FAILURES or not _GENERATION.fullmatch(generation):
            return None
        return cls(int(expires), token=token, generation=generation, detail=detail)

    def error(self) -> StirError | None:
        return failure(self.token, self.detail) if self.token else None


class _Entry:
    """`longest`: seconds that it may have left to live. More, and the clock was set back: it is gone."""

    __slots__ = ("expires", "longest", "renew_at", "value")

    def __init__(self, value: Credential | StirError, expires: float, renew_at: float, longest: float) -> None:
        self.value, self.expires, self.renew_at, self.longest = value, expires, renew_at, longest


class CredentialCache:
    """Bounded: the least recently used entry goes first; failures, which any caller can cause, displace no credentials. Keys
    are x5u URLs, as the peer wrote them.

    `renew` is told once of each entry that is used and ends soon.
    """

    def __init__(self, size: int, renew: Callable[[str], None] = lambda _url: None) -> None:
        self._entries: LRUCache[str, _Entry] = LRUCache(size)
        self._failures: LRUCache[str, _Entry] = LRUCache(size)
        self._renew = renew

    def get(self, url: str, now: float) -> Credential | StirError | None:
        """The credential or the remembered failure; None if there is neither or it is too old."""
        try:
            entry = self._entries[url]
        except KeyError:
            known = self._failures.get(url)
            if known is None:
                return None
            entry = known
        if entry.expires - entry.longest <= now < entry.expires:
            if now >= entry.renew_at:
                entry.renew_at = math.inf
                self._renew(url)
            return entry.value
        self._forget(url)
        return None

    def put(self, url: str, value: Credential | StirError, expires: float, *, now: float, renew_at: float = math.inf) -> None:
        self._forget(url)
        entries = self._failures if isinstance(value, StirError) else self._entries
        entries[url] = _Entry(value, expires, renew_at or math.inf, expires - now + 1)

    def _forget(self, url: str) -> None:
        self._entries.pop(url, None)
        self._failures.pop(url, None)

    def keep(self, still_good: Callable[[Credential], bool]) -> None:
        """Forget every failure, and the credentials that are not good any more: what is trusted has changed."""
        self._failures.clear()
        for url, entry in list(self._entries.items()):
            if isinstance(entry.value, StirError) or not still_good(entry.value):
                del self._entries[url]

    def __len__(self) -> int:
        return len(self._entries) + len(self._failures)
