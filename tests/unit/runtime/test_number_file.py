"""Writing a list: complete and compared before anybody sees it, and never into a file that is in use."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from kamailio_app.errors import StirError
from kamailio_app.runtime import number_file, number_seal
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.numbers import INVENTORY, Numbers

from .number_lists import do_not_originate, inventory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.mdb"


def refusal(path: Path, *entries: tuple[str, str]) -> str:
    with pytest.raises(StirError) as refused:
        inventory(path, *entries)
    assert refused.value.token == "inventory_unreadable"
    return refused.value.detail


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_what_is_written_is_said(path: Path) -> None:
    about = inventory(path, ("a", "100-199"), ("b", "150"), ("a", "911"))
    assert (about.entries, about.segments, about.customers, about.shared) == (3, 4, 2, 1)
    assert names(path) == ["numbers.mdb"]
    assert do_not_originate(path, "911", "911").customers == 0
    assert names(path) == ["numbers.mdb", "numbers.mdb.former"]


def test_former_file_is_replaced_not_written(path: Path) -> None:
    inventory(path, ("a", "911"))
    with path.open("rb") as former:
        before = former.read()
        inventory(path, ("b", "911"))
        former.seek(0)
        assert former.read() == before


def test_former_list_can_be_put_back(path: Path) -> None:
    kept = path.with_name("numbers.mdb.former")
    for customer in "abc":
        inventory(path, (customer, "911"))
    assert Numbers(kept).owners("911") == ("b",)
    with closing(Numbers(path)) as numbers:
        numbers.refresh(0.0)
        kept.replace(path)
        numbers.refresh(1.0)
        assert numbers.owners("911") == ("b",)


def test_file_system_without_hard_links_has_no_former_list(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for customer in "ab":
        inventory(path, (customer, "911"))
    assert Numbers(path).owners("911") == ("b",)
    assert names(path) == ["numbers.mdb"]


def test_symbolic_link_stays_one(path: Path) -> None:
    place = path.with_name("real") / "numbers.mdb"
    place.parent.mkdir()
    path.symlink_to(place)
    inventory(path, ("a", "911"))
    assert path.is_symlink()
    assert not place.is_symlink()
    assert Numbers(path).owners("911") == ("a",)


def test_who_may_read_it_stays(path: Path) -> None:
    inventory(path, ("a", "911"))
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    before = path.stat()
    inventory(path, ("a", "912"))
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_directory_that_is_not_there_is_said(path: Path) -> None:
    assert "No such file" in refusal(path.parent / "none" / "numbers.mdb")


def test_place_that_is_a_directory_is_said(path: Path) -> None:
    path.mkdir()
    assert "directory" in refusal(path, ("a", "911")).lower()
    assert names(path) == ["numbers.mdb"]


def test_two_imports_at_once_are_one(path: Path) -> None:
    inventory(path, ("a", "911"))
    with path.with_name("numbers.mdb.new").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert refusal(path, ("b", "911")).endswith("another import writes it just now")
        assert other.tell() == 0
        assert path.with_name("numbers.mdb.new").exists()
    assert Numbers(path).owners("911") == ("a",)
    # What an import that was killed has left does no harm
    path.with_name("numbers.mdb.new").write_bytes(b"half a list" * 1000)
    inventory(path, ("b", "911"))
    assert Numbers(path).owners("911") == ("b",)


def test_file_that_was_put_into_place_meanwhile_is_not_touched(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other import ends between our opening of its file and our getting the lock."""
    new = path.with_name("numbers.mdb.new")
    inventory(new, ("other", "911"))
    real = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if new.exists():
            new.replace(path)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert "another import" in refusal(path, ("a", "911"))
    assert Numbers(path).owners("911") == ("other",)
    assert names(path) == ["numbers.mdb"]


def test_link_in_the_way_is_not_followed(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.with_name("numbers.mdb.new").symlink_to(victim)
    assert "symbolic link" in refusal(path, ("a", "911"))
    assert victim.read_text() == "precious"


def test_entries_that_cannot_be_written_leave_the_former(path: Path) -> None:
    inventory(path, ("a", "911"))
    entries = Entries()
    for index in range(1001):
        entries.add(f"c{index}", "911")
    with pytest.raises(StirError) as refused:
        number_file.write(path, entries, kind=INVENTORY, source="test", now=0.0)
    assert refused.value.token == "inventory_malformed"
    assert Numbers(path).owners("911") == ("a",)
    assert names(path) == ["numbers.mdb"]


@pytest.mark.parametrize("defect", ["number", "customer", "count", "octet", "seal"])
def test_file_that_reads_back_differently_is_not_put_into_place(
    path: Path, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    inventory(path, ("a", "911"))
    seal = number_seal.seal

    def spoil(new: Path) -> None:
        seal(new)
        if defect == "octet":
            octets = bytearray(new.read_bytes())
            octets[-100] ^= 1
            new.write_bytes(octets)
        elif defect == "seal":
            os.truncate(new, new.stat().st_size - 1)
        else:
            os.truncate(new, new.stat().st_size - number_seal.SIZE)
            with closing(lmdb.open(str(new), subdir=False, lock=False)) as environment, environment.begin(write=True) as change:
                key, value = next((key, value) for key, value in change.cursor() if key[0] == 3)
                about = change.get(b"\x00about", b"").replace(b'"entries": 1', b'"entries": 2')
                change.put(
                    *{
                        "number": (key, (int.from_bytes(key, "big") + 1).to_bytes(8, "big") + b"b"),
                        "customer": (key, value[:8] + b"c"),
                        "count": (b"\x00about", about),
                    }[defect]
                )
            seal(new)

    monkeypatch.setattr(number_seal, "seal", spoil)
    assert "it " in refusal(path, ("b", "911"))
    assert Numbers(path).owners("911") == ("a",)
    assert names(path) == ["numbers.mdb"]


def test_examination_reads_every_octet(path: Path) -> None:
    inventory(path, *(("a", f"{number:06d}") for number in range(0, 9000, 2)))
    number_file.examine(path)
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)
    Numbers(path).refresh(0.0)  # which takes too long for a call
    with pytest.raises(StirError, match="damaged") as refused:
        number_file.examine(path)
    assert refused.value.token == "inventory_unreadable"
    with pytest.raises(StirError, match="No such file"):
        number_file.examine(path.with_name("none"))


def test_full_disk_leaves_the_former(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(path, ("a", "911"))

    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(number_seal, "seal", full)
    assert "No space left" in refusal(path, ("b", "911"))
    assert Numbers(path).owners("911") == ("a",)
    assert names(path) == ["numbers.mdb"]
