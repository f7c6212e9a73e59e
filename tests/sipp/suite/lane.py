"""A lane: one running system, and its cases one after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Final

from kamailio_app.lab.edge import calls_in
from tests.sipp.suite import identity, recorded, trace, whole
from tests.sipp.suite.actions import ACTIONS, Action
from tests.sipp.suite.certificates import NotPublishedError
from tests.sipp.suite.check import Seen, check
from tests.sipp.suite.ends import Callee, Caller, SippError
from tests.sipp.suite.outcome import Result, Status
from tests.sipp.suite.scenario import Call, Case, Scenario
from tests.sipp.suite.system import System
from tests.sipp.suite.target import Side, Target

_CALL_SECONDS: Final = 20.0
_LOG_SECONDS: Final = 1.0
_PLACED_SECONDS: Final = 5.0
_AT_ONCE: Final = 200  # calls a second
_STEPS_OF_CALLS: Final = 3  # of many calls a reader sees the messages of the first


@dataclass(frozen=True)
class Work:
    """One case of one scenario for one target."""

    target: Target
    scenario: Scenario
    case: Case

    def result(self, status: Status, reason: str = "") -> Result:
        scenario = self.scenario
        name = self.case.name if len(scenario.cases) > 1 else ""
        return Result(
            self.target.name,
            scenario.name,
            name,
            scenario.title,
            scenario.about,
            scenario.clauses,
            scenario.side,
            status,
            reason=reason,
        )


class Lane:
    """`directory`: for the traces of its cases."""

    def __init__(self, system: System, directory: Path) -> None:
        self._system, self._directory = system, directory
        self._made: dict[str, dict[str, str]] = {}  # by scenario: Identity headers that are sent again

    def run(self, works: Iterable[Work], ended: Callable[[Result], None]) -> None:
        """Start the system and run the cases. What goes wrong in the suite is a result, and the next case runs."""
        works = list(works)
        done = 0
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            with self._system:
                for work in works:
                    ended(self._one(work))
                    done += 1
        except Exception as error:  # noqa: BLE001 - a system that does not start is its cases' result
            for work in works[done:]:
                ended(work.result(Status.ERROR, f"{type(error).__name__}: {error}"))
        finally:
            self._system.keep(self._directory)

    def _one(self, work: Work) -> Result:
        began = time.monotonic()
        try:
            result = self._case(work)
        except NotPublishedError as error:
            result = work.result(Status.NOT_SUPPORTED, str(error))
        except Exception as error:  # noqa: BLE001 - the other cases still run
            result = work.result(Status.ERROR, f"{type(error).__name__}: {error}")
        return replace(result, seconds=round(time.monotonic() - began, 3))

    def _case(self, work: Work) -> Result:
        scenario, case = work.scenario, work.case
        prefix = f"{scenario.name}-{case.name}-{time.monotonic_ns()}-"
        directory = self._directory / f"{scenario.name}{f'-{case.name}' if case.name else ''}"
        directory.mkdir(parents=True, exist_ok=True)
        for action in case.before:
            self._act(action)
        side = self._side(work, case.call)
        lines = self._headers(case.call, scenario.name)
        asked = len(self._system.lab.network.repository.asked)
        host, _, port = side.callee.rpartition(":")
        with (
            Callee(directory, scenario.flow(case.flow.callee), host, int(port)) as callee,
            self._meanwhile(work, directory, f"meanwhile-{prefix}") as waiting,
        ):
            caller = Caller(directory, scenario.flow(case.flow.caller), side.to, side.from_, options=case.flow.options)
            keys = _keys(case.call, side, caller.port, lines, prefix)
            try:
                caller.call(
                    call_id=f"{prefix}%u@{side.from_}", keys=keys, calls=case.calls, rate=case.rate, timeout=_CALL_SECONDS
                )
                with _Schedule(case.during, self._act):
                    caller_flow = caller.wait(_CALL_SECONDS + 5)
            finally:
                caller.stop()
            if waiting:
                waiting.wait(_CALL_SECONDS + 5)
            callee_flow = callee.finish()
        calls = trace.sights(caller.trace(), callee.trace(), prefix)
        log, words = self._logged(work, [call.call_id for call in calls])
        findings = check(
            case,
            Seen(
                calls,
                caller_flow,
                callee_flow,
                words,
                self._system.signer,
                work.target.supports,
                self._system.log() if work.target.log else None,
                trace.sights(waiting.trace(), callee.trace(), f"meanwhile-{prefix}") if waiting else (),
                self._system.lab.certificates.asked(asked),
                recorded.await_calls(self._system.record, [call.call_id for call in calls]) if case.expect.record else {},
            ),
        )
        few = tuple(call.call_id for call in calls[:_STEPS_OF_CALLS])
        return replace(
            work.result(Status.PASSED if all(finding.good for finding in findings) else Status.FAILED),
            findings=findings,
            steps=trace.steps(caller.trace(), callee.trace(), few or prefix),
            log=log,
        )

    @contextmanager
    def _meanwhile(self, work: Work, directory: Path, prefix: str) -> Iterator[Caller | None]:
        """Inside it the calls of `meanwhile` have been placed."""
        wanted = work.case.meanwhile
        if wanted is None:
            yield None
            return
        side = self._side(work, wanted.call)
        caller = Caller(directory, work.scenario.flow("uac.xml"), side.to, side.from_, name="meanwhile")
        keys = _keys(wanted.call, side, caller.port, self._headers(wanted.call, work.scenario.name), prefix)
        try:
            caller.call(call_id=f"{prefix}%u@{side.from_}", keys=keys, calls=wanted.calls, rate=_AT_ONCE, timeout=_CALL_SECONDS)
            deadline = time.monotonic() + _PLACED_SECONDS
            while len(trace.sights(caller.trace(), "", prefix)) < wanted.calls:
                if time.monotonic() > deadline:
                    raise SippError(f"the {wanted.calls} calls before the case's own were not placed")
                time.sleep(0.01)
            yield caller
        finally:
            caller.stop()

    def _side(self, work: Work, call: Call) -> Side:
        """Where the call goes in and comes out."""
        side = self._system.side(work.scenario.side)
        return replace(side, from_=self._system.trunks[call.trunk]) if call.trunk else side

    def _headers(self, call: Call, scenario: str) -> list[str]:
        lab = self._system.lab
        lines = list(call.headers)
        if not isinstance(call.date, str):
            lines.append(f"Date: {formatdate(time.time() - call.date, usegmt=True)}")
        elif call.date:
            lines.append(f"Date: {call.date}")
        recipes = tuple(
            replace(recipe, x5u=lab.certificates.kept(self._system.side("verify").to, recipe.certificate))
            if recipe.x5u == "kept"
            else recipe
            for recipe in call.identity
        )
        return lines + identity.headers(
            recipes, lab.network, lab.certificates, call.caller, call.called, made=self._made.setdefault(scenario, {})
        )

    def _act(self, action: Action) -> None:
        operated = self._system.operated
        if operated is None:
            raise SippError(f'the system cannot be operated: "{action.do}"')
        ACTIONS[action.do](operated, action)

    def _logged(self, work: Work, call_ids: list[str]) -> tuple[tuple[str, ...], dict[str, dict[str, str]] | None]:
        """The system's lines about the calls; and the words of this project's line of each. What is expected is awaited."""
        expect = work.case.expect
        awaited = call_ids if expect.token is not None or expect.log else []
        deadline = time.monotonic() + _LOG_SECONDS
        while True:
            log = self._system.log()
            words = calls_in(log)
            complete = all(call_id in words for call_id in awaited) and all(one.good for one in whole.said(expect.said, log))
            if complete or not work.target.log or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        lines = tuple(line for line in log.splitlines() if any(call_id in line for call_id in call_ids))
        return lines, words if work.target.log else None


class _Schedule:
    """Actions at their moments, in a thread, until the calls have ended."""

    def __init__(self, actions: tuple[Action, ...], act: Callable[[Action], None]) -> None:
        self._actions, self._act = actions, act
        self._over = threading.Event()
        self._error: Exception | None = None
        self._threads = [threading.Thread(target=self._run, args=(action,), daemon=True) for action in actions]

    def __enter__(self) -> _Schedule:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(15)
        if self._error:
            raise self._error

    def _run(self, action: Action) -> None:
        try:
            if self._over.wait(action.at):
                raise SippError(f'the calls had ended before "{action.do}"')
            self._act(action)
            while action.every and not self._over.wait(action.every):
                self._act(action)
        except Exception as error:  # noqa: BLE001 - told to the case
            self._error = error


def _keys(call: Call, side: Side, port: int, lines: list[str], subject: str) -> dict[str, str]:
    """What call/uac.xml fills in."""
    return {
        "caller": call.caller,
        "called": call.called,
        "ruri": call.request_uri or f"sip:{call.called}@{side.to}",
        "from": call.from_ or f"<sip:{call.caller}@{side.from_}:{port}>",
        "to": call.to or f"<sip:{call.called}@{side.to}>",
        "extra": "\r\n".join([f"Subject: {subject.rpartition('-')[0]}", *lines]),
        "inside": "\r\n".join(call.inside or ("Max-Breadth: 60",)),
        "sdp": "\r\n".join(call.sdp or ("a=sendrecv",)),
    }
