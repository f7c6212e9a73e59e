"""What a signing policy must not say."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.policy.attestation import Customer, Decision, Trunk
from kamailio_app.policy.checks import problems
from kamailio_app.policy.rules import Policy, Rule


def rule(name: str, certificate: str = "", spc: str = "", **conditions: Any) -> Rule:
    says = frozenset({"certificate", "spc"} if certificate or spc else ())
    values = {key: value if type(value) is tuple else (value,) for key, value in conditions.items()}
    return Rule(Decision(name, certificate=certificate, spc=spc), values, says)


def rejecting(name: str, **conditions: Any) -> Rule:
    return Rule(Decision(name, "reject", code=403, phrase="Forbidden"), rule(name, **conditions).conditions)


def found(*rules: Rule, customers: tuple[Customer, ...] = (), trunks: tuple[Trunk, ...] = ()) -> list[str]:
    return list(problems(Policy(rules, customers=customers, trunks=trunks)))


ACME, BETA, OURS = Customer("acme", "acme-1", "1234"), Customer("beta", spc="5678"), Customer("ours")
THREE = (ACME, BETA, OURS)


# --- Names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["acme", "ac*", "*"])
def test_names_that_are_known(name: str) -> None:
    assert found(rule("r", customer=name), customers=THREE) == []
    assert found(rule("r", trunk=name), trunks=(Trunk("acme"),)) == []


@pytest.mark.parametrize("name", ["acm", "x*"])
def test_names_that_are_not(name: str) -> None:
    assert found(rule("r", customer=name), customers=THREE) == [f"rule r: customer: there is no [customer.{name}]"]
    assert found(rule("r", trunk=name), trunks=(Trunk("acme"),)) == [f"rule r: trunk: there is no [trunk.{name}]"]


def test_customer_of_a_trunk_is_known() -> None:
    assert found(trunks=(Trunk("t", "acme"),), customers=THREE) == []
    assert found(trunks=(Trunk("t", "nobody"),)) == ["[trunk.t] customer: there is no [customer.nobody]"]


# --- One provider, one certificate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        rule("r", "other", customer="acme"),
        rule("r", "other", "9999", customer="acme"),
        rule("r", spc="9999", customer="acme"),
        rule("r", "other", customer="beta"),
        rule("r", spc="9999", customer="beta"),
        rule("r", "other", customer="*"),
        rule("r", "other", trunk="t"),
        rule("r", "other", trunk="*"),
        rule("r", "other", customer=("ours", "beta")),
    ],
)
def test_rule_that_signs_a_customers_calls_in_anothers_name(wrong: Rule) -> None:
    reasons = found(wrong, customers=THREE, trunks=(Trunk("t", "acme"), Trunk("u")))
    assert reasons
    assert all("another provider's certificate" in reason for reason in reasons)


@pytest.mark.parametrize(
    "right",
    [
        rule("r", "acme-1", customer="acme"),
        rule("r", "acme-2", "1234", customer="acme"),
        rule("r", spc="5678", customer="beta"),
        rule("r", "other", customer="ours"),
        rule("r", "other", trunk="u"),
        rule("r", "other"),
        rule("r", customer="acme"),
        rule("r", "acme-1", "1234", trunk="t"),
    ],
)
def test_rule_that_signs_in_the_right_name(right: Rule) -> None:
    assert found(right, customers=THREE, trunks=(Trunk("t", "acme"), Trunk("u"))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        rule("r", spc="5678"),
        rule("r", "acme-1"),
        rule("r", spc="5678", customer="ours"),
        rule("r", spc="5678", customer=("beta", "ours")),
        rule("r", spc="5678", trunk="u"),
        rule("r", "acme-1", trunk=("t", "u")),
        rule("r", "acme-1", trunk="t*"),  # also trunks that only the script knows
        rule("r", "acme-1", caller="1*"),
    ],
)
def test_rule_that_signs_others_calls_in_a_customers_name(wrong: Rule) -> None:
    (reason,) = found(wrong, customers=THREE, trunks=(Trunk("t", "acme"), Trunk("u")))
    whose = "acme" if wrong.decision.certificate else "beta"
    assert reason.startswith(f"rule r signs with the certificate of [customer.{whose}], and not his calls alone")


def test_defaults_that_sign_others_calls_in_a_customers_name() -> None:
    for certificate, spc, whose in (("acme-1", "", "acme"), ("", "1234", "acme"), ("", "5678", "beta")):
        default = Rule(Decision("default", certificate=certificate, spc=spc))
        (reason,) = problems(Policy(customers=THREE, default=default))
        assert reason.startswith(f"[defaults] signs with the certificate of [customer.{whose}], and not his calls alone")
    assert list(problems(Policy(customers=THREE, default=Rule(Decision("default", spc="9012"))))) == []


@pytest.mark.parametrize(
    ("customer", "says", "reason"),
    [
        ("acme", {"certificate": "acme-1", "spc": ""}, ""),
        ("ours", {"certificate": "other", "spc": ""}, ""),
        ("", {"certificate": "other", "spc": ""}, ""),
        ("beta", {"certificate": "", "spc": "5678"}, ""),
        ("acme", {"certificate": "", "spc": "9012"}, "[trunk.t] signs calls of [customer.acme] with another provider's"),
        ("", {"certificate": "", "spc": "5678"}, "[trunk.t] signs with the certificate of [customer.beta]"),
        ("ours", {"certificate": "", "spc": "5678"}, "[trunk.t] signs with the certificate of [customer.beta]"),
        ("", {"certificate": "acme-1", "spc": "9012"}, "[trunk.t]: certificate acme-1 is of spc 9012, but [customer.acme]"),
    ],
)
def test_trunk_that_signs_in_anothers_name(customer: str, says: dict[str, str], reason: str) -> None:
    reasons = found(customers=THREE, trunks=(Trunk("t", customer, says=says),))
    assert bool(reasons) is bool(reason)
    assert not reasons or reasons[0].startswith(reason)


def test_certificate_is_of_one_provider() -> None:
    two = (Customer("a", "x", "1234"), Customer("b", "x", "5678"))
    assert found(customers=two) == ["[customer.b]: certificate x is of spc 5678, but [customer.a] says 1234"]
    first, *_ = found(rule("r", "acme-1", "5678"), customers=(ACME,))
    assert first == "rule r: certificate acme-1 is of spc 5678, but [customer.acme] says 1234"
    assert found(customers=(Customer("a", "x", "1234"), Customer("b", "x", "1234"), Customer("c", "x"))) == []


# --- Trunks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"source": ("10.0.0.1",)}, {"source": ("10.0.0.1/32",)}, True),
        ({"source": ("10.0.0.0/8",)}, {"source": ("10.0.0.0/16",)}, False),
        ({"source": ("10.0.0.1",), "transport": ("tls",)}, {"source": ("10.0.0.1",)}, False),
        ({"source": ("10.0.0.1",), "transport": ("tls",)}, {"source": ("10.0.0.1",), "transport": ("udp",)}, False),
        ({"source": ("10.0.0.1",), "transport": ("tls",)}, {"source": ("10.0.0.1",), "transport": ("udp", "tls")}, True),
        ({"tls_peer": ("a*",)}, {"tls_peer": ("A.b",)}, True),
        ({"tls_peer": ("a.b",)}, {"tls_peer": ("a*",)}, True),
        ({"tls_peer": ("a",)}, {"tls_peer": ("b",)}, False),
        ({"tls_peer": ("a",)}, {"transport": ("tls",)}, False),
        ({}, {}, False),
    ],
)
def test_trunks_are_told_apart(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    reasons = found(trunks=(Trunk("a", **one), Trunk("b", **other)))
    assert bool(reasons) is alike
    assert all("[trunk.a] and [trunk.b] both come from" in reason for reason in reasons)


# --- Rules that decide nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "later", "unreachable"),
    [
        ({}, {}, True),
        ({}, {"port": 1}, True),
        ({"port": 1}, {}, False),
        ({"port": 1}, {"port": 1}, True),
        ({"port": (1, 2)}, {"port": 1, "trunk": "*"}, True),
        ({"port": 1}, {"port": (1, 2)}, False),
        ({"trunk": "*"}, {"trunk": "*"}, True),
        ({"tls_peer": "A*"}, {"tls_peer": "ab"}, True),
        ({"tls_peer": "A"}, {"tls_peer": "a"}, True),
        ({"tls_peer": "a"}, {"tls_peer": "a*"}, False),
        ({"source": "10.0.0.0/8"}, {"source": "10.1.0.0/16"}, True),
        ({"source": "10.1.0.0/16"}, {"source": "10.0.0.0/8"}, False),
        ({"source": "0.0.0.0/0"}, {"source": "::/0"}, False),
        ({"source": "::/0"}, {"source": "0.0.0.0/0"}, False),
        ({"source": "::/0"}, {"source": "2001:db8::/32"}, True),
        ({"caller": "1*"}, {"caller": "12*"}, True),
        ({"caller": "12*"}, {"caller": "1*"}, False),
        ({"caller": "1*"}, {"caller": "12"}, True),
        ({"caller": "1*"}, {"caller": "10-19"}, True),
        ({"caller": "1*"}, {"caller": "10-29"}, False),
        ({"caller": "10-29"}, {"caller": "10-19"}, True),
        ({"caller": "10-29"}, {"caller": "15"}, True),
        ({"caller": "10-29"}, {"caller": "31"}, False),
        ({"caller": "10-29"}, {"caller": "1*"}, False),
        ({"caller": "10-29"}, {"caller": "1#"}, False),
        ({"caller": "10-29"}, {"caller": "150"}, False),
        ({"caller": "10-29"}, {"caller": ("15", "150")}, False),
        ({"caller": "10-29"}, {"caller": ("15", "1#")}, False),
        ({"caller": "10-29"}, {"caller": ("15", "1*")}, False),
        ({"caller": "10-29"}, {"caller": ("15", "15-20", "29")}, True),
        ({"caller": "10"}, {"caller": "11"}, False),
        ({"caller": "*"}, {"caller": "anonymous"}, False),
        ({"caller": "*"}, {"caller": ("12", "anonymous")}, False),
        ({"caller": ("*", "anonymous")}, {"caller": ("anonymous", "12")}, True),
        ({"caller": "anonymous"}, {"caller": "*"}, False),
        ({"called": "*"}, {"called": "911"}, True),
        ({"asked": ("A", "B")}, {"asked": "C"}, False),
    ],
)
def test_rule_behind_one_that_takes_all_its_calls_is_found(
    earlier: dict[str, Any], later: dict[str, Any], unreachable: bool
) -> None:
    reasons = found(rule("a", **earlier), rule("b", **later), trunks=(Trunk("t"),))
    assert reasons == (["rule b never decides: rule a before it takes all its calls"] if unreachable else [])


def test_one_rule_is_blamed_only() -> None:
    assert len(found(rule("a"), rule("b"), rule("c"))) == 2


def test_rule_that_would_reject_emergency_calls_only_is_found() -> None:
    assert found(rejecting("a", emergency=True)) == ["rule a never decides: an emergency call is never rejected"]
    assert found(rejecting("a", emergency=(True, False))) == []


def test_emergency_calls_are_left_by_a_rule_that_rejects() -> None:
    assert found(rejecting("a"), rule("b")) == []
    assert found(rejecting("a"), rejecting("b")) == ["rule b never decides: rule a before it takes all its calls"]
    assert found(rejecting("a"), rule("b", emergency=False)) != []


def test_long_lists_are_not_compared() -> None:
    numbers = tuple(f"{number:05}" for number in range(400))
    assert found(rule("a", caller=numbers), rule("b", caller=numbers)) == []
    assert found(rule("a", caller=numbers[:300]), rule("b", caller=numbers[:300])) != []
