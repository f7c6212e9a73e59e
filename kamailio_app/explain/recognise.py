"""What was given: a capture, a SIP message, an Identity header, or a log."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from kamailio_app.errors import StirError, failure
from kamailio_app.explain.capture import is_capture
from kamailio_app.explain.message import START_LINE, outdented

HEAD: Final = 1 << 16  # octets that are looked at
_PART: Final = r"[A-Za-z0-9_\-\s]"
_IDENTITY: Final = re.compile(rf"(?:identity|y)[ \t]*:|{_PART}*+\.{_PART}*+\.{_PART}++(?:;|\Z)", re.IGNORECASE)
_NAME: Final = re.compile(r"(?:identity|y)[ \t]*:[ \t]*", re.IGNORECASE)
_LOG: Final = "stirshaken: "
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_DER: Final = b"\x30\x82"


class Kind(StrEnum):
    MESSAGE = "message"
    IDENTITY = "identity"
    CAPTURE = "capture"
    LOG = "log"


def recognise(head: bytes) -> Kind:
    """By its beginning. A text that is nothing else is a log: ours may begin with lines of others."""
    if is_capture(head):
        return Kind.CAPTURE
    text = outdented(head.decode("utf-8", "replace")).lstrip()
    message = START_LINE.search(text)
    if message and _LOG not in text[: message.start()]:
        return Kind.MESSAGE
    return Kind.IDENTITY if _IDENTITY.match(text) else Kind.LOG


def unrecognised(head: bytes, name: str) -> StirError:
    """Why that is nothing that can be explained. `name`: of the file, empty for standard input."""
    if not head.strip():
        return failure("input_unrecognised", f"{name or 'standard input'} is empty")
    pem = _PEM.search(head)
    if pem or head.startswith(_DER):
        kind = f"PEM, {pem[1].decode('ascii')}" if pem else "DER, as certificates and keys are"
        return failure("input_unrecognised", f"it is {kind}", f"`shakenctl inspect {name or 'FILE'}` shows what is in it.")
    return failure(
        "input_unrecognised", "it is neither a SIP message, an Identity header, a capture, lines of our log, nor a token"
    )


def identity_values(text: str) -> tuple[str, ...]:
    """The Identity header fields in a text: each line that begins with the name begins one, folds go on."""
    found: list[list[str]] = []
    for line in text.strip().splitlines():
        name = _NAME.match(line)
        if name or not found:
            found.append([line[name.end() if name else 0 :].strip()])
        elif line[:1] in (" ", "\t"):
            found[-1].append(f"\r\n{line}")
        else:
            found[-1].append(line.strip())  # broken by whoever mailed it
    return tuple(map("".join, found))
