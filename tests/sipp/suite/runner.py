"""The whole run: which case goes where, lanes side by side, the results in the order of the scenarios."""

from __future__ import annotations

import queue
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.machine import in_short, versions
from tests.sipp.suite.lane import Lane, Work
from tests.sipp.suite.outcome import Result, Run, Status
from tests.sipp.suite.scenario import Scenario
from tests.sipp.suite.system import Lab, Reached, Started, System
from tests.sipp.suite.target import Target

_MAX_LANES: Final = 70  # at once: a network has so many addresses


def plan(targets: Sequence[Target], scenarios: Sequence[Scenario]) -> tuple[dict[tuple[str, ...], list[Work]], list[Result]]:
    """The cases by lane, and the results of those that a target does not support.

    What operates on a system has one for itself.
    """
    lanes: dict[tuple[str, ...], list[Work]] = {}
    results = []
    for target in targets:
        for scenario in scenarios:
            for case in scenario.cases:
                work = Work(target, scenario, case)
                needs = (*scenario.needs, *case.needs, *(("operate",) if scenario.operates else ()))
                if reason := target.lacks(tuple(dict.fromkeys(needs)), case.profile, case.choice):
                    results.append(work.result(Status.NOT_SUPPORTED, reason))
                    continue
                alone = scenario.name if scenario.operates else ""
                # A system that runs elsewhere is one system, whatever the profile
                profile = case.profile if target.start else ""
                lanes.setdefault((target.name, profile, alone), []).append(work)
    return lanes, results


def run(targets: Sequence[Target], scenarios: Sequence[Scenario], out: Path, jobs: int, ended: Callable[[Result], None]) -> Run:
    """Run everything. `ended` is told each result as it comes, by any thread. Traces go below `out`/traces."""
    started, began = time.time(), time.monotonic()
    lanes, results = plan(targets, scenarios)
    collected: queue.SimpleQueue[Result] = queue.SimpleQueue()
    for result in results:
        collected.put(result)

    def end(result: Result) -> None:
        collected.put(result)
        ended(result)

    with ExitStack() as stack:
        # Short, because a control socket's path has to be
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipp-")))
        labs = _labs(stack, targets, directory)
        free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(_MAX_LANES):
            free.put(number)

        def lane(key: tuple[str, ...]) -> None:
            works, number = lanes[key], free.get()
            try:
                Lane(_system(works[0].target, key[1], labs, number), out / "traces" / "-".join(filter(None, key))).run(
                    works, end
                )
            finally:
                free.put(number)

        # The longest first, so that no long one is left over at the end
        order = sorted(lanes, key=lambda key: len(lanes[key]), reverse=True)
        with ThreadPoolExecutor(min(jobs, _MAX_LANES)) as pool:
            for future in [pool.submit(lane, key) for key in order]:
                future.result()

    found = in_order([collected.get() for _ in range(collected.qsize())], targets, scenarios)
    return Run(
        started,
        round(time.monotonic() - began, 3),
        f"python -m tests.sipp {shlex.join(sys.argv[1:])}".strip(),
        in_short(),
        {name: version for name, version in versions().items() if version != "?"},
        tuple(target.name for target in targets),
        {target.name: target.title for target in targets},
        tuple(found),
    )


def in_order(results: list[Result], targets: Sequence[Target], scenarios: Sequence[Scenario]) -> list[Result]:
    """The results as target, scenario and case stand in the files."""
    names = [target.name for target in targets]
    cases = {scenario.name: [case.name for case in scenario.cases] for scenario in scenarios}
    order = list(cases)

    def place(result: Result) -> tuple[int, int, int]:
        # A case that is its scenario's only one has no name
        case = cases[result.scenario].index(result.case) if len(cases[result.scenario]) > 1 else 0
        return names.index(result.target), order.index(result.scenario), case

    return sorted(results, key=place)


def _labs(stack: ExitStack, targets: Sequence[Target], directory: Path) -> dict[str, Lab]:
    """By target; "" is the one of all that are started."""
    labs = {"": stack.enter_context(Lab(directory))}
    for target in targets:
        if target.reach:
            labs[target.name] = stack.enter_context(Lab(directory / target.name, target.reach))
    return labs


def _system(target: Target, profile: str, labs: dict[str, Lab], number: int) -> System:
    if target.reach:
        return Reached(labs[target.name], target)
    return Started(labs[""], target, profile, number)
