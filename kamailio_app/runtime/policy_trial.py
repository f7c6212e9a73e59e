"""Trying a signing policy on calls that nobody makes: what happens to one and why, and whether that is what is expected.

The same policy, lists of numbers and defaults as for real calls; the file of expectations is TOML, an [[expect]] for each call.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from kamailio_app import sip
from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import Call, CallerIn, Decision, Step, caller_in
from kamailio_app.policy.emergency import is_emergency
from kamailio_app.policy.masks import NO_NUMBER
from kamailio_app.policy.rules import DEFAULT, Policy
from kamailio_app.runtime import policy_file, settings
from kamailio_app.runtime.numbers import Numbers
from kamailio_app.runtime.option import Option
from kamailio_app.runtime.options import SECTIONS
from kamailio_app.runtime.policy_options import EXISTING
from kamailio_app.sip import Request
from kamailio_app.tn import AS_WRITTEN, NumberPlan, canonical_tn

_EMERGENCY: Final = frozenset(
    next(option.default for option in SECTIONS["verification"][1] if option.name == "emergency_numbers")
)


class Tried(NamedTuple):
    """What happens to a call. `attest` is empty if it is not signed."""

    call: Call
    caller_in: CallerIn
    do_not_originate: bool
    steps: tuple[Step, ...]
    decision: Decision
    attest: str


class Expectation(NamedTuple):
    """A call, what is said of its number instead of a look-up (None: nothing), and what is to come of it."""

    name: str
    call: Call
    caller_in: CallerIn | None
    do_not_originate: bool | None
    expected: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """A policy with everything that it is used with."""

    policy: Policy
    inventory: Numbers = field(default_factory=lambda: Numbers(None))
    do_not_originate: Numbers = field(default_factory=lambda: Numbers(None))
    attest_level: Attestation = Attestation.GATEWAY
    plan: NumberPlan = AS_WRITTEN
    emergency: frozenset[str] = _EMERGENCY

    def call(self, said: Call) -> tuple[Call, str]:
        """The call with its place, canonical numbers, and whether it is an emergency call, as an edge reads them.

        `said` has numbers as people write them. Errors: in the second place "caller" or "called", if that is none.
        """
        call = self.policy.placed(said)
        numbers = {name: self.number(text, call) for name, text in (("caller", call.caller), ("called", call.called))}
        wrong = next((name for name, known in numbers.items() if known is None), "")
        emergency = call.emergency or self._is_emergency(call.called, call)
        return call._replace(caller=numbers["caller"] or "", called=numbers["called"] or "", emergency=emergency), wrong

    def _is_emergency(self, called: str, call: Call) -> bool:
        uri = called if ":" in called else f"tel:{called}"
        return is_emergency(Request("INVITE", uri, "", uri), self.emergency, self._plan(call))

    def _plan(self, call: Call) -> NumberPlan:
        known = self.policy.trunks.get(call.trunk)
        return (known and known.plan) or self.plan

    def number(self, text: str, call: Call) -> str | None:
        """The canonical number in a number or URI, as the call's trunk dials; empty if it holds none or is "anonymous".

        None if it is neither.
        """
        plan = self._plan(call)
        if ":" in text:
            party = sip.party(text, plan)
            return party.value if party and party.kind == "tn" else ""
        return "" if text in ("", NO_NUMBER) else canonical_tn(text, plan)

    def of(self, call: Call, owned: CallerIn | None = None, never_calls: bool | None = None) -> Tried:
        """What happens to the call. Where it is not said, the lists are asked. Errors: `inventory_unreadable`."""
        policy = self.policy
        call = policy.placed(call)
        candidates = policy.examine(call)
        if never_calls is None:
            never_calls = policy.asks_do_not_originate(candidates) and _asked(self.do_not_originate).holds(call.caller)
        if owned is None:
            asks = policy.asks_inventory(candidates)
            owned = caller_in(_asked(self.inventory).owners(call.caller) if asks else (), call.customer)
        decision = policy.conclude(candidates, caller_in=owned, do_not_originate=never_calls)
        decision = policy.settle(decision, call.trunk, call.customer, emergency=call.emergency)
        steps = policy.explain(call, caller_in=owned, do_not_originate=never_calls)
        attest = (decision.attest or call.asked or self.attest_level) if decision.action == "sign" else ""
        return Tried(call, owned, never_calls, steps, decision, str(attest))

    def overlooked(self, tried: Tried) -> bool:
        """The caller's number is on the do-not-originate list, and no rule that was looked at asks for that."""
        if self.policy.asks_do_not_originate(self.policy.examine(tried.call)):
            return False
        never = self.do_not_originate
        never.refresh(0.0)
        return never.error is None and never.holds(tried.call.caller)

    def disappointment(self, expectation: Expectation) -> tuple[str, Tried]:
        """What is otherwise than expected (empty if nothing is), and what happens."""
        tried = self.of(expectation.call, expectation.caller_in, expectation.do_not_originate)
        decision = tried.decision
        found = {
            **{name: getattr(decision, name) for name in decision.__slots__},
            "attest": tried.attest,
            EXISTING: decision.identity,
        }
        differ = [
            f"{name} is {found[name] or 'none'}, not {value or 'none'}"
            for name, value in expectation.expected.items()
            if found[name] != value
        ]
        return ", ".join(differ), tried


def _asked(numbers: Numbers) -> Numbers:
    """The list, looked at. Errors: `inventory_unreadable`."""
    numbers.refresh(0.0)
    if numbers.error is not None:
        raise numbers.error
    return numbers


def trial(settings_path: Path, policy_path: Path | None, inventory: Path | None, do_not_originate: Path | None) -> Trial:
    """What the settings name, or what is named instead. A policy that is named needs no settings.

    Errors: those of `settings.load` and `policy_file.load`.
    """
    if policy_path is not None and not settings_path.exists():
        return Trial(policy_file.load(policy_path), Numbers(inventory), Numbers(do_not_originate))
    known = settings.load(settings_path)
    path = policy_path or known.policy_file
    return Trial(
        policy_file.load(path) if path else DEFAULT,
        Numbers(inventory or known.inventory_file),
        Numbers(do_not_originate or known.do_not_originate_file),
        known.attest_level,
        known.signing.plan,
        known.emergency,
    )


# --- Expectations -----------------------------------------------------------------------------------------------


def _option(name: str, default: Any, *choices: str) -> Option:
    return Option(name, default, "", "ours", "", choices=choices)


_LEVELS: Final = tuple(level.value for level in Attestation)
_CALL: Final = {
    option.name: option
    for option in (
        *(_option(name, "") for name in ("name", "caller", "called", "trunk", "customer", "source", "transport", "tls_peer")),
        _option("port", 0),
        _option("identity", False),
        _option("emergency", False),
        _option("asked", "", "", *_LEVELS),
        _option("caller_in", "", "own", "other", "none"),
        _option("do_not_originate", False),
    )
}
EXPECTED: Final = {
    option.name: option
    for option in (
        _option("rule", ""),
        _option("action", "", "sign", "pass", "reject"),
        _option("attest", "", "", *_LEVELS),
        _option("code", 0),
        _option("certificate", ""),
        _option("spc", ""),
        _option("origid", ""),
        _option("unsigned", "", "pass", "reject"),
        _option(EXISTING, "", "pass", "replace", "div"),
    )
}


_EXPECTATIONS: Final = "Name the file with the calls that are expected, [[expect]]; `cfg/signing-policy-test.toml` is one."


def expectations(path: Path, of: Trial) -> list[Expectation]:
    """The calls that the file names. Errors: `settings_unreadable`, `policy_malformed`."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is not UTF-8"
        raise failure("settings_unreadable", f"the expectations {path}: {why}", _EXPECTATIONS) from error
    except (ValueError, RecursionError) as error:
        raise failure("policy_malformed", f"{path}: {error}") from error
    given = document.get("expect", [])
    if set(document) - {"expect"} or type(given) is not list or not given or not all(type(one) is dict for one in given):
        raise failure("policy_malformed", f"{path}: write [[expect]], once for each call")
    try:
        return [_expectation(number, values, of) for number, values in enumerate(given, 1)]
    except StirError as error:
        raise failure(error.token, f"{path}: {error.detail}") from error


def _expectation(number: int, values: dict[str, Any], of: Trial) -> Expectation:
    where = f"call {values.get('name') or number}"
    policy_file.check(where, values, _CALL | EXPECTED)
    expected = {name: values[name] for name in EXPECTED if name in values}
    if not expected:
        raise failure("policy_malformed", f"{where}: expects nothing; say one of {', '.join(EXPECTED)}")
    call, wrong = of.call(
        Call(**{"caller": "", "called": ""} | {name: values[name] for name in Call._fields if name in values})
    )
    if wrong:
        raise failure("policy_malformed", f"{where}: {wrong}: takes a number, a URI, or {NO_NUMBER}")
    return Expectation(
        str(values.get("name", f"number {number}")),
        call,
        values.get("caller_in"),
        values.get("do_not_originate"),
        expected,
    )
