"""The whole command line: `--help` suffices for a newcomer, options are spelled alike, exit codes are as documented."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import click
import pytest
from click.testing import CliRunner

from kamailio_app.cli.main import COMMANDS, main
from kamailio_app.errors import FAILURES
from kamailio_app.lifecycle.checklist_steps import COUNTRIES

from .command_tree import TREE, Path_, parsed

# Data for programs would be nothing new here
_SAYS_NOTHING: Final[set[str]] = set()
# These look at what they are given before they look at the settings; nothing is given here
_READS_FIRST: Final = {("explain",)}
EVERY: Final = [pytest.param(path, id=" ".join(path) or "shakenctl") for path in TREE]
ASKED: Final = [
    pytest.param(path, id=" ".join(path))
    for path, command in TREE.items()
    if path and (not isinstance(command, click.Group) or command.invoke_without_command)
]


def options(path: Path_) -> list[click.Option]:
    return [parameter for parameter in TREE[path].params if isinstance(parameter, click.Option)]


def help_of(path: Path_) -> str:
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0, done.output
    return done.stdout


def command_lines(path: Path_) -> list[str]:
    """What its help says to type: lines, and parts of a pipe, that begin with shakenctl."""
    text = TREE[path].help or ""
    return re.findall(r"^(?:.*[|:])? *(shakenctl [^`\n]+?)(?: +(?:[|>&#].*|<\(.*))?$", text, re.MULTILINE)


def test_commands_are_in_order_and_each_module_is_one() -> None:
    assert list(COMMANDS) == sorted(COMMANDS)
    modules = {path.stem for path in (Path(main.callback.__code__.co_filename).parent).glob("*.py")}  # type: ignore[union-attr]
    others = {"__init__", "main", "output"}
    assert {name.replace("-", "_") for name in COMMANDS} <= modules - others


@pytest.mark.parametrize("path", EVERY)
def test_help_says_what_for_in_one_sentence_first(path: Path_) -> None:
    text = (TREE[path].help or "").strip()
    first = re.split(r"(?<=[.?!])\s", " ".join(text.split()))[0]
    assert re.search(r"[.?!]$", first), text
    assert first[0].isupper()
    assert 10 <= len(first) <= 200
    assert first.split()[0] in help_of(path)


@pytest.mark.parametrize("path", EVERY)
def test_every_option_says_what_it_does(path: Path_) -> None:
    silent = [option.name for option in options(path) if not (option.help or "").strip()]
    assert silent == []


@pytest.mark.parametrize("path", ASKED)
def test_help_has_an_example_of_its_command(path: Path_) -> None:
    beginning = " ".join(("shakenctl", *path))
    assert [line for line in command_lines(path) if re.match(rf"{re.escape(beginning)}(?: |$)", line)], command_lines(path)


@pytest.mark.parametrize(("path", "line"), [(path, line) for path in TREE for line in command_lines(path)])
def test_command_line_that_a_help_shows_is_one(path: Path_, line: str) -> None:
    parsed(shlex.split(line)[1:])


@pytest.mark.parametrize("path", EVERY)
def test_command_that_a_help_names_is_one(path: Path_) -> None:
    text = " ".join((TREE[path].help or "").split())
    for line in re.findall(r"`(shakenctl [^`]+)`", text):
        parsed(shlex.split(line)[1:], whole=False)


@pytest.mark.parametrize("path", ASKED)
def test_what_is_said_can_be_had_as_json(path: Path_) -> None:
    named = {name for option in options(path) for name in option.opts}
    assert "--json" in named or " ".join(path) in _SAYS_NOTHING


@pytest.mark.parametrize("path", EVERY)
def test_options_are_spelled_alike(path: Path_) -> None:
    for option in options(path):
        long = [name for name in (*option.opts, *option.secondary_opts) if name.startswith("--")]
        assert long, option.name
        assert all(re.fullmatch(r"--[a-z0-9]+(-[a-z0-9]+)*", name) for name in long)
        if "--settings" in long:
            assert option.envvar == "STIRSHAKEN_SETTINGS"


@pytest.mark.parametrize("token", FAILURES)
def test_command_that_a_failure_advises_is_one(token: str) -> None:
    for line in re.findall(r"`(shakenctl [^`]+)`", FAILURES[token].advice):
        parsed(shlex.split(line)[1:], whole=False)


@pytest.mark.parametrize("line", sorted({line for steps in COUNTRIES.values() for step in steps for line in step.commands}))
def test_command_of_the_checklist_is_one(line: str) -> None:
    parsed(shlex.split(line)[1:])


def test_exit_codes_are_documented() -> None:
    text = " ".join(help_of(()).split())
    for code in (
        "0 fine",
        "1 no: nothing found, refused, or something is wrong",
        "2 no such command or option",
        "3 settings or files cannot be used",
    ):
        assert code in text


@pytest.mark.parametrize("path", EVERY)
def test_option_that_is_none_ends_with_2(path: Path_) -> None:
    assert CliRunner().invoke(main, [*path, "--no-such-option"]).exit_code == 2


def words_for(path: Path_, settings: Path) -> list[str]:
    """The least that this command takes."""
    words = [*path, "--settings", str(settings)]
    words += [name for option in options(path) for name in option.opts if name == "--yes"]
    for parameter in TREE[path].params:
        if parameter.required:
            value = _any(parameter.type)
            words += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return words


def _any(kind: Any) -> str:
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    return "1" if isinstance(kind, click.types.IntParamType | click.types.FloatParamType) else "12155550121"


@pytest.mark.parametrize("path", ASKED)
def test_settings_that_cannot_be_used_end_with_3_and_what_to_do(path: Path_, tmp_path: Path) -> None:
    """Unless the command asks for more than its parser knows."""
    if not any("--settings" in option.opts for option in options(path)):
        pytest.skip("it needs no settings")
    settings = tmp_path / "stirshaken.toml"
    settings.write_text("[provider]\nspcc = 1\n")
    done = CliRunner().invoke(main, words_for(path, settings))
    if done.exit_code == 2:
        pytest.skip("it needs more than it says to its parser")
    assert done.exit_code == 3, done.output
    assert len(done.output.splitlines()) >= 2
    assert "option_unknown" in done.output or path in _READS_FIRST


def test_example_with_a_wrong_option_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parsed(["onboard", "show", "ocn", "--colour"])
    with pytest.raises(click.UsageError):
        parsed(["onboard", "shw"])
    with pytest.raises(click.UsageError):
        parsed(["onboard", "show"])


@pytest.mark.parametrize(("typed", "meant"), [("onbord", "onboard"), ("polcy", "policy"), ("stipa", "sti-pa")])
def test_command_of_another_spelling_is_suggested(typed: str, meant: str) -> None:
    result = CliRunner().invoke(main, [typed])
    assert (result.exit_code, f"Did you mean '{meant}'" in result.stderr) == (2, True)
    assert "Did you mean" not in CliRunner().invoke(main, ["xyzzy"]).stderr
