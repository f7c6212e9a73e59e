"""A system under test while it runs: one that the suite starts, or one that it reaches."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from cryptography import x509

from kamailio_app.lab.edge import free_port, with_another
from kamailio_app.lab.network import Network
from kamailio_app.lab.repository import Repository
from tests.sipp.suite import signing_files, target
from tests.sipp.suite.actions import TRUST_FILE, Operated, await_log
from tests.sipp.suite.certificates import GOOD, TLS, Certificates
from tests.sipp.suite.signing_files import SigningFiles
from tests.sipp.suite.target import MAX_ADDRESSED, Profile, Reach, Side, Target
from tests.sipp.suite.trust_files import TrustFiles

_HOSTS_PER_LANE: Final = 3
_PATIENCE: Final = 8.0
RECORD: Final = "calls"  # where a system keeps the record of its calls, if its profile says so
_FIRST_TRUNK, _FIRST_LANE = 2, 2 + MAX_ADDRESSED  # trunks may be the same in all lanes


def _addresses(lab: Lab, profile: Profile) -> dict[str, str]:
    """Of its trunks and places. A profile that takes another's place has the same ones in the same order."""
    return {name: lab.network.host(place) for place, name in enumerate(profile.addressed, _FIRST_TRUNK)}


class NotStartedError(Exception):
    """A system that does not start; with its first complaint."""


class Lab:
    """What systems share: hierarchy, repository, certificates. One for all that are started, one for each that is reached."""

    def __init__(self, directory: Path, reach: Reach | None = None) -> None:
        repository = reach.repository if reach else target.Repository()
        host, _, port = _address(repository.listen).rpartition(":")
        self.network = Network(directory, (host, int(port), repository.name))
        published = Path(repository.directory) if repository.directory else None
        url: Callable[[str], str] | None = None
        if published:
            published.mkdir(parents=True, exist_ok=True)
            base = repository.url.rstrip("/")
            url = lambda path: f"{base}/{path}"  # noqa: E731 - the repository's own, elsewhere
        self._tls: dict[str, Repository] = {}
        if reach is None:
            self._tls = {kind: self._web_server(directory / kind, *TLS[kind]) for kind in TLS}
        self.certificates = Certificates(self.network, url, published, elsewhere=reach is not None, tls=self._tls)
        self._stack = ExitStack()

    def _web_server(self, directory: Path, name: str, seconds: float) -> Repository:
        hierarchy = self.network.hierarchy
        return Repository(directory, hierarchy.web_server([name], not_after=hierarchy.now + seconds))

    def __enter__(self) -> Lab:
        self._stack.enter_context(self.network)
        for repository in self._tls.values():
            self._stack.enter_context(repository)
        _ = self.certificates[GOOD]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def revoked(self) -> list[x509.Certificate]:
        """What the STI-PA's CRL has from the beginning."""
        return [self.certificates["revoked"].certificate, self.certificates["of-revoked-issuer"].issuers[0]]

    def settings(self, name: str) -> str:
        """stirshaken.toml of a profile. Its x5u_ports come beside those of the laboratory; and calls wait longer than by
        default, for the machine may be busy.
        """
        network = self.network
        sections = dict(target.profile(name).settings)
        sections["verification"] = {"call_time_budget": _PATIENCE, **sections.get("verification", {})}
        for trunk, options in sections.pop("trunk", {}).items():
            sections[f"trunk.{trunk}"] = options
        if files := signing_files.options(target.profile(name)):
            sections["signing"] = {**files, **sections.get("signing", {})}
        mine = [network.repository.port, network.closed_port, network.silent_port, *(one.port for one in self._tls.values())]
        x5u = sections.get("x5u", {})
        sections["x5u"] = {**x5u, "x5u_ports": [*x5u.get("x5u_ports", []), *mine]}
        return network.settings(**sections)


class System(Protocol):
    """What a lane needs of it. `operated`: what actions work on, if the suite may operate it. `trunks`: their addresses."""

    lab: Lab
    trunks: Mapping[str, str]
    operated: Operated | None

    def __enter__(self) -> System: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def side(self, name: str) -> Side: ...

    def log(self) -> str: ...

    def record(self) -> str: ...

    def keep(self, directory: Path) -> None: ...

    def signer(self, x5u: str) -> tuple[str, x509.Certificate] | None: ...


class Started:
    """A Kamailio between an inside and a carrier. `number`: of the lane, for addresses that no other lane has."""

    def __init__(self, lab: Lab, wanted: Target, profile: str, number: int) -> None:
        assert wanted.start is not None
        self.lab = lab
        name = f"{wanted.name}-{profile}-{number}"
        first = _FIRST_LANE + number * _HOSTS_PER_LANE
        inside, carrier = lab.network.host(first + 1), lab.network.host(first + 2)
        self._inside, self._carrier = f"{inside}:{free_port(inside)}", f"{carrier}:{free_port(carrier)}"
        directory = lab.network.directory / name
        names = _names(lab, directory, wanted.folder)
        start = wanted.start
        cfg = Path(wanted.folder) / start.cfg
        if start.instead:
            cfg = with_another(Path(wanted.folder) / start.instead, directory)
        self.edge = lab.network.edge(
            name,
            first,
            str(cfg) if cfg.is_file() else start.cfg,
            settings=lab.settings(profile),
            inside=[f"sip:{self._inside}"],
            carriers=[f"sip:{self._carrier}"],
            workers=start.workers,
            defines=_filled(start.defines, **names),
            environment=_filled(start.environment, **names),
        )
        shutil.copy(lab.network.ca_file, directory / TRUST_FILE)
        for certificate in target.profile(profile).certificates:
            lab.certificates[certificate].write(directory / "certs", certificate)
        used = target.profile(profile)
        self._ready = used.ready if wanted.log else ""
        self.trunks: Mapping[str, str] = _addresses(lab, used)
        with (directory / "dispatcher.list").open("a") as file:
            file.writelines(f"2 sip:{self.trunks[trunk]} 0 0 {trunk}\n" for trunk in used.trunks)
            file.writelines(f"1 sip:{self.trunks[trunk]} 0 0 {trunk}\n" for trunk in used.inside)
            file.writelines(f"1 sip:{self.trunks[place]}\n" for place in used.places)
        files = SigningFiles(directory, lambda name: _addresses(lab, target.profile(name)))
        files.write(profile)
        trust = TrustFiles(directory, lab.certificates.policy, lab.revoked() if "trust" in used.settings else ())
        if "trust" in used.settings:
            trust.write()
        self.operated: Operated | None = Operated(self.edge, lab.certificates, lab.settings, trust, files)

    def __enter__(self) -> Started:
        try:
            self.edge.start()
            if self._ready:
                await_log(self.edge.log, self._ready)
        except RuntimeError as error:
            said = [line for line in self.edge.log().splitlines() if " ERROR: " in line or "CRITICAL: " in line]
            raise NotStartedError(said[0] if said else str(error)) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.edge.stop()

    def side(self, name: str) -> Side:
        ends = (self._inside, self._carrier) if name == "sign" else (self._carrier, self._inside)
        return Side(f"{self.edge.host}:{self.edge.port}", ends[0].rpartition(":")[0], ends[1])

    def log(self) -> str:
        return self.edge.log()

    def record(self) -> str:
        return "".join(path.read_text() for path in sorted((self.edge.directory / RECORD).glob("calls-*.jsonl")))

    def keep(self, directory: Path) -> None:
        """Its log, for a reader of the traces."""
        (directory / "system.log").write_text(self.edge.log())

    def signer(self, x5u: str) -> tuple[str, x509.Certificate] | None:
        return self.lab.certificates.find(x5u)


class Reached:
    """A system that runs elsewhere."""

    def __init__(self, lab: Lab, wanted: Target) -> None:
        assert wanted.reach is not None
        self.lab, self._reach = lab, wanted.reach
        self.trunks: Mapping[str, str] = {}
        self.operated: Operated | None = None

    def __enter__(self) -> Reached:
        good = self.lab.certificates[GOOD]
        if self._reach.trust_file:
            Path(self._reach.trust_file).write_bytes(self.lab.network.hierarchy.root.pem)
        if self._reach.key_directory:
            good.write(Path(self._reach.key_directory), GOOD)
        if self._reach.reload:
            subprocess.run(self._reach.reload, check=True, capture_output=True, timeout=60)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """It was not ours to start."""

    def side(self, name: str) -> Side:
        found = self._reach.sign if name == "sign" else self._reach.verify
        assert found is not None
        return Side(*(_address(place) for place in (found.to, found.from_, found.callee)))

    def log(self) -> str:
        path = Path(self._reach.log_file) if self._reach.log_file else None
        return path.read_text("utf-8", "replace") if path and path.exists() else ""

    def record(self) -> str:
        """It lies elsewhere."""
        return ""

    def keep(self, directory: Path) -> None:
        """Its files are its own."""

    def signer(self, x5u: str) -> tuple[str, x509.Certificate] | None:
        if self._reach.certificate:
            return GOOD, x509.load_pem_x509_certificate(Path(self._reach.certificate).read_bytes())
        return self.lab.certificates.find(x5u)


def _address(place: str) -> str:
    """HOST or HOST:PORT with the address of the host: SIPp binds to addresses. Errors: OSError."""
    host, colon, port = place.partition(":")
    return socket.gethostbyname(host) + colon + port


def _names(lab: Lab, directory: Path, here: str) -> dict[str, str]:
    return {
        "directory": str(directory),
        "certificate_url": lab.certificates.url(GOOD),
        "key": str(directory / "certs" / f"{GOOD}.key"),
        "chain": str(directory / "certs" / f"{GOOD}.pem"),
        "trusted": str(lab.network.ca_file),
        "here": here,
    }


def _filled(table: dict[str, Any], **names: str) -> dict[str, Any]:
    """The table with {name} filled in, in every text of it."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, str):
            for name, text in names.items():
                value = value.replace(f"{{{name}}}", text)
        return value

    filled: dict[str, Any] = fill(table)
    return filled
