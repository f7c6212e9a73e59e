"""Pairs that wait: names, files, states, and who may work on them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.keys import read_key
from kamailio_app.lifecycle.pairs import Record

from ..builders import NOW, provider, refused

CHAIN = provider().chain_pem


def test_names_have_provider_and_day_and_a_number_if_they_have_to() -> None:
    assert pairs.new_name("1234", NOW, ()) == "sp1234-20231114"
    taken = ["sp1234-20231114"]
    assert pairs.new_name("1234", NOW, taken) == "sp1234-20231114-2"
    taken.append("sp1234-20231114-2")
    assert pairs.new_name("1234", NOW, taken) == "sp1234-20231114-3"


def test_pair_begins_with_a_key_that_stays(tmp_path: Path) -> None:
    pair = pairs.begin(tmp_path / "state", "sp1")
    key = pair.key_file.read_bytes()
    assert read_key(pair.key_file)
    assert pair.state == "requested"
    assert pairs.begin(tmp_path / "state", "sp1") == pair
    assert pair.key_file.read_bytes() == key
    assert pairs.pending(tmp_path / "state") == [pair]
    assert pair.key_file.parent.stat().st_mode & 0o777 == 0o700


def test_where_there_is_nothing_there_are_no_pairs(tmp_path: Path) -> None:
    assert pairs.pending(tmp_path) == []
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "lonely.pem").write_bytes(CHAIN)
    (tmp_path / "pairs" / "lonely.json").write_text("{}")
    (tmp_path / "pairs" / "bad name.key").touch()
    assert pairs.pending(tmp_path) == []
    with refused("pair_unknown"):
        pairs.find(tmp_path, "lonely")


def test_states_go_on_and_the_chain_is_what_counts(tmp_path: Path) -> None:
    pairs.begin(tmp_path, "sp1")
    pairs.remember(tmp_path, "sp1", Record(state="published", trouble="x", failures=3, not_before=5, order="https://ca/1"))
    assert pairs.find(tmp_path, "sp1").state == "requested"
    assert pairs.keep_chain(tmp_path, "sp1", CHAIN, "https://cr.test/1.pem").state == "issued"
    assert pairs.recall(tmp_path, "sp1") == Record(state="issued", order="https://ca/1", x5u="https://cr.test/1.pem")
    assert pairs.mark(tmp_path, "sp1", "published").state == "published"
    assert pairs.mark(tmp_path, "sp1", "installed").state == "installed"
    (tmp_path / "pairs" / "sp1.json").unlink()
    assert pairs.find(tmp_path, "sp1").state == "issued"


def test_chain_is_never_written_over(tmp_path: Path) -> None:
    pairs.begin(tmp_path, "sp1")
    pairs.keep_chain(tmp_path, "sp1", CHAIN)
    with refused("file_exists"):
        pairs.keep_chain(tmp_path, "sp1", b"another")
    assert pairs.find(tmp_path, "sp1").chain_file.read_bytes() == CHAIN
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["sp1.json", "sp1.key", "sp1.pem"]
    with refused("pair_unknown"):
        pairs.keep_chain(tmp_path, "sp2", CHAIN)
    with refused("pair_unknown"):
        pairs.mark(tmp_path, "sp2", "published")


def test_left_over_of_an_interruption_does_no_harm(tmp_path: Path) -> None:
    pairs.begin(tmp_path, "sp1")
    (tmp_path / "pairs" / ".sp1.pem.0123abcd.new").write_bytes(b"half")
    (tmp_path / "pairs" / ".sp1.key.0123abcd.new").write_bytes(b"half")
    assert pairs.pending(tmp_path)[0].state == "requested"
    assert pairs.keep_chain(tmp_path, "sp1", CHAIN).chain_file.read_bytes() == CHAIN


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "x" * 129, "ä", "a\n"])
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    for action in (pairs.begin, pairs.find, pairs.place):
        with refused("pair_unknown"):
            action(tmp_path, name)


def test_one_at_a_time(tmp_path: Path) -> None:
    with pairs.alone(tmp_path / "state"):
        with refused("state_busy"), pairs.alone(tmp_path / "state"):
            pass
        assert (tmp_path / "state" / "lock").stat().st_mode & 0o777 == 0o600
    with pairs.alone(tmp_path / "state"):
        pass


def test_lock_is_no_link_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with refused("file_unwritable"), pairs.alone(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_what_root_makes_belongs_to_whom_the_directory_belongs_to(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4712)
    with pairs.alone(state):
        pairs.begin(state, "sp1")
        pairs.remember(state, "sp1", Record())
        pairs.keep_chain(state, "sp1", CHAIN)
    found = sorted(path.relative_to(state).as_posix() for path in state.rglob("*"))
    assert found == ["lock", "pairs", "pairs/sp1.json", "pairs/sp1.key", "pairs/sp1.pem"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in state.rglob("*")} == {(4711, 4712)}
    # Nor does root mind what another has made
    with pairs.alone(state):
        pairs.remember(state, "sp1", Record(state="issued"))


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_root_gives_nothing_away_that_has_another_name(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    precious = tmp_path / "precious"
    precious.touch(mode=0o600)
    (state / "lock").hardlink_to(precious)
    os.chown(state, 4711, 4712)
    with pairs.alone(state):
        pass
    assert precious.stat().st_uid == 0


def test_directory_that_is_none(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("")
    with refused("file_unwritable"):
        pairs.begin(state, "sp1")
    with refused("file_unwritable"), pairs.alone(state):
        pass
    with refused("file_unwritable"):
        pairs.remember(state, "sp1", Record())
    with refused("file_unreadable"):
        pairs.pending(state)


@given(
    st.text(max_size=50)
    | st.dictionaries(st.sampled_from(list(Record.__slots__)), st.none() | st.integers() | st.text()).map(json.dumps)
)
def test_any_text_is_a_record_of_the_right_types(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.getbasetemp() / "records"
    (directory / "pairs").mkdir(parents=True, exist_ok=True)
    (directory / "pairs" / "sp1.json").write_text(text, "utf-8", "replace")
    record = pairs.recall(directory, "sp1")
    defaults = Record()
    assert all(type(getattr(record, name)) is type(getattr(defaults, name)) for name in Record.__slots__)
