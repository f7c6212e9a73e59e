"""scenario.toml: what is taken, and what is refused with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sipp.suite import scenario
from tests.sipp.suite.strict import ScenarioError

GOOD = """
title = "T"
about = "A"
clauses = ["RFC 8224 6.2"]
side = "verify"

[call]
headers = ["X: 1"]
[[call.identity]]
age = 120

[expect]
token = "iat_stale"

[[case]]
name = "tag"
expect = { answer = "200 OK", callee = { verstat = "No-TN-Validation" } }

[[case]]
name = "reject"
profile = "reject"
call.headers = ["X: 2"]
expect = { answer = ["403", "438 Invalid Identity Header"], callee = "nothing" }
"""


def read(folder: Path, text: str) -> scenario.Scenario:
    (folder / "scenario.toml").write_text(text)
    return scenario.read(folder)


def test_case_is_the_file_with_its_own_tables_over_it(tmp_path: Path) -> None:
    tag, reject = read(tmp_path, GOOD).cases
    assert tag.profile == "tag"
    assert tag.expect.token == reject.expect.token == "iat_stale"
    assert tag.expect.callee == scenario.Callee(1, "No-TN-Validation")
    assert reject.expect.callee == scenario.Callee(0)
    assert tag.expect.answer == ("200 OK",)
    assert reject.expect.answer == ("403", "438 Invalid Identity Header")
    assert (tag.call.headers, reject.call.headers) == (("X: 1",), ("X: 2",))
    assert tag.call.identity == reject.call.identity
    assert tag.call.identity[0].age == 120


def test_side_is_a_capability_that_is_needed(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace("[call]", 'needs = ["path"]\n[call]')).needs == ("verify", "path")


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("age = 120", "aeg = 120", 'unknown key "aeg"; did you mean "age"?'),
        ("age = 120", 'age = "old"', "a number is needed, not 'old'"),
        ("age = 120", "age = true", "a number is needed, not True"),
        ("age = 120", 'certificate = "strangr"', 'did you mean "stranger"?'),
        ("age = 120", 'x5u = "clsed"', 'did you mean "closed"?'),
        ("age = 120", 'tamper = "signatur"', 'did you mean "signature"?'),
        ("age = 120", 'frozen = "nobody"', "no file frozen/nobody.identity"),
        ('"iat_stale"', '"iat_stael"', 'unknown token "iat_stael"; did you mean "iat_stale"?'),
        ('profile = "reject"', 'profile = "rejct"', 'did you mean "reject"?'),
        ('side = "verify"', 'side = "verfy"', 'did you mean "verify"?'),
        ('side = "verify"', "", '"side" is missing'),
        ('title = "T"', "title = 7", "a text is needed, not 7"),
        ('clauses = ["RFC 8224 6.2"]', "clauses = []", '"clauses" has to name'),
        ('"200 OK"', '"100 Trying"', "no final code"),
        ('"200 OK"', '"ok"', "no final code"),
        ('callee = "nothing"', 'callee = "twice"', '"nothing", "once" or a table'),
        ("[expect]", "[expct]", 'did you mean "expect"?'),
        ('name = "reject"', 'name = "tag"', "two cases of one name"),
        ("[[case]]", "[[cse]]", 'did you mean "case"?'),
        ('name = "tag"', 'flow = { caller = "none.xml" }', 'no SIPp file "none.xml"'),
        ('name = "tag"', 'before = "reloud"', 'did you mean "reload"?'),
        ('name = "tag"', 'needs = ["fly"]', 'unknown capability "fly"'),
        ('name = "tag"', 'choice = { unsigned = "loud" }', 'unknown unsigned "loud"'),
        ('name = "tag"', 'name = "a b"', "stands in Call-IDs"),
        ("[call]", "[call", "scenario.toml"),
    ],
)
def test_mistake_is_told_with_a_hint(tmp_path: Path, old: str, new: str, hint: str) -> None:
    assert old in GOOD
    with pytest.raises(ScenarioError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert hint in str(error.value)
    assert "scenario.toml" in str(error.value)


@pytest.mark.parametrize(
    ("expected", "hint"),
    [
        ("", '"expect.answer" is needed'),
        ('token = ""\ncallee = "once"', '"expect.answer" is needed'),
        ('answer = "200"\ntoken = ""', '"expect.callee" is needed'),
        ('answer = "200"\ncallee = "once"', '"token", "log" and "said"'),
    ],
)
def test_case_that_leaves_an_end_or_the_log_out_is_refused(tmp_path: Path, expected: str, hint: str) -> None:
    with pytest.raises(ScenarioError, match=hint):
        read(tmp_path, f'title = "T"\nclauses = ["RFC"]\nside = "sign"\n[expect]\n{expected}\n[[case]]\n')


@pytest.mark.parametrize("log", ['token = ""', 'log = { attest = "A" }', 'said = { "refused" = 0 }'])
def test_answer_callee_and_one_of_the_log_are_enough(tmp_path: Path, log: str) -> None:
    (case,) = read(
        tmp_path, f'title="T"\nclauses=["RFC"]\nside="sign"\n[expect]\nanswer="200"\ncallee="once"\n{log}\n[[case]]\n'
    ).cases
    assert case.expect.callee == scenario.Callee()


def test_pattern_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(ScenarioError, match='did you mean "verify-iat-stale"'):
        scenario.find("verify-iat-stal")
    assert [one.name for one in scenario.find("verify-iat-st*")] == ["verify-iat-stale"]


def test_reason_is_a_text_or_a_table(tmp_path: Path) -> None:
    text = GOOD.replace(
        'token = "iat_stale"', 'token = "iat_stale"\nreason = ["403 Stale Date", { says = "438 X", identity = 0 }]'
    )
    found = read(tmp_path, text).cases[0].expect.reason
    assert found == (scenario.Reason("403 Stale Date"), scenario.Reason("438 X", 0))
    assert read(tmp_path, GOOD).cases[0].expect.reason is None
    with pytest.raises(ScenarioError, match='reason "stale"'):
        read(tmp_path, text.replace("403 Stale Date", "stale"))


def test_trunk_is_one_of_the_profile_s(tmp_path: Path) -> None:
    text = GOOD.replace('name = "tag"', 'name = "tag"\nprofile = "trunks"\ncall.trunk = "rejecting"')
    assert read(tmp_path, text).cases[0].call.trunk == "rejecting"
    with pytest.raises(ScenarioError, match='did you mean "rejecting"'):
        read(tmp_path, text.replace('"rejecting"', '"rejectin"'))
    with pytest.raises(ScenarioError, match="trunk"):
        read(tmp_path, text.replace('profile = "trunks"', 'profile = "tag"'))


def test_trunks_and_places_of_the_inside_are_for_calls_from_there(tmp_path: Path) -> None:
    text = GOOD.replace('name = "tag"', 'name = "tag"\nprofile = "policy"\ncall.trunk = "acme-pbx"')
    with pytest.raises(ScenarioError, match="trunk"):
        read(tmp_path, text)
    inside = text.replace('side = "verify"', 'side = "sign"')
    assert read(tmp_path, inside).cases[0].call.trunk == "acme-pbx"
    assert read(tmp_path, inside.replace("acme-pbx", "gateway-paris")).cases[0].call.trunk == "gateway-paris"


def test_passport_is_of_a_type_that_the_suite_reads(tmp_path: Path) -> None:
    text = GOOD.replace(
        'callee = { verstat = "No-TN-Validation" }', 'callee.identity.also = [{ ppt = "div" }, { ppt = "rcd" }]'
    )
    callee = read(tmp_path, text).cases[0].expect.callee
    assert callee is not None
    assert isinstance(callee.identity, scenario.Signed)
    assert [one.ppt for one in callee.identity.all] == ["shaken", "div", "rcd"]
    with pytest.raises(ScenarioError, match='did you mean "div"'):
        read(tmp_path, text.replace('"div"', '"dif"'))


def test_repository_can_be_told_only_what_it_can_do(tmp_path: Path) -> None:
    text = GOOD.replace('name = "tag"', 'name = "tag"\nbefore = { do = "misbehave", x5u = "slow" }')
    assert read(tmp_path, text).cases[0].before[0].x5u == "slow"
    with pytest.raises(ScenarioError, match="x5u"):
        read(tmp_path, text.replace('"slow"', '"chain"'))
