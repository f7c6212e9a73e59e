"""`python -m kamailio_app.lab.callee`: SIPp answers calls until it is stopped; one line tells of each what the callee saw."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Final

from kamailio_app.lab.sipp import Callee, Message, messages

_DIVIDER: Final = re.compile(r"^-{10,} ", re.MULTILINE)
_VERSTAT: Final = re.compile(r";verstat=([A-Za-z-]+)")


def verstat(invite: Message) -> str:
    """verstat on the identity that counts: P-Asserted-Identity if there is one, else From."""
    return ",".join(_VERSTAT.findall(invite.header("p-asserted-identity") or invite.header("from")))


def _line(invite: Message) -> str:
    words = [f"call-id={invite.header('call-id')}", f"verstat={verstat(invite) or '-'}"]
    words.append(f"identity={len(invite.headers.get('identity', ()))}")
    return f"callee: INVITE {' '.join(words)}"


def complete(text: str) -> int:
    """Where the last message of a growing trace begins: what stands before is whole."""
    return max((found.start() for found in _DIVIDER.finditer(text)), default=0)


def watch(callee: Callee) -> None:
    """Print a line per call for as long as SIPp runs."""
    rest, offset = "", 0
    while callee.alive:
        if callee.trace.exists():
            with callee.trace.open("rb") as file:
                file.seek(offset)
                text = file.read()
            offset += len(text)
            rest += text.decode("latin-1")
            whole = complete(rest)
            for message in messages(rest[:whole]):
                if message.received and message.start_line.startswith("INVITE "):
                    print(_line(message), flush=True)
            rest = rest[whole:]
        time.sleep(0.2)


def main() -> int:
    """Runs until it is stopped; 1 if SIPp ends before that."""
    parser = argparse.ArgumentParser(prog="python -m kamailio_app.lab.callee", description=__doc__)
    parser.add_argument("host", help="the address to listen at")
    parser.add_argument("--port", type=int, default=5060)
    parser.add_argument("--directory", type=Path, default=Path(), help="where SIPp's trace goes (default: here)")
    arguments = parser.parse_args()
    for old in arguments.directory.glob("callee.*"):
        old.unlink()
    with Callee(arguments.directory, arguments.host, port=arguments.port) as callee:
        watch(callee)
        print(f"callee: SIPp ended:\n{(arguments.directory / 'callee.log').read_text()[-800:]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
