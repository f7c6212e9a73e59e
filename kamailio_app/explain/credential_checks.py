"""The checks of one Identity header that need its certificate, in the order in which an edge makes them.

RFC 8224 6.2 steps 3 to 5, RFC 5280 6, RFC 8226 8 and 9, RFC 9060, RFC 9118, ATIS-1000080 6.4.1. What fails here is looked into
further by the parts of `judge.Judged`.
"""

from __future__ import annotations

from typing import Any, Final

from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.evidence import Evidence, attempt
from kamailio_app.explain.header_checks import HEADER_CHECKS, moment
from kamailio_app.explain.judge import NO_ROOTS, NOT_AT_HAND, Judged
from kamailio_app.explain.steps import Check, Seen, State, failed, passed, skipped, unreached
from kamailio_app.passport import es256
from kamailio_app.passport.claims import read_iat
from kamailio_app.passport.rcd import RcdClaims, check_digests
from kamailio_app.passport.rph import RphClaims

_NO_CERTIFICATE: Final = "the certificate is not at hand"
_CHAIN_TOKENS: Final = frozenset(
    {"credential_untrusted", "credential_expired", "credential_not_yet_valid", "credential_malformed"}
)


def _at_hand(e: Evidence) -> Seen:
    judged = e.judged
    if judged is None:
        return unreached("no URL that may be fetched")
    found = judged.found
    if found.error is not None:
        return failed(found.error, f"{found.words}: {found.error.detail}" if found.words else found.error.detail)
    if found.octets is None:
        return skipped(found.words, failure(NOT_AT_HAND, found.words))
    return passed(f"{found.words}, {len(found.octets)} octets")


def _readable(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    chain = judged.chain
    if isinstance(chain, StirError):
        return failed(chain)
    if not chain:
        return unreached()
    return passed(" < ".join([certificate.subject.rfc4514_string() for certificate in chain]))


def _fitness(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if judged.fit is None:
        return unreached()
    if isinstance(judged.fit, StirError):
        return failed(judged.fit)
    return passed(f"P-256, may sign, {_authority(judged.fit[1])}")


def _validity(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if judged.validity is not None and judged.validity.token == "credential_malformed":
        return failed(judged.validity)
    if not isinstance(judged.chain, tuple):
        return unreached()
    signer = judged.chain[0]
    words = f"from {signer.not_valid_before_utc:%FT%TZ} to {signer.not_valid_after_utc:%FT%TZ}"
    return failed(judged.validity, words) if judged.validity else passed(words)


def _chain(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    whole = judged.whole
    if whole is None:
        return unreached()
    if not len(e.edge.anchors):
        return skipped(NO_ROOTS, failure(NOT_AT_HAND, NO_ROOTS))
    when = "" if judged.validity is None else f" (as of {moment(judged.moment)}, when it was valid)"
    anchors = f"{len(e.edge.anchors)} trust anchors"
    if isinstance(whole, Credential):
        return passed(f"to anchor {whole.anchor[:16]}, one of {anchors}{when}")
    if judged.path is None and whole.token not in _CHAIN_TOKENS:
        return passed(f"to one of {anchors}{when}")
    error = whole if isinstance(judged.fit, tuple) else judged.path
    return failed(error, f"{error.detail}; {anchors}{when}") if error else unreached()


def _constraints_readable(e: Evidence) -> Seen | None:
    judged, _blind = _look(e)
    whole = judged.whole if judged else None
    return failed(whole) if isinstance(whole, StirError) and whole.token == "constraints_malformed" else None


def _profile(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if not isinstance(judged.whole, Credential):
        return unreached()
    findings = "; ".join(judged.whole.findings)
    if findings and e.edge.settings.strict_profile:
        return failed(failure("credential_profile", findings))
    return passed(f'not held against it (certificate_profile = "lenient"): {findings}' if findings else "nothing breaks it")


def _revocation(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if not isinstance(judged.whole, Credential):
        return unreached()
    if judged.revocation is not None:
        return failed(judged.revocation)
    revocations = e.edge.revocations
    if revocations is None:
        return skipped("no CRL: see crl_url and crl_file")
    until = moment(revocations.next_update)
    return passed(f"in none of {len(revocations.revoked)} entries of CRL {revocations.number}, which is good until {until}")


def _times(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    iat, credential = e.claim("iat", read_iat), judged.whole
    if iat is None or not isinstance(credential, Credential):
        return unreached()
    words = f"the whole chain from {moment(credential.not_before)} to {moment(credential.not_after)}"
    if max(e.now, iat) > credential.not_after:
        return failed(failure("credential_expired"), words)
    if min(e.now, iat) < credential.not_before:
        return failed(failure("credential_not_yet_valid"), words)
    return passed(words)


def _covers(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if e.subject is None or not isinstance(judged.fit, tuple):
        return unreached()
    authority = judged.fit[1]
    words = f"{e.subject.value}: {_authority(authority)}"
    return passed(words) if authority.covers(e.subject.value) else failed(failure("tn_not_authorized", e.subject.value), words)


def _permitted(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if not isinstance(judged.whole, Credential) or not isinstance(e.members, dict):
        return unreached()
    constraints, members = judged.whole.constraints, e.members
    if constraints is None:
        return passed("the certificate sets no limits")
    error = attempt(lambda: constraints.check(members))
    return failed(error) if error else passed("within the certificate's JWTClaimConstraints")


def _signature(e: Evidence) -> Seen:
    judged, blind = _look(e)
    if judged is None:
        return blind
    if not isinstance(judged.fit, tuple) or not isinstance(e.signature, bytes) or not e.signing_input:
        return unreached()
    if not es256.verify(e.signing_input, e.signature, judged.fit[0]):
        return failed(failure("signature_invalid"), "not made over these octets with the key of this certificate")
    return passed("made over these octets with the key of this certificate")


def _rph_signer(e: Evidence) -> Seen | None:
    if not isinstance(e.claims, RphClaims):
        return None
    judged, blind = _look(e)
    if judged is None:
        return blind
    if not isinstance(judged.fit, tuple):
        return unreached()
    spcs = judged.fit[1].spcs
    if e.rules.rph_signers.isdisjoint(spcs):
        return failed(failure("rph_not_authorized", ",".join(spcs)), f"{', '.join(spcs)} is not among rph_signers")
    return passed(f"{', '.join(spcs)} is among rph_signers")


def _digests(e: Evidence) -> Seen | None:
    if not isinstance(e.claims, RcdClaims) or not isinstance(e.members, dict):
        return None
    data, members = e.claims.rcd, e.members
    checked = attempt(lambda: check_digests(data, members))
    if isinstance(checked, StirError):
        return failed(checked)
    behind = f"; {len(checked.digests)} of what is behind a URI, not fetched" if checked.digests else ""
    return passed(f"{len(data.digests) - len(checked.digests)} digests fit{behind}")


def _diversions(e: Evidence) -> Seen | None:
    if e.connections is None or e.examined.direct or e.examined.error is not None:
        return None
    error = e.verdict.error
    if error is None:
        return passed(f"diverted by {', '.join(e.diversions)}" if e.diversions else "a chain leads to the called number")
    return failed(error) if error.token == "div_mismatch" else unreached()


def _look(e: Evidence) -> tuple[Judged | None, Seen]:
    """The certificate, or what is said where there is none."""
    judged = e.judged
    if judged is None:
        return None, unreached()
    if judged.found.octets is None:
        return None, Seen(State.NOT_REACHED if judged.found.error else State.NOT_LOOKED_AT, _NO_CERTIFICATE)
    return judged, unreached()


def _authority(authority: TNAuthList) -> str:
    words: list[Any] = [f"SPC {spc}" for spc in authority.spcs]
    words += [f"{span.count} numbers from {span.start}" for span in authority.ranges]
    return f"TNAuthList {', '.join([*words, *authority.numbers])}"


CREDENTIAL_CHECKS: Final[tuple[Check[Evidence], ...]] = (
    Check("certificate at hand", "RFC 8224 6.2 step 3", _at_hand),
    Check("certificate readable", "RFC 8555 9.1", _readable),
    Check("signer's certificate", "RFC 8226 9, ATIS-1000080 6.4.1", _fitness),
    Check("validity", "RFC 8224 6.2 step 4", _validity),
    Check("chain", "RFC 8224 6.2 step 3, RFC 9060 4", _chain),
    Check("constraints readable", "RFC 9118 3", _constraints_readable),
    Check("profile", "ATIS-1000080 6.4.1", _profile),
    Check("revocation", "RFC 5280 6.3", _revocation),
    Check("valid at iat", "RFC 8224 6.2 step 4", _times),
    Check("number covered", "RFC 8226 9", _covers),
    Check("claims permitted", "RFC 8226 8, RFC 9118 4", _permitted),
    Check("signature", "RFC 8224 6.2 step 5", _signature),
    Check("priority signer", "RFC 8443 4.2", _rph_signer),
    Check("rich call data", "RFC 9795 6", _digests),
    Check("diversions", "RFC 8946 4.2", _diversions),
)
CHECKS: Final = (*HEADER_CHECKS, *CREDENTIAL_CHECKS)
