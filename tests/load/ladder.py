"""The control of the call rate: double until a limit is crossed, then halve the gap. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ladder:
    """Rates in calls a second. `precision`: the gap between clean and crossed that is left, as a share."""

    start: float = 200
    ceiling: float = 12800
    floor: float = 10
    precision: float = 0.13

    def next_rate(self, tried: Sequence[tuple[float, bool]]) -> float | None:
        """The rate of the next step after these, each with whether it was clean; None at the end."""
        if not tried:
            return self.start
        limit = min((rate for rate, clean in tried if not clean), default=None)
        best = highest_clean(tried)
        if limit is None:
            return best * 2 if best * 2 <= self.ceiling else None
        if not best:
            return limit / 2 if limit / 2 >= self.floor else None
        if limit - best <= self.precision * best:
            return None
        middle = _round((best + limit) / 2)
        return middle if best < middle < limit else None

    def below(self, rate: float) -> float:
        """The next lower rate; 0 below the floor."""
        lower = _round(rate / (1 + self.precision))
        return lower if self.floor <= lower < rate else 0


def highest_clean(tried: Sequence[tuple[float, bool]]) -> float:
    """The highest clean rate below all that crossed a limit; 0 if there is none."""
    limit = min((rate for rate, clean in tried if not clean), default=float("inf"))
    return max((rate for rate, clean in tried if clean and rate < limit), default=0)


def _round(rate: float) -> float:
    """To two digits: nobody needs 2343.75 calls a second."""
    return float(f"{rate:.2g}")
