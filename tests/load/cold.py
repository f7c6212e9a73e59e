"""Every call another signer: certificates that have to be fetched while the call is parked, then the same ones again."""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.ticker import LogLocator, NullFormatter

from kamailio_app.lab.network import Network
from tests.load import identities, meter, plots
from tests.load.caller import Placed, place, settle
from tests.load.files import Answered
from tests.load.kinds import BY_NAME
from tests.load.ladder import Ladder, highest_clean
from tests.load.page import Block, Heading, Page, Plot, Table, Text
from tests.load.report import write_rows
from tests.load.repository import ManyCertificates
from tests.load.step import percentile, shown
from tests.load.system import STRICT, System

LADDER: Final = Ladder(start=25, ceiling=3200, floor=5, precision=0.15)
STEP_SECONDS: Final = 3.0
STEP: Final = "cold, step"  # the name of a phase
SHARE: Final = 0.8  # of the highest clean rate: the pace of the certificates that the ladder left
P99_MS: Final = 500.0  # later the caller repeats its INVITE
_FRESH_SECONDS: Final = 30.0  # of calls that are signed at once: the last must still be fresh


@dataclass(frozen=True)
class Phase:
    """Some calls. CPU time of all processes of the edge, and of the repository. `fetched`: how often a certificate
    was fetched; `in_flight`: the most calls at once."""

    name: str
    offered_per_s: float
    achieved_per_s: float
    calls: int
    failed: int
    retransmissions: int
    fetched: int
    tokens: dict[str, int]
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    in_flight: int
    cpu_us_per_call: float
    repository_us_per_call: float
    machine_idle: float

    @property
    def clean(self) -> bool:
        late = self.p99_ms is None or self.p99_ms > P99_MS
        return not self.failed and not self.tokens and self.retransmissions <= self.calls / 1000 and not late


@dataclass(frozen=True)
class Level:
    """Memory at a moment, KiB. `anonymous`: of all SIP workers and of all processes that fetch."""

    when: str
    workers_anonymous_kib: int
    fetchers_anonymous_kib: int
    shared_used_kib: float
    descriptors: int


@dataclass(frozen=True)
class Cold:
    """A run with `certificates`, of which a worker keeps `cache_size`."""

    date: str
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    certificates: int
    cache_size: int
    workers: int
    best_per_s: float
    phases: tuple[Phase, ...]
    levels: tuple[Level, ...]


def measure(options: argparse.Namespace, network: Network, tell: Callable[[str], None], facts: dict[str, Any]) -> list[str]:
    """Run it and write its report: what is wrong."""
    count, size = options.cold_cache, options.cache_size or options.cold_cache
    tell(f"making {count} certificates")
    with ManyCertificates(network, count) as repository:
        x5u = {**_X5U, "x5u_ports": [network.repository.port, repository.port], "x5u_tls_ca_file": str(network.ca_file)}
        verification = {**STRICT, "ca_file": str(network.ca_file)}
        settings = {"x5u": x5u, "cache": {"max_cache_size": size}, "verification": verification}
        with System(network, BY_NAME["verify"], options.workers, settings=settings, debug=2) as system:
            run = _Run(network, system, repository, tell)
            best = run.everything()
            cold = Cold(
                **facts,
                certificates=count,
                cache_size=size,
                workers=options.workers,
                best_per_s=best,
                phases=tuple(run.phases),
                levels=tuple(run.levels),
            )
            slowest = run.cold_ms
    write(cold, options.output, slowest)
    return wrong(cold)


def wrong(cold: Cold) -> list[str]:
    """What makes it a failed run: no clean rate, or calls that failed after the steps, which go up to a limit."""
    none = [] if cold.best_per_s else ["no rate of cold calls was clean"]
    later = [phase for phase in cold.phases if phase.name != STEP and phase.failed]
    return [*none, *(f"{phase.name}: {phase.failed} calls failed" for phase in later)]


_X5U: Final = {"relax_x5u_private_addresses": True}


class _Run:
    def __init__(self, network: Network, system: System, repository: ManyCertificates, tell: Callable[[str], None]) -> None:
        self.network, self.system, self.repository, self.tell = network, system, repository, tell
        self.phases: list[Phase] = []
        self.levels: list[Level] = []
        self.cold_ms: list[float] = []
        self._unseen = 0
        self._numbers = itertools.count(1)
        self._random = random.Random(1)

    def everything(self) -> float:
        """The ladder, the rest of the certificates, then all of them twice more: the highest clean rate of cold calls."""
        self._level("before the first call")
        tried: list[tuple[float, bool]] = []
        while (rate := LADDER.next_rate(tried)) is not None:
            calls = round(rate * STEP_SECONDS)
            # At least half of them for the long phase
            if self._unseen + calls > self.repository.count / 2:
                break
            phase = self._phase(STEP, rate, self._fresh(calls))
            tried.append((rate, phase.clean))
        best = highest_clean(tried)
        self._level("after the steps")
        rest = self.repository.count - self._unseen
        pace = max(best * SHARE, LADDER.floor)
        self._phase("cold, the rest", pace, self._fresh(rest))
        self._level("after all cold calls")
        cold_ms = self.cold_ms
        self._phase("second call of each", pace, self._shuffled())
        self._level("after the second call of each")
        self._phase("third call of each", 2 * pace, self._shuffled())
        self._level("after the third call of each")
        self.cold_ms = cold_ms
        return best

    def _shuffled(self) -> list[int]:
        """All certificates in another order: in one and the same the table's entries would displace each other for ever."""
        return self._random.sample(range(self.repository.count), self.repository.count)

    def _fresh(self, calls: int) -> range:
        first, self._unseen = self._unseen, self._unseen + calls
        return range(first, self._unseen)

    def _phase(self, name: str, rate: float, numbers: Sequence[int]) -> Phase:
        length = max(1, int(rate * _FRESH_SECONDS))
        placed, asked = [], self.repository.asked()
        for start in range(0, len(numbers), length):
            urls = [self.repository.url(number) for number in numbers[start : start + length]]
            values = identities.identities(self.network.provider, urls)
            directory = self.system.directory / f"run-{next(self._numbers)}"
            others = [self.repository.pid]
            settle(self.system)
            placed.append(place(self.system, directory, rate, len(urls), values=values, others=others))
        phase = self._figures(name, rate, placed, self.repository.asked() - asked)
        self.phases.append(phase)
        self.tell(line(phase))
        return phase

    def _figures(self, name: str, rate: float, placed: Sequence[Placed], fetched: int) -> Phase:
        pids = self.system.pids
        ordered = sorted(each.milliseconds for one in placed for each in one.answered)
        self.cold_ms = ordered
        calls = sum(one.counts.created for one in placed)
        span = sum(_span(one.answered) for one in placed)
        busy = sum(one.after.busy - one.before.busy for one in placed)
        idle = sum(one.after.idle - one.before.idle for one in placed)
        used = sum(one.after.used(one.before, pids) for one in placed)
        served = sum(one.after.used(one.before, [self.repository.pid]) for one in placed)
        return Phase(
            name=name,
            offered_per_s=rate,
            achieved_per_s=len(ordered) / span if span else 0.0,
            calls=calls,
            failed=calls - sum(one.counts.succeeded for one in placed),
            retransmissions=sum(one.counts.retransmissions for one in placed),
            fetched=fetched,
            tokens=self._tokens(one.caller for one in placed),
            p50_ms=percentile(ordered, 0.5),
            p90_ms=percentile(ordered, 0.9),
            p99_ms=percentile(ordered, 0.99),
            p999_ms=percentile(ordered, 0.999),
            max_ms=percentile(ordered, 1),
            in_flight=max(in_flight(one.answered) for one in placed),
            cpu_us_per_call=used / max(calls, 1) * 1e6,
            repository_us_per_call=served / max(calls, 1) * 1e6,
            machine_idle=idle / max(busy + idle, 1e-9),
        )

    def _tokens(self, callers: Iterable[int]) -> dict[str, int]:
        """Of the failures that the edge's log has of these callers; SIPp's process id is in its Call-IDs."""
        ours = tuple(f"-{pid}@{self.system.caller_host}" for pid in callers)
        calls = self.system.edges[0].calls().items()
        return dict(Counter(words["token"] for call, words in calls if call.endswith(ours) and "token" in words))

    def _level(self, when: str) -> None:
        workers = [pid for edge in self.system.worker_pids for pid in edge]
        fetchers = [pid for pid, name in self.system.names().items() if "stirshaken" in name]
        shared = self.system.edges[0].rpc("core.shmmem")
        self.levels.append(
            Level(
                when,
                meter.memory(workers).anonymous,
                meter.memory(fetchers).anonymous,
                meter.members(shared)["used"] / 1024,
                meter.memory(self.system.pids).descriptors,
            )
        )


def _span(answered: Iterable[Answered]) -> float:
    calls = list(answered)
    return max(each.answered for each in calls) - min(each.invited for each in calls) if calls else 0.0


def in_flight(answered: Iterable[Answered]) -> int:
    """The most calls that waited for their 200 at one moment."""
    calls = list(answered)
    changes = sorted([(each.answered, -1) for each in calls] + [(each.invited, 1) for each in calls])
    return max(itertools.accumulate(change for _, change in changes), default=0)


def line(phase: Phase) -> str:
    """What a person watching sees."""
    tokens = ", ".join(f"{token} {count}" for token, count in phase.tokens.items())
    return (
        f"{phase.name:<19} {phase.offered_per_s:6g}/s  {phase.calls} calls, {phase.failed} failed {tokens}  "
        f"{phase.fetched} fetched  "
        f"p50 {shown(phase.p50_ms)}  p99 {shown(phase.p99_ms)} ms  {phase.in_flight} at once  "
        f"{phase.cpu_us_per_call:.0f} us/call"
    )


# --- Its report -----------------------------------------------------------------------------------------------------


def write(cold: Cold, directory: Path, cold_ms: Sequence[float]) -> None:
    """cold-cache.json, phases.csv, the plot, report.md and report.html."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cold-cache.json").write_text(json.dumps(asdict(cold), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    rows = [{**asdict(phase), "tokens": " ".join(f"{t}={n}" for t, n in phase.tokens.items())} for phase in cold.phases]
    write_rows(directory / "phases.csv", rows, [each.name for each in fields(Phase)])
    page(cold, [_draw(cold, directory, cold_ms)]).write(directory)


def page(cold: Cold, drawn: Sequence[Plot]) -> Page:
    reached = max((phase for phase in cold.phases if phase.clean), key=lambda phase: phase.in_flight, default=None)
    at_once = f"; at most {reached.in_flight} calls waited at once in a clean phase" if reached else ""
    known = {"Date": cold.date, "Command": cold.command, **cold.machine, **cold.versions}
    blocks: list[Block] = [
        Text(
            f"{cold.certificates} certificates, each with an x5u URL of its own; {cold.workers} SIP worker(s), each keeps "
            f"{cold.cache_size}. Highest clean rate of calls whose certificate has to be fetched first: {cold.best_per_s:g} a "
            f"second{at_once}. Clean: no call failed, 99 % of them were answered within {P99_MS:g} ms, at most one in a "
            "thousand was repeated."
        ),
        _phases(cold.phases),
        Text(
            "The certificates have one key and differ by serial number, which makes them quickly and costs the edge the same. "
            "The repository is an HTTPS server on the same cores: its CPU time is in a column of its own. The edge logs every "
            "call (debug=2), from which the tokens are read. A certificate is fetched by a process for that "
            "and left in a table of the shared memory, which has a fixed number of places. A SIP worker validates it when it "
            "finds it there, and then has it; what another certificate has displaced is fetched again. Second and third "
            "calls come in another order."
        ),
        *drawn,
        Heading("Memory"),
        Table(
            (
                "When",
                "SIP workers, anonymous KiB",
                "Fetching processes, anonymous KiB",
                "Shared memory used, KiB",
                "Descriptors",
            ),
            [
                [
                    level.when,
                    str(level.workers_anonymous_kib),
                    str(level.fetchers_anonymous_kib),
                    f"{level.shared_used_kib:.0f}",
                    str(level.descriptors),
                ]
                for level in cold.levels
            ],
        ),
        Heading("Run"),
        Table(("", ""), [[name, value] for name, value in known.items()], left=2),
    ]
    return Page("Calls with certificates that nobody has seen yet", blocks)


def _phases(phases: Sequence[Phase]) -> Table:
    counts = ("Phase", "Failed, by token", "Offered/s", "Achieved/s", "Calls", "Failed", "Retrans.", "Fetched")
    times = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "Max ms", "At once", "CPU us", "Repository us", "Idle")
    return Table(
        (*counts, *times),
        [
            [
                phase.name,
                ", ".join(f"{token} {count}" for token, count in phase.tokens.items()),
                f"{phase.offered_per_s:g}",
                f"{phase.achieved_per_s:.0f}",
                str(phase.calls),
                str(phase.failed),
                str(phase.retransmissions),
                str(phase.fetched),
                *(shown(value) for value in (phase.p50_ms, phase.p90_ms, phase.p99_ms, phase.p999_ms, phase.max_ms)),
                str(phase.in_flight),
                f"{phase.cpu_us_per_call:.0f}",
                f"{phase.repository_us_per_call:.0f}",
                f"{phase.machine_idle:.0%}",
            ]
            for phase in phases
        ],
        left=2,
    )


def _draw(cold: Cold, directory: Path, cold_ms: Sequence[float]) -> Plot:
    with mpl.rc_context(plots.STYLE):
        whole = plots.figure(9.5, 3.6)
        steps, shares = whole.subplots(1, 2)
        climb = sorted((phase for phase in cold.phases if phase.name == STEP), key=lambda phase: phase.offered_per_s)
        for (label, name), colour in zip(plots.PERCENTILES, plots.SHADES, strict=True):
            drawn = [(phase.offered_per_s, getattr(phase, name)) for phase in climb if getattr(phase, name) is not None]
            steps.plot(
                [rate for rate, _ in drawn], [value for _, value in drawn], "o-", markersize=3, color=colour, label=label
            )
        steps.set_xlabel("cold calls/s")
        steps.set_ylabel("INVITE to 200, ms")
        steps.set_yscale("log")
        shares.set_xscale("log")
        for axis in (steps.yaxis, shares.xaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(plots.PLAIN)
        if climb:
            steps.legend()
        shares.plot(cold_ms, [100 * (place + 1) / len(cold_ms) for place in range(len(cold_ms))], color="#2171b5")
        shares.set_xlabel("INVITE to 200, ms, of the long cold phase")
        shares.set_ylabel("% of the calls")
        plots.save(whole, directory / "cold-cache.png")
    return Plot("cold-cache.png", "Left: the steps with unseen certificates. Right: how long the calls of the long phase took")
