"""Diversion (RFC 8946): the claims of a div PASSporT, and the chain from the number that was signed to the one that is called.

Nothing is verified here. The order of the Identity headers in the message says nothing (RFC 8946 4.2): what links two PASSporTs
is that the one's div is among the other's dest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.passport.claims import read_dest, read_iat, read_identity, read_orig, require
from kamailio_app.sip import Party

_MANDATORY: Final = ("dest", "div", "iat", "orig")


class DivClaims(NamedTuple):
    """RFC 8946 3: `div` is who diverted the call, `dest` where to. As on the wire, not yet canonical."""

    dest: tuple[Party, ...]
    div: Party
    iat: int
    orig: Party


class Diversion(NamedTuple):
    """A div PASSporT's part in a chain, in canonical form."""

    div: Party
    dest: frozenset[Party]


def div_claims(members: Mapping[str, Any]) -> DivClaims:
    """Read the claims. Errors: `claim_missing`, `claim_malformed`."""
    require(members, _MANDATORY)
    # RFC 8946 5: only div-o has it
    if "opt" in members:
        raise failure("claim_malformed", "opt in a div PASSporT")
    div = members["div"]
    if type(div) is not dict:
        raise failure("claim_malformed", "div")
    # RFC 8946 3: one identity; other members (hi) may stand beside it
    identity = read_identity(div, "div")
    return DivClaims(read_dest(members["dest"]), identity, read_iat(members["iat"]), read_orig(members["orig"]))


def chain(signed: frozenset[Party], diversions: Mapping[int, Diversion], target: Party) -> tuple[int, ...] | None:
    """The fewest diversions that lead from what was signed to `target`, in the order in which they happened; None if none do.

    Each is used once at most, so that a loop ends.
    """
    unused = dict(diversions)
    reached: list[tuple[frozenset[Party], tuple[int, ...]]] = [(signed, ())]
    for dest, path in reached:
        if target in dest:
            return path
        for number in [number for number, diversion in unused.items() if diversion.div in dest]:
            reached.append((unused.pop(number).dest, (*path, number)))
    return None


def on_the_way(signed: frozenset[Party], diversions: Mapping[int, Diversion], target: Party) -> list[int]:
    """The diversions that may have a part in leading from what was signed to `target`."""
    return [
        number
        for number, diversion in diversions.items()
        if chain(signed, diversions, diversion.div) is not None and chain(diversion.dest, diversions, target) is not None
    ]
