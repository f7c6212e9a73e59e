"""The circuit breaker, with a clock in the test's hand."""

from __future__ import annotations

import pytest

from kamailio_app.runtime.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(breaker: Breaker, host: str, times: int) -> None:
    for _ in range(times):
        assert breaker.admits(host)
        breaker.failed(host)


def test_closed_until_the_last_permitted_failure(clock: Clock) -> None:
    breaker = Breaker(3, 30, clock=clock)
    failing(breaker, "a", 2)
    assert breaker.admits("a")
    failing(breaker, "a", 1)
    assert not breaker.admits("a")
    assert breaker.admits("b")


def test_only_failures_in_a_row_count(clock: Clock) -> None:
    breaker = Breaker(3, 30, clock=clock)
    failing(breaker, "a", 2)
    breaker.succeeded("a")
    failing(breaker, "a", 2)
    assert breaker.admits("a")


def test_one_tries_after_the_pause(clock: Clock) -> None:
    breaker = Breaker(2, 30, clock=clock)
    failing(breaker, "a", 2)
    clock.now += 29.9
    assert not breaker.admits("a")
    clock.now += 0.1
    assert [breaker.admits("a") for _ in range(3)] == [True, False, False]


def test_whose_success_closes_it(clock: Clock) -> None:
    breaker = Breaker(2, 30, clock=clock)
    failing(breaker, "a", 2)
    clock.now += 30
    assert breaker.admits("a")
    breaker.succeeded("a")
    assert [breaker.admits("a") for _ in range(3)] == [True] * 3
    failing(breaker, "a", 1)
    assert breaker.admits("a")


def test_whose_failure_opens_it_anew(clock: Clock) -> None:
    breaker = Breaker(2, 30, clock=clock)
    failing(breaker, "a", 2)
    clock.now += 30
    assert breaker.admits("a")
    clock.now += 5
    breaker.failed("a")
    clock.now += 29.9
    assert not breaker.admits("a")
    clock.now += 0.1
    assert breaker.admits("a")


def test_one_that_never_comes_back_does_not_hold_it_open(clock: Clock) -> None:
    breaker = Breaker(2, 30, clock=clock)
    failing(breaker, "a", 2)
    clock.now += 30
    assert breaker.admits("a")
    clock.now += 30
    assert breaker.admits("a")


def test_failures_that_were_under_way_when_it_opened_count_too(clock: Clock) -> None:
    breaker = Breaker(2, 30, clock=clock)
    for _ in range(5):
        breaker.failed("a")
    clock.now += 30
    assert [breaker.admits("a") for _ in range(2)] == [True, False]


def test_zero_failures_is_off(clock: Clock) -> None:
    breaker = Breaker(0, 30, clock=clock)
    failing(breaker, "a", 100)
    assert breaker.admits("a")
    assert len(breaker) == 0


def test_hosts_are_bounded_and_the_longest_untouched_goes_first(clock: Clock) -> None:
    breaker = Breaker(1, 30, clock=clock, hosts=3)
    for host in ("a", "b", "c"):
        breaker.failed(host)
    breaker.failed("a")
    breaker.failed("d")
    assert len(breaker) == 3
    assert [breaker.admits(host) for host in ("a", "b", "c", "d")] == [False, True, False, False]


def test_hosts_that_do_well_take_no_room() -> None:
    breaker = Breaker(1, 30)
    for number in range(100):
        breaker.succeeded(f"host{number}")
    assert len(breaker) == 0
