"""The number inventory exchanged under live calls on the real Kamailio, both modes: no call is attested by anything but the
former or the new list, and a second later by the new one.
"""

from __future__ import annotations

import time
from pathlib import Path

from kamailio_app.lab.network import CALLER, Network
from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.numbers import INVENTORY
from tests.integration.conftest import hasty
from tests.integration.line import SigningSite, passport

BOUND = 1.3  # seconds: what is promised, and what a busy machine takes beside it
MANY = 20_000
OWN, OTHERS, NOBODYS = "A", "B", "C"
PAUSE = 0.01  # seconds between calls: transactions that have ended stay for 5 s, and memory is not what is tested


def policy(network: Network) -> str:
    return f"""
        [customer.acme]
        [trunk.t]
        customer = "acme"
        source = "{network.host(31)}"
        [[rule]]
        name = "own"
        caller_in = "own"
        attest = "{OWN}"
        [[rule]]
        name = "other"
        caller_in = "other"
        attest = "{OTHERS}"
        [[rule]]
        name = "none"
        attest = "{NOBODYS}"
    """


def put(place: Path, owner: str) -> None:
    """The caller's number is his, among many of others."""
    entries = Entries()
    entries.add(owner, CALLER.removeprefix("+"))
    for number in range(MANY):
        entries.add("someone", str(17_000_000_000 + 3 * number))
    number_file.write(place, entries, kind=INVENTORY, source="test", now=time.time())


def test_calls_are_attested_by_the_former_list_or_the_new_one(network: Network, tmp_path: Path, cfg: str) -> None:
    settings = network.settings(signing={"policy_file": "policy.toml", "inventory_file": "numbers.mdb"})
    # Thousands of calls a second: what tm keeps of those that have ended would fill its memory
    site = SigningSite(network, tmp_path, hasty(cfg, tmp_path), policy(network), settings=settings, workers=2)
    place = site.edge.directory / "numbers.mdb"
    put(place, "acme")

    def attested() -> str:
        site.phone.invite(site.target)
        request = site.carrier.receive_request("INVITE")
        site.carrier.answer(request)
        assert site.phone.final().code == 486
        return str(passport(request.header("identity")).claims["attest"])

    with site:
        assert attested() == OWN
        for owner, new in (("beta", OTHERS), ("acme", OWN), ("beta", OTHERS)):
            put(place, owner)
            began, calls = time.monotonic(), 0
            while (age := time.monotonic() - began) < BOUND + 0.2:
                found, calls = attested(), calls + 1
                assert found == new or (age < BOUND and found in (OWN, OTHERS)), f"{found} after {age:.2f} s"
                time.sleep(PAUSE)
            assert calls > 10
            assert found == new
        assert site.edge.log().count("inventory_unreadable") == 0
