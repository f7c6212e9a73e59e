"""Signing in one process: what is decided and what that was made of, which numbers are looked up, which pair signs what."""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.errors import StirError
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import Call, Decision
from kamailio_app.policy.rules import DEFAULT
from kamailio_app.runtime.numbers import Numbers
from kamailio_app.runtime.signing import ANYWHERE, NOTHING_FURTHER, Decided, Further, Origin, Signing, random_uuid
from kamailio_app.sip import Party
from kamailio_app.sti_as import SignedCall
from kamailio_app.tn import NumberPlan

from ..builders import DAY, DEST, NOW, ORIG, ORIGID, hierarchy, identity, provider, refused, request
from .number_lists import do_not_originate, inventory
from .support import Clock, Host

BOB, CAROL = "12155550140", "12155550150"
INVENTORY, NEVER = "numbers.mdb", "never.mdb"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Site(Host):
    """A server with this signing policy; `signing` is that of one of its processes."""

    def __init__(self, directory: Path, policy: str | None = None, **options: Any) -> None:
        if policy is not None:
            (directory / "policy.toml").write_text(policy)
            options["policy_file"] = "policy.toml"
        super().__init__(directory, signing=options)
        self.process = self.service()

    @property
    def signing(self) -> Signing:
        return self.process.signing

    def decide(self, attest: str = "", origin: Origin = ANYWHERE, **changes: Any) -> Decided:
        return self.signing.decide(request(**changes), attest, origin)

    def rule(self, origin: Origin = ANYWHERE, **changes: Any) -> str:
        """The rule that decides."""
        return self.decide("", origin, **changes).decision.rule

    def sign(
        self, attest: str = "", origin: Origin = ANYWHERE, further: Further = NOTHING_FURTHER, **changes: Any
    ) -> SignedCall:
        decided = self.decide(attest, origin, **changes)
        return self.signing.sign(request(**changes), decided, further)[0]

    def pair(self, origin: Origin = ANYWHERE) -> str:
        """The pair that signs."""
        return self.signing.sign(request(), self.decide("", origin))[1].name

    def provider(self, name: str, **changes: Any) -> None:
        hierarchy().service_provider(ServiceProvider(**changes)).write(self.directory / "certs", name)
        self.process.reload()


def claims(signed: SignedCall) -> list[dict[str, Any]]:
    """What each Identity value says; of a compact one nothing."""
    payloads = [value.split(".")[1] for value in signed.identities]
    return [json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)) or b"{}") for payload in payloads]


def only(signed: SignedCall, ppt: str) -> dict[str, Any]:
    """What the one of this type says."""
    (found,) = [said for said, value in zip(claims(signed), signed.identities, strict=True) if value.endswith(f";ppt={ppt}")]
    return found


# --- Without conditions -----------------------------------------------------------------------------------------


def test_without_policy_every_call_is_signed_and_nothing_is_asked(tmp_path: Path) -> None:
    site = Site(tmp_path, attest_level="B")
    signing, decided = site.signing, site.decide()
    assert signing.policy is DEFAULT
    assert decided == Decided(Decision("default"), Call("", ""), Attestation.PARTIAL, site.process.settings.signing)
    assert not any(getattr(signing, name) for name in vars(signing) if name.startswith("asks"))


@pytest.mark.parametrize(("asked", "level"), [("", "C"), ("A", "A"), ("B", "B"), ("C", "C")])
def test_script_gets_the_attestation_that_it_asks_for_where_nobody_says_otherwise(
    tmp_path: Path, asked: str, level: str
) -> None:
    assert Site(tmp_path).decide(asked).level == level


def test_policy_without_conditions_decides_for_all_calls_alike(tmp_path: Path) -> None:
    site = Site(tmp_path, '[defaults]\nattest = "B"\np_headers = true')
    for attest in ("", "A", "C"):
        decided = site.decide(attest)
        assert (decided.level, decided.decision.p_headers) == (Attestation.PARTIAL, True)
        assert site.decide(attest) is decided  # made once


def test_what_a_script_asks_for_is_kept_within_bounds(tmp_path: Path) -> None:
    site = Site(tmp_path, '[defaults]\nattest = "B"')
    for attest in ("", "A", "B", "C", *map(str, range(100))):
        assert site.sign(attest).claims
    assert set(site.signing._unconditional) == {"", "A", "B", "C"}


@pytest.mark.parametrize(
    "policy", [None, '[[rule]]\nname = "all"\nport = 5060', '[[rule]]\nname = "x"\nport = 1\nattest = "A"']
)
@pytest.mark.parametrize("attest", ["a", "AA", "D", "\0", "\ud800"])
def test_attestation_that_there_is_not_is_not_signed(tmp_path: Path, policy: str | None, attest: str) -> None:
    site = Site(tmp_path, policy)
    with pytest.raises(StirError) as caught:
        site.sign(attest, Origin(port=5060))
    assert (caught.value.token, caught.value.detail) == ("attest_unknown", attest)


@pytest.mark.parametrize(
    ("outcome", "token"), [("reject = 603", "policy_rejected"), ("sign = false", "policy_unsigned"), ('attest = "B"', "")]
)
def test_attestation_that_there_is_not_changes_no_decision(tmp_path: Path, outcome: str, token: str) -> None:
    site = Site(tmp_path, f'[[rule]]\nname = "all"\nport = 5060\n{outcome}')
    if not token:
        assert site.sign("D", Origin(port=5060)).claims
        return
    with refused(token):
        site.sign("D", Origin(port=5060))


@pytest.mark.parametrize("policy", [None, '[[rule]]\nname = "x"\ncaller = "1*"'])
@pytest.mark.parametrize("changes", [{"method": "ACK"}, {"method": ""}, {"in_dialog": True}])
def test_only_initial_invites_are_decided_about(tmp_path: Path, policy: str | None, changes: dict[str, Any]) -> None:
    with refused("request_not_signed"):
        Site(tmp_path, policy).decide(**changes)


# --- What is asked ----------------------------------------------------------------------------------------------

ASKED = {"asks_source", "asks_port", "asks_transport", "asks_tls_peer", "asks_trunk", "asks_customer"}


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        ('[[rule]]\nname = "x"\ncaller = "1*"', set()),
        ('[[rule]]\nname = "x"\nsource = "192.0.2.1"', {"asks_source"}),
        ('[[rule]]\nname = "x"\nport = 5060', {"asks_port"}),
        ('[[rule]]\nname = "x"\ntransport = "tls"', {"asks_transport"}),
        ('[[rule]]\nname = "x"\ntls_peer = "a*"', {"asks_transport", "asks_tls_peer"}),
        ('[[rule]]\nname = "x"\ntrunk = "*"', {"asks_trunk"}),
        ('[[rule]]\nname = "x"\ncustomer = "*"', {"asks_customer"}),
        ('[[rule]]\nname = "x"\ncaller_in = "own"', {"asks_customer"}),
        ('[[rule]]\nname = "x"\ndo_not_originate = true', set()),
        ("[customer.acme]", {"asks_customer"}),
        ("[trunk.acme]", {"asks_trunk"}),
        (
            '[trunk.acme]\nsource = "192.0.2.1"\ntls_peer = "a"',
            {"asks_trunk", "asks_source", "asks_transport", "asks_tls_peer"},
        ),
    ],
)
def test_no_more_of_a_call_is_asked_than_some_rule_wants_to_know(tmp_path: Path, policy: str, asked: set[str]) -> None:
    signing = Site(tmp_path, policy).signing
    assert signing.asks
    assert {name for name in ASKED if getattr(signing, name)} == asked


RULES = """
[customer.acme]
[customer.beta]
display_name = "Beta"

[trunk.pbx]
customer = "acme"
source = "192.0.2.0/28"

[trunk.lyon]
source = "198.51.100.1"
country = "fr"
"""


@pytest.mark.parametrize(
    ("origin", "trunk", "customer"),
    [
        (Origin(source="192.0.2.3"), "pbx", "acme"),
        (Origin(source="192.0.2.3", customer="beta"), "pbx", "beta"),
        (Origin(trunk="pbx"), "pbx", "acme"),
        (Origin(trunk="lyon", source="192.0.2.3"), "lyon", ""),  # the script goes first
        (Origin(trunk="nowhere", source="192.0.2.3"), "nowhere", ""),
        (Origin(source="203.0.113.1", customer="beta"), "", "beta"),
        (Origin(source="192.0.2.3", customer="Beta"), "pbx", "acme"),
        (Origin(source="\r\n", customer="\0"), "", ""),
    ],
)
def test_trunk_and_customer_are_those_of_the_script_else_of_where_it_comes_from(
    tmp_path: Path, origin: Origin, trunk: str, customer: str
) -> None:
    decided = Site(tmp_path, RULES).decide(origin=origin)
    assert (decided.call.trunk, decided.call.customer) == (trunk, customer)
    assert (decided.trunk.name if decided.trunk else "") == (trunk if trunk in ("pbx", "lyon") else "")
    assert (decided.customer.name if decided.customer else "") == (customer if customer in ("acme", "beta") else "")


def test_without_trunks_the_one_that_the_script_names_is_asked_about_all_the_same(tmp_path: Path) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "some"\ntrunk = "*"\nattest = "C"')
    assert (site.rule(Origin(trunk="any")), site.rule()) == ("some", "default")


def test_numbers_are_read_as_they_are_dialled_on_their_trunk(tmp_path: Path) -> None:
    site = Site(tmp_path, RULES + '[[rule]]\nname = "paris"\ncaller = "331*"\ncalled = "334*"')
    dialled: dict[str, Any] = {"from_uri": "sip:0123456789@x", "to_uri": "sip:0412345678@x"}
    from_lyon = site.decide("", Origin(source="198.51.100.1"), **dialled)
    assert (from_lyon.call.caller, from_lyon.call.called, from_lyon.decision.rule) == ("33123456789", "33412345678", "paris")
    assert from_lyon.rules.plan == NumberPlan("33", "0", "00", 9)
    signed = site.sign("", Origin(source="198.51.100.1"), **dialled).claims
    assert signed is not None
    assert (signed.orig.value, signed.dest[0].value) == ("33123456789", "33412345678")
    # Elsewhere they are what they are
    assert site.decide("", Origin(source="192.0.2.3"), **dialled).call.caller == "0123456789"


@pytest.mark.parametrize("caller", ["sip:alice@x", "sip:anonymous@anonymous.invalid", "", "\r\n"])
def test_caller_without_number_is_anonymous(tmp_path: Path, caller: str) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "no-number"\ncaller = "anonymous"\nsign = false')
    assert site.rule(from_uri=caller) == "no-number"
    assert site.rule() == "default"


def test_identity_that_is_there_is_looked_at_where_a_rule_asks(tmp_path: Path) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "signed"\nidentity = true')
    assert site.rule(identity=(identity(),)) == "signed"
    assert site.rule(identity=("garbage", identity(parameters=";info=<https://x/>"))) == "signed"  # by its PASSporT
    assert site.rule(identity=("garbage",)) == site.rule() == "default"
    other = Site(tmp_path, '[[rule]]\nname = "x"\nport = 1')
    assert other.decide(identity=(identity(),), to_uri="sip:911@x").call == Call("", "")


@pytest.mark.parametrize("changes", [{"to_uri": "sip:911@x"}, {"request_uri": "urn:service:sos"}])
def test_emergency_call_is_neither_rejected_nor_asked_for_a_certificate(tmp_path: Path, changes: dict[str, Any]) -> None:
    rules = '[defaults]\nunsigned = "reject"\n[[rule]]\nname = "none"\ncaller = "1*"\nreject = 403'
    site = Site(tmp_path, rules)
    decision = site.decide(**changes).decision
    assert (decision.rule, decision.action, decision.unsigned, decision.code) == ("default", "sign", "pass", 0)
    assert site.decide().decision.action == "reject"
    assert site.decide(from_uri="sip:+44@x").decision.unsigned == "reject"


def test_rule_asks_what_the_script_asks_for(tmp_path: Path) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "full"\nasked = "A"\nattest = "B"\n[[rule]]\nname = "nothing"\nasked = "none"')
    assert [site.decide(attest).decision.rule for attest in ("A", "B", "", "\0")] == ["full", "default", "nothing", "default"]


# --- Numbers ----------------------------------------------------------------------------------------------------

NUMBERS = """
[customer.acme]
[customer.beta]

[[rule]]
name = "never"
do_not_originate = true
reject = "603 Decline"

[[rule]]
name = "own"
caller_in = "own"
attest = "A"

[[rule]]
name = "other"
caller_in = "other"
attest = "B"

[[rule]]
name = "none"
caller_in = "none"
attest = "C"
"""
ACME = Origin(customer="acme")


def listed(tmp_path: Path, policy: str = NUMBERS) -> Site:
    return Site(tmp_path, policy, inventory_file=INVENTORY, do_not_originate_file=NEVER)


def test_number_is_the_customers_own_anothers_or_nobodys(tmp_path: Path) -> None:
    inventory(tmp_path / INVENTORY, ("acme", ORIG), ("beta", "1312*"), ("acme", "12155550000-12155550009"))
    do_not_originate(tmp_path / NEVER, "18005550199")
    site = listed(tmp_path)
    numbers = (ORIG, "12155550009", "12155550010", "13125551212", "18005550199", "442079460000")
    assert [site.rule(ACME, from_uri=f"sip:+{number}@x") for number in numbers] == [
        "own", "own", "none", "other", "never", "none",
    ]  # fmt: skip
    assert site.rule(Origin(customer="beta")) == "other"
    assert site.rule() == "other"  # nobody has no number of his own
    assert site.rule(ACME, from_uri="sip:alice@x") == "none"
    assert site.signing.troubles == ()


class Watched:
    """A list that says how often it is looked at."""

    def __init__(self, found: bool = True) -> None:
        self.looks = 0
        self.found = found

    def holds(self, number: str) -> bool:
        self.looks += 1
        return self.found

    def owners(self, number: str) -> tuple[str, ...]:
        self.looks += 1
        return ("acme",) * self.found


def test_numbers_are_looked_up_only_where_that_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = '[[rule]]\nname = "before"\nport = 1\n[[rule]]\nname = "list"\nport = 2\ndo_not_originate = true\nreject = 403\n'
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path, f'{before}[[rule]]\nname = "own"\nport = 3\ncaller_in = "own"\n')
    site.decide(origin=ACME)
    owners, never = Watched(), Watched()
    monkeypatch.setattr(site.signing, "_inventory", owners)
    monkeypatch.setattr(site.signing, "_never_calling", never)
    seen = []
    for port in (1, 2, 3, 4):
        rule = site.rule(Origin(customer="acme", port=port))
        seen.append((rule, owners.looks, never.looks))
        owners.looks = never.looks = 0
    assert seen == [("before", 0, 0), ("list", 0, 1), ("own", 1, 0), ("default", 0, 0)]


def test_new_lists_are_in_use_within_a_second(tmp_path: Path) -> None:
    inventory(tmp_path / INVENTORY, ("beta", ORIG))
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path)
    assert site.rule(ACME) == "other"
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    site.clock.now += 1
    assert site.rule(ACME) == "own"
    do_not_originate(tmp_path / NEVER, ORIG)
    site.clock.now += 1
    assert site.rule(ACME) == "never"


def test_new_list_is_in_use_within_a_second_wherever_the_second_began(tmp_path: Path) -> None:
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    site = listed(tmp_path, NUMBERS.replace("do_not_originate = true", "port = 1"))
    site.clock.now = NOW + 10.003
    assert site.rule(ACME) == "own"
    inventory(tmp_path / INVENTORY, ("beta", ORIG))
    site.clock.now = NOW + 11.001
    assert site.rule(ACME) == "other"


def tokens(site: Site) -> list[str]:
    site.decide()
    return [error.token for error in site.signing.troubles]


def lost(tmp_path: Path) -> Site:
    """A server whose lists went away after its start."""
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path)
    (tmp_path / NEVER).unlink()
    return site


def test_list_that_is_not_there_is_a_trouble_until_it_is(tmp_path: Path) -> None:
    site = lost(tmp_path)
    assert tokens(site) == ["inventory_unreadable"] * 2
    assert [Path(error.detail.partition(":")[0]).name for error in site.signing.troubles] == [INVENTORY, NEVER]
    assert site.rule(ACME) == "none"  # and no call is lost
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    site.clock.now += 1
    assert tokens(site) == ["inventory_unreadable"]
    do_not_originate(tmp_path / NEVER, DEST)
    site.clock.now += 1
    assert tokens(site) == []
    assert site.rule(ACME) == "own"


def test_trouble_that_stays_is_the_same_object(tmp_path: Path) -> None:
    site = lost(tmp_path)
    site.decide()
    troubles = site.signing.troubles
    for _ in range(3):
        site.clock.now += 1
        site.decide()
        assert site.signing.troubles is troubles


def test_trouble_is_known_where_no_rule_asks_numbers_too(tmp_path: Path) -> None:
    site = Site(tmp_path, inventory_file=INVENTORY)
    assert tokens(site) == ["inventory_unreadable"]


def test_damaged_list_leaves_the_former_one_in_use(tmp_path: Path) -> None:
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path)
    assert site.rule(ACME) == "own"
    (tmp_path / "new").write_bytes(b"garbage")
    os.replace(tmp_path / "new", tmp_path / INVENTORY)
    site.clock.now += 1
    assert tokens(site) == ["inventory_unreadable"]
    assert site.rule(ACME) == "own"


def test_lists_that_are_mixed_up_are_refused(tmp_path: Path) -> None:
    do_not_originate(tmp_path / NEVER, ORIG)
    do_not_originate(tmp_path / INVENTORY, ORIG)
    site = listed(tmp_path)
    assert tokens(site) == ["inventory_unreadable"]
    inventory(tmp_path / NEVER, ("acme", ORIG))
    site.clock.now += 1
    assert tokens(site) == ["inventory_unreadable"] * 2
    assert site.rule(ACME) == "never"  # the former is in use


def broken(place: Path) -> None:
    place.write_bytes(b"garbage")


def mixed_up(place: Path) -> None:
    inventory(place, ("acme", ORIG))


@pytest.mark.parametrize("spoil", [Path.unlink, broken, mixed_up])
def test_numbers_that_never_call_are_there_where_the_policy_asks_for_them(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    place = tmp_path / NEVER
    do_not_originate(place, ORIG)
    site = listed(tmp_path)
    assert site.rule() == "never"
    spoil(place)
    with refused("inventory_unreadable"):
        site.process.reload()
    with refused("inventory_unreadable"):
        listed(tmp_path)
    # Whoever does not ask does not miss them
    (tmp_path / "policy.toml").write_text("")
    site.process.reload()
    assert site.rule() == "default"
    (tmp_path / "policy.toml").write_text(NUMBERS)
    with pytest.raises(StirError, match="shakenctl numbers import --list do-not-originate"):
        site.process.reload()
    do_not_originate(place, ORIG)
    site.process.reload()
    assert site.rule() == "never"


# --- A reload ---------------------------------------------------------------------------------------------------


def test_reload_takes_other_lists_and_another_policy(tmp_path: Path) -> None:
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    inventory(tmp_path / "other.mdb", ("beta", ORIG))
    do_not_originate(tmp_path / "also.mdb", ORIG)
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path)
    assert (site.rule(ACME), tokens(site)) == ("own", [])
    site.settings(signing={"policy_file": "policy.toml", "inventory_file": "other.mdb"})
    site.process.reload()
    assert (site.rule(ACME), tokens(site)) == ("other", [])
    site.settings(signing={"policy_file": "policy.toml", "inventory_file": "other.mdb", "do_not_originate_file": "also.mdb"})
    site.process.reload()
    assert site.rule(ACME) == "never"
    site.settings()
    site.process.reload()
    assert (site.rule(ACME), site.signing.asks) == ("default", False)


def test_list_that_stays_is_not_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(tmp_path / INVENTORY, ("acme", ORIG))
    do_not_originate(tmp_path / NEVER, DEST)
    site = listed(tmp_path)
    assert site.rule(ACME) == "own"
    monkeypatch.setattr(Numbers, "_replace", None)
    site.process.reload()
    assert site.rule(ACME) == "own"


def test_reload_forgets_what_was_decided_before(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.decide().level is Attestation.GATEWAY
    site.settings(signing={"attest_level": "A"})
    site.process.reload()
    assert site.decide().level is Attestation.FULL


def test_policy_that_is_wrong_stops_the_start(tmp_path: Path) -> None:
    with refused("policy_malformed"):
        Site(tmp_path, "garbage")


# --- Which pair signs -------------------------------------------------------------------------------------------


def test_pairs_of_two_providers_and_nobody_says_whose_call_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "x"\nport = 1')
    assert site.pair() == "sp1234"
    site.provider("theirs", spc="5678")
    with refused("certificate_ambiguous"):
        site.sign()


PROVIDERS = """
[customer.beta]
spc = "5678"
[customer.gamma]
certificate = "third"
[customer.acme]

[defaults]
spc = "1234"

[[rule]]
name = "by-name"
port = 1
customer = "beta"
certificate = "theirs"
spc = "5678"

[[rule]]
name = "nobody's"
port = 2
spc = "0000"

[[rule]]
name = "gone"
port = 3
certificate = "gone"
"""


def test_pair_is_that_of_the_customer_the_rule_or_all(tmp_path: Path) -> None:
    rules = PROVIDERS.replace("nobody's", "nobody")
    site = Site(tmp_path, rules)
    for name, spc in (("theirs", "5678"), ("third", "9999")):
        site.provider(name, spc=spc)
    assert site.pair() == "sp1234"
    assert site.pair(Origin(customer="acme")) == "sp1234"
    assert site.pair(Origin(customer="beta")) == "theirs"
    assert site.pair(Origin(customer="gamma")) == "third"
    assert site.pair(Origin(port=1)) == "sp1234"
    assert site.pair(Origin(customer="beta", port=1)) == "theirs"
    for port in (2, 3):
        with refused("certificate_none"):
            site.pair(Origin(port=port))
    site.provider("newer", spc="5678", not_before=NOW - 60)
    assert (site.pair(Origin(customer="beta")), site.pair(Origin(customer="beta", port=1))) == ("newer", "theirs")


def test_trunk_says_which_pair_and_what_else(tmp_path: Path) -> None:
    site = Site(
        tmp_path,
        """[defaults]\nspc = "1234"\nattest = "A"\n[customer.acme]\n
        [trunk.wholesale]\nspc = "5678"\nattest = "C"\ndiv = true\nunsigned = "reject"\n
        [[rule]]\nname = "full"\nport = 1\nattest = "B"\ndiv = false\n""",
    )
    site.provider("theirs", spc="5678")
    assert (site.pair(), site.pair(Origin(trunk="wholesale"))) == ("sp1234", "theirs")
    assert [site.sign(origin=Origin(trunk=name), **TO_CAROL).claims.attest for name in ("", "wholesale")] == ["A", "C"]  # type: ignore[union-attr]
    assert diverted(site.sign(origin=Origin(trunk="wholesale"), **TO_CAROL)) == [(DEST, CAROL)]
    assert diverted(site.sign(origin=Origin(trunk="wholesale", port=1), **TO_CAROL)) == []
    assert site.decide(origin=Origin(trunk="wholesale")).decision.unsigned == "reject"
    assert site.decide(origin=Origin(trunk="wholesale"), to_uri="sip:911@x").decision.unsigned == "pass"
    assert ("", "5678") in site.signing.questions()


def test_one_key_for_two_providers_signs_for_neither(tmp_path: Path) -> None:
    site = Site(tmp_path)
    theirs = hierarchy().service_provider(ServiceProvider(spc="5678"), key=provider().key)
    theirs.write(tmp_path / "certs", "theirs")
    site.process.reload()
    for spc in ("1234", "5678"):
        with refused("key_shared"):
            site.signing.signer(spc=spc)


@pytest.mark.parametrize(("days", "token"), [(400, "certificate_expired"), (-400, "certificate_not_yet_valid")])
def test_pair_that_is_named_signs_in_its_time_only(tmp_path: Path, days: int, token: str) -> None:
    site = Site(tmp_path, '[defaults]\ncertificate = "sp1234"')
    site.clock.now += days * DAY
    with refused(token):
        site.sign()


def test_questions_are_all_that_rules_and_customers_ask_for(tmp_path: Path) -> None:
    assert Site(tmp_path).signing.questions() == [("", "")]
    named = Site(
        tmp_path, '[defaults]\nspc = "1234"\n[customer.beta]\nspc = "5678"\n[[rule]]\nname = "x"\nport = 1\nsign = false'
    )
    assert named.signing.questions() == [("", "1234"), ("", "5678")]
    by_rule = Site(tmp_path, '[[rule]]\nname = "x"\nport = 1\ncertificate = "sp1234"')
    assert Site(tmp_path, '[defaults]\ncertificate = "sp1234"').signing.questions() == [("sp1234", "")]
    assert by_rule.signing.questions() == [("", ""), ("sp1234", "")]


def test_certificates_that_end_are_said_at_each_mark(tmp_path: Path) -> None:
    site = Site(tmp_path, '[defaults]\ncertificate = "short"')
    site.provider("short", not_before=NOW - 60 * DAY, not_after=NOW + 20 * DAY)
    said = {ending.name: ending for ending in site.signing.ending()}
    assert said["short"].days == 30
    assert said["short"].follows == ""  # it is named, so nothing takes its place
    assert site.signing.ending() == []
    site.clock.now += 14 * DAY
    assert [(ending.name, ending.days) for ending in site.signing.ending() if ending.name == "short"] == [("short", 7)]


# --- What is signed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "token"), [("sign = false", "policy_unsigned"), ("reject = 403", "policy_rejected")])
def test_call_that_is_not_to_be_signed_is_not(tmp_path: Path, outcome: str, token: str) -> None:
    site = Site(tmp_path, f'[[rule]]\nname = "no"\ncaller = "1*"\n{outcome}')
    with pytest.raises(StirError) as caught:
        site.sign()
    assert (caught.value.token, caught.value.detail) == (token, "no")


def test_ordinary_call_is_one_shaken_header(tmp_path: Path) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "mine"\ncaller = "1215*"\nattest = "A"')
    signed = site.sign()
    assert signed.claims is not None
    (said,) = claims(signed)
    assert said == {
        "attest": "A", "dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "origid": signed.claims.origid,
    }  # fmt: skip
    assert (signed.keep, signed.diversions, signed.refused) == (None, (), ())


@pytest.mark.parametrize("changes", [{"from_uri": "sip:alice@x"}, {"to_uri": "sip:bob@x"}])
def test_parties_that_the_policy_looked_at_are_those_that_are_signed(tmp_path: Path, changes: dict[str, Any]) -> None:
    site = Site(tmp_path, '[[rule]]\nname = "x"\ncaller = "44*"')
    assert site.decide().parties == (Party("tn", ORIG), Party("tn", DEST))
    with refused("orig_missing" if "from_uri" in changes else "dest_missing"):
        site.sign(**changes)


TRUNK = '[trunk.pbx]\norigid = "11111111-1111-4111-8111-111111111111"\n'
CUSTOMER = '[customer.acme]\norigid = "22222222-2222-4222-8222-222222222222"\n'


@pytest.mark.parametrize(
    ("origid", "origin", "expected"),
    [
        ("trunk", Origin(trunk="pbx"), "1" * 8),
        ("customer", Origin(customer="acme"), "2" * 8),
        (ORIGID, Origin(trunk="pbx", customer="acme"), ORIGID[:8]),
        ("call", Origin(trunk="pbx", customer="acme"), ""),
        ("trunk", ANYWHERE, ""),
        ("customer", Origin(customer="stranger"), ""),
    ],
)
def test_origid_is_the_trunks_the_customers_the_rules_or_a_new_one(
    tmp_path: Path, origid: str, origin: Origin, expected: str
) -> None:
    site = Site(tmp_path, f'{TRUNK}{CUSTOMER}[defaults]\norigid = "{origid}"')
    seen = [claims(site.sign("", origin))[0]["origid"] for _ in range(3)]
    if expected:
        assert {text[:8] for text in seen} == {expected}
    else:
        assert len(set(seen)) == 3
        assert all(UUID.fullmatch(text) for text in seen)


def test_without_conditions_the_origid_of_nobody_is_a_new_one(tmp_path: Path) -> None:
    site = Site(tmp_path, '[defaults]\norigid = "customer"')
    assert not site.signing.asks
    assert UUID.fullmatch(claims(site.sign())[0]["origid"])


def test_origid_of_a_trunk_that_names_none_is_the_same_in_every_process(tmp_path: Path) -> None:
    site = Site(tmp_path, '[trunk.pbx]\n[defaults]\norigid = "trunk"')
    said = [claims(site.sign("", Origin(trunk="pbx")))[0]["origid"]]
    site.process = site.service()
    assert [claims(site.sign("", Origin(trunk="pbx")))[0]["origid"]] == said


def test_random_uuids_are_of_version_4() -> None:
    made = [random_uuid() for _ in range(64)]
    assert all(UUID.fullmatch(text) for text in made)
    assert len(set(made)) == 64
    assert {text[19] for text in made} == set("89ab")


def test_now_is_the_clocks(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.clock.now = NOW + 12.9
    assert claims(site.sign())[0]["iat"] == NOW + 12


# --- Further things ---------------------------------------------------------------------------------------------


def diverted(signed: SignedCall) -> list[tuple[str, str]]:
    """Who diverted the call, and where to."""
    return [(one.div.value, one.dest[0].value) for one in signed.diversions]


TO_CAROL: dict[str, Any] = {"request_uri": f"sip:+{CAROL}@x"}


def test_diversions_are_those_of_the_script_else_of_the_headers(tmp_path: Path) -> None:
    site = Site(tmp_path, "[defaults]\ndiv = true")
    assert diverted(site.sign(**TO_CAROL)) == [(DEST, CAROL)]
    told = site.sign(**TO_CAROL, diversion=(f"<sip:+{BOB}@x>", f"<sip:+{DEST}@x>"))
    assert diverted(told) == [(DEST, BOB), (BOB, CAROL)]
    said = site.sign(**TO_CAROL, diversion=("<sip:+13125550000@x>",), further=Further(diversions=f"{DEST}, tel:+{BOB}"))
    assert diverted(said) == [(DEST, BOB), (BOB, CAROL)]
    assert diverted(site.sign()) == []


def test_diversions_say_nothing_where_nobody_asks(tmp_path: Path) -> None:
    signed = Site(tmp_path).sign(**TO_CAROL, further=Further(diversions=DEST))
    assert (len(signed.identities), signed.diversions) == (1, ())


@pytest.mark.parametrize(
    ("listed", "dest"),
    [
        (BOB, {BOB}),
        (f" {BOB} ,,+{CAROL}, tel:+12155550160", {BOB, CAROL, "12155550160"}),
        (f"{BOB},{BOB},{DEST}", {BOB}),
        ("alice, \r\n, \0, tel:, 1234567890123456", set()),
        ("," * 5000 + BOB, {BOB}),
        (",".join([DEST] * 100), set()),
        (f"sip:bob@example.net,{BOB}", {BOB}),  # nobody's certificate speaks for it
        (",".join([BOB, *map("x{}".format, range(999)), CAROL]), {BOB}),  # within reason
        ("", set()),
    ],
)
def test_called_numbers_of_the_script_are_signed_beside_the_called_one(tmp_path: Path, listed: str, dest: set[str]) -> None:
    site = Site(tmp_path, "[defaults]\nmky = true")
    assert set(claims(site.sign(further=Further(dest=listed)))[0]["dest"]["tn"]) == {DEST, *dest}


def test_none_of_too_many_called_numbers_is_left_out_in_silence(tmp_path: Path) -> None:
    site = Site(tmp_path, "[defaults]\ndiv = true")
    hundred = ",".join(str(12155560000 + number) for number in range(100))
    with refused("claim_malformed"):
        site.sign(further=Further(dest=hundred))
    assert len(claims(site.sign(further=Further(dest=hundred.partition(",")[2])))[0]["dest"]["tn"]) == 100
    signed = site.sign(**TO_CAROL, further=Further(diversions=f"{DEST},{hundred}"))
    assert [error.token for error in signed.refused] == ["identity_too_many"]
    assert diverted(signed) == []


@pytest.mark.parametrize("uri", [False, True])
def test_uris_are_signed_where_that_is_wanted(tmp_path: Path, uri: bool) -> None:
    site = Site(tmp_path, f"[defaults]\nmky = true\nuri = {str(uri).lower()}")
    further = Further(dest="sip:bob@example.net")
    dest = {"tn": [DEST], "uri": ["sip:bob@example.net"]} if uri else {"tn": [DEST]}
    assert claims(site.sign(further=further))[0]["dest"] == dest


RCD = """
[defaults]
rcd = true
[customer.acme]
display_name = "Acme"
call_reason = "Your delivery"
logo = "https://acme.example/logo.png"
logo_digest = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
[customer.beta]
display_name = "Beta"
[customer.quiet]
"""
DIGEST = {"/icn": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}


def test_rich_call_data_are_the_customers(tmp_path: Path) -> None:
    site = Site(tmp_path, RCD)
    acme = only(site.sign("", ACME), "rcd")
    assert acme["rcd"] == {"nam": "Acme", "icn": "https://acme.example/logo.png"}
    assert (acme["crn"], acme["rcdi"]) == ("Your delivery", DIGEST)
    beta = only(site.sign("", Origin(customer="beta")), "rcd")
    assert beta["rcd"] == {"nam": "Beta"}
    assert beta.keys().isdisjoint({"crn", "rcdi"})
    for customer in ("quiet", "stranger", ""):
        assert len(site.sign("", Origin(customer=customer)).identities) == 1


@pytest.mark.parametrize(
    "word", ['display_name = "A"', 'call_reason = "B"', f'logo = "https://x/"\nlogo_digest = "{DIGEST["/icn"]}"']
)
def test_any_of_it_is_worth_a_header(tmp_path: Path, word: str) -> None:
    site = Site(tmp_path, f"[defaults]\nrcd = true\n[customer.acme]\n{word}")
    assert len(site.sign("", ACME).identities) == 2


def test_script_knows_the_callers_name_better(tmp_path: Path) -> None:
    site = Site(tmp_path, RCD)
    said = only(site.sign("", ACME, Further(display_name="Alice", call_reason="Your pizza")), "rcd")
    assert (said["rcd"]["nam"], said["crn"], said["rcdi"]) == ("Alice", "Your pizza", DIGEST)
    nobodys = only(site.sign(further=Further(display_name='a\r\nVia: "x"\0')), "rcd")
    assert nobodys["rcd"] == {"nam": 'a\r\nVia: "x"\0'}  # octets of a PASSporT, no header


@pytest.mark.parametrize("name", ["x" * 1025, "\ud800", "x" * 100_000])
def test_name_that_nobody_would_show_costs_the_call_nothing_else(tmp_path: Path, name: str) -> None:
    signed = Site(tmp_path, RCD).sign(further=Further(display_name=name))
    assert len(signed.identities) == 1
    assert [error.token for error in signed.refused] == ["claim_malformed"]


def test_nothing_of_it_is_signed_where_nobody_asks(tmp_path: Path) -> None:
    site = Site(tmp_path, RCD.replace("rcd = true", ""))
    further = Further("a=fingerprint:sha-256 00:11", "", "", "Alice", "Why")
    signed = site.sign("", ACME, further, resource_priority=("ets.0",))
    assert len(signed.identities) == 1
    assert "mky" not in claims(signed)[0]


@pytest.mark.parametrize("word", ["div", "rcd", "rph", "mky", "base"])
def test_what_is_wanted_is_signed_and_nothing_else(tmp_path: Path, word: str) -> None:
    site = Site(tmp_path, RCD.replace("rcd = true", f"{word} = true"))
    further = Further("a=fingerprint:sha-256 00:11", DEST, "", "Alice", "Why")
    signed = site.sign("", ACME, further, resource_priority=("ets.0",), **TO_CAROL)
    made = {value.rpartition(";ppt=")[2] if ";ppt=" in value else "base" for value in signed.identities}
    assert made == {"shaken", word} - {"mky"}
    assert ('"mky"' in json.dumps(only(signed, "shaken"))) is (word == "mky")


def test_priority_is_signed_where_the_request_has_one(tmp_path: Path) -> None:
    site = Site(tmp_path, "[defaults]\nrph = true")
    assert only(site.sign(resource_priority=("ets.0",)), "rph")["rph"] == {"auth": ["ets.0"]}
    assert len(site.sign().identities) == 1


def test_media_keys_are_those_of_the_body(tmp_path: Path) -> None:
    site = Site(tmp_path, "[defaults]\nmky = true")
    (said,) = claims(site.sign(further=Further("v=0\r\na=fingerprint:sha-256 0a:1B\r\n")))
    assert said["mky"] == [{"alg": "sha-256", "dig": "0A1B"}]
    assert "mky" not in claims(site.sign())[0]


def test_base_passport_is_signed_beside_where_that_is_wanted(tmp_path: Path) -> None:
    values = Site(tmp_path, "[defaults]\nbase = true").sign().identities
    assert [value.startswith("..") for value in values] == [False, True]


# --- An Identity that is there ----------------------------------------------------------------------------------

THEIRS = identity()
RCD_OF_OTHERS = THEIRS.replace(";ppt=shaken", ";ppt=rcd")


def existing(tmp_path: Path, mode: str, also: str = "") -> Site:
    return Site(tmp_path, f'[defaults]\nexisting_identity = "{mode}"\n{also}')


def test_call_that_is_signed_already_stays_as_it_is(tmp_path: Path) -> None:
    with refused("identity_present"):
        existing(tmp_path, "pass").sign(identity=(THEIRS,))


@pytest.mark.parametrize("attest", ["", "D"])
def test_call_that_is_signed_already_needs_no_certificate(tmp_path: Path, attest: str) -> None:
    site = Site(tmp_path, certificate_dir="nowhere")
    with refused("identity_present"):
        site.sign(attest, identity=(THEIRS,))
    with refused("attest_unknown" if attest else "certificate_none"):
        site.sign(attest, identity=("garbage",))
    with refused("attest_unknown" if attest else "certificate_none"):
        existing(tmp_path, "replace", 'certificate = "gone"').sign(attest, identity=(THEIRS,))


def test_identity_of_others_is_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    signed = existing(tmp_path, "replace").sign(identity=(THEIRS, "garbage"))
    assert (len(signed.identities), signed.keep) == (1, ("garbage",))


def test_trunk_says_what_becomes_of_the_identity_of_its_calls(tmp_path: Path) -> None:
    site = Site(tmp_path, '[trunk.peer]\nexisting_identity = "replace"')
    assert site.sign("", Origin(trunk="peer"), identity=(THEIRS,)).keep == ()
    with refused("identity_present"):
        site.sign(identity=(THEIRS,))


def test_diversion_of_a_call_that_others_signed_is_signed(tmp_path: Path) -> None:
    site = existing(tmp_path, "div")
    signed = site.sign(identity=(THEIRS,), **TO_CAROL)
    assert (diverted(signed), signed.claims, signed.keep) == ([(DEST, CAROL)], None, None)
    with refused("div_not_needed"):
        site.sign(identity=(THEIRS,))
    assert len(site.sign().identities) == 1  # and one that nobody signed is signed as any other


def test_what_nobody_can_read_is_dropped_where_that_is_wanted(tmp_path: Path) -> None:
    site = existing(tmp_path, "pass", "drop_malformed = true")
    signed = site.sign(identity=("garbage",))
    assert (len(signed.identities), signed.keep) == (1, ())
    assert [error.token for error in signed.dropped] == ["identity_malformed"]
    passed = site.sign(identity=(THEIRS, "garbage"))
    assert passed.error is not None
    assert (passed.identities, passed.keep, passed.error.token) == ((), (THEIRS,), "identity_present")
    kept = existing(tmp_path, "pass").sign(identity=("garbage",))
    assert (len(kept.identities), kept.keep) == (1, None)


# --- The clock --------------------------------------------------------------------------------------------------


def test_signing_waits_for_its_settings_without_reading_anything() -> None:
    signing = Signing(Clock())
    assert (signing.policy, signing.keys.signers, signing.troubles) == (DEFAULT, {}, ())
