"""The servers below the laboratory's STI-PA and STI-CA."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from http.client import HTTPSConnection
from threading import Event

import pytest
from aiohttp import web

from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.tls_server import TlsServer


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_answer_without_end_ends_with_its_client_and_others_are_served(method: str) -> None:
    hierarchy = Hierarchy(time.time())
    server, ended = TlsServer(hierarchy.web_server(["localhost"])), Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        try:
            return await server.without_end(request)
        finally:
            ended.set()

    async def short(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="well")

    def connection() -> HTTPSConnection:
        trusting = ssl.create_default_context(cadata=hierarchy.root.pem.decode())
        return HTTPSConnection("localhost", server.port, context=trusting, timeout=10)

    application = web.Application()
    application.router.add_route("*", "/endless", endless)
    application.router.add_get("/short", short)
    server.start(application)
    try:
        asking = connection()
        asking.request(method, "/endless")
        with suppress(ssl.SSLError):
            asking.getresponse().read(100_000)
        asking.close()
        assert ended.wait(10)
        asking = connection()
        asking.request("GET", "/short")
        assert asking.getresponse().read() == b"well"
        asking.close()
    finally:
        server.stop()
