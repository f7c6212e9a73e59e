"""Captures made of octets: IP, UDP in fragments, TCP in segments (the formats of libpcap, RFC 791, 768 and 9293)."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

_RAW = 101  # LINKTYPE_RAW: packets begin with their IP header
_UDP, _TCP = 17, 6
_SYN, _PUSH = 0x02, 0x18


class Hop(NamedTuple):
    """Who sends to whom, addresses and ports."""

    source: str = "192.0.2.1"
    destination: str = "192.0.2.2"
    source_port: int = 5060
    destination_port: int = 5060

    def back(self) -> Hop:
        return Hop(self.destination, self.source, self.destination_port, self.source_port)


class Capture:
    """Packets in their order. Times in seconds since 1970."""

    def __init__(self) -> None:
        self._packets: list[tuple[float, bytes]] = []
        self._number = 0

    def udp(self, at: float, hop: Hop, text: str, mtu: int = 1500) -> None:
        """One datagram, in as many fragments as the MTU makes of it."""
        payload = text.encode()
        datagram = struct.pack("!HHHH", hop.source_port, hop.destination_port, 8 + len(payload), 0) + payload
        self._number += 1
        step = (mtu - 20) // 8 * 8 if ip_address(hop.source).version == 4 else 65535
        for offset in range(0, len(datagram), step):
            more = offset + step < len(datagram)
            self._ip(at, hop, _UDP, datagram[offset : offset + step], more << 13 | offset // 8)

    def tcp(self, at: float, hop: Hop, text: str, *, size: int = 1000, swapped: bool = False) -> None:
        """A connection that carries this, in segments of this size; `swapped`: the first two the other way round."""
        payload = text.encode()
        segments = [(1 + start, _PUSH, payload[start : start + size]) for start in range(0, len(payload), size)]
        if swapped:
            segments[:2] = segments[1::-1]
        for number, (sequence, flags, octets) in enumerate([(0, _SYN, b""), *segments]):
            ports = hop.source_port, hop.destination_port
            header = struct.pack("!HHIIBBHHH", *ports, sequence, 1, 5 << 4, flags, 65535, 0, 0)
            self._number += 1
            self._ip(at + number / 1000, hop, _TCP, header + octets)

    def write(self, path: Path) -> None:
        """As a file of libpcap."""
        octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW)
        for at, packet in self._packets:
            octets += struct.pack("<IIII", int(at), int(at % 1 * 1_000_000), len(packet), len(packet)) + packet
        path.write_bytes(octets)

    def _ip(self, at: float, hop: Hop, protocol: int, octets: bytes, fragment: int = 0) -> None:
        source, destination = ip_address(hop.source), ip_address(hop.destination)
        if source.version == 6:
            header = struct.pack("!IHBB", 6 << 28, len(octets), protocol, 64)
        else:
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(octets), self._number, fragment, 64, protocol, 0)
        self._packets.append((at, header + source.packed + destination.packed + octets))
