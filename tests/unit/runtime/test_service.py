"""The service of one process: when a call waits and for what, what a verification leads to, and what a reload changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kamailio_app.errors import NotSigned, SettingsRefused
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.passport.claims import Attestation, ShakenClaims
from kamailio_app.policy.treatment import FailureAction, Treatment, TreatmentRules
from kamailio_app.runtime import credentials
from kamailio_app.runtime.service import Pending, Service, Verified
from kamailio_app.runtime.trust import Trust

from ..builders import NOW, ORIG, X5U, evil, hierarchy, identity, pem, provider, refused, request
from .support import CALL, LISTS, OTHER, Host, Table, decided, naming, trust

BUDGET = 2.0


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# --- Signing ----------------------------------------------------------------------------------------------------


def sign(service: Service, attest: str = "") -> ShakenClaims:
    claims = service.signing.sign(request(), service.signing.decide(request(), attest))[0].claims
    assert claims
    return claims


def test_level_of_the_settings_is_used_where_the_script_names_none(tmp_path: Path) -> None:
    service = Host(tmp_path, signing={"attest_level": "B"}).service()
    assert sign(service).attest is Attestation.PARTIAL
    assert sign(service, "A").attest is Attestation.FULL


@pytest.mark.parametrize("attest", ["a", "D", "AB", "\0"])
def test_attestation_that_there_is_not_is_refused(host: Host, attest: str) -> None:
    with refused("attest_unknown"):
        sign(host.service(), attest)


def test_origids_are_random_uuids_of_version_4(host: Host) -> None:
    service = host.service()
    origids = [sign(service).origid for _ in range(64)]
    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(origid) for origid in origids)
    assert len(set(origids)) == 64
    assert {origid[19] for origid in origids} == set("89ab")


def test_iat_is_the_clocks(host: Host) -> None:
    service = host.service()
    host.clock.now = NOW + 12.9
    assert sign(service).iat == NOW + 12


def test_pair_that_becomes_valid_later_takes_over_then(host: Host) -> None:
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 30, not_after=NOW + 60)).write(
        host.directory / "certs", "short"
    )
    service = host.service()
    assert service.signing.signer().name == "short"
    host.clock.now = NOW + 60
    assert service.signing.signer().name == "sp5678"


def test_without_pairs_nothing_is_signed(tmp_path: Path) -> None:
    service = Host(tmp_path, signing={"certificate_dir": "nowhere"}).service()
    with pytest.raises(NotSigned):
        service.signing.signer()
    with refused("certificate_none"):
        sign(service)


# --- A credential that is not at hand ---------------------------------------------------------------------------


def test_call_is_pending_while_its_credential_is_missing(host: Host) -> None:
    service = host.service()
    assert service.verify(CALL) == Pending((X5U,))
    assert (host.post.ordered(), host.web.asked, host.slept) == ([], [], 0)  # ordered when it is parked


def test_each_missing_credential_is_named_once(host: Host) -> None:
    service = host.service()
    call = request(identity=(identity(), *naming(OTHER).identity, identity()))
    assert service.verify(call) == Pending((X5U, OTHER))
    host.obtain([X5U])
    assert service.verify(call) == Pending((OTHER,))


def test_last_try_decides_with_what_is_there(host: Host) -> None:
    service = host.service()
    assert decided(service.verify(CALL, last_try=True)) == "x5u_timeout"
    assert (host.post.ordered(), host.slept) == ([], 0)
    host.obtain([X5U])
    assert decided(service.verify(CALL, last_try=True)) == ""


def test_timeout_of_one_call_is_not_remembered(host: Host) -> None:
    service = host.service()
    service.verify(CALL, last_try=True)
    assert service.verify(CALL) == Pending((X5U,))
    assert host.table.entries == {}


STRANGERS = [f"https://cr.example.test/{number}.pem" for number in range(5)]


def tokens(outcome: Verified | Pending) -> list[str]:
    assert isinstance(outcome, Verified)
    return [verdict.error.token if verdict.error else "" for verdict in outcome.verification.verdicts]


def test_call_that_names_many_strangers_waits_for_four_of_them(host: Host) -> None:
    service = host.service()
    assert service.verify(naming(*STRANGERS)) == Pending(tuple(STRANGERS[:4]))
    assert tokens(service.verify(naming(*STRANGERS), block=True)) == ["x5u_unreachable"] * 4 + ["x5u_refused"]
    assert host.web.asked == STRANGERS[:4]


def test_those_at_hand_do_not_count(host: Host) -> None:
    service = host.service()
    host.obtain(STRANGERS[:1])
    assert service.verify(naming(*STRANGERS, X5U)) == Pending(tuple(STRANGERS[1:]))
    host.web.asked.clear()
    # One too many: the one that would have been valid
    outcome = service.verify(naming(*STRANGERS, X5U), block=True)
    assert host.web.asked == STRANGERS[1:]
    assert tokens(outcome) == ["x5u_unreachable"] * 5 + ["x5u_refused"]


def test_url_that_was_one_too_many_is_not_remembered_as_refused(host: Host) -> None:
    service = host.service()
    service.verify(naming(*STRANGERS[:4], X5U), block=True)
    assert decided(service.verify(CALL, block=True)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": {"iat": NOW - 61}},
        {"claims": {"dest": {"tn": ["12155550199"]}}},
        {"jose": {"x5u": "http://cr.example.test/x"}, "parameters": ";info=<http://cr.example.test/x>"},
    ],
)
@pytest.mark.parametrize("how", [{"block": True}, {"emergency": True}, {}])
def test_nothing_is_ordered_for_a_call_that_has_failed_already(
    host: Host, changes: dict[str, Any], how: dict[str, Any]
) -> None:
    assert decided(host.service().verify(request(identity=(identity(**changes),)), **how))
    assert (host.post.ordered(), host.web.asked) == ([], [])


# --- Who waits in the process -----------------------------------------------------------------------------------


def test_worker_waits_where_the_caller_says_block(host: Host) -> None:
    service = host.service()
    host.delay = 1.5
    assert decided(service.verify(CALL, block=True)) == ""
    assert 1.5 <= host.slept <= 1.51
    assert decided(service.verify(CALL, block=True)) == ""
    assert (host.web.asked, host.slept <= 1.51) == ([X5U], True)


@pytest.mark.parametrize("budget", [0.5, 2.0, 3.5])
def test_worker_waits_no_longer_than_the_budget(tmp_path: Path, budget: float) -> None:
    host = Host(tmp_path, verification={"call_time_budget": budget})
    service = host.service()
    host.delay = 100
    assert decided(service.verify(CALL, block=True)) == "x5u_timeout"
    assert budget <= host.slept + 1e-6 <= budget + 0.003
    # The fetch goes on: the next call has it
    assert host.post.ordered() == [f"fetch {X5U}"]
    host.deliver()
    assert decided(service.verify(CALL)) == ""


@pytest.mark.parametrize("step", [-86400.0, -3600.0, -1.0, 3600.0])
def test_clock_that_is_set_while_a_worker_waits_does_not_hold_it(host: Host, step: float) -> None:
    service = host.service()
    host.delay = 100
    sleep = host._sleep

    def stepping(seconds: float) -> None:
        sleep(seconds)
        if host.slept == seconds:
            host.clock.now += step

    service.credentials._sleep = stepping
    assert decided(service.verify(CALL, block=True)) == "x5u_timeout"
    assert host.slept <= BUDGET + 0.003


def test_worker_that_waits_goes_on_with_what_came_in_time(host: Host) -> None:
    service = host.service()
    deliver = host.deliver

    def only_one() -> None:
        host.post.orders.clear()
        host.post.put("fetch", service.generation, X5U)
        deliver()

    host.deliver = only_one  # type: ignore[method-assign]
    assert tokens(service.verify(naming(OTHER, X5U), block=True)) == ["x5u_timeout", ""]
    assert host.slept + 1e-6 >= BUDGET


def test_call_goes_on_with_what_came_though_its_order_is_not_carried_out(host: Host) -> None:
    service = host.service()
    call = naming(OTHER, X5U)
    assert service.verify(call) == Pending((OTHER, X5U))
    service.credentials.order([OTHER, X5U])
    answers = host.post.work(host.keeper.configuration())
    (first,) = [answer for answer in answers if X5U in answer["credentials"]]
    host.keeper.credentials.take(first["credentials"])
    assert tokens(service.verify(call, last_try=True)) == ["x5u_timeout", ""]


def test_worker_does_not_wait_where_the_queue_is_full(host: Host) -> None:
    host.post.full = True
    service = host.service()
    assert decided(service.verify(CALL, block=True)) == "x5u_timeout"
    assert host.slept == 0


def test_last_try_does_not_wait_even_where_the_caller_says_block(host: Host) -> None:
    assert decided(host.service().verify(CALL, block=True, last_try=True)) == "x5u_timeout"
    assert (host.post.ordered(), host.slept) == ([], 0)


def test_failed_fetch_ends_the_waiting(host: Host) -> None:
    host.web.answers.clear()
    assert decided(host.service().verify(CALL, block=True)) == "x5u_unreachable"
    assert host.slept <= 0.003


# --- Emergency calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"block": True}, {"last_try": True}])
@pytest.mark.parametrize("full", [False, True])
def test_emergency_call_waits_for_nothing_and_orders(host: Host, how: dict[str, Any], full: bool) -> None:
    service = host.service()
    host.post.full = full
    assert decided(service.verify(CALL, emergency=True, **how)) == "credential_not_at_hand"
    assert host.slept == 0
    assert host.post.ordered() == ([] if full else [f"fetch {X5U}"])
    host.deliver()
    assert decided(service.verify(CALL, emergency=True)) == ("credential_not_at_hand" if full else "")


def test_emergency_call_is_not_rejected(tmp_path: Path) -> None:
    service = Host(tmp_path, verification={"failure_action": "reject"}).service()
    for call in (CALL, request(identity=(identity(claims={"iat": NOW - 100}),))):
        outcome = service.verify(call, emergency=True)
        assert isinstance(outcome, Verified)
        assert (outcome.treatment.code, outcome.treatment.verstat) == (0, "No-TN-Validation")


# --- Between processes ------------------------------------------------------------------------------------------


def test_second_process_uses_what_the_first_one_ordered(host: Host) -> None:
    first, second = host.service(), host.service()
    assert decided(first.verify(CALL, block=True)) == ""
    assert decided(second.verify(CALL)) == ""
    assert host.web.asked == [X5U]


def test_second_process_hears_of_failures_too(host: Host) -> None:
    host.web.answers.clear()
    first, second = host.service(), host.service()
    assert decided(first.verify(CALL, block=True)) == "x5u_unreachable"
    assert decided(second.verify(CALL)) == "x5u_unreachable"
    assert host.web.asked == [X5U]


def test_waiting_call_finds_what_was_at_hand_where_it_began(host: Host) -> None:
    first, second = host.service(), host.service()
    host.obtain([X5U])
    assert decided(first.verify(CALL)) == ""
    del host.table.entries[X5U]  # another URL came to its place
    call = request(identity=(*naming(OTHER).identity, identity()))
    assert first.verify(call) == Pending((OTHER,))
    assert decided(second.verify(call, last_try=True)) == ""
    host.clock.now = NOW + 60  # for this call, not for good
    assert host.service().verify(CALL) == Pending((X5U,))


# --- What is worth a place on the disk --------------------------------------------------------------------------


def test_certificate_that_verified_a_call_is_to_be_kept_and_once(host: Host) -> None:
    services = [host.service(), host.service()]
    host.obtain([X5U])
    for service in services:
        assert [decided(service.verify(CALL)) for _ in range(3)] == ["", "", ""]
    # Each process for itself: what is kept twice is kept
    assert host.post.ordered() == [f"keep {X5U}"] * 2


def test_certificate_that_verified_nothing_is_not_to_be_kept(host: Host) -> None:
    service = host.service()
    host.obtain([X5U])
    forged = identity(key=evil().service_provider().key)
    assert decided(service.verify(request(identity=(forged,)))) == "signature_invalid"
    assert host.post.ordered() == []


def test_certificates_of_all_headers_that_are_valid_are_to_be_kept(host: Host) -> None:
    host.web.answers[OTHER] = host.web.answers[X5U]
    service = host.service()
    host.obtain([X5U, OTHER])
    forged = identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>", key=evil().service_provider().key)
    assert tokens(service.verify(request(identity=(identity(), forged)))) == ["", "signature_invalid"]
    assert host.post.ordered() == [f"keep {X5U}"]
    assert tokens(service.verify(request(identity=(identity(), *naming(OTHER).identity)))) == ["", ""]
    assert host.post.ordered() == [f"keep {X5U}", f"keep {OTHER}"]


def test_those_that_verified_nothing_yet_are_remembered_within_bounds(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_UNPROVED", 2)
    host.web.answers.update(dict.fromkeys(STRANGERS, host.web.answers[X5U]))
    service = host.service()
    host.obtain(STRANGERS)
    for url in STRANGERS:
        service.credentials.get(url, host.clock.now)
        assert len(service.credentials.unproved) <= 2
    # The last one is among them
    assert decided(service.verify(naming(STRANGERS[-1]))) == ""
    assert host.post.ordered() == [f"keep {STRANGERS[-1]}"]


# --- What the STI-PA says ---------------------------------------------------------------------------------------


def look(host: Host, *services: Any) -> None:
    """Each takes a call, a second after the last one."""
    host.clock.now += 1
    for service in services:
        service.verify(request())


def test_every_process_takes_over_another_trust_list_within_a_second(tmp_path: Path) -> None:
    host = Host(tmp_path, verification={"ca_file": ""}, trust=LISTS)
    services = [host.service() for _ in range(3)]
    assert [len(service.anchors) for service in services] == [0, 0, 0]
    host.trusts(trust([hierarchy().root.certificate]))
    look(host, *services)
    assert [len(service.anchors) for service in services] == [1, 1, 1]
    assert {service.generation for service in services} == {"0:1"}
    host.obtain([X5U])
    assert [decided(service.verify(CALL)) for service in services] == ["", "", ""]


def test_anchors_of_the_operator_stay_beside_those_of_the_list(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    service = host.service()
    host.trusts(trust([evil().root.certificate]))
    look(host, service)
    assert len(service.anchors) == 2
    service.reload()
    assert len(service.anchors) == 2


def test_list_that_is_on_the_disk_is_in_use_from_the_first_call_on(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"trust": LISTS, "cache": {"state_dir": "state"}, "verification": {"ca_file": ""}}
    host = Host(tmp_path, **sections)
    host.sourced(trust([hierarchy().root.certificate], [provider().certificate])).to_disk(tmp_path / "state")
    service = host.service()
    assert (len(service.anchors), service.generation) == (1, "0:1")
    host.obtain([X5U])
    assert decided(service.verify(CALL)) == "credential_revoked"


@pytest.mark.parametrize("text", ["", "garbage", "{}", "x" * (33 << 20)], ids=["nothing", "garbage", "object", "too much"])
def test_what_the_disk_has_never_stops_the_start(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path, trust=LISTS, cache={"state_dir": "state"})
    host.sourced(Trust(text, text)).to_disk(tmp_path / "state")
    assert len(host.service().anchors) == 1
    assert Trust.from_disk(tmp_path / "state")[:2] == (text, text)


@pytest.mark.parametrize("how", ["start", "reload", "catch up"])
def test_list_that_the_settings_name_no_longer_is_trusted_no_longer(tmp_path: Path, how: str) -> None:
    state = {"state_dir": "state"}
    host = Host(tmp_path, trust=LISTS, cache=state)
    host.sourced(trust([evil().root.certificate], [provider().certificate])).to_disk(tmp_path / "state")
    service, asleep = host.service(), host.service()
    host.obtain([X5U])
    assert (len(service.anchors), decided(service.verify(CALL))) == (2, "credential_revoked")
    host.settings(cache=state)
    if how == "start":
        host.first = None
        service = host.service()
    else:
        service.reload()
    if how == "catch up":
        service = asleep
        service.catch_up()
    assert (len(service.anchors), decided(service.verify(CALL))) == (1, "")


def test_more_than_there_is_room_for_is_refused_and_the_former_stays(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    service = host.service()
    host.trusts(trust([evil().root.certificate]))
    with refused("crl_malformed"):
        service.take_trust(Trust("", "x" * (33 << 20)))
    look(host, service)
    assert len(service.anchors) == 2


# --- What the fetch process is told -----------------------------------------------------------------------------


def test_configuration_is_what_was_accepted_last(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    service = host.service()
    found = trust([evil().root.certificate], [])
    host.trusts(found)
    service.accepted.epoch = -3
    break_settings(host)
    told = service.configuration()
    assert told == {
        "path": str(tmp_path / "stirshaken.toml"),
        "settings": service.settings.text,
        "anchors": pem(hierarchy().root.certificate).decode(),
        "generation": "-3:1",
        "trust": list(host.sourced(found)),
    }
    assert told["generation"] == service.generation_now != service.generation
    secret = provider().key_pem.decode().splitlines()[1]
    assert secret not in repr(told)


# --- What a verification leads to -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("observe", Treatment()),
        ("tag", Treatment(verstat="No-TN-Validation")),
        ("reject", Treatment(403, "Stale Date")),
    ],
)
def test_settings_decide_what_a_failure_leads_to(tmp_path: Path, action: str, expected: Treatment) -> None:
    service = Host(tmp_path, verification={"failure_action": action}).service()
    outcome = service.verify(request(identity=(identity(claims={"iat": NOW - 100}),)))
    assert isinstance(outcome, Verified)
    assert outcome.treatment._replace(reason=()) == expected


def test_rules_of_a_trunk_go_before_those_of_all(host: Host) -> None:
    outcome = host.service().verify(request(), rules=TreatmentRules(FailureAction.REJECT, require_identity=True))
    assert isinstance(outcome, Verified)
    assert outcome.treatment.code == 428


# --- Reload -----------------------------------------------------------------------------------------------------


def test_reload_takes_over_everything(host: Host) -> None:
    service = host.service()
    host.settings(signing={"attest_level": "A"}, verification={"ca_file": ""})
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    service.reload()
    assert service.settings.attest_level is Attestation.FULL
    assert service.signing.signer().name == "sp5678"
    assert len(service.anchors) == 0


def test_credential_is_validated_anew_when_trust_anchors_change(host: Host) -> None:
    service = host.service()
    host.obtain([X5U])
    assert decided(service.verify(CALL)) == ""
    (host.directory / "trusted.pem").write_bytes(pem(evil().root.certificate))
    assert decided(service.verify(CALL)) == ""
    service.reload()
    assert decided(service.verify(CALL)) == "credential_untrusted"
    (host.directory / "trusted.pem").write_bytes(pem(evil().root.certificate, hierarchy().root.certificate))
    service.reload()
    assert decided(service.verify(CALL)) == ""


def break_settings(host: Host) -> None:
    (host.directory / "stirshaken.toml").write_text("garbage")


def remove_anchors(host: Host) -> None:
    (host.directory / "trusted.pem").unlink()


def garble_anchors(host: Host) -> None:
    (host.directory / "trusted.pem").write_text("garbage")


def miss_tls_anchors(host: Host) -> None:
    host.settings(x5u={"x5u_tls_ca_file": "nowhere.pem"})


def garble_tls_anchors(host: Host) -> None:
    (host.directory / "web.pem").write_text("garbage")
    host.settings(x5u={"x5u_tls_ca_file": "web.pem"})


def tls_anchors_in_der(host: Host) -> None:
    # OpenSSL's file of roots is PEM; anything else it would take for none
    (host.directory / "web.pem").write_bytes(hierarchy().root.certificate.public_bytes(Encoding.DER))
    host.settings(x5u={"x5u_tls_ca_file": "web.pem"})


def garble_one_of_the_tls_anchors(host: Host) -> None:
    garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (host.directory / "web.pem").write_bytes(hierarchy().root.pem + garbage.encode())
    host.settings(x5u={"x5u_tls_ca_file": "web.pem"})


def miss_sti_pa(host: Host) -> None:
    host.settings(trust={"crl_file": "crl", "sti_pa_ca_file": "nowhere.pem"})


def garble_sti_pa(host: Host) -> None:
    (host.directory / "pa.pem").write_text("garbage")
    host.settings(trust=LISTS)


def outgrow(host: Host) -> None:
    # Larger than the memory that the processes share
    (host.directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate) + b"#" * (5 << 20))


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (break_settings, "stirshaken.toml"),
        (remove_anchors, "[verification] ca_file"),
        (garble_anchors, "[verification] ca_file"),
        (miss_tls_anchors, "[x5u] x5u_tls_ca_file"),
        (garble_tls_anchors, "[x5u] x5u_tls_ca_file: no certificates in PEM"),
        (tls_anchors_in_der, "[x5u] x5u_tls_ca_file: no certificates in PEM"),
        (garble_one_of_the_tls_anchors, "[x5u] x5u_tls_ca_file"),
        (miss_sti_pa, "[trust] sti_pa_ca_file"),
        (garble_sti_pa, "[trust] sti_pa_ca_file"),
        (outgrow, "MiB"),
    ],
)
def test_what_cannot_be_used_stops_the_start_and_changes_nothing_at_reload(host: Host, damage: Any, hint: str) -> None:
    service = host.service()
    host.obtain([X5U])
    before = (service.settings, service.anchors, service.signing.keys)
    provider().write(host.directory / "certs", "another")
    damage(host)
    with pytest.raises(SettingsRefused, match=re.escape(hint)):
        service.reload()
    assert (service.settings, service.anchors, service.signing.keys) == before
    assert decided(service.verify(CALL)) == ""
    assert service.signing.signer().name == "sp1234"
    with pytest.raises(SettingsRefused, match=re.escape(hint)):
        host.service()


def test_refused_pair_leaves_the_former_one_in_use(host: Host) -> None:
    service = host.service()
    before = service.signing.signer().fingerprint
    (host.directory / "certs" / "sp1234.key").write_bytes(b"garbage")
    service.reload()
    assert service.signing.signer().fingerprint == before
    assert [(name, error.token) for name, error in service.signing.keys.refused] == [("sp1234", "key_malformed")]


def test_process_that_slept_takes_over_what_another_found_good(host: Host) -> None:
    awake, asleep = host.service(), host.service()
    host.obtain([X5U])
    host.settings(signing={"attest_level": "A"}, verification={"ca_file": ""})
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    awake.reload()
    for path in (host.directory / "certs").iterdir():
        path.unlink()
    break_settings(host)
    asleep.catch_up()
    assert asleep.settings == awake.settings
    assert asleep.signing.signer().fingerprint == awake.signing.signer().fingerprint
    assert sign(asleep).orig.value == ORIG
    assert decided(asleep.verify(CALL)) == "credential_untrusted"


def test_process_that_slept_takes_over_that_nothing_is_to_be_signed_any_more(host: Host) -> None:
    awake, asleep = host.service(), host.service()
    host.settings(signing={"public_cert_url": "", "attest_level": "A"})
    awake.reload()
    assert [(name, error.token) for name, error in awake.signing.keys.refused] == [("sp1234", "public_cert_url_missing")]
    asleep.catch_up()
    for service in (awake, asleep):
        assert service.settings.attest_level is Attestation.FULL
        with refused("certificate_none"):
            sign(service)


def test_private_keys_are_in_no_repr(host: Host) -> None:
    service = host.service()
    secret = provider().key_pem.decode().splitlines()[1]
    for value in (service.accepted.read(), service.signing.keys, service.settings, service.signing.signer()):
        assert secret not in repr(value)


def test_table_of_the_tests_forgets(host: Host) -> None:
    table = Table(host.clock)
    table.put("k", "v", 5)
    host.clock.now += 4.9
    assert table.get("k") == "v"
    host.clock.now += 0.1
    assert table.get("k") is None
