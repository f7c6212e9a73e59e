"""The file of notes: kept whole, read strictly, written at once; proofs that change are noticed."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.errors import StirError
from kamailio_app.lifecycle.checklist import Note, Proof, Verdict
from kamailio_app.lifecycle.checklist_notes import FILE, editing, proofs_seen, read_notes, with_proof

from ..builders import refused

TODAY = date(2026, 11, 29)
FULL = Note(
    done="2026-11-01",
    until="2027-04-01",
    text="by the accountant, Société générale",
    values={"filer_id": "812345"},
    proofs=(Proof("/tmp/receipt.pdf", "ab" * 32, "2026-11-01"),),
)


def edit(directory: Path, step: str, note: Note, country: str = "US") -> None:
    with editing(directory) as notes:
        notes[0] = notes[0].with_note(country, step, note)


def written(directory: Path, document: Any) -> Path:
    (directory / FILE).write_text(json.dumps(document))
    return directory


def refusal(directory: Path) -> str:
    """The token; empty if the file is good."""
    try:
        read_notes(directory).of("US")
    except StirError as error:
        return error.token
    return ""


def of_us(steps: Any) -> dict[str, Any]:
    return {"format": "stirshaken-onboarding-1", "countries": {"US": {"steps": steps}}}


def test_nothing_is_noted_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_notes(tmp_path / "nowhere").of("US") == {}
    assert not (tmp_path / "nowhere").exists()


def test_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    edit(tmp_path / "state", "499a", FULL)
    assert read_notes(tmp_path / "state").of("US") == {"499a": FULL}
    text = (tmp_path / "state" / FILE).read_text("utf-8")
    assert "Société générale" in text
    assert len(text.splitlines()) > 10


def test_countries_do_not_mix(tmp_path: Path) -> None:
    edit(tmp_path, "ocn", Note(values={"ocn": "1234"}))
    edit(tmp_path, "ocn", Note(values={"ocn": "567A"}), "CA")
    assert {country: read_notes(tmp_path).of(country)["ocn"].values["ocn"] for country in ("US", "CA")} == {
        "US": "1234",
        "CA": "567A",
    }
    assert read_notes(tmp_path).of("FR") == {}


def test_note_of_nothing_leaves_the_file(tmp_path: Path) -> None:
    edit(tmp_path, "ocn", Note(done="2026-11-01"))
    edit(tmp_path, "ocn", Note())
    assert read_notes(tmp_path).of("US") == {}


def test_what_this_version_does_not_know_stays(tmp_path: Path) -> None:
    document = of_us({"moon": {"done": "2030-01-01", "rocket": [1]}, "ocn": {"colour": "blue", "done": "2026-11-01"}})
    written(tmp_path, document | {"author": "\ud800"})
    edit(tmp_path, "ocn", Note())
    edit(tmp_path, "frn", Note(done="2026-11-02"))
    after = json.loads((tmp_path / FILE).read_text("utf-8"))
    assert after["author"] == "\ud800"
    assert after["countries"]["US"]["steps"] == {
        "moon": {"done": "2030-01-01", "rocket": [1]},
        "ocn": {"colour": "blue"},
        "frn": {"done": "2026-11-02"},
    }


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"format": "another"},
        {"format": "stirshaken-onboarding-1", "countries": []},
        {"format": "stirshaken-onboarding-1", "countries": {"US": 1}},
        of_us([]),
        of_us({"ocn": "done"}),
        of_us({"ocn": {"done": True}}),
        of_us({"ocn": {"done": "yesterday"}}),
        of_us({"ocn": {"done": "20261129"}}),
        of_us({"ocn": {"until": "2026-02-30"}}),
        of_us({"ocn": {"text": "\x1b[2J"}}),
        of_us({"ocn": {"values": ["1234"]}}),
        of_us({"ocn": {"values": {"ocn": 1234}}}),
        of_us({"ocn": {"proofs": {}}}),
        of_us({"ocn": {"proofs": ["receipt.pdf"]}}),
        of_us({"ocn": {"proofs": [{"file": 1}]}}),
    ],
)
def test_file_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path, document: Any) -> None:
    written(tmp_path, document)
    before = (tmp_path / FILE).read_bytes()
    with refused("checklist_unreadable"):
        read_notes(tmp_path).of("US")
    with refused("checklist_unreadable"), editing(tmp_path) as notes:
        notes[0].of("US")
        notes[0] = notes[0].with_note("US", "frn", Note(done="2026-11-01"))
    assert (tmp_path / FILE).read_bytes() == before


@given(st.binary(max_size=300) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_octets_are_notes_or_refused(tmp_path_factory: pytest.TempPathFactory, octets: bytes | str) -> None:
    directory = tmp_path_factory.getbasetemp() / "any-octets"
    directory.mkdir(exist_ok=True)
    (directory / FILE).write_bytes(octets if isinstance(octets, bytes) else octets.encode())
    assert refusal(directory) in ("", "checklist_unreadable")


@given(st.dictionaries(st.sampled_from(["done", "until", "text", "values", "proofs", "not_needed"]), st.none() | st.text()))
def test_any_members_are_a_note_or_refused(tmp_path_factory: pytest.TempPathFactory, members: dict[str, Any]) -> None:
    directory = tmp_path_factory.getbasetemp() / "any-members"
    directory.mkdir(exist_ok=True)
    assert refusal(written(directory, of_us({"ocn": members}))) in ("", "checklist_unreadable")


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(1 << 30)
    with refused("checklist_unreadable"):
        read_notes(tmp_path)


def test_file_that_nobody_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with refused("checklist_unreadable"):
        read_notes(tmp_path)


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused("checklist_unreadable"):
        edit(tmp_path / "file" / "state", "ocn", FULL)


def test_what_is_not_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(tmp_path, "ocn", FULL)
    before = (tmp_path / FILE).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused("checklist_unreadable"):
        edit(tmp_path, "frn", Note(done="2026-11-01"))
    assert (tmp_path / FILE).read_bytes() == before


def test_two_editors_lose_nothing(tmp_path: Path) -> None:
    def note_ten(name: str) -> None:
        for number in range(10):
            edit(tmp_path, f"{name}{number}", Note(done="2026-11-01"))

    threads = [Thread(target=note_ten, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_notes(tmp_path).of("US")) == 30


# --- Proofs ---------------------------------------------------------------------------------------------------------


def test_proof_is_noted_with_path_digest_and_date_and_once(tmp_path: Path) -> None:
    paper = tmp_path / "receipt.pdf"
    paper.write_bytes(b"paid")
    note = with_proof(with_proof(Note(), paper, date(2026, 11, 1)), paper, TODAY)
    digest = "268ad70eb5bc4737a2ae28162cbca30118cc94520e49ef1ac5f72c85d3f2caa9"
    assert note.proofs == (Proof(str(paper), digest, "2026-11-29"),)
    assert [look.verdict for look in proofs_seen(note)] == [Verdict.FITS]


def test_proof_that_changed_or_went_contradicts(tmp_path: Path) -> None:
    paper = tmp_path / "receipt.pdf"
    paper.write_bytes(b"paid")
    note = with_proof(Note(), paper, TODAY)
    paper.write_bytes(b"unpaid")
    (look,) = proofs_seen(note)
    assert look[:2] == (Verdict.CONTRADICTED, f"{paper} has changed since 2026-11-29")
    assert f"--file {paper}" in look.mend
    paper.unlink()
    (look,) = proofs_seen(note)
    assert look.verdict is Verdict.CONTRADICTED


def test_proof_that_this_user_may_not_read_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = tmp_path / "receipt.pdf"
    paper.touch()
    note = with_proof(Note(), paper, TODAY)

    def denied(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    (look,) = proofs_seen(note)
    assert look[:2] == (Verdict.UNKNOWN, f"{paper}: Permission denied")


def test_pipe_is_no_proof(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with refused("checklist_proof_unreadable"):
        with_proof(Note(), tmp_path / "pipe", TODAY)
