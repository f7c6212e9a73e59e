"""The process that fetches: certificates that calls wait for, and the STI-PA's trust list and CRL. Runs beside the SIP server,
and has the recorder with it.

Started and restarted by `link.Keeper`; ends when nobody listens any more. One event loop: hundreds of slow repositories cost a
connection each. What it fetched it validates, so that nobody is handed a stranger's file, and keeps on disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from cachetools import LRUCache, TTLCache

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, kept_pem, validate
from kamailio_app.credentials.lifetime import lifetime
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line, printable
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.disk import CertificateStore
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.link import ALIVE_EVERY, KEEP, MAX_ORDER, RENEW
from kamailio_app.runtime.record import RecordRules
from kamailio_app.runtime.recorder import Recorder
from kamailio_app.runtime.settings import FetchRules, Settings
from kamailio_app.runtime.trust import Trust
from kamailio_app.runtime.trust_refresh import TrustRefresh

MAX_ANCHORS: Final = 1000
_MAX_TASKS: Final = 20_000  # orders in work; more are calls that cannot be helped in time
_LONGEST_LINE: Final = 64 << 20
_NICE: Final = 10
_MAX_FILES: Final = 65536
_MAX_DETAIL: Final = 200
_NEWS_WITHIN: Final = 1.0  # seconds
_MAX_RECENT: Final = 4096
_RENEWED_FOR: Final = 60.0  # seconds
# Renewed in the last tenth of its time, each at its own moment
_RENEW_FROM, _RENEW_SPREAD = 0.10, 0.05


class FetchProcess:
    """`send` takes one answer. `clock` gives seconds since 1970. `record` is told how calls are to be recorded."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        *,
        clock: Callable[[], float] = time.time,
        make_fetcher: Callable[[FetchRules], Fetcher] = Fetcher,
        record: Callable[[RecordRules], None] = lambda _rules: None,
    ) -> None:
        self._send = send
        self._clock = clock
        self._make_fetcher = make_fetcher
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()  # orders in work
        self._closing: set[asyncio.Task[None]] = set()
        self._obtaining: dict[str, asyncio.Task[Fetched]] = {}
        self._renewed: TTLCache[str, bool] = TTLCache(_MAX_TASKS, _RENEWED_FOR)
        # Only what verifies a call goes to the disk: anybody can serve somebody else's chain
        self._recent: LRUCache[str, Fetched] = LRUCache(_MAX_RECENT)
        self._settings: Settings | None = None
        self._fetcher: Fetcher | None = None
        self._store = CertificateStore(None, 0, self._warn)
        self._refresh: TrustRefresh | None = None
        self._anchors = TrustAnchors(())
        self._generation = "0:0"
        self._epochs = {"0"}  # of the server's start, and of every reload that was heard of

    # --- Configuration ------------------------------------------------------------------------------------------

    def configure(self, configuration: dict[str, Any]) -> None:
        """Settings, trust and their generation, as the server has them. With those that nothing can be fetched with (roots that
        TLS does not take), nothing changes.
        """
        settings = settings_file.parse(Path(configuration["path"]), configuration["settings"])
        self._record(settings.record)
        trust = Trust(*configuration["trust"]).under(settings.trust)
        listed = TrustList.from_text(trust.trust_list)
        own = configuration["anchors"].encode("latin-1")
        anchors = TrustAnchors(
            (*(parse_chain(own, limit=MAX_ANCHORS) if own else ()), *(listed.anchors().certificates if listed else ()))
        )
        former = self._settings
        self._epochs.add(_epoch(configuration["generation"]))
        # At a reload also where the settings are the same: the file with the roots of TLS may be another
        reloaded = (
            former is None or former.fetch != settings.fetch or _epoch(self._generation) != _epoch(configuration["generation"])
        )
        if reloaded:
            self._fetch_by(settings.fetch, former.fetch.timeout if former else 0)
            if self._fetcher is None:
                return
        if former is None or (former.state_dir, former.max_disk_certificates) != (
            settings.state_dir,
            settings.max_disk_certificates,
        ):
            self._store.close()
            self._store = CertificateStore(settings.state_dir, settings.max_disk_certificates, self._warn)
        self._settings, self._anchors, self._generation = settings, anchors, configuration["generation"]
        if reloaded:
            self._refresh_anew(settings, trust)

    def _fetch_by(self, rules: FetchRules, former_timeout: float) -> None:
        try:
            fetcher, self._fetcher = self._fetcher, self._make_fetcher(rules)
        except (OSError, ValueError) as error:
            text = f"certificates are fetched by the former settings, if at all: {error}"
            self._send({"kind": "log", "level": "err", "text": text})
            return
        if fetcher is not None:
            # Who waits for it still gets its answer
            self._spawn(_close_later(fetcher, former_timeout + 1), self._closing)

    def _refresh_anew(self, settings: Settings, trust: Trust) -> None:
        assert self._fetcher is not None
        if self._refresh is not None:
            self._refresh.stop()
        rules, state_dir = settings.trust, settings.state_dir
        self._refresh = TrustRefresh(rules, state_dir, self._fetcher, trust, self._send, clock=self._clock)
        self._refresh.start()

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.stop()
        for task in [*self._tasks, *self._closing, *self._obtaining.values()]:
            task.cancel()
        if self._fetcher is not None:
            await self._fetcher.close()
        self._store.close()

    # --- Orders -------------------------------------------------------------------------------------------------

    def take(self, order: str) -> None:
        """One order: what for, under which settings, and the URLs."""
        kind, _, rest = order.partition(" ")
        generation, _, urls = rest.partition(" ")
        if self._settings is None or not urls or len(self._tasks) >= _MAX_TASKS:
            return
        if kind == KEEP:
            if fetched := self._recent.pop(urls, None):
                self._store.put(urls, fetched)
            return
        if kind == RENEW:
            # Each worker finds out for itself that a certificate ends soon
            if urls in self._renewed:
                return
            self._renewed[urls] = True
        self._spawn(self._serve(urls, generation, renew=kind == RENEW))

    async def _serve(self, urls: str, generation: str, *, renew: bool) -> None:
        await self._catch_up(generation)
        await asyncio.gather(*(self._answer(url, renew=renew) for url in urls.split(" ")))
        if not renew:
            self._send({"kind": "credentials", "urls": urls, "credentials": {}})

    async def _answer(self, url: str, *, renew: bool) -> None:
        """Each for itself: a call that waits for several in vain may do with those that came."""
        try:
            fetched = await self.obtain(url, renew=renew)
        except (LookupError, TypeError, AttributeError, ValueError, OSError, RuntimeError) as error:
            # Ours, not the repository's: the call goes on, and the log says it
            self._send({"kind": "log", "level": "err", "text": f"internal_error while fetching: {error!r}"})
            fetched = Fetched(int(self._clock()) + 1, token="internal_error", generation=self._generation)
        # A renewal that failed says nothing about what is at hand
        if not (renew and fetched.token):
            self._send({"kind": "credentials", "urls": "", "credentials": {url: fetched.to_text()}})

    async def _catch_up(self, generation: str) -> None:
        """A call that goes by newer settings came before the news of them: what is asked for may be good under these."""
        time_now = asyncio.get_running_loop().time  # nobody sets that one
        ends = time_now() + _NEWS_WITHIN
        while _epoch(generation) not in self._epochs and time_now() < ends:
            await asyncio.sleep(0.005)

    async def obtain(self, url: str, *, renew: bool = False) -> Fetched:
        """From the disk, else from the repository; one fetch per URL, however many ask."""
        now = self._clock()
        if not renew and (kept := self._store.get(url)) is not None and self._still_good(kept, now):
            return kept
        if url not in self._obtaining:
            task = asyncio.get_running_loop().create_task(self._fetch(url))
            self._obtaining[url] = task
            task.add_done_callback(lambda _task: self._obtaining.pop(url, None))
        return await asyncio.shield(self._obtaining[url])

    def _still_good(self, kept: Fetched, now: float) -> bool:
        assert self._settings is not None
        if kept.token or not kept.expires - self._settings.lifetime.maximum - 1 <= now < kept.expires:
            return False
        try:
            validate(kept.pem.encode(), self._anchors, now)
        except StirError:
            return False
        return True

    async def _fetch(self, url: str) -> Fetched:
        assert self._fetcher is not None
        download = await self._fetcher.fetch(url)
        fetched = self._judged(url, download)
        if not fetched.token:
            self._recent[url] = fetched
        return fetched

    def _judged(self, url: str, download: Download | StirError) -> Fetched:
        settings, now = self._settings, self._clock()
        assert settings is not None
        try:
            if isinstance(download, StirError):
                raise download
            credential = validate(download.octets, self._anchors, now)
        except StirError as error:
            ends, detail = int(now) + settings.negative_lifetime, one_line(error.detail, _MAX_DETAIL)
            return Fetched(ends, token=error.token, generation=self._generation, detail=detail)
        if credential.findings:
            said = one_line("; ".join(credential.findings))
            self._send({"kind": "log", "level": "info", "text": f"outside the SHAKEN profile: x5u={printable(url)} {said}"})
        seconds = lifetime(
            download.cache_control, settings.lifetime, expires=download.expires, age=download.age, date=download.date, now=now
        )
        ends = min(int(now) + seconds, credential.not_after)
        early = (ends - now) * (_RENEW_FROM + _RENEW_SPREAD * random.random())  # noqa: S311 - spreads load, hides nothing
        renew_at = int(ends - early)
        if renew_at <= now + 1:
            renew_at = 0  # what lives a moment is fetched when it is wanted
        return Fetched(ends, pem=kept_pem(download.octets, credential), renew_at=renew_at)

    # --- Housekeeping -------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]] | None = None) -> None:
        tasks = self._tasks if among is None else among
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _warn(self, text: str) -> None:
        self._send({"kind": "log", "level": "warn", "text": text})


def _epoch(generation: str) -> str:
    return generation.partition(":")[0]


async def _close_later(fetcher: Fetcher, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await fetcher.close()


async def _run(orders: socket.socket, link: socket.socket, record: Sequence[int] = ()) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=link, limit=_LONGEST_LINE)

    def send(answer: dict[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(answer).encode() + b"\n")

    def say(level: str, text: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(send, {"kind": "log", "level": level, "text": text})

    recorder = Recorder(record, say) if record else None
    process = FetchProcess(send, record=recorder.configure) if recorder else FetchProcess(send)

    def take() -> None:
        try:
            process.take(orders.recv(MAX_ORDER).decode("utf-8", "replace"))
        except BlockingIOError:
            return

    async def say_so() -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY)
            send({"kind": "alive"})
            if recorder is not None:
                recorder.keep_running()

    alive: asyncio.Task[None] | None = None
    try:
        while line := await reader.readline():
            process.configure(json.loads(line))
            loop.add_reader(orders, take)  # again and again the same
            if alive is None:
                send({"kind": "log", "level": "info", "text": "fetch process ready"})
                alive = loop.create_task(say_so())
    finally:
        if alive is not None:
            alive.cancel()
        loop.remove_reader(orders)
        try:
            await process.close()
            writer.close()
        finally:
            if recorder is not None:
                recorder.finish(partial(_gone, orders))


def _gone(orders: socket.socket) -> bool:
    """Has every process of the server ended?"""
    poll = select.poll()
    poll.register(orders, 0)
    return any(event & select.POLLHUP for _fd, event in poll.poll(0))


def main(orders: int, link: int, *record: int) -> None:
    """The file descriptors that `link.Keeper` gave us."""
    # A terminal's interrupt is for the server, which tells us by closing the link
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(_NICE)  # where cores are short, SIP goes first: a handshake takes 2 ms of one
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A connection per slow repository: the usual 1024 is too few for `max_concurrent_fetches`
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _MAX_FILES)), hard))
    with socket.socket(fileno=orders) as one, socket.socket(fileno=link) as other:
        asyncio.run(_run(one, other, record))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
