"""What all commands share: options, output as text or JSON, failures with the next thing to try, exit codes.

Exit codes: `FINE`; `NO` if the answer is no (nothing found, an expectation not met, something is wrong); 2 for a command
line that is none (click's own); `UNUSABLE` if settings or files cannot be used.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line
from kamailio_app.runtime.settings import DEFAULT_PATH

FINE: Final = 0
NO: Final = 1
UNUSABLE: Final = 3

# Backslashes are those of text that was made safe before
_SAFE: Final = re.compile(r"[ -~]{0,1024}")

Command = Callable[..., Any]


def settings_option(command: Command) -> Command:
    """`--settings FILE`, as parameter `settings`."""
    return click.option(
        "--settings",
        type=click.Path(path_type=Path),
        default=DEFAULT_PATH,
        envvar="STIRSHAKEN_SETTINGS",
        show_default=True,
        show_envvar=True,
        help="The settings file.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`, as parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Say it as JSON.")(command)


def emit(data: Any, as_json: bool, text: Callable[[], Iterable[str]]) -> None:
    """Say `data` as JSON, or the lines of `text`."""
    if as_json:
        click.echo(json.dumps(data, indent=2, default=str))
        return
    for line in text():
        click.echo(line)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Columns as wide as they have to be."""
    cells = [tuple(map(str, head)), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextmanager
def failures() -> Iterator[None]:
    """What settings and files do not allow ends the command: token, detail, and what to try."""
    try:
        yield
    except StirError as error:
        fail(error)


def fail(error: StirError) -> NoReturn:
    # A detail may quote a peer, and may be a list of lines
    lines = [line if _SAFE.fullmatch(line) else one_line(line) for line in str(error).split("\n")]
    advice = [one_line(line) for line in error.advice.split("\n")]
    click.echo("\n".join([*lines, *advice]), err=True)
    sys.exit(UNUSABLE)
