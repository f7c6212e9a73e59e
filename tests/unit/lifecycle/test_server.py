"""A Kamailio asked by RPC, with a kamcmd in its place that says what the real one says; integration asks the real one."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kamailio_app.errors import StirError
from kamailio_app.lifecycle import server
from kamailio_app.lifecycle.server import DEFAULT_CONTROL, Kamailio
from kamailio_app.runtime.in_use import InUse

from ..builders import refused


class Desk:
    """Where kamcmd is: a shell script."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked_file = directory / "asked"
        self.says("")

    def says(self, text: str, status: int = 0, more: str = "") -> None:
        (self.directory / "answer").write_text(text)
        script = self.directory / "kamcmd"
        script.write_text(
            f'#!/bin/sh\nprintf "%s|" "$@" >>{self.asked_file}\n{more}\ncat {self.directory}/answer\nexit {status}\n'
        )
        script.chmod(0o755)

    @property
    def asked(self) -> str:
        return self.asked_file.read_text()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Desk(tmp_path)


def test_words_are_words_and_no_options(desk: Desk) -> None:
    desk.says("x\n")
    assert Kamailio().rpc("core.echo", "-s", "a b") == "x\n"
    assert desk.asked == f"-s|{DEFAULT_CONTROL}|--|core.echo|-s|a b|"


@pytest.mark.parametrize(
    ("control", "asked"),
    [("/run/x/ctl", "unix:/run/x/ctl"), ("unix:/x", "unix:/x"), ("tcp:127.0.0.1:2046", "tcp:127.0.0.1:2046")],
)
def test_path_alone_is_a_socket(desk: Desk, control: str, asked: str) -> None:
    Kamailio(control).rpc("core.version")
    assert desk.asked == f"-s|{asked}|--|core.version|"


def test_socket_where_nobody_answers_is_unreachable_and_the_reason_is_said(desk: Desk) -> None:
    desk.says("ERROR: connect_unix_sock: connect(/x): Connection refused [111]\n", 255)
    with pytest.raises(StirError) as caught:
        Kamailio("/x").rpc("core.version")
    assert caught.value.token == "server_unreachable"
    assert caught.value.detail == "unix:/x: ERROR: connect_unix_sock: connect(/x): Connection refused [111]"


def test_missing_kamcmd_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("server_unreachable"):
        Kamailio().rpc("core.version")


def test_server_that_never_answers_is_given_up(desk: Desk) -> None:
    desk.says("", more="exec sleep 60")
    began = time.monotonic()
    with refused("server_unreachable"):
        Kamailio(seconds=0.2).rpc("core.version")
    assert time.monotonic() - began < 5


def test_fault_is_refused_whatever_the_exit_status(desk: Desk) -> None:
    desk.says("error: 500 - command nope.x not found\n")
    with refused("server_refused"):
        Kamailio().rpc("nope.x")


def test_answer_without_end_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_ANSWER", 1000)
    desk.says("", more="exec yes")
    with refused("server_refused"):
        Kamailio().rpc("core.version")


def test_version_is_a_number(desk: Desk) -> None:
    desk.says("kamailio 5.6.3 (x86_64/linux) \n")
    assert Kamailio().version() == "5.6.3"
    desk.says("sshd\n")
    with refused("server_refused"):
        Kamailio().version()


def test_modules_and_processes(desk: Desk) -> None:
    desk.says("app_python3\ntm\nkex\n")
    assert Kamailio().modules() == {"app_python3", "tm", "kex"}
    desk.says("25325\nmain process - attendant\n25326\nudp receiver child=0 sock=127.0.0.1:5060\n")
    assert Kamailio().processes() == {25325: "main process - attendant", 25326: "udp receiver child=0 sock=127.0.0.1:5060"}


def test_numbers_are_numbers(desk: Desk) -> None:
    desk.says("{\n\tnow: Sun Nov 29 20:53:04 2026\n\tup_since: Sun Nov 29 20:53:04 2026\n\tuptime: 17\n}\n")
    assert Kamailio().uptime() == 17
    desk.says("{\n\tcurrent: 3\n\t2xx: 5\n\tcreated: -\n}\n")
    assert Kamailio().transactions() == {"current": 3, "2xx": 5}
    with refused("server_refused"):
        Kamailio().uptime()


def test_reload_sets_a_number_that_is_another_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.lifecycle.server.time", SimpleNamespace(time=lambda: 1_700_000_000.9))
    desk.says("{\n\tname: stirshaken\n\ttype: int\n\tvalue: 0\n}\n")
    assert Kamailio().reload() == 1_700_000_000
    desk.says("{\n\tname: stirshaken\n\ttype: int\n\tvalue: 1700000000\n}\n")
    assert Kamailio().reload() == 1_700_000_001
    assert desk.asked.endswith("pv.shvSet|stirshaken|int|1700000001|")


def test_reload_of_a_server_without_us_is_refused(desk: Desk) -> None:
    desk.says("error: 404 - Variable not found\n")
    with refused("server_refused"):
        Kamailio().reload()


def test_entry_of_a_table_is_its_value_or_nothing(desk: Desk) -> None:
    desk.says("{\n\tentry: 10\n\tname: crl\n\tvalue: number=7 revoked=2 age=1s\n}\n")
    assert Kamailio().entry("stirshaken", "crl") == "number=7 revoked=2 age=1s"
    desk.says("error: 500 - Key name doesn't exist in htable.\n")
    assert Kamailio().entry("stirshaken", "crl") == ""
    desk.says("", 255)
    with refused("server_unreachable"):
        Kamailio().entry("stirshaken", "crl")


TABLE = "{{\n\tentry: 10\n\tname: pairs\n\tvalue: {} 1 sp1=0123456789abcdef\n}}\n"


def test_pairs_in_use_are_those_that_it_says(desk: Desk) -> None:
    desk.says(TABLE.format(-5))
    assert Kamailio().in_use() == InUse(-5, {"sp1": "0123456789abcdef"})
    desk.says("error: 500 - Key name doesn't exist in htable.\n")
    assert Kamailio().in_use() == InUse(None, {})
    desk.says("", 255)
    with refused("server_unreachable"):
        Kamailio().in_use()


def test_reload_is_waited_for_until_it_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            desk.says(TABLE.format(1_700_000_000))

    clock = SimpleNamespace(time=lambda: 1_700_000_000, sleep=sleep, monotonic=lambda: sum(slept))
    monkeypatch.setattr(server, "time", clock)
    desk.says(TABLE.format(7))
    assert Kamailio().take_over() == InUse(1_700_000_000, {"sp1": "0123456789abcdef"})
    assert len(slept) == 3


def test_server_that_does_not_look_is_not_waited_for_without_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(time=lambda: 1_700_000_000, sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(server, "time", clock)
    desk.says(TABLE.format(7))
    assert Kamailio().take_over(0.25) is None
    assert len(slept) == 3
