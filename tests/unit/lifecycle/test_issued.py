"""What is kept of a chain that came, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lifecycle.issued import NO_ANCHORS, Checked, check_issued, described

from ..builders import NOW, anchors, evil, hierarchy, pem, provider, refused

AUTHORITY = TNAuthList(("1234",))
KEY = provider().key.public_key()
LEAF, INTERMEDIATE, ROOT = provider().certificate, hierarchy().intermediate.certificate, hierarchy().root.certificate


def check(octets: bytes, authority: TNAuthList | None = AUTHORITY, trusted: TrustAnchors | None = None) -> Checked:
    return check_issued(octets, KEY, authority, anchors() if trusted is None else trusted, NOW)


def test_right_chain_is_kept_octet_by_octet() -> None:
    chain = provider().chain_pem.replace(b"\n", b"\r\n") + b"\n# by the STI-CA\n"
    assert check(provider().chain_pem) == Checked(provider().chain_pem, ())
    assert check(provider().chain_pem + b"\n\n").chain_pem == provider().chain_pem + b"\n\n"
    assert check(chain).findings == ()


@pytest.mark.parametrize(
    "octets",
    [
        pem(INTERMEDIATE, LEAF),
        pem(ROOT, INTERMEDIATE, LEAF),
        pem(INTERMEDIATE, ROOT, LEAF),
        b"Subject: yours\n" + pem(LEAF, INTERMEDIATE),
    ],
)
def test_chain_in_another_order_is_put_right(octets: bytes) -> None:
    assert check(octets).chain_pem == pem(LEAF, INTERMEDIATE)


def test_without_anchors_the_rest_is_checked() -> None:
    nobody = TrustAnchors(())
    assert check(provider().chain_pem, trusted=nobody) == Checked(provider().chain_pem, (NO_ANCHORS,))
    assert check(LEAF.public_bytes(Encoding.DER), trusted=nobody).chain_pem == pem(LEAF)
    with refused("issued_mismatch"):
        check(hierarchy().service_provider().chain_pem, trusted=nobody)


@pytest.mark.parametrize(
    ("octets", "token"),
    [
        (hierarchy().service_provider().chain_pem, "issued_mismatch"),
        (hierarchy().service_provider(ServiceProvider("9999"), key=provider().key).chain_pem, "issued_mismatch"),
        (hierarchy().service_provider(ServiceProvider(with_tnauthlist=False), key=provider().key).chain_pem, "issued_unfit"),
        (hierarchy().service_provider(ServiceProvider(digital_signature=False), key=provider().key).chain_pem, "issued_unfit"),
        (evil().service_provider(key=provider().key).chain_pem, "issued_unfit"),
        (hierarchy().service_provider(ServiceProvider(not_after=NOW - 1), key=provider().key).chain_pem, "issued_unfit"),
        (pem(LEAF), "issued_unfit"),
        (b"", "issued_unfit"),
    ],
)
def test_what_does_not_fit(octets: bytes, token: str) -> None:
    with refused(token):
        check(octets)


def test_authority_that_is_not_known_is_not_compared() -> None:
    other = hierarchy().service_provider(ServiceProvider("9999"), key=provider().key)
    assert check(other.chain_pem, None).findings == ()


def test_authorities_in_words() -> None:
    span = TelephoneNumberRange("12155550000", 100)
    assert described(TNAuthList(("1234",), (span,), ("12155551212",))) == "1234, 12155551212, 100 numbers from 12155550000"
    assert described(TNAuthList()) == "nobody"


@given(st.binary(max_size=300))
def test_any_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(StirError) as caught:
        check(octets)
    assert caught.value.token == "issued_unfit"
    assert str(caught.value).isprintable()
