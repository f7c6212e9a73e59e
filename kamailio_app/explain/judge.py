"""What an edge makes of a signer's certificate: the verdict of `credentials`, and each of its parts for itself.

`outcome` decides; the rest says what else is wrong, and is made by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import Credential, TrustAnchors, check_validity, fitness, validate
from kamailio_app.credentials.crl import Revocations, check_revocation
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.service import MAX_FETCHES
from kamailio_app.runtime.settings import Settings

_REMEMBERED: Final = 256
_TOO_MANY: Final = f"too many URLs: an edge fetches {MAX_FETCHES} certificates for a call, this would be one more"
NOT_AT_HAND: Final = "credential_not_at_hand"
NO_ROOTS: Final = "no roots here to check the certificate with: give --ca FILE, or settings that name them"


class Found(NamedTuple):
    """What is behind an x5u URL: octets, or why they cannot be had, or neither if nobody looked. `words`: where from;
    `fetched`: from the network, for it was not at hand.
    """

    octets: bytes | None = None
    error: StirError | None = None
    words: str = ""
    fetched: bool = False


class Judged(NamedTuple):
    """A certificate at a moment. `fit` is the signer's key and authority, `whole` the chain at `moment`: now, or if the
    signer's certificate is not valid now, the nearest moment at which it is. None is what could not be looked at.
    """

    found: Found
    outcome: Credential | StirError
    chain: tuple[Any, ...] | StirError | None = None  # certificates, the signer's first
    fit: tuple[Any, TNAuthList] | StirError | None = None
    validity: StirError | None = None
    moment: float = 0
    path: StirError | None = None
    whole: Credential | StirError | None = None
    revocation: StirError | None = None


@dataclass(frozen=True, eq=False)
class Edge:
    """What decides beside the message: settings, what is trusted, and where certificates come from."""

    settings: Settings
    anchors: TrustAnchors
    revocations: Revocations | None
    find: Callable[[str], Found]

    def within_limits(self, needed: Iterable[str]) -> Edge:
        """The same, fetching no more than an edge does for one call. `needed`: URLs in the order in which it wants them."""
        too_many = frozenset([url for url in needed if self.find(url).fetched][MAX_FETCHES:])
        if not too_many:
            return self
        refused = Found(error=failure("x5u_refused", _TOO_MANY), words="not fetched", fetched=True)
        return replace(self, find=lambda url: refused if url in too_many else self.find(url))

    def judged(self, url: str, now: float) -> Judged:
        return self._judge(self.find(url), now)

    def _judge(self, found: Found, now: float) -> Judged:
        if found.error is not None:
            return Judged(found, found.error)
        if found.octets is None:
            return Judged(found, failure(NOT_AT_HAND, found.words))
        return _judge(found, self, now)


@lru_cache(maxsize=_REMEMBERED)
def _judge(found: Found, edge: Edge, now: float) -> Judged:
    octets = found.octets or b""
    judged = Judged(found, _outcome(octets, edge, now), moment=now)
    try:
        chain = parse_chain(octets)
    except StirError as error:
        return judged._replace(chain=error)
    signer, *intermediates = chain
    judged = judged._replace(chain=chain, fit=_or_error(lambda: fitness(signer)))
    try:
        check_validity(signer, now)
    except StirError as error:
        if error.token == "credential_malformed":
            return judged._replace(validity=error)
        not_before, not_after = signer.not_valid_before_utc.timestamp(), signer.not_valid_after_utc.timestamp()
        judged = judged._replace(validity=error, moment=min(max(now, not_before), not_after))
    moment = judged.moment
    path = _or_error(lambda: edge.anchors.path(signer, intermediates, moment))
    whole = _or_error(lambda: validate(octets, edge.anchors, moment, revoked=_revoked(edge)))
    judged = judged._replace(path=path if isinstance(path, StirError) else None, whole=whole)
    if isinstance(whole, Credential):
        hard = edge.settings.trust.hard
        revocation = _or_error(lambda: check_revocation(whole, edge.revocations, now, hard=hard))
        judged = judged._replace(revocation=revocation)
    return judged


def _outcome(octets: bytes, edge: Edge, now: float) -> Credential | StirError:
    """As `runtime.credentials` has it."""
    settings = edge.settings
    try:
        credential = validate(octets, edge.anchors, now, strict=settings.strict_profile, revoked=_revoked(edge))
        check_revocation(credential, edge.revocations, now, hard=settings.trust.hard)
    except StirError as error:
        # What the signer's certificate is worth, nobody can say here; an edge without roots believes nobody
        alone = error.token == "credential_untrusted" and not len(edge.anchors)
        return failure(NOT_AT_HAND, NO_ROOTS) if alone else error
    return credential


def _revoked(edge: Edge) -> Callable[[str], bool] | None:
    return edge.revocations.revoked.__contains__ if edge.revocations else None


def _or_error(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except StirError as error:
        return error
