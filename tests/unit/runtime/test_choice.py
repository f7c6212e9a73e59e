"""Which pair signs a call: by name, by provider, by time; and never one provider's call with another's."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Issued, ServiceProvider
from kamailio_app.runtime.choice import Choices, moment, provider, providers, sharing
from kamailio_app.sti_as import Signer

from ..builders import DAY, NOW, hierarchy, refused, signer


@cache
def own_key(name: str) -> Issued:
    return hierarchy().service_provider(ServiceProvider(common_name=name))


def pair(name: str, spc: str = "1234", begins: float = NOW - DAY, ends: float = NOW + 30 * DAY, *, key: str = "") -> Signer:
    made = signer(own_key(key or f"{spc}'s"), name, not_before=int(begins), not_after=int(ends))
    return replace(made, spcs=tuple(spc.split(",")) if spc else ())


def choices(*signers: Signer, default: str = "", **sign_from: float) -> Choices:
    return Choices({each.name: each for each in signers}, sign_from, default)


OLD = pair("old", begins=NOW - 30 * DAY, ends=NOW + DAY)
NEW = pair("new", ends=NOW + 6 * DAY)
NEXT = pair("next", begins=NOW + DAY, ends=NOW + 8 * DAY)
ENDED = pair("ended", begins=NOW - DAY // 2, ends=NOW)
OTHER = pair("other", "5678")
OTHERS_ENDED = pair("others-ended", "5678", NOW - 9 * DAY, NOW - DAY)


# --- One provider -----------------------------------------------------------------------------------------------


def test_the_valid_pair_that_was_issued_last_signs() -> None:
    assert choices(OLD, NEW, NEXT, ENDED).choose(NOW) is NEW


def test_pair_signs_from_its_first_second_until_before_its_last() -> None:
    both = choices(OLD, NEXT)
    assert both.choose(NOW + DAY - 1) is OLD
    assert both.choose(NOW + DAY) is NEXT
    assert both.choose(NOW + 8 * DAY - 1) is NEXT
    with refused("certificate_none"):
        both.choose(NOW + 8 * DAY)


def test_of_equals_the_last_by_name_signs_in_every_process() -> None:
    one, two = pair("sp-1"), pair("sp-2")
    assert choices(one, two).choose(NOW) is two
    assert choices(two, one).choose(NOW) is two


@pytest.mark.parametrize("signers", [(), (NEXT,), (ENDED,), (NEXT, ENDED)])
def test_no_valid_pair_is_certificate_none(signers: tuple[Signer, ...]) -> None:
    for spc in ("", "1234"):
        with refused("certificate_none"):
            choices(*signers).choose(NOW, spc=spc)


def test_an_answer_changes_with_the_clock_in_both_directions() -> None:
    found = choices(OLD, NEW, NEXT)
    times = (NOW - 20 * DAY, NOW, NOW + 2 * DAY, NOW, NOW - 20 * DAY, NOW + 7 * DAY)
    assert [found.choose(time).name for time in times] == ["old", "new", "next", "new", "old", "next"]


# --- A scheduled switch -----------------------------------------------------------------------------------------


def test_pair_signs_from_the_time_that_is_named() -> None:
    switch = NOW + 100.5
    found = choices(OLD, NEW, new=switch)
    assert found.choose(switch - 0.001) is OLD
    assert found.choose(switch) is NEW


def test_pair_does_not_sign_before_it_is_valid_whatever_the_schedule_says() -> None:
    assert choices(OLD, NEXT, next=NOW - DAY).choose(NOW) is OLD


def test_schedule_can_go_back_to_the_older_pair() -> None:
    found = choices(replace(OLD, not_after=NOW + 5 * DAY), NEW, old=NOW + DAY)
    assert found.choose(NOW) is NEW
    assert found.choose(NOW + DAY).name == "old"


def test_pair_that_waits_for_its_time_does_not_sign_also_if_it_is_the_only_one() -> None:
    with refused("certificate_none"):
        choices(NEW, new=NOW + 1).choose(NOW)


def test_pair_that_is_named_does_not_wait() -> None:
    assert choices(OLD, NEW, new=NOW + DAY).choose(NOW, "new") is NEW


def test_answer_of_a_named_pair_changes_when_it_becomes_valid_and_when_it_ends() -> None:
    found = choices(NEXT, next=NOW + 3 * DAY)
    with refused("certificate_not_yet_valid"):
        found.choose(NOW + DAY - 1, "next")
    assert found.choose(NOW + DAY, "next") is NEXT
    with refused("certificate_expired"):
        found.choose(NOW + 8 * DAY, "next")


def test_schedule_of_a_pair_that_is_not_there_changes_nothing() -> None:
    assert choices(OLD, nobody=NOW).choose(NOW) is OLD


# --- By name ----------------------------------------------------------------------------------------------------


def test_named_pair_signs_also_if_another_is_newer() -> None:
    assert choices(OLD, NEW).choose(NOW, "old") is OLD
    assert choices(OLD, NEW, default="old").choose(NOW) is OLD


def test_named_pair_that_is_not_there_is_no_reason_to_take_another() -> None:
    with refused("certificate_none"):
        choices(OLD, NEW).choose(NOW, "newest")
    with refused("certificate_none"):
        choices(OLD, NEW, default="newest").choose(NOW)


def test_named_pair_that_has_expired_or_is_not_yet_valid_says_so() -> None:
    found = choices(NEW, NEXT, ENDED)
    with refused("certificate_expired"):
        found.choose(NOW, "ended")
    with refused("certificate_not_yet_valid"):
        found.choose(NOW, "next")
    with refused("certificate_expired"):
        choices(NEW, ENDED, default="ended").choose(NOW)


def test_name_goes_before_the_default() -> None:
    assert choices(OLD, NEW, OTHER, default="old").choose(NOW, "other") is OTHER


# --- By provider ------------------------------------------------------------------------------------------------


def test_provider_has_its_own_pair_and_its_own_rotation() -> None:
    others_next = pair("others-next", "5678", NOW + DAY, NOW + 9 * DAY)
    found = choices(OLD, NEXT, OTHER, others_next)
    assert [found.choose(NOW, spc=spc).name for spc in ("1234", "5678")] == ["old", "other"]
    assert [found.choose(NOW + DAY, spc=spc).name for spc in ("1234", "5678")] == ["next", "others-next"]


def test_provider_without_a_pair_is_not_signed_for_by_another() -> None:
    with refused("certificate_none"):
        choices(OLD).choose(NOW, spc="5678")
    with refused("certificate_none"):
        choices(OLD, OTHERS_ENDED).choose(NOW, spc="5678")


def test_name_and_provider_must_agree() -> None:
    found = choices(NEW, OTHER)
    assert found.choose(NOW, "other", "5678") is OTHER
    with pytest.raises(StirError, match=r"certificate_none: pair other is 5678's, not 1234's"):
        found.choose(NOW, "other", "1234")


def test_default_holds_for_its_provider_and_for_no_other() -> None:
    found = choices(OLD, NEW, OTHER, default="old")
    assert found.choose(NOW) is OLD
    assert found.choose(NOW, spc="1234") is OLD
    assert found.choose(NOW, spc="5678") is OTHER


def test_certificate_of_several_codes_signs_for_each() -> None:
    both = pair("both", "1234,5678", key="1234's")
    found = choices(both)
    assert found.choose(NOW) is both
    assert found.choose(NOW, spc="5678") is both


# --- Several providers ------------------------------------------------------------------------------------------


def test_of_several_providers_none_signs_unless_it_is_said_whose_call_it_is() -> None:
    with pytest.raises(StirError, match=r"^certificate_ambiguous: 1234: new, old; 5678: other$"):
        choices(OLD, NEW, OTHER).choose(NOW)


@pytest.mark.parametrize("gone", [OTHERS_ENDED, pair("others-next", "5678", NOW + DAY, NOW + 9 * DAY)])
def test_provider_whose_pair_does_not_sign_now_has_calls_still(gone: Signer) -> None:
    # Its calls would be signed by the one that is left
    with refused("certificate_ambiguous"):
        choices(NEW, gone).choose(NOW)


def test_provider_whose_key_is_refused_has_calls_still() -> None:
    with refused("certificate_ambiguous"):
        choices(pair("a", "1", key="k"), pair("b", "2", key="k"), pair("c", "3")).choose(NOW)


def test_certificates_for_numbers_alone_are_apart_by_their_numbers() -> None:
    one = replace(pair("one", "", key="one"), authority=TNAuthList(numbers=("12155550121",)))
    again = replace(one, name="two", not_before=NOW - 9)
    other = replace(pair("three", "", key="two"), authority=TNAuthList(ranges=(TelephoneNumberRange("12155550200", 10),)))
    assert choices(one, again).choose(NOW).name == "two"
    with refused("certificate_ambiguous"):
        choices(one, other).choose(NOW)
    assert [provider(each) for each in (one, other, NEW)] == ["12155550121", "12155550200+10", "1234"]


def test_providers_by_their_codes_with_the_names_in_order() -> None:
    assert providers([OTHER, NEW, OLD]) == {"1234": ["new", "old"], "5678": ["other"]}


# --- One key for several providers ------------------------------------------------------------------------------


def test_key_of_two_providers_signs_for_neither() -> None:
    found = choices(pair("a", "1", key="k"), pair("b", "2", key="k"))
    for question in (("a", ""), ("b", ""), ("", "1"), ("", "2")):
        with refused("key_shared"):
            found.choose(NOW, *question)


def test_shared_key_is_no_reason_against_the_providers_other_pair() -> None:
    good = pair("good", "1", NOW - 9 * DAY)
    assert choices(good, pair("a", "1", key="k"), pair("b", "2", key="k")).choose(NOW, spc="1") is good


def test_who_shares_a_key_with_whom() -> None:
    signers = {each.name: each for each in (pair("a", "1", key="k"), pair("a2", "1", key="k"), pair("b", "2", key="k"), NEW)}
    assert sharing(signers) == {"a": "a of 1 and b of 2", "a2": "a2 of 1 and b of 2", "b": "b of 2 and a of 1, a2 of 1"}


def test_certificate_for_numbers_alone_shares_no_key_with_its_provider() -> None:
    assert sharing({"a": pair("a", "1", key="k"), "b": pair("b", "", key="k")}).keys() == {"a", "b"}


# --- How it is remembered ---------------------------------------------------------------------------------------


def test_an_answer_is_looked_for_once_between_two_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[str, str]] = []
    look = Choices.look

    def counted(self: Choices, now: float, certificate: str = "", spc: str = "") -> object:
        looks.append((certificate, spc))
        return look(self, now, certificate, spc)

    monkeypatch.setattr(Choices, "look", counted)
    found = choices(OLD, NEW, OTHER)
    for second in range(100):
        assert found.choose(NOW + second, spc="1234") is NEW
        with refused("certificate_ambiguous"):
            found.choose(NOW + second)
    assert looks == [("", "1234"), ("", "")]
    found.choose(NOW + DAY, spc="1234")
    assert len(looks) == 3


def test_refusal_is_another_exception_each_time() -> None:
    # One that is raised again and again would keep the frames of all its calls
    found = choices()
    caught = []
    for _ in range(2):
        with pytest.raises(StirError) as refusal:
            found.choose(NOW)
        caught.append(refusal.value)
    assert caught[0] is not caught[1]


def test_questions_that_are_never_the_same_do_not_fill_the_memory() -> None:
    found = choices(NEW)
    for number in range(10_000):
        with refused("certificate_none"):
            found.choose(NOW, f"pair-{number}")
    assert len(found._chosen) <= 4096
    assert found.choose(NOW) is NEW


def test_time_is_said_in_utc() -> None:
    assert moment(NOW) == "2023-11-14 22:13:20Z"
