"""An STI-CR on loopback: HTTPS, one directory of PEM files, in threads of this process. It can misbehave in many ways."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from kamailio_app.lab.pki import Issued

FOREVER: Final = 1e6  # seconds; until the repository is closed
_JOIN_SECONDS: Final = 10
_DROPS_PER_SECOND: Final = 20
_ENDLESS_PIECE: Final = b"x" * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closed without a farewell


@dataclass(frozen=True)
class Answer:
    """What a path answers that is no chain. Times in seconds.

    `delay`: before the head. `pause`: between head and body. `drip`: the answer comes in so many octets a second, the
    body alone or the head too (`drip_head`). `endless`: head or body has no end. `length`: of Content-Length, None for no
    such header. `reset`: after so many octets of the body the connection is reset. `raw`: these octets instead of HTTP.
    """

    status: int = 200  # 0: the connection is closed without a word
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0
    drip: float = 0.0
    drip_head: bool = False
    endless: Literal["", "head", "body"] = ""
    length: int | Literal["true"] | None = "true"
    reset: int | None = None
    raw: bytes | None = None

    def head(self) -> bytes:
        fields = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/pem-certificate-chain",
            "Cache-Control": "max-age=86400",
            **self.headers,
        }
        if self.length is not None and not self.endless:
            fields["Content-Length"] = str(len(self.body) if self.length == "true" else self.length)
        lines = [
            f"HTTP/1.0 {self.status} {responses.get(self.status, '')}",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        return "\r\n".join([*lines, "" if self.endless == "head" else "\r\n"]).encode("latin-1")


class _Server(ThreadingHTTPServer):
    """Knows its threads and connections, so that all of them end with it."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[socket.socket, threading.Thread] = {}
        self._ending: deque[threading.Thread] = deque()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            while self._ending and not self._ending[0].is_alive():
                self._ending.popleft()
            self._busy[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._ending.append(self._busy.pop(request))
            # A farewell before it would make of a reset an end
            if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
                self.close_request(request)
            else:
                super().shutdown_request(request)

    def stop(self) -> None:
        """No thread and no connection is left after this."""
        self.stopped.set()
        self.shutdown()
        with self._lock:
            threads = [*self._ending, *self._busy.values()]
            for connection in self._busy:
                with suppress(OSError):  # it may be gone
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own would wait for the peer
        for thread in threads:
            thread.join(_JOIN_SECONDS)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off, or refuses our certificate, is what tests are about: nothing to print."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Repository:
    """Serves `chains` (path without slash -> octets) as application/pem-certificate-chain; counts what was asked.

    Besides them the *.pem files of `served`, a directory, as they are at the moment. `answers` (path without slash ->
    answer) go before both, and `everywhere` before all. `name` is what URLs call this host; `identity` is what it shows
    in TLS, also one that has expired or names another host.
    """

    def __init__(
        self, directory: Path, identity: Issued, host: str = "127.0.0.1", port: int = 0, name: str = "localhost"
    ) -> None:
        self.name = name
        self.chains: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.served: Path | None = None
        self.everywhere: Answer | None = None
        self.asked: list[str] = []
        self.delay = 0.0  # seconds before it answers
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                path = self.path.removeprefix("/").partition("?")[0]  # as most web servers do
                answer = outer.everywhere or outer.answers.get(path) or outer._chain(path)
                self.close_connection = True
                with suppress(OSError):  # who asked did not wait
                    outer._answer(self.connection, answer)

            def log_message(self, format: str, *args: object) -> None:
                """The tests look at `asked`."""

        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / "web.pem", directory / "web.key"
        certificate.write_bytes(identity.chain_pem)
        key.write_bytes(identity.key_pem)
        self._server = _Server((host, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        return f"https://{self.name}:{self.port}/{name}"

    def _chain(self, path: str) -> Answer:
        chain = self.chains.get(path)
        if chain is None and self.served is not None and "/" not in path and path.endswith(".pem"):
            with suppress(OSError):
                chain = (self.served / path).read_bytes()
        return Answer(404) if chain is None else Answer(200, chain)

    def _answer(self, connection: socket.socket, answer: Answer) -> None:
        if self._wait(self.delay + answer.delay) or not answer.status:
            return
        for piece, dripping in self._pieces(answer):
            if not self._send(connection, piece, answer.drip if dripping else 0):
                return
        if answer.reset is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _pieces(self, answer: Answer) -> Iterator[tuple[bytes, bool]]:
        """What is sent, and whether it drips."""
        if answer.raw is not None:
            yield answer.raw, True
            return
        yield answer.head(), answer.drip_head
        if answer.endless == "head":
            for line in repeat(b"X-Endless: " + _ENDLESS_PIECE + b"\r\n"):
                yield line, answer.drip_head
        if self._wait(answer.pause):
            return
        yield answer.body[: answer.reset], True
        if answer.endless == "body":
            for piece in repeat(_ENDLESS_PIECE):
                yield piece, True

    def _send(self, connection: socket.socket, octets: bytes, rate: float) -> bool:
        """False if the repository is being closed."""
        size = max(1, int(rate / _DROPS_PER_SECOND)) if rate else max(1, len(octets))
        for place in range(0, len(octets), size):
            if self._wait(size / rate if rate else 0):
                return False
            connection.sendall(octets[place : place + size])
        return True

    def _wait(self, seconds: float) -> bool:
        """True if the repository is being closed."""
        return self._server.stopped.wait(seconds)

    def __enter__(self) -> Repository:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()
        self._thread.join()
