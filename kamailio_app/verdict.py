"""What verification says: a verdict per Identity header, and one result for the call (RFC 8224 6.2.1, TS 24.229 verstat).

What follows from it (observe, tag, reject) is `policy.treatment`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, StirError, failure
from kamailio_app.passport.passport import Passport


class Verdict(NamedTuple):
    """One Identity header. `error` is None if it is valid; the rest is what was learnt before that was decided."""

    error: StirError | None
    passport: Passport | None = None
    credential: Credential | None = None

    @property
    def valid(self) -> bool:
        return self.error is None


class Verification(NamedTuple):
    """The result for the call: `verdict` is the header that decided it."""

    verdict: Verdict
    verdicts: tuple[Verdict, ...]

    @property
    def valid(self) -> bool:
        return self.verdict.valid

    @property
    def token(self) -> str:
        """Empty if valid."""
        return self.verdict.error.token if self.verdict.error else ""

    @property
    def verstat(self) -> str:
        """TS 24.229: Failed dominates No-TN-Validation when several headers fail."""
        if self.verdict.valid:
            return PASSED
        stats = {FAILURES[verdict.error.token].verstat for verdict in self.verdicts if verdict.error}
        return FAILED if FAILED in stats else NOT_VALIDATED


# RFC 8224 6.2.2, when every header fails: 436 is for none fetched and 428 for none supported, so anything else goes first;
# 437 is for "at least one"; a stale header says more than a broken one
_PRECEDENCE: Final = {code: rank for rank, code in enumerate((437, 403, 438, 436, 428, 0))}


def combine(verdicts: tuple[Verdict, ...]) -> Verification:
    """RFC 8224 6.2.1: one valid header suffices; only if all are invalid is the request."""
    if not verdicts:
        verdicts = (Verdict(failure("identity_missing")),)
    if len(verdicts) == 1:
        return Verification(verdicts[0], verdicts)
    decisive = min(verdicts, key=lambda verdict: _PRECEDENCE[verdict.error.code] if verdict.error else -1)
    return Verification(decisive, verdicts)
