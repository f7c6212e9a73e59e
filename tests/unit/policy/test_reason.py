"""Reason values: one for each header that failed."""

from __future__ import annotations

from functools import partial

import pytest

from kamailio_app.errors import FAILURES, failure
from kamailio_app.passport.passport import shaken_passport
from kamailio_app.policy.codes import ATIS_1000082, RFC_8224
from kamailio_app.policy.reason import reasons
from kamailio_app.verdict import Verdict, Verification, combine

from ..builders import passport

VALID = Verdict(None)
VALID_RCD = Verdict(None, ppt="rcd")
RFC_8224_TOLD = partial(reasons, codes=RFC_8224, required=True)


def failed(*tokens: str, also: tuple[Verdict, ...] = ()) -> Verification:
    return combine((*[Verdict(failure(token)) for token in tokens], *also))


def test_value_has_code_phrase_and_signature() -> None:
    text = passport()
    (value,) = RFC_8224_TOLD(combine((Verdict(failure("signature_invalid"), shaken_passport(text)),)))
    assert value == f'STIR ;cause=438 ;text="Invalid Identity Header" ;ppi="..{text.rpartition(".")[2]}"'


def test_header_that_was_not_understood_has_no_signature_to_name() -> None:
    assert RFC_8224_TOLD(failed("identity_malformed")) == ('STIR ;cause=438 ;text="Invalid Identity Header"',)


def test_codes_are_those_of_the_profile() -> None:
    told = reasons(failed("info_missing"), ATIS_1000082, required=False)
    assert told == ('STIR ;cause=436 ;text="Bad Identity Info"',)


def test_order_is_that_of_the_headers() -> None:
    told = RFC_8224_TOLD(failed("signature_invalid", "x5u_timeout", "iat_stale", "x5u_timeout"))
    assert [value.split()[1] for value in told] == [";cause=438", ";cause=436", ";cause=403", ";cause=436"]


def test_no_more_than_ten_are_told() -> None:
    assert len(RFC_8224_TOLD(failed(*["iat_stale"] * 11))) == 10


@pytest.mark.parametrize("token", ["ppt_unsupported", "identity_missing"])
def test_header_of_another_type_is_told_only_if_there_is_no_other_and_one_is_required(token: str) -> None:
    assert len(RFC_8224_TOLD(failed(token, token))) == 2
    assert reasons(failed(token), RFC_8224, required=False) == ()
    assert RFC_8224_TOLD(failed(token, also=(VALID,))) == ()
    assert len(RFC_8224_TOLD(failed(token, "iat_stale"))) == 1


def test_lack_of_an_identity_is_told_though_all_that_is_there_is_valid() -> None:
    assert RFC_8224_TOLD(failed(also=(VALID_RCD,))) == ('STIR ;cause=428 ;text="Use Identity Header"',)
    assert reasons(failed(also=(VALID_RCD,)), RFC_8224, required=False) == ()


def test_failed_header_is_told_though_the_call_is_unsigned() -> None:
    rcd = Verdict(failure("rcd_digest_mismatch"), ppt="rcd")
    told = reasons(failed(also=(rcd,)), RFC_8224, required=False)
    assert told == ('STIR ;cause=438 ;text="Invalid Identity Header"',)


def test_valid_headers_are_not_told() -> None:
    assert RFC_8224_TOLD(combine((VALID,))) == ()
    assert len(RFC_8224_TOLD(failed("iat_stale", also=(VALID,)))) == 1


@pytest.mark.parametrize("token", [token for token, row in FAILURES.items() if not row.error.code])
def test_what_has_no_sip_code_is_not_told(token: str) -> None:
    assert RFC_8224_TOLD(failed(token)) == ()
