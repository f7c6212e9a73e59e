"""The configuration that all processes of the SIP server agree on: what one of them read and found good.

Workers reload when a call makes them. One that slept through a good reload and wakes after a bad one could not find the
good one in the files any more; it finds it here. The memory is made before the fork and belongs to our processes alone:
unlike Kamailio's own tables no command shows it, so keys may be in it.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kamailio_app.errors import failure

_OCTETS: Final = 4 << 20
_EPOCH: Final = slice(0, 8)
_LENGTH: Final = slice(8, 16)
_TEXT: Final = 16


@dataclass(frozen=True, slots=True)
class Accepted:
    """Texts, so that any process can make the same objects of them: settings and policy TOML, anchors and pairs PEM."""

    settings: str
    anchors: str
    pairs: Mapping[str, tuple[str, str]] = field(repr=False)  # name -> private key, chain
    policy: str = field(default="", repr=False)


class AcceptedMemory:
    """One slot in memory that is shared over fork. Whoever reads or writes holds the lock of all processes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _OCTETS)

    @property
    def epoch(self) -> int:
        """The reload that was done last, by whichever process."""
        return int.from_bytes(self._memory[_EPOCH], "big", signed=True)

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._memory[_EPOCH] = value.to_bytes(8, "big", signed=True)

    def write(self, accepted: Accepted) -> None:
        """Errors: `option_invalid` if it is too much, and then nothing has changed."""
        text = json.dumps([accepted.settings, accepted.anchors, dict(accepted.pairs), accepted.policy]).encode()
        if _TEXT + len(text) > _OCTETS:
            raise failure("option_invalid", f"keys, trust anchors and signing policy together exceed {_OCTETS >> 20} MiB")
        former = int.from_bytes(self._memory[_LENGTH], "big")
        self._memory[_TEXT : _TEXT + former] = bytes(former)  # keys that are no longer in use are not kept
        self._memory[_TEXT : _TEXT + len(text)] = text
        self._memory[_LENGTH] = len(text).to_bytes(8, "big")

    def read(self) -> Accepted:
        length = int.from_bytes(self._memory[_LENGTH], "big")
        settings, anchors, pairs, policy = json.loads(self._memory[_TEXT : _TEXT + length])
        return Accepted(settings, anchors, {name: (key, chain) for name, (key, chain) in pairs.items()}, policy)
