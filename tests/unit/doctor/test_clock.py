"""What keeps the clock, and what web servers have for the time."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.doctor import clock
from kamailio_app.doctor.finding import State
from kamailio_app.runtime.fetcher import Download

from .clinic import CRL_URL, LIST_URL, NOW, SYNCHRONISED, X5U, Clinic

URL = X5U.format(name="sp1234")


@pytest.mark.parametrize(
    ("offset", "state", "words"),
    [
        ("-0.000012", State.GOOD, "0.000012 s behind by 169.254.169.123"),
        ("1.5", State.WARNING, "1.500000 s ahead"),
        ("-31", State.BAD, "31.000000 s behind"),
        ("much", State.UNSEEN, "not understood"),
    ],
)
def test_chrony_says_how_far_the_clock_is_off(offset: str, state: State, words: str) -> None:
    seen = clock._chrony(SYNCHRONISED.replace("-0.000012", offset))
    assert (seen.state, words in seen.words) == (state, True)


@given(st.text(min_size=1).filter(str.splitlines))
def test_any_text_of_chrony_is_a_finding(text: str) -> None:
    assert clock._chrony(text).state in State


@pytest.mark.parametrize(
    ("said", "words"), [("yes", "good: timedatectl"), ("no", "warning: timedatectl"), ("", "not looked at")]
)
def test_timedatectl_is_asked_where_there_is_no_chrony(clinic: Clinic, said: str, words: str) -> None:
    clinic.tracking, clinic.timedatectl = "", said
    assert clinic.words("clock", "synchronised").startswith(words)


def test_program_that_is_not_there_or_fails_says_nothing(tmp_path: Path) -> None:
    assert clock._said(str(tmp_path / "nothing")) == ""
    assert clock._said("false") == ""
    assert clock._said("echo", "yes") == "yes"


def test_each_web_server_is_an_opinion_and_junk_is_none(clinic: Clinic) -> None:
    clinic.web.answers[URL] = Download(b"", "", date="yesterday")
    clinic.web.answers[LIST_URL] = Download(b"", "", date=formatdate(NOW), age="soon")
    clinic.web.answers[CRL_URL] = Download(b"", "", date=formatdate(2 * NOW))
    (line,) = clinic.words("clock", "HTTP Date").splitlines()
    assert line.startswith("bad: ")
    assert CRL_URL in line
    clinic.web.answers.clear()
    assert "no answer with a Date" in clinic.words("clock", "HTTP Date")


def test_ntp_server_that_is_nowhere_is_no_judgement(clinic: Clinic) -> None:
    assert clinic.words("clock", "NTP", ntp="127.0.0.1:1").startswith("not looked at: 127.0.0.1:1: ")
    assert clinic.words("clock", "NTP", ntp="no-such-host.invalid").startswith("not looked at: no-such-host.invalid: ")
