"""Reason header field values of the protocol STIR: what went wrong with each Identity header (RFC 9410 4 to 6).

Who may send them and in which response is the adapter's to know: never in 100 (RFC 9410 3).
"""

from __future__ import annotations

from typing import Final

from kamailio_app.errors import StirError
from kamailio_app.policy.codes import CodeProfile
from kamailio_app.verdict import Verdict, Verification

_MAX_REASONS: Final = 10
_NO_IDENTITY: Final = 428


def reasons(verification: Verification, codes: CodeProfile, *, required: bool) -> tuple[str, ...]:
    """One value for each header that failed, in their order (RFC 9410 6); at most 10.

    A header of a type that is not supported is ignored (RFC 8224 6.2 step 1); that none is left is an error where one is
    `required`.
    """
    failed = [(verdict.error, verdict) for verdict in verification.verdicts if verdict.error and verdict.error.code]
    told = [(error, verdict) for error, verdict in failed if error.code != _NO_IDENTITY]
    decisive = verification.verdict.error
    if not told and required and decisive is not None and decisive.code == _NO_IDENTITY:
        told = failed or [(decisive, verification.verdict)]
    return tuple([_reason(error, verdict, codes) for error, verdict in told[:_MAX_REASONS]])


def _reason(error: StirError, verdict: Verdict, codes: CodeProfile) -> str:
    answer = codes.answer(error.token)
    text = f'STIR ;cause={answer.code} ;text="{answer.phrase}"'
    # RFC 9410 5: compact form, which shows nobody the claims
    return f'{text} ;ppi="{verdict.compact}"' if verdict.compact else text
