"""The PASSporT as a value: what is decoded, what is refused, and that the received octets are kept."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.passport.claims import Attestation
from kamailio_app.passport.encoding import canonical_json
from kamailio_app.passport.passport import JoseHeader, jose_header, jose_ppt, shaken_passport

from ..builders import ABSENT, CLAIMS, JOSE, NOW, X5U, b64, changed, passport, refused, signed, to_json


def header(**changes: Any) -> JoseHeader:
    return jose_header(b64(to_json(changed(JOSE, changes))))


# --- JOSE header ------------------------------------------------------------------------------------------------


def test_header_is_read() -> None:
    assert header() == JoseHeader("ES256", "shaken", "passport", X5U)


def test_header_is_written_as_deterministic_json() -> None:
    assert header().text() == b64(canonical_json(JOSE))


def test_header_without_ppt_is_a_base_passport() -> None:
    base = header(ppt=ABSENT)
    assert base.ppt is None
    assert jose_header(base.text()) == base


def test_unknown_members_are_ignored() -> None:
    assert header(kid="1") == header()


@pytest.mark.parametrize("name", ["alg", "typ", "x5u"])
def test_alg_typ_and_x5u_are_mandatory(name: str) -> None:
    with refused("jose_header_incomplete"):
        header(**{name: ABSENT})


@pytest.mark.parametrize(("name", "token"), [("alg", "alg_unsupported"), ("typ", "typ_unsupported"), ("x5u", "info_mismatch")])
@pytest.mark.parametrize("value", [None, 1, True, ["ES256"], {}])
def test_member_of_a_wrong_type_fails_as_one_of_a_wrong_value(name: str, token: str, value: object) -> None:
    with refused(token):
        header(**{name: value})


@pytest.mark.parametrize(
    ("octets", "ppt"),
    [
        (to_json(JOSE), "shaken"),
        (b'{"ppt":"div","alg":"none"}', "div"),
        (b'{"ppt":1}', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
        (b'{"ppt":"div","x":"' + b"x" * 3100 + b'"}', None),
    ],
    ids=range(7),
)
def test_type_is_known_whatever_else_is_wrong(octets: bytes, ppt: str | None) -> None:
    assert jose_ppt(b64(octets)) == ppt


@pytest.mark.parametrize("text", ["A", "\u00e9\u00e9", "\ud800aa"])
def test_text_that_is_no_header_has_no_type(text: str) -> None:
    assert jose_ppt(text) is None


@pytest.mark.parametrize("value", [1, True, ["shaken"], {}])
def test_ppt_is_text(value: object) -> None:
    with refused("claim_malformed"):
        header(ppt=value)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES384", "RS256", "es256", "ES256 ", ""])
def test_es256_is_the_only_algorithm(alg: str) -> None:
    with refused("alg_unsupported"):
        header(alg=alg)


@pytest.mark.parametrize("typ", ["JWT", "Passport", "passport ", ""])
def test_typ_is_passport(typ: str) -> None:
    with refused("typ_unsupported"):
        header(typ=typ)


def test_header_of_four_kilobytes_is_read_and_a_larger_one_is_not() -> None:
    largest = b64(to_json({**JOSE, "pad": ""}) + b" " * (3072 - len(to_json({**JOSE, "pad": ""}))))
    assert len(largest) == 4096
    assert jose_header(largest) == header()
    with refused("passport_malformed"):
        jose_header(largest + "IA")


def test_refusal_is_repeated_at_the_second_look() -> None:
    for _ in range(2):
        with refused("alg_unsupported"):
            header(alg="none")


# --- The whole --------------------------------------------------------------------------------------------------


def test_passport_is_read() -> None:
    text = passport()
    read = shaken_passport(text)
    assert read.header == header()
    assert read.claims.attest is Attestation.FULL
    assert read.claims.iat == NOW
    assert read.signing_input == text.rpartition(".")[0].encode()
    assert len(read.signature) == 64


def test_octets_are_kept_as_received_whatever_their_order_and_whitespace() -> None:
    payload = b'{ "origid":"x", "iat":%d, "orig":{"tn":"1"},\n"dest":{"tn":["2"]}, "attest":"B", "extra":[1] }' % NOW
    text = signed(to_json(JOSE), payload)
    read = shaken_passport(text)
    assert read.signing_input.decode() == text.rpartition(".")[0]
    assert read.claims.attest is Attestation.PARTIAL


@pytest.mark.parametrize("ppt", [ABSENT, None, "div", "Shaken", ""])
def test_ppt_has_to_be_shaken(ppt: object) -> None:
    with refused("ppt_mismatch"):
        shaken_passport(passport({"ppt": ppt}))


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{", b'{"iat":1,"iat":2}', b"[" * 9000, b'{"iat":NaN}', to_json(CLAIMS)[:-1]],
    ids=lambda b: repr(b[:12]),
)
def test_payload_that_is_no_object(payload: bytes) -> None:
    with refused("passport_malformed"):
        shaken_passport(signed(to_json(JOSE), payload))


def test_claims_are_checked() -> None:
    with refused("attest_invalid"):
        shaken_passport(passport(claims={"attest": "D"}))


def test_signature_that_is_no_base64url() -> None:
    text = passport()
    assert text[-1] in "AQgw"
    with refused("passport_malformed"):
        shaken_passport(text[:-1] + "B")


def test_passport_is_immutable() -> None:
    with pytest.raises(AttributeError):
        shaken_passport(passport()).signature = b""  # type: ignore[misc]
