"""`shakenctl`: the commands by name, each imported when it is asked for, so that none waits for the others' packages."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Final

import click

from kamailio_app import __version__

COMMANDS: Final = (
    "acme",
    "certificates",
    "completion",
    "csr",
    "doctor",
    "explain",
    "inspect",
    "key",
    "lab",
    "numbers",
    "onboard",
    "policy",
    "publish",
    "renew",
    "sti-pa",
    "trace",
)


class _Commands(click.Group):
    """The group whose commands are the modules of this package."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = str(args[0])
        if name not in COMMANDS and (close := get_close_matches(name, COMMANDS)) and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}. Did you mean {' or '.join(map(repr, close))}?")
        return super().resolve_command(ctx, args)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"kamailio_app.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="shakenctl")
def main() -> None:
    """STIR/SHAKEN for Kamailio: who signs what, and the record of it.

    Exit status: 0 fine; 1 no: nothing found, refused, or something is wrong; 2 no such command or option; 3 settings or files
    cannot be used.
    """


if __name__ == "__main__":
    main(prog_name="shakenctl")
