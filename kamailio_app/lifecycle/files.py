"""Files that are made once: whole or not at all, and never in the place of another."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from kamailio_app.errors import failure

PUBLIC: Final = 0o644
PRIVATE: Final = 0o600


def write_new(path: Path, octets: bytes, mode: int = PUBLIC) -> None:
    """Write a file that was not there, with this mode (and the umask) from the first octet on; synchronized to the disk.

    Errors: `file_exists`, `file_unwritable`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise failure("file_exists", path.name) from None
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # It is ours, and nobody can use half of it
        with suppress(OSError):
            path.unlink()
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error
