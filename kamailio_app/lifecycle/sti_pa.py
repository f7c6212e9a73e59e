"""Client of the STI-PA's API: login, SPC tokens, the list of STI-CAs, the CRL (standards PA-1 to PA-9, RFC 9448 5.5).

Password, access token and SPC token are in no exception text and no repr. Nothing is believed for TLS alone: what the STI-PA
signs is verified against its own roots.
"""

from __future__ import annotations

from typing import NamedTuple

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.lifecycle.request import CrlPoint
from kamailio_app.lifecycle.spc_token import SpcToken
from kamailio_app.runtime.provider import StiPaRules


class IssuedToken(NamedTuple):
    """A token that was verified, and what the STI-PA says with it: where the CRL is, and the name of who signs it."""

    token: SpcToken
    crl: CrlPoint | None
    issuer: str


class Login(NamedTuple):
    """What the STI-PA says to a login that it accepts, printable."""

    status: str
    message: str


class StiPa:
    """The account of the settings. Logs in when it has to."""

    def __init__(self, rules: StiPaRules, password: str, anchors: TrustAnchors, *, seconds: float = 60.0) -> None:
        raise NotImplementedError

    def login(self) -> Login:
        """Errors: `sti_pa_unreachable`, `sti_pa_refused`, `sti_pa_malformed`."""
        raise NotImplementedError

    def token(self, spc: str, authority: TNAuthList, fingerprint: str, *, ca: bool = False, now: float) -> IssuedToken:
        """An SPC token for the key with that fingerprint. Errors: as `login`, and those of `read_spc_token`."""
        raise NotImplementedError

    def ca_list(self) -> str:
        """The signed list of STI-CAs, as it came: `credentials.trust_list` reads it. Errors: as `login`."""
        raise NotImplementedError

    def crl(self) -> bytes:
        """The CRL, as it came: `credentials.crl` reads it. Errors: `sti_pa_unreachable`, `sti_pa_refused`."""
        raise NotImplementedError

    def certificate(self, url: str) -> bytes:
        """What is at the x5u of a token or a list. Errors: `sti_pa_unreachable`, `sti_pa_refused`."""
        raise NotImplementedError
