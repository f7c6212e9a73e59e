"""The chains in publication_dir: what strangers can have of it, and what not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kamailio_app.runtime.published import name_of, published_chain

from ..builders import provider

URL = "https://cr.example.net/{name}.pem"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "published"
    place.mkdir()
    (place / "sp1234.pem").write_bytes(provider().chain_pem)
    (tmp_path / "secret.pem").write_bytes(provider().chain_pem)
    return place


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (URL, "/sp1234.pem"),
        ("https://cr.example.net:8443/stir/{name}", "/stir/sp1234"),
        ("https://cr.example.net/{name}/{name}.pem", "/sp1234/sp1234.pem"),
        ("https://cr.example.net/{name}/chain.pem", "/sp1234/chain.pem"),
    ],
)
def test_urls_have_the_form_of_the_settings(directory: Path, url: str, path: str) -> None:
    assert published_chain(directory, url, path) == provider().chain_pem.decode()


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "/.pem",
            "/sp1234.pem/",
            "//sp1234.pem",
            "/x/sp1234.pem",
            "/..%2fsecret.pem",
            "/../secret.pem",
            "/..",
            "/...pem",
        ),
        *(
            "/sp1234.pem?",
            "/sp1234.pem#",
            "/SP1234.pem",
            "/sp1234.pe",
            "/sp1234.pemx",
            "/" + "a" * 5000 + ".pem",
            "/sp1234\0.pem",
        ),
    ],
)
def test_other_paths_have_nothing(directory: Path, path: str) -> None:
    assert published_chain(directory, URL, path) is None


def test_without_directory_or_form_there_is_nothing(directory: Path) -> None:
    assert published_chain(None, URL, "/sp1234.pem") is None
    assert published_chain(directory, "", "/sp1234.pem") is None
    assert published_chain(directory, "https://{name}.example.net/x.pem", "/x.pem") is None
    assert published_chain(directory / "absent", URL, "/sp1234.pem") is None


def test_name_does_not_begin_with_a_dot(directory: Path) -> None:
    """Hidden files are somebody's work under way."""
    for name in (".new", ".", "..x"):
        (directory / f"{name}.pem").write_bytes(provider().chain_pem)
        assert published_chain(directory, URL, f"/{name}.pem") is None
    (directory / "a.b.pem").write_bytes(provider().chain_pem)
    assert published_chain(directory, URL, "/a.b.pem") is not None


def test_link_pipe_and_directory_are_no_chains(directory: Path) -> None:
    (directory / "link.pem").symlink_to("../secret.pem")
    os.mkfifo(directory / "pipe.pem")
    (directory / "directory.pem").mkdir()
    for name in ("link", "pipe", "directory"):
        assert published_chain(directory, URL, f"/{name}.pem") is None


@pytest.mark.parametrize(
    "octets",
    [
        *(b"", b"x", provider().key_pem, provider().chain_pem + provider().key_pem),
        *(provider().chain_pem + b"\xff", provider().chain_pem + b"\n" * 65536),
    ],
)
def test_what_is_no_chain_is_not_given_away(directory: Path, octets: bytes) -> None:
    (directory / "other.pem").write_bytes(octets)
    assert published_chain(directory, URL, "/other.pem") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=40) | st.from_regex(r"/[./%a-z0-9]{0,20}\.pem", fullmatch=True))
def test_no_path_leads_out_of_the_directory(directory: Path, path: str) -> None:
    assert published_chain(directory, URL, path) is None or path == "/sp1234.pem"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://cr.example.net/sp1234.pem", "sp1234"),
        ("https://cr.example.net:443/sp1234.pem", ""),
        ("https://other.example.net/sp1234.pem", ""),
        ("https://cr.example.net/a/b.pem", ""),
        ("https://cr.example.net/.pem", ""),
        ("", ""),
    ],
)
def test_name_is_found_in_a_url(url: str, name: str) -> None:
    assert name_of(URL, url) == name
