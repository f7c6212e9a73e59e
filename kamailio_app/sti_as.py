"""Authentication service (RFC 8224 6.1, RFC 8588, RFC 8946, RFC 8443, RFC 9027, RFC 9795): request, what is wanted, signer,
time and origid -> Identity headers.

`sign` makes the one shaken header that nearly all calls get; `sign_all` makes whatever else is wanted. Pure. Which requests
are signed, with which attestation and what besides is decided before (`policy`), the key comes from the keystore.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kamailio_app import grammar, sip
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.identity import IdentityParameters, parameter_text, parse_identity, split_values
from kamailio_app.passport import es256
from kamailio_app.passport.claims import MAX_DEST, Attestation, ShakenClaims, base_members, shaken_json
from kamailio_app.passport.div import DivClaims, reach, unsigned_links
from kamailio_app.passport.encoding import canonical_json, to_base64url
from kamailio_app.passport.extension import DIV, EXTENSIONS, RCD, RPH, ExtensionClaims, extension_passport
from kamailio_app.passport.media import MediaKey, media_keys, media_members
from kamailio_app.passport.parties import readings
from kamailio_app.passport.passport import SHAKEN, JoseHeader, jose_header, jose_ppt, shaken_passport
from kamailio_app.passport.rcd import CLAIMS as RCD_CLAIMS
from kamailio_app.passport.rcd import RichCallData, rcd_members
from kamailio_app.passport.retargeting import diverting
from kamailio_app.passport.rph import priority_claims
from kamailio_app.sip import Party
from kamailio_app.tn import AS_WRITTEN, NumberPlan

MAX_IDENTITY_HEADERS: Final = 10  # our own verification reads no more (decision 4)
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its certificate's URL, ready for use: what is constant per certificate is made once."""

    name: str
    x5u: str
    not_before: int
    not_after: int
    fingerprint: str
    spcs: tuple[str, ...]
    key: EllipticCurvePrivateKey = field(repr=False)
    prefix: str = field(init=False, repr=False)
    suffix: str = field(init=False, repr=False)
    authority: TNAuthList | None = field(default=None, repr=False)  # what the certificate speaks for; None: not known
    limited: bool = field(init=False, repr=False)  # it speaks for some numbers, not for all of a provider's

    def __post_init__(self) -> None:
        prefix, suffix = _wrapping(self.x5u, SHAKEN)
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "suffix", suffix)
        object.__setattr__(self, "limited", self.authority is not None and not self.authority.spcs)


@lru_cache(maxsize=_REMEMBERED)
def _wrapping(x5u: str, ppt: str | None) -> tuple[str, str]:
    """What stands before the payload and behind the signature: the same in every PASSporT of a certificate and a type."""
    return JoseHeader("ES256", ppt, "passport", x5u).text() + ".", parameter_text(IdentityParameters(x5u, "ES256", ppt))


@dataclass(frozen=True, slots=True)
class SigningRules:
    """Where identities are read, how numbers are dialled, how old a Date may be (seconds)."""

    orig_source: str = "pai"
    dest_source: str = "to"
    max_date_header_age: int = 60
    plan: NumberPlan = AS_WRITTEN


class Signed(NamedTuple):
    """What goes into the request: the Identity value, and a Date if it had none."""

    identity: str
    date: str | None
    claims: ShakenClaims


class Wanted(NamedTuple):
    """What is to be signed. All but `attest` is for calls that are not ordinary.

    `identity`: what becomes of a request that carries a shaken Identity: it stays alone ("pass"), ours takes its place
    ("replace"), or who diverted the call is signed ("div"). `div` does the latter for calls that we sign ourselves.
    Whose words `diversions`, Diversion and History-Info are, and whether to believe them, is the policy's to know.
    """

    attest: Attestation
    identity: Literal["pass", "replace", "div"] = "pass"
    drop_malformed: bool = False  # Identity values that nobody can read are taken away
    uri: bool = False  # also SIP URIs, for which no certificate of a provider speaks
    div: bool = False
    diversions: tuple[Party, ...] = ()  # who diverted the call, the first one first; empty: as its header fields say
    dest: tuple[Party, ...] = ()  # whom it calls besides the called identity
    rcd: RichCallData | None = None
    call_reason: str = ""  # goes before the one in `rcd`
    rph: bool = False  # Resource-Priority, and Priority of a callback, as the request has them
    mky: str = ""  # the SDP whose fingerprints are signed
    base: bool = False  # also a base PASSporT, in compact form


# Without Identity in the request, what stands before has nothing to say
_FIRST_FURTHER: Final = Wanted._fields.index("uri")
_NOTHING_FURTHER: Final = Wanted(Attestation.FULL)[_FIRST_FURTHER:]
_DIVERSIONS_ALONE: Final = Wanted(Attestation.FULL, div=True)[_FIRST_FURTHER:]


class SignedCall(NamedTuple):
    """What becomes of the request's headers.

    Append `identities`, the shaken one first; where `keep` is not None, take all Identity header fields away before and put
    these values in their place. `refused` says why something that was wanted is not signed, `dropped` why an Identity was
    not kept.
    """

    identities: tuple[str, ...]
    date: str | None = None  # to be added
    claims: ShakenClaims | None = None  # of our shaken PASSporT
    diversions: tuple[DivClaims, ...] = ()  # of our div PASSporTs
    keep: tuple[str, ...] | None = None
    dropped: tuple[StirError, ...] = ()
    refused: tuple[StirError, ...] = ()

    @property
    def error(self) -> StirError | None:
        """Why nothing is signed, where malformed values are dropped all the same."""
        return None if self.identities else self.refused[0]

    @property
    def signatures(self) -> frozenset[str]:
        """By these `own_reason` knows our PASSporTs again."""
        return frozenset(value.partition(";")[0].rpartition(".")[2] for value in self.identities)


_DEFAULT_RULES: Final = SigningRules()


def sign(
    request: sip.Request,
    attest: Attestation,
    signer: Signer,
    rules: SigningRules = _DEFAULT_RULES,
    *,
    now: float,
    origid: str,
    parties: tuple[Party | None, Party | None] | None = None,
) -> Signed:
    """Sign an initial INVITE. `parties`: caller and called, if they are known already.

    Errors (the call goes on unsigned): `request_not_signed`, `identity_too_many`, `identity_present`, `orig_missing`,
    `dest_missing`, `date_malformed`, `date_stale`, `date_in_future`, `certificate_expired`, `certificate_not_yet_valid`,
    `tn_not_authorized`.
    """
    # ATIS-1000074 5.2: initial INVITEs; neither ACK, CANCEL nor anything inside a dialog
    if request.method != "INVITE" or request.in_dialog:
        raise failure("request_not_signed", request.method)
    # RFC 8946 4.1: what others signed stays; never two of ours
    if request.identity:
        values = _values(request)
        if any(map(_is_shaken, values)):
            raise failure("identity_present")
    orig, dest = parties or (
        sip.caller(request, rules.orig_source, rules.plan),
        sip.called(request, rules.dest_source, rules.plan),
    )
    if orig is None or orig.kind != "tn":
        raise failure("orig_missing", request.from_uri)
    if dest is None or dest.kind != "tn":
        raise failure("dest_missing", request.to_uri)
    if signer.limited:
        _check_authority(signer, orig)
    date, _ = _date(request, signer, rules, now)
    iat = int(now)
    payload = shaken_json(attest, dest.value, iat, orig.value, origid)
    signing_input = signer.prefix + to_base64url(payload.encode())
    signature = to_base64url(es256.sign(signing_input.encode("ascii"), signer.key))
    return Signed(f"{signing_input}.{signature}{signer.suffix}", date, ShakenClaims(attest, (dest,), iat, orig, origid))


def _date(request: sip.Request, signer: Signer, rules: SigningRules, now: float) -> tuple[str | None, int]:
    """RFC 8224 6.1 step 3: a Date is accurate or added; both Date and now lie in the certificate's validity.

    The Date to add, if any, and the Date in seconds since 1970.
    """
    date, dated = None, int(now)
    if request.date is None:
        date = sip.format_date(now)
    else:
        dated = check_date(request.date, rules.max_date_header_age, now)
    if now >= signer.not_after or dated >= signer.not_after:
        raise failure("certificate_expired", signer.name)
    if now < signer.not_before or dated < signer.not_before:
        raise failure("certificate_not_yet_valid", signer.name)
    return date, dated


def check_date(text: str, max_age: int, now: float) -> int:
    """RFC 8224 4.1 and 6.2 step 4: a Date, fresh to both sides, in seconds since 1970.

    Errors: `date_malformed`, `date_stale`, `date_in_future`.
    """
    date = sip.parse_date(text)
    age = now - date
    if age > max_age:
        raise failure("date_stale", f"{age:.0f} s old")
    if age < -max_age:
        raise failure("date_in_future", f"{-age:.0f} s ahead")
    return date


def _check_authority(signer: Signer, who: Party) -> None:
    """RFC 8224 6.1 step 1, RFC 8946 4.1: nothing is signed for a number that the certificate does not speak for."""
    if signer.authority is not None and who.kind == "tn" and not signer.authority.covers(who.value):
        raise failure("tn_not_authorized", who.value)


def carries_shaken(request: sip.Request) -> bool:
    """Does the request have an Identity header that says it is shaken?"""
    return any(_is_shaken(value) for field in request.identity for value in split_values(field))


def _values(request: sip.Request) -> list[str]:
    """The Identity values of the request. Errors: `identity_too_many`: what stands behind was not looked at."""
    values = [value for field in request.identity for value in split_values(field)]
    if len(values) > MAX_IDENTITY_HEADERS:
        raise failure("identity_too_many", str(len(values)))
    return values


def _is_shaken(value: str) -> bool:
    """Is this a header that says it is shaken, as its ppt parameter or as its PASSporT? Some verifier believes either.

    What cannot be read is not ours to judge.
    """
    try:
        identity = parse_identity(value)
    except StirError:
        return False
    said = identity.parameters.ppt or ""
    return said.lower() == SHAKEN or (not identity.compact and _ppt(identity.digest).lower() == SHAKEN)


def _ppt(digest: str) -> str:
    """What a PASSporT in full form says of its type, whatever else is wrong with it."""
    text = digest.partition(".")[0]
    try:
        return jose_header(text).ppt or ""
    except StirError:
        return jose_ppt(text) or ""


# --- Whatever is wanted -----------------------------------------------------------------------------------------


class _Present(NamedTuple):
    """An Identity value that came with the request. `claims` if it is of a type that we know, `error` if it is malformed."""

    value: str
    shaken: bool
    claims: ShakenClaims | ExtensionClaims | None = None
    error: StirError | None = None


class _Order(NamedTuple):
    """What `sign_all` was asked."""

    request: sip.Request
    wanted: Wanted
    signer: Signer
    rules: SigningRules
    now: float


class _Call(NamedTuple):
    """A call that we sign: what its shaken PASSporT says, and what the others are made of."""

    order: _Order
    claims: ShakenClaims
    dated: int  # its Date
    media: tuple[MediaKey, ...]


def sign_all(
    request: sip.Request,
    wanted: Wanted,
    signer: Signer,
    rules: SigningRules = _DEFAULT_RULES,
    *,
    now: float,
    origid: str,
) -> SignedCall:
    """Sign an initial INVITE as it is wanted.

    Errors (the request stays as it is): those of `sign`, `identity_too_many`, `claim_malformed` (more are called than anybody
    calls); where a call that carries Identity was diverted `div_not_needed`, `div_unlinked`, `iat_stale`, `iat_in_future`,
    `uri_not_authorized`. If malformed values are dropped, the failure is in `refused` instead.
    """
    if not request.identity and _is_ordinary(request, wanted[_FIRST_FURTHER:], rules):
        signed = sign(request, wanted.attest, signer, rules, now=now, origid=origid)
        return SignedCall((signed.identity,), signed.date, signed.claims)
    if request.method != "INVITE" or request.in_dialog:
        raise failure("request_not_signed", request.method)
    order = _Order(request, wanted, signer, rules, now)
    present = _present(request)
    staying = [one for one in present if one.error is None] if wanted.drop_malformed else present
    theirs = [one for one in staying if one.shaken]
    others = [one for one in staying if not one.shaken]
    try:
        if theirs and wanted.identity == "pass":
            raise failure("identity_present")
        if theirs and wanted.identity == "div":
            made = _sign_diversions(order, staying)
        else:
            made = _sign_new(order, others, origid)
            staying = others
    except StirError as error:
        if len(staying) == len(present):
            raise
        made = SignedCall((), refused=(error,))
    if len(staying) == len(present):
        return made
    dropped = tuple([one.error for one in present if one.error is not None]) if wanted.drop_malformed else ()
    return made._replace(keep=tuple([one.value for one in staying]), dropped=dropped)


def _is_ordinary(request: sip.Request, further: tuple[Any, ...], rules: SigningRules) -> bool:
    """Is one shaken header all that there is to sign?"""
    if further == _NOTHING_FURTHER:
        return True
    if further != _DIVERSIONS_ALONE or request.history_info or request.diversion:
        return False
    return sip.party(request.request_uri, rules.plan) == sip.called(request, rules.dest_source, rules.plan)


def _present(request: sip.Request) -> list[_Present]:
    """Errors: `identity_too_many`."""
    return [_read(_CONTROL.sub(" ", value).strip(" ")) for value in _values(request)]


# A value that goes back into the request ends no line there
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# What is well formed and not for us is not malformed
_READABLE: Final = frozenset({"alg_unsupported", "typ_unsupported"})


def _read(value: str) -> _Present:
    shaken = _is_shaken(value)
    try:
        identity = parse_identity(value)
        if identity.compact:
            return _Present(value, shaken)
        jose = jose_header(identity.digest.partition(".")[0])
        # RFC 8224 4.1, as our own verification has it: the parameter may be absent, and says nothing else than the PASSporT
        if identity.parameters.ppt is not None and identity.parameters.ppt != jose.ppt:
            raise failure("ppt_mismatch", repr(jose.ppt))
        if jose.ppt == SHAKEN:
            return _Present(value, shaken, shaken_passport(identity.digest, jose).claims)
        if jose.ppt in EXTENSIONS:
            return _Present(value, shaken, extension_passport(identity.digest, jose).claims)
        return _Present(value, shaken)
    except StirError as error:
        return _Present(value, shaken, None, None if error.token in _READABLE else error)


def _sign_new(order: _Order, others: list[_Present], origid: str) -> SignedCall:
    """A shaken PASSporT of ours and what goes with it. Without the former there is nothing; the others are apart."""
    request, wanted, signer, rules, now = order
    orig = sip.caller(request, rules.orig_source, rules.plan)
    if orig is None or not _signable(orig, wanted):
        raise failure("orig_missing", request.from_uri)
    _check_authority(signer, orig)
    diversions = _diversions(order) if wanted.div else ()
    dest = sip.called(request, rules.dest_source, rules.plan)
    if diversions and rules.dest_source == "request_uri":
        # That is where the call goes now; it was for whoever diverted it first
        dest = diversions[0]
    if dest is None or not _may_be_called(dest, wanted):
        raise failure("dest_missing", request.to_uri)
    # Of those who are called besides, each once, and whom no provider's certificate speaks for not at all
    parties = tuple(dict.fromkeys([dest, *(one for one in wanted.dest if _may_be_called(one, wanted))]))
    if len(parties) > MAX_DEST:
        raise failure("claim_malformed", "dest")
    date, dated = _date(request, signer, rules, now)
    refused: list[StirError] = []
    media: tuple[MediaKey, ...] = ()
    try:
        media = media_keys(wanted.mky) if wanted.mky else ()
    except StirError as error:
        refused.append(error)
    _check_count(len(others) + 1)
    call = _Call(order, ShakenClaims(wanted.attest, parties, int(now), orig, origid), dated, media)
    identities = [_shaken(call)]
    made: list[DivClaims] = []
    try:
        links = _own_diversions(call, diversions, others) if wanted.div else []
        _check_count(len(others) + len(identities) + len(links))
        made = links
        identities += [_identity(signer, DIV, one.members()) for one in made]
    except StirError as error:
        refused.append(error)
    for make in (_priority, _rich_call_data, _base):
        try:
            values = make(call)
            _check_count(len(others) + len(identities) + len(values))
            identities += values
        except StirError as error:
            refused.append(error)
    return SignedCall(tuple(identities), date, call.claims, tuple(made), refused=tuple(refused))


def _sign_diversions(order: _Order, present: list[_Present]) -> SignedCall:
    """RFC 8946 4.1: what came stays, and behind each shaken PASSporT goes a div PASSporT for each diversion."""
    request, _, signer, rules, now = order
    target = sip.party(request.request_uri, rules.plan)
    if target is None:
        raise failure("dest_missing", request.request_uri)
    way = [*_diversions(order), target]
    made: dict[DivClaims, None] = {}
    refused: list[StirError] = []
    for one in present:
        try:
            if one.shaken:
                made.update(dict.fromkeys(_diverted(order, _signed_before(one, order), present, way)))
        except StirError as error:
            refused.append(error)
    if not made:
        raise refused[0]
    _check_count(len(present) + len(made))
    date, _ = _date(request, signer, rules, now)
    identities = tuple([_identity(signer, DIV, one.members()) for one in made])
    return SignedCall(identities, date, None, tuple(made), refused=tuple(refused))


def _signed_before(one: _Present, order: _Order) -> ShakenClaims:
    """What a shaken PASSporT of others says. RFC 8224 4.1: nothing is signed on top of what is stale.

    Errors: `div_unlinked`, `iat_stale`, `iat_in_future`.
    """
    if not isinstance(one.claims, ShakenClaims):
        raise failure("div_unlinked", "signed in a shaken PASSporT that cannot be read")
    age = order.now - one.claims.iat
    if abs(age) > order.rules.max_date_header_age:
        raise failure("iat_stale" if age > 0 else "iat_in_future", f"{age:.0f} s old")
    return one.claims


def _own_diversions(call: _Call, diversions: tuple[Party, ...], others: list[_Present]) -> list[DivClaims]:
    """The diversions of a call that we sign ourselves."""
    order = call.order
    target = sip.party(order.request.request_uri, order.rules.plan)
    # A Request-URI that is no number of the world is where the called party's device is: nobody diverted anything
    if target is None or target in call.claims.dest or not (diversions or _signable(target, order.wanted)):
        return []
    return _diverted(order, call.claims, others, [*diversions, target])


def _diverted(order: _Order, signed: ShakenClaims, present: list[_Present], way: list[Party]) -> list[DivClaims]:
    """The div PASSporTs that are missing behind one that is signed.

    Errors: `div_not_needed`, `div_unlinked`, `dest_missing`, `uri_not_authorized`, `tn_not_authorized`.
    """
    plan = order.rules.plan
    callers = readings(signed.orig, plan)
    diversions = [one.claims for one in present if isinstance(one.claims, DivClaims)]
    # RFC 8946 4.1: orig is the same in all of a chain
    same_call = [one for one in diversions if any(who in callers for who in readings(one.orig, plan))]
    links = unsigned_links(reach(signed.dest, same_call, plan), way)
    for who, goal in links:
        if not _signable(goal, order.wanted):
            raise failure("dest_missing", goal.value)
        if not _signable(who, order.wanted):
            raise failure("uri_not_authorized", who.value)
        for meant in readings(who, plan)[:1]:
            _check_authority(order.signer, meant)
    # RFC 8946 3: orig as it was signed, and iat too
    return [DivClaims((goal,), who, signed.iat, signed.orig) for who, goal in links]


def _diversions(order: _Order) -> tuple[Party, ...]:
    """Who diverted the call: whom the script names, else whom the request's header fields do."""
    request, wanted, _, rules, _ = order
    if wanted.diversions or not (request.history_info or request.diversion):
        return wanted.diversions
    return diverting(request.history_info, request.diversion, sip.party(request.request_uri, rules.plan), rules.plan)


def _check_count(headers: int) -> None:
    if headers > MAX_IDENTITY_HEADERS:
        raise failure("identity_too_many", str(headers))


def _signable(who: Party, wanted: Wanted) -> bool:
    return who.kind == "tn" or wanted.uri


def _may_be_called(who: Party, wanted: Wanted) -> bool:
    """RFC 9027 3: a call whose priority is signed may go to the emergency service by its URN."""
    return _signable(who, wanted) or (wanted.rph and who.value.startswith("urn:service:sos"))


# --- PASSporTs of each type -------------------------------------------------------------------------------------


def _shaken(call: _Call) -> str:
    claims = call.claims
    if not call.media and len(claims.dest) == 1 and claims.dest[0].kind == claims.orig.kind == "tn":
        text = shaken_json(claims.attest, claims.dest[0].value, claims.iat, claims.orig.value, claims.origid)
        return _wrapped(call.order.signer, SHAKEN, text.encode())
    return _identity(call.order.signer, SHAKEN, {**claims.members(), **_mky(call)})


def _priority(call: _Call) -> list[str]:
    """RFC 8443, RFC 9027."""
    request, claims = call.order.request, call.claims
    if not call.order.wanted.rph:
        return []
    priority = priority_claims(claims.dest, claims.iat, claims.orig, request.resource_priority, request.priority)
    return [_identity(call.order.signer, RPH, priority.members())] if priority else []


def _rich_call_data(call: _Call) -> list[str]:
    """RFC 9795. In a PASSporT of its own, not in the shaken one: deployed verifiers rebuild that from its five claims, and
    one that does not know rich call data ignores the header.
    """
    data, reason = call.order.wanted.rcd, call.order.wanted.call_reason
    if data is None and not reason:
        return []
    data = data or RichCallData()
    members = rcd_members(data._replace(crn=reason) if reason else data)
    if not any(name in members for name in RCD_CLAIMS):
        return []
    return [_identity(call.order.signer, RCD, {**_base_claims(call), **members})]


def _base(call: _Call) -> list[str]:
    """RFC 8224 4.1, RFC 8225 7: what is left out stands in the request, iat as its Date."""
    if not call.order.wanted.base:
        return []
    members = {**_base_claims(call), **_mky(call), "iat": call.dated}
    digest, _, parameters = _identity(call.order.signer, None, members).partition(";")
    return [f"..{digest.rpartition('.')[2]};{parameters}"]


def _base_claims(call: _Call) -> dict[str, Any]:
    return base_members(call.claims.dest, call.claims.iat, call.claims.orig)


def _mky(call: _Call) -> dict[str, Any]:
    return {"mky": media_members(call.media)} if call.media else {}


def _identity(signer: Signer, ppt: str | None, members: Mapping[str, Any]) -> str:
    try:
        payload = canonical_json(members)
    except ValueError as error:  # half a surrogate pair in what another signed
        raise failure("claim_malformed", "no text") from error
    return _wrapped(signer, ppt, payload)


def _wrapped(signer: Signer, ppt: str | None, payload: bytes) -> str:
    """The Identity value of a payload, in full form."""
    prefix, suffix = _wrapping(signer.x5u, ppt)
    signing_input = prefix + to_base64url(payload)
    return f"{signing_input}.{to_base64url(es256.sign(signing_input.encode('ascii'), signer.key))}{suffix}"


# --- What comes back --------------------------------------------------------------------------------------------

_MAX_REASON: Final = 16384
_REASON: Final = re.compile(rf"{grammar.LWS}STIR{grammar.LWS}(?=;|\Z)", re.IGNORECASE)
_PARAMETER: Final = re.compile(
    rf"{grammar.LWS};{grammar.LWS}({grammar.TOKEN})(?:{grammar.LWS}={grammar.LWS}({grammar.QUOTED_STRING}|{grammar.TOKEN}))?+"
)


def own_reason(value: str, signatures: Collection[str]) -> bool:
    """RFC 9410 5: does a Reason value report one of our own PASSporTs, full or compact? Such a one is logged and goes no
    further. `signatures` as in `SignedCall.signatures`. Several values in one field: `identity.split_values` parts them.
    """
    return reported_signature(value) in signatures


def reported_signature(value: str) -> str:
    """The signature of the PASSporT that a Reason value speaks of (RFC 9410 4, ppi); empty if it speaks of none."""
    protocol = _REASON.match(value) if len(value) <= _MAX_REASON else None
    if protocol is None:
        return ""
    for name, text in _PARAMETER.findall(value, protocol.end()):
        if name.lower() == "ppi":
            return str(text).strip('"').rpartition(".")[2]
    return ""
