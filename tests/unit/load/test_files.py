"""What SIPp and Kamailio write, and what SIPp is given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kamailio_app.lab.edge import EXEC, ROOT, with_another
from tests.load import identities, meter
from tests.load.caller import pace
from tests.load.cold import in_flight
from tests.load.files import Answered, answered, statistics
from tests.load.system import HERE, processes

HEAD = "StartTime;TotalCallCreated;SuccessfulCall(C);FailedCall(C);FailedUnexpectedMessage(C);FailedMaxUDPRetrans(C);"
HEAD += "Retransmissions(P);Retransmissions(C);\n"


def test_last_row_of_the_statistics_counts(tmp_path: Path) -> None:
    path = tmp_path / "statistics.csv"
    path.write_text(f"{HEAD}2026;10;9;0;0;0;1;1;\n2026;100;95;5;4;1;2;3;\n")
    counts = statistics(path)
    assert (counts.created, counts.succeeded, counts.failed, counts.retransmissions) == (100, 95, 5, 3)
    assert counts.failures == {"UnexpectedMessage": 4, "MaxUDPRetrans": 1}


@pytest.mark.parametrize("text", ["", HEAD])
def test_statistics_without_a_row_are_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "statistics.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="no statistics"):
        statistics(path)


def test_log_of_answered_calls(tmp_path: Path) -> None:
    path = tmp_path / "calls.log"
    path.write_text("1700000000.000000 999000.000000 1700000001.000000 1500.000000\n1700000002.000000 0.0 17000000")
    (call,) = answered(path)
    assert call.milliseconds == pytest.approx(2.5, abs=0.001)
    assert list(answered(tmp_path / "nothing.log")) == []


def test_most_calls_in_flight() -> None:
    assert in_flight([]) == 0
    assert in_flight([Answered(0, 10), Answered(1, 2), Answered(2, 3), Answered(9, 12)]) == 2


def test_injection_file_keeps_an_identity_whole(tmp_path: Path) -> None:
    path = tmp_path / "identities.csv"
    value = 'a.b.c;info=<https://cr.example/1.pem>;alg=ES256;ppt="shaken"'
    identities.write(path, [value])
    head, line = path.read_text().splitlines()
    assert head == "SEQUENTIAL"
    fields = line.split(";")
    text = identities.HEADER
    for number in range(4):
        text = text.replace(f"[field{number}]", fields[number])
    assert text == f"Identity: {value}"


def test_identity_with_other_parameters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parameters"):
        identities.write(tmp_path / "identities.csv", ["a.b.c;info=<x>"])


def test_scenarios_have_the_places_that_kinds_replace() -> None:
    assert (HERE / "caller.xml").read_text().count("Subject: load") == 1
    callee = (HERE / "callee.xml").read_text()
    assert callee.count("Subject:") == callee.count('regexp="."') == 1


@pytest.mark.parametrize("instead", [None, HERE / "secsipid.cfg", ROOT / "tests/sipp/targets/secsipid.cfg"])
def test_other_software_gets_the_same_routing(tmp_path: Path, instead: Path | None) -> None:
    line = 'include_file "stirshaken.cfg"'
    original, text = (ROOT / "cfg" / EXEC).read_text(), with_another(instead, tmp_path).read_text()
    assert text.startswith(original.replace(line, f'include_file "{instead}"' if instead else "#"))
    defined = re.findall(r"^route\[(\w+)\]", text + (instead.read_text() if instead else ""), re.MULTILINE)
    assert set(re.findall(r"\broute\((\w+)\)", text)) <= set(defined)
    assert len(defined) == len(set(defined))


def test_rate_as_sipp_takes_it() -> None:
    assert pace(400) == ["-r", "400"]
    assert pace(37.5) == ["-r", "375", "-rp", "10000"]


def test_processes_of_kamailio() -> None:
    assert processes("12\nmain process\n13\nudp receiver child=0 sock=127.0.0.1:5060\n") == {
        12: "main process",
        13: "udp receiver child=0 sock=127.0.0.1:5060",
    }


def test_members_of_an_answer() -> None:
    text = "{\n\ttotal: 134217728\n\tused: 2650376\n\tfragments: 7\n}\n"
    assert meter.members(text) == {"total": 134217728, "used": 2650376, "fragments": 7}


def test_lost_datagrams_of_ports() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref pointer drops\n"
        "  10: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0000000000000000 5\n"
        "  11: 0200007F:13C5 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0000000000000000 7\n"
    )
    assert meter.dropped(table, [5060]) == 5
    assert meter.dropped(table, [5060, 5061]) == 12
    assert meter.dropped(table, [1]) == 0


def test_own_cpu_time_grows() -> None:
    import os

    before = meter.read([os.getpid()])
    assert sum(number * number for number in range(200_000))
    after = meter.read([os.getpid()])
    assert after.used(before, [os.getpid()]) > 0
    assert after.time > before.time


def test_process_that_is_gone_is_left_out() -> None:
    gone = 2**22 + 1  # above the kernel's largest process id
    assert meter.cpu_seconds(gone) is None
    assert meter.read([gone]).processes == {}
