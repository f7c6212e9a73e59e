"""acme2certifier over TLS on a port of loopback: run by its test, in acme2certifier's own virtual environment.

python acme2certifier_serve.py WEB.pem WEB.key: prints the port, then serves until its standard input ends.
"""

from __future__ import annotations

import ssl
import sys
import threading
from importlib import import_module
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return str(self.client_address[0])

    def get_environ(self) -> dict[str, object]:
        return {**super().get_environ(), "HTTP_X_FORWARDED_PROTO": "https"}

    def log_message(self, format: str, *args: object) -> None:
        """The test asks acme2certifier itself."""


def main() -> None:
    application = import_module("acme2certifier.share.acme2certifier_wsgi").application
    server = make_server("127.0.0.1", 0, application, _Server, _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
