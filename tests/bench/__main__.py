"""`make bench`: CPU microseconds per INVITE on the real Kamailio, against its own secsipid module.

One Kamailio, one worker, one run: the kinds of call take turns, round by round, and the CPU time of the worker process
is read from the kernel before and after each turn. secsipid checks with a local key file: no fetch, no chain, which
is the least that it can do; we verify with the chain validated and the certificate cached.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kamailio_app.lab.edge import ROOT, Edge
from kamailio_app.lab.network import CALLED, CALLER, Network

WINDOW = 8  # requests under way: the worker finds the next one waiting, as it does under load
# kind of call -> does its INVITE carry an Identity?
KINDS = {
    "none": False,
    "sign": False,
    "secsipid-sign": False,
    "nothing": True,
    "verify": True,
    "secsipid-check": True,
}
GOOD = {"sign": "1", "secsipid-sign": "1", "verify": "1", "secsipid-check": "1"}


@dataclass
class Caller:
    """Sends INVITEs over UDP and waits for their answers."""

    network: Network
    edge: Edge
    rate: float = 0  # calls a second; 0 is as fast as they are answered
    calls: int = 0

    def __post_init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.network.host(11), 0))
        # Spin, do not sleep: to wake a sleeping process costs the waker, which is the worker that is measured
        self.socket.setblocking(False)
        self.address = "{}:{}".format(*self.socket.getsockname())

    def invite(self, kind: str) -> bytes:
        self.calls += 1
        identity = f"Identity: {self.network.identity()}\r\n" if KINDS[kind] else ""
        body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
        return (
            f"INVITE sip:{CALLED}@{self.edge.host}:{self.edge.port};b={kind} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{self.calls}\r\n"
            f"From: <sip:{CALLER}@{self.address};user=phone>;tag={self.calls}\r\n"
            f"To: <sip:{CALLED}@{self.edge.host};user=phone>\r\n"
            f"Call-ID: bench-{self.calls}@{self.address}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:{self.address}>\r\nP-Asserted-Identity: <sip:{CALLER}@{self.address};user=phone>\r\n{identity}"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def send(self, kind: str, count: int) -> None:
        """Errors: RuntimeError if a call did not come to the end that it should: a figure of failures is no figure."""
        requests = [self.invite(kind) for _ in range(count)]
        target = (self.edge.host, self.edge.port)
        expected = f"SIP/2.0 404 Bench {GOOD[kind]}\r\n".encode() if kind in GOOD else b"SIP/2.0 404 Bench "
        due = time.monotonic()
        for number, request in enumerate(requests):
            while self.rate and time.monotonic() < due:
                pass
            due += 1 / self.rate if self.rate else 0
            self.socket.sendto(request, target)
            if number >= WINDOW:
                self.receive(kind, expected)
        for _ in range(min(WINDOW, count)):
            self.receive(kind, expected)

    def receive(self, kind: str, expected: bytes) -> None:
        answer, deadline = b"", time.monotonic() + 5
        while not answer:
            try:
                answer = self.socket.recv(65536)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{kind}: no answer\n{self.edge.log()[-2000:]}") from None
        if not answer.startswith(expected):
            raise RuntimeError(f"{kind}: {answer.splitlines()[0].decode()}\n{self.edge.log()[-2000:]}")


def cpu_nanoseconds(pid: int) -> int:
    """CPU time of a process so far, all its threads (Go has some), from the scheduler."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def measure(caller: Caller, pid: int, rounds: int, count: int) -> dict[str, list[float]]:
    """Microseconds of CPU per INVITE, by kind, one figure a round."""
    samples: dict[str, list[float]] = {kind: [] for kind in KINDS}
    order = list(KINDS)
    for _ in range(rounds):
        random.shuffle(order)
        for kind in order:
            before = cpu_nanoseconds(pid)
            caller.send(kind, count)
            samples[kind].append((cpu_nanoseconds(pid) - before) / count / 1000)
    return samples


def machine() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kamailio = re.search(r"version: kamailio (\S+)", _output("kamailio", "-v"))
    python = _output("/usr/bin/python3", "--version").strip()
    return f"{cpu[1] if cpu else platform.machine()}, Kamailio {kamailio[1] if kamailio else '?'}, {python}"


def _output(*command: str) -> str:
    import subprocess

    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def report(samples: dict[str, list[float]]) -> str:
    """The table: median CPU, what was added to the same INVITE without us, and secsipid's share of it."""
    middle = {kind: statistics.median(values) for kind, values in samples.items()}
    added = {kind: middle[kind] - middle["nothing" if KINDS[kind] else "none"] for kind in KINDS}
    names = {
        "none": ("INVITE, answered 404", ""),
        "sign": ("+ signed by us", "secsipid-sign"),
        "secsipid-sign": ("+ signed by secsipid", ""),
        "nothing": ("INVITE with Identity, answered 404", ""),
        "verify": ("+ verified by us (all checks, certificate cached)", "secsipid-check"),
        "secsipid-check": ("+ checked by secsipid (signature, key from file)", ""),
    }
    lines = [
        "| on one worker | CPU us per INVITE | added us | middle half | secsipid / ours |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, (name, peer) in names.items():
        low, _, high = statistics.quantiles(samples[kind], n=4)
        ratio = f"{added[peer] / added[kind]:.2f}" if peer else ""
        plus = f"{added[kind]:.1f}" if kind not in ("none", "nothing") else ""
        lines.append(f"| {name} | {middle[kind]:.1f} | {plus} | {low:.1f}..{high:.1f} | {ratio} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each kind in a round")
    parser.add_argument("--rate", type=float, default=0, help="calls a second; 0: as fast as they are answered")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stirshaken-bench-") as name, Network(Path(name)) as network:
        provider = network.provider
        provider.write(network.directory / "edge" / "certs", "sp1234")
        key, certificate = network.directory / "bench.key", network.directory / "bench.pem"
        key.write_bytes(provider.key_pem)
        certificate.write_bytes(provider.pem)
        edge = network.edge(
            "edge",
            10,
            str(ROOT / "tests/bench/bench.cfg"),
            workers=1,
            debug=1,
            settings=network.settings(x5u={"credential_wait": "block"}),
            defines={
                "BENCH_X5U": f'"{network.repository.url("sp1234.pem")}"',
                "BENCH_KEY": f'"{key}"',
                "BENCH_CERTIFICATE": f'"{certificate}"',
            },
        )
        with edge:
            caller = Caller(network, edge, options.rate)
            pid = edge.worker_pids()[0]
            for kind in KINDS:
                caller.send(kind, 200)  # caches, branch predictors, Go's runtime
            began = time.monotonic()
            samples = measure(caller, pid, options.rounds, options.calls)
            print(report(samples))
            print(
                f"\n{datetime.now(UTC):%Y-%m-%d}, {machine()}; {options.rounds} rounds of {options.calls} calls of each "
                f"kind, interleaved, {time.monotonic() - began:.0f} s."
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
