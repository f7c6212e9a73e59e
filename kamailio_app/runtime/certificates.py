"""Certificates that sign and whose time is nearly over: said at 30, 7 and 1 days, and when it is over.

Of a life shorter than 90 days it is the last third that is its end: most certificates are made for 7 days.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from kamailio_app.runtime.choice import Choices, moment, provider
from kamailio_app.sti_as import Signer

DAY: Final = 86400
MARKS: Final = (30, 7, 1)
_OF_LIFE: Final = 3


class Ending(NamedTuple):
    """`days`: the mark that the certificate has reached, 0 if its time is over; `left`: days, exactly.

    `follows`: the pair that signs its provider's calls from then on; empty if none does.
    """

    name: str
    whose: str
    fingerprint: str
    not_after: int
    days: int
    left: float
    follows: str

    def __str__(self) -> str:
        when = f"ends in {days_in_words(self.left)}" if self.days else "has ended"
        after = f"{self.follows} follows" if self.follows else "nothing follows"
        return f"certificate {self.name} of {self.whose} {when}, {moment(self.not_after)}; {after}"


def ends_soon(signer: Signer, now: float, days: int = MARKS[0]) -> bool:
    """It ends within `days`, and is in the last third of its life."""
    return signer.not_after - now <= min(days * DAY, (signer.not_after - signer.not_before) / _OF_LIFE)


def ending(
    choices: Choices, now: float, days: Iterable[int] = MARKS, named: Collection[str] = (), *, exactly: bool = False
) -> list[Ending]:
    """The certificates that have reached one of these marks, each with the tightest; the first to end comes first.

    `named`: those that the signing policy names. Nothing follows these: a call that names one is signed by it or by none.
    `exactly`: the marks count before the last third of a life, too.
    """
    marks = sorted({0, *days})
    found = []
    for signer in choices.signers.values():
        left = signer.not_after - now
        mark = next((day for day in marks if (left <= day * DAY if exactly else ends_soon(signer, now, day))), None)
        if mark is not None:
            follows = "" if signer.name in named else follower(choices, signer)
            found.append(Ending(signer.name, provider(signer), signer.fingerprint, signer.not_after, mark, left / DAY, follows))
    return sorted(found, key=lambda each: (each.not_after, each.name))


def follower(choices: Choices, signer: Signer) -> str:
    """The pair that signs this one's provider's calls when its time is over; empty if none does."""
    after = choices.look(signer.not_after, spc=signer.spcs[0] if signer.spcs else "")
    return after.name if isinstance(after, Signer) else ""


def days_in_words(days: float) -> str:
    """7 days, 1 day, 5 hours."""
    number, unit = (round(days), "day") if days >= 1 else (round(days * 24), "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"


class EndWatch:
    """Says each mark once for each certificate; of several that lie behind it at the beginning, the tightest alone."""

    def __init__(self, days: Iterable[int] = MARKS) -> None:
        self._days = tuple(days)
        self._said: dict[str, int] = {}

    def due(self, choices: Choices, now: float, named: Collection[str] = ()) -> list[Ending]:
        """What is to be said now."""
        found = ending(choices, now, self._days, named)
        news = [each for each in found if each.days < self._said.get(each.fingerprint, each.days + 1)]
        # What is not here any more is forgotten: should it come back, it is news
        here = {signer.fingerprint for signer in choices.signers.values()}
        self._said = {fingerprint: days for fingerprint, days in self._said.items() if fingerprint in here}
        self._said.update((each.fingerprint, each.days) for each in news)
        return news
