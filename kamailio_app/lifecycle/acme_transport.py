"""What carries ACME: signed requests, nonces, problem documents, the CA's words (RFC 8555 6). Over `acme` and `josepy`.

Every answer is bounded, every failure one of ours: the CA's own words, one printable line, without a token in it. The
library's log is not used: it would hold what is sent.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from josepy.errors import Error as JoseError
from josepy.interfaces import JSONDeSerializable
from josepy.json_util import JSONObjectWithFields, field
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from urllib3.exceptions import HTTPError

from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import https
from kamailio_app.lifecycle.acme_profiles import Profile
from kamailio_app.passport.encoding import to_base64url

_MAX_ANSWER: Final = 1 << 20
_PIECE: Final = 65536
_ANSWER_SECONDS: Final = 60.0
_MAX_WORDS: Final = 500
_MAX_SUBPROBLEMS: Final = 5
_PAUSES: Final = (0.5, 2.0)  # seconds, before a request is made again that the CA could not serve
_FRESH_NONCES: Final = 3
_UNSERVED: Final = frozenset({500, 502, 503, 504})
_JWS: Final = re.compile(r"eyJ[A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]*)*")

# The CA's word -> ours (RFC 8555 6.7); what is not here is `acme_refused`
_TOKENS: Final = {
    "rateLimited": "acme_rate_limited",
    "accountDoesNotExist": "acme_account_unknown",
    "externalAccountRequired": "acme_account_refused",
    "userActionRequired": "acme_terms",
}

_LATER: Final = "The STI-CA has trouble of its own: try again later. `shakenctl renew` does so by itself."
_WORDLESS: Final = (
    "Is `acme_directory` the URL of the directory itself, as the STI-CA gave it? If so, show the STI-CA this line."
)
# What the CA's word itself says of the next step
_ADVICE: Final = {
    "serverInternal": _LATER,
    "alreadyRevoked": "Nothing is left to do there. `shakenctl renew --now` gets another certificate.",
}
_SERVER: Final = https.Server("the STI-CA", "acme_directory", "acme_tls_ca_file")

Say = Callable[[str], None]

logging.getLogger("acme").setLevel(logging.WARNING)
for _name in ("TNAuthList", "TnAuthList", "tnauthlist"):  # RFC 9447 prints the second; the third is met
    messages.IdentifierType(_name)
messages.Status("expired")  # RFC 8555 7.1.6; the library has it not


@challenges.Challenge.register
class TkAuth01(challenges.Challenge):
    """The authority token challenge (RFC 9447 4)."""

    typ = "tkauth-01"
    tkauth_type: str = field("tkauth-type", omitempty=True)
    token_authority: str = field("token-authority", omitempty=True)


class Order(messages.Order):
    """RFC 9448 3: an order may say where its certificate is published."""

    x5u: str | None = field("x5u", omitempty=True)


class Members(JSONDeSerializable):
    """A payload as it stands: what the libraries have no type for."""

    def __init__(self, **members: Any) -> None:
        self._members = members

    def to_partial_json(self) -> dict[str, Any]:
        return self._members

    @classmethod
    def from_json(cls, jobj: Any) -> Members:
        return cls(**jobj)


class Patience:
    """How long an order may take, all waiting together. `wait` and `clock` (monotonic) in seconds."""

    def __init__(self, seconds: float, wait: Callable[[float], None], clock: Callable[[], float]) -> None:
        self.wait = wait
        self._clock = clock
        self._end = clock() + seconds

    def pause(self, seconds: float, what: str) -> None:
        """Errors: `acme_timeout` if it would be over then."""
        if self._clock() + seconds > self._end:
            raise failure("acme_timeout", what)
        self.wait(seconds)


class Transport(ClientNetwork):
    """Signs as the profile has it. `session` is the caller's, who closes it; `wait` is for what the CA could not serve.

    `retry_after`: seconds that the CA wants to be left alone, as of its last refusal.
    """

    def __init__(
        self,
        key: EllipticCurvePrivateKey,
        profile: Profile,
        session: requests.Session,
        wait: Callable[[float], None] = time.sleep,
        key_id: str = "",
    ) -> None:
        super().__init__(JWKEC(key=key), alg=ES256)
        self.session.close()
        self.session = session
        self.retry_after = 0.0
        self._profile = profile
        self._wait = wait
        self._key_id = key_id if profile.key_id == "jwk" else ""

    @property
    def jwk(self) -> dict[str, str]:
        """The account's public key (RFC 7517), with the CA's identifier where the profile wants it there."""
        assert self.key is not None
        members: dict[str, str] = self.key.public_key().to_partial_json() | {"kty": "EC"}
        return members | ({"kid": self._key_id} if self._key_id else {})

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As the library does; again with a fresh nonce (RFC 8555 6.5), and again if the CA could not serve it.

        No harm in that: each request has a nonce of its own, and an order that is made twice is one that nobody finishes.
        """
        pauses, nonces = list(_PAUSES), _FRESH_NONCES
        while True:
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                nonces -= 1
                if error.code != "badNonce" or not nonces:
                    raise
                self._nonces.clear()
            except _Unserved as error:
                if not pauses or error.retry_after > _PAUSES[-1]:
                    raise error.problem from None
                self._wait(pauses.pop(0))

    def _wrap_in_jws(self, obj: JSONDeSerializable | None, nonce: Any, url: str) -> str:
        """RFC 8555 6.2: flattened JSON; the key identifies who has no account yet."""
        assert self.key is not None
        who: dict[str, Any] = {"kid": self.account["uri"]} if self.account is not None else {"jwk": self.jwk}
        payload = b"" if obj is None else obj.json_dumps().encode()
        protected = {"alg": "ES256", "nonce": to_base64url(nonce), "url": url} | who
        return json.dumps(signed(self.key.key, protected, payload, bare=self._profile.bare and obj is None))

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """RFC 8555 6.1: HTTPS alone, also where the CA names the URL. At most a megabyte, in a minute."""
        if not isinstance(url, str) or not url.startswith("https://"):
            raise failure("acme_malformed", f"{one_line(str(url), 200)} is no HTTPS URL")
        try:
            response = self.session.request(method, url, *args, **{**kwargs, "stream": True})
            response._content = _body(response, url)
        except (requests.RequestException, HTTPError, OSError) as error:
            cause, why = https.reason(error)
            raise failure("acme_unreachable", f"{one_line(url, 200)}: {words(why)}", https.advice(cause, _SERVER)) from error
        response.encoding = "utf-8"
        self.retry_after = 0.0 if response.ok else retry_after(response)
        return response

    @classmethod
    def _check_response(cls, response: requests.Response, content_type: str | None = None) -> requests.Response:  # noqa: ARG003
        """RFC 8555 6.7: a problem document is the CA's own word; without one its status is."""
        if response.status_code == requests.codes.conflict:
            raise errors.ConflictError(response.headers.get("Location", ""))
        if not response.ok or response.is_redirect:
            problem: Exception
            try:
                problem = messages.Error.from_json(json_object(response))
            except (StirError, JoseError, TypeError, ValueError, LookupError, AttributeError):
                unserved = response.status_code >= 500
                problem = failure(
                    "acme_unreachable" if unserved else "acme_refused",
                    f"{one_line(str(response.url), 200)}: HTTP {response.status_code}",
                    _LATER if unserved else _WORDLESS,
                )
            if response.status_code in _UNSERVED:
                raise _Unserved(problem, retry_after(response))
            raise problem
        return response


class _Unserved(Exception):
    """The CA has trouble of its own, and may be better in a moment."""

    def __init__(self, problem: Exception, retry_after: float) -> None:
        super().__init__()
        self.problem = problem
        self.retry_after = retry_after


def _body(response: requests.Response, url: str) -> bytes:
    """Errors: `acme_malformed`, `acme_unreachable`, those of the libraries."""
    began, body = time.monotonic(), bytearray()
    with response:
        while piece := response.raw.read1(_PIECE):
            body += piece
            if len(body) > _MAX_ANSWER:
                raise failure("acme_malformed", f"{one_line(url, 200)}: more than {_MAX_ANSWER} octets")
            if time.monotonic() - began > _ANSWER_SECONDS:
                words_ = f"{one_line(url, 200)}: no end within {_ANSWER_SECONDS:g} seconds"
                raise failure("acme_unreachable", words_, https.advice("time", _SERVER))
    return bytes(body)


def signed(key: EllipticCurvePrivateKey, protected: dict[str, Any], payload: bytes, *, bare: bool = False) -> dict[str, str]:
    """A flattened JWS with ES256 (RFC 7515 7.2.2); `bare`: over the protected header alone."""
    head, body = to_base64url(json.dumps(protected).encode()), to_base64url(payload)
    signature = ES256.sign(key, (head if bare else f"{head}.{body}").encode("ascii"))
    return {"protected": head, "payload": body, "signature": to_base64url(signature)}


def retry_after(response: requests.Response) -> float:
    """Seconds (RFC 9110 10.2.3), at most a day; 0 if it says nothing of use."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), 86400.0)


def json_object(response: requests.Response) -> dict[str, Any]:
    """Errors: `acme_malformed`."""
    try:
        members = json.loads(response.content)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise failure("acme_malformed", f"{one_line(str(response.url), 200)}: no JSON object")
    return members


ReadT = TypeVar("ReadT", bound=JSONObjectWithFields)


def read(kind: type[ReadT], response: requests.Response) -> ReadT:
    """An answer as one of ACME's objects. Errors: `acme_malformed`."""
    members = json_object(response)
    try:
        value: ReadT = kind.from_json(members)
        return value
    except (JoseError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise failure("acme_malformed", f"{one_line(str(response.url), 200)}: {kind.__name__}: {words(str(error))}") from error


@contextmanager
def translated() -> Iterator[None]:
    """What the libraries raise becomes ours.

    Errors: `acme_unreachable`, `acme_malformed`, `acme_refused`, `acme_rate_limited`, `acme_account_unknown`,
    `acme_account_refused`, `acme_terms`.
    """
    try:
        yield
    except _Unserved as error:  # of a GET, which the session has tried before
        raise _ours(error.problem) from None
    except messages.Error as error:
        raise _ours(error) from None
    except errors.ConflictError as error:  # RFC 8555 7.3.5
        raise failure("acme_refused", words(f"in use by {error.location}")) from None
    except errors.NonceError as error:
        raise failure("acme_malformed", "its answers bring no nonce (RFC 8555 6.5)") from error
    except (errors.Error, JoseError) as error:
        raise failure("acme_malformed", words(f"{type(error).__name__} {error}")) from error


def _ours(error: Exception) -> StirError:
    if isinstance(error, StirError):
        return error
    assert isinstance(error, messages.Error)
    return failure(_TOKENS.get(kind(error), "acme_refused"), problem(error), _ADVICE.get(kind(error), ""))


def kind(error: messages.Error) -> str:
    """The last part of the problem's type, as RFC 8555 6.7 has them."""
    return str(error.typ).removeprefix(messages.ERROR_PREFIX)


def problem(error: messages.Error) -> str:
    """A problem document in the CA's words, those of its subproblems after them."""
    parts = [error, *(error.subproblems or ())[:_MAX_SUBPROBLEMS]]
    return "; ".join(words(": ".join(filter(None, (kind(each), str(each.detail or each.title or ""))))) for each in parts)


def words(text: str) -> str:
    """The CA's words on one printable line, without a token that it may quote."""
    return one_line(_JWS.sub("(a token)", text[: 8 * _MAX_WORDS]), _MAX_WORDS)
