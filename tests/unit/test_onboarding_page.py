"""cfg/ONBOARDING.md, executed: the guide's sequence, the commands in their order, the words for what a step can be."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.lab.control import Control
from kamailio_app.lab.world import World
from kamailio_app.lifecycle.checklist import State
from kamailio_app.lifecycle.checklist_steps import steps_of

from .cli.command_tree import parsed

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "cfg/ONBOARDING.md").read_text("utf-8")
WRITTEN: Final = PAGE.partition("<!-- checklists: begin -->")[0]
LINES: Final = [line for block in re.findall(r"```sh\n(.*?)```", WRITTEN, re.DOTALL) for line in block.splitlines()]
LABORATORY: Final = [
    line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", WRITTEN, re.DOTALL) for line in block.splitlines()
]
_STATE_DIR: Final = "/var/lib/kamailio-stirshaken/provider"
_WHEN: Final = 1_796_000_000.0  # 2026-11-30


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's settings and receipt, on a day in its time."""
    (settings,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert _STATE_DIR in settings
    (tmp_path / "stirshaken.toml").write_text(settings.replace(_STATE_DIR, "state"))
    (tmp_path / "receipt.pdf").write_bytes(b"paid")
    monkeypatch.setattr("kamailio_app.cli.onboard.time", SimpleNamespace(time=lambda: _WHEN))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shakenctl(host: Path, *words: str) -> Result:
    return CliRunner().invoke(main, words, env={"STIRSHAKEN_SETTINGS": str(host / "stirshaken.toml")})


def test_commands_of_the_page_can_be_typed_one_after_the_other(host: Path) -> None:
    for line in LINES:
        words = shlex.split(line.partition(" > ")[0])
        done = shakenctl(host, *words[1:])
        assert (words[0], done.exit_code) == ("shakenctl", 0), f"{line}: {done.output}"
    states = dict(re.findall(r"^[+!-]? +(\S+) +(done|open|not needed|after)", shakenctl(host, "onboard").output, re.MULTILINE))
    said = {"entity": "done", "frn": "done", "499a": "done", "ocn": "done", "rmd": "open", "numbers": "open"}
    assert {name: states[name] for name in said} == said


def test_guides_sequence_has_every_step_once_in_its_order() -> None:
    table = WRITTEN.partition("| the guide |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[2])]
    ours = [step.id for step in steps_of("US")]
    # The guide has the 499-A before the FRN; the page says why we have not
    assert sorted(named) == sorted(ours)
    assert [name for name in named if name not in ("frn", "499a")] == [name for name in ours if name not in ("frn", "499a")]


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(shakenctl [^`]+)`", WRITTEN))))
def test_command_between_the_lines_is_one(line: str) -> None:
    parsed(shlex.split(line)[1:], whole=False)


def test_every_state_is_explained() -> None:
    told = {State.BLOCKED: "after"}
    assert [state for state in State if f"`{told.get(state, state.value)}`" not in WRITTEN] == []


def test_laboratory_of_the_page_can_be_gone_through(tmp_path: Path) -> None:
    """Its lines in their order, but for the server and the shell's own: the server runs here."""
    directory = tmp_path / "lab"
    with World(directory) as world, Control(directory, world.tell):
        for line in LABORATORY:
            words = shlex.split(line.replace("~/shaken-lab", str(directory)))
            if words[0] == "export" or words[1:3] == ["lab", "up"]:
                assert str(directory) in line.replace("~/shaken-lab", str(directory))
                continue
            done = CliRunner().invoke(main, words[1:], env={"STIRSHAKEN_SETTINGS": str(world.settings_file)})
            assert (words[0], done.exit_code) == ("shakenctl", 0), f"{line}: {done.output}"
    assert [line for line in LABORATORY if "lab up" in line]
