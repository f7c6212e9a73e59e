"""The whole command line as click has it, and whether words are one of its lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from kamailio_app.cli.main import main

Path_ = tuple[str, ...]


def tree(command: click.Command, path: Path_, parent: click.Context | None = None) -> Iterator[tuple[Path_, click.Command]]:
    """Every command with its path, groups before what is in them."""
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, info_name=path[-1] if path else "shakenctl", parent=parent)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None, name
            yield from tree(below, (*path, name), ctx)


TREE: Final = dict(tree(main, ()))


def parsed(words: list[str], *, whole: bool = True) -> None:
    """Is this a command line? Names and options are looked at, files are not opened. Without `whole` arguments may be missing.

    Errors: click.UsageError.
    """
    path: Path_ = ()
    while isinstance(TREE[path], click.Group) and words and (*path, words[0]) in TREE:
        path, words = (*path, words[0]), words[1:]
    ctx = click.Context(TREE[path], info_name=" ".join(path))
    values, rest, _order = TREE[path].make_parser(ctx).parse_args(list(words))
    if isinstance(TREE[path], click.Group) and rest:
        raise click.UsageError(f"no such command: {rest}")
    given = {
        name for name, value in values.items() if isinstance(value, str | bool) or (isinstance(value, tuple | list) and value)
    }
    missing = [each.name for each in TREE[path].params if each.required and each.name not in given]
    if (whole and missing) or (rest and not isinstance(TREE[path], click.Group)):
        raise click.UsageError(f"missing {missing}, left over {rest}")
