"""Certificates from the octets that an x5u URL or a file holds (RFC 8226, RFC 8555 9.1)."""

from __future__ import annotations

import re
import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from kamailio_app.errors import failure

MAX_CHAIN: Final = 8
_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_WEB_PAGE: Final = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
# What cryptography raises for octets that are no certificate, or one with extensions that cannot be read
MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def parse_chain(octets: bytes, *, limit: int = MAX_CHAIN) -> tuple[x509.Certificate, ...]:
    """PEM certificates, signer first, text around them ignored; or one certificate in DER.

    A file that begins with the CA is turned round: the first certificate that is no CA is the signer's.
    Errors: `credential_malformed`.
    """
    try:
        with warnings.catch_warnings():
            # Real certificates have negative serials and the like; the profile is judged elsewhere
            warnings.simplefilter("ignore")
            certificates = (
                x509.load_pem_x509_certificates(octets) if _PEM in octets else [x509.load_der_x509_certificate(octets)]
            )
            if len(certificates) > limit:
                raise failure("credential_malformed", f"{len(certificates)} certificates")
            certificates.sort(key=is_ca)  # stable: the order within signers and within CAs is kept
    except MALFORMED as error:
        raise failure("credential_malformed", seen_instead(octets)) from error
    return tuple(certificates)


def seen_instead(octets: bytes, what: str = "certificate", label: bytes = b"CERTIFICATE") -> str:
    """What octets are that are none of `what`, in PEM under that label. The library says where its decoder stopped, which tells
    nobody anything.
    """
    if b"-----BEGIN " + label + b"-----" in octets:
        return f"what stands in the PEM is no {what} that can be decoded"
    if found := _LABEL.search(octets):
        return f"no {what}, but {found[1].decode('ascii')}"
    if _WEB_PAGE.match(octets):
        return f"no {what}, but a web page"
    return f"no {what}: {len(octets)} octets that cannot be decoded as one"


def is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
