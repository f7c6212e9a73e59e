"""Trying a policy: with the settings' lists and defaults, and against a file of expectations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import Call
from kamailio_app.runtime import policy_file
from kamailio_app.runtime.numbers import Numbers
from kamailio_app.runtime.policy_trial import Expectation, Trial, expectations, trial
from kamailio_app.tn import NumberPlan

POLICY = """
[customer.acme]
[trunk.t]
customer = "acme"
source = "192.0.2.0/24"
country = "fr"
[[rule]]
name = "never"
do_not_originate = true
reject = 603
[[rule]]
name = "own"
caller_in = "own"
attest = "A"
[[rule]]
name = "asked"
asked = ["A", "B", "C"]
[[rule]]
name = "anonymous"
caller = "anonymous"
sign = false
"""


class List(Numbers):
    """A list of numbers in memory."""

    def __init__(self, owners: dict[str, tuple[str, ...]], error: StirError | None = None) -> None:
        super().__init__(None)
        self.asked: list[str] = []
        self.known = owners
        self.error = error

    def refresh(self, now: float) -> None:
        pass

    def owners(self, number: str) -> tuple[str, ...]:
        self.asked.append(number)
        return self.known.get(number, ())

    def holds(self, number: str) -> bool:
        self.asked.append(number)
        return number in self.known


def on(inventory: Numbers | None = None, never: Numbers | None = None) -> Trial:
    policy = policy_file.parse(Path("p"), POLICY)
    return Trial(
        policy,
        inventory or List({}),
        never or List({}),
        Attestation.PARTIAL,
        NumberPlan("1", "1", "011", 10),
        frozenset({"911"}),
    )


# --- One call ---------------------------------------------------------------------------------------------------


def test_lists_say_whose_the_number_is() -> None:
    tried = on(List({"12": ("acme",)})).of(Call("12", "34", customer="acme"))
    assert (tried.caller_in, tried.do_not_originate, tried.decision.rule, tried.attest) == ("own", False, "own", "A")
    tried = on(List({"12": ("acme",)})).of(Call("12", "34", customer="beta"))
    assert (tried.caller_in, tried.decision.rule, tried.attest) == ("other", "default", "B")
    tried = on(never=List({"12": ()})).of(Call("12", "34"))
    assert (tried.do_not_originate, tried.decision.rule, tried.attest) == (True, "never", "")


def test_lists_are_not_asked_where_the_answer_is_given() -> None:
    trial_ = on(inventory := List({"12": ("acme",)}), never := List({"12": ()}))
    tried = trial_.of(Call("12", "34", customer="acme"), "other", False)
    assert (tried.caller_in, tried.do_not_originate, tried.decision.rule) == ("other", False, "default")
    assert inventory.asked == never.asked == []


def test_lists_are_not_asked_where_no_rule_does() -> None:
    trial_ = Trial(policy_file.parse(Path("p"), ""), inventory := List({}), never := List({}))
    assert trial_.of(Call("12", "34")).attest == "C"
    assert inventory.asked == never.asked == []


def test_number_that_never_calls_and_that_no_rule_asks_about_is_overlooked() -> None:
    never = List({"12": ()})
    assert not on(never=never).overlooked(on(never=never).of(Call("12", "34")))
    first = '[[rule]]\nname = "a"\ncaller = ["12", "13"]\nattest = "A"\n'
    for policy in ("", f'{first}[[rule]]\nname = "never"\ndo_not_originate = true\nreject = 603'):
        trial_ = Trial(policy_file.parse(Path("p"), policy), do_not_originate=never)
        assert [trial_.overlooked(trial_.of(Call(caller, "34"))) for caller in ("12", "13")] == [True, False]
    broken = Trial(policy_file.parse(Path("p"), ""), do_not_originate=List({}, failure("inventory_unreadable", "gone")))
    assert not broken.overlooked(broken.of(Call("12", "34")))


@pytest.mark.parametrize("broken", [0, 1])
def test_list_that_cannot_be_read_is_an_error(broken: int) -> None:
    error = failure("inventory_unreadable", "there")
    lists = [List({}, error if position == broken else None) for position in (0, 1)]
    with pytest.raises(StirError) as caught:
        on(*lists).of(Call("12", "34"))
    assert caught.value is error


def test_call_is_placed_and_its_emergency_seen() -> None:
    trial_ = on(never=List({"12": ()}))
    call, wrong = trial_.call(Call("12", "911", source="192.0.2.1"))
    assert wrong == ""
    tried = trial_.of(call)
    assert (tried.call.trunk, tried.call.customer, tried.call.emergency) == ("t", "acme", True)
    assert (tried.decision.rule, tried.decision.action) == ("default", "sign")
    assert on().of(Call("12", "34", emergency=True)).call.emergency


@pytest.mark.parametrize(
    ("called", "trunk", "emergency"),
    [
        ("911", "", True),
        ("112", "", False),  # the settings' numbers are others
        ("urn:service:sos", "", True),
        ("urn:service:sos.fire", "", True),
        ("tel:911;phone-context=+1", "", True),
        ("sip:911@x;user=phone", "", True),
        ("tel:+1911", "", False),
        ("sip:bob@911", "", False),
        ("12155550131", "", False),
        ("anonymous", "", False),
        ("9-1-1", "t", True),
    ],
)
def test_emergency_call_is_known_as_an_edge_knows_it(called: str, trunk: str, emergency: bool) -> None:
    trial_ = on(never=List({"12": ()}))
    call, wrong = trial_.call(Call("12", called, trunk))
    assert (call.emergency, wrong) == (emergency, "")
    assert trial_.of(call).decision.action == ("sign" if emergency else "reject")


def test_emergency_numbers_are_known_without_settings(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY, "utf-8")
    trial_ = trial(tmp_path / "no.toml", tmp_path / "policy.toml", None, None)
    assert [trial_.call(Call("12", number))[0].emergency for number in ("911", "933", "112", "113")] == [
        True,
        True,
        True,
        False,
    ]


def test_attestation_is_that_of_the_script_where_the_rule_leaves_it() -> None:
    assert on().of(Call("12", "34", asked="C")).attest == "C"
    assert on().of(Call("12", "34")).attest == "B"


@pytest.mark.parametrize(
    ("text", "trunk", "number"),
    [
        ("12155551212", "", "12155551212"),
        ("215 555 1212", "", "12155551212"),
        ("0123456789", "t", "33123456789"),
        ("sip:+12155551212@h", "", "12155551212"),
        ("tel:2155551212", "", "12155551212"),
        ("sip:alice@h", "", ""),
        ("anonymous", "", ""),
        ("", "", ""),
        ("alice", "", None),
    ],
)
def test_number_is_written_as_people_write_it(text: str, trunk: str, number: str | None) -> None:
    assert on().number(text, Call("", "", trunk)) == number


# --- What it is tried with --------------------------------------------------------------------------------------


def test_settings_say_what_calls_are_tried_with(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY, "utf-8")
    settings = tmp_path / "stirshaken.toml"
    settings.write_text(
        '[signing]\nattest_level = "A"\npolicy_file = "policy.toml"\n'
        '[numbers]\ncountry_code = "1"\nnational_number_length = 10',
        "utf-8",
    )
    tried = trial(settings, None, None, None)
    assert [rule.name for rule in tried.policy.rules] == ["never", "own", "asked", "anonymous", "default"]
    assert tried.attest_level is Attestation.FULL
    assert tried.plan == NumberPlan("1", national_number_length=10)
    assert "911" in tried.emergency
    other = tmp_path / "other.toml"
    other.write_text("", "utf-8")
    assert len(trial(settings, other, None, None).policy.rules) == 1


def test_settings_without_a_policy_sign_everything(tmp_path: Path) -> None:
    settings = tmp_path / "stirshaken.toml"
    settings.write_text("", "utf-8")
    assert trial(settings, None, None, None).of(Call("1", "2")).attest == "C"


def test_policy_needs_no_settings_but_they_are_missed_without_one(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY, "utf-8")
    assert len(trial(tmp_path / "no.toml", tmp_path / "policy.toml", None, None).policy.rules) == 5
    with pytest.raises(StirError) as caught:
        trial(tmp_path / "no.toml", None, None, None)
    assert caught.value.token == "settings_unreadable"


# --- Expectations -----------------------------------------------------------------------------------------------


def read(directory: Path, text: str) -> list[Expectation]:
    path = directory / "expect.toml"
    path.write_text(text, "utf-8")
    return expectations(path, on())


def test_expectation_is_a_call_and_what_comes_of_it(tmp_path: Path) -> None:
    text = """[[expect]]\nname = "it"\ncaller = "0123456789"\ncalled = "anonymous"\nsource = "192.0.2.7"\nport = 5060
        identity = true\nasked = "B"\ncaller_in = "own"\ndo_not_originate = false\nattest = "A"\nexisting_identity = "pass"
        [[expect]]\nrule = "x" """
    call = Call("33123456789", "", "t", "acme", "192.0.2.7", 5060, identity=True, asked="B")
    assert read(tmp_path, text) == [
        Expectation("it", call, "own", False, {"attest": "A", "existing_identity": "pass"}),
        Expectation("number 2", Call("", ""), None, None, {"rule": "x"}),
    ]


@pytest.mark.parametrize(
    ("expected", "differs"),
    [
        ('attest = "A"', ""),
        ('rule = "own"\naction = "sign"\ncode = 0\ncertificate = ""\nspc = ""\norigid = "call"\nunsigned = "pass"', ""),
        ('attest = "B"', "attest is A, not B"),
        ('rule = "x"\ncode = 403\naction = "reject"', "rule is own, not x, action is sign, not reject, code is none, not 403"),
        ('existing_identity = "div"', "existing_identity is pass, not div"),
    ],
)
def test_what_is_otherwise_than_expected_is_said(tmp_path: Path, expected: str, differs: str) -> None:
    one = read(tmp_path, f'[[expect]]\ncaller = "12"\ncaller_in = "own"\n{expected}')[0]
    found, tried = on().disappointment(one)
    assert found == differs
    assert tried.decision.rule == "own"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write [[expect]], once for each call"),
        ("expect = 1", "write [[expect]]"),
        ("expect = [1]", "write [[expect]]"),
        ("x = 1\n[[expect]]\nrule = 'x'", "write [[expect]]"),
        ("[[expect]]", "call 1: expects nothing"),
        ("[[expect]]\nname = 'it'\ncaller = '1'", "call it: expects nothing"),
        ("[[expect]]\nrul = 'x'", "call 1: 'rul' is unknown; did you mean rule?"),
        ("[[expect]]\nattest = 'a'", "call 1: attest is one of"),
        ("[[expect]]\ncaller_in = 'mine'\nrule = 'x'", "call 1: caller_in is one of"),
        ("[[expect]]\ncaller = 'alice'\nrule = 'x'", "call 1: caller: takes a number, a URI, or anonymous"),
        ("[[expect]]\ncalled = 'alice'\nrule = 'x'", "call 1: called: takes a number"),
        ("[", "Invalid"),
    ],
)
def test_expectations_that_are_none_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(StirError) as caught:
        read(tmp_path, text)
    assert caught.value.token == "policy_malformed"
    assert caught.value.detail.startswith(str(tmp_path / "expect.toml"))
    assert reason in caught.value.detail


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StirError) as caught:
        expectations(tmp_path / "no.toml", on())
    assert caught.value.token == "settings_unreadable"


def test_what_was_tried_can_be_told_as_json() -> None:
    assert json.dumps(on().of(Call("12", "34")).call)
