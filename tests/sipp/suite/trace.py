"""What both ends saw of the calls of one case, from SIPp's traces."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from kamailio_app.lab.sipp import Message, messages
from tests.sipp.suite.outcome import Step

_DAY: Final = 86400.0
_FINAL: Final = re.compile(r"SIP/2\.0 ([2-6][0-9]{2} ?.*)")


def all_values(message: Message, name: str) -> tuple[str, ...]:
    """The values of a header by its name, or by its compact name (RFC 3261 7.3.3, RFC 8224 4)."""
    return message.headers.get(name.lower(), ()) + message.headers.get(_COMPACT.get(name.lower(), ""), ())


_COMPACT: Final = {"identity": "y", "from": "f", "to": "t", "call-id": "i", "subject": "s", "via": "v", "contact": "m"}


@dataclass(frozen=True)
class Sight:
    """One call. `answer`: the first final answer to its INVITE, and `provisional`: those before it; `reached`: its INVITEs at
    the callee, each once, and `copies`: with every repetition; `inside`: the requests at the callee that have a dialog.

    A call that begins with another method has requests of that method in the place of INVITEs.
    """

    call_id: str
    sent: Message
    answer: Message | None
    reached: tuple[Message, ...]
    inside: tuple[Message, ...]
    copies: tuple[Message, ...] = ()
    provisional: tuple[Message, ...] = ()

    @property
    def status(self) -> str:
        """Code and phrase of the answer."""
        found = _FINAL.fullmatch(self.answer.start_line) if self.answer else None
        return found[1].strip() if found else "no final answer"


def sights(caller: str, callee: str, prefix: str) -> list[Sight]:
    """The calls whose Call-ID begins with `prefix`, in the order they were placed."""
    sent, got = _of(caller, prefix), _of(callee, prefix)
    found = []
    for call_id, its in sent.items():
        first = next((message for message in its if not message.received), None)
        if first is None:
            continue
        said = [m for m in its if m.received and m.start_line.startswith("SIP/2.0 ") and m.header("cseq") == _cseq(first)]
        answers = [m for m in said if _FINAL.fullmatch(m.start_line)]
        provisional = tuple(m for m in said if m not in answers)
        requests = [m for m in got.get(call_id, []) if m.received and not m.start_line.startswith("SIP/2.0 ")]
        inside = [m for m in requests if ";tag=" in "".join(all_values(m, "to"))]
        method = first.start_line.partition(" ")[0]
        copies = tuple(m for m in requests if m not in inside and m.start_line.startswith(f"{method} "))
        reached = {"".join(all_values(m, "via")[:1]): m for m in copies}
        answer = answers[0] if answers else None
        found.append(Sight(call_id, first, answer, tuple(reached.values()), tuple(inside), copies, provisional))
    return found


def _cseq(message: Message) -> str:
    return message.header("cseq")


def _of(trace: str, prefix: str | tuple[str, ...]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for message in messages(trace):
        call_id = "".join(all_values(message, "call-id")[:1])
        if call_id.startswith(prefix):
            found.setdefault(call_id, []).append(message)
    return found


def steps(caller: str, callee: str, prefix: str | tuple[str, ...]) -> tuple[Step, ...]:
    """Every message of those calls in the order of time."""
    ends = (("caller", caller), ("callee", callee))
    both = [(end, message) for end, trace in ends for its in _of(trace, prefix).values() for message in its]
    if not both:
        return ()
    times = [message.time for _end, message in both]
    if max(times) - min(times) > _DAY / 2:  # midnight came in between
        both = [(end, replace(m, time=m.time + (_DAY if m.time < _DAY / 2 else 0))) for end, m in both]
    both.sort(key=lambda pair: pair[1].time)
    began = both[0][1].time
    return tuple(
        Step(
            round(message.time - began, 6),
            "system" if message.received else end,
            end if message.received else "system",
            message.start_line,
            message.text,
        )
        for end, message in both
    )
