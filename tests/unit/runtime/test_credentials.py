"""Other providers' certificates in one process: how long they are kept, when they are renewed, what makes them go."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.credential import Credential
from kamailio_app.errors import StirError, failure
from kamailio_app.lab.pki import Hierarchy, ServiceProvider
from kamailio_app.runtime.cache import Fetched
from kamailio_app.runtime.disk import CertificateStore
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.link import RENEW
from kamailio_app.runtime.service import Pending, Service

from ..builders import DAY, NOW, X5U, evil, hierarchy, identity, pem, provider, request
from .support import CALL, LISTS, OTHER, Host, decided, naming, trust

WEEK = 7 * DAY
HARD = {**LISTS, "crl_failure": "hard"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@cache
def second() -> Hierarchy:
    """Another STI-CA."""
    return Hierarchy(NOW, "Second")


def served(**spec: Any) -> Download:
    return Download(hierarchy().service_provider(ServiceProvider(**spec)).chain_pem, "")


def get(host: Host, service: Service, url: str = X5U) -> Credential | StirError | None:
    return service.credentials.get(url, host.clock.now)


def token(found: Credential | StirError | None) -> str:
    """Of a failure; "" for a credential, "?" where nothing is known."""
    if found is None:
        return "?"
    return found.token if isinstance(found, StirError) else ""


def shared(host: Host, url: str = X5U) -> Fetched:
    fetched = Fetched.from_text(host.table.get(url) or "")
    assert fetched is not None
    return fetched


# --- How long is what remembered --------------------------------------------------------------------------------


def test_credential_is_kept_for_a_day_at_least(host: Host) -> None:
    host.web.answers[X5U] = Download(provider().chain_pem, "no-store, max-age=0")
    service = host.service()
    host.obtain([X5U])
    assert host.table.lifetimes == {X5U: DAY}
    host.clock.now = NOW + DAY - 1
    assert token(get(host, service)) == ""
    host.clock.now = NOW + DAY
    assert get(host, service) is None


@pytest.mark.parametrize(
    ("download", "lifetime"),
    [
        (("max-age=172800",), 2 * DAY),
        (("max-age=99999999",), WEEK),
        (("",), DAY),
        (("max-age=60",), DAY),
        (("max-age=172800", "", "3600"), 2 * DAY - 3600),
        (("", "Fri, 17 Nov 2023 22:13:20 GMT", "", "Tue, 14 Nov 2023 22:13:20 GMT"), 3 * DAY),
        (("", "Fri, 17 Nov 2023 22:13:20 GMT"), 3 * DAY),  # without Date, from now on
    ],
)
def test_repository_says_how_long_within_bounds(host: Host, download: tuple[str, ...], lifetime: int) -> None:
    host.web.answers[X5U] = Download(provider().chain_pem, *download)
    host.obtain([X5U])
    assert host.table.lifetimes == {X5U: lifetime}


def test_credential_is_never_kept_past_its_validity(host: Host) -> None:
    host.web.answers[X5U] = served(not_after=NOW + 600)
    service = host.service()
    host.obtain([X5U])
    assert host.table.lifetimes == {X5U: 600}
    assert token(get(host, service)) == ""
    # The provider renews it under the same URL
    host.web.answers[X5U] = served(not_after=NOW + DAY)
    host.clock.now = NOW + 600
    assert get(host, service) is None
    host.obtain([X5U])
    assert token(get(host, service)) == ""


@pytest.mark.parametrize(
    ("answer", "expected"),
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
    tmp_path: Path, answer: Download | StirError, expected: str
) -> None:
    host = Host(tmp_path, cache={"negative_lifetime": 20})
    host.web.answers[X5U] = answer
    first, other = host.service(), host.service()
    assert token(host.fetch()) == expected
    for service in (first, other):
        host.clock.now = NOW + 19
        assert decided(service.verify(CALL)) == expected
        host.clock.now = NOW + 20
        assert service.verify(CALL) == Pending((X5U,))
    # The repository is mended
    host.web.answers[X5U] = Download(provider().chain_pem, "")
    host.obtain([X5U])
    assert [decided(service.verify(CALL)) for service in (first, other)] == ["", ""]


def test_what_is_kept_by_a_worker_is_bounded(tmp_path: Path) -> None:
    host = Host(tmp_path, cache={"max_cache_size": 3})
    service = host.service()
    urls = [f"https://cr.example.test/{number}.pem" for number in range(10)]
    host.obtain([X5U, *urls])
    assert token(get(host, service)) == ""
    assert {token(get(host, service, url)) for url in urls} == {"x5u_unreachable"}
    assert len(service.credentials) == 1 + 3
    # What any caller can cause displaces no credential
    host.table.entries.clear()
    assert token(get(host, service)) == ""


def test_process_looks_into_the_table_once(host: Host) -> None:
    service = host.service()
    host.obtain([X5U])
    service.verify(CALL)
    host.table.entries.clear()
    assert decided(service.verify(CALL)) == ""


# --- The table --------------------------------------------------------------------------------------------------


def test_table_holds_nothing_but_the_certificates(host: Host) -> None:
    host.web.answers[X5U] = Download(b"\xff\0 secret\n" + provider().chain_pem + b"trailer", "")
    host.obtain([X5U])
    assert (shared(host).expires, shared(host).pem) == (NOW + DAY, provider().chain_pem.decode())


def test_table_holds_no_certificate_that_the_path_does_not_need(host: Host) -> None:
    signer, issuer = provider().certificate, hierarchy().intermediate.certificate
    strangers = [evil().service_provider().certificate for _ in range(3)]
    host.web.answers[X5U] = Download(pem(signer, *strangers, hierarchy().root.certificate, issuer), "")
    host.obtain([X5U])
    assert shared(host).pem == pem(signer, issuer).decode()
    assert decided(host.service().verify(CALL)) == ""


def test_table_holds_a_token_for_what_was_refused(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")
    host.obtain([X5U])
    found = shared(host)
    assert (found.expires, found.token, found.generation, found.pem) == (NOW + 15, "credential_untrusted", "0:0", "")
    assert host.table.lifetimes == {X5U: 15}


def test_signer_that_is_a_trust_anchor_itself_is_shared_too(host: Host) -> None:
    (host.directory / "trusted.pem").write_bytes(provider().pem)
    services = [host.service(), host.service()]
    host.obtain([X5U])
    assert [decided(service.verify(CALL)) for service in services] == ["", ""]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        "9" * 5000 + " 0 - x",
        "\N{ARABIC-INDIC DIGIT NINE}" * 12 + " 0 - x",
        f"{NOW + 100} 0 no_such_token 0:0",
        f"{NOW} 0 x5u_timeout 0:0",
        f"{NOW + 10} 0 x5u_timeout 1:0",
        f"{NOW + 10} 0 x5u_timeout 0:1",
        f"{NOW - 1} 0 - {provider().chain_pem.decode()}",
    ],
)
def test_garbage_in_the_table_is_ignored(host: Host, text: str) -> None:
    host.table.put(X5U, text, 1000)
    service = host.service()
    assert service.verify(CALL) == Pending((X5U,))
    host.obtain([X5U])
    assert decided(service.verify(CALL)) == ""


def test_certificates_in_the_table_are_validated_like_any_other(host: Host) -> None:
    # Who can write to the table still cannot make us trust
    issued = evil().service_provider()
    host.table.put(X5U, Fetched(NOW + DAY, pem=issued.chain_pem.decode()).to_text(), DAY)
    service = host.service()
    assert decided(service.verify(request(identity=(identity(key=issued.key),)))) == "credential_untrusted"
    host.table.put(OTHER, f"{NOW + DAY} 0 - no certificate", DAY)
    assert decided(service.verify(naming(OTHER))) == "credential_malformed"


def test_answer_that_is_not_ours_is_not_put_into_the_table(host: Host) -> None:
    host.keeper.credentials.take({X5U: "garbage", OTHER: f"{NOW - 5} 0 x5u_timeout 0:0"})
    assert list(host.table.lifetimes.items()) == [(OTHER, 1)]


# --- Renewal ----------------------------------------------------------------------------------------------------


def near_the_end(host: Host) -> None:
    host.clock.now = NOW + DAY * 0.91


def test_what_ends_soon_is_renewed_once_and_while_it_is_used(host: Host) -> None:
    user, idle = host.service(), host.service()
    host.obtain([X5U])
    assert NOW + DAY * 0.85 - 1 <= shared(host).renew_at <= NOW + DAY * 0.9
    for service in (user, idle):
        get(host, service)
    host.clock.now = NOW + DAY * 0.849
    get(host, user)
    assert host.post.ordered() == []
    near_the_end(host)
    assert [token(get(host, user)) for _ in range(3)] == ["", "", ""]
    assert host.post.ordered() == [f"renew {X5U}"]


def test_renewed_certificate_is_taken_over_when_the_former_ends(host: Host) -> None:
    service, late = host.service(), host.service()
    host.obtain([X5U])
    former = get(host, service)
    near_the_end(host)
    assert get(host, service) is former
    host.web.answers[X5U] = served()
    host.deliver()
    assert get(host, service) is former
    host.clock.now = NOW + DAY
    renewed = get(host, service)
    assert isinstance(former, Credential)
    assert isinstance(renewed, Credential)
    assert renewed.fingerprint != former.fingerprint
    assert token(get(host, late)) == ""
    assert (host.web.asked, host.post.ordered()) == ([X5U, X5U], [])  # no call waited


@pytest.mark.parametrize("answer", [failure("x5u_timeout"), Download(b"garbage", ""), Download(evil().root.pem, "")])
def test_failed_renewal_says_nothing_about_what_is_at_hand(host: Host, answer: Download | StirError) -> None:
    user, other = host.service(), host.service()
    host.obtain([X5U])
    get(host, user)
    near_the_end(host)
    get(host, user)
    before = host.table.get(X5U)
    host.web.answers[X5U] = answer
    host.deliver()
    assert host.web.asked == [X5U, X5U]
    assert host.table.get(X5U) == before
    host.clock.now = NOW + DAY - 1
    assert [token(get(host, service)) for service in (user, other)] == ["", ""]
    host.clock.now = NOW + DAY
    assert get(host, user) is None


def test_renewal_that_nobody_takes_costs_nothing(host: Host) -> None:
    service = host.service()
    host.obtain([X5U])
    get(host, service)
    near_the_end(host)
    host.post.full = True
    assert token(get(host, service)) == ""


def test_renewal_is_for_all_processes(host: Host) -> None:
    host.obtain([X5U])
    near_the_end(host)
    host.post.obtain(host.keeper, [X5U], RENEW)
    assert shared(host).expires == int(host.clock.now) + DAY
    host.clock.now = NOW + DAY * 1.5
    assert token(get(host, host.service())) == ""


def test_provider_that_replaced_what_is_not_good_any_more_is_heard_soon(tmp_path: Path) -> None:
    # Under the same URL: what was fetched yesterday must not speak for it for days
    host = Host(tmp_path, trust=LISTS, cache={"state_dir": "state"})
    service = host.service()
    host.obtain([X5U])
    host.trusts(trust(revoked=[provider().certificate]))
    assert decided(service.verify(CALL)) == "credential_revoked"
    assert host.post.ordered() == [f"renew {X5U}"]
    issued = hierarchy().service_provider()
    host.web.answers[X5U] = Download(issued.chain_pem, "")
    host.deliver()
    host.clock.now += 15
    assert decided(service.verify(request(identity=(identity(key=issued.key),)))) == ""


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"trust": HARD}, "revocation_unknown"),
        ({"verification": {"certificate_profile": "strict"}}, "credential_profile"),
    ],
)
def test_what_a_renewal_could_not_mend_is_not_renewed(tmp_path: Path, sections: dict[str, Any], expected: str) -> None:
    host = Host(tmp_path, **sections)
    host.web.answers[X5U] = served(common_name="no SHAKEN name")
    assert token(host.fetch()) == expected
    assert host.post.ordered() == []


# --- Reload and generations -------------------------------------------------------------------------------------


def test_failures_of_another_generation_are_forgotten_and_certificates_are_not(host: Host) -> None:
    host.web.answers[X5U] = Download(evil().service_provider().chain_pem, "")
    host.web.answers[OTHER] = Download(provider().chain_pem, "")
    services = [host.service(), host.service()]
    host.obtain([X5U, OTHER])
    assert [decided(service.verify(CALL)) for service in services] == ["credential_untrusted"] * 2
    for service in services:
        service.reload()
    host.keeper.accepted.epoch = 7
    for service in services:
        assert service.verify(CALL) == Pending((X5U,))
        assert decided(service.verify(naming(OTHER))) == ""


def test_failure_that_another_trust_list_overtook_is_nobody_elses(tmp_path: Path) -> None:
    host = Host(tmp_path, verification={"ca_file": ""}, trust=LISTS)
    service = host.service()
    assert token(host.fetch()) == "credential_untrusted"
    assert decided(service.verify(CALL)) == "credential_untrusted"
    host.trusts(trust([hierarchy().root.certificate]))
    assert service.verify(CALL) == Pending((X5U,))
    host.obtain([X5U])
    assert decided(service.verify(CALL)) == ""


def test_generation_of_an_order_is_the_one_that_the_call_goes_by(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    service = host.service()
    service.accepted.epoch = 5
    host.trusts(trust([hierarchy().root.certificate]))
    service.verify(request())
    service.credentials.order([X5U, OTHER])
    assert host.post.orders == [("fetch", "5:1", f"{X5U} {OTHER}")]


# --- Another trust list, another CRL ----------------------------------------------------------------------------


def test_trust_change_keeps_what_is_still_good_and_drops_what_is_not(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    gone, revoked = "https://cr.example.test/gone.pem", "https://cr.example.test/revoked.pem"
    issued = hierarchy().service_provider()
    host.web.answers[gone] = Download(second().service_provider().chain_pem, "")
    host.web.answers[revoked] = Download(issued.chain_pem, "")
    host.web.answers[OTHER] = Download(evil().service_provider().chain_pem, "")
    service = host.service()
    host.trusts(trust([second().root.certificate], []))
    service.verify(request())
    host.obtain([X5U, gone, revoked, OTHER])
    before = get(host, service)
    assert [token(get(host, service, url)) for url in (X5U, gone, revoked, OTHER)] == ["", "", "", "credential_untrusted"]
    host.trusts(trust([old().root.certificate], [issued.certificate]))
    service.verify(request())
    assert get(host, service) is before
    assert token(get(host, service, gone)) == "credential_untrusted"
    assert token(get(host, service, revoked)) == "credential_revoked"
    assert get(host, service, OTHER) is None  # it may be good now
    # And back again
    host.clock.now += 15
    host.trusts(trust([second().root.certificate], []))
    service.verify(request())
    assert get(host, service) is before
    assert [token(get(host, service, url)) for url in (gone, revoked)] == ["", ""]


def test_certificate_of_a_revoked_ca_is_revoked(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    service = host.service()
    host.obtain([X5U])
    assert decided(service.verify(CALL)) == ""
    host.trusts(trust(revoked=[hierarchy().intermediate.certificate]))
    assert decided(service.verify(CALL)) == "credential_revoked"


@pytest.mark.parametrize(("trusted", "hard", "soft"), [(False, "revocation_unknown", ""), (True, "", "")])
def test_without_a_crl_only_hard_failure_refuses(tmp_path: Path, trusted: bool, hard: str, soft: str) -> None:
    for section, expected in ((HARD, hard), (LISTS, soft)):
        host = Host(tmp_path, trust=section)
        service = host.service()
        if trusted:
            host.trusts(trust(revoked=[]))
        host.obtain([X5U])
        assert decided(service.verify(CALL)) == expected


def test_hard_failure_begins_and_ends_with_the_crl(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=HARD)
    service = host.service()
    host.obtain([X5U])
    assert token(get(host, service)) == "revocation_unknown"
    host.trusts(trust(revoked=[], next_update=NOW + 600))
    service.verify(request())
    assert token(get(host, service)) == ""
    host.clock.now = NOW + 599.9
    assert token(get(host, service)) == ""
    host.clock.now = NOW + 600
    assert token(get(host, service)) == "revocation_unknown"
    host.trusts(trust(revoked=[], next_update=NOW + DAY))
    service.verify(request())
    assert token(get(host, service)) == ""
    assert host.web.asked == [X5U]


def test_stale_crl_still_revokes_and_refuses_nobody_else(tmp_path: Path) -> None:
    host = Host(tmp_path, trust=LISTS)
    issued = hierarchy().service_provider()
    host.web.answers[OTHER] = Download(issued.chain_pem, "")
    service = host.service()
    host.trusts(trust(revoked=[issued.certificate], next_update=NOW + 60))
    host.obtain([X5U, OTHER])
    host.clock.now = NOW + 3600
    service.verify(request())
    assert [token(get(host, service, url)) for url in (X5U, OTHER)] == ["", "credential_revoked"]


# --- A clock that is set ----------------------------------------------------------------------------------------

STEPS = [3600, -3600, DAY, -DAY, 1, -1]


@cache
def old() -> Hierarchy:
    """An STI-CA that was there ten days ago too."""
    return Hierarchy(NOW - 10 * DAY, "Old")


def old_host(tmp_path: Path, **sections: dict[str, Any]) -> tuple[Host, Any]:
    host = Host(tmp_path, **sections)
    (tmp_path / "trusted.pem").write_bytes(pem(old().root.certificate))
    issued = old().service_provider(ServiceProvider(not_after=NOW + 10 * DAY))
    host.web.answers[X5U] = Download(issued.chain_pem, "")
    return host, issued


def verified_now(host: Host, service: Service, issued: Any) -> str:
    """A call that is made now by this clock, fetching what is missing."""
    call = request(identity=(identity(claims={"iat": int(host.clock.now)}, key=issued.key),))
    outcome = service.verify(call)
    if isinstance(outcome, Pending):
        host.obtain(outcome.urls)
        outcome = service.verify(call, last_try=True)
    return decided(outcome)


@pytest.mark.parametrize("state", ["", "state"])
@pytest.mark.parametrize("step", STEPS)
def test_clock_that_is_set_there_and_back_makes_no_verdict_wrong(tmp_path: Path, step: int, state: str) -> None:
    host, issued = old_host(tmp_path, cache={"state_dir": state})
    worker, other = host.service(), host.service()
    for moment in (NOW, NOW + step, NOW, NOW + step + 1, NOW + 2):
        host.clock.now = moment
        assert [verified_now(host, service, issued) for service in (worker, other)] == ["", ""]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("answer", [failure("x5u_timeout"), Download(b"garbage", "")])
def test_failure_lasts_no_longer_because_a_clock_is_set(tmp_path: Path, step: int, answer: Download | StirError) -> None:
    host, issued = old_host(tmp_path)
    good, host.web.answers[X5U] = host.web.answers[X5U], answer
    worker, other = host.service(), host.service()
    host.clock.now = NOW + step
    assert verified_now(host, worker, issued)
    host.web.answers[X5U] = good
    host.clock.now = NOW + 17
    assert [verified_now(host, service, issued) for service in (worker, other)] == ["", ""]


def test_certificate_that_seemed_expired_is_good_when_the_clock_is_right_again(tmp_path: Path) -> None:
    host, issued = old_host(tmp_path)
    host.web.answers[X5U] = Download(old().service_provider(ServiceProvider(not_after=NOW + 3600)).chain_pem, "")
    worker, other = host.service(), host.service()
    host.obtain([X5U])
    get(host, worker)
    host.clock.now = NOW + DAY
    assert verified_now(host, worker, issued) == verified_now(host, other, issued) == "credential_expired"
    host.clock.now = NOW
    host.web.answers[X5U] = Download(issued.chain_pem, "")
    assert [verified_now(host, service, issued) for service in (worker, other)] == ["", ""]


def test_what_a_future_clock_put_into_the_table_is_not_kept_longer_than_anything(tmp_path: Path) -> None:
    host, _issued = old_host(tmp_path)
    host.clock.now = NOW + 9 * DAY
    host.obtain([X5U])
    host.clock.now = NOW
    service = host.service()
    assert token(get(host, service)) == ""
    # Looked at anew after the longest lifetime that there is
    host.table.entries.clear()
    host.clock.now = NOW + WEEK
    assert get(host, service) is None


# --- Lending ----------------------------------------------------------------------------------------------------


def test_lent_credential_lives_as_long_as_a_call_waits(tmp_path: Path) -> None:
    host = Host(tmp_path, verification={"call_time_budget": 3.0})
    service = host.service()
    host.obtain([X5U])
    found = get(host, service)
    assert isinstance(found, Credential)
    before = dict(host.table.entries)
    service.credentials.lend({X5U: found}, host.clock.now)
    assert host.table.entries == before  # it is there
    host.table.entries.clear()
    service.credentials.lend({X5U: found, OTHER: failure("x5u_timeout")}, host.clock.now)
    assert list(host.table.entries) == [X5U]
    assert (shared(host).expires, shared(host).renew_at, host.table.lifetimes[X5U]) == (NOW + 8, 0, 8)
    assert token(get(host, host.service())) == ""


def test_lent_credential_does_not_live_past_its_validity(host: Host) -> None:
    host.web.answers[X5U] = served(not_after=NOW + 2)
    service = host.service()
    host.obtain([X5U])
    found = get(host, service)
    host.table.entries.clear()
    assert isinstance(found, Credential)
    service.credentials.lend({X5U: found}, host.clock.now)
    assert shared(host).expires == NOW + 2


# --- The disk ---------------------------------------------------------------------------------------------------


def restarted(host: Host) -> None:
    host.table.entries.clear()
    host.first = host.post.recent = None


def test_restart_finds_on_the_disk_what_verified_a_call(tmp_path: Path) -> None:
    host = Host(tmp_path, cache={"state_dir": "state"})
    host.obtain([X5U])
    assert decided(host.service().verify(CALL)) == ""
    host.deliver()
    restarted(host)
    assert token(host.fetch()) == ""
    assert host.web.asked == [X5U]


def test_restart_does_not_find_what_verified_no_call(tmp_path: Path) -> None:
    host = Host(tmp_path, cache={"state_dir": "state"})
    assert token(host.fetch()) == ""
    host.deliver()
    restarted(host)
    assert token(host.fetch()) == ""
    assert host.web.asked == [X5U, X5U]


def test_worker_does_not_touch_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, cache={"state_dir": "state"})
    service = host.service()

    def never(*_arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(CertificateStore, "_do", never)
    assert service.verify(CALL) == Pending((X5U,))
    assert not (tmp_path / "state").exists()
