"""Signing by policy on the real Kamailio, both modes: each outcome that a rule may have, and what a rule may ask about.

What is signed goes through an edge that verifies, and has to be valid there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.lab.edge import free_port
from kamailio_app.lab.network import CALLED, Network
from kamailio_app.lab.pki import ServiceProvider, expired
from tests.integration.line import VALID, Call, Line, Script, SigningSite, lines, origids, passport
from tests.integration.peer import TcpPeer

OWN, KNOWN, STRANGE = "+12155550121", "+13125550100", "+18005550100"
TRUNK, GATEWAY, THIRD, FOURTH = list(Line.ADDRESSES)[1:]
SAYS_CUSTOMER = Script(
    "$avp(stir_customer) = $hdr(X-Customer);",
    'KSR.pv.sets("$avp(stir_customer)", KSR.hdr.get("X-Customer") or "")',
)


def seen(call: Call) -> tuple[str, str]:
    """Attestation and rule. What is signed is valid, what is not was not verified."""
    assert call.verified.get("result") == (VALID if call.attest else "failed")
    assert call.signed["result"] == ("signed" if call.attest else "unsigned")
    return call.attest, call.signed["rule"]


def test_rule_trunk_and_customer_decide_the_attestation(network: Network, tmp_path: Path, cfg: str) -> None:
    policy = f"""
        [customer.acme]
        [customer.beta]
        [trunk.acme-1]
        customer = "acme"
        source = "{network.host(TRUNK)}"
        [trunk.gateway-1]
        [trunk.by-tcp]
        transport = "tcp"
        [[rule]]
        name = "own-number"
        customer = "acme"
        caller = "1215*"
        attest = "A"
        [[rule]]
        name = "known-customer"
        customer = "*"
        attest = "B"
        [[rule]]
        name = "gateway"
        trunk = "gateway-*"
        attest = "C"
        [[rule]]
        name = "by-tcp"
        trunk = "by-tcp"
        attest = "C"
        [[rule]]
        name = "as-asked"
        asked = ["A", "B"]
        attest = "asked"
        [[rule]]
        name = "unknown"
        sign = false
    """
    tcp_port = free_port(network.host(73))
    line = Line(
        network,
        tmp_path,
        cfg,
        policy,
        trunks={GATEWAY: "gateway-1"},
        script=SAYS_CUSTOMER,
        defines={"EDGE_UDP_MTU": "65535", "EDGE_LISTEN_TCP": f"tcp:{network.host(73)}:{tcp_port}"},
    )
    line.provider("sp")
    with line:
        by_address, by_script = line.phones[TRUNK], line.phones[GATEWAY]
        assert seen(line.call(by_address, caller=OWN)) == ("A", "own-number")
        assert seen(line.call(by_address, caller=KNOWN)) == ("B", "known-customer")
        assert seen(line.call(by_script, caller=STRANGE)) == ("C", "gateway")
        # What the script says of the customer goes before what the trunk does
        assert seen(line.call(by_address, caller=OWN, extra=lines("X-Customer: beta"))) == ("B", "known-customer")
        assert seen(line.call(extra=lines("X-Customer: acme"))) == ("A", "own-number")
        # Nobody is called so: as if it were not said
        assert seen(line.call(by_address, caller=OWN, extra=lines("X-Customer: Beta"))) == ("A", "own-number")
        assert seen(line.call(extra=lines("X-Customer: Acme"))) == ("", "unknown")
        # On no trunk
        assert seen(line.call(extra=lines("P-Attestation-Indicator: B"))) == ("B", "as-asked")
        assert seen(line.call()) == ("", "unknown")
        # The phone's own address, another transport
        phone = TcpPeer(line.phone.host)
        try:
            line.target = (line.signer.host, tcp_port)
            assert seen(line.call(phone)) == ("C", "by-tcp")
        finally:
            phone.close()


def test_call_is_rejected_as_its_rule_says_and_an_emergency_call_is_not(network: Network, tmp_path: Path, cfg: str) -> None:
    policy = f"""
        [[rule]]
        name = "never"
        caller = "{STRANGE[1:]}"
        reject = "603 Decline"
        [[rule]]
        name = "not-there"
        called = "1900*"
        reject = 403
        [[rule]]
        name = "later"
        caller = "{KNOWN[1:]}"
        reject = "480 Ask Again Later"
        [[rule]]
        name = "others"
        attest = "B"
    """
    # One worker: what one call leaves in its variables meets the next
    line = Line(network, tmp_path, cfg, policy, workers=1)
    line.provider("sp")
    with line:
        for caller, called, answer in (
            (STRANGE, CALLED, "603 Decline"),
            (OWN, "+19005550100", "403 Forbidden"),
            (KNOWN, CALLED, "480 Ask Again Later"),
        ):
            assert line.refused(caller=caller, called=called).start_line == f"SIP/2.0 {answer}"
            assert seen(line.call()) == ("B", "others")
        words = [each for each in line.signer.calls().values() if each["result"] == "rejected"]
        assert [(each["token"], each["rule"], each["answer"]) for each in words] == [
            ("policy_rejected", "never", "603"),
            ("policy_rejected", "not-there", "403"),
            ("policy_rejected", "later", "480"),
        ]
        for called, uri in (("911", ""), (CALLED, "urn:service:sos")):
            # It is as if the rule were not there
            assert seen(line.call(caller=STRANGE, called=called, uri=uri)) == ("B", "others")


def test_each_customer_is_signed_for_by_his_own_provider(network: Network, tmp_path: Path, cfg: str) -> None:
    name = f"{tmp_path.name}-third"
    policy = f"""
        [defaults]
        spc = "1234"
        [customer.beta]
        spc = "5678"
        [customer.gamma]
        certificate = "{name}"
        [[rule]]
        name = "by-name"
        caller = "{STRANGE[1:]}"
        customer = "gamma"
        certificate = "{name}"
        spc = "9012"
        [[rule]]
        name = "all"
        attest = "A"
    """
    line = Line(network, tmp_path, cfg, policy, script=SAYS_CUSTOMER)
    line.provider("first")
    line.provider("second", ServiceProvider("5678"))
    line.provider("third", ServiceProvider("9012"))
    with line:
        for customer, caller, spc, pair in (
            ("", OWN, "1234", "first"),
            ("beta", OWN, "5678", "second"),
            ("gamma", OWN, "9012", "third"),
            ("gamma", STRANGE, "9012", "third"),
            ("beta", KNOWN, "5678", "second"),
        ):
            call = line.call(caller=caller, extra=lines(f"X-Customer: {customer}") if customer else "")
            assert seen(call)[0]
            assert (call.verified["spc"], call.passports()[0].header["x5u"]) == (
                spc,
                network.repository.url(f"{tmp_path.name}-{pair}.pem"),
            )


def test_origid_is_the_calls_the_trunks_the_customers_or_a_given_one(network: Network, tmp_path: Path, cfg: str) -> None:
    given, customers = "9c1f0a52-5d0e-4d3c-8f52-3c1f6f6f2b90", "2b8e9a4c-7f5d-4c0e-9d35-0a6a4f6f7d11"
    policy = f"""
        [customer.acme]
        origid = "{customers}"
        [customer.beta]
        [trunk.first]
        customer = "acme"
        [trunk.second]
        customer = "beta"
        [[rule]]
        name = "given"
        caller = "{STRANGE[1:]}"
        origid = "{given}"
        [[rule]]
        name = "customers"
        caller = "{KNOWN[1:]}"
        origid = "customer"
        [[rule]]
        name = "trunks"
        caller = "{OWN[1:]}"
        origid = "trunk"
        [[rule]]
        name = "calls"
        origid = "call"
    """
    line = Line(network, tmp_path, cfg, policy, trunks={TRUNK: "first", GATEWAY: "second"})
    line.provider("sp")
    with line:

        def two(caller: str) -> list[str]:
            return origids([line.call(line.phones[number], caller=caller) for number in (TRUNK, GATEWAY, TRUNK, GATEWAY)])

        assert two(STRANGE) == [given] * 4
        first, second, *again = two(KNOWN)
        assert (first, again) == (customers, [first, second])
        assert second not in (given, customers)
        first, second, *again = two(OWN)
        assert again == [first, second]
        assert first != second
        assert len({*two("+12155559999")}) == 4


def test_own_network_is_told_what_was_signed_and_no_caller_may(network: Network, tmp_path: Path, cfg: str) -> None:
    policy = """
        [defaults]
        p_headers = true
        [[rule]]
        name = "told"
        caller = "1215*"
        attest = "B"
        [[rule]]
        name = "not-signed"
        caller = "1312*"
        sign = false
        [[rule]]
        name = "not-told"
        p_headers = false
    """
    claimed = lines("P-Attestation-Indicator: A", "P-Origination-ID: mine")
    upstream = network.identity()
    with SigningSite(network, tmp_path, cfg, policy) as site:
        for extra in ("", claimed, f"{claimed}Identity: {upstream}\r\n"):
            for caller, signed, told in ((OWN, True, True), (KNOWN, False, False), (STRANGE, True, False)):
                site.phone.invite(site.target, caller=caller, extra=extra)
                request = site.carrier.receive_request("INVITE")
                site.carrier.answer(request)
                assert site.phone.final().code == 486
                found = request.all("identity")
                assert found == [upstream] if "Identity" in extra else len(found) == signed
                ours = told and "Identity" not in extra
                assert request.all("p-attestation-indicator") == (["B"] if ours else [])
                assert request.all("p-origination-id") == ([passport(found[0]).claims["origid"]] if ours else [])


def test_call_that_cannot_be_signed_is_rejected_or_passes_and_france_has_a_word_for_it(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    old, token = f"{tmp_path.name}-old", "ABC123-0123456789ABCDEF"
    policy = f"""
        [defaults]
        certificate = "{old}"
        [trunk.paris]
        country = "fr"
        bypass = "{token}"
        [[rule]]
        name = "strict"
        caller = "{OWN[1:]}"
        unsigned = "reject"
        [[rule]]
        name = "stricter"
        caller = "{KNOWN[1:]}"
        unsigned = "480 No Certificate"
        [[rule]]
        name = "not-ours"
        caller = "{STRANGE[1:]}"
        sign = false
        [[rule]]
        name = "lenient"
        unsigned = "pass"
    """
    line = Line(network, tmp_path, cfg, policy, trunks={TRUNK: "paris"})
    line.provider("old", expired(ServiceProvider(), network.now))
    line.provider("new")
    with line:
        paris = line.phones[TRUNK]
        assert line.refused().start_line == "SIP/2.0 503 Service Unavailable"
        assert line.refused(caller=KNOWN).start_line == "SIP/2.0 480 No Certificate"
        rejected = [each for each in line.signer.calls().values() if each["result"] == "rejected"]
        assert {(each["token"], each["answer"]) for each in rejected} == {
            ("certificate_expired", "503"),
            ("certificate_expired", "480"),
        }
        # Never an emergency call
        for call in (line.call(caller="+12155550999"), line.call(called="911"), line.call(caller=KNOWN, called="112")):
            assert (call.identities, call.signed["result"], call.signed["token"]) == ([], "unsigned", "certificate_expired")
            assert call.request.all("identity-bypass") == []
        spoofed = lines("Identity-Bypass: XYZ999-0")
        for extra in ("", spoofed):
            call = line.call(paris, caller="+33123456789", extra=extra)
            assert (call.identities, call.request.all("identity-bypass")) == ([], [token])
        # Not signed on purpose: that is no outage, and no caller may say that it is one
        assert line.call(paris, caller=STRANGE, extra=spoofed).request.all("identity-bypass") == []


@pytest.mark.parametrize("outcome", ['unsigned = "reject"', 'unsigned = "pass"'])
def test_without_any_certificate_the_rule_is_followed_too(network: Network, tmp_path: Path, cfg: str, outcome: str) -> None:
    with Line(network, tmp_path, cfg, f'[[rule]]\nname = "all"\n{outcome}\n') as line:
        if "reject" in outcome:
            assert line.refused().start_line == "SIP/2.0 503 Service Unavailable"
            return
        assert line.call().identities == []
