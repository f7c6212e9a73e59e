"""Every word of the signing policy's file: what a rule asks, what comes of it, what customers and trunks say. Tables.

What the words become is `policy_file`'s business. `cfg/signing-policy.toml` explains them.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Network, ip_network
from typing import Any, Final
from uuid import UUID

from kamailio_app.policy.countries import COUNTRIES
from kamailio_app.policy.masks import NO_ATTESTATION, NO_NUMBER
from kamailio_app.runtime.option import Items, Option
from kamailio_app.runtime.options import SECTIONS

# A rule may ask for `identity` and say what becomes of it: two words for what both are called in a decision
EXISTING: Final = "existing_identity"
NAME: Final = r"[A-Za-z0-9_.-]{1,64}"
_NAME_OR_BEGINNING: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}|[A-Za-z0-9_.-]{0,64}\*", re.ASCII)
_HOST_OR_BEGINNING: Final = re.compile(r"[!-)+-~]{1,253}|[!-)+-~]{0,252}\*", re.ASCII)
# A star at the end is never a digit: "*21*" begins with *21
_NUMBER_OR_BEGINNING: Final = re.compile(r"[0-9*#]{0,14}[0-9#]|[0-9*#]{0,15}\*", re.ASCII)
_RANGE: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,15})", re.ASCII)
_ANSWER: Final = re.compile(r"([4-6][0-9][0-9])(?: ([ !#-\[\]-~]{1,64}))?", re.ASCII)
_TRANSPORTS: Final = ("udp", "tcp", "tls", "sctp", "ws", "wss")
# RFC 3261 21, RFC 8197, RFC 8688
PHRASES: Final = {
    403: "Forbidden",
    404: "Not Found",
    480: "Temporarily Unavailable",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return type(value) is str and pattern.fullmatch(value) is not None


def _is_network(value: Any) -> bool:
    try:
        network = ip_network(value) if type(value) is str and "%" not in value else None
    except ValueError:
        return False
    # An IPv4 address is one, however a call's is written
    return network is not None and not (isinstance(network, IPv6Network) and network.network_address.ipv4_mapped)


def _is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def _is_number(value: Any) -> bool:
    if value == NO_NUMBER or _matches(_NUMBER_OR_BEGINNING, value):
        return True
    found = _RANGE.fullmatch(value) if type(value) is str else None
    return found is not None and len(found[1]) == len(found[2]) and found[1] <= found[2]


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _one_of(*words: str) -> Items:
    return Items(", ".join(words), lambda value: type(value) is str and value in words)


def uuid(text: str) -> str:
    """A UUID as PASSporTs carry it; empty if this is none."""
    try:
        known = str(UUID(text))
    except ValueError:
        return ""
    return known if known == text.lower() else ""


def answer(value: Any) -> tuple[int, str] | None:
    """Code and phrase of a SIP answer: 403, "403" or "603 Decline". A code that is not known needs its phrase."""
    found = _ANSWER.fullmatch(str(value)) if type(value) in (int, str) else None
    if found is None:
        return None
    phrase = found[2] or PHRASES.get(int(found[1]))
    return (int(found[1]), phrase.strip()) if phrase and phrase.strip() else None


_NAMES: Final = Items(
    'names of 1 to 64 letters, digits, _ . and -, or their beginning, like "carrier-*"',
    lambda value: _matches(_NAME_OR_BEGINNING, value),
)
_CALLERS: Final = Items(
    'numbers like "12155551212", beginnings like "1215*", ranges of one length like "12155550000-12155559999", or '
    f'"{NO_NUMBER}": digits only, country code first',
    _is_number,
)
_FLAG: Final = Items("true or false", _is_flag)
_NETWORKS: Final = Items(
    'addresses and networks, like "192.0.2.1" or "2001:db8::/32", no bit set behind the prefix', _is_network
)
_PEERS: Final = Items('names of hosts, or their beginning, like "sbc*"', lambda value: _matches(_HOST_OR_BEGINNING, value))
_TRANSPORT: Final = _one_of(*_TRANSPORTS)

CONDITIONS: Final[dict[str, Items]] = {
    "trunk": _NAMES,
    "customer": _NAMES,
    "source": _NETWORKS,
    "port": Items("ports", _is_port),
    "transport": _TRANSPORT,
    "tls_peer": _PEERS,
    "caller": _CALLERS,
    "called": _CALLERS,
    "caller_in": _one_of("own", "other", "none"),
    "do_not_originate": _FLAG,
    "emergency": _FLAG,
    "identity": _FLAG,
    "asked": _one_of("A", "B", "C", NO_ATTESTATION),
}


def _option(name: str, default: Any, choices: tuple[str, ...] = (), pattern: str = "", items: Items | None = None) -> Option:
    """What it means stands in the sample file."""
    return Option(name, default, "", "ours", "", choices=choices, pattern=pattern, items=items)


_CERTIFICATE: Final = _option("certificate", "", pattern=r"[A-Za-z0-9._-]{0,128}")
_SPC: Final = _option("spc", "", pattern="[0-9A-Z]{0,16}")
_ON_IDENTITY: Final = ("pass", "replace", "div")

# What a rule, a trunk and [defaults] may say of a call that is signed; reject and unsigned also take codes
SIGNING: Final[dict[str, Option]] = {
    option.name: option
    for option in (
        _option("attest", "asked", ("A", "B", "C", "asked")),
        _CERTIFICATE,
        _SPC,
        _option("origid", "call"),
        _option(EXISTING, "pass", _ON_IDENTITY),
        *(_option(name, False) for name in ("drop_malformed", "div", "rcd", "rph", "mky", "uri", "base", "p_headers")),
        _option("unsigned", "pass"),
    )
}
CUSTOMER: Final[dict[str, Option]] = {
    option.name: option
    for option in (
        _CERTIFICATE,
        _SPC,
        _option("origid", ""),
        _option("display_name", "", pattern=r".{0,128}"),
        _option("call_reason", "", pattern=r".{0,128}"),
        _option("logo", "", pattern=r"|https://[!-~]{1,1024}"),
        _option("logo_digest", "", pattern=r"|sha(?:256|384|512)-[A-Za-z0-9+/]{43,86}={0,2}"),
    )
}
NUMBERS: Final = {option.name: option for option in SECTIONS["numbers"][1]}
# What a trunk says of its calls, where no rule says it; its origid is another matter
TRUNK_SIGNING: Final = {name: option for name, option in SIGNING.items() if name != "origid"}
TRUNK: Final[dict[str, Option]] = TRUNK_SIGNING | {
    option.name: option
    for option in (
        _option("customer", "", pattern=f"|{NAME}"),
        _option("country", "", ("", *COUNTRIES)),
        _option("origid", ""),
        _option("bypass", ""),
        *NUMBERS.values(),
    )
}
TRUNK_LISTS: Final[dict[str, Items]] = {"source": _NETWORKS, "transport": _TRANSPORT, "tls_peer": _PEERS}
