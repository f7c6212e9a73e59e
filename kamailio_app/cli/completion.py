"""`shakenctl completion`: what a shell has to read to complete commands, options and steps."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from kamailio_app.cli.output import emit, json_option

_PROGRAM: Final = "shakenctl"
_VARIABLE: Final = "_SHAKENCTL_COMPLETE"  # as click spells it for this program
# Each where its shell looks by itself; zsh needs a directory of its fpath
_INSTALL: Final = {
    "bash": "shakenctl completion bash > /etc/bash_completion.d/shakenctl",
    "zsh": 'shakenctl completion zsh > "${fpath[1]}/_shakenctl"',
    "fish": "shakenctl completion fish > ~/.config/fish/completions/shakenctl.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@json_option
@click.pass_context
def command(ctx: click.Context, *, shell: str, as_json: bool) -> None:
    """Print the completion script of a shell, which ends with the line that installs it.

    \b
    Examples:
      shakenctl completion bash > /etc/bash_completion.d/shakenctl
      source <(shakenctl completion bash)        # for this shell alone
    """
    chosen = get_completion_class(shell)
    assert chosen is not None
    completes = chosen(ctx.find_root().command, {}, _PROGRAM, _VARIABLE)
    # Not source(): that starts bash to ask for its version
    script = completes.source_template % completes.source_vars()
    data = {"shell": shell, "script": script, "install": _INSTALL[shell]}
    emit(data, as_json, lambda: [script.rstrip("\n"), f"# To install it: {_INSTALL[shell]}"])
