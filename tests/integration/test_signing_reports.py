"""What a response says of PASSporTs (RFC 9410), on the real Kamailio, both modes: ours go to the log, others upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.lab.network import CALLED, Network
from kamailio_app.lab.pki import Hierarchy, ServiceProvider
from tests.integration.line import Line, Script, SigningSite, identities, lines
from tests.integration.peer import SipMessage

SECOND = "+12155550141"
DIVERTS = '[[rule]]\nname = "all"\nexisting_identity = "div"\n'


def report(identity: str, cause: int = 436, text: str = "Bad Identity Info") -> str:
    """A Reason value about a PASSporT, in full."""
    return f'STIR;cause={cause};text="{text}";ppi="{identity.partition(";")[0]}"'


def told(site: SigningSite, request: SipMessage, *headers: str, code: int = 438) -> list[str]:
    """What the phone hears of a response with these header lines."""
    site.carrier.answer(request, code, "Whatever", extra=lines(*headers))
    answer = site.phone.final() if code >= 200 else site.phone.response()
    while answer.code != code:
        answer = site.phone.response()
    return answer.all("reason")


def reported(site: SigningSite) -> list[str]:
    """Reason values that the log has."""
    return [
        line.partition(" reason=")[2].strip()
        for line in site.edge.log().splitlines()
        if "stirshaken: reported call-id=" in line
    ]


@pytest.mark.parametrize("name", ["Identity", "y"])
def test_report_of_our_passport_is_logged_and_goes_no_further(network: Network, tmp_path: Path, cfg: str, name: str) -> None:
    with SigningSite(network, tmp_path, cfg, DIVERTS) as site:
        upstream = network.identity()
        uri = f"sip:{SECOND}@{site.target[0]}:{site.target[1]}"
        site.phone.invite(site.target, uri=uri, extra=lines(f"{name}: {upstream}"))
        request = site.carrier.receive_request("INVITE")
        passed, ours = (*request.all("y"), *request.all("identity"))
        assert passed == upstream
        own, theirs = report(ours), report(upstream, 437, "Unsupported Credential")
        compact = f'STIR;cause=438;text="Invalid Identity Header";ppi="..{ours.partition(";")[0].rpartition(".")[2]}"'
        other, unsaid = 'SIP;cause=600;text="Busy, everywhere"', "STIR;cause=428"
        # A response on the way, and the last one: in any order, in one field or in several
        assert told(site, request, f"Reason: {own}", code=183) == []
        assert told(
            site,
            request,
            f"Reason: {other}",
            f"Reason: {theirs},{own}",
            f"Reason: {unsaid} , {compact}",
        ) == [other, theirs, unsaid]
        # Two workers may have said it
        assert sorted(reported(site)) == sorted([own, own, compact])


def test_what_is_not_about_us_is_passed_on_as_it_came(network: Network, tmp_path: Path, cfg: str) -> None:
    with SigningSite(network, tmp_path, cfg, DIVERTS) as site:
        upstream = network.identity()
        site.phone.invite(site.target, extra=identities([upstream]))
        request = site.carrier.receive_request("INVITE")
        assert request.all("identity") == [upstream]
        values = [f"{report(upstream)} ,  SIP;cause=403", 'Q.850;cause=16;text="a, b"', "STIR;cause=436;ppi=nothing; x"]
        assert told(site, request, *(f"Reason: {value}" for value in values[:2])) == values[:2]
        assert reported(site) == []


def test_report_of_one_fork_is_not_heard_when_another_ends_the_call(network: Network, tmp_path: Path, cfg: str) -> None:
    script = Script('append_branch("$hdr(X-Fork)");', 'KSR.corex.append_branch_uri(KSR.hdr.get("X-Fork"))')
    with SigningSite(network, tmp_path, cfg, script=script) as site:
        site.phone.invite(site.target, extra=lines(f"X-Fork: sip:{CALLED}@{site.spare.host}:{site.spare.port}"))
        request, other = site.carrier.receive_request("INVITE"), site.spare.receive_request("INVITE")
        # Kept until the last fork has answered, then chosen (RFC 3261 16.7 step 6): it goes out of another process, perhaps
        site.carrier.answer(request, 403, "Stale Date", extra=lines(f"Reason: {report(request.header('identity'))}"))
        site.carrier.receive_request("ACK")
        site.spare.answer(other, 480, "Temporarily Unavailable", extra=lines("Reason: Q.850;cause=18"))
        answer = site.phone.final()
        assert (answer.code, answer.all("reason")) in [(403, []), (480, ["Q.850;cause=18"])]
        assert reported(site) == [report(request.header("identity"))]


def test_what_the_edge_that_verifies_tells_us_ends_with_us(network: Network, tmp_path: Path, cfg: str) -> None:
    verifying = {"verification": {"reason_header": True}}
    with Line(network, tmp_path, cfg, verifying=verifying) as line:
        # A certificate of nobody that the other side trusts
        name = f"{tmp_path.name}-stranger"
        network.publish(name, ServiceProvider(), Hierarchy(network.now, "Stranger")).write(
            line.signer.directory / "certs", name
        )
        line.signer.reload()
        call = line.call()
        assert call.verified["token"] == "credential_untrusted"
        assert call.answer.all("reason") == []
        (logged,) = [each for each in line.signer.log().splitlines() if "stirshaken: reported" in each]
        assert f"call-id={call.call_id} reason=STIR ;cause=437 " in logged
        # It tells whoever else signed
        call = line.call(extra=identities([network.identity(age=3600)]))
        assert call.verified["token"] == "iat_stale"
        assert call.answer.header("reason").startswith("STIR ;cause=403 ")
