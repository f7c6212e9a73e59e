"""Renewal: when it is due, which pair follows which, and everything that is next, for a timer (AC-8, AS-9).

A certificate is renewed after a share of its lifetime, `renew_after`. The new pair has a new name, so a new x5u URL (RFC 8224
7.3); `rotation` publishes it and switches to it. The first certificate is a person's to order: `shakenctl acme order`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cryptography import x509

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.tnauthlist import TNAuthList, of_certificate
from kamailio_app.credentials.trust_list import read_trust_list, signer_url
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import pairs
from kamailio_app.lifecycle.acme_client import ORDER_SECONDS, AcmeClient, Grant, Obtained, TokenFor
from kamailio_app.lifecycle.acme_transport import Say
from kamailio_app.lifecycle.inspection_trust import trusted
from kamailio_app.lifecycle.pairs import Record
from kamailio_app.lifecycle.rotation import Look, Rotation
from kamailio_app.lifecycle.server import DEFAULT_CONTROL, Kamailio
from kamailio_app.lifecycle.sti_pa import sti_pa_of
from kamailio_app.runtime.choice import moment
from kamailio_app.runtime.keystore import load_signers
from kamailio_app.runtime.settings import Settings

Clock = Callable[[], float]  # seconds: `now` since 1970, `clock` monotonic

_BY_HAND: Final = "the settings have no acme_directory: `shakenctl acme request`, then `acme install`"


class Step(NamedTuple):
    """What was done with a pair, or is to be done: `when` in seconds since 1970, 0 for now. As `rotation.Step`."""

    pair: str
    action: str
    state: Literal["done", "waits", "failed"]
    when: float
    words: str


class Current(NamedTuple):
    """The provider's certificate that ends last, whether it signs yet or not; one that is revoked if there are no others.
    `state`: of a pair that waits, empty for one in certificate_dir. Times in seconds since 1970.
    """

    name: str
    not_before: float
    not_after: float
    revoked: bool = False
    state: str = ""


class Plan(NamedTuple):
    """The next order: of a pair that waits for its certificate, or of a new one. `when` 0: never by itself.

    `follows`: the pair that it will replace, empty for the first; `words`: why.
    """

    name: str
    when: float
    follows: str
    words: str


def due(current: Current, renew_after: float) -> float:
    """When its renewal begins, in seconds since 1970."""
    return current.not_before + renew_after * (current.not_after - current.not_before)


def current(settings: Settings, now: float) -> Current | None:
    """Among the pairs in certificate_dir and those that wait. Errors: `file_unreadable`."""
    spc = settings.provider.spc
    loaded = load_signers(settings.certificate_dir, settings.public_cert_url, now)
    revoked = pairs.revoked(settings.provider.state_dir)
    found = [
        Current(each.name, each.not_before, each.not_after, each.fingerprint in revoked)
        for each in loaded.signers.values()
        if spc in each.spcs
    ]
    youngest = max((each.not_before for each in found), default=0.0)
    for pair in pairs.pending(settings.provider.state_dir):
        if pair.state in ("issued", "published"):
            with suppress(StirError, OSError):
                certificate = parse_chain(pair.chain_file.read_bytes())[0]
                if spc in (of_certificate(certificate) or TNAuthList()).spcs:
                    began, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
                    if began.timestamp() >= youngest:  # else it will never sign
                        found.append(Current(pair.name, began.timestamp(), ends.timestamp(), pair.revoked, pair.state))
    return max(found, key=lambda each: (not each.revoked, each.not_after, each.name), default=None)


def plan(settings: Settings, now: float) -> Plan:
    """What is ordered next, and when. Errors: `file_unreadable`."""
    provider = settings.provider
    held = current(settings, now)
    follows = held.name if held else ""
    begun = [
        (pair, record)
        for pair in pairs.pending(provider.state_dir)
        if pair.state == "requested"
        and not (record := pairs.recall(provider.state_dir, pair.name)).by_hand
        and record.spc in ("", provider.spc)
        # An order that was given up, and a younger certificate came
        and not (held and 0 < record.asked < held.not_before)
    ]
    if begun:
        pair, record = max(begun, key=lambda each: (each[1].asked, each[0].name))
        return Plan(pair.name, max(float(record.not_before), 1), follows, _trouble(record))
    name = fresh_name(settings, now)
    if held is None:
        return Plan(name, 0, "", "there is no certificate yet: `shakenctl acme order`")
    if held.revoked:
        return Plan(name, 0, follows, f"the certificate of {held.name} is revoked: `shakenctl renew --now` orders the next")
    return Plan(name, due(held, provider.sti_ca.renew_after), follows, f"{held.name} ends {moment(held.not_after)}")


def fresh_name(settings: Settings, now: float) -> str:
    """A name that neither a pair nor a published chain has. Errors: `option_invalid` without spc."""
    provider = settings.provider
    if not provider.spc:
        raise failure("option_invalid", "[provider] spc is empty")
    places = (settings.certificate_dir, provider.state_dir / "pairs", provider.state_dir / "retired")
    published = (provider.publication.directory,) if provider.publication.directory else ()
    taken = {path.stem for place in (*places, *published) if place.is_dir() for path in place.iterdir()}
    return pairs.new_name(provider.spc, now, taken)


def renew(
    settings: Settings,
    *,
    force: bool = False,
    control: str = DEFAULT_CONTROL,
    seconds: float = ORDER_SECONDS,
    say: Say = lambda _words: None,
    look: Look | None = None,
    token_for: TokenFor | None = None,
    now: Clock = time.time,
    clock: Clock = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> list[Step]:
    """Whatever is next for every pair: order when it is due, publish, look, switch, reload, retire. What fails is a step that
    says so, and the others go on. `force`: order now, due or not. Hold `pairs.alone` meanwhile.

    Errors: those that concern all: settings, directories.
    """
    placed = partial(order, settings, token_for=token_for, seconds=seconds, say=say, now=now, clock=clock, wait=wait)
    steps = [_order(settings, now(), force, placed)]
    rotated = Rotation(settings, now(), Kamailio(control), look).advance()
    steps += [Step(*step) for step in rotated]
    if steps[0].state == "done":
        steps.append(_waiting(settings, plan(settings, now())))
    return steps


def forecast(settings: Settings, now: float, *, force: bool = False) -> list[Step]:
    """What `renew` would do, and when. Changes nothing. Errors: as `renew`."""
    next_ = plan(settings, now)
    steps = [_waiting(settings, next_._replace(when=1) if force else next_, now)]
    standings = Rotation(settings, now, Kamailio(DEFAULT_CONTROL), None).standings()
    return steps + [Step(*row.next) for row in standings if row.next is not None]


def order(
    settings: Settings,
    name: str,
    *,
    token_for: TokenFor | None = None,
    seconds: float = ORDER_SECONDS,
    say: Say = lambda _words: None,
    now: Clock = time.time,
    clock: Clock = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Obtained:
    """A certificate for this pair, with SPC tokens of the STI-PA by default. Errors: of `AcmeClient.order` and `StiPa`."""
    provider = settings.provider
    with AcmeClient(provider.sti_ca, provider, seconds=seconds, say=say, now=now, clock=clock, wait=wait) as client:
        return client.order(name, token_for or tokens(settings, now), anchors=anchors(settings, now()))


def tokens(settings: Settings, now: Clock = time.time) -> TokenFor:
    """SPC tokens from the STI-PA of the settings, each when it is asked for."""

    def token_for(fingerprint: str) -> Grant:
        spc = settings.provider.spc
        with sti_pa_of(settings) as sti_pa:
            issued = sti_pa.token(spc, TNAuthList((spc,)), fingerprint, now=now())
        return Grant(issued.token.text, issued.crl)

    return token_for


def anchors(settings: Settings, now: float) -> TrustAnchors:
    """Those that verification trusts: files and what the server keeps of the STI-PA's list; the STI-PA is asked for its list
    where the settings want one and the server has none yet. None at all if it does not answer.
    """
    held = trusted(settings).sti_cas
    if len(held) or not settings.provider.sti_pa.url:
        return held
    try:
        with sti_pa_of(settings, anonymous=True) as sti_pa:
            text = sti_pa.ca_list()
            url = signer_url(text)
            listed = read_trust_list(text, sti_pa.certificate(url) if url else b"", sti_pa.anchors, now)
            return listed.anchors()
    except StirError:
        return held


def certificate(settings: Settings, name: str) -> x509.Certificate:
    """Of a pair that waits, signs or was retired. Errors: `pair_unknown`, `certificate_malformed`, `file_unreadable`."""
    state_dir = settings.provider.state_dir
    for directory in (state_dir / "pairs", settings.certificate_dir, state_dir / "retired"):
        path = directory / f"{Path(name).name}.pem"
        if path.stem != name or not path.exists():
            continue
        try:
            return parse_chain(path.read_bytes())[0]
        except OSError as error:
            raise failure("file_unreadable", f"{path}: {error.strerror}") from error
        except StirError as error:
            raise failure("certificate_malformed", error.detail) from error
    raise failure("pair_unknown", one_line(name, 100))


def _order(settings: Settings, now: float, force: bool, placed: Callable[[str], Obtained]) -> Step:
    next_ = plan(settings, now)
    if not _is_time(settings, next_, now, force):
        return _waiting(settings, next_, now, force=force)
    try:
        obtained = placed(next_.name)
    except StirError as error:
        later = pairs.recall(settings.provider.state_dir, next_.name).not_before
        return Step(next_.name, "order", "failed", later, one_line(str(error)))
    words = "; ".join((f"follows {next_.follows}" if next_.follows else "the first", *obtained.findings))
    return Step(next_.name, "order", "done", 0, words)


def _is_time(settings: Settings, next_: Plan, now: float, force: bool) -> bool:
    return bool(settings.provider.sti_ca.directory) and (force or 0 < next_.when <= now)


def _waiting(settings: Settings, next_: Plan, now: float = 0, *, force: bool = False) -> Step:
    """What is not ordered now. Without ACME it is a person's, and has failed when it is over due or wanted now; so has the next
    of one that a person had revoked, who has to say whether there is to be another.
    """
    revoked = bool(next_.follows and not next_.when)
    failed = force or revoked
    words = next_.words
    if not settings.provider.sti_ca.directory:
        failed = failed or 0 < next_.when <= now
        words = f"{words.partition(':')[0]}; {_BY_HAND}" if not next_.when else f"{words}; {_BY_HAND}"
        return Step(next_.follows, "order", "failed" if failed else "waits", next_.when, words)
    if failed or not next_.when:  # no pair has that name yet
        return Step(next_.follows, "order", "failed" if failed else "waits", 0, words)
    return Step(next_.name, "order", "waits", next_.when if next_.when > 1 else 0, words)


def _trouble(record: Record) -> str:
    begun = f"begun {moment(record.asked)}" if record.asked else "begun"
    return f"{begun}; {record.trouble}" if record.trouble else begun
