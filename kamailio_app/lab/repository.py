"""An STI-CR on loopback: HTTPS, one directory of PEM files, in threads of this process."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from kamailio_app.lab.pki import Issued


@dataclass(frozen=True)
class Answer:
    """What a path answers that is no chain. `delay` in seconds."""

    status: int = 200  # 0: the connection is closed without a word
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off, or refuses our certificate, is what tests are about: nothing to print."""


class Repository:
    """Serves `chains` (path without slash -> octets) as application/pem-certificate-chain; counts what was asked.

    `answers` (path without slash -> answer) go before them. `name` is what URLs call this host.
    """

    def __init__(
        self, directory: Path, identity: Issued, host: str = "127.0.0.1", port: int = 0, name: str = "localhost"
    ) -> None:
        self.name = name
        self.chains: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.delay = 0.0  # seconds before it answers
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                path = self.path.removeprefix("/").partition("?")[0]  # as most web servers do
                chain = outer.chains.get(path)
                answer = outer.answers.get(path) or Answer(404 if chain is None else 200, chain or b"")
                time.sleep(outer.delay + answer.delay)
                self.close_connection = True
                if answer.status:
                    with suppress(OSError):  # who asked did not wait
                        self._send(answer)

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/pem-certificate-chain")
                self.send_header("Cache-Control", "max-age=86400")
                for field_name, value in answer.headers.items():
                    self.send_header(field_name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

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

    def __enter__(self) -> Repository:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
