"""What the STI-PA says, for all processes of the SIP server: its trust list and its CRL, as texts.

The keeper writes what the fetch process found good; the workers take it over with their next call. Two slots and a number:
the new text is written beside the one in use, so nobody waits and nobody reads half of it.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.runtime.disk import read_state, write_state
from kamailio_app.runtime.settings import TrustRules

_SLOT: Final = 32 << 20  # pages that are not written to cost nothing
_GENERATION: Final = slice(0, 8)
_HEADER: Final = 4096

LIST_FILE: Final = "trust_list"
CRL_FILE: Final = "crl"


class Trust(NamedTuple):
    """`TrustList.to_text()` and `Revocations.to_text()`; empty where there is none."""

    trust_list: str = ""
    revocations: str = ""

    @classmethod
    def from_disk(cls, directory: Path | None) -> Trust:
        """The last good ones."""
        return cls(read_state(directory, LIST_FILE), read_state(directory, CRL_FILE))

    def under(self, rules: TrustRules) -> Trust:
        """As far as the settings ask for it: a list that they name no longer is trusted no longer."""
        listed = rules.trust_list_url or rules.trust_list_file
        revoking = rules.crl_url or rules.crl_file
        return Trust(self.trust_list if listed else "", self.revocations if revoking else "")

    def to_disk(self, directory: Path | None) -> None:
        """Errors: OSError."""
        write_state(directory, LIST_FILE, self.trust_list)
        write_state(directory, CRL_FILE, self.revocations)


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
            # Written to only when the next but one comes
            if self.generation <= generation + 1:
                trust_list, revocations = json.loads(text)
                return generation, Trust(trust_list, revocations)


def _slot(generation: int) -> int:
    return _HEADER + generation % 2 * _SLOT
