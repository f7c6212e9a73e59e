"""Claims of an rph PASSporT, and what they say of Resource-Priority and Priority."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.passport.rph import RphClaims, check_rph, priority_claims, resource_priorities, rph_claims
from kamailio_app.sip import Party

from ..builders import ABSENT, DEST, NOW, ORIG, changed, refused

CLAIMS: dict[str, Any] = {"dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "rph": {"auth": ["ets.0", "WPS.0"]}}
ESNET = {"auth": ["esnet.0"]}


def read(**changes: Any) -> RphClaims:
    return rph_claims(changed(CLAIMS, changes))


def test_claims_are_read_in_lower_case() -> None:
    assert read() == RphClaims((Party("tn", DEST),), NOW, Party("tn", ORIG), ("ets.0", "wps.0"))


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_mandatory(name: str) -> None:
    with refused("claim_missing"):
        read(**{name: ABSENT})


def test_rph_without_auth() -> None:
    with refused("claim_missing"):
        read(rph={})


@pytest.mark.parametrize(
    "rph",
    [
        [],
        "ets.0",
        None,
        {"auth": "ets.0"},
        {"auth": []},
        {"auth": [0]},
        {"auth": ["ets"]},
        {"auth": ["ets.0", "a.b.c"]},
        {"auth": ["ets.0, wps.0"]},
        {"auth": ["ets.0\r\nX: y"]},
        {"auth": [""]},
    ],
)
def test_auth_is_an_array_of_resource_values(rph: object) -> None:
    with refused("claim_malformed"):
        read(rph=rph)


def test_callback_is_signed_beside_esnet() -> None:
    assert read(rph=ESNET, sph="psap-callback").sph == "psap-callback"


@pytest.mark.parametrize("sph", ["emergency", "PSAP-callback", "", None, 1, ["psap-callback"]])
def test_callback_is_the_only_priority_that_is_signed(sph: object) -> None:
    with refused("claim_malformed"):
        read(rph=ESNET, sph=sph)


def test_callback_without_esnet() -> None:
    with refused("claim_malformed"):
        read(sph="psap-callback")


def test_values_of_the_header_fields() -> None:
    assert resource_priorities(["ets.0 ,\tWPS.1", "", "dsn.flash,"]) == ["ets.0", "wps.1", "dsn.flash"]


@pytest.mark.parametrize("fields", [["ets.0, wps.0"], ["wps.0", "ETS.0"], ["q735.3,ets.0,wps.0"]])
def test_signed_values_are_those_of_the_request(fields: list[str]) -> None:
    check_rph(read(), fields, None)


@pytest.mark.parametrize("fields", [[], ["ets.0"], ["ets.1, wps.0"], ["ets.0 wps.0"]])
def test_signed_value_that_the_request_has_not(fields: list[str]) -> None:
    with refused("rph_mismatch"):
        check_rph(read(), fields, None)


@pytest.mark.parametrize("priority", ["psap-callback", " PSAP-Callback "])
def test_callback_is_what_priority_says(priority: str) -> None:
    check_rph(read(rph=ESNET, sph="psap-callback"), ["esnet.0"], priority)


@pytest.mark.parametrize("priority", [None, "", "emergency"])
def test_callback_that_priority_does_not_say(priority: str | None) -> None:
    with refused("rph_mismatch"):
        check_rph(read(rph=ESNET, sph="psap-callback"), ["esnet.0"], priority)


@pytest.mark.parametrize(
    "dest",
    [
        {"tn": ["911"]},
        {"tn": ["112"]},
        {"tn": ["+911", "112"]},
        {"uri": ["urn:service:sos"]},
        {"uri": ["URN:service:sos.police"], "tn": ["911"]},
        {"uri": ["sip:911@psap.example.net"]},
    ],
)
def test_esnet_is_for_calls_to_an_emergency_service(dest: dict[str, Any]) -> None:
    check_rph(read(rph=ESNET, dest=dest), ["esnet.0"], None)


@pytest.mark.parametrize(
    "dest",
    [
        {"tn": [DEST]},
        {"tn": ["911", DEST]},
        {"tn": ["9110"]},
        {"tn": ["alice"]},
        {"uri": ["urn:service:sosx"]},
        {"uri": ["urn:service:counseling"]},
    ],
)
def test_esnet_for_any_other_call(dest: dict[str, Any]) -> None:
    with refused("rph_mismatch"):
        check_rph(read(rph=ESNET, dest=dest), ["esnet.0"], None)
    check_rph(read(dest=dest), ["ets.0", "wps.0"], None)
    check_rph(read(rph=ESNET, dest=dest, sph="psap-callback"), ["esnet.0"], "psap-callback")


# --- What is signed ---------------------------------------------------------------------------------------------

PARTIES: tuple[tuple[Party, ...], int, Party] = ((Party("tn", DEST),), NOW, Party("tn", ORIG))


def test_what_the_request_says_is_signed() -> None:
    claims = priority_claims(*PARTIES, ("WPS.0, ets.0", "wps.0"), "urgent")
    assert claims == RphClaims(*PARTIES, ("wps.0", "ets.0"))
    assert claims is not None
    assert rph_claims(claims.members()) == claims
    assert claims.members()["rph"] == {"auth": ["wps.0", "ets.0"]}


def test_callback_is_signed_beside_esnet_alone() -> None:
    callback = priority_claims(*PARTIES, ("esnet.0",), " PSAP-Callback ")
    assert callback is not None
    assert callback.members()["sph"] == "psap-callback"
    other = priority_claims(*PARTIES, ("ets.0",), "psap-callback")
    assert other is not None
    assert "sph" not in other.members()


def test_no_priority_no_claims() -> None:
    assert priority_claims(*PARTIES, (), None) is None
    assert priority_claims(*PARTIES, (" ,",), "psap-callback") is None


@pytest.mark.parametrize(
    ("values", "token"), [("ets", "claim_malformed"), ("ets.0, a b.c", "claim_malformed"), ("esnet.1", "rph_mismatch")]
)
def test_what_nobody_would_accept_is_refused(values: str, token: str) -> None:
    with refused(token):
        priority_claims(*PARTIES, (values,), None)
