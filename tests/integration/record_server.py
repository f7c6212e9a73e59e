"""A server that does nothing but record calls: workers, a keeper, and the program with the recorder, as Kamailio has them.

Each worker notes a call in a journal of its own after it put it into the record: what must be found there later. A program:
directory, name of the server, number of workers.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kamailio_app.runtime import link
from kamailio_app.runtime.link import Keeper, Orders
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.trust import Trust

_PAUSE: Final = 0.0005  # seconds of a worker, between two calls


def _work(record: Record, directory: Path, name: str) -> None:
    journal = os.open(directory / f"journal-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fields = ("pbx", "acme", "12155550121", "12155550131", "A", "de305d54-75b4-431b-adb2-eb6b9e546014", "1234", "ab" * 32)
    number = 0
    while True:
        number += 1
        now, call_id = time.time(), f"{name}-{number}"
        if record.put(now, call_id, *fields, "own", 43, "", "signed"):
            os.write(journal, f"{call_id} {now}\n".encode())
        time.sleep(_PAUSE)


def _configuration(directory: Path) -> Mapping[str, object]:
    path = directory / "stirshaken.toml"
    return {"path": str(path), "settings": path.read_text(), "anchors": "", "generation": "0:0", "trust": list(Trust())}


def main(directory: Path, name: str, workers: int) -> None:
    link._LONGEST_PAUSE = 0.1  # type: ignore[misc] # tests kill what it starts again and again
    record, orders = Record(), Orders()
    for number in range(workers):
        if os.fork() == 0:
            _work(record, directory, f"{name}-{number}")
    keeper = Keeper(orders, lambda level, text: print(level, text, flush=True), record=record.fds)
    keeper.configure(_configuration(directory))
    while True:
        for answer in keeper.answers(0.2):
            if answer["kind"] == "log":
                print(answer["level"], answer["text"], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
