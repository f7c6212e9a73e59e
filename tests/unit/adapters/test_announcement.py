"""What an edge says of itself at its start: who signs for whom, and what its policy asks for and has not."""

from __future__ import annotations

from kamailio_app.lab.pki import ServiceProvider

from ..builders import hierarchy
from .support import World

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
