"""Caller and callee in one process and one thread: nobody has to wake anybody between them, and one clock measures.

INVITE, 200, ACK, and no more: the edge keeps nothing of a call after its transaction. Nothing is sent twice.
"""

from __future__ import annotations

import gc
import multiprocessing
import re
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter
from types import TracebackType
from typing import Any, Final

from kamailio_app.lab.network import CALLED, CALLER

_BUFFER: Final = 4 << 20  # octets that a socket holds
_AHEAD: Final = 0.05  # seconds before the first call
_START_SECONDS: Final = 15.0
_NUMBER: Final = re.compile(rb"^Call-ID: stall-(\d+)-(\d+)@", re.MULTILINE)
_COPIED: Final = (b"via:", b"record-route:", b"from:", b"call-id:", b"cseq:")
_VERSTAT: Final = re.compile(rb"^From: [^\r\n]*;verstat=([A-Za-z-]+)", re.MULTILINE)
_TO: Final = re.compile(rb"^To: [^\r\n]*", re.MULTILINE)
_RECORD_ROUTE: Final = re.compile(rb"^Record-Route: ([^\r\n]*)", re.MULTILINE)
_BODY: Final = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"


@dataclass(frozen=True)
class Planned:
    """A call: when, in seconds from the beginning, of which kind, and its Identity."""

    at: float
    kind: str
    identity: str


@dataclass(frozen=True)
class Ended:
    """What came of it: seconds from the INVITE to the callee's answer, the answer, and the verstat that the callee saw."""

    kind: str
    at: float
    seconds: float
    code: int  # 0: none came
    verstat: str


class Phones:
    """The process, from here: a context manager. `caller` and `callee` are their addresses."""

    def __init__(self, caller_host: str, callee_host: str) -> None:
        context = multiprocessing.get_context("spawn")  # there are threads here already
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, caller_host, callee_host), daemon=True)
        self.caller = self.callee = ("", 0)

    def __enter__(self) -> Phones:
        self._process.start()
        self._theirs.close()
        if not self._pipe.poll(_START_SECONDS):
            raise RuntimeError("the phones did not start")
        self.caller, self.callee = self._pipe.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pipe.close()  # it ends when nobody listens
        if kind is not None:
            self._process.terminate()  # it may be in the middle of calls
        self._process.join(_START_SECONDS)
        if self._process.exitcode is None:
            self._process.terminate()
            self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def place(
        self, target: tuple[str, int], plan: Sequence[Planned], patience: float, meanwhile: Callable[[], None]
    ) -> list[Ended]:
        """Place the calls through `target`; `patience`: seconds for the last one's answer. `meanwhile` is called every second.

        Errors: EOFError if the process has ended.
        """
        self._pipe.send((target, list(plan), patience))
        while not self._pipe.poll(1):
            meanwhile()
        ended: list[Ended] = self._pipe.recv()
        return ended


def _serve(pipe: Connection, caller_host: str, callee_host: str) -> None:
    with ExitStack() as stack, pipe:
        caller, callee = (stack.enter_context(_udp(host)) for host in (caller_host, callee_host))
        pipe.send((caller.getsockname(), callee.getsockname()))
        gc.freeze()
        run = 0
        while True:
            try:
                target, plan, patience = pipe.recv()
            except (EOFError, KeyboardInterrupt):
                return
            run += 1
            calls = _Calls(caller, callee, target, plan, run)
            gc.disable()
            try:
                calls.place(patience)
            except KeyboardInterrupt:
                return
            finally:
                gc.enable()
            pipe.send(calls.ended())


def _udp(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    made.bind((host, 0))
    return made


class _Calls:
    """One run. Everything that can be made before is made before."""

    def __init__(
        self, caller: socket.socket, callee: socket.socket, target: tuple[str, int], plan: Sequence[Planned], run: int
    ) -> None:
        self._caller, self._callee, self._target, self._plan, self._run = caller, callee, target, plan, run
        self._address = "{}:{}".format(*caller.getsockname())
        self._contact = "sip:{}:{}".format(*callee.getsockname())
        self._invites = [self._invite(number, planned) for number, planned in enumerate(plan)]
        self._sent = [0.0] * len(plan)
        self._answered: dict[int, tuple[float, int]] = {}
        self._verstat: dict[int, str] = {}

    def _head(self, method: str, uri: str, number: int, branch: str) -> str:
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self._address};branch=z9hG4bKstall{self._run}x{number}{branch}\r\n"
            f"From: <sip:{CALLER}@{self._address};user=phone>;tag={self._run}x{number}\r\n"
            f"Call-ID: stall-{self._run}-{number}@{self._address}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
        )

    def _invite(self, number: int, planned: Planned) -> bytes:
        host, port = self._target
        return (
            f"{self._head('INVITE', f'sip:{CALLED}@{host}:{port}', number, '')}"
            f"To: <sip:{CALLED}@{host};user=phone>\r\nContact: <sip:{self._address}>\r\nIdentity: {planned.identity}\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}"
        ).encode()

    def place(self, patience: float) -> None:
        plan, count, following = self._plan, len(self._plan), 0
        began = perf_counter() + _AHEAD
        ends = began + plan[-1].at + patience
        while len(self._answered) < count:
            now = perf_counter()
            due = began + plan[following].at if following < count else ends
            if now < due:
                readable, _, _ = select.select((self._caller, self._callee), (), (), due - now)
                if self._caller in readable:
                    self._hear(self._caller.recv(65536), perf_counter())
                if self._callee in readable:
                    self._answer(*self._callee.recvfrom(65536))
            elif following < count:
                self._sent[following] = perf_counter()
                self._caller.sendto(self._invites[following], self._target)
                following += 1
            else:
                return

    def _number(self, message: bytes) -> int:
        """-1 if it is of another run."""
        match = _NUMBER.search(message)
        return int(match[2]) if match and int(match[1]) == self._run else -1

    def _answer(self, message: bytes, source: Any) -> None:
        """As the callee: 200 to every INVITE."""
        if not message.startswith(b"INVITE "):
            return
        verstat = _VERSTAT.search(message)
        self._verstat[self._number(message)] = verstat[1].decode() if verstat else ""
        lines = [line for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(_COPIED)]
        to = _TO.search(message)
        assert to
        tail = b"%s;tag=callee\r\nContact: <%s>\r\nContent-Length: 0\r\n\r\n" % (to[0], self._contact.encode())
        self._callee.sendto(b"\r\n".join([b"SIP/2.0 200 OK", *lines, tail]), source)

    def _hear(self, message: bytes, now: float) -> None:
        """As the caller: the callee's answer, and the ACK to it. 100 is the edge's."""
        number, code = self._number(message), int(message[8:11]) if message.startswith(b"SIP/2.0 ") else 0
        if number < 0 or code < 180:
            return
        self._answered.setdefault(number, (now - self._sent[number], code))
        if code >= 200:
            self._caller.sendto(self._ack(number, message, code), self._target)

    def _ack(self, number: int, answer: bytes, code: int) -> bytes:
        to, route = _TO.search(answer), _RECORD_ROUTE.search(answer)
        tail = f"{to[0].decode() if to else ''}\r\nContent-Length: 0\r\n\r\n"
        if code >= 300:  # RFC 3261 17.1.1.3
            host, port = self._target
            return (self._head("ACK", f"sip:{CALLED}@{host}:{port}", number, "") + tail).encode()
        routed = f"Route: {route[1].decode()}\r\n" if route else ""
        return (self._head("ACK", self._contact, number, "ack") + routed + tail).encode()

    def ended(self) -> list[Ended]:
        found = []
        for number, planned in enumerate(self._plan):
            seconds, code = self._answered.get(number, (0.0, 0))
            found.append(Ended(planned.kind, planned.at, seconds, code, self._verstat.get(number, "")))
        return found
