"""When which call is placed, and what has to come of it. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from kamailio_app.errors import NOT_VALIDATED, PASSED
from tests.bench.stall.phones import Ended

CACHED: Final = "cached"  # what the figures are about
TOO: Final = "cached as well"  # in the places of stalled calls
STALLED: Final = "stalled"
FIRST: Final = "cold, first of its host"
KNOWN: Final = "host known"  # cold, of a host that answered well a moment ago
NEW: Final = "host new"  # cold, of a host never seen before
COLD: Final = (KNOWN, NEW)
SHARE: Final = 0.2  # of the calls: stalled, or cached as well
COLD_EVERY: Final = 0.1  # seconds
_MARGIN: Final = 0.1  # of the budget: the edge's timers tick in sixteenths of a second


class Slot(NamedTuple):
    """A call to be: when, of which kind."""

    at: float
    kind: str


def mixed(rate: float, seconds: float, other: str, seed: int) -> list[Slot]:
    """`rate` calls a second at random moments, as independent callers have it: evenly spaced ones would never meet each other,
    but parked ones that go on. A fifth of them is `other`: with the same seed the same ones at the same moments.
    """
    chance = random.Random(seed)
    count = round(rate * seconds)
    moments = sorted(chance.uniform(0, seconds) for _ in range(count))
    others = set(chance.sample(range(count), round(count * SHARE)))
    return [Slot(at, other if number in others else CACHED) for number, at in enumerate(moments)]


def cold(count: int, stalled: int, hold: float) -> list[Slot]:
    """`count` cold calls, of a known and of a new host in turns, once `stalled` fetches are under way, each of which takes
    `hold` seconds; as many are under way to the end. Before them the call that makes the known host known.
    """
    begin = hold if stalled else 0.0
    ends = begin + (count + 1) * COLD_EVERY
    slots = [Slot(begin, FIRST), *(Slot(begin + (number + 1) * COLD_EVERY, COLD[number % 2]) for number in range(count))]
    if stalled:
        rate = stalled / hold
        slots += [Slot(number / rate, STALLED) for number in range(round(ends * rate))]
    return sorted(slots)


def counted(ended: Iterable[Ended], kind: str, after: float) -> list[float]:
    """Milliseconds of the calls of a kind that began `after` so many seconds or later."""
    return [call.seconds * 1000 for call in ended if call.kind == kind and call.at >= after]


def wrong(ended: Iterable[Ended], budget: float) -> list[str]:
    """What makes a run an error: each kind of deviation with the number of its calls. `budget`: of a call, in seconds."""
    found = Counter(problem for call in ended for problem in _problems(call, budget))
    return [f"{count} calls: {problem}" for problem, count in sorted(found.items())]


def _problems(call: Ended, budget: float) -> Iterator[str]:
    verstat = NOT_VALIDATED if call.kind == STALLED else PASSED
    if call.code != 200:
        yield f"{call.kind}: answered {call.code or 'by nobody'}"
    elif call.verstat != verstat:
        yield f"{call.kind}: verstat {call.verstat or 'none'} instead of {verstat}"
    elif call.kind == STALLED and call.seconds < budget * (1 - _MARGIN):
        yield f"{call.kind}: went on before call_time_budget was over"
