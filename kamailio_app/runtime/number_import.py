"""An import of numbers from the first row to the file in its place: everything, or nothing and the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.number_rows import BadRows, Row, collect
from kamailio_app.runtime.numbers import INVENTORY, About
from kamailio_app.tn import AS_WRITTEN, NumberPlan

_EMPTY: Final = "Is it to be empty? Then `--allow-empty`. The former list stays in use."
# Where not one line is good, it is not the lines
_NO_LINE: Final = {
    True: "No line is customer,number. Is there another `--delimiter`, or is it a `--list do-not-originate`?",
    False: "No line begins with a number. Is there another `--delimiter`, or is it an inventory, without `--list`?",
}


@dataclass(frozen=True, slots=True)
class Import:
    """What is imported where. `source` is what to call the origin of the rows; `plan` makes their numbers canonical."""

    kind: str
    source: str
    place: Path
    plan: NumberPlan = AS_WRITTEN
    skip_bad: bool = False
    allow_empty: bool = False

    @property
    def named(self) -> bool:
        """Do its rows name customers?"""
        return self.kind == INVENTORY

    def run(self, rows: Iterable[Row], *, now: float, progress: Callable[[int], object] = lambda _rows: None) -> Imported:
        """Errors, and then the former list stays: `inventory_malformed` (bad rows, no rows, too many customers of a number),
        `inventory_unreadable` (it cannot be written), those of the rows.
        """
        entries = Entries(self.plan, named=self.named)
        bad = collect(rows, entries, progress)
        if bad.count and not self.skip_bad:
            shown = "\n  ".join(bad.first)
            advice = _NO_LINE[self.named] if not entries else ""
            words = f"{self.source}: {bad.count} bad lines, so nothing is imported:\n  {shown}"
            raise failure("inventory_malformed", words, advice)
        if not entries and not self.allow_empty:
            raise failure("inventory_malformed", f"{self.source}: there is no number in it, so nothing is imported", _EMPTY)
        about = number_file.write(self.place, entries, kind=self.kind, source=self.source, now=now)
        return Imported(about, entries.doubled, bad)


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. `doubled`: entries that give a customer numbers that he has by another entry; `bad`: left out."""

    about: About
    doubled: int
    bad: BadRows
