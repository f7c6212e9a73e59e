"""Which trunk a call comes in on, by address, transport and the TLS client's name: the most exact one that fits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from kamailio_app.policy.attestation import Trunk
from kamailio_app.policy.masks import address

_LONGEST: Final = 1024  # of names that are remembered
_PLACES: Final = 4096  # that are remembered with their trunk


class Trunks:
    """The smallest network decides; of those that name it (or no network), one with `tls_peer`, then one with `transport`."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        found: dict[tuple[int, int, int], list[Trunk]] = {}
        anywhere: list[Trunk] = []
        for trunk in trunks:
            for network in map(ip_network, trunk.source):
                shift = network.max_prefixlen - network.prefixlen
                found.setdefault((network.version, shift, int(network.network_address) >> shift), []).append(trunk)
            if not trunk.source and trunk.places:
                anywhere.append(trunk)
        self._anywhere = sorted(anywhere, key=_exactness)
        self._by_network = {key: sorted(there, key=_exactness) for key, there in found.items()}
        self._sizes = sorted({key[:2] for key in found})
        self._known = lru_cache(_PLACES)(self._find)

    def at(self, source: str, transport: str, tls_peer: str) -> Trunk | None:
        """The trunk that the script does not name."""
        if len(source) > _LONGEST or len(transport) > _LONGEST or len(tls_peer) > _LONGEST:
            return None
        return self._known(source, transport, tls_peer)

    def _find(self, source: str, transport: str, tls_peer: str) -> Trunk | None:
        for trunk in self._near(source):
            if (not trunk.transport or transport in trunk.transport) and (
                not trunk.tls_peer or any(is_peer(found, name) for found in tls_peer.split() for name in trunk.tls_peer)
            ):
                return trunk
        return None

    def _near(self, source: str) -> Iterable[Trunk]:
        found = address(source)
        if found is not None:
            number = int(found)
            for version, shift in self._sizes:
                if version == found.version:
                    yield from self._by_network.get((version, shift, number >> shift), ())
        yield from self._anywhere


def is_peer(name: str, wanted: str) -> bool:
    """Is this the host that is wanted, or one of those ("*.example.net" does not stand for them: "*" is at the end)?"""
    name, wanted = name.lower(), wanted.lower()
    return name == wanted or (wanted[-1:] == "*" and name != "" and name.startswith(wanted[:-1]))


def _exactness(trunk: Trunk) -> tuple[bool, bool]:
    return (not trunk.tls_peer, not trunk.transport)
