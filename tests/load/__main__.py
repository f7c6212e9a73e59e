"""`make load`: what an edge does end to end, SIPp calling SIPp through it, up to the first limit.

Without options: every kind of call with 1 worker, and some with one per core, up to the highest clean rate; then CPU time is
compared. `--soak` holds one
rate and watches memory; `--cold-cache` gives every call another certificate. Reports go into the output directory.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from kamailio_app.lab.edge import ROOT
from kamailio_app.lab.network import Network
from tests.load import cold, headline, publish, soak
from tests.load.kinds import BY_NAME, PARALLEL, Kind, Way
from tests.load.ladder import Ladder
from tests.load.page import Table, markdown_table
from tests.load.report import Report
from tests.load.run import Plan, Run
from tests.load.step import Lengths, Limits
from tests.machine import machine, versions

_PRECISION: Final = 0.2  # what a ladder finds is confirmed afterwards, and often lowered
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds of "90s", "30m" or "4h"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: a number and s, m or h, as in 4h")
    return float(match[1]) * _UNITS[match[2]]


def kinds(text: str) -> list[str]:
    """Names of kinds, separated by commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in BY_NAME]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(BY_NAME)}")
    return names


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="two short steps of each kind: does it all work?")
    mode.add_argument("--soak", type=duration, metavar="DURATION", help="one rate for so long (90s, 4h), memory watched")
    mode.add_argument("--cold-cache", type=int, nargs="?", const=10000, metavar="N", help="N certificates, one a call")
    mode.add_argument(
        "--publish", action="store_true", help="copy the run in the output directory to figures/, fill the README"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build/load", help="directory of the reports")
    parser.add_argument("--kinds", type=kinds, help=f"of {', '.join(BY_NAME)}")
    parser.add_argument("--workers", type=int, help="SIP workers of an edge, besides 1; default: as cores, with --cold-cache 1")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a step of a ladder")
    parser.add_argument("--start", type=float, default=800, help="calls a second of the first step")
    parser.add_argument("--p99", type=float, default=100.0, help="limit of the 99th percentile of INVITE to 200, in ms")
    parser.add_argument("--rate", type=float, default=100, help="calls a second of a soak")
    parser.add_argument("--cache-size", type=int, default=0, help="max_cache_size with --cold-cache; 0: N")
    parser.add_argument("--keep", action="store_true", help="keep cfgs, logs and SIPp's files in the output directory")
    return parser


def planned(names: list[str] | None, workers: int) -> dict[int, list[Kind]]:
    """The kinds by the number of workers. With several only some of them unless they were asked for; never without an edge."""
    plan = {1: [BY_NAME[name] for name in names or BY_NAME]}
    if workers > 1:
        plan[workers] = [kind for kind in map(BY_NAME.__getitem__, names or PARALLEL) if kind.way is not Way.DIRECT]
    return plan


def throughput(options: argparse.Namespace, network: Network) -> list[str]:
    """Measure, write the report, print the headline. What a rate is, is no failure."""
    began = time.monotonic()
    plan = Plan(
        kinds=planned(options.kinds, 1 if options.quick else options.workers),
        ladder=Ladder(start=50, ceiling=100) if options.quick else Ladder(start=options.start, precision=_PRECISION),
        limits=Limits(p99_ms=options.p99),
        lengths=Lengths(0.5, 0.5, 0.5, 1) if options.quick else Lengths(climb=options.seconds),
    )
    steps = Run(network, plan, tell).measure()
    report = Report(**facts(), seconds=time.monotonic() - began, limits=plan.limits, lengths=plan.lengths, steps=tuple(steps))
    report.write(options.output)
    print("\n" + markdown_table(Table(headline.HEAD, [headline.cells(row) for row in headline.rows(steps)])))
    return []


def soaked(options: argparse.Namespace, network: Network) -> list[str]:
    return soak.measure(options, network, tell, facts())


def coldly(options: argparse.Namespace, network: Network) -> list[str]:
    return cold.measure(options, network, tell, facts())


# Each returns what is wrong, nothing if all is well
_MODES: Final[tuple[tuple[str, Callable[[argparse.Namespace, Network], list[str]]], ...]] = (
    ("quick", throughput),
    ("soak", soaked),
    ("cold-cache", coldly),
)


def facts() -> dict[str, Any]:
    """What every report says of its run."""
    return {"date": now(), "command": command(), "machine": machine(), "versions": versions()}


def tell(line: str) -> None:
    print(line, flush=True)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def command() -> str:
    return shlex.join(["python", "-m", "tests.load", *sys.argv[1:]])


def main() -> int:
    """The exit status: 1 if a soak or cold calls went wrong. An interrupted run ends its processes and writes no report."""
    options = arguments().parse_args()
    if options.publish:
        return publish.main(options.output)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell in the background has SIGINT ignored
        signal.signal(number, _terminated)
    mode, measure = next((mode for mode in _MODES if getattr(options, mode[0].replace("-", "_"))), ("", throughput))
    if mode:
        options.output /= mode
    options.workers = options.workers or (1 if options.cold_cache else os.cpu_count() or 1)
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            directory = Path(tempfile.mkdtemp(prefix="stirshaken-load-"))
            stack.callback(_leave, directory, options.output / "files" if options.keep else None)
            network = stack.enter_context(Network(directory))
            os.environ["SSL_CERT_FILE"] = str(network.ca_file)  # Go's way to be told the repository's root
            wrong = measure(options, network)
    except KeyboardInterrupt:
        print("interrupted: no report", file=sys.stderr)
        return 130
    print(f"\nReport: {options.output}")
    for words in wrong:
        print(f"failed: {words}", file=sys.stderr)
    return 1 if wrong else 0


def _leave(directory: Path, keep: Path | None) -> None:
    if keep:
        shutil.rmtree(keep, ignore_errors=True)
        shutil.copytree(directory, keep, ignore=shutil.ignore_patterns("*.key", "control"))
    shutil.rmtree(directory)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
