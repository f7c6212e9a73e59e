"""Conditions as bit masks."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.policy.masks import MASKS, Networks, address

OTHERS = 0b1000  # a rule that does not ask


def accepts(name: str, wanted: Any, value: Any) -> bool:
    mask = MASKS[name](OTHERS, [(1, [wanted])])(value)
    assert mask in (OTHERS, OTHERS | 1)
    return mask != OTHERS


@pytest.mark.parametrize(
    ("name", "wanted", "value", "fits"),
    [
        ("port", 5060, 5060, True),
        ("port", 5060, 5061, False),
        ("transport", "tls", "tls", True),
        ("transport", "tls", "", False),
        ("emergency", True, True, True),
        ("emergency", True, False, False),
        ("asked", "A", "A", True),
        ("asked", "A", "", False),
        ("asked", "none", "", True),
        ("asked", "none", "none", False),
        ("caller_in", "own", "own", True),
        ("trunk", "a", "a", True),
        ("trunk", "a", "ab", False),
        ("trunk", "a*", "ab", True),
        ("trunk", "a*", "a", True),
        ("trunk", "a*", "b", False),
        ("trunk", "a*", "", False),
        ("trunk", "*", "x", True),
        ("trunk", "*", "", False),
        ("trunk", "anonymous", "", False),
        ("trunk", "1-2", "1-2", True),
        ("trunk", "1-2", "1", False),
        ("tls_peer", "SBC.example*", "sbc.EXAMPLE.net", True),
        ("tls_peer", "sbc", "sbc2", False),
        ("tls_peer", "sbc", "other SBC", True),  # either name will do
        ("tls_peer", "sbc*", "other sbc2", True),
        ("tls_peer", "sbc", "other sbc2", False),
        ("tls_peer", "*", "", False),
        ("caller", "12155551212", "12155551212", True),
        ("caller", "12155551212", "121555512123", False),
        ("caller", "1215*", "12155551212", True),
        ("caller", "1215*", "1215", True),
        ("caller", "1215*", "121", False),
        ("caller", "*", "1", True),
        ("caller", "*", "", False),
        ("caller", "anonymous", "", True),
        ("caller", "anonymous", "anonymous", False),
        ("caller", "*21*", "*2177", True),
        ("caller", "10-19", "10", True),
        ("caller", "10-19", "19", True),
        ("caller", "10-19", "15", True),
        ("caller", "10-19", "09", False),
        ("caller", "10-19", "20", False),
        ("caller", "10-19", "150", False),
        ("caller", "10-19", "1*", False),
        ("caller", "10-19", "1\u0665", False),
        ("caller", "90-99", "99", True),
        ("caller", "007-009", "008", True),
        ("source", "192.0.2.1", "192.0.2.1", True),
        ("source", "192.0.2.0/24", "192.0.2.255", True),
        ("source", "192.0.2.0/24", "192.0.3.0", False),
        ("source", "0.0.0.0/0", "192.0.3.0", True),
        ("source", "0.0.0.0/0", "2001:db8::1", False),
        ("source", "2001:db8::/32", "2001:db8::1", True),
        ("source", "2001:db8::/32", "[2001:db8::1]", True),
        ("source", "192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("source", "192.0.2.0/24", "", False),
        ("source", "192.0.2.0/24", "192.0.2.1.", False),
        ("source", "192.0.2.0/24", "1" * 100_000, False),
    ],
)
def test_value_fits_its_condition(name: str, wanted: Any, value: Any, fits: bool) -> None:
    assert accepts(name, wanted, value) is fits


def test_longest_beginning_says_what_the_shorter_ones_say() -> None:
    look = MASKS["caller"](0, [(1, ["1*"]), (2, ["1215*"]), (4, ["12155551212", "121*"]), (8, ["12155551000-12155551999"])])
    assert look("12155551212") == 0b1111
    assert look("12155551213") == 0b1111
    assert look("12155552000") == 0b0111
    assert look("12145551212") == 0b0101
    assert look("13105551212") == 0b0001
    assert look("4") == 0


def test_ranges_may_overlap_also_within_a_rule() -> None:
    look = MASKS["caller"](0, [(1, ["10-20", "15-30"]), (2, ["18-18"])])
    assert [look(number) for number in ("09", "10", "18", "20", "21", "30", "31")] == [0, 1, 3, 1, 1, 1, 0]


def test_several_rules_may_name_a_value() -> None:
    look = MASKS["port"](0, [(1, [5060, 5061]), (2, [5061])])
    assert [look(port) for port in (5060, 5061, 5062)] == [1, 3, 0]
    networks = Networks(0, [(1, ["10.0.0.0/8"]), (2, ["10.1.0.0/16", "10.0.0.0/8"])])
    assert [networks(text) for text in ("10.0.0.1", "10.1.0.1", "11.0.0.1")] == [3, 3, 0]


@pytest.mark.parametrize("name", ["trunk", "caller", "tls_peer", "transport", "source"])
def test_nothing_that_calls_carry_is_kept_without_bound(name: str) -> None:
    look = MASKS[name](OTHERS, [(1, ["10.0.0.0/8" if name == "source" else "1*"])])
    for number in range(5000):
        look(f"172.16.{number // 256}.{number % 256}")
    table = getattr(look, "__self__", None)
    if isinstance(look, Networks):
        assert look._known.cache_info().currsize <= 4096
        look("9" * 65)
        assert look._known.cache_info().misses == 5000
    elif table is not None:
        assert len(table) <= 2


def test_address_is_that_of_the_packet() -> None:
    assert str(address("[::1]")) == "::1"
    assert address("no") is None
    assert address("::1" + " " * 100) is None
