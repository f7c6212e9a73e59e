"""ES256: ECDSA on P-256 with SHA-256, the signature as r||s (RFC 7518 3.4). The one importer of PyJWT.

PyJWT's algorithm object is used, not its tokens: a PASSporT is verified over the octets received, and its header
is checked by our own rules. The caller has made sure that the key is on P-256.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm

SIGNATURE_OCTETS: Final = 64
_ES256: Final = ECAlgorithm(ECAlgorithm.SHA256)


def sign(signing_input: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """64 octets r||s."""
    return _ES256.sign(signing_input, key)


def verify(signing_input: bytes, signature: bytes, key: EllipticCurvePublicKey) -> bool:
    """True if `signature` is the key's over exactly these octets. DER and any other length are wrong (RFC 7518 3.4)."""
    return len(signature) == SIGNATURE_OCTETS and _ES256.verify(signing_input, key, signature)
