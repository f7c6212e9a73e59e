"""Whom this host trusts, for what is inspected: the settings' roots, and what the server keeps of the STI-PA's lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trust import Trust

_MAX_ROOTS: Final = 1000


class Trusted(NamedTuple):
    """`sti_cas`: roots of certificates that sign calls; `sti_pa`: those of what the STI-PA signs; `named`: who signed what is
    inspected, as the command says; `kept`: who signed the list in use; `problems`: the settings' files that cannot be used.
    """

    sti_cas: TrustAnchors = TrustAnchors(())
    sti_pa: TrustAnchors = TrustAnchors(())
    named: tuple[x509.Certificate, ...] = ()
    kept: tuple[x509.Certificate, ...] = ()
    revocations: Revocations | None = None
    problems: tuple[str, ...] = ()

    @property
    def signers(self) -> tuple[x509.Certificate, ...]:
        return (*self.named, *self.kept)


def trusted(settings: Settings | None, named: Sequence[x509.Certificate] = ()) -> Trusted:
    """By the settings, if there are any. What cannot be read is among `problems`, and nothing is trusted for it."""
    if settings is None:
        return Trusted(named=tuple(named))
    problems: list[str] = []
    roots = _roots(settings.ca_file, problems)
    policy_roots = _roots(settings.trust.sti_pa_ca_file, problems)
    lists = Trust.from_disk(settings.state_dir).under(settings.trust)
    listed = TrustList.from_text(lists.trust_list)
    return Trusted(
        TrustAnchors((*roots, *(listed.anchors().certificates if listed else ()))),
        TrustAnchors(policy_roots),
        tuple(named),
        listed.signers() if listed else (),
        Revocations.from_text(lists.revocations),
        tuple(problems),
    )


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Errors: `file_unreadable`, `credential_malformed`."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise failure("file_unreadable", f"{path}: {error.strerror}") from error
    return parse_chain(octets, limit=_MAX_ROOTS)


def _roots(path: Path | None, problems: list[str]) -> tuple[x509.Certificate, ...]:
    if path is None:
        return ()
    try:
        return read_certificates(path)
    except StirError as error:
        problems.append(str(error))
        return ()
