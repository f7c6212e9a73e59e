"""SPC tokens as the STI-PA of the tests signs them; right by default."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.lab.pki import POLICY_URL

from ..builders import NOW, changed, hierarchy, signed, to_json

AUTHORITY: Final = TNAuthList(spcs=("1234",))
FINGERPRINT: Final = "SHA256 " + ":".join(["AB"] * 32)
HEADER: Final[dict[str, Any]] = {"alg": "ES256", "typ": "JWT", "x5u": POLICY_URL}
ATC: Final[dict[str, Any]] = {
    "tktype": "TNAuthList",
    "tkvalue": b64encode(tnauthlist.encode(AUTHORITY)).decode(),
    "ca": False,
    "fingerprint": FINGERPRINT,
}
CLAIMS: Final[dict[str, Any]] = {"exp": NOW + 3600, "jti": "id6098364921"}


@cache
def policy_anchors() -> TrustAnchors:
    """The STI-PA's root."""
    return TrustAnchors([hierarchy().policy_root.certificate])


def signer_pem() -> bytes:
    return hierarchy().policy_signer.pem


def spc_token(
    *,
    header: dict[str, Any] | None = None,
    atc: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: EllipticCurvePrivateKey | None = None,
) -> str:
    """A token for provider code 1234; the arguments are the deviations."""
    payload = {"atc": changed(ATC, atc or {}), **CLAIMS}
    return signed(
        to_json(changed(HEADER, header or {})),
        to_json(changed(payload, claims or {})),
        key or hierarchy().policy_signer.key,
    )
