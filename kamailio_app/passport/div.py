"""Diversion (RFC 8946): the claims of a div PASSporT, and the chain from the number that was signed to the one that is called.

Nothing is verified here. The order of the Identity headers in the message says nothing (RFC 8946 4.2): what links two PASSporTs
is that the one's div is among the other's dest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.passport.claims import base_members, read_dest, read_iat, read_identity, read_orig, require
from kamailio_app.passport.parties import readings
from kamailio_app.sip import Party
from kamailio_app.tn import NumberPlan

_MANDATORY: Final = ("dest", "div", "iat", "orig")


class DivClaims(NamedTuple):
    """RFC 8946 3: `div` is who diverted the call, `dest` where to. As on the wire, not yet canonical."""

    dest: tuple[Party, ...]
    div: Party
    iat: int
    orig: Party

    def members(self) -> dict[str, Any]:
        """The JSON object that is signed: these four and no others (RFC 8946 3)."""
        return {**base_members(self.dest, self.iat, self.orig), "div": {self.div.kind: self.div.value}}


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


class Reach(NamedTuple):
    """Where a call may go by what is signed: whom it names in canonical form -> as it is signed. `ends` diverted nothing."""

    signed: Mapping[Party, Party]
    ends: frozenset[Party]


def reach(dest: Iterable[Party], diversions: Iterable[DivClaims], plan: NumberPlan) -> Reach:
    """What a PASSporT with this dest and the diversions behind it lead to."""
    signed = _as_signed(dest, plan)
    diverted: set[Party] = set()
    waiting = list(diversions)
    while True:
        linked = [(one, who) for one in waiting for who in readings(one.div, plan) if who in signed]
        if not linked:
            return Reach(signed, frozenset(signed.values()) - diverted)
        for one, who in linked:
            diverted.add(signed[who])
            signed = {**_as_signed(one.dest, plan), **signed}
        waiting = [one for one in waiting if one not in {link for link, _ in linked}]


def _as_signed(parties: Iterable[Party], plan: NumberPlan) -> dict[Party, Party]:
    return {who: one for one in parties for who in readings(one, plan)}


def unsigned_links(reached: Reach, way: Sequence[Party]) -> list[tuple[Party, Party]]:
    """Who diverted and where to, as far as it is not signed. `way`: all who diverted the call, the first one first, and
    where it goes now. Where nobody is named, the end of what is signed diverted it.

    Errors: `div_not_needed`, `div_unlinked`.
    """
    target = way[-1]
    if target in reached.signed:
        raise failure("div_not_needed", target.value)
    known = [place for place, who in enumerate(way) if who in reached.signed]
    if known:
        # RFC 8946 3: the identifier as it stands in the former dest
        first = reached.signed[way[known[-1]]]
        return list(pairwise((first, *way[known[-1] + 1 :])))
    if len(way) == 1 and len(reached.ends) == 1:
        return [(next(iter(reached.ends)), target)]
    raise failure("div_unlinked", f"{way[0].value}, signed for {','.join(party.value for party in reached.signed)}")
