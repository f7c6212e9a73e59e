"""Parked calls: who orders a fetch, who resumes whom, and that no lock is ever left held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamailio_app.adapters.parking import Parking

NAME: Final = "parked"
URLS: Final = "https://a.example.test/ https://b.example.test/"
WAIT: Final = 2500
PLACES: Final = 16


@dataclass
class Table:
    """Kamailio's table: text by key, one lock per key that its holder must not take twice, entries in use only."""

    entries: dict[str, Any] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    broken: str = ""

    def _use(self, function: str, table: str, key: str) -> None:
        assert table == NAME
        assert self.held == [key], f"{function} without the lock of its key"
        self.used.append(function)
        if function == self.broken:
            raise RuntimeError(function)

    def sht_lock(self, table: str, key: str) -> int:
        assert (table, self.held) == (NAME, [])
        self.held.append(key)
        return 1

    def sht_unlock(self, table: str, key: str) -> int:
        assert (table, self.held) == (NAME, [key])
        self.held.remove(key)
        return 1

    def sht_get(self, table: str, key: str) -> Any:
        self._use("sht_get", table, key)
        return self.entries.get(key)

    def sht_sets(self, table: str, key: str, value: str) -> int:
        self._use("sht_sets", table, key)
        assert type(value) is str
        self.entries[key] = value
        return 1

    def sht_rm(self, table: str, key: str) -> int:
        self._use("sht_rm", table, key)
        del self.entries[key]
        return 1


class Lot:
    """One table, one clock in milliseconds, as many processes as are made."""

    def __init__(self) -> None:
        self.table = Table()
        self.now = 1_700_000_000_000

    def process(self) -> Parking:
        return Parking(lambda: self.table, NAME, lambda: self.now / 1000)

    def foist(self, text: Any, urls: str = URLS) -> None:
        """As somebody might who touches the table."""
        self.table.entries.update(dict.fromkeys((urls, *(f"{place} {urls}" for place in range(PLACES))), text))

    def ordered_until(self, urls: str = URLS) -> str:
        return str(self.table.entries.get(urls, ""))

    def waiting(self, urls: str = URLS) -> list[str]:
        """INDEX:LABEL:DEADLINE of those that wait, in all places."""
        texts = [str(self.table.entries.get(f"{place} {urls}", "0")) for place in range(PLACES)]
        return sorted(each for text in texts for each in text.split(" ")[1:])


@pytest.fixture
def lot() -> Lot:
    return Lot()


def claims(parking: Parking, urls: str = URLS) -> list[tuple[int, int]]:
    found = []
    while (claimed := parking.claim(urls)) is not None:
        found.append(claimed)
    return found


# --- The entry --------------------------------------------------------------------------------------------------


def test_entry_says_until_when_a_fetch_is_ordered_and_who_waits(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:-2", WAIT)
    first = lot.now + WAIT
    lot.now += 100
    parking.park(URLS, "3:4", WAIT)
    assert lot.ordered_until() == str(first)
    assert lot.waiting() == [f"1:-2:{first}", f"3:4:{first + 100}"]


def test_those_who_wait_for_the_same_are_not_one_long_text(lot: Lot) -> None:
    parking = lot.process()
    for number in range(1600):
        parking.park(URLS, f"{number}:1", WAIT)
    assert len(lot.waiting()) == 1600
    assert len(lot.table.entries) == 1 + PLACES
    assert max(len(text.split(" ")) - 1 for text in lot.table.entries.values()) < 200
    assert sorted(claims(parking)) == [(number, 1) for number in range(1600)]
    parking.forget_order(URLS)
    assert lot.table.entries == {}


def test_nothing_stays_in_the_table_for_whom_nobody_waits(lot: Lot) -> None:
    parking = lot.process()
    for use in (parking.anybody, parking.claim, parking.forget_order):
        use(URLS)
    parking.unpark(URLS, "1:2")
    assert set(lot.table.used) == {"sht_get"}
    parking.park(URLS, "1:2", WAIT)
    parking.forget_order(URLS)
    parking.unpark(URLS, "1:2")
    assert lot.table.entries == {}


def test_order_stays_while_nobody_waits(lot: Lot) -> None:
    parking = lot.process()
    assert parking.park(URLS, "1:2", WAIT)
    parking.unpark(URLS, "1:2")
    assert lot.table.entries == {URLS: str(lot.now + WAIT)}
    assert not parking.park(URLS, "3:4", WAIT)


def test_each_set_of_urls_is_for_itself(lot: Lot) -> None:
    parking = lot.process()
    assert parking.park("a", "1:2", WAIT)
    assert parking.park("b", "3:4", WAIT)
    parking.unpark("b", "1:2")
    assert (claims(parking, "a"), claims(parking, "b")) == ([(1, 2)], [(3, 4)])


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "garbage", "garbage 1:2:3", "\N{ARABIC-INDIC DIGIT NINE}", "-1", "1.5", "0x1", "9" * 5000, "1_000", "+1",
        5, 0, None, "\0", "1:2:3", "<null>",
    ],
)  # fmt: skip
def test_text_that_is_not_ours_is_as_none(lot: Lot, text: Any) -> None:
    parking = lot.process()
    uses: list[Callable[[], Any]] = [
        lambda: parking.claim(URLS),
        lambda: parking.anybody(URLS),
        lambda: parking.unpark(URLS, "1:2"),
        lambda: parking.forget_order(URLS),
    ]
    for use in uses:
        lot.foist(text)
        assert not use()
        assert lot.table.held == []
    lot.foist(text)
    assert parking.park(URLS, "1:2", WAIT)
    assert claims(parking) == [(1, 2)]


def test_waiters_that_are_not_ours_do_not_hide_those_that_are(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:2", WAIT)
    end = lot.now + WAIT
    for foreign in (
        "",
        "x",
        "1",
        "1:2",
        "1:2:3:4",
        "a:b:c",
        "1:2:",
        "--1:2:3",
        f"1:{'9' * 30}:{end}",
        "\N{SUPERSCRIPT TWO}:2:3",
    ):
        for key, text in lot.table.entries.items():
            lot.table.entries[key] = f"{text} {foreign}"
    for number in range(100):
        parking.park(URLS, f"{number}:6", WAIT)
    assert sorted(claims(parking)) == sorted([(1, 2), *((number, 6) for number in range(100))])


@pytest.mark.parametrize("transaction", ["", " ", "x", "1", "1:2:3", "1:2 3:4", "\0", "\N{SNOWMAN}", "a" * 9000])
def test_what_is_no_transaction_is_never_claimed(lot: Lot, transaction: str) -> None:
    parking = lot.process()
    parking.park(URLS, transaction, WAIT)
    parking.park(URLS, "1:2", WAIT)
    assert sorted(claims(parking)) in ([(1, 2)], [(1, 2), (3, 4)])
    parking.unpark(URLS, transaction)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.one_of(st.text(), st.text("0123456789: -"), st.from_regex(r"[0-9]{1,3}( -?[0-9]{0,3}:-?[0-9]{0,3}:[0-9]{0,16}){0,4}"))
)
def test_any_text_is_read(text: str) -> None:
    lot = Lot()
    lot.foist(text)
    parking = lot.process()
    claims(parking)
    parking.park(URLS, "1:2", WAIT)
    assert claims(parking) == [(1, 2)]
    assert lot.table.held == []


# --- Who orders -------------------------------------------------------------------------------------------------


def test_first_of_all_processes_orders(lot: Lot) -> None:
    assert [lot.process().park(URLS, f"{number}:1", WAIT) for number in range(4)] == [True, False, False, False]


def test_order_that_ran_out_is_ordered_again_and_once(lot: Lot) -> None:
    one, two = lot.process(), lot.process()
    assert one.park(URLS, "1:1", WAIT)
    lot.now += WAIT - 1
    assert not two.park(URLS, "2:2", WAIT)
    lot.now += 1
    assert two.park(URLS, "3:3", WAIT)
    assert not one.park(URLS, "4:4", WAIT)
    # The new order has a time of its own
    lot.now += WAIT - 1
    assert not one.park(URLS, "5:5", WAIT)


def test_order_that_was_carried_out_is_ordered_again(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:1", WAIT)
    parking.forget_order(URLS)
    assert parking.park(URLS, "2:2", WAIT)
    assert sorted(claims(parking)) == [(1, 1), (2, 2)]


def test_refused_order_leaves_others_able_to_order(lot: Lot) -> None:
    one, two = lot.process(), lot.process()
    assert one.park(URLS, "1:1", WAIT)
    assert not two.park(URLS, "2:2", WAIT)  # counts on the order of the first
    one.forget_order(URLS)
    one.unpark(URLS, "1:1")
    assert two.park(URLS, "3:3", WAIT)
    assert sorted(claims(two)) == [(2, 2), (3, 3)]


# --- Who waits --------------------------------------------------------------------------------------------------


def test_somebody_waits_until_claimed_or_taken_away(lot: Lot) -> None:
    parking = lot.process()
    assert not parking.anybody(URLS)
    parking.park(URLS, "1:1", WAIT)
    parking.park(URLS, "2:2", WAIT)
    assert parking.anybody(URLS)
    claimed = parking.claim(URLS)
    assert parking.anybody(URLS)
    parking.unpark(URLS, "2:2" if claimed == (1, 1) else "1:1")
    assert not parking.anybody(URLS)


@pytest.mark.parametrize("transaction", ["1:2", "11:2", "1:22", "1:-2", "-1:2"])
def test_only_the_call_itself_is_taken_away(lot: Lot, transaction: str) -> None:
    parking = lot.process()
    all_of_them = ["1:2", "11:2", "1:22", "1:-2", "-1:2"]
    for each in all_of_them:
        parking.park(URLS, each, WAIT)
    assert parking.unpark(URLS, transaction)
    assert {f"{index}:{label}" for index, label in claims(parking)} == {*all_of_them} - {transaction}


def test_who_takes_a_call_away_hears_whether_it_was_there(lot: Lot) -> None:
    worker, resuming = lot.process(), lot.process()
    assert not worker.unpark(URLS, "1:1")
    for number in range(3):
        worker.park(URLS, f"{number}:1", WAIT)
    claimed = resuming.claim(URLS)
    assert claimed is not None
    # That one somebody else resumes
    found = {number: worker.unpark(URLS, f"{number}:1") for number in range(3)}
    assert found == {number: number != claimed[0] for number in range(3)}
    assert not worker.unpark(URLS, "0:1")


# --- Who resumes whom -------------------------------------------------------------------------------------------


def test_calls_are_claimed_one_by_one(lot: Lot) -> None:
    parking = lot.process()
    for number in range(3):
        parking.park(URLS, f"{number}:-{number + 1}", WAIT)
    assert sorted(claims(parking)) == [(0, -1), (1, -2), (2, -3)]
    assert parking.claim(URLS) is None


def test_two_processes_never_claim_the_same_call(lot: Lot) -> None:
    worker, one, two = lot.process(), lot.process(), lot.process()
    for number in range(9):
        worker.park(URLS, f"{number}:1", WAIT)
    found = [claimed for parking in (one, two, two) * 4 if (claimed := parking.claim(URLS))]
    assert sorted(found) == [(number, 1) for number in range(9)]


def test_claimed_call_is_not_claimed_again_when_its_timer_unparks_it(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:1", WAIT)
    parking.park(URLS, "2:2", WAIT)
    claimed = parking.claim(URLS)
    assert claimed is not None
    parking.unpark(URLS, "{}:{}".format(*claimed))
    assert claims(parking) == [other for other in ((1, 1), (2, 2)) if other != claimed]


@pytest.mark.parametrize(("left", "claimed"), [(WAIT, True), (301, True), (300, False), (1, False), (0, False), (-1000, False)])
def test_call_within_the_margin_of_its_timer_is_left_to_it(lot: Lot, left: int, claimed: bool) -> None:
    parking = lot.process()
    parking.park(URLS, "1:1", WAIT)
    lot.now += WAIT - left
    assert (parking.claim(URLS) is not None) is claimed
    assert parking.anybody(URLS) is not claimed


def test_call_that_is_left_to_its_timer_does_not_stop_the_others(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:1", WAIT)
    lot.now += 2300
    parking.park(URLS, "2:2", WAIT)
    assert claims(parking) == [(2, 2)]
    parking.unpark(URLS, "1:1")
    assert not parking.anybody(URLS)


# --- Locks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["sht_get", "sht_sets", "sht_rm"])
def test_lock_is_released_whatever_the_table_does(lot: Lot, broken: str) -> None:
    parking = lot.process()
    uses: dict[str, Callable[[], Any]] = {
        "sht_get": lambda: parking.anybody(URLS),
        "sht_sets": lambda: parking.park(URLS, "1:1", WAIT),
        "sht_rm": lambda: parking.forget_order(URLS),
    }
    lot.table.entries[URLS] = "1"
    lot.table.broken = broken
    with pytest.raises(RuntimeError):
        uses[broken]()
    assert lot.table.held == []


def test_lock_is_released_after_every_use(lot: Lot) -> None:
    parking = lot.process()
    parking.park(URLS, "1:1", WAIT)
    parking.park(URLS, "2:2", WAIT)
    parking.anybody(URLS)
    parking.claim(URLS)
    parking.forget_order(URLS)
    parking.unpark(URLS, "2:2")
    parking.unpark(URLS, "1:1")
    assert (lot.table.held, lot.table.entries) == ([], {})


def test_table_is_looked_up_at_each_use() -> None:
    # KSR's modules are made anew in each process
    made: list[Table] = []

    def table() -> Table:
        made.append(Table())
        return made[-1]

    parking = Parking(table, NAME, lambda: 0.0)
    parking.park(URLS, "1:1", WAIT)
    assert [list(each.entries.values()) for each in made] == [["0 1:1:2500"], ["2500"]]
