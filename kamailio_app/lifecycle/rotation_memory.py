"""What a switch remembers between two looks, in provider_state_dir/rotation.json: when what was done with which pair.

The directories say what is so; this says since when. A lost or spoilt file costs time, never a pair: what is not remembered is
done or waited for once more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.lifecycle.pairs import is_name
from kamailio_app.runtime.disk import read_state, write_state

FILE: Final = "rotation.json"


@dataclass(slots=True)
class Times:
    """Of one pair, in seconds since 1970; 0: not yet, or nobody knows.

    `published`: its chain was put into publication_dir; `seen`: strangers got it, since when they always did; `installed`: into
    certificate_dir, by us; `reloaded`: Kamailio was seen to use it; `replaced`: another was seen to sign instead; `ended`: its
    certificate was seen to have ended, by a clock that may be wrong; `retiring`: it is being taken away.
    """

    published: float = 0
    seen: float = 0
    installed: float = 0
    reloaded: float = 0
    replaced: float = 0
    ended: float = 0
    retiring: float = 0


@dataclass
class Memory:
    """`of` makes an entry where there is none; `save` writes what has changed."""

    directory: Path
    pairs: dict[str, Times] = field(default_factory=dict)
    _saved: str = ""

    @classmethod
    def read(cls, directory: Path, now: float) -> Memory:
        """What is in the file; of what somebody else wrote, and of times that lie in the future, nothing."""
        text = read_state(directory, FILE)
        try:
            document = json.loads(text or "{}")
        except (ValueError, RecursionError):
            document = {}
        given = document.get("pairs") if isinstance(document, dict) else None
        memory = cls(directory)
        for name, times in given.items() if isinstance(given, dict) else ():
            if is_name(name) and isinstance(times, dict):  # names become paths
                memory.pairs[name] = Times(*(_time(times.get(key.name), now) for key in fields(Times)))
        memory._saved = text or memory._text()  # what was left out does not come back when its time has come
        return memory

    def of(self, name: str) -> Times:
        return self.pairs.setdefault(name, Times())

    def forget(self, name: str) -> None:
        self.pairs.pop(name, None)

    def save(self) -> None:
        """Errors: `file_unwritable`."""
        if (text := self._text()) == self._saved:
            return
        try:
            write_state(self.directory, FILE, text)
        except OSError as error:
            raise failure("file_unwritable", f"{self.directory / FILE}: {error.strerror}") from error
        self._saved = text

    def _text(self) -> str:
        kept = {name: times for name, times in self.pairs.items() if times != Times()}
        return json.dumps({"pairs": {name: asdict(times) for name, times in kept.items()}}, indent=2)


def _time(value: object, now: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= now:
        return float(value)
    return 0
