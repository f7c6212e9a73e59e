"""What the call record costs, and how long a traceback takes: `python -m tests.bench.trace [--calls N] [--days N]`.

First what a worker pays: alone, beside another one that writes without a pause, and beside the recorder. Then the recorder
brings N calls to disk, spread over some days; then calls are looked for among them, with the files in memory and with the files
forgotten by the kernel. A question that takes a second (`--seconds`), finds something else, or needs more than the index fails.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.runtime.record import Record, RecordRules
from kamailio_app.runtime.record_index import Index
from kamailio_app.runtime.record_line import DAY
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.record_search import Question, search
from kamailio_app.runtime.record_store import places
from kamailio_app.runtime.recorder import Recorder
from kamailio_app.runtime.recording import Recording
from tests.machine import in_short

BEGIN: Final = 1_796_083_200  # 2026-12-01
ROUNDS: Final = 5
_AT_ONCE: Final = 20_000
_PUTS: Final = 100_000
_SECONDS: Final = 2.0
_HOT: Final = 20  # one call in so many is the call centre's: one number, one origid
_NAMES: Final = ("pbx.example.com", "sip.example.net", "10.1.2.3")
_HOT_ORIG: Final = "12155550100"
_HOT_ORIGID: Final = "00000000-0000-4000-8000-000000000001"
_RECORD: Final = RecordRules(calls=True, days=10_000_000, megabytes=10_000_000)


class Call(NamedTuple):
    """`Record.put` with these."""

    time: float
    call_id: str
    trunk: str
    customer: str
    orig: str
    dest: str
    attest: str
    origid: str
    spc: str
    fingerprint: str
    rule: str
    us: int
    token: str
    result: str
    x5u: str


def calls(count: int, days: int, seed: int) -> Iterator[Call]:
    dice = random.Random(seed)
    bits, apart = dice.getrandbits, days * DAY / count
    for number in range(count):
        h = f"{bits(128):032x}"
        hot = number % _HOT == 0
        yield Call(
            BEGIN + number * apart,
            f"{bits(64):016x}@{_NAMES[number % 3]}",
            f"trunk-{number % 50}",
            f"customer-{number % 1000}",
            _HOT_ORIG if hot else f"1215{bits(24) % 10**7:07}",
            f"1312{bits(24) % 10**7:07}",
            "A",
            _HOT_ORIGID if hot else f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:]}",
            "1234",
            "8f" * 32,
            "own-number",
            47,
            "",
            "signed",
            "https://cr.example.net/sp1234.pem",
        )


# --- A worker -----------------------------------------------------------------------------------------------------


def put_microseconds(record: Record) -> list[float]:
    """Of each of many calls, sorted, the clock's own time left out."""
    call, put, now = next(calls(1, 1, 1)), record.put, time.perf_counter_ns
    clock = statistics.median(-(now() - now()) for _ in range(1000))
    took = []
    for _ in range(_PUTS):
        began = now()
        there = put(*call)
        took.append((now() - began - clock) / 1000)
        assert there
    return sorted(took)


@contextmanager
def another_writer(record: Record) -> Iterator[None]:
    """A process that puts calls there without a pause; it ends by itself, too."""
    pid = os.fork()
    if pid == 0:
        call, ends = next(calls(1, 1, 2)), time.monotonic() + _SECONDS
        while time.monotonic() < ends:
            for _ in range(100):
                record.put(*call)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def a_recorder(record: Record, directory: Path) -> Iterator[None]:
    """In a process of its own, as beside a server, with its priority."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.nice(10)
        recorder = Recorder(record.fds, lambda _level, text: print(text))
        recorder.configure(_RECORD._replace(directory=directory))
        os.read(ours, 1)
        recorder.finish(lambda: True)
        os._exit(0)
    os.close(ours)
    try:
        yield
    finally:
        os.close(theirs)
        os.waitpid(pid, 0)


def worker_table(directory: Path) -> Iterator[str]:
    yield "| put, us | mean | median | 99 % | 99.9 % | longest |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, beside in (
        ("alone", None),
        ("beside another worker that does nothing else", another_writer),
        ("beside the recorder", lambda record: a_recorder(record, directory / "put")),
    ):
        with closing(Record()) as record:
            if beside is None:
                took = put_microseconds(record)
            else:
                with beside(record):
                    took = put_microseconds(record)
        cells = [statistics.fmean(took), *(took[int(len(took) * share)] for share in (0.5, 0.99, 0.999)), took[-1]]
        yield f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


# --- The recorder -------------------------------------------------------------------------------------------------


def write(directory: Path, count: int, days: int) -> tuple[float, list[Call]]:
    """The recorder's own CPU seconds, and some of the calls, from the first to the last."""
    took, kept = 0.0, []
    every = max(1, count // 50)
    with closing(Record()) as record:
        recording = Recording(Ring(*record.fds), _RECORD._replace(directory=directory), lambda _level, text: print(text))
        with closing(recording):
            source = calls(count, days, 3)
            for begin in range(0, count, _AT_ONCE):
                for number in range(begin, min(begin + _AT_ONCE, count)):
                    call = next(source)
                    if not record.put(*call):
                        raise RuntimeError("memory is short")
                    if number % every == 1:
                        kept.append(call)
                began = time.process_time()
                while recording.turn():
                    pass
                took += time.process_time() - began
            if not recording.complete:
                raise RuntimeError("the recorder left something")
    return took, kept


# --- Questions ------------------------------------------------------------------------------------------------------


def questions(kept: list[Call]) -> Mapping[str, tuple[list[Question], int]]:
    """Of each kind several, and how many calls each has to find at least."""
    some = [call for call in kept if call.orig != _HOT_ORIG][:: max(1, len(kept) // ROUNDS)]
    return {
        "origid": ([Question({"origid": call.origid}) for call in some], 1),
        "Call-ID": ([Question({"call_id": call.call_id}) for call in some], 1),
        "caller": ([Question({"orig": call.orig}) for call in some], 1),
        "called": ([Question({"dest": call.dest}) for call in some], 1),
        "caller and called": ([Question({"orig": call.orig, "dest": call.dest}) for call in some], 1),
        "caller, within an hour": ([Question({"orig": c.orig}, c.time - 1800, c.time + 1800) for c in some], 1),
        "nobody": ([Question({"origid": f"nobody-{number}"}) for number in range(len(some))], 0),
        "call centre, its latest 100": ([Question({"origid": _HOT_ORIGID})], 2),
        "call centre and called": ([Question({"orig": _HOT_ORIG, "dest": kept[-1].dest})], 0),
    }


def forget(directory: Path) -> None:
    """Let the kernel drop what it has of the files."""
    for file in directory.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def ask(directory: Path, asked: list[Question], least: int) -> tuple[list[float], list[float]]:
    """Seconds of each with the files forgotten, and with the files in memory. Errors: RuntimeError if too few were found."""
    cold: list[float] = []
    warm: list[float] = []
    for question in asked:
        forget(directory)
        for taken in (cold, warm):
            began = time.perf_counter()
            found = search(directory, question)
            taken.append(time.perf_counter() - began)
            if len(found.calls) < least or found.unindexed:
                raise RuntimeError(f"{question}: {found}")
    return cold, warm


def command_seconds(directory: Path, origid: str) -> float:
    """The whole of `shakenctl trace`."""
    command = [sys.executable, "-m", "kamailio_app.cli.main", "trace", "--directory", str(directory), "--origid", origid]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def by_the_index(directory: Path) -> bool:
    """Is every file's question answered by its key?"""
    plans = set()
    for place in places(directory)[:-1]:
        with Index(place.index_file(directory)) as index:
            plans.add(index.plan())
    return plans <= {"SEARCH entry USING PRIMARY KEY (run=? AND key=?)"}


def megabytes(directory: Path, end: str) -> float:
    return sum(file.stat().st_size for file in directory.glob(f"*.{end}")) / 1e6


def main() -> int:
    """Run it: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a question may take")
    options = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory(prefix="stir-trace-") as temporary:
        print("\n".join(worker_table(Path(temporary))))
        directory = Path(temporary) / "calls"
        took, kept = write(directory, options.calls, options.days)
        print(f"\n{options.calls:,} calls in {options.days} days, {len(places(directory))} files\n")
        print(f"| the recorder, us of CPU a call | {took / options.calls * 1e6:.1f} |\n| --- | --- |")
        print(f"| lines, MB | {megabytes(directory, 'jsonl'):.0f} |\n| index, MB | {megabytes(directory, 'sqlite'):.0f} |\n")
        print("| question, ms | files in memory: median, longest | files forgotten: median, longest |\n| --- | --- | --- |")
        for name, (asked, least) in questions(kept).items():
            cold, warm = ask(directory, asked, least)
            cells = [f"{statistics.median(each) * 1000:.0f}, {max(each) * 1000:.0f}" for each in (warm, cold)]
            print(f"| {name} | {' | '.join(cells)} |")
            slow += [name] if max(cold + warm) >= options.seconds else []
        forget(directory)
        command = command_seconds(directory, kept[len(kept) // 2].origid)
        print(f"\n`shakenctl trace --origid`, all of it, files forgotten: {command:.2f} s")
        slow += ["shakenctl trace"] if command >= options.seconds else []
        indexed = by_the_index(directory)
    print(f"\n{in_short()}, Python {sys.version.split()[0]}")
    if slow:
        print(f"{options.seconds:g} s or more: {', '.join(slow)}", file=sys.stderr)
    if not indexed:
        print("the index is not used", file=sys.stderr)
    return int(bool(slow) or not indexed)


if __name__ == "__main__":
    sys.exit(main())
