"""The clock: half a minute off and others call our PASSporTs stale, a minute and all calls are (RFC 8224 6.2 step 4)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from kamailio_app.doctor import sntp
from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, bad, good, unseen, warning
from kamailio_app.doctor.site import Site
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line
from kamailio_app.runtime.fetcher import Fetcher

AREA: Final = "clock"
_FIX: Final = "Install chrony and let it run: apt install chrony; chronyc tracking says how far it is."
_NOTICED, _HARMFUL = 1.0, 30.0  # seconds; half of the 60 in which a PASSporT is fresh
_NOTICED_BY_HTTP: Final = 5.0  # a Date has whole seconds, and its answer was under way
_COMMAND_SECONDS: Final = 3.0
_NTP_SECONDS: Final = 3.0
_NTP_TRIES: Final = 2
_FETCH_SECONDS: Final = 10.0
_MAX_URLS: Final = 3
_MAX_BODY: Final = 4 << 20


def _synchronised(_site: Site) -> Iterator[Seen]:
    """What keeps the clock says of it. It knows best, and it needs no network."""
    if tracking := _said("chronyc", "-c", "tracking"):
        yield _chrony(tracking)
    elif state := _said("timedatectl", "show", "--property=NTPSynchronized", "--value"):
        yield good("timedatectl: synchronised") if state == "yes" else warning("timedatectl: not synchronised")
    else:
        raise NotLookedAt("neither chronyc nor timedatectl says anything", _FIX)


def _chrony(tracking: str) -> Seen:
    """`chronyc -c tracking`: comma-separated; the fifth is the offset in seconds, the last the leap status."""
    fields = tracking.splitlines()[0].split(",")
    try:
        name, offset, leap = fields[1], float(fields[4]), fields[-1]
    except (IndexError, ValueError):
        return unseen("chronyc says something that is not understood", _FIX)
    if leap == "Not synchronised":
        return bad("chronyc: not synchronised")
    # Positive where the clock is ahead
    return _judged(-offset, f"chronyc: {_off(-offset, 6)} by {one_line(name, 60)}")


def _said(*command: str) -> str:
    """What the command prints; empty if it is not there or fails."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _off(offset: float, digits: int) -> str:
    """`offset`: seconds to add to our clock."""
    return f"{abs(offset):.{digits}f} s {'behind' if offset > 0 else 'ahead'}"


def _judged(offset: float, words: str, noticed: float = _NOTICED) -> Seen:
    if abs(offset) >= _HARMFUL:
        return bad(words)
    return warning(words) if abs(offset) >= noticed else good(words)


def _by_ntp(site: Site) -> Iterator[Seen]:
    host, _, port = site.ntp.partition(":") if site.ntp.count(":") == 1 else (site.ntp, "", "")
    trouble: Exception | None = None
    for _ in range(_NTP_TRIES):  # it is UDP
        try:
            found = sntp.ask(host, _NTP_SECONDS, port=int(port) if port.isdecimal() else sntp.PORT, clock=site.clock)
        except (OSError, ValueError, UnicodeError) as error:
            trouble = error
            continue
        words = f"{_off(found.seconds, 3)} by {site.ntp}, within {found.delay / 2:.3f} s, stratum {found.stratum}"
        yield _judged(found.seconds, words)
        return
    raise NotLookedAt(f"{site.ntp}: {one_line(str(trouble), 200)}", "Name an NTP server that answers here by --ntp.")


def _by_http(site: Site) -> Iterator[Seen]:
    """A second opinion: what web servers of this business have for the time (RFC 9110 6.6.1)."""
    rules = site.settings.trust
    urls = [url for url in (rules.trust_list_url, rules.crl_url) if url]
    with suppress(NotLookedAt):
        urls += [signer.x5u for signer in site.signing_now().values()]
    if not urls:
        return
    offsets = asyncio.run(_offsets(site, urls[:_MAX_URLS]))
    if not offsets:
        raise NotLookedAt("no answer with a Date", "See publication and trust.")
    for url, offset in offsets:
        yield _judged(offset, f"{_off(offset, 0)} by {url}", _NOTICED_BY_HTTP)


async def _offsets(site: Site, urls: list[str]) -> list[tuple[str, float]]:
    fetcher = Fetcher(site.settings.fetch)

    async def one(url: str) -> tuple[str, float] | None:
        # These are our own, whatever strangers may name
        answer = await fetcher.fetch(url, trusted_by_operator=True, max_bytes=_MAX_BODY)
        if isinstance(answer, StirError) or not answer.date:
            return None
        try:
            date = parsedate_to_datetime(answer.date)
            # RFC 9111 4.2.3: a cache repeats the Date that it was given, and says how long ago that was
            theirs = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() + int(answer.age or 0)
        except (ValueError, OverflowError):
            return None
        return url, theirs - site.clock()

    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            return [found for found in await asyncio.gather(*map(one, urls)) if found is not None]
    except TimeoutError:
        return []
    finally:
        await fetcher.close()


CHECKS: Final = (
    Check(
        AREA,
        "synchronised",
        "What keeps the clock (chronyc, timedatectl) says that it is synchronised, and how far it is off.",
        _FIX,
        "RFC 8224 6.2 step 4",
        _synchronised,
        "host",
        2 * _COMMAND_SECONDS + 1,
    ),
    Check(
        AREA,
        "NTP",
        "The offset that an NTP server sees: a second is noticed, 30 seconds are harmful.",
        _FIX,
        "RFC 8224 6.2 step 4, RFC 4330",
        _by_ntp,
        "network",
        _NTP_TRIES * _NTP_SECONDS + 4,
    ),
    Check(
        AREA,
        "HTTP Date",
        "A second opinion: the Date in the answers of our x5u URL and of the STI-PA.",
        _FIX,
        "RFC 8224 6.2 step 4, RFC 9110 6.6.1",
        _by_http,
        "network",
        _FETCH_SECONDS + 5,
    ),
)
