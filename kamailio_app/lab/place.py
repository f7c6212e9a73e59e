"""Where a laboratory lives: a directory that is its own, for one at a time, and that keeps its ports for the next one there."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

MARKER: Final = "laboratory.json"
_MAX_MARKER: Final = 4096
_PORTS: Final = 3
_LAST_PORT: Final = 65535


class Foreign(Exception):
    """The directory holds something, and no laboratory's."""


class Busy(Exception):
    """A laboratory runs there."""


class Place:
    """A laboratory's for as long as it is entered. `ports`: those that it had the last time and that are free, else none.

    Errors when it is entered: `Foreign`, `Busy`, OSError.
    """

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.ports: tuple[int, ...] = ()
        self._directory = directory
        self._host = host
        self._descriptor = -1

    def __enter__(self) -> Place:
        self._directory.mkdir(parents=True, exist_ok=True)
        marker = self._directory / MARKER
        if not marker.exists() and any(self._directory.iterdir()):
            raise Foreign(str(self._directory))
        self._descriptor = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise Busy(str(self._directory)) from None
        self.ports = self._kept()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def keep(self, ports: Sequence[int]) -> None:
        """For the next laboratory here: what was published at their URLs stays there."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{json.dumps({'ports': list(ports)})}\n".encode(), 0)

    def _close(self) -> None:
        os.close(self._descriptor)

    def _kept(self) -> tuple[int, ...]:
        ports: list[int] = []
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            ports = [int(port) for port in json.loads(os.pread(self._descriptor, _MAX_MARKER, 0))["ports"]]
        return tuple(ports) if len(ports) == _PORTS and all(map(self._free, ports)) else ()

    def _free(self, port: int) -> bool:
        if not 0 < port <= _LAST_PORT:
            return False
        try:
            socket.create_server((self._host, port)).close()
        except OSError:
            return False
        return True
