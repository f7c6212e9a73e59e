"""PASSporTs and certificates that openssl and secsipidx made (tests/sipp/frozen), verified at the moment they were signed.

The SIPp suite sends the same texts to a running edge, where the clock goes on and they are stale.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Final

import pytest

from kamailio_app import sti_vs
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.sip import Request
from kamailio_app.verdict import Verification

FROZEN: Final = Path(__file__).resolve().parents[1] / "sipp" / "frozen"
RULES: Final = sti_vs.VerificationRules(x5u=X5uRules(ports=frozenset({28443})))


def text(name: str) -> str:
    return (FROZEN / name).read_text().strip()


def signed_at(value: str) -> int:
    payload = value.split(".")[1]
    iat: int = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]
    return iat


def verified(name: str, *, age: float = 0, called: str = "+12155550131") -> Verification:
    value = text(f"{name}.identity")
    now = signed_at(value) + age
    anchors = TrustAnchors(parse_chain((FROZEN / "root.pem").read_bytes()))
    credential = validate((FROZEN / "frozen.pem").read_bytes(), anchors, now)
    request = Request("INVITE", f"sip:{called}@x", "sip:+12155550121@x", f"sip:{called}@x", (), (value,))
    examination = sti_vs.examine(request, RULES, now=now)
    return sti_vs.conclude(examination, dict.fromkeys(examination.needed, credential), now=now)


@pytest.mark.parametrize(("name", "attest"), [("full", "A"), ("gateway", "C")])
def test_what_others_made_is_valid(name: str, attest: str) -> None:
    verification = verified(name)
    assert verification.token == ""
    assert verification.verdict.passport is not None
    assert verification.verdict.passport.claims.attest.value == attest
    assert verification.verdict.credential is not None
    assert verification.verdict.credential.tnauthlist.spcs == ("709J",)


def test_a_payload_behind_another_ones_signature_is_invalid() -> None:
    assert verified("swapped").token == "signature_invalid"


def test_it_is_stale_a_minute_later() -> None:
    assert verified("full", age=60).token == ""
    assert verified("full", age=61).token == "iat_stale"


def test_it_says_nothing_of_another_called_number() -> None:
    assert verified("full", called="+12155550199").token == "dest_mismatch"
