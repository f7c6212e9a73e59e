"""Whom this edge trusts, and whether others trust it: roots, the STI-PA's list and CRL, our own chain under them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kamailio_app.credentials.credential import Credential, validate
from kamailio_app.credentials.crl import Revocations, check_revocation
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.doctor import lists
from kamailio_app.doctor.finding import Check, Seen, bad, count, failed, good, unseen, warning
from kamailio_app.doctor.site import Site
from kamailio_app.errors import StirError, UnsupportedCredential
from kamailio_app.runtime.choice import moment
from kamailio_app.runtime.trust import CRL_FILE, LIST_FILE

AREA: Final = "trust"
_SECONDS: Final = lists.LONGEST + 2  # those that may wait for the lists
_END_OF_TIME: Final = 1 << 34
_SOON: Final = 3 * 86400
_HOUR: Final = 3600
_START: Final = (
    "Start the server, which fetches and keeps it; before there is one: shakenctl sti-pa ca-list --out FILE, "
    "and [trust] trust_list_file = FILE."
)
_ASK: Final = "The server fetches it again by itself; if it stays so, ask the STI-PA, and see server: trust."


def _anchors(site: Site) -> Iterator[Seen]:
    settings = site.settings
    kept = site.trusted.trust_list
    own, listed = len(site.trusted.own), len(kept.anchors()) if kept else 0
    if settings.ca_file and not own:
        yield bad(f"no certificate in {settings.ca_file}", "Put the STI-CAs' roots there in PEM.")
    elif own or listed:
        yield good(f"{count(own, 'root')} of ca_file, {listed} of the STI-PA's list")
    elif settings.trust.trust_list_url or settings.trust.trust_list_file:
        yield warning("none on this host yet: no server has kept the STI-PA's list", _START)
    else:
        yield warning("neither ca_file nor a trust list is set: every verification ends with credential_untrusted")
    for each in site.trusted.own.certificates:
        if each.not_valid_after_utc.timestamp() < site.now:
            yield warning(
                f"{each.subject.rfc4514_string()} ended {moment(each.not_valid_after_utc.timestamp())}",
                "Take it out of ca_file.",
            )


def _list_in_use(site: Site) -> Iterator[Seen]:
    rules = site.settings.trust
    if not (rules.trust_list_url or rules.trust_list_file):
        return
    if site.trusted.trust_list is None:
        yield _none_on_disk(site, "trust list")
    else:
        yield _list(site, site.trusted.trust_list, _age(site, LIST_FILE))


def _list(site: Site, found: TrustList, where: str) -> Seen:
    words = f"sequence {found.sequence}, {count(len(found.anchors()), 'root')}, until {_when(found.expires)}{where}"
    if site.now >= found.expires:
        return bad(f"expired: {words}")
    if found.expires - site.now <= _SOON:
        return warning(f"expires soon: {words}")
    if found.skipped:
        return warning(f"{words}; {found.skipped} entries are no CA certificates", "Tell the STI-PA.")
    return good(words)


def _when(seconds: int) -> str:
    """Who writes a list may write any number."""
    return moment(seconds) if seconds < _END_OF_TIME else "the end of time"


def _crl_in_use(site: Site) -> Iterator[Seen]:
    rules = site.settings.trust
    if not (rules.crl_url or rules.crl_file):
        if rules.sti_pa_ca_file:
            yield warning("no crl_url is set: revoked certificates are accepted", "Set [trust] crl_url.")
        return
    if site.trusted.revocations is None:
        yield _none_on_disk(site, "CRL")
    else:
        yield _crl(site, site.trusted.revocations, _age(site, CRL_FILE))


def _crl(site: Site, found: Revocations, where: str) -> Seen:
    words = f"number {found.number}, {len(found.revoked)} revoked, next update {moment(found.next_update)}{where}"
    if site.now < found.next_update:
        return good(words)
    # RFC 5280 6.3: what it means is crl_failure's to say
    return bad(f"stale, and crl_failure is hard: {words}") if site.settings.trust.hard else warning(f"stale: {words}")


def _none_on_disk(site: Site, what: str) -> Seen:
    if site.settings.state_dir is None:
        return unseen(f"state_dir is empty: nothing says which {what} the server has", "See server: trust.")
    return warning(f"no {what} of this STI-PA in {site.settings.state_dir}", _START)


def _age(site: Site, name: str) -> str:
    directory = site.settings.state_dir
    try:
        seconds = site.now - (directory / name).stat().st_mtime if directory else 0.0
    except OSError:
        return ""
    return f", written {seconds / _HOUR:.1f} h ago"


def _lists_now(site: Site) -> Iterator[Seen]:
    """What the server would get if it looked at this moment, by the very function that it looks with."""
    found, where = site.lists_now, site.settings.trust
    if isinstance(found.trust_list, StirError):
        yield failed(found.trust_list, "trust list")
    elif found.trust_list is not None:
        yield _list(site, found.trust_list, f" at {where.trust_list_url or where.trust_list_file}")
    if isinstance(found.revocations, StirError):
        yield failed(found.revocations, "CRL")
    elif found.revocations is not None:
        yield _crl(site, found.revocations, f" at {where.crl_url or where.crl_file}")


def _own(site: Site) -> Iterator[tuple[str, Credential | StirError]]:
    """Our own chains as another verifier would take them, by name. Errors: NotLookedAt."""
    anchors = site.anchors
    for name, signer in {**site.signing_now(), **site.to_come()}.items():
        try:
            yield name, validate(site.loaded.pairs[name].chain, anchors, max(site.now, signer.not_before))
        except UnsupportedCredential as error:
            yield name, error


def _own_ca(site: Site) -> Iterator[Seen]:
    listed = site.trust_list.anchors().fingerprints if site.trust_list else None
    which = "the STI-PA's list" if site.trusted.trust_list else "the STI-PA's list as it is now"
    for name, credential in _own(site):
        if isinstance(credential, StirError):
            yield bad(f"{name}: {credential}")
        elif listed is not None and credential.anchor not in listed:
            yield bad(f"{name}: its root is in ca_file alone, not in {which}: others do not trust it")
        else:
            yield good(f"{name}: root {credential.anchor[:16]} {f'in {which}' if listed is not None else 'of ca_file'}")


def _own_not_revoked(site: Site) -> Iterator[Seen]:
    if site.revocations is None:
        return
    for name, credential in _own(site):
        if isinstance(credential, StirError):
            continue
        try:
            check_revocation(credential, site.revocations, site.now, hard=False)
        except StirError:
            yield bad(f"{name} or one of its issuers is on the CRL")
        else:
            yield good(f"{name}: not on CRL number {site.revocations.number}")


CHECKS: Final = (
    Check(
        AREA,
        "roots",
        "Trust anchors: certificates in ca_file, roots of the STI-PA's list, none of them ended.",
        "Set [trust] trust_list_url and sti_pa_ca_file, or [verification] ca_file.",
        "ATIS-1000084",
        _anchors,
    ),
    Check(
        AREA,
        "trust list in use",
        "The STI-PA's list that the server keeps in state_dir: sequence, age, end.",
        _ASK,
        "ATIS-1000084",
        _list_in_use,
    ),
    Check(
        AREA,
        "CRL in use",
        "The STI-PA's list of revoked certificates that the server keeps in state_dir: number, age, next update.",
        _ASK,
        "RFC 5280 5.1.2.5",
        _crl_in_use,
    ),
    Check(
        AREA,
        "lists now",
        "Both lists fetched and verified at this moment, as the server does it; nothing is written.",
        "Compare with curl -v; ask the STI-PA.",
        "ATIS-1000084",
        _lists_now,
        "network",
        _SECONDS,
    ),
    Check(
        AREA,
        "our STI-CA",
        "The chain of each pair that signs, now or later, ends at a root of the STI-PA's list in use.",
        "Ask the STI-CA for the right intermediate certificates; if its root was taken off the list, change the STI-CA.",
        "ATIS-1000084",
        _own_ca,
        "host",
        _SECONDS,
    ),
    Check(
        AREA,
        "not revoked",
        "No certificate of these chains is on the CRL in use.",
        "Get another certificate (shakenctl renew) and ask the STI-CA why.",
        "RFC 5280 6.3",
        _own_not_revoked,
        "host",
        _SECONDS,
    ),
)
