"""An HTTPS server on loopback that answers as it is told, also with nonsense: for the fetcher's tests."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from kamailio_app.lab.pki import Issued

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Site:
    """Runs in a thread of its own. `open` connections there are now, `most` there were at once, `made` altogether.

    After an answer the connection is closed, unless `keep_alive`. A path with ";" and more is answered like the one without.
    """

    def __init__(self, directory: Path, identity: Issued) -> None:
        self.answers: dict[str, Answer] = {}
        self.reset()
        directory.mkdir(exist_ok=True)
        (directory / "web.pem").write_bytes(identity.chain_pem)
        (directory / "web.key").write_bytes(identity.key_pem)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(directory / "web.pem", directory / "web.key")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # clients that hang up are what this is about
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def reset(self) -> None:
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.open = self.most = self.made = 0
        self._round = object()  # connections of before are not counted
        self.keep_alive = False

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/{path}"

    def answer(self, path: str, head: str, body: bytes = b"") -> str:
        """`head`: status line and header lines; gives the URL."""

        async def say(writer: asyncio.StreamWriter) -> None:
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            await writer.drain()

        self.answers[path] = say
        return self.url(path)

    def ok(self, path: str, body: bytes = b"x", header: str = "X: y") -> str:
        return self.answer(path, f"HTTP/1.1 200 OK\n{header}\nContent-Length: {len(body)}", body)

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        return self.answer(path, f"HTTP/1.1 {status} Elsewhere\nLocation: {location}\nContent-Length: 0")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its_round = self._round
        self.made += 1
        self.open += 1
        self.most = max(self.most, self.open)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._converse(reader, writer)
        self.open -= its_round is self._round
        writer.transport.abort() if writer.is_closing() else writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode().removeprefix("/")
            self.asked.append(path)
            self.heads.append(head)
            await self.answers[path if path in self.answers else path.partition(";")[0]](writer)
            if not self.keep_alive:
                break
        if writer.can_write_eof():
            writer.write_eof()

    def __enter__(self) -> Site:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=512)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def saying(octets: bytes) -> Answer:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await writer.drain()

    return say


def dripping(head: bytes, drop: bytes) -> Answer:
    """`head`, then a drop now and then, without end."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return drip


def flooding(head: bytes, piece: bytes) -> Answer:
    """`head`, then pieces as fast as they are taken, without end."""

    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return flood


def after(seconds: float, octets: bytes) -> Answer:
    async def say(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(octets)
        await writer.drain()

    return say


async def mute(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nabc")
    await writer.drain()
    writer.close()
