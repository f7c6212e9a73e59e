"""The headline of a run: a row for each kind and number of workers, from the steps alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.load.kinds import BY_NAME, KINDS, Kind
from tests.load.step import Limit, Step, shown

HEAD = (
    "Kind",
    "Workers",
    "Highest clean rate, calls/s",
    "Limit met",
    "p50 at half, ms",
    "p99 at half, ms",
    "CPU us per call",
    "Added us",
    "Times ours",
)
ALL, WORKERS = "cpu_us_per_call", "workers_cpu_us_per_call"  # whose CPU time
_SHARE = 0.75  # of the lowest best rate: there every kind is clean again, and idling is a small part of a call


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None of nothing."""
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Row:
    """One kind with a number of workers; None: not measured."""

    kind: Kind
    workers: int
    climbed: bool  # else it was only compared
    best: float
    limit: Limit
    half: Step | None
    cpu: Spread | None = None
    added: Spread | None = None
    times_ours: Spread | None = None


def best(steps: Sequence[Step], kind: str, workers: int) -> float:
    """The highest clean rate that was confirmed; 0 if none was."""
    return max((step.offered_per_s for step in _own(steps, kind, workers, "confirm") if step.clean), default=0)


def rate_to_compare(steps: Sequence[Step], workers: int, kinds: Sequence[str]) -> float | None:
    """A rate for all of these kinds; None if none of them had a clean step."""
    rates = [rate for kind in kinds if (rate := best(steps, kind, workers))]
    return float(f"{min(rates) * _SHARE:.2g}") if rates else None


def common_rate(steps: Sequence[Step], workers: int) -> float | None:
    """The rate at which CPU time was compared."""
    return next((step.offered_per_s for step in steps if step.purpose == "compare" and step.workers == workers), None)


def rows(steps: Sequence[Step]) -> list[Row]:
    """The rows in the order of the kinds: what climbed a ladder, or was compared."""
    found = []
    for kind in KINDS:
        for workers in sorted({step.workers for step in steps if step.kind == kind.name}):
            found.append(_row(steps, kind, workers))
    return found


def _row(steps: Sequence[Step], kind: Kind, workers: int) -> Row:
    reached = best(steps, kind.name, workers)
    climb = _own(steps, kind.name, workers, "climb", "confirm")
    # Of a rate that was tried twice the second time
    last = {(step.offered_per_s, step.purpose): step for step in climb}.values()
    above = [step for step in last if step.offered_per_s > reached and not step.clean]
    limit = min(above, key=lambda step: step.offered_per_s).limit if above else Limit.NONE
    half = next(iter(_own(steps, kind.name, workers, "half")), None)
    return Row(
        kind,
        workers,
        bool(climb),
        reached,
        limit,
        half,
        Spread.of(compared(steps, kind.name, workers)),
        Spread.of(added(steps, kind, workers)),
        Spread.of(times_ours(steps, kind, workers)),
    )


def _own(steps: Sequence[Step], kind: str, workers: int, *purposes: str) -> list[Step]:
    return [step for step in steps if (step.kind, step.workers) == (kind, workers) and step.purpose in purposes]


def compared(steps: Sequence[Step], kind: str, workers: int, whose: str = ALL) -> list[float]:
    """CPU time per call, round by round."""
    return [getattr(step, whose) for step in _own(steps, kind, workers, "compare") if step.clean]


def added(steps: Sequence[Step], kind: Kind, workers: int, whose: str = ALL) -> list[float]:
    """Against the kind's bases of the same round."""
    bases = [compared(steps, base, workers, whose) for base in kind.base]
    rounds = zip(compared(steps, kind.name, workers, whose), *bases, strict=False)
    return [own - sum(rest) for own, *rest in rounds] if bases else []


def carrying(steps: Sequence[Step], kind: Kind, workers: int, whose: str = ALL) -> list[float]:
    """What the same relaying costs more if the INVITE brings an Identity along."""
    if not kind.carrying:
        return []
    pair = [compared(steps, name, workers, whose) for name in (kind.carrying, *kind.base)]
    return [larger - smaller for larger, smaller in zip(*pair, strict=False)]


def times_ours(steps: Sequence[Step], kind: Kind, workers: int) -> list[float]:
    """What it adds, as a multiple of what ours adds in the same round."""
    if not kind.ours:
        return []
    pairs = zip(added(steps, kind, workers), added(steps, BY_NAME[kind.ours], workers), strict=False)
    return [own / ours for own, ours in pairs if ours > 0]


def spread(figure: Spread | None, digits: int = 0) -> str:
    """Median and, in brackets, lowest to highest."""
    if figure is None:
        return ""
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def cells(row: Row) -> list[str]:
    """The row as it is printed."""
    return [
        row.kind.title,
        "" if row.kind.name == "direct" else str(row.workers),
        *((f"{row.best:g}" if row.best else "none", row.limit or "not met") if row.climbed else ("", "")),
        shown(row.half.p50_ms) if row.half else "",
        shown(row.half.p99_ms) if row.half else "",
        spread(row.cpu),
        spread(row.added),
        spread(row.times_ours, 2),
    ]
