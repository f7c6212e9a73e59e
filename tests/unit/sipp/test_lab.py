"""What the suite reads of others: SIPp's traces, Kamailio's log while it is being written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from kamailio_app.lab.edge import Edge, calls_in
from kamailio_app.lab.own_log import sitecustomize as own_log
from tests.sipp.suite.lane import Lane, Work
from tests.sipp.suite.outcome import Status
from tests.sipp.suite.scenario import Case, Expect, Scenario
from tests.sipp.suite.system import System
from tests.sipp.suite.target import Start, Target
from tests.unit.sipp.test_check import message

LINE = "1(7) INFO: <core>: stirshaken: verify call-id=c-1 result=failed token=iat_stale us=99: too old\n"


def test_folded_header_is_one_line() -> None:
    """RFC 3261 7.3.1."""
    found = message("X: a,", "  b", "\tc: d", "Y: e", start="INVITE sip:x@y SIP/2.0")
    assert found.start_line == "INVITE sip:x@y SIP/2.0"
    assert found.headers == {"x": ("a, b c: d",), "y": ("e",)}


def test_words_of_a_call() -> None:
    words = {"kind": "verify", "call-id": "c-1", "result": "failed", "token": "iat_stale", "us": "99"}
    assert calls_in(LINE) == {"c-1": words}


@pytest.mark.parametrize("end", range(len(LINE)))
def test_line_that_is_being_written_is_no_line_yet(end: int) -> None:
    assert calls_in(LINE[:end]) == {}


def test_line_without_call_id_is_left_out() -> None:
    assert list(calls_in(f"stirshaken: verify cal\n{LINE}stirshaken: sign result=signed\n")) == ["c-1"]


class Writing:
    """A system whose log grows each time it is read."""

    def __init__(self, *logs: str) -> None:
        self._logs = list(logs)

    def log(self) -> str:
        return self._logs.pop(0) if len(self._logs) > 1 else self._logs[0]


@pytest.mark.parametrize(
    ("expect", "logs"),
    [
        (Expect(token="iat_stale"), ("", LINE[:50], LINE)),
        (Expect(said={"pass unsigned": 1}), ("", "calls pass unsigned\n")),
        (Expect(token="iat_stale", said={"ready": 1}), (LINE, f"{LINE}ready\n")),
    ],
)
def test_what_is_expected_of_the_log_is_awaited(expect: Expect, logs: tuple[str, ...]) -> None:
    system: Any = Writing(*logs)
    lane = Lane(cast("System", system), Path())
    scenario = Scenario("s", "S", "", ("RFC",), "verify", (), (), Path())
    work = Work(Target("t", "", "T", ("verify",), start=Start()), scenario, Case(expect=expect))
    assert work.result(Status.PASSED).case == ""
    lane._logged(work, ["c-1"])
    assert system.log() == logs[-1]


def test_every_process_writes_a_log_of_its_own(tmp_path: Path) -> None:
    edge = Edge(tmp_path, cfg="kamailio-exec.cfg", host="127.0.0.1", port=5060, settings="")
    environment = {"PYTHONPATH": str(Path(own_log.__file__).parent), own_log.VARIABLE: str(edge.log_file)}
    script = (
        "import os, sys\n"
        "print('before', file=sys.stderr)\n"
        "for name in ('one', 'two'):\n"
        "    if not os.fork():\n"
        "        print(name, file=sys.stderr)\n"
        "        print('not yet complete', end='', file=sys.stderr, flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "print('after', file=sys.stderr)\n"
    )
    with edge.log_file.open("wb") as log:
        subprocess.run([sys.executable, "-c", script], env=environment, stderr=log, check=True, timeout=20)
    assert edge.log_file.read_text() == "before\nafter\n"
    assert sorted(edge.log().splitlines()) == ["after", "before", "one", "two"]
    edge.forget_log()
    assert edge.log() == ""
