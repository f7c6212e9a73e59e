"""The signing policy: rules in their order, the first that fits decides.

Compiled once into bit masks (`masks`): a call costs one look-up for each thing that any rule asks about. In two steps, as
verifying is: `examine` says which rules are left, and with that whether it matters what the inventory and the do-not-originate
list hold; `conclude` is told, and decides. What customer and trunk say of themselves is put in by `settle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final

from kamailio_app.policy.attestation import Call, CallerIn, Customer, Decision, Place, Step, Trunk
from kamailio_app.policy.countries import Country
from kamailio_app.policy.masks import MASKS, Look
from kamailio_app.policy.trunks import Trunks

DEFAULT_RULE: Final = "default"
_LOOKED_UP: Final = ("do_not_originate", "caller_in")
_SETTLED: Final = 16384  # decisions that are remembered with what customer and trunk say
_SHOWN: Final = 3
_SHOWN_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call has to be like, each condition with the values that it accepts; and what happens to it then.

    `says` names what the rule says of the outcome itself: the rest is from the policy's defaults.
    """

    decision: Decision
    conditions: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)
    says: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.decision.rule

    @property
    def asks(self) -> Mapping[str, Sequence[Any]]:
        """The conditions, with the one that need not be said: an emergency call is never rejected."""
        if self.decision.action != "reject":
            return self.conditions
        ordinary = [value for value in self.conditions.get("emergency", (False,)) if not value]
        return {**self.conditions, "emergency": ordinary}


class Policy:
    """`default` is what happens to a call that no rule decides. `uses` names what has to be known of a call: read no more."""

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        customers: Iterable[Customer] = (),
        trunks: Iterable[Trunk] = (),
        default: Rule = Rule(Decision(DEFAULT_RULE)),  # noqa: B008 - frozen
        country: Country | None = None,
    ) -> None:
        self.rules = (*rules, default)
        self.customers = {customer.name: customer for customer in customers}
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self.country = country
        self._rules = {rule.name: rule for rule in self.rules}
        self._asks = tuple(rule.asks for rule in self.rules)
        self._decisions = tuple(rule.decision for rule in self.rules)
        # An emergency call is not rejected for want of a certificate either. The bit behind the last rule says that it is one
        self._emergency_decisions = tuple(_never_rejected(decision) for decision in self._decisions)
        self._emergency = 1 << len(self.rules)
        self._start = self._emergency - 1
        self._asking = asking = {name: _bits(name in asks for asks in self._asks) for name in MASKS}
        looks = {name: self._look(name) for name, mask in asking.items() if mask}
        self._looks = looks
        self._examined = tuple((Call._fields.index(name), look) for name, look in looks.items() if name not in _LOOKED_UP)
        self._asks_inventory, self._asks_list = asking["caller_in"], asking["do_not_originate"]
        self._certain = self._start & ~(self._asks_inventory | self._asks_list)
        self._callers = {answer: self._mask("caller_in", answer) for answer in ("own", "other", "none")}
        self._originating = {answer: self._mask("do_not_originate", answer) for answer in (False, True)}
        self._trunks = Trunks(self.trunks.values())
        self._settled = lru_cache(_SETTLED)(self._settle)
        theirs = any(decision.origid in ("trunk", "customer") for decision in self._decisions)
        self._settles = bool(self.customers or self.trunks or theirs)
        self.uses = frozenset(looks) | self._used_by_lists() | self._used_by_trunks() | self._used_by_emergencies()

    # --- What happens to a call -----------------------------------------------------------------------------------

    def examine(self, call: Call) -> int:
        """The rules that are left before anything is looked up, a bit for each."""
        left = self._start
        for index, look in self._examined:
            left &= look(call[index])
        return left | self._emergency if call.emergency else left

    def asks_inventory(self, candidates: int) -> bool:
        """Does it matter who may use the caller's number?"""
        return self._open(candidates) & self._asks_inventory != 0

    def asks_do_not_originate(self, candidates: int) -> bool:
        """Does it matter whether the caller's number is one that never calls?"""
        return self._open(candidates) & self._asks_list != 0

    def conclude(self, candidates: int, *, caller_in: CallerIn = "none", do_not_originate: bool = False) -> Decision:
        """What happens to the call. There is always a decision."""
        left = candidates & self._callers[caller_in] & self._originating[do_not_originate]
        if left > self._emergency:
            left ^= self._emergency
            return self._emergency_decisions[(left & -left).bit_length() - 1]
        return self._decisions[(left & -left).bit_length() - 1]

    def settle(self, decision: Decision, trunk: str, customer: str, *, emergency: bool = False) -> Decision:
        """The decision with what customer and trunk say of themselves: a rule goes before the trunk, the trunk before the
        defaults.

        `origid` is then "call" or a UUID. A customer's own certificate goes before that of rule and trunk, but for one that is
        of the same service provider code: no call is signed in another provider's name (FCC 24-120).
        """
        if not self._settles:
            return decision
        return self._settled(
            decision.rule,
            emergency,
            trunk if trunk in self.trunks else "",
            customer if customer in self.customers else "",
        )

    # --- Where it comes from --------------------------------------------------------------------------------------

    def place(self, trunk: str, customer: str, source: str, transport: str, tls_peer: str) -> Place:
        """`trunk` and `customer` as the script names them, else as the place tells.

        A customer whom the policy does not know is as if he were not said: whoever makes a name up, or misspells it, is
        nobody's customer, and the calls of a trunk stay its own customer's (decision 60).
        """
        known, name, customer = None, trunk.strip(), customer.strip()
        if self.trunks:
            known = self.trunks.get(name) if name else self._trunks.at(source, transport, tls_peer)
            name = known.name if known is not None else name
        if self.customers and customer not in self.customers:
            customer = ""
        return Place(known, name, customer or (known.customer if known is not None else ""))

    def placed(self, call: Call) -> Call:
        """The call with the trunk and the customer that count."""
        _trunk, name, customer = self.place(call.trunk, call.customer, call.source, call.transport, call.tls_peer)
        return call._replace(trunk=name, customer=customer)

    # --- Why ------------------------------------------------------------------------------------------------------

    def explain(self, call: Call, *, caller_in: CallerIn = "none", do_not_originate: bool = False) -> tuple[Step, ...]:
        """Every rule up to the one that decides, from the same tables that decide."""
        decision = self.conclude(self.examine(call), caller_in=caller_in, do_not_originate=do_not_originate)
        values = {**call._asdict(), "caller_in": caller_in, "do_not_originate": do_not_originate}
        steps: list[Step] = []
        for position, rule in enumerate(takewhile(lambda rule: rule.name != decision.rule, self.rules)):
            failed = next(name for name in MASKS if name in rule.asks and not self._looks[name](values[name]) >> position & 1)
            steps.append(Step(rule.name, False, _why(failed, values[failed], rule)))
        return (*steps, Step(decision.rule, True, "matches"))

    def taking(self, values: Mapping[str, Any]) -> int:
        """The rules that take every call of these values, whatever else it is like: a bit for each."""
        left = self._start
        for name, look in self._looks.items():
            left &= look(values[name]) if name in values else ~self._asking[name]
        return left

    # --- Compiled once --------------------------------------------------------------------------------------------

    def _look(self, name: str) -> Look:
        wanted = [(1 << position, asks[name]) for position, asks in enumerate(self._asks) if name in asks]
        return MASKS[name](self._start & ~self._asking[name], wanted)

    def _mask(self, name: str, value: Any) -> int:
        """The bit of emergencies stays."""
        return self._emergency | (self._looks[name](value) if name in self._looks else self._start)

    def _open(self, candidates: int) -> int:
        """Of the candidates that something is looked up for: those in front of the first one that nothing is."""
        return candidates & ((candidates & self._certain) - 1)

    def _used_by_lists(self) -> set[str]:
        """The inventory says whose number it is: then it has to be known whose call it is."""
        return {"caller", "customer"} if self._asks_inventory else {"caller"} if self._asks_list else set()

    def _used_by_trunks(self) -> set[str]:
        trunks = self.trunks.values()
        used = {name for name in ("source", "transport", "tls_peer") if any(getattr(trunk, name) for trunk in trunks)}
        return used | ({"trunk"} if trunks else set()) | ({"customer"} if self.customers else set())

    def _used_by_emergencies(self) -> set[str]:
        differ = self._emergency_decisions != self._decisions
        return {"emergency"} if differ or any("unsigned" in trunk.says for trunk in self.trunks.values()) else set()

    def _settle(self, name: str, emergency: bool, trunk_name: str, customer_name: str) -> Decision:
        rule, trunk, customer = self._rules[name], self.trunks.get(trunk_name), self.customers.get(customer_name)
        decision = rule.decision
        if trunk and trunk.says:
            decision = replace(decision, **_where_no_rule_says_it(trunk.says, rule))
        if emergency:
            decision = _never_rejected(decision)
        if customer and (customer.certificate or customer.spc):
            same = decision.spc != "" and decision.spc == customer.spc
            certificate = (same and decision.certificate) or customer.certificate
            decision = replace(decision, certificate=certificate, spc=customer.spc)
        if decision.origid == "trunk":
            decision = replace(decision, origid=(trunk and trunk.origid) or "call")
        elif decision.origid == "customer":
            decision = replace(decision, origid=(customer and customer.origid) or "call")
        return decision


# What belongs together: whoever says one of them means all
_TOGETHER: Final = {
    "certificate": {"certificate", "spc"},
    "spc": {"certificate", "spc"},
    "unsigned": {"unsigned", "code", "phrase"},
}


def _where_no_rule_says_it(said: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    """Of what a trunk says, what counts beside this rule. Of a call that is not signed there is one thing to say."""
    if rule.decision.action != "sign":
        return {name: value for name, value in said.items() if name == "p_headers"}
    taken = {name for word in rule.says for name in _TOGETHER.get(word, {word})}
    return {name: value for name, value in said.items() if name not in taken}


def _bits(answers: Iterable[bool]) -> int:
    return sum(answer << position for position, answer in enumerate(answers))


def _never_rejected(decision: Decision) -> Decision:
    """That of an emergency call."""
    if decision.action == "sign" and decision.unsigned == "reject":
        return replace(decision, unsigned="pass", code=0, phrase="")
    return decision


def _why(name: str, value: Any, rule: Rule) -> str:
    if name == "emergency" and value and rule.decision.action == "reject":
        return "an emergency call is never rejected"
    wanted = [_shown(item) for item in rule.conditions[name]]
    more = f" or {len(wanted) - _SHOWN} more" if len(wanted) > _SHOWN else ""
    return f"{name} {_shown(value)} is not {' or '.join(wanted[:_SHOWN])}{more}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)[:_SHOWN_LENGTH]
    return (text if text.isprintable() else ascii(text)) or "none"


DEFAULT: Final = Policy()
"""No policy: every call is signed as script and settings say."""
