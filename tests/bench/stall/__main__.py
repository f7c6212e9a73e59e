"""`make bench-stall`: what calls that wait for a certificate cost those that do not, on the real Kamailio with parked calls.

1. Calls at a steady rate. A fifth of them needs a certificate that nobody has seen, from a host of its own that takes the
   connection and then says nothing until fetch_timeout; against the same calls at the same moments, all of them cached.
2. A certificate that nobody has seen, from a healthy repository: while nothing else goes on, and while many fetches stall.
3. What is left of it: transactions, shared memory, file descriptors, processes.

Latency is from the INVITE to the callee's answer, by the caller's clock. A call that does not end as it should is an error,
whatever its latency.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kamailio_app.lab.network import Network
from tests.bench.stall.figures import IDLE, Measured, cores_in_words, faults, report
from tests.bench.stall.phones import Phones
from tests.bench.stall.plan import STALLED, TOO, cold, mixed
from tests.bench.stall.site import BUDGET, Site, cores
from tests.machine import in_short, versions

_LAST = "after the last call"
_FRESH_SECONDS = 50  # calls of a run are signed before it, and a PASSporT is fresh for a minute


@dataclass(frozen=True)
class Size:
    """How much is measured. `calls` of a run; `hold`: seconds of a stalled fetch; `lead`: of a run, before its calls count."""

    rounds: int
    calls: int
    workers: tuple[int, ...]
    stalled: int
    cold: int
    hold: float
    lead: float


_FULL = Size(rounds=5, calls=2000, workers=(1, 2), stalled=300, cold=20, hold=5.0, lead=5.0)
_QUICK = Size(rounds=1, calls=150, workers=(1,), stalled=75, cold=4, hold=2.5, lead=0.5)


def measure(network: Network, phones: Phones, workers: int, size: Size, rate: float, *, apart: bool) -> Measured:
    """Everything with so many workers. Errors: RuntimeError if a call did not end as it should, or something is left."""
    measured = Measured(workers, cores(os.sched_getaffinity(0), workers, apart=apart))
    with Site(network, phones, workers, measured.cores, size.hold) as site:
        measured.accounts["before the first call"] = site.account()
        site.warm_up()
        for number in range(size.rounds):
            # Who goes first takes turns: what drifts, drifts for both
            for other in (TOO, STALLED) if number % 2 == 0 else (STALLED, TOO):
                slots = mixed(rate, size.lead + size.calls / rate, other, seed=number)
                measured.latency[other].add(site.place(slots), size.lead)
            for state, stalled in ((IDLE, 0), (STALLED, size.stalled)):
                measured.add_cold(state, site.place(cold(size.cold, stalled, size.hold)))
        measured.accounts[_LAST] = site.account()
    measured.left = site.left()
    if found := faults(measured, _LAST, size.stalled):
        raise RuntimeError("\n".join(found))
    return measured


def notes(options: argparse.Namespace, size: Size, measured: Sequence[Measured], took: float, arguments: Sequence[str]) -> str:
    """What the figures depend on, and what was done against noise."""
    known = versions()
    command = shlex.join(["python -m tests.bench.stall", *arguments]).replace("'", "", 2)
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {in_short()}, Kamailio {known['Kamailio']}, "
        f"Python {known['Python in Kamailio']}. Rounds: {size.rounds}, each of "
        f"{size.calls} calls at {options.rate:g}/s, all cached and a fifth stalled in turns, then {size.cold} cold calls idle "
        f"and under {size.stalled} stalls; {took:.0f} s. Medians over rounds; cold: over all calls. call_time_budget "
        f"{BUDGET:g} s, fetch_timeout {size.hold:g} s, every stalled fetch at a host name of its own; a run's calls count from "
        f"{size.lead:g} s on. Against noise: caller and callee are one thread, which collects no garbage while calls are under "
        f"way; both sorts of run have their calls at the same random moments; the edge logs no calls; silent hosts are a "
        f"listening socket that nobody accepts at. {cores_in_words(measured)}."
    )


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark: the exit status. Missed targets are figures, not errors."""
    parser = argparse.ArgumentParser(
        prog="make bench-stall", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20 s: whether it works, no figures")
    parser.add_argument("--rounds", type=int, help=f"default: {_FULL.rounds}")
    parser.add_argument("--rate", type=float, default=150, help="calls a second (default: 150)")
    parser.add_argument("--calls", type=int, help=f"of a run, all kinds together (default: {_FULL.calls})")
    parser.add_argument("--workers", type=int, nargs="+", help="of the edge, a measurement for each number (default: 1 2)")
    parser.add_argument("--stalled", type=int, help=f"stalled fetches beside cold calls (default: {_FULL.stalled})")
    parser.add_argument("--apart", action="store_true", help="caller and callee on a core of their own, also of two")
    options = parser.parse_args(arguments)
    size = _size(options)
    if min(size.rounds, size.calls, size.stalled, *size.workers) < 1 or options.rate <= 0:
        parser.error("numbers have to be above 0")
    if size.lead + size.calls / options.rate > _FRESH_SECONDS:
        parser.error(f"a run may take {_FRESH_SECONDS} s: fewer calls, or a higher rate")
    began = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stir-stall-")))
        network = stack.enter_context(Network(directory))
        phones = stack.enter_context(Phones(network.host(11), network.host(12)))
        try:
            measured = [measure(network, phones, n, size, options.rate, apart=options.apart) for n in size.workers]
        except RuntimeError as error:
            print(f"no figures: {error}", file=sys.stderr)
            return 1
    print(report(measured))
    print(f"\n{notes(options, size, measured, time.monotonic() - began, arguments)}")
    return 0


def _size(options: argparse.Namespace) -> Size:
    size = _QUICK if options.quick else _FULL
    return Size(
        rounds=size.rounds if options.rounds is None else options.rounds,
        calls=size.calls if options.calls is None else options.calls,
        workers=tuple(options.workers or size.workers),
        stalled=size.stalled if options.stalled is None else options.stalled,
        cold=size.cold,
        hold=size.hold,
        lead=size.lead,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
