"""Lines of our log."""

from __future__ import annotations

import pytest

from kamailio_app.errors import FAILURES
from kamailio_app.explain.log import LONGEST_LINE, Line, read_line, read_log

SYSLOG = "Nov 29 20:00:00 edge /usr/sbin/kamailio[712]: INFO: <script>: stirshaken: "
FAILED = (
    "verify call-id=a@b trunk=carrier-1 result=failed token=iat_stale code=403 verstat=No-TN-Validation "
    "also=rcd_digest_mismatch attest=A orig=12155550121 dest=12155550131 origid=abc "
    "x5u=https://cr.example.test/x.pem us=87: 75 s old"
)


def line(text: str) -> Line:
    found = read_line(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "prefix", ["stirshaken: ", SYSLOG, "2026-11-29T20:00:00+0000 edge kamailio[1]: 5(21) INFO: stirshaken: "]
)
def test_verification_is_read_behind_any_prefix(prefix: str) -> None:
    found = line(prefix + FAILED)
    assert (found.what, found.call_id, found.token, found.also) == ("verify", "a@b", "iat_stale", ("rcd_digest_mismatch",))
    assert found.words["trunk"] == "carrier-1"
    assert found.words["us"] == "87"
    assert found.detail == "75 s old"


def test_valid_verification_has_no_token() -> None:
    found = line(f"{SYSLOG}verify call-id=a:b result=valid verstat=TN-Validation-Passed us=80")
    assert (found.token, found.outcome, found.call_id, found.detail) == ("", "valid", "a:b", "")


def test_signing_that_failed_has_its_detail() -> None:
    found = line(f"{SYSLOG}sign call-id=x result=unsigned token=certificate_none: no pair in /etc/kamailio/stirshaken")
    assert (found.what, found.token, found.detail) == ("sign", "certificate_none", "no pair in /etc/kamailio/stirshaken")
    found = line(f"{SYSLOG}sign call-id=x result=rejected answer=603 token=policy_rejected rule=never: ")
    assert (found.token, found.words["answer"], found.words["rule"], found.detail) == ("policy_rejected", "603", "never", "")


def test_report_of_the_far_end_is_read() -> None:
    found = line(f'{SYSLOG}reported call-id=x reason=STIR ;cause=438 ;text="Invalid Identity Header"')
    assert (found.what, found.call_id) == ("reported", "x")
    assert found.detail == 'STIR ;cause=438 ;text="Invalid Identity Header"'


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("fetch queue full: token=x5u_timeout x5u=https://x", "x5u_timeout"),
        ("trust_list refused, the former stays in use: trust_list_expired: exp 1", "trust_list_expired"),
        ("reload refused, all stays as it was: option_unknown: /etc/x: [signing] certificat_dir", "option_unknown"),
        ("internal_error in stir_verify: Traceback", "internal_error"),
        ("pair sp refused: key_permissions: sp.key; not used. chmod 600", "key_permissions"),
    ],
)
def test_other_lines_of_ours_are_read_for_their_token(text: str, token: str) -> None:
    found = line(SYSLOG + text)
    assert (found.what, found.token) == ("", token)


@pytest.mark.parametrize(
    "text",
    [
        *("", "kamailio[1]: NOTICE: tm: something", f"{SYSLOG}fetch process ready", "call-id=x token=iat_stale"),
        # What a peer wrote, in somebody else's line
        *(FAILED, f"kamailio[1]: INFO: <script>: ua={FAILED}"),
    ],
)
def test_what_says_nothing_is_nothing(text: str) -> None:
    assert read_line(text) is None


def test_token_that_is_none_of_ours_is_no_token() -> None:
    found = line(f"{SYSLOG}verify call-id=x result=failed token=made_up code=1 also=also_made_up,iat_stale us=1")
    assert (found.token, found.also, found.outcome) == ("", ("iat_stale",), "failed")
    assert found.unknown == "made_up"
    assert line(f"{SYSLOG}verify call-id=x result=failed token=iat_stale us=1").unknown == ""


def test_what_no_log_of_ours_says_is_safe_to_show() -> None:
    found = line(f"{SYSLOG}verify call-id=\x1b]0;x\x07 result=\x1b[2J us=1")
    assert (found.call_id, found.outcome) == ("\\x1b]0;x\\x07", "other")
    assert len(line(f"{SYSLOG}verify call-id={'x' * 60_000} result=valid us=1").call_id) < 2000
    assert line(f"{SYSLOG}reported call-id=\x9b reason=x").call_id == "\\x9b"


def test_outcomes_that_nobody_knows_are_counted_as_one() -> None:
    log = read_log(f"{SYSLOG}verify call-id=x result=made-up-{number} us=1" for number in range(100))
    assert [(row.outcome, row.times) for row in log.counts] == [("other", 100)]


def test_line_is_read_as_far_as_one_of_ours_goes() -> None:
    begin = f"{SYSLOG}sign call-id=x result=unsigned token=certificate_none: "
    assert len(line(begin + "x" * 100_000).text) == LONGEST_LINE - len(SYSLOG)


@pytest.mark.parametrize("token", FAILURES)
def test_every_token_is_found_in_a_line(token: str) -> None:
    assert line(f"{SYSLOG}sign call-id=x result=unsigned token={token}: why").token == token
    assert line(f"{SYSLOG}something refused: {token}: why").token == token


def test_whole_log_is_counted() -> None:
    lines = [SYSLOG + FAILED, SYSLOG + FAILED.replace("a@b", "c@d"), "noise", f"{SYSLOG}verify call-id=e result=valid us=1"]
    log = read_log(lines)
    assert (log.lines, log.read) == (4, 3)
    assert {(row.what, row.outcome): (row.times, row.call_id) for row in log.counts} == {
        ("verify", "iat_stale"): (2, "c@d"),
        ("verify", "rcd_digest_mismatch"): (2, "c@d"),
        ("verify", "valid"): (1, "e"),
    }
    assert log.chosen == ()


def test_lines_of_one_call_are_chosen_as_the_log_writes_its_name() -> None:
    log = read_log([SYSLOG + FAILED, SYSLOG + FAILED.replace("a@b", "odd\\x20id")], "odd id")
    assert [found.call_id for found in log.chosen] == ["odd\\x20id"]
