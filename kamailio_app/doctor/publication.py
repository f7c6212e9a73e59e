"""What a verifier of somebody else's sees at the x5u URL of each pair that signs, now or later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from typing import Final

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, State, failed, good, unseen
from kamailio_app.doctor.site import Site
from kamailio_app.errors import StirError
from kamailio_app.lifecycle import publication
from kamailio_app.sti_as import Signer

AREA: Final = "publication"
_SECONDS: Final = 25.0
_FIX: Final = "shakenctl publish check {name} says all of it; mend the web server or publish the chain."
_STATES: Final = {"good": State.GOOD, "warning": State.WARNING}


def _published(site: Site) -> Iterator[Seen]:
    pairs = {**site.signing_now(), **site.to_come()}
    trust = _trust(site)
    seen: dict[str, list[Seen]] = {}

    def look(name: str) -> None:
        try:
            seen[name] = _one(site, name, pairs[name], trust)
        except StirError as error:
            seen[name] = [failed(error, name)]

    # Not a pool's: these hold up nobody who leaves
    threads = [Thread(target=look, args=(name,), daemon=True) for name in pairs]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + _SECONDS
    for thread, name in zip(threads, pairs, strict=True):
        thread.join(max(0.0, ends - time.monotonic()))
        yield from seen.get(name) or [unseen(f"{name}: nothing came of it in {_SECONDS:g} s")]


def _trust(site: Site) -> tuple[TrustAnchors, Revocations | None] | None:
    """With what was just fetched, where no server has kept anything yet."""
    try:
        return site.anchors, site.revocations
    except NotLookedAt:
        return None


def _one(site: Site, name: str, signer: Signer, trust: tuple[TrustAnchors, Revocations | None] | None) -> list[Seen]:
    chain = site.loaded.pairs[name].chain
    looked = publication.check(site.settings, signer.x5u, chain, now=max(site.now, signer.not_before), trust=trust)
    wrong = [
        Seen(_STATES.get(each.grade, State.BAD), f"{name}: {each.check}: {each.words}", _FIX.format(name=name), each.clause)
        for each in looked.findings
        if each.grade != "good"
    ]
    return wrong or [good(f"{name}: {signer.x5u}, {len(looked.findings)} checks")]


CHECKS: Final = (
    Check(
        AREA,
        "x5u",
        "Each published chain fetched as strangers do: TLS, status, content type, octets equal to ours, path, lifetime.",
        _FIX.format(name="NAME"),
        "RFC 8224 7.3, ATIS-1000074 5.3.1",
        _published,
        "network",
        _SECONDS + 2,
    ),
)
