"""What all processes agree on: one slot in memory that is shared over fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kamailio_app
from kamailio_app.runtime.accepted import Accepted, AcceptedMemory

from ..builders import refused

FIRST = Accepted("a = 1", "", {})
SECOND = Accepted("b = '\u00e9'", "PEM", {"sp": ("key", "chain\u00ff")})


def test_what_was_written_is_read() -> None:
    memory = AcceptedMemory()
    for value in (SECOND, FIRST, SECOND):
        memory.write(value)
        assert memory.read() == value


def test_epoch_is_0_at_first_and_may_be_any_number_of_kamailio() -> None:
    memory = AcceptedMemory()
    assert memory.epoch == 0
    for epoch in (1, -1, (1 << 31) - 1, -(1 << 31), 0):
        memory.epoch = epoch
        assert memory.epoch == epoch


def test_epoch_and_text_do_not_touch_each_other() -> None:
    memory = AcceptedMemory()
    memory.epoch = 7
    memory.write(SECOND)
    assert memory.epoch == 7
    memory.epoch = -1
    assert memory.read() == SECOND


def test_what_is_too_much_is_refused_and_the_former_text_stays() -> None:
    memory = AcceptedMemory()
    memory.write(SECOND)
    with refused("option_invalid"):
        memory.write(Accepted("x" * (4 << 20), "", {}))
    assert memory.read() == SECOND


def test_former_keys_are_not_kept_behind_a_shorter_text() -> None:
    memory = AcceptedMemory()
    memory.write(Accepted("", "", {"sp": ("the former key", "chain" * 1000)}))
    memory.write(FIRST)
    raw = memory._memory[:]
    assert b"former key" not in raw
    assert b"chain" not in raw
    assert memory.read() == FIRST


FORK = """
import os
from kamailio_app.runtime.accepted import Accepted, AcceptedMemory
first, second = Accepted("a", "", {}), Accepted("b", "PEM", {"sp": ("key", "chain")})
memory = AcceptedMemory()
memory.write(first)
child = os.fork()
if child == 0:
    seen = memory.read() == first
    memory.write(second)
    memory.epoch = 5
    os._exit(0 if seen else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (memory.read(), memory.epoch) == (second, 5)
"""


def test_child_and_parent_see_each_others_writing() -> None:
    # In a process of its own: this one may have threads, which no fork takes along
    root = Path(kamailio_app.__file__).parent.parent
    subprocess.run([sys.executable, "-W", "error", "-c", FORK], check=True, cwd=root, timeout=30)


def test_private_keys_are_not_shown() -> None:
    assert "key" not in repr(SECOND)
