"""`shakenctl completion`, read by a shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kamailio_app.cli.main import main

PROGRAM = Path(sys.executable).parent / "shakenctl"


def script(shell: str) -> str:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    return done.stdout


def completed(*words: str) -> list[str]:
    """What bash offers for the last word, by the function that it registered."""
    line = " ".join(f"'{word}'" for word in ("shakenctl", *words))
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; COMPREPLY=(); _shakenctl_completion shakenctl"
    text = f"{script('bash')}\ncomplete -p shakenctl >&2\n{ask}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc"], input=text, env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert "-F _shakenctl_completion shakenctl" in done.stderr
    return done.stdout.split()


def test_bash_completes_commands() -> None:
    assert completed("onb") == ["onboard"]


def test_bash_completes_subcommands_of_a_command() -> None:
    assert set(completed("onboard", "")) == {"show", "note", "done", "undo", "not-needed"}


def test_bash_completes_options_steps_and_choices() -> None:
    assert completed("onboard", "--cou") == ["--country"]
    assert completed("onboard", "--country", "") == ["US", "CA", "FR"]
    assert completed("onboard", "show", "sti") == ["sti-pa", "sti-ca"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_ends_with_the_line_that_installs_it(shell: str) -> None:
    *_rest, last = script(shell).splitlines()
    assert last.startswith(f"# To install it: shakenctl completion {shell} > ")
    data = json.loads(CliRunner().invoke(main, ["completion", shell, "--json"]).stdout)
    assert (data["shell"], last.endswith(data["install"])) == (shell, True)


def test_zsh_finds_the_script_by_its_first_line() -> None:
    # zshcompsys(1): a file of fpath is autoloaded if it begins so
    assert script("zsh").startswith("#compdef shakenctl\n")


@pytest.mark.parametrize(("shell", "flag"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_shell_can_read_its_script(shell: str, flag: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script(shell))
    subprocess.run([shell, flag, str(tmp_path / "script")], check=True, timeout=30)


def test_other_shells_are_none() -> None:
    assert CliRunner().invoke(main, ["completion", "csh"]).exit_code == 2
