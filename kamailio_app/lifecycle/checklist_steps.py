"""The checklists by country."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.grammar import printable
from kamailio_app.lifecycle import checklist_ca, checklist_fr, checklist_us
from kamailio_app.lifecycle.checklist import Step

COUNTRIES: Final[Mapping[str, tuple[Step, ...]]] = MappingProxyType(
    {"US": checklist_us.STEPS, "CA": checklist_ca.STEPS, "FR": checklist_fr.STEPS}
)


def steps_of(country: str) -> tuple[Step, ...]:
    """ISO 3166, two letters. Errors: `checklist_country_unknown`."""
    if country not in COUNTRIES:
        raise failure("checklist_country_unknown", f"{printable(country, 20)}; there are {', '.join(COUNTRIES)}")
    return COUNTRIES[country]
