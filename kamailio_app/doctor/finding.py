"""What the doctor says: a state in a word, what was seen, what to do about it; and the check that says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from kamailio_app.errors import FAILURES, StirError

if TYPE_CHECKING:
    from kamailio_app.doctor.site import Site


class State(StrEnum):
    """In the order of their weight. `UNSEEN` says nothing of the edge: what it takes to look was not at hand."""

    GOOD = "good"
    UNSEEN = "not looked at"
    WARNING = "warning"
    BAD = "bad"


class Seen(NamedTuple):
    """One thing that a check saw. Empty `fix` and `clause`: the check's own."""

    state: State
    words: str
    fix: str = ""
    clause: str = ""


class NotLookedAt(Exception):
    """What a check needs is not at hand."""

    def __init__(self, words: str, fix: str = "") -> None:
        super().__init__(words)
        self.words, self.fix = words, fix


class Check(NamedTuple):
    """One row of the table of checks. `about`: what it looks at; `fix`: what to do, unless what was seen says it better;
    `clause`: where it comes from. What it `asks`, other programs of this
    host or the network, may keep it waiting, at most `seconds` for the whole of it.
    """

    area: str
    name: str
    about: str
    fix: str
    clause: str
    look: Callable[[Site], Iterable[Seen]]
    asks: Literal["", "host", "network"] = ""
    seconds: float = 5.0


class Finding(NamedTuple):
    """What a check saw, with its name. `fix` is empty where nothing is to be done."""

    area: str
    check: str
    state: State
    seen: str
    fix: str
    clause: str


def good(words: str) -> Seen:
    return Seen(State.GOOD, words)


def warning(words: str, fix: str = "", clause: str = "") -> Seen:
    return Seen(State.WARNING, words, fix, clause)


def bad(words: str, fix: str = "", clause: str = "") -> Seen:
    return Seen(State.BAD, words, fix, clause)


def unseen(words: str, fix: str = "") -> Seen:
    return Seen(State.UNSEEN, words, fix)


def count(number: int, of: str) -> str:
    """1 root, 2 roots."""
    return f"{number} {of}{'' if number == 1 else 's'}"


def failed(error: StirError, of: str = "", state: State = State.BAD) -> Seen:
    """One of our failures: its token, its detail and its advice. `of`: the thing that has it."""
    row = FAILURES[error.token]
    return Seen(state, f"{of}: {error}" if of else str(error), row.advice, row.clause)
