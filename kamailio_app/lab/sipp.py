"""SIPp of the laboratory: a callee that answers, callers that place calls, and what either saw on the wire."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from kamailio_app.lab.edge import ROOT, free_port

SCENARIOS: Final = ROOT / "tests" / "sipp"
_MESSAGE: Final = re.compile(
    r"^-{10,} \S+ (\d\d):(\d\d):(\d\d\.\d+)[^\n]*\n(?:UDP|TCP|TLS) message (sent|received) [^\n]*\n\n(.*?)(?=^-{10,} |\Z)",
    re.MULTILINE | re.DOTALL,
)
_FOLD: Final = re.compile(r"[ \t]*\n[ \t]+")  # RFC 3261 7.3.1: a line that begins with a space goes on with the one above


@dataclass(frozen=True)
class Message:
    """A SIP message from SIPp's trace."""

    time: float  # seconds since midnight
    received: bool
    start_line: str
    headers: Mapping[str, tuple[str, ...]] = field(repr=False)
    text: str = field(default="", repr=False)

    def header(self, name: str) -> str:
        """The first field of that name, or nothing."""
        return self.headers.get(name.lower(), ("",))[0]


def messages(trace: str) -> list[Message]:
    """Every message in a trace file of SIPp 3.6 or 3.7."""
    found = []
    for hours, minutes, seconds, direction, traced in _MESSAGE.findall(trace):
        text = traced.replace("\r\n", "\n")
        head = text.partition("\n\n")[0]
        start_line, *lines = _FOLD.sub(" ", head).split("\n")
        headers: dict[str, tuple[str, ...]] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                key = name.strip().lower()
                headers[key] = (*headers.get(key, ()), value.strip())
        time_of_day = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        found.append(Message(time_of_day, direction == "received", start_line, headers, text.rstrip("\n") + "\n"))
    return found


class Callee:
    """A SIPp that answers every call until it is stopped."""

    def __init__(self, directory: Path, host: str, scenario: str = "call/uas.xml", port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.host, self.port = host, port or free_port(host)
        self.trace = directory / "callee.trace"
        self._log = directory / "callee.log"
        self._scenario = SCENARIOS / scenario
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Callee:
        command = ["sipp", "-sf", str(self._scenario), "-i", self.host, "-p", str(self.port), "-nostdin"]
        command += ["-trace_msg", "-message_file", str(self.trace)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._log.parent, start_new_session=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(5)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def invites(self) -> dict[str, Message]:
        """The INVITE of each call that came, by Call-ID."""
        text = self.trace.read_text("latin-1") if self.trace.exists() else ""
        found = [message for message in messages(text) if message.received and message.start_line.startswith("INVITE ")]
        return {message.header("call-id"): message for message in found}


@dataclass(frozen=True)
class Outcome:
    """What the caller got: the final code and phrase, the seconds until then."""

    call_id: str
    code: int
    phrase: str
    seconds: float


def place_call(
    directory: Path,
    name: str,
    *,
    source: str,
    target: tuple[str, int],
    caller: str,
    called: str,
    request_user: str = "",
    extra: str = "",
    timeout: float = 15,
) -> Outcome:
    """Place one call with SIPp. Errors: RuntimeError if it got no final response."""
    directory.mkdir(parents=True, exist_ok=True)
    trace = directory / f"{name}.trace"
    trace.unlink(missing_ok=True)
    call_id = f"{name}-{time.monotonic_ns()}@{source}"
    port = free_port(source)
    command = ["sipp", "-sf", str(SCENARIOS / "call/uac.xml"), f"{target[0]}:{target[1]}"]
    command += ["-i", source, "-p", str(port), "-m", "1", "-nostdin", "-cid_str", call_id]
    command += ["-timeout", f"{timeout:.0f}s", "-trace_msg", "-message_file", str(trace)]
    for key, value in {
        "ruri": f"sip:{request_user or called}@{target[0]}:{target[1]}",
        "from": f"<sip:{caller}@{source}:{port}>",
        "to": f"<sip:{called}@{target[0]}:{target[1]}>",
        "extra": "\r\n".join([f"Subject: {name}", *filter(None, [extra])]),
        "sdp": "a=sendrecv",
    }.items():
        command += ["-key", key, value]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 5, cwd=directory, check=False
    )
    (directory / f"{name}.log").write_text(run.stdout + run.stderr)
    seen = messages(trace.read_text("latin-1") if trace.exists() else "")
    final = [
        message
        for message in seen
        if message.received and re.match(r"SIP/2.0 [2-6]", message.start_line) and message.header("cseq").endswith("INVITE")
    ]
    if not final:
        raise RuntimeError(
            f"call {name}: no final response; see {directory / name}.log\n{run.stdout[-800:]}{run.stderr[-800:]}"
        )
    _, code, phrase = final[0].start_line.split(" ", 2)
    return Outcome(call_id, int(code), phrase, (final[0].time - seen[0].time) % 86400)
