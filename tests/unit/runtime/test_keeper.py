"""A fetch process that does what it should not: says what is no answer, does not end, ends too early. It costs no call."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import Any, Final, cast

import pytest

from kamailio_app.runtime import link
from kamailio_app.runtime.link import Keeper, Orders

# Says what it is given in its third argument, then a right answer, and ends when nobody listens
_SAYING: Final = """
import socket, sys
link = socket.socket(fileno=int(sys.argv[3]))
link.sendall(bytes.fromhex(sys.argv[1]) + b'\\n{"kind": "right"}\\n')
while link.recv(1 << 16):
    pass
"""


def said(octets: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The answers until the right one, and the lines of the log about others."""
    lines: list[str] = []
    answers: list[dict[str, Any]] = []
    with closing(Orders()) as orders:
        command = [sys.executable, "-c", _SAYING, octets.hex()]
        keeper = Keeper(orders, lambda level, text: lines.append(f"{level}: {text}"), command=(command, {}))
        try:
            keeper.configure({})
            ends = time.monotonic() + 20
            while {"kind": "right"} not in answers:
                assert time.monotonic() < ends, lines
                answers += keeper.answers(0.2)
        finally:
            keeper.close()
    return answers, [line for line in lines if line.startswith("err: ")]


@pytest.mark.parametrize(
    "octets",
    [b"garbage", b"", b"5", b"[]", b"null", b'"text"', b'{"kind": ', b"\xff\xfe", b"\0", b"[" * 50_000, b"{'kind': 1}"],
    ids=lambda octets: str(octets[:12]),
)
def test_line_that_is_no_answer_does_not_cost_the_next(octets: bytes) -> None:
    answers, errors = said(octets)
    assert answers == [{"kind": "right"}]
    (error,) = errors
    assert "said what is no answer: b" in error
    assert len(error) < 500


def test_answers_in_one_piece_are_all_taken() -> None:
    answers, errors = said(b'{"kind": "a"}\n{"kind": "b"}\nx\n{"kind": "c"}')
    assert [answer["kind"] for answer in answers] == ["a", "b", "c", "right"]
    assert len(errors) == 1


def test_process_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_ENDS_WITHIN", 0.1)
    with closing(Orders()) as orders:
        stubborn = "import socket, sys, time\nsocket.socket(fileno=int(sys.argv[2])).sendall(b'{}\\n')\ntime.sleep(60)"
        keeper = Keeper(orders, lambda _level, _text: None, command=([sys.executable, "-c", stubborn], {}))
        keeper.configure({})
        ends = time.monotonic() + 20
        while not keeper.answers(0.2):
            assert time.monotonic() < ends
        process = keeper._process
        keeper.close()
    assert process is not None
    assert process.returncode == -signal.SIGKILL


def test_process_that_does_not_hear_what_it_is_told_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_ENDS_WITHIN", 0.1)
    lines: list[str] = []
    with closing(Orders()) as orders:
        deaf = "import time\ntime.sleep(60)"
        keeper = Keeper(orders, lambda _level, text: lines.append(text), command=([sys.executable, "-c", deaf], {}))
        keeper.configure({"more than there is room for": "x" * 4_000_000})
        try:
            assert keeper.answers(0.01) == []
            assert (keeper.pid, keeper._link) == (0, None)
        finally:
            keeper.close()
    assert sum("ended with status -9" in line for line in lines) == 1


class _Immortal:
    """A process that hangs in the kernel."""

    pid = 4711

    def __init__(self) -> None:
        self.killed = 0

    def wait(self, timeout: float) -> int:
        raise subprocess.TimeoutExpired("fetch process", timeout)

    def kill(self) -> None:
        self.killed += 1


def test_process_that_cannot_be_ended_is_left_behind() -> None:
    lines: list[str] = []
    with closing(Orders()) as orders:
        command = [sys.executable, "-c", _SAYING, b"{}".hex()]
        keeper = Keeper(orders, lambda _level, text: lines.append(text), command=(command, {}))
        immortal = _Immortal()
        ours, theirs = socket.socketpair()
        theirs.close()
        keeper._process, keeper._link = cast("Any", immortal), ours
        try:
            assert keeper.answers(1) == []
            assert (immortal.killed, keeper.pid) == (1, 0)
            assert "fetch process 4711 ended with status None" in lines[0]
            # Another one takes its place
            keeper.configure({})
            ends = time.monotonic() + 20
            while not keeper.answers(0.2):
                assert time.monotonic() < ends, lines
            assert keeper.pid not in (0, 4711)
        finally:
            keeper.close()


def test_change_that_a_process_did_not_live_to_hear_is_told_to_the_next() -> None:
    hearing = (
        "import socket, sys\nlink = socket.socket(fileno=int(sys.argv[2]))\nlink.sendall(link.recv(1 << 16))\nlink.recv(1)"
    )
    lines: list[str] = []
    with closing(Orders()) as orders:
        keeper = Keeper(orders, lambda _level, text: lines.append(text), command=([sys.executable, "-c", hearing], {}))
        try:
            for number in (1, 2):
                keeper.configure({"n": number})
                answers: list[dict[str, Any]] = []
                ends = time.monotonic() + 20
                while not answers:
                    assert time.monotonic() < ends, lines
                    answers = keeper.answers(0.2)
                assert answers == [{"n": number}]
                process = keeper._process
                assert process is not None
                process.kill()
                process.wait(10)
        finally:
            keeper.close()
    assert sum("ended with status -9" in line for line in lines) == 1
