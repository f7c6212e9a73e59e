"""The STI-CA by ACME: account, order of a certificate with a TNAuthList, key change, revocation (RFC 8555, RFC 9447, RFC 9448).

An order that was interrupted is taken up again where it stopped: its URL is remembered beside the pair's key, and the key is
written before anything is asked for. What comes is checked before it is written. `acme_transport` carries it.
"""

from __future__ import annotations

import json
import os
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import requests
from acme import messages
from acme.client import ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.credentials import tnauthlist
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.errors import StirError, failure
from kamailio_app.lifecycle import https, pairs
from kamailio_app.lifecycle.acme_profiles import LOCATION_HEADER, PROFILES
from kamailio_app.lifecycle.acme_transport import (
    Members,
    Order,
    Patience,
    Say,
    TkAuth01,
    Transport,
    json_object,
    kind,
    problem,
    read,
    retry_after,
    signed,
    translated,
    words,
)
from kamailio_app.lifecycle.issued import check_issued, described, looked_at
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key, write_key
from kamailio_app.lifecycle.pairs import Pending, Record
from kamailio_app.lifecycle.request import CrlPoint, certificate_request, read_request, requested_authority
from kamailio_app.lifecycle.secret import secret
from kamailio_app.runtime.disk import make_directory, read_state, write_state
from kamailio_app.runtime.provider import ProviderRules, StiCaRules

ORDER_SECONDS: Final = 300.0
MAC_KEY_VARIABLE: Final = "STIRSHAKEN_EAB_KEY"
# RFC 5280 5.3.1, in the words of the command line
REASONS: Final = {"unspecified": 0, "key-compromise": 1, "affiliation-changed": 3, "superseded": 4, "cessation": 5}

_TYPE: Final = "TNAuthList"
_PAUSES: Final = (0.5, 1.0, 2.0, 3.0, 5.0)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_\-]+", re.ASCII)
_URL: Final = re.compile(r"https://[!-~]{1,2000}", re.ASCII)
_NEW: Final = ".new"
_WHICH_KEY: Final = "Nothing is lost: `shakenctl acme register` finds out which of the two keys the STI-CA has."
_FIRST_RETRY, _LAST_RETRY = 300, 6 * 3600
# After these the STI-CA would give the same again: another order is made
_HOPELESS: Final = frozenset({"issued_mismatch", "issued_unfit", "acme_order_invalid", "acme_challenge_refused"})
# Unless it is we who have the wrong roots or the wrong time
_OURS: Final = ("credential_untrusted", "credential_not_yet_valid")


@dataclass(frozen=True, slots=True)
class Grant:
    """An SPC token for the ACME account, and where the STI-PA says that its CRL is."""

    text: str = field(repr=False)
    crl: CrlPoint | None = None


TokenFor = Callable[[str], Grant]  # of the account key's fingerprint


class Account(NamedTuple):
    """`url` is its key identifier (RFC 8555 6.2); `created` just now; `key_fingerprint` as SPC tokens have it."""

    url: str
    status: str
    created: bool
    key_fingerprint: str


class Obtained(NamedTuple):
    """A chain that was checked. `x5u`: where the STI-CA publishes it, empty if it does not say; `findings`: of the profile."""

    chain_pem: bytes
    x5u: str = ""
    findings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """One order under way."""

    pair: Pending
    key: EllipticCurvePrivateKey = field(repr=False)
    authority: TNAuthList
    identifier: str
    token_for: TokenFor
    anchors: TrustAnchors
    patience: Patience
    url: str = ""
    order: Order = field(default_factory=Order)
    later: float = 0.0
    polls: int = 0
    grant: Grant | None = None
    answered: set[str] = field(default_factory=set)

    def pause(self, what: str) -> None:
        """As long as the STI-CA wants, or a little longer each time. Errors: `acme_timeout`."""
        usual = _PAUSES[min(self.polls, len(_PAUSES) - 1)]
        self.polls += 1
        self.patience.pause(self.later or usual, what)


class AcmeClient:
    """One STI-CA and our account there. `now`: seconds since 1970; `clock`: monotonic; `seconds`: for one order, all waiting
    together; `say` is told what is done. Close it after use.
    """

    def __init__(
        self,
        rules: StiCaRules,
        provider: ProviderRules,
        *,
        seconds: float = ORDER_SECONDS,
        say: Say = lambda _words: None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        if not rules.directory:
            raise failure("option_invalid", "[sti_ca] acme_directory is empty")
        self._rules = rules
        self._provider = provider
        self._profile = PROFILES[rules.profile]
        self._seconds = seconds
        self._say, self._now, self._clock, self._wait = say, now, clock, wait
        self._session = https.session(rules.tls_ca_file)
        self._directory: messages.Directory | None = None
        self._acme: _Acme | None = None
        self._net: Transport | None = None

    def __enter__(self) -> AcmeClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    # --- Account ----------------------------------------------------------------------------------------------------

    def account(self, *, agree: bool = False, create: bool = True, fresh: bool = True) -> Account:
        """Our account: found by its key (RFC 8555 7.3.1), else made with the external account binding (7.3.4).

        Its key is made where there is none, and the account's URL is remembered beside it; not `fresh`: that is believed.
        `agree`: to the STI-CA's terms of service, if it has any.

        Errors: `account_key_missing` and `acme_account_unknown` (and not `create`), `acme_terms`, `acme_account_refused`, those
        of `keys.read_key`, `secret.secret` and `acme_transport.translated`.
        """
        with translated():
            key = self._account_key(create)
            print_ = self._fingerprint(key)
            remembered = self._remembered(key)
            if remembered and not fresh:
                self._use(key, remembered)
                return Account(remembered, "", False, print_)
            url = self._find(key) or self._find_after_change()
            created = not url
            if not url:
                if not create:
                    raise failure("acme_account_unknown", self._rules.directory)
                url = self._create(key, agree)
            key = self._account_key(create)
            acme = self._use(key, url)
            with _files():
                write_state(self._file.parent, self._state_file.name, json.dumps(self._state(key, url), indent=2))
            status = words(str(json_object(acme.fetch(url)).get("status", "")))
            return Account(url, status, created, self._fingerprint(key))

    @property
    def _file(self) -> Path:
        return self._rules.account_key_file

    @property
    def _state_file(self) -> Path:
        return self._file.with_suffix(".json")

    def _fingerprint(self, key: EllipticCurvePrivateKey) -> str:
        return fingerprint(key.public_key(), self._provider.sti_pa.fingerprint)

    def _state(self, key: EllipticCurvePrivateKey, url: str) -> dict[str, str]:
        return {"directory": self._rules.directory, "key": fingerprint(key.public_key(), "jwk"), "url": url}

    def _account_key(self, create: bool) -> EllipticCurvePrivateKey:
        if not self._file.exists():
            if not create:
                raise failure("account_key_missing", str(self._file))
            with _files():
                make_directory(self._file.parent, 0o700)
            self._say(f"account key: {self._file}")
            write_key(self._file, new_key())
        return read_key(self._file)

    def _remembered(self, key: EllipticCurvePrivateKey) -> str:
        """The account's URL, if it is of this key at this STI-CA."""
        try:
            state = json.loads(read_state(self._file.parent, self._state_file.name) or "null")
            url = str(state["url"])
        except (ValueError, RecursionError, LookupError, TypeError):
            return ""
        return url if state == self._state(key, url) and _URL.fullmatch(url) else ""

    def _find(self, key: EllipticCurvePrivateKey) -> str:
        acme = self._use(key, "")
        try:
            # Where the key identifier stands in the JWK, asking without a word finds the account and makes it
            body = None if self._profile.bare else messages.NewRegistration(only_return_existing=True)
            return acme.location(acme.send(acme.directory["newAccount"], body))
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
            return ""

    def _find_after_change(self) -> str:
        """A key change that was interrupted: does the STI-CA have the new key already?"""
        new = self._file.with_name(self._file.name + _NEW)
        if not new.exists():
            return ""
        url = self._find(read_key(new))
        if url:
            with _files():
                os.replace(new, self._file)
        return url

    def _create(self, key: EllipticCurvePrivateKey, agree: bool) -> str:
        acme = self._use(key, "")
        terms = acme.directory.meta.terms_of_service
        if terms and not agree:
            raise failure("acme_terms", words(str(terms)))
        members: dict[str, Any] = {"terms_of_service_agreed": True} if agree else {}
        if self._rules.contact:
            members["contact"] = (f"mailto:{self._rules.contact}",)
        if self._rules.eab_key_id:
            members["external_account_binding"] = self._binding(acme)
        elif acme.external_account_required():
            raise failure("acme_account_refused", "the STI-CA wants an external account binding, and eab_key_id is empty")
        self._say("new account")
        try:
            return acme.location(acme.send(acme.directory["newAccount"], messages.NewRegistration(**members)))
        except messages.Error as error:
            if kind(error) in ("rateLimited", "userActionRequired"):
                raise
            raise failure("acme_account_refused", problem(error)) from None

    def _binding(self, acme: _Acme) -> dict[str, Any]:
        what = "the MAC key of the external account binding"
        text = secret(self._rules.eab_key_file, MAC_KEY_VARIABLE, what, "[sti_ca] eab_key_file").strip()
        mac_key = text.rstrip("=").replace("+", "-").replace("/", "_")
        if not _BASE64URL.fullmatch(mac_key) or len(mac_key) % 4 == 1:
            raise failure("acme_account_refused", "the MAC key of the external account binding is no base64url")
        assert acme.net.key is not None
        return messages.ExternalAccountBinding.from_data(
            acme.net.key.public_key(), self._rules.eab_key_id, mac_key, acme.directory
        )

    def _use(self, key: EllipticCurvePrivateKey, url: str) -> _Acme:
        """Sign with this key from now on, for the account at this URL."""
        self._net = net = Transport(key, self._profile, self._session, self._wait, self._rules.eab_key_id)
        if self._directory is None:
            self._directory = _directory(net, self._rules.directory)
        if url:
            net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
        self._acme = _Acme(self._directory, net)
        return self._acme

    @property
    def acme(self) -> _Acme:
        assert self._acme is not None
        return self._acme

    # --- Order ------------------------------------------------------------------------------------------------------

    def order(
        self, name: str, token_for: TokenFor, *, authority: TNAuthList | None = None, anchors: TrustAnchors | None = None
    ) -> Obtained:
        """A certificate for the pair of this name, which is made if it is not there; or the rest of an order for it.

        `authority` is by default the provider's code; `token_for` is asked right before the challenge is answered, since SPC
        tokens live shortly; `anchors` are those that verification trusts. Nothing is written but what fits.

        Errors: `file_exists` (it has a certificate), `acme_timeout`, `acme_order_invalid`, `acme_challenge_refused`,
        `issued_mismatch`, `issued_unfit`, those of `account` and of `token_for`.
        """
        if authority is None:
            if not self._provider.spc:
                raise failure("option_invalid", "[provider] spc is empty")
            authority = TNAuthList((self._provider.spc,))
        state_dir = self._provider.state_dir
        pair = pairs.begin(state_dir, name)
        if pair.state != "requested":
            raise failure("file_exists", pair.chain_file.name)
        record = pairs.recall(state_dir, name)
        spc = authority.spcs[0] if authority.spcs else ""
        pairs.remember(state_dir, name, replace(record, spc=spc, asked=record.asked or int(self._now()), by_hand=False))
        try:
            with translated():
                self.account(fresh=False)
                obtained = self._obtained(self._run(pair, authority, token_for, anchors or TrustAnchors(())))
        except StirError as error:
            told = self._explained(error)
            self._note(name, told)
            raise told from error
        pairs.keep_chain(state_dir, name, obtained.chain_pem, obtained.x5u)
        return obtained

    def _run(self, pair: Pending, authority: TNAuthList, token_for: TokenFor, anchors: TrustAnchors) -> _Run:
        identifier = self._profile.write_identifier(tnauthlist.encode(authority))
        patience = Patience(self._seconds, self._wait, self._clock)
        return _Run(pair, read_key(pair.key_file), authority, identifier, token_for, anchors, patience)

    def _obtained(self, run: _Run) -> Obtained:
        """RFC 8555 7.4: whatever the order's status is, what has to be done next."""
        record = pairs.recall(self._provider.state_dir, run.pair.name)
        if not (record.order and record.directory == self._rules.directory and self._resume(run, record)):
            self._new_order(run, record)
        while True:
            match run.order.status:
                case messages.STATUS_PENDING:
                    self._authorize(run)
                    self._poll(run)
                    if run.order.status == messages.STATUS_PENDING:
                        run.pause("the order is pending, though it is authorized")
                        self._poll(run)
                case messages.STATUS_READY:
                    self._finalize(run)
                case messages.STATUS_VALID if run.order.certificate:
                    return self._download(run)
                case messages.STATUS_VALID | messages.STATUS_PROCESSING:
                    run.pause("the STI-CA is still at work on the certificate")
                    self._poll(run)
                case _:
                    error = run.order.error
                    raise failure("acme_order_invalid", problem(error) if error is not None else "the STI-CA does not say why")

    def _resume(self, run: _Run, record: Record) -> bool:
        """False if the STI-CA does not know the order any more, or has given it up."""
        run.url = record.order
        try:
            self._poll(run)
        except messages.Error as error:
            if error.code not in ("malformed", "unauthorized") and kind(error) != "notFound":
                raise
            return False
        except StirError as error:
            if error.token != "acme_refused":  # 404 without a problem document
                raise
            return False
        if run.order.status == messages.STATUS_INVALID:
            return False
        self._say("order taken up again")
        return True

    def _new_order(self, run: _Run, record: Record) -> None:
        self._say(f"order for {described(run.authority)}")
        members = Members(identifiers=[{"type": _TYPE, "value": run.identifier}])
        response = self.acme.send(self.acme.directory["newOrder"], members)
        run.url = self.acme.location(response)
        run.order = read(Order, response)
        new = replace(record, asked=int(self._now()), directory=self._rules.directory, order=run.url)
        pairs.remember(self._provider.state_dir, run.pair.name, new)

    def _poll(self, run: _Run) -> None:
        response = self.acme.fetch(run.url)
        run.order, run.later = read(Order, response), retry_after(response)

    def _authorize(self, run: _Run) -> None:
        """RFC 8555 7.5, RFC 9447 4: every authorization valid. Errors: `acme_challenge_refused`, `acme_timeout`."""
        for url in run.order.authorizations or ():
            while True:
                response = self.acme.fetch(url)
                authorization, run.later = read(messages.Authorization, response), retry_after(response)
                if authorization.status == messages.STATUS_VALID:
                    break
                if authorization.status != messages.STATUS_PENDING:
                    raise failure("acme_challenge_refused", _why(authorization))
                if url in run.answered:
                    run.pause("the STI-CA is still at work on the SPC token")
                else:
                    self._answer(run, authorization)
                    run.answered.add(url)

    def _answer(self, run: _Run, authorization: messages.Authorization) -> None:
        """RFC 9447 4, RFC 9448 4. Errors: `acme_malformed`, those of `token_for`."""
        if not _same_identifier(authorization.identifier, run.identifier):
            raise failure("acme_malformed", "the authorization is for something else than was ordered")
        found = [each for each in authorization.challenges or () if isinstance(each.chall, TkAuth01)]
        challenge = next((each for each in found if each.chall.tkauth_type in ("atc", None)), None)
        if challenge is None:
            kinds = sorted({str(getattr(each.chall, "typ", "of another kind")) for each in authorization.challenges or ()})
            raise failure("acme_malformed", words(f"no tkauth-01 challenge for an atc, but {', '.join(kinds) or 'none'}"))
        if challenge.status != messages.STATUS_PENDING:
            return  # answered before an interruption
        grant = self._grant(run)
        self._say("challenge answered with an SPC token")
        self.acme.send(challenge.uri, Members(**{self._profile.response: grant.text}))

    def _grant(self, run: _Run) -> Grant:
        if run.grant is None:
            self._say("SPC token")
            run.grant = run.token_for(self._fingerprint(self._account_key(create=False)))
            self._write_request(run, run.grant)
        return run.grant

    def _write_request(self, run: _Run, grant: Grant) -> None:
        moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(self._now()))
        spc = run.authority.spcs[0] if run.authority.spcs else ""
        request = certificate_request(
            run.key,
            organization=self._provider.name,
            country=self._provider.country,
            authority=run.authority,
            common_name=self._profile.common_name.format(spc=spc, time=moment) if spc else "",
            crl=grant.crl if self._profile.crl else None,
        )
        pairs.keep_request(run.pair, request.public_bytes(Encoding.PEM))

    def _request(self, run: _Run) -> x509.CertificateSigningRequest:
        """What was written when the SPC token came, also before an interruption."""
        try:
            request = read_request(run.pair.request_file.read_bytes())
            if request.public_key() == run.key.public_key() and requested_authority(request) == run.authority:
                return request
        except (OSError, StirError):
            pass
        self._write_request(run, self._grant(run))
        return read_request(run.pair.request_file.read_bytes())

    def _finalize(self, run: _Run) -> None:
        """RFC 8555 7.4: the request goes to the STI-CA."""
        request = self._request(run)
        self._say("certificate requested")
        try:
            response = self.acme.send(run.order.finalize, messages.CertificateRequest(csr=request))
        except messages.Error as error:
            if error.code == "badCSR":
                # The order stays ready: the next attempt writes another request
                run.pair.request_file.unlink(missing_ok=True)
            if error.code != "orderNotReady":
                raise
            run.pause("the STI-CA does not take the request yet")
            self._poll(run)
            return
        run.order, run.later = read(Order, response), retry_after(response)

    def _download(self, run: _Run) -> Obtained:
        """RFC 8555 7.4.2: the chain, or another one to a root that is trusted. Errors: `issued_mismatch`, `issued_unfit`."""
        assert run.order.certificate
        response = self.acme.fetch(run.order.certificate, pem=True)
        x5u = str(run.order.x5u or response.headers.get(LOCATION_HEADER, ""))
        self._say("certificate received")
        chain, first = response.content, None
        others = self.acme.alternates(response)
        while True:
            try:
                checked = check_issued(chain, run.key.public_key(), run.authority, run.anchors, self._now())
                return Obtained(checked.chain_pem, x5u if _URL.fullmatch(x5u) else "", checked.findings)
            except StirError as error:
                first = first or error
                if not others:
                    kept = pairs.keep_refused(self._provider.state_dir, run.pair.name, response.content)
                    raise looked_at(first, kept) from None
            chain = self.acme.fetch(others.pop(0), pem=True).content

    def _explained(self, error: StirError) -> StirError:
        """A refused token, and what is known of this STI-CA that the settings have otherwise."""
        known, have = self._profile.fingerprint, self._provider.sti_pa.fingerprint
        if error.token != "acme_challenge_refused" or known == have:
            return error
        words_ = f'{error.detail}; clients of {self._rules.profile} use spc_token_fingerprint = "{known}", here it is "{have}"'
        return failure(error.token, words_, error.advice)

    def _note(self, name: str, error: StirError) -> None:
        """Remember how it ended, and leave the STI-CA alone for a while: the timer comes again."""
        state_dir, now = self._provider.state_dir, int(self._now())
        record = pairs.recall(state_dir, name)
        failures = record.failures + (error.token != "acme_timeout")
        later = min(_FIRST_RETRY * 2 ** min(max(failures - 1, 0), 10), _LAST_RETRY)
        # The same a second time is not ours
        hopeless = error.token in _HOPELESS and (not error.detail.startswith(_OURS) or record.trouble == words(str(error)))
        asked = self._net.retry_after if self._net is not None else 0
        pairs.remember(
            state_dir,
            name,
            replace(
                record,
                order="" if hopeless else record.order,
                trouble=words(str(error)),
                failures=failures,
                not_before=now + int(max(later, asked)),
            ),
        )

    # --- Afterwards -------------------------------------------------------------------------------------------------

    def rollover(self, key: EllipticCurvePrivateKey | None = None) -> Account:
        """A new account key (RFC 8555 7.3.5), made here by default; the former one is gone when the STI-CA has taken it.

        The new one is written first: after an interruption `account` finds out which of the two is the account's. SPC tokens
        are for one account key: those that were issued before are of no more use. Errors: those of `account`.
        """
        with translated():
            account = self.account(create=False)
            old = self._account_key(create=False)
            file = self._file.with_name(self._file.name + _NEW)
            if key is not None or not file.exists():
                with _files():
                    file.unlink(missing_ok=True)
                write_key(file, key or new_key())
            new = read_key(file)
            url = self.acme.resource("keyChange")
            transport = Transport(new, self._profile, self._session, self._wait, self._rules.eab_key_id)
            former = self.acme.net.jwk
            payload = json.dumps({"account": account.url, "oldKey": former}).encode()
            inner = signed(new, {"alg": "ES256", "jwk": transport.jwk, "url": url}, payload)
            self._say("key change")
            self._use(old, account.url)
        try:
            with translated():
                self.acme.send(url, Members(**inner))
        except StirError as error:
            # The answer may be what was lost
            raise failure(error.token, error.detail, _WHICH_KEY if error.token != "acme_refused" else error.advice) from error
        with translated():
            with _files():
                os.replace(file, self._file)
            return self.account(create=False)

    def revoke(self, certificate: x509.Certificate, reason: int = 0) -> None:
        """RFC 8555 7.6, by the account that ordered it. The STI-PA's CRL is what verifiers look at: ask whether it is there.

        Errors: those of `account`.
        """
        with translated():
            self.account(create=False, fresh=False)
            self.acme.send(self.acme.resource("revokeCert"), messages.Revocation(certificate=certificate, reason=reason))


class _Acme(ClientV2):
    """The library's client, and what it has no word for."""

    net: Transport

    def __init__(self, directory: messages.Directory, net: Transport) -> None:
        super().__init__(directory, net)

    def send(self, url: Any, payload: Any) -> requests.Response:
        return self._post(url, payload)

    def fetch(self, url: Any, *, pem: bool = False) -> requests.Response:
        """POST-as-GET (RFC 8555 6.3)."""
        if not pem:
            return self._post_as_get(url)
        accept = {"Accept": "application/pem-certificate-chain", "Content-Type": "application/jose+json"}
        return self._post_as_get(url, headers=accept)

    def resource(self, name: str) -> str:
        """Errors: `acme_refused` if the STI-CA does not offer that."""
        try:
            return str(self.directory[name])
        except KeyError:
            advice = "It does not offer that by ACME: ask the STI-CA how it is done there."
            raise failure("acme_refused", f"the STI-CA's directory has no {name}", advice) from None

    def location(self, response: requests.Response) -> str:
        """Errors: `acme_malformed`."""
        url = response.headers.get("Location", "")
        if not _URL.fullmatch(url):
            raise failure("acme_malformed", f"{words(str(response.url))}: no Location")
        return url

    def alternates(self, response: requests.Response) -> list[str]:
        return self._get_links(response, "alternate")[: len(_PAUSES)]


@contextmanager
def _files() -> Iterator[None]:
    """What the disk does not do is not the STI-CA's fault. Errors: `file_unwritable`."""
    try:
        yield
    except OSError as error:
        raise failure("file_unwritable", f"{error.filename or 'provider_state_dir'}: {error.strerror}") from error


def _directory(net: Transport, url: str) -> messages.Directory:
    """RFC 8555 7.1.1. Errors: `acme_malformed`."""
    members = json_object(net.get(url))
    meta = members.get("meta", {})
    members["meta"] = meta if isinstance(meta, dict) else {}
    missing = [name for name in ("newNonce", "newAccount", "newOrder") if not isinstance(members.get(name), str)]
    if missing:
        raise failure("acme_malformed", f"{words(url)}: the directory lacks {', '.join(missing)}")
    return messages.Directory.from_json(members)


def _why(authorization: messages.Authorization) -> str:
    """What the STI-CA says of the challenge, or else the status."""
    errors_ = [problem(each.error) for each in authorization.challenges or () if each.error is not None]
    return (
        "; ".join(errors_) or f"the authorization is {authorization.status.name if authorization.status else 'without status'}"
    )


def _same_identifier(given: messages.Identifier | None, ours: str) -> bool:
    """Whatever way the STI-CA writes it; one that is not there says nothing."""
    if given is None:
        return True
    texts = [str(each).replace("-", "+").replace("_", "/").rstrip("=") for each in (given.value, ours)]
    try:
        octets = [b64decode(text + "=" * (-len(text) % 4), validate=True) for text in texts]
    except ValueError:
        return False
    return octets[0] == octets[1]
