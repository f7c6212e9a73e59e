"""What processes use: CPU time and waiting for a CPU from the scheduler, memory and descriptors from /proc."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Reading:
    """CPU seconds so far, by process, and of the whole machine, at a moment of the monotonic clock."""

    time: float
    processes: dict[int, float]
    busy: float
    idle: float

    def used(self, earlier: Reading, pids: Iterable[int]) -> float:
        """CPU seconds of these processes since `earlier`; what ended meanwhile counts as it was last seen."""
        return sum(self.processes[pid] - earlier.processes.get(pid, 0.0) for pid in pids if pid in self.processes)


def read(pids: Iterable[int]) -> Reading:
    """A process that has ended is left out."""
    machine = psutil.cpu_times()
    idle = machine.idle + machine.iowait
    # Kernel's guests are in user time already
    busy = sum(machine) - idle - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
    seconds = {pid: cpu_seconds(pid) for pid in pids}
    return Reading(time.monotonic(), {pid: used for pid, used in seconds.items() if used is not None}, busy, idle)


def cpu_seconds(pid: int) -> float | None:
    """CPU time of a process, all its threads, to the nanosecond; None if it is gone."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError):
        return None


def dropped(table: str, ports: Iterable[int]) -> int:
    """Datagrams that these local UDP ports lost so far because nobody took them in time; `table` is /proc/net/udp."""
    wanted = set(ports)
    rows = [line.split() for line in table.splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) in wanted)


def udp_table() -> str:
    return Path("/proc/net/udp").read_text()


@dataclass(frozen=True)
class Memory:
    """Of some processes together. KiB; PSS counts a page that n processes share as 1/n; anonymous memory is heap and stacks,
    what was there before the fork included, and nothing of Kamailio's shared memory."""

    rss: int
    pss: int
    anonymous: int
    descriptors: int
    threads: int


def memory(pids: Iterable[int]) -> Memory:
    """Errors: psutil.NoSuchProcess if one has ended."""
    rss = pss = anonymous = descriptors = threads = 0
    for pid in pids:
        process = psutil.Process(pid)
        used = process.memory_full_info()
        rss, pss = rss + used.rss // 1024, pss + used.pss // 1024
        anonymous += _anonymous(pid)
        descriptors += process.num_fds()
        threads += process.num_threads()
    return Memory(rss, pss, anonymous, descriptors, threads)


def _anonymous(pid: int) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def members(text: str) -> dict[str, float]:
    """The `name: number` lines of an answer of Kamailio's RPC."""
    return {name: float(value) for name, value in re.findall(r"(\w+): (\d+)\s*$", text, re.MULTILINE)}
