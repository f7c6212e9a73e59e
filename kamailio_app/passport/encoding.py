"""Octets of a PASSporT: base64url without padding (RFC 7515 2), deterministic JSON (RFC 8225 9), strict decoding."""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import Any, Final

from kamailio_app.errors import failure

# The last character of a group of 2 or 3 carries 4 or 2 bits that have to be zero (RFC 4648 3.5)
_LAST_OF_GROUP: Final = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}

# A rich call data jCard, the most that a PASSporT holds, has about fifty
_MAX_BRACKETS: Final = 400

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode


def canonical_json(value: Mapping[str, Any] | list[Any]) -> bytes:
    """RFC 8225 9: no whitespace, members sorted by code point, UTF-8."""
    return _encode_json(value).encode()


def to_base64url(octets: bytes) -> str:
    """Base64url without padding (RFC 7515 2)."""
    # Not urlsafe_b64encode: three functions for one
    return b2a_base64(octets, newline=False).decode("ascii").rstrip("=").replace("+", "-").replace("/", "_")


def from_base64url(text: str) -> bytes:
    """Octets of base64url text. The alphabet is the grammar's business (`identity`). Errors: `passport_malformed`."""
    left_over = len(text) % 4
    # One character cannot hold an octet; unused bits that are set give one octet string two texts
    if left_over == 1 or (left_over and text[-1] not in _LAST_OF_GROUP[left_over]):
        raise failure("passport_malformed", "base64url")
    try:
        return a2b_base64(text.replace("-", "+").replace("_", "/") + "=="[: -left_over % 4])
    except (Base64Error, ValueError) as error:
        raise failure("passport_malformed", f"base64url: {error}") from error


def _object_without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    # RFC 8225 9: names are unique; the json module would silently keep the last
    if len(value) != len(members):
        raise ValueError("a member name occurs twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_decode_json = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_no_constant).decode


def json_object(octets: bytes) -> dict[str, Any]:
    """The JSON object in the octets. Errors: `passport_malformed` (also for duplicate names and absurd nesting)."""
    # How deep a decoder goes before it gives up differs between versions of Python; this does not
    if octets.count(b"{") + octets.count(b"[") > _MAX_BRACKETS:
        raise failure("passport_malformed", "JSON: too many brackets")
    try:
        value = _decode_json(octets.decode())
    except ValueError as error:
        raise failure("passport_malformed", f"JSON: {type(error).__name__}") from error
    if type(value) is not dict:
        raise failure("passport_malformed", "JSON: no object")
    return value
