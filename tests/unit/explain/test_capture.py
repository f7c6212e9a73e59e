"""Captures, with a tshark that says what a test wrote. The real one: `tests/integration/test_explain.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kamailio_app.errors import StirError
from kamailio_app.explain.capture import CapturedCall, captured_calls

from ..builders import refused
from .support import message

Said = Callable[..., None]


def ip(source: str, destination: str) -> str:
    octets = bytes([0x45, *[0] * 11, *map(int, source.split(".")), *map(int, destination.split("."))])
    return octets.hex()


def frame(*texts: str, source: str = "192.0.2.1", destination: str = "192.0.2.2", at: float = 1_700_000_000) -> str:
    """A line of tshark's answer."""
    raw = [text.encode().hex() for text in texts]
    layers = {"ip_raw": ip(source, destination), "udp_raw": "13c413c500080000", "sip_raw": raw[0] if len(raw) == 1 else raw}
    return json.dumps({"timestamp": str(int(at * 1000)), "layers": layers})


def response(code: int, *fields: str) -> str:
    return "\r\n".join([f"SIP/2.0 {code} Phrase", "Call-ID: call@192.0.2.1", "CSeq: 1 INVITE", *fields, "", ""])


def back(*texts: str) -> str:
    return frame(*texts, source="192.0.2.2", destination="192.0.2.1")


@pytest.fixture
def tshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """tshark(lines, script): what it prints, and what else it does."""

    def says(*lines: str, then: str = "", status: int = 0) -> None:
        (tmp_path / "answer").write_text("".join(f"{line}\n" for line in lines))
        program = tmp_path / "tshark"
        program.write_text(
            f"#!/bin/sh\necho 'Running as user \"root\"' >&2\ncat {tmp_path / 'answer'}\n{then}\nexit {status}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return says


def calls(seconds: float = 30, remarks: list[str] | None = None) -> list[CapturedCall]:
    return captured_calls(Path("/any.pcap"), seconds, [] if remarks is None else remarks)


def test_invite_has_its_responses(tshark: Said) -> None:
    tshark('{"index":{}}', frame(message()), back(response(100)), back(response(438, "Reason: STIR ;cause=438")))
    (call,) = calls()
    assert (call.code, call.reasons, call.times) == (438, ("STIR ;cause=438",), 1)
    assert (call.packet.at, call.packet.source, call.packet.destination) == (1_700_000_000, "192.0.2.1:5060", "192.0.2.2:5061")
    assert call.packet.message.call_id == "call@192.0.2.1"


def test_repeated_invite_is_one_call_and_another_hop_is_another(tshark: Said) -> None:
    tshark(
        frame(message()), frame(message()), frame(message(), source="192.0.2.2", destination="192.0.2.3"), back(response(486))
    )
    assert [(call.times, call.code) for call in calls()] == [(2, 486), (1, 0)]


def test_final_response_goes_before_provisional_ones(tshark: Said) -> None:
    tshark(frame(message()), back(response(200)), back(response(183)))
    assert calls()[0].code == 200


def test_several_messages_in_one_frame_are_several(tshark: Said) -> None:
    tshark(frame(message(), message().replace("call@", "other@")))
    assert [call.packet.message.call_id for call in calls()] == ["call@192.0.2.1", "other@192.0.2.1"]


def test_invite_within_a_dialog_is_no_call(tshark: Said) -> None:
    tshark(frame(message().replace("user=phone>\r\nCall", "user=phone>;tag=two\r\nCall")))
    assert calls() == []


def test_response_to_nothing_is_passed_over(tshark: Said) -> None:
    tshark(back(response(200)))
    assert calls() == []


def test_ipv6_is_written_in_brackets(tshark: Said) -> None:
    layers = {
        "ipv6_raw": "60" + "00" * 7 + "20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02",
        "tcp_raw": "13c413c5",
    }
    tshark(json.dumps({"timestamp": "1", "layers": {**layers, "sip_raw": message().encode().hex()}}))
    (call,) = calls()
    assert (call.packet.source, call.packet.destination) == ("[2001:db8::1]:5060", "[2001:db8::2]:5061")


def test_what_is_no_message_is_passed_over(tshark: Said) -> None:
    tshark(frame("no SIP"), json.dumps({"timestamp": "1", "layers": {"sip_raw": "zz"}}), json.dumps({"layers": 3}))
    assert calls() == []


def test_capture_that_is_cut_short_is_read_as_far_as_it_goes(tshark: Said) -> None:
    remarks: list[str] = []
    tshark(frame(message()), then="echo 'appears to have been cut short in the middle of a packet.' >&2", status=2)
    assert len(calls(remarks=remarks)) == 1
    assert remarks == ["appears to have been cut short in the middle of a packet."]


def test_capture_that_is_none_is_said_in_tsharks_words(tshark: Said) -> None:
    tshark(then="echo 'isn'\"'\"'t a capture file in a format TShark understands.' >&2", status=2)
    with refused("capture_unreadable"):
        calls()


def test_tshark_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("capture_unreadable"):
        calls()


def test_tshark_that_does_not_end_is_ended(tshark: Said) -> None:
    tshark(frame(message()), then="exec sleep 60")
    with refused("capture_unreadable"):
        calls(0.5)


def test_tshark_asks_no_name_server_and_has_no_profile_of_the_user(
    tshark: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    tshark(then=f'echo "$HOME" "$@" > {tmp_path / "asked"}')
    assert calls() == []
    home, *arguments = (tmp_path / "asked").read_text().split()
    assert home != "/home/somebody"
    assert "-n" in arguments
    assert arguments[-2:] == ["-r", "/any.pcap"]


def test_more_calls_than_there_is_room_for_are_refused(tshark: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.explain.capture.MAX_CALLS", 2)
    some = [frame(message().replace("call@", f"{number}@")) for number in range(3)]
    tshark(*some[:2], *some[:2])
    assert [call.times for call in calls()] == [2, 2]
    tshark(*some)
    with refused("capture_unreadable"):
        calls()


def test_line_longer_than_any_message_is_refused(tshark: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame(message())
    tshark(whole)
    monkeypatch.setattr("kamailio_app.explain.capture._LONGEST_LINE", len(whole) + 2)
    assert len(calls()) == 1
    monkeypatch.setattr("kamailio_app.explain.capture._LONGEST_LINE", len(whole) // 2)
    with pytest.raises(StirError, match=r"^capture_unreadable: a packet larger than any SIP message$"):
        calls()


@pytest.mark.parametrize("line", ["{", '{"layers": {"sip_raw": "00", "ip_raw": "4"}}', '{"layers": {}, "timestamp": "soon"}'])
def test_answer_that_nobody_understands_is_said(tshark: Said, line: str) -> None:
    tshark(line)
    with refused("capture_unreadable"):
        calls()
