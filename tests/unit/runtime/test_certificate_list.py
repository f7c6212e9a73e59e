"""The list of the certificates that sign: what is said of each, and what counts as wrong."""

from __future__ import annotations

from kamailio_app.errors import failure
from kamailio_app.policy.attestation import Customer, Decision
from kamailio_app.policy.rules import Policy, Rule
from kamailio_app.runtime.certificate_list import CertificateList, Wanted, certificate_list, wanted
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import Loaded
from kamailio_app.sti_as import Signer

from ..builders import DAY, NOW
from .test_choice import choices, pair

LONG = NOW + 90 * DAY
ONE = pair("one", ends=LONG)
OTHER = pair("other", "5678", ends=LONG)
GONE = pair("gone", begins=NOW - 30 * DAY, ends=NOW - DAY)
NOTHING = Wanted()


def listed(found: Choices, asked: Wanted = NOTHING, **tokens: str) -> CertificateList:
    """`tokens`: what was refused when the pairs were loaded."""
    refused = tuple((name, failure(token, "detail")) for name, token in tokens.items())
    return certificate_list(Loaded(found.signers, {}, refused), found, NOW, asked)


def signs(found: Choices, asked: Wanted = NOTHING) -> dict[str, str]:
    return {row.name: row.signs for row in listed(found, asked).rows}


def problems(found: CertificateList) -> list[str]:
    return [*(f"{row.name}: {problem}" for row in found.rows for problem in row.problems), *found.problems]


def by_policy(*questions: tuple[str, str]) -> Wanted:
    return Wanted(questions=frozenset(questions), policy=True)


def test_one_pair_signs_and_all_is_well() -> None:
    found = listed(choices(ONE))
    (row,) = found.rows
    assert (row.name, row.signer, row.signs, row.days_left, row.problems) == ("one", ONE, "now", 90, ())
    assert (found.problems, found.fine) == ((), True)


def test_rows_come_by_name_and_tell_which_signs_when() -> None:
    pairs: list[Signer] = [
        ONE,
        GONE,
        pair("before", begins=NOW - 2 * DAY, ends=LONG),
        pair("next", begins=NOW + 50 * DAY, ends=NOW + 150 * DAY),
        pair("switch", begins=NOW - DAY // 2, ends=LONG),
        pair("a", "8888", key="k", ends=LONG),
        pair("b", "9999", key="k", ends=LONG),
    ]
    found = choices(*pairs, switch=NOW + DAY)
    assert signs(found, by_policy(("", "1234"))) == {
        "a": "never",
        "b": "never",
        "before": "if named",
        "gone": "no longer",
        "next": "from 2024-01-03 22:13:20Z",
        "one": "now",
        "switch": "from 2023-11-15 22:13:20Z",
    }
    assert signs(found, by_policy(("before", "")))["before"] == "now"


def test_default_signs_now_and_the_newer_one_if_named() -> None:
    assert signs(choices(ONE, pair("newer", begins=NOW - 1, ends=LONG), default="one")) == {"newer": "if named", "one": "now"}


# --- What is wrong ----------------------------------------------------------------------------------------------


def test_no_pair_is_a_problem() -> None:
    assert problems(listed(choices())) == ["certificate_none: no usable pair"]


def test_refused_pair_is_listed_by_its_name_and_why() -> None:
    found = listed(choices(ONE), bad="key_mismatch", one="key_malformed")
    assert problems(found) == ["bad: key_mismatch: detail", "one: key_malformed: detail"]
    assert [(row.name, row.signer) for row in found.rows] == [("bad", None), ("one", ONE)]
    assert not found.fine


def test_pair_that_has_ended_is_a_problem_unless_another_followed() -> None:
    assert problems(listed(choices(ONE, GONE), gone="certificate_expired")) == []
    assert problems(listed(choices(GONE), gone="certificate_expired")) == [
        "gone: certificate_expired: detail",
        "certificate_none: 1 pairs, none valid now",
    ]
    assert "gone: certificate_expired: detail" in problems(listed(choices(OTHER, GONE), gone="certificate_expired"))


def test_end_that_is_near_is_a_problem_unless_another_follows() -> None:
    soon = pair("soon", begins=NOW - 60 * DAY, ends=NOW + 12 * DAY)
    assert problems(listed(choices(soon))) == ["soon: ends in 12 days, and nothing follows"]
    assert problems(listed(choices(soon, pair("next", begins=NOW + 11 * DAY, ends=LONG)))) == []
    assert certificate_list(Loaded({"soon": soon}), choices(soon), NOW, warn_days=11).fine
    # The signing policy names it and goes on naming it
    asked = by_policy(("soon", ""))
    later = pair("next", begins=NOW + 11 * DAY, ends=LONG)
    assert problems(listed(choices(soon, later), asked)) == ["soon: ends in 12 days, and nothing follows"]


def test_end_of_a_short_life_is_near_in_its_last_third() -> None:
    week = pair("week", begins=NOW, ends=NOW + 7 * DAY)
    assert problems(certificate_list(Loaded({"week": week}), choices(week), NOW + 4.6 * DAY)) == []
    assert problems(certificate_list(Loaded({"week": week}), choices(week), NOW + 4.7 * DAY)) == [
        "week: ends in 2 days, and nothing follows"
    ]
    # Whoever names days means them
    assert problems(certificate_list(Loaded({"week": week}), choices(week), NOW, warn_days=7)) == [
        "week: ends in 7 days, and nothing follows"
    ]


def test_several_providers_are_a_problem_if_nothing_says_whose_call_it_is() -> None:
    both = choices(ONE, OTHER)
    assert problems(listed(both)) == ["certificate_ambiguous: 1234: one; 5678: other"]
    assert listed(choices(ONE, OTHER, default="one")).fine
    assert listed(both, by_policy(("", "1234"), ("other", ""))).fine


def test_what_the_policy_names_and_is_not_there() -> None:
    asked = by_policy(("nobody", ""), ("", "9999"), ("one", "5678"), ("one", "1234"))
    assert problems(listed(choices(ONE), asked)) == [
        "the policy's spc 9999: certificate_none: no pair of 9999",
        "the policy's certificate nobody: certificate_none: no pair nobody",
        "the policy's certificate one: certificate_none: pair one is 1234's, not 5678's",
    ]


def test_schedule_that_cannot_be_kept() -> None:
    found = choices(ONE, pair("two", ends=LONG), two=LONG)
    asked = Wanted({"two": LONG, "nobody": NOW})
    assert problems(listed(found, asked)) == [
        "two: sign_from is 2024-02-12 22:13:20Z, when its time is over",
        "[certificate.nobody] sign_from: there is no such pair",
    ]
    assert signs(found, asked)["two"] == "if named"


def test_shared_key_is_said_once() -> None:
    found = choices(pair("a", "1", key="k", ends=NOW + DAY), pair("b", "2", key="k", ends=NOW + DAY), ONE, default="one")
    assert problems(listed(found, a="key_shared", b="key_shared")) == ["a: key_shared: detail", "b: key_shared: detail"]


# --- What is asked for ------------------------------------------------------------------------------------------


def test_without_a_policy_only_the_schedule_asks() -> None:
    assert wanted({"one": NOW}, None) == Wanted({"one": NOW})


def test_rules_and_customers_of_the_policy_ask() -> None:
    rules = (Rule(Decision("a", certificate="one")), Rule(Decision("b")))
    policy = Policy(rules, customers=(Customer("c", spc="5678"), Customer("d", certificate="one", spc="1234")))
    assert wanted({}, policy) == by_policy(("one", ""), ("", "5678"), ("one", "1234"))
