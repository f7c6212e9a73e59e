"""The STI-PA's signed list of trusted STI-CAs (ATIS-1000084; France: the same in RFC 7515's JSON serialisation).

A list replaces the former one. Who signed it has to chain to the STI-PA's root, which the operator pins.
"""

from __future__ import annotations

import json
import re
import warnings
from base64 import b64decode, urlsafe_b64decode
from binascii import Error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import MALFORMED, is_ca, parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import one_line

MAX_CERTIFICATES: Final = 1000
# The roots in the payload. France's other lists have certList instead, of certificates that are nobody's anchors
_ROOTS: Final = "trustList"
_ANSWERS: Final = ("caList", "trustList")  # the list as text in the STI-PA's answer
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
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


class _Signed(NamedTuple):
    """A JWS, whatever its serialisation."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes


def signer_url(text: str) -> str:
    """Where the signer's certificate is; empty if the list brings it along. Errors: `trust_list_malformed`."""
    header = _signed(text).header
    return "" if "x5c" in header else str(header["x5u"])


def read_trust_list(
    text: str, signer_octets: bytes, anchors: TrustAnchors, now: float, *, former: TrustList | None = None
) -> TrustList:
    """The list, signed by the first certificate of `signer_octets` (or of its own x5c), which chains to `anchors`.

    Errors: `trust_list_malformed`, `trust_list_untrusted`, `trust_list_signature`, `trust_list_expired`,
    `trust_list_rollback`.
    """
    signed = _signed(text)
    signer, *issuers = _signer(_x5c(signed.header["x5c"]) if "x5c" in signed.header else signer_octets, anchors, now)
    _check_signature(signed, signer)
    payload = _object(signed.payload)
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
        raise failure("trust_list_expired", f"exp {held.expires}")
    if former is not None and held.sequence < former.sequence:
        raise failure("trust_list_rollback", f"sequence {held.sequence} after {former.sequence}")
    return held


# --- JWS ------------------------------------------------------------------------------------------------------------


def _signed(text: str) -> _Signed:
    """RFC 7515 7: compact, flattened or general with one signature; the first also inside the answer of the STI-PA."""
    text = text.strip()
    if text.startswith("{"):
        members = _object(text.encode("utf-8", "surrogatepass"))
        inner = next((members[name] for name in _ANSWERS if isinstance(members.get(name), str)), None)
        protected, payload, signature = _compact(inner.strip()) if inner is not None else _flattened(members)
    else:
        protected, payload, signature = _compact(text)
    header = _object(_decoded(protected))
    # RFC 7515 4.1.11: nothing critical is understood here
    if header.get("alg") != "ES256" or "crit" in header:
        raise failure("trust_list_malformed", "alg or crit")
    if "x5c" not in header and not isinstance(header.get("x5u"), str):
        raise failure("trust_list_malformed", "neither x5u nor x5c")
    octets = _decoded(payload)
    return _Signed(header, octets, f"{protected}.{payload}".encode("ascii"), _decoded(signature))


def _compact(text: str) -> tuple[str, str, str]:
    match text.split("."):
        case [protected, payload, signature]:
            return protected, payload, signature
    raise failure("trust_list_malformed", "no JWS")


def _flattened(members: dict[str, Any]) -> tuple[str, str, str]:
    match members:
        case {"payload": str(payload), "signatures": [{"protected": str(protected), "signature": str(signature)}]}:
            return protected, payload, signature
        case {"payload": str(payload), "protected": str(protected), "signature": str(signature)}:
            return protected, payload, signature
    raise failure("trust_list_malformed", "no JWS")


def _check_signature(signed: _Signed, signer: x509.Certificate) -> None:
    """RFC 7518 3.4. Errors: `trust_list_untrusted`, `trust_list_signature`."""
    key = signer.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise failure("trust_list_untrusted", "the signer's key is not on P-256")
    if len(signed.signature) != 64:
        raise failure("trust_list_signature", f"{len(signed.signature)} octets")
    r, s = int.from_bytes(signed.signature[:32], "big"), int.from_bytes(signed.signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), signed.signing_input, ECDSA(SHA256()))
    except InvalidSignature:
        raise failure("trust_list_signature") from None


# --- Signer ---------------------------------------------------------------------------------------------------------


@contextmanager
def _trusting() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (*MALFORMED, UnsupportedCredential) as error:
        raise failure("trust_list_untrusted", str(error)) from error


def _signer(octets: bytes, anchors: TrustAnchors, now: float) -> list[x509.Certificate]:
    """The path to the root, without it unless it is the signer itself. Errors: `trust_list_untrusted`."""
    with _trusting():
        signer, *intermediates = parse_chain(octets)
        path = anchors.path(signer, intermediates, now)
        authorities = [extension for each in path for extension in each.extensions if extension.oid == tnauthlist.OID]
        held = [extension.value for extension in signer.extensions]
        signer.subject.rfc4514_string()
    # Where STI-PA and STI-CAs have one root, as in France, providers' certificates chain to it, too, and web servers' may
    if authorities:
        raise failure("trust_list_untrusted", "the signer is a service provider")
    if any(isinstance(value, x509.ExtendedKeyUsage) for value in held):
        raise failure("trust_list_untrusted", "the signer has an extendedKeyUsage")
    if not all(value.digital_signature for value in held if isinstance(value, x509.KeyUsage)):
        raise failure("trust_list_untrusted", "the signer's keyUsage lacks digitalSignature")
    return path[:-1] or path


def _x5c(members: object) -> bytes:
    """PEM of a header's certificates (RFC 7515 4.1.6: DER in base64, with padding)."""
    if not isinstance(members, list) or not members:
        raise failure("trust_list_malformed", "x5c")
    try:
        ders = [b64decode(member, validate=True) for member in members]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)
    except MALFORMED as error:
        raise failure("trust_list_malformed", "x5c") from error


# --- Payload --------------------------------------------------------------------------------------------------------


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


# --- Encodings ------------------------------------------------------------------------------------------------------


def _decoded(text: str) -> bytes:
    try:
        if not _BASE64URL.fullmatch(text):
            raise failure("trust_list_malformed", "base64url")
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except Error as error:
        raise failure("trust_list_malformed", "base64url") from error


def _object(octets: bytes) -> dict[str, Any]:
    """A JSON object without names that stand twice, and without what is no JSON."""
    try:
        value = json.loads(octets, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise failure("trust_list_malformed", one_line(str(error))) from error
    if not isinstance(value, dict):
        raise failure("trust_list_malformed", "no JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    return members


def _no_number(text: str) -> Any:
    raise ValueError(text)
