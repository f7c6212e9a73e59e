"""What SIPp writes: the statistics file of -trace_stat and the log of our caller scenario."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """The last row of a statistics file: everything since SIPp's start."""

    created: int
    succeeded: int
    failed: int
    retransmissions: int
    failures: dict[str, int]  # by SIPp's name for the cause


def statistics(path: Path) -> Counts:
    """Errors: ValueError if the file has no row."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row.get("FailedCall(C)")]
    if not rows:
        raise ValueError(f"{path}: no statistics")
    last = rows[-1]
    causes = {
        name.removeprefix("Failed").removesuffix("(C)"): int(value)
        for name, value in last.items()
        if name and name.startswith("Failed") and name.endswith("(C)") and name != "FailedCall(C)" and value != "0"
    }
    return Counts(
        int(last["TotalCallCreated"]),
        int(last["SuccessfulCall(C)"]),
        int(last["FailedCall(C)"]),
        int(last["Retransmissions(C)"]),
        causes,
    )


@dataclass(frozen=True)
class Answered:
    """One answered call: seconds since 1970 of its INVITE and of its 200."""

    invited: float
    answered: float

    @property
    def milliseconds(self) -> float:
        return (self.answered - self.invited) * 1000


def answered(path: Path) -> Iterator[Answered]:
    """Every answered call of the caller's log; a line that SIPp did not finish is left out."""
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            words = line.split()
            if len(words) == 4 and line.endswith("\n"):
                start, start_us, end, end_us = map(float, words)
                yield Answered(start + start_us / 1e6, end + end_us / 1e6)
