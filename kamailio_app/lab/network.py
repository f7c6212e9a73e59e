"""A small telephone network on loopback: hierarchy, repository, edges, and Identity headers with any deviation.

Every network has addresses of its own in 127.0.0.0/8, so that several can run at once.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kamailio_app.credentials.credential import fitness
from kamailio_app.lab.edge import Edge, free_port
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.lab.repository import Repository
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signer, sign

CALLER, CALLED = "+12155550121", "+12155550131"


class Network:
    """Use as a context manager: the repository runs inside."""

    def __init__(self, directory: Path, repository: tuple[str, int, str] = ("127.0.0.1", 0, "localhost")) -> None:
        """`repository`: address, port and name in URLs."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.now = time.time()
        self.hierarchy = Hierarchy(self.now)
        self.provider = self.hierarchy.service_provider()
        host, port, name = repository
        self.repository = Repository(directory / "repository", self.hierarchy.web_server([name]), host, port, name)
        self.repository.chains["sp1234.pem"] = self.provider.chain_pem
        self.ca_file = directory / "trusted.pem"
        self.ca_file.write_bytes(self.hierarchy.root.pem)
        # A port where nobody listens, and one where somebody listens and never says a word
        self.closed_port = free_port(kind=socket.SOCK_STREAM)
        self._silent = socket.create_server(("127.0.0.1", 0))
        self.silent_port: int = self._silent.getsockname()[1]
        self._net = int.from_bytes(os.urandom(2), "big") % 65000

    def __enter__(self) -> Network:
        self.repository.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.repository.__exit__(kind, error, trace)
        self._silent.close()

    def host(self, number: int) -> str:
        """An address of this network: 127.x.y.number."""
        return f"127.{1 + self._net // 256}.{self._net % 256}.{number}"

    def settings(self, **sections: Mapping[str, Any]) -> str:
        """stirshaken.toml for this network; sections override options."""
        values: dict[str, dict[str, Any]] = {
            "signing": {"certificate_dir": "certs", "public_cert_url": self.repository.url("{name}.pem")},
            "verification": {"ca_file": str(self.ca_file)},
            "x5u": {
                "x5u_ports": [self.repository.port, self.closed_port, self.silent_port],
                "x5u_tls_ca_file": str(self.ca_file),
                "relax_x5u_private_addresses": True,
                # One host here is a hundred repositories, most of them out of order
                "breaker_failures": 0,
            },
            "cache": {"state_dir": "state"},
        }
        for section, options in sections.items():
            values.setdefault(section, {}).update(options)
        lines = []
        for section, options in values.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {_toml(value)}" for name, value in options.items()]
        return "\n".join(lines) + "\n"

    def edge(self, name: str, number: int, cfg: str, **options: Any) -> Edge:
        """An edge at 127.x.y.number."""
        host = self.host(number)
        options.setdefault("settings", self.settings())
        return Edge(self.directory / name, cfg=cfg, host=host, port=free_port(host), **options)

    def publish(self, name: str, spec: ServiceProvider, hierarchy: Hierarchy | None = None) -> Issued:
        """Issue a certificate and put its chain into the repository as NAME.pem."""
        issued = (hierarchy or self.hierarchy).service_provider(spec)
        self.repository.chains[f"{name}.pem"] = issued.chain_pem
        return issued

    def identity(
        self,
        *,
        issued: Issued | None = None,
        x5u: str = "",
        caller: str = CALLER,
        called: str = CALLED,
        attest: Attestation = Attestation.FULL,
        age: float = 0,
    ) -> str:
        """An Identity header field value, signed `age` seconds ago."""
        issued = issued or self.provider
        now = time.time() - age
        signer = Signer(
            "lab", x5u or self.repository.url("sp1234.pem"), 0, 1 << 40, "", fitness(issued.certificate)[1].spcs, issued.key
        )
        request = Request("INVITE", f"sip:{called}@x", f"sip:{caller}@x", f"sip:{called}@x")
        return sign(request, attest, signer, now=now, origid=str(uuid.uuid4())).identity


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
