"""A SIP peer for tests: it sends what a test wrote and shows what came back, octet for octet. By UDP, or by TCP."""

from __future__ import annotations

import itertools
import re
import selectors
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_COUNTER: Final = itertools.count(1)


@dataclass(frozen=True)
class SipMessage:
    """What a peer received."""

    start_line: str
    headers: tuple[tuple[str, str], ...]
    source: tuple[str, int]
    octets: bytes = field(default=b"", repr=False)

    @property
    def code(self) -> int:
        """Of a response; 0 of a request."""
        match = re.match(r"SIP/2\.0 (\d{3})", self.start_line)
        return int(match[1]) if match else 0

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name: str) -> str:
        return next(iter(self.all(name)), "")


class Peer:
    """`host` is an address of the test's own network; the port is any, unless one is given."""

    transport = "UDP"

    def __init__(self, host: str, port: int = 0) -> None:
        self.socket = self._open(host, port)
        self.host, self.port = self.socket.getsockname()

    def _open(self, host: str, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((host, port))
        return opened

    def _send(self, octets: bytes, target: tuple[str, int]) -> None:
        self.socket.sendto(octets, target)

    def _receive(self, timeout: float) -> tuple[bytes, tuple[str, int]]:
        """The next message. Errors: TimeoutError."""
        self.socket.settimeout(timeout)
        octets, source = self.socket.recvfrom(65536)
        return octets, source

    @property
    def uri(self) -> str:
        return f"sip:{self.host}:{self.port}"

    def close(self) -> None:
        self.socket.close()

    def invite(
        self,
        target: tuple[str, int],
        *,
        caller: str = "+12155550121",
        called: str = "+12155550131",
        extra: bytes | str = b"",
        call_id: str = "",
        from_field: bytes | None = None,
        to_tag: str = "",
        method: str = "INVITE",
        branch: str = "",
        uri: str = "",
        body: str = "",
    ) -> str:
        """Send a request; its Call-ID. `extra` is whole header lines, `body` an SDP."""
        number = next(_COUNTER)
        call_id = call_id or f"test-{number}@{self.host}"
        extra = extra.encode() if isinstance(extra, str) else extra
        from_field = from_field or f"<sip:{caller}@{self.host}>;tag=t{call_id[5:8]}".encode()
        self._send(
            f"{method} {uri or f'sip:{called}@{target[0]}:{target[1]}'} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.transport} {self.host}:{self.port};branch=z9hG4bK{branch or number}\r\n".encode()
            + b"From: "
            + from_field
            + f"\r\nTo: <sip:{called}@{target[0]}>{f';tag={to_tag}' if to_tag else ''}\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <{self.uri}>\r\n".encode()
            + extra
            + (b"Content-Type: application/sdp\r\n" if body else b"")
            + f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode(),
            target,
        )
        return call_id

    def receive(self, timeout: float = 5) -> SipMessage:
        """The next message. Errors: TimeoutError."""
        data, source = self._receive(timeout)
        head = data.decode("utf-8", "replace").partition("\r\n\r\n")[0]
        start_line, *lines = head.split("\r\n")
        headers = tuple((name.lower().strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return SipMessage(start_line, headers, source, data)

    def receive_request(self, method: str, timeout: float = 5) -> SipMessage:
        while True:
            message = self.receive(timeout)
            if message.start_line.startswith(f"{method} "):
                return message

    def response(self, timeout: float = 5) -> SipMessage:
        """The next response, acknowledged if it is a refusal (RFC 3261 17.1.1.3)."""
        while True:
            message = self.receive(timeout)
            if message.code >= 300 and message.header("cseq").endswith("INVITE"):
                self._acknowledge(message)
            if message.code:
                return message

    def final(self, timeout: float = 5) -> SipMessage:
        """The next response that is not provisional."""
        while True:
            message = self.response(timeout)
            if message.code >= 200:
                return message

    def _acknowledge(self, response: SipMessage) -> None:
        host, port = response.source
        fields = [f"{name}: {response.header(name)}" for name in ("Via", "From", "To", "Call-ID")]
        lines = [f"ACK sip:{host}:{port} SIP/2.0", *fields, "CSeq: 1 ACK", "Max-Forwards: 70", "Content-Length: 0"]
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode(), response.source)

    def answer(
        self, request: SipMessage, code: int = 486, phrase: str = "Busy Here", tag: str = "callee", extra: str = ""
    ) -> None:
        """Answer a request that was received. `extra` is whole header lines."""
        copied = [
            f"{name.title()}: {value}"
            for name, value in request.headers
            if name in ("via", "record-route", "from", "call-id", "cseq")
        ]
        to = request.header("to")
        lines = [
            f"SIP/2.0 {code} {phrase}",
            *copied,
            f"To: {to if 'tag=' in to else f'{to};tag={tag}'}",
            f"Contact: <{self.uri}>",
        ]
        self._send(("\r\n".join(lines) + f"\r\n{extra}Content-Length: 0\r\n\r\n").encode(), request.source)


class TcpPeer(Peer):
    """The same by TCP: takes connections, and makes one to whom it has none to. A port may be that of a UDP peer."""

    transport = "TCP"

    def _open(self, host: str, port: int) -> socket.socket:
        self._connections: dict[tuple[str, int], socket.socket] = {}
        self._waiting: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        listening = socket.create_server((host, port))
        self._selector.register(listening, selectors.EVENT_READ)
        return listening

    def _add(self, connection: socket.socket, address: tuple[str, int]) -> socket.socket:
        self._connections[address] = connection
        self._waiting[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)
        return connection

    def _send(self, octets: bytes, target: tuple[str, int]) -> None:
        connection = self._connections.get(target)
        if connection is None:
            connection = self._add(self._connect(target), target)
        connection.sendall(octets)

    def _connect(self, target: tuple[str, int]) -> socket.socket:
        return socket.create_connection(target, 5, (self.host, 0))

    def _accept(self) -> tuple[socket.socket, tuple[str, int]]:
        return self.socket.accept()

    def _receive(self, timeout: float) -> tuple[bytes, tuple[str, int]]:
        deadline = time.monotonic() + timeout
        while True:
            for address, connection in self._connections.items():
                message, rest = first_message(self._waiting[connection])
                if message:
                    self._waiting[connection] = rest
                    return message, address
            left = deadline - time.monotonic()
            ready = self._selector.select(left) if left > 0 else []
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                self._read(key.fileobj)

    def _read(self, ready: object) -> None:
        if ready is self.socket:
            self._add(*self._accept())
            return
        address, connection = next(pair for pair in self._connections.items() if pair[1] is ready)
        octets = connection.recv(65536)
        self._waiting[connection] += octets
        if not octets:
            self._selector.unregister(connection)
            self._connections.pop(address).close()

    def close(self) -> None:
        self._selector.close()
        for connection in self._connections.values():
            connection.close()
        super().close()


class TlsPeer(TcpPeer):
    """The same by TLS. `certificate` is a PEM file with chain and key: what it shows as a client, or as a server."""

    transport = "TLS"

    def __init__(self, host: str, port: int = 0, *, certificate: Path) -> None:
        self._contexts = [ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)]
        self._contexts[0].check_hostname, self._contexts[0].verify_mode = False, ssl.CERT_NONE
        for context in self._contexts:
            context.load_cert_chain(certificate)
        super().__init__(host, port)

    def _connect(self, target: tuple[str, int]) -> socket.socket:
        return self._contexts[0].wrap_socket(super()._connect(target))

    def _accept(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super()._accept()
        return self._contexts[1].wrap_socket(connection, server_side=True), address


def first_message(stream: bytes) -> tuple[bytes, bytes]:
    """The first message of a stream, by its Content-Length (RFC 3261 18.3), and what follows; nothing if it is not whole."""
    head, end, body = stream.lstrip(b"\r\n").partition(b"\r\n\r\n")
    found = re.search(rb"^Content-Length: *(\d+)", head, re.MULTILINE | re.IGNORECASE)
    length = int(found[1]) if found else 0
    if not end or len(body) < length:
        return b"", stream
    return head + end + body[:length], body[length:]
