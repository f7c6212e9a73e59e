"""What the fetcher's tests share: fixtures, and rules that fit a laboratory on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.errors import StirError
from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import FetchRules

from .site import Site

TIMEOUT = 0.5
HOST = "cr.example.test"

T = TypeVar("T")
Rules = Callable[..., FetchRules]
Fetch = Callable[..., Any]


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy(time.time())


@pytest.fixture(scope="module")
def cafile(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(hierarchy.root.pem)
    return path


@pytest.fixture(scope="module")
def module_site(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), hierarchy.web_server(["localhost", HOST, f"*.{HOST}"])) as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Site:
    module_site.reset()
    return module_site


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server.getsockname()[1]


@pytest.fixture
def rules(cafile: Path) -> Rules:
    """rules(ports, **deviations)."""

    def made(*ports: int, **changes: Any) -> FetchRules:
        values: dict[str, Any] = {
            "timeout": TIMEOUT,
            "max_bytes": 4096,
            "max_redirects": 0,
            "tls_ca_file": cafile,
            "private_addresses": True,
            "x5u": X5uRules(frozenset(ports)),
        }
        return FetchRules(**{**values, **changes})

    return made


@pytest.fixture
def fetch(rules: Rules) -> Fetch:
    """fetch(url or URLs, ports, **deviations from the rules) with a fetcher for just these."""

    def fetching(urls: str | Sequence[str], *ports: int, operator: bool = False, **changes: Any) -> Any:
        async def fetch_all(fetcher: Fetcher) -> list[Any]:
            wanted = [urls] if isinstance(urls, str) else urls
            return await asyncio.gather(*(fetcher.fetch(url, trusted_by_operator=operator) for url in wanted))

        found = using(rules(*ports, **changes), fetch_all)
        return found[0] if isinstance(urls, str) else found

    return fetching


def using(rules: FetchRules, work: Callable[[Fetcher], Awaitable[T]]) -> T:
    """Let `work` have a fetcher; then it is closed, and nothing of it is left."""

    async def run() -> T:
        fetcher = Fetcher(rules)
        try:
            return await work(fetcher)
        finally:
            await fetcher.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        await asyncio.sleep(0.005)


def token(found: Any) -> str:
    assert isinstance(found, StirError), found
    return found.token


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
