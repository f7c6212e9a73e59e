"""SIPp at both ends of the system: a callee that waits, a caller that calls. Both end by themselves or by their id."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from kamailio_app.lab.edge import free_port

_READY_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 2.0
_CONTENT: Final = (0, 99)  # 99: no call came
DONE: Final = "carried through"


class SippError(Exception):
    """SIPp did not do what it always does: the suite's own trouble."""


class _End:
    """One SIPp. Its trace and its log are `directory`/NAME.trace and NAME.log."""

    def __init__(self, name: str, directory: Path, flow: Path, host: str, port: int) -> None:
        self.name, self.host, self.port = name, host, port
        self._trace, self._log, self._errors = (directory / f"{name}.{kind}" for kind in ("trace", "log", "errors"))
        self._command = ["sipp", "-sf", str(flow), "-i", host, "-p", str(port), "-nostdin"]
        # UDP keeps no order: a 180 that comes behind the 200 is no reason to give the call up
        self._command += ["-default_behaviors", "all,-abortunexp"]
        self._command += ["-trace_msg", "-message_file", str(self._trace), "-trace_err", "-error_file", str(self._errors)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> str:
        """How its flow went, in a word or two; what SIPp was not content with, if it was not."""
        assert self._process is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return "never came to its end"
        if status in _CONTENT:
            return DONE
        said = self._errors.read_text("latin-1") if self._errors.exists() else self._log.read_text("latin-1")[-500:]
        return " ".join(said.split())[:500] or f"SIPp ended with {status}"

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(5)

    def trace(self) -> str:
        return self._trace.read_text("utf-8", "backslashreplace") if self._trace.exists() else ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Callee(_End):
    """As a context manager it is up inside."""

    def __init__(self, directory: Path, flow: Path, host: str, port: int) -> None:
        super().__init__("callee", directory, flow, host, port)

    def __enter__(self) -> Callee:
        self.start()
        deadline = time.monotonic() + _READY_SECONDS
        while _unread(self.host, self.port) is None:
            if not self.alive or time.monotonic() > deadline:
                self.stop()
                raise SippError(f"no callee at {self.host}:{self.port}: {self._log.read_text('latin-1')[-500:]}")
            time.sleep(0.002)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def finish(self) -> str:
        """Let the calls that run come to their end, then no more."""
        assert self._process is not None
        deadline = time.monotonic() + _GOODBYE_SECONDS
        # What the kernel holds for it is part of what it got
        while _unread(self.host, self.port) and time.monotonic() < deadline:
            time.sleep(0.002)
        self._process.send_signal(signal.SIGUSR1)
        return self.wait(_GOODBYE_SECONDS)


class Caller(_End):
    """`calls` calls to `to` (host:port), `rate` each second."""

    def __init__(
        self, directory: Path, flow: Path, to: str, host: str, *, options: Sequence[str] = (), name: str = "caller"
    ) -> None:
        super().__init__(name, directory, flow, host, free_port(host))
        self._to, self._options = to, options

    def call(self, *, call_id: str, keys: Mapping[str, str], calls: int, rate: int, timeout: float) -> None:
        """Start calling. `call_id` may hold SIPp's %u: the number of the call."""
        self._command += [self._to, *self._options, "-m", str(calls), "-r", str(rate), "-l", str(calls), "-cid_str", call_id]
        self._command += ["-timeout", f"{timeout:.0f}s", "-timeout_error"]
        for key, value in keys.items():
            self._command += ["-key", key, value]
        self.start()


def _unread(host: str, port: int) -> int | None:
    """Octets that wait at a UDP socket; None if there is no such socket."""
    packed = b"".join(int(part).to_bytes(1, "big") for part in host.split("."))
    local = f"{int.from_bytes(packed, 'little'):08X}:{port:04X}"
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local:
            return int(fields[4].partition(":")[2], 16)
    return None
