"""Telephone numbers: the canonical form of RFC 8224 8.3 and the local knowledge it asks for.

Leaves finding the number inside a SIP header field to `sip`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

TelephoneNumber = NewType("TelephoneNumber", str)
"""1 to 15 of 0-9, # and * (RFC 8224 8.3, RFC 8226 9): no plus sign, country code first."""

_DIGITS: Final = re.compile(r"\+?([0-9]++)", re.ASCII)
_CANONICAL: Final = re.compile(r"[0-9#*]{1,15}", re.ASCII)
_LONGEST: Final = 15
# RFC 3966 3: visual separators; a space is none of them, but people write it
_SEPARATORS: Final = str.maketrans("", "", "-.() ")


@dataclass(frozen=True, slots=True)
class NumberPlan:
    """How numbers are dialled here. All empty: numbers are taken as they are written.

    North America is `NumberPlan("1", "1", "011", 10)`: ten digits are national, eleven begin with 1.
    """

    country_code: str = ""
    national_prefix: str = ""
    international_prefix: str = ""
    national_number_length: int = 0


AS_WRITTEN: Final = NumberPlan()


def canonical_tn(text: str, plan: NumberPlan = AS_WRITTEN) -> TelephoneNumber | None:
    """The canonical number in `text`, or None if it holds none (RFC 8224 8.3).

    Letters are refused, not dropped: dropping them would name another number.
    """
    digits = _DIGITS.fullmatch(text)
    if digits is None:
        # +44(0)... would canonicalise to a number that does not exist
        if text.startswith("+") and "(0)" in text:
            return None
        bare = text.translate(_SEPARATORS)
        digits = _DIGITS.fullmatch(bare)
        if digits is None:
            return TelephoneNumber(bare) if _CANONICAL.fullmatch(bare) else None
    number = digits[1] if digits[0][0] == "+" else _with_country_code(digits[1], plan)
    return TelephoneNumber(number) if 0 < len(number) <= _LONGEST else None


def _with_country_code(digits: str, plan: NumberPlan) -> str:
    """RFC 8224 8.3: a national number gets its country code; short codes and service codes stay as they are."""
    if not plan.country_code:
        return digits
    if plan.international_prefix and digits.startswith(plan.international_prefix):
        return digits[len(plan.international_prefix) :]
    if len(digits) == plan.national_number_length:
        return plan.country_code + digits
    significant = digits.removeprefix(plan.national_prefix)
    if len(significant) == plan.national_number_length:
        return plan.country_code + significant
    return digits
