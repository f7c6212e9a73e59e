"""A clock that stands still, a web without network, the way to the fetch process and back, a table that several processes
share, a settings file.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from cryptography import x509

from kamailio_app.credentials.credential import Credential, TrustAnchors
from kamailio_app.credentials.crl import read_crl
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.fetch_process import FetchProcess
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.link import FETCH
from kamailio_app.runtime.service import Pending, Service, Verified
from kamailio_app.runtime.settings import FetchRules, TrustRules
from kamailio_app.runtime.trust import Sources, Trust
from kamailio_app.sip import Request

from ..builders import NOW, X5U, hierarchy, identity, pem, provider, request

Answer = Download | StirError | Exception
Said = dict[str, Any]  # one answer of the fetch process
_ROUNDS = 10_000  # turns of an event loop in which nothing waits for anything

OTHER = "https://cr.example.test/other.pem"
CALL = request(identity=(identity(),))
LISTS = {"trust_list_file": "list", "crl_file": "crl", "sti_pa_ca_file": "pa.pem"}
"""A [trust] section. The files of the lists are not there: `Host.trusts` says what is in use."""


def decided(outcome: Verified | Pending) -> str:
    """The token of a verification that is over."""
    assert isinstance(outcome, Verified)
    return outcome.verification.token


def naming(*urls: str) -> Request:
    """A call with an Identity header for each URL."""
    return request(identity=tuple(identity(jose={"x5u": url}, parameters=f";info=<{url}>") for url in urls))


def sti_pa() -> TrustAnchors:
    return TrustAnchors([hierarchy().policy_root.certificate])


def trust(
    roots: Iterable[x509.Certificate] | None = None,
    revoked: Iterable[x509.Certificate] | None = None,
    *,
    next_update: float = 0,
) -> Trust:
    """What the STI-PA says: these roots, these revocations; None: no such list."""
    signer = hierarchy().policy_signer
    listed = revocations = ""
    if roots is not None:
        text = hierarchy().trust_list(roots)
        listed = read_trust_list(text, signer.chain_pem, sti_pa(), NOW).to_text()
    if revoked is not None:
        octets = hierarchy().crl(revoked, next_update=next_update)
        revocations = read_crl(octets, sti_pa(), NOW, signers=[signer.certificate]).to_text()
    return Trust(listed, revocations)


def sourced(found: Trust, directory: Path) -> Trust:
    """As if it came from where `LISTS` in this directory says."""
    rules = TrustRules(trust_list_file=directory / LISTS["trust_list_file"], crl_file=directory / LISTS["crl_file"])
    list_source, crl_source = Sources.of(rules, sti_pa())
    return found._replace(list_source=list_source, crl_source=crl_source)


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Web:
    """What the fetchers find under each URL, what they were asked for, and by which rules they were made."""

    answers: dict[str, Answer] = field(default_factory=lambda: {X5U: Download(provider().chain_pem, "")})
    asked: list[str] = field(default_factory=list)
    for_operator: dict[str, int] = field(default_factory=dict)  # the limit of each
    rules: list[FetchRules] = field(default_factory=list)
    closed: int = 0

    def fetcher(self, rules: FetchRules) -> Fetcher:
        self.rules.append(rules)
        return cast("Fetcher", _Fetcher(self))


class _Fetcher:
    """As much of a `Fetcher` as others use. Once closed it fails."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.closed = False

    async def fetch(self, url: str, *, trusted_by_operator: bool = False, max_bytes: int = 0) -> Download | StirError:
        assert not self.closed
        self.web.asked.append(url)
        if trusted_by_operator:
            self.web.for_operator[url] = max_bytes
        await asyncio.sleep(0)
        answer = self.web.answers.get(url, failure("x5u_unreachable"))
        if isinstance(answer, Exception) and not isinstance(answer, StirError):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True
        self.web.closed += 1


async def settled(process: FetchProcess) -> None:
    """Until no order is in work."""
    for _ in range(_ROUNDS):
        if not process._tasks:
            return
        await asyncio.sleep(0)
    raise AssertionError("orders stay in work")


class Order(NamedTuple):
    kind: str
    generation: str
    urls: str


class Post:
    """Given as `orders` to a service: keeps what is ordered until the real `FetchProcess` is run on it. May be full."""

    def __init__(self, web: Web, clock: Clock) -> None:
        self.web, self.clock = web, clock
        self.orders: list[Order] = []
        self.full = False
        self.rung = 0
        self.said: list[Said] = []
        self.recent: Any = None
        """What the fetch process remembers; None: it is started anew."""

    def put(self, kind: str, generation: str, urls: str) -> bool:
        if not self.full:
            self.orders.append(Order(kind, generation, urls))
        return not self.full

    def ring(self) -> None:
        self.rung += 1

    def close(self) -> None: ...

    def ordered(self) -> list[str]:
        """What is ordered and not worked at yet."""
        return [f"{order.kind} {order.urls}" for order in self.orders]

    def work(self, configuration: Mapping[str, Any]) -> list[Said]:
        """What the fetch process answers to what was ordered, through the link."""
        orders, self.orders = self.orders, []
        said: list[str] = []

        async def run() -> None:
            process = FetchProcess(
                lambda answer: said.append(json.dumps(answer)), clock=self.clock, make_fetcher=self.web.fetcher
            )
            process._recent = self.recent or process._recent
            self.recent = process._recent
            process.configure(json.loads(json.dumps(configuration)))
            for order in orders:
                process.take(" ".join(order))
            await settled(process)
            await process.close()

        asyncio.run(run())
        answers = [json.loads(text) for text in said]
        self.said += answers
        return answers

    def deliver(self, service: Service) -> None:
        """`work`, and what the keeper does with its answers; `service` is the one of its process."""
        for answer in self.work(service.configuration()):
            if answer["kind"] == "credentials":
                service.credentials.take(answer["credentials"])
            elif answer["kind"] == "trust":
                service.take_trust(Trust(*answer["trust"]))

    def obtain(self, service: Service, urls: Iterable[str], kind: str = FETCH) -> None:
        """Order these for all processes, and wait for them."""
        assert service.credentials.order(urls, kind)
        self.deliver(service)


class Keeper:
    """In the place of `link.Keeper`: its fetch process is the one of `Post.work`."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.configurations: list[Mapping[str, Any]] = []
        self.more: list[Said] = []
        """Answers that come before those of the fetch process."""

    def configure(self, configuration: Mapping[str, Any]) -> None:
        self.configurations.append(configuration)

    def answers(self, _wait: float) -> list[Said]:
        more, self.more = self.more, []
        return more + self.post.work(self.configurations[-1])


def toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


def sections_with(**deviations: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a settings file for tests: nothing of it is on the disk of this machine."""
    values: dict[str, dict[str, Any]] = {
        "signing": {"certificate_dir": "certs", "public_cert_url": "https://cr.example.test/{name}.pem"},
        "verification": {"ca_file": "trusted.pem"},
        "cache": {"state_dir": ""},
    }
    for section, options in deviations.items():
        values.setdefault(section, {}).update(options)
    return values


@dataclass
class Table:
    """Text shared by all processes, with the lifetimes it was given. Its time is the clock's, as in the SIP server."""

    clock: Clock
    entries: dict[str, tuple[str, float]] = field(default_factory=dict)
    lifetimes: dict[str, int] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        text, ends = self.entries.get(key, ("", 0.0))
        return text if self.clock.now < ends else None

    def put(self, key: str, value: str, lifetime: int) -> None:
        self.entries[key] = (value, self.clock.now + lifetime)
        self.lifetimes[key] = lifetime


class Host:
    """Settings, a pair that signs and trust anchors; a repository; services are the processes of one server."""

    def __init__(self, directory: Path, **sections: Mapping[str, Any]) -> None:
        self.directory = directory
        self.clock, self.web = Clock(), Web()
        self.post = Post(self.web, self.clock)
        self.table = Table(self.clock)
        self.delay = 0.0  # seconds that a fetch takes for who waits
        self.slept = 0.0
        self.first: Service | None = None
        (directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate))
        (directory / "pa.pem").write_bytes(pem(hierarchy().policy_root.certificate))
        provider().write(directory / "certs", "sp1234")
        self.settings(**sections)

    def settings(self, **sections: Mapping[str, Any]) -> None:
        (self.directory / "stirshaken.toml").write_text(toml(sections_with(**sections)), "utf-8")

    def service(self) -> Service:
        """Another process."""
        orders = cast("Any", self.post)
        path = self.directory / "stirshaken.toml"
        service = Service(path, self.table, clock=self.clock, sleep=self._sleep, orders=orders)
        weakref.finalize(service, service.record.close)
        if self.first is None:
            self.first = service
        else:
            service.accepted, service.trust = self.first.accepted, self.first.trust
        return service

    @property
    def keeper(self) -> Service:
        return self.first or self.service()

    def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.slept += seconds
        if self.post.orders and self.slept >= self.delay:
            self.deliver()

    def deliver(self) -> None:
        """What is ordered is fetched, and there for all."""
        self.post.deliver(self.keeper)

    def obtain(self, urls: Iterable[str]) -> None:
        self.post.obtain(self.keeper, urls)

    def trusts(self, found: Trust) -> None:
        """The keeper hears of it; a second later all processes have."""
        self.keeper.take_trust(self.sourced(found))
        self.clock.now += 1

    def sourced(self, found: Trust) -> Trust:
        return sourced(found, self.directory)

    def fetch(self, url: str = X5U) -> Credential | StirError | None:
        """Obtain it; what a process that has just begun makes of it."""
        self.obtain([url])
        return self.service().credentials.get(url, self.clock.now)
