"""RFC 8225: PASSporT header, claims, deterministic JSON, signature."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kamailio_app.passport.claims import Attestation, ShakenClaims
from kamailio_app.passport.encoding import canonical_json
from kamailio_app.sip import Party

from .support import (
    CLAIMS,
    DEST,
    HEADER,
    NOW,
    ORIG,
    ORIGID,
    b64,
    compact_json,
    identity,
    outcome,
    outcome_of_claims,
    parts,
    provider,
    raw_signature,
    sign,
    signature_holds,
    token,
    unb64,
    without,
)

# --- 4: header ----------------------------------------------------------------------------------------------------


def test_our_header_has_typ_alg_x5u_and_ppt() -> None:
    """RFC 8225 4, 8.1: exactly these."""
    assert parts(sign().identity)[0] == HEADER


@pytest.mark.parametrize("name", ["typ", "alg", "x5u"])
def test_header_without_a_mandatory_member(name: str) -> None:
    """RFC 8225 4: typ, alg and x5u are there."""
    assert outcome(identity(token(without(HEADER, name)))) == "jose_header_incomplete"


MEMBERS = {"typ": "typ_unsupported", "alg": "alg_unsupported", "x5u": "info_mismatch", "ppt": "claim_malformed"}


@pytest.mark.parametrize(("name", "expected"), MEMBERS.items())
@pytest.mark.parametrize("value", [1, True, ["passport"], {}, 1.5])
def test_header_members_are_strings(name: str, expected: str, value: Any) -> None:
    """RFC 7515 4.1: StringOrURI. One of another type is not the value that it has to be (RFC 8225 4, RFC 8224 4.1)."""
    assert outcome(identity(token({**HEADER, name: value}))) == expected


@pytest.mark.parametrize("name", ["typ", "alg", "x5u"])
def test_mandatory_header_member_is_not_null(name: str) -> None:
    """RFC 7515 4.1: null is no string."""
    assert outcome(identity(token({**HEADER, name: None}))) == MEMBERS[name]


@pytest.mark.parametrize("typ", ["JWT", "Passport", "PASSPORT", "passport ", ""])
def test_typ_is_passport(typ: str) -> None:
    """RFC 8225 4.1: the typ header parameter MUST be "passport"."""
    assert outcome(identity(token({**HEADER, "typ": typ}))) == "typ_unsupported"


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS256", "ES384", "ES512", "EdDSA", "es256", ""])
def test_alg_is_es256(alg: str) -> None:
    """RFC 8225 4.2, 10: ES256 and nothing else, decided before any key is looked at."""
    assert outcome(identity(token({**HEADER, "alg": alg}), f";info=<{HEADER['x5u']}>;ppt=shaken")) == "alg_unsupported"


def test_unknown_header_members_are_ignored() -> None:
    """RFC 7515 4: members that are not understood are ignored."""
    assert outcome(identity(token({**HEADER, "kid": "1"}))) == "valid"


# --- 5: claims ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iat", ["1700000000", 1700000000.0, True, None, [NOW], {}, -1, 2**53 + 1, 10**400])
def test_iat_is_an_integer(iat: Any) -> None:
    """RFC 8225 5.1.1, 9 rule 4: NumericDate, written as an integer."""
    assert outcome_of_claims(iat=iat) == "claim_malformed"


@pytest.mark.parametrize(
    "orig",
    [
        ORIG,
        [ORIG],
        {},
        None,
        {"tn": [ORIG]},
        {"tn": 12155550121},
        {"tn": ""},
        {"tn": None},
        {"tel": ORIG},
        {"tn": ORIG, "uri": "sip:a@b"},
        {"uri": ["sip:a@b"]},
        json.dumps({"tn": ORIG}),
    ],
)
def test_orig_is_one_identity(orig: Any) -> None:
    """RFC 8225 5.2.1: exactly one orig with exactly one identity, a string."""
    assert outcome_of_claims(orig=orig) == "claim_malformed"


@pytest.mark.parametrize(
    "dest",
    [
        DEST,
        [DEST],
        {},
        None,
        {"tn": DEST},
        {"tn": []},
        {"tn": [12155550131]},
        {"tn": [""]},
        {"tn": [DEST, None]},
        {"tel": [DEST]},
        {"tn": [DEST], "x": []},
        {"tn": {"0": DEST}},
        {"tn": [[DEST]]},
    ],
)
def test_dest_is_arrays_of_identities(dest: Any) -> None:
    """RFC 8225 5.2.1: one or more identities, each kind an array of strings, even of one."""
    assert outcome_of_claims(dest=dest) == "claim_malformed"


def test_dest_of_numbers_and_uris() -> None:
    """RFC 8225 5.2.1: tn and uri side by side."""
    assert outcome_of_claims(dest={"tn": ["1", DEST], "uri": ["sip:a@b"]}) == "valid"


def test_dest_has_no_more_identities_than_anybody_calls() -> None:
    """RFC 8225 5.2.1 sets no limit; decision 4: what costs time for each of its parts has one."""
    numbers = [f"1215555{number:04}" for number in range(99)]
    assert outcome_of_claims(dest={"tn": [*numbers, DEST]}) == "valid"
    assert outcome_of_claims(dest={"tn": [*numbers, "1", DEST]}) == "claim_malformed"
    assert outcome_of_claims(dest={"tn": [*numbers, DEST], "uri": ["sip:a@b"]}) == "claim_malformed"


def test_our_dest_is_sorted_arrays() -> None:
    """RFC 8225 5.2.1: tn before uri, members in lexicographic order, each once."""
    dest = (Party("uri", "sip:b@x"), Party("tn", "2"), Party("tn", "10"), Party("uri", "sip:a@x"), Party("tn", "2"))
    claims = ShakenClaims(Attestation.FULL, dest, NOW, Party("tn", ORIG), ORIGID)
    written = canonical_json(claims.members()).decode()
    assert '"dest":{"tn":["10","2"],"uri":["sip:a@x","sip:b@x"]}' in written


def test_unknown_claims_are_ignored_and_signed() -> None:
    """RFC 8225 8.3: understanding them is optional; changing them breaks the signature."""
    passport = token(claims={**CLAIMS, "mky": [{"alg": "sha-256", "dig": "00"}], "zzz": {"a": [None, 1.5]}})
    assert outcome(identity(passport)) == "valid"
    header, _payload, signature = passport.split(".")
    other = b64(compact_json({**CLAIMS, "mky": [{"alg": "sha-256", "dig": "01"}]}))
    assert outcome(identity(f"{header}.{other}.{signature}")) == "signature_invalid"


def test_unsupported_ppt_is_no_valid_passport() -> None:
    """RFC 8225 8.1: MUST fail verification of a PASSporT with an unsupported ppt."""
    assert outcome(identity(token({**HEADER, "ppt": "foo"}))) == "ppt_mismatch"
    assert outcome(identity(token({**HEADER, "ppt": "foo"}), f";info=<{HEADER['x5u']}>")) == "ppt_unsupported"


# --- 6, 7: JWS ----------------------------------------------------------------------------------------------------


def test_signature_is_over_the_octets_received() -> None:
    """RFC 8225 6: order and white space of the JSON as it came, never a re-encoding."""
    loose = token(json.dumps(dict(reversed(HEADER.items())), indent=2).encode(), json.dumps(CLAIMS, indent=1).encode())
    assert outcome(identity(loose)) == "valid"
    rewritten = f"{b64(compact_json(HEADER))}.{b64(compact_json(CLAIMS))}.{loose.rpartition('.')[2]}"
    assert outcome(identity(rewritten)) == "signature_invalid"


def test_our_signature_is_64_octets_and_holds() -> None:
    """RFC 8225 6, RFC 7518 3.4: r and s of 32 octets each, also when one of them is short; 500 signatures."""
    for count in range(500):
        passport = sign(origid=f"{ORIGID}-{count}").identity.partition(";")[0]
        assert len(unb64(passport.rpartition(".")[2])) == 64
        assert signature_holds(passport, provider().key.public_key())


def test_short_r_or_s_verifies() -> None:
    """RFC 7518 3.4: leading zeros are kept. About one signature in 128 has one."""
    passport = token()
    signing_input = passport.rpartition(".")[0]
    short = next(raw for raw in iter(lambda: raw_signature(signing_input, provider().key), b"") if raw[0] == 0 or raw[32] == 0)
    assert outcome(identity(f"{signing_input}.{b64(short)}")) == "valid"


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 66, 96, 128])
def test_signature_of_another_length_is_invalid(length: int) -> None:
    """RFC 7518 3.4: 64 octets; the grammar already refuses none at all."""
    signing_input, _, signature = token().rpartition(".")
    raw = (unb64(signature) * 2)[:length]
    expected = "signature_invalid" if length else "identity_malformed"
    assert outcome(identity(f"{signing_input}.{b64(raw)}")) == expected


def test_der_signature_is_invalid() -> None:
    """RFC 7518 3.4: r||s, not the SEQUENCE of DER."""
    signing_input, _, signature = token().rpartition(".")
    raw = unb64(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert outcome(identity(f"{signing_input}.{b64(der)}")) == "signature_invalid"


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(("r", "s"), [(0, 0), (0, 1), (1, 0), (ORDER, 1), (1, ORDER), (2**256 - 1, 2**256 - 1), (ORDER, ORDER)])
def test_r_and_s_lie_in_the_order_of_the_curve(r: int, s: int) -> None:
    """RFC 7518 3.4, FIPS 186-5 6.4.2: 0 < r, s < n."""
    signing_input = token().rpartition(".")[0]
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert outcome(identity(f"{signing_input}.{b64(raw)}")) == "signature_invalid"


def test_base64url_has_no_padding() -> None:
    """RFC 7515 2: all trailing "=" are omitted."""
    assert outcome(identity(token() + "==")) == "identity_malformed"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_base64url_has_one_text_per_octets(part: int) -> None:
    """RFC 4648 3.5: unused bits are zero, or one PASSporT would have several texts."""
    header = {**HEADER, "x5u": HEADER["x5u"]}
    claims = dict(CLAIMS)
    while len(compact_json(header)) % 3 == 0:
        header["kid"] = header.get("kid", "") + "x"
    while len(compact_json(claims)) % 3 == 0:
        claims["pad"] = str(claims.get("pad", "")) + "x"
    texts = token(header, claims).split(".")
    assert outcome(identity(".".join(texts))) == "valid"
    last = texts[part][-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    texts[part] = texts[part][:-1] + alphabet[alphabet.index(last) + 1]
    assert outcome(identity(".".join(texts))) == "passport_malformed"


@pytest.mark.parametrize("part", [0, 1])
def test_lone_character_is_no_octet(part: int) -> None:
    """RFC 4648 4: four characters hold three octets, one holds none."""
    texts = token().split(".")
    texts[part] += "A" * ((1 - len(texts[part])) % 4)
    assert outcome(identity(".".join(texts))) == "passport_malformed"


# --- 9: deterministic JSON ----------------------------------------------------------------------------------------


def test_our_json_has_no_white_space_and_sorted_members() -> None:
    """RFC 8225 9 rules 1 and 2: at every level."""
    value = {"b": {"z": 1, "a": [True, None, {"d": 0, "c": ""}]}, "a": "x y"}
    assert canonical_json(value) == b'{"a":"x y","b":{"a":[true,null,{"c":"","d":0}],"z":1}}'


def test_our_json_is_sorted_by_code_point() -> None:
    """RFC 8225 9 rule 3: by Unicode code point, not by UTF-16 unit: U+FB33 before U+1F600."""
    value = {"\U0001f600": 1, "\ufb33": 2, "z": 3}
    assert canonical_json(value).decode() == '{"z":3,"\ufb33":2,"\U0001f600":1}'


def test_our_json_is_utf_8() -> None:
    """RFC 8225 9: UTF-8, no \\u escapes where none are needed."""
    assert canonical_json({"nam": "Zoë"}) == b'{"nam":"Zo\xc3\xab"}'


def test_member_names_are_unique() -> None:
    """RFC 8225 9: a name that occurs twice is refused, at every level and in the header."""
    good = compact_json(CLAIMS)
    twice = (
        good[:-1] + b',"attest":"A"}',
        good.replace(b'"orig":{', b'"orig":{"tn":"1",'),
        good[:-1] + b',"x":{"a":1,"a":1}}',
        good[:-1] + b',"\\u0061ttest":"A"}',
    )
    for claims in twice:
        assert outcome(identity(token(claims=claims))) == "passport_malformed"
    header = compact_json(HEADER)[:-1] + b',"alg":"ES256"}'
    assert outcome(identity(token(header))) == "passport_malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}x",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{",
        b"{'a':1}",
        b'{"iat":NaN}',
        b'{"iat":Infinity}',
        b'{"iat":-Infinity}',
        b'{"a":1,}',
        b"\xff\xfe",
        b'{"a":"\xc3"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 8000,
        b'{"a":' * 1500 + b"1" + b"}" * 1500,
        b'{"iat":' + b"9" * 5000 + b"}",
        b'{"a":"\n"}',
    ],
)
def test_payload_is_a_json_object(payload: bytes) -> None:
    """RFC 8225 3, RFC 8259: one object in UTF-8 and nothing else."""
    assert outcome(identity(token(claims=payload))) == "passport_malformed"
    if 0 < len(payload) < 2000:  # an empty header would be the compact form
        assert outcome(identity(token(payload))) == "passport_malformed"
