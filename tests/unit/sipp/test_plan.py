"""Targets and what they claim; which case runs in which system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sipp.suite import target
from tests.sipp.suite.actions import Action
from tests.sipp.suite.outcome import Result, Status
from tests.sipp.suite.runner import in_order, plan
from tests.sipp.suite.scenario import Case, Scenario
from tests.sipp.suite.strict import ScenarioError
from tests.sipp.suite.target import Reach, Start, Target

STARTED = Target("one", "", "One", ("sign", "verify", "operate"), start=Start("x.cfg"))
REACHED = Target("two", "", "Two", ("verify",), ("reject",), {"unsigned": "pass"}, reach=Reach())


def scenario(name: str, *cases: Case, needs: tuple[str, ...] = ("verify",)) -> Scenario:
    return Scenario(name, name.title(), "", ("RFC",), "verify", needs, cases, Path(name))


def lanes(targets: list[Target], *scenarios: Scenario) -> dict[tuple[str, ...], list[str]]:
    found, _ = plan(targets, scenarios)
    return {key: [f"{work.scenario.name}[{work.case.name}]" for work in works] for key, works in found.items()}


def test_cases_of_a_profile_share_a_system() -> None:
    first = scenario("a", Case("t"), Case("r", "reject"))
    assert lanes([STARTED], first, scenario("b", Case("t"))) == {
        ("one", "tag", ""): ["a[t]", "b[t]"],
        ("one", "reject", ""): ["a[r]"],
    }


def test_scenario_that_operates_has_a_system_of_its_own() -> None:
    operates = scenario("a", Case("1"), Case("2", before=(Action("reload"),)))
    assert lanes([STARTED], operates, scenario("b", Case("t"))) == {
        ("one", "tag", "a"): ["a[1]", "a[2]"],
        ("one", "tag", ""): ["b[t]"],
    }


def test_system_elsewhere_is_one_system() -> None:
    both = replace(REACHED, profiles=("reject", "tag"))
    assert lanes([both], scenario("a", Case("t"), Case("r", "reject"))) == {("two", "", ""): ["a[t]", "a[r]"]}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (scenario("a", Case("t", "reject"), needs=("sign", "verify")), "does not claim: signs calls"),
        (scenario("a", Case("t", "reject", needs=("path",))), "validates the certificate's path"),
        (scenario("a", Case("t", "tag")), 'has no profile "tag"'),
        (scenario("a", Case("t", "reject", choice={"unsigned": "tag"})), 'the target chose "pass"'),
        (scenario("a", Case("t", "reject", before=(Action("reload"),))), "the suite can reload it"),
    ],
)
def test_what_a_target_lacks_is_not_supported_with_its_reason(found: Scenario, reason: str) -> None:
    works, results = plan([REACHED], [found])
    assert not works
    (result,) = results
    assert result.status is Status.NOT_SUPPORTED
    assert reason in result.reason


def test_default_choice_is_the_first_of_the_table() -> None:
    found = scenario("a", Case("t", choice={"unsigned": "tag"}), Case("p", choice={"unsigned": "pass"}))
    works, results = plan([STARTED], [found])
    assert [work.case.name for one in works.values() for work in one] == ["t"]
    assert [result.case for result in results] == ["p"]


def test_results_stand_in_the_order_of_targets_scenarios_and_cases() -> None:
    scenarios = [scenario("a", Case("1"), Case("2")), scenario("b", Case("only"))]

    def result(target_name: str, scenario_name: str, case: str) -> Result:
        return Result(target_name, scenario_name, case, "", "", (), "verify", Status.PASSED)

    wanted = [result("one", "a", "1"), result("one", "a", "2"), result("one", "b", ""), result("two", "a", "1")]
    assert in_order(list(reversed(wanted)), [STARTED, REACHED], scenarios) == wanted


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('title = "T"\nsupports = ["verify"]\n', "either [start] or [reach]"),
        ('title = "T"\nsupports = ["verify"]\n[start]\ncfg = "x"\n[reach]\n', "either [start] or [reach]"),
        ('title = "T"\nsupports = ["verify"]\n[reach]\n', "[reach.verify] is missing"),
        ('title = "T"\nsupports = ["verfy"]\n[start]\ncfg = "x"\n', 'did you mean "verify"?'),
        ('title = "T"\nsupports = []\nprofiles = ["rejct"]\n[start]\ncfg = "x"\n', 'did you mean "reject"?'),
        ('title = "T"\nsupports = []\nchoices = { unsgned = "tag" }\n[start]\ncfg = "x"\n', 'did you mean "unsigned"?'),
        ('title = "T"\nsupports = []\n[start]\ncfg = "x"\nworker = 2\n', 'did you mean "workers"?'),
    ],
)
def test_mistake_in_a_target_is_told(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        target.target(str(path))
    assert hint in str(error.value)


def test_unknown_target_is_told_with_a_hint() -> None:
    with pytest.raises(ScenarioError, match='did you mean "kamailio-exec"'):
        target.target("kamailio-exek")
