"""Calls of which many run at once: a phone that answers them all, batches from a carrier, a stream beside the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType

from kamailio_app.lab.network import CALLED
from tests.integration.conftest import Site
from tests.integration.peer import Peer, SipMessage

BUSY = 486  # what the phone says to every call that reaches it
_AT_ONCE = 30  # INVITEs that nobody has answered yet: more may not fit into a socket's buffer


class BusyPhone:
    """Answers every call that reaches the inside, in a thread; `seen` by Call-ID. Use as a context manager."""

    def __init__(self, phone: Peer) -> None:
        self.seen: dict[str, SipMessage] = {}
        self._phone = phone
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BusyPhone:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                request = self._phone.receive_request("INVITE", timeout=0.1)
            except TimeoutError:
                continue
            self.seen[request.header("call-id")] = request
            self._phone.answer(request, BUSY)


@dataclass(frozen=True)
class Call:
    """The end of a call that a carrier made; times in seconds."""

    line: str
    took: float

    @property
    def code(self) -> int:
        return int(self.line.split(" ")[1])


def call(
    site: Site, identity: str, *, peer: Peer | None = None, timeout: float = 10, called: str = CALLED, uri: str = ""
) -> Call:
    """One call from a carrier, until it ends."""
    peer = peer or site.carrier
    began = time.monotonic()
    call_id = peer.invite(site.target, extra=f"Identity: {identity}\r\n", called=called, uri=uri)
    while True:
        answer = peer.final(timeout)
        if answer.header("call-id") == call_id:
            return Call(answer.start_line, time.monotonic() - began)


class Batch:
    """Calls from a carrier that are under way at the same time, each by a name."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._names: dict[str, str] = {}
        self._began: dict[str, float] = {}
        self._tried: set[str] = set()
        self._ended: dict[str, Call] = {}

    def make(self, identities: Mapping[str, str]) -> None:
        """Begin a call for each; returns when all were received there."""
        for name, identity in identities.items():
            call_id = self._site.carrier.invite(self._site.target, extra=f"Identity: {identity}\r\n")
            self._names[call_id], self._began[call_id] = name, time.monotonic()
            while len(self._names) - len(self._tried) >= _AT_ONCE:
                self._listen()
        while len(self._tried) < len(self._names):
            self._listen()

    def end(self) -> dict[str, Call]:
        """By name, when all have ended. Errors: TimeoutError."""
        while len(self._ended) < len(self._names):
            self._listen()
        return self._ended

    def _listen(self) -> None:
        answer = self._site.carrier.response(10)
        call_id = answer.header("call-id")
        if call_id not in self._names:
            return
        self._tried.add(call_id)
        if answer.code >= 200:
            self._ended.setdefault(self._names[call_id], Call(answer.start_line, time.monotonic() - self._began[call_id]))


def calls(site: Site, identities: Mapping[str, str]) -> dict[str, Call]:
    batch = Batch(site)
    batch.make(identities)
    return batch.end()


@dataclass
class Stream:
    """One call after the other with a certificate that is at hand, in a thread. Use as a context manager."""

    site: Site
    identity: str
    ended: list[Call] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Stream:
        self._peer = Peer(self.site.carrier.host)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()
        self._peer.close()

    def _serve(self) -> None:
        while not self._stopped.wait(0.01):
            began = time.monotonic()
            try:
                self.ended.append(call(self.site, self.identity, peer=self._peer))
            except TimeoutError:
                self.ended.append(Call("SIP/2.0 000 nothing", time.monotonic() - began))

    def during(self, seconds: float) -> Sequence[Call]:
        """The calls that end from now on within so many seconds."""
        begin = len(self.ended)
        self._stopped.wait(seconds)
        return self.ended[begin:]


def assert_unharmed(stream: Sequence[Call], before: Sequence[Call], longest: float = 1.0) -> None:
    """None of the calls failed or took long, nor all of them much longer than before. A shared machine stalls at times."""
    assert len(stream) > 5
    assert {each.code for each in stream} == {BUSY}
    assert max(each.took for each in stream) < longest
    assert median(each.took for each in stream) < 0.05 + 10 * median(each.took for each in before)


def until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Wait until it is true. Errors: AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
