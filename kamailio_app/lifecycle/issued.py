"""Is what came from the STI-CA what was asked for, and will verifiers take it? Before anything is written (AS-13)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, check_validity, fitness, validate
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line

NO_ANCHORS: Final = "not checked against trust anchors: the settings have neither ca_file nor a trust list that is at hand"
_END: Final = b"-----END CERTIFICATE-----"
_CLOCKS: Final = "Compare the clocks: ours with `chronyc tracking`; if it is right, show the STI-CA this line."
_SHOW: Final = "Show the STI-CA this line."
# By the token of what a verifier would say
_ADVICE: Final = {
    "credential_expired": _CLOCKS,
    "credential_not_yet_valid": _CLOCKS,
    "credential_untrusted": "Is the STI-CA's root in `ca_file` or on the STI-PA's list, and the whole chain there?",
}


class Checked(NamedTuple):
    """A chain that fits, signer first. `findings`: of the profile (ATIS-1000080 6.4.1), and anchors that are missing."""

    chain_pem: bytes
    findings: tuple[str, ...]


def check_issued(
    octets: bytes, key: EllipticCurvePublicKey, authority: TNAuthList | None, anchors: TrustAnchors, now: float
) -> Checked:
    """What is to be kept of a chain, and what is remarkable about it.

    `key` is ours; `authority` what was asked for, or None if that is not known. Errors: `issued_mismatch` (another key or
    authority), `issued_unfit` (no chain that a verifier would accept now).
    """
    try:
        chain = parse_chain(octets)
        certified, granted = fitness(chain[0])
        if certified.public_numbers() != key.public_numbers():
            raise failure("issued_mismatch", "the certificate is for another key")
        if authority is not None and tuple(map(set, granted)) != tuple(map(set, authority)):
            more = all(set(ours) <= set(theirs) for ours, theirs in zip(authority, granted, strict=True))
            asked = f"{described(authority)}{' alone' if more else ''}"
            raise failure("issued_mismatch", f"the certificate is for {described(granted)}, not for {asked}")
        check_validity(chain[0], now)
        if not len(anchors):
            pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
            return Checked(_as_it_is(octets, pem), (NO_ANCHORS,))
        credential = validate(octets, anchors, now)
        return Checked(_as_it_is(octets, credential.path_pem.encode()), credential.findings)
    except StirError as error:
        if error.token.startswith("issued_"):
            raise
        raise failure("issued_unfit", one_line(str(error), 500)) from error


def looked_at(error: StirError, file: Path) -> StirError:
    """The failure, with where that is what came, and what to do about it."""
    if not error.token.startswith("issued_"):
        return error
    look = f"What came is in {file}, and is not used: `shakenctl inspect {shlex.quote(str(file))}`."
    advice = next((words for token, words in _ADVICE.items() if error.detail.startswith(token)), _SHOW)
    return failure(error.token, error.detail, f"{advice} {look}")


def _as_it_is(octets: bytes, pem: bytes) -> bytes:
    """Octet by octet what the STI-CA sent, which it may publish itself; unless that is DER, or does not begin with the signer
    (RFC 8555 9.1).
    """
    return octets if octets.lstrip().startswith(pem.partition(_END)[0]) else pem


def described(authority: TNAuthList) -> str:
    """The entries in words."""
    spans = (f"{span.count} numbers from {span.start}" for span in authority.ranges)
    return ", ".join((*authority.spcs, *authority.numbers, *spans)) or "nobody"
