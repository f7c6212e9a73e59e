"""Code profiles: which SIP code, phrase and verstat a failure has for whom. RFC 8224 6.2.2 is `errors.FAILURES` itself.

The other profiles are tables of others, row by row; what they do not name is as in RFC 8224. Phrases are RFC 8224's in all
of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kamailio_app.errors import (
    FAILED,
    FAILURES,
    NOT_VALIDATED,
    BadIdentityInfo,
    InvalidIdentityHeader,
    StaleDate,
    StirError,
    UnsupportedCredential,
    UseIdentityHeader,
)


class Row(NamedTuple):
    """A line of a table. The class gives code and phrase; `verstat` None: the table says none, it is `errors.FAILURES`'."""

    error: type[StirError]
    source: str
    verstat: str | None


class Answer(NamedTuple):
    """How one failure is told: the SIP answer, and the verstat for the callee."""

    code: int
    phrase: str
    verstat: str


@dataclass(frozen=True, slots=True)
class CodeProfile:
    """One table. `strict_parameters`: alg and ppt have to be there, and nothing but info beside them (standards 7.3)."""

    name: str
    rows: Mapping[str, Row] = field(default_factory=dict, hash=False, repr=False)
    strict_parameters: bool = False

    def answer(self, token: str) -> Answer:
        """How this table tells the failure. Code 0: not a failure of verification."""
        failure, row = FAILURES[token], self.rows.get(token)
        error = row.error if row else failure.error
        return Answer(error.code, error.phrase, (row and row.verstat) or failure.verstat)


def _rows(source: str, error: type[StirError], verstat: str | None, tokens: str) -> dict[str, Row]:
    return dict.fromkeys(tokens.split(), Row(error, source, verstat))


_ATIS: Final = "ATIS-1000082 table"
_MAN: Final = "MAN v1.7 p.59 line"

RFC_8224: Final = CodeProfile("rfc8224")
ATIS_1000082: Final = CodeProfile(
    "atis1000082",
    {
        **_rows(f"{_ATIS} E3", StaleDate, NOT_VALIDATED, "date_missing date_malformed date_stale date_in_future"),
        **_rows(f"{_ATIS} E4", InvalidIdentityHeader, NOT_VALIDATED, "compact_form_unsupported"),
        **_rows(f"{_ATIS} E5, E13", InvalidIdentityHeader, NOT_VALIDATED, "ppt_unsupported ppt_mismatch"),
        **_rows(f"{_ATIS} E6", BadIdentityInfo, NOT_VALIDATED, "info_missing"),
        **_rows(f"{_ATIS} E7", BadIdentityInfo, NOT_VALIDATED, "x5u_refused info_malformed"),
        **_rows(f"{_ATIS} E8", BadIdentityInfo, NOT_VALIDATED, "x5u_unreachable x5u_timeout x5u_http_status x5u_too_large"),
        **_rows(f"{_ATIS} E9", BadIdentityInfo, NOT_VALIDATED, "jose_header_incomplete"),
        **_rows(f"{_ATIS} E10", BadIdentityInfo, NOT_VALIDATED, "info_mismatch"),
        **_rows(f"{_ATIS} E11", UnsupportedCredential, NOT_VALIDATED, "typ_unsupported"),
        **_rows(f"{_ATIS} E12", UnsupportedCredential, NOT_VALIDATED, "alg_unsupported"),
        **_rows(f"{_ATIS} E14", InvalidIdentityHeader, NOT_VALIDATED, "claim_missing"),
        **_rows(f"{_ATIS} E15", StaleDate, NOT_VALIDATED, "iat_stale iat_in_future"),
        **_rows(f"{_ATIS} E16", InvalidIdentityHeader, NOT_VALIDATED, "orig_mismatch dest_mismatch"),
        **_rows(f"{_ATIS} E17", UnsupportedCredential, FAILED, "credential_untrusted"),
        **_rows(f"{_ATIS} E18", InvalidIdentityHeader, FAILED, "signature_invalid"),
        **_rows(f"{_ATIS} E19", InvalidIdentityHeader, NOT_VALIDATED, "attest_invalid"),
    },
)
MAN: Final = CodeProfile(
    "man",
    {
        **_rows(f"{_MAN} 2", StaleDate, None, "date_missing date_malformed date_stale date_in_future"),
        **_rows(f"{_MAN} 3", StaleDate, None, "iat_stale iat_in_future"),
        **_rows(f"{_MAN} 4", UseIdentityHeader, None, "identity_missing"),
        **_rows(f"{_MAN} 5", BadIdentityInfo, None, "info_missing"),
        **_rows(f"{_MAN} 6", BadIdentityInfo, None, "jose_header_incomplete"),
        **_rows(f"{_MAN} 7", BadIdentityInfo, None, "info_mismatch"),
        **_rows(f"{_MAN} 9", UnsupportedCredential, None, "alg_mismatch"),
        **_rows(f"{_MAN} 10", UnsupportedCredential, None, "alg_unsupported"),
        **_rows(f"{_MAN} 11", UnsupportedCredential, None, "typ_unsupported"),
        **_rows(f"{_MAN} 13", UnsupportedCredential, None, "credential_expired"),
        **_rows(f"{_MAN} 14", UnsupportedCredential, None, "credential_not_yet_valid"),
        **_rows(f"{_MAN} 16", InvalidIdentityHeader, None, "identity_malformed"),
        **_rows(f"{_MAN} 18, 19", InvalidIdentityHeader, None, "ppt_unsupported ppt_mismatch"),
        **_rows(f"{_MAN} 21", InvalidIdentityHeader, None, "attest_invalid"),
        **_rows(f"{_MAN} 22", InvalidIdentityHeader, None, "orig_mismatch"),
        **_rows(f"{_MAN} 23", InvalidIdentityHeader, None, "dest_mismatch"),
    },
    strict_parameters=True,
)
PROFILES: Final[Mapping[str, CodeProfile]] = {profile.name: profile for profile in (RFC_8224, ATIS_1000082, MAN)}
