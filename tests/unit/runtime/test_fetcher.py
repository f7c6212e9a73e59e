"""The fetcher against real servers on loopback, most of which misbehave."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.errors import StirError
from kamailio_app.lab.edge import free_port
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lab.repository import Repository
from kamailio_app.runtime.fetcher import Download, Fetcher, _GlobalResolver, is_public
from kamailio_app.runtime.settings import FetchRules

from ..builders import provider

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

TIMEOUT = 0.5
NAMES = ["localhost", "cr.example.test"]


class Site:
    """An HTTPS server on loopback that answers as it is told, also with nonsense."""

    def __init__(self, directory: Path, identity: Issued) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        directory.mkdir(exist_ok=True)
        (directory / "web.pem").write_bytes(identity.chain_pem)
        (directory / "web.key").write_bytes(identity.key_pem)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(directory / "web.pem", directory / "web.key")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # clients that hang up are what this is about
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/{path}"

    def answer(self, path: str, head: str, body: bytes = b"") -> str:
        """`head`: status line and header lines; gives the URL."""

        async def say(writer: asyncio.StreamWriter) -> None:
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            await writer.drain()

        self.answers[path] = say
        return self.url(path)

    def ok(self, path: str, body: bytes, header: str = "X: y") -> str:
        return self.answer(path, f"HTTP/1.1 200 OK\n{header}\nContent-Length: {len(body)}", body)

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        return self.answer(path, f"HTTP/1.1 {status} Elsewhere\nLocation: {location}\nContent-Length: 0")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode().removeprefix("/")
            self.asked.append(path)
            self.heads.append(head)
            await self.answers[path](writer)
            if writer.can_write_eof():
                writer.write_eof()
        writer.transport.abort() if writer.is_closing() else writer.close()

    def __enter__(self) -> Site:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture(scope="module")
def cafile(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(hierarchy.root.pem)
    return path


@pytest.fixture(scope="module")
def module_site(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), hierarchy.web_server(NAMES)) as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Site:
    for remembered in (module_site.asked, module_site.heads):
        remembered.clear()
    return module_site


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield server.getsockname()[1]


@pytest.fixture
def fetch(cafile: Path) -> Iterator[Callable[..., Any]]:
    """fetch(url or URLs, ports, **deviations from the rules)."""
    made: list[Fetcher] = []

    def fetching(urls: str | Sequence[str], *ports: int, **changes: Any) -> Any:
        values: dict[str, Any] = {
            "timeout": TIMEOUT,
            "max_bytes": 4096,
            "max_redirects": 0,
            "tls_ca_file": cafile,
            "private_addresses": True,
            "x5u": X5uRules(frozenset(ports)),
        }
        made.append(Fetcher(FetchRules(**{**values, **changes})))
        found = made[-1].fetch([urls] if isinstance(urls, str) else urls)
        return found[urls] if isinstance(urls, str) else found

    yield fetching
    for fetcher in made:
        settle(fetcher)
        fetcher.close()


def settle(fetcher: Fetcher) -> None:
    """Let the farewells of TLS arrive, which would else be a warning of sockets left open."""
    loop: Any = fetcher._loop
    deadline = time.monotonic() + 2
    while len(loop._selector.get_map()) > 1 and time.monotonic() < deadline:
        loop.run_until_complete(asyncio.sleep(0.002))
    loop.run_until_complete(asyncio.sleep(0.001))  # what is no longer waited for is closed in the next round


def token(found: Any) -> str:
    assert isinstance(found, StirError), found
    return found.token


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


# --- Honest servers ---------------------------------------------------------------------------------------------


def test_chain_comes_from_a_repository(hierarchy: Hierarchy, fetch: Callable[..., Any], tmp_path: Path) -> None:
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.chains["sp.pem"] = provider().chain_pem
        found = fetch([repository.url("sp.pem"), repository.url("none.pem")], repository.port)
        assert found[repository.url("sp.pem")] == Download(provider().chain_pem, "max-age=86400")
        assert token(found[repository.url("none.pem")]) == "x5u_http_status"
        assert "404" in found[repository.url("none.pem")].detail


def test_one_fetcher_serves_one_call_after_the_other(site: Site, cafile: Path) -> None:
    rules = FetchRules(TIMEOUT, 4096, 0, cafile, True, X5uRules(frozenset({site.port})))
    fetcher = Fetcher(rules)
    url = site.ok("again", b"x")
    assert [fetcher.fetch([url])[url] for _ in range(3)] == [Download(b"x", "")] * 3
    assert fetcher.fetch([]) == {}
    settle(fetcher)
    fetcher.close()


def test_request_says_who_asks_and_for_what(site: Site, fetch: Callable[..., Any]) -> None:
    assert fetch(site.ok("head", b"x"), site.port) == Download(b"x", "")
    (head,) = site.heads
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /head HTTP/1.1"
    assert "User-Agent: kamailio-stirshaken" in lines
    assert "Accept: application/pem-certificate-chain, */*;q=0.5" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.startswith(("Cookie", "Authorization", "Referer")) for line in lines)


def test_path_is_asked_for_octet_for_octet(site: Site, fetch: Callable[..., Any]) -> None:
    path = "a%2Fb/%7e;x=(1)/../c"
    site.ok(path, b"x")
    fetch(site.url(path), site.port)
    assert site.asked == [path]


def test_body_that_ends_with_the_connection_is_a_body(site: Site, fetch: Callable[..., Any]) -> None:
    assert fetch(site.answer("eof", "HTTP/1.0 200 OK\nCache-Control: max-age=5", b"abc"), site.port) == Download(
        b"abc", "max-age=5"
    )


def test_whatever_the_body_is_it_is_given_back_as_it_came(site: Site, fetch: Callable[..., Any]) -> None:
    octets = bytes(range(256))
    assert fetch(site.ok("octets", octets), site.port).octets == octets
    assert fetch(site.ok("empty", b""), site.port).octets == b""


def test_compressed_answer_is_not_expanded(site: Site, fetch: Callable[..., Any]) -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    assert len(bomb) < 4096
    assert fetch(site.ok("gzip", bomb, "Content-Encoding: gzip"), site.port).octets == bomb


# --- Status and redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 429, 500, 503])
def test_anything_but_200_is_a_failure(site: Site, fetch: Callable[..., Any], status: int) -> None:
    found = fetch(site.answer("status", f"HTTP/1.1 {status} X\nContent-Length: 0"), site.port)
    assert token(found) == "x5u_http_status"
    assert found.detail == str(status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, fetch: Callable[..., Any], status: int) -> None:
    site.ok("target", b"x")
    assert token(fetch(site.redirect("moved", "/target", status), site.port)) == "x5u_http_status"
    assert site.asked == ["moved"]


@pytest.mark.parametrize("location", ["/target", "target", "https://LOCALHOST:{port}/target"])
def test_permitted_redirect_is_followed(site: Site, fetch: Callable[..., Any], location: str) -> None:
    site.ok("target", b"x")
    url = site.redirect("moved", location.format(port=site.port))
    assert fetch(url, site.port, max_redirects=1) == Download(b"x", "")
    assert site.asked == ["moved", "target"]


def test_no_more_redirects_are_followed_than_permitted(site: Site, fetch: Callable[..., Any]) -> None:
    assert token(fetch(site.redirect("loop", "/loop"), site.port, max_redirects=2)) == "x5u_http_status"
    assert site.asked == ["loop"] * 3


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/target",
        "https://127.0.0.1:{port}/target",
        "https://[::1]:{port}/target",
        "https://localhost:1/target",
        "https://user@localhost:{port}/target",
        "https://localhost:{port}/target?q",
        "file:///etc/passwd",
    ],
)
def test_target_of_a_redirect_has_to_pass_the_same_rules(site: Site, fetch: Callable[..., Any], location: str) -> None:
    site.ok("target", b"x")
    url = site.redirect("moved", location.format(port=site.port))
    assert token(fetch(url, site.port, max_redirects=5)) == "x5u_refused"
    assert site.asked == ["moved"]


@pytest.mark.parametrize("location", ["https://[::1/", "https://localhost:99999999/", "//[", "https://\xff\xfe/"])
def test_redirect_to_nonsense_is_a_failure(site: Site, fetch: Callable[..., Any], location: str) -> None:
    assert token(fetch(site.redirect("moved", location), site.port, max_redirects=1)) in ("x5u_unreachable", "x5u_refused")
    assert site.asked == ["moved"]


def test_redirect_to_nowhere_is_a_status(site: Site, fetch: Callable[..., Any]) -> None:
    url = site.answer("nowhere", "HTTP/1.1 302 Found\nContent-Length: 0")
    assert fetch(url, site.port, max_redirects=1).detail == "302"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "https://localhost:1/x",
        "https://localhost:{port}/x?y",
        "",
        "x",
    ],
)
def test_url_that_breaks_the_rules_is_not_asked_for(site: Site, fetch: Callable[..., Any], url: str) -> None:
    assert token(fetch(url.format(port=site.port), site.port)) == "x5u_refused"
    assert site.asked == []


# --- Too much, too slow, nonsense -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [4095, 4096])
def test_largest_permitted_answer_is_taken(site: Site, fetch: Callable[..., Any], length: int) -> None:
    assert len(fetch(site.ok("large", b"x" * length), site.port).octets) == length


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def endless_without_length(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 1024)
        await writer.drain()
        await asyncio.sleep(0)


def test_larger_answer_is_refused_at_once(site: Site, fetch: Callable[..., Any]) -> None:
    site.answers["chunked"], site.answers["endless"] = endless, endless_without_length
    urls = [site.ok("large", b"x" * 4097), site.ok("huge", b"x" * 5_000_000), site.url("chunked"), site.url("endless")]
    with at_most(5):
        found = fetch(urls, site.port, timeout=10)
    assert [token(found[url]) for url in urls] == ["x5u_too_large"] * 4


def dripping(head: bytes, drop: bytes) -> Answer:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return drip


async def mute(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "answer",
    [
        mute,
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        dripping(b"", b"H"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["mute", "body", "chunks", "header-lines", "header-line", "status-line", "continue"],
)
def test_slow_server_is_given_up_at_the_deadline(site: Site, fetch: Callable[..., Any], answer: Answer) -> None:
    site.answers["slow"] = answer
    with at_most(2):
        found = fetch(site.url("slow"), site.port, timeout=0.3)
    # A line that is no status line may be seen as nonsense before
    assert token(found) in ("x5u_timeout", "x5u_unreachable")
    if answer is mute:
        assert (found.token, found.detail) == ("x5u_timeout", "0.3 s")


def test_slow_redirects_together_have_one_deadline(site: Site, fetch: Callable[..., Any]) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    site.answers["again"] = slowly
    with at_most(1):
        assert token(fetch(site.url("again"), site.port, max_redirects=5)) == "x5u_timeout"


def test_server_that_never_says_a_word_is_given_up_at_the_deadline(silent: int, fetch: Callable[..., Any]) -> None:
    with at_most(2):
        assert token(fetch(f"https://localhost:{silent}/x", silent)) == "x5u_timeout"


def test_nobody_at_the_port(fetch: Callable[..., Any]) -> None:
    port = free_port(kind=socket.SOCK_STREAM)
    with at_most(TIMEOUT):
        assert token(fetch(f"https://localhost:{port}/x", port)) == "x5u_unreachable"


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nabc")
    await writer.drain()
    writer.close()


def saying(octets: bytes) -> Answer:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await writer.drain()

    return say


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        hang_up,
        saying(b""),
        saying(b"\0\xff garbage\r\n\r\n"),
        saying(b"HTTP/1.1 9999 X\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\n\0: \xff\r\n\r\n"),
        saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    ],
    ids=str,
)
def test_nonsense_is_a_failure(site: Site, fetch: Callable[..., Any], answer: Answer) -> None:
    site.answers["nonsense"] = answer
    with at_most(2):
        assert token(fetch(site.url("nonsense"), site.port)) == "x5u_unreachable"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_plain_http_at_the_port_is_a_failure(fetch: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        port = server.getsockname()[1]
        # Whether the TLS library gives up at once or waits for more is its own business
        assert token(fetch(f"https://localhost:{port}/x", port)) in ("x5u_unreachable", "x5u_timeout")
        thread.join()


def test_healthy_server_is_not_delayed_by_a_hundred_silent_ones(site: Site, silent: int, fetch: Callable[..., Any]) -> None:
    arrived: list[float] = []

    async def arrive(writer: asyncio.StreamWriter) -> None:
        arrived.append(time.monotonic())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    site.answers["healthy"] = arrive
    urls = [*(f"https://localhost:{silent}/{number}" for number in range(99)), site.url("healthy")]
    began = time.monotonic()
    with at_most(4):
        found = fetch(urls, site.port, silent, timeout=1.5)
    assert found[urls[-1]] == Download(b"x", "")
    assert arrived[0] - began < 1
    assert {token(found[url]) for url in urls[:-1]} == {"x5u_timeout"}


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unknown CA", "wrong name", "expired"])
def test_web_server_has_to_show_a_good_certificate(
    hierarchy: Hierarchy, fetch: Callable[..., Any], tmp_path: Path, fault: str
) -> None:
    past = Hierarchy(time.time() - 40 * 86400)  # its web server's certificate ended ten days ago, its root did not
    identity = {
        "unknown CA": Hierarchy(time.time()).web_server(["localhost"]),
        "wrong name": hierarchy.web_server(["other.example.test"]),
        "expired": past.web_server(["localhost"]),
    }[fault]
    (tmp_path / "ca.pem").write_bytes(hierarchy.root.pem + past.root.pem)
    with Site(tmp_path / "site", identity) as site:
        found = fetch(site.ok("x", b"x"), site.port, tls_ca_file=tmp_path / "ca.pem")
        assert token(found) == "x5u_unreachable"
        assert "certificate" in found.detail.lower()
        assert site.asked == []


def test_systems_roots_do_not_know_a_laboratory(site: Site, fetch: Callable[..., Any]) -> None:
    assert token(fetch(site.ok("x", b"x"), site.port, tls_ca_file=None)) == "x5u_unreachable"
    assert site.asked == []


def test_fetcher_without_its_roots_is_not_made(cafile: Path) -> None:
    rules = FetchRules(TIMEOUT, 4096, 0, cafile.with_name("none.pem"), True, X5uRules())
    with pytest.raises(OSError, match="No such file"):
        Fetcher(rules)


# --- Addresses --------------------------------------------------------------------------------------------------


def resolving(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> list[str]:
    """The system's resolver says `answers`; gives the names that it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *_arguments: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        if host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in answers[host]]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)[: 4 if family == socket.AF_INET6 else 2])
            for family, address in zip(families, answers[host], strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_loopback_is_refused_unless_permitted(site: Site, fetch: Callable[..., Any]) -> None:
    url = site.ok("x", b"x")
    found = fetch(url, site.port, private_addresses=False)
    assert token(found) == "x5u_refused"
    assert site.asked == []
    assert fetch(url, site.port) == Download(b"x", "")


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
    ],
)
def test_name_of_a_private_address_is_refused(
    site: Site, fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolving(monkeypatch, {"cr.example.test": addresses})
    site.ok("x", b"x")
    found = fetch(site.url("x", "cr.example.test"), site.port, private_addresses=False)
    assert token(found) == "x5u_refused"
    assert site.asked == []


def test_redirect_to_a_private_address_is_refused(
    site: Site, fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, {"cr.example.test": ["127.0.0.1"], "localhost": ["127.0.0.2"]})
    monkeypatch.setattr("kamailio_app.runtime.fetcher.is_public", lambda address: address == "127.0.0.1")
    site.ok("target", b"x")
    site.redirect("moved", site.url("target"))
    url = site.url("moved", "cr.example.test")
    assert token(fetch(url, site.port, private_addresses=False, max_redirects=1)) == "x5u_refused"
    assert site.asked == ["moved"]


def test_connection_goes_to_the_address_that_was_checked(
    site: Site, fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolving(monkeypatch, {"cr.example.test": ["127.0.0.1"]})
    site.ok("x", b"x")
    assert fetch(site.url("x", "cr.example.test"), site.port) == Download(b"x", "")
    assert asked == ["cr.example.test"]  # once: a second answer could differ


def test_resolver_can_be_closed() -> None:
    async def close() -> None:
        await _GlobalResolver(True).close()

    asyncio.run(close())


def test_name_that_does_not_resolve_is_unreachable(fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {})
    for private in (True, False):
        assert token(fetch("https://cr.example.test/x", 443, private_addresses=private)) == "x5u_unreachable"


def test_slow_names_neither_outlast_the_deadline_nor_delay_others(
    site: Site, fetch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever sends the call owns the name server
    released, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "localhost":
            released.wait(5)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    url = site.ok("x", b"x")
    slow = [f"https://slow{number}.invalid/x" for number in range(40)]
    try:
        with at_most(2):
            found = fetch([*slow, url], 443, site.port)
    finally:
        released.set()
    assert {token(found[name]) for name in slow} == {"x5u_timeout"}
    assert found[url] == Download(b"x", "")


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "223.255.255.254",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b::808:808",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
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
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
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
        "::ffff:0:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2001:10::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
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
    ],
)
def test_addresses_that_a_stranger_must_not_make_us_visit(address: str) -> None:
    assert not is_public(address)
