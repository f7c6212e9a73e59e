"""The recorder's thread: begins and ends with the settings, goes on after trouble, writes what is left when the server ends."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamailio_app.runtime import record as record_module
from kamailio_app.runtime import recorder as recorder_module
from kamailio_app.runtime.record import Record, RecordRules
from kamailio_app.runtime.record_store import Segment
from kamailio_app.runtime.recorder import Recorder
from kamailio_app.runtime.recording import Recording

from .recorded import call_ids, put, rules

OFF = RecordRules()


def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


class Running:
    """A recorder beside the test; `said` in its thread."""

    def __init__(self, record: Record, directory: Path) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.recorder = Recorder(record.fds, lambda level, text: self.said.append(f"{level}: {text}"))

    def there(self, *numbers: int) -> None:
        wanted = [str(number) for number in numbers]
        until(lambda: self.directory.is_dir() and call_ids(self.directory) == wanted, "the calls on disk")

    def threads(self) -> int:
        return sum(thread.name == "recorder" for thread in threading.enumerate())


@pytest.fixture
def record() -> Iterator[Record]:
    with closing(Record()) as made:
        yield made


@pytest.fixture
def running(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(recorder_module, "_PAUSE", 0.05)
    made = Running(record, tmp_path / "calls")
    yield made
    if made.recorder._gone is None:
        made.recorder.finish(lambda: True)
    assert made.threads() == 0


def test_calls_are_on_disk_within_a_second(running: Running, record: Record) -> None:
    running.recorder.configure(rules(running.directory))
    for number in range(3):
        put(record, call_id=str(number))
        began = time.monotonic()
        running.there(*range(number + 1))
        assert time.monotonic() - began < 1
    assert running.said == []


def test_there_is_no_thread_where_nothing_is_recorded(running: Running, record: Record) -> None:
    running.recorder.configure(OFF)
    running.recorder.keep_running()
    assert running.threads() == 0
    assert not running.directory.exists()


def test_recording_is_turned_on_and_off(running: Running, record: Record, tmp_path: Path) -> None:
    running.recorder.configure(rules(running.directory))
    running.recorder.configure(rules(running.directory))
    put(record, call_id="1")
    running.there(1)
    put(record, call_id="2")
    running.recorder.configure(OFF)
    until(lambda: running.threads() == 0, "the thread's end")
    running.there(1, 2)
    put(record, call_id="3")
    running.recorder.configure(rules(tmp_path / "other"))
    until(lambda: (tmp_path / "other").exists() and call_ids(tmp_path / "other") == ["3"], "the calls in the other directory")
    running.there(1, 2)


def test_thread_that_ended_is_started_again(running: Running, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unexpected(BaseException):
        pass

    def broken(*_arguments: object, **_words: object) -> bool:
        raise Unexpected

    hooked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading, "excepthook", hooked.append)
        patch.setattr(Recording, "turn", broken)
        running.recorder.configure(rules(running.directory))
        until(lambda: hooked and running.threads() == 0, "the thread's end")
    put(record, call_id="1")
    running.recorder.keep_running()
    running.there(1)


def test_trouble_is_said_once_and_its_end_too(running: Running, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def full(*_arguments: object) -> None:
        tried.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Segment, "append", full)
        put(record, call_id="1")
        running.recorder.configure(rules(running.directory))
        until(lambda: len(tried) > 3, "several tries")
    put(record, call_id="2")
    running.there(1, 2)
    until(lambda: len(running.said) == 2, "the end of the trouble")
    assert running.said[0].startswith("err: record: OSError(28, 'No space left on device'); calls wait in memory")
    assert running.said[1] == "info: record: in use again"


def test_calls_that_were_not_recorded_are_said(running: Running, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_SAY_LOST_EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(record_module, "LIMIT", -1)
        assert not any(put(record) for _ in range(5))
    running.recorder.configure(rules(running.directory))
    until(lambda: running.said, "a line of the log")
    assert running.said == ["err: record: 5 calls were not recorded: the disk was too slow, or memory was short"]


def test_what_is_left_is_written_when_the_server_is_gone(running: Running, record: Record) -> None:
    running.recorder.configure(rules(running.directory))
    left = [3]

    def gone() -> bool:
        # Workers that outlive the process that kept us
        if left[0]:
            put(record, call_id=str(left[0]))
            left[0] -= 1
        return not left[0]

    for number in (5, 4):
        put(record, call_id=str(number))
    running.recorder.finish(gone)
    running.there(5, 4, 3, 2, 1)


def test_server_that_lives_is_not_waited_for(running: Running, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_LAST_WAIT", 0.3)
    running.recorder.configure(rules(running.directory))
    put(record, call_id="1")
    began = time.monotonic()
    running.recorder.finish(lambda: False)
    assert 0.3 <= time.monotonic() - began < 5
    running.there(1)


def test_disk_that_stays_full_is_given_up_in_the_end(running: Running, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder_module, "_LAST_WORK", 0.3)
    monkeypatch.setattr(Segment, "append", full)
    put(record)
    running.recorder.configure(rules(running.directory))
    began = time.monotonic()
    running.recorder.finish(lambda: True)
    assert time.monotonic() - began < 5


def test_recorder_of_a_server_that_was_ended_is_waited_for(running: Running, record: Record) -> None:
    """One drains, its successor begins: one after the other, and nothing is lost of either."""
    with closing(Record()) as former_record:
        former = Running(former_record, running.directory)
        former.recorder.configure(rules(running.directory))
        put(former_record, call_id="1")
        former.there(1)
        running.recorder.configure(rules(running.directory))
        put(record, call_id="3")
        put(former_record, call_id="2")
        former.there(1, 2)
        former.recorder.finish(lambda: True)
        running.there(1, 2, 3)
