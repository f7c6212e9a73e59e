"""A test hierarchy: STI-CA root and intermediate, service providers, and the web server of the repository.

Right by default (ATIS-1000080 6.4.1); a test passes only its deviation. Keys are throw-away keys made here.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.tnauthlist import TNAuthList

_POLICY: Final = ObjectIdentifier("2.16.840.1.114569.1.1.4")


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the issuers between it and the root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def chain_pem(self) -> bytes:
        """What a repository serves: signer first, without the root."""
        return b"".join(cert.public_bytes(Encoding.PEM) for cert in (self.certificate, *self.issuers))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str) -> None:
        """Put the pair where a keystore looks for it: certificate first, so that no reader sees a lonely key."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.pem").write_bytes(self.chain_pem)
        key = directory / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)


@dataclass(frozen=True)
class ServiceProvider:
    """The certificate of a service provider. Times in seconds since 1970."""

    spc: str = "1234"
    common_name: str = ""
    not_before: float = 0
    not_after: float = 0
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)
    tnauthlist: TNAuthList | bytes | None = None
    with_tnauthlist: bool = True
    ca: bool = False
    digital_signature: bool = True


class Hierarchy:
    """One STI-CA with root and intermediate; `now` is the middle of nothing: certificates begin an hour before it."""

    def __init__(self, now: float, name: str = "Lab") -> None:
        self.now = now
        self.root = self._authority(f"{name} SHAKEN ROOT CA", None)
        self.intermediate = self._authority(f"{name} SHAKEN Issuing CA", self.root)

    def service_provider(self, spec: ServiceProvider = ServiceProvider(), issuer: Issued | None = None) -> Issued:
        """Issue a certificate; from a delegate's CA (`spec.ca` of its own) if `issuer` is given."""
        issuer = issuer or self.intermediate
        key = ec.generate_private_key(spec.curve)
        name = _name(spec.common_name or f"SHAKEN {spec.spc}", "Lab Telephone Company")
        builder = self._builder(name, issuer.certificate.subject, key, spec.not_before, spec.not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=spec.ca, path_length=None), critical=True)
        builder = builder.add_extension(
            _usage(
                digital_signature=spec.digital_signature and not spec.ca,
                content_commitment=not spec.digital_signature,
                key_cert_sign=spec.ca,
            ),
            critical=True,
        )
        builder = _identifiers(builder, key, issuer.key)
        builder = builder.add_extension(x509.CertificatePolicies([x509.PolicyInformation(_POLICY, None)]), critical=False)
        if spec.with_tnauthlist:
            value = spec.tnauthlist if spec.tnauthlist is not None else TNAuthList(spcs=(spec.spc,))
            der = value if isinstance(value, bytes) else tnauthlist.encode(value)
            builder = builder.add_extension(x509.UnrecognizedExtension(tnauthlist.OID, der), critical=False)
        certificate = builder.sign(issuer.key, SHA256())
        return Issued(certificate, key, (issuer.certificate, *issuer.issuers))

    def web_server(self, names: Sequence[str]) -> Issued:
        """A TLS certificate for the repository; its root is the hierarchy's own, which a lab trusts for TLS too."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(names[0], "Lab"), self.root.certificate.subject, key, 0, 0)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = _identifiers(builder, key, self.root.key)
        return Issued(builder.sign(self.root.key, SHA256()), key)

    def _authority(self, common_name: str, issuer: Issued | None) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name, "Lab")
        issuer_name = issuer.certificate.subject if issuer else name
        issuer_key = issuer.key if issuer else key
        builder = self._builder(name, issuer_name, key, 0, self.now + 10 * 365 * 86400)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True), critical=True)
        builder = _identifiers(builder, key, issuer_key)
        return Issued(builder.sign(issuer_key, SHA256()), key)

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        not_before: float,
        not_after: float,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(not_before or self.now - 3600))
            .not_valid_after(_moment(not_after or self.now + 30 * 86400))
        )


def expired(spec: ServiceProvider, now: float) -> ServiceProvider:
    """The same, ended yesterday."""
    return replace(spec, not_before=now - 30 * 86400, not_after=now - 86400)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _name(common_name: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _identifiers(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    subject_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return builder.add_extension(subject_id, critical=False).add_extension(authority_id, critical=False)


def _usage(*, digital_signature: bool = False, content_commitment: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
