"""Keeps the STI-PA's trust list and CRL fresh: fetched or read, checked, kept on disk, told to the server (ATIS-1000084).

Runs in the fetch process. What is refused changes nothing: the last good one stays in use. After a failure it is tried again
soon, then later and later; no two hosts try at the same moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations, read_crl
from kamailio_app.credentials.trust_list import TrustList, read_trust_list, signer_url
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.settings import TrustRules
from kamailio_app.runtime.trust import Sources, Trust, holds

_SOON: Final = 15.0
_FILE_EVERY: Final = 60.0
_STATE_EVERY: Final = 60.0
_JITTER: Final = 0.1
_MAX_LIST: Final = 4 << 20
_MAX_CRL: Final = 64 << 20
_MAX_SIGNER: Final = 65536
_MAX_ROOTS: Final = 1 << 20
_DAY: Final = 86400.0
# The list in use ends in less than that many seconds, and nobody has sent another
_ENDS_SOON: Final = (3 * _DAY, _DAY, 0.0)


@dataclass
class _State:
    """What an operator sees of one of the two."""

    refreshed: float = 0.0  # seconds since 1970; 0: never
    next: float = 0.0
    failures: int = 0
    error: str = ""

    def text(self, what: str, now: float) -> str:
        words = [what] if what else []
        words.append(f"age={now - self.refreshed:.0f}s" if self.refreshed else "age=never")
        words.append(f"next={_moment(self.next)} failures={self.failures}")
        return " ".join([*words, *([f"error={self.error}"] if self.error else [])])


class TrustRefresh:
    """`trust` is what is in use when it begins. `send` takes answers for the server."""

    def __init__(
        self,
        rules: TrustRules,
        state_dir: Path | None,
        fetcher: Fetcher,
        trust: Trust,
        send: Callable[[dict[str, Any]], None],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rules = rules
        self._state_dir = state_dir
        self._fetcher = fetcher
        self._send = send
        self._clock = clock
        self._sleep = sleep
        self.trust_list = TrustList.from_text(trust.trust_list)
        self.revocations = Revocations.from_text(trust.revocations)
        self._sources = Sources(trust.list_source, trust.crl_source)
        self._states = {"trust_list": _State(), "crl": _State()}
        self._list_came = asyncio.Event()
        self._ends_soon = 0  # how many of `_ENDS_SOON` the list in use has passed
        self._said_at: dict[int, float] = {}
        self._on_disk: Trust | None = None
        self._said: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        rules = self._rules
        if rules.trust_list_url or rules.trust_list_file:
            self._begin("trust_list", self.refresh_list, bool(rules.trust_list_url))
        if rules.crl_url or rules.crl_file:
            self._begin("crl", self.refresh_crl, bool(rules.crl_url))
        if self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(self._show_regularly()))

    def _begin(self, name: str, refresh: Callable[[], Awaitable[bool]], by_network: bool) -> None:
        async def keep() -> None:
            while True:
                try:
                    await self._keep(name, refresh, by_network)
                except (LookupError, TypeError, AttributeError, ValueError, OSError, RuntimeError) as error:
                    # A defect of ours: what is in use stays, and the next look is another try
                    self._log("err", f"internal_error while refreshing {name}: {error!r}")
                    await self._sleep(self._rules.trust_refresh_interval)

        self._tasks.append(asyncio.get_running_loop().create_task(keep()))

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    # --- One refresh --------------------------------------------------------------------------------------------

    async def refresh_list(self) -> bool:
        """True if there is a new one. Errors: `trust_list_*`, `trust_unreachable`."""
        rules = self._rules
        text = (await self._octets(rules.trust_list_url, rules.trust_list_file, _MAX_LIST)).decode("utf-8", "replace")
        roots = self._sti_pa()
        url = signer_url(text)
        signer = await self._octets(url, None, _MAX_SIGNER) if url else b""
        source = Sources.of(rules, roots).trust_list
        # Another STI-PA counts for itself
        former = self.trust_list if holds(self._sources.trust_list, source) else None
        found = read_trust_list(text, signer, roots, self._clock(), former=former)
        changed = (found, source) != (self.trust_list, self._sources.trust_list)
        self.trust_list, self._sources = found, self._sources._replace(trust_list=source)
        return changed

    async def refresh_crl(self) -> bool:
        """True if there is a new one. Errors: `crl_*`, `trust_unreachable`."""
        rules = self._rules
        octets = await self._octets(rules.crl_url, rules.crl_file, _MAX_CRL)
        # Who signed the list may sign the CRL; another one stands in the file
        signers = self.trust_list.signers() if self.trust_list else ()
        roots = self._sti_pa()
        source = Sources.of(rules, roots).crl
        former = self.revocations if holds(self._sources.crl, source) else None
        found = await asyncio.get_running_loop().run_in_executor(
            None, lambda: read_crl(octets, roots, self._clock(), former=former, signers=signers)
        )
        changed = (found, source) != (self.revocations, self._sources.crl)
        self.revocations, self._sources = found, self._sources._replace(crl=source)
        return changed

    def _sti_pa(self) -> TrustAnchors:
        """Read each time: an operator may have put another file there."""
        return TrustAnchors(parse_chain(_read(self._rules.sti_pa_ca_file, _MAX_ROOTS), limit=1000))

    async def _octets(self, url: str, path: Path | None, limit: int) -> bytes:
        if not url:
            return _read(path, limit)
        download = await self._fetcher.fetch(url, trusted_by_operator=True, max_bytes=limit)
        if isinstance(download, StirError):
            raise failure("trust_unreachable", f"{url}: {download}")
        assert isinstance(download, Download)
        return download.octets

    # --- For ever -----------------------------------------------------------------------------------------------

    async def _keep(self, name: str, refresh: Callable[[], Awaitable[bool]], by_network: bool) -> None:
        state = self._states[name]
        while True:
            try:
                changed = await refresh()
            except StirError as error:
                # Say it when it begins, and when it is something else
                if error.token != state.error:
                    self._log("err", f"{name} refused, the former stays in use: {error}")
                state.failures, state.error = state.failures + 1, error.token
                pause = min(self._rules.trust_refresh_interval, _SOON * 2 ** min(state.failures - 1, 16))
            else:
                if name == "trust_list" and not (state.refreshed or self._states["crl"].refreshed):
                    self._list_came.set()
                state.refreshed, state.failures, state.error = self._clock(), 0, ""
                pause = (
                    self._rules.trust_refresh_interval if by_network else min(_FILE_EVERY, self._rules.trust_refresh_interval)
                )
                self._save(name)
                if changed:
                    self._log("info", f"{name} taken over: {self._what(name)}")
                    self._send({"kind": "trust", "trust": list(self.trust())})
            pause *= 1 + _JITTER * (2 * random.random() - 1)  # noqa: S311 - spreads load, hides nothing
            state.next = self._clock() + pause
            self._show(name)
            if name == "crl" and state.error:
                await self._sleep_until_list_came(pause)
            else:
                await self._sleep(pause)

    async def _sleep_until_list_came(self, pause: float) -> None:
        """The first list says who signs the CRL: one that was refused before may be good now."""
        waiting = [asyncio.ensure_future(self._sleep(pause)), asyncio.ensure_future(self._list_came.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        self._list_came.clear()

    def trust(self) -> Trust:
        """What it has, for the server and the disk."""
        return Trust(
            self.trust_list.to_text() if self.trust_list else "",
            self.revocations.to_text() if self.revocations else "",
            *self._sources,
        )

    def _save(self, name: str) -> None:
        """If it is not on disk; tried again at every look, as the disk may have been full. Said once."""
        trust = self.trust()
        if trust == self._on_disk:
            return
        try:
            trust.to_disk(self._state_dir)
        except OSError as error:
            if name not in self._said:
                self._log("warn", f"{name} is in use and not on disk: {error}")
                self._said.add(name)
        else:
            self._on_disk = trust
            self._said.clear()

    def _what(self, name: str) -> str:
        if name == "trust_list":
            found = self.trust_list
            return f"sequence={found.sequence} expires={_moment(found.expires)}" if found else ""
        crl = self.revocations
        if crl is None:
            return ""
        return f"number={crl.number} revoked={len(crl.revoked)} next_update={_moment(crl.next_update)}"

    def _show(self, name: str) -> None:
        what, now = self._what(name), self._clock()
        if name == "trust_list" and self.trust_list:
            self._say_if_it_ends(self.trust_list, now)
            what += f" expires_in={self.trust_list.expires - now:.0f}s"
        self._send({"kind": "state", "name": name, "text": self._states[name].text(what, now)})

    def _say_if_it_ends(self, listed: TrustList, now: float) -> None:
        """ATIS-1000084: at each step once, and once a day where short-lived lists come and go. It stays in use all the same."""
        former, self._ends_soon = self._ends_soon, sum(listed.expires - now <= seconds for seconds in _ENDS_SOON)
        if self._ends_soon > former and now - self._said_at.get(self._ends_soon, 0.0) >= _DAY:
            self._said_at[self._ends_soon] = now
            when = "has expired" if now >= listed.expires else f"expires in {(listed.expires - now) / 3600:.0f} hours"
            self._log("err", f"the trust list in use {when} and stays in use; no newer one came: {self._what('trust_list')}")

    async def _show_regularly(self) -> None:
        while True:
            await self._sleep(_STATE_EVERY)
            for name, state in self._states.items():
                if state.next:
                    self._show(name)

    def _log(self, level: str, text: str) -> None:
        self._send({"kind": "log", "level": level, "text": text})


def _read(path: Path | None, limit: int) -> bytes:
    try:
        if path is None:
            raise failure("trust_unreachable", "no file is set")
        with path.open("rb") as file:
            octets = file.read(limit + 1)
    except OSError as error:
        raise failure("trust_unreachable", f"{path}: {error.strerror}") from error
    if len(octets) > limit:
        raise failure("trust_unreachable", f"{path}: more than {limit} octets")
    return octets


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%FT%TZ}" if 0 < seconds < 1 << 34 else "-"
