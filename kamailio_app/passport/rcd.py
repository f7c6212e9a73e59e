"""Rich call data (RFC 9795): who calls, as text and picture, and why. In a PASSporT of type rcd or in a shaken one.

rcdi digests of what stands in the PASSporT itself are checked, once its signature is known to be good. What a URI leads to is
not fetched here, and its digests are passed on unchecked.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.passport.claims import read_dest, read_iat, read_orig, require
from kamailio_app.passport.encoding import canonical_json, json_object
from kamailio_app.sip import Party

CLAIMS: Final = ("rcd", "crn")
_MANDATORY: Final = ("dest", "iat", "orig")
_MAX_TEXT: Final = 1024
_MAX_DIGESTS: Final = 64  # a jCard with a picture and a sound in each of its lines has fewer
_MAX_DIGESTED: Final = 65536  # octets, of all digests together: several times all of an honest rcd
_TEXTS: Final = ("nam", "apn", "icn", "jcl")
_DIGEST: Final = re.compile(r"(?:sha256|sha384|sha512)-[A-Za-z0-9+/]++={0,2}", re.ASCII)
_URI: Final = re.compile(r"[a-z][a-z0-9+.\-]*+:[^\s<>\"]++", re.ASCII | re.IGNORECASE)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)
_NAMES: Final = ("/nam", "/apn")
_ABSENT: Final[Any] = object()
_REMEMBERED: Final = 1024  # as many customers, say, sign without their data being checked anew


class RichCallData(NamedTuple):
    """Empty is absent. `jcd` is a jCard as JSON text, `icn` and `jcl` are URIs.

    `digests` are the pairs of JSON pointer and digest from rcdi that are not checked. After `check_digests` these belong to
    what a URI leads to. Nothing is fetched here: whoever fetches it has to check them.
    """

    nam: str = ""
    apn: str = ""
    icn: str = ""
    jcl: str = ""
    jcd: str = ""
    crn: str = ""
    digests: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=_REMEMBERED)
def rcd_members(data: RichCallData) -> Mapping[str, Any]:
    """The claims rcd, rcdi and crn as they are signed. A picture is signed by its URI, and by `digests` what is behind it.

    Errors: those of `rich_call_data` and `check_digests`: what no verifier would show is not signed.
    """
    rcd: dict[str, Any] = {name: text for name in _TEXTS if (text := getattr(data, name))}
    if data.jcd:
        rcd["jcd"] = json_object(f'{{"jcd":{data.jcd}}}'.encode())["jcd"]
    members: dict[str, Any] = {"rcd": {"nam": "", **rcd}} if rcd else {}
    if data.digests:
        members["rcdi"] = dict(data.digests)
    if data.crn:
        members["crn"] = data.crn
    check_digests(rich_call_data(members), members)
    return members


class RcdClaims(NamedTuple):
    """The claims of a PASSporT of type rcd; `orig` and `dest` as on the wire."""

    dest: tuple[Party, ...]
    iat: int
    orig: Party
    rcd: RichCallData


def rcd_claims(members: Mapping[str, Any]) -> RcdClaims:
    """Read the claims. Errors: `claim_missing`, those of `rich_call_data`."""
    require(members, _MANDATORY)
    if not any(name in members for name in CLAIMS):
        raise failure("claim_missing", "rcd")
    claims = read_dest(members["dest"]), read_iat(members["iat"]), read_orig(members["orig"])
    return RcdClaims(*claims, rich_call_data(members))


def rich_call_data(members: Mapping[str, Any]) -> RichCallData:
    """The rcd, rcdi and crn claims of any PASSporT, no digest checked. Errors: `claim_missing`, `claim_malformed`."""
    rcd, crn = members.get("rcd", {}), members.get("crn", "")
    if type(rcd) is not dict:
        raise failure("claim_malformed", "rcd")
    if "rcd" in members:
        require(rcd, ("nam",))
    texts = {name: rcd.get(name, "") for name in _TEXTS}
    for name, text in (*texts.items(), ("crn", crn)):
        if type(text) is not str or len(text) > _MAX_TEXT:
            raise failure("claim_malformed", name)
    for name in ("icn", "jcl"):
        if name in rcd and not _URI.fullmatch(texts[name]):
            raise failure("claim_malformed", name)
    jcd = rcd.get("jcd", _ABSENT)
    if jcd is not _ABSENT and (type(jcd) is not list or "jcl" in rcd):
        raise failure("claim_malformed", "jcd")
    try:
        canonical_json([rcd, crn])
    except ValueError as error:  # half a surrogate pair, 1e999
        raise failure("claim_malformed", "rcd") from error
    digests = _read_digests(members["rcdi"]) if "rcdi" in members else ()
    return RichCallData(**texts, jcd="" if jcd is _ABSENT else canonical_json(jcd).decode(), crn=crn, digests=digests)


def _read_digests(rcdi: Any) -> tuple[tuple[str, str], ...]:
    # The bare text is a deployed signer's digest of all of rcd
    digests = {"": rcdi} if type(rcdi) is str else rcdi
    if type(digests) is not dict or len(digests) > _MAX_DIGESTS:
        raise failure("claim_malformed", "rcdi")
    for pointer, digest in digests.items():
        if type(digest) is not str or not _DIGEST.fullmatch(digest) or (pointer and pointer[0] != "/"):
            raise failure("claim_malformed", "rcdi")
    return tuple(digests.items())


def check_digests(data: RichCallData, members: Mapping[str, Any]) -> RichCallData:
    """RFC 9795 6: check what is in the claims themselves; the digests that are left are of what is behind a URI.

    Its cost is the signer's choice: check the signature first. Errors: `claim_malformed`, `rcd_digest_mismatch`.
    """
    behind_uris: list[tuple[str, str]] = []
    digested = 0
    for pointer, digest in data.digests:
        content = _content(members.get("rcd", {}), pointer)
        if content is None:
            behind_uris.append((pointer, digest))
            continue
        digested += len(content)
        if digested > _MAX_DIGESTED:
            raise failure("claim_malformed", "rcdi: too much to digest")
        algorithm, _, text = digest.partition("-")
        if b64encode(hashlib.new(algorithm, content).digest()).decode().rstrip("=") != text.rstrip("="):
            raise failure("rcd_digest_mismatch", pointer)
    return data._replace(digests=tuple(behind_uris))


def _content(rcd: Mapping[str, Any], pointer: str) -> bytes | None:
    """What a JSON pointer (RFC 6901) leads to, as the octets that are digested; None if they are behind a URI.

    Errors: `rcd_digest_mismatch` if it leads nowhere.
    """
    value: Any = rcd
    # The first part is empty: a pointer begins with a slash
    for part in pointer.split("/")[1:]:
        # RFC 9795 6: /jcl/1/3/3 goes on in the jCard that is fetched
        if type(value) is str and _URI.fullmatch(value):
            return None
        value = _member(value, part.replace("~1", "/").replace("~0", "~"))
        if value is _ABSENT:
            raise failure("rcd_digest_mismatch", f"nothing at {pointer}")
    if type(value) is not str:
        return canonical_json([value])[1:-1]
    # Names are text, whatever they look like
    return None if pointer not in _NAMES and _URI.fullmatch(value) else value.encode()


def _member(value: Any, name: str) -> Any:
    if type(value) is dict:
        return value.get(name, _ABSENT)
    if type(value) is list and _INDEX.fullmatch(name) and int(name) < len(value):
        return value[int(name)]
    return _ABSENT
