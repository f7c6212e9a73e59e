"""RFC 8224: the Identity header field, signing and verification, canonical identities, freshness, response codes."""

from __future__ import annotations

import pytest

from kamailio_app import sti_vs
from kamailio_app.errors import (
    NOT_VALIDATED,
    BadIdentityInfo,
    InvalidIdentityHeader,
    KeyPairRefused,
    NotSigned,
    StaleDate,
    StirError,
    UnsupportedCredential,
    UseIdentityHeader,
    failure,
)
from kamailio_app.identity import parse_identity, split_values
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.policy.codes import PROFILES, CodeProfile
from kamailio_app.policy.treatment import FailureAction, TreatmentRules, treatment
from kamailio_app.sip import Party, Request, called, caller, format_date, parse_date, party
from kamailio_app.sti_as import SigningRules
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.tn import NumberPlan, canonical_tn
from kamailio_app.verdict import Verdict, Verification, combine

from .support import (
    CLAIMS,
    DEST,
    HEADER,
    INVITE,
    NOW,
    ORIG,
    X5U,
    credential,
    hierarchy,
    identity,
    issued_credential,
    outcome,
    parts,
    replace,
    sign,
    signer,
    token,
    verify,
    without,
)

NANP = NumberPlan("1", "1", "011", 10)
GOOD = identity(token())


def _refused(value: str) -> str:
    with pytest.raises(StirError) as caught:
        parse_identity(value)
    assert isinstance(caught.value, BadIdentityInfo if caught.value.token == "info_malformed" else InvalidIdentityHeader)
    return caught.value.token


def _not_signed(request: Request, *, not_before: int = NOW - 3600, not_after: int = NOW + 3600) -> str:
    with pytest.raises((NotSigned, KeyPairRefused, StaleDate)) as caught:
        sign(request, signer_=signer(not_before=not_before, not_after=not_after))
    return caught.value.token


# --- 4: grammar ---------------------------------------------------------------------------------------------------


def test_value_is_digest_info_and_parameters() -> None:
    """RFC 8224 4: digest, info, alg and ppt of the usual form."""
    value = parse_identity("a.b.c;info=<https://cr.example/x.pem>;alg=ES256;ppt=shaken")
    assert value.digest == "a.b.c"
    assert value.parameters == ("https://cr.example/x.pem", "ES256", "shaken")


def test_info_is_mandatory() -> None:
    """RFC 8224 4: Identity = signed-identity-digest SEMI ident-info *( SEMI ident-info-params )."""
    assert _refused("a.b.c;alg=ES256;ppt=shaken") == "info_missing"
    assert _refused("a.b.c") == "info_missing"


def test_info_is_a_uri_in_angle_brackets() -> None:
    """RFC 8224 4: ident-info = "info" EQUAL ident-info-uri, ident-info-uri = LAQUOT absoluteURI RAQUOT."""
    for info in ("https://cr.example/x.pem", '"https://cr.example/x.pem"', "<>", "<https://cr.example/x.pem", "<a b>", ""):
        assert _refused(f"a.b.c;info={info};ppt=shaken") == "info_malformed"
    for info in ("<cr.example/x.pem>", "</x.pem>", "<#>", "<https:>"):
        assert _refused(f"a.b.c;info={info};ppt=shaken") == "info_malformed"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_info_that_is_no_uri_is_bad_identity_info(profile: CodeProfile) -> None:
    """RFC 8224 6.2.2, ATIS-1000082 E7 (standards pitfall 3): 436, whoever asks."""
    answer = profile.answer(_refused("a.b.c;info=https://cr.example/x.pem;ppt=shaken"))
    assert (answer.code, answer.verstat) == (436, NOT_VALIDATED)


@pytest.mark.parametrize("octet", ["\r", "\n", "\r\n", "\0", "\t", " ", '"', "<", "\x7f", "\xe9"])
def test_info_holds_no_character_that_no_uri_has(octet: str) -> None:
    """RFC 3986 2: nothing that could begin a new header field or end the brackets."""
    assert _refused(f"a.b.c;info=<https://cr.example/{octet}x>;ppt=shaken") == "info_malformed"


@pytest.mark.parametrize("digest", ["a.b", "a.b.c.d", "a.b.", ".b", "", "..", "a b.c", "a.b.c=", "a.b.c+", "a.b.c/", "a.b.ö"])
def test_digest_is_base64url_with_two_dots(digest: str) -> None:
    """RFC 8224 4 with erratum 6499: base64url characters and dots; a signature is always there."""
    assert _refused(f"{digest};info=<https://cr.example/x>;ppt=shaken") == "identity_malformed"


def test_parameters_come_in_any_order() -> None:
    """RFC 8224 4: info first in the grammar; elsewhere in the field."""
    assert outcome(identity(token(), f";ppt=shaken;alg=ES256;info=<{X5U}>")) == "valid"


def test_unknown_parameters_are_ignored() -> None:
    """RFC 8224 4: ident-info-params include generic-param."""
    for unknown in (";x", ";x=y", ';x="y;info=<http://z>,"', ";x=<sip:y>"):
        assert outcome(identity(token(), f"{unknown};info=<{X5U}>;alg=ES256;ppt=shaken")) == "valid"


def test_parameter_twice_is_malformed() -> None:
    """RFC 3261 7.3.1: any given parameter-name must not appear more than once."""
    for twice in (f";info=<{X5U}>", ";alg=ES256", ";ppt=shaken", ";PPT=shaken"):
        assert outcome(GOOD + twice) == "identity_malformed"


def test_parameter_without_value_is_malformed() -> None:
    """RFC 8224 4: info, alg and ppt have values."""
    for flag in (";alg", ";ppt", ";alg=", ';ppt=";'):
        assert outcome(identity(token(), f";info=<{X5U}>{flag}")) == "identity_malformed"
    assert outcome(identity(token(), ";info;alg=ES256;ppt=shaken")) == "info_malformed"


def test_parameter_names_have_no_case() -> None:
    """RFC 3261 7.3.1: parameter names are case-insensitive."""
    assert outcome(identity(token(), f";INFO=<{X5U}>;Alg=ES256;pPt=shaken")) == "valid"


def test_parameter_values_have_case() -> None:
    """RFC 8224 4.1: alg and ppt are those of the PASSporT, character for character."""
    assert outcome(identity(token(), f";info=<{X5U}>;alg=es256;ppt=shaken")) == "alg_mismatch"
    assert outcome(identity(token(), f";info=<{X5U}>;alg=ES256;ppt=SHAKEN")) == "ppt_unsupported"


def test_quoted_ppt_and_alg_are_those_without_quotes() -> None:
    """RFC 8224 4.1: "the quoted value of the ppt parameter"; RFC 8946 prints quotes, the grammar has none."""
    assert outcome(identity(token(), f';info=<{X5U}>;alg="ES256";ppt="shaken"')) == "valid"


def test_folded_field_is_read() -> None:
    """RFC 3261 7.3.1: a line that begins with white space continues the field."""
    passport = token()
    for fold in ("\r\n ", "\n\t", " \r\n  "):
        assert outcome(f"{passport}{fold};info=<{X5U}>;{fold}alg=ES256;ppt=shaken") == "valid"
        assert outcome(f"{passport[:40]}{fold}{passport[40:]};info=<{X5U}>;alg=ES256;ppt=shaken") == "valid"


def test_several_fields_and_several_values_in_one_field_are_the_same() -> None:
    """RFC 8224 4, RFC 3261 7.3.1: one value per field; a proxy may have merged them."""
    other = identity("a.b.c", ";info=<https://cr.example/a,b>;ppt=div")
    assert [v.token for v in (verify(GOOD, other), verify(f"{GOOD},{other}"), verify(f"{other} , {GOOD}"))] == [""] * 3
    assert len(verify(f"{other},{GOOD}").verdicts) == 2


def test_comma_in_info_parts_no_values() -> None:
    """RFC 3986 2.2: a comma is a URI's character."""
    field = "a.b.c;info=<https://cr.example/a,b>;ppt=div"
    assert split_values(field) == [field]


# --- 4.1, 4.1.1: what the parameters say about the PASSporT --------------------------------------------------------


def test_absent_alg_means_es256() -> None:
    """RFC 8224 4.1: without alg the value is ES256."""
    assert outcome(identity(token(), f";info=<{X5U}>;ppt=shaken")) == "valid"


@pytest.mark.parametrize("alg", ["ES384", "HS256", "none", "RS256"])
def test_alg_differs_from_the_passport(alg: str) -> None:
    """RFC 8224 4.1: both have to be equal."""
    assert outcome(identity(token(), f";info=<{X5U}>;alg={alg};ppt=shaken")) == "alg_mismatch"


def test_ppt_differs_from_the_passport() -> None:
    """RFC 8224 4.1: both have to be equal."""
    assert outcome(identity(token({**HEADER, "ppt": "div"}))) == "ppt_mismatch"
    assert outcome(identity(token(without(HEADER, "ppt")))) == "jose_header_incomplete"


def test_absent_ppt_parameter_leaves_the_passports_own() -> None:
    """RFC 8224 4.1: the parameter is optional in full form."""
    assert outcome(identity(token(), f";info=<{X5U}>;alg=ES256")) == "valid"


@pytest.mark.parametrize(
    "info",
    [
        X5U.replace("cr.example", "CR.example"),
        X5U.replace("https", "HTTPS"),
        X5U.replace("/1234", ":443/1234"),
        X5U.replace("/1234", "/%31234"),
        X5U + "/",
        X5U[:-1],
        "https://biloxi.example.org/biloxi.cert",
    ],
)
def test_info_and_x5u_are_the_same_string(info: str) -> None:
    """RFC 8224 4.1, RFC 3986 6.2.1: simple string comparison, no normalisation."""
    assert outcome(identity(token(), f";info=<{info}>;alg=ES256;ppt=shaken")) == "info_mismatch"


# --- 6.1: authentication service ----------------------------------------------------------------------------------


def test_date_is_added_when_there_is_none() -> None:
    """RFC 8224 6.1 step 3: the authentication service adds a Date."""
    assert sign(now=1700000000.7).date == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_accurate_date_is_left_alone() -> None:
    """RFC 8224 6.1 step 3: one minute to both sides."""
    for age in (-60, 0, 60):
        assert sign(replace(INVITE, date=format_date(NOW - age))).date is None


@pytest.mark.parametrize(("age", "expected"), [(61, "date_stale"), (-61, "date_in_future")])
def test_request_with_inaccurate_date_is_not_signed(age: int, expected: str) -> None:
    """RFC 8224 6.1 step 3, 4.1: no signature outside the freshness window."""
    assert _not_signed(replace(INVITE, date=format_date(NOW - age))) == expected


def test_request_with_unreadable_date_is_not_signed() -> None:
    """RFC 8224 6.1 step 3: what is no Date cannot be accurate."""
    assert _not_signed(replace(INVITE, date="2023-11-14T22:13:30Z")) == "date_malformed"


def test_now_lies_in_the_certificates_validity() -> None:
    """RFC 8224 6.1 step 3: MUST verify that the current time is within the credential's validity."""
    assert _not_signed(INVITE, not_after=NOW) == "certificate_expired"
    assert _not_signed(INVITE, not_before=NOW + 1) == "certificate_not_yet_valid"
    sign(signer_=signer(not_after=NOW + 1, not_before=NOW))


def test_date_lies_in_the_certificates_validity() -> None:
    """RFC 8224 6.1 step 3: MUST verify the same of the Date."""
    assert _not_signed(replace(INVITE, date=format_date(NOW - 30)), not_before=NOW - 10) == "certificate_not_yet_valid"
    assert _not_signed(replace(INVITE, date=format_date(NOW + 30)), not_after=NOW + 10) == "certificate_expired"


def test_iat_is_the_time_of_signing_in_whole_seconds() -> None:
    """RFC 8224 4.1: iat may come from the own clock, then the full form is needed."""
    signed = sign(replace(INVITE, date=format_date(NOW - 30)), now=NOW + 0.99)
    assert parts(signed.identity)[1]["iat"] == NOW


def test_dest_is_the_to_header() -> None:
    """RFC 8224 4.1: the called number comes from To, by choice from the Request-URI."""
    request = replace(INVITE, request_uri="sip:+12155559999@gw.example")
    assert parts(sign(request).identity)[1]["dest"] == {"tn": [DEST]}
    assert parts(sign(request, rules=SigningRules(dest_source="request_uri")).identity)[1]["dest"] == {"tn": ["12155559999"]}


def test_nothing_is_signed_without_a_calling_number() -> None:
    """RFC 8224 8.1: no number, no telephone number identity."""
    for uri in ("sip:alice@example.com", "sip:anonymous@anonymous.invalid", "sip:+1800FLOWERS@gw;user=phone", ""):
        assert _not_signed(replace(INVITE, from_uri=uri)) == "orig_missing"


def test_nothing_is_signed_without_a_called_number() -> None:
    """RFC 8224 8.1: the same for the called party."""
    for uri in ("sip:alice@example.com", "urn:service:sos", ""):
        assert _not_signed(replace(INVITE, to_uri=uri)) == "dest_missing"


# --- 6.2: verification service ------------------------------------------------------------------------------------


def test_round_trip_is_valid() -> None:
    """RFC 8224 6.1, 6.2: what we sign, we verify."""
    assert outcome(sign().identity) == "valid"


def test_unsupported_ppt_is_ignored() -> None:
    """RFC 8224 6.2 step 1: the header field is ignored; nothing is fetched for it."""
    other = identity(token({**HEADER, "ppt": "div"}), f";info=<{X5U}>;alg=ES256;ppt=div")
    assert verify(other, GOOD).valid
    examination = sti_vs.examine(replace(INVITE, identity=(other,)), now=NOW)
    assert examination.needed == ()
    assert outcome(other) == "ppt_unsupported"


def test_caller_comes_from_sip_and_not_from_the_passport() -> None:
    """RFC 8224 6.2 step 2: orig is compared with From."""
    assert outcome(GOOD, request=replace(INVITE, from_uri="sip:+12155559999@x")) == "orig_mismatch"
    assert outcome(GOOD, request=replace(INVITE, from_uri="sip:anonymous@anonymous.invalid")) == "orig_mismatch"
    assert outcome(GOOD, request=replace(INVITE, from_uri="")) == "orig_mismatch"


def test_called_number_is_among_those_signed() -> None:
    """RFC 8224 6.2 step 5: dest is compared with To, member by member."""
    assert outcome(GOOD, request=replace(INVITE, to_uri="sip:+12155559999@x")) == "dest_mismatch"
    several = identity(token(claims={**CLAIMS, "dest": {"tn": ["12155550000", DEST], "uri": ["sip:x@y"]}}))
    assert outcome(several) == "valid"
    assert outcome(several, request=replace(INVITE, to_uri="sip:X@y:5060")) == "valid"
    assert outcome(GOOD, request=replace(INVITE, to_uri="")) == "dest_mismatch"


@pytest.mark.parametrize(
    ("iat", "expected"),
    [(-61, "iat_stale"), (-60, "valid"), (0, "valid"), (60, "valid"), (61, "iat_in_future")],
)
def test_iat_is_fresh_to_both_sides(iat: int, expected: str) -> None:
    """RFC 8224 6.2 step 4, 12.1: sixty seconds; MUST NOT deem an outdated one valid."""
    assert outcome(identity(token(claims={**CLAIMS, "iat": NOW + iat}))) == expected


def test_fresh_iat_stands_for_a_date() -> None:
    """RFC 8224 6.2 step 4: in full form, a fresh iat is used in place of a Date that differs or is absent."""
    assert outcome(GOOD, request=replace(INVITE, date=format_date(NOW - 3600))) == "valid"
    assert outcome(GOOD, request=replace(INVITE, date=None)) == "valid"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (None, "date_missing"),
        ("yesterday", "date_malformed"),
        (format_date(NOW - 61), "date_stale"),
        (format_date(NOW - 60), "valid"),
        (format_date(NOW + 60), "valid"),
        (format_date(NOW + 61), "date_in_future"),
    ],
)
def test_date_is_checked_where_policy_asks_for_it(date: str | None, expected: str) -> None:
    """RFC 8224 6.2 step 4: Date meets local policy for freshness."""
    rules = VerificationRules(ignore_sip_date_header=False)
    assert outcome(GOOD, request=replace(INVITE, date=date), rules=rules) == expected


def test_now_lies_in_the_credentials_validity() -> None:
    """RFC 8224 6.2 step 4: a remembered credential has to be valid now, too."""
    remembered = credential()
    assert outcome(GOOD, credential_=replace(remembered, not_after=NOW)) == "valid"
    assert outcome(GOOD, credential_=replace(remembered, not_after=NOW - 1)) == "credential_expired"
    assert outcome(GOOD, credential_=replace(remembered, not_before=NOW + 1)) == "credential_not_yet_valid"


def test_iat_lies_in_the_credentials_validity() -> None:
    """RFC 8224 6.2 step 4: MUST ensure that the time of signing falls within the credential's validity."""
    remembered = credential()
    assert outcome(GOOD, credential_=replace(remembered, not_before=NOW - 10)) == "valid"
    assert outcome(GOOD, credential_=replace(remembered, not_before=NOW - 9)) == "credential_not_yet_valid"
    ahead = identity(token(claims={**CLAIMS, "iat": NOW + 30}))
    assert outcome(ahead, credential_=replace(remembered, not_after=NOW + 30)) == "valid"
    assert outcome(ahead, credential_=replace(remembered, not_after=NOW + 29)) == "credential_expired"


def test_credential_is_valid_through_its_last_second() -> None:
    """RFC 5280 4.1.2.5: the period is from notBefore through notAfter, inclusive."""
    ends_now = hierarchy().service_provider(ServiceProvider(not_after=NOW))
    value = identity(token(key=ends_now.key))
    assert outcome(value, credential_=credential(ends_now)) == "valid"
    assert outcome(value, credential_=credential(ends_now), now=NOW + 1) == "credential_expired"


def test_no_certificate_vouches_for_a_uri() -> None:
    """RFC 8226 9 (standards VS-13, pitfall 43): a TNAuthList gives authority over numbers alone, an SPC too."""
    for signed in ("sip:bob@orig.example.com", "sip:BOB@orig.example.com"):
        request = replace(INVITE, from_uri="sip:bob@orig.example.com")
        value = identity(token(claims={**CLAIMS, "orig": {"uri": signed}}))
        verification = verify(value, request=request)
        assert (verification.token, verification.verstat) == ("uri_not_authorized", NOT_VALIDATED)
        assert sti_vs.examine(replace(request, identity=(value,)), now=NOW).needed == ()


def test_bare_national_number_is_read_as_it_is_dialled() -> None:
    """RFC 8224 8.3: canonical form on both sides; what is canonical as it stands stays so."""
    national = identity(token(claims={**CLAIMS, "orig": {"tn": ORIG[1:]}, "dest": {"tn": [DEST[1:]]}}))
    assert outcome(national, rules=VerificationRules(plan=NANP)) == "valid"
    assert outcome(national) == "orig_mismatch"


def test_number_of_a_domain_is_no_global_number() -> None:
    """RFC 3966 5.1.5: a local number is valid in its context, and compared with it."""
    assert outcome(GOOD, request=replace(INVITE, from_uri=f"tel:{ORIG};phone-context=pbx.example.com")) == "orig_mismatch"
    assert outcome(GOOD, request=replace(INVITE, to_uri=f"tel:{DEST};phone-context=pbx.example.com")) == "dest_mismatch"


def test_replay_is_known_by_what_was_signed() -> None:
    """RFC 8224 12.1: the same PASSporT again, wherever it stands and whatever its signature; another one never."""
    other = identity(token(claims={**CLAIMS, "attest": "B"}))
    (key,) = sti_vs.replay_keys(verify(GOOD))
    assert sti_vs.replay_keys(verify(identity(token()))) == (key,)
    (other_key,) = sti_vs.replay_keys(verify(other))
    assert key != other_key
    assert sti_vs.replay_keys(verify(GOOD, other)) == (key, other_key)
    assert sti_vs.replay_keys(verify(other, GOOD)) == (other_key, key)


def test_signature_of_another_key_is_invalid() -> None:
    """RFC 8224 6.2 step 5: the signature belongs to the certificate that info names."""
    assert outcome(GOOD, credential_=issued_credential(spc="9999")) == "signature_invalid"


def test_certificate_of_numbers_covers_the_caller() -> None:
    """RFC 8224 6.2 step 3: the credential has authority over the originating identity."""
    from kamailio_app.credentials.tnauthlist import TNAuthList
    from kamailio_app.lab.pki import ServiceProvider

    for number, expected in ((ORIG, "valid"), ("12155550122", "tn_not_authorized")):
        issued = hierarchy().service_provider(ServiceProvider(tnauthlist=TNAuthList(numbers=(number,))))
        assert outcome(identity(token(key=issued.key)), credential_=credential(issued)) == expected


def test_nothing_is_fetched_for_a_request_that_fails_already() -> None:
    """RFC 8224 6.2: local steps come first; a stale, malformed or misaddressed header costs no fetch."""
    stale = identity(token(claims={**CLAIMS, "iat": NOW - 600}))
    wrong_orig = identity(token(claims={**CLAIMS, "orig": {"tn": "1"}}))
    wrong_dest = identity(token(claims={**CLAIMS, "dest": {"tn": ["1"]}}))
    request = replace(INVITE, identity=(stale, wrong_orig, wrong_dest, "a.b.c", "x"))
    assert sti_vs.examine(request, now=NOW).needed == ()
    assert sti_vs.examine(replace(INVITE, identity=(GOOD,)), now=NOW).needed == (X5U,)


def test_one_credential_is_fetched_once() -> None:
    """RFC 8224 6.2 step 3: two headers of one signer need one credential."""
    assert sti_vs.examine(replace(INVITE, identity=(GOOD, GOOD)), now=NOW).needed == (X5U,)


# --- 6.2.1, 6.2.2 -------------------------------------------------------------------------------------------------


def _combined(*tokens: str) -> Verification:
    return combine(tuple(Verdict(failure(token) if token else None) for token in tokens))


def test_one_valid_header_suffices() -> None:
    """RFC 8224 6.2.1: only if all headers are invalid is the request invalid."""
    assert verify("rubbish", GOOD, "x.y.z;info=<http://x>;ppt=shaken").valid
    assert not verify("rubbish", "x.y.z;info=<http://x>;ppt=shaken").valid


@pytest.mark.parametrize(
    ("token", "error", "code", "phrase"),
    [
        ("identity_missing", UseIdentityHeader, 428, "Use Identity Header"),
        ("x5u_unreachable", BadIdentityInfo, 436, "Bad Identity Info"),
        ("credential_untrusted", UnsupportedCredential, 437, "Unsupported Credential"),
        ("signature_invalid", InvalidIdentityHeader, 438, "Invalid Identity Header"),
        ("iat_stale", StaleDate, 403, "Stale Date"),
    ],
)
def test_codes_and_phrases(token: str, error: type[StirError], code: int, phrase: str) -> None:
    """RFC 8224 6.2.2: the response codes and their reason phrases."""
    raised = failure(token)
    assert type(raised) is error
    assert (raised.code, raised.phrase) == (code, phrase)


def test_436_only_if_no_credential_could_be_had() -> None:
    """RFC 8224 6.2.2: 436 is for the credentials of all Identity headers."""
    assert _combined("x5u_unreachable", "x5u_timeout").token == "x5u_unreachable"
    assert _combined("x5u_unreachable", "signature_invalid").token == "signature_invalid"


def test_437_if_at_least_one_credential_was_unsupported() -> None:
    """RFC 8224 6.2.2: 437 is for at least one header."""
    assert _combined("signature_invalid", "credential_untrusted", "x5u_timeout").token == "credential_untrusted"


def test_428_only_if_nothing_supported_was_there() -> None:
    """RFC 8224 6.2.2: an ignored header does not hide a broken one."""
    assert _combined("ppt_unsupported", "passport_malformed").token == "passport_malformed"
    assert _combined("ppt_unsupported").token == "ppt_unsupported"
    assert combine(()).token == "identity_missing"


def test_428_must_be_sent_where_identity_is_required() -> None:
    """RFC 8224 6.2.2: MUST, if policy requires Identity and there is none."""
    rejecting = TreatmentRules(FailureAction.REJECT, require_identity=True)
    treated = treatment(verify(), rejecting)
    assert (treated.code, treated.phrase) == (428, "Use Identity Header")
    assert treatment(verify(), replace(rejecting, require_identity=False)).code == 0


def test_valid_call_is_never_rejected() -> None:
    """RFC 8224 6.2.2: codes are for failures."""
    assert treatment(verify(GOOD), TreatmentRules(FailureAction.REJECT, require_identity=True)).code == 0


# --- 8: canonical identities --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("tel:+1-215-555-0121", "12155550121"),
        ("sip:+12155550121@example.com;user=phone", "12155550121"),
        ("sip:2155550121@10.0.0.1", "12155550121"),
        ("sip:+12155550121;npdi;rn=+12155550000@gw;user=phone", "12155550121"),
        ("sip:+12155550121;verstat=TN-Validation-Passed@gw;user=phone", "12155550121"),
        ("sip:%2B12155550121@gw;user=phone", "12155550121"),
        ("sip:+12155550121:secret@gw;user=phone", "12155550121"),
        ("tel:5550121;phone-context=+1215", "12155550121"),
        ("tel:+12155550121;phone-context=+44", "12155550121"),
        ("TEL:+1-215-555-0121;phone-context=+44", "12155550121"),
        ("sip:+1%20215%20555%200121@gw.example;user=phone", "12155550121"),
        ("sip:011442071838750@gw", "442071838750"),
        ("sip:911@gw", "911"),
        ("tel:112", "112"),
        ("tel:*67", "*67"),
        ("sip:%23123@gw", "#123"),
        ("SIP:+1(215)555.0121@gw", "12155550121"),
        ("TEL:+12155550121", "12155550121"),
    ],
)
def test_number_in_canonical_form(uri: str, expected: str) -> None:
    """RFC 8224 8.3: digits, # and *, country code first, no plus, no separators, no parameters."""
    assert party(uri, NANP) == Party("tn", expected)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:alice@Example.COM:5070;transport=tcp?x=y", "sip:alice@example.com"),
        ("sips:B%6Fb@EXAMPLE.com", "sips:bob@example.com"),
        ("sip:alice:secret@example.com", "sip:alice@example.com"),
        ("sip:alice;x=y@example.com", "sip:alice@example.com"),
        ("sip:example.com", "sip:example.com"),
        ("sip:alice@[2001:DB8::1]:5060", "sip:alice@[2001:db8::1]"),
        ("sip:a%40b@example.com", "sip:a%40b@example.com"),
        ("urn:service:sos", "urn:service:sos"),
        ("sip:1-800-FLOWERS@gw.example;user=phone", "sip:1-800-flowers@gw.example"),
        ("sip:+1%20215%20555%200121@gw.example", "sip:+1%20215%20555%200121@gw.example"),  # not dialable, no user=phone
    ],
)
def test_uri_in_canonical_form(uri: str, expected: str) -> None:
    """RFC 8224 8.5: no parameters, headers, password, port; case folded; needless escapes undone."""
    assert party(uri, NANP) == Party("uri", expected)


@pytest.mark.parametrize(
    "uri", ["", "sip:", "tel:", "tel:abc", "mailto:a@b", "12155550121", "sip:alice@", "sip:a%zz@b", "sip:a@b c"]
)
def test_no_identity_at_all(uri: str) -> None:
    """RFC 8224 8.1: neither a number nor a SIP URI."""
    assert party(uri, NANP) is None


def test_zero_in_brackets_is_no_number() -> None:
    """RFC 8224 8.3: +44(0)20 taken literally would name a number that does not exist."""
    assert canonical_tn("+44(0)2071838750") is None


def test_letters_are_refused_and_not_dropped() -> None:
    """RFC 8224 8.3: 1-800-FLOWERS without its letters would be 1800."""
    assert canonical_tn("1-800-FLOWERS") is None


def test_number_has_fifteen_digits_at_most() -> None:
    """RFC 8226 9, E.164: one to fifteen."""
    assert canonical_tn("+" + "1" * 15) == "1" * 15
    assert canonical_tn("+" + "1" * 16) is None
    assert canonical_tn("") is None


def test_both_sides_are_canonicalised_before_they_are_compared() -> None:
    """RFC 8224 6.2 step 5, 8.3: +1 (215) in SIP and +1215 in the PASSporT are one number."""
    loose = identity(token(claims={**CLAIMS, "orig": {"tn": f"+{ORIG}"}, "dest": {"tn": [f"+1-215-{DEST[4:]}"]}}))
    assert outcome(loose, request=replace(INVITE, from_uri="tel:+1(215)555-0121")) == "valid"


def test_asserted_identity_goes_before_from() -> None:
    """RFC 8224 8, RFC 3325 9.1: in a trust domain P-Asserted-Identity names the caller; a tel URI before a sip URI."""
    request = replace(
        INVITE,
        from_uri="sip:anonymous@anonymous.invalid",
        asserted=('"Bob, \\"B\\"" <sip:+12155550100@x;user=phone>, <tel:+12155550121>',),
    )
    assert caller(request, "pai") == Party("tn", ORIG)
    assert caller(request, "from") == Party("uri", "sip:anonymous@anonymous.invalid")
    assert parts(sign(request).identity)[1]["orig"] == {"tn": ORIG}
    assert outcome(GOOD, request=request) == "valid"


def test_called_party_by_choice() -> None:
    """RFC 8224 4.1: To, or the Request-URI."""
    request = replace(INVITE, request_uri="tel:911")
    assert called(request, "to") == Party("tn", DEST)
    assert called(request, "request_uri") == Party("tn", "911")


# --- RFC 3261 20.17 -----------------------------------------------------------------------------------------------


def test_sip_date_is_rfc_1123_in_gmt() -> None:
    """RFC 3261 20.17: Date of the RFC's own example."""
    assert parse_date("Sat, 13 Nov 2010 23:29:00 GMT") == 1289690940
    assert format_date(1289690940) == "Sat, 13 Nov 2010 23:29:00 GMT"


@pytest.mark.parametrize(
    "date",
    [
        "",
        "Sat, 13 Nov 2010 23:29:00 UTC",
        "Sat, 13 Nov 2010 23:29:00 +0000",
        "Sat, 13 Nov 10 23:29:00 GMT",
        "Sat, 3 Nov 2010 23:29:00 GMT",
        "Sat, 13 Nov 2010 24:00:00 GMT",
        "Sat, 13 Nov 2010 23:60:00 GMT",
        "Sat, 31 Feb 2010 23:29:00 GMT",
        "Sat, 00 Nov 2010 23:29:00 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "sat, 13 nov 2010 23:29:00 gmt",
        "Saturday, 13-Nov-10 23:29:00 GMT",
        "1289690940",
        "Sat, 13 Nov 2010 23:29:00 GMT\r\nX: y",
        "Sat, \u0661\u0663 Nov 2010 23:29:00 GMT",
    ],
)
def test_anything_else_is_no_sip_date(date: str) -> None:
    """RFC 3261 20.17, 25.1: SIP-date = rfc1123-date."""
    with pytest.raises(StaleDate) as caught:
        parse_date(date)
    assert caught.value.token == "date_malformed"
