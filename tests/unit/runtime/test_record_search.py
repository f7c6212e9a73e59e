"""Calls are found whether they are indexed or not yet, masked, or the index is gone; the latest of many; nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.errors import StirError
from kamailio_app.runtime import record_index, record_search, record_store
from kamailio_app.runtime.record import Record, clean
from kamailio_app.runtime.record_index import Index
from kamailio_app.runtime.record_line import DAY
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.record_search import Found, Question, search
from kamailio_app.runtime.recording import Recording

from .recorded import CALL, NOON, ORIGID, TODAY, put, rules


class Archive:
    """A directory with calls that a recorder wrote."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._record = Record()
        self.number = 0

    def add(self, *, mask: int = 0, index: bool = True, **fields: Any) -> str:
        """One call; gives its Call-ID."""
        self.number += 1
        call_id = str(fields.setdefault("call_id", f"{self.number}@x"))
        assert put(self._record, **fields)
        with closing(Recording(Ring(*self._record.fds), rules(self.directory, mask=mask), lambda *_said: None)) as recorder:
            while recorder.turn(index=index):
                pass
        return call_id

    def find(self, *, since: float = 0.0, until: float = 1e10, limit: int = 100, **words: str) -> list[str]:
        return [call["call_id"] for call in self.search(since=since, until=until, limit=limit, **words).calls]

    def search(self, *, since: float = 0.0, until: float = 1e10, limit: int = 100, **words: str) -> Found:
        return search(self.directory, Question(words, since, until, limit))

    def close(self) -> None:
        self._record.close()


@pytest.fixture(params=["indexed", "read", "both"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """All lines are indexed one by one, or none, or in runs of some."""
    monkeypatch.setattr(record_store, "RUN_OCTETS", {"indexed": 1, "read": 1 << 30, "both": 1000}[request.param])
    with closing(Archive(tmp_path)) as made:
        yield made


def test_calls_are_found_by_each_word(archive: Archive) -> None:
    first = archive.add(orig="1201", dest="1301", origid="aa")
    second = archive.add(orig="1202", dest="1301", origid="bb")
    third = archive.add(orig="1201", dest="1302", origid="cc")
    for number in range(10):
        archive.add(orig=f"99{number}", dest=f"88{number}", origid=f"dd{number}")
    assert archive.find(orig="1201") == [first, third]
    assert archive.find(dest="1301") == [first, second]
    assert archive.find(origid="bb") == [second]
    assert archive.find(call_id=third) == [third]
    assert archive.find(orig="1201", dest="1301") == [first]
    assert archive.find(orig="1202", dest="1302") == []
    assert archive.find(orig="1301") == []
    assert archive.find(orig="120") == []
    assert archive.find(orig="") == []
    assert archive.find() == []
    assert archive.search(origid="aa").calls == [
        CALL | {"time": "2026-12-01T12:00:00.000Z", "call_id": first, "orig": "1201", "dest": "1301", "origid": "aa"}
    ]


def test_times_bound_what_is_found(archive: Archive) -> None:
    ids = [archive.add(time=NOON + second) for second in range(10)]
    assert archive.find(origid=ORIGID, since=NOON + 3, until=NOON + 5) == ids[3:6]
    assert archive.find(origid=ORIGID, since=NOON + 3.001, until=NOON + 4.999) == ids[4:5]
    assert archive.find(origid=ORIGID, since=NOON + 9.5) == []
    assert archive.find(origid=ORIGID, until=NOON - 1) == []


def test_days_are_searched_all_and_only_those_asked_for(archive: Archive) -> None:
    ids = [archive.add(time=NOON + day * DAY) for day in range(5)]
    assert archive.find(origid=ORIGID) == ids
    assert archive.find(origid=ORIGID, since=NOON + DAY - 1, until=NOON + 2 * DAY) == ids[1:3]
    (archive.directory / TODAY).write_bytes(b"\xff" * 10)  # that of the first day
    assert archive.find(origid=ORIGID, since=NOON + DAY) == ids[1:]


def test_latest_are_found_if_there_are_many(archive: Archive) -> None:
    ids = [archive.add(time=NOON + number * DAY / 10) for number in range(25)]
    found = archive.search(origid=ORIGID, limit=7)
    assert ([call["call_id"] for call in found.calls], found.more) == (ids[-7:], True)
    found = archive.search(origid=ORIGID, limit=25)
    assert ([call["call_id"] for call in found.calls], found.more) == (ids, False)


def test_masked_numbers_are_found_by_what_is_left_of_them(archive: Archive) -> None:
    before = archive.add(orig="12155550121")
    masked = [archive.add(orig="12155550121", mask=4), archive.add(orig="12155559999", mask=4)]
    more = archive.add(orig="12155550121", mask=2)
    archive.add(orig="12155560121", mask=4)
    archive.add(orig="12155550199", mask=0)
    found = archive.search(orig="12155550121")
    assert [call["call_id"] for call in found.calls] == [before, *masked, more]
    assert found.masked
    assert not archive.search(call_id=masked[0]).masked
    # As they stand there
    found = archive.search(orig="1215555xxxx")
    assert ([call["call_id"] for call in found.calls], found.masked) == (masked, False)
    assert archive.find(orig="x") == []


@pytest.mark.parametrize("call_id", ['"', "\\", "a b", "\N{SNOWMAN}", '","orig":"1201', "x" * 3000, "\n", ".*", "%", "'"])
def test_strange_call_ids_are_found(archive: Archive, call_id: str) -> None:
    archive.add(call_id="other")
    archive.add(call_id=call_id)
    assert archive.find(call_id=call_id) in ([call_id], [clean(call_id)])
    assert archive.find(orig="1201") == []


def test_what_stands_elsewhere_in_a_line_is_not_found(archive: Archive) -> None:
    archive.add(call_id="1201", trunk="1201", rule='"orig":"1201"')
    assert archive.find(orig="1201") == []
    assert archive.find(dest="1201") == []
    assert archive.find(call_id="1201") == ["1201"]


def test_key_of_another_value_finds_nothing_else(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_index, "crc32", lambda _octets: 7)
    ids = [archive.add(orig=f"120{number}") for number in range(10)]
    assert archive.find(orig="1203") == ids[3:4]


def test_random_records_are_found_as_by_reading_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 3000)
    dice = random.Random(1)
    with closing(Archive(tmp_path)) as archive:
        calls = []
        for _ in range(150):
            fields: dict[str, Any] = {
                "time": NOON + dice.randrange(3 * DAY),
                "orig": f"1{dice.randrange(5)}",
                "dest": f"1{dice.randrange(5)}",
                "origid": f"{dice.randrange(9)}",
            }
            calls.append(fields | {"call_id": archive.add(**fields)})
        for _ in range(200):
            words = {name: dice.choice(calls)[name] for name in dice.sample(["orig", "dest", "origid", "call_id"], 2)}
            since, until = sorted(NOON + dice.randrange(3 * DAY) for _ in range(2))
            wanted = {
                call["call_id"]
                for call in calls
                if since <= call["time"] <= until and all(call[name] == value for name, value in words.items())
            }
            found = archive.find(since=since, until=until, limit=1000, **words)
            assert set(found) == wanted
            assert len(found) == len(wanted)


# --- Beside the recorder, and after trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [None, b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_index_that_is_damaged_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, octets: bytes | None) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1)
    monkeypatch.setattr(record_search, "RUN_OCTETS", 1)
    with closing(Archive(tmp_path)) as archive:
        ids = [archive.add() for _ in range(5)]
        assert archive.search(origid=ORIGID).unindexed == ()
        index = (tmp_path / TODAY).with_suffix(".sqlite")
        index.unlink() if octets is None else index.write_bytes(octets)
        found = archive.search(origid=ORIGID)
        assert [call["call_id"] for call in found.calls] == ids
        assert found.unindexed == (TODAY,)


def test_index_that_errs_midway_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1)
    with closing(Archive(tmp_path)) as archive:
        ids = [archive.add(origid=f"{number % 2}") for number in range(300)]
        index = (tmp_path / TODAY).with_suffix(".sqlite")
        octets = index.read_bytes()
        assert len(octets) > 8 * 4096
        index.write_bytes(octets[: 4 * 4096] + b"\xff" * (len(octets) - 4 * 4096))
        assert archive.find(origid="1", limit=1000) == ids[1::2]


def test_line_that_is_being_written_is_no_call_yet(archive: Archive) -> None:
    call_id = archive.add()
    with (archive.directory / TODAY).open("ab") as file:
        file.write(f'{{"time":"2026-12-01T12:00:00.000Z","call_id":"2@x","origid":"{ORIGID}"'.encode())
    assert archive.find(origid=ORIGID) == [call_id]


def test_file_that_goes_meanwhile_is_gone(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add()
    later = archive.add(time=NOON + DAY)
    found = record_store.places(archive.directory)
    (archive.directory / TODAY).unlink()
    monkeypatch.setattr(record_search, "places", lambda _directory: found)
    assert archive.find(origid=ORIGID) == [later]


def test_search_changes_nothing(archive: Archive) -> None:
    archive.add()
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in archive.directory.iterdir()}
    assert archive.find(origid=ORIGID)
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in archive.directory.iterdir()} == before


def test_offset_behind_the_end_is_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "RUN_OCTETS", 1)
    with closing(Archive(tmp_path)) as archive:
        ids = [archive.add() for _ in range(3)]
        size = (tmp_path / TODAY).stat().st_size
        os.truncate(tmp_path / TODAY, size - 1)
        assert archive.find(origid=ORIGID) == ids[:2]


def test_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StirError) as refused:
        search(tmp_path / "nowhere", Question({"orig": "1"}))
    assert refused.value.token == "record_unreadable"
    assert "nowhere" in refused.value.detail


def test_reader_sees_no_index_that_is_half_made(tmp_path: Path) -> None:
    with closing(Archive(tmp_path)) as archive:
        call_id = archive.add()
        with Index((tmp_path / TODAY).with_suffix(".sqlite"), writes=True):
            assert archive.find(origid=ORIGID) == [call_id]
