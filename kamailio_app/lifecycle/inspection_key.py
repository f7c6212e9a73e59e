"""A private or public key, looked at: its curve, who may read the file, its fingerprints; never the key itself."""

from __future__ import annotations

import re
import stat
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from kamailio_app.errors import FAILURES, failure
from kamailio_app.lifecycle.inspection_content import Content, Finding
from kamailio_app.lifecycle.keys import fingerprint
from kamailio_app.runtime.keystore import FORBIDDEN_MODE

PRIVATE: Final = "private key"
PUBLIC: Final = "public key"
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_FORMS: Final = {
    "PRIVATE KEY": "PKCS#8",
    "ENCRYPTED PRIVATE KEY": "PKCS#8, encrypted",
    "EC PRIVATE KEY": "SEC1",
    "PUBLIC KEY": "SubjectPublicKeyInfo",
}
_ENCRYPTED: Final = (b"ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


def key_in_words(key: Any) -> str:
    """P-256, P-384, RSA 2048, ..."""
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name)
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.strip("_").removesuffix("PublicKey")


_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def spki_digest(key: Any) -> str:
    """SHA-256 of the SubjectPublicKeyInfo's DER, in hexadecimal."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def look_at_key(octets: bytes, *, mode: int | None = None, passphrase: bytes | None = None) -> Content:
    """A private key in PEM or DER; `mode` is its file's, if it is from one. Errors: `key_malformed`."""
    label = _label(octets)
    content = Content(PRIVATE, {"form": _FORMS.get(label, label or "DER")})
    if mode is not None:
        content.fields["mode"] = f"{stat.S_IMODE(mode):o}"
        if mode & FORBIDDEN_MODE:
            content.add(_finding("key_permissions", f"mode {stat.S_IMODE(mode):o}"))
    if passphrase is None and any(mark in octets for mark in _ENCRYPTED):
        content.remarks.append("encrypted: name the file with its passphrase by --passphrase-file to see more")
        content.remarks.append("servers read keys without a passphrase alone")
        return content
    try:
        key = (load_pem_private_key if label else load_der_private_key)(octets, passphrase).public_key()
    except TypeError:
        raise failure("key_malformed", "not encrypted, or encrypted in a way that needs a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's text could quote the file
        raise failure("key_malformed", "or not its passphrase" if passphrase else "") from None
    return _public(content, key)


def look_at_public_key(octets: bytes) -> Content:
    """Errors: `key_malformed`."""
    label = _label(octets)
    try:
        key = (load_pem_public_key if label else load_der_public_key)(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise failure("key_malformed", "no public key") from None
    return _public(Content(PUBLIC, {"form": _FORMS.get(label, label or "DER")}), key)


def _public(content: Content, key: Any) -> Content:
    content.spki = spki_digest(key)
    content.fields["key"] = key_in_words(key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        content.fields["fingerprint_jwk"] = fingerprint(key, "jwk")
        content.fields["fingerprint_spki"] = fingerprint(key, "spki")
    else:
        content.add(_finding("key_curve_unsupported", key_in_words(key)))
    content.fields["subject_key_identifier"] = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
    return content


def _label(octets: bytes) -> str:
    labels = [match[1].decode("ascii") for match in _PEM.finditer(octets)]
    return next((label for label in labels if label != "EC PARAMETERS"), "")


def _finding(token: str, detail: str) -> Finding:
    return Finding(FAILURES[token].clause, f"{token}: {detail}", token)
