"""What is seen against what is expected: every expectation can fail."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.lab.sipp import Message, messages
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signer, Wanted, sign_all
from tests.sipp.suite import trace
from tests.sipp.suite.certificates import Certificates
from tests.sipp.suite.check import Seen, check, headers, verstat
from tests.sipp.suite.ends import DONE
from tests.sipp.suite.identity import Recipe
from tests.sipp.suite.identity import headers as identity_headers
from tests.sipp.suite.outcome import Finding
from tests.sipp.suite.scenario import Call, Callee, Case, Expect, Signed
from tests.sipp.suite.trace import Sight

NUMBER = "+12155550121"
PASSED = "TN-Validation-Passed"
FULL = Signed(attest="A")


def traced(text: str, *, received: bool = True, clock: str = "10:00:00.000000") -> str:
    way = "received" if received else "sent"
    return f"{'-' * 47} 2026-11-23 {clock}\nUDP message {way} [1] bytes :\n\n{text}\n\n"


def message(*lines: str, start: str = "INVITE sip:x@y SIP/2.0") -> Message:
    return messages(traced("\n".join((start, *lines))))[0]


def bad(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.what for finding in findings if not finding.good]


def sight(*invites: Message, answer: str = "200 OK", sent: Message | None = None, inside: tuple[Message, ...] = ()) -> Sight:
    return Sight("c-1", sent or message(), message("Reason: STIR", start=f"SIP/2.0 {answer}"), invites, inside)


def seen(*calls: Sight, words: dict[str, dict[str, str]] | None = None, flows: tuple[str, str] = (DONE, DONE)) -> Seen:
    return Seen(list(calls), *flows, words, lambda _url: None)


# --- Answer, flows, log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "answer", "good"),
    [
        (("200 OK",), "200 OK", True),
        (("200",), "200 OK", True),
        (("403 Stale Date",), "403 Forbidden", False),
        (("437", "438 Invalid Identity Header"), "438 Invalid Identity Header", True),
        (("20",), "200 OK", False),
    ],
)
def test_answer(expected: tuple[str, ...], answer: str, good: bool) -> None:
    findings = check(Case(expect=Expect(answer=expected)), seen(sight(answer=answer)))
    assert bad(findings) == ([] if good else ["answer to the caller"])


def test_no_answer_and_missing_calls_are_failures() -> None:
    case = Case(calls=2, expect=Expect(answer=("200",)))
    silent = dataclasses.replace(sight(), answer=None)
    assert bad(check(case, seen(silent))) == ["calls placed", "answer to the caller"]


def test_flow_that_broke_off_is_a_failure() -> None:
    findings = check(Case(expect=Expect(answer=("200",))), seen(sight(), flows=("aborted", "never came to its end")))
    assert bad(findings) == ["the caller's part of the flow", "the callee's part of the flow"]


def test_log_words() -> None:
    case = Case(expect=Expect(token="", log={"attest": "A"}))
    assert bad(check(case, seen(sight(), words={"c-1": {"attest": "A"}}))) == []
    assert bad(check(case, seen(sight(), words={"c-1": {"attest": "B", "token": "iat_stale"}}))) == [
        "attest in the log",
        "token in the log",
    ]
    assert bad(check(case, seen(sight(), words={}))) == ["attest in the log", "token in the log"]


def test_target_without_our_log_is_told_and_not_failed() -> None:
    findings = check(Case(expect=Expect(token="iat_stale")), seen(sight(), words=None))
    assert bad(findings) == []
    assert "not looked at" in findings[-1].got


def test_first_bad_of_many_calls_is_the_one_that_is_told() -> None:
    case = Case(calls=3, expect=Expect(answer=("200",)))
    findings = check(case, seen(sight(), sight(answer="503 Service Unavailable"), sight()))
    assert [finding.got for finding in findings if not finding.good] == ["503 Service Unavailable"]
    assert len([finding for finding in findings if finding.what == "answer to the caller"]) == 1


# --- Callee ------------------------------------------------------------------------------------------------------


def test_number_of_calls_at_the_callee() -> None:
    for calls, invites, good in ((0, 0, True), (0, 1, False), (1, 0, False), (1, 1, True), (1, 2, False)):
        findings = check(Case(expect=Expect(callee=Callee(calls))), seen(sight(*[message()] * invites)))
        assert (bad(findings) == []) is good


@pytest.mark.parametrize(
    ("lines", "expected", "good"),
    [
        ([f"From: <sip:{NUMBER};verstat={PASSED}@x>;tag=1"], PASSED, True),
        ([f"From: <sip:{NUMBER};verstat={PASSED};cpc=o@x>;tag=1"], PASSED, True),
        ([f"From: <tel:{NUMBER};verstat={PASSED}>;tag=1"], PASSED, True),
        ([f"From: <sip:{NUMBER}@x>;tag=1"], PASSED, False),
        ([f"From: <sip:{NUMBER}@x;verstat={PASSED}>;tag=1"], PASSED, False),
        ([f"From: <sip:{NUMBER}@x>;tag=1;verstat={PASSED}"], PASSED, False),
        ([f"From: <sip:{NUMBER};verstat=No-TN-Validation@x>"], PASSED, False),
        # A second one, spaced or folded (RFC 3261 7.3.1), is one too
        ([f"From: <sip:{NUMBER}; verstat = {PASSED} @x>"], "", False),
        ([f"P-Asserted-Identity: <tel:{NUMBER};verstat = {PASSED}>"], "", False),
        ([f"P-Asserted-Identity: <tel:{NUMBER}", f"\t;verstat={PASSED}>"], "", False),
        (
            [f"P-Asserted-Identity: <tel:{NUMBER};verstat=No-TN-Validation;verstat", " =TN-Validation-Passed>"],
            "No-TN-Validation",
            False,
        ),
    ],
)
def test_verstat_where_it_has_to_stand(lines: list[str], expected: str, good: bool) -> None:
    assert verstat(expected, message(*lines)).good is good


@pytest.mark.parametrize(
    ("wanted", "values", "good"),
    [
        (True, ["a"], True),
        (True, [], False),
        (False, [], True),
        (False, ["a"], False),
        ("^a+$", ["b", "aa"], True),
        ("^a+$", ["b"], False),
        ("a", [], False),
        (("a", "b"), ["a1", "b1"], True),
        (("a", "b"), ["b1", "a1"], False),
        (("a",), ["a", "a"], False),
    ],
)
def test_header_expectations(wanted: bool | str | tuple[str, ...], values: list[str], good: bool) -> None:
    (finding,) = headers("at the callee", {"X-One": wanted}, message(*[f"x-one: {value}" for value in values]))
    assert finding.good is good


def test_identity_unchanged_or_none() -> None:
    one, other = message("Identity: a.b.c"), message("Identity: a.b.d")
    for kind, sent, got, good in (
        ("unchanged", one, one, True),
        ("unchanged", one, other, False),
        ("unchanged", one, message(), False),
        ("unchanged", message("y: a.b.c"), one, True),
        ("none", one, message(), True),
        ("none", one, one, False),
        ("none", one, message("y: a.b.c"), False),
    ):
        findings = check(Case(expect=Expect(callee=Callee(identity=kind))), seen(sight(got, sent=sent)))
        assert (bad(findings) == []) is good, (kind, sent, got)


def test_headers_inside_the_dialog() -> None:
    case = Case(expect=Expect(callee=Callee(dialog={"Identity": False})))
    assert bad(check(case, seen(sight(message(), inside=(message(),))))) == []
    assert bad(check(case, seen(sight(message(), inside=(message(), message("y: a.b.c")))))) == ["Identity inside the dialog"]
    assert bad(check(case, seen(sight(message())))) == ["requests inside the dialog"]


# --- A signed Identity -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Certificates]]:
    with Network(tmp_path_factory.mktemp("network")) as network:
        yield network, Certificates(network)


def signed(lab: tuple[Network, Certificates], recipe: Recipe, wanted: Signed = FULL, date: str | None = None) -> list[str]:
    line = identity_headers((recipe,), *lab, CALLER, CALLED)[0]
    invite = message(line, f"Date: {formatdate(time.time(), usegmt=True)}" if date is None else date)
    case = Case(call=Call(), expect=Expect(callee=Callee(identity=wanted)))
    return bad(check(case, dataclasses.replace(seen(sight(invite)), signer=lab[1].find)))


def test_good_signature_has_no_bad_finding(certificates: tuple[Network, Certificates]) -> None:
    assert signed(certificates, Recipe()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tamper": ("signature",)}, ["signature by the certificate's key"]),
        ({"tamper": ("header",)}, ["JOSE header but x5u", "signature by the certificate's key"]),
        ({"tamper": ("compact",)}, ["Identity in full form"]),
        ({"jose": {"ppt": "div"}}, ["JOSE header but x5u"]),
        ({"parameters": ";info=<https://other.example/x.pem>;ppt=shaken"}, ["info"]),
        ({"parameters": ";info={x5u};ppt=shaken"}, ["info"]),
        ({"parameters": ";info=<{x5u}>"}, ["parameter ppt"]),
        ({"certificate": "renewed"}, ["certificate at x5u"]),
        ({"claims": {"more": 1}}, ["claims"]),
        ({"claims_without": ("origid",)}, ["claims", "origid"]),
        ({"origid": "o-1"}, ["origid"]),
        ({"attest": "B"}, ["attest"]),
        ({"caller": "+12155550199"}, ["orig"]),
        ({"called": ("+12155550199",)}, ["dest"]),
        ({"claims": {"orig": {"tn": [NUMBER]}}}, ["orig"]),
        ({"age": 30}, ["iat"]),
        ({"age": -30}, ["iat"]),
        ({"times": 1, "raw": "nonsense"}, ["Identity in full form"]),
    ],
    ids=str,
)
def test_every_part_of_a_signed_identity_is_looked_at(
    certificates: tuple[Network, Certificates], changes: dict[str, Any], expected: list[str]
) -> None:
    assert signed(certificates, Recipe(**changes)) == expected


def test_date_and_number_of_headers_are_looked_at(certificates: tuple[Network, Certificates]) -> None:
    assert signed(certificates, Recipe(), date="X: none") == ["Date at the callee"]
    assert signed(certificates, Recipe(), date="Date: yesterday") == ["Date at the callee"]
    assert signed(certificates, Recipe(), Signed(count=2)) == ["Identity headers at the callee"]
    assert signed(certificates, Recipe(origid=str(uuid.uuid4())), Signed(origid="^0$")) == ["origid"]


def test_passports_of_other_types_are_looked_at(certificates: tuple[Network, Certificates]) -> None:
    diverted = Signed(ppt="div", dest=("13035550100",), claims={"div": {"tn": "12155550131"}})
    recipe = Recipe(ppt="div", div="12155550131", called=("13035550100",))
    assert signed(certificates, recipe, diverted) == []
    assert signed(certificates, recipe) == ["JOSE header but x5u", "parameter ppt", "claims", "attest", "dest", "origid"]
    assert signed(certificates, Recipe(), Signed(ppt="div")) == ["JOSE header but x5u", "parameter ppt", "claims"]
    assert signed(certificates, recipe, dataclasses.replace(diverted, dest=())) == ["dest"]
    assert signed(certificates, recipe, dataclasses.replace(diverted, claims={})) == ["claims"]
    other = dataclasses.replace(diverted, claims={"div": {"tn": "12155550132"}})
    assert signed(certificates, recipe, other) == ["div"]
    assert signed(certificates, Recipe(claims={"mky": []}), dataclasses.replace(FULL, claims={"mky": []})) == []


def both(lab: tuple[Network, Certificates], wanted: Signed, *recipes: Recipe) -> list[str]:
    lines = identity_headers(recipes, *lab, CALLER, CALLED)
    invite = message(*lines, f"Date: {formatdate(time.time(), usegmt=True)}")
    case = Case(call=Call(), expect=Expect(callee=Callee(identity=wanted)))
    return bad(check(case, dataclasses.replace(seen(sight(invite)), signer=lab[1].find)))


def test_each_of_several_passports_is_looked_at(certificates: tuple[Network, Certificates]) -> None:
    named = Recipe(ppt="rcd", claims={"rcd": {"nam": "Alice"}})
    wanted = dataclasses.replace(FULL, also=(Signed(ppt="rcd", claims={"rcd": {"nam": "Alice"}}),))
    assert both(certificates, wanted, Recipe(), named) == []
    assert both(certificates, wanted, Recipe()) == ["Identity headers at the callee"]
    assert both(certificates, wanted, Recipe(), named, named)[0] == "Identity headers at the callee"
    assert "JOSE header but x5u" in both(certificates, wanted, named, Recipe())
    assert both(certificates, wanted, Recipe(), dataclasses.replace(named, claims={"rcd": {"nam": "Bob"}})) == ["rcd"]
    assert both(certificates, wanted, Recipe(), dataclasses.replace(named, tamper=("signature",))) == [
        "signature by the certificate's key"
    ]
    # What the caller brought stands before them
    theirs = dataclasses.replace(FULL, count=2)
    assert both(certificates, theirs, dataclasses.replace(named, certificate="other-provider"), Recipe()) == []
    # All of one call are signed by one certificate, for one caller
    assert both(certificates, wanted, Recipe(), dataclasses.replace(named, certificate="renewed")) == ["certificate at x5u"]
    assert both(certificates, wanted, Recipe(), dataclasses.replace(named, caller="+12155550199")) == ["orig"]


def test_uri_is_no_number(certificates: tuple[Network, Certificates]) -> None:
    named = Recipe(claims={"orig": {"uri": "sip:alice@x"}, "dest": {"uri": ["sip:bob@x"]}})
    assert signed(certificates, named) == ["orig", "dest"]
    assert signed(certificates, named, Signed("A", orig="sip:alice@x", dest=("sip:bob@x",))) == []
    assert signed(certificates, Recipe(), Signed("A", orig="sip:alice@x")) == ["orig"]


def test_compact_form_is_made_again_of_the_request(certificates: tuple[Network, Certificates]) -> None:
    issued = certificates[1]
    signer = Signer("good", issued.url("good"), 0, 1 << 40, "", ("1234",), issued["good"].key)
    now, date = time.time(), formatdate(time.time(), usegmt=True)
    request = Request("INVITE", f"sip:{CALLED}@x", f"sip:{CALLER}@x", f"sip:{CALLED}@x", date=date)
    wanted = Wanted(Attestation.FULL, base=True)
    values = sign_all(request, wanted, signer, now=now, origid=str(uuid.uuid4())).identities

    def found(*lines: str, date: str = date, **changes: Any) -> list[str]:
        invite = message(*[f"Identity: {value}" for value in lines or values], f"Date: {date}")
        expect = Expect(callee=Callee(identity=dataclasses.replace(FULL, also=(Signed(ppt="base", **changes),))))
        return bad(check(Case(call=Call(), expect=expect), dataclasses.replace(seen(sight(invite)), signer=issued.find)))

    assert found() == []
    assert found(orig="12155550199") == found(dest=("12155550199",)) == ["signature by the certificate's key"]
    assert found(date=formatdate(time.time() - 9, usegmt=True)) == ["signature by the certificate's key"]
    assert found(claims={"mky": []}) == ["signature by the certificate's key"]
    assert sorted(found(values[0], values[0])) == ["Identity in compact form", "certificate at x5u"]


# --- The record --------------------------------------------------------------------------------------------------


def test_record_has_one_line_with_the_origid_that_was_signed(certificates: tuple[Network, Certificates]) -> None:
    origid = str(uuid.uuid4())
    invite = message(*identity_headers((Recipe(origid=origid),), *certificates, CALLER, CALLED))
    case = Case(expect=Expect(record={"rule": "own"}))

    def found(*lines: dict[str, Any], reached: tuple[Message, ...] = (invite,)) -> list[str]:
        return bad(check(case, dataclasses.replace(seen(sight(*reached)), record={"c-1": lines} if lines else {})))

    good = {"rule": "own", "origid": origid}
    assert found(good) == []
    assert found() == found(good, good) == ["lines in the record"]
    assert found({**good, "rule": "other"}) == found({"origid": origid}) == ["rule in the record"]
    assert found({**good, "origid": str(uuid.uuid4())}) == ["origid in the record"]
    # Nothing was signed: it names nothing
    assert found({**good, "origid": ""}, reached=()) == []
    assert found(good, reached=()) == ["origid in the record"]


# --- Traces ------------------------------------------------------------------------------------------------------


def test_calls_are_told_apart_and_retransmissions_are_no_second_call() -> None:
    def request(method: str, call: str, branch: str, to: str = "<sip:b@c>") -> str:
        return f"{method} sip:b@c SIP/2.0\nVia: SIP/2.0/UDP h;branch={branch}\nTo: {to}\nCall-ID: {call}\nCSeq: 1 {method}"

    def response(code: str, call: str, cseq: str = "1 INVITE") -> str:
        return f"SIP/2.0 {code}\nCall-ID: {call}\nCSeq: {cseq}"

    caller = "".join(
        [
            traced(request("INVITE", "p-1", "a"), received=False, clock="23:59:59.900000"),
            traced(response("100 Trying", "p-1"), clock="23:59:59.950000"),
            traced(response("200 OK", "p-1", "1 CANCEL"), clock="00:00:00.050000"),
            traced(response("487 Request Terminated", "p-1"), clock="00:00:00.100000"),
            traced(request("INVITE", "q-1", "z"), received=False),
        ]
    )
    callee = "".join(
        [
            traced(request("INVITE", "p-1", "x"), clock="00:00:00.000000"),
            traced(request("INVITE", "p-1", "x"), clock="00:00:00.010000"),
            traced(request("BYE", "p-1", "y", "<sip:b@c>;tag=7"), clock="00:00:00.020000"),
        ]
    )
    (call,) = trace.sights(caller, callee, "p-")
    assert call.status == "487 Request Terminated"
    assert len(call.reached) == 1
    assert [request.start_line.split()[0] for request in call.inside] == ["BYE"]
    steps = trace.steps(caller, callee, "p-")
    assert [round(step.time, 3) for step in steps] == [0, 0.05, 0.1, 0.11, 0.12, 0.15, 0.2]
    assert (steps[0].sender, steps[0].receiver) == ("caller", "system")
    assert (steps[2].sender, steps[2].receiver) == ("system", "callee")
