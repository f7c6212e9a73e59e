"""`shakenctl publish`: chains where verifiers fetch them, and the staged switch from one pair to the next."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from kamailio_app.cli.output import FINE, NO, Command, emit, failures, json_option, settings_option, table
from kamailio_app.errors import FAILURES, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import installation, pairs
from kamailio_app.lifecycle.pairs import Pending
from kamailio_app.lifecycle.publication import Finding, Seen, check
from kamailio_app.lifecycle.rotation import Rotation, Standing, Step
from kamailio_app.lifecycle.server import DEFAULT_CONTROL, Kamailio
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.choice import moment, provider
from kamailio_app.runtime.settings import Settings

_MARKS: Final = {"good": "ok", "warning": "warn", "bad": "BAD", "done": "ok", "waits": "wait", "failed": "BAD"}
_URL: Final = "Mend [signing] public_cert_url: https, a host name, port 443 or 8443, no query."
_SERVE: Final = "cfg/PUBLISHING.md has how nginx or Kamailio serves publication_dir"
_INSPECT: Final = "a chain is PEM, the signer's certificate first, then its issuers; shakenctl inspect says what it is."
# What to do about the first check that is bad
_MENDS: Final = {
    "url": _URL,
    "port": _URL,
    "name": "Make a DNS entry for the host name, or mend [signing] public_cert_url.",
    "address": "Its DNS entry is to be an address of the public internet.",
    "connect": f"Does a web server listen there, and does the firewall let strangers in? {_SERVE}.",
    "tls": f"The web server needs a TLS certificate for that host name that browsers accept. {_SERVE}.",
    "status": f"The web server has to answer this URL with the chain: {_SERVE}.",
    "octets": "Publish this pair's own chain at its URL; a changed certificate needs a new NAME, and so a new URL.",
    "chain": f"Publish the chain as the STI-CA issued it: {_INSPECT}",
    "path": "Ask the STI-CA for the intermediate certificates that belong to it.",
}
_HEAD: Final = ("NAME", "SPC", "STAGE", "NOT AFTER", "NEXT", "WHEN", "X5U")


class _Target(NamedTuple):
    """What is looked at. `expected`: what should stand there; None: any good chain. `staged`: it was published by us, or is not
    ours to publish.
    """

    name: str
    url: str
    expected: bytes | None
    staged: bool = True


def control_option(command: Command) -> Command:
    """`--control SOCKET`, as parameter `control`."""
    return click.option(
        "--control",
        default=DEFAULT_CONTROL,
        show_default=True,
        metavar="SOCKET",
        help="The control socket of the Kamailio that is told to read its certificates again.",
    )(command)


@click.group()
def command() -> None:
    """Publish certificate chains, and switch from one pair to the next without losing a call.

    A new pair is published first; once strangers have been able to fetch it for switch_after seconds it is put into
    certificate_dir and signs; the former one is taken away keep_published_hours after. [publication] in the settings says where
    and how long.

    \b
    From an issued certificate to signed calls:
      shakenctl publish status
      shakenctl publish stage sp1234-20261129
      shakenctl publish switch sp1234-20261129
    or all of it, as far as it goes now, from a timer:
      shakenctl publish advance
    """


@command.command("check")
@click.argument("target", metavar="[NAME|URL]", required=False)
@settings_option
@json_option
def check_(target: str | None, settings: Path, as_json: bool) -> None:
    """Fetch a chain as other providers' verifiers do, and say everything that they could mind.

    NAME is a pair's; its chain has to be what is served. URL may be anybody's. Without either: all pairs. Looked at are URL,
    port, addresses, TLS, status, redirects, media type, caching, size, time, octets, order, path to a trust anchor, profile.
    Exit status 1 if anything is bad: verifiers would do without the chain.

    \b
    Examples:
      shakenctl publish check
      shakenctl publish check sp1234-20261129
      shakenctl publish check https://cr.example.net/sp1234.pem
    """
    with failures():
        known = settings_file.load(settings)
        targets = [_Target("", target, None)] if target and "://" in target else _targets(known, target)
        found = [(each, _looked(known, each)) for each in targets]
    data = {"checks": [_seen_as_data(each, seen) for each, seen in found], "fine": all(seen.ok for _, seen in found)}
    emit(data, as_json, lambda: _seen_as_text(found))
    sys.exit(FINE if data["fine"] else NO)


@command.command()
@click.argument("name")
@settings_option
@json_option
def stage(name: str, settings: Path, as_json: bool) -> None:
    """Publish the chain of a pair that waits, and look at it from outside; nothing is signed with it yet.

    With publication_dir set it is copied there as NAME.pem, never over another. `shakenctl publish status` names the pairs.
    Exit status 1 if strangers do not get it, with what is wrong.

    \b
    Example:
      shakenctl publish stage sp1234-20261129
    """
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            steps = _rotation(known, DEFAULT_CONTROL).forward(_issued(known, name), only_publish=True)
    _tell(steps, as_json, fine=_none_failed(steps))


@command.command()
@click.argument("name")
@click.option("--now", "hurry", is_flag=True, help="Do not wait for switch_after: caches near verifiers may not have it yet.")
@click.option("--yes", is_flag=True, help="Do not ask whether --now is meant.")
@control_option
@settings_option
@json_option
def switch(*, name: str, hurry: bool, yes: bool, control: str, settings: Path, as_json: bool) -> None:
    """Sign with a pair that is published: put it into certificate_dir, and have Kamailio read it.

    Refused if strangers do not get its chain, if switch_after is not over, or if any calls would go unsigned. The former pair
    stays. Exit status 1 if it was not done.

    \b
    Examples:
      shakenctl publish switch sp1234-20261129
      shakenctl publish switch sp1234-20261129 --now --yes
    """
    if hurry and not yes:
        click.confirm("Sign with it now, though some verifiers may not get its chain yet?", abort=True, err=True)
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            steps = _rotation(known, control).forward(_issued(known, name), hurry=hurry)
    _tell(steps, as_json, fine=all(step.state == "done" for step in steps))


@command.command()
@control_option
@settings_option
@json_option
def advance(*, control: str, settings: Path, as_json: bool) -> None:
    """Take all pairs as far as they go now: publish, look, switch, reload, retire; for a timer.

    Says what was done, and what is next and when. May be run at any time, and again after a crash. Exit status 1 if something
    failed; waiting is no failure.

    \b
    Example, for a timer that runs every five minutes:
      shakenctl publish advance --json
    """
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            steps = _rotation(known, control).advance()
    _tell(steps, as_json, fine=_none_failed(steps))


@command.command()
@settings_option
@json_option
def status(settings: Path, as_json: bool) -> None:
    """Which pair is how far, what comes next, and when. Changes nothing and fetches nothing.

    Stages: requested, issued, published, installed (waits for its time or for a reload), signs, replaced, ended, superseded (a
    younger one signs already), revoked, withdrawn (taken out of certificate_dir by hand), refused (not usable).

    \b
    Example:
      shakenctl publish status --json
    """
    with failures():
        rows = _rotation(settings_file.load(settings), DEFAULT_CONTROL).standings()
    emit({"pairs": [_standing_as_data(row) for row in rows]}, as_json, lambda: _standings_as_text(rows))


@command.command()
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Do not ask before the private key of NAME is deleted.")
@control_option
@settings_option
@json_option
def retire(*, name: str | None, yes: bool, control: str, settings: Path, as_json: bool) -> None:
    """Take away pairs that were replaced or have ended, keep_published_hours later.

    Key and certificate go out of certificate_dir, Kamailio is told, then the chain goes out of publication_dir; a copy of it is
    kept in provider_state_dir/retired. NAME: just this one, also if it was not installed by shakenctl. A pair that signs, and
    the youngest of a provider, always stay. Exit status 1 if NAME was not taken away.

    \b
    Examples:
      shakenctl publish retire
      shakenctl publish retire sp1234-2025 --yes
    """
    if name and not yes:
        click.confirm(f"Take {one_line(name)} away, and delete its private key?", abort=True, err=True)
    with failures():
        known = settings_file.load(settings)
        with pairs.alone(known.provider.state_dir):
            rotation = _rotation(known, control)
            if name and name not in {row.name for row in rotation.standings()}:
                raise failure("pair_unknown", one_line(name))
            steps = rotation.retire((name,) if name else ())
            if name and not steps:
                steps = [Step(name, "retire", "failed", 0, rotation.stays(name))]
    _tell(steps, as_json, fine=not name or steps[-1].state == "done")


# --- What is asked for ------------------------------------------------------------------------------------------


def _rotation(known: Settings, control: str) -> Rotation:
    def look(url: str, chain: bytes) -> Seen:
        return _looked(known, _Target("", url, chain))

    return Rotation(known, time.time(), Kamailio(control), look)


def _looked(known: Settings, target: _Target) -> Seen:
    if sys.stderr.isatty():
        click.echo(f"Fetching {one_line(target.url)}", err=True)
    return check(known, target.url, target.expected, now=time.time())


def _issued(known: Settings, name: str) -> Pending:
    """Errors: `pair_unknown`, `rotation_refused` if it has no certificate yet."""
    pair = pairs.find(known.provider.state_dir, name)
    if pair.state == "requested":
        raise failure("rotation_refused", f"the certificate of {name} is not issued yet")
    return pair


def _targets(known: Settings, name: str | None) -> list[_Target]:
    """All pairs that there are, or one. Errors: `pair_unknown`, `publication_unset`."""
    rotation = Rotation(known, time.time(), Kamailio())
    found: dict[str, _Target] = {}
    for pair in pairs.pending(known.provider.state_dir):
        if pair.state != "requested" and name in (None, pair.name):
            place = rotation.place(pair)
            staged = pair.state != "issued" or known.provider.publication.directory is None
            found[place.name] = _Target(pair.name, place.url, installation.read(pair.chain_file), staged)
    loaded = rotation.loaded()
    for each, signer in loaded.signers.items():
        if name in (None, each):
            found[each] = _Target(each, signer.x5u, loaded.pairs[each].chain)
    if not found and name:
        raise failure("pair_unknown", one_line(name))
    if not found:
        raise failure("publication_unset", "there are no pairs to look for; name a URL")
    return list(found.values())


# --- What is said -----------------------------------------------------------------------------------------------


def _none_failed(steps: Iterable[Step]) -> bool:
    return all(step.state != "failed" for step in steps)


def _tell(steps: Sequence[Step], as_json: bool, *, fine: bool) -> None:
    data = {"steps": [step._asdict() | {"when": _when(step.when), "next": _after(step)} for step in steps], "fine": fine}
    emit(data, as_json, lambda: _steps_as_text(steps))
    sys.exit(FINE if fine else NO)


def _steps_as_text(steps: Sequence[Step]) -> Iterator[str]:
    if not steps:
        yield "nothing to do"
        return
    yield from table(
        ("", "PAIR", "STEP", "WHEN", ""),
        (
            (_MARKS[step.state], step.pair, step.action, moment(step.when) if step.when else "", one_line(step.words))
            for step in steps
        ),
    )
    yield from dict.fromkeys([f"Next: {after}" for step in steps if (after := _after(step))])


def _after(step: Step) -> str:
    """What to do about a step that failed; empty if it did not."""
    if step.state != "failed":
        return ""
    if step.action == "look":
        return f"shakenctl publish check {one_line(step.pair)} says all that strangers see there, and what to do"
    row = FAILURES.get(step.words.partition(":")[0])
    return row.advice if row else ""


def _seen_as_data(target: _Target, seen: Seen) -> dict[str, Any]:
    return {
        "name": target.name,
        "url": seen.url,
        "ok": seen.ok,
        "findings": [finding._asdict() for finding in seen.findings],
        "next": _mend(target, seen),
    }


def _seen_as_text(found: Iterable[tuple[_Target, Seen]]) -> Iterator[str]:
    for target, seen in found:
        yield f"{target.name or 'URL'}: {one_line(seen.url)}"
        yield from table(
            ("", "CHECK", "SEEN"),
            ((_MARKS[finding.grade], finding.check, f"{finding.words}{_source(finding)}") for finding in seen.findings),
        )
        if mend := _mend(target, seen):
            yield f"Next: {mend}"


def _mend(target: _Target, seen: Seen) -> str:
    """What to do about the first thing that is bad; empty if nothing is."""
    wrong = next((finding.check for finding in seen.findings if not finding.ok), "")
    if wrong and not target.name:
        return "whoever publishes it has to mend it; if that is you, cfg/PUBLISHING.md."
    if wrong and not target.staged:
        return f"it is not published yet: shakenctl publish stage {one_line(target.name)}"
    return _MENDS.get(wrong, f"{_SERVE}.") if wrong else ""


def _source(finding: Finding) -> str:
    """Whoever has to mend something is told who says so."""
    return "" if finding.grade == "good" else f" [{finding.clause}]"


def _standing_as_data(row: Standing) -> dict[str, Any]:
    signer, step = row.signer, row.next
    return {
        "name": row.name,
        "stage": row.stage,
        "spc": list(signer.spcs) if signer else [],
        "not_before": _when(signer.not_before) if signer else None,
        "not_after": _when(signer.not_after) if signer else None,
        "x5u": row.url,
        "next": {"step": step.action, "when": _when(step.when), "words": step.words} if step else None,
        "trouble": row.trouble,
    }


def _standings_as_text(rows: Sequence[Standing]) -> Iterator[str]:
    if not rows:
        yield "no pairs; `shakenctl onboard` says what is first"
        return
    yield from table(_HEAD, map(_cells, rows))
    yield from (f"! {one_line(row.name)}: {one_line(row.trouble)}" for row in rows if row.trouble)


def _cells(row: Standing) -> tuple[str, ...]:
    signer, step = row.signer, row.next
    return (
        one_line(row.name),
        provider(signer) if signer else "",
        row.stage,
        moment(signer.not_after) if signer else "",
        step.action if step else "",
        (moment(step.when) if step.when else "now") if step else "",
        one_line(row.url),
    )


def _when(seconds: float) -> str | None:
    return moment(seconds).replace(" ", "T") if seconds else None
