"""An edge in which all is right is green; each deviation turns its own check, and what to do stands there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kamailio_app.doctor.checks import CHECKS
from kamailio_app.doctor.finding import State
from kamailio_app.lab.pki import Hierarchy, Issued, ServiceProvider
from kamailio_app.lifecycle.publication import Finding, Seen
from kamailio_app.runtime.fetcher import Download

from ..runtime.number_lists import do_not_originate
from .clinic import CRL_URL, DAY, LIST_URL, NOW, X5U, Clinic, hierarchy, not_good, pair

Deviation = Callable[[Clinic], object]
URL: Final = X5U.format(name="sp1234")
BAD, WARNING, UNSEEN = State.BAD, State.WARNING, State.UNSEEN


def test_all_is_green_where_all_is_right(clinic: Clinic) -> None:
    assert clinic.not_good() == {}, [each for each in clinic.findings() if each.state is not State.GOOD]


def use(clinic: Clinic, issued: Issued) -> None:
    """Another pair signs, and is published."""
    clinic.add("sp1234", issued)
    clinic.web.answers[URL] = published(issued)


def published(issued: Issued, age: str = "") -> Download:
    return Download(issued.chain_pem, "", age=age, date=formatdate(time.time()))


# --- Files ------------------------------------------------------------------------------------------------------


def unknown_option(clinic: Clinic) -> None:
    clinic.set("log", colour=True)


def unsafe_option(clinic: Clinic) -> None:
    clinic.set("x5u", relax_x5u_private_addresses=True)


def directory_for_everybody(clinic: Clinic) -> None:
    clinic.certs.chmod(0o777)


def key_for_everybody(clinic: Clinic) -> None:
    clinic.add("next", pair(begins=NOW + DAY))
    (clinic.certs / "next.key").chmod(0o644)


def certificate_that_anybody_may_write(clinic: Clinic) -> None:
    (clinic.certs / "sp1234.pem").chmod(0o666)


def file_that_is_not_there(clinic: Clinic) -> None:
    clinic.set("signing", do_not_originate_file="dno.lmdb")


def policy_that_is_none(clinic: Clinic) -> None:
    (clinic.directory / "policy.toml").write_text('[[rule]]\nname = "all"\nattest = "D"\n')
    clinic.set("signing", policy_file="policy.toml")


def policy_that_asks_for_a_list(clinic: Clinic) -> None:
    (clinic.directory / "policy.toml").write_text('[[rule]]\nname = "own"\ncustomer = "*"\ncaller_in = "own"\nattest = "A"\n')
    clinic.set("signing", policy_file="policy.toml")


def list_that_no_rule_asks(clinic: Clinic) -> None:
    (clinic.directory / "policy.toml").write_text('[[rule]]\nname = "all"\ncaller = "1*"\nattest = "A"\n')
    do_not_originate(clinic.directory / "never.mdb", "18005550100")
    clinic.set("signing", policy_file="policy.toml", do_not_originate_file="never.mdb")


def inventory_that_is_none(clinic: Clinic) -> None:
    (clinic.directory / "inventory.lmdb").write_bytes(b"x" * 8192)
    clinic.set("signing", inventory_file="inventory.lmdb")


def no_state_dir(clinic: Clinic) -> None:
    clinic.set("trust", trust_list_url="", crl_url="", sti_pa_ca_file="")
    clinic.set("cache", state_dir="")


def state_dir_in_a_file(clinic: Clinic) -> None:
    clinic.set("trust", trust_list_url="", crl_url="", sti_pa_ca_file="")
    clinic.set("cache", state_dir="trusted.pem/state")


def record_dir_in_a_file(clinic: Clinic) -> None:
    clinic.set("record", record_calls=True, record_dir="trusted.pem/calls")


def password_for_everybody(clinic: Clinic) -> None:
    (clinic.directory / "password").write_text("secret\n")
    (clinic.directory / "password").chmod(0o644)
    clinic.set("sti_pa", sti_pa_password_file="password")


# --- Pairs ------------------------------------------------------------------------------------------------------


def key_of_another_certificate(clinic: Clinic) -> None:
    clinic.add("other", pair())
    (clinic.certs / "other.key").write_bytes(pair(ends=NOW + 50 * DAY).key_pem)


def certificate_on_another_curve(clinic: Clinic) -> None:
    clinic.add("p384", hierarchy().service_provider(ServiceProvider(curve=ec.SECP384R1())))


def certificate_without_its_key(clinic: Clinic) -> None:
    (clinic.certs / "lonely.key").write_bytes(pair().key_pem)
    (clinic.certs / "lonely.key").chmod(0o600)


def nothing_to_sign_with(clinic: Clinic) -> None:
    for path in clinic.certs.iterdir():
        path.unlink()


def no_url(clinic: Clinic) -> None:
    clinic.set("signing", public_cert_url="")


def ends_in_a_week(clinic: Clinic) -> None:
    use(clinic, pair(ends=NOW + 7 * DAY, begins=NOW - 80 * DAY))


def ends_today(clinic: Clinic) -> None:
    use(clinic, pair(ends=NOW + DAY / 2))


def followed_too_late(clinic: Clinic) -> None:
    clinic.add("next", pair(begins=NOW + 70 * DAY, ends=NOW + 90 * DAY))


def of_another_provider(clinic: Clinic) -> None:
    use(clinic, pair("5678"))


def no_spc(clinic: Clinic) -> None:
    clinic.set("provider", spc="")


def one_key_for_two(clinic: Clinic) -> None:
    other = hierarchy().service_provider(ServiceProvider("5678", not_after=NOW + 60 * DAY), key=pair().key)
    clinic.add("sp5678", other)
    (clinic.directory / "policy.toml").write_text('[[rule]]\nname = "all"\nattest = "A"\nspc = "1234"\n')
    clinic.set("signing", policy_file="policy.toml")


def renewal_that_stopped(clinic: Clinic) -> None:
    waiting = clinic.directory / "provider/pairs"
    pair().write(waiting, "sp1234-2")
    for path in waiting.iterdir():
        os.utime(path, (NOW - 3 * DAY, NOW - 3 * DAY))


def out_of_profile(clinic: Clinic) -> None:
    spec = ServiceProvider(common_name="Lab Telephone", not_after=NOW + 60 * DAY)
    use(clinic, hierarchy().service_provider(spec))


# --- Trust ------------------------------------------------------------------------------------------------------


def no_roots(clinic: Clinic) -> None:
    clinic.set("trust", trust_list_url="", crl_url="", sti_pa_ca_file="")
    clinic.set("verification", ca_file="")


def roots_that_are_none(clinic: Clinic) -> None:
    (clinic.directory / "trusted.pem").write_text("# to come\n")


def tls_roots_that_are_none(clinic: Clinic) -> None:
    (clinic.directory / "tls.pem").write_text("garbage")
    clinic.set("x5u", x5u_tls_ca_file="tls.pem")


def kamailio_that_is_down(clinic: Clinic) -> None:
    clinic.server.gone = True


def list_not_there_yet(clinic: Clinic) -> None:
    (clinic.directory / "state/trust_list").unlink()


def list_that_has_ended(clinic: Clinic) -> None:
    clinic.lists(expires=NOW - 60)


def list_that_ends(clinic: Clinic) -> None:
    clinic.lists(expires=NOW + 2 * DAY)


def crl_that_is_stale(clinic: Clinic) -> None:
    clinic.lists(next_update=NOW - 60)


def no_crl(clinic: Clinic) -> None:
    clinic.set("trust", crl_url="")


def sti_pa_that_is_down(clinic: Clinic) -> None:
    del clinic.web.answers[LIST_URL]


def crl_of_another_sti_pa(clinic: Clinic) -> None:
    clinic.web.answers[CRL_URL] = Download(Hierarchy(NOW, "Other").crl(), "", date="")


def our_ca_off_the_list(clinic: Clinic) -> None:
    clinic.lists(roots=[Hierarchy(NOW, "Other").root.certificate])


def another_root(clinic: Clinic) -> None:
    other = Hierarchy(NOW, "Other").service_provider(ServiceProvider(not_after=NOW + 60 * DAY))
    use(clinic, other)


def our_certificate_revoked(clinic: Clinic) -> None:
    clinic.lists(revoked=[pair().certificate])


# --- Publication and clock --------------------------------------------------------------------------------------


def published_otherwise(clinic: Clinic) -> None:
    findings = (Finding("octets", "bad", "not the local chain", "AS-9"), Finding("cache", "good", "an hour", "SH-7"))
    clinic.seen[URL] = Seen(URL, False, findings)


def published_oddly(clinic: Clinic) -> None:
    clinic.seen[URL] = Seen(URL, True, (Finding("media type", "warning", "text/plain", "AS-10"),))


def not_synchronised(clinic: Clinic) -> None:
    clinic.tracking = "0,,0,0.0,0.0,0,0,0,0,0,0,0,0,Not synchronised"


def half_a_minute_off(clinic: Clinic) -> None:
    clinic.ntp.off = -31


def two_seconds_off(clinic: Clinic) -> None:
    clinic.ntp.off = 2


def ntp_that_does_not_know(clinic: Clinic) -> None:
    clinic.ntp.leap = 3


def web_a_minute_ahead(clinic: Clinic) -> None:
    clinic.web.answers[URL] = published(pair(), "60")


# --- Server -----------------------------------------------------------------------------------------------------


def server_of_long_ago(clinic: Clinic) -> None:
    clinic.server.answers["core.version"] = "kamailio 5.5.4 (x86_64/linux)"


def server_that_hangs(clinic: Clinic) -> None:
    clinic.server.answers["core.version"] = "kamailio 6.0.0 (x86_64/linux)"


def module_missing(clinic: Clinic) -> None:
    clinic.server.loaded.remove("htable")


def threads_mode(clinic: Clinic) -> None:
    (clinic.directory / "site.cfg").write_text('# one\nmodparam("app_python3", "threads_mode", 1)\n')
    (clinic.directory / "kamailio.cfg").write_text('import_file "site.cfg"\n')


def workers_that_wait(clinic: Clinic) -> None:
    clinic.server.answers["core.ppdefines"] = "EDGE_UDP_MTU\n"


def no_workers(clinic: Clinic) -> None:
    clinic.server.listed = {pid: name for pid, name in clinic.server.listed.items() if "receiver" not in name}


def no_keeper(clinic: Clinic) -> None:
    del clinic.server.listed[os.getpid()]


def no_program_that_fetches(clinic: Clinic) -> None:
    del clinic.server.listed[os.getpid()]
    clinic.server.listed[os.getppid()] = "RTIMER EXEC child=0 timer=stirshaken"


def table_missing(clinic: Clinic) -> None:
    answers = clinic.server.answers
    answers["htable.listTables"] = answers["htable.listTables"].replace("stirshaken_seen", "seen")


def server_without_a_list(clinic: Clinic) -> None:
    del clinic.server.answers["htable.get stirshaken trust_list"]


def server_that_is_refused_a_list(clinic: Clinic) -> None:
    text = "{\n\tvalue: age=never next=- failures=3 error=crl_untrusted\n}\n"
    clinic.server.answers["htable.get stirshaken crl"] = text


def server_that_does_not_sign(clinic: Clinic) -> None:
    clinic.server.epoch = int(time.time())
    entry = f"{{\n\tname: certificate_none:{clinic.server.epoch}\n\tvalue: 1\n}}\n{{\n\tname: key_shared:1\n\tvalue: 1\n}}"
    clinic.server.answers["htable.dump stirshaken"] = entry


def never_reloaded(clinic: Clinic) -> None:
    clinic.server.epoch = 0
    clinic.server.answers["core.uptime"] = "{\n\tuptime: 3600\n}\n"


def reloaded_with_another_number(clinic: Clinic) -> None:
    clinic.server.epoch = 7


def little_memory(clinic: Clinic) -> None:
    clinic.server.answers["core.shmmem"] = "{\n\ttotal: 134217728\n\tfree: 1000\n}\n"


# --- Transport --------------------------------------------------------------------------------------------------


def large_by_udp(clinic: Clinic) -> None:
    clinic.server.answers["core.ppdefines"] = "STIRSHAKEN_PARK\n"


def no_tcp_for_the_large(clinic: Clinic) -> None:
    clinic.server.answers["core.sockets_list"] = "{\n\tproto: udp\n}\n"


def fetched_otherwise(clinic: Clinic) -> None:
    clinic.web.answers[URL] = published(pair(ends=NOW + 50 * DAY))


SELF_CALLS: Final = {"self-call: sign and verify": BAD, "self-call: as published": BAD}
NEED_A_SERVER: Final = (
    *(f"server: {check.name}" for check in CHECKS if check.area == "server" and check.name != "version"),
    "transport: large requests",
)
NEED_ROOTS: Final = ("pairs: profile", "trust: our STI-CA", *SELF_CALLS)
NOTHING_SIGNS: Final = {
    "pairs: end and overlap": UNSEEN,
    "pairs: profile": UNSEEN,
    "trust: our STI-CA": UNSEEN,
    "trust: not revoked": UNSEEN,
    "publication: x5u": UNSEEN,
    "transport: large requests": UNSEEN,
    "self-call: sign and verify": UNSEEN,
    "self-call: as published": UNSEEN,
}

CASES: Final[dict[Deviation, dict[str, State]]] = {
    unknown_option: {"files: settings": BAD, "files: start": UNSEEN, **dict.fromkeys(SELF_CALLS, UNSEEN)},
    unsafe_option: {"files: relaxed options": WARNING},
    directory_for_everybody: {"files: certificate_dir": BAD},
    key_for_everybody: {"files: private keys": BAD, "pairs: key and certificate": BAD},
    certificate_that_anybody_may_write: {"files: chains": BAD},
    file_that_is_not_there: {"files: named files": BAD, "files: number lists": BAD},
    policy_that_is_none: {"files: start": BAD, "files: signing policy": BAD, **SELF_CALLS},
    policy_that_asks_for_a_list: {"files: signing policy": WARNING},
    list_that_no_rule_asks: {"files: signing policy": WARNING},
    inventory_that_is_none: {"files: number lists": BAD},
    no_state_dir: {"files: state_dir": WARNING},
    state_dir_in_a_file: {"files: state_dir": BAD},
    record_dir_in_a_file: {"files: record_dir": BAD},
    password_for_everybody: {"files: secrets": BAD},
    key_of_another_certificate: {"pairs: key and certificate": BAD},
    certificate_on_another_curve: {"pairs: key and certificate": BAD},
    certificate_without_its_key: {"pairs: key and certificate": BAD},
    nothing_to_sign_with: {"pairs: who signs now": BAD, **NOTHING_SIGNS},
    no_url: {"pairs: key and certificate": BAD, "pairs: who signs now": UNSEEN, **NOTHING_SIGNS},
    ends_in_a_week: {"pairs: end and overlap": WARNING},
    ends_today: {"pairs: end and overlap": BAD},
    followed_too_late: {"pairs: end and overlap": WARNING},
    of_another_provider: {"pairs: service provider code": BAD},
    no_spc: {"pairs: service provider code": UNSEEN},
    one_key_for_two: {"pairs: who signs now": BAD, "pairs: one key, one provider": BAD, **NOTHING_SIGNS},
    renewal_that_stopped: {"pairs: on their way": WARNING},
    out_of_profile: {"pairs: profile": WARNING},
    no_roots: {"trust: roots": WARNING, **dict.fromkeys(NEED_ROOTS, UNSEEN)},
    roots_that_are_none: {"files: start": BAD, "trust: roots": BAD, **SELF_CALLS},
    tls_roots_that_are_none: {"files: start": BAD, **SELF_CALLS},
    kamailio_that_is_down: {"server: version": BAD, **dict.fromkeys(NEED_A_SERVER, UNSEEN)},
    list_not_there_yet: {"trust: trust list in use": WARNING},
    list_that_has_ended: {"trust: trust list in use": BAD, "trust: lists now": BAD},
    list_that_ends: {"trust: trust list in use": WARNING, "trust: lists now": WARNING},
    crl_that_is_stale: {"trust: CRL in use": WARNING, "trust: lists now": BAD},
    no_crl: {"trust: CRL in use": WARNING},
    sti_pa_that_is_down: {"trust: lists now": BAD},
    crl_of_another_sti_pa: {"trust: lists now": BAD},
    our_ca_off_the_list: {"trust: our STI-CA": BAD},
    another_root: {"trust: our STI-CA": BAD, **SELF_CALLS},
    our_certificate_revoked: {"trust: not revoked": BAD, **SELF_CALLS},
    published_otherwise: {"publication: x5u": BAD},
    published_oddly: {"publication: x5u": WARNING},
    not_synchronised: {"clock: synchronised": BAD},
    half_a_minute_off: {"clock: NTP": BAD},
    two_seconds_off: {"clock: NTP": WARNING},
    ntp_that_does_not_know: {"clock: NTP": UNSEEN},
    web_a_minute_ahead: {"clock: HTTP Date": BAD},
    server_of_long_ago: {"server: version": BAD},
    server_that_hangs: {"server: version": BAD},
    module_missing: {"server: modules": BAD},
    threads_mode: {"server: threads_mode": BAD},
    workers_that_wait: {"server: parking": WARNING},
    no_workers: {"server: workers": WARNING},
    no_keeper: {"server: processes": BAD},
    no_program_that_fetches: {"server: processes": BAD},
    table_missing: {"server: shared tables": BAD},
    server_without_a_list: {"server: trust": WARNING},
    server_that_is_refused_a_list: {"server: trust": BAD},
    server_that_does_not_sign: {"server: what it said": BAD},
    never_reloaded: {"server: last reload": WARNING},
    reloaded_with_another_number: {"server: last reload": UNSEEN},
    little_memory: {"server: shared memory": WARNING},
    large_by_udp: {"transport: large requests": WARNING},
    no_tcp_for_the_large: {"transport: large requests": WARNING},
    fetched_otherwise: {"self-call: as published": BAD},
}


@pytest.mark.parametrize(("deviation", "expected"), [pytest.param(*case, id=case[0].__name__) for case in CASES.items()])
def test_deviation_turns_its_own_check_and_no_other(clinic: Clinic, deviation: Deviation, expected: dict[str, State]) -> None:
    deviation(clinic)
    found = clinic.findings()
    assert not_good(found) == expected
    assert all(each.fix and each.clause for each in found if each.state is not State.GOOD)


def test_every_other_check_is_turned_by_some_deviation() -> None:
    turned = {name for expected in CASES.values() for name, state in expected.items() if state is not UNSEEN}
    # What tm counts is shown, not judged; interpreters are started in test_python
    assert {f"{check.area}: {check.name}" for check in CHECKS} - turned == {
        "server: transactions",
        "python: packages",
        "python: readable",
    }


def test_list_without_end_is_a_list(clinic: Clinic) -> None:
    clinic.lists(expires=float(1 << 52))
    assert "until the end of time" in clinic.words("trust", "trust list in use")
    assert "until the end of time" in clinic.words("trust", "lists now")


def test_chain_that_kamailio_may_not_read_is_said(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    published = clinic.directory / "published"
    published.mkdir()
    (published / "sp1234.pem").write_bytes(pair().chain_pem)
    (clinic.certs / "roots.pem").write_bytes(hierarchy().root.pem)  # no key beside it: none of ours
    clinic.set("publication", publication_dir="published")
    assert clinic.words("files", "chains") == "good: 1 chain beside a key, 1 published -> "

    def refused(_who: object, path: Path, _wanted: int) -> str:
        return f"kamailio may not read {path}" if path.suffix == ".pem" else ""

    monkeypatch.setattr("kamailio_app.doctor.files.refusal", refused)
    own, other = clinic.certs / "sp1234.pem", published / "sp1234.pem"
    assert clinic.words("files", "chains").splitlines() == [
        f"bad: kamailio may not read {own} -> chgrp root {own} && chmod 640 {own}",
        f"warning: kamailio may not read {other} -> chgrp root {other} && chmod 644 {other}",
    ]


def test_file_that_goes_away_meanwhile_is_no_defect(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = clinic.certs / "gone.key"
    monkeypatch.setattr(Path, "glob", lambda directory, pattern: iter([gone] if pattern == "*.key" else []))
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    clinic.set("sti_pa", sti_pa_password_file="password")
    assert clinic.not_good("files") == {}


def test_file_that_nobody_lets_us_see_is_no_judgement(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> str:
        raise PermissionError(13, "Permission denied", "/etc/kamailio")

    monkeypatch.setattr("kamailio_app.doctor.files.refusal", refused)
    assert set(clinic.not_good("files").values()) == {UNSEEN}


def test_crl_that_comes_before_the_list_that_says_who_signs_it_is_read_again(clinic: Clinic) -> None:
    clinic.lists(bring_signer=False)
    (clinic.directory / "state/trust_list").unlink()
    (clinic.directory / "state/crl").unlink()
    assert clinic.words("trust", "lists now").count("good: ") == 2


# --- Where no server has run yet ----------------------------------------------------------------------------------------


@pytest.fixture
def fresh(clinic: Clinic) -> Clinic:
    """Its only roots are those of the STI-PA's list, and no server has kept that yet."""
    for name in ("trust_list", "crl"):
        (clinic.directory / "state" / name).unlink()
    clinic.set("verification", ca_file="")
    return clinic


def test_lists_that_were_just_fetched_are_those_that_are_looked_with(fresh: Clinic) -> None:
    found = {f"{each.area}: {each.check}": each for each in fresh.findings()}
    assert {name: each.state for name, each in found.items() if each.state is not State.GOOD} == {
        "trust: roots": WARNING,
        "trust: trust list in use": WARNING,
        "trust: CRL in use": WARNING,
    }
    assert "in the STI-PA's list as it is now" in found["trust: our STI-CA"].seen
    assert "shakenctl sti-pa ca-list" in found["trust: roots"].fix
    # Nothing was kept of them
    assert not any((fresh.directory / "state" / name).exists() for name in ("trust_list", "crl"))


def test_certificate_on_the_crl_that_was_just_fetched_is_bad(fresh: Clinic) -> None:
    fresh.lists(revoked=[pair().certificate])
    for name in ("trust_list", "crl"):
        (fresh.directory / "state" / name).unlink()
    assert fresh.not_good("trust")["trust: not revoked"] is BAD
    assert fresh.not_good("self-call") == SELF_CALLS


@pytest.mark.parametrize(
    ("options", "words", "fix"),
    [
        ({"offline": True}, "--offline fetches none", "look without --offline"),
        ({}, "it cannot be had now", "See trust: lists now"),
    ],
)
def test_roots_that_are_not_at_hand_are_no_fault_of_the_settings(
    fresh: Clinic, options: dict[str, bool], words: str, fix: str
) -> None:
    fresh.web.answers.clear()
    for area, check in (("pairs", "profile"), ("trust", "our STI-CA"), ("self-call", "sign and verify")):
        said = fresh.words(area, check, **options)
        assert said.startswith("not looked at: no trust anchors")
        assert words in said
        assert fix in said
