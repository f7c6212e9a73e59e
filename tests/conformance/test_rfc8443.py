"""RFC 8443 and RFC 9027: Resource-Priority and Priority, signed."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app import sti_vs
from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import PASSED, StirError, failure
from kamailio_app.identity import parse_identity
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.verdict import Verification

from .support import CLAIMS, DEST, HEADER, INVITE, NOW, ORIG, X5U, credential, hierarchy, identity, replace, text, token

SHAKEN = identity(token())
RPH_X5U = "https://cr.example.test/5678/rph.pem"
BASE = {name: CLAIMS[name] for name in ("dest", "iat", "orig")}
ETS = {"rph": {"auth": ["ets.0", "wps.0"]}}
CALLBACK = {"rph": {"auth": ["esnet.0"]}, "sph": "psap-callback"}


def rph(key: Any = None, **claims: Any) -> str:
    members = {**BASE, **(claims or ETS)}
    return identity(token({**HEADER, "ppt": "rph", "x5u": RPH_X5U}, members, key), f";info=<{RPH_X5U}>;ppt=rph")


def verified(
    *identities: str,
    resource_priority: tuple[str, ...] = ("ets.0, wps.0",),
    answer: Credential | StirError | None = None,
    signers: tuple[str, ...] = ("1234",),
    **sip: Any,
) -> Verification:
    request = replace(INVITE, identity=identities, resource_priority=resource_priority, **sip)
    examination = sti_vs.examine(request, VerificationRules(rph_signers=frozenset(signers)), now=NOW)
    answers = {url: answer or credential() if url == RPH_X5U else credential() for url in examination.needed}
    return sti_vs.conclude(examination, answers, now=NOW)


def failed(*identities: str, **changes: Any) -> str:
    """Why Resource-Priority counts as absent; the call itself goes on."""
    verification = verified(SHAKEN, *identities, **changes)
    assert (verification.token, verification.verstat) == ("", PASSED)
    assert bool(verification.rph) is (verification.rph_error is None)
    return verification.rph_error.token if verification.rph_error else ""


# --- RFC 8443 3, 4.1 ----------------------------------------------------------------------------------------------


def test_signed_priority_is_verified() -> None:
    """RFC 8443 3: the values of Resource-Priority, in rph.auth."""
    verification = verified(SHAKEN, rph())
    assert (verification.rph, verification.rph_error) == (("ets.0", "wps.0"), None)


@pytest.mark.parametrize("claims", [{"attest": "A"}, {"rph": {}}])
def test_auth_is_mandatory(claims: dict[str, Any]) -> None:
    """RFC 8443 3: a PASSporT of type rph has rph, and rph has auth."""
    assert failed(rph(**claims)) == "claim_missing"


@pytest.mark.parametrize("auth", ["ets.0", [], ["ets"], [1]])
def test_auth_is_an_array_of_values(auth: object) -> None:
    """RFC 8443 3, RFC 4412 3.1: namespace and priority, a dot between."""
    assert failed(rph(rph={"auth": auth})) == "claim_malformed"


def test_rph_has_no_compact_form() -> None:
    """RFC 8443 4.1: the full form."""
    assert failed(f"..c2ln;info=<{RPH_X5U}>;ppt=rph") == "compact_form_unsupported"


def test_printed_example_is_read_as_a_header_and_is_no_json() -> None:
    """RFC 8443 4.1: ppt="rph" in quotes; the payload as printed is no JSON and ends with a line feed."""
    value = text("rfc/rfc8443_s4_1_rph.hdr").partition(":")[2]
    assert parse_identity(value).parameters.ppt == "rph"
    # In the example info and x5u differ as well
    assert failed(value) == "info_mismatch"


# --- RFC 8443 4.2 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"answer": failure("x5u_timeout")}, "x5u_timeout"),
        ({"answer": failure("credential_untrusted")}, "credential_untrusted"),
        ({"resource_priority": ()}, "rph_mismatch"),
        ({"resource_priority": ("ets.1, wps.0",)}, "rph_mismatch"),
        ({"resource_priority": ("ets.0",)}, "rph_mismatch"),
    ],
)
def test_failed_priority_counts_as_absent_and_the_call_goes_on(changes: dict[str, Any], cause: str) -> None:
    """RFC 8443 4.2: SHOULD treat Resource-Priority as absent, and process the call."""
    assert failed(rph(), **changes) == cause


def test_signature_of_another_key() -> None:
    """RFC 8443 4.2, RFC 8224 6.2 step 5."""
    assert failed(rph(hierarchy().service_provider().key)) == "signature_invalid"


@pytest.mark.parametrize("iat", [NOW - 61, NOW + 61])
def test_priority_is_fresh(iat: int) -> None:
    """RFC 8443 4.2: iat as in RFC 8224 6.2 step 4."""
    assert failed(rph(**ETS, iat=iat)) == ("iat_stale" if iat < NOW else "iat_in_future")


def test_priority_is_of_this_caller_and_this_call() -> None:
    """RFC 8224 6.2 step 5: orig and dest."""
    assert failed(rph(**ETS, orig={"tn": "12155550999"})) == "orig_mismatch"
    assert failed(rph(**ETS, dest={"tn": ["12155550999"]})) == "dest_mismatch"


def test_value_that_was_not_signed_counts_as_absent() -> None:
    """RFC 8443 4.2: what is verified is what was signed, and nothing next to it."""
    verification = verified(SHAKEN, rph(), resource_priority=("ets.0, wps.0", "dsn.flash"))
    assert verification.rph == ("ets.0", "wps.0")
    assert verification.rph_error is not None
    assert verification.rph_error.token == "rph_mismatch"


def test_values_have_no_case() -> None:
    """RFC 4412 3.1."""
    assert failed(rph(), resource_priority=("ETS.0", "Wps.0")) == ""


def test_rph_of_two_signers() -> None:
    """RFC 8224 6.2.1: each header on its own."""
    verification = verified(SHAKEN, rph(rph={"auth": ["ets.0"]}), rph(rph={"auth": ["wps.0"]}))
    assert (verification.rph, verification.rph_error) == (("ets.0", "wps.0"), None)


def test_nothing_is_fetched_for_a_priority_that_is_not_there() -> None:
    """RFC 8224 10, cheap before costly."""
    assert sti_vs.examine(replace(INVITE, identity=(SHAKEN, rph())), now=NOW).needed == (X5U,)


@pytest.mark.parametrize("signers", [(), ("5678",), ("12", "234", "12345")])
def test_only_configured_signers_are_trusted(signers: tuple[str, ...]) -> None:
    """RFC 8443 4.2: the verifier MUST have the authority over Resource-Priority as its trust anchor; others' counts as none."""
    assert failed(rph(), signers=signers) == "rph_not_authorized"
    assert failed(rph(), signers=("5678", "1234")) == ""


def test_nothing_is_fetched_where_nobody_is_trusted() -> None:
    """RFC 8224 10, cheap before costly."""
    request = replace(INVITE, identity=(SHAKEN, rph()), resource_priority=("ets.0, wps.0",))
    assert sti_vs.examine(request, now=NOW).needed == (X5U,)


# --- RFC 9027 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dest", "to_uri"),
    [
        ({"tn": ["911"]}, "sip:911@gw"),
        ({"tn": ["112"]}, "tel:112"),
        ({"uri": ["urn:service:sos"]}, "urn:service:sos"),
        ({"uri": ["urn:service:sos.fire"]}, "urn:service:sos.fire"),
    ],
)
def test_emergency_call(dest: dict[str, Any], to_uri: str) -> None:
    """RFC 9027 3: dest is the dial string or urn:service:sos, orig the caller."""
    value = rph(rph={"auth": ["esnet.1"]}, dest=dest)
    assert verified(value, to_uri=to_uri, resource_priority=("esnet.1",)).rph == ("esnet.1",)


@pytest.mark.parametrize("dest", [{"tn": [DEST]}, {"tn": ["911", DEST]}, {"uri": ["urn:service:sosx"], "tn": [DEST]}])
def test_esnet_is_for_emergency_services(dest: dict[str, Any]) -> None:
    """RFC 9027 3: dest MUST be the emergency dial string or urn:service:sos; sph is for the way back."""
    assert failed(rph(rph={"auth": ["esnet.1"]}, dest=dest), resource_priority=("esnet.1",)) == "rph_mismatch"


def test_callback() -> None:
    """RFC 9027 3: orig is the PSAP's number, dest the former caller's."""
    value = rph(**CALLBACK, orig={"tn": "911"}, dest={"tn": [ORIG]})
    request: dict[str, Any] = {"from_uri": "sip:911@psap", "to_uri": f"sip:+{ORIG}@gw"}
    assert verified(value, resource_priority=("esnet.0",), priority="psap-callback", **request).rph == ("esnet.0",)


@pytest.mark.parametrize("priority", [None, "emergency", "psap callback"])
def test_sph_is_what_priority_says(priority: str | None) -> None:
    """RFC 9027 4: MUST match the Priority header field."""
    assert failed(rph(**CALLBACK), resource_priority=("esnet.0",), priority=priority) == "rph_mismatch"


@pytest.mark.parametrize("sph", ["emergency", "", 1, None, ["psap-callback"]])
def test_sph_has_one_value(sph: object) -> None:
    """RFC 9027 4: only psap-callback is defined."""
    value = rph(**{**CALLBACK, "sph": sph})
    assert failed(value, resource_priority=("esnet.0",), priority="psap-callback") == "claim_malformed"


def test_sph_needs_esnet() -> None:
    """RFC 9027 4: MUST only be there with an esnet value."""
    assert failed(rph(**{**CALLBACK, **ETS}), priority="psap-callback") == "claim_malformed"
