"""`shakenctl certificates`: the pairs in `certificate_dir` as they are now."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.pairs import Pending, pending
from kamailio_app.runtime import policy_file
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.certificate_list import CertificateList, Row, certificate_list, wanted
from kamailio_app.runtime.certificates import MARKS
from kamailio_app.runtime.choice import Choices, provider
from kamailio_app.runtime.keystore import load_signers

_HEAD: Final = ("NAME", "SPC", "NOT BEFORE", "NOT AFTER", "DAYS LEFT", "SIGNS", "FINGERPRINT", "X5U")
_SHOWN: Final = 16  # digits of the fingerprint, as in the log


@click.group("certificates")
def command() -> None:
    """The keys and certificates that sign."""


@command.command("list")
@click.option(
    "--warn-days",
    type=click.IntRange(0),
    help="A certificate that ends sooner, with no other of its provider to follow it, is a problem. "
    f"[default: {MARKS[0]}, or the last third of a shorter life]",
)
@settings_option
@json_option
def list_(warn_days: int | None, settings: Path, as_json: bool) -> None:
    """Which certificate signs now, which from when on, how long each is valid, and what is wrong.

    Reads the files as the server would at its next start; what that server has in use may be older. Pairs that wait in
    provider_state_dir are named, too. Exit status 1 if anything is wrong.

    \b
    Example: shakenctl certificates list --warn-days 14
    """
    now = time.time()
    with failures():
        known = settings_file.load(settings)
        policy = policy_file.load(known.policy_file) if known.policy_file else None
    loaded = load_signers(known.certificate_dir, known.public_cert_url, now)
    choices = Choices(loaded.signers, known.sign_from, known.certificate)
    found = certificate_list(loaded, choices, now, wanted(known.sign_from, policy), warn_days)
    with failures():
        waiting = [pair for pair in pending(known.provider.state_dir) if pair.name not in loaded.signers]
    emit(_as_data(found, waiting), as_json, lambda: _as_text(found, waiting))
    sys.exit(FINE if found.fine else NO)


def _as_data(found: CertificateList, waiting: Sequence[Pending]) -> dict[str, Any]:
    return {
        "certificates": [_row_as_data(row) for row in found.rows],
        "waiting": [{"name": pair.name, "state": pair.state} for pair in waiting],
        "problems": found.problems,
        "fine": found.fine,
    }


def _row_as_data(row: Row) -> dict[str, Any]:
    signer, problems = row.signer, list(row.problems)
    if signer is None:
        return {"name": row.name, "problems": problems}
    return {
        "name": row.name,
        "spc": list(signer.spcs),
        "not_before": _moment(signer.not_before),
        "not_after": _moment(signer.not_after),
        "days_left": round(row.days_left, 2),
        "signs": row.signs,
        "fingerprint": signer.fingerprint,
        "x5u": signer.x5u,
        "problems": problems,
    }


def _as_text(found: CertificateList, waiting: Sequence[Pending]) -> Iterator[str]:
    usable = [(row, row.signer) for row in found.rows if row.signer is not None]
    if usable:
        yield from table(
            _HEAD,
            (
                (
                    row.name,
                    provider(signer),
                    _moment(signer.not_before),
                    _moment(signer.not_after),
                    f"{row.days_left:.1f}",
                    row.signs,
                    signer.fingerprint[:_SHOWN],
                    signer.x5u,
                )
                for row, signer in usable
            ),
        )
    # A file's name is whatever somebody gave it
    yield from (f"! {one_line(row.name)}: {one_line(problem)}" for row in found.rows for problem in row.problems)
    yield from (f"! {one_line(problem)}" for problem in found.problems)
    yield from (f"{one_line(pair.name)} is {pair.state} and not in certificate_dir yet" for pair in waiting)
    if not found.fine:
        yield f"Next: {_next(found, waiting)}"


def _next(found: CertificateList, waiting: Sequence[Pending]) -> str:
    """What brings a certificate that signs; of a pair that is refused its own token says more."""
    if any(pair.state != "requested" for pair in waiting):
        return "shakenctl publish advance"
    if waiting:
        return f"shakenctl acme order --name {one_line(waiting[0].name)}"
    if not any(row.signer for row in found.rows):
        return "shakenctl onboard says how to get a certificate"
    return "shakenctl renew, or shakenctl doctor --only pairs, which says what to do about each"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%FT%TZ}"
