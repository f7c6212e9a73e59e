"""Validated credentials: an LRU in this process over a table that all processes share.

The LRU holds parsed, validated objects. The shared table holds what was fetched, as text, for the other workers; each validates
for itself against its own trust anchors. Failures are remembered too, shortly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from cachetools import LRUCache

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import FAILURES, StirError, failure

_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_EPOCH: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)


class SharedTable(Protocol):
    """Text shared by all processes of the SIP server; an entry is gone after `lifetime` seconds."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str, lifetime: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought, until when it may be kept: octets of certificates, or the token of its failure and the reload
    (`epoch`) that it belongs to.
    """

    expires: int
    pem: str = ""
    token: str = ""
    epoch: int = 0

    def to_text(self) -> str:
        return f"{self.expires} {self.token or '-'} {self.epoch if self.token else self.pem}"

    @classmethod
    def from_text(cls, text: str) -> Fetched | None:
        """None for what is not ours: an operator may have touched the table."""
        expires, _, rest = text.partition(" ")
        token, _, text = rest.partition(" ")
        if not _SECONDS.fullmatch(expires):
            return None
        if token == "-":
            return cls(int(expires), text)
        return cls(int(expires), token=token, epoch=int(text)) if token in FAILURES and _EPOCH.fullmatch(text) else None

    def error(self) -> StirError | None:
        return failure(self.token, "remembered") if self.token else None


class CredentialCache:
    """Bounded: the least recently used entry goes first. Keys are x5u URLs, as the peer wrote them."""

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[str, tuple[int, Credential | StirError]] = LRUCache(size)

    def get(self, url: str, now: float) -> Credential | StirError | None:
        """The credential or the remembered failure; None if there is neither or it is too old."""
        entry = self._entries.get(url)
        if entry is None:
            return None
        expires, value = entry
        if now < expires:
            return value
        del self._entries[url]
        return None

    def put(self, url: str, value: Credential | StirError, expires: int) -> None:
        self._entries[url] = (expires, value)

    def __len__(self) -> int:
        return len(self._entries)
