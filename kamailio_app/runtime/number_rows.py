"""The rows of a number import, from CSV or from what a database answers, and what becomes of bad ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TextIO

from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.number_entries import Entries

CUSTOMER: Final = "customer"
NUMBER: Final = "number"
_SHOWN: Final = 10  # bad lines
_PROGRESS_EVERY: Final = 20_000  # rows
_IS_INVENTORY: Final = (
    "Is it the inventory? Then leave `--list` out. If they are never to call: leave the column out. "
    "The former list stays in use."
)
_IS_DO_NOT_ORIGINATE: Final = (
    "Are these numbers that never call? Then `--list do-not-originate`; else name the column. The former list stays in use."
)


class Row(NamedTuple):
    """`customer` is empty in a list that names none."""

    line: int
    customer: str
    number: str


class Columns(NamedTuple):
    """Where a row has its customer, None in a list that names none, and its number."""

    customer: int | None
    number: int

    def row(self, line: int, cells: Sequence[str]) -> Row:
        """What is not there is empty."""
        number = cells[self.number] if self.number < len(cells) else ""
        if self.customer is None:
            return Row(line, "", number)
        return Row(line, cells[self.customer].strip() if self.customer < len(cells) else "", number)


@dataclass(slots=True)
class BadRows:
    """How many there were, and what is wrong with the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def __call__(self, line: int, reason: ValueError) -> None:
        self.count += 1
        if self.count <= _SHOWN:
            self.first.append(f"line {line}: {reason}")


def columns(head: Sequence[str], named: bool) -> Columns | None:
    """The columns by their names; None if these are no names.

    Errors: `inventory_malformed` if one is missing, or shows that this is the other list.
    """
    names = [name.strip().lower() for name in head]
    if NUMBER not in names:
        return None
    if not named:
        if CUSTOMER in names:
            raise failure(
                "inventory_malformed", f"there is a column {CUSTOMER}, so these are customers' numbers", _IS_INVENTORY
            )
        return Columns(None, names.index(NUMBER))
    if CUSTOMER not in names:
        raise failure("inventory_malformed", f"there is a column {NUMBER}, and none is {CUSTOMER}", _IS_DO_NOT_ORIGINATE)
    return Columns(names.index(CUSTOMER), names.index(NUMBER))


def usual(named: bool) -> Columns:
    """The columns where nothing names them."""
    return Columns(0, 1) if named else Columns(None, 0)


def csv_rows(file: TextIO, source: str, *, named: bool, delimiter: str = ",") -> Iterator[Row]:
    """The rows of a CSV file, with a header line or without. Empty lines are none.

    Errors: `inventory_malformed` if it is no CSV: a quote that is never closed would swallow the rest of the file.
    """
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        head = next(reader, [])
        by_name = columns(head, named)
        where = by_name or usual(named)
        if head and by_name is None:
            yield where.row(reader.line_num, head)
        for cells in reader:
            if cells:
                yield where.row(reader.line_num, cells)
    except StirError as error:
        raise failure(error.token, f"{source}: line {reader.line_num}: {error.detail}", error.advice) from error
    except (csv.Error, ValueError) as error:
        raise failure("inventory_malformed", f"{source}: line {reader.line_num}: {error}") from error


def collect(rows: Iterable[Row], entries: Entries, progress: Callable[[int], object]) -> BadRows:
    """Put all rows into `entries`; `progress` is told how many there were, now and then. Errors: those of `rows`."""
    bad = BadRows()
    for count, (line, customer, number) in enumerate(rows, 1):
        try:
            entries.add(customer, number)
        except ValueError as reason:
            bad(line, reason)
        if not count % _PROGRESS_EVERY:
            progress(count)
    return bad
