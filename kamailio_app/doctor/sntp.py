"""How far the clock is off: one question to one NTP server (RFC 4330; 48 octets each way). Nothing is set."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

PORT: Final = 123
_PACKET: Final = struct.Struct("!BBbbIII4Q")
_REQUEST: Final = 4 << 3 | 3  # version 4, client
_SERVER: Final = 4
_ALARM: Final = 3  # leap indicator: the server's own clock is not set
_SINCE_1900: Final = 2_208_988_800
_ERA: Final = 1 << 32
_MAX_ANSWER: Final = 1024


class Offset(NamedTuple):
    """Seconds to add to our clock, and how long the answer was under way: the first is wrong by half the second at most."""

    seconds: float
    delay: float
    stratum: int


def ask(host: str, seconds: float, *, port: int = PORT, clock: Callable[[], float] = time.time) -> Offset:
    """Ask once. `clock` gives seconds since 1970; `seconds` is how long to wait for the answer.

    Errors: OSError (no such host, no answer in time), ValueError (a server that does not know the time).
    """
    ends = time.monotonic() + seconds
    address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    cookie = secrets.randbits(64)
    with socket.socket(*address[:3]) as asking:
        asking.connect(address[4])  # nobody else's datagrams
        sent, began = clock(), time.monotonic()
        asking.send(_PACKET.pack(_REQUEST, 0, 0, 0, 0, 0, 0, 0, 0, 0, cookie))
        while (left := ends - time.monotonic()) > 0:
            asking.settimeout(left)
            answer = asking.recv(_MAX_ANSWER)
            took = time.monotonic() - began
            if found := _understood(answer, cookie, sent, took):
                return found
    raise TimeoutError("no answer in time")


def _understood(answer: bytes, cookie: int, sent: float, took: float) -> Offset | None:
    """RFC 4330 5; None for what is no answer to our question. Errors: ValueError."""
    if len(answer) < _PACKET.size:
        return None
    first, stratum, _, _, _, _, reference, _, origin, received, transmitted = _PACKET.unpack_from(answer)
    if first & 7 != _SERVER or origin != cookie:
        return None
    if stratum == 0:
        raise ValueError(f"it refuses: {reference.to_bytes(4)!r}")  # RFC 4330 8: kiss-o'-death
    if first >> 6 == _ALARM or stratum > 15 or not transmitted:
        raise ValueError("it does not know the time")
    theirs = _seconds(received, sent), _seconds(transmitted, sent)
    delay = took - (theirs[1] - theirs[0])
    return Offset(((theirs[0] - sent) + (theirs[1] - (sent + took))) / 2, max(0.0, delay), stratum)


def _seconds(stamp: int, near: float) -> float:
    """Since 1970, in the era of NTP that is nearest (RFC 4330 3: the first ends in 2036)."""
    seconds = stamp / _ERA - _SINCE_1900
    return seconds + round((near - seconds) / _ERA) * _ERA
