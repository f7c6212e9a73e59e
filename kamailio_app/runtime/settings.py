"""The settings file: TOML -> checked values of the types that the rooms take. Anything doubtful stops the start.

The table of options is `options`; this turns values into rules. A relative path is relative to the file's directory.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kamailio_app.credentials.lifetime import LifetimeRules
from kamailio_app.credentials.x5u import X5uRules, check_x5u
from kamailio_app.errors import StirError, failure
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.codes import PROFILES
from kamailio_app.policy.treatment import FailureAction, TreatmentRules
from kamailio_app.runtime.option import Option
from kamailio_app.runtime.options import CERTIFICATE, SECTIONS, SIGN_FROM, TRUNK, TRUNK_OPTIONS
from kamailio_app.runtime.provider import ProviderRules, provider_rules
from kamailio_app.runtime.record import RecordRules
from kamailio_app.sti_as import SigningRules
from kamailio_app.sti_vs import VerificationRules
from kamailio_app.tn import NumberPlan, canonical_tn

DEFAULT_PATH = Path("/etc/kamailio/stirshaken.toml")
_NO_SETTINGS: Final = (
    "Copy `cfg/stirshaken.toml` there and fill it in; or name another file with --settings or in STIRSHAKEN_SETTINGS."
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_NAMED: Final = (TRUNK, CERTIFICATE)  # these hold sections
_SAFE_UP_TO: Final[Mapping[str, Any]] = {"max_redirects": 0, "max_iat_age": 300}
_CLASS_ACTIONS: Final = {
    403: "stale_date_action",
    428: "no_identity_action",
    436: "bad_info_action",
    437: "unsupported_credential_action",
    438: "invalid_identity_action",
}


@dataclass(frozen=True, slots=True)
class FetchRules:
    """How credentials are fetched. `timeout` in seconds for the whole of it; `permit` and `deny` are networks (CIDR)."""

    timeout: float
    max_bytes: int
    max_redirects: int
    tls_ca_file: Path | None
    private_addresses: bool
    x5u: X5uRules
    permit: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()
    max_concurrent: int = 1000
    max_concurrent_per_host: int = 8
    breaker_failures: int = 5
    breaker_seconds: int = 30


@dataclass(frozen=True, slots=True)
class TrustRules:
    """Where the STI-PA's lists come from, and what their absence means. Named as the options; the interval in seconds."""

    trust_list_url: str = ""
    trust_list_file: Path | None = None
    sti_pa_ca_file: Path | None = None
    crl_url: str = ""
    crl_file: Path | None = None
    crl_failure: str = "soft"
    trust_refresh_interval: int = 3600

    @property
    def hard(self) -> bool:
        """Without a current CRL no certificate is accepted."""
        return self.crl_failure == "hard"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the file says, checked."""

    path: Path
    text: str = field(repr=False)
    certificate_dir: Path
    public_cert_url: str
    certificate: str
    sign_from: Mapping[str, float]
    attest_level: Attestation
    policy_file: Path | None
    inventory_file: Path | None
    do_not_originate_file: Path | None
    signing: SigningRules
    ca_file: Path | None
    verification: VerificationRules
    treatment: TreatmentRules
    trunks: Mapping[str, TreatmentRules]
    emergency: frozenset[str]
    replay: str
    strict_profile: bool
    call_time_budget: float
    trust: TrustRules
    fetch: FetchRules
    max_cache_size: int
    max_shared_certificates: int
    lifetime: LifetimeRules
    negative_lifetime: int
    state_dir: Path | None
    max_disk_certificates: int
    record: RecordRules
    log_calls: bool
    relaxed: tuple[str, ...]
    provider: ProviderRules


def load(path: Path) -> Settings:
    """Read and check the file. Errors: `settings_unreadable`, those of `parse`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is not UTF-8"
        missing = isinstance(error, FileNotFoundError)
        raise failure("settings_unreadable", f"{path}: {why}", _NO_SETTINGS if missing else "") from error
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
    values = _checked(path, document)
    trunks = _trunks(path, document.get(TRUNK, {}), values["verification"])
    return _settings(path, text, values, trunks, _sign_from(path, document.get(CERTIFICATE, {})))


def _checked(path: Path, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every section with every option, defaults filled in."""
    for section in document:
        if section not in SECTIONS and section not in _NAMED:
            raise failure("option_unknown", f"{path}: [{section}]{_meant(section, (*SECTIONS, *_NAMED))}")
    values: dict[str, dict[str, Any]] = {}
    for section, (_title, options) in SECTIONS.items():
        given = document.get(section, {})
        if type(given) is not dict:
            raise failure("option_invalid", f"{path}: {section} is a section, write [{section}]")
        _check(path, section, given, {option.name: option for option in options})
        values[section] = {option.name: given.get(option.name, option.default) for option in options}
    return values


def _trunks(path: Path, given: Any, verification: dict[str, Any]) -> dict[str, TreatmentRules]:
    """The rules of each [trunk.NAME]: what it leaves out is as in [verification]."""
    known = {option.name: option for option in SECTIONS["verification"][1] if option.name in TRUNK_OPTIONS}
    rules: dict[str, TreatmentRules] = {}
    for name, options in _named(path, TRUNK, given):
        _check(path, f"{TRUNK}.{name}", options, known)
        # A trunk's own failure_action is for all classes that it does not name itself
        inherited = verification | (dict.fromkeys(_CLASS_ACTIONS.values(), "") if "failure_action" in options else {})
        rules[name] = _treatment(inherited | options)
    return rules


def _named(path: Path, section: str, given: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections [SECTION.NAME], by name."""
    if type(given) is not dict:
        raise failure("option_invalid", f"{path}: {section} holds sections, write [{section}.NAME]")
    for name, options in given.items():
        if type(options) is not dict:
            raise failure("option_invalid", f"{path}: {section}.{name[:80]} is a section, write [{section}.NAME]")
        if not _NAME.fullmatch(name):
            raise failure(
                "option_invalid", f"{path}: [{section}.{name[:80]!r}]: such a name is 1 to 64 of letters, digits, _ . and -"
            )
        yield name, options


def _sign_from(path: Path, given: Any) -> dict[str, float]:
    """When each [certificate.NAME] begins to sign, in seconds since 1970."""
    times: dict[str, float] = {}
    for name, options in _named(path, CERTIFICATE, given):
        for option, value in options.items():
            if option != SIGN_FROM:
                raise failure("option_unknown", f"{path}: [{CERTIFICATE}.{name}] {option}{_meant(option, (SIGN_FROM,))}")
            if type(value) is not datetime or value.tzinfo is None:
                what = "takes a date and time with its zone, like 2026-12-01T03:00:00Z"
                raise failure("option_invalid", f"{path}: [{CERTIFICATE}.{name}] {SIGN_FROM} {what}")
            times[name] = value.timestamp()
    return times


def _check(path: Path, section: str, given: dict[str, Any], known: Mapping[str, Option]) -> None:
    for name, value in given.items():
        if name not in known:
            raise failure("option_unknown", f"{path}: [{section}] {name}{_meant(name, known)}")
        if reason := known[name].refusal(value):
            raise failure("option_invalid", f"{path}: [{section}] {name} {reason}")


def _treatment(values: Mapping[str, Any]) -> TreatmentRules:
    return TreatmentRules(
        FailureAction(values["failure_action"]),
        require_identity=values["require_identity"],
        actions={code: FailureAction(values[name]) for code, name in _CLASS_ACTIONS.items() if values[name]},
        codes=PROFILES[values["code_profile"]],
        reason_header=values["reason_header"],
        p_headers=values["p_headers"],
    )


def _trust(path: Path, values: dict[str, Any]) -> TrustRules:
    for name in ("trust_list_url", "crl_url"):
        if reason := _url_refusal(values[name]):
            raise failure("option_invalid", f"{path}: [trust] {name} {reason}")
    for name in ("trust_list_url", "trust_list_file", "crl_url", "crl_file"):
        if values[name] and not values["sti_pa_ca_file"]:
            raise failure(
                "option_invalid", f"{path}: [trust] {name} needs sti_pa_ca_file, the roots that its signature is checked with"
            )
    if values["crl_failure"] == "hard" and not (values["crl_url"] or values["crl_file"]):
        raise failure("option_invalid", f'{path}: [trust] crl_failure = "hard" needs crl_url or crl_file')
    files = ("trust_list_file", "sti_pa_ca_file", "crl_file")
    return TrustRules(**values | {name: _file(path, values[name]) for name in files})


def _url_refusal(url: str) -> str:
    """Why this is no place that the STI-PA's lists can be fetched from; empty if it is, or if there is none."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fits = False
    return "" if not url or (fits and " " not in url) else "takes a URL like https://host/path"


def _file(path: Path, name: str) -> Path | None:
    return path.parent / name if name else None


def _meant(word: str, known: Any) -> str:
    homes = [section for section, (_title, options) in SECTIONS.items() if any(o.name == word for o in options)]
    if homes:
        return f"; it belongs to [{homes[0]}]"
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _settings(
    path: Path,
    text: str,
    values: dict[str, dict[str, Any]],
    trunks: Mapping[str, TreatmentRules],
    sign_from: Mapping[str, float],
) -> Settings:
    signing, verification, x5u, cache = values["signing"], values["verification"], values["x5u"], values["cache"]
    record = values["record"]
    for section, name in (("sti_pa", "sti_pa_url"), ("sti_ca", "acme_directory")):
        if reason := _url_refusal(values[section][name]):
            raise failure("option_invalid", f"{path}: [{section}] {name} {reason}")
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
    if plan.country_code and not (plan.national_number_length or plan.international_prefix):
        raise failure("option_invalid", f"{path}: [numbers] country_code needs national_number_length, or nothing is national")
    published = _file(path, values["publication"]["publication_dir"])
    if published and published.resolve() == (path.parent / signing["certificate_dir"]).resolve():
        raise failure("option_invalid", f"{path}: [publication] publication_dir is certificate_dir, where the private keys are")
    if cache["min_cache_lifetime"] > cache["max_cache_lifetime"]:
        raise failure("option_invalid", f"{path}: [cache] min_cache_lifetime exceeds max_cache_lifetime")
    return Settings(
        path=path,
        text=text,
        certificate_dir=path.parent / signing["certificate_dir"],
        public_cert_url=url,
        certificate=signing["certificate"],
        sign_from=sign_from,
        attest_level=Attestation(signing["attest_level"]),
        policy_file=_file(path, signing["policy_file"]),
        inventory_file=_file(path, signing["inventory_file"]),
        do_not_originate_file=_file(path, signing["do_not_originate_file"]),
        signing=SigningRules(max_date_header_age=signing["max_date_header_age"], plan=plan, **values["identities"]),
        ca_file=_file(path, verification["ca_file"]),
        verification=VerificationRules(
            max_iat_age=verification["max_iat_age"],
            max_iat_future=verification["max_iat_future"],
            ignore_sip_date_header=verification["ignore_sip_date_header"],
            max_date_header_age=verification["max_date_header_age"],
            plan=plan,
            x5u=x5u_rules,
            rph_signers=frozenset(verification["rph_signers"]),
            **values["identities"],
        ),
        treatment=_treatment(verification),
        trunks=trunks,
        emergency=frozenset(canonical_tn(number, plan) or number for number in verification["emergency_numbers"]),
        replay=verification["replay_detection"],
        strict_profile=verification["certificate_profile"] == "strict",
        call_time_budget=float(verification["call_time_budget"]),
        trust=_trust(path, values["trust"]),
        fetch=FetchRules(
            timeout=float(x5u["fetch_timeout"]),
            max_bytes=x5u["max_certificate_bytes"],
            max_redirects=x5u["max_redirects"],
            tls_ca_file=_file(path, x5u["x5u_tls_ca_file"]),
            private_addresses=x5u["relax_x5u_private_addresses"],
            x5u=x5u_rules,
            permit=tuple(x5u["x5u_permit"]),
            deny=tuple(x5u["x5u_deny"]),
            dns_servers=tuple(x5u["x5u_dns_servers"]),
            max_concurrent=x5u["max_concurrent_fetches"],
            max_concurrent_per_host=x5u["max_concurrent_fetches_per_host"],
            breaker_failures=x5u["breaker_failures"],
            breaker_seconds=x5u["breaker_seconds"],
        ),
        max_cache_size=cache["max_cache_size"],
        max_shared_certificates=cache["max_shared_certificates"],
        lifetime=LifetimeRules(cache["min_cache_lifetime"], cache["max_cache_lifetime"]),
        negative_lifetime=cache["negative_lifetime"],
        state_dir=_file(path, cache["state_dir"]),
        max_disk_certificates=cache["max_disk_certificates"],
        record=RecordRules(
            calls=record["record_calls"],
            directory=path.parent / record["record_dir"],
            days=record["record_days"],
            megabytes=record["record_megabytes"],
            mask=record["record_mask"],
        ),
        log_calls=values["log"]["calls"],
        relaxed=tuple(
            f"[{section}] {name}"
            for section, options in values.items()
            for name, value in options.items()
            if (name.startswith("relax_") and value) or value > _SAFE_UP_TO.get(name, value)
        ),
        provider=provider_rules(path.parent, values),
    )
