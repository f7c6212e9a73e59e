"""Inbound calls on the real Kamailio, both modes: parked calls, hostile input, verstat, dialogs, failover."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from kamailio_app.lab.network import CALLED, CALLER, Network
from tests.integration.conftest import Site
from tests.integration.peer import SipMessage

PAI = f"P-Asserted-Identity: <sip:{CALLER}@carrier.example;user=phone>\r\n"


def inbound(site: Site, *headers: str, **fields: object) -> tuple[SipMessage, str]:
    """A call from the carrier that reaches the phone, which refuses it: what the phone saw, and the Call-ID."""
    call_id = site.carrier.invite(site.target, extra="".join(f"{header}\r\n" for header in headers), **fields)  # type: ignore[arg-type]
    request = site.phone.receive_request("INVITE")
    assert request.header("call-id") == call_id
    site.phone.answer(request)
    assert site.carrier.final().code == 486
    return request, call_id


def current_transactions(site: Site) -> int:
    found = re.search(r"current: (\d+)", site.edge.rpc("tm.stats"))
    assert found
    return int(found[1])


def wait_until_no_transaction(site: Site, seconds: float = 12) -> None:
    deadline = time.monotonic() + seconds
    while current_transactions(site) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert current_transactions(site) == 0


def test_many_calls_of_one_signer_cause_one_fetch(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, workers=4) as site:
        network.repository.asked.clear()
        header = f"Identity: {network.identity()}\r\n"
        ids = {site.carrier.invite(site.target, extra=header) for _ in range(12)}
        seen = [site.phone.receive_request("INVITE") for _ in ids]
        for request in seen:
            site.phone.answer(request)
            assert "verstat=TN-Validation-Passed" in request.header("from")
        for _ in ids:
            assert site.carrier.final().code == 486
        assert {request.header("call-id") for request in seen} == ids
        assert network.repository.asked == ["/sp1234.pem"]
        # The other workers take it from the shared table
        for _ in range(8):
            inbound(site, header.strip())
        assert network.repository.asked == ["/sp1234.pem"]
        wait_until_no_transaction(site)


def test_parked_call_can_be_cancelled_and_leaves_nothing_behind(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        identity = network.identity(x5u=f"https://localhost:{network.silent_port}/sp.pem")
        call_id = site.carrier.invite(site.target, extra=f"Identity: {identity}\r\n", branch="cancelme")
        assert site.carrier.receive().code == 100
        site.carrier.invite(site.target, method="CANCEL", call_id=call_id, branch="cancelme")
        codes = {site.carrier.final().code, site.carrier.final().code}
        assert codes == {200, 487}
        with pytest.raises(TimeoutError):
            site.phone.receive_request("INVITE", timeout=3)
        wait_until_no_transaction(site)


def test_retransmission_of_a_parked_call_is_no_second_call(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        extra = f"Identity: {network.identity(x5u=f'https://localhost:{network.silent_port}/sp.pem')}\r\n"
        call_id = site.carrier.invite(site.target, extra=extra, branch="again")
        for _ in range(3):
            assert site.carrier.receive().code == 100
            site.carrier.invite(site.target, extra=extra, branch="again", call_id=call_id)
        request = site.phone.receive_request("INVITE")
        assert "verstat=No-TN-Validation" in request.header("from")
        site.phone.answer(request)
        assert site.carrier.final().code == 486
        with pytest.raises(TimeoutError):
            site.phone.receive_request("INVITE", timeout=0.5)
        wait_until_no_transaction(site)


def test_workers_serve_other_calls_while_calls_are_parked(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, workers=1) as site:
        inbound(site, f"Identity: {network.identity()}")
        silent = f"Identity: {network.identity(x5u=f'https://localhost:{network.silent_port}/sp.pem')}\r\n"
        for _ in range(20):
            site.carrier.invite(site.target, extra=silent)
        began = time.monotonic()
        for _ in range(5):
            call_id = site.spare.invite(site.target)  # from nobody that we know: answered by the same worker
            assert site.spare.final().code == 403, call_id
        assert time.monotonic() - began < 1.5  # the repository stays silent for longer


@pytest.mark.parametrize("failing_code", [503, 500])
def test_serial_fork_after_a_parked_call_carries_verstat_again(
    network: Network, tmp_path: Path, cfg: str, failing_code: int
) -> None:
    with Site(network, tmp_path, cfg, failover=True) as site:
        site.carrier.invite(site.target, extra=f"{PAI}Identity: {network.identity()}\r\n")
        peers = [site.phone, site.spare]
        seen = []
        for _ in range(2):
            for peer in peers:
                try:
                    request = peer.receive_request("INVITE", timeout=1)
                except TimeoutError:
                    continue
                seen.append(request)
                peer.answer(request, failing_code if len(seen) == 1 else 486, "Out of order")
                peers.remove(peer)
                break
        assert len(seen) == 2
        for request in seen:
            assert request.all("p-asserted-identity") == [
                f"<sip:{CALLER};verstat=TN-Validation-Passed@carrier.example;user=phone>"
            ]
            assert "verstat" not in request.header("from")
        assert site.carrier.final().code == 486
        wait_until_no_transaction(site)


def test_verstat_from_outside_is_removed_wherever_it_stands(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        spoofed = "verstat=TN-Validation-Passed"
        request, _ = inbound(
            site,
            f"P-Asserted-Identity: <sip:{CALLER};{spoofed}@carrier.example>, <tel:{CALLER};{spoofed}>",
            from_field=f'"Bank" <sip:{CALLER};{spoofed}@carrier.example>;tag=x'.encode(),
        )
        assert spoofed not in " ".join(value for _, value in request.headers)
        asserted = request.header("p-asserted-identity")
        assert asserted.count(";verstat=No-TN-Validation") == 2  # both name the caller
        assert request.header("from") == f'"Bank" <sip:{CALLER}@carrier.example>;tag=x'


def test_observed_call_gets_no_verstat_and_keeps_none_from_outside(network: Network, tmp_path: Path, cfg: str) -> None:
    settings = network.settings(verification={"failure_action": "observe"})
    with Site(network, tmp_path, cfg, settings=settings) as site:
        request, call_id = inbound(site, f"P-Asserted-Identity: <sip:{CALLER};verstat=TN-Validation-Passed@carrier.example>")
        assert request.header("p-asserted-identity") == f"<sip:{CALLER}@carrier.example>"
        assert site.words(call_id)["token"] == "identity_missing"


def test_header_in_compact_name_and_several_headers_are_read(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        good = network.identity()
        for headers in (
            [f"y: {good}"],
            ["Identity: garbage", f"Identity: {good}"],
            [f"Identity: {good.replace(';ppt=shaken', ';ppt=foo')}", f"y: {good}"],
            [f"Identity: garbage;info=<https://x.example/>, {good}"],
        ):
            request, call_id = inbound(site, *headers)
            assert "verstat=TN-Validation-Passed" in request.header("from"), headers
            assert site.words(call_id)["result"] == "valid"


def test_requests_inside_a_dialog_are_left_alone(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        site.phone.invite(site.target, call_id="dialog@test")
        request = site.carrier.receive_request("INVITE")
        assert request.header("identity")
        site.carrier.answer(request, 200, "OK")
        assert site.phone.final().code == 200
        routes = "".join(f"Route: {route}\r\n" for route in reversed(request.all("record-route")))
        for method in ("ACK", "INVITE", "BYE"):
            site.phone.invite(
                site.target, method=method, call_id="dialog@test", to_tag="callee", extra=routes, uri=site.carrier.uri
            )
            inside = site.carrier.receive_request(method)
            assert not inside.header("identity")
            assert not inside.header("date")
            if method != "ACK":
                site.carrier.answer(inside, 200, "OK")
                assert site.phone.final().code == 200


HOSTILE: list[tuple[str, bytes]] = [
    ("identity_malformed", b"Identity: \xff\xfe\x00\x01\r\n"),
    ("identity_malformed", b"Identity: " + b"." * 3000 + b"\r\n"),
    ("identity_malformed", b"Identity: ;info=<https://x.example/a.pem>\r\n"),
    ("info_malformed", b"Identity: a.b.c;info=https://x.example/a.pem\r\n"),
    ("identity_too_large", b"Identity: " + b"A" * 20000 + b".B.C;info=<https://x.example/a.pem>\r\n"),
    ("identity_too_many", b"Identity: a.b.c;info=<https://x.example/a.pem>\r\n" * 12),
    ("info_missing", b"Identity: a.b.c;alg=ES256\r\n"),
    ("passport_malformed", b"Identity: a.e30.AAAA;info=<https://x.example/a.pem>;ppt=shaken\r\n"),
    ("jose_header_incomplete", b"Identity: e30.e30.AAAA;info=<https://x.example/a.pem>;ppt=shaken\r\n"),
    ("compact_form_unsupported", b"Identity: ..AAAA;info=<https://x.example/a.pem>;ppt=shaken\r\n"),
    ("ppt_unsupported", b"Identity: a.b.c;info=<https://x.example/a.pem>;ppt=div\r\n"),
]


def test_bad_input_of_any_kind_gets_its_token_and_no_process_ends(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, workers=2) as site:
        workers = site.edge.worker_pids()
        for token, header in HOSTILE:
            call_id = site.carrier.invite(site.target, extra=header)
            request = site.phone.receive_request("INVITE")
            site.phone.answer(request)
            assert site.carrier.final().code == 486
            assert site.words(call_id).get("token") == token, header[:60]
        assert site.edge.worker_pids() == workers
        request, _ = inbound(site, f"Identity: {network.identity()}")
        assert "verstat=TN-Validation-Passed" in request.header("from")


def test_names_that_are_no_utf8_change_nothing(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        latin = f'"Andr\xe9" <sip:{CALLER}@carrier.example>;tag=latin'.encode("latin-1")
        asserted = f'P-Asserted-Identity: "Andr\xe9" <sip:{CALLER}@carrier.example>\r\n'.encode("latin-1")
        for extra in (b"", asserted):
            call_id = site.carrier.invite(
                site.target, from_field=latin, extra=extra + f"Identity: {network.identity()}\r\n".encode()
            )
            site.phone.answer(site.phone.receive_request("INVITE"))
            assert site.carrier.final().code == 486
            assert site.words(call_id)["result"] == "valid"


def test_call_to_another_number_than_was_signed_is_refused_where_policy_says_so(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    settings = network.settings(verification={"failure_action": "reject", "require_identity": True})
    with Site(network, tmp_path, cfg, settings=settings) as site:
        site.carrier.invite(site.target, extra=f"Identity: {network.identity()}\r\n", called="+12155550999")
        answer = site.carrier.final()
        assert answer.start_line == "SIP/2.0 438 Invalid Identity Header"
        site.carrier.invite(site.target, called=CALLED)
        assert site.carrier.final().start_line == "SIP/2.0 428 Use Identity Header"


def test_wait_of_a_parked_call_follows_fetch_timeout(network: Network, tmp_path: Path, cfg: str) -> None:
    settings = network.settings(x5u={"fetch_timeout": 0.5})
    with Site(network, tmp_path, cfg, settings=settings) as site:
        silent = network.identity(x5u=f"https://localhost:{network.silent_port}/sp.pem")
        began = time.monotonic()
        request, call_id = inbound(site, f"Identity: {silent}")
        assert "verstat=No-TN-Validation" in request.header("from")
        assert site.words(call_id)["token"] == "x5u_timeout"
        assert time.monotonic() - began < 1.9  # the default would be two seconds


def test_verstat_stands_on_the_number_that_was_verified_and_on_no_other(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        for _ in range(2):  # parked, and with the certificate at hand
            request, call_id = inbound(
                site,
                f"P-Asserted-Identity: <tel:{CALLER}>",
                "P-Asserted-Identity: <sip:+18005550999@bank.example>",
                f"Identity: {network.identity()}",
            )
            assert site.words(call_id)["result"] == "valid"
            assert request.all("p-asserted-identity") == [
                f"<tel:{CALLER};verstat=TN-Validation-Passed>",
                "<sip:+18005550999@bank.example>",
            ]


def test_spoofed_verstat_of_a_parked_call_gives_way_to_ours(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        spoofed = "verstat=TN-Validation-Passed"
        silent = network.identity(x5u=f"https://localhost:{network.silent_port}/sp.pem")
        request, _ = inbound(
            site,
            f"P-Asserted-Identity: <sip:{CALLER};{spoofed}@carrier.example>",
            f"Identity: {silent}",
            from_field=f"<sip:{CALLER};{spoofed}@carrier.example>;tag=x".encode(),
        )
        assert request.all("p-asserted-identity") == [f"<sip:{CALLER};verstat=No-TN-Validation@carrier.example>"]
        assert request.header("from") == f"<sip:{CALLER}@carrier.example>;tag=x"


def test_every_parked_call_goes_on_however_many_wait(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        header = f"Identity: {network.identity()}\r\n"
        network.repository.delay = 0.5
        try:
            ids = {site.carrier.invite(site.target, extra=header) for _ in range(150)}
            began = time.monotonic()
            passed: set[str] = set()
            while passed != ids:
                request = site.phone.receive_request("INVITE")
                assert "verstat=TN-Validation-Passed" in request.header("from")
                passed.add(request.header("call-id"))
                site.phone.answer(request)
            assert time.monotonic() - began < 2.0  # by the fetch, not by their timers
        finally:
            network.repository.delay = 0.0


def test_calls_that_are_resumed_late_leave_no_transaction(network: Network, tmp_path: Path, cfg: str) -> None:
    settings = network.settings(x5u={"fetch_timeout": 1.0})
    with Site(network, tmp_path, cfg, settings=settings) as site:
        # The answer comes when the calls' own timers fire
        network.repository.delay = 0.97
        try:
            header = f"Identity: {network.identity()}\r\n"
            ids = set()
            for _ in range(60):
                ids.add(site.carrier.invite(site.target, extra=header))
                time.sleep(0.01)
            seen: set[str] = set()
            while seen != ids:
                request = site.phone.receive_request("INVITE")
                seen.add(request.header("call-id"))
                site.phone.answer(request)
        finally:
            network.repository.delay = 0.0
        assert "not suspended" not in site.edge.log()
        wait_until_no_transaction(site, 20)


def test_strangers_urls_do_not_fill_the_shared_memory(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        junk = network.hierarchy.root.pem * 6
        forged = network.hierarchy.service_provider()
        names = [f"stranger-{number}.pem" for number in range(30)]
        network.repository.chains.update(dict.fromkeys(names, network.provider.chain_pem + junk))
        inbound(site, f"Identity: {network.identity()}")

        def free() -> int:
            found = re.search(r"free: (\d+)", site.edge.rpc("core.shmmem"))
            assert found
            return int(found[1])

        before = free()
        for name in names:
            inbound(site, f"Identity: {network.identity(issued=forged, x5u=network.repository.url(name))}")
        wait_until_no_transaction(site)
        assert before - free() < 30 * 12_000
