"""A TOOL FOR TESTS AND QA, not an STI-PA: a real server over TLS with keys that are thrown away, whose tokens, list and CRL
nobody outside the laboratory trusts. It can be told to misbehave.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from cryptography import x509

from kamailio_app.lab.pki import Hierarchy, Issued

USER: Final = "api@lab.example.net"
PASSWORD: Final = "lab-password"


class LabStiPa:
    """Answers from when it is entered until it is left; asked and told from any thread."""

    def __init__(
        self, hierarchy: Hierarchy, tls: Issued, host: str = "127.0.0.1", port: int = 0, name: str = "localhost"
    ) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        raise NotImplementedError

    def revoke(self, certificate: x509.Certificate) -> None:
        """It stands in the CRL from now on."""
        raise NotImplementedError

    def list_ca(self, root: x509.Certificate) -> None:
        raise NotImplementedError

    def unlist_ca(self, root: x509.Certificate) -> None:
        raise NotImplementedError

    def misbehave(self, *faults: str) -> None:
        """From now on, besides what it does already."""
        raise NotImplementedError

    def behave(self) -> None:
        """No faults any more."""
        raise NotImplementedError

    def __enter__(self) -> LabStiPa:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError
