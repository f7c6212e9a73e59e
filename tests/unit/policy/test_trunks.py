"""Which trunk a call comes in on."""

from __future__ import annotations

import pytest

from kamailio_app.policy.attestation import Trunk
from kamailio_app.policy.trunks import Trunks, is_peer

ALL = Trunks(
    [
        Trunk("wide", source=("10.0.0.0/8",)),
        Trunk("narrow", source=("10.1.0.0/16", "2001:db8::/32")),
        Trunk("narrow-tls", source=("10.1.0.0/16",), transport=("tls",)),
        Trunk("narrow-peer", source=("10.1.0.0/16",), tls_peer=("pbx.example",)),
        Trunk("peer", tls_peer=("SBC.example*",)),
        Trunk("websocket", transport=("ws", "wss")),
        Trunk("by-name-only"),
    ]
)


@pytest.mark.parametrize(
    ("source", "transport", "tls_peer", "name"),
    [
        ("10.2.0.1", "udp", "", "wide"),
        ("10.1.0.1", "udp", "", "narrow"),
        ("10.1.0.1", "tls", "", "narrow-tls"),
        ("10.1.0.1", "tls", "pbx.example", "narrow-peer"),
        ("10.1.0.1", "tls", "other.example", "narrow-tls"),
        ("10.1.0.1", "tls", "other.example pbx.example", "narrow-peer"),
        ("2001:db8::1", "udp", "", "narrow"),
        ("2001:db9::1", "udp", "", None),
        ("192.0.2.1", "tls", "sbc.example.net", "peer"),
        ("192.0.2.1", "wss", "", "websocket"),
        ("10.1.0.1", "wss", "sbc.example", "narrow"),
        ("192.0.2.1", "udp", "", None),
        ("nonsense", "udp", "", None),
        ("", "", "", None),
    ],
)
def test_most_exact_trunk_is_found(source: str, transport: str, tls_peer: str, name: str | None) -> None:
    found = ALL.at(source, transport, tls_peer)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("position", range(3))
def test_what_is_too_long_to_be_true_is_nowhere(position: int) -> None:
    place = ["10.1.0.1", "tls", "sbc.example"]
    assert ALL.at(*place) is not None
    place[position] += "x" * 1_000_000
    assert ALL.at(*place) is None


def test_places_that_are_remembered_are_bounded() -> None:
    trunks = Trunks([Trunk("a", source=("10.0.0.0/8",))])
    for number in range(5000):
        trunks.at(f"10.0.{number // 256}.{number % 256}", "", "")
    assert trunks._known.cache_info().currsize == 4096


@pytest.mark.parametrize(
    ("name", "wanted", "fits"),
    [("a.B", "A.b", True), ("a.b.c", "a.b*", True), ("a", "b", False), ("", "*", False), ("x", "*", True)],
)
def test_peer_is_known_by_its_name_or_the_beginning_of_it(name: str, wanted: str, fits: bool) -> None:
    assert is_peer(name, wanted) is fits
