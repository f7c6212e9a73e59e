"""What outlives a restart, and what a disk can do to it: nothing of it may reach a call."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
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
            store.put(f"https://cr.example.test/{number}.pem", fetched(1_000_000 + number))
        there = [number for number in range(106) if store.get(f"https://cr.example.test/{number}.pem")]
    assert there == list(range(6, 106))


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
    assert [line.rpartition(";")[2].strip() for line in said.lines][0] == "certificates are not kept over a restart"
    assert "in use again" in said.lines[1]


def test_full_disk_is_said_and_its_end_too(tmp_path: Path, store: CertificateStore, said: Said) -> None:
    store.put(URL, fetched())
    assert store._database is not None
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    store.put("https://cr.example.test/large.pem", fetched(pem="x" * 100_000))
    assert len(said.lines) == 1
    assert "full" in said.lines[0]
    assert store.get(URL) == fetched()  # opened anew
    assert "in use again" in said.lines[1]


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


def test_no_state_without_directory() -> None:
    write_state(None, "crl", "one")
    assert read_state(None, "crl") == ""


def test_state_that_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    write_state(tmp_path, "crl", "one")
    (tmp_path / "crl.new").mkdir()
    with pytest.raises(OSError, match="crl.new"):
        write_state(tmp_path, "crl", "two")
    assert read_state(tmp_path, "crl") == "one"
