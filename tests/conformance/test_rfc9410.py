"""RFC 9410: verification errors in Reason header fields. One test or more for each MUST of the verification service.

That none is sent in a 100 (section 3) is the routing's to keep: `tests/integration` looks at the wire.
"""

from __future__ import annotations

import re

import pytest

from kamailio_app.errors import FAILURES, PASSED
from kamailio_app.policy.codes import PROFILES
from kamailio_app.policy.treatment import FailureAction, Treatment, TreatmentRules, treatment

from .support import CLAIMS, NOW, X5U, b64, hierarchy, identity, token, unb64, verify

GOOD = identity(token())
FORGED = identity(token(key=hierarchy().intermediate.key))
STALE = identity(token(claims={**CLAIMS, "iat": NOW - 3600}))
OTHER_TYPE = identity(token(), f";info=<{X5U}>;ppt=nobody-knows")
RUBBISH = "rubbish"

# RFC 3326 2 with RFC 9410 5: protocol, cause, text and, where it is known, ppi
VALUE = re.compile(r'STIR ;cause=(403|428|436|437|438) ;text="([^"\\]+)"(?: ;ppi="\.\.([A-Za-z0-9_-]+)")?')


def told(*identities: str, rules: TreatmentRules | None = None) -> Treatment:
    return treatment(verify(*identities), rules or TreatmentRules())


def read(value: str) -> tuple[int, str, str]:
    """Cause, text and signature of a value."""
    match = VALUE.fullmatch(value)
    assert match
    return int(match[1]), match[2], match[3] or ""


def signature(identity_value: str) -> str:
    return identity_value.partition(";")[0].rpartition(".")[2]


# --- 3: the protocol "STIR" -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, row in FAILURES.items() if row.error.code])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_cause_and_text_are_those_of_rfc_8224(name: str, profile: object) -> None:
    """RFC 9410 3: STIR as protocol, with the response codes and reason phrases that RFC 8224 6.2.2 gives."""
    answer = profile.answer(name)  # type: ignore[attr-defined]
    assert (answer.code, answer.phrase) in {(row.error.code, row.error.phrase) for row in FAILURES.values()}


# --- 4: errors without ending the call ------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [FORGED, STALE, RUBBISH])
@pytest.mark.parametrize("action", [FailureAction.OBSERVE, FailureAction.TAG])
def test_call_that_goes_on_is_not_answered_with_the_error(failing: str, action: FailureAction) -> None:
    """RFC 9410 4: where policy lets the call continue, the verification service MUST NOT send the 4xx as a response."""
    treated = told(failing, rules=TreatmentRules(action, require_identity=True))
    assert (treated.code, treated.phrase) == (0, "")


@pytest.mark.parametrize(
    ("failing", "cause", "text"),
    [
        (FORGED, 438, "Invalid Identity Header"),
        (STALE, 403, "Stale Date"),
        (RUBBISH, 438, "Invalid Identity Header"),
    ],
)
def test_call_that_goes_on_has_the_error_in_reason(failing: str, cause: int, text: str) -> None:
    """RFC 9410 4: it SHOULD include code and phrase in a Reason header field of its next provisional or final response."""
    (value,) = told(failing).reason
    assert read(value)[:2] == (cause, text)


def test_call_that_is_rejected_has_the_error_in_reason_too() -> None:
    """RFC 9410 3: any final response may have it."""
    treated = told(FORGED, rules=TreatmentRules(FailureAction.REJECT))
    assert treated.code == 438
    assert read(treated.reason[0])[0] == 438


def test_observing_tells_nobody() -> None:
    """Policy "observe" leaves no trace on the wire."""
    assert told(FORGED, rules=TreatmentRules(FailureAction.OBSERVE)) == Treatment()


# --- 5: several Identity header fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(GOOD, FORGED), (FORGED, GOOD), (GOOD, FORGED, OTHER_TYPE)])
def test_header_that_failed_is_told_though_another_is_valid(headers: tuple[str, ...]) -> None:
    """RFC 9410 5: if one of several Identity header fields has an error, its code and phrase MUST be in a Reason."""
    treated = told(*headers)
    assert treated.verstat == PASSED
    (value,) = treated.reason
    assert read(value)[:2] == (438, "Invalid Identity Header")


def test_header_of_a_type_that_is_not_supported_is_no_error() -> None:
    """RFC 8224 6.2 step 1: it is ignored."""
    assert told(GOOD, OTHER_TYPE).reason == ()


def test_ppi_is_the_passport_in_compact_form() -> None:
    """RFC 9410 5: ppi identifies the Identity header field; compact form is recommended, because it shows no claims."""
    (value,) = told(FORGED).reason
    ppi = read(value)[2]
    assert ppi == signature(FORGED)
    assert b64(unb64(ppi)) == ppi
    assert len(unb64(ppi)) == 64


def test_header_without_a_passport_has_no_ppi() -> None:
    """RFC 9410 5: what cannot be read cannot be named, and a peer's octets are not sent back."""
    (value,) = told(RUBBISH).reason
    assert read(value)[2] == ""


# --- 6: several errors ----------------------------------------------------------------------------------------------


def test_each_header_that_failed_has_a_reason_of_its_own() -> None:
    """RFC 9410 6: several errors MUST have as many Reason header fields, which SHOULD have ppi; RFC 9366 allows it."""
    other = identity(token(claims={**CLAIMS, "origid": "another"}, key=hierarchy().intermediate.key))
    values = [read(value) for value in told(FORGED, STALE, other).reason]
    assert [cause for cause, _text, _ppi in values] == [438, 403, 438]
    assert values[0][2] == signature(FORGED)
    assert values[2][2] == signature(other)


def test_two_headers_with_the_same_error_have_two_reasons() -> None:
    """RFC 9410 6: one per error, though they read the same but for ppi."""
    assert len(told(RUBBISH, RUBBISH).reason) == 2


def test_number_of_reasons_is_bounded() -> None:
    """A peer does not choose how long our responses are."""
    assert len(told(*[FORGED] * 10).reason) == 10
    assert len(told(*[FORGED] * 11).reason) == 1  # identity_too_many
