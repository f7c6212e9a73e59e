"""Calls that are not ordinary, signed on the real Kamailio, both modes: transit, diverted, anonymous, with more to say.

What is signed goes through an edge that verifies, and has to be valid there.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.passport.encoding import to_base64url
from tests.integration.line import VALID, Line, Script, SigningSite, identities, lines, passport
from tests.integration.traffic import until

SECOND, THIRD = "+12155550141", "+12155550151"
# Well-formed, of a type that nobody here knows
_JOSE = to_base64url(b'{"alg":"ES256","ppt":"foo","typ":"passport","x5u":"https://other.example/a.pem"}')
FOREIGN = f"{_JOSE}.e30.{'A' * 86};info=<https://other.example/a.pem>;alg=ES256;ppt=foo"
RETARGETS = Script(
    'if ($hdr(X-Goes-To) != $null) $ru = "sip:" + $hdr(X-Goes-To) + "@" + $rd;',
    'if KSR.hdr.get("X-Goes-To"): KSR.pv.sets("$ru", f"sip:{KSR.hdr.get(\'X-Goes-To\')}@{KSR.pv.get(\'$rd\')}")',
)


def rule(outcome: str = "") -> str:
    return f'[[rule]]\nname = "all"\nattest = "A"\n{outcome}\n'


def uri(number: str, line: Line) -> str:
    return f"sip:{number}@{line.target[0]}:{line.target[1]}"


# --- With Identity --------------------------------------------------------------------------------------------------


def test_signature_in_transit_is_left_as_it_is(network: Network, tmp_path: Path, cfg: str) -> None:
    upstream = network.identity()
    head, _, rest = upstream.partition(";info=")
    folded = f"{head}\r\n  ;  info = {rest}"
    with SigningSite(network, tmp_path, cfg, rule()) as site:
        for header in (f"Identity: {upstream}", f"y:   {upstream}", f"IDENTITY :{folded}", f"Identity: {FOREIGN} ,{upstream}"):
            site.phone.invite(site.target, extra=lines(header))
            request = site.carrier.receive_request("INVITE")
            site.carrier.answer(request)
            assert site.phone.final().code == 486
            assert f"\r\n{header}\r\n".encode() in request.octets
            assert len(request.all("identity") + request.all("y")) == 1
            assert request.all("date") == []
            assert site.words(request.header("call-id"))["token"] == "identity_present"


@pytest.mark.parametrize("drop", [False, True])
def test_malformed_identity_is_dropped_on_request_and_the_others_stay(
    network: Network, tmp_path: Path, cfg: str, drop: bool
) -> None:
    upstream = network.identity()
    bad = b"Identity: garbage\r\ny: \xff\xfe.b\r\n"
    line = Line(network, tmp_path, cfg, rule(f"drop_malformed = {str(drop).lower()}"))
    line.provider("sp")
    with line:
        call = line.call(extra=bad + identities([FOREIGN]).encode())
        assert call.verdict == VALID
        first, *others = call.identities
        assert (first == FOREIGN) is drop
        assert len(others) == (1 if drop else 2)
        assert call.request.all("y") == ([] if drop else ["\ufffd\ufffd.b"])
        # Where there is nothing to be signed it is dropped all the same
        call = line.call(extra=bad + identities([upstream]).encode())
        assert (call.verdict, call.signed["token"]) == (VALID, "identity_present")
        assert call.identities == ([upstream] if drop else ["garbage", upstream])
        assert call.request.all("y") == ([] if drop else ["\ufffd\ufffd.b"])


def test_signature_of_others_is_replaced_on_request(network: Network, tmp_path: Path, cfg: str) -> None:
    line = Line(network, tmp_path, cfg, rule('existing_identity = "replace"'))
    issued = line.provider("sp")
    with line:
        for name in ("Identity", "y"):
            call = line.call(extra=lines(f"{name}: {network.identity()}, {FOREIGN}"))
            assert call.verdict == VALID
            kept, ours = call.identities
            assert kept == FOREIGN
            assert call.request.all("y") == []
            assert passport(ours).header["x5u"] == network.repository.url(f"{tmp_path.name}-sp.pem")
        assert issued.certificate != network.provider.certificate


# --- Diverted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["script", "request"])
def test_call_of_others_that_is_diverted_says_so(network: Network, tmp_path: Path, cfg: str, where: str) -> None:
    line = Line(network, tmp_path, cfg, rule('existing_identity = "div"'), script=RETARGETS)
    line.provider("sp")
    with line:
        upstream = network.identity()
        goes_to = lines(f"X-Goes-To: {SECOND}") if where == "script" else ""
        call = line.call(uri=uri(CALLED if goes_to else SECOND, line), extra=goes_to + identities([upstream]))
        assert (call.verdict, call.verified["diverted"]) == (VALID, CALLED[1:])
        assert call.identities[0] == upstream
        assert call.signed["diverted"] == CALLED[1:]
        div = call.claims("div")
        assert (div["div"], div["dest"]) == ({"tn": CALLED[1:]}, {"tn": [SECOND[1:]]})
        # RFC 8946 3: orig and iat are what was signed
        assert (div["orig"], div["iat"]) == (call.claims()["orig"], call.claims()["iat"])
        # Not diverted: there is nothing to say
        call = line.call(extra=identities([upstream]))
        assert (call.identities, call.signed["token"], call.verdict) == ([upstream], "div_not_needed", VALID)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (f"Diversion: <sip:{CALLED}@pbx.example>;reason=unconditional",),
        (f"History-Info: <sip:{CALLED}@pbx.example>;index=1, <sip:{SECOND}@pbx.example>;index=1.1;mp=1",),
    ],
    ids=["request-uri", "diversion", "history-info"],
)
def test_call_that_we_sign_and_that_was_diverted_says_so(
    network: Network, tmp_path: Path, cfg: str, headers: tuple[str, ...]
) -> None:
    line = Line(network, tmp_path, cfg, rule("div = true"), script=RETARGETS)
    line.provider("sp")
    with line:
        for number, more in ((SECOND, ""), (CALLED, lines(f"X-Goes-To: {SECOND}"))):
            call = line.call(uri=uri(number, line), extra=more + lines(*headers))
            assert (call.verdict, call.verified["diverted"]) == (VALID, CALLED[1:])
            assert len(call.identities) == 2
            assert call.claims()["dest"] == {"tn": [CALLED[1:]]}
            assert (call.claims("div")["div"], call.claims("div")["dest"]) == ({"tn": CALLED[1:]}, {"tn": [SECOND[1:]]})
        call = line.call()
        assert (call.verdict, len(call.identities)) == (VALID, 1)


@pytest.mark.parametrize(
    "headers",
    [
        (f"Diversion: <sip:{SECOND}@pbx.example>;reason=no-answer", f"Diversion: <tel:{CALLED}>;reason=user-busy"),
        (
            f"History-Info: <sip:{CALLED}@a.example>;index=1",
            f"History-Info: <sip:{SECOND}@b.example>;index=1.1;mp=1, <sip:{THIRD}@c.example>;index=1.1.1;mp=1.1",
        ),
    ],
    ids=["diversion", "history-info"],
)
@pytest.mark.parametrize("ours", [True, False], ids=["signed-by-us", "signed-by-others"])
def test_each_of_several_diversions_gets_its_own_passport(
    network: Network, tmp_path: Path, cfg: str, headers: tuple[str, ...], ours: bool
) -> None:
    line = Line(network, tmp_path, cfg, rule("div = true" if ours else 'existing_identity = "div"'))
    line.provider("sp")
    with line:
        upstream = "" if ours else identities([network.identity()])
        call = line.call(uri=uri(THIRD, line), extra=upstream + lines(*headers))
        assert (call.verdict, call.verified["diverted"]) == (VALID, f"{CALLED[1:]},{SECOND[1:]}")
        steps = [(one.claims["div"]["tn"], one.claims["dest"]["tn"]) for one in call.passports("div")]
        assert steps == [(CALLED[1:], [SECOND[1:]]), (SECOND[1:], [THIRD[1:]])]


# --- More to say ----------------------------------------------------------------------------------------------------

SDP = """v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
m=audio 49170 UDP/TLS/RTP/SAVP 0
a=fingerprint:sha-256 {}
""".replace("\n", "\r\n").format(":".join(["4A"] * 32))


def test_name_reason_logo_priority_and_media_keys_are_signed(network: Network, tmp_path: Path, cfg: str) -> None:
    policy = (
        '[customer.acme]\ndisplay_name = "Acme Deliveries"\ncall_reason = "Your delivery"\n'
        'logo = "https://acme.example/logo.png"\nlogo_digest = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="\n'
        '[trunk.acme]\ncustomer = "acme"\n' + rule("rcd = true\nrph = true\nmky = true")
    )
    script = Script(
        "$avp(stir_rcd_reason) = $hdr(X-Reason);",
        'KSR.pv.sets("$avp(stir_rcd_reason)", KSR.hdr.get("X-Reason") or "")',
    )
    verifying = {"verification": {"rph_signers": ["1234"]}}
    line = Line(network, tmp_path, cfg, policy, trunks={81: "acme"}, script=script, verifying=verifying)
    line.provider("sp")
    with line:
        call = line.call(extra=lines("Resource-Priority: ets.0, wps.1", "X-Reason: Ring twice"), body=SDP)
        assert call.verdict == VALID
        assert "also" not in {**call.signed, **call.verified}
        assert len(call.identities) == 3
        assert call.claims()["mky"] == [{"alg": "sha-256", "dig": "4A" * 32}]
        assert call.claims("rph")["rph"] == {"auth": ["ets.0", "wps.1"]}
        rcd = call.claims("rcd")
        assert (rcd["rcd"], rcd["crn"]) == ({"icn": "https://acme.example/logo.png", "nam": "Acme Deliveries"}, "Ring twice")
        assert rcd["rcdi"] == {"/icn": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
        # The next call has less to say, and nothing of the one before
        call = line.call()
        assert (call.verdict, len(call.identities)) == (VALID, 2)
        assert "mky" not in call.claims()
        assert call.claims("rcd")["crn"] == "Your delivery"
        # On no trunk: nobody's name
        assert len(line.call(line.phones[82]).identities) == 1


def test_anonymous_caller_is_signed_by_his_asserted_number_and_stays_anonymous(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    line = Line(network, tmp_path, cfg, rule())
    line.provider("sp")
    anonymous = b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=anon'
    with line:
        asserted = f"<sip:{CALLER}@carrier.example;user=phone>"
        call = line.call(from_field=anonymous, extra=lines(f"P-Asserted-Identity: {asserted}", "Privacy: id"))
        assert (call.verdict, call.claims()["orig"]) == (VALID, {"tn": CALLER[1:]})
        assert call.request.all("privacy") == ["id"]
        assert call.request.header("from") == anonymous.decode()
        # Nobody knows who he is
        call = line.call(from_field=anonymous, extra=lines("Privacy: id"))
        assert (call.identities, call.signed["token"]) == ([], "orig_missing")


# --- Requests that are no new call, and copies of one that is ---------------------------------------------------------


def test_only_the_first_invite_is_touched(network: Network, tmp_path: Path, cfg: str) -> None:
    with SigningSite(network, tmp_path, cfg, rule()) as site:
        site.phone.invite(site.target, call_id="calling@test", branch=f"{cfg}-calling")
        request = site.carrier.receive_request("INVITE")
        assert request.header("identity")
        site.carrier.answer(request, 180, "Ringing")
        until(lambda: site.phone.response().code == 180, "ringing")
        site.phone.invite(site.target, call_id="calling@test", method="CANCEL", branch=f"{cfg}-calling")
        cancel = site.carrier.receive_request("CANCEL")
        site.carrier.answer(cancel, 200, "OK")
        site.carrier.answer(request, 487, "Request Terminated")
        acknowledgement = site.carrier.receive_request("ACK")
        assert {site.phone.final().code, site.phone.final().code} == {200, 487}

        site.phone.invite(site.target, call_id="talking@test")
        request = site.carrier.receive_request("INVITE")
        site.carrier.answer(request, 200, "OK")
        assert site.phone.final().code == 200
        routes = lines(*(f"Route: {route}" for route in reversed(request.all("record-route"))))
        inside = []
        for method in ("ACK", "INVITE", "UPDATE", "INFO", "BYE"):
            site.phone.invite(
                site.target, method=method, call_id="talking@test", to_tag="callee", extra=routes, uri=site.carrier.uri
            )
            inside.append(site.carrier.receive_request(method))
            if method != "ACK":
                site.carrier.answer(inside[-1], 200, "OK")
                assert site.phone.final().code == 200
        for each in (cancel, acknowledgement, *inside):
            assert each.all("identity") + each.all("date") == [], each.start_line
        assert {*site.edge.calls()} == {"calling@test", "talking@test"}


def test_copies_of_a_call_carry_the_same_signature(network: Network, tmp_path: Path, cfg: str) -> None:
    with SigningSite(network, tmp_path, cfg, rule()) as site:
        call_id = site.phone.invite(site.target, branch=f"{cfg}-again")
        first = site.carrier.receive_request("INVITE")
        # The caller repeats it, and so does the edge
        site.phone.invite(site.target, branch=f"{cfg}-again", call_id=call_id)
        again = site.carrier.receive_request("INVITE")
        assert again.octets == first.octets
        assert len(first.all("identity")) == 1
        site.carrier.answer(first)
        assert site.phone.final().code == 486
        assert site.edge.log().count("stirshaken: sign ") == 1


def test_next_destination_gets_the_same_signature(network: Network, tmp_path: Path, cfg: str) -> None:
    site = SigningSite(network, tmp_path, cfg, rule("div = true"))
    with (site.edge.directory / "dispatcher.list").open("a") as file:
        file.write(f"2 {site.spare.uri} 0 0\n")
    with site:
        peers, seen = [site.carrier, site.spare], []
        site.phone.invite(site.target)
        while peers:
            for peer in peers:
                try:
                    seen.append(peer.receive_request("INVITE", timeout=0.2))
                except TimeoutError:
                    continue
                peer.answer(seen[-1], 503 if len(seen) == 1 else 486, "Whatever")
                peers.remove(peer)
                break
        assert site.phone.final().code == 486
        assert len({request.header("identity") for request in seen}) == 1
        assert [len(request.all("identity")) for request in seen] == [1, 1]
        assert [len(request.all("date")) for request in seen] == [1, 1]


def test_parallel_forks_carry_the_same_signature(network: Network, tmp_path: Path, cfg: str) -> None:
    script = Script('append_branch("$hdr(X-Fork)");', 'KSR.corex.append_branch_uri(KSR.hdr.get("X-Fork"))')
    with SigningSite(network, tmp_path, cfg, rule(), script=script) as site:
        site.phone.invite(site.target, extra=lines(f"X-Fork: sip:{CALLED}@{site.spare.host}:{site.spare.port}"))
        began = time.monotonic()
        seen = [site.carrier.receive_request("INVITE"), site.spare.receive_request("INVITE")]
        assert time.monotonic() - began < 2  # at once, not one after the other
        assert len({request.header("identity") for request in seen}) == 1
        assert [len(request.all("identity")) for request in seen] == [1, 1]
        site.carrier.answer(seen[0])
        site.spare.answer(seen[1])
        assert site.phone.final().code == 486
        assert site.edge.log().count("stirshaken: sign ") == 1
