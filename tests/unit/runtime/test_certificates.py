"""Certificates whose time is nearly over: said at 30, 7 and 1 days and at the end, each once."""

from __future__ import annotations

import pytest

from kamailio_app.runtime.certificates import EndWatch, days_in_words, ending
from kamailio_app.runtime.choice import Choices

from ..builders import DAY, NOW, refused
from .test_choice import choices, pair

ENDS = NOW + 100 * DAY
ONE = pair("one", ends=ENDS)


def said(watch: EndWatch, found: Choices, days_before: float) -> list[tuple[str, int]]:
    return [(each.name, each.days) for each in watch.due(found, ENDS - days_before * DAY)]


def test_each_mark_is_said_once() -> None:
    watch, found = EndWatch(), choices(ONE)
    times = (31, 30, 29, 8, 7, 6.9, 1.1, 1, 0.5, 0, -1)
    marks = {time: mark for time in times for _, mark in said(watch, found, time)}
    assert marks == {30: 30, 7: 7, 1: 1, 0: 0}


@pytest.mark.parametrize(("left", "mark"), [(20, 30), (5, 7), (0.1, 1), (-3, 0)])
def test_after_a_start_only_the_tightest_is_said(left: float, mark: int) -> None:
    watch, found = EndWatch(), choices(ONE)
    assert said(watch, found, left) == [("one", mark)]
    assert said(watch, found, left - 0.01) == []


def test_marks_are_the_certificates_own() -> None:
    watch = EndWatch()
    first, second = pair("first", ends=ENDS), pair("second", "5678", ends=ENDS + 10 * DAY)
    found = choices(first, second)
    assert said(watch, found, 30) == [("first", 30)]
    assert said(watch, found, 20) == [("second", 30)]
    assert said(watch, found, 7) == [("first", 7)]
    assert said(watch, found, -3) == [("first", 0), ("second", 7)]


def test_another_certificate_under_the_same_name_is_another() -> None:
    watch = EndWatch()
    assert said(watch, choices(ONE), 5) == [("one", 7)]
    assert said(watch, choices(pair("one", "5678", ends=ENDS)), 5) == [("one", 7)]


def test_clock_that_goes_back_repeats_no_mark() -> None:
    watch, found = EndWatch(), choices(ONE)
    assert said(watch, found, 7) == [("one", 7)]
    assert [said(watch, found, time) for time in (7.001, 31, 30, 7)] == [[], [], [], []]


def test_one_that_was_taken_away_and_comes_back_is_said_again() -> None:
    watch = EndWatch()
    assert said(watch, choices(ONE), 5) == [("one", 7)]
    assert said(watch, choices(), 5) == []
    assert said(watch, choices(ONE), 5) == [("one", 7)]


def test_other_marks() -> None:
    watch, found = EndWatch((90, 2)), choices(pair("one", begins=ENDS - 300 * DAY, ends=ENDS))
    assert [said(watch, found, time) for time in (91, 90, 30, 2, 0)] == [[], [("one", 90)], [], [("one", 2)], [("one", 0)]]
    assert [each.days for each in EndWatch(()).due(found, ENDS)] == [0]


def test_first_to_end_comes_first() -> None:
    found = choices(*(pair(name, begins=NOW - 9 * DAY, ends=NOW + days * DAY) for name, days in (("b", 2), ("c", 1), ("a", 2))))
    assert [each.name for each in ending(found, NOW)] == ["c", "a", "b"]


def test_short_life_ends_with_its_last_third() -> None:
    watch, found = EndWatch(), choices(pair("week", begins=ENDS - 7 * DAY, ends=ENDS))
    assert [said(watch, found, left) for left in (7, 2.4, 2.3, 1, 0)] == [[], [], [("week", 7)], [("week", 1)], [("week", 0)]]


# --- What follows -----------------------------------------------------------------------------------------------


def test_next_pair_of_the_provider_follows_if_it_signs_by_then() -> None:
    follower = pair("two", begins=ENDS - DAY, ends=ENDS + 30 * DAY)
    (first, *_) = ending(choices(ONE, follower), ENDS - 5 * DAY)
    assert (first.name, first.follows) == ("one", "two")
    late = pair("late", begins=ENDS + 1, ends=ENDS + 30 * DAY)
    assert [each.follows for each in ending(choices(ONE, late), ENDS - 5 * DAY)] == [""]
    assert [each.follows for each in ending(choices(ONE, follower, two=ENDS + 1), ENDS - 5 * DAY)] == [""]


def test_each_provider_has_its_own_that_follows() -> None:
    follower = pair("two", begins=ENDS - DAY, ends=ENDS + 90 * DAY)
    found = choices(ONE, follower, pair("other", "5678", ends=ENDS + 90 * DAY))
    assert [(each.name, each.follows) for each in ending(found, ENDS - DAY)] == [("one", "two")]


def test_pair_of_another_provider_does_not_follow() -> None:
    found = choices(ONE, pair("other", "5678", ends=ENDS + 90 * DAY))
    assert [(each.name, each.follows) for each in ending(found, ENDS - DAY)] == [("one", "")]


def test_nothing_follows_a_pair_that_is_named() -> None:
    follower = pair("two", begins=ENDS - DAY, ends=ENDS + 90 * DAY)
    assert [each.follows for each in ending(choices(ONE, follower), ENDS - DAY, named={"one"})] == [""]
    assert [each.follows for each in ending(choices(ONE, follower, default="one"), ENDS - DAY)] == [""]
    assert [each.follows for each in EndWatch().due(choices(ONE, follower), ENDS - DAY, {"one"})] == [""]


def test_asking_what_follows_changes_no_answer() -> None:
    found = choices(ONE)
    assert found.choose(ENDS - DAY) is ONE
    ending(found, ENDS - DAY)
    assert found.choose(ENDS - DAY) is ONE
    with refused("certificate_none"):
        found.choose(ENDS)


# --- In words ---------------------------------------------------------------------------------------------------


def test_what_is_said() -> None:
    follower = pair("two", begins=ENDS - DAY, ends=ENDS + 90 * DAY)
    (found,) = ending(choices(ONE, follower), ENDS - 6 * DAY)
    assert str(found) == "certificate one of 1234 ends in 6 days, 2024-02-22 22:13:20Z; two follows"
    (found,) = ending(choices(ONE), ENDS + 1)
    assert str(found) == "certificate one of 1234 has ended, 2024-02-22 22:13:20Z; nothing follows"


@pytest.mark.parametrize(
    ("days", "words"), [(30, "30 days"), (1.4, "1 day"), (1, "1 day"), (0.99, "24 hours"), (0.04, "1 hour"), (0, "0 hours")]
)
def test_time_that_is_left_in_words(days: float, words: str) -> None:
    assert days_in_words(days) == words
