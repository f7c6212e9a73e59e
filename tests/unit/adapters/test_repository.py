"""Kamailio as a repository of its own: what is answered to HTTP requests for chains."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..builders import DATE, provider
from .support import World

CHAIN = "xhttp.xhttp_reply 200 OK application/pem-certificate-chain "
NOT_FOUND = "xhttp.xhttp_reply 404 Not Found text/plain "


@pytest.fixture
def published(tmp_path: Path) -> Path:
    directory = tmp_path / "published"
    directory.mkdir()
    (directory / "sp1234.pem").write_bytes(provider().chain_pem)
    return directory


def asked(world: World, url: bytes, method: str = "GET", *, directory: str = "published") -> tuple[str, list[str]]:
    """What is answered, and the header fields that go with it."""
    stir = world.start(publication={"publication_dir": directory})
    message = world.call(method=method, request_uri=url, http=True)
    assert stir.stir_publish(object()) == 1
    (event,) = world.ksr.events
    return event, message.to_reply


def test_published_chain_is_answered_as_it_is(world: World, published: Path) -> None:
    event, fields = asked(world, b"/sp1234.pem")
    assert event == CHAIN + provider().chain_pem.decode()
    assert fields == [f"Cache-Control: max-age=86400\r\nX-Content-Type-Options: nosniff\r\nDate: {DATE}\r\n"]


@pytest.mark.parametrize(
    "url",
    [b"/absent.pem", b"/", b"", b"*", b"/sp1234.pem?x", b"/../certs/sp1234.pem", b"/sp1234.key", b"/\xff\xfe.pem", b"/\0.pem"],
)
def test_all_else_is_not_found(world: World, published: Path, url: bytes) -> None:
    assert asked(world, url) == (NOT_FOUND, [])


def test_without_a_directory_nothing_is_found(world: World, published: Path) -> None:
    assert asked(world, b"/sp1234.pem", directory="") == (NOT_FOUND, [])


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "INVITE"])
def test_nothing_but_get_is_allowed(world: World, published: Path, method: str) -> None:
    event, fields = asked(world, b"/sp1234.pem", method)
    assert event == "xhttp.xhttp_reply 405 Method Not Allowed text/plain "
    assert fields == ["Allow: GET\r\n"]


def test_own_failure_says_so_and_is_answered_by_the_script(
    world: World, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stir = world.start(publication={"publication_dir": "published"})
    monkeypatch.setattr("kamailio_app.adapters.kamailio.published_chain", lambda *_arguments: 1 / 0)
    world.call(method="GET", request_uri=b"/sp1234.pem", http=True)
    assert stir.stir_publish(object()) == -1
    assert "internal_error in stir_publish" in world.ksr.log_text("err")


def test_answer_that_was_not_sent_is_told_to_the_script(world: World, published: Path) -> None:
    world.ksr.answers["xhttp.xhttp_reply"] = -1
    stir = world.start(publication={"publication_dir": "published"})
    world.call(method="GET", request_uri=b"/sp1234.pem", http=True)
    assert stir.stir_publish(object(), "<null>") == -1
