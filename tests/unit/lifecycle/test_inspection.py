"""What is in a file, found out from its octets: kinds, values, findings; published and real files among them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.lab.pki import POLICY_URL, Hierarchy, ServiceProvider, expired
from kamailio_app.lifecycle.inspection import KINDS, MAX_OCTETS, Origin, inspect
from kamailio_app.lifecycle.inspection_content import Content
from kamailio_app.lifecycle.inspection_trust import Trusted
from kamailio_app.lifecycle.keys import fingerprint, new_key
from kamailio_app.lifecycle.request import CrlPoint, certificate_request, request_pem

from ..builders import (
    DAY,
    NOW,
    anchors,
    authority,
    evil,
    hierarchy,
    identity,
    issue,
    key_usage,
    passport,
    pem,
    provider,
    refused,
)
from .tokens import ATC, FINGERPRINT, policy_anchors, spc_token

VECTORS = Path(__file__).parents[2] / "vectors"
GENERATED = VECTORS / "generated"
KEY = new_key()
NOBODY = Origin(Trusted(), NOW)
EVERYBODY = Origin(Trusted(anchors(), policy_anchors(), named=(hierarchy().policy_signer.certificate,)), NOW)


def the_one(octets: bytes | str, origin: Origin = NOBODY, kind: str = "auto") -> Content:
    (content,) = inspect(octets.encode() if isinstance(octets, str) else octets, origin, kind)
    return content


def tokens(content: Content) -> list[str]:
    return [finding.token for finding in content.findings]


def words(content: Content) -> list[str]:
    return [finding.words for finding in content.findings]


def key_pem(key: Any = KEY, encryption: Any = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    octets: bytes = key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())
    return octets


def csr(**changes: Any) -> bytes:
    values = {"organization": "Example", "country": "US", "authority": TNAuthList(("1234",)), **changes}
    return request_pem(certificate_request(KEY, **values))


# --- Keys ---------------------------------------------------------------------------------------------------------


def test_private_key_says_everything_but_itself() -> None:
    content = the_one(key_pem(), NOBODY._replace(mode=0o100600))
    assert (content.kind, content.findings) == ("private key", [])
    assert content.fields == {
        "form": "PKCS#8",
        "mode": "600",
        "key": "P-256",
        "fingerprint_jwk": fingerprint(KEY.public_key(), "jwk"),
        "fingerprint_spki": fingerprint(KEY.public_key(), "spki"),
        "subject_key_identifier": x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest.hex(),
    }
    text = json.dumps(content.fields) + str(content)
    assert not any(line in text for line in key_pem().decode().splitlines()[1:-1])


@pytest.mark.parametrize(
    ("octets", "form"),
    [
        (key_pem(form=PrivateFormat.TraditionalOpenSSL), "SEC1"),
        (b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + key_pem(), "PKCS#8"),
        (KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "DER"),
    ],
)
def test_key_is_known_in_every_form(octets: bytes, form: str) -> None:
    content = the_one(octets)
    assert (content.fields["form"], content.fields["key"]) == (form, "P-256")


def test_key_that_others_may_read_is_a_finding() -> None:
    assert tokens(the_one(key_pem(), NOBODY._replace(mode=0o100644))) == ["key_permissions"]
    assert tokens(the_one(key_pem(), NOBODY._replace(mode=0o100640))) == []


@pytest.mark.parametrize(
    ("key", "name"), [(ec.generate_private_key(ec.SECP384R1()), "P-384"), (rsa.generate_private_key(65537, 2048), "RSA 2048")]
)
def test_key_of_another_kind_is_a_finding(key: Any, name: str) -> None:
    content = the_one(key_pem(key))
    assert (content.fields["key"], tokens(content)) == (name, ["key_curve_unsupported"])


def test_encrypted_key_is_read_with_its_passphrase_alone() -> None:
    octets = key_pem(encryption=BestAvailableEncryption(b"correct horse"))
    closed = the_one(octets)
    assert (closed.fields, closed.spki) == ({"form": "PKCS#8, encrypted"}, "")
    assert closed.remarks
    assert the_one(octets, NOBODY._replace(passphrase=b"correct horse")).fields["key"] == "P-256"
    with refused("key_malformed"):
        the_one(octets, NOBODY._replace(passphrase=b"wrong horse"))
    with refused("key_malformed"):
        the_one(key_pem(), NOBODY._replace(passphrase=b"none is needed"))


def test_public_key_is_known() -> None:
    octets = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = the_one(octets)
    assert (content.kind, content.fields["fingerprint_jwk"]) == ("public key", fingerprint(KEY.public_key(), "jwk"))
    assert content.spki == the_one(key_pem()).spki
    with refused("key_malformed"):
        the_one(octets.replace(b"MFk", b"MFl"))


# --- Requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_request_says_what_it_asks_for(form: str) -> None:
    octets = (GENERATED / "csr_1234.pem").read_bytes()
    content = the_one(octets if form == "PEM" else x509.load_pem_x509_csr(octets).public_bytes(Encoding.DER))
    assert (content.kind, content.findings) == ("certificate request", [])
    assert content.fields["subject"] == "CN=SHAKEN 1234,O=Example Telecom LLC,C=US"
    assert content.fields["tnauthlist"] == ["SPC 1234"]
    assert content.fields["crl"] == [
        {"url": "https://pa.example.test/download/v1/crl", "issuer": "O=STI-PA,C=US,CN=STI-PA CRL,ST=NJ,L=Bridgewater"}
    ]


def test_request_of_a_delegate_lists_its_numbers() -> None:
    numbers = TNAuthList((), (TelephoneNumberRange("12155550000", 100),), ("12155551212",))
    assert the_one(csr(authority=numbers)).fields["tnauthlist"] == ["12155550000 to 12155550099 (100 numbers)", "12155551212"]


def test_request_that_no_sti_ca_would_take_says_why() -> None:
    bare = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(ec.generate_private_key(ec.SECP384R1()), SHA256())
    )
    assert words(the_one(bare.public_bytes(Encoding.PEM))) == [
        "the key is not on P-256",
        "the subject lacks country, organization or common name",
        "no TNAuthList is asked for",
    ]


def test_key_request_and_certificate_know_each_other() -> None:
    issued = hierarchy().service_provider(key=KEY)
    assert the_one(key_pem()).spki == the_one(csr()).spki == the_one(issued.chain_pem).spki != ""


def test_name_with_commas_is_quoted() -> None:
    assert the_one(csr(organization='Example "Tel", Inc.')).fields["subject"] == "CN=SHAKEN 1234,O=\"Example 'Tel', Inc.\",C=US"


# --- Certificates -------------------------------------------------------------------------------------------------


def test_chain_in_order_of_a_trusted_ca_has_no_findings() -> None:
    content = the_one(provider().chain_pem, EVERYBODY)
    assert (content.kind, content.findings) == ("chain", [])
    assert content.fields["path"] == "trusted by CN=Lab SHAKEN ROOT CA,O=Lab,C=US"
    first, second = content.fields["certificates"]
    assert (first["tnauthlist"], first["days_left"]) == (["SPC 1234"], 30.0)
    assert first["basic_constraints"] == "CA:FALSE (critical)"
    assert first["key_usage"] == "digitalSignature (critical)"
    assert first["policies"] == ["2.16.840.1.114569.1.1.4 (SHAKEN certificate policy 1.4)"]
    assert first["authority_key_identifier"] == second["subject_key_identifier"]
    assert second["basic_constraints"] == "CA:TRUE (critical)"
    assert any("revocation is not checked" in remark for remark in content.remarks)


def test_one_certificate_is_known_in_pem_and_der() -> None:
    der = provider().certificate.public_bytes(Encoding.DER)
    assert the_one(der).fields == the_one(provider().pem).fields
    assert the_one(der).kind == "certificate"


def test_without_anchors_nothing_is_said_of_trust() -> None:
    content = the_one(provider().chain_pem)
    assert (content.fields["path"], content.findings) == ("not checked", [])
    assert any("no trust anchors" in remark for remark in content.remarks)


def test_chain_of_another_root_is_not_trusted() -> None:
    content = the_one(evil().service_provider().chain_pem, EVERYBODY)
    assert content.fields["path"] == "not trusted: credential_untrusted"
    assert tokens(content) == ["credential_untrusted"]


def test_end_of_a_certificate_is_a_finding_said_once() -> None:
    content = the_one(hierarchy().service_provider(expired(ServiceProvider(), NOW)).chain_pem, EVERYBODY)
    assert (tokens(content), content.fields["certificates"][0]["days_left"]) == (["credential_expired"], -1.0)


def test_revocation_is_looked_up_in_the_list_that_the_server_keeps() -> None:
    lost, kept = hierarchy().service_provider(), provider()
    held = read_crl(
        hierarchy().crl([lost.certificate]), policy_anchors(), NOW, signers=(hierarchy().policy_signer.certificate,)
    )
    origin = EVERYBODY._replace(trust=EVERYBODY.trust._replace(revocations=held))
    revoked = the_one(lost.chain_pem, origin)
    assert (tokens(revoked), revoked.fields["revoked"]) == (["credential_revoked"], True)
    assert the_one(kept.chain_pem, origin).fields["revoked"] is False


def test_order_is_the_signers_first() -> None:
    signer, intermediate = provider().certificate, hierarchy().intermediate.certificate
    root, other = hierarchy().root.certificate, evil().intermediate.certificate
    assert words(the_one(pem(intermediate, signer))) == ["the file begins with a CA's certificate, the signer's is number 2"]
    assert words(the_one(pem(signer, other))) == ["certificate 2 did not issue the one before it"]
    whole = the_one(pem(signer, intermediate, root), EVERYBODY)
    assert (whole.findings, any("the root is in it" in remark for remark in whole.remarks)) == ([], True)


def test_what_security_hangs_on_has_its_token() -> None:
    for spec, token in (
        (ServiceProvider(with_tnauthlist=False), "tnauthlist_missing"),
        (ServiceProvider(tnauthlist=b"0\x06\x13\x041234"), "tnauthlist_malformed"),
        (ServiceProvider(curve=ec.SECP384R1()), "credential_key_unsupported"),
        (ServiceProvider(digital_signature=False), "credential_usage_forbidden"),
    ):
        assert token in tokens(the_one(hierarchy().service_provider(spec).chain_pem, EVERYBODY))


def test_profile_is_held_against_it_with_its_clause() -> None:
    issued = hierarchy().service_provider(ServiceProvider(common_name="SHAKEN Example 1234"))
    (finding,) = the_one(issued.chain_pem, EVERYBODY).findings
    assert finding == ("ATIS-1000080 6.4.1", "signer's common name is not SHAKEN's", "")


def test_anchor_is_held_against_the_profile_too() -> None:
    plain = issue(None, x509.BasicConstraints(True, None), key_usage(certify=True), critical=(x509.KeyUsage,), name="Plain")
    signer = issue(plain, authority())
    origin = Origin(Trusted(TrustAnchors([plain.certificate])), NOW)
    assert "root's common name is not SHAKEN's" in words(the_one(signer.pem, origin))


def test_claim_constraints_are_shown() -> None:
    (certificate,) = the_one((VECTORS / "rfc" / "rfc9118_fig1.pem").read_bytes()).fields["certificates"]
    assert certificate["claim_constraints"] == [
        {"must_include": ["confidence"], "permitted": {"confidence": ["high", "medium"]}, "must_exclude": ["priority"]}
    ]


def test_bundle_of_ca_certificates_is_judged_one_by_one() -> None:
    content = the_one((VECTORS / "stici_real" / "observed_roots.pem").read_bytes(), EVERYBODY)
    assert (content.kind, len(content.fields["certificates"])) == ("CA certificates", 18)
    assert content.fields["anchors"] == "0 of 18 among this host's trust anchors"
    assert "certificate 12: root's key is not on P-256 (in a CA: or P-384)" in words(content)
    assert the_one(hierarchy().root.pem, EVERYBODY).findings == []
    assert the_one(pem(hierarchy().intermediate.certificate, hierarchy().root.certificate)).findings == []


def test_certificate_of_the_sti_pa_is_not_held_against_the_providers_profile() -> None:
    content = the_one(hierarchy().policy_signer.pem, EVERYBODY)
    assert (content.fields["path"], content.findings) == ("trusted: it signs for the STI-PA", [])


REAL = sorted((VECTORS / "stici_real").glob("*.chain.pem"))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name.partition("__")[0])
def test_real_chains_are_read_and_trusted_by_their_roots(path: Path) -> None:
    octets = path.read_bytes()
    certificates = x509.load_pem_x509_certificates(octets)
    moment = certificates[0].not_valid_after_utc.timestamp() - 60
    roots = x509.load_pem_x509_certificates((VECTORS / "stici_real" / "observed_roots.pem").read_bytes())
    content = the_one(octets, Origin(Trusted(TrustAnchors([*roots, certificates[-1]])), moment))
    assert content.fields["path"].startswith("trusted by ")
    (entry,) = content.fields["certificates"][0]["tnauthlist"]
    assert entry.removeprefix("SPC ") in path.name
    assert {finding.clause for finding in content.findings} <= {"ATIS-1000080 6.4.1"}


def test_french_certificate_is_read() -> None:
    content = the_one((VECTORS / "apnf_fr" / "sti_cert_OPC000.pem").read_bytes())
    assert content.fields["certificates"][0]["tnauthlist"] == ["SPC OPC000"]


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("bad_01.der", "tnauthlist_missing"),
        ("bad_02.der", "tnauthlist_malformed"),
        ("bad_03.der", "tnauthlist_malformed"),
    ],
)
def test_bad_certificates_of_the_field_say_what_is_bad(name: str, token: str) -> None:
    assert token in tokens(the_one((VECTORS / "stici_real" / name).read_bytes()))


def test_certificate_that_cannot_be_read_says_which_of_several() -> None:
    broken = provider().pem.replace(b"\nM", b"\nX", 1)
    with pytest.raises(StirError, match=r"^credential_malformed: certificate 2 of 2: "):
        the_one(hierarchy().intermediate.pem + broken)
    with pytest.raises(StirError, match=r"^file_unknown: DER; as a certificate credential_malformed: "):
        the_one((VECTORS / "stici_real" / "bad_00.der").read_bytes())


def test_certificate_without_an_end_is_malformed() -> None:
    with refused("credential_malformed"):
        the_one(provider().pem[:-40])


def test_key_and_chain_in_one_file_are_both_seen() -> None:
    assert [each.kind for each in inspect(key_pem() + provider().chain_pem, NOBODY)] == ["private key", "chain"]


# --- CRLs ---------------------------------------------------------------------------------------------------------


def test_indirect_crl_says_whose_each_entry_is() -> None:
    for name in ("indirect_crl.pem", "indirect_crl.der"):
        content = the_one((GENERATED / name).read_bytes())
        assert (content.kind, content.findings, content.fields["verdict"]) == ("CRL", [], "not checked")
        assert {each["issuer"] for each in content.fields["entries"]} == {
            "CN=Other SHAKEN Intermediate,O=Other CA Inc.,C=US",
            "CN=Example SHAKEN Intermediate G1,O=Example CA Inc.,C=US",
        }
        assert (content.fields["indirect"], content.fields["number"], content.fields["revoked"]) == (True, 7, 2)


def test_entry_without_an_issuer_has_the_one_before() -> None:
    """RFC 5280 5.3.3."""
    lost = [hierarchy().service_provider().certificate for _ in range(3)]
    entries = the_one(hierarchy().crl(lost)).fields["entries"]
    assert [each["issuer"] for each in entries] == ["CN=Lab SHAKEN Issuing CA,O=Lab,C=US"] * 3


def test_crl_is_judged_by_the_sti_pas_roots() -> None:
    good = the_one(hierarchy().crl(), EVERYBODY)
    assert (good.findings, good.fields["verdict"]) == ([], "good: signed for the STI-PA, and current")
    stale = the_one(hierarchy().crl(this_update=NOW - 9 * DAY, next_update=NOW - DAY), EVERYBODY)
    assert tokens(stale) == ["crl_stale"]
    assert tokens(the_one(evil().crl(), EVERYBODY)) == ["crl_untrusted"]


@pytest.mark.parametrize("path", sorted((VECTORS / "crl").glob("*Raw.pem")), ids=lambda path: path.name)
def test_other_crls_are_read(path: Path) -> None:
    assert the_one(path.read_bytes()).kind in {"CRL", "certificate", "CA certificates"}


# --- What the STI-PA signs ----------------------------------------------------------------------------------------


def flattened(text: str) -> str:
    return json.dumps(dict(zip(("protected", "payload", "signature"), text.split("."), strict=True)))


def general(text: str) -> str:
    protected, payload, signature = text.split(".")
    return json.dumps({"payload": payload, "signatures": [{"protected": protected, "signature": signature}]})


def answer(text: str) -> str:
    return json.dumps({"status": "success", "caList": text})


@pytest.mark.parametrize("form", [str, flattened, general, answer])
def test_list_of_cas_is_known_in_every_serialization(form: Any) -> None:
    content = the_one(form(hierarchy().trust_list(sequence=7)), EVERYBODY)
    assert (content.kind, content.findings) == ("list of STI-CAs", [])
    assert (content.fields["version"], content.fields["sequence"], content.fields["signer"]) == ("1.0", 7, POLICY_URL)
    (root,) = content.fields["trustList"]
    assert (root["subject"], root["ca"]) == ("CN=Lab SHAKEN ROOT CA,O=Lab,C=US", True)
    assert content.fields["verdict"] == "good: signed for the STI-PA, and current"


def test_list_that_is_over_or_anothers_is_a_finding() -> None:
    assert tokens(the_one(hierarchy().trust_list(expires=NOW - 1), EVERYBODY)) == ["trust_list_expired"]
    assert tokens(the_one(evil().trust_list(), EVERYBODY)) == ["trust_list_signature"]
    assert tokens(the_one(hierarchy().trust_list(expires=NOW - 1))) == ["trust_list_expired"]


def test_list_with_its_signer_needs_no_other() -> None:
    origin = EVERYBODY._replace(trust=EVERYBODY.trust._replace(named=()))
    content = the_one(hierarchy().trust_list(bring_signer=True), origin)
    assert (content.fields["signer"], content.fields["verdict"][:4]) == ("in x5c", "good")


def test_signer_that_is_kept_is_tried_and_another_proves_nothing() -> None:
    kept = EVERYBODY.trust._replace(named=(), kept=(hierarchy().policy_signer.certificate,))
    assert the_one(hierarchy().trust_list(), EVERYBODY._replace(trust=kept)).fields["verdict"][:4] == "good"
    content = the_one(Hierarchy(NOW).trust_list(), EVERYBODY._replace(trust=kept))
    assert (content.fields["verdict"], content.findings) == ("not verified", [])
    assert any(POLICY_URL in remark and "--signer" in remark for remark in content.remarks)


def test_french_lists_are_read() -> None:
    for name, member, count in (("trustlist_ca", "trustList", 1), ("trustlist_ca_certs", "certList", 2)):
        content = the_one((VECTORS / "apnf_fr" / f"{name}.jws.json").read_bytes())
        assert (len(content.fields[member]), tokens(content)) == (count, ["trust_list_expired"])
        assert any("no trustList" in remark for remark in content.remarks) == (member == "certList")


def test_members_that_are_no_certificates_are_shown_as_that() -> None:
    text = hierarchy().trust_list(trustList=["x", 5, hierarchy().root.pem.decode()])
    bad, worse, good = the_one(text).fields["trustList"]
    assert (bad["problem"][:14], worse, "subject" in good) == ("no certificate", {"problem": "no text"}, True)


@pytest.mark.parametrize("expires", ["x", None, True, -1, 1e17])
def test_end_that_is_none_is_shown_as_it_is(expires: Any) -> None:
    assert the_one(hierarchy().trust_list(exp=expires)).fields["expires"] == str(expires)


def test_spc_token_says_its_claims_and_not_itself() -> None:
    content = the_one(spc_token(), EVERYBODY)
    assert (content.kind, content.findings) == ("SPC token", [])
    assert content.fields == {
        "tnauthlist": ["SPC 1234"],
        "tkvalue": ATC["tkvalue"],
        "ca": False,
        "fingerprint": FINGERPRINT,
        "jti": "id6098364921",
        "expires": "2023-11-14T23:13:20Z",
        "signer": POLICY_URL,
        "verdict": "good: signed for the STI-PA, and current",
    }
    assert spc_token().rpartition(".")[2] not in str(content)


@pytest.mark.parametrize("name", ["83_spc_token_9448", "84_spc_token_legacy"])
def test_vectors_are_verified_with_their_signer(name: str) -> None:
    signer, root = (
        x509.load_pem_x509_certificate((GENERATED / f"cert_pa_{each}.pem").read_bytes()) for each in ("signer", "root")
    )
    origin = Origin(Trusted(sti_pa=TrustAnchors([root]), named=(signer,)), 1_700_000_010)
    content = the_one((GENERATED / f"{name}.jwt").read_bytes(), origin)
    assert (content.fields["verdict"][:4], content.fields["tnauthlist"]) == ("good", ["SPC 1234"])


def test_token_in_an_answer_is_known() -> None:
    assert the_one(json.dumps({"status": "success", "token": spc_token()})).kind == "SPC token"


def test_token_that_is_over_or_anothers_is_a_finding() -> None:
    assert tokens(the_one(spc_token(), EVERYBODY._replace(now=NOW + 9999))) == ["spc_token_expired"]
    assert tokens(the_one(spc_token(key=evil().policy_signer.key), EVERYBODY)) == ["spc_token_signature"]
    assert the_one(spc_token()).fields["verdict"] == "not verified"


# --- PASSporTs ----------------------------------------------------------------------------------------------------


def test_passport_is_shown_and_not_verified() -> None:
    content = the_one(passport())
    assert (content.kind, content.findings) == ("PASSporT", [])
    assert (content.fields["header"]["ppt"], content.fields["claims"]["attest"]) == ("shaken", "A")
    assert content.fields["signed"] == "2023-11-14T22:13:20Z"
    assert content.fields["signature"] == "64 octets"
    assert any("not verified" in remark and "shakenctl explain" in remark for remark in content.remarks)


@pytest.mark.parametrize(
    "text",
    [
        identity(),
        f"Identity: {identity()}",
        f"identity :\r\n {identity()}\r\n",
        f"y: {identity()}",
        f"INVITE sip:1@example.net SIP/2.0\r\nVia: x\r\nIdentity: {identity()}\r\nTo: <sip:1@example.net>\r\n\r\nv=0\r\n",
    ],
)
def test_identity_header_is_found_wherever_it_stands(text: str) -> None:
    content = the_one(text)
    assert (content.kind, content.findings) == ("Identity header", [])
    assert content.fields["parameters"]["ppt"] == "shaken"
    assert content.fields["claims"]["orig"] == {"tn": "12155550121"}


def test_each_identity_header_is_shown() -> None:
    text = f"Identity: {identity()}, {identity()}\nIdentity: {identity()}\n"
    assert [each.kind for each in inspect(text.encode(), NOBODY)] == ["Identity header"] * 3
    assert len(inspect((GENERATED / "01_identity_variants.txt").read_bytes(), NOBODY)) == 9


def test_compact_form_has_a_signature_alone() -> None:
    content = the_one((GENERATED / "73_base_compact.hdr").read_bytes())
    assert (content.findings, list(content.fields)) == ([], ["parameters", "signature"])


def test_parameters_that_differ_from_the_header_are_findings() -> None:
    content = the_one(identity(parameters=";info=<https://other.example.test/x>;alg=ES256;ppt=div"))
    assert [finding.clause for finding in content.findings] == ["RFC 8224 4.1"] * 2


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("11_iat_string", "claim_malformed"),
        ("18_attest_D", "attest_invalid"),
        ("21_missing_dest", "claim_missing"),
        ("31_header_missing_typ", "jose_header_incomplete"),
        ("34_typ_JWT", "typ_unsupported"),
        ("35_alg_none", "alg_unsupported"),
        ("45_std_base64_alphabet", "passport_malformed"),
        ("47_truncated", "passport_malformed"),
        ("48_four_parts", "passport_malformed"),
        ("49_dup_claim", "passport_malformed"),
    ],
)
def test_form_that_is_wrong_has_its_token(name: str, token: str) -> None:
    assert token in tokens(the_one((GENERATED / f"{name}.jwt").read_bytes()))


def test_signature_of_another_length_is_a_finding() -> None:
    content = the_one((GENERATED / "42_der_signature.jwt").read_bytes())
    assert [finding.clause for finding in content.findings] == ["RFC 7518 3.4"]


def test_identity_that_breaks_its_grammar_is_shown_as_far_as_it_goes() -> None:
    content = the_one(f"Identity: {passport()};info=x")
    assert tokens(content) == ["info_malformed"]
    assert content.fields["claims"]["attest"] == "A"


# --- Everything else ----------------------------------------------------------------------------------------------


def test_tnauthlist_is_known_in_base64() -> None:
    content = the_one("MAigBhYEMTIzNA==\n")
    assert (content.kind, content.fields) == ("TNAuthList", {"entries": ["SPC 1234"]})


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n",
        b"hello, world",
        b"{}",
        b"[]",
        b'{"a":1,"a":2}',
        b"{" * 9000,
        b"-----BEGIN PGP MESSAGE-----\nx\n-----END PGP MESSAGE-----\n",
        b"0\x82\x00\x00\xff",
        b"x" * (MAX_OCTETS + 1),
        provider().chain_pem.ljust(MAX_OCTETS + 1, b"\n"),
    ],
    ids=range(11),
)
def test_what_is_none_of_these_is_unknown(octets: bytes) -> None:
    with refused("file_unknown"):
        inspect(octets, NOBODY)


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        ("key", "key_malformed"),
        ("public-key", "key_malformed"),
        ("csr", "request_malformed"),
        ("certificate", "credential_malformed"),
        ("crl", "crl_malformed"),
        ("ca-list", "trust_list_malformed"),
        ("spc-token", "spc_token_malformed"),
        ("tnauthlist", "tnauthlist_malformed"),
    ],
)
def test_kind_that_is_named_says_why_it_is_none(kind: str, token: str) -> None:
    with refused(token):
        inspect(b"hello, world", NOBODY, kind)


def test_passport_that_is_none_is_all_findings() -> None:
    assert set(tokens(the_one(b"hello, world", kind="passport"))) == {"passport_malformed"}


def _values(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _values(each)


SAMPLES = [
    key_pem(),
    csr(crl=CrlPoint("https://pa.example.test/crl", "CN=STI-PA CRL,C=US")),
    provider().chain_pem,
    provider().certificate.public_bytes(Encoding.DER),
    hierarchy().root.certificate.public_bytes(Encoding.DER),
    hierarchy().policy_signer.certificate.public_bytes(Encoding.DER),
    hierarchy().crl([provider().certificate]),
    x509.load_pem_x509_crl(hierarchy().crl([provider().certificate])).public_bytes(Encoding.DER),
    certificate_request(KEY, organization="X", country="US", authority=TNAuthList(("1234",))).public_bytes(Encoding.DER),
    hierarchy().trust_list().encode(),
    spc_token().encode(),
    identity().encode(),
    b"MAigBhYEMTIzNA==",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    octets = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        match draw(st.sampled_from(["insert", "flip", "cut", "delete"])):
            case "insert":
                octets[at:at] = draw(st.binary(max_size=5))
            case "flip" if at < len(octets):
                octets[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del octets[at:]
            case "delete":
                del octets[at : at + 3]
    return bytes(octets)


@given(
    st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | damaged(),
    st.sampled_from(["auto", *KINDS]),
)
@example(b64encode(b"x" * 60), "auto")
def test_any_octets_are_recognized_or_have_a_token(octets: bytes, kind: str) -> None:
    try:
        found = inspect(octets, EVERYBODY, kind)
    except StirError as error:
        assert error.token in FAILURES  # noqa: PT017
        return
    assert found
    for content in found:
        # All of it can be said as JSON, and every token has its row
        json.dumps(content.fields)
        assert all(not finding.token or finding.token in FAILURES for finding in content.findings)
        assert not any(isinstance(value, bytes) for value in _values(content.fields))
