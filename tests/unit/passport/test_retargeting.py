"""Who diverted a call, as Diversion and History-Info tell it; and what they cannot make us do."""

from __future__ import annotations

import time

import pytest

from kamailio_app.passport.retargeting import diverting
from kamailio_app.sip import Party
from kamailio_app.tn import NumberPlan

A, B, C, D = "12155550131", "12155550140", "12155550150", "12155550160"


def uri(number: str) -> str:
    return f"sip:+{number}@gw.example.net;user=phone"


def told(*history: str, diversion: tuple[str, ...] = (), target: str = D) -> list[str]:
    return [one.value for one in diverting(history, diversion, Party("tn", target))]


# --- Diversion --------------------------------------------------------------------------------------------------


def test_topmost_diversion_is_the_last() -> None:
    latest = f"<{uri(B)}>;reason=no-answer;counter=1;privacy=off"
    assert told(diversion=(latest, f'"First, <sip:x>" <{uri(A)}>;reason="user-busy, really"')) == [A, B]
    assert told(diversion=(f"{latest}, <{uri(A)}>",)) == [A, B]


def test_diversion_without_brackets_is_read() -> None:
    assert told(diversion=(f"tel:+{A};reason=unknown",)) == [A]


def test_who_diverts_to_himself_diverts_once() -> None:
    assert told(diversion=(f"<{uri(B)}>, <tel:+1-215-555-0140>, <{uri(A)}>",)) == [A, B]


def test_number_is_read_as_it_is_dialled_here() -> None:
    plan = NumberPlan("1", "1", "011", 10)
    assert diverting((), ("<sip:2155550131@pbx>",), None, plan) == (Party("tn", A),)


def test_who_has_no_number_does_not_count() -> None:
    assert told(diversion=(f"<sip:bob@pbx>, <{uri(A)}>, <mailto:x@y>, rubbish",)) == [A]


# --- History-Info -----------------------------------------------------------------------------------------------


def test_history_names_all_and_where_it_went() -> None:
    assert told(f"<{uri(A)}>;index=1", f"<{uri(B)}>;index=1.1;mp=1, <{uri(D)}>;index=1.1.1;mp=1.1") == [A, B]


def test_order_of_the_entries_is_by_index() -> None:
    entries = [f"<{uri(A)}>;index=1", f"<{uri(B)}>;index=1.2;mp=1", f"<{uri(C)}>;index=1.10;mp=1.2"]
    assert told(*reversed(entries)) == [A, B, C]


def test_branch_that_failed_diverted_nothing() -> None:
    assert told(f"<{uri(A)}>;index=1, <{uri(B)}>;index=1.1;mp=1, <{uri(D)}>;index=1.2;mp=1") == [A]


def test_device_of_a_user_is_that_user() -> None:
    device = "<sip:+12155559999@192.0.2.1>"
    assert told(f"<{uri(A)}>;index=1, {device};index=1.1;rc=1, <{uri(D)}>;index=1.2;mp=1.1") == [A]
    assert told(f"<{uri(A)}>;index=1, {device};index=1.1;NP=1, <{uri(D)}>;index=1.2;mp=1.1") == [A]


def test_index_tells_where_nothing_else_does() -> None:
    first = f"<{uri(A)}?Reason=SIP%3Bcause%3D302>;index=1"
    assert told(f"{first}, <sip:a@192.0.2.1>;index=1.1, <{uri(B)}>;index=1.1.1, <{uri(D)}>;index=1.1.1.1") == [A, B]


def test_history_without_the_target_ends_with_who_diverted_last() -> None:
    assert told(f"<{uri(A)}>;index=1, <{uri(B)}>;index=1.1;mp=1") == [A, B]


def test_history_goes_before_diversion() -> None:
    assert told(f"<{uri(A)}>;index=1", diversion=(f"<{uri(B)}>",)) == [A]
    assert told(f"<{uri(A)}>;no-index", diversion=(f"<{uri(B)}>",)) == [B]


def test_commas_in_quotes_part_no_entries() -> None:
    assert told(f'"a, <{uri(C)}>;index=9" <{uri(A)}>;x="y, <{uri(C)}>;index=9";index=1') == [A]


@pytest.mark.parametrize(
    "history",
    [
        "",
        "rubbish",
        f"<{uri(A)}",
        f"{uri(A)};index=1",
        f"<{uri(A)}>",
        f"<{uri(A)}>;index=",
        f"<{uri(A)}>;index=x",
        f"<{uri(A)}>;index=1.",
        f"<{uri(A)}>;index=11111",
        f"<{uri(A)}>;index=1" + ".1" * 20,
        f'<{uri(A)}>;x="',
        "<sip:alice@gw>;index=1",
    ],
)
def test_what_cannot_be_read_is_not_there(history: str) -> None:
    assert told(history) == []


def test_index_that_leads_in_a_circle_ends() -> None:
    assert told(f"<{uri(A)}>;index=1;mp=1.1, <{uri(B)}>;index=1.1;mp=1") == [A, B]
    assert told(f"<{uri(A)}>;index=1;mp=1") == [A]


def test_nobody_diverted() -> None:
    assert told() == []
    assert told(f"<{uri(D)}>;index=1", diversion=(f"<{uri(D)}>",)) == []


# --- Bounds -----------------------------------------------------------------------------------------------------


def test_chain_is_as_long_as_anybody_verifies() -> None:
    numbers = [f"1215555{number:04}" for number in range(30)]
    assert told(diversion=tuple(f"<{uri(number)}>" for number in reversed(numbers))) == numbers[-10:]


@pytest.mark.parametrize(
    "field",
    [
        f"<{uri(A)}>," * 10_000,
        '"' * 100_000,
        "<" * 100_000,
        "," * 100_000,
        (";index=1" * 10_000),
        f"<{uri(A)}>" + ";index=1" * 1_000,
        f"<{uri(A)}>;index=" + "1." * 4_000,
        "<sip:" + "\\" * 8_000,
        '"' + "\\" * 8_000,
    ],
)
def test_hostile_fields_cost_little(field: str) -> None:
    began = time.process_time()
    told(*[field] * 100, diversion=(field,) * 100)
    assert time.process_time() - began < 1


def test_no_more_is_read_than_any_honest_call_has() -> None:
    numbers = [f"1215555{number:04}" for number in range(100)]
    later = tuple(f"<{uri(number)}>" for number in numbers)
    # The topmost are those who diverted last
    assert told(diversion=later)[-1] == numbers[0]
    assert told(diversion=later)[0] == numbers[9]
    assert told(diversion=(*["x"] * 32, f"<{uri(A)}>")) == []
    assert told(diversion=(f"<{uri(A)}>", f"<{uri(B)}>" + " " * 8192)) == [A]
    assert told(f"<{uri(A)}>;index=1", f"<{uri(B)}>;index=1.1;mp=1" + " " * 8192) == [A]
    assert told(",".join(f"<{uri(number)}>;index={place}" for place, number in enumerate(numbers, 1))) == [numbers[63]]
