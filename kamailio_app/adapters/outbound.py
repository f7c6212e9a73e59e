"""Signing a call, for any SIP server: snapshot -> decision -> signature -> headers, results, log line, record, return code.

Return codes are never 0, which would end the routing script.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from time import perf_counter_ns
from typing import Final

from kamailio_app import sip, sti_as
from kamailio_app.adapters.port import SipPort
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line, printable
from kamailio_app.identity import split_values
from kamailio_app.policy.attestation import Trunk
from kamailio_app.runtime.record_line import masked, masked_text
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.signing import ANYWHERE, Decided, Further, Origin
from kamailio_app.sip import Request
from kamailio_app.sti_as import SignedCall, Signer

SIGNED: Final = 1
UNSIGNED: Final = 2
REJECTED: Final = -1

_SECURE: Final = ("tls", "wss")
_MAX_REPORTED: Final = 10  # lines about one response: no call has more PASSporTs
_P_HEADERS: Final = ("P-Attestation-Indicator", "P-Origination-ID")
# Script variables outlive their call: after a rejected one they are told so once
_NO_ANSWER: Final[Mapping[str, str | int]] = {"code": 0, "phrase": ""}
# Nothing failed: the call is not ours to sign, or was signed before
_AS_IT_IS: Final = frozenset({"request_not_signed", "identity_present", "div_not_needed", "policy_unsigned"})


class Outbound:
    """The calls that one process signs."""

    def __init__(self, service: Service, port: SipPort) -> None:
        self.service = service
        self.port = port
        self._troubles: tuple[StirError, ...] = ()
        self._answered = False  # the results show how the last call was rejected

    def sign(self, attest: str) -> int:
        """Sign the request at hand: `SIGNED`; `UNSIGNED` or `REJECTED` with the reason in `token`.

        `attest`: the attestation that the script asks for; whether it gets it is the policy's to say.
        """
        began = perf_counter_ns()
        signing, request = self.service.signing, self.port.request()
        decided = None
        try:
            origin = self._origin() if signing.asks else ANYWHERE
            decided = signing.decide(request, attest, origin)
            if origin.customer and origin.customer != decided.call.customer:
                self._say_unknown(origin.customer.strip(), decided)
            self._remove_what_is_ours_to_say(decided)
            if decided.decision.further or request.identity:
                signed, signer = signing.sign(self.port.request_in_full(), decided, self._further(decided))
            else:
                signed, signer = signing.sign(request, decided)
        except StirError as error:
            return self._unsigned(error, request, decided, began)
        finally:
            if signing.troubles is not self._troubles:
                self._say_troubles()
        self._change_headers(signed)
        if not signed.identities and signed.error is not None:
            return self._unsigned(signed.error, request, decided, began)  # what was malformed is dropped all the same
        return self._signed(signed, signer, decided, began)

    def reply(self) -> None:
        """RFC 9410 5: who signed logs what a response says of that, and does not pass it on.

        What came with an Identity from upstream is theirs to hear; any other PASSporT of the call is one of ours.
        """
        fields = self.port.reasons()
        values = [value for field in fields for value in split_values(field)]
        reported = {value: signature for value in values if (signature := sti_as.reported_signature(value))}
        if not reported:
            return
        theirs = {
            value.partition(";")[0].rpartition(".")[2].strip()
            for field in self.port.identity_upstream()
            for value in split_values(field)
        }
        ours = {value: signature for value, signature in reported.items() if signature not in theirs}
        if ours:
            self.port.replace_header("Reason", [value.strip() for value in values if value not in ours])
            for value in islice(ours, _MAX_REPORTED):
                self.port.log("info", f"reported call-id={printable(self.port.call_id())} reason={one_line(value)}")

    # --- What the script and the server say -----------------------------------------------------------------------

    def _origin(self) -> Origin:
        """Asked for only where policy or record ask: each costs its time."""
        signing, port = self.service.signing, self.port
        transport = port.transport() if signing.asks_transport else ""
        return Origin(
            port.script("trunk") if signing.asks_trunk else "",
            port.script("customer") if signing.asks_customer else "",
            port.source() if signing.asks_source else "",
            port.source_port() if signing.asks_port else 0,
            transport,
            port.tls_peer() if signing.asks_tls_peer and transport in _SECURE else "",
        )

    def _further(self, decided: Decided) -> Further:
        decision, script = decided.decision, self.port.script
        # RFC 3323 4.2: who hides his identity does not want his name told
        private = decision.rcd and sip.wants_privacy(self.port.privacy())
        tells = decision.rcd and not private
        return Further(
            sdp=self.port.body() if decision.mky else "",
            diversions=script("diversions"),
            dest=script("dest"),
            display_name=script("rcd_name") if tells else "",
            call_reason=script("rcd_reason") if tells else "",
            private=private,
        )

    # --- What comes of it -----------------------------------------------------------------------------------------

    def _change_headers(self, signed: SignedCall) -> None:
        lines = "".join([f"Identity: {identity}\r\n" for identity in signed.identities])
        if signed.keep is not None:
            # Others' headers cannot be taken away one by one: all go, and those that stay come back in front of ours
            self._remove_headers("Identity")
            lines = "".join([f"Identity: {identity}\r\n" for identity in signed.keep]) + lines
        if signed.date:
            lines = f"Date: {signed.date}\r\n{lines}"
        if lines:
            self.port.append_headers(lines)

    def _remove_what_is_ours_to_say(self, decided: Decided) -> None:
        """Whatever comes of the call, what the caller himself says there goes no further."""
        if decided.decision.p_headers:
            self._remove_headers(*_P_HEADERS)
        if decided.trunk is not None and decided.trunk.bypass:
            self._remove_headers(decided.trunk.bypass_header)

    def _remove_headers(self, *names: str) -> None:
        for name in names:
            self.port.remove_header(name)

    def _signed(self, signed: SignedCall, signer: Signer, decided: Decided, began: int) -> int:
        port = self.port
        claims, rule = signed.claims, decided.decision.rule
        attest, origid = (claims.attest.value, claims.origid) if claims else ("", "")
        if decided.decision.p_headers and claims:
            port.append_headers(f"{_P_HEADERS[0]}: {attest}\r\n{_P_HEADERS[1]}: {origid}\r\n")
        results: dict[str, str | int] = {"token": "", "attest": attest, "origid": origid, "rule": rule}
        if self._answered:
            self._answered = False
            results |= _NO_ANSWER
        port.publish(results)
        settings = self.service.settings
        if settings.record.calls or (settings.log_calls and port.logs("info")):
            self._tell(signed, signer, decided, (perf_counter_ns() - began) // 1000)
        return SIGNED

    def _tell(self, signed: SignedCall, signer: Signer, decided: Decided, took: int) -> None:
        port, settings = self.port, self.service.settings
        claims, call, rule = signed.claims, decided.call, decided.decision.rule
        if claims:
            attest, origid, orig, dest = claims.attest.value, claims.origid, claims.orig.value, claims.dest[0].value
        else:
            # Another provider signed the call, and we who diverted it
            attest, origid, orig, dest = "", "", signed.diversions[0].orig.value, signed.diversions[-1].dest[0].value
        call_id = port.call_id()
        if settings.record.calls:
            self.service.record.put(
                self.service.now(),
                call_id,
                call.trunk,
                call.customer,
                orig,
                dest,
                attest,
                origid,
                signer.spcs[0] if signer.spcs else "",
                signer.fingerprint,
                rule,
                took,
                "",
                "signed",
                signer.x5u,
            )
        if settings.log_calls and port.logs("info"):
            diverting = [diversion.div.value for diversion in signed.diversions]
            if mask := settings.record.mask:
                orig, dest, *diverting = [masked(number, mask) for number in (orig, dest, *diverting)]
            # Who was signed for by others, and whom an emergency call names, is a peer's text
            who = f"orig={printable(orig)} dest={printable(dest)}"
            words = [f"sign call-id={printable(call_id)} result=signed attest={attest} {who} origid={origid}"]
            if diverted := ",".join(diverting):
                words.append(f"diverted={printable(diverted)}")
            if also := ",".join([error.token for error in (*signed.refused, *signed.dropped)]):
                words.append(f"also={also}")
            if settings.policy_file:
                words.append(f"rule={rule}")
            words.append(f"us={took}")
            port.log("info", " ".join(words))

    def _unsigned(self, error: StirError, request: Request, decided: Decided | None, began: int) -> int:
        port, settings, token = self.port, self.service.settings, error.token
        results: dict[str, str | int] = {"token": token, "attest": "", "origid": "", "rule": ""}
        if self._answered:
            self._answered = False
            results |= _NO_ANSWER
        rejected = False
        if decided is not None:
            decision = decided.decision
            results["rule"] = decision.rule
            rejected = token == "policy_rejected" or (decision.unsigned == "reject" and token not in _AS_IT_IS)
            if rejected:
                results |= {"code": decision.code, "phrase": decision.phrase}
                self._answered = True
            elif token not in _AS_IT_IS:
                self._pass_unsigned(decided.trunk)
        port.publish(results)
        if settings.record.calls and token != "request_not_signed":
            self._record_unsigned(token, request, decided, rejected, (perf_counter_ns() - began) // 1000)
        if token == "certificate_none":
            # Said once: an edge that waits for its certificate has nothing to say per call
            if port.once(token):
                port.log("warn", f"calls {'are rejected' if rejected else 'pass unsigned'}: {one_line(str(error))}")
            if not self.service.signing.keys.signers and not rejected:
                return UNSIGNED
        if settings.log_calls and port.logs("info"):
            result = f"rejected answer={results['code']}" if rejected else "unsigned"
            rule = f" rule={results['rule']}" if decided is not None and settings.policy_file else ""
            detail = one_line(masked_text(error.detail, settings.record.mask))
            port.log("info", f"sign call-id={printable(port.call_id())} result={result} token={token}{rule}: {detail}")
        return REJECTED if rejected else UNSIGNED

    def _pass_unsigned(self, trunk: Trunk | None) -> None:
        if trunk is not None and trunk.bypass:
            # The French network lets calls pass that a provider could not sign, and says so itself
            self.port.append_headers(f"{trunk.bypass_header}: {trunk.bypass}\r\n")

    def _record_unsigned(self, token: str, request: Request, decided: Decided | None, rejected: bool, took: int) -> None:
        signing = self.service.settings.signing
        rules = decided.rules if decided else signing
        caller = sip.caller(request, rules.orig_source, rules.plan)
        called = sip.called(request, rules.dest_source, rules.plan)
        self.service.record.put(
            self.service.now(),
            self.port.call_id(),
            decided.call.trunk if decided else "",
            decided.call.customer if decided else "",
            caller.value if caller else "",
            called.value if called else "",
            "",
            "",
            "",
            "",
            decided.decision.rule if decided else "",
            took,
            token,
            "rejected" if rejected else "unsigned",
        )

    def _say_unknown(self, customer: str, decided: Decided) -> None:
        """A customer whom the script names and the policy does not know, once: whoever misspelt him wants to hear of it."""
        if customer and customer != decided.call.customer and self.port.once("customer_unknown"):
            self.port.log(
                "warn",
                f"no [customer.{printable(customer, 64)}] in the signing policy: its calls are treated as if nobody were named",
            )

    def _say_troubles(self) -> None:
        """What is wrong with the lists of numbers: each trouble once, and again after a reload, by whichever process sees it
        first.
        """
        self._troubles = self.service.signing.troubles
        for error in self._troubles:
            if self.port.once(f"{error.token}:{error.detail}"):
                self.port.log("err", one_line(str(error)))
