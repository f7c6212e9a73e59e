"""The line through samples of memory, and when it is a leak."""

from __future__ import annotations

import random

import pytest

from tests.load.slope import Slope, Verdict, effective, slope, verdict


def test_slope_of_a_line_is_exact() -> None:
    found = slope([0, 10, 20, 30], [100, 101, 102, 103])
    assert found.kib_per_hour == pytest.approx(360)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_error_covers_the_true_slope_in_noise() -> None:
    noise = random.Random(1)
    times = [float(second) for second in range(0, 3600, 4)]
    covered = 0
    for _ in range(100):
        found = slope(times, [1000 + 0.1 * second + noise.gauss(0, 50) for second in times])
        covered += abs(found.kib_per_hour - 360) <= 2 * found.error
    assert covered >= 85


def test_samples_that_resemble_their_neighbours_count_less() -> None:
    assert effective([1, -1] * 50) == 98
    assert effective([1.0] * 50 + [-1.0] * 50) < 5
    assert effective([0.0] * 10) == 8


@pytest.mark.parametrize("seconds", [[], [1.0, 2.0], [5.0, 5.0, 5.0]])
def test_no_line_without_three_moments(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match=r"moment|three"):
        slope(seconds, [1.0] * len(seconds))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Slope(1000, 100), Verdict.LEAK),
        (Slope(600, 100), Verdict.UNDECIDED),
        (Slope(10, 100), Verdict.NO_LEAK),
        (Slope(-5000, 100), Verdict.NO_LEAK),
        (Slope(0, 1000), Verdict.UNDECIDED),
    ],
)
def test_verdict_needs_two_standard_errors(found: Slope, expected: Verdict) -> None:
    assert verdict(found, 512) is expected
