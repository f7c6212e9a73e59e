"""Is the edge well? Exits with 0 if Kamailio tells its sockets by kamcmd and a SIP worker answers an OPTIONS there.

With HOST:PORT as argument only the OPTIONS is sent, there. Any SIP response will do: what an edge answers to OPTIONS is
its routing script's matter. Python's standard library only.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import uuid

SECONDS = 1.5


def sockets() -> list[tuple[str, int]]:
    """Where Kamailio listens on UDP, as it says itself. Errors: TimeoutExpired, CalledProcessError."""
    command = ["kamcmd", "core.sockets_list"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    found = re.findall(r"proto:\s*udp\s.*?ipaddress:\s*(\S+).*?port:\s*(\d+)", text, re.DOTALL)
    return [(host, int(port)) for host, port in found]


def answers(host: str, port: int) -> bool:
    """A SIP response to an OPTIONS came in time."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, proto) as probe:
        probe.settimeout(SECONDS)
        probe.connect(address)
        here, mine = probe.getsockname()[:2]
        bracket = "[{}]" if ":" in here else "{}"
        local, there = f"{bracket.format(here)}:{mine}", f"{bracket.format(address[0])}:{port}"
        call_id = uuid.uuid4().hex
        request = (
            f"OPTIONS sip:{there} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{call_id}\r\n"
            f"From: <sip:health@{local}>;tag=1\r\nTo: <sip:{there}>\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
        )
        probe.send(request.encode())
        try:
            return probe.recv(4096).startswith(b"SIP/2.0 ")
        except TimeoutError:
            return False


def main(arguments: list[str]) -> int:
    """The exit status."""
    try:
        if arguments:
            host, _, port = arguments[0].rpartition(":")
            targets = [(host.strip("[]"), int(port))]
        else:
            targets = sockets()
        silent = next((f"{host}:{port}" for host, port in targets if not answers(host, port)), "")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"not well: {error}")
        return 1
    if silent or not targets:
        print(f"not well: no SIP answer from {silent or 'anywhere: no UDP socket'}")
        return 1
    print("well:", ", ".join(f"{host}:{port}" for host, port in targets))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
