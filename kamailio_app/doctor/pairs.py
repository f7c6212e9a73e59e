"""The keys and certificates that sign, as the server would read them now (RFC 8224 6.1, AS-13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kamailio_app.credentials.credential import validate
from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, bad, count, failed, good, unseen, warning
from kamailio_app.doctor.lists import LONGEST
from kamailio_app.doctor.site import Site
from kamailio_app.errors import UnsupportedCredential
from kamailio_app.lifecycle.pairs import pending, revoked
from kamailio_app.runtime.certificate_list import certificate_list
from kamailio_app.runtime.certificates import DAY, MARKS, days_in_words, ends_soon, follower
from kamailio_app.runtime.choice import moment, provider
from kamailio_app.sti_as import Signer

AREA: Final = "pairs"
_A_STEP: Final = 86400  # seconds: timers run once a day
_TIMELY: Final = ("certificate_expired", "certificate_not_yet_valid", "key_shared")  # findings of other checks


def _match(site: Site) -> Iterator[Seen]:
    refused = dict(site.loaded.refused)
    for name in sorted({*refused, *site.loaded.signers}):
        error = refused.get(name)
        if error is not None and error.token not in _TIMELY:
            yield failed(error, name)
        elif name in site.loaded.signers:
            signer = site.loaded.signers[name]
            yield good(f"{name}: P-256, of {provider(signer)}, {signer.fingerprint[:16]}, until {moment(signer.not_after)}")


def _signs_now(site: Site) -> Iterator[Seen]:
    if not site.signs:
        yield unseen("[signing] public_cert_url is empty: this edge signs nothing", "Set public_cert_url if it is to sign.")
        return
    found = certificate_list(site.loaded, site.choices, site.now, site.wanted)
    yield from (bad(problem) for problem in found.problems)
    try:
        gone = revoked(site.settings.provider.state_dir)
        for name, signer in site.signing_now().items():
            if signer.fingerprint in gone:
                yield bad(f"{name} signs for {provider(signer)}, and its certificate was revoked", "shakenctl renew --now")
            else:
                yield good(f"{name} signs for {provider(signer)} since {moment(site.choices.begins[name])}")
    except NotLookedAt as error:
        if not found.problems:
            yield bad(error.words)


def _end(site: Site) -> Iterator[Seen]:
    for name, signer in site.signing_now().items():
        left = (signer.not_after - site.now) / DAY
        ends = f"{name} ends in {days_in_words(left)}, {moment(signer.not_after)}"
        if name in {certificate for certificate, _ in site.wanted.questions}:
            after, gap = "", 0.0  # nothing follows one that the policy names
        else:
            after, gap = _after(site, signer)
        if after and gap <= 0:
            yield good(f"{ends}; {after} follows")
        elif after:
            yield warning(f"{ends}; {after} follows {days_in_words(gap / DAY)} later", "Get a certificate that begins earlier.")
        elif left <= MARKS[-1]:
            yield bad(f"{ends}; nothing follows")
        elif ends_soon(signer, site.now):
            yield warning(f"{ends}; nothing follows")
        else:
            yield good(ends)


def _after(site: Site, signer: Signer) -> tuple[str, float]:
    """What signs for the same provider when this one has ended, and how many seconds after."""
    if name := follower(site.choices, signer):
        return name, 0.0
    begins = site.choices.begins
    later = [
        (begins[one.name], one.name)
        for one in site.to_come().values()
        if provider(one) == provider(signer) and begins[one.name] > signer.not_after
    ]
    first = min(later, default=(0.0, ""))
    return first[1], first[0] - signer.not_after


def _provider(site: Site) -> Iterator[Seen]:
    spc = site.settings.provider.spc
    if not site.loaded.signers:
        return
    if not spc:
        yield unseen("[provider] spc is empty: nothing to compare with", "Set [provider] spc to your OCN.")
        return
    others = [signer for signer in site.loaded.signers.values() if spc not in signer.spcs]
    if len(others) < len(site.loaded.signers):
        yield good(f"{count(len(site.loaded.signers) - len(others), 'certificate')} of {spc}")
    elif site.policy is not None:
        yield warning(f"no certificate is of {spc}")
    # A policy that says whose call it is has certificates of several providers
    for signer in others if site.policy is None else ():
        yield bad(f"{signer.name} is of {provider(signer) or 'nobody'}, not of {spc}")


def _on_their_way(site: Site) -> Iterator[Seen]:
    """Pairs that are not in use yet: each step of theirs takes minutes, or it has stopped."""
    switch_after = site.settings.provider.publication.switch_after
    for pair in pending(site.settings.provider.state_dir):
        if pair.name in site.loaded.signers or pair.state == "installed":
            continue
        if pair.revoked:
            yield warning(f"{pair.name}: its certificate was revoked", f"shakenctl acme forget {pair.name}")
            continue
        try:
            since = (pair.key_file if pair.state == "requested" else pair.chain_file).stat().st_mtime
        except FileNotFoundError:  # the timer has just taken it further
            continue
        words = f"{pair.name}: {pair.state}, {days_in_words((site.now - since) / DAY)} old"
        if site.now - since < switch_after + _A_STEP:
            yield good(words)
        elif pair.state == "requested":
            yield warning(f"{words}, and no certificate came", f"shakenctl acme order --name {pair.name}")
        else:
            yield warning(f"{words}, and does not sign", "shakenctl publish advance")


def _one_key_each(site: Site) -> Iterator[Seen]:
    for shared in site.choices.shared.values():
        yield bad(shared)
    if site.loaded.signers and not site.choices.shared:
        yield good(f"{count(len(site.choices.providers), 'provider')}, no key in common")


def _profile(site: Site) -> Iterator[Seen]:
    """Only of a certificate whose path is known; that it is not is the finding of trust."""
    anchors = site.anchors
    for name, signer in {**site.signing_now(), **site.to_come()}.items():
        try:
            credential = validate(site.loaded.pairs[name].chain, anchors, max(site.now, signer.not_before))
        except UnsupportedCredential:
            continue
        yield from (warning(f"{name}: {words}") for words in credential.findings)
        if not credential.findings:
            yield good(f"{name}: nothing breaks it")


CHECKS: Final = (
    Check(
        AREA,
        "key and certificate",
        "Each NAME.key and NAME.pem: P-256, the key is the certificate's, the certificate may sign PASSporTs.",
        "Mend the file in certificate_dir and reload.",
        "RFC 8224 6.1, RFC 8225 4",
        _match,
    ),
    Check(
        AREA,
        "who signs now",
        "The pair that signs at this time, of every provider that settings and policy ask for.",
        "Put a pair into certificate_dir and reload; shakenctl onboard says how to get one.",
        "RFC 8224 6.1 step 3",
        _signs_now,
    ),
    Check(
        AREA,
        "end and overlap",
        "When the pair that signs ends, and what follows it: 30 days before (a third of a shorter life), 1 day before.",
        "shakenctl renew",
        "ours: old and new overlap",
        _end,
    ),
    Check(
        AREA,
        "service provider code",
        "The code in each certificate's TNAuthList is [provider] spc, in the United States the OCN.",
        "Ask for a certificate with your own code, or mend [provider] spc.",
        "ATIS-1000080 6.4.1",
        _provider,
    ),
    Check(
        AREA,
        "on their way",
        "Pairs in provider_state_dir that are not in use yet: none of them has stopped for a day.",
        "shakenctl publish status says how far each is.",
        "ours: a renewal that stopped is seen before the certificate ends",
        _on_their_way,
    ),
    Check(
        AREA,
        "one key, one provider",
        "No private key stands behind the certificates of two providers.",
        "Make a key for each provider (shakenctl key new) and have it certified.",
        "decision 54",
        _one_key_each,
    ),
    Check(
        AREA,
        "profile",
        "What breaks the profile of SHAKEN certificates; strict verifiers refuse it.",
        "Ask the STI-CA for a certificate without it.",
        "ATIS-1000080 6.4.1",
        _profile,
        "host",
        LONGEST + 2,
    ),
)
