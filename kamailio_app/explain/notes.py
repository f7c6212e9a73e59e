"""What is not as the standards have it in a PASSporT, and is taken all the same, as other verifiers mostly do.

Other verifiers may be stricter, so whoever signs should know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_CANONICAL: Final = re.compile(r"[0-9*#]+", re.ASCII)
_SHOWN: Final = 60


def notes(claims: Mapping[str, Any]) -> Iterator[str]:
    """Of the payload of one PASSporT."""
    origid = claims.get("origid")
    if type(origid) is str and not _UUID.fullmatch(origid):
        yield f"origid {origid[:_SHOWN]!r} is no UUID (RFC 8588 5); it is taken all the same"
    for name in ("orig", "dest", "div"):
        party = claims.get(name)
        numbers = party.get("tn") if isinstance(party, Mapping) else None
        for number in numbers if isinstance(numbers, list) else [numbers]:
            if type(number) is str and not _CANONICAL.fullmatch(number):
                yield (
                    f"{name} tn {number[:_SHOWN]!r} is not in canonical form, which is digits without + (RFC 8225 5.2.1, "
                    "RFC 8224 8.3); it is taken all the same"
                )
