"""The signing policy's bit masks decide as going through the rules one by one does; any text is a policy or refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.errors import PolicyRefused
from kamailio_app.policy.attestation import Call, CallerIn, Customer, Decision, Trunk
from kamailio_app.policy.checks import _takes_all as takes_all
from kamailio_app.policy.checks import problems
from kamailio_app.policy.rules import DEFAULT_RULE, Policy, Rule
from kamailio_app.runtime.policy_file import parse
from kamailio_app.runtime.policy_options import CONDITIONS, CUSTOMER, SIGNING, TRUNK

from .support import PROPERTY, any_text, attempt

# --- The same in plain words ------------------------------------------------------------------------------------


def named(wanted: str, name: str) -> bool:
    if wanted.endswith("*"):
        return name != "" and name.startswith(wanted[:-1])
    return name == wanted


def numbered(wanted: str, number: str) -> bool:
    if wanted == "anonymous":
        return number == ""
    if "-" in wanted:
        first, last = wanted.split("-")
        digits = number != "" and all(digit in "0123456789" for digit in number)
        return digits and len(number) == len(first) and int(first) <= int(number) <= int(last)
    return named(wanted, number)


def located(wanted: str, source: str) -> bool:
    return source != "" and ip_address(source) in ip_network(wanted)


def accepted(name: str, wanted: Any, value: Any) -> bool:
    if name in ("caller", "called"):
        return numbered(wanted, value)
    if name in ("trunk", "customer"):
        return named(wanted, value)
    if name == "tls_peer":
        return any(named(wanted.lower(), name) for name in value.lower().split())
    if name == "source":
        return located(wanted, value)
    if name == "asked":
        return bool((value or "none") == wanted)
    return bool(value == wanted)


def first_that_fits(rules: Sequence[Rule], facts: Mapping[str, Any]) -> str:
    for rule in rules:
        fits = all(any(accepted(name, one, facts[name]) for one in values) for name, values in rule.conditions.items())
        if fits and not (rule.decision.action == "reject" and facts["emergency"]):
            return rule.name
    return DEFAULT_RULE


# --- Rules and calls, of few values, so that they meet ----------------------------------------------------------

NUMBERS = ["", "1", "12", "15", "19", "20", "121", "125", "129", "1*", "9"]
NAMES = ["", "a", "ab", "abc", "b", "c"]
ADDRESSES = ["", "10.0.0.1", "10.0.1.1", "10.1.0.1", "192.0.2.1", "2001:db8::1", "2001:db9::1"]
WANTED: dict[str, list[Any]] = {
    "caller": ["1*", "12*", "*", "12", "125", "anonymous", "10-19", "15-30", "120-127", "9"],
    "called": ["1*", "12", "anonymous", "100-125", "*"],
    "trunk": ["a", "ab", "a*", "ab*", "*", "c"],
    "customer": ["a", "ab", "a*", "ab*", "*", "c"],
    "tls_peer": ["a", "AB*", "*"],
    "source": ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.1", "0.0.0.0/0", "::/0", "2001:db8::/32"],
    "port": [5060, 5061],
    "transport": ["udp", "tls"],
    "identity": [True, False],
    "emergency": [True, False],
    "asked": ["A", "B", "none"],
    "caller_in": ["own", "other", "none"],
    "do_not_originate": [True, False],
}
CALLS = st.builds(
    Call,
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(ADDRESSES),
    st.sampled_from([0, 5060, 5061]),
    st.sampled_from(["", "udp", "tls"]),
    st.sampled_from(["", "a", "Abc", "b", "c a", "b Abc"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "A", "B", "C"]),
)
ANSWERS: list[CallerIn] = ["own", "other", "none"]
BOTH = [False, True]


@st.composite
def rule_lists(draw: st.DrawFn) -> list[Rule]:
    rules = []
    for number in range(draw(st.integers(0, 6))):
        asked = draw(st.lists(st.sampled_from(sorted(WANTED)), max_size=3, unique=True))
        values = {name: tuple(draw(st.lists(st.sampled_from(WANTED[name]), min_size=1, max_size=3))) for name in asked}
        rejects = draw(st.booleans()) and draw(st.booleans())
        decision = Decision(f"r{number}", "reject", code=403) if rejects else Decision(f"r{number}")
        rules.append(Rule(decision, values))
    return rules


@PROPERTY
@given(rules=rule_lists(), calls=st.lists(CALLS, min_size=1, max_size=8))
def test_masks_decide_as_the_rules_one_by_one(rules: list[Rule], calls: list[Call]) -> None:
    policy = Policy(rules)
    for call, caller_in, never in itertools.product(calls, ANSWERS, BOTH):
        facts = {**call._asdict(), "caller_in": caller_in, "do_not_originate": never}
        expected = first_that_fits(rules, facts)
        assert policy.conclude(policy.examine(call), caller_in=caller_in, do_not_originate=never).rule == expected
        steps = policy.explain(call, caller_in=caller_in, do_not_originate=never)
        # The explanation ends with the rule that decides, and what it says of the others is so
        assert [step.rule for step in steps] == [rule.name for rule in policy.rules[: len(steps)]]
        assert (steps[-1].rule, steps[-1].matches) == (expected, True)
        for rule, step in zip(rules, steps[:-1], strict=False):
            if step.why == "an emergency call is never rejected":
                assert (call.emergency, rule.decision.action) == (True, "reject")
            else:
                failed = step.why.partition(" ")[0]
                assert not any(accepted(failed, one, facts[failed]) for one in rule.conditions[failed])


@PROPERTY
@given(rules=rule_lists(), call=CALLS)
def test_list_that_is_not_asked_does_not_matter(rules: list[Rule], call: Call) -> None:
    policy = Policy(rules)
    candidates = policy.examine(call)
    for never in BOTH:
        answers = {policy.conclude(candidates, caller_in=answer, do_not_originate=never).rule for answer in ANSWERS}
        assert policy.asks_inventory(candidates) or len(answers) == 1
    for answer in ANSWERS:
        decided = {policy.conclude(candidates, caller_in=answer, do_not_originate=never).rule for never in BOTH}
        assert policy.asks_do_not_originate(candidates) or len(decided) == 1


@PROPERTY
@given(rules=rule_lists(), call=CALLS, other=CALLS)
def test_what_the_policy_does_not_use_does_not_matter(rules: list[Rule], call: Call, other: Call) -> None:
    policy = Policy(rules)
    changed = call._replace(**{name: value for name, value in other._asdict().items() if name not in policy.uses})
    assert policy.examine(changed) & policy._start == policy.examine(call) & policy._start


@PROPERTY
@given(rules=rule_lists(), calls=st.lists(CALLS, min_size=1, max_size=20))
def test_rule_that_is_said_never_to_decide_never_does(rules: list[Rule], calls: list[Call]) -> None:
    policy = Policy(rules, customers=[Customer(name) for name in NAMES[1:]], trunks=[Trunk(name) for name in NAMES[1:]])
    idle = {problem.split()[1] for problem in problems(policy)}
    for call, caller_in, never in itertools.product(calls, ANSWERS, BOTH):
        assert policy.conclude(policy.examine(call), caller_in=caller_in, do_not_originate=never).rule not in idle


@PROPERTY
@given(rules=rule_lists())
def test_every_rule_behind_one_that_takes_all_its_calls_is_found(rules: list[Rule]) -> None:
    policy = Policy(rules)
    idle = [problem for problem in problems(policy) if "never decides" in problem]
    pairs = [(rule, earlier) for position, rule in enumerate(rules) for earlier in rules[:position]]
    behind = {rule.name for rule, earlier in pairs if takes_all(earlier.asks, rule.asks)}
    # A rule that would reject emergency calls only meets no call
    assert {problem.split()[1] for problem in idle} == behind | {rule.name for rule in rules if not all(rule.asks.values())}


@PROPERTY
@given(
    rules=rule_lists(),
    texts=st.lists(st.text(max_size=30) | st.text(alphabet="0123456789*#.:-", max_size=20), min_size=7, max_size=7),
    size=st.sampled_from([1, 1, 1, 100_000]),
)
def test_any_call_is_decided(rules: list[Rule], texts: list[str], size: int) -> None:
    policy = Policy(rules, trunks=[Trunk("t", source=("10.0.0.0/8", "::/0"), tls_peer=("a*",))])
    caller, called, trunk, customer, source, transport, peer = (text * size for text in texts)
    call = policy.placed(Call(caller, called, trunk, customer, source, 1, transport, peer, asked=peer))
    decision = policy.conclude(policy.examine(call))
    assert policy.settle(decision, call.trunk, call.customer).rule == decision.rule
    assert all(len(step.why) < 1000 and step.why.isprintable() for step in policy.explain(call))


# --- The file ---------------------------------------------------------------------------------------------------

PATH = Path("/etc/kamailio/signing-policy.toml")
VALUES = [
    "true",
    "false",
    "0",
    "403",
    "1e9",
    "nan",
    '""',
    '"A"',
    '"a"',
    '"*"',
    '"1*"',
    '"10-19"',
    "[]",
    "[1]",
    "{}",
    '["a"]',
    '"fr"',
    '"pass"',
]
WORDS = [*CONDITIONS, *SIGNING, *CUSTOMER, *TRUNK, "name", "sign", "reject"]
FRAGMENTS = [
    *("[[rule]]\n", "[rule]\n", "[defaults]\n", "[customer.a]\n", "[trunk.a]\n", '[trunk."b c"]\n', "[customer]\n"),
    *('name = "a"\n', 'name = "b"\n', 'country = "us"\n'),
    *(f"{word} = " for word in WORDS),
    *(f"{value}\n" for value in VALUES),
    *("\n", "=", "[", "]", '"', "#", "1979-05-27", "\\u0000", "a.b = 1\n"),
]


def compiled(text: str) -> Policy | None:
    policy, token = attempt(parse, PATH, text)
    if policy is None:
        assert token == "policy_malformed"
        with pytest.raises(PolicyRefused, match=str(PATH)):
            parse(PATH, text)
    return policy


@PROPERTY
@given(text=any_text(FRAGMENTS))
@example(text="rule = [{}]")
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    compiled(text)


@PROPERTY
@given(word=st.sampled_from(WORDS), value=st.sampled_from(VALUES) | st.text(max_size=20).map(repr), call=CALLS)
def test_any_value_of_any_word_is_taken_or_refused(word: str, value: str, call: Call) -> None:
    for section in ('[[rule]]\nname = "r"\n', "[defaults]\n", "[customer.a]\n", "[trunk.a]\n"):
        policy = compiled(f"{section}{word} = {value}\n")
        if policy is not None:
            assert policy.conclude(policy.examine(call)).rule in ("r", DEFAULT_RULE)
