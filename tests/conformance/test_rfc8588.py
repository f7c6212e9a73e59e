"""RFC 8588: the "shaken" PASSporT."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.passport.claims import Attestation

from .support import (
    CLAIMS,
    HEADER,
    ORIGID,
    X5U,
    compact_json,
    identity,
    outcome,
    outcome_of_claims,
    parts,
    sign,
    token,
    unb64,
    verify,
    without,
)


def test_our_header_says_shaken_in_both_places() -> None:
    """RFC 8588 3: ppt MUST be "shaken"."""
    value = sign().identity
    assert parts(value)[0]["ppt"] == "shaken"
    assert value.endswith(";ppt=shaken")


def test_our_claims_are_the_five() -> None:
    """RFC 8588 3: attest and origid with the base claims, and no others."""
    assert parts(sign().identity)[1].keys() == {"attest", "dest", "iat", "orig", "origid"}


def test_our_claims_are_deterministic_json() -> None:
    """RFC 8588 6, RFC 8225 9: attest, dest, iat, orig, origid in this order, no white space."""
    header, payload, _signature = sign().identity.partition(";")[0].split(".")
    assert list(parts(sign().identity)[1]) == ["attest", "dest", "iat", "orig", "origid"]
    assert unb64(payload) == compact_json(parts(sign().identity)[1])
    assert unb64(header) == compact_json(HEADER)


@pytest.mark.parametrize("claim", ["attest", "dest", "iat", "orig", "origid"])
def test_each_of_the_five_is_mandatory(claim: str) -> None:
    """RFC 8588 3, 4, 5: a shaken PASSporT without it is invalid."""
    assert outcome(identity(token(claims=without(CLAIMS, claim)))) == "claim_missing"


@pytest.mark.parametrize("level", list(Attestation))
def test_attestation_is_signed_and_read(level: Attestation) -> None:
    """RFC 8588 4: "A", "B" or "C"."""
    value = sign(attest=level).identity
    assert parts(value)[1]["attest"] == level.value
    passport = verify(value).verdict.passport
    assert passport is not None
    assert passport.claims.attest is level


@pytest.mark.parametrize("attest", ["D", "a", "b", "c", "", "AA", "A ", " A", 1, True, None, ["A"], {"A": "A"}])
def test_attest_is_nothing_else(attest: Any) -> None:
    """RFC 8588 4: three values, upper case."""
    assert outcome_of_claims(attest=attest) == "attest_invalid"


def test_origid_is_the_callers_choice_and_comes_back() -> None:
    """RFC 8588 5: an opaque string, unique; what was given is signed."""
    assert parts(sign(origid=ORIGID).identity)[1]["origid"] == ORIGID


@pytest.mark.parametrize("origid", ["toto", "123456-ABCD-999999", "x", "x" * 255, "0"])
def test_origid_need_not_be_a_uuid_to_verify(origid: str) -> None:
    """RFC 8588 5: SHOULD be a UUID; others are in use."""
    assert outcome_of_claims(origid=origid) == "valid"


@pytest.mark.parametrize("origid", ["", "x" * 256, 1, None, True, [ORIGID], {}])
def test_origid_is_a_string_of_bounded_length(origid: Any) -> None:
    """RFC 8588 5: a string."""
    assert outcome_of_claims(origid=origid) == "claim_malformed"


def test_shaken_has_no_compact_form() -> None:
    """RFC 8588 7: compact form is not specified for shaken."""
    signature = token().rpartition(".")[2]
    assert outcome(f"..{signature};info=<{X5U}>;alg=ES256;ppt=shaken") == "compact_form_unsupported"


def test_compact_form_without_ppt_is_a_base_passport() -> None:
    """RFC 8225 7, RFC 8224 6.2 step 1: not a type that is verified here."""
    signature = token().rpartition(".")[2]
    assert outcome(f"..{signature};info=<{X5U}>;alg=ES256") == "ppt_unsupported"


def test_we_never_sign_in_compact_form() -> None:
    """RFC 8588 7: always header, payload and signature."""
    assert all(sign().identity.partition(";")[0].split("."))
