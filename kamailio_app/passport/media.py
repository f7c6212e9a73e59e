"""Media keys (RFC 8225 5.2.2, RFC 8224 4.1 with erratum 5390): the fingerprints that stand in a request's SDP, as claim mky."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kamailio_app.errors import failure

_MAX_SDP: Final = 65536
_MAX_KEYS: Final = 32
# RFC 8122 5: hash function and pairs of hexadecimal digits; all lines that look like one, to say which are none
_LINE: Final = re.compile(r"^a=fingerprint:([^\r\n]*+)", re.MULTILINE)
_FINGERPRINT: Final = re.compile(r"([A-Za-z0-9\-]{1,32}) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,63})[ \t]*", re.ASCII)
# RFC 8122 5: nobody may rely on these
_BROKEN: Final = frozenset({"md2", "md5"})


class MediaKey(NamedTuple):
    """One fingerprint: hash function in lower case, digest in upper case without colons."""

    alg: str
    dig: str


def media_keys(sdp: str) -> tuple[MediaKey, ...]:
    """Each fingerprint of the SDP once, sorted (RFC 8225 5.2.2). It may be one part among others of the body.

    Errors: `claim_malformed`.
    """
    if len(sdp) > _MAX_SDP:
        raise failure("claim_malformed", "mky: SDP too large")
    keys: set[MediaKey] = set()
    for line in _LINE.findall(sdp):
        fingerprint = _FINGERPRINT.fullmatch(line)
        if fingerprint is None:
            raise failure("claim_malformed", f"mky: {line[:80]!r}")
        keys.add(MediaKey(fingerprint[1].lower(), fingerprint[2].replace(":", "").upper()))
    if len(keys) > _MAX_KEYS:
        raise failure("claim_malformed", f"mky: {len(keys)} fingerprints")
    return tuple(sorted(key for key in keys if key.alg not in _BROKEN))


def media_members(keys: tuple[MediaKey, ...]) -> list[dict[str, str]]:
    """The claim."""
    return [key._asdict() for key in keys]
