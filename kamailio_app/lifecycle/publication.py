"""What a strict verifier of somebody else's would see at the URL where a chain is published (RFC 8224 7.3, ATIS-1000074 5.3.1).

The chain is fetched twice: with eyes for everything that others may mind (media type, cache fields, the web server's
certificate), and by the very fetcher with which we verify. Not checked: each address of a name for itself; whether a firewall
lets strangers in.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from kamailio_app.credentials.certificate import MALFORMED, is_ca, parse_chain
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.crl import Revocations, check_revocation
from kamailio_app.credentials.lifetime import LifetimeRules, lifetime
from kamailio_app.credentials.x5u import DEFAULT_RULES, X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line, printable
from kamailio_app.lifecycle.inspection_trust import trusted
from kamailio_app.runtime.choice import moment
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.provider import PublicationRules
from kamailio_app.runtime.resolver import AddressRules, Names, Resolver, is_public
from kamailio_app.runtime.settings import FetchRules, Settings

Grade = Literal["good", "warning", "bad"]

# As strict as a verifier is by default
STRANGER: Final = FetchRules(2.0, 65536, 0, None, False, DEFAULT_RULES, breaker_failures=0)

_PATIENCE: Final = 10.0  # seconds for the thorough visit
_SLOW: Final = 1.0  # seconds: half of what verifiers allow
_LARGE: Final = 16384  # octets: the largest real chain seen has 12 kB
_MOST: Final = 1 << 20
_DAY: Final = 86400
_ENDS_SOON: Final = 14 * _DAY
_TYPE: Final = "application/pem-certificate-chain"
_HEADERS: Final = {"Accept": f"{_TYPE}, */*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "kamailio-stirshaken"}
_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_DETAIL: Final = 300  # characters of an error
_TURNS, _TURN = 400, 0.0025  # of the loop, in which a connection is closed; seconds


class Finding(NamedTuple):
    """One check. `grade`: good, warning (some verifiers mind) or bad (verifiers do without the chain)."""

    check: str
    grade: Grade
    words: str
    clause: str

    @property
    def ok(self) -> bool:
        return self.grade != "bad"


class Seen(NamedTuple):
    """What was seen. `ok`: nothing of it is bad. What could not be looked at, for another finding's reason, is left out."""

    url: str
    ok: bool
    findings: tuple[Finding, ...]

    def bad(self) -> str:
        """What is bad, in words."""
        return "; ".join(f"{finding.check}: {finding.words}" for finding in self.findings if not finding.ok)


NO_ROOTS: Final = (
    "a server that runs keeps the STI-PA's list; before there is one, shakenctl sti-pa ca-list --out FILE and [trust] "
    "trust_list_file, or [verification] ca_file"
)


def look(
    url: str,
    expected_chain: bytes | None,
    *,
    rules: PublicationRules,
    anchors: TrustAnchors,
    now: float,
    fetch: FetchRules = STRANGER,
    revocations: Revocations | None = None,
) -> Seen:
    """Fetch the chain as strangers do and check everything about it. Takes seconds at most; `now` in seconds since 1970.

    `expected_chain`: what should stand there; None: any good chain. `fetch`: what the operator's own network lets pass in
    addresses and ports (the settings' [x5u]) is a warning. `revocations`: the STI-PA's CRL, if it is at hand. What is wrong is
    a finding, never an exception. Errors: `tls_roots_unreadable` (publication_tls_ca_file).
    """
    view = _View(url, expected_chain, rules, anchors, now, fetch, revocations)
    try:
        check_x5u(url, X5uRules(frozenset({view.port})))
    except StirError as error:
        view.refusal = error.detail
    else:
        asyncio.run(_visit(view))
    findings = tuple(
        Finding(check, verdict[0], one_line(verdict[1]), clause)
        for check, clause, judge in _CHECKS
        if (verdict := judge(view)) is not None
    )
    return Seen(url, all(finding.ok for finding in findings), findings)


def check(
    settings: Settings,
    url: str,
    expected_chain: bytes | None,
    *,
    now: float,
    trust: tuple[TrustAnchors, Revocations | None] | None = None,
) -> Seen:
    """`look` by the settings: whom they trust, and what their [x5u] lets pass for a network of one's own. `trust`: instead of
    what this host keeps.

    Errors: `tls_roots_unreadable`.
    """
    own = settings.fetch
    fetch = replace(
        STRANGER, x5u=own.x5u, private_addresses=own.private_addresses, permit=own.permit, dns_servers=own.dns_servers
    )
    anchors, revocations = trust or _kept(settings)
    return look(
        url,
        expected_chain,
        rules=settings.provider.publication,
        anchors=anchors,
        now=now,
        fetch=fetch,
        revocations=revocations,
    )


def _kept(settings: Settings) -> tuple[TrustAnchors, Revocations | None]:
    known = trusted(settings)
    return known.sti_cas, known.revocations


# --- Visits ---------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    """What came back. `octets` end at `_MOST`."""

    status: int
    fields: CIMultiDictProxy[str]
    octets: bytes


@dataclass
class _View:
    """What is asked for, and all that was seen of it."""

    url: str
    expected: bytes | None
    rules: PublicationRules
    anchors: TrustAnchors
    now: float
    fetch: FetchRules
    revocations: Revocations | None = None
    refusal: str = ""
    addresses: list[str] = field(default_factory=list)
    answer: _Answer | None = None
    seconds: float = 0.0
    trouble: tuple[str, str] = ("", "")  # which check it spoils, and what it was
    tls_version: str = ""
    tls_ends: float = 0.0
    ours: Download | StirError | None = None

    @property
    def port(self) -> int:
        try:
            return urlsplit(self.url).port or 443
        except ValueError:
            return 0

    @property
    def chain(self) -> bytes | None:
        """What a verifier would take for the chain."""
        return self.answer.octets if self.answer is not None and self.answer.status == 200 else None

    def field(self, name: str) -> str:
        return ", ".join(self.answer.fields.getall(name, ())) if self.answer is not None else ""


class _Witness(ssl.SSLContext):
    """Remembers the last connection that was made with it: what aiohttp shows of one is gone with the body's end."""

    seen: ssl.SSLObject | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        self.seen = super().wrap_bio(*arguments, **options)
        return self.seen


def _witness(ca_file: Path | None) -> _Witness:
    tls = _Witness(ssl.PROTOCOL_TLS_CLIENT)
    tls.hostname_checks_common_name = False  # RFC 9525 2
    try:
        if ca_file is None:
            tls.load_default_certs()
        else:
            tls.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise failure("tls_roots_unreadable", f"publication_tls_ca_file: {ca_file}: {error.strerror}") from error
    return tls


async def _visit(view: _View) -> None:
    tls = _witness(view.rules.tls_ca_file)
    names = Names(view.fetch.dns_servers, _PATIENCE)
    began = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE):
            view.addresses = await names.addresses(urlsplit(view.url).hostname or "")
            view.answer = await _ask(view, tls)
    except TimeoutError:
        view.trouble = ("connect" if view.addresses else "name", f"no answer within {_PATIENCE:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        view.trouble = (_spoiled(error, view), f"{error}"[:_DETAIL] or type(error).__name__)
    finally:
        await names.close()
    view.seconds = time.monotonic() - began
    _look_at_tls(view, tls)
    if view.addresses:
        fetcher = Fetcher(replace(view.fetch, tls_ca_file=view.rules.tls_ca_file, max_redirects=0, breaker_failures=0))
        try:
            view.ours = await fetcher.fetch(view.url)
        finally:
            await fetcher.close()


async def _ask(view: _View, tls: ssl.SSLContext) -> _Answer:
    sockets: list[socket] = []

    async def found(_name: str) -> list[str]:
        return view.addresses

    def made(address: tuple[Any, ...]) -> socket:
        sockets.append(socket(*address[:3]))
        return sockets[-1]

    resolver = Resolver(found, AddressRules(private=True))
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=tls, force_close=True, socket_factory=made)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, headers=_HEADERS, auto_decompress=False) as session,
            session.get(URL(view.url, encoded=True), allow_redirects=False) as response,
        ):
            octets = bytearray()
            async for piece in response.content.iter_any():
                octets += piece
                if len(octets) > _MOST:
                    break
            return _Answer(response.status, CIMultiDictProxy(CIMultiDict(response.headers)), bytes(octets))
    finally:
        await _closed(connector, sockets)


async def _closed(connector: aiohttp.TCPConnector, sockets: list[socket]) -> None:
    """No connection is left behind, not even one whose handshake failed, and nobody's farewell is waited for."""
    await connector.close(abort_ssl=True)
    for one in sockets:
        with suppress(OSError):  # it may be closed, or never have been connected
            one.shutdown(SHUT_RDWR)
    for _ in range(_TURNS):
        if all(one.fileno() < 0 for one in sockets):
            return
        await asyncio.sleep(_TURN)


def _spoiled(error: BaseException, view: _View) -> str:
    """Which check it is about."""
    if not view.addresses:
        return "name"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls"
    return "connect" if isinstance(error, aiohttp.ClientConnectorError) else "answer"


def _look_at_tls(view: _View, tls: _Witness) -> None:
    if tls.seen is None or not (version := tls.seen.version()) or view.trouble[0] == "tls":
        return
    try:
        view.tls_ends = float(ssl.cert_time_to_seconds(str((tls.seen.getpeercert() or {}).get("notAfter", ""))))
    except ValueError:  # before the handshake's end, or a date of year 10000
        return
    view.tls_version = version


# --- Checks ---------------------------------------------------------------------------------------------------------

_Verdict = tuple[Grade, str] | None


def _url(view: _View) -> _Verdict:
    return ("bad", f"verifiers refuse it: {view.refusal}") if view.refusal else ("good", view.url)


def _port(view: _View) -> _Verdict:
    if view.refusal:
        return None
    if view.port in DEFAULT_RULES.ports:
        return "good", str(view.port)
    return "warning" if view.port in view.fetch.x5u.ports else "bad", f"{view.port}: verifiers connect to 443 and 8443"


def _name(view: _View) -> _Verdict:
    if view.refusal:
        return None
    if not view.addresses:
        return "bad", view.trouble[1] or "no address"
    return "good", ", ".join(view.addresses[:8])


def _address(view: _View) -> _Verdict:
    if not view.addresses:
        return None
    own = [address for address in view.addresses if not is_public(address)]
    if not own:
        return "good", "public"
    permitted = AddressRules(private=view.fetch.private_addresses, permit=view.fetch.permit)
    grade: Grade = "warning" if all(map(permitted.allow, own)) else "bad"
    return grade, f"{', '.join(own[:8])}: not of the public internet, and verifiers of others refuse the name"


def _connect(view: _View) -> _Verdict:
    if not view.addresses:
        return None
    return ("bad", view.trouble[1]) if view.trouble[0] == "connect" else ("good", "connected")


def _tls(view: _View) -> _Verdict:
    if view.trouble[0] == "tls":
        return "bad", view.trouble[1]
    if not view.tls_version:
        return None
    words = f"{view.tls_version}, certificate until {moment(view.tls_ends)}"
    if view.tls_ends - view.now < _ENDS_SOON:
        return "warning", f"{words}: renew it"
    if view.rules.tls_ca_file is not None:
        return "warning", f"{words}; checked with the roots of publication_tls_ca_file, which others may not have"
    return "good", words


def _status(view: _View) -> _Verdict:
    if view.trouble[0] == "answer":
        return "bad", view.trouble[1]
    if view.answer is None:
        return None
    if view.answer.status == 200:
        return "good", "200"
    if 300 <= view.answer.status < 400:
        return "bad", f"{view.answer.status} to {printable(view.field('Location'))}: verifiers follow no redirect"
    return "bad", str(view.answer.status)


def _media_type(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    text = view.field("Content-Type")
    if text.partition(";")[0].strip().lower() == _TYPE:
        return "good", text
    return "warning", f"{printable(text) or 'none'}: some verifiers insist on {_TYPE}"


def _encoding(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    text = view.field("Content-Encoding").strip()
    if text.lower() in ("", "identity"):
        return "good", "identity"
    return "bad", f"{printable(text)}, which nobody asked for"


def _cache(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    text = view.field("Cache-Control")
    seconds = lifetime(
        text,
        LifetimeRules(0, 1 << 31),
        expires=view.field("Expires"),
        age=view.field("Age"),
        date=view.field("Date"),
        now=view.now,
    )
    if seconds:
        return "good", f"{seconds} s"
    return (
        "warning",
        f"{printable(text) or 'no Cache-Control'}: how long it is kept is each verifier's guess; say max-age=86400",
    )


def _size(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    size = len(view.chain)
    if not size:
        return "bad", "nothing: the body is empty"
    if size > view.fetch.max_bytes:
        return "bad", f"more than {view.fetch.max_bytes} octets"
    return "warning" if size > _LARGE else "good", f"{size} octets"


def _time(view: _View) -> _Verdict:
    if view.answer is None:
        return None
    return "warning" if view.seconds > _SLOW else "good", f"{view.seconds:.2f} s"


def _octets(view: _View) -> _Verdict:
    if view.chain is None or view.expected is None:
        return None
    if view.chain == view.expected:
        return "good", "those of the local chain"
    try:
        there, here = parse_chain(view.chain), parse_chain(view.expected)
    except StirError:
        return "bad", "not those of the local chain"
    if there[0] != here[0]:
        digests = (certificate.fingerprint(SHA256()).hex()[:16] for certificate in (there[0], here[0]))
        return "bad", "another certificate ({}) than the local one ({})".format(*digests)
    same = there == here
    return "warning", f"not those of the local chain, but the same {'certificates' if same else 'signer with other issuers'}"


def _order(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    try:
        if _PEM not in view.chain:
            parse_chain(view.chain)
            return "warning", "DER: verifiers expect PEM"
        parse_chain(view.chain)
        listed = x509.load_pem_x509_certificates(view.chain)
    except (StirError, *MALFORMED) as error:
        return "bad", str(error)
    if is_ca(listed[0]):
        return "bad", "the first certificate is not the signer's"
    if any(certificate.issuer != issuer.subject for certificate, issuer in pairwise(listed)):
        return "warning", "a certificate is not followed by its issuer's"
    if len(listed) > 1 and listed[-1].issuer == listed[-1].subject:
        return "warning", "the root is in it, which verifiers have or do not trust"
    return "good", f"{len(listed)} in PEM, signer first"


def _validated(view: _View) -> Credential | StirError | None:
    if view.chain is None or not len(view.anchors):
        return None
    try:
        found = validate(view.chain, view.anchors, view.now)
        check_revocation(found, view.revocations, view.now, hard=False)
        return found
    except StirError as error:
        return error


def _path(view: _View) -> _Verdict:
    if view.chain is None:
        return None
    found = _validated(view)
    if found is None:
        return "warning", f"not checked, for there are no roots here: {NO_ROOTS}"
    if isinstance(found, StirError):
        # Published before its time is no mistake
        return "warning" if found.token == "credential_not_yet_valid" else "bad", str(found)
    return "good", f"to a trust anchor, until {moment(found.not_after)}"


def _profile(view: _View) -> _Verdict:
    found = _validated(view)
    if not isinstance(found, Credential):
        return None
    return ("warning", "; ".join(found.findings)) if found.findings else ("good", "that of SHAKEN")


def _ours(view: _View) -> _Verdict:
    if view.ours is None:
        return None
    if isinstance(view.ours, StirError):
        return "bad", f"our own verification would not get it: {view.ours}"
    return "good", "our own verification can fetch it"


_CHECKS: Final[tuple[tuple[str, str, Callable[[_View], _Verdict]], ...]] = (
    ("url", "RFC 8224 7.3, ATIS-1000074 5.3.1", _url),
    ("port", "ATIS-1000074 5.3.1", _port),
    ("name", "RFC 8224 7.3", _name),
    ("address", "ATIS-1000074 5.3.1", _address),
    ("connect", "RFC 8224 7.3", _connect),
    ("tls", "RFC 8224 7.3, RFC 9525", _tls),
    ("status", "ATIS-1000074 5.3.1", _status),
    ("type", "RFC 8555 9.1", _media_type),
    ("encoding", "RFC 9110 8.4", _encoding),
    ("cache", "ATIS-1000074 5.3.1, RFC 9111 5.2.2", _cache),
    ("size", "decision 4", _size),
    ("time", "RFC 8224 6.2.2", _time),
    ("octets", "RFC 8224 7.3", _octets),
    ("chain", "RFC 8555 9.1", _order),
    ("path", "RFC 8224 6.2 step 3", _path),
    ("profile", "ATIS-1000080 6.4.1", _profile),
    ("fetch", "RFC 8224 6.2.2", _ours),
)
