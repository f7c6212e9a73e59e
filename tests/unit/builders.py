"""What the tests are built from. Right by default; a test passes only its deviation. Nothing here reads the clock.

Times are seconds since 1970 and all lie around `NOW`.
"""

from __future__ import annotations

import datetime
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.passport import es256
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signer

NOW: Final = 1_700_000_000
DATE: Final = "Tue, 14 Nov 2023 22:13:20 GMT"  # NOW as a SIP-date
ORIG: Final = "12155550121"
DEST: Final = "12155550131"
ORIGID: Final = "123e4567-e89b-12d3-a456-426655440000"
X5U: Final = "https://cr.example.test/1234/chain.pem"
DAY: Final = 86400

JOSE: Final[dict[str, Any]] = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U}
CLAIMS: Final[dict[str, Any]] = {
    "attest": "A",
    "dest": {"tn": [DEST]},
    "iat": NOW,
    "orig": {"tn": ORIG},
    "origid": ORIGID,
}
ABSENT: Final = object()
"""As a member's value: leave the member out."""


@contextmanager
def refused(token: str) -> Iterator[None]:
    """The block raises the failure with this token, in the class that the table has for it."""
    with pytest.raises(StirError) as caught:
        yield
    assert caught.value.token == token, caught.value
    assert type(caught.value) is FAILURES[token].error


# --- Certificates -----------------------------------------------------------------------------------------------


@cache
def hierarchy() -> Hierarchy:
    """The STI-CA that the tests trust."""
    return Hierarchy(NOW)


@cache
def evil() -> Hierarchy:
    """An STI-CA with the same names that nobody trusts."""
    return Hierarchy(NOW)


@cache
def anchors() -> TrustAnchors:
    return TrustAnchors([hierarchy().root.certificate])


@cache
def provider() -> Issued:
    """A certificate for the service provider code 1234."""
    return hierarchy().service_provider()


@cache
def credential() -> Credential:
    """The validated credential of `provider`."""
    return validate(provider().chain_pem, anchors(), NOW)


def credential_for(authority: TNAuthList) -> tuple[Credential, Issued]:
    """A credential with another authority, and the certificate with its key."""
    issued = hierarchy().service_provider(ServiceProvider(tnauthlist=authority))
    return validate(issued.chain_pem, anchors(), NOW), issued


def issue(
    issuer: Issued | None,
    *extensions: x509.ExtensionType,
    critical: Sequence[type[x509.ExtensionType]] = (),
    name: str = "SHAKEN 1234",
    not_before: int = NOW - 3600,
    not_after: int = NOW + DAY,
    key: Any = None,
) -> Issued:
    """A certificate with exactly these extensions; `issuer` None means self-signed."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(datetime.datetime.fromtimestamp(not_before, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(not_after, datetime.UTC))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=type(extension) in critical)
    certificate = builder.sign(issuer.key if issuer else key, SHA256())
    return Issued(certificate, key, (issuer.certificate, *issuer.issuers) if issuer else ())


def authority(*spcs: str) -> x509.UnrecognizedExtension:
    """The TNAuthList extension with these service provider codes."""
    return x509.UnrecognizedExtension(tnauthlist.OID, tnauthlist.encode(TNAuthList(spcs=spcs or ("1234",))))


def key_usage(*, sign: bool = False, certify: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(sign, not (sign or certify), False, False, False, certify, False, False, False)


def identifiers(key: ec.EllipticCurvePrivateKey, issuer: Issued) -> tuple[x509.ExtensionType, ...]:
    """Subject and authority key identifier."""
    return (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
    )


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def signer(issued: Issued | None = None, name: str = "sp", *, not_before: int = 0, not_after: int = 0) -> Signer:
    """A signer as the keystore makes it."""
    issued = issued or provider()
    return Signer(
        name=name,
        x5u=X5U,
        not_before=not_before or int(issued.certificate.not_valid_before_utc.timestamp()),
        not_after=not_after or int(issued.certificate.not_valid_after_utc.timestamp()),
        fingerprint=issued.certificate.fingerprint(SHA256()).hex(),
        spcs=("1234",),
        key=issued.key,
    )


# --- PASSporTs --------------------------------------------------------------------------------------------------


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not ABSENT}


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def signed(header: bytes, payload: bytes, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A PASSporT in full form with whatever octets, correctly signed."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(es256.sign(signing_input.encode(), key or provider().key))}"


def passport(
    jose: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> str:
    """A shaken PASSporT in full form; `jose` and `claims` are the deviations."""
    return signed(to_json(changed(JOSE, jose or {})), to_json(changed(CLAIMS, claims or {})), key)


def identity(
    jose: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    *,
    parameters: str = f";info=<{X5U}>;alg=ES256;ppt=shaken",
) -> str:
    """An Identity header field value."""
    return passport(jose, claims, key) + parameters


# --- Requests ---------------------------------------------------------------------------------------------------


def request(**changes: Any) -> Request:
    """An initial INVITE from ORIG to DEST."""
    values: dict[str, Any] = {
        "method": "INVITE",
        "request_uri": f"sip:+{DEST}@term.example.net;user=phone",
        "from_uri": f"sip:+{ORIG}@orig.example.com;user=phone",
        "to_uri": f"sip:+{DEST}@orig.example.com;user=phone",
    }
    return Request(**{**values, **changes})
