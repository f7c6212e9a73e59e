"""A capture (pcap, pcapng) read by tshark: every INVITE with its responses, IP fragments and TCP streams put together.

tshark reads what strangers sent: it is run without name resolution and without the user's own profile, for a bounded time, and
its answer is read line by line.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from kamailio_app.errors import StirError, failure
from kamailio_app.explain.message import Message, read_message
from kamailio_app.grammar import one_line

MAX_CALLS: Final = 50_000  # some 4 kB of memory each
_LONGEST_LINE: Final = 8 << 20
_MAX_REASONS: Final = 10
_FINAL: Final = 200
_MAGIC: Final = (
    *(b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1"),
    *(b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08"),
)
_COMMAND: Final = (
    *("tshark", "-n", "-l", "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.desegment_tcp_streams:TRUE"),
    *("-o", "ip.defragment:TRUE", "-o", "ipv6.defragment:TRUE"),
    *("-Y", 'sip.CSeq.method == "INVITE"', "-T", "ek", "-x", "-j", "sip", "-r"),
)


class Packet(NamedTuple):
    """One SIP message of a capture. `at` in seconds since 1970; source and destination as address:port."""

    at: float
    source: str
    destination: str
    message: Message


class CapturedCall:
    """An INVITE on one hop, its repetitions, and what came back."""

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self.times = 1
        self.code = 0  # what the far end said: a final code, else a provisional one, else 0
        self.reasons: tuple[str, ...] = ()  # RFC 9410: what the responses say of the verification

    def answered(self, response: Message) -> None:
        """The final response stays, should others be late."""
        if self.code < _FINAL:
            self.code = response.code
        values = [value for value in response.values("reason") if "stir" in value.lower()]
        self.reasons = tuple(dict.fromkeys((*self.reasons, *values)))[:_MAX_REASONS]


def is_capture(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def captured_calls(path: Path, seconds: float, remarks: list[str]) -> list[CapturedCall]:
    """The initial INVITEs in their order. `seconds` for all of it; `remarks` gets what tshark says of a capture that it could
    read in part. Errors: `capture_unreadable`.
    """
    calls: dict[tuple[str, int, str, str], CapturedCall] = {}
    for packet in packets(path, seconds, remarks):
        message = packet.message
        number, _method = message.cseq
        here, there = _host(packet.source), _host(packet.destination)
        if message.code:
            call = calls.get((message.call_id, number, there, here))
            if call is not None:
                call.answered(message)
        elif not message.request().in_dialog:
            key = (message.call_id, number, here, there)
            if key in calls:
                calls[key].times += 1
            elif len(calls) >= MAX_CALLS:
                raise failure("capture_unreadable", f"more than {MAX_CALLS} calls: cut it with editcap")
            else:
                calls[key] = CapturedCall(packet)
    return list(calls.values())


def packets(path: Path, seconds: float, remarks: list[str]) -> Iterator[Packet]:
    """Every INVITE and every response to one. Errors: `capture_unreadable`."""
    some = False
    with tempfile.TemporaryDirectory(prefix="shakenctl-") as home, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [*_COMMAND, str(path.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "WIRESHARK_CONFIG_DIR": home, "LC_ALL": "C.UTF-8"},
            )
        except OSError as error:
            raise failure("capture_unreadable", f"tshark: {error.strerror}") from error
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout):
                for packet in _packets(line):
                    some = True
                    yield packet
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        if late.is_set():
            raise failure("capture_unreadable", f"tshark took more than {seconds:g} s")
        if status:
            said.seek(0)
            lines = [line for line in said.read(4096).decode("utf-8", "replace").splitlines() if "Running as user" not in line]
            why = one_line(" ".join(lines) or f"tshark ended with {status}")
            if not some:
                raise failure("capture_unreadable", why)
            remarks.append(why)  # cut short in the middle of a packet, as a capture under way is


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise failure("capture_unreadable", "a packet larger than any SIP message")
        if line.endswith(b"\n"):  # or tshark was ended in the middle of it
            yield line


def _packets(line: bytes) -> Iterator[Packet]:
    """Of one line of tshark's answer; a frame may hold several messages. What is none is passed over."""
    try:
        frame = json.loads(line)
        layers = frame.get("layers") if isinstance(frame, dict) else None
        if not isinstance(layers, dict):
            return
        at = int(frame["timestamp"]) / 1000
        ends = _ends(layers)
        texts = _texts(layers.get("sip_raw"))
    except (ValueError, KeyError, TypeError) as error:
        raise failure("capture_unreadable", f"tshark's answer: {error}") from error
    for text in texts:
        try:
            yield Packet(at, *ends, read_message(bytes.fromhex(text)))
        except (StirError, ValueError):
            continue


def _texts(raw: Any) -> list[str]:
    """A field as it is in hexadecimal, once or several times."""
    return [text for text in (raw if isinstance(raw, list) else [raw]) if isinstance(text, str)]


def _ends(layers: dict[str, Any]) -> tuple[str, str]:
    """Source and destination, from the headers' octets. Of a tunnel, the inner ones."""
    addresses = ("", "")
    for name, first, size in (("ip_raw", 12, 4), ("ipv6_raw", 8, 16)):
        for text in _texts(layers.get(name))[-1:]:
            octets = bytes.fromhex(text)
            addresses = (_address(octets[first : first + size]), _address(octets[first + size : first + 2 * size]))
    ports = ("", "")
    for name in ("udp_raw", "tcp_raw", "sctp_raw"):
        for text in _texts(layers.get(name))[-1:]:
            octets = bytes.fromhex(text)
            ports = (str(int.from_bytes(octets[:2])), str(int.from_bytes(octets[2:4])))
    return f"{addresses[0]}:{ports[0]}", f"{addresses[1]}:{ports[1]}"


def _address(octets: bytes) -> str:
    address = ip_address(octets)
    return str(address) if address.version == 4 else f"[{address}]"


def _host(end: str) -> str:
    """Without its port: responses may come back elsewhere (RFC 3261 18.2.2)."""
    return end.rpartition(":")[0]
