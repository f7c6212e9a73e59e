"""Kamailio (app_python3, 5.6 to 6.x): the port over KSR, reload, parked calls, and the guard around every entry point.

KSR's traps are answered here and nowhere else: values that are no UTF-8 raise, exceptions poison the next call of a
process, 0 ends the routing script, KSR refuses anything but str and int.
"""

from __future__ import annotations

import gc
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal
from zlib import crc32

import KSR

from kamailio_app.adapters.announcement import announce
from kamailio_app.adapters.calls import MAX_ASSERTED, NOT_VALID, NOT_VERIFIED, NOTHING_MORE, PENDING, REJECT, Calls
from kamailio_app.adapters.outbound import UNSIGNED, Outbound
from kamailio_app.adapters.parking import Parking
from kamailio_app.adapters.port import Level
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line, printable
from kamailio_app.runtime import in_use
from kamailio_app.runtime.link import Keeper
from kamailio_app.runtime.published import published_chain
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.settings import DEFAULT_PATH
from kamailio_app.runtime.trust import Trust
from kamailio_app.sip import Request

CONTROL: Final = "stirshaken"
CREDENTIALS: Final = "stirshaken_credentials"
PARKED: Final = "stirshaken_parked"
FETCHED: Final = "stirshaken_fetched"
SEEN: Final = "stirshaken_seen"
RESUME_GROUP: Final = "stirshaken"
SETTINGS_VARIABLE: Final = "STIRSHAKEN_SETTINGS"

_MAX_IDENTITY: Final = 11  # one more than is accepted, so that too many are seen as too many
_MAX_ASSERTED: Final = MAX_ASSERTED + 1
_MAX_PRIORITIES: Final = 8
_MAX_PRIVACY: Final = 4
_MAX_REASONS: Final = 20
_MAX_DIVERSIONS: Final = 20
_LEVELS: Final[Mapping[str, int]] = {"err": -1, "warn": 0, "info": 2}
# Names are constants: Kamailio keeps every pseudo-variable name it ever saw
# Script variables: an AVP costs six times as much, and most scripts look at one or two of them, at once
_RESULTS: Final = {
    name: f"$var(stir_{name})"
    for name in (
        *("token", "code", "phrase", "verstat", "attest", "origid", "x5u", "wait", "reason"),
        *("rcd_name", "rcd_reason", "rph", "diverted", "replay", "rule"),
    )
}
_HEADERS: Final = "$avp(stir_headers)"
_EPOCH: Final = "$shv(stirshaken)"
_ATTEST: Final = "$avp(stir_attest)"
_STRIPPED: Final = "$avp(stir_stripped)"
_FROM: Final = "$avp(stir_from)"
_PARKED_URLS: Final = "$avp(stir_parked)"
_SCRIPT: Final = {name: f"$avp(stir_{name})" for name in ("trunk", "customer", "diversions", "dest", "rcd_name", "rcd_reason")}
# In the response's route: the headers of the request as it came
_UPSTREAM: Final = tuple(f"$T_req($(hdr(Identity)[{index}]))" for index in range(_MAX_IDENTITY))
_TLS_PEER: Final = ("$tls_peer_subject_cn", "$tls_peer_san_hostname")
_LONGEST_HOST: Final = 253  # RFC 1035 2.3.4, as text
_TASK: Final = "$async(data)"
_REASON: Final = "$avp(stir_reason)"
_LONGER: Final = 5
_FOR_GOOD: Final = 10 * 365 * 86400  # seconds: the table forgets what nobody says again within a day
_LONG_LINE: Final = 8192  # characters: a traceback says what happened in its end
_LOOK_EVERY: Final = 60  # seconds
# RFC 8555 9.1; ATIS-1000074: the answer says how long it is good. A changed chain has a new URL
_CHAIN, _TEXT = "application/pem-certificate-chain", "text/plain"
_CHAIN_FIELDS: Final = "Cache-Control: max-age=86400\r\nX-Content-Type-Options: nosniff\r\nDate: {}\r\n"
_LISTEN: Final = 1.0  # seconds that the keeper waits for the fetch process at a time
# Script variables outlive their call: after an error they must not speak of an earlier one
_INTERNAL_ERROR: Final[Mapping[str, str | int]] = {
    **NOT_VERIFIED,
    **NOTHING_MORE,
    "rule": "",
    "token": "internal_error",
}
# What a peer may have in a header (a folded line, a NUL), and KSR or the next hop must not get back
_NOT_IN_A_HEADER: Final = re.compile(r"[\r\n\0]+")


class KamailioPort:
    """`SipPort` over KSR."""

    def __init__(self) -> None:
        self.epoch = 0
        self.places = 4096
        self._shown: dict[str, str | int] = {}
        self.just_now = 10  # seconds that a call may wait, and some
        self._secret = os.urandom(16)  # before the fork: the same in all processes

    def request(self) -> Request:
        pv, header = KSR.pv.get, KSR.hdr.get_idx
        try:
            # Nearly all calls have at most one of each; whoever has more, or a type that looks at more, is read at leisure
            asserted, identity = header("P-Asserted-Identity", 0), header("Identity", 0)
            if asserted is not None and header("P-Asserted-Identity", 1) is not None:
                return _request_in_full()
            if identity is not None and (_looks_at_more(identity) or header("Identity", 1) is not None):
                return _request_in_full()
            return Request(
                pv("$rm"),
                pv("$ru"),
                pv("$fu") or "",
                pv("$tu") or "",
                () if asserted is None else (asserted,),
                () if identity is None else (identity,),
                header("Date", 0),
                pv("$tt") is not None,
            )
        except UnicodeDecodeError:
            return _request_in_full()

    def call_id(self) -> str:
        return _pv("$ci")

    def reasons(self) -> tuple[str, ...]:
        return _headers("Reason", _MAX_REASONS)

    def identity_upstream(self) -> tuple[str, ...]:
        return tuple(value for name in _UPSTREAM if (value := _pv(name)))

    def replace_header(self, name: str, values: Sequence[str]) -> None:
        KSR.hdr.remove(name)
        if values:
            KSR.hdr.append("".join([f"{name}: {_for_a_header(value)}\r\n" for value in values]))

    def append_headers(self, lines: str) -> None:
        KSR.hdr.append(lines)

    def replace_asserted(self, values: Sequence[str]) -> None:
        KSR.hdr.rmappend("P-Asserted-Identity", _asserted(values))

    def remove_asserted(self) -> None:
        KSR.hdr.remove("P-Asserted-Identity")

    def append_asserted(self, values: Sequence[str]) -> None:
        KSR.hdr.append(_asserted(values))

    def replace_from_uri(self, uri: str, sent: str) -> None:
        KSR.pv.sets("$fu", _for_a_header(uri))
        # Once for a call, not once for each of its branches
        if KSR.pv.get(_FROM) is None:
            KSR.pv.sets(_FROM, _for_a_header(sent))

    def publish(self, results: Mapping[str, str | int]) -> None:
        shown, sets = self._shown, KSR.pv.sets
        for name, value in results.items():
            if type(value) is int:
                # sl_send_reply takes a code from an integer only; the script resets it, to 0 and to nothing else
                if value or shown.get(name):
                    KSR.pv.seti(_RESULTS[name], value)
                    shown[name] = value
            elif name == "headers":
                KSR.pv.sets(_HEADERS, value)
            elif shown.get(name) != value:
                # Script variables keep their values from call to call, and most of these are what they were
                sets(_RESULTS[name], value)
                shown[name] = value
        if reason := results.get("reason"):
            # STIR_REPLY says it in the responses that are passed on; a refusal says it now, no other may: that could be a 100
            KSR.pv.sets(_REASON, reason)
            if results.get("code"):
                KSR.hdr.append_to_reply(reason)

    def log(self, level: Level, text: str) -> None:
        getattr(KSR, level)(f"stirshaken: {text}\n")

    def logs(self, level: Level) -> bool:
        return bool(KSR.get_debug() >= _LEVELS[level])

    def once(self, what: str) -> bool:
        return bool(KSR.htable.sht_inc(CONTROL, f"{what}:{self.epoch}") == 1)

    def script(self, name: str) -> str:
        try:
            value = KSR.pv.get(_SCRIPT[name])
        except UnicodeDecodeError as error:
            return _replaced(error)
        # A customer's or trunk's name is often a number: 1001, as sqlops gives it
        return "" if value is None else str(value)

    def source(self) -> str:
        return _pv("$si")

    def source_port(self) -> int:
        port = KSR.pv.get("$sp")
        return port if isinstance(port, int) else 0

    def transport(self) -> str:
        return _pv("$proto").lower()

    def tls_peer(self) -> str:
        # A space in a name would make two of it
        names = [printable(name, _LONGEST_HOST) for variable in _TLS_PEER if (name := _pv(variable))]
        return " ".join(dict.fromkeys(names))

    def request_in_full(self) -> Request:
        return _request_in_full()

    def privacy(self) -> tuple[str, ...]:
        return _headers("Privacy", _MAX_PRIVACY)

    def body(self) -> str:
        return _pv("$rb")

    def remove_header(self, name: str) -> None:
        KSR.hdr.remove(name)

    def seen_before(self, key: str, lifetime: int) -> bool:
        call = printable(self.call_id()) or "-"
        KSR.htable.sht_lock(SEEN, key)
        try:
            seen = KSR.htable.sht_get(SEEN, key)
            if seen is None:
                KSR.htable.sht_setxs(SEEN, key, call, lifetime)
        finally:
            KSR.htable.sht_unlock(SEEN, key)
        # A fork of the call, or the call passing here again, is the same call
        return isinstance(seen, str) and seen != call

    # `SharedTable`
    def get(self, key: str) -> str | None:
        value = KSR.htable.sht_get(CREDENTIALS, self._place(key))
        if isinstance(value, str):
            owner, _, text = value.partition(" ")
            if owner == key:
                return text
        # Another came to its place: calls that wait for it just now find it here
        text = KSR.htable.sht_get(FETCHED, key)
        return text if isinstance(text, str) else None

    def put(self, key: str, value: str, lifetime: int) -> None:
        KSR.htable.sht_setxs(CREDENTIALS, self._place(key), f"{key} {value}", lifetime)
        KSR.htable.sht_setxs(FETCHED, key, value, self.just_now)

    def _place(self, url: str) -> str:
        """Where a URL's entry lies. Strangers choose URLs: so many places and no more, and whoever comes last has it."""
        key = url.encode("utf-8", "replace")
        # With a secret, or a stranger could compute a URL that always takes another's place
        return str(int.from_bytes(blake2b(key, digest_size=8, key=self._secret).digest()) % self.places)


def _looks_at_more(identity: str) -> bool:
    """May a PASSporT in this field be of a type that looks at more of the request? Its parameters need not say which it is, and
    a comma may part two values.
    """
    return "rph" in identity or "," in identity or ";ppt=" not in identity


def _asserted(values: Sequence[str]) -> str:
    return "".join([f"P-Asserted-Identity: {_for_a_header(value)}\r\n" for value in values])


def _for_a_header(value: str) -> str:
    return value if value.isprintable() else _NOT_IN_A_HEADER.sub(" ", value)


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
    values: list[str] = []
    while len(values) < limit and (value := _header(name, len(values))) is not None:
        values.append(value)
    return tuple(values)


def _request_in_full() -> Request:
    """The snapshot of any request, each value for itself: several headers, text that is no UTF-8."""
    return Request(
        _pv("$rm"),
        _pv("$ru"),
        _pv("$fu"),
        _pv("$tu"),
        _headers("P-Asserted-Identity", _MAX_ASSERTED),
        _headers("Identity", _MAX_IDENTITY),
        _header("Date", 0),
        bool(_pv("$tt")),
        resource_priority=_headers("Resource-Priority", _MAX_PRIORITIES),
        priority=_header("Priority", 0),
        diversion=_headers("Diversion", _MAX_DIVERSIONS),
        history_info=_headers("History-Info", _MAX_DIVERSIONS),
    )


def _epoch() -> int:
    try:
        value = KSR.pv.get(_EPOCH)
    except UnicodeDecodeError as error:
        value = _replaced(error)
    # Whatever the operator wrote there: another value is another reload
    return value if type(value) is int else crc32(str(value).encode("utf-8", "surrogateescape"))


def _replaced(error: UnicodeDecodeError) -> str:
    return error.object.decode("utf-8", "replace")


# --- Entry points -----------------------------------------------------------------------------------------------


def entry(on_internal_error: int) -> Callable[[Callable[[Any, str], int]], Callable[..., int]]:
    """An entry point: takes what Kamailio passes, applies a pending reload, and never raises.

    The one `except Exception` of the product. A call whose handling fails goes on (decision 3).
    """

    def decorate(function: Callable[[Any, str], int]) -> Callable[..., int]:
        @wraps(function)
        def guarded(self: Stirshaken, _message: object, argument: object = "") -> int:
            try:
                if _epoch() != self.epoch:
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
        self._arrange()
        self.calls = Calls(self.service, self.port)
        self.outbound = Outbound(self.service, self.port)
        self.epoch = 0
        self.resume_route = "STIR_RESUME"
        self.parking = Parking(lambda: KSR.htable, PARKED)
        self._fetched = ""
        self._keeper: Keeper | None = None
        self._told = ""
        self._looked = 0

    def _arrange(self) -> None:
        settings = self.service.settings
        self.port.places = settings.max_shared_certificates
        self.port.just_now = int(settings.call_time_budget) + _LONGER

    def child_init(self, rank: int) -> int:
        """Kamailio calls this in every process after the fork."""
        if rank == 0:
            announce(self.service, self.port)
            self._say_pairs()
        return 0

    # Signing and verifying

    @entry(UNSIGNED)
    def stir_sign(self, attest: str) -> int:
        """1 signed, 2 passed unsigned, -1 to be answered with `code`. Without an argument the attestation that is asked for is
        the one in $avp(stir_attest).
        """
        return self.outbound.sign((attest or _pv(_ATTEST)).strip())

    @entry(UNSIGNED)
    def stir_reply(self, _argument: str) -> int:
        """In the reply route of a call that was signed: what somebody says of our PASSporTs goes no further: 1."""
        self.outbound.reply()
        return 1

    @entry(NOT_VALID)
    def stir_verify(self, wait: str) -> int:
        """1 valid, 2 a certificate is needed (park the call), 3 not valid but goes on, -1 to be answered with `code`.

        "block": never 2, this process waits for it, for at most `call_time_budget`.
        """
        code = self.calls.verify(block=wait == "block")
        # A parked call gets its verstat per branch, by a line that a script may have forgotten: what came from outside
        # goes now, for all branches
        if code == PENDING and self.calls.strip():
            KSR.pv.seti(_STRIPPED, 1)
        return code

    @entry(NOT_VALID)
    def stir_resume(self, _argument: str) -> int:
        """`stir_verify` for a call that was parked: never 2. Follow with `stir_tag` in the branch route."""
        return self.calls.verify(last_try=True, tag=False)

    @entry(REJECT)
    def stir_tag(self, verstat: str) -> int:
        """Branch route of a parked call: 1. Says the verstat given as argument."""
        headers = _pv(_HEADERS)
        if KSR.pv.get(_STRIPPED) is None:
            self.calls.tag(verstat, headers=headers)
        else:
            self.calls.tag_stripped(verstat, headers)
        return 1

    # Parked calls. Their URLs are in $avp(stir_parked): peers' text is read here, never passed through python_exec,
    # which fails on long or strange text and on 5.6 takes the next call down with it

    @entry(REJECT)
    def stir_park(self, transaction: str) -> int:
        """INDEX:LABEL of a suspended transaction: 1 it waits, -1 it cannot (queue full): resume it at once.

        The first call for its URLs orders the fetch. Suspend first, park then: the fetch may be over before this returns.
        """
        urls = _pv(_PARKED_URLS)
        if not self.parking.park(urls, transaction, self.calls.park_ms) or self.service.credentials.order([urls]):
            return 1
        self.parking.forget_order(urls)
        if not self.parking.unpark(urls, transaction):
            return 1  # an earlier order was answered meanwhile, and whoever took the answer resumes it
        self.port.log("err", f"fetch queue full: token=x5u_timeout x5u={printable(urls)}")
        return REJECT

    @entry(REJECT)
    def stir_unpark(self, transaction: str) -> int:
        """INDEX:LABEL of a transaction that waited long enough: 1. A late resume would leak it."""
        self.parking.unpark(_pv(_PARKED_URLS), transaction)
        return 1

    @entry(REJECT)
    def stir_fetched(self, urls: str) -> int:
        """In a process of the group "stirshaken": these were fetched; `stir_next` names the calls that wait for them: 1.

        Native scripts give no argument: four long URLs do not fit into one.
        """
        self._fetched = urls or _pv(_TASK)
        return 1

    @entry(REJECT)
    def stir_next(self, _argument: str) -> int:
        """1 and the next call to resume in $var(stir_index) and $var(stir_label); -1 if there is none."""
        claimed = self.parking.claim(self._fetched) if self._fetched else None
        if claimed is None:
            self._fetched = ""
            return REJECT
        KSR.pv.seti("$var(stir_index)", claimed[0])
        KSR.pv.seti("$var(stir_label)", claimed[1])
        return 1

    # The keeper of the fetch process

    @entry(REJECT)
    def stir_keep(self, _argument: str) -> int:
        """In the process that rtimer runs, again and again: keeps the fetch process alive and takes its answers: 1."""
        if self._keeper is None:
            self._keeper = Keeper(self.service.orders, self._say, record=self.service.record.fds)
        if self.service.generation_now != self._told:
            self._tell(self._keeper)
        self._look_at_certificates()
        for answer in self._keeper.answers(_LISTEN):
            try:
                self._take(answer)
            except (StirError, LookupError, TypeError, ValueError, AttributeError) as error:
                # The others are calls that wait. After an upgrade it may be a newer program than we are
                self._say("err", f"answer of the fetch process refused: {error!r}")
        return 1

    def _look_at_certificates(self) -> None:
        """Once a minute: which of them end soon."""
        now = int(self.service.now())
        if 0 <= now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        for ending in self.service.signing.ending():
            self._say("info" if ending.follows else "warn", str(ending))

    def _tell(self, keeper: Keeper) -> None:
        """Not while another process is reloading: its number is out already, its settings are not."""
        KSR.htable.sht_lock(CONTROL, "reload")
        try:
            told, configuration = self.service.generation_now, self.service.configuration()
        finally:
            KSR.htable.sht_unlock(CONTROL, "reload")
        keeper.configure(configuration)
        self._told = told

    def _take(self, answer: Mapping[str, Any]) -> None:
        match answer["kind"]:
            case "credentials":
                self.service.credentials.take(answer["credentials"])
                if urls := answer["urls"]:
                    self._resume(urls)
            case "trust":
                self.service.take_trust(Trust(*answer["trust"]))
            case "state":
                KSR.htable.sht_sets(CONTROL, answer["name"], answer["text"])
            case "log":
                self._say(answer["level"], answer["text"])

    def _resume(self, urls: str) -> None:
        """Let the processes of the group go on with the calls that wait for these."""
        self.parking.forget_order(urls)
        if self.parking.anybody(urls) and getattr(KSR, "async").task_group_data(self.resume_route, RESUME_GROUP, urls) <= 0:
            self.port.log("err", f"resume queue full: calls wait for their timers x5u={printable(urls)}")

    def _say(self, level: Literal["err", "warn", "info"], text: str) -> None:
        self.port.log(level, one_line(text, _LONG_LINE))

    # A repository of one's own

    @entry(REJECT)
    def stir_publish(self, _argument: str) -> int:
        """In event_route[xhttp:request]: answers 200 with the chain that is asked for, or 404, or 405: 1.

        -1 if the answer was not sent. Not in the call's way: xhttp hands over nothing but HTTP.
        """
        if _pv("$rm") != "GET":
            KSR.hdr.append_to_reply("Allow: GET\r\n")
            return int(KSR.xhttp.xhttp_reply(405, "Method Not Allowed", _TEXT, ""))
        settings = self.service.settings
        chain = published_chain(settings.provider.publication.directory, settings.public_cert_url, _pv("$hu"))
        if chain is None:
            return int(KSR.xhttp.xhttp_reply(404, "Not Found", _TEXT, ""))
        KSR.hdr.append_to_reply(_CHAIN_FIELDS.format(formatdate(self.service.now(), usegmt=True)))
        return int(KSR.xhttp.xhttp_reply(200, "OK", _CHAIN, chain))

    # Reload

    def reload(self) -> None:
        """Called by the first call after the operator's command, in each process. The first process reads the files and
        says what came of it; the others take over what it accepted.
        """
        epoch, accepted = _epoch(), self.service.accepted
        KSR.htable.sht_lock(CONTROL, "reload")
        try:
            if accepted.epoch != self.epoch:
                self.service.catch_up()  # this process slept through a reload
            self.port.epoch = epoch
            if accepted.epoch != epoch:
                accepted.epoch = epoch
                self._reload_first()
                self.service.orders.ring()
        finally:
            self.epoch = epoch
            self._arrange()
            KSR.htable.sht_unlock(CONTROL, "reload")

    def _reload_first(self) -> None:
        try:
            self.service.reload()
        except (StirError, OSError) as error:
            self.port.log("err", f"reload refused, all stays as it was: {one_line(str(error))}")
        else:
            announce(self.service, self.port)
        self._say_pairs()

    def _say_pairs(self) -> None:
        """Whoever takes a key away sees here whether it is needed."""
        for key, text in in_use.entries(self.service.keys.signers, self.port.epoch):
            KSR.htable.sht_setxs(CONTROL, key, text, _FOR_GOOD)

    def internal_error(self, where: str) -> None:
        """Say what happened, with the traceback on one line, and in the results. Must not raise."""
        text = " | ".join(traceback.format_exc().splitlines())
        self.port.log("err", f"internal_error in {where}: {one_line(text, _LONG_LINE)}")
        self.port.publish(_INTERNAL_ERROR)
        if where == "stir_verify":
            # What a peer says of its own verification must not stay because we failed
            with suppress(Exception):
                self.calls.tag("")


_handler: Stirshaken | None = None


def handler() -> Stirshaken:
    """The handler of this process. After `app_python.reload` it is the same one: a script is not a reason to start anew.

    Errors: those of `settings.load`, which stop the start.
    """
    global _handler  # noqa: PLW0603 - Kamailio re-imports the script, not this module
    if _handler is None:
        path = Path(os.environ.get(SETTINGS_VARIABLE, DEFAULT_PATH)).absolute()  # the fetch process runs elsewhere
        try:
            _handler = Stirshaken(path)
        except StirError as error:
            KSR.err(f"stirshaken: not started: {one_line(str(error))}\n")
            raise
        # What is made before the fork is never garbage: keep the collector, and copy-on-write, away from it
        gc.collect()
        gc.freeze()
    return _handler
