"""Telephone numbers in canonical form (RFC 8224 8.3)."""

from __future__ import annotations

import pytest

from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn

NORTH_AMERICA = NumberPlan("1", "1", "011", 10)
FRANCE = NumberPlan("33", "0", "00", 9)


@pytest.mark.parametrize(
    ("text", "tn"),
    [
        ("12155550121", "12155550121"),
        ("+12155550121", "12155550121"),
        ("+1-215-555-0121", "12155550121"),
        ("+1 (215) 555.0121", "12155550121"),
        ("911", "911"),
        ("*67", "*67"),
        ("#123", "#123"),
        ("*-67", "*67"),
        ("123456789012345", "123456789012345"),
    ],
)
def test_plus_sign_and_separators_are_dropped(text: str, tn: str) -> None:
    assert canonical_tn(text) == tn


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "-",
        "++1",
        "1+1",
        "+*67",
        "1-800-FLOWERS",
        "alice",
        "1234567890123456",
        "+1234567890123456",
        "*234567890123456",
        "١٢٣",
        "1\n",
        "1\x00",
        "12155550121;ext=1",
    ],
)
def test_what_is_no_number_is_refused_not_mended(text: str) -> None:
    assert canonical_tn(text) is None


def test_fifteen_characters_are_the_most() -> None:
    assert canonical_tn("*" + "1" * 14) == "*" + "1" * 14
    assert canonical_tn("*" + "1" * 15) is None


@pytest.mark.parametrize("text", ["+44(0)2071838750", "+44 (0) 20 7183 8750"])
def test_trunk_zero_in_parentheses_names_no_number(text: str) -> None:
    assert canonical_tn(text) is None


@pytest.mark.parametrize(
    ("text", "tn"),
    [
        ("2155550121", "12155550121"),
        ("12155550121", "12155550121"),
        ("(215) 555-0121", "12155550121"),
        ("+12155550121", "12155550121"),
        ("011442071838750", "442071838750"),
        ("+442071838750", "442071838750"),
        ("911", "911"),
        ("5550121", "5550121"),
        ("*67", "*67"),
    ],
)
def test_north_american_dialling(text: str, tn: str) -> None:
    assert canonical_tn(text, NORTH_AMERICA) == tn


@pytest.mark.parametrize(
    ("text", "tn"),
    [
        ("0123456789", "33123456789"),
        ("(0)1 23 45 67 89", "33123456789"),
        ("0012155550121", "12155550121"),
        ("112", "112"),
        ("+33123456789", "33123456789"),
    ],
)
def test_french_dialling(text: str, tn: str) -> None:
    assert canonical_tn(text, FRANCE) == tn


def test_international_prefix_alone_is_no_number() -> None:
    assert canonical_tn("011", NORTH_AMERICA) is None


def test_without_a_plan_numbers_are_taken_as_written() -> None:
    assert canonical_tn("2155550121", AS_WRITTEN) == "2155550121"


def test_plan_without_international_prefix_leaves_long_numbers() -> None:
    plan = NumberPlan("1", "1", "", 10)
    assert canonical_tn("011442071838750", plan) == "011442071838750"
    assert canonical_tn("2155550121", plan) == "12155550121"
