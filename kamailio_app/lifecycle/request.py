"""Certificate requests (PKCS#10) as STI-CAs take them: P-256, subject, TNAuthList, where the CRL is (ATIS-1000080 6.4.1)."""

from __future__ import annotations

import re
import warnings
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import MALFORMED, seen_instead
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import URI_CHARACTERS, one_line

Request = x509.CertificateSigningRequest  # for those who may not name cryptography

_PEM: Final = re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----")
_URL: Final = re.compile(rf"https?://{URI_CHARACTERS}")
_LONGEST: Final = 64
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}", re.ASCII)
# RFC 4514 3 has the other keywords
_KEYWORDS: Final = {"S": NameOID.STATE_OR_PROVINCE_NAME, "SERIALNUMBER": NameOID.SERIAL_NUMBER, "E": NameOID.EMAIL_ADDRESS}
# "L = Bridgewater, ST = NJ" as `openssl x509` and the STI-PA write it; RFC 4514 has no spaces there, and capitals
_ATTRIBUTE: Final = re.compile(r"(^|(?<!\\)[,+])[ \t]*([A-Za-z0-9.]+)[ \t]*=[ \t]*")


class CrlPoint(NamedTuple):
    """Where the STI-PA's CRL is, and the name of who signs it: RFC 4514, or the STI-PA's own way of writing it."""

    url: str
    issuer: str


def certificate_request(
    key: EllipticCurvePrivateKey,
    *,
    organization: str,
    country: str,
    authority: TNAuthList,
    common_name: str = "",
    serial_number: str = "",
    crl: CrlPoint | None = None,
) -> x509.CertificateSigningRequest:
    """Version 0, signed with ECDSA and SHA-256; the TNAuthList is among the extensions that are asked for.

    `common_name` is by default "SHAKEN" and the provider's code, or `organization` for a delegate, who has none;
    `serial_number` is the subject's attribute of that name (certificate policy 1.3). Errors: `request_invalid`.
    """
    common_name = common_name or (f"SHAKEN {authority.spcs[0]}" if authority.spcs else organization)
    der = _authority(authority)
    try:
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            _subject(country, organization, common_name, serial_number)
        )
        builder = builder.add_extension(x509.UnrecognizedExtension(tnauthlist.OID, der), critical=False)
        if crl is not None:
            builder = builder.add_extension(x509.CRLDistributionPoints([_point(crl)]), critical=False)
        return builder.sign(key, SHA256())
    except ValueError as error:
        raise failure("request_invalid", one_line(str(error))) from error


def read_request(octets: bytes) -> x509.CertificateSigningRequest:
    """The request in PEM or DER, its own signature verified. Errors: `request_malformed`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request = x509.load_pem_x509_csr(octets) if _PEM.search(octets) else x509.load_der_x509_csr(octets)
            # RFC 2986 4.2: proof of possession of the key
            valid = request.is_signature_valid
            request.subject.rfc4514_string()
            list(request.extensions)
    except MALFORMED as error:
        raise failure("request_malformed", seen_instead(octets, "request", b"CERTIFICATE REQUEST")) from error
    if not valid:
        raise failure("request_malformed", "its signature is wrong")
    return request


def request_pem(request: x509.CertificateSigningRequest) -> bytes:
    """As it is given to an STI-CA."""
    return request.public_bytes(Encoding.PEM)


def subject_in_words(request: x509.CertificateSigningRequest) -> str:
    """RFC 4514: the last attribute first."""
    return request.subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})


def requested_authority(request: x509.CertificateSigningRequest) -> TNAuthList | None:
    """The TNAuthList that is asked for. Errors: `tnauthlist_malformed`."""
    for extension in request.extensions:
        if extension.oid == tnauthlist.OID:
            return tnauthlist.decode(extension.value.public_bytes())
    return None


def crl_issuer(text: str) -> x509.Name:
    """The name of the CRL's signer, attributes in the order in which they are written. Errors: `request_invalid`."""
    tidy = _ATTRIBUTE.sub(lambda match: f"{match[1]}{match[2].upper()}=", text.strip())
    try:
        name = x509.Name.from_rfc4514_string(tidy, _KEYWORDS)
    except ValueError as error:
        raise failure("request_invalid", f"the CRL's issuer is no name: {one_line(text)}") from error
    # RFC 4514 2.1 begins with the last one
    return x509.Name(reversed(name.rdns))


def _subject(country: str, organization: str, common_name: str, serial_number: str) -> x509.Name:
    """ATIS-1000080 6.4.1: C, O and CN; the US certificate policy 1.3 adds serialNumber. Errors: ValueError."""
    held = (
        (NameOID.COUNTRY_NAME, country),
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.SERIAL_NUMBER, serial_number),
        (NameOID.COMMON_NAME, common_name),
    )
    if not (country and organization and common_name):
        raise failure("request_invalid", "no country or organization")
    if not _COUNTRY.fullmatch(country):
        raise failure("request_invalid", f"country {one_line(country, 64)!r} is not of two letters, as US and CA are")
    for _, value in held:
        # RFC 5280 A.1: the upper bound of each
        if len(value) > _LONGEST:
            raise failure("request_invalid", f"{one_line(value)!r} has more than {_LONGEST} characters")
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in held if value])


def _authority(authority: TNAuthList) -> bytes:
    """DER of what is asked for, which has to be what anybody would accept. Errors: `request_invalid`."""
    if not any(authority):
        raise failure("request_invalid", "neither a provider code nor a number")
    try:
        der = tnauthlist.encode(authority)
        tnauthlist.decode(der)
    except (ValueError, UnsupportedCredential) as error:
        raise failure("request_invalid", one_line(str(error))) from error
    return der


def _point(crl: CrlPoint) -> x509.DistributionPoint:
    """ATIS-1000080 6.4.1: one URL, and whose list it is. Errors: `request_invalid`, ValueError."""
    if not _URL.fullmatch(crl.url):
        raise failure("request_invalid", f"the CRL's URL is none: {one_line(crl.url)}")
    issuer = [x509.DirectoryName(crl_issuer(crl.issuer))] if crl.issuer else None
    return x509.DistributionPoint([x509.UniformResourceIdentifier(crl.url)], None, None, issuer)
