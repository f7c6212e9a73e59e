"""Chains into publication_dir, pairs into certificate_dir, and out again: each file whole or not at all.

A file that is there is never written over: a changed chain has another NAME, and so another URL (RFC 8224 7.3). At no moment
does a reader see half of a file, or a key without its chain.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from kamailio_app.errors import StirError, failure
from kamailio_app.lifecycle.files import synchronize
from kamailio_app.runtime.disk import hand_over, make_directory

_CHAIN_MODE: Final = 0o644
_KEY_MODE: Final = 0o640  # for Kamailio's group, which the directory has
_MAX_FILE: Final = 1 << 20


def read(path: Path) -> bytes:
    """Errors: `file_unreadable`."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise failure("file_unreadable", f"{path}: {error.strerror}") from error


def holds(path: Path, octets: bytes) -> bool:
    """Whether the file is there with just these octets. Errors: `file_unreadable`."""
    try:
        return path.stat().st_size == len(octets) and read(path) == octets
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failure("file_unreadable", f"{path}: {error.strerror}") from error


def publish(directory: Path, name: str, chain: bytes) -> bool:
    """The chain as NAME.pem, for everybody to read; False if it was there.

    Errors: `publication_differs`, `file_unreadable`, `file_unwritable`.
    """
    try:
        return _put(directory / f"{name}.pem", chain, _CHAIN_MODE)
    except StirError as error:
        if error.token != "file_exists":
            raise
        raise failure("publication_differs", error.detail) from None


def install(directory: Path, name: str, key: bytes, chain: bytes, group: int | None = None) -> None:
    """The pair as NAME.pem and NAME.key: the chain first, as a key is never alone. What is there of it already may stay.

    `group`: who may read the key; None: that of the directory. Errors: `file_exists` (with other octets), `file_unreadable`,
    `file_unwritable`.
    """
    _put(directory / f"{name}.pem", chain, _CHAIN_MODE, group)
    _put(directory / f"{name}.key", key, _KEY_MODE, group)


def installed(directory: Path, name: str, key: bytes, chain: bytes) -> bool:
    """Whether just this pair is there. Errors: `file_unreadable`."""
    return holds(directory / f"{name}.pem", chain) and holds(directory / f"{name}.key", key)


def tidy(directory: Path, name: str) -> None:
    """What an interrupted `install` left beside the pair. Errors: `file_unwritable`."""
    for end in ("pem", "key"):
        remove(_beside(directory / f"{name}.{end}"))


def withdraw(directory: Path, name: str) -> None:
    """The pair, the key first. What is not there is no error. Errors: `file_unwritable`."""
    tidy(directory, name)
    remove(directory / f"{name}.key")
    remove(directory / f"{name}.pem")


def remove(path: Path) -> None:
    """Errors: `file_unwritable`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error


def keep(directory: Path, name: str, chain: bytes) -> None:
    """A retired chain: what was signed with it may be asked for years later. The name may have been another's before.

    Errors: `file_unreadable`, `file_unwritable`.
    """
    try:
        make_directory(directory, 0o700)
    except OSError as error:
        raise failure("file_unwritable", f"{directory}: {error.strerror}") from error
    for path in _numbered(directory, name):
        try:
            _put(path, chain, _CHAIN_MODE)
        except StirError as error:
            if error.token != "file_exists":
                raise
        else:
            return


def kept(directory: Path, name: str) -> Path | None:
    """The chain of that name that was kept last."""
    last = None
    for path in _numbered(directory, name):
        if not path.exists():
            break
        last = path
    return last


def _numbered(directory: Path, name: str) -> Iterator[Path]:
    yield directory / f"{name}.pem"
    yield from (directory / f"{name}~{number}.pem" for number in count(2))  # no pair is called so


def _put(path: Path, octets: bytes, mode: int, group: int | None = None) -> bool:
    """False if it was there with these octets."""
    if holds(path, octets):
        remove(_beside(path))  # of one who was interrupted
        return False
    try:
        _link(path, octets, mode, group)
    except FileExistsError:
        raise failure("file_exists", f"{path} holds something else") from None
    return True


def _link(path: Path, octets: bytes, mode: int, group: int | None = None) -> None:
    """Written beside, with group and mode, and only then given its name. Errors: FileExistsError, `file_unwritable`."""
    new = _beside(path)
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                hand_over(descriptor, path.parent)
                group = path.parent.stat().st_gid if group is None else group
                if os.fstat(descriptor).st_gid != group:
                    os.fchown(descriptor, -1, group)
                os.fchmod(descriptor, mode)
                file.write(octets)
                file.flush()
                os.fsync(descriptor)
            os.link(new, path)
        finally:
            new.unlink()
        synchronize(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error


def _beside(path: Path) -> Path:
    """No reader takes it for anything."""
    return path.with_name(f"{path.name}.new")
