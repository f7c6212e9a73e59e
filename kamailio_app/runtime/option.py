"""One option of a settings file: what it means, where its default comes from, which values it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple


class Items(NamedTuple):
    """What a list may hold: in words, and as a check of one of them."""

    words: str
    fits: Callable[[Any], bool]
    may_be_empty: bool = True


@dataclass(frozen=True, slots=True)
class Option:
    """`bounds` are inclusive. A `relax_` option is an unsafe choice and is said loudly at every start."""

    name: str
    default: Any
    meaning: str
    source: str
    example: str
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    items: Items | None = None
    pattern: str = ""

    def refusal(self, value: Any) -> str:
        """Why the option does not take this value; empty if it does."""
        wanted: Any = type(self.default)
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            return f"takes {_TYPES[wanted]}, not {_shown(value)}"
        if wanted is str and not value.isprintable():
            return "takes no control characters"
        if self.choices and value not in self.choices:
            return f"is one of {_listed(self.choices)}, not {value!r}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"is made of {self.pattern}, not {_shown(value)}"
        if self.bounds and not self.bounds[0] <= value <= self.bounds[1]:
            return f"lies between {self.bounds[0]:.9g} and {self.bounds[1]:.9g}, not {_shown(value)}"
        if self.items and not ((value or self.items.may_be_empty) and all(self.items.fits(item) for item in value)):
            return f"takes a list of {self.items.words}"
        return ""


def _listed(choices: tuple[str, ...]) -> str:
    return ", ".join(choice or '""' for choice in choices)


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, default=str)[:80]
    except (ValueError, RecursionError):  # a number of 5000 digits
        return "that"


_TYPES: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
