"""Resource priority (RFC 8443, RFC 9027): the claims of an rph PASSporT, and what they say of the SIP request.

Who may sign is `sti_vs`' business (`rph_signers`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.passport.claims import base_members, read_dest, read_iat, read_orig, require
from kamailio_app.passport.parties import canonical_set
from kamailio_app.sip import Party
from kamailio_app.tn import AS_WRITTEN

_MANDATORY: Final = ("dest", "iat", "orig", "rph")
_PSAP_CALLBACK: Final = "psap-callback"
_ESNET: Final = "esnet."
_EMERGENCY_NUMBERS: Final = frozenset({"911", "112"})
_SOS: Final = "urn:service:sos"
# RFC 4412 3.1: namespace "." r-priority, both token-nodot
_VALUE: Final = re.compile(r"[A-Za-z0-9\-!%*_+`'~]++\.[A-Za-z0-9\-!%*_+`'~]++", re.ASCII)


class RphClaims(NamedTuple):
    """RFC 8443 3: `auth` is Resource-Priority as it was signed, in lower case. RFC 9027 4: `sph` is Priority."""

    dest: tuple[Party, ...]
    iat: int
    orig: Party
    auth: tuple[str, ...]
    sph: str | None = None

    def members(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        members = {**base_members(self.dest, self.iat, self.orig), "rph": {"auth": list(self.auth)}}
        return members if self.sph is None else {**members, "sph": self.sph}


def priority_claims(
    dest: tuple[Party, ...], iat: int, orig: Party, resource_priority: Iterable[str], priority: str | None
) -> RphClaims | None:
    """What is signed of a request's priority; None if it claims none. Errors: `claim_malformed`, `rph_mismatch`."""
    values = tuple(dict.fromkeys(resource_priorities(resource_priority)))
    if not values:
        return None
    callback = (priority or "").strip(" \t").lower() == _PSAP_CALLBACK and any(value.startswith(_ESNET) for value in values)
    claims = RphClaims(dest, iat, orig, values, _PSAP_CALLBACK if callback else None)
    # What no verifier would accept is not signed
    rph_claims(claims.members())
    check_rph(claims, values, priority)
    return claims


def rph_claims(members: Mapping[str, Any]) -> RphClaims:
    """Read the claims. Errors: `claim_missing`, `claim_malformed`."""
    require(members, _MANDATORY)
    rph = members["rph"]
    if type(rph) is not dict:
        raise failure("claim_malformed", "rph")
    require(rph, ("auth",))
    auth = rph["auth"]
    if type(auth) is not list or not auth or not all(type(value) is str and _VALUE.fullmatch(value) for value in auth):
        raise failure("claim_malformed", "auth")
    # RFC 4412 3.1: the values are case-insensitive
    values = tuple([value.lower() for value in auth])
    sph = members.get("sph")
    # RFC 9027 4: psap-callback is the only value, and only beside esnet
    if "sph" in members and (sph != _PSAP_CALLBACK or not any(value.startswith(_ESNET) for value in values)):
        raise failure("claim_malformed", "sph")
    return RphClaims(read_dest(members["dest"]), read_iat(members["iat"]), read_orig(members["orig"]), values, sph)


def resource_priorities(fields: Iterable[str]) -> list[str]:
    """The values of Resource-Priority header fields (RFC 4412 3.1), in lower case."""
    return [value.strip(" \t").lower() for field in fields for value in field.split(",") if value.strip(" \t")]


def check_rph(claims: RphClaims, resource_priority: Iterable[str], priority: str | None) -> None:
    """RFC 8443 4.2, RFC 9027 3 and 4: what was signed is what the request says. Errors: `rph_mismatch`."""
    # Not checked: whether a signer may sign for this namespace (RFC 8443 4.2). A TNAuthList does not say;
    # JWTClaimConstraints of its certificate can, and those are checked
    missing = set(claims.auth) - set(resource_priorities(resource_priority))
    if missing:
        raise failure("rph_mismatch", f"signed, but not in Resource-Priority: {', '.join(sorted(missing))}")
    if claims.sph is not None:
        if (priority or "").strip(" \t").lower() != claims.sph:
            raise failure("rph_mismatch", "Priority is not psap-callback")
    # RFC 9027 3: without sph it is a call to an emergency service
    elif any(value.startswith(_ESNET) for value in claims.auth) and not _all_emergency(claims.dest):
        raise failure("rph_mismatch", "esnet, and dest is no emergency service")


def _all_emergency(dest: tuple[Party, ...]) -> bool:
    named = canonical_set(dest, AS_WRITTEN)
    return bool(named) and all(
        party.value in _EMERGENCY_NUMBERS if party.kind == "tn" else f"{party.value}.".startswith(f"{_SOS}.") for party in named
    )
