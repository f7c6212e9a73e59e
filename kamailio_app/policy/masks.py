"""Conditions as bit masks: for each thing that rules ask about, a table from a call's value to the rules that accept it.

Bit 0 is the first rule. A rule that does not ask is in every mask. Nothing is added to a table by what calls carry, but for a
bounded number of addresses; no value, however long or strange, raises.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

NO_NUMBER: Final = "anonymous"
NO_ATTESTATION: Final = "none"
_LONGEST_ADDRESS: Final = 64
_ADDRESSES: Final = 4096  # that are remembered with their mask

Look = Callable[[Any], int]
Wanted = Sequence[tuple[int, Sequence[Any]]]
"""The rules that ask, each as its bit and the values that it accepts."""


class Exact(dict[Any, int]):
    """Value -> mask; `others` is the mask of a value that no rule names."""

    def __init__(self, others: int, wanted: Wanted) -> None:
        super().__init__()
        self.others = others
        for bit, values in wanted:
            for value in values:
                self[value] = self.get(value, others) | bit

    def __missing__(self, _value: Any) -> int:
        return self.others


class Names(dict[str, int]):
    """Whole names and beginnings ("carrier-*").

    An empty name is accepted where it is named only: "*" is any that there is.
    """

    def __init__(self, others: int, wanted: Wanted) -> None:
        super().__init__()
        self.others = others
        whole: dict[str, int] = {"": 0}
        begin: dict[str, int] = {}
        for bit, values in wanted:
            for value in values:
                if value[-1:] == "*":
                    begin[value[:-1]] = begin.get(value[:-1], 0) | bit
                else:
                    whole[value] = whole.get(value, 0) | bit
        # A beginning holds the rules of all shorter ones: the longest that fits says everything
        self._begin: dict[str, int] = {}
        self._lengths: tuple[int, ...] = ()
        for length in sorted(set(map(len, begin))):
            self._begin |= {text: mask | self._by_beginning(text) for text, mask in begin.items() if len(text) == length}
            self._lengths = (length, *self._lengths)
        for text, mask in whole.items():
            self[text] = mask | (self.__missing__(text) if text else others)

    def __missing__(self, text: str) -> int:
        return self._by_beginning(text)

    def _by_beginning(self, text: str) -> int:
        for length in self._lengths:
            mask = self._begin.get(text[:length])
            if mask is not None:
                return mask
        return self.others


class Numbers(Names):
    """Whole numbers, beginnings, ranges of numbers of one length, and "anonymous" for none."""

    def __init__(self, others: int, wanted: Wanted) -> None:
        ranges: dict[int, list[tuple[int, int, int]]] = {}
        rest: list[tuple[int, Sequence[str]]] = []
        for bit, values in wanted:
            for value in values:
                first, hyphen, last = value.partition("-")
                if hyphen:
                    ranges.setdefault(len(first), []).append((int(first), int(last), bit))
                else:
                    rest.append((bit, ("" if value == NO_NUMBER else value,)))
        self._ranges = {length: _segments(found) for length, found in ranges.items()}
        super().__init__(others, rest)

    def __missing__(self, text: str) -> int:
        mask = self._by_beginning(text)
        segments = self._ranges.get(len(text))
        if segments and text.isascii() and text.isdigit():
            starts, masks = segments
            mask |= masks[bisect_right(starts, int(text))]
        return mask


def _segments(ranges: Iterable[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Where the mask changes, and the masks: the first before the first change."""
    changes: dict[int, list[tuple[int, int]]] = {}
    for first, last, bit in ranges:
        changes.setdefault(first, []).append((bit, 1))
        changes.setdefault(last + 1, []).append((bit, -1))
    starts, masks, mask = sorted(changes), [0], 0
    inside: dict[int, int] = {}
    for start in starts:
        for bit, step in changes[start]:
            inside[bit] = inside.get(bit, 0) + step
            mask = mask | bit if inside[bit] else mask & ~bit
        masks.append(mask)
    return starts, masks


Network = IPv4Network | IPv6Network


def address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address in `text`; one of IPv4 written as IPv6 is that of IPv4."""
    try:
        found = ip_address(text.strip("[]")) if len(text) <= _LONGEST_ADDRESS else None
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


class Networks:
    """Addresses, by the networks that they lie in."""

    def __init__(self, others: int, wanted: Wanted) -> None:
        self._others = others
        self._masks: dict[tuple[int, int], dict[int, int]] = {}
        for bit, values in wanted:
            for network in map(ip_network, values):
                of_size = self._masks.setdefault((network.version, network.max_prefixlen - network.prefixlen), {})
                prefix = int(network.network_address) >> network.max_prefixlen - network.prefixlen
                of_size[prefix] = of_size.get(prefix, 0) | bit
        self._known = lru_cache(_ADDRESSES)(self._mask)

    def __call__(self, text: str) -> int:
        return self._known(text) if len(text) <= _LONGEST_ADDRESS else self._others

    def _mask(self, text: str) -> int:
        mask, found = self._others, address(text)
        if found is not None:
            number = int(found)
            for (version, shift), masks in self._masks.items():
                if version == found.version:
                    mask |= masks.get(number >> shift, 0)
        return mask


def _values(others: int, wanted: Wanted) -> Look:
    return Exact(others, wanted).__getitem__


def _names(others: int, wanted: Wanted) -> Look:
    return Names(others, wanted).__getitem__


def _hosts(others: int, wanted: Wanted) -> Look:
    """Capitals do not count in names of hosts; of several with spaces between, one is enough."""
    names = Names(others, [(bit, [value.lower() for value in values]) for bit, values in wanted])

    def look(text: str) -> int:
        mask = others
        for name in text.lower().split():
            mask |= names[name]
        return mask

    return look


def _numbers(others: int, wanted: Wanted) -> Look:
    return Numbers(others, wanted).__getitem__


def _asked(others: int, wanted: Wanted) -> Look:
    return _values(others, [(bit, ["" if value == NO_ATTESTATION else value for value in values]) for bit, values in wanted])


# In the order in which rules are explained. The names are those of `Call`; the last two are looked up
MASKS: Final[Mapping[str, Callable[[int, Wanted], Look]]] = {
    "trunk": _names,
    "customer": _names,
    "source": Networks,
    "port": _values,
    "transport": _values,
    "tls_peer": _hosts,
    "caller": _numbers,
    "called": _numbers,
    "emergency": _values,
    "identity": _values,
    "asked": _asked,
    "do_not_originate": _values,
    "caller_in": _values,
}
