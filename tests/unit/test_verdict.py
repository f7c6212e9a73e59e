"""From the verdicts of the headers to one result for the call."""

from __future__ import annotations

import itertools

import pytest

from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED, failure
from kamailio_app.verdict import Verdict, combine, worst

VALID = Verdict(None)


def bad(token: str) -> Verdict:
    return Verdict(failure(token))


def test_no_header_at_all_is_identity_missing() -> None:
    verification = combine(())
    assert verification.token == "identity_missing"
    assert len(verification.verdicts) == 1
    assert not verification.valid


def test_one_valid_header_suffices() -> None:
    for verdicts in itertools.permutations([VALID, bad("signature_invalid"), bad("x5u_timeout")]):
        verification = combine(verdicts)
        assert verification.valid
        assert verification.verdict is VALID
        assert (verification.token, verification.verstat) == ("", PASSED)
        assert verification.verdicts == verdicts


# RFC 8224 6.2.2: 437 "at least one", 436 "none could be fetched", 428 "none supported"
ORDER = ["credential_untrusted", "iat_stale", "signature_invalid", "x5u_unreachable", "ppt_unsupported", "internal_error"]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_precedence_when_all_fail_whatever_their_order(first: str, second: str) -> None:
    assert combine((bad(first), bad(second))).token == first
    assert combine((bad(second), bad(first))).token == first


def test_of_equals_the_first_counts() -> None:
    assert combine((bad("orig_mismatch"), bad("dest_mismatch"))).token == "orig_mismatch"


def test_every_code_has_its_rank() -> None:
    for token in FAILURES:
        assert combine((bad(token),)).token == token


@pytest.mark.parametrize("token", FAILURES)
def test_verstat_is_the_tables(token: str) -> None:
    assert combine((bad(token),)).verstat == FAILURES[token].verstat


@pytest.mark.parametrize("order", [("ppt_unsupported", "signature_invalid"), ("iat_stale", "tn_not_authorized")])
def test_failed_dominates_also_where_another_header_decides(order: tuple[str, str]) -> None:
    for tokens in (order, order[::-1]):
        assert combine(tuple(bad(token) for token in tokens)).verstat == FAILED


def test_nothing_failed_is_not_validated() -> None:
    assert combine((bad("ppt_unsupported"), bad("iat_stale"))).verstat == NOT_VALIDATED


def test_verdict_is_valid_without_error_only() -> None:
    assert VALID.valid
    assert not bad("iat_stale").valid


# --- Types that do not decide -------------------------------------------------------------------------------------


def of(ppt: str, token: str = "") -> Verdict:
    return Verdict(failure(token) if token else None, ppt=ppt)


@pytest.mark.parametrize("ppt", ["div", "rph", "rcd"])
def test_other_types_alone_do_not_make_a_call_valid(ppt: str) -> None:
    verification = combine((of(ppt),))
    assert (verification.token, verification.verstat) == ("ppt_unsupported", NOT_VALIDATED)
    assert verification.verdicts == (of(ppt),)


@pytest.mark.parametrize("ppt", ["div", "rph", "rcd"])
def test_other_types_do_not_make_a_call_invalid(ppt: str) -> None:
    for verdicts in itertools.permutations([VALID, of(ppt, "credential_untrusted")]):
        assert combine(verdicts).verstat == PASSED
    assert combine((bad("iat_stale"), of(ppt, "credential_untrusted"))).token == "iat_stale"


@pytest.mark.parametrize(("ppt", "verstat"), [("div", FAILED), ("rph", NOT_VALIDATED), ("rcd", NOT_VALIDATED)])
def test_only_what_says_who_calls_makes_a_failed_validation(ppt: str, verstat: str) -> None:
    assert combine((bad("iat_stale"), of(ppt, "signature_invalid"))).verstat == verstat


def test_cause_decides_where_it_is_another_headers() -> None:
    verdicts = (bad("div_mismatch"), of("div", "credential_untrusted"))
    verification = combine(verdicts, (bad("credential_untrusted"), verdicts[1]))
    assert (verification.token, verification.verstat) == ("credential_untrusted", FAILED)
    assert verification.verdicts is verdicts


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_worst_is_what_goes_before(first: str, second: str) -> None:
    for tokens in ((first, second), (second, first)):
        assert worst([failure(token) for token in tokens]).token == first
