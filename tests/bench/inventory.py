"""What a number inventory costs: `python -m tests.bench.inventory [--numbers N]`.

A CSV file of N numbers, scattered so that no two are neighbours, is imported by `shakenctl numbers import` in a process of its
own. Then this process looks numbers up, in random order: each costs the memory that it has not touched for long. One of them
is exchanged for the next file meanwhile, to see how long the first look-up after it takes. The exit status is 1 if a look-up
costs more than it may.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kamailio_app.runtime.numbers import Numbers
from tests.machine import in_short

FIRST: Final = 12_000_000_000
APART: Final = 7
ROUNDS: Final = 5
OWNERS, NOBODY = "owners of a number", "owners of a number that nobody has"
WITHIN: Final = 5.0  # us that a look-up may cost


def write_csv(path: Path, numbers: int, customers: int, seed: int) -> None:
    """One number in a line, in no order."""
    dice = random.Random(seed)
    order = list(range(numbers))
    dice.shuffle(order)
    with path.open("w", encoding="ascii") as file:
        file.write("customer,number\n")
        file.writelines(f"customer-{dice.randrange(customers)},{FIRST + APART * index}\n" for index in order)


def imported(source: Path, place: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of the importing process, all of it."""
    began = time.monotonic()
    command = [sys.executable, "-m", "kamailio_app.cli.main", "numbers", "import", str(source), "--out", str(place)]
    environment = os.environ | {"STIRSHAKEN_SETTINGS": os.devnull}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.monotonic() - began
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def microseconds(look: Callable[[str], object], asked: Sequence[str]) -> float:
    """The median of some rounds, without what the loop costs."""
    return statistics.median(_round(look, asked) - _round(str, asked) for _ in range(ROUNDS))


def _round(look: Callable[[str], object], asked: Sequence[str]) -> float:
    began = time.process_time()
    for number in asked:
        look(number)
    return (time.process_time() - began) / len(asked) * 1e6


def own_megabytes() -> float:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def mapped_megabytes(place: Path) -> float:
    """Of the file, what is in memory: all processes share it."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(place)):
            return next(int(row.split()[1]) for row in lines if row.startswith("Rss:")) / 1024
    raise RuntimeError(f"{place} is not mapped")


def main() -> int:
    """Run it: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=100_000, help="numbers that are looked up in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stir-numbers-") as directory:
        source, place = Path(directory) / "numbers.csv", Path(directory) / "numbers.mdb"
        write_csv(source, options.numbers, options.customers, 1)
        seconds, megabytes = imported(source, place)
        dice = random.Random(2)
        there = [str(FIRST + APART * dice.randrange(options.numbers)) for _ in range(options.looks)]
        beside = [str(FIRST + APART * dice.randrange(options.numbers) + 3) for _ in range(options.looks)]
        before = own_megabytes()
        numbers = Numbers(place)
        began = time.perf_counter()
        assert numbers.owners(there[0])
        opened = (time.perf_counter() - began) * 1e6
        assert all(map(numbers.owners, there))
        assert not any(map(numbers.owners, beside))
        figures = {
            OWNERS: microseconds(numbers.owners, there),
            NOBODY: microseconds(numbers.owners, beside),
            "does the list hold a number": microseconds(numbers.holds, there),
            "one number again and again": microseconds(numbers.owners, there[:1] * options.looks),
            "text that is no number": microseconds(numbers.owners, ["anonymous"] * options.looks),
            "refresh, nothing to do": microseconds(lambda _number: numbers.refresh(0.5), there),
        }
        own = own_megabytes() - before
        shared, octets = mapped_megabytes(place), place.stat().st_size
        imported(source, place)
        began = time.perf_counter()
        numbers.refresh(10.0)
        assert numbers.owners(there[0])
        exchanged = (time.perf_counter() - began) * 1e6
    table = {
        "import, seconds": f"{seconds:.1f}",
        "its memory at most, MB": f"{megabytes:.0f}",
        "the file, MB": f"{octets / 1e6:.1f}",
        "of it in memory, shared by all processes, MB": f"{shared:.1f}",
        "memory of each process, MB": f"{own:.1f}",
        "first look-up, which opens the file, us": f"{opened:.0f}",
        "first look-up after an exchange, us": f"{exchanged:.0f}",
        **{f"{what}, us": f"{figure:.2f}" for what, figure in figures.items()},
    }
    print(f"{options.numbers:,} numbers of {options.customers:,} customers\n")
    print("\n".join(f"| {what} | {figure} |" for what, figure in table.items()))
    slowest = max(figures[OWNERS], figures[NOBODY])
    print(f"\nA look-up: {slowest:.2f} us, {'reached' if slowest <= WITHIN else 'missed'} (at most {WITHIN:g}).")
    print(f"\n{in_short()}, Python {sys.version.split()[0]}")
    return 0 if slowest <= WITHIN else 1


if __name__ == "__main__":
    sys.exit(main())
