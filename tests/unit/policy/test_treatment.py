"""What a verification leads to."""

from __future__ import annotations

import pytest

from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, failure
from kamailio_app.policy.treatment import FailureAction, Treatment, TreatmentRules, treatment
from kamailio_app.verdict import Verdict, Verification, combine

VALID = combine((Verdict(None),))


def failed(token: str) -> Verification:
    return combine((Verdict(failure(token)),))


def test_nothing_is_rejected_by_default() -> None:
    assert TreatmentRules() == TreatmentRules(FailureAction.TAG, require_identity=False)


@pytest.mark.parametrize("action", [FailureAction.TAG, FailureAction.REJECT])
def test_valid_call_goes_on_with_passed(action: FailureAction) -> None:
    assert treatment(VALID, TreatmentRules(action)) == Treatment(verstat=PASSED)


@pytest.mark.parametrize("token", FAILURES)
def test_observe_leaves_every_call_as_it_is(token: str) -> None:
    rules = TreatmentRules(FailureAction.OBSERVE, require_identity=True)
    assert treatment(failed(token), rules) == treatment(VALID, rules) == Treatment()


@pytest.mark.parametrize("token", FAILURES)
def test_tag_lets_every_call_go_on_with_its_verstat(token: str) -> None:
    rules = TreatmentRules(FailureAction.TAG, require_identity=True)
    assert treatment(failed(token), rules) == Treatment(verstat=FAILURES[token].verstat)


@pytest.mark.parametrize(
    ("token", "code", "phrase"),
    [
        ("iat_stale", 403, "Stale Date"),
        ("x5u_timeout", 436, "Bad Identity Info"),
        ("credential_untrusted", 437, "Unsupported Credential"),
        ("signature_invalid", 438, "Invalid Identity Header"),
    ],
)
def test_reject_answers_with_the_code_and_phrase_of_rfc_8224(token: str, code: int, phrase: str) -> None:
    assert treatment(failed(token), TreatmentRules(FailureAction.REJECT)) == Treatment(code, phrase)


@pytest.mark.parametrize("token", ["identity_missing", "ppt_unsupported"])
def test_unsigned_call_is_rejected_only_where_identity_is_required(token: str) -> None:
    assert treatment(failed(token), TreatmentRules(FailureAction.REJECT)) == Treatment(verstat=NOT_VALIDATED)
    required = TreatmentRules(FailureAction.REJECT, require_identity=True)
    assert treatment(failed(token), required) == Treatment(428, "Use Identity Header")


@pytest.mark.parametrize("token", [token for token, row in FAILURES.items() if row.error.code == 0])
def test_our_own_failures_never_reject(token: str) -> None:
    rules = TreatmentRules(FailureAction.REJECT, require_identity=True)
    assert treatment(failed(token), rules) == Treatment(verstat=NOT_VALIDATED)


def test_rejected_call_carries_no_verstat() -> None:
    assert treatment(failed("signature_invalid"), TreatmentRules(FailureAction.REJECT)).verstat == ""
    assert treatment(failed("signature_invalid"), TreatmentRules()).verstat == FAILED


@pytest.mark.parametrize(("word", "action"), [("observe", "OBSERVE"), ("tag", "TAG"), ("reject", "REJECT")])
def test_words_of_the_settings_file(word: str, action: str) -> None:
    assert FailureAction(word) is FailureAction[action]
