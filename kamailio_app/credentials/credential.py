"""The validated credential: everything that is constant per certificate, checked once (RFC 8224 6.2 steps 3 and 4).

Path validation is cryptography's X.509 verifier with extension policies for STI certificates, which have neither
subjectAltName nor extendedKeyUsage (decision 9). Revocation changes while a credential is kept: `crl.check_revocation`.
Claims are a PASSporT's: `Credential.constraints.check`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from kamailio_app.credentials import constraints, profile, tnauthlist
from kamailio_app.credentials.certificate import MALFORMED, MAX_CHAIN, is_ca, parse_chain
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.names import identifier, issuer_key
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import one_line


def _check_issuer_usage(_policy: Policy, _issuer: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """RFC 5280 4.2.1.3: a certificate with keyUsage issues others only if keyCertSign is among them."""
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer's keyUsage lacks keyCertSign")


_CA_POLICY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_issuer_usage)
    .may_be_present(x509.CertificatePolicies, Criticality.AGNOSTIC, None)
)
_MAX_KEPT: Final = 16384  # octets
_SIGNER_POLICY: Final = ExtensionPolicy.permit_all().may_be_present(x509.CertificatePolicies, Criticality.AGNOSTIC, None)


@dataclass(frozen=True, slots=True)
class Credential:
    """A signer's certificate that chains to a trust anchor. Times in seconds since 1970, the whole chain's window, both
    ends inclusive.
    """

    public_key: EllipticCurvePublicKey = field(repr=False)
    tnauthlist: TNAuthList
    not_before: int
    not_after: int
    fingerprint: str  # SHA-256 of the DER, hexadecimal
    path_pem: str = field(default="", repr=False)  # the path's certificates without the anchor, unless it is the signer itself
    identifiers: tuple[str, ...] = ()  # of all whose issuer could revoke them, as `Revocations.revoked` has them
    anchor: str = ""  # SHA-256 of the anchor's DER, hexadecimal
    constraints: ClaimConstraints | None = None  # of all certificates of the path together
    findings: tuple[str, ...] = ()  # what breaks the profile of ATIS-1000080: "CLAUSE: words"


_EXHAUSTED: Final = "candidates exhausted"
_NO_PATH: Final = "no path to a trust anchor holds: a certificate on it is not valid now, no CA's, or has not signed the next"


class TrustAnchors:
    """The roots that operators trust: the STI-PA's list or files of their own. Immutable."""

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        self.certificates = tuple(certificates)
        self.fingerprints = frozenset(certificate.fingerprint(SHA256()).hex() for certificate in self.certificates)
        self._store = Store(list(self.certificates)) if self.certificates else None

    def __len__(self) -> int:
        return len(self.certificates)

    def path(self, signer: x509.Certificate, intermediates: Iterable[x509.Certificate], now: float) -> list[x509.Certificate]:
        """The chain from signer to anchor, valid at `now`. Errors: `credential_untrusted`."""
        if self._store is None:
            raise failure("credential_untrusted", "no trust anchors")
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(datetime.fromtimestamp(now, UTC))
            .extension_policies(ca_policy=_CA_POLICY, ee_policy=_SIGNER_POLICY)
            .build_client_verifier()
        )
        others = list(intermediates)
        try:
            return verifier.verify(signer, others).chain
        except (VerificationError, ValueError) as error:
            raise failure("credential_untrusted", self._why(signer, others, str(error))) from error

    def _why(self, signer: x509.Certificate, others: list[x509.Certificate], words: str) -> str:
        """Whose certificate is missing, if one is; else what the library says, where that tells anything."""
        try:
            known = {each.subject: each for each in (*others, *self.certificates)}
            last, seen = signer, {signer.subject}
            while (above := known.get(last.issuer)) is not None and above.subject not in seen:
                last = above
                seen.add(last.subject)
            if last.issuer == last.subject and last not in self.certificates:
                return f"{_shown(last.subject)} is not among the trust anchors"
            if above is None:
                return f"no certificate of {_shown(last.issuer)}, neither in the chain nor among the trust anchors"
        except MALFORMED:  # a name that cannot be read
            pass
        return _NO_PATH if _EXHAUSTED in words else words


def validate(
    octets: bytes,
    anchors: TrustAnchors,
    now: float,
    *,
    strict: bool = False,
    revoked: Callable[[str], bool] | None = None,
) -> Credential:
    """The credential in what an x5u URL holds, validated at `now`; `strict`: nothing but the profile of ATIS-1000080.

    `revoked` tells of an identifier whether it is; a path without such an issuer goes before one with. Where every path has one
    it is `check_revocation`'s business.

    Errors: `credential_malformed`, `credential_expired`, `credential_not_yet_valid`, `credential_key_unsupported`,
    `credential_usage_forbidden`, `tnauthlist_missing`, `tnauthlist_malformed`, `credential_untrusted`,
    `constraints_malformed`; if `strict`, `credential_profile`.
    """
    signer, *intermediates = parse_chain(octets)
    key, authority = fitness(signer)
    check_validity(signer, now)
    try:
        chain = anchors.path(signer, intermediates, now)
    except UnsupportedCredential:
        # An expired issuer says more than "untrusted"; one that no path needs does no harm
        for certificate in intermediates:
            check_validity(certificate, now)
        raise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if revoked is not None:
                chain = _unrevoked(chain, intermediates, revoked, anchors, now)
            credential = _credential(key, authority, chain)
    except MALFORMED as error:  # a name or an extension that the path did not need
        raise failure("credential_malformed", str(error)) from error
    if strict and credential.findings:
        raise failure("credential_profile", "; ".join(credential.findings))
    return credential


def _unrevoked(
    chain: list[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    revoked: Callable[[str], bool],
    anchors: TrustAnchors,
    now: float,
) -> list[x509.Certificate]:
    """The same path, or another by fewer intermediates: a CA with two certificates for its key loses one of them at a time."""
    best, left = chain, list(intermediates)
    while bad := [certificate for certificate in chain[1:] if certificate in left and revoked(_identifier(certificate))]:
        left = [certificate for certificate in left if certificate not in bad]
        try:
            chain = anchors.path(chain[0], left, now)
        except UnsupportedCredential:
            return best
    return chain


def kept_pem(octets: bytes, credential: Credential) -> str:
    """What is worth keeping of the octets that the credential was read from: its path, and other certificates of the same CAs,
    should one of the path be revoked. A stranger's file may hold much more.
    """
    path = parse_chain(credential.path_pem.encode())
    kept, pem = list(path), credential.path_pem
    spare = [certificate for certificate in parse_chain(octets) if certificate not in path and is_ca(certificate)]
    # An issuer of an issuer may stand before it
    for certificate in [*spare, *spare]:
        more = certificate.public_bytes(Encoding.PEM).decode("ascii")
        if (
            certificate not in kept
            and len(kept) < MAX_CHAIN
            and len(pem) + len(more) <= _MAX_KEPT
            and any(_issued(certificate, each) for each in kept)
        ):
            kept.append(certificate)
            pem += more
    return pem


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return not _self_issued(issuer)  # which is trusted as an anchor, or not at all
    except (InvalidSignature, *MALFORMED):
        return False


def _credential(key: EllipticCurvePublicKey, authority: TNAuthList, chain: Sequence[x509.Certificate]) -> Credential:
    _check_delegation(authority, chain)
    held = chain[:-1] or chain
    return Credential(
        public_key=key,
        tnauthlist=authority,
        not_before=int(max(certificate.not_valid_before_utc.timestamp() for certificate in chain)),
        not_after=int(min(certificate.not_valid_after_utc.timestamp() for certificate in chain)),
        fingerprint=chain[0].fingerprint(SHA256()).hex(),
        path_pem="".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in held),
        identifiers=tuple(map(_identifier, held if _self_issued(chain[-1]) else dict.fromkeys((*held, chain[-1])))),
        anchor=chain[-1].fingerprint(SHA256()).hex(),
        constraints=constraints.of_certificates(chain),
        findings=profile.findings(chain),
    )


def _identifier(certificate: x509.Certificate) -> str:
    return identifier(issuer_key(certificate.issuer), certificate.serial_number)


def _shown(name: x509.Name) -> str:
    return one_line(name.rfc4514_string(), 256)


def _self_issued(certificate: x509.Certificate) -> bool:
    """RFC 5280 6.1: a root, which nobody but its operators can withdraw."""
    return issuer_key(certificate.issuer) == issuer_key(certificate.subject)


def _check_delegation(authority: TNAuthList, chain: Sequence[x509.Certificate]) -> None:
    """RFC 9060 4: an issuer that has a TNAuthList of its own passes on no more than that, and the certificate below it names
    the issuer's key. Errors: `credential_untrusted`.
    """
    for certificate, issuer in pairwise(chain):
        own = tnauthlist.of_certificate(issuer)
        if own is None:
            continue
        if not own.encompasses(authority):
            raise failure("credential_untrusted", "delegated more than the issuer has")
        if not _names_key(certificate, issuer):
            raise failure("credential_untrusted", "a delegate's authorityKeyIdentifier is not its issuer's")
        authority = own


def _names_key(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    named = [e.value.key_identifier for e in certificate.extensions if isinstance(e.value, x509.AuthorityKeyIdentifier)]
    own = [e.value.digest for e in issuer.extensions if isinstance(e.value, x509.SubjectKeyIdentifier)]
    return bool(own) and named == own


def check_validity(certificate: x509.Certificate, now: float) -> None:
    """Errors: `credential_malformed`, `credential_expired`, `credential_not_yet_valid`."""
    try:
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError as error:  # year 0
        raise failure("credential_malformed", str(error)) from error
    # RFC 5280 4.1.2.5: from notBefore through notAfter, inclusive
    if now > not_after.timestamp():
        raise failure("credential_expired", f"{not_after:%F %T}Z")
    if now < not_before.timestamp():
        raise failure("credential_not_yet_valid", f"{not_before:%F %T}Z")


def fitness(signer: x509.Certificate) -> tuple[EllipticCurvePublicKey, TNAuthList]:
    """What lets a certificate sign PASSporTs: a P-256 key, the right to sign, an authority (ATIS-1000080 6.4.1).

    Errors: `credential_malformed`, `credential_key_unsupported`, `credential_usage_forbidden`, `tnauthlist_missing`,
    `tnauthlist_malformed`.
    """
    try:
        key, extensions = signer.public_key(), signer.extensions
    except Exception as error:  # cryptography raises ValueError, UnsupportedAlgorithm, DuplicateExtension, ...
        raise failure("credential_malformed", str(error)) from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise failure("credential_key_unsupported")
    allowed = {extension.oid: extension.value for extension in extensions}
    usage = allowed.get(x509.KeyUsage.oid)
    constraints = allowed.get(x509.BasicConstraints.oid)
    if isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
        raise failure("credential_usage_forbidden", "keyUsage")
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        # RFC 9060 4: only end-entity certificates sign PASSporTs
        raise failure("credential_usage_forbidden", "a CA certificate")
    authority = tnauthlist.of_certificate(signer)
    if authority is None:
        raise failure("tnauthlist_missing")
    return key, authority
