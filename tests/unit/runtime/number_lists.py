"""Lists of numbers for tests: written as an import writes them."""

from __future__ import annotations

from pathlib import Path

from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, About

MADE = 1_795_000_000.0


def inventory(path: Path, *entries: tuple[str, str]) -> About:
    """A list of (customer, number)."""
    made = Entries()
    for customer, number in entries:
        made.add(customer, number)
    return number_file.write(path, made, kind=INVENTORY, source="test", now=MADE)


def do_not_originate(path: Path, *numbers: str) -> About:
    made = Entries(named=False)
    for number in numbers:
        made.add("", number)
    return number_file.write(path, made, kind=DO_NOT_ORIGINATE, source="test", now=MADE)
