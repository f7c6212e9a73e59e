"""Signing in one process: what the policy decides, the numbers that it asks about, the pair that signs, the PASSporTs.

In two steps. `decide` needs the request and what script and server say beside it; only then is it known what else has to be
read (diversions, SDP, rich call data), and `sign` is given it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from kamailio_app import sip, sti_as
from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import MAX_DEST, Attestation
from kamailio_app.passport.rcd import RichCallData
from kamailio_app.policy.attestation import Call, CallerIn, Customer, Decision, Trunk, caller_in
from kamailio_app.policy.emergency import is_emergency
from kamailio_app.policy.rules import DEFAULT, Policy
from kamailio_app.runtime.certificate_list import wanted
from kamailio_app.runtime.certificates import Ending, EndWatch
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import NOTHING, Loaded
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, Numbers
from kamailio_app.runtime.settings import Settings
from kamailio_app.sip import Party, Request
from kamailio_app.sti_as import SignedCall, Signer, SigningRules, Wanted
from kamailio_app.tn import NumberPlan, canonical_tn

_ATTESTATIONS: Final[Mapping[str, Attestation]] = {level.value: level for level in Attestation}
_NUMBERS: Final = frozenset({"caller", "called", "caller_in", "do_not_originate"})
_MAX_LISTED: Final = MAX_DEST + 1  # numbers that the script names: one too many is read, so that it is seen as too many
_MAX_PIECES: Final = 10 * MAX_DEST  # of what it lists, each once: who lists more lists no numbers


class Origin(NamedTuple):
    """Where a call comes from, as script and server say. What neither policy nor record asks about is not filled in."""

    trunk: str = ""
    customer: str = ""
    source: str = ""
    port: int = 0
    transport: str = ""
    tls_peer: str = ""


class Further(NamedTuple):
    """What is read only of calls that need it. `diversions` and `dest`: numbers that the script names, with commas between."""

    sdp: str = ""
    diversions: str = ""
    dest: str = ""
    display_name: str = ""
    call_reason: str = ""
    private: bool = False  # the caller hides who he is: no rich call data


class Decided(NamedTuple):
    """A decision, and what it was made of. `level`: None if the script asked for an attestation that there is not."""

    decision: Decision
    call: Call
    level: Attestation | None
    rules: SigningRules
    trunk: Trunk | None = None
    customer: Customer | None = None
    parties: tuple[Party | None, Party | None] | None = None  # caller and called, if the policy asked for them


ANYWHERE: Final = Origin()
NOTHING_FURTHER: Final = Further()
_ANY_CALL: Final = Call("", "")
_NOBODY: Final = Customer("")


class Signing:
    """The signing half of `Service`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._choices = Choices({})
        self._watch = EndWatch()
        self.keys: Loaded = NOTHING
        self.policy = DEFAULT
        self.troubles: tuple[StirError, ...] = ()  # what is wrong with the lists of numbers; the same object until it changes
        self._inventory = self._never_calling = Numbers(None)

    def check(self, settings: Settings, policy: Policy) -> None:
        """Before a start or a reload: where the policy asks for the numbers that never call, their list can be used. Whoever
        means to reject such calls does not want all of them to pass for want of a file (decision 63).

        Errors: `inventory_unreadable`.
        """
        path = settings.do_not_originate_file
        if path is None or "do_not_originate" not in policy.uses:
            return
        former = getattr(self, "settings", None)
        in_use = former is not None and former.do_not_originate_file == path
        numbers = self._never_calling if in_use else Numbers(path, DO_NOT_ORIGINATE)
        numbers.look()
        if numbers.error is not None:
            raise failure(
                "inventory_unreadable",
                f"{numbers.error.detail}; the signing policy asks do_not_originate: make the list with "
                f"`shakenctl numbers import --list {DO_NOT_ORIGINATE}`, or take [signing] do_not_originate_file out",
            )
        if not in_use:
            numbers.close()  # nothing stays open before the fork

    def adopt(self, settings: Settings, policy: Policy, keys: Loaded) -> None:
        """After a start or a reload."""
        former = getattr(self, "settings", None)
        self.settings, self.policy, self.keys = settings, policy, keys
        self._choices = Choices(keys.signers, settings.sign_from, settings.certificate)
        self._second = 0
        self.troubles = ()  # what is wrong still is said again
        if former is None or former.inventory_file != settings.inventory_file:
            self._inventory = Numbers(settings.inventory_file, INVENTORY)
        if former is None or former.do_not_originate_file != settings.do_not_originate_file:
            self._never_calling = Numbers(settings.do_not_originate_file, DO_NOT_ORIGINATE)
        uses = policy.uses
        self._unconditional: dict[str, Decided] = {}
        self._asks_numbers = not uses.isdisjoint(_NUMBERS)
        records = settings.record.calls  # and the record says whose call it was
        self._conditional, self.asks = bool(uses), bool(uses) or records
        self.asks_source, self.asks_port = "source" in uses, "port" in uses
        self.asks_transport, self.asks_tls_peer = not uses.isdisjoint(("transport", "tls_peer")), "tls_peer" in uses
        self.asks_trunk, self.asks_customer = records or "trunk" in uses, records or "customer" in uses
        self._asks_emergency, self._asks_identity = "emergency" in uses, "identity" in uses
        # How numbers are dialled on a trunk is made once
        self._rules = {
            name: replace(settings.signing, plan=trunk.plan) if trunk.plan else settings.signing
            for name, trunk in policy.trunks.items()
        }

    # --- The decision -------------------------------------------------------------------------------------------

    def decide(self, request: Request, attest: str = "", origin: Origin = ANYWHERE) -> Decided:
        """What is to happen to an initial INVITE. `attest`: the attestation that the script asks for.

        Errors (the call goes on unsigned): `request_not_signed`.
        """
        if request.method != "INVITE" or request.in_dialog:
            raise failure("request_not_signed", request.method)
        if int(self._clock()) != self._second:
            self._tick()
        if not self._conditional:
            decided = self._unconditional.get(attest) or self._decided(attest)
            if origin.trunk or origin.customer:
                _trunk, name, customer = self.policy.place(*origin[:2], "", "", "")
                return decided._replace(call=decided.call._replace(trunk=name, customer=customer))
            return decided
        policy, rules = self.policy, self.settings.signing
        said_trunk, said_customer, source, port, transport, tls_peer = origin
        trunk, trunk_name, customer = policy.place(said_trunk, said_customer, source, transport, tls_peer)
        if trunk is not None:
            rules = self._rules[trunk_name]
        caller, called, parties = "", "", None
        if self._asks_numbers:
            parties = sip.caller(request, rules.orig_source, rules.plan), sip.called(request, rules.dest_source, rules.plan)
            caller, called = map(_number, parties)
        identity = self._asks_identity and sti_as.carries_shaken(request)
        emergency = self._asks_emergency and is_emergency(request, self.settings.emergency, rules.plan)
        call = Call(caller, called, trunk_name, customer, source, port, transport, tls_peer, identity, emergency, attest)
        candidates = policy.examine(call)
        owned: CallerIn = "none"
        never_calls = policy.asks_do_not_originate(candidates) and self._never_calling.holds(caller)
        if policy.asks_inventory(candidates):
            owned = caller_in(self._inventory.owners(caller), customer)
        decision = policy.conclude(candidates, caller_in=owned, do_not_originate=never_calls)
        decision = policy.settle(decision, trunk_name, customer, emergency=emergency)
        level = decision.attest or self._level(attest)
        return Decided(decision, call, level, rules, trunk, policy.customers.get(customer), parties)

    def _decided(self, attest: str) -> Decided:
        """Where the policy has no conditions, all calls are alike."""
        decision = self.policy.settle(self.policy.conclude(self.policy.examine(_ANY_CALL)), "", "", emergency=False)
        level = decision.attest or self._level(attest)
        decided = Decided(decision, _ANY_CALL._replace(asked=attest), level, self.settings.signing)
        if not attest or attest in _ATTESTATIONS:  # four, and no more: a script may hand on whatever a peer said
            self._unconditional[attest] = decided
        return decided

    def _level(self, attest: str) -> Attestation | None:
        return _ATTESTATIONS.get(attest) if attest else self.settings.attest_level

    # --- The signature ------------------------------------------------------------------------------------------

    def sign(self, request: Request, decided: Decided, further: Further = NOTHING_FURTHER) -> tuple[SignedCall, Signer]:
        """Sign as it was decided: what becomes of the headers, and by which pair.

        Errors (the call goes on unsigned, or is rejected where the decision says so): `policy_unsigned`, `policy_rejected`,
        `attest_unknown`, those of `Choices.choose`, of `sti_as.sign` and of `sti_as.sign_all`.
        """
        decision, level = decided.decision, decided.level
        if decision.action != "sign":
            raise failure("policy_rejected" if decision.action == "reject" else "policy_unsigned", decision.rule)
        try:
            if level is None:
                raise failure("attest_unknown", decided.call.asked)
            signer = self.signer(decision.certificate, decision.spc)
        except StirError:
            if request.identity and decision.identity == "pass" and sti_as.carries_shaken(request):
                raise failure("identity_present") from None  # it was not ours to sign anyway
            raise
        origid, now = random_uuid() if decision.origid == "call" else decision.origid, self._clock()
        if decision.further or (request.identity and (decision.identity != "pass" or decision.drop_malformed)):
            wanted = _wanted(request, decided, level, further)
            return sti_as.sign_all(request, wanted, signer, decided.rules, now=now, origid=origid), signer
        signed = sti_as.sign(request, level, signer, decided.rules, now=now, origid=origid, parties=decided.parties)
        return SignedCall((signed.identity,), signed.date, signed.claims), signer

    def signer(self, certificate: str = "", spc: str = "") -> Signer:
        """The pair that signs now. Errors: those of `Choices.choose`."""
        return self._choices.choose(self._clock(), certificate, spc)

    def questions(self) -> list[tuple[str, str]]:
        """What the rules that sign ask for, NAME and service provider code; nothing of both: of the only provider there is."""
        asked = set(wanted(self.settings.sign_from, self.policy).questions)
        decisions = [rule.decision for rule in self.policy.rules]
        if any(one.action == "sign" and not (one.certificate or one.spc) for one in decisions):
            asked.add(("", ""))
        return sorted(asked)

    def ending(self) -> list[Ending]:
        """The certificates that end soon, each of which is said at its marks. For one process, now and then."""
        asked = wanted(self.settings.sign_from, self.policy).questions
        return self._watch.due(self._choices, self._clock(), {certificate for certificate, _ in asked if certificate})

    def _tick(self) -> None:
        """Once a second: other numbers may have been imported."""
        now = self._clock()
        self._second = int(now)
        self._inventory.refresh(now)
        self._never_calling.refresh(now)
        troubles = tuple(error for error in (self._inventory.error, self._never_calling.error) if error is not None)
        if troubles != self.troubles:
            self.troubles = troubles


def _number(party: Party | None) -> str:
    return party.value if party is not None and party.kind == "tn" else ""


def _wanted(request: Request, decided: Decided, level: Attestation, further: Further) -> Wanted:
    decision, plan = decided.decision, decided.rules.plan
    return Wanted(
        level,
        identity=decision.identity,
        drop_malformed=decision.drop_malformed,
        div=decision.div,
        diversions=_parties(further.diversions, plan),
        dest=_called_besides(further.dest, plan),
        rcd=_rich_call_data(decided.customer, further) if decision.rcd and not further.private else None,
        rph=decision.rph and bool(request.resource_priority),
        mky=further.sdp if decision.mky else "",
        uri=decision.uri,
        base=decision.base,
    )


def _parties(listed: str, plan: NumberPlan) -> tuple[Party, ...]:
    """Numbers or URIs as the script lists them; what is neither is left out."""
    found = [_party(one.strip(), plan) for one in listed.split(",", _MAX_LISTED)[:_MAX_LISTED] if one.strip()]
    return tuple([party for party in found if party is not None])


def _called_besides(listed: str, plan: NumberPlan) -> tuple[Party, ...]:
    """The same, each once: no more of them than are seen as too many."""
    if not listed:
        return ()
    found: dict[Party, None] = {}
    for piece in islice(dict.fromkeys(map(str.strip, listed.split(","))), _MAX_PIECES):
        if piece and (party := _party(piece, plan)) is not None:
            found[party] = None
            if len(found) == _MAX_LISTED:
                break
    return tuple(found)


def _party(text: str, plan: NumberPlan) -> Party | None:
    if ":" in text:
        return sip.party(text, plan)
    number = canonical_tn(text, plan)
    return Party("tn", number) if number else None


def _rich_call_data(customer: Customer | None, further: Further) -> RichCallData | None:
    """Whose name it is stands in the policy; the script may know a better one for this call."""
    known = customer or _NOBODY
    name, reason = further.display_name or known.display_name, further.call_reason or known.call_reason
    if not (name or reason or known.logo):
        return None
    digests = (("/icn", known.logo_digest),) if known.logo and known.logo_digest else ()
    return RichCallData(nam=name, icn=known.logo, crn=reason, digests=digests)


def random_uuid() -> str:
    """A version 4 UUID as text (RFC 9562 5.4): what `uuid.uuid4` gives, without making an object of it."""
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
