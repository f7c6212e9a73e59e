"""What an edge says of itself at its start: who signs for whom, and what its policy asks for and has not."""

from __future__ import annotations

from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.runtime import in_use
from kamailio_app.runtime.in_use import InUse

from ..builders import hierarchy
from .support import World
from .test_kamailio import act

POLICY = """
[defaults]
spc = "1234"

[customer.beta]
spc = "5678"

[customer.gamma]
spc = "9999"

[[rule]]
name = "own"
customer = "*"
caller_in = "own"
attest = "A"
"""


def test_pairs_of_all_whom_the_policy_signs_for_are_named(world: World) -> None:
    (world.path.parent / "policy.toml").write_text(POLICY)
    hierarchy().service_provider(ServiceProvider(spc="5678")).write(world.certificates, "theirs")
    stir = world.start(signing={"policy_file": "policy.toml"})
    stir.child_init(0)
    said = world.ksr.log_text("info")
    assert "signing with sp1234 spc=1234" in said
    assert "signing with theirs spc=5678" in said
    assert "calls pass unsigned: certificate_none: no pair of 9999" in world.ksr.log_text("warn")


def test_list_that_the_policy_asks_and_nobody_named_is_said(world: World) -> None:
    (world.path.parent / "policy.toml").write_text(POLICY)
    world.start(signing={"policy_file": "policy.toml"}).child_init(0)
    said = world.ksr.log_text("warn")
    assert "the signing policy asks caller_in, and [signing] inventory_file is not set: every number is nobody's" in said
    assert "do_not_originate_file" not in said


def in_use_by(world: World) -> InUse:
    """What kamcmd would show."""
    return in_use.read(lambda key: str(world.ksr.entry("stirshaken", key) or ""))


def test_pairs_in_use_are_said_at_the_start_and_after_each_reload_and_for_longer_than_a_day(world: World) -> None:
    stir = world.start()
    stir.child_init(0)
    before = {"sp1234": in_use.mark(stir.service.keys.signers["sp1234"])}
    assert in_use_by(world) == InUse(0, before)
    hierarchy().service_provider(ServiceProvider(spc="5678")).write(world.certificates, "theirs")
    assert in_use_by(world) == InUse(0, before)
    world.reload()
    act(stir, "stir_tag")
    assert in_use_by(world) == InUse(1, before | {"theirs": in_use.mark(stir.service.keys.signers["theirs"])})
    for end in ("key", "pem"):
        (world.certificates / f"theirs.{end}").unlink()
    world.reload()
    act(stir, "stir_tag")
    world.clock.now += 30 * 86400
    assert in_use_by(world) == InUse(2, before)


def test_reload_that_is_refused_leaves_the_pairs_and_is_said(world: World) -> None:
    stir = world.start()
    stir.child_init(0)
    before = in_use_by(world).pairs
    hierarchy().service_provider(ServiceProvider(spc="5678")).write(world.certificates, "theirs")
    world.path.write_text("garbage")
    world.reload()
    act(stir, "stir_tag")
    assert in_use_by(world) == InUse(1, before)


def test_pair_that_is_refused_is_not_in_use_and_the_former_one_of_that_name_is(world: World) -> None:
    stir = world.start()
    stir.child_init(0)
    before = in_use_by(world).pairs
    for name in ("sp1234", "theirs"):
        hierarchy().service_provider().write(world.certificates, name)
        (world.certificates / f"{name}.key").write_bytes(b"no key")
    world.reload()
    act(stir, "stir_tag")
    assert in_use_by(world) == InUse(1, before)
