"""One call of the record: from the frame that a worker wrote (`record`) to the line of JSON that is kept, and back.

Numbers are masked here: what is not to be written down never reaches the disk.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple

from kamailio_app.runtime.record import BEGIN, FIELDS, SEPARATOR

DAY: Final = 86400
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999
_DIGITS: Final = "0123456789"
_MASK: Final = "x"
_NUMBER: Final = re.compile(r"[0-9](?:[-.() ]?[0-9]){4,}", re.ASCII)  # RFC 3966 3: with visual separators
_X5U: Final = ',"x5u":'


class Line(NamedTuple):
    """`day`: days since 1970, UTC. `text`: with the newline."""

    day: int
    text: bytes


def line_of(frame: bytes, mask: int) -> Line | None:
    """Of a frame without its end. None if that is no whole frame: its writer did not live to complete it."""
    # What is before the last beginning was never completed
    _torn, begin, rest = frame.decode("utf-8", "replace").rpartition(BEGIN)
    fields = rest.split(SEPARATOR)
    if not begin or len(fields) != FIELDS:
        return None
    when, call_id, trunk, customer, orig, dest, attest, origid, spc, fingerprint, rule, us, token, result, x5u = fields
    seconds, _, thousandths = when.partition(".")
    if not (seconds.isdecimal() and thousandths.isdecimal() and us.isdecimal()) or int(seconds) > _LAST_SECOND:
        return None
    if mask:
        orig, dest = masked(orig, mask), masked(dest, mask)
    text = (
        f'{{"time":"{_iso(int(seconds))}.{thousandths}Z","call_id":{quoted(call_id)},"trunk":{quoted(trunk)},'
        f'"customer":{quoted(customer)},"orig":{quoted(orig)},"dest":{quoted(dest)},"attest":{quoted(attest)},'
        f'"origid":{quoted(origid)},"spc":{quoted(spc)},"fingerprint":{quoted(fingerprint)},"rule":{quoted(rule)},'
        f'"us":{int(us)},"token":{quoted(token)},"result":{quoted(result)}{_X5U + quoted(x5u) if x5u else ""}}}\n'
    )
    return Line(int(seconds) // DAY, text.encode())


def call_of(line: bytes) -> dict[str, Any] | None:
    """A line of the record as it is kept. None if it is none: a disk that lost power leaves anything behind."""
    try:
        call = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return call if isinstance(call, dict) and isinstance(call.get("time"), str) else None


def masked(number: str, digits: int) -> str:
    """Its last digits, or those of the user of a URI, as x: 12155550121 with 4 is 1215555xxxx."""
    user, at, host = number.partition("@")
    hidden = min(digits, len(user) - len(user.rstrip(_DIGITS)))
    return f"{user[: len(user) - hidden]}{_MASK * hidden}{at}{host}"


def masked_text(text: str, digits: int) -> str:
    """The same of all in a text that may be a number: why a call is not signed quotes what came."""

    def hidden(found: re.Match[str]) -> str:
        left, number = digits, list(found[0])
        for position in range(len(number) - 1, -1, -1):
            if left and number[position] in _DIGITS:
                number[position], left = _MASK, left - 1
        return "".join(number)

    return _NUMBER.sub(hidden, text) if digits else text


def mask_of(number: str) -> int:
    """How many digits of it may have been masked."""
    user = number.partition("@")[0]
    return len(user) - len(user.rstrip(_MASK))


@lru_cache(maxsize=64)
def _iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
