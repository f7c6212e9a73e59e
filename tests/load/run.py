"""One run: kinds of call with 1 and N workers climb their ladders, then CPU time is compared; the figures of each step."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kamailio_app.lab.network import Network
from tests.load import headline, identities
from tests.load.caller import Placed, place, settle
from tests.load.kinds import BY_NAME, Kind, Way
from tests.load.ladder import Ladder, highest_clean
from tests.load.step import Lengths, Limit, Limits, Step, blame, crossed, percentile, shown
from tests.load.system import System

_WARM_RATE, _WARM_CALLS = 100.0, 50
_PATIENCE: Final = 2  # steps of a ladder that are tried again
_CONFIRMATIONS: Final = 4  # rates that are tried for longer, each lower than the one before
_MORE_ROUNDS: Final = 2  # of the comparison, for steps that were not clean
_DOUBTFUL: Final = (Limit.UNEXPLAINED, Limit.OTHERS)


@dataclass(frozen=True)
class Plan:
    """What is measured: the kinds to compare, by the number of SIP workers."""

    kinds: Mapping[int, Sequence[Kind]]
    ladder: Ladder = field(default_factory=Ladder)
    limits: Limits = field(default_factory=Limits)
    lengths: Lengths = field(default_factory=Lengths)


class Run:
    """The steps of a run, in order; `tell` gets a line for each."""

    def __init__(self, network: Network, plan: Plan, tell: Callable[[str], None]) -> None:
        self.network, self.plan, self.tell = network, plan, tell
        self.steps: list[Step] = []
        self._began = time.monotonic()
        self._patience = 0
        self._numbers = itertools.count(1)

    def measure(self) -> list[Step]:
        """Everything of the plan."""
        for workers, kinds in self.plan.kinds.items():
            for kind in kinds:
                with System(self.network, kind, workers) as system:
                    self.climb(system)
        for workers, kinds in self.plan.kinds.items():
            self.compare(workers, kinds)
        return self.steps

    def climb(self, system: System) -> None:
        """The ladder of one system, a longer step that confirms its end, a step at half of that."""
        self.warm_up(system)
        self._patience = _PATIENCE
        tried: list[tuple[float, bool]] = []
        while (rate := self.plan.ladder.next_rate(tried)) is not None:
            tried.append((rate, self._sure(system, rate, "climb")))
        best = highest_clean(tried)
        for _ in range(_CONFIRMATIONS):
            if not best or self._sure(system, best, "confirm"):
                break
            best = self.plan.ladder.below(best)
        else:
            best = 0
        if best:
            self.step(system, best / 2, "half")

    def _sure(self, system: System, rate: float, purpose: str) -> bool:
        """Whether a step was clean; a doubtful one is tried once more: it may have been a moment of something else."""
        step = self.step(system, rate, purpose)
        if step.limit in _DOUBTFUL and self._patience:
            self._patience -= 1
            step = self.step(system, rate, purpose)
        return step.clean

    def compare(self, workers: int, kinds: Sequence[Kind]) -> None:
        """CPU time at one rate: edges that live side by side take turns, so that a change of the machine meets all of them."""
        kinds = [kind for kind in kinds if kind.way is not Way.DIRECT and headline.best(self.steps, kind.name, workers)]
        rate = headline.rate_to_compare(self.steps, workers, [kind.name for kind in kinds])
        if rate is None:
            return
        with ExitStack() as stack:
            systems = [
                stack.enter_context(System(self.network, kind, workers, name=f"cpu-{kind.name}-{workers}"))
                for kind in with_bases(kinds)
            ]
            for system in systems:
                self.warm_up(system)
                self.heat(system, rate)
            left = {system.kind.name: self.plan.lengths.repetitions for system in systems}
            for number in range(self.plan.lengths.repetitions + _MORE_ROUNDS):
                turn = number % len(systems)
                for system in systems[turn:] + systems[:turn]:
                    if left[system.kind.name]:
                        left[system.kind.name] -= self.step(system, rate, "compare").clean

    def warm_up(self, system: System) -> None:
        """Certificates, caches and allocators. Errors: RuntimeError if a call fails: then nothing is worth measuring."""
        directory = system.directory / f"warm-up-{next(self._numbers)}"
        placed = self._place(system, directory, _WARM_RATE, _WARM_CALLS)
        if placed.counts.failed or placed.counts.succeeded != _WARM_CALLS:
            errors = directory / "caller/errors.log"
            said = errors.read_text("latin-1")[-1500:] if errors.exists() else ""
            raise RuntimeError(f"{system.kind.name}: {placed.counts}\n{said}\n{system.log()[-3000:]}")

    def heat(self, system: System, rate: float) -> None:
        """Calls at the rate of the comparison, however they end: what grows with the load has grown."""
        self._place(system, system.directory / "heat", rate, max(1, round(rate * self.plan.lengths.compare)))

    def step(self, system: System, rate: float, purpose: str = "climb") -> Step:
        """Measure one step and keep it."""
        settle(system)
        calls = max(1, round(rate * self.plan.lengths.of(purpose)))
        directory = system.directory / f"step-{next(self._numbers)}"
        began = time.monotonic() - self._began
        placed = self._place(system, directory, rate, calls)
        step = judged(figures(system, placed, rate, purpose, began), self.plan.limits)
        self.steps.append(step)
        self.tell(line(step))
        if step.clean:
            shutil.rmtree(directory)
        else:
            system.restart()
            self.warm_up(system)
        return step

    def _place(self, system: System, directory: Path, rate: float, calls: int) -> Placed:
        values = None
        if system.kind.identity:
            url = self.network.repository.url("sp1234.pem")
            values = identities.identities(self.network.provider, itertools.repeat(url, calls))
        return place(system, directory, rate, calls, values=values)


def with_bases(kinds: Sequence[Kind]) -> list[Kind]:
    """The kinds and what they are compared with, in the order of all kinds."""
    bases = [BY_NAME[name] for kind in kinds for name in (*kind.base, kind.carrying) if name]
    return [kind for kind in BY_NAME.values() if kind in kinds or kind in bases]


def figures(system: System, placed: Placed, rate: float, purpose: str, began: float) -> Step:
    """A step's figures, not judged yet."""
    answered = placed.answered
    ordered = sorted(each.milliseconds for each in answered)
    span = max((each.answered for each in answered), default=0) - min((each.invited for each in answered), default=0)
    before, sent, after = placed.before, placed.sent, placed.after
    sending = max(sent.time - before.time, 1e-9)
    calls = max(placed.counts.succeeded, 1)
    workers = [pid for edge in system.worker_pids for pid in edge]
    shares = [sent.used(before, edge) / sending / len(edge) for edge in system.worker_pids]
    machine = max(sent.busy + sent.idle - before.busy - before.idle, 1e-9)
    ours = sent.used(before, [*system.pids, placed.caller, placed.callee])
    return Step(
        kind=system.kind.name,
        workers=system.workers,
        purpose=purpose,
        started_s=began,
        seconds=after.time - before.time,
        offered_per_s=rate,
        achieved_per_s=(len(answered) - 1) / span if len(answered) > 1 and span > 0 else 0.0,
        calls=placed.counts.created,
        failed=placed.counts.created - placed.counts.succeeded,
        retransmissions=placed.counts.retransmissions + placed.callee_retransmissions,
        p50_ms=percentile(ordered, 0.5),
        p90_ms=percentile(ordered, 0.9),
        p99_ms=percentile(ordered, 0.99),
        p999_ms=percentile(ordered, 0.999),
        max_ms=percentile(ordered, 1),
        cpu_us_per_call=after.used(before, system.pids) / calls * 1e6,
        workers_cpu_us_per_call=after.used(before, workers) / calls * 1e6,
        worker_share=max(shares, default=0.0),
        caller_share=sent.used(before, [placed.caller]) / sending,
        callee_share=sent.used(before, [placed.callee]) / sending,
        machine_idle=(sent.idle - before.idle) / machine,
        machine_others=max(0.0, (sent.busy - before.busy - ours) / machine),
        rss_kib=placed.memory.rss,
        pss_kib=placed.memory.pss,
        anonymous_kib=placed.memory.anonymous,
        descriptors=placed.memory.descriptors,
        system_drops=placed.system_drops,
        generator_drops=placed.generator_drops,
        causes=", ".join(f"{name} {count}" for name, count in placed.counts.failures.items()),
    )


def judged(step: Step, limits: Limits) -> Step:
    """The step with what it crossed and whose limit that was."""
    words = crossed(step, limits)
    return replace(step, crossed=words, limit=blame(step)) if words else step


def line(step: Step) -> str:
    """What a person watching sees of a step."""
    end = f"{step.limit}: {step.crossed}{f' ({step.causes})' if step.causes else ''}" if step.crossed else "clean"
    purpose = "" if step.purpose == "climb" else step.purpose
    return (
        f"{step.kind:<15} {purpose:<7} {step.workers} worker{'s' if step.workers > 1 else ' '} {step.offered_per_s:>7g}/s  "
        f"p50 {shown(step.p50_ms, 2):>7}  p99 {shown(step.p99_ms, 2):>8} ms  {step.cpu_us_per_call:6.0f} us/call  {end}"
    )
