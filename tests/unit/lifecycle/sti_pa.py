"""The laboratory's STI-PA with an account, for tests of who asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_pa import PASSWORD, USER, LabStiPa
from kamailio_app.lifecycle.sti_pa import StiPa
from kamailio_app.runtime.provider import StiPaRules

FINGERPRINT = "SHA256 " + ":".join(["A5"] * 32)


@cache
def lab() -> Hierarchy:
    """TLS looks at the clock, so this hierarchy is one of today."""
    return Hierarchy(time.time())


@dataclass
class Office:
    """The STI-PA, and the provider's files."""

    server: LabStiPa
    directory: Path

    @property
    def roots(self) -> Path:
        path = self.directory / "web-roots.pem"
        path.write_bytes(lab().root.pem)
        return path

    def client(
        self, *, password: str = PASSWORD, anchors: TrustAnchors | None = None, seconds: float = 20, **rules: Any
    ) -> StiPa:
        held = {"url": self.server.url, "user": USER, "password_file": None, "tls_ca_file": self.roots}
        held |= {"fingerprint": "jwk", "tkvalue": "base64"}
        anchors = TrustAnchors([lab().policy_root.certificate]) if anchors is None else anchors
        return StiPa(StiPaRules(**held | rules), password, anchors, seconds=seconds)


@contextmanager
def server() -> Iterator[LabStiPa]:
    with LabStiPa(lab(), lab().web_server(["localhost"])) as running:
        yield running
