"""A repository of one's own: Kamailio itself over HTTPS (both modes), and nginx with the shipped example."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.message import Message
from http.client import HTTPSConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.x5u import X5uRules
from kamailio_app.lab.edge import ROOT, free_port
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lifecycle.publication import STRANGER, Seen, look
from kamailio_app.runtime.provider import PublicationRules
from tests.integration.conftest import Site
from tests.integration.test_documentation import blocks, installed_here, site_with, stock_with
from tests.integration.traffic import until

NAME = "localhost"  # what c-ares and everybody finds without a name server
# `make tools` brings the program where the package is not installed, because that would start a web server
NGINX = shutil.which("nginx") or str(ROOT / "build/nginx/usr/sbin/nginx")


class Answer(NamedTuple):
    status: int
    fields: Message
    body: bytes


class Place:
    """A repository at `port` of 127.0.0.1, that serves `directory`."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.network = network
        self.port = free_port(kind=socket.SOCK_STREAM)
        self.directory = directory / "published"
        self.directory.mkdir()
        self.publish("sp1234", network.provider.chain_pem)
        network.hierarchy.web_server([NAME]).write(directory / "web", "web")
        self.web = directory / "web" / "web"

    def publish(self, name: str, octets: bytes) -> None:
        (self.directory / f"{name}.pem").write_bytes(octets)

    def tls_cfg(self) -> Path:
        """A file for Kamailio's tls module."""
        path = self.web.with_suffix(".cfg")
        path.write_text(
            f"[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
            f"private_key = {self.web}.key\ncertificate = {self.web}.pem\n"
        )
        return path

    def url(self, path: str = "/{name}.pem") -> str:
        return f"https://{NAME}:{self.port}{path}"

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
        tls = ssl.create_default_context(cafile=self.network.ca_file)
        connection = HTTPSConnection(NAME, self.port, timeout=5, context=tls)
        with closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def look(self, name: str, chain: bytes) -> Seen:
        fetch = replace(STRANGER, private_addresses=True, x5u=X5uRules(frozenset({self.port})))
        rules = PublicationRules(None, self.network.ca_file, 300, 24)
        anchors = TrustAnchors([self.network.hierarchy.root.certificate])
        return look(self.url(f"/{name}.pem"), chain, rules=rules, anchors=anchors, now=time.time(), fetch=fetch)


@pytest.fixture
def place(network: Network, tmp_path: Path) -> Place:
    return Place(network, tmp_path)


@pytest.fixture
def site(network: Network, tmp_path: Path, cfg: str, place: Place) -> Iterator[Site]:
    """An edge that is its own repository, and signs with what it publishes."""
    amended = tmp_path / "amended.cfg"
    amended.write_text(
        f'include_file "{ROOT}/cfg/{cfg}"\n#!define STI_CR_LISTEN tls:127.0.0.1:{place.port}\n'
        f'#!define STI_CR_TLS_CONFIG "{place.tls_cfg()}"\ninclude_file "{ROOT}/cfg/sti-cr-kamailio.cfg"\n'
    )
    settings = network.settings(
        signing={"public_cert_url": place.url(), "certificate_dir": "certs"},
        x5u={"x5u_ports": [place.port], "x5u_tls_ca_file": str(network.ca_file), "relax_x5u_private_addresses": True},
        publication={"publication_dir": str(place.directory)},
    )
    with Site(network, tmp_path / "edge", str(amended), number=80, settings=settings) as site:
        yield site


def assert_nothing_else_can_be_had(place: Place) -> None:
    """Whatever the server: the chains of the directory, by GET."""
    place.publish("sp1234-2", place.network.provider.chain_pem)
    (place.directory / "key.key").write_bytes(place.network.provider.key_pem)
    (place.directory.parent / "outside.pem").write_bytes(place.network.provider.chain_pem)
    (place.directory / "link.pem").symlink_to("../outside.pem")
    (place.directory / "sub.pem").mkdir()
    (place.directory / ".hidden.pem").write_bytes(place.network.provider.chain_pem)
    assert place.ask("/sp1234-2.pem").status == 200
    for path in (
        *("/", "/absent.pem", "/key.key", "/.hidden.pem", "/sub.pem", "/sub.pem/", "/sp1234.pem/", "/sp1234"),
        *("/../outside.pem", "/..%2foutside.pem", "/%2e%2e/outside.pem", "/a" * 900 + ".pem"),
    ):
        assert place.ask(path).status in (400, 404), path
    assert place.ask("/link.pem").status in (403, 404)
    for method, body in (("POST", b"x"), ("PUT", b"x"), ("DELETE", None)):
        assert place.ask("/sp1234.pem", method, body).status in (403, 405), method


def test_kamailio_serves_what_every_verifier_takes(place: Place, site: Site) -> None:
    chain = place.network.provider.chain_pem
    seen = place.look("sp1234", chain)
    assert seen.ok, seen.bad()
    assert {finding.check for finding in seen.findings if finding.grade != "good"} == {"port", "address", "tls"}
    answer = place.ask("/sp1234.pem")
    assert answer.body == chain
    assert answer.fields["content-type"] == "application/pem-certificate-chain"
    assert answer.fields["cache-control"] == "max-age=86400"
    assert_nothing_else_can_be_had(place)
    assert "internal_error" not in site.edge.log()


def test_kamailio_serves_a_chain_from_the_moment_it_is_there(place: Place, site: Site) -> None:
    issued = place.network.hierarchy.service_provider(ServiceProvider(not_after=time.time() + 90 * 86400))
    assert place.ask("/sp1234-new.pem").status == 404
    place.publish("sp1234-new", issued.chain_pem)
    assert place.look("sp1234-new", issued.chain_pem).ok
    (place.directory / "sp1234-new.pem").unlink()
    assert place.ask("/sp1234-new.pem").status == 404
    # A large one, as some CAs' are
    place.publish("large", issued.chain_pem + b"# " + b"x" * 30000 + b"\n")
    assert len(place.ask("/large.pem").body) > 30000


def test_requests_for_chains_and_calls_do_not_mind_each_other(place: Place, site: Site) -> None:
    place.network.provider.write(site.edge.directory / "certs", "sp1234")
    site.edge.reload()
    for _ in range(5):
        identity, _call_id = site.outbound()
        assert f"info=<{place.url('/sp1234.pem')}>" in identity
        assert place.ask("/sp1234.pem").status == 200
    # What is no HTTP at all does no harm either
    for octets in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", place.port), 5) as connection:
            connection.sendall(octets)
    assert place.ask("/sp1234.pem").status == 200
    assert site.edge.alive


def test_another_directory_is_taken_over_by_a_reload(place: Place, site: Site, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    settings = site.edge.settings_file.read_text("utf-8")
    site.edge.settings_file.write_text(settings.replace(str(place.directory), str(tmp_path / "elsewhere")))
    assert place.ask("/sp1234.pem").status == 200
    site.edge.reload()
    until(lambda: place.ask("/sp1234.pem").status == 404, "the other directory, which is empty")


def test_two_lines_make_a_stock_kamailio_serve(network: Network, place: Place, tmp_path: Path) -> None:
    include = blocks((ROOT / "cfg/README.md").read_text("utf-8"), "cfg")[0]
    (lines,) = blocks((ROOT / "cfg/PUBLISHING.md").read_text("utf-8"), "cfg")
    assert lines.count("\n") == 2
    lines = installed_here(lines).replace("tls:192.0.2.1:8443", f"tls:127.0.0.1:{place.port}")
    lines = f'#!define STI_CR_TLS_CONFIG "{place.tls_cfg()}"\n{lines}'
    stock = stock_with(include=f"{installed_here(include)}\n{lines}", call="", before="route(SIPOUT);")
    (tmp_path / "stock").mkdir()
    with site_with(network, tmp_path / "stock", stock) as site:
        settings = network.settings(
            signing={"public_cert_url": place.url(), "certificate_dir": "certs"},
            x5u={"x5u_ports": [place.port]},
            publication={"publication_dir": str(place.directory)},
        )
        site.edge.settings_file.write_text(settings)
        site.edge.reload()
        until(lambda: place.ask("/sp1234.pem").status == 200, "the chain")
        assert place.look("sp1234", network.provider.chain_pem).ok


def test_nginx_serves_what_every_verifier_takes(place: Place, tmp_path: Path) -> None:
    example = (ROOT / "cfg/sti-cr-nginx.conf").read_text("utf-8")
    with nginx(tmp_path, adapted(example, place)) as running:
        until(running, "nginx answers")
        chain = place.network.provider.chain_pem
        seen = place.look("sp1234", chain)
        assert seen.ok, seen.bad()
        assert {finding.check for finding in seen.findings if finding.grade != "good"} == {"port", "address", "tls"}
        assert place.ask("/sp1234.pem").body == chain
        assert_nothing_else_can_be_had(place)


def adapted(example: str, place: Place) -> str:
    """The example with the four places changed that it names; each has to be there."""
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{place.port} ssl;",
        "listen [::]:443 ssl;": "",
        "server_name cr.example.net;": f"server_name {NAME};",
        "root /var/www/sti-cr;": f"root {place.directory};",
        "/etc/letsencrypt/live/cr.example.net/fullchain.pem": f"{place.web}.pem",
        "/etc/letsencrypt/live/cr.example.net/privkey.pem": f"{place.web}.key",
    }
    assert example.count("HERE") - 1 == 4
    for before, after in changes.items():
        assert example.count(before) == 1, before
        example = example.replace(before, after)
    return example


class nginx:  # noqa: N801 - used as a function
    """One of ours around a server block; gives a function that says whether it answers."""

    def __init__(self, directory: Path, server: str) -> None:
        (directory / "sti-cr.conf").write_text(server)
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if Path("/proc/self").owner() == "root" else ""
        self._cfg = directory / "nginx.conf"
        self._cfg.write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}include {directory}/sti-cr.conf;\n}}\n"
        )
        self._port = int(server.partition("listen 127.0.0.1:")[2].partition(" ")[0])
        self._error_log = directory / "error.log"

    def __enter__(self) -> Callable[[], bool]:
        command = [str(NGINX), "-c", str(self._cfg), "-e", str(self._error_log)]
        tried = subprocess.run([*command, "-t"], check=False, capture_output=True, text=True, timeout=10)
        assert tried.returncode == 0, tried.stderr
        assert "warn" not in tried.stderr
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return self._answers

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._error_log.read_text("utf-8")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
