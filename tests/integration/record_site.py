"""The server of `record_server` and its processes, as a test starts and kills them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

from kamailio_app.runtime.record_store import places
from tests.integration.fetching import PROGRAM
from tests.integration.traffic import until

ROOT: Final = Path(__file__).resolve().parents[2]
_SERVER: Final = "tests.integration.record_server"


class Server:
    """Use as a context manager: all its processes are ended then."""

    def __init__(self, directory: Path, name: str, workers: int = 2, record: str = "") -> None:
        self.directory = directory / name
        self.calls = directory / "calls"
        self._name, self._workers = name, workers
        self.directory.mkdir()
        (self.directory / "stirshaken.toml").write_text(
            f'[record]\nrecord_calls = true\nrecord_dir = "{self.calls}"\n{record}\n[cache]\nstate_dir = ""\n'
        )

    def __enter__(self) -> Server:
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _SERVER, str(self.directory), self._name, str(self._workers)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._group = self._process.pid
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill_all()

    # --- Its processes ------------------------------------------------------------------------------------------

    def recorder(self, other_than: int = 0) -> psutil.Process:
        """The program beside it, when it is there."""
        found: list[psutil.Process] = []

        def find() -> bool:
            found[:] = [each for each in self._children() if _is_recorder(each) and each.pid != other_than]
            return bool(found)

        until(find, "a recorder")
        return found[0]

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children()

    def kill_all(self) -> float:
        """Everything that belongs to it, in one moment: which one."""
        now = time.time()
        with suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        self._process.wait(10)
        return now

    def kill_server(self) -> None:
        """Its own processes; the recorder stays behind."""
        children = [each for each in self._children() if not _is_recorder(each)]
        self._process.kill()
        for each in children:
            each.kill()
        self._process.wait(10)

    # --- What it did --------------------------------------------------------------------------------------------

    def journal(self) -> dict[str, float]:
        """When which call was recorded."""
        noted = {}
        for file in self.directory.glob("journal-*"):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    call_id, seconds = line.split()
                    noted[call_id] = float(seconds)
        return noted

    def recorded(self, *, alive: bool = False) -> list[str]:
        """Call-IDs of this server on disk, in the order they stand there. Each line is whole, but for the last one while a
        recorder is `alive` that writes it.
        """
        found = []
        for place in places(self.calls) if self.calls.is_dir() else ():
            text = place.file(self.calls).read_text()
            assert alive or not text or text.endswith("\n")
            found += [json.loads(line)["call_id"] for line in text.split("\n")[:-1]]
        return [call_id for call_id in found if call_id.startswith(f"{self._name}-")]

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def has_recorded(self, more_than: int) -> None:
        until(lambda: self.size() > more_than, "calls on disk")

    def size(self) -> int:
        """Of all files, in octets."""
        return sum(place.file(self.calls).stat().st_size for place in places(self.calls)) if self.calls.is_dir() else 0


def _is_recorder(process: psutil.Process) -> bool:
    try:
        return PROGRAM in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
