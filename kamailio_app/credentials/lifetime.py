"""How long a fetched credential may be kept (RFC 9111 4.2, ATIS-1000074: at least a day, decision 10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_MAX_AGE: Final = re.compile(r"(?:^|[,\s])(?:s-maxage|max-age)\s*=\s*\"?([0-9]{1,10})", re.IGNORECASE)
_NOT_KEPT: Final = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?=$|[,\s=])", re.IGNORECASE)
_SECONDS: Final = re.compile(r"\s*([0-9]{1,10})[0-9]*\s*", re.ASCII)
# RFC 9110 5.6.7: the longest form of a date is that of RFC 850
_DATE_LENGTH: Final = 40


@dataclass(frozen=True, slots=True)
class LifetimeRules:
    """Bounds in seconds for what a repository's Cache-Control says."""

    minimum: int = 86400
    maximum: int = 604800


def lifetime(
    cache_control: str, rules: LifetimeRules, *, expires: str = "", age: str = "", date: str = "", now: float | None = None
) -> int:
    """Seconds to keep a credential, from the fields of the answer. None of them, or a shorter time than the minimum, means
    the minimum; so does no-store, since ATIS-1000074 has every credential kept for a day. `now` stands for a missing Date.

    The end of the certificate's own validity is the caller's business: `Credential.not_after`.
    """
    fresh = _freshness(cache_control, expires, date, now)
    # RFC 9111 4.2.3: what caches on the way have used up already
    spent = _SECONDS.fullmatch(age)
    return max(rules.minimum, min(fresh - (int(spent[1]) if spent else 0), rules.maximum))


def _freshness(cache_control: str, expires: str, date: str, now: float | None) -> int:
    """RFC 9111 4.2.1: max-age goes before Expires."""
    if _NOT_KEPT.search(cache_control):
        return 0
    if ages := [int(age) for age in _MAX_AGE.findall(cache_control)]:
        return max(ages)
    ends, began = _moment(expires), _moment(date)
    if began is None:
        began = now
    # RFC 9111 5.3: what is no date has expired
    return 0 if ends is None or began is None else int(ends - began)


def _moment(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    if not text or len(text) > _DATE_LENGTH:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # RFC 9110 5.6.7: always Greenwich, which asctime's form does not say
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
