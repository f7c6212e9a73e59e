"""PASSporTs of the types that go with a shaken one: div (RFC 8946), rph (RFC 8443, RFC 9027), rcd (RFC 9795).

None of them has a compact form here: what they claim is in no SIP header field, or not in all of its detail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.passport.div import DivClaims, div_claims
from kamailio_app.passport.encoding import from_base64url, json_object
from kamailio_app.passport.passport import JoseHeader
from kamailio_app.passport.rcd import RcdClaims, rcd_claims
from kamailio_app.passport.rph import RphClaims, rph_claims

DIV: Final = "div"
RPH: Final = "rph"
RCD: Final = "rcd"
ExtensionClaims = DivClaims | RphClaims | RcdClaims
_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], ExtensionClaims]]] = {
    DIV: div_claims,
    RPH: rph_claims,
    RCD: rcd_claims,
}
EXTENSIONS: Final = frozenset(_READERS)


class ExtensionPassport(NamedTuple):
    """A decoded PASSporT; nothing is verified yet. `members` is the payload, `signing_input` what was received."""

    header: JoseHeader
    claims: ExtensionClaims
    signing_input: bytes
    signature: bytes
    members: Mapping[str, Any]

    def payload(self) -> Mapping[str, Any]:
        """All claims, also those that mean nothing to us."""
        return self.members


def extension_passport(digest: str, header: JoseHeader) -> ExtensionPassport:
    """Decode the full form of a PASSporT whose header says one of these types.

    Errors: `passport_malformed`, `ppt_mismatch`, those of the type's claims.
    """
    reader = _READERS.get(header.ppt or "")
    if reader is None:
        raise failure("ppt_mismatch", repr(header.ppt))
    signed, _, signature = digest.rpartition(".")
    members = json_object(from_base64url(signed.partition(".")[2]))
    return ExtensionPassport(header, reader(members), signed.encode("ascii"), from_base64url(signature), members)
