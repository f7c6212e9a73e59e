"""SIPp as caller and callee of one step: two processes, what they used and what they counted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

from kamailio_app.lab.edge import free_port
from kamailio_app.lab.network import CALLED, CALLER
from tests.load import files, identities, meter
from tests.load.files import Answered, Counts
from tests.load.system import HERE, System

_BUFFER: Final = "1048576"
_GRACE_SECONDS: Final = 1.0  # a call that is not over by then, after the last was begun, has failed
_READY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_SETTLED: Final = 0.05  # of one core
_SETTLE_SECONDS: Final = 6.0
_OPEN_FILES_KEPT: Final = 1000


class Sipp:
    """A SIPp process in a directory of its own."""

    def __init__(self, directory: Path, scenario: str, host: str, port: int, *arguments: str) -> None:
        directory.mkdir(parents=True)
        self.directory, self.port = directory, port
        (directory / "scenario.xml").write_text(scenario)
        command = ["sipp", "-sf", "scenario.xml", "-i", host, "-p", str(port), "-nostdin", "-buff_size", _BUFFER]
        command += ["-trace_stat", "-stf", "statistics.csv", "-fd", "1", *arguments]
        with (directory / "output.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """Let it write its statistics and end: to be asked twice is to give up the calls under way."""
        for _ in range(2):
            if self.running:
                self.process.send_signal(signal.SIGUSR1)
            try:
                self.process.wait(0.3)
            except subprocess.TimeoutExpired:
                continue
        self.kill()

    def kill(self) -> None:
        if self.running:
            self.process.kill()
        self.process.wait(5)

    def counts(self) -> Counts:
        """Errors: RuntimeError with what it said, if it left no statistics."""
        try:
            return files.statistics(self.directory / "statistics.csv")
        except (OSError, ValueError) as error:
            raise RuntimeError(f"SIPp in {self.directory}: {error}\n{self.said()}") from error

    def said(self) -> str:
        """The end of its errors and of its output."""
        logs = [self.directory / "errors.log", self.directory / "output.log"]
        return "\n".join(log.read_text("latin-1")[-1500:] for log in logs if log.exists())

    def __enter__(self) -> Sipp:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()


def callee(system: System, directory: Path) -> Sipp:
    """A callee that is ready. Errors: RuntimeError if it does not get there."""
    header, pattern = system.kind.sees
    text = (HERE / "callee.xml").read_text().replace('regexp="."', f'regexp="{pattern}"').replace("Subject:", f"{header}:")
    sipp = Sipp(directory, text, system.callee_host, system.callee_port)
    deadline = time.monotonic() + _READY_SECONDS
    while not _listens(sipp.pid, system.callee_port):
        if not sipp.running or time.monotonic() > deadline:
            sipp.kill()
            raise RuntimeError(f"SIPp did not start as callee: {sipp.said()}")
        time.sleep(0.01)
    return sipp


def _listens(pid: int, port: int) -> bool:
    try:
        return any(each.laddr and each.laddr.port == port for each in psutil.Process(pid).net_connections("udp4"))
    except psutil.NoSuchProcess:
        return False


def caller(system: System, directory: Path, rate: float, calls: int, values: Iterable[str] | None = None) -> Sipp:
    """A caller that places `calls` calls; `values`: the Identity of each, over and over."""
    text = (HERE / "caller.xml").read_text()
    host, port = system.target
    arguments = [f"{host}:{port}", *pace(rate), "-m", str(calls), "-l", str(in_flight(rate))]
    arguments += ["-trace_logs", "-log_file", "calls.log", "-trace_err", "-error_file", "errors.log"]
    arguments += ["-key", "caller", CALLER, "-key", "called", CALLED]
    if values is not None:
        text = text.replace("Subject: load", identities.HEADER)
        injection = directory.with_suffix(".csv")
        identities.write(injection, values)
        arguments += ["-inf", str(injection)]
    return Sipp(directory, text, system.caller_host, free_port(system.caller_host), *arguments)


def pace(rate: float) -> list[str]:
    """SIPp takes whole calls in whole milliseconds."""
    if rate == int(rate):
        return ["-r", str(int(rate))]
    return ["-r", str(round(rate * 10)), "-rp", "10000"]


def in_flight(rate: float) -> int:
    """The most calls under way at once: far above what a clean step has, below what SIPp may open."""
    return max(100, min(int(rate * 4), os.sysconf("SC_OPEN_MAX") - _OPEN_FILES_KEPT))


def settle(system: System) -> None:
    """Wait until the system has done with the calls before; after a bounded time it is measured anyway."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    earlier = meter.read(system.pids)
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        now = meter.read(system.pids)
        if now.used(earlier, system.pids) < _SETTLED * (now.time - earlier.time):
            return
        earlier = now


@dataclass(frozen=True)
class Placed:
    """What became of one run of the caller. `before`, `sent`, `after`: start, when all should be sent, the end."""

    caller: int
    callee: int
    before: meter.Reading
    sent: meter.Reading
    after: meter.Reading
    memory: meter.Memory
    counts: Counts
    callee_retransmissions: int
    system_drops: int
    generator_drops: int
    answered: list[Answered]


def place(
    system: System,
    directory: Path,
    rate: float,
    calls: int,
    *,
    values: Iterable[str] | None = None,
    others: Iterable[int] = (),
    meanwhile: Callable[[], None] = lambda: None,
) -> Placed:
    """Place `calls` calls at `rate` and wait for their end. `others`: more processes to read, `meanwhile`: called often.

    Errors: RuntimeError if SIPp does not start.
    """
    workers = [pid for edge in system.worker_pids for pid in edge]
    with callee(system, directory / "callee") as answering:
        watched = [*system.pids, *others, answering.pid]
        ports = [edge.port for edge in system.edges]
        before, lost = meter.read(watched), meter.dropped(meter.udp_table(), ports)
        with caller(system, directory / "caller", rate, calls, values) as calling:
            watched.append(calling.pid)
            sent, last, sipp_lost = None, before, 0
            due = before.time + calls / rate
            while calling.running and last.time < due + _GRACE_SECONDS:
                last = meter.read(watched)
                if sent is None and last.time >= due:
                    sent = last
                # While it runs: a socket takes its count with it
                sipp_lost = max(sipp_lost, meter.dropped(meter.udp_table(), [calling.port, answering.port]))
                meanwhile()
                time.sleep(_POLL_SECONDS)
            after = meter.read(watched)
            lost = meter.dropped(meter.udp_table(), ports) - lost
            used = meter.memory(workers)
            calling.end()
            counts = calling.counts()
            calls_log = list(files.answered(calling.directory / "calls.log"))
        answering.end()
        return Placed(
            calling.pid,
            answering.pid,
            before,
            sent or last,
            after,
            used,
            counts,
            answering.counts().retransmissions,
            lost,
            sipp_lost,
            calls_log,
        )
