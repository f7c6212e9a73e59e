"""Who was signed, compared in canonical form (RFC 8224 8): what SIP shows is canonical, what a PASSporT holds may not be."""

from __future__ import annotations

from kamailio_app.sip import Party, party
from kamailio_app.tn import NumberPlan, canonical_tn


def canonical(signed: Party, plan: NumberPlan) -> Party | None:
    """A signed identity in canonical form; None if it names nobody."""
    if signed.kind == "uri":
        return party(signed.value, plan)
    if signed.value.isascii() and signed.value.isdigit():
        return signed  # as every honest signer sends it
    tn = canonical_tn(signed.value, plan)
    return Party("tn", tn) if tn else None


def canonical_set(signed: tuple[Party, ...], plan: NumberPlan) -> frozenset[Party]:
    """All that name somebody."""
    return frozenset(found for one in signed if (found := canonical(one, plan)) is not None)


def is_signed(shown: Party | None, signed: tuple[Party, ...], plan: NumberPlan) -> bool:
    """RFC 8224 6.2 step 5: is the identity that SIP shows among the signed ones, in canonical form on both sides?"""
    return shown is not None and (shown in signed or any(canonical(one, plan) == shown for one in signed))
