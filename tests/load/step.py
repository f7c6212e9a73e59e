"""One step of a ladder: its figures, and which limit it crossed on whose account. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Limit(StrEnum):
    """Whose limit it was that a step crossed."""

    NONE = ""
    SYSTEM = "system"
    GENERATOR = "load generator"
    MACHINE = "machine"  # all cores busy: caller, callee and system share them
    OTHERS = "other processes"
    UNEXPLAINED = "unexplained"  # nobody was short of anything


@dataclass(frozen=True)
class Limits:
    """What a clean step keeps."""

    retransmissions: float = 0.001  # of the calls
    p99_ms: float = 100.0
    achieved: float = 0.95  # of the offered rate


@dataclass(frozen=True)
class Lengths:
    """Seconds of the steps of a ladder, of the one that confirms its best rate and of those that compare CPU time, and how
    often these are repeated."""

    climb: float = 1.5
    confirm: float = 8.0
    compare: float = 2.0
    repetitions: int = 3

    def of(self, purpose: str) -> float:
        return {"confirm": self.confirm, "compare": self.compare}.get(purpose, self.climb)


@dataclass(frozen=True)
class Step:
    """The figures of one step. Shares are of one core, of `machine_*` of all cores. KiB and counts are of all SIP workers."""

    kind: str
    workers: int
    purpose: str  # "climb", "confirm" its best rate, "half" of that, "compare" CPU time with other kinds
    started_s: float  # since the beginning of the run
    seconds: float
    offered_per_s: float
    achieved_per_s: float
    calls: int
    failed: int
    retransmissions: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    cpu_us_per_call: float  # all processes of the system
    workers_cpu_us_per_call: float
    worker_share: float  # of the busier edge, mean of its workers
    caller_share: float
    callee_share: float
    machine_idle: float
    machine_others: float
    rss_kib: int
    pss_kib: int
    anonymous_kib: int
    descriptors: int
    system_drops: int  # datagrams lost at the edges' sockets, nobody took them in time
    generator_drops: int  # the same of SIPp
    crossed: str = ""  # which limits, in words
    limit: Limit = Limit.NONE
    causes: str = ""  # of failed calls, in SIPp's words

    @property
    def clean(self) -> bool:
        return not self.crossed


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Nearest rank: the smallest value that at least `share` of the values do not exceed. None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def shown(milliseconds: float | None, digits: int = 1) -> str:
    """As it is printed; nothing where no call was answered."""
    return "" if milliseconds is None else f"{milliseconds:.{digits}f}"


def crossed(step: Step, limits: Limits) -> str:
    """The limits that the step crossed, in words; empty if it is clean."""
    words = []
    if step.failed:
        words.append(f"{step.failed} failed")
    if step.retransmissions > limits.retransmissions * step.calls:
        words.append(f"{step.retransmissions} retransmissions")
    if step.p99_ms is not None and step.p99_ms > limits.p99_ms:
        words.append(f"p99 {step.p99_ms:.0f} ms")
    if step.achieved_per_s < limits.achieved * step.offered_per_s:
        words.append(f"{step.achieved_per_s:.0f}/s of {step.offered_per_s:g}/s")
    return ", ".join(words)


_BUSY: Final = 0.85
_IDLE: Final = 0.10
_OTHERS: Final = 0.10


def blame(step: Step) -> Limit:
    """Whose limit a crossed step met: whoever had a core to itself and no time left, else whoever took the cores, else whoever
    lost datagrams: a burst was longer than its socket's queue."""
    if max(step.caller_share, step.callee_share) >= _BUSY:
        return Limit.GENERATOR
    if step.worker_share >= _BUSY:
        return Limit.SYSTEM
    if step.machine_others > _OTHERS:
        return Limit.OTHERS
    if step.machine_idle <= _IDLE:
        return Limit.MACHINE
    if step.generator_drops > step.system_drops:
        return Limit.GENERATOR
    return Limit.SYSTEM if step.system_drops else Limit.UNEXPLAINED
