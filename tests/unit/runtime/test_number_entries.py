"""What an entry means, and what overlapping entries come to."""

from __future__ import annotations

import pytest

from kamailio_app.errors import StirError
from kamailio_app.runtime.number_entries import MOST_CUSTOMERS, Entries, key, number_of, spans
from kamailio_app.tn import AS_WRITTEN, NumberPlan

NANP = NumberPlan("1", "1", "011", 10)


def numbers(text: str, plan: NumberPlan = AS_WRITTEN) -> list[tuple[str, str]]:
    return [(number_of(first), number_of(last)) for first, last in spans(text, plan)]


def segments(*entries: tuple[str, str]) -> list[tuple[str, str, str]]:
    made = Entries()
    for customer, number in entries:
        made.add(customer, number)
    return [
        (number_of(first), number_of(last), "".join(sorted(made.names[index] for index in customers)))
        for first, last, customers in made.segments()
    ]


@pytest.mark.parametrize("number", ["0", "911", "0911", "00", "12155551212", "123456789012345", "000000000000000"])
def test_a_number_and_its_key_are_the_same(number: str) -> None:
    assert number_of(key(number)) == number


@pytest.mark.parametrize(
    ("text", "plan", "number"),
    [
        ("12155551212", AS_WRITTEN, "12155551212"),
        (" 12155551212 ", AS_WRITTEN, "12155551212"),
        ("+12155551212", AS_WRITTEN, "12155551212"),
        ("+1 (215) 555.1212", AS_WRITTEN, "12155551212"),
        ("911", AS_WRITTEN, "911"),
        ("2155551212", AS_WRITTEN, "2155551212"),
        ("2155551212", NANP, "12155551212"),
        ("12155551212", NANP, "12155551212"),
        ("01133123456789", NANP, "33123456789"),
    ],
)
def test_numbers_as_people_write_them(text: str, plan: NumberPlan, number: str) -> None:
    assert numbers(text, plan) == [(number, number)]


def test_prefix_means_all_lengths_from_its_own_to_fifteen() -> None:
    meant = numbers("1215*")
    assert meant[:2] == [("1215", "1215"), ("12150", "12159")]
    assert meant[-1] == ("1215" + "0" * 11, "1215" + "9" * 11)
    assert len(meant) == 12
    assert numbers("+1215*") == meant
    assert numbers("123456789012345*") == [("123456789012345",) * 2]


def test_prefix_is_not_completed_by_the_number_plan() -> None:
    assert numbers("2155551212*", NANP)[0] == ("2155551212", "2155551212")


def test_range_means_all_between_its_ends() -> None:
    assert numbers("12155550000-12155559999") == [("12155550000", "12155559999")]
    assert numbers("+1 215 555 0000 - +1 215 555 9999") == [("12155550000", "12155559999")]
    assert numbers("2155550000-12155550009", NANP) == [("12155550000", "12155550009")]
    assert numbers("911-911") == [("911", "911")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no number"),
        ("   ", "no number"),
        ("*", "no prefix"),
        ("*67", "no number"),
        ("#31#", "no number"),
        ("12*15*", "no prefix"),
        ("1234567890123456", "no number"),
        ("1234567890123456*", "no prefix"),
        ("12155551212\x00", "no number"),
        ("12155551212.0", "no number"),
        ("1.2155551212E+10", "no number"),
        ("sip:12155551212@example.com", "no number"),
        ("١٢١٥", "no number"),
        ("²", "no number"),
        ("²*", "no prefix"),
        ("\ud800", "no number"),
        ("1-215-555-1212", "two hyphens"),
        ("215-5551212", "no range"),
        ("12155559999-12155550000", "no range"),
        ("12155550000-", "no number"),
        ("-12155550000", "no number"),
        ("-", "no number"),
        ("1215*-1216*", "no prefix"),
        ("anonymous", "no number"),
        ("9" * 5000, "no number"),
    ],
)
def test_what_means_no_numbers_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        spans(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("customer", ["", " ", "a b", "a,b", "é", "x" * 65, "a\n"])
def test_names_that_are_none_are_refused(customer: str) -> None:
    entries = Entries()
    for _ in range(2):
        with pytest.raises(ValueError, match="no customer's name"):
            entries.add(customer, "12155551212")
    assert len(entries) == 0
    assert not list(entries.segments())


def test_list_without_customers_takes_none() -> None:
    entries = Entries(named=False)
    entries.add("", "911")
    assert entries.names == ("",)
    assert [tuple(segment) for segment in entries.segments()] == [(key("911"), key("911"), (0,))]


def test_neighbours_of_one_customer_become_one_segment() -> None:
    assert segments(("a", "102"), ("a", "100"), ("a", "101")) == [("100", "102", "a")]
    assert segments(("a", "100"), ("b", "101")) == [("100", "100", "a"), ("101", "101", "b")]


def test_lengths_are_no_neighbours() -> None:
    assert segments(("a", "999"), ("a", "0000")) == [("999", "999", "a"), ("0000", "0000", "a")]


def test_overlaps_are_cut_at_every_end() -> None:
    assert segments(("a", "100-199"), ("b", "150-249"), ("c", "150-199")) == [
        ("100", "149", "a"),
        ("150", "199", "abc"),
        ("200", "249", "b"),
    ]


def test_number_inside_a_range_of_another_customer_has_both() -> None:
    assert segments(("a", "100-199"), ("b", "150")) == [("100", "149", "a"), ("150", "150", "ab"), ("151", "199", "a")]


def test_what_is_said_twice_is_counted_and_changes_nothing() -> None:
    entries = Entries()
    for number in ("100-199", "150", "150", "100-199"):
        entries.add("a", number)
    assert [tuple(segment) for segment in entries.segments()] == [(key("100"), key("199"), (0,))]
    assert entries.doubled == 3
    assert len(list(entries.segments())) == 1  # and again
    assert entries.doubled == 3


def test_segments_may_be_asked_for_without_entries() -> None:
    assert segments() == []


def test_more_customers_of_a_number_than_anybody_has_are_refused() -> None:
    entries = Entries()
    for index in range(MOST_CUSTOMERS):
        entries.add(f"c{index}", "18005551212")
    assert len(list(entries.segments())) == 1
    entries.add("one-more", "1800*")
    with pytest.raises(StirError, match="18005551212 has more than 1000 customers") as refused:
        list(entries.segments())
    assert refused.value.token == "inventory_malformed"


def test_sample_is_spread_over_all_entries() -> None:
    entries = Entries()
    for number in range(1000):
        entries.add("a", f"{number:04d}")
    sample = list(entries.sample(10))
    assert sample[0] == ("a", "0000")
    assert sample[-1] == ("a", "0900")
    assert len(sample) == 20
