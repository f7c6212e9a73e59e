"""What the STI-PA says, for all processes of the SIP server: its trust list and its CRL, as texts.

The keeper writes what the fetch process found good; the workers take it over with their next call. Two slots and a number:
the new text is written beside the one in use, so nobody waits and nobody reads half of it.
"""

from __future__ import annotations

import json
import mmap
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.disk import read_state, write_state
from kamailio_app.runtime.settings import TrustRules

_SLOT: Final = 32 << 20  # pages that are not written to cost nothing
_GENERATION: Final = slice(0, 8)
_HEADER: Final = 4096

_MAX_ROOTS: Final = 1000

LIST_FILE: Final = "trust_list"
CRL_FILE: Final = "crl"


class Sources(NamedTuple):
    """Where list and CRL come from, and by whose roots they are good: words in one line; empty where none is asked for."""

    trust_list: str = ""
    crl: str = ""

    @classmethod
    def of(cls, rules: TrustRules, roots: TrustAnchors) -> Sources:
        return cls(_words(rules.trust_list_url or rules.trust_list_file, roots), _words(rules.crl_url or rules.crl_file, roots))

    @classmethod
    def read(cls, rules: TrustRules) -> Sources:
        """With the roots that are in the file now; what cannot be read is no root."""
        if not any((rules.trust_list_url, rules.trust_list_file, rules.crl_url, rules.crl_file)):
            return cls()
        try:
            roots = parse_chain(rules.sti_pa_ca_file.read_bytes(), limit=_MAX_ROOTS) if rules.sti_pa_ca_file else ()
        except (OSError, StirError):
            roots = ()
        return cls.of(rules, TrustAnchors(roots))


def holds(former: str, source: str) -> bool:
    """Is what came from the former source good under this one? The place is the same, and no root is gone."""
    return bool(former) and set(former.split()) <= set(source.split())


def _words(place: str | Path | None, roots: TrustAnchors) -> str:
    return " ".join((sha256(str(place).encode()).hexdigest(), *sorted(roots.fingerprints))) if place else ""


class Trust(NamedTuple):
    """`TrustList.to_text()` and `Revocations.to_text()`; empty where there is none. The others are words of `Sources`."""

    trust_list: str = ""
    revocations: str = ""
    list_source: str = ""
    crl_source: str = ""

    @classmethod
    def from_disk(cls, directory: Path | None) -> Trust:
        """The last good ones."""
        list_source, _, trust_list = read_state(directory, LIST_FILE).partition("\n")
        crl_source, _, revocations = read_state(directory, CRL_FILE).partition("\n")
        return cls(trust_list, revocations, list_source, crl_source)

    def under(self, rules: TrustRules) -> Trust:
        """As far as the settings ask for it: what another STI-PA said, or one that is not named any more, is not trusted."""
        sources = Sources.read(rules)
        found = self
        if not holds(self.list_source, sources.trust_list):
            found = found._replace(trust_list="", list_source="")
        if not holds(self.crl_source, sources.crl):
            found = found._replace(revocations="", crl_source="")
        return found

    def to_disk(self, directory: Path | None) -> None:
        """Each with its source, in one file, so that none is ever taken for another's. Errors: OSError."""
        write_state(directory, LIST_FILE, f"{self.list_source}\n{self.trust_list}")
        write_state(directory, CRL_FILE, f"{self.crl_source}\n{self.revocations}")


class TrustMemory:
    """Made before the fork. One process writes, all read."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEADER + 2 * _SLOT)

    @property
    def generation(self) -> int:
        """How often it was written."""
        return int.from_bytes(self._memory[_GENERATION], "big")

    def write(self, trust: Trust) -> None:
        """Errors: `crl_malformed` if it is too much, and then nothing has changed."""
        text = json.dumps(trust).encode()
        if 8 + len(text) > _SLOT:
            raise failure("crl_malformed", f"trust list and CRL together exceed {_SLOT >> 20} MiB")
        generation = self.generation + 1
        slot = _slot(generation)
        self._memory[slot : slot + 8] = len(text).to_bytes(8, "big")
        self._memory[slot + 8 : slot + 8 + len(text)] = text
        self._memory[_GENERATION] = generation.to_bytes(8, "big")

    def read(self) -> tuple[int, Trust]:
        """The generation and its texts."""
        while True:
            generation = self.generation
            if generation == 0:
                return 0, Trust()
            slot = _slot(generation)
            length = int.from_bytes(self._memory[slot : slot + 8], "big")
            text = self._memory[slot + 8 : slot + 8 + length]
            # One that comes while this is read is written beside it; one more would be written over it
            if self.generation == generation:
                return generation, Trust(*json.loads(text))


def _slot(generation: int) -> int:
    return _HEADER + generation % 2 * _SLOT
