"""`make fuzz`: a million mutated Identity headers, on all cores. Ends with 1 at the first that gets anything but a verdict.

A failure prints the seed and number that make it again: `python -m tests.fuzz --seed SEED --only NUMBER`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from typing import Final

from tests.fuzz.mutations import mutated
from tests.fuzz.oracle import verdict_of
from tests.unit.builders import request

_PART: Final = 5000
CALL: Final = request(resource_priority=("ets.0",))


def fuzz(seed: int, numbers: range) -> tuple[Counter[str], str]:
    """How often each token came ("valid" if none); and what went wrong first, or nothing."""
    tokens: Counter[str] = Counter()
    for number in numbers:
        field = mutated(random.Random(f"{seed}:{number}"))
        try:
            tokens[verdict_of(field, CALL).token or "valid"] += 1
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return tokens, f"--seed {seed} --only {number}: {type(error).__name__}: {error}\n{field.text[:2000]!r}"
    return tokens, ""


def _part(job: tuple[int, int, int]) -> tuple[Counter[str], str]:
    seed, begin, end = job
    return fuzz(seed, range(begin, end))


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_000)
    parser.add_argument("--only", type=int, default=-1, help="just this number")
    options = parser.parse_args()
    if options.only >= 0:
        field = mutated(random.Random(f"{options.seed}:{options.only}"))
        print(repr(field.text))
        print(verdict_of(field, CALL))
        return 0
    began, total, wrong = time.monotonic(), Counter[str](), ""
    jobs = [(options.seed, begin, min(begin + _PART, options.count)) for begin in range(0, options.count, _PART)]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for tokens, wrong in pool.imap_unordered(_part, jobs):
            total += tokens
            if wrong:
                break
    print(f"{total.total()} headers in {time.monotonic() - began:.0f} s, seed {options.seed}")
    for token, count in total.most_common():
        print(f"{count:9} {token}")
    if wrong:
        print(f"WRONG {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
