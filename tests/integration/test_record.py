"""The call record when processes are killed with SIGKILL: the recorder, the server, all at once. Real processes, real files.

Every call that a worker put into the record is there once, but for the last second when nobody is left who could write it.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from kamailio_app.runtime.record_search import Question, search
from kamailio_app.runtime.record_store import Store, places
from tests.integration.record_site import Server
from tests.integration.traffic import until

MAX_LOST = 1.0  # seconds before everything was killed


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # of the container's first process, which may reap nobody
    except psutil.NoSuchProcess:
        return True


def assert_all_once(server: Server) -> int:
    """All that is in the journals, and at most one call more of each worker: how many."""
    recorded, journal = Counter(server.recorded()), server.journal()
    assert [call_id for call_id, count in recorded.items() if count > 1] == []
    lost = sorted(seconds for call_id, seconds in journal.items() if call_id not in recorded)
    assert not lost, f"{len(lost)} calls, {lost[0]} to {lost[-1]} of those until {max(journal.values())}: {server.log()}"
    assert len(recorded) <= len(journal) + 2
    return len(recorded)


def assert_index_is_good(directory: Path, call_id: str) -> None:
    """What the command finds, whatever is indexed by now."""
    assert [call["call_id"] for call in search(directory, Question({"call_id": call_id})).calls] == [call_id]


def test_recorder_that_is_killed_loses_nothing_and_writes_nothing_twice(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        for number in range(10):
            server.has_recorded(server.size() + 20_000)
            # Each time at another moment of its work
            time.sleep(0.027 * number)
            recorder.kill()
            recorder = server.recorder(other_than=recorder.pid)
        # One that is killed together with the server, before it was told what to do, writes nothing
        server.has_recorded(server.size() + 20_000)
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        count = assert_all_once(server)
        assert server.log().count("ended with status -9") == 10
        assert "not recorded" not in server.log()
        print(f"{count} calls, ten kills of the recorder")


def test_recorder_that_hangs_is_caught_up_with(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        server.has_recorded(1000)
        recorder.suspend()
        before = len(server.journal())
        until(lambda: len(server.journal()) > before + 500, "calls that nobody takes away")
        recorder.kill()  # while it is suspended
        another = server.recorder(other_than=recorder.pid)
        until(lambda: len(server.recorded(alive=True)) > before + 500, "the calls of meanwhile")
        server.kill_server()
        until(lambda: gone(another), "the recorder's end")
        assert_all_once(server)


def test_server_that_is_killed_leaves_a_whole_record(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        server.has_recorded(50_000)
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end", 5)
        count = assert_all_once(server)
        print(f"{count} calls, none lost")


def test_all_that_is_killed_at_once_loses_the_last_second_at_most(tmp_path: Path) -> None:
    longest = 0.0
    for number in range(4):
        with Server(tmp_path, f"s{number}") as server:
            server.recorder()
            server.has_recorded(server.size() + 50_000)
            time.sleep(0.05 * number)
            killed = server.kill_all()
            until(
                lambda: not (tmp_path / "calls" / "lock").exists() or _unlocked(tmp_path / "calls"), "the end of the recorder"
            )
            octets = places(server.calls)[-1].file(server.calls).read_bytes()
            # The next one cuts what is torn; for us it is no line
            _whole(server.calls, octets)
            recorded, journal = Counter(server.recorded()), server.journal()
            assert max(recorded.values()) == 1
            lost = [killed - seconds for call_id, seconds in journal.items() if call_id not in recorded]
            longest = max([longest, *lost])
            assert longest < MAX_LOST
    # And the store opens clean: what the former ones left is whole, and the next goes on behind it
    with Server(tmp_path, "last") as server:
        recorder = server.recorder()
        until(lambda: server.recorded(alive=True), "calls of the next server")
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        assert_all_once(server)
        assert_index_is_good(server.calls, server.recorded()[0])
    print(f"lost: the last {longest * 1000:.0f} ms")


def _whole(directory: Path, octets: bytes) -> None:
    """Cut the last line if it is torn, as the next server's recorder does."""
    os.truncate(places(directory)[-1].file(directory), octets.rfind(b"\n") + 1)


def _unlocked(directory: Path) -> bool:
    store = Store(directory, 1, 1 << 30)
    mine = store.acquire()
    store.release()
    return mine


def test_last_line_that_is_torn_is_cut_when_the_server_starts(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        server.has_recorded(1000)
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        place = places(server.calls)[-1]
        with place.file(server.calls).open("ab") as file:
            file.write(b'{"time":"2026-11-23T23:30:00.123Z","call_id":"torn')
    with Server(tmp_path, "b") as another:
        recorder = another.recorder()
        until(
            lambda: b"b-0-1" in b"".join(p.file(another.calls).read_bytes() for p in places(another.calls)), "calls of the next"
        )
        # At midnight there is another file, and this one is cut by nobody
        until(lambda: "cut a last line of 50 octets" in another.log() or len(places(another.calls)) > 1, "a line in the log")
        another.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        assert_all_once(server)
        assert_all_once(another)


def test_server_that_starts_while_the_former_ones_recorder_is_busy(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as former, Server(tmp_path, "b") as server:
        first, second = former.recorder(), server.recorder()
        until(lambda: former.recorded(alive=True) or server.recorded(alive=True), "calls of one of them")
        # One of them writes; the other one's calls wait for its end
        writes, waits = (former, server) if former.recorded(alive=True) else (server, former)
        assert waits.recorded(alive=True) == []
        writes.kill_server()
        until(lambda: waits.recorded(alive=True), "calls of the other")
        waits.kill_server()
        until(lambda: gone(first) and gone(second), "the recorders' end")
        assert_all_once(writes)
        assert_all_once(waits)


def test_disk_that_is_full_costs_nothing_when_there_is_room_again(tmp_path: Path) -> None:
    """The recorder may not make files larger than this: the kernel refuses as if the disk were full, in the midst of a line."""
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        server.has_recorded(1000)
        full = places(server.calls)[0].file(server.calls).stat().st_size + 100_000
        resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        until(lambda: "calls wait in memory until it is over" in server.log(), "a line in the log")
        count = len(server.journal())
        until(lambda: len(server.journal()) > count + 1000, "calls that cannot be written")
        assert max(place.file(server.calls).stat().st_size for place in places(server.calls)) <= full
        assert server.log().count("calls wait in memory") == 1
        resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: "record: in use again" in server.log(), "a line in the log")
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        assert_all_once(server)


def test_recorder_that_is_killed_while_the_disk_is_full(tmp_path: Path) -> None:
    with Server(tmp_path, "a") as server:
        recorder = server.recorder()
        server.has_recorded(1000)
        resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        until(lambda: "calls wait in memory until it is over" in server.log(), "a line in the log")
        recorder.kill()
        another = server.recorder(other_than=recorder.pid)
        server.has_recorded(300_000)
        server.kill_server()
        until(lambda: gone(another), "the recorder's end")
        assert_all_once(server)


@pytest.mark.parametrize("workers", [1, 4])
def test_frames_of_many_workers_are_whole(tmp_path: Path, workers: int) -> None:
    with Server(tmp_path, "a", workers) as server:
        recorder = server.recorder()
        server.has_recorded(100_000)
        server.kill_server()
        until(lambda: gone(recorder), "the recorder's end")
        recorded = server.recorded()
        assert len(recorded) == len(set(recorded))
        for number in range(workers):
            mine = [int(call_id.rpartition("-")[2]) for call_id in recorded if call_id.startswith(f"a-{number}-")]
            assert mine == [*range(1, len(mine) + 1)]
        assert "not recorded" not in server.log() or "1 calls were not recorded: the process that wrote" in server.log()
