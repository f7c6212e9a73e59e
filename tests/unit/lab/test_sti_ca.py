"""The laboratory's STI-CA against a client that does wrong what ours does right."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwa import HS256
from josepy.jwk import JWKEC

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lab.sti_ca import FAULTS, KEY_ID, MAC_KEY, LabStiCa
from kamailio_app.lab.sti_ca_jws import Refused, read_jws
from kamailio_app.lab.sti_ca_token import TokenRefused, check_token, read_token
from kamailio_app.lab.sti_pa import LabStiPa
from kamailio_app.lifecycle.acme_transport import signed
from kamailio_app.lifecycle.keys import fingerprint, new_key
from kamailio_app.lifecycle.request import certificate_request

AUTHORITY = TNAuthList(("1234",))
DER = tnauthlist.encode(AUTHORITY)


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


class Client:
    """Writes what a test wants, signed as it should be unless the test says otherwise."""

    def __init__(self, ca: LabStiCa, roots: Path, hierarchy: Hierarchy, pa: LabStiPa) -> None:
        self.ca, self.hierarchy, self.pa = ca, hierarchy, pa
        self.session = requests.Session()
        self.session.trust_env = False  # a bundle of the environment would go before
        self.session.verify = str(roots)
        self.key = new_key()
        self.kid = ""
        self.directory = self.session.get(ca.url).json()

    @property
    def jwk(self) -> dict[str, str]:
        members: dict[str, str] = JWKEC(key=self.key).public_key().to_partial_json() | {"kty": "EC"}
        return members

    def nonce(self) -> str:
        return self.session.head(self.directory["newNonce"]).headers["Replay-Nonce"]

    def post(self, url: str, payload: object = None, /, *, key: Any = None, **header: Any) -> requests.Response:
        """`header`: members that deviate; None: left out."""
        who = {"kid": self.kid} if self.kid else {"jwk": self.jwk}
        members = {"alg": "ES256", "url": url, **who, **header}
        if "nonce" not in members:
            members["nonce"] = self.nonce()
        protected = {name: value for name, value in members.items() if value is not None}
        body = signed(key or self.key, protected, b"" if payload is None else json.dumps(payload).encode())
        return self.send(url, json.dumps(body))

    def send(self, url: str, body: str, media_type: str = "application/jose+json") -> requests.Response:
        return self.session.post(url, data=body, headers={"Content-Type": media_type})

    def binding(self, **deviation: Any) -> dict[str, str]:
        """RFC 8555 7.3.4."""
        values = {
            "alg": "HS256",
            "kid": KEY_ID,
            "url": self.directory["newAccount"],
            "mac": MAC_KEY,
            "jwk": self.jwk,
            **deviation,
        }
        protected = b64(json.dumps({name: values[name] for name in ("alg", "kid", "url")}).encode())
        payload = b64(json.dumps(values["jwk"]).encode())
        mac = HS256.sign(urlsafe_b64decode(values["mac"]), f"{protected}.{payload}".encode())
        return {"protected": protected, "payload": payload, "signature": b64(mac)}

    def register(self) -> None:
        response = self.post(self.directory["newAccount"], {"externalAccountBinding": self.binding()})
        assert response.status_code == 201, response.text
        self.kid = response.headers["Location"]

    def order(self, value: str = b64(DER)) -> requests.Response:
        return self.post(self.directory["newOrder"], {"identifiers": [{"type": "TNAuthList", "value": value}]})

    def token(self, **deviation: Any) -> str:
        print_ = fingerprint(self.key.public_key(), "jwk")
        values = {"expires": time.time() + 60, "x5u": f"{self.pa.url}/download/v1/certificate/sti-pa.crt", **deviation}
        authority = values.pop("authority", AUTHORITY)
        return self.hierarchy.spc_token(authority, values.pop("fingerprint", print_), **values)

    def ready(self) -> dict[str, Any]:
        """An order that is."""
        self.register()
        response = self.order()
        authorization = self.post(response.json()["authorizations"][0]).json()
        assert self.post(authorization["challenges"][0]["url"], {"tkauth": self.token()}).json()["status"] == "valid"
        order = self.post(response.headers["Location"]).json()
        assert order["status"] == "ready"
        return dict(order)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabStiCa, Path, Hierarchy, LabStiPa]]:
    hierarchy = Hierarchy(time.time())
    tls = hierarchy.web_server(["localhost"])
    roots = tmp_path_factory.mktemp("sti-ca") / "root.pem"
    roots.write_bytes(hierarchy.root.pem)
    with ExitStack() as stack:
        pa = stack.enter_context(LabStiPa(hierarchy, tls))
        ca = LabStiCa(hierarchy, tls, hierarchy.policy_root.certificate, lambda name, _chain: f"https://cr.test/{name}.pem")
        yield stack.enter_context(ca), roots, hierarchy, pa


@pytest.fixture
def client(laboratory: tuple[LabStiCa, Path, Hierarchy, LabStiPa]) -> Iterator[Client]:
    made = Client(*laboratory)
    with made.session:
        yield made
    made.ca.behave()


def problem(response: requests.Response, kind: str) -> str:
    assert response.headers["Content-Type"].startswith("application/problem+json")
    members = response.json()
    assert members["type"] == f"urn:ietf:params:acme:error:{kind}", members
    assert members["status"] == response.status_code
    return str(members["detail"])


# --- Signed requests ------------------------------------------------------------------------------------------------


def test_directory_and_nonces(client: Client) -> None:
    assert client.directory["meta"] == {"externalAccountRequired": True}
    got = client.session.get(client.directory["newNonce"])
    assert (got.status_code, got.headers["Cache-Control"]) == (204, "no-store")
    assert len({client.nonce() for _ in range(10)} | {got.headers["Replay-Nonce"]}) == 11


def test_nonce_is_good_once(client: Client) -> None:
    client.register()
    nonce = client.nonce()
    assert client.post(client.kid, nonce=nonce).status_code == 200
    refused = client.post(client.kid, nonce=nonce)
    problem(refused, "badNonce")
    assert client.post(client.kid, nonce=refused.headers["Replay-Nonce"]).status_code == 200


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ({"nonce": "made-up"}, "badNonce"),
        ({"nonce": None}, "badNonce"),
        ({"nonce": 5}, "badNonce"),
        ({"url": "https://localhost/elsewhere"}, "unauthorized"),
        ({"alg": "none"}, "badSignatureAlgorithm"),
        ({"alg": "HS256"}, "badSignatureAlgorithm"),
        ({"crit": ["b64"]}, "malformed"),
        ({"kid": None}, "malformed"),
        ({"kid": "https://localhost/acme/account/999"}, "accountDoesNotExist"),
    ],
)
def test_header_that_is_wrong(client: Client, header: dict[str, Any], kind: str) -> None:
    client.register()
    problem(client.post(client.kid, **header), kind)


def test_jwk_and_kid_together_or_jwk_where_there_has_to_be_a_kid(client: Client) -> None:
    client.register()
    url = client.kid
    problem(client.post(url, jwk=client.jwk), "malformed")
    client.kid = ""
    problem(client.post(url), "malformed")


def test_signature_of_another_key(client: Client) -> None:
    client.register()
    assert "signature" in problem(client.post(client.kid, key=new_key()), "malformed")


@pytest.mark.parametrize("body", ["", "[]", "{", '{"protected": 5}', '{"protected": "e30", "payload": "", "signature": "!"}'])
def test_body_that_is_no_jws(client: Client, body: str) -> None:
    assert client.send(client.directory["newOrder"], body).status_code == 400


def test_media_type_and_method(client: Client) -> None:
    assert client.send(client.directory["newOrder"], "{}", "application/json").status_code == 415
    assert client.session.get(client.directory["newOrder"]).status_code == 405


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_a_jws_or_refused(octets: bytes) -> None:
    with pytest.raises(Refused):
        read_jws(octets)


# --- Accounts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deviation", "kind"),
    [
        ({"kid": "unknown"}, "unauthorized"),
        ({"mac": b64(b"another keys")}, "unauthorized"),
        ({"url": "https://localhost/"}, "malformed"),
        ({"alg": "HS512"}, "badSignatureAlgorithm"),
        ({"jwk": JWKEC(key=new_key()).public_key().to_partial_json() | {"kty": "EC"}}, "malformed"),
    ],
)
def test_binding_that_is_wrong(client: Client, deviation: dict[str, Any], kind: str) -> None:
    problem(client.post(client.directory["newAccount"], {"externalAccountBinding": client.binding(**deviation)}), kind)


def test_account_needs_a_binding_and_p256(client: Client) -> None:
    problem(client.post(client.directory["newAccount"], {}), "externalAccountRequired")
    key = ec.generate_private_key(ec.SECP384R1())
    jwk = JWKEC(key=key).public_key().to_partial_json() | {"kty": "EC"}
    problem(client.post(client.directory["newAccount"], {}, jwk=jwk), "badPublicKey")
    problem(
        client.post(client.directory["newAccount"], {}, jwk={"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "badPublicKey"
    )


def test_strangers_see_nothing(client: Client, laboratory: tuple[LabStiCa, Path, Hierarchy, LabStiPa]) -> None:
    client.register()
    response = client.order()
    other = Client(*laboratory)
    with other.session:
        other.register()
        for url in (response.headers["Location"], response.json()["authorizations"][0], response.json()["finalize"]):
            assert other.post(url, {}).status_code in (403, 404)
        problem(other.post(client.kid), "unauthorized")


# --- Orders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b64encode(DER).decode(), "malformed"),  # base64 where the dialect is base64url
        ("", "malformed"),
        ("!!!!", "malformed"),
        (b64(b"\x30\x03\x02\x01\x05"), "malformed"),
        (b64(tnauthlist.encode(TNAuthList(("1234", "5678")))), "rejectedIdentifier"),
        (b64(tnauthlist.encode(TNAuthList(numbers=("12155551212",)))), "rejectedIdentifier"),
    ],
)
def test_identifier_that_is_wrong(client: Client, value: str, kind: str) -> None:
    client.register()
    problem(client.order(value), kind)


def test_identifier_of_another_type(client: Client) -> None:
    client.register()
    payload = {"identifiers": [{"type": "dns", "value": "example.net"}]}
    problem(client.post(client.directory["newOrder"], payload), "unsupportedIdentifier")
    problem(client.post(client.directory["newOrder"], {"identifiers": []}), "malformed")


def test_order_is_not_finalized_before_it_is_ready(client: Client) -> None:
    client.register()
    problem(client.post(client.order().json()["finalize"], {"csr": ""}), "orderNotReady")


def test_challenge_answered_in_another_dialect_stays_pending(client: Client) -> None:
    client.register()
    challenge = client.post(client.order().json()["authorizations"][0]).json()["challenges"][0]
    assert (challenge["type"], challenge["tkauth-type"], challenge["status"]) == ("tkauth-01", "atc", "pending")
    problem(client.post(challenge["url"], {"atc": client.token()}), "malformed")
    assert client.post(challenge["url"]).json()["status"] == "pending"


# --- The nine steps of RFC 9448 6 -----------------------------------------------------------------------------------

EVIL = Hierarchy(time.time())


def stranger_signed(issued: Issued) -> Issued:
    """The certificate of one with the key of another."""
    return Issued(issued.certificate, EVIL.policy_signer.key)


TOKENS: list[tuple[int, dict[str, Any]]] = [
    (1, {"fingerprint": 5}),
    (1, {"ca": "no"}),
    (1, {"tktype": None}),
    (2, {"x5u": "http://localhost/pa.crt"}),
    (2, {"x5u": "https://localhost:1/pa.crt"}),
    (3, {"signer": EVIL.policy_signer, "bring_signer": True}),
    (5, {"tktype": "Other"}),
    (6, {"authority": TNAuthList(("9999",))}),
    (6, {"tkvalue": "!"}),
    (7, {"expires": time.time() - 1}),
    (7, {"jti": ""}),
    (8, {"fingerprint": f"SHA256 {':'.join(['00'] * 32)}"}),
]


@pytest.mark.parametrize(("step", "deviation"), TOKENS)
def test_token_fails_at_its_step(client: Client, step: int, deviation: dict[str, Any]) -> None:
    client.register()
    order = client.order()
    url = order.json()["authorizations"][0]
    challenge = client.post(url).json()["challenges"][0]
    answer = client.post(challenge["url"], {"tkauth": client.token(**deviation)}).json()
    assert answer["status"] == "invalid"
    assert f"step {step}:" in answer["error"]["detail"]
    assert client.post(url).json()["status"] == "invalid"
    assert client.post(order.headers["Location"]).json()["status"] == "invalid"


def test_token_of_a_provider_or_with_anothers_signature(client: Client) -> None:
    """Steps 2 and 4: what is fetched has to be the STI-PA's, and has to have signed."""
    now = time.time()
    token = read_token(client.token())
    policy = TrustAnchors([client.hierarchy.policy_root.certificate])
    known = {"der": DER, "fingerprint": token.atc["fingerprint"]}
    assert check_token(token, client.hierarchy.policy_signer.chain_pem, policy, now, **known) is False
    for step, octets, text in (
        (2, client.hierarchy.service_provider().chain_pem, client.token()),
        (2, b"", client.token()),
        (4, client.hierarchy.policy_signer.chain_pem, client.token(signer=stranger_signed(client.hierarchy.policy_signer))),
    ):
        with pytest.raises(TokenRefused) as caught:
            check_token(read_token(text), octets, policy, now, **known)
        assert caught.value.step == step


@pytest.mark.parametrize("text", [None, 5, "", "a.b", "a.b.c.d", "e30.e30.e30", "[].[].[]", "x" * 20000])
def test_what_is_no_token_fails_at_the_first_step(text: object) -> None:
    with pytest.raises(TokenRefused) as caught:
        read_token(text)
    assert caught.value.step in (1, 4)


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_is_a_token_or_refused(one: str, two: str) -> None:
    for text in (one, f"{one}.{two}.x", f"{b64(one.encode())}.{b64(two.encode())}.AAAA"):
        with pytest.raises(TokenRefused):
            read_token(text)


def test_token_that_brings_its_signer_is_good(client: Client) -> None:
    client.register()
    challenge = client.post(client.order().json()["authorizations"][0]).json()["challenges"][0]
    answer = client.post(challenge["url"], {"tkauth": client.token(bring_signer=True)}).json()
    assert answer["status"] == "valid"


# --- Certificate requests -------------------------------------------------------------------------------------------


def request(client: Client, **deviation: Any) -> bytes:
    values = {"organization": "Lab", "country": "US", "authority": AUTHORITY, **deviation}
    made = certificate_request(values.pop("key", None) or new_key(), **values)
    return made.public_bytes(Encoding.DER)


def other_request(*, ca: bool = False, curve: ec.EllipticCurve | None = None, organization: bool = True) -> bytes:
    names = [(NameOID.COUNTRY_NAME, "US"), (NameOID.COMMON_NAME, "SHAKEN 1234")]
    names += [(NameOID.ORGANIZATION_NAME, "Lab")] if organization else []
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in names]))
        .add_extension(x509.UnrecognizedExtension(tnauthlist.OID, DER), critical=False)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(ec.generate_private_key(curve or ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (lambda client: b"", "no certificate request"),
        (lambda client: request(client)[:-1] + b"\x00", "signature is wrong"),
        (lambda client: request(client, authority=TNAuthList(("9999",)), common_name="SHAKEN 1234"), "TNAuthList"),
        (lambda client: request(client, common_name="SHAKEN 9999"), "CN is not SHAKEN 1234"),
        (lambda client: request(client, key=client.key), "an account's"),
        (lambda client: other_request(ca=True), "CA or not"),  # step 9
        (lambda client: other_request(curve=ec.SECP384R1()), "P-256"),
        (lambda client: other_request(organization=False), "lacks C or O"),
    ],
)
def test_request_that_is_wrong_leaves_the_order_ready(client: Client, make: Any, detail: str) -> None:
    order = client.ready()
    assert detail in problem(client.post(order["finalize"], {"csr": b64(make(client))}), "badCSR")
    done = client.post(order["finalize"], {"csr": b64(request(client))}).json()
    assert done["status"] == "valid"
    pem = client.post(done["certificate"])
    assert pem.headers["Content-Type"] == "application/pem-certificate-chain"
    assert done["x5u"].startswith("https://cr.test/")
    assert x509.load_pem_x509_certificates(pem.content)[1] == client.hierarchy.intermediate.certificate


# --- Revocation -----------------------------------------------------------------------------------------------------


def test_revocation_is_for_the_owner(client: Client, laboratory: tuple[LabStiCa, Path, Hierarchy, LabStiPa]) -> None:
    order = client.ready()
    key = new_key()
    done = client.post(order["finalize"], {"csr": b64(request(client, key=key))}).json()
    certificate = x509.load_pem_x509_certificates(client.post(done["certificate"]).content)[0]
    payload: dict[str, object] = {"certificate": b64(certificate.public_bytes(Encoding.DER))}
    url = client.directory["revokeCert"]
    other = Client(*laboratory)
    with other.session:
        other.register()
        problem(other.post(url, payload), "unauthorized")
    problem(client.post(url, payload | {"reason": 7}), "badRevocationReason")
    problem(client.post(url, {"certificate": b64(b"x")}), "malformed")
    problem(client.post(url, {}), "malformed")
    # RFC 8555 7.6: the certificate's own key may, too
    jwk = JWKEC(key=key).public_key().to_partial_json() | {"kty": "EC"}
    assert client.post(url, payload, key=key, kid=None, jwk=jwk).status_code == 200
    problem(client.post(url, payload), "alreadyRevoked")


def test_faults_are_named_and_end(client: Client) -> None:
    with pytest.raises(KeyError):
        client.ca.misbehave("no-such-fault")
    client.ca.misbehave("500-once")
    answers = [client.post(client.directory["newAccount"], {}).status_code for _ in range(2)]
    assert answers == [500, 403]
    assert all(fault.words[0].islower() for fault in FAULTS.values())
