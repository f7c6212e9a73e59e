"""The way to a certificate as a checklist: its steps, what the operator noted of each, what is seen here, and where he stands.

What can be seen here is `checklist_sight`'s and `checklist_checks`' business, the steps of each country `checklist_steps`'.
Nothing here reads a file or the clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, NamedTuple

from kamailio_app.errors import failure

DUE_SOON: Final = 30  # days
_LONGEST: Final = 200  # characters of a value


class State(StrEnum):
    """Where a step stands. `VERIFIED`: seen here; `DONE`: the operator says so."""

    OPEN = "open"
    BLOCKED = "blocked"
    DONE = "done"
    VERIFIED = "verified"
    NOT_NEEDED = "not needed"
    OVERDUE = "overdue"
    CONTRADICTED = "contradicted"


# What later steps may build upon. What has become overdue was done once, and what came after it is there
_BEHIND: Final = (State.DONE, State.VERIFIED, State.NOT_NEEDED, State.OVERDUE)
_WRONG: Final = (State.CONTRADICTED, State.OVERDUE)


class Fact(NamedTuple):
    """What is known of a step. `as_of`: the date of the source, as far as it has one. Not `confirmed`: who has the authority
    to say so was not read saying it.
    """

    text: str
    source: str
    as_of: str = ""
    confirmed: bool = True


class Field(NamedTuple):
    """A value to note. `pattern`: a regular expression that all of it matches; `form`: the same in words."""

    name: str
    what: str
    pattern: str
    form: str
    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """`needs`: the steps before it; `where`: whose office or page; `gives`: what one has afterwards; `commands`: what of it
    shakenctl does; `check`: which of `checklist_checks` looks at it, and `checked` in words; `yearly`: month and day when it
    is due again.
    """

    id: str
    title: str
    purpose: str
    where: str
    gives: str
    needs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    facts: tuple[Fact, ...] = ()
    check: str = ""
    checked: str = ""
    takes: str = ""
    yearly: tuple[int, int] | None = None


class Proof(NamedTuple):
    """A file as it was when it was noted: a receipt, a letter, an SPC token. `noted` is a date."""

    file: str
    sha256: str
    noted: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the operator says of a step. `done` and `until` are dates, empty if there are none; `not_needed`: why."""

    done: str = ""
    not_needed: str = ""
    until: str = ""
    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()


NOTHING: Final = Note()


class Verdict(StrEnum):
    """What a look says of its step: it is done; what is noted agrees; what is noted is wrong; nothing yet."""

    VERIFIED = "verified"
    FITS = "fits"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


class Seen(NamedTuple):
    """One look. The words may be anybody's: whoever shows them escapes them. `mend`: what ends a contradiction."""

    verdict: Verdict
    words: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A step and where it stands; `why`: what is wrong, what was seen, what ends soon. `due_in`: days, None without a date."""

    step: Step
    state: State
    note: Note = NOTHING
    seen: tuple[Seen, ...] = ()
    why: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    due_in: int | None = None

    @property
    def wrong(self) -> bool:
        return self.state in _WRONG

    @property
    def mends(self) -> tuple[str, ...]:
        """What ends its contradictions."""
        if self.state is not State.CONTRADICTED:
            return ()
        return tuple(dict.fromkeys([look.mend for look in self.seen if look.mend and look.verdict is Verdict.CONTRADICTED]))

    @property
    def behind(self) -> bool:
        return self.state in _BEHIND


def stand(
    steps: Sequence[Step], notes: Mapping[str, Note], seen: Mapping[str, Sequence[Seen]], today: date
) -> tuple[Standing, ...]:
    """Each step, in order. `seen`: the looks by step."""
    standings: list[Standing] = []
    behind: set[str] = set()
    for step in steps:
        standing = _standing(step, notes.get(step.id, NOTHING), tuple(seen.get(step.id, ())), behind, today)
        standings.append(standing)
        if standing.behind:
            behind.add(step.id)
    return tuple(standings)


def following(standings: Iterable[Standing]) -> Standing | None:
    """What to do next: mend the first step that is wrong, or do the first that is open; None if there is none."""
    held = tuple(standings)
    wrong = (each for each in held if each.wrong)
    return next(wrong, None) or next((each for each in held if each.state is State.OPEN), None)


def _standing(step: Step, note: Note, seen: tuple[Seen, ...], behind: set[str], today: date) -> Standing:
    looks = (*_values_seen(step, note), *seen)
    due_in = (date.fromisoformat(note.until) - today).days if note.until else None
    against = tuple(look.words for look in looks if look.verdict is Verdict.CONTRADICTED)
    missing = tuple(need for need in step.needs if need not in behind)
    why: tuple[str, ...] = ()
    if note.not_needed:
        state, why = State.NOT_NEEDED, (note.not_needed,)
    elif against:
        state, why = State.CONTRADICTED, against
    elif due_in is not None and due_in < 0:
        state, why = State.OVERDUE, (f"was due on {note.until}",)
    elif any(look.verdict is Verdict.VERIFIED for look in looks):
        state = State.VERIFIED
        why = tuple(look.words for look in looks if look.verdict is Verdict.VERIFIED)
    elif note.done:
        state = State.DONE
    else:
        state = State.BLOCKED if missing else State.OPEN
    if due_in is not None and 0 <= due_in <= DUE_SOON and state is not State.NOT_NEEDED:
        why = (*why, f"due on {note.until}, in {due_in} day{'' if due_in == 1 else 's'}")
    return Standing(step, state, note, looks, why, missing if state is State.BLOCKED else (), due_in)


def _values_seen(step: Step, note: Note) -> Iterator[Seen]:
    """Somebody may have written to the file by hand."""
    known = {each.name: each for each in step.fields}
    for name, value in note.values.items():
        if name in known and (reason := refusal(known[name], value)):
            yield Seen(Verdict.CONTRADICTED, reason, f"shakenctl onboard note {step.id} {name}=...")


def refusal(known: Field, value: str) -> str:
    """Why the field does not take this value; empty if it does."""
    if len(value) <= _LONGEST and value.isprintable() and re.fullmatch(known.pattern, value, re.ASCII):
        return ""
    return f"{known.name} {value[:80]!a} is not {known.form}"


def checked_value(step: Step, name: str, value: str) -> str:
    """The value, as it is noted. Errors: `checklist_value_invalid`."""
    known = {each.name: each for each in step.fields}
    if name not in known:
        takes = ", ".join(known) or "no values; --text takes words"
        raise failure("checklist_value_invalid", f"{step.id} has no {name[:40]!a}; it takes {takes}")
    if reason := refusal(known[name], value):
        raise failure("checklist_value_invalid", f"{reason} ({known[name].source})")
    return value


def next_due(step: Step, after: date) -> date | None:
    """When a step that is due each year is due for the first time after this day."""
    if step.yearly is None:
        return None
    this = date(after.year, *step.yearly)
    return this if this > after else date(after.year + 1, *step.yearly)
