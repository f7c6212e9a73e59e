"""Every process of a laboratory's Kamailio writes a log of its own, NAME.PID beside NAME.

glibc from 2.37 on writes a line to stderr in pieces of 128 octets, and those of two processes get into each other: such a log
cannot be put right afterwards. Python imports this module by its name when Kamailio starts it, and Kamailio tells Python of
each fork.
"""

from __future__ import annotations

import os

VARIABLE = "STIRSHAKEN_LAB_LOG"


def _own_log() -> None:
    if path := os.environ.get(VARIABLE):
        log = os.open(f"{path}.{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(log, 2)
        os.close(log)


os.register_at_fork(after_in_child=_own_log)
