"""RFC 8224 and RFC 8225: what an authentication service makes beside one shaken header: several called, URIs, media keys, the
base PASSporT in compact form; and what becomes of Identity that came.
"""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.sip import Party, Request, parse_date
from kamailio_app.sti_as import SignedCall, own_reason

from .support import (
    CLAIMS,
    DEST,
    GENERATED,
    HEADER,
    INVITE,
    NOW,
    ORIG,
    X5U,
    b64,
    compact_json,
    identity,
    parts,
    passes_on,
    private_key,
    provider,
    public_key,
    replace,
    sign_all,
    signature_holds,
    signer,
    text,
    token,
    unb64,
)

SHAKEN = identity(token())
BASE = identity(token({name: HEADER[name] for name in ("alg", "typ", "x5u")}), f";info=<{X5U}>")
GARBAGE = "eyJ.eyJ;info=nowhere"
SHA256 = ":".join(f"{number:02x}" for number in range(32))
SDP = f"v=0\r\na=fingerprint:SHA-256 {SHA256}\r\nm=audio 9 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:sha-1 4A:AD:B9\r\n"


def claims_of(made: SignedCall, number: int = 0) -> dict[str, Any]:
    return parts(made.identities[number])[1]


def refused(call: Request = INVITE, **wanted: Any) -> str:
    with pytest.raises(StirError) as caught:
        sign_all(call, **wanted)
    return caught.value.token


# --- RFC 8224 6.1 step 1: authority ---------------------------------------------------------------------------------


def test_nothing_is_signed_without_authority_over_the_caller() -> None:
    """RFC 8224 6.1 step 1: no Identity for an identity that the key does not speak for."""
    ways: tuple[dict[str, Any], ...] = ({}, {"call_reason": "x"})
    for wanted in ways:
        with pytest.raises(StirError) as caught:
            sign_all(signer_=signer(authority=TNAuthList(numbers=(DEST,))), **wanted)
        assert caught.value.token == "tn_not_authorized"
        assert passes_on(sign_all(signer_=signer(authority=TNAuthList(numbers=(ORIG,))), **wanted)).valid


# --- RFC 8224 6.1 step 3: Date --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [{}, {"base": True}, {"rcd": None, "call_reason": "x"}])
def test_date_is_added_if_absent_and_kept_if_fresh(wanted: dict[str, Any]) -> None:
    """RFC 8224 6.1 step 3: a Date MUST be there; an accurate one stays."""
    made = sign_all(**wanted)
    assert made.date is not None
    assert parse_date(made.date) == NOW
    assert passes_on(made).valid
    dated = replace(INVITE, date="Tue, 14 Nov 2023 22:13:00 GMT")
    assert sign_all(dated, **wanted).date is None
    assert refused(replace(INVITE, date="Tue, 14 Nov 2023 22:12:00 GMT"), **wanted) == "date_stale"


# --- RFC 8224 4, 6.1, 11: Identity that came ------------------------------------------------------------------------


def test_request_that_is_signed_passes_untouched() -> None:
    """RFC 8224 4: several Identity header fields may be there; a second shaken one of ours is not added."""
    assert refused(replace(INVITE, identity=(SHAKEN,))) == "identity_present"


def test_other_headers_stay_beside_ours() -> None:
    """RFC 8224 4: header fields of other authentication services stay where they are."""
    call = replace(INVITE, identity=(BASE,))
    made = sign_all(call)
    assert (len(made.identities), made.keep) == (1, None)
    assert passes_on(made, call).valid


def test_ours_takes_the_place_of_theirs_where_policy_says_so() -> None:
    """RFC 8588 10: shaken PASSporTs may end at the border of a trust domain. All others stay, in their order."""
    call = replace(INVITE, identity=(f"{BASE}, {SHAKEN}", SHAKEN, GARBAGE))
    made = sign_all(call, identity="replace")
    assert made.keep == (BASE, GARBAGE)
    assert [parts(value)[1]["origid"] for value in made.identities] == [CLAIMS["origid"]]
    assert passes_on(made, call).valid


def test_malformed_identity_is_dropped_only_if_that_is_wanted() -> None:
    """RFC 8224 6.2.2: a broken header makes no call invalid that has a good one; it need not travel on either."""
    call = replace(INVITE, identity=(GARBAGE, BASE))
    assert sign_all(call).keep is None
    made = sign_all(call, drop_malformed=True)
    assert made.keep == (BASE,)
    assert [error.token for error in made.dropped] == ["identity_malformed"]


def test_privacy_takes_no_identity_away() -> None:
    """RFC 8224 11: with Privacy: id, the caller anonymous in From, Identity is there, of the asserted number."""
    call = replace(INVITE, from_uri="sip:anonymous@anonymous.invalid", asserted=(f"<sip:+{ORIG}@orig.example.com;user=phone>",))
    made = sign_all(call, call_reason="x")
    assert claims_of(made)["orig"] == {"tn": ORIG}
    assert passes_on(made, call).valid
    assert refused(replace(call, asserted=())) == "orig_missing"


# --- RFC 8225 5.2.1: orig and dest ----------------------------------------------------------------------------------


def test_several_who_are_called_are_sorted_in_arrays() -> None:
    """RFC 8225 5.2.1: dest is arrays, tn before uri, members in lexicographic order, each once."""
    others = (Party("tn", "12155550199"), Party("uri", "sip:bob@example.com"), Party("tn", "112"), Party("tn", DEST))
    made = sign_all(dest=others, uri=True, mky=SDP)
    payload = unb64(made.identities[0].split(".")[1])
    assert compact_json({"dest": {"tn": ["112", DEST, "12155550199"], "uri": ["sip:bob@example.com"]}})[1:-1] in payload
    assert payload == compact_json(claims_of(made))
    for called in (f"sip:+{DEST}@x", "tel:112", "sip:bob@example.com:5060"):
        assert passes_on(made, replace(INVITE, to_uri=called)).valid


def test_uri_is_signed_in_canonical_form_and_only_if_wanted() -> None:
    """RFC 8225 5.2.1, RFC 8224 8.5: a URI identity, lower case, without port and parameters."""
    call = replace(INVITE, to_uri="sip:B%6Fb@Example.COM:5070;transport=tcp")
    assert refused(call) == refused(call, call_reason="x") == "dest_missing"
    made = sign_all(call, uri=True)
    assert claims_of(made)["dest"] == {"uri": ["sip:bob@example.com"]}
    assert passes_on(made, call).valid


def test_caller_that_is_a_uri_is_signed_only_if_wanted() -> None:
    """RFC 8225 5.2.1; RFC 8226 9: a TNAuthList speaks for numbers, so our own verification does not take it."""
    call = replace(INVITE, from_uri="sip:alice@example.com")
    assert refused(call) == refused(call, call_reason="x") == "orig_missing"
    made = sign_all(call, uri=True)
    assert claims_of(made)["orig"] == {"uri": "sip:alice@example.com"}
    assert passes_on(made, call).token == "uri_not_authorized"


# --- RFC 8225 5.2.2, RFC 8224 4.1: mky ------------------------------------------------------------------------------


def test_media_keys_are_all_fingerprints_of_the_sdp() -> None:
    """RFC 8224 4.1 with erratum 5390: mky MUST be there if the SDP has a=fingerprint, in a session or a media description."""
    assert claims_of(sign_all(mky=SDP))["mky"] == [
        {"alg": "sha-1", "dig": "4AADB9"},
        {"alg": "sha-256", "dig": SHA256.replace(":", "").upper()},
    ]
    assert "mky" not in claims_of(sign_all(mky="v=0\r\n"))


def test_media_keys_are_sorted_by_alg_and_dig() -> None:
    """RFC 8225 5.2.2: alg in lower case, dig in upper case without colons, sorted."""
    sdp = "".join(f"a=fingerprint:{line}\r\n" for line in ("sha-512 00", "SHA-256 0b:01", "sha-256 0A:FF", "sha-1 ff"))
    found = [(key["alg"], key["dig"]) for key in claims_of(sign_all(mky=sdp))["mky"]]
    assert found == [("sha-1", "FF"), ("sha-256", "0AFF"), ("sha-256", "0B01"), ("sha-512", "00")]


def test_call_with_media_keys_is_valid() -> None:
    """RFC 8225 8.3: a claim more, and the call is as valid as without."""
    assert passes_on(sign_all(mky=SDP)).valid


# --- RFC 8224 4.1, RFC 8225 7: compact form -------------------------------------------------------------------------


def rebuilt(made: SignedCall, iat: int, **more: Any) -> str:
    """The full form of the base PASSporT, as a verifier makes it of the request (RFC 8225 7)."""
    header = {name: HEADER[name] for name in ("alg", "typ", "x5u")}
    claims = {"dest": {"tn": [DEST]}, "iat": iat, "orig": {"tn": ORIG}, **more}
    digest = made.identities[-1].partition(";")[0]
    return f"{b64(compact_json(header))}.{b64(compact_json(claims))}.{digest[2:]}"


def test_compact_form_is_two_dots_and_a_signature() -> None:
    """RFC 8225 7: header and claims are left out; no ppt, since that is a base PASSporT."""
    digest, _, parameters = sign_all(base=True).identities[-1].partition(";")
    assert (digest[:2], digest.count("."), parameters) == ("..", 2, f"info=<{X5U}>;alg=ES256")
    assert len(unb64(digest[2:])) == 64


def test_compact_form_verifies_when_it_is_rebuilt() -> None:
    """RFC 8225 7: from the request's identities, and the value of Date as iat."""
    key = provider().key.public_key()
    assert signature_holds(rebuilt(sign_all(base=True), NOW), key)
    dated = replace(INVITE, date="Tue, 14 Nov 2023 22:13:00 GMT")
    assert signature_holds(rebuilt(sign_all(dated, base=True), 1699999980), key)
    assert not signature_holds(rebuilt(sign_all(dated, base=True), NOW), key)


def test_compact_form_covers_the_media_keys() -> None:
    """RFC 8224 4.1: whoever rebuilds it takes mky from the SDP."""
    mky = claims_of(sign_all(mky=SDP))["mky"]
    assert signature_holds(rebuilt(sign_all(base=True, mky=SDP), NOW, mky=mky), provider().key.public_key())


def test_published_compact_form_is_signed_over_the_same_octets() -> None:
    """RFC 8225 7: an independent signer's value for the same request has a signature over what ours is over."""
    by = signer(private_key("generated/key_leaf1234.pem"))
    dated = replace(INVITE, date="Tue, 14 Nov 2023 22:13:20 GMT")
    ours, theirs = sign_all(dated, signer_=by, base=True), text("generated/73_base_compact.hdr").removeprefix("Identity: ")
    published = public_key("generated/cert_leaf1234.pem")
    assert (GENERATED / "73_base_full.jwt").is_file()
    for value in (ours.identities[-1], theirs):
        assert value.endswith(f";info=<{X5U}>;alg=ES256")
        assert signature_holds(rebuilt(SignedCall((value,)), 1700000000), published)


def test_compact_form_goes_beside_the_full_one() -> None:
    """RFC 8588 7: shaken has no compact form; who knows base PASSporTs only finds the other header."""
    made = sign_all(base=True)
    assert [value.startswith("..") for value in made.identities] == [False, True]
    verification = passes_on(made)
    assert verification.valid
    assert [verdict.error and verdict.error.token for verdict in verification.verdicts] == [None, "ppt_unsupported"]


# --- RFC 9410: what comes back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["full", "compact"])
def test_reason_that_carries_our_passport_is_known(form: str) -> None:
    """RFC 9410 5: an authentication service MUST take a Reason with its own PASSporT away before the response goes on."""
    made = sign_all()
    digest = made.identities[0].partition(";")[0]
    ppi = digest if form == "full" else f"..{digest.rpartition('.')[2]}"
    value = f'STIR ;cause=436 ;text="Bad Identity Info" ;ppi="{ppi}"'
    assert own_reason(value, made.signatures)
    assert not own_reason(value, sign_all().signatures)


def test_reason_of_others_goes_on() -> None:
    """RFC 9410 5: what reports another's PASSporT, or none, is not ours to take away."""
    made = sign_all()
    for value in ('STIR ;cause=438 ;text="Invalid Identity Header"', 'STIR ;cause=436 ;ppi="..b3RoZXI"', "SIP ;cause=404"):
        assert not own_reason(value, made.signatures)
