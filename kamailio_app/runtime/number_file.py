"""Writes the file that `numbers` reads: complete beside its place, sealed, read back and compared, then renamed into it.

Nobody ever writes into a file that is in use: its readers have mapped it. So whoever carries such a file to another host uses
a tool that renames, as rsync and mv do, and none that overwrites, as cp and scp do. What was in place before is NAME.former.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import lmdb

from kamailio_app.errors import failure
from kamailio_app.runtime import number_seal
from kamailio_app.runtime.number_entries import Entries, Segment
from kamailio_app.runtime.numbers import ABOUT, BEHIND, CROWD, SEPARATOR, About, Numbers

_NUMBER: Final = struct.Struct(">Q")
_MOST: Final = 1 << 38  # octets that a file may have: address space, nothing else
_WRITTEN_OUT: Final = 200  # octets of customers' names in a segment; longer ones stand once, at the end
_SAMPLES: Final = 10_000


class _Writer:
    """Segments as LMDB wants them, and what there is to say about them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.written = self.shared = 0
        self.crowds: dict[bytes, bytes] = {}  # customers -> the key that they stand under
        self._octets: dict[tuple[int, ...], bytes] = {}  # of those who share numbers: mostly few

    def items(self, segments: Iterator[Segment]) -> Iterator[tuple[bytes, bytes]]:
        pack = _NUMBER.pack
        alone = [name.encode("ascii") for name in self.names]
        for first, last, customers in segments:
            self.written += 1
            yield pack(last), pack(first) + (alone[customers[0]] if len(customers) == 1 else self._together(customers))

    def _together(self, customers: tuple[int, ...]) -> bytes:
        self.shared += 1
        names = SEPARATOR.join(sorted(self.names[index] for index in customers)).encode("ascii")
        if len(names) <= _WRITTEN_OUT:
            return names
        return self.crowds.setdefault(names, CROWD + len(self.crowds).to_bytes(4, "big"))


def write(path: Path, entries: Entries, *, kind: str, source: str, now: float) -> About:
    """Put a list of `kind` into place, made at `now` of what `source` holds. A symbolic link stays one.

    Errors: `inventory_malformed` (see `Entries.segments`), `inventory_unreadable` if it cannot be written, if another
    import writes it just now, or if it reads back differently. The file that is there stays then.
    """
    place = Path(os.path.realpath(path))
    new = place.with_name(f"{place.name}.new")
    try:
        with _alone(new):
            about = _fill(new, entries, kind, source, now)
            number_seal.seal(new)
            _compare(new, entries, about)
            _as_before(new, place)
            _keep(place)
            new.replace(place)
            _sync(place.parent)
    except (OSError, lmdb.Error, ValueError) as error:
        raise failure("inventory_unreadable", f"{place}: {error}") from error
    return about


def examine(path: Path) -> None:
    """Every octet of the file is what was sealed. Errors: `inventory_unreadable`."""
    try:
        number_seal.check(path, path.stat().st_size, whole=True)
    except (OSError, ValueError) as error:
        raise failure("inventory_unreadable", f"{path}: {error}") from error


@contextmanager
def _alone(new: Path) -> Iterator[None]:
    """Nobody else writes `new`, which is empty at first; if it comes to nothing it is gone at the end. Errors: OSError."""
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        if not _locked(descriptor, new):
            raise OSError("another import writes it just now")
        os.ftruncate(descriptor, 0)
        with ExitStack() as undo:
            undo.callback(new.unlink, missing_ok=True)
            yield
            undo.pop_all()
    finally:
        os.close(descriptor)


def _locked(descriptor: int, new: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had the lock before may have renamed this very file into place: then it must not be touched any more
        return os.path.samestat(os.fstat(descriptor), os.stat(new))
    except (BlockingIOError, FileNotFoundError):
        return False


def _fill(new: Path, entries: Entries, kind: str, source: str, now: float) -> About:
    writer = _Writer(entries.names)
    environment = lmdb.open(os.fspath(new), map_size=_MOST, subdir=False, lock=False, sync=False, metasync=False)
    with closing(environment), environment.begin(write=True) as transaction:
        with closing(transaction.cursor()) as cursor:
            cursor.putmulti(writer.items(entries.segments()), append=True)
            # Keys of one length rise with the number they are made of
            cursor.putmulti([(name, BEHIND + names) for names, name in writer.crowds.items()], append=True)
        about = About(kind, source, now, len(entries), writer.written, len(set(entries.names) - {""}), writer.shared)
        transaction.put(ABOUT, json.dumps(asdict(about)).encode())
    return about


def _compare(new: Path, entries: Entries, about: About) -> None:
    """What was written is what is read, by the reader that calls have. Errors: OSError, ValueError."""
    number_seal.check(new, new.stat().st_size, whole=True)
    with closing(Numbers(new)) as numbers:
        if numbers.about != about:
            raise ValueError(f"it reads back differently: {numbers.error or numbers.about}")
        for customer, number in entries.sample(_SAMPLES):
            if not numbers.holds(number) or (customer and customer not in numbers.owners(number)):
                raise ValueError(f"it reads back differently: {customer} has lost {number}")


def _as_before(new: Path, place: Path) -> None:
    """Who may read the former file may read the new one. Errors: OSError."""
    try:
        before = place.stat()
    except FileNotFoundError:
        return
    new.chmod(stat.S_IMODE(before.st_mode))
    with suppress(PermissionError):  # who may not give files away leaves it his own
        os.chown(new, before.st_uid, before.st_gid)


def _keep(place: Path) -> None:
    """The former list stays as NAME.former: to go back to, and so that no call waits until the last process that had it mapped
    has given its pages back, which takes 20 ms for a million numbers.
    """
    former = place.with_name(f"{place.name}.former")
    with suppress(OSError):  # a file system without hard links has no former list
        if place.exists():
            former.unlink(missing_ok=True)
            former.hardlink_to(place)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
