"""The certificates that scenarios name, and what else stands at an x5u URL.

A certificate is issued when it is first asked for, once per run, and its chain published as NAME.pem.
"""

from __future__ import annotations

import gzip
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials.constraints import ClaimConstraints
from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.lab.network import CALLER, Network
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider, expired
from kamailio_app.lab.repository import Answer, Repository

GOOD: Final = "good"
_DAY: Final = 86400
_TN: Final = CALLER.lstrip("+")
_OTHER_TN: Final = "13035550100"
_DIVERTING_TN: Final = "12155550140"


class _Lab(NamedTuple):
    """What certificates are made with: the hierarchy that the system trusts, and one that nobody does."""

    trusted: Hierarchy
    unknown: Hierarchy
    now: float


def _of(tnauthlist: TNAuthList | bytes) -> Callable[[_Lab], Issued]:
    return lambda lab: lab.trusted.service_provider(ServiceProvider(tnauthlist=tnauthlist))


def _spec(spec: ServiceProvider) -> Callable[[_Lab], Issued]:
    return lambda lab: lab.trusted.service_provider(spec)


def _delegated(tnauthlist: TNAuthList) -> Callable[[_Lab], Issued]:
    """RFC 9060: from a subscriber's own CA certificate."""

    def issue(lab: _Lab) -> Issued:
        delegate = lab.trusted.service_provider(ServiceProvider(tnauthlist=TNAuthList(numbers=(_TN,)), ca=True))
        return lab.trusted.service_provider(ServiceProvider(tnauthlist=tnauthlist), delegate)

    return issue


def _constrained(constraints: ClaimConstraints | bytes, *, enhanced: bool = True) -> Callable[[_Lab], Issued]:
    return _spec(ServiceProvider(constraints=constraints, enhanced=enhanced))


def _delegate_who_says(name: str) -> Callable[[_Lab], Issued]:
    """RFC 9060 with RFC 8226 8: its PASSporTs carry rich call data, and only this one."""

    def issue(lab: _Lab) -> Issued:
        numbers = TNAuthList(numbers=(_TN,))
        constraints = ClaimConstraints(
            must_include=frozenset({"rcd"}), permitted=(("rcd", frozenset({f'{{"nam":"{name}"}}'})),)
        )
        delegate = lab.trusted.service_provider(ServiceProvider(tnauthlist=numbers, ca=True))
        return lab.trusted.service_provider(ServiceProvider(tnauthlist=numbers, constraints=constraints), delegate)

    return issue


@cache
def _one_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _of_one_key(spc: str) -> Callable[[_Lab], Issued]:
    """Of several providers, who should each have a key of their own."""
    return lambda lab: lab.trusted.service_provider(ServiceProvider(spc), key=_one_key())


def _without_issuers(lab: _Lab) -> Issued:
    return replace(lab.trusted.service_provider(), issuers=())


CERTIFICATES: Final[dict[str, Callable[[_Lab], Issued]]] = {
    GOOD: _spec(ServiceProvider()),
    "renewed": _spec(ServiceProvider()),
    "other-provider": _spec(ServiceProvider("5678")),
    "current": lambda lab: lab.trusted.service_provider(ServiceProvider(not_before=lab.now - 60)),
    "stranger": lambda lab: lab.unknown.service_provider(),
    "expired": lambda lab: lab.trusted.service_provider(expired(ServiceProvider(), lab.now)),
    "not-yet-valid": lambda lab: lab.trusted.service_provider(ServiceProvider(not_before=lab.now + _DAY)),
    "p384": _spec(ServiceProvider(curve=ec.SECP384R1())),
    "no-digital-signature": _spec(ServiceProvider(digital_signature=False)),
    "ca": _spec(ServiceProvider(ca=True)),
    "without-issuers": _without_issuers,
    "without-tnauthlist": _spec(ServiceProvider(with_tnauthlist=False)),
    "malformed-tnauthlist": _of(b"\x30\x03\x04\x01\x00"),
    "own-number": _of(TNAuthList(numbers=(_TN,))),
    "own-range": _of(TNAuthList(ranges=(TelephoneNumberRange(_TN[:-2] + "00", 100),))),
    "other-number": _of(TNAuthList(numbers=(_OTHER_TN,))),
    "other-range": _of(TNAuthList(ranges=(TelephoneNumberRange(_OTHER_TN, 50),))),
    "delegate": _delegated(TNAuthList(numbers=(_TN,))),
    "delegate-beyond": _delegated(TNAuthList(numbers=(_OTHER_TN,))),
    "delegate-with-name": _delegate_who_says("Example Bank"),
    "diverting-number": _of(TNAuthList(numbers=(_DIVERTING_TN,))),
    "attests-c": _constrained(ClaimConstraints(permitted=(("attest", frozenset({"C"})),))),
    "attests-c-rfc8226": _constrained(ClaimConstraints(permitted=(("attest", frozenset({"C"})),)), enhanced=False),
    "with-crn": _constrained(ClaimConstraints(must_include=frozenset({"crn"}))),
    "without-rcd": _constrained(ClaimConstraints(must_exclude=frozenset({"rcd"}))),
    "malformed-constraints": _constrained(b"\x30\x03\x04\x01\x00"),
    "other-name": _spec(ServiceProvider(common_name="Lab Telephone Company")),
    "revoked": _spec(ServiceProvider()),
    "one-key": _of_one_key("8001"),
    "one-key-too": _of_one_key("8002"),
    "of-revoked-issuer": _delegated(TNAuthList(numbers=(_TN,))),
}

_ENDLESS: Final = b"-----BEGIN CERTIFICATE-----\n" + b"A" * 200_000

# What the suite's own repository can do beside serving chains: name -> answer at that path
ANSWERS: Final[dict[str, Callable[[bytes], Answer]]] = {
    "missing": lambda _chain: Answer(404),
    "broken": lambda _chain: Answer(500),
    "text": lambda _chain: Answer(body=b"This is no certificate.\n"),
    "empty": lambda _chain: Answer(),
    "large": lambda _chain: Answer(body=_ENDLESS[:200_000]),
    "large-unsaid": lambda _chain: Answer(body=_ENDLESS[:200_000], length=None),
    "endless": lambda _chain: Answer(endless="body"),
    "endless-head": lambda _chain: Answer(endless="head"),
    "slow": lambda chain: Answer(body=chain, delay=0.7),
    "slow-body": lambda chain: Answer(body=chain, drip=len(chain) / 0.7),
    "drip": lambda chain: Answer(body=chain, drip=20.0),
    "reset": lambda chain: Answer(body=chain, reset=100),
    "cut": lambda chain: Answer(body=chain[:100], length=len(chain)),
    "compressed": lambda chain: Answer(body=gzip.compress(chain), headers={"Content-Encoding": "gzip"}),
    "not-http": lambda _chain: Answer(raw=bytes(range(256))),
    "mute": lambda chain: Answer(body=chain, delay=30.0),
    "dropped": lambda _chain: Answer(0),
    "redirect": lambda _chain: Answer(302, headers={"Location": "/good.pem"}),
    "soon-over": lambda chain: Answer(body=chain, delay=0.7, headers={"Cache-Control": "max-age=6"}),
}
# The chain, from a web server that shows this certificate in TLS: name -> host name in it, seconds that it is still valid
TLS: Final[dict[str, tuple[str, float]]] = {
    "tls-other-name": ("elsewhere.example", 86400),
    "tls-expired": ("localhost", -60),
}

# Places where no answer comes from: name -> URL. "chain" is the certificate's own URL,
# "good" that of the certificate good
_ELSEWHERE: Final[dict[str, Callable[[Network], str]]] = {
    "closed": lambda network: f"https://localhost:{network.closed_port}/{uuid.uuid4()}.pem",
    "silent": lambda network: f"https://localhost:{network.silent_port}/{uuid.uuid4()}.pem",
    "http": lambda network: network.repository.url("good.pem").replace("https://", "http://"),
    "port": lambda _network: "https://localhost:1/good.pem",
    "userinfo": lambda network: network.repository.url("good.pem").replace("://", "://user:secret@"),
    "query": lambda network: network.repository.url("good.pem?name=good"),
    "fragment": lambda network: network.repository.url("good.pem#good"),
    "address": lambda network: network.repository.url("good.pem").replace(f"//{network.repository.name}", "//127.0.0.1"),
    "long": lambda network: network.repository.url(f"{'a' * 2100}.pem"),
}
# A system elsewhere is told of no ports but the repository's
_FROM_ELSEWHERE: Final = {"closed": "dropped", "silent": "mute"}
# The chain, as repositories serve it: name -> octets. Each under a URL that nobody asked for yet
_SERVED: Final[dict[str, Callable[[Issued], bytes]]] = {
    "fresh": lambda issued: issued.chain_pem,
    "words-around": lambda issued: b"The signer:\n" + issued.chain_pem + b"\nThat is all.",
    "crlf": lambda issued: issued.chain_pem.replace(b"\n", b"\r\n"),
    "issuer-first": lambda issued: b"".join(one.public_bytes(Encoding.PEM) for one in (*issued.issuers, issued.certificate)),
}
URLS: Final = ("chain", GOOD, *_SERVED, "kept", *ANSWERS, *TLS, *_ELSEWHERE)


def _kept(scope: str, certificate: str) -> str:
    return f"kept-{scope.replace(':', '-')}-{certificate}.pem"


class NotPublishedError(Exception):
    """The target's repository is not ours: it cannot do this."""


class Certificates:
    """Issues, publishes and remembers; used by all lanes at once. `elsewhere`: the system is not on this machine's
    loopback; `directory`: that of its own repository, `url` of a file there. `tls`: the web servers of `TLS`.
    """

    def __init__(
        self,
        network: Network,
        url: Callable[[str], str] | None = None,
        directory: Path | None = None,
        *,
        elsewhere: bool = False,
        tls: Mapping[str, Repository] = {},
    ) -> None:
        self._elsewhere = elsewhere
        self._tls = tls
        self._network = network
        self._url = url or network.repository.url
        self._directory = directory
        self._lab = _Lab(network.hierarchy, Hierarchy(network.now, "Unknown"), network.now)
        self._issued: dict[str, Issued] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Issued:
        with self._lock:
            if name not in self._issued:
                issued = self._network.provider if name == GOOD else CERTIFICATES[name](self._lab)
                self._issued[name] = issued
                self._publish(f"{name}.pem", issued.chain_pem)
            return self._issued[name]

    def _publish(self, path: str, octets: bytes) -> None:
        if self._directory is None:
            self._network.repository.chains[path] = octets
        else:
            (self._directory / path).write_bytes(octets)

    def url(self, name: str) -> str:
        """Where the certificate of that name stands."""
        return self._url(f"{name}.pem")

    def x5u(self, kind: str, certificate: str) -> str:
        """The URL of a kind of `URLS` for that certificate; a URL stays as it is. Errors: NotPublishedError."""
        if "://" in kind:
            return kind
        if self._elsewhere:
            kind = _FROM_ELSEWHERE.get(kind, kind)
        issued = self[certificate]
        if kind in ("chain", GOOD):
            return self.url(certificate if kind == "chain" else GOOD)
        path = f"{kind}-{uuid.uuid4()}.pem"
        if kind in _SERVED:
            self._publish(path, _SERVED[kind](issued))
            return self._url(path)
        if self._directory is not None:
            raise NotPublishedError(f'no x5u "{kind}" in a repository that is not the suite\'s')
        if kind in _ELSEWHERE:
            return _ELSEWHERE[kind](self._network)
        if kind in TLS:
            if kind not in self._tls:
                raise NotPublishedError(f'no x5u "{kind}" where nobody is told of another port')
            self._tls[kind].chains[path] = issued.chain_pem
            return self._tls[kind].url(path)
        self._network.repository.answers[path] = ANSWERS[kind](issued.chain_pem)
        return self._url(path)

    def kept(self, scope: str, certificate: str) -> str:
        """A URL that stays the same for one lane, whatever stands there: the same chain, or nothing."""
        issued, path = self[certificate], _kept(scope, certificate)
        self._publish(path, issued.chain_pem)
        return self._url(path)

    def withdraw(self, scope: str, certificate: str) -> None:
        """The repository has lost what stands at `kept`. Errors: NotPublishedError."""
        if self._directory is not None:
            raise NotPublishedError("the repository is not the suite's")
        self.misbehave(scope, certificate, "missing")

    def misbehave(self, scope: str, certificate: str, kind: str) -> None:
        """What stands at `kept` is answered from now on as at an x5u of that kind of `ANSWERS`."""
        self._network.repository.answers[_kept(scope, certificate)] = ANSWERS[kind](self[certificate].chain_pem)

    def publish_again(self, scope: str, certificate: str) -> None:
        """It has it again."""
        self._network.repository.answers.pop(_kept(scope, certificate), None)

    def asked(self, since: int = 0) -> list[str] | None:
        """The URLs that the repository was asked for, without the first `since`; None if it is not the suite's."""
        if self._directory is not None:
            return None
        return [self._url(path.removeprefix("/")) for path in self._network.repository.asked[since:]]

    def root(self, name: str) -> Issued:
        """The trust anchor of a certificate."""
        return (self._lab.unknown if name == "stranger" else self._lab.trusted).root

    @property
    def policy(self) -> Hierarchy:
        """Whose STI-PA the system listens to."""
        return self._lab.trusted

    def find(self, url: str) -> tuple[str, x509.Certificate] | None:
        """The certificate that stands at a URL: what a verifier would fetch."""
        issued = list(self._issued.items())
        return next(((name, one.certificate) for name, one in issued if self.url(name) == url), None)
