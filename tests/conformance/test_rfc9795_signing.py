"""RFC 9795: rich call data, as an authentication service signs it: in a PASSporT of its own, pictures by reference."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from kamailio_app.passport.rcd import RichCallData
from kamailio_app.sti_as import SignedCall

from .support import DEST, NOW, ORIG, X5U, compact_json, parts, passes_on, provider, sign_all, signature_holds, unb64

ICON = "https://example.test/icon.png"
JCD_TEXT = '["vcard",[["version",{},"text","4.0"],["fn",{},"text","Q Branch"]]]'


def digest(octets: bytes) -> str:
    return f"sha256-{b64encode(hashlib.sha256(octets).digest()).decode()}"


def signs(data: RichCallData | None = None, **wanted: Any) -> SignedCall:
    return sign_all(rcd=data, **wanted)


def claims_of(made: SignedCall) -> dict[str, Any]:
    assert made.refused == ()
    return parts(made.identities[1])[1]


def test_header_says_rcd_in_full_form() -> None:
    """RFC 9795 5: ppt "rcd", full form, its own signature."""
    value = signs(RichCallData(nam="Q")).identities[1]
    assert (parts(value)[0]["ppt"], value.partition(";")[2]) == ("rcd", f"info=<{X5U}>;alg=ES256;ppt=rcd")
    assert signature_holds(value.partition(";")[0], provider().key.public_key())


def test_shaken_has_the_five_claims_still() -> None:
    """RFC 8588 3: the shaken PASSporT stays what every deployed verifier reads."""
    assert set(parts(signs(RichCallData(nam="Q")).identities[0])[1]) == {"attest", "dest", "iat", "orig", "origid"}


def test_claims_are_the_calls_own_in_deterministic_json() -> None:
    """RFC 9795 5.1, RFC 8225 9: orig, dest and iat of the call, with crn, rcd and rcdi."""
    picture = (("/icn", digest(b"PNG")),)
    made = signs(RichCallData("Q", "12155550199", ICON, crn="Meeting", digests=picture))
    claims = claims_of(made)
    assert claims == {
        "crn": "Meeting",
        "dest": {"tn": [DEST]},
        "iat": NOW,
        "orig": {"tn": ORIG},
        "rcd": {"apn": "12155550199", "icn": ICON, "nam": "Q"},
        "rcdi": {"/icn": digest(b"PNG")},
    }
    assert unb64(made.identities[1].split(".")[1]) == compact_json(claims)


@pytest.mark.parametrize(
    "data",
    [
        RichCallData(nam="Q"),
        RichCallData(nam="Q \u00c9\u4e2d", crn="Meeting"),
        RichCallData(nam="Q", jcd=JCD_TEXT),
        RichCallData(nam="Q", jcl="https://example.test/card.json", digests=(("/jcl", digest(b"[]")),)),
        RichCallData(nam="Q", icn=ICON, digests=(("/icn", digest(b"PNG")),)),
    ],
)
def test_what_is_signed_is_shown(data: RichCallData) -> None:
    """RFC 9795 5, 6: our own verification gives the same data; digests of what is behind a URI are passed on."""
    verification = passes_on(signs(data))
    assert (verification.valid, verification.rcd, verification.rcd_error) == (True, data, None)


def test_digest_of_what_stands_in_the_passport_is_checked_before() -> None:
    """RFC 9795 6: rcdi matches the content that it is of, else nothing is signed with it."""
    good = RichCallData(nam="Q", jcd=JCD_TEXT, digests=(("/nam", digest(b"Q")), ("/jcd", digest(JCD_TEXT.encode()))))
    assert claims_of(signs(good))["rcdi"] == {"/nam": digest(b"Q"), "/jcd": digest(JCD_TEXT.encode())}
    rcd = passes_on(signs(good)).rcd
    assert rcd is not None
    assert rcd.digests == ()
    bad = signs(good._replace(nam="R"))
    assert (len(bad.identities), [error.token for error in bad.refused]) == (1, ["rcd_digest_mismatch"])


def test_name_is_always_there() -> None:
    """RFC 9795 5.1.1: nam MUST be in rcd, be it empty."""
    assert claims_of(signs(RichCallData(icn=ICON)))["rcd"] == {"icn": ICON, "nam": ""}


def test_card_is_in_the_passport_or_behind_a_uri() -> None:
    """RFC 9795 5.1: jcd and jcl exclude each other."""
    made = signs(RichCallData(nam="Q", jcd=JCD_TEXT, jcl=ICON))
    assert [error.token for error in made.refused] == ["claim_malformed"]


def test_call_reason_may_stand_alone() -> None:
    """RFC 9795 7: crn, with rcd or without."""
    claims = claims_of(signs(call_reason="Your appointment"))
    assert (claims["crn"], "rcd" in claims) == ("Your appointment", False)
    rcd = passes_on(signs(call_reason="Your appointment")).rcd
    assert rcd is not None
    assert rcd.crn == "Your appointment"
