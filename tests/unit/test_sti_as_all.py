"""The authentication service, whatever is wanted: what goes into the request, and that our own verification accepts it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kamailio_app import sti_as, sti_vs
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import PASSED
from kamailio_app.passport import es256
from kamailio_app.passport.claims import Attestation
from kamailio_app.passport.encoding import from_base64url
from kamailio_app.passport.rcd import RichCallData
from kamailio_app.sip import Party, Request, format_date
from kamailio_app.sti_as import SignedCall, SigningRules, Wanted, own_reason, sign_all
from kamailio_app.tn import NumberPlan
from kamailio_app.verdict import Verification

from .builders import (
    ABSENT,
    DATE,
    DEST,
    NOW,
    ORIG,
    ORIGID,
    X5U,
    b64,
    credential,
    identity,
    provider,
    refused,
    request,
    signer,
    to_json,
)
from .builders import passport as token

SIGNER = signer()
DEFAULT = SigningRules()
SECOND, THIRD, OTHER = "12155550140", "12155550150", "12155550999"
GARBAGE = "not an identity at all"
NO_CLAIM = identity(claims={"origid": ABSENT})
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def tn(number: str) -> Party:
    return Party("tn", number)


def uri(number: str) -> str:
    return f"sip:+{number}@term.example.net;user=phone"


def wants(**changes: Any) -> Wanted:
    return Wanted(**{"attest": Attestation.FULL, **changes})


def signs(
    wanted: Wanted | None = None, rules: SigningRules = DEFAULT, by: sti_as.Signer = SIGNER, now: float = NOW, **changes: Any
) -> SignedCall:
    return sign_all(request(**changes), wanted or wants(), by, rules, now=now, origid=ORIGID)


def sent(made: SignedCall, call: Request) -> Request:
    """The request as it goes on."""
    before = call.identity if made.keep is None else made.keep
    return call._replace(identity=(*before, *made.identities), date=made.date or call.date)


def verified(made: SignedCall, rules: sti_vs.VerificationRules | None = None, **changes: Any) -> Verification:
    """What our own verification service says of it. `changes` are those of the request that was signed."""
    examination = sti_vs.examine(sent(made, request(**changes)), rules or sti_vs.VerificationRules(), now=NOW)
    return sti_vs.conclude(examination, dict.fromkeys(examination.needed, credential()), now=NOW)


def read(value: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """JOSE header and claims."""
    header, payload, _ = value.partition(";")[0].split(".")
    return json.loads(from_base64url(header)), json.loads(from_base64url(payload))


def types(made: SignedCall) -> list[str]:
    return [value.rpartition(";ppt=")[2] for value in made.identities]


def tokens(made: SignedCall) -> list[str]:
    return [error.token for error in made.refused]


def links(made: SignedCall) -> list[tuple[str, str]]:
    return [(one.div.value, one.dest[0].value) for one in made.diversions]


# --- The ordinary call ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [wants(), wants(div=True), wants(identity="replace", drop_malformed=True)])
def test_ordinary_call_gets_one_shaken_header(wanted: Wanted) -> None:
    made = signs(wanted)
    alone = sti_as.sign(request(), Attestation.FULL, SIGNER, now=NOW, origid=ORIGID)
    assert (made.claims, made.date, made.keep, made.refused, made.dropped) == (alone.claims, DATE, None, (), ())
    assert types(made) == ["shaken"]
    assert read(made.identities[0]) == read(alone.identity)
    assert verified(made).valid


def test_header_is_the_same_by_the_long_way() -> None:
    short, long = signs(), signs(wants(rph=True))
    assert read(short.identities[0]) == read(long.identities[0])
    assert short.claims == long.claims


@pytest.mark.parametrize("changes", [{"method": "ACK"}, {"in_dialog": True}])
@pytest.mark.parametrize("wanted", [wants(), wants(rph=True)])
def test_only_initial_invites_are_signed(wanted: Wanted, changes: dict[str, Any]) -> None:
    with refused("request_not_signed"):
        signs(wanted, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"from_uri": "sip:alice@gw"}, "orig_missing"),
        ({"from_uri": ""}, "orig_missing"),
        ({"to_uri": "sip:bob@gw"}, "dest_missing"),
        ({"to_uri": ""}, "dest_missing"),
        ({"date": format_date(NOW - 61)}, "date_stale"),
    ],
)
def test_what_sign_refuses_is_refused(changes: dict[str, Any], expected: str) -> None:
    with refused(expected):
        signs(wants(rph=True), **changes)


def test_anonymous_caller_is_signed_by_the_asserted_number() -> None:
    changes: dict[str, Any] = {"from_uri": "sip:anonymous@anonymous.invalid", "asserted": (f"<tel:+{ORIG}>",)}
    made = signs(wants(call_reason="Hello"), **changes)
    assert made.claims is not None
    assert made.claims.orig == tn(ORIG)
    assert verified(made, **changes).valid


# --- Authority --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authority", "authorised"),
    [
        (None, True),
        (TNAuthList(spcs=("1234",)), True),
        (TNAuthList(numbers=(ORIG,)), True),
        (TNAuthList(ranges=(TelephoneNumberRange("12155550100", 100),)), True),
        (TNAuthList(numbers=(OTHER,)), False),
    ],
)
@pytest.mark.parametrize("wanted", [wants(), wants(rph=True)])
def test_caller_is_covered_by_the_certificate(wanted: Wanted, authority: TNAuthList | None, authorised: bool) -> None:
    by = replace(SIGNER, authority=authority)
    if authorised:
        assert signs(wanted, by=by).identities
        assert sti_as.sign(request(), Attestation.FULL, by, now=NOW, origid=ORIGID).identity
    else:
        with refused("tn_not_authorized"):
            signs(wanted, by=by)
        with refused("tn_not_authorized"):
            sti_as.sign(request(), Attestation.FULL, by, now=NOW, origid=ORIGID)


# --- Calls that carry Identity ----------------------------------------------------------------------------------

THEIRS = identity()
DIV_OF_THEIRS = token({"ppt": "div"}, {"attest": ABSENT, "origid": ABSENT, "div": {"tn": DEST}, "dest": {"tn": [SECOND]}})
THEIR_DIV = f"{DIV_OF_THEIRS};info=<{X5U}>;ppt=div"
OF_ANOTHER_TYPE = f"{token({'ppt': 'nobody-knows'})};info=<{X5U}>;ppt=nobody-knows"
OF_TWO = identity(claims={"dest": {"tn": [DEST, OTHER]}})
WRONG_ALG = f"{token({'alg': 'ES384'})};info=<{X5U}>;ppt=shaken"


def test_call_that_is_signed_passes_untouched() -> None:
    with refused("identity_present"):
        signs(identity=(THEIRS,))
    with refused("identity_present"):
        signs(wants(div=True, rph=True), identity=(GARBAGE, THEIRS), request_uri=uri(SECOND))


@pytest.mark.parametrize("mode", ["pass", "replace", "div"])
def test_what_is_not_shaken_is_no_obstacle_and_stays(mode: str) -> None:
    made = signs(wants(identity=mode), identity=(OF_ANOTHER_TYPE,))
    assert (types(made), made.keep) == (["shaken"], None)
    assert verified(made, identity=(OF_ANOTHER_TYPE,)).valid


def test_theirs_is_replaced_and_all_others_stay() -> None:
    present = (f"{OF_ANOTHER_TYPE}, {THEIRS}", GARBAGE, identity(claims={"origid": "other"}))
    made = signs(wants(identity="replace", attest=Attestation.GATEWAY), identity=present)
    assert made.keep == (OF_ANOTHER_TYPE, GARBAGE)
    assert (made.dropped, types(made)) == ((), ["shaken"])
    assert read(made.identities[0])[1]["attest"] == "C"
    assert verified(made, identity=present).valid


@pytest.mark.parametrize("ppt", ["SHAKEN", "div", "shaken."])
def test_of_what_says_two_things_and_shaken_is_one_no_second_goes_out(ppt: str) -> None:
    theirs = identity(parameters=f";info=<{X5U}>;ppt={ppt}")
    with refused("identity_present"):
        signs(identity=(theirs,))
    made = signs(wants(identity="replace"), identity=(OF_ANOTHER_TYPE, theirs))
    assert (made.keep, types(made)) == ((OF_ANOTHER_TYPE,), ["shaken"])
    with refused("div_unlinked"):
        signs(wants(identity="div"), identity=(theirs,), request_uri=uri(SECOND))


def test_theirs_stays_where_ours_cannot_be_made() -> None:
    with refused("orig_missing"):
        signs(wants(identity="replace"), identity=(THEIRS,), from_uri="sip:alice@gw")
    made = signs(wants(identity="replace", drop_malformed=True), identity=(THEIRS, GARBAGE), from_uri="sip:alice@gw")
    assert (made.identities, made.keep, tokens(made)) == ((), (THEIRS,), ["orig_missing"])
    assert made.error is made.refused[0]
    assert signs(wants(call_reason="x", mky="a=fingerprint:")).error is None


@pytest.mark.parametrize(
    ("malformed", "why"),
    [
        (GARBAGE, "identity_malformed"),
        (f"a.b.c;info=<{X5U}>", "passport_malformed"),
        (token(), "info_missing"),
        (f"{token()};info={X5U}", "info_malformed"),
        (NO_CLAIM, "claim_missing"),
        (identity(claims={"attest": "D"}), "attest_invalid"),
        (f"{token({'ppt': 'div'})};info=<{X5U}>;ppt=div", "claim_missing"),
        *((identity(parameters=f";info=<{X5U}>;ppt={ppt}"), "ppt_mismatch") for ppt in ("SHAKEN", "div", "shaken.", "foo")),
        (identity({"ppt": "foo"}, parameters=f";info=<{X5U}>;ppt=div"), "ppt_mismatch"),
        (identity({"ppt": ABSENT}, parameters=f";info=<{X5U}>;ppt=shaken"), "ppt_mismatch"),
    ],
)
def test_malformed_is_dropped_on_request_and_the_call_is_signed(malformed: str, why: str) -> None:
    made = signs(wants(drop_malformed=True), identity=(malformed, OF_ANOTHER_TYPE))
    assert made.keep == (OF_ANOTHER_TYPE,)
    assert [error.token for error in made.dropped] == [why]
    assert types(made) == ["shaken"]
    assert verified(made, identity=(malformed, OF_ANOTHER_TYPE)).valid


@pytest.mark.parametrize("present", [OF_ANOTHER_TYPE, THEIR_DIV, f"..c2ln;info=<{X5U}>"])
def test_what_can_be_read_is_not_dropped(present: str) -> None:
    made = signs(wants(drop_malformed=True), identity=(present,))
    assert (made.keep, made.dropped) == (None, ())


@pytest.mark.parametrize("present", [THEIRS, WRONG_ALG, f"..c2ln;info=<{X5U}>;ppt=shaken"])
def test_malformed_beside_a_shaken_one_is_dropped_and_nothing_signed(present: str) -> None:
    made = signs(wants(drop_malformed=True), identity=(present, GARBAGE))
    assert (made.identities, made.date, made.keep, tokens(made)) == ((), None, (present,), ["identity_present"])


def test_value_that_is_put_back_ends_no_line() -> None:
    present = (THEIRS, f"{OF_ANOTHER_TYPE};x\r\n =\x001\r")
    made = signs(wants(identity="replace"), identity=present)
    assert made.keep == (f"{OF_ANOTHER_TYPE};x = 1",)


def test_more_than_anybody_reads_are_not_touched() -> None:
    others = (OF_ANOTHER_TYPE,) * (sti_vs.MAX_IDENTITY_HEADERS - 1)
    assert sti_as.MAX_IDENTITY_HEADERS == sti_vs.MAX_IDENTITY_HEADERS
    made = signs(wants(call_reason="x", div=True, base=True), identity=others, request_uri=uri(SECOND))
    assert (types(made), tokens(made)) == (["shaken"], ["identity_too_many"] * 3)
    assert verified(made, identity=others, request_uri=uri(SECOND)).valid
    for count in (1, 2):
        with refused("identity_too_many"):
            signs(identity=(*others, *(OF_ANOTHER_TYPE,) * count))
    with refused("identity_too_many"):
        signs(wants(identity="div"), identity=(*others, THEIRS), request_uri=uri(SECOND))


# --- Diversion --------------------------------------------------------------------------------------------------


def test_diversion_of_a_call_that_came_signed_is_signed() -> None:
    changes: dict[str, Any] = {"identity": (THEIRS,), "request_uri": uri(SECOND)}
    made = signs(wants(identity="div"), **changes)
    assert (types(made), made.claims, made.keep, made.date) == (["div"], None, None, DATE)
    header, claims = read(made.identities[0])
    assert header == {"alg": "ES256", "ppt": "div", "typ": "passport", "x5u": X5U}
    assert claims == {"dest": {"tn": [SECOND]}, "div": {"tn": DEST}, "iat": NOW, "orig": {"tn": ORIG}}
    for to in (DEST, SECOND):
        verification = verified(made, **changes, to_uri=uri(to))
        assert (verification.valid, verification.diversions) == (True, (DEST,))


def test_each_diversion_has_its_header() -> None:
    way = (tn(DEST), tn(SECOND), tn(THIRD))
    changes: dict[str, Any] = {"identity": (THEIRS,), "request_uri": uri(OTHER), "to_uri": uri(OTHER)}
    made = signs(wants(identity="div", diversions=way), **changes)
    assert links(made) == [(DEST, SECOND), (SECOND, THIRD), (THIRD, OTHER)]
    verification = verified(made, **changes)
    assert (verification.valid, verification.diversions) == (True, (DEST, SECOND, THIRD))


def test_what_others_diverted_and_signed_is_not_signed_again() -> None:
    present = (THEIR_DIV, THEIRS)
    for diversions in ((), (tn(SECOND),), (tn(OTHER), tn(DEST), tn(SECOND))):
        changes: dict[str, Any] = {"identity": present, "request_uri": uri(THIRD), "to_uri": uri(THIRD)}
        made = signs(wants(identity="div", diversions=diversions), **changes)
        assert links(made) == [(SECOND, THIRD)]
        assert verified(made, **changes).diversions == (DEST, SECOND)


def test_diversions_are_read_from_the_request() -> None:
    fields: dict[str, Any] = {"diversion": (f"<{uri(SECOND)}>;reason=unconditional", f"<{uri(DEST)}>;reason=user-busy")}
    history = (f"<{uri(DEST)}>;index=1, <{uri(SECOND)}>;index=1.1;mp=1, <{uri(THIRD)}>;index=1.1.1;mp=1.1",)
    for told in (fields, {"history_info": history}):
        changes: dict[str, Any] = {"identity": (THEIRS,), "request_uri": uri(THIRD), "to_uri": uri(THIRD), **told}
        made = signs(wants(identity="div"), **changes)
        assert links(made) == [(DEST, SECOND), (SECOND, THIRD)]
        assert verified(made, **changes).valid


def test_what_the_script_names_goes_before_the_requests_fields() -> None:
    changes: dict[str, Any] = {"identity": (THEIRS,), "request_uri": uri(THIRD), "diversion": (f"<{uri(SECOND)}>",)}
    assert links(signs(wants(identity="div", diversions=(tn(DEST),)), **changes)) == [(DEST, THIRD)]


@pytest.mark.parametrize("source", ["to", "request_uri"])
def test_own_call_that_is_diverted_has_both(source: str) -> None:
    changes: dict[str, Any] = {"request_uri": uri(SECOND)}
    made = signs(wants(div=True, diversions=(tn(DEST),)), SigningRules(dest_source=source), **changes)
    assert types(made) == ["shaken", "div"]
    assert made.claims is not None
    assert (made.claims.dest, links(made)) == ((tn(DEST),), [(DEST, SECOND)])
    for to in (DEST, SECOND):
        assert verified(made, **changes, to_uri=uri(to)).diversions == (DEST,)


def test_request_uri_of_another_number_is_a_diversion_where_nobody_is_named() -> None:
    made = signs(wants(div=True), request_uri=uri(SECOND))
    assert (types(made), links(made)) == (["shaken", "div"], [(DEST, SECOND)])
    assert verified(made, request_uri=uri(SECOND)).diversions == (DEST,)


@pytest.mark.parametrize("target", ["sip:bob@10.0.0.1:5070", "", uri(DEST), "sip:+1-215-555-0131@elsewhere"])
def test_nobody_diverted_what_goes_to_the_called_number_or_its_device(target: str) -> None:
    made = signs(wants(div=True), request_uri=target)
    assert (types(made), made.refused) == (["shaken"], ())
    made = signs(wants(div=True, call_reason="x"), request_uri=target)
    assert (types(made), made.refused) == (["shaken", "rcd"], ())


def test_call_that_comes_back_to_the_called_number_is_not_diverted() -> None:
    made = signs(wants(div=True, diversions=(tn(DEST), tn(SECOND))), request_uri=uri(DEST))
    assert (types(made), made.refused) == (["shaken"], ())


def test_diversion_that_is_not_wanted_is_not_signed() -> None:
    made = signs(wants(diversions=(tn(DEST),)), request_uri=uri(SECOND))
    assert types(made) == ["shaken"]


def test_diversion_that_cannot_be_linked_leaves_shaken_alone() -> None:
    made = signs(wants(div=True, diversions=(tn(OTHER),)), request_uri=uri(SECOND))
    assert (types(made), tokens(made)) == (["shaken"], ["div_unlinked"])
    assert verified(made, request_uri=uri(SECOND)).valid


def test_others_diversion_of_our_number_is_a_link() -> None:
    made = signs(wants(identity="replace", div=True), identity=(THEIRS, THEIR_DIV), request_uri=uri(THIRD))
    assert made.keep == (THEIR_DIV,)
    assert links(made) == [(SECOND, THIRD)]
    assert verified(made, identity=(THEIRS, THEIR_DIV), request_uri=uri(THIRD), to_uri=uri(THIRD)).valid


def test_others_diversion_of_another_caller_is_none() -> None:
    other = {"attest": ABSENT, "origid": ABSENT, "div": {"tn": DEST}, "dest": {"tn": [SECOND]}, "orig": {"tn": OTHER}}
    present = (THEIRS, f"{token({'ppt': 'div'}, other)};info=<{X5U}>;ppt=div")
    assert links(signs(wants(identity="div"), identity=present, request_uri=uri(THIRD))) == [(DEST, THIRD)]


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        (wants(), {}, "div_not_needed"),
        (wants(), {"request_uri": "sip:+12155550131;rn=+12155550000@gw"}, "div_not_needed"),
        (wants(), {"request_uri": ""}, "dest_missing"),
        (wants(), {"request_uri": "sip:bob@gw"}, "dest_missing"),
        (wants(diversions=(tn(OTHER),)), {"request_uri": uri(SECOND)}, "div_unlinked"),
        (wants(), {"identity": (OF_TWO,), "request_uri": uri(SECOND)}, "div_unlinked"),
        (wants(), {"identity": (NO_CLAIM,), "request_uri": uri(SECOND)}, "div_unlinked"),
        (wants(), {"identity": (WRONG_ALG,), "request_uri": uri(SECOND)}, "div_unlinked"),
        (wants(), {"identity": (identity(claims={"iat": NOW - 61}),), "request_uri": uri(SECOND)}, "iat_stale"),
        (wants(), {"identity": (identity(claims={"iat": NOW + 61}),), "request_uri": uri(SECOND)}, "iat_in_future"),
        (wants(), {"identity": (identity(claims={"dest": {"uri": ["sip:bob@gw"]}}),), "request_uri": uri(SECOND)},
         "uri_not_authorized"),
        (wants(), {"date": "yesterday", "request_uri": uri(SECOND)}, "date_malformed"),
    ],
)  # fmt: skip
def test_diversion_that_is_not_signed(wanted: Wanted, changes: dict[str, Any], expected: str) -> None:
    with refused(expected):
        signs(wanted._replace(identity="div"), **{"identity": (THEIRS,), **changes})


def test_what_another_signed_and_is_no_text_is_not_signed_again() -> None:
    theirs = identity(claims={"orig": {"uri": "\ud800"}})
    with refused("claim_malformed"):
        signs(wants(identity="div"), identity=(theirs,), request_uri=uri(SECOND))


def test_iat_of_the_signed_call_is_kept() -> None:
    for offset in (-60, 60):
        made = signs(wants(identity="div"), identity=(identity(claims={"iat": NOW + offset}),), request_uri=uri(SECOND))
        assert made.diversions[0].iat == NOW + offset


def test_who_diverts_is_covered_by_the_certificate() -> None:
    by = replace(SIGNER, authority=TNAuthList(numbers=(DEST,)))
    changes: dict[str, Any] = {"identity": (THEIRS,), "request_uri": uri(SECOND)}
    assert links(signs(wants(identity="div"), by=by, **changes)) == [(DEST, SECOND)]
    with refused("tn_not_authorized"):
        signs(wants(identity="div"), by=replace(SIGNER, authority=TNAuthList(numbers=(ORIG, OTHER))), **changes)
    own = signs(wants(div=True), by=replace(SIGNER, authority=TNAuthList(numbers=(ORIG,))), request_uri=uri(SECOND))
    assert (types(own), tokens(own)) == (["shaken"], ["tn_not_authorized"])


def test_div_is_as_it_was_signed_whatever_its_form() -> None:
    plan = NumberPlan("1", "1", "011", 10)
    theirs = identity(claims={"dest": {"tn": ["+1 (215) 555-0131"]}, "orig": {"tn": f"+{ORIG}"}})
    by = replace(SIGNER, authority=TNAuthList(numbers=(DEST,)))
    changes: dict[str, Any] = {"identity": (theirs,), "request_uri": uri(SECOND), "to_uri": uri(SECOND)}
    made = signs(wants(identity="div"), SigningRules(plan=plan), by, **changes)
    claims = read(made.identities[0])[1]
    assert (claims["div"], claims["orig"]) == ({"tn": "+1 (215) 555-0131"}, {"tn": f"+{ORIG}"})
    assert verified(made, sti_vs.VerificationRules(plan=plan), **changes).valid


def test_each_chain_gets_its_own_and_two_the_same_only_one() -> None:
    other = identity(claims={"dest": {"tn": [OTHER]}})
    twice = identity(claims={"origid": "another"})
    made = signs(wants(identity="div"), identity=(THEIRS, other, twice, OF_ANOTHER_TYPE), request_uri=uri(SECOND))
    assert links(made) == [(DEST, SECOND), (OTHER, SECOND)]
    stale = identity(claims={"iat": NOW - 100})
    made = signs(wants(identity="div"), identity=(THEIRS, stale), request_uri=uri(SECOND))
    assert (links(made), tokens(made)) == ([(DEST, SECOND)], ["iat_stale"])


def test_malformed_is_dropped_beside_a_diversion() -> None:
    made = signs(wants(identity="div", drop_malformed=True), identity=(GARBAGE, THEIRS), request_uri=uri(SECOND))
    assert (types(made), made.keep) == (["div"], (THEIRS,))


# --- Other types ------------------------------------------------------------------------------------------------

RPH_RULES = sti_vs.VerificationRules(rph_signers=frozenset({"1234"}))
ICON = "https://example.test/icon.png"
EMPTY_DIGEST = "sha256-RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="  # of {}
DIGEST = "sha256-O8UQYpc8RY1aby2NZKAjJGNUrX4GSx5OAJ7IoGmaMEM="


def test_priority_is_signed_as_it_stands_in_the_request() -> None:
    changes: dict[str, Any] = {"resource_priority": ("ETS.0, wps.1", "ets.0")}
    made = signs(wants(rph=True), **changes)
    assert types(made) == ["shaken", "rph"]
    assert read(made.identities[1])[1] == {
        "dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "rph": {"auth": ["ets.0", "wps.1"]}
    }  # fmt: skip
    verification = verified(made, RPH_RULES, **changes)
    assert (verification.valid, verification.rph, verification.rph_error) == (True, ("ets.0", "wps.1"), None)


@pytest.mark.parametrize("called", ["sip:911@gw", "urn:service:sos", "urn:service:sos.fire"])
def test_emergency_call_is_signed_with_its_priority(called: str) -> None:
    changes: dict[str, Any] = {"to_uri": called, "request_uri": called, "resource_priority": ("esnet.1",)}
    made = signs(wants(rph=True), **changes)
    assert types(made) == ["shaken", "rph"]
    assert verified(made, RPH_RULES, **changes).rph == ("esnet.1",)


def test_callback_is_signed_as_one() -> None:
    changes: dict[str, Any] = {"priority": "PSAP-Callback", "resource_priority": ("esnet.0",)}
    made = signs(wants(rph=True), **changes)
    assert read(made.identities[1])[1]["sph"] == "psap-callback"
    assert verified(made, RPH_RULES, **changes).rph == ("esnet.0",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), []), ((" , ",), []), (("rubbish",), ["claim_malformed"]), (("esnet.1",), ["rph_mismatch"])],
)
def test_priority_that_nobody_would_accept_is_not_signed(values: tuple[str, ...], expected: list[str]) -> None:
    made = signs(wants(rph=True), resource_priority=values)
    assert (types(made), tokens(made)) == (["shaken"], expected)


def test_priority_that_is_not_wanted_is_not_signed() -> None:
    assert types(signs(wants(call_reason="x"), resource_priority=("ets.0",))) == ["shaken", "rcd"]


def test_rich_call_data_has_a_header_of_its_own() -> None:
    data = RichCallData(nam="Acme \u00c9", icn=ICON, crn="Invoice", digests=(("/icn", DIGEST),))
    made = signs(wants(rcd=data))
    assert types(made) == ["shaken", "rcd"]
    assert (
        from_base64url(made.identities[1].split(".")[1])
        == (
            f'{{"crn":"Invoice","dest":{{"tn":["{DEST}"]}},"iat":{NOW},"orig":{{"tn":"{ORIG}"}},'
            f'"rcd":{{"icn":"{ICON}","nam":"Acme \u00c9"}},"rcdi":{{"/icn":"{DIGEST}"}}}}'
        ).encode()
    )
    verification = verified(made)
    assert (verification.valid, verification.rcd) == (True, data)


def test_call_reason_goes_alone_and_before_the_customers() -> None:
    alone = verified(signs(wants(call_reason="Alone"))).rcd
    assert alone is not None
    assert (alone.crn, alone.nam) == ("Alone", "")
    both = verified(signs(wants(call_reason="Now", rcd=RichCallData(nam="Q", crn="Ever")))).rcd
    assert both is not None
    assert (both.crn, both.nam) == ("Now", "Q")


@pytest.mark.parametrize("data", [RichCallData(), RichCallData(digests=(("", EMPTY_DIGEST),))])
def test_rich_call_data_that_says_nothing_is_not_signed(data: RichCallData) -> None:
    made = signs(wants(rcd=data))
    assert (types(made), made.refused) == (["shaken"], ())


def test_rich_call_data_that_nobody_would_show_is_not_signed() -> None:
    made = signs(wants(rcd=RichCallData(nam="Q", icn="no uri")))
    assert (types(made), tokens(made)) == (["shaken"], ["claim_malformed"])
    made = signs(wants(rcd=RichCallData(nam="Q", digests=(("/nam", DIGEST),))))
    assert tokens(made) == ["rcd_digest_mismatch"]


def test_media_keys_stand_in_the_shaken_passport() -> None:
    made = signs(wants(mky=f"v=0\r\n{FINGERPRINT}\r\n"))
    assert types(made) == ["shaken"]
    assert read(made.identities[0])[1]["mky"] == [{"alg": "sha-256", "dig": "AB" * 32}]
    assert verified(made).valid


@pytest.mark.parametrize(("sdp", "expected"), [("v=0\r\n", []), ("a=fingerprint:rubbish", ["claim_malformed"])])
def test_sdp_without_media_keys_adds_nothing(sdp: str, expected: list[str]) -> None:
    made = signs(wants(mky=sdp))
    assert (set(read(made.identities[0])[1]), tokens(made)) == ({"attest", "dest", "iat", "orig", "origid"}, expected)


def test_several_are_called_at_once() -> None:
    made = signs(wants(dest=(tn(SECOND), tn(DEST), tn("112"))))
    assert read(made.identities[0])[1]["dest"] == {"tn": ["112", DEST, SECOND]}
    for called in (DEST, SECOND):
        assert verified(made, to_uri=uri(called)).valid
    assert verified(made, to_uri=uri(OTHER)).token == "dest_mismatch"
    besides = signs(wants(dest=(Party("uri", "sip:bob@gw"), tn(SECOND)), call_reason="x"))
    assert read(besides.identities[0])[1]["dest"] == {"tn": [DEST, SECOND]}
    twice = signs(wants(dest=(tn(DEST),) * 100, call_reason="x"))
    assert read(twice.identities[0])[1]["dest"] == {"tn": [DEST]}
    with refused("claim_malformed"):
        signs(wants(dest=tuple(tn(str(number)) for number in range(100))))


def test_uris_are_signed_only_if_that_is_wanted() -> None:
    changes: dict[str, Any] = {"to_uri": "sip:Bob@Example.com:5070;x=y"}
    made = signs(wants(uri=True), **changes)
    assert read(made.identities[0])[1]["dest"] == {"uri": ["sip:bob@example.com"]}
    assert verified(made, **changes).valid


def test_no_certificate_speaks_for_a_caller_that_is_a_uri() -> None:
    changes: dict[str, Any] = {"from_uri": "sip:alice@example.com"}
    made = signs(wants(uri=True), by=replace(SIGNER, authority=TNAuthList(numbers=(OTHER,))), **changes)
    assert read(made.identities[0])[1]["orig"] == {"uri": "sip:alice@example.com"}
    assert verified(made, **changes).token == "uri_not_authorized"


def test_uri_may_divert_and_be_diverted_to() -> None:
    theirs = identity(claims={"dest": {"uri": ["sip:bob@gw"]}})
    changes: dict[str, Any] = {"identity": (theirs,), "request_uri": "sip:carol@gw", "to_uri": "sip:bob@gw"}
    made = signs(wants(identity="div", uri=True), **changes)
    assert links(made) == [("sip:bob@gw", "sip:carol@gw")]
    assert read(made.identities[0])[1]["div"] == {"uri": "sip:bob@gw"}


def test_base_passport_is_in_compact_form_with_the_requests_date() -> None:
    date = format_date(NOW - 7)
    made = signs(wants(base=True, mky=FINGERPRINT), date=date)
    value = made.identities[1]
    digest, _, parameters = value.partition(";")
    assert (digest[:2], parameters) == ("..", f"info=<{X5U}>;alg=ES256")
    claims = {"dest": {"tn": [DEST]}, "iat": NOW - 7, "orig": {"tn": ORIG}, "mky": [{"alg": "sha-256", "dig": "AB" * 32}]}
    jose = {"alg": "ES256", "typ": "passport", "x5u": X5U}
    rebuilt = f"{b64(to_json(jose))}.{b64(to_json(claims))}".encode()
    assert es256.verify(rebuilt, from_base64url(digest[2:]), provider().key.public_key())
    verification = verified(made, date=date)
    assert (verification.valid, [one.error and one.error.token for one in verification.verdicts]) == (
        True,
        [None, "ppt_unsupported"],
    )


def test_all_at_once_is_accepted() -> None:
    data = RichCallData(nam="Q")
    changes: dict[str, Any] = {"resource_priority": ("ets.0",), "request_uri": uri(SECOND), "to_uri": uri(DEST)}
    made = signs(wants(div=True, rcd=data, rph=True, mky=FINGERPRINT, base=True, dest=(tn(OTHER),)), **changes)
    # Nobody is named, and two are called: who of them diverted?
    assert (types(made)[:-1], tokens(made)) == (["shaken", "rph", "rcd"], ["div_unlinked"])
    made = signs(wants(div=True, diversions=(tn(DEST),), rcd=data, rph=True, mky=FINGERPRINT, dest=(tn(OTHER),)), **changes)
    assert (types(made), made.refused) == (["shaken", "div", "rph", "rcd"], ())
    verification = verified(made, RPH_RULES, **changes)
    assert verification.verstat == PASSED
    assert (verification.diversions, verification.rph, verification.rcd) == ((DEST,), ("ets.0",), data)
    assert all(verdict.valid for verdict in verification.verdicts)


# --- What comes back --------------------------------------------------------------------------------------------


def test_reason_with_our_passport_is_ours() -> None:
    made = signs(wants(call_reason="x"))
    assert len(made.signatures) == 2
    for value in made.identities:
        full = value.partition(";")[0]
        compact = ".." + full.rpartition(".")[2]
        for ppi in (full, compact):
            assert own_reason(f'STIR ;cause=436 ;text="Bad Identity Info" ;ppi="{ppi}"', made.signatures)
            assert own_reason(f' stir;PPI={ppi};text="a, \\" ;ppi=no"', made.signatures)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "STIR",
        'STIR ;cause=436 ;text="Bad Identity Info"',
        'STIR ;cause=436 ;ppi="..b3RoZXI"',
        "STIR ;ppi",
        'STIR ;cause=436 ;text=";ppi=..SIG"',
        'SIP ;cause=436 ;ppi="..SIG"',
        'STIRRED ;ppi="..SIG"',
        'STIR ;ppi="..SIG"' + " " * 20_000,
    ],
)
def test_other_reasons_are_not(value: str) -> None:
    assert not own_reason(value, frozenset({"SIG"}))
