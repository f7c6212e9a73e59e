"""Whose call it is says the TLS client's certificate, on the real Kamailio, both modes: by its common name or its host name."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from kamailio_app.lab.edge import free_port
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Issued
from tests.integration.conftest import amended
from tests.integration.line import SigningSite, lines, passport
from tests.integration.peer import TlsPeer

NAME = "pbx.customer.example"
POLICY = f"""
[customer.acme]
[trunk.acme]
customer = "acme"
transport = "tls"
tls_peer = "{NAME}"
[[rule]]
name = "known"
customer = "acme"
attest = "A"
[[rule]]
name = "by-beginning"
tls_peer = "sbc*"
attest = "B"
[[rule]]
name = "others"
attest = "C"
"""


def certificate(network: Network, place: Path, common_name: str, *hosts: str) -> Path:
    """One of the lab's root for a client or a server: a PEM file with its key."""
    root, key = network.hierarchy.root, ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), not names)
    issued = Issued(builder.sign(root.key, SHA256()), key)
    place.write_bytes(issued.pem + issued.key_pem)
    return place


def routing(network: Network, directory: Path, cfg: str, *lines: str) -> str:
    """The shipped routing with Kamailio's tls module."""
    server = certificate(network, directory / "edge.pem", "edge.example")
    return amended(
        cfg,
        directory,
        "enable_tls=yes",
        'loadmodule "tls.so"',
        f'modparam("tls", "private_key", "{server}")',
        f'modparam("tls", "certificate", "{server}")',
        f'modparam("tls", "ca_list", "{network.ca_file}")',
        'modparam("tls", "tls_method", "TLSv1.2+")',
        *lines,
    )


@contextmanager
def mutual(network: Network, directory: Path, cfg: str, policy: str = POLICY) -> Iterator[SigningSite]:
    """An edge that takes calls by TLS from clients whose certificate the lab's root signed."""
    host = network.host(30)
    port = free_port(host, socket.SOCK_STREAM)
    asked = ('modparam("tls", "verify_certificate", 1)', 'modparam("tls", "require_certificate", 1)')
    with SigningSite(network, directory, routing(network, directory, cfg, f"listen=tls:{host}:{port}", *asked), policy) as site:
        site.target = (host, port)
        yield site


def test_client_is_known_by_either_name_of_its_certificate(network: Network, tmp_path: Path, cfg: str) -> None:
    with mutual(network, tmp_path, cfg) as site:
        for number, (names, attest) in enumerate(
            {
                (NAME,): "A",
                ("PBX.Customer.example", "other.example"): "A",
                ("other", NAME): "A",
                ("", NAME): "A",
                ("sbc1.example",): "B",
                ("x", "sbc2.example"): "B",
                ("other", "other.example"): "C",
                (f"evil {NAME}",): "C",
                ("",): "C",
            }.items()
        ):
            phone = TlsPeer(site.phone.host, certificate=certificate(network, tmp_path / f"{number}.pem", *names))
            try:
                phone.invite(site.target)
                request = site.carrier.receive_request("INVITE")
                site.carrier.answer(request)
                assert phone.final().code == 486
                assert passport(request.header("identity")).claims["attest"] == attest, names
            finally:
                phone.close()


def test_large_call_goes_by_tls_on_request(network: Network, tmp_path: Path, cfg: str) -> None:
    host = network.host(30)
    defines = {
        "EDGE_UDP_MTU": "1300",
        "EDGE_MTU_TRANSPORT": "tls",
        "EDGE_LISTEN_TCP": f"tls:{host}:{free_port(host, socket.SOCK_STREAM)}",
    }
    with SigningSite(network, tmp_path, routing(network, tmp_path, cfg), defines=defines) as site:
        shown = certificate(network, tmp_path / "carrier.pem", "carrier.example")
        tls = TlsPeer(site.carrier.host, site.carrier.port, certificate=shown)
        try:
            for extra, taker in ((lines("Subject: " + "x" * 900), tls), ("", site.carrier)):
                site.phone.invite(site.target, extra=extra)
                request = taker.receive_request("INVITE")
                assert request.all("via")[0].startswith(f"SIP/2.0/{taker.transport} ")
                assert request.header("identity")
                taker.answer(request)
                assert site.phone.final().code == 486
        finally:
            tls.close()
