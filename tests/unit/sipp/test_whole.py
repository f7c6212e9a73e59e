"""Findings about a whole case: each of them can fail."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable

import pytest

from kamailio_app.lab.sipp import Message
from tests.sipp.suite import whole
from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.trace import Sight

URL = "https://cr.example/a.pem"
MIDNIGHT = 86400.0


def signed(origid: str) -> str:
    claims = urlsafe_b64encode(json.dumps({"origid": origid}).encode()).decode().rstrip("=")
    return f"e30.{claims}.AAAA;info=<{URL}>;ppt=shaken"


def invite(identity: str = "", time: float = 0.0) -> Message:
    return Message(time, True, "INVITE sip:x@y SIP/2.0", {"identity": (identity,)} if identity else {})


def call(identity: str = "", answered: float | None = None) -> Sight:
    answer = None if answered is None else Message(answered, True, "SIP/2.0 200 OK", {})
    return Sight("c", invite(identity), answer, (invite(identity),), ())


def good(findings: Iterable[Finding]) -> bool:
    return all(finding.good for finding in findings)


@pytest.mark.parametrize(("origids", "expected"), [(("a", "b"), True), (("a", "a"), False)])
def test_every_call_has_an_origid_of_its_own(origids: tuple[str, ...], expected: bool) -> None:
    assert whole.origids([call(signed(origid)) for origid in origids]).good is expected


@pytest.mark.parametrize(
    ("invites", "expected"),
    [
        ((signed("a"), signed("a")), True),
        ((signed("a"),), False),
        ((signed("a"), signed("b")), False),
        ((signed("a"), ""), False),
    ],
)
def test_copies_have_one_identity(invites: tuple[str, ...], expected: bool) -> None:
    assert good(whole.copies(2, [invite(identity) for identity in invites])) is expected


@pytest.mark.parametrize(("log", "expected"), [("a\nrefused x\n", True), ("a\n", False), ("refused\nrefused\n", False)])
def test_said_is_counted_by_lines(log: str, expected: bool) -> None:
    assert good(whole.said({"^refused": 1}, log)) is expected


def test_log_of_another_form_is_not_looked_at() -> None:
    findings = list(whole.said({"refused": 1}, None))
    assert good(findings)
    assert "not looked at" in findings[0].got


@pytest.mark.parametrize(("urls", "expected"), [([URL, "https://cr.example/b.pem"], True), ([], False), ([URL, URL], False)])
def test_repository_is_asked_for_the_urls_of_the_calls(urls: list[str], expected: bool) -> None:
    assert whole.asked(1, [call(signed("a"))], urls).good is expected


def test_foreign_repository_is_not_counted() -> None:
    finding = whole.asked(1, [call(signed("a"))], None)
    assert finding.good
    assert "not looked at" in finding.got


@pytest.mark.parametrize(
    ("own", "waiting", "expected"),
    [
        ((1.0,), (2.0, 3.0), True),
        ((1.0, 2.5), (2.0, 3.0), False),
        ((3.0,), (2.0, 3.0), False),
        ((1.0,), (2.0, None), False),
        ((None,), (2.0, 3.0), False),
        ((MIDNIGHT - 1,), (1.0, 2.0), True),
    ],
)
def test_calls_that_wait_are_answered_later(
    own: tuple[float | None, ...], waiting: tuple[float | None, ...], expected: bool
) -> None:
    calls, others = ([call(answered=moment) for moment in moments] for moments in (own, waiting))
    assert good(whole.overtaken(calls, others, 2)) is expected
