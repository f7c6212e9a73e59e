"""The edge under test, a healthy repository, and any number of hosts that take a connection and never say a word.

Those hosts are names of the lab's name server, all at one listening socket that nobody accepts at: the kernel completes the
TCP handshake, nobody ever answers TLS's, and it costs this side nothing.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

import psutil

from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.edge import EXEC
from kamailio_app.lab.network import Network
from kamailio_app.lab.repository import Repository
from tests.bench.stall.phones import Ended, Phones, Planned
from tests.bench.stall.plan import COLD, FIRST, KNOWN, STALLED, Slot, wrong
from tests.load import meter
from tests.load.identities import identities
from tests.load.repository import certificates
from tests.load.system import processes

BUDGET: Final = 2.0  # call_time_budget, s
_CACHED: Final = 8  # certificates that are at hand
_BACKLOG: Final = 4096
_PATIENCE: Final = BUDGET + 8
_SETTLE: Final = 30.0
_END: Final = 5.0
_FETCHER: Final = "kamailio_app.runtime.fetch_process"
_MEGABYTES: Final = 512
_MADE: Final = 500  # certificates at a time


class Cores(NamedTuple):
    """Where the edge with its fetch process runs, and where everything else."""

    edge: list[int]
    ours: list[int]

    @property
    def apart(self) -> bool:
        return not set(self.edge) & set(self.ours)


def cores(available: Iterable[int], workers: int, *, apart: bool = False) -> Cores:
    """A core or two for caller, callee and repository, if that leaves one for each worker and one for the rest of the edge;
    else all for all. `apart`: the workers may have to share theirs with the fetch process.
    """
    known = sorted(available)
    spare = min(2, len(known) - workers - (not apart))
    return Cores(known[:-spare], known[-spare:]) if spare > 0 else Cores(known, known)


@dataclass(frozen=True)
class Run:
    """One run: its calls, the most fetches under way, CPU seconds by what used them, those that SIP workers waited for a core,
    and the share of the machine's CPU time that processes had which are not part of it."""

    ended: list[Ended]
    under_way: int
    cpu: dict[str, float]
    waited: float
    others: float


@dataclass(frozen=True)
class Account:
    """What the edge holds at a moment."""

    transactions: int
    shared_kib: float
    descriptors: int


class Site:
    """A context manager. `hold`: so many seconds a stalled fetch lasts, which is fetch_timeout."""

    def __init__(self, network: Network, phones: Phones, workers: int, cores: Cores, hold: float) -> None:
        self.network, self.phones, self.workers, self.cores, self.hold = network, phones, workers, cores, hold
        self._numbers = itertools.count()
        self._names = NameServer()
        directory = network.directory / f"site-{workers}"
        self._directory = directory
        self._healthy = Repository(directory / "healthy", network.hierarchy.web_server(["*.healthy.test"]))
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._silent.setblocking(False)
        self.silent_port: int = self._silent.getsockname()[1]
        self._names.names["known.healthy.test"] = [["127.0.0.1"]]
        self._cached = [network.repository.url(f"cached{number}.pem") for number in range(_CACHED)]
        for number in range(_CACHED):
            network.repository.chains[f"cached{number}.pem"] = network.provider.chain_pem
        network.provider.write(directory / "made", "provider")
        network.hierarchy.intermediate.write(directory / "made", "issuer")
        self._chains: list[bytes] = []
        x5u = {
            "x5u_ports": [network.repository.port, self._healthy.port, self.silent_port],
            "x5u_dns_servers": [self._names.address],
            "fetch_timeout": hold,
            "breaker_failures": 5,  # the product's default: each of these hosts is visited once
        }
        self.edge = network.edge(
            f"edge-{workers}",
            20 + workers % 200,
            EXEC,
            settings=network.settings(x5u=x5u, verification={"ca_file": str(network.ca_file), "call_time_budget": BUDGET}),
            inside=["sip:{}:{}".format(*phones.callee)],
            carriers=["sip:{}:{}".format(*phones.caller)],
            workers=workers,
            debug=1,
            shared_megabytes=_MEGABYTES,
        )
        self._stack = ExitStack()
        self.processes: list[psutil.Process] = []
        self.fetcher = psutil.Process()
        self._worker_pids: list[int] = []

    def __enter__(self) -> Site:
        try:
            self._stack.callback(self._silent.close)
            self._stack.enter_context(self._names)
            self._stack.enter_context(self._healthy)
            self._stack.enter_context(self.edge)
            listed = processes(self.edge.rpc("core.ps"))
            self._worker_pids = [pid for pid, name in listed.items() if name.startswith("udp receiver")]
            self.fetcher = self._found(listed)
            self.processes = [*map(psutil.Process, listed), self.fetcher]
            for process in self.processes:
                _pin(process.pid, self.cores.edge)
            for pid in self._ours:
                _pin(pid, self.cores.ours)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _found(self, listed: Iterable[int]) -> psutil.Process:
        """The fetch process, which one of Kamailio's starts a moment after the fork."""
        found: list[psutil.Process] = []

        def look() -> bool:
            for pid in listed:
                found.extend(child for child in psutil.Process(pid).children() if _FETCHER in child.cmdline())
            return bool(found)

        _until(look, "a fetch process")
        return found[0]

    # --- Calls --------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Every worker gets every certificate that is to be at hand. Errors: those of `place`."""
        self.place([Slot(number / 20, "warm-up") for number in range(_CACHED)])
        self.place([Slot(number / 200, "warm-up") for number in range(_CACHED * 20 * self.workers)])

    def place(self, slots: Sequence[Slot]) -> Run:
        """Place calls at these times, and wait until no stalled fetch is left.

        Errors: RuntimeError if one did not end as it should: a figure of failures is no figure.
        """
        idle = self.fetcher.num_fds()
        urls = [self._url(slot.kind) for slot in slots]
        values = identities(self.network.provider, urls)
        plan = [Planned(slot.at, slot.kind, value) for slot, value in zip(slots, values, strict=True)]
        target = (self.edge.host, self.edge.port)
        most, asked = idle, len(self._healthy.asked)
        pids = [*(process.pid for process in self.processes), *self._ours]

        def look() -> None:
            nonlocal most
            most = max(most, self.fetcher.num_fds())

        before, waited = meter.read(pids), self._waited()
        ended = self.phones.place(target, plan, _PATIENCE, look)
        after, waited = meter.read(pids), self._waited() - waited
        problems = wrong(ended, BUDGET)
        expected = sum(slot.kind in (*COLD, FIRST) for slot in slots)
        if (fetched := len(self._healthy.asked) - asked) != expected:
            problems.append(f"{fetched} fetches for {expected} cold calls")
        if problems:
            raise RuntimeError("\n".join([*problems, self.edge.log()[-2000:]]))
        if any(slot.kind == STALLED for slot in slots):
            _until(lambda: self.fetcher.num_fds() <= idle, "an end of stalled fetches")
            self._drain()
        return self._run(ended, most - idle, before, after, waited)

    def _run(self, ended: list[Ended], under_way: int, before: meter.Reading, after: meter.Reading, waited: float) -> Run:
        workers, fetcher = after.used(before, self._worker_pids), after.used(before, [self.fetcher.pid])
        ours, everything = after.used(before, self._ours), after.used(before, after.processes)
        rest = everything - ours - fetcher - workers
        cpu = {"SIP workers": workers, "fetch process": fetcher, "rest of the edge": rest, "caller to repository": ours}
        busy, idle = after.busy - before.busy, after.idle - before.idle
        return Run(ended, under_way, cpu, waited, max(0.0, busy - everything) / max(busy + idle, 0.01))

    def _waited(self) -> float:
        """Seconds that the SIP workers could have run, and had no core."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in self._worker_pids) / 1e9

    @property
    def _ours(self) -> list[int]:
        return [os.getpid(), self.phones.pid]

    def _url(self, kind: str) -> str:
        """A certificate that nobody has seen, for kinds that need one."""
        number = next(self._numbers)
        if kind == STALLED:
            self._names.names[f"s{number}.stalled.test"] = [["127.0.0.1"]]
            return f"https://s{number}.stalled.test:{self.silent_port}/sp.pem"
        if kind not in (*COLD, FIRST):
            return self._cached[number % _CACHED]
        if not self._chains:
            self._chains = certificates(self._directory / "made", _MADE)
        self._healthy.chains[f"{number}.pem"] = self._chains.pop()
        host = "known" if kind in (KNOWN, FIRST) else f"n{number}"
        self._names.names[f"{host}.healthy.test"] = [["127.0.0.1"]]
        return f"https://{host}.healthy.test:{self._healthy.port}/{number}.pem"

    def _drain(self) -> None:
        """Close what the kernel accepted: its queue has an end."""
        with suppress(BlockingIOError):
            while True:
                self._silent.accept()[0].close()

    # --- What it holds ------------------------------------------------------------------------------------------

    def account(self) -> Account:
        """Once finished transactions are gone, or after the longest that this can take."""
        with suppress(RuntimeError):
            _until(lambda: not self._transactions(), "an end of transactions")
        shared = meter.members(self.edge.rpc("core.shmmem"))
        return Account(self._transactions(), shared["used"] / 1024, self.fetcher.num_fds())

    def _transactions(self) -> int:
        return int(meter.members(self.edge.rpc("tm.stats"))["current"])

    def left(self) -> int:
        """Processes of the edge that do not end with it."""
        left = psutil.wait_procs(self.processes, timeout=_END)[1]
        return len(left)


def _pin(pid: int, cpus: Sequence[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # a thread may end
            os.sched_setaffinity(int(task.name), cpus)


def _until(condition: Callable[[], bool], what: str) -> None:
    """Errors: RuntimeError."""
    ends = time.monotonic() + _SETTLE
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError(f"waited {_SETTLE:g} s for {what}")
        time.sleep(0.05)
