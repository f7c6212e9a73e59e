"""The whole way, from an empty directory to a verified call, and what ends it: revocation, and an STI-CA that is struck off.

The commands are those that an operator types, run as he runs them; edges are Kamailio, calls are SIPp's.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from kamailio_app.lab.control import Control
from kamailio_app.lab.edge import EXEC, KEMI, Edge, free_port
from kamailio_app.lab.network import CALLED, CALLER
from kamailio_app.lab.sipp import Callee, place_call
from kamailio_app.lab.world import CERTIFICATE_DIR, World

_SECONDS: Final = 60.0  # of one command
_PATIENCE: Final = 15.0  # until the edges have taken over what the STI-PA says
_AGAIN: Final = 0.3  # seconds
_SIGNED: Final = r"\bA +signed +[0-9a-f-]{36}\b"  # a line of the record: not "unsigned"
_NAME: Final = re.compile(r"sp1234-\d{8}(?:-\d+)?")

Say = Callable[[str], object]


@dataclass(frozen=True)
class Step:
    """A command or a call, and what came of it. `output` as it was printed; `seconds` that it took."""

    title: str
    command: str
    output: str
    seconds: float
    good: bool


@dataclass
class Walk:
    """What has been walked."""

    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return bool(self.steps) and all(step.good for step in self.steps)

    def data(self) -> dict[str, Any]:
        return {"good": self.good, "seconds": round(self.seconds, 1), "steps": [asdict(step) for step in self.steps]}


class _WrongTurnError(Exception):
    """A step was not as it should be: those behind it could not be either."""


class _Walker:
    """Goes the way, a step at a time, and says each."""

    def __init__(self, world: World, say: Say) -> None:
        self.world, self._say = world, say
        self.walk = Walk()
        self._environment = {**os.environ, "STIRSHAKEN_SETTINGS": str(world.settings_file), "COLUMNS": "120"}

    def command(self, title: str, *words: str, expect: str = "", patience: float = 0.0) -> str:
        """Run `shakenctl WORDS`; good if it ends with 0 and says something like `expect`. Until then again, for `patience`
        seconds: what one process has done another may see a moment later.
        """
        began = time.monotonic()
        while True:
            output, ended = self._run(words)
            good = ended == 0 and re.search(expect, output) is not None
            if good or time.monotonic() - began >= patience:
                break
            time.sleep(_AGAIN)
        self._step(title, shlex.join(["shakenctl", *words]), output, time.monotonic() - began, good)
        return output

    def _run(self, words: Sequence[str]) -> tuple[str, int]:
        """What the command says, and its exit status."""
        try:
            run = subprocess.run(
                [sys.executable, "-m", "kamailio_app.cli.main", *words],
                env=self._environment,
                cwd=self.world.directory,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"not ended within {_SECONDS:.0f} s", -1
        return run.stdout + run.stderr, run.returncode

    def call(self, title: str, call: Callable[[], str], expect: str) -> None:
        """Place calls until one comes out like `expect`, or patience ends: edges take over news of the STI-PA by and by."""
        began = time.monotonic()
        while True:
            try:
                output = call()
            except RuntimeError as error:
                output = str(error)
            good = re.search(expect, output) is not None
            if good or time.monotonic() - began > _PATIENCE:
                break
            time.sleep(_AGAIN)
        self._step(title, f"sipp: {CALLER} calls {CALLED}", output, time.monotonic() - began, good)

    def _step(self, title: str, command: str, output: str, seconds: float, good: bool) -> None:
        step = Step(title, command, output, round(seconds, 2), good)
        self.walk.steps.append(step)
        for line in shown(step):
            self._say(line)
        if not good:
            raise _WrongTurnError(title)


def shown(step: Step) -> Iterator[str]:
    """A step as a terminal shows it."""
    yield ""
    yield f"{' ' if step.good else '!'} {step.title}  ({step.seconds:.1f} s)"
    yield f"  $ {step.command}"
    yield from (f"  {line}" for line in step.output.rstrip("\n").split("\n") if step.output)


class _Line:
    """The two edges, a caller before them and a callee behind."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self._directory = world.directory
        hosts = [f"127.77.{os.getpid() % 250 + 1}.{number}" for number in range(1, 5)]
        self._caller, signer, verifier, called = hosts
        self._callee = stack.enter_context(Callee(world.directory / "callee", called))
        settings = world.settings_file.read_text()
        self.verifier = Edge(
            world.directory / "verifying-edge",
            cfg=KEMI,
            host=verifier,
            port=free_port(verifier),
            # Another carrier's edge: it trusts whom the STI-PA lists, and answers what is wrong
            settings=_elsewhere(settings, world.directory)
            + '\n[verification]\nfailure_action = "reject"\nrequire_identity = true\ncall_time_budget = 5.0\n',
            inside=[f"sip:{called}:{self._callee.port}"],
            carriers=[f"sip:{signer}:5060"],
        )
        self.signer = Edge(
            world.directory / "signing-edge",
            cfg=EXEC,
            host=signer,
            port=5060,
            settings=settings,
            inside=[f"sip:{self._caller}:5060"],
            carriers=[f"sip:{verifier}:{self.verifier.port}"],
            environment={"STIRSHAKEN_SETTINGS": str(world.settings_file)},
        )
        stack.enter_context(self.verifier)
        stack.enter_context(self.signer)

    def call(self) -> str:
        """A call through both edges: what the caller got, what the verifying edge said of it. Errors: RuntimeError."""
        outcome = place_call(
            self._directory / "calls",
            "call",
            source=self._caller,
            target=(self.signer.host, self.signer.port),
            caller=CALLER,
            called=CALLED,
        )
        words = self.verifier.calls().get(outcome.call_id, {})
        told = " ".join(f"{name}={words[name]}" for name in ("result", "token", "verstat", "attest", "spc") if name in words)
        return f"{outcome.code} {outcome.phrase}\nverifying edge: {told or 'no line'}"


def _elsewhere(settings: str, directory: Path) -> str:
    """The settings for a file in another directory."""
    absolute = re.sub(
        r'^(\w+_file|\w+_dir) = "([^"/][^"]*)"',
        lambda match: f'{match[1]} = "{directory / match[2]}"',
        settings,
        flags=re.MULTILINE,
    )
    # What is another carrier's own
    return (
        absolute.replace(f'"{directory / "state"}"', '"state"')
        .replace(f'"{directory / CERTIFICATE_DIR}"', '"certs"')
        .replace(f'"{directory / "calls"}"', '"calls"')
    )


def walk_in(directory: Path, say: Say) -> Walk:
    """Go the way in an empty directory. Errors: OSError, RuntimeError (edges or servers do not start)."""
    began = time.monotonic()
    with ExitStack() as stack:
        world = stack.enter_context(World(directory.resolve()))
        stack.enter_context(Control(world.directory, world.tell))
        walker = _Walker(world, say)
        with suppress(_WrongTurnError):
            _go(walker, stack)
    walk = walker.walk
    walk.seconds = time.monotonic() - began
    say(f"\n{len(walk.steps)} steps in {walk.seconds:.0f} s, {'each' if walk.good else 'not each'} as it should be")
    for line in by_hand(Path(sys.executable).parent):
        say(line)
    return walk


def by_hand(programs: Path) -> Iterator[str]:
    """How to go on: the same commands, typed. `programs`: where shakenctl is."""
    yield "\nNow by hand. One terminal runs the laboratory, until Ctrl-C:"
    yield f"  {programs}/shakenctl lab up ~/shaken-lab"
    yield "In another, the provider's settings, and then any command from above:"
    yield f'  export PATH="{programs}:$PATH" STIRSHAKEN_SETTINGS=~/shaken-lab/stirshaken.toml'
    yield "  shakenctl acme register && shakenctl acme order"
    yield "What its servers can do wrong, and one of it:"
    yield "  shakenctl lab faults"
    yield "  shakenctl lab tell ~/shaken-lab misbehave sti-ca:rate-limited"


def _go(walker: _Walker, stack: ExitStack) -> None:
    """The steps."""
    run, place = walker.command, str(walker.world.directory)
    run("What there is to do", "onboard", expect="499-A")
    line = _Line(walker.world, stack)
    control = f"unix:{line.signer.directory}/control"
    walker.call("Without a certificate calls pass unsigned", line.call, "428 Use Identity Header\n.*identity_missing")
    run("Does the STI-PA know us?", "sti-pa", "login", expect="accepts")
    run("An account at the STI-CA", "acme", "register")
    ordered = run("A certificate, with an SPC token", "acme", "order", expect=_NAME.pattern)
    name = _NAME.findall(ordered)[0]
    chain = f"provider/pairs/{name}.pem"
    run("What is in it", "inspect", chain, expect="SHAKEN 1234")
    run("Where verifiers fetch it", "publish", "stage", name)
    run("What a verifier sees there", "publish", "check", name)
    run("Sign with it", "publish", "switch", name, "--control", control)
    walker.call("A call is signed and verified", line.call, "200 OK\n.*result=valid.*attest=A")
    run("Whose call was that?", "trace", "--orig", CALLER, "--limit", "1", expect=_SIGNED, patience=_PATIENCE)
    run("Is all well?", "doctor", "--control", control, "--offline")
    run("What is left to do", "onboard", expect="verified")
    run("Is a renewal due?", "renew", "--dry-run")
    run("The certificate is revoked", "lab", "tell", place, "revoke", name)
    walker.call("Nobody accepts its calls any more", line.call, "437 Unsupported Credential\n.*credential_revoked")
    run("Why?", "explain", "credential_revoked", expect="437")
    run("The next certificate", "acme", "order", "--name", f"{name}-new")
    run("It is published", "publish", "stage", f"{name}-new")
    run("And signs", "publish", "switch", f"{name}-new", "--control", control)
    walker.call("Calls are valid again", line.call, "200 OK\n.*result=valid")
    run("The STI-CA is struck off", "lab", "tell", place, "unlist-ca")
    walker.call("Nobody accepts any of its certificates", line.call, "437 Unsupported Credential\n.*credential_untrusted")
