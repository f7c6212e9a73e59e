"""The HTTPS fetcher: a URL that an attacker may have chosen -> octets, or one of our failures, in bounded time.

aiohttp speaks HTTP, c-ares asks for names, all in the event loop of a process of its own. One deadline covers waiting for
a place, name, connection, TLS, redirects and body. Every connection asks for its name once and goes to just the addresses
that were checked. What strangers name and what the operator named in the settings share no connection and no limit.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import warnings
from asyncio.sslproto import SSLProtocol
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR, socket
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
from cachetools import LRUCache
from yarl import URL

from kamailio_app.credentials.x5u import MAX_URL_OCTETS, X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.breaker import Breaker
from kamailio_app.runtime.resolver import AddressRules, Names, RefusedAddressError, Resolver
from kamailio_app.runtime.settings import FetchRules

_HEADERS: Final = {
    "Accept": "application/pem-certificate-chain, */*;q=0.5",
    "Accept-Encoding": "identity",  # what comes compressed is not expanded
    "User-Agent": "kamailio-stirshaken",
}
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_LINE: Final = 8190  # octets of the status line, of a header field
_MAX_FIELDS: Final = 64
_READ_AHEAD: Final = 16384  # octets of a body that wait to be read
_DETAIL: Final = 300  # characters of an error, which may be a peer's text
_IDLE_SECONDS: Final = 10.0  # a connection stays open
_KNOWN_SECONDS: Final = 20.0  # a host that answered well has its connections kept
_KNOWN_HOSTS: Final = 64  # and no more than so many: any stranger can have a thousand
_FAREWELL_SECONDS: Final = 0.25  # TLS's close_notify, which a peer may never send
_TLS_BUFFER: Final = 32768  # octets per connection; asyncio would take 262144, from the first moment on

# A URL of the settings file: trust list, CRL and their signers
_RESERVED: Final = 4  # every fourth place is for hosts that answered before
_PROVED_HOSTS: Final = 4096
_OPERATORS_REDIRECTS: Final = 3
_OPERATORS_OCTETS: Final = 16 * 1024 * 1024
_OPERATORS_SECONDS: Final = 30.0
_OPERATORS_PLACES: Final = 16


class Download(NamedTuple):
    """The body of a 200 answer and the header fields that say how long it stays good (RFC 9111 4.2)."""

    octets: bytes
    cache_control: str
    expires: str = ""
    age: str = ""
    date: str = ""


class _Elsewhere(NamedTuple):
    """A redirect."""

    url: str


class Fetcher:
    """One per process; `fetch` and `close` belong to one event loop."""

    def __init__(self, rules: FetchRules) -> None:
        """Errors: OSError (no such roots), ValueError (no network, no name server)."""
        cafile = str(rules.tls_ca_file) if rules.tls_ca_file else None
        tls = ssl.create_default_context(cafile=cafile)
        tls.hostname_checks_common_name = False  # RFC 9525 2
        self._names = Names(rules.dns_servers, rules.timeout)
        permit, deny = rules.permit, rules.deny
        self._strangers = _Door(
            _Limits(
                check=lambda url: check_x5u(url, rules.x5u),
                addresses=AddressRules(private=rules.private_addresses, permit=permit, deny=deny),
                seconds=rules.timeout,
                redirects=rules.max_redirects,
                places=rules.max_concurrent,
                places_per_host=rules.max_concurrent_per_host,
            ),
            Breaker(rules.breaker_failures, rules.breaker_seconds),
            tls,
            self._names,
        )
        self._operators = _Door(
            _Limits(
                check=_check_operators,
                addresses=AddressRules(private=True, deny=deny),
                seconds=max(rules.timeout, _OPERATORS_SECONDS),
                redirects=_OPERATORS_REDIRECTS,
                places=_OPERATORS_PLACES,
                places_per_host=_OPERATORS_PLACES,
            ),
            Breaker(rules.breaker_failures, rules.breaker_seconds),
            tls,
            self._names,
        )
        self._max_bytes = rules.max_bytes
        self._flights: dict[tuple[str, bool, int], asyncio.Task[Download | StirError]] = {}
        self._closed = False

    async def fetch(self, url: str, *, trusted_by_operator: bool = False, max_bytes: int = 0) -> Download | StirError:
        """What stands at the URL. Who asks for what is being fetched gets what comes of that.

        `trusted_by_operator`: a URL of the settings file; `max_bytes` is its size's limit (default 16 MiB).
        Errors, as values: `x5u_refused`, `x5u_unreachable`, `x5u_timeout`, `x5u_http_status`, `x5u_too_large`,
        `credential_malformed` (compressed).
        """
        if self._closed:
            return failure("x5u_unreachable", "the fetcher is closed")
        limit = max_bytes or (_OPERATORS_OCTETS if trusted_by_operator else self._max_bytes)
        key = (url, trusted_by_operator, limit)
        flight = self._flights.get(key)
        if flight is None:
            door = self._operators if trusted_by_operator else self._strangers
            flight = self._flights[key] = asyncio.create_task(door.fetch(url, limit))
            flight.add_done_callback(lambda _flight: self._flights.pop(key))
        await asyncio.wait((flight,))  # who stops waiting stops nobody else's fetch
        return failure("x5u_unreachable", "the fetcher is closed") if flight.cancelled() else flight.result()

    async def close(self) -> None:
        """End everything. Fetches under way fail."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._strangers.close()
        await self._operators.close()
        await self._names.close()


@dataclass(frozen=True, slots=True)
class _Limits:
    """What one kind of URL may do. `seconds` for a whole fetch."""

    check: Callable[[str], None]
    addresses: AddressRules
    seconds: float
    redirects: int
    places: int
    places_per_host: int


class _Door:
    """Fetches one kind of URL, with connections of its own."""

    def __init__(self, limits: _Limits, breaker: Breaker, tls: ssl.SSLContext, names: Names) -> None:
        self._limits = limits
        self._breaker = breaker
        self._places = _Places(limits.places, limits.places_per_host)
        self._beginning = asyncio.Lock()
        resolver = Resolver(names.addresses, limits.addresses)
        self._connections = _Connections(tls, resolver)

    async def fetch(self, url: str, max_bytes: int) -> Download | StirError:
        ends = asyncio.get_running_loop().time() + self._limits.seconds
        for _ in range(self._limits.redirects + 1):
            try:
                self._limits.check(url)
            except StirError as error:
                return error
            found = await self._visit(url, max_bytes, ends)
            if not isinstance(found, _Elsewhere):
                return found
            url = found.url
        return failure("x5u_http_status", f"more than {self._limits.redirects} redirects")

    async def _visit(self, url: str, max_bytes: int, ends: float) -> Download | _Elsewhere | StirError:
        host = _host(url)
        if not self._breaker.admits(host):
            return failure("x5u_unreachable", f"circuit breaker open for {host}")
        visited = False
        found: Download | _Elsewhere | StirError
        try:
            async with asyncio.timeout_at(ends), self._places.one(host):
                visited = True
                found = await self._ask(url, host, max_bytes)
        except StirError as error:
            found = error
        except TimeoutError:
            found = failure("x5u_timeout", f"{self._limits.seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            token = "x5u_refused" if _caused_by_refusal(error) else "x5u_unreachable"
            found = failure(token, f"{type(error).__name__}: {error}"[:_DETAIL])
        if visited:
            self._learn(host, found)
        return found

    def _learn(self, host: str, found: Download | _Elsewhere | StirError) -> None:
        """Who waited for a place in vain says nothing of the host, nor does a refused address."""
        if not isinstance(found, StirError):
            self._breaker.succeeded(host)
            self._connections.answered(host)
            self._places.proved(host)
        elif found.token in ("x5u_timeout", "x5u_unreachable"):
            self._breaker.failed(host)
        elif found.token != "x5u_refused":
            self._breaker.succeeded(host)

    async def _ask(self, url: str, host: str, max_bytes: int) -> Download | _Elsewhere:
        if not self._connections.knows(host):
            # One by one: however many new hosts there are at once, between two of them the known have their turn
            async with self._beginning:
                await asyncio.sleep(0)
        async with self._connections.session(host).get(URL(url, encoded=True), allow_redirects=False) as response:
            if response.status == 200:
                return await _download(response, max_bytes)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                raise failure("x5u_http_status", str(response.status))
            return _Elsewhere(str(response.url.join(URL(location))))

    async def close(self) -> None:
        await self._connections.close()


def _check_operators(url: str) -> None:
    """The syntax of a URL that the operator trusts: any port, and a query. Errors: `x5u_refused`."""
    bare, _, query = url.partition("?")
    if len(url) > MAX_URL_OCTETS or "#" in query or not query.isascii() or not query.isprintable() or " " in query:
        raise failure("x5u_refused", "length, characters or fragment")
    try:
        port = urlsplit(bare).port or 443
    except ValueError as error:
        raise failure("x5u_refused", "port") from error
    check_x5u(bare, X5uRules(frozenset({port})))


def _host(url: str) -> str:
    """host:port, of a URL that was checked."""
    parts = urlsplit(url)
    return f"{(parts.hostname or '').rstrip('.')}:{parts.port or 443}"


def _caused_by_refusal(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, RefusedAddressError):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _download(response: aiohttp.ClientResponse, limit: int) -> Download:
    encoding = ", ".join(response.headers.getall("Content-Encoding", ())).strip()
    if encoding.lower() not in ("", "identity"):
        raise failure("credential_malformed", f"Content-Encoding: {encoding}"[:_DETAIL])
    if (response.content_length or 0) > limit:
        raise failure("x5u_too_large", f"{response.content_length} bytes")
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > limit:
            raise failure("x5u_too_large", f"more than {limit} bytes")
    names = ("Cache-Control", "Expires", "Age", "Date")
    return Download(bytes(octets), *(", ".join(response.headers.getall(name, ())) for name in names))


@dataclass(slots=True)
class _Waiting:
    """Those who want one host: places and how many have or want one."""

    places: asyncio.Semaphore
    many: int = 0


class _Places:
    """So many fetches at once, of them so many at one host. A host's own queue holds no place of the others, and hosts that
    never answered cannot hold all places: somebody may have names without end.
    """

    def __init__(self, places: int, per_host: int) -> None:
        self._all = asyncio.Semaphore(places)
        self._strangers = asyncio.Semaphore(max(1, places - places // _RESERVED))
        self._per_host = per_host
        self._hosts: dict[str, _Waiting] = {}
        self._proved: LRUCache[str, bool] = LRUCache(_PROVED_HOSTS)

    def proved(self, host: str) -> None:
        """It answered."""
        self._proved[host] = True

    @asynccontextmanager
    async def one(self, host: str) -> AsyncIterator[None]:
        waiting = self._hosts.setdefault(host, _Waiting(asyncio.Semaphore(self._per_host)))
        waiting.many += 1
        try:
            async with waiting.places, nullcontext() if host in self._proved else self._strangers, self._all:
                yield
        finally:
            waiting.many -= 1
            if not waiting.many:
                del self._hosts[host]


@dataclass
class _Connections:
    """HTTP sessions for the process's life. Those of a few hosts that answered well keep their connections a short time."""

    tls: ssl.SSLContext
    resolver: Resolver
    known: OrderedDict[str, float] = field(default_factory=OrderedDict)  # host -> until when, the oldest first
    sockets: WeakSet[socket] = field(default_factory=WeakSet)
    keeping: aiohttp.ClientSession | None = None
    closing: aiohttp.ClientSession | None = None

    def session(self, host: str) -> aiohttp.ClientSession:
        if self.keeping is None or self.closing is None:
            # Before the first connection, and in the fetcher's process only
            SSLProtocol.max_size = _TLS_BUFFER
            self.keeping = self._session(keepalive_timeout=_IDLE_SECONDS)
            self.closing = self._session(force_close=True)
        return self.keeping if self.knows(host) else self.closing

    def knows(self, host: str) -> bool:
        return self.known.get(host, 0) > time.monotonic()

    def answered(self, host: str) -> None:
        now = time.monotonic()
        while self.known and next(iter(self.known.values())) <= now:
            self.known.popitem(last=False)
        if host in self.known or len(self.known) < _KNOWN_HOSTS:
            self.known[host] = now + _KNOWN_SECONDS
            self.known.move_to_end(host)

    def _session(self, **options: Any) -> aiohttp.ClientSession:
        with warnings.catch_warnings():
            # Deprecated, but without it a peer that says no farewell holds the socket of a failed fetch for 30 s
            warnings.simplefilter("ignore", DeprecationWarning)
            connector = aiohttp.TCPConnector(
                resolver=self.resolver,
                use_dns_cache=False,
                ssl=self.tls,
                limit=0,  # places are counted before
                socket_factory=self._socket,
                ssl_shutdown_timeout=_FAREWELL_SECONDS,
                **options,
            )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(),  # the deadline is the fetch's
            headers=_HEADERS,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            max_headers=_MAX_FIELDS,
            read_bufsize=_READ_AHEAD,
        )

    def _socket(self, address: tuple[Any, ...]) -> socket:
        made = socket(*address[:3])
        self.sockets.add(made)
        return made

    async def close(self) -> None:
        """Close the sessions and wait until no socket is left, also of those that are still saying farewell."""
        for session in (self.keeping, self.closing):
            if session is not None and session.connector is not None:
                await session.connector.close(abort_ssl=True)
                await session.close()
        ends = time.monotonic() + 4 * _FAREWELL_SECONDS
        for one in self._open():
            with suppress(OSError):  # it may never have been connected
                one.shutdown(SHUT_RDWR)
        while self._open() and time.monotonic() < ends:
            await asyncio.sleep(_FAREWELL_SECONDS / 100)

    def _open(self) -> list[socket]:
        return [one for one in self.sockets if one.fileno() >= 0]
