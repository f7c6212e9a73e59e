"""The five claims of a shaken PASSporT, with strict types."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.passport.claims import Attestation, ShakenClaims, shaken_claims, shaken_json
from kamailio_app.passport.encoding import canonical_json
from kamailio_app.sip import Party

from ..builders import ABSENT, CLAIMS, DEST, NOW, ORIG, ORIGID, changed, refused


def read(**changes: Any) -> ShakenClaims:
    return shaken_claims(changed(CLAIMS, changes))


def test_claims_are_read() -> None:
    assert read() == ShakenClaims(Attestation.FULL, (Party("tn", DEST),), NOW, Party("tn", ORIG), ORIGID)


def test_there_and_back() -> None:
    assert read().members() == CLAIMS


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_mandatory(name: str) -> None:
    with refused("claim_missing"):
        read(**{name: ABSENT})


def test_unknown_claims_are_ignored() -> None:
    assert read(rcd={"nam": "Alice"}, crn="x") == read()


@pytest.mark.parametrize(("letter", "level"), [("A", Attestation.FULL), ("B", Attestation.PARTIAL), ("C", Attestation.GATEWAY)])
def test_attestation_levels(letter: str, level: Attestation) -> None:
    assert read(attest=letter).attest is level


@pytest.mark.parametrize("attest", ["a", "D", "", "A ", "AB", None, 1, True, ["A"], {"A": 1}])
def test_anything_but_a_b_c_is_no_attestation(attest: object) -> None:
    with refused("attest_invalid"):
        read(attest=attest)


@pytest.mark.parametrize("iat", [0, 1, 2**53])
def test_iat_is_a_whole_number(iat: int) -> None:
    assert read(iat=iat).iat == iat


@pytest.mark.parametrize("iat", [True, False, 1700000000.0, "1700000000", None, -1, 2**53 + 1, 10**1000, [NOW], {}])
def test_anything_else_is_no_iat(iat: object) -> None:
    with refused("claim_malformed"):
        read(iat=iat)


@pytest.mark.parametrize("origid", ["x", "123456-ABCD-999999", "x" * 255, "é"])
def test_origid_is_any_text(origid: str) -> None:
    assert read(origid=origid).origid == origid


@pytest.mark.parametrize("origid", ["", "x" * 256, None, 1, True, [ORIGID], {}])
def test_anything_else_is_no_origid(origid: object) -> None:
    with refused("claim_malformed"):
        read(origid=origid)


def test_orig_may_be_a_uri() -> None:
    assert read(orig={"uri": "sip:a@b"}).orig == Party("uri", "sip:a@b")


@pytest.mark.parametrize(
    "orig",
    [
        {},
        {"tn": ORIG, "uri": "sip:a@b"},
        {"tn": [ORIG]},
        {"tn": ""},
        {"tn": 12155550121},
        {"tn": None},
        {"TN": ORIG},
        {"other": ORIG},
        [],
        ORIG,
        None,
        True,
    ],
)
def test_orig_is_exactly_one_identity_as_text(orig: object) -> None:
    with refused("claim_malformed"):
        read(orig=orig)


def test_dest_may_hold_several_numbers_and_uris() -> None:
    parties = read(dest={"uri": ["sip:a@b"], "tn": ["2", "1"]}).dest
    assert parties == (Party("uri", "sip:a@b"), Party("tn", "2"), Party("tn", "1"))


def test_dest_holds_a_hundred_and_no_more() -> None:
    numbers, uris = [str(number) for number in range(60)], [f"sip:{number}@b" for number in range(41)]
    assert len(read(dest={"tn": numbers, "uri": uris[:40]}).dest) == 100
    for many in ({"tn": numbers, "uri": uris}, {"uri": uris, "tn": numbers}, {"tn": [*numbers, *uris]}):
        with refused("claim_malformed"):
            read(dest=many)


@pytest.mark.parametrize(
    "dest",
    [
        {},
        {"tn": DEST},
        {"tn": []},
        {"tn": [DEST], "uri": []},
        {"tn": [""]},
        {"tn": [12155550131]},
        {"tn": [[DEST]]},
        {"tn": [DEST, None]},
        {"tn": [DEST], "other": ["x"]},
        {"other": ["x"]},
        {"tn": {DEST: 1}},
        [DEST],
        DEST,
        '{"tn":["1"]}',
        None,
    ],
)
def test_dest_is_arrays_of_text(dest: object) -> None:
    with refused("claim_malformed"):
        read(dest=dest)


def test_dest_is_written_sorted_each_once_and_always_as_arrays() -> None:
    parties = (Party("uri", "sip:a@b"), Party("tn", "2"), Party("tn", "1"), Party("tn", "2"))
    claims = ShakenClaims(Attestation.GATEWAY, parties, NOW, Party("uri", "sip:c@d"), ORIGID)
    assert canonical_json(claims.members()) == (
        b'{"attest":"C","dest":{"tn":["1","2"],"uri":["sip:a@b"]},"iat":1700000000,"orig":{"uri":"sip:c@d"},'
        b'"origid":"123e4567-e89b-12d3-a456-426655440000"}'
    )


@pytest.mark.parametrize("origid", [ORIGID, 'a"b\\c', "\n\x00\x7f", "é\u2028\U0001f600", "/"])
@pytest.mark.parametrize("dest", [DEST, "*67", "#1"])
@pytest.mark.parametrize("attest", Attestation)
def test_short_way_writes_the_same_octets(attest: Attestation, dest: str, origid: str) -> None:
    claims = ShakenClaims(attest, (Party("tn", dest),), NOW, Party("tn", ORIG), origid)
    assert shaken_json(attest, dest, NOW, ORIG, origid).encode() == canonical_json(claims.members())
