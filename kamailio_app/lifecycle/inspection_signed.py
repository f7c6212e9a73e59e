"""What the STI-PA signs, looked at: the list of trusted STI-CAs, and SPC tokens; verified as far as the signer is at hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.certificate import MALFORMED, is_ca
from kamailio_app.credentials.jws import Fault, Signed, json_object, read_jws, refusals
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.inspection_content import Content, Finding, authority_in_words, moment, name_in_words
from kamailio_app.lifecycle.inspection_key import key_in_words
from kamailio_app.lifecycle.inspection_trust import Trusted
from kamailio_app.lifecycle.spc_token import look_at_spc_token, read_spc_token
from kamailio_app.runtime import choice

CA_LIST: Final = "list of STI-CAs"
SPC_TOKEN: Final = "SPC token"
# In the STI-PA's answers, and in the payload (France has certList for issuing CAs, which are nobody's anchors)
LIST_ANSWERS: Final = ("caList", "trustList")
LISTS: Final = ("trustList", "certList")
_SPC_TOKEN_EXPIRED: Final = "spc_token_expired"
_TRUST_LIST_EXPIRED: Final = "trust_list_expired"
_REFUSALS: Final[dict[Fault, str]] = dict.fromkeys(("malformed", "untrusted", "signature"), "trust_list_malformed")
_LAST: Final = 253402300799  # of the year 9999
_SIGNATURE: Final = "_signature"

_Verify = Callable[[bytes], object]


def look_at_ca_list(text: str, trust: Trusted, now: float) -> Content:
    """In every serialization that the servers read. Errors: `trust_list_malformed`."""
    with refusals(_REFUSALS):
        signed = read_jws(text, LIST_ANSWERS)
        payload = json_object(signed.payload)
    content = Content(CA_LIST)
    content.fields |= {name: payload[name] for name in ("version", "sequence") if name in payload}
    _show_end(content, payload.get("exp"), now, _TRUST_LIST_EXPIRED)
    content.fields["signer"] = signed.signer_url or "in x5c"
    for name in LISTS:
        if isinstance(payload.get(name), list):
            content.fields[name] = [_member(member) for member in payload[name]]
    if LISTS[0] not in payload:
        content.remarks.append("no trustList in it: these certificates are nobody's trust anchors")
    _show_verdict(content, signed, trust, lambda octets: read_trust_list(text, octets, trust.sti_pa, now))
    return content


def look_at_token(text: str, trust: Trusted, now: float) -> Content:
    """Errors: `spc_token_malformed`."""
    token = look_at_spc_token(text)
    content = Content(
        SPC_TOKEN,
        {
            "tnauthlist": authority_in_words(token.authority),
            "tkvalue": token.tkvalue,
            "ca": token.ca,
            "fingerprint": token.fingerprint,
            "jti": token.jti,
        },
    )
    _show_end(content, token.expires, now, _SPC_TOKEN_EXPIRED)
    content.fields["signer"] = token.x5u or "in x5c"
    with refusals(_REFUSALS):
        signed = read_jws(token.text)
    _show_verdict(content, signed, trust, lambda octets: read_spc_token(token.text, octets, trust.sti_pa, now))
    content.remarks.append("a token is a credential: keep it from others until it has expired")
    return content


def _member(member: object) -> dict[str, Any]:
    if not isinstance(member, str):
        return {"problem": "no text"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate = x509.load_pem_x509_certificate(member.encode("utf-8", "surrogatepass"))
            return {
                "subject": name_in_words(certificate.subject),
                "not_after": moment(certificate.not_valid_after_utc),
                "key": key_in_words(certificate.public_key()),
                "ca": is_ca(certificate),
                "fingerprint": certificate.fingerprint(SHA256()).hex(),
            }
    except MALFORMED as error:
        return {"problem": f"no certificate: {one_line(str(error))}"}


def _show_end(content: Content, expires: object, now: float, token: str) -> None:
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 <= expires <= _LAST:
        content.fields["expires"] = str(expires)
        return
    content.fields["expires"] = moment(datetime.fromtimestamp(expires, UTC))
    if now >= expires:
        content.add(Finding(FAILURES[token].clause, f"{token}: it expired {choice.moment(int(expires))}", token))


def _show_verdict(content: Content, signed: Signed, trust: Trusted, verify: _Verify) -> None:
    if not len(trust.sti_pa):
        content.fields["verdict"] = "not verified"
        content.remarks.append("the settings do not name the STI-PA's roots: set [trust] sti_pa_ca_file")
        return
    errors = []
    for octets in _signers(signed, trust):
        try:
            verify(octets)
        except StirError as error:
            errors.append(error)
            # Another certificate of the STI-PA's that is at hand says nothing
            if error.token.endswith(_SIGNATURE) and not ("x5c" in signed.header or trust.named):
                errors.pop()
            continue
        content.fields["verdict"] = "good: signed for the STI-PA, and current"
        return
    if errors:
        content.fields["verdict"] = f"not accepted: {errors[0].token}"
        content.add(Finding.of(errors[0]))
    else:
        content.fields["verdict"] = "not verified"
        content.remarks.append(f"download the signer's certificate from {signed.signer_url}, and name it by --signer")


def _signers(signed: Signed, trust: Trusted) -> Iterator[bytes]:
    """In PEM, each with all others behind it as issuers."""
    if "x5c" in signed.header:
        yield b""
        return
    known = [each.public_bytes(Encoding.PEM) for each in (trust.named or trust.kept)]
    for number, pem in enumerate(known):
        yield pem + b"".join(known[:number] + known[number + 1 :])
