"""What a run of the suite found: plain values, written as JSON, read by the reports.

A result is one case of one scenario against one target. A finding is one thing that was looked at: what was expected,
what was got; a result without a failed finding passed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")


class Status(StrEnum):
    """`ERROR`: the suite itself could not do it (a system that does not start, a SIPp that hangs)."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SUPPORTED = "not supported"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `good` says whether `got` is what was expected."""

    what: str
    expected: str
    got: str
    good: bool


@dataclass(frozen=True)
class Step:
    """One SIP message on the wire as an end saw it. `sender` and `receiver` are "caller", "system" or "callee"."""

    time: float  # seconds since the case began
    sender: str
    receiver: str
    start_line: str
    text: str


@dataclass(frozen=True)
class Result:
    """One case against one target. `reason`: why not supported, or what went wrong in the suite."""

    target: str
    scenario: str
    case: str
    title: str
    about: str
    clauses: tuple[str, ...]
    side: str  # "sign" or "verify": which service of the system is asked
    status: Status
    seconds: float = 0.0
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()
    log: tuple[str, ...] = ()  # lines of the system about this call

    @property
    def name(self) -> str:
        """`scenario` if it has one case, else `scenario[case]`."""
        return f"{self.scenario}[{self.case}]" if self.case else self.scenario


@dataclass(frozen=True)
class Run:
    """A run of the suite. `started` in seconds since 1970; `targets` in the order of the command line."""

    started: float
    seconds: float
    command: str
    machine: str
    versions: dict[str, str]
    targets: tuple[str, ...]
    titles: dict[str, str]  # target -> what a person calls it
    results: tuple[Result, ...] = field(default=())

    def count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results)

    @property
    def good(self) -> bool:
        """Nothing failed; what a target does not support is no failure."""
        return not self.count(Status.FAILED) and not self.count(Status.ERROR)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Run:
        members: dict[str, Any] = json.loads(path.read_text())
        members["results"] = tuple(_result(result) for result in members["results"])
        members["targets"] = tuple(members["targets"])
        return cls(**members)


def _result(members: dict[str, Any]) -> Result:
    return Result(
        **{
            **members,
            "status": Status(members["status"]),
            "clauses": tuple(members["clauses"]),
            "log": tuple(members["log"]),
            "findings": _all(Finding, members["findings"]),
            "steps": _all(Step, members["steps"]),
        }
    )


def _all(kind: type[_T], rows: Iterable[dict[str, Any]]) -> tuple[_T, ...]:
    return tuple(kind(**row) for row in rows)
