"""The record of calls as the suite reads it, while it is being written."""

from __future__ import annotations

import json

import pytest

from tests.sipp.suite import recorded


def line(call_id: str, **more: str) -> str:
    return json.dumps({"call_id": call_id, **more}) + "\n"


def test_lines_by_call() -> None:
    text = line("a", rule="r") + line("b") + line("a", rule="s")
    assert recorded.lines(text) == {
        "a": [{"call_id": "a", "rule": "r"}, {"call_id": "a", "rule": "s"}],
        "b": [{"call_id": "b"}],
    }


def test_line_that_is_being_written_is_no_line_yet() -> None:
    text = line("a")
    for end in range(len(text)):
        assert recorded.lines(text[:end]) == {}


def test_calls_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", line("a")[:-3], line("a"), line("a") + line("b") + line("c")]
    assert list(recorded.await_calls(lambda: texts.pop(0), ["a", "b"])) == ["a", "b"]
    assert texts == []
    monkeypatch.setattr(recorded, "_SECONDS", 0.05)
    assert list(recorded.await_calls(lambda: line("a"), ["a", "b"])) == ["a"]
