"""Which calls are emergency calls: those never wait for a verification and are never rejected by one (RFC 5031, RFC 9027)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from kamailio_app import sip
from kamailio_app.sip import Request
from kamailio_app.tn import AS_WRITTEN, NumberPlan

_SOS: Final = "urn:service:sos"
_PHONE_CONTEXT: Final = re.compile(r";phone-context=[^;@?>]*", re.IGNORECASE)


def is_emergency(request: Request, numbers: frozenset[str], plan: NumberPlan = AS_WRITTEN) -> bool:
    """Does To or the Request-URI name a number of `numbers` (canonical), urn:service:sos or a service below it?

    Both are asked: the Request-URI of an emergency call may name the PSAP already.
    """
    ordinary = _ordinary(numbers)
    return not (ordinary(request.to_uri) and ordinary(request.request_uri)) and (
        _names_emergency(request.to_uri, numbers, plan) or _names_emergency(request.request_uri, numbers, plan)
    )


def _names_emergency(uri: str, numbers: frozenset[str], plan: NumberPlan) -> bool:
    if _PHONE_CONTEXT.search(uri) and _names_emergency(_PHONE_CONTEXT.sub("", uri), numbers, plan):
        return True  # 911;phone-context=+1 is nobody's number but theirs
    party = sip.party(uri, plan)
    if party is None:
        return False
    if party.kind == "tn":
        return party.value in numbers
    return party.value == _SOS or party.value.startswith(f"{_SOS}.")


@lru_cache(maxsize=4)
def _ordinary(numbers: frozenset[str]) -> Callable[[str], object]:
    """The usual case first: a global number of more digits than any emergency number has."""
    longest = max(map(len, numbers), default=0)
    return re.compile(rf"(?:sips?|tel):\+[0-9]{{{longest + 1}}}", re.ASCII).match
