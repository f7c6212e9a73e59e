"""`shakenctl explain`: why a call is valid or not: every check in order, of a message, a header, a capture or the log."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import click
from click.core import ParameterSource

from kamailio_app import sip
from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.errors import FAILURES, StirError, failure
from kamailio_app.explain import report
from kamailio_app.explain.capture import CapturedCall, captured_calls
from kamailio_app.explain.explanation import Explanation, completed, explain, urls
from kamailio_app.explain.judge import Edge
from kamailio_app.explain.log import FINE as FINE_OUTCOMES
from kamailio_app.explain.log import LONGEST_LINE, Log, read_log
from kamailio_app.explain.message import MAX_OCTETS, Message, read_message
from kamailio_app.explain.recognise import HEAD, Kind, identity_values, recognise, unrecognised
from kamailio_app.explain.report import Clock
from kamailio_app.explain.sources import Sources
from kamailio_app.policy.treatment import TreatmentRules
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.settings import Settings
from kamailio_app.sip import Request

_STDIN: Final = "-"
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


class _Moment(click.ParamType[float]):
    """A moment: ISO 8601 (UTC unless it says otherwise), a SIP-date, seconds since 1970, or now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value == "now":
            return time.time()
        try:
            if value.isdecimal():
                found = datetime.fromtimestamp(int(value), UTC)
            elif "," in value:
                found = datetime.fromtimestamp(sip.parse_date(value), UTC)
            else:
                found = datetime.fromisoformat(value)
                found = found if found.tzinfo else found.replace(tzinfo=UTC)
            seconds = found.timestamp()
        except (ValueError, OverflowError, OSError, StirError):
            self.fail(
                f"{value!r} is none of 2026-11-29T20:00:00Z, 'Sun, 29 Nov 2026 20:00:00 GMT', 1795982400 and now", param, ctx
            )
        if seconds < 0:
            self.fail("times begin with 1970", param, ctx)
        return seconds


@dataclass(frozen=True)
class _Task:
    """What was asked for."""

    settings: Settings
    sources: Sources
    rules: TreatmentRules
    at: float | None
    call_id: str
    as_json: bool

    def edge(self, wanted: Iterable[str]) -> Edge:
        if self.sources.live and sys.stderr.isatty():
            click.echo("fetching ...", err=True)
        trusted = self.sources.prepare(wanted)
        for remark in trusted.remarks:
            click.echo(remark, err=True)
        return Edge(self.settings, trusted.anchors, trusted.revocations, self.sources.find)


@click.command()
@click.argument("file", required=False)
@click.option("--identity", metavar="TEXT", help="An Identity header field, instead of FILE.")
@click.option("--from", "caller", metavar="URI", help="Who calls, where an Identity header comes without its request.")
@click.option("--to", "called", metavar="URI", help="Who is called, likewise.")
@click.option("--date", metavar="SIP-DATE", help="The Date header, likewise.")
@click.option("--type", "kind", type=click.Choice([kind.value for kind in Kind]), help="What FILE is, if it is not seen.")
@click.option("--at", type=_Moment(), metavar="TIME", help="As of when; if not said, the Date or the capture's time.")
@click.option("--certificate", type=_FILE, metavar="FILE", help="The signer's chain in PEM, whatever its URL.")
@click.option(
    "--chain-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Chains in PEM, named like the end of their URL.",
)
@click.option("--fetch", is_flag=True, help="Fetch certificates, trust list and CRL now, under the settings' rules.")
@click.option("--ca", type=_FILE, metavar="FILE", help="Trust these roots (PEM), instead of what the settings name.")
@click.option("--trunk", default="", metavar="NAME", help="The call's trunk, for the rules of [trunk.NAME].")
@click.option("--call-id", default="", metavar="ID", help="Of a capture or log: this call, in full.")
@click.option("--timeout", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds that a capture may take.")
@settings_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: str | None,
    identity: str | None,
    caller: str | None,
    called: str | None,
    date: str | None,
    kind: str | None,
    at: float | None,
    certificate: Path | None,
    chain_dir: Path | None,
    fetch: bool,
    ca: Path | None,
    trunk: str,
    call_id: str,
    timeout: float,
    settings: Path,
    as_json: bool,
) -> None:
    """Explain why a call is valid or not: every check in order, with what was seen, its clause, the SIP code and what to do.

    FILE (or standard input) is a SIP message, an Identity header, a capture (pcap, pcapng; needs tshark), a line or a whole
    file of Kamailio's log, or just a token; or a response, for its Reason header. The verdict is the one of an edge with the
    same settings; without settings, with the defaults. Certificates come from --certificate, --chain-dir, --fetch, or from what
    the edge on this host has kept; without any the checks behind them are not looked at.

    \b
    shakenctl explain invite.txt --fetch
    shakenctl explain --identity "eyJhbGciOi...;info=<https://...>" --from +12155550121 --to +12155550131
    shakenctl explain calls.pcap --call-id 8f3a@192.0.2.1
    journalctl -u kamailio | shakenctl explain -
    shakenctl explain x5u_timeout

    Exit status: 0 valid; 1 not valid or not decided (or any call of a capture, any line of a log); 3 it cannot be read.
    """
    if file is None and identity is None and not sys.stdin.isatty():
        file = _STDIN
    if (file is None) == (identity is None):
        raise click.UsageError("Name a FILE (or -), or give --identity.")
    if file is not None and file in FAILURES and not Path(file).exists():
        emit(report.token_data(file), as_json, lambda: report.token_lines(str(file)))
        return
    with failures(), _opened(file, identity) as stream:
        head = stream.read(HEAD)
        found = Kind(kind) if kind else Kind.IDENTITY if identity is not None else recognise(head)
        if found is not Kind.IDENTITY and (caller or called or date):
            raise click.UsageError("--from, --to and --date are for an Identity header without its request.")
        if found is Kind.LOG:
            nothing = unrecognised(head, "" if file in (None, _STDIN) else str(file)) if kind is None else None
            _log(chain([head], iter(lambda: stream.read(HEAD), b"")), call_id, as_json, nothing)
            return
        known, remarks = _settings(settings, chosen=ctx.get_parameter_source("settings") is not ParameterSource.DEFAULT)
        if trunk and trunk not in known.trunks:
            remarks.append(f"There is no [trunk.{trunk}]: its calls are treated as [verification] says.")
        for remark in remarks:
            click.echo(remark, err=True)
        sources = Sources(known, file=certificate, directory=chain_dir, live=fetch, ca=ca)
        task = _Task(known, sources, known.trunks.get(trunk, known.treatment), at, call_id, as_json)
        if found is Kind.CAPTURE:
            with _on_disk(file, head, stream) as path:
                _capture(task, path, timeout)
            return
        octets = head + stream.read(MAX_OCTETS)
        if found is Kind.MESSAGE:
            message = read_message(octets)
            if message.code:
                _response(message, as_json)
            _call(task, message.request(), frozenset())
        else:
            values = identity_values(octets.decode("utf-8", "replace"))
            request = Request("INVITE", "", _uri(caller), _uri(called), identity=values, date=date)
            _call(task, *completed(request, known.verification.plan))


# --- What is given ----------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: str | None, identity: str | None) -> Iterator[IO[bytes]]:
    if identity is not None:
        yield io.BytesIO(identity.encode("utf-8", "replace"))
    elif file == _STDIN:
        yield sys.stdin.buffer
    else:
        with _readable(Path(str(file))) as stream:
            yield stream


def _readable(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        near = get_close_matches(str(path), FAILURES, 1)
        token = f"If a token is meant: shakenctl explain {near[0]}" if near else ""
        raise failure("input_unreadable", f"{path}: {error.strerror}", token) from error


@contextmanager
def _on_disk(file: str | None, head: bytes, stream: IO[bytes]) -> Iterator[Path]:
    """The capture as a file: tshark may look at it twice."""
    if file != _STDIN:
        yield Path(str(file))
        return
    with tempfile.NamedTemporaryFile(prefix="shakenctl-", suffix=".pcap") as copy:
        copy.write(head)
        shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name)


def _settings(path: Path, *, chosen: bool) -> tuple[Settings, list[str]]:
    """The edge's, or the defaults where there is no edge and nobody named a file."""
    if chosen or os.path.exists(path):
        return settings_file.load(path), []
    return settings_file.parse(path, ""), [f"No {path}: explained with the default settings; --settings FILE names others."]


def _uri(text: str | None) -> str:
    """A URI, whatever is around it; a number alone is one, too."""
    if not text:
        return ""
    return next(iter(sip.uris(text)), "") if ":" in text else f"tel:{text.strip()}"


# --- One call ---------------------------------------------------------------------------------------------------------


def _call(task: _Task, request: Request, assumed: frozenset[str]) -> None:
    clock = _clock(task, request)
    edge = task.edge(urls(request, task.settings.verification))
    told = explain(request, edge, clock.now, task.rules, assumed=assumed)
    _show(told, clock, task.as_json)


def _show(told: Explanation, clock: Clock, as_json: bool) -> None:
    emit(report.call_data(told, clock), as_json, lambda: report.call_lines(told, clock))
    sys.exit(FINE if told.valid else NO)


def _clock(task: _Task, request: Request, captured: float | None = None) -> Clock:
    if task.at is not None:
        return Clock(task.at, "the time given with --at")
    if captured is not None:
        return Clock(captured, "when it was captured")
    if request.date is not None:
        try:
            return Clock(sip.parse_date(request.date), "the request's Date; --at now for this moment")
        except StirError:
            return Clock(time.time(), "now, for its Date cannot be read")
    return Clock(time.time(), "now, for there is no Date; --at for another moment")


def _response(message: Message, as_json: bool) -> NoReturn:
    """RFC 9410: what the far end says of our PASSporTs. Errors: `input_unrecognised`."""
    reasons = [value for value in message.values("reason") if "stir" in value.lower()]
    if not reasons:
        raise failure(
            "input_unrecognised", f"a response, {message.code}, without Reason: STIR; the request is what is verified"
        )
    data = [report.cause_data(reason) for reason in reasons]
    emit(data, as_json, lambda: (line for reason in reasons for line in report.cause_lines(reason)))
    sys.exit(NO)


# --- A capture --------------------------------------------------------------------------------------------------------


def _capture(task: _Task, path: Path, seconds: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"reading {path} with tshark ...", err=True)
    remarks: list[str] = []
    calls = captured_calls(path, seconds, remarks)
    for remark in remarks:
        click.echo(remark, err=True)
    if task.call_id:
        calls = [call for call in calls if call.packet.message.call_id == task.call_id]
    requests = [call.packet.message.request() for call in calls]
    edge = task.edge(url for request in requests for url in urls(request, task.settings.verification))
    if task.call_id:
        _captured_in_full(task, edge, calls)
        return
    rows = []
    hidden = not sys.stderr.isatty()
    with click.progressbar(list(zip(calls, requests, strict=True)), label="explaining", file=sys.stderr, hidden=hidden) as bar:
        for call, request in bar:
            clock = _clock(task, request, call.packet.at)
            rows.append(report.captured_row(call, explain(request, edge, clock.now, task.rules, deep=False)))
    counted = report.counts(rows)
    emit({"calls": rows, "counts": counted}, task.as_json, lambda: _table(rows, counted))
    sys.exit(FINE if rows and all(row["valid"] for row in rows) else NO)


def _captured_in_full(task: _Task, edge: Edge, calls: list[CapturedCall]) -> None:
    told = []
    for call in calls:
        request = call.packet.message.request()
        clock = _clock(task, request, call.packet.at)
        told.append((call, explain(request, edge, clock.now, task.rules), clock))
    data = [{**report.captured_row(call, one), **report.call_data(one, clock)} for call, one, clock in told]

    def lines() -> Iterator[str]:
        if not told:
            yield "no such call"
        for call, one, clock in told:
            far_end = f"answered {call.code}" if call.code else "not answered"
            sent = "sent once" if call.times == 1 else f"sent {call.times} times"
            yield f"{call.packet.source} > {call.packet.destination}, {sent}, {far_end}"
            yield from report.call_lines(one, clock)
            yield ""

    emit(data, task.as_json, lines)
    sys.exit(FINE if told and all(one.valid for _call, one, _clock in told) else NO)


def _table(rows: list[dict[str, Any]], counted: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "no initial INVITE in it"
        return
    yield from table(report.CALL_HEAD, (report.captured_cells(row) for row in rows))
    yield ""
    yield from table(report.COUNT_HEAD, ((row["calls"], row["token"], row["meaning"]) for row in counted))


# --- The log ----------------------------------------------------------------------------------------------------------


def _log(pieces: Iterable[bytes], call_id: str, as_json: bool, nothing: StirError | None) -> None:
    """`nothing`: what is said if no line of it is one of ours, and nobody has said that it is a log."""
    log = read_log(_text_lines(pieces), call_id)
    if not log.read:
        raise nothing or failure("input_unrecognised", f"none of {log.lines} lines is one of our log")
    data = {
        "lines": log.lines,
        "of_ours": log.read,
        "counts": [
            {**row._asdict(), **report.token_data(row.outcome if row.outcome in FAILURES else "")} for row in log.counts
        ],
        "chosen": [line._asdict() for line in log.chosen],
    }
    emit(data, as_json, lambda: _log_lines(log, call_id))
    fine = all(row.outcome in FINE_OUTCOMES for row in log.counts) if not call_id else bool(log.chosen)
    sys.exit(FINE if fine else NO)


def _text_lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Line by line, however long the file; what is longer than any line of ours is cut."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
        rest = rest[:LONGEST_LINE]
    if rest:
        yield rest.decode("utf-8", "replace")


def _log_lines(log: Log, call_id: str) -> Iterator[str]:
    if call_id:
        if not log.chosen:
            yield "no line of this call"
        for line in log.chosen:
            yield from report.line_lines(line)
        return
    if log.read == 1 and log.last is not None:
        yield from report.line_lines(log.last)
        return
    rows = ((row.times, row.what or "other", row.outcome, row.call_id) for row in log.counts)
    yield from table(("LINES", "OF", "OUTCOME", "LAST CALL-ID"), rows)
    for token in dict.fromkeys([row.outcome for row in log.counts if row.outcome in FAILURES]):
        yield ""
        yield from report.token_lines(token)
