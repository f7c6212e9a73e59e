"""SPC tokens: the STI-PA's word that an ACME account may have a certificate for a provider's code (RFC 9447, RFC 9448)."""

from __future__ import annotations

from dataclasses import dataclass, field

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList


@dataclass(frozen=True, slots=True)
class SpcToken:
    """A token that was verified. `expires` in seconds since 1970; `tkvalue` as it is written; `issuer`: who signed it."""

    text: str = field(repr=False)
    authority: TNAuthList
    tkvalue: str
    ca: bool
    fingerprint: str
    expires: int
    jti: str
    x5u: str
    issuer: str


def signer_url(text: str) -> str:
    """Where the signer's certificate is; empty if the token brings it along. Errors: `spc_token_malformed`."""
    raise NotImplementedError


def read_spc_token(
    text: str,
    signer_octets: bytes,
    anchors: TrustAnchors,
    now: float,
    *,
    authority: TNAuthList | None = None,
    fingerprint: str = "",
) -> SpcToken:
    """The token, signed by the first certificate of `signer_octets` (or of its own x5c), which chains to `anchors`.

    Errors: `spc_token_malformed`, `spc_token_untrusted`, `spc_token_signature`, `spc_token_expired`, `spc_token_mismatch`.
    """
    raise NotImplementedError
