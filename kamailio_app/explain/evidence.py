"""One Identity header value, decoded as far as it can be, whatever is wrong with it: what the checks look at.

Nothing is decided here: every part is what the core's own functions read, or why they do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from kamailio_app.credentials.x5u import check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.judge import Edge, Judged
from kamailio_app.grammar import BASE64URL
from kamailio_app.identity import IdentityHeader, IdentityParameters, parse_identity
from kamailio_app.passport.claims import ShakenClaims, shaken_claims
from kamailio_app.passport.div import DivClaims, div_claims
from kamailio_app.passport.encoding import from_base64url, json_object
from kamailio_app.passport.extension import DIV, EXTENSIONS, RCD, RPH, ExtensionClaims
from kamailio_app.passport.parties import readings
from kamailio_app.passport.passport import MAX_JOSE_TEXT, SHAKEN
from kamailio_app.passport.rcd import rcd_claims
from kamailio_app.passport.rph import rph_claims
from kamailio_app.sip import Party, Request
from kamailio_app.sti_vs import Connections, Examined, VerificationRules
from kamailio_app.verdict import Verdict

SUPPORTED: Final = frozenset({SHAKEN, *EXTENSIONS})
_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], ShakenClaims | ExtensionClaims]]] = {
    SHAKEN: shaken_claims,
    DIV: div_claims,
    RPH: rph_claims,
    RCD: rcd_claims,
}
_DIGEST: Final = re.compile(rf"({BASE64URL}*+)\.({BASE64URL}*+)\.({BASE64URL}*+)=*")

T = TypeVar("T")


def attempt(read: Callable[[], T]) -> T | StirError:
    """The value, or why there is none."""
    try:
        return read()
    except StirError as error:
        return error


@dataclass(frozen=True)
class Evidence:
    """`assumed`: what the request does not say and was taken from the PASSporT ("from", "to"). `now` in seconds since 1970."""

    value: str
    request: Request
    rules: VerificationRules
    now: float
    edge: Edge
    examined: Examined
    verdict: Verdict
    caller: Party | None
    called: Party | None
    connections: Connections | None
    has_div: bool
    diversions: tuple[str, ...]
    assumed: frozenset[str]

    # --- The header field ---------------------------------------------------------------------------------------

    @cached_property
    def identity(self) -> IdentityHeader | StirError:
        return attempt(lambda: parse_identity(self.value))

    @cached_property
    def parameters(self) -> IdentityParameters | None:
        return None if isinstance(self.identity, StirError) else self.identity.parameters

    @cached_property
    def parts(self) -> tuple[str, str, str] | None:
        """Header, payload and signature as text, also of a field that breaks the grammar elsewhere."""
        if isinstance(self.identity, IdentityHeader):
            header, payload, signature = self.identity.digest.split(".")
            return header, payload, signature
        found = _DIGEST.fullmatch(re.sub(r"\s+", "", self.value.partition(";")[0]))
        return (found[1], found[2], found[3]) if found else None

    # --- The PASSporT -------------------------------------------------------------------------------------------

    @cached_property
    def jose(self) -> Mapping[str, Any] | StirError | None:
        """The members of the protected header; None where there is none to read."""
        if self.parts is None or not self.parts[0] or len(self.parts[0]) > MAX_JOSE_TEXT:
            return None
        text = self.parts[0]
        return attempt(lambda: json_object(from_base64url(text)))

    def jose_member(self, name: str) -> Any:
        return self.jose.get(name) if isinstance(self.jose, Mapping) else None

    @cached_property
    def ppt(self) -> str:
        """The type that it is read as."""
        said = (self.jose_member("ppt"), self.parameters.ppt if self.parameters else None)
        return next((ppt for ppt in said if type(ppt) is str and ppt in SUPPORTED), SHAKEN)

    @cached_property
    def members(self) -> Mapping[str, Any] | StirError | None:
        """The payload; None where there is none to read."""
        if self.parts is None or not self.parts[1]:
            return None
        text = self.parts[1]
        return attempt(lambda: json_object(from_base64url(text)))

    @cached_property
    def signature(self) -> bytes | StirError | None:
        if self.parts is None:
            return None
        text = self.parts[2]
        return attempt(lambda: from_base64url(text))

    @cached_property
    def signing_input(self) -> bytes:
        """RFC 8225 6: the octets as received."""
        return ".".join(self.parts[:2]).encode("ascii") if self.parts else b""

    @cached_property
    def claims(self) -> ShakenClaims | ExtensionClaims | StirError | None:
        if not isinstance(self.members, Mapping):
            return None
        members, reader = self.members, _READERS[self.ppt]
        return attempt(lambda: reader(members))

    def claim(self, name: str, read: Callable[[Any], T]) -> T | None:
        """One claim, also where another one is wrong; None if it cannot be read."""
        if not isinstance(self.members, Mapping) or name not in self.members:
            return None
        value = self.members[name]
        found = attempt(lambda: read(value))
        return None if isinstance(found, StirError) else found

    # --- Who has to be covered ----------------------------------------------------------------------------------

    @cached_property
    def subject(self) -> Party | None:
        """RFC 8946 4.2: who diverted the call; otherwise the caller."""
        if self.examined.subject is not None:
            return self.examined.subject
        if isinstance(self.claims, DivClaims):
            return next(iter(readings(self.claims.div, self.rules.plan)), None)
        return self.caller

    # --- The certificate ----------------------------------------------------------------------------------------

    @cached_property
    def url(self) -> str:
        """Where the certificate is: x5u, if that is a URL that is dereferenced."""
        x5u = self.jose_member("x5u")
        if type(x5u) is not str or isinstance(attempt(lambda: check_x5u(x5u, self.rules.x5u)), StirError):
            return ""
        return x5u

    @cached_property
    def judged(self) -> Judged | None:
        """None if no certificate was asked for."""
        return self.edge.judged(self.url, self.now) if self.url else None


def x5u_of(value: str, rules: VerificationRules) -> str:
    """The URL that a header value names, if it is one that is dereferenced; else empty."""
    parts = re.sub(r"\s+", "", value.partition(";")[0]).split(".")
    if len(parts[0]) > MAX_JOSE_TEXT:
        return ""
    try:
        x5u = json_object(from_base64url(parts[0])).get("x5u")
        if type(x5u) is not str:
            raise failure("info_mismatch")
        check_x5u(x5u, rules.x5u)
    except StirError:
        return ""
    return x5u
