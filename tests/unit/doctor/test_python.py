"""The interpreter that Kamailio embeds finds what it is to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.doctor import python
from kamailio_app.doctor.finding import NotLookedAt, State

from .clinic import Clinic


def test_packages_are_those_that_are_pinned(clinic: Clinic) -> None:
    found = {each.check: each for each in clinic.findings("python")}
    assert {each.state for each in found.values()} == {State.GOOD}, found
    assert "packages as pinned" in found["packages"].seen


def test_virtualenv_of_another_version_is_said(clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "venv/lib/python3.7/site-packages").mkdir(parents=True)
    monkeypatch.setenv(python.VENV_VARIABLE, str(tmp_path / "venv"))
    words = clinic.words("python", "packages")
    assert words.startswith("bad: ")
    assert "has python3.7" in words
    assert "make -C" in words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"error": "ModuleNotFoundError: No module named 'lmdb'"},
            "bad: Python 3.11: ModuleNotFoundError: No module named 'lmdb'",
        ),
        ({"wanted": {"lmdb": "3.0.0"}, "found": {"lmdb": "1.0"}}, "warning: Python 3.11: lmdb 1.0, not 3.0.0"),
        ({"wanted": {"lmdb": "3.0.0"}, "found": {"lmdb": ""}}, "warning: Python 3.11: lmdb missing, not 3.0.0"),
        ({}, "warning: Python 3.11 imports the package"),
    ],
)
def test_what_the_interpreter_says_is_judged(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], words: str
) -> None:
    (tmp_path / "venv/lib/python3.11/site-packages").mkdir(parents=True)
    monkeypatch.setenv(python.VENV_VARIABLE, str(tmp_path / "venv"))
    said = {"version": "3.11", "wanted": {}, "found": {}, "error": "", **answer}
    monkeypatch.setattr(python, "_ask", lambda _program: said)
    assert clinic.words("python", "packages").startswith(words)


def test_interpreter_that_fails_is_no_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotLookedAt):
        python._ask(str(tmp_path / "none"))
    with pytest.raises(NotLookedAt):
        python._ask("/bin/false")
    monkeypatch.setattr(python, "_run", lambda *_: "[]")
    with pytest.raises(NotLookedAt, match="not understood"):
        python._ask("/bin/true")
