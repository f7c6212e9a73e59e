"""The headline of a run: a row for each kind and number of workers, from the steps alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.load.kinds import BY_NAME, KINDS, Kind
from tests.load.ladder import highest_clean
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


@dataclass(frozen=True)
class Row:
    """One kind with a number of workers; None: not measured."""

    kind: Kind
    workers: int
    best: float
    limit: Limit
    half: Step | None
    cpu: float | None  # at the common rate
    added: float | None = None
    times_ours: float | None = None


def common_rate(steps: Sequence[Step], workers: int) -> float | None:
    """The highest rate at which every kind with an edge had a clean step: there CPU time per call is comparable."""
    climbs = [step for step in steps if step.workers == workers and step.kind != "direct"]
    clean = [
        {step.offered_per_s for step in climbs if step.kind == name and step.clean} for name in {step.kind for step in climbs}
    ]
    shared = set.intersection(*clean) if clean else set()
    return max(shared, default=None)


def rows(steps: Sequence[Step]) -> list[Row]:
    """The rows in the order of the kinds."""
    found = []
    for kind in KINDS:
        for workers in sorted({step.workers for step in steps if step.kind == kind.name}):
            found.append(_row(steps, kind, workers))
    return found


def _row(steps: Sequence[Step], kind: Kind, workers: int) -> Row:
    own = [step for step in steps if step.kind == kind.name and step.workers == workers]
    climb = [step for step in own if step.purpose == "climb"]
    best = highest_clean(final(climb))
    above = [step for step in climb if step.offered_per_s > best and not step.clean]
    limit = min(above, key=lambda step: step.offered_per_s).limit if above else Limit.NONE
    half = next((step for step in own if step.purpose == "half"), None)
    cpu, added = _cpu(steps, kind.name, workers), _added(steps, kind, workers)
    ours = _added(steps, BY_NAME[kind.ours], workers) if kind.ours else None
    times = added / ours if added is not None and ours else None
    return Row(kind, workers, best, limit, half, cpu, added, times)


def final(climb: Sequence[Step]) -> list[tuple[float, bool]]:
    """Each rate with whether it was clean in the end: a doubtful step is tried twice."""
    return list({step.offered_per_s: step.clean for step in climb}.items())


def _cpu(steps: Sequence[Step], name: str, workers: int) -> float | None:
    rate = common_rate(steps, workers)
    found = [
        step.cpu_us_per_call
        for step in steps
        if (step.kind, step.workers, step.offered_per_s) == (name, workers, rate) and step.clean and name != "direct"
    ]
    return sum(found) / len(found) if found else None


def _added(steps: Sequence[Step], kind: Kind, workers: int) -> float | None:
    own, bases = _cpu(steps, kind.name, workers), [_cpu(steps, base, workers) for base in kind.base]
    known = [base for base in bases if base is not None]
    if own is None or not bases or len(known) < len(bases):
        return None
    return own - sum(known)


def cells(row: Row) -> list[str]:
    """The row as it is printed."""
    return [
        row.kind.title,
        "" if row.kind.name == "direct" else str(row.workers),
        f"{row.best:g}" if row.best else "none",
        row.limit or "not met",
        shown(row.half.p50_ms) if row.half else "",
        shown(row.half.p99_ms) if row.half else "",
        "" if row.cpu is None else f"{row.cpu:.0f}",
        "" if row.added is None else f"{row.added:.0f}",
        "" if row.times_ours is None else f"{row.times_ours:.2f}",
    ]
