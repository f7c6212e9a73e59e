"""TNAuthList: exact DER in both directions, and which numbers it covers."""

from __future__ import annotations

import pytest

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList, decode, encode

from ..builders import refused

SPC = TNAuthList(spcs=("1234",))
RANGE = TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),))
ONE = TNAuthList(numbers=("12155551212",))
MIXED = TNAuthList(SPC.spcs, RANGE.ranges, ONE.numbers)


@pytest.mark.parametrize(
    ("der", "value"),
    [
        ("3008a006160431323334", SPC),
        ("3008a006160431313946", TNAuthList(spcs=("119F",))),
        ("300fa20d160b3132313535353531323132", ONE),
        ("3014a1123010160b3132313535353530303030020164", RANGE),
        ("302ba006160431323334a1123010160b3132313535353530303030020164a20d160b3132313535353531323132", MIXED),
    ],
)
def test_worked_bytes_there_and_back(der: str, value: TNAuthList) -> None:
    assert decode(bytes.fromhex(der)) == value
    assert encode(value).hex() == der


@pytest.mark.parametrize("digits", range(1, 16))
@pytest.mark.parametrize("count", [7, 8])
def test_lists_around_128_octets_there_and_back(count: int, digits: int) -> None:
    # Where the length of DER takes another octet
    value = TNAuthList(numbers=("12155550121",) * count + ("1" * digits,))
    assert decode(encode(value)) == value


@pytest.mark.parametrize("count", [1, 11, 12, 20, 100, 6000])
def test_lists_of_any_length_there_and_back(count: int) -> None:
    value = TNAuthList(numbers=tuple(f"{12155550000 + number}" for number in range(count)))
    assert decode(encode(value)) == value


def test_entries_keep_their_order_within_a_kind() -> None:
    one, two = "a20316 0132".replace(" ", ""), "a00316 0142".replace(" ", "")
    assert decode(bytes.fromhex("300f" + one + two + one.replace("32", "31"))) == TNAuthList(("B",), (), ("2", "1"))


@pytest.mark.parametrize(
    "der",
    [
        "",
        "30",
        "3000",
        "160431323334",
        "3006800431323334",
        "3006160431323334",
        "300613043632324b",
        "3008a006163535384a",
        "3008a00616043132333400",
        "3009a00616043132333400",
        "3008a306160431323334",
        "3008a006130431323334",
        "3008a0060c0431323334",
        "308108a006160431323334",
        "3080a0061604313233340000",
        "3006a00416023a3b",
        "3006a0041602e9e9",
        "3006a00416026162",
        "3005a003160120",
        "3004a0021600",
        "3015a0131611" + "31" * 17,
        "3004a2021600",
        "3005a203160141",
        "3014a2121610" + "31" * 16,
        "0500",
        "ff" * 50,
    ],
)
def test_anything_but_the_der_of_rfc_8226_9_is_refused(der: str) -> None:
    with refused("tnauthlist_malformed"):
        decode(bytes.fromhex(der))


@pytest.mark.parametrize(
    ("start", "count"),
    [
        ("10", 91),
        ("10", 90),
        ("99", 2),
        ("5", 1),
        ("5", 0),
        ("5", -1),
        ("5", -300),
        ("#1", 2),
        ("1" * 16, 2),
        ("*", 2),
        ("12155550000", 10**12),
    ],
)
def test_ranges_that_do_not_exist_are_refused(start: str, count: int) -> None:
    der = encode(TNAuthList(ranges=(TelephoneNumberRange(start, count),)))
    with refused("tnauthlist_malformed"):
        decode(der)


def test_count_of_ten_thousand_digits_is_refused_like_any_other() -> None:
    der = encode(TNAuthList(ranges=(TelephoneNumberRange("12155550000", 10**10_000),)))
    with refused("tnauthlist_malformed"):
        decode(der)


@pytest.mark.parametrize(("start", "count"), [("10", 89), ("97", 2), ("000", 999), ("12155550000", 2)])
def test_ranges_that_exist(start: str, count: int) -> None:
    value = TNAuthList(ranges=(TelephoneNumberRange(start, count),))
    assert decode(encode(value)) == value


def test_provider_code_covers_every_number_of_its_provider() -> None:
    assert SPC.covers("12155550121")
    assert SPC.covers("sip:alice@example.com")


@pytest.mark.parametrize(
    ("tn", "covered"),
    [
        ("12155550000", True),
        ("12155550099", True),
        ("12155550100", False),
        ("12155549999", False),
        ("1215555000", False),
        ("012155550000", False),
        ("*2155550000", False),
        ("sip:a@b", False),
        ("", False),
    ],
)
def test_range_covers_exactly_its_numbers(tn: str, covered: bool) -> None:
    assert RANGE.covers(tn) is covered


def test_single_number_covers_itself() -> None:
    assert ONE.covers("12155551212")
    assert not ONE.covers("12155551213")


def test_empty_list_covers_nothing() -> None:
    assert not TNAuthList().covers("12155550121")


NUMBERS = TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),), numbers=("12155551212",))


@pytest.mark.parametrize(
    ("issuer", "holder", "allowed"),
    [
        (SPC, SPC, True),
        (SPC, NUMBERS, True),  # which numbers a provider code speaks for is not in the certificate
        (SPC, TNAuthList(spcs=("5678",)), False),
        (NUMBERS, SPC, False),
        (NUMBERS, NUMBERS, True),
        (NUMBERS, TNAuthList(numbers=("12155551212", "12155550099")), True),
        (NUMBERS, TNAuthList(numbers=("12155550100",)), False),
        (NUMBERS, TNAuthList(ranges=(TelephoneNumberRange("12155550010", 90),)), True),
        (NUMBERS, TNAuthList(ranges=(TelephoneNumberRange("12155550010", 91),)), False),
        (NUMBERS, TNAuthList(ranges=(TelephoneNumberRange("12155549999", 3),)), False),
    ],
)
def test_holder_delegates_no_more_than_it_has(issuer: TNAuthList, holder: TNAuthList, allowed: bool) -> None:
    assert issuer.encompasses(holder) is allowed
