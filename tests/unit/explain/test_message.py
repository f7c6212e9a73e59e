"""SIP messages as text."""

from __future__ import annotations

from time import process_time

import pytest

from kamailio_app.explain.message import MAX_OCTETS, Message, read_message

from ..builders import DATE, DEST, ORIG, X5U, identity, refused
from .support import message


def read(text: str) -> Message:
    return read_message(text.encode())


@pytest.mark.parametrize("eol", ["\r\n", "\n"])
def test_request_is_the_snapshot_that_the_adapter_makes(eol: str) -> None:
    value = identity()
    found = read(
        message(
            f"Identity: {value}",
            "P-Asserted-Identity: <tel:+1>",
            "Resource-Priority: ets.0",
            "Priority: psap-callback",
            "Diversion: <sip:+2@x>",
            "History-Info: <sip:+3@x>;index=1",
            eol=eol,
        )
    )
    request = found.request()
    assert (request.method, request.request_uri) == ("INVITE", f"sip:+{DEST}@term.example.net")
    assert request.from_uri == f"sip:+{ORIG}@orig.example.com;user=phone"
    assert request.to_uri == f"sip:+{DEST}@orig.example.com;user=phone"
    assert request.identity == (value,)
    assert request.asserted == ("<tel:+1>",)
    assert (request.resource_priority, request.priority) == (("ets.0",), "psap-callback")
    assert (request.diversion, request.history_info) == (("<sip:+2@x>",), ("<sip:+3@x>;index=1",))
    assert (request.date, request.in_dialog) == (DATE, False)
    assert (found.call_id, found.cseq, found.code) == ("call@192.0.2.1", (1, "INVITE"), 0)


def test_compact_names_are_those_of_rfc_3261_and_rfc_8224() -> None:
    value = identity()
    found = read(f"INVITE sip:x@y SIP/2.0\nf: <sip:+1@a>;tag=1\nt: sip:+2@b;tag=2\ni : call\ny: {value}\n\n")
    request = found.request()
    assert (request.from_uri, request.to_uri, found.call_id) == ("sip:+1@a", "sip:+2@b", "call")
    assert request.identity == (value,)
    assert request.in_dialog


def test_folded_lines_go_on() -> None:
    digest, semicolon, parameters = identity().partition(";")
    found = read(message(f"Identity: {digest}\r\n {semicolon}{parameters}"))
    assert found.request().identity == (f"{digest}\r\n {semicolon}{parameters}",)


def test_several_identity_headers_keep_their_order() -> None:
    assert read(message("Identity: a.b.c;info=<u:1>", "y: d.e.f;info=<u:2>")).request().identity == (
        "a.b.c;info=<u:1>",
        "d.e.f;info=<u:2>",
    )


def test_more_identity_headers_than_are_looked_at_are_as_many_as_the_adapter_reads() -> None:
    assert len(read(message(*(["Identity: a.b.c"] * 40))).request().identity) == 11


def test_body_is_no_header() -> None:
    found = read(message() + f"Identity: {identity()}\r\n")
    assert found.request().identity == ()


def test_lines_of_other_tools_before_the_message_are_passed_over() -> None:
    assert read(f"2023/11/14 22:13:20.000000 192.0.2.1:5060 -> 192.0.2.2:5060\n{message()}").call_id == "call@192.0.2.1"


def test_dots_of_ngrep_are_line_ends() -> None:
    value = identity()
    dotted = message(f"Identity: {value}", eol=".\n")
    request = read(f"U 192.0.2.1:5060 -> 192.0.2.2:5060\n{dotted}").request()
    assert request.identity == (value,)
    assert request.request_uri == f"sip:+{DEST}@term.example.net"


def test_line_that_is_no_field_is_passed_over() -> None:
    assert read(message("no field at all", "Subject: hello")).value("subject") == "hello"


@pytest.mark.parametrize(
    ("to", "in_dialog"),
    [
        ('<sip:+2@b>;x=";tag=1"', False),
        ('";tag=1" <sip:+2@b>', False),
        ('"a>;tag=1" <sip:+2@b;tag=1>', False),
        ('"\\";tag=1" <sip:+2@b>', False),
        ('<sip:+2@b>;x=">;tag=1', False),
        ('<sip:+2@b>;x="y" ; Tag = 1', True),
        ('"\\\\" <sip:+2@b>;tag=1', True),
    ],
)
def test_tag_between_quotes_is_none(to: str, in_dialog: bool) -> None:
    assert read(f"INVITE sip:x SIP/2.0\nTo: {to}\n\n").request().in_dialog is in_dialog


def test_what_comes_first_is_the_message_whatever_its_body_holds() -> None:
    head = "SIP/2.0 200 OK\r\nCall-ID: answered\r\nCSeq: 1 INVITE\r\nContent-Type: message/sipfrag\r\n\r\n"
    for before in ("", "\r\n\r\n", "U 192.0.2.2:5060 -> 192.0.2.1:5060\n"):
        found = read(before + head + message())
        assert (found.method, found.code, found.call_id) == ("", 200, "answered")
    assert read(message() + head).call_id == "call@192.0.2.1"


def test_many_folds_are_read_in_linear_time() -> None:
    text = message("Subject: a" + "\r\n y" * 200_000).encode()
    began = process_time()
    found = read_message(text)
    assert process_time() - began < 2
    assert (found.value("subject") or "").count("y") == 200_000


def test_response_has_a_code() -> None:
    found = read("SIP/2.0 438 Invalid Identity Header\r\nReason: STIR ;cause=438\r\nCSeq: 7 INVITE\r\n\r\n")
    assert (found.code, found.phrase, found.values("reason")) == (438, "Invalid Identity Header", ("STIR ;cause=438",))
    assert found.cseq == (7, "INVITE")


def test_without_cseq_there_is_no_number() -> None:
    assert read("INVITE sip:x SIP/2.0\n\n").cseq == (0, "")


def test_absent_fields_are_empty() -> None:
    request = read("INVITE sip:x SIP/2.0\n\n").request()
    assert (request.from_uri, request.to_uri, request.date, request.identity) == ("", "", None, ())


def test_what_is_no_utf8_is_replaced() -> None:
    request = read_message(b"INVITE sip:x SIP/2.0\r\nFrom: <sip:\xff@x>\r\n\r\n").request()
    assert request.from_uri == "sip:�@x"


@pytest.mark.parametrize("text", ["", "hello", "INVITE sip:x HTTP/1.1\r\n\r\n", "invite sip:x SIP/2.0\r\n", X5U])
def test_what_is_no_message_is_refused(text: str) -> None:
    with refused("input_unrecognised"):
        read(text)


def test_what_is_too_large_is_refused() -> None:
    with refused("input_unrecognised"):
        read_message(b"INVITE sip:x SIP/2.0\r\n" + b"x" * MAX_OCTETS)
