"""The calls of one process, without any SIP server: a port that remembers what it was told, and a service behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kamailio_app.adapters.calls import Calls
from kamailio_app.adapters.outbound import Outbound
from kamailio_app.adapters.port import Level
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.record import BEGIN, END, SEPARATOR
from kamailio_app.runtime.service import Service
from kamailio_app.sip import Request

from ..builders import NOW, X5U, hierarchy, pem, provider, request
from ..runtime.recorded import CALL
from ..runtime.support import Clock, toml

OPEN: list[Service] = []
"""Closed after each test."""
OUR_X5U = "https://cr.example.test/sp1234.pem"


class Port:
    """A SIP server that remembers what it was told."""

    def __init__(self) -> None:
        self.snapshot = request()
        self.level = 2
        self.lines = ""
        self.removed: list[str] = []
        self.says: dict[str, str] = {}
        self.id = "a b\r\n@h"
        self.address, self.port, self.protocol, self.peer = "192.0.2.9", 5060, "udp", "pbx.customer.example"
        self.sdp = ""
        self.private: tuple[str, ...] = ()
        self.reason: tuple[str, ...] = ()
        self.upstream: tuple[str, ...] = ()
        self.replaced: dict[str, list[str]] = {}
        self.asked_for: list[str] = []
        self.seen: dict[str, int] = {}
        self.published: list[set[str]] = []
        self.asserted: list[str] | None = None
        self.from_uri: str | None = None
        self.results: dict[str, str | int] = {}
        self.said: list[tuple[str, str]] = []
        self.known: set[str] = set()
        self.table: dict[str, str] = {}

    def request(self) -> Request:
        if self.snapshot.identity:
            return self.snapshot
        # What few calls have is read where it is asked for
        return self.snapshot._replace(resource_priority=(), priority=None, diversion=(), history_info=())

    def call_id(self) -> str:
        return self.id

    def script(self, name: str) -> str:
        self.asked_for.append(name)
        return self.says.get(name, "")

    def source(self) -> str:
        self.asked_for.append("source")
        return self.address

    def source_port(self) -> int:
        self.asked_for.append("port")
        return self.port

    def transport(self) -> str:
        self.asked_for.append("transport")
        return self.protocol

    def tls_peer(self) -> str:
        self.asked_for.append("tls_peer")
        return self.peer

    def request_in_full(self) -> Request:
        self.asked_for.append("request_in_full")
        return self.snapshot

    def privacy(self) -> tuple[str, ...]:
        self.asked_for.append("privacy")
        return self.private

    def body(self) -> str:
        self.asked_for.append("body")
        return self.sdp

    def reasons(self) -> tuple[str, ...]:
        return self.reason

    def identity_upstream(self) -> tuple[str, ...]:
        return self.upstream

    def replace_header(self, name: str, values: Sequence[str]) -> None:
        self.replaced = {name: list(values)}

    def remove_header(self, name: str) -> None:
        self.removed.append(name)

    def seen_before(self, key: str, lifetime: int) -> bool:
        seen = key in self.seen
        self.seen.setdefault(key, lifetime)
        return seen

    def append_headers(self, lines: str) -> None:
        self.lines += lines

    def replace_asserted(self, values: Sequence[str]) -> None:
        self.asserted = list(values)

    def remove_asserted(self) -> None:
        self.asserted = []

    def append_asserted(self, values: Sequence[str]) -> None:
        self.asserted = list(values)

    def replace_from_uri(self, uri: str, sent: str) -> None:
        self.from_uri = uri

    def publish(self, results: Mapping[str, str | int]) -> None:
        self.results.update(results)
        self.published.append(set(results))

    def log(self, level: Level, text: str) -> None:
        self.said.append((level, text))

    def logs(self, level: Level) -> bool:
        return {"err": -1, "warn": 0, "info": 2}[level] <= self.level

    def once(self, what: str) -> bool:
        fresh = what not in self.known
        self.known.add(what)
        return fresh

    def get(self, key: str) -> str | None:
        return self.table.get(key)

    def put(self, key: str, value: str, lifetime: int) -> None:
        self.table[key] = value


class Desk:
    """The calls of one process with everything at hand; `policy` is the text of a signing policy."""

    def __init__(self, directory: Path, policy: str | None = None, /, **sections: Mapping[str, Any]) -> None:
        self.directory = directory
        self.settings(policy, **sections)
        (directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate))
        provider().write(directory / "certs", "sp1234")
        self.clock, self.port = Clock(), Port()
        self._open()
        self.has(X5U, provider().chain_pem)

    def _open(self) -> None:
        self.service = Service(self.directory / "stirshaken.toml", self.port, clock=self.clock)
        OPEN.append(self.service)
        self.calls = Calls(self.service, self.port)
        self.outbound = Outbound(self.service, self.port)

    def settings(self, policy: str | None = None, /, **sections: Mapping[str, Any]) -> None:
        """Write the settings file and the policy; `sections` are the deviations."""
        values: dict[str, dict[str, Any]] = {
            "signing": {"certificate_dir": "certs", "public_cert_url": "https://cr.example.test/{name}.pem"},
            "verification": {"ca_file": "trusted.pem"},
        }
        if policy is not None:
            (self.directory / "policy.toml").write_text(policy)
            values["signing"]["policy_file"] = "policy.toml"
        for section, options in sections.items():
            values.setdefault(section, {}).update(options)
        (self.directory / "stirshaken.toml").write_text(toml(values))

    def process(self) -> Desk:
        """Another process of the same server: forked before any call."""
        other = object.__new__(Desk)
        other.directory, other.clock, other.port = self.directory, self.clock, Port()
        other.port.known = self.port.known  # which all processes share
        other._open()
        other.service.accepted, other.service.trust = self.service.accepted, self.service.trust
        return other

    def reload(self) -> None:
        """What the first process does; what is said once is said once again."""
        self.service.reload()
        self.port.known.clear()

    def has(self, url: str, chain: bytes = b"", token: str = "") -> None:
        """What a fetch brought is at hand: a chain, or the token of a failure."""
        lifetime = 10 if token else 3600
        fetched = Fetched(NOW + lifetime, pem=chain.decode(), token=token, generation=self.service.generation)
        self.port.put(url, fetched.to_text(), lifetime)

    def sign(self, attest: str = "", **changes: Any) -> int:
        """Another call: nothing was done to it yet."""
        port = self.port
        port.snapshot, port.lines, port.removed, port.asked_for = request(**changes), "", [], []
        return self.outbound.sign(attest)

    def verify(self, *, block: bool = False, last_try: bool = False, tag: bool = True, **changes: Any) -> int:
        self.port.snapshot = request(**changes)
        return self.calls.verify(block=block, last_try=last_try, tag=tag)

    def line(self) -> str:
        ((level, text),) = self.port.said
        assert level == "info"
        return text

    def records(self) -> list[dict[str, str]]:
        """The calls that were recorded, field by field."""
        memory = self.service.record.fds[0]
        frames = os.pread(memory, os.fstat(memory).st_size, 0).decode().split(END)[:-1]
        names = (*CALL, "x5u")
        return [dict(zip(names, frame.removeprefix(BEGIN).split(SEPARATOR), strict=True)) for frame in frames]
