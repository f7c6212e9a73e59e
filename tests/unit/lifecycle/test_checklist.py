"""Where the operator stands: states, what blocks, what is overdue, what is next."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kamailio_app.lifecycle.checklist import (
    Field,
    Note,
    Seen,
    Standing,
    State,
    Step,
    Verdict,
    checked_value,
    following,
    next_due,
    stand,
)

from ..builders import refused

TODAY = date(2026, 11, 29)
NUMBER = Field("number", "a number", "[0-9]{3}", "3 digits", "the office")
FIRST = Step("first", "First", "what for", "the office", "a paper", fields=(NUMBER,))
SECOND = Step("second", "Second", "what for", "the office", "a stamp", needs=("first",))
THIRD = Step("third", "Third", "what for", "here", "calls", needs=("first", "second"))
STEPS = (FIRST, SECOND, THIRD)


def standing(notes: dict[str, Note] | None = None, seen: dict[str, list[Seen]] | None = None) -> dict[str, Standing]:
    return {each.step.id: each for each in stand(STEPS, notes or {}, seen or {}, TODAY)}


def states(notes: dict[str, Note] | None = None, seen: dict[str, list[Seen]] | None = None) -> list[State]:
    return [each.state for each in standing(notes, seen).values()]


def after(notes: dict[str, Note] | None = None, seen: dict[str, list[Seen]] | None = None) -> str:
    found = following(standing(notes, seen).values())
    return found.step.id if found else ""


def looks(verdict: Verdict, words: str = "so it is") -> list[Seen]:
    return [Seen(verdict, words)]


def test_nothing_done_leaves_the_first_step_open_and_blocks_the_others() -> None:
    assert states() == [State.OPEN, State.BLOCKED, State.BLOCKED]
    assert standing()["third"].blocked_by == ("first", "second")
    assert after() == "first"


@pytest.mark.parametrize(
    "note", [Note(done="2026-11-01"), Note(not_needed="somebody else does it"), Note(done="2026-11-01", until="2026-11-28")]
)
def test_what_is_behind_lets_the_next_one_begin(note: Note) -> None:
    assert states({"first": note})[1:] == [State.OPEN, State.BLOCKED]


def test_what_is_seen_here_is_verified_though_nobody_noted_it() -> None:
    seen = {"second": looks(Verdict.VERIFIED, "a stamp is there")}
    assert states(seen=seen) == [State.OPEN, State.VERIFIED, State.BLOCKED]
    assert standing(seen=seen)["second"].why == ("a stamp is there",)
    assert standing(seen=seen)["third"].blocked_by == ("first",)


@pytest.mark.parametrize("verdict", [Verdict.FITS, Verdict.UNKNOWN])
def test_what_only_fits_or_is_not_known_yet_does_no_step(verdict: Verdict) -> None:
    assert states(seen={"first": looks(verdict)})[0] is State.OPEN


def test_contradiction_outweighs_what_the_operator_says_and_what_is_seen() -> None:
    seen = {"first": [*looks(Verdict.VERIFIED), *looks(Verdict.CONTRADICTED, "it is another's")]}
    found = standing({"first": Note(done="2026-11-01")}, seen)
    assert (found["first"].state, found["first"].why, found["first"].wrong) == (
        State.CONTRADICTED,
        ("it is another's",),
        True,
    )
    assert found["second"].state is State.BLOCKED


def test_what_is_not_needed_is_not_contradicted() -> None:
    found = standing({"first": Note(not_needed="ours is another case")}, {"first": looks(Verdict.CONTRADICTED)})["first"]
    assert (found.state, found.why, found.wrong) == (State.NOT_NEEDED, ("ours is another case",), False)


@pytest.mark.parametrize(
    ("until", "state", "why", "due_in"),
    [
        ("2026-11-28", State.OVERDUE, ("was due on 2026-11-28",), -1),
        ("2026-11-29", State.DONE, ("due on 2026-11-29, in 0 days",), 0),
        ("2026-11-30", State.DONE, ("due on 2026-11-30, in 1 day",), 1),
        ("2026-12-29", State.DONE, ("due on 2026-12-29, in 30 days",), 30),
        ("2026-12-30", State.DONE, (), 31),
    ],
)
def test_date_is_watched(until: str, state: State, why: tuple[str, ...], due_in: int) -> None:
    found = standing({"first": Note(done="2026-01-01", until=until)})["first"]
    assert (found.state, found.why, found.due_in) == (state, why, due_in)


def test_what_is_verified_is_overdue_all_the_same() -> None:
    found = standing({"first": Note(until="2026-11-01")}, {"first": looks(Verdict.VERIFIED)})["first"]
    assert found.state is State.OVERDUE


def test_what_is_wrong_comes_before_what_is_open() -> None:
    notes = {"second": Note(done="2026-11-01", until="2026-11-02")}
    assert after(notes) == "second"
    assert after({**notes, "second": Note(done="2026-11-01")}) == "first"


def test_nothing_is_next_when_all_is_behind() -> None:
    notes = {step.id: Note(done="2026-11-01") for step in STEPS}
    assert after(notes) == ""


def test_value_that_was_written_by_hand_is_checked_too() -> None:
    found = standing({"first": Note(values={"number": "12\x1b[2J", "other": "kept"})})["first"]
    assert (found.state, found.why) == (State.CONTRADICTED, (r"number '12\x1b[2J' is not 3 digits",))


def test_value_of_the_right_form_is_taken() -> None:
    assert checked_value(FIRST, "number", "123") == "123"


@pytest.mark.parametrize("value", ["", "12", "1234", "12a", "١٢٣", "123\n", "1" * 1000])
def test_value_of_another_form_is_refused(value: str) -> None:
    with refused("checklist_value_invalid"):
        checked_value(FIRST, "number", value)


def test_value_that_a_step_does_not_take_is_refused() -> None:
    with refused("checklist_value_invalid"):
        checked_value(SECOND, "number", "123")


@pytest.mark.parametrize(
    ("yearly", "day", "due"),
    [
        (None, date(2026, 11, 29), None),
        ((4, 1), date(2026, 11, 29), date(2027, 4, 1)),
        ((4, 1), date(2027, 3, 31), date(2027, 4, 1)),
        ((4, 1), date(2027, 4, 1), date(2028, 4, 1)),
    ],
)
def test_yearly_duty_comes_again(yearly: Any, day: date, due: date | None) -> None:
    step = Step("tax", "Tax", "what for", "the office", "a receipt", yearly=yearly)
    assert next_due(step, day) == due
