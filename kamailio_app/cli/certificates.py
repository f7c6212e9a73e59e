"""`shakenctl certificates`: the pairs in `certificate_dir` as they are now."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, emit, failures, json_option, settings_option, table
from kamailio_app.grammar import one_line
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
    default=MARKS[0],
    show_default=True,
    help="A certificate that ends sooner, with no other of its provider to follow it, is a problem.",
)
@settings_option
@json_option
def list_(warn_days: int, settings: Path, as_json: bool) -> None:
    """Which certificate signs now, which from when on, how long each is valid, and what is wrong.

    Reads the files as the server would at its next start; what that server has in use may be older. Exit status 1 if anything
    is wrong.

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
    emit(_as_data(found), as_json, lambda: _as_text(found))
    sys.exit(FINE if found.fine else NO)


def _as_data(found: CertificateList) -> dict[str, Any]:
    return {"certificates": [_row_as_data(row) for row in found.rows], "problems": found.problems, "fine": found.fine}


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


def _as_text(found: CertificateList) -> Iterator[str]:
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


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%FT%TZ}"
