"""How long a fetched credential may be kept."""

from __future__ import annotations

from time import perf_counter, tzset
from typing import Any

import pytest

from kamailio_app.credentials.lifetime import LifetimeRules, lifetime

DAY = 86400
WEEK = 7 * DAY


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", DAY),
        ("no-store", DAY),
        ("no-store, max-age=3600", DAY),
        ("max-age=0", DAY),
        ("max-age=86400", DAY),
        ("max-age=100000", 100000),
        ("public,max-age=100000", 100000),
        ('max-age="100000"', 100000),
        ("Max-Age = 100000", 100000),
        ("s-maxage=100000", 100000),
        ("max-age=90000, s-maxage=100000", 100000),
        ("max-age=99999999", WEEK),
        ("max-age=" + "9" * 5000, WEEK),
        ("max-age=-1", DAY),
        ("max-age=x", DAY),
        ("x-max-age=100000", DAY),
        ("max-age", DAY),
        ("no-store, max-age=100000", DAY),
        ("max-age=100000, no-cache", DAY),
        ('no-cache="set-cookie", max-age=100000', DAY),
        ("x-no-store, max-age=100000", 100000),
        ("no-storage, max-age=100000", 100000),
        ("must-revalidate, max-age=100000", 100000),
    ],
)
def test_at_least_a_day_and_at_most_a_week(cache_control: str, seconds: int) -> None:
    assert lifetime(cache_control, LifetimeRules()) == seconds


def test_bounds_are_the_operators_choice() -> None:
    rules = LifetimeRules(minimum=10, maximum=100)
    assert [lifetime(f"max-age={age}", rules) for age in (5, 50, 500)] == [10, 50, 100]


@pytest.mark.parametrize("piece", ["max-age", "max-age=", " ", ",", "max-age=1", "max-age ", "1"])
def test_64_kilobytes_of_anything_are_read_in_linear_time(piece: str) -> None:
    began = perf_counter()
    lifetime(piece * (65536 // len(piece)), LifetimeRules())
    assert perf_counter() - began < 0.5


DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
NOW = 1_700_000_000
TWO_DAYS = "Thu, 16 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"expires": TWO_DAYS, "date": DATE}, 2 * DAY),
        ({"expires": "Thursday, 16-Nov-23 22:13:20 GMT", "date": "Tue Nov 14 22:13:20 2023"}, 2 * DAY),
        ({"expires": TWO_DAYS, "date": DATE, "age": "3600"}, 2 * DAY - 3600),
        ({"expires": TWO_DAYS, "now": NOW}, 2 * DAY),
        ({"expires": TWO_DAYS, "date": "x", "now": NOW}, 2 * DAY),
        ({"expires": TWO_DAYS, "date": DATE, "now": 0}, 2 * DAY),
        ({"expires": TWO_DAYS}, DAY),
        ({"expires": TWO_DAYS, "date": "x"}, DAY),
        ({"expires": DATE, "date": TWO_DAYS}, DAY),
        ({"expires": "0", "date": DATE}, DAY),
        ({"expires": "Thu, 99 Nov 2023 22:13:20 GMT", "date": DATE}, DAY),
        ({"expires": "Thu, 16 Nov 99999 22:13:20 GMT", "date": DATE}, DAY),
        ({"expires": "Sun, 16 Nov 2223 22:13:20 GMT", "date": DATE}, WEEK),
        ({"expires": TWO_DAYS + " " * 5000, "date": DATE}, DAY),
        ({"date": DATE, "now": NOW}, DAY),
    ],
)
def test_expires_minus_date_where_there_is_no_max_age(fields: dict[str, Any], seconds: int) -> None:
    """RFC 9111 4.2.1, 5.3."""
    assert lifetime("public", LifetimeRules(), **fields) == seconds
    assert lifetime("max-age=100000", LifetimeRules(), **{**fields, "age": ""}) == 100000
    assert lifetime("no-store", LifetimeRules(), **fields) == DAY


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        ("1000", 199000),
        (" 1000 ", 199000),
        ("0", 200000),
        ("", 200000),
        ("-1", 200000),
        ("x", 200000),
        ("1.5", 200000),
        ("\u0661", 200000),
        ("199999", DAY),
        ("9" * 5000, DAY),
    ],
)
def test_age_is_what_caches_have_used_up(age: str, seconds: int) -> None:
    """RFC 9111 4.2.3, 5.1."""
    assert lifetime("max-age=200000", LifetimeRules(), age=age) == seconds


def test_age_counts_before_the_upper_bound() -> None:
    assert lifetime("max-age=1000000", LifetimeRules(), age="1000") == WEEK


@pytest.mark.parametrize("offset", [0, 1, 3600])
def test_dates_are_of_greenwich(offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 5.6.7: asctime's form does not say so, and the machine may be elsewhere."""
    monkeypatch.setenv("TZ", "America/New_York")
    tzset()
    try:
        asctime = "Thu Nov 16 22:13:20 2023"
        assert lifetime("", LifetimeRules(), expires=asctime, now=NOW - offset) == 2 * DAY + offset
    finally:
        monkeypatch.undo()
        tzset()
