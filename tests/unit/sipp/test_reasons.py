"""Reason header fields of answers: each way to get them wrong is a failure."""

from __future__ import annotations

import dataclasses

import pytest

from kamailio_app.lab.sipp import Message
from tests.sipp.suite import reasons
from tests.sipp.suite.scenario import Reason
from tests.sipp.suite.trace import Sight
from tests.unit.sipp.test_check import bad, message

STALE = 'STIR ;cause=403 ;text="Stale Date" ;ppi="..c2ln"'
WRONG = 'STIR ;cause=438 ;text="Invalid Identity Header" ;ppi="..b3RoZXI"'
WITHOUT_PPI = 'STIR ;cause=438 ;text="Invalid Identity Header"'
SENT = message(
    "Identity: aaa.bbb.c2ln;info=<https://cr.example/a.pem>", "Identity: aaa.bbb.b3RoZXI;info=<x>", "Identity: garbage"
)


def answer(status: str, *fields: str) -> Message:
    return message(*[f"Reason: {field}" for field in fields], start=f"SIP/2.0 {status}")


def findings(expected: tuple[Reason, ...], *answers: Message) -> list[str]:
    sight = Sight("c-1", SENT, answers[-1], (), (), provisional=answers[:-1])
    return bad(tuple(reasons.check(expected, sight)))


@pytest.mark.parametrize(
    ("expected", "fields", "good"),
    [
        ((), (), True),
        ((), ("Q.850 ;cause=16",), True),
        ((), (STALE,), False),
        ((Reason("403 Stale Date"),), (STALE,), True),
        ((Reason("403 Stale Date"),), ("Q.850 ;cause=16", STALE), True),
        ((Reason("403 Stale Date"),), (), False),
        ((Reason("403 Stale Date"),), (STALE, STALE), False),
        ((Reason("403 Old Date"),), (STALE,), False),
        ((Reason("403 Stale Date", 2),), (STALE,), False),
        ((Reason("403 Stale Date", 0),), (STALE,), False),
        ((Reason("438 Invalid Identity Header", 0),), (WITHOUT_PPI,), True),
        ((Reason("438 Invalid Identity Header"),), (WITHOUT_PPI,), False),
        ((Reason("438 Invalid Identity Header", 2),), (WRONG,), True),
        ((Reason("438 Invalid Identity Header", 3),), (WRONG,), False),
        ((Reason("438 Invalid Identity Header", 4),), (WRONG,), False),
        ((Reason("403 Stale Date"), Reason("438 Invalid Identity Header")), (STALE, WRONG), True),
        ((Reason("403 Stale Date"), Reason("438 Invalid Identity Header")), (WRONG, STALE), False),
        ((Reason("403 Stale Date"),), (STALE.replace('"Stale Date"', "Stale Date"),), False),
        ((Reason("403 Stale Date"),), (STALE.replace("..c2ln", "aaa.bbb.c2ln"),), False),
        ((Reason("403 Stale Date"),), (f"{STALE} ;more=1",), False),
    ],
)
def test_reason(expected: tuple[Reason, ...], fields: tuple[str, ...], good: bool) -> None:
    assert findings(expected, answer("200 OK", *fields)) == ([] if good else ["Reason in 200 OK"])


def test_every_answer_but_100_has_them() -> None:
    expected = (Reason("403 Stale Date"),)
    ringing, ok = answer("180 Ringing", STALE), answer("200 OK", STALE)
    assert findings(expected, answer("100 Trying"), ringing, ok) == []
    assert findings(expected, answer("100 Trying", STALE), ringing, ok) == ["Reason in 100 Trying"]
    assert findings(expected, answer("180 Ringing"), ok) == ["Reason in 180 Ringing"]
    assert findings(expected, ringing, answer("486 Busy Here")) == ["Reason in 486 Busy Here"]


def test_header_fields_in_one_line_are_counted_one_by_one() -> None:
    sent = message("Identity: aaa.bbb.c2ln;info=<x>, aaa.bbb.b3RoZXI;info=<x>")
    sight = dataclasses.replace(Sight("c-1", sent, answer("200 OK", WRONG), (), ()))
    assert bad(tuple(reasons.check((Reason("438 Invalid Identity Header", 2),), sight))) == []
