"""Verification service (RFC 8224 6.2, RFC 8588, ATIS-1000074 5.3) in two pure steps.

`examine` does everything that needs nothing from outside and names the credentials it needs; `conclude` takes them and
decides. Between the two, `runtime` fetches. Nothing is fetched for a request that is already stale, malformed or misaddressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from kamailio_app import sip
from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.x5u import DEFAULT_RULES, X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.identity import IdentityHeader, IdentityParameters, parse_identity, split_values
from kamailio_app.passport import es256
from kamailio_app.passport.passport import MAX_JOSE_TEXT, SHAKEN, JoseHeader, Passport, jose_header, shaken_passport
from kamailio_app.sti_as import check_date
from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn
from kamailio_app.verdict import Verdict, Verification, combine

MAX_IDENTITY_HEADERS: Final = 10
_REMEMBERED_HEADERS: Final = 1024


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """Ages in seconds. `ignore_sip_date_header`: in full form a fresh iat stands for Date (RFC 8224 6.2 step 4)."""

    max_iat_age: int = 60
    max_iat_future: int = 60
    ignore_sip_date_header: bool = True
    max_date_header_age: int = 60
    orig_source: str = "pai"
    dest_source: str = "to"
    plan: NumberPlan = AS_WRITTEN
    x5u: X5uRules = DEFAULT_RULES


_DEFAULT_RULES: Final = VerificationRules()


class Examined(NamedTuple):
    """One header after the first step: a PASSporT that awaits its credential, or why there is none to await."""

    passport: Passport | None = None
    error: StirError | None = None
    orig: sip.Party | None = None  # the caller, canonical


class Examination(NamedTuple):
    """All headers of a request after the first step; `needed` are the x5u URLs that `conclude` needs, each once."""

    headers: tuple[Examined, ...]
    needed: tuple[str, ...] = ()
    caller: sip.Party | None = None  # whom SIP shows; not looked for if there is nothing to compare


def examine(request: sip.Request, rules: VerificationRules = _DEFAULT_RULES, *, now: float) -> Examination:
    """The first step. Never raises for anything a peer can send: every failure is the header's own."""
    if not request.identity:
        return Examination(())
    values = [value for field in request.identity for value in split_values(field)]
    if len(values) > MAX_IDENTITY_HEADERS:
        return Examination((Examined(error=failure("identity_too_many", str(len(values)))),))
    orig = sip.caller(request, rules.orig_source, rules.plan)
    dest = sip.called(request, rules.dest_source, rules.plan)
    headers: list[Examined] = []
    needed: dict[str, None] = {}
    for value in values:
        try:
            passport = _passport(parse_identity(value), rules)
            _check_freshness(passport, request, rules, now)
            _check_parties(passport, orig, dest, rules.plan)
            headers.append(Examined(passport, None, orig))
            needed[passport.header.x5u] = None
        except StirError as error:
            headers.append(Examined(error=error))
    return Examination(tuple(headers), tuple(needed), orig)


def conclude(examination: Examination, credentials: Mapping[str, Credential | StirError], *, now: float) -> Verification:
    """The second step. `credentials` has an entry for every URL in `needed`: the credential, or why it cannot be had."""
    return combine(tuple([_conclude(header, credentials, now) for header in examination.headers]))


def _conclude(header: Examined, credentials: Mapping[str, Credential | StirError], now: float) -> Verdict:
    passport, orig = header.passport, header.orig
    if passport is None or orig is None:
        return Verdict(header.error or failure("internal_error", "neither a PASSporT nor an error"))
    credential = credentials[passport.header.x5u]
    if isinstance(credential, StirError):
        return Verdict(credential, passport)
    return Verdict(_signature_error(passport, orig.value, credential, now), passport, credential)


def _passport(identity: IdentityHeader, rules: VerificationRules) -> Passport:
    """Steps that look at the header alone, in the order of ATIS-1000082: form, parameters, JOSE header, claims."""
    header_text = identity.digest.partition(".")[0]
    if len(header_text) > MAX_JOSE_TEXT:
        raise failure("passport_malformed", "JOSE header too large")
    return shaken_passport(identity.digest, _check_header(identity.parameters, header_text, rules.x5u))


@lru_cache(maxsize=_REMEMBERED_HEADERS)
def _check_header(parameters: IdentityParameters, header_text: str, rules: X5uRules) -> JoseHeader:
    """What parameters and JOSE header say is the same in every call of one certificate. Exceptions are not remembered."""
    info, alg, ppt = parameters
    # RFC 8224 6.2 step 1: a PASSporT type that we do not support is ignored
    if ppt is not None and ppt != SHAKEN:
        raise failure("ppt_unsupported", ppt)
    if not header_text:
        # RFC 8588 7: shaken has no compact form; without ppt it is a base PASSporT
        raise failure("compact_form_unsupported" if ppt else "ppt_unsupported", "compact form")
    header = jose_header(header_text)
    if ppt is None and header.ppt != SHAKEN:
        raise failure("ppt_unsupported", repr(header.ppt))
    # RFC 8224 4.1: what both say has to be the same
    if alg is not None and alg != header.alg:
        raise failure("alg_mismatch", alg)
    if info != header.x5u:
        raise failure("info_mismatch", f"{info} and {header.x5u}")
    check_x5u(info, rules)
    return header


def _check_freshness(passport: Passport, request: sip.Request, rules: VerificationRules, now: float) -> None:
    """RFC 8224 6.2 step 4 and 12.1, to both sides."""
    age = now - passport.claims.iat
    if age > rules.max_iat_age:
        raise failure("iat_stale", f"{age:.0f} s old")
    if age < -rules.max_iat_future:
        raise failure("iat_in_future", f"{-age:.0f} s ahead")
    if not rules.ignore_sip_date_header:
        if request.date is None:
            raise failure("date_missing")
        check_date(request.date, rules.max_date_header_age, now)


def _check_parties(passport: Passport, orig: sip.Party | None, dest: sip.Party | None, plan: NumberPlan) -> None:
    """RFC 8224 6.2 step 5: the identities that SIP shows are those that were signed, in canonical form on both sides."""
    claims = passport.claims
    if orig is None or (claims.orig != orig and _canonical(claims.orig, plan) != orig):
        raise failure("orig_mismatch", f"signed {claims.orig.value}, SIP has {orig.value if orig else 'none'}")
    if dest is None or (dest not in claims.dest and all(_canonical(signed, plan) != dest for signed in claims.dest)):
        signed_dest = ",".join(signed.value for signed in claims.dest)
        raise failure("dest_mismatch", f"signed {signed_dest}, SIP has {dest.value if dest else 'none'}")


def _canonical(signed: sip.Party, plan: NumberPlan) -> sip.Party | None:
    if signed.kind == "uri":
        return sip.party(signed.value, plan)
    if signed.value.isascii() and signed.value.isdigit():
        return signed  # as every honest signer sends it
    tn = canonical_tn(signed.value, plan)
    return sip.Party("tn", tn) if tn else None


def _signature_error(passport: Passport, orig: str, credential: Credential, now: float) -> StirError | None:
    """RFC 8224 6.2 steps 4 and 5: the credential is valid now and at iat, covers the caller, and made this signature."""
    iat = passport.claims.iat
    if max(now, iat) >= credential.not_after:
        return failure("credential_expired")
    if min(now, iat) < credential.not_before:
        return failure("credential_not_yet_valid")
    if not credential.tnauthlist.covers(orig):
        return failure("tn_not_authorized", orig)
    if not es256.verify(passport.signing_input, passport.signature, credential.public_key):
        return failure("signature_invalid")
    return None
