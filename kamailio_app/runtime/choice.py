"""Which pair signs a call: the one that is named, its provider's, or the only provider's; of several the one that began last.

One provider's call is never signed with another's certificate (FCC 24-120): where pairs of several are at hand and nothing
says whose call it is, none signs. A pair begins at its not_before, or at `sign_from` of the settings if that is later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from math import inf
from types import MappingProxyType
from typing import Final

from kamailio_app.errors import failure
from kamailio_app.sti_as import Signer

_NO_SCHEDULE: Final[Mapping[str, float]] = MappingProxyType({})
# Names come from settings, policy and script; more answers than this are not kept at a time
_MAX_REMEMBERED: Final = 4096

Refusal = tuple[str, str]  # token, detail


class Choices:
    """The pairs of one configuration, each asked for again and again: an answer holds until a pair begins or ends.

    `default` is the NAME that signs its provider's calls, and those of nobody in particular; empty: none.
    """

    def __init__(self, signers: Mapping[str, Signer], sign_from: Mapping[str, float] = _NO_SCHEDULE, default: str = "") -> None:
        self.signers = signers
        self.default = default
        self.begins = {name: max(signer.not_before, sign_from.get(name, 0)) for name, signer in signers.items()}
        self.shared = sharing(signers)
        self.providers = providers(signers.values())
        times = {time for signer in signers.values() for time in (signer.not_before, signer.not_after)}
        self._turns = [-inf, *sorted(times | {*self.begins.values()}), inf]
        self._since = self._until = 0.0
        self._chosen: dict[tuple[str, str], Signer | Refusal] = {}

    def choose(self, now: float, certificate: str = "", spc: str = "") -> Signer:
        """The pair that signs now: the one named `certificate`, else one of `spc`'s, else of the only provider there is.

        Errors: `certificate_none`, `certificate_ambiguous`, `key_shared`; of a named one `certificate_expired` and
        `certificate_not_yet_valid`.
        """
        if not self._since <= now < self._until:
            self._turn(now)
        chosen = self._chosen.get((certificate, spc)) or self._remember(now, certificate, spc)
        if isinstance(chosen, Signer):
            return chosen
        raise failure(*chosen)

    def _turn(self, now: float) -> None:
        """Between two turns every answer stays what it is."""
        later = bisect_right(self._turns, now, hi=len(self._turns) - 1)
        self._since, self._until = self._turns[later - 1], self._turns[later]
        self._chosen.clear()

    def _remember(self, now: float, certificate: str, spc: str) -> Signer | Refusal:
        if len(self._chosen) >= _MAX_REMEMBERED:
            self._chosen.clear()
        chosen = self._chosen[certificate, spc] = self.look(now, certificate, spc)
        return chosen

    def look(self, now: float, certificate: str = "", spc: str = "") -> Signer | Refusal:
        """What `choose` says at any time, and nothing is remembered."""
        default = self.signers.get(self.default)
        if not certificate and self.default and (not spc or (default is not None and spc in default.spcs)):
            certificate = self.default
        if certificate:
            return self._named(now, certificate, spc)
        if not spc and len(self.providers) > 1:
            return "certificate_ambiguous", "; ".join(f"{who}: {', '.join(names)}" for who, names in self.providers.items())
        asked = [signer for signer in self.signers.values() if not spc or spc in signer.spcs]
        candidates = [signer for signer in asked if signer.name not in self.shared]
        valid = [signer for signer in candidates if self.begins[signer.name] <= now < signer.not_after]
        if valid:
            return max(valid, key=self._age)
        whose = f" of {spc}" if spc else ""
        if not asked:
            return "certificate_none", f"no pair{whose}" if spc else "no usable pair"
        if not candidates:
            return "key_shared", "; ".join(self.shared[signer.name] for signer in asked)
        return "certificate_none", f"{len(asked)} pairs{whose}, none valid now"

    def _named(self, now: float, name: str, spc: str) -> Signer | Refusal:
        """A pair that is named signs for as long as it is valid, whatever the schedule says."""
        signer = self.signers.get(name)
        if signer is None:
            return "certificate_none", f"no pair {name}"
        if spc and spc not in signer.spcs:
            return "certificate_none", f"pair {name} is {provider(signer)}'s, not {spc}'s"
        if name in self.shared:
            return "key_shared", self.shared[name]
        if now >= signer.not_after:
            return "certificate_expired", f"{name}, {moment(signer.not_after)}"
        if now < signer.not_before:
            return "certificate_not_yet_valid", f"{name}, {moment(signer.not_before)}"
        return signer

    def _age(self, signer: Signer) -> tuple[float, int, str]:
        """The highest is the youngest; of equals the last by name, in every process alike."""
        return self.begins[signer.name], signer.not_before, signer.name


def provider(signer: Signer) -> str:
    """Whose certificate it is: the provider's codes; of one for numbers alone these numbers."""
    if signer.spcs or signer.authority is None:
        return ",".join(sorted(signer.spcs))
    ranges = (f"{span.start}+{span.count}" for span in signer.authority.ranges)
    return ",".join(sorted([*signer.authority.numbers, *ranges]))


def providers(signers: Iterable[Signer]) -> dict[str, list[str]]:
    """The names of each provider's pairs, in order. Pairs whose time is over count: their provider has calls still."""
    ordered = sorted((provider(signer), signer.name) for signer in signers)
    return {who: [name for _, name in pairs] for who, pairs in groupby(ordered, key=lambda pair: pair[0])}


def sharing(signers: Mapping[str, Signer]) -> dict[str, str]:
    """The pairs whose private key other providers have too, and which those are."""
    holders: dict[object, list[Signer]] = {}
    for signer in signers.values():
        holders.setdefault(signer.key.public_key().public_numbers(), []).append(signer)
    return {
        signer.name: f"{signer.name} of {','.join(signer.spcs)} and {', '.join(others)}"
        for holder in holders.values()
        for signer in holder
        if (others := [f"{each.name} of {','.join(each.spcs)}" for each in holder if {*each.spcs} != {*signer.spcs}])
    }


def moment(seconds: float) -> str:
    """A time as operators read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T}Z"
