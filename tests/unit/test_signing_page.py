"""cfg/SIGNING.md, executed: its policies, expectations, lists of numbers, and its commands with what they print."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.runtime.policy_file import parse
from kamailio_app.runtime.record import BEGIN, FIELDS, SEPARATOR
from kamailio_app.runtime.record_line import line_of

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "cfg/SIGNING.md").read_text("utf-8")
_BLOCK: Final = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(language: str, first: str = "") -> list[str]:
    return [text for kind, text in _BLOCK.findall(PAGE) if kind == language and text.startswith(first)]


POLICIES: Final = blocks("toml", "# signing-policy.toml")
COMMANDS: Final = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The files of the page, in a directory of their own; lists of numbers are still to be imported."""
    (tmp_path / "policy.toml").write_text(POLICIES[0])
    (tmp_path / "test.toml").write_text(blocks("toml", "# signing-policy-test.toml\n")[0])
    (tmp_path / "numbers.csv").write_text(blocks("csv")[0])
    (tmp_path / "never-calling.csv").write_text("18005550100\n")
    lists = 'inventory_file = "numbers.mdb"\ndo_not_originate_file = "never.mdb"'
    text = f'[signing]\ncertificate_dir = "certs"\npolicy_file = "policy.toml"\n{lists}\n[record]\nrecord_dir = "calls"\n'
    (tmp_path / "stirshaken.toml").write_text(text)
    return tmp_path


def shakenctl(host: Path, line: str) -> Result:
    """A line of the page, with this host's files."""
    words = shlex.split(line.partition(" && ")[0])
    assert words[0] == "shakenctl"
    files = {"/etc/kamailio/signing-policy-test.toml": "test.toml", "numbers.csv": "numbers.csv"}
    files["never-calling.csv"] = "never-calling.csv"
    arguments = [str(host / files[word]) if word in files else word for word in words[1:]]
    return CliRunner().invoke(main, arguments, env={"STIRSHAKEN_SETTINGS": str(host / "stirshaken.toml")})


def command(beginning: str) -> str:
    (line,) = [line for line in COMMANDS if line.startswith(f"shakenctl {beginning}")]
    return line


def imported(host: Path) -> None:
    """The page's lists of numbers are, by its own commands."""
    assert shakenctl(host, command("numbers import numbers.csv")).exit_code == 0
    assert shakenctl(host, command("numbers import --list")).exit_code == 0


@pytest.mark.parametrize("policy", POLICIES, ids=["customers", "providers"])
def test_policy_is_one(policy: str) -> None:
    assert parse(Path("signing-policy.toml"), policy).rules


def test_explanation_is_what_the_command_prints(host: Path) -> None:
    imported(host)
    line = command("policy explain")
    result = shakenctl(host, line)
    shown = PAGE.partition(line)[2].partition("```\n\n```\n")[2].partition("```")[0]
    assert (result.exit_code, result.output) == (0, shown)


def test_caller_on_the_do_not_originate_list_is_rejected(host: Path) -> None:
    imported(host)
    result = shakenctl(host, "shakenctl policy explain --from 18005550100 --to 12155551213 --trunk acme-pbx")
    assert result.output.splitlines()[-1] == "rejected: 603 Decline"


def test_each_block_of_a_file_begins_with_its_name() -> None:
    names = {block.partition("\n")[0].split()[1] for block in blocks("toml")}
    assert names == {"stirshaken.toml", "signing-policy.toml", "signing-policy-test.toml"}


def test_expectations_are_met(host: Path) -> None:
    imported(host)
    assert shakenctl(host, command("policy test")).exit_code == 0


def test_numbers_of_the_page_are_imported_and_found(host: Path) -> None:
    imported(host)
    found = shakenctl(host, command("numbers show"))
    assert (found.exit_code, "acme" in found.output) == (0, True)
    never = shakenctl(host, "shakenctl numbers show 18005550100 --json")
    assert json.loads(never.output)["do_not_originate"] is True


@pytest.mark.parametrize("beginning", ["certificates list", "trace --origid ", "trace --orig "])
def test_command_says_no_where_there_is_nothing(host: Path, beginning: str) -> None:
    result = shakenctl(host, command(beginning).replace("answer.csv", str(host / "answer.csv")))
    assert result.exit_code in (1, 3), result.output
    assert result.output


def test_line_of_the_record_has_its_fields() -> None:
    frame = BEGIN + SEPARATOR.join(["1.000", *"abcdefghij", "7", *"klm"])
    line = line_of(frame.encode(), 0)
    assert line
    assert len(json.loads(line.text)) == FIELDS
    assert list(json.loads(blocks("json")[0])) == list(json.loads(line.text))


def test_every_command_of_the_page_is_tried_here() -> None:
    tried = ("policy explain", "policy test", "numbers import", "numbers show", "certificates list", "trace --orig")
    assert [line for line in COMMANDS if not line.startswith(tuple(f"shakenctl {words}" for words in tried))] == []
