"""Lines of our own log: what a token in them means. Whatever syslog, journalctl or docker put in front is passed over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from kamailio_app.errors import FAILURES
from kamailio_app.grammar import printable

LONGEST_LINE: Final = 65536
_OURS: Final = "stirshaken: "
_WORD: Final = re.compile(r"([a-z0-9_-]{1,20})=(\S*)")
_CALL: Final = re.compile(r"(verify|sign|reported) call-id=")
# The last words before the detail
_LAST: Final = frozenset({"us", "token", "rule"})
_NAMED: Final = re.compile(r"\b(?:token=|error=)?([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\b")
FINE: Final = {"valid", "signed"}
_OUTCOMES: Final = frozenset({*FINE, "failed", "unsigned", "rejected", ""})
_OTHER: Final = "other"
_SHOWN: Final = re.compile(r"[!-~]{0,1024}")


class Line(NamedTuple):
    """`what` is verify, sign, reported, or empty for what is not of one call. `token` is empty if nothing failed."""

    what: str
    call_id: str
    token: str
    also: tuple[str, ...]
    words: dict[str, str]
    detail: str
    text: str

    @property
    def unknown(self) -> str:
        """The token that the line names, and that is none of ours: of another version, or made up."""
        return "" if self.token else self.words.get("token", "")

    @property
    def outcome(self) -> str:
        """The token; or else what the line says came of it, if that is one of ours."""
        result = self.words.get("result", "")
        return self.token or (result if result in _OUTCOMES else _OTHER)


def read_line(text: str) -> Line | None:
    """None for a line that is not ours, or says nothing of a failure or a call."""
    text = text[:LONGEST_LINE].rstrip("\r\n")
    _, ours, said = text.partition(_OURS)
    if not ours:
        return None
    if call := _CALL.match(said):
        words, detail = _words(said[call.start(1) + len(call[1]) + 1 :])
        call_id = _shown(words.get("call-id", ""))
        if call[1] == "reported":
            return Line("reported", call_id, "", (), words, said.partition(" reason=")[2], said)
        also = tuple([token for token in words.get("also", "").split(",") if token in FAILURES])
        token = words.get("token", "")
        return Line(call[1], call_id, token if token in FAILURES else "", also, words, detail, said)
    token = next((match[1] for match in _NAMED.finditer(said) if match[1] in FAILURES), "")
    return Line("", "", token, (), {}, said, said) if token else None


def _shown(word: str) -> str:
    """As our log has it, with what it has escaped; and safe where the log is not ours."""
    return word if _SHOWN.fullmatch(word) else printable(word)


def _words(text: str) -> tuple[dict[str, str], str]:
    """name=value, parted by spaces, up to the detail behind a colon."""
    words: dict[str, str] = {}
    position = 0
    while match := _WORD.match(text, position):
        name, value = match[1], match[2]
        position = match.end() + 1
        if name in _LAST and value.endswith(":"):
            words.setdefault(name, value[:-1])
            return words, text[position:]
        words.setdefault(name, value)
    return words, text[position:]


class Counted(NamedTuple):
    """How often something came of something, and the call that it came of last."""

    what: str
    outcome: str
    times: int
    call_id: str


class Log(NamedTuple):
    lines: int  # of the file
    read: int  # of ours
    counts: tuple[Counted, ...]
    last: Line | None
    chosen: tuple[Line, ...]  # of the call that was asked for


_MAX_CHOSEN: Final = 100


def read_log(lines: Iterable[str], call_id: str = "") -> Log:
    """A whole log, line by line."""
    total = read = 0
    last: Line | None = None
    counts: Counter[tuple[str, str]] = Counter()
    calls: dict[tuple[str, str], str] = {}
    chosen: list[Line] = []
    wanted = printable(call_id) if call_id else ""
    for text in lines:
        total += 1
        line = read_line(text)
        if line is None:
            continue
        read, last = read + 1, line
        for outcome in (line.outcome, *line.also):
            key = (line.what, outcome)
            counts[key] += 1
            calls[key] = line.call_id
        if wanted and line.call_id == wanted and len(chosen) < _MAX_CHOSEN:
            chosen.append(line)
    rows = tuple([Counted(what, outcome, count, calls[what, outcome]) for (what, outcome), count in counts.most_common()])
    return Log(total, read, rows, last, tuple(chosen))
