"""Whoever says nothing by verstat, or not in our classes, is asked one thing: is the call held for verified?"""

from __future__ import annotations

import pytest

from tests.sipp.suite.check import Seen, check
from tests.sipp.suite.scenario import Callee, Case, Expect
from tests.unit.sipp.test_check import NUMBER, PASSED, bad, message, sight

FAILED = "TN-Validation-Failed"
NOT_VALIDATED = "No-TN-Validation"


def case(verstat: str) -> Case:
    return Case(expect=Expect(answer=("200 OK",), callee=Callee(verstat=verstat)))


def found(verstat: str, invite_from: str | None, *supports: str) -> list[str]:
    """What is bad about a call that reached the callee with that From, or was refused."""
    call = sight(message(f"From: {invite_from};tag=1")) if invite_from else sight(answer="438 Invalid Identity Header")
    return bad(check(case(verstat), Seen([call], "carried through", "carried through", None, lambda _url: None, supports)))


PLAIN = f"<sip:{NUMBER}@x>"


@pytest.mark.parametrize("expected", [FAILED, NOT_VALIDATED])
def test_without_verstat_an_unverified_call_is_refused(expected: str) -> None:
    assert found(expected, None) == []
    assert found(expected, PLAIN) == ["the call"]


def test_without_verstat_a_verified_call_goes_on() -> None:
    assert found(PASSED, PLAIN) == []
    assert "the call" in found(PASSED, None)


def test_without_classes_anything_but_passed_is_unverified() -> None:
    for got in (FAILED, NOT_VALIDATED):
        assert found(NOT_VALIDATED, f"<sip:{NUMBER};verstat={got}@x>", "verstat") == []
    assert found(NOT_VALIDATED, PLAIN, "verstat") == []
    assert found(NOT_VALIDATED, f"<sip:{NUMBER};verstat={PASSED}@x>", "verstat") == ["verstat at the callee"]
    assert found(PASSED, f"<sip:{NUMBER};verstat={FAILED}@x>", "verstat") == ["verstat at the callee"]


def test_with_classes_it_is_the_very_word() -> None:
    assert found(NOT_VALIDATED, f"<sip:{NUMBER};verstat={FAILED}@x>", "verstat", "verstat-classes") == ["verstat at the callee"]
    assert found(NOT_VALIDATED, f"<sip:{NUMBER};verstat={NOT_VALIDATED}@x>", "verstat", "verstat-classes") == []
