"""The checks of one Identity header that need nothing from outside, in the order in which `sti_vs.examine` makes them.

RFC 8224 4 and 6.2, RFC 8225, RFC 8588, RFC 8946 4.2, RFC 8443 4.2, ATIS-1000074 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from kamailio_app import sip
from kamailio_app.credentials.x5u import check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.evidence import SUPPORTED, Evidence, attempt
from kamailio_app.explain.steps import Check, Seen, failed, passed, skipped, unreached
from kamailio_app.identity import MAX_FIELD_OCTETS, check_strict
from kamailio_app.passport.claims import ShakenClaims, read_dest, read_iat, read_orig
from kamailio_app.passport.div import DivClaims
from kamailio_app.passport.extension import DIV
from kamailio_app.passport.parties import is_signed, readings
from kamailio_app.passport.passport import MAX_JOSE_TEXT, SHAKEN
from kamailio_app.passport.rph import RphClaims, check_rph
from kamailio_app.sip import Party
from kamailio_app.sti_as import check_date

_COMPACT: Final = "compact form: nothing to decode"
_NO_HEADER: Final = "no protected header to look at"
_CLAIMS: Final = ("attest", "origid", "iat", "orig", "dest", "div", "opt", "rph", "sph")
_LATEST: Final = 253402300799  # the year 9999


def moment(seconds: float) -> str:
    """A time in ISO 8601."""
    return f"{datetime.fromtimestamp(seconds, UTC):%FT%TZ}" if 0 <= seconds <= _LATEST else str(seconds)


def distance(seconds: float, other: str) -> str:
    """75 s before the clock."""
    return f"{abs(seconds):.0f} s {'after' if seconds > 0 else 'before'} {other}" if round(seconds) else f"0 s from {other}"


def names(parties: Iterable[Party]) -> str:
    return ", ".join([party.value for party in parties])


# --- The header field (RFC 8224 4) ----------------------------------------------------------------------------------


def _size(e: Evidence) -> Seen:
    if len(e.value) > MAX_FIELD_OCTETS:
        return failed(failure("identity_too_large", f"{len(e.value)} octets"))
    return passed(f"{len(e.value)} octets")


def _field(e: Evidence) -> Seen:
    if isinstance(e.identity, StirError):
        return unreached() if e.identity.token == "identity_too_large" else failed(e.identity)
    info, alg, ppt = e.identity.parameters
    form = "compact" if e.identity.compact else "full"
    return passed(f"PASSporT in {form} form; info {info}, alg {alg or 'absent'}, ppt {ppt or 'absent'}")


def _strict(e: Evidence) -> Seen | None:
    if not e.rules.strict_parameters:
        return None
    if e.parameters is None:
        return unreached()
    error = attempt(lambda: check_strict(e.value))
    return failed(error) if error else passed("info, alg and ppt, and nothing else")


def _jose_size(e: Evidence) -> Seen:
    if e.parts is None:
        return unreached("no PASSporT in front")
    if len(e.parts[0]) > MAX_JOSE_TEXT:
        return failed(failure("passport_malformed", "JOSE header too large"), f"{len(e.parts[0])} characters")
    return passed(f"{len(e.parts[0])} characters")


def _supported(e: Evidence) -> Seen:
    if e.parameters is None:
        return unreached()
    ppt = e.parameters.ppt
    if ppt is None:
        return passed("no ppt parameter: the PASSporT's own counts")
    return passed(ppt) if ppt in SUPPORTED else failed(failure("ppt_unsupported", ppt))


def _form(e: Evidence) -> Seen:
    if e.parts is None:
        return unreached()
    if e.parts[0]:
        return passed("full form")
    typed = e.parameters is not None and e.parameters.ppt
    return failed(failure("compact_form_unsupported" if typed else "ppt_unsupported", "compact form"))


# --- The protected header (RFC 8225 4) ------------------------------------------------------------------------------


def _jose(e: Evidence) -> Seen:
    if e.jose is None:
        return unreached(_NO_HEADER)
    if isinstance(e.jose, StirError):
        return failed(e.jose)
    return passed(", ".join([f"{name} {value!r}" for name, value in e.jose.items()]))


def _jose_complete(e: Evidence) -> Seen:
    if not _has_jose(e):
        return unreached()
    missing = [name for name in ("typ", "alg", "x5u") if not _has_jose(e, name)]
    if missing:
        return failed(failure("jose_header_incomplete", missing[0]), f"without {', '.join(missing)}")
    return passed("typ, alg and x5u are there")


def _typ(e: Evidence) -> Seen:
    if not _has_jose(e, "typ"):
        return unreached()
    typ = e.jose_member("typ")
    return passed("passport") if typ == "passport" else failed(failure("typ_unsupported", repr(typ)))


def _alg(e: Evidence) -> Seen:
    if not _has_jose(e, "alg"):
        return unreached()
    alg = e.jose_member("alg")
    return passed("ES256") if alg == "ES256" else failed(failure("alg_unsupported", repr(alg)))


def _jose_types(e: Evidence) -> Seen:
    if not _has_jose(e, "x5u"):
        return unreached()
    x5u, ppt = e.jose_member("x5u"), e.jose_member("ppt")
    if type(x5u) is not str:
        return failed(failure("info_mismatch", f"x5u is {x5u!r}"))
    if ppt is not None and type(ppt) is not str:
        return failed(failure("claim_malformed", "ppt"), f"ppt is {ppt!r}")
    return passed("x5u and ppt are text")


def _type(e: Evidence) -> Seen | None:
    if e.parameters is None or e.parameters.ppt is not None:
        return None  # the parameter was looked at
    if not _has_jose(e):
        return unreached()
    ppt = e.jose_member("ppt")
    known = type(ppt) is str and ppt in SUPPORTED
    return passed(ppt) if known else failed(failure("ppt_unsupported", repr(ppt)))


def _alg_parameter(e: Evidence) -> Seen:
    if e.parameters is None or not _has_jose(e, "alg"):
        return unreached()
    if e.parameters.alg is None:
        return passed("absent, which means ES256")
    if e.parameters.alg != e.jose_member("alg"):
        return failed(failure("alg_mismatch", e.parameters.alg), f"{e.parameters.alg}, and alg is {e.jose_member('alg')!r}")
    return passed(f"{e.parameters.alg}, as alg")


def _info(e: Evidence) -> Seen:
    if e.parameters is None or not _has_jose(e, "x5u"):
        return unreached()
    x5u = e.jose_member("x5u")
    if e.parameters.info != x5u:
        return failed(failure("info_mismatch", f"{e.parameters.info} and {x5u}"))
    return passed("the same, character by character")


def _x5u(e: Evidence) -> Seen:
    x5u = e.parameters.info if e.parameters else e.jose_member("x5u")
    if type(x5u) is not str:
        return unreached()
    error = attempt(lambda: check_x5u(x5u, e.rules.x5u))
    ports = ", ".join(map(str, sorted(e.rules.x5u.ports)))
    return failed(error, f"{x5u}: {error.detail}") if error else passed(f"{x5u}: https, a host name, port {ports}, no query")


def _ppt_parameter(e: Evidence) -> Seen | None:
    if e.parameters is None or e.parameters.ppt is None:
        return None
    if not _has_jose(e):
        return unreached()
    ppt = e.jose_member("ppt")
    if ppt == e.parameters.ppt:
        return passed(f"{ppt}, as ppt")
    token = "jose_header_incomplete" if ppt is None else "ppt_mismatch"
    return failed(failure(token, repr(ppt)), f"{e.parameters.ppt}, and ppt is {'absent' if ppt is None else repr(ppt)}")


def _has_jose(e: Evidence, *members: str) -> bool:
    return e.jose is not None and not isinstance(e.jose, StirError) and all(name in e.jose for name in members)


# --- The payload (RFC 8225 5) ---------------------------------------------------------------------------------------


def _payload(e: Evidence) -> Seen:
    if e.members is None:
        return unreached("no payload to look at")
    if isinstance(e.members, StirError):
        return failed(e.members)
    return passed(", ".join(e.members))


def _signature_text(e: Evidence) -> Seen:
    if e.signature is None:
        return unreached()
    return failed(e.signature) if isinstance(e.signature, StirError) else passed(f"{len(e.signature)} octets")


def _shaken_signature_text(e: Evidence) -> Seen | None:
    return _signature_text(e) if e.ppt == SHAKEN else None


def _other_signature_text(e: Evidence) -> Seen | None:
    return _signature_text(e) if e.ppt != SHAKEN else None


def _claims(e: Evidence) -> Seen:
    if e.claims is None:
        return unreached()
    if isinstance(e.claims, StirError):
        members = e.members if isinstance(e.members, dict) else {}
        shown = ", ".join([f"{name} {members[name]!r}" for name in _CLAIMS if name in members])
        return failed(e.claims, f"{e.claims.detail or e.claims.token}: {shown}")
    claims = e.claims
    words = [f"orig {claims.orig.value}", f"dest {names(claims.dest)}"]
    words += [f"attest {claims.attest.value}, origid {claims.origid}"] if isinstance(claims, ShakenClaims) else []
    words += [f"div {claims.div.value}"] if isinstance(claims, DivClaims) else []
    words += [f"rph {', '.join(claims.auth)}"] if isinstance(claims, RphClaims) else []
    return passed(", ".join(words))


# --- When (RFC 8224 6.2 step 4, 12.1) -------------------------------------------------------------------------------


def _iat(e: Evidence) -> Seen:
    iat = e.claim("iat", read_iat)
    if iat is None:
        return unreached("no iat that can be read")
    age = e.now - iat
    words = f"iat {moment(iat)}, {distance(-age, 'the clock')}"
    if age > e.rules.max_iat_age:
        return failed(failure("iat_stale", f"{age:.0f} s old"), f"{words}; {e.rules.max_iat_age} s are allowed (max_iat_age)")
    if age < -e.rules.max_iat_future:
        error = failure("iat_in_future", f"{-age:.0f} s ahead")
        return failed(error, f"{words}; {e.rules.max_iat_future} s are allowed (max_iat_future)")
    return passed(words)


def _date(e: Evidence) -> Seen:
    words = _date_words(e)
    if e.rules.ignore_sip_date_header:
        return skipped(f"{words}; ignore_sip_date_header is true: a fresh iat stands for it")
    if e.request.date is None:
        return failed(failure("date_missing"), words)
    text = e.request.date
    date = attempt(lambda: check_date(text, e.rules.max_date_header_age, e.now))
    return failed(date, words) if isinstance(date, StirError) else passed(words)


def _date_words(e: Evidence) -> str:
    if e.request.date is None:
        return "no Date"
    text = e.request.date
    date = attempt(lambda: sip.parse_date(text))
    if isinstance(date, StirError):
        return f"Date {text!r} is no SIP-date"
    iat = e.claim("iat", read_iat)
    beside = "" if iat is None else f", {distance(date - iat, 'iat')}"
    return f"Date {moment(date)}, {distance(date - e.now, 'the clock')}{beside}"


# --- Who calls whom (RFC 8224 6.2 step 5, RFC 8946 4.2) -------------------------------------------------------------


def _orig(e: Evidence) -> Seen:
    signed = e.claim("orig", read_orig)
    if "from" in e.assumed:
        return skipped(f"signed {signed.value if signed else '-'}; no --from to compare it with")
    if signed is None:
        return unreached("no orig that can be read")
    shown = e.caller.value if e.caller else "none"
    source = "P-Asserted-Identity" if e.rules.orig_source == "pai" and e.request.asserted else "From"
    words = f"signed {signed.value}, {source} has {shown}"
    if e.caller is None or (signed != e.caller and e.caller not in readings(signed, e.rules.plan)):
        return failed(failure("orig_mismatch", words), words)
    return passed(words)


def _diverting(e: Evidence) -> Seen | None:
    if e.ppt != DIV:
        return None
    if not isinstance(e.claims, DivClaims):
        return unreached()
    if not readings(e.claims.div, e.rules.plan):
        return failed(failure("div_mismatch", f"{e.claims.div.value} names nobody"))
    return passed(f"diverted by {e.claims.div.value}")


def _subject(e: Evidence) -> Seen:
    if e.subject is None:
        return unreached()
    if e.subject.kind != "tn":
        return failed(failure("uri_not_authorized", e.subject.value))
    return passed(f"{e.subject.value} is a telephone number")


def _rph(e: Evidence) -> Seen | None:
    if not isinstance(e.claims, RphClaims):
        return None
    claims = e.claims
    present = ", ".join(e.request.resource_priority) or "none"
    error = attempt(lambda: check_rph(claims, e.request.resource_priority, e.request.priority))
    if error is None and not e.rules.rph_signers:
        error = failure("rph_not_authorized", "nobody is")
    words = f"signed {', '.join(claims.auth)}; Resource-Priority is {present}"
    return failed(error, f"{words}: {error.detail}") if error else passed(words)


def _dest(e: Evidence) -> Seen:
    error = e.examined.error
    if e.ppt == DIV:
        return _link(e, error)
    signed = e.claim("dest", read_dest)
    if "to" in e.assumed and e.ppt != DIV and not e.has_div:
        return skipped(f"signed {names(signed) if signed else '-'}; no --to to compare it with")
    if signed is None:
        return unreached("no dest that can be read")
    source = "To" if e.rules.dest_source == "to" else "Request-URI"
    words = f"signed {names(signed)}, {source} has {e.called.value if e.called else 'none'}"
    if e.called is not None and (e.called in signed or is_signed(e.called, signed, e.rules.plan)):
        return passed(words)
    if error is None:
        return passed(f"{words}; div PASSporTs lead there")
    if error.token in ("dest_mismatch", "div_mismatch"):
        return failed(error, f"{words}; no div PASSporT leads there" if e.has_div else words)
    if e.has_div:
        return unreached(f"{words}; whether diversions lead there is not known")
    return failed(failure("dest_mismatch", words))


def _link(e: Evidence, error: StirError | None) -> Seen:
    """RFC 8946 4.2: a diversion leads from somebody who was called to the one that is called now."""
    if not isinstance(e.claims, DivClaims) or not readings(e.claims.div, e.rules.plan):
        return unreached()
    words = f"from {e.claims.div.value} to {names(e.claims.dest)}"
    if error is None:
        return passed(words)
    return failed(error, f"{words}: {error.detail}") if error.token == "div_mismatch" else unreached(words)


HEADER_CHECKS: Final[tuple[Check[Evidence], ...]] = (
    Check("size", "decision 4", _size),
    Check("field", "RFC 8224 4", _field),
    Check("strict parameters", "RFC 8224 4.1", _strict),
    Check("JOSE size", "decision 4", _jose_size),
    Check("type known", "RFC 8224 6.2 step 1", _supported),
    Check("form", "RFC 8588 7, RFC 8946 4.1", _form),
    Check("JOSE header", "RFC 8225 4", _jose),
    Check("JOSE members", "RFC 8225 4, RFC 8588 3", _jose_complete),
    Check("typ", "RFC 8225 4.1", _typ),
    Check("alg", "RFC 8225 4.2", _alg),
    Check("x5u and ppt", "RFC 8225 4.3, 8.1", _jose_types),
    Check("type known", "RFC 8224 6.2 step 1", _type),
    Check("alg parameter", "RFC 8224 4.1", _alg_parameter),
    Check("info is x5u", "RFC 8224 4.1", _info),
    Check("x5u allowed", "ATIS-1000074 5.3.1", _x5u),
    Check("ppt parameter", "RFC 8224 4.1", _ppt_parameter),
    Check("signature text", "RFC 7518 3.4", _shaken_signature_text),
    Check("payload", "RFC 8225 3, 9", _payload),
    Check("claims", "RFC 8225 5, RFC 8588 3-5", _claims),
    Check("signature text", "RFC 7518 3.4", _other_signature_text),
    Check("iat", "RFC 8224 6.2 step 4, 12.1", _iat),
    Check("Date", "RFC 8224 6.2 step 4", _date),
    Check("orig", "RFC 8224 6.2 step 5", _orig),
    Check("div", "RFC 8946 4.2", _diverting),
    Check("telephone number", "RFC 8226 9", _subject),
    Check("Resource-Priority", "RFC 8443 4.2", _rph),
    Check("dest", "RFC 8224 6.2 step 5, RFC 8946 4.2", _dest),
)
