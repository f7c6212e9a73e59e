"""The system under test: the edges of one kind of call, all with the routing of cfg/kamailio-exec.cfg.

What differs between ours, secsipid and plain relaying is the one file that kamailio-exec.cfg includes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from kamailio_app.lab.edge import EXEC, ROOT, Edge, free_port, with_another
from kamailio_app.lab.network import Network
from tests.load.kinds import Kind, Software, Way

HERE: Final = ROOT / "tests/load"
# A transaction stays for five seconds after its end: at thousands of calls a second that is more than the lab's 128
SHARED_MEGABYTES: Final = 2048
# Strict, so that a call which was not verified is a failed call and not a fast one
STRICT: Final = {"failure_action": "reject", "require_identity": True}
_CALLER, _CALLEE, _FIRST, _SECOND = 11, 12, 13, 14


class System:
    """The edges of `kind` with `workers` SIP workers each, between a caller's and a callee's address."""

    def __init__(
        self,
        network: Network,
        kind: Kind,
        workers: int,
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        debug: int = 1,
        name: str = "",
    ) -> None:
        self.network, self.kind, self.workers = network, kind, workers
        self.directory = network.directory / (name or f"{kind.name}-{workers}")
        self.directory.mkdir(parents=True)
        self.caller_host, self.callee_host = network.host(_CALLER), network.host(_CALLEE)
        self.callee_port = free_port(self.callee_host)
        self._settings: dict[str, Any] = dict(settings or {})
        self._debug = debug
        self.edges = self._edges()
        self._processes: list[dict[int, str]] = []

    @property
    def target(self) -> tuple[str, int]:
        """Where the caller sends its INVITE."""
        if not self.edges:
            return self.callee_host, self.callee_port
        return self.edges[-1].host, self.edges[-1].port

    def _edges(self) -> list[Edge]:
        """In the order of starting: what is called stands before what calls it."""
        caller, callee = f"sip:{self.caller_host}:5060", f"sip:{self.callee_host}:{self.callee_port}"
        match self.kind.way:
            case Way.DIRECT:
                return []
            case Way.OUTBOUND:
                return [self._edge("edge", _FIRST, inside=caller, carriers=callee)]
            case Way.INBOUND:
                return [self._edge("edge", _FIRST, inside=callee, carriers=caller)]
            case Way.CHAIN:
                signing = f"sip:{self.network.host(_FIRST)}:5060"
                last = self._edge("verifying", _SECOND, inside=callee, carriers=signing)
                return [last, self._edge("signing", _FIRST, inside=caller, carriers=f"sip:{last.host}:{last.port}")]

    def _edge(self, name: str, number: int, *, inside: str, carriers: str) -> Edge:
        directory = self.directory / name
        edge = self.network.edge(
            str(directory.relative_to(self.network.directory)),
            number,
            self._cfg(directory),
            settings=self.network.settings(**{"signing": {"attest_level": "A"}, "verification": STRICT, **self._settings}),
            inside=[inside],
            carriers=[carriers],
            workers=self.workers,
            debug=self._debug,
            shared_megabytes=SHARED_MEGABYTES,
            defines=self._secsipid(directory) if self.kind.software is Software.SECSIPID else {},
        )
        self.network.provider.write(directory / "certs", "sp1234")
        return edge

    def _cfg(self, directory: Path) -> str:
        match self.kind.software:
            case Software.OURS:
                return EXEC
            case Software.NONE:
                return str(with_another(None, directory))
            case Software.SECSIPID:
                return str(with_another(HERE / "secsipid.cfg", directory))

    def _secsipid(self, directory: Path) -> dict[str, str]:
        (directory / "cache").mkdir(parents=True)
        certificate, intermediate = directory / "certificate.pem", directory / "intermediate.pem"
        certificate.write_bytes(self.network.provider.pem)
        intermediate.write_bytes(self.network.hierarchy.intermediate.pem)
        defines = {
            "SECSIPID_X5U": f'"{self.network.repository.url("sp1234.pem")}"',
            "SECSIPID_KEY": f'"{directory}/certs/sp1234.key"',
        }
        if not self.kind.chain:
            return {**defines, "SECSIPID_CERTIFICATE": f'"{certificate}"'}
        return {
            **defines,
            "SECSIPID_CACHE": f'"{directory}/cache"',
            "SECSIPID_ANCHORS": f'"CertCAFile={self.network.ca_file}"',
            "SECSIPID_INTERMEDIATE": f'"CertCAInter={intermediate}"',
        }

    # --- Processes ----------------------------------------------------------------------------------------------

    def __enter__(self) -> System:
        try:
            for edge in self.edges:
                edge.start()
            self._processes = [processes(edge.rpc("core.ps")) for edge in self.edges]
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def restart(self) -> None:
        """Start anew: what an overload left behind (transactions, retransmissions) is gone."""
        self.stop()
        self.__enter__()

    def stop(self) -> None:
        for edge in reversed(self.edges):
            edge.stop()

    @property
    def pids(self) -> list[int]:
        """All processes of all edges."""
        return [pid for edge in self._processes for pid in edge]

    def names(self) -> dict[int, str]:
        """What each process is, with its edge; a number where several are alike."""
        found: dict[int, str] = {}
        for edge, listed in zip(self.edges, self._processes, strict=True):
            for pid, name in listed.items():
                title = f"{edge.directory.name}: {name}"
                alike = sum(other == title or other.startswith(f"{title} #") for other in found.values())
                found[pid] = f"{title} #{alike + 1}" if alike else title
        return found

    @property
    def worker_pids(self) -> list[list[int]]:
        """The SIP workers, edge by edge."""
        return [[pid for pid, name in edge.items() if name.startswith("udp receiver")] for edge in self._processes]

    def log(self) -> str:
        return "".join(edge.log() for edge in self.edges)


def processes(listing: str) -> dict[int, str]:
    """Kamailio's core.ps: what each process does, by its id."""
    lines = [line.strip() for line in listing.splitlines() if line.strip()]
    return {int(pid): name for pid, name in zip(lines[::2], lines[1::2], strict=True)}
