"""A call explained: the verdict is that of `sti_vs`; the checks say what led there, and what else is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.errors import FAILURES, StirError, failure
from kamailio_app.explain.explanation import Explanation, completed, explain, urls
from kamailio_app.explain.judge import Found
from kamailio_app.explain.steps import Check, State, failed, passed, walk
from kamailio_app.policy.treatment import FailureAction
from kamailio_app.runtime.service import MAX_FETCHES
from kamailio_app.sip import Party
from kamailio_app.tn import NumberPlan

from ..builders import ABSENT, CLAIMS, DATE, DEST, JOSE, NOW, ORIG, X5U, b64, evil, identity, provider, request, signed, to_json
from .support import OTHER_TN, edge, settings, step, told, wrong

BASE = {name: CLAIMS[name] for name in ("dest", "iat", "orig")}


def extension(ppt: str, **claims: object) -> str:
    """A correctly signed PASSporT of another type."""
    return f"{signed(to_json({**JOSE, 'ppt': ppt}), to_json({**BASE, **claims}))};info=<{X5U}>;alg=ES256;ppt={ppt}"


# --- One header -------------------------------------------------------------------------------------------------


def test_valid_call_passes_every_check() -> None:
    found = told()
    assert found.valid
    assert (found.token, found.further, found.undecided) == ("", (), False)
    (header,) = found.headers
    assert {step.state for step in header.steps} == {State.PASSED, State.NOT_LOOKED_AT}
    assert [step.check for step in header.steps if step.state is State.NOT_LOOKED_AT] == ["Date", "revocation"]
    assert (header.ppt, header.jose, header.claims) == ("shaken", JOSE, CLAIMS)


UNSIGNED = identity().partition(";")[0].rpartition(".")[0]
ONE_FAILURE = [
    ("size", "identity_too_large", identity() + ";x=" + "a" * 17000),
    ("field", "identity_malformed", "x;info=<https://x>"),
    ("field", "info_missing", identity(parameters=";ppt=shaken")),
    ("field", "info_malformed", identity(parameters=f";info={X5U};ppt=shaken")),
    ("JOSE size", "passport_malformed", f"{'A' * 4100}.{b64(b'{}')}.AAAA;info=<{X5U}>;ppt=shaken"),
    ("type known", "ppt_unsupported", identity(parameters=f";info=<{X5U}>;ppt=foo")),
    ("form", "compact_form_unsupported", f"..{b64(b'x' * 64)};info=<{X5U}>;ppt=shaken"),
    ("form", "ppt_unsupported", f"..{b64(b'x' * 64)};info=<{X5U}>"),
    ("JOSE header", "passport_malformed", signed(b"{", to_json(CLAIMS)) + f";info=<{X5U}>;ppt=shaken"),
    ("JOSE members", "jose_header_incomplete", identity({"typ": ABSENT})),
    ("typ", "typ_unsupported", identity({"typ": "JWT"})),
    ("alg", "alg_unsupported", identity({"alg": "none"})),
    ("x5u and ppt", "info_mismatch", identity({"x5u": 1})),
    ("x5u and ppt", "claim_malformed", identity({"ppt": 1})),
    ("type known", "ppt_unsupported", identity({"ppt": ABSENT}, parameters=f";info=<{X5U}>")),
    ("alg parameter", "alg_mismatch", identity(parameters=f";info=<{X5U}>;alg=RS256;ppt=shaken")),
    ("info is x5u", "info_mismatch", identity(parameters=f";info=<{X5U}x>;ppt=shaken")),
    ("x5u allowed", "x5u_refused", identity({"x5u": "http://x/y"}, parameters=";info=<http://x/y>;ppt=shaken")),
    ("ppt parameter", "ppt_mismatch", identity({"ppt": "div"})),
    ("ppt parameter", "jose_header_incomplete", identity({"ppt": ABSENT})),
    (
        "signature text",
        "passport_malformed",
        identity().partition(";")[0].rpartition(".")[0] + f".AAAAA;info=<{X5U}>;ppt=shaken",
    ),
    ("payload", "passport_malformed", signed(to_json(JOSE), b'{"iat":1,"iat":2}') + f";info=<{X5U}>;ppt=shaken"),
    ("claims", "claim_missing", identity(claims={"origid": ABSENT})),
    ("claims", "claim_malformed", identity(claims={"iat": str(NOW)})),
    ("claims", "attest_invalid", identity(claims={"attest": "D"})),
    ("iat", "iat_stale", identity(claims={"iat": NOW - 61})),
    ("iat", "iat_in_future", identity(claims={"iat": NOW + 61})),
    ("orig", "orig_mismatch", identity(claims={"orig": {"tn": OTHER_TN}})),
    ("dest", "dest_mismatch", identity(claims={"dest": {"tn": [OTHER_TN]}})),
    ("signature", "signature_invalid", f"{UNSIGNED}.{b64(bytes(64))};info=<{X5U}>;ppt=shaken"),
]


@pytest.mark.parametrize(("check", "token", "value"), ONE_FAILURE, ids=[f"{row[0]}-{row[1]}" for row in ONE_FAILURE])
def test_failure_is_shown_where_it_is_made(check: str, token: str, value: str) -> None:
    found = told(value)
    assert found.token == token
    (header,) = found.headers
    first = next(step for step in header.steps if step.token)
    assert (first.check, first.token, first.further) == (check, token, False)
    assert first.clause == FAILURES[token].clause


def test_every_check_before_the_failure_passed_and_none_after_it_is_the_edges() -> None:
    (header,) = told(identity(claims={"iat": NOW - 75})).headers
    place = next(number for number, step in enumerate(header.steps) if step.state is State.FAILED)
    assert {step.state for step in header.steps[:place]} == {State.PASSED}
    assert not any(step.further for step in header.steps[: place + 1])
    assert all(step.further for step in header.steps[place + 1 :])
    assert step(header, "iat").words == "iat 2023-11-14T22:12:05Z, 75 s before the clock; 60 s are allowed (max_iat_age)"


def test_one_run_shows_all_that_is_wrong() -> None:
    value = identity(claims={"iat": NOW - 75, "orig": {"tn": OTHER_TN}, "dest": {"tn": [OTHER_TN]}})
    found = told(value, at=edge(trust=TrustAnchors([evil().root.certificate])))
    assert found.token == "iat_stale"
    assert wrong(found.headers[0]) == [
        ("iat", "iat_stale", False),
        ("orig", "orig_mismatch", True),
        ("dest", "dest_mismatch", True),
        ("chain", "credential_untrusted", True),
    ]
    assert found.further == ("orig_mismatch", "dest_mismatch", "credential_untrusted")


def test_passport_behind_a_broken_field_is_still_looked_at() -> None:
    (header,) = told(identity(claims={"attest": "D"}, parameters=f";info={X5U}")).headers
    assert wrong(header) == [("field", "info_malformed", False), ("claims", "attest_invalid", True)]
    assert step(header, "signature").state is State.PASSED


def test_what_cannot_be_learnt_is_not_reached() -> None:
    (header,) = told("x;info=<https://x>").headers
    assert wrong(header) == [("field", "identity_malformed", False)]
    assert {step.check for step in header.steps[2:] if step.state is State.PASSED} == {"telephone number"}  # From's
    assert step(header, "signature").state is State.NOT_REACHED


def test_all_that_is_wrong_in_the_claims_is_shown_with_them() -> None:
    (header,) = told(identity(claims={"attest": "D", "iat": "now"})).headers
    assert step(header, "claims").words.startswith("iat: attest 'D', origid '123e4567-")
    assert "iat 'now'" in step(header, "claims").words


def test_date_is_looked_at_where_the_settings_say_so() -> None:
    strict = edge("[verification]\nignore_sip_date_header = false")
    assert told(at=strict).token == "date_missing"
    late = told(at=strict, call=request(date=DATE.replace("22:13:20", "22:11:00")))
    assert late.token == "date_stale"
    assert step(late.headers[0], "Date").words == "Date 2023-11-14T22:11:00Z, 140 s before the clock, 140 s before iat"
    assert told(at=strict, call=request(date="yesterday")).token == "date_malformed"
    assert told(at=strict, call=request(date=DATE)).valid


def test_date_that_does_not_count_is_shown_all_the_same() -> None:
    (header,) = told(call=request(date="yesterday")).headers
    assert (
        step(header, "Date").words
        == "Date 'yesterday' is no SIP-date; ignore_sip_date_header is true: a fresh iat stands for it"
    )


def test_strict_parameters_are_the_code_profiles() -> None:
    found = told(identity(parameters=f";info=<{X5U}>"), at=edge('[verification]\ncode_profile = "man"'))
    assert (found.token, found.profile) == ("alg_mismatch", "man")
    assert found.answer is not None
    assert found.answer.code == 437
    assert wrong(found.headers[0]) == [("strict parameters", "alg_mismatch", False)]


def test_asserted_identity_is_named_as_the_source() -> None:
    (header,) = told(call=request(asserted=(f"<tel:+{OTHER_TN}>",))).headers
    assert step(header, "orig").words == f"signed {ORIG}, P-Asserted-Identity has {OTHER_TN}"


def test_uri_is_nobodys_to_sign() -> None:
    uri = "sip:alice@orig.example.com"
    found = told(identity(claims={"orig": {"uri": uri}}), call=request(from_uri=uri))
    assert found.token == "uri_not_authorized"
    assert wrong(found.headers[0]) == [("telephone number", "uri_not_authorized", False)]


# --- Several headers --------------------------------------------------------------------------------------------


def test_no_header_is_no_identity() -> None:
    found = explain(request(), edge(), NOW)
    assert (found.token, found.headers, found.valid) == ("identity_missing", (), False)


def test_too_many_headers_are_not_looked_at() -> None:
    found = told(*[identity()] * 11)
    assert (found.token, found.headers) == ("identity_too_many", ())


def test_one_valid_header_suffices() -> None:
    found = told(identity(claims={"attest": "D"}), identity())
    assert found.valid
    assert [header.token for header in found.headers] == ["attest_invalid", ""]
    assert found.further == ("attest_invalid",)


def test_several_values_in_one_field_are_several_headers() -> None:
    found = told(f"{identity()}, {identity(claims={'attest': 'D'})}")
    assert [(header.number, header.token) for header in found.headers] == [(1, ""), (2, "attest_invalid")]


def test_diversion_that_links_is_told() -> None:
    shaken = identity(claims={"dest": {"tn": [OTHER_TN]}})
    found = told(shaken, extension("div", div={"tn": OTHER_TN}))
    assert found.valid
    assert found.verification.diversions == (OTHER_TN,)
    assert step(found.headers[0], "dest").words == f"signed {OTHER_TN}, To has {DEST}; div PASSporTs lead there"
    assert step(found.headers[0], "diversions").words == f"diverted by {OTHER_TN}"
    assert step(found.headers[1], "dest").words == f"from {OTHER_TN} to {DEST}"


def test_diversion_that_links_nothing_fails_at_its_dest() -> None:
    found = told(identity(claims={"dest": {"tn": [OTHER_TN]}}), extension("div", div={"tn": "12155550177"}))
    assert found.token == "div_mismatch"
    assert [wrong(header) for header in found.headers] == [[("dest", "div_mismatch", False)]] * 2


def test_diversion_that_names_nobody_fails_there() -> None:
    found = told(identity(), extension("div", div={"uri": "sip:"}))
    assert wrong(found.headers[1])[0] == ("div", "div_mismatch", False)
    assert step(found.headers[1], "dest").state is State.NOT_REACHED


def test_whether_a_stale_diversion_would_link_is_not_known() -> None:
    found = told(
        identity(claims={"dest": {"tn": [OTHER_TN]}, "iat": NOW - 99}), extension("div", div={"tn": OTHER_TN}, iat=NOW - 99)
    )
    assert [header.token for header in found.headers] == ["iat_stale", "iat_stale"]
    assert [step(header, "dest").state for header in found.headers] == [State.NOT_REACHED] * 2


def test_link_that_fails_later_fails_the_call() -> None:
    shaken = identity(claims={"dest": {"tn": [OTHER_TN]}})
    div = extension("div", div={"tn": OTHER_TN})
    digest, semicolon, parameters = div.partition(";")
    forged = f"{digest.rpartition('.')[0]}.{b64(bytes(64))}{semicolon}{parameters}"
    found = told(shaken, forged)
    assert found.token == "signature_invalid"
    assert wrong(found.headers[0]) == [("diversions", "div_mismatch", False)]
    assert wrong(found.headers[1]) == [("signature", "signature_invalid", False)]


def test_priority_has_checks_of_its_own() -> None:
    trusting = edge('[verification]\nrph_signers = ["1234"]')
    call = request(resource_priority=("ets.0",))
    found = told(identity(), extension("rph", rph={"auth": ["ets.0"]}), at=trusting, call=call)
    assert found.verification.rph == ("ets.0",)
    assert step(found.headers[1], "priority signer").words == "1234 is among rph_signers"
    found = told(identity(), extension("rph", rph={"auth": ["ets.0"]}), call=call)
    assert wrong(found.headers[1])[0] == ("Resource-Priority", "rph_not_authorized", False)
    found = told(identity(), extension("rph", rph={"auth": ["ets.1"]}), at=trusting, call=call)
    assert wrong(found.headers[1]) == [("Resource-Priority", "rph_mismatch", False)]
    other = edge('[verification]\nrph_signers = ["5678"]')
    found = told(identity(), extension("rph", rph={"auth": ["ets.0"]}), at=other, call=call)
    assert wrong(found.headers[1]) == [("priority signer", "rph_not_authorized", False)]
    assert found.valid
    assert found.further == ("rph_not_authorized",)


def test_rich_call_data_is_checked_against_its_digests() -> None:
    right = extension("rcd", rcd={"nam": "Alice", "icn": "https://x/y"}, rcdi={"/icn": "sha256-" + "A" * 43 + "="})
    found = told(identity(), right)
    assert found.verification.rcd is not None
    assert step(found.headers[1], "rich call data").words == "0 digests fit; 1 of what is behind a URI, not fetched"
    found = told(identity(), extension("rcd", rcd={"nam": "Alice"}, rcdi={"/nam": "sha256-AAAA"}))
    assert wrong(found.headers[1]) == [("rich call data", "rcd_digest_mismatch", False)]
    found = told(identity(claims={"rcd": {"nam": "Alice"}, "rcdi": {"/nam": "sha256-AAAA"}}))
    assert found.valid
    assert found.further == ("rcd_digest_mismatch",)


# --- What comes of it -------------------------------------------------------------------------------------------


def test_action_is_the_settings() -> None:
    rejecting = edge('[verification]\nfailure_action = "reject"')
    found = told(identity(claims={"iat": NOW - 61}), at=rejecting)
    assert found.action is FailureAction.REJECT
    assert (found.treatment.code, found.treatment.verstat) == (403, "")
    assert found.treatment.reason[0].startswith('STIR ;cause=403 ;text="Stale Date"')


def test_emergency_call_is_not_rejected() -> None:
    rejecting = edge('[verification]\nfailure_action = "reject"')
    found = told(identity(claims={"attest": "D"}), at=rejecting, call=request(to_uri="sip:911@x"))
    assert found.emergency
    assert found.treatment.code == 0


def test_trunk_has_rules_of_its_own() -> None:
    known = settings('[trunk.a]\nfailure_action = "observe"')
    found = explain(request(identity=("x",)), edge('[trunk.a]\nfailure_action = "observe"'), NOW, known.trunks["a"])
    assert found.action is FailureAction.OBSERVE
    assert (found.treatment.code, found.treatment.verstat) == (0, "")


@pytest.mark.parametrize("changes", [{"method": "MESSAGE"}, {"in_dialog": True}])
def test_what_an_edge_does_not_verify_is_said(changes: dict[str, object]) -> None:
    found = told(call=request(**changes))
    assert (found.token, found.verified, found.valid) == ("request_not_signed", False, False)
    assert found.headers[0].token == ""


def test_without_its_certificate_nothing_is_decided() -> None:
    found = told(at=edge(chains={X5U: None}))
    assert found.undecided
    assert (found.token, found.valid, found.further) == ("credential_not_at_hand", False, ())
    (header,) = found.headers
    assert wrong(header) == []
    after = header.steps[[step.check for step in header.steps].index("certificate at hand") :]
    assert {step.state for step in after} == {State.NOT_LOOKED_AT}


def test_failure_before_the_certificate_is_decided_without_it() -> None:
    found = told(identity(claims={"iat": NOW - 61}), at=edge(chains={X5U: None}))
    assert not found.undecided
    assert found.token == "iat_stale"


def test_result_without_the_checks_is_the_same() -> None:
    call = request(identity=(identity(claims={"iat": NOW - 61}),))
    short, full = explain(call, edge(), NOW, deep=False), explain(call, edge(), NOW)
    assert short.headers == ()
    assert (short.token, short.answer, short.treatment) == (full.token, full.answer, full.treatment)


def test_urls_are_those_that_may_be_fetched_whatever_else_is_wrong() -> None:
    call = request(
        identity=(
            identity(claims={"iat": 0}),
            identity(parameters=f";info={X5U}"),
            identity({"x5u": "http://x/y"}),
            identity({"x5u": 7}),
            "junk",
            f"{'A' * 5000}.a.b",
        )
    )
    assert urls(call, settings().verification) == (X5U,)


# --- An Identity header without its request ---------------------------------------------------------------------


def bare(*values: str, **changes: object) -> tuple[Explanation, frozenset[str]]:
    call = request(identity=values, **{"request_uri": "", "from_uri": "", "to_uri": "", **changes})
    call, assumed = completed(call, NumberPlan())
    return explain(call, edge(), NOW, assumed=assumed), assumed


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"orig": {"tn": f"+{ORIG}"}, "dest": {"tn": ["+1 215-555-0131"]}},
        {"orig": {"tn": "*67"}, "dest": {"tn": ["911"]}},
        {"dest": {"uri": ["sip:bob@example.net"]}},
    ],
)
def test_header_alone_is_checked_for_all_but_the_numbers(claims: dict[str, object]) -> None:
    found, assumed = bare(identity(claims=claims))
    assert assumed == {"from", "to"}
    assert found.valid, found.token
    (header,) = found.headers
    assert [step(header, check).state for check in ("orig", "dest")] == [State.NOT_LOOKED_AT] * 2


def test_header_alone_with_its_numbers_is_checked_for_them() -> None:
    found, assumed = bare(identity(), from_uri=f"tel:+{OTHER_TN}", to_uri=f"tel:+{DEST}")
    assert (assumed, found.token) == (frozenset(), "orig_mismatch")


def test_diverted_headers_alone_lead_where_the_last_diversion_leads() -> None:
    found, _assumed = bare(extension("div", div={"tn": OTHER_TN}), identity(claims={"dest": {"tn": [OTHER_TN]}}))
    assert found.valid, found.token
    assert found.called == Party("tn", DEST)


@pytest.mark.parametrize(
    "value", ["", "x", "a.b.c", "..c;info=<u:x>", identity(claims={"orig": [], "dest": ""}), "e30.e30.e30"]
)
def test_header_alone_of_any_kind_is_explained(value: str) -> None:
    found, _assumed = bare(value)
    assert not found.valid


# --- The walk ---------------------------------------------------------------------------------------------------


def test_verdict_goes_before_what_the_checks_found() -> None:
    checks = [
        Check[str]("one", "RFC 1", lambda _evidence: passed("fine")),
        Check[str]("two", "RFC 2", lambda evidence: failed(failure(evidence))),
    ]

    def walked(error: StirError | None) -> list[tuple[str, str, bool]]:
        return [(step.check, step.token, step.further) for step in walk(checks, "iat_stale", error)]

    assert walked(failure("iat_stale")) == [("one", "", False), ("two", "iat_stale", False)]
    assert walked(failure("date_stale", "why")) == [
        ("one", "", False),
        ("verification", "date_stale", False),
        ("two", "iat_stale", True),
    ]
    assert walked(None) == [("one", "", False), ("two", "iat_stale", True)]
    assert walk(checks[:1], "", failure("date_stale"))[-1].check == "verification"


def test_what_was_seen_is_safe_to_show() -> None:
    (seen,) = walk([Check[str]("one", "RFC 1", lambda _evidence: passed("a\r\nb\x1b[31m" + "x" * 1000))], "", None)
    assert seen.words.startswith("a\\x0d\\x0ab\\x1b[31m")
    assert len(seen.words) < 450


def test_provider_of_the_tests_is_the_signer() -> None:
    assert step(told().headers[0], "signer's certificate").words == "P-256, may sign, TNAuthList SPC 1234"
    assert provider().certificate.subject.rfc4514_string() in step(told().headers[0], "certificate readable").words


# --- What an edge would fetch -----------------------------------------------------------------------------------


def elsewhere(number: int) -> str:
    """A call's header whose certificate is at another URL; the first is the youngest."""
    url = f"https://h{number}.example.test/chain.pem"
    return identity({"x5u": url}, {"iat": NOW - number}, parameters=f";info=<{url}>;alg=ES256;ppt=shaken")


@pytest.mark.parametrize(
    ("fetched", "number", "token"),
    [(True, MAX_FETCHES, ""), (True, MAX_FETCHES + 1, "x5u_http_status"), (False, MAX_FETCHES + 1, "")],
)
def test_no_more_certificates_are_fetched_for_a_call_than_an_edge_fetches(fetched: bool, number: int, token: str) -> None:
    last = f"https://h{number - 1}.example.test/chain.pem"

    def find(url: str) -> Found:
        if url == last:
            return Found(provider().chain_pem, words="fetched now", fetched=fetched)
        return Found(error=failure("x5u_http_status", "404"), words="fetched now", fetched=fetched)

    found = told(*map(elsewhere, range(number)), at=replace(edge(), find=find))
    assert found.token == token
    header = found.headers[-1]
    assert header.token == ("x5u_refused" if token else "")
    at_hand = step(header, "certificate at hand")
    assert ("an edge fetches 4 certificates for a call" in at_hand.words) is bool(token)


# --- What is no failure here, and may be one elsewhere ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "note"),
    [
        ({"origid": "not-a-uuid"}, "origid 'not-a-uuid' is no UUID (RFC 8588 5)"),
        ({"orig": {"tn": f"+{ORIG}"}}, f"orig tn '+{ORIG}' is not in canonical form"),
        ({"dest": {"tn": [DEST, f"+{DEST}"]}}, f"dest tn '+{DEST}' is not in canonical form"),
    ],
)
def test_what_others_may_refuse_is_a_note(claims: dict[str, object], note: str) -> None:
    found = told(identity(claims=claims))
    assert found.valid
    (said,) = found.notes
    assert said.startswith(note)


def test_passport_as_the_standards_have_it_has_no_note() -> None:
    assert told().notes == ()
    assert told("x").notes == ()


def test_of_what_is_not_verified_nothing_is_wrong() -> None:
    found = told(identity(claims={"iat": NOW - 75}), call=request()._replace(method="OPTIONS"))
    assert (found.valid, found.token, found.further) == (False, "request_not_signed", ())
