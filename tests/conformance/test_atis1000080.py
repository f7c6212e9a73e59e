"""ATIS-1000080 6.4.1: the profile of SHAKEN certificates. Hard: what follows; soft: test_atis1000080_profile.py."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import FAILURES, StirError, UnsupportedCredential
from kamailio_app.lab.pki import ServiceProvider

from .support import credential, hierarchy, identity, outcome, token


def _outcome(spec: ServiceProvider) -> str:
    try:
        credential(hierarchy().service_provider(spec))
    except UnsupportedCredential as error:
        return error.token
    return "valid"


def test_certificate_of_the_profile_is_valid() -> None:
    """ATIS-1000080 6.4.1: P-256, digitalSignature, CA:FALSE, one provider code."""
    assert _outcome(ServiceProvider()) == "valid"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1(), ec.SECP224R1()])
def test_signers_key_is_on_p256(curve: ec.EllipticCurve) -> None:
    """ATIS-1000080 6.4.1: the public key is on P-256."""
    assert _outcome(ServiceProvider(curve=curve)) == "credential_key_unsupported"


def test_signer_has_the_right_to_sign() -> None:
    """ATIS-1000080 6.4.1: keyUsage digitalSignature."""
    assert _outcome(ServiceProvider(digital_signature=False)) == "credential_usage_forbidden"


def test_signer_is_no_ca() -> None:
    """ATIS-1000080 6.4.1: basicConstraints CA:FALSE."""
    assert _outcome(ServiceProvider(ca=True)) == "credential_usage_forbidden"


def test_signer_has_a_tnauthlist() -> None:
    """ATIS-1000080 6.4.1: the TNAuthList extension is there."""
    assert _outcome(ServiceProvider(with_tnauthlist=False)) == "tnauthlist_missing"


@pytest.mark.parametrize("spc", ["1234", "119F", "600F", "OPC000", "12345"])
def test_provider_code_of_any_known_length(spc: str) -> None:
    """ATIS-1000080 6.4.1: four characters; six in France, five seen once."""
    assert credential(hierarchy().service_provider(ServiceProvider(spc=spc))).tnauthlist == TNAuthList(spcs=(spc,))


@pytest.mark.parametrize("name", ["SHAKEN 1234", "SHAKEN Example 1234", "SHAKEN 9999", "Example Telecom", "***SHAKEN***464D"])
def test_common_name_gives_no_authority_and_takes_none(name: str) -> None:
    """ATIS-1000080 6.4.1: CN is "SHAKEN <SPC>"; one in five is not, so authority comes from the TNAuthList alone."""
    held = credential(hierarchy().service_provider(ServiceProvider(common_name=name)))
    assert held.tnauthlist.spcs == ("1234",)


def test_certificate_for_numbers_alone_is_a_delegates() -> None:
    """ATIS-1000080 6.4.1, RFC 9060: a delegate certificate holds numbers, and signs for these only."""
    inside, outside = "12155550121", "12155550021"
    for start, expected in ((inside, "valid"), (outside, "tn_not_authorized")):
        numbers = TNAuthList(ranges=(TelephoneNumberRange(start, 100),))
        issued = hierarchy().service_provider(ServiceProvider(tnauthlist=numbers))
        assert outcome(identity(token(key=issued.key)), credential_=credential(issued)) == expected


@pytest.mark.parametrize("name", [name for name, row in FAILURES.items() if row.error is UnsupportedCredential])
def test_every_refused_credential_is_answered_437(name: str) -> None:
    """ATIS-1000074 5.3.1, RFC 8224 6.2.2: 437 Unsupported Credential."""
    error: type[StirError] = FAILURES[name].error
    assert (error.code, error.phrase) == (437, "Unsupported Credential")
