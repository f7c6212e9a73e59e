"""Certificates from octets: what repositories really serve, and what nobody should have to read."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.certificate import MAX_CHAIN, parse_chain
from kamailio_app.errors import UnsupportedCredential

from ..builders import hierarchy, pem, provider, refused

LEAF = provider().certificate
INTERMEDIATE = hierarchy().intermediate.certificate
ROOT = hierarchy().root.certificate
CHAIN = (LEAF, INTERMEDIATE)
DER = LEAF.public_bytes(Encoding.DER)


def test_chain_is_read_in_its_order() -> None:
    assert parse_chain(pem(*CHAIN)) == CHAIN


def test_one_certificate_in_der_is_read() -> None:
    assert parse_chain(DER) == (LEAF,)


def test_root_in_the_file_is_kept_at_the_end() -> None:
    assert parse_chain(pem(LEAF, INTERMEDIATE, ROOT)) == (LEAF, INTERMEDIATE, ROOT)


def test_file_that_begins_with_the_ca_is_turned_round() -> None:
    assert parse_chain(pem(ROOT, INTERMEDIATE, LEAF))[0] == LEAF


def test_the_first_of_two_signers_counts() -> None:
    other = hierarchy().service_provider().certificate
    assert parse_chain(pem(INTERMEDIATE, other, LEAF))[0] == other


@pytest.mark.parametrize(
    "octets",
    [
        pem(*CHAIN).replace(b"\n", b"\r\n"),
        b"Subject: CN=x\n" + pem(*CHAIN),
        b"\xef\xbb\xbf" + pem(*CHAIN),
        pem(*CHAIN).rstrip(),
        pem(LEAF) + b"text between\n" + pem(INTERMEDIATE) + b"text behind",
    ],
    ids=["crlf", "text before", "byte order mark", "no final line end", "text around"],
)
def test_text_around_and_line_ends_do_not_matter(octets: bytes) -> None:
    assert parse_chain(octets) == CHAIN


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00",
        b"<html>404</html>",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        pem(LEAF)[:200],
        pem(LEAF).replace(b"BEGIN CERTIFICATE", b"BEGIN X509 CRL"),
        pem(LEAF) + b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        DER[:-1],
        DER + b"\x00",
        DER + DER,
        provider().key_pem,
    ],
    ids=lambda octets: repr(octets[:20]),
)
def test_what_is_no_certificate(octets: bytes) -> None:
    with refused("credential_malformed"):
        parse_chain(octets)


def test_too_many_certificates_are_refused() -> None:
    assert len(parse_chain(pem(*[LEAF] * MAX_CHAIN))) == MAX_CHAIN
    with refused("credential_malformed"):
        parse_chain(pem(*[LEAF] * (MAX_CHAIN + 1)))


def test_the_limit_is_the_callers_choice() -> None:
    assert len(parse_chain(pem(*[LEAF] * 20), limit=20)) == 20


@pytest.mark.parametrize("version", [0x01, 0x03, 0x7F])
def test_version_that_does_not_exist(version: int) -> None:
    with refused("credential_malformed"):
        parse_chain(DER.replace(bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes([version])))


def test_the_same_extension_twice() -> None:
    twice = DER.replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d0f"))
    assert twice != DER
    with refused("credential_malformed"):
        parse_chain(twice)


def test_negative_serial_number_is_no_reason_to_refuse() -> None:
    position = DER.index(bytes.fromhex("a003020102")) + 5
    assert DER[position] == 0x02
    negative = bytearray(DER)
    negative[position + 2] |= 0x80
    assert isinstance(parse_chain(bytes(negative))[0], x509.Certificate)


def test_flipped_octets_end_in_a_certificate_or_in_our_failure() -> None:
    generator = random.Random(8226)
    for _ in range(3000):
        octets = bytearray(DER)
        for _ in range(generator.randint(1, 3)):
            octets[generator.randrange(len(octets))] = generator.randrange(256)
        with suppress(UnsupportedCredential):
            assert parse_chain(bytes(octets))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"<!DOCTYPE html><html>moved</html>", "no certificate, but a web page"),
        (b"\n <html>", "no certificate, but a web page"),
        (b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "no certificate, but PRIVATE KEY"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMA==\n", "no certificate, but CERTIFICATE REQUEST"),
        (b"", "no certificate: 0 octets that"),
        (b"\x30\x03abc", "no certificate: 5 octets that"),
        (b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "what stands in the PEM is no certificate"),
    ],
)
def test_what_is_no_certificate_is_told_for_what_it_is(octets: bytes, words: str) -> None:
    with pytest.raises(UnsupportedCredential) as caught:
        parse_chain(octets)
    assert caught.value.detail.startswith(words)
