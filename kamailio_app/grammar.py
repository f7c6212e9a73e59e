"""ABNF fragments, each under its production and section, and how text of a peer is shown.

Implements pieces of RFC 3261 25.1, RFC 4648 5 and RFC 8224 4. All patterns run in linear time: alternatives begin
with different characters and repeats are possessive, so hostile text cannot make them backtrack.
"""

from __future__ import annotations

import re
from typing import Final

# RFC 3261 25.1
TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]++"
QUOTED_STRING: Final = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*+"'
LWS: Final = r"[ \t]*+"
# RFC 3261 7.3.1: a folded line is one space
FOLD: Final = re.compile(r"(?:(?<![ \t])[ \t]++)?+(?:\r\n|\n)[ \t]++")
# RFC 3986 2: what a URI is written with; no space, control, quote, "<" or ">"
URI_CHARACTERS: Final = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]++"
# RFC 8224 4 with erratum 6499: base64url without padding (RFC 4648 5, RFC 7515 2)
BASE64URL: Final = r"[A-Za-z0-9_\-]"

_PRINTABLE: Final = re.compile(r"[!#-\[\]-~]*")
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]|[\\\"]")
_NOT_IN_A_LINE: Final = re.compile(r"[^\x20-\x7e]|\\")


def printable(text: str, limit: int = 256) -> str:
    """A peer's text made safe for one field of a log line or pseudo-variable: ASCII, no space, at most `limit` characters
    before escaping.
    """
    # The usual case first: nothing to escape
    if len(text) <= limit and _PRINTABLE.fullmatch(text):
        return text
    return _UNPRINTABLE.sub(_escaped, _shortened(text, limit))


def one_line(text: str, limit: int = 1024) -> str:
    """Text made safe for the end of a log line: ASCII with spaces."""
    return _NOT_IN_A_LINE.sub(_escaped, _shortened(text, limit))


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _escaped(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
