"""Who was signed, compared in canonical form (RFC 8224 8): what SIP shows is canonical, what a PASSporT holds may not be."""

from __future__ import annotations

from kamailio_app.sip import Party, party
from kamailio_app.tn import NumberPlan, canonical_tn


def readings(signed: Party, plan: NumberPlan) -> list[Party]:
    """Whom a signed identity names, in canonical form; none if it names nobody.

    Bare digits are what every honest signer sends, and are taken as they are. But a signer that does not put numbers into
    canonical form may mean them as they are dialled here, so that is the second reading.
    """
    if signed.kind == "uri":
        found = party(signed.value, plan)
        return [found] if found else []
    tn = canonical_tn(signed.value, plan)
    dialled = [Party("tn", tn)] if tn else []
    if signed.value.isascii() and signed.value.isdigit() and signed not in dialled:
        return [signed, *dialled]
    return dialled


def canonical_set(signed: tuple[Party, ...], plan: NumberPlan) -> frozenset[Party]:
    """All who are named."""
    return frozenset(found for one in signed for found in readings(one, plan))


def is_signed(shown: Party | None, signed: tuple[Party, ...], plan: NumberPlan) -> bool:
    """RFC 8224 6.2 step 5: is the identity that SIP shows among the signed ones, in canonical form on both sides?"""
    return shown is not None and (shown in signed or any(shown in readings(one, plan) for one in signed))
