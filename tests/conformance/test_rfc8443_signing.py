"""RFC 8443 and RFC 9027: Resource-Priority and Priority, as an authentication service signs them."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.sti_as import SignedCall
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.verdict import Verification

from .support import (
    DEST,
    INVITE,
    NOW,
    ORIG,
    X5U,
    compact_json,
    parts,
    passes_on,
    provider,
    replace,
    sign_all,
    signature_holds,
    unb64,
)

RULES = VerificationRules(rph_signers=frozenset({"1234"}))


def signs(*resource_priority: str, **changes: Any) -> SignedCall:
    return sign_all(replace(INVITE, resource_priority=resource_priority, **changes), rph=True)


def verified(*resource_priority: str, rules: VerificationRules = RULES, **changes: Any) -> Verification:
    call = replace(INVITE, resource_priority=resource_priority, **changes)
    return passes_on(sign_all(call, rph=True), call, rules)


def rph_of(made: SignedCall) -> dict[str, Any]:
    assert made.identities[1].endswith(f";info=<{X5U}>;alg=ES256;ppt=rph")
    return parts(made.identities[1])[1]


def test_header_says_rph_in_full_form() -> None:
    """RFC 8443 3, 4.1: ppt MUST be "rph"; full form."""
    made = signs("ets.0")
    assert parts(made.identities[1])[0]["ppt"] == "rph"
    assert signature_holds(made.identities[1].partition(";")[0], provider().key.public_key())


def test_claims_are_the_requests_own() -> None:
    """RFC 8443 3, 4.1: orig, dest and iat with the values of Resource-Priority in rph.auth; deterministic JSON."""
    claims = rph_of(signs("ets.0, wps.1"))
    assert claims == {"dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "rph": {"auth": ["ets.0", "wps.1"]}}
    payload = unb64(signs("ets.0, wps.1").identities[1].split(".")[1])
    assert payload == compact_json(claims)


def test_signed_priority_is_accepted_of_an_authorised_signer() -> None:
    """RFC 8443 4.2: by a verifier that lets this signer, and by no other."""
    assert verified("ets.0", "wps.1").rph == ("ets.0", "wps.1")
    verification = verified("ets.0", rules=VerificationRules(rph_signers=frozenset({"5678"})))
    assert (verification.valid, verification.rph, verification.rph_error and verification.rph_error.token) == (
        True,
        (),
        "rph_not_authorized",
    )


def test_call_without_priority_gets_none() -> None:
    """RFC 8443 4.1: only what stands in Resource-Priority is signed."""
    assert len(signs().identities) == 1


def test_priority_that_breaks_its_grammar_is_not_signed() -> None:
    """RFC 8443 3: values as in Resource-Priority (RFC 4412 3.1); the call itself is signed."""
    made = signs("ets")
    assert (len(made.identities), [error.token for error in made.refused]) == (1, ["claim_malformed"])


@pytest.mark.parametrize(
    ("called", "dest"), [("sip:911@psap.example", {"tn": ["911"]}), ("urn:service:sos", {"uri": ["urn:service:sos"]})]
)
def test_emergency_call_is_for_a_dial_string_or_the_urn(called: str, dest: dict[str, Any]) -> None:
    """RFC 9027 3: dest MUST be the dial string or urn:service:sos; orig MUST be the caller."""
    claims = rph_of(signs("esnet.1", to_uri=called, request_uri=called))
    assert (claims["dest"], claims["orig"], "sph" in claims) == (dest, {"tn": ORIG}, False)
    assert verified("esnet.1", to_uri=called, request_uri=called).rph == ("esnet.1",)


def test_esnet_for_anybody_else_is_not_signed() -> None:
    """RFC 9027 3: without psap-callback, esnet is for calls to an emergency service."""
    made = signs("esnet.1")
    assert (len(made.identities), [error.token for error in made.refused]) == (1, ["rph_mismatch"])


def test_callback_is_marked_with_sph() -> None:
    """RFC 9027 4: sph MUST be psap-callback, as Priority says, beside an esnet value; in the order of RFC 8225 9."""
    made = signs("esnet.0", priority="psap-callback")
    assert list(rph_of(made)) == ["dest", "iat", "orig", "rph", "sph"]
    assert rph_of(made)["sph"] == "psap-callback"
    assert verified("esnet.0", priority="psap-callback").rph == ("esnet.0",)


@pytest.mark.parametrize(("values", "priority"), [("ets.0", "psap-callback"), ("ets.0", "emergency")])
def test_sph_stands_beside_esnet_only(values: str, priority: str) -> None:
    """RFC 9027 4: sph only with esnet, only for this value of Priority."""
    assert "sph" not in rph_of(signs(values, priority=priority))
