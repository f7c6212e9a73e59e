"""What a running laboratory is told from outside: a line of words by a Unix socket in its directory, a line back."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

NAME: Final = "control"
_MAX_LINE: Final = 65536
_SECONDS: Final = 10.0

Tell = Callable[[list[str]], str]


class Control:
    """Takes words for as long as it is entered. `tell` does what they say: words back, or ValueError."""

    def __init__(self, directory: Path, tell: Tell) -> None:
        self._path = directory / NAME

        class Handler(socketserver.StreamRequestHandler):
            timeout = _SECONDS

            def handle(self) -> None:
                try:
                    words = json.loads(self.rfile.readline(_MAX_LINE))
                    answer = {"done": tell([str(word) for word in words])}
                except (ValueError, TypeError) as error:
                    answer = {"refused": str(error)}
                self.wfile.write(f"{json.dumps(answer)}\n".encode())

        self._path.unlink(missing_ok=True)
        self._server = socketserver.ThreadingUnixStreamServer(str(self._path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Control:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)


def ask(directory: Path, words: list[str]) -> str:
    """Tell the laboratory that runs in `directory`: what it has done. Errors: ValueError (it does not), OSError (none runs)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(directory / NAME))
        connection.sendall(f"{json.dumps(words)}\n".encode())
        answer = json.loads(connection.makefile("rb").readline(_MAX_LINE))
    if "refused" in answer:
        raise ValueError(answer["refused"])
    return str(answer["done"])
