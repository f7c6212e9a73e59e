"""The figures of a measurement and their tables. Pure."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.stall.plan import CACHED, COLD, STALLED, TOO, counted
from tests.bench.stall.site import Account, Cores, Run
from tests.load.step import percentile

P99_WITHIN: Final = 1.10
COLD_WITHIN: Final = 2.0
IDLE: Final = "idle"
_TITLES: Final = {TOO: "all cached", STALLED: "a fifth stalled"}


@dataclass
class Latency:
    """Of the calls whose certificate is at hand: percentiles in ms, one a round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    calls: int = 0
    under_way: int = 0
    cpu: dict[str, float] = field(default_factory=dict)  # microseconds for each call of whatever kind, mean
    waited: list[float] = field(default_factory=list)  # for a core, by SIP workers: microseconds for each call, one a round
    others: list[float] = field(default_factory=list)

    def add(self, run: Run, lead: float) -> None:
        """Take one round in; what began in its first `lead` seconds is no part of the percentiles."""
        ordered = sorted(counted(run.ended, CACHED, lead))
        self.p50.append(percentile(ordered, 0.5) or 0.0)
        self.p99.append(percentile(ordered, 0.99) or 0.0)
        self.calls += len(ordered)
        self.under_way = max(self.under_way, run.under_way)
        rounds = len(self.p50)
        for name, seconds in run.cpu.items():
            former = self.cpu.get(name, 0.0)
            self.cpu[name] = former + (seconds * 1e6 / len(run.ended) - former) / rounds
        self.waited.append(run.waited * 1e6 / len(run.ended))
        self.others.append(run.others)


@dataclass
class Measured:
    """With one number of workers. `cold`: milliseconds of all cold calls, by state and kind of host."""

    workers: int
    cores: Cores
    latency: dict[str, Latency] = field(default_factory=lambda: {TOO: Latency(), STALLED: Latency()})
    cold: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    cold_under_way: list[int] = field(default_factory=list)  # stalled fetches, one figure a round
    accounts: dict[str, Account] = field(default_factory=dict)
    left: int = 0

    def add_cold(self, state: str, run: Run) -> None:
        for kind in COLD:
            self.cold.setdefault((state, kind), []).extend(counted(run.ended, kind, 0))
        if state == STALLED:
            self.cold_under_way.append(run.under_way)


def report(measured: Iterable[Measured]) -> str:
    """All tables."""
    known = list(measured)
    tables = (_latencies(known), _cold(known), _cpu(known), _accounts(known))
    return "\n\n".join("\n".join(table) for table in tables)


def judged(ratio: float, limit: float) -> str:
    return f"{'reached' if ratio <= limit else 'missed'} (at most {limit:g})"


def _latencies(measured: Sequence[Measured]) -> list[str]:
    lines = [
        "| workers | calls whose certificate is cached | calls | p50 ms | by round | p99 ms | by round | fetches under way |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in measured:
        for other, title in _TITLES.items():
            of = one.latency[other]
            lines.append(
                f"| {one.workers} | {title} | {of.calls} | {statistics.median(of.p50):.3f} | {_range(of.p50)} "
                f"| {statistics.median(of.p99):.3f} | {_range(of.p99)} | {of.under_way} |"
            )
        cached, stalled = one.latency[TOO], one.latency[STALLED]
        p50, p99 = _ratio(stalled.p50, cached.p50), _ratio(stalled.p99, cached.p99)
        each50, each99 = (_range(_each(*pair), 2) for pair in ((stalled.p50, cached.p50), (stalled.p99, cached.p99)))
        low, high = interval(stalled.p99, cached.p99)
        title = f"ratio; p99 {judged(p99, P99_WITHIN)}, 90 % interval {low:.2f}..{high:.2f}"
        lines.append(f"| {one.workers} | {title} | | {p50:.2f} | {each50} | {p99:.2f} | {each99} | |")
    return lines


def _cold(measured: Sequence[Measured]) -> list[str]:
    lines = [
        "| workers | cold call of a healthy repository | calls | idle ms | under stalls ms | stalled fetches | ratio | |",
        "|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for one in measured:
        for kind in COLD:
            idle, stalled = one.cold[IDLE, kind], one.cold[STALLED, kind]
            ratio = _ratio(stalled, idle)
            lines.append(
                f"| {one.workers} | {kind} | {len(stalled)} | {statistics.median(idle):.2f} | {statistics.median(stalled):.2f} "
                f"| {min(one.cold_under_way)} | {ratio:.2f} | {judged(ratio, COLD_WITHIN)} |"
            )
    return lines


def _cpu(measured: Sequence[Measured]) -> list[str]:
    names = list(measured[0].latency[TOO].cpu)
    columns = " | ".join([*names, "SIP workers waited for a core", "machine, used by others"])
    lines = [
        f"| workers | CPU us per call, of all calls | {columns} |",
        f"|---:|---|{'---:|' * (len(names) + 2)}",
    ]
    for one in measured:
        for other, title in _TITLES.items():
            of = one.latency[other]
            cells = " | ".join(f"{of.cpu[name]:.0f}" for name in names)
            waited, others = statistics.median(of.waited), statistics.median(of.others)
            lines.append(f"| {one.workers} | {title} | {cells} | {waited:.0f} | {others:.0%} |")
    return lines


def _accounts(measured: Sequence[Measured]) -> list[str]:
    lines = [
        "| workers | | transactions | shared memory KiB | descriptors of the fetch process | processes left |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for one in measured:
        for when, account in one.accounts.items():
            cells = f"{account.transactions} | {account.shared_kib:.0f} | {account.descriptors}"
            lines.append(f"| {one.workers} | {when} | {cells} | |")
        lines.append(f"| {one.workers} | after its end | | | | {one.left} |")
    return lines


def _ratio(values: Sequence[float], to: Sequence[float]) -> float:
    """Of the medians."""
    return statistics.median(values) / statistics.median(to)


_DRAWS: Final = 4000


def interval(values: Sequence[float], to: Sequence[float]) -> tuple[float, float]:
    """Between which the ratio of the medians lies, 9 times of 10, were other rounds of the same kind drawn (bootstrap)."""
    drawing = random.Random(1)
    rounds = range(len(values))
    ratios = []
    for _ in range(_DRAWS):
        drawn = drawing.choices(rounds, k=len(values))
        ratios.append(_ratio([values[each] for each in drawn], [to[each] for each in drawn]))
    ratios.sort()
    return ratios[_DRAWS // 20], ratios[-_DRAWS // 20]


def _each(values: Sequence[float], to: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, to, strict=True)]


def _range(values: Sequence[float], digits: int = 3) -> str:
    return f"{min(values):.{digits}f}..{max(values):.{digits}f}"


def faults(measured: Measured, last: str, stalled: int) -> list[str]:
    """What makes it no measurement: something was left, or there were not as many stalls as it says. `last`: an account."""
    found = []
    if transactions := measured.accounts[last].transactions:
        found.append(f"{transactions} transactions are left")
    if measured.left:
        found.append(f"{measured.left} processes are left")
    if (fewest := min(measured.cold_under_way)) < 0.9 * stalled:
        found.append(f"{fewest} stalled fetches under way, not {stalled}")
    return found


def cores_in_words(measured: Iterable[Measured]) -> str:
    """Who ran where."""
    return "; ".join(f"{one.workers} worker{'s' * (one.workers > 1)}: {_apart(one.cores)}" for one in measured)


def _apart(cores: Cores) -> str:
    if not cores.apart:
        return "all on all cores"
    edge, ours = (" ".join(map(str, part)) for part in cores)
    return f"the edge and its fetch process on core {edge}, caller, callee and repository on {ours}"
