"""Verifying a call, for any SIP server: snapshot -> service -> headers, results, one log line, return code.

Return codes are never 0, which would end the routing script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Final, NamedTuple

from kamailio_app import sip, sti_vs
from kamailio_app.adapters.port import SipPort
from kamailio_app.errors import failure
from kamailio_app.grammar import one_line, printable
from kamailio_app.policy.treatment import Treatment, TreatmentRules, treatment
from kamailio_app.runtime.service import Pending, Service, Verified
from kamailio_app.verdict import Verification

VALID: Final = 1
PENDING: Final = 2
NOT_VALID: Final = 3
REJECT: Final = -1

MAX_ASSERTED: Final = 4  # RFC 3325 9.1 has two

# What verified calls add beside attest and origid. Most have none of it, and each result costs its time
NOTHING_MORE: Final[Mapping[str, str | int]] = {
    "reason": "",
    "rcd_name": "",
    "rcd_reason": "",
    "rph": "",
    "diverted": "",
    "replay": "",
}
_P_HEADERS: Final = ("P-Attestation-Indicator", "P-Origination-ID")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++", re.ASCII)  # RFC 3261 25.1
_TO_ESCAPE: Final = re.compile(r'["\\]')
_MAX_TEXT: Final = 256

NOT_VERIFIED: Final[dict[str, str | int]] = {
    "token": "request_not_signed",
    "code": 0,
    "phrase": "",
    "verstat": "",
    "attest": "",
    "origid": "",
}


class _Trunk(NamedTuple):
    """Where a call comes from, and how its verification is treated. The empty name is any trunk."""

    name: str
    rules: TreatmentRules


class Calls:
    """The calls that one process verifies."""

    def __init__(self, service: Service, port: SipPort) -> None:
        self.service = service
        self.port = port
        self._any_trunk = _Trunk("", service.settings.treatment)
        self._more: Mapping[str, str | int] = {}  # what was shown last of these results

    def verify(self, *, block: bool = False, last_try: bool = False, tag: bool = True) -> int:
        """Verify the request at hand: `VALID`, `PENDING`, `NOT_VALID` or `REJECT`; results say more.

        `tag`: put verstat into the request now; a resumed call does that per branch, by `tag()`.
        """
        began = perf_counter_ns()
        port, settings = self.port, self.service.settings
        request = port.request()
        if request.method != "INVITE" or request.in_dialog:
            self._publish(NOT_VERIFIED, NOTHING_MORE)
            return NOT_VALID
        looked_at = request
        if len(request.asserted) > MAX_ASSERTED:
            looked_at = request._replace(asserted=request.asserted[:MAX_ASSERTED])
        trunk = self._trunk()
        if trunk.rules.p_headers and tag:
            for name in _P_HEADERS:
                port.remove_header(name)
        outcome = self.service.verify(looked_at, block=block, last_try=last_try, rules=trunk.rules)
        if isinstance(outcome, Pending):
            port.publish({"x5u": " ".join(outcome.urls), "wait": self.park_ms})
            return PENDING
        replayed = settings.replay != "off" and self._replayed(outcome.verification)
        if replayed and settings.replay == "fail":
            outcome = _as_replay(outcome, trunk.rules, emergency=self.service.is_emergency(request))
        verification, told = outcome.verification, outcome.treatment
        passport, valid = verification.verdict.passport, verification.valid
        self._publish(
            {
                "token": verification.token,
                "code": told.code,
                "phrase": told.phrase,
                "verstat": told.verstat,
                "attest": passport.claims.attest.value if passport and valid else "",
                "origid": printable(passport.claims.origid) if passport and valid else "",
            },
            _more(verification, told, replayed=replayed),
        )
        if settings.log_calls and port.logs("info"):
            self._log_verified(outcome, trunk, replayed, (perf_counter_ns() - began) // 1000)
        if told.code:
            return REJECT
        headers = _headers(told) if told.attestation_indicator else ""
        if tag:
            self.tag(told.verstat, request, outcome.caller, headers=headers)
        elif headers:
            port.publish({"headers": headers})
        return VALID if valid else NOT_VALID

    @property
    def park_ms(self) -> int:
        """How long a call is parked, in milliseconds."""
        return int(self.service.settings.call_time_budget * 1000)

    def _trunk(self) -> _Trunk:
        """Asked for only where trunks differ."""
        settings = self.service.settings
        if not settings.trunks:
            if self._any_trunk.rules is not settings.treatment:  # after a reload
                self._any_trunk = _Trunk("", settings.treatment)
            return self._any_trunk
        name = self.port.script("trunk")
        rules = settings.trunks.get(name)
        if rules is None and name and self.port.once("trunk_unknown"):
            self.port.log("warn", f"no [trunk.{printable(name)}] in the settings: its calls are treated as [verification] says")
        return _Trunk(name, rules or settings.treatment)

    def _replayed(self, verification: Verification) -> bool:
        """RFC 8224 12.1: did any PASSporT of the call come before, while it was fresh? What is not valid says nothing."""
        rules = self.service.settings.verification
        fresh = rules.max_iat_age + rules.max_iat_future
        # Each is asked about, for that remembers it: also what stands behind one that came before
        seen = [self.port.seen_before(key, fresh) for key in sti_vs.replay_keys(verification)]
        return any(seen)

    def _publish(self, results: Mapping[str, str | int], more: Mapping[str, str | int]) -> None:
        """Show results. Script variables outlive their call: `more` is shown if it is not what they hold."""
        if more is not self._more:
            results = {**results, **more}
            self._more = more
        self.port.publish(results)

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

    def tag_stripped(self, verstat: str, headers: str = "") -> None:
        """`tag` in a branch of a request that went through `strip`: what P-Asserted-Identity says. From says nothing."""
        if headers:
            self.port.append_headers(headers)
        values, _from_uri = self._told(verstat, self.port.request(), None)
        if values:
            self.port.append_asserted(values)

    def tag(self, verstat: str, request: sip.Request | None = None, caller: sip.Party | None = None, headers: str = "") -> None:
        """Say `verstat` of the caller that was verified, where P-Asserted-Identity names it, else on From; empty: say
        nothing. Any other identity in these headers was not verified and carries none. `headers`: whole lines to add, the
        result of that name.

        What came from outside is removed in either case: verstat is ours to say (TS 24.229).
        """
        request = request or self.port.request()
        values, from_uri = self._told(verstat, request, caller)
        if values != request.asserted:
            self.port.replace_asserted(values)
        if from_uri != request.from_uri:
            self.port.replace_from_uri(from_uri, request.from_uri)
        if headers:
            self.port.append_headers(headers)

    def _told(self, verstat: str, request: sip.Request, caller: sip.Party | None) -> tuple[tuple[str, ...], str]:
        """The P-Asserted-Identity values and the From URI that say `verstat` of the caller, and of nobody else."""
        rules = self.service.settings.verification
        # More than any honest call has are not passed on: one that was not looked at could say verstat
        values, from_uri, named = request.asserted[:MAX_ASSERTED], request.from_uri, False
        if verstat and caller is None:
            # Where nobody is the caller nothing was verified; that is said where a callee will look, on From
            caller = sip.caller(request._replace(asserted=values), rules.orig_source, rules.plan)
            caller = caller or sip.party(from_uri, rules.plan)
        if verstat and caller is not None and rules.orig_source == "pai":
            values = tuple([sip.with_verstat(value, verstat, caller, rules.plan) for value in values])
            named = ";verstat=" in "".join(values)
        else:
            values = tuple([sip.without_verstat(value) for value in values])
        if verstat and caller is not None and not named:
            return values, sip.with_verstat(from_uri, verstat, caller, rules.plan)
        return values, sip.without_verstat(from_uri)

    def _log_verified(self, outcome: Verified, trunk: _Trunk, replayed: bool, took: int) -> None:
        told, verification = outcome.treatment, outcome.verification
        verdict = verification.verdict
        words = [f"verify call-id={printable(self.port.call_id())}"]
        if trunk.name:
            words.append(f"trunk={printable(trunk.name)}")
        if verdict.error is None:
            words.append("result=valid")
        else:
            code = trunk.rules.codes.answer(verdict.error.token).code
            words.append(f"result=failed token={verdict.error.token} code={code}")
        words.append(f"answer={told.code}" if told.code else f"verstat={told.verstat}")
        if also := _further_tokens(verification):
            words.append(f"also={also}")
        if replayed:
            words.append("replay=1")
        if verdict.passport:
            claims = verdict.passport.claims
            words.append(f"attest={claims.attest.value} orig={printable(claims.orig.value)}")
            words.append(f"dest={printable(claims.dest[0].value)} origid={printable(claims.origid)}")
            words.append(f"x5u={printable(verdict.passport.header.x5u)}")
        if verification.diversions:
            words.append(f"diverted={printable(','.join(verification.diversions))}")
        if verdict.credential:
            credential = verdict.credential
            words.append(f"spc={','.join(credential.tnauthlist.spcs)} fingerprint={credential.fingerprint[:16]}")
        words.append(f"us={took}")
        detail = f": {one_line(verdict.error.detail)}" if verdict.error and verdict.error.detail else ""
        self.port.log("info", " ".join(words) + detail)


def _more(verification: Verification, told: Treatment, *, replayed: bool) -> Mapping[str, str | int]:
    """The results of few calls; `NOTHING_MORE` itself for all others."""
    rcd, rph, diversions = verification.rcd, verification.rph, verification.diversions
    if not (told.reason or rcd or rph or verification.rph_error or diversions or replayed):
        return NOTHING_MORE
    return {
        "reason": "".join([f"Reason: {value}\r\n" for value in told.reason]),
        "rcd_name": _quotable(rcd.nam) if rcd else "",
        "rcd_reason": _quotable(rcd.crn) if rcd else "",
        # No value of Resource-Priority is without a dot
        "rph": ",".join(rph) or ("failed" if verification.rph_error else ""),
        "diverted": diversions[0] if diversions else "",
        "replay": "1" if replayed else "",
    }


def _quotable(text: str) -> str:
    """A peer's text, fit to stand between quotes in a header (RFC 3261 25.1 quoted-string)."""
    if not text.isprintable():
        text = one_line(text, _MAX_TEXT)
    return _TO_ESCAPE.sub(r"\\\g<0>", text[:_MAX_TEXT])


def _headers(told: Treatment) -> str:
    """What a valid call tells the own network (TS 24.229). An origid that is no token cannot be said there."""
    lines = f"{_P_HEADERS[0]}: {told.attestation_indicator}\r\n"
    if _TOKEN.fullmatch(told.origination_id):
        lines += f"{_P_HEADERS[1]}: {told.origination_id}\r\n"
    return lines


def _as_replay(outcome: Verified, rules: TreatmentRules, *, emergency: bool) -> Verified:
    """The same outcome, were the PASSporT invalid: what was verified besides belongs to another call."""
    former = outcome.verification
    verdict = former.verdict._replace(error=failure("passport_replayed"))
    verdicts = tuple([verdict if one is former.verdict else one for one in former.verdicts])
    verification = Verification(verdict, verdicts)
    return outcome._replace(verification=verification, treatment=treatment(verification, rules, emergency=emergency))


def _further_tokens(verification: Verification) -> str:
    """What failed besides the verdict, each token once."""
    verdict, verdicts = verification.verdict, verification.verdicts
    if len(verdicts) == 1 and verdicts[0] is verdict and not verification.rcd_error:
        return ""
    errors = (*[one.error for one in verdicts if one is not verdict], verification.rcd_error, verification.rph_error)
    return ",".join(dict.fromkeys([error.token for error in errors if error and error.token != verification.token]))
