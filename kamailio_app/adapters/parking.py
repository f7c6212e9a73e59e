"""Which calls wait for which credentials, in a table that all processes share: by set of URLs, until when a fetch is ordered,
and who waits, in several places, so that thousands who wait for the same are not one long text.

A text is "ORDERED_UNTIL INDEX:LABEL:DEADLINE ...", times in milliseconds. A call parks with the moment at which its own timer
will fire; after that the timer resumes it, and nobody else may: a transaction that is continued twice is leaked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from zlib import crc32

# A call whose timer fires so soon is left to it: the credential is at hand by then, and two must not resume it
_MARGIN_MS: Final = 300
_PLACES: Final = 16
# An operator may have touched the table, a script may have parked anything: what is not ours is not there
_ORDERED: Final = re.compile(r"[0-9]{1,15}")
_WAITING: Final = re.compile(r"-?[0-9]{1,10}:-?[0-9]{1,10}:[0-9]{1,15}")


class Parking:
    """`table` is Kamailio's htable module, `name` the table's. The clock is one that nobody sets, the same in all processes."""

    def __init__(self, table: Callable[[], Any], name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._name = name
        self._clock = clock

    def park(self, urls: str, transaction: str, wait_ms: int) -> bool:
        """Put a suspended call down. True if a fetch is to be ordered: nobody has, or whoever did was not heard of again."""
        now = self._now()
        with self._entry(_place(urls, transaction)) as entry:
            entry.waiting.append(f"{transaction}:{now + wait_ms}")
        with self._entry(urls) as entry:
            if entry.ordered_until > now:
                return False
            entry.ordered_until = now + wait_ms
            return True

    def unpark(self, urls: str, transaction: str) -> bool:
        """Take a call away whose timer resumes it. False: somebody else has claimed it already, and resumes it."""
        with self._entry(_place(urls, transaction)) as entry:
            before = entry.waiting
            entry.waiting = [waiting for waiting in before if not waiting.startswith(f"{transaction}:")]
            return entry.waiting != before

    def forget_order(self, urls: str) -> None:
        """No fetch is under way any more: the next call to park orders one."""
        with self._entry(urls) as entry:
            entry.ordered_until = 0

    def anybody(self, urls: str) -> bool:
        """Is there a call that a fetch would help?"""
        for place in _places(urls):
            with self._entry(place) as entry:
                if entry.waiting:
                    return True
        return False

    def claim(self, urls: str) -> tuple[int, int] | None:
        """Index and label of a call that the claimer alone has to resume now; None if there is none."""
        soonest = self._now() + _MARGIN_MS
        for place in _places(urls):
            with self._entry(place) as entry:
                for waiting in entry.waiting:
                    index, label, deadline = waiting.split(":")
                    if int(deadline) > soonest:
                        entry.waiting.remove(waiting)
                        return int(index), int(label)
        return None

    def _now(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _entry(self, urls: str) -> Iterator[_Entry]:
        table = self._table()
        table.sht_lock(self._name, urls)
        try:
            text = table.sht_get(self._name, urls)
            entry = _Entry(text if isinstance(text, str) else "0")
            yield entry
            if entry.waiting or entry.ordered_until:
                table.sht_sets(self._name, urls, str(entry))
            elif text is not None:
                table.sht_rm(self._name, urls)
        finally:
            table.sht_unlock(self._name, urls)


def _places(urls: str) -> list[str]:
    return [f"{number} {urls}" for number in range(_PLACES)]


def _place(urls: str, transaction: str) -> str:
    """One of `_places`."""
    return f"{crc32(transaction.encode()) % _PLACES} {urls}"


class _Entry:
    def __init__(self, text: str) -> None:
        ordered_until, *waiting = text.split(" ")
        ours = _ORDERED.fullmatch(ordered_until)
        self.ordered_until = int(ordered_until) if ours else 0
        self.waiting = [each for each in waiting if ours and _WAITING.fullmatch(each)]

    def __str__(self) -> str:
        return " ".join([str(self.ordered_until), *self.waiting])
