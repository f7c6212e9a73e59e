"""A list of numbers, looked up while a call waits: who may use them (inventory), or that they never call (do-not-originate).

One LMDB file, written by `number_file`, mapped by every process and shared by all in memory. It is never changed: a new one is
renamed into its place. Each process opens it at its first look-up, never before the fork, and looks once a second whether
there is another one. What has no seal (`number_seal`) is not opened.

The file: numbers lie in segments that do not overlap; the key is the last number of a segment, the value begins with the first
one. So the first key that is not below a number belongs to the one segment that can hold it. A number is eight octets, its
length before its digits: 911 and 0911 are two numbers.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

import lmdb

from kamailio_app.errors import StirError, failure
from kamailio_app.runtime import number_seal

LONGEST: Final = 15  # digits of a number: E.164
WIDTH: Final = 8  # octets of a number in the file
ABOUT: Final = b"\x00about"  # before all numbers
CROWD: Final = b"\xff"  # behind all numbers: customers who are too many to be written again in each segment
BEHIND: Final = b"\xff" * WIDTH  # the first number of what is no segment
SEPARATOR: Final = ","
INVENTORY: Final = "inventory"
DO_NOT_ORIGINATE: Final = "do-not-originate"
_TRIES: Final = 5  # to open a file whose name goes to another one meanwhile


@dataclass(frozen=True, slots=True)
class About:
    """What the file says of itself. `kind`: `INVENTORY` or `DO_NOT_ORIGINATE`; `source`: whence; `made`: when, in seconds."""

    kind: str
    source: str
    made: float
    entries: int
    segments: int
    customers: int
    shared: int


class _Signature(NamedTuple):
    """Which file it is, and whether somebody wrote into it."""

    device: int
    inode: int
    size: int
    modified: int


class _File:
    """A file that has our seal, mapped. LMDB opens a file only once in a process."""

    def __init__(self, path: Path, signature: _Signature) -> None:
        self.signature = signature
        self._environment = lmdb.open(
            os.fspath(path), map_size=signature.size, subdir=False, readonly=True, create=False, lock=False
        )
        with ExitStack() as undo:
            undo.callback(self.close)
            pages, octets = self._environment.info()["last_pgno"] + 1, self._environment.stat()["psize"]
            if pages * octets + number_seal.SIZE > signature.size:
                raise ValueError("it is damaged")
            # The file never changes, so one look at it lasts as long as it is open
            self.transaction = self._environment.begin()
            self.about = About(**json.loads(self.transaction.get(ABOUT, b"")))
            undo.pop_all()

    def close(self) -> None:
        self._environment.close()


# By process and file: two lists may be the same file, and so are those of the settings before and after a reload
_OPEN: Final[WeakValueDictionary[tuple[int, _Signature], _File]] = WeakValueDictionary()


class Numbers:
    """The list at `path`; without a path, or as long as there is no file, it is empty. For one thread of each process.

    With `kind` (`INVENTORY`, `DO_NOT_ORIGINATE`) a file of the other kind is refused: who mixes them up signs nobody's numbers.
    `error` says what is wrong at present, None if nothing: `inventory_unreadable`. It stays the same object until the
    trouble changes. A file that is damaged or goes away leaves the former one in use.
    """

    __slots__ = ("_cursor", "_file", "_kind", "_path", "_process", "_second", "error")

    def __init__(self, path: Path | None, kind: str = "") -> None:
        self._path = path
        self._kind = kind
        self._process = 0
        self._second: int | None = None  # in which it was looked at last
        self._file: _File | None = None
        self._cursor: Any = None
        self.error: StirError | None = None

    def owners(self, number: str) -> tuple[str, ...]:
        """The customers who may use a canonical number, by name. Any text may be asked for: nobody has it."""
        value = self._find(number)
        if value is None:
            return ()
        names = value[WIDTH:]
        if names[:1] == CROWD:
            names = self._crowd(names)
        return tuple(names.decode("ascii", "replace").split(SEPARATOR)) if names else ()

    def holds(self, number: str) -> bool:
        """Whether the number is in the list."""
        return self._find(number) is not None

    def refresh(self, now: float) -> None:
        """Look whether there is another file, once in each second. `now` in seconds, of any clock."""
        # Whoever asks at the beginning of each second, as `Signing` does, is never early
        if self._process != os.getpid() or int(now) != self._second:
            self.look()
            self._second = int(now)

    def look(self) -> None:
        """The same at once."""
        if self._process != os.getpid():
            self._begin()
        else:
            self._look()

    @property
    def about(self) -> About | None:
        """What the file in use says of itself; None if there is none."""
        if self._process != os.getpid():
            self._begin()
        return self._file.about if self._file is not None else None

    def close(self) -> None:
        """Let the file go. The next look-up opens it again."""
        self._cursor = self._file = None
        self._process = 0

    def _find(self, number: str) -> bytes | None:
        """The segment that holds the number: its first number, its customers."""
        if self._process != os.getpid():
            self._begin()
        length = len(number)
        if self._cursor is None or length > LONGEST or not number.isascii() or not number.isdigit():
            return None
        key = (length << 56 | int(number)).to_bytes(WIDTH, "big")
        try:
            if not self._cursor.set_range(key):
                return None
            value: bytes = self._cursor.value()
        except lmdb.Error as error:
            self._lose(error)
            return None
        return value if value[:WIDTH] <= key else None

    def _crowd(self, name: bytes) -> bytes:
        assert self._file is not None
        try:
            return self._file.transaction.get(name, BEHIND)[WIDTH:]
        except lmdb.Error as error:
            self._lose(error)
            return b""

    def _begin(self) -> None:
        """The first look-up of this process. What the process before the fork had opened is not ours to use."""
        if self._file is not None:
            self._file.close()
        self._cursor = self._file = None
        self._process = os.getpid()
        self._look()

    def _look(self) -> None:
        if self._path is None:
            return
        try:
            signature = _signature(self._path)
            if self._file is None or signature != self._file.signature:
                self._replace(self._path, signature)
            elif self._cursor is None:  # it has a defect, and it is still the same one
                return
            self.error = None
        except OSError as error:
            self._say(error.strerror or str(error))
        except (lmdb.Error, ValueError, TypeError) as error:
            self._say(str(error))

    def _replace(self, path: Path, signature: _Signature) -> None:
        if self._file is not None and self._file.signature.inode == signature.inode:
            # Written in place: what is mapped is not what had the seal, and what is gone from it would kill us
            self._cursor = self._file = None
        file = _open(path)
        if self._kind not in ("", file.about.kind):
            raise ValueError(f"it is a list of the kind {file.about.kind}, not {self._kind}")
        self._cursor, self._file = file.transaction.cursor(), file

    def _lose(self, error: lmdb.Error) -> None:
        """The disk has a defect, as it seems. Nothing more is read from this file."""
        self._say(str(error))
        self._cursor = None

    def _say(self, reason: str) -> None:
        error = failure("inventory_unreadable", f"{self._path}: {reason}")
        if str(error) != str(self.error):
            self.error = error


def _signature(path: Path) -> _Signature:
    """Errors: OSError, ValueError."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no file")
    return _Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _open(path: Path) -> _File:
    """Errors: OSError, lmdb.Error, ValueError, TypeError."""
    for _ in range(_TRIES):
        signature = _signature(path)
        file = _OPEN.get((os.getpid(), signature))
        if file is not None:
            return file
        try:
            number_seal.check(path, signature.size)
            file = _File(path, signature)
        except (OSError, lmdb.Error, ValueError, TypeError):
            if _signature(path) == signature:
                raise
            continue
        # LMDB takes a name, and the name may have gone to another file meanwhile
        if _signature(path) == signature:
            _OPEN[os.getpid(), signature] = file
            return file
        file.close()
    raise ValueError("it is replaced all the time")
