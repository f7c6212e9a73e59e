"""A PostgreSQL of the test's own: Debian's binaries, an unprivileged user, a temporary directory, no port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

USER: Final = "stir"
PASSWORD: Final = "correct horse battery staple"
DATABASE: Final = "postgres"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_PATIENCE: Final = 30.0


def binaries() -> Path:
    """Debian keeps each version apart, and none of them in PATH."""
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql")
    return versions[-1].parent


class Postgresql:
    """Speaks over a socket in its directory. Everybody needs a password, also the one who started it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="stir-pg-"))
        self.log = self.directory / "log"
        self.url = f"postgresql://{USER}@/{DATABASE}?host={self.directory}"
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to be run by root
        who = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._identity: dict[str, Any] = (
            {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
        )
        os.chown(self.directory, who.pw_uid, who.pw_gid)

    def __enter__(self) -> Postgresql:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)  # at once, and its children with it
                self._process.wait(_PATIENCE)
        shutil.rmtree(self.directory)

    def _start(self) -> None:
        data, password = self.directory / "data", self.directory / "password"
        password.write_text(f"{PASSWORD}\n")
        initdb: list[str | Path] = [
            *(binaries() / "initdb", "--pgdata", data, "--username", USER, "--pwfile", password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ]
        done = subprocess.run(
            initdb, cwd=self.directory, capture_output=True, text=True, timeout=120, check=False, **self._identity
        )
        assert done.returncode == 0, done.stdout + done.stderr
        options = {"listen_addresses": "", "unix_socket_directories": self.directory, "fsync": "off", "log_statement": "all"}
        command: list[str | Path] = [
            binaries() / "postgres",
            "-D",
            data,
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        with self.log.open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, cwd=self.directory, stdout=log, stderr=log, **self._identity
            )
        self._process = process
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, password=PASSWORD, connect_timeout=5, autocommit=True)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())
