"""RFC 8946: the "div" PASSporT, as a verification service sees it. What we sign is in `test_rfc8946_signing`."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kamailio_app import sti_vs
from kamailio_app.credentials.credential import Credential
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.passport import es256
from kamailio_app.passport.div import div_claims
from kamailio_app.passport.encoding import from_base64url, json_object
from kamailio_app.passport.extension import extension_passport
from kamailio_app.passport.passport import jose_header
from kamailio_app.sip import Party
from kamailio_app.verdict import Verification

from .support import (
    CLAIMS,
    DEST,
    HEADER,
    INVITE,
    NOW,
    ORIG,
    credential,
    hierarchy,
    identity,
    issued_credential,
    provider,
    public_key,
    replace,
    signature_holds,
    text,
    token,
)

SECOND, THIRD, OTHER = "12155550140", "12155550150", "12155550999"
DIV_X5U = "https://cr.example.test/5678/div.pem"
SHAKEN = identity(token())
DIV_CLAIMS = {"dest": {"tn": [SECOND]}, "div": {"tn": DEST}, "iat": NOW - 10, "orig": {"tn": ORIG}}


def div(key: Any = None, **claims: Any) -> str:
    """The diversion from DEST to SECOND; `claims` are the deviations, None leaves one out."""
    members = {name: value for name, value in {**DIV_CLAIMS, **claims}.items() if value is not None}
    return identity(token({**HEADER, "ppt": "div", "x5u": DIV_X5U}, members, key), f";info=<{DIV_X5U}>;ppt=div")


def link(by: str, to: str) -> str:
    return div(div={"tn": by}, dest={"tn": [to]})


def examined(*identities: str, target: str = SECOND, **changes: Any) -> sti_vs.Examination:
    uri = f"sip:+{target}@term.example.net"
    return sti_vs.examine(replace(INVITE, **{"request_uri": uri, "to_uri": uri, "identity": identities, **changes}), now=NOW)


def verified(*identities: str, div_credential: Credential | StirError | None = None, **changes: Any) -> Verification:
    examination = examined(*identities, **changes)
    answers = {url: div_credential or credential() if url == DIV_X5U else credential() for url in examination.needed}
    return sti_vs.conclude(examination, answers, now=NOW)


def outcome(*identities: str, **changes: Any) -> str:
    return verified(*identities, **changes).token or "valid"


# --- 3: the claims ------------------------------------------------------------------------------------------------


def test_diverted_call_is_valid() -> None:
    """RFC 8946 3, 4.2: orig as it was, div out of the former dest, dest the new target."""
    assert outcome(SHAKEN) == "dest_mismatch"
    assert outcome(SHAKEN, div()) == "valid"


@pytest.mark.parametrize("claim", list(DIV_CLAIMS))
def test_each_claim_is_mandatory(claim: str) -> None:
    """RFC 8946 3: dest, div, iat and orig."""
    verification = verified(SHAKEN, div(**{claim: None}))
    assert verification.token == "div_mismatch"
    assert verification.verdicts[1].error is not None
    assert verification.verdicts[1].error.token == "claim_missing"


@pytest.mark.parametrize("value", [{"tn": [DEST]}, {}, {"tn": DEST, "uri": "sip:a@b"}, DEST])
def test_div_is_one_identity(value: object) -> None:
    """RFC 8946 3: the div claim holds one identity, a string."""
    error = verified(SHAKEN, div(div=value)).verdicts[1].error
    assert error is not None
    assert error.token == "claim_malformed"


def test_div_may_have_more_members() -> None:
    """RFC 8946 3: hi, say, next to the identity."""
    assert outcome(SHAKEN, div(div={"tn": DEST, "hi": "1.1"})) == "valid"


def test_other_claims_are_not_needed_and_not_forbidden() -> None:
    """RFC 8225 8.3: an unknown claim is ignored."""
    assert outcome(SHAKEN, div(**{"x-more": 1})) == "valid"


def test_published_div_passport_is_read_and_its_signature_holds() -> None:
    """RFC 8946 4, appendix A."""
    passport = text("rfc/rfc8946_s4_div.jwt")
    read = extension_passport(passport, jose_header(passport.partition(".")[0]))
    assert signature_holds(passport, public_key("rfc/rfc8946_appA_public.pem"))
    assert es256.verify(read.signing_input, read.signature, public_key("rfc/rfc8946_appA_public.pem"))
    assert read.claims.orig == Party("tn", "12155551212")
    # As printed it has a digit too many, and so links to no dest
    assert div_claims(json_object(from_base64url(passport.split(".")[1]))).div == Party("tn", "121555551213")


# --- 4.1: form ----------------------------------------------------------------------------------------------------


def test_div_has_no_compact_form() -> None:
    """RFC 8946 4.1: the full form MUST be used."""
    error = verified(SHAKEN, f"..{SHAKEN.partition(';')[0].rpartition('.')[2]};info=<{DIV_X5U}>;ppt=div").verdicts[1].error
    assert error is not None
    assert error.token == "compact_form_unsupported"


def test_div_without_the_original_identity_says_nothing() -> None:
    """RFC 8946 4.1: a div MUST NOT be there for a request without Identity."""
    assert outcome(div()) == "ppt_unsupported"
    assert examined(div()).needed == ()


def test_ppt_quoted_as_the_rfc_prints_it() -> None:
    """RFC 8946 4.1: ppt="div"."""
    assert outcome(SHAKEN, div().replace("ppt=div", 'ppt="div"')) == "valid"


# --- 4.2: verification --------------------------------------------------------------------------------------------


def test_dest_of_the_outermost_is_the_request_uri() -> None:
    """RFC 8946 4.2: compared with the target in the Request-URI."""
    changed = {"to_uri": f"sip:+{OTHER}@gw"}
    assert outcome(SHAKEN, div(), **changed) == "valid"
    assert outcome(SHAKEN, div(dest={"tn": [OTHER]}), target=THIRD) == "div_mismatch"


def test_dest_of_the_outermost_may_hold_several() -> None:
    """RFC 8225 5.2.1: one of them is the target."""
    assert outcome(SHAKEN, div(dest={"tn": [OTHER, SECOND]})) == "valid"


def test_target_may_stand_in_to() -> None:
    """RFC 8946 4.2: MAY, where the Request-URI no longer holds it."""
    assert outcome(SHAKEN, div(), request_uri="sip:edge.example.net") == "valid"


def test_orig_is_the_same_in_all() -> None:
    """RFC 8946 4.2: MUST be the same in every PASSporT of the chain."""
    assert outcome(SHAKEN, div(orig={"tn": OTHER})) == "div_mismatch"
    assert outcome(SHAKEN, div(orig={"tn": f"+{ORIG}"})) == "valid"


def test_orig_is_the_callers() -> None:
    """RFC 8224 6.2 step 5: a chain that agrees with itself and not with SIP."""
    assert outcome(identity(token(claims={**CLAIMS, "orig": {"tn": OTHER}})), div(orig={"tn": OTHER})) == "orig_mismatch"


def test_div_is_in_the_dest_of_the_one_before() -> None:
    """RFC 8946 4.2: each div claim is found in the former dest."""
    assert outcome(SHAKEN, link(OTHER, SECOND)) == "div_mismatch"
    assert outcome(SHAKEN, link(DEST, SECOND), link(OTHER, THIRD), target=THIRD) == "div_mismatch"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_chain_of_several_in_any_order(order: tuple[int, ...]) -> None:
    """RFC 8946 4.2: repeated until a PASSporT that is no div; the order of the header fields is not significant."""
    fields = [SHAKEN, link(DEST, SECOND), link(SECOND, THIRD)]
    verification = verified(*[fields[number] for number in order], target=THIRD)
    assert verification.valid
    assert verification.diversions == (DEST, SECOND)


@pytest.mark.parametrize("broken", [1, 2])
def test_every_signature_of_the_chain_is_verified(broken: int) -> None:
    """RFC 8946 4.2: MUST be validated for each."""
    fields = [SHAKEN, link(DEST, SECOND), link(SECOND, THIRD)]
    head, _, parameters = fields[broken].partition(";")
    fields[broken] = f"{head.rpartition('.')[0]}.{fields[0].partition(';')[0].rpartition('.')[2]};{parameters}"
    assert outcome(*fields, target=THIRD) == "signature_invalid"


def test_credential_of_a_div_covers_the_diverting_number() -> None:
    """RFC 8946 4.1, 4.2: authority over div, not over orig."""
    for number, expected in ((DEST, "valid"), (ORIG, "tn_not_authorized")):
        of_number = replace(issued_credential(), tnauthlist=TNAuthList(numbers=(number,)), public_key=credential().public_key)
        assert outcome(SHAKEN, div(), div_credential=of_number) == expected


@pytest.mark.parametrize("cause", ["x5u_timeout", "credential_untrusted", "credential_revoked"])
def test_div_whose_credential_is_no_good_validates_nothing(cause: str) -> None:
    """RFC 8946 4.2, RFC 8224 6.2.2: the call fails for the diversion's own reason."""
    assert outcome(SHAKEN, div(), div_credential=failure(cause)) == cause


@pytest.mark.parametrize(("age", "expected"), [(60, "valid"), (61, "div_mismatch"), (-61, "div_mismatch")])
def test_every_div_is_fresh(age: int, expected: str) -> None:
    """RFC 8946 4.2: MUST for the outermost, RECOMMENDED for the rest; no longer window is offered."""
    assert outcome(SHAKEN, div(iat=NOW - age)) == expected


def test_stale_inner_passport_is_not_made_fresh_by_a_div() -> None:
    """RFC 8946 4.2, RFC 8224 12.1."""
    assert outcome(identity(token(claims={**CLAIMS, "iat": NOW - 61})), div()) == "iat_stale"


def test_one_div_serves_several_inner_passports() -> None:
    """RFC 8946 4.2: each that is no div is judged on its own."""
    bad = identity(token(claims={**CLAIMS, "origid": "x"}, key=hierarchy().service_provider().key))
    verification = verified(bad, SHAKEN, div())
    assert [verdict.error.token if verdict.error else "" for verdict in verification.verdicts] == ["signature_invalid", "", ""]
    assert verification.valid


def test_chain_to_an_inner_type_that_is_unsupported_is_ignored() -> None:
    """RFC 8946 4.2, RFC 8224 6.2 step 1."""
    inner = identity(token({**HEADER, "ppt": "foo"}), f";info=<{HEADER['x5u']}>;ppt=foo")
    assert outcome(inner, div()) == "ppt_unsupported"


def test_nothing_is_fetched_for_a_chain_that_cannot_link() -> None:
    """RFC 8224 10, cheap before costly: a stranger cannot make us fetch by naming unrelated diversions."""
    assert examined(SHAKEN, link(OTHER, SECOND), link(DEST, THIRD)).needed == ()
    assert examined(SHAKEN, div(), link(OTHER, THIRD)).needed == (HEADER["x5u"], DIV_X5U)


def test_original_dest_in_to_needs_no_div() -> None:
    """RFC 8224 6.2 step 5: To is still what was signed; the diversion is told all the same."""
    verification = verified(SHAKEN, div(), to_uri=f"sip:+{DEST}@gw")
    assert verification.valid
    assert verification.diversions == (DEST,)


# --- 5, 6: div-o --------------------------------------------------------------------------------------------------


def test_div_has_no_opt() -> None:
    """RFC 8946 5: MUST NOT."""
    error = verified(SHAKEN, div(opt=token())).verdicts[1].error
    assert error is not None
    assert error.token == "claim_malformed"


def test_div_o_is_recognised_and_ignored() -> None:
    """RFC 8946 5: for use out of band; in SIP it is a type that is not supported (RFC 8224 6.2 step 1)."""
    passport = text("rfc/rfc8946_s5_divo.jwt")
    verification = verified(SHAKEN, f'{passport};info=<https://www.example.com/cert.cer>;ppt="div-o"', target=DEST)
    assert verification.valid
    assert verification.verdicts[1].error is not None
    assert verification.verdicts[1].error.token == "ppt_unsupported"


def test_key_of_the_tests_is_the_providers() -> None:
    """What is signed here is signed with another key than the RFC's."""
    assert not signature_holds(SHAKEN.partition(";")[0], public_key("rfc/rfc8946_appA_public.pem"))
    assert signature_holds(SHAKEN.partition(";")[0], provider().key.public_key())
