"""Where in a file of the record the calls of a number, an origid or a Call-ID lie: one SQLite file beside it.

Made of the file's lines and nothing else: what is missing is made up for, what is damaged is made again, and what is not
indexed yet is found by reading it. Lines are indexed in runs of some ten thousand, each sorted and put behind the one before:
a tree that grows at its end only is written once, where random keys would write all of it again and again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from kamailio_app.runtime.record_line import call_of, mask_of

KINDS: Final = ("origid", "call_id", "orig", "dest")
RUN_OCTETS: Final = 12 << 20
FIND: Final = "SELECT offset FROM entry WHERE run = ? AND key = ?"

_TABLES: Final = (
    # `ends`: where the run's last line ends in the file; `masks`: bit N for numbers whose last N digits are masked
    "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, ends INTEGER, first TEXT, last TEXT, masks INTEGER)",
    "CREATE TABLE IF NOT EXISTS entry (run INTEGER, key INTEGER, offset INTEGER, PRIMARY KEY (run, key, offset)) WITHOUT ROWID",
)
_VERSION: Final = 1
_WRITER_WAITS: Final = 0.5  # seconds, for those who read
_READER_WAITS: Final = 5.0
_MAX_MASK: Final = 15


class Run(NamedTuple):
    """Lines that were indexed together. `first` and `last`: the earliest and latest of their times."""

    id: int
    ends: int
    first: str
    last: str
    masks: int


def key_of(kind: str, value: str) -> int:
    """Short, for a small index: whoever finds a line by it looks whether it is the one."""
    return (KINDS.index(kind) << 30 | crc32(value.encode("utf-8", "replace")) >> 2) - (1 << 31)


class Index:
    """Errors: sqlite3.Error, OSError."""

    def __init__(self, path: Path, *, writes: bool = False) -> None:
        self.path = path
        self._database = _writable(path) if writes else _readable(path)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_error: object) -> None:
        self._database.close()

    # --- Writing ------------------------------------------------------------------------------------------------

    def covered(self, size: int) -> int:
        """Up to where a file of this size is indexed. What is indexed and not there any more is forgotten."""
        with self._database:
            self._database.execute("DELETE FROM entry WHERE run IN (SELECT id FROM run WHERE ends > ?)", (size,))
            self._database.execute("DELETE FROM run WHERE ends > ?", (size,))
        ends: int = self._database.execute("SELECT coalesce(max(ends), 0) FROM run").fetchone()[0]
        return ends

    def add(self, lines: Iterable[tuple[int, bytes]], ends: int) -> None:
        """A run: whole lines, each with where it begins."""
        keys: list[list[tuple[int, int]]] = [[] for _ in KINDS]
        masks, first, last = 0, "~", ""
        for offset, text in lines:
            call = call_of(text)
            if call is None:
                continue
            first, last = min(first, call["time"]), max(last, call["time"])
            for kind, found in zip(KINDS, keys, strict=True):
                value = call.get(kind)
                if isinstance(value, str) and value:
                    found.append((key_of(kind, value), offset))
                    if kind in ("orig", "dest"):
                        masks |= 1 << min(mask_of(value), _MAX_MASK)
        with self._database:
            # Sorted in parts: the kinds are apart in the keys, and a thread that sorts lets nobody else run
            id_ = self._database.execute(
                "INSERT INTO run (ends, first, last, masks) VALUES (?, ?, ?, ?)", (ends, first, last, masks)
            ).lastrowid
            for found in keys:
                found.sort()
                rows = ((id_, key, offset) for key, offset in found)
                self._database.executemany("INSERT OR IGNORE INTO entry VALUES (?, ?, ?)", rows)

    # --- Reading ------------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """The latest first."""
        return [Run(*row) for row in self._database.execute("SELECT id, ends, first, last, masks FROM run ORDER BY id DESC")]

    def offsets(self, run: int, kind: str, values: Sequence[str]) -> Iterator[int]:
        """Where lines with one of these values may begin."""
        for value in values:
            for (offset,) in self._database.execute(FIND, (run, key_of(kind, value))):
                yield offset

    def plan(self) -> str:
        """How SQLite goes about it."""
        return " ".join(str(row[3]) for row in self._database.execute(f"EXPLAIN QUERY PLAN {FIND}", (0, 0)))


def _writable(path: Path) -> sqlite3.Connection:
    database = _opened(path, _WRITER_WAITS)
    if database is None:
        # Damaged, or of another version: it is made of the lines again
        remove(path)
        database = _opened(path, _WRITER_WAITS)
    if database is None:
        raise sqlite3.DatabaseError(f"{path}: cannot be made")
    return database


def _opened(path: Path, seconds: float) -> sqlite3.Connection | None:
    """None if that is no index of ours. Errors: sqlite3.OperationalError if it cannot be opened now."""
    database = sqlite3.connect(path, timeout=seconds)
    try:
        # A journal that is gone when the transaction is over: whoever may read the directory may read the index
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {_VERSION}")
            version = _VERSION
    except sqlite3.OperationalError:
        database.close()
        raise
    except sqlite3.DatabaseError:
        database.close()
        return None
    if version != _VERSION:
        database.close()
        return None
    return database


def _readable(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_READER_WAITS)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            raise sqlite3.DatabaseError(f"{path}: not of this version")
    except sqlite3.Error:
        database.close()
        raise
    return database


def remove(path: Path) -> None:
    """The index and what SQLite may have left beside it."""
    for each in (path, path.with_name(f"{path.name}-journal")):
        with suppress(FileNotFoundError):
            each.unlink()
