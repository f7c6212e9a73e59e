"""How long a fetched credential may be kept."""

from __future__ import annotations

from time import perf_counter

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
