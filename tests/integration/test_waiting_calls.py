"""Calls that wait for a certificate, many and in unusual moments, on the real Kamailio, both modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.lab.network import Network
from tests.integration.conftest import Site, hasty
from tests.integration.fetching import Fetching, shared_memory_used, transactions
from tests.integration.traffic import BUSY, Batch, BusyPhone, call, calls, until

BUDGET = 2.0
AMPLE = 8.0  # a busy machine takes a while for hundreds of calls: none of them may wait for its timer
REFUSED = "SIP/2.0 436 Bad Identity Info"
MANY = 300
TOO_MANY = 600  # orders: more than the way to the fetch process holds


def settings(network: Network, budget: float = BUDGET) -> str:
    return network.settings(
        verification={"failure_action": "reject", "require_identity": True, "call_time_budget": budget},
        x5u={"fetch_timeout": budget + 1, "max_concurrent_fetches_per_host": 100},
    )


def test_hundreds_of_calls_wait_for_one_certificate_and_it_is_fetched_once(network: Network, tmp_path: Path, cfg: str) -> None:
    with (
        Site(network, tmp_path, hasty(cfg, tmp_path), settings=settings(network, AMPLE)) as site,
        BusyPhone(site.phone) as phone,
    ):
        repository, used = network.repository, []
        for number in range(3):
            name = f"{tmp_path.name}-{number}.pem"
            repository.chains[name] = network.provider.chain_pem
            identity = network.identity(x5u=repository.url(name))
            repository.asked.clear()
            repository.delay = 0.5
            try:
                ended = calls(site, {str(each): identity for each in range(MANY)})
            finally:
                repository.delay = 0.0
            assert {each.code for each in ended.values()} == {BUSY}
            assert repository.asked == [f"/{name}"]
            assert max(each.took for each in ended.values()) < AMPLE  # by the fetch, not by their timers
            until(lambda: transactions(site) == 0, "no transaction left")
            used.append(shared_memory_used(site))
        assert len(phone.seen) == 3 * MANY
        assert "token=" not in site.edge.log()
        # What the first round takes are tables; each call that leaked would hold more than this
        assert used[2] - used[1] < MANY * 500
        print(f"shared memory in use after each {MANY} calls: {used}")


def test_orders_that_find_the_queue_full_cost_only_their_own_calls(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, hasty(cfg, tmp_path), settings=settings(network)) as site, BusyPhone(site.phone):
        good = network.identity()
        assert call(site, good).code == BUSY
        process = Fetching(site).process
        process.suspend()
        try:
            name = tmp_path.name
            batch = Batch(site)
            batch.make({str(n): network.identity(x5u=network.repository.url(f"{name}-{n}.pem")) for n in range(TOO_MANY)})
            ended = batch.end()
            assert call(site, good).code == BUSY
        finally:
            process.resume()
        assert {each.line for each in ended.values()} == {REFUSED}
        at_once = [each for each in ended.values() if each.took < BUDGET / 2]
        full = site.edge.log().count("fetch queue full: token=x5u_timeout")
        assert len(at_once) == full
        assert 10 < full < TOO_MANY
        assert max(each.took for each in ended.values()) < BUDGET + 3
        tokens = [words["token"] for words in site.edge.calls().values() if "token" in words]
        assert tokens == ["x5u_timeout"] * TOO_MANY
        network.repository.chains[f"{name}.pem"] = network.provider.chain_pem
        assert call(site, network.identity(x5u=network.repository.url(f"{name}.pem"))).code == BUSY
        until(lambda: transactions(site) == 0, "no transaction left")
        print(f"{full} of {TOO_MANY} did not fit")


def test_calls_that_wait_are_cancelled_repeated_or_see_a_reload(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, hasty(cfg, tmp_path), settings=settings(network)) as site, BusyPhone(site.phone) as phone:
        name = f"{tmp_path.name}.pem"
        network.repository.chains[name] = network.provider.chain_pem
        header = f"Identity: {network.identity(x5u=network.repository.url(name))}\r\n"
        network.repository.delay = 0.7
        try:
            cancelled, again, reloaded = (
                site.carrier.invite(site.target, extra=header, branch=f"{cfg}-{what}") for what in "abc"
            )
            for _ in range(3):
                assert site.carrier.receive().code == 100
            site.carrier.invite(site.target, method="CANCEL", call_id=cancelled, branch=f"{cfg}-a")
            site.carrier.invite(site.target, extra=header, call_id=again, branch=f"{cfg}-b")
            site.edge.reload()
            ends = [site.carrier.final() for _ in range(4)]
        finally:
            network.repository.delay = 0.0
        codes = sorted((each.header("call-id"), each.code) for each in ends)
        assert codes == sorted([(cancelled, 200), (cancelled, 487), (again, BUSY), (reloaded, BUSY)])
        with pytest.raises(TimeoutError):
            site.carrier.final(0.3)
        assert {*phone.seen} == {again, reloaded}
        for request in phone.seen.values():
            assert "verstat=TN-Validation-Passed" in request.header("from")
        until(lambda: transactions(site) == 0, "no transaction left")


def test_emergency_call_neither_waits_nor_is_refused(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, settings=settings(network)) as site, BusyPhone(site.phone) as phone:
        name = f"{tmp_path.name}.pem"
        network.repository.chains[name] = network.provider.chain_pem
        x5u = network.repository.url(name)
        network.repository.delay = 0.3
        try:
            ended = call(site, network.identity(x5u=x5u, called="911"), called="911")
        finally:
            network.repository.delay = 0.0
        assert ended.code == BUSY
        assert ended.took < BUDGET / 2
        (request,) = phone.seen.values()
        assert "verstat=No-TN-Validation" in request.header("from")
        (words,) = site.edge.calls().values()
        assert words["token"] == "credential_not_at_hand"
        # It was ordered all the same, for the next call
        until(lambda: f"/{name}" in network.repository.asked, "a fetch")
        until(lambda: call(site, network.identity(x5u=x5u)).took < BUDGET / 2, "the certificate for the next call")
        assert call(site, network.identity(x5u=x5u, called="911"), called="911").code == BUSY
        assert "verstat=TN-Validation-Passed" in [*phone.seen.values()][-1].header("from")
        # What is wrong with it is said, and it goes on
        until(lambda: call(site, "garbage").line == "SIP/2.0 438 Invalid Identity Header", "an ordinary call's refusal")
        assert call(site, "garbage", called="911").code == BUSY
        assert call(site, network.identity(x5u=x5u), uri="urn:service:sos", called="911").code == BUSY
