"""What carries ACME against a server that says anything: a value or one of our failures, and nothing of it on a terminal."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from acme import messages
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.errors import StirError
from kamailio_app.lifecycle.acme_profiles import PROFILES, Profile
from kamailio_app.lifecycle.acme_transport import (
    Members,
    Order,
    Patience,
    TkAuth01,
    Transport,
    problem,
    read,
    retry_after,
    signed,
    translated,
    words,
)
from kamailio_app.lifecycle.keys import new_key
from kamailio_app.passport.encoding import from_base64url
from kamailio_app.runtime.provider_options import ACME_PROFILES

from ..builders import refused

KEY = new_key()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
NAMES = (
    "status",
    "identifiers",
    "authorizations",
    "finalize",
    "certificate",
    "error",
    "expires",
    "x5u",
    "challenges",
    "identifier",
)


def answered(body: object, status: int = 200, headers: Mapping[str, str] = {}) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response.headers.update(headers)
    response.url = "https://ca.test/x"
    return response


# --- Reading --------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(NAMES), JSON) | JSON)
@pytest.mark.parametrize("kind", [Order, messages.Authorization])
def test_any_json_is_an_object_of_acme_or_refused(kind: type[Any], body: object) -> None:
    failed: StirError | None = None
    try:
        assert isinstance(read(kind, answered(body)), kind)
    except StirError as error:
        failed = error
    if failed is not None:
        assert failed.token == "acme_malformed"
        assert str(failed).isprintable()
        assert len(str(failed)) < 1000


@given(st.binary(max_size=100))
def test_any_octets_are_no_object(octets: bytes) -> None:
    with refused("acme_malformed"):
        read(Order, answered(b"\xff" + octets))


@given(JSON, st.integers(400, 599))
def test_any_refusal_is_one_of_ours_in_one_line(body: object, status: int) -> None:
    with pytest.raises(StirError) as caught, translated():
        Transport._check_response(answered(body, status))
    assert caught.value.token.startswith("acme_")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        ("malformed", "acme_refused"),
        ("rateLimited", "acme_rate_limited"),
        ("accountDoesNotExist", "acme_account_unknown"),
        ("externalAccountRequired", "acme_account_refused"),
        ("userActionRequired", "acme_terms"),
        ("somethingNew", "acme_refused"),
    ],
)
def test_problem_documents_become_ours_in_the_cas_words(kind: str, token: str) -> None:
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": "these\x1b[2J words"}
    with pytest.raises(StirError) as caught, translated():
        Transport._check_response(answered(body, 403))
    assert (caught.value.token, caught.value.detail) == (token, f"{kind}: these\\x1b[2J words")


def test_subproblems_are_told_and_bounded() -> None:
    inner = {"type": "urn:ietf:params:acme:error:badCSR", "detail": "d" * 5000}
    body = {"type": "urn:ietf:params:acme:error:compound", "detail": "several", "subproblems": [inner] * 100}
    text = problem(messages.Error.from_json(body))
    assert text.startswith("compound: several; badCSR: ddd")
    assert len(text) < 4000


def test_tokens_are_taken_out_of_words() -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl"
    assert words(f"token {token} is bad") == "token (a token) is bad"
    assert words("a\nb\x00") == "a\\x0ab\\x00"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("5", 5), ("-5", 0), ("soon", 0), ("9" * 400, 86400), ("0", 0), ("Mon, 01 Jan 1990 00:00:00 GMT", 0), ("²", 0)],
)
def test_retry_after_is_a_number_of_seconds_within_a_day(text: str, seconds: float) -> None:
    assert retry_after(answered({}, headers={"Retry-After": text})) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after(answered({}, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)})) == pytest.approx(
        60, abs=3
    )


def test_challenge_and_identifier_are_those_of_rfc_9447_and_9448() -> None:
    members = {
        "type": "tkauth-01",
        "tkauth-type": "atc",
        "token-authority": "https://pa.test",
        "url": "https://ca.test/c",
        "token": "x",
    }
    challenge = messages.ChallengeBody.from_json(members)
    assert isinstance(challenge.chall, TkAuth01)
    assert challenge.chall.tkauth_type == "atc"
    for name in ("TNAuthList", "TnAuthList", "tnauthlist"):
        assert messages.Identifier.from_json({"type": name, "value": "MAigBhYEMTIzNA"}).value == "MAigBhYEMTIzNA"


# --- Writing --------------------------------------------------------------------------------------------------------


def verified(jws: dict[str, str], text: str) -> None:
    signature = from_base64url(jws["signature"])
    der = encode_dss_signature(*(int.from_bytes(part, "big") for part in (signature[:32], signature[32:])))
    KEY.public_key().verify(der, text.encode(), ECDSA(SHA256()))


def test_signature_is_over_header_and_payload_or_where_the_ca_has_it_over_the_header() -> None:
    jws = signed(KEY, {"alg": "ES256"}, b"{}")
    verified(jws, f"{jws['protected']}.{jws['payload']}")
    bare = signed(KEY, {"alg": "ES256"}, b"", bare=True)
    verified(bare, bare["protected"])


class Session:
    """Answers in turn."""

    def __init__(self, *answers: Callable[[], requests.Response]) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, Any]] = []

    def request(self, method: str, url: str, *_: Any, **options: Any) -> requests.Response:
        self.sent.append((method, url, options.get("data")))
        if method == "HEAD":
            return self.with_body(answered(b"", headers={"Replay-Nonce": "AAAA"}))
        return self.with_body(self.answers.pop(0)())

    @staticmethod
    def with_body(response: requests.Response) -> requests.Response:
        pieces: Iterator[bytes] = iter([response.content, b""])
        response.raw = SimpleNamespace(read1=lambda _size: next(pieces), close=lambda: None)
        return response

    def close(self) -> None:
        """As a session has it."""


def transport(session: Session, profile: Profile = PROFILES["rfc9448"], key_id: str = "") -> tuple[Transport, list[float]]:
    waited: list[float] = []
    return Transport(KEY, profile, session, waited.append, key_id), waited  # type: ignore[arg-type]


def post(net: Transport, payload: Any = None) -> requests.Response:
    with translated():
        return net.post("https://ca.test/x", payload, new_nonce_url="https://ca.test/nonce")


def error(kind: str, status: int = 400, **headers: str) -> Callable[[], requests.Response]:
    return lambda: answered({"type": f"urn:ietf:params:acme:error:{kind}"}, status, {"Replay-Nonce": "BBBB", **headers})


def fine() -> requests.Response:
    return answered({}, headers={"Replay-Nonce": "CCCC"})


def test_bad_nonce_is_tried_again_and_not_for_ever() -> None:
    session = Session(error("badNonce"), error("badNonce"), fine)
    assert post(transport(session)[0]).status_code == 200
    assert [method for method, _, _ in session.sent] == ["HEAD", "POST"] * 3
    with refused("acme_refused"):
        post(transport(Session(*[error("badNonce")] * 3))[0])


def test_unserved_requests_are_tried_again_after_a_pause_and_not_where_the_ca_says_later() -> None:
    net, waited = transport(Session(error("serverInternal", 500), error("serverInternal", 503), fine))
    assert post(net).status_code == 200
    assert waited == [0.5, 2.0]
    with refused("acme_refused"):
        post(transport(Session(*[error("serverInternal", 500)] * 3))[0])
    net, waited = transport(Session(error("serverInternal", 503, **{"Retry-After": "3600"})))
    with refused("acme_refused"):
        post(net)
    assert (waited, net.retry_after) == ([], 3600)


def test_key_identifier_stands_where_the_profile_has_it() -> None:
    assert "kid" not in transport(Session(), key_id="kid-1")[0].jwk
    assert transport(Session(), PROFILES["peeringhub"], "kid-1")[0].jwk["kid"] == "kid-1"
    session = Session(fine, fine)
    net, _ = transport(session, PROFILES["peeringhub"], "kid-1")
    post(net)
    jws = json.loads(session.sent[1][2])
    verified(jws, jws["protected"])
    assert json.loads(from_base64url(jws["protected"]))["jwk"]["kid"] == "kid-1"
    net.account = messages.RegistrationResource(uri="https://ca.test/account/1", body=messages.Registration())
    post(net, Members(a=1))
    jws = json.loads(session.sent[2][2])
    verified(jws, f"{jws['protected']}.{jws['payload']}")
    header = json.loads(from_base64url(jws["protected"]))
    assert (header["kid"], header["url"], "jwk" in header) == ("https://ca.test/account/1", "https://ca.test/x", False)


@pytest.mark.parametrize("url", ["http://ca.test/", "file:///etc/passwd", "", 5, None])
def test_nothing_goes_where_there_is_no_tls(url: Any) -> None:
    session = Session()
    with refused("acme_malformed"), translated():
        transport(session)[0].get(url)
    assert session.sent == []


def test_patience_ends() -> None:
    waited: list[float] = []
    patience = Patience(10, waited.append, lambda: sum(waited))
    for _ in range(3):
        patience.pause(3, "what")
    with pytest.raises(StirError) as caught:
        patience.pause(3, "the CA sleeps")
    assert (caught.value.token, caught.value.detail) == ("acme_timeout", "the CA sleeps")


# --- Profiles -------------------------------------------------------------------------------------------------------


def test_profiles_are_those_of_the_settings_and_say_where_they_are_from() -> None:
    assert tuple(PROFILES) == ACME_PROFILES
    assert all(profile.sources for profile in PROFILES.values())
    # Two deployed clients send atc (standards AC-4)
    assert {name for name, profile in PROFILES.items() if profile.response == "atc"} == set(ACME_PROFILES) - {"rfc9448"}


@given(st.binary(max_size=40))
def test_identifier_is_written_in_either_base64(der: bytes) -> None:
    assert PROFILES["rfc9448"].write_identifier(der) == base64.urlsafe_b64encode(der).decode().rstrip("=")
    assert PROFILES["martini"].write_identifier(der) == base64.b64encode(der).decode()
