"""The options, the sample file that explains them, and what the settings file may say."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.errors import SettingsRefused
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.treatment import FailureAction, TreatmentRules
from kamailio_app.runtime.options import SECTIONS, Option, sample
from kamailio_app.runtime.settings import Settings, load
from kamailio_app.tn import NumberPlan

from .builders import refused

SAMPLE = Path(__file__).parents[2] / "cfg" / "stirshaken.toml"
OPTIONS = [(section, option) for section, (_title, options) in SECTIONS.items() for option in options]


def named(value: object) -> str:
    return value.name if isinstance(value, Option) else str(value)


def read(directory: Path, text: str) -> Settings:
    path = directory / "stirshaken.toml"
    path.write_text(text, "utf-8")
    return load(path)


def refusal(directory: Path, text: str, token: str = "option_invalid") -> str:
    """The detail of the refusal, which names the file."""
    with pytest.raises(SettingsRefused) as caught:
        read(directory, text)
    assert caught.value.token == token
    assert caught.value.detail.startswith(str(directory / "stirshaken.toml"))
    return caught.value.detail


# --- The table and the sample -----------------------------------------------------------------------------------


def test_sample_file_is_what_the_code_says() -> None:
    assert SAMPLE.read_text("utf-8") == sample()


@pytest.mark.parametrize(("section", "option"), OPTIONS, ids=named)
def test_every_option_says_what_it_means_and_where_its_default_is_from(section: str, option: Option) -> None:
    assert option.meaning.endswith(".")
    assert option.source
    assert not option.source.endswith(".")
    assert option.example


@pytest.mark.parametrize(("section", "option"), OPTIONS, ids=named)
def test_every_option_takes_its_own_example_and_default(section: str, option: Option) -> None:
    assert option.refusal(tomllib.loads(f"value = {option.example}")["value"]) == ""
    assert option.refusal(option.default) == ""


@pytest.mark.parametrize(("section", "option"), OPTIONS, ids=named)
def test_every_option_stands_in_the_sample_with_its_default(section: str, option: Option) -> None:
    assert tomllib.loads(sample())[section][option.name] == option.default
    assert f"# Example: {option.name} = {option.example}\n" in sample()


def test_sample_says_the_same_as_an_empty_file(tmp_path: Path) -> None:
    assert replace(read(tmp_path, sample()), text="") == replace(read(tmp_path, ""), text="")


def test_all_examples_together_are_accepted(tmp_path: Path) -> None:
    lines = [
        f"[{section}]\n" + "".join(f"{o.name} = {o.example}\n" for o in options) for section, (_t, options) in SECTIONS.items()
    ]
    settings = read(tmp_path, "".join(lines))
    assert settings.treatment == TreatmentRules(FailureAction.REJECT, require_identity=True)
    assert settings.verification.plan == settings.signing.plan == NumberPlan("1", "1", "011", 10)
    assert settings.verification.dest_source == settings.signing.dest_source == "request_uri"
    assert settings.attest_level is Attestation.FULL


def test_defaults_are_the_cautious_choices(tmp_path: Path) -> None:
    settings = read(tmp_path, "")
    assert settings.attest_level is Attestation.GATEWAY
    assert settings.treatment == TreatmentRules(FailureAction.TAG, require_identity=False)
    assert (settings.verification.max_iat_age, settings.verification.max_iat_future) == (60, 60)
    assert settings.fetch.max_redirects == 0
    assert not settings.fetch.private_addresses
    assert settings.public_cert_url == ""
    assert settings.relaxed == ()


# --- What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[verification]\nfaliure_action = 'tag'", "[verification] faliure_action; did you mean failure_action?"),
        ("[verification]\nmax_iat_ages = 60", "did you mean max_iat_age?"),
        ("[verfication]\n", "[verfication]; did you mean verification?"),
        ("[cache]\nfetch_timeout = 2.0", "[cache] fetch_timeout; it belongs to [x5u]"),
        ("[log]\nfailure_action = 'tag'", "[log] failure_action; it belongs to [verification]"),
        ("failure_action = 'tag'", "it belongs to [verification]"),
        ("[log]\nxyzzy = 1", "[log] xyzzy"),
        ("[x5u]\ncredential_wait = 'park'", "[x5u] credential_wait"),
        ("[xyzzy]", "[xyzzy]"),
    ],
)
def test_unknown_option_is_refused_with_a_suggestion(tmp_path: Path, text: str, hint: str) -> None:
    assert refusal(tmp_path, text, "option_unknown").endswith(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[verification]\nmax_iat_age = '60'", 'max_iat_age takes a whole number, not "60"'),
        ("[verification]\nmax_iat_age = 60.0", "takes a whole number"),
        ("[verification]\nmax_iat_age = true", "takes a whole number, not true"),
        ("[verification]\nmax_iat_age = 2023-11-14", "takes a whole number"),
        ("[verification]\nrequire_identity = 1", "takes true or false, not 1"),
        ("[verification]\nca_file = ['a']", "takes text"),
        ("[x5u]\nfetch_timeout = '2'", "takes a number"),
        ("[x5u]\nx5u_ports = 443", "takes a list"),
        ("[x5u]\nx5u_ports = []", "takes a list of ports"),
        ("[x5u]\nx5u_ports = ['443']", "takes a list of ports"),
        ("[x5u]\nx5u_ports = [true]", "takes a list of ports"),
        ("[x5u]\nx5u_ports = [0]", "takes a list of ports"),
        ("[x5u]\nx5u_ports = [65536]", "takes a list of ports"),
        ("signing = 1", "signing is a section, write [signing]"),
        ("signing = []", "signing is a section, write [signing]"),
    ],
)
def test_wrong_type_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[verification]\nmax_iat_age = 0", "max_iat_age lies between 1 and 3600, not 0"),
        ("[verification]\nmax_iat_age = 3601", "lies between 1 and 3600"),
        ("[verification]\nmax_iat_future = -1", "lies between 0 and 3600"),
        ("[x5u]\nfetch_timeout = 0.05", "lies between 0.1 and 30, not 0.05"),
        ("[x5u]\nfetch_timeout = nan", "lies between 0.1 and 30"),
        ("[x5u]\nfetch_timeout = inf", "lies between 0.1 and 30"),
        ("[verification]\nfailure_action = 'Reject'", "failure_action is one of observe, tag, reject, not 'Reject'"),
        ("[signing]\nattest_level = 'a'", "attest_level is one of A, B, C"),
        ("[cache]\nmin_cache_lifetime = 600000\nmax_cache_lifetime = 3600", "min_cache_lifetime exceeds max_cache_lifetime"),
        ("[signing]\npublic_cert_url = 'https://cr.example.net/sp.pem'", "public_cert_url: it has no {name}"),
        ("[signing]\npublic_cert_url = 'http://cr.example.net/{name}.pem'", "public_cert_url: not https"),
        ("[signing]\npublic_cert_url = 'https://cr.example.net/{name}.pem?x'", "public_cert_url: query or fragment"),
        ("[signing]\npublic_cert_url = 'https://cr.example.net:8444/{name}.pem'", "public_cert_url: port 8444"),
    ],
)
def test_value_out_of_range_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in refusal(tmp_path, text)


def test_whole_number_will_do_for_a_number(tmp_path: Path) -> None:
    timeout: Any = read(tmp_path, "[x5u]\nfetch_timeout = 2").fetch.timeout
    assert (timeout, type(timeout)) == (2.0, float)


@pytest.mark.parametrize(
    "text", ["[signing", "a = ", "[log]\ncalls = True", "[log]\ncalls = true\ncalls = true", "[log]\n[log]"]
)
def test_what_is_no_toml_is_malformed(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, text, "settings_malformed")


def test_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with refused("settings_unreadable"):
        load(tmp_path / "none.toml")
    with refused("settings_unreadable"):
        load(tmp_path)


def test_file_that_is_no_utf_8_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    path.write_bytes(b"# \xff")
    with refused("settings_unreadable"):
        load(path)


# --- What it becomes --------------------------------------------------------------------------------------------


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path, "[signing]\ncertificate_dir='keys'\n[verification]\nca_file='ca.pem'\n[x5u]\nx5u_tls_ca_file='../tls.pem'"
    )
    assert settings.certificate_dir == tmp_path / "keys"
    assert settings.ca_file == tmp_path / "ca.pem"
    assert settings.fetch.tls_ca_file == tmp_path / "../tls.pem"


def test_absolute_paths_stay_and_empty_ones_are_none(tmp_path: Path) -> None:
    settings = read(tmp_path, "[verification]\nca_file='/a/ca.pem'")
    assert settings.ca_file == Path("/a/ca.pem")
    assert settings.fetch.tls_ca_file is None
    assert settings.certificate_dir == Path("/etc/kamailio/stirshaken")
    assert read(tmp_path, "").ca_file is None


def test_unsafe_choices_are_listed(tmp_path: Path) -> None:
    settings = read(tmp_path, "[x5u]\nrelax_x5u_private_addresses = true")
    assert settings.relaxed == ("[x5u] relax_x5u_private_addresses",)
    assert settings.fetch.private_addresses


def test_ports_count_for_verifying_and_fetching_alike(tmp_path: Path) -> None:
    settings = read(tmp_path, "[x5u]\nx5u_ports = [443, 8444]")
    assert settings.verification.x5u == settings.fetch.x5u
    assert settings.fetch.x5u.ports == {443, 8444}
