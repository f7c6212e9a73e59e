"""Kamailio (app_python3, 5.6 to 6.x): the port over KSR, reload, parked calls, and the guard around every entry point.

KSR's traps are answered here and nowhere else: values that are no UTF-8 raise, exceptions poison the next call of a
process, 0 ends the routing script, KSR refuses anything but str and int.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import KSR

from kamailio_app.adapters.calls import NOT_VALID, REJECT, UNSIGNED, Calls
from kamailio_app.adapters.port import Level
from kamailio_app.errors import StirError
from kamailio_app.grammar import printable
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.settings import DEFAULT_PATH
from kamailio_app.sip import Request

CONTROL: Final = "stirshaken"
CREDENTIALS: Final = "stirshaken_credentials"
PARKED: Final = "stirshaken_parked"
FETCH_GROUP: Final = "stirshaken"
SETTINGS_VARIABLE: Final = "STIRSHAKEN_SETTINGS"

_MAX_IDENTITY: Final = 11  # one more than is accepted, so that too many are seen as too many
_MAX_ASSERTED: Final = 4  # RFC 3325 9.1 has two
_LEVELS: Final[Mapping[str, int]] = {"err": -1, "warn": 0, "info": 2}
# Names are constants: Kamailio keeps every pseudo-variable name it ever saw
_RESULTS: Final = {name: f"$avp(stir_{name})" for name in ("token", "code", "phrase", "verstat", "attest", "origid", "x5u")}


class KamailioPort:
    """`SipPort` over KSR."""

    def __init__(self) -> None:
        self.epoch = 0

    def request(self) -> Request:
        identity = _headers("Identity", _MAX_IDENTITY)
        return Request(
            method=_pv("$rm"),
            request_uri=_pv("$ru"),
            from_uri=_pv("$fu"),
            to_uri=_pv("$tu"),
            asserted=_headers("P-Asserted-Identity", _MAX_ASSERTED),
            identity=identity,
            date=_header("Date", 0),
            in_dialog=bool(_pv("$tt")),
        )

    def call_id(self) -> str:
        return _pv("$ci")

    def append_headers(self, lines: str) -> None:
        KSR.hdr.append(lines)

    def replace_asserted(self, values: Sequence[str]) -> None:
        KSR.hdr.remove("P-Asserted-Identity")
        KSR.hdr.append("".join(f"P-Asserted-Identity: {value}\r\n" for value in values))

    def replace_from_uri(self, uri: str) -> None:
        KSR.pv.sets("$fu", uri)

    def publish(self, results: Mapping[str, str | int]) -> None:
        for name, value in results.items():
            # sl_send_reply takes a code from an integer only
            (KSR.pv.seti if type(value) is int else KSR.pv.sets)(_RESULTS[name], value)

    def log(self, level: Level, text: str) -> None:
        getattr(KSR, level)(f"stirshaken: {text}\n")

    def logs(self, level: Level) -> bool:
        return bool(KSR.get_debug() >= _LEVELS[level])

    def once(self, what: str) -> bool:
        return bool(KSR.htable.sht_inc(CONTROL, f"{what}:{self.epoch}") == 1)

    # `SharedTable`
    def get(self, key: str) -> str | None:
        value = KSR.htable.sht_get(CREDENTIALS, key)
        return value if isinstance(value, str) else None

    def put(self, key: str, value: str, lifetime: int) -> None:
        KSR.htable.sht_setxs(CREDENTIALS, key, value, lifetime)


def _pv(name: str) -> str:
    try:
        value = KSR.pv.get(name)
    except UnicodeDecodeError as error:
        return _replaced(error)
    return value if isinstance(value, str) else ""


def _header(name: str, index: int) -> str | None:
    try:
        value = KSR.hdr.get_idx(name, index)
    except UnicodeDecodeError as error:
        return _replaced(error)
    return value if isinstance(value, str) else None


def _headers(name: str, limit: int) -> tuple[str, ...]:
    first = _header(name, 0)
    if first is None:
        return ()
    values = [first]
    while len(values) < limit and (value := _header(name, len(values))) is not None:
        values.append(value)
    return tuple(values)


def _replaced(error: UnicodeDecodeError) -> str:
    return error.object.decode("utf-8", "replace")


def _without(transaction: str, waiting: list[str]) -> list[str]:
    return [other for other in waiting if other != transaction]


# --- Entry points -----------------------------------------------------------------------------------------------


def entry(on_internal_error: int) -> Callable[[Callable[[Any, str], int]], Callable[..., int]]:
    """An entry point: takes what Kamailio passes, applies a pending reload, and never raises.

    The one `except Exception` of the product. A call whose handling fails goes on (decision 3).
    """

    def decorate(function: Callable[[Any, str], int]) -> Callable[..., int]:
        @wraps(function)
        def guarded(self: Stirshaken, _message: object, argument: object = "") -> int:
            try:
                if KSR.htable.sht_get(CONTROL, "epoch") != self.epoch:
                    self.reload()
                # An empty pseudo-variable arrives as "<null>"
                return function(self, argument if isinstance(argument, str) and argument != "<null>" else "")
            except Exception:  # noqa: BLE001 - the last resort: nothing may reach Kamailio
                self.internal_error(function.__name__)
                return on_internal_error

        return guarded

    return decorate


class Stirshaken:
    """The handler object that Kamailio calls: entry points for native routing scripts, and for KEMI scripts to use.

    Every entry point returns an int other than 0; the codes are in `cfg/README.md`.
    """

    def __init__(self, settings: Path) -> None:
        self.port = KamailioPort()
        self.service = Service(settings, self.port)
        self.calls = Calls(self.service, self.port)
        self.epoch: object = None
        self.fetch_route = "STIR_FETCH"
        self._waiting: list[str] = []

    def child_init(self, rank: int) -> int:
        """Kamailio calls this in every process after the fork."""
        self.epoch = KSR.htable.sht_get(CONTROL, "epoch")
        if rank == 0:
            self._announce()
        return 0

    # Signing and verifying

    @entry(UNSIGNED)
    def stir_sign(self, attest: str) -> int:
        """1 signed, 2 passed unsigned."""
        return self.calls.sign(attest.strip())

    @entry(NOT_VALID)
    def stir_verify(self, _argument: str) -> int:
        """1 valid, 2 a certificate is needed (park the call), 3 not valid but goes on, -1 to be answered with `code`."""
        return self.calls.verify()

    @entry(NOT_VALID)
    def stir_resume(self, _argument: str) -> int:
        """`stir_verify` for a call that was parked: never 2. Follow with `stir_tag` in the branch route."""
        return self.calls.verify(last_try=True, tag=False)

    @entry(REJECT)
    def stir_tag(self, verstat: str) -> int:
        """Branch route of a parked call: 1. Says the verstat given as argument."""
        self.calls.tag(verstat)
        return 1

    # Parked calls: a list of "index:label" per set of URLs, in a table that all processes share

    @entry(REJECT)
    def stir_park(self, argument: str) -> int:
        """ "INDEX:LABEL URL..." of a suspended transaction: 1 it waits, -1 it cannot (queue full): resume it at once.

        The first call for a URL orders the fetch. Suspend first, park then: the fetch may be over before this returns.
        """
        transaction, _, urls = argument.partition(" ")
        waiting = self._change_waiting(urls, lambda ids: [*ids, transaction])
        if len(waiting) > 1 or getattr(KSR, "async").task_group_data(self.fetch_route, FETCH_GROUP, urls) > 0:
            return 1
        self._change_waiting(urls, lambda ids: _without(transaction, ids))
        self.port.log("err", f"fetch queue full: token=x5u_timeout x5u={printable(urls)}")
        return REJECT

    @entry(REJECT)
    def stir_unpark(self, argument: str) -> int:
        """ "INDEX:LABEL URL..." of a transaction that waited long enough: 1. A late resume would leak it."""
        transaction, _, urls = argument.partition(" ")
        self._change_waiting(urls, lambda ids: _without(transaction, ids))
        return 1

    @entry(REJECT)
    def stir_fetch(self, urls: str) -> int:
        """In a process of the group "stirshaken": fetch, then let `stir_next` name the calls that waited: 1."""
        try:
            self.service.obtain(urls.split(" "))
        finally:
            self._waiting = self._take_waiting(urls)
        return 1

    @entry(REJECT)
    def stir_next(self, _argument: str) -> int:
        """1 and the next call in $var(stir_index) and $var(stir_label); -1 if there is none."""
        if not self._waiting:
            return REJECT
        index, _, label = self._waiting.pop(0).partition(":")
        KSR.pv.seti("$var(stir_index)", int(index))
        KSR.pv.seti("$var(stir_label)", int(label))
        return 1

    def _take_waiting(self, urls: str) -> list[str]:
        """The calls that wait for these URLs, which wait no longer."""
        taken: list[str] = []

        def take(waiting: list[str]) -> list[str]:
            taken.extend(waiting)
            return []

        self._change_waiting(urls, take)
        return taken

    def _change_waiting(self, urls: str, change: Callable[[list[str]], list[str]]) -> list[str]:
        table = KSR.htable
        table.sht_lock(PARKED, urls)
        try:
            text = table.sht_get(PARKED, urls)
            waiting = change(text.split(",") if isinstance(text, str) and text else [])
            if waiting:
                table.sht_sets(PARKED, urls, ",".join(waiting))
            elif text is not None:
                table.sht_rm(PARKED, urls)
        finally:
            table.sht_unlock(PARKED, urls)
        return waiting

    # Reload

    def reload(self) -> None:
        """Take over new settings, keys and trust anchors: once per process and epoch. What cannot be used is said
        by the first process only; the former state stays in use.
        """
        epoch = KSR.htable.sht_get(CONTROL, "epoch")
        self.epoch = epoch
        self.port.epoch = epoch if isinstance(epoch, int) else 0
        try:
            self.service.reload()
        except StirError as error:
            if self.port.once("reload"):
                self.port.log("err", f"reload refused, the former settings stay: {error}")
            return
        if self.port.once("reload"):
            self._announce()

    def _announce(self) -> None:
        settings, keys = self.service.settings, self.service.keys
        for relaxed in settings.relaxed:
            self.port.log("warn", f"UNSAFE: {relaxed} is on")
        for name, error in keys.refused:
            kept = "the former pair stays in use" if name in keys.signers else "not used"
            self.port.log("err", f"pair {name} refused: {error}; {kept}")
        try:
            signer = self.service.signer()
            self.port.log(
                "info",
                f"signing with {signer.name} spc={','.join(signer.spcs)} x5u={signer.x5u} "
                f"fingerprint={signer.fingerprint[:16]}; {len(self.service.anchors)} trust anchors",
            )
        except StirError as error:
            if self.port.once(error.token):
                self.port.log("warn", f"calls pass unsigned: {error}; {len(self.service.anchors)} trust anchors")

    def internal_error(self, where: str) -> None:
        """Say what happened, with the traceback on one line. Must not raise."""
        text = " | ".join(traceback.format_exc().splitlines())
        self.port.log("err", f"internal_error in {where}: {text.encode('ascii', 'backslashreplace').decode()}")


_handler: Stirshaken | None = None


def handler() -> Stirshaken:
    """The handler of this process. After `app_python.reload` it is the same one: a script is not a reason to start anew.

    Errors: those of `settings.load`, which stop the start.
    """
    global _handler  # noqa: PLW0603 - Kamailio re-imports the script, not this module
    if _handler is None:
        path = Path(os.environ.get(SETTINGS_VARIABLE, DEFAULT_PATH))
        try:
            _handler = Stirshaken(path)
        except StirError as error:
            KSR.err(f"stirshaken: not started: {error}\n")
            raise
        # What is made before the fork is never garbage: keep the collector, and copy-on-write, away from it
        gc.collect()
        gc.freeze()
    return _handler
