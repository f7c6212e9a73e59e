"""`shakenctl numbers` as an operator sees it: what is said, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.runtime.numbers import Numbers


class Desk:
    """A settings file that names both lists, and a shell."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = directory / "stirshaken.toml"
        self.inventory, self.never = directory / "numbers.mdb", directory / "never.mdb"
        self.configure('[signing]\ninventory_file = "numbers.mdb"\ndo_not_originate_file = "never.mdb"\n')

    def configure(self, text: str) -> None:
        self.settings.write_text(text)

    def run(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, ["numbers", *arguments, "--settings", str(self.settings)], input=stdin)

    def json(self, *arguments: str, stdin: str = "", status: int = 0) -> Any:
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.exit_code == status, done.output
        return json.loads(done.stdout)

    def csv(self, text: str) -> str:
        path = self.directory / "list.csv"
        path.write_text(text)
        return str(path)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_import_says_what_came_of_it(desk: Desk) -> None:
    done = desk.run("import", desk.csv("customer,number\nalpha,1215*\nbeta,12155551212\nalpha,12155551212\n"))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].startswith(f"{desk.inventory}: 3 entries from {desk.directory}/list.csv in ")
    assert "2 customers; 1 segments of 14 have several" in done.stdout
    assert "1 entries give a customer numbers that he has by another entry" in done.stdout
    assert Numbers(desk.inventory).owners("12155551212") == ("alpha", "beta")


def test_import_as_json(desk: Desk) -> None:
    data = desk.json("import", desk.csv("alpha,911\nalpha,bad\n"), "--skip-bad")
    assert (data["entries"], data["customers"], data["bad"], data["doubled"]) == (1, 1, 1, 0)
    assert data["bad_lines"] == ["line 2: 'bad' is no number, prefix* or first-last"]
    assert data["file"] == str(desk.inventory)
    assert data["octets"] == desk.inventory.stat().st_size


def test_import_from_standard_input_into_a_file_that_is_named(desk: Desk) -> None:
    place = desk.directory / "elsewhere.mdb"
    data = desk.json("import", "-", "--out", str(place), "--delimiter", "semicolon", stdin="alpha;911\n")
    assert data["source"] == "standard input"
    assert Numbers(place).owners("911") == ("alpha",)
    assert not desk.inventory.exists()


def test_import_of_a_do_not_originate_list(desk: Desk) -> None:
    done = desk.run("import", desk.csv("911\n1900*\n"), "--list", "do-not-originate")
    assert done.exit_code == 0
    assert "customers" not in done.stdout
    assert Numbers(desk.never).holds("19005551212")


def test_bad_lines_stop_the_import(desk: Desk) -> None:
    done = desk.run("import", desk.csv("alpha,911\nbeta,bad\n"))
    assert done.exit_code == 3
    assert "inventory_malformed: " in done.stderr
    assert "line 2: 'bad' is no number" in done.stderr
    assert not desk.inventory.exists()


def test_empty_list_has_to_be_meant(desk: Desk) -> None:
    assert desk.run("import", desk.csv("")).exit_code == 3
    assert desk.run("import", desk.csv(""), "--allow-empty").exit_code == 0
    assert desk.inventory.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-", "--from", "postgresql://h/d", "--query", "select"),
        ("--from", "postgresql://h/d"),
        ("-", "--query", "select"),
        ("/no/such/file.csv",),
        ("-", "--list", "others"),
    ],
)
def test_command_lines_that_are_none(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk.run("import", *arguments).exit_code == 2


def test_url_with_a_password_is_refused_and_not_shown(desk: Desk) -> None:
    done = desk.run("import", "--from", "postgresql://user:hunter2@127.0.0.1/db", "--query", "select")
    assert done.exit_code == 3
    assert "PGPASSWORD" in done.stderr
    assert "hunter2" not in done.output


def test_settings_without_list_are_said(desk: Desk) -> None:
    desk.configure("")
    done = desk.run("import", desk.csv("alpha,911\n"))
    assert done.exit_code == 3
    assert "no inventory_file" in done.stderr
    assert "name the file with --out" in done.stderr
    assert desk.run("stat").exit_code == desk.run("show", "911").exit_code == 3
    assert desk.run("import", desk.csv("alpha,911\n"), "--out", str(desk.inventory)).exit_code == 0


def test_settings_are_not_needed_where_the_file_is_named(desk: Desk) -> None:
    desk.settings.unlink()
    file = str(desk.inventory)
    assert desk.run("import", desk.csv("alpha,911\n")).exit_code == 3
    assert desk.run("import", desk.csv("alpha,911\n"), "--out", file).exit_code == 0
    assert desk.json("show", "911", "--file", file)["customers"] == ["alpha"]
    assert desk.run("stat", "--file", file).exit_code == 0


def test_numbers_are_read_with_the_plan_of_the_settings(desk: Desk) -> None:
    desk.configure(
        '[signing]\ninventory_file = "numbers.mdb"\n[numbers]\ncountry_code = "1"\nnational_prefix = "1"\n'
        'international_prefix = "011"\nnational_number_length = 10\n'
    )
    desk.json("import", desk.csv("alpha,2155551212\n"))
    found = desk.json("show", "(215) 555-1212")
    assert (found["number"], found["customers"]) == ("12155551212", ["alpha"])


def test_show_says_customers_and_whether_it_never_calls(desk: Desk) -> None:
    desk.json("import", desk.csv("alpha,911\nbeta,911\n"))
    desk.json("import", desk.csv("911\n912\n"), "--list", "do-not-originate")
    assert desk.run("show", "911").stdout == "911: alpha, beta; it never calls\n"
    assert desk.json("show", "912") == {"number": "912", "customers": [], "do_not_originate": True}
    nobody = desk.run("show", "+913")
    assert (nobody.exit_code, nobody.stdout) == (1, "913: nobody\n")
    assert desk.run("show", "no number").exit_code == desk.run("show", "abc").exit_code == 2


def test_show_does_not_guess_without_the_lists(desk: Desk) -> None:
    done = desk.run("show", "911")
    assert done.exit_code == 3
    assert f"inventory_unreadable: {desk.inventory}: not imported yet" in done.stderr
    assert "`shakenctl numbers import FILE` makes it" in done.stderr
    desk.json("import", desk.csv("alpha,911\n"))
    done = desk.run("show", "911")
    assert (done.exit_code, done.stdout) == (0, "911: alpha\n")
    assert done.stderr == f"{desk.never}: the do-not-originate list is not imported yet\n"
    assert json.loads(desk.run("show", "911", "--json").stdout)["do_not_originate"] is None


def test_inventory_is_not_imported_as_numbers_that_never_call(desk: Desk) -> None:
    done = desk.run("import", desk.csv("customer,number\nalpha,911\n"), "--list", "do-not-originate")
    assert done.exit_code == 3
    assert "a column customer" in done.stderr
    assert "leave `--list` out" in done.stderr
    assert not desk.never.exists()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("number\n911\n", "`--list do-not-originate`"),
        ("911\n912\n", "`--list do-not-originate`"),
        ("alpha;911\n", "`--delimiter`"),
        ("", "`--allow-empty`"),
        ("alpha,911\nbeta,bad\n", "`--skip-bad`"),
    ],
)
def test_what_is_wrong_with_a_file_says_the_option(desk: Desk, text: str, advice: str) -> None:
    done = desk.run("import", desk.csv(text))
    assert done.exit_code == 3
    assert advice in done.stderr.splitlines()[-1]
    assert not desk.inventory.exists()


def test_stat_shows_both_lists(desk: Desk) -> None:
    desk.json("import", desk.csv("alpha,911\nbeta,1215*\n"))
    desk.json("import", desk.csv("911\n"), "--list", "do-not-originate")
    inventory, never = desk.json("stat")
    assert (inventory["list"], inventory["entries"], inventory["customers"], inventory["segments"]) == ("inventory", 2, 2, 13)
    assert (never["list"], never["entries"], never["problem"]) == ("do-not-originate", 1, None)
    assert inventory["imported"].endswith("+00:00")
    assert "do-not-originate" in desk.run("stat").stdout


def test_stat_finds_lists_that_were_mixed_up_or_damaged(desk: Desk) -> None:
    desk.json("import", desk.csv("911\n"), "--list", "do-not-originate", "--out", str(desk.inventory))
    desk.json("import", desk.csv("911\n"), "--list", "do-not-originate")
    octets = bytearray(desk.never.read_bytes())
    octets[-100] ^= 1
    desk.never.write_bytes(octets)
    inventory, never = desk.json("stat", status=3)
    assert "do-not-originate, not inventory" in inventory["problem"]
    assert "it is damaged" in never["problem"]
