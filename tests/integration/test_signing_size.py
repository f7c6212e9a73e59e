"""Large requests go by TCP (RFC 3261 18.1.1) on the real Kamailio, both modes, and no call is lost where nobody takes them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kamailio_app.lab.edge import EXEC, free_port
from kamailio_app.lab.network import Network
from tests.integration.conftest import amended
from tests.integration.line import SigningSite, lines
from tests.integration.peer import Peer, SipMessage, TcpPeer

LIMIT = 1300
LARGE = lines("Subject: " + "x" * 900)
SILENCE = 1.0  # seconds; the shipped routing waits five


def site(network: Network, directory: Path, cfg: str, limit: int = LIMIT) -> SigningSite:
    """An edge that goes by TCP beyond `limit`; never with 0."""
    routing = amended(cfg, directory, f'modparam("tm", "fr_timer", {SILENCE * 1000:.0f})')
    defines = {"EDGE_UDP_MTU": str(limit), "EDGE_LISTEN_TCP": place_for_tcp(network)} if limit else {}
    return SigningSite(network, directory, routing, defines=defines)


def place_for_tcp(network: Network) -> str:
    host = network.host(30)
    return f"tcp:{host}:{free_port(host, socket.SOCK_STREAM)}"


@contextmanager
def tcp_of(peer: Peer) -> Iterator[TcpPeer]:
    """Who offers UDP offers TCP at the same place."""
    beside = TcpPeer(peer.host, peer.port)
    try:
        yield beside
    finally:
        beside.close()


@contextmanager
def listening(peer: Peer, *, full: bool) -> Iterator[socket.socket]:
    """Somebody who never answers; to whom no connection gets through if his queue is full, as behind a firewall."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server((peer.host, peer.port), backlog=0 if full else 5))
        listener.settimeout(5)
        for _ in range(3 if full else 0):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((peer.host, peer.port))
        yield listener


def transports(request: SipMessage) -> list[str]:
    """Of the hops, ours first."""
    return [via.split()[0].removeprefix("SIP/2.0/") for via in request.all("via")]


def ended(site: SigningSite, at: Peer, request: SipMessage) -> None:
    """The call comes to its end the way that its request came."""
    at.answer(request)
    assert site.phone.final().code == 486
    assert at.receive_request("ACK").header("call-id") == request.header("call-id")


def nothing_comes(peer: Peer) -> bool:
    try:
        peer.receive_request("INVITE", timeout=0.3)
    except TimeoutError:
        return True
    return False


def test_large_call_goes_by_tcp_and_a_small_one_by_udp(network: Network, tmp_path: Path, cfg: str) -> None:
    with site(network, tmp_path, cfg) as edge, tcp_of(edge.carrier) as tcp:
        # Without Identity it would be small
        for extra, taker, other in (("", edge.carrier, tcp), (LARGE, tcp, edge.carrier), ("", edge.carrier, tcp)):
            edge.phone.invite(edge.target, extra=extra)
            request = taker.receive_request("INVITE")
            assert transports(request) == [taker.transport, "UDP"]
            assert request.header("identity")
            assert (len(request.octets) > LIMIT) is bool(extra)
            ended(edge, taker, request)
            assert nothing_comes(other)


def test_identity_is_what_makes_a_call_large(network: Network, tmp_path: Path, cfg: str) -> None:
    with site(network, tmp_path, cfg, 800) as edge, tcp_of(edge.carrier) as tcp:
        edge.phone.invite(edge.target, extra=lines(f"Identity: {network.identity()}"))
        request = tcp.receive_request("INVITE")
        ended(edge, tcp, request)
        edge.phone.invite(edge.target)
        request = tcp.receive_request("INVITE")
        assert len(request.octets) - len(request.header("identity")) < 800 < len(request.octets)
        ended(edge, tcp, request)
        # Not signed
        (edge.edge.directory / "policy.toml").write_text('[[rule]]\nname = "no"\nsign = false\n')
        edge.edge.reload()
        edge.phone.invite(edge.target)
        request = edge.carrier.receive_request("INVITE")
        assert request.header("identity") == ""
        ended(edge, edge.carrier, request)


def test_dialog_of_a_large_call_goes_on_both_ways(network: Network, tmp_path: Path, cfg: str) -> None:
    with site(network, tmp_path, cfg) as edge, tcp_of(edge.carrier) as tcp:
        edge.phone.invite(edge.target, call_id="large@test", extra=LARGE)
        request = tcp.receive_request("INVITE")
        tcp.answer(request, 200, "OK")
        assert edge.phone.final().code == 200
        # One Record-Route for either side
        routes = request.all("record-route")
        assert len(routes) == 2
        back = lines(*(f"Route: {route}" for route in reversed(routes)))
        contact = f"{tcp.uri};transport=tcp"
        edge.phone.invite(edge.target, method="ACK", call_id="large@test", to_tag="callee", extra=back, uri=contact)
        assert tcp.receive_request("ACK").header("call-id") == "large@test"
        for extra in (LARGE, ""):
            edge.phone.invite(
                edge.target, method="INVITE", call_id="large@test", to_tag="callee", extra=back + extra, uri=contact
            )
            again = tcp.receive_request("INVITE")
            assert again.all("identity") == []
            tcp.answer(again, 200, "OK")
            assert edge.phone.final().code == 200
        # And from the other side
        there = lines(*(f"Route: {route}" for route in routes))
        tcp.invite(request.source, method="BYE", call_id="large@test", to_tag="phone", extra=there, uri=edge.phone.uri)
        bye = edge.phone.receive_request("BYE")
        edge.phone.answer(bye, 200, "OK")
        assert tcp.final().code == 200


def test_large_call_goes_by_udp_at_once_where_nobody_listens(network: Network, tmp_path: Path, cfg: str) -> None:
    with site(network, tmp_path, cfg) as edge:
        for _ in range(3):
            edge.phone.invite(edge.target, extra=LARGE)
            request = edge.carrier.receive_request("INVITE", timeout=1)
            assert transports(request) == ["UDP", "UDP"]
            assert len(request.all("identity")) == 1
            ended(edge, edge.carrier, request)


@pytest.mark.parametrize("how", ["closes", "silent", "full"])
def test_large_call_goes_by_udp_when_its_time_is_over(network: Network, tmp_path: Path, cfg: str, how: str) -> None:
    """Where a connection comes to be and nobody answers, or none does."""
    with site(network, tmp_path, cfg) as edge, listening(edge.carrier, full=how == "full") as listener:
        began = time.monotonic()
        edge.phone.invite(edge.target, extra=LARGE)
        if how == "closes":
            listener.accept()[0].close()
        request = edge.carrier.receive_request("INVITE", timeout=SILENCE + 2)
        assert time.monotonic() - began > SILENCE - 0.3  # tm looks at its timers ten times a second or so
        assert transports(request) == ["UDP", "UDP"]
        assert len(request.all("identity")) == 1
        ended(edge, edge.carrier, request)
        assert edge.edge.log().count("stirshaken: sign ") == 1


def test_destination_silent_by_tcp_and_by_udp_is_followed_by_the_next(network: Network, tmp_path: Path, cfg: str) -> None:
    edge = site(network, tmp_path, cfg)
    path = edge.edge.directory / "dispatcher.list"
    path.write_text(path.read_text() + f"2 {edge.spare.uri} 0 0\n")
    with edge, listening(edge.carrier, full=False), tcp_of(edge.spare) as tcp:
        # Two calls: each of the destinations is the first once
        for _ in range(2):
            edge.phone.invite(edge.target, extra=LARGE)
            request = tcp.receive_request("INVITE", timeout=2 * SILENCE + 2)
            assert transports(request) == ["TCP", "UDP"]
            assert len(request.all("identity")) == 1
            ended(edge, tcp, request)
        assert edge.carrier.receive_request("INVITE", timeout=0.1).header("identity")


def test_destination_out_of_order_is_left_for_the_next_not_tried_by_udp(network: Network, tmp_path: Path, cfg: str) -> None:
    edge = site(network, tmp_path, cfg)
    with (edge.edge.directory / "dispatcher.list").open("a") as file:
        file.write(f"2 {edge.spare.uri} 0 0\n")
    with edge, tcp_of(edge.carrier) as first, tcp_of(edge.spare) as second:
        edge.phone.invite(edge.target, extra=LARGE)
        takers, seen = [first, second], []
        deadline = time.monotonic() + 5
        while takers and time.monotonic() < deadline:
            for taker in takers:
                try:
                    seen.append(taker.receive_request("INVITE", timeout=0.2))
                except TimeoutError:
                    continue
                taker.answer(seen[-1], 503 if len(seen) == 1 else 486, "Whatever")
                takers.remove(taker)
                break
        assert not takers
        assert edge.phone.final().code == 486
        assert [transports(request) for request in seen] == [["TCP", "UDP"]] * 2
        assert len({request.header("identity") for request in seen}) == 1
        assert nothing_comes(edge.carrier)
        assert nothing_comes(edge.spare)


@pytest.mark.parametrize("limit", [LIMIT, 0])
def test_large_call_stays_with_udp_where_the_operator_says_so(network: Network, tmp_path: Path, cfg: str, limit: int) -> None:
    """By naming the transport of the destination, or by no limit at all."""
    edge = site(network, tmp_path, cfg, limit)
    if limit:
        path = edge.edge.directory / "dispatcher.list"
        path.write_text(path.read_text().replace(edge.carrier.uri, f"{edge.carrier.uri};transport=udp"))
    with edge, tcp_of(edge.carrier) as tcp:
        edge.phone.invite(edge.target, extra=LARGE)
        request = edge.carrier.receive_request("INVITE")
        assert len(request.octets) > LIMIT
        ended(edge, edge.carrier, request)
        assert nothing_comes(tcp)


def test_kamailios_own_limit_loses_calls_where_nobody_listens(network: Network, tmp_path: Path) -> None:
    """Why the shipped routing has one of its own, and what SIGNING.md says of udp_mtu_try_proto."""
    core = f"udp_mtu={LIMIT}", "udp_mtu_try_proto=TCP", f"listen={place_for_tcp(network)}"
    with SigningSite(network, tmp_path, amended(EXEC, tmp_path, *core)) as edge:
        edge.phone.invite(edge.target, extra=LARGE)
        assert edge.phone.final().code in (477, 500)
        assert nothing_comes(edge.carrier)
        with tcp_of(edge.carrier) as tcp:
            edge.phone.invite(edge.target, extra=LARGE)
            ended(edge, tcp, tcp.receive_request("INVITE"))


def test_large_call_that_waited_for_a_certificate_goes_the_same_ways(network: Network, tmp_path: Path, cfg: str) -> None:
    with site(network, tmp_path, cfg) as edge:

        def waits(name: str) -> None:
            network.repository.chains[name] = network.provider.chain_pem
            identity = network.identity(x5u=network.repository.url(name))
            edge.carrier.invite(edge.target, extra=lines(f"Identity: {identity}") + LARGE)

        def goes(at: Peer, name: str) -> None:
            request = at.receive_request("INVITE")
            assert transports(request)[0] == at.transport
            assert "verstat=TN-Validation-Passed" in request.header("from")
            assert f"/{name}" in network.repository.asked
            at.answer(request)
            assert edge.carrier.final().code == 486

        waits(f"{tmp_path.name}-refused.pem")
        goes(edge.phone, f"{tmp_path.name}-refused.pem")
        with tcp_of(edge.phone) as tcp:
            waits(f"{tmp_path.name}-taken.pem")
            goes(tcp, f"{tmp_path.name}-taken.pem")


@pytest.mark.parametrize(
    ("transport", "code"), [(";transport=tcp", 500), ("", 408)], ids=["refused", "refused-by-tcp-and-silent-by-udp"]
)
def test_call_that_nobody_takes_is_answered_once(network: Network, tmp_path: Path, cfg: str, transport: str, code: int) -> None:
    edge = site(network, tmp_path, cfg)
    (edge.edge.directory / "dispatcher.list").write_text(f"1 {edge.phone.uri}{transport}\n2 {edge.carrier.uri}{transport}\n")
    name = f"{tmp_path.name}.pem"
    network.repository.chains[name] = network.provider.chain_pem
    identity = network.identity(x5u=network.repository.url(name))
    with edge:
        # From the inside, and one from outside that waited for a certificate
        for caller, header in ((edge.phone, ""), (edge.carrier, lines(f"Identity: {identity}"))):
            call_id = caller.invite(edge.target, extra=header + LARGE)
            answer = caller.final()
            assert (answer.header("call-id"), answer.code) == (call_id, code)
            with pytest.raises(TimeoutError):
                caller.final(0.2)
