"""Passwords and MAC keys: from a file that others cannot read, or from the environment; never from a command line.

What is wrong with one is said without a word of it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.runtime.keystore import FORBIDDEN_MODE

_MAY_NOT: Final = "It may be there, and this user may not read it: `namei -l` on the file shows where that ends."
_MAX_FILE: Final = 1 << 16
_NO_TEXT: Final = "\ufffd"


def secret(path: Path | None, variable: str, what: str, option: str = "") -> str:
    """The file's first line, or the environment variable where no file is set; `what` it is, and the `option` that names its
    file, for the failure.

    Errors: `secret_missing`, `secret_permissions`.
    """
    value = _first_line(path, what) if path is not None else os.environ.get(variable, "")
    if not value:
        unset = f"neither {option or 'a file'} is set, nor {variable} in the environment"
        where = unset if path is None else f"the first line of {path} is empty"
        raise failure("secret_missing", f"{what}: {where}")
    if not value.isprintable() or _NO_TEXT in value:
        raise failure("secret_missing", f"{what}: {path or variable} holds what is no text")
    return value


def _first_line(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & FORBIDDEN_MODE:
                raise failure("secret_permissions", f"{what}: {path} has mode {stat.S_IMODE(mode):o}")
            octets = file.read(_MAX_FILE)
    except OSError as error:
        advice = _MAY_NOT if isinstance(error, PermissionError) else ""
        raise failure("secret_missing", f"{what}: {path}: {error.strerror}", advice) from error
    # Replaced, not refused: the exception would quote it
    return octets.partition(b"\n")[0].removesuffix(b"\r").decode("utf-8", "replace")
