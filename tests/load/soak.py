"""One rate of calls, signed by one edge and verified by another, for hours: does anything grow?"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from kamailio_app.lab.edge import Edge
from kamailio_app.lab.network import Network
from tests.load import files, meter, plots
from tests.load.caller import callee, caller
from tests.load.files import Counts
from tests.load.kinds import BY_NAME
from tests.load.page import Block, Heading, Page, Plot, Table, Text
from tests.load.report import write_rows
from tests.load.slope import Slope, Verdict, slope, verdict
from tests.load.step import percentile, shown
from tests.load.system import System

WARM_UP: Final = 0.2  # of the duration: caches fill, allocators find their size
SHORTEST: Final = 1800.0  # seconds after the warm-up below which nothing is said of a leak
LIMIT_KIB_PER_HOUR: Final = 512.0  # of all processes of both edges together: 12 MiB a day
_SAMPLES: Final = 1000  # at most, and no more often than every two seconds
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Sample:
    """Both edges at a moment, all processes together; KiB of memory."""

    seconds: float
    calls: int
    failed: int
    retransmissions: int
    rss_kib: int
    pss_kib: int
    anonymous_kib: int
    shared_used_kib: float
    shared_fragments: int
    package_used_kib: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Judged:
    """One series: its line after the warm-up, and what that says."""

    name: str
    slope: Slope
    verdict: Verdict


@dataclass(frozen=True)
class Soak:
    """A soak. `workers` of each edge; `series`: KiB of anonymous memory by process, in the order of the samples."""

    date: str
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    rate: float
    workers: int
    duration: float
    latency_ms: dict[str, float | None]
    samples: tuple[Sample, ...]
    series: dict[str, tuple[int, ...]]


def measure(options: argparse.Namespace, network: Network, tell: Callable[[str], None], facts: dict[str, Any]) -> list[str]:
    """Run it and write its report: what is wrong. Errors: RuntimeError if SIPp or an edge ends before its time."""
    with System(network, BY_NAME["both"], options.workers) as system:
        soak = _run(system, options.rate, options.soak, tell, facts)
    write(soak, options.output)
    tell(Page("", [_table(judge(soak))]).markdown())
    return wrong(soak)


def _run(system: System, rate: float, duration: float, tell: Callable[[str], None], facts: dict[str, Any]) -> Soak:
    calls, every = round(rate * duration), max(2.0, duration / _SAMPLES)
    names = system.names()
    samples: list[Sample] = []
    series: dict[str, list[int]] = {name: [] for name in names.values()}
    with callee(system, system.directory / "callee") as answering:
        began = time.monotonic()
        with caller(system, system.directory / "caller", rate, calls) as calling:
            due, told = began + every, 0.0
            while calling.running and time.monotonic() < began + duration + _GRACE_SECONDS:
                time.sleep(0.2)
                if time.monotonic() < due:
                    continue
                due += every
                if not answering.running or not all(edge.alive for edge in system.edges):
                    raise RuntimeError(f"ended before its time\n{answering.said()}\n{system.log()[-3000:]}")
                samples.append(_sample(system, calling.directory, time.monotonic() - began))
                for pid, name in names.items():
                    series[name].append(meter.memory([pid]).anonymous)
                if samples[-1].seconds - told >= min(60.0, duration / 5):
                    told = samples[-1].seconds
                    tell(line(samples[-1]))
            calling.end()
            ordered = sorted(each.milliseconds for each in files.answered(calling.directory / "calls.log"))
            last = calling.counts()
    if not samples:
        raise RuntimeError(f"no sample\n{calling.said()}")
    complete(last, calls, calling.said())
    end = {**asdict(samples[-1]), "calls": last.created, "failed": last.created - last.succeeded}
    latency = {name: percentile(ordered, share) for name, share in _SHARES.items()}
    kept = {name: tuple(values) for name, values in series.items()}
    return Soak(
        **facts,
        rate=rate,
        workers=system.workers,
        duration=duration,
        latency_ms=latency,
        samples=(*samples[:-1], Sample(**{**end, "retransmissions": last.retransmissions})),
        series=kept,
    )


def complete(last: Counts, calls: int, said: str) -> None:
    """Errors: RuntimeError if fewer calls were placed: whoever ends early has not soaked."""
    if last.created < calls:
        raise RuntimeError(f"{last.created} of {calls} calls were placed\n{said}")


_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _sample(system: System, directory: Path, seconds: float) -> Sample:
    used = meter.memory(system.pids)
    counts = files.statistics(directory / "statistics.csv")
    shared = [meter.members(edge.rpc("core.shmmem")) for edge in system.edges]
    return Sample(
        seconds,
        counts.created,
        counts.failed,
        counts.retransmissions,
        used.rss,
        used.pss,
        used.anonymous,
        sum(each["used"] for each in shared) / 1024,
        sum(int(each["fragments"]) for each in shared),
        sum(_package(edge) for edge in system.edges) / 1024,
        used.descriptors,
        used.threads,
    )


def _package(edge: Edge) -> int:
    """Octets of Kamailio's own private memory in use, all processes."""
    return sum(int(used) for used in re.findall(r"\bused: (\d+)", edge.rpc("pkg.stats")))


def line(sample: Sample) -> str:
    """What a person watching sees."""
    return (
        f"{sample.seconds:7.0f} s  {sample.calls} calls, {sample.failed} failed  anonymous {sample.anonymous_kib} KiB  "
        f"shared {sample.shared_used_kib:.0f} KiB in {sample.shared_fragments} fragments  "
        f"{sample.descriptors} descriptors  {sample.threads} threads"
    )


# --- Its report -----------------------------------------------------------------------------------------------------


def after_warm_up(soak: Soak) -> int:
    """The index of the first sample after the warm-up."""
    start = WARM_UP * soak.duration
    return next((index for index, sample in enumerate(soak.samples) if sample.seconds >= start), 0)


def judge(soak: Soak) -> list[Judged]:
    """Every series of memory: together, shared, and each process alone. A short run says nothing."""
    first = after_warm_up(soak)
    times = [sample.seconds for sample in soak.samples[first:]]
    series: dict[str, Sequence[float]] = {
        "all processes, anonymous": [sample.anonymous_kib for sample in soak.samples],
        "all processes, PSS": [sample.pss_kib for sample in soak.samples],
        "Kamailio's shared memory, used": [sample.shared_used_kib for sample in soak.samples],
        "Kamailio's package memory, used": [sample.package_used_kib for sample in soak.samples],
        **{f"{name}, anonymous": values for name, values in soak.series.items()},
    }
    if len(times) < 3:
        return []
    long_enough = times[-1] - times[0] >= SHORTEST
    found = []
    for name, values in series.items():
        line = slope(times, values[first:])
        found.append(Judged(name, line, verdict(line, LIMIT_KIB_PER_HOUR) if long_enough else Verdict.UNDECIDED))
    return found


def wrong(soak: Soak) -> list[str]:
    """What makes it a failed soak: calls that failed, memory that leaks."""
    failed = soak.samples[-1].failed
    leaks = [f"leak: {each.name}" for each in judge(soak) if each.verdict is Verdict.LEAK]
    return [*([f"{failed} calls failed"] if failed else []), *leaks]


def _table(judged: Sequence[Judged]) -> Table:
    rows = [
        [each.name, each.verdict, f"{each.slope.kib_per_hour:+.0f}", f"{2 * each.slope.error:.0f}"]
        for each in judged
        if each.verdict is not Verdict.NO_LEAK or abs(each.slope.kib_per_hour) >= 1 or ": " not in each.name
    ]
    return Table(("Memory", "Verdict", "KiB per hour", "+/-"), rows, left=2)


def page(soak: Soak, drawn: Sequence[Plot]) -> Page:
    first, last = soak.samples[0], soak.samples[-1]
    judged = judge(soak)
    leaking = [each.name for each in judged if each.verdict is Verdict.LEAK]
    whole = next((each.verdict for each in judged), Verdict.UNDECIDED)
    summary = f"Leak: {', '.join(leaking)}." if leaking else f"Verdict: {whole}."
    rows = [
        ["calls", str(last.calls), ""],
        ["failed", str(last.failed), ""],
        ["caller's retransmissions", str(last.retransmissions), ""],
        *([f"{name}, ms", shown(value), ""] for name, value in soak.latency_ms.items()),
        ["file descriptors, first and last", str(first.descriptors), str(last.descriptors)],
        ["threads, first and last", str(first.threads), str(last.threads)],
        ["fragments of shared memory, first and last", str(first.shared_fragments), str(last.shared_fragments)],
    ]
    known = {"Date": soak.date, "Command": soak.command, **soak.machine, **soak.versions}
    blocks: list[Block] = [
        Text(
            f"{summary} {soak.rate:g} calls a second for {soak.duration:g} s, each signed by one edge and verified by "
            f"another, {soak.workers} workers each."
        ),
        Table(("", "", ""), rows),
        Text(
            f"Slopes by least squares after a warm-up of {WARM_UP:.0%}, with two standard errors; the errors allow for samples "
            f"that resemble their neighbours. A leak is a slope above {LIMIT_KIB_PER_HOUR:g} KiB per hour by more than these; "
            f"nothing is said of less than {SHORTEST / 60:g} minutes. Processes that do not change are left out."
        ),
        _table(judged),
        *drawn,
        Heading("Run"),
        Table(("", ""), [[name, value] for name, value in known.items()], left=2),
    ]
    return Page("Soak: memory of a signing and a verifying edge", blocks)


def write(soak: Soak, directory: Path) -> None:
    """soak.json, samples.csv, the plot, report.md and report.html."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "soak.json").write_text(json.dumps(asdict(soak), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_rows(directory / "samples.csv", [asdict(each) for each in soak.samples], [each.name for each in fields(Sample)])
    page(soak, [_draw(soak, directory)]).write(directory)


_SCALES: Final = ((300.0, 1.0, "seconds"), (7200.0, 60.0, "minutes"), (float("inf"), 3600.0, "hours"))


def _draw(soak: Soak, directory: Path) -> Plot:
    unit, label = next((unit, label) for longest, unit, label in _SCALES if soak.duration < longest)
    times = [sample.seconds / unit for sample in soak.samples]
    with mpl.rc_context(plots.STYLE):
        whole = plots.figure(9.5, 7)
        memory, shared, counts = whole.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
        memory.plot(times, [sample.anonymous_kib / 1024 for sample in soak.samples], color="#2171b5", label="anonymous")
        memory.plot(times, [sample.pss_kib / 1024 for sample in soak.samples], color="#1b7f5c", label="PSS")
        memory.set_ylabel("all processes, MiB")
        shared.plot(times, [sample.shared_used_kib / 1024 for sample in soak.samples], color="#c8662b", label="shared, used")
        shared.plot(times, [sample.package_used_kib / 1024 for sample in soak.samples], color="#7a5195", label="package, used")
        shared.set_ylabel("Kamailio, MiB")
        counts.plot(times, [sample.descriptors for sample in soak.samples], color="#2171b5", label="file descriptors")
        counts.plot(times, [sample.threads for sample in soak.samples], color="#c8662b", label="threads")
        counts.set_xlabel(label)
        for ax in (memory, shared, counts):
            ax.axvspan(0, WARM_UP * soak.duration / unit, color="#f0f2f6", zorder=0)
            ax.set_ylim(bottom=0)
            ax.set_xlim(0, times[-1])
            ax.legend(loc="center right")
        plots.save(whole, directory / "memory.png")
    return Plot("memory.png", "Memory, descriptors and threads of both edges; the warm-up is shaded")
