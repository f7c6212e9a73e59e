"""`shakenctl doctor`: one table, what to do, and an exit status that a program can go by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.doctor.checks import AREAS
from kamailio_app.doctor.site import Site

from ..doctor.clinic import NOW, Clinic, opened, pair

ARGUMENTS = ("--user", "root", "--only", "files", "--only", "pairs", "--only", "server", "--only", "self-call")


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    with opened(tmp_path, monkeypatch) as made:
        made.site()
        monkeypatch.setattr("kamailio_app.cli.doctor.Site", partial(Site, connect=lambda *_: made.server))
        yield made


def doctor(clinic: Clinic, *arguments: str, color: bool = False) -> Result:
    clinic.write()
    return CliRunner().invoke(main, ["doctor", "--settings", str(clinic.settings), *ARGUMENTS, *arguments], color=color)


def data(clinic: Clinic, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(doctor(clinic, "--json", *arguments).stdout)
    return found


def test_edge_in_order_is_a_table_and_a_sum(clinic: Clinic) -> None:
    result = doctor(clinic)
    head, *rows, summary = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert head.split() == ["STATE", "AREA", "CHECK", "SEEN"]
    assert all(row.startswith("good  ") for row in rows)
    assert summary == f"{len(rows)} good, 0 not looked at, 0 warnings, 0 bad"


def test_what_is_bad_is_followed_by_what_to_do(clinic: Clinic) -> None:
    (clinic.certs / "sp1234.key").chmod(0o644)
    result = doctor(clinic)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "sp1234.key is open to others" in line)
    assert lines[at].startswith("bad ")
    assert lines[at + 1].strip() == f"-> chmod 640 {clinic.certs}/sp1234.key [decision 6]"
    assert lines[at + 1].index("->") == lines[0].index("SEEN")


def test_warning_and_what_was_not_looked_at_are_no_failure(clinic: Clinic) -> None:
    clinic.add("sp1234", pair(begins=NOW - 80 * 86400, ends=NOW + 7 * 86400))
    result = doctor(clinic, "--no-server")
    assert result.exit_code == 0, result.output
    # What keeps all of them from looking is said once
    assert result.stdout.count("no Kamailio is asked") == 1
    assert "version, 11 more" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(", 12 not looked at, 1 warning, 0 bad")


def test_kamailio_that_is_down_is_bad_for_a_monitor(clinic: Clinic) -> None:
    clinic.server.gone = True
    result = doctor(clinic)
    assert result.exit_code == 1
    assert "no Kamailio answers" in result.stdout
    assert doctor(clinic, "--offline").exit_code == 0


@pytest.mark.parametrize(("section", "option"), [("x5u", "x5u_tls_ca_file"), ("trust", "sti_pa_ca_file")])
def test_file_with_which_no_server_starts_is_status_3_where_nothing_is_signed_either(
    clinic: Clinic, section: str, option: str
) -> None:
    (clinic.directory / "garbage.pem").write_text("garbage")
    clinic.set(section, **{option: "garbage.pem"})
    clinic.set("signing", public_cert_url="", certificate_dir="none")
    result = doctor(clinic)
    assert result.exit_code == 3
    assert f"[{section}] {option}: " in result.stdout


def test_settings_that_no_server_takes_are_status_3(clinic: Clinic) -> None:
    clinic.set("log", colour=True)
    result = doctor(clinic)
    assert result.exit_code == 3
    assert "option_unknown" in result.stdout
    assert "sp1234 signs for 1234" in result.stdout


def test_settings_that_are_not_there_are_status_3_and_no_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["doctor", "--settings", str(tmp_path / "none.toml"), "--only", "files", "--only", "pairs"]
    )
    assert result.exit_code == 3
    assert "settings_unreadable" in result.stdout
    assert "Traceback" not in result.output


def test_json_has_every_finding_and_the_sum(clinic: Clinic) -> None:
    clinic.server.loaded.remove("htable")
    found = data(clinic)
    (bad,) = [each for each in found["findings"] if each["state"] == "bad"]
    assert (bad["area"], bad["check"], bad["clause"]) == ("server", "modules", "cfg/README.md")
    assert "htable" in bad["seen"]
    assert bad["fix"]
    assert found["summary"]["bad"] == 1
    assert found["fine"] is False


def test_words_stand_beside_colours_which_are_for_terminals(clinic: Clinic) -> None:
    (clinic.certs / "sp1234.key").chmod(0o644)
    plain, coloured = doctor(clinic).stdout, doctor(clinic, color=True).stdout
    assert "\x1b[" not in plain
    assert click.style("bad", fg="red") in coloured
    assert click.style("good", fg="green") in coloured
    assert click.unstyle(coloured).splitlines()[0] == plain.splitlines()[0]


def test_area_that_is_none_is_refused_with_those_that_are() -> None:
    result = CliRunner().invoke(main, ["doctor", "--only", "everything"])
    assert result.exit_code == 2
    assert all(area in result.stderr for area in AREAS)


def test_names_of_files_cannot_write_on_the_terminal(clinic: Clinic) -> None:
    (clinic.certs / "a\x1b[2Jb.key").write_text("x")
    assert "\x1b" not in doctor(clinic).stdout
