"""A clause as the project writes it ("RFC 8224 6.2.2 step 4", "ATIS-1000074 5.3.1") and where to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SECTION: Final = (
    r"(?:,?\s*(?:§\s*|s(?=[\dA-Z])|(?i:sec(?:tion|\.)|clause)\s*)?(?P<{0}>\d+(?:\.\d+)*[A-Z]?(?:\.\d+)*(?![\w-])))?"
)
_KNOWN: Final = re.compile(
    rf"RFC[ -]?(?P<rfc>\d{{3,5}})(?:,?\s*(?i:app(?:endix|\.))\s*(?P<appendix>[A-Z](?:\.\d+)*)\b|{_SECTION.format('section')})"
    rf"|ATIS-(?P<atis>10000(?:74|80|82))(?:\.v\d+)?{_SECTION.format('_atis')}"
    rf"|(?:3GPP )?TS (?P<spec>24\.229){_SECTION.format('_spec')}"
)


@dataclass(frozen=True)
class Piece:
    """A part of a clause; `href` is empty where there is nothing to open."""

    text: str
    href: str = ""


def pieces(clause: str) -> Iterator[Piece]:
    """The clause cut into links and plain text; together they are the clause."""
    end = 0
    for match in _KNOWN.finditer(clause):
        if match.start() > end:
            yield Piece(clause[end : match.start()])
        yield Piece(match[0], _href(match))
        end = match.end()
    if end < len(clause):
        yield Piece(clause[end:])


def _href(match: re.Match[str]) -> str:
    if match["atis"]:
        return "https://access.atis.org/"
    if match["spec"]:
        return f"https://www.3gpp.org/dynareport/{match['spec'].replace('.', '')}.htm"
    rfc = f"https://www.rfc-editor.org/rfc/rfc{match['rfc']}"
    if match["appendix"]:
        return f"{rfc}#appendix-{match['appendix']}"
    return f"{rfc}#section-{match['section']}" if match["section"] else rfc
