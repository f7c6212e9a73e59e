"""ATIS-1000084: the STI-PA's trust list; RFC 7515 and 7518 for its signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.trust_list import MAX_CERTIFICATES, TrustList, read_trust_list, signer_url
from kamailio_app.errors import TrustRefused
from kamailio_app.lab.pki import POLICY_URL, Hierarchy, Issued, ServiceProvider

from .support import NOW, b64, hierarchy, provider, raw_signature, token, unb64, without

SIGNER = hierarchy().policy_signer
ROOT_PEM = hierarchy().root.pem.decode()
HEADER = {"alg": "ES256", "typ": "JWT", "x5u": POLICY_URL}
PAYLOAD = {"version": "1.0", "sequence": 7, "exp": NOW + 1000, "trustList": [ROOT_PEM]}


@cache
def _anchors() -> TrustAnchors:
    return TrustAnchors([hierarchy().policy_root.certificate])


def _list(header: Mapping[str, Any] = HEADER, payload: Mapping[str, Any] | bytes = PAYLOAD, signer: Issued = SIGNER) -> str:
    return token(header, payload, signer.key)


def _read(text: str, signer: bytes = SIGNER.pem, *, now: float = NOW, former: TrustList | None = None) -> TrustList:
    return read_trust_list(text, signer, _anchors(), now, former=former)


def _outcome(text: str, signer: bytes = SIGNER.pem, *, now: float = NOW, former: TrustList | None = None) -> str:
    try:
        _read(text, signer, now=now, former=former)
    except TrustRefused as error:
        return error.token
    return "valid"


def _outcome_of(**payload: Any) -> str:
    return _outcome(_list(payload={**PAYLOAD, **payload}))


# --- What it says -------------------------------------------------------------------------------------------------


def test_list_holds_the_roots_of_the_cas() -> None:
    """ATIS-1000084: version, sequence, exp, trustList; with these anchors calls are verified."""
    held = _read(_list())
    assert held == TrustList(
        ROOT_PEM, 7, NOW + 1000, "1.0", "O=STI-PA,C=US,CN=STI-PA CRL,ST=NJ,L=Bridgewater", 0, SIGNER.pem.decode()
    )
    assert validate(provider().chain_pem, held.anchors(), NOW).tnauthlist.spcs == ("1234",)
    assert held.anchors().certificates == (hierarchy().root.certificate,)


def test_list_of_the_lab_is_one() -> None:
    """ATIS-1000084."""
    assert _read(hierarchy().trust_list(sequence=7)).sequence == 7
    assert signer_url(hierarchy().trust_list()) == POLICY_URL


def test_list_replaces_and_does_not_add() -> None:
    """ATIS-1000084: a CA that is no longer listed is no longer trusted."""
    other = Hierarchy(NOW)
    former = _read(_list())
    held = _read(hierarchy().trust_list([other.root.certificate], 8), former=former)
    assert held.anchors().certificates == (other.root.certificate,)


@pytest.mark.parametrize("name", ["certList", "caList", "trustlist"])
def test_other_lists_are_nobodys_anchors(name: str) -> None:
    """ATIS-1000084: trustList; France has certList for issuing CAs and for the STI-PA's own certificates."""
    other = hierarchy().intermediate.pem.decode()
    assert _outcome(_list(payload={**without(PAYLOAD, "trustList"), name: [other]})) == "trust_list_malformed"
    assert _read(_list(payload={**PAYLOAD, name: [other]})).certificates_pem == ROOT_PEM


@pytest.mark.parametrize(("version", "expected"), [("1.0", "1.0"), (1.0, "1.0"), (1, "1"), ("1\r\n2", "1\\x0d\\x0a2")])
def test_version_is_text_or_a_number(version: object, expected: str) -> None:
    """ATIS-1000084: a string in the United States, a number in France."""
    assert _read(_list(payload={**PAYLOAD, "version": version})).version == expected


def test_root_that_stands_twice_is_one() -> None:
    """ATIS-1000084."""
    spaced = f"\n{ROOT_PEM.replace(chr(10), chr(13) + chr(10))}"
    assert _read(_list(payload={**PAYLOAD, "trustList": [ROOT_PEM, spaced]})).certificates_pem == ROOT_PEM


@pytest.mark.parametrize("bad", ["", "x", 5, None, ["x"], provider().pem.decode(), "\ud800", ROOT_PEM[:200]])
def test_member_that_is_no_ca_certificate_is_left_out(bad: object) -> None:
    """ATIS-1000084: one CA's bad certificate does not keep the others from being renewed; nobody trusts a bad one."""
    held = _read(_list(payload=json.dumps({**PAYLOAD, "trustList": [bad, ROOT_PEM, bad]}).encode()))
    assert (held.certificates_pem, held.skipped) == (ROOT_PEM, 2)


@pytest.mark.parametrize("members", [[], ["x"], {}, "x", None, [ROOT_PEM] * (MAX_CERTIFICATES + 1)])
def test_list_without_certificates_is_malformed(members: object) -> None:
    """ATIS-1000084: nothing would be trusted any more."""
    assert _outcome_of(trustList=members) == "trust_list_malformed"


# --- Serialisations -----------------------------------------------------------------------------------------------


def _flattened(text: str) -> dict[str, str]:
    return dict(zip(("protected", "payload", "signature"), text.split("."), strict=True))


def test_forms_of_the_same_list() -> None:
    """RFC 7515 7.1, 7.2.1, 7.2.2; ATIS-1000084: the compact form inside the STI-PA's answer."""
    text = _list()
    members = _flattened(text)
    general = {"payload": members["payload"], "signatures": [without(members, "payload")]}
    forms = (
        text,
        f"\r\n {text}\n",
        json.dumps({"status": "success", "caList": text}),
        json.dumps({"status": "success", "caList": f" {text}\n"}),
        json.dumps({"trustList": text}),
        json.dumps(members),
        json.dumps(general),
    )
    assert {_read(form) for form in forms} == {_read(text)}
    assert {signer_url(form) for form in forms} == {POLICY_URL}


def test_what_is_no_jws_is_malformed() -> None:
    """RFC 7515 5.2."""
    text = _list()
    members = _flattened(text)
    for bad in (
        "", ".", "..", "a.b", f"{text}.x", "{}", "{", "[]", "null", "{" * 100000, '{"a":' * 100000, "é.é.é", "\ud800",
        "{\ud800", json.dumps({**members, "payload": "=é"}),
        json.dumps({"caList": ""}), json.dumps({"caList": 5}), json.dumps({"caList": json.dumps(members)}),
        json.dumps({"certList": text}),
        json.dumps(without(members, "signature")), json.dumps({**members, "payload": 5}),
        json.dumps({"payload": members["payload"], "signatures": []}),
        json.dumps({"payload": members["payload"], "signatures": [without(members, "payload")] * 2}),
        '{"caList":"","caList":""}', text.replace(".", "=."), text.replace(".", "\n."), f"{text[:20]}.{text}", "a.a.a",
    ):  # fmt: skip
        assert _outcome(bad) == "trust_list_malformed", bad[:80]
        with pytest.raises(TrustRefused, match="trust_list_malformed"):
            signer_url(bad)


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "alg": "ES384"},
        {**HEADER, "crit": ["b64"], "b64": False},
        without(HEADER, "alg"),
        without(HEADER, "x5u"),
        {**HEADER, "x5u": 5},
        {**HEADER, "x5u": None},
    ],
)
def test_header_says_es256_and_where_the_certificate_is(header: dict[str, Any]) -> None:
    """RFC 7515 4.1.1, 4.1.5, 4.1.11, RFC 7518 3.1."""
    assert _outcome(_list(header)) == "trust_list_malformed"


# --- Signature ----------------------------------------------------------------------------------------------------


def test_changed_list_is_refused() -> None:
    """RFC 7515 5.2: over the octets that came."""
    header, payload, signature = _list().split(".")
    changed = b64(unb64(payload).replace(b'"sequence":7', b'"sequence":8'))
    assert changed != payload
    assert _outcome(f"{header}.{changed}.{signature}") == "trust_list_signature"


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_signature_has_64_octets(length: int) -> None:
    """RFC 7518 3.4."""
    signing_input, _, signature = _list().rpartition(".")
    octets = (unb64(signature) * 2)[:length]
    assert _outcome(f"{signing_input}.{b64(octets)}") == "trust_list_signature"
    assert _outcome(f"{signing_input}.{b64(bytes(64))}") == "trust_list_signature"
    same_numbers = unb64(signature)[:32] + b"\x00" + unb64(signature)[32:]
    assert _outcome(f"{signing_input}.{b64(same_numbers)}") == "trust_list_signature"


def test_signature_of_another_key_is_refused() -> None:
    """RFC 7515 5.2."""
    assert _outcome(_list(signer=Issued(SIGNER.certificate, provider().key))) == "trust_list_signature"


def test_signature_is_checked_before_anything_is_believed() -> None:
    """RFC 7515 5.2: an unsigned list is not expired, it is unsigned."""
    header, _, signature = _list().split(".")
    assert _outcome(f"{header}.{b64(b'{')}.{signature}") == "trust_list_signature"


# --- Signer -------------------------------------------------------------------------------------------------------


def test_signer_chains_to_the_pinned_root() -> None:
    """ATIS-1000084: the same names from another STI-PA are nobody's."""
    other = Hierarchy(NOW)
    assert _outcome(other.trust_list(), other.policy_signer.pem) == "trust_list_untrusted"
    assert _outcome(other.trust_list(), other.policy_signer.pem + other.policy_root.pem) == "trust_list_untrusted"
    with pytest.raises(TrustRefused, match="trust_list_untrusted"):
        read_trust_list(_list(), SIGNER.pem, TrustAnchors([]), NOW)


def test_signer_is_no_service_provider() -> None:
    """ATIS-1000084: the STI-CAs' hierarchy and the STI-PA's are two; and who certifies is not who signs."""
    text = _list(signer=provider())
    assert _outcome(text, provider().chain_pem) == "trust_list_untrusted"
    root = hierarchy().policy_root
    assert _outcome(_list(signer=root), root.pem) == "trust_list_untrusted"


def test_signer_is_no_service_provider_under_the_same_root() -> None:
    """ATIS-1000084: in France the STI-PA and the STI-CAs have one root; neither provider nor delegate nor web server signs."""
    pki = hierarchy()
    anchors = TrustAnchors([pki.root.certificate])
    administrator = _issued(pki.root)
    delegate = pki.service_provider(ServiceProvider(ca=True))
    outcomes = {}
    for name, signer in {
        "administrator": administrator,
        "below an issuing CA": _issued(pki.intermediate),
        "provider": provider(),
        "provider of the root": pki.service_provider(issuer=pki.root),
        "below a delegate": _issued(delegate),
        "web server": pki.web_server(["pa.example.test"]),
        "for clients": _issued(pki.root, x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])),
    }.items():
        try:
            outcomes[name] = read_trust_list(_list(signer=signer), signer.chain_pem, anchors, NOW).signer_pem
        except TrustRefused as error:
            outcomes[name] = error.token
    assert outcomes == {
        "administrator": administrator.pem.decode(),
        "below an issuing CA": outcomes["below an issuing CA"],
        **dict.fromkeys(
            ("provider", "provider of the root", "below a delegate", "web server", "for clients"), "trust_list_untrusted"
        ),
    }
    assert outcomes["below an issuing CA"].endswith(pki.intermediate.pem.decode())


def _issued(issuer: Issued, *extensions: x509.ExtensionType) -> Issued:
    """What an STI-PA signs with, from this issuer."""
    key, old = ec.generate_private_key(ec.SECP256R1()), SIGNER.certificate
    builder = x509.CertificateBuilder(
        issuer.certificate.subject, old.subject, key.public_key(), 1, old.not_valid_before_utc, old.not_valid_after_utc
    )
    usage = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
    builder = builder.add_extension(usage, critical=True).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(issuer.key, SHA256())
    return Issued(certificate, key, (issuer.certificate, *issuer.issuers))


def _signed_by(key: ec.EllipticCurvePrivateKey, usage: x509.KeyUsage | None = None) -> bytes:
    root, old = hierarchy().policy_root, SIGNER.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, key.public_key(), 1, old.not_valid_before_utc, old.not_valid_after_utc
    )
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(root.key, SHA256()).public_bytes(Encoding.PEM)


def test_signer_may_sign() -> None:
    """RFC 5280 4.2.1.3: digitalSignature, if there is a keyUsage; RFC 7518 3.4: a key on P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = _list(signer=Issued(SIGNER.certificate, key))
    crl_only = x509.KeyUsage(False, False, False, False, False, False, True, False, False)
    assert _outcome(text, _signed_by(key)) == "valid"
    assert _outcome(text, _signed_by(key, crl_only)) == "trust_list_untrusted"
    assert _outcome(text, _signed_by(ec.generate_private_key(ec.SECP384R1()))) == "trust_list_untrusted"


@pytest.mark.parametrize("octets", [b"", b"<html>", SIGNER.pem[:100], SIGNER.pem * 100])
def test_signers_certificate_that_cannot_be_read(octets: bytes) -> None:
    """ATIS-1000084."""
    assert _outcome(_list(), octets) == "trust_list_untrusted"


def test_signers_certificate_is_valid_now() -> None:
    """RFC 5280 6.1."""
    text = _list(payload={**PAYLOAD, "exp": NOW + 90 * 86400})
    assert _outcome(text, now=NOW + 29 * 86400) == "valid"
    assert _outcome(text, now=NOW + 31 * 86400) == "trust_list_untrusted"


def test_certificate_may_come_with_the_list() -> None:
    """RFC 7515 4.1.6: x5c, which nothing has to be fetched for; it still chains to the pinned root."""
    assert signer_url(hierarchy().trust_list(bring_signer=True)) == ""
    assert _read(hierarchy().trust_list(bring_signer=True), b"").signer_pem == SIGNER.pem.decode()
    assert _outcome(Hierarchy(NOW).trust_list(bring_signer=True), SIGNER.pem) == "trust_list_untrusted"


@pytest.mark.parametrize("x5c", [[], "x", None, ["x"], [5], ["é"], ["AAAA"]])
def test_x5c_that_cannot_be_read(x5c: object) -> None:
    """RFC 7515 4.1.6."""
    assert _outcome(_list({**HEADER, "x5c": x5c})) == "trust_list_malformed"


# --- Age ----------------------------------------------------------------------------------------------------------


def test_list_is_good_until_it_expires() -> None:
    """ATIS-1000084, RFC 7519 4.1.4: on or after exp it is not accepted."""
    assert [_outcome(_list(), now=NOW + late) for late in (999, 1000)] == ["valid", "trust_list_expired"]


def test_sequence_does_not_go_back() -> None:
    """ATIS-1000084: the same list again is no step back."""
    former = _read(_list())
    outcomes = [_outcome(_list(payload={**PAYLOAD, "sequence": number}), former=former) for number in (6, 7, 8)]
    assert outcomes == ["trust_list_rollback", "valid", "valid"]


@pytest.mark.parametrize("name", ["sequence", "exp"])
@pytest.mark.parametrize("value", ["7", None, True, -1, 1 << 53, [7], {}])
def test_sequence_and_exp_are_numbers(name: str, value: object) -> None:
    """ATIS-1000084."""
    assert _outcome_of(**{name: value}) == "trust_list_malformed"
    assert _outcome(_list(payload=without(PAYLOAD, name))) == "trust_list_malformed"


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_version_is_there(value: object) -> None:
    """ATIS-1000084."""
    assert _outcome_of(version=value) == "trust_list_malformed"
    assert _outcome(_list(payload=without(PAYLOAD, "version"))) == "trust_list_malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        json.dumps(PAYLOAD).encode()[:-1] + b',"exp":1800000000}',
        json.dumps({**PAYLOAD, "extension": float("nan")}).encode(),
        json.dumps(PAYLOAD).replace("7", "1e999").encode(),
        json.dumps(PAYLOAD).replace("7", "9" * 5000).encode(),
        b'{"a":' * 100000,
    ],
    ids=range(9),
)
def test_payload_that_is_no_json_object_is_malformed(payload: bytes) -> None:
    """RFC 8259; names stand once."""
    signing_input = f"{b64(json.dumps(HEADER).encode())}.{b64(payload)}"
    assert _outcome(f"{signing_input}.{b64(raw_signature(signing_input, SIGNER.key))}") == "trust_list_malformed"
