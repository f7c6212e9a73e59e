"""The fetcher against real servers on loopback, most of which misbehave."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.edge import free_port
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import FOREVER, Repository
from kamailio_app.lab.repository import Answer as Misbehaviour
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.settings import FetchRules

from ..builders import provider
from .fetching import (
    HOST,
    TIMEOUT,
    Fetch,
    Rules,
    at_most,
    cafile,
    fetch,
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
from .site import Answer, Site, after, dripping, flooding, hang_up, mute, reset, saying

__all__ = ["cafile", "fetch", "hierarchy", "module_site", "names", "rules", "silent", "site"]  # fixtures


# --- Honest servers ---------------------------------------------------------------------------------------------


def test_chain_comes_from_a_repository(hierarchy: Hierarchy, fetch: Fetch, tmp_path: Path) -> None:
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.chains["sp.pem"] = provider().chain_pem
        found, missing = fetch([repository.url("sp.pem"), repository.url("none.pem")], repository.port)
    assert (found.octets, found.cache_control, found.expires, found.age) == (provider().chain_pem, "max-age=86400", "", "")
    assert found.date.endswith(" GMT")
    assert token(missing) == "x5u_http_status"
    assert "404" in missing.detail


def test_one_fetcher_serves_one_call_after_the_other(site: Site, rules: Rules) -> None:
    url = site.ok("again")

    async def thrice(fetcher: Fetcher) -> list[Any]:
        return [await fetcher.fetch(url) for _ in range(3)]

    assert using(rules(site.port), thrice) == [Download(b"x", "")] * 3
    assert site.asked == ["again"] * 3


def test_download_says_how_long_it_stays_good(site: Site, fetch: Fetch) -> None:
    fields = "Cache-Control: max-age=5\nCache-Control: public\nExpires: then\nAge: 3\nDate: now"
    assert fetch(site.ok("fields", b"x", fields), site.port) == Download(b"x", "max-age=5, public", "then", "3", "now")


def test_request_says_who_asks_and_for_what(site: Site, fetch: Fetch) -> None:
    assert fetch(site.ok("head"), site.port) == Download(b"x", "")
    (head,) = site.heads
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /head HTTP/1.1"
    assert "User-Agent: kamailio-stirshaken" in lines
    assert "Accept: application/pem-certificate-chain, */*;q=0.5" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.startswith(("Cookie", "Authorization", "Referer")) for line in lines)


def test_path_is_asked_for_octet_for_octet(site: Site, fetch: Fetch) -> None:
    path = "a%2Fb/%7e;x=(1)/../c"
    site.ok(path)
    fetch(site.url(path), site.port)
    assert site.asked == [path]


def test_body_that_ends_with_the_connection_is_a_body(site: Site, fetch: Fetch) -> None:
    url = site.answer("eof", "HTTP/1.0 200 OK\nCache-Control: max-age=5", b"abc")
    assert fetch(url, site.port) == Download(b"abc", "max-age=5")


def test_whatever_the_body_is_it_is_given_back_as_it_came(site: Site, fetch: Fetch) -> None:
    octets = bytes(range(256))
    assert fetch(site.ok("octets", octets), site.port).octets == octets
    assert fetch(site.ok("empty", b""), site.port).octets == b""


def test_cookies_are_not_sent_back(site: Site, rules: Rules) -> None:
    url = site.ok("cookie", b"x", "Set-Cookie: a=b; Path=/")

    async def thrice(fetcher: Fetcher) -> None:
        for _ in range(3):
            await fetcher.fetch(url)

    using(rules(site.port), thrice)
    assert len(site.heads) == 3
    assert not any(b"cookie:" in head.lower() for head in site.heads)


def test_environment_names_no_proxy(site: Site, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{free_port(kind=socket.SOCK_STREAM)}")
    assert fetch(site.ok("x"), site.port) == Download(b"x", "")


# --- One fetch for all who ask ----------------------------------------------------------------------------------


def test_those_who_ask_at_once_share_one_fetch(site: Site, rules: Rules) -> None:
    site.answers["slow"] = after(0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async def together(fetcher: Fetcher) -> list[Any]:
        return [*await asyncio.gather(*(fetcher.fetch(site.url("slow")) for _ in range(20)))]

    assert using(rules(site.port), together) == [Download(b"x", "")] * 20
    assert site.asked == ["slow"]


def test_who_stops_waiting_stops_nobody_else(site: Site, rules: Rules) -> None:
    site.answers["slow"] = after(0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async def one_leaves(fetcher: Fetcher) -> Any:
        first = asyncio.create_task(fetcher.fetch(site.url("slow")))
        second = asyncio.create_task(fetcher.fetch(site.url("slow")))
        await asyncio.sleep(0.02)
        first.cancel()
        found = await second
        assert first.cancelled()
        return found

    assert using(rules(site.port), one_leaves) == Download(b"x", "")
    assert site.asked == ["slow"]


def test_a_strangers_fetch_is_not_the_operators(site: Site, rules: Rules) -> None:
    site.answers["slow"] = after(0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async def both(fetcher: Fetcher) -> list[Any]:
        url = site.url("slow")
        return [*await asyncio.gather(fetcher.fetch(url), fetcher.fetch(url, trusted_by_operator=True))]

    refused, taken = using(rules(site.port, private_addresses=False), both)
    assert token(refused) == "x5u_refused"
    assert taken == Download(b"x", "")


# --- The end ----------------------------------------------------------------------------------------------------


def test_closing_ends_what_is_under_way(site: Site, silent: int, rules: Rules) -> None:
    site.answers["mute"] = mute
    urls = [site.url("mute"), f"https://localhost:{silent}/x"]

    async def close(fetcher: Fetcher) -> list[Any]:
        waiting = [asyncio.create_task(fetcher.fetch(url)) for url in urls]
        await until(lambda: bool(site.asked))
        await fetcher.close()
        assert len(asyncio.all_tasks()) <= 1 + len(waiting)
        return [*await asyncio.gather(*waiting), await fetcher.fetch(urls[0])]

    with at_most(5):
        found = using(rules(site.port, silent, timeout=60.0), close)
    assert [token(one) for one in found] == ["x5u_unreachable"] * 3
    assert all("closed" in one.detail for one in found)


def test_fetcher_that_fetched_nothing_can_be_closed(rules: Rules) -> None:
    async def nothing(fetcher: Fetcher) -> None:
        await fetcher.close()

    using(rules(443), nothing)


# --- Status and redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 429, 500, 503])
def test_anything_but_200_is_a_failure(site: Site, fetch: Fetch, status: int) -> None:
    found = fetch(site.answer("status", f"HTTP/1.1 {status} X\nContent-Length: 0"), site.port)
    assert token(found) == "x5u_http_status"
    assert found.detail == str(status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, fetch: Fetch, status: int) -> None:
    site.ok("target")
    assert token(fetch(site.redirect("moved", "/target", status), site.port)) == "x5u_http_status"
    assert site.asked == ["moved"]


@pytest.mark.parametrize("location", ["/target", "target", "https://LOCALHOST:{port}/target"])
def test_permitted_redirect_is_followed(site: Site, fetch: Fetch, location: str) -> None:
    site.ok("target")
    url = site.redirect("moved", location.format(port=site.port))
    assert fetch(url, site.port, max_redirects=1) == Download(b"x", "")
    assert site.asked == ["moved", "target"]


def test_no_more_redirects_are_followed_than_permitted(site: Site, fetch: Fetch) -> None:
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
        "https://localhost:{port}/target#f",
        "file:///etc/passwd",
    ],
)
def test_target_of_a_redirect_has_to_pass_the_same_rules(site: Site, fetch: Fetch, location: str) -> None:
    site.ok("target")
    url = site.redirect("moved", location.format(port=site.port))
    assert token(fetch(url, site.port, max_redirects=5)) == "x5u_refused"
    assert site.asked == ["moved"]


@pytest.mark.parametrize("location", ["https://[::1/", "https://localhost:99999999/", "//[", "https://\xff\xfe/"])
def test_redirect_to_nonsense_is_a_failure(site: Site, fetch: Fetch, location: str) -> None:
    assert token(fetch(site.redirect("moved", location), site.port, max_redirects=1)) in ("x5u_unreachable", "x5u_refused")
    assert site.asked == ["moved"]


def test_redirect_to_nowhere_is_a_status(site: Site, fetch: Fetch) -> None:
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
def test_url_that_breaks_the_rules_is_not_asked_for(site: Site, fetch: Fetch, url: str) -> None:
    assert token(fetch(url.format(port=site.port), site.port)) == "x5u_refused"
    assert site.asked == []


# --- What the operator trusts -----------------------------------------------------------------------------------


def test_operators_url_may_have_any_port_a_query_and_a_private_address(site: Site, fetch: Fetch) -> None:
    site.ok("list?version=1&x=%20")
    url = site.url("list?version=1&x=%20")
    assert fetch(url, 443, operator=True, private_addresses=False) == Download(b"x", "")
    assert site.asked == ["list?version=1&x=%20"]
    assert token(fetch(url, 443)) == "x5u_refused"


def test_operators_download_may_be_larger(site: Site, fetch: Fetch) -> None:
    url = site.ok("large", b"x" * 100_000)
    assert len(fetch(url, 443, operator=True).octets) == 100_000
    assert token(fetch(url, site.port)) == "x5u_too_large"


def test_operators_download_has_the_limit_that_is_asked_for(site: Site, rules: Rules) -> None:
    url = site.ok("large", b"x" * 101)

    async def limited(fetcher: Fetcher) -> list[Any]:
        return [await fetcher.fetch(url, trusted_by_operator=True, max_bytes=limit) for limit in (100, 101)]

    too_large, fits = using(rules(443), limited)
    assert token(too_large) == "x5u_too_large"
    assert len(fits.octets) == 101


def test_operators_redirects_are_followed_three_times(site: Site, fetch: Fetch) -> None:
    site.ok("target")
    for number in range(3):
        site.redirect(f"moved{number}", f"/moved{number + 1}" if number < 2 else "/target?q")
    site.answers["target?q"] = site.answers["target"]
    assert fetch(site.url("moved0"), 443, operator=True) == Download(b"x", "")
    site.redirect("moved", "/moved0")
    assert token(fetch(site.url("moved"), 443, operator=True)) == "x5u_http_status"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "https://[::1]:{port}/x",
        "https://u@localhost:{port}/x",
        "https://localhost:{port}/x#y",
        "https://localhost:{port}/x?y#z",
        "https://localhost:{port}/x?y z",
        "https://localhost:{port}/x?y\r\nz",
        "https://localhost:{port}/x?\xe9",
        "https://localhost:99999/x",
        "https://localhost:0/x",
        "https://localhost:{port}/x?" + "y" * 3000,
        "https://[::1",
        "",
    ],
)
def test_operators_url_still_has_rules(site: Site, fetch: Fetch, url: str) -> None:
    assert token(fetch(url.format(port=site.port), 443, operator=True)) in ("x5u_refused", "x5u_unreachable")
    assert site.asked == []


def test_denied_address_is_denied_to_the_operator_too(site: Site, fetch: Fetch) -> None:
    found = fetch(site.ok("x"), site.port, operator=True, deny=("127.0.0.0/8", "::1/128"))
    assert token(found) == "x5u_refused"
    assert site.asked == []


def test_connections_of_the_operator_carry_no_strangers(site: Site, rules: Rules) -> None:
    site.keep_alive = True
    url = site.ok("x")

    async def one_after_the_other(fetcher: Fetcher) -> list[Any]:
        trusted = [await fetcher.fetch(url, trusted_by_operator=True) for _ in range(3)]
        return [*trusted, await fetcher.fetch(url)]

    *trusted, stranger = using(rules(site.port, private_addresses=False), one_after_the_other)
    assert trusted == [Download(b"x", "")] * 3
    assert token(stranger) == "x5u_refused"


# --- Too much, too slow, nonsense -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [4095, 4096])
def test_largest_permitted_answer_is_taken(site: Site, fetch: Fetch, length: int) -> None:
    assert len(fetch(site.ok("large", b"x" * length), site.port).octets) == length


CHUNK = b"400\r\n" + b"x" * 1024 + b"\r\n"


def test_larger_answer_is_refused_at_once(site: Site, fetch: Fetch) -> None:
    site.answers["chunked"] = flooding(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK)
    site.answers["endless"] = flooding(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x" * 1024)
    urls = [site.ok("large", b"x" * 4097), site.ok("huge", b"x" * 5_000_000), site.url("chunked"), site.url("endless")]
    with at_most(5):
        found = fetch(urls, site.port, timeout=10.0)
    assert [token(one) for one in found] == ["x5u_too_large"] * 4


def test_announced_size_is_refused_before_it_comes(site: Site, fetch: Fetch) -> None:
    site.answers["announced"] = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n", b"x")
    with at_most(5):
        assert token(fetch(site.url("announced"), site.port, timeout=10.0)) == "x5u_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, identity", "identity\nContent-Encoding: gzip"])
def test_compressed_answer_is_refused_unread(site: Site, fetch: Fetch, encoding: str) -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    assert len(bomb) < 4096
    assert token(fetch(site.ok("gzip", bomb, f"Content-Encoding: {encoding}"), site.port)) == "credential_malformed"


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_answer_that_says_it_is_not_compressed_is_taken(site: Site, fetch: Fetch, encoding: str) -> None:
    assert fetch(site.ok("plain", b"x", f"Content-Encoding: {encoding}"), site.port) == Download(b"x", "")


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
def test_slow_server_is_given_up_at_the_deadline(site: Site, fetch: Fetch, answer: Answer) -> None:
    site.answers["slow"] = answer
    with at_most(2):
        found = fetch(site.url("slow"), site.port, timeout=0.3)
    # A line that is no status line may be seen as nonsense before
    assert token(found) in ("x5u_timeout", "x5u_unreachable")
    if answer is mute:
        assert (found.token, found.detail) == ("x5u_timeout", "0.3 s")


@pytest.mark.parametrize(
    "answer",
    [
        flooding(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10),
        flooding(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000),
        flooding(b"HTTP/1.1 200 ", b"y" * 1000),
        flooding(b"HTTP/1.1 200 OK\r\n", b"y" * 1000),
        saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 65 + b"Content-Length: 1\r\n\r\nx"),
    ],
    ids=["header-lines", "header-value", "status-line", "header-name", "65-headers"],
)
def test_endless_head_is_refused_long_before_the_deadline(site: Site, fetch: Fetch, answer: Answer) -> None:
    site.answers["endless"] = answer
    with at_most(5):
        assert token(fetch(site.url("endless"), site.port, timeout=30.0)) == "x5u_unreachable"


def test_as_many_headers_as_honest_servers_send(site: Site, fetch: Fetch) -> None:
    fields = "\n".join(f"X-{number}: {'y' * 100}" for number in range(40))
    assert fetch(site.ok("headers", b"x", fields), site.port) == Download(b"x", "")


def test_slow_redirects_together_have_one_deadline(site: Site, fetch: Fetch) -> None:
    site.answers["again"] = after(0.2, b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    with at_most(1):
        assert token(fetch(site.url("again"), site.port, max_redirects=5)) == "x5u_timeout"


def test_server_that_never_says_a_word_is_given_up_at_the_deadline(silent: int, fetch: Fetch) -> None:
    with at_most(2):
        assert token(fetch(f"https://localhost:{silent}/x", silent)) == "x5u_timeout"


def test_nobody_at_the_port(fetch: Fetch) -> None:
    port = free_port(kind=socket.SOCK_STREAM)
    with at_most(TIMEOUT):
        assert token(fetch(f"https://localhost:{port}/x", port)) == "x5u_unreachable"


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
def test_nonsense_is_a_failure(site: Site, fetch: Fetch, answer: Answer) -> None:
    site.answers["nonsense"] = answer
    with at_most(2):
        found = fetch(site.url("nonsense"), site.port)
    assert token(found) == "x5u_unreachable"
    assert len(found.detail) <= 300


def test_plain_http_at_the_port_is_a_failure(fetch: Fetch) -> None:
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


@pytest.mark.parametrize(
    ("misbehaviour", "expected"),
    [
        (Misbehaviour(body=b"x" * 5000), "x5u_too_large"),
        (Misbehaviour(body=b"x" * 5000, length=None), "x5u_too_large"),
        (Misbehaviour(body=b"x" * 100, length=5000), "x5u_too_large"),
        (Misbehaviour(endless="body"), "x5u_too_large"),
        (Misbehaviour(endless="head"), "x5u_unreachable"),
        (Misbehaviour(body=b"x" * 100, length=200), "x5u_unreachable"),
        (Misbehaviour(body=b"x" * 100, length=50), "x5u_unreachable"),
        (Misbehaviour(body=b"x" * 100, reset=50), "x5u_unreachable"),
        (Misbehaviour(body=b"x" * 100, reset=0), "x5u_unreachable"),
        (Misbehaviour(raw=b"\x16\x03\x01 who are you?\r\n\r\n"), "x5u_unreachable"),
        (Misbehaviour(0), "x5u_unreachable"),
        (Misbehaviour(delay=FOREVER), "x5u_timeout"),
        (Misbehaviour(pause=FOREVER, body=b"x"), "x5u_timeout"),
        (Misbehaviour(drip=50, body=b"x" * 1000), "x5u_timeout"),
        (Misbehaviour(drip=50, drip_head=True, body=b"x"), "x5u_timeout"),
        (Misbehaviour(status=999), "x5u_http_status"),
    ],
    ids=[
        "too large",
        "too large, no length",
        "announced",
        "endless body",
        "endless head",
        "length too large",
        "length too small",
        "reset in the body",
        "reset after the head",
        "garbage",
        "dropped",
        "stalled before the head",
        "stalled after the head",
        "dripping body",
        "dripping head",
        "status",
    ],
)
def test_misbehaving_repository(
    hierarchy: Hierarchy, fetch: Fetch, tmp_path: Path, misbehaviour: Misbehaviour, expected: str
) -> None:
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.answers["x"] = misbehaviour
        repository.chains["fine"] = b"fine"
        with at_most(5):
            found, fine = fetch([repository.url("x"), repository.url("fine")], repository.port)
    assert token(found) == expected
    assert fine.octets == b"fine"


# --- Places and the circuit breaker -----------------------------------------------------------------------------


def test_one_host_gets_no_more_connections_than_permitted(site: Site, fetch: Fetch) -> None:
    for number in range(9):
        site.answers[str(number)] = after(0.03, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    found = fetch([site.url(str(number)) for number in range(9)], site.port, max_concurrent_per_host=3, timeout=5.0)
    assert found == [Download(b"x", "")] * 9
    assert site.most == 3


def test_all_hosts_together_get_no_more_connections_than_permitted(site: Site, names: NameServer, fetch: Fetch) -> None:
    site.answers["x"] = after(0.03, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    hosts = [f"h{number}.{HOST}" for number in range(9)]
    names.names.update({host: [["127.0.0.1"]] for host in hosts})
    urls = [site.url("x", host) for host in hosts]
    found = fetch(urls, site.port, max_concurrent=2, timeout=5.0, dns_servers=(names.address,))
    assert found == [Download(b"x", "")] * 9
    assert site.most == 2


def test_waiting_for_a_place_ends_at_the_deadline(site: Site, fetch: Fetch) -> None:
    site.answers.update(dict.fromkeys(("a", "b"), mute))
    with at_most(2):
        found = fetch([site.url("a"), site.url("b")], site.port, max_concurrent_per_host=1)
    assert [token(one) for one in found] == ["x5u_timeout"] * 2
    assert site.asked == ["a"]


def test_queue_at_one_host_keeps_nobody_from_another(site: Site, silent: int, fetch: Fetch) -> None:
    urls = [*(f"https://localhost:{silent}/{number}" for number in range(50)), site.ok("healthy")]
    with at_most(4):
        found = fetch(urls, site.port, silent, max_concurrent=8, max_concurrent_per_host=3, timeout=1.5)
    assert found[-1] == Download(b"x", "")
    assert {token(one) for one in found[:-1]} == {"x5u_timeout"}


def failing_then_asked_again(fetcher: Fetcher, url: str, times: int) -> Awaitable[list[Any]]:
    async def again() -> list[Any]:
        return [await fetcher.fetch(url) for _ in range(times)]

    return again()


@pytest.mark.parametrize(
    "answer",
    [mute, reset, saying(b"garbage\r\n\r\n")],
    ids=["timeout", "reset", "garbage"],
)
def test_host_that_failed_again_and_again_is_left_alone(site: Site, rules: Rules, answer: Answer) -> None:
    site.answers["x"] = answer
    changes = {"breaker_failures": 3, "timeout": 0.1}
    found = using(rules(site.port, **changes), lambda fetcher: failing_then_asked_again(fetcher, site.url("x"), 5))
    assert len(site.asked) == (6 if answer is reset else 3)  # aiohttp asks again, once, who hung up on it
    assert [token(one) for one in found[3:]] == ["x5u_unreachable"] * 2
    assert all("circuit breaker open" in one.detail for one in found[3:])


@pytest.mark.parametrize(
    "answer",
    [
        saying(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"),
        saying(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"),  # of one URL, it may be
        saying(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["404", "503", "redirect", "too-large", "compressed"],
)
def test_host_that_answers_is_asked_again(site: Site, rules: Rules, answer: Answer) -> None:
    site.answers["x"] = answer
    using(rules(site.port, breaker_failures=2), lambda fetcher: failing_then_asked_again(fetcher, site.url("x"), 5))
    assert len(site.asked) == 5


def test_any_answer_ends_a_row_of_failures(site: Site, rules: Rules) -> None:
    site.answers.update({"bad": reset, "missing": saying(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")})
    site.ok("x")

    async def mixed(fetcher: Fetcher) -> Any:
        for path in ("bad", "missing", "bad"):
            await fetcher.fetch(site.url(path))
        return await fetcher.fetch(site.url("x"))

    assert using(rules(site.port, breaker_failures=2), mixed) == Download(b"x", "")


def test_one_tries_after_the_pause_and_opens_the_way_for_all(site: Site, rules: Rules) -> None:
    async def recover(fetcher: Fetcher) -> list[Any]:
        site.answers["x"] = reset
        for _ in range(2):
            await fetcher.fetch(site.url("x"))
        site.ok("x")
        assert "circuit breaker" in (await fetcher.fetch(site.url("x"))).detail  # type: ignore[union-attr]
        ends = time.monotonic() + 5
        while not isinstance(await fetcher.fetch(site.url("x")), Download):
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
        return [await fetcher.fetch(site.url("x")) for _ in range(3)]

    found = using(rules(site.port, breaker_failures=2, breaker_seconds=0.2), recover)
    assert found == [Download(b"x", "")] * 3


def test_other_port_of_the_host_is_another_host(site: Site, rules: Rules) -> None:
    port = free_port(kind=socket.SOCK_STREAM)

    async def both(fetcher: Fetcher) -> list[Any]:
        for _ in range(3):
            await fetcher.fetch(f"https://localhost:{port}/x")
        urls = [f"https://LOCALHOST:{port}/x", f"https://localhost.:{port}/y", site.ok("x")]
        return [await fetcher.fetch(url) for url in urls]

    *dead, fine = using(rules(site.port, port, breaker_failures=2), both)
    assert all("circuit breaker" in one.detail for one in dead)
    assert fine == Download(b"x", "")


def test_who_waited_for_a_place_in_vain_blames_nobody(site: Site, names: NameServer, rules: Rules) -> None:
    site.answers["mute"] = mute
    hosts = [f"h{number}.{HOST}" for number in range(2)]
    names.names.update({host: [["127.0.0.1"]] for host in hosts})

    async def crowd(fetcher: Fetcher) -> Any:
        await asyncio.gather(*(fetcher.fetch(site.url("mute", host)) for host in hosts))
        return await fetcher.fetch(site.url("x", hosts[1]))

    site.ok("x")
    changes = {"breaker_failures": 1, "max_concurrent": 1, "dns_servers": (names.address,)}
    assert using(rules(site.port, **changes), crowd) == Download(b"x", "")


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unknown CA", "wrong name", "expired"])
def test_web_server_has_to_show_a_good_certificate(hierarchy: Hierarchy, fetch: Fetch, tmp_path: Path, fault: str) -> None:
    past = Hierarchy(time.time() - 40 * 86400)  # its web server's certificate ended ten days ago, its root did not
    identity = {
        "unknown CA": Hierarchy(time.time()).web_server(["localhost"]),
        "wrong name": hierarchy.web_server(["other.example.test"]),
        "expired": past.web_server(["localhost"]),
    }[fault]
    (tmp_path / "ca.pem").write_bytes(hierarchy.root.pem + past.root.pem)
    with Repository(tmp_path / "repository", identity) as repository:
        found = fetch(repository.url("x"), repository.port, tls_ca_file=tmp_path / "ca.pem")
        assert token(found) == "x5u_unreachable"
        assert "certificate" in found.detail.lower()
        assert repository.asked == []


def test_name_in_the_certificate_is_compared_with_the_url(site: Site, names: NameServer, fetch: Fetch) -> None:
    names.names["evil.test"] = [["127.0.0.1"]]
    found = fetch(site.url("x", "evil.test"), site.port, dns_servers=(names.address,))
    assert token(found) == "x5u_unreachable"
    assert "certificate" in found.detail.lower()
    assert site.asked == []


def test_systems_roots_do_not_know_a_laboratory(site: Site, fetch: Fetch) -> None:
    assert token(fetch(site.ok("x"), site.port, tls_ca_file=None)) == "x5u_unreachable"
    assert site.asked == []


def test_fetcher_without_its_roots_is_not_made(cafile: Path) -> None:
    rules = FetchRules(TIMEOUT, 4096, 0, cafile.with_name("none.pem"), True, X5uRules())
    with pytest.raises(OSError, match="No such file"):
        Fetcher(rules)


@pytest.mark.parametrize("words", [{"permit": ("x",)}, {"deny": ("10.0.0.0/40",)}, {"dns_servers": ("x",)}])
def test_fetcher_with_wrong_rules_is_not_made(rules: Rules, words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"does not appear|no address"):
        Fetcher(rules(443, **words))


# --- Addresses --------------------------------------------------------------------------------------------------


def test_loopback_is_refused_unless_permitted(site: Site, fetch: Fetch) -> None:
    url = site.ok("x")
    found = fetch(url, site.port, private_addresses=False)
    assert token(found) == "x5u_refused"
    assert site.asked == []
    assert fetch(url, site.port) == Download(b"x", "")
    assert fetch(url, site.port, private_addresses=False, permit=("127.0.0.0/8", "::1/128")) == Download(b"x", "")
    assert token(fetch(url, site.port, deny=("127.0.0.0/8",))) == "x5u_refused"


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "::1"]]
)
def test_name_of_a_private_address_is_refused(site: Site, names: NameServer, fetch: Fetch, addresses: list[str]) -> None:
    names.names[HOST] = [addresses]
    site.ok("x")
    found = fetch(site.url("x", HOST), site.port, private_addresses=False, dns_servers=(names.address,))
    assert token(found) == "x5u_refused"
    assert (site.asked, site.made) == ([], 0)


def test_redirect_to_a_private_address_is_refused(site: Site, names: NameServer, fetch: Fetch) -> None:
    names.names.update({HOST: [["127.0.0.1"]], f"inside.{HOST}": [["127.0.0.2"]]})
    site.ok("target")
    site.redirect("moved", site.url("target", f"inside.{HOST}"))
    changes = {"private_addresses": False, "permit": ("127.0.0.1",), "max_redirects": 1, "dns_servers": (names.address,)}
    assert token(fetch(site.url("moved", HOST), site.port, **changes)) == "x5u_refused"
    assert site.asked == ["moved"]


def test_name_is_looked_up_once_for_a_connection(site: Site, names: NameServer, fetch: Fetch) -> None:
    # A second look-up would find what is refused
    names.names[HOST] = [["127.0.0.1"], ["127.0.0.2"]]
    site.ok("x")
    changes = {"private_addresses": False, "permit": ("127.0.0.1",), "dns_servers": (names.address,)}
    assert fetch(site.url("x", HOST), site.port, **changes) == Download(b"x", "")
    assert names.asked.count((HOST, "A")) == 1


def test_new_connection_looks_the_name_up_anew(site: Site, names: NameServer, rules: Rules) -> None:
    names.names[HOST] = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]]
    site.ok("x")

    async def thrice(fetcher: Fetcher) -> list[Any]:
        return [await fetcher.fetch(site.url("x", HOST)) for _ in range(3)]

    changes = {"private_addresses": False, "permit": ("127.0.0.1",), "dns_servers": (names.address,)}
    *good, rebound = using(rules(site.port, **changes), thrice)
    assert good == [Download(b"x", "")] * 2
    assert token(rebound) == "x5u_refused"
    assert len(site.asked) == 2


def test_kept_connection_goes_where_it_always_went(site: Site, names: NameServer, rules: Rules) -> None:
    site.keep_alive = True
    names.names[HOST] = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]]
    site.ok("x")

    async def often(fetcher: Fetcher) -> list[Any]:
        return [await fetcher.fetch(site.url("x", HOST)) for _ in range(6)]

    changes = {"private_addresses": False, "permit": ("127.0.0.1",), "dns_servers": (names.address,)}
    assert using(rules(site.port, **changes), often) == [Download(b"x", "")] * 6
    assert site.made == 2  # the first time the host was unknown; what it made then was not kept


def test_refused_address_opens_no_breaker(site: Site, names: NameServer, rules: Rules) -> None:
    names.names[HOST] = [["127.0.0.2"], ["127.0.0.2"], ["127.0.0.1"]]
    site.ok("x")
    changes = {"private_addresses": False, "permit": ("127.0.0.1",), "dns_servers": (names.address,), "breaker_failures": 1}
    found = using(rules(site.port, **changes), lambda fetcher: failing_then_asked_again(fetcher, site.url("x", HOST), 3))
    assert [token(one) for one in found[:2]] == ["x5u_refused"] * 2
    assert found[2] == Download(b"x", "")


def test_name_that_does_not_resolve_is_unreachable(names: NameServer, fetch: Fetch) -> None:
    for private in (True, False):
        found = fetch(f"https://{HOST}/x", 443, private_addresses=private, dns_servers=(names.address,))
        assert token(found) == "x5u_unreachable"


def test_silent_name_servers_neither_outlast_the_deadline_nor_delay_others(site: Site, names: NameServer, fetch: Fetch) -> None:
    # Whoever sends the call owns the name server
    names.silent.add("invalid")
    names.names[HOST] = [["127.0.0.1"]]
    site.ok("x")
    slow = [f"https://slow{number}.invalid/x" for number in range(40)]
    with at_most(2):
        found = fetch([*slow, site.url("x", HOST)], 443, site.port, dns_servers=(names.address,))
    assert {token(one) for one in found[:-1]} == {"x5u_timeout"}
    assert found[-1] == Download(b"x", "")
