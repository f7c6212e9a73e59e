"""Renewal by the clock: weeks pass in a moment, against the whole laboratory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kamailio_app.credentials.credential import validate
from kamailio_app.lab.pki import Issued, ServiceProvider
from kamailio_app.lab.world import World
from kamailio_app.lifecycle import pairs, renewal
from kamailio_app.lifecycle.renewal import Current, Step
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import load_signers
from kamailio_app.runtime.settings import Settings, load
from kamailio_app.sti_as import Signer

from ..builders import refused

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass
class Office:
    """A provider whose clock is ours, and that of STI-PA and STI-CA with it."""

    world: World
    now: float
    waited: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.sti_ca._clock = self.world.sti_pa._clock = lambda: self.now

    @property
    def settings(self) -> Settings:
        return load(self.world.settings_file)

    def write(self, old: str, new: str) -> None:
        text = self.world.settings_file.read_text()
        assert old in text
        self.world.settings_file.write_text(text.replace(old, new))

    def order(self, name: str = "") -> str:
        name = name or renewal.fresh_name(self.settings, self.now)
        renewal.order(self.settings, name, now=self.clock, clock=self.clock, wait=self.wait)
        return name

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds

    def renew(self, *, force: bool = False) -> list[Step]:
        control = f"unix:{self.world.directory}/nobody"
        return renewal.renew(self.settings, force=force, control=control, now=self.clock, clock=self.clock, wait=self.wait)

    def signs(self) -> str:
        loaded = load_signers(self.settings.certificate_dir, self.settings.public_cert_url, self.now)
        found = Choices(loaded.signers).look(self.now)
        return found.name if isinstance(found, Signer) else ""

    def install(self, issued: Issued, name: str) -> None:
        issued.write(self.settings.certificate_dir, name)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with World(tmp_path) as world:
        yield Office(world, world.hierarchy.now)


def actions(steps: list[Step], state: str = "done") -> list[str]:
    return [step.action for step in steps if step.state == state]


def test_due_is_a_share_of_the_lifetime() -> None:
    assert renewal.due(Current("a", 1000.0, 2000.0), 0.66) == pytest.approx(1660)


def test_first_certificate_is_a_persons_to_order(office: Office) -> None:
    (step,) = office.renew()
    assert (step.action, step.state, step.when) == ("order", "waits", 0)
    assert "acme order" in step.words
    assert office.world.sti_ca.asked == []


def test_three_weeks_with_certificates_of_seven_days(office: Office) -> None:
    first, begin = office.order(), office.now
    names: list[str] = []
    office.renew()
    while office.now < begin + 21 * DAY:
        assert office.signs(), f"nothing signs {(office.now - begin) / DAY} days later"
        if office.signs() not in names:
            names.append(office.signs())
        office.now += 6 * HOUR
        assert set(actions(office.renew(), "failed")) <= {"reload"}  # there is no Kamailio
    # Two thirds of seven days are 4.6
    assert names[0] == first
    assert len(names) == len(office.world.sti_ca.certificates) == 5
    # What has ended is gone, the rest is published still
    held = {path.stem for path in office.settings.certificate_dir.glob("*.key")}
    assert held == {path.stem for path in office.world.published.glob("*.pem")}
    assert office.signs() in held
    assert len(held) <= 3
    assert {path.suffix for path in (office.settings.provider.state_dir / "retired").iterdir()} == {".pem"}


def test_renewal_in_one_run_orders_publishes_and_switches(office: Office) -> None:
    former = office.order()
    office.renew()
    office.now += 5 * DAY
    steps = office.renew()
    assert actions(steps)[:4] == ["order", "publish", "look", "switch"]
    assert office.signs() not in ("", former)
    assert steps[-1].action == "order"
    assert steps[-1].when == pytest.approx(office.now + 0.66 * 7 * DAY, abs=120)
    assert office.world.sti_ca.orders.keys() == {1, 2}
    again = office.renew()
    assert "order" not in actions(again)
    assert office.world.sti_ca.orders.keys() == {1, 2}


def test_forced_renewal_comes_before_its_time(office: Office) -> None:
    former = office.order()
    office.renew()
    steps = office.renew(force=True)
    assert (steps[0].state, steps[0].words) == ("done", f"follows {former}")


def test_revoked_certificate_is_followed_when_a_person_says_so_and_renew_fails_until_then(office: Office) -> None:
    name = office.order()
    office.renew()
    state_dir = office.settings.provider.state_dir
    pairs.mark_revoked(state_dir, name, renewal.certificate(office.settings, name))
    for step in (office.renew()[0], renewal.forecast(office.settings, office.now)[0]):
        assert (step.pair, step.action, step.state) == (name, "order", "failed")
        assert "renew --now" in step.words
    assert len(office.world.sti_ca.orders) == 1
    assert office.renew(force=True)[0].state == "done"
    assert office.signs() != name
    assert office.renew()[0].state == "waits"


def test_pair_that_will_never_sign_delays_no_renewal(office: Office) -> None:
    office.world.sti_ca.seconds = 90 * DAY
    old = office.order()
    office.now += DAY
    issued = office.world.hierarchy.service_provider(
        ServiceProvider("1234", not_before=office.now, not_after=office.now + 7 * DAY)
    )
    office.install(issued, "young")
    held = renewal.current(office.settings, office.now)
    assert held is not None
    assert (held.name, old in {pair.name for pair in pairs.pending(office.settings.provider.state_dir)}) == ("young", True)


def test_failed_order_is_tried_again_when_its_time_comes_and_not_before(office: Office) -> None:
    former = office.order()
    office.renew()
    office.now += 5 * DAY
    office.world.sti_ca.misbehave("rate-limited")
    step = office.renew()[0]
    assert step.state == "failed"
    assert step.when == pytest.approx(office.now + HOUR, abs=2)
    office.world.sti_ca.behave()
    office.world.sti_ca.asked.clear()
    office.now += HOUR / 2
    waiting = office.renew()[0]
    assert (waiting.state, waiting.when) == ("waits", step.when)
    assert "acme_rate_limited" in waiting.words
    assert office.world.sti_ca.asked == []
    assert office.signs() == former
    office.now += HOUR
    assert office.renew()[0].state == "done"
    # The same pair: its key was made once
    assert office.signs() == waiting.pair


def test_slow_ca_is_met_again_by_the_next_run(office: Office) -> None:
    office.order()
    office.renew()
    office.now += 5 * DAY
    office.world.sti_ca.misbehave("never")
    assert office.renew()[0].state == "failed"
    assert len(office.world.sti_ca.orders) == 2
    office.world.sti_ca.behave()
    office.now += HOUR
    assert office.renew()[0].state == "done"
    assert len(office.world.sti_ca.orders) == 2


def test_one_step_that_fails_keeps_none_of_the_others(office: Office) -> None:
    name = office.order()
    office.world.sti_ca.misbehave("reset")
    office.now += 5 * DAY
    steps = office.renew()
    assert steps[0].state == "failed"
    assert "switch" in actions(steps)
    assert office.signs() == name


def test_forecast_changes_nothing_and_asks_nobody(office: Office) -> None:
    name = office.order()
    before = {path: path.read_bytes() for path in office.world.directory.rglob("*") if path.is_file()}
    for server in (office.world.sti_ca, office.world.sti_pa, office.world.sti_cr):
        server.asked.clear()
    steps = renewal.forecast(office.settings, office.now)
    assert [(step.pair, step.action) for step in steps[1:]] == [(name, "publish")]
    assert steps[0].when == pytest.approx(office.now + 0.66 * 7 * DAY, abs=120)
    assert renewal.forecast(office.settings, office.now, force=True)[0].when == 0
    assert {path: path.read_bytes() for path in office.world.directory.rglob("*") if path.is_file()} == before
    assert office.world.sti_ca.asked == office.world.sti_pa.asked == office.world.sti_cr.asked == []


def test_pair_that_was_begun_goes_before_a_new_one(office: Office) -> None:
    state_dir = office.settings.provider.state_dir
    pairs.begin(state_dir, "begun")
    pairs.begin(state_dir, "by-hand")
    pairs.remember(state_dir, "by-hand", pairs.Record(by_hand=True))
    pairs.begin(state_dir, "of-another-provider")
    pairs.remember(state_dir, "of-another-provider", pairs.Record(spc="5678"))
    assert renewal.plan(office.settings, office.now).name == "begun"
    assert office.renew()[0].pair == "begun"
    assert [pair.name for pair in pairs.pending(state_dir) if pair.state == "requested"] == ["by-hand", "of-another-provider"]


def test_certificate_of_another_provider_is_not_renewed(office: Office) -> None:
    office.install(office.world.hierarchy.service_provider(ServiceProvider("5678")), "sp5678")
    assert renewal.current(office.settings, office.now) is None
    office.install(office.world.hierarchy.service_provider(), "sp1234")
    held = renewal.current(office.settings, office.now)
    assert held is not None
    assert held.name == "sp1234"


def test_the_one_that_ends_last_is_what_is_renewed(office: Office) -> None:
    office.install(office.world.hierarchy.service_provider(), "sp1234")
    name = office.order()
    held = renewal.current(office.settings, office.now)
    assert held is not None
    assert held.name == "sp1234"  # thirty days, where the ordered one has seven
    assert name != held.name


def test_without_acme_a_person_is_told_and_in_the_end_loudly(office: Office) -> None:
    office.install(office.world.hierarchy.service_provider(), "sp1234")
    office.write(f'acme_directory = "{office.world.sti_ca.url}"', 'acme_directory = ""')
    step = office.renew()[0]
    assert (step.pair, step.state) == ("sp1234", "waits")
    office.now += 29 * DAY
    step = office.renew()[0]
    assert step.state == "failed"
    assert "acme request" in step.words


def test_names_are_new_whatever_there_is(office: Office) -> None:
    first = renewal.fresh_name(office.settings, office.now)
    office.install(office.world.hierarchy.service_provider(), first)
    second = renewal.fresh_name(office.settings, office.now)
    (office.world.published / f"{second}.pem").touch()
    third = renewal.fresh_name(office.settings, office.now)
    assert [name.removeprefix(first) for name in (first, second, third)] == ["", "-2", "-3"]
    office.write('spc = "1234"', 'spc = ""')
    with refused("option_invalid"):
        renewal.fresh_name(office.settings, office.now)


def test_anchors_come_from_the_sti_pa_where_the_server_has_none_yet(office: Office) -> None:
    held = renewal.anchors(office.settings, office.now)
    assert office.world.hierarchy.root.certificate in held.certificates
    chain = office.world.hierarchy.service_provider().chain_pem
    assert validate(chain, held, office.now)
    office.world.sti_pa.misbehave("list-bad-signature")
    assert len(renewal.anchors(office.settings, office.now)) == 0


def test_certificate_is_found_wherever_its_pair_is(office: Office) -> None:
    name = office.order()
    waiting = renewal.certificate(office.settings, name)
    office.renew()
    assert renewal.certificate(office.settings, name) == waiting
    for other in ("../" + name, "nobody", ""):
        with refused("pair_unknown"):
            renewal.certificate(office.settings, other)
    (office.settings.certificate_dir / "broken.pem").write_text("x")
    with refused("certificate_malformed"):
        renewal.certificate(office.settings, "broken")


def test_what_is_wanted_now_and_cannot_be_has_failed(office: Office) -> None:
    office.write(f'acme_directory = "{office.world.sti_ca.url}"', 'acme_directory = ""')
    assert office.renew()[0].state == "waits"
    step = office.renew(force=True)[0]
    assert (step.pair, step.state, "acme request" in step.words) == ("", "failed", True)
    assert "acme order" not in step.words


def test_first_certificate_has_no_name_yet(office: Office) -> None:
    assert office.renew()[0].pair == ""
