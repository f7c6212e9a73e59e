"""What a verification leads to."""

from __future__ import annotations

import pytest

from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, failure
from kamailio_app.passport.passport import shaken_passport
from kamailio_app.policy.codes import ATIS_1000082, MAN
from kamailio_app.policy.treatment import FailureAction, Treatment, TreatmentRules, treatment
from kamailio_app.verdict import Verdict, Verification, combine

from ..builders import ORIGID, passport

OBSERVE, TAG, REJECT = FailureAction
VALID = combine((Verdict(None, shaken_passport(passport())),))
ONE_FAILED = Verification(VALID.verdict, (Verdict(failure("signature_invalid")), VALID.verdict))
CLASSES = {
    403: "iat_stale",
    428: "identity_missing",
    436: "x5u_timeout",
    437: "credential_untrusted",
    438: "signature_invalid",
}


def failed(token: str) -> Verification:
    return combine((Verdict(failure(token)),))


def plain(treated: Treatment) -> Treatment:
    """Without what the signer is told."""
    return treated._replace(reason=())


def test_nothing_is_rejected_by_default() -> None:
    assert TreatmentRules() == TreatmentRules(FailureAction.TAG, require_identity=False)
    assert all(treatment(failed(token), TreatmentRules()).code == 0 for token in FAILURES)


@pytest.mark.parametrize("action", [FailureAction.TAG, FailureAction.REJECT])
def test_valid_call_goes_on_with_passed(action: FailureAction) -> None:
    assert treatment(VALID, TreatmentRules(action)) == Treatment(verstat=PASSED)


@pytest.mark.parametrize("token", FAILURES)
def test_observe_leaves_every_call_as_it_is(token: str) -> None:
    rules = TreatmentRules(FailureAction.OBSERVE, require_identity=True)
    assert treatment(failed(token), rules) == treatment(VALID, rules) == treatment(ONE_FAILED, rules) == Treatment()


@pytest.mark.parametrize("token", FAILURES)
def test_tag_lets_every_call_go_on_with_its_verstat(token: str) -> None:
    rules = TreatmentRules(FailureAction.TAG, require_identity=True)
    assert plain(treatment(failed(token), rules)) == Treatment(verstat=FAILURES[token].verstat)


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
    assert plain(treatment(failed(token), TreatmentRules(FailureAction.REJECT))) == Treatment(code, phrase)


@pytest.mark.parametrize("token", ["identity_missing", "ppt_unsupported"])
def test_unsigned_call_is_rejected_only_where_identity_is_required(token: str) -> None:
    assert treatment(failed(token), TreatmentRules(FailureAction.REJECT)) == Treatment(verstat=NOT_VALIDATED)
    required = TreatmentRules(FailureAction.REJECT, require_identity=True)
    assert plain(treatment(failed(token), required)) == Treatment(428, "Use Identity Header")


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


# --- Actions by class -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "token"), CLASSES.items())
@pytest.mark.parametrize("action", FailureAction)
def test_class_has_an_action_of_its_own(code: int, token: str, action: FailureAction) -> None:
    other = TAG if action is REJECT else REJECT
    rules = TreatmentRules(other, require_identity=True, actions={code: action})
    alone = TreatmentRules(action, require_identity=True)
    assert treatment(failed(token), rules) == treatment(failed(token), alone)
    for other_token in CLASSES.values():
        if other_token != token:
            expected = treatment(failed(other_token), TreatmentRules(other, require_identity=True))
            assert treatment(failed(other_token), rules) == expected


@pytest.mark.parametrize("action", FailureAction)
def test_valid_calls_and_our_own_failures_follow_failure_action(action: FailureAction) -> None:
    rules = TreatmentRules(action, actions=dict.fromkeys(CLASSES, OBSERVE if action is TAG else TAG))
    assert treatment(VALID, rules) == treatment(VALID, TreatmentRules(action))
    assert treatment(failed("internal_error"), rules) == treatment(failed("internal_error"), TreatmentRules(action))


def test_unsigned_call_is_rejected_where_identity_is_required_though_failures_are_tagged() -> None:
    rules = TreatmentRules(TAG, require_identity=True, actions={428: REJECT})
    assert treatment(failed("identity_missing"), rules).code == 428
    assert treatment(failed("signature_invalid"), rules).verstat == FAILED


def test_unsigned_call_is_never_rejected_where_identity_is_not_required() -> None:
    rules = TreatmentRules(REJECT, actions={428: REJECT})
    assert treatment(failed("identity_missing"), rules) == Treatment(verstat=NOT_VALIDATED)


# --- Codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "code"), [("info_mismatch", 436), ("typ_unsupported", 437), ("iat_stale", 403), ("signature_invalid", 438)]
)
def test_answer_is_that_of_the_profile(token: str, code: int) -> None:
    rules = TreatmentRules(REJECT, codes=ATIS_1000082)
    assert treatment(failed(token), rules).code == code
    assert treatment(failed(token), rules).reason[0].startswith(f"STIR ;cause={code} ;")


def test_class_of_an_action_is_that_of_rfc_8224_whatever_the_profile_answers() -> None:
    rules = TreatmentRules(TAG, actions={438: REJECT}, codes=ATIS_1000082)
    assert plain(treatment(failed("info_mismatch"), rules)) == Treatment(436, "Bad Identity Info")


def test_unsupported_type_is_unsigned_in_every_profile() -> None:
    for codes in (ATIS_1000082, MAN):
        assert treatment(failed("ppt_unsupported"), TreatmentRules(REJECT, codes=codes)) == Treatment(verstat=NOT_VALIDATED)
        required = TreatmentRules(REJECT, require_identity=True, codes=codes)
        assert treatment(failed("ppt_unsupported"), required).code == 438


@pytest.mark.parametrize("codes", [TreatmentRules().codes, ATIS_1000082, MAN])
def test_failed_dominates_in_every_profile(codes: object) -> None:
    both = combine((Verdict(failure("iat_stale")), Verdict(failure("signature_invalid"))))
    assert treatment(both, TreatmentRules(codes=codes)).verstat == FAILED  # type: ignore[arg-type]


# --- Emergency --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", CLASSES.values())
def test_emergency_call_is_never_rejected(token: str) -> None:
    rules = TreatmentRules(REJECT, require_identity=True, actions=dict.fromkeys(CLASSES, REJECT))
    assert treatment(failed(token), rules).code in CLASSES
    tagged = treatment(failed(token), TreatmentRules(TAG, require_identity=True))
    assert treatment(failed(token), rules, emergency=True) == tagged


def test_valid_emergency_call_is_as_any_other() -> None:
    assert treatment(VALID, TreatmentRules(REJECT), emergency=True) == Treatment(verstat=PASSED)


# --- Headers ----------------------------------------------------------------------------------------------------


def test_valid_call_carries_attestation_and_origid_where_that_is_wanted() -> None:
    assert treatment(VALID, TreatmentRules(p_headers=True)) == Treatment(
        verstat=PASSED, attestation_indicator="A", origination_id=ORIGID
    )
    assert treatment(VALID, TreatmentRules()) == Treatment(verstat=PASSED)


@pytest.mark.parametrize("token", CLASSES.values())
def test_failed_call_carries_neither(token: str) -> None:
    for action in FailureAction:
        treated = treatment(failed(token), TreatmentRules(action, require_identity=True, p_headers=True))
        assert (treated.attestation_indicator, treated.origination_id) == ("", "")


@pytest.mark.parametrize("p_headers", [True, False])
def test_valid_call_tells_which_other_header_failed(p_headers: bool) -> None:
    rules = TreatmentRules(p_headers=p_headers)
    assert treatment(ONE_FAILED, rules).reason == ('STIR ;cause=438 ;text="Invalid Identity Header"',)
    assert treatment(ONE_FAILED, rules).verstat == PASSED


@pytest.mark.parametrize("p_headers", [True, False])
def test_signer_is_told_nothing_where_that_is_wanted(p_headers: bool) -> None:
    for action in FailureAction:
        rules = TreatmentRules(action, reason_header=False, p_headers=p_headers)
        assert treatment(failed("signature_invalid"), rules).reason == treatment(ONE_FAILED, rules).reason == ()


def test_unsigned_call_is_no_error_to_tell_unless_identity_is_required() -> None:
    assert treatment(failed("identity_missing"), TreatmentRules()).reason == ()
    assert treatment(failed("identity_missing"), TreatmentRules(require_identity=True)).reason == (
        'STIR ;cause=428 ;text="Use Identity Header"',
    )


def test_our_own_failures_are_not_told_to_the_signer() -> None:
    assert treatment(failed("internal_error"), TreatmentRules()) == Treatment(verstat=NOT_VALIDATED)
