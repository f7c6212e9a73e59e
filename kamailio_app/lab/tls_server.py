"""An aiohttp application over TLS on loopback, in a thread with an event loop of its own: nothing is left when it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

from aiohttp import web

from kamailio_app.lab.pki import Issued

_SECONDS_TO_END: Final = 2
_LOOK_SECONDS: Final = 0.005
_ENDLESS_PIECE: Final = b" " * 16384

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TlsServer:
    """Listens from when it is made, answers from `start` to `stop`. `identity` is what it shows in TLS."""

    def __init__(self, identity: Issued, host: str = "127.0.0.1", port: int = 0, name: str = "localhost") -> None:
        self._name = name
        self._context = _context(identity)
        self._socket = socket.create_server((host, port))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._connections: list[socket.socket] = []
        self._ready: Future[None] = Future()
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Without a path."""
        return f"https://{self._name}:{self.port}"

    @property
    def ends(self) -> bool:
        return self._ending is not None and self._ending.is_set()

    async def end(self) -> None:
        """Waits until the server ends: for handlers."""
        assert self._ending is not None
        await self._ending.wait()

    async def without_end(self, request: web.Request) -> web.StreamResponse:
        """An answer as long as its client reads, or until the server ends."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(OSError):
            while not (self.ends or request.transport is None or request.transport.is_closing()):
                await response.write(_ENDLESS_PIECE)
                await asyncio.sleep(0)  # nobody else is kept waiting, whoever reads or does not
        return response

    def start(self, application: web.Application) -> None:
        """Errors: whatever keeps the application from its start."""
        application.middlewares.insert(0, self._remember)
        self._thread = Thread(target=self._run, args=(application,), name=f"lab {self.port}", daemon=True)
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """No thread and no connection is left after this."""
        if self._thread is not None and self._loop is not None and self._ending is not None:
            with suppress(RuntimeError):  # it never began, and has ended already
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()
        self._socket.close()

    def _run(self, application: web.Application) -> None:
        try:
            asyncio.run(self._serve(application))
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self, application: web.Application) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        # A client that breaks off, or refuses our certificate, is what tests are about: nothing to print
        self._loop.set_exception_handler(lambda _loop, _context: None)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, self._socket, ssl_context=self._context).start()
        self._ready.set_result(None)
        await self._ending.wait()
        await runner.cleanup()
        # TLS's own farewell would wait for the peer's
        for connection in self._open():
            with suppress(OSError):  # it may be gone
                connection.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_TO_END):
                while self._open():
                    await asyncio.sleep(_LOOK_SECONDS)

    @web.middleware
    async def _remember(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection: socket.socket | None = request.transport.get_extra_info("socket") if request.transport else None
        if connection is not None and connection not in self._open():
            self._connections.append(connection)
        return await handler(request)

    def _open(self) -> list[socket.socket]:
        """Connections that are not over yet."""
        self._connections = [each for each in self._connections if each.fileno() >= 0]
        return self._connections


def _context(identity: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        identity.write(Path(directory), "web")
        context.load_cert_chain(Path(directory) / "web.pem", Path(directory) / "web.key")
    return context
