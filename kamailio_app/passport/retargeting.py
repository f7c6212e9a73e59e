"""Who diverted a call, as its header fields tell: History-Info (RFC 7044) and Diversion (RFC 5806).

They are text of whoever sent the request: what may be signed of it is not decided here. Telephone numbers only, since nobody's
certificate speaks for anything else; what cannot be read is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Final, NamedTuple

from kamailio_app.sip import Party, party, uris
from kamailio_app.tn import AS_WRITTEN, NumberPlan

_MAX_FIELD: Final = 8192  # octets of one
_MAX_FIELDS: Final = 32
_MAX_ENTRIES: Final = 64  # an honest call has a handful
_MAX_DIVERSIONS: Final = 10  # longer chains are verified by nobody

# RFC 7044 5: hi-entry = name-addr *( SEMI hi-param )
_ENTRY: Final = re.compile(
    r'\s*+(?:[^"<,]*+|"(?:[^"\\]|\\.)*+"\s*+)<([^<>]*+)>((?:[^,"]++|"(?:[^"\\]|\\.)*+")*+)(?:,|\Z)', re.DOTALL
)
_PARAMETER: Final = re.compile(
    r";\s*+(index|rc|mp|np)\s*+=\s*+([0-9]{1,4}(?:\.[0-9]{1,4}){0,19})(?![0-9.])", re.ASCII | re.IGNORECASE
)


class _Entry(NamedTuple):
    """One place where the request was: `came_from` is the index of the one before; `same_user`: by routing alone."""

    uri: str
    came_from: str
    same_user: bool


def diverting(
    history_info: Iterable[str], diversion: Iterable[str], target: Party | None, plan: NumberPlan = AS_WRITTEN
) -> tuple[Party, ...]:
    """Who diverted the call, the first one first; not `target`, where it goes now. History-Info goes before Diversion: it
    names all of them, and where each sent the call.
    """
    way = _from_history(history_info, plan) or _from_diversion(diversion, plan)
    numbers = [who for who, _ in groupby(one for one in way if one is not None and one.kind == "tn")]
    if numbers and numbers[-1] == target:
        numbers.pop()
    return tuple(numbers[-_MAX_DIVERSIONS:])


def _from_diversion(fields: Iterable[str], plan: NumberPlan) -> list[Party | None]:
    """RFC 5806: the topmost is the one who diverted last."""
    found = [uri for field in _bounded(fields) for uri in uris(field)[:_MAX_ENTRIES]]
    return [party(uri, plan) for uri in reversed(found[:_MAX_ENTRIES])]


def _from_history(fields: Iterable[str], plan: NumberPlan) -> list[Party | None]:
    """From the latest entry back, by what each says of where it came from (RFC 7044 10.3), else by its index."""
    entries = _entries(fields)
    way: list[Party | None] = []
    index = max(entries, key=_order, default="")
    while entry := entries.pop(index, None):  # each once: an index may lead in a circle
        if not entry.same_user:
            way.append(party(entry.uri, plan))
        index = entry.came_from
    return way[::-1]


def _entries(fields: Iterable[str]) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for field in _bounded(fields):
        position = 0
        while len(entries) < _MAX_ENTRIES and (match := _ENTRY.match(field, position)):
            position = match.end()
            parameters = {name.lower(): value for name, value in _PARAMETER.findall(match[2])}
            if index := parameters.get("index"):
                before = parameters.get("mp") or parameters.get("rc") or parameters.get("np")
                same_user = before is not None and "mp" not in parameters
                entries[index] = _Entry(match[1], before or index.rpartition(".")[0], same_user)
    return entries


def _order(index: str) -> tuple[int, ...]:
    return tuple([int(part) for part in index.split(".")])


def _bounded(fields: Iterable[str]) -> list[str]:
    return [field for field in list(fields)[:_MAX_FIELDS] if len(field) <= _MAX_FIELD]
