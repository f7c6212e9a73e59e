"""Finding calls in the record, beside the recorder that goes on writing: by origid, number or Call-ID.

What is indexed is looked up, the rest is read. Each line is compared with what was asked for, so the index may err on the side
of too much, and a damaged one costs time only.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.runtime.record import clean
from kamailio_app.runtime.record_index import RUN_OCTETS, Index
from kamailio_app.runtime.record_line import DAY, call_of, mask_of, masked
from kamailio_app.runtime.record_store import Place, places, whole_lines

NUMBERS: Final = ("orig", "dest")
_RAREST_FIRST: Final = ("call_id", "origid", "dest", "orig")
_MASKS: Final = range(16)
_LINE: Final = 4096
_LONGEST_LINE: Final = 1 << 16


class Question(NamedTuple):
    """`words`: by name (origid, call_id, orig, dest), all of which a call must have. Times in seconds since 1970, UTC."""

    words: Mapping[str, str]
    since: float = 0.0
    until: float = 253_402_300_799.0
    limit: int = 100


class Found(NamedTuple):
    """The latest calls, at most `limit` of them, in the order of their times."""

    calls: list[dict[str, Any]]
    more: bool = False  # there are earlier ones
    masked: bool = False  # some bear numbers of which only the beginning is known
    unindexed: tuple[str, ...] = ()  # files that had to be read


class _Search:
    """One question, made ready."""

    def __init__(self, question: Question) -> None:
        self.since, self.until = _text(question.since), _text(question.until)
        self._first_day, self._last_day = int(question.since) // DAY, int(question.until) // DAY
        self._words = {kind: value for kind in _RAREST_FIRST if (value := question.words.get(kind))}
        self._every = every = {kind: self._values(kind, value, _MASKS) for kind, value in self._words.items()}
        self._patterns = [
            re.compile(f'"{kind}":(?:{"|".join(re.escape(quoted(value)) for value in values)})'.encode())
            for kind, values in every.items()
        ]

    def concerns(self, place: Place) -> bool:
        return self._first_day <= place.day <= self._last_day

    def by_index(self, index: Index) -> Iterator[int]:
        """Where the calls may be, the latest first."""
        for run in index.runs():
            if run.last < self.since or run.first > self.until:
                continue
            masks = [digits for digits in _MASKS if run.masks >> digits & 1]
            yield from sorted(self._in_run(index, run.id, masks), reverse=True)

    def _in_run(self, index: Index, run: int, masks: list[int]) -> set[int]:
        found: set[int] | None = None
        for kind, value in self._words.items():
            offsets = index.offsets(run, kind, self._values(kind, value, masks))
            found = set(offsets) if found is None else found.intersection(offsets)
            if not found:
                break  # the others need not be looked up
        return found or set()

    def by_reading(self, file: int, begin: int, end: int) -> list[int]:
        """The same, of lines that are not indexed."""
        lines = whole_lines(file, begin, end)
        found = [offset for offset, line in lines if all(pattern.search(line) for pattern in self._patterns)]
        return found[::-1]

    def asked_for(self, line: bytes) -> dict[str, Any] | None:
        """The call of this line if it is one."""
        call = call_of(line)
        if call is None or not self.since <= call["time"] <= self.until:
            return None
        return call if all(call.get(kind) in values for kind, values in self._every.items()) else None

    @staticmethod
    def _values(kind: str, value: str, masks: Iterable[int]) -> list[str]:
        """How it may stand there."""
        if kind in NUMBERS:
            return sorted({value, *(masked(value, digits) for digits in masks)})
        return sorted({value, clean(value)})


def search(directory: Path, question: Question) -> Found:
    """Errors: `record_unreadable`."""
    if not any(question.words.values()):
        return Found([])
    search_ = _Search(question)
    calls: list[dict[str, Any]] = []
    unindexed = []
    try:
        for place in reversed(places(directory)):
            if not search_.concerns(place) or len(calls) > question.limit:
                continue
            found, read = _in_file(directory, place, search_, question.limit + 1 - len(calls))
            calls += found
            if read > 2 * RUN_OCTETS:
                unindexed.append(place.name)
    except OSError as error:
        raise failure("record_unreadable", str(error)) from error
    more = len(calls) > question.limit
    calls = sorted(calls[question.limit - 1 :: -1], key=lambda call: str(call["time"]))
    asked = {kind: question.words[kind] for kind in NUMBERS if question.words.get(kind)}
    partly = any(mask_of(call[kind]) and call[kind] != number for call in calls for kind, number in asked.items())
    return Found(calls, more, partly, tuple(unindexed))


def _in_file(directory: Path, place: Place, search_: _Search, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The latest calls of one file, and how many of its octets had to be read for want of an index."""
    try:
        file = os.open(place.file(directory), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # it was the oldest, and has gone
        return [], 0
    try:
        size = os.fstat(file).st_size
        try:
            with Index(place.index_file(directory)) as index:
                return _with_index(file, size, index, search_, limit)
        except sqlite3.Error:  # none yet, being made, or damaged
            return _calls_at(file, search_.by_reading(file, 0, size), search_, limit), size
    finally:
        os.close(file)


def _with_index(file: int, size: int, index: Index, search_: _Search, limit: int) -> tuple[list[dict[str, Any]], int]:
    runs = index.runs()
    covered = min(runs[0].ends, size) if runs else 0
    calls = _calls_at(file, search_.by_reading(file, covered, size), search_, limit)
    if len(calls) < limit:
        calls += _calls_at(file, search_.by_index(index), search_, limit - len(calls))
    return calls, size - covered


def _calls_at(file: int, offsets: Iterable[int], search_: _Search, limit: int) -> list[dict[str, Any]]:
    calls = []
    for offset in offsets:
        call = search_.asked_for(_line_at(file, offset))
        if call is not None:
            calls.append(call)
            if len(calls) == limit:
                break
    return calls


def _line_at(file: int, offset: int) -> bytes:
    """Without its newline; empty if none ends there."""
    for octets in (_LINE, _LONGEST_LINE):
        line, newline, _rest = os.pread(file, octets, offset).partition(b"\n")
        if newline:
            return line
    return b""


def _text(seconds: float) -> str:
    """As times stand in the record, to compare with."""
    whole, _, thousandths = f"{seconds:.3f}".partition(".")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(int(whole)))}.{thousandths}Z"
