"""The process that fetches: what it answers, what it has on disk, what another configuration changes; and the real one."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.errors import StirError, failure
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.runtime import fetch_process
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.disk import CertificateStore
from kamailio_app.runtime.fetch_process import FetchProcess
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.link import FETCH, KEEP, RENEW, Keeper, Orders
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.trust import Trust

from ..builders import DAY, NOW, X5U, evil, hierarchy, pem, provider
from .recorded import call_ids, put
from .support import LISTS, OTHER, Host, Said, settled, trust

GENERATION = "0:0"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def run(host: Host, what: Callable[[FetchProcess], Awaitable[Any]], *, configured: bool = True) -> list[Said]:
    """What the process says meanwhile."""
    said: list[Said] = []

    async def main() -> None:
        process = FetchProcess(said.append, clock=host.clock, make_fetcher=host.web.fetcher)
        if configured:
            process.configure(host.keeper.configuration())
        await what(process)
        await settled(process)
        await process.close()

    asyncio.run(main())
    return said


def told(host: Host, *orders: str) -> list[Said]:
    async def order(process: FetchProcess) -> None:
        for each in orders:
            process.take(each)

    return run(host, order)


def in_turn(host: Host, *orders: str) -> list[Said]:
    """Each when the one before is over."""

    async def order(process: FetchProcess) -> None:
        for each in orders:
            process.take(each)
            await settled(process)

    return run(host, order)


def credentials(said: list[Said]) -> list[tuple[str, dict[str, Fetched | None]]]:
    """The answers to orders: one for each URL, and one more when all of an order are there."""
    return [
        (answer["urls"], {url: Fetched.from_text(text) for url, text in answer["credentials"].items()})
        for answer in said
        if answer["kind"] == "credentials"
    ]


def only(said: list[Said], url: str = X5U) -> Fetched:
    """The one answer for this URL."""
    (fetched,) = [texts[url] for _urls, texts in credentials(said) if url in texts]
    assert fetched is not None
    return fetched


def resumed(said: list[Said]) -> list[str]:
    """The orders whose calls are to go on."""
    return [urls for urls, _texts in credentials(said) if urls]


def logged(said: list[Said]) -> list[str]:
    return [f"{answer['level']}: {answer['text']}" for answer in said if answer["kind"] == "log"]


# --- Orders -----------------------------------------------------------------------------------------------------


def test_order_is_answered_with_what_it_named(host: Host) -> None:
    said = told(host, f"{FETCH} {GENERATION} {X5U} {OTHER}")
    good, failed = only(said), only(said, OTHER)
    assert (good.pem, good.expires) == (provider().chain_pem.decode(), NOW + DAY)
    assert (failed.token, failed.generation, failed.expires) == ("x5u_unreachable", GENERATION, NOW + 15)
    # Its calls go on when all is there
    *each, last = credentials(said)
    assert [(urls, len(texts)) for urls, texts in each] == [("", 1), ("", 1)]
    assert last == (f"{X5U} {OTHER}", {})


def test_url_that_takes_long_does_not_hold_the_others_of_its_order(host: Host) -> None:
    said: list[Said] = []

    async def order(process: FetchProcess) -> None:
        there = asyncio.Event()
        fetcher: Any = process._fetcher
        fetch = fetcher.fetch

        async def slow(url: str) -> Download | StirError:
            if url == OTHER:
                await there.wait()
            found: Download | StirError = await fetch(url)
            return found

        fetcher.fetch = slow
        process._send = said.append
        process.take(f"{FETCH} {GENERATION} {OTHER} {X5U}")
        for _ in range(100):
            await asyncio.sleep(0)
        # A call whose time is over goes on with this one
        assert (only(said).token, resumed(said), len(said)) == ("", [], 1)
        there.set()

    run(host, order)
    assert only(said, OTHER).token == "x5u_unreachable"
    assert resumed(said) == [f"{OTHER} {X5U}"]


def test_one_fetch_per_url_however_many_ask(host: Host) -> None:
    order = f"{FETCH} {GENERATION} {X5U}"
    said = told(host, order, order, f"{order} {OTHER}", f"{RENEW} {GENERATION} {X5U}")
    assert sorted(host.web.asked) == [X5U, OTHER]
    assert sorted(resumed(said)) == [X5U, X5U, f"{X5U} {OTHER}"]


def test_renewal_wakes_nobody_and_tells_nothing_of_failures(host: Host) -> None:
    said = told(host, f"{RENEW} {GENERATION} {X5U} {OTHER}")
    ((urls, texts),) = credentials(said)
    assert (urls, list(texts)) == ("", [X5U])


@pytest.mark.parametrize("order", ["", " ", "fetch", "fetch ", f"fetch {GENERATION}", f"fetch {GENERATION} ", "\ufffd"])
def test_order_of_nothing_is_nothing(host: Host, order: str) -> None:
    assert credentials(told(host, order)) == []
    assert host.web.asked == []


def test_order_before_any_configuration_is_nothing(host: Host) -> None:
    async def order(process: FetchProcess) -> None:
        process.take(f"{FETCH} {GENERATION} {X5U}")

    assert run(host, order, configured=False) == []


def test_more_orders_than_can_be_helped_are_dropped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_process, "_MAX_TASKS", 3)
    said = told(host, *(f"{FETCH} {GENERATION} https://cr.example.test/{number}.pem" for number in range(5)))
    assert len(resumed(said)) == 3


def test_order_of_a_call_that_goes_by_newer_settings_waits_for_them(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")

    async def order(process: FetchProcess) -> None:
        process.take(f"{FETCH} 1:0 {X5U}")
        for _ in range(10):
            await asyncio.sleep(0)
        assert host.web.asked == []
        (host.directory / "trusted.pem").write_bytes(pem(evil().root.certificate))
        host.keeper.reload()
        host.keeper.accepted.epoch = 1
        process.configure(host.keeper.configuration())
        while process._tasks:
            await asyncio.sleep(0.001)

    assert only(run(host, order)).token == ""


def test_order_of_a_call_that_goes_by_older_settings_waits_for_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_process, "_NEWS_WITHIN", 3600)

    async def order(process: FetchProcess) -> None:
        for epoch in (1, 2):
            host.keeper.accepted.epoch = epoch
            process.configure(host.keeper.configuration())
        for epoch in range(3):
            process.take(f"{FETCH} {epoch}:0 {X5U}")
        while process._tasks:
            await asyncio.sleep(0.001)

    assert resumed(run(host, order)) == [X5U] * 3


def test_order_does_not_wait_for_news_that_do_not_come(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_process, "_NEWS_WITHIN", 0.05)
    began = time.monotonic()

    async def order(process: FetchProcess) -> None:
        process.take(f"{FETCH} 9:0 {X5U}")
        while process._tasks:
            host.clock.now -= 1  # set back all the time
            await asyncio.sleep(0.001)

    assert resumed(run(host, order)) == [X5U]
    assert time.monotonic() - began < 5


def test_defect_of_one_fetch_is_not_the_others(host: Host) -> None:
    host.web.answers[OTHER] = RuntimeError("boom")
    said = told(host, f"{FETCH} {GENERATION} {OTHER} {X5U}")
    assert (only(said, OTHER).token, only(said).token) == ("internal_error", "")
    assert resumed(said) == [f"{OTHER} {X5U}"]
    assert logged(said) == ["err: internal_error while fetching: RuntimeError('boom')"]


def test_certificate_that_every_worker_wants_renewed_is_renewed_once(host: Host) -> None:
    order = f"{RENEW} {GENERATION} {X5U}"

    async def orders(process: FetchProcess) -> None:
        for _ in range(3):
            process.take(order)
            while process._tasks:
                await asyncio.sleep(0.001)

    assert len(credentials(run(host, orders))) == 1
    assert host.web.asked == [X5U]


def broken(_rules: object) -> Any:
    raise OSError("no roots")


def test_settings_that_nothing_can_be_fetched_with_leave_the_former_fetcher(host: Host) -> None:
    async def order(process: FetchProcess) -> None:
        process._make_fetcher = broken
        again(host, process, x5u={"fetch_timeout": 1.0}, verification={"ca_file": ""}, cache={"negative_lifetime": 20})
        process.take(f"{FETCH} 1:0 {X5U}")

    said = run(host, order)
    # All else is by the new ones
    refused = only(said)
    assert (refused.token, refused.generation, refused.expires) == ("credential_untrusted", "1:0", NOW + 20)
    assert host.web.asked == [X5U]
    assert logged(said) == ["err: certificates are fetched by the former settings, if at all: no roots"]


def test_without_any_fetcher_orders_are_not_taken(host: Host) -> None:
    async def order(process: FetchProcess) -> None:
        process._make_fetcher = broken
        process.configure(host.keeper.configuration())
        process.take(f"{FETCH} {GENERATION} {X5U}")
        assert not process._tasks
        # What was in the way is mended
        process._make_fetcher = host.web.fetcher
        process.configure(host.keeper.configuration())
        process.take(f"{FETCH} {GENERATION} {OTHER}")

    assert resumed(run(host, order, configured=False)) == [OTHER]


# --- What is judged ---------------------------------------------------------------------------------------------


def test_download_is_judged_by_the_settings_of_the_moment_it_is_there(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")

    async def order(process: FetchProcess) -> None:
        there = asyncio.Event()
        fetcher: Any = process._fetcher
        fetch = fetcher.fetch

        async def slow(url: str) -> Download | StirError:
            await there.wait()
            found: Download | StirError = await fetch(url)
            return found

        fetcher.fetch = slow
        process.take(f"{FETCH} {GENERATION} {X5U}")
        await asyncio.sleep(0)
        (host.directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate, evil().root.certificate))
        host.keeper.reload()
        host.keeper.accepted.epoch = 4
        process.configure(host.keeper.configuration())
        there.set()

    assert only(run(host, order)).token == ""


def test_failure_says_why_on_one_short_line(host: Host) -> None:
    host.web.answers[X5U] = failure("x5u_unreachable", "caf\u00e9\r\n\0" + "x" * 5000)
    detail = only(told(host, f"{FETCH} {GENERATION} {X5U}")).detail
    assert detail.startswith("caf\\xe9\\x0d\\x0a\\x00xxx")
    assert len(detail) < 300


def test_certificate_outside_the_profile_is_said(host: Host) -> None:
    host.web.answers[X5U] = Download(hierarchy().service_provider(ServiceProvider(common_name="nobody")).chain_pem, "")
    (line,) = logged(told(host, f"{FETCH} {GENERATION} {X5U}"))
    assert line.startswith(f"info: outside the SHAKEN profile: x5u={X5U} ATIS-1000080")


def test_anchors_of_the_trust_list_count(tmp_path: Path) -> None:
    host = Host(tmp_path, verification={"ca_file": ""}, trust=LISTS)
    order = f"{FETCH} {GENERATION} {X5U}"
    refused = only(told(host, order))
    assert (refused.token, refused.generation) == ("credential_untrusted", GENERATION)
    host.trusts(trust([hierarchy().root.certificate]))
    assert only(told(host, order)).token == ""
    # Named no longer, trusted no longer
    host.settings(verification={"ca_file": ""})
    host.keeper.reload()
    assert only(told(host, order)).token == "credential_untrusted"


def test_times_of_an_answer(host: Host) -> None:
    moments = set()
    for _ in range(30):
        fetched = only(told(host, f"{RENEW} {GENERATION} {X5U}"))
        assert fetched.expires == NOW + DAY
        assert NOW + DAY * 0.85 - 1 <= fetched.renew_at <= NOW + DAY * 0.9
        moments.add(fetched.renew_at)
    assert len(moments) > 5  # each at its own moment


# --- The disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def with_disk(tmp_path: Path) -> Host:
    return Host(tmp_path, cache={"state_dir": "state"})


def on_disk(host: Host, fetched: Fetched | None = None, url: str = X5U) -> Fetched | None:
    """What is there; puts `fetched` there first."""
    with closing(CertificateStore(host.directory / "state", 10, print)) as store:
        if fetched is not None:
            store.put(url, fetched)
        return store.get(url)


ORDER = f"{FETCH} {GENERATION} {X5U}"
KEPT = f"{KEEP} {GENERATION} {X5U}"
"""A call was verified with it."""


def test_what_verified_no_call_is_not_put_on_the_disk(with_disk: Host) -> None:
    # Anybody can serve somebody else's chain, under names without end
    in_turn(with_disk, ORDER, f"{KEEP} {GENERATION} {OTHER}")
    assert on_disk(with_disk) is None
    assert on_disk(with_disk, url=OTHER) is None
    # Not even fetched here
    in_turn(with_disk, KEPT)
    assert on_disk(with_disk) is None


def test_what_was_fetched_is_remembered_until_others_are(with_disk: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_process, "_MAX_RECENT", 1)
    with_disk.web.answers[OTHER] = with_disk.web.answers[X5U]
    in_turn(with_disk, ORDER, f"{FETCH} {GENERATION} {OTHER}", KEPT, f"{KEEP} {GENERATION} {OTHER}")
    assert on_disk(with_disk) is None
    assert on_disk(with_disk, url=OTHER) is not None


def test_disk_answers_before_the_network(with_disk: Host) -> None:
    first = only(in_turn(with_disk, ORDER, KEPT))
    assert on_disk(with_disk) == first
    with_disk.clock.now += 1000
    assert only(told(with_disk, ORDER)) == first
    assert with_disk.web.asked == [X5U]


def test_renewal_goes_past_the_disk_and_is_put_there(with_disk: Host) -> None:
    in_turn(with_disk, ORDER, KEPT)
    with_disk.clock.now += 1000
    renewed = only(in_turn(with_disk, f"{RENEW} {GENERATION} {X5U}", KEPT))
    assert with_disk.web.asked == [X5U, X5U]
    assert renewed.expires == NOW + 1000 + DAY
    assert on_disk(with_disk) == renewed


def test_failed_renewal_leaves_the_disk_as_it_is(with_disk: Host) -> None:
    first = only(in_turn(with_disk, ORDER, KEPT))
    with_disk.web.answers[X5U] = failure("x5u_timeout")
    assert credentials(in_turn(with_disk, f"{RENEW} {GENERATION} {X5U}", KEPT)) == []
    assert on_disk(with_disk) == first
    assert only(told(with_disk, ORDER)) == first


def test_failures_are_not_kept_on_the_disk(with_disk: Host) -> None:
    with_disk.web.answers.clear()
    assert only(in_turn(with_disk, ORDER, KEPT)).token == "x5u_unreachable"
    assert on_disk(with_disk) is None


GOOD = provider().chain_pem.decode()


@pytest.mark.parametrize(
    "kept",
    [
        Fetched(NOW, pem=GOOD),
        Fetched(NOW - DAY, pem=GOOD),
        Fetched(NOW + 7 * DAY + 2, pem=GOOD),  # from a clock that was set back
        Fetched(NOW + 100 * DAY, pem=GOOD),
        Fetched(NOW + DAY, pem=evil().service_provider().chain_pem.decode()),
        Fetched(NOW + DAY, pem="garbage"),
        Fetched(NOW + DAY),
        Fetched(NOW + DAY, token="x5u_timeout"),
    ],
    ids=["ends now", "ended", "future", "far future", "untrusted", "garbage", "nothing", "failure"],
)
def test_what_is_no_good_on_the_disk_is_fetched_anew(with_disk: Host, kept: Fetched) -> None:
    on_disk(with_disk, kept)
    fetched = only(in_turn(with_disk, ORDER, KEPT))
    assert with_disk.web.asked == [X5U]
    assert (fetched.token, fetched.expires) == ("", NOW + DAY)
    assert on_disk(with_disk) == fetched


@pytest.mark.parametrize("ends", [NOW + 1, NOW + DAY, NOW + 7 * DAY])
def test_what_is_good_on_the_disk_is_not_fetched(with_disk: Host, ends: int) -> None:
    on_disk(with_disk, Fetched(ends, pem=GOOD))
    assert only(told(with_disk, ORDER)).expires == ends
    assert with_disk.web.asked == []


def test_certificate_on_the_disk_that_has_expired_is_fetched_anew(with_disk: Host) -> None:
    with_disk.clock.now = NOW + 31 * DAY
    on_disk(with_disk, Fetched(NOW + 32 * DAY, pem=GOOD))
    assert only(told(with_disk, ORDER)).token == "credential_expired"
    assert with_disk.web.asked == [X5U]


def test_disk_that_cannot_be_used_costs_a_fetch_and_is_said_once(with_disk: Host) -> None:
    (with_disk.directory / "state").write_text("")
    said = in_turn(with_disk, ORDER, KEPT, f"{FETCH} {GENERATION} {OTHER}")
    assert resumed(said) == [X5U, OTHER]
    (line,) = logged(said)
    assert line.startswith("warn: ")
    assert "not kept" in line


# --- Another configuration --------------------------------------------------------------------------------------


def again(host: Host, process: FetchProcess, **sections: Any) -> None:
    """An operator's reload."""
    host.settings(**sections)
    host.keeper.reload()
    host.keeper.accepted.epoch += 1
    process.configure(host.keeper.configuration())


def test_fetcher_stays_until_a_reload(host: Host) -> None:
    """The roots of TLS are in a file: other roots, the same settings."""

    async def change(process: FetchProcess) -> None:
        fetcher = process._fetcher
        configuration = host.keeper.configuration()
        epoch, _, trust = configuration["generation"].partition(":")
        process.configure({**configuration, "generation": f"{epoch}:{int(trust) + 1}"})
        assert process._fetcher is fetcher
        process.configure({**configuration, "generation": f"{int(epoch) + 1}:{trust}"})
        assert process._fetcher is not fetcher

    run(host, change)
    assert len(host.web.rules) == 2


def test_former_fetcher_is_closed_when_nobody_can_wait_for_it_any_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, slept = asyncio.sleep, list[float]()

    async def change(process: FetchProcess) -> None:
        over = asyncio.Event()

        async def sleeping(seconds: float) -> None:
            if seconds:
                slept.append(seconds)
                await over.wait()
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", sleeping)
        process.take(ORDER)
        await sleep(0)
        again(host, process, x5u={"fetch_timeout": 1.5})
        process.take(f"{FETCH} 1:0 {OTHER}")
        for _ in range(20):
            await sleep(0)
        assert (slept, host.web.closed) == ([6.0], 0)
        over.set()

    said = run(host, change)
    assert resumed(said) == [X5U, OTHER]
    assert ([rules.timeout for rules in host.web.rules], host.web.closed) == ([5.0, 1.5], 2)


def test_end_closes_a_former_fetcher_too(host: Host) -> None:
    async def main() -> None:
        process = FetchProcess(print, clock=host.clock, make_fetcher=host.web.fetcher)
        process.configure(host.keeper.configuration())
        again(host, process, x5u={"fetch_timeout": 1.5})
        await asyncio.sleep(0)
        await process.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert host.web.closed == 2


def test_end_gives_up_what_is_in_work(host: Host) -> None:
    async def main() -> None:
        process = FetchProcess(print, clock=host.clock, make_fetcher=host.web.fetcher)
        process.configure(host.keeper.configuration())
        process.take(ORDER)
        await asyncio.sleep(0)
        await process.close()
        await settled(process)
        assert not process._obtaining

    asyncio.run(main())
    assert host.web.closed == 1


def test_other_directory_is_used_from_then_on(host: Host, tmp_path: Path) -> None:
    async def change(process: FetchProcess) -> None:
        again(host, process, cache={"state_dir": "state"})
        process.take(f"{FETCH} 1:0 {X5U}")
        await settled(process)
        process.take(KEPT)
        store = process._store
        again(host, process, cache={"state_dir": "state"}, verification={"max_iat_age": 30})
        assert process._store is store
        again(host, process, cache={"state_dir": "state", "max_disk_certificates": 7})
        assert process._store is not store
        again(host, process, cache={"state_dir": "other"})
        process.take(f"{FETCH} 4:0 {X5U}")
        await settled(process)
        process.take(KEPT)

    run(host, change)
    assert on_disk(host) is not None
    assert (tmp_path / "other" / "certificates.sqlite").exists()


def test_refresh_begins_anew_with_a_reload_and_not_with_its_own_news(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)

    async def change(process: FetchProcess) -> None:
        refresh = process._refresh
        assert refresh is not None
        host.trusts(trust([evil().root.certificate], []))
        process.configure(host.keeper.configuration())
        assert process._refresh is refresh
        again(host, process, trust={**LISTS, "trust_refresh_interval": 60})
        assert process._refresh is not refresh
        assert refresh._tasks == []
        # It goes on from what is in use
        assert process._refresh is not None
        assert process._refresh.trust_list is not None
        again(host, process)
        assert process._refresh.trust_list is None

    run(host, change)


# --- The program ------------------------------------------------------------------------------------------------


def test_orders_wait_for_the_configuration_and_answers_go_through_the_link(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    made = partial(FetchProcess, clock=host.clock, make_fetcher=host.web.fetcher)
    monkeypatch.setattr(fetch_process, "FetchProcess", made)

    async def main() -> None:
        with closing(Orders()) as orders:
            ours, theirs = socket.socketpair()
            task = asyncio.create_task(fetch_process._run(orders.read, theirs, ()))
            reader, writer = await asyncio.open_connection(sock=ours)
            assert orders.put(FETCH, GENERATION, X5U)
            assert orders.put("\udce9", GENERATION, OTHER)
            configuration = json.dumps(host.keeper.configuration()).encode() + b"\n"
            for _ in range(2):
                writer.write(configuration)
            ready, *answers = [json.loads(await asyncio.wait_for(reader.readline(), 10)) for _ in range(5)]
            # Once, by the first configuration
            assert ready == {"kind": "log", "level": "info", "text": "fetch process ready"}
            assert sorted(answer["urls"] for answer in answers) == ["", "", X5U, OTHER]
            writer.close()
            await asyncio.wait_for(task, 10)  # nobody listens any more

    asyncio.run(main())
    assert host.web.closed == 1


def test_calls_are_recorded_by_the_settings_and_what_is_left_when_the_server_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    settings = "[record]\nrecord_calls = true\nrecord_dir = 'calls'\n[cache]\nstate_dir = ''\n"
    configuration = {"path": str(path), "settings": settings, "anchors": "", "generation": GENERATION, "trust": list(Trust())}

    async def main() -> None:
        with closing(Record()) as record:
            orders = Orders()
            ours, theirs = socket.socketpair()
            task = asyncio.create_task(fetch_process._run(orders.read, theirs, record.fds))
            reader, writer = await asyncio.open_connection(sock=ours)
            # Something that is said of the record goes the way of all that is said
            (tmp_path / "calls").touch()
            put(record, call_id="first")
            writer.write(json.dumps(configuration).encode() + b"\n")
            said = [json.loads(await asyncio.wait_for(reader.readline(), 10)) for _ in range(2)]
            assert {each["text"].partition(":")[0] for each in said} == {"fetch process ready", "record"}
            (tmp_path / "calls").unlink()
            put(record, call_id="second")
            writer.close()
            for end in (orders._write, orders._ring, orders.bell):
                end.close()
            await asyncio.wait_for(task, 10)
            orders.read.close()
            assert call_ids(tmp_path / "calls") == ["first", "second"]

    asyncio.run(main())


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"path": "x", "settings": "a = "}\n'])
def test_configuration_that_is_none_ends_the_program(line: bytes) -> None:
    async def main() -> None:
        with closing(Orders()) as orders:
            ours, theirs = socket.socketpair()
            with closing(ours):
                task = asyncio.create_task(fetch_process._run(orders.read, theirs, ()))
                ours.sendall(line)
                await asyncio.wait_for(task, 10)

    with pytest.raises((ValueError, LookupError, TypeError, StirError)):
        asyncio.run(main())


def test_the_program_itself_answers_and_ends(tmp_path: Path) -> None:
    host = Host(tmp_path)
    service = Service(tmp_path / "stirshaken.toml", host.table)
    lines: list[tuple[str, str]] = []
    keeper = Keeper(service.orders, lambda level, text: lines.append((level, text)))
    try:
        keeper.configure(service.configuration())
        assert service.credentials.order(["https://127.0.0.1/x.pem"])
        answers: list[Said] = []
        ends = time.monotonic() + 30
        while not resumed(answers):
            assert time.monotonic() < ends, lines
            answers += keeper.answers(0.2)
        url = "https://127.0.0.1/x.pem"
        assert (only(answers, url).token, resumed(answers)) == ("x5u_refused", [url])
        assert logged(answers) == ["info: fetch process ready"]
        process = keeper._process
    finally:
        keeper.close()
        service.close()
    assert process is not None
    assert process.returncode == 0
