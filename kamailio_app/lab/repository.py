"""An STI-CR on loopback: HTTPS, one directory of PEM files, in threads of this process."""

from __future__ import annotations

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from kamailio_app.lab.pki import Issued


class Repository:
    """Serves `chains` (path without slash -> octets) as application/pem-certificate-chain; counts what was asked."""

    def __init__(self, directory: Path, identity: Issued, host: str = "127.0.0.1") -> None:
        self.chains: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.delay = 0.0  # seconds before it answers
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                time.sleep(outer.delay)
                body = outer.chains.get(self.path.removeprefix("/"))
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", "application/pem-certificate-chain")
                self.send_header("Cache-Control", "max-age=86400")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                """The tests look at `asked`."""

        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / "web.pem", directory / "web.key"
        certificate.write_bytes(identity.chain_pem)
        key.write_bytes(identity.key_pem)
        self._server = ThreadingHTTPServer((host, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        return f"https://localhost:{self.port}/{name}"

    def __enter__(self) -> Repository:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
