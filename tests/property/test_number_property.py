"""Number lists against the naive reading of their entries, and against any text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise, product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries, number_of, spans
from kamailio_app.runtime.number_rows import collect, csv_rows
from kamailio_app.runtime.numbers import INVENTORY, Numbers

from .support import PROPERTY, any_text, attempt

Entry = tuple[str, str]

# Few digits and short numbers, so that entries meet each other
DIGITS = "019"
SHORT = ["".join(digits) for length in range(1, 5) for digits in product(DIGITS, repeat=length)]
LONG = ["9" * 15, "0" * 15, "10000000000000", "1" + "9" * 14, "1" + "0" * 14]

number = st.sampled_from(SHORT + LONG)
range_ = st.tuples(number, number).filter(lambda ends: len(ends[0]) == len(ends[1])).map(lambda ends: "-".join(sorted(ends)))
text = st.one_of(number, number.map(lambda digits: f"{digits}*"), range_)
entries = st.lists(st.tuples(st.sampled_from("abcde"), text), max_size=12)


def means(text: str, number: str) -> bool:
    """What an entry says, read as a person reads it."""
    if text.endswith("*"):
        return number.startswith(text[:-1]) and len(number) <= 15
    first, _, last = text.partition("-")
    return len(number) == len(first) and first <= number <= (last or first)


def naive(given: Sequence[Entry], number: str) -> tuple[str, ...]:
    return tuple(sorted({customer for customer, text in given if means(text, number)}))


def made(given: Sequence[Entry]) -> Entries:
    collected = Entries()
    for customer, text in given:
        collected.add(customer, text)
    return collected


def around(text: str) -> list[str]:
    """The numbers at which an entry begins and ends, and those beside them."""
    found = []
    for span in spans(text):
        for digits in map(number_of, span):
            width, value = len(digits), int(digits)
            found += [f"{beside:0{width}d}" for beside in (value - 1, value, value + 1) if 0 <= beside < 10**width]
    return found


@given(entries, st.lists(st.text("0123456789", min_size=1, max_size=15), max_size=20))
@PROPERTY
def test_file_answers_as_the_naive_list(tmp_path: Path, given: list[Entry], others: list[str]) -> None:
    path = tmp_path / "numbers.mdb"
    number_file.write(path, made(given), kind=INVENTORY, source="test", now=0.0)
    with closing(Numbers(path)) as numbers:
        for number in {*SHORT, *LONG, *others, *(beside for _customer, text in given for beside in around(text))}:
            assert numbers.owners(number) == naive(given, number), number
            assert numbers.holds(number) == bool(naive(given, number)), number


@given(entries)
@PROPERTY
def test_segments_are_ordered_apart_and_as_few_as_can_be(given: list[Entry]) -> None:
    segments = list(made(given).segments())
    for segment in segments:
        assert segment.first <= segment.last
        assert segment.customers == tuple(sorted(set(segment.customers)))
    for former, latter in pairwise(segments):
        assert former.last < latter.first
        assert former.last + 1 < latter.first or former.customers != latter.customers


@given(entries, st.randoms(use_true_random=False))
@PROPERTY
def test_order_of_the_entries_changes_nothing(given: list[Entry], random: object) -> None:
    shuffled = given.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def named(collected: Entries) -> list[tuple[int, int, tuple[str, ...]]]:
        names = collected.names
        return [(first, last, tuple(sorted(names[index] for index in who))) for first, last, who in collected.segments()]

    assert named(made(given)) == named(made(shuffled))


@given(any_text(["1215", "*", "-", "+", "12155551212", "#", " ", "0", "(", ")", ".", "é", "²", "\x00"]))
@PROPERTY
def test_any_text_is_an_entry_or_refused_with_a_reason(text: str) -> None:
    found, reason = [], ""
    try:
        found = spans(text)
    except ValueError as refused:
        reason = str(refused)
    assert bool(found) == (not reason)
    assert len(reason) < 500
    assert all(first <= last for first, last in found)
    assert all(1 <= len(number_of(end)) <= 15 for span in found for end in span)


@given(st.lists(any_text(["12155551212", "1", "9" * 15, "9" * 16, "+", "\x00", "²", "-1", "٣"]), max_size=20))
@PROPERTY
def test_any_text_may_be_looked_up(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "numbers.mdb"
    if not path.exists():
        number_file.write(path, made([("a", "12155551212"), ("b", "999999999999999")]), kind=INVENTORY, source="", now=0.0)
    with closing(Numbers(path)) as numbers:
        for text in texts:
            known = {"12155551212": ("a",), "999999999999999": ("b",)}.get(text, ())
            assert numbers.owners(text) == known
            assert numbers.holds(text) == bool(known)
        assert numbers.error is None


@given(any_text(["customer", "number", ",", '"', "\n", "\r\n", "alpha", "12155551212", "1215*", "\x00", ";"]))
@PROPERTY
def test_any_text_is_csv_or_refused(text: str) -> None:
    collected = Entries()
    rows = csv_rows(io.StringIO(text, newline=""), "test.csv", named=True)
    bad, token = attempt(collect, rows, collected, lambda _rows: None)
    assert token == ("" if bad else "inventory_malformed")
    assert bad is None or len(bad.first) == min(bad.count, 10)
    assert bool(list(collected.segments())) == (len(collected) > 0)
