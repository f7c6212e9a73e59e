"""The files of the SIPp suite: every flow against the DTD, every scenario, target and profile through its reader."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from tests.sipp.suite import scenario, target
from tests.sipp.suite.actions import Action
from tests.sipp.suite.identity import Recipe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_FLOWS = sorted(scenario.ROOT.rglob("*.xml"))
_FOLDERS = sorted(path.parent for path in scenario.ROOT.glob("*/scenario.toml"))


def _name(path: Path) -> str:
    return str(path.relative_to(scenario.ROOT))


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


def test_every_folder_with_a_flow_of_its_own_is_a_scenario() -> None:
    own = {path.parent for path in _FLOWS if path.parent.name != "call"}
    assert own <= set(_FOLDERS)


@pytest.mark.parametrize("name", ["verify-iat-stale/scenario.toml", "targets/kamailio-exec.toml"])
def test_readme_shows_the_file_as_it_is(name: str) -> None:
    assert f"```toml\n{(scenario.ROOT / name).read_text()}```" in (scenario.ROOT / "README.md").read_text()


def test_targets_and_reach_in_the_readme_are_read(tmp_path: Path) -> None:
    blocks = (scenario.ROOT / "README.md").read_text().split("```toml\n")[1:]
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
    text = (scenario.ROOT / "README.md").read_text()
    names = [field.name.rstrip("_") for field in fields(kind)]
    assert [name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text)] == []
