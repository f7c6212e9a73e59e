"""What a worker does to record a call: one frame, whole whatever is in it; bounded memory; nothing that could stop a call."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamailio_app.runtime import record as record_module
from kamailio_app.runtime.record import BEGIN, CONTROL_SIZE, END, FIELDS, MAX_FIELD, SEPARATOR, TAKEN, Record, RecordRules
from kamailio_app.runtime.settings import parse

from .recorded import CALL, put


@pytest.fixture
def record() -> Iterator[Record]:
    with closing(Record()) as made:
        yield made


def frames(record: Record) -> list[str]:
    """What is in memory, from the first octet that is there."""
    size = os.fstat(record.fds[0]).st_size
    return os.pread(record.fds[0], size, 0).decode().split(END)[:-1]


def test_call_is_one_frame(record: Record) -> None:
    assert put(record)
    (frame,) = frames(record)
    fields = frame.removeprefix(BEGIN).split(SEPARATOR)
    expected = ["1796126400.000", *(str(value) for name, value in CALL.items() if name != "time"), ""]
    assert fields == expected
    assert len(fields) == FIELDS


@pytest.mark.parametrize(
    "text",
    [BEGIN, END, SEPARATOR, f"a{END}{BEGIN}b", "x" * 100_000, f"{SEPARATOR}" * 20, "\ud800", "\0", "\r\n", '"\\'],
    ids=lambda text: repr(text[:8]),
)
@pytest.mark.parametrize("field", ["call_id", "orig", "rule", "x5u"])
def test_strange_text_breaks_no_frame(record: Record, field: str, text: str) -> None:
    assert put(record, call_id="before")
    assert put(record, **{field: text})
    assert put(record, call_id="after")
    found = frames(record)
    assert len(found) == 3
    assert all(frame.startswith(BEGIN) and frame.count(BEGIN) == 1 for frame in found)
    assert [len(frame.split(SEPARATOR)) for frame in found] == [FIELDS] * 3
    assert max(map(len, found)) < 2048 + FIELDS * MAX_FIELD


def test_what_nobody_takes_away_is_bounded_and_counted(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "LIMIT", 100_000)
    put_there = 0
    while put(record):
        put_there += 1
        assert put_there < 10_000
    size = os.fstat(record.fds[0]).st_size
    assert 100_000 < size < 100_000 + 65 * size / put_there
    for _ in range(10):
        assert not put(record)
    assert record.lost == 11
    assert os.fstat(record.fds[0]).st_size == size
    # The recorder has taken it away
    with mmap.mmap(record.fds[1], CONTROL_SIZE) as shared:
        shared[TAKEN] = size.to_bytes(8, "little")
    assert put(record)
    assert record.lost == 11


def test_processes_count_for_themselves(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "LIMIT", -1)
    for pid in (100, 101, 100):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        assert not put(record)
    assert record.lost == 3


def test_memory_that_is_short_costs_the_record_and_not_the_call(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert not put(record)
        patch.setattr(os, "pwrite", lambda _fd, octets, _place: len(octets) - 1)
        assert not put(record)
    assert record.lost == 2
    assert put(record)


def test_record_that_is_closed_raises_nothing() -> None:
    record = Record()
    record.close()
    assert not put(record)


def test_settings_say_what_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    assert parse(path, "").record == RecordRules()
    text = "[record]\nrecord_calls = true\nrecord_dir = 'calls'\nrecord_days = 9\nrecord_megabytes = 50\nrecord_mask = 4"
    assert parse(path, text).record == RecordRules(True, tmp_path / "calls", 9, 50, 4)
