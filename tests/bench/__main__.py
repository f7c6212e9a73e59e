"""`make bench`: CPU microseconds per INVITE on the real Kamailio, against its own secsipid module.

One worker, one run: the kinds of call take turns, round by round, and the CPU time of the worker process, all its
threads, is read from the kernel before and after each turn. secsipid is measured twice: checking the signature with a key
from a file (the least that it can do), and as an edge runs it that verifies strangers' calls, with the certificate from its
file cache by x5u and its chain checked. The latter is a setting of the module, so that kind has a Kamailio of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kamailio_app.lab.edge import ROOT, Edge
from kamailio_app.lab.network import CALLED, CALLER, Network
from tests.bench import policy
from tests.machine import in_short, versions

CALLER_HOST = 11
ADDED_WITHIN, TIMES_BEYOND = 60.0, 1.6  # us that the policy row may add; how many times that secsipid adds, at least
WINDOW = 8  # requests under way: the worker finds the next one waiting, as it does under load


@dataclass(frozen=True)
class Kind:
    """A kind of call: what `b` of the Request-URI asks bench.cfg for, and what it is compared with."""

    title: str
    route: str
    identity: bool = False  # does its INVITE carry an Identity?
    base: str = ""  # the same INVITE without any STIR/SHAKEN
    ours: str = ""  # of secsipid's kinds: our kind that does the same work
    edge: str = "edge"  # which Kamailio: the plain one, "chain" whose secsipid checks it, "policy" with all of signing on


KINDS = (
    Kind("INVITE, answered 404", "none"),
    Kind("+ signed by us", "sign", base="none"),
    Kind("+ signed by us: 100 rules, 1 000 000 numbers, call record", "sign-policy", base="none", edge="policy"),
    Kind("+ signed by secsipid", "secsipid-sign", base="none", ours="sign"),
    Kind("INVITE with Identity, answered 404", "nothing", identity=True),
    Kind("+ verified by us: all checks, certificate cached", "verify", identity=True, base="nothing"),
    Kind("+ checked by secsipid: signature only, key file", "secsipid-check", identity=True, base="nothing", ours="verify"),
    Kind(
        "+ checked by secsipid: signature and chain, file cache",
        "secsipid-chain",
        identity=True,
        base="nothing",
        ours="verify",
        edge="chain",
    ),
)


class Caller:
    """Sends INVITEs to one edge over UDP and waits for their answers. `rate` in calls a second; 0: as fast as answered."""

    def __init__(self, network: Network, edge: Edge, rate: float, numbers: Sequence[str] = (CALLER,)) -> None:
        self.network, self.edge, self.rate, self.numbers = network, edge, rate, numbers
        self.pid = edge.worker_pids()[0]
        self.calls = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((network.host(CALLER_HOST), 0))
        # Spin, do not sleep: to wake a sleeping process costs the waker, which is the worker that is measured
        self.socket.setblocking(False)
        self.address = "{}:{}".format(*self.socket.getsockname())

    def invite(self, kind: Kind) -> bytes:
        self.calls += 1
        caller = self.numbers[self.calls % len(self.numbers)]
        identity = f"Identity: {self.network.identity()}\r\n" if kind.identity else ""
        body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
        return (
            f"INVITE sip:{CALLED}@{self.edge.host}:{self.edge.port};b={kind.route} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{self.calls}\r\n"
            f"From: <sip:{caller}@{self.address};user=phone>;tag={self.calls}\r\n"
            f"To: <sip:{CALLED}@{self.edge.host};user=phone>\r\n"
            f"Call-ID: bench-{self.calls}@{self.address}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:{self.address}>\r\nP-Asserted-Identity: <sip:{caller}@{self.address};user=phone>\r\n{identity}"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def send(self, kind: Kind, count: int) -> float:
        """Place `count` calls: microseconds of the worker's CPU for each.

        Errors: RuntimeError if a call did not come to the end that it should: a figure of failures is no figure.
        """
        requests = [self.invite(kind) for _ in range(count)]
        target = (self.edge.host, self.edge.port)
        before, due = self.cpu_nanoseconds(), time.monotonic()
        for number, request in enumerate(requests):
            while self.rate and time.monotonic() < due:
                pass
            due += 1 / self.rate if self.rate else 0
            self.socket.sendto(request, target)
            if number >= WINDOW:
                self.receive(kind)
        for _ in range(min(WINDOW, count)):
            self.receive(kind)
        return (self.cpu_nanoseconds() - before) / count / 1000

    def receive(self, kind: Kind) -> None:
        answer, deadline = b"", time.monotonic() + 5
        while not answer:
            try:
                answer = self.socket.recv(65536)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{kind.route}: no answer\n{self.edge.log()[-2000:]}") from None
        if not answer.startswith(b"SIP/2.0 404 Bench 1\r\n" if kind.base else b"SIP/2.0 404 Bench "):
            raise RuntimeError(f"{kind.route}: {answer.splitlines()[0].decode()}\n{self.edge.log()[-2000:]}")

    def cpu_nanoseconds(self) -> int:
        """CPU time of the worker so far, from the scheduler. All threads: Go has some."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def measure(callers: dict[str, Caller], rounds: int, count: int) -> dict[str, list[float]]:
    """Microseconds of CPU per INVITE, by kind, one figure a round."""
    samples: dict[str, list[float]] = {kind.route: [] for kind in KINDS}
    for kind in KINDS:
        callers[kind.edge].send(kind, 200)  # caches, branch predictors, Go's runtime
    for _ in range(rounds):
        for kind in random.sample(KINDS, len(KINDS)):
            samples[kind.route].append(callers[kind.edge].send(kind, count))
    return samples


def report(samples: dict[str, list[float]]) -> str:
    """The table: median CPU, what was added to the same INVITE without STIR/SHAKEN, and how many times ours secsipid adds."""
    middle, added = _added(samples)
    lines = [
        "| one worker | CPU us per INVITE | middle half | added us | times ours |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        low, _, high = statistics.quantiles(samples[kind.route], n=4)
        plus = f"{added[kind.route]:.1f}" if kind.base else ""
        times = f"{added[kind.route] / added[kind.ours]:.2f}" if kind.ours else ""
        if kind.route == "secsipid-sign":
            times += f" ({added[kind.route] / added['sign-policy']:.2f})"
        lines.append(f"| {kind.title} | {middle[kind.route]:.1f} | {low:.1f}..{high:.1f} | {plus} | {times} |")
    return "\n".join(lines)


def judgement(samples: dict[str, list[float]]) -> str:
    """How the figures stand to what signing may cost."""
    _, added = _added(samples)
    ours, theirs = added["sign-policy"], added["secsipid-sign"]
    times = theirs / ours
    return (
        f"Signed with 100 rules, 1 000 000 numbers and the call record: {ours:.1f} us added, "
        f"{_judged(reached=ours <= ADDED_WITHIN)} (at most {ADDED_WITHIN:g}); secsipid without any of it adds {times:.2f} "
        f"times that, {_judged(reached=times >= TIMES_BEYOND)} (at least {TIMES_BEYOND:g}). "
        f"Beside our plain signing it adds {theirs / added['sign']:.2f} times."
    )


def _judged(*, reached: bool) -> str:
    return "reached" if reached else "missed"


def _added(samples: dict[str, list[float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The median by kind, and what that is more than the same INVITE without STIR/SHAKEN."""
    middle = {route: statistics.median(values) for route, values in samples.items()}
    return middle, {kind.route: middle[kind.route] - middle[kind.base] for kind in KINDS if kind.base}


def cold_start(network: Network, allocator: str) -> float:
    """Seconds from Kamailio's command line to the first signed call."""
    began = time.monotonic()
    with bench_edge(network, "cold", 12, allocator, network.settings()) as edge:
        caller = Caller(network, edge, 0)
        caller.send(KINDS[1], 1)
        seconds = time.monotonic() - began
        caller.socket.close()
    return seconds


def bench_edge(network: Network, name: str, number: int, allocator: str, settings: str, **defines: str) -> Edge:
    """An edge with bench.cfg and its one pair in place."""
    directory = network.directory / name
    network.provider.write(directory / "certs", "sp1234")
    (directory / "cache").mkdir()
    (directory / "bench.pem").write_bytes(network.provider.pem)
    files = {"BENCH_KEY": "certs/sp1234.key", "BENCH_CERTIFICATE": "bench.pem", "BENCH_CACHE": "cache"}
    return network.edge(
        name,
        number,
        str(ROOT / "tests/bench/bench.cfg"),
        workers=1,
        debug=1,
        allocator=allocator,
        settings=settings,
        defines={
            "BENCH_X5U": f'"{network.repository.url("sp1234.pem")}"',
            **{define: f'"{directory / file}"' for define, file in files.items()},
            **defines,
        },
    )


def main() -> int:
    """Run the benchmark: the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each kind in a round")
    parser.add_argument("--rate", type=float, default=0, help="calls a second; 0: as fast as they are answered")
    parser.add_argument("--allocator", default="qm", help="Kamailio's -X: qm, its default, fm or tlsf")
    options = parser.parse_args()
    with ExitStack() as stack:
        network = stack.enter_context(Network(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stir-bench-")))))
        os.environ["SSL_CERT_FILE"] = str(network.ca_file)  # Go's way to be told the repository's root
        intermediate = network.directory / "intermediate.pem"
        intermediate.write_bytes(network.hierarchy.intermediate.pem)
        chain = {
            "BENCH_CHAIN": "1",
            "BENCH_ANCHORS": f'"CertCAFile={network.ca_file}"',
            "BENCH_INTERMEDIATE": f'"CertCAInter={intermediate}"',
        }
        started = cold_start(network, options.allocator)
        callers = {}
        (network.directory / "policy").mkdir()
        full = policy.write(network.directory / "policy", network.host(CALLER_HOST))
        for name, number, defines, sections in (("edge", 10, {}, {}), ("chain", 13, chain, {}), ("policy", 14, {}, full)):
            edge = bench_edge(network, name, number, options.allocator, network.settings(**sections), **defines)
            numbers = policy.callers() if name == "policy" else (CALLER,)
            callers[name] = Caller(network, stack.enter_context(edge), options.rate, numbers)
            stack.callback(callers[name].socket.close)
        began = time.monotonic()
        samples = measure(callers, options.rounds, options.calls)
        known = versions()
        pace = f"{options.rate:g} calls a second" if options.rate else "as fast as they are answered"
        print(f"{report(samples)}\n\n{judgement(samples)}")
        print(
            f"\n{datetime.now(UTC):%Y-%m-%d}, {in_short()}, Kamailio {known['Kamailio']}, "
            f"Python {known['Python in Kamailio']}, secsipid {known['secsipid package']}. "
            f"{options.rounds} rounds of {options.calls} calls of each kind, "
            f"interleaved, {pace}, -X {options.allocator}, {time.monotonic() - began:.0f} s. "
            f"Cold start to the first signed call: {started:.2f} s."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
