"""`shakenctl onboard`: the checklist from a registered company to signed calls, and what is next."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from kamailio_app.cli.output import FINE, NO, Command, emit, failures, json_option, settings_option, table
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.checklist import (
    NOTHING,
    Note,
    Standing,
    State,
    Step,
    Verdict,
    checked_value,
    following,
    next_due,
    stand,
)
from kamailio_app.lifecycle.checklist_checks import looks, published
from kamailio_app.lifecycle.checklist_notes import FILE, editing, read_notes, with_proof
from kamailio_app.lifecycle.checklist_sight import look_around
from kamailio_app.lifecycle.checklist_steps import COUNTRIES, steps_of
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.settings import DEFAULT_PATH, Settings

_HEAD: Final = ("", "STEP", "STATE", "WHAT IT IS")
_MARKS: Final = {State.VERIFIED: "+", State.DONE: "+", State.NOT_NEEDED: "-", State.OVERDUE: "!", State.CONTRADICTED: "!"}
_SIGNS: Final = {Verdict.VERIFIED: "+", Verdict.FITS: "+", Verdict.CONTRADICTED: "!", Verdict.UNKNOWN: "?"}
_TEXT: Final = 500  # characters of free words


@dataclass
class _Desk:
    """The settings (defaults where there is no file yet), the country and its steps."""

    known: Settings
    country: str
    steps: tuple[Step, ...]
    remarks: tuple[str, ...]
    as_json: bool
    without_settings: bool = False

    @property
    def state_dir(self) -> Path:
        return self.known.provider.state_dir

    def step(self, name: str) -> Step:
        """Errors: click.BadParameter."""
        found = next((step for step in self.steps if step.id == name), None)
        if found is None:
            known = [step.id for step in self.steps]
            close = get_close_matches(name.lower(), known, 2)
            words = f"did you mean {' or '.join(close)}? There are" if close else "there are"
            raise click.BadParameter(
                f"{one_line(name, 60)!r} is no step of {self.country}; {words} {', '.join(known)}", param_hint="STEP"
            )
        return found

    def standings(self, now: float, *, fetch: bool = False) -> tuple[tuple[Standing, ...], tuple[str, ...]]:
        """Where every step stands, and remarks."""
        notes = read_notes(self.state_dir).of(self.country)
        if self.country != self.known.provider.country:
            about = f"the settings are for {self.known.provider.country}: nothing of this host was looked at"
            return stand(self.steps, notes, {}, _day(now)), (*self.remarks, about)
        if fetch and sys.stderr.isatty():
            click.echo("fetching the STI-PA's list and what is published ...", err=True)
        here = look_around(self.known, self.country, notes, now, fetch=fetch)
        seen = looks(self.steps, notes, here)
        if fetch:
            seen["publication"] += published(here, self.known)
        unknown = sorted(notes.keys() - {step.id for step in self.steps})
        more = [f"noted of steps that this version does not know: {', '.join(unknown)}"] if unknown else []
        return stand(self.steps, notes, seen, _day(now)), (*self.remarks, *here.troubles, *more)


class _Words(click.ParamType[str]):
    """Words of one line."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) > _TEXT or not value.isprintable():
            self.fail(f"takes one line of at most {_TEXT} characters", param, ctx)
        return str(value)


class _Date(click.ParamType[str]):
    """2026-12-01."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            self.fail(f"{value!r} is no date like 2026-12-01", param, ctx)


class _StepName(click.ParamType[str]):
    """The id of a step, completed by the shell from those of all countries."""

    name = "step"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        titles = {step.id: step.title for steps in COUNTRIES.values() for step in steps}
        return [CompletionItem(name, help=title) for name, title in titles.items() if name.startswith(incomplete)]


def _at_a_desk(command: Command) -> Command:
    """The command with the desk as parameter `desk`. Its options may also stand before the subcommand."""

    @wraps(command)
    def with_desk(**parameters: Any) -> None:
        ctx = click.get_current_context()
        names = ("settings", "country", "as_json")
        settings, country, as_json = (_given(ctx, name, parameters.pop(name)) for name in names)
        if ctx.invoked_subcommand is None:
            with failures():
                command(desk=_desk(settings, country, as_json), **parameters)

    option = click.option(
        "--country", type=click.Choice(list(COUNTRIES)), help="Whose steps, instead of the settings' [provider] country."
    )
    return settings_option(option(json_option(with_desk)))


def _given(ctx: click.Context, name: str, value: Any) -> Any:
    before = ctx.parent
    if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE and before is not None and name in before.params:
        return before.params[name] if before.get_parameter_source(name) is ParameterSource.COMMANDLINE else value
    return value


def _desk(path: Path, country: str | None, as_json: bool) -> _Desk:
    """Errors: those of `settings.load` and `steps_of`. Where a newcomer has none yet, these are the defaults."""
    remarks: tuple[str, ...] = ()
    if path.exists() or path != DEFAULT_PATH:
        known = settings_file.load(path)
    else:
        known = settings_file.parse(path, "")
        remarks = (f"there are no settings yet at {path}: copy cfg/stirshaken.toml there and fill in [provider]",)
    country = country or known.provider.country
    return _Desk(known, country, steps_of(country), remarks, as_json, bool(remarks))


def _values_and_proofs(command: Command) -> Command:
    """What can be noted of a step."""
    for decorator in (
        click.option("--text", type=_Words(), help="A remark of your own."),
        click.option("--until", type=_Date(), metavar="DATE", help="When it ends or is due again: then it becomes overdue."),
        click.option(
            "--file",
            "files",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="PROOF",
            help="A proof: its path, digest and today's date are noted. Can be given several times.",
        ),
        click.argument("values", nargs=-1, metavar="[KEY=VALUE]..."),
        click.argument("name", type=_StepName(), metavar="STEP"),
    ):
        command = decorator(command)
    return command


@click.group("onboard", invoke_without_command=True)
@click.option(
    "--fetch", is_flag=True, help="Fetch the STI-PA's list, and the chains where they are published, as strangers would."
)
@_at_a_desk
def command(*, desk: _Desk, fetch: bool) -> None:
    """The checklist to a signing certificate: where you are, what is next, and the command for it.

    Each step says what it needs, where it is done and what can be checked on this host; what you note is kept in
    provider_state_dir. Without a subcommand it shows the list. Exit status 1 if something is contradicted or overdue.

    \b
    Examples:
      shakenctl onboard
      shakenctl onboard --country CA
      shakenctl onboard --fetch --json
    """
    standings, remarks = desk.standings(time.time(), fetch=fetch)
    emit(_list_as_data(desk, standings, remarks), desk.as_json, lambda: _list_as_text(desk, standings, remarks))
    sys.exit(NO if any(each.wrong for each in standings) else FINE)


@command.command()
@click.argument("name", type=_StepName(), metavar="STEP")
@_at_a_desk
def show(*, desk: _Desk, name: str) -> None:
    """All about one step: what it needs, where it is done, what is known, what you noted, what is seen here.

    \b
    Example:
      shakenctl onboard show ocn
    """
    _show(desk, desk.step(name))


@command.command()
@_values_and_proofs
@_at_a_desk
def note(*, desk: _Desk, name: str, values: Sequence[str], **said: Any) -> None:
    """Note what you know of a step: numbers, proofs, when it is due again. KEY= takes a value back.

    \b
    Examples:
      shakenctl onboard note frn frn=0012345678
      shakenctl onboard note 499a filer_id=812345 --file receipt.pdf --until 2027-04-01
    """
    step = desk.step(name)
    if not values and not any(said.values()):
        raise click.UsageError("Note what? Give KEY=VALUE, --file, --until or --text.")
    _change(desk, step, lambda former: _noted(step, former, values, **said))


@command.command()
@click.option("--on", "day", type=_Date(), metavar="DATE", help="When it was done, instead of today.")
@_values_and_proofs
@_at_a_desk
def done(*, desk: _Desk, name: str, day: str | None, values: Sequence[str], **said: Any) -> None:
    """Say that a step is done; takes what `note` takes.

    \b
    Examples:
      shakenctl onboard done ocn ocn=1234
      shakenctl onboard done rmd --on 2026-02-20 --until 2027-03-01
    """
    step = desk.step(name)
    today = _day(time.time())
    if day is not None and date.fromisoformat(day) > today:
        raise click.BadParameter("that is still to come", param_hint="--on")
    _change(
        desk,
        step,
        lambda former: replace(_noted(step, former, values, **said), done=day or today.isoformat(), not_needed=""),
    )


@command.command()
@click.argument("name", type=_StepName(), metavar="STEP")
@_at_a_desk
def undo(*, desk: _Desk, name: str) -> None:
    """Take back that a step is done or not needed. What was noted of it stays.

    \b
    Example:
      shakenctl onboard undo rmd
    """
    _change(desk, desk.step(name), lambda former: replace(former, done="", not_needed=""))


@command.command("not-needed")
@click.argument("name", type=_StepName(), metavar="STEP")
@click.option("--why", required=True, type=_Words(), help="The reason, for whoever asks later.")
@_at_a_desk
def not_needed(*, desk: _Desk, name: str, why: str) -> None:
    """Say that a step is not yours to do, and why. It is not checked any more.

    \b
    Example:
      shakenctl onboard not-needed numbers --why 'numbers are assigned by our carrier'
    """
    if not why.strip():
        raise click.BadParameter("is empty", param_hint="--why")
    _change(desk, desk.step(name), lambda former: replace(former, done="", not_needed=why))


# --- Changes --------------------------------------------------------------------------------------------------------


def _change(desk: _Desk, step: Step, change: Callable[[Note], Note]) -> None:
    """Errors: `settings_unreadable` where there are none: nobody would look for the notes in the place of the defaults."""
    if desk.without_settings:
        settings_file.load(desk.known.path)
    with editing(desk.state_dir) as notes:
        former = notes[0].of(desk.country).get(step.id, NOTHING)
        notes[0] = notes[0].with_note(desk.country, step.id, change(former))
    _show(desk, step, brief=True)


def _noted(
    step: Step, former: Note, values: Sequence[str], *, files: Sequence[Path], until: str | None, text: str | None
) -> Note:
    """Errors: `checklist_value_invalid`, `checklist_proof_unreadable`."""
    held = dict(former.values)
    for word in values:
        key, is_pair, value = word.partition("=")
        if not is_pair:
            raise click.BadParameter(f"{one_line(word, 60)!r} is not KEY=VALUE", param_hint="KEY=VALUE")
        if value:
            held[key] = checked_value(step, key, value)
        else:
            held.pop(key, None)
    noted = replace(former, values=held, until=former.until if until is None else until)
    for file in files:
        noted = with_proof(noted, file, _day(time.time()))
    return noted if text is None else replace(noted, text=text)


# --- What is said ---------------------------------------------------------------------------------------------------


def _show(desk: _Desk, step: Step, *, brief: bool = False) -> None:
    standings, _remarks = desk.standings(time.time())
    standing = next(each for each in standings if each.step is step)
    emit(_as_data(standing), desk.as_json, lambda: _brief(standing) if brief else _as_text(standing))
    sys.exit(NO if standing.wrong else FINE)


def _list_as_data(desk: _Desk, standings: tuple[Standing, ...], remarks: tuple[str, ...]) -> dict[str, Any]:
    after = following(standings)
    return {
        "country": desk.country,
        "provider_name": desk.known.provider.name,
        "spc": desk.known.provider.spc,
        "file": str(desk.state_dir / FILE),
        "fine": not any(each.wrong for each in standings),
        "next": after.step.id if after else None,
        "steps": [_as_data(each) for each in standings],
        "remarks": list(remarks),
    }


def _as_data(standing: Standing) -> dict[str, Any]:
    step, noted = standing.step, standing.note
    return {
        "step": step.id,
        "title": step.title,
        "state": standing.state.value,
        "why": list(standing.why),
        "blocked_by": list(standing.blocked_by),
        "purpose": step.purpose,
        "needs": list(step.needs),
        "where": step.where,
        "takes": step.takes,
        "gives": step.gives,
        "commands": list(step.commands),
        "fields": [{"name": each.name, "what": each.what, "form": each.form, "source": each.source} for each in step.fields],
        "facts": [fact._asdict() for fact in step.facts],
        "checked": step.checked,
        "seen": [{"verdict": look.verdict.value, "words": look.words} for look in standing.seen],
        "mends": list(standing.mends),
        "done": noted.done,
        "not_needed": noted.not_needed,
        "until": noted.until,
        "due_in": standing.due_in,
        "text": noted.text,
        "values": dict(noted.values),
        "proofs": [proof._asdict() for proof in noted.proofs],
    }


def _list_as_text(desk: _Desk, standings: tuple[Standing, ...], remarks: tuple[str, ...]) -> Iterator[str]:
    who = ", ".join(filter(None, (desk.known.provider.name, desk.known.provider.spc and f"SPC {desk.known.provider.spc}")))
    count = sum(each.behind for each in standings)
    yield f"{desk.country}{f': {one_line(who)}' if who else ''}; {count} of {len(standings)} steps are behind you"
    yield ""
    yield from table(_HEAD, ((_MARKS.get(each.state, ""), each.step.id, _state(each), each.step.title) for each in standings))
    yield ""
    for each in standings:
        if each.wrong or each.due_in is not None:
            yield from (f"! {each.step.id}: {one_line(words)}" for words in each.why if each.state is not State.VERIFIED)
    yield from (f"? {one_line(remark)}" for remark in remarks)
    after = following(standings)
    if after is None:
        yield "Nothing is left to do but to stay registered and to renew: shakenctl doctor looks at the whole."
        return
    yield f"Next: {after.step.id}, {after.step.title}; where: {after.step.where}"
    yield from (f"  {line}" for line in _ways_on(after))


def _state(standing: Standing) -> str:
    if standing.state is State.DONE:
        return f"done {standing.note.done}"
    if standing.state is State.BLOCKED:
        return f"after {', '.join(standing.blocked_by)}"
    return standing.state.value


def _ways_on(standing: Standing) -> Iterator[str]:
    """The commands that bring a step on."""
    step = standing.step
    yield from map(one_line, standing.mends)
    if not standing.mends:
        yield from step.commands
    wanted = " ".join(f"{each.name}=..." for each in step.fields if each.name not in standing.note.values)
    if standing.state is State.OPEN:
        yield f"shakenctl onboard done {step.id}{f' {wanted}' if wanted else ''}"
    yield f"shakenctl onboard show {step.id}"


def _brief(standing: Standing) -> Iterator[str]:
    yield f"{standing.step.id}: {_state(standing)}"
    yield from (f"  {one_line(words)}" for words in standing.why)
    yield from (f"  -> {one_line(mend)}" for mend in standing.mends)
    again = next_due(standing.step, date.fromisoformat(standing.note.done)) if standing.note.done else None
    if again is not None and not standing.note.until:
        yield f"  it is due each year; to be reminded: shakenctl onboard note {standing.step.id} --until {again}"
    missing = [each.name for each in standing.step.fields if each.name not in standing.note.values]
    if missing and standing.state is State.DONE:
        yield f"  not noted yet: {', '.join(missing)}"


def _as_text(standing: Standing) -> Iterator[str]:
    step, noted = standing.step, standing.note
    yield f"{step.id}: {step.title}: {_state(standing)}"
    yield from (f"  {one_line(words)}" for words in standing.why)
    yield from (f"  -> {one_line(mend)}" for mend in standing.mends)
    yield ""
    rows = (
        ("What for", step.purpose),
        ("Needs", ", ".join(step.needs) or "nothing"),
        ("Where", step.where),
        ("Takes", step.takes),
        ("Gives", step.gives),
        ("Checked here", step.checked),
    )
    yield from (f"{name + ':':13} {text}" for name, text in rows if text)
    yield from (f"Note:         {each.name}=, {each.what}: {each.form} ({each.source})" for each in step.fields)
    yield from (f"Fact:         {_fact(fact)}" for fact in step.facts)
    yield from (f"Command:      {line}" for line in step.commands)
    yield from _noted_as_text(noted)
    yield from (f"Seen here:    {_SIGNS[look.verdict]} {one_line(look.words)}" for look in standing.seen)


def _fact(fact: Any) -> str:
    source = f"{fact.source}{f', {fact.as_of}' if fact.as_of else ''}"
    return f"{fact.text} [{source}{'' if fact.confirmed else '; not confirmed'}]"


def _noted_as_text(noted: Note) -> Iterator[str]:
    """People may have written to the file by hand."""
    yield from (f"Noted:        {one_line(name)}={one_line(value)}" for name, value in noted.values.items())
    yield from (f"Noted:        {one_line(proof.file)} of {proof.noted}" for proof in noted.proofs)
    if noted.until:
        yield f"Noted:        until {noted.until}"
    if noted.text:
        yield f"Noted:        {one_line(noted.text)}"


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()
