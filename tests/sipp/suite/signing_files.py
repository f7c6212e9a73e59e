"""What an operator keeps beside stirshaken.toml for signing: the policy, who may use which number, which numbers never call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kamailio_app.runtime.number_import import Import
from kamailio_app.runtime.number_rows import Row
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY
from tests.sipp.suite import target
from tests.sipp.suite.target import Profile

POLICY: Final = "policy.toml"
LISTS: Final = {INVENTORY: "numbers.mdb", DO_NOT_ORIGINATE: "do-not-originate.mdb"}


def options(profile: Profile) -> dict[str, str]:
    """Of [signing], for what the profile has."""
    there = {
        "policy_file": (POLICY, profile.policy),
        "inventory_file": (LISTS[INVENTORY], profile.inventory),
        "do_not_originate_file": (LISTS[DO_NOT_ORIGINATE], profile.do_not_originate),
    }
    return {option: name for option, (name, content) in there.items() if content}


class SigningFiles:
    """`addresses`: of the trunks and places of a profile, by their names."""

    def __init__(self, directory: Path, addresses: Callable[[str], Mapping[str, str]]) -> None:
        self._directory, self._addresses = directory, addresses

    def write(self, profile: str) -> None:
        """All that the profile has."""
        if policy := target.profile(profile).policy:
            (self._directory / POLICY).write_text(policy_text(policy, self._addresses(profile)))
        self.import_numbers(profile)

    def import_numbers(self, profile: str) -> None:
        """As the operator's command does."""
        found = target.profile(profile)
        for kind, entries in ((INVENTORY, found.inventory), (DO_NOT_ORIGINATE, found.do_not_originate)):
            if entries:
                pairs = [entry.rpartition(",")[::2] for entry in entries]
                rows = [Row(line, customer, number) for line, (customer, number) in enumerate(pairs, 1)]
                Import(kind, profile, self._directory / LISTS[kind]).run(rows, now=time.time())

    def break_policy(self) -> None:
        """A rule that says what there is not."""
        with (self._directory / POLICY).open("a") as file:
            file.write('\n[[rule]]\nname = "broken"\nattests = "A"\n')

    def break_numbers(self) -> None:
        """Lists that are none come into the places of those in use."""
        for name in LISTS.values():
            path = self._directory / name
            if path.exists():
                new = path.with_suffix(".broken")
                new.write_bytes(b"no list of numbers\n" * 1000)
                new.replace(path)


def policy_text(policy: Mapping[str, Any], addresses: Mapping[str, str]) -> str:
    """The policy as TOML, {NAME} filled in."""
    rules = [f"[[rule]]\n{_lines(rule)}" for rule in policy.get("rule", ())]
    text = "\n".join([_lines({name: value for name, value in policy.items() if name != "rule"}), *rules])
    for name, address in addresses.items():
        text = text.replace(f'"{{{name}}}"', json.dumps(address))
    return text


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in table.items())


def _toml(value: Any) -> str:
    """Text and numbers are alike in TOML and JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
