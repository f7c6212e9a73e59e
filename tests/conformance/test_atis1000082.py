"""ATIS-1000082: the table of error conditions of the verification service, row by row, with `code_profile = "atis1000082"`.

E1 and E2 are about parameters of the HTTP interface, which this is not. Phrases are those of RFC 8224, as SIP has them; the
table's own differ in case only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from kamailio_app.errors import FAILED, NOT_VALIDATED, failure
from kamailio_app.policy.codes import ATIS_1000082
from kamailio_app.policy.treatment import FailureAction, TreatmentRules, treatment
from kamailio_app.sip import format_date
from kamailio_app.sti_vs import VerificationRules

from .support import CLAIMS, DEST, HEADER, INVITE, NOW, X5U, hierarchy, identity, replace, token, verify, without

TAG = TreatmentRules(FailureAction.TAG, require_identity=True, codes=ATIS_1000082)
REJECT = replace(TAG, failure_action=FailureAction.REJECT)
PHRASES = {
    403: "Stale Date",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
}
WITH_DATE = VerificationRules(ignore_sip_date_header=False)
STALE_DATE = replace(INVITE, date=format_date(NOW - 3600))
FUTURE_DATE = replace(INVITE, date=format_date(NOW + 3600))


class Row(NamedTuple):
    """A line of the table: the deviation, and what it leads to."""

    line: str
    identity: str
    code: int
    verstat: str = NOT_VALIDATED
    deviation: dict[str, Any] = {}


def header(**changes: Any) -> str:
    return identity(token(header={**HEADER, **changes}))


def claims(**changes: Any) -> str:
    return identity(token(claims={**CLAIMS, **changes}))


def short_of_header(name: str) -> str:
    return identity(token(header=without(HEADER, name)))


def short_of_claim(name: str) -> str:
    return identity(token(claims=without(CLAIMS, name)))


GOOD = identity(token())
COMPACT = identity(f"..{token().rpartition('.')[2]}")
ROWS = [
    Row("E3 Date not fresh", GOOD, 403, deviation={"request": STALE_DATE, "rules": WITH_DATE}),
    Row("E3 Date in future", GOOD, 403, deviation={"request": FUTURE_DATE, "rules": WITH_DATE}),
    Row("E4 compact form", COMPACT, 438),
    Row("E5 ppt parameter", identity(token(), f";info=<{X5U}>;alg=ES256;ppt=other"), 438),
    Row("E6 info missing", identity(token(), ";alg=ES256;ppt=shaken"), 436),
    Row("E7 info no URI", identity(token(header={**HEADER, "x5u": "foo"}), ";info=<foo>;alg=ES256;ppt=shaken"), 436),
    Row("E8 unreachable", GOOD, 436, deviation={"credential_": failure("x5u_unreachable")}),
    Row("E8 timeout", GOOD, 436, deviation={"credential_": failure("x5u_timeout")}),
    Row("E8 not 200", GOOD, 436, deviation={"credential_": failure("x5u_http_status")}),
    Row("E8 too large", GOOD, 436, deviation={"credential_": failure("x5u_too_large")}),
    Row("E9 no ppt", short_of_header("ppt"), 436),
    Row("E9 no typ", short_of_header("typ"), 436),
    Row("E9 no alg", short_of_header("alg"), 436),
    Row("E9 no x5u", short_of_header("x5u"), 436),
    Row("E10 x5u not info", identity(token(), f";info=<{X5U}x>;alg=ES256;ppt=shaken"), 436),
    Row("E11 typ", header(typ="JWT"), 437),
    Row("E12 alg", header(alg="ES384"), 437),
    Row("E13 ppt", header(ppt="other"), 438),
    Row("E14 no dest", short_of_claim("dest"), 438),
    Row("E14 no orig", short_of_claim("orig"), 438),
    Row("E14 no attest", short_of_claim("attest"), 438),
    Row("E14 no origid", short_of_claim("origid"), 438),
    Row("E14 no iat", short_of_claim("iat"), 438),
    Row("E15 iat not fresh", claims(iat=NOW - 61), 403),
    Row("E15 iat in future", claims(iat=NOW + 61), 403),
    Row("E16 orig", claims(orig={"tn": DEST}), 438),
    Row("E16 dest", claims(dest={"tn": ["12155550199"]}), 438),
    Row("E17 CA not authenticated", GOOD, 437, FAILED, {"credential_": failure("credential_untrusted")}),
    Row("E18 signature", identity(token(key=hierarchy().intermediate.key)), 438, FAILED),
    Row("E19 attest", claims(attest="D"), 438),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_error_condition(row: Row) -> None:
    """ATIS-1000082, error conditions: code, phrase and verstat of each line."""
    verification = verify(row.identity, **row.deviation)
    told = treatment(verification, TAG)
    assert told.reason[0].startswith(f'STIR ;cause={row.code} ;text="{PHRASES[row.code]}"')
    assert (told.code, told.verstat) == (0, row.verstat)
    rejected = treatment(verification, REJECT)
    assert (rejected.code, rejected.phrase) == (row.code, PHRASES[row.code])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_token_of_the_condition_names_its_line(row: Row) -> None:
    """Each line is data with its source, and it is that line which decides."""
    known = ATIS_1000082.rows[verify(row.identity, **row.deviation).token]
    assert row.line.split()[0] in known.source.replace(",", "").split()
    assert known.verstat == row.verstat


def test_every_line_of_the_table_is_tried() -> None:
    assert {row.line.split()[0] for row in ROWS} == {f"E{number}" for number in range(3, 20)}
