"""The signing policy: which rule decides, and what customer and trunk say of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import Call, Customer, Decision, Step, Trunk, caller_in
from kamailio_app.policy.rules import DEFAULT, DEFAULT_RULE, Policy, Rule
from kamailio_app.tn import NumberPlan

CALL = Call("12155551212", "12155551213", "acme-1", "acme", "192.0.2.1", 5060, "udp", "pbx", asked="B")
ORIGID = "123e4567-e89b-12d3-a456-426655440000"
OTHER = "223e4567-e89b-12d3-a456-426655440000"


def rule(name: str, *, says: str = "", **conditions: Any) -> Rule:
    return Rule(
        Decision(name),
        {key: value if type(value) is tuple else (value,) for key, value in conditions.items()},
        frozenset(says.split()),
    )


def signing(name: str, says: str = "", /, **outcome: Any) -> Rule:
    return Rule(Decision(name, **outcome), {}, frozenset(says.split() or outcome))


def rejecting(name: str, **conditions: Any) -> Rule:
    return replace(rule(name, **conditions), decision=Decision(name, "reject", code=403, phrase="Forbidden"))


def decides(policy: Policy, call: Call = CALL, **known: Any) -> str:
    decision = policy.conclude(policy.examine(call), **known)
    assert policy.explain(call, **known)[-1] == Step(decision.rule, True, "matches")
    return decision.rule


# --- Which rule decides -----------------------------------------------------------------------------------------


def test_without_rules_every_call_is_signed_as_it_was_before() -> None:
    assert DEFAULT.uses == frozenset()
    decision = DEFAULT.conclude(DEFAULT.examine(CALL))
    assert decision == Decision("default", "sign", attest=None, origid="call", identity="pass", unsigned="pass")
    assert DEFAULT.settle(decision, "acme-1", "acme") is decision
    assert DEFAULT.examine(CALL) == DEFAULT.examine(Call("", ""))
    assert not DEFAULT.asks_inventory(DEFAULT.examine(CALL))
    assert not DEFAULT.asks_do_not_originate(DEFAULT.examine(CALL))


def test_first_rule_that_fits_decides() -> None:
    policy = Policy([rule("a", trunk="other"), rule("b", trunk="acme*", port=5060), rule("c", trunk="acme-1")])
    assert decides(policy) == "b"
    assert decides(policy, CALL._replace(port=5061)) == "c"
    assert decides(policy, CALL._replace(trunk="")) == DEFAULT_RULE


@pytest.mark.parametrize(
    ("name", "wanted", "other"),
    [
        ("caller", "1215*", "1"),
        ("called", "12155551213", "1"),
        ("trunk", "acme-1", "x"),
        ("customer", "acme", "x"),
        ("source", "192.0.2.0/24", "192.0.3.1"),
        ("port", 5060, 5061),
        ("transport", "udp", "tcp"),
        ("tls_peer", "pbx", "x"),
        ("identity", False, True),
        ("emergency", False, True),
        ("asked", "B", "C"),
    ],
)
def test_every_condition_is_asked(name: str, wanted: Any, other: Any) -> None:
    policy = Policy([rule("it", **{name: wanted})])
    assert policy.uses == {name}
    assert decides(policy) == "it"
    assert decides(policy, CALL._replace(**{name: other})) == DEFAULT_RULE


def test_any_of_several_values_will_do_and_all_conditions_have_to() -> None:
    policy = Policy([rule("it", port=(1, 5060), transport=("udp", "tcp"))])
    assert decides(policy) == "it"
    assert decides(policy, CALL._replace(transport="tls")) == DEFAULT_RULE


def test_decision_is_made_once() -> None:
    policy = Policy([rule("it")])
    assert policy.conclude(policy.examine(CALL)) is policy.rules[0].decision


# --- What is looked up ------------------------------------------------------------------------------------------


def test_lists_are_asked_where_the_answer_matters() -> None:
    policy = Policy(
        [rule("a", port=5060), rule("b", do_not_originate=True), rule("c", caller_in="own"), rule("d", caller_in="other")]
    )
    assert policy.uses == {"port", "do_not_originate", "caller_in", "caller", "customer"}
    certain, uncertain = policy.examine(CALL), policy.examine(CALL._replace(port=1))
    assert not policy.asks_inventory(certain)
    assert not policy.asks_do_not_originate(certain)
    assert policy.asks_inventory(uncertain)
    assert policy.asks_do_not_originate(uncertain)
    other = CALL._replace(port=1)
    assert decides(policy, other, do_not_originate=True) == "b"
    assert decides(policy, other, caller_in="own") == "c"
    assert decides(policy, other, caller_in="other") == "d"
    assert decides(policy, other) == DEFAULT_RULE


def test_list_is_not_asked_for_a_rule_that_is_out() -> None:
    policy = Policy([rule("a", do_not_originate=True, port=1), rule("b", caller_in="own", port=5060)])
    assert policy.asks_inventory(policy.examine(CALL))
    assert not policy.asks_do_not_originate(policy.examine(CALL))


def test_list_alone_needs_the_number_only() -> None:
    assert Policy([rule("a", do_not_originate=True)]).uses == {"do_not_originate", "caller"}


@pytest.mark.parametrize(
    ("owners", "customer", "said"),
    [
        (("acme",), "acme", "own"),
        (("beta", "acme"), "acme", "own"),
        (("beta",), "acme", "other"),
        ((), "acme", "none"),
        ((), "", "none"),
        (("beta",), "", "other"),
        (("",), "", "other"),
    ],
)
def test_number_is_ones_own_another_ones_or_nobodys(owners: tuple[str, ...], customer: str, said: str) -> None:
    assert caller_in(owners, customer) == said


# --- Emergency calls --------------------------------------------------------------------------------------------


def test_emergency_call_is_never_rejected() -> None:
    policy = Policy([rejecting("no", port=5060), rule("yes", port=5060)])
    assert policy.uses == {"port", "emergency"}
    assert decides(policy) == "no"
    call = CALL._replace(emergency=True)
    assert decides(policy, call) == "yes"
    assert policy.explain(call)[0] == Step("no", False, "an emergency call is never rejected")


def test_rule_that_rejects_emergency_calls_only_rejects_none() -> None:
    policy = Policy([rejecting("no", emergency=True)])
    assert decides(policy) == decides(policy, CALL._replace(emergency=True)) == DEFAULT_RULE
    assert policy.explain(CALL)[0].why == "emergency false is not true"


@pytest.mark.parametrize("emergency", [True, False])
def test_emergency_call_that_cannot_be_signed_passes(emergency: bool) -> None:
    strict = signing("strict", unsigned="reject", code=503, phrase="Service Unavailable")
    policy = Policy([strict], customers=[Customer("acme", spc="1234")])
    assert policy.uses == {"customer", "emergency"}
    decision = policy.conclude(policy.examine(CALL._replace(emergency=emergency)), caller_in="own", do_not_originate=True)
    for found in (decision, *(policy.settle(decision, "", who, emergency=emergency) for who in ("acme", ""))):
        assert (found.unsigned, found.code) == (("pass", 0) if emergency else ("reject", 503))
    assert policy.settle(decision, "", "acme").spc == "1234"


# --- What customer and trunk say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "signs"),
    [
        (("", ""), ("", ""), ("", "")),
        (("x", "1234"), ("", ""), ("x", "1234")),
        (("", ""), ("y", "5678"), ("y", "5678")),
        (("x", "1234"), ("y", "5678"), ("y", "5678")),
        (("x", ""), ("", "5678"), ("", "5678")),
        (("", "1234"), ("y", ""), ("y", "")),
        (("x", "5678"), ("y", "5678"), ("x", "5678")),
        (("", "5678"), ("y", "5678"), ("y", "5678")),
        (("x", ""), ("y", ""), ("y", "")),
    ],
)
def test_customers_calls_are_signed_in_his_own_name(
    ours: tuple[str, str], theirs: tuple[str, str], signs: tuple[str, str]
) -> None:
    policy = Policy([signing("r", certificate=ours[0], spc=ours[1])], customers=[Customer("acme", *theirs), Customer("x")])
    decision = policy.conclude(policy.examine(CALL))
    settled = policy.settle(decision, "", "acme")
    assert (settled.certificate, settled.spc) == signs
    for unknown in ("", "x", "nobody"):
        assert policy.settle(decision, "", unknown) == decision


@pytest.mark.parametrize(
    ("origid", "trunk", "customer", "found"),
    [
        ("call", "t", "c", "call"),
        (OTHER, "t", "c", OTHER),
        ("trunk", "t", "", ORIGID),
        ("trunk", "", "c", "call"),
        ("customer", "t", "c", OTHER),
        ("customer", "t", "", "call"),
        ("trunk", "u", "", "call"),
        ("customer", "", "d", "call"),
    ],
)
def test_origid_is_a_uuid_or_made_for_the_call(origid: str, trunk: str, customer: str, found: str) -> None:
    policy = Policy(
        [signing("r", origid=origid)],
        trunks=[Trunk("t", origid=ORIGID), Trunk("u")],
        customers=[Customer("c", origid=OTHER), Customer("d")],
    )
    assert policy.settle(policy.rules[0].decision, trunk, customer).origid == found


@pytest.mark.parametrize("origid", ["trunk", "customer"])
def test_origid_of_nobody_is_made_for_the_call(origid: str) -> None:
    policy = Policy([signing("r", origid=origid)])
    assert policy.settle(policy.rules[0].decision, "t", "c").origid == "call"


SAID: dict[str, Any] = {
    "attest": Attestation.PARTIAL, "certificate": "x", "spc": "", "unsigned": "reject", "code": 480, "phrase": "Later",
    "identity": "replace", "div": True, "rcd": True, "rph": True, "mky": True, "uri": True, "base": True, "p_headers": True,
    "drop_malformed": True,
}  # fmt: skip


def test_trunk_says_what_no_rule_does() -> None:
    silent = Decision("silent", certificate="of the defaults", spc="1234", attest=Attestation.FULL)
    policy = Policy([Rule(silent)], trunks=[Trunk("t", says=SAID), Trunk("u")])
    settled = policy.settle(silent, "t", "")
    assert {name: getattr(settled, name) for name in SAID} == SAID
    assert settled.further
    assert policy.settle(silent, "u", "") == silent


@pytest.mark.parametrize("word", ["attest", "certificate", "spc", "unsigned", "identity", "div", "p_headers", "drop_malformed"])
def test_rule_goes_before_the_trunk(word: str) -> None:
    decision = Decision("r", certificate="ours", spc="1234")
    policy = Policy([Rule(decision, says=frozenset({word}))], trunks=[Trunk("t", says=SAID)])
    together = {
        "certificate": ("certificate", "spc"),
        "spc": ("certificate", "spc"),
        "unsigned": ("unsigned", "code", "phrase"),
    }
    settled = policy.settle(decision, "t", "")
    for name, said in SAID.items():
        assert getattr(settled, name) == (getattr(decision, name) if name in together.get(word, (word,)) else said)


@pytest.mark.parametrize("decision", [Decision("r", "pass"), Decision("r", "reject", code=403, phrase="Forbidden")])
def test_trunk_says_one_thing_of_a_call_that_is_not_signed(decision: Decision) -> None:
    policy = Policy([Rule(decision)], trunks=[Trunk("t", says=SAID)])
    assert policy.settle(decision, "t", "") == replace(decision, p_headers=True)


def test_customers_provider_goes_before_the_trunks() -> None:
    policy = Policy(customers=[Customer("acme", spc="5678")], trunks=[Trunk("t", says={"certificate": "x", "spc": "1234"})])
    settled = policy.settle(policy.rules[0].decision, "t", "acme")
    assert (settled.certificate, settled.spc) == ("", "5678")


def test_emergency_call_is_not_rejected_by_its_trunk_either() -> None:
    policy = Policy(trunks=[Trunk("t", says={"unsigned": "reject", "code": 503, "phrase": "x"})])
    assert policy.uses == {"trunk", "emergency"}
    decision = policy.rules[0].decision
    for emergency, unsigned in ((True, ("pass", 0, "")), (False, ("reject", 503, "x"))):
        settled = policy.settle(decision, "t", "", emergency=emergency)
        assert (settled.unsigned, settled.code, settled.phrase) == unsigned


def test_trunk_says_what_becomes_of_identity_where_no_rule_does() -> None:
    rules = [signing("says", identity="pass"), signing("silent", "attest", identity="replace")]
    policy = Policy(rules, trunks=[Trunk("t", says={"identity": "div"}), Trunk("u")])
    says, silent, _default = (rule.decision for rule in policy.rules)
    assert policy.settle(says, "t", "").identity == "pass"
    assert policy.settle(silent, "t", "").identity == "div"
    assert policy.settle(silent, "u", "").identity == "replace"
    assert policy.settle(silent, "unknown", "").identity == "replace"


def test_settled_decision_is_made_once_and_names_of_calls_are_not_kept() -> None:
    policy = Policy(customers=[Customer("acme", spc="1234")])
    decision = policy.conclude(policy.examine(CALL))
    assert policy.settle(decision, "", "acme") is policy.settle(decision, "x", "acme")
    for number in range(1000):
        policy.settle(decision, f"trunk{number}", f"customer{number}")
    assert policy._settled.cache_info().currsize == 2


# --- Trunks -----------------------------------------------------------------------------------------------------

PLACED = Policy(
    customers=[Customer("acme"), Customer("beta")],
    trunks=[
        Trunk("t", "acme", source=("192.0.2.0/24",), plan=NumberPlan("33")),
        Trunk("u", transport=("tls",)),
        Trunk("v", "acme"),
    ],
)


def test_trunks_are_found_by_what_they_say() -> None:
    assert PLACED.uses == {"source", "transport", "trunk", "customer"}
    assert PLACED.place("", "", "192.0.2.1", "udp", "") == (PLACED.trunks["t"], "t", "acme")
    assert PLACED.place("", "", "192.0.3.1", "udp", "") == (None, "", "")
    assert Policy(trunks=[Trunk("t", tls_peer=("x",))]).uses == {"trunk", "tls_peer"}


@pytest.mark.parametrize(
    ("call", "trunk", "customer"),
    [
        (Call("", "", source="192.0.2.1"), "t", "acme"),
        (Call("", "", source="192.0.2.1", customer="beta"), "t", "beta"),
        (Call("", "", source="192.0.2.1", trunk="v"), "v", "acme"),
        (Call("", "", source="192.0.2.1", trunk="nowhere"), "nowhere", ""),
        (Call("", "", source="192.0.2.1", trunk=" v "), "v", "acme"),
        (Call("", "", source="192.0.2.1", customer="beta\t"), "t", "beta"),
        # A customer whom nobody knows is not said
        (Call("", "", source="192.0.2.1", customer="Beta"), "t", "acme"),
        (Call("", "", customer="nobody", trunk="nowhere"), "nowhere", ""),
        (Call("", "", transport="tls"), "u", ""),
        (Call("", "", customer="beta"), "", "beta"),
    ],
)
def test_script_goes_before_address_and_trunk(call: Call, trunk: str, customer: str) -> None:
    placed = PLACED.placed(call)
    assert (placed.trunk, placed.customer) == (trunk, customer)


def test_without_sections_any_name_counts() -> None:
    assert Policy().place(" any ", " who\n", "", "", "") == (None, "any", "who")
    assert Policy(customers=[Customer("acme")]).place("any", "who", "", "", "") == (None, "any", "")


# --- Why --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"caller": "1216*"}, "caller 12155551212 is not 1216*"),
        ({"caller": "1216*", "trunk": "x"}, "trunk acme-1 is not x"),
        ({"port": (1, 2, 3)}, "port 5060 is not 1 or 2 or 3"),
        ({"port": (1, 2, 3, 4, 5)}, "port 5060 is not 1 or 2 or 3 or 2 more"),
        ({"identity": True}, "identity false is not true"),
        ({"do_not_originate": True}, "do_not_originate false is not true"),
        ({"caller_in": "own"}, "caller_in none is not own"),
        ({"asked": ("A", "C")}, "asked B is not A or C"),
    ],
)
def test_rule_that_does_not_decide_says_its_first_condition_that_fails(conditions: dict[str, Any], why: str) -> None:
    policy = Policy([rule("it", **conditions)])
    assert policy.explain(CALL) == (Step("it", False, why), Step(DEFAULT_RULE, True, "matches"))


def test_what_a_call_carries_is_shown_short_and_printable() -> None:
    policy = Policy([rule("it", trunk="x")])
    assert policy.explain(CALL._replace(trunk="a\r\nb"))[0].why == "trunk 'a\\r\\nb' is not x"
    assert len(policy.explain(CALL._replace(trunk="a" * 1_000_000))[0].why) < 100
    assert policy.explain(CALL._replace(trunk=""))[0].why == "trunk none is not x"


def test_rules_behind_the_one_that_decides_are_not_told() -> None:
    policy = Policy([rule("a", port=1), rule("b"), signing("c", attest=Attestation.FULL)])
    assert [step.rule for step in policy.explain(CALL)] == ["a", "b"]
