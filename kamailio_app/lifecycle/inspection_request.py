"""A certificate request, looked at: whom it is for and what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.oid import NameOID

from kamailio_app.credentials import tnauthlist
from kamailio_app.lifecycle.inspection_certificates import EXTENSIONS
from kamailio_app.lifecycle.inspection_content import PROFILE, Content, Finding, name_in_words
from kamailio_app.lifecycle.inspection_key import key_in_words, spki_digest
from kamailio_app.lifecycle.request import read_request

REQUEST: Final = "certificate request"
_PARTS: Final[Mapping[str, Callable[[x509.CertificateSigningRequest], Any]]] = {
    "subject": lambda each: name_in_words(each.subject),
    "key": lambda each: key_in_words(each.public_key()),
    "signature": lambda each: each.signature_algorithm_oid._name,
    "spki": lambda each: spki_digest(each.public_key()),
}


def look_at_request(octets: bytes) -> Content:
    """In PEM or DER, its signature verified. Errors: `request_malformed`."""
    request = read_request(octets)
    content = Content(REQUEST)
    content.fields |= content.read(_PARTS, request, "request_malformed")
    content.fields |= content.read(EXTENSIONS, request.extensions, "request_malformed")
    content.spki = content.fields.get("spki", "")
    for words, holds in _RULES.items():
        if not holds(request):
            content.add(Finding(PROFILE, words))
    return content


def _on_p256(request: x509.CertificateSigningRequest) -> bool:
    key = request.public_key()
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)


def _subject(request: x509.CertificateSigningRequest) -> bool:
    held = {attribute.oid for attribute in request.subject}
    return {NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME} <= held


def _asks_for_authority(request: x509.CertificateSigningRequest) -> bool:
    return any(extension.oid == tnauthlist.OID for extension in request.extensions)


_RULES: Final[Mapping[str, Callable[[x509.CertificateSigningRequest], bool]]] = {
    "the key is not on P-256": _on_p256,
    "the subject lacks country, organization or common name": _subject,
    "no TNAuthList is asked for": _asks_for_authority,
}
