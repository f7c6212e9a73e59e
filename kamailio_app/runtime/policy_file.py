"""The signing policy's file: TOML -> a compiled policy. Anything doubtful is refused, with file, rule and key.

The words are `policy_options`', what the rules do is `policy.rules`'.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn
from uuid import UUID, uuid5

from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import UNSIGNED_CODE, UNSIGNED_PHRASE, Customer, Decision, Trunk
from kamailio_app.policy.checks import problems
from kamailio_app.policy.countries import COUNTRIES, Country
from kamailio_app.policy.rules import DEFAULT_RULE, Policy, Rule
from kamailio_app.runtime.option import Items, Option
from kamailio_app.runtime.policy_options import (
    CONDITIONS,
    CUSTOMER,
    EXISTING,
    NAME,
    NUMBERS,
    SIGNING,
    TRUNK,
    TRUNK_LISTS,
    TRUNK_SIGNING,
    answer,
    uuid,
)
from kamailio_app.tn import NumberPlan

# So that a customer or trunk that names no origid keeps it over restarts and on every host
_NAMESPACE: Final = UUID("5f0d7a8e-6c1b-4c53-9d0e-2b7b1f4a9c36")
_SECTIONS: Final = ("country", "defaults", "customer", "trunk", "rule")
_ONE_NAME: Final = re.compile(NAME, re.ASCII)


def load(path: Path) -> Policy:
    """Read and compile the file. Errors: `settings_unreadable`, those of `parse`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise failure("settings_unreadable", f"{path}: {error}") from error
    return parse(path, text)


def parse(path: Path, text: str) -> Policy:
    """Compile the text of the file at `path`. Errors: `policy_malformed`, whose detail names file, rule and key."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of 5000 digits, brackets without end
        raise failure("policy_malformed", f"{path}: {error}") from error
    try:
        return _policy(document)
    except StirError as error:
        raise failure(error.token, f"{path}: {error.detail}") from error


def _policy(document: dict[str, Any]) -> Policy:
    _known("the file", document, _SECTIONS)
    name = document.get("country", "")
    if name not in ("", *COUNTRIES):
        _refuse("country", f"is one of {', '.join(COUNTRIES)}")
    country = COUNTRIES.get(name)
    customers = {name: _customer(name, values) for name, values in _named(document, "customer")}
    trunks = [_trunk(name, values, country) for name, values in _named(document, "trunk")]
    defaults = document.get("defaults", {})
    if type(defaults) is not dict:
        _refuse("defaults", "is a section, write [defaults]")
    check("[defaults]", defaults, SIGNING)
    rules = document.get("rule", [])
    if type(rules) is not list or not all(type(rule) is dict for rule in rules):
        _refuse("rule", "write [[rule]], once for each")
    policy = Policy(
        _rules(rules, defaults),
        customers=customers.values(),
        trunks=trunks,
        default=Rule(_signing("[defaults]", DEFAULT_RULE, defaults)),
        country=country,
    )
    for problem in problems(policy):
        raise failure("policy_malformed", problem)
    _check_codes(policy)
    return policy


# --- Rules ------------------------------------------------------------------------------------------------------


def _rules(given: Iterable[dict[str, Any]], defaults: dict[str, Any]) -> list[Rule]:
    rules: dict[str, Rule] = {}
    for number, values in enumerate(given, 1):
        name = values.get("name")
        if type(name) is not str or not _ONE_NAME.fullmatch(name):
            _refuse(f"rule number {number}", "name: takes 1 to 64 letters, digits, _ . and -")
        if name == DEFAULT_RULE or name in rules:
            _refuse(f"rule {name}", "name: is taken already")
        rules[name] = _rule(name, {key: value for key, value in values.items() if key != "name"}, defaults)
    return list(rules.values())


def _rule(name: str, values: dict[str, Any], defaults: dict[str, Any]) -> Rule:
    where = f"rule {name}"
    _known(where, values, ("name", *CONDITIONS, *SIGNING, "sign", "reject"))
    conditions = {key: _listed(where, key, values[key], items) for key, items in CONDITIONS.items() if key in values}
    outcome = {key: value for key, value in values.items() if key not in CONDITIONS}
    sign = outcome.pop("sign", True)
    if type(sign) is not bool:
        _refuse(where, "sign: takes true or false")
    if "reject" not in outcome and sign:
        check(where, outcome, SIGNING)
        says = frozenset("identity" if key == EXISTING else key for key in outcome)
        if not {"certificate", "spc"}.isdisjoint(outcome):
            # Whoever names one provider's certificate does not mean the defaults' provider as well
            defaults = {key: value for key, value in defaults.items() if key not in ("certificate", "spc")}
        return Rule(_signing(where, name, defaults | outcome), conditions, says)
    beside = sorted(set(outcome) - {"reject"} | ({"sign"} if "sign" in values and "reject" in outcome else set()))
    if beside:
        _refuse(where, f"{beside[0]}: says nothing of a call that is not signed")
    # Who is not signed for says nothing of himself there either
    p_headers = defaults.get("p_headers", SIGNING["p_headers"].default)
    if "reject" not in outcome:
        return Rule(Decision(name, "pass", p_headers=p_headers), conditions)
    code, phrase = _answer(where, "reject", outcome["reject"])
    return Rule(Decision(name, "reject", code=code, phrase=phrase, p_headers=p_headers), conditions)


def _signing(where: str, name: str, values: Mapping[str, Any]) -> Decision:
    """The decision to sign. `values` are checked but for those that are more than a word."""
    return Decision(name, **_parts(where, {key: values.get(key, option.default) for key, option in SIGNING.items()}))


def _parts(where: str, said: dict[str, Any]) -> dict[str, Any]:
    """What these words of `SIGNING` are in a `Decision`."""
    parts = {("identity" if key == EXISTING else key): value for key, value in said.items()}
    if "attest" in parts:
        parts["attest"] = None if parts["attest"] == "asked" else Attestation(parts["attest"])
    if "unsigned" in parts:
        answer = (0, "")
        if parts["unsigned"] == "reject":
            answer = UNSIGNED_CODE, UNSIGNED_PHRASE
        elif parts["unsigned"] != "pass":
            answer = _answer(where, "unsigned", parts["unsigned"], ' "pass", "reject",')
        parts["unsigned"] = "reject" if answer[0] else "pass"
        parts["code"], parts["phrase"] = answer
    if parts.get("origid", "call") not in ("call", "trunk", "customer"):
        parts["origid"] = _origid(where, parts["origid"], ' "call", "trunk", "customer",')
    return parts


# --- Customers and trunks ---------------------------------------------------------------------------------------


def _customer(name: str, values: dict[str, Any]) -> Customer:
    where = f"[customer.{name}]"
    check(where, values, CUSTOMER)
    if bool(values.get("logo")) != bool(values.get("logo_digest")):
        _refuse(where, "logo and logo_digest go together: a picture that nobody vouches for is not shown")
    return Customer(name, **values | {"origid": _own_origid(where, values, f"customer {name}")})


def _trunk(name: str, values: dict[str, Any], country: Country | None) -> Trunk:
    where = f"[trunk.{name}]"
    _known(where, values, (*TRUNK, *TRUNK_LISTS))
    lists = {key: _listed(where, key, values[key], items) for key, items in TRUNK_LISTS.items() if key in values}
    words: dict[str, Any] = {key: value for key, value in values.items() if key not in TRUNK_LISTS}
    check(where, words, TRUNK)
    says = _parts(where, {key: words.pop(key) for key in TRUNK_SIGNING if key in words})
    if not {"certificate", "spc"}.isdisjoint(says):
        # As in a rule: the defaults' provider is not meant as well
        says = {"certificate": "", "spc": ""} | says
    numbers = {key: words.pop(key) for key in NUMBERS if key in words}
    country = COUNTRIES.get(words.pop("country", ""), country)
    bypass = words.get("bypass", "")
    if bypass and not (country and country.is_bypass_token(bypass)):
        _refuse(where, "bypass: is no token of its country's" if country else "bypass: needs country")
    plan = country.plan if country else None
    if numbers:
        plan = replace(plan or NumberPlan(), **numbers)
    return Trunk(
        name,
        plan=plan,
        country=country.name if country else "",
        bypass_header=country.bypass_header if country and bypass else "",
        says=says,
        **lists | words | {"origid": _own_origid(where, words, f"trunk {name}")},
    )


def _own_origid(where: str, values: dict[str, Any], name: str) -> str:
    return _origid(where, values["origid"]) if values.get("origid") else str(uuid5(_NAMESPACE, name))


def _check_codes(policy: Policy) -> None:
    """What a service provider code looks like is the country's to say."""
    if policy.country is None:
        return
    codes = [(f"[customer.{customer.name}]", customer.spc) for customer in policy.customers.values()]
    codes += [(f"[trunk.{trunk.name}]", trunk.says.get("spc", "")) for trunk in policy.trunks.values()]
    codes += [(f"rule {rule.name}", rule.decision.spc) for rule in policy.rules]
    for where, spc in codes:
        if spc and not policy.country.is_spc(spc):
            _refuse(where, f"spc: {spc} is none of {policy.country.name}: {policy.country.spc}")


# --- Words ------------------------------------------------------------------------------------------------------


def _named(document: dict[str, Any], kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
    given = document.get(kind, {})
    if type(given) is not dict:
        _refuse(kind, f"holds sections, write [{kind}.NAME]")
    for name, values in given.items():
        if type(values) is not dict:
            _refuse(f"{kind}.{name[:80]}", f"is a section, write [{kind}.NAME]")
        if not _ONE_NAME.fullmatch(name):
            _refuse(f"[{kind}.{name[:80]!r}]", "a name is 1 to 64 letters, digits, _ . and -")
        yield name, values


def check(where: str, given: dict[str, Any], options: Mapping[str, Option]) -> None:
    """Only words of the table, with values that fit. Errors: `policy_malformed`."""
    _known(where, given, options)
    for name, value in given.items():
        if name == "unsigned" and type(value) is int:
            continue  # a code
        if reason := options[name].refusal(value):
            _refuse(where, f"{name} {reason}")


def _known(where: str, given: Iterable[str], words: Iterable[str]) -> None:
    words = tuple(words)
    for name in given:
        if name not in words:
            near = difflib.get_close_matches(name, words, n=1)
            _refuse(where, f"{name[:80]!r} is unknown" + (f"; did you mean {near[0]}?" if near else ""))


def _listed(where: str, name: str, value: Any, items: Items) -> tuple[Any, ...]:
    """A value or several."""
    values = value if type(value) is list else [value]
    if not values or not all(items.fits(item) for item in values):
        _refuse(where, f"{name}: takes {items.words}; one, or a list")
    return tuple(values)


def _answer(where: str, name: str, value: Any, also: str = "") -> tuple[int, str]:
    known = answer(value)
    if known is None:
        _refuse(where, f'{name}: takes{also} a code like 403 or an answer like "603 Decline"')
    return known


def _origid(where: str, value: Any, also: str = "") -> str:
    known = uuid(value)
    if not known:
        _refuse(where, f"origid: takes{also} a UUID, lower case, with hyphens")
    return known


def _refuse(where: str, text: str) -> NoReturn:
    raise failure("policy_malformed", f"{where}: {text}")
