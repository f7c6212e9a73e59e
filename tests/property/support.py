"""What the property tests share: how many examples, a lab, hostile text.

STIRSHAKEN_EXAMPLES=5000 (say) tries that many examples of each property, different ones every time; without it the examples
are few and always the same, so that a build does not depend on luck.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kamailio_app.credentials.credential import Credential, validate
from kamailio_app.errors import StirError
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signed, Signer, sign
from kamailio_app.sti_vs import conclude, examine
from kamailio_app.verdict import Verification

from ..conformance.support import DEST as DEST
from ..conformance.support import INVITE as INVITE
from ..conformance.support import NOW as NOW
from ..conformance.support import ORIG as ORIG
from ..conformance.support import anchors as anchors
from ..conformance.support import hierarchy as hierarchy
from ..conformance.support import provider as provider
from ..conformance.support import replace as replace

T = TypeVar("T")

EXAMPLES = os.environ.get("STIRSHAKEN_EXAMPLES", "")
PROPERTY = settings(
    max_examples=int(EXAMPLES or 250),
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

X5U = "https://cr.example.test/1234/sp.pem"


@cache
def credential() -> Credential:
    return validate(provider().chain_pem, anchors(), NOW)


@cache
def eternal() -> Credential:
    """The same, valid at any time."""
    return replace(credential(), not_before=0, not_after=1 << 60)


@cache
def signer() -> Signer:
    return Signer("sp", X5U, 0, 1 << 60, "", ("1234",), provider().key)


@cache
def good() -> Signed:
    return sign(INVITE, Attestation.FULL, signer(), now=NOW, origid="123e4567-e89b-12d3-a456-426655440000")


def verify(*identities: str, request: Request = INVITE, now: float = NOW) -> Verification:
    examination = examine(replace(request, identity=identities), now=now)
    return conclude(examination, dict.fromkeys(examination.needed, eternal()), now=now)


def soup(fragments: Sequence[str], size: int = 12) -> st.SearchStrategy[str]:
    """Text made of fragments that mean something to the reader under test, with a few that mean nothing."""
    piece = st.one_of(st.sampled_from(fragments), st.sampled_from(fragments), st.text(max_size=4))
    return st.lists(piece, max_size=size).map("".join)


def any_text(fragments: Sequence[str], size: int = 12) -> st.SearchStrategy[str]:
    """Any text at all, any octets read as Latin-1, and soup."""
    return st.one_of(st.text(), st.binary().map(lambda octets: octets.decode("latin-1")), soup(fragments, size))


def attempt(function: Callable[..., T], *arguments: Any, **named: Any) -> tuple[T | None, str]:
    """The result and no token, or no result and the failure's token."""
    try:
        return function(*arguments, **named), ""
    except StirError as error:
        return None, error.token
