"""A TOOL FOR TESTS AND QA, not an STI-PA: a real server over TLS with keys that are thrown away, whose tokens, list and CRL
nobody outside the laboratory trusts. Its passwords stand in this file. It can be told to misbehave.

Serves the API that the STI-PA of the United States documents (standards PA-2 to PA-5) and that of RFC 9448 5.5:

    POST /api/v1/auth/login                 user and password -> an access token
    POST /api/v1/account/SPC/token          an SPC token, for who has an access token
    GET  /api/v1/ca-list                    the signed list of STI-CAs, in JSON; by itself for who accepts application/jose
    GET  /download/v1/crl                   the indirect CRL, in DER
    GET  /download/v1/certificate/NAME.crt  who signed a token, the list or the CRL
    POST /at/account/USER/token             an SPC token, for who has the password (HTTP's basic authentication)
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from threading import Lock
from types import TracebackType
from typing import Any, Final, NamedTuple

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import Hierarchy, Issued
from kamailio_app.lab.tls_server import Handler, TlsServer

USER: Final = "api@lab.example.net"
PASSWORD: Final = "lab-password"

_LIST_DAYS: Final = 30
_CRL_DAYS: Final = 7
_DAY: Final = 86400
_FIRST: Final = 10  # sequence and number begin here, so that there are lower ones
_SIGNER, _STRANGER = "sti-pa", "stranger"
_FINGERPRINT: Final = re.compile(r"SHA256 [0-9A-F]{2}(?::[0-9A-F]{2}){31}", re.ASCII)
_DRIP_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Account:
    """Who may log in, and for which provider codes."""

    password: str = field(repr=False)
    spcs: frozenset[str]


class Fault(NamedTuple):
    """What it does, and how many times; 0: until the server is told to behave."""

    words: str
    times: int = 0


FAULTS: Final[Mapping[str, Fault]] = {
    # Any answer
    "500-once": Fault("the next answer is 500", 1),
    "500": Fault("every answer is 500"),
    "503-twice": Fault("the next two answers are 503 with Retry-After: 0", 2),
    "reset-once": Fault("the next connection is broken off instead of an answer", 1),
    "reset": Fault("every connection is broken off instead of an answer"),
    "slow": Fault("no answer comes until the server ends"),
    "drip": Fault("answers come an octet at a time, twenty in a second"),
    "endless": Fault("answers have no end"),
    "redirect": Fault("answers lead elsewhere"),
    "not-json": Fault("answers are a web page"),
    "json-name-twice": Fault("answers are JSON with one name twice"),
    "json-nested": Fault("answers are JSON with brackets without end"),
    "compressed": Fault("answers are compressed, whatever was asked for"),
    # Login and access
    "login-refused": Fault("every login is refused"),
    "login-without-token": Fault("a login succeeds, and there is no access token in the answer"),
    "login-number": Fault("the access token is a number"),
    "login-header": Fault("the access token holds CR LF and a header field"),
    "401-once": Fault("the next access token is said to have expired", 1),
    "401": Fault("every access token is said to have expired"),
    "echo": Fault("refusals repeat the password and the access token"),
    # SPC tokens
    "token-refused": Fault("no account may have a token, with status 200"),
    "token-absent": Fault("a token is said to have been made, and is not in the answer"),
    "token-malformed": Fault("the token is no JWS"),
    "token-expired": Fault("the token has expired"),
    "token-wrong-fingerprint": Fault("the token is for another account key"),
    "token-wrong-spc": Fault("the token is for another provider code"),
    "token-ca": Fault("the token's `ca` is the opposite of what was asked for"),
    "token-bad-signature": Fault("the token is signed with a key that is not the certificate's"),
    "token-unknown-signer": Fault("the token is signed by an STI-PA that nobody knows"),
    "token-signer-missing": Fault("there is nothing at the token's x5u"),
    "token-signer-http": Fault("the token's x5u is not https"),
    # List of STI-CAs
    "list-needs-login": Fault("the list is for who has an access token"),
    "list-rollback": Fault("the list is an older one"),
    "list-expired": Fault("the list has expired"),
    "list-bad-signature": Fault("the list is signed with a key that is not the certificate's"),
    "list-unknown-signer": Fault("the list is signed by an STI-PA that nobody knows"),
    # CRL
    "crl-stale": Fault("the CRL's nextUpdate has passed"),
    "crl-rollback": Fault("the CRL is an older one"),
    "crl-bad-signature": Fault("the CRL is signed with a key that is not the certificate's"),
    "crl-unknown-signer": Fault("the CRL is signed by an STI-PA that nobody knows"),
}


class LabStiPa:
    """Answers from when it is entered until it is left; asked and told from any thread.

    `accounts` (user -> account) may be changed at any time. `asked` has method and path of each request. `access_seconds` is
    how long an access token is good, `token_seconds` an SPC token. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        tls: Issued,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "localhost",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.accounts: dict[str, Account] = {USER: Account(PASSWORD, frozenset({"1234"}))}
        self.asked: list[str] = []
        self.access_seconds = 3600.0
        self.token_seconds = 3600.0
        self._hierarchy = hierarchy
        self._clock = clock
        self._server = TlsServer(tls, host, port, name)
        self._lock = Lock()
        self._access: dict[str, tuple[str, float]] = {}  # access token -> user, end
        self._given: list[str] = []  # refresh tokens and SPC tokens
        self._roots = [hierarchy.root.certificate]
        self._sequence = _FIRST
        self._revoked: list[x509.Certificate] = []
        self._number = _FIRST
        self._crl_made = 0.0
        self._faults: dict[str, tuple[str, int]] = {}  # name -> where, how many times yet (below 0: always)
        self._unknown: Issued | None = None

    # --- What a test tells it ---------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """`sti_pa_url` in the settings; paths begin with a slash."""
        return self._server.url

    @property
    def list_url(self) -> str:
        """`trust_list_url` in the settings."""
        return f"{self.url}/api/v1/ca-list"

    @property
    def crl_url(self) -> str:
        """`crl_url` in the settings."""
        return f"{self.url}/download/v1/crl"

    @property
    def secrets(self) -> frozenset[str]:
        """Passwords, access tokens and SPC tokens: what is to be in nobody's output or log."""
        with self._lock:
            return frozenset((*(each.password for each in self.accounts.values()), *self._access, *self._given))

    def revoke(self, certificate: x509.Certificate) -> None:
        """It stands in the CRL from now on, whichever STI-CA issued it."""
        with self._lock:
            self._revoked.append(certificate)
            self._number += 1
            self._crl_made = 0.0

    def list_ca(self, root: x509.Certificate) -> None:
        """It stands in the list from now on."""
        with self._lock:
            self._roots = [*self._roots, root]
            self._sequence += 1

    def unlist_ca(self, root: x509.Certificate) -> None:
        """It stands in the list no longer. Errors: ValueError if it did not."""
        with self._lock:
            left = [each for each in self._roots if each != root]
            if left == self._roots:
                raise ValueError("it is not in the list")
            self._roots = left
            self._sequence += 1

    def misbehave(self, *faults: str, at: str = "") -> None:
        """These of `FAULTS` from now on, besides those that it has already; of any answer: where the path begins with `at`."""
        with self._lock:
            self._faults |= {name: (at, FAULTS[name].times or -1) for name in faults}

    def behave(self) -> None:
        """No faults any more."""
        with self._lock:
            self._faults.clear()

    def _faulty(self, name: str, path: str = "") -> bool:
        """Is it to be done now? Counts."""
        with self._lock:
            at, left = self._faults.get(name, ("", 0))
            if not left or not path.startswith(at):
                return False
            self._faults[name] = at, left - 1
            return True

    # --- Server -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> LabStiPa:
        application = web.Application(middlewares=[self._middleware])
        for tail in ("", "/"):
            application.router.add_post(f"/api/v1/auth/login{tail}", self._login)
            application.router.add_post(f"/api/v1/account/{{spc}}/token{tail}", self._spc_token)
            application.router.add_get(f"/api/v1/ca-list{tail}", self._ca_list)
        application.router.add_get("/download/v1/crl", self._crl)
        application.router.add_get("/download/v1/certificate/{name}.crt", self._certificate)
        application.router.add_post("/at/account/{user}/token", self._authority_token)
        self._server.start(application)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        for name, instead in _INSTEAD.items():
            if self._faulty(name, request.path):
                return await instead(self, request)
        try:
            return await handler(request)
        except _Refused as refusal:
            return web.json_response(refusal.members, status=refusal.status)

    # --- Login ------------------------------------------------------------------------------------------------------

    async def _login(self, request: web.Request) -> web.StreamResponse:
        match await _members(request):
            case {"userId": str(user), "password": str(password)}:
                pass
            case _:
                raise _Refused(400, "1001", "userId and password are needed")
        if self._faulty("login-refused") or not self._knows(user, password):
            raise _Refused(401, "1002", f"Unknown user or wrong password{self._echo(password)}")
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._lock:
            self._access[access] = user, self._clock() + self.access_seconds
            self._given.append(refresh)
        answer: dict[str, object] = {
            "status": "success",
            "message": "Logged in successfully",
            "accessToken": access,
            "refreshToken": refresh,
        }
        for name, change in _LOGIN_FAULTS.items():
            if self._faulty(name):
                answer |= change
        return web.json_response({name: value for name, value in answer.items() if value is not None})

    def _knows(self, user: str, password: str) -> bool:
        account = self.accounts.get(user)
        return account is not None and compare_digest(account.password.encode(), password.encode())

    def _user(self, request: web.Request) -> str:
        """Who has this access token: the header field has it by itself (PA-2)."""
        access = request.headers.get("Authorization", "")
        with self._lock:
            user, ends = self._access.get(access, ("", 0.0))
        if self._faulty("401-once") or self._faulty("401") or self._clock() >= ends:
            raise _Refused(401, "1003", f"Access token is unknown or has expired{self._echo(access)}")
        return user

    def _echo(self, text: str) -> str:
        return f": {text}" if self._faulty("echo") else ""

    # --- SPC tokens -------------------------------------------------------------------------------------------------

    async def _spc_token(self, request: web.Request) -> web.StreamResponse:
        user, spc = self._user(request), request.match_info["spc"]
        if self._faulty("token-refused"):
            raise _Refused(200, "2005", f"No token for {spc}{self._echo(request.headers['Authorization'])}")
        if user not in self.accounts or spc not in self.accounts[user].spcs:
            raise _Refused(403, "2001", f"The account has no SPC {spc}")
        token = self._token((await _members(request)).get("atc"), frozenset({spc}))
        answer: dict[str, object] = {
            "status": "success",
            "message": f"SPC token for spc: {spc} is created successfully",
            "token": token,
            "crl": self.crl_url,
            "iss": ", ".join(each.rfc4514_string() for each in self._hierarchy.policy_signer.certificate.subject),
        }
        if self._faulty("token-absent"):
            del answer["token"]
        return web.json_response(answer)

    async def _authority_token(self, request: web.Request) -> web.StreamResponse:
        """RFC 9448 5.5: 403 for wrong credentials and for an account that does not exist."""
        user = request.match_info["user"]
        name, password = _basic(request)
        if name != user or not self._knows(user, password):
            raise _Refused(403, "1002", "No such account, or not yours")
        return web.json_response({"token": self._token(await _members(request), self.accounts[user].spcs)})

    def _token(self, asked: object, spcs: frozenset[str]) -> str:
        """RFC 9448 5.1 to 5.4: what is asked for, signed, if the account may have it."""
        match asked:
            case {"tktype": "TNAuthList", "tkvalue": str(tkvalue), "fingerprint": str(fingerprint), **others}:
                ca = others.get("ca", False)
            case _:
                raise _Refused(400, "2002", "tktype, tkvalue and fingerprint are needed")
        if type(ca) is not bool or not _FINGERPRINT.fullmatch(fingerprint):
            raise _Refused(400, "2003", "ca or fingerprint is malformed")
        authority = _authority(tkvalue)
        if len(authority.spcs) != 1 or authority.ranges or authority.numbers or not spcs.issuperset(authority.spcs):
            raise _Refused(403, "2004", "tkvalue holds what is not this account's")
        order = _Order(tkvalue, fingerprint, ca, self._clock() + self.token_seconds, _SIGNER, self._hierarchy.policy_signer)
        for name, change in _TOKEN_FAULTS.items():
            if self._faulty(name):
                order = change(self, order)
        x5u = self._certificate_url(order.signer_name)
        if self._faulty("token-signer-http"):
            x5u = x5u.replace("https:", "http:")
        token = self._hierarchy.spc_token(
            authority,
            order.fingerprint,
            expires=order.expires,
            ca=order.ca,
            jti=secrets.token_hex(16),
            tkvalue=order.tkvalue,
            x5u=x5u,
            signer=order.signer,
        )
        with self._lock:
            self._given.append(token)
        return "no-jws" if self._faulty("token-malformed") else token

    # --- List, CRL, certificates ------------------------------------------------------------------------------------

    async def _ca_list(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers or self._faulty("list-needs-login"):
            self._user(request)
        with self._lock:
            roots, sequence = self._roots, self._sequence
        expires = self._clock() + _LIST_DAYS * _DAY
        name, signer = self._signer("list")
        text = self._hierarchy.trust_list(
            roots,
            sequence - self._faulty("list-rollback"),
            expires=self._clock() - _DAY if self._faulty("list-expired") else expires,
            signer=signer,
            x5u=self._certificate_url(name),
        )
        accepted = {each.partition(";")[0].strip() for each in request.headers.get("Accept", "").split(",")}
        if "application/jose" in accepted:
            return web.Response(text=text, content_type="application/jose")
        content_type = "application/jose+json" if "application/jose+json" in accepted else "application/json"
        return web.json_response({"status": "success", "caList": text}, content_type=content_type)

    async def _crl(self, _request: web.Request) -> web.StreamResponse:
        now = self._clock()
        with self._lock:
            # Fresh: a new one before half of its time is over, at once when something is revoked
            if now - self._crl_made > _CRL_DAYS * _DAY / 2:
                self._number += bool(self._crl_made)
                self._crl_made = now
            made, number, revoked = self._crl_made, self._number, list(self._revoked)
        if self._faulty("crl-rollback"):
            made, number = made - _DAY, number - 1
        stale = self._faulty("crl-stale")
        pem = self._hierarchy.crl(
            revoked,
            number=number,
            this_update=made - 2 * _DAY if stale else made,
            next_update=now - _DAY if stale else made + _CRL_DAYS * _DAY,
            signer=self._signer("crl")[1],
        )
        der = x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)
        return web.Response(body=der, content_type="application/pkix-crl")

    async def _certificate(self, request: web.Request) -> web.StreamResponse:
        signers = {_SIGNER: self._hierarchy.policy_signer, _STRANGER: self._stranger}
        signer = signers.get(request.match_info["name"])
        if signer is None:
            raise web.HTTPNotFound
        return web.Response(body=signer.chain_pem, content_type="application/x-x509-ca-cert")

    def _certificate_url(self, name: str) -> str:
        return f"{self.url}/download/v1/certificate/{name}.crt"

    def _signer(self, what: str) -> tuple[str, Issued]:
        """Who signs `what`, and under which name."""
        if self._faulty(f"{what}-unknown-signer"):
            return _STRANGER, self._stranger
        signer = self._hierarchy.policy_signer
        return _SIGNER, replace(signer, key=self._stranger.key) if self._faulty(f"{what}-bad-signature") else signer

    @property
    def _stranger(self) -> Issued:
        """An STI-PA with the same names that nobody knows; made when it is needed."""
        with self._lock:
            self._unknown = self._unknown or Hierarchy(self._hierarchy.now).policy_signer
            return self._unknown


# --- What misbehaviour is -------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The request is refused, in the STI-PA's way."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.members = {"status": "failure", "errorCode": code, "message": message}


class _Order(NamedTuple):
    """What becomes an SPC token."""

    tkvalue: str
    fingerprint: str
    ca: bool
    expires: float
    signer_name: str
    signer: Issued


_LOGIN_FAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "login-without-token": {"accessToken": None},
    "login-number": {"accessToken": 5},
    "login-header": {"accessToken": "token\r\nX-Injected: yes"},
}
_OTHER: Final = "MAigBhYEOTk5OQ=="  # provider code 9999
_TOKEN_FAULTS: Final[Mapping[str, Callable[[LabStiPa, _Order], _Order]]] = {
    "token-expired": lambda pa, order: order._replace(expires=pa._clock() - 60),
    "token-wrong-fingerprint": lambda _pa, order: order._replace(fingerprint="SHA256 " + ":".join(["00"] * 32)),
    "token-wrong-spc": lambda _pa, order: order._replace(tkvalue=_OTHER),
    "token-ca": lambda _pa, order: order._replace(ca=not order.ca),
    "token-bad-signature": lambda pa, order: order._replace(signer=replace(order.signer, key=pa._stranger.key)),
    "token-unknown-signer": lambda pa, order: order._replace(signer_name=_STRANGER, signer=pa._stranger),
    "token-signer-missing": lambda _pa, order: order._replace(signer_name="nobody"),
}


def _answer(response: Callable[[], web.Response]) -> Callable[[LabStiPa, web.Request], Awaitable[web.StreamResponse]]:
    async def instead(_pa: LabStiPa, _request: web.Request) -> web.StreamResponse:
        return response()

    return instead


async def _break_off(_pa: LabStiPa, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _say_nothing(pa: LabStiPa, request: web.Request) -> web.StreamResponse:
    await pa._server.end()
    return await _break_off(pa, request)


async def _drip(pa: LabStiPa, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with suppress(OSError):  # who asked did not wait
        while not await _passes(pa, _DRIP_SECONDS):
            await response.write(b" ")
    return response


async def _passes(pa: LabStiPa, seconds: float) -> bool:
    """True if the server ends before."""
    try:
        async with asyncio.timeout(seconds):
            await pa._server.end()
    except TimeoutError:
        return False
    return True


async def _have_no_end(pa: LabStiPa, request: web.Request) -> web.StreamResponse:
    return await pa._server.without_end(request)


_INSTEAD: Final[Mapping[str, Callable[[LabStiPa, web.Request], Awaitable[web.StreamResponse]]]] = {
    "500-once": _answer(lambda: web.Response(status=500, text="Internal Server Error")),
    "500": _answer(lambda: web.Response(status=500, text="Internal Server Error")),
    "503-twice": _answer(lambda: web.Response(status=503, headers={"Retry-After": "0"})),
    "reset-once": _break_off,
    "reset": _break_off,
    "slow": _say_nothing,
    "drip": _drip,
    "endless": _have_no_end,
    "redirect": _answer(lambda: web.Response(status=302, headers={"Location": "https://elsewhere.example.net/"})),
    "not-json": _answer(lambda: web.Response(text="<html>Sign in</html>", content_type="text/html")),
    "json-name-twice": _answer(
        lambda: web.Response(text='{"status": "success", "status": "failure"}', content_type="application/json")
    ),
    "json-nested": _answer(lambda: web.Response(text="[" * 100_000, content_type="application/json")),
    "compressed": _answer(lambda: web.Response(text="{}", headers={"Content-Encoding": "gzip"})),
}


# --- Reading --------------------------------------------------------------------------------------------------------


async def _members(request: web.Request) -> dict[str, Any]:
    try:
        members = json.loads(await request.read())
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise _Refused(400, "1000", "The body is no JSON object")
    return members


def _basic(request: web.Request) -> tuple[str, str]:
    """User and password (RFC 7617 2); empty where there are none."""
    scheme, _, held = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = b64decode(held, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (user, password) if scheme.lower() == "basic" else ("", "")


def _authority(tkvalue: str) -> TNAuthList:
    """In base64 with padding or base64url without (PA-9)."""
    try:
        decode = b64decode if tkvalue.endswith("=") or set("+/") & set(tkvalue) else urlsafe_b64decode
        return tnauthlist.decode(decode(tkvalue + "=" * (-len(tkvalue) % 4)))
    except (ValueError, StirError) as error:
        raise _Refused(400, "2002", "tkvalue holds no TNAuthList") from error
