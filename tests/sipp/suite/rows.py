"""The results of a run as the rows of a table: one per case, in the same order in every run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.sipp.suite.outcome import Result, Run, Status

BAD: Final = (Status.FAILED, Status.ERROR)
_WORST_FIRST: Final = (Status.FAILED, Status.ERROR, Status.PASSED, Status.NOT_SUPPORTED)
_SIDES: Final = {"sign": "Signing", "verify": "Verifying"}


@dataclass(frozen=True)
class Row:
    """One case. `results` by target; more than one where a target was asked more than once, none where it was not."""

    first: Result
    results: dict[str, tuple[Result, ...]]

    def status(self, target: str) -> Status | None:
        """The worst of the target's results; None: not run."""
        found = {result.status for result in self.results.get(target, ())}
        return next((status for status in _WORST_FIRST if status in found), None)

    @property
    def bad(self) -> bool:
        return any(result.status in BAD for results in self.results.values() for result in results)


def sides(run: Run) -> dict[str, list[Row]]:
    """The rows of each side by its title: signing, verifying, what else there is."""
    found = sorted({result.side for result in run.results}, key=lambda side: (side not in _SIDES, side))
    return {_SIDES.get(side, side): _rows(run.targets, [r for r in run.results if r.side == side]) for side in found}


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """To sort by: "RFC 8224 6.2" before "RFC 8224 12.1"."""
    return tuple((not digits, int(digits or 0), word) for digits, word in re.findall(r"([0-9]{1,9})|([^0-9]+|[0-9])", text))


def _rows(targets: Iterable[str], results: list[Result]) -> list[Row]:
    cases: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(results, key=lambda result: (natural(result.scenario), natural(result.case))):
        cases.setdefault((result.scenario, result.case), []).append(result)
    return [_row(targets, case) for case in cases.values()]


def _row(targets: Iterable[str], case: list[Result]) -> Row:
    by_target = {target: tuple(result for result in case if result.target == target) for target in targets}
    return Row(next((results[0] for results in by_target.values() if results), case[0]), by_target)
