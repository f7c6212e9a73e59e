"""Orders to the fetch process and answers from it; its end is noticed and mended. The processes are real, and ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from kamailio_app.runtime.link import FETCH, MAX_ORDER, RENEW, Keeper, Orders

# Says what it was told, then what was ordered; ends when the link closes, or when it is ordered to
_ECHO: Final = """
import json, select, socket, sys
orders, link = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
while True:
    for ready in select.select([orders, link], [], [])[0]:
        text = ready.recv(1 << 20).decode()
        if not text or text == "fetch 0:0 end":
            sys.exit(3)
        link.sendall(json.dumps({"heard": text.strip()}).encode() + b"\\n")
"""


@dataclass
class Told:
    lines: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, level: str, text: str) -> None:
        self.lines.append((level, text))


@contextmanager
def keeping(orders: Orders, told: Told, script: str = _ECHO, clock: Callable[[], float] = time.monotonic) -> Iterator[Keeper]:
    keeper = Keeper(orders, told, command=([sys.executable, "-c", script], {}), clock=clock)
    try:
        yield keeper
    finally:
        keeper.close()


@pytest.fixture
def orders() -> Iterator[Orders]:
    with closing(Orders()) as made:
        yield made


def heard(keeper: Keeper, count: int, seconds: float = 10) -> list[Any]:
    """The first `count` answers."""
    found: list[dict[str, Any]] = []
    ends = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < ends, found
        found += keeper.answers(0.2)
    return [answer.get("heard") for answer in found]


def test_configuration_and_orders_arrive(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        keeper.configure({"path": "x"})
        assert heard(keeper, 1) == ['{"path": "x"}']
        assert orders.put(FETCH, "0:0", "https://a/ https://b/")
        assert orders.put(RENEW, "0:0", "https://c/")
        assert heard(keeper, 2) == ["fetch 0:0 https://a/ https://b/", "renew 0:0 https://c/"]


def test_nothing_is_started_before_it_can_be_told_what_to_do(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        assert keeper.answers(0.01) == []
        assert keeper.pid == 0


def test_change_is_told_to_the_same_process(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        keeper.configure({"n": 1})
        heard(keeper, 1)
        pid = keeper.pid
        keeper.configure({"n": 2})
        assert heard(keeper, 1) == ['{"n": 2}']
        assert keeper.pid == pid


def test_bell_ends_the_waiting(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        keeper.configure({})
        heard(keeper, 1)
        for _ in range(100_000):
            orders.ring()  # more often than anybody listens
        began = time.monotonic()
        assert keeper.answers(30) == []
        assert time.monotonic() - began < 15


def test_process_that_ended_is_started_again_and_told_again(orders: Orders) -> None:
    told = Told()
    with keeping(orders, told) as keeper:
        keeper.configure({"n": 1})
        heard(keeper, 1)
        first = keeper.pid
        orders.put(FETCH, "0:0", "end")
        assert heard(keeper, 1) == ['{"n": 1}']
        assert keeper.pid not in (0, first)
    assert [level for level, _text in told.lines] == ["info", "err", "info"]
    assert f"{first} ended with status 3" in told.lines[1][1]


def test_process_that_says_nothing_any_more_is_replaced(orders: Orders) -> None:
    told, now = Told(), [0.0]
    with keeping(orders, told, "import time; time.sleep(60)", clock=lambda: now[0]) as keeper:
        keeper.configure({})
        assert keeper.answers(0.01) == []
        silent = keeper.pid
        now[0] += 20
        assert keeper.answers(0.01) == []
        assert keeper.pid == silent
        now[0] += 1
        assert keeper.answers(0.01) == []
        assert keeper.pid == 0
        assert keeper.answers(0.01) == []
        assert keeper.pid not in (0, silent)
    assert f"fetch process {silent} says nothing any more" in [text for _level, text in told.lines]


@pytest.mark.parametrize(
    ("octets", "words"),
    [(b"boom", "boom"), (b"y" * 9 + b"x" * 1991 + b"boom \xff", f"{'y' * 3}{'x' * 1991}boom \N{REPLACEMENT CHARACTER}")],
    ids=["few", "many"],
)
def test_last_words_of_a_process_are_logged_when_it_ended(orders: Orders, octets: bytes, words: str) -> None:
    told = Told()
    with keeping(orders, told, f"import os; os.write(2, {octets!r})\n{_ECHO}") as keeper:
        keeper.configure({"n": 1})
        heard(keeper, 1)
        pids = []
        for _ in range(2):
            pids.append(keeper.pid)
            orders.put(FETCH, "0:0", "end")
            assert heard(keeper, 1) == ['{"n": 1}']
    # Each its own
    said = [text for level, text in told.lines if level == "err" and " said: " in text]
    assert said == [f"fetch process {pid} said: {words}" for pid in pids]


def test_process_that_said_nothing_is_not_said_to_have(orders: Orders) -> None:
    told = Told()
    with keeping(orders, told) as keeper:
        keeper.configure({"n": 1})
        heard(keeper, 1)
        orders.put(FETCH, "0:0", "end")
        heard(keeper, 1)
    assert not any(" said: " in text for _level, text in told.lines)


def test_orders_wait_for_the_next_process(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        assert orders.put(FETCH, "0:0", "https://a/")
        keeper.configure({"n": 1})
        assert set(heard(keeper, 2)) == {'{"n": 1}', "fetch 0:0 https://a/"}


def test_process_that_keeps_ending_is_started_later_and_later(orders: Orders) -> None:
    told, now = Told(), [0.0]
    with keeping(orders, told, "", clock=lambda: now[0]) as keeper:
        keeper.configure({})
        pauses = []
        for _ in range(9):
            ends = time.monotonic() + 10
            before = len(told.lines)
            while not any("ended" in text for _level, text in told.lines[before:]):
                assert time.monotonic() < ends
                keeper.answers(0.05)
            pauses.append(float(told.lines[-1][1].split()[-2]))
            now[0] += pauses[-1]
    assert pauses[:3] == [0.0, 1.5, 3.5]
    assert pauses[-1] == 30.0


def test_program_that_is_not_there_is_said_and_tried_again(orders: Orders) -> None:
    told = Told()
    keeper = Keeper(orders, told, command=(["/nonexistent/interpreter"], {}))
    keeper.configure({})
    assert keeper.answers(0.01) == []
    assert "cannot be started" in told.lines[0][1]
    keeper.close()


def test_closing_ends_the_process(orders: Orders) -> None:
    with keeping(orders, Told()) as keeper:
        keeper.configure({})
        heard(keeper, 1)
        process = keeper._process
    assert process is not None
    assert process.returncode == 3


def test_full_queue_is_said_at_once(orders: Orders) -> None:
    put = 0
    while orders.put(FETCH, "0:0", "https://a.example.test/x.pem"):
        put += 1
        assert put < 100_000
    assert put > 50


@pytest.mark.parametrize("urls", ["x" * MAX_ORDER, "\udce9" + "x" * MAX_ORDER])
def test_order_of_absurd_size_is_refused(orders: Orders, urls: str) -> None:
    assert not orders.put(FETCH, "0:0", urls)


def test_line_in_pieces_is_one_answer(orders: Orders) -> None:
    script = """
import json, socket, sys
link = socket.socket(fileno=int(sys.argv[2]))
text = json.dumps({"heard": "x" * 3_000_000}).encode() + b"\\n"
link.sendall(text + text[:10]); link.sendall(text[10:])
link.recv(1 << 20); link.recv(1)
"""
    with keeping(orders, Told(), script) as keeper:
        keeper.configure({})
        assert heard(keeper, 2) == ["x" * 3_000_000] * 2
