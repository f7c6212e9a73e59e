"""What the suite reads of others: SIPp's traces, Kamailio's log while it is being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from kamailio_app.lab.edge import calls_in, unmixed
from tests.sipp.suite.lane import Lane, Work
from tests.sipp.suite.outcome import Status
from tests.sipp.suite.scenario import Case, Expect, Scenario
from tests.sipp.suite.system import System
from tests.sipp.suite.target import Start, Target
from tests.unit.sipp.test_check import message

LINE = "1(7) INFO: <core>: stirshaken: verify call-id=c-1 result=failed token=iat_stale us=99: too old\n"


def test_folded_header_is_one_line() -> None:
    """RFC 3261 7.3.1."""
    found = message("X: a,", "  b", "\tc: d", "Y: e", start="INVITE sip:x@y SIP/2.0")
    assert found.start_line == "INVITE sip:x@y SIP/2.0"
    assert found.headers == {"x": ("a, b c: d",), "y": ("e",)}


def test_words_of_a_call() -> None:
    words = {"kind": "verify", "call-id": "c-1", "result": "failed", "token": "iat_stale", "us": "99"}
    assert calls_in(LINE) == {"c-1": words}


@pytest.mark.parametrize("end", range(len(LINE)))
def test_line_that_is_being_written_is_no_line_yet(end: int) -> None:
    assert calls_in(LINE[:end]) == {}


def test_line_without_call_id_is_left_out() -> None:
    assert list(calls_in(f"stirshaken: verify cal\n{LINE}stirshaken: sign result=signed\n")) == ["c-1"]


class Writing:
    """A system whose log grows each time it is read."""

    def __init__(self, *logs: str) -> None:
        self._logs = list(logs)

    def log(self) -> str:
        return self._logs.pop(0) if len(self._logs) > 1 else self._logs[0]


@pytest.mark.parametrize(
    ("expect", "logs"),
    [
        (Expect(token="iat_stale"), ("", LINE[:50], LINE)),
        (Expect(said={"pass unsigned": 1}), ("", "calls pass unsigned\n")),
        (Expect(token="iat_stale", said={"ready": 1}), (LINE, f"{LINE}ready\n")),
    ],
)
def test_what_is_expected_of_the_log_is_awaited(expect: Expect, logs: tuple[str, ...]) -> None:
    system: Any = Writing(*logs)
    lane = Lane(cast("System", system), Path())
    scenario = Scenario("s", "S", "", ("RFC",), "verify", (), (), Path())
    work = Work(Target("t", "", "T", ("verify",), start=Start()), scenario, Case(expect=expect))
    assert work.result(Status.PASSED).case == ""
    lane._logged(work, ["c-1"])
    assert system.log() == logs[-1]


def line_of(process: int, number: int) -> str:
    """As Kamailio 6.0 writes it."""
    call = f"sign call-id=sign-many--18921337602404-{number}@127.201.93.11 result=signed attest=C orig=12155550121 us={number}"
    return f" {process}({process + 11}) INFO: <core> [core/kemi.c:109]: sr_kemi_core_info(): stirshaken: {call}\n"


def test_lines_that_got_into_each_other_are_put_right() -> None:
    first, second, third, fourth = (line_of(1 + number % 2, number) for number in (20, 21, 22, 23))
    inside = first[:128] + second + first[128:]
    assert unmixed(inside) == second + first
    assert unmixed(third + inside + fourth) == third + second + first + fourth
    assert len(calls_in(unmixed(inside))) == 2
    nested = first[:128] + second[:128] + line_of(3, 24) + second[128:] + first[128:]
    assert sorted(unmixed(nested).splitlines()) == sorted(
        [*first.splitlines(), *second.splitlines(), *line_of(3, 24).splitlines()]
    )


def test_log_in_order_stays_as_it_is() -> None:
    log = "Listening on\n" + "".join(line_of(1 + number % 2, number) for number in range(10, 30))
    assert unmixed(log) == log
    assert unmixed(log[:-20]) == log[:-20]  # a line that is still being written
