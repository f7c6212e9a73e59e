"""The handler inside Kamailio: entry points that never fail, reload, parked calls, text that is no text."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kamailio_app.adapters import kamailio
from kamailio_app.adapters.kamailio import Stirshaken
from kamailio_app.errors import FAILURES, SettingsRefused, failure
from kamailio_app.lab.pki import ServiceProvider, expired
from tests.fake_ksr import FakeKsr, Mode

from ..builders import DATE, DAY, NOW, ORIG, ORIGID, X5U, hierarchy, identity, passport, provider
from ..runtime.support import LISTS, sourced, trust
from ..test_sti_vs_extensions import extension
from .support import ENTRY_POINTS, MORE_RESULTS, World

SPOOFED = "TN-Validation-Passed"
FROM = f"sip:+{ORIG}@orig.example.com;user=phone"
NOT_UTF_8 = b"caf\xe9 \xff\xfe"


def act(stir: Stirshaken, entry: str, *arguments: Any) -> int:
    """Call as Kamailio does. Anything but an int other than 0 would end the routing script or poison the process."""
    code = getattr(stir, entry)(object(), *arguments)
    assert type(code) is int
    assert code != 0
    return code


# --- Every entry point ------------------------------------------------------------------------------------------


def test_call_is_signed(world: World) -> None:
    stir = world.start()
    message = world.call()
    assert act(stir, "stir_sign", "A") == 1
    (value,) = message.leaving("Identity")
    assert value.endswith(";info=<https://cr.example.test/sp1234.pem>;alg=ES256;ppt=shaken")
    assert message.leaving("Date") == [DATE]
    assert world.results("token", "attest") == {"token": "", "attest": "A"}
    assert f"origid={world.results('origid')['origid']} " in world.ksr.log_text("info")


def test_call_that_has_a_date_keeps_it(world: World) -> None:
    stir = world.start()
    message = world.call(("Date", DATE.encode()))
    assert act(stir, "stir_sign") == 1
    assert message.leaving("Date") == [DATE]
    assert message.appended[0].startswith("Identity: ")


def test_header_of_ours_is_not_seen_before_the_message_leaves(world: World) -> None:
    stir = world.start()
    world.call()
    act(stir, "stir_sign")
    assert world.ksr.hdr.get("Identity") is None


@pytest.mark.parametrize("argument", ["", "<null>", " ", None, 1, b"A"])
def test_without_attestation_that_of_the_settings_is_used(world: World, argument: object) -> None:
    stir = world.start(signing={"attest_level": "B"})
    world.call()
    assert act(stir, "stir_sign", argument) == 1
    assert world.results("attest") == {"attest": "B"}


@pytest.mark.parametrize(
    ("value", "argument", "attest"),
    [("A", "", "A"), ("B", "<null>", "B"), ("A", "B", "B"), (" A ", "", "A"), ("", "", "C"), (7, "", "C"), (None, "", "C")],
)
def test_attestation_is_also_read_from_a_variable(world: World, value: str | int | None, argument: str, attest: str) -> None:
    stir = world.start()
    world.call()
    if value is not None:
        world.ksr.avp["stir_attest"] = [value]
    assert act(stir, "stir_sign", argument) == 1
    assert world.results("attest") == {"attest": attest}


def test_attestation_in_a_variable_that_is_no_utf_8_is_unknown(world: World) -> None:
    stir = world.start()
    world.call()
    world.ksr.avp["stir_attest"] = [b"A\xff"]
    assert act(stir, "stir_sign") == 2
    assert world.results("token") == {"token": "attest_unknown"}
    assert world.internal_errors() == []


def test_unknown_attestation_leaves_the_call_unsigned(world: World) -> None:
    stir = world.start()
    message = world.call()
    assert act(stir, "stir_sign", "D") == 2
    assert world.results("token", "attest", "origid") == {"token": "attest_unknown", "attest": "", "origid": ""}
    assert message.appended == []


def test_valid_call_is_tagged(world: World) -> None:
    stir = world.start()
    world.at_hand(stir)
    message = world.signed_call()
    assert act(stir, "stir_verify") == 1
    assert world.results() == {
        "token": "",
        "code": 0,
        "phrase": "",
        "verstat": "TN-Validation-Passed",
        "attest": "A",
        "origid": ORIGID,
    }
    assert message.new_from_uri == f"sip:+{ORIG};verstat=TN-Validation-Passed@orig.example.com;user=phone"


def test_call_without_identity_goes_on(world: World) -> None:
    stir = world.start()
    world.call()
    assert act(stir, "stir_verify") == 3
    assert world.results("token", "verstat") == {"token": "identity_missing", "verstat": "No-TN-Validation"}


def test_call_to_be_refused_names_code_and_phrase(world: World) -> None:
    stir = world.start(verification={"failure_action": "reject"})
    world.signed_call(value=identity(claims={"iat": NOW - 100}))
    assert act(stir, "stir_verify") == -1
    assert world.results("code", "phrase") == {"code": 403, "phrase": "Stale Date"}


def test_call_whose_credential_is_missing_is_pending(world: World) -> None:
    stir = world.start()
    message = world.signed_call()
    assert act(stir, "stir_verify") == 2
    assert world.results("x5u", "wait") == {"x5u": X5U, "wait": 2000}
    assert (message.appended, message.removed, message.new_from_uri) == ([], set(), None)
    assert world.ksr.avp == {}


@pytest.mark.parametrize(("budget", "wait"), [(0.5, 500), (1.5, 1500), (30.0, 30000)])
def test_script_is_told_how_long_to_park(world: World, budget: float, wait: int) -> None:
    stir = world.start(verification={"call_time_budget": budget})
    world.signed_call()
    assert act(stir, "stir_verify") == 2
    assert world.results("wait") == {"wait": wait}


def test_pending_call_loses_what_was_spoofed_at_once_and_is_tagged_in_its_branch(world: World) -> None:
    stir = world.start()
    spoofed = f"<sip:+{ORIG};verstat={SPOOFED}@x>".encode()
    message = world.signed_call(("P-Asserted-Identity", spoofed), from_uri=f"sip:+{ORIG};verstat={SPOOFED}@x".encode())
    assert act(stir, "stir_verify") == 2
    assert (message.new_from_uri, message.leaving("P-Asserted-Identity")) == (f"sip:+{ORIG}@x", [])
    assert world.ksr.pv.get("$avp(stir_stripped)") == 1
    assert act(stir, "stir_resume") == 3
    assert message.leaving("P-Asserted-Identity") == []
    assert act(stir, "stir_tag", "No-TN-Validation") == 1
    assert message.leaving("P-Asserted-Identity") == [f"<sip:+{ORIG};verstat=No-TN-Validation@x>"]
    assert message.new_from_uri == f"sip:+{ORIG}@x"


def test_pending_call_that_spoofs_in_from_alone_is_told_nothing(world: World) -> None:
    stir = world.start()
    message = world.signed_call(from_uri=f"sip:+{ORIG};verstat={SPOOFED}@x".encode())
    assert act(stir, "stir_verify") == 2
    assert act(stir, "stir_tag", "No-TN-Validation") == 1
    assert (message.new_from_uri, message.appended) == (f"sip:+{ORIG}@x", [])


@pytest.mark.parametrize(("verstat", "told"), [("", ""), ("No-TN-Validation", ";verstat=No-TN-Validation")])
def test_pending_call_with_more_identities_than_are_looked_at_keeps_the_first(world: World, verstat: str, told: str) -> None:
    stir = world.start()
    honest = [("P-Asserted-Identity", f"<sip:+{ORIG}@x>".encode())] * 4
    # A tel URI goes before a sip URI, but not one that nobody is shown
    other = ("P-Asserted-Identity", b"<tel:+13035550100>")
    message = world.signed_call(*honest, other, ("P-Asserted-Identity", f"<tel:+{ORIG};verstat={SPOOFED}>".encode()))
    assert act(stir, "stir_verify") == 2
    assert message.leaving("P-Asserted-Identity") == []
    assert world.ksr.pv.get("$avp(stir_stripped)") == 1
    assert act(stir, "stir_tag", verstat) == 1
    assert message.leaving("P-Asserted-Identity") == [f"<sip:+{ORIG}{told}@x>"] * 4


def test_spoofed_verstat_does_not_survive_a_defect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()
    message = world.signed_call(from_uri=f"sip:+{ORIG};verstat={SPOOFED}@x".encode())

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(stir.service, "verify", broken)
    assert act(stir, "stir_verify") == 3
    assert message.new_from_uri == f"sip:+{ORIG}@x"


@pytest.mark.parametrize(("argument", "code", "asked"), [("block", 1, [X5U]), ("park", 2, []), ("<null>", 2, [])])
def test_script_may_have_the_process_wait(world: World, argument: str, code: int, asked: list[str]) -> None:
    stir = world.start()
    world.signed_call()
    assert act(stir, "stir_verify", argument) == code
    assert (world.web.asked, bool(world.slept)) == (asked, code == 1)


def test_parked_call_is_never_pending_again(world: World) -> None:
    stir = world.start()
    message = world.signed_call()
    assert act(stir, "stir_resume") == 3
    assert world.results("token") == {"token": "x5u_timeout"}
    assert message.new_from_uri is None  # that is for the branch route


def test_branch_of_a_parked_call_is_tagged(world: World) -> None:
    stir = world.start()
    message = world.signed_call()
    assert act(stir, "stir_tag", "No-TN-Validation") == 1
    assert message.new_from_uri == f"sip:+{ORIG};verstat=No-TN-Validation@orig.example.com;user=phone"


@pytest.mark.parametrize("argument", ["", None, "<null>"])
def test_branch_that_is_to_say_nothing_loses_what_was_spoofed(world: World, argument: str | None) -> None:
    stir = world.start()
    message = world.call(from_uri=f"sip:+{ORIG};verstat={SPOOFED}@x".encode())
    assert act(stir, "stir_tag", argument) == 1
    assert message.new_from_uri == f"sip:+{ORIG}@x"


@pytest.mark.parametrize("entry", ENTRY_POINTS)
@pytest.mark.parametrize(
    "arguments",
    [(), (None,), ("<null>",), (b"bytes",), (-1,), ("",), (" ",), ("1:2",), ("1:2 ",), ("x",), ("\N{SNOWMAN}",), ("a" * 9000,)],
    ids=repr,
)
def test_odd_arguments_end_in_a_code(world: World, entry: str, arguments: tuple[object, ...]) -> None:
    stir = world.start()
    world.call()
    act(stir, entry, *arguments)
    assert world.internal_errors() == []


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("stir_sign", 2),
        ("stir_verify", 3),
        ("stir_resume", 3),
        ("stir_tag", -1),
        ("stir_park", -1),
        ("stir_unpark", -1),
        ("stir_next", -1),
        ("stir_keep", -1),
    ],
)
def test_defect_is_said_on_one_line_and_the_call_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, entry: str, code: int
) -> None:
    stir = world.start()
    world.call()

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("boom\r\n\0\N{SNOWMAN}\udcff")

    act(stir, "stir_fetched", X5U)
    monkeypatch.setattr(stir.outbound, "sign", broken)
    monkeypatch.setattr(stir.calls, "verify", broken)
    monkeypatch.setattr(stir.calls, "tag", broken)
    monkeypatch.setattr(stir.service, "configuration", broken)
    monkeypatch.setattr(world.ksr.htable, "sht_get", broken)
    assert act(stir, entry, "1:2") == code
    (line,) = world.internal_errors()
    assert line.startswith(f"stirshaken: internal_error in {entry}: Traceback (most recent call last):")
    assert "test_kamailio.py" in line
    assert "RuntimeError: boom" in line


def test_results_of_an_earlier_call_do_not_outlive_a_defect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()
    world.at_hand(stir)
    world.signed_call()
    assert act(stir, "stir_verify") == 1

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(stir.service, "verify", broken)
    assert act(stir, "stir_resume") == 3
    assert world.results() == {
        "token": "internal_error",
        "code": 0,
        "phrase": "",
        "verstat": "",
        "attest": "",
        "origid": "",
    }


def test_results_that_few_calls_have_do_not_outlive_a_defect_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()
    world.at_hand(stir)
    rich = identity(claims={"rcd": {"nam": "Alice"}})
    world.signed_call(value=identity(claims={"iat": NOW - 100}))
    act(stir, "stir_verify")
    assert str(world.results("reason")["reason"]).startswith("Reason: STIR ;cause=403")
    world.signed_call(value=rich)
    assert act(stir, "stir_verify") == 1
    assert world.results("rcd_name", "reason") == {"rcd_name": "Alice", "reason": ""}
    verify = stir.service.verify

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(stir.service, "verify", broken)
    assert act(stir, "stir_verify") == 3
    assert world.results(*MORE_RESULTS) == dict.fromkeys(MORE_RESULTS, "")
    monkeypatch.setattr(stir.service, "verify", verify)
    world.signed_call(value=rich)
    assert act(stir, "stir_verify") == 1
    assert world.results("rcd_name") == {"rcd_name": "Alice"}


# --- Reason, P- headers, trunks, replay -------------------------------------------------------------------------

STALE = identity(claims={"iat": NOW - 100})


@pytest.mark.parametrize("refusing", [False, True])
def test_reason_goes_into_the_responses(world: World, refusing: bool) -> None:
    stir = world.start(verification={"failure_action": "reject" if refusing else "tag"})
    message = world.signed_call(value=STALE)
    assert act(stir, "stir_verify") == (-1 if refusing else 3)
    (lines,) = world.ksr.avp["stir_reason"]
    assert lines.startswith('Reason: STIR ;cause=403 ;text="Stale Date" ;ppi="..')
    assert lines == world.ksr.var["stir_reason"]
    # A call that goes on is answered 100 first, which is not to say it
    assert message.to_reply == ([lines] if refusing else [])
    message = world.call()
    act(stir, "stir_verify")
    assert message.to_reply == []
    assert (world.ksr.var["stir_reason"], world.ksr.avp.get("stir_reason")) == ("", None)


def test_headers_for_the_own_network_replace_foreign_ones(world: World) -> None:
    stir = world.start(verification={"p_headers": True})
    world.at_hand(stir)
    foreign = [("P-Attestation-Indicator", b"A"), ("P-Origination-ID", b"x")]
    message = world.signed_call(*foreign)
    assert act(stir, "stir_verify") == 1
    assert (message.leaving("P-Attestation-Indicator"), message.leaving("P-Origination-ID")) == (["A"], [ORIGID])
    message = world.signed_call(*foreign, value=STALE)
    assert act(stir, "stir_verify") == 3
    assert message.leaving("P-Attestation-Indicator") + message.leaving("P-Origination-ID") == []


@pytest.mark.parametrize("spoofed", [False, True])
def test_headers_of_a_parked_call_come_in_its_branch(world: World, spoofed: bool) -> None:
    stir = world.start(verification={"p_headers": True})
    asserted = [("P-Asserted-Identity", f"<sip:+{ORIG};verstat=x@x>".encode())] if spoofed else []
    message = world.signed_call(("P-Attestation-Indicator", b"C"), *asserted)
    assert act(stir, "stir_verify") == 2
    assert message.leaving("P-Attestation-Indicator") == []
    world.at_hand(stir)
    assert act(stir, "stir_resume") == 1
    assert message.leaving("P-Attestation-Indicator") == []
    assert act(stir, "stir_tag", SPOOFED) == 1
    assert (message.leaving("P-Attestation-Indicator"), message.leaving("P-Origination-ID")) == (["A"], [ORIGID])


@pytest.mark.parametrize(
    ("identities", "seen"),
    [
        *[((b"a;ppt=rph",), True), ((b"a", b"b"), True), ((b"a;ppt=shaken",), False), ((), False), ((b"\xff rph",), True)],
        # One of several in a field, or one that does not say it, may be of any type
        *[((b"a;ppt=shaken,b;info=<u:1>",), True), ((b"a;info=<u:1>",), True), ((b'a;info=<u:1>;ppt="shaken"',), False)],
    ],
)
def test_priority_is_read_where_a_passport_of_its_type_may_ask_for_it(
    world: World, identities: tuple[bytes, ...], seen: bool
) -> None:
    port = world.start().port
    world.call(
        *(("Identity", value) for value in identities),
        *[("Resource-Priority", b"ets.0"), ("Resource-Priority", b"wps.1\xff")],
        ("Priority", b"emergency"),
    )
    found = port.request()
    expected = (("ets.0", "wps.1\ufffd"), "emergency") if seen else ((), None)
    assert (found.resource_priority, found.priority) == expected


def test_priority_that_only_the_passport_says_is_granted_in_a_field_of_several(world: World) -> None:
    stir = world.start(verification={"rph_signers": ["1234"]})
    world.at_hand(stir)
    rph = extension("rph", {"rph": {"auth": ["ets.0"]}}, parameters=f";info=<{X5U}>")
    world.signed_call(("Resource-Priority", b"ets.0"), value=f"{identity()},{rph}")
    assert act(stir, "stir_verify") == 1
    assert world.results("token", "rph") == {"token": "", "rph": "ets.0"}


@pytest.mark.parametrize(("trunk", "code"), [("strict", -1), ("other", 3), ("", 3), (None, 3), (7, 3), (b"\xff", 3)])
def test_script_says_which_trunk_a_call_comes_from(world: World, trunk: Any, code: int) -> None:
    stir = world.start(**{"trunk.strict": {"failure_action": "reject"}})
    world.signed_call(value=STALE)
    if trunk is not None:
        world.ksr.avp["stir_trunk"] = [trunk]
    assert act(stir, "stir_verify") == code
    assert world.internal_errors() == []


@pytest.mark.parametrize(
    ("value", "said"), [(None, ""), ("acme", "acme"), ("", ""), (1001, "1001"), (0, "0"), (-1, "-1"), (b"a\xff", "a\ufffd")]
)
def test_what_the_script_says_may_be_a_number(world: World, value: Any, said: str) -> None:
    port = world.start().port
    world.call()
    if value is not None:
        world.ksr.avp["stir_customer"] = [value]
    assert port.script("customer") == said


@pytest.mark.parametrize(
    ("common_name", "host", "names"),
    [
        (None, None, ""),
        (b"pbx", None, "pbx"),
        (None, b"pbx.example", "pbx.example"),
        (b"pbx", b"pbx.example", "pbx pbx.example"),
        (b"pbx", b"pbx", "pbx"),
        (b"evil pbx\r\n\xff", b"", "evil\\x20pbx\\x0d\\x0a\\xfffd"),
    ],
)
def test_client_has_the_names_of_its_certificate(
    world: World, common_name: bytes | None, host: bytes | None, names: str
) -> None:
    port = world.start().port
    world.call()
    world.ksr.message.tls_peer, world.ksr.message.tls_san = common_name, host
    assert port.tls_peer() == names


def test_privacy_is_read_from_all_its_fields(world: World) -> None:
    port = world.start().port
    world.call(("Privacy", b"none"), ("privacy", b"id\xff"))
    assert port.privacy() == ("none", "id\ufffd")


def test_passport_that_comes_again_in_another_call_is_a_replay(world: World) -> None:
    first = world.start(verification={"replay_detection": "fail"})
    second = world.process(first)
    world.at_hand(first)
    for stir, call_id, code in ((first, b"1@h", 1), (second, b"1@h", 1), (second, b"2@h", 3), (first, b"1@h", 1)):
        world.signed_call(call_id=call_id)
        assert act(stir, "stir_verify") == code
    world.signed_call(call_id=b"3@h")
    act(first, "stir_verify")
    assert world.results("token") == {"token": "passport_replayed"}
    assert len(world.ksr.tables[kamailio.SEEN].entries) == 1


@pytest.mark.parametrize("call_id", [b"", b"a\0b", b"\xff", b"a b\r\nX: y", b"x" * 9000])
def test_replay_is_seen_whatever_the_call_id_is(world: World, call_id: bytes) -> None:
    stir = world.start(verification={"replay_detection": "flag"})
    world.at_hand(stir)
    for known, replay in ((call_id, ""), (call_id, ""), (b"another", "1")):
        world.signed_call(call_id=known)
        assert act(stir, "stir_verify") == 1
        assert world.results("replay") == {"replay": replay}
    assert world.internal_errors() == []


def test_what_was_seen_is_forgotten_when_it_is_stale_anyway(world: World) -> None:
    port = world.start().port
    world.call(call_id=b"1@h")
    assert not port.seen_before("key", 70)
    world.call(call_id=b"2@h")
    world.clock.now += 69
    assert port.seen_before("key", 70)
    world.clock.now += 1
    assert not port.seen_before("key", 70)
    world.ksr.put_entry(kamailio.SEEN, "number", 5, 0)
    assert not port.seen_before("number", 70)


def test_lock_of_what_was_seen_is_released_when_the_table_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start(verification={"replay_detection": "fail"})
    world.at_hand(stir)
    lock = world.ksr.htable.sht_lock
    locked = []

    def locking(table: str, key: str) -> Any:
        locked.append(table)
        monkeypatch.setattr(world.ksr.htable, "sht_get", broken)
        return lock(table, key)

    def broken(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(world.ksr.htable, "sht_lock", locking)
    world.signed_call()
    assert act(stir, "stir_verify") == 3
    assert (locked, world.ksr.held) == ([kamailio.SEEN], [])
    assert len(world.internal_errors()) == 1


# --- What a peer may send ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["from_uri", "to_uri", "request_uri", "to_tag", "call_id", "P-Asserted-Identity", "Identity", "Date"]
)
@pytest.mark.parametrize("entry", ["stir_sign", "stir_verify", "stir_resume"])
def test_text_that_is_no_utf_8_is_no_defect(world: World, entry: str, place: str) -> None:
    stir = world.start()
    if place[0].islower():
        world.call(**{place: NOT_UTF_8})
    else:
        world.call((place, NOT_UTF_8), (place, NOT_UTF_8))
    act(stir, entry, "A")
    assert world.internal_errors() == []


def test_display_name_that_is_no_utf_8_does_not_hide_the_caller(world: World) -> None:
    stir = world.start()
    world.at_hand(stir)
    message = world.signed_call(("P-Asserted-Identity", b'"Caf\xe9" <sip:+%s@orig.example.com>' % ORIG.encode()))
    assert act(stir, "stir_verify") == 1
    assert message.leaving("P-Asserted-Identity") == [
        f'"Caf\ufffd" <sip:+{ORIG};verstat=TN-Validation-Passed@orig.example.com>'
    ]


def test_identity_that_is_no_utf_8_does_not_hide_the_next_one(world: World) -> None:
    stir = world.start()
    world.at_hand(stir)
    world.call(("Identity", NOT_UTF_8), ("Identity", identity().encode()))
    assert act(stir, "stir_verify") == 1


def test_request_that_is_no_utf_8_is_still_in_its_dialog(world: World) -> None:
    stir = world.start()
    world.call(to_tag=b"tag", from_uri=NOT_UTF_8)
    assert act(stir, "stir_sign") == 2
    assert world.results("token") == {"token": "request_not_signed"}


@pytest.mark.parametrize("entry", ["stir_verify", "stir_tag"])
@pytest.mark.parametrize(
    ("asserted", "leaving"),
    [
        (b"<sip:+12155550121@x;a=\0;verstat=TN-Validation-Passed>", "<sip:+12155550121@x;a= >"),
        (b"<sip:+12155550121@x>\r\n ;verstat=TN-Validation-Passed", "<sip:+12155550121@x>  "),
        (b"<sip:+12155550121@x>;verstat\n  ;q", "<sip:+12155550121@x>   ;q"),
    ],
)
def test_nul_and_line_ends_do_not_save_a_spoofed_verstat(world: World, entry: str, asserted: bytes, leaving: str) -> None:
    stir = world.start(verification={"failure_action": "observe"})
    message = world.call(("P-Asserted-Identity", asserted), from_uri=b"sip:+1\0;verstat=TN-Validation-Passed@x")
    act(stir, entry, "")
    assert message.leaving("P-Asserted-Identity") == [leaving]
    assert message.new_from_uri == "sip:+1 @x"
    assert world.internal_errors() == []


def test_more_asserted_identities_than_are_looked_at_do_not_pass(world: World) -> None:
    stir = world.start(verification={"failure_action": "observe"})
    honest = [("P-Asserted-Identity", b"<sip:alice@x>")] * 4
    message = world.call(*honest, ("P-Asserted-Identity", b"<sip:+12155550121;verstat=TN-Validation-Passed@x>"))
    act(stir, "stir_verify")
    assert message.leaving("P-Asserted-Identity") == ["<sip:alice@x>"] * 4


def test_too_many_identity_headers_are_seen_as_too_many(world: World) -> None:
    stir = world.start()
    world.call(*[("Identity", b"x")] * 30)
    act(stir, "stir_verify")
    assert world.results("token") == {"token": "identity_too_many"}


PIECES = st.sampled_from(
    [
        b"\0", b"\r\n ", b"\r\n\t", b"\n", b"\r", b"\r\nX: y", b"\xe9", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
        b"\\", b'"', b"<", b">", b";", b",", b"@", b"sip:", b"tel:", b"+12155550121", b"12155550131", b"alice", b" ", b".",
        b"verstat=", b";verstat=TN-Validation-Passed", b"urn:service:sos", b"%00", b"%0d%0a", b"\x7f", b"\x1b[2J", b"=",
        b"INVITE", DATE.encode(), passport().encode(), passport(claims={"origid": "a\r\nb\0\x1b\u00e9"}).encode(),
        f";info=<{X5U}>;alg=ES256;ppt=shaken".encode(), identity(jose={"x5u": "https://h/"}, parameters=";info=<https://h/>").encode(),
    ]
)  # fmt: skip
TEXT = st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=8).map(b"".join))


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    entry=st.sampled_from(["stir_sign", "stir_verify", "stir_resume", "stir_tag"]),
    headers=st.lists(st.tuples(st.sampled_from(["Identity", "P-Asserted-Identity", "Date", "identity"]), TEXT), max_size=6),
    uris=st.dictionaries(st.sampled_from(["from_uri", "to_uri", "request_uri", "call_id", "to_tag"]), TEXT),
)
@example(entry="stir_verify", headers=[("Identity", passport(claims={"origid": "a\r\nb\0\x1b\u00e9"}).encode())], uris={})
@example(entry="stir_verify", headers=[("P-Asserted-Identity", b"<tel:+1>\0")], uris={"from_uri": b"tel:+1\0"})
def test_whatever_a_peer_sends_ends_in_a_code_and_in_one_line(
    world: World, entry: str, headers: list[tuple[str, bytes]], uris: dict[str, bytes]
) -> None:
    stir = STARTED.get(world) or STARTED.setdefault(world, world.start())
    world.ksr.logs.clear()
    world.call(*headers, **uris)
    act(stir, entry, "" if entry != "stir_tag" else "No-TN-Validation")
    # Not in the end only: the example that did it is to be shown
    assert world.internal_errors() == []
    assert world.ksr.violations == []
    for _level, line in world.ksr.logs:
        assert line.endswith("\n")
        assert line[:-1].isascii()
        assert line[:-1].isprintable()


STARTED: dict[World, Stirshaken] = {}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    STARTED.clear()


# --- What is said -----------------------------------------------------------------------------------------------


def test_without_certificate_it_is_said_once_and_not_per_call(world: World) -> None:
    for path in world.certificates.iterdir():
        path.unlink()
    first = world.start()
    second = world.process(first)
    for stir in (first, second, first):
        world.call()
        assert act(stir, "stir_sign") == 2
        assert world.results("token") == {"token": "certificate_none"}
    assert world.ksr.log_text().count("certificate_none") == 1
    world.reload()
    for stir in (first, second, first):
        act(stir, "stir_sign")
    assert world.ksr.log_text().count("certificate_none") == 2
    assert world.ksr.log_text("info") == ""


def test_pair_that_signs_nothing_now_is_said_per_call(world: World) -> None:
    stir = world.start(signing={"certificate": "sp9999"})
    for _ in range(3):
        world.call()
        assert act(stir, "stir_sign") == 2
    assert world.ksr.log_text("warn").count("calls pass unsigned: certificate_none: no pair sp9999") == 1
    assert world.ksr.log_text("info").count("result=unsigned token=certificate_none") == 3


def test_directory_without_pairs_is_named_safely(world: World) -> None:
    stir = world.start(signing={"certificate_dir": "caf\u00e9"})
    assert stir.child_init(0) == 0
    assert f"no usable pair in {world.directory}/caf\\xe9; 1 trust anchors\n" in world.ksr.log_text("warn")


def test_pair_without_a_url_to_publish_it_under_is_said_and_signs_nothing(world: World) -> None:
    stir = world.start(signing={"public_cert_url": ""})
    assert stir.child_init(0) == 0
    said = "pair sp1234 refused: public_cert_url_missing; not used. Set [signing] public_cert_url and reload.\n"
    assert said in world.ksr.log_text("err")
    world.call()
    assert act(stir, "stir_sign") == 2
    assert world.results("token") == {"token": "certificate_none"}


def test_main_process_says_what_signs(world: World) -> None:
    stir = world.start()
    assert world.ksr.logs == []
    assert stir.child_init(0) == 0
    ((level, line),) = world.ksr.logs
    assert level == "info"
    assert "signing with sp1234 spc=1234 x5u=https://cr.example.test/sp1234.pem fingerprint=" in line
    assert line.endswith("; 1 trust anchors\n")


def test_main_process_says_what_is_unsafe_refused_and_missing(world: World) -> None:
    (world.certificates / "sp1234.key").write_bytes(b"garbage")
    (world.certificates / "caf\udce9.key").touch(0o600)
    stir = world.start(x5u={"relax_x5u_private_addresses": True}, signing={"certificate": "caf\u00e9"})
    assert stir.child_init(0) == 0
    assert "UNSAFE: [x5u] relax_x5u_private_addresses is on" in world.ksr.log_text("warn")
    advice = FAILURES["key_malformed"].advice
    assert f"pair sp1234 refused: key_malformed: sp1234.key; not used. {advice}\n" in world.ksr.log_text("err")
    assert "pair caf\\xdce9 refused: pair_incomplete" in world.ksr.log_text("err")
    said = f"calls pass unsigned: certificate_none: no pair caf\\xe9 in {world.certificates}; 1 trust anchors\n"
    assert said in world.ksr.log_text("warn")


@pytest.mark.parametrize(("debug", "lines"), [(3, 1), (2, 1), (1, 0), (-1, 0)])
def test_line_that_nobody_would_see_is_not_made(world: World, debug: int, lines: int) -> None:
    stir = world.start()
    world.ksr.debug = debug
    world.call()
    act(stir, "stir_sign")
    assert len(world.ksr.logs) == lines


# --- Reload -----------------------------------------------------------------------------------------------------


def fingerprint(stir: Stirshaken) -> str:
    return str(stir.service.signing.signer().fingerprint)


def renew(world: World) -> None:
    """A new pair, issued later than the one in use."""
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(world.certificates, "newer")


def test_first_call_after_a_reload_uses_the_new_key(world: World) -> None:
    stir = world.start()
    renew(world)
    message = world.call()
    act(stir, "stir_sign")
    assert "sp1234.pem" in message.leaving("Identity")[0]
    world.reload()
    message = world.call()
    assert act(stir, "stir_sign") == 1
    assert "newer.pem" in message.leaving("Identity")[0]
    assert world.ksr.log_text("info").count("signing with newer") == 1


@pytest.mark.parametrize(
    "values", [("one", "two"), (1, "1"), ("0", None), (-1, b"\xff"), (b"\xff", b"\xff\xff"), ("\N{SNOWMAN}", (1 << 31) - 1)]
)
def test_whatever_the_operator_writes_is_a_reload(world: World, values: tuple[Any, Any]) -> None:
    first = world.start()
    second = world.process(first)
    for number, value in enumerate(values):
        issued = hierarchy().service_provider(ServiceProvider(not_before=NOW - 60 + number))
        issued.write(world.certificates, f"new{number}")
        if value is None:
            del world.ksr.shv["stirshaken"]
        else:
            world.ksr.shv["stirshaken"] = value
        for stir in (first, second, first):
            world.call()
            assert act(stir, "stir_sign") == 1
            assert stir.service.signing.signer().name == f"new{number}"
        assert world.ksr.log_text("info").count("signing with") == number + 1
    assert world.internal_errors() == []


def test_every_process_reloads_once_and_the_first_one_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [world.start()]
    processes += [world.process(processes[0]) for _ in range(2)]
    before = fingerprint(processes[0])
    renew(world)
    world.reload()
    for stir in processes * 2:
        world.call()
        assert act(stir, "stir_sign") == 1
    assert len({fingerprint(stir) for stir in processes}) == 1
    assert fingerprint(processes[0]) != before
    assert world.ksr.log_text().count("signing with") == 1
    services = [stir.service for stir in processes]
    for service in services:
        monkeypatch.setattr(service, "reload", None)
        monkeypatch.setattr(service, "catch_up", None)
    for stir in processes:
        act(stir, "stir_sign")
    assert world.internal_errors() == []


def test_process_that_slept_through_a_good_reload_finds_it_after_a_bad_one(world: World) -> None:
    awake = world.start()
    asleep = world.process(awake)
    renew(world)
    world.reload()
    act(awake, "stir_tag")
    world.path.write_text("garbage")
    world.reload()
    act(awake, "stir_tag")
    for path in world.certificates.iterdir():
        path.unlink()
    world.call()
    assert act(asleep, "stir_sign") == 1
    assert fingerprint(asleep) == fingerprint(awake)
    assert asleep.service.signing.signer().name == "newer"


def test_refused_pair_keeps_the_former_one_and_says_why_once(world: World) -> None:
    first = world.start()
    second = world.process(first)
    before = fingerprint(first)
    hierarchy().service_provider(expired(ServiceProvider(), NOW)).write(world.certificates, "sp1234")
    world.reload()
    for stir in (first, second, first):
        world.call()
        assert act(stir, "stir_sign") == 1
        assert fingerprint(stir) == before
    errors = world.ksr.log_text("err")
    assert errors.count("pair sp1234 refused: certificate_expired") == 1
    assert "the former pair stays in use" in errors


def test_broken_settings_keep_the_former_state_and_are_said_once(world: World) -> None:
    first = world.start(signing={"attest_level": "B"})
    second = world.process(first)
    world.settings(signing={"attest_levle": "A"})
    world.reload()
    for stir in (first, second, first):
        world.call()
        assert act(stir, "stir_sign") == 1
        assert world.results("attest") == {"attest": "B"}
    errors = world.ksr.log_text("err")
    assert errors.count("reload refused, all stays as it was: option_unknown") == 1
    assert "did you mean attest_level?" in errors
    assert str(world.path) in errors


def test_defect_in_a_reload_costs_one_call_and_not_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()

    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(stir.service, "reload", broken)
    world.reload()
    world.call()
    assert act(stir, "stir_sign") == 2
    assert act(stir, "stir_sign") == 1
    assert len(world.internal_errors()) == 1


def test_trust_anchors_are_taken_over_at_reload(world: World) -> None:
    stir = world.start()
    world.at_hand(stir)
    (world.directory / "none.pem").write_bytes(provider().chain_pem)
    world.settings(verification={"ca_file": ""})
    world.reload()
    world.signed_call()
    assert act(stir, "stir_verify") == 3
    assert world.results("token", "verstat") == {"token": "credential_untrusted", "verstat": "TN-Validation-Failed"}


# --- Start ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kamailio, "_handler", None)
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("no_handler")
def test_settings_are_found_from_the_directory_of_the_fetch_process_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.directory)
    monkeypatch.setenv(kamailio.SETTINGS_VARIABLE, world.path.name)
    assert kamailio.handler().service.configuration()["path"] == str(world.path)


@pytest.mark.usefixtures("no_handler")
def test_handler_of_a_reloaded_script_is_the_same_one(world: World) -> None:
    stir = kamailio.handler()
    assert stir.child_init(1) == 0
    assert kamailio.handler() is stir
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("no_handler")
def test_reload_that_was_ordered_before_the_script_was_reloaded_is_not_lost(world: World) -> None:
    stir = kamailio.handler()
    stir.child_init(1)
    renew(world)
    world.reload()
    kamailio.handler().child_init(1)
    world.call()
    act(stir, "stir_sign")
    assert stir.service.signing.signer().name == "newer"


@pytest.mark.usefixtures("no_handler")
def test_bad_settings_stop_the_start_and_are_said(world: World) -> None:
    world.path.write_text('[signing]\n"a\\nb" = 1\n')
    with pytest.raises(SettingsRefused):
        kamailio.handler()
    ((level, line),) = world.ksr.logs
    assert level == "err"
    assert line.startswith("stirshaken: not started: option_unknown: ")
    assert "[signing] a\\x0ab" in line
    world.settings()
    assert kamailio.handler()


@pytest.mark.usefixtures("no_handler")
def test_settings_are_looked_for_where_the_package_puts_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kamailio.SETTINGS_VARIABLE)
    monkeypatch.setattr(kamailio, "DEFAULT_PATH", Path("/nowhere/stirshaken.toml"))
    with pytest.raises(SettingsRefused):
        kamailio.handler()
    assert "/nowhere/stirshaken.toml" in world.ksr.log_text("err")


# --- Parked calls -----------------------------------------------------------------------------------------------

OTHER = "https://cr.example.test/other.pem"


PLACES = 16


def parked(world: World, urls: str = X5U) -> list[str]:
    """INDEX:LABEL:DEADLINE of those that wait."""
    texts = [str(world.ksr.entry(kamailio.PARKED, f"{place} {urls}") or "0") for place in range(PLACES)]
    return sorted(each for text in texts for each in text.split(" ")[1:])


def waiting(world: World, urls: str = X5U) -> list[str]:
    """INDEX:LABEL of those that wait."""
    return [each.rpartition(":")[0] for each in parked(world, urls)]


def park(world: World, stir: Stirshaken, transaction: str, urls: str = X5U, entry: str = "stir_park") -> int:
    world.ksr.pv.sets("$avp(stir_parked)", urls)
    return act(stir, entry, transaction)


def next_calls(world: World, stir: Stirshaken) -> list[tuple[str | int, str | int]]:
    found = []
    while act(stir, "stir_next") > 0:
        found.append((world.ksr.var["stir_index"], world.ksr.var["stir_label"]))
    return sorted(found, key=str)


def test_first_call_for_a_credential_orders_it_and_the_second_does_not(world: World) -> None:
    stir = world.start()
    assert park(world, stir, "1:2") == 1
    assert park(world, stir, "3:-4") == 1
    assert park(world, stir, "5:6", OTHER) == 1
    assert park(world, stir, "7:8", f"{X5U} {OTHER}") == 1
    assert world.post.ordered() == [f"fetch {X5U}", f"fetch {OTHER}", f"fetch {X5U} {OTHER}"]
    deadline = NOW * 1000 + 2000
    assert world.ksr.entry(kamailio.PARKED, X5U) == str(deadline)
    assert parked(world) == [f"1:2:{deadline}", f"3:-4:{deadline}"]


def test_order_that_nobody_heard_of_again_is_given_again(world: World) -> None:
    stir = world.start()
    park(world, stir, "1:2")
    world.clock.now += 1.999
    park(world, stir, "3:4")
    assert len(world.post.orders) == 1
    world.clock.now += 0.001
    park(world, stir, "5:6")
    park(world, stir, "7:8")
    assert len(world.post.orders) == 2


def test_full_queue_sends_the_call_on_and_leaves_no_waiter(world: World) -> None:
    stir = world.start()
    world.post.full = True
    assert park(world, stir, "1:2") == -1
    assert world.ksr.tables[kamailio.PARKED].entries == {}
    assert f"fetch queue full: token=x5u_timeout x5u={X5U}" in world.ksr.log_text("err")
    world.post.full = False
    assert park(world, stir, "3:4") == 1
    assert len(world.post.orders) == 1


def test_full_queue_takes_away_its_own_call_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.start()
    second = world.process(first)
    put = world.post.put

    def full_and_meanwhile(*_arguments: object) -> bool:
        # Another process parks a call while the order is refused
        assert act(second, "stir_park", "3:4") == 1
        return False

    monkeypatch.setattr(world.post, "put", full_and_meanwhile)
    assert park(world, first, "1:2") == -1
    assert waiting(world) == ["3:4"]
    monkeypatch.setattr(world.post, "put", put)
    # The next one orders for both
    assert park(world, second, "5:6") == 1
    assert world.post.ordered() == [f"fetch {X5U}"]


def test_call_that_was_claimed_while_its_order_was_refused_is_left_to_the_claimer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.start()
    resuming = world.process(worker)

    def full_and_meanwhile(*_arguments: object) -> bool:
        # An earlier order is answered while this one is refused
        act(resuming, "stir_fetched", X5U)
        assert next_calls(world, resuming) == [(1, 2)]
        return False

    monkeypatch.setattr(world.post, "put", full_and_meanwhile)
    # A call that is continued twice is leaked
    assert park(world, worker, "1:2") == 1
    assert "fetch queue full" not in world.ksr.log_text()


def test_unpark_takes_away_its_own_call_only(world: World) -> None:
    stir = world.start()
    for transaction in ("1:2", "11:2", "1:22"):
        park(world, stir, transaction)
    for transaction, urls in (("1:2", X5U), ("1:2", X5U), ("11:2", OTHER)):
        assert park(world, stir, transaction, urls, "stir_unpark") == 1
        assert sorted(waiting(world)) == ["11:2", "1:22"]
    park(world, stir, "11:2", X5U, "stir_unpark")
    park(world, stir, "1:22", X5U, "stir_unpark")
    assert waiting(world) == []
    world.keep(stir)
    assert world.ksr.tables[kamailio.PARKED].entries == {}


def test_urls_of_a_parked_call_that_are_no_utf_8_are_no_defect(world: World) -> None:
    stir = world.start()
    world.ksr.avp["stir_parked"] = [NOT_UTF_8]
    assert act(stir, "stir_park", "1:2") == 1
    assert act(stir, "stir_unpark", "1:2") == 1
    assert world.internal_errors() == []


def test_what_was_fetched_wakes_every_call_that_waited_once(world: World) -> None:
    worker = world.start()
    keeper, resuming = world.process(worker), world.process(worker)
    park(world, worker, "1:2")
    park(world, worker, "3:-4")
    park(world, worker, "5:6", OTHER)
    world.post.orders.pop()
    world.keep(keeper)
    assert world.ksr.queue == [("STIR_RESUME", "stirshaken", X5U)]
    assert act(resuming, "stir_fetched", X5U) == 1
    assert next_calls(world, resuming) == [(1, 2), (3, -4)]
    assert next_calls(world, resuming) == []
    assert (world.ksr.entry(kamailio.PARKED, X5U), parked(world)) == (None, [])
    assert waiting(world, OTHER) == ["5:6"]


def test_native_script_gives_no_urls(world: World) -> None:
    # Four long URLs do not fit into an argument of python_exec
    stir = world.start()
    urls = " ".join(f"https://cr.example.test/{'x' * 500}/{number}.pem" for number in range(4))
    park(world, stir, "1:2", urls)
    world.ksr.async_data = urls
    for arguments in ((), ("",), ("<null>",)):
        assert act(stir, "stir_fetched", *arguments) == 1
    assert next_calls(world, stir) == [(1, 2)]


def test_urls_are_forgotten_when_nobody_is_left_to_wake(world: World) -> None:
    # Whoever asks again without a new answer takes nothing that belongs to the next one
    stir = world.start()
    act(stir, "stir_fetched", X5U)
    assert next_calls(world, stir) == []
    park(world, stir, "1:2")
    assert next_calls(world, stir) == []
    assert waiting(world) == ["1:2"]


def test_call_that_parks_while_others_are_named_is_named_too(world: World) -> None:
    worker = world.start()
    resuming = world.process(worker)
    park(world, worker, "1:2")
    world.keep(worker)
    act(resuming, "stir_fetched", X5U)
    park(world, worker, "3:4")
    assert next_calls(world, resuming) == [(1, 2), (3, 4)]


def test_two_processes_that_resume_never_name_the_same_call(world: World) -> None:
    worker = world.start()
    one, two = world.process(worker), world.process(worker)
    for number in range(4):
        park(world, worker, f"{number}:{number}")
    act(one, "stir_fetched", X5U)
    act(two, "stir_fetched", X5U)
    found = []
    for stir in (one, two) * 3:
        if act(stir, "stir_next") > 0:
            found.append(world.ksr.var["stir_index"])
    assert sorted(found, key=str) == [0, 1, 2, 3]


def test_nobody_is_woken_where_nobody_waits_any_more(world: World) -> None:
    stir = world.start()
    park(world, stir, "1:2")
    park(world, stir, "1:2", X5U, "stir_unpark")
    world.keep(stir)
    # It was fetched all the same: the next call has it
    assert (world.web.asked, world.ksr.queue, parked(world), next_calls(world, stir)) == ([X5U], [], [], [])
    world.signed_call()
    assert act(stir, "stir_verify") == 1


def test_call_whose_timer_is_about_to_fire_is_left_to_it(world: World) -> None:
    stir = world.start()
    park(world, stir, "1:2")
    world.clock.now += 1
    park(world, stir, "3:4")
    world.clock.now += 0.7
    world.keep(stir)
    act(stir, "stir_fetched", X5U)
    assert next_calls(world, stir) == [(3, 4)]
    assert waiting(world) == ["1:2"]


def test_call_whose_time_is_over_goes_on_with_what_came(world: World) -> None:
    stir = world.start()
    second = identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>")
    world.signed_call(("Identity", second.encode()))
    assert act(stir, "stir_verify") == 2
    park(world, stir, "1:2", f"{X5U} {OTHER}")
    # The other one takes long
    answers = world.post.work(stir.service.configuration())
    world.keeper.more = [answer for answer in answers if X5U in answer.get("credentials", ())]
    assert len(world.keeper.more) == 1
    world.keep(stir)
    assert (world.ksr.queue, waiting(world, f"{X5U} {OTHER}")) == ([], ["1:2"])
    world.clock.now += 2
    act(stir, "stir_unpark", "1:2")
    assert act(stir, "stir_resume") == 1


def test_resumed_call_finds_what_was_fetched(world: World) -> None:
    worker = world.start()
    resuming = world.process(worker)
    world.signed_call()
    assert act(worker, "stir_verify") == 2
    urls = str(world.results("x5u")["x5u"])
    park(world, worker, "1:2", urls)
    world.keep(world.process(worker))
    assert act(resuming, "stir_resume") == 1
    assert world.web.asked == [X5U]


def test_several_credentials_are_fetched_at_once(world: World) -> None:
    stir = world.start()
    second = identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>")
    world.signed_call(("Identity", second.encode()))
    assert act(stir, "stir_verify") == 2
    assert world.results("x5u") == {"x5u": f"{X5U} {OTHER}"}
    park(world, stir, "1:2", f"{X5U} {OTHER}")
    world.keep(stir)
    assert world.web.asked == [X5U, OTHER]
    assert world.ksr.queue == [("STIR_RESUME", "stirshaken", f"{X5U} {OTHER}")]


def test_calls_are_woken_when_the_repository_fails(world: World) -> None:
    stir = world.start()
    world.web.answers[X5U] = failure("x5u_http_status", "404")
    park(world, stir, "1:2")
    world.keep(stir)
    act(stir, "stir_fetched", X5U)
    assert next_calls(world, stir) == [(1, 2)]
    world.signed_call()
    assert act(stir, "stir_resume") == 3
    assert world.results("token") == {"token": "x5u_http_status"}


def test_full_queue_of_those_that_resume_leaves_calls_to_their_timers(world: World) -> None:
    stir = world.start()
    park(world, stir, "1:2")
    world.ksr.queue_result = -1
    world.keep(stir)
    assert f"resume queue full: calls wait for their timers x5u={X5U}" in world.ksr.log_text("err")
    assert waiting(world) == ["1:2"]


def test_emergency_call_waits_for_nothing(world: World) -> None:
    stir = world.start(verification={"failure_action": "reject"})
    claims = {"dest": {"uri": ["urn:service:sos"]}}
    message = world.signed_call(value=identity(claims=claims), to_uri=b"urn:service:sos", request_uri=b"urn:service:sos")
    for argument in ("", "block"):
        assert act(stir, "stir_verify", argument) == 3
        assert world.results("token", "code") == {"token": "credential_not_at_hand", "code": 0}
    assert message.new_from_uri is not None
    assert (world.post.ordered(), world.slept) == ([f"fetch {X5U}"] * 2, 0)


# --- The keeper -------------------------------------------------------------------------------------------------


def test_fetch_process_is_told_once_and_again_after_a_reload(world: World) -> None:
    stir = world.start()
    for _ in range(3):
        world.keep(stir)
    assert [told["generation"] for told in world.keeper.configurations] == ["0:0"]
    world.settings(signing={"attest_level": "A"})
    world.reload()
    for _ in range(2):
        world.keep(stir)
    assert [told["generation"] for told in world.keeper.configurations] == ["0:0", "1:0"]
    assert 'attest_level = "A"' in world.keeper.configurations[-1]["settings"]


def test_keeper_is_a_process_that_reloads_like_any_other(world: World) -> None:
    worker = world.start()
    keeper = world.process(worker)
    world.keep(keeper)
    world.path.write_text("garbage")
    world.reload()
    world.keep(keeper)
    assert "reload refused" in world.ksr.log_text("err")
    assert world.keeper.configurations[-1]["settings"] == worker.service.settings.text


def test_keeper_hears_of_a_reload_at_once(world: World) -> None:
    first = world.start()
    second = world.process(first)
    assert world.post.rung == 0
    world.reload()
    for stir in (first, second, first):
        act(stir, "stir_tag")
    assert world.post.rung == 1


def test_fetch_process_is_not_told_while_another_process_reloads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()
    held: list[list[tuple[str, str]]] = []
    configuration = stir.service.configuration

    def looking() -> dict[str, Any]:
        held.append(list(world.ksr.held))
        return configuration()

    monkeypatch.setattr(stir.service, "configuration", looking)
    world.keep(stir)
    assert (held, world.ksr.held) == ([[(kamailio.CONTROL, "reload")]], [])


def test_fetch_process_that_could_not_be_told_is_told_the_next_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()
    configuration = stir.service.configuration

    def broken() -> None:
        raise RuntimeError

    monkeypatch.setattr(stir.service, "configuration", broken)
    assert act(stir, "stir_keep") == -1
    assert world.ksr.held == []
    monkeypatch.setattr(stir.service, "configuration", configuration)
    world.keep(stir)
    assert len(world.keeper.configurations) == 1


def test_what_the_sti_pa_says_reaches_every_process(world: World) -> None:
    found = sourced(trust([hierarchy().root.certificate], []), world.directory)
    stir = world.start(verification={"ca_file": ""}, trust=LISTS)
    other = world.process(stir)
    world.keep(stir)
    world.keeper.more = [{"kind": "trust", "trust": list(found)}]
    world.keep(stir)
    world.clock.now += 1
    world.keep(stir)
    assert [told["generation"] for told in world.keeper.configurations] == ["0:0", "0:1"]
    assert world.keeper.configurations[-1]["trust"] == list(found)
    world.fetched(stir)
    world.signed_call()
    assert act(other, "stir_verify") == 1


def test_state_is_shown_where_kamcmd_finds_it(world: World) -> None:
    stir = world.start()
    world.keeper.more = [{"kind": "state", "name": "crl", "text": "number=5 age=0s"}]
    world.keep(stir)
    assert world.ksr.entry(kamailio.CONTROL, "crl") == "number=5 age=0s"


@pytest.mark.parametrize("level", ["err", "warn", "info"])
def test_what_the_fetch_process_says_is_one_line(world: World, level: str) -> None:
    stir = world.start()
    world.keeper.more = [{"kind": "log", "level": level, "text": "caf\u00e9\r\n\0"}]
    world.keep(stir)
    assert world.ksr.log_text(level) == "stirshaken: caf\\xe9\\x0d\\x0a\\x00\n"


def test_last_words_of_the_fetch_process_are_all_said(world: World) -> None:
    stir = world.start()
    stir._say("err", f"fetch process 4711 said: {'x' * 1990}the error")
    assert world.ksr.log_text("err").endswith("xthe error\n")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"kind": "credentials"},
        {"kind": "credentials", "urls": OTHER},
        {"kind": "credentials", "urls": "", "credentials": [1]},
        {"kind": "credentials", "urls": "", "credentials": {OTHER: 5}},
        {"kind": "trust"},
        {"kind": "trust", "trust": ["", "", "", "", ""]},
        {"kind": "trust", "trust": ["", "x" * (33 << 20)]},
        {"kind": "state", "name": "crl"},
        {"kind": "log", "level": "no such level", "text": "x"},
        {"kind": "log", "level": "err", "text": 5},
    ],
    ids=lambda answer: str(answer)[:60],
)
def test_answer_that_is_not_understood_does_not_cost_the_others(world: World, answer: dict[str, Any]) -> None:
    stir = world.start()
    park(world, stir, "1:2")
    world.keeper.more = [answer]
    world.keep(stir)
    assert "answer of the fetch process refused: " in world.ksr.log_text("err")
    assert world.internal_errors() == []
    assert world.ksr.queue == [("STIR_RESUME", "stirshaken", X5U)]
    world.signed_call()
    assert act(stir, "stir_resume") == 1


def test_certificate_that_ends_soon_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kamailio, "_LOOK_EVERY", 60)
    stir = world.start()
    world.keep(stir)
    assert "ends in" not in world.ksr.log_text("warn")  # it is made for 30 days
    for later in (22 * DAY, 61):
        world.clock.now += later
        world.keep(stir)
    assert world.ksr.log_text("warn").count("certificate sp1234 of 1234 ends in 8 days") == 1


def test_answer_of_a_kind_that_came_later_is_left_alone(world: World) -> None:
    stir = world.start()
    world.keeper.more = [{"kind": "of a newer program"}, {"kind": "credentials", "urls": "", "credentials": {OTHER: "x"}}]
    world.keep(stir)
    assert (world.ksr.logs, world.ksr.tables[kamailio.CREDENTIALS].entries) == ([], {})


# --- The tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [5, "", " ", "garbage", "9:9 9:9:9", "\N{SNOWMAN} 1:2:3", "-1 9:9:9"])
def test_list_that_is_not_ours_is_ignored(world: World, text: str | int) -> None:
    stir = world.start()
    for key in (X5U, *(f"{place} {X5U}" for place in range(PLACES))):
        world.ksr.put_entry(kamailio.PARKED, key, text, 0)
    assert park(world, stir, "1:2") == 1
    act(stir, "stir_fetched", X5U)
    assert next_calls(world, stir) == [(1, 2)]
    assert world.internal_errors() == []


def test_lock_is_released_when_the_table_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stir = world.start()

    def broken(*_arguments: object) -> None:
        raise RuntimeError

    for function in ("sht_get", "sht_sets"):
        monkeypatch.setattr(world.ksr.htable, function, broken)
        assert park(world, stir, "1:2") == -1
        assert world.ksr.held == []


def test_table_of_credentials_does_not_grow_with_the_urls_of_strangers(world: World) -> None:
    stir = world.start()
    urls = [f"https://cr.example.test/{number}.pem" for number in range(5000)]
    for url in urls:
        stir.port.put(url, f"text of {url}", 60)
    assert len(world.ksr.tables[kamailio.CREDENTIALS].entries) <= 4096
    # Just now, all of them: calls wait for them
    assert all(stir.port.get(url) == f"text of {url}" for url in urls)
    world.clock.now += 7
    # Whoever came last has the place; nobody gets what belongs to another
    assert {stir.port.get(url) for url in urls} <= {None, *(f"text of {url}" for url in urls)}
    kept = [url for url in urls if stir.port.get(url) is not None]
    assert len(kept) == len(world.ksr.tables[kamailio.CREDENTIALS].entries)
    assert all(stir.port.get(url) == f"text of {url}" for url in kept)


def test_url_that_another_took_the_place_of_is_there_as_long_as_a_call_waits(world: World) -> None:
    stir = world.start(cache={"max_shared_certificates": 64}, verification={"call_time_budget": 3.5})
    urls = [f"https://cr.example.test/{number}.pem" for number in range(65)]
    for url in urls:
        stir.port.put(url, "text", 3600)
    world.clock.now += 7.9
    assert {stir.port.get(url) for url in urls} == {"text"}
    world.clock.now += 0.1
    assert {stir.port.get(url) for url in urls} == {"text", None}
    # What ends sooner says so itself: a call that waited for it is still told
    stir.port.put(X5U, "text", 3)
    world.clock.now += 3
    assert stir.port.get(X5U) == "text"
    world.clock.now += 5
    assert stir.port.get(X5U) is None
    # Another setting counts from the reload on
    world.settings(cache={"max_shared_certificates": 64}, verification={"call_time_budget": 1.0})
    world.reload()
    act(stir, "stir_tag")
    stir.port.put(X5U, "text", 3600)
    world.ksr.tables[kamailio.CREDENTIALS].entries.clear()
    world.clock.now += 5.9
    assert stir.port.get(X5U) == "text"
    world.clock.now += 0.1
    assert stir.port.get(X5U) is None


def test_place_in_the_table_is_one_that_a_stranger_cannot_compute(world: World) -> None:
    first = world.start()
    other_server = Stirshaken(world.path)
    urls = [f"https://cr.example.test/{number}.pem" for number in range(100)]
    own, same, other = ([stir.port._place(url) for url in urls] for stir in (first, world.process(first), other_server))
    assert own == same
    assert sum(one == another for one, another in zip(own, other, strict=True)) < 10
    assert len(set(own)) > 90


def test_fetched_credential_is_gone_from_the_table_when_its_time_is_over(world: World) -> None:
    stir = world.start(cache={"negative_lifetime": 15})
    world.web.answers[X5U] = failure("x5u_timeout")
    world.fetched(stir)
    assert isinstance(stir.port.get(X5U), str)
    world.clock.now += 15
    assert stir.port.get(X5U) is None


def test_number_in_the_table_of_credentials_is_ignored(world: World) -> None:
    stir = world.start()
    for place in range(4096):
        world.ksr.put_entry(kamailio.CREDENTIALS, str(place), 5, 0)
    world.signed_call()
    assert act(stir, "stir_verify") == 2


# --- The fake is as strict as the real one ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["5.6", "6.x"])
def test_fake_refuses_what_kamailio_refuses(mode: Mode) -> None:
    ksr = FakeKsr(mode, lambda: 0.0)
    cases: list[tuple[Any, tuple[object, ...]]] = [
        (ksr.hdr.get, (b"X",)),
        (ksr.hdr.get, (None,)),
        (ksr.pv.sets, ("$var(x)", 1)),
        (ksr.pv.seti, ("$var(x)", "1")),
        (ksr.hdr.get_idx, ("X",)),
        (ksr.tm.t_reply, (200,)),
        (getattr(ksr, "err"), (None,)),  # noqa: B009 - set by name
    ]
    for function, arguments in cases:
        if mode == "5.6":
            with pytest.raises(SystemError):
                function(*arguments)
        else:
            before = len(ksr.logs)
            assert function(*arguments) is False
            assert len(ksr.logs) == before + 1


def test_fake_has_the_manners_of_each_version() -> None:
    old, new = FakeKsr("5.6", lambda: 0.0), FakeKsr("6.x", lambda: 0.0)
    for text in ("a\0b", "a\udcffb"):
        with pytest.raises(SystemError):
            old.pv.sets("$var(x)", text)
    assert new.pv.sets("$var(x)", "a\0b") == 1
    with pytest.raises(UnicodeEncodeError):
        new.pv.sets("$var(x)", "a\udcffb")
    with pytest.raises(SystemError):
        old.pv.seti("$var(x)", (1 << 31) + 5)
    new.pv.seti("$var(x)", (1 << 31) + 5)
    assert new.pv.get("$var(x)") == -2147483643
    with pytest.raises(SystemError):
        old.hdr.get("X", "Y")
    assert new.hdr.get("X", "Y") is None


@pytest.mark.parametrize("mode", ["5.6", "6.x"])
def test_fake_reads_and_writes_as_kamailio_does(mode: Mode) -> None:
    clock = [0.0]
    ksr = FakeKsr(mode, lambda: clock[0])
    assert (ksr.pv.get("$nonsense"), ksr.pv.get("$var(x)"), ksr.pv.get("$avp(x)"), ksr.pv.get("$shv(x)")) == (
        None,
        0,
        None,
        None,
    )
    assert ksr.pv.sets("$nonsense", "x") == -1
    ksr.pv.sets("$avp(x)", "first")
    ksr.pv.seti("$avp(x)", 2)
    assert (ksr.pv.get("$avp(x)"), ksr.avp["x"]) == (2, ["first", 2])
    ksr.pv.seti("$shv(x)", 3)
    assert ksr.pv.get("$shv(x)") == 3
    ksr.hdr.append("Date: y\r\n")
    assert (ksr.hdr.get("Date"), ksr.message.leaving("date")) == (None, ["y"])
    ksr.message.headers.append(("Y", b"\xe9"))
    with pytest.raises(UnicodeDecodeError):
        ksr.hdr.get_idx("y", 0)
    ksr.tables["plain"] = plain = type(ksr.tables["stirshaken"])()
    assert (ksr.htable.sht_inc("plain", "n"), plain.entries) == (-255, {})
    assert [ksr.htable.sht_inc("stirshaken", "n") for _ in range(2)] == [1, 2]
    ksr.htable.sht_setxs("plain", "k", "v", 5)
    clock[0] = 4.9
    assert ksr.htable.sht_get("plain", "k") == "v"
    clock[0] = 5.0
    assert ksr.htable.sht_get("plain", "k") is None
    for module in (ksr, ksr.tm):
        with pytest.raises(AttributeError):
            module.no_such_function  # noqa: B018


@pytest.mark.parametrize(
    ("function", "arguments", "remembered"),
    [
        ("htable.sht_unlock", ("stirshaken", "k"), "unlocked without lock"),
        ("hdr.append", ("Date: a\r\n b\r\n",), "not a header of ours: ' b'"),
        ("hdr.append", ("Date: a\r\nX: b\r\n",), "not a header of ours: 'X: b'"),
        ("hdr.append_to_reply", ("Date: a\r\n",), "not a header of ours: 'Date: a'"),
        ("hdr.append_to_reply", ("Reason: a",), "not whole header lines"),
        ("pv.sets", ("$var(stir_tokne)", "x"), "not a variable of ours: '$var(stir_tokne)'"),
        ("pv.get", ("$avp(stir_a@b)",), "not a variable of ours: '$avp(stir_a@b)'"),
        ("hdr.append", ("Date: a",), "not whole header lines"),
        ("hdr.append", ("Date: a\nb\r\n",), "control character"),
        ("pv.sets", ("$fu", "a\rb"), "control character"),
        ("pv.sets", ("$var(x)", "a\0b"), "NUL"),
        ("pv.sets", ("$var(x)", 1), "int, not str"),
        ("info", ("no end",), "not one line"),
        ("info", ("two\nlines\n",), "not one line"),
        ("err", ("caf\xe9\n",), "not one line"),
    ],
)
def test_fake_remembers_what_kamailio_would_not_say(function: str, arguments: tuple[object, ...], remembered: str) -> None:
    ksr = FakeKsr("6.x", lambda: 0.0)
    attrgetter(function)(ksr)(*arguments)
    (violation,) = ksr.violations
    assert remembered in violation


def test_fake_remembers_locks() -> None:
    ksr = FakeKsr("5.6", lambda: 0.0)
    ksr.htable.sht_lock("stirshaken", "k")
    assert (ksr.held, ksr.violations) == ([("stirshaken", "k")], [])
    ksr.htable.sht_lock("stirshaken", "k")
    assert ksr.violations == ["locked twice: stirshaken k"]
