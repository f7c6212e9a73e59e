"""The STI-PA's certificate revocation list: indirect, one for all STI-CAs (RFC 5280 5 and 6.3, ATIS-1000080).

Not checked: whether a certificate's cRLIssuer is the one of the list in use. Three certificates in ten name none, and an entry
names its issuer itself.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from kamailio_app.credentials.certificate import MALFORMED, seen_instead
from kamailio_app.credentials.credential import Credential, TrustAnchors
from kamailio_app.credentials.names import identifier, issuer_key
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import one_line

_PEM: Final = b"-----BEGIN X509 CRL-----"
_NUMBER_OCTETS: Final = 20  # RFC 5280 5.2.3
_CLOCK_SKEW: Final = 300  # seconds that the STI-PA's clock may be ahead of ours
# RFC 5280 5.2, 5.3: a list with a critical extension that is not understood MUST NOT be used
_UNDERSTOOD: Final = frozenset(
    {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid, x509.IssuingDistributionPoint.oid, x509.IssuerAlternativeName.oid}
)
_UNDERSTOOD_IN_ENTRIES: Final = frozenset({x509.CertificateIssuer.oid, x509.CRLReason.oid, x509.InvalidityDate.oid})

_HEAD: Final = re.compile(r"stirshaken-crl-1 (-?[0-9]{1,12}) (-?[0-9]{1,12}) ([0-9]{1,50})", re.ASCII)
_LINE: Final = re.compile(r"[0-9a-f]{32}(?: -?[0-9a-f]++)++", re.ASCII)
_END: Final = "end"


class Revocations(NamedTuple):
    """A list that was verified. Times in seconds since 1970; `revoked` has the strings of `Credential.identifiers`."""

    revoked: frozenset[str]
    this_update: int
    next_update: int
    number: int
    issuer: str

    def to_text(self) -> str:
        """For the disk: one line per issuer."""
        by_issuer: dict[str, list[str]] = {}
        for held in sorted(self.revoked):
            issuer, _, serial = held.partition(" ")
            by_issuer.setdefault(issuer, [issuer]).append(serial)
        return "\n".join(
            (
                f"stirshaken-crl-1 {self.this_update} {self.next_update} {self.number}",
                self.issuer,
                *(" ".join(words) for words in by_issuer.values()),
                _END,
            )
        )

    @classmethod
    def from_text(cls, text: str) -> Revocations | None:
        """What `to_text` wrote; None for anything else, also for a part of it."""
        head, _, rest = text.partition("\n")
        issuer, _, body = rest.partition("\n")
        *lines, end = body.split("\n")
        numbers = _HEAD.fullmatch(head)
        if numbers is None or end != _END or not all(map(_LINE.fullmatch, lines)):
            return None
        revoked: set[str] = set()
        for line in lines:
            key, *serials = line.split(" ")
            revoked.update(map(f"{key} ".__add__, serials))
        this_update, next_update, number = map(int, numbers.groups())
        return cls(frozenset(revoked), this_update, next_update, number, issuer)


def read_crl(
    octets: bytes,
    anchors: TrustAnchors,
    now: float,
    *,
    signers: Sequence[x509.Certificate] = (),
    former: Revocations | None = None,
) -> Revocations:
    """A full CRL in PEM or DER, signed by one of `signers` or `anchors` (of the STI-PA) that chains to an anchor.

    Errors: `crl_malformed`, `crl_untrusted`, `crl_stale`, `crl_rollback`.
    """
    with _readable(octets):
        crl = x509.load_pem_x509_crl(octets) if _PEM in octets else x509.load_der_x509_crl(octets)
        # All that follows is read from octets whose signature holds
        _check_signature(crl, [*signers, *anchors.certificates], anchors, now)
        head = Revocations(
            frozenset(), _seconds(crl.last_update_utc), _seconds(crl.next_update_utc), _number(crl), _shown(crl.issuer)
        )
        _check_scope(crl)
        _check_time(head, now, former)
        return head._replace(revoked=frozenset(_revoked(crl)))


def check_revocation(credential: Credential, revocations: Revocations | None, now: float, *, hard: bool) -> None:
    """RFC 5280 6.3, with the last good list, however old. Errors: `credential_revoked`; if `hard` and there is no list
    that is current, `revocation_unknown`.
    """
    if revocations is not None:
        for held in credential.identifiers:
            if held in revocations.revoked:
                raise failure("credential_revoked", held)
    if hard and (revocations is None or now >= revocations.next_update):
        raise failure("revocation_unknown", "no list" if revocations is None else "the list is stale")


@contextmanager
def _readable(octets: bytes) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MALFORMED as error:
        raise failure("crl_malformed", seen_instead(octets, "CRL", b"X509 CRL")) from error


def _check_signature(
    crl: x509.CertificateRevocationList, candidates: Sequence[x509.Certificate], anchors: TrustAnchors, now: float
) -> None:
    """RFC 5280 6.3.3 (f), (g). Errors: `crl_untrusted`."""
    if not isinstance(crl.signature_hash_algorithm, SHA256 | SHA384 | SHA512):
        raise failure("crl_untrusted", "signature algorithm")
    issuer = issuer_key(crl.issuer)
    named = [candidate for candidate in candidates if issuer_key(candidate.subject) == issuer]
    if not named:
        raise failure("crl_untrusted", f"no certificate of {_shown(crl.issuer)}")
    signing = [candidate for candidate in named if _holds(crl, candidate.public_key())]
    if not signing:
        raise failure("crl_untrusted", "signature")
    if not all(_may_sign(candidate) for candidate in signing):
        raise failure("crl_untrusted", "the signer's keyUsage lacks cRLSign")
    try:
        anchors.path(signing[0], candidates, now)
    except UnsupportedCredential as error:
        raise failure("crl_untrusted", error.detail) from error


def _holds(crl: x509.CertificateRevocationList, key: object) -> bool:
    return isinstance(key, EllipticCurvePublicKey | RSAPublicKey) and crl.is_signature_valid(key)


def _may_sign(certificate: x509.Certificate) -> bool:
    usage = [extension.value for extension in certificate.extensions if isinstance(extension.value, x509.KeyUsage)]
    return all(value.crl_sign for value in usage)


def _seconds(moment: datetime | None) -> int:
    if moment is None:
        # RFC 5280 5.1.2.5: nextUpdate is there in every CRL of the profile
        raise failure("crl_malformed", "no nextUpdate")
    return int(moment.timestamp())


def _shown(name: x509.Name) -> str:
    return one_line(name.rfc4514_string())


def _number(crl: x509.CertificateRevocationList) -> int:
    """RFC 5280 5.2.3: at most 20 octets. 0 where there is none, as in lists of some national authorities."""
    numbers = [extension.value.crl_number for extension in crl.extensions if isinstance(extension.value, x509.CRLNumber)]
    number = max(numbers, default=0)
    if number < 0 or number.bit_length() > _NUMBER_OCTETS * 8:
        raise failure("crl_malformed", "CRLNumber")
    return number


def _check_scope(crl: x509.CertificateRevocationList) -> None:
    """RFC 5280 5.2.5: a full list, indirect or not: what a part of it does not name may be revoked all the same.

    Errors: `crl_malformed`.
    """
    for extension in crl.extensions:
        if extension.oid == x509.DeltaCRLIndicator.oid:
            raise failure("crl_malformed", "a delta CRL")
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise failure("crl_malformed", f"critical extension {extension.oid.dotted_string}")
        if isinstance(extension.value, x509.IssuingDistributionPoint) and _is_part(extension.value):
            raise failure("crl_malformed", "a list of some certificates or reasons only")


def _is_part(point: x509.IssuingDistributionPoint) -> bool:
    """By what it holds; or, where it is a CA's own, by which of its certificates name this distribution point. The STI-PA's has
    one for all CAs.
    """
    return (
        point.only_contains_ca_certs
        or point.only_contains_user_certs
        or point.only_contains_attribute_certs
        or point.only_some_reasons is not None
        or (not point.indirect_crl and (point.full_name is not None or point.relative_name is not None))
    )


def _check_time(head: Revocations, now: float, former: Revocations | None) -> None:
    """Errors: `crl_stale`, `crl_rollback`."""
    if now >= head.next_update:
        raise failure("crl_stale", f"nextUpdate {_moment(head.next_update)}")
    if head.this_update > now + _CLOCK_SKEW:
        raise failure("crl_stale", f"thisUpdate {_moment(head.this_update)}")
    if former is None:
        return
    # RFC 5280 5.2.3: numbers go up within one issuer's lists
    if head.issuer == former.issuer and head.number < former.number:
        raise failure("crl_rollback", f"number {head.number} after {former.number}")
    if head.this_update < former.this_update:
        raise failure("crl_rollback", f"thisUpdate {_moment(head.this_update)} after {_moment(former.this_update)}")


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T}Z"


def _revoked(crl: x509.CertificateRevocationList) -> Iterator[str]:
    """RFC 5280 5.3.3: an entry without certificateIssuer has the one of the entry before; the first has the CRL's."""
    keys: dict[x509.Name, str] = {}
    issuers = [issuer_key(crl.issuer)]
    for entry in crl:
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CertificateIssuer):
                issuers = [_key(name, keys) for name in extension.value.get_values_for_type(x509.DirectoryName)]
                if not issuers:
                    raise failure("crl_malformed", "certificateIssuer without a name")
            elif extension.critical and extension.oid not in _UNDERSTOOD_IN_ENTRIES:
                raise failure("crl_malformed", f"critical extension {extension.oid.dotted_string} of an entry")
        for issuer in issuers:
            yield identifier(issuer, entry.serial_number)


def _key(name: x509.Name, keys: dict[x509.Name, str]) -> str:
    held = keys.get(name)
    if held is None:
        held = keys[name] = issuer_key(name)
    return held
