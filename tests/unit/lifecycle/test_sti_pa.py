"""The STI-PA's client against the laboratory's STI-PA: every call, every fault, and no secret in what is said."""

from __future__ import annotations

import json
import logging
import time
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kamailio_app.credentials import tnauthlist, trust_list
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.errors import StirError
from kamailio_app.lab.sti_pa import FAULTS, PASSWORD, USER, Account, LabStiPa
from kamailio_app.lifecycle import sti_pa as module
from kamailio_app.lifecycle.https import Answer, ask
from kamailio_app.lifecycle.keys import fingerprint, new_key
from kamailio_app.lifecycle.request import CrlPoint, certificate_request
from kamailio_app.lifecycle.sti_pa import PASSWORD_VARIABLE, StiPa, sti_pa_of, sti_pa_roots
from kamailio_app.passport.encoding import json_object
from kamailio_app.runtime.settings import parse

from ..builders import refused
from .sti_pa import FINGERPRINT, Office, lab, server

SPC = TNAuthList(spcs=("1234",))
LOGIN = "POST /api/v1/auth/login"
TOKEN = "POST /api/v1/account/1234/token"
LIST = "GET /api/v1/ca-list"
CRL = "GET /download/v1/crl"
SIGNER = "GET /download/v1/certificate/sti-pa.crt"


@pytest.fixture(scope="module")
def _server() -> Iterator[LabStiPa]:
    with server() as running:
        yield running


@pytest.fixture
def office(_server: LabStiPa, tmp_path: Path) -> Office:
    _server.behave()
    _server.asked.clear()
    return Office(_server, tmp_path)


@pytest.fixture
def client(office: Office) -> Iterator[StiPa]:
    with office.client() as client:
        yield client


def ask_token(client: StiPa) -> module.IssuedToken:
    return client.token("1234", SPC, FINGERPRINT, now=time.time())


def ask_list(client: StiPa) -> trust_list.TrustList:
    text = client.ca_list()
    return read_trust_list(text, client.certificate(trust_list.signer_url(text)), client.anchors, time.time())


ACTIONS: dict[str, Callable[[StiPa], object]] = {
    "login": lambda client: client.login(),
    "token": ask_token,
    "list": ask_list,
    "crl": lambda client: read_crl(client.crl(), client.anchors, time.time(), signers=[lab().policy_signer.certificate]),
}


# --- What it does ---------------------------------------------------------------------------------------------------


def test_login_says_what_the_sti_pa_says(client: StiPa, office: Office) -> None:
    assert client.login() == ("success", "Logged in successfully")
    assert office.server.asked == [LOGIN]


def test_token_is_for_what_was_asked_and_verified(client: StiPa, office: Office) -> None:
    key = new_key()
    for form in ("jwk", "spki"):
        mark = fingerprint(key.public_key(), form)
        issued = client.token("1234", SPC, mark, now=time.time())
        token = issued.token
        assert (token.authority, token.fingerprint, token.ca) == (SPC, mark, False)
        assert 3500 < token.expires - time.time() <= 3600
        assert token.x5u == f"{office.server.url}/download/v1/certificate/sti-pa.crt"
    # One login for both
    assert office.server.asked == [LOGIN, TOKEN, SIGNER, TOKEN, SIGNER]


def test_answer_names_the_crl_as_the_request_needs_it(client: StiPa, office: Office) -> None:
    issued = ask_token(client)
    assert issued.issuer == "L=Bridgewater, ST=NJ, CN=STI-PA CRL, C=US, O=STI-PA"
    assert issued.crl == CrlPoint(office.server.crl_url, issued.issuer)
    request = certificate_request(new_key(), organization="Lab", country="US", authority=SPC, crl=issued.crl)
    (point,) = next(each.value for each in request.extensions if each.oid.dotted_string == "2.5.29.31")
    assert point.crl_issuer[0].value == lab().policy_signer.certificate.subject


def test_token_for_a_ca_says_so(client: StiPa) -> None:
    assert client.token("1234", SPC, FINGERPRINT, ca=True, now=time.time()).token.ca is True


@pytest.mark.parametrize(
    ("form", "tkvalue"),
    [
        ("base64", b64encode(tnauthlist.encode(SPC)).decode()),
        ("base64url", urlsafe_b64encode(tnauthlist.encode(SPC)).decode().rstrip("=")),
    ],
)
def test_tkvalue_is_written_as_the_settings_say(office: Office, form: str, tkvalue: str) -> None:
    with office.client(tkvalue=form) as client:
        assert ask_token(client).token.tkvalue == tkvalue


def test_list_and_crl_are_those_that_verification_uses(client: StiPa, office: Office) -> None:
    assert ask_list(client).anchors().fingerprints == TrustAnchors([lab().root.certificate]).fingerprints
    # Both are public: no login
    assert office.server.asked == [LIST, SIGNER]
    assert read_crl(client.crl(), client.anchors, time.time(), signers=[lab().policy_signer.certificate]).number >= 10


def test_list_for_which_a_login_is_needed_gets_one(client: StiPa, office: Office) -> None:
    office.server.misbehave("list-needs-login")
    ask_list(client)
    assert office.server.asked == [LIST, LOGIN, LIST, SIGNER]


def test_expired_login_is_renewed_once(client: StiPa, office: Office) -> None:
    client.login()
    office.server.misbehave("401-once")
    ask_token(client)
    assert office.server.asked == [LOGIN, TOKEN, LOGIN, TOKEN, SIGNER]
    office.server.asked.clear()
    office.server.misbehave("401")
    with refused("sti_pa_refused"):
        ask_token(client)
    assert office.server.asked == [TOKEN, LOGIN, TOKEN]


def test_access_token_that_ran_out_of_time_is_renewed(client: StiPa, office: Office) -> None:
    office.server.access_seconds = -1
    client.login()
    office.server.access_seconds = 3600
    assert ask_token(client).token.authority == SPC


def test_close_forgets_the_access_token(client: StiPa, office: Office) -> None:
    client.login()
    client.close()
    ask_token(client)
    assert office.server.asked == [LOGIN, LOGIN, TOKEN, SIGNER]


# --- What it refuses ------------------------------------------------------------------------------------------------

FAULTY = [
    *(("500", name, "sti_pa_unreachable") for name in ACTIONS),
    ("500-once", "login", "sti_pa_unreachable"),
    *(("reset", name, "sti_pa_unreachable") for name in ACTIONS),
    ("reset-once", "login", "sti_pa_unreachable"),
    *(("slow", name, "sti_pa_unreachable") for name in ACTIONS),
    *(("drip", name, "sti_pa_unreachable") for name in ACTIONS),
    *(("endless", name, "sti_pa_unreachable") for name in ("login", "token", "list")),
    *(("redirect", name, "sti_pa_unreachable") for name in ACTIONS),
    *(("not-json", name, "sti_pa_malformed") for name in ("login", "token")),
    ("not-json", "list", "trust_list_malformed"),
    ("not-json", "crl", "crl_malformed"),
    *(("json-name-twice", name, "sti_pa_malformed") for name in ("login", "token", "list")),
    *(("json-nested", name, "sti_pa_malformed") for name in ("login", "token")),
    ("json-nested", "list", "trust_list_malformed"),
    *(("compressed", name, "sti_pa_unreachable") for name in ACTIONS),
    ("login-refused", "login", "sti_pa_refused"),
    ("login-refused", "token", "sti_pa_refused"),
    *((name, "login", "sti_pa_malformed") for name in ("login-without-token", "login-number", "login-header")),
    ("401", "token", "sti_pa_refused"),
    ("token-refused", "token", "sti_pa_refused"),
    ("token-absent", "token", "sti_pa_malformed"),
    ("token-malformed", "token", "spc_token_malformed"),
    ("token-expired", "token", "spc_token_expired"),
    *((name, "token", "spc_token_mismatch") for name in ("token-wrong-fingerprint", "token-wrong-spc", "token-ca")),
    ("token-bad-signature", "token", "spc_token_signature"),
    ("token-unknown-signer", "token", "spc_token_untrusted"),
    ("token-signer-missing", "token", "sti_pa_unreachable"),
    ("token-signer-http", "token", "spc_token_malformed"),
    ("list-expired", "list", "trust_list_expired"),
    ("list-bad-signature", "list", "trust_list_signature"),
    ("list-unknown-signer", "list", "trust_list_untrusted"),
    ("crl-stale", "crl", "crl_stale"),
    ("crl-bad-signature", "crl", "crl_untrusted"),
    ("crl-unknown-signer", "crl", "crl_untrusted"),
]
# Looked at above, or in the tests of the files (rollback)
ELSEWHERE = {"503-twice", "401-once", "echo", "list-needs-login", "list-rollback", "crl-rollback"}


def test_every_fault_is_looked_at() -> None:
    assert {name for name, _action, _token in FAULTY} | ELSEWHERE == FAULTS.keys()


@pytest.mark.parametrize(("fault", "action", "token"), FAULTY)
def test_fault_ends_in_a_token_of_ours_and_no_secret_is_said(
    office: Office, fault: str, action: str, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    office.server.misbehave(fault, "echo")
    with office.client(seconds=0.5 if fault in ("slow", "drip") else 20) as client, pytest.raises(StirError) as caught:
        ACTIONS[action](client)
    assert caught.value.token == token, caught.value
    said = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value) + repr(client)
    assert not [each for each in office.server.secrets if each in said]


@pytest.mark.parametrize(
    ("fault", "words"), [("token-refused", "2005: No token for 1234"), ("401", "1003: Access token is unknown")]
)
def test_words_of_the_sti_pa_are_shown_without_the_secrets_in_them(
    office: Office, client: StiPa, fault: str, words: str
) -> None:
    office.server.misbehave(fault, "echo")
    with pytest.raises(StirError) as caught:
        ask_token(client)
    assert f"status failure, errorCode {words}" in caught.value.detail
    assert caught.value.detail.endswith(": (secret)")


def test_wrong_password_is_refused_in_the_words_of_the_sti_pa(office: Office) -> None:
    office.server.misbehave("echo")
    with office.client(password="open sesame") as client, pytest.raises(StirError) as caught:
        client.login()
    assert str(caught.value) == (
        "sti_pa_refused: HTTP 401, status failure, errorCode 1002: Unknown user or wrong password: (secret)"
    )


def test_code_of_another_account_is_refused(office: Office, client: StiPa) -> None:
    office.server.accounts["other"] = Account("other-password", frozenset({"9999"}))
    with pytest.raises(StirError, match="The account has no SPC 9999"):
        client.token("9999", TNAuthList(spcs=("9999",)), FINGERPRINT, now=time.time())
    with pytest.raises(StirError, match="tkvalue holds what is not this account's"):
        client.token("1234", TNAuthList(spcs=("9999",)), FINGERPRINT, now=time.time())
    with office.client(user="other", password="other-password") as other:
        issued = other.token("9999", TNAuthList(spcs=("9999",)), FINGERPRINT, now=time.time())
    assert issued.token.authority.spcs == ("9999",)
    del office.server.accounts["other"]


def test_post_is_not_repeated_where_it_may_have_been_done(office: Office, client: StiPa) -> None:
    client.login()
    office.server.misbehave("500-once", at="/api/v1/account")
    with refused("sti_pa_unreachable"):
        ask_token(client)
    assert office.server.asked == [LOGIN, TOKEN]


def test_access_token_goes_to_the_api_alone(office: Office, client: StiPa, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bool]] = []

    def watched(through: Any, method: str, url: str, **options: Any) -> Answer:
        sent.append((url.removeprefix(office.server.url), "Authorization" in (options.get("headers") or {})))
        return ask(through, method, url, **options)

    monkeypatch.setattr(module, "ask", watched)
    ask_token(client)
    client.crl()
    assert sent == [
        ("/api/v1/auth/login", False),
        ("/api/v1/account/1234/token", True),
        ("/download/v1/certificate/sti-pa.crt", False),
        ("/download/v1/crl", False),
    ]


@pytest.mark.parametrize("url", ["http://localhost/a.crt", "file:///etc/passwd", "", "HTTPS-no-url"])
def test_certificates_come_by_https_alone(client: StiPa, office: Office, url: str) -> None:
    with refused("sti_pa_unreachable"):
        client.certificate(url)
    assert office.server.asked == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"url": ""}, "[sti_pa] sti_pa_url"),
        ({"user": ""}, "[sti_pa] sti_pa_user"),
        ({"password": ""}, "the password"),
    ],
)
def test_what_the_settings_lack_is_named(office: Office, changes: dict[str, Any], missing: str) -> None:
    with office.client(**changes) as client, pytest.raises(StirError) as caught:
        client.login()
    assert (caught.value.token, caught.value.detail) == ("sti_pa_unset", missing)
    assert office.server.asked == []


@pytest.mark.parametrize("spc", ["", "12/34", "1234?", "..", "12 34", "é"])
def test_code_that_is_none_gets_into_no_path(office: Office, client: StiPa, spc: str) -> None:
    with refused("sti_pa_unset"):
        client.token(spc, SPC, FINGERPRINT, now=time.time())
    assert office.server.asked == []


def test_tls_certificate_that_is_not_trusted_ends_it(office: Office) -> None:
    with office.client(tls_ca_file=None) as client, pytest.raises(StirError) as caught:
        client.login()
    assert caught.value.token == "sti_pa_unreachable"
    assert "its TLS certificate" in caught.value.detail
    assert office.server.asked == []


# --- Hostile answers ------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(("status", "errorCode", "message", "accessToken", "refreshToken", "token", "crl", "iss", "caList")),
    st.sampled_from(("success", "Success", "failure", "a.b.c", "https://localhost/x", "\r\n\x1b[2J", "x" * 5000)) | JSON,
)


def _stubborn(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> StiPa:
    """A client whose every request gets this answer."""
    monkeypatch.setattr(module, "ask", lambda *_arguments, **_options: answer)
    rules = parse(Path("/etc/stirshaken.toml"), "").provider.sti_pa
    return StiPa(replace(rules, url="https://localhost", user=USER), PASSWORD, TrustAnchors([lab().policy_root.certificate]))


@hypothesis_settings(deadline=None)
@given(
    st.sampled_from((200, 201, 204, 302, 401, 403, 500)),
    st.binary(max_size=200) | MEMBERS.map(lambda members: json.dumps(members).encode()),
    st.sampled_from(("login", "token", "list", "crl")),
)
def test_any_answer_ends_in_a_value_or_one_of_our_errors(status: int, body: bytes, action: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        said = ""
        with _stubborn(Answer(status, "application/json", body), monkeypatch) as client:
            try:
                ACTIONS[action](client)
            except StirError as error:
                said = str(error)
        assert said.isprintable()
        assert said.isascii()


@pytest.mark.parametrize(
    "answer",
    [
        '{"status": "success", "token": 5}',
        '{"status": "success", "token": ""}',
        '{"status": "success", "token": ["a"]}',
        '{"status": "success", "token": "a b.c.d"}',
        "[]",
        "null",
        "",
    ],
)
def test_answer_of_the_wrong_shape_is_malformed(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = _stubborn(Answer(200, "application/json", answer.encode()), monkeypatch)
    client._access = "held"
    with refused("sti_pa_malformed"):
        ask_token(client)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (200, '{"status": "failure", "message": "no"}', "HTTP 200, status failure: no"),
        (200, '{"errorCode": 7}', "HTTP 200, errorCode 7: no message"),
        (200, '{"status": "success\\r\\n", "message": "\\u001b[2J"}', "HTTP 200, status success\\x0d\\x0a: \\x1b[2J"),
        (200, '{"status": true}', "HTTP 200: no message"),
        (403, "<html>", "HTTP 403, and no words of the STI-PA"),
        (400, '{"status": "success"}', "HTTP 400, status success: no message"),
    ],
)
def test_refusals_are_shown_printable(status: int, answer: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StirError) as caught:
        _stubborn(Answer(status, "text/html", answer.encode()), monkeypatch).login()
    assert (caught.value.token, caught.value.detail) == ("sti_pa_refused", words)


@pytest.mark.parametrize(("answer", "words"), [("<html>", ""), ("[]", ""), ('{"message": "down\\r\\n"}', ", down\\x0d\\x0a")])
def test_trouble_of_its_own_is_no_refusal(answer: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StirError) as caught:
        _stubborn(Answer(503, "text/html", answer.encode()), monkeypatch).login()
    assert (caught.value.token, caught.value.detail.partition(": ")[2]) == ("sti_pa_unreachable", f"HTTP 503{words}")
    assert "try again later" in caught.value.advice


@pytest.mark.parametrize("members", ['"crl": 5', '"crl": "ftp://x"', '"crl": "https://x y"', '"crl": "https://x", "iss": 5'])
def test_place_of_the_crl_is_checked_where_it_is_given(members: str, office: Office, client: StiPa) -> None:
    with refused("sti_pa_malformed"):
        client._crl_point(json_object(f"{{{members}}}".encode()))
    assert client._crl_point({}) is None
    assert client._crl_point({"crl": "https://x/crl"}) == CrlPoint("https://x/crl", "")


def test_list_that_is_not_utf8_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("sti_pa_malformed"):
        _stubborn(Answer(200, "", b"\xff"), monkeypatch).ca_list()


def test_list_by_itself_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lab().trust_list()
    assert _stubborn(Answer(200, "application/jose", text.encode()), monkeypatch).ca_list() == text


# --- From the settings ----------------------------------------------------------------------------------------------


def settings(office: Office, *lines: str, roots: str = "pa.pem") -> Any:
    (office.directory / "pa.pem").write_bytes(lab().policy_root.pem)
    head = [
        "[trust]",
        f'sti_pa_ca_file = "{roots}"',
        "[sti_pa]",
        f'sti_pa_url = "{office.server.url}/"',
        f'sti_pa_user = "{USER}"',
        f'sti_pa_tls_ca_file = "{office.roots.name}"',
    ]
    return parse(office.directory / "stirshaken.toml", "\n".join([*head, *lines]))


def test_account_of_the_settings(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    with sti_pa_of(settings(office)) as client:
        assert client.login().status == "success"
    password = office.directory / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with sti_pa_of(settings(office, 'sti_pa_password_file = "password"')) as client:
        assert client.login().status == "success"


def test_password_is_needed_unless_anonymous_will_do(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with refused("secret_missing"):
        sti_pa_of(settings(office))
    with sti_pa_of(settings(office), anonymous=True) as client:
        ask_list(client)
        office.server.misbehave("list-needs-login")
        with refused("sti_pa_unset"):
            client.ca_list()
    password = office.directory / "password"
    password.write_text("word")
    password.chmod(0o644)
    with refused("secret_permissions"):
        sti_pa_of(settings(office, 'sti_pa_password_file = "password"'), anonymous=True)


def test_sti_pa_that_the_settings_do_not_name_is_unset() -> None:
    with refused("sti_pa_unset"):
        sti_pa_of(parse(Path("/etc/stirshaken.toml"), ""))


@pytest.mark.parametrize("octets", [None, b"no certificate"])
def test_roots_of_the_sti_pa_have_to_be_there(tmp_path: Path, octets: bytes | None) -> None:
    path = tmp_path / "pa.pem"
    if octets is not None:
        path.write_bytes(octets)
    with refused("sti_pa_unset"):
        sti_pa_roots(path)
    with refused("sti_pa_unset"):
        sti_pa_roots(None)
