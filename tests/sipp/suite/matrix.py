"""The run as Markdown: who does what with which call, what failed, what is not supported, and how it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from tests.sipp.suite.outcome import Result, Run, Status
from tests.sipp.suite.rows import BAD, Row, natural, sides
from tests.sipp.suite.visible import visible

_MARKUP: Final = re.compile(r"[\\`*|<>\[]|(?<!\w)_|_(?!\w)|&(?=[#\w]+;)")
_CELL: Final = {
    Status.PASSED: "passed",
    Status.FAILED: "**failed**",
    Status.NOT_SUPPORTED: "not supported",
    Status.ERROR: "**error**",
    None: "not run",
}
_LEGEND: Final = (
    "passed: everything looked at was as expected. **failed**: something was not (listed below). "
    "not supported: the system has no such function (reasons below), or no option for it. "
    "**error**: the suite could not place the call."
)


def text(run: Run) -> str:
    """The whole report. The same run gives the same text; the order does not depend on that of the results."""
    parts = [
        _counts(run),
        _LEGEND,
        *_summary(run),
        *_scenarios(run),
        *_clauses(run),
        *_bad(run),
        *_unsupported(run),
        *_origin(run),
    ]
    return "\n\n".join(["# SIPp suite", *parts]) + "\n"


def _counts(run: Run) -> str:
    counts = ", ".join(f"{run.count(status)} {status}" for status in Status)
    return f"{len(run.results)} results on {len(run.targets)} systems: {counts}."


def _scenarios(run: Run) -> Iterator[str]:
    for side, rows in sides(run).items():
        yield f"## {_plain(side)}"
        yield _table(
            ["Scenario", "What it shows", "Clauses", *_titles(run)],
            ([_code(r.first.name), r.first.title, ", ".join(r.first.clauses), *_cells(run, r)] for r in rows),
            raw=(0, *range(3, 3 + len(run.targets))),
        )


def _cells(run: Run, row: Row) -> list[str]:
    return [_CELL[row.status(target)] for target in run.targets]


def _summary(run: Run) -> Iterator[str]:
    yield "## Summary"
    yield _table(
        ["System", *Status, "results", "seconds"],
        (
            [run.titles.get(target, target), *(str(_count(mine, status)) for status in Status), str(len(mine)), _seconds(mine)]
            for target in run.targets
            for mine in [_of(run, target)]
        ),
    )


def _clauses(run: Run) -> Iterator[str]:
    names = sorted({clause for result in run.results for clause in result.clauses}, key=natural)
    if not names:
        return
    yield "## By clause"
    yield "Results that passed, of those that bear on the clause; what is not supported counts among the latter."
    yield _table(
        ["Clause", *_titles(run)],
        ([name, *(_share([r for r in _of(run, target) if name in r.clauses]) for target in run.targets)] for name in names),
        raw=range(1, 1 + len(run.targets)),
    )


def _share(results: list[Result]) -> str:
    if not results:
        return "not run"
    share = f"{_count(results, Status.PASSED)} of {len(results)}"
    return f"**{share}**" if any(result.status in BAD for result in results) else share


def _bad(run: Run) -> Iterator[str]:
    lines = [
        f"- {_plain(run.titles.get(target, target))}, {_code(result.name)}: {_plain(_why(result))}"
        for target in run.targets
        for rows in sides(run).values()
        for row in rows
        for result in row.results[target]
        if result.status in BAD
    ]
    if lines:
        yield "## What failed"
        yield "\n".join(lines)


def _why(result: Result) -> str:
    found = [f"{f.what}: expected {f.expected or 'nothing'}, got {f.got or 'nothing'}" for f in result.findings if not f.good]
    return "; ".join([*filter(None, [result.reason]), *found])


def _unsupported(run: Run) -> Iterator[str]:
    """By reason: one missing function is often behind many cases."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for target in run.targets:
        for row in (row for rows in sides(run).values() for row in rows):
            for result in row.results[target]:
                if result.status is Status.NOT_SUPPORTED:
                    reasons.setdefault((target, result.reason), []).append(_code(result.name))
    if reasons:
        yield "## What is not supported"
        yield "\n".join(
            f"- {_plain(run.titles.get(target, target))}: {_plain(reason or 'no reason given')} ({', '.join(names)})"
            for (target, reason), names in reasons.items()
        )


def _origin(run: Run) -> Iterator[str]:
    when = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(run.versions.items(), key=lambda item: item[0].lower())
    )
    yield "## How"
    yield "\n".join(
        [
            f"- {when}, {run.seconds:.0f} s",
            f"- {_plain(run.machine)}",
            f"- {_plain(versions)}",
            f"- {_code(run.command)}",
        ]
    )


def _titles(run: Run) -> list[str]:
    return [run.titles.get(target, target) for target in run.targets]


def _of(run: Run, target: str) -> list[Result]:
    return [result for result in run.results if result.target == target]


def _count(results: Iterable[Result], status: Status) -> int:
    return sum(result.status is status for result in results)


def _seconds(results: Iterable[Result]) -> str:
    return f"{sum(result.seconds for result in results):.1f}"


def _table(head: list[str], rows: Iterable[list[str]], raw: Iterable[int] = ()) -> str:
    """`raw`: columns that are Markdown already."""
    ready = frozenset(raw)
    lines = [[cell if at in ready else _plain(cell) for at, cell in enumerate(row)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([_plain(cell) for cell in head], ["---"] * len(head), *lines))


def _plain(words: str) -> str:
    """One line without any meaning in Markdown or HTML."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(visible(words).split()))


def _code(words: str) -> str:
    """A code span; its fence is longer than any run of backticks within."""
    line = " ".join(visible(words).split()).replace("|", r"\|")
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"
