"""What verification says: a verdict per Identity header, and one result for the call (RFC 8224 6.2.1, TS 24.229 verstat).

What follows from it (observe, tag, reject) is `policy.treatment`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, StirError, failure
from kamailio_app.passport.encoding import to_base64url
from kamailio_app.passport.extension import EXTENSIONS, RCD, RPH, ExtensionPassport
from kamailio_app.passport.passport import SHAKEN, Passport
from kamailio_app.passport.rcd import CLAIMS as RCD_CLAIMS
from kamailio_app.passport.rcd import RcdClaims, RichCallData, check_digests, rich_call_data
from kamailio_app.passport.rph import RphClaims


class Verdict(NamedTuple):
    """One Identity header. `error` is None if it is valid; the rest is what was learnt before that was decided.

    `passport` is a shaken PASSporT, `extension` one of another type. `ppt` is shaken too where the type was not learnt.
    """

    error: StirError | None
    passport: Passport | None = None
    credential: Credential | None = None
    ppt: str = SHAKEN
    extension: ExtensionPassport | None = None

    @property
    def valid(self) -> bool:
        return self.error is None

    @property
    def x5u(self) -> str:
        """Where the certificate is; empty if that was not learnt."""
        passport = self.passport or self.extension
        return passport.header.x5u if passport else ""

    @property
    def compact(self) -> str:
        """The PASSporT in compact form, as RFC 9410 wants it in `ppi`; empty if it could not be decoded."""
        passport = self.passport or self.extension
        return f"..{to_base64url(passport.signature)}" if passport else ""


class Verification(NamedTuple):
    """The result for the call: `verdict` is what decided it. It has a shaken PASSporT or none.

    It is one of `verdicts`, but where a diversion failed: then it is the shaken PASSporT with the diversion's failure.
    Rich call data and Resource-Priority never make a valid call invalid (RFC 8443 4.2).
    """

    verdict: Verdict
    verdicts: tuple[Verdict, ...]
    diversions: tuple[str, ...] = ()  # who diverted the call, the last one last (RFC 8946)
    rcd: RichCallData | None = None  # verified, and only of a valid call
    rcd_error: StirError | None = None  # a valid call has rich call data, and it is not to be shown
    rph: tuple[str, ...] = ()  # the verified values of Resource-Priority
    rph_error: StirError | None = None  # Resource-Priority, or all of it but `rph`, counts as absent (RFC 8443 4.2)

    @property
    def valid(self) -> bool:
        return self.verdict.valid

    @property
    def token(self) -> str:
        """Empty if valid."""
        return self.verdict.error.token if self.verdict.error else ""

    @property
    def failures(self) -> list[StirError]:
        """What failed of what says who calls; rph and rcd do not. Of these verstat is made if the call is not valid."""
        verdicts = (self.verdict, *self.verdicts)
        return [verdict.error for verdict in verdicts if verdict.error and verdict.ppt not in (RPH, RCD)]

    @property
    def verstat(self) -> str:
        """TS 24.229: Failed dominates No-TN-Validation when several headers fail."""
        if self.verdict.valid:
            return PASSED
        return FAILED if FAILED in {FAILURES[error.token].verstat for error in self.failures} else NOT_VALIDATED


# RFC 8224 6.2.2, when every header fails: 436 is for none fetched and 428 for none supported, so anything else goes first;
# 437 is for "at least one"; a stale header says more than a broken one
_PRECEDENCE: Final = {code: rank for rank, code in enumerate((437, 403, 438, 436, 428, 0))}


def combine(verdicts: tuple[Verdict, ...], deciding: Iterable[Verdict] | None = None) -> Verification:
    """RFC 8224 6.2.1: one valid header suffices; only if all are invalid is the request.

    Who calls is what shaken says; the other types do not decide. `deciding` is given if it is not the verdicts themselves.
    """
    if not verdicts:
        verdicts = (Verdict(failure("identity_missing")),)
    candidates = [verdict for verdict in deciding or verdicts if verdict.ppt not in EXTENSIONS]
    if not candidates:
        return Verification(Verdict(failure("ppt_unsupported", "no shaken PASSporT")), verdicts)
    return Verification(min(candidates, key=_rank), verdicts)


def worst(errors: Iterable[StirError]) -> StirError:
    """The failure that goes before the others. There is one at least."""
    return min(errors, key=lambda error: _PRECEDENCE[error.code])


def _rank(verdict: Verdict) -> int:
    return _PRECEDENCE[verdict.error.code] if verdict.error else -1


def with_rcd(verification: Verification) -> Verification:
    """Rich call data of a valid call: what its signer says in the same PASSporT, else what one of type rcd says."""
    passport = verification.verdict.passport
    if not verification.valid or passport is None:
        return verification
    if passport.members is not None and any(name in passport.members for name in RCD_CLAIMS):
        try:
            return verification._replace(rcd=check_digests(rich_call_data(passport.members), passport.members))
        except StirError as error:
            return verification._replace(rcd_error=error)
    verdicts = [verdict for verdict in verification.verdicts if verdict.ppt == RCD]
    for verdict in verdicts:
        if verdict.valid and verdict.extension and isinstance(verdict.extension.claims, RcdClaims):
            return verification._replace(rcd=verdict.extension.claims.rcd)
    return (
        verification._replace(rcd_error=worst(verdict.error for verdict in verdicts if verdict.error))
        if verdicts
        else verification
    )


def with_rph(verification: Verification, present: tuple[str, ...]) -> Verification:
    """RFC 8443 4.2: the values that were verified; others in Resource-Priority count as absent."""
    verdicts = [verdict for verdict in verification.verdicts if verdict.ppt == RPH]
    if not verdicts:
        return verification
    values: dict[str, None] = {}
    for verdict in verdicts:
        if verdict.valid and verdict.extension and isinstance(verdict.extension.claims, RphClaims):
            values.update(dict.fromkeys(verdict.extension.claims.auth))
    unsigned = [value for value in present if value not in values]
    error = None
    if not values:
        error = worst(verdict.error for verdict in verdicts if verdict.error)
    elif unsigned:
        error = failure("rph_mismatch", f"not signed: {', '.join(unsigned)}")
    return verification._replace(rph=tuple(values), rph_error=error)
