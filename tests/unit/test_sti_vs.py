"""The verification service: two pure steps, one failure per header, nothing fetched for what fails without."""

from __future__ import annotations

import itertools
import random
from time import perf_counter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.errors import FAILED, NOT_VALIDATED, PASSED, StaleDate, StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request, format_date
from kamailio_app.sti_as import sign
from kamailio_app.sti_vs import MAX_IDENTITY_HEADERS, VerificationRules, conclude, examine
from kamailio_app.tn import NumberPlan
from kamailio_app.verdict import Verification

from .builders import (
    ABSENT,
    CLAIMS,
    DEST,
    JOSE,
    NOW,
    ORIG,
    ORIGID,
    X5U,
    b64,
    credential,
    credential_for,
    identity,
    passport,
    request,
    signed,
    signer,
    to_json,
)

DEFAULT = VerificationRules()
PARAMETERS = f";info=<{X5U}>;alg=ES256;ppt=shaken"


def verify(
    call: Request, rules: VerificationRules = DEFAULT, now: float = NOW, found: Credential | StirError | None = None
) -> Verification:
    """Both steps; every URL leads to the same credential."""
    examination = examine(call, rules, now=now)
    return conclude(examination, dict.fromkeys(examination.needed, found or credential()), now=now)


def outcome(*headers: str, rules: VerificationRules = DEFAULT, now: float = NOW, **changes: Any) -> str:
    """The token of a call with these Identity headers; what fails in the first step needs no credential."""
    call = request(identity=headers, **changes)
    token = verify(call, rules, now).token
    assert bool(examine(call, rules, now=now).needed) == (token in ("", *SECOND_STEP))
    return token


SECOND_STEP = ("credential_expired", "credential_not_yet_valid", "tn_not_authorized", "signature_invalid")


# --- Valid ------------------------------------------------------------------------------------------------------


def test_what_we_sign_we_verify() -> None:
    call = request()
    made = sign(call, Attestation.PARTIAL, signer(), now=NOW, origid=ORIGID)
    verification = verify(request(identity=(made.identity,), date=made.date))
    assert verification.valid
    assert verification.verstat == PASSED
    assert verification.token == ""
    assert verification.verdict.passport is not None
    assert verification.verdict.passport.claims == made.claims
    assert verification.verdict.credential is credential()


def test_each_url_is_needed_once() -> None:
    other = "https://cr.example.test/other.pem"
    headers = (identity(), identity(), identity({"x5u": other}, parameters=f";info=<{other}>"))
    assert examine(request(identity=headers), now=NOW).needed == (X5U, other)


@pytest.mark.parametrize(
    "header",
    [
        identity(parameters=f";info=<{X5U}>"),
        identity(parameters=f";info=<{X5U}>;ppt=shaken"),
        identity(parameters=f';ppt="shaken";alg="ES256";x=y;info=<{X5U}>'),
        identity(parameters=f" ;\r\n info=<{X5U}>;alg=ES256;ppt=shaken"),
        identity(claims={"rcd": {"nam": "Alice"}}),
        identity(claims={"dest": {"tn": ["15550000000", DEST], "uri": ["sip:x@y"]}}),
        identity(claims={"orig": {"tn": f"+{ORIG}"}, "dest": {"tn": [f"+1-215-555-{DEST[-4:]}"]}}),
        identity(claims={"origid": "toto"}),
        signed(
            to_json(JOSE),
            b' {"origid":"x","iat":%d,"orig":{"tn":"12155550121"}, "dest":{"tn":["12155550131"]},"attest":"C"}' % NOW,
        )
        + PARAMETERS,
        signed(b'{"x5u":"%s","typ":"passport", "ppt":"shaken","alg":"ES256"}' % X5U.encode(), to_json(CLAIMS)) + PARAMETERS,
    ],
)
def test_lenient_where_the_field_is(header: str) -> None:
    assert outcome(header) == ""


# --- No header, too many, several -------------------------------------------------------------------------------


def test_unsigned_call() -> None:
    verification = verify(request())
    assert (verification.token, verification.verstat) == ("identity_missing", NOT_VALIDATED)
    assert examine(request(), now=NOW).needed == ()


def test_empty_header_is_malformed_not_missing() -> None:
    assert outcome("") == "identity_malformed"


def test_ten_headers_are_examined_and_eleven_refused_unseen() -> None:
    assert outcome(*[identity()] * MAX_IDENTITY_HEADERS) == ""
    assert outcome(*[identity()] * (MAX_IDENTITY_HEADERS + 1)) == "identity_too_many"
    assert outcome(",".join([identity()] * (MAX_IDENTITY_HEADERS + 1))) == "identity_too_many"


def test_one_valid_header_suffices_wherever_it_stands() -> None:
    bad = [identity(claims={"iat": NOW - 61}), "garbage", identity({"ppt": "div"}, parameters=f";info=<{X5U}>;ppt=div")]
    for headers in itertools.permutations([identity(), *bad]):
        verification = verify(request(identity=headers))
        assert verification.valid
        assert verification.verstat == PASSED
        assert len(verification.verdicts) == 4


def test_values_that_a_stack_merged_with_commas_are_parted() -> None:
    bad = identity(claims={"iat": NOW - 61})
    assert outcome(f"{bad},{identity()}") == ""
    assert outcome(f"{bad}, {bad}") == "iat_stale"


def test_merged_values_are_each_as_large_as_a_value_may_be() -> None:
    large = GOOD + f";x={'y' * 9000}"
    assert outcome(f"{large}{PARAMETERS},{large}{PARAMETERS}") == ""
    assert outcome(f"{'A' * 17_000},{identity()}") == ""
    huge = verify(request(identity=(f"{identity()},{'A' * 17_000}",)))
    assert [verdict.error and verdict.error.token for verdict in huge.verdicts] == [None, "identity_too_large"]
    assert outcome(f"{identity()},{'A' * 170_000}") == "identity_too_large"


def test_folded_header_is_read() -> None:
    head, _, tail = identity().partition(".")
    assert outcome(f"{head}.\r\n {tail}") == ""


def test_of_several_failures_the_most_telling_counts_and_failed_dominates() -> None:
    wrong = identity(key=ec.generate_private_key(ec.SECP256R1()))
    verification = verify(request(identity=(identity(claims={"iat": NOW - 61}), wrong)))
    assert verification.token == "iat_stale"
    assert verification.verstat == FAILED
    assert [verdict.error and verdict.error.token for verdict in verification.verdicts] == ["iat_stale", "signature_invalid"]


# --- ppt, alg, info ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ppt", ["div", "rcd", "foo", "Shaken", "SHAKEN", '""'])
def test_other_types_are_ignored(ppt: str) -> None:
    assert outcome(identity(parameters=f";info=<{X5U}>;ppt={ppt}")) == "ppt_unsupported"


@pytest.mark.parametrize("ppt", [ABSENT, None, "div", "foo", ""])
def test_type_is_the_passports_where_the_header_is_silent(ppt: object) -> None:
    assert outcome(identity({"ppt": ppt}, parameters=f";info=<{X5U}>")) == "ppt_unsupported"


@pytest.mark.parametrize("ppt", [ABSENT, "div", "foo"])
def test_header_that_says_shaken_holds_shaken(ppt: object) -> None:
    assert outcome(identity({"ppt": ppt})) == ("jose_header_incomplete" if ppt is ABSENT else "ppt_mismatch")


def test_compact_form_has_no_shaken() -> None:
    assert outcome(f"..c2ln;info=<{X5U}>;ppt=shaken") == "compact_form_unsupported"
    assert outcome(f"..c2ln;info=<{X5U}>") == "ppt_unsupported"


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", "RS256", "es256", ""])
def test_algorithm_is_es256(alg: str) -> None:
    assert outcome(identity({"alg": alg}, parameters=f";info=<{X5U}>;ppt=shaken")) == "alg_unsupported"
    assert outcome(identity({"alg": alg})) == "alg_unsupported"


@pytest.mark.parametrize("alg", ["none", "HS256", "es256", '""'])
def test_header_and_passport_name_the_same_algorithm(alg: str) -> None:
    assert outcome(identity(parameters=f";info=<{X5U}>;alg={alg};ppt=shaken")) == "alg_mismatch"


@pytest.mark.parametrize(
    "info",
    [
        "https://cr.example.test/1234/other.pem",
        X5U.upper(),
        X5U.replace("https://cr.example.test", "https://CR.example.test"),
        X5U.replace("/1234", ":443/1234"),
        X5U.replace("chain", "%63hain"),
        X5U + "/",
    ],
)
def test_info_and_x5u_are_the_same_octets(info: str) -> None:
    assert outcome(identity(parameters=f";info=<{info}>;alg=ES256;ppt=shaken")) == "info_mismatch"


@pytest.mark.parametrize(
    "url",
    [
        "http://cr.example.test/a",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://u@cr.example.test/a",
        "https://cr.example.test/a?b",
        "https://cr.example.test:22/a",
    ],
)
def test_url_that_is_not_fetched_is_never_needed(url: str) -> None:
    assert outcome(identity({"x5u": url}, parameters=f";info=<{url}>")) == "x5u_refused"


@pytest.mark.parametrize(
    "info", ["", "=", "=<>", f"={X5U}", f'="{X5U}"', f"=<{X5U}", "=<cr.example.test/a>", "=<a b>", "=<x:>"]
)
def test_info_that_is_no_uri(info: str) -> None:
    assert outcome(f"{GOOD};info{info};alg=ES256;ppt=shaken") == "info_malformed"


def test_ports_are_the_operators_choice() -> None:
    url = "https://cr.example.test:8444/a"
    header = identity({"x5u": url}, parameters=f";info=<{url}>")
    assert outcome(header, rules=VerificationRules(x5u=X5uRules(frozenset({8444})))) == ""


@pytest.mark.parametrize("evil", ["\r\nX-Evil: 1", "\x00", " ", ">", "é"])
def test_nothing_can_be_injected_by_info(evil: str) -> None:
    url = f"https://cr.example.test/{evil}"
    token = "identity_malformed" if evil == ">" else "info_malformed"
    assert outcome(identity({"x5u": url}, parameters=f";info=<{url}>")) == token


STRICT = VerificationRules(strict_parameters=True)


@pytest.mark.parametrize(
    ("parameters", "token"),
    [
        (PARAMETERS, ""),
        (f' ; ppt="shaken" ;\r\n ALG=ES256;info=<{X5U}>', ""),
        (f";info=<{X5U}>;ppt=shaken", "alg_mismatch"),
        (f";info=<{X5U}>;alg=ES256", "ppt_mismatch"),
        (f";info=<{X5U}>;x=alg;ppt=shaken", "alg_mismatch"),
        (f"{PARAMETERS};x", "identity_malformed"),
        (f'{PARAMETERS};x=";y=1"', "identity_malformed"),
    ],
)
def test_parameters_are_exactly_three_where_that_is_wanted(parameters: str, token: str) -> None:
    """French profile, lines 9, 16 and 18; elsewhere they are what RFC 8224 4 has them."""
    assert outcome(identity(parameters=parameters), rules=STRICT) == token
    assert outcome(identity(parameters=parameters)) == ""


# --- Form -------------------------------------------------------------------------------------------------------

GOOD = passport()
HEAD, BODY, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    ("digest", "token"),
    [
        ("", "identity_malformed"),
        ("garbage", "identity_malformed"),
        (f"{HEAD}.{BODY}", "identity_malformed"),
        (f"{GOOD}.x", "identity_malformed"),
        (f"{HEAD}=.{BODY}.{SIGNATURE}", "identity_malformed"),
        (f"{GOOD}==", "identity_malformed"),
        (GOOD.replace(HEAD, HEAD[:-1] + "+"), "identity_malformed"),
        (f".{BODY}.{SIGNATURE}", "compact_form_unsupported"),
        (f"{HEAD}..{SIGNATURE}", "passport_malformed"),
        (f"{HEAD}.{BODY[:-5]}.{SIGNATURE}", "passport_malformed"),
        (f"{HEAD}.{BODY}.{SIGNATURE[:-1]}B", "passport_malformed"),
        (f"{b64(b'[]')}.{BODY}.{SIGNATURE}", "passport_malformed"),
        (f"{b64(b'{' * 3000)}.{BODY}.{SIGNATURE}", "passport_malformed"),
        (f"{'A' * 4097}.{BODY}.{SIGNATURE}", "passport_malformed"),
        (f"{HEAD}.{b64(b'[' * 10_000)}.{SIGNATURE}", "passport_malformed"),
        (f"{HEAD}.{b64(to_json(CLAIMS)[:-1] + b',' + to_json(CLAIMS)[1:])}.{SIGNATURE}", "passport_malformed"),
        ("A" * 20_000, "identity_too_large"),
    ],
    ids=range(17),
)
def test_what_cannot_be_decoded(digest: str, token: str) -> None:
    assert outcome(digest + PARAMETERS) == token


def test_header_without_info() -> None:
    assert outcome(f"{GOOD};alg=ES256;ppt=shaken") == "info_missing"


@pytest.mark.parametrize("name", ["typ", "alg", "x5u"])
def test_jose_header_is_complete(name: str) -> None:
    assert outcome(identity({name: ABSENT})) == "jose_header_incomplete"


def test_typ_is_passport() -> None:
    assert outcome(identity({"typ": "JWT"})) == "typ_unsupported"


@pytest.mark.parametrize(("name", "token"), [("typ", "typ_unsupported"), ("alg", "alg_unsupported"), ("x5u", "info_mismatch")])
@pytest.mark.parametrize("value", [None, 1, True, ["ES256"], {}])
def test_member_of_a_wrong_type_fails_as_one_of_a_wrong_value(name: str, token: str, value: object) -> None:
    assert outcome(identity({name: value})) == token


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_complete(name: str) -> None:
    assert outcome(identity(claims={name: ABSENT})) == "claim_missing"


@pytest.mark.parametrize(
    ("claims", "token"),
    [
        ({"iat": True}, "claim_malformed"),
        ({"iat": float(NOW)}, "claim_malformed"),
        ({"iat": str(NOW)}, "claim_malformed"),
        ({"iat": 10**400}, "claim_malformed"),
        ({"iat": -NOW}, "claim_malformed"),
        ({"iat": float("nan")}, "passport_malformed"),
        ({"attest": "a"}, "attest_invalid"),
        ({"attest": "D"}, "attest_invalid"),
        ({"origid": 1}, "claim_malformed"),
        ({"orig": {"tn": [ORIG]}}, "claim_malformed"),
        ({"dest": {"tn": DEST}}, "claim_malformed"),
    ],
    ids=range(11),
)
def test_claims_have_strict_types(claims: dict[str, Any], token: str) -> None:
    assert outcome(identity(claims=claims)) == token


def test_number_of_five_thousand_digits_is_refused() -> None:
    payload = to_json({**CLAIMS, "iat": 0}).replace(b'"iat":0', b'"iat":1' + b"0" * 5000)
    assert outcome(signed(to_json(JOSE), payload) + PARAMETERS) == "passport_malformed"


# --- Freshness --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "token"), [(-61, "iat_stale"), (-60, ""), (0, ""), (60, ""), (61, "iat_in_future")])
def test_iat_is_fresh_to_both_sides(offset: int, token: str) -> None:
    assert outcome(identity(claims={"iat": NOW + offset})) == token


def test_iat_in_future_is_stale_date() -> None:
    error = verify(request(identity=(identity(claims={"iat": NOW + 61}),))).verdict.error
    assert isinstance(error, StaleDate)
    assert (error.token, error.code, error.phrase) == ("iat_in_future", 403, "Stale Date")


def test_windows_are_the_operators_choice() -> None:
    rules = VerificationRules(max_iat_age=5, max_iat_future=1)
    assert outcome(identity(claims={"iat": NOW - 6}), rules=rules) == "iat_stale"
    assert outcome(identity(claims={"iat": NOW + 2}), rules=rules) == "iat_in_future"


def test_fractions_of_a_second_count() -> None:
    assert outcome(identity(), now=NOW + 60.5) == "iat_stale"


@pytest.mark.parametrize("date", [None, "garbage", format_date(NOW - 3600)])
def test_date_is_ignored_while_iat_is_fresh(date: str | None) -> None:
    assert outcome(identity(), date=date) == ""


STRICT_DATE = VerificationRules(ignore_sip_date_header=False)


@pytest.mark.parametrize(
    ("date", "token"),
    [
        (None, "date_missing"),
        ("garbage", "date_malformed"),
        ("Mon, 01 Jan 0000 00:00:00 GMT", "date_malformed"),
        (format_date(NOW - 61), "date_stale"),
        (format_date(NOW - 60), ""),
        (format_date(NOW), ""),
        (format_date(NOW + 60), ""),
        (format_date(NOW + 61), "date_in_future"),
    ],
)
def test_date_counts_where_it_is_not_ignored(date: str | None, token: str) -> None:
    assert outcome(identity(), rules=STRICT_DATE, date=date) == token


# --- Caller and called ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"from_uri": "sip:+12155550122@gw"},
        {"from_uri": "sip:anonymous@anonymous.invalid"},
        {"from_uri": ""},
        {"from_uri": "tel:alice"},
        {"asserted": ("<tel:+12155550122>",)},
        {"asserted": ("<pres:bob@gw>",)},  # who asserts what nobody can read does not vouch for From
    ],
)
def test_caller_is_the_one_that_was_signed(changes: dict[str, Any]) -> None:
    assert outcome(identity(), **changes) == "orig_mismatch"


def test_two_that_name_nobody_are_not_the_same() -> None:
    assert outcome(identity(claims={"orig": {"tn": "alice"}}), from_uri="tel:alice") == "orig_mismatch"
    assert outcome(identity(claims={"orig": {"uri": "mailto:a@b"}}), from_uri="mailto:a@b") == "orig_mismatch"
    assert outcome(identity(claims={"dest": {"tn": ["alice"]}}), to_uri="tel:alice") == "dest_mismatch"


def test_anonymous_caller_is_known_by_the_asserted_identity() -> None:
    asserted = ('"x" <sip:bob@gw>, <tel:+1-215-555-0121>',)
    assert outcome(identity(), from_uri="sip:anonymous@anonymous.invalid", asserted=asserted) == ""


def test_asserted_identity_counts_only_if_so_chosen() -> None:
    rules = VerificationRules(orig_source="from")
    assert outcome(identity(), rules=rules, asserted=("<tel:+12155550122>",)) == ""


@pytest.mark.parametrize("to_uri", ["sip:+12155550132@gw", "sip:alice@gw", "", "tel:alice", "sip:+1215555013@gw"])
def test_called_number_is_among_those_that_were_signed(to_uri: str) -> None:
    assert outcome(identity(), to_uri=to_uri) == "dest_mismatch"


def test_called_number_may_be_the_request_uris() -> None:
    rules = VerificationRules(dest_source="request_uri")
    assert outcome(identity(), rules=rules, to_uri="sip:alice@gw") == ""
    assert outcome(identity(), rules=rules, request_uri="sip:alice@gw") == "dest_mismatch"


@pytest.mark.parametrize("position", range(3))
def test_any_of_several_called_numbers_will_do(position: int) -> None:
    numbers = ["12155550130", "12155550139"]
    numbers.insert(position, DEST)
    assert outcome(identity(claims={"dest": {"tn": numbers}})) == ""


def test_called_uri_is_compared_in_canonical_form() -> None:
    header = identity(claims={"dest": {"uri": ["sip:Alice@GW:5060;transport=tcp"]}})
    assert outcome(header, to_uri="sip:alice@gw") == ""
    assert outcome(header, to_uri="sips:alice@gw") == "dest_mismatch"


@pytest.mark.parametrize("from_uri", ["sip:bob@gw;user=ip", "sip:bob@gw", "sip:BOB@gw"])
@pytest.mark.parametrize("signed", ["sip:BOB@gw", "sip:bob@gw"])
def test_no_certificate_vouches_for_a_uri(signed: str, from_uri: str) -> None:
    """RFC 8226 9: a TNAuthList is about numbers."""
    header = identity(claims={"orig": {"uri": signed}})
    assert outcome(header, from_uri=from_uri) == "uri_not_authorized"
    assert outcome(header, from_uri="sip:alice@gw") == "orig_mismatch"
    assert verify(request(identity=(header,), from_uri=from_uri)).verstat == NOT_VALIDATED


def test_uri_that_is_a_number_is_that_number() -> None:
    header = identity(claims={"orig": {"uri": f"sip:+{ORIG}@gw;user=phone"}})
    assert outcome(header) == ""


@pytest.mark.parametrize("orig", ["alice", "1-800-FLOWERS", "+44(0)2071838750", "", "١٢", "²", "1" * 16])
def test_what_was_signed_as_a_number_and_is_none_matches_nothing(orig: str) -> None:
    assert outcome(identity(claims={"orig": {"tn": orig}})) == ("orig_mismatch" if orig else "claim_malformed")


def test_numbers_are_compared_as_they_are_dialled_here() -> None:
    rules = VerificationRules(plan=NumberPlan("1", "1", "011", 10))
    assert outcome(identity(), rules=rules, from_uri="sip:2155550121@gw", to_uri="sip:12155550131@gw") == ""
    assert outcome(identity(), from_uri="sip:2155550121@gw") == "orig_mismatch"


@pytest.mark.parametrize("orig", [ORIG[1:], f"1{ORIG[1:]}", "011" + ORIG, "215-555-0121", ORIG])
@pytest.mark.parametrize("dest", [DEST[1:], "(215) 555-0131", DEST])
def test_signed_numbers_may_be_as_they_are_dialled_here(orig: str, dest: str) -> None:
    header = identity(claims={"orig": {"tn": orig}, "dest": {"tn": [dest]}})
    assert outcome(header, rules=VerificationRules(plan=NumberPlan("1", "1", "011", 10))) == ""


def test_bare_digits_are_what_they_are_before_they_are_what_is_dialled_here() -> None:
    """Ten digits are a number of North America, or one of Singapore in canonical form."""
    header = identity(claims={"orig": {"tn": "6591234567"}})
    rules = VerificationRules(plan=NumberPlan("1", "1", "011", 10))
    assert outcome(header, rules=rules, from_uri="sip:+6591234567@gw") == ""
    assert outcome(header, from_uri="sip:+16591234567@gw") == "orig_mismatch"


def test_number_of_another_domain_is_not_the_global_one() -> None:
    """RFC 3966 5.1.5."""
    assert outcome(identity(), from_uri=f"tel:{ORIG};phone-context=pbx.example.com") == "orig_mismatch"
    assert outcome(identity(), to_uri=f"sip:{DEST};phone-context=pbx.example.com@gw;user=phone") == "dest_mismatch"
    assert outcome(identity(claims={"dest": {"tn": ["911"]}}), to_uri="tel:911;phone-context=ims.example.net") == ""


# --- Second step ------------------------------------------------------------------------------------------------


def test_credential_that_cannot_be_had() -> None:
    call = request(identity=(identity(),))
    verification = verify(call, found=failure("x5u_timeout"))
    assert (verification.token, verification.verstat) == ("x5u_timeout", NOT_VALIDATED)
    assert verification.verdict.passport is not None


def test_credential_that_is_not_trusted_is_failed() -> None:
    verification = verify(request(identity=(identity(),)), found=failure("credential_untrusted"))
    assert (verification.token, verification.verstat) == ("credential_untrusted", FAILED)


def test_signature_of_another_key() -> None:
    verification = verify(request(identity=(identity(key=ec.generate_private_key(ec.SECP256R1())),)))
    assert (verification.token, verification.verstat) == ("signature_invalid", FAILED)
    assert verification.verdict.credential is credential()


def test_signature_over_other_octets() -> None:
    digest = f"{HEAD}.{b64(to_json({**CLAIMS, 'attest': 'A', 'x': 1}))}.{SIGNATURE}"
    assert outcome(digest + PARAMETERS) == "signature_invalid"


@pytest.mark.parametrize("octets", [bytes(64), b"\xff" * 64, b"\x01", b"\x30\x44" + bytes(68), bytes(65)])
def test_signature_that_is_none(octets: bytes) -> None:
    assert outcome(f"{HEAD}.{BODY}.{b64(octets)}{PARAMETERS}") == "signature_invalid"


@pytest.mark.parametrize(
    ("not_before", "not_after", "token"),
    [
        (NOW - 10, NOW + 10, ""),
        (NOW, NOW + 1, ""),
        (NOW - 10, NOW, ""),
        (NOW - 10, NOW - 1, "credential_expired"),
        (NOW + 1, NOW + 10, "credential_not_yet_valid"),
    ],
)
def test_remembered_credential_is_valid_now(not_before: int, not_after: int, token: str) -> None:
    remembered = Credential(credential().public_key, credential().tnauthlist, not_before, not_after, "")
    assert verify(request(identity=(identity(),)), found=remembered).token == token


@pytest.mark.parametrize(("offset", "token"), [(-20, "credential_not_yet_valid"), (10, ""), (11, "credential_expired")])
def test_credential_was_valid_when_the_passport_was_signed(offset: int, token: str) -> None:
    remembered = Credential(credential().public_key, credential().tnauthlist, NOW - 10, NOW + 10, "")
    assert verify(request(identity=(identity(claims={"iat": NOW + offset}),)), found=remembered).token == token


@pytest.mark.parametrize(
    ("authority", "token"),
    [
        (TNAuthList(ranges=(TelephoneNumberRange("12155550000", 200),)), ""),
        (TNAuthList(numbers=(ORIG,)), ""),
        (TNAuthList(ranges=(TelephoneNumberRange("12155550000", 100),)), "tn_not_authorized"),
        (TNAuthList(numbers=(DEST,)), "tn_not_authorized"),
        (TNAuthList(("9999",), numbers=(DEST,)), ""),
    ],
)
def test_delegate_certificate_covers_the_caller(authority: TNAuthList, token: str) -> None:
    delegate, issued = credential_for(authority)
    verification = verify(request(identity=(identity(key=issued.key),)), found=delegate)
    assert verification.token == token
    assert verification.verstat == (FAILED if token else PASSED)


def test_delegate_certificate_covers_the_canonical_number_not_the_spelling() -> None:
    delegate, issued = credential_for(TNAuthList(numbers=(ORIG,)))
    header = identity(claims={"orig": {"tn": "+1-215-555-0121"}}, key=issued.key)
    assert verify(request(identity=(header,)), found=delegate).valid


# --- Anything ---------------------------------------------------------------------------------------------------


def test_one_flipped_character_anywhere_is_never_valid_again() -> None:
    header = identity()
    digest = header.partition(";")[0]
    generator = random.Random(8224)
    for position in range(len(digest)):
        character = generator.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \x00\u00e9")
        if character != header[position] and character != " ":
            assert not verify(request(identity=(header[:position] + character + header[position + 1 :],))).valid


@pytest.mark.parametrize(
    "piece", ["A", ".", "<", '"', '\\"', ",", ";", " ", "\n", "\r\n ", "\x00", "é", "\ud800", "a.b.c;info=<x>,"]
)
def test_any_text_ends_in_a_verdict_in_bounded_time(piece: str) -> None:
    text = (piece * 16_000)[:16_000]
    began = perf_counter()
    for header in (text, identity() + text, GOOD + ";info=" + text, text + identity()):
        call = request(identity=(header,) * 4, from_uri=f"sip:{text}@x", to_uri=text, asserted=(text,), date=text)
        assert not verify(call).valid
    assert perf_counter() - began < 1
