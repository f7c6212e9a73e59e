"""The run as JUnit XML, for CI systems: one testsuite per target, one testcase per result."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from tests.sipp.suite.outcome import Result, Run, Status
from tests.sipp.suite.visible import visible


def write(run: Run, path: Path) -> None:
    """Write the report. Control characters are shown as pictures: XML has no way to hold them."""
    report = JUnitXml("sipp")
    for target in run.targets:
        report.add_testsuite(_suite(run, target))
    report.update_statistics()  # type: ignore[no-untyped-call]  # it has no annotations
    report.write(str(path), pretty=False)


def _suite(run: Run, target: str) -> TestSuite:
    suite = TestSuite(visible(target))
    suite.timestamp = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, value in _properties(run, target):
        suite.add_property(visible(name), visible(value))
    suite.add_testcases([_case(result) for result in run.results if result.target == target])
    return suite


def _properties(run: Run, target: str) -> Iterator[tuple[str, str]]:
    yield "title", run.titles.get(target, target)
    yield "machine", run.machine
    yield "command", run.command
    for name, version in sorted(run.versions.items()):
        yield f"version.{name}", version


def _case(result: Result) -> TestCase:
    case = TestCase(visible(result.name), visible(result.target), result.seconds)
    if (outcome := _outcome(result)) is not None:
        case.result = [outcome]
        case.system_out = visible(_seen(result))
    return case


def _outcome(result: Result) -> FinalResult | None:
    match result.status:
        case Status.PASSED:
            return None
        case Status.NOT_SUPPORTED:
            return Skipped(visible(result.reason))
        case Status.ERROR:
            return _with_text(Error(visible(result.reason), "suite"), [result.title, result.reason, *_bad(result)])
        case Status.FAILED:
            bad = _bad(result)
            return _with_text(Failure(visible("; ".join(bad) or result.reason), "finding"), [result.title, *bad])


def _with_text(outcome: FinalResult, lines: list[str]) -> FinalResult:
    outcome.text = visible("\n".join(lines))
    return outcome


def _bad(result: Result) -> list[str]:
    return [f"{found.what}: expected {found.expected}, got {found.got}" for found in result.findings if not found.good]


def _seen(result: Result) -> str:
    """What passed by, one line per message, and what the system wrote about it."""
    ladder = [f"{step.time:9.3f} {step.sender} -> {step.receiver}: {step.start_line}" for step in result.steps]
    return "\n".join([*ladder, *result.log])
