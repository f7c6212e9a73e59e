"""A test hierarchy: STI-CA root and intermediate, service providers, the web server of the repository; and an STI-PA with its
trust list and its CRL.

Right by default (ATIS-1000080 6.4.1); a test passes only its deviation. Keys are throw-away keys made here.
"""

from __future__ import annotations

import datetime
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from kamailio_app.credentials import constraints, tnauthlist
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.tnauthlist import TNAuthList

CRL_URL: Final = "https://pa.example.test/download/v1/crl"
POLICY_URL: Final = "https://pa.example.test/download/v1/certificate/pa.crt"

_POLICY: Final = ObjectIdentifier("2.16.840.1.114569.1.1.4")
# As in certificates of the United States, in the order of its attributes
_CRL_ISSUER: Final = x509.Name(
    [
        x509.NameAttribute(NameOID.LOCALITY_NAME, "Bridgewater"),
        x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "NJ"),
        x509.NameAttribute(NameOID.COMMON_NAME, "STI-PA CRL"),
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "STI-PA"),
    ]
)


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
    constraints: ClaimConstraints | bytes | None = None
    enhanced: bool = True  # RFC 9118, otherwise RFC 8226 8


class Hierarchy:
    """One STI-CA with root and intermediate; `now` is the middle of nothing: certificates begin an hour before it."""

    def __init__(self, now: float, name: str = "Lab") -> None:
        self.now = now
        self.root = self._authority(f"{name} SHAKEN ROOT CA", None)
        self.intermediate = self._authority(f"{name} SHAKEN Issuing CA", self.root)
        self.policy_root = self._authority(f"{name} STI-PA ROOT CA", None)
        self.policy_signer = self._policy_signer()

    def service_provider(
        self,
        spec: ServiceProvider = ServiceProvider(),
        issuer: Issued | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Issued:
        """Issue a certificate; from a delegate's CA (`spec.ca` of its own) if `issuer` is given; of a new key without `key`."""
        issuer = issuer or self.intermediate
        key = key or ec.generate_private_key(spec.curve)
        name = _name(spec.common_name or f"SHAKEN {spec.spc}", "Lab Telephone Company")
        builder = self._builder(name, issuer.certificate.subject, key.public_key(), spec.not_before, spec.not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=spec.ca, path_length=None), critical=True)
        builder = builder.add_extension(
            _usage(
                digital_signature=spec.digital_signature and not spec.ca,
                content_commitment=not spec.digital_signature,
                key_cert_sign=spec.ca,
            ),
            critical=True,
        )
        builder = _profile(_identifiers(builder, key.public_key(), issuer.key))
        if spec.constraints is not None:
            der = _constraints(spec.constraints, spec.enhanced)
            oid = constraints.ENHANCED_OID if spec.enhanced else constraints.OID
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, der), critical=False)
        if spec.with_tnauthlist:
            value = spec.tnauthlist if spec.tnauthlist is not None else TNAuthList(spcs=(spec.spc,))
            der = value if isinstance(value, bytes) else tnauthlist.encode(value)
            builder = builder.add_extension(x509.UnrecognizedExtension(tnauthlist.OID, der), critical=False)
        certificate = builder.sign(issuer.key, SHA256())
        return Issued(certificate, key, (issuer.certificate, *issuer.issuers))

    def certify(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        authority: TNAuthList,
        *,
        not_before: float = 0,
        not_after: float = 0,
        points: x509.CRLDistributionPoints | None = None,
    ) -> tuple[x509.Certificate, ...]:
        """A chain for a key of somebody else's, as a certificate request has it; `points`: where its CRL is."""
        builder = self._builder(subject, self.intermediate.certificate.subject, key, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        builder = _profile(_identifiers(builder, key, self.intermediate.key), points)
        extension = x509.UnrecognizedExtension(tnauthlist.OID, tnauthlist.encode(authority))
        certificate = builder.add_extension(extension, critical=False).sign(self.intermediate.key, SHA256())
        return (certificate, self.intermediate.certificate)

    def crl(
        self,
        revoked: Iterable[x509.Certificate] = (),
        *,
        number: int | None = 1,
        this_update: float = 0,
        next_update: float = 0,
        signer: Issued | None = None,
    ) -> bytes:
        """The STI-PA's list in PEM: indirect; an entry names its issuer only if the one before has another."""
        signer = signer or self.policy_signer
        point = x509.IssuingDistributionPoint([x509.UniformResourceIdentifier(CRL_URL)], None, False, False, None, True, False)
        began = _moment(this_update or self.now)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(signer.certificate.subject)
            .last_update(began)
            .next_update(_moment(next_update or self.now + 7 * 86400))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
            .add_extension(point, critical=True)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        issuer = signer.certificate.subject
        for certificate in sorted(revoked, key=lambda each: each.issuer.rfc4514_string()):
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(began)
            if certificate.issuer != issuer:
                issuer = certificate.issuer
                entry = entry.add_extension(x509.CertificateIssuer([x509.DirectoryName(issuer)]), critical=True)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(signer.key, SHA256()).public_bytes(Encoding.PEM)

    def trust_list(
        self,
        roots: Iterable[x509.Certificate] | None = None,
        sequence: int = 1,
        *,
        expires: float = 0,
        signer: Issued | None = None,
        bring_signer: bool = False,
        x5u: str = POLICY_URL,
        **deviation: object,
    ) -> str:
        """The STI-PA's list as a compact JWS; `x5u`: where its signer is; `deviation` are other members of its payload."""
        signer = signer or self.policy_signer
        ders = [each.public_bytes(Encoding.DER) for each in (signer.certificate, *signer.issuers)]
        header: dict[str, object] = {"alg": "ES256", "typ": "JWT", "x5u": x5u}
        if bring_signer:
            header["x5c"] = [b64encode(der).decode() for der in ders]
        payload: dict[str, object] = {
            "version": "1.0",
            "sequence": sequence,
            "exp": int(expires or self.now + 30 * 86400),
            "trustList": [
                each.public_bytes(Encoding.PEM).decode() for each in ([self.root.certificate] if roots is None else roots)
            ],
        }
        return _jws(header, payload | deviation, signer.key)

    def spc_token(
        self,
        authority: TNAuthList,
        fingerprint: str,
        *,
        expires: float = 0,
        ca: bool = False,
        jti: str = "lab",
        tkvalue: str = "",
        x5u: str = POLICY_URL,
        signer: Issued | None = None,
        bring_signer: bool = False,
        **deviation: object,
    ) -> str:
        """The STI-PA's SPC token (RFC 9448 5) as a compact JWS, good for an hour; `tkvalue`: the authority as it is to be
        written, in base64 by default; `deviation` are other members of its `atc`.
        """
        signer = signer or self.policy_signer
        header: dict[str, object] = {"alg": "ES256", "typ": "JWT", "x5u": x5u}
        if bring_signer:
            ders = [each.public_bytes(Encoding.DER) for each in (signer.certificate, *signer.issuers)]
            header = {"alg": "ES256", "typ": "JWT", "x5c": [b64encode(der).decode() for der in ders]}
        atc: dict[str, object] = {
            "tktype": "TNAuthList",
            "tkvalue": tkvalue or b64encode(tnauthlist.encode(authority)).decode(),
            "ca": ca,
            "fingerprint": fingerprint,
        }
        payload: dict[str, object] = {"exp": int(expires or self.now + 3600), "jti": jti, "atc": atc | deviation}
        return _jws(header, payload, signer.key)

    def _policy_signer(self) -> Issued:
        """The certificate of the STI-PA that signs its trust list and its CRL."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_CRL_ISSUER, self.policy_root.certificate.subject, key.public_key(), 0, 0)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True, crl_sign=True), critical=True)
        builder = _identifiers(builder, key.public_key(), self.policy_root.key)
        return Issued(builder.sign(self.policy_root.key, SHA256()), key)

    def web_server(self, names: Sequence[str], not_after: float = 0) -> Issued:
        """A TLS certificate for the repository; its root is the hierarchy's own, which a lab trusts for TLS too."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(names[0], "Lab"), self.root.certificate.subject, key.public_key(), 0, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = _identifiers(builder, key.public_key(), self.root.key)
        return Issued(builder.sign(self.root.key, SHA256()), key)

    def _authority(self, common_name: str, issuer: Issued | None) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name, "Lab")
        issuer_name = issuer.certificate.subject if issuer else name
        issuer_key = issuer.key if issuer else key
        builder = self._builder(name, issuer_name, key.public_key(), 0, self.now + 10 * 365 * 86400)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True), critical=True)
        builder = _identifiers(builder, key.public_key(), issuer_key)
        if issuer is not None:
            builder = _profile(builder)
        return Issued(builder.sign(issuer_key, SHA256()), key)

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        not_before: float,
        not_after: float,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
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
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    subject_id = x509.SubjectKeyIdentifier.from_public_key(key)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return builder.add_extension(subject_id, critical=False).add_extension(authority_id, critical=False)


def _profile(builder: x509.CertificateBuilder, points: x509.CRLDistributionPoints | None = None) -> x509.CertificateBuilder:
    """What the profile adds to all but roots: the policy, and where the CRL is and whose it is."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(CRL_URL)], None, None, [x509.DirectoryName(_CRL_ISSUER)])
    return builder.add_extension(
        x509.CertificatePolicies([x509.PolicyInformation(_POLICY, None)]), critical=False
    ).add_extension(points or x509.CRLDistributionPoints([point]), critical=False)


def _constraints(value: ClaimConstraints | bytes, enhanced: bool) -> bytes:
    return value if isinstance(value, bytes) else constraints.encode(value, enhanced)


def _jws(header: dict[str, object], payload: dict[str, object], key: ec.EllipticCurvePrivateKey) -> str:
    """RFC 7515 7.1, with ES256."""
    signing_input = ".".join(_base64url(json.dumps(part).encode()) for part in (header, payload))
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(SHA256())))
    return f"{signing_input}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _usage(
    *, digital_signature: bool = False, content_commitment: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
