"""Looking numbers up: what a call may ask, and what a disk may do to the file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from kamailio_app.runtime import number_seal
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, Numbers

from .number_lists import MADE, do_not_originate, inventory

HOSTILE = (
    "",
    " ",
    "+12155551212",
    "1215555121",
    "121555512120",
    "1" * 16,
    "9" * 15,
    "9" * 100_000,
    "-1",
    "1_0",
    "0x10",
    "1e3",
    "*67",
    "12155551212\x00",
    "12155551212\n",
    " 12155551212",
    "²",
    "١٢١٥٥٥٥١٢١٢",
    "\uff11\uff12\uff11\uff15",
    "\ud800",
    "\xff" * 8,
    "\x00about",
    "anonymous",
    "sip:12155551212@example.com",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.mdb"


@pytest.fixture
def list_(path: Path) -> Iterator[Numbers]:
    inventory(path, ("alpha", "12155551212"), ("beta", "1800*"), ("alpha", "12155550000-12155550099"), ("beta", "12155551212"))
    with closing(Numbers(path)) as numbers:
        yield numbers


def detail(numbers: Numbers) -> str:
    assert numbers.error is not None
    assert numbers.error.token == "inventory_unreadable"
    return numbers.error.detail


def test_customers_of_a_number(list_: Numbers) -> None:
    assert list_.owners("12155551212") == ("alpha", "beta")
    assert list_.owners("12155550000") == list_.owners("12155550042") == list_.owners("12155550099") == ("alpha",)
    assert list_.owners("1800") == list_.owners("18005551212") == list_.owners("180055512129999") == ("beta",)
    assert list_.error is None


@pytest.mark.parametrize(
    "number", ["12155551211", "12155551213", "12155550100", "12155549999", "180", "1799", "18", "912155551212"]
)
def test_neighbours_have_no_customer(list_: Numbers, number: str) -> None:
    assert list_.owners(number) == ()
    assert not list_.holds(number)


@pytest.mark.parametrize("number", HOSTILE)
def test_any_text_may_be_asked_for_and_nobody_has_it(list_: Numbers, number: str) -> None:
    assert list_.owners(number) == ()
    assert not list_.holds(number)
    assert list_.error is None


def test_numbers_of_other_lengths_are_other_numbers(path: Path) -> None:
    inventory(path, ("alpha", "911"), ("beta", "0911"))
    list_ = Numbers(path)
    assert (list_.owners("911"), list_.owners("0911"), list_.owners("00911")) == (("alpha",), ("beta",), ())


def test_list_without_customers_holds_numbers_and_nobody_has_them(path: Path) -> None:
    do_not_originate(path, "911", "1900*")
    list_ = Numbers(path)
    assert list_.holds("911")
    assert list_.holds("19005551212")
    assert not list_.holds("912")
    assert list_.owners("911") == ()


@pytest.mark.parametrize("size", [2, 19, 20, 21, 300, 1000])
def test_number_has_all_its_customers_however_many(path: Path, size: int) -> None:
    names = tuple(f"customer-{index:04d}" for index in range(size))
    entries = [(name, "18005551212") for name in names] + [(name, "18005551214") for name in reversed(names)]
    inventory(path, *entries, ("alpha", "999999999999999"))
    list_ = Numbers(path)
    assert list_.owners("18005551212") == list_.owners("18005551214") == names
    assert list_.owners("18005551213") == ()
    assert list_.owners("999999999999998") == ()
    # What many share is written once
    assert path.stat().st_size < 16_384 + 20 * size


def test_two_crowds_are_not_mixed_up(path: Path) -> None:
    names = [f"customer-{index}" for index in range(90)]
    inventory(path, *((name, "100") for name in names[:60]), *((name, "200") for name in names[30:]))
    list_ = Numbers(path)
    assert set(list_.owners("100")) == set(names[:60])
    assert set(list_.owners("200")) == set(names[30:])


def test_about_says_what_the_file_is(list_: Numbers) -> None:
    about = list_.about
    assert about is not None
    assert (about.kind, about.source, about.made) == (INVENTORY, "test", MADE)
    assert (about.entries, about.customers, about.shared) == (4, 2, 1)
    assert about.segments == 2 + 12


def test_without_path_nothing_is_wrong() -> None:
    list_ = Numbers(None)
    list_.refresh(0)
    assert (list_.owners("911"), list_.holds("911"), list_.about, list_.error) == ((), False, None, None)


def test_empty_list_is_a_list(path: Path) -> None:
    inventory(path)
    list_ = Numbers(path)
    assert (list_.owners("911"), list_.holds("911"), list_.error) == ((), False, None)
    assert list_.about is not None


def test_nothing_is_opened_before_the_first_look_up(path: Path) -> None:
    list_ = Numbers(path)
    inventory(path, ("alpha", "911"))
    assert list_.error is None
    assert list_.owners("911") == ("alpha",)


def test_file_of_the_other_kind_is_refused(path: Path) -> None:
    do_not_originate(path, "911")
    list_ = Numbers(path, INVENTORY)
    assert not list_.holds("911")
    assert "do-not-originate, not inventory" in detail(list_)
    assert Numbers(path, DO_NOT_ORIGINATE).holds("911")


# --- Another file in its place


def test_new_file_is_taken_at_the_next_look_of_the_second(path: Path, list_: Numbers) -> None:
    list_.refresh(100.0)
    inventory(path, ("gamma", "12155551212"))
    list_.refresh(100.9)
    assert list_.owners("12155551212") == ("alpha", "beta")
    list_.refresh(101.0)
    assert list_.owners("12155551212") == ("gamma",)
    assert list_.owners("12155550000") == ()


def test_new_file_is_taken_when_the_clocks_second_changes(path: Path, list_: Numbers) -> None:
    list_.refresh(100.003)
    inventory(path, ("gamma", "12155551212"))
    list_.refresh(100.999)
    assert list_.owners("12155551212") == ("alpha", "beta")
    list_.refresh(101.001)  # less than a second later
    assert list_.owners("12155551212") == ("gamma",)


def test_clock_that_was_put_back_is_no_reason_to_wait(path: Path, list_: Numbers) -> None:
    list_.refresh(1_000_000.0)
    inventory(path, ("gamma", "12155551212"))
    list_.refresh(10.0)
    assert list_.owners("12155551212") == ("gamma",)


def test_file_is_looked_at_once_a_second(path: Path, list_: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    real = os.stat

    def counted(path: Path) -> os.stat_result:
        looks.append(path)
        return real(path)

    monkeypatch.setattr(os, "stat", counted)
    list_.refresh(0.0)
    opened = len(looks)
    for tenth in range(100):
        list_.refresh(tenth / 10)
    assert len(looks) - opened == 9


def test_file_that_comes_later_is_taken(path: Path) -> None:
    list_ = Numbers(path)
    list_.refresh(0.0)
    assert detail(list_) == f"{path}: No such file or directory"
    inventory(path, ("alpha", "911"))
    list_.refresh(1.0)
    assert list_.owners("911") == ("alpha",)
    assert list_.error is None


def test_same_trouble_is_the_same_error(path: Path) -> None:
    list_ = Numbers(path)
    list_.refresh(0.0)
    first = list_.error
    list_.refresh(1.0)
    assert list_.error is first
    path.write_bytes(b"")
    list_.refresh(2.0)
    assert list_.error is not first
    assert "cut short" in detail(list_)


def test_file_that_goes_away_stays_in_use(path: Path, list_: Numbers) -> None:
    list_.refresh(0.0)
    path.rename(path.with_name("moved"))
    list_.refresh(1.0)
    assert list_.owners("12155551212") == ("alpha", "beta")
    assert "No such file" in detail(list_)
    path.with_name("moved").rename(path)
    list_.refresh(2.0)
    assert list_.error is None
    assert list_.owners("12155551212") == ("alpha", "beta")


def renamed_into(path: Path, octets: bytes) -> None:
    new = path.with_name("another")
    new.write_bytes(octets)
    new.replace(path)


def lmdb_of_others(path: Path) -> None:
    other = path.with_name("other")
    with closing(lmdb.open(str(other), subdir=False, lock=False)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"key", b"value")
    other.replace(path)


def sealed_but_no_lmdb(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"This is no database. " * 1000)
    number_seal.seal(other)
    other.replace(path)


def sealed_lmdb_of_others(path: Path) -> None:
    other = path.with_name("other")
    lmdb_of_others(other)
    number_seal.seal(other)
    other.replace(path)


def sealed_without_its_pages(path: Path) -> None:
    """The two pages that LMDB begins with, which speak of more than there are."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[:8192])
    number_seal.seal(other)
    other.replace(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: renamed_into(path, b""), "cut short"),
    "text": (lambda path: renamed_into(path, b"customer,number\n" * 1000), "not one of ours"),
    "one octet short": (lambda path: renamed_into(path, path.read_bytes()[:-1]), "cut short"),
    "half": (lambda path: renamed_into(path, path.read_bytes()[: path.stat().st_size // 2]), "cut short"),
    "its seal alone": (lambda path: renamed_into(path, path.read_bytes()[-number_seal.SIZE :]), "cut short"),
    "something behind it": (lambda path: renamed_into(path, path.read_bytes() + b"\n"), "not one of ours"),
    "LMDB of others": (lmdb_of_others, "not one of ours"),
    "sealed, no LMDB": (sealed_but_no_lmdb, "not an LMDB file"),
    "sealed LMDB of others": (sealed_lmdb_of_others, "Expecting value"),
    "sealed, pages missing": (sealed_without_its_pages, "damaged"),
    "directory": (directory, "no file"),
    "pipe": (pipe, "no file"),
    "broken link": (broken_link, "No such file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_file_that_cannot_be_used_is_no_list(path: Path, damage: str) -> None:
    inventory(path, *(("alpha", f"{number:011d}") for number in range(0, 2000, 2)))
    spoil, reason = DAMAGES[damage]
    spoil(path)
    list_ = Numbers(path)
    assert (list_.owners("00000000042"), list_.holds("00000000042")) == ((), False)
    assert reason.lower() in detail(list_).lower()


@pytest.mark.parametrize("damage", DAMAGES)
def test_file_that_cannot_be_used_leaves_the_former_one(path: Path, list_: Numbers, damage: str) -> None:
    list_.refresh(0.0)
    spoil, reason = DAMAGES[damage]
    spoil(path)
    list_.refresh(1.0)
    assert list_.owners("12155551212") == ("alpha", "beta")
    assert reason.lower() in detail(list_).lower()
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    inventory(path, ("gamma", "12155551212"))
    list_.refresh(2.0)
    assert (list_.owners("12155551212"), list_.error) == (("gamma",), None)


def test_file_that_is_written_in_place_is_let_go(path: Path, list_: Numbers) -> None:
    list_.refresh(0.0)
    os.truncate(path, 4096)  # what is mapped is gone: one look-up would be the last
    list_.refresh(1.0)
    assert list_.owners("12155551212") == ()
    assert "cut short" in detail(list_)


def test_page_with_a_defect_is_an_empty_list_and_said(path: Path) -> None:
    inventory(path, *(("alpha", f"{number:011d}") for number in range(0, 20_000, 2)))
    octets = bytearray(path.read_bytes())
    octets[8192 : -number_seal.SIZE] = bytes(len(octets) - 8192 - number_seal.SIZE)
    other = path.with_name("other")
    other.write_bytes(octets[: -number_seal.SIZE])
    number_seal.seal(other)
    other.replace(path)
    list_ = Numbers(path)
    for now in range(3):
        list_.refresh(float(now))
        assert list_.owners("00000000042") == ()
        assert "MDB_CORRUPTED" in detail(list_)


def test_defect_that_shows_later_ends_the_use_of_the_file(path: Path, list_: Numbers) -> None:
    list_.refresh(0.0)
    assert list_.owners("12155551212")

    class Defect:
        def set_range(self, _key: bytes) -> bool:
            raise lmdb.CorruptedError("mdb_cursor_get")

    list_._cursor = Defect()
    assert list_.owners("12155551212") == ()
    error = list_.error
    assert "mdb_cursor_get" in detail(list_)
    for now in (1.0, 2.0):
        list_.refresh(now)
        assert list_.owners("12155551212") == ()
        assert list_.error is error
    inventory(path, ("gamma", "12155551212"))
    list_.refresh(3.0)
    assert (list_.owners("12155551212"), list_.error) == (("gamma",), None)


def test_crowd_that_cannot_be_read_is_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(path, *((f"customer-{index}", "911") for index in range(100)))
    list_ = Numbers(path)
    assert list_.holds("911")
    assert list_._file is not None

    class Defect:
        def get(self, _key: bytes, _default: bytes) -> bytes:
            raise lmdb.CorruptedError("mdb_get")

    monkeypatch.setattr(list_._file, "transaction", Defect())
    assert list_.owners("911") == ()
    assert "mdb_get" in detail(list_)


def test_file_that_may_not_be_read_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(path, ("alpha", "911"))
    list_ = Numbers(path)

    def refuse(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        assert list_.owners("911") == ()
    assert detail(list_) == f"{path}: Permission denied"
    list_.refresh(0.0)
    assert list_.owners("911") == ("alpha",)


def test_name_that_changes_hands_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB opens by name: what it has opened must be what was checked."""
    inventory(path, ("alpha", "911"))
    spare = path.with_name("spare")
    inventory(spare, ("beta", "911"))
    real = lmdb.open
    times = iter(range(100))

    def late(*args: object, **options: object) -> object:
        if next(times) == 0:
            spare.replace(path)
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(lmdb, "open", late)
    list_ = Numbers(path)
    assert list_.owners("911") == ("beta",)
    assert next(times) == 2
    assert list_.error is None


# --- Several lists, several processes


def test_two_lists_may_be_the_same_file(path: Path, list_: Numbers) -> None:
    other = Numbers(path)
    assert other.owners("12155551212") == list_.owners("12155551212") == ("alpha", "beta")
    list_.close()
    assert other.owners("12155551212") == ("alpha", "beta")
    assert list_.owners("12155551212") == ("alpha", "beta")


def test_two_lists_of_one_place_may_stand_at_different_files(path: Path, list_: Numbers) -> None:
    other = Numbers(path)
    other.refresh(0.0)
    list_.refresh(0.0)
    inventory(path, ("gamma", "12155551212"))
    other.refresh(1.0)
    assert other.owners("12155551212") == ("gamma",)
    assert list_.owners("12155551212") == ("alpha", "beta")
    list_.refresh(1.0)
    assert list_.owners("12155551212") == ("gamma",)
    assert other.error is list_.error is None


def test_file_that_is_no_longer_used_is_closed(path: Path, list_: Numbers) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("numbers.mdb")

    list_.refresh(0.0)
    assert mapped() == 1
    for number in range(10):
        inventory(path, ("gamma", str(number)))
        list_.refresh(number + 1.0)
        assert list_.owners(str(number)) == ("gamma",)
        assert mapped() == 1
    list_.close()
    assert mapped() == 0


def in_a_child(question: Callable[[], object]) -> object:
    """What `question` answers in a process that was forked from this one."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(question()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(answer)


def test_child_opens_the_file_itself(path: Path, list_: Numbers) -> None:
    """What the process before the fork had opened, it cannot use."""
    other = Numbers(path)
    before = list_.owners("12155551212"), other.owners("12155551212")
    theirs = id(list_._file)

    def child() -> list[object]:
        answers: list[object] = [list_.owners("12155551212"), other.owners("12155551212"), list_.holds("12155550001")]
        return [*answers, id(list_._file) != theirs, list_._file is other._file, list_.error is None]

    assert in_a_child(child) == [["alpha", "beta"], ["alpha", "beta"], True, True, True, True]
    assert (list_.owners("12155551212"), other.owners("12155551212")) == before
    assert id(list_._file) == theirs


def test_child_asks_first(list_: Numbers) -> None:
    assert in_a_child(lambda: list_.owners("12155551212")) == ["alpha", "beta"]
    assert list_.owners("12155551212") == ("alpha", "beta")


def test_look_up_needs_no_builder(path: Path, list_: Numbers) -> None:
    """The workers of the SIP server import the reader alone."""
    program = (
        "import sys; from pathlib import Path; from kamailio_app.runtime.numbers import Numbers;"
        "print(Numbers(Path(sys.argv[1])).owners('12155551212'),"
        "sorted(name for name in sys.modules if name.startswith('kamailio_app.runtime.number_') or name in ('csv', 'psycopg')))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "('alpha', 'beta') ['kamailio_app.runtime.number_seal']"


def test_copy_of_a_file_is_a_file(path: Path, list_: Numbers) -> None:
    shutil.copy(path, path.with_name("copy"))
    assert Numbers(path.with_name("copy")).owners("12155551212") == ("alpha", "beta")
