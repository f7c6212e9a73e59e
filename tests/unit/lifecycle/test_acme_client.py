"""The ACME client against the laboratory's STI-CA: the whole way, every fault of the other side, and every interruption."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import validate
from kamailio_app.errors import StirError
from kamailio_app.lab.sti_ca import FAULTS, KEY_ID
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.acme_client import REASONS, AcmeClient, Grant
from kamailio_app.lifecycle.acme_profiles import PROFILES
from kamailio_app.lifecycle.issued import NO_ANCHORS
from kamailio_app.lifecycle.keys import fingerprint, new_key, read_key, write_key
from kamailio_app.lifecycle.request import read_request

from ..builders import refused
from .acme_office import Office

NAME = "sp1234-1"


def counted(office: Office, what: str) -> int:
    return sum(what in each for each in office.ca.asked)


def record(office: Office, name: str = NAME) -> pairs.Record:
    return pairs.recall(office.provider.state_dir, name)


# --- The whole way --------------------------------------------------------------------------------------------------


def test_from_nothing_to_a_certificate(acme_office: Office) -> None:
    with acme_office.client() as client:
        obtained = client.order(NAME, acme_office.token_for, anchors=acme_office.anchors)
    (pair,) = pairs.pending(acme_office.provider.state_dir)
    assert (pair.name, pair.state) == (NAME, "issued")
    credential = validate(pair.chain_file.read_bytes(), acme_office.anchors, acme_office.now())
    assert credential.tnauthlist.spcs == ("1234",)
    assert credential.public_key.public_numbers() == read_key(pair.key_file).public_key().public_numbers()
    assert obtained.chain_pem == pair.chain_file.read_bytes()
    assert obtained.findings == credential.findings == ()
    serial = parse_chain(obtained.chain_pem)[0].serial_number
    assert obtained.x5u == record(acme_office).x5u == f"https://cr.test/{serial:x}.pem"
    account_key = read_key(acme_office.ca_rules.account_key_file)
    assert acme_office.tokens == [fingerprint(account_key.public_key(), "jwk")]
    assert acme_office.said[-1] == "certificate received"


def test_keys_are_for_their_owners_eyes(acme_office: Office) -> None:
    acme_office.order()
    modes = {path.name: path.stat().st_mode & 0o777 for path in acme_office.provider.state_dir.rglob("*") if path.is_file()}
    assert {name: mode for name, mode in modes.items() if name.endswith(".key")} == {
        "acme-account.key": 0o600,
        f"{NAME}.key": 0o600,
    }
    assert (acme_office.provider.state_dir / "pairs").stat().st_mode & 0o777 == 0o700


def test_request_says_where_the_crl_is(acme_office: Office) -> None:
    chain = acme_office.order()
    request = read_request((acme_office.provider.state_dir / "pairs" / f"{NAME}.csr").read_bytes())
    points = [each.value for each in request.extensions if isinstance(each.value, x509.CRLDistributionPoints)]
    certified = [each.value for each in parse_chain(chain)[0].extensions if isinstance(each.value, x509.CRLDistributionPoints)]
    assert points == certified
    assert points[0][0].full_name == [x509.UniformResourceIdentifier(acme_office.pa.crl_url)]


def test_second_order_uses_the_account_and_asks_nobody_for_it(acme_office: Office) -> None:
    acme_office.order()
    acme_office.ca.asked.clear()
    acme_office.order("sp1234-2")
    assert counted(acme_office, "new-account") == counted(acme_office, "acme/account") == 0
    assert [pair.state for pair in pairs.pending(acme_office.provider.state_dir)] == ["issued", "issued"]
    assert len(acme_office.tokens) == 2


def test_pair_that_has_its_certificate_is_not_ordered_again(acme_office: Office) -> None:
    chain = acme_office.order()
    acme_office.ca.asked.clear()
    with refused("file_exists"):
        acme_office.order()
    assert acme_office.ca.asked == []
    assert (acme_office.provider.state_dir / "pairs" / f"{NAME}.pem").read_bytes() == chain


def test_without_anchors_the_certificate_is_kept_and_that_is_said(acme_office: Office) -> None:
    with acme_office.client() as client:
        assert client.order(NAME, acme_office.token_for).findings == (NO_ANCHORS,)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_reaches_a_ca_of_its_dialect(acme_office: Office, profile: str) -> None:
    acme_office.ca.profile = PROFILES[profile]
    acme_office.rules(profile=profile)
    subject = parse_chain(acme_office.order())[0].subject
    (name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert str(name.value).startswith("SHAKEN 1234")
    (account,) = list(acme_office.ca.accounts.values())[-1:]
    assert account.key_id == KEY_ID


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "rfc9448"])
def test_ca_of_another_dialect_says_what_it_wants(acme_office: Office, profile: str) -> None:
    acme_office.ca.profile = replace(PROFILES[profile], bare=False, key_id="binding")
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.token == "acme_refused"
    assert "the identifier has to be base64" in caught.value.detail


@pytest.mark.parametrize(("location", "there"), [("order", True), ("header", True), ("", False)])
def test_published_url_is_found_wherever_the_ca_tells_it(acme_office: Office, location: Any, there: bool) -> None:
    acme_office.ca.location = location
    acme_office.order()
    assert bool(record(acme_office).x5u) == there


def test_token_is_for_the_form_of_fingerprint_that_the_ca_compares(acme_office: Office) -> None:
    acme_office.ca.fingerprint = "spki"
    acme_office.order()
    key = read_key(acme_office.ca_rules.account_key_file).public_key()
    assert acme_office.tokens == [fingerprint(key, "spki")]


# --- Accounts -------------------------------------------------------------------------------------------------------


def test_account_is_made_once_and_found_by_its_key(acme_office: Office) -> None:
    with acme_office.client() as client:
        first = client.account()
    (acme_office.provider.state_dir / "acme-account.json").unlink()
    with acme_office.client() as client:
        second = client.account()
    assert (first.created, second.created, first.url) == (True, False, second.url)
    assert first.status == "valid"
    account = list(acme_office.ca.accounts.values())[-1]
    assert (account.contact, account.key_id) == (["mailto:noc@example.net"], KEY_ID)


def test_state_file_of_another_key_or_ca_is_not_believed(acme_office: Office) -> None:
    acme_office.order()
    acme_office.ca.asked.clear()
    state = acme_office.provider.state_dir / "acme-account.json"
    for change in ({"key": "SHA256 00"}, {"directory": "https://other.example.net/"}, {"url": 5}):
        state.write_text(json.dumps(json.loads(state.read_text()) | change))
        acme_office.order(f"sp1234-{len(acme_office.tokens) + 1}")
    state.write_text("[" * 10000)
    acme_office.order("sp1234-9")
    assert counted(acme_office, "new-account") == 4


def test_no_account_is_made_where_only_one_is_looked_for(acme_office: Office) -> None:
    with acme_office.client() as client, refused("account_key_missing"):
        client.account(create=False)
    assert not acme_office.ca_rules.account_key_file.exists()
    acme_office.ca_rules.account_key_file.parent.mkdir()
    write_key(acme_office.ca_rules.account_key_file, new_key())
    with acme_office.client() as client, refused("acme_account_unknown"):
        client.account(create=False)


def test_terms_of_service_are_agreed_to_by_people(acme_office: Office) -> None:
    acme_office.ca.terms = "https://ca.example.net/terms"
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert (caught.value.token, caught.value.detail) == ("acme_terms", "https://ca.example.net/terms")
    with acme_office.client() as client:
        assert client.account(agree=True).created
    acme_office.order()


@pytest.mark.parametrize(
    ("mac_key", "detail"),
    [
        ("bm90LXRoZS1rZXk", "the binding's MAC is wrong"),
        ("no base64!", "no base64url"),
        ("A", "no base64url"),
        ("AAAAA", "no base64"),
    ],
)
def test_wrong_mac_key_is_told_and_not_shown(acme_office: Office, mac_key: str, detail: str) -> None:
    assert acme_office.ca_rules.eab_key_file
    acme_office.ca_rules.eab_key_file.write_text(mac_key)
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.token == "acme_account_refused"
    assert detail in caught.value.detail
    assert mac_key not in str(caught.value) or mac_key == "A"


def test_mac_key_may_be_written_in_either_base64(acme_office: Office) -> None:
    acme_office.ca.mac_keys = {KEY_ID: b"\xff\xef\xbe"}
    assert acme_office.ca_rules.eab_key_file
    acme_office.ca_rules.eab_key_file.write_text("/+++\n")
    acme_office.order()


def test_binding_that_the_ca_wants_and_we_have_not(acme_office: Office) -> None:
    acme_office.rules(eab_key_id="")
    with refused("acme_account_refused"):
        acme_office.order()


def test_missing_mac_key_is_said_before_anything_is_ordered(acme_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    acme_office.rules(eab_key_file=None)
    monkeypatch.delenv("STIRSHAKEN_EAB_KEY", raising=False)
    with refused("secret_missing"):
        acme_office.order()
    assert counted(acme_office, "new-order") == 0


# --- What the STI-CA may do -----------------------------------------------------------------------------------------

PASSES = {
    "500-once", "reset-once", "bad-nonce-once", "challenge-slow", "slow", "not-ready-once", "other-chain", "chain-turned-round",
    "authorization-remembered", "no-key-change", "key-change-lost",
}  # fmt: skip
FAILS = {
    "500": "acme_unreachable",
    "503-later": "acme_unreachable",
    "reset": "acme_unreachable",
    "endless": "acme_malformed",
    "redirect": "acme_refused",
    "not-json": "acme_malformed",
    "json-nested": "acme_malformed",
    "json-numbers": "acme_malformed",
    "bad-nonce": "acme_refused",
    "no-nonce": "acme_malformed",
    "account-refused": "acme_account_refused",
    "account-gone": "acme_account_unknown",
    "rate-limited": "acme_rate_limited",
    "spc-rejected": "acme_refused",
    "no-location": "acme_malformed",
    "http-url": "acme_malformed",
    "authorization-other": "acme_malformed",
    "no-tkauth": "acme_malformed",
    "challenge-refused": "acme_challenge_refused",
    "bad-csr-once": "acme_refused",
    "never": "acme_timeout",
    "order-invalid": "acme_order_invalid",
    "order-forgotten": "acme_refused",
    "not-pem": "issued_unfit",
    "wrong-key": "issued_mismatch",
    "wrong-spc": "issued_mismatch",
    "more-spcs": "issued_mismatch",
    "expired-certificate": "issued_unfit",
    "future-certificate": "issued_unfit",
    "unknown-ca": "issued_unfit",
    "chain-without-intermediate": "issued_unfit",
}
TOGETHER = {"echo"}  # does nothing by itself


def test_every_fault_has_its_test() -> None:
    assert FAULTS.keys() == PASSES | FAILS.keys() | TOGETHER
    assert all(fault.words for fault in FAULTS.values())


@pytest.mark.parametrize("fault", sorted(PASSES))
def test_fault_that_costs_nothing_but_time(acme_office: Office, fault: str) -> None:
    acme_office.ca.misbehave(fault)
    chain = acme_office.order()
    assert validate(chain, acme_office.anchors, acme_office.now()).tnauthlist.spcs == ("1234",)
    assert sum(acme_office.waited) < 30


@pytest.mark.parametrize(("fault", "token"), FAILS.items())
def test_fault_is_told_and_nothing_is_written(acme_office: Office, fault: str, token: str) -> None:
    if fault in ("account-gone", "order-forgotten"):
        with acme_office.client() as client:
            client.account()
    acme_office.ca.misbehave(fault)
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.token == token, caught.value
    assert str(caught.value).isprintable()
    assert len(caught.value.detail) < 800
    (pair,) = pairs.pending(acme_office.provider.state_dir)
    assert pair.state == "requested"
    assert record(acme_office).trouble.startswith(token)
    # And when the STI-CA is well again, the same command ends well, with the same key
    key = pair.key_file.read_bytes()
    acme_office.ca.behave()
    acme_office.ahead = 2 * 86400 if fault == "future-certificate" else 0
    if fault in ("unknown-ca", "chain-without-intermediate"):
        # It might have been our roots: the same certificate is looked at once more
        with refused(token):
            acme_office.order()
    acme_office.order()
    assert pair.key_file.read_bytes() == key
    assert record(acme_office).trouble == ""


def test_rate_limit_is_kept_as_the_ca_wants(acme_office: Office) -> None:
    acme_office.ca.misbehave("rate-limited")
    with refused("acme_rate_limited"):
        acme_office.order()
    assert record(acme_office).not_before == pytest.approx(acme_office.now() + 3600, abs=10)


def test_more_failures_wait_longer_and_a_slow_ca_is_no_failure(acme_office: Office) -> None:
    acme_office.ca.misbehave("order-invalid")
    waits = []
    for _ in range(9):
        with refused("acme_order_invalid"):
            acme_office.order()
        waits.append(round((record(acme_office).not_before - acme_office.now()) / 60))
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 360
    acme_office.ca.behave()
    acme_office.ca.misbehave("never")
    with refused("acme_timeout"):
        acme_office.order()
    assert record(acme_office).failures == 9


def test_retry_after_is_waited_for_within_what_is_allowed(acme_office: Office) -> None:
    acme_office.ca.misbehave("never", "slow")
    with refused("acme_timeout"):
        acme_office.order()
    assert 50 < sum(acme_office.waited) <= acme_office.seconds
    assert 1.0 in acme_office.waited


def test_refused_token_is_explained_by_its_step(acme_office: Office) -> None:
    acme_office.ca.fingerprint = "spki"  # and we think it is jwk

    def wrong(_fingerprint: str) -> Grant:
        return acme_office.token_for(f"SHA256 {':'.join(['00'] * 32)}")

    with acme_office.client() as client, pytest.raises(StirError) as caught:
        client.order(NAME, wrong, anchors=acme_office.anchors)
    assert caught.value.token == "acme_challenge_refused"
    assert "step 8: fingerprint" in caught.value.detail


def test_refused_token_recalls_what_is_known_of_the_ca(acme_office: Office) -> None:
    acme_office.ca.profile = PROFILES["martini"]
    acme_office.rules(profile="martini")
    acme_office.ca.misbehave("challenge-refused")
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.detail.endswith('clients of martini use spc_token_fingerprint = "spki", here it is "jwk"')


# --- Secrets --------------------------------------------------------------------------------------------------------


def test_token_and_keys_are_in_no_log_and_no_message(acme_office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []

    def token_for(fingerprint: str) -> Grant:
        grant = acme_office.token_for(fingerprint)
        texts.append(grant.text)
        assert grant.text not in repr(grant)
        return grant

    acme_office.ca.misbehave("challenge-refused", "echo")
    with acme_office.client() as client, pytest.raises(StirError) as caught:
        client.order(NAME, token_for, anchors=acme_office.anchors)
    assert "(a token)" in caught.value.detail
    told = "\n".join((caplog.text, str(caught.value), repr(caught.value), *acme_office.said, record(acme_office).trouble))
    mac_key = acme_office.ca_rules.eab_key_file
    assert mac_key
    for secret in (*texts[0].split("."), mac_key.read_text().strip()):
        assert secret not in told


# --- Interruptions --------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """The power fails."""


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool) -> Iterator[None]:
    real = getattr(owner, name)

    def fails(*arguments: Any, **options: Any) -> Any:
        if after:
            real(*arguments, **options)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails)
        with pytest.raises(Interrupted):
            yield


STEPS = ["_create", "_new_order", "_authorize", "_answer", "_grant", "_write_request", "_finalize", "_download"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_interrupted_order_is_taken_up_again(
    acme_office: Office, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    with interrupted(monkeypatch, AcmeClient, step, after):
        acme_office.order()
    keys = {path: path.read_bytes() for path in acme_office.provider.state_dir.rglob("*.key")}
    assert len(keys) == 2
    orders = len(acme_office.ca.orders)
    acme_office.order()
    assert {path: path.read_bytes() for path in acme_office.provider.state_dir.rglob("*.key")} == keys
    # No order is made twice, unless the first was not made or its URL is lost with the power
    assert len(acme_office.ca.orders) - orders == (step == "_create" or (step == "_new_order" and not after))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["keep_chain", "write_new", "remember"])
def test_interruption_while_the_chain_is_written(
    acme_office: Office, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    acme_office.ca.misbehave("never")
    with refused("acme_timeout"):
        acme_office.order()
    acme_office.ca.behave()
    for order in acme_office.ca.orders.values():
        order.status = "valid"
    with interrupted(monkeypatch, pairs, step, after):
        acme_office.order()
    (pair,) = pairs.pending(acme_office.provider.state_dir)
    if pair.state == "requested":
        acme_office.order()
        (pair,) = pairs.pending(acme_office.provider.state_dir)
    assert pair.state == "issued"
    assert validate(pair.chain_file.read_bytes(), acme_office.anchors, acme_office.now())
    assert [path.suffix for path in sorted(pair.key_file.parent.iterdir())] == [".csr", ".json", ".key", ".pem"]


def test_order_at_a_former_ca_is_left_there(acme_office: Office) -> None:
    acme_office.ca.misbehave("never")
    with refused("acme_timeout"):
        acme_office.order()
    acme_office.ca.behave()
    path = acme_office.provider.state_dir / "pairs" / f"{NAME}.json"
    path.write_text(path.read_text().replace(acme_office.ca.url, "https://former.example.net/"))
    acme_office.order()


def test_lost_or_foreign_record_costs_an_order_and_no_key(acme_office: Office) -> None:
    acme_office.ca.misbehave("never")
    with refused("acme_timeout"):
        acme_office.order()
    acme_office.ca.behave()
    key = pairs.find(acme_office.provider.state_dir, NAME).key_file.read_bytes()
    (acme_office.provider.state_dir / "pairs" / f"{NAME}.json").write_text('{"failures": "many", "order": null, "x": 1}')
    acme_office.order()
    assert pairs.find(acme_office.provider.state_dir, NAME).key_file.read_bytes() == key


@pytest.mark.parametrize("how", ["removed", "invalid", "another's"])
def test_order_that_the_ca_has_forgotten_is_made_anew(acme_office: Office, how: str) -> None:
    acme_office.ca.misbehave("never")
    with refused("acme_timeout"):
        acme_office.order()
    acme_office.ca.behave()
    order = list(acme_office.ca.orders.values())[-1]
    if how == "removed":
        order.account = 0
    elif how == "invalid":
        order.status = "invalid"
    else:
        path = acme_office.provider.state_dir / "pairs" / f"{NAME}.json"
        path.write_text(path.read_text().replace(acme_office.ca.url.replace("directory", "order"), "https://localhost:1/order"))
        with refused("acme_unreachable"):
            acme_office.order()
        return
    orders = len(acme_office.ca.orders)
    acme_office.order()
    assert len(acme_office.ca.orders) == orders + 1


@pytest.mark.parametrize("what", ["write_state", "os.replace"])
def test_disk_that_is_full_is_not_the_cas_fault(acme_office: Office, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "/state/x")

    if what == "os.replace":
        acme_office.order()
    monkeypatch.setattr(f"kamailio_app.lifecycle.acme_client.{what}", full)
    with acme_office.client() as client, pytest.raises(StirError) as caught:
        client.rollover() if what == "os.replace" else client.account()
    assert (caught.value.token, caught.value.detail) == ("file_unwritable", "/state/x: No space left on device")
    monkeypatch.undo()
    # And with room again it is found out how things stand
    acme_office.order("sp1234-2")


# --- Key change, revocation -----------------------------------------------------------------------------------------


def test_account_key_is_changed_and_serves_the_next_order(acme_office: Office) -> None:
    acme_office.order()
    file = acme_office.ca_rules.account_key_file
    former = read_key(file)
    with acme_office.client() as client:
        account = client.rollover()
    assert account.key_fingerprint == fingerprint(read_key(file).public_key(), "jwk")
    assert read_key(file).public_key() != former.public_key()
    assert sorted(path.name for path in file.parent.iterdir()) == ["acme-account.json", "acme-account.key", "pairs"]
    acme_office.order("sp1234-2")
    assert acme_office.tokens[1] == account.key_fingerprint != acme_office.tokens[0]


@pytest.mark.parametrize("lost", [False, True])
def test_interrupted_key_change_ends_with_the_key_that_the_ca_has(acme_office: Office, lost: bool) -> None:
    """`lost`: the STI-CA has changed it, and its answer did not come; otherwise it never heard of it."""
    with acme_office.client() as client:
        first = client.account()
    file = acme_office.ca_rules.account_key_file
    if lost:
        acme_office.ca.misbehave("key-change-lost")
        with acme_office.client() as client, refused("acme_unreachable"):
            client.rollover()
    else:
        write_key(file.with_name("acme-account.key.new"), new_key())
    with acme_office.client() as client:
        account = client.account()
    assert (account.url, account.created) == (first.url, False)
    assert (account.key_fingerprint != first.key_fingerprint) == lost
    acme_office.order()
    with acme_office.client() as client:
        client.rollover()
    acme_office.order("sp1234-2")


def test_key_change_that_the_ca_does_not_offer(acme_office: Office) -> None:
    acme_office.ca.misbehave("no-key-change")
    with acme_office.client() as client:
        client.account()
        with refused("acme_refused"):
            client.rollover()


def test_key_that_another_account_has_is_refused(acme_office: Office) -> None:
    acme_office.order()
    used = read_key(acme_office.ca_rules.account_key_file)
    acme_office.rules(account_key_file=acme_office.provider.state_dir / "other.key")
    with acme_office.client() as client:
        client.account()
        with pytest.raises(StirError) as caught:
            client.rollover(used)
    assert caught.value.token == "acme_refused"
    assert "account" in caught.value.detail


@pytest.mark.parametrize(("word", "reason"), REASONS.items())
def test_revoked_certificate_reaches_the_sti_pa(acme_office: Office, word: str, reason: int) -> None:
    told: list[x509.Certificate] = []
    acme_office.ca.revoked = told.append
    certificate = parse_chain(acme_office.order())[0]
    with acme_office.client() as client:
        client.revoke(certificate, reason)
        assert told == [certificate]
        with pytest.raises(StirError) as caught:
            client.revoke(certificate, reason)
    assert "alreadyRevoked" in caught.value.detail


# --- Where there is nothing to reach --------------------------------------------------------------------------------


def test_every_refusal_that_says_when_to_come_again_is_heard(acme_office: Office) -> None:
    for name, fault, of in (("rate", "rate-limited", 3600), ("order", "503-later", 3600), ("redirect", "redirect", 0)):
        acme_office.ca.behave()
        with acme_office.client() as client:
            client.account()
        acme_office.ca.misbehave(fault)
        with pytest.raises(StirError):
            acme_office.order(name)
        again = pairs.recall(acme_office.provider.state_dir, name).not_before - acme_office.now()
        assert again == pytest.approx(of or 300, abs=5), fault


@pytest.mark.parametrize(
    ("fault", "detail", "advice"),
    [
        ("500", "HTTP 500", "try again later"),
        ("redirect", "HTTP 302", "`acme_directory`"),
        ("reset", "/acme/directory: the connection was broken off", "Try again in a while"),
        ("no-nonce", "its answers bring no nonce", "`acme_directory`"),
    ],
)
def test_next_step_is_about_the_cause(acme_office: Office, fault: str, detail: str, advice: str) -> None:
    acme_office.ca.misbehave(fault)
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert detail in caught.value.detail
    assert advice in caught.value.advice
    assert "{" not in str(caught.value)


def test_what_the_ca_does_not_offer_is_not_to_be_tried_again(acme_office: Office) -> None:
    acme_office.ca.misbehave("no-key-change")
    with acme_office.client() as client:
        client.account()
        with pytest.raises(StirError) as caught:
            client.rollover()
    assert "ask the STI-CA" in caught.value.advice


def test_unreachable_and_untrusted_servers(acme_office: Office) -> None:
    acme_office.rules(directory="https://localhost:1/acme/directory")
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.detail == "https://localhost:1/acme/directory: Connection refused"
    assert "nothing listens there" in caught.value.advice
    acme_office.rules(directory=acme_office.ca.url, tls_ca_file=None)
    with pytest.raises(StirError) as caught:
        acme_office.order()
    assert caught.value.token == "acme_unreachable"
    assert "certificate" in caught.value.detail
    assert "`acme_tls_ca_file`" in caught.value.advice


@pytest.mark.parametrize("change", [{"directory": ""}, {"directory": "http://localhost/acme"}])
def test_settings_without_a_directory(acme_office: Office, change: dict[str, str]) -> None:
    acme_office.rules(**change)
    with refused("option_invalid" if not change["directory"] else "acme_malformed"):
        acme_office.order()


def test_no_name_leads_out_of_the_directory(acme_office: Office) -> None:
    for name in ("../x", "", ".", "a/b", "x" * 129, "ä"):
        with refused("pair_unknown"):
            acme_office.order(name)
    assert acme_office.ca.asked == []


def test_state_that_cannot_be_written(acme_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    acme_office.provider.state_dir.write_text("a file")
    with refused("file_unwritable"):
        acme_office.order()
