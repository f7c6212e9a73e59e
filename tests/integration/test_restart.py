"""Kamailio ends as if the power had failed and starts again while nobody out there answers (real Kamailio, both modes)."""

from __future__ import annotations

import time
from pathlib import Path

from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lab.repository import Answer
from tests.integration.conftest import Site
from tests.integration.policy_administrator import PolicyAdministrator
from tests.integration.traffic import BUSY, BusyPhone, call, until


def test_what_was_fetched_is_in_use_again_after_a_crash_without_repository_and_policy_administrator(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    repository = network.repository
    names = {name: f"{tmp_path.name}-{name}.pem" for name in ("good", "revoked")}
    issued = {name: network.hierarchy.service_provider(ServiceProvider()) for name in names}
    repository.chains.update({names[name]: issued[name].chain_pem for name in names})
    administrator = PolicyAdministrator(network, tmp_path.name)
    administrator.publish_list([network.hierarchy.root], 7)
    administrator.publish_crl([], 6)

    def header(name: str) -> str:
        return network.identity(issued=issued[name], x5u=repository.url(names[name]))

    settings = network.settings(
        # Trusted by the list alone
        verification={"ca_file": "", "failure_action": "reject"},
        trust=administrator.by_url(),
    )
    with Site(network, tmp_path, cfg, settings=settings) as site, BusyPhone(site.phone):
        until(lambda: "crl taken over" in site.edge.log() and "trust_list taken over" in site.edge.log(), "both lists")
        until(lambda: call(site, header("good")).code == BUSY, "the list in every process")
        until(lambda: call(site, header("revoked")).code == BUSY, "a call by the one that will be revoked")  # so it is kept
        administrator.publish_crl([issued["revoked"].certificate], 7)
        site.edge.reload()
        until(lambda: call(site, header("revoked")).line == "SIP/2.0 437 Unsupported Credential", "a refusal")

        site.edge.kill()
        repository.asked.clear()
        out_of_order = [*names.values(), *administrator.paths]
        repository.answers.update(dict.fromkeys(out_of_order, Answer(status=0)))
        site.edge.forget_log()
        try:
            began = time.monotonic()
            site.edge.start()
            first = call(site, header("good"))
            took = time.monotonic() - began
            assert first.code == BUSY, site.edge.log()
            assert took < 10
            assert call(site, header("revoked")).line == "SIP/2.0 437 Unsupported Credential"
        finally:
            for path in out_of_order:
                del repository.answers[path]
        # For the revoked one it may be: its provider could have put another there
        assert f"/{names['good']}" not in repository.asked
        assert [words["token"] for words in site.edge.calls().values() if "token" in words] == ["credential_revoked"]
        assert "taken over" not in site.edge.log()
        print(f"start {site.edge.started_in:.2f} s, from the command to the answer {took:.2f} s, the call {first.took:.3f} s")
