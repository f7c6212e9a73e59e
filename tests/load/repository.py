"""An STI-CR with thousands of certificates, in a process of its own: one key, one chain, and a serial number for each.

They are made before it serves, so that serving costs as little as it can. `python -m tests.load.repository DIRECTORY COUNT`
reads its keys from DIRECTORY and writes its port to standard output once it serves.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Final

import aiohttp.web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from kamailio_app.lab.edge import ROOT
from kamailio_app.lab.network import Network

_TYPE: Final = "application/pem-certificate-chain"
_END_SECONDS: Final = 5


class ManyCertificates:
    """The process, from here: certificates of the network's provider at `url(0)` to `url(count - 1)`."""

    def __init__(self, network: Network, count: int) -> None:
        self.count = count
        self._ca_file = str(network.ca_file)
        directory = network.directory / "many"
        directory.mkdir()
        network.provider.write(directory, "provider")
        network.hierarchy.intermediate.write(directory, "issuer")
        network.hierarchy.web_server(["localhost"]).write(directory, "web")
        self._command = [sys.executable, "-m", "tests.load.repository", str(directory), str(count)]
        self._errors = directory / "errors.log"
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def url(self, number: int) -> str:
        return f"https://localhost:{self.port}/{number}.pem"

    def asked(self) -> int:
        """How many certificates it was asked for so far."""
        context = ssl.create_default_context(cafile=self._ca_file)
        with urllib.request.urlopen(f"https://localhost:{self.port}/asked", context=context, timeout=_END_SECONDS) as answer:
            return int(answer.read())

    def __enter__(self) -> ManyCertificates:
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout
        try:
            said = self._process.stdout.readline()  # its end if it fails: no wait without bound
            if not said.strip().isdigit():
                raise RuntimeError(f"the repository did not start:\n{self._errors.read_text()[-2000:]}")
        except BaseException:
            self.stop()
            raise
        self.port = int(said)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_SECONDS)
        assert self._process.stdout
        self._process.stdout.close()
        self._process = None


def certificates(directory: Path, count: int) -> list[bytes]:
    """The chains, each with another serial number and so another certificate."""
    like, *_ = x509.load_pem_x509_certificates((directory / "provider.pem").read_bytes())
    issuers = x509.load_pem_x509_certificates((directory / "issuer.pem").read_bytes())[:1]
    key = load_pem_private_key((directory / "issuer.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    tail = b"".join(issuer.public_bytes(Encoding.PEM) for issuer in issuers)
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(like.public_key())
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
    )
    for extension in like.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return [builder.serial_number(number + 1).sign(key, SHA256()).public_bytes(Encoding.PEM) + tail for number in range(count)]


async def serve(directory: Path, chains: list[bytes]) -> None:
    """Serve until the process is told to end."""

    asked = 0

    async def chain(request: aiohttp.web.Request) -> aiohttp.web.Response:
        nonlocal asked
        asked += 1
        number = int(request.match_info["number"])
        if number >= len(chains):
            raise aiohttp.web.HTTPNotFound
        return aiohttp.web.Response(body=chains[number], content_type=_TYPE, headers={"Cache-Control": "max-age=86400"})

    async def count(_request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text=str(asked))

    application = aiohttp.web.Application()
    application.router.add_get("/asked", count)
    application.router.add_get(r"/{number:\d{1,9}}.pem", chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "web.pem", directory / "web.key")
    runner = aiohttp.web.AppRunner(application, access_log=None)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    print(port, flush=True)
    await asyncio.Event().wait()


def main(directory: Path, count: int) -> None:
    asyncio.run(serve(directory, certificates(directory, count)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
