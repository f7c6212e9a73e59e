"""The laboratory's STI-PA: its API as others write it, its faults, and what verifiers make of its list and CRL."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.crl import check_revocation, read_crl
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.credentials.trust_list import TrustList, read_trust_list, signer_url
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_pa import FAULTS, PASSWORD, USER, Account, LabStiPa
from kamailio_app.lab.tls_server import TlsServer
from kamailio_app.lifecycle.spc_token import read_spc_token
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import parse
from kamailio_app.runtime.trust import Trust
from kamailio_app.runtime.trust_refresh import TrustRefresh

from ..builders import refused

FINGERPRINT = "SHA256 " + ":".join(["A5"] * 32)
ATC = {"tktype": "TNAuthList", "tkvalue": "MAigBhYEMTIzNA==", "ca": False, "fingerprint": FINGERPRINT}
LOGIN = "/api/v1/auth/login"
TOKEN = "/api/v1/account/1234/token"


class Heard(NamedTuple):
    status: int
    media_type: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


class Time:
    """The server's clock: today, and what a test adds."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def server(hierarchy: Hierarchy, clock: Time) -> Iterator[LabStiPa]:
    with LabStiPa(hierarchy, hierarchy.web_server(["localhost"]), clock=clock) as running:
        yield running


def ask(server: LabStiPa, method: str, path: str, body: object = None, **headers: str) -> Heard:
    """By the standard library: another client than ours."""
    context = ssl.create_default_context(cadata=server._hierarchy.root.pem.decode())
    connection = HTTPSConnection("localhost", server.port, context=context, timeout=10)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        answer = connection.getresponse()
        return Heard(answer.status, answer.headers.get_content_type(), answer.read())
    finally:
        connection.close()


def access(server: LabStiPa, user: str = USER, password: str = PASSWORD) -> str:
    answer = ask(server, "POST", LOGIN, {"userId": user, "password": password})
    assert answer.status == 200, answer
    return str(answer.json["accessToken"])


def trust_list(server: LabStiPa) -> TrustList:
    text = ask(server, "GET", "/api/v1/ca-list").body.decode()
    path = signer_url(text).removeprefix(server.url)
    anchors = TrustAnchors([server._hierarchy.policy_root.certificate])
    return read_trust_list(text, ask(server, "GET", path).body, anchors, server._clock())


def test_login_gives_another_access_token_each_time(server: LabStiPa) -> None:
    assert access(server) != access(server)


@pytest.mark.parametrize(
    "body",
    [
        {"userId": USER, "password": "wrong"},
        {"userId": "nobody", "password": PASSWORD},
        {"userId": USER, "password": ""},
    ],
)
def test_wrong_login_is_refused(server: LabStiPa, body: dict[str, str]) -> None:
    answer = ask(server, "POST", LOGIN, body)
    assert (answer.status, answer.json["status"], answer.json["errorCode"]) == (401, "failure", "1002")


@pytest.mark.parametrize("body", [None, {}, [], {"userId": 5, "password": PASSWORD}, {"userId": USER}])
def test_login_that_is_none_is_a_bad_request(server: LabStiPa, body: object) -> None:
    assert ask(server, "POST", LOGIN, body).status == 400


def test_token_needs_the_access_token_by_itself(server: LabStiPa) -> None:
    held = access(server)
    assert ask(server, "POST", TOKEN, {"atc": ATC}).status == 401
    assert ask(server, "POST", TOKEN, {"atc": ATC}, Authorization=f"Bearer {held}").status == 401
    answer = ask(server, "POST", f"{TOKEN}/", {"atc": ATC}, Authorization=held)
    assert (answer.status, answer.json["status"], answer.json["crl"]) == (200, "success", server.crl_url)


def test_access_token_expires(server: LabStiPa, clock: Time) -> None:
    held = access(server)
    clock.ahead = server.access_seconds - 5
    assert ask(server, "POST", TOKEN, {"atc": ATC}, Authorization=held).status == 200
    clock.ahead = server.access_seconds + 5
    assert ask(server, "POST", TOKEN, {"atc": ATC}, Authorization=held).json["errorCode"] == "1003"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"tktype": "TNAuthlist"}, 400),
        ({"tkvalue": "MAigBhYEMTIzNA"}, 200),
        ({"tkvalue": "MAigBhYEOTk5OQ=="}, 403),
        ({"tkvalue": "!"}, 400),
        ({"tkvalue": ""}, 400),
        ({"tkvalue": 5}, 400),
        ({"fingerprint": FINGERPRINT.lower()}, 400),
        ({"fingerprint": "A5"}, 400),
        ({"ca": "false"}, 400),
        ({"ca": 0}, 400),
        ({"ca": True}, 200),
    ],
)
def test_token_is_for_what_the_account_may_have(server: LabStiPa, changes: dict[str, object], status: int) -> None:
    answer = ask(server, "POST", TOKEN, {"atc": ATC | changes}, Authorization=access(server))
    assert answer.status == status, answer


def test_account_has_its_own_codes(server: LabStiPa) -> None:
    server.accounts["other"] = Account("word", frozenset({"9999"}))
    held = access(server, "other", "word")
    assert ask(server, "POST", TOKEN, {"atc": ATC}, Authorization=held).json["errorCode"] == "2001"
    atc = ATC | {"tkvalue": "MAigBhYEOTk5OQ=="}
    assert ask(server, "POST", "/api/v1/account/9999/token", {"atc": atc}, Authorization=held).status == 200


def test_token_authority_of_rfc_9448_gives_tokens_for_a_password(server: LabStiPa) -> None:
    def with_password(user: str, password: str, path: str = USER) -> Heard:
        basic = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        return ask(server, "POST", f"/at/account/{path}/token", ATC, Authorization=basic)

    answer = with_password(USER, PASSWORD)
    assert (answer.status, list(answer.json)) == (200, ["token"])
    anchors = TrustAnchors([server._hierarchy.policy_root.certificate])
    token = read_spc_token(answer.json["token"], server._hierarchy.policy_signer.pem, anchors, time.time())
    assert (token.authority, token.fingerprint) == (TNAuthList(spcs=("1234",)), FINGERPRINT)
    # RFC 9448 5.5
    assert with_password(USER, "wrong").status == 403
    assert with_password("nobody", PASSWORD, "nobody").status == 403
    assert with_password(USER, PASSWORD, "nobody").status == 403
    assert ask(server, "POST", f"/at/account/{USER}/token", ATC).status == 403


@pytest.mark.parametrize(
    ("accept", "media_type", "begins"),
    [
        ("", "application/json", b'{"status": "success", "caList": "'),
        ("application/jose+json", "application/jose+json", b'{"status": "success", "caList": "'),
        ("application/pem-certificate-chain, */*;q=0.5", "application/json", b'{"status": "success", "caList": "'),
        ("application/jose", "application/jose", b"eyJ"),
    ],
)
def test_list_comes_as_is_accepted(server: LabStiPa, accept: str, media_type: str, begins: bytes) -> None:
    answer = ask(server, "GET", "/api/v1/ca-list", Accept=accept)
    assert (answer.status, answer.media_type) == (200, media_type)
    assert answer.body.startswith(begins)


def test_list_names_the_cas_of_the_moment(server: LabStiPa, hierarchy: Hierarchy) -> None:
    other = Hierarchy(hierarchy.now, "Other").root.certificate
    first = trust_list(server)
    server.list_ca(other)
    second = trust_list(server)
    assert (len(first.anchors()), len(second.anchors()), second.sequence) == (1, 2, first.sequence + 1)
    server.unlist_ca(hierarchy.root.certificate)
    third = trust_list(server)
    assert third.anchors().certificates == (other,)
    assert third.sequence == second.sequence + 1
    with pytest.raises(ValueError, match="not in the list"):
        server.unlist_ca(hierarchy.root.certificate)


def test_crl_revokes_and_stays_fresh(server: LabStiPa, hierarchy: Hierarchy, clock: Time) -> None:
    roots = TrustAnchors([hierarchy.policy_root.certificate])

    def crl() -> Any:
        answer = ask(server, "GET", "/download/v1/crl")
        assert (answer.media_type, answer.body[:1]) == ("application/pkix-crl", b"\x30")
        return read_crl(answer.body, roots, clock(), signers=[hierarchy.policy_signer.certificate])

    one, other = hierarchy.service_provider(), hierarchy.service_provider()
    before = crl()
    assert crl() == before
    server.revoke(one.certificate)
    after = crl()
    assert after.number > before.number
    anchors = TrustAnchors([hierarchy.root.certificate])
    with refused("credential_revoked"):
        check_revocation(validate(one.chain_pem, anchors, time.time()), after, time.time(), hard=True)
    check_revocation(validate(other.chain_pem, anchors, time.time()), after, time.time(), hard=True)
    clock.ahead = 4 * 86400
    later = crl()
    assert (later.number > after.number, later.this_update > after.this_update) == (True, True)
    assert later.revoked == after.revoked


def test_servers_take_over_list_and_crl_as_they_fetch_them(server: LabStiPa, hierarchy: Hierarchy, tmp_path: Path) -> None:
    (tmp_path / "pa.pem").write_bytes(hierarchy.policy_root.pem)
    (tmp_path / "web.pem").write_bytes(hierarchy.root.pem)
    lines = [
        "[trust]",
        f'trust_list_url = "{server.list_url}"',
        f'crl_url = "{server.crl_url}"',
        'sti_pa_ca_file = "pa.pem"',
        "[x5u]",
        'x5u_tls_ca_file = "web.pem"',
        "relax_x5u_private_addresses = true",
    ]
    settings = parse(tmp_path / "stirshaken.toml", "\n".join(lines))

    async def refresh() -> TrustRefresh:
        fetcher = Fetcher(settings.fetch)
        keeper = TrustRefresh(settings.trust, None, fetcher, Trust(), lambda _told: None)
        assert await keeper.refresh_list()
        assert await keeper.refresh_crl()
        server.revoke(hierarchy.service_provider().certificate)
        assert await keeper.refresh_crl()
        await fetcher.close()
        return keeper

    keeper = asyncio.run(refresh())
    assert keeper.trust_list is not None
    assert keeper.revocations is not None
    assert (keeper.trust_list.sequence, len(keeper.revocations.revoked)) == (10, 1)


def test_certificate_of_the_signer_is_there_and_no_other(server: LabStiPa, hierarchy: Hierarchy) -> None:
    held = ask(server, "GET", "/download/v1/certificate/sti-pa.crt").body
    assert parse_chain(held)[0] == hierarchy.policy_signer.certificate
    assert ask(server, "GET", "/download/v1/certificate/other.crt").status == 404


def test_fault_is_done_where_it_is_told_and_as_often(server: LabStiPa) -> None:
    server.misbehave("500-once", at="/download")
    assert ask(server, "GET", "/api/v1/ca-list").status == 200
    assert ask(server, "GET", "/download/v1/crl").status == 500
    assert ask(server, "GET", "/download/v1/crl").status == 200
    server.misbehave("500")
    assert {ask(server, "GET", "/download/v1/crl").status for _ in range(3)} == {500}
    server.behave()
    assert ask(server, "GET", "/download/v1/crl").status == 200


def test_unknown_fault_is_an_error_of_the_test(server: LabStiPa) -> None:
    with pytest.raises(KeyError):
        server.misbehave("no-such-fault")


def test_every_fault_says_what_it_does() -> None:
    assert all(fault.words and not fault.words.endswith(".") and fault.times >= 0 for fault in FAULTS.values())


def test_asked_from_many_threads_it_answers_all(server: LabStiPa, hierarchy: Hierarchy) -> None:
    def one(_number: int) -> int:
        server.revoke(hierarchy.policy_root.certificate)
        return ask(server, "GET", "/download/v1/crl").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {200}
    assert server.asked == ["GET /download/v1/crl"] * 16


def test_no_secret_is_shown(server: LabStiPa) -> None:
    access(server)
    assert PASSWORD in server.secrets
    assert not [each for each in server.secrets if each in repr(server.accounts)]


def broken_off(server: LabStiPa) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end that TLS did not expect
        ask(server, "GET", "/api/v1/ca-list")


def test_nothing_is_left_when_it_ends(hierarchy: Hierarchy) -> None:
    before = threading.active_count()
    with LabStiPa(hierarchy, hierarchy.web_server(["localhost"])) as server:
        server.misbehave("slow")
        port = server.port
        waiting = threading.Thread(target=broken_off, args=(server,))
        waiting.start()
        while not server.asked:
            waiting.join(0.01)
    waiting.join()
    assert threading.active_count() == before
    with LabStiPa(hierarchy, hierarchy.web_server(["localhost"]), port=port):
        pass


def test_server_that_cannot_start_says_so(hierarchy: Hierarchy, tmp_path: Path) -> None:
    async def fail(_application: web.Application) -> None:
        raise RuntimeError("no database")

    application = web.Application()
    application.on_startup.append(fail)
    server = TlsServer(hierarchy.web_server(["localhost"]))
    with pytest.raises(RuntimeError, match="no database"):
        server.start(application)
    server.stop()


def test_server_that_was_never_started_can_be_stopped(hierarchy: Hierarchy) -> None:
    server = TlsServer(hierarchy.web_server(["localhost"]))
    assert not server.ends
    server.stop()
