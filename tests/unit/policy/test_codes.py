"""The code profiles: every row of a table, and what no table says."""

from __future__ import annotations

import re

import pytest

from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED
from kamailio_app.policy.codes import ATIS_1000082, MAN, PROFILES, RFC_8224, Answer, CodeProfile
from kamailio_app.runtime.options import SECTIONS

OF_VERIFICATION = [token for token, row in FAILURES.items() if row.error.code]


@pytest.mark.parametrize("token", FAILURES)
def test_default_is_the_table_of_failures(token: str) -> None:
    row = FAILURES[token]
    assert RFC_8224.answer(token) == Answer(row.error.code, row.error.phrase, row.verstat)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_rows_are_about_failures_of_verification_and_say_where_they_are_from(profile: CodeProfile) -> None:
    assert profile.rows.keys() <= set(OF_VERIFICATION)
    for row in profile.rows.values():
        assert re.search(r" E?\d+(, E?\d+)*$", row.source)
        assert row.verstat in (None, FAILED, NOT_VALIDATED)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_what_a_table_does_not_name_is_as_in_rfc_8224(profile: CodeProfile) -> None:
    for token in FAILURES.keys() - profile.rows.keys():
        assert profile.answer(token) == RFC_8224.answer(token)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_failure_of_verification_has_a_code_of_rfc_8224(profile: CodeProfile) -> None:
    assert {profile.answer(token).code for token in OF_VERIFICATION} <= {403, 428, 436, 437, 438}


def test_verstat_of_a_row_goes_before_that_of_the_failure() -> None:
    row = ATIS_1000082.rows["signature_invalid"]
    assert CodeProfile("own", {"x5u_timeout": row}).answer("x5u_timeout") == Answer(438, "Invalid Identity Header", FAILED)
    assert CodeProfile("own", {"x5u_timeout": row._replace(verstat=None)}).answer("x5u_timeout").verstat == NOT_VALIDATED


@pytest.mark.parametrize(
    ("token", "code"),
    [
        *(("date_stale", 403), ("iat_in_future", 403), ("identity_missing", 428), ("info_missing", 436)),
        *(("jose_header_incomplete", 436), ("info_mismatch", 436), ("alg_mismatch", 437), ("alg_unsupported", 437)),
        *(("typ_unsupported", 437), ("credential_expired", 437), ("credential_not_yet_valid", 437)),
        *(("identity_malformed", 438), ("ppt_unsupported", 438), ("ppt_mismatch", 438), ("attest_invalid", 438)),
        *(("orig_mismatch", 438), ("dest_mismatch", 438)),
    ],
)
def test_table_of_the_man(token: str, code: int) -> None:
    assert MAN.rows[token].error.code == MAN.answer(token).code == code


def test_only_the_man_is_strict_with_parameters() -> None:
    assert [profile.name for profile in PROFILES.values() if profile.strict_parameters] == ["man"]


def test_profiles_are_the_choices_of_the_settings_file() -> None:
    (option,) = [option for option in SECTIONS["verification"][1] if option.name == "code_profile"]
    assert option.choices == tuple(PROFILES)
    assert option.default == RFC_8224.name


def test_profiles_are_compared_by_what_they_say() -> None:
    assert len({RFC_8224, ATIS_1000082, MAN}) == 3
    assert CodeProfile("man", strict_parameters=True) != MAN
