"""A Kamailio of the laboratory: its directory, its configuration around the shipped cfg, its process.

The process is a child of ours, stopped by its own id. Readiness is an answered OPTIONS, never a sleep.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from kamailio_app.lab.own_log import sitecustomize as own_log

ROOT: Final = Path(__file__).resolve().parents[2]
EXEC: Final = "kamailio-exec.cfg"
KEMI: Final = "kamailio-edge.cfg"
_READY_SECONDS: Final = 15.0


def free_port(host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def calls_in(log: str) -> dict[str, dict[str, str]]:
    """The line of each call in a log, by Call-ID: its words name=value. A line that is still being written is left out."""
    found: dict[str, dict[str, str]] = {}
    for line in log.split("\n")[:-1]:
        for kind in ("sign", "verify"):
            _, mark, rest = line.partition(f"stirshaken: {kind} ")
            if mark:
                words = dict(word.split("=", 1) for word in rest.partition(": ")[0].split() if "=" in word)
                if "call-id" in words:
                    found[words["call-id"]] = {"kind": kind, **words}
    return found


def with_another(include: Path | None, directory: Path) -> Path:
    """cfg/kamailio-exec.cfg, written into `directory`, with another file in the place of stirshaken.cfg, or none: for
    comparisons. A route STIR_* that is called and that the file lacks does nothing.

    Errors: RuntimeError if it no longer includes stirshaken.cfg.
    """
    text, line = (ROOT / "cfg" / EXEC).read_text(), 'include_file "stirshaken.cfg"'
    if text.count(line) != 1:
        raise RuntimeError(f"{EXEC} has no line {line}, or several")
    defined = re.findall(r"^route\[(\w+)\]", text + (include.read_text() if include else ""), re.MULTILINE)
    missing = sorted({*re.findall(r"\broute\((STIR_\w+)\)", text)} - {*defined})
    routing = text.replace(line, f'include_file "{include}"' if include else "#")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{include.stem if include else 'relay'}-edge.cfg"
    path.write_text("\n".join([routing, *(f"route[{name}] {{\n\treturn;\n}}\n" for name in missing)]))
    return path


class Edge:
    """`inside` and `carriers` are SIP URIs of dispatcher sets 1 and 2; `settings` the text of stirshaken.toml."""

    def __init__(
        self,
        directory: Path,
        *,
        cfg: str,
        host: str,
        port: int,
        settings: str,
        inside: Iterable[str] = (),
        carriers: Iterable[str] = (),
        workers: int = 2,
        debug: int = 2,
        allocator: str = "qm",
        shared_megabytes: int = 128,
        defines: Mapping[str, str] = {},
        environment: Mapping[str, str] = {},
    ) -> None:
        self.directory = directory
        self.host, self.port = host, port
        self.environment = environment
        self.allocator = allocator  # of private memory: Kamailio's -X
        self.shared_megabytes = shared_megabytes
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "certs").mkdir(exist_ok=True)
        self.settings_file = directory / "stirshaken.toml"
        self.settings_file.write_text(settings)
        lines = [f"1 {uri} 0 0" for uri in inside] + [f"2 {uri} 0 0" for uri in carriers]
        (directory / "dispatcher.list").write_text("\n".join(lines) + "\n")
        values = {
            "EDGE_LISTEN": f"udp:{host}:{port}",
            "EDGE_WORKERS": str(workers),
            "EDGE_DEBUG": str(debug),
            "EDGE_DISPATCHER": f'"{directory}/dispatcher.list"',
            "EDGE_CONTROL": f'"unix:{directory}/control"',
            "STIRSHAKEN_SCRIPT": f'"{ROOT}/kemi_scripts/stirshaken_exec.py"',
            "STIRSHAKEN_EDGE_SCRIPT": f'"{ROOT}/kemi_scripts/stirshaken_edge.py"',
            **defines,
        }
        wrapper = ["#!KAMAILIO", *(f"#!define {name} {value}" for name, value in values.items())]
        source = ROOT / "cfg" / cfg if "/" not in cfg else Path(cfg)
        wrapper += ["log_stderror=yes", f'include_file "{source}"']
        self.cfg = directory / "kamailio.cfg"
        self.cfg.write_text("\n".join(wrapper) + "\n")
        self.log_file = directory / "kamailio.log"
        self.started_in = 0.0  # seconds from the command to the first answer
        self._process: subprocess.Popen[bytes] | None = None

    # --- Process ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until it answers. Errors: RuntimeError with the end of the log."""
        began = time.monotonic()
        environment = {
            **os.environ,
            "STIRSHAKEN_SETTINGS": str(self.settings_file),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(own_log.__file__).parent), os.environ.get("PYTHONPATH")))),
            own_log.VARIABLE: str(self.log_file),
            **self.environment,
        }
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "kamailio",
                    "-f",
                    str(self.cfg),
                    "-DD",
                    "-E",
                    "-X",
                    self.allocator,
                    "-m",
                    str(self.shared_megabytes),
                    "-M",
                    "16",
                    "-Y",
                    str(self.directory),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        while not self._answers():
            if not self.alive or time.monotonic() - began > _READY_SECONDS:
                self.stop()
                raise RuntimeError(f"Kamailio did not start:\n{self.log()[-3000:]}")
        self.started_in = time.monotonic() - began

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop what `start` started, and wait for it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(5)
        self._process = None

    def kill(self) -> None:
        """What a crash does: every process that `start` started ends at once, and none of them can do anything about it."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)
        self._process = None

    def __enter__(self) -> Edge:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.bind((self.host, 0))
            local = f"{self.host}:{probe.getsockname()[1]}"
            request = (
                f"OPTIONS sip:{self.host}:{self.port} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKready\r\n"
                f"From: <sip:lab@{local}>;tag=1\r\nTo: <sip:{self.host}:{self.port}>\r\nCall-ID: ready-{local}\r\n"
                f"CSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
            )
            try:
                probe.sendto(request.encode(), (self.host, self.port))
                return probe.recv(4096).startswith(b"SIP/2.0 ")
            except OSError:
                return False

    # --- Operating it -------------------------------------------------------------------------------------------

    def rpc(self, *words: str) -> str:
        """kamcmd. Errors: CalledProcessError."""
        command = ["kamcmd", "-s", f"unix:{self.directory}/control", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout

    def reload(self) -> None:
        """The operator's reload command."""
        self.rpc("pv.shvSet", "stirshaken", "int", str(time.time_ns() // 1000 % 2_000_000_000))

    def log(self) -> str:
        """What all its processes have written, whole lines, one process after another."""
        whole = []
        for path in self._logs():
            with suppress(FileNotFoundError):
                text = path.read_text("utf-8", "replace")
                whole.append(text[: text.rfind("\n") + 1])
        return "".join(whole)

    def forget_log(self) -> None:
        """What it says from now on is all that it says."""
        for path in self._logs():
            path.unlink(missing_ok=True)

    def _logs(self) -> list[Path]:
        each = self.directory.glob(f"{self.log_file.name}.*")
        return [self.log_file, *sorted(each, key=lambda path: int(path.suffix[1:]))]

    def calls(self) -> dict[str, dict[str, str]]:
        """The log's line of each call, by Call-ID: its words name=value."""
        return calls_in(self.log())

    def worker_pids(self) -> list[int]:
        """Process ids of the SIP workers."""
        return self.pids("udp receiver")

    def pids(self, name: str = "") -> list[int]:
        """Process ids of Kamailio's own processes whose names begin so."""
        found = self.rpc("core.ps").split("\n")
        return [int(pid) for pid, called in itertools.pairwise(found) if pid.isdecimal() and called.startswith(name)]
