"""The seal at the end of a file of numbers: that it is one of ours and whole, before LMDB is let near it.

LMDB maps a file and trusts what is in it; a page that is not there kills the process. The seal is written last, says how many
octets the whole file has, and holds the digest of everything before it: readers compare the size, which takes no time, and
whoever writes or examines a file compares the digest too.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import Final

_MAGIC: Final = b"kamailio-stirshaken num1"
_SEAL: Final = struct.Struct(">24sQ32s")  # what this is, octets of the whole file, SHA-256 of what is before
SIZE: Final = _SEAL.size
_CHUNK: Final = 1 << 20


def seal(path: Path) -> None:
    """Seal a file that nobody else has yet, and see it on the disk. Errors: OSError."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.write(_SEAL.pack(_MAGIC, size + SIZE, _digest(path, size)))
        file.flush()
        os.fsync(file.fileno())


def check(path: Path, size: int, *, whole: bool = False) -> None:
    """A file of `size` octets has our seal, which says so; if `whole`, its content is what was sealed.

    Errors: OSError, ValueError.
    """
    with path.open("rb") as file:
        file.seek(max(0, size - SIZE))
        found = file.read(SIZE)
    if len(found) != SIZE or _SEAL.unpack(found)[:2] != (_MAGIC, size):
        raise ValueError("it is not one of ours, or cut short")
    if whole and _SEAL.unpack(found)[2] != _digest(path, size - SIZE):
        raise ValueError("it is damaged")


def _digest(path: Path, size: int) -> bytes:
    digest = sha256()
    with path.open("rb") as file:
        while size and (chunk := file.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.digest()
