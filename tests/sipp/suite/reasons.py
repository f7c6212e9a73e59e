"""Reason header fields of protocol STIR against what is expected: RFC 9410, read by a grammar of the suite's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.scenario import Reason
from tests.sipp.suite.trace import Sight, all_values

_STIR: Final = re.compile(r"\s*STIR\s*(?:;|$)", re.IGNORECASE)
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_FIELD: Final = re.compile(
    rf"STIR\s*;\s*cause\s*=\s*([0-9]{{3}})\s*;\s*text\s*=\s*{_QUOTED}(?:\s*;\s*ppi\s*=\s*{_QUOTED})?", re.IGNORECASE
)
_SIGNATURE: Final = re.compile(r"[\w-]*\.[\w-]*\.([\w-]*)", re.ASCII)


class _Said(NamedTuple):
    """`ppi`: of the header field, or that of the Identity header that it is about; empty if there is none."""

    says: str
    ppi: str


def check(expected: Sequence[Reason], call: Sight) -> Iterator[Finding]:
    """In every answer but 100 all of them, in 100 none."""
    identities = [value for field in all_values(call.sent, "identity") for value in field.split(",")]
    wanted = [_wanted(reason, place, identities) for place, reason in enumerate(expected, 1)]
    for answer in (*call.provisional, *((call.answer,) if call.answer else ())):
        status = answer.start_line.partition(" ")[2]
        fields = [value for value in all_values(answer, "reason") if _STIR.match(value)]
        trying = status.startswith("100")
        yield _same(f"Reason in {status}", [] if trying else wanted, [_read(value) for value in fields])


def _wanted(reason: Reason, place: int, identities: Sequence[str]) -> _Said:
    number = place if reason.identity < 0 else reason.identity
    if not number:
        return _Said(reason.says, "")
    # Compact form: the signature alone, for only the signer has to know which one it is
    found = _SIGNATURE.match(identities[number - 1].strip()) if number <= len(identities) else None
    return _Said(reason.says, f"..{found[1]}" if found else f"Identity header {number} has no signature")


def _read(value: str) -> _Said:
    found = _FIELD.fullmatch(value.strip())
    return _Said(f"{found[1]} {found[2]}", found[3] or "") if found else _Said(f"not by the grammar: {value}", "")


def _same(what: str, wanted: Sequence[_Said], got: Sequence[_Said]) -> Finding:
    return Finding(what, _text(wanted), _text(got), list(wanted) == list(got))


def _text(said: Sequence[_Said]) -> str:
    return " | ".join(f"{says} (ppi {ppi[:12]})" if ppi else f"{says} (no ppi)" for says, ppi in said) or "none"
