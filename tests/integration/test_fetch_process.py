"""The fetch process ends, hangs and comes back, on the real Kamailio, both modes: calls go on, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil

from kamailio_app.lab.edge import EXEC, ROOT
from kamailio_app.lab.network import Network
from tests.integration.conftest import Site
from tests.integration.fetching import Fetching
from tests.integration.traffic import BUSY, Batch, BusyPhone, Stream, assert_unharmed, call, calls, until

BUDGET = 1.0
REFUSED = "SIP/2.0 436 Bad Identity Info"


def settings(network: Network) -> str:
    return network.settings(
        verification={"failure_action": "reject", "call_time_budget": BUDGET}, x5u={"max_concurrent_fetches_per_host": 100}
    )


def named(network: Network, name: str) -> str:
    """An Identity header whose certificate nobody has fetched yet."""
    network.repository.chains[name] = network.provider.chain_pem
    return network.identity(x5u=network.repository.url(name))


def silent(network: Network, name: str) -> str:
    return network.identity(x5u=f"https://localhost:{network.silent_port}/{name}")


def test_fetch_process_that_is_killed_costs_the_calls_that_wait_and_comes_back(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    with Site(network, tmp_path, cfg, settings=settings(network)) as site, BusyPhone(site.phone):
        cached = network.identity()
        assert call(site, cached).code == BUSY
        fetching = Fetching(site)
        descriptors, process = fetching.keeper.num_fds(), fetching.process.pid
        waiting = Batch(site)
        waiting.make({"": silent(network, "killed.pem")})
        fetching.process.kill()
        ended = waiting.end()[""]
        assert ended.line == REFUSED
        assert BUDGET * 0.9 < ended.took < BUDGET + 1
        another = fetching.again().pid
        assert f"fetch process {process} ended with status -9; it is started again in 0 s" in site.edge.log()
        until(lambda: f"fetch process {another} started" in site.edge.log(), "a line in the log")
        assert call(site, named(network, f"killed-{tmp_path.name}.pem")).code == BUSY
        assert "token=x5u_timeout" in site.edge.log()

        # Again and again: each time later, and what is at hand stays at hand
        with Stream(site, cached) as stream:
            until(lambda: len(stream.ended) > 20, "cached calls before")
            before = list(stream.ended)
            fetching.process.kill()
            fetching.again()
            fetching.process.kill()
            until(lambda: "started again in 3.5 s" in site.edge.log(), "a line in the log")
            assert fetching.zombies() == []
            while_there_is_none = len(stream.ended)
            assert call(site, named(network, f"none-{tmp_path.name}.pem")).line == REFUSED
            assert_unharmed(stream.ended[while_there_is_none:], before)
            fetching.again()
            assert_unharmed(stream.ended[len(before) :], before)
        assert site.edge.alive
        assert fetching.zombies() == []
        assert fetching.keeper.num_fds() == descriptors
        print(f"{len(stream.ended)} cached calls, longest {max(each.took for each in stream.ended) * 1000:.0f} ms")


def test_fetch_process_that_hangs_costs_the_calls_that_wait(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, settings=settings(network)) as site, BusyPhone(site.phone):
        cached = network.identity()
        assert call(site, cached).code == BUSY
        process = Fetching(site).process
        process.suspend()
        try:
            ended = calls(site, {str(number): named(network, f"hangs-{number}.pem") for number in range(10)})
            assert {each.line for each in ended.values()} == {REFUSED}
            assert max(each.took for each in ended.values()) < BUDGET + 1
            assert call(site, cached).code == BUSY
        finally:
            process.resume()
        assert call(site, named(network, f"goes-on-{tmp_path.name}.pem")).code == BUSY
        # Late, and not in vain: the next call of those has it
        until(lambda: call(site, named(network, "hangs-0.pem")).took < BUDGET / 2, "the late certificate")
        assert Fetching(site).process.pid == process.pid
        log = site.edge.log()
        assert len(re.findall(r"token=x5u_timeout", log)) >= 10
        assert "ended with status" not in log


def test_nothing_is_left_running_when_kamailio_ends(network: Network, tmp_path: Path, cfg: str) -> None:
    for ending in ("stopped", "killed"):
        with Site(network, tmp_path, cfg, settings=settings(network)) as site, BusyPhone(site.phone):
            assert call(site, named(network, f"{ending}-{tmp_path.name}.pem")).code == BUSY
            waiting = Batch(site)
            waiting.make({"": silent(network, "last.pem")})
            process = Fetching(site).process
            if ending == "stopped":
                site.edge.stop()
            else:
                # Kamailio's own, so that nobody is left to end the fetch process
                for pid in site.edge.pids():
                    os.kill(pid, signal.SIGKILL)
            until(lambda: _gone(process), f"the end of the fetch process of a Kamailio that was {ending}")  # noqa: B023


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # of the container's first process, which may reap nobody
    except psutil.NoSuchProcess:
        return True


def test_worker_that_blocks_waits_no_longer_than_the_budget(network: Network, tmp_path: Path) -> None:
    routing = (ROOT / "cfg" / EXEC).read_text()
    define, include = "#!define STIRSHAKEN_PARK\n", 'include_file "stirshaken.cfg"'
    assert routing.count(define) == routing.count(include) == 1
    blocking = tmp_path / "blocking.cfg"
    blocking.write_text(
        routing.replace(define, "").replace(include, f'include_file "{ROOT / "cfg" / "stirshaken.cfg"}"')
        + "route[STIR_TAG] {\n\treturn;\n}\n"
    )
    with Site(network, tmp_path, str(blocking), workers=1, settings=settings(network)) as site, BusyPhone(site.phone):
        assert call(site, named(network, "blocks.pem")).code == BUSY
        ended = call(site, silent(network, "blocks.pem"))
        assert ended.line == REFUSED
        assert BUDGET * 0.9 < ended.took < BUDGET + 1
        process = Fetching(site).process
        process.suspend()
        try:
            ended = call(site, named(network, "blocks-longer.pem"))
            assert ended.line == REFUSED
            assert ended.took < BUDGET + 1
        finally:
            process.resume()
        began = time.monotonic()
        until(lambda: call(site, named(network, "blocks-longer.pem")).code == BUSY, "the late certificate")
        print(f"blocked for {ended.took:.2f} s; late certificate {time.monotonic() - began:.2f} s after")
