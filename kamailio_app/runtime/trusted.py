"""Whom an edge with these settings trusts, for those who look at it from beside: its own roots, and what it keeps on disk of
the STI-PA's lists.

The edge itself (`service`) takes the lists from memory that its processes share, and does not start with roots that cannot be
read; here the rest is still looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trust import Trust

CA_FILE: Final = "[verification] ca_file"
STI_PA_CA_FILE: Final = "[trust] sti_pa_ca_file"
_MAX_ROOTS: Final = 1000
_MAX_OCTETS: Final = 16 << 20


class Trusted:
    """`own`: the roots of ca_file; `sti_pa`: those of what the STI-PA signs; `kept`: its lists as texts, as far as the settings
    ask for them; `problems`: why a file could not be read, by option. Nothing is trusted for it.
    """

    def __init__(self, settings: Settings) -> None:
        problems: dict[str, StirError] = {}
        self.own = _roots(settings.ca_file, CA_FILE, problems)
        self.sti_pa = _roots(settings.trust.sti_pa_ca_file, STI_PA_CA_FILE, problems)
        self.problems: Mapping[str, StirError] = problems
        self.kept = Trust.from_disk(settings.state_dir).under(settings.trust)

    @cached_property
    def trust_list(self) -> TrustList | None:
        return TrustList.from_text(self.kept.trust_list)

    @cached_property
    def revocations(self) -> Revocations | None:
        return Revocations.from_text(self.kept.revocations)

    @cached_property
    def anchors(self) -> TrustAnchors:
        """All that are trusted to certify who signs calls."""
        return with_listed(self.own, self.trust_list)


def with_listed(own: TrustAnchors, listed: TrustList | None) -> TrustAnchors:
    """The roots of one's own, and those of the STI-PA's list."""
    return TrustAnchors((*own.certificates, *(listed.anchors().certificates if listed else ())))


def read_roots(path: Path, option: str) -> TrustAnchors:
    """Errors: `option_invalid`."""
    try:
        with path.open("rb") as file:
            return TrustAnchors(parse_chain(file.read(_MAX_OCTETS), limit=_MAX_ROOTS))
    except (OSError, StirError) as error:
        raise failure("option_invalid", f"{option}: {error}") from error


def _roots(path: Path | None, option: str, problems: dict[str, StirError]) -> TrustAnchors:
    try:
        return read_roots(path, option) if path else TrustAnchors(())
    except StirError as error:
        problems[option] = error
        return TrustAnchors(())
