"""What a run plans, and how it confirms a rate and compares CPU time, without an edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from kamailio_app.lab.network import Network
from tests.load import __main__, cold, headline, run, soak
from tests.load.kinds import BY_NAME, KINDS, Kind
from tests.load.ladder import Ladder
from tests.load.run import Plan, Run, with_bases
from tests.load.step import Limit, Step
from tests.unit.load.steps import step


class System:
    """Takes its place."""

    def __init__(self, _network: Any, kind: Kind, workers: int, **_options: Any) -> None:
        self.kind, self.workers = kind, workers

    def __enter__(self) -> System:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing runs."""


def measured(
    monkeypatch: pytest.MonkeyPatch, clean: Callable[[str, float, str, int], bool], *kinds: str, ceiling: float = 800
) -> list[Step]:
    """The steps of a run; `clean` says so of kind, rate, purpose and number of the step."""

    class Pretended(Run):
        def warm_up(self, *_arguments: Any) -> None:
            """Nothing is cold."""

        def heat(self, *_arguments: Any) -> None:
            """Nothing is cold."""

        def step(self, system: Any, rate: float, purpose: str = "climb") -> Step:
            fine = clean(system.kind.name, rate, purpose, len(self.steps))
            ended = {} if fine else {"crossed": "1 failed", "limit": Limit.SYSTEM}
            self.steps.append(step(kind=system.kind.name, workers=system.workers, offered_per_s=rate, purpose=purpose, **ended))
            return self.steps[-1]

    monkeypatch.setattr(run, "System", System)
    plan = Plan({1: [BY_NAME[name] for name in kinds]}, Ladder(start=400, ceiling=ceiling))
    return Pretended(object.__new__(Network), plan, lambda _line: None).measure()


def short(steps: list[Step], *purposes: str) -> list[tuple[str, float]]:
    return [(step.purpose, step.offered_per_s) for step in steps if step.purpose in purposes]


def test_best_rate_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = measured(monkeypatch, lambda *_: True, "relay")
    assert short(steps, "climb", "confirm", "half") == [("climb", 400), ("climb", 800), ("confirm", 800), ("half", 400)]


def test_rate_that_is_not_confirmed_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = measured(monkeypatch, lambda _kind, rate, purpose, _number: purpose != "confirm" or rate < 710, "relay")
    assert short(steps, "confirm", "half") == [("confirm", 800), ("confirm", 710), ("confirm", 630), ("half", 315)]


def test_nothing_is_claimed_or_compared_without_a_confirmed_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = measured(monkeypatch, lambda _kind, _rate, purpose, _number: purpose != "confirm", "relay")
    assert len(short(steps, "confirm")) == 4
    assert short(steps, "half", "compare") == []
    assert headline.best(steps, "relay", 1) == 0


def test_kinds_take_turns_and_bring_their_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = measured(monkeypatch, lambda *_: True, "direct", "sign", "relay")
    order = [step.kind for step in steps if step.purpose == "compare"]
    assert order == [
        *("relay", "sign", "relay-identity"),
        *("sign", "relay-identity", "relay"),
        *("relay-identity", "relay", "sign"),
    ]
    assert {step.offered_per_s for step in steps if step.purpose == "compare"} == {600}


def test_step_of_the_comparison_that_was_not_clean_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt: list[int] = []

    def clean(_kind: str, _rate: float, purpose: str, number: int) -> bool:
        if purpose == "compare" and not spoilt:
            spoilt.append(number)
            return False
        return True

    steps = measured(monkeypatch, clean, "relay")
    assert [step.clean for step in steps if step.purpose == "compare"] == [False, True, True, True]


def test_bases_of_kinds() -> None:
    assert [kind.name for kind in with_bases([BY_NAME["verify"]])] == ["relay-identity", "verify"]


def test_plan_has_fewer_kinds_with_several_workers() -> None:
    assert __main__.planned(None, 1) == {1: list(KINDS)}
    assert [kind.name for kind in __main__.planned(None, 2)[2]] == ["relay", "sign", "verify", "both"]
    assert {workers: len(kinds) for workers, kinds in __main__.planned(["direct", "relay"], 2).items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(("mode", "module"), [(["--soak", "90s"], soak), (["--cold-cache", "5"], cold)])
@pytest.mark.parametrize(("wrong", "status"), [([], 0), (["9 calls failed"], 1)])
def test_verdict_is_the_exit_status(
    *,
    mode: list[str],
    module: Any,
    wrong: list[str],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "measure", lambda *_: wrong)
    monkeypatch.setattr("sys.argv", ["load", *mode, "--output", str(tmp_path)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    assert __main__.main() == status
    assert capsys.readouterr().err == "".join(f"failed: {words}\n" for words in wrong)
