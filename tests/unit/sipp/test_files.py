"""The files of the SIPp suite: every flow against the DTD, every scenario, target and profile through its reader."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from tests.sipp.suite import scenario, target
from tests.sipp.suite.actions import ACTIONS, Action
from tests.sipp.suite.certificates import URLS
from tests.sipp.suite.identity import SPELLINGS, Recipe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LOAD = scenario.ROOT.parent / "load"
_OURS = sorted(scenario.ROOT.rglob("*.xml"))
_FLOWS = [*_OURS, *sorted(_LOAD.glob("*.xml"))]
_README = (scenario.ROOT / "README.md").read_text()
_FOLDERS = sorted(path.parent for path in scenario.ROOT.glob("*/scenario.toml"))


def _name(path: Path) -> str:
    return str(path.relative_to(scenario.ROOT.parent))


@pytest.mark.parametrize("path", _FLOWS, ids=_name)
def test_flow_is_valid_by_the_dtd_that_it_names(path: Path) -> None:
    document = etree.parse(str(path))
    dtd = etree.DTD(str(scenario.ROOT / "sipp.dtd"))
    assert dtd.validate(document), dtd.error_log
    assert (path.parent / str(document.docinfo.system_url)).resolve() == scenario.ROOT / "sipp.dtd"


def test_dtd_refuses_what_sipp_does_not_know(tmp_path: Path) -> None:
    dtd = etree.DTD(str(scenario.ROOT / "sipp.dtd"))
    for text in (
        "<scenario><recieve/></scenario>",
        "<scenario><recv respone='200'/></scenario>",
        "<scenario><label/></scenario>",
        # SIPp's own DTD knows no such attribute, though SIPp does
        "<scenario><recv request='BYE'><action><ereg regexp='.' search_in='msg' check_it_inverse='true' assign_to='1'/>"
        "</action></recv></scenario>",
    ):
        assert not dtd.validate(etree.fromstring(text))
    assert dtd.validate(etree.fromstring("<scenario><recv response='200'/></scenario>"))


@pytest.mark.parametrize("folder", _FOLDERS, ids=_name)
def test_scenario_is_read(folder: Path) -> None:
    """Unknown keys, tokens, certificates, profiles and a missing clause are errors of the reader."""
    found = scenario.read(folder)
    assert folder.name.startswith(f"{found.side}-")
    assert found.title
    assert found.about


@pytest.mark.parametrize("name", target.targets())
def test_target_is_read(name: str) -> None:
    assert target.target(name).title


@pytest.mark.parametrize("name", target.profiles())
def test_profile_is_read(name: str) -> None:
    assert target.profile(name).title


def test_every_flow_is_that_of_a_case() -> None:
    cases = [(found, case.flow) for found in scenario.find() for case in found.cases]
    used = {found.flow(name) for found, flow in cases for name in (flow.caller, flow.callee)}
    assert used == set(_OURS)


@pytest.mark.parametrize("name", ["verify-iat-stale/scenario.toml", "targets/kamailio-exec.toml"])
def test_readme_shows_the_file_as_it_is(name: str) -> None:
    assert f"```toml\n{(scenario.ROOT / name).read_text()}```" in _README


def test_targets_and_reach_in_the_readme_are_read(tmp_path: Path) -> None:
    blocks = _README.split("```toml\n")[1:]
    (reach,) = [block.partition("```")[0] for block in blocks if "[reach]" in block]
    path = tmp_path / "sbc.toml"
    path.write_text(reach)
    found = target.target(str(path)).reach
    assert found
    assert found.verify
    assert found.verify.callee == "192.0.2.20:5070"


@pytest.mark.parametrize(
    "kind",
    [scenario.Call, scenario.Case, scenario.Expect, scenario.Callee, scenario.Signed, scenario.Flow, Recipe, Action],
    ids=lambda kind: str(kind.__name__),
)
def test_every_key_of_a_scenario_stands_in_the_readme(kind: type[DataclassInstance]) -> None:
    names = [field.name.rstrip("_") for field in fields(kind)]
    assert [name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", _README)] == []


def _cells(head: str) -> set[str]:
    """The names in code in the first column of the README's table with that head."""
    table = _README.partition(f"\n{head}\n")[2].partition("\n\n")[0]
    return {name.strip('"') for row in table.splitlines()[1:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_x5u_actions_and_spellings_in_the_readme_are_those_of_the_suite() -> None:
    assert _cells("| `x5u` | what stands there |") == set(URLS)
    assert _cells("| action | takes | |") == set(ACTIONS)
    (row,) = re.findall(r"^\| `spelling` \| (.*)\|$", _README, re.MULTILINE)
    assert set(re.findall(r'`"([^"`]+)"`', row)) == set(SPELLINGS)


def test_tables_and_choices_that_the_readme_names_exist() -> None:
    named = re.findall(r"`([A-Z]+)` in `suite/(\w+)\.py`", _README)
    assert named
    for table, module in named:
        assert getattr(importlib.import_module(f"tests.sipp.suite.{module}"), table)
    for name, values in target.CHOICES.items():
        assert f"`{name}`" in _README
        assert all(f'`"{value}"`' in _README for value in values)


def test_every_choice_has_a_case_for_each_of_its_values() -> None:
    chosen = {pair for found in scenario.find() for case in found.cases for pair in case.choice.items()}
    assert chosen == {(name, value) for name, values in target.CHOICES.items() for value in values}
