"""`make demo`: two signing and two verifying edges on loopback, real calls by SIPp, one table of what came of them, and the
answer to a traceback of one of them.

One pair is KEMI behind native routing and marks failed calls (`failure_action = "tag"`); the other is the reverse
and answers them (`"reject"`). Exits with 1 if one row is not as it should be.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kamailio_app.errors import FAILURES, PASSED
from kamailio_app.lab.edge import EXEC, KEMI
from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.lab.pki import Hierarchy, ServiceProvider, expired
from kamailio_app.lab.sipp import Callee, place_call


@dataclass(frozen=True)
class Case:
    """One kind of call. `attest`: it goes through the signing edge; else `headers` go straight to the verifying one."""

    title: str
    token: str = ""  # of the failure that is expected
    attest: str = ""
    headers: str = ""
    called: str = CALLED


@dataclass(frozen=True)
class Row:
    """What became of a case at one pair of edges."""

    seen: str
    token: str
    milliseconds: float
    good: bool


# The customer may say what he deserves: that is what the demo shows
POLICY = """
[customer.acme]

[trunk.acme-pbx]
customer = "acme"
source = "{inside}"

[[rule]]
name = "acme"
customer = "acme"
attest = "asked"
"""


class Pair:
    """A signing edge, a verifying edge and a callee."""

    def __init__(self, network: Network, stack: ExitStack, number: int, cfgs: tuple[str, str], action: str) -> None:
        self.network, self.action = network, action
        self.inside, self.carrier = network.host(number + 1), network.host(number + 2)
        callee_host = network.host(number + 3)
        self.callee = stack.enter_context(Callee(network.directory / f"{action}-callee", callee_host))
        orig_host = network.host(number + 4)
        settings = network.settings(verification={"failure_action": action, "require_identity": action == "reject"})
        self.verifying = network.edge(
            f"{action}-verifying-edge",
            number + 5,
            cfgs[1],
            settings=settings,
            inside=[f"sip:{callee_host}:{self.callee.port}"],
            carriers=[f"sip:{orig_host}:5060", f"sip:{self.carrier}:5060"],
        )
        self.signing = network.edge(
            f"{action}-signing-edge",
            number + 4,
            cfgs[0],
            settings=network.settings(
                signing={"policy_file": "policy.toml"}, record={"record_calls": True, "record_dir": "calls"}
            ),
            inside=[f"sip:{self.inside}:5060"],
            carriers=[f"sip:{self.verifying.host}:{self.verifying.port}"],
        )
        network.provider.write(self.signing.directory / "certs", "sp1234")
        (self.signing.directory / "policy.toml").write_text(POLICY.format(inside=self.inside))
        stack.enter_context(self.verifying)
        stack.enter_context(self.signing)

    def run(self, number: int, case: Case) -> Row:
        """Place the call and judge what the caller got, what the callee saw and what the log says."""
        through_signer = bool(case.attest)
        edge = self.signing if through_signer else self.verifying
        outcome = place_call(
            self.network.directory / f"{self.action}-calls",
            f"{number:02}-{re.sub(r'[^a-z0-9]+', '-', case.title.lower())}",
            source=self.inside if through_signer else self.carrier,
            target=(edge.host, edge.port),
            caller=CALLER,
            called=case.called,
            extra=f"P-Attestation-Indicator: {case.attest}" if through_signer else case.headers,
        )
        words = self._logged(outcome.call_id)
        verstat, leaked = self._callee_saw(outcome.call_id)
        token = words.get("token", "")
        good = token == case.token and (not through_signer or words.get("attest") == case.attest) and not leaked
        if case.token and self.action == "reject":
            expected = FAILURES[case.token].error
            good = good and (outcome.code, outcome.phrase) == (expected.code, expected.phrase) and not verstat
            return Row(f"{outcome.code} {outcome.phrase}", token, outcome.seconds * 1000, good)
        expected_verstat = FAILURES[case.token].verstat if case.token else PASSED
        good = good and outcome.code == 200 and verstat == expected_verstat
        return Row(f"{outcome.code} {verstat}{f' {case.attest}' if case.attest else ''}", token, outcome.seconds * 1000, good)

    def traceback(self) -> tuple[str, str]:
        """Somebody complains of the first signed call, whose origid he has: the command that tells whose it was, its answer."""
        origid = next(words["origid"] for call_id, words in self.verifying.calls().items() if call_id.startswith("01-"))
        command = ["trace", "--origid", origid, "--directory", str(self.signing.directory / "calls")]
        for _ in range(20):
            words = [sys.executable, "-m", "kamailio_app.cli.main", *command]
            answer = subprocess.run(words, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                break
            time.sleep(0.1)  # the record is at most a second behind
        return " ".join(["shakenctl", *command[:3]]), answer.stdout

    def _logged(self, call_id: str) -> dict[str, str]:
        for _ in range(50):
            if words := self.verifying.calls().get(call_id):
                return words
            time.sleep(0.02)
        return {}

    def _callee_saw(self, call_id: str) -> tuple[str, bool]:
        """verstat on the identity that was verified; and whether one stands anywhere that we did not put there."""
        invite = self.callee.invites().get(call_id)
        if invite is None:
            return "", False
        asserted, from_field = invite.header("p-asserted-identity"), invite.header("from")
        pattern = r";verstat=([A-Za-z-]+)"
        found = re.findall(pattern, asserted or from_field)
        return ",".join(found), bool(asserted and re.search(pattern, from_field))


def cases(network: Network) -> list[Case]:
    """What is sent, signed now, and what has to come of it."""
    identity = network.identity
    good = identity()
    head, dot, signature = good.partition(";")[0].rpartition(".")
    tampered = (
        head + dot + ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:])) + good[good.index(";") :]
    )
    spec = ServiceProvider()
    stranger = network.publish("stranger", spec, Hierarchy(network.now, "Unknown"))
    late = network.publish("late", expired(spec, network.now))
    url = network.repository.url
    asserted = f"P-Asserted-Identity: <sip:{CALLER};verstat={PASSED}@carrier.example;user=phone>\r\n"
    return [
        *(Case(f"Signed, attestation {level}", attest=level) for level in "ABC"),
        Case("Tampered signature", "signature_invalid", headers=f"Identity: {tampered}"),
        Case("Wrong called number", "dest_mismatch", headers=f"Identity: {good}", called="+12155559999"),
        Case("Spoofed verstat, unsigned", "identity_missing", headers=f"{asserted}Subject: spoofed"),
        Case("Signed two minutes ago", "iat_stale", headers=f"Identity: {identity(age=120)}"),
        Case(
            "Certificate of an unknown CA",
            "credential_untrusted",
            headers=f"Identity: {identity(issued=stranger, x5u=url('stranger.pem'))}",
        ),
        Case(
            "Expired certificate",
            "credential_expired",
            headers=f"Identity: {identity(issued=late, x5u=url('late.pem'))}",
        ),
        Case(
            "Repository down",
            "x5u_unreachable",
            headers=f"Identity: {identity(x5u=f'https://localhost:{network.closed_port}/sp.pem')}",
        ),
        Case(
            "Repository silent",
            "x5u_timeout",
            headers=f"Identity: {identity(x5u=f'https://localhost:{network.silent_port}/sp.pem')}",
        ),
        Case("No Identity", "identity_missing"),
    ]


_LINE = "{mark} {title:<30} {tag:<28} {tag_ms:>6}   {reject:<32} {reject_ms:>6}   {token}"


def table(rows: list[tuple[Case, Row, Row]]) -> str:
    """The readable result."""
    head = _LINE.format(
        mark=" ",
        title="Call",
        tag="Edge that tags: callee saw",
        tag_ms="ms",
        reject="Edge that rejects: caller got",
        reject_ms="ms",
        token="token",
    )
    lines = [head, "-" * len(head)]
    for case, tag, reject in rows:
        lines.append(
            _LINE.format(
                mark=" " if tag.good and reject.good else "!",
                title=case.title,
                tag=tag.seen,
                tag_ms=f"{tag.milliseconds:.0f}",
                reject=reject.seen,
                reject_ms=f"{reject.milliseconds:.0f}",
                token=tag.token if tag.token == reject.token else f"{tag.token}, {reject.token}",
            ).rstrip()
        )
    return "\n".join(lines)


def main() -> int:
    """Run the demo: the exit status."""
    directory = Path(tempfile.mkdtemp(prefix="stirshaken-demo-"))
    began = time.monotonic()
    with ExitStack() as stack:
        network = stack.enter_context(Network(directory))
        tag = Pair(network, stack, 10, (EXEC, KEMI), "tag")
        reject = Pair(network, stack, 20, (KEMI, EXEC), "reject")
        rows = [(case, tag.run(number, case), reject.run(number, case)) for number, case in enumerate(cases(network), start=1)]
        command, answer = tag.traceback()
    shutil.rmtree(directory / "repository")
    for keys in directory.glob("*/certs"):
        shutil.rmtree(keys)
    print(table(rows))
    print(f"\nWhose call was that, asks who received the first one:\n\n  $ {command}\n{textwrap.indent(answer, '  ')}")
    bad = sum(not (tag_row.good and reject_row.good) for _case, tag_row, reject_row in rows)
    print(f"\n{len(rows) * 2} calls in {time.monotonic() - began:.1f} s, {bad} rows not as they should be. Logs: {directory}")
    return 1 if bad or "acme-pbx" not in answer else 0


if __name__ == "__main__":
    sys.exit(main())
