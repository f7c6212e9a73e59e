"""The recorder: a thread of the program beside the SIP server that brings the call record from memory to disk.

What the workers wrote (`record`) becomes lines in files, their index follows, old files go (`recording`). Killed at any moment
it loses nothing and writes nothing twice while the server lives; if the server is killed it writes down what is left, and ends.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from kamailio_app.runtime.record import RecordRules
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.recording import Recording, Say

EVERY: Final = 0.2  # seconds
_SAY_LOST_EVERY: Final = 10.0
_PAUSE: Final = 1.0  # after trouble with the disk
_LAST_WAIT: Final = 1.0  # the server may have hung up and live
_LAST_WORK: Final = 30.0


class Recorder:
    """The thread. `record`: the two file descriptors of `Record.fds`; `say` is called in the thread."""

    def __init__(self, record: Sequence[int], say: Say, clock: Callable[[], float] = time.time) -> None:
        memory, control = record
        self._ring = Ring(memory, control)
        self._say = say
        self._clock = clock
        self._rules = RecordRules()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._gone: Callable[[], bool] | None = None
        self._asked_to_end = 0.0
        self._trouble = False
        self._lost_said = self._ring.lost
        self._lost_looked_at = 0.0

    def configure(self, rules: RecordRules) -> None:
        """From now on by these rules. Where nothing is recorded there is no thread."""
        with self._lock:
            self._rules = rules
        self._wake.set()
        self.keep_running()

    def keep_running(self) -> None:
        """Start the thread if there should be one."""
        with self._lock:
            if self._rules.calls and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()

    def finish(self, gone: Callable[[], bool]) -> None:
        """Write down what is left, and end. `gone`: is nobody left who could write?"""
        self._asked_to_end = time.monotonic()
        self._gone = gone
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._ring.close()

    def _run(self) -> None:
        others = True
        while True:
            with self._lock:
                rules = self._rules
                if not others or not rules.calls:
                    self._thread = None
                    return
            recording = Recording(self._ring, rules, self._say, self._clock)
            try:
                others = self._record(recording, rules)
            finally:
                with suppress(OSError):
                    recording.close()

    def _record(self, recording: Recording, rules: RecordRules) -> bool:
        """Until there are other rules to do it by: True; or nothing will be written any more."""
        while True:
            self._wake.clear()
            gone = self._gone is not None and self._gone()  # before the turn: nobody wrote after it
            more, good = self._turn(recording)
            if more:
                continue
            if self._over() or (gone and good and recording.complete):
                return False
            if self._rules != rules:
                return True
            self._wake.wait(EVERY if good else _PAUSE)

    def _over(self) -> bool:
        """The server may have hung up and live: another recorder goes on, or this one's patience would be its."""
        if self._gone is None:
            return False
        return time.monotonic() - self._asked_to_end > (_LAST_WORK if self._gone() else _LAST_WAIT)

    def _turn(self, recording: Recording) -> tuple[bool, bool]:
        """Is there more, and was it good?"""
        try:
            more = recording.turn(index=self._gone is None)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, sqlite3.Error) as error:
            if not self._trouble:
                self._trouble = True
                self._say("err", f"record: {error!r}; calls wait in memory until it is over, as far as there is room")
            return False, False
        if self._trouble:
            self._trouble = False
            self._say("info", "record: in use again")
        self._say_lost()
        return more, True

    def _say_lost(self) -> None:
        now = time.monotonic()
        if now - self._lost_looked_at < _SAY_LOST_EVERY:
            return
        self._lost_looked_at = now
        if (lost := self._ring.lost) > self._lost_said:
            self._say(
                "err", f"record: {lost - self._lost_said} calls were not recorded: the disk was too slow, or memory was short"
            )
            self._lost_said = lost
