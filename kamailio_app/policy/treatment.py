"""What a verification leads to: the call goes on as it is, goes on with verstat, or is answered (RFC 8224 6.2.2).

SHAKEN networks do not reject by default: the call goes on, verstat tells the callee and Reason tells the signer (RFC 9410).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from kamailio_app.errors import FAILED, NOT_VALIDATED, PASSED
from kamailio_app.policy.codes import RFC_8224, CodeProfile
from kamailio_app.policy.reason import reasons
from kamailio_app.verdict import Verification


class FailureAction(StrEnum):
    """`failure_action`: what a failed verification does to the call."""

    OBSERVE = "observe"
    TAG = "tag"
    REJECT = "reject"


class Treatment(NamedTuple):
    """`code` is 0 unless the call is to be answered; `verstat` is empty unless the call is to carry it.

    `reason`: Reason header field values for the responses. The last two are what the call is to carry in
    P-Attestation-Indicator and P-Origination-ID.
    """

    code: int = 0
    phrase: str = ""
    verstat: str = ""
    reason: tuple[str, ...] = ()
    attestation_indicator: str = ""
    origination_id: str = ""


@dataclass(frozen=True, slots=True)
class TreatmentRules:
    """`actions` by the SIP code of RFC 8224, where they differ from `failure_action`.

    `require_identity`: a call without usable Identity counts as a failed one, of class 428.
    """

    failure_action: FailureAction = FailureAction.TAG
    require_identity: bool = False
    actions: Mapping[int, FailureAction] = field(default_factory=dict, hash=False)
    codes: CodeProfile = RFC_8224
    reason_header: bool = True
    p_headers: bool = False


_UNTOUCHED: Final = Treatment()
_VALID: Final = Treatment(verstat=PASSED)
_NO_IDENTITY: Final = 428


def treatment(verification: Verification, rules: TreatmentRules, *, emergency: bool = False) -> Treatment:
    """The treatment of a verified call. Emergency calls are never rejected."""
    error = verification.verdict.error
    if error is None:
        return _valid(verification, rules)
    # The class is RFC 8224's, whatever code the profile answers with
    action = rules.actions.get(error.code, rules.failure_action)
    if action is FailureAction.OBSERVE:
        return _UNTOUCHED
    reason = _reason(verification, rules)
    if action is FailureAction.REJECT and _counts(error.code, rules) and not emergency:
        answer = rules.codes.answer(error.token)
        return Treatment(answer.code, answer.phrase, reason=reason)
    return Treatment(verstat=_verstat(verification, rules.codes), reason=reason)


def _valid(verification: Verification, rules: TreatmentRules) -> Treatment:
    if rules.failure_action is FailureAction.OBSERVE:
        return _UNTOUCHED
    passport = verification.verdict.passport
    # The ordinary call: one header, and nobody asks for more
    if not rules.p_headers or passport is None:
        if len(verification.verdicts) == 1:
            return _VALID
        # RFC 9410 5: what failed is told also where another header made the call valid
        return Treatment(verstat=PASSED, reason=_reason(verification, rules))
    claims = passport.claims
    return Treatment(
        verstat=PASSED,
        reason=_reason(verification, rules),
        attestation_indicator=claims.attest.value,
        origination_id=claims.origid,
    )


def _reason(verification: Verification, rules: TreatmentRules) -> tuple[str, ...]:
    return reasons(verification, rules.codes, required=rules.require_identity) if rules.reason_header else ()


def _counts(code: int, rules: TreatmentRules) -> bool:
    """Only failures with a SIP code are failures of the call; one without usable Identity only if that is required."""
    return code != 0 and (code != _NO_IDENTITY or rules.require_identity)


def _verstat(verification: Verification, codes: CodeProfile) -> str:
    """TS 24.229: Failed dominates No-TN-Validation when several headers fail."""
    return FAILED if FAILED in {codes.answer(error.token).verstat for error in verification.failures} else NOT_VALIDATED
