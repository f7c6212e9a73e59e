"""TOML tables into dataclasses, strictly: an unknown key, a wrong type or an unknown name is an error with a suggestion."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")


class ScenarioError(Exception):
    """A file that cannot be used. `where` is file and place in it."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


def load(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ScenarioError(str(path), str(error)) from error


def known(name: str, names: Iterable[str], what: str, where: str) -> None:
    """Refuse a name that is not among `names`."""
    names = list(names)
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f'; did you mean "{close[0]}"?' if close else f" (there are: {', '.join(sorted(names))})"
        raise ScenarioError(where, f'unknown {what} "{name}"{hint}')


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`: tables are merged key by key, all else is replaced."""
    result = dict(below)
    for name, value in above.items():
        former = result.get(name)
        result[name] = merged(former, value) if isinstance(former, dict) and isinstance(value, dict) else value
    return result


def read(kind: type[_T], table: object, where: str) -> _T:
    """A dataclass from a table. A field `from_` is the key "from"; a class with `shorthand` may also be a plain value."""
    value = _value(kind, table, where)
    assert isinstance(value, kind)
    return value


def _value(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _record(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _value(next((one for one in arguments if _fits(one, value)), arguments[0]), value, where)
    if origin is tuple:
        values = value if isinstance(value, list) else [value]
        return tuple(_value(arguments[0], one, f"{where}[{number}]") for number, one in enumerate(values, 1))
    if origin is dict and isinstance(value, dict):
        return {name: _value(arguments[1], one, f"{where}.{name}") for name, one in value.items()}
    if kind is Any or _fits(kind, value):
        return value
    raise ScenarioError(where, f"{_article(kind)} is needed, not {value!r}")


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        shorthand = getattr(kind, "shorthand", None)
        if shorthand is None:
            raise ScenarioError(where, f"a table is needed, not {value!r}")
        value = shorthand(value, where)
    hints = typing.get_type_hints(kind)
    members = {field.name.rstrip("_"): field for field in fields(kind)}
    for name in value:
        known(name, members, "key", where)
    for name, field in members.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise ScenarioError(where, f'"{name}" is missing')
    return kind(
        **{members[name].name: _value(hints[members[name].name], one, f"{where}: {name}") for name, one in value.items()}
    )


def _fits(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if is_dataclass(kind) or origin is dict:
        return isinstance(value, dict) or (not isinstance(value, list) and hasattr(kind, "shorthand"))
    if origin is tuple:
        return isinstance(value, list)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


_ARTICLES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _article(kind: Any) -> str:
    return _ARTICLES.get(kind, "a table" if typing.get_origin(kind) is dict else "something else")
