"""A call explained: what `sti_vs` and `policy.treatment` say of it, and every check that led there.

The verdict comes from the functions that calls go through, with the settings' rules; the checks only say more. Not checked:
replay, which needs the memory of an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from kamailio_app import sip, sti_vs
from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.explain.credential_checks import CHECKS
from kamailio_app.explain.evidence import Evidence, x5u_of
from kamailio_app.explain.judge import NOT_AT_HAND, Edge
from kamailio_app.explain.notes import notes
from kamailio_app.explain.steps import Step, walk
from kamailio_app.identity import split_values
from kamailio_app.passport.claims import read_dest, read_orig
from kamailio_app.passport.encoding import from_base64url, json_object
from kamailio_app.passport.extension import DIV
from kamailio_app.passport.parties import readings
from kamailio_app.policy.codes import Answer
from kamailio_app.policy.emergency import is_emergency
from kamailio_app.policy.treatment import FailureAction, Treatment, TreatmentRules, treatment
from kamailio_app.sip import Party, Request
from kamailio_app.sti_vs import MAX_IDENTITY_HEADERS, VerificationRules
from kamailio_app.tn import NumberPlan
from kamailio_app.verdict import Verdict, Verification

NOT_VERIFIED: Final = "request_not_signed"


class Header(NamedTuple):
    """One Identity header value explained. `jose` and `claims` as they could be decoded."""

    number: int
    ppt: str
    verdict: Verdict
    steps: tuple[Step, ...]
    jose: Mapping[str, Any] | None
    claims: Mapping[str, Any] | None

    @property
    def token(self) -> str:
        return self.verdict.error.token if self.verdict.error else ""


class Explanation(NamedTuple):
    """`token` is the verification's, or `request_not_signed` where an edge verifies nothing. `action` is what the settings do
    with it, `answer` how the code profile tells the failure, `treatment` what then happens to the call.
    """

    request: Request
    now: float
    verification: Verification
    headers: tuple[Header, ...]
    verified: bool
    emergency: bool
    action: FailureAction
    answer: Answer | None
    treatment: Treatment
    caller: Party | None
    called: Party | None
    profile: str

    @property
    def token(self) -> str:
        return self.verification.token if self.verified else NOT_VERIFIED

    @property
    def error(self) -> StirError | None:
        return self.verification.verdict.error

    @property
    def valid(self) -> bool:
        return self.verified and self.verification.valid

    @property
    def undecided(self) -> bool:
        """It hangs on a certificate that nobody looked at."""
        return self.verified and self.token == NOT_AT_HAND

    @property
    def further(self) -> tuple[str, ...]:
        """What is wrong besides: each token once."""
        if not self.verified:
            return ()
        told = [step.token for header in self.headers for step in header.steps if step.token]
        told += [error.token for error in (self.verification.rcd_error, self.verification.rph_error) if error]
        return tuple(dict.fromkeys([token for token in told if token not in (self.token, NOT_AT_HAND)]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as the standards have it, and is no failure here: each once."""
        return tuple(dict.fromkeys([note for header in self.headers for note in notes(header.claims or {})]))


def explain(
    request: Request,
    edge: Edge,
    now: float,
    rules: TreatmentRules | None = None,
    *,
    assumed: frozenset[str] = frozenset(),
    deep: bool = True,
) -> Explanation:
    """`now` in seconds since 1970. `rules`: the trunk's, else those of all. `assumed`: see `completed`. Not `deep`: the result
    without the checks.
    """
    rules = rules or edge.settings.treatment
    strictness = edge.settings.verification
    if rules.codes.strict_parameters:
        strictness = replace(strictness, strict_parameters=True)
    examination = sti_vs.examine(request, strictness, now=now)
    edge = edge.within_limits(examination.needed)
    credentials: dict[str, Credential | StirError] = {url: edge.judged(url, now).outcome for url in examination.needed}
    verification = sti_vs.conclude(examination, credentials, now=now)
    emergency = is_emergency(request, edge.settings.emergency, strictness.plan)
    error = verification.verdict.error
    caller = sip.caller(request, strictness.orig_source, strictness.plan)
    called = sip.called(request, strictness.dest_source, strictness.plan)
    values = [value for field in request.identity for value in split_values(field)]
    headers = []
    if deep and 0 < len(values) <= MAX_IDENTITY_HEADERS:
        has_div = any(examined.ppt == DIV for examined in examination.headers)
        for number, value in enumerate(values):
            evidence = Evidence(
                value=value,
                request=request,
                rules=strictness,
                now=now,
                edge=edge,
                examined=examination.headers[number],
                verdict=verification.verdicts[number],
                caller=caller,
                called=called,
                connections=examination.connections,
                has_div=has_div,
                diversions=verification.diversions,
                assumed=assumed,
            )
            headers.append(_header(number, evidence))
    return Explanation(
        request=request,
        now=now,
        verification=verification,
        headers=tuple(headers),
        verified=request.method == "INVITE" and not request.in_dialog,
        emergency=emergency,
        action=rules.actions.get(error.code, rules.failure_action) if error else rules.failure_action,
        answer=rules.codes.answer(error.token) if error else None,
        treatment=treatment(verification, rules, emergency=emergency),
        caller=caller,
        called=called,
        profile=rules.codes.name,
    )


def _header(number: int, evidence: Evidence) -> Header:
    steps = walk(CHECKS, evidence, evidence.verdict.error)
    jose = None if isinstance(evidence.jose, StirError) else evidence.jose
    claims = None if isinstance(evidence.members, StirError) else evidence.members
    return Header(number + 1, evidence.ppt, evidence.verdict, steps, jose, claims)


def clause(token: str) -> str:
    return FAILURES[token].clause if token else ""


def urls(request: Request, rules: VerificationRules) -> tuple[str, ...]:
    """All certificates that an explanation can look at, also of headers for which an edge would fetch nothing."""
    values = [value for field in request.identity for value in split_values(field)][:MAX_IDENTITY_HEADERS]
    return tuple(dict.fromkeys([url for value in values if (url := x5u_of(value, rules))]))


# --- An Identity header without its request ---------------------------------------------------------------------------


def completed(request: Request, plan: NumberPlan) -> tuple[Request, frozenset[str]]:
    """The request with what it does not say, as the PASSporTs have it, so that all else can be checked; and what that is."""
    assumed: set[str] = set()
    claims = [_said(value) for field in request.identity for value in split_values(field)[:MAX_IDENTITY_HEADERS]]
    if not request.from_uri:
        assumed.add("from")
        signed = next((party for members in claims if (party := _read(members, "orig", read_orig))), None)
        if signed is not None:
            request = request._replace(from_uri=_uri(signed, plan))
    if not request.to_uri:
        assumed.add("to")
        dest = _last(claims, plan)
        if dest is not None:
            request = request._replace(to_uri=_uri(dest, plan))
    if not request.request_uri:
        request = request._replace(request_uri=request.to_uri)
    return request, frozenset(assumed)


def _said(value: str) -> Mapping[str, Any]:
    parts = "".join(value.partition(";")[0].split()).split(".")
    try:
        return json_object(from_base64url(parts[1])) if len(parts) > 1 else {}
    except StirError:
        return {}


def _read(members: Mapping[str, Any], name: str, read: Any) -> Any:
    try:
        return read(members[name]) if name in members else None
    except StirError:
        return None


def _last(claims: list[Mapping[str, Any]], plan: NumberPlan) -> Party | None:
    """Where the last diversion leads; without one, whom the call was signed for."""
    diverting = [party for members in claims if "div" in members if (party := _read(members, "div", read_orig))]
    diverted = {party for signed in diverting for party in readings(signed, plan)}
    ends = [party for members in claims for party in (_read(members, "dest", read_dest) or ())]
    open_ends = [party for party in ends if diverted.isdisjoint(readings(party, plan))]
    return next(iter([*open_ends, *ends]), None)


def _uri(signed: Party, plan: NumberPlan) -> str:
    """A URI that names whom the PASSporT names."""
    forms = [signed.value] if signed.kind == "uri" else [f"tel:+{signed.value}", f"tel:{signed.value}", signed.value]
    named = [form for form in forms if sip.party(form, plan) in readings(signed, plan)]
    return (named or forms)[0]
