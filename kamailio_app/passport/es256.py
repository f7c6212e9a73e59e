"""ES256: ECDSA on P-256 with SHA-256, the signature as r||s (RFC 7518 3.4). The one importer of PyJWT.

PyJWT's algorithm object is used, not its tokens: a PASSporT is verified over the octets received, and its header
is checked by our own rules. The caller has made sure that the key is on P-256, so r and s have 32 octets each.
"""

from __future__ import annotations

from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import AllowedECKeys, ECAlgorithm

SIGNATURE_OCTETS: Final = 64
_HALF: Final = SIGNATURE_OCTETS // 2
_ECDSA: Final = ECDSA(SHA256())


class Es256(ECAlgorithm):
    """PyJWT's ES256 for P-256 alone: what it works out anew for each signature is known here (a tenth of the cost)."""

    def __init__(self) -> None:
        super().__init__(ECAlgorithm.SHA256)

    def sign(self, msg: bytes, key: EllipticCurvePrivateKey) -> bytes:
        """64 octets r||s."""
        r, s = decode_dss_signature(key.sign(msg, _ECDSA))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def verify(self, msg: bytes, key: AllowedECKeys, sig: bytes) -> bool:
        # RFC 7518 3.4: exactly 64 octets; DER and any other length are wrong
        if len(sig) != SIGNATURE_OCTETS:
            return False
        der = encode_dss_signature(int.from_bytes(sig[:_HALF], "big"), int.from_bytes(sig[_HALF:], "big"))
        try:
            cast("EllipticCurvePublicKey", key).verify(der, msg, _ECDSA)
        except InvalidSignature:
            return False
        return True


_ES256: Final = Es256()
sign: Final = _ES256.sign


def verify(signing_input: bytes, signature: bytes, key: EllipticCurvePublicKey) -> bool:
    """True if `signature` is the key's over exactly these octets."""
    return _ES256.verify(signing_input, key, signature)
