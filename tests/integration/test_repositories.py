"""Other providers' repositories that are slow, broken or hostile, on the real Kamailio, both modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kamailio_app.lab.dns import NameServer
from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lab.repository import FOREVER, Answer, Repository
from tests.integration.conftest import Site
from tests.integration.traffic import BUSY, BusyPhone, Call, Stream, assert_unharmed, calls, until

MOVING, INSIDE, METADATA = "moving.example.test", "inside.example.test", "metadata.example.test"
TIMEOUT = 1.0
MOST = 65536  # octets of max_certificate_bytes
DAY = 86400

# Path -> answer, the token that it leads to, and the code
MISBEHAVIOUR: dict[str, tuple[Answer, str, int]] = {
    "stalls-before-head": (Answer(delay=FOREVER), "x5u_timeout", 436),
    "stalls-after-head": (Answer(body=b"x" * 1000, pause=FOREVER), "x5u_timeout", 436),
    "drips": (Answer(body=b"x" * 1000, drip=1 / 0.3), "x5u_timeout", 436),
    "drips-head": (Answer(body=b"x", drip=1 / 0.3, drip_head=True), "x5u_timeout", 436),
    "too-large": (Answer(body=b"x" * (MOST + 1)), "x5u_too_large", 436),
    "too-large-promised": (Answer(body=b"x", length=1 << 40), "x5u_too_large", 436),
    "too-large-unannounced": (Answer(body=b"x" * (MOST + 1), length=None), "x5u_too_large", 436),
    "endless": (Answer(endless="body"), "x5u_too_large", 436),
    "endless-head": (Answer(endless="head"), "x5u_unreachable", 436),
    "resets": (Answer(body=b"x" * 1000, reset=100), "x5u_unreachable", 436),
    "breaks-off": (Answer(body=b"x" * 10, length=1000), "x5u_unreachable", 436),
    "says-nothing": (Answer(status=0), "x5u_unreachable", 436),
    "no-http": (Answer(raw=b"220 mail.example.test ESMTP\r\n"), "x5u_unreachable", 436),
    "not-there": (Answer(404), "x5u_http_status", 436),
    "out-of-order": (Answer(503), "x5u_http_status", 436),
    "garbage": (Answer(body=bytes(range(256)) * 8), "credential_malformed", 437),
    "page": (Answer(body=b"<!doctype html><title>Sign in</title>"), "credential_malformed", 437),
    "compressed": (Answer(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "credential_malformed", 437),
}

# What the log tells beside the token
SAID = (
    "certificate has expired",
    "Hostname mismatch",
    f"{INSIDE} is 127.0.0.2",
    f"{METADATA} is 169.254.169.254",
    "nowhere.example.test: Domain name not found",
    "Connection reset by peer",
    f"{MOST + 1} bytes",
    "Content-Encoding: gzip",
)


class Hosts:
    """Repositories of several kinds, and the name server that leads to them."""

    def __init__(self, network: Network, directory: Path, stack: ExitStack) -> None:
        self.network = network
        self.dns = stack.enter_context(NameServer())
        hierarchy = network.hierarchy
        old = Hierarchy(network.now - 60 * DAY)

        def repository(kind: str, identity: Issued, host: str = "127.0.0.1") -> Repository:
            found = stack.enter_context(Repository(directory / kind, identity, host))
            found.chains["sp.pem"] = network.provider.chain_pem
            return found

        self.rough = repository("rough", hierarchy.web_server(["localhost", MOVING, INSIDE]))
        self.lapsed = repository("lapsed", old.web_server(["localhost"]))
        self.another = repository("another", hierarchy.web_server(["another.example.test"]))
        # Where the moving name leads at the second look
        self.private = stack.enter_context(
            Repository(directory / "private", hierarchy.web_server([MOVING, INSIDE]), "127.0.0.2", self.rough.port)
        )
        self.private.chains["second.pem"] = network.provider.chain_pem
        self.rough.answers.update({name: answer for name, (answer, _, _) in MISBEHAVIOUR.items()})
        self.rough.answers["redirects"] = Answer(302, headers={"Location": network.repository.url("sp1234.pem")})
        self.rough.chains["stranger.pem"] = Hierarchy(network.now, "Other").service_provider().chain_pem
        for name in ("first.pem", "second.pem"):
            self.rough.chains[name] = network.provider.chain_pem
        self.roots = directory / "web-roots.pem"
        self.roots.write_bytes(hierarchy.root.pem + old.root.pem)
        self.dns.names = {MOVING: [["127.0.0.1"], ["127.0.0.2"]], INSIDE: [["127.0.0.2"]], METADATA: [["169.254.169.254"]]}

    def settings(self) -> str:
        ports = [each.port for each in (self.network.repository, self.rough, self.lapsed, self.another)]
        return self.network.settings(
            verification={"failure_action": "reject", "call_time_budget": TIMEOUT + 1},
            x5u={
                "x5u_ports": [*ports, self.network.closed_port, self.network.silent_port],
                "x5u_tls_ca_file": str(self.roots),
                "relax_x5u_private_addresses": False,
                "x5u_permit": ["127.0.0.1/32", "::1/128"],
                "x5u_dns_servers": [self.dns.address],
                "fetch_timeout": TIMEOUT,
                "max_concurrent_fetches_per_host": 100,
            },
        )

    def named(self, name: str, path: str = "sp.pem") -> str:
        return f"https://{name}:{self.rough.port}/{path}"

    def expected(self) -> dict[str, tuple[str, int]]:
        """What comes of each URL."""
        return {
            **{self.rough.url(name): (token, code) for name, (_, token, code) in MISBEHAVIOUR.items()},
            self.rough.url("redirects"): ("x5u_http_status", 436),
            self.rough.url("stranger.pem"): ("credential_untrusted", 437),
            self.lapsed.url("sp.pem"): ("x5u_unreachable", 436),
            self.another.url("sp.pem"): ("x5u_unreachable", 436),
            f"https://localhost:{self.network.closed_port}/sp.pem": ("x5u_unreachable", 436),
            f"https://localhost:{self.network.silent_port}/sp.pem": ("x5u_timeout", 436),
            self.named(INSIDE): ("x5u_refused", 436),
            self.named(METADATA): ("x5u_refused", 436),
            self.named("nowhere.example.test"): ("x5u_unreachable", 436),
        }


@pytest.fixture
def hosts(network: Network, tmp_path: Path) -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(network, tmp_path, stack)


PHRASES = {436: "Bad Identity Info", 437: "Unsupported Credential"}


def tokens(site: Site) -> dict[str, str]:
    """Of each call that failed, by its x5u."""
    return {words["x5u"]: words["token"] for words in site.edge.calls().values() if "token" in words}


def test_bad_repository_costs_its_own_calls_and_no_others(hosts: Hosts, tmp_path: Path, cfg: str) -> None:
    network = hosts.network
    with Site(network, tmp_path, cfg, settings=hosts.settings()) as site, BusyPhone(site.phone):
        cached = network.identity()
        assert calls(site, {"": cached})[""].code == BUSY
        expected = hosts.expected()
        identities = {url: network.identity(x5u=url) for url in expected}
        with Stream(site, cached) as stream:
            until(lambda: len(stream.ended) > 20, "cached calls before")
            before = list(stream.ended)
            began = len(stream.ended)
            ended = calls(site, identities)
            beside = stream.ended[began:]
        until(lambda: len(tokens(site)) == len(expected), "a line in the log for each")
        assert tokens(site) == {url: token for url, (token, _) in expected.items()}
        assert {url: each.line for url, each in ended.items()} == {
            url: f"SIP/2.0 {code} {PHRASES[code]}" for url, (_, code) in expected.items()
        }
        assert max(each.took for each in ended.values()) < TIMEOUT + 3
        assert_unharmed(beside, before)
        assert hosts.private.asked == []
        log = site.edge.log()
        assert [words for words in SAID if words not in log] == []
        print(_figures(before), _figures(beside), f"slowest failure {max(each.took for each in ended.values()):.2f} s")


def test_name_that_leads_elsewhere_at_the_second_look_is_refused_then(hosts: Hosts, tmp_path: Path, cfg: str) -> None:
    network = hosts.network
    with Site(network, tmp_path, cfg, settings=hosts.settings()) as site, BusyPhone(site.phone):
        first, second = hosts.named(MOVING, "first.pem"), hosts.named(MOVING, "second.pem")
        assert calls(site, {first: network.identity(x5u=first)})[first].code == BUSY
        assert calls(site, {second: network.identity(x5u=second)})[second].line == "SIP/2.0 436 Bad Identity Info"
        until(lambda: tokens(site) == {second: "x5u_refused"}, "a line in the log")
        assert hosts.private.asked == []
        assert hosts.rough.asked == ["/first.pem"]


def _figures(stream: list[Call]) -> str:
    times = sorted(each.took for each in stream)
    return f"{len(times)} cached calls: median {times[len(times) // 2] * 1000:.1f} ms, longest {times[-1] * 1000:.1f} ms;"
