"""Our ACME client against an ACME server that others wrote: acme2certifier (GPL 3), a program of its own in a virtual
environment of its own. It orders, authorizes, finalizes and hands out; the SPC token it takes unverified, as it says itself,
and only if it is told that the risk is known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.acme_client import AcmeClient, Grant
from kamailio_app.lifecycle.request import CrlPoint
from kamailio_app.runtime.provider import ProviderRules, PublicationRules, StiCaRules, StiPaRules

VERSION: Final = "0.46.3"
ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
MAC_KEY: Final = "ZXh0ZXJuYWwgYWNjb3VudCBiaW5kaW5nIG9mIGEgdGVzdA"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has acme2certifier; made once."""
    directory = ROOT / "build" / f"acme2certifier-{VERSION}"
    interpreter = directory / "bin" / "python"
    if not (directory / "complete").exists():
        steps = (
            [sys.executable, "-m", "venv", "--clear", str(directory)],
            [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"acme2certifier=={VERSION}"],
        )
        for step in steps:
            try:
                run = subprocess.run(step, capture_output=True, text=True, timeout=110, check=False)
            except subprocess.TimeoutExpired:
                pytest.skip(f"acme2certifier {VERSION} was not installed in time")
            if run.returncode:
                pytest.skip(f"acme2certifier {VERSION} cannot be had: {(run.stderr.strip() or run.stdout).splitlines()[-1]}")
        (directory / "complete").touch()
    return interpreter


class Server:
    """One of theirs, with our issuing CA behind it."""

    def __init__(self, directory: Path, hierarchy: Hierarchy, python: Path, *, trusting: bool) -> None:
        (directory / "ca.pem").write_bytes(hierarchy.intermediate.pem)
        (directory / "ca.key").write_bytes(hierarchy.intermediate.key_pem)
        (directory / "root.pem").write_bytes(hierarchy.root.pem)
        hierarchy.web_server(["localhost"]).write(directory, "web")
        (directory / "eab.json").write_text(json.dumps({"kid-1": MAC_KEY}))
        (directory / "acme_srv.cfg").write_text(
            "[DEFAULT]\ndebug: False\n[Nonce]\nnonce_check_disable: False\n[Certificate]\n[Challenge]\n"
            f"[CAhandler]\nhandler_file: {HERE / 'acme2certifier_ca.py'}\n"
            f"[DBhandler]\nhandler: wsgi\ndbfile: {directory / 'acme.db'}\n"
            f"[EABhandler]\neab_handler_module: acme2certifier.eabhandlers.json_handler\nkey_file: {directory / 'eab.json'}\n"
            "[Order]\ntnauthlist_support: True\n"
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ACME_SRV_CONFIGFILE": str(directory / "acme_srv.cfg"),
            "ACME2CERTIFIER_BASE_DIR": str(directory),
            "STIRSHAKEN_TEST_CA": str(directory),
            "STIRSHAKEN_TEST_NOW": str(hierarchy.now),
            **({"ACME2CERTIFIER_I_KNOW_THE_RISK": "1"} if trusting else {}),
        }
        self._directory, self._python, self.hierarchy = directory, python, hierarchy

    def __enter__(self) -> Server:
        self._log = (self._directory / "log").open("w")
        command = [str(self._python), str(HERE / "acme2certifier_serve.py"), "web.pem", "web.key"]
        self._process = subprocess.Popen(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port, (self._directory / "log").read_text()
        self.url = f"https://localhost:{port}/directory"
        return self

    def __exit__(self, *_arguments: object) -> None:
        self._process.communicate()
        self._log.close()

    def provider(self) -> ProviderRules:
        mac_key = self._directory / "eab-key"
        mac_key.touch(0o600)
        mac_key.write_text(MAC_KEY)
        state_dir = self._directory / "state"
        return ProviderRules(
            "Example Telephone Company",
            "US",
            "1234",
            state_dir,
            StiPaRules("", "", None, None, "jwk", "base64"),
            StiCaRules(
                self.url,
                "acme2certifier",
                "noc@example.net",
                state_dir / "acme-account.key",
                "kid-1",
                mac_key,
                self._directory / "root.pem",
                0.66,
            ),
            PublicationRules(None, None, 0, 1),
        )

    def token_for(self, fingerprint: str) -> Grant:
        crl = CrlPoint("https://pa.example.test/crl", "CN=STI-PA CRL, O=STI-PA, C=US")
        return Grant(self.hierarchy.spc_token(TNAuthList(("1234",)), fingerprint, expires=time.time() + 60), crl)


@pytest.fixture
def server(tmp_path: Path, python: Path) -> Iterator[Server]:
    with Server(tmp_path, Hierarchy(time.time()), python, trusting=True) as running:
        yield running


def test_account_order_challenge_request_certificate_key_change(server: Server) -> None:
    provider = server.provider()
    anchors = TrustAnchors([server.hierarchy.root.certificate])
    with AcmeClient(provider.sti_ca, provider, seconds=60) as client:
        account = client.account()
        assert account.created
        assert not client.account().created
        obtained = client.order("sp1234-1", server.token_for, anchors=anchors)
        credential = validate(obtained.chain_pem, anchors, time.time())
        assert credential.tnauthlist.spcs == ("1234",)
        assert obtained.findings == ()
        changed = client.rollover()
        assert (changed.url, changed.created) == (account.url, False)
        assert changed.key_fingerprint != account.key_fingerprint
        second = client.order("sp1234-2", server.token_for, anchors=anchors)
        assert parse_chain(second.chain_pem)[0].serial_number != parse_chain(obtained.chain_pem)[0].serial_number
        client.revoke(parse_chain(second.chain_pem)[0])
    assert [pair.state for pair in pairs.pending(provider.state_dir)] == ["issued", "issued"]


def test_wrong_binding_is_told(server: Server) -> None:
    provider = server.provider()
    assert provider.sti_ca.eab_key_file is not None
    provider.sti_ca.eab_key_file.write_text("bm90IHRoZSBrZXk")
    with AcmeClient(provider.sti_ca, provider, seconds=60) as client, pytest.raises(StirError) as caught:
        client.account()
    assert caught.value.token == "acme_account_refused"


def test_identifier_in_the_wrong_base64_is_found_out(server: Server) -> None:
    """What `acme_profile` is for: with another one the request is refused in the end."""
    provider = server.provider()
    rules = replace(provider.sti_ca, profile="rfc9448")
    with AcmeClient(rules, replace(provider, sti_ca=rules), seconds=60) as client, pytest.raises(StirError) as caught:
        client.order("sp1234-1", server.token_for)
    assert caught.value.token.startswith("acme_")


def test_refused_token_is_told(tmp_path: Path, python: Path) -> None:
    """Without the word that the risk is known it refuses every token."""
    with Server(tmp_path, Hierarchy(time.time()), python, trusting=False) as server:
        provider = server.provider()
        with AcmeClient(provider.sti_ca, provider, seconds=60) as client, pytest.raises(StirError) as caught:
            client.order("sp1234-1", server.token_for)
    assert caught.value.token == "acme_challenge_refused"
