"""A TOOL FOR TESTS AND QA, not an STI-CA: a real ACME server over TLS that certifies with keys that are thrown away. Its MAC
key stands in this file. It can be told to misbehave.

RFC 8555 with external account binding, RFC 9447 and RFC 9448: an order has a TNAuthList, its one challenge is tkauth-01, and
the SPC token is really verified in the nine steps of RFC 9448 6: fetched is who signed it, chained to the STI-PA's root.

    GET  /acme/directory              HEAD /acme/new-nonce           POST /acme/new-account, /acme/account/N
    POST /acme/new-order, /acme/order/N, /acme/order/N/finalize      POST /acme/authorization/N, /acme/challenge/N
    POST /acme/certificate/N          POST /acme/revoke              POST /acme/key-change
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
import time
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from josepy.jwk import JWKEC

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import MALFORMED
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lab.sti_ca_jws import Refused, Signed, check_binding, check_key_change, public_key, read_jws, thumbprint
from kamailio_app.lab.sti_ca_token import TokenRefused, check_token, read_token
from kamailio_app.lab.tls_server import TlsServer
from kamailio_app.lifecycle.acme_profiles import LOCATION_HEADER, PROFILES, Profile

KEY_ID: Final = "lab-kid-1"
MAC_KEY: Final = "bGFib3JhdG9yeS1NQUMta2V5LXRoYXQtaXMtbm8tc2VjcmV0"  # base64url

_DAY: Final = 86400
_MAX_BODY: Final = 65536
_MAX_SIGNER: Final = 65536
_MAX_NONCES: Final = 10000
_POLLS: Final = 3
_LATER: Final = "3600"
_PEM_CHAIN: Final = "application/pem-certificate-chain"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(NamedTuple):
    """What it does, and how many times; 0: until the server is told to behave."""

    words: str
    times: int = 0


FAULTS: Final[Mapping[str, Fault]] = {
    # Any answer
    "500-once": Fault("the next signed request is answered 500", 1),
    "500": Fault("every signed request is answered 500"),
    "503-later": Fault("every signed request is answered 503, with Retry-After: 3600"),
    "reset-once": Fault("the next connection is broken off instead of an answer", 1),
    "reset": Fault("every connection is broken off instead of an answer"),
    "endless": Fault("answers have no end"),
    "redirect": Fault("answers lead elsewhere"),
    "not-json": Fault("answers are a web page"),
    "json-nested": Fault("answers are JSON with brackets without end"),
    "json-numbers": Fault("every member of an answer is a number"),
    "bad-nonce-once": Fault("the next nonce is said to be bad", 1),
    "bad-nonce": Fault("every nonce is said to be bad"),
    "no-nonce": Fault("answers bring no nonce"),
    # Accounts
    "account-refused": Fault("no new account is opened"),
    "account-gone": Fault("no account is known"),
    # Orders and authorizations
    "rate-limited": Fault("there have been too many orders, Retry-After: 3600"),
    "spc-rejected": Fault("orders for this provider code are rejected"),
    "no-location": Fault("a new order has no URL"),
    "order-forgotten": Fault("no order is known, after it was made"),
    "http-url": Fault("an order's authorization is at a URL without TLS"),
    "authorization-other": Fault("the authorization is for another provider code"),
    "authorization-remembered": Fault("an account that was authorized before is authorized still"),
    "no-tkauth": Fault("there is a challenge of another type only"),
    "challenge-refused": Fault("every SPC token is refused"),
    "challenge-slow": Fault("an SPC token is looked at for three polls"),
    "echo": Fault("refusals repeat the SPC token"),
    # Certificates
    "bad-csr-once": Fault("the next request is refused", 1),
    "not-ready-once": Fault("an order that is ready is said not to be", 1),
    "slow": Fault("a certificate takes three polls, Retry-After: 1"),
    "never": Fault("a certificate takes for ever"),
    "order-invalid": Fault("the order fails instead of a certificate"),
    "not-pem": Fault("the certificate is a web page"),
    "wrong-key": Fault("the certificate is for another key"),
    "wrong-spc": Fault("the certificate is for another provider code"),
    "more-spcs": Fault("the certificate is for two provider codes"),
    "expired-certificate": Fault("the certificate has expired"),
    "future-certificate": Fault("the certificate is not valid yet"),
    "unknown-ca": Fault("the certificate is issued by an STI-CA that nobody knows"),
    "other-chain": Fault("the first chain is of an STI-CA that nobody knows, and an alternate one is right"),
    "chain-without-intermediate": Fault("the chain is the certificate alone"),
    "chain-turned-round": Fault("the chain begins with the CA"),
    # Afterwards
    "no-key-change": Fault("the directory has no keyChange"),
    "key-change-lost": Fault("the key is changed, and the connection broken off instead of an answer", 1),
}


@dataclass
class Account:
    """`key_id`: of the external account binding."""

    number: int
    key: JWKEC
    contact: list[str]
    key_id: str
    status: str = "valid"


@dataclass
class Authorization:
    """With its one challenge. `waits`: polls until it is decided."""

    number: int
    account: int
    der: bytes
    identifier: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    status: str = "pending"
    challenge: str = "pending"
    error: dict[str, object] | None = None
    decided: str = ""
    waits: int = 0
    ca: bool = False


@dataclass
class Order:
    """`waits`: polls until there is a certificate."""

    number: int
    account: int
    authorization: Authorization
    status: str = "pending"
    error: dict[str, object] | None = None
    waits: int = 0
    certificate: int = 0
    x5u: str = ""


@dataclass
class Certificate:
    """One that was issued; `chains`: the one that is given out first, and alternates."""

    account: int
    certificate: x509.Certificate
    chains: list[bytes]
    x5u: str = ""
    revoked: bool = False


class _Asked(NamedTuple):
    """A signed request whose signature was verified."""

    request: web.Request
    signed: Signed
    key: JWKEC
    account: Account | None


class LabStiCa:
    """Answers from when it is entered until it is left; asked and told from any thread.

    `policy_anchors`: the STI-PA's root; `publish` puts a chain (by name) into a repository and says its URL; `revoked` is told
    of a certificate that is to stand in the STI-PA's CRL; `profile` is the dialect it speaks, and takes nothing else;
    `location` is how it tells the published URL; `fingerprint` the form it compares. `mac_keys` (key identifier -> MAC key) may
    be changed at any time; empty: no binding is needed. `asked` has method and path of each request; `seconds` is how long a
    certificate is good; `terms` a URL of terms to agree to. `clock` is in seconds since 1970.
    """

    def __init__(  # noqa: PLR0917 - where the other servers of the laboratory have them
        self,
        hierarchy: Hierarchy,
        tls: Issued,
        policy_anchors: x509.Certificate,
        publish: Callable[[str, bytes], str],
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "localhost",
        *,
        revoked: Callable[[x509.Certificate], None] | None = None,
        profile: Profile = PROFILES["rfc9448"],
        location: Literal["order", "header", ""] = "order",
        fingerprint: Literal["jwk", "spki"] = "jwk",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.mac_keys: dict[str, bytes] = {KEY_ID: urlsafe_b64decode(MAC_KEY)}
        self.asked: list[str] = []
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        self.certificates: dict[int, Certificate] = {}
        self.revoked = revoked
        self.seconds = 7.0 * _DAY
        self.terms = ""
        self.profile = profile
        self.location = location
        self.fingerprint = fingerprint
        self._hierarchy = hierarchy
        self._policy = TrustAnchors([policy_anchors])
        self._publish = publish
        self._clock = clock
        self._server = TlsServer(tls, host, port, name)
        self._trusting = ssl.create_default_context(cadata=hierarchy.root.pem.decode())
        self._lock = Lock()
        self._faults: dict[str, int] = {}
        self._authorizations: dict[int, Authorization] = {}
        self._nonces: dict[str, None] = {}
        self._stranger: Hierarchy | None = None

    # --- What a test tells it ---------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """`acme_directory` in the settings."""
        return self._url("directory")

    def misbehave(self, *faults: str) -> None:
        """These of `FAULTS` from now on, besides those that it has already."""
        with self._lock:
            self._faults |= {name: FAULTS[name].times or -1 for name in faults}

    def behave(self) -> None:
        """No faults any more."""
        with self._lock:
            self._faults.clear()

    def _faulty(self, name: str) -> bool:
        """Is it to be done now? Counts."""
        with self._lock:
            left = self._faults.get(name, 0)
            if left:
                self._faults[name] = left - 1
            return bool(left)

    # --- Server -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> LabStiCa:
        application = web.Application(middlewares=[self._middleware], client_max_size=_MAX_BODY)
        application.router.add_get("/acme/directory", self._directory)
        application.router.add_get("/acme/new-nonce", self._new_nonce)  # and HEAD
        for path, action in self._actions.items():
            application.router.add_post(f"/acme/{path}", self._signed(action))
        self._server.start(application)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()

    @property
    def _actions(self) -> dict[str, Callable[[_Asked], Awaitable[web.Response]]]:
        return {
            "new-account": self._new_account,
            "account/{number}": self._account,
            "key-change": self._key_change,
            "new-order": self._new_order,
            "order/{number}": self._order,
            "order/{number}/finalize": self._finalize,
            "authorization/{number}": self._authorization,
            "challenge/{number}": self._challenge,
            "certificate/{number}": self._certificate,
            "certificate/{number}/{alternate}": self._certificate,
            "revoke": self._revoke,
        }

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        for name, instead in _INSTEAD.items():
            if (request.method == "POST" or name not in _OF_POSTS) and self._faulty(name):
                return await instead(self, request)
        try:
            response = await handler(request)
        except Refused as refusal:
            response = web.json_response(refusal.members, status=refusal.status, content_type="application/problem+json")
            response.headers.update(refusal.headers)
        if request.method != "GET" and not self._faulty("no-nonce"):
            response.headers["Replay-Nonce"] = self._nonce()
        response.headers.update({"Cache-Control": "no-store", "Link": _links(response, f'<{self.url}>;rel="index"')})
        return response

    def _url(self, *path: object) -> str:
        return "/".join((self._server.url, "acme", *map(str, path)))

    def _nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonces[nonce] = None
        if len(self._nonces) > _MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        return nonce

    async def _directory(self, _request: web.Request) -> web.Response:
        """RFC 8555 7.1.1."""
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
        members: dict[str, object] = dict(zip(names, map(self._url, _PLACES), strict=True))
        if self._faulty("no-key-change"):
            del members["keyChange"]
        meta: dict[str, object] = {"externalAccountRequired": bool(self.mac_keys) and self.profile.key_id == "binding"}
        return web.json_response(members | {"meta": meta | ({"termsOfService": self.terms} if self.terms else {})})

    async def _new_nonce(self, request: web.Request) -> web.Response:
        """RFC 8555 7.2."""
        response = web.Response(status=200 if request.method == "HEAD" else 204)
        if request.method == "GET":
            response.headers["Replay-Nonce"] = self._nonce()
        return response

    # --- Signed requests --------------------------------------------------------------------------------------------

    def _signed(self, action: Callable[[_Asked], Awaitable[web.Response]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await action(await self._verified(request))

        return handle

    async def _verified(self, request: web.Request) -> _Asked:
        """RFC 8555 6.2 to 6.5."""
        if request.content_type != "application/jose+json":
            raise Refused("malformed", "the media type has to be application/jose+json", 415)
        signed = read_jws(await request.read())
        header = signed.header
        if header.get("url") != f"{self._server.url}{request.path}":
            raise Refused("unauthorized", "url is not the one that was asked", 401)
        if ("jwk" in header) == ("kid" in header):
            raise Refused("malformed", "there has to be either jwk or kid")
        account: Account | None = None
        if "kid" in header:
            account = self._known(header["kid"])
            key = account.key
        else:
            key = public_key(header["jwk"])
        signed.verify(key, bare=self.profile.bare)
        # Used up whatever else is wrong; asked for after the signature, so that nobody else can use it up
        nonce = header.get("nonce")
        known = isinstance(nonce, str) and self._nonces.pop(nonce, self) is None
        if self._faulty("bad-nonce-once") or self._faulty("bad-nonce") or not known:
            raise Refused("badNonce", "this nonce is not one of ours, or was used")
        if account is None and request.path.rpartition("/")[2] not in ("new-account", "revoke"):
            raise Refused("malformed", "there has to be a kid")
        return _Asked(request, signed, key, account)

    def _known(self, url: object) -> Account:
        found = next((each for each in self.accounts.values() if self._url("account", each.number) == url), None)
        if found is None or self._faulty("account-gone"):
            raise Refused("accountDoesNotExist", "no such account")
        if found.status != "valid":
            raise Refused("unauthorized", f"the account is {found.status}", 403)
        return found

    # --- Accounts ---------------------------------------------------------------------------------------------------

    async def _new_account(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.3. The dialect with the key identifier in the JWK finds and makes by one request without a payload."""
        bare = self.profile.bare and not asked.signed.payload
        members = {} if bare else asked.signed.members()
        for account in self.accounts.values():
            if thumbprint(account.key) == thumbprint(asked.key) and not self._faulty("account-gone"):
                return self._account_answer(account, 200)
        if members.get("onlyReturnExisting") is True:
            raise Refused("accountDoesNotExist", "no account of this key")
        if self._faulty("account-refused"):
            raise Refused("unauthorized", "no accounts are opened today", 403)
        if self.terms and members.get("termsOfServiceAgreed") is not True:
            raise Refused("userActionRequired", "the terms of service are not agreed to", 403)
        number = len(self.accounts) + 1
        account = Account(number, asked.key, list(members.get("contact", [])), self._binding(asked, members))
        self.accounts[number] = account
        return self._account_answer(account, 201)

    def _binding(self, asked: _Asked, members: dict[str, Any]) -> str:
        if not self.mac_keys:
            return ""
        if self.profile.key_id == "jwk":
            kid = asked.signed.header["jwk"].get("kid")
            if kid not in self.mac_keys:
                raise Refused("unauthorized", "the JWK's kid is not known", 403)
            return str(kid)
        if "externalAccountBinding" not in members:
            raise Refused("externalAccountRequired", "an external account binding is needed", 403)
        return check_binding(members["externalAccountBinding"], asked.key, self._url("new-account"), self.mac_keys)

    async def _account(self, asked: _Asked) -> web.Response:
        assert asked.account is not None
        if int(asked.request.match_info["number"]) != asked.account.number:
            raise Refused("unauthorized", "that is not your account", 403)
        return self._account_answer(asked.account, 200)

    def _account_answer(self, account: Account, status: int) -> web.Response:
        response = web.json_response({"status": account.status, "contact": account.contact}, status=status)
        response.headers["Location"] = self._url("account", account.number)
        return response

    async def _key_change(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.3.5."""
        account = asked.account
        assert account is not None
        members = asked.signed.members()
        new = check_key_change(members, self._url("account", account.number), account.key, self._url("key-change"))
        for other in self.accounts.values():
            if thumbprint(other.key) == thumbprint(new):
                headers = {"Location": self._url("account", other.number)}
                raise Refused("malformed", "the key is in use", 409, headers)
        account.key = new
        if self._faulty("key-change-lost"):
            assert asked.request.transport is not None
            asked.request.transport.abort()
        return self._account_answer(account, 200)

    # --- Orders -----------------------------------------------------------------------------------------------------

    async def _new_order(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.4, RFC 9448 3."""
        account = asked.account
        assert account is not None
        match asked.signed.members():
            case {"identifiers": [{"type": "TNAuthList", "value": str(identifier)}]}:
                pass
            case {"identifiers": [{"type": str(other)}]}:
                raise Refused("unsupportedIdentifier", f"identifiers of type {other}")
            case _:
                raise Refused("malformed", "an order has one identifier")
        if self._faulty("rate-limited"):
            raise Refused("rateLimited", "too many orders", 429, {"Retry-After": _LATER})
        der = self._der(identifier)
        number = len(self.orders) + 1
        authorization = self._remembered(account, der) or Authorization(number, account.number, der, identifier)
        self._authorizations[authorization.number] = authorization
        order = self.orders[number] = Order(number, account.number, authorization)
        response = self._order_answer(order, 201)
        if self._faulty("no-location"):
            del response.headers["Location"]
        return response

    def _der(self, identifier: str) -> bytes:
        """Errors: `malformed`, `rejectedIdentifier`."""
        try:
            text = identifier.replace("-", "+").replace("_", "/").rstrip("=")
            der = b64decode(text + "=" * (-len(text) % 4), validate=True)
            if self.profile.write_identifier(der) != identifier:
                raise Refused("malformed", f"the identifier has to be {self.profile.identifier}")
            authority = tnauthlist.decode(der)
        except (ValueError, StirError) as error:
            raise Refused("malformed", f"the identifier holds no TNAuthList: {error}") from error
        if len(authority.spcs) != 1 or authority.ranges or authority.numbers or self._faulty("spc-rejected"):
            raise Refused("rejectedIdentifier", "no certificates for this TNAuthList")
        return der

    def _remembered(self, account: Account, der: bytes) -> Authorization | None:
        if not self._faulty("authorization-remembered"):
            return None
        mine = (each for each in self._authorizations.values() if each.account == account.number and each.der == der)
        return next((each for each in mine if each.status == "valid"), None)

    async def _order(self, asked: _Asked) -> web.Response:
        order = self._mine(asked)
        if self._faulty("order-forgotten"):
            raise Refused("malformed", "no such order", 404)
        if order.status == "processing":
            order.waits -= 1
            if not order.waits or (order.waits < 0 and not self._faulty("never")):
                order.status = "valid"
        return self._order_answer(order, 200)

    def _mine(self, asked: _Asked) -> Order:
        order = self.orders.get(_number(asked))
        if order is None or asked.account is None or order.account != asked.account.number:
            raise Refused("malformed", "no such order", 404)
        if order.status == "pending" and order.authorization.status in ("valid", "invalid"):
            order.status = "ready" if order.authorization.status == "valid" else "invalid"
            order.error = order.authorization.error
        return order

    def _order_answer(self, order: Order, status: int) -> web.Response:
        authorization = order.authorization
        if order.status == "pending" and authorization.status == "valid":
            order.status = "ready"
        where = self._url("authorization", authorization.number)
        members: dict[str, object] = {
            "status": order.status,
            "expires": _moment(self._clock() + _DAY),
            "identifiers": [{"type": "TNAuthList", "value": authorization.identifier}],
            "authorizations": [where.replace("https:", "http:") if self._faulty("http-url") else where],
            "finalize": self._url("order", order.number, "finalize"),
        }
        if order.error is not None:
            members["error"] = order.error
        if order.status == "valid":
            members["certificate"] = self._url("certificate", order.certificate)
            if self.location == "order":
                members["x5u"] = order.x5u
        response = web.json_response(members, status=status)
        response.headers["Location"] = self._url("order", order.number)
        if order.status == "processing" and self._faulty("slow"):
            response.headers["Retry-After"] = "1"
        return response

    # --- Authorizations ---------------------------------------------------------------------------------------------

    async def _authorization(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.5."""
        authorization = self._my_authorization(asked)
        if authorization.challenge == "processing":
            authorization.waits -= 1
            if not authorization.waits:
                authorization.status = authorization.challenge = authorization.decided
        identifier = "MAigBhYEOTk5OQ" if self._faulty("authorization-other") else authorization.identifier
        members = {
            "status": authorization.status,
            "expires": _moment(self._clock() + _DAY),
            "identifier": {"type": "TNAuthList", "value": identifier},
            "challenges": [self._challenge_members(authorization)],
        }
        return web.json_response(members)

    def _my_authorization(self, asked: _Asked) -> Authorization:
        authorization = self._authorizations.get(_number(asked))
        if authorization is None or asked.account is None or authorization.account != asked.account.number:
            raise Refused("malformed", "no such authorization", 404)
        return authorization

    def _challenge_members(self, authorization: Authorization) -> dict[str, object]:
        """RFC 9447 3."""
        members: dict[str, object] = {
            "type": "tkauth-01",
            "tkauth-type": "atc",
            "url": self._url("challenge", authorization.number),
            "token": authorization.token,
            "status": authorization.challenge,
        }
        if self._faulty("no-tkauth"):
            members["type"] = "dns-01"
        if authorization.challenge == "valid":
            members["validated"] = _moment(self._clock())
        return members | ({"error": authorization.error} if authorization.error is not None else {})

    async def _challenge(self, asked: _Asked) -> web.Response:
        """RFC 9447 4, RFC 9448 6."""
        authorization = self._my_authorization(asked)
        if asked.signed.payload and authorization.challenge == "pending":
            await self._decide(asked, authorization)
        response = web.json_response(self._challenge_members(authorization))
        response.headers["Link"] = f'<{self._url("authorization", authorization.number)}>;rel="up"'
        return response

    async def _decide(self, asked: _Asked, authorization: Authorization) -> None:
        members = asked.signed.members()
        if members.keys() != {self.profile.response}:
            raise Refused("malformed", f"the response has to have {self.profile.response} and nothing else")
        text = members[self.profile.response]
        decided = "valid"
        try:
            authorization.ca = await self._check_token(text, authorization, asked.key)
        except TokenRefused as refusal:
            decided = "invalid"
            detail = f"{refusal}: {text}" if self._faulty("echo") else str(refusal)
            kind = "urn:ietf:params:acme:error:incorrectResponse"
            authorization.error = {"type": kind, "detail": f"authority token refused, {detail}", "status": 403}
        if self._faulty("challenge-slow"):
            authorization.challenge, authorization.decided, authorization.waits = "processing", decided, _POLLS
        else:
            authorization.status = authorization.challenge = decided

    async def _check_token(self, text: object, authorization: Authorization, key: JWKEC) -> bool:
        if self._faulty("challenge-refused"):
            raise TokenRefused(7, "no tokens are accepted today")
        token = read_token(text)
        octets = b"" if token.x5c else await self._fetched(token.x5u)
        digest = _DIGESTS[self.fingerprint](key)
        fingerprint = f"SHA256 {digest.hex(':').upper()}"
        return check_token(token, octets, self._policy, self._clock(), der=authorization.der, fingerprint=fingerprint)

    async def _fetched(self, url: str) -> bytes:
        """Who signed the token, over HTTPS with the laboratory's own root. Errors: `TokenRefused`."""
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=self._trusting, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise TokenRefused(2, f"x5u answers {response.status}")
                return await response.content.read(_MAX_SIGNER)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TokenRefused(2, f"x5u cannot be fetched: {type(error).__name__}") from error

    # --- Certificates -----------------------------------------------------------------------------------------------

    async def _finalize(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.4."""
        order = self._mine(asked)
        if order.status != "ready" or self._faulty("not-ready-once"):
            raise Refused("orderNotReady", f"the order is {order.status}", 403)
        csr = asked.signed.members().get("csr")
        request = self._request(csr, order.authorization)
        if self._faulty("order-invalid"):
            order.status = "invalid"
            order.error = {
                "type": "urn:ietf:params:acme:error:serverInternal",
                "detail": "the HSM is on holiday",
                "status": 500,
            }
            return self._order_answer(order, 200)
        issued = self._issue(order, request)
        order.certificate = len(self.certificates) + 1
        self.certificates[order.certificate] = issued
        name = f"{issued.certificate.serial_number:x}"
        order.x5u = issued.x5u = await asyncio.to_thread(self._publish, name, issued.chains[-1])
        order.status = "valid"
        if self._faulty("slow") or self._faulty("never"):
            order.status, order.waits = "processing", -1 if self._faulty("never") else _POLLS
        return self._order_answer(order, 200)

    def _request(self, csr: object, authorization: Authorization) -> x509.CertificateSigningRequest:
        """The certificate request, as ATIS-1000080 6.4.1 has it; step 9 of RFC 9448 6. Errors: `badCSR`."""
        try:
            assert isinstance(csr, str)
            request = x509.load_der_x509_csr(urlsafe_b64decode(csr + "=" * (-len(csr) % 4)))
            extensions = {extension.oid: extension.value for extension in request.extensions}
            key = request.public_key()
            sound = request.is_signature_valid
        except (AssertionError, *MALFORMED) as error:
            raise Refused("badCSR", f"no certificate request: {error}") from error
        listed = extensions.get(tnauthlist.OID)
        constraints = extensions.get(x509.BasicConstraints.oid)
        spc = tnauthlist.decode(authorization.der).spcs[0]
        names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        wrong = {
            "its signature is wrong": not sound,
            "its key is not on P-256": not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)),
            "its key is an account's": self.profile.key_id == "binding" and self._is_account(key),
            "its TNAuthList is not the authorized one": listed is None or listed.public_bytes() != authorization.der,
            "its subject lacks C or O": not all(
                request.subject.get_attributes_for_oid(oid) for oid in (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME)
            ),
            f"its CN is not SHAKEN {spc}": len(names) != 1 or not re.fullmatch(rf"SHAKEN (.+ )?{spc}( .+)?", names[0]),
            "CA or not is not as in the token": authorization.ca
            != (isinstance(constraints, x509.BasicConstraints) and constraints.ca),
            "there is a CRL distribution point": not self.profile.crl and x509.CRLDistributionPoints.oid in extensions,
            "today is no day for it": self._faulty("bad-csr-once"),
        }
        if reasons := [words for words, is_so in wrong.items() if is_so]:
            raise Refused("badCSR", "; ".join(reasons))
        return request

    def _is_account(self, key: object) -> bool:
        assert isinstance(key, EllipticCurvePublicKey)
        return any(account.key.key.public_numbers() == key.public_numbers() for account in self.accounts.values())

    def _issue(self, order: Order, request: x509.CertificateSigningRequest) -> Certificate:
        key = request.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        points = [each.value for each in request.extensions if isinstance(each.value, x509.CRLDistributionPoints)]
        now = self._clock()
        wish = _Wish(key, tnauthlist.decode(order.authorization.der), now - 60, now + self.seconds, self._hierarchy)
        for name, change in _ISSUING_FAULTS.items():
            if self._faulty(name):
                wish = change(self, wish)
        chain = wish.issue(request.subject, points[0] if points else None)
        pems = [each.public_bytes(Encoding.PEM) for each in chain]
        if self._faulty("chain-without-intermediate"):
            pems = pems[:1]
        if self._faulty("chain-turned-round"):
            pems.reverse()
        chains = [b"".join(pems)]
        if self._faulty("other-chain"):
            other = wish._replace(hierarchy=self._unknown).issue(request.subject, None)
            chains.insert(0, b"".join(each.public_bytes(Encoding.PEM) for each in other))
        return Certificate(order.account, chain[0], [b"<html>Not here</html>"] if self._faulty("not-pem") else chains)

    @property
    def _unknown(self) -> Hierarchy:
        """An STI-CA with the same names that nobody knows; made when it is needed."""
        self._stranger = self._stranger or Hierarchy(self._hierarchy.now)
        return self._stranger

    async def _certificate(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.4.2."""
        held = self.certificates.get(_number(asked))
        which = int(asked.request.match_info.get("alternate", "0"))
        if held is None or asked.account is None or held.account != asked.account.number or which >= len(held.chains):
            raise Refused("malformed", "no such certificate", 404)
        response = web.Response(body=held.chains[which], content_type=_PEM_CHAIN)
        others = (self._url("certificate", _number(asked), each) for each in range(1, len(held.chains)))
        response.headers["Link"] = ",".join(f'<{url}>;rel="alternate"' for url in others)
        if self.location == "header":
            response.headers[LOCATION_HEADER] = held.x5u
        return response

    async def _revoke(self, asked: _Asked) -> web.Response:
        """RFC 8555 7.6: by the account that ordered it, or by the certificate's own key."""
        match asked.signed.members():
            case {"certificate": str(text), **others}:
                reason = others.get("reason", 0)
            case _:
                raise Refused("malformed", "a certificate is needed")
        if type(reason) is not int or reason not in range(11) or reason == 7:
            raise Refused("badRevocationReason", "no such reason")
        try:
            der = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError as error:
            raise Refused("malformed", "no base64url") from error
        for held in self.certificates.values():
            if held.certificate.public_bytes(Encoding.DER) == der:
                self._check_owner(asked, held)
                if held.revoked:
                    raise Refused("alreadyRevoked", "it was revoked before")
                held.revoked = True
                if self.revoked is not None:
                    await asyncio.to_thread(self.revoked, held.certificate)
                return web.Response()
        raise Refused("malformed", "no such certificate", 404)

    def _check_owner(self, asked: _Asked, held: Certificate) -> None:
        key = held.certificate.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        own = asked.account is None and asked.key.key.public_numbers() == key.public_numbers()
        if not own and (asked.account is None or asked.account.number != held.account):
            raise Refused("unauthorized", "it is not yours", 403)


# --- What misbehaviour is -------------------------------------------------------------------------------------------

_PLACES: Final = ("new-nonce", "new-account", "new-order", "revoke", "key-change")


class _Wish(NamedTuple):
    """What becomes a certificate."""

    key: EllipticCurvePublicKey
    authority: TNAuthList
    not_before: float
    not_after: float
    hierarchy: Hierarchy

    def issue(self, subject: x509.Name, points: x509.CRLDistributionPoints | None) -> tuple[x509.Certificate, ...]:
        return self.hierarchy.certify(
            self.key, subject, self.authority, not_before=self.not_before, not_after=self.not_after, points=points
        )


_ISSUING_FAULTS: Final[Mapping[str, Callable[[LabStiCa, _Wish], _Wish]]] = {
    "wrong-key": lambda _ca, wish: wish._replace(key=generate_private_key(SECP256R1()).public_key()),
    "wrong-spc": lambda _ca, wish: wish._replace(authority=TNAuthList(("9999",))),
    "more-spcs": lambda _ca, wish: wish._replace(authority=TNAuthList((*wish.authority.spcs, "9999"))),
    "expired-certificate": lambda ca, wish: wish._replace(not_before=ca._clock() - 9 * _DAY, not_after=ca._clock() - _DAY),
    "future-certificate": lambda ca, wish: wish._replace(not_before=ca._clock() + _DAY, not_after=ca._clock() + 9 * _DAY),
    "unknown-ca": lambda ca, wish: wish._replace(hierarchy=ca._unknown),
}


def _answer(response: Callable[[], web.Response]) -> Callable[[LabStiCa, web.Request], Awaitable[web.StreamResponse]]:
    async def instead(ca: LabStiCa, _request: web.Request) -> web.StreamResponse:
        made = response()
        made.headers["Replay-Nonce"] = ca._nonce()
        return made

    return instead


async def _break_off(_ca: LabStiCa, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _have_no_end(ca: LabStiCa, request: web.Request) -> web.StreamResponse:
    return await ca._server.without_end(request)


_OF_POSTS: Final = frozenset({"500-once", "500", "503-later", "json-numbers"})
_INSTEAD: Final[Mapping[str, Callable[[LabStiCa, web.Request], Awaitable[web.StreamResponse]]]] = {
    "500-once": _answer(lambda: web.Response(status=500, text="Internal Server Error")),
    "500": _answer(lambda: web.Response(status=500, text="Internal Server Error")),
    "503-later": _answer(lambda: web.Response(status=503, headers={"Retry-After": _LATER})),
    "reset-once": _break_off,
    "reset": _break_off,
    "endless": _have_no_end,
    "redirect": _answer(lambda: web.Response(status=302, headers={"Location": "https://elsewhere.example.net/"})),
    "not-json": _answer(lambda: web.Response(text="<html>Sign in</html>", content_type="text/html")),
    "json-nested": _answer(lambda: web.Response(text="[" * 100_000, content_type="application/json")),
    "json-numbers": _answer(
        lambda: web.json_response(dict.fromkeys(("status", "authorizations", "finalize", "challenges", "identifier"), 5))
    ),
}


# --- Reading and writing --------------------------------------------------------------------------------------------


def _number(asked: _Asked) -> int:
    text = asked.request.match_info["number"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _spki(key: JWKEC) -> bytes:
    digest = Hash(SHA256())
    digest.update(key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize()


_DIGESTS: Final[Mapping[str, Callable[[JWKEC], bytes]]] = {"jwk": thumbprint, "spki": _spki}


def _links(response: web.StreamResponse, index: str) -> str:
    return ",".join(filter(None, (response.headers.get("Link", ""), index)))


def _moment(seconds: float) -> str:
    """RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
