"""The laboratory's repository: what it says on the wire, and that nothing of it is left when it is closed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import FOREVER, Answer, Repository


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture
def repository(hierarchy: Hierarchy, tmp_path: Path) -> Iterator[Repository]:
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        yield repository


def ask(repository: Repository, path: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", repository.port), 5))
    connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
    return connection


def heard(repository: Repository, path: str) -> bytes:
    with ask(repository, path) as connection:
        return drained(connection)


def drained(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_chain_and_its_absence(repository: Repository) -> None:
    repository.chains["a"] = b"chain"
    head, _, body = heard(repository, "a?query").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.0 200 OK"
    assert {"Content-Type: application/pem-certificate-chain", "Cache-Control: max-age=86400", "Content-Length: 5"} < {*lines}
    assert body == b"chain"
    assert heard(repository, "b").startswith(b"HTTP/1.0 404 Not Found\r\n")
    assert repository.asked == ["/a?query", "/b"]


@pytest.mark.parametrize(
    ("answer", "octets"),
    [
        (Answer(raw=b"garbage"), b"garbage"),
        (Answer(0), b""),
    ],
)
def test_what_is_no_http(repository: Repository, answer: Answer, octets: bytes) -> None:
    repository.answers["a"] = answer
    assert heard(repository, "a") == octets


@pytest.mark.parametrize(("length", "said"), [("true", b"\r\nContent-Length: 3\r\n"), (7, b"\r\nContent-Length: 7\r\n")])
def test_length_is_what_it_is_told(repository: Repository, length: int, said: bytes) -> None:
    repository.answers["a"] = Answer(body=b"abc", length=length)
    assert said in heard(repository, "a")


def test_length_may_be_missing(repository: Repository) -> None:
    repository.answers["a"] = Answer(body=b"abc", length=None)
    found = heard(repository, "a")
    assert b"Content-Length" not in found
    assert found.endswith(b"\r\n\r\nabc")


def test_headers_of_the_answer_go_before_its_own(repository: Repository) -> None:
    repository.answers["a"] = Answer(headers={"Cache-Control": "no-store", "X": "y"})
    found = heard(repository, "a")
    assert b"\r\nCache-Control: no-store\r\n" in found
    assert b"\r\nX: y\r\n" in found
    assert b"86400" not in found


@pytest.mark.parametrize("reset", [0, 3])
def test_reset_is_no_end(repository: Repository, reset: int) -> None:
    repository.answers["a"] = Answer(body=b"abcdef", reset=reset)
    with ask(repository, "a") as connection:
        # TLS makes an end of a reset: look beneath it
        beneath = socket.socket(fileno=connection.detach())
        beneath.settimeout(5)
    with beneath, pytest.raises(ConnectionResetError):
        drained(beneath)


def test_drip_comes_in_pieces(repository: Repository) -> None:
    repository.answers["a"] = Answer(body=b"x" * 20, drip=100)
    began = time.monotonic()
    assert heard(repository, "a").endswith(b"x" * 20)
    assert time.monotonic() - began >= 0.19


@pytest.mark.parametrize(
    "answer",
    [
        Answer(delay=FOREVER),
        Answer(pause=FOREVER, body=b"x"),
        Answer(drip=0.001, body=b"x"),
        Answer(drip=0.001, drip_head=True),
        Answer(endless="head"),
        Answer(endless="body"),
        Answer(endless="body", drip=10),
    ],
    ids=["delay", "pause", "drip", "drip-head", "endless-head", "endless-body", "endless-drip"],
)
def test_nothing_is_left_when_it_is_closed(hierarchy: Hierarchy, tmp_path: Path, answer: Answer) -> None:
    before = set(threading.enumerate())
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.answers["a"] = answer
        # One that says nothing, not even in TLS
        clients: list[socket.socket] = [socket.create_connection(("127.0.0.1", repository.port))]
        clients += [ask(repository, "a") for _ in range(5)]
        ends = time.monotonic() + 5
        while len(repository.asked) < 5:
            assert time.monotonic() < ends
            time.sleep(0.005)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert set(threading.enumerate()) <= before
    for client in clients:
        client.close()
