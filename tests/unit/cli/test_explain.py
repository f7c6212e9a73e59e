"""`shakenctl explain`, but for captures by the real tshark: `tests/integration/test_explain.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.errors import FAILURES
from kamailio_app.runtime.settings import DEFAULT_PATH

from ..builders import DATE, DEST, NOW, ORIG, X5U, hierarchy, identity, provider
from ..explain.support import message
from ..explain.test_capture import back, frame, response

LOG = "Nov 29 20:00:00 edge kamailio[7]: INFO: <script>: stirshaken: "


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Settings that trust the tests' STI-CA; its provider's chain under the name that x5u has."""
    (tmp_path / "stirshaken.toml").write_text('[verification]\nca_file = "ca.pem"\n[trunk.strict]\nfailure_action = "reject"\n')
    (tmp_path / "ca.pem").write_bytes(hierarchy().root.pem)
    (tmp_path / "chains").mkdir()
    (tmp_path / "chains" / X5U.rpartition("/")[2]).write_bytes(provider().chain_pem)
    return tmp_path


def run(host: Path, *arguments: str, stdin: str | bytes | None = None) -> Result:
    settings = {"STIRSHAKEN_SETTINGS": str(host / "stirshaken.toml")}
    return CliRunner().invoke(main, ["explain", *arguments], env=settings, input=stdin)


def chains(host: Path) -> tuple[str, str]:
    return "--chain-dir", str(host / "chains")


# --- A message --------------------------------------------------------------------------------------------------


def test_message_is_explained_as_of_its_date(host: Path) -> None:
    (host / "invite.txt").write_text(message(f"Identity: {identity()}"))
    result = run(host, str(host / "invite.txt"), *chains(host))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"INVITE: {ORIG} calls {DEST}",
        "As of 2023-11-14T22:13:20Z: the request's Date; --at now for this moment.",
    ]
    assert lines[-2:] == ["VALID, attest A", "  the call  goes on, verstat TN-Validation-Passed"]
    assert result.stderr == ""


MOMENTS = ["now", "2023-11-14T22:14:40Z", "2023-11-14 23:14:40+01:00", "1700000080", "Tue, 14 Nov 2023 22:14:40 GMT"]


@pytest.mark.parametrize("at", MOMENTS)
def test_message_is_explained_as_of_any_moment(host: Path, at: str) -> None:
    result = run(host, "-", *chains(host), "--at", at, stdin=message(f"Identity: {identity()}"))
    assert result.exit_code == 1
    assert "As of 20" in result.stdout
    assert ": the time given with --at." in result.stdout
    assert "NOT VALID: iat_stale. The PASSporT was signed too long ago. (RFC 8224 6.2 step 4)\n" in result.stdout
    assert "  code      403 Stale Date (rfc8224)\n" in result.stdout
    assert f"  next      {FAILURES['iat_stale'].advice}" in result.stdout


@pytest.mark.parametrize("at", ["yesterday", "-5", "1969-12-31", "9" * 30, "Tue, 31 Feb 2023 22:14:40 GMT"])
def test_moment_that_is_none_is_refused(host: Path, at: str) -> None:
    assert run(host, "-", f"--at={at}", stdin=message()).exit_code == 2


@pytest.mark.parametrize("date", [None, "soon"])
def test_message_without_a_date_is_explained_as_of_now(host: Path, date: str | None) -> None:
    result = run(host, "-", *chains(host), stdin=message(f"Identity: {identity()}", date=date))
    assert result.exit_code == 1
    assert ": now, for " in result.stdout
    assert "NOT VALID: iat_stale." in result.stdout


def test_all_that_is_wrong_is_said_with_what_to_do(host: Path) -> None:
    value = identity(claims={"iat": NOW - 75, "dest": {"tn": ["12155550199"]}})
    result = run(host, "-", *chains(host), stdin=message(f"Identity: {value}"))
    assert "NOT VALID: iat_stale." in result.stdout
    assert "Also wrong: dest_mismatch. The called number is not among those that were signed." in result.stdout


def test_trunk_decides_what_becomes_of_the_call(host: Path) -> None:
    result = run(host, "-", "--trunk", "strict", stdin=message("Identity: x"))
    assert "  action    reject\n  the call  is answered 438 Invalid Identity Header\n" in result.stdout
    result = run(host, "-", "--trunk", "nobodys", stdin=message("Identity: x"))
    assert result.stderr.startswith("There is no [trunk.nobodys]")
    assert "  action    tag\n" in result.stdout


def test_emergency_call_is_said_to_be_spared(host: Path) -> None:
    result = run(host, "-", "--trunk", "strict", stdin=message("Identity: x", uri="sip:911@x"))
    assert "  action    reject, but it is an emergency call\n  the call  goes on" in result.stdout


def test_what_is_no_invite_is_said_to_be_left_as_it_is(host: Path) -> None:
    result = run(host, "-", *chains(host), stdin=message(f"Identity: {identity()}", method="MESSAGE"))
    assert result.exit_code == 1
    assert result.stdout.endswith("NOT VERIFIED: Not an initial INVITE. An edge leaves it as it is.\n")
    result = run(host, "-", stdin=message("Identity: x", method="OPTIONS"))
    assert result.stdout.splitlines()[-1] == "NOT VERIFIED: Not an initial INVITE. An edge leaves it as it is."
    assert "NOT VALID" not in result.stdout


def test_without_a_certificate_nothing_is_decided(host: Path) -> None:
    result = run(host, "-", stdin=message(f"Identity: {identity()}"))
    assert result.exit_code == 1
    assert "NOT DECIDED: not at hand: give --certificate FILE" in result.stdout
    assert result.stdout.endswith(" All that could be looked at is in order.\n")
    assert result.stdout.partition("NOT DECIDED")[2].count("\n") == 1


def test_certificate_and_anchors_can_be_named(host: Path, tmp_path: Path) -> None:
    (host / "stirshaken.toml").write_text("")
    arguments = ["--certificate", str(host / "chains" / "chain.pem"), "--ca", str(host / "ca.pem")]
    assert run(host, "-", *arguments, stdin=message(f"Identity: {identity()}")).exit_code == 0
    result = run(host, "-", *arguments[:2], stdin=message(f"Identity: {identity()}"))
    assert "No roots here: no certificate can be judged." in result.stderr
    assert "NOT DECIDED: no roots here to check the certificate with: give --ca FILE" in result.stdout
    told = json.loads(run(host, "-", *arguments[:2], "--json", stdin=message(f"Identity: {identity()}")).stdout)
    assert (told["valid"], told["decided"], "--ca FILE" in told["next"]) == (False, False, True)
    # What is wrong all the same is said
    value = identity(key=hierarchy().service_provider().key)
    result = run(host, "-", *arguments[:2], stdin=message(f"Identity: {value}"))
    assert "All that could be looked at is in order" not in result.stdout
    assert "Also wrong: signature_invalid." in result.stdout


def test_json_says_the_same(host: Path) -> None:
    result = run(host, "-", *chains(host), "--json", stdin=message(f"Identity: {identity(claims={'iat': NOW - 75})}"))
    told = json.loads(result.stdout)
    assert (told["valid"], told["decided"], told["token"], told["failure_code"]) == (False, True, "iat_stale", 403)
    assert (told["from"], told["to"], told["clock"]["at"]) == (ORIG, DEST, "2023-11-14T22:13:20Z")
    assert told["clause"] == "RFC 8224 6.2 step 4"
    checks = {check["check"]: check for check in told["headers"][0]["checks"]}
    assert checks["iat"] == {
        "check": "iat",
        "clause": "RFC 8224 6.2 step 4",
        "state": "failed",
        "words": "iat 2023-11-14T22:12:05Z, 75 s before the clock; 60 s are allowed (max_iat_age)",
        "token": "iat_stale",
        "further": False,
    }
    assert told["headers"][0]["claims"]["orig"] == {"tn": ORIG}


def test_rich_call_data_and_diversions_are_said(host: Path) -> None:
    value = identity(claims={"rcd": {"nam": "Al\x1b[1mice"}, "crn": "Hello"})
    result = run(host, "-", *chains(host), stdin=message(f"Identity: {value}"))
    assert "  rich call data  nam 'Al\\x5cx1b[1mice', crn 'Hello'\n" in result.stdout


# --- An Identity header -----------------------------------------------------------------------------------------


def test_header_alone_is_explained_with_the_numbers_that_are_given(host: Path) -> None:
    arguments = ["--identity", f"Identity: {identity()}", *chains(host), "--date", DATE]
    assert run(host, *arguments).exit_code == 0
    assert run(host, *arguments, "--from", f"+{ORIG}", "--to", f'"Bob" <sip:+{DEST}@x>').exit_code == 0
    result = run(host, *arguments, "--from", "+12155550199")
    assert result.exit_code == 1
    assert "NOT VALID: orig_mismatch." in result.stdout


def test_header_in_a_file_is_recognised(host: Path) -> None:
    (host / "identity").write_text(f"y: {identity()}\n")
    assert run(host, str(host / "identity"), *chains(host), "--at", str(NOW)).exit_code == 0


def test_numbers_are_for_a_header_alone(host: Path) -> None:
    result = run(host, "-", "--from", "+1", stdin=message())
    assert result.exit_code == 2
    assert "are for an Identity header" in result.stderr


# --- A capture --------------------------------------------------------------------------------------------------


@pytest.fixture
def capture(host: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A capture that a tshark of ours reads: a valid call, a stale one, one without Identity."""
    stale = message(f"Identity: {identity(claims={'iat': NOW - 75})}").replace("call@", "stale@")
    frames = [
        frame(message(f"Identity: {identity()}")),
        back(response(200)),
        frame(stale),
        back(response(403, "Reason: STIR ;cause=403").replace("call@", "stale@")),
        frame(message().replace("call@", "none@")),
    ]
    (host / "answer").write_text("".join(f"{line}\n" for line in frames))
    (host / "tshark").write_text(f"#!/bin/sh\ncat {host / 'answer'}\n")
    (host / "tshark").chmod(0o755)
    monkeypatch.setenv("PATH", f"{host}:/usr/bin:/bin")
    (host / "calls.pcap").write_bytes(bytes.fromhex("d4c3b2a1") + bytes(20))
    return str(host / "calls.pcap")


def test_capture_is_a_table_with_counts(host: Path, capture: str) -> None:
    result = run(host, capture, *chains(host))
    assert result.exit_code == 1
    when_and_who = f"2023-11-14T22:13:20Z  {ORIG}  {DEST}"
    assert result.stdout.splitlines() == [
        "TIME                  FROM         TO           ATTEST  TOKEN             FAR END   WE SAY                CALL-ID",
        f"{when_and_who}  A       valid             200       TN-Validation-Passed  call@192.0.2.1",
        f"{when_and_who}  A       iat_stale         403,STIR  No-TN-Validation      stale@192.0.2.1",
        f"{when_and_who}          identity_missing  none      No-TN-Validation      none@192.0.2.1",
        "",
        "CALLS  TOKEN             MEANING",
        "1      valid",
        "1      iat_stale         The PASSporT was signed too long ago.",
        "1      identity_missing  No Identity header.",
    ]


def test_one_call_of_a_capture_is_explained_in_full(host: Path, capture: str) -> None:
    result = run(host, capture, *chains(host), "--call-id", "stale@192.0.2.1")
    assert result.exit_code == 1
    assert result.stdout.startswith("192.0.2.1:5060 > 192.0.2.2:5061, sent once, answered 403\nINVITE: ")
    assert "As of 2023-11-14T22:13:20Z: when it was captured." in result.stdout
    assert run(host, capture, *chains(host), "--call-id", "call@192.0.2.1").exit_code == 0
    result = run(host, capture, *chains(host), "--call-id", "nobodys")
    assert (result.exit_code, result.stdout) == (1, "no such call\n")


def test_call_of_a_capture_without_its_certificate_is_not_decided(host: Path, capture: str) -> None:
    lines = run(host, capture).stdout.splitlines()
    assert f"{ORIG}  {DEST}  A       credential_not_at_hand  200       ?                 call@192.0.2.1" in lines[1]
    assert any(line.startswith("1      credential_not_at_hand  Not decided: not at hand: give --certificate") for line in lines)


def test_call_of_a_capture_without_roots_is_not_decided(host: Path, capture: str) -> None:
    (host / "stirshaken.toml").write_text("")
    lines = run(host, capture, *chains(host)).stdout.splitlines()
    assert "credential_not_at_hand" in lines[1]
    assert "?" in lines[1].split()
    assert any("Not decided: no roots here to check the certificate with: give --ca FILE" in line for line in lines)


def test_capture_from_standard_input_and_as_json(host: Path, capture: str) -> None:
    result = run(host, "-", *chains(host), "--json", stdin=Path(capture).read_bytes())
    told = json.loads(result.stdout)
    assert [call["token"] for call in told["calls"]] == ["", "iat_stale", "identity_missing"]
    assert {row["token"]: row["calls"] for row in told["counts"]} == {"valid": 1, "iat_stale": 1, "identity_missing": 1}


def test_what_strangers_sent_is_safe_in_the_table(host: Path, capture: str) -> None:
    hostile = message().replace("call@", "\x1b]0;owned\x07" + "x" * 300).replace(f"+{ORIG}@", "\x9b2J@")
    (host / "answer").write_text(f"{frame(hostile)}\n")
    result = run(host, capture)
    assert result.exit_code == 1
    row = result.stdout.splitlines()[1]
    assert row.isascii()
    assert row.isprintable()
    assert "\\x1b]0;owned\\x07" in row
    assert len(row) < 400


def test_capture_without_calls_says_so(host: Path, capture: str) -> None:
    (host / "answer").write_text("")
    result = run(host, capture)
    assert (result.exit_code, result.stdout) == (1, "no initial INVITE in it\n")


# --- The log ----------------------------------------------------------------------------------------------------


def test_one_line_is_explained(host: Path) -> None:
    text = f"{LOG}verify call-id=a@b result=failed token=x5u_timeout code=436 verstat=No-TN-Validation x5u=https://x us=9: 2 s"
    result = run(host, "-", stdin=text)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "Verification of call a@b"
    assert "  x5u https://x" in lines
    assert "x5u_timeout: The repository did not answer in time." in lines
    assert "  clause   RFC 8224 6.2.2" in lines
    assert "  code     rfc8224 436 Bad Identity Info; atis1000082 436 Bad Identity Info; man 436 Bad Identity Info" in lines
    assert lines[-1] == f"  next     {FAILURES['x5u_timeout'].advice}"


def test_token_of_another_version_is_said(host: Path) -> None:
    lines = run(host, "-", stdin=f"{LOG}verify call-id=a result=failed token=new_one code=438 us=9: x").stdout.splitlines()
    assert lines[-1] == "new_one: no token of this version; was the line written by another one?"


def test_line_without_failure_says_so(host: Path) -> None:
    result = run(host, "-", stdin=f"{LOG}sign call-id=a@b result=signed attest=A orig=1 dest=2 origid=x us=9")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Nothing failed."


def test_report_of_the_far_end_is_explained_by_its_code(host: Path) -> None:
    result = run(host, "-", stdin=f'{LOG}reported call-id=a reason=STIR ;cause=428 ;text="Use Identity Header"')
    assert result.stdout.splitlines()[:3] == [
        "Said by the far end of call a",
        'Reason: STIR ;cause=428 ;text="Use Identity Header"',
        "  428 Use Identity Header: with us that is one of",
    ]


def test_whole_log_is_counted_and_its_tokens_explained(host: Path) -> None:
    lines = [f"{LOG}verify call-id={number} result=failed token=iat_stale code=403 us=1: old" for number in range(3)]
    lines += [
        f"{LOG}verify call-id=v result=valid us=1",
        "noise",
        f"{LOG}reload refused, all stays as it was: option_unknown: x",
    ]
    result = run(host, "-", stdin="\n".join(lines))
    assert result.exit_code == 1
    table, *meanings = result.stdout.split("\n\n")
    assert table.splitlines() == [
        "LINES  OF      OUTCOME         LAST CALL-ID",
        "3      verify  iat_stale       2",
        "1      verify  valid           v",
        "1      other   option_unknown",
    ]
    assert [text.partition(":")[0] for text in meanings] == ["iat_stale", "option_unknown"]
    assert "  kind     The settings file cannot be used." in meanings[1]


def test_lines_of_one_call_are_explained(host: Path) -> None:
    lines = [f"{LOG}verify call-id={name} result=failed token=iat_stale code=403 us=1: old" for name in "ab"]
    result = run(host, "-", "--call-id", "b", stdin="\n".join(lines))
    assert result.exit_code == 0
    assert result.stdout.startswith("Verification of call b\n")
    result = run(host, "-", "--call-id", "c", stdin="\n".join(lines))
    assert (result.exit_code, result.stdout) == (1, "no line of this call\n")


def test_log_as_json(host: Path) -> None:
    told = json.loads(run(host, "-", "--json", stdin=f"{LOG}verify call-id=a result=failed token=iat_stale us=1: x").stdout)
    assert (told["lines"], told["of_ours"]) == (1, 1)
    assert told["counts"][0]["outcome"] == told["counts"][0]["token"] == "iat_stale"
    assert told["counts"][0]["meaning"] == FAILURES["iat_stale"].meaning


def test_long_log_is_read_piece_by_piece(host: Path) -> None:
    lines = [f"{LOG}verify call-id={number} result=failed token=iat_stale us=1: old" for number in range(3000)]
    result = run(host, "-", "--json", stdin="\n".join(["x" * 300_000, *lines]))
    assert json.loads(result.stdout)["counts"][0]["times"] == 3000


# --- Else -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", FAILURES)
def test_token_alone_is_explained(host: Path, token: str) -> None:
    result = run(host, token)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{token}: {FAILURES[token].meaning}\n")


def test_response_is_explained_by_its_reason(host: Path) -> None:
    text = 'SIP/2.0 403 Forbidden\r\nReason: SIP ;cause=403\r\nReason: STIR ;cause=403 ;text="Stale Date"\r\n\r\n'
    result = run(host, "-", stdin=text)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == ['Reason: STIR ;cause=403 ;text="Stale Date"', "  403 Stale Date: with us that is one of"]
    assert f"  iat_stale: {FAILURES['iat_stale'].meaning}" in lines
    (told,) = json.loads(run(host, "-", "--json", stdin=text).stdout)
    assert (told["code"], told["tokens"][0]) == (403, "date_missing")


def test_token_that_is_nearly_one_is_said(host: Path) -> None:
    result = run(host, "iat_stal")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[1] == "If a token is meant: shakenctl explain iat_stale"


def test_key_or_certificate_is_for_inspect(host: Path) -> None:
    result = run(host, str(host / "ca.pem"))
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "input_unrecognised: it is PEM, CERTIFICATE",
        f"`shakenctl inspect {host}/ca.pem` shows what is in it.",
    ]
    assert run(host, "-", "--type", "log", stdin="hello").stderr.startswith(
        "input_unrecognised: none of 1 lines is one of our log"
    )


def test_indented_message_is_read(host: Path) -> None:
    text = "\n".join(f"    {line}" for line in message(f"Identity: {identity()}", eol="\n").split("\n"))
    assert run(host, "-", *chains(host), stdin=text).exit_code == 0


def test_note_of_what_others_may_refuse_comes_last(host: Path) -> None:
    result = run(host, "-", *chains(host), stdin=message(f"Identity: {identity(claims={'origid': 'x'})}"))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("Note: origid 'x' is no UUID")


def test_directory_that_is_not_there_is_refused(host: Path) -> None:
    result = run(host, "-", "--chain-dir", str(host / "nowhere"), stdin=message())
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize("text", ["", "hello", "SIP/2.0 200 OK\r\n\r\n"])
def test_what_is_nothing_is_unusable(host: Path, text: str) -> None:
    result = run(host, "-", stdin=text)
    assert result.exit_code == 3
    assert result.stderr.startswith("input_unrecognised: ")
    assert FAILURES["input_unrecognised"].advice in result.stderr


def test_type_can_be_said(host: Path) -> None:
    result = run(host, "-", "--type", "message", stdin="hello")
    assert result.stderr.startswith("input_unrecognised: no request line, like INVITE")


def test_file_that_is_not_there_is_unusable(host: Path) -> None:
    result = run(host, str(host / "none"))
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "input_unreadable")


def test_something_has_to_be_given_and_not_twice(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(host, "x", "--identity", "y").exit_code == 2
    assert run(host, stdin=message()).stdout.startswith("INVITE: ")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _self: True, raising=False)
    assert run(host).exit_code == 2


def test_settings_that_are_named_have_to_be_there(host: Path) -> None:
    result = run(host, "-", "--settings", str(host / "none.toml"), stdin=message())
    assert (result.exit_code, result.stderr.partition(":")[0]) == (3, "settings_unreadable")


@pytest.mark.skipif(DEFAULT_PATH.exists(), reason="there is an edge here")
def test_without_an_edge_the_defaults_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STIRSHAKEN_SETTINGS", raising=False)
    result = CliRunner().invoke(main, ["explain", "-"], input=message())
    assert result.exit_code == 1
    assert "NOT VALID: identity_missing." in result.stdout
    assert result.stderr.startswith(f"No {DEFAULT_PATH}: explained with the default settings")


def test_help_is_enough_for_a_newcomer(host: Path) -> None:
    text = run(host, "--help").stdout
    assert "Explain why a call is valid or not" in text
    assert "shakenctl explain invite.txt --fetch\n" in text
    options = (
        "--identity --from --to --date --type --at --certificate --chain-dir --fetch --ca --trunk --call-id --timeout --json"
    )
    assert all(option in text for option in options.split())
