"""The profile of SHAKEN certificates, rule by rule (ATIS-1000080 6.4.1; certificate policy of the US, 1.3 and 1.4).

What breaks it is common in the field: one in five common names, one in three CRL distribution points. So these are findings,
which `certificate_profile = "strict"` makes failures; what security hangs on is checked in `credential` in any case. Delegate
certificates (RFC 9060) are not of this profile: strict refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier, SignatureAlgorithmOID

from kamailio_app.credentials import constraints, tnauthlist
from kamailio_app.credentials.tnauthlist import TNAuthList

_POLICIES: Final = frozenset(ObjectIdentifier(f"2.16.840.1.114569.1.1.{version}") for version in (1, 2, 3, 4))
_SIGNATURES: Final = frozenset({SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.ECDSA_WITH_SHA384})
_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
# A serial number with 64 random bits is shorter than the first once in 2^24; more than the second has 21 octets
_SHORTEST_SERIAL, _LONGEST_SERIAL = 41, 159
_SKI: Final = x509.SubjectKeyIdentifier
_AKI: Final = x509.AuthorityKeyIdentifier
# The profile's own, and RFC 5280 4.2.2.1 (three certificates in a thousand have it), RFC 8226 8, RFC 9118
_KNOWN: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        tnauthlist.OID,
        constraints.OID,
        constraints.ENHANCED_OID,
    }
)

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


class _Place(NamedTuple):
    """A certificate and where it stands in its path."""

    certificate: x509.Certificate
    kind: str  # signer, issuer, root
    issuer: x509.Certificate | None
    authority: TNAuthList

    def value(self, kind: type[ExtensionT], *, critical: bool | None = None) -> ExtensionT | None:
        """The extension, unless it is critical and should not be, or the other way round."""
        held = _extension(self.certificate, kind)
        return held.value if held is not None and critical in (None, held.critical) else None

    def subject(self, oid: ObjectIdentifier) -> str:
        return "".join(str(attribute.value) for attribute in self.certificate.subject.get_attributes_for_oid(oid))


def findings(chain: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """What breaks the profile in a path, signer first and anchor last: "CLAUSE: words". Errors: `tnauthlist_malformed`."""
    authority = tnauthlist.of_certificate(chain[0]) or TNAuthList()
    return tuple(words for place in _places(chain, authority) for words in _broken(place))


def findings_of_ca(certificate: x509.Certificate, issuer: x509.Certificate | None) -> tuple[str, ...]:
    """The same of one CA's certificate; `issuer` is None if it is not at hand."""
    kind = "root" if certificate.subject == certificate.issuer else "issuer"
    place = _Place(certificate, kind, certificate if kind == "root" else issuer, TNAuthList())
    return tuple(_broken(place))


def _broken(place: _Place) -> Iterator[str]:
    return (f"ATIS-1000080 6.4.1: {place.kind}'s {words}" for words, rules in _RULES if not rules[place.kind](place))


def _places(chain: Sequence[x509.Certificate], authority: TNAuthList) -> Iterator[_Place]:
    issuers = (*chain[1:], None)
    for index, (certificate, issuer) in enumerate(zip(chain, issuers, strict=True)):
        root = certificate.subject == certificate.issuer
        kind = "signer" if index == 0 else "root" if root else "issuer"
        yield _Place(certificate, kind, certificate if root else issuer, authority)


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> x509.Extension[ExtensionT] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


# --- Rules of one field ---------------------------------------------------------------------------------------------


def _serial(place: _Place) -> bool:
    serial = place.certificate.serial_number
    return serial > 0 and _SHORTEST_SERIAL <= serial.bit_length() <= _LONGEST_SERIAL


def _signature(place: _Place) -> bool:
    return place.certificate.signature_algorithm_oid in _SIGNATURES


def _signers_key(place: _Place) -> bool:
    return _on_curve(place, SECP256R1)


def _issuers_key(place: _Place) -> bool:
    return _on_curve(place, SECP256R1) or _on_curve(place, SECP384R1)


def _on_curve(place: _Place, curve: type) -> bool:
    key = place.certificate.public_key()
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, curve)


def _subject(place: _Place) -> bool:
    return bool(_COUNTRY.fullmatch(place.subject(NameOID.COUNTRY_NAME)) and place.subject(NameOID.ORGANIZATION_NAME))


def _signers_name(place: _Place) -> bool:
    return place.subject(NameOID.COMMON_NAME) in {f"SHAKEN {spc}" for spc in place.authority.spcs}


def _issuers_name(place: _Place) -> bool:
    return "SHAKEN" in place.subject(NameOID.COMMON_NAME).upper()


def _roots_name(place: _Place) -> bool:
    return _issuers_name(place) and "ROOT" in place.subject(NameOID.COMMON_NAME).upper()


def _end_entity(place: _Place) -> bool:
    value = place.value(x509.BasicConstraints, critical=True)
    return value is not None and not value.ca


def _authority(place: _Place) -> bool:
    value = place.value(x509.BasicConstraints, critical=True)
    return value is not None and value.ca


def _signs(place: _Place) -> bool:
    return place.value(x509.KeyUsage, critical=True) == x509.KeyUsage(
        True, False, False, False, False, False, False, False, False
    )


def _certifies(place: _Place) -> bool:
    value = place.value(x509.KeyUsage, critical=True)
    return value is not None and value == x509.KeyUsage(
        # Earlier versions of the profile let an authority have these, too
        value.digital_signature, False, False, False, False, True, value.crl_sign, False, False
    )  # fmt: skip


def _own_identifier(place: _Place) -> bool:
    return place.value(_SKI) == _SKI.from_public_key(place.certificate.public_key())


def _issuers_identifier(place: _Place) -> bool:
    named = place.value(_AKI)
    if place.issuer is None:  # an anchor that is no root
        return named is not None
    own = _extension(place.issuer, _SKI)
    return named is not None and own is not None and named.key_identifier == own.value.digest


def _roots_identifier(place: _Place) -> bool:
    return place.value(_AKI) is None or _issuers_identifier(place)


def _one_policy(place: _Place) -> bool:
    policies = place.value(x509.CertificatePolicies, critical=False)
    return policies is not None and len(policies) == 1 and policies[0].policy_identifier in _POLICIES


def _no_policy(place: _Place) -> bool:
    return place.value(x509.CertificatePolicies) is None


def _one_crl(place: _Place) -> bool:
    points = place.value(x509.CRLDistributionPoints)
    if points is None or len(points) != 1:
        return False
    names, issuers = points[0].full_name or [], points[0].crl_issuer or []
    return (
        len(names) == 1
        and isinstance(names[0], x509.UniformResourceIdentifier)
        and bool(_URL.match(names[0].value))
        and len(issuers) == 1
        and isinstance(issuers[0], x509.DirectoryName)
    )


def _no_crl(place: _Place) -> bool:
    return place.value(x509.CRLDistributionPoints) is None


def _one_code(place: _Place) -> bool:
    return len(place.authority.spcs) == 1 and not place.authority.ranges and not place.authority.numbers


def _no_code(place: _Place) -> bool:
    return all(extension.oid != tnauthlist.OID for extension in place.certificate.extensions)


def _no_others(place: _Place) -> bool:
    return all(extension.oid in _KNOWN for extension in place.certificate.extensions)


_Rule = Callable[[_Place], bool]


def _rules(signer: _Rule, issuer: _Rule | None = None, root: _Rule | None = None) -> dict[str, _Rule]:
    issuer = issuer or signer
    return {"signer": signer, "issuer": issuer, "root": root or issuer}


# Words go behind "signer's", "issuer's" or "root's"
_RULES: Final[tuple[tuple[str, dict[str, _Rule]], ...]] = (
    ("version is not 3", _rules(lambda place: place.certificate.version is x509.Version.v3)),
    ("serial number is not positive, shorter than 64 random bits or longer than 20 octets", _rules(_serial)),
    ("signature is not ECDSA with SHA-256 or SHA-384", _rules(_signature)),
    ("key is not on P-256 (in a CA: or P-384)", _rules(_signers_key, _issuers_key)),
    ("subject lacks country or organization", _rules(_subject)),
    ("common name is not SHAKEN's", _rules(_signers_name, _issuers_name, _roots_name)),
    ("basicConstraints is not critical or has the wrong cA", _rules(_end_entity, _authority)),
    ("keyUsage is not critical or has other bits than the profile's", _rules(_signs, _certifies)),
    ("subjectKeyIdentifier is not the key's", _rules(_own_identifier)),
    ("authorityKeyIdentifier is not its issuer's", _rules(_issuers_identifier, root=_roots_identifier)),
    ("certificatePolicies is not exactly one of SHAKEN's (none in a root)", _rules(_one_policy, root=_no_policy)),
    ("cRLDistributionPoints is not one URL with cRLIssuer (none in a root)", _rules(_one_crl, root=_no_crl)),
    ("TNAuthList is not one provider code (none in a CA)", _rules(_one_code, _no_code)),
    ("extensions are not of the profile", _rules(_no_others)),
)
