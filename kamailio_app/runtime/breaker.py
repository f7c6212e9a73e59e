"""A circuit breaker per host: who failed again and again is left alone for a while, then tried by one.

Closed: everybody may go. Open: nobody. Half-open: one, whose outcome closes it or opens it anew. Failures count from the
last success. How many hosts are remembered is bounded; the longest untouched is forgotten first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_HOSTS: Final = 4096


@dataclass(slots=True)
class _Trouble:
    """A host that failed: how often, and until when nobody goes there."""

    failures: int = 0
    until: float = 0.0


class Breaker:
    """Opens after `failures` in a row (0: never), for `seconds`. `clock` gives seconds of any origin."""

    def __init__(
        self, failures: int, seconds: float, *, clock: Callable[[], float] = time.monotonic, hosts: int = _HOSTS
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._hosts = hosts
        self._troubles: OrderedDict[str, _Trouble] = OrderedDict()

    def admits(self, host: str) -> bool:
        """May somebody go there now? Whoever is the first after the pause is the one who tries."""
        trouble = self._troubles.get(host)
        if trouble is None or trouble.failures < self._failures:
            return True
        now = self._clock()
        if now < trouble.until:
            return False
        trouble.until = now + self._seconds  # should the one never come back, the next pause ends too
        return True

    def succeeded(self, host: str) -> None:
        self._troubles.pop(host, None)

    def failed(self, host: str) -> None:
        if not self._failures:
            return
        trouble = self._troubles.setdefault(host, _Trouble())
        self._troubles.move_to_end(host)
        trouble.failures += 1
        if trouble.failures >= self._failures:
            trouble.until = self._clock() + self._seconds
        if len(self._troubles) > self._hosts:
            self._troubles.popitem(last=False)

    def __len__(self) -> int:
        return len(self._troubles)
