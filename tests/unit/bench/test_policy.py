"""What `make bench` signs by: each number a segment of its own, and callers that the policy knows for their customer's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.policy.attestation import Call
from kamailio_app.runtime import policy_file
from kamailio_app.runtime.numbers import Numbers
from kamailio_app.runtime.policy_trial import Trial
from tests.bench import __main__ as bench
from tests.bench import policy


def test_callers_have_their_numbers_and_no_two_numbers_are_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "NUMBERS", 10_000)
    policy.write(tmp_path, "192.0.2.1")
    inventory = Numbers(tmp_path / "numbers.mdb")
    assert inventory.about is not None
    assert (inventory.about.entries, inventory.about.segments) == (10_000, 10_000)
    trial = Trial(policy_file.load(tmp_path / "policy.toml"), inventory)
    assert len(trial.policy.rules) == policy.CUSTOMERS * policy.RULES + 1
    callers = policy.callers()
    assert len(set(callers)) == len(callers) == 500
    for caller in callers:
        call, _ = trial.call(Call(caller, "12155550131", source="192.0.2.1"))
        assert trial.of(call).attest == "A"
    assert policy.CALLERS > 1000


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (
            60.0,
            96.0,
            "60.0 us added, reached (at most 60); secsipid without any of it adds 1.60 times that, reached (at least 1.6).",
        ),
        (
            60.1,
            96.0,
            "60.1 us added, missed (at most 60); secsipid without any of it adds 1.60 times that, missed (at least 1.6).",
        ),
    ],
)
def test_report_says_what_is_reached(ours: float, theirs: float, said: str) -> None:
    samples = {kind.route: [6.0] for kind in bench.KINDS}
    samples |= {"sign-policy": [6 + ours], "secsipid-sign": [6 + theirs], "sign": [6 + 48.0]}
    text = bench.judgement(samples)
    assert said in text
    assert text.endswith("Beside our plain signing it adds 2.00 times.")
