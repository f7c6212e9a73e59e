"""What an edge with these settings trusts now: its own anchors, the STI-PA's list, the CRL.

From `ca_file` and from `state_dir`, where the fetch process keeps the last good ones; live, as the fetch process does it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError
from kamailio_app.runtime import trusted as runtime
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trust_refresh import TrustRefresh


class Trusted(NamedTuple):
    """`remarks`: what an operator should know of it."""

    anchors: TrustAnchors
    revocations: Revocations | None
    remarks: tuple[str, ...] = ()


def trusted(settings: Settings, ca_file: Path | None = None) -> Trusted:
    """From disk. `ca_file` instead of everything that the settings name. Errors: `option_invalid`."""
    if ca_file is not None:
        return Trusted(runtime.read_roots(ca_file, "--ca"), None)
    held = _held(settings)
    return _with(held.own, held.trust_list, held.revocations, settings, ())


async def fetched(settings: Settings, fetcher: Fetcher) -> Trusted:
    """The lists as the STI-PA has them now; what cannot be had is as it is on disk. Errors: `option_invalid`."""
    held = _held(settings)
    rules = settings.trust
    refresh = TrustRefresh(rules, None, fetcher, held.kept, _nobody_listens, clock=time.time)
    remarks = []
    for wanted, read in (
        (rules.trust_list_url or rules.trust_list_file, refresh.refresh_list),
        (rules.crl_url or rules.crl_file, refresh.refresh_crl),
    ):
        try:
            if wanted:
                await read()
        except StirError as error:
            remarks.append(str(error))
    return _with(held.own, refresh.trust_list, refresh.revocations, settings, tuple(remarks))


def _held(settings: Settings) -> runtime.Trusted:
    """Roots that cannot be read are no verdict: an edge does not start with them. Errors: `option_invalid`."""
    held = runtime.Trusted(settings)
    if problem := held.problems.get(runtime.CA_FILE):
        raise problem
    return held


def _nobody_listens(_answer: dict[str, Any]) -> None:
    """What the fetch process would tell the server."""


def _with(
    own: TrustAnchors,
    listed: TrustList | None,
    revocations: Revocations | None,
    settings: Settings,
    remarks: tuple[str, ...],
) -> Trusted:
    anchors = runtime.with_listed(own, listed)
    rules = settings.trust
    if not len(anchors):
        remarks = (
            *remarks,
            "No roots here: no certificate can be judged. Give --ca FILE, or settings with [verification] ca_file or [trust].",
        )
    elif listed is None and (rules.trust_list_url or rules.trust_list_file):
        remarks = (*remarks, "The STI-PA's trust list is not on disk here; --fetch gets it.")
    return Trusted(anchors, revocations, remarks)
