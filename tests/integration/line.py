"""A line for calls that are signed: a phone, the edge that signs, the edge that verifies, the phone that is called."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from kamailio_app.lab.edge import EXEC, KEMI, ROOT
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Issued, ServiceProvider
from tests.integration.conftest import Site
from tests.integration.peer import Peer, SipMessage

OTHER = {EXEC: KEMI, KEMI: EXEC}
VALID = "valid"
_AMPLE = 4.0  # seconds: the test's phones wait for 5


class Script(NamedTuple):
    """What a test's routing script does before a call is signed: native lines, and the same in Python."""

    native: str
    kemi: str


class Passport(NamedTuple):
    """What an Identity header says; nothing is verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def ppt(self) -> str:
        return str(self.header.get("ppt", ""))


def passport(identity: str) -> Passport:
    return Passport(*(json.loads(urlsafe_b64decode(f"{part}==")) for part in identity.split(".")[:2]))


@dataclass(frozen=True)
class Call:
    """A call that has ended. `request`: as the called phone saw it; `signed` and `verified` are the edges' lines about it."""

    call_id: str
    request: SipMessage
    answer: SipMessage
    signed: Mapping[str, str]
    verified: Mapping[str, str]

    @property
    def identities(self) -> list[str]:
        return self.request.all("identity")

    def passports(self, ppt: str = "shaken") -> list[Passport]:
        return [found for identity in self.identities if (found := passport(identity)).ppt == ppt]

    def claims(self, ppt: str = "shaken") -> Mapping[str, Any]:
        """Of the one PASSporT of that type."""
        (only,) = self.passports(ppt)
        return only.claims

    @property
    def verdict(self) -> str:
        """`VALID`, or why it is not."""
        return self.verified.get("token", self.verified["result"])

    @property
    def attest(self) -> str:
        """Empty if nobody signed it."""
        return str(self.claims()["attest"]) if self.identities else ""


@dataclass
class Line:
    """Use as a context manager. `policy` is the signing edge's; `signing` and `verifying` are sections of the settings.

    Its phones are at the addresses `ADDRESSES` of the network; `trunks` names those of which the script says a trunk.
    """

    network: Network
    directory: Path
    cfg: str
    policy: str = ""
    signing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verifying: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trunks: Mapping[int, str] = field(default_factory=dict)
    script: Script | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    workers: int = 2

    ADDRESSES = range(81, 86)

    def __post_init__(self) -> None:
        network, name = self.network, self.directory.name
        self.phones = {number: Peer(network.host(number)) for number in self.ADDRESSES}
        self.phone, self.callee = self.phones[self.ADDRESSES[0]], Peer(network.host(72))
        other = OTHER[self.cfg]
        self.verifier = network.edge(
            f"{name}-verifying",
            74,
            other,
            settings=network.settings(**_patient(self.verifying)),
            inside=[self.callee.uri],
            carriers=[f"sip:{network.host(73)}:5060"],
        )
        sections = {**self.signing, "signing": {"policy_file": "policy.toml", **self.signing.get("signing", {})}}
        cfg, defines = scripted(self.cfg, self.directory, self.script) if self.script else (self.cfg, {})
        self.signer = network.edge(
            f"{name}-signing",
            73,
            cfg,
            settings=network.settings(**sections),
            inside=[],
            carriers=[f"sip:{self.verifier.host}:{self.verifier.port}"],
            workers=self.workers,
            defines={**defines, **self.defines},
        )
        (self.signer.directory / "policy.toml").write_text(self.policy)
        with (self.signer.directory / "dispatcher.list").open("a") as file:
            for number, phone in self.phones.items():
                file.write(f"1 {phone.uri} 0 0 {self.trunks.get(number, '')}\n")
        self.target = (self.signer.host, self.signer.port)

    def __enter__(self) -> Line:
        try:
            self.verifier.start()
            self.signer.start()
        except RuntimeError:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self.signer.stop()
        self.verifier.stop()
        for peer in (*self.phones.values(), self.callee):
            peer.close()

    def provider(self, name: str, spec: ServiceProvider | None = None) -> Issued:
        """Publish a certificate, and give it to the edge that signs, which looks at its start and its next reload."""
        issued = self.network.publish(f"{self.directory.name}-{name}", spec or ServiceProvider())
        issued.write(self.signer.directory / "certs", f"{self.directory.name}-{name}")
        return issued

    def call(self, phone: Peer | None = None, **fields: Any) -> Call:
        """A call that reaches the called phone, which is busy."""
        phone = phone or self.phone
        call_id = phone.invite(self.target, **fields)
        request = self.callee.receive_request("INVITE")
        assert request.header("call-id") == call_id
        self.callee.answer(request)
        answer = phone.final()
        assert answer.code == 486
        return Call(call_id, request, answer, self.signer.calls().get(call_id, {}), self.verifier.calls().get(call_id, {}))

    def refused(self, phone: Peer | None = None, **fields: Any) -> SipMessage:
        """A call that the signing edge answers itself."""
        phone = phone or self.phone
        call_id = phone.invite(self.target, **fields)
        answer = phone.final()
        assert answer.header("call-id") == call_id
        with suppress(TimeoutError):
            raise AssertionError(f"it went on: {self.callee.receive_request('INVITE', timeout=0.1).start_line}")
        return answer


def _patient(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """An edge that waits for certificates as long as a busy machine takes to fetch them."""
    return {
        **{name: {**options} for name, options in sections.items()},
        "verification": {"call_time_budget": _AMPLE, **sections.get("verification", {})},
        "x5u": {"fetch_timeout": _AMPLE, **sections.get("x5u", {})},
    }


class SigningSite(Site):
    """An edge that signs by a policy, and nothing behind it that verifies: a test sees what leaves."""

    def __init__(
        self, network: Network, directory: Path, cfg: str, policy: str = "", script: Script | None = None, **options: Any
    ) -> None:
        options.setdefault("settings", network.settings(signing={"policy_file": "policy.toml"}))
        if script:
            cfg, defines = scripted(cfg, directory, script)
            options["defines"] = {**options.get("defines", {}), **defines}
        super().__init__(network, directory, cfg, **options)
        network.provider.write(self.edge.directory / "certs", "sp1234")
        (self.edge.directory / "policy.toml").write_text(policy)


def lines(*header: str) -> str:
    """Header lines as a request has them."""
    return "".join(f"{each}\r\n" for each in header)


def identities(values: Iterable[str]) -> str:
    return lines(*(f"Identity: {value}" for value in values))


def scripted(cfg: str, directory: Path, script: Script) -> tuple[str, Mapping[str, str]]:
    """The shipped routing, with a test's lines before a call is signed: the configuration, and what it has to be told."""
    if cfg == EXEC:
        shipped = (ROOT / "cfg" / EXEC).read_text()
        for old, new in (
            ("route(STIR_SIGN);   # STIR", f"{script.native}\n\t\troute(STIR_SIGN);"),
            ('include_file "stirshaken.cfg"', f'include_file "{ROOT}/cfg/stirshaken.cfg"'),
        ):
            assert shipped.count(old) == 1, old
            shipped = shipped.replace(old, new)
        path = directory / "scripted.cfg"
        path.write_text(shipped)
        return str(path), {}
    path = directory / "scripted_edge.py"
    path.write_text(_KEMI.format(scripts=str(ROOT / "kemi_scripts"), script=script.kemi))
    return KEMI, {"STIRSHAKEN_EDGE_SCRIPT": f'"{path}"'}


_KEMI = """import sys

sys.path.insert(0, {scripts!r})

import KSR
import stirshaken_paths
from stirshaken_edge import Edge as Shipped


class Edge(Shipped):
    def outbound(self):
        if KSR.is_INVITE():
            {script}
        super().outbound()


def mod_init():
    return Edge(stirshaken_paths.handler())
"""


def origids(calls: Sequence[Call]) -> list[str]:
    return [call.claims()["origid"] for call in calls]
