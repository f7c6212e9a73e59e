"""Private keys on P-256, as PKCS#8 in PEM, and their fingerprints (RFC 5958, RFC 8225 4, RFC 9448 5.4).

A key is never in a log line, an exception text or a repr. Which of them signs calls is `runtime.keystore`'s business.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from kamailio_app.errors import StirError, failure
from kamailio_app.lifecycle.files import PRIVATE, write_new
from kamailio_app.passport.encoding import canonical_json, to_base64url
from kamailio_app.runtime.keystore import FORBIDDEN_MODE, private_key

_KEY: Final = b"PRIVATE KEY-----"
_MAX_FILE: Final = 1 << 16
_COORDINATE: Final = 32  # octets


def new_key() -> EllipticCurvePrivateKey:
    """A new key on P-256: RFC 8225 4 has ES256 and nothing else."""
    return generate_private_key(SECP256R1())


def write_key(path: Path, key: EllipticCurvePrivateKey, passphrase: bytes | None = None) -> None:
    """As PKCS#8 in PEM, for its owner's eyes from the first octet on. Errors: `key_exists`, `file_unwritable`."""
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    try:
        write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), PRIVATE)
    except StirError as error:
        if error.token != "file_exists":
            raise
        raise failure("key_exists", error.detail) from None


def read_key(path: Path, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """A key in PEM that nobody but its owner and group may read.

    Errors: `key_unreadable`, `key_permissions`, `key_malformed`, `key_curve_unsupported`.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(_MAX_FILE)
    except OSError as error:
        raise failure("key_unreadable", f"{path}: {error.strerror}") from error
    if mode & FORBIDDEN_MODE and _KEY in octets:
        raise failure("key_permissions", f"{path.name} has mode {stat.S_IMODE(mode):o}")
    try:
        return private_key(path.name, octets, passphrase)
    except StirError as error:
        raise failure(error.token, error.detail, _advice(error, octets)) from error


def _advice(error: StirError, octets: bytes) -> str:
    """About a file that somebody named: nothing signs with it."""
    if error.token == "key_curve_unsupported":
        return "SHAKEN has ES256, so keys on P-256 alone: `shakenctl key new FILE` makes one."
    if b"ENCRYPTED" in octets:
        return "Name the file with its passphrase: --passphrase-file."
    if b"-----BEGIN CERTIFICATE-----" in octets and _KEY not in octets:
        return "That is a certificate, which has no secret. Name its key, or make one: `shakenctl key new FILE`."
    return "A private key is PKCS#8 or SEC1 in PEM. `shakenctl key new FILE` makes one."


def fingerprint(key: EllipticCurvePublicKey, form: Literal["jwk", "spki"]) -> str:
    """ "SHA256 AA:BB:..." of the key as RFC 9448 5.4 writes it in an SPC token.

    `jwk`: the JWK thumbprint (RFC 7638, RFC 8555 8.1); `spki`: the SubjectPublicKeyInfo's DER, which some STI-CAs compare.
    """
    octets = _thumbprint_input(key) if form == "jwk" else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256 {sha256(octets).digest().hex(':').upper()}"


def _thumbprint_input(key: EllipticCurvePublicKey) -> bytes:
    """RFC 7638 3.2: the members that are required, in lexicographic order."""
    numbers = key.public_numbers()
    coordinates = {
        name: to_base64url(value.to_bytes(_COORDINATE, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))
    }
    return canonical_json({"crv": "P-256", "kty": "EC", **coordinates})
