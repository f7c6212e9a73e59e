"""What the operator noted of the checklist: one file of JSON in `provider_state_dir`, read and written by hand or by shakenctl.

By country, since one company may be a provider in several. What this version does not know, a step of a later one for example,
stays in the file.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from kamailio_app.errors import failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.checklist import NOTHING, Note, Proof, Seen, Verdict
from kamailio_app.runtime.disk import write_state

FILE: Final = "onboarding.json"
_LOCK: Final = "onboarding.lock"
_FORMAT: Final = "stirshaken-onboarding-1"
_MAX_FILE: Final = 4 << 20
_WORDS: Final = ("done", "not_needed", "until", "text")
_DATES: Final = ("done", "until")


@dataclass(frozen=True)
class Notes:
    """The file as it is, whatever else stands in it."""

    document: Mapping[str, Any]

    def of(self, country: str) -> dict[str, Note]:
        """By step. Errors: `checklist_unreadable`."""
        return {name: _note(f"{country}.{name}", given) for name, given in self._steps(country).items()}

    def with_note(self, country: str, step: str, note: Note) -> Notes:
        """The same, but for this step."""
        steps = self._steps(country)
        former = steps.get(step, {})
        unknown = {name: value for name, value in former.items() if name not in (*_WORDS, "values", "proofs")}
        said: dict[str, Any] = {name: value for name in _WORDS if (value := getattr(note, name))}
        if note.values:
            said["values"] = dict(note.values)
        if note.proofs:
            said["proofs"] = [proof._asdict() for proof in note.proofs]
        rest = {name: value for name, value in steps.items() if name != step}
        steps = rest | ({step: said | unknown} if said or unknown else {})
        countries = {**self.document.get("countries", {}), country: {"steps": steps}}
        return Notes({**self.document, "format": _FORMAT, "countries": countries})

    def _steps(self, country: str) -> dict[str, Any]:
        steps = _mapping(_mapping(self.document.get("countries", {}), "countries").get(country, {}), country).get("steps", {})
        return _mapping(steps, f"{country}.steps")


def read_notes(state_dir: Path) -> Notes:
    """Empty where there are none yet. Errors: `checklist_unreadable`."""
    path = state_dir / FILE
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_FILE + 1)
        document = json.loads(octets.decode("utf-8")) if len(octets) <= _MAX_FILE else None
    except FileNotFoundError:
        return Notes({})
    except (OSError, ValueError, RecursionError) as error:
        raise failure("checklist_unreadable", f"{path}: {one_line(str(error), 200)}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise failure("checklist_unreadable", f"{path}: no {_FORMAT}")
    return Notes(document)


@contextmanager
def editing(state_dir: Path) -> Iterator[list[Notes]]:
    """The notes, alone in a list: what stands there in the end is written, at once or not at all; two editors take turns.

    Errors: `checklist_unreadable`.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (state_dir / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            notes = [read_notes(state_dir)]
            former = notes[0]
            yield notes
            if notes[0] != former:
                write_state(state_dir, FILE, _text_of(notes[0].document))
    except OSError as error:
        raise failure("checklist_unreadable", f"{state_dir / FILE}: {error.strerror}") from error


def with_proof(note: Note, file: Path, today: date) -> Note:
    """The note with this file as it is now, in place of what was noted of that file. Errors: `checklist_proof_unreadable`."""
    path = file.absolute()
    try:
        proof = Proof(str(path), _digest(path), today.isoformat())
    except OSError as error:
        raise failure("checklist_proof_unreadable", f"{file}: {error.strerror}") from error
    return replace(note, proofs=(*(each for each in note.proofs if each.file != proof.file), proof))


def proofs_seen(note: Note) -> Iterator[Seen]:
    """Is each proof still what it was?"""
    for proof in note.proofs:
        try:
            digest = _digest(Path(proof.file))
        except OSError as error:
            # The operator who looks may not be allowed to read it
            gone = isinstance(error, FileNotFoundError)
            mend = f"put it back, or edit {FILE} in provider_state_dir" if gone else ""
            yield Seen(Verdict.CONTRADICTED if gone else Verdict.UNKNOWN, f"{proof.file}: {error.strerror}", mend)
            continue
        if digest == proof.sha256:
            yield Seen(Verdict.FITS, f"{proof.file} is as it was on {proof.noted}")
        else:
            mend = f"put it back, or note it as it is now: --file {proof.file}"
            yield Seen(Verdict.CONTRADICTED, f"{proof.file} has changed since {proof.noted}", mend)


def _digest(path: Path) -> str:
    """Errors: OSError."""
    if not path.is_file():
        # A pipe or a device would be waited for
        raise FileNotFoundError(2, "no such file" if not path.exists() else "no file", str(path))
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _text_of(document: Mapping[str, Any]) -> str:
    """As people read it; a lone surrogate, which no file can hold, stays the escape that it was."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def _note(name: str, given: Any) -> Note:
    members = _mapping(given, name)
    words = {word: _text(members.get(word, ""), f"{name}.{word}") for word in _WORDS}
    for word in _DATES:
        if words[word]:
            _date(words[word], f"{name}.{word}")
    values = _mapping(members.get("values", {}), f"{name}.values")
    proofs = members.get("proofs", [])
    if not isinstance(proofs, list):
        raise failure("checklist_unreadable", f"{one_line(name, 80)}.proofs is no list")
    return replace(
        NOTHING,
        **words,
        values={value_name: _text(value, f"{name}.{value_name}") for value_name, value in values.items()},
        proofs=tuple(_proof(_mapping(proof, f"{name}.proofs"), name) for proof in proofs),
    )


def _proof(members: Mapping[str, Any], name: str) -> Proof:
    return Proof(*(_text(members.get(field, ""), f"{name}.proofs.{field}") for field in Proof._fields))


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise failure("checklist_unreadable", f"{one_line(name, 80)} is no object")
    return value


def _text(value: Any, name: str) -> str:
    # A lone surrogate is JSON, and nothing that can be written again
    if not isinstance(value, str) or not value.isprintable():
        raise failure("checklist_unreadable", f"{one_line(name, 80)} is no text of one line")
    return value


def _date(value: str, name: str) -> None:
    try:
        if date.fromisoformat(value).isoformat() == value:
            return
    except ValueError:
        pass
    raise failure("checklist_unreadable", f"{one_line(name, 80)} is no date like 2026-12-01")
