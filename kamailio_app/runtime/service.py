"""The service of one process: settings, keys, trust anchors and credentials around the pure core.

Reads the clock and draws the random numbers that the core takes as arguments. Knows nothing of any SIP server: it
takes a request snapshot and gives values back. A reload swaps everything at once or, on any error, nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from kamailio_app import sti_as, sti_vs
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import Credential, TrustAnchors, validate
from kamailio_app.credentials.lifetime import lifetime
from kamailio_app.errors import StirError, failure
from kamailio_app.passport import es256
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.treatment import Treatment, treatment
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.accepted import Accepted, AcceptedMemory
from kamailio_app.runtime.cache import CredentialCache, Fetched, SharedTable
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.keystore import NOTHING, Loaded, Pair, choose_signer, load_signers, make_signer
from kamailio_app.runtime.settings import Settings
from kamailio_app.sip import Party, Request
from kamailio_app.sti_as import Signed, Signer
from kamailio_app.verdict import Verification

_CA_FILE = "[verification] ca_file"
# No honest call names more signers whom nobody here ever heard of
_MAX_FETCHES = 2
_TLS_CA_FILE = "[x5u] x5u_tls_ca_file"
_LENT_LONGER = 5  # seconds, beyond what a call waits for at most
_ATTESTATIONS = {level.value: level for level in Attestation}


class Verified(NamedTuple):
    """A verification and what it leads to."""

    verification: Verification
    treatment: Treatment
    caller: Party | None = None  # whose number was looked at, if any was


class Pending(NamedTuple):
    """A verification that needs credentials which are not at hand."""

    urls: tuple[str, ...]


class Service:
    """`clock` gives seconds since 1970; `fetcher` is made at the first fetch, in the process that fetches."""

    def __init__(
        self,
        path: Path,
        shared: SharedTable,
        *,
        clock: Callable[[], float] = time.time,
        make_fetcher: Callable[[settings_file.FetchRules], Fetcher] = Fetcher,
    ) -> None:
        self._path = path
        self._shared = shared
        self._clock = clock
        self._make_fetcher = make_fetcher
        self._fetcher: Fetcher | None = None
        self.accepted = AcceptedMemory()
        self.keys = NOTHING
        _warm_up()
        self.reload()

    # --- Configuration ------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read settings, trust anchors and keys, and let the other processes have what was good of it.

        Errors: those of `settings.load`, and then nothing has changed.
        """
        settings = settings_file.load(self._path)
        anchors = _read_anchors(settings.ca_file)
        trust = _trust_anchors(anchors)
        # Not with Python's ssl: that shares OpenSSL's state with Kamailio's tls and must not run before the fork
        _trust_anchors(_read_anchors(settings.fetch.tls_ca_file, _TLS_CA_FILE), _TLS_CA_FILE)
        keys = load_signers(settings.certificate_dir, settings.public_cert_url, self._clock(), self.keys)
        pairs = {name: (pair.key.decode("latin-1"), pair.chain.decode("latin-1")) for name, pair in keys.pairs.items()}
        self.accepted.write(Accepted(settings.text, anchors.decode("latin-1"), pairs))
        self._adopt(settings, trust, keys)

    def catch_up(self) -> None:
        """Take over what another process has read and found good."""
        accepted = self.accepted.read()
        settings = settings_file.parse(self._path, accepted.settings)
        pairs = {name: Pair(key.encode("latin-1"), chain.encode("latin-1")) for name, (key, chain) in accepted.pairs.items()}
        signers = {name: make_signer(name, pair, settings.public_cert_url, None) for name, pair in pairs.items()}
        self._adopt(settings, _trust_anchors(accepted.anchors.encode("latin-1")), Loaded(signers, pairs))

    def _adopt(self, settings: Settings, anchors: TrustAnchors, keys: Loaded) -> None:
        self.settings = settings
        self.anchors = anchors
        self.keys = keys
        self._chosen: tuple[int, Signer] | None = None
        self._cache = CredentialCache(settings.max_cache_size)
        if self._fetcher:
            self._fetcher.close()
        self._fetcher = None

    # --- Signing ------------------------------------------------------------------------------------------------

    def signer(self) -> Signer:
        """The pair that signs now, chosen anew every second. Errors: `certificate_none`."""
        now = self._clock()
        if self._chosen is None or self._chosen[0] != int(now):
            self._chosen = int(now), choose_signer(self.keys.signers, self.settings.certificate, now)
        return self._chosen[1]

    def sign(self, request: Request, attest: str = "") -> Signed:
        """Sign with the attestation that the script asked for, else with `attest_level`.

        Errors (the call goes on unsigned): `certificate_none`, `attest_unknown`, those of `sti_as.sign`.
        """
        level = _ATTESTATIONS.get(attest) if attest else self.settings.attest_level
        if level is None:
            raise failure("attest_unknown", attest)
        signer = self.signer()
        return sti_as.sign(request, level, signer, self.settings.signing, now=self._clock(), origid=_random_uuid())

    # --- Verification -------------------------------------------------------------------------------------------

    def verify(self, request: Request, *, block: bool = False, last_try: bool = False) -> Verified | Pending:
        """Verify. If a credential is missing: Pending; with `block` it is fetched; at the `last_try` it is a timeout."""
        now = self._clock()
        examination = sti_vs.examine(request, self.settings.verification, now=now)
        credentials: dict[str, Credential | StirError] = {}
        missing: list[str] = []
        for url in examination.needed:
            credential = self._at_hand(url, now)
            if credential is None:
                missing.append(url)
            else:
                credentials[url] = credential
        if missing:
            if last_try:
                credentials.update((url, failure("x5u_timeout", "the call waited long enough")) for url in missing)
            elif block:
                credentials.update(self.fetch(missing[:_MAX_FETCHES]))
                credentials.update((url, failure("x5u_refused", "too many URLs")) for url in missing[_MAX_FETCHES:])
            else:
                self._lend(credentials, now)
                return Pending(tuple(missing[:_MAX_FETCHES]))
        verification = sti_vs.conclude(examination, credentials, now=now)
        return Verified(verification, treatment(verification, self.settings.treatment), examination.caller)

    def _lend(self, credentials: Mapping[str, Credential | StirError], now: float) -> None:
        """The call goes on in another process, which has to find what is at hand here, should others have displaced it."""
        ends = int(now) + int(self.settings.fetch.timeout) + _LENT_LONGER
        for url, credential in credentials.items():
            if isinstance(credential, Credential) and self._shared.get(url) is None:
                fetched = Fetched(min(ends, credential.not_after), pem=credential.path_pem)
                self._shared.put(url, fetched.to_text(), max(1, fetched.expires - int(now)))

    def obtain(self, urls: Iterable[str]) -> None:
        """Fetch those that are not at hand: another process may have been faster."""
        now = self._clock()
        if missing := [url for url in urls if self._at_hand(url, now) is None]:
            self.fetch(missing[:_MAX_FETCHES])

    def fetch(self, urls: Iterable[str]) -> dict[str, Credential | StirError]:
        """Fetch credentials, remember them here and for the other processes. Waits for at most `fetch_timeout`."""
        if self._fetcher is None:
            self._fetcher = self._make_fetcher(self.settings.fetch)
        epoch = self.accepted.epoch  # a reload meanwhile may change the verdict
        downloads = self._fetcher.fetch(urls)
        now = self._clock()
        results: dict[str, Credential | StirError] = {}
        for url, download in downloads.items():
            try:
                if isinstance(download, StirError):
                    raise download
                credential = validate(download.octets, self.anchors, now)
            except StirError as error:
                ends = int(now) + self.settings.negative_lifetime
                fetched = Fetched(ends, token=error.token, epoch=epoch)
                results[url] = error
            else:
                ends = int(now) + lifetime(download.cache_control, self.settings.lifetime)
                # Only what the path needs: a stranger's file may hold much more
                fetched = Fetched(min(ends, credential.not_after), pem=credential.path_pem)
                results[url] = credential
            self._cache.put(url, results[url], fetched.expires)
            self._shared.put(url, fetched.to_text(), max(1, fetched.expires - int(now)))
        return results

    def _at_hand(self, url: str, now: float) -> Credential | StirError | None:
        return self._cache.get(url, now) or self._from_shared(url, now)

    def _from_shared(self, url: str, now: float) -> Credential | StirError | None:
        text = self._shared.get(url)
        fetched = Fetched.from_text(text) if text else None
        if fetched is None or fetched.expires <= now:
            return None
        if error := fetched.error():
            # What was refused before a reload may be good after it: new trust anchors, another rule
            if fetched.epoch != self.accepted.epoch:
                return None
            self._cache.put(url, error, fetched.expires)
            return error
        return self._accept(url, fetched, now)

    def _accept(self, url: str, fetched: Fetched, now: float) -> Credential | StirError:
        """Validate what was fetched, once, and remember the outcome; never past the end of the chain's validity."""
        try:
            credential = validate(fetched.pem.encode(), self.anchors, now)
        except StirError as error:
            self._cache.put(url, error, min(fetched.expires, int(now) + self.settings.negative_lifetime))
            return error
        self._cache.put(url, credential, min(fetched.expires, credential.not_after))
        return credential


def _random_uuid() -> str:
    """A version 4 UUID as text (RFC 9562 5.4): what `uuid.uuid4` gives, without making an object of it."""
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


def _warm_up() -> None:
    """What OpenSSL makes at its first signature takes milliseconds: here, before the server forks, it is no call's."""
    key = generate_private_key(SECP256R1())
    es256.verify(b"", es256.sign(b"", key), key.public_key())


def _read_anchors(ca_file: Path | None, option: str = _CA_FILE) -> bytes:
    try:
        return ca_file.read_bytes() if ca_file else b""
    except OSError as error:
        raise failure("option_invalid", f"{option}: {error}") from error


def _trust_anchors(octets: bytes, option: str = _CA_FILE) -> TrustAnchors:
    try:
        return TrustAnchors(parse_chain(octets, limit=_MAX_ANCHORS) if octets else ())
    except StirError as error:
        raise failure("option_invalid", f"{option}: {error}") from error


_MAX_ANCHORS = 1000
