"""What became of a check: passed, failed, not reached, not looked at; and a walk through a table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line

_LONGEST: Final = 400  # characters of what was observed

T = TypeVar("T")


class State(StrEnum):
    """`NOT_REACHED`: what it needs was not learnt, because of what failed before."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    NOT_LOOKED_AT = "not looked at"


class Seen(NamedTuple):
    """What one check found. `words` are what it saw; `error` is why the call's header fails here."""

    state: State
    words: str
    error: StirError | None = None


def passed(words: str) -> Seen:
    return Seen(State.PASSED, words)


def failed(error: StirError, words: str = "") -> Seen:
    return Seen(State.FAILED, words or error.detail, error)


def unreached(words: str = "") -> Seen:
    return Seen(State.NOT_REACHED, words)


def skipped(words: str, error: StirError | None = None) -> Seen:
    return Seen(State.NOT_LOOKED_AT, words, error)


class Check(NamedTuple, Generic[T]):
    """One row of a table. `probe` gives None where the check is not made at all."""

    name: str
    clause: str
    probe: Callable[[T], Seen | None]


class Step(NamedTuple):
    """One check made. `further`: an edge would not have come so far, for something failed before."""

    check: str
    clause: str
    state: State
    words: str
    token: str = ""
    further: bool = False


def walk(checks: Iterable[Check[T]], evidence: T, error: StirError | None) -> tuple[Step, ...]:
    """Every check in order. `error` is the verdict of `sti_vs`, which decides: the first step with a token has that token."""
    steps: list[Step] = []
    ended = False
    for check in checks:
        seen = check.probe(evidence)
        if seen is None:
            continue
        token = seen.error.token if seen.error else ""
        clause = FAILURES[token].clause if token else check.clause
        steps.append(Step(check.name, clause, seen.state, one_line(seen.words, _LONGEST), token, ended))
        ended = ended or bool(token)
    return _agreeing(steps, error)


def _agreeing(steps: list[Step], error: StirError | None) -> tuple[Step, ...]:
    """The verdict goes before what was found here, should they ever differ."""
    place = next((number for number, step in enumerate(steps) if step.token), len(steps))
    found = steps[place].token if place < len(steps) else ""
    if found == (error.token if error else ""):
        return tuple(steps)
    rest = [step._replace(further=True) for step in steps[place:]]
    if error is None:
        return (*steps[:place], *rest)
    verdict = Step("verification", FAILURES[error.token].clause, State.FAILED, one_line(error.detail), error.token)
    return (*steps[:place], verdict, *rest)
