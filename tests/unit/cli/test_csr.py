"""`shakenctl csr`: a request of the settings and the options, and what to do with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.keys import new_key, read_key, write_key
from kamailio_app.lifecycle.renewal import plan
from kamailio_app.lifecycle.request import read_request, requested_authority, subject_in_words
from kamailio_app.runtime.settings import load

from ..builders import NOW

SETTINGS = '[provider]\nprovider_name = "Example Telephone Company"\ncountry = "CA"\nspc = "1234"\n'


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    write_key(tmp_path / "a.key", new_key())
    (tmp_path / "stirshaken.toml").write_text(SETTINGS)
    return tmp_path


def run(desk: Path, *arguments: str) -> Result:
    fixed = ["csr", "new", "--key", str(desk / "a.key"), "--settings", str(desk / "stirshaken.toml")]
    return CliRunner().invoke(main, [*fixed, *arguments])


def made(desk: Path, *arguments: str) -> tuple[str, TNAuthList | None]:
    result = run(desk, *arguments)
    assert result.exit_code == 0, result.output
    request = read_request((desk / "a.csr").read_bytes())
    return subject_in_words(request), requested_authority(request)


def test_settings_say_whose_request_it_is(desk: Path) -> None:
    assert made(desk) == ("CN=SHAKEN 1234,O=Example Telephone Company,C=CA", TNAuthList(("1234",)))


def test_options_go_before_the_settings(desk: Path) -> None:
    subject, authority = made(desk, "--spc", "5678", "--organization", "Other", "--country", "US", "--serial-number", "42")
    assert (subject, authority) == ("CN=SHAKEN 5678,serialNumber=42,O=Other,C=US", TNAuthList(("5678",)))


def test_delegate_asks_for_numbers_and_not_for_the_settings_code(desk: Path) -> None:
    subject, authority = made(desk, "--range", "12155550000+100", "--tn", "12155551212", "--tn", "12155551213")
    assert authority == TNAuthList((), (TelephoneNumberRange("12155550000", 100),), ("12155551212", "12155551213"))
    assert subject == "CN=Example Telephone Company,O=Example Telephone Company,C=CA"


def test_request_is_written_where_it_is_asked_for(desk: Path) -> None:
    assert run(desk, "--out", str(desk / "b.csr")).exit_code == 0
    assert (desk / "b.csr").exists()
    assert not (desk / "a.csr").exists()


def test_what_comes_next_is_said(desk: Path) -> None:
    said = run(desk).output
    assert said.startswith(f"{desk / 'a.csr'}: a request for SPC 1234\n")
    for step in (
        "shakenctl sti-pa token",
        "your STI-CA says which",
        f"shakenctl acme install a chain.pem --key {desk / 'a.key'}",
    ):
        assert step in said
    mark = json.loads(run(desk, "--out", str(desk / "b.csr"), "--json").output)["fingerprint"]
    assert f'--fingerprint "{mark}"' in said


def test_delegate_needs_no_spc_token(desk: Path) -> None:
    said = run(desk, "--tn", "12155550121").output
    assert "token" not in said
    for step in ("RFC 9060", f"shakenctl inspect {desk / 'a.key'} {desk / 'a.pem'}"):
        assert step in said


def test_json_says_what_was_asked_for(desk: Path) -> None:
    crl = ["--crl-url", "https://pa.example.test/crl", "--crl-issuer", "CN=STI-PA CRL, C=US"]
    data: dict[str, Any] = json.loads(run(desk, *crl, "--json").output)
    assert data["subject"] == "CN=SHAKEN 1234,O=Example Telephone Company,C=CA"
    assert data["tnauthlist"] == ["SPC 1234"]
    assert data["crl"] == {"url": "https://pa.example.test/crl", "issuer": "CN=STI-PA CRL, C=US"}


def test_request_that_is_there_stays(desk: Path) -> None:
    (desk / "a.csr").write_text("mine")
    result = run(desk)
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "file_exists")
    assert (desk / "a.csr").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        (["--organization", ""], "request_invalid"),
        (["--country", "USA"], "request_invalid"),
        (["--spc", "12 34"], "request_invalid"),
        (["--tn", "+12155551212"], "request_invalid"),
        (["--range", "12155550000+1"], "request_invalid"),
        (["--crl-url", "pa.example.test/crl"], "request_invalid"),
        (["--key", "/nowhere/a.key"], "key_unreadable"),
        (["--out", "/nowhere/a.csr"], "file_unwritable"),
    ],
)
def test_what_cannot_be_certified_ends_with_3_and_advice(desk: Path, arguments: list[str], token: str) -> None:
    result = run(desk, *arguments)
    assert result.exit_code == 3
    said, advice = result.stderr.splitlines()
    assert (said.partition(":")[0], bool(advice)) == (token, True)
    assert not (desk / "a.csr").exists()


def test_nothing_to_ask_for_is_said(desk: Path) -> None:
    (desk / "stirshaken.toml").write_text('[provider]\nprovider_name = "Example"\n')
    result = run(desk)
    assert result.stderr.splitlines()[0] == "request_invalid: neither a provider code nor a number"


@pytest.mark.parametrize("arguments", [["--range", "12155550000"], ["--range", "a+5"], ["--crl-issuer", "CN=x"]])
def test_command_line_that_is_none_ends_with_2(desk: Path, arguments: list[str]) -> None:
    assert run(desk, *arguments).exit_code == 2


# --- A new pair ---------------------------------------------------------------------------------------------------


def new_pair(desk: Path, *arguments: str) -> Result:
    (desk / "stirshaken.toml").write_text(f'{SETTINGS}provider_state_dir = "state"\n')
    return CliRunner().invoke(main, ["csr", "new", "--settings", str(desk / "stirshaken.toml"), *arguments])


def test_new_pair_for_ones_own_code_is_another_commands(desk: Path) -> None:
    for arguments in ((), ("--spc", "5678")):
        result = new_pair(desk, *arguments)
        assert (result.exit_code, "shakenctl acme request" in result.stderr) == (2, True)
    assert "--name" in new_pair(desk, "--tn", "12155551212").stderr


def test_delegate_without_a_key_has_a_new_pair_that_waits_for_its_certificate(desk: Path) -> None:
    result = new_pair(desk, "--name", "delegate", "--tn", "12155551212")
    assert result.exit_code == 0, result.output
    (pair,) = pairs.pending(desk / "state")
    assert (pair.name, pair.state) == ("delegate", "requested")
    request = read_request(pair.request_file.read_bytes())
    assert request.public_key() == read_key(pair.key_file).public_key()
    assert requested_authority(request) == TNAuthList((), (), ("12155551212",))
    assert "shakenctl acme install delegate chain.pem" in result.output


def test_pair_has_the_name_that_is_given_once(desk: Path) -> None:
    assert new_pair(desk, "--name", "delegate", "--tn", "12155551212").exit_code == 0
    assert [pair.name for pair in pairs.pending(desk / "state")] == ["delegate"]
    former = (desk / "state" / "pairs" / "delegate.key").read_bytes()
    result = new_pair(desk, "--name", "delegate", "--tn", "12155551212")
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "key_exists")
    assert (desk / "state" / "pairs" / "delegate.key").read_bytes() == former


@pytest.mark.parametrize(("arguments", "spc"), [((), ""), (("--spc", "5678"), "5678")])
def test_timer_leaves_a_new_pair_to_the_person_who_made_it(desk: Path, arguments: tuple[str, ...], spc: str) -> None:
    result = new_pair(desk, "--name", "delegate", "--tn", "12155551212", *arguments, "--json")
    name, settings = json.loads(result.output)["pair"], desk / "stirshaken.toml"
    record = pairs.recall(desk / "state", name)
    assert (record.by_hand, record.spc) == (True, spc)
    assert abs(record.asked - time.time()) < 60
    settings.write_text(f'{settings.read_text()}[sti_ca]\nacme_directory = "https://ca.example.net/directory"\n')
    assert plan(load(settings), float(NOW)).name == "sp1234-20231114"


def test_what_cannot_be_asked_for_leaves_no_pair(desk: Path) -> None:
    assert new_pair(desk, "--name", "delegate", "--tn", "12155551212", "--country", "USA").exit_code == 3
    assert pairs.pending(desk / "state") == []
    assert new_pair(desk, "--name", "../evil", "--tn", "12155551212").exit_code == 3
    assert not (desk / "evil.key").exists()


@pytest.mark.parametrize(
    "arguments", [["--tn", "12155551212"], ["--out", "a.csr"], ["--passphrase-file", "x"], ["--name", "a", "--key", "b"]]
)
def test_pair_and_key_of_ones_own_exclude_each_other(desk: Path, arguments: list[str]) -> None:
    assert new_pair(desk, *arguments).exit_code == 2


def test_pair_needs_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.cli.csr.settings_if_any", lambda _path: None)
    assert CliRunner().invoke(main, ["csr", "new", "--spc", "1234"]).exit_code == 2
