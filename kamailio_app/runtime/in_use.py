"""Which pairs a server signs with, as it says it in its shared table `stirshaken` to whoever changes them (RFC 8224 7.4).

    pairs    1700000000 1 sp1234-20231114=0123456789abcdef sp5678=...

The number of the reload after which it is so, how many entries there are (pairs, pairs:2, ...), and of each pair NAME and how
the fingerprint of its certificate begins, as the log has it. A reload that was refused leaves the pairs and has a new number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from kamailio_app.sti_as import Signer

KEY: Final = "pairs"
_MAX_TEXT: Final = 1000  # characters: kamcmd shows no more than 8 kB, all that lies in one slot of the table
_DIGITS: Final = 16
_TEXT: Final = re.compile(r"(-?[0-9]{1,20}) ([0-9]{1,6})((?: [A-Za-z0-9._\-]+=[0-9a-f]{16})*)", re.ASCII)


class InUse(NamedTuple):
    """`epoch`: the number of the last reload, None if the server has said nothing; `pairs`: mark by NAME."""

    epoch: int | None = None
    pairs: Mapping[str, str] = {}


def mark(signer: Signer) -> str:
    """What a pair is known by."""
    return signer.fingerprint[:_DIGITS]


def entries(signers: Mapping[str, Signer], epoch: int) -> Iterator[tuple[str, str]]:
    """The entries of the table, the first one last: when it is there, all are."""
    texts = [""]
    for name, signer in signers.items():
        word = f" {name}={mark(signer)}"
        if len(texts[-1]) + len(word) > _MAX_TEXT:
            texts.append("")
        texts[-1] += word
    for number, text in reversed([*enumerate(texts, 1)]):
        yield _key(number), f"{epoch} {len(texts)}{text}"


def read(entry: Callable[[str], str]) -> InUse:
    """What the entries say; nothing if there are none, or a reload is under way. `entry`: the text of a key, or nothing."""
    first = _TEXT.fullmatch(entry(KEY))
    if first is None:
        return InUse()
    found = [first]
    for number in range(2, int(first[2]) + 1):
        other = _TEXT.fullmatch(entry(_key(number)))
        if other is None or other.groups()[:2] != first.groups()[:2]:
            return InUse()
        found.append(other)
    words = (word.partition("=") for each in found for word in each[3].split())
    return InUse(int(first[1]), {name: digits for name, _, digits in words})


def _key(number: int) -> str:
    return KEY if number == 1 else f"{KEY}:{number}"
