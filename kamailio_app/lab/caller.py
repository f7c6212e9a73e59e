"""`python -m kamailio_app.lab.caller`: SIPp places signed and unsigned calls; the table tells what the callee saw.

Exits with 1 if one call did not come out as it should.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kamailio_app.errors import NOT_VALIDATED, PASSED
from kamailio_app.lab.callee import verstat
from kamailio_app.lab.network import CALLED, CALLER
from kamailio_app.lab.sipp import messages, place_call

_SECONDS: Final = 3.0  # until the callee's trace has to tell of a call that was answered


@dataclass(frozen=True)
class Call:
    """One call: through the edge that signs, or straight to the one that verifies; and the verstat that has to come of it."""

    title: str
    signed: bool
    headers: str
    expected: str


CALLS: Final = (
    *(Call(f"Signed, attestation {level}", True, f"P-Attestation-Indicator: {level}", PASSED) for level in "ABC"),
    Call("Unsigned, from another carrier", False, "Subject: unsigned", NOT_VALIDATED),
    Call(
        "Unsigned, with a verstat of its own",
        False,
        f"P-Asserted-Identity: <sip:{CALLER};verstat={PASSED}@carrier.example;user=phone>",
        NOT_VALIDATED,
    ),
)


def saw(trace: Path, call_id: str) -> str:
    """verstat that the callee saw in that call; polls until the trace tells. Nothing if it never does."""
    ends = time.monotonic() + _SECONDS
    while time.monotonic() < ends:
        for message in messages(trace.read_text("latin-1") if trace.exists() else ""):
            if message.received and message.start_line.startswith("INVITE ") and message.header("call-id") == call_id:
                return verstat(message)
        time.sleep(0.05)
    return ""


def address(text: str) -> tuple[str, int]:
    """HOST or HOST:PORT, resolved: SIPp is told numbers."""
    host, _, port = text.partition(":")
    return socket.gethostbyname(host), int(port or 5060)


def source(target: tuple[str, int]) -> str:
    """The address of ours from which the target is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        host: str = probe.getsockname()[0]
        return host


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m kamailio_app.lab.caller", description=__doc__.partition("\n")[0])
    parser.add_argument("--sign", type=address, required=True, metavar="HOST:PORT", help="the edge that signs")
    parser.add_argument("--verify", type=address, required=True, metavar="HOST:PORT", help="the edge that verifies")
    parser.add_argument("--trace", type=Path, required=True, help="the callee's trace")
    parser.add_argument("--directory", type=Path, default=Path(), help="where SIPp's traces go (default: here)")
    arguments = parser.parse_args()
    bad = 0
    print(f"  {'Call':<38} {'Caller got':<28} {'Callee saw':<22} {'ms':>5}")
    for number, call in enumerate(CALLS, start=1):
        target = arguments.sign if call.signed else arguments.verify
        outcome = place_call(
            arguments.directory,
            f"call{number}",
            source=source(target),
            target=target,
            caller=CALLER,
            called=CALLED,
            extra=call.headers,
        )
        seen = saw(arguments.trace, outcome.call_id) if outcome.code == 200 else ""
        good = (outcome.code, seen) == (200, call.expected)
        bad += not good
        got = f"{outcome.code} {outcome.phrase}"
        print(f"{' ' if good else '!'} {call.title:<38} {got:<28} {seen or '-':<22} {outcome.seconds * 1000:5.0f}", flush=True)
    print(f"{len(CALLS)} calls, {bad} not as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
