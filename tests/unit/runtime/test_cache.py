"""Validated credentials in this process, and the text that all processes share."""

from __future__ import annotations

import pytest

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.cache import CredentialCache, Fetched

from ..builders import DAY, NOW, X5U, credential, provider

PEM = provider().chain_pem.decode()


def test_nothing_is_known_at_first() -> None:
    cache = CredentialCache(10)
    assert cache.get(X5U, NOW) is None
    assert len(cache) == 0


def test_credential_is_kept_until_it_expires() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10, now=NOW)
    assert cache.get(X5U, NOW) is credential()
    assert cache.get(X5U, NOW + 9.9) is credential()
    assert cache.get(X5U, NOW + 10) is None


def test_what_has_expired_is_forgotten() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10, now=NOW)
    assert cache.get(X5U, NOW + 10) is None
    assert len(cache) == 0
    assert cache.get(X5U, NOW) is None


@pytest.mark.parametrize(("back", "kept"), [(0, True), (0.9, True), (1, True), (1.1, False), (3600, False), (DAY, False)])
def test_what_was_put_there_by_a_clock_that_was_set_back_is_forgotten(back: float, kept: bool) -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10, now=NOW)
    assert (cache.get(X5U, NOW - back) is not None) is kept
    assert len(cache) == kept


def test_failure_is_remembered_too() -> None:
    cache = CredentialCache(10)
    error = failure("x5u_timeout")
    cache.put(X5U, error, NOW + 15, now=NOW)
    assert cache.get(X5U, NOW) is error


def test_later_value_replaces_the_former() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, failure("x5u_timeout"), NOW + 15, now=NOW)
    cache.put(X5U, credential(), NOW + 100, now=NOW)
    assert cache.get(X5U, NOW + 50) is credential()
    assert len(cache) == 1


def test_urls_are_told_apart_octet_for_octet() -> None:
    cache = CredentialCache(10)
    cache.put(X5U, credential(), NOW + 10, now=NOW)
    assert cache.get(X5U.upper(), NOW) is None


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = CredentialCache(2)
    cache.put("a", credential(), NOW + 10, now=NOW)
    cache.put("b", credential(), NOW + 10, now=NOW)
    assert cache.get("a", NOW)
    cache.put("c", credential(), NOW + 10, now=NOW)
    assert len(cache) == 2
    assert cache.get("b", NOW) is None
    assert cache.get("a", NOW)
    assert cache.get("c", NOW)


def test_strangers_cannot_make_it_grow() -> None:
    for value in (credential(), failure("x5u_timeout")):
        cache = CredentialCache(5)
        for number in range(1000):
            cache.put(f"https://h/{number}", value, NOW + 10, now=NOW)
        assert len(cache) == 5


def test_failures_displace_no_credentials() -> None:
    cache = CredentialCache(2)
    cache.put("good", credential(), NOW + 10, now=NOW)
    for number in range(100):
        cache.put(f"https://h/{number}", failure("x5u_timeout"), NOW + 10, now=NOW)
    assert (len(cache), cache.get("good", NOW)) == (3, credential())
    # Nor do credentials displace failures
    cache.put("other", credential(), NOW + 10, now=NOW)
    assert isinstance(cache.get("https://h/99", NOW), StirError)


@pytest.mark.parametrize("last", [credential(), failure("x5u_timeout")], ids=["credential", "failure"])
def test_url_has_a_credential_or_a_failure_and_never_both(last: Credential | StirError) -> None:
    cache = CredentialCache(10)
    for value in (credential(), failure("credential_untrusted"), last):
        cache.put(X5U, value, NOW + 10, now=NOW)
    assert (len(cache), cache.get(X5U, NOW)) == (1, last)
    assert cache.get(X5U, NOW + 10) is None
    assert len(cache) == 0


# --- Renewal ----------------------------------------------------------------------------------------------------


def test_entry_that_is_used_when_it_ends_soon_is_to_be_renewed_once() -> None:
    told: list[str] = []
    cache = CredentialCache(10, told.append)
    cache.put(X5U, credential(), NOW + 100, now=NOW, renew_at=NOW + 90)
    assert cache.get(X5U, NOW + 89.9) is credential()
    assert told == []
    for _ in range(3):
        assert cache.get(X5U, NOW + 90) is credential()
    assert told == [X5U]
    # The next one is another entry
    cache.put(X5U, credential(), NOW + 200, now=NOW + 100, renew_at=NOW + 190)
    cache.get(X5U, NOW + 190)
    assert told == [X5U, X5U]


def test_entry_that_nobody_uses_is_not_renewed() -> None:
    told: list[str] = []
    cache = CredentialCache(10, told.append)
    cache.put(X5U, credential(), NOW + 100, now=NOW, renew_at=NOW + 90)
    cache.put("other", credential(), NOW + 100, now=NOW)
    for moment in (NOW + 10, NOW + 95):
        cache.get("other", moment)
    assert cache.get(X5U, NOW + 100) is None  # too late: it is fetched as if it had never been there
    assert told == []


@pytest.mark.parametrize("renew_at", [0, float("inf")])
def test_entry_without_a_moment_for_it_is_not_renewed(renew_at: float) -> None:
    told: list[str] = []
    cache = CredentialCache(10, told.append)
    cache.put(X5U, credential(), NOW + 100, now=NOW, renew_at=renew_at)
    assert cache.get(X5U, NOW + 99) is credential()
    assert told == []


# --- Other trust ------------------------------------------------------------------------------------------------


def test_failures_are_forgotten_and_what_is_still_good_stays() -> None:
    cache = CredentialCache(10)
    cache.put("good", credential(), NOW + 10, now=NOW)
    cache.put("failed", failure("credential_untrusted"), NOW + 10, now=NOW)
    cache.keep(lambda kept: kept is credential())
    assert (cache.get("good", NOW), cache.get("failed", NOW)) == (credential(), None)
    cache.keep(lambda _kept: False)
    assert len(cache) == 0


# --- The text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fetched",
    [
        Fetched(NOW, pem=PEM),
        Fetched(NOW, pem=PEM, renew_at=NOW - 5),
        Fetched(NOW, token="x5u_timeout"),
        Fetched(NOW, token="x5u_timeout", generation="-7:12"),
        Fetched(NOW, token="x5u_timeout", generation="1:2", detail="some words: of the log"),
        Fetched(0),
        Fetched(NOW, pem="a b\nc"),
    ],
)
def test_shared_text_there_and_back(fetched: Fetched) -> None:
    assert Fetched.from_text(fetched.to_text()) == fetched


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        "x 0 - PEM",
        "-1 0 - PEM",
        "1.5 0 - PEM",
        "1700000000",
        "1700000000 - PEM",
        "1700000000 x - PEM",
        "1700000000 -1 - PEM",
        "1700000000  - PEM",
        f"{'9' * 13} 0 - PEM",
        "1700000000 0 no_such_token 0:0",
        "1700000000 0 x5u_timeout ",
        "1700000000 0 x5u_timeout 0",
        "1700000000 0 x5u_timeout 0:-1",
        "1700000000 0 x5u_timeout  0:0",
        "1700000000 0 x5u_timeout 0:0:0 words",
        "1700000000 0  PEM",
        "- - - -",
    ],
)
def test_shared_text_that_is_not_ours_is_none(text: str) -> None:
    assert Fetched.from_text(text) is None


def test_shared_failure_is_an_error_of_its_class() -> None:
    error = Fetched(NOW, token="credential_untrusted", detail="no path").error()
    assert error is not None
    assert (error.token, error.code, error.detail) == ("credential_untrusted", 437, "no path")
    assert Fetched(NOW, pem=PEM).error() is None
