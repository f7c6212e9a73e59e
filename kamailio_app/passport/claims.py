"""Claims of every PASSporT and of a shaken one, with strict types (RFC 8225 5, RFC 8588 3-5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from json.encoder import encode_basestring
from typing import Any, Final, Literal, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.sip import Party


class Attestation(StrEnum):
    """RFC 8588 4: what the signer says of the caller's right to the number."""

    FULL = "A"
    PARTIAL = "B"
    GATEWAY = "C"


_LEVELS: Final = {level.value: level for level in Attestation}
_MANDATORY: Final = ("attest", "dest", "iat", "orig", "origid")
_KINDS: Final[tuple[Literal["tn", "uri"], ...]] = ("tn", "uri")
MAX_DEST: Final = 100  # an honest one has a handful; each is put into canonical form
_MAX_ORIGID: Final = 255
_MAX_IAT: Final = 2**53  # the largest integer that every JSON reader keeps (RFC 8259 6)


class ShakenClaims(NamedTuple):
    """The five claims. `iat` in seconds since 1970; `orig` and `dest` as on the wire, not yet canonical."""

    attest: Attestation
    dest: tuple[Party, ...]
    iat: int
    orig: Party
    origid: str

    def members(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {**base_members(self.dest, self.iat, self.orig), "attest": self.attest.value, "origid": self.origid}


def base_members(dest: Iterable[Party], iat: int, orig: Party) -> dict[str, Any]:
    """The claims of every PASSporT as they are signed: dest is always arrays, sorted (RFC 8225 5.2.1)."""
    identities: dict[str, list[str]] = {}
    for kind, value in sorted(set(dest)):
        identities.setdefault(kind, []).append(value)
    return {"dest": identities, "iat": iat, "orig": {orig.kind: orig.value}}


def shaken_json(attest: Attestation, dest: str, iat: int, orig: str, origid: str) -> str:
    """`canonical_json` of the claims of a call from one number to one number, which nearly all are, in a tenth of the time."""
    return (
        f'{{"attest":"{attest.value}","dest":{{"tn":[{encode_basestring(dest)}]}},"iat":{iat},'
        f'"orig":{{"tn":{encode_basestring(orig)}}},"origid":{encode_basestring(origid)}}}'
    )


# Deterministic JSON has one spelling (RFC 8225 9), and this is it for a call from one number to one number
_DETERMINISTIC: Final = re.compile(
    r'\{"attest":"([ABC])","dest":\{"tn":\["([0-9#*]+)"\]\},"iat":([1-9][0-9]{0,14}),'
    r'"orig":\{"tn":"([0-9#*]+)"\},"origid":"([0-9A-Za-z\-]{1,255})"\}',
    re.ASCII,
)


def deterministic_claims(octets: bytes) -> ShakenClaims | None:
    """The claims in the octets of a payload, if it is deterministic JSON of one number calling one, with no other claims."""
    if known := _DETERMINISTIC.fullmatch(str(octets, "latin-1")):
        attest, dest, iat, orig, origid = known.groups()
        return ShakenClaims(_LEVELS[attest], (Party("tn", dest),), int(iat), Party("tn", orig), origid)
    return None


def shaken_claims(members: Mapping[str, Any]) -> ShakenClaims:
    """Read the claims. Unknown ones are ignored (RFC 8225 8.3).

    Errors: `claim_missing`, `claim_malformed`, `attest_invalid`.
    """
    # Not checked: mky, the media keys in SDP (RFC 8225 5.2.2). SHAKEN has no use for it, and the fingerprints that an edge
    # sees are those of the last gateway or media relay, not the signer's
    require(members, _MANDATORY)
    attest, origid = members["attest"], members["origid"]
    iat = read_iat(members["iat"])
    if type(origid) is not str or not 0 < len(origid) <= _MAX_ORIGID:
        raise failure("claim_malformed", "origid")
    if type(attest) is not str or attest not in _LEVELS:
        raise failure("attest_invalid", repr(attest))
    return ShakenClaims(_LEVELS[attest], read_dest(members["dest"]), iat, read_orig(members["orig"]), origid)


def require(members: Mapping[str, Any], names: Iterable[str]) -> None:
    """Errors: `claim_missing`."""
    for name in names:
        if name not in members:
            raise failure("claim_missing", name)


def read_iat(value: Any) -> int:
    """A whole number of seconds since 1970. Errors: `claim_malformed`."""
    # type() and not isinstance(): true is no number (RFC 8225 9 rule 4)
    if type(value) is not int or not 0 <= value <= _MAX_IAT:
        raise failure("claim_malformed", "iat")
    return value


def read_orig(value: Any) -> Party:
    """RFC 8225 5.2.1: exactly one identity, a string. Errors: `claim_malformed`."""
    if type(value) is not dict or len(value) != 1:
        raise failure("claim_malformed", "orig")
    return read_identity(value, "orig")


def read_identity(value: Mapping[str, Any], name: str) -> Party:
    """The one identity among the members of a claim. Errors: `claim_malformed`."""
    found = [Party(kind, value[kind]) for kind in _KINDS if kind in value]
    if len(found) != 1 or type(found[0].value) is not str or not found[0].value:
        raise failure("claim_malformed", name)
    return found[0]


def read_dest(value: Any) -> tuple[Party, ...]:
    """RFC 8225 5.2.1: one or more identities, always in arrays, and no more than anybody calls at once.

    Errors: `claim_malformed`.
    """
    if type(value) is not dict or not value or not value.keys() <= set(_KINDS):
        raise failure("claim_malformed", "dest")
    parties: list[Party] = []
    for kind, identities in value.items():
        if type(identities) is not list or not 0 < len(identities) <= MAX_DEST - len(parties):
            raise failure("claim_malformed", "dest")
        for identity in identities:
            if type(identity) is not str or not identity:
                raise failure("claim_malformed", "dest")
            parties.append(Party(kind, identity))
    return tuple(parties)
