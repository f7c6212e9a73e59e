"""Distinguished names that are compared by meaning, and what a CRL calls a certificate (RFC 5280 7.1, 5.3.3)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash

_SPACE: Final = re.compile(r"\s+")


def issuer_key(name: x509.Name) -> str:
    """32 hexadecimal digits: the same for names that mean the same.

    RFC 5280 7.1: case, runs of spaces and the string type do not count. DEVIATION: neither does the order of the attributes,
    in which published CRLs and the certificates that point to them differ.
    """
    digest = Hash(SHA256())
    for attribute in sorted(f"{attribute.oid.dotted_string}{_folded(attribute.value)}" for attribute in name):
        octets = attribute.encode("utf-8", "surrogatepass")
        # With its length: no value can look like two attributes
        digest.update(len(octets).to_bytes(8, "big") + octets)
    return digest.finalize()[:16].hex()


def _folded(value: str | bytes) -> str:
    if isinstance(value, bytes):  # a BIT STRING
        return f"#{value.hex()}"
    # RFC 4518 2, in what matters: compatible characters, case, spaces
    return "=" + _SPACE.sub(" ", unicodedata.normalize("NFKC", value).casefold()).strip()


def identifier(issuer: str, serial: int) -> str:
    """One certificate: the key of its issuer and its serial number. The number alone is another's, too."""
    return f"{issuer} {serial:x}"
