"""Runs the checks: those of files one after another, those that may have to wait beside them, each with its own time limit.

A check that does not come back is left behind; one that fails is a finding of its own. Neither costs another check anything.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from threading import Thread
from typing import Final

from kamailio_app.doctor.checks import CHECKS
from kamailio_app.doctor.finding import Check, Finding, NotLookedAt, Seen, State, bad, failed, unseen
from kamailio_app.doctor.site import Site
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line

_NOTHING_TO_DO: Final = (State.GOOD,)
_LONGEST: Final = 400  # characters


class _Run:
    """One check under way, in a thread that holds up nobody who leaves."""

    def __init__(self, check: Check, site: Site) -> None:
        self._check, self._site = check, site
        self._seen: list[Seen] | None = None
        self._ends = time.monotonic() + check.seconds
        self._thread = Thread(target=self._look, name=f"{check.area}: {check.name}", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        self._seen = _looked(self._check, self._site)

    def findings(self) -> list[Finding]:
        """Wait for it, for as long as it may take."""
        self._thread.join(max(0.0, self._ends - time.monotonic()))
        seen = self._seen
        if seen is None:
            seen = [
                unseen(
                    f"nothing came of it in {self._check.seconds:g} s",
                    "Something that it asks does not answer: network or disk.",
                )
            ]
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
    with warnings.catch_warnings():
        # Set once here: what is odd in a certificate is nobody's business on the terminal, and threads cannot set it apart
        warnings.simplefilter("ignore")
        waiting = {id(check): _Run(check, site) for check in chosen if check.asks and not _left_out(check, site)}
        findings: list[Finding] = []
        for done, check in enumerate(chosen):
            told(done, len(chosen))
            if _left_out(check, site):
                findings.append(_finding(check, unseen("nothing outside of this host is asked (--offline)")))
            else:
                findings += (waiting.get(id(check)) or _Run(check, site)).findings()
        told(len(chosen), len(chosen))
    return findings


def worst(findings: Iterable[Finding]) -> State:
    """What weighs most."""
    order = list(State)
    return max((finding.state for finding in findings), key=order.index, default=State.GOOD)


def _left_out(check: Check, site: Site) -> bool:
    return check.asks == "network" and site.offline


def _looked(check: Check, site: Site) -> list[Seen]:
    seen: list[Seen] = []
    try:
        for each in check.look(site):
            seen.append(each)
    except NotLookedAt as error:
        seen.append(unseen(error.words, error.fix))
    except StirError as error:
        seen.append(failed(error, state=State.UNSEEN if error.token.startswith("server_") else State.BAD))
    except Exception as error:  # noqa: BLE001 - a defect of one check costs no other
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"internal_error: {type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"
        seen.append(bad(words, FAILURES["internal_error"].advice))
    return seen


def _finding(check: Check, seen: Seen) -> Finding:
    fix = "" if seen.state in _NOTHING_TO_DO else seen.fix or check.fix
    return Finding(
        check.area, check.name, seen.state, one_line(seen.words, _LONGEST), one_line(fix, _LONGEST), seen.clause or check.clause
    )
