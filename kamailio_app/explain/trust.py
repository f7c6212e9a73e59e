"""What an edge with these settings trusts now: its own anchors, the STI-PA's list, the CRL.

From `ca_file` and from `state_dir`, where the fetch process keeps the last good ones; live, as the fetch process does it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.fetch_process import MAX_ANCHORS
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trust import Trust
from kamailio_app.runtime.trust_refresh import TrustRefresh

_MAX_OCTETS: Final = 16 << 20


class Trusted(NamedTuple):
    """`remarks`: what an operator should know of it."""

    anchors: TrustAnchors
    revocations: Revocations | None
    remarks: tuple[str, ...] = ()


def trusted(settings: Settings, ca_file: Path | None = None) -> Trusted:
    """From disk. `ca_file` instead of everything that the settings name. Errors: `option_invalid`."""
    if ca_file is not None:
        return Trusted(TrustAnchors(_certificates(ca_file, "--ca")), None)
    own = _certificates(settings.ca_file, "[verification] ca_file") if settings.ca_file else ()
    trust = Trust.from_disk(settings.state_dir).under(settings.trust)
    return _with(own, TrustList.from_text(trust.trust_list), Revocations.from_text(trust.revocations), settings, ())


async def fetched(settings: Settings, fetcher: Fetcher) -> Trusted:
    """The lists as the STI-PA has them now; what cannot be had is as it is on disk. Errors: `option_invalid`."""
    own = _certificates(settings.ca_file, "[verification] ca_file") if settings.ca_file else ()
    rules = settings.trust
    refresh = TrustRefresh(
        rules, None, fetcher, Trust.from_disk(settings.state_dir).under(rules), _nobody_listens, clock=time.time
    )
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
    return _with(own, refresh.trust_list, refresh.revocations, settings, tuple(remarks))


def _nobody_listens(_answer: dict[str, Any]) -> None:
    """What the fetch process would tell the server."""


def _with(
    own: tuple[Any, ...],
    listed: TrustList | None,
    revocations: Revocations | None,
    settings: Settings,
    remarks: tuple[str, ...],
) -> Trusted:
    anchors = TrustAnchors((*own, *(listed.anchors().certificates if listed else ())))
    rules = settings.trust
    if not len(anchors):
        remarks = (*remarks, "No trust anchors: every certificate is untrusted. See [verification] ca_file, [trust], or --ca.")
    elif listed is None and (rules.trust_list_url or rules.trust_list_file):
        remarks = (*remarks, "The STI-PA's trust list is not on disk here; --fetch gets it.")
    return Trusted(anchors, revocations, remarks)


def _certificates(path: Path, option: str) -> tuple[Any, ...]:
    try:
        with path.open("rb") as file:
            return parse_chain(file.read(_MAX_OCTETS), limit=MAX_ANCHORS)
    except (OSError, StirError) as error:
        raise failure("option_invalid", f"{option}: {error}") from error
