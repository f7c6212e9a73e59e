"""Files into the directories and out again: whole, never over another, with the rights that they need."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kamailio_app.lifecycle import installation
from kamailio_app.runtime.keystore import load_signers

from ..builders import NOW, hierarchy, provider, refused

KEY, CHAIN = provider().key_pem, provider().chain_pem


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_published_chain_is_for_everybody_and_comes_once(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        assert installation.publish(tmp_path, "sp1234", CHAIN)
    finally:
        os.umask(old)
    assert not installation.publish(tmp_path, "sp1234", CHAIN)
    assert (tmp_path / "sp1234.pem").read_bytes() == CHAIN
    assert mode(tmp_path / "sp1234.pem") == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["sp1234.pem"]


def test_another_chain_of_that_name_is_never_written_over(tmp_path: Path) -> None:
    other = hierarchy().service_provider().chain_pem
    installation.publish(tmp_path, "sp1234", other)
    with refused("publication_differs"):
        installation.publish(tmp_path, "sp1234", CHAIN)
    assert (tmp_path / "sp1234.pem").read_bytes() == other


def test_installed_pair_is_one_that_the_server_takes(tmp_path: Path) -> None:
    installation.install(tmp_path, "sp1234", KEY, CHAIN)
    assert mode(tmp_path / "sp1234.key") == 0o640
    loaded = load_signers(tmp_path, "https://cr.example.net/{name}.pem", NOW)
    assert (list(loaded.signers), loaded.refused) == (["sp1234"], ())
    assert installation.installed(tmp_path, "sp1234", KEY, CHAIN)
    installation.install(tmp_path, "sp1234", KEY, CHAIN)


def test_files_have_the_group_of_their_directory(tmp_path: Path) -> None:
    groups = [group for group in os.getgroups() if group != os.getegid()] or ([65534] if os.geteuid() == 0 else [])
    if not groups:
        pytest.skip("this user is in one group only")
    os.chown(tmp_path, -1, groups[0])
    installation.install(tmp_path, "sp1234", KEY, CHAIN)
    assert {path.stat().st_gid for path in tmp_path.iterdir()} == {groups[0]}


def test_another_key_of_that_name_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "sp1234.key").write_bytes(b"precious")
    with refused("file_exists"):
        installation.install(tmp_path, "sp1234", KEY, CHAIN)
    assert (tmp_path / "sp1234.key").read_bytes() == b"precious"


def test_what_was_interrupted_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "sp1234.pem").write_bytes(CHAIN)
    (tmp_path / "sp1234.key.new").write_bytes(KEY[:20])
    assert not installation.installed(tmp_path, "sp1234", KEY, CHAIN)
    installation.install(tmp_path, "sp1234", KEY, CHAIN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sp1234.key", "sp1234.pem"]


def test_key_goes_before_its_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.install(tmp_path, "sp1234", KEY, CHAIN)
    gone: list[str] = []
    monkeypatch.setattr(installation, "remove", lambda path: gone.append(path.name))
    installation.withdraw(tmp_path, "sp1234")
    assert gone == ["sp1234.pem.new", "sp1234.key.new", "sp1234.key", "sp1234.pem"]


def test_what_is_not_there_can_be_taken_away(tmp_path: Path) -> None:
    installation.withdraw(tmp_path, "sp1234")


def test_directory_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with refused("file_unwritable"):
        installation.publish(tmp_path / "absent", "sp1234", CHAIN)
    with refused("file_unreadable"):
        installation.read(tmp_path / "absent")
    (tmp_path / "file").touch()
    with refused("file_unwritable"):
        installation.keep(tmp_path / "file", "sp1234", CHAIN)
    with refused("file_unwritable"):
        installation.remove(tmp_path)


def test_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "sp1234.pem.new").symlink_to(target)
    installation.publish(tmp_path, "sp1234", CHAIN)
    assert target.read_bytes() == b"precious"


def test_retired_chain_is_kept_once_and_beside_another_of_that_name(tmp_path: Path) -> None:
    assert installation.kept(tmp_path / "retired", "sp1234") is None
    for octets in (CHAIN, CHAIN, b"another", b"another", CHAIN):
        installation.keep(tmp_path / "retired", "sp1234", octets)
    assert (tmp_path / "retired/sp1234.pem").read_bytes() == CHAIN
    assert (tmp_path / "retired/sp1234~2.pem").read_bytes() == b"another"
    assert sorted(path.name for path in (tmp_path / "retired").iterdir()) == ["sp1234.pem", "sp1234~2.pem"]
    assert installation.kept(tmp_path / "retired", "sp1234") == tmp_path / "retired/sp1234~2.pem"


def test_chain_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "sp1234.pem.new").mkdir()
    with refused("file_unwritable"):
        installation.keep(tmp_path, "sp1234", CHAIN)


def test_key_is_closed_from_the_first_octet_on_and_on_the_disk_when_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []
    synchronized: list[tuple[bool, bool]] = []
    real = os.open

    def open_(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            opened.append((path.name, mode))
        return real(path, flags, mode)

    def watched(descriptor: int) -> None:
        synchronized.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "sp1234.key").exists()))

    installation.publish(tmp_path, "sp1234", CHAIN)
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "fsync", watched)
    installation.install(tmp_path, "sp1234", KEY, CHAIN)
    assert opened == [("sp1234.key.new", 0o600)]
    assert synchronized == [(False, False), (True, True)]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_key_is_of_the_group_that_is_named_and_of_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4712)
    installation.install(tmp_path, "sp1234", KEY, CHAIN, 4713)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()} == {(4711, 4713)}
    assert mode(tmp_path / "sp1234.key") == 0o640
