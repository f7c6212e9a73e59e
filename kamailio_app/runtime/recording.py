"""From the memory that the workers write calls to, to the files of one directory: what the recorder does, turn by turn."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from kamailio_app.runtime.record import RecordRules
from kamailio_app.runtime.record_line import line_of
from kamailio_app.runtime.record_ring import Mark, Ring, store_number
from kamailio_app.runtime.record_store import Place, Segment, Store, places

Say = Callable[[Literal["err", "info"], str], None]

_SYNC_EVERY: Final = 1.0  # seconds
_RETAIN_EVERY: Final = 60.0
_INDEX_AGAIN: Final = 60.0
_CHUNK: Final = 1 << 20
_PATIENCE: Final = 5.0  # with another recorder, before it is said


class Recording:
    """To one directory, by one set of rules. Errors of the disk: OSError, and then the next turn begins where the last good
    one ended.
    """

    def __init__(self, ring: Ring, rules: RecordRules, say: Say, clock: Callable[[], float] = time.time) -> None:
        self._ring = ring
        self._rules = rules
        self._say = say
        self._clock = clock
        self._store = Store(rules.directory, rules.days, rules.megabytes << 20)
        self._number = store_number(rules.directory)
        self.complete = False  # all that was in memory is written
        self._mine = False
        self._segment: Segment | None = None
        self._to_index: deque[Place] = deque()
        self._index_said = self._retain_said = False
        self._synced = self._retained = self._index_from = float("-inf")
        self._asked = time.monotonic()
        self._other_said = False

    def turn(self, *, index: bool = True) -> bool:
        """Do what there is to do, for some milliseconds: True if there is more."""
        self.complete = False
        if not self._acquired():
            return False
        more = self._drain()
        self.complete = not more
        now = time.monotonic()
        if now - self._synced >= _SYNC_EVERY:
            self._synced = now
            self._sync()
        if now - self._retained >= _RETAIN_EVERY:
            self._retained = now
            self._retain()
        return more or (index and now >= self._index_from and self._index())

    def close(self) -> None:
        """Errors: OSError, and then all is closed."""
        segment, self._segment = self._segment, None
        try:
            if segment is not None:
                segment.sync()
        finally:
            if segment is not None:
                segment.close()
            self._store.release()
            self._mine = False

    # --- From memory to disk ------------------------------------------------------------------------------------

    def _acquired(self) -> bool:
        """One recorder at a time: that of a server which was just ended may still have something to write."""
        if self._mine:
            return True
        self._mine = self._store.acquire()
        if not self._mine:
            if not self._other_said and time.monotonic() - self._asked > _PATIENCE:
                self._other_said = True
                self._say("err", f"record: another recorder writes to {self._rules.directory}; calls wait in memory")
            return False
        if self._store.last_writer != self._ring.identity:
            # What somebody else wrote there meanwhile is not ours to cut: forget first, then sign
            self._ring.commit(self._ring.mark._replace(store=0))
            self._store.last_writer = self._ring.identity
        self._to_index = deque(places(self._rules.directory))
        return True

    def _drain(self) -> bool:
        ring = self._ring
        octets = ring.read(_CHUNK)
        whole = octets.rfind(b"\n") + 1
        if not whole and len(octets) < _CHUNK:
            return False
        taken = ring.mark.taken
        end = taken + (whole or len(octets))  # a chunk without an end was written by nobody
        self._resume()
        texts: list[bytes] = []
        day, torn = 0, 0
        for frame in octets[:whole].split(b"\n")[:-1]:
            line = line_of(frame, self._rules.mask)
            if line is None:
                torn += 1
            elif line.day == day or not texts:
                day = line.day
                texts.append(line.text)
            else:
                self._write(day, texts, taken)
                day, texts = line.day, [line.text]
            taken += len(frame) + 1
        if texts:
            self._write(day, texts, end)
        else:
            ring.commit(ring.mark._replace(taken=end))
        if torn:
            self._say("err", f"record: {torn} calls were not recorded: the process that wrote them was killed while it did")
        ring.release()
        return len(octets) == _CHUNK

    def _write(self, day: int, texts: list[bytes], taken: int) -> None:
        place = self._store.place_for(day, self._segment)
        if self._segment is None or self._segment.place != place:
            self._switch(place)
        segment = self._segment
        assert segment is not None
        try:
            segment.append(b"".join(texts))
        except OSError:
            self._give_up()
            raise
        self._ring.commit(Mark(taken, segment.length, place, self._number))

    def _resume(self) -> None:
        """After a recorder that was killed, or trouble: what it wrote and did not commit is still in memory."""
        mark = self._ring.mark
        if self._segment is not None or mark.store != self._number:
            return
        self._segment = Segment(self._rules.directory, mark.place)
        try:
            self._segment.cut(mark.length)
        except OSError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Leave no half line behind, if the disk allows it; `_resume` does it again."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.cut(self._ring.mark.length if self._ring.mark.place == segment.place else None)
        finally:
            segment.close()

    def _switch(self, place: Place) -> None:
        if self._segment is not None:
            former, self._segment = self._segment, None
            self._to_index.append(former.place)
            try:
                former.sync()
            finally:
                former.close()
        self._retain(place, self._store.reserve)
        segment = Segment(self._rules.directory, place)
        try:
            torn = segment.cut()
            segment.recall_index()
        except OSError:
            segment.close()
            raise
        if torn:
            self._say("info", f"record: {place.name}: cut a last line of {torn} octets that nobody completed")
        self._segment = segment
        # Before the first line: whoever takes over has to know which file there was before it
        self._ring.commit(self._ring.mark._replace(length=segment.length, place=place, store=self._number))

    # --- Beside it ----------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        if self._segment is None:
            return
        self._segment.sync()
        if not self._segment.there:
            self._say("err", f"record: {self._segment.place.name} was taken away; it is begun again")
            self.close()

    def _retain(self, current: Place | None = None, reserve: int = 0) -> None:
        current = current or (self._segment.place if self._segment is not None else None)
        try:
            gone = self._store.retain(self._clock(), current, reserve)
        except OSError as error:  # costs the disk's space, and no call its record
            if not self._retain_said:
                self._retain_said = True
                self._say("err", f"record: old files cannot be removed: {error}")
            return
        self._retain_said = False
        for place in gone:
            self._say("info", f"record: {place.name} removed: older than record_days, or more than record_megabytes")

    def _index(self) -> bool:
        """A run of the file in use, or else of one that is not complete: True if there may be more."""
        if self._segment is not None and self._indexed(self._segment):
            return True
        if not self._to_index:
            return False
        place = self._to_index.popleft()
        if (self._segment is None or place != self._segment.place) and place.file(self._rules.directory).exists():
            segment = Segment(self._rules.directory, place)
            try:
                if self._indexed(segment, all_of_it=True):
                    self._to_index.appendleft(place)
            finally:
                segment.close()
        return bool(self._to_index)

    def _indexed(self, segment: Segment, *, all_of_it: bool = False) -> bool:
        """An index that cannot be written costs those who ask time, and no call its record."""
        try:
            more = segment.index(all_of_it=all_of_it)
        except (sqlite3.Error, OSError) as error:
            self._index_from = time.monotonic() + _INDEX_AGAIN
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                segment.forget_index()
                self._index_from = 0.0
            if all_of_it:
                self._to_index.append(segment.place)
            if not self._index_said:
                self._index_said = True
                self._say("err", f"record: index of {segment.place.name}: {error}; it is made later")
            return False
        if more:
            self._index_said = False
        return more
