"""JWTClaimConstraints and EnhancedJWTClaimConstraints: what a certificate's PASSporTs may say (RFC 8226 8, RFC 9118)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from kamailio_app.errors import failure

OID: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.27")
ENHANCED_OID: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.33")

# RFC 8226 8: these appear in any case
_BASELINE: Final = frozenset({"dest", "iat", "orig"})


@dataclass(frozen=True, slots=True)
class ClaimConstraints:
    """`permitted`: claim and the values that it may have, if it is there. A claim that stands twice keeps both."""

    must_include: frozenset[str] = frozenset()
    permitted: tuple[tuple[str, frozenset[str]], ...] = ()
    must_exclude: frozenset[str] = frozenset()

    def check(self, claims: Mapping[str, object]) -> None:
        """All claims of a PASSporT. Errors: `claim_not_permitted`."""
        # RFC 9118 4
        if missing := (_BASELINE | self.must_include) - claims.keys():
            raise failure("claim_not_permitted", f"without {min(missing)!r}")
        if excluded := self.must_exclude & claims.keys():
            raise failure("claim_not_permitted", f"with {min(excluded)!r}")
        for name, values in self.permitted:
            if name in claims and _text(claims[name]) not in values:
                raise failure("claim_not_permitted", f"{name!r} has another value")


def _text(value: object) -> str:
    """A string claim as it is; of any other kind its deterministic JSON (RFC 8225 9), as RFC 9795 has it for rcdi."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


@asn1.sequence
class _Values:
    claim: asn1.IA5String
    permitted: Annotated[list[str], asn1.Size(1, None)]


@asn1.sequence
class _Plain:
    must_include: Annotated[list[asn1.IA5String] | None, asn1.Explicit(0)]
    permitted: Annotated[list[_Values] | None, asn1.Explicit(1)]


@asn1.sequence
class _Enhanced:
    must_include: Annotated[list[asn1.IA5String] | None, asn1.Explicit(0)]
    permitted: Annotated[list[_Values] | None, asn1.Explicit(1)]
    must_exclude: Annotated[list[asn1.IA5String] | None, asn1.Explicit(2)]


def decode(der: bytes, enhanced: bool) -> ClaimConstraints | None:
    """The constraints in an extension's octets; None where they count as absent. Errors: `constraints_malformed`."""
    try:
        value = asn1.decode_der(_Enhanced, der) if enhanced else asn1.decode_der(_Plain, der)
    except ValueError as error:
        raise failure("constraints_malformed", str(error)) from error
    excluded = value.must_exclude if isinstance(value, _Enhanced) else None
    given = [members for members in (value.must_include, value.permitted, excluded) if members is not None]
    # RFC 9118 3: at least one of them, and each with SIZE (1..MAX)
    if not given or not all(given):
        raise failure("constraints_malformed", "empty")
    must_exclude = frozenset(name.as_str() for name in excluded or ())
    # RFC 9118 3: an extension that excludes what every PASSporT has is treated as if it were not there
    if must_exclude & _BASELINE:
        return None
    return ClaimConstraints(
        frozenset(name.as_str() for name in value.must_include or ()),
        tuple((values.claim.as_str(), frozenset(values.permitted)) for values in value.permitted or ()),
        must_exclude,
    )


def encode(value: ClaimConstraints, enhanced: bool) -> bytes:
    """DER of the constraints, for certificate requests and test certificates."""
    included, excluded = (
        [asn1.IA5String(name) for name in sorted(names)] for names in (value.must_include, value.must_exclude)
    )
    permitted = [_Values(claim=asn1.IA5String(name), permitted=sorted(values)) for name, values in value.permitted]
    if enhanced:
        return asn1.encode_der(
            _Enhanced(must_include=included or None, permitted=permitted or None, must_exclude=excluded or None)
        )
    return asn1.encode_der(_Plain(must_include=included or None, permitted=permitted or None))


def of_certificates(certificates: Iterable[x509.Certificate]) -> ClaimConstraints | None:
    """What the certificates of a path demand together; None if nothing. Errors: `constraints_malformed`."""
    found = [held for certificate in certificates if (held := _of_certificate(certificate)) is not None]
    if not found:
        return None
    return ClaimConstraints(
        frozenset().union(*(held.must_include for held in found)),
        tuple(pair for held in found for pair in held.permitted),
        frozenset().union(*(held.must_exclude for held in found)),
    )


def _of_certificate(certificate: x509.Certificate) -> ClaimConstraints | None:
    held = [extension for extension in certificate.extensions if extension.oid in (OID, ENHANCED_OID)]
    if not held:
        return None
    if len(held) > 1:
        # RFC 9118 3: a certificate MUST NOT have both
        raise failure("constraints_malformed", "both extensions")
    (extension,) = held
    return decode(extension.value.public_bytes(), enhanced=extension.oid == ENHANCED_OID)
