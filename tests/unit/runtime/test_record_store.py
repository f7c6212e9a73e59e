"""The files of the record: names, torn ends, one writer, parts of a large day, old ones that go; and their index."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamailio_app.runtime import record_index, record_store
from kamailio_app.runtime.record_index import Index, key_of
from kamailio_app.runtime.record_line import DAY
from kamailio_app.runtime.record_store import Place, Segment, Store, places, whole_lines

from .recorded import NOON, ORIGID, TODAY

DAY_NUMBER = int(NOON) // DAY
PLACE = Place(DAY_NUMBER, 1)


def line(number: int = 1, second: int = 0, orig: str = "12155550121") -> bytes:
    call = {
        "time": f"2026-12-01T12:00:{second:02}.000Z",
        "call_id": f"{number}@x",
        "orig": orig,
        "dest": "12155550131",
        "origid": ORIGID,
    }
    return json.dumps(call).encode() + b"\n"


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    with closing(Segment(tmp_path, PLACE)) as made:
        yield made


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (PLACE, TODAY),
        (Place(DAY_NUMBER, 2), "calls-2026-12-01.2.jsonl"),
        (Place(0, 1), "calls-1970-01-01.jsonl"),
        (Place(11016, 999999), "calls-2000-02-29.999999.jsonl"),
    ],
)
def test_names_of_files_and_back(place: Place, name: str) -> None:
    assert place.name == name
    assert Place.of(name) == place


@pytest.mark.parametrize(
    "name",
    ["calls-2026-02-30.jsonl", "calls-2026-12-01.sqlite", "calls-2026-12-01.0.jsonl", "lock", "calls-2026-12-01.jsonl.gz", ""],
)
def test_others_files_are_none_of_the_record(name: str) -> None:
    assert Place.of(name) is None


def test_files_are_in_order_of_time(tmp_path: Path) -> None:
    wanted = [Place(9, 1), Place(10, 1), Place(10, 2), Place(10, 10), Place(11, 1)]
    for place in reversed(wanted):
        place.file(tmp_path).touch()
    (tmp_path / "notes.txt").touch()
    assert places(tmp_path) == wanted


# --- One file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "kept"),
    [
        (b"", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"torn", b""),
        (b"a\n" + b"b" * 9000, b"a\n"),
        (b"a\n" + b"\0" * 5000, b"a\n"),
    ],
)
def test_last_line_that_does_not_end_is_cut(tmp_path: Path, octets: bytes, kept: bytes) -> None:
    (tmp_path / TODAY).write_bytes(octets)
    with closing(Segment(tmp_path, PLACE)) as segment:
        assert segment.cut() == len(octets) - len(kept)
        assert segment.length == len(kept)
        segment.append(b"next\n")
    assert (tmp_path / TODAY).read_bytes() == kept + b"next\n"


def test_what_is_behind_a_length_is_cut(segment: Segment, tmp_path: Path) -> None:
    segment.append(b"one\ntwo\nthree\n")
    assert segment.cut(4) == 10
    assert (tmp_path / TODAY).read_bytes() == b"one\n"
    # One that is shorter than it was, after all: whole lines stay
    assert segment.cut(100) == 0
    assert segment.length == 4


def test_file_that_was_taken_away_is_noticed(segment: Segment, tmp_path: Path) -> None:
    there = [segment.there]
    (tmp_path / TODAY).rename(tmp_path / "elsewhere")
    there.append(segment.there)
    (tmp_path / TODAY).touch()
    there.append(segment.there)
    assert there == [True, False, False]


@pytest.mark.parametrize("read", [1, 2, 3, 5, 1000])
def test_lines_are_whole_however_they_are_read(tmp_path: Path, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "_READ", read)
    (tmp_path / "x").write_bytes(b"one\n\ntwo\nthree\nto")
    file = os.open(tmp_path / "x", os.O_RDONLY)
    try:
        assert list(whole_lines(file, 0, 100)) == [(0, b"one"), (4, b""), (5, b"two"), (9, b"three")]
        assert list(whole_lines(file, 5, 11)) == [(5, b"two")]
        assert list(whole_lines(file, 5, 5)) == []
    finally:
        os.close(file)


# --- The directory ------------------------------------------------------------------------------------------------


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "new" / "calls", 10, 1 << 20), Store(tmp_path / "new" / "calls", 10, 1 << 20)
    assert one.acquire()
    assert one.last_writer == b""
    one.last_writer = b"1" * 16
    assert not other.acquire()
    one.release()
    one.release()
    assert other.acquire()
    assert other.last_writer == b"1" * 16
    other.release()
    assert (tmp_path / "new" / "calls").stat().st_mode & 0o007 == 0


def test_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "calls").touch()
    with pytest.raises(OSError, match="calls"):
        Store(tmp_path / "calls", 10, 1 << 20).acquire()


def test_large_day_goes_on_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "_MIN_FILE", 100)
    store = Store(tmp_path, 10, 800)
    assert store.place_for(DAY_NUMBER, None) == PLACE
    with closing(Segment(tmp_path, PLACE)) as segment:
        segment.append(b"x" * 98 + b"\n")
        assert store.place_for(DAY_NUMBER, segment) == PLACE
        segment.append(b"\n")
        assert store.place_for(DAY_NUMBER, segment) == Place(DAY_NUMBER, 2)
        assert store.place_for(DAY_NUMBER + 1, segment) == Place(DAY_NUMBER + 1, 1)
    # Also after a restart
    assert store.place_for(DAY_NUMBER, None) == Place(DAY_NUMBER, 2)
    Place(DAY_NUMBER, 2).file(tmp_path).write_bytes(b"x" * 50)
    assert store.place_for(DAY_NUMBER, None) == Place(DAY_NUMBER, 2)


def fill(directory: Path, *days: int, octets: int = 100) -> None:
    for day in days:
        Place(day, 1).file(directory).write_bytes(b"x" * octets)
        Place(day, 1).index_file(directory).write_bytes(b"x" * octets)


def test_days_that_are_over_go(tmp_path: Path) -> None:
    fill(tmp_path, *range(DAY_NUMBER - 5, DAY_NUMBER + 1))
    (tmp_path / "notes.txt").touch()
    store = Store(tmp_path, 3, 1 << 30)
    assert store.retain(NOON, PLACE) == [Place(day, 1) for day in range(DAY_NUMBER - 5, DAY_NUMBER - 2)]
    assert places(tmp_path) == [Place(day, 1) for day in range(DAY_NUMBER - 2, DAY_NUMBER + 1)]
    assert len(list(tmp_path.iterdir())) == 7
    assert store.retain(NOON, PLACE) == []


def test_oldest_go_when_it_is_too_much(tmp_path: Path) -> None:
    fill(tmp_path, *range(DAY_NUMBER - 5, DAY_NUMBER + 1))
    store = Store(tmp_path, 100, 1000)
    assert store.retain(NOON, PLACE) == [Place(DAY_NUMBER - 5, 1)]
    assert store.retain(NOON, PLACE, 400) == [Place(DAY_NUMBER - 4, 1), Place(DAY_NUMBER - 3, 1)]
    # The one in use stays, whatever it takes
    assert store.retain(NOON, PLACE, 10_000) == [Place(DAY_NUMBER - 2, 1), Place(DAY_NUMBER - 1, 1)]
    assert places(tmp_path) == [PLACE]


# --- The index ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> int:
    size = 10 * len(line())
    monkeypatch.setattr(record_store, "RUN_OCTETS", size)
    return size


def offsets(directory: Path, kind: str, *values: str) -> list[int]:
    with Index(PLACE.index_file(directory)) as index:
        return sorted(offset for run in index.runs() for offset in index.offsets(run.id, kind, values))


def test_lines_are_indexed_run_by_run(segment: Segment, tmp_path: Path, small_runs: int) -> None:
    size = len(line())
    for number in range(1, 26):
        segment.append(line(number % 10, number))
    assert [segment.index() for _ in range(4)] == [True, True, False, False]
    with Index(PLACE.index_file(tmp_path)) as index:
        assert [(run.ends, run.first[-7:-5], run.last[-7:-5], run.masks) for run in index.runs()] == [
            (20 * size, "11", "20", 1),
            (10 * size, "01", "10", 1),
        ]
    assert offsets(tmp_path, "call_id", "3@x") == [2 * size, 12 * size]
    assert offsets(tmp_path, "origid", ORIGID) == [number * size for number in range(20)]
    assert offsets(tmp_path, "orig", "12155550131") == []
    assert offsets(tmp_path, "dest", "nobody", "12155550131") == offsets(tmp_path, "orig", "12155550121")
    # The rest, when the day is over
    assert [segment.index(all_of_it=True) for _ in range(2)] == [True, False]
    assert len(offsets(tmp_path, "origid", ORIGID)) == 25


def test_index_goes_on_where_it_ended(tmp_path: Path, small_runs: int) -> None:
    for _ in range(3):
        with closing(Segment(tmp_path, PLACE)) as segment:
            for _ in range(10):
                segment.append(line())
            assert segment.index()
            assert not segment.index()
    assert len(offsets(tmp_path, "call_id", "1@x")) == 30


def test_lines_that_are_none_are_left_out_and_covered(tmp_path: Path) -> None:
    (tmp_path / TODAY).write_bytes(line(1) + b"\0" * 100 + b"\n" + b'{"time": 1}\n' + line(2) + b'{"torn')
    with closing(Segment(tmp_path, PLACE)) as segment:
        assert [segment.index(all_of_it=True) for _ in range(3)] == [True, True, False]
        with Index(PLACE.index_file(tmp_path)) as index:
            assert index.runs()[0].ends == segment.length
        assert len(offsets(tmp_path, "origid", ORIGID)) == 2


def test_masks_of_a_run_are_known(segment: Segment, tmp_path: Path) -> None:
    segment.append(line(orig="1215555xxxx") + line(orig="12155550121") + line(orig="x" * 40))
    segment.index(all_of_it=True)
    with Index(PLACE.index_file(tmp_path)) as index:
        assert [run.masks for run in index.runs()] == [1 | 1 << 4 | 1 << 15]


def test_what_is_indexed_and_not_there_is_forgotten(tmp_path: Path, small_runs: int) -> None:
    size = len(line())
    with closing(Segment(tmp_path, PLACE)) as segment:
        for number in range(30):
            segment.append(line(number % 10))
        while segment.index():
            pass
    # A machine that lost its power may have kept the index and not the lines
    os.truncate(tmp_path / TODAY, 15 * size)
    with closing(Segment(tmp_path, PLACE)) as segment:
        segment.recall_index()
        for _ in range(20):
            segment.append(line(9))
        while segment.index(all_of_it=True):
            pass
    assert offsets(tmp_path, "origid", ORIGID) == [number * size for number in range(35)]
    assert offsets(tmp_path, "call_id", "9@x") == [9 * size, *(number * size for number in range(15, 35))]


def test_index_that_cannot_be_looked_at_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Segment(tmp_path, PLACE)) as segment:
        segment.recall_index()  # there is none
        segment.append(line())
        segment.index(all_of_it=True)
    with closing(Segment(tmp_path, PLACE)) as segment, monkeypatch.context() as patch:
        patch.setattr(record_index, "_WRITER_WAITS", 0.01)
        with closing(sqlite3.connect(PLACE.index_file(tmp_path))) as other:
            other.execute("BEGIN EXCLUSIVE")
            segment.recall_index()
        assert not PLACE.index_file(tmp_path).exists()
        assert segment.index(all_of_it=True)
    assert offsets(tmp_path, "origid", ORIGID) == [0]


@pytest.mark.parametrize("octets", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_index_that_is_none_is_made_again(segment: Segment, tmp_path: Path, octets: bytes) -> None:
    PLACE.index_file(tmp_path).write_bytes(octets)
    segment.append(line())
    assert segment.index(all_of_it=True)
    assert offsets(tmp_path, "origid", ORIGID) == [0]


def test_index_of_another_version_is_made_again(segment: Segment, tmp_path: Path) -> None:
    with closing(sqlite3.connect(PLACE.index_file(tmp_path))) as database:
        database.execute("CREATE TABLE run (something TEXT)")
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="version"):
        Index(PLACE.index_file(tmp_path))
    segment.append(line())
    assert segment.index(all_of_it=True)
    assert offsets(tmp_path, "origid", ORIGID) == [0]


def test_index_is_read_while_it_is_written(segment: Segment, tmp_path: Path, small_runs: int) -> None:
    for _ in range(20):
        segment.append(line())
    assert segment.index()
    with Index(PLACE.index_file(tmp_path)) as reader:
        found = iter(index_rows(reader))
        next(found)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            segment.index()
        assert len(list(found)) == 9
    assert segment.index()


def index_rows(index: Index) -> Iterator[int]:
    return index.offsets(1, "origid", [ORIGID])


def test_question_is_answered_by_the_key(segment: Segment, tmp_path: Path) -> None:
    segment.append(line())
    segment.index(all_of_it=True)
    with Index(PLACE.index_file(tmp_path)) as index:
        assert index.plan() == "SEARCH entry USING PRIMARY KEY (run=? AND key=?)"


def test_keys_of_the_kinds_are_apart() -> None:
    keys = [key_of(kind, "12155550121") for kind in record_index.KINDS]
    assert len(set(keys)) == 4
    assert all(-(1 << 31) <= key < 1 << 31 for key in keys)


def test_index_that_cannot_be_written_is_an_error(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    segment.append(line())
    monkeypatch.setattr(os, "pread", full)
    with pytest.raises(OSError, match="No space"):
        segment.index(all_of_it=True)
