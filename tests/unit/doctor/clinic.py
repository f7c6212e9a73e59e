"""An edge in which everything is right, with a running Kamailio, an NTP server and a web that are not there. A test passes its
deviation.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from threading import Thread
from typing import Any, Final

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.doctor import clock, lists, self_call
from kamailio_app.doctor.checks import AREAS
from kamailio_app.doctor.examination import examine, worst
from kamailio_app.doctor.finding import Finding, State
from kamailio_app.doctor.server import MODULES, TABLES
from kamailio_app.doctor.site import Site
from kamailio_app.errors import failure
from kamailio_app.lab.pki import POLICY_URL, Hierarchy, Issued, ServiceProvider
from kamailio_app.lifecycle import publication
from kamailio_app.lifecycle.publication import Seen
from kamailio_app.lifecycle.server import Kamailio
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.trust import Sources, Trust

from ..runtime.support import Web, toml

NOW: Final = time.time()  # files have the times of this machine
DAY: Final = 86400
LIST_URL, CRL_URL = "https://pa.example.test/list", "https://pa.example.test/crl"
X5U: Final = "https://cr.example.test/{name}.pem"
SYNCHRONISED: Final = "A9FEA97B,169.254.169.123,4,1764446400.0,-0.000012,0,0,0,0,0,0,0,64.2,Normal"
_1900: Final = 2_208_988_800
PROCESSES: Final = {
    10: "main process - attendant",
    11: "udp receiver child=0 sock=192.0.2.1:5060",
    13: "Async Task Worker - stirshaken",
    14: "Async Task Worker - stirshaken",
    15: "ctl handler",
}
AREAS_OF_FILES: Final = tuple(area for area in AREAS if area != "python")  # that one starts interpreters


@cache
def hierarchy() -> Hierarchy:
    return Hierarchy(NOW)


@cache
def pair(spc: str = "1234", begins: float = NOW - DAY, ends: float = NOW + 60 * DAY) -> Issued:
    return hierarchy().service_provider(ServiceProvider(spc, not_before=begins, not_after=ends))


class Server(Kamailio):
    """What Kamailio 5.6.3 answers, without one. `answers` are by command."""

    def __init__(self, cfg: Path, keeper: int) -> None:
        super().__init__()
        workers = {100 + number: "udp receiver child=0 sock=192.0.2.1:5060" for number in range(len(os.sched_getaffinity(0)))}
        self.listed = {**PROCESSES, **workers, keeper: "RTIMER EXEC child=0 timer=stirshaken"}
        self.loaded = set(MODULES)
        self.answers: dict[str, str] = {
            "core.version": "kamailio 5.6.3 (x86_64/linux) \n",
            "core.arg": f"kamailio\n-f\n{cfg}\n-DD\n",
            "core.pwd": "/\n",
            "core.uptime": "{\n\tuptime: 100\n}\n",
            "core.ppdefines": "KAMAILIO_5\nEDGE_UDP_MTU\nSTIRSHAKEN_PARK\n",
            "core.sockets_list": "{\n\tsocket: {\n\t\tproto: udp\n\t}\n\tsocket: {\n\t\tproto: tcp\n\t}\n}\n",
            "core.shmmem": "{\n\ttotal: 134217728\n\tfree: 131295448\n\tused: 2678184\n}\n",
            "htable.listTables": "".join(f"{{\n\tname: {name}\n\tsize: 16\n}}\n" for name in TABLES),
            "htable.dump stirshaken": "",
            "htable.get stirshaken trust_list": "{\n\tvalue: sequence=1 age=3s next=- failures=0\n}\n",
            "htable.get stirshaken crl": "{\n\tvalue: number=1 age=3s next=- failures=0\n}\n",
            "tm.stats": "{\n\tcurrent: 2\n\twaiting: 1\n\ttotal: 9\n}\n",
        }
        self.epoch: int | None = None
        self.gone = False

    def rpc(self, *words: str) -> str:
        if self.gone:
            raise failure("server_unreachable", "unix:/nowhere: connection refused")
        match words:
            case ("core.modules",):
                return "\n".join(self.loaded)
            case ("core.ps",):
                return "\n".join(f"{pid}\n{name}" for pid, name in self.listed.items())
            case ("pv.shvGet", _) if self.epoch is not None:
                return f"{{\n\tname: stirshaken\n\ttype: int\n\tvalue: {self.epoch}\n}}\n"
        answer = self.answers.get(" ".join(words))
        if answer is None:
            raise failure("server_refused", f"{' '.join(words)}: 500 - no such thing")
        return answer


class TimeServer:
    """NTP over UDP on loopback. `answers` makes the datagrams of a request; by default the right one, `off` seconds off."""

    def __init__(self) -> None:
        self.off, self.stratum, self.leap = 0.0, 2, 0
        self.silent = False
        self.before: list[bytes] = []  # datagrams that come first
        self._socket = socket(AF_INET, SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            request, peer = self._socket.recvfrom(1024)
            if not request:
                return
            for datagram in self.before:
                self._socket.sendto(datagram, peer)
            if not self.silent:
                self._socket.sendto(self.answer(request), peer)

    def answer(self, request: bytes, *, mode: int = 4) -> bytes:
        now = time.time() + self.off + _1900
        stamp = struct.pack("!II", int(now) % (1 << 32), int(now % 1 * (1 << 32)))
        head = struct.pack("!BBbbII4s", self.leap << 6 | 4 << 3 | mode, self.stratum, 0, 0, 0, 0, b"RATE")
        return head + bytes(8) + request[40:48] + stamp + stamp

    def __enter__(self) -> TimeServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with socket(AF_INET, SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@dataclass
class Clinic:
    """`sections` are the settings' deviations."""

    directory: Path
    server: Server
    ntp: TimeServer
    web: Web = field(default_factory=Web)
    seen: dict[str, Seen] = field(default_factory=dict)  # by URL, what `publication.look` says; else all is well
    tracking: str = SYNCHRONISED  # what chronyc says
    timedatectl: str = ""
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    more: str = ""  # lines behind the settings

    @property
    def certs(self) -> Path:
        return self.directory / "certs"

    @property
    def settings(self) -> Path:
        return self.directory / "stirshaken.toml"

    def add(self, name: str, issued: Issued) -> None:
        issued.write(self.certs, name)

    def set(self, section: str, **options: Any) -> None:
        self.sections.setdefault(section, {}).update(options)

    def lists(self, *, expires: float = NOW + 30 * DAY, next_update: float = NOW + 7 * DAY, **deviation: Any) -> None:
        """What the STI-PA publishes, and what the server keeps of it."""
        signer, roots = hierarchy().policy_signer, TrustAnchors([hierarchy().policy_root.certificate])
        text = hierarchy().trust_list(
            deviation.get("roots"),
            deviation.get("sequence", 1),
            expires=expires,
            bring_signer=deviation.get("bring_signer", True),
        )
        crl = hierarchy().crl(deviation.get("revoked", ()), this_update=NOW - 1800, next_update=next_update)
        self.web.answers[LIST_URL] = Download(text.encode(), "", date=formatdate(time.time()))
        self.web.answers[POLICY_URL] = Download(signer.chain_pem, "")
        self.web.answers[CRL_URL] = Download(crl, "", date=formatdate(time.time()))
        long_ago = min(expires, next_update, NOW) - 1
        listed = read_trust_list(text, signer.chain_pem, roots, long_ago)
        revocations = read_crl(crl, roots, long_ago, signers=[signer.certificate])
        sources = Sources(*Sources.of(self.rules(), roots))
        Trust(listed.to_text(), revocations.to_text(), *sources).to_disk(self.directory / "state")

    def rules(self) -> Any:
        self.write()
        return Site(self.settings).settings.trust

    def write(self) -> None:
        values: dict[str, Mapping[str, Any]] = {
            "signing": {"certificate_dir": "certs", "public_cert_url": X5U, "attest_level": "A"},
            "verification": {"ca_file": "trusted.pem"},
            "trust": {"trust_list_url": LIST_URL, "crl_url": CRL_URL, "sti_pa_ca_file": "pa.pem"},
            "cache": {"state_dir": "state"},
            "provider": {"spc": "1234", "provider_state_dir": "provider"},
        }
        for section, options in self.sections.items():
            values[section] = {**values.get(section, {}), **options}
        self.settings.write_text(toml({name: options for name, options in values.items() if options}) + self.more)

    def site(self, **options: Any) -> Site:
        self.write()
        if self.server.epoch is None:
            self.server.epoch = int(time.time())  # it has read what is there now
        options = {"fetch": True, "ntp": f"127.0.0.1:{self.ntp.port}", "user": "root", **options}
        return Site(self.settings, connect=lambda _control, _seconds: self.server, **options)

    def findings(self, *areas: str, **options: Any) -> list[Finding]:
        return examine(self.site(**options), areas or AREAS_OF_FILES)

    def not_good(self, *areas: str, **options: Any) -> dict[str, State]:
        return not_good(self.findings(*areas, **options))

    def words(self, area: str, check: str, **options: Any) -> str:
        """All that a check says, with what to do."""
        found = [each for each in self.findings(area, **options) if each.check == check]
        return "\n".join(f"{each.state}: {each.seen} -> {each.fix}" for each in found)


def not_good(findings: Iterable[Finding]) -> dict[str, State]:
    """What is not good, by area and check; the worst of each."""
    found: dict[str, list[Finding]] = {}
    for each in findings:
        if each.state is not State.GOOD:
            found.setdefault(f"{each.area}: {each.check}", []).append(each)
    return {name: worst(each) for name, each in found.items()}


@contextmanager
def opened(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    """Everything there, and right."""
    cfg = directory / "kamailio.cfg"
    cfg.write_text('loadmodule "app_python3.so"\n')
    # As the keeper's: a child of its that bears this name
    named = ["sh", "-c", "read line", "kamailio_app.runtime.fetch_process"]
    with TimeServer() as ntp, subprocess.Popen(named, stdin=subprocess.PIPE) as fetching:
        clinic = Clinic(directory, Server(cfg, os.getpid()), ntp)
        (directory / "trusted.pem").write_bytes(hierarchy().root.pem)
        (directory / "pa.pem").write_bytes(hierarchy().policy_root.pem)
        clinic.add("sp1234", pair())
        clinic.web.answers[X5U.format(name="sp1234")] = Download(pair().chain_pem, "", date=formatdate(time.time()))
        clinic.lists()
        for module in (clock, self_call, lists):
            monkeypatch.setattr(module, "Fetcher", clinic.web.fetcher)
        monkeypatch.setattr(publication, "look", lambda url, *_, **__: clinic.seen.get(url) or Seen(url, True, ()))
        said = {"chronyc": lambda: clinic.tracking, "timedatectl": lambda: clinic.timedatectl}
        monkeypatch.setattr(clock, "_said", lambda command, *_: said[command]())
        yield clinic
        fetching.communicate(b"\n")
