"""The scripts that Kamailio loads: stubs that cannot fail, and the routing of the edge."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kamailio_app
from kamailio_app.adapters import kamailio
from kamailio_app.errors import PASSED, SettingsRefused
from tests.fake_ksr import Message

from ..builders import NOW, ORIG, X5U, identity
from .support import World

ROOT = Path(kamailio_app.__file__).parent.parent
SCRIPTS = ROOT / "kemi_scripts"
INSIDE, CARRIERS = 1, 2


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with the paths of a Python that knows nothing of us, and with no handler."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)])
    monkeypatch.delitem(sys.modules, "stirshaken_paths", raising=False)
    monkeypatch.setattr(kamailio, "_handler", None)
    yield
    sys.modules.pop("stirshaken_paths", None)
    gc.unfreeze()


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- The stub ---------------------------------------------------------------------------------------------------


def test_stub_is_imported_without_package_virtualenv_and_ksr(tmp_path: Path) -> None:
    # A script that fails to import at app_python.reload takes Kamailio down
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    code = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('stub', sys.argv[1]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); s.loader.exec_module(m); "
        "assert callable(m.mod_init) and not {'KSR', 'kamailio_app', 'cryptography'} & set(sys.modules)"
    )
    script = str(tmp_path / "scripts" / "stirshaken_exec.py")
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code, script], check=True, cwd=tmp_path, timeout=30)


def test_stub_puts_project_and_virtualenv_in_front_of_the_systems_packages(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = str(tmp_path / "venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages")
    before = list(sys.path)
    # Found already, but behind the system's: that would be the wrong cryptography
    monkeypatch.setattr(sys, "path", [*before, packages])
    monkeypatch.setenv("STIRSHAKEN_VENV", str(tmp_path / "venv"))
    stub = load("stirshaken_exec")
    assert sys.path == [*before, packages]
    for _ in range(2):
        stub.mod_init()
        assert sys.path == [before[0], packages, str(ROOT), *before[1:]]


def test_virtualenv_is_beside_the_scripts_unless_told_otherwise(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STIRSHAKEN_VENV", raising=False)
    load("stirshaken_exec").mod_init()
    assert sys.path[1].startswith(str(ROOT / ".venv" / "lib"))


def test_stub_finds_its_neighbour_from_anywhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[1:])
    load("stirshaken_exec")
    assert sys.path[0] == str(SCRIPTS)


def test_reloaded_stub_gives_the_same_handler(world: World) -> None:
    stir = load("stirshaken_exec").mod_init()
    assert stir.child_init(1) == 0
    sys.modules.pop("stirshaken_paths")
    assert load("stirshaken_exec").mod_init() is stir


def test_bad_settings_stop_the_start(world: World) -> None:
    world.path.unlink()
    with pytest.raises(SettingsRefused):
        load("stirshaken_exec").mod_init()
    assert "not started: settings_unreadable" in world.ksr.log_text("err")


# --- The edge ---------------------------------------------------------------------------------------------------


class EdgeWorld:
    """The edge with the product behind it; `source` is the dispatcher set that the message comes from."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "KSR", world.ksr)
        self.world, self.ksr = world, world.ksr
        self.source = 0
        self.script = load("stirshaken_edge")
        self.edge = self.script.mod_init()
        assert self.edge.child_init(1) == 0
        self.ksr.answers["dispatcher.ds_is_from_list_mode"] = lambda group, _mode: 1 if group == self.source else -1

    def route(self, callback: str = "ksr_request_route", *arguments: object) -> list[str]:
        """What the callback did, in order."""
        self.ksr.events.clear()
        assert getattr(self.edge, callback)(object(), *arguments) == 1
        return list(self.ksr.events)

    def did(self, *names: str) -> list[str]:
        return [event for event in self.ksr.events if event.startswith(names)]


@pytest.fixture
def edge(world: World, monkeypatch: pytest.MonkeyPatch) -> EdgeWorld:
    return EdgeWorld(world, monkeypatch)


RELAYED = ["tm.t_on_branch ksr_branch", "tm.t_on_reply ksr_reply", "tm.t_on_failure ksr_failover", "tm.t_relay"]


def dispatched(group: int) -> list[str]:
    return [f"dispatcher.ds_select_dst {group} 4", *RELAYED]


def test_edge_of_a_reloaded_script_has_the_same_handler(edge: EdgeWorld) -> None:
    assert edge.script.mod_init().stir is edge.edge.stir
    assert edge.edge.stir.resume_route == "ksr_stir_resume"


def test_too_many_hops_are_answered(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.ksr.answers["maxfwd.process_maxfwd"] = -1
    assert edge.route() == ["maxfwd.process_maxfwd 10", "sl.sl_send_reply 483 Too Many Hops"]


def test_keepalive_is_answered(edge: EdgeWorld) -> None:
    edge.world.call(method="OPTIONS", request_uri=b"sip:edge.example.net")
    edge.ksr.answers["is_myself_ruri"] = True
    assert edge.route()[-1] == "sl.sl_send_reply 200 Keepalive"


@pytest.mark.parametrize(("uri", "myself"), [(b"sip:edge.example.net", False), (b"sip:bob@edge.example.net", True)])
def test_options_for_others_are_no_keepalive(edge: EdgeWorld, uri: bytes, myself: bool) -> None:
    edge.world.call(method="OPTIONS", request_uri=uri)
    edge.ksr.answers["is_myself_ruri"] = myself
    edge.source = CARRIERS
    assert edge.route()[-2:] == ["tm.t_on_failure ksr_failover", "tm.t_relay"]


def test_malformed_request_goes_nowhere(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.ksr.answers["sanity.sanity_check"] = -1
    assert edge.route()[-1] == "sanity.sanity_check 17895 7"
    assert "edge: malformed SIP request from 192.0.2.1\n" in edge.ksr.log_text("warn")


@pytest.mark.parametrize(("transaction", "events"), [(1, ["tm.t_check_trans", "tm.t_relay"]), (-1, ["tm.t_check_trans"])])
def test_cancel_follows_its_transaction(edge: EdgeWorld, transaction: int, events: list[str]) -> None:
    edge.world.call(method="CANCEL")
    edge.ksr.answers["tm.t_check_trans"] = transaction
    assert edge.route()[2:] == events


@pytest.mark.parametrize(
    ("answers", "last"),
    [({"tmx.t_precheck_trans": 1}, "tm.t_check_trans"), ({"tm.t_check_trans": 0}, "tm.t_check_trans")],
)
def test_retransmission_is_left_to_its_transaction(edge: EdgeWorld, answers: dict[str, int], last: str) -> None:
    edge.world.call()
    edge.ksr.answers.update(answers)
    edge.source = INSIDE
    assert edge.route()[-1] == last
    assert edge.ksr.message.appended == []


@pytest.mark.parametrize(
    ("method", "answers", "events"),
    [
        ("BYE", {"rr.loose_route": 1}, ["rr.loose_route", "tm.t_on_failure ksr_failover", "tm.t_relay"]),
        (
            "INVITE",
            {"rr.loose_route": 1},
            ["rr.loose_route", *RELAYED],
        ),
        ("BYE", {}, ["rr.loose_route", "sl.sl_send_reply 404 Not here"]),
        ("ACK", {"rr.loose_route": 1}, ["rr.loose_route", "tm.t_on_failure ksr_failover", "tm.t_relay"]),
        ("ACK", {"tm.t_check_trans": 1}, ["rr.loose_route", "tm.t_check_trans", "tm.t_relay"]),
        ("ACK", {}, ["rr.loose_route", "tm.t_check_trans"]),
    ],
)
def test_requests_within_dialogs_follow_their_route(
    edge: EdgeWorld, method: str, answers: dict[str, int], events: list[str]
) -> None:
    edge.world.call(method=method, to_tag=b"tag")
    edge.ksr.answers.update(answers, **{"siputils.has_totag": 1})
    seen = edge.route()
    assert seen[seen.index("rr.loose_route") :] == events
    assert edge.ksr.var == {}  # neither signed nor verified


def test_acknowledgement_is_never_answered(edge: EdgeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.world.call(method="ACK")
    edge.ksr.answers["siputils.has_totag"] = raising
    edge.route()
    assert edge.did("sl.") == []


@pytest.mark.parametrize("method", ["SUBSCRIBE", "REGISTER", "PUBLISH"])
def test_other_methods_are_not_allowed(edge: EdgeWorld, method: str) -> None:
    edge.world.call(method=method)
    assert edge.route()[-1] == "sl.sl_send_reply 405 Method Not Allowed"


def test_strangers_are_forbidden(edge: EdgeWorld) -> None:
    message = edge.world.signed_call()
    assert edge.route()[-1] == "sl.sl_send_reply 403 Forbidden"
    assert (message.appended, edge.ksr.var) == ([], {})


@pytest.mark.parametrize(("method", "recorded"), [("INVITE", True), ("MESSAGE", False)])
def test_route_is_recorded_for_calls(edge: EdgeWorld, method: str, recorded: bool) -> None:
    message = edge.world.call(("Route", b"<sip:evil@x>"), method=method)
    edge.source = INSIDE
    edge.route()
    assert bool(edge.did("rr.record_route")) is recorded
    assert message.leaving("Route") == []


# --- Outbound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("indicator", "attest"), [(b"A", "A"), (b"B", "B"), (None, "C")])
def test_outbound_call_is_signed_as_the_inside_says(edge: EdgeWorld, indicator: bytes | None, attest: str) -> None:
    headers = [("P-Origination-ID", b"x")] + ([("P-Attestation-Indicator", indicator)] if indicator else [])
    message = edge.world.call(*headers)
    edge.source = INSIDE
    assert edge.route()[-5:] == dispatched(CARRIERS)
    assert len(message.leaving("Identity")) == 1
    assert edge.world.results("attest") == {"attest": attest}
    assert message.leaving("P-Attestation-Indicator") + message.leaving("P-Origination-ID") == []


def test_outbound_message_is_not_signed(edge: EdgeWorld) -> None:
    message = edge.world.call(("P-Attestation-Indicator", b"A"), method="MESSAGE")
    edge.source = INSIDE
    assert edge.route()[-3:] == ["dispatcher.ds_select_dst 2 4", "tm.t_on_failure ksr_failover", "tm.t_relay"]
    assert message.leaving("Identity") + message.leaving("P-Attestation-Indicator") == []


def test_outbound_call_that_cannot_be_signed_goes_on(edge: EdgeWorld) -> None:
    message = edge.world.call(from_uri=b"sip:alice@x")
    edge.source = INSIDE
    assert edge.route()[-5:] == dispatched(CARRIERS)
    assert message.leaving("Identity") == []


# --- Inbound ----------------------------------------------------------------------------------------------------


def inbound(edge: EdgeWorld, value: str | None = None, *headers: tuple[str, bytes], **changes: Any) -> Message:
    edge.source = CARRIERS
    return edge.world.signed_call(*headers, value=value, **changes)


def test_inbound_call_is_verified_and_tagged(edge: EdgeWorld) -> None:
    edge.world.at_hand(edge.edge.stir)
    message = inbound(edge, None, ("P-Attestation-Indicator", b"A"), ("P-Origination-ID", b"x"))
    assert edge.route()[-5:] == dispatched(INSIDE)
    assert message.new_from_uri == f"sip:+{ORIG};verstat={PASSED}@orig.example.com;user=phone"
    assert message.leaving("P-Attestation-Indicator") + message.leaving("P-Origination-ID") == []


def test_inbound_call_that_fails_goes_on_tagged(edge: EdgeWorld) -> None:
    message = inbound(edge, identity(claims={"iat": NOW - 100}))
    assert edge.route()[-5:] == dispatched(INSIDE)
    assert message.new_from_uri == f"sip:+{ORIG};verstat=No-TN-Validation@orig.example.com;user=phone"


def test_inbound_call_is_answered_where_that_is_wanted(edge: EdgeWorld) -> None:
    edge.world.settings(verification={"failure_action": "reject"})
    edge.world.reload()
    inbound(edge, identity(claims={"iat": NOW - 100}))
    assert edge.route()[-1] == "sl.send_reply 403 Stale Date"
    assert edge.did("tm.t_relay") == []


def test_inbound_message_is_passed_on(edge: EdgeWorld) -> None:
    message = inbound(edge, method="MESSAGE")
    assert edge.route()[-3:] == ["dispatcher.ds_select_dst 1 4", "tm.t_on_failure ksr_failover", "tm.t_relay"]
    assert (message.new_from_uri, edge.ksr.var) == (None, {})


def test_nobody_to_send_to_is_answered(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.source = INSIDE
    edge.ksr.answers["dispatcher.ds_select_dst"] = -1
    assert edge.route()[-1] == "sl.send_reply 503 Service Unavailable"


def test_call_that_cannot_be_sent_is_answered(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.source = INSIDE
    edge.ksr.answers.update({"tm.t_relay": -1, "dispatcher.ds_next_dst": -1})
    assert edge.route()[-1] == "sl.send_reply 500 Server Internal Error"


# --- Failover ---------------------------------------------------------------------------------------------------


def test_destination_out_of_order_is_followed_by_the_next(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.ksr.answers.update({"tm.t_check_status": 1})
    assert edge.route("ksr_failover") == [
        "tm.t_is_canceled",
        "tm.t_check_status (408)|(5[0-9][0-9])",
        "tm.t_branch_timeout",
        "dispatcher.ds_next_dst",
        *RELAYED,
    ]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ({"tm.t_is_canceled": 1}, "tm.t_is_canceled"),
        ({}, "tm.t_check_status (408)|(5[0-9][0-9])"),
        ({"tm.t_check_status": 1, "dispatcher.ds_next_dst": -1}, "dispatcher.ds_next_dst"),
    ],
)
def test_no_failover_for_what_was_decided(edge: EdgeWorld, answers: dict[str, int], last: str) -> None:
    edge.world.call()
    edge.ksr.answers.update(answers)
    assert edge.route("ksr_failover")[-1] == last


# --- Size -------------------------------------------------------------------------------------------------------

NEXT_HOP = b"sip:192.0.2.7"


def large(edge: EdgeWorld) -> Message:
    """A call from the inside that is one octet too large for UDP; the first carrier is chosen."""
    edge.ksr.udp_mtu = 1300
    edge.source = INSIDE
    return edge.world.call(destination=NEXT_HOP, length=1300 - edge.script.STILL_TO_COME + 1)


def test_large_request_goes_by_tcp(edge: EdgeWorld) -> None:
    message = large(edge)
    edge.route()
    assert message.destination == NEXT_HOP + b";transport=tcp"
    assert len(edge.did("tm.t_relay")) == 1


@pytest.mark.parametrize(("mtu", "less"), [(1300, 1), (None, 0)])
def test_request_that_fits_or_may_be_large_stays_with_udp(edge: EdgeWorld, mtu: int | None, less: int) -> None:
    message = large(edge)
    message.length -= less
    edge.ksr.udp_mtu = mtu
    edge.route()
    assert message.destination == NEXT_HOP


def test_transport_that_the_next_hop_names_is_kept(edge: EdgeWorld) -> None:
    message = large(edge)
    message.destination = NEXT_HOP + b";transport=tls"
    edge.route()
    assert message.destination == NEXT_HOP + b";transport=tls"


def test_large_request_that_nobody_takes_by_tcp_goes_by_udp_then_to_the_next(edge: EdgeWorld) -> None:
    message = large(edge)
    tried: list[bytes | None] = []
    others = [b"sip:192.0.2.8", b"sip:192.0.2.9;transport=tls"]

    def relay() -> int:
        tried.append(message.destination)
        return -1

    def another() -> int:
        if not others:
            return -1
        message.destination = others.pop(0)
        return 1

    edge.ksr.answers.update({"tm.t_relay": relay, "dispatcher.ds_next_dst": another})
    assert edge.route()[-1] == "sl.send_reply 500 Server Internal Error"
    first, second = NEXT_HOP, b"sip:192.0.2.8"
    by_tcp = b";transport=tcp"
    assert tried == [first + by_tcp, first, second + by_tcp, second, b"sip:192.0.2.9;transport=tls"]


@pytest.mark.parametrize(
    ("silent", "replied", "goes_to"),
    [(1, -1, NEXT_HOP), (1, 1, b"sip:192.0.2.8;transport=tcp"), (-1, -1, b"sip:192.0.2.8;transport=tcp")],
    ids=["silence", "silence-after-a-word", "refusal"],
)
def test_silence_by_tcp_is_followed_by_udp_and_an_answer_by_the_next(
    edge: EdgeWorld, silent: int, replied: int, goes_to: bytes
) -> None:
    message = large(edge)

    def another() -> int:
        message.destination = b"sip:192.0.2.8"
        return 1

    edge.route()
    edge.ksr.answers.update({"tm.t_check_status": 1, "tm.t_branch_timeout": silent, "tm.t_branch_replied": replied})
    edge.ksr.answers["dispatcher.ds_next_dst"] = another
    edge.route("ksr_failover")
    assert message.destination == goes_to


# --- Parked calls -----------------------------------------------------------------------------------------------


def test_call_waits_while_its_credential_is_fetched(edge: EdgeWorld) -> None:
    message = inbound(edge)
    seen = edge.route()
    assert seen[seen.index("tm.t_newtran") :] == [
        "tm.t_newtran",
        "tm.t_on_failure ksr_stir_timeout",
        "tm.t_set_fr 0 2000",
        "tmx.t_suspend",
    ]
    assert (edge.world.post.ordered(), edge.ksr.queue) == ([f"fetch {X5U}"], [])
    # In the process that keeps the fetch process
    assert edge.route("ksr_stir_keep") == []
    assert edge.ksr.queue == [("ksr_stir_resume", "stirshaken", X5U)]
    # In one that resumes
    edge.ksr.var.clear()
    edge.ksr.async_data = X5U
    assert edge.route("ksr_stir_resume", "evname") == ["tmx.t_continue 4711 -5 ksr_stir_resumed"]
    assert edge.route("ksr_stir_resumed") == ["tm.t_reset_fr", *dispatched(INSIDE)]
    assert message.new_from_uri is None
    # Each branch says it, also after a failover
    for _ in range(2):
        message.new_from_uri = None
        edge.route("ksr_branch")
        assert message.new_from_uri == f"sip:+{ORIG};verstat={PASSED}@orig.example.com;user=phone"


def test_branch_of_a_call_that_did_not_wait_is_left_alone(edge: EdgeWorld) -> None:
    message = edge.world.call()
    assert edge.route("ksr_branch") == []
    assert (message.new_from_uri, message.appended) == (None, [])


def test_branch_of_a_parked_call_loses_what_was_spoofed_also_when_observing(edge: EdgeWorld) -> None:
    edge.world.settings(verification={"failure_action": "observe"})
    edge.world.reload()
    message = inbound(edge, from_uri=f"sip:+{ORIG};verstat={PASSED}@x".encode())
    edge.route()
    # At once, for all branches: a native script may have forgotten the line in the branch route
    assert message.new_from_uri == f"sip:+{ORIG}@x"
    edge.route("ksr_stir_timeout")
    edge.route("ksr_branch")
    assert message.new_from_uri == f"sip:+{ORIG}@x"


@pytest.mark.parametrize("wait", [0.5, 2.0])
def test_parked_call_waits_as_long_as_its_budget(edge: EdgeWorld, wait: float) -> None:
    edge.world.settings(verification={"call_time_budget": wait})
    edge.world.reload()
    inbound(edge)
    assert f"tm.t_set_fr 0 {int(wait * 1000)}" in edge.route()


def test_attestation_that_is_no_text_is_not_said(edge: EdgeWorld) -> None:
    message = edge.world.call(("P-Attestation-Indicator", b"A\xff"))
    edge.source = INSIDE
    assert edge.route()[-5:] == dispatched(CARRIERS)
    assert len(message.leaving("Identity")) == 1
    assert edge.world.results("attest") == {"attest": "C"}


def test_second_call_for_a_credential_waits_for_the_same_fetch(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.route()
    edge.ksr.transaction = (4712, 6)
    edge.route()
    assert len(edge.world.post.orders) == 1
    edge.route("ksr_stir_keep")
    edge.ksr.async_data = X5U
    assert edge.route("ksr_stir_resume") == [
        "tmx.t_continue 4711 -5 ksr_stir_resumed",
        "tmx.t_continue 4712 6 ksr_stir_resumed",
    ]
    assert edge.world.web.asked == [X5U]


def waiting(edge: EdgeWorld) -> list[object]:
    """The places of the table in which somebody waits."""
    return [text for key, (text, _ends) in edge.ksr.tables[kamailio.PARKED].entries.items() if key.endswith(f" {X5U}")]


def test_credential_that_does_not_come_in_time_lets_the_call_go_on(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.route()
    assert waiting(edge) == [f"0 4711:-5:{(NOW * 1000) + 2000}"]
    edge.world.clock.now += 2
    assert edge.route("ksr_stir_timeout") == ["tm.t_is_canceled", "tm.t_reset_fr", *dispatched(INSIDE)]
    assert edge.world.results("token", "verstat") == {"token": "x5u_timeout", "verstat": "No-TN-Validation"}
    # What comes later has nobody to wake
    edge.route("ksr_stir_keep")
    assert edge.ksr.queue == []
    edge.ksr.async_data = X5U
    assert edge.route("ksr_stir_resume") == []
    assert edge.ksr.tables[kamailio.PARKED].entries == {}


def test_call_whose_timer_fires_now_is_not_continued_twice(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.route()
    edge.world.clock.now += 1.9
    edge.route("ksr_stir_keep")
    edge.ksr.async_data = X5U
    assert edge.route("ksr_stir_resume") == []
    edge.world.clock.now += 0.1
    assert edge.route("ksr_stir_timeout") == ["tm.t_is_canceled", "tm.t_reset_fr", *dispatched(INSIDE)]
    # The credential came all the same
    assert edge.world.results("token", "verstat") == {"token": "", "verstat": PASSED}


def test_parked_call_that_is_cancelled_goes_nowhere(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.route()
    edge.ksr.answers["tm.t_is_canceled"] = 1
    assert edge.route("ksr_stir_timeout") == ["tm.t_is_canceled"]
    edge.route("ksr_stir_keep")
    edge.ksr.async_data = X5U
    assert edge.route("ksr_stir_resume") == []
    assert edge.ksr.tables[kamailio.PARKED].entries == {}


def test_parked_call_is_answered_where_that_is_wanted(edge: EdgeWorld) -> None:
    edge.world.settings(verification={"failure_action": "reject"})
    edge.world.reload()
    inbound(edge)
    edge.route()
    assert edge.route("ksr_stir_timeout")[-1] == "tm.t_reply 436 Bad Identity Info"


def test_call_goes_on_at_once_when_the_queue_is_full(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.world.post.full = True
    assert edge.route()[-2:] == ["tmx.t_suspend", "tmx.t_continue 4711 -5 ksr_stir_resumed"]
    assert edge.ksr.tables[kamailio.PARKED].entries == {}


def test_call_that_cannot_be_suspended_goes_on(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.ksr.answers["tmx.t_suspend"] = -1
    seen = edge.route()
    assert seen[seen.index("tmx.t_suspend") :] == ["tmx.t_suspend", "tm.t_reset_fr", *dispatched(INSIDE)]
    assert edge.world.post.orders == []


def test_call_without_transaction_is_answered(edge: EdgeWorld) -> None:
    inbound(edge)
    edge.ksr.answers["tm.t_newtran"] = -1
    assert edge.route()[-2:] == ["tm.t_newtran", "sl.sl_reply_error"]


# --- Defects ----------------------------------------------------------------------------------------------------


def raising(*_arguments: object) -> int:
    raise RuntimeError("boom\0\r\n\N{SNOWMAN}")


def test_defect_in_the_routing_is_answered_500(edge: EdgeWorld) -> None:
    edge.world.call()
    edge.ksr.answers["maxfwd.process_maxfwd"] = raising
    assert edge.route()[-1] == "sl.send_reply 500 Server Internal Error"
    (line,) = [line for level, line in edge.ksr.logs if level == "err"]
    assert line.startswith("edge: ksr_request_route: ")
    assert "RuntimeError: boom" in line


@pytest.mark.parametrize(
    ("callback", "function"),
    [
        ("ksr_failover", "tm.t_is_canceled"),
        ("ksr_stir_timeout", "tm.t_is_canceled"),
        ("ksr_stir_resumed", "tm.t_reset_fr"),
    ],
)
def test_defect_elsewhere_is_said_and_not_answered_twice(edge: EdgeWorld, callback: str, function: str) -> None:
    edge.world.call()
    edge.ksr.answers[function] = raising
    edge.route(callback)
    assert edge.did("sl.") == []
    assert f"edge: {callback}: " in edge.ksr.log_text("err")


def test_defect_in_the_product_does_not_cost_the_call(edge: EdgeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.edge.stir.service, "verify", raising)
    message = inbound(edge)
    assert edge.route()[-5:] == dispatched(INSIDE)
    # A process that has never verified a call
    edge.ksr.var.clear()
    edge.edge.stir.port._shown.clear()
    assert edge.route("ksr_stir_resumed") == ["tm.t_reset_fr", *dispatched(INSIDE)]
    edge.route("ksr_branch")
    assert message.new_from_uri is None
    assert len(edge.world.internal_errors()) == 2


def test_response_shows_the_caller_the_from_it_sent(edge: EdgeWorld) -> None:
    edge.world.at_hand(edge.edge.stir)
    edge.world.signed_call()
    edge.source = CARRIERS
    edge.route()
    kept = dict(edge.ksr.avp)
    message = edge.world.call(from_uri=f"sip:+{ORIG};verstat={PASSED}@orig.example.com;user=phone".encode())
    edge.ksr.avp.update(kept)  # a response has the AVPs of its transaction
    edge.route("ksr_reply")
    assert message.new_from_uri == f"sip:+{ORIG}@orig.example.com;user=phone"


def test_response_to_a_call_that_was_left_as_it_was_is_left_too(edge: EdgeWorld) -> None:
    message = edge.world.call()
    edge.route("ksr_reply")
    assert message.new_from_uri is None


@pytest.mark.parametrize(("status", "told"), [(180, True), (200, True), (486, True), (100, False)])
def test_response_says_what_was_wrong_with_the_identity(edge: EdgeWorld, status: int, told: bool) -> None:
    inbound(edge, identity(claims={"iat": NOW - 100}))
    edge.route()
    kept = dict(edge.ksr.avp)
    message = edge.world.call(status=status)
    edge.ksr.avp.update(kept)
    edge.route("ksr_reply")
    values = message.leaving("Reason")
    assert [value.partition(" ;ppi=")[0] for value in values] == (['STIR ;cause=403 ;text="Stale Date"'] if told else [])


@pytest.mark.parametrize("callback", ["ksr_stir_keep", "ksr_stir_resume"])
def test_defect_where_no_call_is_attached_is_said(edge: EdgeWorld, callback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.edge.stir, "stir_keep", raising)
    monkeypatch.setattr(edge.edge.stir, "stir_fetched", raising)
    assert edge.route(callback) == []
    assert f"edge: {callback}: " in edge.ksr.log_text("err")
