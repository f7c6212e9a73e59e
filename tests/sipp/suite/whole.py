"""Findings about a case as a whole: what no single call shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kamailio_app.lab.sipp import Message
from tests.sipp.suite import signed
from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.trace import Sight, all_values

_INFO: Final = re.compile(r"info=<([^>]+)>")
_DAY: Final = 86400.0


def origids(calls: Sequence[Sight]) -> Finding:
    """RFC 8588 5: of each signed call another."""
    found = {signed.origid(invite) for call in calls for invite in call.reached[-1:]}
    return Finding("different origids", str(len(calls)), str(len(found)), len(found) == len(calls))


def copies(wanted: int, invites: Sequence[Message]) -> Iterator[Finding]:
    """Repeated or sent elsewhere, an INVITE keeps its Identity."""
    yield Finding("INVITEs at the callee", f"at least {wanted}", str(len(invites)), len(invites) >= wanted)
    identities = {all_values(invite, "identity") for invite in invites}
    yield Finding("Identity of all of them", "one and the same", f"{len(identities)} different", len(identities) == 1)


def said(expected: Mapping[str, int], log: str | None) -> Iterator[Finding]:
    """Lines of the system's log; None if it has none like ours."""
    for text, times in expected.items():
        if log is None:
            yield Finding(f"said: {text}", f"{times} times", "not looked at: the target writes no log of this form", True)
            continue
        got = sum(bool(re.search(text, line)) for line in log.splitlines())
        yield Finding(f"said: {text}", f"{times} times", f"{got} times", got == times)


def asked(expected: int, calls: Sequence[Sight], urls: Sequence[str] | None) -> Finding:
    """How often the repository was asked for what the calls' Identity headers name. `urls`: what it was asked for."""
    if urls is None:
        return Finding("repository asked", f"{expected} times", "not looked at: the repository is not the suite's", True)
    named = {url for call in calls for value in all_values(call.sent, "identity") for url in _INFO.findall(value)}
    got = sum(url in named for url in urls)
    return Finding("repository asked", f"{expected} times", f"{got} times", got == expected)


def overtaken(calls: Sequence[Sight], waiting: Sequence[Sight], expected: int) -> Iterator[Finding]:
    """The case's calls are answered before those that were placed earlier and wait; and these are answered too."""
    answers, later = (sorted(call.answer.time for call in its if call.answer) for its in (calls, waiting))
    yield Finding("calls that wait: answered in the end", str(expected), str(len(later)), len(later) == expected)
    if not answers or not later:
        yield Finding("answered before the calls that wait", "yes", "not all of them were answered", False)
        return
    ahead = (later[0] - answers[-1] + _DAY / 2) % _DAY - _DAY / 2  # midnight may have come in between
    got = f"{abs(ahead):.3f} s {'before' if ahead > 0 else 'after'} the first of them"
    yield Finding("answered before the calls that wait", "yes", got, ahead > 0)
