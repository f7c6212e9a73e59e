"""Passwords and MAC keys: where they come from, and that what is wrong with one is said without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.errors import StirError
from kamailio_app.lifecycle.secret import secret

from ..builders import refused

VARIABLE = "STIRSHAKEN_TEST_SECRET"


def file(directory: Path, octets: bytes, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_bytes(octets)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\nand notes\n", "correct horse"),
        (b" blanks count \n", " blanks count "),
        ("Paßwort\n".encode(), "Paßwort"),
    ],
)
def test_first_line_of_the_file_is_the_secret(tmp_path: Path, octets: bytes, value: str) -> None:
    assert secret(file(tmp_path, octets), VARIABLE, "the password") == value


def test_the_group_may_read(tmp_path: Path) -> None:
    assert secret(file(tmp_path, b"word", 0o640), VARIABLE, "the password") == "word"


def test_environment_counts_where_no_file_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "from the environment")
    assert secret(None, VARIABLE, "the password") == "from the environment"
    assert secret(file(tmp_path, b"from the file"), VARIABLE, "the password") == "from the file"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o601, 0o777])
def test_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with refused("secret_permissions"):
        secret(file(tmp_path, b"word", mode), VARIABLE, "the password")


@pytest.mark.parametrize("octets", [b"", b"\n", b"\nsecond line", b"\r\n", b"\xff\xfe", b"a\x00b", b"a\x1b[2Jb", b"two\rlines"])
def test_file_without_a_secret_is_refused(tmp_path: Path, octets: bytes) -> None:
    with refused("secret_missing"):
        secret(file(tmp_path, octets), VARIABLE, "the password")


@pytest.mark.parametrize("value", [None, "", "a\nb"])
def test_environment_without_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with refused("secret_missing"):
        secret(None, VARIABLE, "the password")


def test_absent_file_is_named_and_so_is_what_it_is_for(tmp_path: Path) -> None:
    with pytest.raises(StirError) as caught:
        secret(tmp_path / "absent", VARIABLE, "the password")
    assert (caught.value.token, caught.value.detail) == (
        "secret_missing",
        f"the password: {tmp_path}/absent: No such file or directory",
    )


@pytest.mark.parametrize(("octets", "mode"), [(b"hunter2\xff", 0o600), (b"hunter2\x00", 0o600), (b"hunter2", 0o666)])
def test_no_failure_quotes_the_secret(tmp_path: Path, octets: bytes, mode: int) -> None:
    with pytest.raises(StirError) as caught:
        secret(file(tmp_path, octets, mode), VARIABLE, "the password")
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!r} {error}"
        error = error.__context__


def test_option_that_would_name_the_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(StirError) as caught:
        secret(None, VARIABLE, "the MAC key", "[sti_ca] eab_key_file")
    assert caught.value.detail == f"the MAC key: neither [sti_ca] eab_key_file is set, nor {VARIABLE} in the environment"


def test_file_that_may_not_be_read_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, b"word")

    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StirError) as caught:
        secret(path, VARIABLE, "the password")
    assert "may not read it" in caught.value.advice
