"""What the STI-PA signs: JSON in a JWS with ES256, whose signer's certificate is behind x5u or in x5c (RFC 7515, RFC 7518 3.4).

Lists of trusted STI-CAs and SPC tokens are such; what is in them is `trust_list`'s and `lifecycle.spc_token`'s business, and
so are the tokens of their failures.
"""

from __future__ import annotations

import json
import re
import warnings
from base64 import b64decode, urlsafe_b64decode
from binascii import Error
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import MALFORMED, parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import one_line

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)

Fault = Literal["malformed", "untrusted", "signature"]


class JwsRefused(Exception):
    """What is wrong, for `refusals` to give it the name of its kind."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault, detail)
        self.fault: Fault = fault
        self.detail = detail


class Signed(NamedTuple):
    """A JWS, whatever its serialization; nothing is verified yet."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    @property
    def signer_url(self) -> str:
        """Where the signer's certificate is; empty if the JWS brings it along."""
        return "" if "x5c" in self.header else str(self.header["x5u"])

    def signed_by(self, octets: bytes, anchors: TrustAnchors, now: float) -> list[x509.Certificate]:
        """The path from the signer, the first certificate of `octets` or of x5c, to the root, which is in it only if it is the
        signer itself. Errors: JwsRefused.
        """
        path = _path(_x5c(self.header["x5c"]) if "x5c" in self.header else octets, anchors, now)
        _check_signature(self, path[0])
        return path


@contextmanager
def refusals(tokens: Mapping[Fault, str]) -> Iterator[None]:
    """Failures by their tokens for this kind of JWS."""
    try:
        yield
    except JwsRefused as error:
        raise failure(tokens[error.fault], error.detail) from error


def read_jws(text: str, answers: Collection[str] = ()) -> Signed:
    """RFC 7515 7: compact, flattened or general with one signature; compact also in an answer of the STI-PA, as one of these
    members. Errors: JwsRefused.
    """
    text = text.strip()
    if text.startswith("{"):
        members = json_object(text.encode("utf-8", "surrogatepass"))
        inner = next((members[name] for name in answers if isinstance(members.get(name), str)), None)
        protected, payload, signature = _compact(inner.strip()) if inner is not None else _flattened(members)
    else:
        protected, payload, signature = _compact(text)
    header = json_object(_decoded(protected))
    # RFC 7515 4.1.11: nothing critical is understood here
    if header.get("alg") != "ES256" or "crit" in header:
        raise JwsRefused("malformed", "alg or crit")
    if "x5c" not in header and not isinstance(header.get("x5u"), str):
        raise JwsRefused("malformed", "neither x5u nor x5c")
    octets = _decoded(payload)
    return Signed(header, octets, f"{protected}.{payload}".encode("ascii"), _decoded(signature))


def json_object(octets: bytes) -> dict[str, Any]:
    """A JSON object without names that stand twice, and without what is no JSON. Errors: JwsRefused."""
    try:
        value = json.loads(octets, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        ours = type(error) is ValueError
        raise JwsRefused("malformed", one_line(str(error)) if ours else "what is in it is no JSON") from error
    if not isinstance(value, dict):
        raise JwsRefused("malformed", "no JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    return members


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _compact(text: str) -> tuple[str, str, str]:
    match text.split("."):
        case [protected, payload, signature]:
            return protected, payload, signature
    raise JwsRefused("malformed", "no JWS")


def _flattened(members: dict[str, Any]) -> tuple[str, str, str]:
    match members:
        case {"payload": str(payload), "signatures": [{"protected": str(protected), "signature": str(signature)}]}:
            return protected, payload, signature
        case {"payload": str(payload), "protected": str(protected), "signature": str(signature)}:
            return protected, payload, signature
    raise JwsRefused("malformed", "no JWS")


def _decoded(text: str) -> bytes:
    try:
        if not _BASE64URL.fullmatch(text):
            raise JwsRefused("malformed", "base64url")
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except Error as error:
        raise JwsRefused("malformed", "base64url") from error


# --- Signer ---------------------------------------------------------------------------------------------------------


@contextmanager
def _trusting() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (*MALFORMED, UnsupportedCredential) as error:
        raise JwsRefused("untrusted", str(error)) from error


def _path(octets: bytes, anchors: TrustAnchors, now: float) -> list[x509.Certificate]:
    with _trusting():
        signer, *intermediates = parse_chain(octets)
        path = anchors.path(signer, intermediates, now)
        authorities = [extension for each in path for extension in each.extensions if extension.oid == tnauthlist.OID]
        held = [extension.value for extension in signer.extensions]
        signer.subject.rfc4514_string()
    # Where STI-PA and STI-CAs have one root, as in France, providers' certificates chain to it, too, and web servers' may
    if authorities:
        raise JwsRefused("untrusted", "the signer is a service provider")
    if any(isinstance(value, x509.ExtendedKeyUsage) for value in held):
        raise JwsRefused("untrusted", "the signer has an extendedKeyUsage")
    if not all(value.digital_signature for value in held if isinstance(value, x509.KeyUsage)):
        raise JwsRefused("untrusted", "the signer's keyUsage lacks digitalSignature")
    return path[:-1] or path


def _x5c(members: object) -> bytes:
    """PEM of a header's certificates (RFC 7515 4.1.6: DER in base64, with padding)."""
    if not isinstance(members, list) or not members:
        raise JwsRefused("malformed", "x5c")
    try:
        ders = [b64decode(member, validate=True) for member in members]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)
    except MALFORMED as error:
        raise JwsRefused("malformed", "x5c") from error


def _check_signature(signed: Signed, signer: x509.Certificate) -> None:
    """RFC 7518 3.4."""
    key = signer.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise JwsRefused("untrusted", "the signer's key is not on P-256")
    if len(signed.signature) != 64:
        raise JwsRefused("signature", f"{len(signed.signature)} octets instead of 64")
    r, s = int.from_bytes(signed.signature[:32], "big"), int.from_bytes(signed.signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), signed.signing_input, ECDSA(SHA256()))
    except InvalidSignature:
        raise JwsRefused("signature", "the text was changed after it was signed, or another key signed it") from None
