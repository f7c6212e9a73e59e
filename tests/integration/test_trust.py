"""The STI-PA's trust list and CRL change while calls come, on the real Kamailio; both modes at once, as lists take seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from kamailio_app.lab.edge import EXEC, KEMI
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Hierarchy
from tests.integration.conftest import Site
from tests.integration.policy_administrator import INTERVAL, PolicyAdministrator, state
from tests.integration.traffic import BUSY, BusyPhone, call, until

FOLLOWED = 3 * INTERVAL
VERIFIED, REFUSED = BUSY, 437


class Edges:
    """One edge of each kind, each with its own section [trust]."""

    def __init__(
        self,
        network: Network,
        directory: Path,
        stack: ExitStack,
        trust: Mapping[str, Mapping[str, object]],
        verification: Mapping[str, object],
    ) -> None:
        self.sites = []
        for number, (cfg, section) in enumerate(trust.items()):
            settings = network.settings(
                verification={"failure_action": "reject", **verification}, trust=section, cache={"negative_lifetime": 3600}
            )
            place = directory / f"{directory.name}-{number}"
            site = stack.enter_context(Site(network, place, cfg, number=30 + 10 * number, settings=settings))
            stack.enter_context(BusyPhone(site.phone))
            self.sites.append(site)

    def until(self, condition: Callable[[Site], bool], what: str) -> None:
        """At all of them."""
        for site in self.sites:
            until(lambda: condition(site), f"{what} at {site.edge.cfg}", FOLLOWED)  # noqa: B023

    def until_calls_end(self, identity: Callable[[], str], code: int) -> None:
        """With that code, whichever worker has them: each looks once a second whether the lists have changed."""
        self.until(lambda site: {call(site, identity()).code for _ in range(8)} == {code}, f"calls that end with {code}")


def test_calls_follow_trust_list_and_crl_without_reload(network: Network, tmp_path: Path) -> None:
    ours, other = network.hierarchy, Hierarchy(network.now, "Other")
    providers = {
        "lasting": ours.service_provider(),
        "revoked": ours.service_provider(),
        "other": other.service_provider(),
    }
    network.repository.chains.update({f"{name}.pem": issued.chain_pem for name, issued in providers.items()})

    def header(name: str) -> Callable[[], str]:
        return lambda: network.identity(issued=providers[name], x5u=network.repository.url(f"{name}.pem"))

    lasting, revoked, others = map(header, providers)
    administrator = PolicyAdministrator(network, "changing")
    administrator.publish_list([ours.root], 5)
    administrator.publish_crl([], 5)
    trust = {EXEC: administrator.by_url(), KEMI: administrator.by_file()}
    with ExitStack() as stack:
        edges = Edges(network, tmp_path, stack, trust, {"ca_file": ""})  # trusted by the list alone
        edges.until_calls_end(lasting, VERIFIED)
        edges.until_calls_end(revoked, VERIFIED)
        edges.until_calls_end(others, REFUSED)
        edges.until(lambda site: state(site, "crl") != "", "the state of the CRL")
        for site in edges.sites:
            assert re.match(r"sequence=5 expires=\S+Z expires_in=\d+s age=\ds next=\S+Z failures=0$", state(site, "trust_list"))
            assert re.match(r"number=5 revoked=0 next_update=\S+Z age=\ds next=\S+Z failures=0$", state(site, "crl"))

        # It gains a CA, whose refusal was remembered for an hour; a certificate that is at hand is revoked
        network.repository.asked.clear()
        administrator.publish_list([ours.root, other.root], 6)
        administrator.publish_crl([providers["revoked"].certificate], 6)
        edges.until_calls_end(others, VERIFIED)
        edges.until_calls_end(revoked, REFUSED)
        edges.until_calls_end(lasting, VERIFIED)
        assert "/lasting.pem" not in network.repository.asked
        for site in edges.sites:
            assert "token=credential_revoked" in site.edge.log()

        # It loses a CA whose certificate is at hand
        administrator.publish_list([other.root], 7)
        edges.until_calls_end(lasting, REFUSED)
        edges.until_calls_end(others, VERIFIED)

        # An older list, an older CRL, a list that has expired: what is in use stays
        administrator.publish_list([ours.root, other.root], 6)
        administrator.publish_crl([], 5)
        edges.until(lambda site: "error=trust_list_rollback" in state(site, "trust_list"), "the refusal of the list")
        edges.until(lambda site: "error=crl_rollback" in state(site, "crl"), "the refusal of the CRL")
        administrator.publish_list([ours.root, other.root], 8, expires=network.now - 60)
        edges.until(lambda site: "error=trust_list_expired" in state(site, "trust_list"), "the refusal of the list")
        for site in edges.sites:
            assert re.match(r"sequence=7 .* failures=[2-9] error=trust_list_expired$", state(site, "trust_list"))
            assert state(site, "crl").startswith("number=6 revoked=1 ")
            for name, token in (
                ("trust_list", "trust_list_rollback"),
                ("trust_list", "trust_list_expired"),
                ("crl", "crl_rollback"),
            ):
                assert site.edge.log().count(f"{name} refused, the former stays in use: {token}") == 1
        edges.until_calls_end(lasting, REFUSED)
        edges.until_calls_end(others, VERIFIED)
        edges.until_calls_end(revoked, REFUSED)


def test_without_a_crl_no_certificate_is_accepted_where_the_operator_wants_that(network: Network, tmp_path: Path) -> None:
    administrator = PolicyAdministrator(network, "hard")
    trust = administrator.by_url(trust_list_url="", crl_failure="hard")
    with ExitStack() as stack:
        edges = Edges(network, tmp_path, stack, {EXEC: trust, KEMI: trust}, {})
        edges.until_calls_end(network.identity, REFUSED)
        edges.until(lambda site: "error=trust_unreachable" in state(site, "crl"), "the state of the CRL")
        for site in edges.sites:
            assert "token=revocation_unknown" in site.edge.log()
            assert "crl refused, the former stays in use: trust_unreachable" in site.edge.log()
        administrator.publish_crl([], 1)
        edges.until_calls_end(network.identity, VERIFIED)


def test_lists_that_the_operator_no_longer_wants_are_not_in_use(network: Network, tmp_path: Path, cfg: str) -> None:
    provider = network.hierarchy.service_provider()
    network.repository.chains["unwanted.pem"] = provider.chain_pem
    administrator = PolicyAdministrator(network, tmp_path.name)
    administrator.publish_list([network.hierarchy.root], 1)
    administrator.publish_crl([network.provider.certificate], 1)

    def header() -> str:
        return network.identity(issued=provider, x5u=network.repository.url("unwanted.pem"))

    def settings(ca_file: str, trust: Mapping[str, object]) -> str:
        return network.settings(verification={"ca_file": ca_file, "failure_action": "reject"}, trust=trust)

    with Site(network, tmp_path, cfg, settings=settings("", administrator.by_url())) as site, BusyPhone(site.phone):
        until(lambda: call(site, header()).code == VERIFIED, "the list", FOLLOWED)
        until(lambda: call(site, network.identity()).code == REFUSED, "the CRL", FOLLOWED)
        for another_start in (False, True):
            for ca_file, code in (("", REFUSED), (str(network.ca_file), VERIFIED)):
                site.edge.settings_file.write_text(settings(ca_file, {}))
                if another_start:
                    site.edge.stop()
                    site.edge.start()
                else:
                    site.edge.reload()
                assert (call(site, header()).code, call(site, network.identity()).code) == (code, code), (
                    another_start,
                    ca_file,
                )
