"""Emergency calls: known in every way to write them, and nobody else's call is one."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.policy.emergency import is_emergency
from kamailio_app.tn import AS_WRITTEN, NumberPlan

from ..builders import request

NUMBERS = frozenset({"911", "933", "112"})
NANP = NumberPlan("1", "1", "011", 10)
PLANS = [AS_WRITTEN, NANP]

EMERGENCIES = [
    "sip:911@x",
    "SIP:911@x",
    "sips:112@x;user=phone",
    "sip:+911@x",
    "sip:9-1-1@x;user=phone",
    "sip:911;phone-context=+1@x;user=phone",
    "sip:911;phone-context=example.com@x;user=phone",
    "sip:933;verstat=x@x",
    "tel:911",
    "tel:911;phone-context=+1",
    "TEL:112;phone-context=example.com",
    "urn:service:sos",
    "urn:service:sos.fire",
    "URN:Service:SOS.Police",
]
OTHERS = [
    "sip:+12155550131@x",
    "sip:12155550131@x",
    "sip:+1911@x",
    "sip:9111@x",
    "sip:91@x",
    "sip:alice@x",
    "sip:alice;phone-context=911@x",
    "sip:911.example.com",
    "sip:x@911",
    "tel:+12155550911",
    "tel:555;phone-context=+1",
    "urn:service:counseling",
    "urn:service:sosx",
    "urn:service:so",
    "911",
    "",
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("uri", EMERGENCIES)
def test_emergency_in_to_or_request_uri_is_known(uri: str, plan: NumberPlan) -> None:
    assert is_emergency(request(to_uri=uri), NUMBERS, plan)
    assert is_emergency(request(request_uri=uri), NUMBERS, plan)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("uri", OTHERS)
def test_other_calls_are_none(uri: str, plan: NumberPlan) -> None:
    assert not is_emergency(request(to_uri=uri, request_uri=uri), NUMBERS, plan)
    assert not is_emergency(request(to_uri=uri), NUMBERS, plan)


@pytest.mark.parametrize("changes", [{"from_uri": "sip:911@x"}, {"asserted": ("<tel:911>",)}])
def test_emergency_centre_that_calls_is_none(changes: dict[str, Any]) -> None:
    assert not is_emergency(request(**changes), NUMBERS)


def test_numbers_are_the_operators() -> None:
    assert not is_emergency(request(to_uri="sip:911@x"), frozenset({"112"}))
    assert is_emergency(request(to_uri="tel:+18005550199"), frozenset({"18005550199"}))
    assert is_emergency(request(to_uri="sip:8005550199@x"), frozenset({"18005550199"}), NANP)


def test_sos_is_one_whatever_the_numbers() -> None:
    assert is_emergency(request(to_uri="urn:service:sos"), frozenset())
    assert not is_emergency(request(to_uri="sip:911@x"), frozenset())
