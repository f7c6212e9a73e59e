"""What may be said of a mutated header, by other means than the product's: written from the RFCs, with json alone."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from typing import Any, Final

from kamailio_app import sti_vs
from kamailio_app.errors import FAILURES, failure
from kamailio_app.sip import Request
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.verdict import Verdict, Verification
from tests.fuzz.mutations import Field
from tests.unit.builders import DEST, NOW, ORIG, X5U, credential

RULES: Final = VerificationRules(rph_signers=frozenset({"1234"}))
LONGEST: Final = 2.0  # seconds for one header: a bound for what would hang, not a measurement


class Wrong(Exception):
    """The product said what it must not say."""


def verdict_of(field: Field, request: Request) -> Verification:
    """Verify, and check what was said. Errors: Wrong, and whatever the product lets through."""
    began = time.perf_counter()
    examination = sti_vs.examine(request._replace(identity=(field.text,)), RULES, now=NOW)
    found = {url: credential() if url == X5U else failure("x5u_unreachable") for url in examination.needed}
    verification = sti_vs.conclude(examination, found, now=NOW)
    if time.perf_counter() - began > LONGEST:
        raise Wrong("it took too long")
    for verdict in (verification.verdict, *verification.verdicts):
        _check(verdict, field)
    if verification.valid != (verification.token == ""):
        raise Wrong("valid and a token")
    return verification


def _check(verdict: Verdict, field: Field) -> None:
    if verdict.error is not None:
        if verdict.error.token not in FAILURES or verdict.error.token == "internal_error":
            raise Wrong(f"token {verdict.error.token}")
        return
    passport = verdict.passport or verdict.extension
    if passport is None or verdict.credential is None:
        raise Wrong("valid, and nothing to show for it")
    signed = passport.signing_input.decode("ascii")
    if signed not in field.signed:
        raise Wrong("valid, and nobody signed it")
    header, payload = (_object(part) for part in signed.split("."))
    if not _right(header, payload):
        raise Wrong(f"valid, and it says {payload}")


def _right(header: dict[str, Any], payload: dict[str, Any]) -> bool:
    """RFC 8225 4 and 5, RFC 8588 3-5, for a call from ORIG to DEST; div, rcd and rph have no attest."""
    orig, dest, iat = payload.get("orig"), payload.get("dest"), payload.get("iat")
    shaken = header.get("ppt") == "shaken"
    return (
        header.get("alg") == "ES256"
        and header.get("typ") == "passport"
        and header.get("x5u") == X5U
        and header.get("ppt") in ("shaken", "div", "rcd", "rph")
        and isinstance(orig, dict)
        and list(orig) == ["tn"]
        and str(orig["tn"]).lstrip("+") == ORIG
        and isinstance(dest, dict)
        and bool(dest)
        and set(dest) <= {"tn", "uri"}
        and all(isinstance(values, list) and values and all(isinstance(one, str) for one in values) for values in dest.values())
        and type(iat) is int
        and abs(NOW - iat) <= 60
        and (not shaken or (payload.get("attest") in ("A", "B", "C") and isinstance(payload.get("origid"), str)))
        and (shaken or header.get("ppt") == "div" or DEST in "".join(dest.get("tn", ())))
    )


def _object(part: str) -> dict[str, Any]:
    value = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_unique)
    if not isinstance(value, dict):
        raise Wrong("valid, and no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Wrong("valid, and a name is there twice")
    return dict(pairs)
