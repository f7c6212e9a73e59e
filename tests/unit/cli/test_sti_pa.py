"""`shakenctl sti-pa` against the laboratory's STI-PA: what is said, what is written, and that no secret is among it."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.errors import FAILURES
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_pa import PASSWORD, USER, Account, LabStiPa
from kamailio_app.lifecycle.keys import fingerprint, new_key, write_key
from kamailio_app.lifecycle.spc_token import look_at_spc_token

KEY = new_key()
MARK = fingerprint(KEY.public_key(), "jwk")


@cache
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time(), "Lab\x1b[2J")


@pytest.fixture(scope="module")
def _server() -> Iterator[LabStiPa]:
    with LabStiPa(hierarchy(), hierarchy().web_server(["localhost"])) as running:
        yield running


@dataclass
class Office:
    """Settings and files of an operator."""

    directory: Path
    server: LabStiPa
    spc: str = "1234"
    sti_pa: dict[str, str] = field(default_factory=dict)
    roots: str = "pa.pem"
    acme: bool = True

    def __post_init__(self) -> None:
        (self.directory / "pa.pem").write_bytes(hierarchy().policy_root.pem)
        (self.directory / "web.pem").write_bytes(hierarchy().root.pem)
        (self.directory / "state").mkdir()
        write_key(self.directory / "state/acme-account.key", KEY)
        self.file("password", f"{PASSWORD}\n")

    def file(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)

    def run(self, *arguments: str) -> Result:
        options = {
            "sti_pa_url": self.server.url,
            "sti_pa_user": USER,
            "sti_pa_password_file": "password",
            "sti_pa_tls_ca_file": "web.pem",
            **self.sti_pa,
        }
        lines = [
            "[trust]",
            f'sti_pa_ca_file = "{self.roots}"',
            "[provider]",
            f'spc = "{self.spc}"',
            'provider_state_dir = "state"',
            "[sti_pa]",
            *(f"{name} = {json.dumps(value)}" for name, value in options.items()),
            *(["[sti_ca]", 'acme_directory = "https://ca.lab.example.net/directory"'] if self.acme else []),
        ]
        settings = self.directory / "stirshaken.toml"
        settings.write_text("\n".join(lines))
        result = CliRunner().invoke(main, ["sti-pa", *arguments, "--settings", str(settings)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert not [each for each in self.server.secrets if each in result.output]
        return result

    def path(self, name: str) -> str:
        return str(self.directory / name)


@pytest.fixture
def office(_server: LabStiPa, tmp_path: Path) -> Office:
    _server.behave()
    _server.asked.clear()
    return Office(tmp_path, _server)


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result, token: str, code: int = 3) -> str:
    """The detail; the advice stands below it."""
    assert result.exit_code == code, result.output
    line, advice = result.stderr.splitlines()
    assert (line.partition(":")[0], bool(advice)) == (token, True)
    assert result.stdout == ""
    return line.partition(": ")[2]


# --- login ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acme", "key", "words"),
    [
        (True, False, "shakenctl acme register"),
        (True, True, "shakenctl acme order, which gets an SPC token by itself"),
        (False, False, "shakenctl acme request, if your STI-CA has no ACME; else set acme_directory"),
    ],
)
def test_next_step_after_login_is_one_that_can_be_gone(office: Office, *, acme: bool, key: bool, words: str) -> None:
    office.acme = acme
    if not key:
        (office.directory / "state/acme-account.key").unlink()
    assert office.run("login").stdout.splitlines()[1] == f"Next: {words}"


def test_login_says_the_answer_and_the_next_step(office: Office) -> None:
    result = office.run("login")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            f"{office.server.url} accepts {USER}: Logged in successfully",
            "Next: shakenctl acme order, which gets an SPC token by itself",
        ],
    )
    assert data(office.run("login", "--json")) == {
        "url": office.server.url,
        "user": USER,
        "accepted": True,
        "next": "shakenctl acme order, which gets an SPC token by itself",
        "answer": "Logged in successfully",
    }


def test_refused_login_is_the_answer_no(office: Office) -> None:
    office.file("password", "open sesame")
    office.server.misbehave("echo")
    result = office.run("login")
    assert result.exit_code == 1
    line, advice = result.stdout.splitlines()
    assert line == f"{office.server.url} refuses {USER}: HTTP 401, status failure, errorCode 1002: " + (
        "Unknown user or wrong password: (secret)"
    )
    assert advice == FAILURES["sti_pa_refused"].advice
    result = office.run("login", "--json")
    assert (result.exit_code, json.loads(result.stdout)["accepted"]) == (1, False)


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"sti_pa_url": ""}, "sti_pa_unset"),
        ({"sti_pa_user": ""}, "sti_pa_unset"),
        ({"sti_pa_password_file": "absent"}, "secret_missing"),
        ({"sti_pa_tls_ca_file": "absent"}, "tls_roots_unreadable"),
        ({"sti_pa_tls_ca_file": "pa.pem"}, "sti_pa_unreachable"),
        ({"sti_pa_url": "https://localhost:1"}, "sti_pa_unreachable"),
    ],
)
def test_account_that_cannot_be_tried_is_unusable(office: Office, changes: dict[str, str], token: str) -> None:
    office.sti_pa = changes
    refused(office.run("login"), token)


@pytest.mark.parametrize(
    ("changes", "fault", "advice"),
    [
        ({"sti_pa_tls_ca_file": "pa.pem"}, "", "`sti_pa_tls_ca_file`"),
        ({"sti_pa_url": "https://localhost:1"}, "", "nothing listens there"),
        ({"sti_pa_url": "https://nobody.invalid"}, "", "getent hosts"),
        ({}, "500", "try again later"),
        ({}, "redirect", "`sti_pa_url`"),
        ({}, "compressed", "proxy"),
        ({}, "endless", "not what the STI-PA has"),
    ],
)
def test_next_step_is_about_the_cause(office: Office, changes: dict[str, str], fault: str, advice: str) -> None:
    office.sti_pa = changes
    if fault:
        office.server.misbehave(fault)
    result = office.run("login")
    refused(result, "sti_pa_unreachable")
    assert advice in result.stderr.splitlines()[1]
    assert ("portal lists" in result.stderr) == (advice == "nothing listens there")


def test_password_that_others_may_read_is_refused(office: Office) -> None:
    office.file("password", PASSWORD, 0o644)
    refused(office.run("login"), "secret_permissions")
    assert office.server.asked == []


def test_password_may_stand_in_the_environment(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIRSHAKEN_STI_PA_PASSWORD", PASSWORD)
    office.sti_pa = {"sti_pa_password_file": ""}
    assert office.run("login").exit_code == 0


# --- token ----------------------------------------------------------------------------------------------------------


def test_token_is_written_for_its_owner_and_shown_nowhere(office: Office) -> None:
    result = office.run("token", "--out", office.path("spc.token"))
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[0] == f"token in     {office.path('spc.token')}"
    assert lines[1:3] == ["SPC          1234", f"fingerprint  {MARK}"]
    assert lines[3].startswith("expires      20")
    assert lines[3].endswith(", in 60 minutes")
    assert lines[5] == f"CRL          {office.server.crl_url} of L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA"
    assert lines[-1] == f"Next, before it expires: shakenctl acme order --token-file {office.path('spc.token')}"
    path = Path(office.path("spc.token"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() in office.server.secrets


def test_token_as_data(office: Office) -> None:
    found = data(office.run("token", "--out", office.path("spc.token"), "--ca", "--json"))
    token = look_at_spc_token(Path(office.path("spc.token")).read_text())
    assert found.pop("expires") == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires))
    assert found == {
        "file": office.path("spc.token"),
        "spc": ["1234"],
        "tkvalue": "MAigBhYEMTIzNA==",
        "ca": True,
        "fingerprint": MARK,
        "jti": token.jti,
        "x5u": f"{office.server.url}/download/v1/certificate/sti-pa.crt",
        "signer": "O=STI-PA,C=US,CN=STI-PA CRL,ST=NJ,L=Bridgewater",
        "crl": {"url": office.server.crl_url, "issuer": "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA"},
    }


def test_fingerprint_is_of_the_key_and_in_the_form_that_are_named(office: Office) -> None:
    key = new_key()
    write_key(office.directory / "other.key", key, b"phrase")
    office.file("phrase", "phrase\n")
    office.sti_pa = {"spc_token_fingerprint": "spki"}
    options = ("--key", office.path("other.key"), "--passphrase-file", office.path("phrase"), "--json")
    found = data(office.run("token", "--out", office.path("spc.token"), *options))
    assert found["fingerprint"] == fingerprint(key.public_key(), "spki")
    found = data(office.run("token", "--out", office.path("spc.token"), "--fingerprint", MARK, "--json"))
    assert found["fingerprint"] == MARK


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fingerprint", "SHA256 00"), "Invalid value for '--fingerprint'"),
        (("--fingerprint", MARK, "--key", "state/acme-account.key"), "exclude each other"),
    ],
)
def test_command_line_that_is_none_is_refused(office: Office, options: tuple[str, ...], words: str) -> None:
    result = office.run("token", "--out", office.path("spc.token"), *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_account_key_has_to_be_there(office: Office) -> None:
    (office.directory / "state/acme-account.key").unlink()
    said, advice = office.run("token", "--out", office.path("t")).stderr.splitlines()
    assert said.startswith("account_key_missing: ")
    assert "`shakenctl acme register` makes it" in advice
    refused(office.run("token", "--out", office.path("t"), "--key", office.path("absent")), "key_unreadable")
    assert office.server.asked == []


def test_provider_code_has_to_be_set_and_can_be_named(office: Office) -> None:
    office.spc = ""
    refused(office.run("token", "--out", office.path("spc.token")), "sti_pa_unset")
    refused(office.run("token", "--out", office.path("spc.token"), "--spc", "../x"), "sti_pa_unset")
    office.server.accounts[USER] = Account(PASSWORD, frozenset({"1234", "9999"}))
    assert data(office.run("token", "--out", office.path("spc.token"), "--spc", "9999", "--json"))["spc"] == ["9999"]


@pytest.mark.parametrize(
    ("fault", "token"),
    [
        ("token-refused", "sti_pa_refused"),
        ("token-expired", "spc_token_expired"),
        ("token-wrong-fingerprint", "spc_token_mismatch"),
        ("token-unknown-signer", "spc_token_untrusted"),
        ("not-json", "sti_pa_malformed"),
        ("reset", "sti_pa_unreachable"),
    ],
)
def test_token_that_does_not_hold_is_not_written(office: Office, fault: str, token: str) -> None:
    office.server.misbehave(fault, "echo")
    refused(office.run("token", "--out", office.path("spc.token")), token)
    assert not Path(office.path("spc.token")).exists()


# --- ca-list and crl ------------------------------------------------------------------------------------------------


def test_list_is_shown_printable_and_needs_no_password(office: Office) -> None:
    office.sti_pa = {"sti_pa_password_file": ""}
    result = office.run("ca-list", "--out", office.path("list"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"list in      {office.path('list')}"
    assert lines[1] == "sequence     10"
    assert lines[4:] == ["STI-CAs      1", "  CN=Lab\\x1b[2J SHAKEN ROOT CA,O=Lab,C=US"]
    found = data(office.run("ca-list", "--out", office.path("list"), "--json"))
    assert (found["sequence"], found["version"], found["skipped"]) == (10, "1.0", 0)
    assert found["cas"] == ["CN=Lab\\x1b[2J SHAKEN ROOT CA,O=Lab,C=US"]


def test_list_that_is_refused_changes_nothing(office: Office) -> None:
    data(office.run("ca-list", "--out", office.path("list"), "--json"))
    held = Path(office.path("list")).read_bytes()
    office.server.misbehave("list-rollback")
    assert "which is in" in refused(office.run("ca-list", "--out", office.path("list")), "trust_list_rollback")
    assert Path(office.path("list")).read_bytes() == held


def test_nothing_else_is_written_over(office: Office) -> None:
    settings = office.path("stirshaken.toml")
    for name in ("ca-list", "crl", "token"):
        refused(office.run(name, "--out", settings), "sti_pa_file_foreign")
    assert Path(settings).read_text().startswith("[trust]")


def test_crl_is_shown(office: Office) -> None:
    result = office.run("crl", "--out", office.path("crl"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == [f"CRL in       {office.path('crl')}", "number       10"]
    assert lines[4:] == ["issuer       O=STI-PA,C=US,CN=STI-PA CRL,ST=NJ,L=Bridgewater", "revoked      0"]
    office.server.revoke(hierarchy().service_provider().certificate)
    found = data(office.run("crl", "--out", office.path("crl"), "--json"))
    assert (found["number"], found["revoked"], found["changed"]) == (11, 1, True)


def test_crl_that_is_stale_is_not_written(office: Office) -> None:
    office.server.misbehave("crl-stale")
    refused(office.run("crl", "--out", office.path("crl")), "crl_stale")
    assert not Path(office.path("crl")).exists()


def test_roots_of_the_sti_pa_have_to_be_named(office: Office) -> None:
    office.roots = ""
    assert refused(office.run("crl", "--out", office.path("crl")), "sti_pa_unset") == "[trust] sti_pa_ca_file"


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["login", "token", "ca-list", "crl"])
def test_help_has_a_purpose_and_an_example(name: str) -> None:
    shown = CliRunner().invoke(main, ["sti-pa", name, "--help"]).stdout
    assert f"shakenctl sti-pa {name}" in shown.partition("Example")[2]
    assert "--json" in shown
    group = CliRunner().invoke(main, ["sti-pa", "--help"]).stdout
    assert f"\n  {name} " in group
    assert "..." not in group.partition("Commands:")[2]
