"""Runs the checks: those of files one after another, those that may have to wait beside them, each with its own time limit.

A check that does not come back is left behind; one that fails is a finding of its own. Neither costs another check anything.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import inf
from threading import Thread
from typing import Final

from kamailio_app.doctor.checks import CHECKS
from kamailio_app.doctor.finding import Check, Finding, NotLookedAt, Seen, State, bad, failed, unseen
from kamailio_app.doctor.site import Site
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line

_FOR_FILES, _LEAST = 10.0, 0.2  # seconds
_LONGEST: Final = 400  # characters
_SILENCE: Final = "What it asks does not answer, network or disk: look there."
_OFFLINE: Final = unseen("nothing outside of this host is asked (--offline)")


class _Run:
    """One check under way, in a thread that holds up nobody who leaves."""

    def __init__(self, check: Check, site: Site, seconds: float = inf) -> None:
        self._check = check
        self._seconds = min(check.seconds, seconds)
        self._ends = time.monotonic() + self._seconds
        self._seen: list[Seen] = []
        self._thread = Thread(target=lambda: self._seen.extend(_looked(check, site)), daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Wait for it, for as long as it may take: what it has seen until then."""
        self._thread.join(max(0.0, self._ends - time.monotonic()))
        late = self._thread.is_alive()
        seen = [*self._seen, *([unseen(f"it did not come to its end in {self._seconds:.1f} s", _SILENCE)] if late else [])]
        return [_finding(self._check, each) for each in seen]


def examine(
    site: Site,
    areas: Collection[str] = (),
    *,
    checks: Sequence[Check] = CHECKS,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Finding]:
    """What the checks of these areas (none: of all) see, in the order of the table. `told` is told how many are done, and of
    how many. Changes nothing, raises nothing.
    """
    chosen = [check for check in checks if not areas or check.area in areas]
    found = {check: [_finding(check, _OFFLINE)] for check in chosen if check.asks == "network" and site.offline}
    with warnings.catch_warnings():
        # Set once here: what is odd in a certificate is nobody's business on the terminal, and threads cannot set it apart
        warnings.simplefilter("ignore")
        waiting = {check: _Run(check, site) for check in chosen if check.asks and check not in found}
        # A disk that hangs does so for all of them
        ends = time.monotonic() + _FOR_FILES
        for check in chosen:
            if not check.asks:
                told(len(found), len(chosen))
                found[check] = _Run(check, site, max(_LEAST, ends - time.monotonic())).findings()
        for check, run in waiting.items():
            told(len(found), len(chosen))
            found[check] = run.findings()
    told(len(found), len(chosen))
    return [finding for check in chosen for finding in found[check]]


def worst(findings: Iterable[Finding]) -> State:
    """What weighs most."""
    order = list(State)
    return max((finding.state for finding in findings), key=order.index, default=State.GOOD)


def _looked(check: Check, site: Site) -> Iterator[Seen]:
    """One after another; what it raises is the last."""
    try:
        yield from check.look(site)
    except NotLookedAt as error:
        yield unseen(error.words, error.fix)
    except StirError as error:
        yield failed(error, state=State.UNSEEN if error.token.startswith("server_") else State.BAD)
    except PermissionError as error:
        yield unseen(f"{error.filename}: {error.strerror}", "Run the doctor as root, or as Kamailio's user.")
    except Exception as error:  # noqa: BLE001 - a defect of one check costs no other
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"internal_error: {type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"
        yield bad(words, FAILURES["internal_error"].advice)


def _finding(check: Check, seen: Seen) -> Finding:
    fix = "" if seen.state is State.GOOD else seen.fix or check.fix
    clause = seen.clause or check.clause
    return Finding(check.area, check.name, seen.state, one_line(seen.words, _LONGEST), one_line(fix, _LONGEST), clause)
