"""The STI-PA's two lists as they are at this moment, got by the functions that the server gets them with. Nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trust import Trust
from kamailio_app.runtime.trust_refresh import TrustRefresh

SECONDS: Final = 12.0  # for each of the two
LONGEST: Final = 2 * SECONDS + 4  # for both


class Lists(NamedTuple):
    """What was got, or why it was not; None where it is not asked for. `trust`: for a service."""

    trust_list: TrustList | StirError | None
    revocations: Revocations | StirError | None
    trust: Trust


def fetched(settings: Settings, kept: Trust, clock: Callable[[], float]) -> Lists:
    """`kept`: what is in use, which no older one replaces. Waits for the network, at most `LONGEST`."""
    return asyncio.run(_fetched(settings, kept, clock))


async def _fetched(settings: Settings, kept: Trust, clock: Callable[[], float]) -> Lists:
    rules = settings.trust
    fetcher = Fetcher(settings.fetch)
    # No directory: it writes nothing
    refresh = TrustRefresh(rules, None, fetcher, kept, lambda _answer: None, clock=clock)
    asks_list = bool(rules.trust_list_url or rules.trust_list_file)
    asks_crl = bool(rules.crl_url or rules.crl_file)
    try:
        list_error, crl_error = await asyncio.gather(
            _one(refresh.refresh_list) if asks_list else _nothing(), _one(refresh.refresh_crl) if asks_crl else _nothing()
        )
        if crl_error is not None and crl_error.token == "crl_untrusted" and refresh.trust_list:
            crl_error = await _one(refresh.refresh_crl)  # the list says who signs it
    finally:
        await fetcher.close()
    return Lists(
        list_error or (refresh.trust_list if asks_list else None),
        crl_error or (refresh.revocations if asks_crl else None),
        refresh.trust(),
    )


async def _nothing() -> None:
    return None


async def _one(refresh: Callable[[], Awaitable[bool]]) -> StirError | None:
    try:
        async with asyncio.timeout(SECONDS):
            await refresh()
    except TimeoutError:
        return failure("trust_unreachable", f"nothing within {SECONDS:g} s")
    except StirError as error:
        return error
    return None
