"""Certificate requests as STI-CAs take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lifecycle.keys import new_key
from kamailio_app.lifecycle.request import CrlPoint, certificate_request, crl_issuer, read_request, requested_authority

from ..builders import refused

VECTORS = Path(__file__).parents[2] / "vectors"
KEY = new_key()
SPC = TNAuthList(("1234",))
URL = "https://pa.example.test/download/v1/crl"
ISSUER = "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA"


def request(**changes: Any) -> x509.CertificateSigningRequest:
    values = {"organization": "Example Telephone Company", "country": "US", "authority": SPC, **changes}
    return certificate_request(KEY, **values)


def subject(made: x509.CertificateSigningRequest) -> str:
    return made.subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})


DER = request().public_bytes(Encoding.DER)


# --- What is asked for --------------------------------------------------------------------------------------------


def test_request_is_signed_with_the_key_that_it_is_for() -> None:
    made = request()
    assert made.public_key() == KEY.public_key()
    assert made.is_signature_valid
    assert made.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256


def test_subject_is_that_of_atis_1000080() -> None:
    assert subject(request()) == "CN=SHAKEN 1234,O=Example Telephone Company,C=US"
    assert subject(request(common_name="SHAKEN Example 1234")) == "CN=SHAKEN Example 1234,O=Example Telephone Company,C=US"


def test_serial_number_is_an_attribute_of_the_subject() -> None:
    """Certificate policy 1.3."""
    assert subject(request(serial_number="42")) == "CN=SHAKEN 1234,serialNumber=42,O=Example Telephone Company,C=US"


def test_version_is_0() -> None:
    """RFC 2986 4.1: the octets after the inner SEQUENCE."""
    tbs = request().tbs_certrequest_bytes
    assert tbs[tbs.index(2) :].startswith(b"\x02\x01\x00")


def test_tnauthlist_is_asked_for_and_is_not_critical() -> None:
    (extension,) = request().extensions
    assert (extension.oid, extension.critical) == (tnauthlist.OID, False)
    assert extension.value.public_bytes() == bytes.fromhex("3008a006160431323334")
    assert requested_authority(request()) == SPC


def test_delegate_asks_for_numbers_and_has_no_shaken_name() -> None:
    authority = TNAuthList((), (TelephoneNumberRange("12155550000", 100),), ("12155551212",))
    made = request(authority=authority)
    assert requested_authority(made) == authority
    assert subject(made) == "CN=Example Telephone Company,O=Example Telephone Company,C=US"


def test_crl_point_names_the_url_and_whose_list_it_is() -> None:
    value = request(crl=CrlPoint(URL, ISSUER)).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    vector = read_request((VECTORS / "generated" / "csr_1234.pem").read_bytes())
    assert value == vector.extensions.get_extension_for_class(x509.CRLDistributionPoints).value


def test_crl_point_without_an_issuer_is_its_cas_own() -> None:
    (point,) = request(crl=CrlPoint(URL, "")).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.crl_issuer is None


@pytest.mark.parametrize(
    "text",
    [
        ISSUER,
        "L=Bridgewater,ST=NJ,CN=STI-PA CRL,C=US,O=STI-PA",
        "L = Bridgewater, ST = NJ, CN = STI-PA CRL, C = US, O = STI-PA",
        "l=Bridgewater, st=NJ, cn=STI-PA CRL, c=US, o=STI-PA",
        "  2.5.4.7=Bridgewater, S=NJ, CN=STI-PA CRL, C=US, O=STI-PA ",
    ],
)
def test_name_is_read_as_people_write_it(text: str) -> None:
    held = [(attribute.oid, attribute.value) for attribute in crl_issuer(text)]
    assert held == [
        (NameOID.LOCALITY_NAME, "Bridgewater"),
        (NameOID.STATE_OR_PROVINCE_NAME, "NJ"),
        (NameOID.COMMON_NAME, "STI-PA CRL"),
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.ORGANIZATION_NAME, "STI-PA"),
    ]


def test_comma_in_a_value_is_escaped() -> None:
    (attribute,) = crl_issuer(r"O=Example\, O = Inc")
    assert attribute.value == "Example, O = Inc"


# --- What nobody would certify ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"organization": ""},
        {"country": ""},
        {"country": "USA"},
        {"organization": "x" * 65},
        {"common_name": "x" * 65},
        {"serial_number": "x" * 65},
        {"authority": TNAuthList()},
        {"authority": TNAuthList(("12 34",))},
        {"authority": TNAuthList(("abcd",))},
        {"authority": TNAuthList(("\u0661\u0662",))},
        {"authority": TNAuthList((), (TelephoneNumberRange("12155550000", 1),))},
        {"authority": TNAuthList((), (TelephoneNumberRange("99", 10),))},
        {"authority": TNAuthList((), (), ("+12155551212",))},
        {"crl": CrlPoint("", ISSUER)},
        {"crl": CrlPoint("ftp://pa.example.test/crl", ISSUER)},
        {"crl": CrlPoint("https://pa.example.test/a b", ISSUER)},
        {"crl": CrlPoint(URL, "Bridgewater")},
        {"crl": CrlPoint(URL, "X=Y")},
        {"crl": CrlPoint(URL, "C=USA")},
    ],
)
def test_what_cannot_be_certified_is_not_asked_for(changes: dict[str, Any]) -> None:
    with refused("request_invalid"):
        request(**changes)


# --- Reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_request_is_read_in_pem_and_der(form: Encoding) -> None:
    made = request()
    assert read_request(made.public_bytes(form)) == made


def test_vector_is_read() -> None:
    made = read_request((VECTORS / "generated" / "csr_1234.pem").read_bytes())
    assert requested_authority(made) == SPC


def test_request_without_a_tnauthlist_asks_for_none() -> None:
    bare = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, SHA256())
    assert requested_authority(bare) is None


def test_signature_that_was_changed_proves_nothing() -> None:
    der = bytearray(request().public_bytes(Encoding.DER))
    der[-1] ^= 1
    with refused("request_malformed"):
        read_request(bytes(der))


def test_anothers_key_in_the_request_proves_nothing() -> None:
    mine, other = (
        key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for key in (KEY, ec.generate_private_key(ec.SECP256R1()))
    )
    with refused("request_malformed"):
        read_request(request().public_bytes(Encoding.DER).replace(mine, other))


def test_request_of_version_2_is_none() -> None:
    # As libstirshaken makes them
    der = request().public_bytes(Encoding.DER)
    at = der.index(b"\x02\x01\x00")
    with refused("request_malformed"):
        read_request(der[:at] + b"\x02\x01\x02" + der[at + 3 :])


@given(st.binary(max_size=200) | st.binary(max_size=9).map(lambda octets: DER[:60] + octets + DER[60 + len(octets) :]))
def test_any_octets_are_a_request_or_one_of_ours(octets: bytes) -> None:
    try:
        made = read_request(octets)
        requested_authority(made)
    except StirError as error:
        assert error.token in {"request_malformed", "tnauthlist_malformed"}  # noqa: PT017
    else:
        assert made.is_signature_valid
