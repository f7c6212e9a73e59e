"""The control of the call rate, against systems of known capacity."""

from __future__ import annotations

import pytest

from tests.load.ladder import Ladder, highest_clean


def climb(ladder: Ladder, capacity: float) -> list[tuple[float, bool]]:
    tried: list[tuple[float, bool]] = []
    while (rate := ladder.next_rate(tried)) is not None:
        tried.append((rate, rate <= capacity))
        assert len(tried) < 50
    return tried


@pytest.mark.parametrize("capacity", [201, 333, 1000, 1599, 1600, 4321, 12799])
def test_highest_clean_rate_is_within_the_precision(capacity: float) -> None:
    best = highest_clean(climb(Ladder(), capacity))
    assert best <= capacity <= best * 1.14


def test_rate_doubles_until_a_limit_is_crossed_and_then_halves_the_gap() -> None:
    assert [rate for rate, _ in climb(Ladder(start=100), 500)] == [100, 200, 400, 800, 600, 500, 550]


def test_ladder_ends_at_its_ceiling() -> None:
    assert [rate for rate, _ in climb(Ladder(start=50, ceiling=100), 1e9)] == [50, 100]


def test_ladder_goes_down_if_its_first_rate_is_too_much() -> None:
    tried = climb(Ladder(start=200), 60)
    assert [rate for rate, _ in tried][:3] == [200, 100, 50]
    assert 50 <= highest_clean(tried) <= 60


def test_ladder_gives_up_at_its_floor() -> None:
    tried = climb(Ladder(start=40, floor=10), 0)
    assert [rate for rate, _ in tried] == [40, 20, 10]
    assert highest_clean(tried) == 0


def test_a_clean_step_above_a_crossed_one_does_not_count() -> None:
    assert highest_clean([(100, True), (200, False), (400, True)]) == 100


def test_rate_below_is_a_step_of_the_precision_lower() -> None:
    assert [Ladder().below(rate) for rate in (800, 1000, 11, 10)] == [710, 880, 0, 0]
