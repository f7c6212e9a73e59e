"""Who calls whom and when, as it is signed on the real Kamailio, both modes: numbers of a trunk, asserted identities, Date.

What is signed goes through an edge that verifies, and has to be valid there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest

from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.sip import parse_date
from tests.integration.line import VALID, Line, SigningSite, lines

Plan = Mapping[str, str | int]
ANOTHER = "+13125550100"
FRENCH: Plan = {"country_code": "33", "national_prefix": "0", "international_prefix": "00", "national_number_length": 9}
AMERICAN: Plan = {"country_code": "1", "national_prefix": "1", "international_prefix": "011", "national_number_length": 10}
LONDON: Plan = {"country_code": "44", "national_prefix": "0", "international_prefix": "00", "national_number_length": 10}


class Dialling(NamedTuple):
    """How a trunk dials: as the policy says it, as [numbers] of the edge that verifies does, and what calls come to."""

    trunk: str
    plan: Plan
    calls: Mapping[tuple[str, str], tuple[str, str]]


DIALLING = {
    "fr": Dialling(
        'country = "fr"',
        FRENCH,
        {
            ("0123456789", "0198765432"): ("33123456789", "33198765432"),
            ("0123456789", "0012155550131"): ("33123456789", "12155550131"),
        },
    ),
    "us": Dialling(
        'country = "us"',
        AMERICAN,
        {
            ("2155550121", "12155550131"): ("12155550121", "12155550131"),
            ("12155550121", "01133198765432"): ("12155550121", "33198765432"),
            ("(215)555-0121", "+12155550131"): ("12155550121", "12155550131"),
        },
    ),
    "in-detail": Dialling(
        "\n".join(f"{name} = {value!r}" for name, value in LONDON.items()),
        LONDON,
        {("02079460123", "07700900123"): ("442079460123", "447700900123")},
    ),
}


@pytest.mark.parametrize("country", DIALLING)
def test_numbers_are_read_as_they_are_dialled_on_their_trunk(network: Network, tmp_path: Path, cfg: str, country: str) -> None:
    trunk, plan, calls = DIALLING[country]
    (orig, _), *_ = calls.values()
    policy = f"""
        [trunk.national]
        {trunk}
        [[rule]]
        name = "known"
        trunk = "national"
        caller = "{orig[:5]}*"
        attest = "A"
        [[rule]]
        name = "others"
        attest = "C"
    """
    line = Line(network, tmp_path, cfg, policy, trunks={82: "national"}, verifying={"numbers": plan})
    line.provider("sp")
    with line:
        for (caller, called), (orig, dest) in calls.items():
            call = line.call(line.phones[82], caller=caller, called=called)
            assert (call.claims()["orig"], call.claims()["dest"]) == ({"tn": orig}, {"tn": [dest]})
            # Rules ask about the same numbers as are signed
            assert (call.attest, call.verdict) == ("A", VALID)
        # Whoever writes +E.164 is understood on any trunk
        for phone in (line.phone, line.phones[82]):
            call = line.call(phone, caller=f"+{orig}", called=CALLED)
            assert (call.claims()["orig"], call.verdict) == ({"tn": orig}, VALID)


def test_asserted_identity_goes_before_from(network: Network, tmp_path: Path, cfg: str) -> None:
    line = Line(network, tmp_path, cfg)
    line.provider("sp")
    with line:
        for asserted, orig in (
            ((f"<sip:{ANOTHER}@carrier.example;user=phone>",), ANOTHER),
            ((f'"A, B" <sip:bob@carrier.example>, <tel:{ANOTHER}>',), ANOTHER),
            (("<sip:bob@carrier.example>", f"<tel:{ANOTHER};ext=1>"), ANOTHER),
            ((), CALLER),
        ):
            call = line.call(extra=lines(*(f"P-Asserted-Identity: {value}" for value in asserted)))
            assert (call.claims()["orig"], call.verdict) == ({"tn": orig[1:]}, VALID)
        # Asserted, and no number: From says nothing then
        call = line.call(extra=lines("P-Asserted-Identity: <sip:bob@carrier.example>"))
        assert (call.identities, call.signed["token"]) == ([], "orig_missing")


def test_from_goes_first_where_the_settings_say_so(network: Network, tmp_path: Path, cfg: str) -> None:
    identities = {"identities": {"orig_source": "from"}}
    line = Line(network, tmp_path, cfg, signing=identities, verifying=identities)
    line.provider("sp")
    with line:
        call = line.call(extra=lines(f"P-Asserted-Identity: <tel:{ANOTHER}>"))
        assert (call.claims()["orig"], call.verdict) == ({"tn": CALLER[1:]}, VALID)


def test_date_is_added_where_there_is_none_and_kept_where_it_is_fresh(network: Network, tmp_path: Path, cfg: str) -> None:
    line = Line(network, tmp_path, cfg)
    line.provider("sp")
    with line:
        call = line.call()
        (date,) = call.request.all("date")
        assert parse_date(date) == call.claims()["iat"]
        assert abs(call.claims()["iat"] - time.time()) < 10
        assert call.verdict == VALID
        for age in (-20, 0, 20):
            sent = formatdate(time.time() - age, usegmt=True)
            call = line.call(extra=lines(f"Date: {sent}"))
            assert call.request.all("date") == [sent]
            assert abs(call.claims()["iat"] - time.time()) < 10
            assert call.verdict == VALID


@pytest.mark.parametrize(
    ("age", "token"), [(600, "date_stale"), (-600, "date_in_future"), (None, "date_malformed")], ids=["old", "early", "no-date"]
)
def test_call_with_a_date_that_is_not_now_is_not_signed(
    network: Network, tmp_path: Path, cfg: str, age: int | None, token: str
) -> None:
    sent = "yesterday" if age is None else formatdate(time.time() - age, usegmt=True)
    with SigningSite(network, tmp_path, cfg) as site:
        call_id = site.phone.invite(site.target, extra=lines(f"Date: {sent}"))
        request = site.carrier.receive_request("INVITE")
        site.carrier.answer(request)
        assert site.phone.final().code == 486
        assert (request.all("identity"), request.all("date")) == ([], [sent])
        assert site.words(call_id)["token"] == token
        assert not re.search("ERROR|CRITICAL", site.edge.log())
