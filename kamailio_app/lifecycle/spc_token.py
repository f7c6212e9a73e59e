"""SPC tokens: the STI-PA's word that an ACME account may have a certificate for a provider's code (RFC 9447, RFC 9448 5 and 6).

A token is a credential: it is never in a log line, an exception text or a repr. STI-PAs write the TNAuthList in base64, the
standard in base64url; both are read.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from dataclasses import dataclass, field
from typing import Any, Final

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.jws import Fault, JwsRefused, Signed, json_object, read_jws, refusals
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import UnsupportedCredential, failure
from kamailio_app.grammar import URI_CHARACTERS, one_line
from kamailio_app.lifecycle.issued import described
from kamailio_app.passport.encoding import to_base64url
from kamailio_app.runtime.choice import moment

ANSWERS: Final = ("token",)  # the token as text in the STI-PA's answer
_REFUSALS: Final[dict[Fault, str]] = {
    "malformed": "spc_token_malformed",
    "untrusted": "spc_token_untrusted",
    "signature": "spc_token_signature",
}
_URL: Final = re.compile(rf"https://{URI_CHARACTERS}", re.IGNORECASE)
_MAX_OCTETS: Final = 16384
_MAX_TIME: Final = 1 << 53  # RFC 8259 6: what every JSON reader agrees on
_YEAR_10000: Final = 253402300800
_ITS_CODE: Final = "Does the account at the STI-PA have that code? Compare `spc`."
_ITS_KEY: Final = "Compare the key: `shakenctl key fingerprint FILE`, and `spc_token_fingerprint`; then ask for another token."
_ITS_CA: Final = "Ask for another token, with `--ca` or without."
_MAX_JTI: Final = 255
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}|[A-Za-z0-9_-]+={0,2}", re.ASCII)
# RFC 9448 5.4: the hash function's name, and its octets as hexadecimal digits with colons. Capitals; others are read, too
_FINGERPRINT: Final = re.compile(r"SHA256 [0-9A-F]{2}(?::[0-9A-F]{2}){31}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SpcToken:
    """The claims of a token, and its compact form. `expires` in seconds since 1970; `tkvalue` as it is written; `issuer`: who
    signed it, empty if nothing was verified.
    """

    text: str = field(repr=False)
    authority: TNAuthList
    tkvalue: str
    ca: bool
    fingerprint: str
    expires: int
    jti: str
    x5u: str
    issuer: str


def signer_url(text: str) -> str:
    """Where the signer's certificate is; empty if the token brings it along. Errors: `spc_token_malformed`."""
    with refusals(_REFUSALS):
        return _signed(text).signer_url


def look_at_spc_token(text: str) -> SpcToken:
    """Its claims, with nothing verified. Errors: `spc_token_malformed`."""
    with refusals(_REFUSALS):
        signed = _signed(text)
        return _token(signed, json_object(signed.payload), "")


def read_spc_token(
    text: str,
    signer_octets: bytes,
    anchors: TrustAnchors,
    now: float,
    *,
    authority: TNAuthList | None = None,
    fingerprint: str = "",
    ca: bool | None = None,
) -> SpcToken:
    """The token, signed by the first certificate of `signer_octets` (or of its own x5c), which chains to `anchors`.

    `authority`, `fingerprint` and `ca` are what was asked for, compared where they are given (RFC 9448 6).
    Errors: `spc_token_malformed`, `spc_token_untrusted`, `spc_token_signature`, `spc_token_expired`, `spc_token_mismatch`.
    """
    with refusals(_REFUSALS):
        signed = _signed(text)
        signer, *_ = signed.signed_by(signer_octets, anchors, now)
        payload = json_object(signed.payload)
        token = _token(signed, payload, one_line(signer.subject.rfc4514_string()))
        begins = _time(payload, "nbf") if "nbf" in payload else 0
    # RFC 7519 4.1.4, 4.1.5
    if now >= token.expires:
        raise failure("spc_token_expired", f"it expired {_moment(token.expires)}")
    if now < begins:
        raise failure("spc_token_expired", f"it begins {_moment(begins)}")
    asked = (
        ("the TNAuthList", described(token.authority), described(authority) if authority is not None else "", _ITS_CODE),
        ("the fingerprint", token.fingerprint.upper(), fingerprint.upper(), _ITS_KEY),
        ("ca", _yes(token.ca), _yes(ca) if ca is not None else "", _ITS_CA),
    )
    differs = [
        (f"{name} is {has}, and {want} was asked for", advice) for name, has, want, advice in asked if want not in ("", has)
    ]
    if differs or (authority is not None and token.authority != authority):
        words = "; ".join(words for words, _ in differs) or "the TNAuthList is another than was asked for"
        raise failure("spc_token_mismatch", words, " ".join(advice for _, advice in differs))
    return token


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _moment(seconds: int) -> str:
    return moment(seconds) if seconds < _YEAR_10000 else "in more than 8000 years"


def read_tkvalue(text: str) -> TNAuthList:
    """The TNAuthList in base64 or base64url, with or without padding. Errors: `spc_token_malformed`."""
    try:
        if not _BASE64.fullmatch(text):
            raise failure("spc_token_malformed", "tkvalue is not base64")
        bare = text.rstrip("=")
        der = b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if {"-", "_"} & set(bare) else None)
        return tnauthlist.decode(der)
    except Error as error:
        raise failure("spc_token_malformed", "tkvalue is not base64") from error
    except UnsupportedCredential as error:
        raise failure("spc_token_malformed", f"tkvalue: {error}") from error


def _signed(text: str) -> Signed:
    if len(text) > _MAX_OCTETS:
        raise JwsRefused("malformed", f"{len(text)} octets")
    signed = read_jws(text, ANSWERS)
    # RFC 9448 5: a JWT by HTTPS. What stands in a signed header is fetched
    url = signed.signer_url
    if url and not _URL.fullmatch(url):
        raise JwsRefused("malformed", "x5u is no https URL")
    if str(signed.header.get("typ", "JWT")).upper() != "JWT":
        raise JwsRefused("malformed", "typ is not JWT")
    return signed


def _token(signed: Signed, payload: dict[str, Any], issuer: str) -> SpcToken:
    """RFC 9448 5.2 to 5.4."""
    atc = payload.get("atc")
    if not isinstance(atc, dict):
        raise JwsRefused("malformed", "no atc")
    if atc.get("tktype") != "TNAuthList":
        raise JwsRefused("malformed", "tktype is not TNAuthList")
    ca = atc.get("ca", False)
    if not isinstance(ca, bool):
        raise JwsRefused("malformed", "ca is not true or false")
    fingerprint = _text(atc, "fingerprint")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise JwsRefused("malformed", "fingerprint is not SHA256 and 32 octets with colons")
    tkvalue, jti = _text(atc, "tkvalue"), _text(payload, "jti")
    if len(jti) > _MAX_JTI:
        raise JwsRefused("malformed", "jti")
    expires = _time(payload, "exp")
    return SpcToken(
        text=f"{signed.signing_input.decode('ascii')}.{to_base64url(signed.signature)}",
        authority=read_tkvalue(tkvalue),
        tkvalue=tkvalue,
        ca=ca,
        fingerprint=fingerprint,
        expires=expires,
        jti=jti,
        x5u=signed.signer_url,
        issuer=issuer,
    )


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise JwsRefused("malformed", f"no {name}")
    return value


def _time(members: dict[str, Any], name: str) -> int:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
        raise JwsRefused("malformed", f"no {name}")
    return int(value)
