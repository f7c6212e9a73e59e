"""The STI-PA's lists: what is taken over, what is refused and changes nothing, and when it is tried again."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import failure
from kamailio_app.lab.pki import POLICY_URL
from kamailio_app.runtime import trust_refresh
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.settings import FetchRules, TrustRules
from kamailio_app.runtime.trust import Sources, Trust
from kamailio_app.runtime.trust_refresh import TrustRefresh

from ..builders import DAY, NOW, evil, hierarchy, pem, provider, refused
from .support import Answer, Clock, Said, Web, trust

LIST_URL = "https://pa.example.test/list"
CRL_URL = "https://pa.example.test/crl"
HOUR = 3600


class Desk:
    """A refresh; its sleep is the clock's. What it says is in `said`, how long it slept between refreshes in `pauses`."""

    def __init__(self, directory: Path, in_use: Trust | None = None, *, state: bool = True, **rules: Any) -> None:
        self.clock, self.web = Clock(), Web({})
        self.said: list[Said] = []
        self.pauses: list[float] = []
        self.before_round: Callable[[int], None] = lambda _number: None
        self.state_dir = directory / "state" if state else None
        (directory / "pa.pem").write_bytes(pem(hierarchy().policy_root.certificate, hierarchy().policy_signer.certificate))
        files = {name: directory / value for name, value in rules.items() if name.endswith("_file")}
        self.rules = TrustRules(**{"sti_pa_ca_file": directory / "pa.pem", **rules, **files})
        fetching: Any = FetchRules
        fetcher = self.web.fetcher(fetching)
        self.refresh = TrustRefresh(
            self.rules, self.state_dir, fetcher, in_use or Trust(), self.said.append, clock=self.clock, sleep=self._sleep
        )

    def serve(self, url: str, octets: bytes | str) -> None:
        self.web.answers[url] = Download(octets.encode() if isinstance(octets, str) else octets, "")

    async def _sleep(self, seconds: float) -> None:
        if len(self.pauses) >= self.rounds:
            await asyncio.Event().wait()
        self.clock.now += seconds
        self.pauses.append(seconds)
        self.before_round(len(self.pauses))
        await asyncio.sleep(0)

    def run(self, rounds: int = 0) -> Desk:
        """The first refresh, and one after each of so many pauses."""
        self.rounds = rounds
        names = [
            *(["trust_list"] if self.rules.trust_list_url or self.rules.trust_list_file else []),
            *(["crl"] if self.rules.crl_url or self.rules.crl_file else []),
        ]

        async def main() -> None:
            self.refresh.start()
            ends = time.monotonic() + 20
            while min(self.told_of(name) for name in names) < rounds + 1:
                assert time.monotonic() < ends
                await asyncio.sleep(0.001)
            self.refresh.stop()
            await asyncio.sleep(0)

        asyncio.run(main())
        return self

    def run_until(self, condition: Callable[[], bool]) -> Desk:
        """Both refreshes, with as many pauses as that takes."""
        self.rounds = 1000

        async def main() -> None:
            self.refresh.start()
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.001)
            self.refresh.stop()

        asyncio.run(main())
        return self

    def look_once(self) -> Desk:
        """First at the list, then at the CRL."""

        async def main() -> None:
            await self.refresh.refresh_list()
            await self.refresh.refresh_crl()

        asyncio.run(main())
        return self

    def told_of(self, name: str) -> int:
        return [answer["name"] for answer in self.said if answer["kind"] == "state"].count(name)

    def texts(self, kind: str) -> list[Any]:
        return [answer.get("text", answer.get("trust")) for answer in self.said if answer["kind"] == kind]

    def logs(self, level: str) -> list[str]:
        return [answer["text"] for answer in self.said if answer["kind"] == "log" and answer["level"] == level]


def source_of(directory: Path, **rules: Any) -> Sources:
    """What a desk with these rules has for a source."""
    return Sources.read(Desk(directory, **rules).rules)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter, and no state told between refreshes, but where that is looked at."""
    monkeypatch.setattr(random, "random", lambda: 0.5)

    async def never(_self: TrustRefresh) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(TrustRefresh, "_show_regularly", never)


def the_list(sequence: int = 1, **spec: Any) -> str:
    return hierarchy().trust_list([hierarchy().root.certificate], sequence, **spec)


# --- What is taken over -----------------------------------------------------------------------------------------


def test_list_is_fetched_with_its_signer_checked_told_and_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL)
    desk.serve(LIST_URL, the_list(7))
    desk.serve(POLICY_URL, hierarchy().policy_signer.chain_pem)
    desk.run()
    assert desk.web.for_operator == {LIST_URL: 4 << 20, POLICY_URL: 65536}
    ((listed, revocations, *sources),) = desk.texts("trust")
    assert revocations == ""
    found = TrustList.from_text(listed)
    assert found is not None
    assert (found.sequence, len(found.anchors())) == (7, 1)
    assert Trust.from_disk(desk.state_dir) == Trust(listed, "", *sources)
    assert Trust(listed, "", *sources).under(desk.rules).trust_list == listed
    (line,) = desk.logs("info")
    assert line == "trust_list taken over: sequence=7 expires=2023-12-14T22:13:20Z"


def test_list_that_brings_its_signer_needs_no_second_fetch(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL)
    desk.serve(LIST_URL, the_list(bring_signer=True))
    desk.run()
    assert (len(desk.texts("trust")), desk.web.asked) == (1, [LIST_URL])


@pytest.mark.parametrize("by", ["url", "file"])
def test_crl_is_checked_told_and_kept(tmp_path: Path, by: str) -> None:
    octets = hierarchy().crl([provider().certificate], number=9)
    rules: dict[str, Any] = {"crl_url": CRL_URL} if by == "url" else {"crl_file": "crl.pem"}
    desk = Desk(tmp_path, **rules)
    (tmp_path / "crl.pem").write_bytes(octets)
    desk.serve(CRL_URL, octets)
    desk.run()
    ((listed, revocations, *sources),) = desk.texts("trust")
    assert (listed, Trust.from_disk(desk.state_dir)) == ("", Trust("", revocations, *sources))
    assert Trust("", revocations, *sources).under(desk.rules).revocations == revocations
    assert desk.logs("info") == ["crl taken over: number=9 revoked=1 next_update=2023-11-21T22:13:20Z"]
    assert desk.web.for_operator == ({CRL_URL: 64 << 20} if by == "url" else {})


def test_neither_takes_the_other_away(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL, crl_url=CRL_URL)
    desk.serve(LIST_URL, the_list(bring_signer=True))
    desk.serve(CRL_URL, hierarchy().crl([]))
    desk.run()
    assert all(desk.texts("trust")[-1][:2])
    assert len(desk.texts("trust")) == 2


def test_what_is_in_use_already_is_not_told_again(tmp_path: Path) -> None:
    in_use = trust(revoked=[provider().certificate])._replace(crl_source=source_of(tmp_path, crl_url=CRL_URL).crl)
    desk = Desk(tmp_path, in_use, crl_url=CRL_URL)
    desk.serve(CRL_URL, hierarchy().crl([provider().certificate]))
    desk.run(2)
    assert (desk.texts("trust"), desk.logs("err")) == ([], [])


def test_file_that_another_replaces_is_read_again_soon(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_file="crl.pem")
    (tmp_path / "crl.pem").write_bytes(hierarchy().crl([], number=1))

    def replace(number: int) -> None:
        if number == 2:
            (tmp_path / "crl.pem").write_bytes(hierarchy().crl([provider().certificate], number=2))

    desk.before_round = replace
    desk.run(3)
    assert desk.pauses == [60, 60, 60]
    assert [text[1].count("\n") for text in desk.texts("trust")] == [2, 3]


def test_roots_of_the_sti_pa_are_read_again_each_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_file="crl.pem")
    right = (tmp_path / "pa.pem").read_bytes()
    (tmp_path / "crl.pem").write_bytes(hierarchy().crl([]))
    (tmp_path / "pa.pem").write_bytes(pem(evil().policy_root.certificate))

    def put_right(_number: int) -> None:
        (tmp_path / "pa.pem").write_bytes(right)

    desk.before_round = put_right
    desk.run(1)
    assert len(desk.texts("trust")) == 1
    assert "crl_untrusted" in desk.logs("err")[0]


def test_nothing_is_refreshed_where_nothing_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        refresh = Desk(tmp_path).refresh
        refresh.start()
        assert refresh._tasks == []

    asyncio.run(main())


# --- Another STI-PA ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_sequence_of_another_sti_pa_does_not_count(tmp_path: Path, same: bool) -> None:
    before = Desk(tmp_path, trust_list_url=LIST_URL)
    before.serve(LIST_URL, the_list(9, bring_signer=True))
    (told,) = before.run().texts("trust")
    there = LIST_URL if same else LIST_URL + "/other"
    desk = Desk(tmp_path, Trust(*told), trust_list_url=there)
    desk.serve(there, the_list(1, bring_signer=True))
    desk.run()
    (state,) = desk.texts("state")
    assert state.startswith("sequence=9 " if same else "sequence=1 ")
    assert ("error=trust_list_rollback" in state) is same


@pytest.mark.parametrize("same", [True, False])
def test_number_of_another_sti_pa_does_not_count(tmp_path: Path, same: bool) -> None:
    before = Desk(tmp_path, crl_url=CRL_URL)
    before.serve(CRL_URL, hierarchy().crl([], number=9))
    (told,) = before.run().texts("trust")
    there = CRL_URL if same else CRL_URL + "/other"
    desk = Desk(tmp_path, Trust(*told), crl_url=there)
    desk.serve(there, hierarchy().crl([], number=1))
    (state,) = desk.run().texts("state")
    assert ("error=crl_rollback" in state) is same


def test_roots_that_were_replaced_meanwhile_are_another_sti_pas(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL, crl_url=CRL_URL)
    desk.serve(LIST_URL, the_list(9, bring_signer=True))
    desk.serve(CRL_URL, hierarchy().crl([], number=9))
    former = desk.look_once().refresh.trust()
    assert former.under(desk.rules) == former
    (tmp_path / "pa.pem").write_bytes(pem(evil().policy_root.certificate))
    desk.serve(LIST_URL, evil().trust_list([hierarchy().root.certificate], 1, bring_signer=True))
    desk.serve(CRL_URL, evil().crl([], number=1))
    now = desk.look_once().refresh.trust()
    assert (former.under(desk.rules), now.under(desk.rules)) == (Trust(), now)
    assert desk.refresh.trust_list is not None
    assert desk.refresh.revocations is not None
    assert (desk.refresh.trust_list.sequence, desk.refresh.revocations.number) == (1, 1)


# --- Who signs the CRL ------------------------------------------------------------------------------------------


def without_signer(desk: Desk) -> Desk:
    """The file has the root alone."""
    (desk.rules.sti_pa_ca_file or Path()).write_bytes(pem(hierarchy().policy_root.certificate))
    return desk


@pytest.mark.parametrize("bring_signer", [True, False])
def test_signer_of_the_list_signs_the_crl_too(tmp_path: Path, bring_signer: bool) -> None:
    desk = without_signer(Desk(tmp_path, trust_list_url=LIST_URL, crl_url=CRL_URL))
    desk.serve(LIST_URL, the_list(bring_signer=bring_signer))
    desk.serve(POLICY_URL, hierarchy().policy_signer.chain_pem)
    desk.serve(CRL_URL, hierarchy().crl([]))
    desk.run_until(lambda: len(desk.texts("trust")) == 2)
    assert all(desk.texts("trust")[-1])


def test_restart_knows_who_signs_the_crl(tmp_path: Path) -> None:
    before = without_signer(Desk(tmp_path, trust_list_url=LIST_URL))
    before.serve(LIST_URL, the_list(bring_signer=True))
    (told,) = before.run().texts("trust")
    desk = without_signer(Desk(tmp_path, Trust(*told), trust_list_url=LIST_URL, crl_url=CRL_URL))
    desk.serve(CRL_URL, hierarchy().crl([]))
    desk.run()
    assert [line.partition(" ")[0] for line in desk.logs("err")] == ["trust_list"]
    assert desk.refresh.revocations is not None


def test_who_signed_a_list_that_was_refused_signs_no_crl(tmp_path: Path) -> None:
    desk = without_signer(Desk(tmp_path, trust_list_url=LIST_URL, crl_url=CRL_URL))
    desk.serve(LIST_URL, the_list(expires=NOW - 1))
    desk.serve(POLICY_URL, hierarchy().policy_signer.chain_pem)
    desk.serve(CRL_URL, hierarchy().crl([]))
    desk.run_until(lambda: all(state.failures > 1 for state in desk.refresh._states.values()))
    assert desk.texts("trust") == []
    assert {re.search(r"use: (\w+)", line)[1] for line in desk.logs("err")} == {  # type: ignore[index]
        "trust_list_expired",
        "crl_untrusted",
    }


def test_crl_is_looked_at_again_when_the_first_list_comes(tmp_path: Path) -> None:
    """With crl_failure = "hard" no call is verified until then."""
    desk = without_signer(Desk(tmp_path, trust_list_url=LIST_URL, crl_url=CRL_URL))
    desk.serve(CRL_URL, hierarchy().crl([]))
    states = desk.refresh._states
    pauses = 0

    async def sleeping(_seconds: float) -> None:
        """Of the list until both were refused, and for ever of the CRL."""
        nonlocal pauses
        pauses += 1
        if asyncio.current_task() is not desk.refresh._tasks[0] or pauses > 2:
            await asyncio.Event().wait()
        while not states["crl"].failures:
            await asyncio.sleep(0.001)
        desk.serve(LIST_URL, the_list(bring_signer=True))

    desk.refresh._sleep = sleeping
    desk.run_until(lambda: desk.refresh.revocations is not None)
    assert desk.refresh.trust_list is not None
    assert (states["crl"].failures, states["crl"].error) == (0, "")


# --- What is refused --------------------------------------------------------------------------------------------


def garbage() -> str:
    return "garbage"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (garbage, "trust_list_malformed"),
        (lambda: the_list(4, bring_signer=True), "trust_list_rollback"),
        (lambda: the_list(6, bring_signer=True, expires=NOW - 1), "trust_list_expired"),
        (lambda: evil().trust_list(None, 6, bring_signer=True), "trust_list_untrusted"),
        (lambda: the_list(6, bring_signer=True)[:-4] + "AAAA", "trust_list_signature"),
        (lambda: the_list(6), "trust_unreachable"),  # its signer is nowhere
    ],
)
def test_refused_list_leaves_the_last_good_one_in_use(tmp_path: Path, text: Callable[[], str], expected: str) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL)
    desk.serve(LIST_URL, the_list(5, bring_signer=True))
    desk.before_round = lambda number: desk.serve(LIST_URL, text()) if number == 1 else None
    desk.run(3)
    assert desk.refresh.trust_list is not None
    assert desk.refresh.trust_list.sequence == 5
    assert len(desk.texts("trust")) == 1
    (line,) = desk.logs("err")  # once, not each time
    assert line.startswith(f"trust_list refused, the former stays in use: {expected}")
    on_disk = TrustList.from_text(Trust.from_disk(desk.state_dir).trust_list)
    assert on_disk is not None
    assert on_disk.sequence == 5


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (lambda: b"garbage", "crl_malformed"),
        (lambda: hierarchy().crl([], number=4), "crl_rollback"),
        (lambda: hierarchy().crl([], number=6, next_update=NOW + 100), "crl_stale"),
        (lambda: evil().crl([], number=6), "crl_untrusted"),
    ],
)
def test_refused_crl_leaves_the_last_good_one_in_use(tmp_path: Path, octets: Callable[[], bytes], expected: str) -> None:
    desk = Desk(tmp_path, crl_url=CRL_URL)
    desk.serve(CRL_URL, hierarchy().crl([provider().certificate], number=5))
    desk.before_round = lambda _number: desk.serve(CRL_URL, octets())
    desk.run(1)
    assert desk.refresh.revocations is not None
    assert desk.refresh.revocations.number == 5
    assert desk.logs("err")[0].startswith(f"crl refused, the former stays in use: {expected}")
    assert len(desk.texts("trust")) == 1


def test_other_failure_is_said_again_and_the_same_one_is_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_url=CRL_URL)
    timeout, good = failure("x5u_timeout"), Download(hierarchy().crl([]), "")
    answers: dict[int, Answer] = {1: timeout, 2: timeout, 3: Download(b"x", ""), 4: good, 5: timeout}

    def change(number: int) -> None:
        if answer := answers.get(number):
            desk.web.answers[CRL_URL] = answer

    desk.before_round = change
    desk.run(6)
    assert [re.search(r"use: (\w+)", line)[1] for line in desk.logs("err")] == [  # type: ignore[index]
        "trust_unreachable",
        "crl_malformed",
        "trust_unreachable",
    ]


@pytest.mark.parametrize(
    ("rules", "hint"),
    [
        ({"crl_file": "none.pem"}, "none.pem: No such file"),
        ({"crl_file": "."}, "Is a directory"),
        ({"crl_file": "crl.pem", "sti_pa_ca_file": "none.pem"}, "none.pem: No such file"),
        ({"crl_file": "large.pem"}, "large.pem: more than 10000 octets"),
        ({"crl_url": CRL_URL}, f"{CRL_URL}: x5u_unreachable"),
    ],
)
def test_what_cannot_be_had_is_unreachable(
    tmp_path: Path, rules: dict[str, Any], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_refresh, "_MAX_CRL", 10_000)
    (tmp_path / "crl.pem").write_bytes(hierarchy().crl([]))
    (tmp_path / "large.pem").write_bytes(b"x" * 10_001)
    desk = Desk(tmp_path, **rules).run()
    (line,) = desk.logs("err")
    assert "trust_unreachable" in line
    assert hint in line


def test_without_roots_of_the_sti_pa_nothing_is_taken(tmp_path: Path) -> None:
    (tmp_path / "crl.pem").write_bytes(hierarchy().crl([]))
    desk = Desk(tmp_path, crl_file="crl.pem")
    desk.refresh._rules = TrustRules(crl_file=tmp_path / "crl.pem")

    async def once() -> None:
        with refused("trust_unreachable"):
            await desk.refresh.refresh_crl()

    asyncio.run(once())


# --- When the list in use ends ----------------------------------------------------------------------------------


def test_list_that_ends_is_said_in_time_and_stays_in_use(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL, trust_refresh_interval=HOUR)
    desk.serve(LIST_URL, the_list(bring_signer=True, expires=NOW + 4 * DAY))
    desk.run(5 * 24)
    lines = [line for line in desk.logs("err") if "in use" in line and "refused" not in line]
    what = "sequence=1 expires=2023-11-18T22:13:20Z"
    assert lines == [
        f"the trust list in use expires in 72 hours and stays in use; no newer one came: {what}",
        f"the trust list in use expires in 24 hours and stays in use; no newer one came: {what}",
        f"the trust list in use has expired and stays in use; no newer one came: {what}",
    ]
    assert desk.refresh.trust_list is not None
    states = desk.texts("state")
    assert f"{what} expires_in={4 * DAY}s age=0s" in states[0]
    assert re.search(r" expires_in=-\d+s .*error=trust_list_expired$", states[-1])


def test_newer_list_ends_the_alarm_and_short_lists_ring_once_a_day(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL, trust_refresh_interval=HOUR)

    def renew(number: int) -> None:
        # Each is good for 26 hours and replaced when it has but 23
        if number % 3 == 0:
            desk.serve(LIST_URL, the_list(number, bring_signer=True, expires=int(desk.clock.now) + 26 * HOUR))

    renew(0)
    desk.before_round = renew
    desk.run(47)
    lines = [re.search(r"expires in (\d+) hours", line)[1] for line in desk.logs("err")]  # type: ignore[index]
    assert lines == ["26", "24", "24"]


# --- When -------------------------------------------------------------------------------------------------------


def test_after_a_failure_it_is_tried_soon_then_later_and_later(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_url=CRL_URL, trust_refresh_interval=1000)

    def mend(number: int) -> None:
        if number == 10:
            desk.serve(CRL_URL, hierarchy().crl([]))
        if number == 12:
            desk.web.answers.clear()

    desk.before_round = mend
    desk.run(14)
    assert desk.pauses == [15, 30, 60, 120, 240, 480, 960, 1000, 1000, 1000, 1000, 1000, 15, 30]


@pytest.mark.parametrize(
    ("rules", "pause"),
    [
        ({"crl_url": CRL_URL}, HOUR),
        ({"crl_url": CRL_URL, "trust_refresh_interval": 7 * DAY}, 7 * DAY),
        ({"crl_file": "crl.pem"}, 60),
        ({"crl_file": "crl.pem", "trust_refresh_interval": 7 * DAY}, 60),
        ({"crl_url": CRL_URL, "crl_file": "crl.pem"}, HOUR),
    ],
)
def test_interval_is_for_the_network(tmp_path: Path, rules: dict[str, Any], pause: float) -> None:
    octets = hierarchy().crl([], next_update=NOW + 20 * DAY)
    (tmp_path / "crl.pem").write_bytes(octets)
    desk = Desk(tmp_path, **rules)
    desk.serve(CRL_URL, octets)
    assert desk.run(1).pauses == [pause]


@pytest.mark.parametrize(("drawn", "factor"), [(0.0, 0.9), (0.25, 0.95), (1.0, 1.1)])
@pytest.mark.parametrize("served", [True, False])
def test_no_two_hosts_try_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: float, factor: float, served: bool
) -> None:
    monkeypatch.setattr(random, "random", lambda: drawn)
    desk = Desk(tmp_path, crl_url=CRL_URL)
    if served:
        desk.serve(CRL_URL, hierarchy().crl([]))
    assert desk.run(1).pauses == [pytest.approx((HOUR if served else 15) * factor)]


def test_thousand_failures_are_no_overflow(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_url=CRL_URL)
    assert set(desk.run(1100).pauses[20:]) == {HOUR}


# --- What an operator sees --------------------------------------------------------------------------------------


def test_state_says_what_is_in_use_how_old_it_is_and_what_is_wrong(tmp_path: Path) -> None:
    desk = Desk(tmp_path, crl_url=CRL_URL)
    desk.serve(CRL_URL, hierarchy().crl([provider().certificate], number=5))
    desk.before_round = lambda _number: desk.web.answers.clear()
    desk.run(2)
    in_use = "number=5 revoked=1 next_update=2023-11-21T22:13:20Z"
    assert desk.texts("state") == [
        f"{in_use} age=0s next=2023-11-14T23:13:20Z failures=0",
        f"{in_use} age=3600s next=2023-11-14T23:13:35Z failures=1 error=trust_unreachable",
        f"{in_use} age=3615s next=2023-11-14T23:14:05Z failures=2 error=trust_unreachable",
    ]
    assert {answer["name"] for answer in desk.said if answer["kind"] == "state"} == {"crl"}


def test_state_of_what_never_came(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL).run()
    assert desk.texts("state") == ["age=never next=2023-11-14T22:13:35Z failures=1 error=trust_unreachable"]


def test_state_is_told_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    desk = Desk(tmp_path, crl_file="crl.pem")
    (tmp_path / "crl.pem").write_bytes(hierarchy().crl([]))

    async def sleeping(seconds: float) -> None:
        # The refresh itself is far away
        if seconds != 60.0 or len(desk.pauses) == 3:
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        while not desk.refresh._states["crl"].next:
            await asyncio.sleep(0.001)
        desk.clock.now += seconds
        desk.pauses.append(seconds)

    desk.refresh._sleep = sleeping
    desk.run(3)
    assert [re.search(r"age=(\d+)s", text)[1] for text in desk.texts("state")] == ["0", "60", "120", "180"]  # type: ignore[index]


@pytest.mark.parametrize("state", [True, False])
def test_disk_that_cannot_be_written_costs_nothing_but_a_line(tmp_path: Path, state: bool) -> None:
    (tmp_path / "state").write_text("a file")
    desk = Desk(tmp_path, crl_url=CRL_URL, state=state)
    desk.serve(CRL_URL, hierarchy().crl([]))
    desk.run()
    assert len(desk.texts("trust")) == 1
    assert [line.partition(":")[0] for line in desk.logs("warn")] == (["crl is in use and not on disk"] if state else [])


def test_defect_of_ours_is_said_and_the_next_look_is_another_try(tmp_path: Path) -> None:
    desk = Desk(tmp_path, trust_list_url=LIST_URL)
    desk.web.answers[LIST_URL] = KeyError("x")

    async def main() -> None:
        desk.rounds = 1
        desk.before_round = lambda _number: desk.serve(LIST_URL, the_list(bring_signer=True))
        desk.refresh.start()
        async with asyncio.timeout(20):
            while not desk.told_of("trust_list"):
                await asyncio.sleep(0.001)
        desk.refresh.stop()

    asyncio.run(main())
    assert desk.logs("err") == ["internal_error while refreshing trust_list: KeyError('x')"]
    assert desk.refresh.trust_list is not None


def test_end_ends_all_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        desk = Desk(tmp_path, crl_url=CRL_URL, trust_list_url=LIST_URL)
        desk.rounds = 0
        desk.refresh.start()
        tasks = list(desk.refresh._tasks)
        assert len(tasks) == 3
        await asyncio.sleep(0)
        desk.refresh.stop()
        await asyncio.wait(tasks, timeout=10)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())
