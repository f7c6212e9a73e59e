"""The port: what a SIP server has to offer. Text in, text out; nothing of STIR in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from kamailio_app.sip import Request

Level = Literal["err", "warn", "info"]


class SipPort(Protocol):
    """The SIP request at hand, and the server around it."""

    def request(self) -> Request:
        """The snapshot. Text that is no UTF-8 is shown with replacement characters, never raised."""

    def call_id(self) -> str: ...

    def reasons(self) -> tuple[str, ...]:
        """Of a response: its Reason header field values."""

    def identity_upstream(self) -> tuple[str, ...]:
        """Of a response: the Identity header field values that its request came with."""

    def replace_header(self, name: str, values: Sequence[str]) -> None:
        """Put these values in the place of all headers of this name."""

    def request_in_full(self) -> Request:
        """The snapshot with all that is ever looked at: also who diverted the call, and its priority."""

    def privacy(self) -> tuple[str, ...]:
        """The Privacy header field values."""

    def body(self) -> str:
        """The body as text, or nothing."""

    def script(self, name: str) -> str:
        """What the routing script says, or nothing: trunk, customer, diversions, dest, rcd_name, rcd_reason."""

    def source(self) -> str:
        """The IP address that the request comes from."""

    def source_port(self) -> int: ...

    def transport(self) -> str:
        """How it came: udp, tcp, tls, sctp, ws, wss."""

    def tls_peer(self) -> str:
        """The names in the certificate of the TLS client, with spaces between, or nothing."""

    def append_headers(self, lines: str) -> None:
        """Whole header lines, each ended by CRLF."""

    def remove_header(self, name: str) -> None:
        """Take all headers of this name away."""

    def replace_asserted(self, values: Sequence[str]) -> None:
        """Put these P-Asserted-Identity values in the place of all that are there."""

    def remove_asserted(self) -> None:
        """Take all P-Asserted-Identity headers away."""

    def append_asserted(self, values: Sequence[str]) -> None:
        """Put these P-Asserted-Identity values into a request whose own were taken away."""

    def replace_from_uri(self, uri: str, sent: str) -> None:
        """Put another URI into From. `sent` is the one that came: the caller gets it back in the responses."""

    def publish(self, results: Mapping[str, str | int]) -> None:
        """Show results to the routing script."""

    def log(self, level: Level, text: str) -> None: ...

    def logs(self, level: Level) -> bool:
        """Would a line of this level be seen? Saves the making of those that are not."""

    def seen_before(self, key: str, lifetime: int) -> bool:
        """Was this said within so many seconds, in any process? Remembers it. A call does not repeat itself."""

    def once(self, what: str) -> bool:
        """True for the first process that asks, until the next reload."""
