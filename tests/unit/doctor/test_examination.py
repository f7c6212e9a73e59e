"""No check costs another one anything: not one that hangs, not one that fails."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.doctor.examination import examine, worst
from kamailio_app.doctor.finding import Check, Finding, NotLookedAt, Seen, State, bad, good
from kamailio_app.doctor.site import Site
from kamailio_app.errors import failure


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set when the test is over, so that no thread of it is left."""
    event = threading.Event()
    yield event
    event.set()


def check(
    name: str,
    *seen: Seen,
    area: str = "files",
    error: Exception | None = None,
    wait: threading.Event | None = None,
    **more: object,
) -> Check:
    def look(_site: Site) -> Iterator[Seen]:
        yield from seen
        if wait is not None:
            wait.wait(60)
        if error is not None:
            raise error

    return Check(area, name, "about", "fix it", "clause", look, **more)  # type: ignore[arg-type]


def run(*checks: Check, **options: bool) -> list[Finding]:
    return examine(Site(Path("/nowhere.toml"), **options), checks=checks)  # type: ignore[arg-type]


def test_findings_are_in_the_order_of_the_table() -> None:
    found = run(check("a", good("1"), bad("2"), asks="host"), check("b", good("3")), check("c"))
    assert [(each.check, each.seen, each.fix) for each in found] == [("a", "1", ""), ("a", "2", "fix it"), ("b", "3", "")]
    assert worst(found) is State.BAD


@pytest.mark.parametrize("asks", ["", "host", "network"])
def test_check_that_hangs_holds_up_nobody_and_what_it_saw_stays(asks: str, never: threading.Event) -> None:
    began = time.monotonic()
    hanging = [check(f"hangs {number}", bad("seen before"), wait=never, asks=asks, seconds=0.2) for number in range(3)]
    found = run(*hanging, check("after", good("fine")))
    assert time.monotonic() - began < 3
    assert [each.state for each in found] == [State.BAD, State.UNSEEN] * 3 + [State.GOOD]
    assert "did not come to its end in 0.2 s" in found[1].seen


def test_disk_that_hangs_is_waited_for_once(never: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.doctor.examination._FOR_FILES", 0.3)
    monkeypatch.setattr("kamailio_app.doctor.examination._LEAST", 0.01)
    began = time.monotonic()
    assert {each.state for each in run(*(check(str(number), wait=never) for number in range(40)))} == {State.UNSEEN}
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("error", "state", "words", "fix"),
    [
        (NotLookedAt("it is not here", "put it here"), State.UNSEEN, "it is not here", "put it here"),
        (failure("crl_stale", "yesterday"), State.BAD, "crl_stale: yesterday", "ask the STI-PA"),
        (failure("server_unreachable", "no socket"), State.UNSEEN, "server_unreachable", ""),
        (PermissionError(13, "Permission denied", "/etc/x"), State.UNSEEN, "/etc/x: Permission denied", "as root"),
        (ZeroDivisionError("a defect"), State.BAD, "internal_error: ZeroDivisionError: a defect", "Report it"),
    ],
)
def test_what_a_check_raises_is_its_last_finding(error: Exception, state: State, words: str, fix: str) -> None:
    first, last, other = run(check("a", good("seen"), error=error), check("b", good("fine")))
    assert (first.state, other.state) == (State.GOOD, State.GOOD)
    assert (last.state, last.seen.startswith(words)) == (state, True)
    assert fix in last.fix


def test_offline_asks_nothing_outside_of_this_host() -> None:
    outside = check("a", error=AssertionError("asked"), asks="network")
    found = run(outside, check("b", good("of this host"), asks="host"), offline=True)
    assert [each.state for each in found] == [State.UNSEEN, State.GOOD]


def test_areas_are_chosen_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    checks = [check("a", good("1")), check("b", good("2"), area="pairs", asks="host"), check("c", good("3"), area="trust")]
    found = examine(
        Site(Path("/nowhere.toml")), ["files", "pairs"], checks=checks, told=lambda *progress: told.append(progress)
    )
    assert [each.check for each in found] == ["a", "b"]
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_text_of_others_is_one_line_of_ascii() -> None:
    (found,) = run(check("a", bad("\x1b[31mred\n" + "x" * 1000)))
    assert found.seen.isprintable()
    assert len(found.seen) < 500


def test_warnings_of_libraries_are_nobodys_business() -> None:
    before = list(warnings.filters)

    def look(_site: Site) -> Iterator[Seen]:
        warnings.warn("a certificate is odd", UserWarning, stacklevel=1)
        yield good("fine")

    assert run(Check("files", "a", "", "", "", look))[0].state is State.GOOD
    assert warnings.filters == before
