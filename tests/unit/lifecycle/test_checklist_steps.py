"""The checklists as data: whole, in an order that can be gone, each fact with its source, each command one that there is."""

from __future__ import annotations

import re
from datetime import date
from itertools import chain

import pytest

from kamailio_app.lifecycle.checklist import Fact, Step
from kamailio_app.lifecycle.checklist_checks import CHECKS
from kamailio_app.lifecycle.checklist_steps import COUNTRIES, steps_of
from kamailio_app.policy import countries

from ..builders import refused

EVERY = [pytest.param(country, step, id=f"{country}-{step.id}") for country, steps in COUNTRIES.items() for step in steps]
FACTS = sorted({fact for steps in COUNTRIES.values() for step in steps for fact in step.facts})


def test_countries_are_those_whose_policies_there_are() -> None:
    assert {country.lower() for country in COUNTRIES} == countries.COUNTRIES.keys()


def test_other_countries_have_no_checklist() -> None:
    with refused("checklist_country_unknown"):
        steps_of("DE")


@pytest.mark.parametrize("country", COUNTRIES)
def test_each_step_comes_after_what_it_needs_and_once(country: str) -> None:
    before: list[str] = []
    for step in steps_of(country):
        assert set(step.needs) <= set(before)
        assert step.id not in before
        before.append(step.id)


@pytest.mark.parametrize("country", COUNTRIES)
def test_each_step_leads_to_the_first_call_or_the_renewal(country: str) -> None:
    needed = set(chain.from_iterable(step.needs for step in steps_of(country)))
    last = [step.id for step in steps_of(country) if step.id not in needed]
    # The numbers are no office's condition, but attestation's
    assert last == ["numbers", "first-call", "renewal"]


@pytest.mark.parametrize(("country", "step"), EVERY)
def test_each_step_says_all_that_a_newcomer_asks(country: str, step: Step) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", step.id)
    for words in (step.title, step.purpose, step.where, step.gives, step.checked):
        assert words
        assert words.isprintable()
    assert step.purpose.endswith(".")
    assert step.check in ("", *CHECKS)
    for field in step.fields:
        assert re.compile(field.pattern)
        assert field.source
        assert field.form
        assert re.fullmatch(r"[a-z_]+", field.name)
    if step.yearly:
        assert date(2027, *step.yearly)
        assert "--until" in step.checked


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_belongs_to_a_step(check: str) -> None:
    assert any(step.check == check for steps in COUNTRIES.values() for step in steps)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.text[:40])
def test_each_fact_has_a_source_and_what_is_ours_is_not_confirmed(fact: Fact) -> None:
    assert fact.source
    assert not fact.text.endswith(".")
    assert re.fullmatch(r"|\d{4}(-\d\d){0,2}", fact.as_of)
    if fact.source == "ours":
        assert not fact.confirmed


@pytest.mark.parametrize(
    ("country", "step", "name", "good", "bad"),
    [
        ("US", "frn", "frn", "0012345678", ("12345678", "001234567A", "00-1234567")),
        ("US", "499a", "filer_id", "812345", ("712345", "81234", "8123456")),
        ("US", "ocn", "ocn", "123A", ("123", "123a", "12345")),
        ("US", "rmd", "rmd_number", "RMD0001234", ("0001234", "RMD1234", "rmd0001234")),
        ("CA", "ocn", "ocn", "567B", ("567", "567_")),
        ("FR", "spc", "spc", "ABC123", ("1234", "ABC12é")),
    ],
)
def test_numbers_have_the_form_of_whoever_gives_them_out(
    country: str, step: str, name: str, good: str, bad: tuple[str, ...]
) -> None:
    (field,) = next(each for each in steps_of(country) if each.id == step).fields
    assert field.name == name
    assert re.fullmatch(field.pattern, good)
    assert not any(re.fullmatch(field.pattern, each, re.ASCII) for each in bad)


@pytest.mark.parametrize(("country", "step"), EVERY)
def test_codes_have_the_form_of_the_countrys_policies(country: str, step: Step) -> None:
    if step.check == "spc":
        (field,) = step.fields
        assert field.pattern == countries.COUNTRIES[country.lower()].spc
