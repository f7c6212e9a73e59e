"""The memory of the record as the recorder has it: read from where the last one ended, given back, never torn by a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.runtime import record_ring
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.record_ring import Mark, Ring, store_number
from kamailio_app.runtime.record_store import Place

from .recorded import put


@pytest.fixture
def record() -> Iterator[Record]:
    with closing(Record()) as made:
        yield made


def held(record: Record) -> int:
    """Octets of memory that are in use."""
    return os.fstat(record.fds[0]).st_blocks * 512


def fill(record: Record, octets: int) -> int:
    while os.fstat(record.fds[0]).st_size < octets:
        assert put(record)
    return os.fstat(record.fds[0]).st_size


def test_what_was_committed_is_what_the_next_begins_with(record: Record) -> None:
    put(record, call_id="first")
    with closing(Ring(*record.fds)) as ring:
        assert ring.mark == Mark()
        first = len(ring.read(1 << 20))
        assert len(ring.read(10)) == 10
        marks = [Mark(first, 100, Place(20788, 1), 7), Mark(first, 100, Place(20789, 2), 1 << 60)]
        for mark in marks:
            ring.commit(mark)
            with closing(Ring(*record.fds)) as another:
                assert another.mark == mark
                assert another.identity == ring.identity
        put(record, call_id="second")
        assert b"second" in ring.read(1 << 20)
        assert b"first" not in ring.read(1 << 20)


def test_kill_within_a_commit_leaves_the_former_mark(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    good, torn = Mark(10, 100, Place(20788, 1), 7), Mark(99, 999, Place(20789, 9), 9)

    class Killed(Exception):
        pass

    class Struct:
        """The slot is written, and then no more."""

        @staticmethod
        def pack_into(*arguments: Any) -> None:
            written(*arguments)
            raise Killed

    written = record_ring._MARK.pack_into
    with closing(Ring(*record.fds)) as ring:
        ring.commit(good)
        with monkeypatch.context() as patch:
            patch.setattr(record_ring, "_MARK", Struct)
            with pytest.raises(Killed):
                ring.commit(torn)
        with closing(Ring(*record.fds)) as another:
            assert another.mark == good


def test_memory_is_given_back(record: Record) -> None:
    size = fill(record, 5 << 20)
    assert held(record) >= 5 << 20
    with closing(Ring(*record.fds)) as ring:
        ring.commit(Mark(size - 100))
        rest = ring.read(1 << 20)
        ring.release()
        assert held(record) < 1 << 20
        assert ring.read(1 << 20) == rest
        assert len(rest) == 100
        # And nobody gives back what is not read
        put(record)
        assert ring.read(1 << 20).startswith(rest)


def test_memory_that_a_killed_recorder_did_not_give_back_is_given_back_by_the_next(record: Record) -> None:
    size = fill(record, 2 << 20)
    with closing(Ring(*record.fds)) as killed:
        killed.commit(Mark(size))
    size = fill(record, 3 << 20)
    with closing(Ring(*record.fds)) as ring:
        ring.commit(Mark(size))
        ring.release()
    assert held(record) < 1 << 20


def test_directories_have_different_numbers() -> None:
    numbers = {store_number(Path(name)) for name in ("/a", "/b", "/a/b", "/\udcff")}
    assert len(numbers) == 4
    assert all(0 <= number < 1 << 64 for number in numbers)
