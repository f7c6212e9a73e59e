"""The settings file: TOML -> checked values of the types that the rooms take. Anything doubtful stops the start.

The table of options is `options`; this turns values into rules. A relative path is relative to the file's directory.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kamailio_app.credentials.lifetime import LifetimeRules
from kamailio_app.credentials.x5u import X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.treatment import FailureAction, TreatmentRules
from kamailio_app.runtime.options import SECTIONS
from kamailio_app.sti_as import SigningRules
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.tn import NumberPlan

DEFAULT_PATH = Path("/etc/kamailio/stirshaken.toml")


@dataclass(frozen=True, slots=True)
class FetchRules:
    """How credentials are fetched. `timeout` in seconds for the whole of it."""

    timeout: float
    max_bytes: int
    max_redirects: int
    tls_ca_file: Path | None
    private_addresses: bool
    x5u: X5uRules


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the file says, checked."""

    path: Path
    text: str = field(repr=False)
    certificate_dir: Path
    public_cert_url: str
    certificate: str
    attest_level: Attestation
    signing: SigningRules
    ca_file: Path | None
    verification: VerificationRules
    treatment: TreatmentRules
    fetch: FetchRules
    max_cache_size: int
    lifetime: LifetimeRules
    negative_lifetime: int
    log_calls: bool
    relaxed: tuple[str, ...]


def load(path: Path) -> Settings:
    """Read and check the file. Errors: `settings_unreadable`, those of `parse`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise failure("settings_unreadable", f"{path}: {error}") from error
    return parse(path, text)


def parse(path: Path, text: str) -> Settings:
    """Check the text of the file at `path`.

    Errors: `settings_malformed`, `option_unknown`, `option_invalid`; the detail names file, section, option and, where
    one is near, the option that was meant.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of 5000 digits, brackets without end
        raise failure("settings_malformed", f"{path}: {error}") from error
    return _settings(path, text, _checked(path, document))


def _checked(path: Path, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every section with every option, defaults filled in."""
    for section in document:
        if section not in SECTIONS:
            raise failure("option_unknown", f"{path}: [{section}]{_meant(section, SECTIONS)}")
    values: dict[str, dict[str, Any]] = {}
    for section, (_title, options) in SECTIONS.items():
        given = document.get(section, {})
        if type(given) is not dict:
            raise failure("option_invalid", f"{path}: {section} is a section, write [{section}]")
        known = {option.name: option for option in options}
        for name, value in given.items():
            if name not in known:
                raise failure("option_unknown", f"{path}: [{section}] {name}{_meant(name, known)}")
            if reason := known[name].refusal(value):
                raise failure("option_invalid", f"{path}: [{section}] {name} {reason}")
        values[section] = {option.name: given.get(option.name, option.default) for option in options}
    return values


def _meant(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    homes = [section for section, (_title, options) in SECTIONS.items() if any(o.name == word for o in options)]
    return f"; it belongs to [{homes[0]}]" if homes else ""


def _settings(path: Path, text: str, values: dict[str, dict[str, Any]]) -> Settings:
    signing, verification, x5u, cache = values["signing"], values["verification"], values["x5u"], values["cache"]
    plan = NumberPlan(**values["numbers"])
    x5u_rules = X5uRules(frozenset(x5u["x5u_ports"]))
    url = signing["public_cert_url"]
    try:
        if url and "{name}" not in url:
            raise failure("x5u_refused", "it has no {name}")
        if url:
            check_x5u(url.replace("{name}", "name"), x5u_rules)
    except StirError as error:
        raise failure("option_invalid", f"{path}: [signing] public_cert_url: {error.detail}") from error
    if cache["min_cache_lifetime"] > cache["max_cache_lifetime"]:
        raise failure("option_invalid", f"{path}: [cache] min_cache_lifetime exceeds max_cache_lifetime")
    return Settings(
        path=path,
        text=text,
        certificate_dir=path.parent / signing["certificate_dir"],
        public_cert_url=url,
        certificate=signing["certificate"],
        attest_level=Attestation(signing["attest_level"]),
        signing=SigningRules(max_date_header_age=signing["max_date_header_age"], plan=plan, **values["identities"]),
        ca_file=path.parent / verification["ca_file"] if verification["ca_file"] else None,
        verification=VerificationRules(
            max_iat_age=verification["max_iat_age"],
            max_iat_future=verification["max_iat_future"],
            ignore_sip_date_header=verification["ignore_sip_date_header"],
            max_date_header_age=verification["max_date_header_age"],
            plan=plan,
            x5u=x5u_rules,
            **values["identities"],
        ),
        treatment=TreatmentRules(FailureAction(verification["failure_action"]), verification["require_identity"]),
        fetch=FetchRules(
            timeout=float(x5u["fetch_timeout"]),
            max_bytes=x5u["max_certificate_bytes"],
            max_redirects=x5u["max_redirects"],
            tls_ca_file=path.parent / x5u["x5u_tls_ca_file"] if x5u["x5u_tls_ca_file"] else None,
            private_addresses=x5u["relax_x5u_private_addresses"],
            x5u=x5u_rules,
        ),
        max_cache_size=cache["max_cache_size"],
        lifetime=LifetimeRules(cache["min_cache_lifetime"], cache["max_cache_lifetime"]),
        negative_lifetime=cache["negative_lifetime"],
        log_calls=values["log"]["calls"],
        relaxed=tuple(
            f"[{section}] {name}"
            for section, options in values.items()
            for name, value in options.items()
            if name.startswith("relax_") and value
        ),
    )
