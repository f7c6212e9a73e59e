"""From memory to disk, turn by turn: every call once, wherever the recorder is killed; a full disk; others who write."""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.runtime import record_store, recording
from kamailio_app.runtime.record import Record, RecordRules
from kamailio_app.runtime.record_index import Index
from kamailio_app.runtime.record_line import DAY
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.record_store import Place, Segment, Store, places
from kamailio_app.runtime.recording import Recording

from .recorded import NOON, TODAY, call_ids, calls, put, rules

TOMORROW = "calls-2026-12-02.jsonl"


class Said(list[str]):
    def __call__(self, level: str, text: str) -> None:
        self.append(f"{level}: {text}")


class Site:
    """A server's memory, and recorders one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = Record()
        self.said = Said()
        self.now = NOON
        self.rules = rules(directory)

    def recording(self, rules: RecordRules | None = None) -> Recording:
        ring = Ring(*self.record.fds)
        return Recording(ring, rules or self.rules, self.said, lambda: self.now)

    def run(self, rules: RecordRules | None = None) -> None:
        """A recorder that does all there is to do, and ends."""
        with closing(self.recording(rules)) as recorder:
            while recorder.turn():
                pass
            assert recorder.complete

    def put(self, *numbers: int, **fields: Any) -> None:
        for number in numbers:
            assert put(self.record, call_id=f"{number}", **fields)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "calls")
    yield made
    made.record.close()


def numbers(site: Site) -> list[int]:
    return [int(call_id) for call_id in call_ids(site.directory)]


def test_calls_are_written_in_their_order(site: Site) -> None:
    site.put(*range(100))
    site.run()
    site.put(*range(100, 200))
    site.run()
    assert numbers(site) == [*range(200)]
    assert (site.directory / TODAY).stat().st_mode & 0o007 == 0


def test_nothing_is_written_where_nothing_is_recorded(site: Site) -> None:
    site.run()
    assert calls(site.directory) == []
    assert places(site.directory) == []


def test_numbers_are_masked_on_disk(site: Site) -> None:
    site.put(1)
    site.run(rules(site.directory, mask=4))
    assert b"12155550121" not in (site.directory / TODAY).read_bytes()
    assert calls(site.directory)[0]["orig"] == "1215555xxxx"


def test_days_have_files_of_their_own(site: Site) -> None:
    midnight = NOON + DAY / 2
    for number in range(20):
        # Workers are not quite in step
        site.put(number, time=midnight + (0.5 if number % 3 else -0.5))
    site.run()
    assert sorted(numbers(site)) == [*range(20)]
    assert [place.name for place in places(site.directory)] == [TODAY, TOMORROW]
    assert {call["time"][:10] for call in calls(site.directory)[:7]} == {"2026-12-01"}


def test_index_of_a_day_that_is_over_is_completed(site: Site) -> None:
    site.put(1, 2, 3)
    site.run()
    assert not (site.directory / TODAY).with_suffix(".sqlite").exists()
    site.put(4, time=NOON + DAY)
    site.run()
    with Index((site.directory / TODAY).with_suffix(".sqlite")) as index:
        assert [run.ends for run in index.runs()] == [(site.directory / TODAY).stat().st_size]
    assert not (site.directory / TOMORROW).with_suffix(".sqlite").exists()


def test_index_that_somebody_removed_is_made_again(site: Site) -> None:
    site.put(1, 2, 3)
    site.run()
    site.put(4, time=NOON + DAY)
    site.run()
    index = (site.directory / TODAY).with_suffix(".sqlite")
    index.unlink()
    site.run()
    assert index.exists()


def test_torn_last_line_is_cut_and_said(site: Site) -> None:
    site.put(1)
    site.run()
    with (site.directory / TODAY).open("ab") as file:
        file.write(b'{"time":"2026-12-01T12:0')
    other = Site(site.directory)  # the server was started again
    other.put(2)
    other.run()
    assert numbers(site) == [1, 2]
    assert other.said == [f"info: record: {TODAY}: cut a last line of 24 octets that nobody completed"]
    other.record.close()


def test_frame_that_a_killed_worker_left_costs_no_other(site: Site) -> None:
    site.put(1)
    octets = os.pread(site.record.fds[0], 1 << 20, 0)
    os.pwrite(site.record.fds[0], octets[: len(octets) // 2], 0)
    site.put(2)
    site.run()
    assert numbers(site) == [1, 2]
    assert site.said == []
    # One that is nothing at all is said
    os.pwrite(site.record.fds[0], b"nothing\n", 0)
    site.put(3)
    site.run()
    assert numbers(site) == [1, 2, 3]
    assert site.said == ["err: record: 1 calls were not recorded: the process that wrote them was killed while it did"]


def test_frame_that_is_just_being_written_is_waited_for(site: Site) -> None:
    site.put(1)
    size = os.fstat(site.record.fds[0]).st_size
    site.put(2)
    frame = os.pread(site.record.fds[0], 1 << 20, size)
    os.ftruncate(site.record.fds[0], size + 10)
    with closing(site.recording()) as recorder:
        assert not recorder.turn()
        assert numbers(site) == [1]
        os.pwrite(site.record.fds[0], frame[10:], 0)
        assert not recorder.turn()
    assert numbers(site) == [1, 2]
    assert site.said == []


def test_more_than_one_chunk_is_written_in_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_CHUNK", 1000)
    site.put(*range(50))
    site.run()
    assert numbers(site) == [*range(50)]
    # Nobody wrote this: no frame is that long
    os.pwrite(site.record.fds[0], b"x" * 2500 + b"\n", 0)
    site.put(50)
    site.run()
    assert numbers(site) == [*range(51)]


# --- Killed -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """By SIGKILL: nothing is done any more, not even what stands in `finally`."""


class Sickle:
    """Kills at the n-th thing that leaves a trace: before it is done, after it, or within a write."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        self.fell = False
        self._on = True
        for owner, name in ((os, "ftruncate"), (os, "pwrite"), (Ring, "commit"), (Ring, "release"), (Segment, "sync")):
            patch.setattr(owner, name, self._around(getattr(owner, name)))
        patch.setattr(os, "write", self._torn(os.write))

    def _falls(self) -> bool:
        if not self._on:
            return False
        self.left -= 1
        self.fell = self.left <= 0
        return self.fell

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self._falls():
                raise Killed
            result = function(*arguments)
            if self._falls():
                raise Killed
            return result

        return call

    def _torn(self, write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def call(fd: int, octets: Any) -> int:
            if self._falls():
                write(fd, bytes(octets)[: len(octets) // 2])
                raise Killed
            return write(fd, octets)

        return call

    def rests(self) -> None:
        self._on = False


def kill(recorder: Recording) -> None:
    """What the kernel does for it."""
    if recorder._segment is not None:
        recorder._segment.close()
    recorder._store.release()


def test_killed_anywhere_every_call_is_written_once(tmp_path: Path) -> None:
    """Two days, frames out of order around midnight, a new file in the midst: whatever was done last before the kill."""
    kills = 0
    for at in itertools.count(1):
        site = Site(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recording, "_CHUNK", 2000)
            patch.setattr(record_store, "_MIN_FILE", 4000)
            patch.setattr(recording, "_SYNC_EVERY", 0.0)
            site.rules = rules(site.directory, megabytes=0)._replace(days=10_000)
            patch.setattr(Store, "retain", lambda *_arguments: [])
            site.put(*range(10))
            site.run()
            for number in range(10, 40):
                site.put(number, time=NOON + DAY / 2 + (number % 4 - 2) + (number - 10) / 10)
            sickle = Sickle(patch, at)
            recorder = site.recording()
            try:
                while recorder.turn():
                    pass
            except Killed:
                kills += 1
            sickle.rests()
            kill(recorder)
            site.put(*range(40, 45))
            site.run()
        assert sorted(numbers(site)) == [*range(45)], f"killed at {at}"
        assert not any("cut" in line for line in site.said)
        site.record.close()
        if not sickle.fell:
            break
    assert kills == at - 1 > 40


def test_killed_with_the_server_what_was_written_stays_and_is_whole(tmp_path: Path) -> None:
    for at in range(1, 30):
        site = Site(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch:
            site.put(*range(10))
            site.run()
            site.put(*range(10, 20))
            sickle = Sickle(patch, at)
            recorder = site.recording()
            with suppress(Killed):
                while recorder.turn():
                    pass
            sickle.rests()
            kill(recorder)
        another = Site(site.directory)
        another.put(20)
        another.run()
        found = numbers(site)
        assert found[:10] == [*range(10)]
        assert found[-1] == 20
        assert found[10:-1] == [*range(10, 10 + len(found) - 11)]
        for each in (site, another):
            each.record.close()


def test_killed_after_another_wrote_nothing_of_the_other_is_lost(tmp_path: Path) -> None:
    for at in range(1, 30):
        site, other = Site(tmp_path / str(at)), Site(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch:
            site.put(*range(10))
            site.run()
            other.put(*range(10, 15))
            other.run()
            site.put(*range(15, 20))
            sickle = Sickle(patch, at)
            recorder = site.recording()
            with suppress(Killed):
                while recorder.turn():
                    pass
            sickle.rests()
            kill(recorder)
            site.run()
        assert numbers(site) == [*range(20)], f"killed at {at}"
        for each in (site, other):
            each.record.close()
    assert not sickle.fell


# --- Others -------------------------------------------------------------------------------------------------------


def test_recorder_waits_for_another_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_PATIENCE", 0.0)
    other = Site(site.directory)
    other.put(1)
    first = other.recording()
    assert not first.turn()
    site.put(2)
    second = site.recording()
    for _ in range(3):
        assert not second.turn()
        assert not second.complete
    assert site.said == [f"err: record: another recorder writes to {site.directory}; calls wait in memory"]
    first.close()
    assert not second.turn()
    second.close()
    assert numbers(site) == [1, 2]
    other.record.close()


def test_what_another_wrote_meanwhile_is_not_cut(site: Site) -> None:
    site.put(1, 2)
    site.run()
    other = Site(site.directory)
    other.put(3, 4)
    other.run()
    site.put(5)
    site.run()
    assert numbers(site) == [1, 2, 3, 4, 5]
    assert site.said + other.said == []
    other.record.close()


def test_what_another_wrote_is_not_cut_after_trouble_either(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(1, 2)
    site.run()
    other = Site(site.directory)
    other.put(3, 4)
    other.run()
    site.put(5)
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "append", _full)
        recorder = site.recording()
        with pytest.raises(OSError, match="No space"):
            recorder.turn()
        kill(recorder)
    site.run()
    assert numbers(site) == [1, 2, 3, 4, 5]
    other.record.close()


def test_other_directory_is_begun_where_the_former_ended(site: Site, tmp_path: Path) -> None:
    site.put(1)
    site.run()
    site.put(2)
    site.run(rules(tmp_path / "other"))
    site.put(3)
    site.run()
    assert numbers(site) == [1, 3]
    assert call_ids(tmp_path / "other") == ["2"]


def test_file_that_is_taken_away_is_begun_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_SYNC_EVERY", 0.0)
    with closing(site.recording()) as recorder:
        site.put(1)
        assert not recorder.turn()
        (site.directory / TODAY).rename(site.directory / "moved")
        assert not recorder.turn()
        site.put(2)
        while recorder.turn() or not recorder.complete:
            pass
    assert numbers(site) == [2]
    assert site.said == [f"err: record: {TODAY} was taken away; it is begun again"]


# --- Trouble with the disk ----------------------------------------------------------------------------------------


def _full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("cut_fails", [False, True])
def test_full_disk_costs_nothing_when_there_is_room_again(site: Site, monkeypatch: pytest.MonkeyPatch, cut_fails: bool) -> None:
    site.put(1)
    with closing(site.recording()) as recorder:
        recorder.turn()
        site.put(2, 3)
        write = os.write

        def half(fd: int, octets: memoryview) -> int:
            if len(octets) < 300:
                _full()
            return write(fd, octets[:300])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            if cut_fails:
                patch.setattr(os, "ftruncate", _full)
            for _ in range(3):
                with pytest.raises(OSError, match="No space"):
                    recorder.turn()
            assert (site.directory / TODAY).read_bytes().endswith(b"\n") is not cut_fails
        assert not recorder.turn()
        site.put(4)
        assert not recorder.turn()
    assert numbers(site) == [1, 2, 3, 4]


def test_index_that_cannot_be_written_costs_no_record(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1000)
    site.put(*range(10))

    def full(*_arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with closing(site.recording()) as recorder:
        with monkeypatch.context() as patch:
            patch.setattr(Index, "add", full)
            for _ in range(3):
                recorder.turn()
        assert numbers(site) == [*range(10)]
        assert site.said == [f"err: record: index of {TODAY}: database or disk is full; it is made later"]
        # Later
        monkeypatch.setattr(recorder, "_index_from", 0.0)
        while recorder.turn():
            pass
    with Index((site.directory / TODAY).with_suffix(".sqlite")) as index:
        assert len(index.runs()) == 2


@pytest.mark.parametrize("good", [0, 100, 4096])
def test_index_that_is_damaged_is_made_again(site: Site, monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1000)
    site.put(*range(10))
    index = (site.directory / TODAY).with_suffix(".sqlite")
    with closing(site.recording()) as recorder:
        recorder.turn()
        octets = index.read_bytes()
        index.write_bytes(octets[:good] + b"\xff" * (len(octets) - good))
        site.put(*range(10, 20))
        for _ in range(20):
            recorder.turn()
    with Index(index) as read:
        assert sum(len(list(read.offsets(run.id, "dest", ["12155550131"]))) for run in read.runs()) >= 15
    assert numbers(site) == [*range(20)]


def test_index_of_lines_that_were_lost_is_forgotten_before_others_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1000)
    site.put(*range(10))
    site.run()
    # With the machine's power; the index was written, the lines were not
    file = site.directory / TODAY
    os.truncate(file, file.read_bytes().rfind(b"\n", 0, file.stat().st_size // 2) + 1)
    server = Site(site.directory)
    server.put(*range(90, 110), origid="later")
    server.run()
    server.record.close()
    with Index(file.with_suffix(".sqlite")) as index:
        indexed = [offset for run in index.runs() for offset in index.offsets(run.id, "origid", ["later"])]
        ends = index.runs()[0].ends
    lines = file.read_bytes()[:ends].split(b"\n")
    assert len(indexed) == len(set(indexed)) == sum(b'"later"' in line for line in lines) > 15


def test_memory_is_given_back(site: Site) -> None:
    site.put(*range(20_000))
    before = os.fstat(site.record.fds[0]).st_blocks * 512
    site.run()
    assert before > 3 << 20
    assert os.fstat(site.record.fds[0]).st_blocks * 512 < 1 << 20


def test_old_days_go(site: Site) -> None:
    site.put(1)
    site.run()
    site.put(2, time=NOON + 5 * DAY)
    site.now = NOON + 5 * DAY
    site.run(rules(site.directory, days=5))
    assert numbers(site) == [2]
    assert site.said == [f"info: record: {TODAY} removed: older than record_days, or more than record_megabytes"]


def test_record_takes_no_more_than_it_may(site: Site) -> None:
    limit = 10 << 20
    megabytes = rules(site.directory, megabytes=10)
    sizes = []
    with closing(site.recording(megabytes)) as recorder:
        for first in range(0, 60_000, 5000):
            site.put(*range(first, first + 5000))
            while recorder.turn():
                pass
            sizes.append(sum(file.stat().st_size for file in site.directory.iterdir()))
    assert max(sizes) < limit
    assert max(sizes) > limit * 0.7
    # The latest are there, without a gap
    found = numbers(site)
    assert found == [*range(found[0], 60_000)]
    assert Place.of(TODAY) not in places(site.directory)


def test_old_files_that_cannot_be_removed_are_said_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(recording, "_RETAIN_EVERY", 0.0)
    monkeypatch.setattr(Store, "retain", refused)
    with closing(site.recording()) as recorder:
        for number in range(3):
            site.put(number)
            recorder.turn()
    assert numbers(site) == [0, 1, 2]
    assert site.said == ["err: record: old files cannot be removed: [Errno 13] Permission denied"]
