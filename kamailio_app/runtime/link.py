"""Between the SIP server's processes and the process that fetches for them (`fetch_process`), which is no child of the server.

Any process of the server orders, without waiting: `Orders`, made before the fork. One of them, the keeper, starts the fetch
process, starts it again when it ended, and takes its answers: `Keeper`. Orders are single messages; configuration and answers
are lines of JSON.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

FETCH: Final = "fetch"  # a call waits
RENEW: Final = "renew"  # what is at hand ends soon
KEEP: Final = "keep"  # it verified a call: worth a place on the disk

MAX_ORDER: Final = 65536
_MAX_LINE: Final = 64 << 20  # a CRL of a hundred thousand entries has five
_READ: Final = 1 << 20
_LONGEST_PAUSE: Final = 30.0
_ENDS_WITHIN: Final = 2.0
ALIVE_EVERY: Final = 5.0
_SILENT_FOR: Final = 4 * ALIVE_EVERY
_LAST_WORDS: Final = 2000
_HEALTHY_AFTER: Final = 60.0  # seconds that the fetch process has to live for its earlier ends to be forgotten


class Orders:
    """The way to the fetch process for everybody. What it has not read yet survives its end."""

    def __init__(self) -> None:
        self._write, self.read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._write.setblocking(False)
        self.read.setblocking(False)
        self._ring, self.bell = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ring.setblocking(False)

    def put(self, kind: str, generation: str, urls: str) -> bool:
        """False if nobody takes orders fast enough: the queue is full. `generation`: of the settings that the call goes by."""
        message = f"{kind} {generation} {urls}".encode("utf-8", "replace")
        try:
            return len(message) <= MAX_ORDER and self._write.send(message) > 0
        except OSError:
            return False

    def ring(self) -> None:
        """Wake the keeper: the fetch process has to be told something."""
        with suppress(BlockingIOError):  # then it has been woken often enough
            self._ring.send(b"!")

    def close(self) -> None:
        for end in (self._write, self.read, self._ring, self.bell):
            end.close()


def _command() -> tuple[list[str], dict[str, str]]:
    """The interpreter that the SIP server embeds, as a program, with the packages that we were found with."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    interpreter = Path(str(sysconfig.get_config_var("BINDIR"))) / version
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [str(interpreter), "-s", "-P", "-m", "kamailio_app.runtime.fetch_process"]
    # sys.executable is whatever python3 comes first on PATH; PYTHONHOME of another one would mislead it
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return command, {**environment, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


class Keeper:
    """In one process of the server. `command` is what is started, with the numbers of two file descriptors behind it, and of
    those of the call record (`Record.fds`).
    """

    def __init__(
        self,
        orders: Orders,
        log: Callable[[Literal["err", "info"], str], None],
        *,
        command: tuple[Sequence[str], Mapping[str, str]] | None = None,
        record: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._orders = orders
        self._log = log
        self._command, self._environment = command or _command()
        self._record = tuple(record)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._unread = b""
        self._configuration: bytes | None = None
        self._stderr = 0
        self._started = self._heard = 0.0
        self._not_before = 0.0
        self._ends = 0

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process else 0

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """What the fetch process has to know; it is told again whenever it is started again."""
        self._configuration = json.dumps(configuration).encode() + b"\n"
        self._tell()

    def answers(self, wait: float) -> list[dict[str, Any]]:
        """What came within `wait` seconds, or nothing, also when the bell rang. Starts the fetch process if there is none."""
        if self._link is None and not self._start():
            time.sleep(max(0.0, min(wait, self._not_before - self._clock())))
            return []
        assert self._link is not None
        readable, _, _ = select.select([self._link, self._orders.bell], [], [], wait)
        if self._orders.bell in readable:
            self._orders.bell.recv(_READ)
        now = self._clock()
        if self._link not in readable:
            if now - self._heard > _SILENT_FOR:
                self._log("err", f"fetch process {self.pid} says nothing any more")
                self._ended()
            return []
        self._heard = now
        try:
            octets = self._link.recv(_READ)
        except OSError:
            octets = b""
        if not octets or len(self._unread) + len(octets) > _MAX_LINE:
            self._ended()
            return []
        *lines, self._unread = (self._unread + octets).split(b"\n")
        return [answer for line in lines if (answer := self._understood(line)) is not None]

    def _understood(self, line: bytes) -> dict[str, Any] | None:
        """What is no answer must not take those beside it along."""
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return answer
        self._log("err", f"fetch process {self.pid} said what is no answer: {line[:80]!r}")
        return None

    def close(self) -> None:
        """End what was started."""
        self._hang_up()
        self._wait()
        if self._stderr:
            os.close(self._stderr)
            self._stderr = 0

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()  # it ends when nobody listens
            self._link = None

    def _wait(self) -> int | None:
        """The status with which the process ended; one that does not end is ended."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            return process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # one that hangs in the kernel is left to it
                return process.wait(_ENDS_WITHIN)
            return None

    def _start(self) -> bool:
        if self._configuration is None or self._clock() < self._not_before:
            return False
        self._started = self._heard = self._clock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            fds = (self._orders.read.fileno(), theirs.fileno(), *self._record)
            said = self._last_words()
            try:
                self._process = subprocess.Popen(
                    [*self._command, *map(str, fds)],
                    stdin=subprocess.DEVNULL,
                    env=dict(self._environment),
                    stderr=said,
                    cwd="/",
                    pass_fds=fds,
                )
            except OSError as error:
                ours.close()
                self._pause(f"cannot be started: {error}")
                return False
        ours.settimeout(_ENDS_WITHIN)  # one that does not read what it is told has to go
        self._link, self._unread = ours, b""
        self._log("info", f"fetch process {self.pid} started")
        self._tell()
        return self._link is not None

    def _tell(self) -> None:
        if self._link is not None and self._configuration is not None:
            try:
                self._link.sendall(self._configuration)
            except OSError:
                self._ended()

    def _ended(self) -> None:
        pid = self.pid
        self._hang_up()
        status = self._wait()
        words = (
            os.pread(self._stderr, _LAST_WORDS, max(0, os.fstat(self._stderr).st_size - _LAST_WORDS)) if self._stderr else b""
        )
        if words:
            self._log("err", f"fetch process {pid} said: {words.decode('utf-8', 'replace')}")
        self._pause(f"{pid} ended with status {status}")

    def _last_words(self) -> int:
        """Where its stderr goes, of which a daemon has none: memory, looked at when it has ended."""
        if not self._stderr:
            self._stderr = os.memfd_create("stirshaken-stderr")
        os.ftruncate(self._stderr, 0)
        os.lseek(self._stderr, 0, os.SEEK_SET)
        return self._stderr

    def _pause(self, what: str) -> None:
        """At once after a long life, later and later after short ones."""
        now = self._clock()
        self._ends = self._ends + 1 if now - self._started < _HEALTHY_AFTER else 0
        pause = min(_LONGEST_PAUSE, 0.5 * (2**self._ends - 1) if self._ends > 1 else 0.0)
        self._not_before = now + pause
        self._log("err", f"fetch process {what}; it is started again in {pause:g} s")
