"""A call that nobody makes: signed with the pair that signs now, verified by the service that verifies calls.

The caller is a number of the block that is never assigned (555-01xx), unless the certificate is for numbers of its own. What
the signing policy makes of a caller is not looked at: `shakenctl policy explain` is for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from kamailio_app import sti_as
from kamailio_app.doctor import edge
from kamailio_app.doctor.edge import Table
from kamailio_app.doctor.finding import Check, Seen, bad, failed, good
from kamailio_app.doctor.lists import LONGEST
from kamailio_app.doctor.site import Site
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.service import Pending, Service
from kamailio_app.runtime.signing import random_uuid
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signed, Signer

AREA: Final = "self-call"
CALLER, CALLED = "12155550121", "12155550131"
_LASTS: Final = 60
_ROUNDS: Final = 5  # the first fills caches; the best of the others is what a busy worker needs
_SECONDS: Final = 15.0

T = TypeVar("T")


def _signed_and_verified(site: Site) -> Iterator[Seen]:
    yield from _calls(site, {name: site.loaded.pairs[name].chain for name in site.signing_now()})


def _as_published(site: Site) -> Iterator[Seen]:
    """The same with what is at the x5u URL instead of the file."""
    if site.fetch:
        fetched = asyncio.run(_fetched(site))
        yield from (failed(chain, name) for name, chain in fetched.items() if isinstance(chain, StirError))
        yield from _calls(site, {name: chain for name, chain in fetched.items() if isinstance(chain, bytes)})


async def _fetched(site: Site) -> dict[str, bytes | StirError]:
    """As strangers do, by the rules of [x5u]."""
    fetcher = Fetcher(site.settings.fetch)
    try:
        signing = site.signing_now()
        answers = await asyncio.gather(*(fetcher.fetch(signer.x5u) for signer in signing.values()))
        return {
            name: answer if isinstance(answer, StirError) else answer.octets
            for name, answer in zip(signing, answers, strict=True)
        }
    finally:
        await fetcher.close()


def _calls(site: Site, chains: dict[str, bytes]) -> Iterator[Seen]:
    signing, table = site.signing_now(), Table()
    _ = site.anchors  # without any there is nothing to verify with, and that is the finding
    fetched = site.trusted.trust_list is None and site.trust_list is not None
    for name, chain in chains.items():
        pem = chain.decode("latin-1")
        table.put(signing[name].x5u, Fetched(int(site.clock()) + _LASTS, pem=pem).to_text(), _LASTS)
    with edge.service(site, table) as service:
        if fetched:
            service.take_trust(site.lists_now.trust)
        for name in chains:
            yield _call(site, service, signing[name])


def _call(site: Site, service: Service, signer: Signer) -> Seen:
    request = _request(signer)
    rules, level = site.settings.signing, site.settings.attest_level

    def sign() -> Signed:
        return sti_as.sign(request, level, signer, rules, now=site.clock(), origid=random_uuid())

    try:
        signed, signing = _timed(sign)
        incoming = request._replace(identity=(signed.identity,), date=signed.date)
        verified, verifying = _timed(lambda: service.verify(incoming))
    except StirError as error:
        return _refused(signer.name, error)
    words = f"{signer.name}: {signed.claims.attest} {signed.claims.origid}"
    if isinstance(verified, Pending):
        return bad(f"{words}: its certificate would be fetched, and is at hand", "Report it: this is a defect of ours.")
    verification = verified.verification
    if verification.verdict.error is not None:
        return _refused(words, verification.verdict.error)
    return good(f"{words} {verification.verstat}; signed in {signing:.0f} us, verified in {verifying:.0f} us")


def _refused(words: str, error: StirError) -> Seen:
    """Not with the advice that an operator gets for a stranger's call: here the signer is he."""
    return bad(f"{words}: {error}", clause=FAILURES[error.token].clause)


def _request(signer: Signer) -> Request:
    """An INVITE of a caller that the certificate speaks for."""
    caller = CALLER
    if signer.limited and signer.authority is not None:
        starts = [span.start for span in signer.authority.ranges]
        caller = next(iter([*sorted(signer.authority.numbers), *starts]), CALLER)
    uri = "sip:+{}@doctor.invalid;user=phone"
    return Request("INVITE", uri.format(CALLED), uri.format(caller), uri.format(CALLED))


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the microseconds that it takes at best."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        result = action()
        best = min(best, (time.perf_counter() - began) * 1e6)
    return result, best


CHECKS: Final = (
    Check(
        AREA,
        "sign and verify",
        "A request signed with the pair that signs now, verified with our own roots and CRL: attestation, verstat, time.",
        "See pairs and trust; cfg/VERIFICATION.md has what the token means.",
        "RFC 8224 6.1, 6.2",
        _signed_and_verified,
        "host",
        LONGEST + 4,
    ),
    Check(
        AREA,
        "as published",
        "With --fetch: the same, with the chain as it is at the x5u URL at this moment.",
        "Publish the chain that signs at its x5u URL: shakenctl publish check NAME says what is there.",
        "RFC 8224 6.2 step 3",
        _as_published,
        "network",
        _SECONDS,
    ),
)
