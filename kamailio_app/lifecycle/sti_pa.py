"""Client of the STI-PA's API: login, SPC tokens, the list of STI-CAs, the CRL (standards PA-1 to PA-9, RFC 9448 5.5).

Password, access token and SPC token are in no exception text and no repr. Nothing is believed for TLS alone: what the STI-PA
signs is verified against its own roots.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.https import Answer, Server, Unanswered, advice, ask, session
from kamailio_app.lifecycle.request import CrlPoint
from kamailio_app.lifecycle.secret import secret
from kamailio_app.lifecycle.spc_token import SpcToken, read_spc_token, signer_url
from kamailio_app.passport.encoding import json_object, to_base64url
from kamailio_app.runtime.provider import StiPaRules
from kamailio_app.runtime.settings import Settings

PASSWORD_VARIABLE: Final = "STIRSHAKEN_STI_PA_PASSWORD"

_MAX_ANSWER: Final = 1 << 20
_MAX_LIST: Final = 4 << 20
_MAX_CRL: Final = 64 << 20
_MAX_SIGNER: Final = 1 << 16
_MAX_ROOTS: Final = 1 << 20
_MAX_WORDS: Final = 512

_ACCESS: Final = re.compile(r"[!-~]{1,16384}", re.ASCII)  # it becomes a header field's value
_SPC: Final = re.compile(r"[0-9A-Z]{1,16}", re.ASCII)  # it becomes part of a path
_URL: Final = re.compile(r"https?://[!-~]{1,2048}", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]{1,65536}", re.ASCII)
_SERVER: Final = Server(
    "the STI-PA",
    "sti_pa_url",
    "sti_pa_tls_ca_file",
    "The STI-PA answers only addresses that its portal lists: is this host's among them?",
)
_LATER: Final = "The STI-PA has trouble of its own: try again later."
_NOT_THERE: Final = "That URL is the STI-PA's to mend, if `sti_pa_url` is right: show it this line."
_REDIRECTED: Final = "Is `sti_pa_url` its API's host, as the STI-PA gave it, and not that of its portal?"
_WORDLESS: Final = "Is `sti_pa_url` its API's host? If so, ask the STI-PA: its portal shows the account and its addresses."
_HIDDEN: Final = "(secret)"


class IssuedToken(NamedTuple):
    """A token that was verified, and what the STI-PA says with it: where the CRL is, and the name of who signs it."""

    token: SpcToken
    crl: CrlPoint | None
    issuer: str


class Login(NamedTuple):
    """What the STI-PA says to a login that it accepts, printable."""

    status: str
    message: str


class StiPa:
    """The account of the settings: logs in when it has to, and once again when the STI-PA says that the login has expired.

    `seconds` is how long one request may take, with all its tries. Errors of every method: `sti_pa_unset`,
    `sti_pa_unreachable`, `sti_pa_refused`, `sti_pa_malformed`; of the first also `tls_roots_unreadable`.
    """

    def __init__(self, rules: StiPaRules, password: str, anchors: TrustAnchors, *, seconds: float = 60.0) -> None:
        self._rules = rules
        self._password = password
        self._anchors = anchors
        self._seconds = seconds
        self._access = ""
        self._secrets = {password} - {""}
        self._session = session(rules.tls_ca_file)

    @property
    def anchors(self) -> TrustAnchors:
        """The STI-PA's roots, by which all that it signs is verified."""
        return self._anchors

    def __enter__(self) -> StiPa:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Forget the access token, and end the connections."""
        self._access = ""
        self._session.close()

    def login(self) -> Login:
        """PA-2: user and password for an access token, which is kept here."""
        if not (self._rules.user and self._password):
            raise failure("sti_pa_unset", "[sti_pa] sti_pa_user" if self._password else "the password")
        self._access = ""
        answer = self._ask("POST", "/api/v1/auth/login", body={"userId": self._rules.user, "password": self._password})
        members = self._members(answer)
        access = members.get("accessToken")
        if not isinstance(access, str) or not _ACCESS.fullmatch(access):
            raise failure("sti_pa_malformed", "the answer to the login has no accessToken that can be used")
        self._secrets |= {access, *(value for value in (members.get("refreshToken"),) if isinstance(value, str) and value)}
        self._access = access
        return Login(self._text(members, "status"), self._text(members, "message"))

    def token(self, spc: str, authority: TNAuthList, fingerprint: str, *, ca: bool = False, now: float) -> IssuedToken:
        """An SPC token for the ACME account key with that fingerprint, verified as the STI-CA will (PA-3, RFC 9448 6).

        Errors besides: those of `read_spc_token`; `sti_pa_unreachable` also for the place of its signer's certificate.
        """
        if not _SPC.fullmatch(spc):
            raise failure("sti_pa_unset", f"{one_line(spc, 64)} is no provider code" if spc else "[provider] spc")
        der = tnauthlist.encode(authority)
        tkvalue = to_base64url(der) if self._rules.tkvalue == "base64url" else b64encode(der).decode()
        atc = {"tktype": "TNAuthList", "tkvalue": tkvalue, "ca": ca, "fingerprint": fingerprint}
        members = self._members(self._authorized("POST", f"/api/v1/account/{spc}/token", body={"atc": atc}))
        text = members.get("token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise failure("sti_pa_malformed", "the answer has no token")
        self._secrets.add(text)
        url = signer_url(text)
        signer = self.certificate(url) if url else b""
        token = read_spc_token(text, signer, self._anchors, now, authority=authority, fingerprint=fingerprint, ca=ca)
        return IssuedToken(token, self._crl_point(members), self._text(members, "iss"))

    def ca_list(self) -> str:
        """The signed list of STI-CAs, as it came (PA-4): `credentials.trust_list` reads it."""
        answer = self._authorized(
            "GET", "/api/v1/ca-list", headers={"Accept": "application/jose+json"}, limit=_MAX_LIST, anonymous=True
        )
        try:
            text = answer.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise failure("sti_pa_malformed", "the list of STI-CAs is not UTF-8") from error
        # The list itself as text, RFC 7515's JSON serialisation, or the STI-PA's answer with the list in it
        if not _fine(answer) or text.lstrip().startswith("{"):
            self._members(answer)
        return text

    def crl(self) -> bytes:
        """The CRL, as it came (PA-4): `credentials.crl` reads it."""
        return self._octets(f"{self._base()}/download/v1/crl", _MAX_CRL)

    def certificate(self, url: str) -> bytes:
        """What is at the x5u of a token or a list. No access token goes there: it may be anybody's."""
        return self._octets(url, _MAX_SIGNER)

    # --- Requests ---------------------------------------------------------------------------------------------------

    def _authorized(self, method: str, path: str, *, anonymous: bool = False, **options: Any) -> Answer:
        """With the access token; one that has expired is replaced once. `anonymous`: tried without where there is none yet."""
        if not self._access and not anonymous:
            self.login()
        answer = self._ask(method, path, access=self._access, **options)
        if answer.status not in (401, 403):
            return answer
        self.login()
        return self._ask(method, path, access=self._access, **options)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        access: str = "",
        headers: Mapping[str, str] | None = None,
        body: object = None,
        limit: int = _MAX_ANSWER,
    ) -> Answer:
        """An API call. PA-2: the header field has the access token by itself, without a scheme."""
        fields = {"Accept": "application/json", **(headers or {}), **({"Authorization": access} if access else {})}
        return self._exchange(method, f"{self._base()}{path}", headers=fields, json=body, limit=limit)

    def _octets(self, url: str, limit: int) -> bytes:
        if not url.startswith("https://"):
            raise failure("sti_pa_unreachable", f"{one_line(url, _MAX_WORDS)}: not https", _NOT_THERE)
        answer = self._exchange("GET", url, limit=limit)
        if answer.status != 200:
            raise failure("sti_pa_unreachable", f"{one_line(url, _MAX_WORDS)}: HTTP {answer.status}", _NOT_THERE)
        return answer.body

    def _exchange(self, method: str, url: str, **options: Any) -> Answer:
        try:
            answer = ask(self._session, method, url, seconds=self._seconds, **options)
        except Unanswered as error:
            raise failure("sti_pa_unreachable", self._shown(str(error)), advice(error.cause, _SERVER)) from None
        if 300 <= answer.status < 400:
            # FX-2: where it leads is anybody's
            words = f"{one_line(url, _MAX_WORDS)}: HTTP {answer.status}, no redirect is followed"
            raise failure("sti_pa_unreachable", words, _REDIRECTED)
        if answer.status >= 500:
            raise failure("sti_pa_unreachable", f"{one_line(url, _MAX_WORDS)}: HTTP {answer.status}{self._why(answer)}", _LATER)
        return answer

    def _base(self) -> str:
        if not self._rules.url:
            raise failure("sti_pa_unset", "[sti_pa] sti_pa_url")
        return self._rules.url

    # --- Answers ----------------------------------------------------------------------------------------------------

    def _members(self, answer: Answer) -> dict[str, Any]:
        """The members of an answer that says yes."""
        try:
            members = json_object(answer.body)
        except StirError as error:
            if not _fine(answer):
                raise failure("sti_pa_refused", f"HTTP {answer.status}, and no words of the STI-PA", _WORDLESS) from None
            raise failure("sti_pa_malformed", f"{answer.media_type or 'no media type'}: {error.detail}") from None
        status = members.get("status")
        says_yes = status.lower() == "success" if isinstance(status, str) else status is None and not members.get("errorCode")
        if not (_fine(answer) and says_yes):
            raise failure("sti_pa_refused", self._refusal(answer, members))
        return members

    def _why(self, answer: Answer) -> str:
        """What the STI-PA says of trouble of its own, if it says anything."""
        try:
            words = self._text(json_object(answer.body), "message")
        except StirError:
            words = ""
        return f", {words}" if words else ""

    def _refusal(self, answer: Answer, members: dict[str, Any]) -> str:
        words = [
            f"HTTP {answer.status}",
            *(f"{name} {self._text(members, name)}" for name in ("status", "errorCode") if self._text(members, name)),
        ]
        return f"{', '.join(words)}: {self._text(members, 'message') or 'no message'}"

    def _text(self, members: dict[str, Any], name: str) -> str:
        value = members.get(name)
        return self._shown(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def _shown(self, text: str) -> str:
        """Its words as they may be printed: one line, and no secret, whoever wrote it there."""
        for each in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(each, _HIDDEN)
        return one_line(text, _MAX_WORDS)

    def _crl_point(self, members: dict[str, Any]) -> CrlPoint | None:
        """PA-3: what the request for a certificate names. There are answers without `iss`."""
        url, issuer = members.get("crl"), members.get("iss", "")
        if url is None:
            return None
        if not isinstance(url, str) or not _URL.fullmatch(url) or not isinstance(issuer, str):
            raise failure("sti_pa_malformed", "crl or iss")
        return CrlPoint(url, one_line(issuer, _MAX_WORDS))


def _fine(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def sti_pa_roots(path: Path | None) -> TrustAnchors:
    """The roots of [trust] sti_pa_ca_file. Errors: `sti_pa_unset`."""
    if path is None:
        raise failure("sti_pa_unset", "[trust] sti_pa_ca_file")
    try:
        with path.open("rb") as file:
            return TrustAnchors(parse_chain(file.read(_MAX_ROOTS), limit=1000))
    except OSError as error:
        raise failure("sti_pa_unset", f"[trust] sti_pa_ca_file: {path}: {error.strerror}") from error
    except StirError as error:
        raise failure("sti_pa_unset", f"[trust] sti_pa_ca_file: {path}: {one_line(error.detail)}") from error


def sti_pa_of(settings: Settings, *, anonymous: bool = False) -> StiPa:
    """The account of the settings, with its password from file or environment; `anonymous`: or without, where there is none.

    Errors: `sti_pa_unset`, `secret_missing`, `secret_permissions`, `tls_roots_unreadable`.
    """
    rules = settings.provider.sti_pa
    if not rules.url:
        raise failure("sti_pa_unset", "[sti_pa] sti_pa_url")
    anchors = sti_pa_roots(settings.trust.sti_pa_ca_file)
    try:
        password = secret(rules.password_file, PASSWORD_VARIABLE, "the STI-PA's password", "[sti_pa] sti_pa_password_file")
    except StirError as error:
        if not anonymous or error.token != "secret_missing":
            raise
        password = ""
    return StiPa(rules, password, anchors)
