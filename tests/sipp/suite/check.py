"""What was seen against what was expected. Every function yields findings; the first that is bad of many calls counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509

from kamailio_app.errors import PASSED
from kamailio_app.lab.sipp import Message
from tests.sipp.suite import reasons, signed, whole
from tests.sipp.suite.ends import DONE
from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.scenario import Callee, Case, Headers, Signed
from tests.sipp.suite.target import CAPABILITIES
from tests.sipp.suite.trace import Sight, all_values

_VERSTAT: Final = re.compile(r"verstat\s*=\s*([A-Za-z-]*)", re.IGNORECASE)
# TS 24.229 7.2A.20: a parameter of the tel URI, or of the telephone number in the user part of a SIP URI
_ON_NUMBER: Final = re.compile(
    r"(?:sips?:(?:[+0-9]|%2B)[^@<>,]*?|tel:[^<>,\s]*?);verstat\s*=\s*([A-Za-z-]+)(?:;[^@<>,\s]*)?(?=@|>|,|$)", re.IGNORECASE
)
_ELSEWHERE: Final = ("to", "contact", "remote-party-id", "p-preferred-identity")


@dataclass(frozen=True)
class Seen:
    """Everything about one case. `words`: the log's line of each call, and `log`: all of it, None if the target has no
    log of ours. `waiting`: the calls that were placed before. `asked`: the URLs that the repository was asked for meanwhile.
    `record`: the lines of each call in the record.
    """

    calls: list[Sight]
    caller_flow: str
    callee_flow: str
    words: Mapping[str, Mapping[str, str]] | None
    signer: Callable[[str], tuple[str, x509.Certificate] | None]
    supports: Container[str] = tuple(CAPABILITIES)
    log: str | None = None
    waiting: Sequence[Sight] = ()
    asked: Sequence[str] | None = None
    record: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def check(case: Case, seen: Seen) -> tuple[Finding, ...]:
    """Every finding of a case."""
    findings = [same("calls placed", str(case.calls), str(len(seen.calls)))] if len(seen.calls) != case.calls else []
    findings += [same("the caller's part of the flow", DONE, seen.caller_flow)]
    findings += [same("the callee's part of the flow", DONE, seen.callee_flow)]
    findings += _first_bad(finding for call in seen.calls for finding in _of_call(case, seen, call))
    findings += _of_case(case, seen)
    return tuple(findings)


def _of_case(case: Case, seen: Seen) -> Iterator[Finding]:
    expect = case.expect
    wanted = expect.callee.identity if expect.callee else ""
    if case.calls > 1 and (wanted == "signed" or (isinstance(wanted, Signed) and not wanted.origid)):
        yield whole.origids(seen.calls)
    yield from whole.said(expect.said, seen.log)
    if expect.asked is not None:
        yield whole.asked(expect.asked, seen.calls, seen.asked)
    if case.meanwhile:
        yield from whole.overtaken(seen.calls, seen.waiting, case.meanwhile.calls)


def same(what: str, expected: str, got: str) -> Finding:
    return Finding(what, expected, got, expected == got)


def _first_bad(findings: Iterator[Finding]) -> list[Finding]:
    """One finding of each kind."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        former = kept.get(finding.what)
        if former is None or (former.good and not finding.good):
            kept[finding.what] = finding
    return list(kept.values())


def _of_call(case: Case, seen: Seen, call: Sight) -> Iterator[Finding]:
    expect = case.expect
    told = expect.callee.verstat if expect.callee else None
    if told and "verstat" not in seen.supports:
        # Whether such a system holds a call for verified is seen from one thing alone: it lets it go on
        yield same("the call", "goes on" if told == PASSED else "is refused", "goes on" if call.reached else "is refused")
        if told != PASSED:
            yield from _logged(case, seen, call)
            return
    if expect.answer:
        codes = [answer for answer in expect.answer if answer in (call.status, call.status[:3])]
        yield Finding("answer to the caller", " or ".join(expect.answer), call.status, bool(codes))
    if expect.answer_headers:
        yield from headers("in the answer", expect.answer_headers, call.answer)
    if expect.reason is not None:
        yield from reasons.check(expect.reason, call)
    yield from _logged(case, seen, call)
    if expect.record:
        yield from _recorded(expect.record, seen, call)
    if expect.callee:
        yield from _at_callee(case, expect.callee, seen, call)


def _logged(case: Case, seen: Seen, call: Sight) -> Iterator[Finding]:
    expected = dict(case.expect.log)
    if case.expect.token is not None:
        expected["token"] = case.expect.token
    for name, value in expected.items():
        if seen.words is None:
            yield Finding(f"{name} in the log", value, "not looked at: the target writes no log of this form", True)
            continue
        words = seen.words.get(call.call_id)
        got = "no line about the call" if words is None else words.get(name, "")
        yield Finding(f"{name} in the log", value or "none", got or "none", got == value)


def _recorded(expected: Mapping[str, str], seen: Seen, call: Sight) -> Iterator[Finding]:
    """One line, which names the very PASSporT that the callee got."""
    lines = seen.record.get(call.call_id, ())
    yield same("lines in the record", "1", str(len(lines)))
    if not lines:
        return
    names = {"origid": "".join(signed.origid(invite) for invite in call.reached[:1]), **expected}
    for name, value in names.items():
        yield same(f"{name} in the record", value, str(lines[0].get(name, "")))


def _at_callee(case: Case, callee: Callee, seen: Seen, call: Sight) -> Iterator[Finding]:
    yield same("calls at the callee", str(callee.calls), str(len(call.reached)))
    if callee.calls and not call.reached:
        return
    for invite in call.reached:
        if callee.verstat is not None and "verstat" in seen.supports:
            yield verstat(callee.verstat, invite, exactly="verstat-classes" in seen.supports)
        yield from headers("at the callee", callee.headers, invite)
        yield from _identity(case, callee.identity, seen, call, invite)
    if callee.copies:
        yield from whole.copies(callee.copies, call.copies)
    if callee.dialog:
        if not call.inside:
            yield Finding("requests inside the dialog", "at least one", "none", False)
        for request in call.inside:
            yield from headers("inside the dialog", callee.dialog, request)


def _identity(case: Case, wanted: str | Signed, seen: Seen, call: Sight, invite: Message) -> Iterator[Finding]:
    got = all_values(invite, "identity")
    match wanted:
        case "":
            return
        case "none":
            yield Finding("Identity at the callee", "none", f"{len(got)}" if got else "none", not got)
        case "unchanged":
            sent = all_values(call.sent, "identity")
            yield Finding(
                "Identity at the callee", "as the caller sent it", "the same" if got == sent else str(got), got == sent
            )
        case "signed":
            yield from signed.check(Signed(), case.call, call.sent, invite, seen.signer)
        case Signed():
            yield from signed.check(wanted, case.call, call.sent, invite, seen.signer)


def headers(where: str, expected: Headers, message: Message | None) -> Iterator[Finding]:
    """Presence, absence or the form of headers."""
    for name, wanted in expected.items():
        values = all_values(message, name) if message else ()
        got = " | ".join(values) or "none"
        what = f"{name} {where}"
        match wanted:
            case bool():
                yield Finding(what, "there" if wanted else "none", got, bool(values) == wanted)
            case str():
                yield Finding(what, f"like {wanted}", got, any(re.search(wanted, value) for value in values))
            case _:
                good = len(wanted) == len(values) and all(map(re.search, wanted, values))
                yield Finding(what, "like " + " | ".join(wanted), got, bool(good))


def verstat(expected: str, invite: Message, *, exactly: bool = True) -> Finding:
    """verstat stands in P-Asserted-Identity if there is one, else in From, on the number, and nowhere else.

    If not `exactly`, anything but passed is as good as what is expected in its place.
    """
    asserted = all_values(invite, "p-asserted-identity")
    place = "P-Asserted-Identity" if asserted else "From"
    fields = {
        "P-Asserted-Identity": ", ".join(asserted),
        "From": ", ".join(all_values(invite, "from")),
        **{name.title(): ", ".join(all_values(invite, name)) for name in _ELSEWHERE},
        "Request-URI": invite.start_line,
    }
    found = [
        (name, value, len(_VERSTAT.findall(text)), text) for name, text in fields.items() for value in _VERSTAT.findall(text)
    ]
    got = ", ".join(
        f"{value} in {name}" + ("" if len(_ON_NUMBER.findall(text)) == count else ", not on the number")
        for name, value, count, text in found
    )
    if not exactly and expected not in ("", PASSED):
        passed = any(value == PASSED for _name, value, _count, _text in found)
        return Finding("verstat at the callee", f"not {PASSED}", got or "none", not passed)
    wanted = f"{expected} in {place}" if expected else "none"
    good = set(got.split(", ")) == {wanted} if got else not expected
    return Finding("verstat at the callee", wanted, got or "none", good)
