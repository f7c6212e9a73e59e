"""From a worker's frame to the line that is kept: every field, times, strange text, masked numbers; torn frames are none."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import Any

import pytest

from kamailio_app.runtime.record import BEGIN, END, SEPARATOR, Record, clean
from kamailio_app.runtime.record_line import call_of, line_of, mask_of, masked

from .recorded import CALL, NOON, put


def frame(**fields: Any) -> bytes:
    """Without its end."""
    with closing(Record()) as record:
        assert put(record, **fields)
        return os.pread(record.fds[0], 1 << 20, 0).removesuffix(END.encode())


def line(mask: int = 0, **fields: Any) -> dict[str, Any]:
    found = line_of(frame(**fields), mask)
    assert found is not None
    assert found.text.endswith(b"}\n")
    assert found.text.count(b"\n") == 1
    call: dict[str, Any] = json.loads(found.text)
    return call


def test_line_holds_all_fields() -> None:
    assert line() == CALL | {"time": "2026-12-01T12:00:00.000Z"}
    assert line(x5u="https://cr.example.com/a.pem")["x5u"] == "https://cr.example.com/a.pem"
    found = line_of(frame(), 0)
    assert found is not None
    assert call_of(found.text) == line()


@pytest.mark.parametrize(
    ("time", "text", "day"),
    [
        (0.0, "1970-01-01T00:00:00.000Z", 0),
        (NOON + 0.1234, "2026-12-01T12:00:00.123Z", 20788),
        (NOON + 43199.9994, "2026-12-01T23:59:59.999Z", 20788),
        (NOON + 43199.9996, "2026-12-02T00:00:00.000Z", 20789),
        (4102444800.0, "2100-01-01T00:00:00.000Z", 47482),
    ],
)
def test_times_are_of_utc_and_days_too(time: float, text: str, day: int) -> None:
    found = line_of(frame(time=time), 0)
    assert found is not None
    assert (json.loads(found.text)["time"], found.day) == (text, day)


@pytest.mark.parametrize("time", [-1.0, 1e300, float("nan"), float("inf"), 253_402_300_800.0])
def test_time_that_is_none_is_no_call(time: float) -> None:
    assert line_of(frame(time=time), 0) is None


@pytest.mark.parametrize(
    "text", ['"', "\\", '"},{"time":"', "\0\x01\x7f", "\N{SNOWMAN}", "\N{GRINNING FACE}", "\u2028", "\ud800", "\n", "é" * 5000]
)
def test_strange_text_is_one_string_of_one_line(text: str) -> None:
    found = line(call_id=text)
    assert found["call_id"] in (text, text.replace("\ud800", "?"), clean(text))
    assert {**found, "call_id": "", "time": 0.0} == CALL | {"call_id": "", "time": 0.0}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"garbage",
        frame()[1:],
        frame()[:-40],
        frame().replace(SEPARATOR.encode(), b" ", 1),
        frame() + SEPARATOR.encode(),
        BEGIN.encode() * 3,
        SEPARATOR.encode() * 14,
        frame().replace(b"\x1f43\x1f", b"\x1fx\x1f"),
        b"\xff" * 100,
    ],
)
def test_frame_that_is_not_whole_is_no_call(octets: bytes) -> None:
    assert line_of(octets, 0) is None


def test_frame_behind_a_torn_one_is_a_call() -> None:
    for torn in range(1, len(frame())):
        found = line_of(frame(call_id="torn")[:torn] + frame(call_id="whole"), 0)
        assert found is not None
        assert json.loads(found.text)["call_id"] == "whole"


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        ("12155550121", 0, "12155550121"),
        ("12155550121", 4, "1215555xxxx"),
        ("12155550121", 15, "xxxxxxxxxxx"),
        ("911", 4, "xxx"),
        ("*67", 1, "*6x"),
        ("", 4, ""),
        ("sip:alice@example.com", 4, "sip:alice@example.com"),
        ("sip:+12155550121@10.0.0.1", 4, "sip:+1215555xxxx@10.0.0.1"),
    ],
)
def test_last_digits_are_masked(number: str, digits: int, text: str) -> None:
    assert masked(number, digits) == text
    found = line(digits, orig=number, dest=number, call_id="12155550121@x")
    assert (found["orig"], found["dest"], found["call_id"]) == (text, text, "12155550121@x")


@pytest.mark.parametrize(("number", "digits"), [("12155550121", 0), ("1215555xxxx", 4), ("xxx", 3), ("sip:1xx@h", 2), ("", 0)])
def test_masked_digits_are_counted(number: str, digits: int) -> None:
    assert mask_of(number) == digits


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[]", b"null", b'{"time": 5}', b"{}", b"\0" * 50, b"\xff", b"[" * 100_000, b'"x"']
)
def test_line_that_is_none_is_no_call(octets: bytes) -> None:
    assert call_of(octets) is None
