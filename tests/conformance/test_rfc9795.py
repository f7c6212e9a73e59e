"""RFC 9795: rich call data. What a URI leads to is not fetched; its digests are passed on unchecked."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from kamailio_app.verdict import Verification

from .support import CLAIMS, DEST, HEADER, X5U, hierarchy, identity, token, verify

SHAKEN = identity(token())
BASE = {name: CLAIMS[name] for name in ("dest", "iat", "orig")}
JCD = ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Q Branch"]]]
JCD_TEXT = '["vcard",[["version",{},"text","4.0"],["fn",{},"text","Q Branch"]]]'
ICON = "https://example.test/icon.png"


def digest(text: str, algorithm: str = "sha256") -> str:
    return f"{algorithm}-{b64encode(hashlib.new(algorithm, text.encode()).digest()).decode()}"


def rcd(key: Any = None, **claims: Any) -> str:
    return identity(token({**HEADER, "ppt": "rcd"}, {**BASE, **claims}, key), f";info=<{X5U}>;ppt=rcd")


def in_shaken(**claims: Any) -> str:
    return identity(token(claims={**CLAIMS, **claims}))


def refused(*identities: str) -> str:
    """Why nothing is shown; the call is valid all the same."""
    verification = verify(*identities)
    assert verification.valid
    assert verification.rcd is None
    return verification.rcd_error.token if verification.rcd_error else ""


def shown(**claims: Any) -> list[Verification]:
    """The two ways to send rich call data."""
    return [verify(SHAKEN, rcd(**claims)), verify(in_shaken(**claims))]


def test_name_is_shown() -> None:
    """RFC 9795 5.1: nam, in a PASSporT of type rcd or in a shaken one."""
    for verification in shown(rcd={"nam": "James Bond"}):
        assert verification.rcd is not None
        assert verification.rcd.nam == "James Bond"


def test_all_there_is_to_show() -> None:
    """RFC 9795 5.1, 7: apn, icn, jcl or jcd; crn."""
    for verification in shown(rcd={"nam": "Q", "apn": "12155550199", "icn": ICON, "jcd": JCD}, crn="Meeting"):
        assert verification.rcd is not None
        assert verification.rcd[:6] == ("Q", "12155550199", ICON, "", JCD_TEXT, "Meeting")


def test_presentation_number_is_not_the_caller() -> None:
    """RFC 9795 5.1.2: apn is for display; the caller is orig."""
    verification = verify(in_shaken(rcd={"nam": "Q", "apn": "12155550199"}))
    assert verification.verdict.passport is not None
    assert verification.verdict.passport.claims.orig.value == "12155550121"


def test_name_is_mandatory() -> None:
    """RFC 9795 5.1.1: nam MUST be there."""
    for value in (rcd(rcd={"icn": ICON}), in_shaken(rcd={"icn": ICON})):
        assert refused(SHAKEN, value) == "claim_missing" if "ppt=rcd" in value else refused(value) == "claim_missing"


def test_type_rcd_has_rich_call_data() -> None:
    """RFC 9795 5: rcd or crn."""
    assert refused(SHAKEN, rcd()) == "claim_missing"
    assert verify(SHAKEN, rcd(crn="Meeting")).rcd is not None


def test_jcard_is_given_in_one_way() -> None:
    """RFC 9795 5.1.4, 5.1.5: MUST NOT be both jcd and jcl."""
    assert refused(SHAKEN, rcd(rcd={"nam": "Q", "jcd": JCD, "jcl": ICON})) == "claim_malformed"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_digest_of_an_inline_jcard(algorithm: str) -> None:
    """RFC 9795 6: over the deterministic JSON of jcd; each of the three algorithms."""
    good, bad = {"/jcd": digest(JCD_TEXT, algorithm)}, {"/jcd": digest("[]", algorithm)}
    for verification in shown(rcd={"nam": "Q", "jcd": JCD}, rcdi=good):
        assert verification.rcd is not None
    assert refused(SHAKEN, rcd(rcd={"nam": "Q", "jcd": JCD}, rcdi=bad)) == "rcd_digest_mismatch"
    assert refused(in_shaken(rcd={"nam": "Q", "jcd": JCD}, rcdi=bad)) == "rcd_digest_mismatch"


def test_digest_of_another_algorithm() -> None:
    """RFC 9795 6: sha256, sha384 or sha512."""
    assert refused(SHAKEN, rcd(rcd={"nam": "Q", "icn": ICON}, rcdi={"/icn": "md5-AAAA"})) == "claim_malformed"


def test_digest_of_what_is_not_there() -> None:
    """RFC 9795 6: the JSON pointer leads to a member of rcd."""
    assert refused(SHAKEN, rcd(rcd={"nam": "Q"}, rcdi={"/icn": digest("")})) == "rcd_digest_mismatch"


def test_digest_of_what_a_uri_leads_to_is_passed_on() -> None:
    """RFC 9795 6: for whoever fetches it. Not checked: nothing is fetched while a call waits."""
    for verification in shown(rcd={"nam": "Q", "icn": ICON}, rcdi={"/icn": digest("")}):
        assert verification.rcd is not None
        assert verification.rcd.digests == (("/icn", digest("")),)


def test_signature_and_parties_are_those_of_any_passport() -> None:
    """RFC 9795 5, RFC 8224 6.2 steps 4 and 5."""
    data = {"rcd": {"nam": "Q"}}
    assert refused(SHAKEN, rcd(hierarchy().service_provider().key, **data)) == "signature_invalid"
    assert refused(SHAKEN, rcd(**data, orig={"tn": "12155550999"})) == "orig_mismatch"
    assert refused(SHAKEN, rcd(**data, dest={"tn": ["12155550999"]})) == "dest_mismatch"
    assert refused(SHAKEN, rcd(**data, iat=BASE["iat"] - 60)) == "iat_stale"  # type: ignore[operator]


def test_name_of_a_caller_who_is_not_verified_is_not_shown() -> None:
    """RFC 8224 6.2.1: a name next to a failed number misleads."""
    verification = verify(identity(token(claims={**CLAIMS, "orig": {"tn": DEST}})), rcd(rcd={"nam": "Q"}))
    assert not verification.valid
    assert verification.rcd is None
