"""The walk's own judgement of what a command says; the walk itself: tests/integration/test_walk.py."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kamailio_app.cli import lab
from kamailio_app.lab import walk
from kamailio_app.lab.world import FAULTS

HEAD = "time  orig  dest  attest  result    token             trunk  customer  origid\n"
UNSIGNED = f"{HEAD}2026-11-29T21:29:45.512Z  12155550121  12155550131          unsigned  certificate_none\n"
SIGNED = f"{HEAD}2026-11-29T21:29:47.512Z  12155550121  12155550131  A  signed    584e36ad-b37f-4c5d-a50a-f852f4289b2c\n"


class _Command(walk._Walker):
    """What the command says, one time after the other; the last stays."""

    def __init__(self, *outputs: str) -> None:
        world: Any = SimpleNamespace(settings_file=Path("/nowhere/stirshaken.toml"))
        super().__init__(world, lambda _line: None)
        self.outputs = list(outputs)

    def _run(self, _words: Any) -> tuple[str, int]:
        return (self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]), 0


def test_record_is_waited_for_until_it_has_the_signed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_AGAIN", 0.0)
    walker = _Command(UNSIGNED, UNSIGNED, SIGNED)
    assert walker.command("Whose call?", "trace", expect=walk._SIGNED, patience=10.0) == SIGNED
    assert walker.walk.good


def test_unsigned_call_is_none_that_was_signed() -> None:
    walker = _Command(UNSIGNED)
    with pytest.raises(walk._WrongTurnError):
        walker.command("Whose call?", "trace", expect=walk._SIGNED)
    assert not walker.walk.good


def test_walk_says_how_to_go_on_by_hand() -> None:
    text = "\n".join(walk.by_hand(Path("/opt/x/.venv/bin")))
    assert "/opt/x/.venv/bin/shakenctl lab up ~/shaken-lab" in text
    assert "STIRSHAKEN_SETTINGS=~/shaken-lab/stirshaken.toml" in text
    assert "lab tell" in text


def test_faults_that_are_named_as_examples_are_some() -> None:
    text = "\n".join([*walk.by_hand(Path("/x")), Path(lab.__file__).read_text()])
    named = re.findall(r"misbehave (sti-\w+):(\S+)", text)
    assert len(named) > 1
    assert [fault for server, fault in named if fault not in FAULTS[server]] == []
