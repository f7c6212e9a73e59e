"""Validated credentials in this process, and the text that all processes share."""

from __future__ import annotations

import pytest

from kamailio_app.errors import failure
from kamailio_app.runtime.cache import CredentialCache, Fetched

from ..builders import NOW, X5U, credential, provider

PEM = provider().chain_pem.decode()


def test_nothing_is_known_at_first() -> None:
    cache = CredentialCache(10)
    assert cache.get(X5U, NOW) is None
    assert len(cache) == 0


def test_credential_is_kept_until_it_expires() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10)
    assert cache.get(X5U, NOW) is credential()
    assert cache.get(X5U, NOW + 9.9) is credential()
    assert cache.get(X5U, NOW + 10) is None


def test_what_has_expired_is_forgotten() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10)
    assert cache.get(X5U, NOW + 10) is None
    assert len(cache) == 0
    assert cache.get(X5U, NOW) is None


def test_failure_is_remembered_too() -> None:
    cache = CredentialCache(10)
    error = failure("x5u_timeout")
    cache.put(X5U, error, NOW + 15)
    assert cache.get(X5U, NOW) is error


def test_later_value_replaces_the_former() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, failure("x5u_timeout"), NOW + 15)
    cache.put(X5U, credential(), NOW + 100)
    assert cache.get(X5U, NOW + 50) is credential()
    assert len(cache) == 1


def test_urls_are_told_apart_octet_for_octet() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10)
    assert cache.get(X5U.upper(), NOW) is None


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = CredentialCache(2)
    cache.put("a", credential(), NOW + 10)
    cache.put("b", credential(), NOW + 10)
    assert cache.get("a", NOW)
    cache.put("c", credential(), NOW + 10)
    assert len(cache) == 2
    assert cache.get("b", NOW) is None
    assert cache.get("a", NOW)
    assert cache.get("c", NOW)


def test_strangers_cannot_make_it_grow() -> None:
    cache = CredentialCache(5)
    for number in range(1000):
        cache.put(f"https://h/{number}", credential(), NOW + 10)
    assert len(cache) == 5


@pytest.mark.parametrize(
    "fetched", [Fetched(NOW, pem=PEM), Fetched(NOW, token="x5u_timeout"), Fetched(0), Fetched(NOW, pem="a b\nc")]
)
def test_shared_text_there_and_back(fetched: Fetched) -> None:
    assert Fetched.from_text(fetched.to_text()) == fetched


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        "x - PEM",
        "-1 - PEM",
        "1.5 - PEM",
        "1700000000",
        "1700000000 no_such_token ",
        "1700000000  PEM",
        "- - -",
    ],
)
def test_shared_text_that_is_not_ours_is_none(text: str) -> None:
    assert Fetched.from_text(text) is None


def test_shared_failure_is_an_error_of_its_class() -> None:
    error = Fetched(NOW, token="credential_untrusted").error()
    assert error is not None
    assert (error.token, error.code) == ("credential_untrusted", 437)
    assert Fetched(NOW, pem=PEM).error() is None
