"""What the checklist sees on a host that is all right, and what it says of each thing that is not."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.credentials.trust_list import read_trust_list
from kamailio_app.lab.pki import Issued, ServiceProvider, expired
from kamailio_app.lifecycle import publication
from kamailio_app.lifecycle.checklist import Note, Proof, Seen, Standing, State, Verdict, stand
from kamailio_app.lifecycle.checklist_checks import looks, published
from kamailio_app.lifecycle.checklist_sight import Here, look_around, secret_trouble
from kamailio_app.lifecycle.checklist_steps import steps_of
from kamailio_app.lifecycle.keys import read_key
from kamailio_app.lifecycle.pairs import begin, keep_chain
from kamailio_app.lifecycle.rotation_memory import Memory
from kamailio_app.lifecycle.secret import secret
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.recording import Recording
from kamailio_app.runtime.settings import Settings, load
from kamailio_app.runtime.trust import Sources, Trust

from ..builders import DAY, NOW, evil, hierarchy, refused
from ..runtime.recorded import put, rules

NAME, SPC = "sp1234-20231114", "1234"
FIFTY_DAYS = 50 * DAY


@dataclass
class Host:
    """An edge of Example Telephone Company: right by default; a test changes one thing."""

    directory: Path
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)
    country: str = "US"

    def __post_init__(self) -> None:
        (self.directory / "certs").mkdir()
        (self.directory / "web").mkdir()
        for name in ("password", "mac"):
            (self.directory / name).write_text("hunter2\n")
            (self.directory / name).chmod(0o600)
        (self.directory / "roots.pem").write_bytes(hierarchy().root.pem)
        (self.directory / "pa.pem").write_bytes(hierarchy().policy_root.pem)
        self.sections = {
            "provider": {"provider_name": "Example Telephone Company", "spc": SPC, "provider_state_dir": "state"},
            "sti_pa": {"sti_pa_url": "https://pa.example.test", "sti_pa_user": "api", "sti_pa_password_file": "password"},
            "sti_ca": {"acme_directory": "https://ca.example.test/directory", "eab_key_file": "mac"},
            "publication": {"publication_dir": "web"},
            "signing": {"certificate_dir": "certs", "public_cert_url": "https://cr.example.test/{name}.pem"},
            "verification": {"ca_file": "roots.pem"},
            "record": {"record_calls": True, "record_dir": "calls"},
            "trust": {"trust_list_url": "https://pa.example.test/list", "sti_pa_ca_file": "pa.pem"},
            "cache": {"state_dir": "cache"},
        }

    def install(self, pair: Issued | None = None, name: str = NAME) -> None:
        chosen = pair or issued()
        chosen.write(self.directory / "certs", name)
        (self.directory / "web" / f"{name}.pem").write_bytes(chosen.chain_pem)

    def take_list(self, *roots: Any) -> None:
        """The STI-PA's list, as the server keeps it on disk."""
        text = hierarchy().trust_list(roots or None, bring_signer=True)
        listed = read_trust_list(text, b"", TrustAnchors([hierarchy().policy_root.certificate]), NOW)
        source = Sources.read(load(self.write()).trust).trust_list
        Trust(trust_list=listed.to_text(), list_source=source).to_disk(self.directory / "cache")

    def call(self, **fields: Any) -> None:
        with closing(Record()) as record:
            assert put(record, **fields)
            with closing(Recording(Ring(*record.fds), rules(self.directory / "calls"), lambda *_said: None)) as recorder:
                while recorder.turn():
                    pass

    def write(self) -> Path:
        lines = [
            line
            for section, options in self.sections.items()
            for line in (f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in options.items()))
        ]
        path = self.directory / "stirshaken.toml"
        path.write_text("\n".join(lines))
        return path

    def here(self) -> Here:
        return look_around(load(self.write()), self.country, self.notes, NOW, timer=self.directory / "timer")

    def standings(self) -> dict[str, Standing]:
        steps = steps_of(self.country)
        seen = looks(steps, self.notes, self.here())
        return {each.step.id: each for each in stand(steps, self.notes, seen, date(2023, 11, 14))}

    def states(self) -> dict[str, State]:
        return {name: each.state for name, each in self.standings().items()}

    def said(self, step: str) -> list[tuple[Verdict, str]]:
        return [(look.verdict, look.words) for look in self.standings()[step].seen]


def issued(spc: str = SPC, *, by: Any = None, ends: float = NOW + FIFTY_DAYS) -> Issued:
    found = (by or hierarchy()).service_provider(ServiceProvider(spc, not_after=ends))
    assert isinstance(found, Issued)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def signing(host: Host) -> Host:
    """All is done."""
    host.install()
    host.take_list()
    host.call()
    (host.directory / "timer").touch()
    return host


def test_host_without_a_certificate_contradicts_nothing(host: Host) -> None:
    standings = host.standings()
    assert [name for name, each in standings.items() if each.wrong or each.state is State.VERIFIED] == []
    assert host.here().troubles == ()


def test_host_that_signs_verifies_all_that_software_can_see(signing: Host) -> None:
    states = signing.states()
    verified = {name for name, state in states.items() if state is State.VERIFIED}
    assert verified == {"ocn", "sti-pa", "sti-ca", "token", "certificate", "install", "first-call", "renewal"}
    assert not any(each.wrong for each in signing.standings().values())
    assert signing.said("certificate") == [
        (Verdict.VERIFIED, f"{NAME} is 1234's, ends in 50 days, its root is in the STI-PA's list"),
    ]


# --- Codes and names ------------------------------------------------------------------------------------------------


def test_code_noted_and_code_of_the_settings_are_compared(host: Host) -> None:
    host.notes["ocn"] = Note(values={"ocn": "5678"})
    assert host.states()["ocn"] is State.CONTRADICTED
    assert host.said("ocn") == [(Verdict.CONTRADICTED, "5678 is noted, [provider] spc is 1234")]
    host.notes["ocn"] = Note(values={"ocn": "1234"})
    assert host.said("ocn") == [(Verdict.FITS, "1234 is noted and in [provider] spc")]


def test_code_that_is_noted_and_not_set_is_told_how_to_set(host: Host) -> None:
    host.notes["ocn"] = Note(values={"ocn": "5678"})
    host.sections["provider"]["spc"] = ""
    assert host.said("ocn") == [(Verdict.UNKNOWN, '[provider] spc is empty; write spc = "5678"')]


def test_code_of_another_countrys_form_is_wrong(host: Host) -> None:
    host.sections["provider"]["spc"] = "ABC123"
    assert host.states()["ocn"] is State.CONTRADICTED
    host.country = "FR"
    assert host.states()["spc"] is not State.CONTRADICTED


@pytest.mark.parametrize(
    ("noted", "verdict"),
    [
        ("Example Telephone Company", Verdict.FITS),
        ("Example Telephone Company Inc.", Verdict.CONTRADICTED),
        ("", Verdict.FITS),
    ],
)
def test_legal_name_noted_is_the_settings(host: Host, noted: str, verdict: Verdict) -> None:
    host.notes["entity"] = Note(values={"name": noted} if noted else {})
    assert [seen for seen, _words in host.said("entity")] == [verdict]


# --- Certificates ---------------------------------------------------------------------------------------------------


def test_certificate_of_another_provider_alone_is_wrong(signing: Host) -> None:
    signing.sections["provider"]["spc"] = "5678"
    standings = signing.standings()
    assert standings["certificate"].why == (f"no certificate is for [provider] spc 5678: {NAME} is 1234's",)
    assert standings["install"].state is not State.VERIFIED
    assert standings["first-call"].state is not State.VERIFIED
    assert standings["sti-pa"].state is not State.VERIFIED


def test_certificate_of_another_provider_beside_ours_is_no_mistake(signing: Host) -> None:
    signing.install(issued("5678"), "sp5678")
    signing.sections["signing"]["certificate"] = NAME
    assert signing.states()["certificate"] is State.VERIFIED


def test_pair_that_was_ordered_here_is_this_providers(host: Host) -> None:
    pend(host, "5678")
    assert host.standings()["certificate"].why == ("the TNAuthList of sp5678-20231114 is 5678, [provider] spc is 1234",)


def test_pair_that_waits_to_be_used_is_a_certificate(host: Host) -> None:
    pend(host, SPC)
    states = host.states()
    assert (states["certificate"], states["token"], states["install"]) == (State.VERIFIED, State.VERIFIED, State.BLOCKED)


def test_pair_without_its_certificate_is_waited_for(host: Host) -> None:
    begin(host.directory / "state", "sp1234-20231115")
    assert host.said("certificate") == [(Verdict.UNKNOWN, "sp1234-20231115 waits for its certificate")]
    assert host.states()["certificate"] is State.BLOCKED


def test_certificate_that_has_ended_is_wrong(host: Host) -> None:
    host.install(hierarchy().service_provider(expired(ServiceProvider(SPC), NOW)))
    standings = host.standings()
    assert standings["certificate"].why == (f"{NAME}: certificate_expired: 2023-11-13 22:13:20Z",)
    assert standings["install"].state is State.CONTRADICTED
    assert standings["sti-ca"].state is not State.VERIFIED


def test_certificate_that_has_ended_and_was_followed_is_no_mistake(host: Host) -> None:
    host.install(hierarchy().service_provider(expired(ServiceProvider(SPC), NOW)), "sp1234-old")
    host.install()
    assert host.states()["certificate"] is State.VERIFIED


def test_certificate_that_begins_later_is_waited_for(host: Host) -> None:
    host.install(hierarchy().service_provider(ServiceProvider(SPC, not_before=NOW + DAY)))
    assert host.said("certificate") == [(Verdict.UNKNOWN, f"{NAME} begins 2023-11-15 22:13:20Z")]
    assert host.states()["install"] is State.BLOCKED


def test_certificate_of_a_stranger_is_wrong(host: Host) -> None:
    host.install(issued(by=evil()))
    assert "credential_untrusted" in host.standings()["certificate"].why[0]
    assert host.states()["sti-pa"] is not State.VERIFIED


def test_certificate_whose_root_is_not_listed_is_wrong(host: Host) -> None:
    """Our own anchors know it, the STI-PA does not."""
    host.install()
    host.take_list(evil().root.certificate)
    standings = host.standings()
    assert standings["certificate"].why == (f"the root of {NAME} is not in the STI-PA's list",)
    assert standings["sti-ca"].state is State.CONTRADICTED
    assert standings["sti-pa"].state is not State.VERIFIED


def test_certificate_without_anchors_fits_and_is_not_verified(host: Host) -> None:
    host.install()
    host.sections["verification"]["ca_file"] = ""
    verdicts = host.said("certificate")
    assert verdicts == [(Verdict.FITS, f"{NAME} is 1234's; no roots here to check it with; --fetch asks the STI-PA")]
    (trouble,) = host.here().troubles
    assert trouble.startswith(f"no roots here to check {NAME} with, so they prove nothing yet: --fetch asks the STI-PA")


def test_pairs_that_cannot_be_used_are_said(host: Host) -> None:
    host.install()
    (host.directory / "certs" / f"{NAME}.key").chmod(0o644)
    assert host.here().troubles == (f"{NAME}: key_permissions: {NAME}.key has mode 644",)


def test_files_that_are_missing_are_troubles_and_no_errors(host: Host) -> None:
    host.sections["verification"]["ca_file"] = "nowhere.pem"
    host.sections["record"]["record_dir"] = "stirshaken.toml"
    assert [trouble.partition(": ")[0] for trouble in host.here().troubles] == [
        "option_invalid",
        str(host.directory / "stirshaken.toml"),
    ]


def test_damaged_roots_and_chains_are_troubles(host: Host) -> None:
    (host.directory / "roots.pem").write_text("no certificate")
    pend(host, SPC)
    (host.directory / "state/pairs/sp1234-20231114.pem").write_text("no chain")
    assert len(host.here().troubles) == 2


# --- Accounts, publication, use --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "option", "step"),
    [("sti_pa", "sti_pa_url", "sti-pa"), ("sti_pa", "sti_pa_user", "sti-pa"), ("sti_ca", "acme_directory", "sti-ca")],
)
def test_account_that_the_settings_do_not_name_is_said(host: Host, section: str, option: str, step: str) -> None:
    host.sections[section][option] = ""
    assert host.said(step) == [(Verdict.UNKNOWN, f"[{section}] {option} is not set")]


@pytest.mark.parametrize(("name", "step"), [("password", "sti-pa"), ("mac", "sti-ca")])
def test_secret_that_others_may_read_is_wrong_and_not_shown(host: Host, name: str, step: str) -> None:
    assert [verdict for verdict, _words in host.said(step)] == [Verdict.FITS]
    (host.directory / name).chmod(0o644)
    standing = host.standings()[step]
    assert standing.state is State.CONTRADICTED
    assert "is open to others (mode 644)" in standing.why[0]
    assert "hunter2" not in repr(standing)
    (host.directory / name).unlink()
    assert host.standings()[step].state is State.CONTRADICTED


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o650, 0o604, 0o444])
def test_secret_is_in_order_where_it_would_be_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(mode)
    if secret_trouble(path):
        with refused("secret_permissions"):
            secret(path, "NO_SUCH_VARIABLE", "password")
    else:
        assert secret(path, "NO_SUCH_VARIABLE", "password") == "hunter2"


def test_chain_that_signs_and_is_not_published_is_wrong(signing: Host) -> None:
    assert signing.said("publication")[0][0] is Verdict.FITS
    (signing.directory / "web" / f"{NAME}.pem").write_bytes(b"another")
    assert signing.standings()["publication"].why == (f"{NAME} signs, and publication_dir has not its chain",)
    signing.sections["publication"]["publication_dir"] = ""
    assert signing.said("publication") == [(Verdict.UNKNOWN, f"{NAME}: --fetch looks at https://cr.example.test/{NAME}.pem")]


def test_without_a_url_nothing_is_in_use_and_the_certificate_is_one_all_the_same(signing: Host) -> None:
    signing.sections["signing"]["public_cert_url"] = ""
    states = signing.states()
    assert (states["certificate"], states["publication"], states["install"]) == (State.VERIFIED, State.OPEN, State.BLOCKED)


@pytest.mark.parametrize(("ok", "verdict"), [(True, Verdict.VERIFIED), (False, Verdict.CONTRADICTED)])
def test_what_strangers_get_is_looked_at_on_request(
    signing: Host, monkeypatch: pytest.MonkeyPatch, ok: bool, verdict: Verdict
) -> None:
    asked = []

    def check(_settings: Settings, url: str, expected_chain: bytes | None, *, now: float) -> publication.Seen:
        asked.append((url, expected_chain, now))
        return publication.Seen(url, ok, (publication.Finding("status", "good" if ok else "bad", "404", "RFC 9110"),))

    monkeypatch.setattr(publication, "check", check)
    (seen,) = published(signing.here(), load(signing.write()))
    chain = (signing.directory / "certs" / f"{NAME}.pem").read_bytes()
    assert asked == [(f"https://cr.example.test/{NAME}.pem", chain, NOW)]
    assert seen.verdict is verdict
    assert ok or "status: 404" in seen.words


def test_roots_that_cannot_be_read_are_said_and_nothing_is_fetched(signing: Host) -> None:
    signing.sections["publication"]["publication_tls_ca_file"] = "nowhere.pem"
    (seen,) = published(signing.here(), load(signing.write()))
    assert seen.verdict is Verdict.UNKNOWN
    assert "tls_roots_unreadable" in seen.words


def test_chain_that_a_switch_has_seen_is_published(signing: Host) -> None:
    memory = Memory.read(signing.directory / "state", NOW)
    memory.of(NAME).seen = NOW - 60
    memory.save()
    assert signing.said("publication") == [(Verdict.VERIFIED, f"strangers get {NAME} since 2023-11-14 22:12:20Z")]


def test_pair_whose_chain_the_sti_ca_publishes_is_looked_at_there(host: Host) -> None:
    pend(host, SPC, "https://cr.ca.example.test/1.pem")
    assert [pair.x5u for pair in host.here().pairs] == ["https://cr.ca.example.test/1.pem"]


def test_first_call_is_looked_for_in_the_record(host: Host) -> None:
    assert host.said("first-call") == [(Verdict.UNKNOWN, "the record has no signed call yet")]
    host.call(result="unsigned", token="certificate_none", spc="")
    host.call(spc="5678")
    assert host.here().signed_call == ""
    host.call(time=1_796_126_460.0)
    host.call(time=1_796_126_520.0)
    assert host.said("first-call") == [(Verdict.VERIFIED, "the record has a signed call of 2026-12-01T12:01:00.000Z")]


def test_record_that_is_off_is_said(host: Host) -> None:
    host.sections["record"]["record_calls"] = False
    assert host.said("first-call") == [(Verdict.UNKNOWN, "[record] record_calls is off: no call is recorded")]


def test_timer_is_seen(host: Host) -> None:
    assert host.said("renewal")[0][0] is Verdict.UNKNOWN
    unit = host.directory / "shakenctl-renew.timer"
    (host.directory / "timer").symlink_to(unit)
    assert host.said("renewal")[0][0] is Verdict.UNKNOWN  # a link to nothing starts nothing
    unit.touch()
    assert host.said("renewal")[0][0] is Verdict.VERIFIED


# --- SPC tokens -----------------------------------------------------------------------------------------------------


def token(host: Host, text: str) -> Path:
    path = host.directory / "spc-token"
    path.write_text(text)
    host.notes["token"] = Note(proofs=(Proof(str(path), "", "2023-11-14"),))
    return path


def token_looks(host: Host) -> list[Seen]:
    """Without the look at the proof's digest."""
    return list(host.standings()["token"].seen)[:1]


def test_token_is_compared_with_the_code(host: Host) -> None:
    text = spc_token(SPC, NOW + 600)
    path = token(host, text)
    (look,) = token_looks(host)
    assert look[:2] == (Verdict.FITS, f"{path} is for 1234, until 2023-11-14 22:23:20Z; not verified")
    token(host, spc_token("5678", NOW + 600))
    (look,) = token_looks(host)
    assert look[:2] == (Verdict.CONTRADICTED, f"{path} is for 5678, [provider] spc is 1234")
    token(host, spc_token(SPC, NOW))
    (look,) = token_looks(host)
    assert look[:2] == (Verdict.UNKNOWN, f"{path} ended 2023-11-14 22:13:20Z")
    assert text not in repr(host.standings())


@pytest.mark.parametrize("text", ["", "no token", "a.b.c", "é" * 1000])
def test_token_that_is_none_is_said(host: Host, text: str) -> None:
    token(host, text)
    (look,) = token_looks(host)
    assert look.verdict is Verdict.UNKNOWN
    assert "spc_token_malformed" in look.words


def test_token_that_is_gone_is_said(host: Host) -> None:
    token(host, "x").unlink()
    assert "No such file" in token_looks(host)[0].words


def spc_token(spc: str, expires: int) -> str:
    return hierarchy().spc_token(TNAuthList((spc,)), f"SHA256 {':'.join(['AB'] * 32)}", expires=expires)


def pend(host: Host, spc: str, x5u: str = "") -> None:
    """A pair that was ordered here and issued."""
    state_dir, name = host.directory / "state", f"sp{spc}-20231114"
    key = read_key(begin(state_dir, name).key_file)
    keep_chain(state_dir, name, hierarchy().service_provider(ServiceProvider(spc), key=key).chain_pem, x5u)
