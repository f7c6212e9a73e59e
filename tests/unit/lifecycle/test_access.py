"""Who may read or write a file, by owner, group and mode, and by the directories that lead to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.lifecycle.access import ENTER, READ, WRITE, User, refusal, runs_as, user, user_of

STRANGER = User("stranger", 54321, frozenset({54321}))
OWNER = User("owner", os.getuid() or 54322, frozenset())


@pytest.fixture
def directory() -> Iterator[Path]:
    """Everybody may enter it, as pytest's own may not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def made(directory: Path, mode: int) -> Path:
    path = directory / "file"
    path.write_text("x")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "wanted", "may"),
    [
        (0o644, READ, True),
        (0o640, READ, False),
        (0o604, READ | WRITE, False),
        (0o606, READ | WRITE, True),
        (0o060, READ, False),
    ],
)
def test_others_are_judged_by_the_last_three_bits(directory: Path, mode: int, wanted: int, may: bool) -> None:
    assert (refusal(STRANGER, made(directory, mode), wanted) == "") is may


def test_group_goes_before_others(directory: Path) -> None:
    path = made(directory, 0o604)
    member = User("member", 54321, frozenset({path.stat().st_gid}))
    assert refusal(member, path, READ) == f"member may not read {path} (mode 604)"
    path.chmod(0o640)
    assert refusal(member, path, READ) == ""


def test_directory_on_the_way_has_to_be_entered(directory: Path) -> None:
    below = directory / "below"
    below.mkdir()
    path = made(below, 0o644)
    below.chmod(0o700)
    assert refusal(STRANGER, path, READ) == f"stranger may not enter {below}"
    assert refusal(STRANGER, below, READ | WRITE | ENTER) == f"stranger may not write to {below} (mode 700)"
    assert refusal(User("root", 0, frozenset()), path, READ | WRITE) == ""


def test_link_is_judged_by_what_it_leads_to(directory: Path) -> None:
    path = made(directory, 0o600)
    (directory / "link").symlink_to(path)
    assert str(path) in refusal(STRANGER, directory / "link", READ)


def test_what_is_not_there_is_an_error(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        refusal(STRANGER, directory / "nothing", READ)


def test_users_are_known_by_name_and_number() -> None:
    root = user("root")
    assert root is not None
    assert root == user_of(0)
    assert user("no-such-user") is None
    assert user_of(987654) == User("987654", 987654, frozenset())


def test_server_runs_as_whom_its_processes_run_as(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_as([os.getpid()]) == user_of(os.getuid())
    assert runs_as([]) is None
    assert runs_as([os.getpid(), 1 << 30]) is None  # of another host
    # Its first process may be root's still
    owners = {"/proc/1": 0, "/proc/2": 4711}
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((0, 0, 0, 0, owners[path], 0, 0, 0, 0, 0)))
    found = runs_as([1, 2])
    assert found is not None
    assert found.uid == 4711
