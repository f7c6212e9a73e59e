"""What is shown of an explanation, as data and as text. Whatever a peer wrote is made safe for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kamailio_app.errors import FAILURES
from kamailio_app.explain.capture import CapturedCall
from kamailio_app.explain.explanation import NOT_VERIFIED, Explanation, Header
from kamailio_app.explain.header_checks import moment
from kamailio_app.explain.log import Line
from kamailio_app.explain.steps import State, Step
from kamailio_app.grammar import one_line, printable
from kamailio_app.policy.codes import PROFILES
from kamailio_app.policy.treatment import FailureAction

VALID: Final = "valid"
_MARKS: Final = {
    (State.PASSED, False): "ok",
    (State.PASSED, True): "(ok)",
    (State.FAILED, False): "FAIL",
    (State.FAILED, True): "also",
    (State.NOT_REACHED, False): "-",
    (State.NOT_REACHED, True): "-",
    (State.NOT_LOOKED_AT, False): "?",
    (State.NOT_LOOKED_AT, True): "?",
}
_UNDECIDED: Final = "Not decided:"
LEGEND: Final = "ok passed; FAIL decides; also: wrong too, an edge would not have come so far; - not reached; ? not looked at"


class Clock(NamedTuple):
    """The moment as of which is explained, in seconds since 1970, and where it is from."""

    now: float
    source: str


# --- One call ---------------------------------------------------------------------------------------------------------


def call_data(told: Explanation, clock: Clock) -> dict[str, Any]:
    """For `--json`."""
    treatment = told.treatment
    return {
        "clock": {"at": moment(clock.now), "from": clock.source},
        "method": told.request.method,
        "request_uri": told.request.request_uri,
        "from": told.caller.value if told.caller else "",
        "to": told.called.value if told.called else "",
        "valid": told.valid,
        "decided": not told.undecided,
        **token_data(told.token),
        **_next(told),
        "detail": told.error.detail if told.error else "",
        "further": list(told.further),
        "notes": list(told.notes),
        "action": told.action.value,
        "profile": told.profile,
        "failure_code": told.answer.code if told.answer else 0,
        "answer": {"code": treatment.code, "phrase": treatment.phrase},
        "verstat": treatment.verstat,
        "reason": list(treatment.reason),
        "emergency": told.emergency,
        "diversions": list(told.verification.diversions),
        "rich_call_data": told.verification.rcd._asdict() if told.verification.rcd else None,
        "rich_call_data_error": _text(told.verification.rcd_error),
        "resource_priority": list(told.verification.rph),
        "resource_priority_error": _text(told.verification.rph_error),
        "headers": [_header_data(header) for header in told.headers],
    }


def _next(told: Explanation) -> dict[str, str]:
    """Of this call, where that is more than its token says."""
    if told.undecided:
        return {"meaning": _UNDECIDED, "next": told.error.detail if told.error else ""}
    return {"next": told.error.advice} if told.verified and told.error else {}


def _text(error: Exception | None) -> str:
    return str(error) if error else ""


def _header_data(header: Header) -> dict[str, Any]:
    return {
        "number": header.number,
        "ppt": header.ppt,
        "token": header.token,
        "jose": header.jose,
        "claims": header.claims,
        "checks": [step._asdict() for step in header.steps],
    }


def token_data(token: str) -> dict[str, Any]:
    """What a token means; empty texts for none."""
    row = FAILURES.get(token)
    return {
        "token": token if row else "",
        "meaning": row.meaning if row else "",
        "clause": row.clause if row else "",
        "next": row.advice if row else "",
    }


def call_lines(told: Explanation, clock: Clock) -> Iterator[str]:
    """For a terminal."""
    request = told.request
    caller = told.caller.value if told.caller else "nobody"
    called = told.called.value if told.called else "nobody"
    yield f"{one_line(request.method or 'Identity')}: {one_line(caller)} calls {one_line(called)}"
    yield f"As of {moment(clock.now)}: {clock.source}."
    for header in told.headers:
        yield ""
        yield _title(header)
        yield from _rows(header.steps)
    if told.headers:
        yield f"  {LEGEND}"
    yield ""
    yield from _outcome(told)


def _title(header: Header) -> str:
    claims = header.claims or {}
    known = [f"{name} {claims[name]}" for name in ("attest", "origid") if name in claims]
    return one_line(", ".join([f"Identity {header.number}: {header.ppt}", *known]))


def _rows(steps: Sequence[Step]) -> Iterator[str]:
    width = max((len(step.check) for step in steps), default=0)
    clauses = max((len(step.clause) for step in steps), default=0)
    for step in steps:
        token = f"{step.token}: " if step.token and step.state is State.FAILED else ""
        mark = _MARKS[step.state, step.further]
        yield f"  {mark:4}  {step.check:{width}}  {step.clause:{clauses}}  {token}{step.words}".rstrip()


def _outcome(told: Explanation) -> Iterator[str]:
    error = told.error
    if not told.verified:
        yield f"NOT VERIFIED: {FAILURES[NOT_VERIFIED].meaning} An edge leaves it as it is."
        return
    if error is None:
        passport = told.verification.verdict.passport
        attest = f", attest {passport.claims.attest.value}" if passport else ""
        yield f"VALID{attest}"
    elif told.undecided:
        rest = "" if told.further else " All that could be looked at is in order."
        yield f"NOT DECIDED: {one_line(error.detail)}.{rest}"
    else:
        row = FAILURES[error.token]
        yield f"NOT VALID: {error.token}. {row.meaning} ({row.clause})"
    if not told.undecided:
        yield from _treated(told)
    for token in told.further:
        yield f"Also wrong: {token}. {FAILURES[token].meaning} {FAILURES[token].advice}"
    yield from (f"Note: {one_line(note)}" for note in told.notes)


def _treated(told: Explanation) -> Iterator[str]:
    treatment, error = told.treatment, told.error
    yield from _told(told)
    if treatment.code:
        yield f"  the call  is answered {treatment.code} {treatment.phrase}"
    else:
        yield f"  the call  goes on, {f'verstat {treatment.verstat}' if treatment.verstat else 'as it is'}"
    yield from (f"  Reason    {one_line(value)}" for value in treatment.reason)
    if error is not None:
        yield f"  next      {one_line(error.advice)}"


def _told(told: Explanation) -> Iterator[str]:
    verification = told.verification
    if told.answer is not None and told.answer.code:
        yield f"  code      {told.answer.code} {told.answer.phrase} ({told.profile})"
    if told.error is not None:
        yield f"  action    {told.action.value}{', but it is an emergency call' if _spared(told) else ''}"
    if verification.diversions:
        yield f"  diverted  {one_line(', '.join(verification.diversions))}"
    if verification.rcd is not None:
        shown = [f"{name} {value!r}" for name, value in verification.rcd._asdict().items() if value and name != "digests"]
        yield f"  rich call data  {one_line(', '.join(shown))}"
    if verification.rph:
        yield f"  priority  {one_line(', '.join(verification.rph))}"


def _spared(told: Explanation) -> bool:
    return told.emergency and told.action is FailureAction.REJECT


# --- The calls of a capture -------------------------------------------------------------------------------------------

CALL_HEAD: Final = ("TIME", "FROM", "TO", "ATTEST", "TOKEN", "FAR END", "WE SAY", "CALL-ID")
COUNT_HEAD: Final = ("CALLS", "TOKEN", "MEANING")


def captured_row(call: CapturedCall, told: Explanation) -> dict[str, Any]:
    """One call of a capture, in a line."""
    passport = told.verification.verdict.passport
    return {
        "time": moment(call.packet.at),
        "from": told.caller.value if told.caller else "",
        "to": told.called.value if told.called else "",
        "attest": passport.claims.attest.value if passport else "",
        "valid": told.valid,
        "decided": not told.undecided,
        "token": told.token,
        **({"meaning": f"{_UNDECIDED} {told.error.detail}"} if told.undecided and told.error else {}),
        "far_end": call.code,
        "far_end_reasons": list(call.reasons),
        "verstat": told.treatment.verstat,
        "answer": told.treatment.code,
        "source": call.packet.source,
        "destination": call.packet.destination,
        "times": call.times,
        "call_id": call.packet.message.call_id,
    }


def captured_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The same for `CALL_HEAD`."""
    far_end = str(row["far_end"] or "none") + (",STIR" if row["far_end_reasons"] else "")
    says = (row["verstat"] or str(row["answer"] or "nothing")) if row["decided"] else "?"
    cells = (row["time"], row["from"], row["to"], row["attest"], row["token"] or VALID, far_end, says, row["call_id"])
    return tuple([printable(str(cell), 80) for cell in cells])


def counts(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many calls have which token, the most frequent first."""
    found = Counter((row["token"] or VALID, row.get("meaning", "")) for row in rows)
    return [{"token": token, "calls": number, **_meaning(token, why)} for (token, why), number in found.most_common()]


def _meaning(token: str, why: str) -> dict[str, str]:
    if why:
        return {"meaning": why, "next": ""}
    row = FAILURES.get(token)
    return {"meaning": row.meaning, "next": row.advice} if row else {"meaning": "", "next": ""}


# --- Lines of the log -------------------------------------------------------------------------------------------------


def token_lines(token: str) -> Iterator[str]:
    """What a token means and what to do, for a terminal."""
    row = FAILURES[token]
    yield f"{token}: {row.meaning}"
    yield f"  clause   {row.clause}"
    if row.error.code:
        answers = {name: profile.answer(token) for name, profile in PROFILES.items()}
        code = "; ".join([f"{name} {answer.code} {answer.phrase}" for name, answer in answers.items()])
        yield f"  code     {code}"
        yield f"  verstat  {row.verstat}"
    else:
        yield f"  kind     {(row.error.__doc__ or '').strip()}"
    yield f"  next     {row.advice}"


_LINES: Final = {"verify": "Verification of call", "sign": "Signing of call", "reported": "Said by the far end of call"}


_CAUSE: Final = re.compile(r"cause\s*=\s*([0-9]{3})")


def cause_data(reason: str) -> dict[str, Any]:
    """RFC 9410: what a Reason header field says of a PASSporT of ours, and which of our tokens have that code."""
    code = int(found[1]) if (found := _CAUSE.search(reason)) else 0
    return {
        "reason": reason,
        "code": code,
        "tokens": [token for token, row in FAILURES.items() if code and row.error.code == code],
    }


def cause_lines(reason: str) -> Iterator[str]:
    """The same for a terminal."""
    told = cause_data(reason)
    yield f"Reason: {one_line(reason)}"
    if told["tokens"]:
        yield f"  {told['code']} {FAILURES[told['tokens'][0]].error.phrase}: with us that is one of"
        yield from (f"  {token}: {FAILURES[token].meaning}" for token in told["tokens"])


def line_lines(line: Line) -> Iterator[str]:
    """One line of the log."""
    yield one_line(f"{_LINES[line.what]} {line.call_id}" if line.what else line.text)
    yield from (
        f"  {printable(name)} {one_line(value)}" for name, value in line.words.items() if name not in ("call-id", "reason")
    )
    if line.what == "reported":
        yield from cause_lines(line.detail)
    elif line.detail and line.what:
        yield f"  {one_line(line.detail)}"
    for token in dict.fromkeys([line.token, *line.also]):
        if token:
            yield from token_lines(token)
    if line.unknown:
        yield f"{printable(line.unknown)}: no token of this version; was the line written by another one?"
    elif not line.token and line.what in ("verify", "sign"):
        yield "Nothing failed."
