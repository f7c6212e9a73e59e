"""Calls that are signed, for any SIP server: what is put into the request, shown to the script, said in the log, recorded and
returned; and what is read of a call for that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILURES, PolicyRefused, SettingsRefused
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.passport.claims import Attestation

from ..builders import DATE, DEST, NOW, ORIG, X5U, hierarchy, identity, provider
from ..runtime.number_lists import do_not_originate, inventory
from .desk import OPEN, OUR_X5U, Desk

CALL_ID = "a\\x20b\\x0d\\x0a@h"
BOB, CAROL = "12155550140", "12155550150"
TO_CAROL: Final[dict[str, Any]] = {"request_uri": f"sip:+{CAROL}@x"}
NO_ANSWER: Final[dict[str, str | int]] = {"code": 0, "phrase": ""}
EXPIRED = provider().certificate.not_valid_after_utc.timestamp()
STALE, AHEAD = "Tue, 14 Nov 2023 22:11:20 GMT", "Tue, 14 Nov 2023 22:15:20 GMT"


def headers(desk: Desk, name: str) -> list[str]:
    """The values of what was appended by this name."""
    parts = [line.partition(": ") for line in desk.port.lines.removesuffix("\r\n").split("\r\n")]
    return [value for header, _, value in parts if header == name]


def types(desk: Desk) -> list[str]:
    """The PASSporTs that were appended, in their order."""
    return [value.rpartition(";ppt=")[2] for value in headers(desk, "Identity")]


def shown(desk: Desk) -> dict[str, str | int]:
    """What the script sees. It begins with no answer."""
    return {**NO_ANSWER, **desk.port.results}


def write_pair(desk: Desk, name: str, **changes: Any) -> None:
    hierarchy().service_provider(ServiceProvider(**changes)).write(desk.directory / "certs", name)


# --- A call that is signed --------------------------------------------------------------------------------------


def test_what_is_signed_is_valid_at_the_other_side(desk: Desk) -> None:
    desk.has(OUR_X5U, provider().chain_pem)
    assert desk.sign("A") == 1
    date, value, nothing = desk.port.lines.split("\r\n")
    assert date == f"Date: {DATE}"
    assert nothing == ""
    assert desk.verify(identity=(value.removeprefix("Identity: "),)) == 1
    assert desk.port.results["attest"] == "A"


def test_signed_call_is_shown_and_said(desk: Desk) -> None:
    assert desk.sign("B", date=DATE) == 1
    assert desk.port.lines.startswith("Identity: ")
    origid = desk.port.results["origid"]
    assert shown(desk) == {"token": "", "attest": "B", "origid": origid, "rule": "default", **NO_ANSWER}
    line, _, took = desk.line().rpartition(" us=")
    assert line == f"sign call-id={CALL_ID} result=signed attest=B orig={ORIG} dest={DEST} origid={origid}"
    assert took.isdigit()


def test_every_call_has_an_origid_of_its_own(desk: Desk) -> None:
    seen = set()
    for _ in range(20):
        desk.sign()
        seen.add(desk.port.results["origid"])
    assert len(seen) == 20


def test_nothing_is_removed_and_nothing_more_is_read_of_an_ordinary_call(desk: Desk) -> None:
    assert desk.sign() == 1
    assert (desk.port.removed, desk.port.asked_for) == ([], [])


@pytest.mark.parametrize(("calls", "level", "lines"), [(True, 2, 2), (False, 2, 0), (True, 1, 0)])
@pytest.mark.parametrize("record", [False, True])
def test_lines_about_calls_can_be_turned_off(tmp_path: Path, calls: bool, level: int, lines: int, record: bool) -> None:
    desk = Desk(tmp_path, log={"calls": calls}, record={"record_calls": record})
    desk.port.level = level
    assert (desk.sign(), desk.sign("x")) == (1, 2)
    assert len(desk.port.said) == lines
    assert len(desk.records()) == 2 * record


# --- A call that is not signed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attest", "changes", "token"),
    [
        ("a", {}, "attest_unknown"),
        ("AA", {}, "attest_unknown"),
        ("", {"method": "ACK"}, "request_not_signed"),
        ("", {"in_dialog": True}, "request_not_signed"),
        ("", {"identity": (identity(),)}, "identity_present"),
        ("", {"from_uri": "sip:alice@x"}, "orig_missing"),
        ("", {"asserted": ("<pres:bob@x>",)}, "orig_missing"),
        ("", {"asserted": ("<sip:+12155559999@x",)}, "orig_missing"),
        ("", {"to_uri": "sip:bob@x"}, "dest_missing"),
        ("", {"date": "yesterday"}, "date_malformed"),
        ("", {"date": STALE}, "date_stale"),
        ("", {"date": AHEAD}, "date_in_future"),
    ],
)
def test_call_that_cannot_be_signed_goes_on_as_it_is(desk: Desk, attest: str, changes: dict[str, Any], token: str) -> None:
    assert desk.sign(attest, **changes) == 2
    rule = "" if token == "request_not_signed" else "default"
    assert shown(desk) == {"token": token, "attest": "", "origid": "", "rule": rule, **NO_ANSWER}
    assert (desk.port.lines, desk.port.removed) == ("", [])
    assert desk.line().startswith(f"sign call-id={CALL_ID} result=unsigned token={token}: ")


def test_pinned_pair_that_has_expired_signs_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, signing={"certificate": "sp1234"})
    desk.clock.now = EXPIRED
    assert desk.sign() == 2
    assert desk.port.results["token"] == "certificate_expired"


def test_missing_certificate_is_said_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, signing={"certificate": "sp9999"}, log={"calls": False})
    for _ in range(3):
        assert desk.sign() == 2
        assert desk.port.results["token"] == "certificate_none"
    assert desk.port.said == [("warn", "calls pass unsigned: certificate_none: no pair sp9999")]


def test_without_any_pair_there_is_no_line_per_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path, signing={"certificate_dir": "nowhere"})
    for _ in range(3):
        assert desk.sign() == 2
    assert desk.port.said == [("warn", "calls pass unsigned: certificate_none: no usable pair")]


def test_pair_that_is_not_valid_now_is_said_per_call(desk: Desk) -> None:
    desk.clock.now = EXPIRED
    for _ in range(3):
        assert desk.sign() == 2
    (warned, *lines) = desk.port.said
    assert warned == ("warn", "calls pass unsigned: certificate_none: 1 pairs, none valid now")
    assert [level for level, _text in lines] == ["info"] * 3
    assert "result=unsigned token=certificate_none" in lines[0][1]


def test_peers_text_in_a_reason_is_made_safe(desk: Desk) -> None:
    assert desk.sign(from_uri="sip:a\r\nb\0\u00e9@x") == 2
    assert desk.line().endswith("token=orig_missing: sip:a\\x0d\\x0ab\\x00\\xe9@x")


# --- What is read of a call -------------------------------------------------------------------------------------

SCRIPT = ["request_in_full", "diversions", "dest"]


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        (None, []),
        ("", []),
        ('[[rule]]\nname = "x"\ncaller = "1*"', []),
        ('[[rule]]\nname = "x"\ncaller_in = "own"', ["customer"]),
        ('[[rule]]\nname = "x"\ntrunk = "*"', ["trunk"]),
        ("[customer.acme]", ["customer"]),
        ('[[rule]]\nname = "x"\nsource = "192.0.2.0/24"\nport = 1', ["source", "port"]),
        ('[[rule]]\nname = "x"\ntransport = "tls"', ["transport"]),
        ('[[rule]]\nname = "x"\ntls_peer = "a"', ["transport"]),
        ('[trunk.a]\nsource = "192.0.2.9"', ["trunk", "source"]),
        ("[defaults]\ndiv = true", SCRIPT),
        ("[defaults]\nuri = true", SCRIPT),
        ("[defaults]\nbase = true", SCRIPT),
        ("[defaults]\nrph = true", SCRIPT),
        ("[defaults]\nrcd = true", [*SCRIPT, "privacy", "rcd_name", "rcd_reason"]),
        ("[defaults]\nmky = true", ["request_in_full", "body", "diversions", "dest"]),
        ('[defaults]\nexisting_identity = "replace"\ndrop_malformed = true\np_headers = true', []),
    ],
)
def test_no_more_of_a_call_is_read_than_the_policy_asks(tmp_path: Path, policy: str | None, asked: list[str]) -> None:
    desk = Desk(tmp_path, policy)
    assert desk.sign() == 1
    assert sorted(desk.port.asked_for) == sorted(asked)


def test_nothing_further_is_read_of_a_call_that_is_not_to_be_signed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nrcd = true\nmky = true\n[[rule]]\nname = "no"\ncaller = "1*"\nreject = 403')
    assert desk.sign() == -1
    assert desk.port.asked_for == []


@pytest.mark.parametrize(("transport", "asked"), [("udp", False), ("tcp", False), ("tls", True), ("wss", True), ("TLS", False)])
def test_name_of_the_client_is_asked_where_there_may_be_one(tmp_path: Path, transport: str, asked: bool) -> None:
    desk = Desk(tmp_path, '[[rule]]\nname = "pbx"\ntls_peer = "pbx.customer.example"\nattest = "A"')
    desk.port.protocol = transport
    assert desk.sign() == 1
    assert ("tls_peer" in desk.port.asked_for) is asked
    other = Desk(tmp_path, '[[rule]]\nname = "secure"\ntransport = "tls"')
    other.port.protocol = transport
    assert other.sign() == 1
    assert other.port.asked_for == ["transport"]
    assert desk.port.results["attest"] == ("A" if asked else "C")


def test_call_with_identity_is_read_in_full(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nexisting_identity = "div"')
    assert desk.sign(identity=(identity(),), **TO_CAROL) == 1
    assert "request_in_full" in desk.port.asked_for


# --- What the policy says ---------------------------------------------------------------------------------------

PLACES = """
[customer.acme]
origid = "22222222-2222-4222-8222-222222222222"
[customer.beta]
spc = "5678"

[trunk.pbx]
customer = "acme"
source = "192.0.2.9"
origid = "11111111-1111-4111-8111-111111111111"

[defaults]
spc = "1234"

[[rule]]
name = "gateway"
trunk = "gate"
attest = "C"
origid = "trunk"

[[rule]]
name = "known"
customer = "*"
attest = "A"
origid = "customer"

[trunk.gate]
"""


def test_policy_decides_and_says_by_which_rule(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLACES)
    assert desk.sign("C") == 1
    assert shown(desk) == {
        "token": "", "attest": "A", "origid": "22222222-2222-4222-8222-222222222222", "rule": "known", **NO_ANSWER,
    }  # fmt: skip
    line, _, took = desk.line().rpartition(" us=")
    assert line.endswith(" origid=22222222-2222-4222-8222-222222222222 rule=known")
    assert took.isdigit()


def test_what_the_script_says_goes_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLACES)
    write_pair(desk, "theirs", spc="5678")
    desk.reload()
    desk.port.says = {"trunk": "gate"}
    assert desk.sign() == 1
    assert (desk.port.results["rule"], desk.port.results["attest"]) == ("gateway", "C")
    desk.port.says = {"customer": "beta"}
    assert desk.sign() == 1
    assert desk.port.results["rule"] == "known"
    assert "info=<https://cr.example.test/theirs.pem>" in desk.port.lines


@pytest.mark.parametrize(
    ("said", "x5u", "rule"),
    [
        ("", "theirs", "known"),
        ("beta", "theirs", "known"),
        ("beta ", "theirs", "known"),
        ("Beta", "theirs", "known"),
        ("nobody", "theirs", "known"),
        ("acme", "sp1234", "known"),
    ],
)
def test_customer_whom_nobody_knows_takes_no_call_from_its_trunks_own(tmp_path: Path, said: str, x5u: str, rule: str) -> None:
    desk = Desk(tmp_path, PLACES.replace('customer = "acme"\nsource', 'customer = "beta"\nsource'))
    write_pair(desk, "theirs", spc="5678")
    desk.reload()
    desk.port.says = {"customer": said}
    assert desk.sign() == 1
    assert desk.port.results["rule"] == rule
    assert f"info=<https://cr.example.test/{x5u}.pem>" in desk.port.lines


def test_customer_whom_nobody_knows_is_no_customer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLACES)
    desk.port.address = "203.0.113.1"
    desk.port.says = {"customer": "nobody"}
    assert desk.sign() == 1
    assert (desk.port.results["rule"], desk.port.results["attest"]) == ("default", "C")


def test_customer_whom_nobody_knows_is_said_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLACES)
    for customer in ("acme", "acme ", "", " ", "no\r\nbody", "x"):
        desk.port.says = {"customer": customer}
        desk.sign()
    assert [text for level, text in desk.port.said if level == "warn"] == [
        "no [customer.no\\x0d\\x0abody] in the signing policy: its calls are treated as if nobody were named"
    ]


def test_origid_of_nobody_is_a_new_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\norigid = "trunk"')
    origids = {desk.port.results["origid"] for _ in range(5) if desk.sign() == 1}
    assert len(origids) == 5


@pytest.mark.parametrize(
    ("reject", "code", "phrase"),
    [("403", 403, "Forbidden"), ('"603 Decline"', 603, "Decline"), ('"480 Not (now), please"', 480, "Not (now), please")],
)
def test_rejected_call_has_code_and_phrase(tmp_path: Path, reject: str, code: int, phrase: str) -> None:
    desk = Desk(tmp_path, f'[[rule]]\nname = "no"\ncaller = "1215*"\nreject = {reject}', record={"record_calls": True})
    assert desk.sign() == -1
    assert shown(desk) == {
        "token": "policy_rejected", "attest": "", "origid": "", "rule": "no", "code": code, "phrase": phrase,
    }  # fmt: skip
    assert (desk.port.lines, desk.port.removed) == ("", [])
    assert desk.line() == f"sign call-id={CALL_ID} result=rejected answer={code} token=policy_rejected rule=no: no"
    (record,) = desk.records()
    assert (record["result"], record["token"], record["rule"]) == ("rejected", "policy_rejected", "no")


def test_answer_of_an_earlier_call_does_not_stay(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[[rule]]\nname = "no"\ncaller = "1215*"\nreject = 603')
    for clean, returned in (({"from_uri": "sip:+13125551212@x"}, 1), ({"from_uri": "sip:alice@x"}, 2), ({"method": "BYE"}, 2)):
        assert desk.sign() == -1
        assert desk.port.results["code"] == 603
        assert desk.sign(**clean) == returned
        assert NO_ANSWER.items() <= shown(desk).items()


def test_no_rule_decides_about_what_is_no_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[[rule]]\nname = "no"\ncaller = "1215*"\nreject = 603')
    assert desk.sign(method="BYE") == 2
    assert desk.line() == f"sign call-id={CALL_ID} result=unsigned token=request_not_signed: BYE"


def test_call_that_is_to_stay_unsigned_does(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nunsigned = "reject"\n[[rule]]\nname = "no"\ncaller = "1215*"\nsign = false')
    assert desk.sign() == 2
    assert shown(desk) == {"token": "policy_unsigned", "attest": "", "origid": "", "rule": "no", **NO_ANSWER}
    assert desk.line() == f"sign call-id={CALL_ID} result=unsigned token=policy_unsigned rule=no: no"


@pytest.mark.parametrize("attest", ["D", "x\r\n", "\ud800"])
def test_no_attestation_that_a_script_asks_for_evades_a_rejection(tmp_path: Path, attest: str) -> None:
    desk = Desk(tmp_path, '[[rule]]\nname = "no"\ncaller = "1215*"\nreject = 603')
    assert desk.sign(attest) == -1
    assert desk.port.results["code"] == 603


# --- What cannot be signed --------------------------------------------------------------------------------------


def expire(desk: Desk) -> None:
    desk.clock.now = EXPIRED


def lose(desk: Desk) -> None:
    for path in (desk.directory / "certs").iterdir():
        path.unlink()
    desk.reload()


def share(desk: Desk) -> None:
    theirs = hierarchy().service_provider(ServiceProvider(spc="5678"), key=provider().key)
    theirs.write(desk.directory / "certs", "theirs")
    desk.reload()


def add(desk: Desk) -> None:
    write_pair(desk, "theirs", spc="5678")
    desk.reload()


def narrow(desk: Desk) -> None:
    """A certificate for one number, which is another one."""
    lose(desk)
    write_pair(desk, "sp1234", tnauthlist=TNAuthList(numbers=("13125551212",)))
    desk.reload()


def nothing(desk: Desk) -> None: ...


class Case:
    def __init__(self, token: str, prepare: Callable[[Desk], None] = nothing, *, attest: str = "", **changes: Any) -> None:
        self.token, self.prepare, self.attest, self.changes = token, prepare, attest, changes

    def __repr__(self) -> str:
        return self.token


DIVERTED_FROM_ELSEWHERE: Final[dict[str, Any]] = {"identity": (identity(),), "diversion": (f"<sip:+{BOB}@x>",), **TO_CAROL}
CANNOT = [
    Case("certificate_none", lose),
    Case("certificate_none", expire),
    Case("certificate_ambiguous", add),
    Case("certificate_ambiguous", share),
    Case("tn_not_authorized", narrow),
    Case("attest_unknown", attest="a"),
    Case("orig_missing", from_uri="sip:alice@x"),
    Case("dest_missing", to_uri="sip:bob@x"),
    Case("date_malformed", date="\r\n"),
    Case("date_stale", date=STALE),
    Case("date_in_future", date=AHEAD),
    Case("identity_too_many", identity=("garbage",) * 11),
    Case("div_unlinked", **DIVERTED_FROM_ELSEWHERE),
    Case("iat_stale", identity=(identity(claims={"iat": NOW - 100}),), **TO_CAROL),
]
PEER = 'existing_identity = "div"\n'


@pytest.mark.parametrize("case", CANNOT, ids=repr)
@pytest.mark.parametrize(("unsigned", "answer"), [("pass", 0), ("reject", 503), ("480", 480), ("503 Try Later", 503)])
def test_call_that_cannot_be_signed_passes_or_is_rejected(tmp_path: Path, case: Case, unsigned: str, answer: int) -> None:
    desk = Desk(tmp_path, f'[defaults]\nunsigned = "{unsigned}"\n{PEER}', record={"record_calls": True})
    case.prepare(desk)
    assert desk.sign(case.attest, **case.changes) == (-1 if answer else 2)
    results = shown(desk)
    assert (results["token"], results["code"], results["rule"]) == (case.token, answer, "default")
    assert results["phrase"] == {0: "", 480: "Temporarily Unavailable"}.get(
        answer, "Try Later" if "Try" in unsigned else "Service Unavailable"
    )
    assert desk.port.lines == ""
    (record,) = desk.records()
    assert (record["result"], record["token"]) == ("rejected" if answer else "unsigned", case.token)
    said = [text for level, text in desk.port.said if level == "info"]
    if answer:
        assert said[-1].startswith(f"sign call-id={CALL_ID} result=rejected answer={answer} token={case.token} rule=default: ")


ALREADY = [
    Case("request_not_signed", method="BYE"),
    Case("request_not_signed", in_dialog=True),
    Case("identity_present", identity=(identity(),)),
]


@pytest.mark.parametrize("case", [*ALREADY, Case("div_not_needed", identity=(identity(),))], ids=repr)
def test_call_that_needs_nothing_of_us_is_never_rejected(tmp_path: Path, case: Case) -> None:
    mode = PEER if case.token == "div_not_needed" else ""
    desk = Desk(
        tmp_path, f'[trunk.fr]\ncountry = "fr"\nbypass = "ABC123-1"\n[defaults]\nunsigned = "reject"\n{mode}p_headers = true'
    )
    desk.port.says = {"trunk": "fr"}
    assert desk.sign(**case.changes) == 2
    assert desk.port.results["token"] == case.token
    assert NO_ANSWER.items() <= shown(desk).items()
    # What the caller himself says there is not passed on, where it is a call
    assert desk.port.lines == ""
    assert desk.port.removed == ([] if case.token == "request_not_signed" else [*P_NAMES, "Identity-Bypass"])


@pytest.mark.parametrize("changes", [{"to_uri": "sip:911@x"}, {"request_uri": "urn:service:sos.police"}])
@pytest.mark.parametrize("prepare", [nothing, lose])
def test_emergency_call_is_never_rejected(tmp_path: Path, changes: dict[str, Any], prepare: Callable[[Desk], None]) -> None:
    desk = Desk(tmp_path, '[defaults]\nunsigned = "reject"\n[[rule]]\nname = "no"\ncaller = "1*"\nreject = 403')
    prepare(desk)
    assert desk.sign(**changes) == (1 if prepare is nothing else 2)
    assert NO_ANSWER.items() <= shown(desk).items()
    assert desk.sign() == -1


def test_missing_certificate_is_said_as_what_it_does(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nunsigned = "reject"', signing={"certificate_dir": "nowhere"})
    for _ in range(2):
        assert desk.sign() == -1
    warned, *lines = desk.port.said
    assert warned == ("warn", "calls are rejected: certificate_none: no usable pair")
    assert [text.partition(": ")[0] for _level, text in lines] == [
        f"sign call-id={CALL_ID} result=rejected answer=503 token=certificate_none rule=default"
    ] * 2


FRENCH = '[trunk.fr]\ncountry = "fr"\nbypass = "ABC123-0123456789ABCDEF"\n[defaults]\nunsigned = "{}"\n'


@pytest.mark.parametrize("case", CANNOT, ids=repr)
def test_french_call_that_cannot_be_signed_says_so(tmp_path: Path, case: Case) -> None:
    desk = Desk(tmp_path, FRENCH.format("pass") + PEER)
    desk.port.says = {"trunk": "fr"}
    case.prepare(desk)
    assert desk.sign(case.attest, **case.changes) == 2
    assert desk.port.lines == "Identity-Bypass: ABC123-0123456789ABCDEF\r\n"
    assert desk.port.removed == ["Identity-Bypass"]  # and never says it twice


@pytest.mark.parametrize("rule", ["", '[[rule]]\nname = "no"\nsign = false\n', '[[rule]]\nname = "no"\nreject = 403\n'])
@pytest.mark.parametrize("changes", [{}, {"identity": (identity(),)}])
def test_no_french_caller_says_so_himself(tmp_path: Path, rule: str, changes: dict[str, Any]) -> None:
    desk = Desk(tmp_path, FRENCH.format("pass") + rule)
    desk.port.says = {"trunk": "fr"}
    desk.sign(**changes)
    assert desk.port.removed == ["Identity-Bypass"]
    assert "Bypass" not in desk.port.lines


@pytest.mark.parametrize(("trunk", "unsigned"), [("fr", "reject"), ("", "pass"), ("other", "pass")])
def test_no_other_call_says_so(tmp_path: Path, trunk: str, unsigned: str) -> None:
    desk = Desk(tmp_path, FRENCH.format(unsigned) + "[trunk.other]\n")
    desk.port.says = {"trunk": trunk}
    assert desk.sign(from_uri="sip:alice@x") == (-1 if unsigned == "reject" else 2)
    assert (desk.port.lines, desk.port.removed) == ("", ["Identity-Bypass"] if trunk == "fr" else [])
    assert desk.sign(from_uri="sip:+33123456789@x", to_uri="sip:+33412345678@x") == 1
    assert "Bypass" not in desk.port.lines


# --- P-Attestation-Indicator and P-Origination-ID ---------------------------------------------------------------

P_NAMES = ["P-Attestation-Indicator", "P-Origination-ID"]


def test_signed_call_tells_the_own_network_where_that_is_wanted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "[defaults]\np_headers = true")
    assert desk.sign("B") == 1
    assert headers(desk, P_NAMES[0]) == ["B"]
    assert headers(desk, P_NAMES[1]) == [desk.port.results["origid"]]
    assert desk.port.removed == P_NAMES  # what the caller says of himself


@pytest.mark.parametrize("case", CANNOT, ids=repr)
def test_what_a_caller_says_of_himself_goes_no_further(tmp_path: Path, case: Case) -> None:
    desk = Desk(tmp_path, f"[defaults]\np_headers = true\n{PEER}")
    case.prepare(desk)
    assert desk.sign(case.attest, **case.changes) == 2
    assert (desk.port.lines, desk.port.removed) == ("", P_NAMES)


def test_diversion_of_a_call_that_others_attested_says_nothing_of_its_attestation(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"[defaults]\np_headers = true\n{PEER}")
    assert desk.sign(identity=(identity(),), **TO_CAROL) == 1
    assert types(desk) == ["div"]
    assert (headers(desk, P_NAMES[0]), desk.port.removed) == ([], P_NAMES)


@pytest.mark.parametrize("outcome", ["sign = false", "reject = 403", "attest = 'A'"])
@pytest.mark.parametrize("changes", [{}, {"identity": (identity(),)}, {"from_uri": "sip:alice@x"}])
def test_no_caller_says_it_himself_whatever_becomes_of_the_call(tmp_path: Path, outcome: str, changes: dict[str, Any]) -> None:
    desk = Desk(tmp_path, f"[defaults]\np_headers = true\n[[rule]]\nname = 'x'\n{outcome}\n")
    desk.sign(**changes)
    assert desk.port.removed == P_NAMES
    assert len(headers(desk, P_NAMES[0])) == (not changes and "attest" in outcome)
    other = Desk(tmp_path, f"[[rule]]\nname = 'x'\n{outcome}\n")
    other.sign(**changes)
    assert other.port.removed == []


# --- Whose certificate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defaults", "x5u"),
    [
        ('certificate = "theirs"', "https://cr.example.test/theirs.pem"),
        ('spc = "5678"', "https://cr.example.test/theirs.pem"),
        ('spc = "1234"', OUR_X5U),
        ('certificate = "sp1234"\nspc = "1234"', OUR_X5U),
    ],
)
def test_policy_says_whose_certificate_signs(tmp_path: Path, defaults: str, x5u: str) -> None:
    desk = Desk(tmp_path, f"[defaults]\n{defaults}", record={"record_calls": True})
    add(desk)
    assert desk.sign() == 1
    assert f";info=<{x5u}>" in desk.port.lines
    (record,) = desk.records()
    assert (record["x5u"], record["spc"]) == (x5u, "1234" if x5u == OUR_X5U else "5678")


@pytest.mark.parametrize(
    ("defaults", "token"),
    [
        ('certificate = "gone"', "certificate_none"),
        ('spc = "0000"', "certificate_none"),
        ('certificate = "theirs"\nspc = "1234"', "certificate_none"),
        ("", "certificate_ambiguous"),
    ],
)
def test_no_call_is_signed_with_anybodys_certificate(tmp_path: Path, defaults: str, token: str) -> None:
    desk = Desk(tmp_path, f"[defaults]\n{defaults}")
    add(desk)
    assert desk.sign() == 2
    assert desk.port.results["token"] == token
    assert desk.port.said[-1][1].startswith(f"sign call-id={CALL_ID} result=unsigned token={token} rule=default: ")


def test_key_of_two_providers_signs_for_neither(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nspc = "1234"')
    share(desk)
    assert desk.sign() == 2
    assert desk.port.results["token"] == "key_shared"


# --- Numbers ----------------------------------------------------------------------------------------------------

NUMBERS = """
[customer.acme]
[customer.beta]
[[rule]]
name = "never"
do_not_originate = true
reject = "603 Decline"
[[rule]]
name = "own"
caller_in = "own"
attest = "A"
[[rule]]
name = "other"
caller_in = "other"
attest = "B"
"""
LISTS: Final[dict[str, Any]] = {"signing": {"inventory_file": "numbers.mdb", "do_not_originate_file": "never.mdb"}}


def test_attestation_follows_the_lists_of_numbers(tmp_path: Path) -> None:
    inventory(tmp_path / "numbers.mdb", ("acme", ORIG), ("beta", "1312*"))
    do_not_originate(tmp_path / "never.mdb", "18005550199")
    desk = Desk(tmp_path, NUMBERS, **LISTS)
    desk.port.says = {"customer": "acme"}
    seen = []
    for number in (ORIG, "13125551212", "442079460000", "18005550199"):
        code = desk.sign(from_uri=f"sip:+{number}@x")
        seen.append((code, desk.port.results["rule"], desk.port.results["attest"]))
    assert seen == [(1, "own", "A"), (1, "other", "B"), (1, "default", "C"), (-1, "never", "")]
    assert desk.port.results["phrase"] == "Decline"


def errors(*desks: Desk) -> list[str]:
    return [text for desk in desks for level, text in desk.port.said if level == "err"]


def test_trouble_with_the_lists_is_said_once_by_all_processes_together(tmp_path: Path) -> None:
    do_not_originate(tmp_path / "never.mdb", DEST)
    desk = Desk(tmp_path, NUMBERS, **LISTS)
    others = [desk.process() for _ in range(3)]
    (tmp_path / "never.mdb").unlink()
    for one in (desk, *others) * 3:
        one.clock.now += 1
        assert one.sign() == 1
    said = errors(desk, *others)
    assert [text.partition(": ")[0] for text in said] == ["inventory_unreadable"] * 2
    assert {Path(text.split(": ")[1]).name for text in said} == {"numbers.mdb", "never.mdb"}


def test_other_trouble_is_said_too_and_what_is_well_again_is_not(tmp_path: Path) -> None:
    do_not_originate(tmp_path / "never.mdb", DEST)
    desk = Desk(tmp_path, NUMBERS, **LISTS)
    assert (desk.sign(), len(errors(desk))) == (1, 1)
    (tmp_path / "new").write_bytes(b"garbage\n" * 9)
    os.replace(tmp_path / "new", tmp_path / "numbers.mdb")
    desk.clock.now += 1
    assert (desk.sign(), len(errors(desk))) == (1, 2)
    inventory(tmp_path / "numbers.mdb", ("acme", ORIG))
    desk.clock.now += 1
    assert (desk.sign(), len(errors(desk))) == (1, 2)
    assert all(text.isprintable() and text.isascii() for text in errors(desk))


def test_trouble_that_a_reload_did_not_end_is_said_again(tmp_path: Path) -> None:
    do_not_originate(tmp_path / "never.mdb", DEST)
    desk = Desk(tmp_path, NUMBERS, **LISTS)
    for expected in (1, 2):
        for _ in range(2):
            desk.clock.now += 1
            desk.sign()
        assert len(errors(desk)) == expected
        desk.reload()


def test_trouble_is_said_beside_a_call_that_is_not_signed(tmp_path: Path) -> None:
    do_not_originate(tmp_path / "never.mdb", DEST)
    desk = Desk(tmp_path, NUMBERS, **LISTS)
    assert desk.sign(from_uri="sip:alice@x") == 2
    assert len(errors(desk)) == 1


# --- Further things ---------------------------------------------------------------------------------------------

EVERYTHING = """
[defaults]
div = true
rcd = true
rph = true
mky = true
base = true
[customer.acme]
display_name = "Acme"
call_reason = "Your delivery"
"""
SDP = "v=0\r\na=fingerprint:sha-256 " + ":".join(["0A"] * 32) + "\r\n"


def test_all_that_is_wanted_is_signed_and_valid_at_the_other_side(tmp_path: Path) -> None:
    desk = Desk(tmp_path, EVERYTHING, verification={"rph_signers": ["1234"]})
    desk.has(OUR_X5U, provider().chain_pem)
    desk.port.says = {"customer": "acme", "dest": BOB, "diversions": DEST}
    desk.port.sdp = SDP
    call: dict[str, Any] = {"resource_priority": ("ets.0",), **TO_CAROL}
    assert desk.sign("A", **call) == 1
    assert types(desk)[:4] == ["shaken", "div", "rph", "rcd"]
    assert headers(desk, "Identity")[4].startswith("..")
    assert f" diverted={DEST} rule=default us=" in desk.line()
    assert "also=" not in desk.line()
    assert desk.verify(identity=tuple(headers(desk, "Identity")), **call, to_uri=f"sip:+{CAROL}@x") == 1
    results = desk.port.results
    assert (results["attest"], results["diverted"], results["rcd_name"], results["rcd_reason"], results["rph"]) == (
        "A", DEST, "Acme", "Your delivery", "ets.0",
    )  # fmt: skip


def test_diversions_are_read_from_the_request_or_said_by_the_script(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "[defaults]\ndiv = true")
    assert desk.sign(**TO_CAROL, diversion=(f"<sip:+{BOB}@x>", f"<sip:+{DEST}@x>")) == 1
    assert f" diverted={DEST},{BOB} " in desk.port.said[-1][1]
    desk.port.says = {"diversions": f"{DEST},12155550160"}
    assert desk.sign(**TO_CAROL, diversion=(f"<sip:+{BOB}@x>", f"<sip:+{DEST}@x>")) == 1
    assert f" diverted={DEST},12155550160 " in desk.port.said[-1][1]


def test_name_of_the_script_is_signed_and_ends_no_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, EVERYTHING)
    desk.port.says = {"rcd_name": "x\r\nIdentity: forged", "rcd_reason": "\0\r\n\r\n", "customer": "acme\r\nVia: x"}
    assert desk.sign() == 1
    assert desk.port.lines.count("\r\n") == 1 + len(headers(desk, "Identity"))
    assert all(line.partition(": ")[0] in ("Date", "Identity") for line in desk.port.lines.removesuffix("\r\n").split("\r\n"))


@pytest.mark.parametrize(
    ("private", "told"),
    [
        ((), True),
        (("none",), True),
        (("None ",), True),
        (("id",), False),
        (("user",), False),
        (("header",), False),
        (("session",), False),
        (("none;critical",), False),
        (("none", "id"), False),
        (("none, id",), False),
        (("",), False),
        (("\r\n",), False),
    ],
)
def test_who_hides_himself_is_not_named(tmp_path: Path, private: tuple[str, ...], told: bool) -> None:
    desk = Desk(tmp_path, EVERYTHING)
    desk.port.says = {"customer": "acme", "rcd_name": "Bob", "rcd_reason": "Hello"}
    desk.port.private = private
    assert desk.sign() == 1
    assert ("rcd" in types(desk)) is told
    assert types(desk)[0] == "shaken"


def test_what_could_not_be_signed_besides_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, EVERYTHING)
    desk.port.says = {"rcd_name": "x" * 2000}
    desk.port.sdp = "a=fingerprint:garbage"
    assert desk.sign(resource_priority=("garbage",)) == 1
    assert types(desk)[0] == "shaken"
    assert " also=claim_malformed,claim_malformed,claim_malformed rule=default us=" in desk.line()


# --- An Identity that is there ----------------------------------------------------------------------------------

THEIRS = identity()
RCD = identity({"ppt": "rcd"}, {"rcd": {"nam": "A"}}, parameters=f";info=<{X5U}>;alg=ES256;ppt=rcd")


def test_identity_of_others_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[defaults]\nexisting_identity = "replace"')
    assert desk.sign("B", identity=(RCD, THEIRS)) == 1
    assert desk.port.removed == ["Identity"]
    kept, ours = headers(desk, "Identity")
    assert kept == RCD
    assert ours != THEIRS
    assert desk.port.results["attest"] == "B"


def test_diversion_is_signed_behind_what_others_signed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"[defaults]\n{PEER}", record={"record_calls": True})
    desk.has(OUR_X5U, provider().chain_pem)
    assert desk.sign(identity=(THEIRS,), **TO_CAROL) == 1
    assert (types(desk), desk.port.removed) == (["div"], [])
    assert shown(desk) == {"token": "", "attest": "", "origid": "", "rule": "default", **NO_ANSWER}
    assert f" result=signed attest= orig={ORIG} dest={CAROL} origid= diverted={DEST} rule=default us=" in desk.line()
    (record,) = desk.records()
    assert [record[name] for name in ("orig", "dest", "attest", "origid", "result", "spc")] == [
        ORIG, CAROL, "", "", "signed", "1234",
    ]  # fmt: skip
    both = (THEIRS, *headers(desk, "Identity"))
    assert desk.verify(identity=both, to_uri=f"sip:+{CAROL}@x", **TO_CAROL) == 1


def test_what_nobody_can_read_is_dropped_whatever_comes_of_the_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "[defaults]\ndrop_malformed = true")
    assert desk.sign(identity=("garbage",)) == 1
    assert (types(desk), desk.port.removed) == (["shaken"], ["Identity"])
    assert " also=identity_malformed rule=default us=" in desk.port.said[-1][1]
    assert desk.sign(identity=(THEIRS, "garbage")) == 2
    assert (headers(desk, "Identity"), desk.port.removed) == ([THEIRS], ["Identity"])
    assert desk.port.results["token"] == "identity_present"
    assert desk.sign(identity=("garbage",), from_uri="sip:alice@x") == 2
    assert (desk.port.lines, desk.port.removed) == ("", ["Identity"])
    assert desk.port.results["token"] == "orig_missing"


def test_what_stays_ends_no_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "[defaults]\ndrop_malformed = true")
    folded = RCD.replace(";alg", ";\r\n alg").replace(";ppt", "\0;ppt")
    assert desk.sign(identity=(RCD.replace(";alg", ";\r\n alg"), folded, "garbage")) == 1
    lines = desk.port.lines.removesuffix("\r\n").split("\r\n")
    assert len(headers(desk, "Identity")) == len(lines) - 1 == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    "orig",
    ["x\nstirshaken: sign call-id=forged", "1 result=signed", "\x1b[2J", "\u202e", "x" * 5000],
    ids=lambda text: text[:9],
)
def test_what_others_signed_makes_no_line_and_no_record_of_its_own(tmp_path: Path, orig: str) -> None:
    desk = Desk(tmp_path, f"[defaults]\n{PEER}", record={"record_calls": True})
    assert desk.sign(identity=(identity(claims={"orig": {"tn": orig}}),), **TO_CAROL) == 1
    line = desk.line()
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 2000
    assert line.count(" result=") == 1
    (record,) = desk.records()
    assert len(record["orig"]) <= 256
    assert record["orig"].isascii() or "\u202e" in record["orig"]


def test_diverting_number_is_said_as_it_was_signed_and_safely(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"[defaults]\n{PEER}")
    assert desk.sign(identity=(identity(claims={"dest": {"tn": ["+1 (215) 555-0131"]}}),), **TO_CAROL) == 1
    assert " diverted=+1\\x20(215)\\x20555-0131 " in desk.line()


@pytest.mark.parametrize("urn", ["urn:service:sos result=x", "urn:service:sos.\r\nx", "urn:service:sos.fire"])
def test_urn_of_an_emergency_call_is_said_safely(tmp_path: Path, urn: str) -> None:
    desk = Desk(tmp_path, "[defaults]\nrph = true")
    assert desk.sign(to_uri=urn, resource_priority=("esnet.1",)) == 1
    assert desk.line().isprintable()
    assert desk.line().count(" result=") == 1


# --- The record -------------------------------------------------------------------------------------------------

RECORD: Final[dict[str, Any]] = {"record": {"record_calls": True}}


def test_signed_call_is_recorded(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLACES, **RECORD)
    assert desk.sign() == 1
    (record,) = desk.records()
    assert record.pop("us").isdigit()
    assert record == {
        "time": f"{NOW}.000",
        "call_id": "a b??@h",
        "trunk": "pbx",
        "customer": "acme",
        "orig": ORIG,
        "dest": DEST,
        "attest": "A",
        "origid": "22222222-2222-4222-8222-222222222222",
        "spc": "1234",
        "fingerprint": desk.service.signing.signer().fingerprint,
        "rule": "known",
        "token": "",
        "result": "signed",
        "x5u": OUR_X5U,
    }


@pytest.mark.parametrize(
    ("changes", "orig", "dest", "token"),
    [
        ({"date": STALE}, ORIG, DEST, "date_stale"),
        ({"from_uri": "sip:Alice@X", "to_uri": "garbage"}, "sip:alice@x", "", "orig_missing"),
        ({"from_uri": "", "to_uri": ""}, "", "", "orig_missing"),
    ],
)
def test_unsigned_call_is_recorded(tmp_path: Path, changes: dict[str, Any], orig: str, dest: str, token: str) -> None:
    desk = Desk(tmp_path, PLACES, **RECORD)
    assert desk.sign(**changes) == 2
    (record,) = desk.records()
    assert record.pop("us").isdigit()
    assert record == {
        "time": f"{NOW}.000",
        "call_id": "a b??@h",
        "trunk": "pbx",
        "customer": "acme",
        "orig": orig,
        "dest": dest,
        **dict.fromkeys(("attest", "origid", "spc", "fingerprint", "x5u"), ""),
        "rule": "known",
        "token": token,
        "result": "unsigned",
    }


@pytest.mark.parametrize(
    "policy",
    [None, "", '[[rule]]\nname = "all"\nattest = "A"\n', '[[rule]]\nname = "x"\ncaller = "1*"\n', "[trunk.pbx]\n"],
    ids=["none", "empty", "without conditions", "asks for numbers", "knows the trunk"],
)
@pytest.mark.parametrize("changes", [{}, {"from_uri": "sip:alice@x"}])
def test_record_says_whose_call_it_was_whatever_the_policy_asks(
    tmp_path: Path, policy: str | None, changes: dict[str, Any]
) -> None:
    desk = Desk(tmp_path, policy, **RECORD)
    for trunk, customer in (("pbx", "acme"), ("", ""), (" pbx", "acme\t"), ("", "acme")):
        desk.port.says = {"trunk": trunk, "customer": customer}
        desk.sign(**changes)
    assert [(record["trunk"], record["customer"]) for record in desk.records()] == [
        ("pbx", "acme"), ("", ""), ("pbx", "acme"), ("", "acme"),
    ]  # fmt: skip


def test_record_says_the_trunk_that_the_policy_finds(tmp_path: Path) -> None:
    desk = Desk(tmp_path, '[trunk.pbx]\nsource = "192.0.2.9"\n', **RECORD)
    assert desk.sign() == 1
    assert desk.records()[0]["trunk"] == "pbx"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "orig=1215555xxxx dest=1215555xxxx"),
        ({"from_uri": "sip:+1215@x"}, "orig=xxxx dest=1215555xxxx"),
        ({**TO_CAROL, "diversion": (f"<sip:+{BOB}@x>", f"<sip:+{DEST}@x>")}, "diverted=1215555xxxx,1215555xxxx"),
        ({"to_uri": "sip:bob12155550131@x"}, "token=dest_missing rule=default: sip:bob1215555xxxx@x"),
        ({"to_uri": "tel:alice;x=(215) 555-0131"}, "rule=default: tel:alice;x=(215) 555-xxxx"),
        ({"date": STALE}, "token=date_stale rule=default: 120 s old"),
    ],
)
@pytest.mark.parametrize("calls", [False, True])
def test_what_is_not_to_be_written_down_is_not_said_in_the_log(
    tmp_path: Path, calls: bool, changes: dict[str, Any], said: str
) -> None:
    desk = Desk(tmp_path, "[defaults]\ndiv = true", record={"record_calls": calls, "record_mask": 4})
    desk.sign(**changes)
    assert said in desk.line()


def test_pair_for_single_numbers_has_no_provider(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **RECORD)
    lose(desk)
    write_pair(desk, "sp1234", tnauthlist=TNAuthList(numbers=(ORIG,)))
    desk.reload()
    assert desk.sign() == 1
    assert desk.records()[0]["spc"] == ""


@pytest.mark.parametrize("changes", [{"method": "BYE"}, {"in_dialog": True}, {"method": "CANCEL"}])
def test_what_is_no_call_is_not_recorded(tmp_path: Path, changes: dict[str, Any]) -> None:
    desk = Desk(tmp_path, **RECORD)
    assert desk.sign(**changes) == 2
    assert desk.records() == []


def test_nothing_is_recorded_where_nobody_wants_it(desk: Desk) -> None:
    assert (desk.sign(), desk.sign("x")) == (1, 2)
    assert desk.records() == []


def test_record_that_takes_nothing_costs_no_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **RECORD)
    desk.service.record.close()
    OPEN.remove(desk.service)
    assert (desk.sign(), desk.sign("x")) == (1, 2)
    desk.service.orders.close()


# --- A reload ---------------------------------------------------------------------------------------------------

FULL = '[[rule]]\nname = "{}"\ncaller = "1*"\nattest = "{}"'


def decides(desk: Desk) -> tuple[str | int, str | int]:
    assert desk.sign() == 1
    return desk.port.results["rule"], desk.port.results["attest"]


def test_reload_takes_another_policy(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FULL.format("first", "A"))
    assert decides(desk) == ("first", "A")
    desk.settings(FULL.format("second", "B"))
    assert decides(desk) == ("first", "A")  # not before
    desk.reload()
    assert decides(desk) == ("second", "B")
    desk.settings()
    desk.reload()
    assert decides(desk) == ("default", "C")


BROKEN = [
    "garbage",
    FULL.format("first", "D"),
    FULL.format("first", "A") + "\nfrobnicate = 1",
    '[[rule]]\nname = "all"\n[[rule]]\nname = "never"',
    '[[rule]]\nname = "x"\ncustomer = "nobody"',
]


@pytest.mark.parametrize("policy", BROKEN)
def test_policy_that_is_wrong_is_refused_and_all_stays_as_it_was(tmp_path: Path, policy: str) -> None:
    desk = Desk(tmp_path, FULL.format("first", "A"))
    before = (desk.service.settings, desk.service.signing.policy, desk.service.signing.keys)
    desk.settings(policy, signing={"attest_level": "B"})
    write_pair(desk, "theirs", spc="5678")
    with pytest.raises(PolicyRefused, match=r"policy\.toml"):
        desk.reload()
    assert (desk.service.settings, desk.service.signing.policy, desk.service.signing.keys) == before
    assert decides(desk) == ("first", "A")
    # Nor does anybody else take it over
    assert desk.service.accepted.read().policy == FULL.format("first", "A")


@pytest.mark.parametrize("octets", [None, b"\xff"])
def test_policy_that_cannot_be_read_is_refused_and_all_stays_as_it_was(tmp_path: Path, octets: bytes | None) -> None:
    desk = Desk(tmp_path, FULL.format("first", "A"))
    (tmp_path / "policy.toml").unlink()
    if octets is not None:
        (tmp_path / "policy.toml").write_bytes(octets)
    with pytest.raises(SettingsRefused, match="policy_file"):
        desk.reload()
    assert decides(desk) == ("first", "A")


def test_process_that_slept_through_a_reload_takes_over_the_policy_that_was_accepted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FULL.format("first", "A"))
    asleep = desk.process()
    desk.settings(FULL.format("second", "B"))
    desk.reload()
    # What lies there now is nobody's any more
    desk.settings("garbage")
    asleep.service.catch_up()
    assert decides(asleep) == decides(desk) == ("second", "B")
    assert asleep.service.signing.asks == desk.service.signing.asks


def test_process_that_slept_takes_over_that_there_is_no_policy_any_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FULL.format("first", "A"))
    asleep = desk.process()
    desk.settings()
    desk.reload()
    asleep.service.catch_up()
    assert decides(asleep) == ("default", "C")
    assert asleep.port.asked_for == []


# --- What comes back --------------------------------------------------------------------------------------------


def reason(value: str, protocol: str = "STIR") -> str:
    """RFC 9410: what a Reason value says of an Identity value."""
    return f'{protocol} ;cause=436 ;text="Bad Identity Info" ;ppi="..{value.partition(";")[0].rpartition(".")[2]}"'


def signed(desk: Desk) -> str:
    assert desk.sign() == 1
    desk.port.said.clear()
    return headers(desk, "Identity")[0]


def test_what_a_response_says_of_ours_is_logged_and_goes_no_further(desk: Desk) -> None:
    ours = reason(signed(desk))
    desk.port.reason = ('Q.850;cause=16;text="a, b"', ours)
    desk.outbound.reply()
    assert desk.port.replaced == {"Reason": ['Q.850;cause=16;text="a, b"']}
    assert desk.port.said == [("info", f"reported call-id={CALL_ID} reason={ours}")]


def test_what_it_says_of_those_of_upstream_is_theirs_to_hear(desk: Desk) -> None:
    ours, theirs = signed(desk), THEIRS
    desk.port.upstream = (f"{RCD}, {theirs}",)
    desk.port.reason = (f"{reason(ours)}, {reason(theirs)},SIP;cause=200", reason(RCD))
    desk.outbound.reply()
    assert desk.port.replaced == {"Reason": [reason(theirs), "SIP;cause=200", reason(RCD)]}
    assert len(desk.port.said) == 1
    desk.port.reason, desk.port.replaced = (reason(theirs), reason(RCD)), {}
    desk.outbound.reply()
    assert (desk.port.replaced, len(desk.port.said)) == ({}, 1)


def test_full_form_is_known_again(desk: Desk) -> None:
    value = signed(desk).partition(";")[0]
    desk.port.reason = (f'stir;cause=438;ppi="{value}"',)
    desk.outbound.reply()
    assert desk.port.replaced == {"Reason": []}


@pytest.mark.parametrize(
    "reasons", [(), ("Q.850;cause=16",), ("STIR;cause=428",), ("\r\n",), ('STIR;ppi=""',), ("x" * 70_000,)]
)
def test_other_responses_are_left_alone(desk: Desk, reasons: tuple[str, ...]) -> None:
    desk.port.reason = reasons
    desk.outbound.reply()
    assert (desk.port.replaced, desk.port.said) == ({}, [])


def test_what_is_said_twice_is_logged_once(desk: Desk) -> None:
    ours = reason(signed(desk))
    desk.port.reason = (ours, ours)
    desk.outbound.reply()
    assert (desk.port.replaced, len(desk.port.said)) == ({"Reason": []}, 1)


def test_response_cannot_fill_the_log_nor_hold_a_worker(desk: Desk) -> None:
    many = ",".join(f'STIR;ppi="..{number:05}"' for number in range(3000))
    desk.port.reason = (many, "SIP;cause=200")
    desk.outbound.reply()
    assert desk.port.replaced == {"Reason": ["SIP;cause=200"]}
    assert len(desk.port.said) == 10


def test_text_of_a_response_is_said_safely(desk: Desk) -> None:
    desk.port.reason = ('STIR;text="\u202e\x7f \\" \u00e9";ppi="..abc"\x1b[2J\r\n\tx',)
    desk.outbound.reply()
    ((_level, line),) = desk.port.said
    assert line.isascii()
    assert line.isprintable()


# --- Whatever comes ---------------------------------------------------------------------------------------------

# Every word there is, so that a call passes all the branches
WILD = """
country = "us"
[defaults]
div = true
rcd = true
rph = true
mky = true
base = true
p_headers = true
[customer.acme]
display_name = "Acme"
[trunk.pbx]
customer = "acme"
source = "192.0.2.9"
existing_identity = "div"
[trunk.lyon]
country = "fr"
bypass = "ABC123-1"
existing_identity = "replace"
transport = "tls"
tls_peer = "pbx*"
[[rule]]
name = "never"
do_not_originate = true
reject = 603
[[rule]]
name = "dropped"
customer = "*"
port = 5061
drop_malformed = true
uri = true
unsigned = "reject"
[[rule]]
name = "own"
customer = "*"
caller_in = "own"
attest = "A"
origid = "customer"
[[rule]]
name = "untouched"
caller = "anonymous"
identity = true
sign = false
"""
FRAGMENTS = (
    f"sip:+{ORIG}@x", f"sip:+{DEST}@x", "sip:", "tel:+", "@", ";", "=", "<", ">", ",", '"', "\\", ".", "..", ":", "%", "+1",
    "911", "urn:service:sos", "acme", "pbx", "lyon", "192.0.2.9", "tls", "::1", identity(), RCD, "ppt=shaken", DATE, "ets.0",
    "index=1", "a=fingerprint:", "sha-256 ", "00:11", "\r\n", "\r\n ", "\0", "\x1e", "\x1f", "\n", "\ud800", "\u202e", "A", "B",
)  # fmt: skip
TEXT = st.one_of(
    st.text(st.characters(), max_size=20),
    st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join),
    st.sampled_from(FRAGMENTS),
)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
NUMBER = st.one_of(st.sampled_from([ORIG, DEST, BOB, CAROL, "+1 (215) 555-0131"]), st.text(min_size=1, max_size=20))
SIGNED = st.builds(
    lambda orig, dest, iat: identity(claims={"orig": {"tn": orig}, "dest": {"tn": dest}, "iat": NOW - iat}),
    NUMBER, st.lists(NUMBER, min_size=1, max_size=3), st.integers(0, 70),
)  # fmt: skip
IDENTITIES = st.lists(SIGNED | TEXT, max_size=3).map(tuple)
WORDS: Final = ("trunk", "customer", "diversions", "dest", "rcd_name", "rcd_reason")
PARTY = st.one_of(TEXT, NUMBER.map(lambda number: f"sip:+{number}@x"))


@pytest.fixture(scope="module")
def wild() -> Any:
    with TemporaryDirectory() as name:
        directory = Path(name)
        inventory(directory / "numbers.mdb", ("acme", ORIG))
        do_not_originate(directory / "never.mdb", "18005550199")
        desk = Desk(directory, WILD, **LISTS, **RECORD)
        OPEN.remove(desk.service)
        yield desk
        desk.service.close()


@pytest.mark.parametrize(
    ("says", "changes", "code"),
    [
        ({}, {"identity": (THEIRS,), **TO_CAROL}, 1),
        ({"trunk": "lyon"}, {"identity": (THEIRS,)}, 1),
        ({"customer": "acme"}, {"from_uri": "garbage"}, -1),
        ({}, {"from_uri": "sip:+18005550199@x"}, -1),
        ({"trunk": "lyon"}, {"from_uri": "sip:alice@x"}, 2),
        ({}, {"from_uri": "sip:alice@x", "identity": (THEIRS,)}, 2),
    ],
)
def test_wild_policy_does_all_that_may_come_of_a_call(
    wild: Desk, says: dict[str, str], changes: dict[str, Any], code: int
) -> None:
    wild.port.says, wild.port.port = says, 5061 if "customer" in says else 5060
    assert wild.sign(**changes) == code


@given(
    attest=TEXT,
    uris=st.tuples(PARTY, PARTY, PARTY),
    asserted=TEXTS,
    identities=IDENTITIES,
    date=st.none() | TEXT,
    others=st.tuples(TEXTS, TEXT, TEXTS, TEXTS),
    says=st.dictionaries(st.sampled_from(WORDS), TEXT),
    sdp=TEXT,
    place=st.tuples(TEXT, st.integers(5059, 5062), st.sampled_from(["udp", "tls", "\r\n"]), TEXT),
    call_id=TEXT,
)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_server_says_the_call_is_signed_or_not_and_nothing_is_raised(
    wild: Desk, *, attest: str, uris: tuple[str, str, str], asserted: tuple[str, ...], identities: tuple[str, ...],
    date: str | None, others: tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]], says: dict[str, str], sdp: str,
    place: tuple[str, int, str, str], call_id: str,
) -> None:  # fmt: skip
    port = wild.port
    port.says, port.sdp, port.id = says, sdp, call_id
    port.address, port.port, port.protocol, port.peer = place
    port.said = []  # the results stay: they are of whatever call came before
    resource_priority, priority, diversion, history_info = others
    code = wild.sign(
        attest, request_uri=uris[0], from_uri=uris[1], to_uri=uris[2], asserted=asserted, identity=identities, date=date,
        resource_priority=resource_priority, priority=priority, diversion=diversion, history_info=history_info,
    )  # fmt: skip
    results = shown(wild)
    assert code in (1, 2, -1)
    assert results.keys() == {"token", "attest", "origid", "rule", "code", "phrase"}
    assert (results["token"] == "") is (code == 1)
    assert results["token"] in ("", *FAILURES)
    assert results["attest"] in ("", *Attestation)
    assert (code == -1) is (results["code"] != 0)
    # One header a line, of names that are ours to add; one line of log; nothing in it that is no text
    names = {line.partition(": ")[0] for line in port.lines.removesuffix("\r\n").split("\r\n")}
    assert names <= {"", "Date", "Identity", "Identity-Bypass", *P_NAMES}
    assert not set(port.lines.replace("\r\n", "")) & set("\r\n\0")
    assert [level for level, _text in port.said if level != "warn"] == ["info"]
    assert all(text.isascii() and text.isprintable() for _level, text in port.said)


@given(reasons=TEXTS, upstream=TEXTS)
@settings(deadline=None, max_examples=200)
def test_whatever_a_response_says_nothing_is_raised(wild: Desk, reasons: tuple[str, ...], upstream: tuple[str, ...]) -> None:
    port = wild.port
    port.reason, port.upstream, port.said = tuple(f"STIR;ppi={text}" for text in reasons), upstream, []
    wild.outbound.reply()
    assert all(text.isascii() and text.isprintable() for _level, text in port.said)
