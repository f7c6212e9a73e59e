"""Keys and certificates change while calls go on: an edge that signs, an edge that verifies (real Kamailio, both modes).

Not one call is lost, and of those that were signed not one fails verification.
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import urlsafe_b64decode
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pytest

from kamailio_app.lab.edge import EXEC, KEMI
from kamailio_app.lab.network import CALLER, Network
from kamailio_app.lab.pki import ServiceProvider
from tests.integration.peer import Peer
from tests.integration.traffic import BUSY, BusyPhone, until

RATE = 80  # calls a second
SOME = 40  # calls that have to be seen before the next thing happens
_OTHER = {EXEC: KEMI, KEMI: EXEC}
_GRACE = 5.0  # seconds in which the last calls end


class Seen(NamedTuple):
    """A call as it reached the called phone. `pair`: whose certificate its Identity names; empty if it has none."""

    pair: str
    iat: int
    verstat: str


class Line:
    """Phone, signing edge, verifying edge, phone. Use as a context manager; what is called answers all calls."""

    def __init__(self, network: Network, directory: Path, cfg: str) -> None:
        self.network = network
        self.caller, self.callee = Peer(network.host(71)), Peer(network.host(72))
        self.verifying = network.edge(
            f"{directory.name}-verifying",
            74,
            _OTHER[cfg],
            inside=[self.callee.uri],
            carriers=[f"sip:{network.host(73)}:5060"],
        )
        self.signing = network.edge(
            f"{directory.name}-signing",
            73,
            cfg,
            inside=[self.caller.uri],
            carriers=[f"sip:{self.verifying.host}:{self.verifying.port}"],
        )
        self.target = (self.signing.host, self.signing.port)
        self._phone = BusyPhone(self.callee)

    def __enter__(self) -> Line:
        try:
            self.verifying.start()
            self.signing.start()
        except RuntimeError:
            self._stop()
            raise
        self._phone.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._phone.__exit__(kind, error, trace)
        self._stop()

    def _stop(self) -> None:
        self.signing.stop()
        self.verifying.stop()
        self.caller.close()
        self.callee.close()

    def add(self, name: str, *, spc: str = "1234", begins: float, ends: float = 0) -> None:
        """Publish a certificate for a new key, then give both to the edge that signs; it looks at its next reload."""
        issued = self.network.publish(name, ServiceProvider(spc, not_before=begins, not_after=ends))
        issued.write(self.signing.directory / "certs", name)

    def remove(self, name: str) -> None:
        for suffix in ("key", "pem"):
            (self.signing.directory / "certs" / f"{name}.{suffix}").unlink()

    def configure(self, settings: str) -> None:
        self.signing.settings_file.write_text(settings)
        self.signing.reload()

    def seen(self) -> dict[str, Seen]:
        """The calls that reached the phone, by Call-ID."""
        return {
            call_id: Seen(*_signed(request.header("identity")), _verstat(request.header("from")))
            for call_id, request in self._phone.seen.copy().items()
        }

    def signed_by(self, pair: str) -> int:
        return sum(call.pair == pair for call in self.seen().values())

    def call(self, caller: str = CALLER) -> Seen:
        """One call, until it has ended."""
        call_id = self.caller.invite(self.target, caller=caller)
        assert self.caller.final().code == BUSY
        return self.seen()[call_id]

    def tokens(self) -> set[str]:
        """Why calls were not signed, or not verified, as the logs have it."""
        calls = [*self.signing.calls().values(), *self.verifying.calls().values()]
        return {words["token"] for words in calls if words.get("token")}


def _signed(identity: str) -> tuple[str, int]:
    if not identity:
        return "", 0
    found = re.search(r";info=<[^>]*/([^/>]+)\.pem>", identity)
    assert found
    payload = identity.split(".")[1]
    return found[1], json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]


def _verstat(field: str) -> str:
    found = re.search(r";verstat=([A-Za-z-]+)", field)
    return found[1] if found else ""


class Load:
    """Calls at a pace, in a thread; none waits for another. Use as a context manager: at its end all have ended."""

    def __init__(self, line: Line) -> None:
        self.placed: set[str] = set()
        self.ended: dict[str, int] = {}
        self._line = line
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()

    def _serve(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            if (left := due - time.monotonic()) > 0:
                self._listen(left)
                continue
            self.placed.add(self._line.caller.invite(self._line.target))
            due += 1 / RATE
        deadline = time.monotonic() + _GRACE
        while len(self.ended) < len(self.placed) and time.monotonic() < deadline:
            self._listen(0.1)

    def _listen(self, seconds: float) -> None:
        with suppress(TimeoutError):
            answer = self._line.caller.response(seconds)
            if answer.code >= 200:
                self.ended.setdefault(answer.header("call-id"), answer.code)

    def assert_nothing_lost(self) -> None:
        assert self.ended.keys() == self.placed
        assert {*self.ended.values()} == {BUSY}
        assert self._line.seen().keys() >= self.placed


@pytest.fixture
def line(network: Network, tmp_path: Path, cfg: str) -> Line:
    """Not started yet."""
    return Line(network, tmp_path, cfg)


def test_rotation_under_load_fails_no_verification(network: Network, line: Line, cfg: str) -> None:
    mode = cfg.removesuffix(".cfg")
    first, second, third, fourth = (f"{mode}-{ordinal}" for ordinal in ("first", "second", "third", "fourth"))
    line.add(first, begins=network.now - 3600)
    network.repository.asked.clear()
    with line, Load(line) as load:
        until(lambda: line.signed_by(first) > SOME, "calls signed by the first pair")

        # A new pair signs from the reload on
        line.add(second, begins=network.now - 60)
        line.signing.reload()
        until(lambda: line.signed_by(second) > SOME, "calls signed by the second pair")

        # A switch at a time that is named: nothing has to be done then
        line.add(third, begins=network.now - 30)
        switch = int(time.time()) + 2
        when = f"{datetime.fromtimestamp(switch, UTC):%FT%TZ}"
        line.configure(f"{network.settings()}\n[certificate.{third}]\nsign_from = {when}\n")
        until(lambda: line.signed_by(third) > SOME, "calls signed by the third pair")

        # And a certificate that is not valid before tomorrow, or so
        begins = int(time.time()) + 2
        line.add(fourth, begins=begins)
        line.signing.reload()
        until(lambda: line.signed_by(fourth) > SOME, "calls signed by the fourth pair")

        # The old ones go
        for name in (first, second, third):
            line.remove(name)
        line.signing.reload()
        before = line.signed_by(fourth)
        until(lambda: line.signed_by(fourth) > before + SOME, "calls signed after the old pairs are gone")

    load.assert_nothing_lost()
    calls = line.seen().values()
    assert {call.verstat for call in calls} == {"TN-Validation-Passed"}
    assert line.tokens() == set()
    assert {call.pair for call in calls if call.iat < switch} == {first, second}
    assert {call.pair for call in calls if switch <= call.iat < begins} == {third}
    assert {call.pair for call in calls if call.iat >= begins} == {fourth}
    assert {*network.repository.asked} == {f"/{name}.pem" for name in (first, second, third, fourth)}
    assert "refused" not in line.signing.log()
    print(f"{len(calls)} calls: " + ", ".join(f"{line.signed_by(name)} by {name}" for name in (first, second, third, fourth)))


def test_after_its_certificate_has_expired_no_call_is_signed_and_none_is_lost(network: Network, line: Line, cfg: str) -> None:
    name = f"{cfg.removesuffix('.cfg')}-ending"
    ends = int(time.time()) + 6
    line.add(name, begins=network.now - 3600, ends=ends)
    line.signing.settings_file.write_text(network.settings(signing={"certificate": name}))
    with line, Load(line) as load:
        until(lambda: line.signed_by(name) > SOME, "signed calls")
        until(lambda: line.signed_by("") > SOME, "unsigned calls")

    load.assert_nothing_lost()
    calls = line.seen().values()
    assert all(call.iat < ends for call in calls)
    # What was signed in the last moment may have been looked at a moment too late
    assert {call.verstat for call in calls if call.pair and call.iat < ends - 1} == {"TN-Validation-Passed"}
    assert {call.verstat for call in calls if not call.pair} == {"No-TN-Validation"}
    unsigned = {words.get("token") for words in line.signing.calls().values() if words.get("result") == "unsigned"}
    assert unsigned == {"certificate_expired"}


def test_of_several_providers_each_signs_its_own_calls_and_none_the_others(network: Network, line: Line, cfg: str) -> None:
    mode = cfg.removesuffix(".cfg")
    one, other = f"{mode}-1234", f"{mode}-5678"
    line.add(one, begins=network.now - 3600)
    line.add(other, spc="5678", begins=network.now - 60)
    mine, theirs, strange = CALLER, "+12155550122", "+12155550123"
    with line:
        # Nothing says whose calls these are
        assert [line.call(caller).pair for caller in (mine, theirs)] == ["", ""]
        assert {words["token"] for words in line.signing.calls().values()} == {"certificate_ambiguous"}

        (line.signing.directory / "policy.toml").write_text(
            f'[[rule]]\nname = "mine"\ncaller = "{mine[1:]}"\nspc = "1234"\n'
            f'[[rule]]\nname = "theirs"\ncaller = "{theirs[1:]}"\ncertificate = "{other}"\n'
        )
        line.configure(network.settings(signing={"policy_file": "policy.toml"}))

        calls = [line.call(caller) for caller in (mine, theirs, mine, theirs, strange)]
        assert [call.pair for call in calls] == [one, other, one, other, ""]
        assert [call.verstat for call in calls] == [*["TN-Validation-Passed"] * 4, "No-TN-Validation"]
    assert line.tokens() == {"certificate_ambiguous", "identity_missing"}
