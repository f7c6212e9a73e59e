"""SPC tokens: what RFC 9447 and RFC 9448 describe, signed by the STI-PA, for what was asked for; nothing else."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import ProviderRefused
from kamailio_app.lab.pki import POLICY_URL, ServiceProvider
from kamailio_app.lifecycle.spc_token import SpcToken, look_at_spc_token, read_spc_token, read_tkvalue, signer_url

from ..builders import ABSENT, NOW, b64, changed, evil, hierarchy, issue, key_usage, refused, signed, to_json
from .tokens import ATC, AUTHORITY, CLAIMS, FINGERPRINT, HEADER, policy_anchors, signer_pem, spc_token

OTHER = FINGERPRINT.replace("AB", "AC", 1)

VECTORS = Path(__file__).parents[2] / "vectors"
GENERATED = VECTORS / "generated"


def read(text: str, octets: bytes | None = None, *, now: float = NOW, **asked: Any) -> SpcToken:
    return read_spc_token(text, signer_pem() if octets is None else octets, policy_anchors(), now, **asked)


# --- What it says -------------------------------------------------------------------------------------------------


def test_token_of_the_sti_pa_is_read() -> None:
    token = read(spc_token(), authority=AUTHORITY, fingerprint=FINGERPRINT, ca=False)
    assert token.authority == AUTHORITY
    assert (token.ca, token.expires, token.jti, token.x5u) == (False, NOW + 3600, "id6098364921", POLICY_URL)
    assert (token.tkvalue, token.fingerprint) == (ATC["tkvalue"], FINGERPRINT)
    assert token.issuer == "O=STI-PA,C=US,CN=STI-PA CRL,ST=NJ,L=Bridgewater"


def test_signers_place_is_known_before_anything_is_verified() -> None:
    assert signer_url(spc_token()) == POLICY_URL


def test_text_is_in_no_repr() -> None:
    text = spc_token()
    assert text.rpartition(".")[2] not in repr(read(text))
    assert read(text).text == text


def test_ca_is_false_if_it_is_not_there() -> None:
    assert read(spc_token(atc={"ca": ABSENT})).ca is False
    assert read(spc_token(atc={"ca": True})).ca is True


def test_token_in_the_answer_of_the_sti_pa_is_its_compact_form() -> None:
    text = spc_token()
    answer = json.dumps({"status": "success", "token": text, "crl": "https://pa.example.test/crl"})
    assert read(answer).text == text


def test_signer_that_the_token_brings_along_is_taken() -> None:
    der = hierarchy().policy_signer.certificate.public_bytes(Encoding.DER)
    text = spc_token(header={"x5u": ABSENT, "x5c": [b64encode(der).decode()]})
    assert signer_url(text) == ""
    assert read(text, b"").x5u == ""


@pytest.mark.parametrize(
    "authority", [TNAuthList(("1234", "5678")), TNAuthList((), (TelephoneNumberRange("12155550000", 100),))]
)
def test_tnauthlist_may_be_any(authority: TNAuthList) -> None:
    value = urlsafe_b64encode(tnauthlist.encode(authority)).decode()
    assert read(spc_token(atc={"tkvalue": value}), authority=authority).authority == authority


@pytest.mark.parametrize("value", ["MAigBhYEMTIzNA==", "MAigBhYEMTIzNA"])
def test_tkvalue_is_base64_with_or_without_padding(value: str) -> None:
    assert read_tkvalue(value) == AUTHORITY


def test_tkvalue_is_base64_or_base64url() -> None:
    authority = TNAuthList((), (), ("12155551212", "1*#########"))
    der = tnauthlist.encode(authority)
    # The alphabets differ in characters 62 and 63 alone: find a list that has them
    longer = next(
        each
        for count in range(2, 70000)
        if {"+", "/"}
        & set(b64encode(each := tnauthlist.encode(TNAuthList((), (TelephoneNumberRange("12155550000", count),)))).decode())
    )
    for octets in (der, longer):
        assert (
            read_tkvalue(b64encode(octets).decode())
            == read_tkvalue(urlsafe_b64encode(octets).decode())
            == tnauthlist.decode(octets)
        )


# --- Published and generated tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "jti"), [("83_spc_token_9448", "id6098364921"), ("84_spc_token_legacy", "id6098364922")])
def test_both_ways_of_writing_the_tnauthlist_are_met(name: str, jti: str) -> None:
    root = TrustAnchors(x509.load_pem_x509_certificates((GENERATED / "cert_pa_root.pem").read_bytes()))
    text, signer = (GENERATED / f"{name}.jwt").read_text(), (GENERATED / "cert_pa_signer.pem").read_bytes()
    token = read_spc_token(text, signer, root, 1_700_000_010, authority=AUTHORITY)
    assert (token.jti, token.authority, token.expires) == (jti, AUTHORITY, 2_500_000_000)


# --- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c",
        "{}",
        "{" * 100,
        "\ud800",
        "x" * 20000,
        spc_token(header={"alg": "none"}),
        spc_token(header={"alg": "HS256"}),
        spc_token(header={"crit": ["exp"]}),
        spc_token(header={"typ": "passport"}),
        spc_token(header={"x5u": ABSENT}),
        spc_token(header={"x5u": 5}),
        spc_token(header={"x5u": "http://pa.example.test/pa.crt"}),
        spc_token(header={"x5u": "https://pa.example.test/\r\nX: y"}),
        spc_token(header={"x5u": "file:///etc/passwd"}),
        spc_token(header={"x5c": []}),
        spc_token(header={"x5c": ["x"]}),
        spc_token(claims={"atc": ABSENT}),
        spc_token(claims={"atc": "x"}),
        spc_token(claims={"exp": ABSENT}),
        spc_token(claims={"exp": "1700003600"}),
        spc_token(claims={"exp": True}),
        spc_token(claims={"exp": -1}),
        spc_token(claims={"exp": 1e300}),
        spc_token(claims={"jti": ABSENT}),
        spc_token(claims={"jti": 5}),
        spc_token(claims={"jti": ""}),
        spc_token(claims={"jti": "x" * 300}),
        spc_token(claims={"nbf": "soon"}),
        spc_token(atc={"tktype": ABSENT}),
        spc_token(atc={"tktype": "TnAuthList"}),
        spc_token(atc={"tkvalue": ABSENT}),
        spc_token(atc={"tkvalue": 5}),
        spc_token(atc={"tkvalue": "MAigBhYEMTIzN"}),
        spc_token(atc={"tkvalue": "MAig BhYEMTIzNA=="}),
        spc_token(atc={"tkvalue": "MAigBhYEMTIzNA==="}),
        spc_token(atc={"tkvalue": "A"}),
        spc_token(atc={"tkvalue": b64encode(b"0\x06\x13\x041234").decode()}),
        spc_token(atc={"tkvalue": b64encode(b"0\x00").decode()}),
        spc_token(atc={"ca": "false"}),
        spc_token(atc={"ca": None}),
        spc_token(atc={"fingerprint": ABSENT}),
        spc_token(atc={"fingerprint": "SHA256 AB"}),
        spc_token(atc={"fingerprint": FINGERPRINT.replace("SHA256", "SHA1")}),
        spc_token(atc={"fingerprint": FINGERPRINT + "\n"}),
        signed(to_json(HEADER), b"[]", hierarchy().policy_signer.key),
        signed(to_json(HEADER), b'{"exp":1,"exp":2}', hierarchy().policy_signer.key),
        signed(to_json(HEADER), b'{"exp":NaN}', hierarchy().policy_signer.key),
    ],
)  # fmt: skip
def test_what_is_no_spc_token_is_malformed(text: str) -> None:
    with refused("spc_token_malformed"):
        read(text)


def test_token_of_libstirshaken_is_of_another_time() -> None:
    with refused("spc_token_malformed"):
        look_at_spc_token((VECTORS / "libstirshaken" / "spc_token.jwt").read_text())


def test_signer_of_another_root_is_untrusted() -> None:
    other = evil().policy_signer
    with refused("spc_token_untrusted"):
        read(spc_token(key=other.key), other.pem)


def test_no_anchors_trust_nobody() -> None:
    with refused("spc_token_untrusted"):
        read_spc_token(spc_token(), signer_pem(), TrustAnchors(()), NOW)


def test_provider_cannot_sign_itself_a_token() -> None:
    # In France STI-PA and STI-CAs have one root
    provider = hierarchy().service_provider()
    with refused("spc_token_untrusted"):
        read_spc_token(spc_token(key=provider.key), provider.chain_pem, TrustAnchors([hierarchy().root.certificate]), NOW)


@pytest.mark.parametrize(
    "spec",
    [
        ServiceProvider(with_tnauthlist=False, digital_signature=False),
        ServiceProvider(with_tnauthlist=False, curve=ec.SECP384R1()),
    ],
)
def test_signer_that_may_not_or_cannot_sign_is_untrusted(spec: ServiceProvider) -> None:
    issued = hierarchy().service_provider(spec)
    text = spc_token()
    with refused("spc_token_untrusted"):
        read_spc_token(text, issued.chain_pem, TrustAnchors([hierarchy().root.certificate]), NOW)


def test_web_server_of_the_same_root_is_untrusted() -> None:
    server = hierarchy().web_server(["pa.example.test"])
    with refused("spc_token_untrusted"):
        read_spc_token(spc_token(key=server.key), server.chain_pem, TrustAnchors([hierarchy().root.certificate]), NOW)


@pytest.mark.parametrize("octets", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_signer_that_is_no_certificate_is_untrusted(octets: bytes) -> None:
    with refused("spc_token_untrusted"):
        read(spc_token(), octets)


def test_signer_whose_time_is_over_is_untrusted() -> None:
    with refused("spc_token_untrusted"):
        read(spc_token(claims={"exp": NOW + 400 * 86400}), now=NOW + 60 * 86400)


def test_another_keys_signature_is_wrong() -> None:
    with refused("spc_token_signature"):
        read(spc_token(key=evil().policy_signer.key))


def test_claims_that_were_changed_are_not_what_was_signed() -> None:
    header, _, signature = spc_token().split(".")
    payload = b64(to_json({"atc": changed(ATC, {"ca": True}), **CLAIMS}))
    with refused("spc_token_signature"):
        read(f"{header}.{payload}.{signature}")


def test_signature_has_64_octets() -> None:
    with refused("spc_token_signature"):
        read(spc_token().rpartition(".")[0] + ".AAAA")


@pytest.mark.parametrize(("now", "token"), [(NOW + 3600, "spc_token_expired"), (NOW + 3601, "spc_token_expired")])
def test_token_ends_with_exp(now: int, token: str) -> None:
    with refused(token):
        read(spc_token(), now=now)
    assert read(spc_token(), now=NOW + 3599).expires == NOW + 3600


def test_token_begins_with_nbf() -> None:
    with refused("spc_token_expired"):
        read(spc_token(claims={"nbf": NOW + 1}))
    assert read(spc_token(claims={"nbf": NOW})).jti


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"authority": TNAuthList(("5678",))}, "the TNAuthList is 1234, and 5678 was asked for"),
        ({"authority": TNAuthList(("1234", "5678"))}, "the TNAuthList is 1234, and 1234, 5678 was asked for"),
        ({"fingerprint": OTHER}, f"the fingerprint is {FINGERPRINT}, and {OTHER} was asked for"),
        ({"ca": True}, "ca is false, and true was asked for"),
        (
            {"ca": True, "authority": TNAuthList(("5678",))},
            "the TNAuthList is 1234, and 5678 was asked for; ca is false, and true was asked for",
        ),
    ],
)
def test_token_for_something_else_says_what_differs(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderRefused) as caught:
        read(spc_token(), **asked)
    assert (caught.value.token, caught.value.detail) == ("spc_token_mismatch", words)
    assert ("`spc`" in caught.value.advice) == ("authority" in asked)
    assert ("`--ca`" in caught.value.advice) == ("ca" in asked)


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nbf": NOW + 1}, "it begins 2023-11-14 22:13:21Z"),
        ({"nbf": 1 << 52}, "it begins in more than 8000 years"),
        ({"exp": NOW - 1}, "it expired 2023-11-14 22:13:19Z"),
    ],
)
def test_times_are_said_as_dates(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderRefused) as caught:
        read(spc_token(claims=claims))
    assert caught.value.detail == words


def test_fingerprint_is_compared_as_a_number() -> None:
    assert read(spc_token(), fingerprint=FINGERPRINT.lower().replace("sha", "SHA")).fingerprint == FINGERPRINT


def test_delegates_certificate_does_not_sign_tokens() -> None:
    issued = issue(hierarchy().policy_root, key_usage(sign=True))
    assert read(spc_token(key=issued.key), issued.pem).issuer == "CN=SHAKEN 1234"


# --- Any text -----------------------------------------------------------------------------------------------------

PARTS = st.sampled_from([*spc_token().split("."), "", "e30", "."])


@given(
    st.text()
    | st.lists(PARTS | st.text(max_size=9), max_size=4).map(".".join)
    | st.binary().map(lambda octets: octets.decode("latin-1"))
)
@example("{" * 9000)
@example('{"token":"..","token":1}')
def test_any_text_is_a_token_or_one_of_ours(text: str) -> None:
    try:
        token = read(text)
    except ProviderRefused as error:
        assert error.token.startswith("spc_token_")  # noqa: PT017
    else:
        assert token == read(spc_token())


@given(
    st.dictionaries(
        st.sampled_from([*ATC]), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    ),
    st.dictionaries(st.sampled_from(["exp", "jti", "nbf", "atc"]), st.none() | st.booleans() | st.integers() | st.text()),
)
def test_any_claims_are_a_token_or_one_of_ours(atc: dict[str, Any], claims: dict[str, Any]) -> None:
    try:
        read(spc_token(atc=atc, claims=claims))
    except ProviderRefused as error:
        assert error.token in {"spc_token_malformed", "spc_token_expired"}  # noqa: PT017
