"""An STI-PA whose trust list and CRL the laboratory's repository serves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from subprocess import CalledProcessError
from typing import Final

from cryptography import x509

from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Issued
from tests.integration.conftest import Site

INTERVAL: Final = 5  # seconds between two looks at the lists: as short as it may be


class PolicyAdministrator:
    """Publishes by URL and as files; `name` keeps several of them apart."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._directory = network.directory / f"{name}-sti-pa"
        self._directory.mkdir()
        self._list, self._crl, self._signer = self.paths = f"{name}.jws", f"{name}.crl", f"{name}.crt"
        hierarchy = network.hierarchy
        self._roots = self._directory / "roots.pem"
        # The CRL's signer is no root, and the CRL does not bring it along
        self._roots.write_bytes(hierarchy.policy_root.pem + hierarchy.policy_signer.pem)
        network.repository.chains[self._signer] = hierarchy.policy_signer.pem

    def by_url(self, **others: object) -> dict[str, object]:
        """A section [trust]."""
        url = self._network.repository.url
        return {"trust_list_url": url(self._list), "crl_url": url(self._crl), **self._common(), **others}

    def by_file(self) -> dict[str, object]:
        """Another."""
        files = {"trust_list_file": self._list, "crl_file": self._crl}
        return {**{option: str(self._directory / name) for option, name in files.items()}, **self._common()}

    def _common(self) -> dict[str, object]:
        return {"sti_pa_ca_file": str(self._roots), "trust_refresh_interval": INTERVAL}

    def publish_list(self, roots: Iterable[Issued], sequence: int, expires: float = 0) -> None:
        text = self._network.hierarchy.trust_list(
            [root.certificate for root in roots], sequence, expires=expires, x5u=self._network.repository.url(self._signer)
        )
        self._publish(self._list, text.encode())

    def publish_crl(self, revoked: Iterable[x509.Certificate], number: int) -> None:
        self._publish(self._crl, self._network.hierarchy.crl(revoked, number=number))

    def _publish(self, name: str, octets: bytes) -> None:
        self._network.repository.chains[name] = octets
        new = self._directory / f"{name}.new"
        new.write_bytes(octets)
        new.replace(self._directory / name)


def state(site: Site, name: str) -> str:
    """What an operator sees of the trust list or the CRL: `kamcmd htable.get stirshaken NAME`; empty if there is nothing."""
    try:
        found = re.search(r"\bvalue: (.*)", site.edge.rpc("htable.get", "stirshaken", name))
    except CalledProcessError:
        return ""
    return found[1] if found else ""
