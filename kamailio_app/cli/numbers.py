"""`shakenctl numbers`: who may use which number, and which numbers never call: import, look up, examine."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import NO, UNUSABLE, emit, failures, json_option, settings_option, table
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.runtime import number_file, number_postgresql
from kamailio_app.runtime.number_import import Import, Imported
from kamailio_app.runtime.number_rows import Row, csv_rows
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, Numbers
from kamailio_app.runtime.settings import Settings, load
from kamailio_app.tn import AS_WRITTEN, canonical_tn

OPTIONS: Final = {INVENTORY: "inventory_file", DO_NOT_ORIGINATE: "do_not_originate_file"}
_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}
_STDIN: Final = "-"
_HEAD: Final = ("list", "file", "entries", "customers", "segments", "shared", "octets", "imported", "source", "problem")

Rows = tuple[Iterable[Row], Callable[[int], object]]


@click.group()
def command() -> None:
    """The number inventory and the do-not-originate list."""


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), required=False)
@click.option("--from", "url", metavar="URL", help="A PostgreSQL database, postgresql://user@host/database, instead of a file.")
@click.option("--query", help="What to ask the database: select customer, number from ...")
@click.option(
    "--list",
    "kind",
    type=click.Choice(list(OPTIONS)),
    default=INVENTORY,
    show_default=True,
    help="Which of the two lists it is.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write, instead of the settings' one.")
@click.option(
    "--delimiter",
    type=click.Choice(list(_DELIMITERS)),
    default="comma",
    show_default=True,
    help="What stands between the columns of FILE.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad lines out, instead of importing nothing.")
@click.option("--allow-empty", is_flag=True, help="Import a list without numbers.")
@settings_option
@json_option
def import_(
    *,
    file: str | None,
    url: str | None,
    query: str | None,
    kind: str,
    out: Path | None,
    delimiter: str,
    skip_bad: bool,
    allow_empty: bool,
    settings: Path,
    as_json: bool,
) -> None:
    """Import a list from FILE (CSV; - is standard input) or from PostgreSQL, in place of the former one.

    A line is customer,number, and number alone in a do-not-originate list; a header line may name the columns customer and
    number in any order, among others. A number is 12155551212, 1215* (all that begin so) or 12155550000-12155559999. Servers
    take the new list within a second, without a reload; the former one stays beside it as NAME.former, and renamed back it is
    in use again. The database's password comes from PGPASSWORD or ~/.pgpass.

    \b
    Examples:
      shakenctl numbers import numbers.csv
      shakenctl numbers import --list do-not-originate never-calling.csv
    """
    if (file is None) == (url is None):
        raise click.UsageError("Name a FILE (or -), or a database with --from.")
    if (url is None) != (query is None):
        raise click.UsageError("--from and --query go together.")
    began = time.monotonic()
    with failures():
        known = _settings(settings, out)
        plan = known.signing.plan if known is not None else AS_WRITTEN
        job = Import(kind, _source(file, url), out or _place(known, kind), plan, skip_bad, allow_empty)
        with _from_database(url, query, job) if url and query else _from_file(file, job, _DELIMITERS[delimiter]) as rows:
            done = job.run(rows[0], now=time.time(), progress=rows[1])
    data = _told(job, done) | {"seconds": round(time.monotonic() - began, 2)}
    emit(data, as_json, lambda: _lines(data))


@command.command()
@click.argument("number")
@click.option("--file", type=click.Path(path_type=Path), help="Look in this file, instead of those of the settings.")
@settings_option
@json_option
def show(*, number: str, file: Path | None, settings: Path, as_json: bool) -> None:
    """Who may use NUMBER, and whether it is on the do-not-originate list.

    A list that is not imported yet is named, and what it would say left open. Exit status 1: it is on no list.

    \b
    Example: shakenctl numbers show 12155550121
    """
    with failures():
        known = _settings(settings, file)
        canonical = canonical_tn(number, known.signing.plan if known is not None else AS_WRITTEN)
        if not canonical:
            raise click.BadParameter(f"{number!r} is no telephone number", param_hint="NUMBER")
        places = _places(known, file)
        there = [(kind, place) for kind, place in places if place.exists()] or places
        for kind, place in places:
            if (kind, place) not in there:
                click.echo(f"{one_line(str(place))}: the {kind} list is not imported yet", err=True)
        lists = [_usable(place, kind) for kind, place in there]
    customers = [name for numbers in lists for name in numbers.owners(canonical)]
    never: bool | None = any(
        numbers.holds(canonical) for numbers in lists if numbers.about and numbers.about.kind == DO_NOT_ORIGINATE
    )
    if not never and any(kind == DO_NOT_ORIGINATE for kind, place in places if (kind, place) not in there):
        never = None  # nobody knows
    data = {"number": canonical, "customers": customers, "do_not_originate": never}
    emit(data, as_json, lambda: [f"{canonical}: {', '.join(customers) or 'nobody'}{'; it never calls' if never else ''}"])
    if not (customers or never):
        sys.exit(NO)


@command.command()
@click.option("--file", type=click.Path(path_type=Path), help="Examine this file, instead of those of the settings.")
@settings_option
@json_option
def stat(*, file: Path | None, settings: Path, as_json: bool) -> None:
    """What the lists hold and where they are from; every octet is checked. Exit status 3: one cannot be used.

    \b
    Example: shakenctl numbers stat
    """
    with failures():
        lists = [_examined(place, kind) for kind, place in _places(_settings(settings, file), file)]
    emit(lists, as_json, lambda: table(_HEAD, ([row[name] for name in _HEAD] for row in lists)))
    if any(row["problem"] for row in lists):
        sys.exit(UNUSABLE)


def _settings(path: Path, file: Path | None) -> Settings | None:
    """None if there are none and none are needed: the file is named, and its numbers are as they are written."""
    return None if file is not None and not path.exists() else load(path)


def _place(known: Settings | None, kind: str) -> Path:
    place: Path | None = getattr(known, OPTIONS[kind])
    if place is None:
        words = f"Set it in [signing]: `{OPTIONS[kind]} = FILE`. Or name the file with --out."
        raise failure("inventory_unreadable", f"the settings have no {OPTIONS[kind]}", words)
    return place


def _places(known: Settings | None, file: Path | None) -> list[tuple[str, Path]]:
    """The lists that are looked at: their kind, empty if it is to be seen, and file. Errors: `inventory_unreadable`."""
    if file is not None:
        return [("", file)]
    places = [(kind, place) for kind, option in OPTIONS.items() if (place := getattr(known, option)) is not None]
    if not places:
        words = "Set one in [signing], or name the file with --file."
        raise failure("inventory_unreadable", f"the settings have neither {' nor '.join(OPTIONS.values())}", words)
    return places


def _usable(place: Path, kind: str) -> Numbers:
    if not place.exists():
        listed = f" --list {DO_NOT_ORIGINATE}" if kind == DO_NOT_ORIGINATE else ""
        raise failure(
            "inventory_unreadable", f"{place}: not imported yet", f"`shakenctl numbers import{listed} FILE` makes it."
        )
    numbers = Numbers(place, kind)
    numbers.refresh(time.monotonic())
    if numbers.error is not None:
        raise numbers.error
    return numbers


def _examined(place: Path, kind: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_HEAD) | {"list": kind, "file": str(place)}
    try:
        number_file.examine(place)
        about = _usable(place, kind).about
        assert about is not None
    except StirError as error:
        return row | {"problem": str(error)}
    return row | {
        "list": about.kind,
        "entries": about.entries,
        "customers": about.customers,
        "segments": about.segments,
        "shared": about.shared,
        "octets": place.stat().st_size,
        "imported": datetime.fromtimestamp(about.made, UTC).isoformat(timespec="seconds"),
        "source": about.source,
    }


def _source(file: str | None, url: str | None) -> str:
    if url is not None:
        return number_postgresql.source(url)
    return "standard input" if file == _STDIN else str(file)


@contextmanager
def _from_file(file: str | None, job: Import, delimiter: str) -> Iterator[Rows]:
    """The rows of a CSV file, and how far it is read, as a bar on a terminal. Spreadsheets write a byte order mark."""
    with click.open_file(str(file), "rb") as octets:
        text = io.TextIOWrapper(octets, "utf-8-sig", errors="replace", newline="")
        rows = csv_rows(text, job.source, named=job.named, delimiter=delimiter)
        if file == _STDIN:
            yield rows, _count
        else:
            size = Path(str(file)).stat().st_size
            with click.progressbar(length=size, label=job.source, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
                yield rows, lambda _rows: bar.update(octets.tell() - bar.pos)


@contextmanager
def _from_database(url: str, query: str, job: Import) -> Iterator[Rows]:
    yield number_postgresql.rows(url, query, named=job.named), _count


def _count(rows: int) -> None:
    """Nobody knows how many will come."""
    if sys.stderr.isatty():
        click.echo(f"\r{rows:,} rows", err=True, nl=False)


def _told(job: Import, done: Imported) -> dict[str, Any]:
    return {
        "list": job.kind,
        "file": str(job.place),
        "source": job.source,
        "entries": done.about.entries,
        "customers": done.about.customers,
        "segments": done.about.segments,
        "shared": done.about.shared,
        "doubled": done.doubled,
        "bad": done.bad.count,
        "bad_lines": done.bad.first,
        "octets": job.place.stat().st_size,
    }


def _lines(data: dict[str, Any]) -> Iterator[str]:
    yield f"{data['file']}: {data['entries']:,} entries from {data['source']} in {data['seconds']} s"
    if data["list"] == INVENTORY:
        yield f"{data['customers']:,} customers; {data['shared']:,} segments of {data['segments']:,} have several"
    if data["doubled"]:
        yield f"{data['doubled']:,} entries give a customer numbers that he has by another entry"
    if data["bad"]:
        yield f"{data['bad']:,} bad lines are left out:"
        yield from (f"  {line}" for line in data["bad_lines"])
