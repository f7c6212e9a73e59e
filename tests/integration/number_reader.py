"""A process that looks numbers up while they are exchanged: `python -m tests.integration.number_reader PATH GENERATIONS`.

In generation n all numbers that are asked for belong to customer gn. Prints how often it looked and how many generations it
saw; fails if a number is nobody's, if a generation comes back, or if anything is said to be wrong.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from kamailio_app.runtime.numbers import Numbers

PATIENCE = 60.0
ASKED = ("12155550000", "12155551212", "12155559999", "33123456789")


def main(path: str, generations: str) -> int:
    numbers = Numbers(Path(path))
    former, seen, looks = -1, 0, 0
    deadline = time.monotonic() + PATIENCE
    while former < int(generations):
        if time.monotonic() > deadline:
            print(f"generation {former} is still in use", file=sys.stderr)
            return 1
        # Each turn is a second later, as far as the list knows
        numbers.refresh(float(looks))
        looks += 1
        answers = {numbers.owners(number) for number in ASKED}
        if len(answers) != 1 or answers == {()} or numbers.error is not None:
            print(f"{answers} {numbers.error}", file=sys.stderr)
            return 1
        generation = int(answers.pop()[0].removeprefix("g"))
        if generation < former:
            print(f"generation {generation} after {former}", file=sys.stderr)
            return 1
        seen += generation != former
        former = generation
        if looks == 1:
            print("ready", flush=True)
    print(looks, seen)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
