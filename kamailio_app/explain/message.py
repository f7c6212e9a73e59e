"""A SIP message as somebody copied it: request line and header fields, read with tolerance (RFC 3261 7).

What an edge sees is read by the SIP server; this is for text from a file, a capture or a mail. Takes CRLF or LF, folded lines,
compact names, lines of other tools before the message, and ngrep's dots for CR.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kamailio_app import sip
from kamailio_app.adapters.calls import MAX_ASSERTED
from kamailio_app.errors import failure
from kamailio_app.sip import Request
from kamailio_app.sti_vs import MAX_IDENTITY_HEADERS

MAX_OCTETS: Final = 1 << 20
_MAX_FIELDS: Final = 1000
_MAX_PRIORITIES: Final = 8  # as the adapter reads them
_MAX_DIVERSIONS: Final = 20

# RFC 3261 7.1, 7.2: a request line, or a status line
START_LINE: Final = re.compile(
    r"^(?:([A-Z]{2,20}) (\S{1,4096}) SIP/2\.0|SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*?))?)(\.?)\r?$", re.ASCII | re.MULTILINE
)
_INDENTED: Final = re.compile(
    r"^([ \t]{1,200})(?:[A-Z]{2,20} \S{1,4096} SIP/2\.0|SIP/2\.0 [1-6][0-9]{2}(?: [^\r\n]*?)?)\.?\r?$", re.ASCII | re.MULTILINE
)
_NAME: Final = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]{1,64})[ \t]*:[ \t]*", re.ASCII)
# RFC 3261 20, RFC 8224 13
_COMPACT: Final = {"y": "identity", "f": "from", "t": "to", "i": "call-id", "v": "via", "m": "contact", "l": "content-length"}
# RFC 3261 25.1; what is opened and never closed reaches to the end
_QUOTED: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_TAG: Final = re.compile(r";\s*tag\s*=", re.IGNORECASE)
_CSEQ: Final = re.compile(r"\s*([0-9]{1,10})\s+([A-Z]{2,20})\s*", re.ASCII)


class Message(NamedTuple):
    """`code` is 0 for a request. Header fields in their order, names in lower case and in full; values as they came, with their
    folds.
    """

    method: str
    request_uri: str
    code: int
    phrase: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> tuple[str, ...]:
        return tuple([value for key, value in self.fields if key == name])

    def value(self, name: str) -> str | None:
        """The first; None if there is none."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def call_id(self) -> str:
        return self.value("call-id") or ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method; 0 and nothing where there is none."""
        match = _CSEQ.fullmatch(self.value("cseq") or "")
        return (int(match[1]), match[2]) if match else (0, "")

    def request(self) -> Request:
        """The snapshot, as the adapter makes it."""
        to = self.value("to") or ""
        return Request(
            self.method,
            self.request_uri,
            _uri(self.value("from")),
            _uri(to),
            self.values("p-asserted-identity")[:MAX_ASSERTED],
            self.values("identity")[: MAX_IDENTITY_HEADERS + 1],
            self.value("date"),
            bool(_TAG.search(_QUOTED.sub("", to).rpartition(">")[2])),
            resource_priority=self.values("resource-priority")[:_MAX_PRIORITIES],
            priority=self.value("priority"),
            diversion=self.values("diversion")[:_MAX_DIVERSIONS],
            history_info=self.values("history-info")[:_MAX_DIVERSIONS],
        )


def read_message(octets: bytes) -> Message:
    """The first SIP message in the text; one in its body is none. Errors: `input_unrecognised`."""
    if len(octets) > MAX_OCTETS:
        raise failure("input_unrecognised", f"more than {MAX_OCTETS} octets are no SIP message")
    text = outdented(octets.decode("utf-8", "replace"))
    first = START_LINE.search(text)
    if first is None:
        raise failure("input_unrecognised", "no request line, like INVITE sip:+12155550131@example.net SIP/2.0")
    method, uri, code, phrase, dot = first.groups("")
    return Message(method, uri, int(code or 0), phrase, _fields(text[first.end() :], dots=bool(dot)))


def outdented(text: str) -> str:
    """A message that somebody has indented, as a mail or a wiki page does, moved back to the left."""
    if START_LINE.search(text):
        return text
    first = _INDENTED.search(text)
    return re.sub(rf"^{first[1]}", "", text, flags=re.MULTILINE) if first else text


def _fields(text: str, *, dots: bool) -> tuple[tuple[str, str], ...]:
    """Up to the empty line. A line that is neither a field nor a fold is passed over."""
    found: list[tuple[str, list[str]]] = []
    # The rest of the request line's own end
    for line in text.removeprefix("\r").removeprefix("\n").split("\n"):
        bare = line.removesuffix("\r")
        if dots:
            bare = bare.removesuffix(".")
        if not bare or len(found) >= _MAX_FIELDS:
            break
        if bare[0] in " \t":
            if found:
                found[-1][1].append(bare)
        elif name_and_colon := _NAME.match(bare):
            name = name_and_colon[1].lower()
            found.append((_COMPACT.get(name, name), [bare[name_and_colon.end() :].rstrip(" \t")]))
    return tuple([(name, "\r\n".join(lines)) for name, lines in found])


def _uri(value: str | None) -> str:
    """The URI of a name-addr or addr-spec; empty if there is none."""
    return next(iter(sip.uris(value)), "") if value else ""
