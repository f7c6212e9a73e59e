"""Names that mean the same have the same key."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from kamailio_app.credentials.names import identifier, issuer_key

COUNTRY = x509.NameAttribute(NameOID.COUNTRY_NAME, "US")


def common_name(value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, value)


def key(*attributes: x509.NameAttribute[str] | x509.NameAttribute[bytes]) -> str:
    return issuer_key(x509.Name(attributes))


@pytest.mark.parametrize("value", ["Example CA", "EXAMPLE ca", "  Example \t CA "])
def test_case_and_spaces_do_not_matter(value: str) -> None:
    assert key(COUNTRY, common_name(value)) == key(COUNTRY, common_name("Example CA"))


def test_neither_does_the_order_nor_the_grouping_of_attributes() -> None:
    one = x509.Name([x509.RelativeDistinguishedName([COUNTRY, common_name("CA")])])
    assert key(common_name("CA"), COUNTRY) == key(COUNTRY, common_name("CA")) == issuer_key(one)


def test_nor_the_string_type() -> None:
    printable = x509.NameAttribute(NameOID.COMMON_NAME, "CA", _ASN1Type.PrintableString)
    assert key(printable) == key(common_name("CA"))


def test_compatible_characters_are_the_same() -> None:
    assert key(common_name("O\u0301perateur \uff21")) == key(common_name("\u00d3perateur A"))


@pytest.mark.parametrize("between", ["", "\0", "\0=", "\x00\x00\x00\x00\x00\x00\x00\x09"])
def test_value_that_looks_like_another_attribute_is_none(between: str) -> None:
    organization = NameOID.ORGANIZATION_NAME
    forged = key(x509.NameAttribute(organization, f"Evil{between}2.5.4.3=X"))
    forged_first = key(common_name(f"X{between}2.5.4.10=Evil"))
    assert key(common_name("X"), x509.NameAttribute(organization, "Evil")) not in (forged, forged_first)


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        (COUNTRY,),
        (common_name("CA"),),
        (COUNTRY, common_name("CB")),
        (COUNTRY, common_name("CA"), common_name("CA")),
        (COUNTRY, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CA")),
        (COUNTRY, common_name("C A")),
        (COUNTRY, common_name("\x002.5.4.6=US CA")),
    ],
)
def test_other_names_have_other_keys(attributes: tuple[x509.NameAttribute[str], ...]) -> None:
    assert key(*attributes) != key(COUNTRY, common_name("CA"))


def test_bit_string_in_a_name() -> None:
    bits = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\x01", _ASN1Type.BitString)
    assert key(bits) == key(bits)
    assert key(bits) != key()
    assert key(bits) != key(x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, "#0001"))


def test_identifier_is_short_text() -> None:
    assert identifier(key(COUNTRY), 0x4D2) == f"{key(COUNTRY)} 4d2"
    assert identifier(key(COUNTRY), -1) == f"{key(COUNTRY)} -1"
    assert len(key(COUNTRY)) == 32
