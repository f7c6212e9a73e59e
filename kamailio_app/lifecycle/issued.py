"""Is what came from the STI-CA what was asked for, and will verifiers take it? Before anything is written (AS-13)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, check_validity, fitness, validate
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line

NO_ANCHORS = "not checked against trust anchors: the settings have neither ca_file nor a trust list that is at hand"


def check_issued(
    octets: bytes, key: EllipticCurvePublicKey, authority: TNAuthList | None, anchors: TrustAnchors, now: float
) -> tuple[str, ...]:
    """What is remarkable about a chain, signer first: findings of the profile (ATIS-1000080 6.4.1), missing anchors.

    `key` is ours; `authority` what was asked for, or None if that is not known. Errors: `issued_mismatch` (another key or
    authority), `issued_unfit` (no chain that a verifier would accept now).
    """
    try:
        signer = parse_chain(octets)[0]
        certified, granted = fitness(signer)
        if certified.public_numbers() != key.public_numbers():
            raise failure("issued_mismatch", "the certificate is for another key")
        if authority is not None and tuple(map(set, granted)) != tuple(map(set, authority)):
            raise failure("issued_mismatch", f"the certificate is for {described(granted)}, not for {described(authority)}")
        check_validity(signer, now)
        return validate(octets, anchors, now).findings if len(anchors) else (NO_ANCHORS,)
    except StirError as error:
        if error.token.startswith("issued_"):
            raise
        raise failure("issued_unfit", one_line(str(error), 500)) from error


def described(authority: TNAuthList) -> str:
    """The entries in words."""
    spans = (f"{span.count} numbers from {span.start}" for span in authority.ranges)
    return ", ".join((*authority.spcs, *authority.numbers, *spans)) or "nobody"
