"""What outlives a restart: certificates in one SQLite file, trust list and CRL as files beside it.

A cache, and written as one: whatever goes wrong with the disk costs a fetch, never a call. Used by the fetch process alone,
but for `read_state`, by which the server has its trust anchors before it forks, and `read_kept`, for who only looks.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from kamailio_app.runtime.cache import Fetched

_FILE: Final = "certificates.sqlite"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS certificate (url TEXT PRIMARY KEY, expires INTEGER, signer TEXT, text TEXT) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS signers ON certificate (signer, expires)",
)
_PER_SIGNER: Final = 4  # who serves one chain under names without end fills nobody's disk
_END_OF_ONE: Final = "-----END CERTIFICATE-----"
_SPARE: Final = 20  # a twentieth more than is allowed is thrown away at once, so that not every write counts
_Action = Callable[[sqlite3.Connection], object]


class CertificateStore:
    """At most `size` certificates, of each signer's a few; those that end first go first. `say` is told of trouble, once until
    it is over.
    """

    def __init__(self, directory: Path | None, size: int, say: Callable[[str], None]) -> None:
        self._path = directory / _FILE if directory is not None and size else None
        self._size = size
        self._say = say
        self._said = False
        self._database: sqlite3.Connection | None = None
        self._count = 0

    def get(self, url: str) -> Fetched | None:
        """What was put there, however old; None if there is none."""
        row = self._do(lambda database: database.execute("SELECT text FROM certificate WHERE url = ?", (url,)).fetchone())
        return Fetched.from_text(row[0]) if row and isinstance(row[0], str) else None

    def put(self, url: str, fetched: Fetched) -> None:
        signer = sha256(fetched.pem.partition(_END_OF_ONE)[0].encode()).hexdigest()
        row = (url, fetched.expires, signer, fetched.to_text())
        self._do(lambda database: database.execute("INSERT OR REPLACE INTO certificate VALUES (?, ?, ?, ?)", row), writes=True)
        others = "SELECT url FROM certificate WHERE signer = ? ORDER BY expires DESC LIMIT -1 OFFSET ?"
        few = (signer, _PER_SIGNER)
        self._do(lambda database: database.execute(f"DELETE FROM certificate WHERE url IN ({others})", few))  # noqa: S608
        self._count += 1
        if self._count > self._size + self._size // _SPARE:
            self._shrink()

    def close(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _shrink(self) -> None:
        keep = (self._size,)
        self._do(
            lambda database: database.execute(
                "DELETE FROM certificate WHERE url NOT IN (SELECT url FROM certificate ORDER BY expires DESC LIMIT ?)", keep
            )
        )
        row = self._do(lambda database: database.execute("SELECT count(*) FROM certificate").fetchone())
        self._count = row[0] if row else 0

    def _do(self, action: _Action, *, writes: bool = False) -> tuple[Any, ...] | None:
        if self._path is None:
            return None
        try:
            if self._database is None:
                self._database = self._open(self._path)
            result = action(self._database)
        except (sqlite3.Error, OSError) as error:
            self._trouble(error)
            return None
        if writes and self._said:  # a full disk can still be read
            self._said = False
            self._say(f"{self._path}: in use again")
        return result if isinstance(result, tuple) else None

    def _open(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        database = sqlite3.connect(path, isolation_level=None, timeout=0.2)
        try:
            # It may be lost with the machine's power, not with the process: nothing waits for the disk
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            for statement in _TABLES:
                database.execute(statement)
            self._count = database.execute("SELECT count(*) FROM certificate").fetchone()[0]
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _trouble(self, error: Exception) -> None:
        self.close()
        broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if broken and self._path is not None:
            # No database any more: what it held is fetched again
            for leftover in (self._path, *(self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))):
                with suppress(OSError):
                    leftover.unlink()
        if not self._said:
            self._said = True
            self._say(f"{self._path}: {error}; certificates are not kept over a restart")


def read_kept(directory: Path | None, url: str) -> Fetched | None:
    """What the store of a running or ended server has for a URL, however old; None if nothing, or nothing that can be read.
    Changes nothing.
    """
    if directory is None:
        return None
    path = directory / _FILE
    try:
        if not path.is_file():
            return None
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as database:
            row = database.execute("SELECT text FROM certificate WHERE url = ?", (url,)).fetchone()
    except (sqlite3.Error, OSError):
        return None
    return Fetched.from_text(row[0]) if row and isinstance(row[0], str) else None


def write_state(directory: Path | None, name: str, text: str) -> None:
    """Replace a file at once or not at all. Errors: OSError."""
    if directory is None:
        return
    make_directory(directory, 0o750)
    new = directory / f"{name}.new"
    new.unlink(missing_ok=True)  # of one who was interrupted, or a link to elsewhere
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        hand_over(descriptor, directory)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    new.replace(directory / name)


def make_directory(directory: Path, mode: int) -> None:
    """With those above it, if they are not there; of root's making they belong to whom the one above belongs to.

    Errors: OSError.
    """
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_directory(directory.parent, 0o777)
    directory.mkdir(mode=mode, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hand_over(descriptor, directory.parent)
    finally:
        os.close(descriptor)


def hand_over(descriptor: int, directory: Path) -> None:
    """What root has made here belongs to whom the directory belongs to: he and root can take turns. Errors: OSError."""
    found = os.fstat(descriptor)
    # A file with another name elsewhere may be no business of his
    if os.geteuid() == 0 == found.st_uid and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def read_state(directory: Path | None, name: str) -> str:
    """The text of such a file; empty if there is none that can be read."""
    try:
        return (directory / name).read_text("utf-8") if directory is not None else ""
    except (OSError, UnicodeDecodeError):
        return ""
