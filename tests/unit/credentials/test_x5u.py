"""Which x5u URLs are dereferenced."""

from __future__ import annotations

from time import perf_counter

import pytest

from kamailio_app.credentials.x5u import DEFAULT_RULES, MAX_URL_OCTETS, X5uRules, check_x5u
from kamailio_app.errors import BadIdentityInfo

from ..builders import refused


@pytest.mark.parametrize(
    "url",
    [
        "https://cr.example.test/1234/chain.pem",
        "https://cr.example.test",
        "https://cr.example.test/",
        "https://cr.example.test:443/a",
        "https://cr.example.test:8443/a",
        "HTTPS://CR.Example.Test/a",
        "https://cr.example.test./a",
        "https://xn--mgba3a4f16a.xn--p1ai/a",
        "https://1e100.net/a",
        "https://a/b//c/../d;e=f,g:@!$&'()*+~",
        "https://" + ".".join(["a" * 63] * 3) + "/a",
        "https://localhost/a",
    ],
)
def test_https_urls_with_a_host_name_are_fetched(url: str) -> None:
    check_x5u(url, DEFAULT_RULES)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "http://cr.example.test/a",
        "ftp://cr.example.test/a",
        "file:///etc/passwd",
        "data:,x",
        "https:cr.example.test/a",
        "https:/cr.example.test/a",
        "https://",
        "https:///a",
        "https://user@cr.example.test/a",
        "https://user:pw@cr.example.test/a",
        "https://cr.example.test@10.0.0.1/a",
        "https://cr.example.test/a?b=c",
        "https://cr.example.test/a?",
        "https://cr.example.test?b",
        "https://cr.example.test/a#b",
        "https://cr.example.test#",
        "https://cr.example.test:80/a",
        "https://cr.example.test:0/a",
        "https://cr.example.test:/a",
        "https://cr.example.test:443443/a",
        "https://cr.example.test:4 43/a",
        "https://cr.example.test:+443/a",
        "https://cr.example.test:443:443/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://2130706433/a",
        "https://0x7f.0.0.0x1/a",
        "https://0x7f000001/a",
        "https://0177.0.0.1/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]:443/a",
        "https://cr..example.test/a",
        "https://.example.test/a",
        "https://-cr.example.test/a",
        "https://cr-.example.test/a",
        "https://cr_x.example.test/a",
        "https://" + "a" * 64 + ".test/a",
        "https://" + ".".join(["a" * 63] * 4) + "/a",
        "https://cr%2eexample.test/a",
        "https://cr.example.test\\@evil.test/a",
        "https://cr.example.test/a b",
        "https://cr.example.test/a\r\nHost: evil",
        "https://cr.example.test/a\x00",
        "https://cr.example.test/\u00e9",
        "https://cr.example.test/a\n",
        "https://\uff43r.example.test/a",
        "https://cr.example.test:\u0664\u0664\u0663/a",
        "https://cr.example.test/" + "a" * MAX_URL_OCTETS,
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    for _ in range(2):  # also at the second look
        with refused("x5u_refused"):
            check_x5u(url, DEFAULT_RULES)


def test_detail_says_what_is_wrong() -> None:
    with pytest.raises(BadIdentityInfo, match="userinfo"):
        check_x5u("https://user@cr.example.test/a", DEFAULT_RULES)


def test_host_names_have_at_most_253_characters() -> None:
    host = ".".join(["a" * 63] * 3) + "." + "a" * 61
    check_x5u(f"https://{host}/a", DEFAULT_RULES)
    with refused("x5u_refused"):
        check_x5u(f"https://{host}a/a", DEFAULT_RULES)


def test_ports_are_the_operators_choice() -> None:
    rules = X5uRules(frozenset({8444}))
    check_x5u("https://cr.example.test:8444/a", rules)
    with refused("x5u_refused"):
        check_x5u("https://cr.example.test/a", rules)
    with refused("x5u_refused"):
        check_x5u("https://cr.example.test:8444/a", DEFAULT_RULES)


def test_the_longest_url_is_accepted() -> None:
    head = "https://cr.example.test/"
    check_x5u(head + "a" * (MAX_URL_OCTETS - len(head)), DEFAULT_RULES)


@pytest.mark.parametrize("piece", ["a", "a.", "a-", ".", "-", ":", "/", "?", "#", "@", "1", "1."])
def test_every_url_is_judged_in_bounded_time(piece: str) -> None:
    url = "https://" + (piece * MAX_URL_OCTETS)[: MAX_URL_OCTETS - 9] + "_"
    began = perf_counter()
    with refused("x5u_refused"):
        check_x5u(url, DEFAULT_RULES)
    assert perf_counter() - began < 0.1
