"""The service of one process: settings, keys, trust anchors and credentials around the pure core.

Reads the clock and draws the random numbers that the core takes as arguments. Knows nothing of any SIP server: it
takes a request snapshot and gives values back. A reload swaps everything at once or, on any error, nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509 import Certificate

from kamailio_app import sti_vs
from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import Credential, TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError, failure
from kamailio_app.passport import es256
from kamailio_app.policy.emergency import is_emergency
from kamailio_app.policy.rules import DEFAULT, Policy
from kamailio_app.policy.treatment import Treatment, TreatmentRules, treatment
from kamailio_app.runtime import policy_file
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.accepted import Accepted, AcceptedMemory
from kamailio_app.runtime.cache import SharedTable
from kamailio_app.runtime.credentials import Credentials
from kamailio_app.runtime.keystore import NOTHING, Loaded, Pair, load_signers, make_signer
from kamailio_app.runtime.link import Orders
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.signing import Signing
from kamailio_app.runtime.trust import Trust, TrustMemory
from kamailio_app.sip import Party, Request
from kamailio_app.verdict import Verification

_CA_FILE = "[verification] ca_file"
_TLS_CA_FILE = "[x5u] x5u_tls_ca_file"
_STI_PA_CA_FILE = "[trust] sti_pa_ca_file"
# The caller's provider and three that diverted the call, none of which anybody here ever heard of
MAX_FETCHES: Final = 4


class Verified(NamedTuple):
    """A verification and what it leads to."""

    verification: Verification
    treatment: Treatment
    caller: Party | None = None  # whose number was looked at, if any was


class Pending(NamedTuple):
    """A verification that needs credentials which are not at hand."""

    urls: tuple[str, ...]


class Service:
    """`clock` gives seconds since 1970. Made before the server forks."""

    def __init__(
        self,
        path: Path,
        shared: SharedTable,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        orders: Orders | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self.orders = orders or Orders()
        self.accepted = AcceptedMemory()
        self.trust = TrustMemory()
        self.signing = Signing(clock)
        self.record = Record()
        self.credentials = Credentials(shared, self.orders, clock, lambda: self.generation, sleep)
        self.keys = NOTHING
        self._looked_at = 0
        _warm_up()
        self.reload()
        if any(trust := Trust.from_disk(self.settings.state_dir)):
            # The STI-PA may be out of reach now: what it said last is in use from the first call on. More than there is room
            # for is no reason not to start
            with suppress(StirError):
                self.trust.write(trust)
            self._look_at_trust(0)

    def close(self) -> None:
        """Let go of what is shared with other processes."""
        self.orders.close()
        self.record.close()

    # --- Configuration ------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read settings, trust anchors and keys, and let the other processes have what was good of it.

        Errors: those of `settings.load`, `policy_file.parse` and `Signing.check`, and then nothing has changed.
        """
        settings = settings_file.load(self._path)
        anchors = _read_anchors(settings.ca_file)
        trusted = _certificates(anchors)
        # The fetch process could only fail; here it stops the start. Not with Python's ssl: that shares OpenSSL's state with
        # Kamailio's tls
        tls = _read_anchors(settings.fetch.tls_ca_file, _TLS_CA_FILE)
        if tls and b"-----BEGIN CERTIFICATE-----" not in tls:
            raise failure("option_invalid", f"{_TLS_CA_FILE}: no certificates in PEM")
        _certificates(tls, _TLS_CA_FILE)
        _certificates(_read_anchors(settings.trust.sti_pa_ca_file, _STI_PA_CA_FILE), _STI_PA_CA_FILE)
        keys = load_signers(settings.certificate_dir, settings.public_cert_url, self._clock(), self.keys)
        pairs = {name: (pair.key.decode("latin-1"), pair.chain.decode("latin-1")) for name, pair in keys.pairs.items()}
        policy_text = _read_policy(settings.policy_file)
        policy = self._policy(settings, policy_text)
        self.signing.check(settings, policy)
        self.accepted.write(Accepted(settings.text, anchors.decode("latin-1"), pairs, policy_text))
        self._adopt(settings, policy, trusted, keys)

    def catch_up(self) -> None:
        """Take over what another process has read and found good."""
        accepted = self.accepted.read()
        settings = settings_file.parse(self._path, accepted.settings)
        pairs = {name: Pair(key.encode("latin-1"), chain.encode("latin-1")) for name, (key, chain) in accepted.pairs.items()}
        signers = {name: make_signer(name, pair, settings.public_cert_url, None) for name, pair in pairs.items()}
        policy = self._policy(settings, accepted.policy)
        self._adopt(settings, policy, _certificates(accepted.anchors.encode("latin-1")), Loaded(signers, pairs))

    @staticmethod
    def _policy(settings: Settings, text: str) -> Policy:
        return policy_file.parse(settings.policy_file, text) if settings.policy_file else DEFAULT

    def _adopt(self, settings: Settings, policy: Policy, anchors: tuple[Certificate, ...], keys: Loaded) -> None:
        self.settings = settings
        self._strict = replace(settings.verification, strict_parameters=True)
        self.keys = keys
        self._own_anchors = anchors
        self._read_trust()
        self.signing.adopt(settings, policy, keys)
        self.credentials.adopt(settings, self.anchors, self._revocations)

    # --- Verification -------------------------------------------------------------------------------------------

    def verify(
        self,
        request: Request,
        *,
        block: bool = False,
        last_try: bool = False,
        emergency: bool | None = None,
        rules: TreatmentRules | None = None,
    ) -> Verified | Pending:
        """Verify. If a credential is missing: Pending; with `block` this process waits for it, at most `call_time_budget`; at
        the `last_try` it is a timeout. An emergency call waits for nothing; whether it is one is looked at where it matters,
        unless `emergency` says it. `rules`: its trunk's, else those of all.
        """
        now = self._clock()
        if int(now) != self._looked_at:
            self._look_at_trust(int(now))
        rules = rules or self.settings.treatment
        strictness = self._strict if rules.codes.strict_parameters else self.settings.verification
        examination = sti_vs.examine(request, strictness, now=now)
        credentials: dict[str, Credential | StirError] = {}
        missing: list[str] = []
        for url in examination.needed:
            credential = self.credentials.get(url, now, late=last_try)
            if credential is None:
                missing.append(url)
            else:
                credentials[url] = credential
        if missing:
            # What more there is was never honest
            credentials.update((url, failure("x5u_refused", "too many URLs")) for url in missing[MAX_FETCHES:])
            del missing[MAX_FETCHES:]
            why = failure("x5u_timeout", "the call waited long enough")
            if emergency is None:
                emergency = self.is_emergency(request)
            if emergency:
                self.credentials.order(missing)
                why = failure("credential_not_at_hand")
            elif block and not last_try:
                credentials.update(self.credentials.wait_for(missing, self.settings.call_time_budget))
            elif not last_try:
                self.credentials.lend(credentials, now)
                return Pending(tuple(missing))
            credentials.update((url, why) for url in missing if url not in credentials)
        verification = sti_vs.conclude(examination, credentials, now=now)
        if not verification.verdict.error:
            if self.credentials.unproved:
                self.credentials.proved(verdict.x5u for verdict in verification.verdicts if verdict.valid)
            emergency = False  # a valid call is not rejected anyway
        elif emergency is None:
            emergency = self.is_emergency(request)
        action = treatment(verification, rules, emergency=emergency)
        return Verified(verification, action, examination.caller)

    def is_emergency(self, request: Request) -> bool:
        """To or Request-URI is one of `emergency_numbers`, or urn:service:sos."""
        return is_emergency(request, self.settings.emergency, self.settings.verification.plan)

    def _look_at_trust(self, second: int) -> None:
        """Once a second: has the keeper written another trust list or CRL?"""
        self._looked_at = second
        if self.trust.generation != self._trust_generation:
            self._read_trust()
            self.credentials.trust(self.anchors, self._revocations)

    def _read_trust(self) -> None:
        self._trust_generation, trust = self.trust.read()
        trust = trust.under(self.settings.trust)
        listed = TrustList.from_text(trust.trust_list)
        self.anchors = TrustAnchors((*self._own_anchors, *(listed.anchors().certificates if listed else ())))
        self._revocations = Revocations.from_text(trust.revocations)

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    @property
    def generation(self) -> str:
        """Of settings and trust together: what was refused under another one may be good now."""
        return f"{self.accepted.epoch}:{self._trust_generation}"

    @property
    def generation_now(self) -> str:
        """The same, as far as any process has got."""
        return f"{self.accepted.epoch}:{self.trust.generation}"

    def take_trust(self, trust: Trust) -> None:
        """In the keeper: the fetch process has a new trust list or CRL. Errors: `crl_malformed` if it is too large."""
        self.trust.write(trust)

    def configuration(self) -> dict[str, Any]:
        """What the fetch process has to know."""
        accepted, (generation, trust) = self.accepted.read(), self.trust.read()
        return {
            "path": str(self._path),
            "settings": accepted.settings,
            "anchors": accepted.anchors,
            "generation": f"{self.accepted.epoch}:{generation}",
            "trust": list(trust),
        }


def _warm_up() -> None:
    """What OpenSSL makes at its first signature takes milliseconds: here, before the server forks, it is no call's."""
    key = generate_private_key(SECP256R1())
    es256.verify(b"", es256.sign(b"", key), key.public_key())


def _read_anchors(ca_file: Path | None, option: str = _CA_FILE) -> bytes:
    try:
        return ca_file.read_bytes() if ca_file else b""
    except OSError as error:
        raise failure("option_invalid", f"{option}: {error}") from error


def _read_policy(path: Path | None) -> str:
    try:
        return path.read_text("utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise failure("settings_unreadable", f"[signing] policy_file: {error}") from error


def _certificates(octets: bytes, option: str = _CA_FILE) -> tuple[Certificate, ...]:
    try:
        return parse_chain(octets, limit=_MAX_ANCHORS) if octets else ()
    except StirError as error:
        raise failure("option_invalid", f"{option}: {error}") from error


_MAX_ANCHORS = 1000
