"""`shakenctl key`: made once, shown never, named by fingerprints."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.lifecycle.keys import fingerprint, read_key, write_key
from kamailio_app.lifecycle.keys import new_key as make


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["key", *map(str, arguments)])


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text("correct horse\n")
    return file


# --- new ----------------------------------------------------------------------------------------------------------


def test_new_key_is_its_owners_and_is_not_shown(tmp_path: Path) -> None:
    result = run("new", tmp_path / "a.key")
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    marks = [fingerprint(read_key(tmp_path / "a.key").public_key(), form) for form in ("jwk", "spki")]
    assert [line.split(maxsplit=1)[1] for line in result.output.splitlines()[1:3]] == marks
    assert f"Next: shakenctl csr new --key {tmp_path / 'a.key'}" in result.output
    secret = (tmp_path / "a.key").read_text().splitlines()[1:-1]
    assert not any(line in result.output for line in secret)


def test_json_says_the_same(tmp_path: Path) -> None:
    data = json.loads(run("new", tmp_path / "a.key", "--json").output)
    key = read_key(tmp_path / "a.key").public_key()
    assert data == {
        "file": str(tmp_path / "a.key"),
        "curve": "P-256",
        "encrypted": False,
        "fingerprints": {"jwk": fingerprint(key, "jwk"), "spki": fingerprint(key, "spki")},
    }


def test_key_that_is_there_stays(tmp_path: Path) -> None:
    run("new", tmp_path / "a.key")
    former = (tmp_path / "a.key").read_bytes()
    result = run("new", tmp_path / "a.key")
    assert (result.exit_code, (tmp_path / "a.key").read_bytes()) == (3, former)
    said, advice = result.stderr.splitlines()
    assert (said, bool(advice)) == ("key_exists: a.key", True)


def test_passphrase_is_the_first_line_of_its_file(tmp_path: Path, passphrase: Path) -> None:
    result = run("new", tmp_path / "a.key", "--passphrase-file", passphrase)
    assert (result.exit_code, "encrypted" in result.output, "horse" in result.output) == (0, True, False)
    assert read_key(tmp_path / "a.key", b"correct horse")


def test_passphrase_that_others_may_read_makes_no_key(tmp_path: Path, passphrase: Path) -> None:
    passphrase.chmod(0o644)
    result = run("new", tmp_path / "a.key", "--passphrase-file", passphrase)
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "secret_permissions")
    assert not (tmp_path / "a.key").exists()


# --- fingerprint --------------------------------------------------------------------------------------------------


def test_fingerprint_is_of_the_form_that_is_asked_for(tmp_path: Path) -> None:
    key = make()
    write_key(tmp_path / "a.key", key)
    for form in ("jwk", "spki"):
        mark = fingerprint(key.public_key(), form)
        assert run("fingerprint", tmp_path / "a.key", "--form", form).output == f"{mark}\n"
        data = json.loads(run("fingerprint", tmp_path / "a.key", "--form", form, "--json").output)
        assert data == {"file": str(tmp_path / "a.key"), "form": form, "fingerprint": mark}


def test_form_is_the_settings_one(tmp_path: Path) -> None:
    key = make()
    write_key(tmp_path / "a.key", key)
    settings = tmp_path / "stirshaken.toml"
    settings.write_text('[sti_pa]\nspc_token_fingerprint = "spki"\n')
    result = run("fingerprint", tmp_path / "a.key", "--settings", settings)
    assert result.output == f"{fingerprint(key.public_key(), 'spki')}\n"


def test_without_settings_it_is_that_of_the_standard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make()
    write_key(tmp_path / "a.key", key)
    monkeypatch.setattr("kamailio_app.cli.key.settings_if_any", lambda _path: None)
    assert run("fingerprint", tmp_path / "a.key").output == f"{fingerprint(key.public_key(), 'jwk')}\n"


def test_settings_that_are_named_have_to_be_there(tmp_path: Path) -> None:
    write_key(tmp_path / "a.key", make())
    result = run("fingerprint", tmp_path / "a.key", "--settings", tmp_path / "nowhere.toml")
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "settings_unreadable")


def test_encrypted_key_needs_its_passphrase(tmp_path: Path, passphrase: Path) -> None:
    write_key(tmp_path / "a.key", make(), b"correct horse")
    assert run("fingerprint", tmp_path / "a.key", "--form", "jwk").exit_code == 3
    assert run("fingerprint", tmp_path / "a.key", "--form", "jwk", "--passphrase-file", passphrase).exit_code == 0


def test_what_is_no_key_ends_with_3(tmp_path: Path) -> None:
    result = run("fingerprint", tmp_path / "nowhere.key", "--form", "jwk")
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "key_unreadable")
