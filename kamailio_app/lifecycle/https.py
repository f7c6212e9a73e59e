"""HTTPS as the STI-PA, the STI-CA and a repository are spoken to: TLS verified, retries that do no harm, no redirects, every
answer bounded in size and time (RFC 9110, FX-2).

Nothing goes out in the clear: a session has no http. What an answer means is who asks it's business.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from kamailio_app import __version__
from kamailio_app.errors import failure
from kamailio_app.grammar import one_line

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
_OURSELVES: Final = ("localhost", "127.0.0.1", "::1")
_PIECE: Final = 65536
_CAUSES: Final = 16  # an exception has no more others behind it
_CURL: Final = "Try `curl -v` on the URL from this host."
_ADVICE: Final[Mapping[str, str]] = {
    "certificate": "Has {who} a CA of its own? Then `{roots}` names its root. Else somebody stands between: try `curl -v`.",
    "tls": f"Is `{{url}}` that of {{who}}, with its port? {_CURL}",
    "name": "Compare `{url}` with what {who} gave you, and this host's DNS: `getent hosts NAME`.",
    "time": f"Is {{who}} down, or a firewall between? {_CURL} {{also}}",
    "refused": "Compare `{url}`, its port too: nothing listens there. {also}",
    "broken": f"Try again in a while. {_CURL} {{also}}",
    "network": f"{_CURL} {{also}}",
    "size": "Compare `{url}`: what answers there is not what {who} has.",
    "url": "Compare `{url}`: it begins with https://.",
    "compressed": "Is there a proxy between? It answers what nobody asked for; show {who} this line.",
}


Cause = Literal["certificate", "tls", "name", "time", "refused", "broken", "network", "size", "compressed", "url"]


class Server(NamedTuple):
    """Who is asked, and the options that say where and by which root, for what is said when it does not answer. `also` stands
    behind what is said of connections that do not come about.
    """

    who: str
    url: str
    roots: str
    also: str = ""


class Answer(NamedTuple):
    """An answer, whatever its status. `media_type` without parameters, in small letters."""

    status: int
    media_type: str
    body: bytes


class Unanswered(Exception):
    """There is no answer, or more of one than is wanted. Its text is one printable line without a secret."""

    def __init__(self, text: str, cause: Cause) -> None:
        super().__init__(text)
        self.cause = cause


class _Session(requests.Session):
    """Its roots and its limits hold for every request, also one by a library that sets its own."""

    def __init__(self, roots: str | bool) -> None:
        super().__init__()
        self._roots = roots

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        options["verify"] = self._roots
        options["allow_redirects"] = False
        if urlsplit(str(arguments[1] if len(arguments) > 1 else options.get("url"))).hostname in _OURSELVES:
            options["proxies"] = {"https": None}  # a proxy would ask itself
        if options.get("timeout") is None:
            options["timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        return super().request(*arguments, **options)


_SYSTEM: Final[Mapping[type[OSError], Cause]] = {
    socket.gaierror: "name",
    ConnectionRefusedError: "refused",
    ConnectionResetError: "broken",
    BrokenPipeError: "broken",
}


def session(tls_ca_file: Path | None) -> requests.Session:
    """A session that trusts these roots, or those of the system. Close it after use. Errors: `tls_roots_unreadable`.

    A GET is tried three times if the connection fails or the answer is 500, 502, 503 or 504; anything else again only if no
    connection came about, so that nothing was sent.
    """
    made = _Session(_roots(tls_ca_file))
    made.headers.update({"User-Agent": f"shakenctl/{__version__}", "Accept-Encoding": "identity"})
    # A netrc file would replace the Authorization header
    made.auth = _as_it_is
    made.adapters.clear()
    retry = Retry(
        total=4,
        connect=2,
        read=2,
        status=2,
        other=0,  # a TLS certificate is as bad the second time
        allowed_methods={"GET", "HEAD"},
        status_forcelist={500, 502, 503, 504},
        backoff_factor=0.25,
        backoff_max=5,
        retry_after_max=10,
        raise_on_status=False,
    )
    made.mount("https://", HTTPAdapter(max_retries=retry))
    return made


def ask(
    through: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    limit: int,
    seconds: float,
) -> Answer:
    """One request with all its tries: at most `limit` octets, and `seconds` for everything, names and TLS included.

    Errors: `Unanswered`.
    """
    future: Future[Answer] = Future()
    timeout = (min(CONNECT_SECONDS, seconds), min(READ_SECONDS, seconds))

    def work() -> None:
        try:
            with through.request(method, url, headers=headers, json=json, timeout=timeout, stream=True) as response:
                future.set_result(_answer(response, limit))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            future.set_exception(error)

    # The libraries bound each wait, not their sum, and no look-up of a name: who drips is left behind
    Thread(target=work, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise Unanswered(f"{one_line(url, 256)}: no answer within {seconds:g} seconds", "time") from None
    except (requests.RequestException, HTTPError, OSError) as error:
        cause, words = reason(error)
        raise Unanswered(f"{one_line(url, 256)}: {words}", cause) from error


def _answer(response: requests.Response, limit: int) -> Answer:
    """Errors: `Unanswered`."""
    body = bytearray()
    while piece := response.raw.read(_PIECE, decode_content=False):
        body += piece
        if len(body) > limit:
            raise Unanswered(f"{one_line(response.url, 256)}: more than {limit} octets", "size")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unanswered(f"{one_line(response.url, 256)}: compressed, which nobody asked for", "compressed")
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Answer(response.status_code, one_line(media_type, 128), bytes(body))


def _roots(tls_ca_file: Path | None) -> str | bool:
    if tls_ca_file is None:
        system = ssl.get_default_verify_paths()
        return system.cafile or system.capath or True
    try:
        ssl.create_default_context(cafile=tls_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise failure("tls_roots_unreadable", f"{tls_ca_file}: {error.strerror or 'no certificates in PEM'}") from error
    return str(tls_ca_file)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def advice(cause: Cause, of: Server) -> str:
    """What to try when there is no answer."""
    return _ADVICE[cause].format(**of._asdict()).rstrip()


def reason(error: BaseException) -> tuple[Cause, str]:
    """What lies at the bottom, in the words of the system or of TLS."""
    for each in _causes(error):
        match each:
            case ssl.SSLCertVerificationError():
                return "certificate", f"its TLS certificate: {one_line(each.verify_message, 256)}"
            case TimeoutError() | requests.ConnectTimeout() | requests.ReadTimeout():
                return "time", "no answer in time"
            case requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema() | requests.exceptions.MissingSchema():
                return "url", "no HTTPS URL"
            case ssl.SSLError():
                return "tls", f"no TLS: {one_line(str(each.reason or 'it breaks off'), 256).replace('_', ' ').lower()}"
            case OSError() if each.strerror and not isinstance(each, requests.RequestException):
                return next((cause for kind, cause in _SYSTEM.items() if isinstance(each, kind)), "network"), one_line(
                    each.strerror
                )
    return "broken", "the connection was broken off"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those behind it, each once: the libraries put them into many places."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _CAUSES:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        held = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting.extend(other for other in held if isinstance(other, BaseException))
