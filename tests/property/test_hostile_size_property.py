"""Hostile size: whatever is read of a peer is read in linear time. Each case is some 1,000 times what an honest peer sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.lifetime import LifetimeRules, lifetime
from kamailio_app.credentials.tnauthlist import decode
from kamailio_app.credentials.x5u import DEFAULT_RULES, check_x5u
from kamailio_app.errors import StirError
from kamailio_app.grammar import printable
from kamailio_app.identity import MAX_FIELD_OCTETS, parse_identity, split_values
from kamailio_app.passport.encoding import json_object
from kamailio_app.sip import Party, caller, parse_date, party, uris, with_verstat, without_verstat
from kamailio_app.tn import canonical_tn

from .support import INVITE, good, provider, replace, verify

SECOND = 1.0
GOOD = good().identity


def _duration(function: Callable[[], object]) -> float:
    begin = time.process_time()
    with suppress(StirError):
        function()
    return time.process_time() - begin


def _fill(pattern: str, size: int) -> str:
    return (pattern * (size // len(pattern) + 1))[:size]


PATTERNS = [
    "a", ";", ",", " ", "\t", "<", ">", "<>", '"', '\\"', "\\", ".", "..", "=", "\r\n ", "\n", " \n", "\0", "@", ":", "%", "%2",
    "a.b.c,", 'a"', '"a', "a<", ";a", ";a=", ';a="', ";a=<", ";info=<", ";info=<a>", "a;", "a,", "a, ", '",', "<,", ";;",
    "sip:", "sip:1", "sip:1;", "tel:", "tel:1", "tel:1;", ";verstat", ";verstat=", "verstat ", "; ", ";verstat verstat",
    "phone-context=", ";phone-context=+", "(0)", "1", "+", "-", "#", "max-age=", "max-age ", "https://", "a.", "[", "{",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_megabyte_as_identity_field_is_judged_within_a_second(pattern: str) -> None:
    megabyte = _fill(pattern, 1 << 20)
    for field in (megabyte, f"{GOOD}{megabyte}", f"{GOOD},{megabyte}"):
        assert _duration(lambda field=field: verify(field)) < SECOND  # type: ignore[misc]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_largest_field_that_is_read_is_judged_in_a_hundredth_of_it(pattern: str) -> None:
    """Ten fields of 16 kB: what fits into the largest request."""
    digest = GOOD.partition(";")[0]
    for head in ("", ",", GOOD, f"{GOOD},", f"{digest};info=<", f'{digest};a="', f"{digest} ", "x"):
        for tail in ("", "x", '"', ">", "\r\n x"):
            field = head + _fill(pattern, MAX_FIELD_OCTETS - len(head) - len(tail)) + tail
            assert _duration(lambda field=field: verify(field)) < SECOND / 20  # type: ignore[misc]


def test_hundred_thousand_semicolons_and_commas_and_brackets() -> None:
    for field in (";" * 100000, "," * 100000, f"{GOOD}," * 1000, "<" * 10000 + ">" * 10000, '{"a":' * 10000):
        assert _duration(lambda field=field: verify(field)) < SECOND  # type: ignore[misc]
        assert _duration(lambda field=field: split_values(field)) < SECOND  # type: ignore[misc]
        assert _duration(lambda field=field: parse_identity(field)) < SECOND  # type: ignore[misc]


def test_ten_thousand_fields() -> None:
    assert _duration(lambda: verify(*[GOOD] * 10000)) < SECOND
    assert verify(*[GOOD] * 10000).token == "identity_too_many"


def test_nesting_in_json_is_refused_in_time() -> None:
    for payload in (b"[" * 100000, b'{"a":' * 100000, b'{"a":[' * 50000, b"[" * 10000 + b"]" * 10000):
        with pytest.raises(StirError) as caught:
            json_object(payload)
        assert caught.value.token == "passport_malformed"
        assert _duration(lambda payload=payload: json_object(payload)) < SECOND  # type: ignore[misc]


READERS: list[Callable[[str], object]] = [
    party,
    uris,
    canonical_tn,
    parse_date,
    without_verstat,
    lambda text: with_verstat(text, "No-TN-Validation", Party("tn", "1")),
    lambda text: check_x5u(text, DEFAULT_RULES),
    lambda text: lifetime(text, LifetimeRules()),
    printable,
    lambda text: caller(replace(INVITE, asserted=(text,)), "pai"),
    lambda text: parse_chain(text.encode()),
    lambda text: decode(text.encode()),
    lambda text: json_object(text.encode()),
]
NAMES = (
    "party uris canonical_tn parse_date without_verstat with_verstat check_x5u lifetime printable caller chain tnauthlist json"
)


@pytest.mark.parametrize("reader", READERS, ids=NAMES.split())
def test_largest_datagram_is_read_in_a_fraction_of_a_second(reader: Callable[[str], object]) -> None:
    for pattern in PATTERNS:
        for head in ("", "sip:", "tel:", '"', "<", "sip:1@", "tel:1;", "https://", ","):
            for tail in ("", "x", '"'):
                text = head + _fill(pattern, 1 << 16) + tail
                assert _duration(lambda text=text: reader(text)) < SECOND / 4, (pattern, head, tail)  # type: ignore[misc]


def test_thousand_certificates_are_refused_within_a_second() -> None:
    assert _duration(lambda: parse_chain(provider().pem * 1000)) < SECOND
