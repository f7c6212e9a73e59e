"""Revocations on the disk, and how long reading takes."""

from __future__ import annotations

from time import perf_counter

import pytest

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, check_revocation, read_crl
from kamailio_app.errors import TrustRefused

from ..builders import NOW, anchors, hierarchy, provider, refused

KEY = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
HELD = Revocations(frozenset({f"{KEY} 1", f"{KEY} a0", f"{OTHER} -1"}), NOW, NOW + 100, 7, "CN=STI-PA CRL, \\x0d")


def test_revocations_outlive_the_disk() -> None:
    assert HELD.to_text().split("\n") == [
        f"stirshaken-crl-1 {NOW} {NOW + 100} 7",
        "CN=STI-PA CRL, \\x0d",
        f"{KEY} 1 a0",
        f"{OTHER} -1",
        "end",
    ]
    assert Revocations.from_text(HELD.to_text()) == HELD
    empty = HELD._replace(revoked=frozenset(), this_update=-1, issuer="")
    assert Revocations.from_text(empty.to_text()) == empty


def test_list_that_was_read_outlives_the_disk() -> None:
    pki = hierarchy()
    held = read_crl(
        pki.crl([provider().certificate, pki.intermediate.certificate]),
        TrustAnchors([pki.policy_root.certificate]),
        NOW,
        signers=[pki.policy_signer.certificate],
    )
    again = Revocations.from_text(held.to_text())
    assert again == held
    with refused("credential_revoked"):
        check_revocation(validate(provider().chain_pem, anchors(), NOW), again, NOW, hard=False)


def test_part_of_a_text_is_nothing() -> None:
    text = HELD.to_text()
    assert [Revocations.from_text(text[:length]) for length in range(len(text))] == [None] * len(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\nend",
        "{}",
        "stirshaken-crl-2 1 2 3\n\nend",
        "stirshaken-crl-1 1 2 \n\nend",
        f"stirshaken-crl-1 1 2 {'9' * 5000}\n\nend",
        "stirshaken-crl-1 1 2 3\n\n\nend",
        "stirshaken-crl-1 1 2 3\n\nx 1\nend",
        f"stirshaken-crl-1 1 2 3\n\n{KEY}\nend",
        f"stirshaken-crl-1 1 2 3\n\n{KEY} \nend",
        f"stirshaken-crl-1 1 2 3\n\n{KEY} 1G\nend",
        f"stirshaken-crl-1 1 2 3\n\n{KEY} 1\nend\n",
        "stirshaken-crl-1 \u0661 2 3\n\nend",
    ],
)
def test_anything_else_is_nothing(text: str) -> None:
    assert Revocations.from_text(text) is None


def test_a_hundred_thousand_entries_are_read_at_once() -> None:
    many = HELD._replace(revoked=frozenset(f"{KEY if number % 2 else OTHER} {number << 96:x}" for number in range(100_000)))
    text = many.to_text()
    began = perf_counter()
    held = Revocations.from_text(text)
    assert perf_counter() - began < 0.5  # 0.05 on an idle machine
    assert held == many


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"<html>", "no CRL, but a web page"),
        (b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "no CRL, but CERTIFICATE"),
        (b"-----BEGIN X509 CRL-----\nMA==\n-----END X509 CRL-----\n", "what stands in the PEM is no CRL that can be decoded"),
    ],
)
def test_what_is_no_crl_is_told_for_what_it_is(octets: bytes, words: str) -> None:
    with pytest.raises(TrustRefused) as caught:
        read_crl(octets, anchors(), NOW)
    assert (caught.value.token, caught.value.detail) == ("crl_malformed", words)
