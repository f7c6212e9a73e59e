"""`shakenctl acme` and `shakenctl renew`, with the laboratory on the other side."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.lab.sti_ca import MAC_KEY
from kamailio_app.lab.sti_pa import PASSWORD
from kamailio_app.lab.world import World
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key, write_key
from kamailio_app.lifecycle.request import read_request

from ..builders import pem

CFG = Path(__file__).parents[3] / "cfg"


@dataclass
class Office:
    """A provider's shell."""

    world: World

    def run(self, *words: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, [*words, "--settings", str(self.world.settings_file)], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        for secret in (MAC_KEY, PASSWORD, "eyJ", "PRIVATE KEY"):
            assert secret not in result.output
        return result

    def data(self, *words: str) -> dict[str, Any]:
        result = self.run(*words, "--json")
        return {"exit": result.exit_code, **json.loads(result.stdout)}

    @property
    def state(self) -> Path:
        return self.world.directory / "provider"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with World(tmp_path) as world:
        yield Office(world)


def fails(result: Result, token: str, status: int = 3) -> str:
    """With token, detail and the next thing to try."""
    assert result.exit_code == status, result.output
    said, advice = result.stderr.splitlines()
    assert said.startswith(token), said
    assert advice
    return said


# --- The way ------------------------------------------------------------------------------------------------------------


def test_register_order_renew(office: Office) -> None:
    registered = office.run("acme", "register")
    assert registered.exit_code == 0, registered.output
    lines = registered.output.splitlines()
    assert lines[0].endswith("just opened")
    assert lines[-1] == "Next: shakenctl acme order"
    assert "just opened" not in office.run("acme", "register").output
    ordered = office.data("acme", "order")
    assert (ordered["exit"], ordered["findings"], ordered["x5u"]) == (0, [], None)
    assert ordered["subject"] == "CN=SHAKEN 1234,O=Lab Telephone Company,C=US"
    assert Path(ordered["chain"]).exists()
    renewed = office.data("renew")
    assert [step["action"] for step in renewed["steps"] if step["state"] == "done"] == ["publish", "look", "switch"]
    assert (renewed["exit"], renewed["fine"]) == (0, True)
    assert office.run("certificates", "list").output.splitlines()[1].split()[:2] == [ordered["name"], "1234"]
    text = office.run("renew").output
    assert "order" in text
    assert "wait" in text


def test_order_alone_does_all_that_is_needed(office: Office) -> None:
    result = office.run("acme", "order", "--name", "first")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("Next: shakenctl publish stage first")
    assert len(office.world.sti_ca.accounts) == 1


def test_interrupted_order_goes_on_with_the_same_command(office: Office) -> None:
    office.world.sti_ca.misbehave("never")
    fails(office.run("acme", "order", "--wait", "1"), "acme_timeout")
    (pair,) = pairs.pending(office.state)
    office.world.sti_ca.behave()
    assert office.data("acme", "order")["name"] == pair.name
    assert len(office.world.sti_ca.orders) == 1


def test_token_from_a_file(office: Office) -> None:
    office.run("acme", "register")
    token = office.world.directory / "spc.token"
    assert office.run("sti-pa", "token", "--out", str(token)).exit_code == 0
    office.world.sti_pa.asked.clear()
    crl = ("--crl-url", office.world.sti_pa.crl_url, "--crl-issuer", "CN=STI-PA CRL, O=STI-PA, C=US")
    assert office.data("acme", "order", "--name", "a", "--token-file", str(token), *crl)["exit"] == 0
    # Fetched is who signed it, by the STI-CA; and the list, for want of one
    assert not any("token" in each or "login" in each for each in office.world.sti_pa.asked)
    token.chmod(0o644)
    fails(office.run("acme", "order", "--name", "b", "--token-file", str(token)), "secret_permissions")
    assert office.run("acme", "order", "--crl-url", "https://pa.test/crl").exit_code == 2


@pytest.mark.parametrize(
    ("server", "fault", "token"),
    [
        ("sti-ca", "account-refused", "acme_account_refused"),
        ("sti-ca", "challenge-refused", "acme_challenge_refused"),
        ("sti-ca", "wrong-spc", "issued_mismatch"),
        ("sti-ca", "unknown-ca", "issued_unfit"),
        ("sti-pa", "login-refused", "sti_pa_refused"),
        ("sti-pa", "token-wrong-fingerprint", "spc_token_mismatch"),
    ],
)
def test_what_goes_wrong_is_said_and_what_to_try(office: Office, server: str, fault: str, token: str) -> None:
    office.world.tell(["misbehave", f"{server}:{fault}"])
    fails(office.run("acme", "order"), token)
    status = office.data("acme", "status")
    assert status["exit"] == 1
    assert status["pairs"][0]["trouble"].startswith(token)
    assert status["pairs"][0]["next_try"]
    office.world.tell(["behave"])
    if fault == "unknown-ca":
        office.run("acme", "order")  # the same certificate is looked at once more: it might have been our roots
    assert office.run("acme", "order").exit_code == 0


def test_terms_are_agreed_to(office: Office) -> None:
    office.world.sti_ca.terms = "https://ca.lab.example.net/terms"
    assert "https://ca.lab.example.net/terms" in fails(office.run("acme", "register"), "acme_terms")
    assert office.run("acme", "register", "--agree").exit_code == 0


def test_status_without_account_and_with_one(office: Office) -> None:
    result = office.run("acme", "status")
    assert result.exit_code == 1
    assert result.output.splitlines()[0].startswith("! account_key_missing")
    assert office.world.sti_ca.asked == []
    office.run("acme", "order", "--name", "sp1")
    result = office.run("acme", "status")
    assert result.exit_code == 0, result.output
    assert any(line.split()[:2] == ["sp1", "issued"] for line in result.output.splitlines())
    status = office.data("acme", "status")
    assert (status["account"]["status"], status["fine"]) == ("valid", True)


# --- Key change, revocation -------------------------------------------------------------------------------------------


def test_rollover_asks_and_changes(office: Office) -> None:
    office.run("acme", "register")
    former = read_key(office.state / "acme-account.key")
    assert office.run("acme", "rollover", stdin="n\n").exit_code == 1
    data = office.data("acme", "rollover", "--yes")
    key = read_key(office.state / "acme-account.key")
    assert key.public_key() != former.public_key()
    assert data["fingerprint"] == fingerprint(key.public_key(), "jwk")


def test_revoked_certificate_stands_in_the_crl(office: Office) -> None:
    office.run("acme", "order", "--name", "sp1")
    serial = parse_chain((office.state / "pairs" / "sp1.pem").read_bytes())[0].serial_number
    assert office.run("acme", "revoke", "sp1", stdin="n\n").exit_code == 1
    data = office.data("acme", "revoke", "sp1", "--reason", "key-compromise", "--yes")
    assert data == {"exit": 0, "name": "sp1", "serial": f"{serial:x}", "reason": "key-compromise"}
    assert office.data("acme", "status")["pairs"][0]["state"] == "revoked"
    for command in ("stage", "switch"):
        said = office.data("publish", command, "sp1")
        assert (said["exit"], said["steps"][0]["state"], "is revoked" in said["steps"][0]["words"]) == (1, "failed", True)
    assert office.data("renew")["exit"] == 1
    assert office.data("publish", "status")["pairs"][0]["stage"] == "revoked"
    assert list((office.world.directory / "certificates").iterdir()) == []
    crl = office.world.directory / "crl"
    office.run("sti-pa", "crl", "--out", str(crl))
    assert f"{serial:x}" in office.run("inspect", str(crl)).output.lower().replace(":", "")
    assert "alreadyRevoked" in fails(office.run("acme", "revoke", "sp1", "--yes"), "acme_refused")
    fails(office.run("acme", "revoke", "../sp1", "--yes"), "pair_unknown")


def test_revocation_that_somebody_else_had_done_is_remembered_too(office: Office) -> None:
    office.run("acme", "order", "--name", "sp1")
    assert office.run("acme", "revoke", "sp1", "--yes").exit_code == 0
    (office.state / "pairs" / "sp1.json").unlink()
    assert office.data("acme", "status")["pairs"][0]["state"] == "issued"
    fails(office.run("acme", "revoke", "sp1", "--yes"), "acme_refused")
    assert office.data("acme", "status")["pairs"][0]["state"] == "revoked"


def test_pair_that_signs_and_was_put_there_by_hand_is_remembered_as_revoked(office: Office) -> None:
    office.run("acme", "order", "--name", "sp1")
    for end in ("key", "pem"):
        (office.state / "pairs" / f"sp1.{end}").rename(office.world.directory / "certificates" / f"sp1.{end}")
    assert office.run("acme", "revoke", "sp1", "--yes").exit_code == 0
    (row,) = office.data("publish", "status")["pairs"]
    assert (row["stage"], "renew --now" in row["trouble"]) == ("revoked", True)


# --- Pairs that nobody wants any more -----------------------------------------------------------------------------------


def test_second_order_is_asked_for(office: Office) -> None:
    first = office.data("acme", "order")["name"]
    result = office.run("acme", "order")
    said = fails(result, "certificate_waits")
    assert f"{first} is issued" in said
    assert "--another" in result.stderr.splitlines()[1]
    assert len(office.world.sti_ca.orders) == 1
    assert office.run("acme", "order", "--another").exit_code == 0
    assert office.run("acme", "order", "--name", "third").exit_code == 0
    office.run("renew")
    assert len(office.world.sti_ca.orders) == 3


def test_given_up_order_is_superseded_and_forgotten(office: Office) -> None:
    office.world.sti_ca.misbehave("order-invalid")
    fails(office.run("acme", "order", "--name", "old"), "acme_order_invalid")
    record = pairs.recall(office.state, "old")
    pairs.remember(office.state, "old", replace(record, asked=record.asked - 86400))
    (row,) = office.data("acme", "status")["pairs"]
    assert (row["state"], row["next_try"] is None) == ("requested", False)
    office.world.sti_ca.behave()
    office.run("acme", "order", "--name", "new")
    status = office.run("acme", "status")
    assert status.exit_code == 0, status.output
    assert "shakenctl acme forget old" in status.output
    rows = {row["name"]: row for row in office.data("acme", "status")["pairs"]}
    assert (rows["old"]["state"], rows["old"]["next_try"]) == ("superseded", None)
    # Nor does the timer order for it
    office.run("renew", "--now")
    assert {pair.name: pair.state for pair in pairs.pending(office.state)}["old"] == "requested"
    assert office.run("acme", "forget", "old", stdin="n\n").exit_code == 1
    assert (office.state / "pairs" / "old.key").exists()
    gone = office.data("acme", "forget", "old", "--yes")["removed"]
    assert {Path(path).suffix for path in gone} >= {".key", ".json"}
    assert not list((office.state / "pairs").glob("old*"))


def test_forgotten_pair_is_no_longer_published_and_one_in_use_is_not_forgotten(office: Office) -> None:
    office.run("acme", "order", "--name", "sp1")
    office.run("publish", "stage", "sp1")
    assert (office.world.published / "sp1.pem").exists()
    assert office.run("acme", "forget", "sp1", "--yes").exit_code == 0
    assert not (office.world.published / "sp1.pem").exists()
    assert not list((office.state / "pairs").glob("sp1*"))
    office.run("acme", "order", "--name", "sp2")
    office.run("renew")
    result = office.run("acme", "forget", "sp2", "--yes")
    fails(result, "rotation_refused")
    assert "shakenctl publish retire sp2" in result.stderr
    assert (office.state / "pairs" / "sp2.key").exists()
    fails(office.run("acme", "forget", "nobody", "--yes"), "pair_unknown")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong-spc", "9999, not for 1234"),
        ("more-spcs", "not for 1234 alone"),
        ("wrong-key", "another key"),
        ("expired-certificate", "chronyc"),
        ("future-certificate", "chronyc"),
        ("unknown-ca", "ca_file"),
        ("not-pem", "Show the STI-CA"),
    ],
)
def test_what_came_instead_of_a_certificate_is_kept_and_named(office: Office, fault: str, words: str) -> None:
    office.world.sti_ca.misbehave(fault)
    result = office.run("acme", "order", "--name", "sp1")
    assert result.exit_code == 3
    assert words in result.stderr
    kept = office.state / "pairs" / "sp1.refused.pem"
    assert f"shakenctl inspect {kept}" in result.stderr
    assert kept.exists()
    if fault != "not-pem":
        assert office.run("inspect", str(kept)).exit_code in (0, 1)
    assert [pair.name for pair in pairs.pending(office.state)] == ["sp1"]


def test_key_change_without_an_answer_says_how_to_go_on(office: Office) -> None:
    office.run("acme", "register")
    office.world.sti_ca.misbehave("key-change-lost")
    result = office.run("acme", "rollover", "--yes")
    assert result.exit_code == 3
    assert "shakenctl acme register" in result.stderr.splitlines()[1]
    assert office.run("acme", "register").exit_code == 0


def test_status_without_acme_cannot_be_had(office: Office) -> None:
    settings = office.world.settings_file
    directory = f'acme_directory = "{office.world.sti_ca.url}"'
    settings.write_text(settings.read_text().replace(directory, 'acme_directory = ""'))
    result = office.run("acme", "status")
    fails(result, "option_invalid")
    assert "acme request" in result.stderr


# --- By hand ----------------------------------------------------------------------------------------------------------


def certified(office: Office, request_file: Path, spc: str = "1234") -> Path:
    """What the STI-CA sends by mail."""
    request = read_request(request_file.read_bytes())
    chain = office.world.hierarchy.certify(request.public_key(), request.subject, TNAuthList((spc,)))  # type: ignore[arg-type]
    file = office.world.directory / "mail.pem"
    file.write_bytes(office.world.hierarchy.intermediate.pem + pem(chain[0]))
    return file


def test_request_and_install(office: Office) -> None:
    made = office.run("acme", "request", "sp1")
    assert made.exit_code == 0, made.output
    key = read_key(office.state / "pairs" / "sp1.key")
    for step in (
        f'shakenctl sti-pa token --out spc.token --fingerprint "{fingerprint(key.public_key(), "jwk")}"',
        "your STI-CA says which",
        "shakenctl acme install sp1 chain.pem",
        "shakenctl publish advance",
    ):
        assert step in made.output
    fails(office.run("acme", "request", "sp1"), "file_exists")
    request = office.state / "pairs" / "sp1.csr"
    assert office.data("acme", "status")["pairs"][0]["state"] == "by hand"
    # The timer leaves it alone
    assert office.data("renew")["steps"][0]["pair"] != "sp1"
    assert office.world.sti_ca.orders == {}
    wrong = certified(office, request, "9999")
    fails(office.run("acme", "install", "sp1", str(wrong)), "issued_mismatch")
    data = office.data("acme", "install", "sp1", str(certified(office, request)))
    assert (data["exit"], data["name"], data["findings"]) == (0, "sp1", [])
    fails(office.run("acme", "install", "sp1", str(wrong)), "file_exists")
    assert [step["action"] for step in office.data("renew")["steps"] if step["state"] == "done"] == [
        "publish",
        "look",
        "switch",
    ]


def test_key_that_was_made_elsewhere_comes_with_its_certificate(office: Office) -> None:
    key, csr = office.world.directory / "own.key", office.world.directory / "own.csr"
    assert office.run("key", "new", str(key)).exit_code in (0, 2) or key.exists()
    if not key.exists():
        write_key(key, new_key())
    office.run("csr", "new", "--key", str(key), "--out", str(csr))
    chain = certified(office, csr)
    fails(office.run("acme", "install", "sp1", str(chain)), "pair_unknown")
    assert office.run("acme", "install", "sp1", str(chain), "--key", str(key)).exit_code == 0
    assert read_key(office.state / "pairs" / "sp1.key").public_key() == read_key(key).public_key()
    office.run("acme", "request", "sp2")
    fails(office.run("acme", "install", "sp2", str(chain), "--key", str(key)), "key_exists")
    fails(office.run("acme", "install", "sp2", str(chain)), "issued_mismatch")
    fails(office.run("acme", "install", "sp2", str(office.world.directory / "nothing")), "file_unreadable")
    (office.world.directory / "x").write_bytes(os.urandom(100))
    fails(office.run("acme", "install", "sp2", str(office.world.directory / "x")), "issued_unfit")
    assert [pair.state for pair in pairs.pending(office.state)] == ["issued", "requested"]


# --- Renew ------------------------------------------------------------------------------------------------------------


def test_renew_before_anything_and_dry(office: Office) -> None:
    result = office.run("renew")
    assert result.exit_code == 0, result.output
    assert "shakenctl acme order" in result.output
    office.run("acme", "order", "--name", "sp1")
    dry = office.data("renew", "--dry-run", "--now")
    assert [(step["action"], step["state"]) for step in dry["steps"]] == [("order", "waits"), ("publish", "waits")]
    assert len(office.world.sti_ca.orders) == 1


def test_renew_now_orders_and_failure_is_its_exit_status(office: Office) -> None:
    office.run("acme", "order", "--name", "sp1")
    office.run("renew")
    office.world.sti_ca.misbehave("order-invalid")
    failed = office.data("renew", "--now")
    assert (failed["exit"], failed["fine"], failed["steps"][0]["state"]) == (1, False, "failed")
    office.world.sti_ca.behave()
    renewed = office.data("renew", "--now")
    assert renewed["steps"][0]["state"] == "done"
    assert renewed["steps"][0]["words"].startswith("follows sp1")


def test_two_at_once_are_one_too_many(office: Office) -> None:
    for words in (("renew",), ("acme", "order"), ("acme", "register")):
        with pairs.alone(office.state):
            fails(office.run(*words), "state_busy")


# --- Help and the timer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("acme",),
        *(("acme", name) for name in ("register", "order", "status", "rollover", "revoke", "forget", "request", "install")),
        ("renew",),
    ],
)
def test_help_is_enough(words: tuple[str, ...]) -> None:
    text = CliRunner().invoke(main, [*words, "--help"]).output
    assert "shakenctl " + " ".join(words) in text
    if words != ("acme",):
        assert "Example" in text
        assert "--json" in text


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(CFG / name)
    return parser


def test_timer_starts_the_command_and_is_hardened() -> None:
    service, timer = unit("shakenctl-renew.service"), unit("shakenctl-renew.timer")
    assert service["Service"]["ExecStart"].endswith("shakenctl renew")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["NoNewPrivileges"] == service["Service"]["PrivateTmp"] == "true"
    assert service["Service"]["ProtectSystem"] == "strict"
    assert "/etc/kamailio/stirshaken" in service["Service"]["ReadWritePaths"]
    assert service["Service"]["User"] != "root"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert "OnUnitInactiveSec" in timer["Timer"]
