"""The few SIP values that STIR needs: the request snapshot, SIP-date, who calls whom, verstat in a URI.

Implements the parts of RFC 3261 20.10/20.17/25.1, RFC 3966 3, RFC 3325 9.1, RFC 8224 8 and TS 24.229 (verstat) that
name identities. Parsing SIP itself is the SIP server's work; this takes header field values and URIs from it.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable
from datetime import date
from email.utils import formatdate
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

from kamailio_app.errors import failure
from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn


class Request(NamedTuple):
    """What STIR reads of a SIP request, as text. URIs without angle brackets, header field values without names."""

    method: str
    request_uri: str
    from_uri: str
    to_uri: str
    asserted: tuple[str, ...] = ()  # P-Asserted-Identity header field values
    identity: tuple[str, ...] = ()  # Identity header field values
    date: str | None = None
    in_dialog: bool = False  # To has a tag
    resource_priority: tuple[str, ...] = ()  # Resource-Priority header field values
    priority: str | None = None  # Priority header field value
    diversion: tuple[str, ...] = ()  # Diversion header field values, in their order
    history_info: tuple[str, ...] = ()  # History-Info header field values, in their order


class Party(NamedTuple):
    """A telephone number or URI identity in canonical form (RFC 8225 5.2.1)."""

    kind: Literal["tn", "uri"]
    value: str


# --- Who calls whom ---------------------------------------------------------------------------------------------

_URI_IN_NAME_ADDR: Final = re.compile(r'\s*+(?:(?:[^"<,]*+|"(?:[^"\\]|\\.)*+"\s*+)<([^<>]*+)>|([^\s<>",;]++))')
_PHONE_CONTEXT: Final = re.compile(r"(?:^|;)phone-context=(\+[0-9\-.()]+)", re.ASCII | re.IGNORECASE)
_DOMAIN_CONTEXT: Final = re.compile(r"(?:^|;)phone-context=", re.ASCII | re.IGNORECASE)
_SHORTEST_GLOBAL: Final = 7
_DIALABLE: Final = re.compile(r"\+?[0-9#*\-.()]+", re.ASCII)
# RFC 3261 25.1: user (before its parameters), host and port; RFC 3986 2.3: what needs no escape
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,?/]|%[0-9A-Fa-f]{2})*+", re.ASCII)
_HOST_PORT: Final = re.compile(r"([A-Za-z0-9\-_.]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?+(?=[;?]|\Z)", re.ASCII)
_NEEDLESS_ESCAPE: Final = re.compile(r"%(2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE | re.ASCII)
_PRIVACY_SEPARATOR: Final = re.compile("[;,]")  # RFC 3323 4.2 has semicolons; fields that are joined have commas
_USER_PHONE: Final = re.compile(r";user=phone(?=[;?]|$)", re.IGNORECASE)


def uris(value: str) -> list[str]:
    """The URIs in a header field value of name-addr and addr-spec, several parted by commas (RFC 3325 9.1)."""
    found: list[str] = []
    position = 0
    while match := _URI_IN_NAME_ADDR.match(value, position):
        found.append(match[1] if match[1] is not None else match[2])
        comma = value.find(",", match.end())
        if comma < 0:
            break
        position = comma + 1
    return found


# What nearly all calls carry: one global number, bare or in angle brackets. It says what the general rules say, sooner
_GLOBAL_NUMBER: Final = re.compile(
    r'((?:[^"<,:@]*+|\s*+"[^"\\]*+"\s*+)<)?+'
    r'(?:sips?:\+([0-9]{1,15})(?:;[^@?<>,"]*+)?@[^@,<>"\s]++|tel:\+([0-9]{1,15})(?:;[^,<>"\s]*+)?)(?(1)>\s*+)',
    re.ASCII,
)


def party(uri: str, plan: NumberPlan = AS_WRITTEN) -> Party | None:
    """The identity that a URI names: a number where RFC 8224 8.1 sees one, else the URI itself (8.5)."""
    if known := _GLOBAL_NUMBER.fullmatch(uri):
        return Party("tn", known[2] or known[3])
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest:
        return None
    scheme = scheme.lower()
    if scheme == "tel":
        return _number(rest, plan)
    if scheme in ("sip", "sips"):
        user, at, host = rest.rpartition("@")
        # RFC 8224 8.1: user=phone says so; local policy also takes whatever can be dialled
        if at and (number := _number(unquote(user.partition(":")[0]), plan, dialable=not _USER_PHONE.search(host))):
            return number
        return _uri_identity(scheme, user, host)
    # RFC 9027: urn:service:sos is compared as it is
    return Party("uri", f"{scheme}:{rest}".lower()) if scheme == "urn" else None


def _number(subscriber: str, plan: NumberPlan, *, dialable: bool = False) -> Party | None:
    """RFC 3966 3: the part before the first parameter; a global phone-context completes a local number.

    RFC 3966 5.1.5: one that is a domain does not, and the number is nobody's outside of it. Short codes stay what they are:
    an IMS network says 911 in its own domain.
    """
    digits, _, parameters = subscriber.partition(";")
    if dialable and not _DIALABLE.fullmatch(digits):
        return None
    if parameters and digits[:1] != "+":
        if context := _PHONE_CONTEXT.search(parameters):
            digits = context[1] + digits
        elif len(digits) >= _SHORTEST_GLOBAL and _DOMAIN_CONTEXT.search(parameters):
            return None
    tn = canonical_tn(digits, plan)
    return Party("tn", tn) if tn else None


def _uri_identity(scheme: str, user: str, host: str) -> Party | None:
    """RFC 8224 8.5: no parameters, headers, password or port; case folded, needless escapes undone."""
    name = user.partition(":")[0].partition(";")[0]
    hostname = _HOST_PORT.match(host)
    if hostname is None or not _USER.fullmatch(name):
        return None
    name = _NEEDLESS_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name).lower()
    domain = hostname[1].lower()
    return Party("uri", f"{scheme}:{name}@{domain}" if name else f"{scheme}:{domain}")


def caller(request: Request, source: str, plan: NumberPlan = AS_WRITTEN) -> Party | None:
    """The calling identity. `source` "pai": P-Asserted-Identity if there is one, else From; "from": From only.

    Of several asserted identities a number goes before a URI, and a tel URI before a sip URI (RFC 3325 9.1). If none can be
    read nobody is the caller (decision 62): who asserts something else than From does not vouch for From.
    """
    if source == "pai" and request.asserted:
        if len(request.asserted) == 1 and (known := _GLOBAL_NUMBER.fullmatch(request.asserted[0])):
            return Party("tn", known[2] or known[3])
        asserted = [uri for value in request.asserted for uri in uris(value)]
        asserted.sort(key=lambda uri: uri[:4].lower() != "tel:")
        parties = [found for uri in asserted if (found := party(uri, plan))]
        for found in parties:
            if found.kind == "tn":
                return found
        return parties[0] if parties else None
    return party(request.from_uri, plan)


def called(request: Request, source: str, plan: NumberPlan = AS_WRITTEN) -> Party | None:
    """The called identity. `source` "to": the To header (RFC 8224 4.1); "request_uri": the Request-URI."""
    return party(request.to_uri if source == "to" else request.request_uri, plan)


def wants_privacy(fields: Iterable[str]) -> bool:
    """Does a Privacy header field (RFC 3323 4.2) ask for anything but "none"? What cannot be read asks."""
    return any(value.strip().lower() != "none" for field in fields for value in _PRIVACY_SEPARATOR.split(field))


# --- Date -------------------------------------------------------------------------------------------------------

_SIP_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4})"
    r" ([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60) GMT",
    re.ASCII,
)
_MONTHS: Final = {
    name: month
    for month, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1)
}


def parse_date(text: str) -> int:
    """Seconds since 1970 of a SIP-date (RFC 3261 20.17: RFC 1123 form, GMT). Errors: `date_malformed`."""
    match = _SIP_DATE.fullmatch(text.strip())
    if match is None:
        raise failure("date_malformed", text)
    day, month, year, hour, minute, second = match.groups()
    try:
        midnight = date(int(year), _MONTHS[month], int(day))
    except ValueError as error:  # 31 Feb, year 0
        raise failure("date_malformed", text) from error
    return timegm(midnight.timetuple()) + int(hour) * 3600 + int(minute) * 60 + int(second)


def format_date(now: float) -> str:
    """The SIP-date of a moment in seconds since 1970."""
    return _format_second(int(now))


@lru_cache(maxsize=4)
def _format_second(second: int) -> str:
    return formatdate(second, usegmt=True)


# --- verstat (TS 24.229 7.2A.20) --------------------------------------------------------------------------------

# Repeated, so that what is left never closes up to another verstat
_VERSTAT: Final = re.compile(r";(?:\s*verstat(?:\s*=\s*[^;<>@?,\s\"]*)?(?=[\s;:<>@?,\"]|$))+", re.IGNORECASE)
# No part may hold a colon, so that a text of many "sip:" is still read in linear time
_NUMBER_IN_URI: Final = re.compile(
    r"(sips?:(?:[+0-9]|%2B)[^@<>;:,\s\"]*+)((?:[;:][^@<>:,\s\"]*+)?@)|(tel:[^;<>,\s?\"]++)((?:;[^<>,\s?\"]*+)?+)", re.IGNORECASE
)


def without_verstat(value: str) -> str:
    """A URI or header field value without any verstat parameter: only our own verification may say it."""
    # The usual case first: nothing to remove
    return _VERSTAT.sub("", value) if "verstat" in value.lower() else value


def with_verstat(value: str, verstat: str, of: Party, plan: NumberPlan = AS_WRITTEN) -> str:
    """A URI or header field value with verstat behind the number `of`, before any "@", wherever it stands."""
    value = without_verstat(value)
    if known := _GLOBAL_NUMBER.fullmatch(value):
        if (known[2] or known[3]) != of.value:
            return value
        end = known.end(known.lastindex or 0)
        return f"{value[:end]};verstat={verstat}{value[end:]}"

    def marked(match: re.Match[str]) -> str:
        if party(f"{match[0]}host" if match[2] else match[0], plan) != of:
            return match[0]
        return f"{match[1] or match[3]};verstat={verstat}{match[2] or match[4] or ''}"

    return _NUMBER_IN_URI.sub(marked, value)
