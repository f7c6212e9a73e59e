"""Authentication service (RFC 8224 6.1, RFC 8588): request, attestation, signer, time and origid -> Identity header.

Pure. Which requests are signed with which attestation is decided before (`policy`), the key comes from the keystore.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from kamailio_app import sip
from kamailio_app.errors import StirError, failure
from kamailio_app.identity import IdentityParameters, parameter_text, parse_identity, split_values
from kamailio_app.passport import es256
from kamailio_app.passport.claims import Attestation, ShakenClaims, shaken_json
from kamailio_app.passport.encoding import to_base64url
from kamailio_app.passport.passport import SHAKEN, JoseHeader, jose_header
from kamailio_app.tn import AS_WRITTEN, NumberPlan


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its certificate's URL, ready for use: what is constant per certificate is made once."""

    name: str
    x5u: str
    not_before: int
    not_after: int
    fingerprint: str
    spcs: tuple[str, ...]
    key: EllipticCurvePrivateKey = field(repr=False)
    prefix: str = field(init=False, repr=False)
    suffix: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        header = JoseHeader("ES256", SHAKEN, "passport", self.x5u)
        object.__setattr__(self, "prefix", header.text() + ".")
        object.__setattr__(self, "suffix", parameter_text(IdentityParameters(self.x5u, "ES256", SHAKEN)))


@dataclass(frozen=True, slots=True)
class SigningRules:
    """Where identities are read, how numbers are dialled, how old a Date may be (seconds)."""

    orig_source: str = "pai"
    dest_source: str = "to"
    max_date_header_age: int = 60
    plan: NumberPlan = AS_WRITTEN


class Signed(NamedTuple):
    """What goes into the request: the Identity value, and a Date if it had none."""

    identity: str
    date: str | None
    claims: ShakenClaims


_DEFAULT_RULES: Final = SigningRules()


def sign(
    request: sip.Request,
    attest: Attestation,
    signer: Signer,
    rules: SigningRules = _DEFAULT_RULES,
    *,
    now: float,
    origid: str,
) -> Signed:
    """Sign an initial INVITE.

    Errors (the call goes on unsigned): `request_not_signed`, `identity_present`, `orig_missing`, `dest_missing`,
    `date_malformed`, `date_stale`, `date_in_future`, `certificate_expired`, `certificate_not_yet_valid`.
    """
    # ATIS-1000074 5.2: initial INVITEs; neither ACK, CANCEL nor anything inside a dialog
    if request.method != "INVITE" or request.in_dialog:
        raise failure("request_not_signed", request.method)
    # RFC 8946 4.1: what others signed stays; never two of ours
    if request.identity and any(_is_shaken(value) for field in request.identity for value in split_values(field)):
        raise failure("identity_present")
    orig = sip.caller(request, rules.orig_source, rules.plan)
    if orig is None or orig.kind != "tn":
        raise failure("orig_missing", request.from_uri)
    dest = sip.called(request, rules.dest_source, rules.plan)
    if dest is None or dest.kind != "tn":
        raise failure("dest_missing", request.to_uri)
    # RFC 8224 6.1 step 3: a Date is accurate or added; both Date and now lie in the certificate's validity
    date, dated = None, now
    if request.date is None:
        date = sip.format_date(now)
    else:
        dated = check_date(request.date, rules.max_date_header_age, now)
    if max(now, dated) >= signer.not_after:
        raise failure("certificate_expired", signer.name)
    if min(now, dated) < signer.not_before:
        raise failure("certificate_not_yet_valid", signer.name)
    iat = int(now)
    payload = shaken_json(attest, dest.value, iat, orig.value, origid)
    signing_input = signer.prefix + to_base64url(payload.encode())
    signature = to_base64url(es256.sign(signing_input.encode("ascii"), signer.key))
    return Signed(f"{signing_input}.{signature}{signer.suffix}", date, ShakenClaims(attest, (dest,), iat, orig, origid))


def check_date(text: str, max_age: int, now: float) -> int:
    """RFC 8224 4.1 and 6.2 step 4: a Date, fresh to both sides, in seconds since 1970.

    Errors: `date_malformed`, `date_stale`, `date_in_future`.
    """
    date = sip.parse_date(text)
    age = now - date
    if age > max_age:
        raise failure("date_stale", f"{age:.0f} s old")
    if age < -max_age:
        raise failure("date_in_future", f"{-age:.0f} s ahead")
    return date


def _is_shaken(value: str) -> bool:
    """Is this a header that says it is shaken? What cannot be read is not ours to judge."""
    try:
        identity = parse_identity(value)
        ppt = identity.parameters.ppt
        return (ppt or (not identity.compact and jose_header(identity.digest.partition(".")[0]).ppt)) == SHAKEN
    except StirError:
        return False
