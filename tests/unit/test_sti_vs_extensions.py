"""Verification of calls with div, rph and rcd PASSporTs: what decides, what is told, and what is asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from base64 import b64encode
from time import perf_counter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kamailio_app import sti_vs
from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILED, NOT_VALIDATED, PASSED, StirError, failure
from kamailio_app.passport.rcd import RichCallData
from kamailio_app.sip import Request
from kamailio_app.sti_vs import VerificationRules, conclude, examine, replay_keys
from kamailio_app.tn import NumberPlan
from kamailio_app.verdict import Verification

from .builders import ABSENT, DEST, NOW, ORIG, X5U, credential, credential_for, identity, request

DEFAULT = VerificationRules(rph_signers=frozenset({"1234"}))
SECOND, THIRD = "12155550140", "12155550150"
STRANGER = ec.generate_private_key(ec.SECP256R1())
Found = dict[str, Credential | StirError]


def url(name: str) -> str:
    return f"https://{name}.example.test/chain.pem"


def extension(ppt: str, claims: dict[str, Any], key: Any = None, *, x5u: str = X5U, parameters: str = "") -> str:
    """An Identity value of another type; orig, dest and iat are right."""
    own = {"attest": ABSENT, "origid": ABSENT, **claims}
    return identity({"ppt": ppt, "x5u": x5u}, own, key, parameters=parameters or f";info=<{x5u}>;alg=ES256;ppt={ppt}")


def div(by: str, to: str | list[str], key: Any = None, *, x5u: str = X5U, **claims: Any) -> str:
    dest = [to] if isinstance(to, str) else to
    return extension("div", {"div": {"tn": by}, "dest": {"tn": dest}, **claims}, key, x5u=x5u)


def rph(*auth: str, key: Any = None, x5u: str = X5U, **claims: Any) -> str:
    return extension("rph", {"rph": {"auth": list(auth)}, **claims}, key, x5u=x5u)


def rcd(key: Any = None, *, x5u: str = X5U, **claims: Any) -> str:
    return extension("rcd", {"rcd": {"nam": "Alice"}, **claims}, key, x5u=x5u)


def verify(
    *headers: str, found: Found | None = None, rules: VerificationRules = DEFAULT, now: float = NOW, **changes: Any
) -> Verification:
    call = request(identity=headers, **changes)
    examination = examine(call, rules, now=now)
    credentials: Found = {needed: (found or {}).get(needed, credential()) for needed in examination.needed}
    return conclude(examination, credentials, now=now)


def tokens(verification: Verification) -> list[str]:
    return [verdict.error.token if verdict.error else "" for verdict in verification.verdicts]


def to(number: str) -> dict[str, Any]:
    """The call is for this number now, in To and Request-URI."""
    return {"to_uri": f"sip:+{number}@gw", "request_uri": f"sip:+{number}@gw"}


def needed(*headers: str, rules: VerificationRules = DEFAULT, **changes: Any) -> tuple[str, ...]:
    return examine(request(identity=headers, **changes), rules, now=NOW).needed


# --- Diversion --------------------------------------------------------------------------------------------------


def test_diverted_call_is_valid_by_its_chain() -> None:
    verification = verify(identity(), div(DEST, SECOND), **to(SECOND))
    assert (verification.token, verification.verstat) == ("", PASSED)
    assert verification.diversions == (DEST,)
    assert tokens(verification) == ["", ""]
    assert verification.verdict is verification.verdicts[0]
    assert verification.verdict.passport is not None
    assert verification.verdicts[1].extension is not None
    assert (verification.verdicts[0].ppt, verification.verdicts[1].ppt) == ("shaken", "div")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_order_of_the_headers_says_nothing(order: tuple[int, ...]) -> None:
    headers = (identity(), div(DEST, SECOND), div(SECOND, THIRD))
    verification = verify(*[headers[number] for number in order], **to(THIRD))
    assert verification.valid
    assert verification.diversions == (DEST, SECOND)


def test_values_that_a_stack_merged_with_commas_are_a_chain_too() -> None:
    assert verify(f"{div(DEST, SECOND)}, {identity()}", **to(SECOND)).valid


@pytest.mark.parametrize(
    "changes",
    [
        {"request_uri": f"sip:+{SECOND}@gw", "to_uri": "sip:+12155550777@gw"},
        {"request_uri": "sip:edge.example.net", "to_uri": f"sip:+{SECOND}@gw"},
        {"request_uri": "sip:+12155550777@gw", "to_uri": f"sip:+{SECOND}@gw"},
    ],
)
def test_chain_leads_to_the_request_uri_or_to_whom_to_names(changes: dict[str, Any]) -> None:
    assert verify(identity(), div(DEST, SECOND), **changes).diversions == (DEST,)


def test_chain_that_leads_elsewhere() -> None:
    verification = verify(identity(), div(DEST, SECOND), **to(THIRD))
    assert (verification.token, verification.verstat) == ("div_mismatch", NOT_VALIDATED)
    assert tokens(verification) == ["div_mismatch", "div_mismatch"]
    assert verification.diversions == ()


def test_without_any_diversion_it_is_the_destination_that_is_wrong() -> None:
    assert verify(identity(), **to(SECOND)).token == "dest_mismatch"
    assert verify(identity(), rcd(), **to(SECOND)).token == "dest_mismatch"


@pytest.mark.parametrize(
    "headers",
    [
        (div("12155550999", SECOND),),
        (div(DEST, THIRD), div(DEST, "12155550777")),
        (div(SECOND, DEST),),
        (div(SECOND, SECOND),),
        (div(DEST, THIRD), div(THIRD, DEST)),
        (extension("div", {"div": {"tn": "alice"}, "dest": {"tn": [SECOND]}}),),
    ],
)
def test_nothing_is_asked_for_what_cannot_link(headers: tuple[str, ...]) -> None:
    assert needed(identity(), *headers, **to(SECOND)) == ()
    verification = verify(identity(), *headers, **to(SECOND))
    assert tokens(verification) == ["div_mismatch"] * (len(headers) + 1)


def test_request_uri_that_is_signed_is_not_enough_where_to_counts() -> None:
    headers = (identity(), div(DEST, SECOND), div(SECOND, DEST))
    assert verify(*headers, to_uri=f"sip:+{THIRD}@gw").token == "div_mismatch"
    assert needed(*headers, to_uri=f"sip:+{THIRD}@gw") == ()


def test_loop_on_the_way_does_no_harm() -> None:
    headers = (identity(), div(DEST, SECOND), div(SECOND, DEST), div(SECOND, SECOND), div(SECOND, THIRD))
    verification = verify(*headers, **to(THIRD))
    assert verification.diversions == (DEST, SECOND)
    assert tokens(verification) == [""] * 5


def test_ten_headers_are_a_chain_of_nine_diversions() -> None:
    numbers = [DEST, *(f"1215555{number:04}" for number in range(200, 209))]
    links = [div(by, target) for by, target in itertools.pairwise(numbers)]
    verification = verify(*reversed(links), identity(), **to(numbers[-1]))
    assert verification.diversions == tuple(numbers[:-1])


def test_one_diversion_serves_several_passports() -> None:
    verification = verify(identity(), identity(claims={"origid": "x"}), rcd(), div(DEST, SECOND), **to(SECOND))
    assert tokens(verification) == [""] * 4
    assert verification.rcd == RichCallData(nam="Alice")


def test_diversion_that_does_not_count_is_told_where_it_leads_on() -> None:
    """To is what was signed, as the standard has it; the Request-URI is where the diversion leads."""
    changes: dict[str, Any] = {"request_uri": f"sip:+{SECOND}@gw"}
    verification = verify(identity(), div(DEST, SECOND), **changes)
    assert (verification.token, verification.diversions) == ("", (DEST,))
    broken = verify(identity(), div(DEST, SECOND, STRANGER), **changes)
    assert (broken.token, broken.diversions) == ("", ())
    assert tokens(broken) == ["", "signature_invalid"]


def test_diversion_of_a_call_that_was_not_diverted_is_not_asked_for() -> None:
    headers = (identity(), div(DEST, SECOND, x5u=url("div")))
    assert needed(*headers) == (X5U,)
    verification = verify(*headers)
    assert (verification.token, verification.diversions) == ("", ())
    assert tokens(verification) == ["", "div_mismatch"]
    assert needed(*headers, request_uri="sip:edge.example.net") == (X5U,)
    assert needed(*headers, request_uri="") == (X5U,)


@pytest.mark.parametrize(
    ("error", "verstat"),
    [("x5u_timeout", NOT_VALIDATED), ("credential_untrusted", FAILED), ("credential_expired", FAILED)],
)
def test_failed_diversion_is_why_the_call_is_not_valid(error: str, verstat: str) -> None:
    broken = div(SECOND, THIRD, x5u=url("b"))
    verification = verify(identity(), div(DEST, SECOND), broken, found={url("b"): failure(error)}, **to(THIRD))
    assert (verification.token, verification.verstat) == (error, verstat)
    assert tokens(verification) == ["div_mismatch", "", error]
    assert verification.verdict.passport is verification.verdicts[0].passport
    assert verification.verdict.passport is not None
    assert verification.verdict not in verification.verdicts


def test_of_several_failed_diversions_the_one_that_goes_before() -> None:
    headers = (identity(), div(DEST, SECOND, x5u=url("a")), div(SECOND, THIRD, x5u=url("b")))
    found: Found = {url("a"): failure("x5u_timeout"), url("b"): failure("credential_untrusted")}
    assert verify(*headers, found=found, **to(THIRD)).token == "credential_untrusted"


def test_another_way_round_a_failed_diversion_will_do() -> None:
    verification = verify(identity(), div(DEST, SECOND, STRANGER), div(DEST, SECOND), **to(SECOND))
    assert (verification.token, verification.diversions) == ("", (DEST,))
    assert tokens(verification) == ["", "signature_invalid", ""]


def test_chain_of_a_bad_passport_makes_no_call_valid() -> None:
    verification = verify(identity(key=STRANGER), div(DEST, SECOND), **to(SECOND))
    assert (verification.token, verification.verstat) == ("signature_invalid", FAILED)
    assert tokens(verification) == ["signature_invalid", ""]


def test_diversions_alone_say_nothing() -> None:
    verification = verify(div(DEST, SECOND), **to(SECOND))
    assert (verification.token, verification.verstat) == ("ppt_unsupported", NOT_VALIDATED)
    assert tokens(verification) == ["div_mismatch"]


@pytest.mark.parametrize(
    ("claims", "token"),
    [
        ({"orig": {"tn": "12155550999"}}, "orig_mismatch"),
        ({"iat": NOW - 61}, "iat_stale"),
        ({"iat": NOW + 61}, "iat_in_future"),
        ({"opt": "x"}, "claim_malformed"),
        ({"dest": {"tn": SECOND}}, "claim_malformed"),
        ({"div": ABSENT}, "claim_missing"),
    ],
)
def test_diversion_with_a_fault_of_its_own_links_nothing(claims: dict[str, Any], token: str) -> None:
    header = extension("div", {"div": {"tn": DEST}, "dest": {"tn": [SECOND]}, **claims}, x5u=url("div"))
    verification = verify(identity(), header, **to(SECOND))
    assert tokens(verification) == ["div_mismatch", token]
    assert needed(identity(), header, **to(SECOND)) == ()


def test_credential_of_a_diversion_covers_who_diverted_not_the_caller() -> None:
    own, issued = credential_for(TNAuthList(numbers=(DEST,)))
    other, stranger = credential_for(TNAuthList(numbers=(ORIG,)))
    header = div(DEST, SECOND, issued.key, x5u=url("d"))
    assert verify(identity(), header, found={url("d"): own}, **to(SECOND)).valid
    header = div(DEST, SECOND, stranger.key, x5u=url("d"))
    verification = verify(identity(), header, found={url("d"): other}, **to(SECOND))
    assert (verification.token, verification.verstat) == ("tn_not_authorized", FAILED)


def test_numbers_of_a_chain_are_compared_in_canonical_form() -> None:
    header = div(f"+1-215-555-{DEST[-4:]}", [f"+{SECOND}"], orig={"tn": f"+{ORIG}"})
    rules = VerificationRules(plan=NumberPlan("1", "1", "011", 10))
    verification = verify(identity(), header, rules=rules, **to(SECOND))
    assert (verification.token, verification.diversions) == ("", (DEST,))


def test_number_may_be_diverted_to_a_uri_and_no_uri_to_anything() -> None:
    """RFC 8226 9: who diverts signs, and certificates speak for numbers alone."""
    to_uri = extension("div", {"div": {"tn": DEST}, "dest": {"uri": ["sip:Bob@GW:5060"]}})
    by_uri = extension("div", {"div": {"uri": "sip:bob@gw"}, "dest": {"tn": [THIRD]}}, x5u=url("d"))
    assert verify(identity(), to_uri, to_uri="sip:bob@gw", request_uri="sip:bob@gw").diversions == (DEST,)
    verification = verify(identity(), to_uri, by_uri, **to(THIRD))
    assert tokens(verification) == ["div_mismatch", "div_mismatch", "uri_not_authorized"]
    assert needed(identity(), to_uri, by_uri, **to(THIRD)) == ()


@pytest.mark.parametrize("header", [rcd(orig={"uri": "sip:bob@gw"}), rph("ets.0", orig={"uri": "sip:bob@gw"})])
def test_nobody_says_anything_of_a_caller_who_is_a_uri(header: str) -> None:
    verification = verify(header, from_uri="sip:bob@gw", resource_priority=("ets.0",))
    assert tokens(verification) == ["uri_not_authorized"]
    assert needed(header, from_uri="sip:bob@gw", resource_priority=("ets.0",)) == ()


NANP = VerificationRules(plan=NumberPlan("1", "1", "011", 10))


@pytest.mark.parametrize("div_by", [DEST, DEST[1:], f"+{DEST}", "215-555-0131"])
@pytest.mark.parametrize("signed", [DEST, DEST[1:], "215-555-0131"])
def test_bare_digits_of_a_chain_may_be_as_they_are_dialled_here(div_by: str, signed: str) -> None:
    verification = verify(identity(claims={"dest": {"tn": [signed]}}), div(div_by, SECOND[1:]), rules=NANP, **to(SECOND))
    assert verification.token == ""
    assert len(verification.diversions) == 1


def test_called_number_may_be_the_request_uris() -> None:
    rules = VerificationRules(dest_source="request_uri")
    verification = verify(identity(), div(DEST, SECOND), rules=rules, request_uri=f"sip:+{SECOND}@gw")
    assert (verification.token, verification.diversions) == ("", (DEST,))


def test_second_shaken_passport_may_be_the_one_that_counts() -> None:
    later = identity(claims={"dest": {"tn": [SECOND]}, "origid": "later"})
    verification = verify(identity(), later, div("12155550999", THIRD), **to(SECOND))
    assert verification.verdict is verification.verdicts[1]
    assert tokens(verification) == ["div_mismatch", "", "div_mismatch"]


# --- Which credentials are asked for, and in which order ---------------------------------------------------------


def test_shaken_is_asked_for_first_then_the_chain_then_priority_then_rich_call_data() -> None:
    headers = (
        rcd(x5u=url("rcd")),
        rph("ets.0", x5u=url("rph")),
        div(SECOND, THIRD, x5u=url("b")),
        identity({"x5u": url("s")}, parameters=f";info=<{url('s')}>"),
        div(DEST, SECOND, x5u=url("a")),
    )
    order = needed(*headers, resource_priority=("ets.0",), **to(THIRD))
    assert order[0] == url("s")
    assert set(order[1:3]) == {url("a"), url("b")}
    assert order[3:] == (url("rph"), url("rcd"))


def test_each_url_is_asked_for_once() -> None:
    assert needed(identity(), div(DEST, SECOND), rcd(), **to(SECOND)) == (X5U,)


def test_type_is_the_passports_where_the_header_is_silent() -> None:
    claims = {"div": {"tn": DEST}, "dest": {"tn": [SECOND]}}
    assert verify(identity(), extension("div", claims, parameters=f";info=<{X5U}>"), **to(SECOND)).valid


@pytest.mark.parametrize("ppt", ["div", "rph", "rcd"])
def test_header_that_says_one_type_holds_no_other(ppt: str) -> None:
    verification = verify(identity(), identity(parameters=f";info=<{X5U}>;ppt={ppt}"))
    assert tokens(verification) == ["", "ppt_mismatch"]
    assert verification.verdicts[1].ppt == ppt


@pytest.mark.parametrize("ppt", ["div", "rph", "rcd"])
def test_compact_form_is_of_no_use(ppt: str) -> None:
    verification = verify(identity(), f"..c2ln;info=<{X5U}>;ppt={ppt}")
    assert tokens(verification) == ["", "compact_form_unsupported"]
    assert verification.verdicts[1].compact == ""


@pytest.mark.parametrize("ppt", ["div", "rph", "rcd"])
@pytest.mark.parametrize(
    ("parameters", "token"),
    [
        (f";info=<{X5U}x>", "info_mismatch"),
        (f";info=<{X5U}>;alg=ES384", "alg_mismatch"),
        (";info=<http://a.example/>", "info_mismatch"),
        (";info=token", "info_malformed"),
        (";alg=ES256", "info_missing"),
    ],
)
def test_failed_header_that_does_not_say_its_type_is_what_its_passport_says(ppt: str, parameters: str, token: str) -> None:
    header = extension(ppt, {"div": {"tn": DEST}, "rph": {"auth": ["ets.0"]}, "crn": "x"}, parameters=parameters)
    stale = identity(claims={"iat": NOW - 61})
    for headers in ((stale, header), (header, stale)):
        verification = verify(*headers)
        assert verification.token == "iat_stale"
        assert {verdict.error and verdict.error.token: verdict.ppt for verdict in verification.verdicts} == {
            "iat_stale": "shaken",
            token: ppt,
        }
    assert verify(header).token == "ppt_unsupported"


@pytest.mark.parametrize("jose", [{"ppt": ABSENT}, {"ppt": 1}, {"ppt": "shaken"}, {"ppt": "foo"}, {"pad": "x" * 4000}])
def test_failed_header_that_says_no_type_counts_as_shaken(jose: dict[str, Any]) -> None:
    header = identity({"ppt": "div", **jose}, parameters=";info=token")
    assert [(verdict.ppt, verdict.error and verdict.error.token) for verdict in verify(header).verdicts] == [
        ("shaken", "info_malformed")
    ]


def test_div_o_is_ignored() -> None:
    header = extension("div-o", {"div": {"tn": DEST}, "dest": {"tn": [SECOND]}, "opt": "x"})
    assert tokens(verify(identity(), header)) == ["", "ppt_unsupported"]
    assert verify(identity(), header, **to(SECOND)).token == "dest_mismatch"


# --- Resource priority ------------------------------------------------------------------------------------------


def test_signed_priority_is_told() -> None:
    verification = verify(identity(), rph("ets.0", "WPS.0"), resource_priority=("ets.0", "wps.0"))
    assert (verification.token, verification.rph, verification.rph_error) == ("", ("ets.0", "wps.0"), None)


def test_priority_does_not_need_a_valid_caller() -> None:
    verification = verify(rph("ets.0"), resource_priority=("ets.0",))
    assert (verification.token, verification.rph, verification.rph_error) == ("ppt_unsupported", ("ets.0",), None)
    assert verification.verstat == NOT_VALIDATED


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (rph("ets.1"), "rph_mismatch"),
        (rph("ets.0", key=STRANGER), "signature_invalid"),
        (rph("ets.0", iat=NOW - 61), "iat_stale"),
        (rph("ets.0", orig={"tn": "12155550999"}), "orig_mismatch"),
        (rph("ets.0", dest={"tn": ["12155550999"]}), "dest_mismatch"),
        (rph(), "claim_malformed"),
    ],
)
def test_failed_priority_costs_no_call(header: str, token: str) -> None:
    verification = verify(identity(), header, resource_priority=("ets.0",))
    assert (verification.token, verification.verstat) == ("", PASSED)
    assert (verification.rph, verification.rph_error and verification.rph_error.token) == ((), token)


def test_failed_priority_is_no_failed_validation() -> None:
    stale = identity(claims={"iat": NOW - 61})
    verification = verify(stale, rph("ets.0", key=STRANGER), rcd(STRANGER), resource_priority=("ets.0",))
    assert (verification.token, verification.verstat) == ("iat_stale", NOT_VALIDATED)
    assert [error.token for error in verification.failures] == ["iat_stale", "iat_stale"]


def test_priority_that_nobody_signed_counts_as_absent() -> None:
    verification = verify(identity(), rph("ets.0"), resource_priority=("ets.0, wps.0",))
    assert verification.rph == ("ets.0",)
    assert verification.rph_error is not None
    assert verification.rph_error.token == "rph_mismatch"
    both = verify(identity(), rph("ets.0"), rph("wps.0"), rph("wps.0", key=STRANGER), resource_priority=("ets.0, wps.0",))
    assert (both.rph, both.rph_error) == (("ets.0", "wps.0"), None)


def test_mismatched_priority_is_not_asked_for() -> None:
    assert needed(identity(), rph("ets.0", x5u=url("rph"))) == (X5U,)


@pytest.mark.parametrize("signers", [frozenset[str](), frozenset({"5678", "4321"})])
def test_priority_is_signed_by_those_who_may(signers: frozenset[str]) -> None:
    rules = VerificationRules(rph_signers=signers)
    header = rph("ets.0", x5u=url("rph"))
    verification = verify(identity(), header, rules=rules, resource_priority=("ets.0",))
    assert (verification.token, verification.rph) == ("", ())
    assert tokens(verification) == ["", "rph_not_authorized"]
    assert verification.rph_error is verification.verdicts[1].error
    # Where nobody may, nothing is fetched
    assert (url("rph") in needed(identity(), header, rules=rules, resource_priority=("ets.0",))) is bool(signers)


def test_delegate_of_numbers_is_nobody_who_may_sign_priority() -> None:
    delegate, issued = credential_for(TNAuthList(numbers=(ORIG,)))
    header = rph("ets.0", key=issued.key, x5u=url("rph"))
    verification = verify(header, found={url("rph"): delegate}, resource_priority=("ets.0",))
    assert tokens(verification) == ["rph_not_authorized"]


def test_forged_priority_is_not_said_to_be_of_the_wrong_signer() -> None:
    rules = VerificationRules(rph_signers=frozenset({"5678"}))
    assert tokens(verify(rph("ets.0", key=STRANGER), rules=rules, resource_priority=("ets.0",))) == ["signature_invalid"]


def test_callback_is_what_priority_says() -> None:
    header = rph("esnet.0", sph="psap-callback")
    assert verify(header, resource_priority=("esnet.0",), priority="psap-callback").rph == ("esnet.0",)
    assert tokens(verify(header, resource_priority=("esnet.0",))) == ["rph_mismatch"]


def test_priority_of_a_diverted_call_follows_its_chain() -> None:
    verification = verify(identity(), div(DEST, SECOND), rph("ets.0"), resource_priority=("ets.0",), **to(SECOND))
    assert (verification.token, verification.rph) == ("", ("ets.0",))
    broken = verify(identity(), div(DEST, SECOND, STRANGER), rph("ets.0"), resource_priority=("ets.0",), **to(SECOND))
    assert tokens(broken) == ["div_mismatch", "signature_invalid", "div_mismatch"]
    assert broken.rph == ()


# --- Rich call data ---------------------------------------------------------------------------------------------


def test_rich_call_data_of_a_passport_of_its_own() -> None:
    verification = verify(identity(), rcd(crn="Delivery"))
    assert (verification.rcd, verification.rcd_error) == (RichCallData(nam="Alice", crn="Delivery"), None)


def test_rich_call_data_in_the_shaken_passport() -> None:
    verification = verify(identity(claims={"rcd": {"nam": "Bob"}, "crn": "Test"}))
    assert verification.rcd == RichCallData(nam="Bob", crn="Test")
    assert verify(identity(claims={"other": 1})).rcd is None


def test_who_attests_is_believed_before_others() -> None:
    verification = verify(rcd(), identity(claims={"rcd": {"nam": "Bob"}}))
    assert verification.rcd == RichCallData(nam="Bob")


@pytest.mark.parametrize(
    ("claims", "token"),
    [
        ({"rcd": {"nam": "Bob"}, "rcdi": {"/nam": "sha256-AAAA"}}, "rcd_digest_mismatch"),
        ({"rcd": "Bob"}, "claim_malformed"),
        ({"rcd": {}}, "claim_missing"),
        ({"crn": 1}, "claim_malformed"),
    ],
)
def test_bad_rich_call_data_costs_no_call(claims: dict[str, Any], token: str) -> None:
    verification = verify(identity(claims=claims))
    assert (verification.token, verification.rcd) == ("", None)
    assert verification.rcd_error is not None
    assert verification.rcd_error.token == token


@pytest.mark.parametrize(
    ("rcdi", "token", "asked"),
    [({"/nam": "sha256-AAAA"}, "rcd_digest_mismatch", True), ({"nam": "sha256-AAAA"}, "claim_malformed", False)],
)
def test_bad_rich_call_data_of_a_passport_of_its_own_costs_no_call(rcdi: object, token: str, asked: bool) -> None:
    header = rcd(x5u=url("rcd"), rcdi=rcdi)
    assert needed(identity(), header) == ((X5U, url("rcd")) if asked else (X5U,))
    verification = verify(identity(), header)
    assert (verification.token, verification.rcd) == ("", None)
    assert tokens(verification) == ["", token]
    assert verification.rcd_error is verification.verdicts[1].error


def test_digests_that_are_left_are_of_what_a_uri_leads_to() -> None:
    data = {"nam": "Q", "icn": "https://a.example/i.png"}
    name = f"sha256-{b64encode(hashlib.sha256(b'Q').digest()).decode()}"
    rcdi = {"/nam": name, "/icn": "sha256-AAAA"}
    for verification in (verify(identity(), rcd(rcd=data, rcdi=rcdi)), verify(identity(claims={"rcd": data, "rcdi": rcdi}))):
        assert verification.rcd == RichCallData(nam="Q", icn=data["icn"], digests=(("/icn", "sha256-AAAA"),))


def test_second_rich_call_data_will_do() -> None:
    verification = verify(identity(), rcd(STRANGER), rcd(rcd={"nam": "Carol"}))
    assert (verification.rcd, verification.rcd_error) == (RichCallData(nam="Carol"), None)


@pytest.mark.parametrize("shaken", [identity(key=STRANGER), identity(claims={"iat": NOW - 61})])
def test_no_name_is_shown_for_a_caller_who_is_not_verified(shaken: str) -> None:
    verification = verify(shaken, rcd())
    assert not verification.valid
    assert verification.rcd is None
    assert verification.verdicts[1].valid
    assert verify(identity(key=STRANGER, claims={"rcd": {"nam": "Bob"}})).rcd is None


def test_rich_call_data_alone_says_nothing_of_the_caller() -> None:
    verification = verify(rcd())
    assert (verification.token, verification.rcd, tokens(verification)) == ("ppt_unsupported", None, [""])


# --- JWTClaimConstraints ----------------------------------------------------------------------------------------


def constrained(**constraints: Any) -> Credential:
    return dataclasses.replace(credential(), constraints=ClaimConstraints(**constraints))


@pytest.mark.parametrize(
    ("constraints", "claims", "token"),
    [
        ({"must_include": frozenset({"attest", "origid"})}, {}, ""),
        ({"must_include": frozenset({"rcd"})}, {}, "claim_not_permitted"),
        ({"must_include": frozenset({"rcd"})}, {"rcd": {"nam": "Bob"}}, ""),
        ({"must_exclude": frozenset({"crn"})}, {}, ""),
        ({"must_exclude": frozenset({"crn"})}, {"crn": "x"}, "claim_not_permitted"),
        ({"permitted": (("attest", frozenset({"A"})),)}, {}, ""),
        ({"permitted": (("attest", frozenset({"B", "C"})),)}, {}, "claim_not_permitted"),
    ],
)
def test_certificate_constrains_the_claims(constraints: dict[str, Any], claims: dict[str, Any], token: str) -> None:
    verification = verify(identity(claims=claims), found={X5U: constrained(**constraints)})
    assert verification.token == token
    assert verification.verstat == (FAILED if token else PASSED)


def test_constraints_hold_for_other_types_too() -> None:
    found: Found = {url("d"): constrained(must_exclude=frozenset({"div"}))}
    verification = verify(identity(), div(DEST, SECOND, x5u=url("d")), found=found, **to(SECOND))
    assert verification.token == "claim_not_permitted"


# --- Replay -----------------------------------------------------------------------------------------------------


def keys_of(*headers: str, **changes: Any) -> tuple[str, ...]:
    return replay_keys(verify(*headers, **changes))


def test_replayed_passport_has_the_same_key_whatever_its_parameters_and_certificate() -> None:
    header = identity()
    (first,) = keys_of(header)
    assert len(first) == 32
    assert keys_of(header.replace(";alg=ES256", "")) == (first,)
    assert keys_of(header, found={X5U: dataclasses.replace(credential(), fingerprint="renewed")}) == (first,)


def test_replayed_passport_has_the_same_key_whatever_its_signature() -> None:
    """ES256 signs the same octets otherwise each time, and anybody can turn (r, s) into (r, n-s)."""
    one, two = identity(), identity()
    assert one != two
    assert keys_of(one) == keys_of(two)


@pytest.mark.parametrize(
    "claims",
    [{"origid": "x"}, {"iat": NOW - 1}, {"dest": {"tn": [DEST, SECOND]}}, {"attest": "B"}, {"rcd": {"nam": "Q"}}, {"x": 1}],
)
def test_other_passport_has_another_key(claims: dict[str, Any]) -> None:
    assert set(keys_of(identity(claims=claims))).isdisjoint(keys_of(identity()))


def test_every_valid_shaken_passport_has_a_key_wherever_it_stands() -> None:
    one, two = identity(), identity(claims={"origid": "x"})
    stale, others = identity(claims={"iat": NOW - 61}), (rcd(), div(DEST, SECOND))
    for headers in itertools.permutations((one, two, stale, *others)):
        assert set(keys_of(*headers)) == {*keys_of(one), *keys_of(two)}


def test_only_a_valid_shaken_passport_has_a_key() -> None:
    assert keys_of(identity(key=STRANGER)) == ()
    assert keys_of() == ()
    assert keys_of(rcd()) == ()
    assert keys_of(identity(), div(DEST, SECOND, STRANGER), **to(SECOND)) == ()


def test_key_of_text_that_no_encoding_has() -> None:
    assert len(keys_of(identity(claims={"origid": "\ud800"}))) == 1


# --- Anything ---------------------------------------------------------------------------------------------------


def test_largest_chain_of_largest_headers_takes_bounded_time() -> None:
    many = [f"+1215556{number:04}" for number in range(99)]
    headers = [identity(claims={"dest": {"tn": many}}), *(div(many[0], [*many, THIRD]) for _ in range(9))]
    began = perf_counter()
    verification = verify(*headers, **to(THIRD))
    assert verification.valid
    assert perf_counter() - began < 1


def test_headers_of_more_parties_than_anybody_calls_cost_nothing() -> None:
    """10 headers of 640 URIs: 34 ms, were each put into canonical form."""
    many = {"uri": [f"sip:u{number}@gw" for number in range(640)]}
    headers = [identity(claims={"dest": many}), *(extension("div", {"div": {"tn": DEST}, "dest": many}) for _ in range(9))]
    assert tokens(verify(*headers)) == ["claim_malformed"] * 10


def test_digests_are_not_computed_before_the_signature_is_known_to_be_good(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def look(data: RichCallData, _members: object) -> RichCallData:
        looked_at.append(data.nam)
        return data

    monkeypatch.setattr(sti_vs, "check_digests", look)
    verify(identity(), rcd(STRANGER, rcd={"nam": "forged"}), rcd(iat=NOW - 61, rcd={"nam": "stale"}), rcd(rcd={"nam": "good"}))
    assert looked_at == ["good"]


def test_ppi_is_of_every_passport_that_could_be_read() -> None:
    stale = identity(claims={"iat": NOW - 61})
    verification = verify(stale, rcd(STRANGER), "garbage")
    signatures = [header.partition(";")[0].rpartition(".")[2] for header in (stale, rcd(STRANGER))]
    assert verification.verdicts[0].compact == f"..{signatures[0]}"
    assert verification.verdicts[1].compact.startswith("..")
    assert verification.verdicts[2].compact == ""


def test_request_knows_priority_only_if_told() -> None:
    call = Request("INVITE", "sip:a", "sip:b", "sip:c")
    assert (call.resource_priority, call.priority) == ((), None)
