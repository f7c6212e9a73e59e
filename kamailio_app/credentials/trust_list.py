"""The STI-PA's signed list of trusted STI-CAs (ATIS-1000084; France: the same in RFC 7515's JSON serialisation).

A list replaces the former one. Who signed it has to chain to the STI-PA's root, which the operator pins.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.certificate import MALFORMED, is_ca, parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.jws import Fault, json_object, read_jws, refusals
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import one_line

MAX_CERTIFICATES: Final = 1000
# The roots in the payload. France's other lists have certList instead, of certificates that are nobody's anchors
_ROOTS: Final = "trustList"
ANSWERS: Final = ("caList", "trustList")  # the list as text in the STI-PA's answer
_REFUSALS: Final[dict[Fault, str]] = {
    "malformed": "trust_list_malformed",
    "untrusted": "trust_list_untrusted",
    "signature": "trust_list_signature",
}
_MAX_INTEGER: Final = 1 << 53  # RFC 8259 6: what every JSON reader agrees on
_FORMAT: Final = "stirshaken-trust-list-1"


class TrustList(NamedTuple):
    """A list that was verified. `expires` in seconds since 1970; `skipped`: members that are no CA certificates; `signer_pem`:
    who signed it, with the issuers below the root, as the same may sign the CRL.
    """

    certificates_pem: str
    sequence: int
    expires: int
    version: str
    issuer: str
    skipped: int = 0
    signer_pem: str = ""

    def anchors(self) -> TrustAnchors:
        return TrustAnchors(parse_chain(self.certificates_pem.encode(), limit=MAX_CERTIFICATES))

    def signers(self) -> tuple[x509.Certificate, ...]:
        return parse_chain(self.signer_pem.encode()) if self.signer_pem else ()

    def to_text(self) -> str:
        """For the disk."""
        return json.dumps({"format": _FORMAT, **self._asdict()})

    @classmethod
    def from_text(cls, text: str) -> TrustList | None:
        """What `to_text` wrote; None for anything else."""
        try:
            members = json.loads(text)
            if members.pop("format") != _FORMAT:
                return None
            held = cls(**members)
            held.anchors()
            held.signers()
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError, UnsupportedCredential):
            return None
        kinds = zip(held, (str, int, int, str, str, int, str), strict=True)
        return held if all(type(value) is kind for value, kind in kinds) else None


def signer_url(text: str) -> str:
    """Where the signer's certificate is; empty if the list brings it along. Errors: `trust_list_malformed`."""
    with refusals(_REFUSALS):
        return read_jws(text, ANSWERS).signer_url


def read_trust_list(
    text: str, signer_octets: bytes, anchors: TrustAnchors, now: float, *, former: TrustList | None = None
) -> TrustList:
    """The list, signed by the first certificate of `signer_octets` (or of its own x5c), which chains to `anchors`.

    Errors: `trust_list_malformed`, `trust_list_untrusted`, `trust_list_signature`, `trust_list_expired`,
    `trust_list_rollback`.
    """
    with refusals(_REFUSALS):
        signed = read_jws(text, ANSWERS)
        signer, *issuers = signed.signed_by(signer_octets, anchors, now)
        payload = json_object(signed.payload)
    certificates, skipped = _certificates(payload)
    held = TrustList(
        certificates_pem="".join(certificates),
        sequence=_integer(payload, "sequence"),
        expires=_integer(payload, "exp"),
        version=_version(payload),
        issuer=one_line(signer.subject.rfc4514_string()),
        skipped=skipped,
        signer_pem="".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in (signer, *issuers)),
    )
    if now >= held.expires:
        raise failure("trust_list_expired", f"it expired {datetime.fromtimestamp(held.expires, UTC):%F %T}Z")
    if former is not None and held.sequence < former.sequence:
        raise failure("trust_list_rollback", f"sequence {held.sequence} after {former.sequence}")
    return held


def _certificates(payload: dict[str, Any]) -> tuple[list[str], int]:
    """PEM of each CA's certificate, and how many members are something else: one bad member does not cost the others."""
    members = payload.get(_ROOTS)
    if not isinstance(members, list) or not members or len(members) > MAX_CERTIFICATES:
        raise failure("trust_list_malformed", "no list of certificates")
    pems = [_certificate(member) for member in members]
    held = list(dict.fromkeys(filter(None, pems)))
    if not held:
        raise failure("trust_list_malformed", "no certificate of a CA")
    return held, pems.count("")


def _certificate(member: object) -> str:
    if not isinstance(member, str):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = x509.load_pem_x509_certificate(member.encode("utf-8", "surrogatepass"))
            return certificate.public_bytes(Encoding.PEM).decode("ascii") if is_ca(certificate) else ""
    except MALFORMED:
        return ""


def _integer(payload: dict[str, Any], name: str) -> int:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_INTEGER:
        raise failure("trust_list_malformed", name)
    return int(value)


def _version(payload: dict[str, Any]) -> str:
    """Text in the United States, a number in France."""
    value = payload.get("version")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise failure("trust_list_malformed", "version")
    return one_line(str(value), 32)
