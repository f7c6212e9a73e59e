"""Certificates, looked at: what each says, how they hang together, whether they are trusted, and what breaks the profile."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from kamailio_app.credentials import constraints, profile, tnauthlist
from kamailio_app.credentials.certificate import MALFORMED, is_ca, seen_instead
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import Credential, check_validity, fitness, validate
from kamailio_app.credentials.crl import check_revocation
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.inspection_content import PROFILE, Content, Finding, authority_in_words, moment, name_in_words
from kamailio_app.lifecycle.inspection_key import key_in_words, spki_digest
from kamailio_app.lifecycle.inspection_trust import Trusted

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?(?:-----END CERTIFICATE-----|\Z|(?=-----BEGIN ))", re.DOTALL)
_MAX_CERTIFICATES: Final = 1000
_DAY: Final = 86400
_MALFORMED: Final = "credential_malformed"
_POLICIES: Final = {
    ObjectIdentifier(f"2.16.840.1.114569.1.1.{minor}"): f"SHAKEN certificate policy 1.{minor}" for minor in (1, 2, 3, 4)
}
_USAGES: Final = {
    "digital_signature": "digitalSignature",
    "content_commitment": "contentCommitment",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


# --- Extensions, of certificates and requests -----------------------------------------------------------------------


def _value(kind: type[x509.ExtensionType], words: Callable[[Any], Any]) -> Callable[[x509.Extensions], Any]:
    def part(extensions: x509.Extensions) -> Any:
        held = [extension for extension in extensions if isinstance(extension.value, kind)]
        return words(held[0]) if held else None

    return part


def _basic(extension: x509.Extension[x509.BasicConstraints]) -> str:
    length = extension.value.path_length
    return _critical(extension, f"CA:{str(extension.value.ca).upper()}{'' if length is None else f', at most {length} below'}")


def _usage(extension: x509.Extension[x509.KeyUsage]) -> str:
    return _critical(extension, ", ".join(words for name, words in _USAGES.items() if getattr(extension.value, name)))


def _critical(extension: x509.Extension[Any], words: str) -> str:
    return f"{words} (critical)" if extension.critical else words


def _policies(extension: x509.Extension[x509.CertificatePolicies]) -> list[str]:
    return [_policy(each.policy_identifier) for each in extension.value]


def _policy(oid: ObjectIdentifier) -> str:
    return f"{oid.dotted_string} ({_POLICIES[oid]})" if oid in _POLICIES else oid.dotted_string


def _points(extension: x509.Extension[x509.CRLDistributionPoints]) -> list[dict[str, str]]:
    return [
        {"url": _general_names(point.full_name or ()), "issuer": _general_names(point.crl_issuer or ())}
        for point in extension.value
    ]


def _general_names(names: Iterable[x509.GeneralName]) -> str:
    return " ".join(map(_general_name, names))


def _general_name(name: x509.GeneralName) -> str:
    return name_in_words(name.value) if isinstance(name, x509.DirectoryName) else str(name.value)


def _access(extension: x509.Extension[x509.AuthorityInformationAccess]) -> list[str]:
    return [_general_name(each.access_location) for each in extension.value]


def _authority(extensions: x509.Extensions) -> list[str] | None:
    held = [extension.value.public_bytes() for extension in extensions if extension.oid == tnauthlist.OID]
    return authority_in_words(tnauthlist.decode(held[0])) if held else None


def _constraints(extensions: x509.Extensions) -> list[dict[str, Any]]:
    return [
        _constraints_in_words(constraints.decode(extension.value.public_bytes(), extension.oid == constraints.ENHANCED_OID))
        for extension in extensions
        if extension.oid in (constraints.OID, constraints.ENHANCED_OID)
    ]


def _constraints_in_words(held: ClaimConstraints | None) -> dict[str, Any]:
    if held is None:
        return {"void": "it excludes a claim that every PASSporT has (RFC 9118 3)"}
    return {
        "must_include": sorted(held.must_include),
        "permitted": {name: sorted(values) for name, values in held.permitted},
        "must_exclude": sorted(held.must_exclude),
    }


def _others(extensions: x509.Extensions) -> list[str]:
    return [_critical(each, each.oid.dotted_string) for each in extensions if each.oid not in _SHOWN]


_SHOWN: Final = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.CertificatePolicies.oid,
        x509.CRLDistributionPoints.oid,
        x509.AuthorityInformationAccess.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.SubjectAlternativeName.oid,
        tnauthlist.OID,
        constraints.OID,
        constraints.ENHANCED_OID,
    }
)
EXTENSIONS: Final[Mapping[str, Callable[[x509.Extensions], Any]]] = {
    "tnauthlist": _authority,
    "basic_constraints": _value(x509.BasicConstraints, _basic),
    "key_usage": _value(x509.KeyUsage, _usage),
    "policies": _value(x509.CertificatePolicies, _policies),
    "crl": _value(x509.CRLDistributionPoints, _points),
    "claim_constraints": _constraints,
    "subject_key_identifier": _value(x509.SubjectKeyIdentifier, lambda each: each.value.digest.hex()),
    "authority_key_identifier": _value(x509.AuthorityKeyIdentifier, lambda each: (each.value.key_identifier or b"").hex()),
    "issuer_certificates": _value(x509.AuthorityInformationAccess, _access),
    "alternative_names": _value(x509.SubjectAlternativeName, lambda each: [_general_name(name) for name in each.value]),
    "other_extensions": _others,
}


# --- One certificate ------------------------------------------------------------------------------------------------

_PARTS: Final[Mapping[str, Callable[[x509.Certificate], Any]]] = {
    "subject": lambda each: name_in_words(each.subject),
    "issuer": lambda each: name_in_words(each.issuer),
    "serial": lambda each: f"{each.serial_number:x}",
    "version": lambda each: each.version.value + 1,
    "not_before": lambda each: moment(each.not_valid_before_utc),
    "not_after": lambda each: moment(each.not_valid_after_utc),
    "key": lambda each: key_in_words(each.public_key()),
    "signature": lambda each: each.signature_algorithm_oid._name,
    "fingerprint": lambda each: each.fingerprint(SHA256()).hex(),
    "spki": lambda each: spki_digest(each.public_key()),
}


def _certificate(content: Content, certificate: x509.Certificate, now: float) -> dict[str, Any]:
    found = content.read(_PARTS, certificate, _MALFORMED)
    try:
        found["days_left"] = round((certificate.not_valid_after_utc.timestamp() - now) / _DAY, 2)
    except ValueError:  # year 0, said above
        found["days_left"] = None
    extensions = content.read({"extensions": lambda each: list(each.extensions)}, certificate, _MALFORMED)
    if extensions.get("extensions"):
        found |= content.read(EXTENSIONS, certificate.extensions, _MALFORMED)
    return found


# --- All of a file --------------------------------------------------------------------------------------------------


def load_certificates(octets: bytes) -> list[x509.Certificate]:
    """In the order of the file. Errors: `credential_malformed`, which says of several which one."""
    blocks = _PEM.findall(octets) if _BEGIN in octets else [octets]
    if len(blocks) > _MAX_CERTIFICATES:
        raise failure(_MALFORMED, f"{len(blocks)} certificates")
    certificates = []
    for number, block in enumerate(blocks, 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load = x509.load_pem_x509_certificate if _BEGIN in octets else x509.load_der_x509_certificate
                certificates.append(load(block))
        except MALFORMED as error:
            where = f"certificate {number} of {len(blocks)}: " if len(blocks) > 1 else ""
            raise failure(_MALFORMED, f"{where}{seen_instead(block)}") from error
    return certificates


def look_at_certificates(octets: bytes, trust: Trusted, now: float) -> Content:
    """A certificate, a chain or a bundle of CAs' certificates, in PEM or DER. Errors: `credential_malformed`."""
    certificates = load_certificates(octets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        authorities = [_is_ca(certificate) for certificate in certificates]
        content = Content("certificate" if len(certificates) == 1 else "chain" if not all(authorities) else "CA certificates")
        content.fields["certificates"] = [_certificate(content, certificate, now) for certificate in certificates]
        if all(authorities):
            _look_at_authorities(content, certificates, trust, now)
        else:
            _look_at_chain(content, certificates, authorities.index(False), trust, now)
    return content


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return is_ca(certificate)
    except MALFORMED:
        return False


def _look_at_authorities(content: Content, certificates: Sequence[x509.Certificate], trust: Trusted, now: float) -> None:
    anchors = {*trust.sti_cas.certificates, *trust.sti_pa.certificates}
    for number, certificate in enumerate(certificates, 1):
        which = f"certificate {number}: " if len(certificates) > 1 else ""
        for finding in _attempts(_validity(certificate, now)):
            content.add(finding._replace(words=f"{which}{finding.words}"))
        try:
            broken = profile.findings_of_ca(certificate, _issuer_among(certificate, certificates))
        except MALFORMED:  # said where it is shown
            continue
        for finding in map(Finding.of_profile, broken):
            content.add(finding._replace(words=f"{which}{finding.words}"))
    known = sum(certificate in anchors for certificate in certificates)
    if anchors:
        content.fields["anchors"] = f"{known} of {len(certificates)} among this host's trust anchors"
    content.remarks.append("no certificate that signs calls among them: these are CAs'")


def _look_at_chain(content: Content, certificates: Sequence[x509.Certificate], first: int, trust: Trusted, now: float) -> None:
    signer = certificates[first]
    others = [certificate for certificate in certificates if certificate is not signer]
    content.spki = content.fields["certificates"][first].get("spki") or ""
    _look_at_order(content, certificates, first)
    if _signs_for_the_sti_pa(signer, others, trust, now):
        content.fields["path"] = "trusted: it signs for the STI-PA"
        return
    for step in (lambda: fitness(signer), *(_validity(each, now) for each in certificates)):
        for finding in _attempts(step):
            content.add(finding)
    credential = _look_at_path(content, signer, others, trust, now)
    path = _path(signer, others)
    if credential is not None:
        anchor = next(each for each in trust.sti_cas.certificates if each.fingerprint(SHA256()).hex() == credential.anchor)
        path = [*(each for each in path if each != anchor), anchor]
    try:
        broken = profile.findings(path)
    except (StirError, *MALFORMED):  # said where it is shown
        return
    for finding in map(Finding.of_profile, broken):
        content.add(finding)


def _look_at_order(content: Content, certificates: Sequence[x509.Certificate], first: int) -> None:
    """RFC 8555 9.1: the signer first, and each certificates the one before it."""
    clause = "RFC 8555 9.1"
    if first:
        content.add(Finding(clause, f"the file begins with a CA's certificate, the signer's is number {first + 1}"))
    elif wrong := [number for number, (below, above) in enumerate(pairwise(certificates), 2) if not _issued(above, below)]:
        content.add(Finding(clause, f"certificate {wrong[0]} did not issue the one before it"))
    if _self_issued(certificates[-1]) and len(certificates) > 1:
        content.remarks.append("the root is in it: verifiers have it, or do not trust it")


def _look_at_path(
    content: Content, signer: x509.Certificate, others: Sequence[x509.Certificate], trust: Trusted, now: float
) -> Credential | None:
    if not len(trust.sti_cas):
        content.fields["path"] = "not checked"
        content.remarks.append("the settings have no trust anchors: set [verification] ca_file or [trust] trust_list_url")
        return None
    try:
        credential = validate(b"".join(each.public_bytes(Encoding.PEM) for each in (signer, *others)), trust.sti_cas, now)
    except StirError as error:
        content.add(Finding.of(error))
        content.fields["path"] = f"not trusted: {error.token}"
        return None
    anchor = next(each for each in trust.sti_cas.certificates if each.fingerprint(SHA256()).hex() == credential.anchor)
    content.fields["path"] = f"trusted by {name_in_words(anchor.subject)}"
    if trust.revocations is None:
        content.remarks.append("revocation is not checked: the server keeps no CRL here (`[trust] crl_url`)")
    else:
        revoked = _attempts(lambda: check_revocation(credential, trust.revocations, now, hard=False))
        content.fields["revoked"] = bool(revoked)
        for finding in revoked:
            content.add(finding)
    return credential


def _signs_for_the_sti_pa(signer: x509.Certificate, others: Sequence[x509.Certificate], trust: Trusted, now: float) -> bool:
    try:
        if tnauthlist.of_certificate(signer) is not None:
            return False
        trust.sti_pa.path(signer, others, now)
    except (StirError, *MALFORMED):
        return False
    return True


def _path(signer: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """As far as the file's certificates lead."""
    path = [signer]
    while (issuer := _issuer_among(path[-1], others)) is not None and issuer not in path:
        path.append(issuer)
    return path


def _issuer_among(certificate: x509.Certificate, certificates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next((each for each in certificates if each != certificate and _issued(each, certificate)), None)


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *MALFORMED):
        return False
    return True


def _self_issued(certificate: x509.Certificate) -> bool:
    try:
        return certificate.subject == certificate.issuer
    except MALFORMED:
        return False


def _validity(certificate: x509.Certificate, now: float) -> Callable[[], None]:
    return lambda: check_validity(certificate, now)


def _attempts(step: Callable[[], object]) -> list[Finding]:
    try:
        step()
    except StirError as error:
        return [Finding.of(error)]
    except MALFORMED as error:
        return [Finding(PROFILE, one_line(str(error)), _MALFORMED)]
    return []
