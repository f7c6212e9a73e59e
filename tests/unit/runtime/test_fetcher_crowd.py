"""The fetcher in a crowd: hundreds of hosts that stall, a thousand failures, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import FOREVER, Repository
from kamailio_app.runtime.fetcher import Download, Fetcher

from .fetching import (
    HOST,
    Rules,
    cafile,
    hierarchy,
    module_site,
    names,
    rules,
    silent,
    site,
    token,
    until,
    using,
)
from .site import Site, flooding, hang_up, mute, reset, saying

__all__ = ["cafile", "hierarchy", "module_site", "names", "rules", "silent", "site"]  # fixtures

STALLED = 300
ATTEMPTS = 3  # other people's work on this machine may fall into one measurement
ROUNDS = 15


async def _seconds(fetcher: Fetcher, url: str) -> float:
    """Of one healthy fetch: the middle of several."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        assert await fetcher.fetch(url) == Download(b"x", "")
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def _slow_down(fetcher: Fetcher, healthy: str, stalled: Iterable[str], arrived: Any) -> float:
    """How much longer the healthy fetch takes while the others stall."""
    idle = await _seconds(fetcher, healthy)
    crowd = [asyncio.create_task(fetcher.fetch(url)) for url in stalled]
    await until(arrived, 20)
    crowded = await _seconds(fetcher, healthy)
    assert not any(one.done() for one in crowd)
    return crowded / idle


def test_three_hundred_stalled_hosts_do_not_delay_a_healthy_one(
    site: Site, silent: int, names: NameServer, rules: Rules
) -> None:
    # A third each: names that nobody resolves, TCP without TLS, TLS without HTTP
    third = STALLED // 3
    hosts = [f"h{number}.{HOST}" for number in range(2 * third)]
    names.names.update({host: [["127.0.0.1"]] for host in [*hosts, HOST]})
    names.silent.add("silent.test")
    site.answers["mute"] = mute
    site.ok("healthy")
    stalled = [
        *(f"https://h{number}.silent.test/x" for number in range(third)),
        *(f"https://{host}:{silent}/x" for host in hosts[:third]),
        *(site.url("mute", host) for host in hosts[third:]),
    ]

    def arrived() -> bool:
        asked = {name for name, _type in names.asked}
        return site.asked.count("mute") == third and sum(name.endswith("silent.test") for name in asked) == third

    def ratio() -> float:
        site.asked.clear()
        names.asked.clear()
        found = rules(443, silent, site.port, timeout=60.0, dns_servers=(names.address,))
        return using(found, lambda fetcher: _slow_down(fetcher, site.url("healthy", HOST), stalled, arrived))

    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and not (ratios and ratios[-1] <= 2):
        ratios.append(ratio())
    assert ratios[-1] <= 2, ratios


def test_host_that_is_known_need_not_wait_until_a_crowd_of_new_ones_has_begun(
    site: Site, names: NameServer, rules: Rules
) -> None:
    hosts = [f"h{number}.{HOST}" for number in range(STALLED)]
    names.names.update({host: [["127.0.0.1"]] for host in [*hosts, HOST]})
    site.answers["mute"] = mute
    site.ok("healthy")
    site.keep_alive = True

    def begun() -> int:
        return len({name for name, _type in names.asked} - {HOST})

    async def crowded(fetcher: Fetcher) -> int:
        healthy = site.url("healthy", HOST)
        for _ in range(2):
            await fetcher.fetch(healthy)
        crowd = [asyncio.create_task(fetcher.fetch(site.url("mute", host))) for host in hosts]
        await asyncio.sleep(0)
        assert await fetcher.fetch(healthy) == Download(b"x", "")
        before = begun()
        await until(lambda: begun() == len(crowd), 20)
        return before

    assert using(rules(site.port, timeout=60.0, dns_servers=(names.address,)), crowded) < STALLED / 3


def test_hosts_that_answered_before_have_places_that_strangers_do_not_get(site: Site, names: NameServer, rules: Rules) -> None:
    hosts = [f"h{number}.{HOST}" for number in range(8)]
    names.names.update({host: [["127.0.0.1"]] for host in [*hosts, HOST]})
    site.answers["held"] = mute  # a name of its own: requests of the crowd before may come late
    site.ok("healthy")

    async def crowded(fetcher: Fetcher) -> None:
        assert await fetcher.fetch(site.url("healthy", HOST)) == Download(b"x", "")
        crowd = [asyncio.create_task(fetcher.fetch(site.url("held", host))) for host in hosts]
        await until(lambda: site.asked.count("held") == 3, 20)
        for _ in range(3):
            assert await fetcher.fetch(site.url("healthy", HOST)) == Download(b"x", "")
        assert (site.asked.count("held"), any(one.done() for one in crowd)) == (3, False)

    using(rules(site.port, timeout=20.0, max_concurrent=4, dns_servers=(names.address,)), crowded)


def test_a_thousand_failures_leave_no_socket_and_no_task(site: Site, names: NameServer, silent: int, rules: Rules) -> None:
    names.names[HOST] = [["127.0.0.1"]]
    answers = {
        "mute": mute,
        "reset": reset,
        "hang-up": hang_up,
        "garbage": saying(b"garbage\r\n\r\n"),
        "endless": flooding(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
        "missing": saying(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"),
    }
    site.answers.update(answers)
    urls = [
        *(site.url(path, HOST) for path in answers),
        f"https://{HOST}:{silent}/x",
        "https://none.test/x",
        f"https://{HOST}:1/x",
    ]

    def sockets() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def fail(fetcher: Fetcher) -> None:
        await asyncio.gather(*(fetcher.fetch(url) for url in urls))  # all that is made once
        await until(lambda: site.open == 0)
        before, failed = sockets(), 0
        for start in range(0, 1000, 50):
            wanted = [f"{urls[number % len(urls)]};{number}" for number in range(start, start + 50)]
            found = await asyncio.gather(*(fetcher.fetch(url) for url in wanted))
            failed += sum(bool(token(one)) for one in found)
        assert failed == 1000
        await until(lambda: sockets() <= before + 5)
        assert len(asyncio.all_tasks()) == 1
        assert not fetcher._flights
        assert not fetcher._strangers._places._hosts

    changes = {"timeout": 0.15, "breaker_failures": 0, "max_concurrent_per_host": 100, "dns_servers": (names.address,)}
    using(rules(443, 1, silent, site.port, **changes), fail)


def test_peer_that_never_says_farewell_holds_no_socket(hierarchy: Hierarchy, rules: Rules, tmp_path: Path) -> None:
    async def give_up(fetcher: Fetcher) -> None:
        found = await asyncio.gather(*(fetcher.fetch(repository.url(str(number))) for number in range(8)))
        assert {token(one) for one in found} == {"x5u_timeout"}
        await until(lambda: not fetcher._strangers._connections._open())

    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.delay = FOREVER
        using(rules(repository.port), give_up)


def test_memory_of_a_fetch_is_bounded(site: Site, rules: Rules, names: NameServer) -> None:
    """No large buffer is put aside for a peer that may never say a word."""
    hosts = [f"h{number}.{HOST}" for number in range(50)]
    names.names.update({host: [["127.0.0.1"]] for host in hosts})
    site.answers["mute"] = mute

    async def grow(fetcher: Fetcher) -> float:
        await fetcher.fetch(site.ok("x"))
        before, _most = tracemalloc.get_traced_memory()
        crowd = [asyncio.create_task(fetcher.fetch(site.url("mute", host))) for host in hosts]
        await until(lambda: site.asked.count("mute") == len(crowd), 20)
        return (tracemalloc.get_traced_memory()[0] - before) / len(hosts)

    tracemalloc.start()
    try:
        # Our end and the server's, without what OpenSSL takes
        octets = using(rules(site.port, timeout=60.0, dns_servers=(names.address,)), grow)
    finally:
        tracemalloc.stop()
    assert octets < 200_000


def test_connections_are_kept_for_a_bounded_number_of_hosts(site: Site, rules: Rules, names: NameServer) -> None:
    hosts = [f"h{number}.{HOST}" for number in range(80)]
    names.names.update({host: [["127.0.0.1"]] for host in hosts})
    site.keep_alive = True
    site.ok("x")

    async def visit(fetcher: Fetcher) -> int:
        for _ in range(3):
            await asyncio.gather(*(fetcher.fetch(site.url("x", host)) for host in hosts))
        await until(lambda: site.open <= 64)
        return site.open

    assert using(rules(site.port, timeout=20.0, dns_servers=(names.address,)), visit) == 64
