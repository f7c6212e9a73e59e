"""One question to one NTP server: what is no answer to it is passed over, and no answer is waited for in vain."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.doctor.sntp import Offset, _seconds, _understood, ask

from .clinic import TimeServer

COOKIE = 0x1234


def answer(*, first: int = 4 << 3 | 4, stratum: int = 2, origin: int = COOKIE, at: float = 1000.0) -> bytes:
    stamp = int((at + 2_208_988_800) * (1 << 32))
    return struct.pack("!BBbbIII4Q", first, stratum, 0, 0, 0, 0, 0x52415445, 0, origin, stamp, stamp)


@pytest.mark.parametrize("off", [-90.0, 0.0, 2.5])
def test_offset_is_what_has_to_be_added_to_our_clock(off: float) -> None:
    with TimeServer() as server:
        server.off = off
        found = ask("127.0.0.1", 3, port=server.port)
    assert found.seconds == pytest.approx(off, abs=0.5)
    assert (found.stratum, found.delay >= 0) == (2, True)


def test_datagrams_that_are_no_answer_to_our_question_are_passed_over() -> None:
    with TimeServer() as server:
        server.before = [b"", b"x", b"\x24" * 48, answer(), answer(first=4 << 3 | 3)]
        server.before.remove(b"")
        assert abs(ask("127.0.0.1", 3, port=server.port).seconds) < 1


def test_server_that_says_nothing_is_not_waited_for() -> None:
    with TimeServer() as server:
        server.silent, server.before = True, [b"x" * 48] * 20
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            ask("127.0.0.1", 0.3, port=server.port)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(("leap", "stratum", "words"), [(0, 0, "refuses: b'RATE'"), (3, 2, "know"), (0, 16, "know")])
def test_server_that_does_not_know_the_time_says_so(leap: int, stratum: int, words: str) -> None:
    with TimeServer() as server:
        server.leap, server.stratum = leap, stratum
        with pytest.raises(ValueError, match=words):
            ask("127.0.0.1", 3, port=server.port)


def test_era_of_2036_is_the_nearest() -> None:
    assert _seconds((100 + 2_208_988_800) << 32, 0) == 100
    # RFC 4330 3: the count begins anew on 7 February 2036
    assert _seconds(60 << 32, 2_085_978_500) == 2_085_978_496 + 60


@given(
    st.binary(max_size=80) | st.builds(answer, first=st.integers(0, 255), stratum=st.integers(0, 255), origin=st.just(COOKIE))
)
def test_any_datagram_is_an_offset_or_none_or_a_reason(datagram: bytes) -> None:
    try:
        found = _understood(datagram, COOKIE, 1000.0, 0.1)
    except ValueError:
        return
    assert found is None or isinstance(found, Offset)
