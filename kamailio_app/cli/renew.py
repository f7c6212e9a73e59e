"""`shakenctl renew`: the one command for a timer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.cli.publish import control_option
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import pairs, renewal
from kamailio_app.lifecycle.acme_client import ORDER_SECONDS
from kamailio_app.lifecycle.renewal import Step
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.choice import moment

_MARKS: Final = {"done": "ok", "waits": "wait", "failed": "BAD"}


@click.command("renew")
@click.option("--now", "force", is_flag=True, help="Order a new certificate, due or not.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and when; change nothing and ask nobody.")
@click.option(
    "--wait", "seconds", type=click.FloatRange(1), default=ORDER_SECONDS, show_default=True, help="Seconds for an order."
)
@control_option
@settings_option
@json_option
def command(*, force: bool, dry_run: bool, seconds: float, control: str, settings: Path, as_json: bool) -> None:
    """Keep a certificate in use: whatever is next for every pair, for a timer.

    Orders a new certificate when renew_after of the present one's lifetime is over, publishes it, looks at it from outside,
    switches to it, tells Kamailio, and takes the former away when it is stale. Says what was done, and what is next and when.
    May be run at any time, and again after a crash: what was begun goes on. The first certificate is yours to order:
    `shakenctl acme order`.

    Exit status 1 if something failed; waiting is no failure. A failed order is tried again later by itself, and no sooner than
    the STI-CA wants.

    \b
    Examples:
      shakenctl renew --dry-run
      shakenctl renew --now
    For systemd: cfg/shakenctl-renew.service and cfg/shakenctl-renew.timer.
    """
    with failures():
        known = settings_file.load(settings)
        if dry_run:
            steps = renewal.forecast(known, time.time(), force=force)
        else:
            with pairs.alone(known.provider.state_dir):
                steps = renewal.renew(known, force=force, control=control, seconds=seconds, say=_say)
    fine = all(step.state != "failed" for step in steps)
    data = {"steps": [step._asdict() | {"when": _when(step.when)} for step in steps], "fine": fine}
    emit(data, as_json, lambda: _as_text(steps))
    sys.exit(FINE if fine else NO)


def _as_text(steps: Sequence[Step]) -> Iterator[str]:
    yield from table(
        ("", "PAIR", "STEP", "WHEN", ""),
        ((_MARKS[step.state], step.pair, step.action, _when(step.when), one_line(step.words)) for step in steps),
    )


def _when(seconds: float) -> str | None:
    return moment(seconds).replace(" ", "T") if seconds else None


def _say(words: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{one_line(words)} ...", err=True)
