"""Verification service (RFC 8224 6.2, RFC 8588, RFC 8946, RFC 8443, RFC 9027, RFC 9795, ATIS-1000074 5.3) in two pure steps.

`examine` does everything that needs nothing from outside and names the credentials it needs; `conclude` takes them and
decides. Between the two, `runtime` fetches. Nothing is fetched for a request that is already stale, malformed or misaddressed,
nor for a diversion that links nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from kamailio_app import sip
from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.x5u import DEFAULT_RULES, X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.identity import IdentityHeader, IdentityParameters, check_strict, parse_identity, split_values
from kamailio_app.passport import es256
from kamailio_app.passport.div import DivClaims, Diversion, chain, on_the_way
from kamailio_app.passport.extension import DIV, EXTENSIONS, RCD, RPH, ExtensionPassport, extension_passport
from kamailio_app.passport.parties import canonical_set, is_signed, readings
from kamailio_app.passport.passport import (
    MAX_JOSE_TEXT,
    SHAKEN,
    JoseHeader,
    Passport,
    jose_header,
    jose_ppt,
    shaken_passport,
)
from kamailio_app.passport.rcd import RcdClaims, check_digests
from kamailio_app.passport.rph import RphClaims, check_rph, resource_priorities
from kamailio_app.sti_as import check_date
from kamailio_app.tn import AS_WRITTEN, NumberPlan
from kamailio_app.verdict import Verdict, Verification, combine, with_rcd, with_rph, worst

MAX_IDENTITY_HEADERS: Final = 10
_REMEMBERED_HEADERS: Final = 1024
_SUPPORTED: Final = frozenset({SHAKEN, *EXTENSIONS})


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """Ages in seconds. `ignore_sip_date_header`: in full form a fresh iat stands for Date (RFC 8224 6.2 step 4).
    `strict_parameters`: alg and ppt have to be there, and nothing but info beside them. `rph_signers`: service provider codes
    that may sign Resource-Priority (RFC 8443 4.2).
    """

    max_iat_age: int = 60
    max_iat_future: int = 60
    ignore_sip_date_header: bool = True
    max_date_header_age: int = 60
    orig_source: str = "pai"
    dest_source: str = "to"
    plan: NumberPlan = AS_WRITTEN
    x5u: X5uRules = DEFAULT_RULES
    strict_parameters: bool = False
    rph_signers: frozenset[str] = frozenset()


_DEFAULT_RULES: Final = VerificationRules()


class Examined(NamedTuple):
    """One header after the first step: a PASSporT that awaits its credential, or why there is none to await.

    `subject` is whom the credential has to cover, a number. `direct` says that the called identity is among the signed ones;
    where it is not, a chain of div PASSporTs has to lead there.
    """

    passport: Passport | None = None
    error: StirError | None = None
    subject: sip.Party | None = None
    ppt: str = SHAKEN
    extension: ExtensionPassport | None = None
    direct: bool = True


class Start(NamedTuple):
    """Where a chain of diversions begins: what a PASSporT has as dest, in canonical form, and where it has to lead, any of
    `targets`. Of a `direct` PASSporT it is not needed: it only tells who diverted the call.
    """

    signed: frozenset[sip.Party]
    targets: tuple[sip.Party, ...]
    direct: bool


class Connections(NamedTuple):
    """What else there is than shaken headers for the called number itself. By number of the header: the diversion that it is,
    the chain that it begins. What cannot link is not here.
    """

    diversions: Mapping[int, Diversion]
    starts: Mapping[int, Start]
    resource_priorities: tuple[str, ...]  # what the request has
    rph_signers: frozenset[str]


class Examination(NamedTuple):
    """All headers of a request after the first step; `needed` are the x5u URLs that `conclude` needs, each once, the most
    important first. `connections` is None for the ordinary call.
    """

    headers: tuple[Examined, ...]
    needed: tuple[str, ...] = ()
    caller: sip.Party | None = None  # whom SIP shows; not looked for if there is nothing to compare
    connections: Connections | None = None


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
    ordinary = True
    identity: IdentityHeader | None
    passport: Passport | None
    for value in values:
        identity = passport = None
        try:
            identity = parse_identity(value)
            if rules.strict_parameters:
                check_strict(value)
            header_text = identity.digest.partition(".")[0]
            if len(header_text) > MAX_JOSE_TEXT:
                raise failure("passport_malformed", "JOSE header too large")
            jose = _check_header(identity.parameters, header_text, rules.x5u)
            if jose.ppt != SHAKEN:
                ordinary = False
                headers.append(_examine_extension(identity.digest, jose, request, rules, orig=orig, dest=dest, now=now))
                continue
            passport = shaken_passport(identity.digest, jose)
            claims = passport.claims
            _check_freshness(claims.iat, request, rules, now)
            # As every honest signer sends it: nothing to canonicalise
            subject = claims.orig if claims.orig == orig else _check_orig(claims.orig, orig, rules.plan)
            if subject.kind != "tn":
                raise _not_authorized(subject)
            if dest in claims.dest or is_signed(dest, claims.dest, rules.plan):
                headers.append(Examined(passport, None, subject))
                needed[jose.x5u] = None
            else:
                ordinary = False
                headers.append(Examined(passport, None, subject, direct=False))
        except StirError as error:
            ppt = _said_type(value, identity)
            if ppt != SHAKEN:
                ordinary = False
            headers.append(Examined(passport, error, None, ppt))
    if ordinary:
        return Examination(tuple(headers), tuple(needed), orig)
    return _connect(headers, request, rules, orig, dest)


def _said_type(value: str, identity: IdentityHeader | None) -> str:
    """What a header that failed would have been, as its ppt parameter says, or else its PASSporT; shaken where neither does."""
    ppt = identity.parameters.ppt if identity else None
    if ppt is None:
        ppt = jose_ppt((identity.digest if identity else value.strip(" \t")).partition(".")[0])
    return ppt if ppt in EXTENSIONS else SHAKEN


def _examine_extension(
    digest: str,
    jose: JoseHeader,
    request: sip.Request,
    rules: VerificationRules,
    *,
    orig: sip.Party | None,
    dest: sip.Party | None,
    now: float,
) -> Examined:
    """The same steps for a PASSporT of another type, and those of its own."""
    passport: ExtensionPassport | None = None
    subject: sip.Party | None = None
    direct, ppt = True, jose.ppt or ""
    try:
        passport = extension_passport(digest, jose)
        claims = passport.claims
        _check_freshness(claims.iat, request, rules, now)
        # RFC 8946 4.2: orig is the same in all of a chain
        subject = _check_orig(claims.orig, orig, rules.plan)
        if isinstance(claims, DivClaims):
            # RFC 8946 4.2: who diverted the call is whom the credential covers, not the caller
            subject = next(iter(readings(claims.div, rules.plan)), None)
            if subject is None:
                raise failure("div_mismatch", f"{claims.div.value} names nobody")
        else:
            direct = is_signed(dest, claims.dest, rules.plan)
        if subject.kind != "tn":
            raise _not_authorized(subject)
        if isinstance(claims, RphClaims):
            check_rph(claims, request.resource_priority, request.priority)
            if not rules.rph_signers:
                raise failure("rph_not_authorized", "nobody is")
        return Examined(None, None, subject, ppt, passport, direct)
    except StirError as error:
        return Examined(None, error, subject, ppt, passport)


def _connect(
    headers: list[Examined],
    request: sip.Request,
    rules: VerificationRules,
    caller: sip.Party | None,
    dest: sip.Party | None,
) -> Examination:
    """RFC 8946 4.2: link diversions to what they divert. What cannot link needs no credential, and fails here."""
    plan = rules.plan
    diversions = _diversions(headers, plan)
    # The Request-URI is where the last diversion leads; a network may have put that into To as well
    target = sip.party(request.request_uri, plan) if diversions else None
    starts: dict[int, Start] = {}
    linked: dict[int, None] = {}
    for number, header in enumerate(headers):
        passport = header.passport or header.extension
        if passport is None or header.error or header.ppt == DIV:
            continue
        signed = canonical_set(passport.claims.dest, plan) if diversions else frozenset[sip.Party]()
        goals = (target,) if header.direct else (target, dest)
        start = Start(signed, tuple([goal for goal in goals if goal is not None and goal not in signed]), header.direct)
        found = [link for goal in start.targets for link in on_the_way(signed, diversions, goal)]
        if found:
            starts[number] = start
            linked.update(dict.fromkeys(found))
        elif not header.direct:
            headers[number] = header._replace(error=_misaddressed(passport.claims.dest, dest, headers))
    for number in diversions:
        if number not in linked:
            headers[number] = headers[number]._replace(error=failure("div_mismatch", "it links nothing"))
    present = {number: diversions[number] for number in linked}
    priorities = tuple(resource_priorities(request.resource_priority))
    connections = Connections(present, starts, priorities, rules.rph_signers)
    return Examination(tuple(headers), _needed(headers, linked), caller, connections)


def _diversions(headers: list[Examined], plan: NumberPlan) -> dict[int, Diversion]:
    """The diversions among the headers, by their number. Who diverted is meant as some other PASSporT has it."""
    claims = {
        number: header.extension.claims
        for number, header in enumerate(headers)
        if header.extension and not header.error and isinstance(header.extension.claims, DivClaims)
    }
    if not claims:
        return {}
    dests = [
        canonical_set(passport.claims.dest, plan)
        for header in headers
        if (passport := header.passport or header.extension) and not header.error
    ]
    named = frozenset[sip.Party]().union(*dests)
    diversions: dict[int, Diversion] = {}
    for number, own in claims.items():
        meant = readings(own.div, plan)
        div = next((one for one in meant if one in named), meant[0])
        headers[number] = headers[number]._replace(subject=div)
        diversions[number] = Diversion(div, canonical_set(own.dest, plan))
    return diversions


def _misaddressed(signed: tuple[sip.Party, ...], dest: sip.Party | None, headers: list[Examined]) -> StirError:
    token = "div_mismatch" if any(header.ppt == DIV for header in headers) else "dest_mismatch"
    signed_dest = ",".join(party.value for party in signed)
    return failure(token, f"signed {signed_dest}, SIP has {dest.value if dest else 'none'}")


def _needed(headers: list[Examined], linked: Iterable[int]) -> tuple[str, ...]:
    """shaken decides about the call, then the diversions in their order, then what is only told or only of priority."""
    order = [number for number, header in enumerate(headers) if header.ppt == SHAKEN]
    order += linked
    order += [number for ppt in (RPH, RCD) for number, header in enumerate(headers) if header.ppt == ppt]
    urls: dict[str, None] = {}
    for number in order:
        header = headers[number]
        passport = header.passport or header.extension
        if passport and not header.error:
            urls[passport.header.x5u] = None
    return tuple(urls)


def conclude(examination: Examination, credentials: Mapping[str, Credential | StirError], *, now: float) -> Verification:
    """The second step. `credentials` has an entry for every URL in `needed`: the credential, or why it cannot be had."""
    if examination.connections is not None:
        connections = examination.connections
        verdicts = [_conclude_any(header, connections, credentials, now) for header in examination.headers]
        return _conclude_all(verdicts, connections)
    if len(examination.headers) == 1:
        verdict = _conclude(examination.headers[0], credentials, now)
        verification = Verification(verdict, (verdict,))
    else:
        verification = combine(tuple([_conclude(header, credentials, now) for header in examination.headers]))
    passport = verification.verdict.passport
    # Rich call data rides in no PASSporT that has just the five claims
    return verification if passport is None or passport.members is None else with_rcd(verification)


def _conclude_all(verdicts: list[Verdict], connections: Connections) -> Verification:
    """The call's result where there is more than shaken headers for the called number."""
    valid = {number: diversion for number, diversion in connections.diversions.items() if verdicts[number].valid}
    chains: dict[int, tuple[int, ...]] = {}
    deciding = list(verdicts)
    for number, start in connections.starts.items():
        if not verdicts[number].valid:
            continue
        found = [path for target in start.targets if (path := chain(start.signed, valid, target)) is not None]
        if found:
            chains[number] = found[0]
        elif not start.direct:
            # RFC 8946 4.2: every link is verified; the first that goes by the rules of precedence is why this call is not
            error = worst(
                error
                for target in start.targets
                for link in on_the_way(start.signed, connections.diversions, target)
                if (error := verdicts[link].error)
            )
            deciding[number] = verdicts[number]._replace(error=error)
            verdicts[number] = verdicts[number]._replace(error=failure("div_mismatch", f"a diversion failed: {error}"))
    verification = combine(tuple(verdicts), deciding)
    if verification.valid:
        decisive = next(number for number, verdict in enumerate(verdicts) if verdict is verification.verdict)
        path = chains.get(decisive, ())
        diversions = tuple([connections.diversions[number].div.value for number in path])
        verification = with_rcd(verification)._replace(diversions=diversions)
    return with_rph(verification, connections.resource_priorities)


def _conclude(header: Examined, credentials: Mapping[str, Credential | StirError], now: float) -> Verdict:
    passport, error, subject, ppt, extension, _ = header
    signed = passport or extension
    if error is not None or signed is None or subject is None:
        return Verdict(error or failure("internal_error", "neither a PASSporT nor an error"), passport, None, ppt, extension)
    credential = credentials[signed.header.x5u]
    if isinstance(credential, StirError):
        return Verdict(credential, passport, None, ppt, extension)
    return Verdict(_signature_error(signed, subject.value, credential, now), passport, credential, ppt, extension)


def _conclude_any(
    header: Examined, connections: Connections, credentials: Mapping[str, Credential | StirError], now: float
) -> Verdict:
    """`_conclude`, and what only PASSporTs of other types have."""
    verdict = _conclude(header, credentials, now)
    extension, credential = verdict.extension, verdict.credential
    if extension is None or credential is None or not verdict.valid:
        return verdict
    claims = extension.claims
    if isinstance(claims, RphClaims) and connections.rph_signers.isdisjoint(credential.tnauthlist.spcs):
        error = failure("rph_not_authorized", ",".join(credential.tnauthlist.spcs))
        return verdict._replace(error=error)
    if isinstance(claims, RcdClaims):
        # Digests cost what their signer chose; by now it is known who that is
        try:
            checked = claims._replace(rcd=check_digests(claims.rcd, extension.members))
        except StirError as error:
            return verdict._replace(error=error)
        return verdict._replace(extension=extension._replace(claims=checked))
    return verdict


def replay_keys(verification: Verification) -> tuple[str, ...]:
    """A short text for each valid shaken PASSporT of the call, which is the same if it is sent again (RFC 8224 12.1).

    It is made of what was signed, and not of the signature: (r, n-s) is another one over the same octets.
    """
    return tuple(
        [
            hashlib.blake2b(verdict.passport.signing_input, digest_size=16).hexdigest()
            for verdict in verification.verdicts
            if verdict.valid and verdict.passport is not None
        ]
    )


@lru_cache(maxsize=_REMEMBERED_HEADERS)
def _check_header(parameters: IdentityParameters, header_text: str, rules: X5uRules) -> JoseHeader:
    """What parameters and JOSE header say is the same in every call of one certificate. Exceptions are not remembered."""
    info, alg, ppt = parameters
    # RFC 8224 6.2 step 1: a PASSporT type that we do not support is ignored
    if ppt is not None and ppt not in _SUPPORTED:
        raise failure("ppt_unsupported", ppt)
    if not header_text:
        # RFC 8588 7, RFC 8946 4.1: these types have no compact form; without ppt it is a base PASSporT
        raise failure("compact_form_unsupported" if ppt else "ppt_unsupported", "compact form")
    header = jose_header(header_text)
    if ppt is None and header.ppt not in _SUPPORTED:
        raise failure("ppt_unsupported", repr(header.ppt))
    # RFC 8224 4.1: what both say has to be the same
    if alg is not None and alg != header.alg:
        raise failure("alg_mismatch", alg)
    if info != header.x5u:
        raise failure("info_mismatch", f"{info} and {header.x5u}")
    check_x5u(info, rules)
    if ppt is not None and ppt != header.ppt:
        raise failure("jose_header_incomplete" if header.ppt is None else "ppt_mismatch", repr(header.ppt))
    return header


def _check_freshness(iat: int, request: sip.Request, rules: VerificationRules, now: float) -> None:
    """RFC 8224 6.2 step 4 and 12.1, to both sides."""
    age = now - iat
    if age > rules.max_iat_age:
        raise failure("iat_stale", f"{age:.0f} s old")
    if age < -rules.max_iat_future:
        raise failure("iat_in_future", f"{-age:.0f} s ahead")
    if not rules.ignore_sip_date_header:
        if request.date is None:
            raise failure("date_missing")
        check_date(request.date, rules.max_date_header_age, now)


def _check_orig(signed: sip.Party, orig: sip.Party | None, plan: NumberPlan) -> sip.Party:
    """RFC 8224 6.2 step 5: the caller that SIP shows is the one that was signed, in canonical form on both sides."""
    if orig is None or (signed != orig and orig not in readings(signed, plan)):
        raise failure("orig_mismatch", f"signed {signed.value}, SIP has {orig.value if orig else 'none'}")
    return orig


def _not_authorized(subject: sip.Party) -> StirError:
    """RFC 8226 9: a TNAuthList gives authority over numbers, and over nothing else."""
    return failure("uri_not_authorized", subject.value)


def _signature_error(
    passport: Passport | ExtensionPassport, subject: str, credential: Credential, now: float
) -> StirError | None:
    """RFC 8224 6.2 steps 4 and 5: the credential is valid now and at iat, covers the subject, and made this signature."""
    iat = passport.claims.iat
    # RFC 5280 4.1.2.5: through notAfter, inclusive
    if max(now, iat) > credential.not_after:
        return failure("credential_expired")
    if min(now, iat) < credential.not_before:
        return failure("credential_not_yet_valid")
    if not credential.tnauthlist.covers(subject):
        return failure("tn_not_authorized", subject)
    if credential.constraints is not None:
        # RFC 8226 8, RFC 9118 4
        try:
            credential.constraints.check(passport.payload())
        except StirError as error:
            return error
    if not es256.verify(passport.signing_input, passport.signature, credential.public_key):
        return failure("signature_invalid")
    return None
