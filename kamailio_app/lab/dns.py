"""A name server on loopback, UDP only (RFC 1035): names with the addresses that a test gives them, also with ill will."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final

_TYPES: Final = {1: "A", 28: "AAAA"}
_NUMBERS: Final = {kind: number for number, kind in _TYPES.items()}
_VERSIONS: Final = {"A": 4, "AAAA": 6}
_HEADER: Final = struct.Struct("!6H")
_ANSWER: Final = struct.Struct("!HHHIH")
_FLAGS: Final = 0x8180  # an answer, recursion desired and available
_NAME_ERROR: Final = 3
_POINTER: Final = 0xC00C  # to the name of the question


class NameServer:
    """`names`: name -> answers, each the addresses of one look-up; the next look-up gets the next, after the last the first.

    Names in `silent`, and those under them, get no answer; all others do not exist. `asked` holds (name, "A" or "AAAA").
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.names: dict[str, Sequence[Sequence[str]]] = {}
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._turns: Counter[tuple[str, str]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._host, self.port = self._socket.getsockname()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        """As settings name it."""
        return f"{self._host}:{self.port}"

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
            waking.sendto(b"", (self._host, self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            message, client = self._socket.recvfrom(4096)
            if self._stopped.is_set():
                return
            # What is no question gets no answer
            with suppress(ValueError, IndexError, struct.error):
                if reply := self._reply(message):
                    self._socket.sendto(reply, client)

    def _reply(self, message: bytes) -> bytes | None:
        number, *_ = _HEADER.unpack_from(message)
        name, end = _question(message)
        kind = _TYPES.get(int.from_bytes(message[end : end + 2], "big"), "other")
        self.asked.append((name, kind))
        if any(name == silent or name.endswith(f".{silent}") for silent in self.silent):
            return None
        addresses = [address.packed for address in self._addresses(name, kind)]
        code = 0 if name in self.names else _NAME_ERROR
        head = _HEADER.pack(number, _FLAGS | code, 1, len(addresses), 0, 0)
        question = message[_HEADER.size : end + 4]
        records = b"".join(_ANSWER.pack(_POINTER, _NUMBERS[kind], 1, 0, len(one)) + one for one in addresses)
        return head + question + records

    def _addresses(self, name: str, kind: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        answers = self.names.get(name)
        if not answers:
            return []
        turn = self._turns[name, kind]
        self._turns[name, kind] += 1
        found = [ipaddress.ip_address(address) for address in answers[turn % len(answers)]]
        return [address for address in found if address.version == _VERSIONS.get(kind)]


def _question(message: bytes) -> tuple[str, int]:
    """The name that is asked for, in small letters, and where it ends."""
    labels, place = [], _HEADER.size
    while length := message[place]:
        labels.append(message[place + 1 : place + 1 + length].decode("ascii").lower())
        place += 1 + length
    return ".".join(labels), place + 1
