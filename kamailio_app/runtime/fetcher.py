"""The HTTPS fetcher: a URL that an attacker may have chosen -> octets, or one of our failures, in bounded time.

aiohttp speaks HTTP. One deadline covers name, connection, TLS and body; addresses that are not global are refused
when they are resolved, and the connection goes to just the addresses that were checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from kamailio_app.credentials.x5u import check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.settings import FetchRules

_HEADERS: Final = {
    "Accept": "application/pem-certificate-chain, */*;q=0.5",
    "Accept-Encoding": "identity",  # what comes compressed is not expanded
    "User-Agent": "kamailio-stirshaken",
}
_RESOLVING: Final = 64  # a name whose server is slow holds a thread past the deadline: strangers must not hold all of them


class Download(NamedTuple):
    """The body of a 200 answer and its Cache-Control."""

    octets: bytes
    cache_control: str


class _RefusedAddress(OSError):
    """A name that resolves to an address which a stranger must not make us visit."""


class _GlobalResolver(AbstractResolver):
    """Resolves with the system's resolver and lets only global addresses through."""

    def __init__(self, private_addresses: bool) -> None:
        self._resolver = ThreadedResolver()
        self._private_addresses = private_addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        if not self._private_addresses:
            for result in results:
                if not is_public(result["host"]):
                    raise _RefusedAddress(f"{host} is {result['host']}")
        return results

    async def close(self) -> None:
        await self._resolver.close()


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION: Final = ipaddress.IPv6Network("3fff::/20")  # RFC 9637


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, multicast and documentation addresses (RFC 6890), also inside of IPv6."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo and parsed.teredo[1])
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        # RFC 4291 2.4: all that is global unicast today
        if parsed not in _GLOBAL_UNICAST or parsed in _DOCUMENTATION:
            return False
    return parsed.is_global and not parsed.is_multicast


_CLOSING_ROUNDS: Final = 4


class Fetcher:
    """One per process, made at first use: an event loop survives no fork."""

    def __init__(self, rules: FetchRules) -> None:
        self._rules = rules
        cafile = str(rules.tls_ca_file) if rules.tls_ca_file else None
        self._tls = ssl.create_default_context(cafile=cafile)
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_RESOLVING))

    def fetch(self, urls: Iterable[str]) -> dict[str, Download | StirError]:
        """Fetch all at once; waits for at most `timeout` seconds."""
        return self._loop.run_until_complete(self._fetch_all(list(urls)))

    def close(self) -> None:
        self._loop.close()

    async def _fetch_all(self, urls: list[str]) -> dict[str, Download | StirError]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_GlobalResolver(self._rules.private_addresses), ssl=self._tls, force_close=True
            ),
            timeout=aiohttp.ClientTimeout(total=self._rules.timeout),
            headers=_HEADERS,
            auto_decompress=False,  # a small answer must not become a large one
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session:
            answers = await asyncio.gather(*(self._fetch(session, url) for url in urls))
        # What was given up closes in the loop's next rounds, and the loop does not run again until the next fetch
        for _ in range(_CLOSING_ROUNDS):
            await asyncio.sleep(0)
        return dict(zip(urls, answers, strict=True))

    async def _fetch(self, session: aiohttp.ClientSession, url: str) -> Download | StirError:
        """Errors, as values: `x5u_refused`, `x5u_unreachable`, `x5u_timeout`, `x5u_http_status`, `x5u_too_large`."""
        try:
            async with asyncio.timeout(self._rules.timeout):
                return await self._follow(session, url)
        except StirError as error:
            return error
        except TimeoutError:
            return failure("x5u_timeout", f"{self._rules.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if _caused_by_refusal(error):
                return failure("x5u_refused", str(error))
            return failure("x5u_unreachable", f"{type(error).__name__}: {error}")

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> Download:
        for _ in range(self._rules.max_redirects + 1):
            check_x5u(url, self._rules.x5u)
            async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
                if response.status == 200:
                    return Download(await self._body(response), response.headers.get("Cache-Control", ""))
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    raise failure("x5u_http_status", str(response.status))
                url = str(response.url.join(URL(location)))
        raise failure("x5u_http_status", f"more than {self._rules.max_redirects} redirects")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._rules.max_bytes
        octets = bytearray()
        async for chunk in response.content.iter_any():
            octets += chunk
            if len(octets) > limit:
                raise failure("x5u_too_large", f"more than {limit} bytes")
        return bytes(octets)


def _caused_by_refusal(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, _RefusedAddress):
            return True
        error = error.__cause__ or error.__context__
    return False
