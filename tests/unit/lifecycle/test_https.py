"""HTTPS with bounds: what is tried again and what never, what is too much, and what is said when nothing comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import Answer as Served
from kamailio_app.lab.repository import Repository
from kamailio_app.lab.sti_pa import LabStiPa
from kamailio_app.lifecycle import https
from kamailio_app.lifecycle.https import Answer, Unanswered, ask, session

from ..builders import refused

LIST = "/api/v1/ca-list"
LOGIN = "/api/v1/auth/login"


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture(scope="module")
def _server(hierarchy: Hierarchy) -> Iterator[LabStiPa]:
    with LabStiPa(hierarchy, hierarchy.web_server(["localhost"])) as server:
        yield server


@pytest.fixture
def server(_server: LabStiPa) -> LabStiPa:
    _server.behave()
    _server.asked.clear()
    return _server


@pytest.fixture
def roots(hierarchy: Hierarchy, tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    path.write_bytes(hierarchy.root.pem)
    return path


@pytest.fixture
def through(roots: Path) -> Iterator[requests.Session]:
    with session(roots) as through:
        yield through


def get(through: requests.Session, url: str, limit: int = 100_000, seconds: float = 20) -> Answer:
    return ask(through, "GET", url, limit=limit, seconds=seconds)


def post(through: requests.Session, url: str, seconds: float = 20) -> Answer:
    return ask(through, "POST", url, json={}, limit=100_000, seconds=seconds)


def unanswered(through: requests.Session, url: str, limit: int = 100_000, seconds: float = 20) -> str:
    with pytest.raises(Unanswered) as caught:
        get(through, url, limit, seconds)
    return str(caught.value)


def test_answer_has_status_type_and_octets(server: LabStiPa, through: requests.Session) -> None:
    answer = get(through, server.list_url)
    assert (answer.status, answer.media_type) == (200, "application/json")
    assert answer.body.startswith(b'{"status": "success"')
    assert get(through, f"{server.url}/nothing").status == 404


@pytest.mark.parametrize("fault", ["500-once", "503-twice", "reset-once"])
def test_get_is_tried_again(server: LabStiPa, through: requests.Session, fault: str) -> None:
    server.misbehave(fault)
    assert get(through, server.list_url).status == 200
    assert server.asked == [f"GET {LIST}"] * (3 if fault == "503-twice" else 2)


def test_get_is_tried_three_times_and_no_more(server: LabStiPa, through: requests.Session) -> None:
    server.misbehave("500")
    assert get(through, server.list_url).status == 500
    assert server.asked == [f"GET {LIST}"] * 3
    server.behave()
    server.misbehave("reset")
    unanswered(through, server.list_url)
    assert server.asked == [f"GET {LIST}"] * 6


def test_post_that_was_sent_is_never_sent_again(server: LabStiPa, through: requests.Session) -> None:
    server.misbehave("500-once")
    assert post(through, server.url + LOGIN).status == 500
    server.misbehave("reset-once")
    with pytest.raises(Unanswered):
        post(through, server.url + LOGIN)
    assert server.asked == [f"POST {LOGIN}"] * 2


def test_post_is_tried_again_where_no_connection_came_about(through: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def connect(address: object, *_arguments: object, **_options: object) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(Unanswered, match="Connection refused"):
        post(through, "https://localhost:1/")
    assert len(tried) == 3


def test_more_than_the_limit_is_no_answer(server: LabStiPa, through: requests.Session) -> None:
    whole = len(get(through, server.list_url).body)
    assert len(get(through, server.list_url, whole).body) == whole
    assert unanswered(through, server.list_url, 1000) == f"{server.list_url}: more than 1000 octets"
    server.misbehave("endless")
    assert "more than 5000000 octets" in unanswered(through, server.list_url, 5_000_000)


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_time_is_bounded_for_all_of_it(server: LabStiPa, through: requests.Session, fault: str) -> None:
    server.misbehave(fault)
    began = time.monotonic()
    assert unanswered(through, server.list_url, seconds=0.4) == f"{server.list_url}: no answer within 0.4 seconds"
    assert time.monotonic() - began < 3


def test_head_that_drips_is_bounded_too(hierarchy: Hierarchy, through: requests.Session, tmp_path: Path) -> None:
    with Repository(tmp_path, hierarchy.web_server(["localhost"])) as repository:
        repository.answers["a"] = Served(drip=20, drip_head=True)
        assert "no answer within 0.4 seconds" in unanswered(through, repository.url("a"), seconds=0.4)


def test_name_that_is_not_looked_up_in_time_is_no_answer(through: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = socket.socketpair()

    def look_up(*_arguments: object, **_options: object) -> list[object]:
        waiting[0].recv(1)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert "no answer within 0.2 seconds" in unanswered(through, "https://slow-names.example.net/", seconds=0.2)
    finally:
        waiting[1].sendall(b"..." * 10)
        for end in waiting:
            end.close()


def test_redirect_is_an_answer_and_not_followed(server: LabStiPa, through: requests.Session) -> None:
    server.misbehave("redirect")
    assert get(through, server.list_url).status == 302
    assert server.asked == [f"GET {LIST}"]


def test_compressed_answer_is_none(server: LabStiPa, through: requests.Session) -> None:
    server.misbehave("compressed")
    assert unanswered(through, server.list_url) == f"{server.list_url}: compressed, which nobody asked for"


def test_unknown_tls_certificate_is_refused_at_once_and_said(server: LabStiPa, tmp_path: Path) -> None:
    path = tmp_path / "others.pem"
    path.write_bytes(Hierarchy(time.time()).root.pem)
    with session(path) as through:
        assert "its TLS certificate: " in unanswered(through, server.list_url)
    with session(None) as through:
        assert "its TLS certificate: " in unanswered(through, server.list_url)
    assert server.asked == []


def test_certificate_of_another_host_is_refused(server: LabStiPa, through: requests.Session) -> None:
    assert "its TLS certificate: " in unanswered(through, server.list_url.replace("localhost", "127.0.0.1"))


def test_a_library_cannot_switch_the_verification_off(server: LabStiPa) -> None:
    # acme passes verify=True with each request, which would be other roots than ours
    with session(None) as through, pytest.raises(requests.exceptions.SSLError):
        through.request("GET", server.list_url, verify=False)


def test_nothing_goes_out_in_the_clear(through: requests.Session) -> None:
    assert "no HTTPS URL" in unanswered(through, "http://localhost/")


def test_netrc_does_not_replace_the_access_token(
    server: LabStiPa, through: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    # Without the trick, requests would send these to who reads the header: 401
    assert get(through, server.list_url).status == 200


def test_no_proxy_is_asked_for_this_host(server: LabStiPa, through: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert get(through, server.list_url).status == 200
    assert "Connection refused" in unanswered(through, "https://sti-pa.example.net/")


def test_every_request_has_a_time_even_if_a_library_sets_none(
    server: LabStiPa, through: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "READ_SECONDS", 0.2)
    server.misbehave("slow")
    with pytest.raises(requests.exceptions.ReadTimeout):
        through.post(server.url + LOGIN)


@pytest.mark.parametrize("octets", [None, b"", b"no certificate"])
def test_roots_that_are_none_are_refused(tmp_path: Path, octets: bytes | None) -> None:
    path = tmp_path / "roots.pem"
    if octets is not None:
        path.write_bytes(octets)
    with refused("tls_roots_unreadable"):
        session(path)


def test_defect_of_ours_is_raised_where_it_is_waited_for(
    server: LabStiPa, through: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "_answer", lambda *_arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        get(through, server.list_url)
