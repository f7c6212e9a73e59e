"""What is particular about each STI-CA's ACME: a table, with where each fact is from. What is not known is as RFC 9448 has it.

Two STI-CAs do not speak RFC 9448 as it was published; their deviations are known from clients that are in use with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from kamailio_app.passport.encoding import to_base64url
from kamailio_app.runtime.provider_options import ACME_PROFILES


@dataclass(frozen=True, slots=True)
class Profile:
    """How one STI-CA deviates.

    `identifier`: how the TNAuthList's DER is written (RFC 9448 3); `response`: the challenge response's member that holds the
    SPC token (RFC 9447 4); `common_name`: of the request; `crl`: the request says where the STI-PA's CRL is; `key_id`:
    eab_key_id is of an external account binding (RFC 8555 7.3.4), or stands in the account's JWK; `bare`: what has no payload
    is signed over the protected header alone (against RFC 8555 6.3), a new account among it; `fingerprint`: the form of the
    account key's that the token is known to need there (the setting decides); `sources`: where this is from.
    """

    identifier: Literal["base64url", "base64"] = "base64url"
    response: Literal["tkauth", "atc"] = "tkauth"
    common_name: str = "SHAKEN {spc}"
    crl: bool = True
    key_id: Literal["binding", "jwk"] = "binding"
    bare: bool = False
    fingerprint: Literal["jwk", "spki"] = "jwk"
    sources: tuple[str, ...] = ("RFC 9447", "RFC 9448", "ATIS-1000080 6.4.1")

    def write_identifier(self, der: bytes) -> str:
        """The value of the order's identifier."""
        return _WRITTEN[self.identifier](der)


def _base64(octets: bytes) -> str:
    unpadded = to_base64url(octets).replace("-", "+").replace("_", "/")
    return unpadded + "=" * (-len(unpadded) % 4)


_WRITTEN: Final = {"base64url": to_base64url, "base64": _base64}

# A public x5u is looked for in the order (RFC 9448 3: x5u) and in the certificate's answer, whoever it is from
LOCATION_HEADER: Final = "X-Shaken-Certificate-Location"

PROFILES: Final[dict[str, Profile]] = {
    "rfc9448": Profile(),
    # One subject has one valid certificate there: the name has the time in it. It adds the CRL itself, and has no binding
    "peeringhub": Profile(
        identifier="base64",
        response="atc",
        common_name="SHAKEN {spc} {time}",
        crl=False,
        key_id="jwk",
        bare=True,
        fingerprint="spki",
        sources=("Peeringhub's own stir-shaken-toolkit 1.0.2, documentation and provider profile",),
    ),
    "martini": Profile(
        identifier="base64",
        response="atc",
        fingerprint="spki",
        sources=("Vermouth 3ff4437, a client that is in use with it",),
    ),
    "acme2certifier": Profile(
        identifier="base64",
        response="atc",
        sources=("acme2certifier 0.46.3: it compares the identifier with the padded base64 of the request's extension",),
    ),
}
assert tuple(PROFILES) == ACME_PROFILES
