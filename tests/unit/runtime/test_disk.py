"""What outlives a restart, and what a disk can do to it: nothing of it may reach a call."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.disk import CertificateStore, read_state, write_state

URL = "https://cr.example.test/a.pem"


def fetched(expires: int = 2_000_000_000, pem: str = "PEM\nPEM\n") -> Fetched:
    return Fetched(expires, pem, renew_at=expires - 10)


@dataclass
class Said:
    lines: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def store(tmp_path: Path, said: Said) -> Iterator[CertificateStore]:
    with closing(CertificateStore(tmp_path / "state", 10, said)) as made:
        yield made


def test_what_was_put_is_there_after_a_restart(tmp_path: Path, store: CertificateStore, said: Said) -> None:
    store.put(URL, fetched())
    # Not closed: it was killed
    with closing(CertificateStore(tmp_path / "state", 10, said)) as other:
        assert other.get(URL) == fetched()
        assert other.get("https://cr.example.test/b.pem") is None
    assert said.lines == []


def test_last_one_put_counts(store: CertificateStore) -> None:
    store.put(URL, fetched(pem="old"))
    store.put(URL, fetched(pem="new"))
    found = store.get(URL)
    assert found is not None
    assert found.pem == "new"


def test_those_that_end_first_go_first(tmp_path: Path, said: Said) -> None:
    with closing(CertificateStore(tmp_path, 100, said)) as store:
        for number in range(106):
            store.put(f"https://cr.example.test/{number}.pem", fetched(1_000_000 + number, f"signer {number}"))
        there = [number for number in range(106) if store.get(f"https://cr.example.test/{number}.pem")]
    assert there == list(range(6, 106))


def test_one_signer_under_many_names_has_a_few_places(store: CertificateStore) -> None:
    end = "-----END CERTIFICATE-----\n"
    store.put(URL, fetched(1_000, pem=f"another{end}issuer{end}"))
    for number in range(8):
        # Who serves somebody's chain may put anything behind it
        pem = f"signer{end}issuer {number}{end}"
        store.put(f"https://cr.example.test/{number}.pem", fetched(1_000_000 + number, pem))
    there = [number for number in range(8) if store.get(f"https://cr.example.test/{number}.pem")]
    assert there == [4, 5, 6, 7]
    assert store.get(URL) is not None


def test_no_directory_or_no_size_keeps_nothing(tmp_path: Path, said: Said) -> None:
    for store in (CertificateStore(None, 10, said), CertificateStore(tmp_path / "none", 0, said)):
        store.put(URL, fetched())
        assert store.get(URL) is None
        store.close()
    assert not (tmp_path / "none").exists()
    assert said.lines == []


def test_directory_that_cannot_be_made_is_said_once(tmp_path: Path, said: Said) -> None:
    (tmp_path / "file").write_text("")
    with closing(CertificateStore(tmp_path / "file" / "state", 10, said)) as store:
        for _ in range(3):
            store.put(URL, fetched())
            assert store.get(URL) is None
    assert len(said.lines) == 1
    assert "not kept" in said.lines[0]


def test_file_that_is_no_database_is_made_anew(tmp_path: Path, said: Said) -> None:
    (tmp_path / "certificates.sqlite").write_bytes(b"This is no database. " * 500)
    with closing(CertificateStore(tmp_path, 10, said)) as store:
        assert store.get(URL) is None
        store.put(URL, fetched())
        assert store.get(URL) == fetched()
    broken, mended = said.lines
    assert broken.endswith("; certificates are not kept over a restart")
    assert "in use again" in mended


class FullDisk(sqlite3.Connection):
    """Can be read; nothing more can be put there."""

    full = True

    def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        if FullDisk.full and statement.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, *arguments)  # type: ignore[arg-type]


def test_full_disk_is_said_once_and_its_end_too(store: CertificateStore, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(URL, fetched())
    store.close()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=FullDisk))
    monkeypatch.setattr(FullDisk, "full", True)
    for _ in range(3):
        store.put("https://cr.example.test/b.pem", fetched())
        assert store.get(URL) == fetched()
    (line,) = said.lines
    assert "full; certificates are not kept over a restart" in line
    monkeypatch.setattr(FullDisk, "full", False)
    store.get(URL)
    assert len(said.lines) == 1
    store.put("https://cr.example.test/b.pem", fetched())
    assert "in use again" in said.lines[1]
    assert len(said.lines) == 2


def test_entry_that_is_not_ours_is_as_none(tmp_path: Path, store: CertificateStore) -> None:
    store.put(URL, fetched())
    with closing(sqlite3.connect(tmp_path / "state" / "certificates.sqlite")) as database:
        for text in ("", "garbage", None, 5, b"\x00"):
            database.execute("UPDATE certificate SET text = ?", (text,))
            database.commit()
            assert store.get(URL) is None


def test_state_is_replaced_whole(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    assert read_state(directory, "crl") == ""
    write_state(directory, "crl", "one")
    write_state(directory, "crl", "two")
    assert read_state(directory, "crl") == "two"
    assert [path.name for path in directory.iterdir()] == ["crl"]
    (directory / "crl").write_bytes(b"\xff")
    assert read_state(directory, "crl") == ""


def test_link_in_the_place_of_the_new_state_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    directory = tmp_path / "state"
    directory.mkdir()
    (directory / "crl.new").symlink_to(precious)
    write_state(directory, "crl", "one")
    assert (precious.read_text(), read_state(directory, "crl")) == ("x", "one")
    assert not (directory / "crl").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_state_that_root_writes_belongs_to_whom_the_directory_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4712)
    write_state(tmp_path / "a" / "b", "crl", "one")
    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")} == {(4711, 4712)}


def test_no_state_without_directory() -> None:
    write_state(None, "crl", "one")
    assert read_state(None, "crl") == ""


def test_state_that_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    write_state(tmp_path, "crl", "one")
    (tmp_path / "crl.new").mkdir()
    with pytest.raises(OSError, match=r"crl\.new"):
        write_state(tmp_path, "crl", "two")
    assert read_state(tmp_path, "crl") == "one"
