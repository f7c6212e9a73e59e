"""The call record as the SIP workers see it: memory that all of them write to, and that the recorder reads (`recorder`).

One write per call, to memory: no lock of ours, no disk, nobody woken. Who made a call is known even if every process of the
server is killed a second later, because the recorder runs beside it and has the same memory.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

LIMIT: Final = 64 << 20  # octets that nobody has taken away yet; beyond, calls are not recorded, and counted
FIELDS: Final = 15
# A frame: BEGIN, the fields with SEPARATOR between them, END. None of the three is in a field, so that a frame that its
# writer did not live to complete costs no other
BEGIN, SEPARATOR, END = "\x1e", "\x1f", "\n"
MAX_FIELD: Final = 256

CONTROL_SIZE: Final = 8192
IDENTITY: Final = slice(0, 16)  # of this memory, at random
TAKEN: Final = slice(16, 24)  # octets that the recorder has taken away, for the workers
_COUNTERS, _COUNTER, _COUNTER_PLACES = 4096, struct.Struct("<Q"), 512  # calls that were not recorded, by process

_LOOKS_EVERY: Final = 64
_NOT_IN_A_FIELD: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class RecordRules(NamedTuple):
    """[record]: whether, where and for how long. `mask`: digits at the end of numbers that are not written down."""

    calls: bool = False
    directory: Path = Path("/var/lib/kamailio-stirshaken/calls")
    days: int = 400
    megabytes: int = 20_000
    mask: int = 0


class Record:
    """Made before the server forks; any of its processes puts calls there."""

    def __init__(self) -> None:
        self._memory = os.memfd_create("stirshaken-record")
        fcntl.fcntl(self._memory, fcntl.F_SETFL, os.O_APPEND)
        self._control = os.memfd_create("stirshaken-record-control")
        os.ftruncate(self._control, CONTROL_SIZE)
        self._shared = mmap.mmap(self._control, CONTROL_SIZE)
        self._shared[IDENTITY] = os.urandom(16)
        self._left = 0  # calls until the next look at how far the recorder is

    @property
    def fds(self) -> tuple[int, int]:
        """For the recorder: the memory, and how far it was read."""
        return self._memory, self._control

    def put(  # noqa: PLR0917 - by position: keywords cost every call
        self,
        time: float,
        call_id: str,
        trunk: str,
        customer: str,
        orig: str,
        dest: str,
        attest: str,
        origid: str,
        spc: str,
        fingerprint: str,
        rule: str,
        us: int,
        token: str,
        result: str,
        x5u: str = "",
    ) -> bool:
        """Record a call: `time` in seconds since 1970, `us` the microseconds that it took. Never waits, never raises.

        False if it was not recorded: the recorder is too far behind, or memory is short.
        """
        line = (
            f"\x1e{time:.3f}\x1f{call_id}\x1f{trunk}\x1f{customer}\x1f{orig}\x1f{dest}\x1f{attest}\x1f{origid}\x1f{spc}"
            f"\x1f{fingerprint}\x1f{rule}\x1f{us}\x1f{token}\x1f{result}\x1f{x5u}\n"
        )
        if line.count("\x1f") != FIELDS - 1 or line.find("\n") != len(line) - 1 or line.rfind("\x1e") or len(line) > _PLAIN:
            texts = (call_id, trunk, customer, orig, dest, attest, origid, spc, fingerprint, rule, str(us), token, result, x5u)
            line = _cleaned(time, texts)
        octets = line.encode("utf-8", "replace")
        self._left -= 1
        try:
            if self._left < 0 and not self._room():
                return self._lost()
            # Linux appends wherever O_APPEND is set; os.write would hold the place in the file that all processes share
            return os.pwrite(self._memory, octets, 0) == len(octets) or self._lost()
        except (OSError, ValueError):  # no memory; closed
            return self._lost()

    @property
    def lost(self) -> int:
        """Calls that were not recorded since the server started."""
        return lost(self._shared)

    def close(self) -> None:
        self._shared.close()
        for fd in self.fds:
            os.close(fd)
        self._memory = self._control = -1

    def _room(self) -> bool:
        written = os.fstat(self._memory).st_size
        if written - int.from_bytes(self._shared[TAKEN], "little") > LIMIT:
            return False  # and looks again with the next call
        self._left = _LOOKS_EVERY
        return True

    def _lost(self) -> bool:
        # Each process its own counter, as far as there are places: nobody counts for another at the same time
        place = _COUNTERS + os.getpid() % _COUNTER_PLACES * _COUNTER.size
        with suppress(ValueError):  # closed
            _COUNTER.pack_into(self._shared, place, _COUNTER.unpack_from(self._shared, place)[0] + 1)
        return False


def lost(shared: mmap.mmap) -> int:
    """What all processes have counted."""
    return sum(struct.unpack_from(f"<{_COUNTER_PLACES}Q", shared, _COUNTERS))


_PLAIN: Final = 2048  # a frame of more characters has a field that is too long


def _cleaned(time: float, texts: tuple[str, ...]) -> str:
    """The frame of a call with a field that no frame can hold."""
    return f"{BEGIN}{time:.3f}{SEPARATOR}{SEPARATOR.join(map(clean, texts))}{END}"


def clean(text: str) -> str:
    """As it is recorded if it does not fit into a frame as it is."""
    return _NOT_IN_A_FIELD.sub("?", text[:MAX_FIELD])
