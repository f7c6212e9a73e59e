"""The memory that the workers write the call record to (`record`), as the recorder sees it: read, remember how far, give back.

How far it was read and where that was written to are remembered together, in memory that outlives the recorder: one that takes
over begins exactly there.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.runtime.record import CONTROL_SIZE, IDENTITY, TAKEN, lost
from kamailio_app.runtime.record_store import Place

_GENERATION: Final = slice(64, 72)
_SLOTS: Final = (128, 192)
_MARK: Final = struct.Struct("<QQIIQ")
_PAGE: Final = mmap.ALLOCATIONGRANULARITY
_WORTH_IT: Final = 64 * _PAGE
_AT_ONCE: Final = 256 * _PAGE  # writers wait while memory is given back


class Mark(NamedTuple):
    """`taken`: octets of the memory that are on disk; `length`: of the file at `place`, in the directory `store`, with them."""

    taken: int = 0
    length: int = 0
    place: Place = Place()
    store: int = 0


def store_number(directory: Path) -> int:
    """By which a mark knows its directory."""
    return int.from_bytes(blake2b(os.fsencode(directory), digest_size=8).digest())


class Ring:
    """`memory` and `control` are file descriptors of `Record.fds`."""

    def __init__(self, memory: int, control: int) -> None:
        self._memory = memory
        self._shared = mmap.mmap(control, CONTROL_SIZE)
        self.identity = bytes(self._shared[IDENTITY])
        self.mark = self._read_mark()
        self._released = self._first()

    @property
    def lost(self) -> int:
        """Calls that were not recorded since the server started."""
        return lost(self._shared)

    def read(self, octets: int) -> bytes:
        """The next that are not on disk yet, at most so many."""
        return os.pread(self._memory, octets, self.mark.taken)

    def commit(self, mark: Mark) -> None:
        """The line is written: this is where the next recorder begins. A kill leaves this mark or the former one."""
        generation = int.from_bytes(self._shared[_GENERATION], "little") + 1
        _MARK.pack_into(self._shared, _SLOTS[generation % 2], mark.taken, mark.length, *mark.place, mark.store)
        self._shared[_GENERATION] = generation.to_bytes(8, "little")
        self._shared[TAKEN] = mark.taken.to_bytes(8, "little")
        self.mark = mark

    def release(self) -> None:
        """Give back the memory of what is on disk. Errors: OSError."""
        end = self.mark.taken // _PAGE * _PAGE
        while end - self._released >= _WORTH_IT:
            size = min(_AT_ONCE, end - self._released)
            with closing(mmap.mmap(self._memory, size, offset=self._released)) as pages:
                pages.madvise(mmap.MADV_REMOVE)
            self._released += size

    def close(self) -> None:
        self._shared.close()

    def _read_mark(self) -> Mark:
        generation = int.from_bytes(self._shared[_GENERATION], "little")
        taken, length, day, part, store = _MARK.unpack_from(self._shared, _SLOTS[generation % 2])
        return Mark(taken, length, Place(day, part), store)

    def _first(self) -> int:
        """The first octet whose memory was not given back: a recorder may have been ended just before."""
        try:
            return os.lseek(self._memory, 0, os.SEEK_DATA) // _PAGE * _PAGE
        except OSError:  # there is nothing
            return self.mark.taken // _PAGE * _PAGE
