"""The call record on disk: for each day files of JSON lines, `calls-2026-11-23.jsonl`, and beside each its index.

The lines are the record. One process writes at a time. A day that grows too large for one file goes on in
`calls-2026-11-23.2.jsonl`, so that old ones can go before the disk is full.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.runtime import record_index
from kamailio_app.runtime.record_index import RUN_OCTETS, Index
from kamailio_app.runtime.record_line import DAY

_NAME: Final = re.compile(r"calls-(\d{4}-\d\d-\d\d)(?:\.([1-9]\d{0,5}))?\.jsonl", re.ASCII)
_LOCK: Final = "lock"
_IDENTITY: Final = 16
_MAX_FILE: Final = 1 << 30
_MIN_FILE: Final = 1 << 20
_PARTS: Final = 8  # of what the record may take of the disk: a file is at most one
_LONGEST_LINE: Final = 1 << 16
_READ: Final = 1 << 20


class Place(NamedTuple):
    """Which file: days since 1970, and which one of that day. `Place()` is none."""

    day: int = 0
    part: int = 0

    @classmethod
    def of(cls, name: str) -> Place | None:
        """None if a file of this name is none of the record's."""
        match = _NAME.fullmatch(name)
        if not match:
            return None
        try:
            date = time.strptime(match[1], "%Y-%m-%d")
        except ValueError:
            return None
        return cls(timegm(date) // DAY, int(match[2] or 1))

    @property
    def name(self) -> str:
        date = time.strftime("%Y-%m-%d", time.gmtime(self.day * DAY))
        return f"calls-{date}.jsonl" if self.part == 1 else f"calls-{date}.{self.part}.jsonl"

    def file(self, directory: Path) -> Path:
        return directory / self.name

    def index_file(self, directory: Path) -> Path:
        return (directory / self.name).with_suffix(".sqlite")


def places(directory: Path) -> list[Place]:
    """All files of the record, the oldest first. Errors: OSError."""
    with os.scandir(directory) as entries:
        return sorted(place for entry in entries if (place := Place.of(entry.name)) is not None)


def whole_lines(file: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines between two places in an open file, each with where it begins and without its newline; a last one that does
    not end is left out. Errors: OSError.
    """
    rest = b""
    while begin < end and (octets := os.pread(file, min(_READ, end - begin), begin)):
        *lines, left = (rest + octets).split(b"\n")
        offset = begin - len(rest)
        for line in lines:
            yield offset, line
            offset += len(line) + 1
        begin, rest = begin + len(octets), left


class Segment:
    """One file, open to be written to. Errors: OSError; what was written then may be half a line, which `cut` takes away."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.place = place
        self._path, self._index_path = place.file(directory), place.index_file(directory)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.length = os.fstat(self._fd).st_size
        self._unsynced = False
        self._covered: int | None = None

    def cut(self, length: int | None = None) -> int:
        """Take away what is behind this length, or a last line that does not end: the octets that were."""
        size = os.fstat(self._fd).st_size
        if length is None or length > size:
            begin = max(0, size - _LONGEST_LINE)
            tail = os.pread(self._fd, size - begin, begin)
            length = begin + tail.rfind(b"\n") + 1
        if length < size:
            os.ftruncate(self._fd, length)
        self.length = length
        return size - length

    def append(self, octets: bytes) -> None:
        """Whole lines."""
        view = memoryview(octets)
        while view:
            view = view[os.write(self._fd, view) :]
        self.length += len(octets)
        self._unsynced = True

    def sync(self) -> None:
        """What was written outlives the machine's power from now on."""
        if self._unsynced:
            os.fdatasync(self._fd)
            self._unsynced = False

    @property
    def there(self) -> bool:
        """Is it the file of this name, or was that taken away?"""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False

    def index(self, *, all_of_it: bool = False) -> bool:
        """Index one run of lines if there are that many, or what there is: True if there may be more.

        Errors: sqlite3.Error.
        """
        least = 1 if all_of_it else RUN_OCTETS
        if self.length - (self._covered or 0) < least:
            return False
        with Index(self._index_path, writes=True) as index:
            covered = self._covered = index.covered(self.length)
            if self.length - covered < least:
                return False
            lines = []
            ends = covered
            for offset, line in whole_lines(self._fd, covered, self.length):
                lines.append((offset, line))
                ends = offset + len(line) + 1
                if ends - covered >= RUN_OCTETS:
                    break
            index.add(lines, ends if lines else self.length)
            self._covered = ends if lines else self.length
        return True

    def recall_index(self) -> None:
        """To be called before anything is added: an index of lines that were lost with the machine's power would be taken for
        one of those that come in their place.
        """
        if not self._index_path.exists():
            return
        try:
            with Index(self._index_path, writes=True) as index:
                self._covered = index.covered(self.length)
        except sqlite3.Error:
            self.forget_index()

    def forget_index(self) -> None:
        """It is damaged: made again by `index`."""
        self._covered = None
        record_index.remove(self._index_path)

    def close(self) -> None:
        os.close(self._fd)


class Store:
    """The directory, open to be written to by this process alone. `limit`: octets that the record may take."""

    def __init__(self, directory: Path, days: int, limit: int) -> None:
        self.directory = directory
        self._days = days
        self._limit = limit
        self._largest = max(_MIN_FILE, min(_MAX_FILE, limit // _PARTS))
        self._lock = -1

    def acquire(self) -> bool:
        """True if nobody else writes here now, and nobody else will until `release`. Errors: OSError."""
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        return True

    @property
    def last_writer(self) -> bytes:
        """The identity of whoever said last that it writes here; empty if nobody did."""
        return os.pread(self._lock, _IDENTITY, 0)

    @last_writer.setter
    def last_writer(self, identity: bytes) -> None:
        os.pwrite(self._lock, identity, 0)

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def place_for(self, day: int, current: Segment | None) -> Place:
        """Where the calls of this day go on. Errors: OSError."""
        if current is not None and current.place.day == day:
            full = current.length >= self._largest
            return Place(day, current.place.part + full)
        last = max((place for place in places(self.directory) if place.day == day), default=Place(day, 1))
        full = self._size(last) >= self._largest
        return Place(day, last.part + full)

    def retain(self, now: float, current: Place | None, reserve: int = 0) -> list[Place]:
        """Let the oldest files go, as far as days and octets demand, but never the current one. Gives those that went.

        Errors: OSError.
        """
        gone = []
        found = [place for place in places(self.directory) if place != current]
        total = sum(map(self._size, found)) + (self._size(current) if current else 0)
        for place in found:
            size = self._size(place)
            if place.day > int(now) // DAY - self._days and total <= self._limit - reserve:
                break
            place.file(self.directory).unlink(missing_ok=True)
            record_index.remove(place.index_file(self.directory))
            total -= size
            gone.append(place)
        return gone

    @property
    def reserve(self) -> int:
        """What one more file may take, with its index."""
        return self._largest + self._largest // 4

    def _size(self, place: Place) -> int:
        """With its index, in octets."""
        size = 0
        for path in (place.file(self.directory), place.index_file(self.directory)):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size
