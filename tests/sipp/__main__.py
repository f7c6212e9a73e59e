"""`python -m tests.sipp`: the scenarios against the targets; a line for each case, reports in a directory. README.md explains.

Exits with 1 if a case failed, with 2 if a file or an argument is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from pathlib import Path

from tests.sipp.suite import runner, scenario, target
from tests.sipp.suite.outcome import Result, Run, Status
from tests.sipp.suite.strict import ScenarioError

_MARKS = {Status.PASSED: "ok", Status.FAILED: "FAILED", Status.NOT_SUPPORTED: "-", Status.ERROR: "ERROR"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sipp", description="STIR/SHAKEN scenarios with SIPp")
    parser.add_argument("--target", nargs="+", default=[], metavar="NAME", help="of targets/, or a path; default: both edges")
    parser.add_argument("--scenario", nargs="+", default=[], metavar="PATTERN", help="names of folders, with * and ?")
    parser.add_argument("--out", type=Path, default=Path("build/sipp"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1) + 2, metavar="N", help="systems at once")
    parser.add_argument("--list", action="store_true", help="the scenarios and their cases; nothing is run")
    return parser.parse_args()


class Progress:
    """A line for each case as it ends, with what was not as expected below it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, result: Result) -> None:
        lines = [f"{_MARKS[result.status]:<7} {result.target:<16} {result.name:<52} {result.seconds:5.1f} s"]
        if result.reason:
            lines.append(f"        {result.reason}")
        for finding in result.findings:
            if not finding.good:
                lines += [
                    f"        {finding.what}: expected {finding.expected}",
                    f"        {' ' * len(finding.what)}  got      {finding.got}",
                ]
        with self._lock:
            print("\n".join(lines), flush=True)


def _listed(scenarios: list[scenario.Scenario]) -> None:
    for one in scenarios:
        print(f"{one.name}: {one.title} ({', '.join(one.clauses)})")
        for case in one.cases:
            print(f"    {case.name or 'one case'}: profile {case.profile}")


def _report(run: Run, directory: Path) -> None:
    from tests.sipp.suite import junit, matrix, page

    run.write(directory / "run.json")
    junit.write(run, directory / "junit.xml")
    page.write(run, directory / "report.html")
    (directory / "matrix.md").write_text(matrix.text(run))


def main() -> int:
    """Run it: the exit status."""
    arguments = _arguments()
    try:
        scenarios = scenario.find(*" ".join(arguments.scenario).split())
        targets = [target.target(name) for name in " ".join(arguments.target).split() or ("kamailio-exec", "kamailio-edge")]
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.list:
        _listed(scenarios)
        return 0
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "traces", ignore_errors=True)
    run = runner.run(targets, scenarios, out, max(1, arguments.jobs), Progress())
    _report(run, out)
    counts = ", ".join(f"{run.count(status)} {status}" for status in Status if run.count(status))
    print(f"\n{len(run.results)} cases in {run.seconds:.1f} s: {counts}. Reports and traces: {out}")
    return 0 if run.good and run.count(Status.PASSED) else 1


if __name__ == "__main__":
    sys.exit(main())
