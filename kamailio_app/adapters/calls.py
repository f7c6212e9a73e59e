"""What the entry points do, for any SIP server: snapshot -> service -> headers, results, one log line, return code.

Return codes are never 0, which would end the routing script.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

from kamailio_app import sip
from kamailio_app.adapters.port import SipPort
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line, printable
from kamailio_app.runtime.service import Pending, Service, Verified

SIGNED: Final = 1
UNSIGNED: Final = 2
VALID: Final = 1
PENDING: Final = 2
NOT_VALID: Final = 3
REJECT: Final = -1

MAX_ASSERTED: Final = 4  # RFC 3325 9.1 has two

_TO_AND_FRO_MS: Final = 500

_NOT_VERIFIED: Final[dict[str, str | int]] = {
    "token": "request_not_signed",
    "code": 0,
    "phrase": "",
    "verstat": "",
    "attest": "",
    "origid": "",
}


class Calls:
    """The calls of one process."""

    def __init__(self, service: Service, port: SipPort) -> None:
        self.service = service
        self.port = port

    def sign(self, attest: str) -> int:
        """Sign the request at hand: `SIGNED`, or `UNSIGNED` with the reason in `token`."""
        began = perf_counter_ns()
        port = self.port
        request = port.request()
        try:
            signed = self.service.sign(request, attest)
        except StirError as error:
            return self._unsigned(error)
        date = f"Date: {signed.date}\r\n" if signed.date else ""
        port.append_headers(f"{date}Identity: {signed.identity}\r\n")
        claims = signed.claims
        port.publish({"token": "", "attest": claims.attest.value, "origid": claims.origid})
        if self.service.settings.log_calls and port.logs("info"):
            took = (perf_counter_ns() - began) // 1000
            port.log(
                "info",
                f"sign call-id={printable(port.call_id())} result=signed attest={claims.attest.value} orig={claims.orig.value} "
                f"dest={claims.dest[0].value} origid={claims.origid} us={took}",
            )
        return SIGNED

    def _unsigned(self, error: StirError) -> int:
        port = self.port
        port.publish({"token": error.token, "attest": "", "origid": ""})
        if error.token == "certificate_none":
            # Said once: an edge that waits for its certificate has nothing to say per call
            if port.once(error.token):
                port.log("warn", f"calls pass unsigned: {one_line(str(error))}")
            if not self.service.keys.signers:
                return UNSIGNED
        if self.service.settings.log_calls and port.logs("info"):
            port.log(
                "info",
                f"sign call-id={printable(port.call_id())} result=unsigned token={error.token}: {one_line(error.detail)}",
            )
        return UNSIGNED

    def verify(self, *, block: bool = False, last_try: bool = False, tag: bool = True) -> int:
        """Verify the request at hand: `VALID`, `PENDING`, `NOT_VALID` or `REJECT`; results say more.

        `tag`: put verstat into the request now; a resumed call does that per branch, by `tag()`.
        """
        began = perf_counter_ns()
        port = self.port
        request = port.request()
        if request.method != "INVITE" or request.in_dialog:
            port.publish(_NOT_VERIFIED)
            return NOT_VALID
        looked_at = request
        if len(request.asserted) > MAX_ASSERTED:
            looked_at = request._replace(asserted=request.asserted[:MAX_ASSERTED])
        outcome = self.service.verify(looked_at, block=block, last_try=last_try)
        if isinstance(outcome, Pending):
            port.publish({"x5u": " ".join(outcome.urls), "wait": self.park_ms})
            return PENDING
        treatment = outcome.treatment
        passport, valid = outcome.verification.verdict.passport, outcome.verification.valid
        port.publish(
            {
                "token": outcome.verification.token,
                "code": treatment.code,
                "phrase": treatment.phrase,
                "verstat": treatment.verstat,
                "attest": passport.claims.attest.value if passport and valid else "",
                "origid": printable(passport.claims.origid) if passport and valid else "",
            }
        )
        if self.service.settings.log_calls and port.logs("info"):
            self._log_verified(outcome, (perf_counter_ns() - began) // 1000)
        if treatment.code:
            return REJECT
        if tag:
            self.tag(treatment.verstat, request, outcome.caller)
        return VALID if valid else NOT_VALID

    @property
    def park_ms(self) -> int:
        """How long a call is parked, in milliseconds: the fetch, and what it takes to get there and back."""
        return int(self.service.settings.fetch.timeout * 1000) + _TO_AND_FRO_MS

    def strip(self) -> bool:
        """Remove what came from outside; True if there was any, or more than is looked at. Then `tag_stripped` follows.

        A header can be changed once for all branches, or once in each: P-Asserted-Identity goes now and comes back with
        verstat in each branch; From is cleaned now and stays so.
        """
        request = self.port.request()
        if len(request.asserted) <= MAX_ASSERTED and "verstat" not in " ".join([request.from_uri, *request.asserted]).lower():
            return False
        if request.asserted:
            self.port.remove_asserted()
        from_uri = sip.without_verstat(request.from_uri)
        if from_uri != request.from_uri:
            self.port.replace_from_uri(from_uri, request.from_uri)
        return True

    def tag_stripped(self, verstat: str) -> None:
        """`tag` in a branch of a request that went through `strip`: what P-Asserted-Identity says. From says nothing."""
        values, _from_uri = self._told(verstat, self.port.request(), None)
        if values:
            self.port.append_asserted(values)

    def tag(self, verstat: str, request: sip.Request | None = None, caller: sip.Party | None = None) -> None:
        """Say `verstat` of the caller that was verified, where P-Asserted-Identity names it, else on From; empty: say
        nothing. Any other identity in these headers was not verified and carries none.

        What came from outside is removed in either case: verstat is ours to say (TS 24.229).
        """
        request = request or self.port.request()
        values, from_uri = self._told(verstat, request, caller)
        if values != request.asserted:
            self.port.replace_asserted(values)
        if from_uri != request.from_uri:
            self.port.replace_from_uri(from_uri, request.from_uri)

    def _told(self, verstat: str, request: sip.Request, caller: sip.Party | None) -> tuple[tuple[str, ...], str]:
        """The P-Asserted-Identity values and the From URI that say `verstat` of the caller, and of nobody else."""
        rules = self.service.settings.verification
        # More than any honest call has are not passed on: one that was not looked at could say verstat
        values, from_uri, named = request.asserted[:MAX_ASSERTED], request.from_uri, False
        if verstat and caller is None:
            caller = sip.caller(request._replace(asserted=values), rules.orig_source, rules.plan)
        if verstat and caller is not None and rules.orig_source == "pai":
            values = tuple([sip.with_verstat(value, verstat, caller, rules.plan) for value in values])
            named = ";verstat=" in "".join(values)
        else:
            values = tuple([sip.without_verstat(value) for value in values])
        if verstat and caller is not None and not named:
            return values, sip.with_verstat(from_uri, verstat, caller, rules.plan)
        return values, sip.without_verstat(from_uri)

    def _log_verified(self, outcome: Verified, took: int) -> None:
        treatment, verdict = outcome.treatment, outcome.verification.verdict
        words = [f"verify call-id={printable(self.port.call_id())}"]
        if verdict.error is None:
            words.append("result=valid")
        else:
            words.append(f"result=failed token={verdict.error.token} code={verdict.error.code}")
        words.append(f"answer={treatment.code}" if treatment.code else f"verstat={treatment.verstat}")
        if verdict.passport:
            claims = verdict.passport.claims
            words.append(f"attest={claims.attest.value} orig={printable(claims.orig.value)}")
            words.append(f"dest={printable(claims.dest[0].value)} origid={printable(claims.origid)}")
            words.append(f"x5u={printable(verdict.passport.header.x5u)}")
        if verdict.credential:
            credential = verdict.credential
            words.append(f"spc={','.join(credential.tnauthlist.spcs)} fingerprint={credential.fingerprint[:16]}")
        words.append(f"us={took}")
        detail = f": {one_line(verdict.error.detail)}" if verdict.error and verdict.error.detail else ""
        self.port.log("info", " ".join(words) + detail)
