"""An operator with an STI-PA and an STI-CA: both are the laboratory's, their misbehaviour is the tests'."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_ca import KEY_ID, MAC_KEY, LabStiCa
from kamailio_app.lab.sti_pa import LabStiPa
from kamailio_app.lifecycle.acme_client import AcmeClient, Grant
from kamailio_app.lifecycle.request import CrlPoint
from kamailio_app.runtime.provider import ProviderRules, PublicationRules, StiCaRules, StiPaRules

AUTHORITY = TNAuthList(("1234",))


@dataclass
class Office:
    """One state directory. `said`: what the client told; `waited`: seconds; `tokens`: how many were asked for."""

    directory: Path
    hierarchy: Hierarchy
    ca: LabStiCa
    pa: LabStiPa
    said: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    ahead: float = 0.0  # seconds that this office's clock is fast
    seconds: float = 60.0

    def __post_init__(self) -> None:
        (self.directory / "root.pem").write_bytes(self.hierarchy.root.pem)
        mac_key = self.directory / "eab"
        mac_key.touch(0o600)
        mac_key.write_text(f"{MAC_KEY}\n")
        self.ca_rules = StiCaRules(
            self.ca.url,
            "rfc9448",
            "noc@example.net",
            self.directory / "state" / "acme-account.key",
            KEY_ID,
            mac_key,
            self.directory / "root.pem",
            0.66,
        )

    def rules(self, **changes: object) -> None:
        self.ca_rules = replace(self.ca_rules, **changes)  # type: ignore[arg-type]

    @property
    def provider(self) -> ProviderRules:
        return ProviderRules(
            "Lab Telephone Company",
            "US",
            "1234",
            self.directory / "state",
            StiPaRules("", "", None, None, self.ca.fingerprint, "base64"),
            self.ca_rules,
            PublicationRules(None, None, 300, 24),
        )

    @property
    def anchors(self) -> TrustAnchors:
        return TrustAnchors([self.hierarchy.root.certificate])

    def now(self) -> float:
        return time.time() + self.ahead

    def _wait(self, seconds: float) -> None:
        self.waited.append(seconds)

    def client(self, wait: Callable[[float], None] | None = None) -> AcmeClient:
        return AcmeClient(
            self.ca_rules,
            self.provider,
            seconds=self.seconds,
            say=self.said.append,
            now=self.now,
            clock=lambda: sum(self.waited),
            wait=wait or self._wait,
        )

    def token_for(self, fingerprint: str) -> Grant:
        self.tokens.append(fingerprint)
        text = self.hierarchy.spc_token(
            AUTHORITY,
            fingerprint,
            expires=time.time() + 600,
            x5u=f"{self.pa.url}/download/v1/certificate/sti-pa.crt",
        )
        return Grant(text, CrlPoint(self.pa.crl_url, "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA"))

    def order(self, name: str = "sp1234-1") -> bytes:
        with self.client() as client:
            return client.order(name, self.token_for, anchors=self.anchors).chain_pem
