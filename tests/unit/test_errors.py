"""The table of failures: complete, used, and in the words of RFC 8224."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kamailio_app
from kamailio_app.errors import (
    FAILED,
    FAILURES,
    NOT_VALIDATED,
    PASSED,
    BadIdentityInfo,
    InternalError,
    InvalidIdentityHeader,
    KeyPairRefused,
    NotSigned,
    PolicyRefused,
    ProviderRefused,
    SettingsRefused,
    StaleDate,
    StirError,
    TrustRefused,
    UnsupportedCredential,
    UseIdentityHeader,
    failure,
)

PACKAGE = Path(kamailio_app.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "errors.py")


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield statement.value


def _named_tokens(tree: ast.AST) -> Iterator[str]:
    """The literal tokens in calls of `failure`; of a conditional expression both sides, of a comparison none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failure" and node.args:
            choices = [node.args[0]]
            while choices:
                choice = choices.pop()
                if isinstance(choice, ast.IfExp):
                    choices += [choice.body, choice.orelse]
                elif isinstance(choice, ast.Constant):
                    yield str(choice.value)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_token_that_is_raised_stands_in_the_table(path: Path) -> None:
    assert set(_named_tokens(ast.parse(path.read_text("utf-8")))) <= FAILURES.keys()


def test_every_token_of_the_table_is_used() -> None:
    # Not only in calls of failure(): some are derived, some are compared
    used: set[str] = set()
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node) for node in _docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                used.update(re.findall(r"[a-z0-9_]+", node.value))
    assert FAILURES.keys() - used == set()


def test_the_search_finds_conditional_tokens() -> None:
    tree = ast.parse('raise failure("a" if x == "no" else "b", "no")')
    assert set(_named_tokens(tree)) == {"a", "b"}


@pytest.mark.parametrize("token", FAILURES)
def test_every_row_says_where_from_what_and_what_to_do(token: str) -> None:
    row = FAILURES[token]
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", token)
    assert re.match(r"(RFC \d{4}|ATIS-\d{7}|decision \d)", row.clause)
    assert row.meaning.endswith(".")
    assert row.advice.endswith((".", ").", "!")) or "`" in row.advice
    assert row.verstat in (FAILED, NOT_VALIDATED)


@pytest.mark.parametrize(
    ("error", "code", "phrase"),
    [
        (StaleDate, 403, "Stale Date"),
        (UseIdentityHeader, 428, "Use Identity Header"),
        (BadIdentityInfo, 436, "Bad Identity Info"),
        (UnsupportedCredential, 437, "Unsupported Credential"),
        (InvalidIdentityHeader, 438, "Invalid Identity Header"),
        (NotSigned, 0, ""),
        (KeyPairRefused, 0, ""),
        (SettingsRefused, 0, ""),
        (InternalError, 0, ""),
    ],
)
def test_codes_and_phrases_are_those_of_rfc_8224_6_2_2(error: type[StirError], code: int, phrase: str) -> None:
    assert (error.code, error.phrase) == (code, phrase)
    assert any(row.error is error for row in FAILURES.values())


def test_the_table_has_no_other_classes() -> None:
    assert {row.error for row in FAILURES.values()} == {
        StaleDate,
        UseIdentityHeader,
        BadIdentityInfo,
        UnsupportedCredential,
        InvalidIdentityHeader,
        NotSigned,
        KeyPairRefused,
        TrustRefused,
        PolicyRefused,
        ProviderRefused,
        SettingsRefused,
        InternalError,
    }


def test_verstat_values_are_those_of_ts_24_229() -> None:
    assert (PASSED, FAILED, NOT_VALIDATED) == ("TN-Validation-Passed", "TN-Validation-Failed", "No-TN-Validation")


def test_only_what_was_checked_and_found_wrong_is_failed() -> None:
    # ATIS-1000082: Failed appears only where a credential or signature was looked at
    failed = {token for token, row in FAILURES.items() if row.verstat == FAILED}
    assert failed == {
        "credential_untrusted",
        "credential_expired",
        "credential_not_yet_valid",
        "credential_revoked",
        "credential_profile",
        "constraints_malformed",
        "credential_key_unsupported",
        "credential_usage_forbidden",
        "tnauthlist_missing",
        "tnauthlist_malformed",
        "tn_not_authorized",
        "claim_not_permitted",
        "signature_invalid",
    }


def test_failure_is_of_the_class_in_the_table_and_keeps_the_detail() -> None:
    error = failure("iat_stale", "61 s old")
    assert type(error) is StaleDate
    assert (error.token, error.detail, str(error)) == ("iat_stale", "61 s old", "iat_stale: 61 s old")


def test_failure_without_detail_is_the_token_alone() -> None:
    assert str(failure("identity_missing")) == "identity_missing"


def test_advice_is_the_tables_unless_the_case_has_its_own() -> None:
    assert failure("iat_stale").advice == FAILURES["iat_stale"].advice
    assert failure("iat_stale", "61 s old", "Wait.").advice == "Wait."


def test_unknown_token_is_a_defect() -> None:
    with pytest.raises(KeyError):
        failure("no_such_token")
