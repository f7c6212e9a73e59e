"""RFC 8226 8 and RFC 9118 4: a verification service enforces what a certificate says of the claims."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.errors import FAILED

from .support import CLAIMS, HEADER, X5U, credential, identity, outcome, replace, token, verify

EXTENSION = {name: CLAIMS[name] for name in ("dest", "iat", "orig")}


def constrained(*, include: tuple[str, ...] = (), exclude: tuple[str, ...] = (), **permitted: set[str]) -> Any:
    values = tuple((name, frozenset(allowed)) for name, allowed in permitted.items())
    return replace(credential(), constraints=ClaimConstraints(frozenset(include), values, frozenset(exclude)))


def judged(by: Any, **claims: Any) -> str:
    return outcome(identity(token(claims={**CLAIMS, **claims})), credential_=by)


def test_claim_that_has_to_be_there() -> None:
    """RFC 8226 8, RFC 9118 4: mustInclude; an absent claim means refusal."""
    assert judged(constrained(include=("confidence",)), confidence="high") == "valid"
    assert judged(constrained(include=("confidence",))) == "claim_not_permitted"


def test_claim_whose_values_are_named() -> None:
    """RFC 9118 4: permittedValues, if the claim is there."""
    only = constrained(confidence={"high", "medium"})
    assert judged(only, confidence="medium") == "valid"
    assert judged(only, confidence="low") == "claim_not_permitted"
    assert judged(only) == "valid"


def test_claim_that_must_not_be_there() -> None:
    """RFC 9118 4: mustExclude."""
    assert judged(constrained(exclude=("priority",))) == "valid"
    assert judged(constrained(exclude=("priority",)), priority="x") == "claim_not_permitted"


def test_attestation_can_be_constrained() -> None:
    """RFC 9118 4: the claims of the ordinary PASSporT too, which is read in a shorter way."""
    assert judged(constrained(attest={"C"})) == "claim_not_permitted"
    assert judged(constrained(attest={"A"}), attest="A") == "valid"
    assert judged(constrained(include=("attest", "origid", "orig", "dest", "iat"))) == "valid"


def test_refusal_is_a_failed_validation() -> None:
    """TS 24.229: the certificate has spoken."""
    verification = verify(identity(token()), credential_=constrained(include=("x",)))
    assert (verification.token, verification.verstat) == ("claim_not_permitted", FAILED)


@pytest.mark.parametrize("ppt", ["rcd", "rph"])
def test_other_types_are_constrained_too(ppt: str) -> None:
    """RFC 9118 4: every PASSporT that the certificate's key signs."""
    claims = {**EXTENSION, "rcd": {"nam": "Q"}, "rph": {"auth": ["ets.0"]}}
    value = identity(token({**HEADER, "ppt": ppt}, claims), f";info=<{X5U}>;ppt={ppt}")
    verification = verify(value, credential_=constrained(exclude=(ppt,)))
    error = verification.verdicts[0].error
    assert error is not None
    assert error.token == ("claim_not_permitted" if ppt == "rcd" else "rph_mismatch")
