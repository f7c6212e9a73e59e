"""`shakenctl inspect`: what is said of files, in text and JSON, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kamailio_app.cli.main import main
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.lifecycle.keys import new_key, write_key
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.trust import Sources, Trust

from ..builders import NOW, hierarchy, identity, provider
from ..lifecycle.tokens import policy_anchors, spc_token


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.cli.inspect.time", SimpleNamespace(time=lambda: float(NOW)))


class Desk:
    """A directory with settings that trust the tests' hierarchy, and files to look at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = directory / "stirshaken.toml"
        self.put("roots.pem", hierarchy().root.pem)
        self.put("sti-pa.pem", hierarchy().policy_root.pem)
        self.settings.write_text('[verification]\nca_file = "roots.pem"\n[trust]\nsti_pa_ca_file = "sti-pa.pem"\n')

    def put(self, name: str, octets: bytes | str, mode: int = 0o600) -> str:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(octets.encode() if isinstance(octets, str) else octets)
        path.chmod(mode)
        return str(path)

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(main, ["inspect", "--settings", str(self.settings), *arguments], input=stdin)

    def data(self, *arguments: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.run("--json", *arguments).stdout)
        return data


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- Text ---------------------------------------------------------------------------------------------------------


def test_pair_is_shown_with_its_path(desk: Desk) -> None:
    key, chain = desk.put("a.key", provider().key_pem), desk.put("a.pem", provider().chain_pem)
    result = desk.run(key, chain)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"{key}: private key"
    assert f"belongs to              chain {chain}" in result.output
    assert "path  trusted by CN=Lab SHAKEN ROOT CA,O=Lab,C=US" in result.output
    assert "tnauthlist                SPC 1234" in result.output
    assert not any(line.startswith("  !") for line in lines)
    assert not any(line in result.output for line in provider().key_pem.decode().splitlines()[1:-1])


def test_key_without_its_certificate_is_said(desk: Desk) -> None:
    write_key(desk.directory / "b.key", new_key())
    result = desk.run(str(desk.directory / "b.key"), desk.put("a.pem", provider().chain_pem))
    assert "none of the other files belongs to it" in result.output


def test_finding_has_its_clause_and_what_to_do(desk: Desk) -> None:
    result = desk.run(desk.put("a.key", provider().key_pem, 0o644))
    assert "  ! decision 6: key_permissions: mode 644" in result.output
    assert "      chmod 600 (or 640 with Kamailio's group)." in result.output


def test_crl_entries_are_a_table_and_many_are_cut(desk: Desk) -> None:
    issued = [hierarchy().service_provider().certificate for _ in range(2)]
    result = desk.run(desk.put("a.crl", hierarchy().crl(issued)))
    head = next(line.split() for line in result.output.splitlines() if "serial" in line)
    assert head == ["serial", "issuer", "date"]
    many = desk.put("b.crl", hierarchy().crl(issued * 30))
    assert "and 20 more: --json has them all" in desk.run(many).output
    assert len(desk.data(many)["files"][0]["contents"][0]["entries"]) == 60


def test_stdin_is_a_file_too(desk: Desk) -> None:
    result = desk.run("-", stdin=identity().encode())
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "-: Identity header")
    assert 'orig    {"tn": "12155550121"}' in result.output


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_json_has_everything(desk: Desk) -> None:
    data = desk.data(desk.put("a.pem", provider().chain_pem))
    (content,) = data["files"][0]["contents"]
    assert (data["fine"], data["problems"], content["kind"]) == (True, [], "chain")
    assert content["certificates"][0]["subject"] == "CN=SHAKEN 1234,O=Lab Telephone Company,C=US"
    assert content["findings"] == []


def test_json_has_failures_beside_what_can_be_read(desk: Desk) -> None:
    bad, good = desk.put("bad", "hello, world"), desk.put("a.pem", provider().chain_pem)
    result = desk.run("--json", bad, good)
    first, second = json.loads(result.stdout)["files"]
    assert (result.exit_code, first["error"]["token"], second["contents"][0]["kind"]) == (3, "file_unknown", "chain")
    assert first["error"]["advice"]


# --- How it ends --------------------------------------------------------------------------------------------------


def test_findings_end_with_1_if_strict(desk: Desk) -> None:
    odd = desk.put("odd.pem", hierarchy().service_provider(ServiceProvider(common_name="Odd")).chain_pem)
    good = desk.put("good.pem", provider().chain_pem)
    assert desk.run(odd).exit_code == 0
    assert desk.run("--strict", good, odd).exit_code == 1
    assert desk.run("--strict", good).exit_code == 0


@pytest.mark.parametrize(
    ("name", "octets", "kind", "token"),
    [
        ("a", b"hello, world", "auto", "file_unknown"),
        ("a", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "auto", "credential_malformed"),
        ("a", b"hello, world", "csr", "request_malformed"),
        ("nowhere", None, "auto", "file_unreadable"),
    ],
)
def test_what_cannot_be_read_ends_with_3_and_advice(desk: Desk, name: str, octets: bytes | None, kind: str, token: str) -> None:
    path = desk.put(name, octets) if octets is not None else str(desk.directory / name)
    result = desk.run("--type", kind, path)
    said, advice = result.output.splitlines()
    assert (result.exit_code, said.startswith(f"{path}: {token}"), bool(advice.strip())) == (3, True, True)


def test_directory_is_no_file(desk: Desk) -> None:
    assert "file_unreadable" in desk.run(str(desk.directory)).output


def test_no_file_is_no_command() -> None:
    assert CliRunner().invoke(main, ["inspect"]).exit_code == 2


def test_hostile_file_cannot_write_on_the_terminal(desk: Desk) -> None:
    evil = Hierarchy(NOW, name="\x1b[2JLab\r\nfine: yes\x00")
    issued: Issued = evil.service_provider()
    result = desk.run(
        desk.put("a\x1b[2J.pem", issued.chain_pem),
        desk.put("b", identity(claims={"origid": "\x1b[2J\r\nfine"})),
        desk.put("c", evil.trust_list()),
        desk.put("d", evil.crl([issued.certificate])),
        desk.put("e", "\x1b[2J: x"),
    )
    assert not any(character in result.output for character in "\x1b\r\x00")
    assert not any(line.startswith("fine") for line in result.output.splitlines())


# --- What the settings say ----------------------------------------------------------------------------------------


def test_without_settings_nothing_is_trusted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.cli.inspect.settings_if_any", lambda _path: None)
    assert "path  not checked" in desk.run(desk.put("a.pem", provider().chain_pem)).output


def test_roots_that_cannot_be_read_are_said_and_the_file_is_shown(desk: Desk) -> None:
    (desk.directory / "roots.pem").unlink()
    desk.put("sti-pa.pem", "x")
    result = desk.run(desk.put("a.pem", provider().chain_pem))
    assert result.exit_code == 0
    first, second = [line for line in result.output.splitlines() if line.startswith("!")]
    assert first.startswith("! settings: option_invalid: [verification] ca_file: [Errno 2] No such file")
    assert second.startswith("! settings: option_invalid: [trust] sti_pa_ca_file: credential_malformed")


def test_signer_is_named_or_it_is_not_verified(desk: Desk) -> None:
    token = desk.put("spc.token", spc_token())
    assert desk.data(token)["files"][0]["contents"][0]["verdict"] == "not verified"
    signer = desk.put("signer.pem", hierarchy().policy_signer.pem)
    assert desk.data("--signer", signer, token)["files"][0]["contents"][0]["verdict"].startswith("good")
    assert desk.run("--signer", str(desk.directory / "nowhere"), token).exit_code == 3


def test_lists_that_the_server_keeps_are_used(desk: Desk) -> None:
    text = '[trust]\nsti_pa_ca_file = "sti-pa.pem"\ntrust_list_url = "https://pa.example.test/l"\ncrl_url = "https://pa.example.test/c"\n'
    desk.settings.write_text(f'{text}[cache]\nstate_dir = "state"\n')
    (desk.directory / "state").mkdir()
    lost = hierarchy().service_provider()
    signer = hierarchy().policy_signer
    listed = read_trust_list(hierarchy().trust_list(), signer.pem, policy_anchors(), NOW)
    revoked = read_crl(hierarchy().crl([lost.certificate]), policy_anchors(), NOW, signers=(signer.certificate,))
    sources = Sources.of(settings_file.load(desk.settings).trust, policy_anchors())
    Trust(listed.to_text(), revoked.to_text(), sources.trust_list, sources.crl).to_disk(desk.directory / "state")
    good, bad = (
        content
        for file in desk.data(desk.put("a.pem", provider().chain_pem), desk.put("b.pem", lost.chain_pem))["files"]
        for content in file["contents"]
    )
    assert (good["path"], good["revoked"]) == ("trusted by CN=Lab SHAKEN ROOT CA,O=Lab,C=US", False)
    assert (bad["revoked"], [finding["token"] for finding in bad["findings"]]) == (True, ["credential_revoked"])
    # Who signed the list in use may have signed a token
    assert desk.data(desk.put("t", spc_token()))["files"][0]["contents"][0]["verdict"].startswith("good")


def test_encrypted_key_is_opened_with_its_passphrase(desk: Desk) -> None:
    write_key(desk.directory / "a.key", new_key(), b"correct horse")
    file = str(desk.directory / "a.key")
    assert "--passphrase-file" in desk.run(file).output
    assert "P-256" in desk.run(file, "--passphrase-file", desk.put("passphrase", "correct horse\n")).output


def test_advice_about_a_key_is_about_the_file(desk: Desk) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    result = desk.run(desk.put("other.key", other))
    assert "key_curve_unsupported" in result.output
    assert "`shakenctl key new FILE`" in result.output
    assert "certificate_dir" not in result.output
