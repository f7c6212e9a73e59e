"""What differs by country."""

from __future__ import annotations

import pytest

from kamailio_app.policy.countries import COUNTRIES, Country
from kamailio_app.tn import canonical_tn


@pytest.mark.parametrize(
    ("name", "dialled", "number"),
    [
        ("us", "2155551212", "12155551212"),
        ("us", "12155551212", "12155551212"),
        ("us", "01133123456789", "33123456789"),
        ("ca", "4165551212", "14165551212"),
        ("fr", "0123456789", "33123456789"),
        ("fr", "0012155551212", "12155551212"),
        ("fr", "112", "112"),
    ],
)
def test_numbers_are_dialled_as_in_the_country(name: str, dialled: str, number: str) -> None:
    assert canonical_tn(dialled, COUNTRIES[name].plan) == number


@pytest.mark.parametrize(("name", "good", "bad"), [("us", "123A", "12345"), ("ca", "1234", "123a"), ("fr", "ABC123", "1234")])
def test_service_provider_code_is_the_countrys(name: str, good: str, bad: str) -> None:
    assert COUNTRIES[name].is_spc(good)
    assert not COUNTRIES[name].is_spc(bad)


@pytest.mark.parametrize("token", ["SPC000-YE42L73SGAG45I05", "TEST01-ABCDEF-123A1ZYX9"])
def test_bypass_token_is_frances(token: str) -> None:
    assert COUNTRIES["fr"].is_bypass_token(token)
    assert not COUNTRIES["us"].is_bypass_token(token)


@pytest.mark.parametrize("token", ["", "SPC000", "SPC000-", "SPC00-YE42L73SGAG45I05", "SPC000-YE42L73SGAG45I055", "SPC000-a\n"])
def test_what_is_no_bypass_token(token: str) -> None:
    assert not COUNTRIES["fr"].is_bypass_token(token)


@pytest.mark.parametrize("country", COUNTRIES.values(), ids=COUNTRIES.keys())
def test_every_fact_has_its_source(country: Country) -> None:
    facts = {"plan", "spc", "administrator"} | ({"bypass_header", "bypass_token"} if country.bypass_header else set())
    assert country.sources.keys() == facts
    assert all(country.sources.values())
    assert bool(country.bypass_header) is bool(country.bypass_token)
