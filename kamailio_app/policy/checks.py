"""What a signing policy must not say, though each of its words is right: one provider's call in another's name, and rules that
decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations
from typing import Any, Final, NamedTuple

from kamailio_app.policy.attestation import Customer, Trunk
from kamailio_app.policy.masks import NO_ATTESTATION, NO_NUMBER
from kamailio_app.policy.rules import Policy, Rule

_MANY: Final = 100_000  # comparisons of two rules' values: a list of numbers is no reason to start slowly


def problems(policy: Policy) -> Iterator[str]:
    """Why this policy cannot be used, each named by its rule, customer or trunk."""
    yield from _unknown_names(policy)
    yield from _unclear_providers(policy)
    yield from _others_certificates(policy)
    yield from _ambiguous_trunks(policy)
    yield from _unreachable(policy)


# --- Names ------------------------------------------------------------------------------------------------------


def _unknown_names(policy: Policy) -> Iterator[str]:
    for trunk in policy.trunks.values():
        if trunk.customer and trunk.customer not in policy.customers:
            yield f"[trunk.{trunk.name}] customer: there is no [customer.{trunk.customer}]"
    for rule in policy.rules:
        for kind, known in (("trunk", policy.trunks), ("customer", policy.customers)):
            for name in rule.conditions.get(kind, ()):
                if name != "*" and not _named(name, known):
                    yield f"rule {rule.name}: {kind}: there is no [{kind}.{name}]"


def _named(name: str, known: Mapping[str, Any]) -> list[Any]:
    if name[-1:] == "*":
        return [value for key, value in known.items() if key.startswith(name[:-1])]
    return [known[name]] if name in known else []


# --- One provider, one certificate (FCC 24-120) -----------------------------------------------------------------


def _unclear_providers(policy: Policy) -> Iterator[str]:
    """A certificate is of one provider, whoever names it."""
    spcs: dict[str, tuple[str, str]] = {}
    named = [(f"[customer.{customer.name}]", customer.certificate, customer.spc) for customer in policy.customers.values()]
    named += [(f"[trunk.{trunk.name}]", *_said(trunk)) for trunk in policy.trunks.values()]
    named += [(f"rule {rule.name}", rule.decision.certificate, rule.decision.spc) for rule in policy.rules]
    for who, certificate, spc in named:
        if certificate and spc:
            other, known = spcs.setdefault(certificate, (who, spc))
            if known != spc:
                yield f"{who}: certificate {certificate} is of spc {spc}, but {other} says {known}"


class _Naming(NamedTuple):
    """Who names a certificate, and for whose calls: these customers', and `others`, or nobody else's."""

    who: str
    certificate: str
    spc: str
    customers: list[Customer]
    others: bool


def _others_certificates(policy: Policy) -> Iterator[str]:
    """Who names a certificate for calls that are another provider's. Customers that are not named keep their own."""
    for naming in _namings(policy):
        foreign = [customer for customer in naming.customers if not _same_provider(naming, customer)]
        for customer in foreign:
            yield (
                f"{naming.who} signs calls of [customer.{customer.name}] with another provider's certificate than his own; "
                f"a call is signed in its own provider's name (FCC 24-120)"
            )
        owners = [customer for customer in policy.customers.values() if _is_his(naming, customer)]
        if owners and not foreign and (naming.others or not all(_is_his(naming, one) for one in naming.customers)):
            yield (
                f"{naming.who} signs with the certificate of [customer.{owners[0].name}], and not his calls alone: it has to "
                f"ask for him, or for trunks of his; a call is signed in its own provider's name (FCC 24-120)"
            )


def _namings(policy: Policy) -> Iterator[_Naming]:
    for rule in policy.rules[:-1]:
        if rule.says & {"certificate", "spc"}:
            yield _Naming(f"rule {rule.name}", rule.decision.certificate, rule.decision.spc, *_meant(rule, policy))
    for trunk in policy.trunks.values():
        if any(_said(trunk)):
            his = [policy.customers[trunk.customer]] if trunk.customer in policy.customers else []
            yield _Naming(f"[trunk.{trunk.name}]", *_said(trunk), his, others=not his)
    default = policy.rules[-1].decision
    if default.certificate or default.spc:
        yield _Naming("[defaults]", default.certificate, default.spc, [], others=True)


def _said(trunk: Trunk) -> tuple[str, str]:
    return trunk.says.get("certificate", ""), trunk.says.get("spc", "")


def _meant(rule: Rule, policy: Policy) -> tuple[list[Customer], bool]:
    """The customers that the rule means: those it names, else those of the trunks that it names. Does it mean others too?"""
    if "customer" in rule.conditions:
        return [customer for name in rule.conditions["customer"] for customer in _named(name, policy.customers)], False
    names = rule.conditions.get("trunk", ())
    trunks: list[Trunk] = [trunk for name in names for trunk in _named(name, policy.trunks)]
    found = [policy.customers[trunk.customer] for trunk in trunks if trunk.customer in policy.customers]
    # A beginning also fits trunks that have no section
    return found, not trunks or len(found) < len(trunks) or any(name[-1:] == "*" for name in names)


def _same_provider(ours: _Naming, customer: Customer) -> bool:
    if not (customer.certificate or customer.spc):
        return True
    if ours.spc and customer.spc:
        return ours.spc == customer.spc
    return ours.certificate != "" and ours.certificate == customer.certificate


def _is_his(ours: _Naming, customer: Customer) -> bool:
    """Is it the customer's own that is named?"""
    return bool((ours.spc and ours.spc == customer.spc) or (ours.certificate and ours.certificate == customer.certificate))


# --- Trunks -----------------------------------------------------------------------------------------------------


def _ambiguous_trunks(policy: Policy) -> Iterator[str]:
    """Two trunks that nothing tells apart where a call comes in."""
    places: dict[str, list[Trunk]] = {}
    for trunk in policy.trunks.values():
        if trunk.places:
            for network in map(str, map(ip_network, trunk.source)) if trunk.source else ("anywhere",):
                places.setdefault(network, []).append(trunk)
    for network, trunks in places.items():
        for one, other in combinations(trunks, 2):
            if _alike(one.transport, other.transport) and _alike(one.tls_peer, other.tls_peer):
                yield f"[trunk.{one.name}] and [trunk.{other.name}] both come from {network}, and nothing tells them apart"


def _alike(some: Sequence[str], others: Sequence[str]) -> bool:
    """Does a value fit both, and neither is the more exact one?"""
    if not some or not others:
        return not some and not others
    return any(_accepts("tls_peer", one, other) or _accepts("tls_peer", other, one) for one in some for other in others)


# --- Rules that decide nothing ----------------------------------------------------------------------------------


def _unreachable(policy: Policy) -> Iterator[str]:
    """A rule behind one that takes all its calls. Several that take them together are not found."""
    for position, rule in enumerate(policy.rules[:-1]):
        if not all(rule.asks.values()):
            yield f"rule {rule.name} never decides: an emergency call is never rejected"
            continue
        # Only a rule that takes one of its calls can take them all: of thousands of rules few are left to compare
        before = policy.taking(_one_call(rule)) & ((1 << position) - 1)
        while before:
            earlier = policy.rules[(before & -before).bit_length() - 1]
            if _takes_all(earlier.asks, rule.asks):
                yield f"rule {rule.name} never decides: rule {earlier.name} before it takes all its calls"
                break
            before &= before - 1


def _one_call(rule: Rule) -> dict[str, Any]:
    """What a call is like that meets the rule's conditions; all else is open."""
    return {name: _one_value(name, values[0]) for name, values in rule.asks.items()}


def _one_value(name: str, wanted: Any) -> Any:
    if name == "source":
        return str(ip_network(wanted).network_address)
    if wanted in (NO_NUMBER, NO_ATTESTATION) and name in ("caller", "called", "asked"):
        return ""
    if name in ("caller", "called"):
        wanted = wanted.partition("-")[0]
    # "*" alone is anything that there is
    return wanted[:-1] or wanted if type(wanted) is str and wanted[-1:] == "*" else wanted


def _takes_all(wide: Mapping[str, Sequence[Any]], narrow: Mapping[str, Sequence[Any]]) -> bool:
    return all(name in narrow and _covers(name, values, narrow[name]) for name, values in wide.items())


def _covers(name: str, wide: Sequence[Any], narrow: Sequence[Any]) -> bool:
    if len(wide) * len(narrow) > _MANY:
        return False
    return all(any(_accepts(name, one, other) for one in wide) for other in narrow)


def _accepts(name: str, wide: Any, narrow: Any) -> bool:
    """Does the one value of a condition accept everything that the other does?"""
    within = _WITHIN.get(name)
    return wide == narrow or (within is not None and within(narrow, wide))


def _network_within(narrow: str, wide: str) -> bool:
    inner, outer = ip_network(narrow), ip_network(wide)
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _name_within(narrow: str, wide: str) -> bool:
    return wide[-1:] == "*" and narrow.removesuffix("*").startswith(wide[:-1])


def _host_within(narrow: str, wide: str) -> bool:
    return narrow.lower() == wide.lower() or _name_within(narrow.lower(), wide.lower())


def _number_within(narrow: str, wide: str) -> bool:
    if NO_NUMBER in (narrow, wide):
        return False
    first, _, last = narrow.removesuffix("*").partition("-")
    if wide[-1:] == "*":
        return first.startswith(wide[:-1]) and (not last or last.startswith(wide[:-1]))
    lowest, hyphen, highest = wide.partition("-")
    if not hyphen or narrow[-1:] == "*" or len(first) != len(lowest) or not first.isdigit():
        return False
    return lowest <= first and (last or first) <= highest


_WITHIN: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "source": _network_within,
    "caller": _number_within,
    "called": _number_within,
    "trunk": _name_within,
    "customer": _name_within,
    "tls_peer": _host_within,
}
