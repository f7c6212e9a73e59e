"""`shakenctl trace`: which calls of the record bear this origid, number or Call-ID: what a traceback request asks for."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import printable
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.record_search import Found, Question, search
from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn

_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FIELDS: Final = (
    *("time", "call_id", "trunk", "customer", "orig", "dest", "attest", "origid"),
    *("spc", "fingerprint", "rule", "us", "token", "result", "x5u"),
)
_SHOWN: Final = ("time", "orig", "dest", "attest", "result", "token", "trunk", "customer", "origid", "call_id")
_LAST_OF_DAY: Final = 86400 - 0.001
# A spreadsheet takes such a cell for a formula; Call-IDs are written by strangers
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class _Time(click.ParamType[float]):
    """ISO date or date and time, UTC unless it says otherwise; or how long ago: 90m, 12h, 7d. Gives seconds since 1970."""

    name = "time"

    def __init__(self, *, whole_day: bool = False) -> None:
        self._whole_day = whole_day  # a date means its end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if ago := _AGO.fullmatch(value):
            return time.time() - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
        try:
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is none of 2026-11-23, 2026-11-23T23:30:00Z, 90m, 12h and 7d", param, ctx)
        if seconds < 0:
            self.fail("times begin with 1970", param, ctx)
        return seconds + (_LAST_OF_DAY if self._whole_day and _is_date(value) else 0)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


@click.command()
@click.option("--origid", default="", metavar="UUID", help="The origination identifier of its PASSporT.")
@click.option("--orig", default="", metavar="NUMBER", help="Who called.")
@click.option("--dest", default="", metavar="NUMBER", help="Who was called.")
@click.option("--call-id", default="", metavar="ID", help="The SIP Call-ID.")
@click.option("--since", type=_Time(), default=0.0, metavar="TIME", help="2026-11-23, 2026-11-23T23:30:00Z, or 12h or 7d ago.")
@click.option("--until", type=_Time(whole_day=True), metavar="TIME", help="The same; a date means its end. Times are UTC.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The latest so many.")
@click.option("--csv", "csv_file", type=click.File("w", lazy=True), metavar="FILE", help="Write all fields there, or to -.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the record lies, instead of record_dir.")
@json_option
@settings_option
def command(
    *,
    origid: str,
    orig: str,
    dest: str,
    call_id: str,
    since: float,
    until: float | None,
    limit: int,
    csv_file: Any,
    directory: Path | None,
    as_json: bool,
    settings: Path,
) -> None:
    """Find calls in the record: by origid, number or Call-ID; all that is given must fit.

    Works beside the server that goes on recording, and changes nothing. Exit status 1 if nothing was found.

    \b
    Examples:
      shakenctl trace --orig 12155550121 --since 7d
      shakenctl trace --origid bb4fe0bc-34fd-4194-8c26-cfb6d1b6f08d --csv -
    """
    if not any((origid, orig, dest, call_id)):
        raise click.UsageError("what to look for? Give --origid, --orig, --dest or --call-id")
    with failures():
        plan, advice = AS_WRITTEN, ""
        if directory is None:
            loaded = settings_file.load(settings)
            directory, plan = loaded.record.directory, loaded.signing.plan
            if not loaded.record.calls:
                advice = "Nothing is recorded: record_calls is off. Set `record_calls = true` in [record]."
        words = {"origid": origid.lower(), "call_id": call_id, "orig": _number(orig, plan), "dest": _number(dest, plan)}
        until = until if until is not None else Question._field_defaults["until"]
        try:
            found = search(directory, Question(words, since, until, limit))
        except StirError as error:
            raise failure(error.token, error.detail, advice) from error
    if csv_file is not None:
        writer = csv.DictWriter(csv_file, _FIELDS, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_cells(call) for call in found.calls)
    if csv_file is None or as_json:
        emit({"calls": found.calls, "more": found.more, "masked": found.masked}, as_json, lambda: _text(found))
    for remark in _remarks(found, limit):
        click.echo(remark, err=True)
    sys.exit(FINE if found.calls else NO)


def _number(text: str, plan: NumberPlan) -> str:
    """As it stands in the record; a number that is masked there can be asked for as it is."""
    return canonical_tn(text, plan) or text


def _text(found: Found) -> Iterator[str]:
    if not found.calls:
        yield "nothing found"
        return
    yield from table(_SHOWN, ([printable(str(call.get(field, ""))) for field in _SHOWN] for call in found.calls))


def _cells(call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for name, value in call.items()
    }


def _remarks(found: Found, limit: int) -> Iterator[str]:
    if found.more:
        yield f"Earlier calls are not shown (--limit {limit}): give --until, or a higher --limit."
    if found.masked:
        yield "Numbers are recorded without their last digits (record_mask): these are the calls of all numbers that begin so."
    for name in found.unindexed:
        yield f"{name} has no index yet and was read: the recorder makes it."
