"""Claims of a div PASSporT, and the way from the number that was signed to the one that is called."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kamailio_app.passport.div import DivClaims, Diversion, chain, div_claims, on_the_way, reach, unsigned_links
from kamailio_app.sip import Party
from kamailio_app.tn import AS_WRITTEN

from ..builders import ABSENT, NOW, ORIG, changed, refused

CLAIMS: dict[str, Any] = {"dest": {"tn": ["2"]}, "div": {"tn": "1"}, "iat": NOW, "orig": {"tn": ORIG}}


def read(**changes: Any) -> DivClaims:
    return div_claims(changed(CLAIMS, changes))


def tn(number: int | str) -> Party:
    return Party("tn", str(number))


def dest(*numbers: int) -> frozenset[Party]:
    return frozenset(map(tn, numbers))


def diversions(*steps: tuple[int, int]) -> dict[int, Diversion]:
    return {position: Diversion(tn(div), dest(target)) for position, (div, target) in enumerate(steps)}


# --- Claims -----------------------------------------------------------------------------------------------------


def test_claims_are_read() -> None:
    assert read() == DivClaims((tn(2),), tn(1), NOW, tn(ORIG))


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_mandatory(name: str) -> None:
    with refused("claim_missing"):
        read(**{name: ABSENT})


def test_opt_belongs_into_another_type() -> None:
    with refused("claim_malformed"):
        read(opt="a.b.c")


def test_other_claims_are_ignored() -> None:
    assert read(attest="A", hi="x") == read()


def test_who_diverted_may_be_a_uri_and_have_history_beside_it() -> None:
    assert read(div={"uri": "sip:a@b", "hi": "1.1"}).div == Party("uri", "sip:a@b")


@pytest.mark.parametrize(
    "div", [{}, {"tn": ["1"]}, {"tn": ""}, {"tn": 1}, {"tn": "1", "uri": "sip:a@b"}, {"hi": "1"}, "1", ["1"], None, True]
)
def test_who_diverted_is_one_identity(div: object) -> None:
    with refused("claim_malformed"):
        read(div=div)


@pytest.mark.parametrize("changes", [{"dest": {"tn": "2"}}, {"orig": {"tn": ["1"]}}, {"iat": True}])
def test_the_rest_is_as_strict_as_in_any_passport(changes: dict[str, Any]) -> None:
    with refused("claim_malformed"):
        read(**changes)


# --- Chains -----------------------------------------------------------------------------------------------------


def test_no_diversion_is_needed_for_what_was_signed() -> None:
    assert chain(dest(1, 2), {}, tn(2)) == ()


@pytest.mark.parametrize("order", list(itertools.permutations([(1, 2), (2, 3), (3, 4)])))
def test_order_of_the_headers_says_nothing(order: tuple[tuple[int, int], ...]) -> None:
    found = chain(dest(1), diversions(*order), tn(4))
    assert found is not None
    assert [order[number] for number in found] == [(1, 2), (2, 3), (3, 4)]


def test_fewest_diversions_count() -> None:
    assert chain(dest(1), diversions((1, 2), (2, 3), (1, 3)), tn(3)) == (2,)


@pytest.mark.parametrize("steps", [(), ((2, 3),), ((1, 2),), ((1, 2), (4, 3)), ((3, 1),), ((1, 1), (2, 2), (1, 2), (2, 1))])
def test_broken_chain_leads_nowhere(steps: tuple[tuple[int, int], ...]) -> None:
    assert chain(dest(1), diversions(*steps), tn(3)) is None
    assert on_the_way(dest(1), diversions(*steps), tn(3)) == []


def test_loop_ends() -> None:
    assert chain(dest(1), diversions((1, 2), (2, 1), (2, 2), (2, 3)), tn(3)) == (0, 3)


def test_one_diversion_may_lead_to_several_and_come_from_several() -> None:
    links = {7: Diversion(tn(1), dest(2, 3)), 9: Diversion(tn(3), dest(5))}
    assert chain(dest(0, 1), links, tn(2)) == (7,)
    assert chain(dest(0, 1), links, tn(5)) == (7, 9)


def test_what_leads_nowhere_is_not_on_the_way() -> None:
    links = diversions((1, 2), (2, 3), (2, 9), (8, 3), (1, 3))
    assert on_the_way(dest(1), links, tn(3)) == [0, 1, 4]


def test_ten_diversions_all_to_all_end() -> None:
    every = {number: Diversion(tn(number), dest(*range(10))) for number in range(10)}
    assert on_the_way(dest(0), every, tn(9)) == list(range(10))
    assert chain(dest(0), every, tn(10)) is None


# --- What is not signed yet -------------------------------------------------------------------------------------


def step(div: int, *targets: int) -> DivClaims:
    return DivClaims(tuple(map(tn, targets)), tn(div), NOW, tn(ORIG))


def missing(signed: tuple[int, ...], steps: tuple[DivClaims, ...], *way: int) -> list[tuple[str, str]]:
    links = unsigned_links(reach(map(tn, signed), steps, AS_WRITTEN), [tn(one) for one in way])
    return [(div.value, target.value) for div, target in links]


def test_members_are_the_four() -> None:
    assert step(1, 3, 2).members() == {"dest": {"tn": ["2", "3"]}, "div": {"tn": "1"}, "iat": NOW, "orig": {"tn": ORIG}}
    assert div_claims(step(1, 2).members()) == step(1, 2)


@pytest.mark.parametrize(
    ("signed", "steps", "way", "expected"),
    [
        ((1,), (), (2,), [("1", "2")]),
        ((1,), (), (1, 2), [("1", "2")]),
        ((1, 9), (), (1, 2, 3), [("1", "2"), ("2", "3")]),
        ((1,), (step(1, 2),), (3,), [("2", "3")]),
        ((1,), (step(2, 3), step(1, 2)), (4,), [("3", "4")]),
        ((1,), (step(1, 2), step(1, 2)), (3,), [("2", "3")]),
        ((1,), (step(1, 2),), (1, 2, 3), [("2", "3")]),
        ((1,), (step(1, 2),), (1, 3), [("1", "3")]),
        ((1,), (step(8, 9),), (2,), [("1", "2")]),
        ((2,), (), (1, 2, 3), [("2", "3")]),
        ((1,), (), (1, 2, 1, 3), [("1", "3")]),
    ],
)
def test_only_what_is_missing_is_signed(
    signed: tuple[int, ...], steps: tuple[DivClaims, ...], way: tuple[int, ...], expected: list[tuple[str, str]]
) -> None:
    assert missing(signed, steps, *way) == expected


@pytest.mark.parametrize(("signed", "steps", "way"), [((1,), (), (1,)), ((1,), (step(1, 2),), (2,)), ((1, 2), (), (1, 2))])
def test_where_it_was_signed_to_go_nothing_is_missing(
    signed: tuple[int, ...], steps: tuple[DivClaims, ...], way: tuple[int, ...]
) -> None:
    with refused("div_not_needed"):
        missing(signed, steps, *way)


@pytest.mark.parametrize(
    ("signed", "steps", "way"),
    [((1,), (), (2, 3)), ((1, 2), (), (3,)), ((1,), (step(1, 2, 3),), (4,)), ((1,), (step(1, 2), step(2, 1)), (3,))],
)
def test_nobody_can_tell_who_diverted(signed: tuple[int, ...], steps: tuple[DivClaims, ...], way: tuple[int, ...]) -> None:
    with refused("div_unlinked"):
        missing(signed, steps, *way)


def test_first_spelling_of_a_number_is_the_one_that_counts() -> None:
    back = DivClaims((Party("tn", "+1"),), tn(2), NOW, tn(ORIG))
    reached = reach([tn(1)], (step(1, 2), back), AS_WRITTEN)
    assert reached.signed == {tn(1): tn(1), tn(2): tn(2)}
