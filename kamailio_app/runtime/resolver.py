"""Names -> addresses that may be contacted, for URLs that an attacker may have chosen.

c-ares asks the name servers, in the event loop, so that those who never answer hold no thread. A name is refused as a
whole if one of its addresses is: picking the good ones would leave the choice to whoever owns the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from errno import EACCES, EADDRNOTAVAIL
from typing import Final

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Seconds. c-ares waits less for servers that use to answer fast, and at each further try up to twice as long
_SHORTEST_FIRST_TRY, _LONGEST_FIRST_TRY = 0.25, 0.5
_MOST_ADDRESSES: Final = 8  # so many sockets may be opened for one connection

# RFC 6890 and the IANA registry of special-purpose addresses; not what Python's release says of them
_SPECIAL_IPV4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291 2.4: all that is global unicast today
_SPECIAL_IPV6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1: what DNS64 makes of IPv4


def is_public(address: str) -> bool:
    """False for every address that is not global unicast, and for what carries IPv4 inside, but NAT64 of a public one."""
    return _public(_parsed(address))


def _parsed(address: str) -> _Address:
    return ipaddress.ip_address(address.partition("%")[0])


def _public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address in _NAT64:
        return _public(_last_four(address))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _SPECIAL_IPV6)


def _last_four(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _forms(address: _Address) -> tuple[_Address, ...]:
    """The address and the IPv4 addresses that it may lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    inner = (
        address.ipv4_mapped,
        address.sixtofour,
        *(address.teredo or ()),
        _last_four(address) if address in _NAT64 else None,
    )
    return (address, *(form for form in inner if form is not None))


class RefusedAddressError(OSError):
    """A name that has an address which must not be contacted. With an errno, as aiohttp shows the text of no others."""


class AddressRules:
    """Which addresses are contacted: `deny` never, `permit` always else, the rest if it is public or `private` is true.

    Networks in CIDR. Errors: ValueError for what is none.
    """

    def __init__(self, *, private: bool = False, permit: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._private = private
        self._permit = _networks(permit)
        self._deny = _networks(deny)

    def allow(self, address: str) -> bool:
        parsed = _parsed(address)
        if self._deny and any(_within(form, self._deny) for form in _forms(parsed)):
            return False
        return self._private or _public(parsed) or _within(parsed, self._permit)


def _networks(texts: Iterable[str]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _within(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)


_SERVER: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})|([0-9A-Fa-f:.]+)")


def name_server(text: str) -> str:
    """A name server as c-ares takes it: address, [address]:port or address:port. Errors: ValueError."""
    match = _SERVER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no address of a name server")
    bracketed, bracketed_port, plain, plain_port, bare = match.groups()
    address = ipaddress.ip_address(bracketed or plain or bare)
    port = int(bracketed_port or plain_port or 53)
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} has no port of a name server")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


class Names:
    """Looks names up: the hosts file, then `servers` or the system's. Opened at the first look-up, in a running loop.

    It tries for at least `timeout` seconds; what is given up before is forgotten by c-ares at the end of its own tries.
    """

    def __init__(self, servers: Sequence[str] = (), timeout: float = 5.0) -> None:
        self._servers = [name_server(server) for server in servers]
        self._timeout = timeout
        self._resolver: aiodns.DNSResolver | None = None

    async def addresses(self, name: str) -> list[str]:
        """All addresses of the name, the better ones first. Errors: OSError."""
        if self._resolver is None:
            self._resolver = self._open()
        try:
            found = await self._resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise OSError(EADDRNOTAVAIL, f"{name}: {error.args[-1]}") from error
        return [str(node.addr[0], "ascii") for node in found.nodes]

    def _open(self) -> aiodns.DNSResolver:
        return aiodns.DNSResolver(
            self._servers or None,
            asyncio.get_running_loop(),
            # A name means itself: neither this host's search domains nor its HOSTALIASES
            flags=pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_NOALIASES | pycares.ARES_FLAG_EDNS,
            timeout=_LONGEST_FIRST_TRY,
            tries=math.ceil(math.log2(self._timeout / _SHORTEST_FIRST_TRY + 1)) + 1,
        )

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()
        self._resolver = None


class Resolver(AbstractResolver):
    """What aiohttp asks before each new connection; it connects to these addresses and to no others."""

    def __init__(self, addresses: Callable[[str], Awaitable[list[str]]], rules: AddressRules) -> None:
        self._addresses = addresses
        self._rules = rules

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002
        """Of any family. Errors: RefusedAddressError, OSError."""
        addresses = await self._addresses(host)
        if not addresses:
            raise OSError(EADDRNOTAVAIL, f"{host} has no address")
        for address in addresses:
            if not self._rules.allow(address):
                raise RefusedAddressError(EACCES, f"{host} is {address}")
        return [_result(host, port, address) for address in addresses[:_MOST_ADDRESSES]]

    async def close(self) -> None:
        """The look-ups belong to whoever made this."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=numeric)
