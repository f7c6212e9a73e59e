"""A running Kamailio, asked by RPC: `kamcmd` over its control socket, as an operator would."""

from __future__ import annotations

import re
import subprocess
import time
from itertools import pairwise
from threading import Timer
from typing import Final

from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.runtime import in_use
from kamailio_app.runtime.in_use import InUse

DEFAULT_CONTROL: Final = "unix:/run/kamailio/kamailio_ctl"
EPOCH: Final = "stirshaken"  # the shared variable whose change has settings, policy, anchors and pairs read again
_SECONDS: Final = 5.0
_TAKES_OVER, _LOOKS_EVERY = 5.0, 0.1  # seconds
_MAX_ANSWER: Final = 4 << 20
_SHOWN: Final = 300  # characters of an answer in an error
_REFUSED: Final = "error: "  # how kamcmd begins a fault; its exit status is 0 all the same
_FIELD: Final = re.compile(r"^\s*([\w.]+): (.*)$", re.MULTILINE)
_VERSION: Final = re.compile(r"kamailio ([0-9]+(?:\.[0-9]+)*)", re.ASCII)
_INT: Final = 1 << 31  # shared variables are of C's int


class Kamailio:
    """One server. `control`: as kamcmd's -s takes it, a path alone is a unix socket; `seconds` for each question."""

    def __init__(self, control: str = DEFAULT_CONTROL, seconds: float = _SECONDS) -> None:
        self.control = control if ":" in control else f"unix:{control}"
        self._seconds = seconds

    def rpc(self, *words: str) -> str:
        """The answer to a command of Kamailio's RPC. Errors: `server_unreachable`, `server_refused`."""
        command = ("kamcmd", "-s", self.control, "--", *words)  # no word is an option of kamcmd
        try:
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as process:
                assert process.stdout is not None
                overdue = Timer(self._seconds, process.kill)
                overdue.start()
                try:
                    answer = process.stdout.read(_MAX_ANSWER + 1)
                    if len(answer) > _MAX_ANSWER:
                        process.kill()
                    process.wait()
                finally:
                    overdue.cancel()
        except OSError as error:
            raise failure("server_unreachable", f"kamcmd: {error.strerror}") from error
        return self._checked(words, answer, process.returncode)

    def _checked(self, words: tuple[str, ...], answer: bytes, status: int) -> str:
        if len(answer) > _MAX_ANSWER:
            raise failure("server_refused", f"{' '.join(words)}: more than {_MAX_ANSWER} octets")
        if status < 0:
            raise failure("server_unreachable", f"{self.control}: no answer within {self._seconds:g} s")
        text = answer.decode("utf-8", "replace")
        said = one_line(text.strip(), _SHOWN)
        if status:
            raise failure("server_unreachable", f"{self.control}: {said}")
        if text.startswith(_REFUSED):
            raise failure("server_refused", f"{' '.join(words)}: {said.removeprefix(_REFUSED)}")
        return text

    def reload(self) -> int:
        """Have settings, signing policy, trust anchors and pairs read again: the new number of the shared variable.

        The server looks at it with its next call. Errors: those of `rpc`; `server_refused` also where stirshaken.cfg is not
        included.
        """
        number = int(time.time()) % _INT
        if self._fields("pv.shvGet", EPOCH).get("value") == str(number):
            number = (number + 1) % _INT
        self.rpc("pv.shvSet", EPOCH, "int", str(number))
        return number

    def in_use(self) -> InUse:
        """The pairs that it signs with, as it said at its start or last reload. Errors: `server_unreachable`."""
        return in_use.read(lambda key: self.entry(EPOCH, key))

    def take_over(self, seconds: float = _TAKES_OVER) -> InUse | None:
        """Have it read all again, and see what it has in use then: the same as before if it refused. None: it has not looked
        within so many seconds; its keeper looks once a second. Errors: those of `reload`.
        """
        number, ends = self.reload(), time.monotonic() + seconds
        while (found := self.in_use()).epoch != number:
            if time.monotonic() > ends:
                return None
            time.sleep(_LOOKS_EVERY)
        return found

    def version(self) -> str:
        """Such as 5.6.3. Errors: those of `rpc`; `server_refused` for what is no Kamailio."""
        found = _VERSION.search(self.rpc("core.version"))
        if found is None:
            raise failure("server_refused", "core.version: not Kamailio's")
        return found[1]

    def modules(self) -> frozenset[str]:
        """Names of the loaded modules. Errors: those of `rpc`."""
        return frozenset(self.rpc("core.modules").split())

    def processes(self) -> dict[int, str]:
        """Its processes by id: what each is for. Errors: those of `rpc`."""
        lines = self.rpc("core.ps").splitlines()
        return {int(pid): name.strip() for pid, name in pairwise(lines) if pid.isascii() and pid.isdecimal()}

    def uptime(self) -> int:
        """Seconds since its start. Errors: those of `rpc`."""
        return self._number("core.uptime", "uptime")

    def transactions(self) -> dict[str, int]:
        """tm's counters by name: current, waiting, total, 2xx, ... Errors: those of `rpc`."""
        return {name: int(value) for name, value in self._fields("tm.stats").items() if value.isdecimal()}

    def entry(self, table: str, key: str) -> str:
        """The value of a key in a htable, such as `stirshaken`'s trust_list and crl; empty if there is none.

        Errors: `server_unreachable`.
        """
        try:
            return self._fields("htable.get", table, key).get("value", "")
        except StirError as error:
            if error.token == "server_refused":
                return ""
            raise

    def _number(self, command: str, name: str) -> int:
        try:
            return int(self._fields(command)[name])
        except (LookupError, ValueError) as error:
            raise failure("server_refused", f"{command}: no {name}") from error

    def _fields(self, *words: str) -> dict[str, str]:
        return dict(_FIELD.findall(self.rpc(*words)))
