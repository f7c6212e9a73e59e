"""Calls, for any SIP server: what is put into the request, shown to the script, said in the log and returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kamailio_app import sip
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import FAILED, NOT_VALIDATED, PASSED
from kamailio_app.lab.pki import ServiceProvider

from ..builders import ABSENT, DEST, NOW, ORIG, ORIGID, X5U, credential, hierarchy, identity, provider, request
from .desk import Desk

# --- Verifying --------------------------------------------------------------------------------------------------

NOTHING_MORE: dict[str, str | int] = dict.fromkeys(("reason", "rcd_name", "rcd_reason", "rph", "diverted", "replay"), "")
NO_VERSTAT: dict[str, str | int] = {"code": 0, "phrase": "", "verstat": "", "attest": "", "origid": "", **NOTHING_MORE}


def test_valid_call(desk: Desk) -> None:
    assert desk.verify(identity=(identity(),)) == 1
    assert desk.port.results == {**NO_VERSTAT, "token": "", "verstat": PASSED, "attest": "A", "origid": ORIGID}
    assert desk.port.from_uri == f"sip:+{ORIG};verstat={PASSED}@orig.example.com;user=phone"
    line, _, took = desk.line().rpartition(" us=")
    assert line == (
        f"verify call-id=a\\x20b\\x0d\\x0a@h result=valid verstat={PASSED} attest=A orig={ORIG} dest={DEST} origid={ORIGID} "
        f"x5u={X5U} spc=1234 fingerprint={credential().fingerprint[:16]}"
    )
    assert took.isdigit()


@pytest.mark.parametrize(("calls", "level", "lines"), [(True, 2, 1), (False, 2, 0), (True, 1, 0)])
def test_lines_about_calls_can_be_turned_off(tmp_path: Path, calls: bool, level: int, lines: int) -> None:
    desk = Desk(tmp_path, log={"calls": calls})
    desk.port.level = level
    assert desk.verify() == 3
    assert len(desk.port.said) == lines


@pytest.mark.parametrize("changes", [{"method": "BYE"}, {"method": "ACK"}, {"in_dialog": True}, {"method": ""}])
def test_only_initial_invites_are_verified(desk: Desk, changes: dict[str, Any]) -> None:
    assert desk.verify(identity=("x",), **changes) == 3
    assert desk.port.results == {**NO_VERSTAT, "token": "request_not_signed"}
    assert (desk.port.said, desk.port.from_uri, desk.port.asserted) == ([], None, None)


STALE = identity(claims={"iat": NOW - 61})
FORGED = identity(key=hierarchy().intermediate.key)
UNREACHABLE = "https://cr.example.test/unreachable.pem"


class Failed(NamedTuple):
    headers: tuple[str, ...]
    token: str
    verstat: str
    code: int
    phrase: str


FAILURES = [
    Failed((STALE,), "iat_stale", NOT_VALIDATED, 403, "Stale Date"),
    Failed((identity(parameters=f";info=<{X5U}>;ppt=div"),), "ppt_unsupported", NOT_VALIDATED, 428, "Use Identity Header"),
    Failed((), "identity_missing", NOT_VALIDATED, 428, "Use Identity Header"),
    Failed(
        (identity(jose={"x5u": UNREACHABLE}, parameters=f";info=<{UNREACHABLE}>"),),
        "x5u_unreachable",
        NOT_VALIDATED,
        436,
        "Bad Identity Info",
    ),
    Failed((FORGED,), "signature_invalid", FAILED, 438, "Invalid Identity Header"),
    Failed(("\0",), "identity_malformed", NOT_VALIDATED, 438, "Invalid Identity Header"),
]


@pytest.mark.parametrize("case", FAILURES)
def test_failed_call_is_tagged_and_goes_on(desk: Desk, case: Failed) -> None:
    desk.has(UNREACHABLE, token="x5u_unreachable")
    assert desk.verify(identity=case.headers) == 3
    results = desk.port.results
    assert (results["token"], results["verstat"], results["code"], results["phrase"]) == (case.token, case.verstat, 0, "")
    assert desk.port.from_uri == f"sip:+{ORIG};verstat={case.verstat}@orig.example.com;user=phone"
    assert f" result=failed token={case.token} code={case.code} verstat={case.verstat}" in desk.line()


@pytest.mark.parametrize("case", FAILURES)
def test_failed_call_is_answered_where_that_is_wanted(tmp_path: Path, case: Failed) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "reject", "require_identity": True})
    desk.has(UNREACHABLE, token="x5u_unreachable")
    assert desk.verify(identity=case.headers) == -1
    results = desk.port.results
    assert (results["token"], results["verstat"], results["code"], results["phrase"]) == (
        case.token,
        "",
        case.code,
        case.phrase,
    )
    assert (desk.port.from_uri, desk.port.asserted) == (None, None)
    assert f" result=failed token={case.token} code={case.code} answer={case.code}" in desk.line()


@pytest.mark.parametrize("case", FAILURES)
def test_failed_call_is_only_observed_where_that_is_wanted(tmp_path: Path, case: Failed) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "observe"})
    desk.has(UNREACHABLE, token="x5u_unreachable")
    assert desk.verify(identity=case.headers) == 3
    results = desk.port.results
    assert (results["token"], results["verstat"], results["code"]) == (case.token, "", 0)
    assert (desk.port.from_uri, desk.port.asserted) == (None, None)


@pytest.mark.parametrize("header", [FORGED, STALE, identity(claims={"dest": {"tn": ["12155550199"]}})])
def test_what_a_failed_passport_claims_is_in_the_log_but_not_shown_to_the_script(desk: Desk, header: str) -> None:
    assert desk.verify(identity=(header,)) == 3
    assert (desk.port.results["attest"], desk.port.results["origid"]) == ("", "")


def test_claims_of_an_earlier_call_do_not_stay(desk: Desk) -> None:
    assert desk.verify(identity=(identity(),)) == 1
    assert desk.verify(identity=(FORGED,)) == 3
    assert (desk.port.results["attest"], desk.port.results["origid"]) == ("", "")


def test_refused_credential_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"ca_file": ""})
    assert desk.verify(identity=(identity(),)) == 3
    assert desk.port.results["token"] == "credential_untrusted"
    assert desk.port.results["verstat"] == FAILED
    assert "spc=" not in desk.line()
    assert desk.line().endswith(": no trust anchors")


def test_providers_of_a_credential_are_all_said(desk: Desk) -> None:
    issued = hierarchy().service_provider(ServiceProvider(tnauthlist=TNAuthList(spcs=("1234", "567A"))))
    desk.has(X5U, issued.chain_pem)
    assert desk.verify(identity=(identity(key=issued.key),)) == 1
    assert " spc=1234,567A " in desk.line()


def test_pending_call_is_left_alone(desk: Desk) -> None:
    other = "https://cr.example.test/other.pem"
    two = identity(jose={"x5u": other}, parameters=f";info=<{other}>")
    assert desk.verify(identity=(identity(), two)) == 2
    assert desk.port.results == {"x5u": other, "wait": 2000}
    assert (desk.port.said, desk.port.from_uri, desk.port.asserted) == ([], None, None)


def test_caller_whom_nobody_is_shown_is_not_looked_at(desk: Desk) -> None:
    others = tuple(f"<tel:+1303555010{number}>" for number in range(4))
    asserted = (*others, f"<sip:+{ORIG}@x>")
    assert desk.verify(identity=(identity(),), asserted=asserted) == 3
    assert desk.port.results["token"] == "orig_mismatch"
    assert desk.verify(identity=(identity(),), asserted=asserted[1:]) == 3
    assert desk.port.results["token"] == "orig_mismatch"  # the first tel URI is the caller
    assert desk.verify(identity=(identity(),), asserted=(f"<sip:+{ORIG}@x>",) * 5) == 1
    assert desk.port.asserted == [f"<sip:+{ORIG};verstat={PASSED}@x>"] * 4


def test_resumed_call_is_decided_with_what_is_there(desk: Desk) -> None:
    other = "https://cr.example.test/other.pem"
    two = identity(jose={"x5u": other}, parameters=f";info=<{other}>")
    assert desk.verify(last_try=True, identity=(two,)) == 3
    assert desk.port.results["token"] == "x5u_timeout"
    assert desk.verify(last_try=True, identity=(identity(), two)) == 1


def test_resumed_call_is_not_tagged_yet(desk: Desk) -> None:
    assert desk.verify(last_try=True, tag=False, identity=(identity(),)) == 1
    assert desk.port.results["verstat"] == PASSED
    assert (desk.port.from_uri, desk.port.asserted) == (None, None)


def test_origid_of_a_peer_is_shown_and_said_safely(desk: Desk) -> None:
    assert desk.verify(identity=(identity(claims={"origid": "a\r\nb \u00e9"}),)) == 1
    assert desk.port.results["origid"] == "a\\x0d\\x0ab\\x20\\xe9"
    assert desk.line().isascii()
    assert desk.line().isprintable()


# --- verstat ----------------------------------------------------------------------------------------------------

SPOOFED = f";verstat={PASSED}"


A, B = ORIG, "12155550199"


class Said(NamedTuple):
    """Of caller, asserted identities and From: what leaves, None for what is left as it is."""

    asserted: list[str]
    from_uri: str
    asserted_leaving: list[str] | None
    from_leaving: str | None


OF_THE_VERIFIED = [
    # PAI names the caller: it is said there, and not on From
    Said([f"<sip:+{A}@x>"], f"sip:+{A}@x", [f"<sip:+{A};verstat={FAILED}@x>"], None),
    Said([f"<sip:+{A}@x>"], f"sip:+{B}@x", [f"<sip:+{A};verstat={FAILED}@x>"], None),
    # Another number beside it was not verified
    Said([f"<sip:+{A}@x>, <tel:+{B}>"], f"sip:+{A}@x", [f"<sip:+{A}@x>, <tel:+{B};verstat={FAILED}>"], None),
    Said([f"<tel:+{A}>", f"<tel:+{B}>"], f"sip:+{B}@x", [f"<tel:+{A};verstat={FAILED}>", f"<tel:+{B}>"], None),
    Said([f"<tel:+{A}>", f"<tel:+{B}{SPOOFED}>"], "sip:x@x", [f"<tel:+{A};verstat={FAILED}>", f"<tel:+{B}>"], None),
    # The same number twice
    Said([f"<sip:+{A}@x>", f"<tel:+{A}>"], "sip:x@x", [f"<sip:+{A};verstat={FAILED}@x>", f"<tel:+{A};verstat={FAILED}>"], None),
    # Without PAI, or with none that names anybody, it is From
    Said([], f"sip:+{A}@x", None, f"sip:+{A};verstat={FAILED}@x"),
    Said([], f"sip:+{A}{SPOOFED}@x", None, f"sip:+{A};verstat={FAILED}@x"),
    Said(["<>"], f"sip:+{A}@x", None, f"sip:+{A};verstat={FAILED}@x"),
    # A caller without number carries none, nor does anybody else
    Said(["<sip:alice@x>"], f"sip:+{A}@x", None, None),
    Said([f"<sip:alice{SPOOFED}@x>"], f"sip:+{A}{SPOOFED}@x", ["<sip:alice@x>"], f"sip:+{A}@x"),
    Said([], "sip:alice@x", None, None),
]


@pytest.mark.parametrize("case", OF_THE_VERIFIED)
def test_verstat_is_said_of_the_caller_that_was_verified_only(desk: Desk, case: Said) -> None:
    desk.port.snapshot = request(asserted=tuple(case.asserted), from_uri=case.from_uri)
    desk.calls.tag(FAILED)
    assert (desk.port.asserted, desk.port.from_uri) == (case.asserted_leaving, case.from_leaving)


@pytest.mark.parametrize("asserted", [A, B])
def test_asserted_identity_is_never_marked_where_from_is_verified(tmp_path: Path, asserted: str) -> None:
    desk = Desk(tmp_path, identities={"orig_source": "from"})
    changes: dict[str, Any] = {"from_uri": f"sip:+{A};verstat=x@x", "asserted": (f"<sip:+{asserted}{SPOOFED}@x>",)}
    assert desk.verify(identity=(identity(),), **changes) == 1
    assert desk.port.asserted == [f"<sip:+{asserted}@x>"]
    assert desk.port.from_uri == f"sip:+{A};verstat={PASSED}@x"


def test_caller_is_known_by_the_numbers_that_are_dialled_here(tmp_path: Path) -> None:
    desk = Desk(tmp_path, numbers={"country_code": "1", "national_number_length": 10})
    assert desk.verify(identity=(identity(),), asserted=(f"<sip:{A[1:]}@x>, <sip:{B[1:]}@x>",)) == 1
    assert desk.port.asserted == [f"<sip:{A[1:]};verstat={PASSED}@x>, <sip:{B[1:]}@x>"]


@pytest.mark.parametrize(
    ("changes", "stripped"),
    [
        ({}, False),
        ({"asserted": ("<sip:alice@x>",) * 4}, False),
        ({"asserted": ("<sip:alice@x>",) * 5}, True),
        ({"asserted": (f"<tel:+{A};VerStat=x>",)}, True),
        ({"from_uri": f"sip:+{A}{SPOOFED}@x"}, True),
    ],
)
def test_pending_call_is_touched_only_if_there_is_something_to_remove(
    desk: Desk, changes: dict[str, Any], stripped: bool
) -> None:
    desk.port.snapshot = request(**changes)
    assert desk.calls.strip() is stripped
    assert ((desk.port.asserted, desk.port.from_uri) != (None, None)) is stripped


@pytest.mark.parametrize(
    ("asserted", "expected"),
    [
        (["<sip:+1@x>"], [f"<sip:+1;verstat={FAILED}@x>"]),
        (["<tel:+1>"], [f"<tel:+1;verstat={FAILED}>"]),
        (["<sip:+1@x>, <tel:+1>"], [f"<sip:+1;verstat={FAILED}@x>, <tel:+1;verstat={FAILED}>"]),
        (["<sip:+1@x>", "<tel:+1>"], [f"<sip:+1;verstat={FAILED}@x>", f"<tel:+1;verstat={FAILED}>"]),
        ([f"<sip:+1{SPOOFED}@x>"], [f"<sip:+1;verstat={FAILED}@x>"]),
        ([f"<sip:+1@x>{SPOOFED}"], [f"<sip:+1;verstat={FAILED}@x>"]),
        (["<sip:alice@x>"], None),
        ([f"<sip:alice{SPOOFED}@x>"], ["<sip:alice@x>"]),
    ],
)
def test_verstat_goes_on_the_asserted_identity_and_never_on_from_too(
    desk: Desk, asserted: list[str], expected: list[str] | None
) -> None:
    desk.port.snapshot = request(asserted=tuple(asserted))
    desk.calls.tag(FAILED)
    assert desk.port.asserted == expected
    assert desk.port.from_uri is None  # never both


@pytest.mark.parametrize("asserted", [[], ["<sip:+1@x>"]])
def test_what_is_spoofed_on_from_never_stays(desk: Desk, asserted: list[str]) -> None:
    desk.port.snapshot = request(asserted=tuple(asserted), from_uri=f"sip:+{ORIG}{SPOOFED}@x")
    desk.calls.tag(FAILED)
    assert desk.port.from_uri == (f"sip:+{ORIG}@x" if asserted else f"sip:+{ORIG};verstat={FAILED}@x")


def test_nothing_is_said_and_nothing_spoofed_stays_when_observing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "observe"})
    asserted = (f"<sip:+1{SPOOFED}@x>", f"<tel:+1{SPOOFED.upper()}>")
    assert desk.verify(identity=("x",), from_uri=f"sip:+{ORIG}{SPOOFED}@x", asserted=asserted) == 3
    assert desk.port.asserted == ["<sip:+1@x>", "<tel:+1>"]
    assert desk.port.from_uri == f"sip:+{ORIG}@x"


def test_request_without_verstat_is_not_touched_when_there_is_nothing_to_say(desk: Desk) -> None:
    desk.port.snapshot = request(asserted=("<sip:+1@x>",))
    desk.calls.tag("")
    assert (desk.port.from_uri, desk.port.asserted) == (None, None)


def test_more_asserted_identities_than_are_looked_at_are_dropped(desk: Desk) -> None:
    desk.port.snapshot = request(asserted=("<sip:alice@x>",) * 4 + (f"<tel:+1{SPOOFED}>",))
    desk.calls.tag("")
    assert desk.port.asserted == ["<sip:alice@x>"] * 4


def test_snapshot_that_is_at_hand_is_not_taken_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[sip.Request] = []

    def take() -> sip.Request:
        taken.append(request(identity=(identity(),)))
        return taken[-1]

    monkeypatch.setattr(desk.port, "request", take)
    assert desk.calls.verify() == 1
    assert len(taken) == 1


def test_remembered_failure_of_a_repository_is_that_calls_failure(desk: Desk) -> None:
    desk.has(X5U, token="x5u_http_status")
    assert desk.verify(identity=(identity(),)) == 3
    assert desk.port.results["token"] == "x5u_http_status"


# --- Trunks -----------------------------------------------------------------------------------------------------

TRUNKS: dict[str, dict[str, Any]] = {
    "trunk.strict": {"failure_action": "reject", "require_identity": True, "code_profile": "atis1000082"},
    "trunk.quiet": {"failure_action": "observe"},
}
OTHER_INFO = identity(parameters=f";info=<{X5U}x>;alg=ES256;ppt=shaken")


def test_trunk_is_not_asked_for_where_there_is_none(desk: Desk) -> None:
    desk.port.says["trunk"] = "strict"
    assert desk.verify(identity=(FORGED,)) == 3
    assert desk.port.asked_for == []
    assert "trunk=" not in desk.line()


def test_call_is_treated_as_its_trunk_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **TRUNKS)
    desk.port.says["trunk"] = "strict"
    assert desk.verify(identity=(OTHER_INFO,)) == -1
    assert (desk.port.results["code"], desk.port.results["phrase"]) == (436, "Bad Identity Info")
    assert desk.line().startswith(
        "verify call-id=a\\x20b\\x0d\\x0a@h trunk=strict result=failed token=info_mismatch code=436 answer=436"
    )
    assert desk.verify() == -1
    assert desk.port.results["code"] == 428
    desk.port.says["trunk"] = "quiet"
    assert desk.verify(identity=(FORGED,)) == 3
    assert (desk.port.results["verstat"], desk.port.results["reason"]) == ("", "")
    desk.port.says["trunk"] = ""
    assert desk.verify(identity=(FORGED,)) == 3
    assert desk.port.results["verstat"] == FAILED
    assert "trunk=" not in desk.port.said[-1][1]


def test_trunk_that_no_settings_name_is_as_all_others_and_said_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **TRUNKS)
    desk.port.says["trunk"] = "a b\r\n"
    for _ in range(2):
        assert desk.verify(identity=(FORGED,)) == 3
        assert desk.port.results["verstat"] == FAILED
    warnings = [text for level, text in desk.port.said if level == "warn"]
    assert warnings == ["no [trunk.a\\x20b\\x0d\\x0a] in the settings: its calls are treated as [verification] says"]
    assert " trunk=a\\x20b\\x0d\\x0a " in desk.port.said[-1][1]


# --- Emergency --------------------------------------------------------------------------------------------------


def test_emergency_call_waits_for_nothing_and_is_not_rejected(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "reject", "require_identity": True})
    elsewhere = identity(
        {"x5u": UNREACHABLE}, {"dest": {"tn": ["911"]}}, parameters=f";info=<{UNREACHABLE}>;alg=ES256;ppt=shaken"
    )
    for block in (False, True):
        assert desk.verify(identity=(elsewhere,), to_uri="sip:911@x", block=block) == 3
        assert (desk.port.results["token"], desk.port.results["code"]) == ("credential_not_at_hand", 0)
    assert desk.verify(to_uri="urn:service:sos") == 3
    assert desk.port.results["verstat"] == NOT_VALIDATED
    assert desk.verify() == -1


def test_emergency_numbers_are_those_of_the_settings(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "reject", "emergency_numbers": ["112"]})
    assert desk.verify(identity=(FORGED,), request_uri="sip:112@x") == 3
    assert desk.verify(identity=(FORGED,), request_uri="sip:911@x") == -1


# --- Reason -----------------------------------------------------------------------------------------------------


def test_reason_is_whole_header_lines_one_for_each_header_that_failed(desk: Desk) -> None:
    assert desk.verify(identity=(FORGED, STALE)) == 3
    lines = str(desk.port.results["reason"]).split("\r\n")
    signatures = [value.partition(";")[0].rpartition(".")[2] for value in (FORGED, STALE)]
    assert lines == [
        f'Reason: STIR ;cause=438 ;text="Invalid Identity Header" ;ppi="..{signatures[0]}"',
        f'Reason: STIR ;cause=403 ;text="Stale Date" ;ppi="..{signatures[1]}"',
        "",
    ]


def test_reason_is_there_for_the_answer_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"failure_action": "reject"})
    assert desk.verify(identity=(FORGED,)) == -1
    assert str(desk.port.results["reason"]).startswith("Reason: STIR ;cause=438 ")


def test_further_failures_are_in_the_line_each_once(desk: Desk) -> None:
    assert desk.verify(identity=(identity(), FORGED, FORGED, STALE)) == 1
    assert f"result=valid verstat={PASSED} also=signature_invalid,iat_stale attest=A" in desk.line()
    assert str(desk.port.results["reason"]).count("\r\n") == 3


def test_failure_that_is_the_result_already_is_not_said_again(desk: Desk) -> None:
    assert desk.verify(identity=(FORGED, FORGED)) == 3
    assert "also=" not in desk.line()


def test_failed_header_of_an_unsigned_call_is_said(desk: Desk) -> None:
    assert desk.verify(identity=(extension("rcd", hierarchy().intermediate.key, rcd={"nam": "Alice"}),)) == 3
    assert f"token=ppt_unsupported code=428 verstat={NOT_VALIDATED} also=signature_invalid us=" in desk.line()


# --- What further PASSporTs say ---------------------------------------------------------------------------------

DIVERTED = "12155550140"


def extension(ppt: str, key: Any = None, **claims: Any) -> str:
    own = {"attest": ABSENT, "origid": ABSENT, **claims}
    return identity({"ppt": ppt}, own, key, parameters=f";info=<{X5U}>;alg=ES256;ppt={ppt}")


def div(by: str, to: str) -> str:
    return extension("div", div={"tn": by}, dest={"tn": [to]})


def test_first_who_diverted_the_call_is_shown_and_all_are_said(desk: Desk) -> None:
    last = "12155550150"
    headers = (identity(), div(DEST, DIVERTED), div(DIVERTED, last))
    assert desk.verify(identity=headers, to_uri=f"sip:+{last}@x", request_uri=f"sip:+{last}@x") == 1
    assert desk.port.results["diverted"] == DEST
    assert f" diverted={DEST},{DIVERTED} spc=1234 " in desk.line()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Caf\u00e9 Alice", "Caf\u00e9 Alice"),
        ('a "b" \\c', 'a \\"b\\" \\\\c'),
        ("a\r\nVia: x\0", "a\\\\x0d\\\\x0aVia: x\\\\x00"),
        ("x" * 300, "x" * 256),
        ("\u202e" + "x" * 300, "\\\\x202e" + "x" * 250),
    ],
)
def test_name_of_the_caller_is_fit_for_quotes(desk: Desk, name: str, shown: str) -> None:
    header = extension("rcd", rcd={"nam": name}, crn=name)
    assert desk.verify(identity=(identity(), header)) == 1
    shown_name, shown_reason = str(desk.port.results["rcd_name"]), desk.port.results["rcd_reason"]
    assert shown_name == shown_reason
    assert shown_name == shown
    assert shown_name.isprintable()


def test_rich_call_data_that_failed_is_said_and_not_shown(desk: Desk) -> None:
    assert desk.verify(identity=(identity(claims={"rcd": {"nam": 1}}),)) == 1
    assert desk.port.results["rcd_name"] == ""
    assert f"result=valid verstat={PASSED} also=claim_malformed " in desk.line()


@pytest.mark.parametrize(
    ("present", "shown"),
    [(("ets.1",), "ets.1"), (("ets.1, wps.0",), "ets.1"), (("wps.0",), "failed"), ((), "failed")],
)
def test_resource_priority_that_was_verified_is_shown(tmp_path: Path, present: tuple[str, ...], shown: str) -> None:
    desk = Desk(tmp_path, verification={"rph_signers": ["1234"]})
    header = extension("rph", rph={"auth": ["ets.1"]})
    assert desk.verify(identity=(identity(), header), resource_priority=present) == 1
    assert desk.port.results["rph"] == shown
    assert (" also=rph_mismatch" in desk.line()) == (present != ("ets.1",))


@pytest.mark.parametrize("signers", [[], ["5678"]])
def test_resource_priority_of_a_signer_who_may_not_has_failed(tmp_path: Path, signers: list[str]) -> None:
    desk = Desk(tmp_path, verification={"rph_signers": signers})
    header = extension("rph", rph={"auth": ["ets.1"]})
    assert desk.verify(identity=(identity(), header), resource_priority=("ets.1",)) == 1
    assert desk.port.results["rph"] == "failed"
    assert f"result=valid verstat={PASSED} also=rph_not_authorized " in desk.line()


def test_results_of_an_earlier_call_do_not_stay(desk: Desk) -> None:
    for clean in ({"identity": (identity(),)}, {"method": "BYE"}):
        headers = (identity(), extension("rcd", rcd={"nam": "Alice"}), FORGED)
        assert desk.verify(identity=headers) == 1
        assert (desk.port.results["rcd_name"], desk.port.results["reason"] != "") == ("Alice", True)
        desk.verify(**clean)
        assert {name: desk.port.results[name] for name in NOTHING_MORE} == NOTHING_MORE


def test_what_nobody_has_to_say_costs_nothing(desk: Desk) -> None:
    for _ in range(3):
        assert desk.verify(identity=(identity(),)) == 1
    first, *others = desk.port.published
    assert NOTHING_MORE.keys() <= first
    assert all(names.isdisjoint(NOTHING_MORE) for names in others)


# --- Replay -----------------------------------------------------------------------------------------------------


def test_replay_is_not_looked_for_by_default(desk: Desk) -> None:
    for _ in range(2):
        assert desk.verify(identity=(identity(),)) == 1
    assert desk.port.seen == {}


def test_replay_is_flagged(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"replay_detection": "flag", "max_iat_age": 50, "max_iat_future": 7})
    for replay in ("", "1", "1"):
        assert desk.verify(identity=(identity(),)) == 1
        assert (desk.port.results["replay"], desk.port.results["token"]) == (replay, "")
        assert (f" verstat={PASSED} replay=1 " in desk.port.said[-1][1]) == bool(replay)
    assert list(desk.port.seen.values()) == [57]
    assert desk.verify(identity=(identity(claims={"origid": "another"}),)) == 1
    assert desk.port.results["replay"] == ""


def test_replay_fails_where_that_is_wanted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"replay_detection": "fail"})
    headers = (FORGED, identity(), extension("rcd", rcd={"nam": "Alice"}))
    assert desk.verify(identity=headers) == 1
    assert desk.port.results["rcd_name"] == "Alice"
    assert desk.verify(identity=headers) == 3
    results = desk.port.results
    assert (results["token"], results["attest"], results["rcd_name"]) == ("passport_replayed", "", "")
    assert (results["replay"], results["code"]) == ("1", 0)
    assert str(results["reason"]).count("cause=438") == 2
    assert " result=failed token=passport_replayed code=438 " in desk.port.said[-1][1]
    assert " also=signature_invalid replay=1 " in desk.port.said[-1][1]


def test_replay_is_rejected_where_that_is_wanted_but_for_emergencies(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"replay_detection": "fail", "failure_action": "reject"})
    assert [desk.verify(identity=(identity(),)) for _ in range(2)] == [1, -1]
    assert desk.port.results["code"] == 438
    assert desk.verify(identity=(identity(),), request_uri="sip:911@x") == 3


def test_replay_is_seen_beside_whatever_else_is_signed(tmp_path: Path) -> None:
    """Neither order nor omission hides one: each PASSporT of a call is remembered."""
    desk = Desk(tmp_path, verification={"replay_detection": "flag"})
    one, two, three, four = (identity(claims={"origid": name}) for name in ("one", "two", "three", "four"))
    calls = [((one, two), ""), ((two,), "1"), ((three, one), "1"), ((three,), "1"), ((four,), "")]
    for headers, replay in calls:
        assert desk.verify(identity=headers) == 1
        assert desk.port.results["replay"] == replay


def test_call_that_is_not_valid_is_no_replay(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"replay_detection": "fail"})
    for _ in range(2):
        assert desk.verify(identity=(FORGED,)) == 3
        assert desk.port.results["token"] == "signature_invalid"
    assert desk.port.seen == {}


# --- P-Attestation-Indicator and P-Origination-ID ---------------------------------------------------------------

P_NAMES = ["P-Attestation-Indicator", "P-Origination-ID"]


def test_valid_call_carries_attestation_and_origid_where_that_is_wanted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"p_headers": True})
    assert desk.verify(identity=(identity(),)) == 1
    assert desk.port.lines == f"P-Attestation-Indicator: A\r\nP-Origination-ID: {ORIGID}\r\n"
    assert desk.port.removed == P_NAMES
    assert "headers" not in desk.port.results


@pytest.mark.parametrize("action", ["observe", "tag"])
def test_those_of_a_peer_are_removed_whatever_comes_of_the_call(tmp_path: Path, action: str) -> None:
    desk = Desk(tmp_path, verification={"p_headers": True, "failure_action": action})
    assert desk.verify(identity=(FORGED,)) == 3
    assert (desk.port.lines, desk.port.removed) == ("", P_NAMES)


def test_pending_call_loses_those_of_a_peer_before_it_is_parked_and_gets_ours_in_its_branches(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"p_headers": True})
    desk.port.table.clear()
    assert desk.verify(identity=(identity(),)) == 2
    assert desk.port.removed == P_NAMES
    desk.has(X5U, provider().chain_pem)
    assert desk.verify(identity=(identity(),), last_try=True, tag=False) == 1
    assert (desk.port.lines, desk.port.removed) == ("", P_NAMES)
    headers = str(desk.port.results["headers"])
    assert headers == f"P-Attestation-Indicator: A\r\nP-Origination-ID: {ORIGID}\r\n"
    desk.calls.tag(PASSED, headers=headers)
    assert desk.port.lines == headers
    desk.calls.tag_stripped(PASSED, headers)
    assert desk.port.lines == headers * 2


def test_resumed_call_without_them_says_nothing_of_them(tmp_path: Path) -> None:
    desk = Desk(tmp_path, verification={"p_headers": True})
    assert desk.verify(identity=(FORGED,), last_try=True, tag=False) == 3
    assert "headers" not in desk.port.results
    desk.calls.tag_stripped(FAILED)
    assert desk.port.lines == ""


@pytest.mark.parametrize("origid", ["a b", "a\r\nVia: x", "\u00e9", '"a"', "<a>"])
def test_origid_that_is_no_token_is_in_no_header(tmp_path: Path, origid: str) -> None:
    desk = Desk(tmp_path, verification={"p_headers": True})
    assert desk.verify(identity=(identity(claims={"origid": origid}),)) == 1
    assert desk.port.lines == "P-Attestation-Indicator: A\r\n"


def test_headers_of_a_peer_are_its_own_where_we_have_none(desk: Desk) -> None:
    assert desk.verify(identity=(identity(),)) == 1
    assert (desk.port.lines, desk.port.removed) == ("", [])


# --- How long a call waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "milliseconds"), [(0.5, 500), (2, 2000), (2.5, 2500)])
def test_call_waits_as_long_as_its_budget(tmp_path: Path, budget: float, milliseconds: int) -> None:
    desk = Desk(tmp_path, verification={"call_time_budget": budget})
    desk.port.table.clear()
    assert desk.verify(identity=(identity(),)) == 2
    assert desk.port.results == {"x5u": X5U, "wait": milliseconds}
