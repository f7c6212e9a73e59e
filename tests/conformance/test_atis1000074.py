"""ATIS-1000074: SHAKEN signing and verification, x5u, verstat; with ATIS-1000082's error conditions (TS 24.229 for verstat)."""

from __future__ import annotations

import pytest

from kamailio_app import sti_vs
from kamailio_app.credentials.lifetime import LifetimeRules, lifetime
from kamailio_app.credentials.x5u import DEFAULT_RULES, MAX_URL_OCTETS, X5uRules, check_x5u
from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, BadIdentityInfo, NotSigned, StirError, failure
from kamailio_app.identity import MAX_FIELD_OCTETS
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.emergency import is_emergency
from kamailio_app.policy.treatment import FailureAction, TreatmentRules, treatment
from kamailio_app.sip import Party, party, uris, with_verstat, without_verstat
from kamailio_app.sti_vs import MAX_IDENTITY_HEADERS
from kamailio_app.verdict import Verdict, combine

from .support import (
    CLAIMS,
    HEADER,
    INVITE,
    NOW,
    X5U,
    identity,
    issued_credential,
    outcome,
    replace,
    sign,
    token,
    verify,
    without,
)

GOOD = identity(token())

# --- 5.2: signing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ACK", "CANCEL", "BYE", "MESSAGE", "REGISTER", "OPTIONS", "invite", ""])
def test_only_invite_is_signed(method: str) -> None:
    """ATIS-1000074 5.2: the authentication service signs INVITE requests."""
    with pytest.raises(NotSigned) as caught:
        sign(replace(INVITE, method=method))
    assert caught.value.token == "request_not_signed"


def test_request_inside_a_dialog_is_not_signed() -> None:
    """ATIS-1000074 5.2: a re-INVITE names no new call."""
    with pytest.raises(NotSigned) as caught:
        sign(replace(INVITE, in_dialog=True))
    assert caught.value.token == "request_not_signed"


@pytest.mark.parametrize(
    "present",
    [
        GOOD,
        identity(token(), f";info=<{X5U}>"),
        f"a.b.c;info=<{X5U}>;ppt=shaken",
        f'a.b.c;info=<{X5U}>;ppt="shaken"',
        f"a.b.c;info=<{X5U}>;ppt=div,{GOOD}",
    ],
)
def test_call_that_is_signed_is_not_signed_again(present: str) -> None:
    """ATIS-1000074 5.2, RFC 8946 4.1: one shaken PASSporT; what is there stays."""
    with pytest.raises(NotSigned) as caught:
        sign(replace(INVITE, identity=(present,)))
    assert caught.value.token == "identity_present"


@pytest.mark.parametrize("present", ["a.b.c;info=<https://x/y>;ppt=div", "rubbish", "a.b.c", ""])
def test_other_identity_headers_do_not_prevent_signing(present: str) -> None:
    """RFC 8224 6.1: a diversion or an unreadable header is not the attestation of this call."""
    assert sign(replace(INVITE, identity=(present,))).claims.attest is Attestation.FULL


def test_identity_value_has_the_form_all_implementations_read() -> None:
    """ATIS-1000074 5.2: info, alg, ppt, without spaces or quotes."""
    digest, *parameters = sign().identity.split(";")
    assert digest.count(".") == 2
    assert parameters == [f"info=<{X5U}>", "alg=ES256", "ppt=shaken"]


# --- 5.3.1: x5u ---------------------------------------------------------------------------------------------------


def _x5u(url: str, rules: X5uRules = DEFAULT_RULES) -> str:
    try:
        check_x5u(url, rules)
    except BadIdentityInfo as error:
        return error.token
    return "fetched"


@pytest.mark.parametrize(
    "url",
    [
        X5U,
        "https://cr.example.test",
        "https://cr.example.test/",
        "https://cr.example.test:443/x.pem",
        "https://cr.example.test:8443/x.pem",
        "HTTPS://CR.EXAMPLE.TEST/x.pem",
        "https://cr.example.test./x.pem",
        "https://xn--bcher-kva.example/%20/~a.cer",
        "https://localhost/x.pem",
    ],
)
def test_https_url_is_dereferenced(url: str) -> None:
    """ATIS-1000074 5.3.1: https, port 443 or 8443."""
    assert _x5u(url) == "fetched"


@pytest.mark.parametrize(
    "url",
    [
        "http://cr.example.test/x.pem",
        "ftp://cr.example.test/x.pem",
        "file:///etc/passwd",
        "/usr/share/stir_pubkey.pem",
        "//cr.example.test/x.pem",
        "https:cr.example.test/x.pem",
        "",
    ],
)
def test_other_schemes_are_not_dereferenced(url: str) -> None:
    """ATIS-1000074 5.3.1: SHOULD NOT dereference other than https."""
    assert _x5u(url) == "x5u_refused"


@pytest.mark.parametrize(
    "url",
    [
        "https://u@cr.example.test/x.pem",
        "https://u:p@cr.example.test/x.pem",
        "https://@cr.example.test/x.pem",
        "https://cr.example.test@evil.example/x.pem",
    ],
)
def test_url_with_userinfo_is_not_dereferenced(url: str) -> None:
    """ATIS-1000074 5.3.1: MUST NOT."""
    assert _x5u(url) == "x5u_refused"


@pytest.mark.parametrize("tail", ["?", "?a=b", "#", "#f", "?#", "/?/#"])
def test_url_with_query_or_fragment_is_not_dereferenced(tail: str) -> None:
    """ATIS-1000074 5.3.1: MUST NOT."""
    assert _x5u(X5U + tail) == "x5u_refused"
    assert _x5u("https://cr.example.test" + tail) == "x5u_refused"


@pytest.mark.parametrize(
    "port", ["80", "8080", "9443", "0", "65536", "4430", "0443443", "-443", "443a", "", " 443", "\uff14\uff14\uff13"]
)
def test_other_ports_are_not_dereferenced(port: str) -> None:
    """ATIS-1000074 5.3.1: SHOULD NOT dereference ports other than 443 and 8443."""
    assert _x5u(f"https://cr.example.test:{port}/x.pem") == "x5u_refused"


def test_operator_may_allow_another_port() -> None:
    """ATIS-1000074 5.3.1: SHOULD NOT, so there is an option."""
    assert _x5u("https://cr.example.test:9443/x", X5uRules(frozenset({9443}))) == "fetched"
    assert _x5u("https://cr.example.test/x", X5uRules(frozenset({9443}))) == "x5u_refused"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[fe80::1%25eth0]",
        "1.2.3.4.",
        "",
        ".",
        "-a.example",
        "a-.example",
        "a..example",
        "a_b.example",
        "a" * 64 + ".example",
        ("a" * 60 + ".") * 5 + "example",
        "%6cocalhost",
        "exa%6dple.test",
        "b\u00fccher.example",
    ],
)
def test_host_is_a_name_and_no_address(host: str) -> None:
    """ATIS-1000074 5.3.1 (standards FX-1): addresses in any notation are refused before anything is resolved."""
    assert _x5u(f"https://{host}/x.pem") == "x5u_refused"


@pytest.mark.parametrize("octet", ["\r\n", "\n", "\0", " ", "\t", '"', "<", ">", "\\", "^", "`", "{", "|", "\x7f", "\u00e9"])
def test_url_holds_no_character_that_no_uri_has(octet: str) -> None:
    """RFC 3986 2: no request smuggling, no log line of the peer's making."""
    assert _x5u(f"https://cr.example.test/a{octet}b") == "x5u_refused"
    assert _x5u(X5U + octet) == "x5u_refused"


def test_url_has_a_bounded_length() -> None:
    """ATIS-1000074 5.3.1 (standards FX-1): 2048 octets."""
    url = "https://cr.example.test/"
    assert _x5u(url + "a" * (MAX_URL_OCTETS - len(url))) == "fetched"
    assert _x5u(url + "a" * (MAX_URL_OCTETS - len(url) + 1)) == "x5u_refused"


def test_refused_url_is_never_asked_for() -> None:
    """ATIS-1000074 5.3.1: `needed` names no URL that must not be dereferenced."""
    url = "http://cr.example.test/x.pem"
    field = identity(token({**HEADER, "x5u": url}), f";info=<{url}>;ppt=shaken")
    assert sti_vs.examine(replace(INVITE, identity=(field,)), now=NOW).needed == ()
    assert outcome(field) == "x5u_refused"


@pytest.mark.parametrize(
    ("directives", "seconds"),
    [
        ("", 86400),
        ("max-age=3600", 86400),
        ("no-store, max-age=3600", 86400),
        ("max-age=90000", 90000),
        ('max-age="90000"', 90000),
        ("public, MAX-AGE = 90000", 90000),
        ("max-age=99999999", 604800),
        ("max-age=99999999999999999999", 604800),
        ("x-max-age=90000", 86400),
        ("max-age=-1", 86400),
    ],
)
def test_certificate_is_kept_for_a_day_at_least(directives: str, seconds: int) -> None:
    """ATIS-1000074 5.3.1: no directives, or less than a day, mean a day."""
    assert lifetime(directives, LifetimeRules()) == seconds


# --- 5.3: verification, in the order and with the verstat of ATIS-1000082 -----------------------------------------

STALE = {**CLAIMS, "iat": NOW - 600}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (identity(token(without(HEADER, "typ"), STALE)), "jose_header_incomplete"),  # E9 before E15
        (identity(token({**HEADER, "typ": "x"}, STALE)), "typ_unsupported"),  # E11 before E15
        (identity(token(claims=without(STALE, "attest"))), "claim_missing"),  # E14 before E15
        (identity(token(claims={**STALE, "orig": {"tn": "1"}})), "iat_stale"),  # E15 before E16
        (identity(token(claims={**CLAIMS, "attest": "D", "orig": {"tn": "1"}})), "attest_invalid"),  # E19 before E16
        (token(claims=STALE) + ";ppt=shaken", "info_missing"),  # E6 before E15
    ],
)
def test_first_condition_that_fails_is_reported(value: str, expected: str) -> None:
    """ATIS-1000082 error conditions: cheap ones first, in the table's order."""
    assert outcome(value) == expected


def test_chain_is_judged_before_the_signature() -> None:
    """ATIS-1000082 E17 before E18."""
    forged = identity(token()[:-4] + "AAAA")
    assert outcome(forged, credential_=failure("credential_untrusted")) == "credential_untrusted"
    assert outcome(forged) == "signature_invalid"


@pytest.mark.parametrize("name", ["x5u_unreachable", "x5u_timeout", "x5u_http_status", "x5u_too_large", "credential_expired"])
def test_credential_that_cannot_be_had_decides(name: str) -> None:
    """ATIS-1000082 E8, E17: the reason why there is no credential is the header's own."""
    verification = verify(GOOD, credential_=failure(name))
    assert verification.token == name
    assert verification.verdict.passport is not None


def test_valid_call_has_passed() -> None:
    """TS 24.229 verstat: TN-Validation-Passed, whatever the attestation."""
    for attest in "ABC":
        assert verify(identity(token(claims={**CLAIMS, "attest": attest}))).verstat == PASSED


def test_forged_call_has_failed() -> None:
    """ATIS-1000082 E17, E18: TN-Validation-Failed."""
    assert verify(GOOD, credential_=issued_credential(spc="9999")).verstat == FAILED
    assert verify(GOOD, credential_=failure("credential_untrusted")).verstat == FAILED


def test_call_that_could_not_be_checked_is_not_validated() -> None:
    """ATIS-1000082 E3 to E16: No-TN-Validation."""
    for value in ("rubbish", identity(token(claims=STALE)), identity(token({**HEADER, "typ": "JWT"}))):
        assert verify(value).verstat == NOT_VALIDATED
    assert verify().verstat == NOT_VALIDATED
    assert verify(GOOD, credential_=failure("x5u_timeout")).verstat == NOT_VALIDATED


def test_failed_dominates_when_several_headers_fail() -> None:
    """TS 24.229 verstat (standards VT-6)."""
    verdicts = tuple(Verdict(failure(name)) for name in ("iat_stale", "signature_invalid"))
    assert combine(verdicts).verstat == FAILED
    assert combine((*verdicts, Verdict(None))).verstat == PASSED


def test_call_goes_on_by_default() -> None:
    """ATIS-1000074 5.3 (standards RC-2): no call is rejected unless the operator chose to; verstat tells the callee."""
    for verification in (verify(), verify("rubbish"), verify(GOOD), verify(GOOD, credential_=failure("credential_untrusted"))):
        treated = treatment(verification, TreatmentRules())
        assert (treated.code, treated.phrase, treated.verstat) == (0, "", verification.verstat)


def test_rejecting_uses_the_code_of_the_failure() -> None:
    """RFC 8224 6.2.2: by the operator's choice."""
    rules = TreatmentRules(FailureAction.REJECT)
    for value, code, phrase in (
        (identity(token(claims=STALE)), 403, "Stale Date"),
        ("rubbish", 438, "Invalid Identity Header"),
    ):
        treated = treatment(verify(value), rules)
        assert (treated.code, treated.phrase, treated.verstat) == (code, phrase, "")


@pytest.mark.parametrize("to", ["sip:911@x", "sip:+911@x", "tel:112", "urn:service:sos", "urn:service:sos.police"])
def test_emergency_call_is_never_rejected(to: str) -> None:
    """RFC 8224 6.2.2 leaves it to policy (standards EM-1, RC-4): no emergency call is lost to a verification."""
    rules = TreatmentRules(FailureAction.REJECT, require_identity=True)
    call = replace(INVITE, to_uri=to)
    emergency = is_emergency(call, frozenset({"911", "112"}))
    for verification in (verify(request=call), verify("rubbish", request=call), verify(GOOD, request=call)):
        assert treatment(verification, rules).code in (428, 438)
        assert treatment(verification, rules, emergency=emergency).code == 0


@pytest.mark.parametrize("header", [(), ("a.b.c;info=<https://x/y>;ppt=other",)])
def test_428_is_sent_where_identity_is_mandatory(header: tuple[str, ...]) -> None:
    """RFC 8224 6.2.2 (standards RC-1): if local policy requires an Identity and none that is supported is there, 428."""
    rules = TreatmentRules(FailureAction.REJECT, require_identity=True)
    treated = treatment(verify(*header), rules)
    assert (treated.code, treated.phrase) == (428, "Use Identity Header")


def test_headers_have_a_bounded_size() -> None:
    """ATIS-1000074 5.3 (standards VS-11): larger than any honest one, refused before it is read."""
    padding = "x" * (MAX_FIELD_OCTETS - len(GOOD) - 3)
    assert outcome(f"{GOOD};a={padding}") == "valid"
    assert outcome(f"{GOOD};a={padding}x") == "identity_too_large"


def test_headers_have_a_bounded_number() -> None:
    """ATIS-1000074 5.3 (standards VS-11): more than any honest call has, in one field or in many."""
    assert verify(*[GOOD] * MAX_IDENTITY_HEADERS).valid
    assert outcome(*[GOOD] * (MAX_IDENTITY_HEADERS + 1)) == "identity_too_many"
    assert outcome(",".join(["a.b.c"] * (MAX_IDENTITY_HEADERS + 1))) == "identity_too_many"


# --- verstat in URIs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("tel:+12155550121", "tel:+12155550121;verstat=X"),
        ("<tel:+12155550121>", "<tel:+12155550121;verstat=X>"),
        ("<tel:+12155550121;cpc=ordinary>;tag=1", "<tel:+12155550121;verstat=X;cpc=ordinary>;tag=1"),
        (
            "<sip:+12155550121@example.com;user=phone>;tag=1",
            "<sip:+12155550121;verstat=X@example.com;user=phone>;tag=1",
        ),
        ("sips:2155550121:secret@example.com", "sips:2155550121;verstat=X:secret@example.com"),
        ("<sip:+1215;npdi@a>, <tel:+1215>", "<sip:+1215;verstat=X;npdi@a>, <tel:+1215;verstat=X>"),
        ('"tel" <sip:alice@example.com>', '"tel" <sip:alice@example.com>'),
    ],
)
def test_verstat_stands_behind_the_number(value: str, expected: str) -> None:
    """TS 24.229 7.2A.20: a parameter of the tel URI, or of the user part before the "@"."""
    of = party(uris(value)[0])
    assert of
    assert with_verstat(value, "X", of) == expected


def test_number_that_was_not_verified_carries_no_verstat() -> None:
    """TS 24.229 7.2A.20: verstat tells the outcome for the number that it stands behind."""
    value = "<sip:+12155550199@example.com;user=phone>, <tel:+12155550121>"
    expected = "<sip:+12155550199@example.com;user=phone>, <tel:+12155550121;verstat=X>"
    assert with_verstat(value, "X", Party("tn", "12155550121")) == expected


@pytest.mark.parametrize(
    "value",
    [
        "<sip:+12155550121;verstat=TN-Validation-Passed@example.com;user=phone>",
        "<sip:+12155550121;VerStat=TN-Validation-Passed@example.com;user=phone>",
        "<sip:+12155550121; verstat = TN-Validation-Passed@example.com;user=phone>",
        "<sip:+12155550121;verstat@example.com;user=phone>",
        "<sip:+12155550121;verstat=a;verstat=b@example.com;user=phone>",
        "<sip:+12155550121@example.com;verstat=TN-Validation-Passed;user=phone>",
        "<sip:+12155550121@example.com;user=phone;verstat=TN-Validation-Passed>",
        "<sip:+12155550121@example.com;user=phone>;verstat=TN-Validation-Passed",
    ],
)
def test_verstat_of_a_peer_is_removed(value: str) -> None:
    """TS 24.229 (standards VT-3): MUST remove what did not come from own verification, wherever it stands."""
    assert without_verstat(value) == "<sip:+12155550121@example.com;user=phone>"
    ours = "<sip:+12155550121;verstat=No-TN-Validation@example.com;user=phone>"
    assert with_verstat(value, "No-TN-Validation", Party("tn", "12155550121")) == ours


def test_removal_leaves_no_other_verstat_behind() -> None:
    """TS 24.229 (standards VT-3): two halves do not close up to a whole."""
    for value in ("<tel:+1;;verstat verstat=P>", "<tel:+1;ver;verstatstat=P>", "<tel:+1;;verstat=a verstat=P>"):
        assert ";verstat=P" not in without_verstat(value).replace(" ", "")


@pytest.mark.parametrize("value", ["<tel:+1;xverstat=P>", "<tel:+1;verstats=P>", "<sip:verstat@h>", '"verstat=P" <tel:+1>'])
def test_other_words_stay(value: str) -> None:
    """TS 24.229: verstat is a parameter's whole name."""
    assert without_verstat(value) == value


def test_quotes_around_a_display_name_survive() -> None:
    """RFC 3261 25.1: a header field stays well-formed."""
    assert without_verstat('"a;verstat=b" <tel:+1;verstat=P>').endswith('" <tel:+1>')


def test_verstat_of_every_failure_is_one_of_the_two() -> None:
    """TS 24.229 7.2A.20."""
    assert {row.verstat for row in FAILURES.values()} == {FAILED, NOT_VALIDATED}
    assert issubclass(BadIdentityInfo, StirError)
