"""The clock is stepped while calls are verified (real Kamailio under libfaketime, both modes): verdicts go by the new time at
once, and nothing that is remembered is lost or kept for ever.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider
from tests.integration.conftest import Site
from tests.integration.fetching import transactions
from tests.integration.traffic import BUSY, Batch, BusyPhone, Call, call, until

HOUR, DAY = 3600, 86400
BUDGET = 3.0


def library() -> str:
    """Where Debian has it."""
    listed = subprocess.run(["dpkg", "-L", "libfaketime"], capture_output=True, text=True, check=True).stdout
    return next(line for line in listed.splitlines() if line.endswith("libfaketime.so.1"))


class Clock:
    """The wall clock of an edge and of what runs beside it; the monotonic one goes on as it is."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.offset = 0
        self.step(0)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, offset: int) -> None:
        """Set it `offset` seconds off the real time."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{offset:+d}\n")
        beside.replace(self._file)  # nobody reads half of it
        self.offset = offset


class Stepped:
    """An edge that rejects what is wrong, under a clock that can be stepped."""

    def __init__(self, network: Network, site: Site, clock: Clock) -> None:
        self.network, self.site, self.clock = network, site, clock

    def identity(self, x5u: str = "") -> str:
        """Signed now, by the edge's clock."""
        return self.network.identity(age=-self.clock.offset, x5u=x5u)

    def call(self, identity: str) -> Call:
        return call(self.site, identity)


@pytest.fixture
def stepped(network: Network, tmp_path: Path, cfg: str) -> Iterator[Stepped]:
    clock = Clock(tmp_path)
    settings = network.settings(verification={"failure_action": "reject", "call_time_budget": BUDGET})
    with (
        Site(network, tmp_path, cfg, settings=settings, environment=clock.environment) as site,
        BusyPhone(site.phone),
    ):
        yield Stepped(network, site, clock)


def test_what_is_fresh_goes_by_the_clock_as_it_is_now(stepped: Stepped) -> None:
    before = stepped.identity()
    assert stepped.call(before).code == BUSY
    asked = len(stepped.network.repository.asked)
    for offset in (2 * HOUR, 0, -HOUR // 2, 0):
        stepped.clock.step(offset)
        now = stepped.identity()
        assert stepped.call(now).code == BUSY, offset
        if offset:
            # To this edge, whoever signs by the real time is far off, to either side
            assert stepped.call(before).line == "SIP/2.0 403 Stale Date"
    tokens = [words["token"] for words in stepped.site.edge.calls().values() if "token" in words]
    assert sorted(tokens) == ["iat_in_future", "iat_stale"]
    # An entry that seems to live longer than it may is not believed: at most one fetch for each step
    assert len(stepped.network.repository.asked) - asked <= 4


def test_certificate_that_ends_meanwhile_verifies_nothing_any_more(stepped: Stepped) -> None:
    network = stepped.network
    name = f"{stepped.site.edge.directory.parent.name}-short"
    issued = network.publish(name, ServiceProvider(not_after=network.now + DAY))
    x5u = network.repository.url(f"{name}.pem")

    def identity() -> str:
        return network.identity(issued=issued, x5u=x5u, age=-stepped.clock.offset)

    assert stepped.call(identity()).code == BUSY
    stepped.clock.step(2 * DAY)
    assert stepped.call(identity()).line == "SIP/2.0 437 Unsupported Credential"
    stepped.clock.step(0)
    # What was refused under the wrong time is forgotten, and not only after a day of the right one
    until(lambda: stepped.call(identity()).code == BUSY, "the certificate in use again", seconds=30)


def test_call_that_waits_while_the_clock_is_stepped_ends_in_time(stepped: Stepped) -> None:
    network, name = stepped.network, f"{stepped.site.edge.directory.parent.name}-waiting"
    for number, offset in enumerate((DAY, -DAY)):
        network.repository.chains[f"{name}-{number}.pem"] = network.provider.chain_pem
        identity = stepped.identity(network.repository.url(f"{name}-{number}.pem"))
        network.repository.delay = 1.0
        batch = Batch(stepped.site)
        began = time.monotonic()
        try:
            batch.make({str(number): identity})
            until(lambda path=f"/{name}-{number}.pem": path in network.repository.asked, "the fetch")  # type: ignore[misc]
            stepped.clock.step(offset)
            (ended,) = batch.end().values()
        finally:
            network.repository.delay = 0.0
            stepped.clock.step(0)
        # By the new time it was signed a day away; whatever is said of it, it is said at once and is no mistake of ours
        assert ended.line == "SIP/2.0 403 Stale Date"
        assert time.monotonic() - began < BUDGET + 2
        assert stepped.call(stepped.identity()).code == BUSY
    until(lambda: transactions(stepped.site) == 0, "no transaction left", seconds=15)
    assert "internal_error" not in stepped.site.edge.log()
