"""The process that fetches for an edge, as a test sees it from outside."""

from __future__ import annotations

import re

import psutil

from tests.integration.conftest import Site
from tests.integration.traffic import until

PROGRAM = "kamailio_app.runtime.fetch_process"


def fetch_process(site: Site) -> psutil.Process:
    """The one that is running."""
    until(lambda: _children(site), "a fetch process")
    (found,) = _children(site)
    return found


def keeper(site: Site) -> psutil.Process:
    """The process of Kamailio's that keeps it."""
    found = fetch_process(site).parent()
    assert found is not None
    assert found.pid in site.edge.pids()
    return found


def restarted(site: Site, former: int) -> int:
    """Wait for another one in place of the former: its id."""

    def another() -> bool:
        return any(each.pid != former for each in _children(site))

    until(another, "another fetch process")
    return fetch_process(site).pid


def zombies(site: Site) -> list[int]:
    return [each.pid for parent in _processes(site) for each in parent.children() if each.status() == psutil.STATUS_ZOMBIE]


def transactions(site: Site) -> int:
    return _number(r"current: (\d+)", site.edge.rpc("tm.stats"))


def shared_memory_used(site: Site) -> int:
    """Octets."""
    return _number(r"\bused: (\d+)", site.edge.rpc("core.shmmem"))


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])


def _processes(site: Site) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in site.edge.pids()]


def _children(site: Site) -> list[psutil.Process]:
    found = []
    for parent in _processes(site):
        for child in parent.children():
            try:
                if PROGRAM in child.cmdline():
                    found.append(child)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
    return found
