"""What a verifier of somebody else's sees at the x5u URL of each pair that signs, now or later: `lifecycle.publication`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from kamailio_app.doctor.finding import Check, Seen, State, good
from kamailio_app.doctor.site import Site
from kamailio_app.lifecycle import publication
from kamailio_app.sti_as import Signer

AREA: Final = "publication"
_SECONDS: Final = 30.0
_AT_ONCE: Final = 8
_FIX: Final = "shakenctl publish check {name} says all of it; mend the web server or publish the chain."
_STATES: Final = {"good": State.GOOD, "warning": State.WARNING}


def _published(site: Site) -> Iterator[Seen]:
    pairs = {**site.signing_now(), **site.to_come()}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for seen in threads.map(partial(_one, site), pairs.items()):
            yield from seen


def _one(site: Site, pair: tuple[str, Signer]) -> list[Seen]:
    name, signer = pair
    chain = site.loaded.pairs[name].chain
    looked = publication.look(
        signer.x5u,
        chain,
        rules=site.settings.provider.publication,
        anchors=site.anchors,
        now=max(site.now, signer.not_before),
        fetch=site.settings.fetch,
    )
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
        _SECONDS,
    ),
)
