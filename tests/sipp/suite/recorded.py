"""The record of calls that a system keeps, as lines of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from typing import Any, Final

_SECONDS: Final = 3.0

Lines = dict[str, list[dict[str, Any]]]


def await_calls(record: Callable[[], str], call_ids: Collection[str]) -> Lines:
    """The record's lines of these calls, once each has one, or what there is of them when the time is over."""
    deadline = time.monotonic() + _SECONDS
    while True:
        found = lines(record())
        if all(call_id in found for call_id in call_ids) or time.monotonic() > deadline:
            return {call_id: found[call_id] for call_id in call_ids if call_id in found}
        time.sleep(0.02)


def lines(text: str) -> Lines:
    """By Call-ID. A line that is still being written is left out."""
    found: Lines = {}
    for line in text.split("\n")[:-1]:
        call = json.loads(line)
        found.setdefault(call["call_id"], []).append(call)
    return found
