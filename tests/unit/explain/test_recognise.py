"""What was given."""

from __future__ import annotations

from time import process_time

import pytest

from kamailio_app.explain.recognise import Kind, identity_values, recognise, unrecognised

from ..builders import identity, passport
from .support import message

LOG = "Nov 29 20:00:00 edge kamailio[7]: INFO: <script>: stirshaken: verify call-id=x result=valid"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (message(), Kind.MESSAGE),
        (f"\n\nU 192.0.2.1 -> 192.0.2.2\n{message()}", Kind.MESSAGE),
        ("SIP/2.0 200 OK\r\n\r\n", Kind.MESSAGE),
        ("U 192.0.2.2 -> 192.0.2.1\nSIP/2.0 438 Invalid Identity Header.\nReason: STIR ;cause=438.\n.\n", Kind.MESSAGE),
        (f"Identity: {identity()}\n", Kind.IDENTITY),
        (f"y:{identity()}", Kind.IDENTITY),
        (identity(), Kind.IDENTITY),
        (passport(), Kind.IDENTITY),
        ("..c2ln;info=<https://x/y>", Kind.IDENTITY),
        (LOG, Kind.LOG),
        (f"{LOG}\n{message()}", Kind.LOG),
        ("nothing that anybody knows", Kind.LOG),
        ("\n".join(f"    {line}" for line in message().splitlines()), Kind.MESSAGE),
        (f"He sent:\n\n\t{message()}", Kind.MESSAGE),
    ],
)
def test_text_is_recognised_by_its_beginning(text: str, kind: Kind) -> None:
    assert recognise(text.encode()) is kind


@pytest.mark.parametrize(
    "magic",
    ["a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a", "1f8b0800"],
)
def test_captures_are_recognised_by_their_magic(magic: str) -> None:
    assert recognise(bytes.fromhex(magic) + b"\0" * 20) is Kind.CAPTURE


def test_each_line_with_the_name_is_a_header() -> None:
    assert identity_values("Identity: a.b.c;info=<u:1>\r\n ;ppt=shaken\r\ny: d.e.f\r\n") == (
        "a.b.c;info=<u:1>\r\n ;ppt=shaken",
        "d.e.f",
    )


def test_lines_broken_by_a_mail_program_are_put_together() -> None:
    text = identity()
    assert identity_values(f"{text[:70]}\n{text[70:140]}\n{text[140:]}\n") == (text,)


def test_many_folds_are_read_in_linear_time() -> None:
    began = process_time()
    (value,) = identity_values("Identity: a" + "\n y" * 200_000)
    assert process_time() - began < 2
    assert value.count("y") == 200_000


def test_nothing_is_no_header_of_any_kind() -> None:
    assert identity_values("  \n ") == ()


@pytest.mark.parametrize(
    ("head", "said", "advice"),
    [
        (b" \n", "chain.pem is empty", "--help"),
        (b"x\n-----BEGIN EC PRIVATE KEY-----\n", "it is PEM, EC PRIVATE KEY", "shakenctl inspect chain.pem"),
        (b"\x30\x82\x01", "it is DER", "shakenctl inspect chain.pem"),
        (b"hello", "it is neither a SIP message, an Identity header, a capture, lines of our log, nor a token", "--help"),
    ],
)
def test_what_is_nothing_is_said_to_be_what_it_is(head: bytes, said: str, advice: str) -> None:
    error = unrecognised(head, "chain.pem")
    assert error.detail.startswith(said)
    assert advice in error.advice
