"""`shakenctl certificates list` on a directory of pairs, with and without a signing policy."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.lab.pki import Issued, ServiceProvider, expired

from ..builders import DAY, NOW, hierarchy

URL = "https://cr.example.net/{name}.pem"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.cli.certificates.time", SimpleNamespace(time=lambda: float(NOW)))


def issued(spc: str = "1234", begins: float = NOW - DAY, ends: float = NOW + 90 * DAY) -> Issued:
    return hierarchy().service_provider(ServiceProvider(spc, not_before=begins, not_after=ends))


@dataclass
class Office:
    """Settings and pairs of an operator."""

    directory: Path
    signing: dict[str, str] = field(default_factory=dict)
    schedule: str = ""

    def add(self, name: str, pair: Issued | None = None) -> None:
        (pair or issued()).write(self.directory / "certs", name)

    def list(self, *arguments: str) -> Result:
        options = {"certificate_dir": "certs", "public_cert_url": URL, **self.signing}
        lines = [
            "[provider]",
            'provider_state_dir = "provider"',
            "[signing]",
            *(f"{name} = {json.dumps(value)}" for name, value in options.items()),
            self.schedule,
        ]
        settings = self.directory / "stirshaken.toml"
        settings.write_text("\n".join(lines))
        return CliRunner().invoke(main, ["certificates", "list", "--settings", str(settings), *arguments])

    def data(self) -> tuple[int, dict[str, Any]]:
        result = self.list("--json")
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    (tmp_path / "certs").mkdir()
    return Office(tmp_path)


def test_pair_is_shown_with_all_that_an_operator_compares(office: Office) -> None:
    pair = issued()
    office.add("sp1234", pair)
    result = office.list()
    assert result.exit_code == 0, result.output
    head, row = result.output.splitlines()
    assert head.split("  ")[0] == "NAME"
    fingerprint = pair.certificate.fingerprint(pair.certificate.signature_hash_algorithm).hex()  # type: ignore[arg-type]
    assert row.split() == [
        *("sp1234", "1234", "2023-11-13T22:13:20Z", "2024-02-12T22:13:20Z", "90.0", "now"),
        *(fingerprint[:16], "https://cr.example.net/sp1234.pem"),
    ]


def test_json_says_the_same_for_machines(office: Office) -> None:
    office.add("sp1234")
    code, data = office.data()
    (row,) = data["certificates"]
    assert (code, data["fine"], data["problems"]) == (0, True, [])
    assert datetime.fromisoformat(row["not_after"]) == datetime.fromtimestamp(NOW + 90 * DAY, UTC)
    assert (row["spc"], row["days_left"], row["signs"], row["problems"]) == (["1234"], 90.0, "now", [])
    assert len(row["fingerprint"]) == 64


def test_no_key_is_shown(office: Office) -> None:
    pair = issued()
    office.add("sp1234", pair)
    (office.directory / "certs" / "bad.key").write_bytes(pair.key_pem.replace(b"\nM", b"\nX", 1))
    (office.directory / "certs" / "bad.key").chmod(0o600)
    (office.directory / "certs" / "bad.pem").write_bytes(pair.pem)
    secrets = [line for line in pair.key_pem.decode().splitlines() if not line.startswith("-")]
    for arguments in ((), ("--json",)):
        text = office.list(*arguments).output
        assert "bad" in text
        assert not any(secret[5:30] in text for secret in secrets)


def test_scheduled_switch_is_shown(office: Office) -> None:
    office.add("old", issued(begins=NOW - 60 * DAY, ends=NOW + 20 * DAY))
    office.add("new")
    office.schedule = "[certificate.new]\nsign_from = 2023-11-20T03:00:00Z"
    code, data = office.data()
    assert (code, {row["name"]: row["signs"] for row in data["certificates"]}) == (
        0,
        {"new": "from 2023-11-20 03:00:00Z", "old": "now"},
    )


def test_several_providers_without_a_policy_are_wrong(office: Office) -> None:
    office.add("sp1234")
    office.add("sp5678", issued("5678"))
    result = office.list()
    assert result.exit_code == 1
    assert result.output.splitlines()[-2] == "! certificate_ambiguous: 1234: sp1234; 5678: sp5678"


def test_policy_says_whose_calls_there_are(office: Office) -> None:
    office.add("sp1234")
    office.add("sp5678", issued("5678"))
    office.signing["policy_file"] = "policy.toml"
    policy = office.directory / "policy.toml"
    policy.write_text('[customer.one]\nspc = "1234"\n[customer.two]\ncertificate = "sp5678"\n')
    code, data = office.data()
    assert (code, [row["signs"] for row in data["certificates"]]) == (0, ["now", "now"])
    policy.write_text('[customer.one]\nspc = "1234"\n[customer.two]\nspc = "9999"\n')
    code, data = office.data()
    assert (code, data["problems"]) == (1, ["the policy's spc 9999: certificate_none: no pair of 9999"])
    assert [row["signs"] for row in data["certificates"]] == ["now", "if named"]


def test_refused_pairs_are_wrong_and_say_why(office: Office) -> None:
    office.add("good")
    office.add("late", hierarchy().service_provider(expired(ServiceProvider("5678"), NOW)))
    office.add("open")
    (office.directory / "certs" / "open.key").chmod(0o644)
    office.signing["certificate"] = "good"
    result = office.list()
    assert result.exit_code == 1
    assert result.output.splitlines()[-3:-1] == [
        "! late: certificate_expired: 2023-11-13 22:13:20Z",
        "! open: key_permissions: open.key has mode 644",
    ]


def test_end_that_is_near_is_wrong(office: Office) -> None:
    office.add("soon", issued(begins=NOW - 60 * DAY, ends=NOW + 12 * DAY))
    result = office.list()
    assert (result.exit_code, result.output.splitlines()[-2]) == (1, "! soon: ends in 12 days, and nothing follows")
    assert "Next: shakenctl renew" in result.output
    assert office.list("--warn-days", "7").exit_code == 0
    office.add("next", issued(begins=NOW + 9 * DAY))
    assert office.list().exit_code == 0


def test_nothing_at_all_is_wrong(office: Office) -> None:
    result = office.list()
    assert (result.exit_code, result.output.splitlines()) == (
        1,
        ["! certificate_none: no usable pair", "Next: shakenctl onboard says how to get a certificate"],
    )
    code, data = office.data()
    assert code == 1
    assert data == {"certificates": [], "waiting": [], "problems": ["certificate_none: no usable pair"], "fine": False}


def test_certificate_of_a_week_is_fine_on_its_first_day(office: Office) -> None:
    office.add("week", issued(begins=NOW - 60, ends=NOW + 7 * DAY))
    assert office.list().exit_code == 0
    assert office.list("--warn-days", "7").exit_code == 1


@pytest.mark.parametrize(("issues", "state", "then"), [(True, "issued", "publish advance"), (False, "requested", "acme order")])
def test_pair_on_its_way_is_named_and_what_takes_it_further(office: Office, issues: bool, state: str, then: str) -> None:
    issued().write(office.directory / "provider" / "pairs", "next")
    if not issues:
        (office.directory / "provider" / "pairs" / "next.pem").unlink()
    result = office.list()
    assert f"next is {state} and not in certificate_dir yet" in result.output
    assert result.output.splitlines()[-1].startswith(f"Next: shakenctl {then}")
    assert office.data()[1]["waiting"] == [{"name": "next", "state": state}]


def test_name_of_a_file_cannot_write_on_the_terminal(office: Office) -> None:
    (office.directory / "certs" / "a\x1b[2J\n.key").touch(mode=0o600)
    result = office.list()
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert len(result.output.splitlines()) == 3


@pytest.mark.parametrize(
    ("signing", "token"),
    [({"certificatee": "x"}, "option_unknown"), ({"policy_file": "nowhere.toml"}, "settings_unreadable")],
)
def test_settings_that_cannot_be_used_end_with_3_and_advice(office: Office, signing: dict[str, str], token: str) -> None:
    office.signing.update(signing)
    result = office.list()
    assert result.exit_code == 3
    said, advice = result.stderr.splitlines()
    assert said.startswith(f"{token}: ")
    assert advice


def test_days_are_a_number(office: Office) -> None:
    assert office.list("--warn-days", "soon").exit_code == 2
