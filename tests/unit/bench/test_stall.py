"""The arithmetic of `make bench-stall`: when calls are placed, what is wrong with one, ratios and their table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.bench.stall.figures import IDLE, Measured, cores_in_words, faults, interval, judged, report
from tests.bench.stall.phones import Ended
from tests.bench.stall.plan import CACHED, COLD, FIRST, KNOWN, NEW, STALLED, TOO, cold, counted, mixed, wrong
from tests.bench.stall.site import Account, Cores, Run, cores

CPU = {"SIP workers": 0.5, "fetch process": 0.1}


def call(kind: str = CACHED, milliseconds: float = 1.0, **deviation: Any) -> Ended:
    verstat = "No-TN-Validation" if kind == STALLED else "TN-Validation-Passed"
    return replace(Ended(kind, 9.0, milliseconds / 1000, 200, verstat), **deviation)


def test_both_sorts_of_run_have_the_same_moments() -> None:
    slots, others = mixed(100, 10, STALLED, seed=3), mixed(100, 10, TOO, seed=3)
    assert [slot.at for slot in slots] == [slot.at for slot in others]
    assert [slot.kind == STALLED for slot in slots] == [slot.kind == TOO for slot in others]
    assert Counter(slot.kind for slot in slots) == {CACHED: 800, STALLED: 200}
    assert all(0 <= slot.at <= 10 for slot in slots)
    assert slots != mixed(100, 10, STALLED, seed=4)


def test_stalls_are_under_way_before_the_first_cold_call_and_to_the_last() -> None:
    slots = cold(4, stalled=50, hold=5)
    assert [slot.kind for slot in slots if slot.kind != STALLED] == [FIRST, KNOWN, NEW, KNOWN, NEW]
    for slot in slots:
        if slot.kind != STALLED:
            assert sum(other.kind == STALLED and slot.at - 5 < other.at <= slot.at for other in slots) in (50, 51)


def test_idle_cold_calls_have_nothing_beside_them() -> None:
    assert {slot.kind for slot in cold(4, stalled=0, hold=5)} == {FIRST, KNOWN, NEW}


def test_only_calls_of_the_kind_and_after_the_lead_count() -> None:
    assert counted([call(), call(at=1.0), call(STALLED)], CACHED, 5) == [1.0]


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (call(), ""),
        (call(STALLED, 2000), ""),
        (call(STALLED, 1950), ""),
        (call(STALLED, 1700), "1 calls: stalled: went on before call_time_budget was over"),
        (call(verstat="No-TN-Validation"), "1 calls: cached: verstat No-TN-Validation instead of TN-Validation-Passed"),
        (call(STALLED, verstat=""), "1 calls: stalled: verstat none instead of No-TN-Validation"),
        (call(KNOWN, code=0), f"1 calls: {KNOWN}: answered by nobody"),
        (call(code=500), "1 calls: cached: answered 500"),
    ],
)
def test_call_that_did_not_end_as_it_should(ended: Ended, problem: str) -> None:
    assert "".join(wrong([call(), ended], budget=2.0)) == problem


@pytest.mark.parametrize(
    ("available", "workers", "apart", "expected"),
    [
        ([0, 1], 1, False, Cores([0, 1], [0, 1])),
        ([0, 1], 1, True, Cores([0], [1])),
        ([0, 1], 2, True, Cores([0, 1], [0, 1])),
        ([3, 2, 1, 0], 2, False, Cores([0, 1, 2], [3])),
        ([5, 4, 3, 2, 1, 0], 1, False, Cores([0, 1, 2, 3], [4, 5])),
        ([0], 1, True, Cores([0], [0])),
    ],
)
def test_cores_of_the_edge(available: list[int], workers: int, apart: bool, expected: Cores) -> None:
    assert cores(available, workers, apart=apart) == expected


def measured(*p99: tuple[float, float], under_way: int = 300, transactions: int = 0, left: int = 0) -> Measured:
    """Rounds of 98 calls of 1 ms and two slow ones, which are the p99."""
    made = Measured(1, Cores([0], [1]))
    for pair in p99:
        for other, slow in zip((TOO, STALLED), pair, strict=True):
            ended = [*[call()] * 98, *[call(milliseconds=slow)] * 2, call(at=0.1, milliseconds=999)]
            made.latency[other].add(Run(ended, 0 if other == TOO else 150, CPU, 0.002, 0.01), lead=5)
    for state, milliseconds in ((IDLE, 10.0), (STALLED, 15.0)):
        made.add_cold(state, Run([call(kind, milliseconds) for kind in COLD], under_way, CPU, 0.0, 0.0))
    made.accounts["at the end"] = Account(transactions, 2048.0, 15)
    made.left = left
    return made


def test_report_has_medians_over_rounds_and_the_ratio_of_them() -> None:
    text = report([measured((2.0, 2.1), (4.0, 4.4), (3.0, 3.1))])
    assert "| 1 | all cached | 300 | 1.000 | 1.000..1.000 | 3.000 | 2.000..4.000 | 0 |" in text
    assert "| 1 | a fifth stalled | 300 | 1.000 | 1.000..1.000 | 3.100 | 2.100..4.400 | 150 |" in text
    assert (
        "| 1 | ratio; p99 reached (at most 1.1), 90 % interval 1.03..1.10 | | 1.00 | 1.00..1.00 | 1.03 | 1.03..1.10 | |" in text
    )
    assert f"| 1 | {NEW} | 1 | 10.00 | 15.00 | 300 | 1.50 | reached (at most 2) |" in text
    assert "| 1 | a fifth stalled | 4950 | 990 | 20 | 1% |" in text
    assert "| 1 | at the end | 0 | 2048 | 15 | |" in text


def test_interval_is_as_wide_as_rounds_differ() -> None:
    assert interval([2.0] * 5, [2.0] * 5) == (1.0, 1.0)
    low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0], [3.0] * 5)
    assert low < 0.7
    assert high > 1.3


def test_missed_target_is_said() -> None:
    assert "p99 missed (at most 1.1)" in report([measured((2.0, 2.3))])
    assert (judged(2.0, 2), judged(2.01, 2)) == ("reached (at most 2)", "missed (at most 2)")


@pytest.mark.parametrize(
    ("deviation", "expected"),
    [
        ({}, []),
        ({"transactions": 2}, ["2 transactions are left"]),
        ({"left": 1}, ["1 processes are left"]),
        ({"under_way": 269}, ["269 stalled fetches under way, not 300"]),
        ({"under_way": 270}, []),
    ],
)
def test_what_makes_it_no_measurement(deviation: dict[str, Any], expected: list[str]) -> None:
    assert faults(measured((1.0, 1.0), **deviation), "at the end", 300) == expected


def test_who_ran_where() -> None:
    words = cores_in_words([measured((1.0, 1.0)), Measured(2, Cores([0, 1], [0, 1]))])
    assert words == (
        "1 worker: the edge and its fetch process on core 0, caller, callee and repository on 1; 2 workers: all on all cores"
    )
