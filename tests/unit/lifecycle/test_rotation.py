"""The staged switch: what is done when, what is refused, and that a crash between any two steps costs nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError, failure
from kamailio_app.lab.pki import Issued, ServiceProvider
from kamailio_app.lifecycle import access, pairs, rotation
from kamailio_app.lifecycle.access import User
from kamailio_app.lifecycle.publication import Finding, Seen
from kamailio_app.lifecycle.rotation import Rotation, Step, advance
from kamailio_app.lifecycle.rotation_memory import Memory, Times
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.in_use import InUse, mark
from kamailio_app.runtime.keystore import load_signers
from kamailio_app.runtime.settings import Settings
from kamailio_app.sti_as import Signer

from ..builders import DAY, NOW, hierarchy

URL = "https://cr.example.net/{name}.pem"
SWITCH_AFTER, KEEP = 300, 24 * 3600
GOOD = Seen("", True, ())
BAD = Seen("", False, (Finding("octets", "bad", "another certificate", "RFC 8224 7.3"),))


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Server:
    """In the place of a running Kamailio: it has what was in certificate_dir when it was told last, if it could read it."""

    office: Office
    reloads: int = 0
    down: bool = False
    asleep: bool = False
    refuses: bool = False
    cannot_read: set[str] = field(default_factory=set)
    used: InUse = field(default_factory=lambda: InUse(0, {}))

    @property
    def has(self) -> set[str]:
        return set(self.used.pairs)

    def processes(self) -> dict[int, str]:
        self._answer()
        return {}

    def in_use(self) -> InUse:
        self._answer()
        return self.used

    def take_over(self) -> InUse | None:
        self._answer()
        return None if self.reload() is None else self.used

    def reload(self) -> int | None:
        self.reloads += 1
        if self.asleep:
            return None
        pairs = self.used.pairs
        if not self.refuses:
            pairs = {name: mark(signer) for name, signer in self.office.signers().items() if name not in self.cannot_read}
        self.used = InUse(self.reloads, pairs)
        return self.reloads

    def _answer(self) -> None:
        if self.down:
            raise failure("server_unreachable", "nobody there")


class Office:
    """Settings, directories and a server; `now` is the time."""

    def __init__(self, directory: Path, *, publication_dir: str = "published", more: str = "") -> None:
        self.directory = directory
        for name in ("certs", "published", "state/pairs"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.now = float(NOW)
        self.server = Server(self)
        self.looks: list[str] = []
        self.seen = GOOD
        self.configure(publication_dir, more)

    def configure(self, publication_dir: str = "published", more: str = "", signing: str = "") -> None:
        (self.directory / "stirshaken.toml").write_text(
            f'[signing]\ncertificate_dir = "certs"\npublic_cert_url = "{URL}"\n{signing}\n'
            f'[provider]\nprovider_state_dir = "state"\n'
            f'[publication]\npublication_dir = "{publication_dir}"\nswitch_after = {SWITCH_AFTER}\n{more}'
        )

    @property
    def settings(self) -> Settings:
        return settings_file.load(self.directory / "stirshaken.toml")

    def wait(self, name: str, *, begins: float = NOW - 3600, ends: float = NOW + 30 * DAY, spc: str = "1234") -> Issued:
        """A pair that was issued."""
        issued = hierarchy().service_provider(ServiceProvider(spc, not_before=begins, not_after=ends))
        issued.write(self.directory / "state/pairs", name)
        return issued

    def by_hand(self, name: str, **times: Any) -> None:
        """A pair that somebody installed himself."""
        spec = ServiceProvider(**{"not_before": NOW - 20 * DAY, "not_after": NOW + 10 * DAY, **times})
        hierarchy().service_provider(spec).write(self.directory / "certs", name)
        self.server.reload()

    def _look(self, url: str, chain: bytes) -> Seen:
        self.looks.append(url)
        ours = self.settings.provider.publication.directory is not None
        return self.seen if not ours or (self.directory / "published" / url.rpartition("/")[2]).exists() else BAD

    def rotation(self) -> Rotation:
        return Rotation(self.settings, self.now, self.server, self._look)  # type: ignore[arg-type]

    def advance(self, seconds: float = 0, names: tuple[str, ...] = ()) -> list[Step]:
        self.now += seconds
        return self.rotation().advance(names)

    def forward(self, name: str, **options: bool) -> list[Step]:
        return self.rotation().forward(pairs.find(self.directory / "state", name), **options)

    def did(self, seconds: float = 0) -> list[tuple[str, str, str]]:
        return [(step.pair, step.action, step.state) for step in self.advance(seconds)]

    def signers(self) -> dict[str, Signer]:
        return dict(load_signers(self.directory / "certs", URL, self.now).signers)

    @property
    def signs(self) -> str:
        """Which pair signs, by what lies in certificate_dir."""
        found = Choices(self.signers()).look(self.now)
        return found.name if isinstance(found, Signer) else found[0]

    def files(self, directory: str) -> list[str]:
        return sorted(path.name for path in (self.directory / directory).iterdir() if path.is_file())

    def times(self, name: str) -> Times:
        return Memory.read(self.directory / "state", self.now).of(name)

    def memory_of(self, name: str, **times: float) -> None:
        """What was remembered is this instead."""
        memory = Memory.read(self.directory / "state", self.now)
        for key, value in times.items():
            setattr(memory.of(name), key, value)
        memory.save()

    def stages(self) -> dict[str, str]:
        return {row.name: row.stage for row in self.rotation().standings()}


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel has written is there for every process, also without a disk; a crash here is not one of the machine."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


# --- Forward ----------------------------------------------------------------------------------------------------


def test_first_pair_is_published_seen_waited_for_and_installed(office: Office) -> None:
    issued = office.wait("one")
    assert office.stages() == {"one": "issued"}
    assert office.did() == [("one", "publish", "done"), ("one", "look", "done"), ("one", "switch", "waits")]
    assert (office.directory / "published/one.pem").read_bytes() == issued.chain_pem
    assert (office.files("certs"), office.server.reloads) == ([], 0)
    assert office.stages() == {"one": "published"}
    assert office.did(SWITCH_AFTER - 1) == [("one", "look", "done"), ("one", "switch", "waits")]
    assert office.did(1) == [("one", "look", "done"), ("one", "switch", "done"), ("one", "reload", "done")]
    assert office.files("certs") == ["one.key", "one.pem"]
    assert (office.signs, office.server.has) == ("one", {"one"})
    assert office.stages() == {"one": "signs"}
    assert office.looks == ["https://cr.example.net/one.pem"] * 3
    assert office.did(10) == []
    assert office.server.reloads == 1


def test_what_is_next_says_when(office: Office) -> None:
    office.wait("one")
    *_, step = office.advance()
    assert (step.action, step.when) == ("switch", NOW + SWITCH_AFTER)
    (row,) = office.rotation().standings()
    assert (row.next and row.next.action, row.next and row.next.when) == ("switch", NOW + SWITCH_AFTER)


def test_hurry_does_not_wait_but_looks(office: Office) -> None:
    office.wait("one")
    (pair,) = pairs.pending(office.directory / "state")
    assert [step.action for step in office.rotation().forward(pair, hurry=True)] == ["publish", "look", "switch", "reload"]
    office.wait("two", begins=NOW - 60)
    office.seen = BAD
    (pair,) = [pair for pair in pairs.pending(office.directory / "state") if pair.name == "two"]
    *_, last = office.rotation().forward(pair, hurry=True)
    assert (last.action, last.state, "another certificate" in last.words) == ("look", "failed", True)
    assert office.files("certs") == ["one.key", "one.pem"]


def test_only_publish_never_switches(office: Office) -> None:
    office.wait("one")
    (pair,) = pairs.pending(office.directory / "state")
    office.rotation().forward(pair, only_publish=True)
    office.now += 10 * DAY
    steps = office.rotation().forward(pair, only_publish=True)
    assert [(step.action, step.state) for step in steps] == [("look", "done"), ("switch", "waits")]
    assert office.files("certs") == []


def test_publication_that_does_not_check_refuses_the_switch_and_the_wait_begins_anew(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.seen = BAD
    assert office.did(SWITCH_AFTER) == [("one", "look", "failed")]
    assert office.files("certs") == []
    office.seen = GOOD
    assert office.did(10)[-1] == ("one", "switch", "waits")
    assert office.did(SWITCH_AFTER)[-1] == ("one", "reload", "done")


def test_switch_leaves_the_former_pair_until_it_is_stale(office: Office) -> None:
    office.by_hand("zero")
    office.wait("one", ends=NOW + 8 * DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    assert (office.signs, set(office.signers())) == ("one", {"zero", "one"})
    assert office.stages() == {"zero": "replaced", "one": "signs"}

    office.now = NOW + 5 * DAY
    office.wait("two", begins=office.now - 60)
    office.advance()
    office.advance(SWITCH_AFTER)
    replaced = office.now
    assert office.signs == "two"
    waits = {step.pair: step.when for step in office.advance() if step.action == "retire"}
    assert waits["one"] == replaced + KEEP
    assert ("one", "retire", "done") not in office.did(KEEP - 1)
    assert "one.pem" in office.files("published")
    assert ("one", "retire", "done") in office.did(1)
    assert office.files("published") == ["two.pem"]
    assert office.files("state/retired") == ["one.pem"]
    # Whoever installed a pair himself takes it away himself
    assert set(office.signers()) == office.server.has == {"zero", "two"}
    assert [path for path in office.files("state/pairs") if path.startswith("one")] == []
    assert office.signs == "two"


def test_pair_that_is_not_ours_is_retired_if_it_is_named(office: Office) -> None:
    office.by_hand("zero")
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    assert ("zero", "retire", "waits") in office.did(KEEP)
    assert office.rotation().retire(("zero",))[-1].state == "done"
    assert set(office.signers()) == {"one"}


def test_pair_of_tomorrow_is_installed_today_and_the_former_signs_until_then(office: Office) -> None:
    office.by_hand("zero")
    office.wait("one", begins=NOW + DAY)
    office.advance()
    steps = office.advance(SWITCH_AFTER)
    assert "it signs from" in next(step.words for step in steps if step.action == "switch")
    assert office.signs == "zero"
    assert office.stages() == {"zero": "signs", "one": "installed"}
    office.now = NOW + DAY + 1
    assert office.signs == "one"


def test_certificate_that_ended_while_it_waited_is_not_installed(office: Office) -> None:
    office.wait("one", ends=NOW + 100)
    office.advance()
    assert office.did(SWITCH_AFTER) == [("one", "publish", "failed")]
    assert office.stages() == {"one": "ended"}


def test_key_of_another_certificate_is_refused(office: Office) -> None:
    office.wait("one")
    (office.directory / "state/pairs/one.key").write_bytes(hierarchy().service_provider().key_pem)
    (step,) = office.advance()
    assert (step.state, step.words.partition(":")[0]) == ("failed", "key_mismatch")
    assert office.files("published") == []


def test_another_chain_of_that_name_stops_it(office: Office) -> None:
    office.wait("one")
    (office.directory / "published/one.pem").write_bytes(b"somebody else's")
    (step,) = office.advance()
    assert (step.state, step.words.partition(":")[0]) == ("failed", "publication_differs")


def test_pair_older_than_the_one_that_signs_is_refused(office: Office) -> None:
    office.by_hand("zero", not_before=NOW - 60)
    office.wait("one", begins=NOW - 3600)
    office.advance()
    (step,) = office.advance(SWITCH_AFTER)
    assert (step.action, step.state, "zero is younger" in step.words) == ("switch", "waits", True)
    assert "shakenctl acme forget one" in step.words
    assert office.stages() == {"one": "superseded", "zero": "signs"}
    *_, step = office.forward("one", hurry=True)
    assert (step.action, step.state, step.words.partition(":")[0]) == ("switch", "failed", "rotation_refused")
    assert set(office.signers()) == {"zero"}


def test_another_provider_whose_pair_would_leave_calls_unsigned_is_refused(office: Office) -> None:
    # decision 54: of two providers and no policy none signs
    office.by_hand("zero")
    office.wait("other", spc="5678")
    office.advance()
    *_, step = office.advance(SWITCH_AFTER)
    assert (step.state, "certificate_ambiguous" in step.words) == ("failed", True)
    assert office.signs == "zero"


def test_with_a_policy_that_names_both_each_goes_its_way(office: Office) -> None:
    office.by_hand("zero")
    policy = '[[rule]]\nname = "a"\ncaller = "1215*"\nspc = "1234"\n[[rule]]\nname = "b"\ncaller = "1303*"\nspc = "5678"\n'
    (office.directory / "policy.toml").write_text(policy)
    office.configure(signing='policy_file = "policy.toml"\ncertificate = "zero"')
    office.wait("other", spc="5678")
    office.advance()
    assert office.did(SWITCH_AFTER)[-1] == ("other", "reload", "done")
    assert set(office.signers()) == {"zero", "other"}


def test_pair_that_the_settings_do_not_let_sign_is_installed_and_that_is_said(office: Office) -> None:
    office.by_hand("zero")
    office.configure(signing='certificate = "zero"')
    office.wait("one")
    office.advance()
    (words,) = [step.words for step in office.advance(SWITCH_AFTER) if step.action == "switch"]
    assert "`certificate`" in words


def test_chain_that_the_sti_ca_publishes_is_only_looked_at(tmp_path: Path) -> None:
    office = Office(tmp_path, publication_dir="")
    office.wait("one")
    pairs.remember(office.directory / "state", "one", pairs.Record(state="issued", x5u="https://cr.example.net/ca-4711.pem"))
    assert office.did() == [("one", "look", "done"), ("one", "switch", "waits")]
    office.advance(SWITCH_AFTER)
    # Under the name that the STI-CA's URL has, or verifiers would not find it
    assert office.files("certs") == ["ca-4711.key", "ca-4711.pem"]
    assert office.looks == ["https://cr.example.net/ca-4711.pem"] * 2
    assert office.stages() == {"ca-4711": "signs"}
    assert office.files("published") == []


def test_url_of_another_form_than_public_cert_url_is_said(tmp_path: Path) -> None:
    office = Office(tmp_path, publication_dir="")
    office.wait("one")
    pairs.remember(office.directory / "state", "one", pairs.Record(state="issued", x5u="https://ca.example.com/x/4711"))
    (step,) = office.advance()
    assert (step.state, step.words.partition(":")[0]) == ("failed", "publication_unset")
    assert "https://ca.example.com/x/4711" in step.words


def test_server_that_is_down_is_told_later(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.server.down = True
    steps = office.advance(SWITCH_AFTER)
    assert [(step.action, step.state) for step in steps[-2:]] == [("switch", "done"), ("reload", "waits")]
    assert "kamcmd pv.shvSet stirshaken int" in steps[-1].words
    assert office.stages() == {"one": "installed"}
    # A timer's owner hears of it from the second run on
    assert office.did(60) == [("one", "reload", "failed")]
    assert office.did(60) == [("one", "reload", "failed")]
    office.server.down = False
    assert office.did(60) == [("one", "reload", "done")]
    assert office.did(60) == []


def test_what_somebody_took_out_is_not_put_back(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    for name in office.files("certs"):
        (office.directory / "certs" / name).unlink()
    assert office.did(60) == []
    assert office.stages() == {"one": "withdrawn"}


def test_one_pair_that_fails_holds_up_no_other(office: Office) -> None:
    office.wait("bad", begins=NOW - 7200)
    (office.directory / "state/pairs/bad.pem").write_bytes(b"no chain")
    office.wait("good")
    assert [step.state for step in office.advance() if step.pair == "bad"] == ["failed"]
    assert office.did(SWITCH_AFTER)[-1] == ("good", "reload", "done")


def test_requested_pair_waits_for_its_certificate(office: Office) -> None:
    office.wait("one")
    (office.directory / "state/pairs/one.pem").unlink()
    assert office.did() == []
    assert office.stages() == {"one": "requested"}


# --- Away -------------------------------------------------------------------------------------------------------


@pytest.fixture
def switched(office: Office) -> Office:
    """one was ours, two signs now."""
    office.wait("one", ends=NOW + 20 * DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.wait("two", begins=NOW - 60)
    office.advance(10)
    office.advance(SWITCH_AFTER)
    assert (office.signs, set(office.signers())) == ("two", {"one", "two"})
    return office


def test_youngest_pair_is_never_taken_away_not_even_when_it_has_ended(office: Office) -> None:
    office.wait("one", ends=NOW + DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.now = NOW + 100 * DAY
    assert office.rotation().retire(("one",)) == []
    assert office.files("certs") == ["one.key", "one.pem"]


def test_ended_pair_that_keeps_another_provider_from_signing_stays(office: Office) -> None:
    office.by_hand("zero", spc="5678", not_before=NOW - 40 * DAY, not_after=NOW - 20 * DAY)
    office.by_hand("other", spc="5678", not_before=NOW - 41 * DAY, not_after=NOW - 21 * DAY)
    office.by_hand("mine")
    assert office.signs == "certificate_ambiguous"
    office.rotation().retire(("zero", "other", "mine"))
    assert office.signs == "certificate_ambiguous"


def test_certificate_that_ended_counts_from_its_end(switched: Office) -> None:
    # The former one is replaced before it ends
    assert switched.times("one").replaced == switched.now
    switched.now += KEEP
    steps = switched.advance()
    assert [(step.pair, step.action, step.state) for step in steps] == [("one", "reload", "done"), ("one", "retire", "done")]


def test_chain_stays_published_until_the_server_was_told(switched: Office) -> None:
    switched.server.down = True
    assert ("one", "retire", "waits") in switched.did(KEEP)
    assert switched.files("certs") == ["two.key", "two.pem"]
    assert "one.pem" in switched.files("published")
    assert ("one", "retire", "waits") in switched.did(60)
    switched.server.down = False
    assert ("one", "retire", "done") in switched.did(60)
    assert switched.files("published") == ["two.pem"]


def test_chain_of_a_certificate_that_ended_needs_no_server(switched: Office) -> None:
    switched.server.down = True
    switched.now = NOW + 21 * DAY
    assert ("one", "retire", "done") in switched.did()
    assert switched.files("published") == ["two.pem"]


def test_pair_replaced_by_one_that_the_server_does_not_know_is_not_replaced(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    office.server.down = True
    office.wait("two", begins=NOW - 60)
    office.advance(10)
    office.advance(SWITCH_AFTER)
    assert office.signs == "two"
    assert office.did(10 * KEEP) == [("two", "reload", "failed")]
    assert set(office.signers()) == {"one", "two"}


def test_replacement_that_goes_away_gives_the_former_its_place_back(switched: Office) -> None:
    switched.now += KEEP - 10
    for name in ("two.key", "two.pem"):
        (switched.directory / "certs" / name).unlink()
    assert switched.did(20) == []
    assert (switched.signs, switched.files("certs")) == ("one", ["one.key", "one.pem"])


# --- What Kamailio says -----------------------------------------------------------------------------------------


def test_pair_counts_as_taken_over_when_kamailio_says_so(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.server.asleep = True
    *_, step = office.advance(SWITCH_AFTER)
    assert (step.action, step.state) == ("reload", "waits")
    assert "has not taken it over yet" in step.words
    assert office.times("one").reloaded == 0
    assert office.stages() == {"one": "installed"}
    office.server.asleep = False
    assert office.did(60) == [("one", "reload", "done")]
    # It has looked since: nothing has to be said again
    office.memory_of("one", reloaded=0.0)
    before = office.server.reloads
    assert office.did(60) == [("one", "reload", "done")]
    assert office.server.reloads == before


def test_reload_that_kamailio_refuses_is_a_failure_and_the_former_pair_stays(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    office.wait("two", begins=NOW - 60)
    office.advance(10)
    office.server.refuses = True
    *_, step = [step for step in office.advance(SWITCH_AFTER) if step.action == "reload"]
    assert (step.state, "does not use two" in step.words) == ("failed", True)
    assert "refused" in step.words
    assert [step[1:] for step in office.did(10 * KEEP)] == [("reload", "failed")]
    assert office.rotation().retire(("one",)) == []
    assert (office.files("certs"), office.server.has) == (["one.key", "one.pem", "two.key", "two.pem"], {"one"})
    office.server.refuses = False
    assert ("two", "reload", "done") in office.did(60)
    assert office.server.has == {"one", "two"}


def test_pair_of_the_same_name_and_another_certificate_is_not_the_one(office: Office) -> None:
    office.wait("one")
    office.server.used = InUse(1, {"one": "0" * 16})
    office.advance()
    office.server.refuses = True
    *_, step = office.advance(SWITCH_AFTER)
    assert (step.state, "goes on with one" in step.words) == ("failed", True)


def test_former_pair_stays_while_kamailio_does_not_use_the_one_that_somebody_installed(office: Office) -> None:
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    office.server.cannot_read.add("zero")
    office.by_hand("zero", not_before=NOW - 60)
    assert office.signs == "zero"
    office.advance()
    *_, step = office.advance(KEEP)
    assert (step.action, step.state, "does not use zero yet" in step.words) == ("retire", "waits", True)
    assert "one.key" in office.files("certs")
    # Nor if it has another certificate of that name
    office.server.used = InUse(1, {**office.server.used.pairs, "zero": "0" * 16})
    assert office.did() == [("one", "retire", "waits")]
    office.server.cannot_read.clear()
    office.server.reload()
    assert office.did(60)[-1] == ("one", "retire", "done")


@pytest.mark.parametrize("said", [InUse(), InUse(1, {})])
def test_former_pair_stays_while_kamailio_says_nothing_and_goes_if_it_is_not_in_use(office: Office, said: InUse) -> None:
    office.by_hand("zero")
    office.wait("one")
    office.advance()
    office.advance(SWITCH_AFTER)
    office.server.used, office.server.refuses = said, True
    office.now += KEEP
    steps = office.rotation().retire(("zero",))
    assert [(step.action, step.state) for step in steps] == (
        [("retire", "waits")] if said.epoch is None else [("reload", "done"), ("retire", "done")]
    )


def test_pair_that_is_gone_stays_published_while_kamailio_says_nothing(switched: Office) -> None:
    switched.server.down = True
    switched.did(KEEP)
    switched.server.down, switched.server.asleep = False, True
    switched.server.used = InUse()
    assert switched.did(60) == [("one", "reload", "failed"), ("one", "retire", "waits")]
    assert "one.pem" in switched.files("published")


def test_without_kamailio_what_signs_by_the_files_stays(office: Office) -> None:
    office.server.down = True
    office.by_hand("zero")
    office.wait("one", begins=NOW + DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    for name in ("zero", "one"):
        assert office.rotation().retire((name,)) == []
    office.now = NOW + DAY + KEEP + 3600
    # It was never seen to use the new one
    office.advance()
    office.now += KEEP
    assert office.rotation().retire(("zero",)) == []
    assert set(office.signers()) == {"zero", "one"}


# --- Who reads the files ----------------------------------------------------------------------------------------


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """Kamailio runs as user and group 4711. Others may enter the directories above, as they may not pytest's own."""
    monkeypatch.setattr(access, "runs_as", lambda _pids: User("somebody", 4711, frozenset({4711}), 4711))
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        office = Office(Path(made))
        office.wait("one")
        office.advance()
        yield office


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_key_is_of_kamailios_group_where_the_directory_is_not(somebody: Office) -> None:
    assert ("one", "reload", "done") in somebody.did(SWITCH_AFTER)
    found = {path.name: path.stat() for path in (somebody.directory / "certs").iterdir()}
    assert {each.st_gid for each in found.values()} == {4711}
    assert found["one.key"].st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_key_is_of_the_group_of_the_directory_if_kamailio_is_in_it(somebody: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "runs_as", lambda _pids: User("somebody", 4711, frozenset({4711, 4712}), 4711))
    os.chown(somebody.directory / "certs", -1, 4712)
    somebody.advance(SWITCH_AFTER)
    assert (somebody.directory / "certs/one.key").stat().st_gid == 4712


def test_switch_to_a_directory_that_kamailio_may_not_enter_is_refused(somebody: Office) -> None:
    (somebody.directory / "certs").chmod(0o700)
    *_, step = somebody.advance(SWITCH_AFTER)
    assert (step.action, step.state, step.words.partition(":")[0]) == ("switch", "failed", "rotation_refused")
    assert "somebody may not read" in step.words
    assert somebody.files("certs") == []


def test_switch_to_a_key_that_kamailio_could_not_read_is_refused(somebody: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4713)
    *_, step = somebody.advance(SWITCH_AFTER)
    assert (step.state, "chgrp somebody" in step.words) == ("failed", True)
    assert somebody.files("certs") == []


def test_directory_that_is_not_there_is_said(somebody: Office) -> None:
    (somebody.directory / "certs").rmdir()
    *_, step = somebody.advance(SWITCH_AFTER)
    assert (step.action, step.state, step.words.partition(":")[0]) == ("switch", "failed", "file_unreadable")


# --- What a wrong clock, a name that comes again, and a lost chain cost -----------------------------------------


def test_clock_that_was_wrong_for_a_moment_takes_nothing_away(office: Office) -> None:
    office.wait("one", ends=NOW + 10 * DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.wait("two", begins=NOW + 5 * DAY, ends=NOW + 40 * DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.now += 3650 * DAY
    for seconds in (0, 900, KEEP - 901):
        assert ("one", "retire", "waits") in office.did(seconds)
    office.now -= 3650 * DAY
    assert office.did() == []
    assert (office.signs, office.times("one").ended) == ("one", 0)
    assert set(office.signers()) == {"one", "two"}
    office.memory_of("one", ended=office.now - 1)
    office.advance()
    assert office.times("one").ended == 0
    # Since when it is seen to have ended
    office.now = NOW + 10 * DAY + 1
    (step,) = [step for step in office.advance() if step.pair == "one"]
    assert step.when == office.now + KEEP


def test_certificate_whose_end_nobody_saw_stays_for_as_long_after_it_is_seen(office: Office) -> None:
    office.wait("one", ends=NOW + DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.by_hand("zero", not_before=NOW - 60, not_after=NOW + DAY)
    office.now = NOW + 30 * DAY
    (step,) = [step for step in office.advance() if step.pair == "one"]
    assert (step.action, step.state, step.when) == ("retire", "waits", office.now + KEEP)
    assert ("one", "retire", "done") in office.did(KEEP)


def test_pair_of_that_name_that_waits_for_its_certificate_is_none_of_it(office: Office) -> None:
    office.by_hand("sp1234", not_after=NOW + DAY)
    office.by_hand("newer", not_before=NOW - DAY)
    pairs.begin(office.directory / "state", "sp1234")
    office.advance()
    office.advance(KEEP)
    assert office.rotation().retire(("sp1234",))[-1].state == "done"
    assert office.files("state/pairs") == ["sp1234.key"]
    assert set(office.signers()) == {"newer"}


def test_pair_of_that_name_with_another_chain_stays(office: Office) -> None:
    office.by_hand("sp1234", not_after=NOW + DAY)
    office.by_hand("newer", not_before=NOW - DAY)
    office.wait("sp1234")
    office.configure("")
    office.advance()
    office.now += KEEP
    assert office.rotation().retire(("sp1234",))[-1].state == "done"
    assert {"sp1234.key", "sp1234.pem"} <= set(office.files("state/pairs"))


def test_chain_is_kept_before_it_goes_and_needs_kamailio_though_it_is_published_by_others(tmp_path: Path) -> None:
    office = Office(tmp_path, publication_dir="")
    office.wait("one", ends=NOW + 20 * DAY)
    chain = (office.directory / "state/pairs/one.pem").read_bytes()
    office.advance()
    office.advance(SWITCH_AFTER)
    office.wait("two", begins=NOW - 60)
    office.advance(10)
    office.advance(SWITCH_AFTER)
    office.server.down = True
    for seconds in (KEEP, 60):
        assert ("one", "retire", "waits") in office.did(seconds)
    assert {"one.key", "one.pem"} <= set(office.files("state/pairs"))
    office.server.down = False
    assert ("one", "retire", "done") in office.did(60)
    assert (office.directory / "state/retired/one.pem").read_bytes() == chain
    assert [name for name in office.files("state/pairs") if name.startswith("one.")] == []


def test_chain_that_is_nowhere_has_not_ended(switched: Office) -> None:
    switched.server.down = True
    switched.did(KEEP)
    for path in ("published/one.pem", "state/retired/one.pem"):
        (switched.directory / path).unlink()
    assert ("one", "retire", "waits") in switched.did(60)
    assert "one.key" in switched.files("state/pairs")


def test_retiring_begins_anew_for_a_pair_that_is_there_again(switched: Office) -> None:
    switched.memory_of("one", retiring=switched.now)
    assert ("one", "retire", "waits") in switched.did(60)
    for end in ("key", "pem"):
        (switched.directory / f"certs/one.{end}").unlink()
    assert switched.times("one").retiring == 0
    assert switched.did(60) == []
    assert "one.pem" in switched.files("published")


def test_pair_that_a_rule_names_stays_though_a_younger_one_is_there(office: Office) -> None:
    """It signs, and is not the youngest of its provider."""
    policy = '[[rule]]\nname = "a"\ncaller = "1215*"\ncertificate = "zero"\n'
    (office.directory / "policy.toml").write_text(policy)
    office.configure(signing='policy_file = "policy.toml"')
    office.by_hand("zero")
    office.by_hand("newer", not_before=NOW - DAY)
    assert office.rotation()._signing(office.signers()).keys() == {"zero", "newer"}
    assert office.rotation().due(office.signers(), "zero") is None


# --- Revoked -----------------------------------------------------------------------------------------------------


def test_revoked_certificate_is_neither_published_nor_put_in_use(office: Office) -> None:
    issued = office.wait("one")
    pairs.mark_revoked(office.directory / "state", "one", issued.certificate)
    assert office.advance() == []
    for options in ({"only_publish": True}, {"hurry": True}):
        (step,) = office.forward("one", **options)
        assert (step.state, step.words.partition(":")[0]) == ("failed", "rotation_refused")
        assert "renew --now" in step.words
    assert office.stages() == {"one": "revoked"}
    assert (office.files("published"), office.files("certs")) == ([], [])


def test_revoked_certificate_that_signs_is_said_until_another_signs(switched: Office) -> None:
    state = switched.directory / "state"
    pairs.mark_revoked(state, "two", parse_chain((switched.directory / "certs/two.pem").read_bytes())[0])
    (row,) = [row for row in switched.rotation().standings() if row.name == "two"]
    assert (row.stage, "verifiers refuse" in row.trouble) == ("revoked", True)
    pairs.mark_revoked(state, "one", parse_chain((switched.directory / "certs/one.pem").read_bytes())[0])
    (row,) = [row for row in switched.rotation().standings() if row.name == "one"]
    assert (row.stage, row.trouble) == ("revoked", "")


def test_pair_of_the_name_of_one_that_was_revoked_is_none(office: Office) -> None:
    issued = office.wait("one")
    pairs.mark_revoked(office.directory / "state", "one", issued.certificate)
    office.wait("one", begins=NOW - 60)
    assert office.stages() == {"one": "issued"}


@pytest.mark.parametrize("name", ["one", "two", "next", "three"])
def test_why_a_pair_stays_is_one_reason(switched: Office, name: str) -> None:
    switched.wait("three", begins=NOW - 30)
    switched.by_hand("next", not_before=NOW + 5 * DAY)
    words = {
        "one": "published until",
        "two": "calls are signed with it",
        "three": "acme forget three",
        "next": "youngest of its provider",
    }
    assert words[name] in switched.rotation().stays(name)


# --- Crashes ----------------------------------------------------------------------------------------------------


@contextmanager
def crashing(at: int) -> Iterator[list[str]]:
    """The process ends before or after the change number `at` to a file, or at that reload. Gives what was done."""
    done: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            for when in ("before", "after"):
                if when == "after":
                    result = function(*arguments, **options)
                done.append(f"{when} {name}")
                if len(done) == at:
                    raise Crash
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", counted("link", os.link))
        patch.setattr(Path, "unlink", counted("unlink", Path.unlink))
        patch.setattr(Path, "replace", counted("replace", Path.replace))
        patch.setattr(Server, "reload", counted("reload", Server.reload))
        yield done


def scenario(office: Office, at: int) -> int:
    """One pair follows another, and the other is retired, with a crash at that change: how many changes there were."""
    office.wait("one", ends=NOW + 20 * DAY)
    office.advance()
    office.advance(SWITCH_AFTER)
    office.wait("two", begins=NOW - 60)
    with crashing(at) as done:
        for seconds in (10, SWITCH_AFTER, KEEP):
            try:
                office.advance(seconds)
            except Crash:
                assert_usable(office)
    return len(done)


def assert_usable(office: Office) -> None:
    """At any moment: a pair signs, strangers find its chain, no key lies without a chain, no chain is broken."""
    loaded = load_signers(office.directory / "certs", URL, office.now)
    assert loaded.refused == ()
    assert office.signs in ("one", "two")
    assert f"{office.signs}.pem" in office.files("published")
    for name in office.server.has:
        assert f"{name}.pem" in office.files("published")
    for path in (office.directory / "published").glob("*.pem"):
        assert path.read_bytes().endswith(b"-----END CERTIFICATE-----\n")


def test_crash_between_any_two_steps_is_resumed(tmp_path: Path) -> None:
    whole = Office(tmp_path / "whole")
    changes = scenario(whole, 0)
    assert changes > 40
    for at in range(1, changes + 1):
        office = Office(tmp_path / str(at))
        scenario(office, at)
        for _ in range(3):
            office.advance(KEEP)
        assert office.signs == "two", at
        for directory in ("certs", "published", "state", "state/pairs", "state/retired"):
            assert office.files(directory) == whole.files(directory), at
        assert office.server.has == {"two"}


_ACTIONS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0, 60, 30 * DAY, 31 * DAY])),
    st.tuples(st.just("advance"), st.sampled_from([0, 60, SWITCH_AFTER, KEEP, 8 * DAY])),
    st.tuples(st.just("crash"), st.integers(1, 30)),
    st.tuples(st.sampled_from(["down", "up", "bad", "good", "forget", "reload"]), st.just(0)),
)


@settings_of_hypothesis(max_examples=40, deadline=None)
@given(actions=st.lists(_ACTIONS, min_size=4, max_size=14))
def test_whatever_happens_calls_that_are_signed_stay_signed(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]]
) -> None:
    office = Office(tmp_path_factory.mktemp("office"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        for number, (action, value) in enumerate([("wait", 0), ("advance", 0), ("advance", SWITCH_AFTER), *actions]):
            ends = max((signer.not_after for name, signer in office.signers().items() if name == office.signs), default=0)
            match action:
                case "wait":
                    begins = office.now + value - 3600
                    office.wait(f"p{number}", begins=begins, ends=begins + 40 * DAY)
                case "advance":
                    office.advance(value)
                case "crash":
                    with crashing(value), suppress(Crash):
                        office.advance(SWITCH_AFTER)
                case "down" | "up":
                    office.server.down = action == "down"
                case "bad" | "good":
                    office.seen = BAD if action == "bad" else GOOD
                case "forget":
                    (office.directory / "state/rotation.json").unlink(missing_ok=True)
                case "reload":
                    office.server.reload()
            refused = load_signers(office.directory / "certs", URL, office.now).refused
            assert {why.token for _name, why in refused} <= {"certificate_expired", "certificate_not_yet_valid"}
            if office.now < ends:
                assert office.signs in office.signers(), (number, action)
            assert_published(office)


def assert_published(office: Office) -> None:
    """What the server may sign with, strangers can fetch."""
    signers = office.signers()
    for name in office.server.has | {office.signs}:
        if name in signers and signers[name].not_after > office.now:
            assert f"{name}.pem" in office.files("published")


def test_lost_memory_costs_time_and_nothing_else(switched: Office) -> None:
    (switched.directory / "state/rotation.json").unlink()
    assert switched.stages() == {"one": "installed", "two": "installed"}
    assert {step[1] for step in switched.did(60)} == {"reload", "retire"}
    lost = switched.now
    (step,) = switched.advance(60)
    assert (step.pair, step.action, step.when) == ("one", "retire", lost + KEEP)
    assert ("one", "retire", "done") in switched.did(KEEP)


def test_lost_memory_while_a_pair_waits_begins_the_wait_anew(office: Office) -> None:
    office.wait("one")
    office.advance()
    (office.directory / "state/rotation.json").unlink()
    assert office.did(SWITCH_AFTER)[-1] == ("one", "switch", "waits")
    assert office.did(SWITCH_AFTER)[-1] == ("one", "reload", "done")


# --- Memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"pairs": 1}', '{"pairs": {"a": 1}}', "[" * 9999]
    + [
        f'{{"pairs": {{"a": {{"seen": {value}}}}}}}'
        for value in ("true", '"1"', "-1", "NaN", "Infinity", "1e99", str(NOW + 1), "[]")
    ],
)
def test_spoilt_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "rotation.json").write_text(text)
    assert Memory.read(tmp_path, NOW).of("a") == Times()


@given(text=st.text(max_size=60) | st.recursive(st.none() | st.floats() | st.text(max_size=5), st.lists).map(json.dumps))
def test_any_memory_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.getbasetemp()
    (directory / "rotation.json").write_text(text, "utf-8", "surrogatepass")
    assert isinstance(Memory.read(directory, NOW), Memory)


@pytest.mark.parametrize("name", ["../../victim", "..", "", "a/b", "/etc/x"])
def test_name_that_leads_elsewhere_is_no_memory(office: Office, name: str) -> None:
    victims = [office.directory.parent / f"victim.{end}" for end in ("key", "pem")]
    for victim in victims:
        victim.touch()
    (office.directory / "state/rotation.json").write_text(json.dumps({"pairs": {name: {"retiring": 1}}}))
    assert office.did() == []
    assert all(victim.exists() for victim in victims)


def test_memory_comes_back(tmp_path: Path) -> None:
    memory = Memory.read(tmp_path, NOW)
    memory.of("a").seen = NOW - 1
    memory.of("b")
    memory.save()
    assert Memory.read(tmp_path, NOW).pairs == {"a": Times(seen=NOW - 1)}


def test_times_to_come_do_not_come_back_when_their_time_has_come(tmp_path: Path) -> None:
    memory = Memory.read(tmp_path, NOW + 10)
    memory.of("a").seen = NOW + 10
    memory.save()
    Memory.read(tmp_path, NOW).save()
    assert Memory.read(tmp_path, NOW + 10).of("a") == Times()


def test_where_nothing_is_remembered_nothing_is_written(tmp_path: Path) -> None:
    Memory.read(tmp_path, NOW).save()
    assert list(tmp_path.iterdir()) == []


def test_memory_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = Memory(tmp_path / "file")
    memory.of("a").seen = 1
    with pytest.raises(StirError, match="file_unwritable"):
        memory.save()


# --- The whole --------------------------------------------------------------------------------------------------


def test_advance_takes_all_pairs_or_those_that_are_named(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "Kamailio", lambda _control: office.server)
    office.wait("one")
    office.wait("two", begins=NOW - 60)
    steps = advance(office.settings, office.now, look=office._look, names=("two",))
    assert {step.pair for step in steps} == {"two"}
    steps = advance(office.settings, office.now + SWITCH_AFTER, look=office._look)
    assert [(step.pair, step.action, step.state) for step in steps] == [
        *(("one", "publish", "done"), ("one", "look", "done"), ("one", "switch", "waits")),
        *(("two", "look", "done"), ("two", "switch", "done"), ("two", "reload", "done")),
    ]


def test_without_a_form_of_urls_nothing_is_published(office: Office) -> None:
    (office.directory / "stirshaken.toml").write_text(
        '[signing]\ncertificate_dir = "certs"\n[provider]\nprovider_state_dir = "state"\n'
    )
    office.wait("one")
    (step,) = office.advance()
    assert (step.state, step.words.partition(":")[0]) == ("failed", "publication_unset")
