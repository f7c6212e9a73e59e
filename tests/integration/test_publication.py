"""The staged switch with everything real: an edge that is its own repository, another that verifies, calls all the while.

Not one call is lost, and of those that were signed not one fails verification.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from kamailio_app.lab.edge import ROOT, free_port
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.rotation import Rotation, Step, advance
from kamailio_app.lifecycle.server import Kamailio
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.settings import Settings
from tests.integration.test_rotation import SOME, Line, Load
from tests.integration.traffic import until

SWITCH_AFTER = 1
KEEP = 3600


class Provider:
    """The signing edge of a line as a provider runs it: it serves its chains itself, and shakenctl moves its pairs on."""

    def __init__(self, network: Network, directory: Path, cfg: str) -> None:
        self.network = network
        self.line = Line(network, directory, cfg)
        port = free_port(kind=socket.SOCK_STREAM)
        web = directory / "web" / "web"
        network.hierarchy.web_server(["localhost"]).write(web.parent, web.name)
        tls, amended = directory / "tls.cfg", directory / "amended.cfg"
        tls.write_text(f"[server:default]\nmethod = TLSv1.2+\nprivate_key = {web}.key\ncertificate = {web}.pem\n")
        amended.write_text(
            f'include_file "{ROOT}/cfg/{cfg}"\n#!define STI_CR_LISTEN tls:127.0.0.1:{port}\n'
            f'#!define STI_CR_TLS_CONFIG "{tls}"\ninclude_file "{ROOT}/cfg/sti-cr-kamailio.cfg"\n'
        )
        self.published = directory / "published"
        self.published.mkdir()
        fetching = {"x5u_ports": [port], "x5u_tls_ca_file": str(network.ca_file), "relax_x5u_private_addresses": True}
        self.line.verifying.settings_file.write_text(network.settings(signing={"public_cert_url": ""}, x5u=fetching))
        self.line.signing = network.edge(
            f"{directory.name}-provider",
            73,
            str(amended),
            inside=[self.line.caller.uri],
            carriers=[f"sip:{self.line.verifying.host}:{self.line.verifying.port}"],
            settings=network.settings(
                signing={"public_cert_url": f"https://localhost:{port}/{{name}}.pem", "certificate_dir": "certs"},
                x5u=fetching,
                provider={"provider_state_dir": "provider", "spc": "1234"},
                publication={
                    "publication_dir": str(self.published),
                    "publication_tls_ca_file": str(network.ca_file),
                    "switch_after": SWITCH_AFTER,
                    "keep_published_hours": KEEP // 3600,
                },
            ),
        )
        self.line.target = (self.line.signing.host, self.line.signing.port)

    @property
    def settings(self) -> Settings:
        return settings_file.load(self.line.signing.settings_file)

    @property
    def control(self) -> str:
        return f"unix:{self.line.signing.directory}/control"

    def issued(self, name: str, begins: float) -> None:
        """A pair that came from the STI-CA."""
        state_dir = self.settings.provider.state_dir
        pair = pairs.begin(state_dir, name)
        issued = self.network.hierarchy.service_provider(ServiceProvider(not_before=begins))
        pair.key_file.write_bytes(issued.key_pem)
        pairs.keep_chain(state_dir, name, issued.chain_pem)

    def advance(self, later: float = 0) -> list[tuple[str, str, str]]:
        return [(step.pair, step.action, step.state) for step in self.steps(later)]

    def steps(self, later: float = 0) -> list[Step]:
        return advance(self.settings, time.time() + later, control=self.control)

    def stages(self) -> dict[str, str]:
        rows = Rotation(self.settings, time.time(), Kamailio(self.control)).standings()
        return {row.name: row.stage for row in rows}


def test_pairs_follow_each_other_under_load_and_no_call_is_lost(network: Network, tmp_path: Path, cfg: str) -> None:
    provider = Provider(network, tmp_path, cfg)
    line = provider.line
    provider.issued("first", network.now - 3600)
    with line, Load(line) as load:
        until(lambda: line.signed_by("") > SOME, "calls while there is no certificate")
        assert provider.advance() == [("first", "publish", "done"), ("first", "look", "done"), ("first", "switch", "waits")]
        until(lambda: ("first", "reload", "done") in provider.advance(), "switch_after to be over")
        until(lambda: line.signed_by("first") > SOME, "calls signed by the first pair")

        provider.issued("second", network.now - 60)
        assert provider.advance() == [("second", "publish", "done"), ("second", "look", "done"), ("second", "switch", "waits")]
        until(lambda: ("second", "reload", "done") in provider.advance(), "switch_after to be over")
        until(lambda: line.signed_by("second") > SOME, "calls signed by the second pair")
        assert provider.stages() == {"first": "replaced", "second": "signs"}

        # An hour later the first one is gone; whoever verified its calls needed its chain before
        assert ("first", "retire", "waits") in provider.advance()
        assert ("first", "retire", "done") in provider.advance(KEEP)
        before = line.signed_by("second")
        until(lambda: line.signed_by("second") > before + SOME, "calls signed after the first pair is gone")

    load.assert_nothing_lost()
    assert {call.verstat for call in line.seen().values() if call.pair} == {"TN-Validation-Passed"}
    assert {call.pair for call in line.seen().values()} == {"", "first", "second"}
    last_of_first = max(call.iat for call in line.seen().values() if call.pair == "first")
    first_of_second = min(call.iat for call in line.seen().values() if call.pair == "second")
    assert last_of_first <= first_of_second + 1
    assert [path.name for path in provider.published.iterdir()] == ["second.pem"]
    assert sorted(path.name for path in (line.signing.directory / "certs").iterdir()) == ["second.key", "second.pem"]
    assert "refused" not in line.signing.log()
    assert "internal_error" not in line.signing.log() + line.verifying.log()


def test_switch_is_refused_while_strangers_do_not_get_the_chain(network: Network, tmp_path: Path, cfg: str) -> None:
    provider = Provider(network, tmp_path, cfg)
    provider.issued("first", network.now - 3600)
    # The repository does not run yet
    (*_, step) = provider.steps()
    assert (step.action, step.state) == ("look", "failed")
    assert "connect:" in step.words
    with provider.line:
        assert provider.line.call().pair == ""
        until(lambda: ("first", "reload", "done") in provider.advance(), "switch_after to be over")
        assert provider.line.call().pair == "first"
