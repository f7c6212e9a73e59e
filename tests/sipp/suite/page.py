"""The run as one HTML file that needs nothing else: the matrix, and behind each cell the findings, the ladder, the log.

Everything shown may be an attacker's text: Jinja2 escapes all of it, and the page allows no script but its own.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from re import sub
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tests.sipp.suite import clause, message
from tests.sipp.suite.outcome import Result, Run, Status
from tests.sipp.suite.rows import BAD, Row, sides
from tests.sipp.suite.visible import visible

_HERE: Final = Path(__file__).parent
_ENVIRONMENT: Final = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    loader=FileSystemLoader([_HERE, _HERE.parents[1]]),
)
_ENVIRONMENT.filters["identity"] = id
_MARKS: Final = {Status.PASSED: "✓", Status.FAILED: "✗", Status.NOT_SUPPORTED: "\u2013", Status.ERROR: "!"}
_CLASSES: Final = {Status.PASSED: "good", Status.FAILED: "bad", Status.NOT_SUPPORTED: "none", Status.ERROR: "warn"}


@dataclass(frozen=True)
class Tally:
    """How many of which status; `title` says of what."""

    title: str
    counts: Counter[Status]

    @property
    def total(self) -> int:
        return self.counts.total()


def write(run: Run, path: Path) -> None:
    """Write the page."""
    good = run.good and run.count(Status.PASSED) > 0
    script = (_HERE / "page.js").read_text("utf-8")
    page = _ENVIRONMENT.get_template("page.html.j2").render(
        run=run,
        verdict=_verdict(run),
        good=good,
        when=datetime.fromtimestamp(run.started, UTC),
        total=Tally("all", Counter(result.status for result in run.results)),
        tallies=[
            Tally(_title(run, target), Counter(r.status for r in run.results if r.target == target)) for target in run.targets
        ],
        titles={target: _title(run, target) for target in run.targets},
        sides=sides(run),
        anchors=_anchors(run),
        search=_search,
        statuses=list(Status),
        marks=_MARKS,
        classes=_CLASSES,
        bad=BAD,
        pieces=clause.pieces,
        read=message.read,
        brief=_brief,
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        icon=_icon(good),
    )
    path.write_text(page, "utf-8")


def _title(run: Run, target: str) -> str:
    return run.titles.get(target, target)


def _verdict(run: Run) -> str:
    """One sentence. A run in which nothing passed is no success, even if nothing failed."""
    failed, errors, passed = run.count(Status.FAILED), run.count(Status.ERROR), run.count(Status.PASSED)
    if failed:
        return f"{failed} of {len(run.results)} failed" + (f", {errors} could not be run" if errors else "")
    if errors:
        return f"{errors} of {len(run.results)} could not be run"
    if not passed:
        return "Nothing passed" if run.results else "Nothing was run"
    others = run.count(Status.NOT_SUPPORTED)
    return f"All {passed} passed" + (f", {others} not supported" if others else "")


def _anchors(run: Run) -> dict[int, str]:
    """A name in the page for each result, by identity: the same in every run of the same cases, for links in reports."""
    taken: Counter[str] = Counter()
    anchors = {}
    for result in run.results:
        name = sub(r"[^A-Za-z0-9_]+", "-", f"{result.target}-{result.side}-{result.name}").strip("-")
        taken[name] += 1
        anchors[id(result)] = name if taken[name] == 1 else f"{name}--{taken[name]}"
    return anchors


def _search(run: Run, row: Row) -> str:
    """What the filter's words are looked for in."""
    results = [result for found in row.results.values() for result in found]
    words = [row.first.name, row.first.title, row.first.about, row.first.side, *row.first.clauses]
    words += [f"{result.status} {result.reason}" for result in results]
    words += [_title(run, result.target) for result in results if result.status in BAD]
    return " ".join(words).lower()


def _brief(result: Result) -> str:
    """What a closed result says of itself."""
    bad = [finding for finding in result.findings if not finding.good]
    if result.reason or not bad:
        return result.reason
    more = f" (and {len(bad) - 1} more)" if bad[1:] else ""
    return f"{bad[0].what}: expected {bad[0].expected}, got {bad[0].got}{more}"


def _icon(good: bool) -> str:
    colour, mark = ("#1a7f4b", "M8 17l6 6 11-13") if good else ("#c62f3b", "M9 9l14 14M23 9L9 23")
    return "data:image/svg+xml," + quote(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="{colour}"/>'
        f'<path d="{mark}" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
