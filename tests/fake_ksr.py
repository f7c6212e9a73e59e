"""A KSR module outside Kamailio, as strict as the one inside: what was observed of app_python3 5.6 and of 6.x.

Misuse that Kamailio would not report at once (a lock that stays held, a log line with a control character, a name of a
pseudo-variable made from data) is kept in `violations`; the fixture that makes a fake looks at it in the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast

Mode = Literal["5.6", "6.x"]
MODES: Final[tuple[Mode, ...]] = ("5.6", "6.x")

_P = ParamSpec("_P")
_R = TypeVar("_R")
_INT_MAX: Final = (1 << 31) - 1
# Header lines that are ours to make, in the message and in the responses to it
_OURS: Final = (
    *("Date", "Identity", "P-Asserted-Identity", "P-Attestation-Indicator", "P-Origination-ID", "Reason"),
    "Identity-Bypass",
)
_OURS_IN_REPLIES: Final = ("Reason",)
_OURS_BY_HTTP: Final = ("Allow", "Cache-Control", "Date", "X-Content-Type-Options")
# Variables that are ours: Kamailio keeps every name that it ever saw, so they are these and no more
_AVPS: Final = (
    *("attest", "from", "headers", "parked", "reason", "stripped", "trunk", "verstat"),
    *("customer", "dest", "diversions", "rcd_name", "rcd_reason"),
)
_VARS: Final = (
    *("token", "code", "phrase", "verstat", "attest", "origid", "x5u", "wait", "reason", "rcd_name", "rcd_reason", "rph"),
    *("diverted", "replay", "index", "label", "rule"),
)
_NAMES: Final = {"$avp": _AVPS, "$var": _VARS}


@dataclass
class Message:
    """The SIP message at hand, in octets: what a peer sent."""

    method: str = "INVITE"
    http: bool = False  # a request that xhttp hands over: its URL is the Request-URI
    request_uri: bytes = b"sip:+12155550131@term.example.net;user=phone"
    from_uri: bytes = b"sip:+12155550121@orig.example.com;user=phone"
    to_uri: bytes = b"sip:+12155550131@orig.example.com;user=phone"
    to_tag: bytes | None = None
    call_id: bytes = b"a84b4c76e66710@pc33.example.com"
    source: bytes = b"192.0.2.1"
    port: int = 5060
    transport: bytes = b"udp"
    tls_peer: bytes | None = None
    tls_san: bytes | None = None
    body: bytes | None = None
    upstream: list[bytes] = field(default_factory=list)  # of a response: what Identity its request came with
    status: int | None = None  # of a response
    destination: bytes | None = None  # where the script sends it, if not to the Request-URI
    length: int = 1000  # octets, with what was changed
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    # Changes: Kamailio applies them when the message leaves, reading still shows what came in
    removed: set[str] = field(default_factory=set)
    appended: list[str] = field(default_factory=list)
    new_from_uri: str | None = None
    # Kamailio puts these into the responses that it makes itself
    to_reply: list[str] = field(default_factory=list)

    def received(self, name: str) -> list[bytes]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def leaving(self, name: str) -> list[str]:
        """The values of a header as the next hop sees them."""
        kept = [] if name.lower() in self.removed else [value.decode("utf-8", "replace") for value in self.received(name)]
        lines = "".join(self.appended).split("\r\n")
        added = [line.partition(": ") for line in lines if line]
        return kept + [value for known, _, value in added if known.lower() == name.lower()]


def kemi(*types: type) -> Callable[[Callable[_P, _R]], Callable[..., Any]]:
    """A function that Kamailio exports: its arguments are `types`, and nothing else will do."""

    def decorate(function: Callable[_P, _R]) -> Callable[..., Any]:
        @functools.wraps(function)
        def exported(module: Any, *arguments: Any) -> Any:
            ksr: FakeKsr = module.ksr
            taken = ksr.check(function.__name__, types, arguments)
            if taken is None:
                return False
            untyped: Any = function
            return untyped(module, *taken)

        return exported

    return decorate


class _Module:
    def __init__(self, ksr: FakeKsr) -> None:
        self.ksr = ksr


class _Pv(_Module):
    @kemi(str)
    def get(self, name: str) -> str | int | None:
        return self.ksr.read_pv(name)

    @kemi(str, str)
    def sets(self, name: str, value: str) -> int:
        return self.ksr.write_pv(name, value)

    @kemi(str, int)
    def seti(self, name: str, value: int) -> int:
        return self.ksr.write_pv(name, value)

    @kemi(str)
    def unset(self, name: str) -> None:
        self.ksr.avp.pop(name.removeprefix("$avp(").removesuffix(")"), None)


class _Hdr(_Module):
    @kemi(str)
    def get(self, name: str) -> str | None:
        return self._indexed(name, 0)

    @kemi(str, int)
    def get_idx(self, name: str, index: int) -> str | None:
        return self._indexed(name, index)

    @kemi(str)
    def is_present(self, name: str) -> int:
        return 1 if self.ksr.message.received(name) else -1

    def _indexed(self, name: str, index: int) -> str | None:
        values = self.ksr.message.received(name)
        try:
            octets = values[index]
        except IndexError:
            return None
        return octets.decode("utf-8")  # PyUnicode_FromStringAndSize: strict

    @kemi(str)
    def append(self, lines: str) -> int:
        self.ksr.headers_changed(lines)
        self.ksr.message.appended.append(lines)
        return 1

    @kemi(str)
    def append_to_reply(self, lines: str) -> int:
        self.ksr.headers_changed(lines, _OURS_BY_HTTP if self.ksr.message.http else _OURS_IN_REPLIES)
        self.ksr.message.to_reply.append(lines)
        return 1

    @kemi(str)
    def remove(self, name: str) -> int:
        self.ksr.message.removed.add(name.lower())
        return 1

    @kemi(str, str)
    def rmappend(self, name: str, lines: str) -> int:
        self.ksr.headers_changed(lines)
        self.ksr.message.removed.add(name.lower())
        self.ksr.message.appended.append(lines)
        return 1


class _Htable(_Module):
    @kemi(str, str)
    def sht_get(self, table: str, key: str) -> str | int | None:
        return self.ksr.entry(table, key)

    @kemi(str, str, str)
    def sht_sets(self, table: str, key: str, value: str) -> int:
        return self.ksr.put_entry(table, key, value, self.ksr.tables[table].autoexpire)

    @kemi(str, str, str, int)
    def sht_setxs(self, table: str, key: str, value: str, lifetime: int) -> int:
        return self.ksr.put_entry(table, key, value, lifetime)

    @kemi(str, str)
    def sht_rm(self, table: str, key: str) -> int:
        self.ksr.tables[table].entries.pop(key, None)
        return 1

    @kemi(str, str)
    def sht_inc(self, table: str, key: str) -> int:
        value = self.ksr.entry(table, key)
        if value is None:
            value = self.ksr.tables[table].initval
        if not isinstance(value, int):
            return -255
        self.ksr.put_entry(table, key, value + 1, self.ksr.tables[table].autoexpire)
        return value + 1

    @kemi(str, str)
    def sht_lock(self, table: str, key: str) -> int:
        if (table, key) in self.ksr.held:
            self.ksr.violations.append(f"locked twice: {table} {key}")
        self.ksr.held.append((table, key))
        return 1

    @kemi(str, str)
    def sht_unlock(self, table: str, key: str) -> int:
        if (table, key) not in self.ksr.held:
            self.ksr.violations.append(f"unlocked without lock: {table} {key}")
            return 1
        self.ksr.held.remove((table, key))
        return 1


@dataclass
class Table:
    """A hash table; the time of death of an entry is None for one that lives on."""

    initval: int | None = None
    autoexpire: int = 0
    entries: dict[str, tuple[str | int, float | None]] = field(default_factory=dict)


class _Async(_Module):
    @kemi(str, str, str)
    def task_group_data(self, route: str, group: str, data: str) -> int:
        if self.ksr.queue_result > 0:
            self.ksr.queue.append((route, group, data))
        return self.ksr.queue_result

    @kemi()
    def get_data(self) -> str:
        return self.ksr.async_data


# What routing scripts call: argument types, and the answer of an everyday call. "module.function"; no dot: KSR itself
_ROUTING: Final[dict[str, tuple[tuple[type, ...], Any]]] = {
    "is_INVITE": ((), None),
    "is_ACK": ((), None),
    "is_CANCEL": ((), None),
    "is_OPTIONS": ((), None),
    "is_method_in": ((str,), None),
    "is_myself_ruri": ((), False),
    "sl.send_reply": ((int, str), 1),
    "sl.sl_send_reply": ((int, str), 1),
    "sl.sl_reply_error": ((), 1),
    "tm.t_check_trans": ((), -1),
    "tm.t_relay": ((), 1),
    "tm.t_reply": ((int, str), 1),
    "tm.t_newtran": ((), 1),
    "tm.t_set_fr": ((int, int), 1),
    "tm.t_reset_fr": ((), 1),
    "tm.t_on_failure": ((str,), 1),
    "tm.t_on_branch": ((str,), 1),
    "tm.t_on_reply": ((str,), 1),
    "tm.t_is_canceled": ((), -1),
    "tm.t_check_status": ((str,), -1),
    "tm.t_branch_timeout": ((), -1),
    "tm.t_branch_replied": ((), -1),
    "tmx.t_precheck_trans": ((), -1),
    "tmx.t_suspend": ((), 1),
    "tmx.t_continue": ((int, int, str), 1),
    "siputils.has_totag": ((), -1),
    "rr.record_route": ((), 1),
    "rr.loose_route": ((), -1),
    "maxfwd.process_maxfwd": ((int,), 1),
    "sanity.sanity_check": ((int, int), 1),
    "dispatcher.ds_is_from_list_mode": ((int, int), -1),
    "dispatcher.ds_select_dst": ((int, int), 1),
    "dispatcher.ds_next_dst": ((), 1),
    "xhttp.xhttp_reply": ((int, str, str, str), 1),
}


class _Routing(_Module):
    def __init__(self, ksr: FakeKsr, prefix: str) -> None:
        super().__init__(ksr)
        self._prefix = prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if f"{self._prefix}.{name}" not in _ROUTING:
            raise AttributeError(f"module '{self._prefix}' has no attribute '{name}'")
        return functools.partial(self.ksr.routing, f"{self._prefix}.{name}")


class FakeKsr:
    """One Kamailio: tables and `$shv` are those of all processes, `$var` those of one process, the rest of one call."""

    def __init__(self, mode: Mode, clock: Callable[[], float]) -> None:
        self.mode = mode
        self.clock = clock
        self.message = Message()
        self.debug = 2
        self.logs: list[tuple[str, str]] = []
        self.violations: list[str] = []
        self.held: list[tuple[str, str]] = []
        self.shv: dict[str, str | int | bytes] = {"stirshaken": 0}
        self.var: dict[str, str | int] = {}
        self.avp: dict[str, list[Any]] = {}
        """Octets are what a script copied from a message: they are decoded on reading."""
        self.transaction = (4711, -5)
        self.tables = {
            "stirshaken": Table(initval=0),
            "stirshaken_credentials": Table(),
            "stirshaken_parked": Table(autoexpire=60),
            "stirshaken_fetched": Table(autoexpire=60),
            "stirshaken_seen": Table(autoexpire=120),
        }
        self.queue: list[tuple[str, str, str]] = []
        self.queue_result = 1
        self.async_data = ""
        self.udp_mtu: int | None = None  # what the configuration defines
        self.answers: dict[str, Any] = {}
        """Answers of routing functions that differ from the everyday ones; a callable takes the arguments."""
        self.events: list[str] = []
        self.pv, self.hdr, self.htable = _Pv(self), _Hdr(self), _Htable(self)
        setattr(self, "async", _Async(self))
        self.sl, self.tm, self.tmx = _Routing(self, "sl"), _Routing(self, "tm"), _Routing(self, "tmx")
        self.siputils, self.rr, self.maxfwd = _Routing(self, "siputils"), _Routing(self, "rr"), _Routing(self, "maxfwd")
        self.sanity, self.dispatcher = _Routing(self, "sanity"), _Routing(self, "dispatcher")
        self.xhttp = _Routing(self, "xhttp")
        for level in ("dbg", "info", "notice", "warn", "err", "crit"):
            setattr(self, level, functools.partial(self._log, level))
        self._is = {"is_INVITE": "INVITE", "is_ACK": "ACK", "is_CANCEL": "CANCEL", "is_OPTIONS": "OPTIONS"}

    # --- The border between Python and C ------------------------------------------------------------------------

    def check(self, name: str, types: tuple[type, ...], arguments: tuple[Any, ...]) -> list[Any] | None:
        """The arguments as C gets them; None where 6.x logs an error and returns False."""
        if len(arguments) < len(types) or (self.mode == "5.6" and len(arguments) > len(types)):
            return self._refuse(f"{name}: {len(arguments)} arguments, not {len(types)}")
        taken: list[Any] = []
        for wanted, argument in zip(types, arguments, strict=False):
            if not isinstance(argument, wanted):
                return self._refuse(f"{name}: {type(argument).__name__}, not {wanted.__name__}")
            if isinstance(argument, str):
                taken.append(self._text(name, argument))
            else:
                taken.append(self._number(name, cast("int", argument)))
        return taken

    def _refuse(self, reason: str) -> list[Any] | None:
        self.violations.append(reason)
        if self.mode == "5.6":
            raise SystemError(reason)
        self.logs.append(("err", f"{reason}\n"))
        return None

    def _text(self, name: str, text: str) -> str:
        if "\0" in text:
            self.violations.append(f"{name}: NUL in {text!r}")
        if self.mode == "5.6" and "\0" in text:
            raise SystemError(f"{name}: embedded null character")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if self.mode == "5.6":
                raise SystemError(f"{name}: surrogates not allowed") from error
            raise
        return text

    def _number(self, name: str, number: int) -> int:
        if -_INT_MAX - 1 <= number <= _INT_MAX:
            return number
        if self.mode == "5.6":
            raise SystemError(f"{name}: signed integer is greater than maximum")
        return (number + _INT_MAX + 1) % (1 << 32) - _INT_MAX - 1

    # --- The log ------------------------------------------------------------------------------------------------

    def _log(self, level: str, *arguments: Any) -> Any:
        taken = self.check(level, (str,), arguments)
        if taken is None:
            return False
        line = taken[0]
        if not line.endswith("\n") or not (line[:-1].isascii() and line[:-1].isprintable()):
            self.violations.append(f"not one line of printable ASCII: {line!r}")
        self.logs.append((level, line))
        return None

    def get_debug(self) -> int:
        return self.debug

    def log_text(self, level: str = "") -> str:
        return "".join(line for known, line in self.logs if level in ("", known))

    # --- Pseudo-variables ---------------------------------------------------------------------------------------

    def read_pv(self, name: str) -> str | int | None:
        message = self.message
        octets: dict[str, bytes | None] = {
            "$rm": message.method.encode(),
            "$ru": message.request_uri,
            "$hu": message.request_uri,
            "$fu": message.from_uri,
            "$tu": message.to_uri,
            "$tt": message.to_tag,
            "$ci": message.call_id,
            "$si": message.source,
            "$proto": message.transport,
            "$tls_peer_subject_cn": message.tls_peer,
            "$tls_peer_san_hostname": message.tls_san,
            "$rb": message.body,
            "$rU": _user(message.request_uri),
            "$nh(u)": message.destination or message.request_uri,
        }
        for index in range(11):
            octets[f"$T_req($(hdr(Identity)[{index}]))"] = next(iter(message.upstream[index : index + 1]), None)
        if name in octets:
            value = octets[name]
            return None if value is None else value.decode("utf-8")
        numbers = {
            "$T(id_index)": self.transaction[0],
            "$T(id_label)": self.transaction[1],
            "$rs": message.status,
            "$sp": message.port,
            "$(mbu{s.len})": message.length,
            "$defn(EDGE_UDP_MTU)": self.udp_mtu,
            "$def(EDGE_MTU_TRANSPORT)": "tcp",
        }
        if name in numbers:
            return numbers[name]
        if name == "$async(data)":
            return self.async_data or None
        kind, _, inner = name.removesuffix(")").partition("(")
        self._known(name, kind, inner)
        if kind == "$shv":
            shared = self.shv.get(inner)
            return shared.decode("utf-8") if isinstance(shared, bytes) else shared
        if kind == "$var":
            return self.var.get(inner, 0)  # a script variable is 0 until it is set, and nobody resets it
        if kind == "$avp":
            top = self.avp.get(inner, [None])[-1]
            return top.decode("utf-8") if isinstance(top, bytes) else top
        self.logs.append(("err", f"unknown pseudo-variable {name!r}\n"))
        return None

    def write_pv(self, name: str, value: str | int) -> int:
        kind, _, inner = name.removesuffix(")").partition("(")
        self._known(name, kind, inner)
        if kind == "$shv":
            self.shv[inner] = value
        elif kind == "$var":
            self.var[inner] = value
        elif kind == "$avp":
            self.avp.setdefault(inner, []).append(value)
        elif name == "$du" and isinstance(value, str):
            self.message.destination = value.encode()
        elif name == "$fu" and isinstance(value, str):
            self.header_made("$fu", value)
            self.message.new_from_uri = value
        else:
            self.logs.append(("err", f"pseudo-variable {name!r} cannot be set\n"))
            return -1
        return 1

    def _known(self, name: str, kind: str, inner: str) -> None:
        if inner.startswith("stir_") and inner.removeprefix("stir_") not in _NAMES.get(kind, ()):
            self.violations.append(f"not a variable of ours: {name!r}")

    def headers_changed(self, lines: str, ours: tuple[str, ...] = _OURS) -> None:
        """What a peer wrote must not become a header line of its own."""
        if not lines.endswith("\r\n"):
            self.violations.append(f"not whole header lines: {lines!r}")
        for line in lines.removesuffix("\r\n").split("\r\n"):
            name, colon, value = line.partition(": ")
            if not colon or name not in ours:
                self.violations.append(f"not a header of ours: {line!r}")
            self.header_made(name, value)

    def header_made(self, name: str, value: str) -> None:
        if any(character in value for character in "\r\n\0"):
            self.violations.append(f"{name} with a control character: {value!r}")

    # --- Hash tables --------------------------------------------------------------------------------------------

    def entry(self, table: str, key: str) -> str | int | None:
        entries = self.tables[table].entries
        value, ends = entries.get(key, (None, None))
        if ends is not None and ends <= self.clock():
            del entries[key]
            return None
        return value

    def put_entry(self, table: str, key: str, value: str | int, lifetime: int) -> int:
        self.tables[table].entries[key] = (value, self.clock() + lifetime if lifetime else None)
        return 1

    # --- Routing ------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _ROUTING:
            raise AttributeError(f"module 'KSR' has no attribute '{name}'")
        return functools.partial(self.routing, name)

    def routing(self, name: str, *arguments: Any) -> Any:
        types, answer = _ROUTING[name]
        taken = self.check(name, types, arguments)
        if taken is None:
            return False
        if name in self._is:
            return self.message.method == self._is[name]
        if name == "is_method_in":
            letters = {"INVITE": "I", "ACK": "A", "CANCEL": "C", "BYE": "B", "OPTIONS": "O", "MESSAGE": "M", "SUBSCRIBE": "S"}
            return letters.get(self.message.method, "?") in taken[0]
        self.events.append(" ".join([name, *map(str, taken)]))
        answer = self.answers.get(name, answer)
        return answer(*taken) if callable(answer) else answer


def _user(uri: bytes) -> bytes | None:
    user, at, _ = uri.partition(b":")[2].partition(b"@")
    return user if at else None
