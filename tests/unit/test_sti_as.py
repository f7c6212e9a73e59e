"""The authentication service: what is signed, what is not, and what a signature says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kamailio_app.identity import parse_identity
from kamailio_app.passport import es256
from kamailio_app.passport.claims import Attestation
from kamailio_app.passport.encoding import from_base64url
from kamailio_app.passport.passport import shaken_passport
from kamailio_app.sip import format_date
from kamailio_app.sti_as import Signed, Signer, SigningRules, check_date, sign
from kamailio_app.tn import NumberPlan

from .builders import ABSENT, CLAIMS, DATE, DEST, JOSE, NOW, ORIG, ORIGID, X5U, identity, provider, refused, request, signer

SIGNER = signer()
DEFAULT = SigningRules()


def signs(
    rules: SigningRules = DEFAULT,
    attest: Attestation = Attestation.FULL,
    by: Signer = SIGNER,
    now: float = NOW,
    **changes: Any,
) -> Signed:
    return sign(request(**changes), attest, by, rules, now=now, origid=ORIGID)


def parts(signed: Signed) -> tuple[Any, Any]:
    header, payload, _ = parse_identity(signed.identity).digest.split(".")
    return json.loads(from_base64url(header)), json.loads(from_base64url(payload))


# --- What a signature says --------------------------------------------------------------------------------------


def test_identity_has_the_safest_wire_form() -> None:
    digest, _, rest = signs().identity.partition(";")
    assert rest == f"info=<{X5U}>;alg=ES256;ppt=shaken"
    assert digest.count(".") == 2
    assert "=" not in digest


def test_header_and_claims_are_deterministic() -> None:
    digest = parse_identity(signs().identity).digest
    header, payload, _ = digest.split(".")
    assert from_base64url(header).decode() == (f'{{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"{X5U}"}}')
    assert from_base64url(payload).decode() == (
        f'{{"attest":"A","dest":{{"tn":["{DEST}"]}},"iat":{NOW},"orig":{{"tn":"{ORIG}"}},"origid":"{ORIGID}"}}'
    )


def test_signature_verifies_over_what_is_sent() -> None:
    signed = signs()
    read = shaken_passport(parse_identity(signed.identity).digest)
    assert es256.verify(read.signing_input, read.signature, provider().key.public_key())
    assert read.claims == signed.claims
    assert parts(signed) == (JOSE, CLAIMS)


@pytest.mark.parametrize("attest", Attestation)
def test_attestation_is_what_was_asked_for(attest: Attestation) -> None:
    assert signs(attest=attest).claims.attest is attest


def test_iat_is_a_whole_number_of_our_own_clock() -> None:
    signed = signs(now=NOW + 0.9, date=format_date(NOW - 30))
    assert parts(signed)[1]["iat"] == NOW


def test_numbers_are_canonical() -> None:
    plan = NumberPlan("1", "1", "011", 10)
    signed = signs(SigningRules(plan=plan), from_uri="sip:2155550121@gw", to_uri="sip:011442071838750;rn=+1@gw")
    assert parts(signed)[1] == {**CLAIMS, "dest": {"tn": ["442071838750"]}}


def test_orig_is_the_asserted_number_also_behind_an_anonymous_from() -> None:
    changes: dict[str, Any] = {
        "from_uri": "sip:anonymous@anonymous.invalid",
        "asserted": ("<sip:alice@gw>, <tel:+12155550199>",),
    }
    assert signs(**changes).claims.orig.value == "12155550199"


def test_sources_are_the_operators_choice() -> None:
    rules = SigningRules(orig_source="from", dest_source="request_uri")
    signed = signs(rules, asserted=("<tel:+12155550199>",), request_uri="tel:+12155550177")
    assert (signed.claims.orig.value, signed.claims.dest[0].value) == (ORIG, "12155550177")


def test_emergency_number_stays_as_it_is() -> None:
    assert signs(to_uri="sip:911@gw").claims.dest[0].value == "911"


# --- What is not signed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ACK", "CANCEL", "BYE", "OPTIONS", "MESSAGE", "REGISTER", "invite", ""])
def test_only_invites_are_signed(method: str) -> None:
    with refused("request_not_signed"):
        signs(method=method)


def test_request_inside_a_dialog_is_not_signed() -> None:
    with refused("request_not_signed"):
        signs(in_dialog=True)


@pytest.mark.parametrize(
    "present",
    [
        identity(),
        identity(parameters=f";info=<{X5U}>"),
        identity(parameters=f';info=<{X5U}>;ppt="shaken"'),
        f"..c2ln;info=<{X5U}>;ppt=shaken",
        f"..c2ln;info=<{X5U}>;ppt=div, {identity()}",
    ],
)
def test_nothing_is_signed_twice(present: str) -> None:
    with refused("identity_present"):
        signs(identity=(present,))


def test_second_header_field_counts_too() -> None:
    with refused("identity_present"):
        signs(identity=("garbage", identity()))


@pytest.mark.parametrize(
    "present",
    [
        "",
        "garbage",
        f"..c2ln;info=<{X5U}>",
        f"..c2ln;info=<{X5U}>;ppt=div",
        identity({"ppt": "div"}, parameters=f";info=<{X5U}>"),
        f"a.b.c;info=<{X5U}>",
        "a" * 20_000,
    ],
)
def test_what_others_signed_otherwise_is_no_obstacle(present: str) -> None:
    assert signs(identity=(present,)).identity


@pytest.mark.parametrize("ppt", ["SHAKEN", "Shaken", '"shaken"', "div", "shaken.", "rcd"])
def test_what_its_passport_or_its_parameter_calls_shaken_is_shaken(ppt: str) -> None:
    with refused("identity_present"):
        signs(identity=(identity(parameters=f";info=<{X5U}>;ppt={ppt}"),))


@pytest.mark.parametrize("jose", [{"ppt": "Shaken"}, {"ppt": "shaken", "alg": "none"}, {"ppt": "shaken", "x5u": ABSENT}])
def test_passport_that_is_shaken_and_otherwise_wrong_is_shaken(jose: dict[str, Any]) -> None:
    with refused("identity_present"):
        signs(identity=(identity(jose, parameters=f";info=<{X5U}>;ppt=div"),))


@pytest.mark.parametrize("count", [10, 11])
@pytest.mark.parametrize("merged", [False, True])
def test_more_identities_than_anybody_looks_at_are_not_signed_beside(count: int, merged: bool) -> None:
    junk = (f"a.b.c;info=<{X5U}>",) * count
    values = (",".join(junk),) if merged else junk
    if count == 10:
        assert signs(identity=values).identity
        return
    with refused("identity_too_many"):
        signs(identity=values)


@pytest.mark.parametrize("uri", ["sip:anonymous@anonymous.invalid", "sip:alice@gw", "urn:service:sos", "tel:alice", ""])
def test_caller_without_number_is_not_signed(uri: str) -> None:
    with refused("orig_missing"):
        signs(from_uri=uri)


@pytest.mark.parametrize("uri", ["sip:alice@gw", "urn:service:sos", "tel:+44(0)2071838750", ""])
def test_called_party_without_number_is_not_signed(uri: str) -> None:
    with refused("dest_missing"):
        signs(to_uri=uri)


# --- Date and validity ------------------------------------------------------------------------------------------


def test_absent_date_is_added() -> None:
    assert signs().date == DATE


def test_accurate_date_is_left() -> None:
    assert signs(date=DATE).date is None


@pytest.mark.parametrize(
    ("offset", "token"),
    [(-61, "date_stale"), (-60, None), (0, None), (60, None), (61, "date_in_future")],
)
def test_date_is_accurate_to_a_minute_on_both_sides(offset: int, token: str | None) -> None:
    date = format_date(NOW + offset)
    if token is None:
        assert signs(date=date).date is None
        assert check_date(date, 60, NOW) == NOW + offset
    else:
        with refused(token):
            signs(date=date)


def test_tolerance_is_the_operators_choice() -> None:
    with refused("date_stale"):
        signs(SigningRules(max_date_header_age=5), date=format_date(NOW - 6))


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 14 Nov 0000 22:13:20 GMT"])
def test_date_that_is_none_is_not_signed(date: str) -> None:
    with refused("date_malformed"):
        signs(date=date)


@pytest.mark.parametrize(
    ("not_before", "not_after", "token"),
    [
        (NOW, NOW + 1, None),
        (NOW - 10, NOW, "certificate_expired"),
        (NOW - 10, NOW - 1, "certificate_expired"),
        (NOW + 1, NOW + 10, "certificate_not_yet_valid"),
    ],
)
def test_certificate_is_valid_now(not_before: int, not_after: int, token: str | None) -> None:
    by = signer(not_before=not_before, not_after=not_after)
    if token is None:
        assert signs(by=by)
    else:
        with refused(token):
            signs(by=by)


@pytest.mark.parametrize(("offset", "token"), [(-20, "certificate_not_yet_valid"), (20, "certificate_expired")])
def test_certificate_is_valid_at_the_date_too(offset: int, token: str) -> None:
    with refused(token):
        signs(by=signer(not_before=NOW - 10, not_after=NOW + 10), date=format_date(NOW + offset))


# --- The signer -------------------------------------------------------------------------------------------------


def test_what_is_constant_per_certificate_is_made_once() -> None:
    assert signs().identity.startswith(SIGNER.prefix)
    assert signs().identity.endswith(SIGNER.suffix)


def test_key_is_not_in_the_repr() -> None:
    shown = repr(SIGNER)
    assert "key" not in shown
    assert "prefix" not in shown
    assert shown == str(SIGNER)
