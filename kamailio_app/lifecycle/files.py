"""Files that are made once: whole or not at all, and never in the place of another."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.runtime.disk import hand_over

PUBLIC: Final = 0o644
PRIVATE: Final = 0o600


def write_new(path: Path, octets: bytes, mode: int = PUBLIC) -> None:
    """Write a file that was not there, with this mode (and the umask) from the first octet on; synchronized to the disk.

    It has its name when it is whole. What a crash leaves beside it nobody reads. Errors: `file_exists`, `file_unwritable`.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                hand_over(descriptor, path.parent)
                file.write(octets)
                file.flush()
                os.fsync(descriptor)
            os.link(new, path)
        finally:
            with suppress(OSError):
                new.unlink()
        synchronize(path.parent)
    except FileExistsError:
        raise failure("file_exists", path.name) from None
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error


def synchronize(directory: Path) -> None:
    """Its names, to the disk. Errors: OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
