"""Names and addresses: which may be contacted, against a name server on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from kamailio_app.lab.dns import NameServer
from kamailio_app.runtime.resolver import AddressRules, Names, RefusedAddressError, Resolver, is_public, name_server

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.254",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "64:ff9b::808:808",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:db8::1",
    "2001:10::1",
    "2001:1ff:ffff::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_a_stranger_must_not_make_us_visit(address: str) -> None:
    assert not is_public(address)
    assert not AddressRules().allow(address)
    assert AddressRules(private=True).allow(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),  # denied within what is permitted
        ("10.2.3.4", False),
        ("192.168.0.1", False),
        ("8.8.8.8", True),
        ("9.9.9.9", False),
        ("::ffff:10.1.2.3", False),  # what is permitted is IPv4
        ("64:ff9b::9.9.9.9", False),
        ("64:ff9b::8.8.8.8", True),
        ("fd00::1", True),
        ("fd00:1::1", False),
        ("2606:4700::1", False),
    ],
)
def test_permitted_and_denied_networks(address: str, allowed: bool) -> None:
    rules = AddressRules(permit=["10.0.0.0/8", "fd00::/32"], deny=["10.2.0.0/16", "9.9.9.9", "2606:4700::/32"])
    assert rules.allow(address) is allowed


@pytest.mark.parametrize(
    "address", ["10.2.0.1", "::ffff:10.2.0.1", "2002:a02:1::", "64:ff9b::10.2.0.1", "2001:0:a02:1::", "2001::f5fd:fffe"]
)
def test_denied_is_denied_in_every_disguise_and_always(address: str) -> None:
    rules = AddressRules(private=True, permit=["::/0", "0.0.0.0/0"], deny=["10.2.0.1/32"])
    assert not rules.allow(address)


def test_no_network_is_an_error() -> None:
    for words in ({"permit": ["10.0.0.0/33"]}, {"deny": ["example.test"]}):
        with pytest.raises(ValueError, match="does not appear"):
            AddressRules(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("[192.0.2.1]:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
    ],
)
def test_name_servers_in_all_their_forms(text: str, server: str) -> None:
    assert name_server(text) == server


@pytest.mark.parametrize(
    "text", ["", "dns.example.test", "192.0.2.256", "192.0.2.1:0", "192.0.2.1:65536", "[::1", "::1]:53", "1,2"]
)
def test_no_name_server_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"name server|does not appear"):
        name_server(text)


# --- Look-ups ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


async def _resolve(server: NameServer, rules: AddressRules, names: list[str]) -> list[list[str]]:
    looked_up = Names([server.address], 0.25)
    try:
        resolver = Resolver(looked_up.addresses, rules)
        found = [await resolver.resolve(name, 443) for name in names]
        assert all(
            (one["hostname"], one["port"]) == (name, 443) for name, many in zip(names, found, strict=True) for one in many
        )
        return [[one["host"] for one in many] for many in found]
    finally:
        await looked_up.close()


def resolve(server: NameServer, rules: AddressRules, *names: str) -> list[list[str]]:
    return asyncio.run(_resolve(server, rules, list(names)))


def test_all_addresses_of_a_name(server: NameServer) -> None:
    server.names["both.test"] = [["8.8.8.8", "2606:4700::1111", "1.1.1.1"]]
    (found,) = resolve(server, AddressRules(), "both.test")
    assert sorted(found) == ["1.1.1.1", "2606:4700::1111", "8.8.8.8"]
    assert sorted(server.asked) == [("both.test", "A"), ("both.test", "AAAA")]


def test_families_are_those_of_the_addresses(server: NameServer) -> None:
    async def families() -> list[int]:
        names = Names([server.address])
        results = await Resolver(names.addresses, AddressRules()).resolve("both.test", 1)
        await names.close()
        return sorted(result["family"] for result in results)

    server.names["both.test"] = [["8.8.8.8", "2606:4700::1111"]]
    assert asyncio.run(families()) == sorted([socket.AF_INET, socket.AF_INET6])


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["8.8.8.8", "127.0.0.1"],
        ["2001:4860:4860::8888", "fd00::1"],
        ["8.8.8.8", "fd00::1"],
    ],
)
def test_name_with_one_refused_address_is_refused(server: NameServer, addresses: list[str]) -> None:
    server.names["cr.test"] = [addresses]
    with pytest.raises(RefusedAddressError, match=r"cr\.test is "):
        resolve(server, AddressRules(), "cr.test")


def test_refused_address_among_many_is_seen(server: NameServer) -> None:
    server.names["cr.test"] = [[*(f"8.8.8.{number}" for number in range(20)), "127.0.0.1"]]
    with pytest.raises(RefusedAddressError):
        resolve(server, AddressRules(), "cr.test")


def test_not_every_address_of_a_name_is_tried(server: NameServer) -> None:
    server.names["cr.test"] = [[f"8.8.8.{number}" for number in range(20)]]
    (found,) = resolve(server, AddressRules(), "cr.test")
    assert len(found) == 8


def test_each_look_up_is_checked_anew(server: NameServer) -> None:
    server.names["cr.test"] = [["8.8.8.8"], ["127.0.0.1"]]
    with pytest.raises(RefusedAddressError):
        resolve(server, AddressRules(), "cr.test", "cr.test")


@pytest.mark.parametrize("name", ["none.test", "empty.test"])
def test_name_without_address_is_an_error(server: NameServer, name: str) -> None:
    server.names["empty.test"] = [[]]
    with pytest.raises(OSError, match=name):
        resolve(server, AddressRules(), name)


def test_name_server_that_never_answers_is_given_up(server: NameServer) -> None:
    server.silent.add("test")
    with pytest.raises(OSError, match=r"cr\.test"):
        resolve(server, AddressRules(), "cr.test")


def test_slow_name_is_waited_for_although_others_are_fast(server: NameServer) -> None:
    async def seconds() -> float:
        names = Names([server.address], 1.5)
        for number in range(20):
            await names.addresses(f"fast{number}.test")
        began = time.monotonic()
        with pytest.raises(OSError, match="silent"):
            await names.addresses("cr.silent")
        await names.close()
        return time.monotonic() - began

    server.silent.add("silent")
    server.names.update({f"fast{number}.test": [["192.0.2.1"]] for number in range(20)})
    assert asyncio.run(seconds()) >= 1.5


def test_who_stops_waiting_leaves_nothing_behind(server: NameServer) -> None:
    async def give_up() -> int:
        names = Names([server.address], 5.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await names.addresses("cr.silent")
        await names.close()
        return len(asyncio.all_tasks())

    server.silent.add("silent")
    assert asyncio.run(give_up()) == 1
    assert server.asked


def test_hosts_file_and_localhost_need_no_name_server(server: NameServer) -> None:
    (found,) = resolve(server, AddressRules(private=True), "localhost")
    assert "127.0.0.1" in found
    assert server.asked == []


def test_names_can_be_closed_unopened_and_twice() -> None:
    async def close() -> None:
        names = Names()
        await names.close()
        await names.close()
        await Resolver(names.addresses, AddressRules()).close()

    asyncio.run(close())
