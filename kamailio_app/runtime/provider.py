"""The way to a certificate, as the settings have it: typed values for `lifecycle` and `cli`. The servers use the directory of
published chains, if they serve it themselves, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class StiPaRules:
    """The account at the STI-PA. Empty `url`: there is none."""

    url: str
    user: str
    password_file: Path | None
    tls_ca_file: Path | None
    fingerprint: Literal["jwk", "spki"]
    tkvalue: Literal["base64", "base64url"]


@dataclass(frozen=True, slots=True)
class StiCaRules:
    """The STI-CA. `renew_after`: share of a certificate's lifetime."""

    directory: str
    profile: str
    contact: str
    account_key_file: Path
    eab_key_id: str
    eab_key_file: Path | None
    tls_ca_file: Path | None
    renew_after: float


@dataclass(frozen=True, slots=True)
class PublicationRules:
    """Where chains are published. `switch_after` in seconds, `keep_hours` in hours."""

    directory: Path | None
    tls_ca_file: Path | None
    switch_after: int
    keep_hours: int


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """Who gets the certificate, from whom, and where it is published."""

    name: str
    country: str
    spc: str
    state_dir: Path
    sti_pa: StiPaRules
    sti_ca: StiCaRules
    publication: PublicationRules


def provider_rules(beside: Path, values: dict[str, dict[str, Any]]) -> ProviderRules:
    """From the checked options of the four sections. Relative paths are relative to the directory `beside`."""
    who, sti_pa, sti_ca, publication = (values[section] for section in ("provider", "sti_pa", "sti_ca", "publication"))

    def file(name: str) -> Path | None:
        return beside / name if name else None

    state_dir = beside / who["provider_state_dir"]
    return ProviderRules(
        who["provider_name"],
        who["country"],
        who["spc"],
        state_dir,
        StiPaRules(
            sti_pa["sti_pa_url"].rstrip("/"),
            sti_pa["sti_pa_user"],
            file(sti_pa["sti_pa_password_file"]),
            file(sti_pa["sti_pa_tls_ca_file"]),
            sti_pa["spc_token_fingerprint"],
            sti_pa["spc_token_tkvalue"],
        ),
        StiCaRules(
            sti_ca["acme_directory"],
            sti_ca["acme_profile"],
            sti_ca["acme_contact"],
            file(sti_ca["acme_account_key_file"]) or state_dir / "acme-account.key",
            sti_ca["eab_key_id"],
            file(sti_ca["eab_key_file"]),
            file(sti_ca["acme_tls_ca_file"]),
            float(sti_ca["renew_after"]),
        ),
        PublicationRules(
            file(publication["publication_dir"]),
            file(publication["publication_tls_ca_file"]),
            publication["switch_after"],
            publication["keep_published_hours"],
        ),
    )
