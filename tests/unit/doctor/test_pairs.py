"""When the end of a certificate is said, and when it is none."""

from __future__ import annotations

import os
import time

import pytest

from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.pairs import Pending

from .clinic import DAY, NOW, Clinic, pair


@pytest.mark.parametrize(
    ("begins", "ends", "state"),
    [
        (-60, 31, "good"),
        (-60, 29, "warning"),
        (-60, 0.9, "bad"),
        # A certificate of seven days is not late from its first day on
        (-1, 6, "good"),
        (-5, 2, "warning"),
        (-6.5, 0.5, "bad"),
    ],
)
def test_end_is_said_in_time_and_not_all_the_time(clinic: Clinic, begins: float, ends: float, state: str) -> None:
    clinic.add("sp1234", pair(begins=NOW + begins * DAY, ends=NOW + ends * DAY))
    assert clinic.words("pairs", "end and overlap").startswith(f"{state}: sp1234 ends in ")


def test_pair_that_follows_in_time_makes_it_good(clinic: Clinic) -> None:
    clinic.add("sp1234", pair(ends=NOW + DAY / 2))
    clinic.add("next", pair(begins=NOW + DAY / 4))
    assert clinic.words("pairs", "end and overlap").endswith("next follows -> ")
    # What is to come has to be published and trusted already
    assert len(clinic.findings("publication")) == 2


def test_nothing_follows_a_pair_that_the_policy_names(clinic: Clinic) -> None:
    clinic.add("sp1234", pair(begins=NOW - 80 * DAY, ends=NOW + 10 * DAY))
    clinic.add("next", pair(begins=NOW + DAY))
    (clinic.directory / "policy.toml").write_text('[[rule]]\nname = "all"\nattest = "A"\ncertificate = "sp1234"\n')
    clinic.set("signing", policy_file="policy.toml")
    assert "nothing follows" in clinic.words("pairs", "end and overlap")


def test_two_providers_and_no_policy_is_said(clinic: Clinic) -> None:
    clinic.add("sp5678", pair("5678"))
    assert "certificate_ambiguous" in clinic.words("pairs", "who signs now")
    assert clinic.words("pairs", "service provider code").splitlines()[-1].startswith("bad: sp5678 is of 5678, not of 1234")


def test_policy_may_have_providers_of_its_own(clinic: Clinic) -> None:
    clinic.add("sp5678", pair("5678"))
    (clinic.directory / "policy.toml").write_text(
        '[defaults]\nspc = "1234"\n[[rule]]\nname = "all"\nattest = "A"\nspc = "5678"\n'
    )
    clinic.set("signing", policy_file="policy.toml")
    assert clinic.words("pairs", "who signs now").count("good: ") == 2
    assert clinic.words("pairs", "service provider code") == "good: 1 certificate of 1234 -> "
    clinic.set("provider", spc="9012")
    assert clinic.words("pairs", "service provider code").startswith("warning: no certificate is of 9012")


def test_pair_that_is_over_and_was_followed_is_history(clinic: Clinic) -> None:
    clinic.add("old", pair(begins=NOW - 9 * DAY, ends=NOW - DAY))
    assert clinic.not_good("pairs") == {}


def test_edge_that_only_verifies_has_no_pairs(clinic: Clinic) -> None:
    clinic.set("signing", public_cert_url="", certificate_dir="none")
    assert set(clinic.not_good().values()) == {"not looked at"}


@pytest.mark.parametrize(
    ("days", "issued", "installed", "words"),
    [
        (0.1, True, False, "good: next: issued, 2 hours old -> "),
        (3, True, False, "warning: next: issued, 3 days old, and does not sign -> shakenctl publish advance"),
        (3, False, False, "warning: next: requested, 3 days old, and no certificate came -> shakenctl acme order"),
        (3, True, True, ""),
    ],
)
def test_pair_on_its_way_does_not_stop_for_days(clinic: Clinic, days: float, issued: bool, installed: bool, words: str) -> None:
    waiting = clinic.directory / "provider/pairs"
    pair().write(waiting, "next")
    if not issued:
        (waiting / "next.pem").unlink()
    if installed:
        clinic.add("next", pair())
    for path in waiting.iterdir():
        os.utime(path, (time.time() - days * DAY,) * 2)
    assert clinic.words("pairs", "on their way").startswith(words)
    assert bool(clinic.words("pairs", "on their way")) is bool(words)


def test_pair_that_goes_away_meanwhile_is_no_defect(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = clinic.directory / "provider/pairs/gone"
    waiting = [Pending("gone", gone.with_suffix(".key"), gone.with_suffix(".pem"), gone.with_suffix(".csr"), "requested")]
    monkeypatch.setattr("kamailio_app.doctor.pairs.pending", lambda _directory: waiting)
    assert clinic.words("pairs", "on their way") == ""


def test_revoked_certificate_is_bad_where_it_signs_and_said_where_it_waits(clinic: Clinic) -> None:
    issued, waiting = pair(), pair(begins=NOW - 2 * DAY)
    clinic.add("sp1234", issued)
    state_dir = clinic.site().settings.provider.state_dir
    pairs.mark_revoked(state_dir, "sp1234", issued.certificate)
    assert clinic.words("pairs", "who signs now").startswith("bad: sp1234 signs for 1234, and its certificate was revoked")
    waiting.write(state_dir / "pairs", "next")
    pairs.mark_revoked(state_dir, "next", waiting.certificate)
    assert clinic.words("pairs", "on their way") == ("warning: next: its certificate was revoked -> shakenctl acme forget next")
