"""Percentiles, the limits of a clean step, and whose limit it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.load.step import Limit, Limits, blame, crossed, percentile, shown
from tests.unit.load.steps import step


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (0.999, 100.0), (1, 100.0), (0, 1.0)],
)
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.001) == percentile([7.0], 0.999) == 7.0


def test_percentile_of_nothing_is_none_and_prints_as_nothing() -> None:
    assert percentile([], 0.5) is None
    assert shown(None) == ""
    assert shown(1.26) == "1.3"


@pytest.mark.parametrize(
    ("deviation", "words"),
    [
        ({}, ""),
        ({"retransmissions": 2}, ""),
        ({"retransmissions": 3}, "3 retransmissions"),
        ({"failed": 1}, "1 failed"),
        ({"p99_ms": 100.0}, ""),
        ({"p99_ms": 101.0}, "p99 101 ms"),
        ({"achieved_per_s": 95.0}, ""),
        ({"achieved_per_s": 94.0}, "94/s of 100/s"),
        ({"p99_ms": None, "failed": 2000, "achieved_per_s": 0.0}, "2000 failed, 0/s of 100/s"),
    ],
)
def test_limits_that_a_step_crosses(deviation: dict[str, Any], words: str) -> None:
    assert crossed(step(**deviation), Limits()) == words


@pytest.mark.parametrize(
    ("deviation", "limit"),
    [
        ({"caller_share": 0.9, "worker_share": 0.99}, Limit.GENERATOR),
        ({"callee_share": 0.9}, Limit.GENERATOR),
        ({"worker_share": 0.9, "machine_idle": 0.0}, Limit.SYSTEM),
        ({"machine_idle": 0.05}, Limit.MACHINE),
        ({"machine_idle": 0.05, "machine_others": 0.2}, Limit.OTHERS),
        ({"machine_others": 0.2, "system_drops": 5}, Limit.OTHERS),
        ({"generator_drops": 5, "system_drops": 1}, Limit.GENERATOR),
        ({"system_drops": 5}, Limit.SYSTEM),
        ({}, Limit.UNEXPLAINED),
    ],
)
def test_whose_limit_it_was(deviation: dict[str, Any], limit: Limit) -> None:
    assert blame(step(**deviation)) is limit
