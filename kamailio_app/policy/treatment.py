"""What a verification leads to: the call goes on as it is, goes on with verstat, or is answered (RFC 8224 6.2.2).

SHAKEN networks do not reject by default: the call goes on and verstat tells the callee (standards RC-2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from kamailio_app.errors import PASSED, StirError
from kamailio_app.verdict import Verification


class FailureAction(StrEnum):
    """`failure_action`: what a failed verification does to the call."""

    OBSERVE = "observe"
    TAG = "tag"
    REJECT = "reject"


class Treatment(NamedTuple):
    """`code` is 0 unless the call is to be answered; `verstat` is empty unless the call is to carry it."""

    code: int = 0
    phrase: str = ""
    verstat: str = ""


@dataclass(frozen=True, slots=True)
class TreatmentRules:
    """`require_identity`: an unsigned call counts as a failed one. Its absence is a choice of its own."""

    failure_action: FailureAction = FailureAction.TAG
    require_identity: bool = False


_UNTOUCHED: Final = Treatment()
_VALID: Final = Treatment(verstat=PASSED)


def treatment(verification: Verification, rules: TreatmentRules) -> Treatment:
    """The treatment of a verified call."""
    if rules.failure_action is FailureAction.OBSERVE:
        return _UNTOUCHED
    error = verification.verdict.error
    if error is None:
        return _VALID
    if rules.failure_action is FailureAction.REJECT and _counts(error, rules):
        return Treatment(error.code, error.phrase)
    return Treatment(verstat=verification.verstat)


def _counts(error: StirError, rules: TreatmentRules) -> bool:
    """Only failures with a SIP code reject; a call without usable Identity only if one is required (RFC 8224 6.2.2)."""
    return error.code != 0 and (error.code != 428 or rules.require_identity)
