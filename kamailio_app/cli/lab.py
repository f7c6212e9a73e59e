"""`shakenctl lab`: an STI-PA, an STI-CA and a certificate repository on this machine, to learn and to test with."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, UNUSABLE, emit, json_option, table

_LOUD: Final = "A laboratory: its keys are thrown away and its passwords are known. Nothing that it signs is worth anything."
_PORTS: Final = 65533  # the last that has two more behind it

_directory = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def command() -> None:
    """A laboratory for tests and QA, not for calls: STI-PA, STI-CA and certificate repository on loopback.

    \b
    Example, in two terminals:
      shakenctl lab up /tmp/lab
      export STIRSHAKEN_SETTINGS=/tmp/lab/stirshaken.toml; shakenctl acme register && shakenctl acme order
    """
    if find_spec("kamailio_app.lab") is None:
        click.echo("This installation has no laboratory, as an edge has none: use a checkout of the project.", err=True)
        sys.exit(UNUSABLE)


@command.command()
@_directory
@click.option(
    "--first-port",
    type=click.IntRange(0, _PORTS),
    default=0,
    help="Of the STI-PA; the others have the next two. Default: those of the last time in DIRECTORY, else any that are free.",
)
@click.option(
    "--misbehave", "faults", multiple=True, metavar="SERVER:FAULT", help="From the beginning; `lab faults` lists them."
)
@json_option
def up(*, directory: Path, first_port: int, faults: tuple[str, ...], as_json: bool) -> None:
    """Run the laboratory until Ctrl-C.

    DIRECTORY gets the settings and secrets of a provider who has an account everywhere. It is one that is not there yet, or is
    empty, or an earlier laboratory's: nothing else is written over. One laboratory runs there at a time.

    \b
    Example:
      shakenctl lab up /tmp/lab --misbehave sti-pa:token-expired
    """
    from kamailio_app.lab.control import Control
    from kamailio_app.lab.place import Busy, Foreign, Place
    from kamailio_app.lab.world import World

    ended = threading.Event()
    for number in (SIGINT, SIGTERM):
        signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        try:
            place = stack.enter_context(Place(directory.resolve()))
            ports = range(first_port, first_port + 3) if first_port else place.ports or (0, 0, 0)
            world = stack.enter_context(World(directory.resolve(), ports=ports))
            place.keep(world.ports)
            stack.enter_context(Control(world.directory, world.tell))
            if faults:
                world.tell(["misbehave", *faults])
        except Foreign:
            words = f"{directory} is not empty, and no laboratory's: name one that is not there yet"
            raise click.BadParameter(words, param_hint="DIRECTORY") from None
        except Busy:
            click.echo(f"A laboratory runs in {directory} already.", err=True)
            click.echo(f"Ctrl-C ends it where it runs; `shakenctl lab tell {directory} WORDS` talks to it.", err=True)
            sys.exit(UNUSABLE)
        except OSError as error:
            click.echo(f"The laboratory does not start: {error}", err=True)
            click.echo("Is the port taken? Leave --first-port out, and it takes any that are free.", err=True)
            sys.exit(UNUSABLE)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--misbehave") from error
        data = {
            "settings": str(world.settings_file),
            "sti_pa": world.sti_pa.url,
            "sti_ca": world.sti_ca.url,
            "sti_cr": world.sti_cr.url(""),
        }
        emit(data, as_json, lambda: _running(data))
        sys.stdout.flush()
        ended.wait()


def _running(data: dict[str, Any]) -> Iterator[str]:
    yield _LOUD
    yield from table(
        ("server", "where"),
        (("STI-PA", data["sti_pa"]), ("STI-CA, its ACME directory", data["sti_ca"]), ("STI-CR", data["sti_cr"])),
    )
    yield f"Use it with: export STIRSHAKEN_SETTINGS={data['settings']}"
    yield "Ctrl-C ends it."


@command.command()
@_directory
@click.argument("words", nargs=-1, required=True)
@json_option
def tell(*, directory: Path, words: tuple[str, ...], as_json: bool) -> None:
    """Tell the laboratory that runs in DIRECTORY what to do; WORDS it does not know are answered with those that it does.

    \b
    Examples:
      shakenctl lab tell /tmp/lab misbehave sti-ca:rate-limited
      shakenctl lab tell /tmp/lab behave
      shakenctl lab tell /tmp/lab revoke sp1234-20261129
      shakenctl lab tell /tmp/lab unlist-ca
    """
    from kamailio_app.lab.control import ask

    try:
        done = ask(directory, list(words))
    except OSError as error:
        click.echo(f"no laboratory runs in {directory}: {error}\nStart one with `shakenctl lab up {directory}`.", err=True)
        sys.exit(UNUSABLE)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(NO)
    emit({"done": done}, as_json, lambda: [done])


@command.command()
@json_option
def faults(*, as_json: bool) -> None:
    """What the servers can be told to do wrong.

    \b
    Example:
      shakenctl lab faults
    """
    from kamailio_app.lab.world import FAULTS

    rows = [(f"{server}:{name}", words) for server, known in FAULTS.items() for name, words in known.items()]
    emit(dict(rows), as_json, lambda: table(("fault", "what it does"), rows))


@command.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
@json_option
def walk(*, directory: Path | None, as_json: bool) -> None:
    """Go the whole way, from an empty DIRECTORY to a verified call, and show each command and what it says.

    Starts a laboratory, two edges (Kamailio) and calls (SIPp) of its own; ends with the certificate revoked and the STI-CA
    struck off. Without DIRECTORY in one that is removed again. Exit status 1 if one step is not as it should be.

    \b
    Example:
      shakenctl lab walk
    """
    from kamailio_app.lab.walk import walk_in

    with ExitStack() as stack:
        place = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shakenctl-lab-")))
        if place.exists() and any(place.iterdir()):
            raise click.BadParameter(f"{place} is not empty", param_hint="DIRECTORY")
        if not as_json:
            click.echo(_LOUD)
        say = (lambda _line: None) if as_json else click.echo
        walked = walk_in(place, say)
    if as_json:
        emit(walked.data(), as_json, list)
    sys.exit(FINE if walked.good else NO)
