"""Trust lists on the disk."""

from __future__ import annotations

import json

import pytest

from kamailio_app.credentials.trust_list import TrustList

from ..builders import NOW, hierarchy

SIGNER = hierarchy().policy_signer
HELD = TrustList(hierarchy().root.pem.decode(), 7, NOW, "1.0", "CN=STI-PA", 1, SIGNER.pem.decode())
MEMBERS = json.loads(HELD.to_text())


def test_trust_list_outlives_the_disk() -> None:
    assert TrustList.from_text(HELD.to_text()) == HELD
    assert HELD.anchors().certificates == (hierarchy().root.certificate,)
    assert HELD.signers() == (SIGNER.certificate,)
    assert HELD._replace(signer_pem="").signers() == ()


def test_part_of_a_text_is_nothing() -> None:
    text = HELD.to_text()
    assert [TrustList.from_text(text[:length]) for length in range(0, len(text), 7)] == [None] * len(range(0, len(text), 7))


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        5,
        "x",
        {},
        {**MEMBERS, "format": "other"},
        {**MEMBERS, "certificates_pem": ""},
        {**MEMBERS, "certificates_pem": 5},
        {**MEMBERS, "certificates_pem": "x"},
        {**MEMBERS, "sequence": "7"},
        {**MEMBERS, "sequence": True},
        {**MEMBERS, "expires": None},
        {**MEMBERS, "version": 1},
        {**MEMBERS, "unknown": 1},
        {**MEMBERS, "signer_pem": "x"},
        {**MEMBERS, "signer_pem": None},
        {name: value for name, value in MEMBERS.items() if name != "issuer"},
    ],
)
def test_anything_else_is_nothing(members: object) -> None:
    assert TrustList.from_text(json.dumps(members)) is None


def test_neither_is_what_is_nested_too_deep() -> None:
    assert TrustList.from_text("[" * 100_000) is None
