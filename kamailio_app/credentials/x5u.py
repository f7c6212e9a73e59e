"""Which x5u URLs are dereferenced (RFC 8224 7.3, ATIS-1000074 rules). Syntax only: addresses are the fetcher's business."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from kamailio_app.errors import failure
from kamailio_app.grammar import URI_CHARACTERS

MAX_URL_OCTETS: Final = 2048
_REMEMBERED_URLS: Final = 1024

_HTTPS_URL: Final = re.compile(r"https://([^/?#]*+)(/[^?#]*+)?+(\?[^#]*+)?+(#.*)?+", re.IGNORECASE)
_CHARACTERS: Final = re.compile(URI_CHARACTERS)
# A host name whose last label is no number: 127.1 and 0x7f.1 are addresses to some resolvers
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9\-]{0,61}[a-z0-9])?\.?", re.IGNORECASE)


class X5uRules(NamedTuple):
    """`ports` a URL may name; none named is 443."""

    ports: frozenset[int] = frozenset({443, 8443})


DEFAULT_RULES: Final = X5uRules()


@lru_cache(maxsize=_REMEMBERED_URLS)
def check_x5u(url: str, rules: X5uRules) -> None:
    """Refuse what must not be dereferenced. Errors: `x5u_refused`. Exceptions are not remembered."""
    if len(url) > MAX_URL_OCTETS or not _CHARACTERS.fullmatch(url):
        raise failure("x5u_refused", "length or characters")
    match = _HTTPS_URL.fullmatch(url)
    if match is None:
        raise failure("x5u_refused", "not https")
    authority, _path, query, fragment = match.groups()
    if "@" in authority:
        raise failure("x5u_refused", "userinfo")
    if query is not None or fragment is not None:
        raise failure("x5u_refused", "query or fragment")
    host, colon, port = authority.partition(":")
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise failure("x5u_refused", "no host name")
    if colon and not re.fullmatch(r"[0-9]{1,5}", port):
        raise failure("x5u_refused", "port")
    if int(port or 443) not in rules.ports:
        raise failure("x5u_refused", f"port {port}")
