"""The STI-CA by ACME: account, order with a TNAuthList, tkauth-01 with an SPC token, certificate (RFC 8555, RFC 9447, RFC 9448)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from kamailio_app.lifecycle.request import CrlPoint


@dataclass(frozen=True, slots=True)
class Grant:
    """An SPC token for the ACME account, and where the STI-PA says that its CRL is."""

    text: str = field(repr=False)
    crl: CrlPoint | None = None


TokenFor = Callable[[str], Grant]  # of the account key's fingerprint


class Obtained(NamedTuple):
    """A chain that was checked. `x5u`: where the STI-CA publishes it, empty if it does not say; `findings`: of the profile."""

    chain_pem: bytes
    x5u: str = ""
    findings: tuple[str, ...] = ()
