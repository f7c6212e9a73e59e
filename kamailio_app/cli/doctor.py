"""`shakenctl doctor`: the whole chain of trust of a configured edge in one table, with what to do where it is not good."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, UNUSABLE, emit, json_option, settings_option, table
from kamailio_app.doctor.checks import AREAS
from kamailio_app.doctor.examination import examine, worst
from kamailio_app.doctor.files import START
from kamailio_app.doctor.finding import Finding, State
from kamailio_app.doctor.site import DEFAULT_NTP, Site
from kamailio_app.lifecycle.server import DEFAULT_CONTROL

_HEAD: Final = ("STATE", "AREA", "CHECK", "SEEN")
_COLOURS: Final = {State.GOOD: "green", State.UNSEEN: "yellow", State.WARNING: "yellow", State.BAD: "red"}


@click.command("doctor")
@click.option(
    "--only",
    "areas",
    multiple=True,
    type=click.Choice(AREAS),
    help="Look at this area alone; may be given several times.",
)
@click.option("--offline", is_flag=True, help="Ask nothing outside of this host: no repository, no STI-PA, no NTP server.")
@click.option("--fetch", is_flag=True, help="Verify the self-call also with the chain as it is published at this moment.")
@click.option(
    "--control",
    default=DEFAULT_CONTROL,
    show_default=True,
    metavar="SOCKET",
    help="Kamailio's control socket, as kamcmd takes it.",
)
@click.option("--no-server", is_flag=True, help="No Kamailio is to run on this host: ask none, and miss none.")
@click.option("--ntp", default=DEFAULT_NTP, show_default=True, metavar="HOST", help="The NTP server to compare the clock with.")
@click.option("--user", default="", metavar="NAME", help="Kamailio's user. [default: that of the running one, else kamailio]")
@settings_option
@json_option
def command(
    *,
    areas: tuple[str, ...],
    offline: bool,
    fetch: bool,
    control: str,
    no_server: bool,
    ntp: str,
    user: str,
    settings: Path,
    as_json: bool,
) -> None:
    """Is everything right with this edge? Files, pairs, trust, publication, clock, server, and a call to itself.

    Changes nothing, and takes half a minute at most. Run it on the edge, as root or as Kamailio's user. Each line says
    what was seen; where it is not good, the next line says what to do. "not looked at" is no judgement: what it takes to look
    was not at hand. A Kamailio that does not answer is bad, but for --offline and --no-server. cfg/DOCTOR.md has all checks.

    Exit status 0 nothing is bad, 1 something is, 3 the server would not start with these settings.

    \b
    Examples:
      shakenctl doctor
      shakenctl doctor --offline --only pairs --only self-call
      shakenctl doctor --settings /etc/kamailio/stirshaken.toml --json
    """
    site = Site(settings, offline=offline, fetch=fetch, served=not no_server, control=control, ntp=ntp, user=user)
    findings = examine(site, areas, told=_progress)
    emit(_data(findings), as_json, lambda: _lines(findings))
    if site.mistakes or any(each.check == START and each.state is State.BAD for each in findings):
        sys.exit(UNUSABLE)
    sys.exit(NO if worst(findings) is State.BAD else FINE)


def _progress(done: int, of: int) -> None:
    """On a terminal alone, and gone when it is over."""
    if sys.stderr.isatty():
        click.echo(f"\r{'' if done == of else f'{done} of {of} checks'}\x1b[K", err=True, nl=False)


def _data(findings: Sequence[Finding]) -> dict[str, Any]:
    counted = Counter(str(finding.state) for finding in findings)
    return {
        "findings": [finding._asdict() for finding in findings],
        "summary": {str(state): counted[state] for state in State},
        "fine": worst(findings) is not State.BAD,
    }


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    shown = list(_merged(findings))
    head, *rows = table(_HEAD, [(each.state, each.area, each.check, each.seen) for each in shown])
    yield head
    indent = " " * head.index(_HEAD[-1])
    for finding, row in zip(shown, rows, strict=True):
        state = str(finding.state)
        yield click.style(state, fg=_COLOURS[finding.state]) + row[len(state) :]
        if finding.fix:
            yield f"{indent}-> {finding.fix} [{finding.clause}]"
    counted = Counter(finding.state for finding in findings)
    yield ", ".join(f"{counted[state]} {state}{'s' * (state is State.WARNING and counted[state] != 1)}" for state in State)


def _merged(findings: Sequence[Finding]) -> Iterator[Finding]:
    """What keeps several checks of an area from looking is said once."""
    for (_area, state, _seen), group in groupby(findings, key=lambda each: (each.area, each.state, each.seen)):
        same = list(group)
        if state is State.UNSEEN and len(same) > 1:
            yield same[0]._replace(check=f"{same[0].check}, {len(same) - 1} more")
        else:
            yield from same
