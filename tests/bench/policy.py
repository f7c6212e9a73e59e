"""An edge of a wholesale carrier: a policy of 100 rules for 20 customers, 1 000 000 numbers, the call record on.

No two numbers are neighbours, so that each is a segment of its own in the inventory; and the calls that are measured come from
thousands of them, as a wholesale customer's do.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.numbers import INVENTORY

CUSTOMERS = 20
NUMBERS = 1_000_000
RULES = 5  # of each customer
FIRST, APART = 12_000_000_000, 7
BLOCK = 100  # numbers are given out in such
CALLERS = 5000


def write(directory: Path, source: str) -> dict[str, dict[str, Any]]:
    """Make policy and inventory in `directory`: the settings that name them. Calls come from address `source`."""
    (directory / "policy.toml").write_text(policy(source))
    entries = Entries()
    for number in range(NUMBERS):
        entries.add(_customer(number), str(FIRST + APART * number))
    about = number_file.write(directory / "numbers.mdb", entries, kind=INVENTORY, source="bench", now=time.time())
    if about.segments != NUMBERS:
        raise RuntimeError(f"{about.segments} segments: some numbers are neighbours")
    return {
        "signing": {"policy_file": "policy.toml", "inventory_file": "numbers.mdb"},
        "record": {"record_calls": True, "record_dir": "calls"},
    }


def policy(source: str) -> str:
    """The customer who calls is the last one, and the rule that fits one of his last."""
    parts = ['country = "us"\n']
    for number in range(CUSTOMERS):
        name = f"customer{number:02}"
        where = source if name == _calling() else f"198.51.100.{number}"
        parts.append(f'[customer.{name}]\n[trunk.{name}]\ncustomer = "{name}"\nsource = ["{where}"]\n')
    for number in range(CUSTOMERS):
        name = f"customer{number:02}"
        parts += [
            f'[[rule]]\nname = "{name}-premium"\ncustomer = "{name}"\ncalled = "1900*"\nreject = 603\n',
            f'[[rule]]\nname = "{name}-toll-free"\ncustomer = "{name}"\ncaller = ["1800*", "1888*"]\nattest = "B"\n',
            f'[[rule]]\nname = "{name}-anonymous"\ncustomer = "{name}"\ncaller = "anonymous"\nsign = false\n',
            f'[[rule]]\nname = "{name}-foreign"\ncustomer = "{name}"\ncaller_in = "other"\nattest = "C"\n',
            f'[[rule]]\nname = "{name}-own"\ncustomer = "{name}"\ncaller_in = "own"\nattest = "A"\norigid = "customer"\n',
        ]
    return "".join(parts)


def callers() -> list[str]:
    """Numbers of the customer who calls, from all of the inventory, in no order."""
    his = [number for number in range(NUMBERS) if _customer(number) == _calling()]
    return [f"+{FIRST + APART * number}" for number in random.Random(1).sample(his, min(CALLERS, len(his)))]


def _customer(number: int) -> str:
    return f"customer{number // BLOCK % CUSTOMERS:02}"


def _calling() -> str:
    return f"customer{CUSTOMERS - 1:02}"
