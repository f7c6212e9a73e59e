"""The process that fetches for an edge, as a test sees it from outside."""

from __future__ import annotations

import re

import psutil

from tests.integration.conftest import Site
from tests.integration.traffic import until

PROGRAM = "kamailio_app.runtime.fetch_process"


class Fetching:
    """`keeper`: the process of Kamailio's that keeps the fetch process; `process`: the one that was there last."""

    def __init__(self, site: Site) -> None:
        self._site = site
        until(self._find, "a fetch process")

    def _find(self) -> bool:
        for parent in self._kamailio():
            for process in _programs(parent):
                self.keeper, self.process = parent, process
                return True
        return False

    def again(self) -> psutil.Process:
        """Wait for another one in its place."""
        former = self.process.pid

        def another() -> bool:
            found = [each for each in _programs(self.keeper) if each.pid != former]
            self.process = found[0] if found else self.process
            return bool(found)

        until(another, "another fetch process")
        return self.process

    def zombies(self) -> list[int]:
        """Of any of Kamailio's processes."""
        return [each.pid for parent in self._kamailio() for each in parent.children() if each.status() == psutil.STATUS_ZOMBIE]

    def _kamailio(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in self._site.edge.pids()]


def transactions(site: Site) -> int:
    """That Kamailio holds in memory now."""
    return _number(r"current: (\d+)", site.edge.rpc("tm.stats"))


def shared_memory_used(site: Site) -> int:
    """Octets."""
    return _number(r"\bused: (\d+)", site.edge.rpc("core.shmmem"))


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])


def _programs(parent: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in parent.children():
        try:
            if PROGRAM in child.cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
