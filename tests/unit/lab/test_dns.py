"""The laboratory's name server, asked by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from kamailio_app.lab.dns import NameServer

A, AAAA, TXT = 1, 28, 16


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def ask(server: NameServer, message: bytes, seconds: float = 5) -> bytes:
    host, _, port = server.address.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.sendto(message, (host, int(port)))
        return client.recv(4096)


def test_addresses_of_the_type_that_is_asked_for(server: NameServer) -> None:
    server.names["a.test"] = [["192.0.2.1", "2001:db8::1", "192.0.2.2"]]
    reply = ask(server, question("A.test", A))
    assert reply.startswith(b"\x12\x34\x81\x80\0\1\0\2\0\0\0\0" + question("A.test", A)[12:])
    assert socket.inet_aton("192.0.2.1") in reply
    assert reply.endswith(socket.inet_aton("192.0.2.2"))
    assert ask(server, question("a.test", AAAA)).endswith(socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
    assert server.asked == [("a.test", "A"), ("a.test", "AAAA")]


def test_answers_take_turns_for_each_type(server: NameServer) -> None:
    server.names["a.test"] = [["192.0.2.1"], ["192.0.2.2"]]
    found = [ask(server, question("a.test", kind))[-4:] for kind in (A, AAAA, A, A)]
    assert [socket.inet_ntoa(found[turn]) for turn in (0, 2, 3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]


def test_unknown_name_does_not_exist_and_unknown_type_has_no_records(server: NameServer) -> None:
    server.names["a.test"] = [["192.0.2.1"]]
    assert ask(server, question("b.test", A))[2:12] == b"\x81\x83\0\1\0\0\0\0\0\0"
    assert ask(server, question("a.test", TXT))[2:12] == b"\x81\x80\0\1\0\0\0\0\0\0"


@pytest.mark.parametrize("message", [question("silent.test", A), question("x.silent.test", A), b"", b"\0" * 11, b"\xff" * 30])
def test_silence(server: NameServer, message: bytes) -> None:
    server.silent.add("silent.test")
    server.names["a.test"] = [["192.0.2.1"]]
    with pytest.raises(TimeoutError):
        ask(server, message, 0.1)
    assert ask(server, question("a.test", A))  # it still answers
