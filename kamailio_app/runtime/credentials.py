"""Other providers' certificates in one process of the SIP server: what is at hand, and how the rest is come by.

Nothing here waits but `wait_for`, for who wants it. What is not at hand is ordered from the fetch process; its answer comes
through the table that all processes share, and each process validates for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, check_revocation
from kamailio_app.errors import StirError
from kamailio_app.runtime.cache import CredentialCache, Fetched, SharedTable
from kamailio_app.runtime.link import FETCH, KEEP, RENEW, Orders
from kamailio_app.runtime.settings import Settings

_UNPROVED: Final = 1024
_LOOK_EVERY: Final = 0.002
_LENT_LONGER: Final = 5  # seconds, beyond what a call waits for at most
_OF_OUR_SIDE: Final = ("revocation_unknown", "credential_profile")  # fetching anew would not help


class Credentials:
    """`clock` gives seconds since 1970; `generation` names settings and trust together; `sleep` is for those who wait."""

    def __init__(
        self,
        shared: SharedTable,
        orders: Orders,
        clock: Callable[[], float],
        generation: Callable[[], str],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shared = shared
        self._orders = orders
        self._clock = clock
        self._generation = generation
        self._sleep = sleep
        self.unproved: dict[str, None] = {}  # they have verified no call here yet

    def adopt(self, settings: Settings, anchors: TrustAnchors, revocations: Revocations | None) -> None:
        """Begin anew: settings have changed."""
        self._cache = CredentialCache(settings.max_cache_size, self._renew)
        self._settings = settings
        self.trust(anchors, revocations)

    def trust(self, anchors: TrustAnchors, revocations: Revocations | None) -> None:
        """Trust list or CRL have changed: what is still good stays."""
        self._anchors, self._revocations = anchors, revocations
        self._hard = self._settings.trust.hard
        known, now = anchors.fingerprints, self._clock()

        def still_good(credential: Credential) -> bool:
            try:
                check_revocation(credential, revocations, now, hard=self._hard)
            except StirError:
                return False
            return credential.anchor in known

        self._cache.keep(still_good)

    # --- At hand ------------------------------------------------------------------------------------------------

    def get(self, url: str, now: float, *, late: bool = False) -> Credential | StirError | None:
        """The credential, or why it cannot be had; None if that is not known here. `late`: a call that waited for it may still
        have a failure that nobody else would be told any more.
        """
        return self._cache.get(url, now) or self._from_shared(url, now, self._settings.call_time_budget if late else 0)

    def _from_shared(self, url: str, now: float, late: float) -> Credential | StirError | None:
        text = self._shared.get(url)
        fetched = Fetched.from_text(text) if text else None
        if fetched is None or fetched.expires + (late if fetched.token else 0) <= now:
            return None
        if error := fetched.error():
            # What was refused under other settings or another trust list may be good now
            if fetched.generation != self._generation():
                return None
            # No failure lasts longer: that one is from a clock that was set back since, as was the table's
            if fetched.expires - now > self._settings.negative_lifetime + 1:
                return None
            self._cache.put(url, error, min(fetched.expires, now + self._settings.negative_lifetime), now=now)
            return error
        return self._accept(url, fetched, now)

    def _accept(self, url: str, fetched: Fetched, now: float) -> Credential | StirError:
        """Validate what was fetched, once, and remember the outcome; never past the end of the chain's validity."""
        try:
            revoked = self._revocations.revoked.__contains__ if self._revocations else None
            strict = self._settings.strict_profile
            credential = validate(fetched.pem.encode(), self._anchors, now, strict=strict, revoked=revoked)
            check_revocation(credential, self._revocations, now, hard=self._hard)
        except StirError as error:
            if error.token not in _OF_OUR_SIDE:
                # Its provider may have put another one there: what was fetched long ago must not speak for days
                self._renew(url)
            self._cache.put(url, error, min(fetched.expires, now + self._settings.negative_lifetime), now=now)
            return error
        ends = min(fetched.expires, credential.not_after, now + self._settings.lifetime.maximum)
        if self._hard and self._revocations is not None:
            ends = min(ends, self._revocations.next_update)  # then it has to be looked at again
        self._cache.put(url, credential, ends, now=now, renew_at=fetched.renew_at or math.inf)
        if len(self.unproved) >= _UNPROVED:
            self.unproved.clear()
        self.unproved[url] = None
        return credential

    def lend(self, credentials: Mapping[str, Credential | StirError], now: float) -> None:
        """The call goes on in another process, which has to find what is at hand here, should others have displaced it."""
        ends = int(now + self._settings.call_time_budget) + _LENT_LONGER
        for url, credential in credentials.items():
            if isinstance(credential, Credential) and self._shared.get(url) is None:
                fetched = Fetched(min(ends, credential.not_after), pem=credential.path_pem)
                self._shared.put(url, fetched.to_text(), max(1, fetched.expires - int(now)))

    # --- Not at hand --------------------------------------------------------------------------------------------

    def order(self, urls: Iterable[str], kind: str = FETCH) -> bool:
        """Have them fetched; nobody waits. False if the queue is full."""
        return self._orders.put(kind, self._generation(), " ".join(urls))

    def _renew(self, url: str) -> None:
        self.order([url], RENEW)

    def proved(self, urls: Iterable[str]) -> None:
        """These verified a call: those that are new here are worth a place on the disk. Anybody can serve another's chain."""
        for url in urls:
            if url in self.unproved:
                del self.unproved[url]
                self.order([url], KEEP)

    def take(self, texts: Mapping[str, str]) -> None:
        """In the keeper: what the fetch process answered, for all processes."""
        now = int(self._clock())
        for url, text in texts.items():
            fetched = Fetched.from_text(text)
            if fetched is not None:
                self._shared.put(url, text, max(1, fetched.expires - now))

    def wait_for(self, urls: Iterable[str], seconds: float) -> dict[str, Credential | StirError]:
        """Order and hold this process until they are there, or the time is over: what is there then."""
        missing, found = list(urls), dict[str, Credential | StirError]()
        if not self.order(missing):
            return found
        until = self._clock() + seconds
        # The clock may be set back meanwhile: so many looks and no more
        for _ in range(math.ceil(seconds / _LOOK_EVERY)):
            if not missing or (now := self._clock()) >= until:
                break
            self._sleep(_LOOK_EVERY)
            for url in list(missing):
                if credential := self.get(url, now):
                    found[url] = credential
                    missing.remove(url)
        return found

    def __len__(self) -> int:
        return len(self._cache)
