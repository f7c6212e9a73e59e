"""The lines of an inventory or do-not-originate list: numbers, prefixes and ranges, which may overlap, and what they come to.

    12155551212                the number itself
    1215*                      all numbers of up to 15 digits that begin so, and 1215 itself
    12155550000-12155559999    all from the first to the last, both of the same length

Single numbers and the ends of ranges are written as people write them (RFC 8224 8.3 makes them canonical, with the number
plan of the settings), but for hyphens: a hyphen makes a range. A prefix begins with the country code. Codes with * or # have no
owner.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.runtime.numbers import LONGEST
from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn

MOST_CUSTOMERS: Final = 1000  # of one number: more is a mistake, and each look-up would pay for it
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_ENTRY: Final = struct.Struct(">QQI")  # first number, last number, customer: sorted as octets they are in the right order
_DIGITS: Final = (1 << 56) - 1
_SHOWN: Final = 40  # characters of a cell in a message

Span = tuple[int, int]


class Segment(NamedTuple):
    """Numbers from `first` to `last`, as `key` makes them, and all who may use them, by index."""

    first: int
    last: int
    customers: tuple[int, ...]


def key(number: str) -> int:
    """A number of 1 to 15 digits as an integer: its length before its digits."""
    return len(number) << 56 | int(number)


def number_of(value: int) -> str:
    """The number that `key` made the integer of."""
    return f"{value & _DIGITS:0{value >> 56}d}"


def spans(text: str, plan: NumberPlan = AS_WRITTEN) -> list[Span]:
    """The numbers that an entry means, as first and last `key`. Errors: ValueError, with the reason."""
    text = text.strip()
    if text.endswith("*"):
        return _prefix(text)
    if "-" in text:
        return [_range(text, plan)]
    number = key(_number(text, plan))
    return [(number, number)]


def _number(text: str, plan: NumberPlan) -> str:
    if not plan.country_code and 0 < len(text) <= LONGEST and text.isascii() and text.isdigit():
        return text  # the dull case, a million times
    number = canonical_tn(text, plan) or ""
    if not number.isdigit() or text.endswith(".0"):  # a spreadsheet's 12155551212.0 would be ten times as much
        raise ValueError(f"{text[:_SHOWN]!r} is no number, prefix* or first-last")
    return number


def _prefix(text: str) -> list[Span]:
    digits = text[:-1].removeprefix("+")
    if not (0 < len(digits) <= LONGEST and digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text[:_SHOWN]!r} is no prefix: up to {LONGEST} digits from the country code on, then *")
    return [(key(digits + "0" * more), key(digits + "9" * more)) for more in range(LONGEST - len(digits) + 1)]


def _range(text: str, plan: NumberPlan) -> Span:
    ends = text.split("-")
    if len(ends) != 2:
        raise ValueError(f"{text[:_SHOWN]!r} has two hyphens, and a hyphen makes a range")
    first, last = (_number(end.strip(), plan) for end in ends)
    if len(first) != len(last) or last < first:
        raise ValueError(f"{text[:_SHOWN]!r} is no range: two numbers of one length, the lower one first")
    return key(first), key(last)


class Entries:
    """All lines of one list; without `named` it names no customers. Some sixty octets of memory for each number or range, up to
    fifteen times as many for a prefix.
    """

    def __init__(self, plan: NumberPlan = AS_WRITTEN, *, named: bool = True) -> None:
        self.count = 0
        self.doubled = 0
        self._plan = plan
        self._spans: list[bytes] = []
        self._names: dict[str, int] = {} if named else {"": 0}

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> tuple[str, ...]:
        """The customers, by index; the one of a list without customers is empty."""
        return tuple(self._names)

    def add(self, customer: str, number: str) -> None:
        """`customer` is empty in a list that names none. Errors: ValueError, with the reason."""
        found = spans(number, self._plan)
        index = self._names.get(customer)
        if index is None:
            if not _NAME.fullmatch(customer):
                raise ValueError(f"{customer[:_SHOWN]!r} is no customer's name: 1 to 64 of letters, digits, _ . and -")
            index = self._names[customer] = len(self._names)
        for first, last in found:
            self._spans.append(_ENTRY.pack(first, last, index))
        self.count += 1

    def sample(self, most: int) -> Iterator[tuple[str, str]]:
        """Customer and number, evenly from all entries: the first and last number of each."""
        names = self.names
        for entry in self._spans[:: max(1, len(self._spans) // most)]:
            first, last, customer = _ENTRY.unpack(entry)
            yield names[customer], number_of(first)
            yield names[customer], number_of(last)

    def segments(self) -> Iterator[Segment]:
        """The same numbers without overlap, in order; neighbours of the same customers are one. `doubled` is counted meanwhile.

        Errors: `inventory_malformed` if too many customers have a number.
        """
        self._spans.sort()
        self.doubled = 0
        return _joined(self._apart())

    def _apart(self) -> Iterator[Segment]:
        here = 0  # all before it is said
        until: list[Span] = []  # last number and customer of those who have `here`, soonest end first
        times: dict[int, int] = {}  # how often each of them has it
        for entry in self._spans:
            first, last, customer = _ENTRY.unpack(entry)
            while until and until[0][0] < first:
                yield Segment(here, until[0][0], tuple(sorted(times)))
                here = _leave(until, times)
            if until and here < first:
                yield Segment(here, first - 1, tuple(sorted(times)))
            here = first
            heappush(until, (last, customer))
            self.doubled += customer in times
            times[customer] = times.get(customer, 0) + 1
            if len(times) > MOST_CUSTOMERS:
                raise failure("inventory_malformed", f"{number_of(first)} has more than {MOST_CUSTOMERS} customers")
        while until:
            yield Segment(here, until[0][0], tuple(sorted(times)))
            here = _leave(until, times)


def _leave(until: list[Span], times: dict[int, int]) -> int:
    """All who end at the soonest end go; what comes after it."""
    end = until[0][0]
    while until and until[0][0] == end:
        _end, customer = heappop(until)
        times[customer] -= 1
        if not times[customer]:
            del times[customer]
    return end + 1


def _joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    former: Segment | None = None
    for segment in segments:
        if former is None:
            former = segment
        elif former.customers == segment.customers and former.last + 1 == segment.first:
            former = Segment(former.first, segment.last, former.customers)
        else:
            yield former
            former = segment
    if former is not None:
        yield former
