"""Whom this host trusts, for what is inspected: the settings' roots, and what the server keeps of the STI-PA's lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.errors import failure
from kamailio_app.runtime import trusted as runtime
from kamailio_app.runtime.settings import Settings

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
    held = runtime.Trusted(settings)
    return Trusted(
        held.anchors,
        held.sti_pa,
        tuple(named),
        held.trust_list.signers() if held.trust_list else (),
        held.revocations,
        tuple(map(str, held.problems.values())),
    )


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Errors: `file_unreadable`, `credential_malformed`."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise failure("file_unreadable", f"{path}: {error.strerror}") from error
    return parse_chain(octets, limit=_MAX_ROOTS)
