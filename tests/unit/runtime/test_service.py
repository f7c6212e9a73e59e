"""The service of one process: what is fetched when, for how long it is kept, and what a reload changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import NotSigned, SettingsRefused, StirError, failure
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.treatment import Treatment
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.fetcher import Download, Fetcher
from kamailio_app.runtime.service import Pending, Service, Verified
from kamailio_app.sip import Request

from ..builders import DAY, NOW, ORIG, X5U, evil, hierarchy, identity, pem, provider, refused, request
from .support import Host, Table

OTHER = "https://cr.example.test/other.pem"
CALL = request(identity=(identity(),))
WEEK = 7 * DAY


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def decided(outcome: Verified | Pending) -> str:
    """The token of a verification that is over."""
    assert isinstance(outcome, Verified)
    return outcome.verification.token


def served(**spec: Any) -> Download:
    return Download(hierarchy().service_provider(ServiceProvider(**spec)).chain_pem, "")


# --- Signing ----------------------------------------------------------------------------------------------------


def test_level_of_the_settings_is_used_where_the_script_names_none(tmp_path: Path) -> None:
    service = Host(tmp_path, signing={"attest_level": "B"}).service()
    assert service.sign(request()).claims.attest is Attestation.PARTIAL
    assert service.sign(request(), "A").claims.attest is Attestation.FULL


@pytest.mark.parametrize("attest", ["a", "D", "AB", "\0"])
def test_attestation_that_there_is_not_is_refused(host: Host, attest: str) -> None:
    with refused("attest_unknown"):
        host.service().sign(request(), attest)


def test_origids_are_random_uuids_of_version_4(host: Host) -> None:
    service = host.service()
    origids = [service.sign(request()).claims.origid for _ in range(64)]
    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(origid) for origid in origids)
    assert len(set(origids)) == 64
    assert {origid[19] for origid in origids} == set("89ab")


def test_iat_is_the_clocks(host: Host) -> None:
    service = host.service()
    host.clock.now = NOW + 12.9
    assert service.sign(request()).claims.iat == NOW + 12


def test_pair_that_becomes_valid_later_takes_over_then(host: Host) -> None:
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 30, not_after=NOW + 60)).write(
        host.directory / "certs", "short"
    )
    service = host.service()
    assert service.signer().name == "short"
    host.clock.now = NOW + 60
    assert service.signer().name == "sp5678"


def test_without_pairs_nothing_is_signed(tmp_path: Path) -> None:
    service = Host(tmp_path, signing={"certificate_dir": "nowhere"}).service()
    with pytest.raises(NotSigned):
        service.signer()
    with refused("certificate_none"):
        service.sign(request())


# --- A credential that is not at hand ---------------------------------------------------------------------------


def test_call_is_pending_while_its_credential_is_missing(host: Host) -> None:
    service = host.service()
    assert service.verify(CALL) == Pending((X5U,))
    assert host.web.asked == []
    assert host.rules == []  # no fetcher, no event loop in a SIP worker


def test_each_missing_credential_is_named_once(host: Host) -> None:
    service = host.service()
    other = identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>")
    call = request(identity=(identity(), other, identity()))
    assert service.verify(call) == Pending((X5U, OTHER))
    service.obtain([X5U])
    assert service.verify(call) == Pending((OTHER,))


def test_waiting_call_finds_what_was_at_hand_where_it_began(host: Host) -> None:
    first, second = host.service(), host.service()
    first.obtain([X5U])
    del host.table.entries[X5U]  # another URL came to its place
    other = identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>")
    call = request(identity=(other, identity()))
    assert first.verify(call) == Pending((OTHER,))
    assert decided(second.verify(call, last_try=True)) == ""
    host.clock.now = NOW + 60  # for this call, not for good
    assert host.service().verify(CALL) == Pending((X5U,))


def test_last_try_decides_with_what_is_there(host: Host) -> None:
    service = host.service()
    assert decided(service.verify(CALL, last_try=True)) == "x5u_timeout"
    assert host.web.asked == []
    service.obtain([X5U])
    assert decided(service.verify(CALL, last_try=True)) == ""


def test_timeout_of_one_call_is_not_remembered(host: Host) -> None:
    service = host.service()
    service.verify(CALL, last_try=True)
    assert service.verify(CALL) == Pending((X5U,))
    assert host.table.entries == {}


def test_worker_fetches_itself_where_the_caller_says_block(host: Host) -> None:
    service = host.service()
    assert decided(service.verify(CALL, block=True)) == ""
    assert decided(service.verify(CALL, block=True)) == ""
    assert host.web.asked == [[X5U]]


def test_last_try_does_not_fetch_even_where_the_caller_says_block(host: Host) -> None:
    assert decided(host.service().verify(CALL, block=True, last_try=True)) == "x5u_timeout"
    assert host.web.asked == []


STRANGERS = [f"https://cr.example.test/{number}.pem" for number in range(4)]


def naming(*urls: str) -> Request:
    """A call with an Identity header for each URL."""
    return request(identity=tuple(identity(jose={"x5u": url}, parameters=f";info=<{url}>") for url in urls))


def test_call_that_names_many_strangers_has_two_of_them_fetched(host: Host) -> None:
    service = host.service()
    assert service.verify(naming(*STRANGERS)) == Pending((STRANGERS[0], STRANGERS[1]))
    service.verify(naming(*STRANGERS), block=True)
    assert host.web.asked == [STRANGERS[:2]]


def test_those_at_hand_do_not_count(host: Host) -> None:
    service = host.service()
    service.obtain(STRANGERS[:2])
    assert service.verify(naming(*STRANGERS, X5U)) == Pending((STRANGERS[2], STRANGERS[3]))
    host.web.asked.clear()
    # One too many: the one that would have been valid
    outcome = service.verify(naming(*STRANGERS, X5U), block=True)
    assert host.web.asked == [STRANGERS[2:]]
    assert isinstance(outcome, Verified)
    tokens = [verdict.error.token for verdict in outcome.verification.verdicts if verdict.error]
    assert tokens == ["x5u_unreachable"] * 4 + ["x5u_refused"]


def test_url_that_was_one_too_many_is_not_remembered_as_refused(host: Host) -> None:
    service = host.service()
    service.verify(naming(*STRANGERS[:2], X5U), block=True)
    assert decided(service.verify(CALL, block=True)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": {"iat": NOW - 61}},
        {"claims": {"dest": {"tn": ["12155550199"]}}},
        {"jose": {"x5u": "http://cr.example.test/x"}, "parameters": ";info=<http://cr.example.test/x>"},
    ],
)
def test_nothing_is_fetched_for_a_call_that_has_failed_already(host: Host, changes: dict[str, Any]) -> None:
    assert decided(host.service().verify(request(identity=(identity(**changes),)), block=True))
    assert host.web.asked == []


def test_fetcher_is_made_once_and_by_the_rules(tmp_path: Path) -> None:
    host = Host(tmp_path, x5u={"fetch_timeout": 1.5})
    service = host.service()
    service.fetch([X5U])
    service.fetch([OTHER])
    assert [rules.timeout for rules in host.rules] == [1.5]


def test_real_fetcher_is_used_unless_told_otherwise(host: Host) -> None:
    service = Service(host.directory / "stirshaken.toml", host.table, clock=host.clock)
    found = service.fetch(["https://127.0.0.1/"])["https://127.0.0.1/"]
    assert isinstance(found, StirError)
    assert found.token == "x5u_refused"
    assert isinstance(service._fetcher, Fetcher)
    service.reload()  # closes its event loop: a loop that stays open is a warning, and those are errors
    assert service._fetcher is None


# --- How long is what remembered --------------------------------------------------------------------------------


def test_credential_is_kept_for_a_day_at_least(host: Host) -> None:
    host.web.answers[X5U] = Download(provider().chain_pem, "no-store, max-age=0")
    service = host.service()
    service.obtain([X5U])
    assert host.table.lifetimes == {X5U: DAY}
    host.clock.now = NOW + DAY - 1
    service.obtain([X5U])
    assert len(host.web.asked) == 1
    host.clock.now = NOW + DAY
    service.obtain([X5U])
    assert len(host.web.asked) == 2


@pytest.mark.parametrize(
    ("cache_control", "lifetime"), [("max-age=172800", 2 * DAY), ("max-age=99999999", WEEK), ("", DAY), ("max-age=60", DAY)]
)
def test_repository_says_how_long_within_bounds(host: Host, cache_control: str, lifetime: int) -> None:
    host.web.answers[X5U] = Download(provider().chain_pem, cache_control)
    host.service().obtain([X5U])
    assert host.table.lifetimes == {X5U: lifetime}


def test_credential_is_never_kept_past_its_validity(host: Host) -> None:
    host.web.answers[X5U] = served(not_after=NOW + 600)
    service = host.service()
    service.obtain([X5U])
    assert host.table.lifetimes == {X5U: 600}
    # The provider renews it under the same URL
    host.web.answers[X5U] = served(not_after=NOW + DAY)
    host.clock.now = NOW + 600
    service.obtain([X5U])
    assert len(host.web.asked) == 2
    assert isinstance(service.fetch([X5U])[X5U], Credential)


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        (failure("x5u_timeout"), "x5u_timeout"),
        (Download(b"garbage", "max-age=172800"), "credential_malformed"),
        (Download(b"", ""), "credential_malformed"),
        (Download(evil().service_provider().chain_pem, "max-age=172800"), "credential_untrusted"),
        (Download(served(not_before=NOW - 60, not_after=NOW - 1).octets, ""), "credential_expired"),
        (Download(served(with_tnauthlist=False).octets, ""), "tnauthlist_missing"),
    ],
)
def test_failure_is_remembered_for_its_lifetime_and_then_tried_again(
    tmp_path: Path, answer: Download | StirError, token: str
) -> None:
    host = Host(tmp_path, cache={"negative_lifetime": 20})
    host.web.answers[X5U] = answer
    first, second = host.service(), host.service()
    found = first.fetch([X5U])[X5U]
    assert isinstance(found, StirError)
    assert found.token == token
    for service in (first, second):
        host.clock.now = NOW + 19
        assert decided(service.verify(CALL)) == token
        host.clock.now = NOW + 20
        assert service.verify(CALL) == Pending((X5U,))
    # The repository is mended
    host.web.answers[X5U] = Download(provider().chain_pem, "")
    first.obtain([X5U])
    assert decided(first.verify(CALL)) == ""
    assert decided(second.verify(CALL)) == ""


def test_what_is_kept_by_a_worker_is_bounded(tmp_path: Path) -> None:
    host = Host(tmp_path, cache={"max_cache_size": 3})
    service = host.service()
    urls = [f"https://cr.example.test/{number}.pem" for number in range(10)]
    service.fetch(urls)
    assert len(service._cache) == 3


# --- Between processes ------------------------------------------------------------------------------------------


def test_second_process_uses_what_the_first_one_fetched(host: Host) -> None:
    first, second = host.service(), host.service()
    first.obtain([X5U])
    assert decided(second.verify(CALL)) == ""
    second.obtain([X5U])
    assert host.web.asked == [[X5U]]


def test_second_process_looks_into_the_table_once(host: Host) -> None:
    first, second = host.service(), host.service()
    first.obtain([X5U])
    second.verify(CALL)
    host.table.entries.clear()
    assert decided(second.verify(CALL)) == ""


def test_second_process_hears_of_failures_too(host: Host) -> None:
    host.web.answers[X5U] = failure("x5u_http_status", "404")
    first, second = host.service(), host.service()
    first.obtain([X5U])
    assert decided(second.verify(CALL)) == "x5u_http_status"
    second.obtain([X5U])
    assert host.web.asked == [[X5U]]


def test_only_what_is_not_at_hand_is_fetched(host: Host) -> None:
    host.web.answers[OTHER] = host.web.answers[X5U]
    service = host.service()
    service.obtain([X5U])
    service.obtain([X5U, OTHER])
    service.obtain([])
    assert host.web.asked == [[X5U], [OTHER]]


def test_table_holds_nothing_but_the_certificates(host: Host) -> None:
    host.web.answers[X5U] = Download(b"\xff\0 secret\n" + provider().chain_pem + b"trailer", "")
    host.service().obtain([X5U])
    assert host.table.get(X5U) == f"{NOW + DAY} - {provider().chain_pem.decode()}"


def test_table_holds_no_certificate_that_the_path_does_not_need(host: Host) -> None:
    signer, issuer = provider().certificate, hierarchy().intermediate.certificate
    strangers = [evil().service_provider().certificate for _ in range(3)]
    host.web.answers[X5U] = Download(pem(signer, *strangers, hierarchy().root.certificate, issuer), "")
    host.service().obtain([X5U])
    assert host.table.get(X5U) == f"{NOW + DAY} - {pem(signer, issuer).decode()}"
    assert decided(host.service().verify(CALL)) == ""


def test_table_holds_a_token_for_what_was_refused(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")
    host.service().obtain([X5U])
    assert host.table.get(X5U) == f"{NOW + 15} credential_untrusted 0"


def test_refusals_of_before_a_reload_are_forgotten_and_certificates_are_not(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")
    host.web.answers[OTHER] = Download(provider().chain_pem, "")
    first, second = host.service(), host.service()
    first.obtain([X5U, OTHER])
    good = request(identity=(identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>"),))
    assert decided(second.verify(CALL)) == "credential_untrusted"
    for service in (first, second):
        service.reload()
        service.accepted.epoch = 7
        assert service.verify(CALL) == Pending((X5U,))
        assert decided(service.verify(good)) == ""


def test_refusal_of_a_fetch_that_a_reload_overtook_is_nobody_elses(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")
    first, second = host.service(), host.service()
    second.accepted.epoch = 7
    fetch = host.web.fetch

    def overtaken(urls: Iterable[str]) -> dict[str, Download | StirError]:
        first.accepted.epoch = 7
        return fetch(urls)

    host.web.fetch = overtaken  # type: ignore[method-assign]
    first.obtain([X5U])
    assert second.verify(CALL) == Pending((X5U,))


def test_signer_that_is_a_trust_anchor_itself_is_shared_too(host: Host) -> None:
    (host.directory / "trusted.pem").write_bytes(provider().pem)
    first, second = host.service(), host.service()
    first.obtain([X5U])
    assert decided(first.verify(CALL)) == ""
    assert decided(second.verify(CALL)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        "9" * 5000 + " - x",
        "\N{ARABIC-INDIC DIGIT NINE}" * 12 + " - x",
        f"{NOW + 100} no_such_token ",
        f"{NOW} x5u_timeout ",
        f"{NOW - 1} - {provider().chain_pem.decode()}",
    ],
)
def test_garbage_in_the_table_is_ignored(host: Host, text: str) -> None:
    host.table.put(X5U, text, 1000)
    service = host.service()
    assert service.verify(CALL) == Pending((X5U,))
    service.obtain([X5U])
    assert decided(service.verify(CALL)) == ""


def test_certificates_in_the_table_are_validated_like_any_other(host: Host) -> None:
    # Who can write to the table still cannot make us trust
    issued = evil().service_provider()
    host.table.put(X5U, Fetched(NOW + DAY, pem=issued.chain_pem.decode()).to_text(), DAY)
    service = host.service()
    assert decided(service.verify(request(identity=(identity(key=issued.key),)))) == "credential_untrusted"
    host.table.put(OTHER, f"{NOW + DAY} - no certificate", DAY)
    call = request(identity=(identity(jose={"x5u": OTHER}, parameters=f";info=<{OTHER}>"),))
    assert decided(service.verify(call)) == "credential_malformed"


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
    assert outcome.treatment == expected


# --- Reload -----------------------------------------------------------------------------------------------------


def test_reload_takes_over_everything(host: Host) -> None:
    service = host.service()
    service.obtain([X5U])
    host.settings(signing={"attest_level": "A"}, verification={"ca_file": ""})
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    service.reload()
    assert service.settings.attest_level is Attestation.FULL
    assert service.signer().name == "sp5678"
    assert len(service.anchors) == 0
    assert host.web.closed == 1


def test_credential_is_validated_anew_when_trust_anchors_change(host: Host) -> None:
    service = host.service()
    service.obtain([X5U])
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
        (garble_tls_anchors, "[x5u] x5u_tls_ca_file"),
        (outgrow, "MiB"),
    ],
)
def test_what_cannot_be_used_stops_the_start_and_changes_nothing_at_reload(host: Host, damage: Any, hint: str) -> None:
    service = host.service()
    service.obtain([X5U])
    before = (service.settings, service.anchors, service.keys)
    provider().write(host.directory / "certs", "another")
    damage(host)
    with pytest.raises(SettingsRefused, match=re.escape(hint)):
        service.reload()
    assert (service.settings, service.anchors, service.keys) == before
    assert decided(service.verify(CALL)) == ""
    assert (service.signer().name, host.web.closed) == ("sp1234", 0)
    with pytest.raises(SettingsRefused, match=re.escape(hint)):
        host.service()


def test_refused_pair_leaves_the_former_one_in_use(host: Host) -> None:
    service = host.service()
    before = service.signer().fingerprint
    (host.directory / "certs" / "sp1234.key").write_bytes(b"garbage")
    service.reload()
    assert service.signer().fingerprint == before
    assert [(name, error.token) for name, error in service.keys.refused] == [("sp1234", "key_malformed")]


def test_process_that_slept_takes_over_what_another_found_good(host: Host) -> None:
    awake, asleep = host.service(), host.service()
    asleep.accepted = awake.accepted
    asleep.obtain([X5U])
    host.settings(signing={"attest_level": "A"}, verification={"ca_file": ""})
    hierarchy().service_provider(ServiceProvider(not_before=NOW - 60)).write(host.directory / "certs", "sp5678")
    awake.reload()
    for path in (host.directory / "certs").iterdir():
        path.unlink()
    break_settings(host)
    asleep.catch_up()
    assert asleep.settings == awake.settings
    assert asleep.signer().fingerprint == awake.signer().fingerprint
    assert asleep.sign(request()).claims.orig.value == ORIG
    assert decided(asleep.verify(CALL)) == "credential_untrusted"


def test_process_that_slept_takes_over_that_nothing_is_to_be_signed_any_more(host: Host) -> None:
    awake, asleep = host.service(), host.service()
    asleep.accepted = awake.accepted
    host.settings(signing={"public_cert_url": "", "attest_level": "A"})
    awake.reload()
    assert [(name, error.token) for name, error in awake.keys.refused] == [("sp1234", "public_cert_url_missing")]
    asleep.catch_up()
    for service in (awake, asleep):
        assert service.settings.attest_level is Attestation.FULL
        with refused("certificate_none"):
            service.sign(request())


def test_private_keys_are_in_no_repr(host: Host) -> None:
    service = host.service()
    secret = provider().key_pem.decode().splitlines()[1]
    for value in (service.accepted.read(), service.keys, service.settings, service.signer()):
        assert secret not in repr(value)


def test_table_of_the_tests_forgets(host: Host) -> None:
    table = Table(host.clock)
    table.put("k", "v", 5)
    host.clock.now += 4.9
    assert table.get("k") == "v"
    host.clock.now += 0.1
    assert table.get("k") is None
