"""A SIP peer for tests: one UDP socket that sends what a test wrote and shows what came back, octet for octet."""

from __future__ import annotations

import itertools
import re
import socket
from dataclasses import dataclass
from typing import Final

_COUNTER: Final = itertools.count(1)


@dataclass(frozen=True)
class SipMessage:
    """What a peer received."""

    start_line: str
    headers: tuple[tuple[str, str], ...]
    source: tuple[str, int]

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
    """`host` is an address of the test's own network; the port is any."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.host, self.port = self.socket.getsockname()

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
    ) -> str:
        """Send a request; its Call-ID. `extra` is whole header lines."""
        number = next(_COUNTER)
        call_id = call_id or f"test-{number}@{self.host}"
        extra = extra.encode() if isinstance(extra, str) else extra
        from_field = from_field or f"<sip:{caller}@{self.host}>;tag=t{call_id[5:8]}".encode()
        self.socket.sendto(
            f"{method} {uri or f'sip:{called}@{target[0]}:{target[1]}'} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{branch or number}\r\n".encode()
            + b"From: "
            + from_field
            + f"\r\nTo: <sip:{called}@{target[0]}>{f';tag={to_tag}' if to_tag else ''}\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <{self.uri}>\r\n".encode()
            + extra
            + b"Content-Length: 0\r\n\r\n",
            target,
        )
        return call_id

    def receive(self, timeout: float = 5) -> SipMessage:
        """The next message. Errors: TimeoutError."""
        self.socket.settimeout(timeout)
        data, source = self.socket.recvfrom(65536)
        head = data.decode("utf-8", "replace").partition("\r\n\r\n")[0]
        start_line, *lines = head.split("\r\n")
        headers = tuple((name.lower().strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return SipMessage(start_line, headers, source)

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
        self.socket.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), response.source)

    def answer(self, request: SipMessage, code: int = 486, phrase: str = "Busy Here", tag: str = "callee") -> None:
        """Answer a request that was received."""
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
        self.socket.sendto(("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode(), request.source)
