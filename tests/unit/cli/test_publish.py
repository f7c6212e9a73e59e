"""`shakenctl publish`: what an operator sees of a switch from the first look to the last step, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli import publish
from kamailio_app.cli.main import main
from kamailio_app.errors import failure
from kamailio_app.lab.pki import Issued, ServiceProvider
from kamailio_app.lab.repository import Repository
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.publication import Finding, Seen
from kamailio_app.runtime.in_use import InUse, mark
from kamailio_app.runtime.keystore import load_signers

from ..builders import DAY, NOW, hierarchy

URL = "https://cr.example.net/{name}.pem"
GOOD = Finding("octets", "good", "those of the local chain", "RFC 8224 7.3")
WARNING = Finding("type", "warning", "text/plain", "RFC 8555 9.1")
BAD = Finding("status", "bad", "404", "ATIS-1000074 5.3.1")


class Office:
    """An operator's directories and shell; `finding` is what strangers see, `down` that no Kamailio answers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        for name in ("certs", "published", "state/pairs"):
            (directory / name).mkdir(parents=True)
        (directory / "stirshaken.toml").write_text(
            f'[signing]\ncertificate_dir = "certs"\npublic_cert_url = "{URL}"\n'
            f'[provider]\nprovider_state_dir = "state"\n[publication]\npublication_dir = "published"\nswitch_after = 300\n'
        )
        self.now = float(NOW)
        self.finding = GOOD
        self.looked: list[tuple[str, bytes | None]] = []
        self.controls: list[str] = []
        self.down = False
        self.used = InUse(0, {})
        monkeypatch.setattr(publish, "time", SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(publish, "check", self._check)
        monkeypatch.setattr(publish, "Kamailio", self._server)

    def _check(self, _settings: object, url: str, chain: bytes | None, *, now: float) -> Seen:
        assert now == self.now
        self.looked.append((url, chain))
        return Seen(url, self.finding.ok, (self.finding,))

    def _server(self, control: str = "") -> SimpleNamespace:
        def answer() -> None:
            if self.down:
                raise failure("server_unreachable", f"{control}: Connection refused")

        def processes() -> dict[int, str]:
            answer()
            return {}

        def in_use() -> InUse:
            answer()
            return self.used

        def take_over() -> InUse:
            answer()
            self.controls.append(control)
            signers = load_signers(self.directory / "certs", URL, self.now).signers
            self.used = InUse(len(self.controls), {name: mark(signer) for name, signer in signers.items()})
            return self.used

        return SimpleNamespace(processes=processes, in_use=in_use, take_over=take_over)

    def wait(self, name: str, begins: float = NOW - 3600) -> Issued:
        issued = hierarchy().service_provider(ServiceProvider(not_before=begins, not_after=NOW + 30 * DAY))
        issued.write(self.directory / "state/pairs", name)
        return issued

    def run(self, *words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(
            main,
            ["publish", *words, "--settings", str(self.directory / "stirshaken.toml")],
            input=answer,
            catch_exceptions=False,
        )

    def data(self, *words: str) -> tuple[int, Any]:
        result = self.run(*words, "--json")
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(tmp_path, monkeypatch)


def test_switch_from_the_first_look_to_the_last_step(office: Office) -> None:
    office.wait("one")
    result = office.run("stage", "one")
    assert result.exit_code == 0
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["ok", "one", "publish"],
        ["ok", "one", "look"],
        ["wait", "one", "switch"],
    ]
    assert "2023-11-14 22:18:20Z" in result.stdout
    assert office.run("switch", "one").exit_code == 1
    office.now += 300
    result = office.run("switch", "one", "--control", "/run/x")
    assert result.exit_code == 0
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["ok", "one", "look"],
        ["ok", "one", "switch"],
        ["ok", "one", "reload"],
    ]
    assert office.controls == ["/run/x"]
    assert sorted(path.name for path in (office.directory / "certs").iterdir()) == ["one.key", "one.pem"]
    code, data = office.data("status")
    assert (code, [row["stage"] for row in data["pairs"]]) == (0, ["signs"])


def test_now_asks_whether_it_is_meant(office: Office) -> None:
    office.wait("one")
    assert office.run("switch", "one", "--now", answer="n\n").exit_code == 1
    assert office.looked == []
    assert office.run("switch", "one", "--now", answer="y\n").exit_code == 0
    office.wait("two", begins=NOW - 60)
    assert office.data("switch", "two", "--now", "--yes")[0] == 0


def test_publication_that_is_bad_is_said_and_refused(office: Office) -> None:
    office.wait("one")
    office.finding = BAD
    for words in (("stage", "one"), ("switch", "one", "--now", "--yes"), ("advance",)):
        result = office.run(*words)
        assert result.exit_code == 1
        assert "status: 404" in result.stdout
        assert "Next: shakenctl publish check one says all that strangers see there" in result.stdout
    assert not [*(office.directory / "certs").iterdir()]


def test_server_that_does_not_answer_leaves_work_to_do(office: Office) -> None:
    office.wait("one")
    office.down = True
    result = office.run("switch", "one", "--now", "--yes")
    assert result.exit_code == 1
    assert "server_unreachable" in result.stdout
    assert "kamcmd pv.shvSet stirshaken int $(date +%s)" in result.stdout
    office.down = False
    code, data = office.data("advance")
    assert (code, [(step["action"], step["state"]) for step in data["steps"]]) == (0, [("reload", "done")])


def test_advance_does_what_is_due_and_says_what_is_next(office: Office) -> None:
    office.wait("one")
    code, data = office.data("advance")
    assert code == 0
    assert data["fine"]
    assert [(step["action"], step["state"], step["when"]) for step in data["steps"]] == [
        ("publish", "done", None),
        ("look", "done", None),
        ("switch", "waits", "2023-11-14T22:18:20Z"),
    ]
    office.now += 300
    assert office.data("advance")[1]["steps"][-1]["action"] == "reload"
    result = office.run("advance")
    assert (result.exit_code, result.stdout) == (0, "nothing to do\n")


def test_status_says_what_comes_next(office: Office) -> None:
    assert "shakenctl onboard" in office.run("status").stdout
    office.wait("one")
    (office.directory / "state/pairs/other.key").write_bytes(b"x")
    (office.directory / "certs/bad.key").write_bytes(b"x")
    (office.directory / "certs/bad.key").chmod(0o600)
    result = office.run("status")
    assert result.exit_code == 0
    head, bad, one, other, trouble = result.stdout.splitlines()
    assert head.split() == ["NAME", "SPC", "STAGE", "NOT", "AFTER", "NEXT", "WHEN", "X5U"]
    assert bad.split() == ["bad", "refused"]
    assert one.split() == [
        "one",
        "1234",
        "issued",
        "2023-12-14",
        "22:13:20Z",
        "publish",
        "now",
        "https://cr.example.net/one.pem",
    ]
    assert other.split() == ["other", "requested"]
    assert trouble.startswith("! bad: pair_incomplete")


def test_replaced_pair_is_retired_in_time(office: Office) -> None:
    office.wait("one")
    office.run("switch", "one", "--now", "--yes")
    office.wait("two", begins=NOW - 60)
    office.now += 60
    office.run("switch", "two", "--now", "--yes")
    result = office.run("retire")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:5] == ["wait", "one", "retire", "2023-11-15", "22:14:20Z"]
    assert office.run("retire", "one", "--yes").exit_code == 1
    assert office.run("retire", "two", "--yes").exit_code == 1
    office.now += 24 * 3600
    assert office.run("retire", "one", answer="n\n").exit_code == 1
    assert office.run("retire", "one", answer="y\n").exit_code == 0
    assert sorted(path.name for path in (office.directory / "certs").iterdir()) == ["two.key", "two.pem"]
    _code, data = office.data("status")
    assert [row["name"] for row in data["pairs"]] == ["two"]


def test_check_of_a_pair_expects_its_chain(office: Office) -> None:
    waiting, in_use = office.wait("one"), office.wait("zero")
    in_use.write(office.directory / "certs", "used")
    assert office.run("check", "one").exit_code == 0
    assert office.run("check", "used").exit_code == 0
    assert office.looked == [
        ("https://cr.example.net/one.pem", waiting.chain_pem),
        ("https://cr.example.net/used.pem", in_use.chain_pem),
    ]
    code, data = office.data("check")
    assert (code, sorted(each["name"] for each in data["checks"])) == (0, ["one", "used", "zero"])


def test_check_says_what_is_wrong_and_where_that_stands(office: Office) -> None:
    office.finding = WARNING
    result = office.run("check", "https://cr.example.net/x.pem")
    assert result.exit_code == 0
    assert office.looked == [("https://cr.example.net/x.pem", None)]
    assert result.stdout.splitlines()[-1].split() == ["warn", "type", "text/plain", "[RFC", "8555", "9.1]"]
    office.finding = BAD
    code, data = office.data("check", "https://cr.example.net/x.pem")
    assert (code, data["fine"]) == (1, False)
    assert data["checks"][0]["findings"] == [BAD._asdict()]
    assert data["checks"][0]["next"].startswith("whoever publishes it has to mend it")


def test_check_of_a_pair_that_was_never_staged_says_how(office: Office) -> None:
    office.wait("one")
    office.finding = BAD
    assert office.run("check", "one").stdout.splitlines()[-1] == "Next: it is not published yet: shakenctl publish stage one"
    office.finding = GOOD
    office.run("stage", "one")
    office.finding = BAD
    assert office.run("check", "one").stdout.splitlines()[-1].startswith("Next: The web server has to answer this URL")


@pytest.mark.parametrize(("check", "next_"), [("name", "Make a DNS entry"), ("tls", "TLS certificate"), ("profile", "cfg/")])
def test_first_thing_that_is_bad_has_a_next_step(office: Office, check: str, next_: str) -> None:
    office.wait("one").write(office.directory / "certs", "used")
    office.finding = Finding(check, "bad", "words", "clause")
    code, data = office.data("check", "used")
    assert (code, next_ in data["checks"][0]["next"]) == (1, True)


def test_directory_that_takes_no_chain_has_a_next_step(office: Office) -> None:
    office.wait("one")
    (office.directory / "published").rmdir()
    (office.directory / "published").write_text("a file")
    result = office.run("stage", "one")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("Next: ")


@pytest.mark.parametrize(
    ("words", "token"),
    [
        (("check", "absent"), "pair_unknown"),
        (("check",), "publication_unset"),
        (("stage", "absent"), "pair_unknown"),
        (("stage", "../x"), "pair_unknown"),
        (("switch", "absent"), "pair_unknown"),
        (("retire", "absent", "--yes"), "pair_unknown"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_try(office: Office, words: tuple[str, ...], token: str) -> None:
    result = office.run(*words)
    assert result.exit_code == 3
    assert result.stderr.startswith(token)
    assert "`" in result.stderr or "Set [signing]" in result.stderr


def test_pair_without_a_certificate_cannot_be_staged(office: Office) -> None:
    office.wait("one")
    (office.directory / "state/pairs/one.pem").unlink()
    result = office.run("stage", "one")
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "rotation_refused")


def test_two_at_once_do_not_happen(office: Office) -> None:
    office.wait("one")
    with pairs.alone(office.directory / "state"):
        for words in (("stage", "one"), ("switch", "one"), ("advance",), ("retire",)):
            result = office.run(*words)
            assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "state_busy")
        assert office.run("status").exit_code == 0


def test_no_key_is_ever_shown(office: Office) -> None:
    issued = office.wait("one")
    secrets = [line for line in issued.key_pem.decode().splitlines() if not line.startswith("-")]
    said = "".join(office.run(*words).output for words in (("stage", "one"), ("switch", "one", "--now", "--yes"), ("status",)))
    assert not any(secret[5:30] in said for secret in secrets)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    identity = hierarchy().web_server(["localhost"])
    with Repository(tmp_path / "web", identity) as repository:
        yield repository


def test_check_by_the_network_itself(tmp_path: Path, repository: Repository) -> None:
    # Certificates of these tests are of 2023: TLS says so, and nothing else can be looked at
    (tmp_path / "ca.pem").write_bytes(hierarchy().root.pem)
    settings = tmp_path / "stirshaken.toml"
    settings.write_text(
        f"[x5u]\nx5u_ports = [{repository.port}]\nrelax_x5u_private_addresses = true\n"
        f'[publication]\npublication_tls_ca_file = "ca.pem"\n[verification]\nca_file = "ca.pem"\n'
    )
    result = CliRunner().invoke(main, ["publish", "check", repository.url("x.pem"), "--json", "--settings", str(settings)])
    assert result.exit_code == 1
    grades = {each["check"]: each["grade"] for each in json.loads(result.stdout)["checks"][0]["findings"]}
    assert grades == {
        **dict.fromkeys(("url", "name", "connect"), "good"),
        **dict.fromkeys(("port", "address"), "warning"),
        **dict.fromkeys(("tls", "fetch"), "bad"),
    }
