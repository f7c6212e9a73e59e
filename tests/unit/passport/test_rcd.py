"""Rich call data: the claims, and the digests of what stands in the PASSporT itself."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from kamailio_app.passport.rcd import RcdClaims, RichCallData, check_digests, rcd_claims, rcd_members, rich_call_data
from kamailio_app.sip import Party

from ..builders import ABSENT, DEST, NOW, ORIG, changed, refused

BASE: dict[str, Any] = {"dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}}
CLAIMS: dict[str, Any] = {**BASE, "rcd": {"nam": "Alice"}}
JCD = ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Q Branch"], ["photo", {}, "uri", "https://a.example/q"]]]
JCD_TEXT = '["vcard",[["version",{},"text","4.0"],["fn",{},"text","Q Branch"],["photo",{},"uri","https://a.example/q"]]]'
PICTURE = "https://a.example/i.png"


def digest(text: str, name: str = "sha256") -> str:
    return f"{name}-{b64encode(hashlib.new(name, text.encode()).digest()).decode()}"


def data(rcd: dict[str, Any], rcdi: Any = ABSENT, **others: Any) -> RichCallData:
    members = changed({"rcd": rcd}, {"rcdi": rcdi, **others})
    return check_digests(rich_call_data(members), members)


# --- Claims -----------------------------------------------------------------------------------------------------


def test_claims_of_a_passport_of_its_own() -> None:
    assert rcd_claims(CLAIMS) == RcdClaims((Party("tn", DEST),), NOW, Party("tn", ORIG), RichCallData(nam="Alice"))


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_mandatory(name: str) -> None:
    with refused("claim_missing"):
        rcd_claims(changed(CLAIMS, {name: ABSENT}))


def test_reason_alone_will_do() -> None:
    assert rcd_claims({**BASE, "crn": "Delivery"}).rcd == RichCallData(crn="Delivery")


def test_everything_that_there_is() -> None:
    read = data({"nam": "Q", "apn": "12155550199", "icn": PICTURE, "jcd": JCD}, crn="Test")
    assert read == RichCallData("Q", "12155550199", PICTURE, "", JCD_TEXT, "Test")
    assert data({"nam": "", "jcl": "https://a.example/q.json"}).jcl == "https://a.example/q.json"


def test_name_in_any_script() -> None:
    assert data({"nam": "Café Zoë ☎"}).nam == "Café Zoë ☎"


def test_name_is_mandatory() -> None:
    with refused("claim_missing"):
        data({"icn": PICTURE})


@pytest.mark.parametrize(
    "members",
    [
        {"rcd": "Alice"},
        {"rcd": ["Alice"]},
        {"rcd": None},
        {"rcd": {"nam": 1}},
        {"rcd": {"nam": None}},
        {"rcd": {"nam": "x" * 1025}},
        {"rcd": {"nam": "\ud800"}},
        {"rcd": {"nam": "", "apn": 12155550199}},
        {"rcd": {"nam": "", "icn": "picture.png"}},
        {"rcd": {"nam": "", "icn": ""}},
        {"rcd": {"nam": "", "icn": "https://a.example/ x"}},
        {"rcd": {"nam": "", "jcl": "x"}},
        {"rcd": {"nam": "", "jcd": {}}},
        {"rcd": {"nam": "", "jcd": "vcard"}},
        {"rcd": {"nam": "", "jcd": [float("inf")]}},
        {"rcd": {"nam": "", "jcd": JCD, "jcl": PICTURE}},
        {"crn": ["x"]},
        {"crn": "\udfff"},
    ],
    ids=range(18),
)
def test_wrong_types_and_forms(members: dict[str, Any]) -> None:
    with refused("claim_malformed"):
        rich_call_data(members)


# --- Digests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_jcard_is_digested_as_deterministic_json(name: str) -> None:
    assert data({"nam": "Q", "jcd": JCD}, {"/jcd": digest(JCD_TEXT, name)}).jcd == JCD_TEXT


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("/nam", "Alice"),
        ("/apn", "tel:18005550000"),
        ("/jcd", JCD_TEXT),
        ("/jcd/1/1/3", "Q Branch"),
        ("/jcd/1/1/1", "{}"),
        ("/jcd/0", "vcard"),
        ("/a~1b", "slash"),
        ("/a~0b/0", "1"),
        ("/ünï", "ü"),
    ],
)
def test_digest_of_what_is_here(pointer: str, text: str) -> None:
    rcd = {"nam": "Alice", "apn": "tel:18005550000", "jcd": JCD, "a/b": "slash", "a~b": [1], "ünï": "ü"}
    assert data(rcd, {pointer: digest(text)}).digests == ()
    assert data(rcd, {pointer: digest(text).rstrip("=")}).digests == ()
    with refused("rcd_digest_mismatch"):
        data(rcd, {pointer: digest(f"{text}!")})


@pytest.mark.parametrize("rcdi", [digest('{"nam":"Alice"}'), {"": digest('{"nam":"Alice"}')}])
def test_digest_of_all_of_it(rcdi: object) -> None:
    assert data({"nam": "Alice"}, rcdi).nam == "Alice"
    with refused("rcd_digest_mismatch"):
        data({"nam": "Alice "}, rcdi)


@pytest.mark.parametrize("pointer", ["/icn", "/jcl", "/jcl/1/3/3", "/jcd/1/2/3"])
def test_digest_of_what_is_behind_a_uri_is_passed_on(pointer: str) -> None:
    rcd: dict[str, Any] = {"nam": "", "icn": PICTURE, **({"jcd": JCD} if "jcd" in pointer else {"jcl": PICTURE})}
    assert data(rcd, {pointer: digest("")}).digests == ((pointer, digest("")),)


@pytest.mark.parametrize(
    "pointer", ["/icn", "/jcd/9", "/jcd/-", "/jcd/01", "/jcd/-1", "/jcd/1/x", "/nam/0", "/", "/jcd/99999", "/jcd/1/1/3/0"]
)
def test_digest_of_nothing(pointer: str) -> None:
    with refused("rcd_digest_mismatch"):
        data({"nam": "Alice", "jcd": JCD}, {pointer: digest("")})


@pytest.mark.parametrize(
    "rcdi",
    [
        None,
        [],
        1,
        "",
        "md5-AAAA",
        {"/nam": 1},
        {"/nam": "sha256"},
        {"/nam": "sha256-"},
        {"/nam": "SHA256-AAAA"},
        {"/nam": "sha256-a b"},
        {"nam": digest("Alice")},
        {f"/{number}": digest("") for number in range(65)},
    ],
    ids=range(12),
)
def test_digests_have_their_form(rcdi: object) -> None:
    with refused("claim_malformed"):
        data({"nam": "Alice"}, rcdi)


def test_claims_are_read_without_a_look_at_digests() -> None:
    members = {"rcd": {"nam": "Alice"}, "rcdi": {"/nam": digest("Bob"), "/icn": digest("")}}
    assert rich_call_data(members) == RichCallData(nam="Alice", digests=tuple(members["rcdi"].items()))


def test_reason_alone_has_nothing_to_digest_but_an_empty_object() -> None:
    members = {"crn": "x", "rcdi": digest("{}")}
    assert check_digests(rich_call_data(members), members) == RichCallData(crn="x")


def test_no_more_is_digested_than_an_honest_signer_wants() -> None:
    text = "x" * 10_000
    rcd = {"nam": "Alice", "jcd": ["vcard", [[f"x{number}", {}, "text", text] for number in range(7)]]}
    six = {f"/jcd/1/{number}/3": digest(text) for number in range(6)}
    assert data(rcd, six).nam == "Alice"
    with refused("claim_malformed"):
        data(rcd, {**six, "/jcd/1/6/3": digest(text)})


def test_digests_that_others_made() -> None:
    assert data({"nam": "Alice"}, {"/nam": "sha256-O8UQYpc8RY1aby2NZKAjJGNUrX4GSx5OAJ7IoGmaMEM="}).nam == "Alice"
    assert data({"nam": "Alice"}, "sha256-/zgCTIi3WgpfoUiQCKb6mWdzU5gOkiuEoku7NIAl2rc=").nam == "Alice"


# --- What is signed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "members"),
    [
        (RichCallData(), {}),
        (RichCallData(crn="Why"), {"crn": "Why"}),
        (RichCallData(nam="Alice"), {"rcd": {"nam": "Alice"}}),
        (RichCallData(icn=PICTURE), {"rcd": {"nam": "", "icn": PICTURE}}),
        (RichCallData(nam="Q", jcd=JCD_TEXT, crn="Why"), {"rcd": {"nam": "Q", "jcd": JCD}, "crn": "Why"}),
        (
            RichCallData(nam="Q", apn="1", jcl=PICTURE, digests=(("/jcl", digest("x")),)),
            {"rcd": {"nam": "Q", "apn": "1", "jcl": PICTURE}, "rcdi": {"/jcl": digest("x")}},
        ),
    ],
)
def test_what_is_signed_is_read_again(shown: RichCallData, members: dict[str, Any]) -> None:
    assert rcd_members(shown) == members
    assert rich_call_data(rcd_members(shown)) == shown


@pytest.mark.parametrize(
    ("shown", "token"),
    [
        (RichCallData(nam="x" * 1025), "claim_malformed"),
        (RichCallData(nam="\ud800"), "claim_malformed"),
        (RichCallData(icn="no uri"), "claim_malformed"),
        (RichCallData(jcd=JCD_TEXT, jcl=PICTURE), "claim_malformed"),
        (RichCallData(jcd="{}"), "claim_malformed"),
        (RichCallData(jcd="["), "passport_malformed"),
        (RichCallData(digests=(("/icn", "rubbish"),)), "claim_malformed"),
        (RichCallData(nam="Q", digests=(("/icn", digest("x")),)), "rcd_digest_mismatch"),
        (RichCallData(nam="Q", digests=(("/nam", digest("R")),)), "rcd_digest_mismatch"),
    ],
)
def test_what_nobody_would_show_is_not_signed(shown: RichCallData, token: str) -> None:
    with refused(token):
        rcd_members(shown)
