"""What the suite writes for signing beside stirshaken.toml: policies that are read as they are meant, lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kamailio_app.errors import StirError
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.rules import Policy
from kamailio_app.runtime import policy_file
from kamailio_app.runtime.numbers import Numbers
from tests.sipp.suite import scenario, signing_files, target
from tests.sipp.suite.signing_files import POLICY, SigningFiles, policy_text
from tests.sipp.suite.strict import ScenarioError

WITH_POLICY = [name for name in target.profiles() if target.profile(name).policy]


def addresses(profile: str) -> Mapping[str, str]:
    return {name: f"192.0.2.{number}" for number, name in enumerate(target.profile(profile).addressed, 1)}


def files(directory: Path) -> SigningFiles:
    return SigningFiles(directory, addresses)


def policy(directory: Path) -> Policy:
    return policy_file.load(directory / POLICY)


@pytest.mark.parametrize("name", WITH_POLICY)
def test_policy_of_a_profile_is_read_and_names_no_place_that_there_is_not(name: str, tmp_path: Path) -> None:
    profile = target.profile(name)
    files(tmp_path).write(name)
    found = policy(tmp_path)
    assert [rule.name for rule in found.rules[:-1]] == [rule["name"] for rule in profile.policy.get("rule", [])]
    assert set(found.trunks) == set(profile.policy.get("trunk", {}))
    assert set(found.customers) == set(profile.policy.get("customer", {}))
    assert "{" not in (tmp_path / POLICY).read_text().replace("= {", "")


def test_every_rule_of_the_profiles_decides_in_a_case() -> None:
    """One that no case is decided by says nothing about the system."""
    rules = {rule["name"] for name in WITH_POLICY for rule in target.profile(name).policy["rule"]}
    decided = {case.expect.log.get("rule") for found in scenario.find() for case in found.cases}
    assert rules - decided == set()


def test_text_is_toml_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / POLICY
    table = {
        "defaults": {"attest": "B", "div": True},
        "customer": {"a.b": {"display_name": 'Café "Z" \\ {x}'}},
        "trunk": {"t": {"source": ["{here}", "192.0.2.0/28"]}},
        "rule": [{"name": "r", "caller": "1215*", "reject": 403}, {"name": "s", "sign": False, "trunk": "t"}],
    }
    path.write_text(policy_text(table, {"here": "192.0.2.99"}))
    found = policy_file.load(path)
    assert found.trunks["t"].source == ("192.0.2.99", "192.0.2.0/28")
    assert found.customers["a.b"].display_name == 'Café "Z" \\ {x}'
    assert [rule.name for rule in found.rules] == ["r", "s", "default"]
    assert (found.rules[0].decision.code, found.rules[1].decision.action) == (403, "pass")
    assert (found.rules[2].decision.attest, found.rules[2].decision.div) == (Attestation.PARTIAL, True)


def test_lists_are_those_of_the_profile(tmp_path: Path) -> None:
    writer = files(tmp_path)
    writer.write("policy-before")
    inventory, never = (
        Numbers(tmp_path / "numbers.mdb", "inventory"),
        Numbers(tmp_path / "do-not-originate.mdb", "do-not-originate"),
    )
    assert (inventory.owners("12155550121"), inventory.owners("12155550122")) == (("acme",), ())
    assert (never.holds("12155550100"), never.holds("12155550101")) == (True, False)
    writer.import_numbers("policy-after")
    inventory.refresh(10.0)
    never.refresh(10.0)
    assert (inventory.owners("12155550121"), inventory.owners("12155550122")) == ((), ("acme",))
    assert (never.holds("12155550100"), never.holds("12155550101")) == (False, True)
    assert policy(tmp_path).rules[1].name == "customers"


def test_what_is_broken_is_refused(tmp_path: Path) -> None:
    writer = files(tmp_path)
    writer.write("policy-before")
    writer.break_policy()
    with pytest.raises(StirError, match="did you mean attest"):
        policy(tmp_path)
    writer.break_numbers()
    for name in ("numbers.mdb", "do-not-originate.mdb"):
        numbers = Numbers(tmp_path / name)
        assert numbers.owners("12155550121") == ()
        assert numbers.error is not None
        assert numbers.error.token == "inventory_unreadable"
    writer.write("policy-before")
    assert Numbers(tmp_path / "numbers.mdb").owners("12155550121") == ("acme",)


def test_nothing_is_broken_that_is_not_there(tmp_path: Path) -> None:
    files(tmp_path).break_numbers()
    assert list(tmp_path.iterdir()) == []


def test_settings_name_what_there_is(tmp_path: Path) -> None:
    assert signing_files.options(target.profile("tag")) == {}
    assert signing_files.options(target.profile("further")) == {"policy_file": "policy.toml"}
    assert signing_files.options(target.profile("policy-before")) == {
        "policy_file": "policy.toml",
        "inventory_file": "numbers.mdb",
        "do_not_originate_file": "do-not-originate.mdb",
    }
    files(tmp_path).write("tag")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('trunks = ["a"]\ninside = ["a"]', "of one name"),
        (f"places = {[str(number) for number in range(31)]}", "more than 30"),
    ],
)
def test_profile_that_cannot_be_laid_out_is_refused(
    text: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "PROFILES", tmp_path)
    (tmp_path / "p.toml").write_text(f'title = "P"\n{text}\n')
    with pytest.raises(ScenarioError, match=hint):
        target.profile("p")
