"""What the STI-PA says, in memory that processes share: one writes, nobody reads half of it."""

from __future__ import annotations

import os
from pathlib import Path

from kamailio_app.runtime.trust import Trust, TrustMemory

from ..builders import refused


def test_nothing_is_there_until_it_is_written() -> None:
    assert TrustMemory().read() == (0, Trust())


def test_each_writing_is_another_generation() -> None:
    memory = TrustMemory()
    for number in range(1, 6):
        memory.write(Trust(f"list {number}", "crl\n" * number))
        assert memory.generation == number
        assert memory.read() == (number, Trust(f"list {number}", "crl\n" * number))


def test_other_process_reads_what_was_written() -> None:
    memory = TrustMemory()
    pid = os.fork()
    if pid == 0:
        memory.write(Trust("from the child", ""))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert memory.read() == (1, Trust("from the child", ""))


def test_text_in_use_is_not_written_to() -> None:
    memory = TrustMemory()
    memory.write(Trust("first", ""))
    before = bytes(memory._memory[4096 + (32 << 20) :][:64])
    memory.write(Trust("second", ""))
    assert bytes(memory._memory[4096 + (32 << 20) :][:64]) == before


def test_too_much_is_refused_and_changes_nothing() -> None:
    memory = TrustMemory()
    memory.write(Trust("first", ""))
    with refused("crl_malformed"):
        memory.write(Trust("", "x" * (33 << 20)))
    assert memory.read() == (1, Trust("first", ""))


def test_disk_has_the_last_good_ones(tmp_path: Path) -> None:
    assert Trust.from_disk(tmp_path) == Trust()
    Trust("list", "crl").to_disk(tmp_path)
    assert Trust.from_disk(tmp_path) == Trust("list", "crl")
    assert Trust.from_disk(None) == Trust()
