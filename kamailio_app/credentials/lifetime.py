"""How long a fetched credential may be kept (RFC 9111 4.2, ATIS-1000074: at least a day, decision 10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MAX_AGE: Final = re.compile(r"(?:^|[,\s])(?:s-maxage|max-age)\s*=\s*\"?([0-9]{1,10})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LifetimeRules:
    """Bounds in seconds for what a repository's Cache-Control says."""

    minimum: int = 86400
    maximum: int = 604800


def lifetime(cache_control: str, rules: LifetimeRules) -> int:
    """Seconds to keep a credential. No directive, or a shorter one than the minimum, means the minimum.

    The end of the certificate's own validity is the caller's business: `Credential.not_after`.
    """
    ages = [int(age) for age in _MAX_AGE.findall(cache_control)]
    return max(rules.minimum, min(max(ages, default=0), rules.maximum))
