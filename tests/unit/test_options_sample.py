"""The options, the sample file that explains them, and what the settings file may say."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.errors import SettingsRefused
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.codes import ATIS_1000082, MAN, RFC_8224
from kamailio_app.policy.treatment import FailureAction, TreatmentRules
from kamailio_app.runtime.option import Option
from kamailio_app.runtime.options import SECTIONS, TRUNK_OPTIONS, sample
from kamailio_app.runtime.settings import Settings, TrustRules, load
from kamailio_app.tn import NumberPlan

from .builders import refused

CLASS_ACTIONS = [name for name in TRUNK_OPTIONS if name.endswith("_action") and name != "failure_action"]
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
    assert settings.treatment == TreatmentRules(
        FailureAction.REJECT,
        require_identity=True,
        actions={
            403: FailureAction.TAG,
            428: FailureAction.REJECT,
            436: FailureAction.TAG,
            437: FailureAction.REJECT,
            438: FailureAction.REJECT,
        },
        codes=ATIS_1000082,
        reason_header=False,
        p_headers=True,
    )
    assert (settings.replay, settings.strict_profile, settings.call_time_budget) == ("flag", True, 1.5)
    assert settings.emergency == {"112", "15", "17", "18"}
    assert settings.verification.rph_signers == {"1234", "567A"}
    assert settings.trust == TrustRules(
        trust_list_url="https://sti-pa.example.net/v1/ca-list",
        trust_list_file=Path("/etc/kamailio/stirshaken/ca-list.jws"),
        sti_pa_ca_file=Path("/etc/kamailio/stirshaken/sti-pa-root.pem"),
        crl_url="https://sti-pa.example.net/v1/crl",
        crl_file=Path("/etc/kamailio/stirshaken/sti.crl"),
        crl_failure="hard",
        trust_refresh_interval=900,
    )
    fetch = settings.fetch
    assert (fetch.permit, fetch.deny) == (("10.20.0.0/16",), ("203.0.113.0/24", "2001:db8::/32"))
    assert fetch.dns_servers == ("192.0.2.53", "[2001:db8::53]:5353")
    assert (fetch.max_concurrent, fetch.max_concurrent_per_host) == (200, 8)
    assert (fetch.breaker_failures, fetch.breaker_seconds) == (10, 60)
    assert (settings.state_dir, settings.max_disk_certificates) == (Path("/var/lib/kamailio-stirshaken"), 5000)
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
    assert settings.treatment.actions == {}
    assert settings.treatment.codes is RFC_8224
    assert settings.treatment.reason_header
    assert not settings.treatment.p_headers
    assert settings.trunks == {}
    assert (settings.replay, settings.strict_profile) == ("off", False)
    assert settings.call_time_budget == 2.0
    assert settings.fetch.timeout == 5.0
    assert settings.emergency == {"911", "933", "112"}
    assert settings.verification.rph_signers == frozenset()
    assert settings.trust == TrustRules()
    assert not settings.trust.hard
    assert (settings.fetch.permit, settings.fetch.deny, settings.fetch.dns_servers) == ((), (), ())
    assert (settings.fetch.max_concurrent, settings.fetch.max_concurrent_per_host) == (1000, 32)
    assert (settings.fetch.breaker_failures, settings.fetch.breaker_seconds) == (5, 30)
    assert (settings.state_dir, settings.max_disk_certificates) == (Path("/var/lib/kamailio-stirshaken"), 20000)


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
        ("[trunks.a]", "[trunks]; did you mean trunk?"),
        ("[trunk.a]\nfailure_acton = 'tag'", "[trunk.a] failure_acton; did you mean failure_action?"),
        ("[trunk.a]\nmax_iat_age = 60", "[trunk.a] max_iat_age; it belongs to [verification]"),
        ("[verification]\ncrl_file = 'x'", "[verification] crl_file; it belongs to [trust]"),
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
        ("[x5u]\nx5u_permit = '10.0.0.0/8'", "x5u_permit takes a list, not"),
        ("[x5u]\nx5u_deny = [10]", "x5u_deny takes a list of networks in CIDR form"),
        ("[x5u]\nx5u_dns_servers = [53]", "x5u_dns_servers takes a list of addresses"),
        ("[verification]\nemergency_numbers = [911]", "emergency_numbers takes a list of numbers as text"),
        ("[verification]\nemergency_numbers = '911'", "emergency_numbers takes a list"),
        ("[verification]\ncall_time_budget = '2'", "call_time_budget takes a number"),
        ("[verification]\nreason_header = 'yes'", "reason_header takes true or false"),
        ("[verification]\np_headers = 1", "p_headers takes true or false"),
        ("[cache]\nstate_dir = false", "state_dir takes text"),
        ("[trust]\ncrl_file = 1", "crl_file takes text"),
        ("[trunk.a]\nrequire_identity = 'no'", "[trunk.a] require_identity takes true or false"),
        ("trunk = 1", "trunk holds sections, write [trunk.NAME]"),
        ("[trunk]\nfailure_action = 'tag'", "trunk.failure_action is a section, write [trunk.NAME]"),
        ("[[trunk]]", "trunk holds sections, write [trunk.NAME]"),
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
        *((f"[verification]\n{name} = 'Tag'", f'{name} is one of "", observe, tag, reject, not') for name in CLASS_ACTIONS),
        ("[verification]\ncode_profile = 'rfc'", "code_profile is one of rfc8224, atis1000082, man, not 'rfc'"),
        ("[verification]\nreplay_detection = ''", "replay_detection is one of off, flag, fail"),
        ("[verification]\ncertificate_profile = 'Strict'", "certificate_profile is one of lenient, strict"),
        ("[verification]\ncall_time_budget = 0.49", "call_time_budget lies between 0.5 and 30"),
        ("[verification]\ncall_time_budget = 31", "call_time_budget lies between 0.5 and 30"),
        ("[trunk.a]\nfailure_action = ''", "[trunk.a] failure_action is one of observe, tag, reject"),
        ("[trunk.a]\ncode_profile = 'x'", "[trunk.a] code_profile is one of"),
        ("[trust]\ncrl_failure = 'open'", "crl_failure is one of soft, hard"),
        ("[trust]\ntrust_refresh_interval = 4", "trust_refresh_interval lies between 5 and 604800"),
        ("[trust]\ntrust_refresh_interval = 604801", "trust_refresh_interval lies between 5 and 604800"),
        ("[x5u]\nmax_concurrent_fetches = 0", "max_concurrent_fetches lies between 1 and 10000"),
        ("[x5u]\nmax_concurrent_fetches_per_host = 1001", "max_concurrent_fetches_per_host lies between 1 and 1000"),
        ("[x5u]\nbreaker_failures = -1", "breaker_failures lies between 0 and 1000"),
        ("[x5u]\nbreaker_seconds = 0", "breaker_seconds lies between 1 and 3600"),
        ("[cache]\nmax_disk_certificates = 1000001", "max_disk_certificates lies between 0 and 1000000"),
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


@pytest.mark.parametrize(
    ("section", "name", "safe", "unsafe"), [("x5u", "max_redirects", 0, 1), ("verification", "max_iat_age", 300, 301)]
)
def test_values_that_are_unsafe_are_listed_too(tmp_path: Path, section: str, name: str, safe: int, unsafe: int) -> None:
    assert read(tmp_path, f"[{section}]\n{name} = {safe}").relaxed == ()
    assert read(tmp_path, f"[{section}]\n{name} = {unsafe}").relaxed == (f"[{section}] {name}",)


@pytest.mark.parametrize("text", ["+1", "abc", "1 ", "0001"])
def test_country_code_is_digits(tmp_path: Path, text: str) -> None:
    assert "country_code is made of" in refusal(tmp_path, f'[numbers]\ncountry_code = "{text}"')


def test_country_code_alone_would_do_nothing(tmp_path: Path) -> None:
    assert "national_number_length" in refusal(tmp_path, '[numbers]\ncountry_code = "1"')
    assert read(tmp_path, '[numbers]\ncountry_code = "49"\ninternational_prefix = "00"')


def test_ports_count_for_verifying_and_fetching_alike(tmp_path: Path) -> None:
    settings = read(tmp_path, "[x5u]\nx5u_ports = [443, 8444]")
    assert settings.verification.x5u == settings.fetch.x5u
    assert settings.fetch.x5u.ports == {443, 8444}


def test_class_actions_are_by_the_code_of_the_class(tmp_path: Path) -> None:
    assert len(CLASS_ACTIONS) == 5
    read_actions = [read(tmp_path, f"[verification]\n{name} = 'observe'").treatment.actions for name in CLASS_ACTIONS]
    assert read_actions == [{code: FailureAction.OBSERVE} for code in (403, 428, 436, 437, 438)]


def test_trunk_has_what_it_says_and_for_the_rest_what_all_have(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        [trunk.carrier-a]
        failure_action = "reject"
        bad_info_action = "tag"
        code_profile = "man"
        [trunk.B_2]
        [verification]
        require_identity = true
        stale_date_action = "observe"
        bad_info_action = "reject"
        reason_header = false
        [trunk."x.y"]
        stale_date_action = ""
        require_identity = false
        reason_header = true
        p_headers = true
        """,
    )
    assert settings.trunks == {
        "carrier-a": TreatmentRules(
            FailureAction.REJECT,
            require_identity=True,
            actions={436: FailureAction.TAG},  # it has a failure_action of its own
            codes=MAN,
            reason_header=False,
        ),
        "B_2": settings.treatment,
        "x.y": TreatmentRules(actions={436: FailureAction.REJECT}, p_headers=True),
    }


@pytest.mark.parametrize("name", ["a b", "", "a/b", "\u00e9", "a" * 65, "a\\n"])
def test_name_of_a_trunk_is_plain(tmp_path: Path, name: str) -> None:
    detail = refusal(tmp_path, f'[trunk."{name}"]')
    assert "such a name is 1 to 64 of letters, digits, _ . and -" in detail
    assert detail.isprintable()


def test_every_option_of_a_trunk_is_one_of_verification(tmp_path: Path) -> None:
    options = {option.name: option for option in SECTIONS["verification"][1]}
    for name in TRUNK_OPTIONS:
        assert read(tmp_path, f"[trunk.a]\n{name} = {options[name].example}").trunks["a"]


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "fe80::%eth0/64", "", "example.com", "10.0.0.0/8 "])
@pytest.mark.parametrize("name", ["x5u_permit", "x5u_deny"])
def test_what_is_no_network_is_refused(tmp_path: Path, name: str, network: str) -> None:
    hint = f'[x5u] {name} takes a list of networks in CIDR form, like "10.0.0.0/8" or "2001:db8::/32"'
    assert hint in refusal(tmp_path, f"[x5u]\n{name} = ['192.0.2.0/24', '{network}']")


@pytest.mark.parametrize("network", ["10.0.0.0/8", "192.0.2.1", "192.0.2.1/32", "::/0", "2001:db8::1", "0.0.0.0/0"])
def test_networks(tmp_path: Path, network: str) -> None:
    assert read(tmp_path, f"[x5u]\nx5u_permit = ['{network}']").fetch.permit == (network,)


@pytest.mark.parametrize(
    "server",
    [
        *("ns.example.com", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2:53", "[2001:db8::53]", "fe80::1%eth0"),
        *("[192.0.2.53:53", "[fe80::1%eth0]:53", "", "192.0.2.53:53 ", "[x]:53"),
    ],
)
def test_what_is_no_name_server_is_refused(tmp_path: Path, server: str) -> None:
    hint = '[x5u] x5u_dns_servers takes a list of addresses, like "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:53"'
    assert hint in refusal(tmp_path, f"[x5u]\nx5u_dns_servers = ['{server}']")


@pytest.mark.parametrize("server", ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:65535"])
def test_name_servers(tmp_path: Path, server: str) -> None:
    assert read(tmp_path, f"[x5u]\nx5u_dns_servers = ['{server}']").fetch.dns_servers == (server,)


@pytest.mark.parametrize("number", ["", "+911", "9 1 1", "sos", "\u0669\u0661\u0661", "1234567890123456"])
def test_what_is_no_emergency_number_is_refused(tmp_path: Path, number: str) -> None:
    hint = '[verification] emergency_numbers takes a list of numbers as text, like "911": digits, * and #'
    assert hint in refusal(tmp_path, f"[verification]\nemergency_numbers = ['{number}']")


def test_emergency_numbers_are_compared_in_canonical_form(tmp_path: Path) -> None:
    numbers = "[numbers]\ncountry_code = '1'\nnational_number_length = 10\n"
    text = "[verification]\nemergency_numbers = ['911', '8005550199', '*55']\n"
    assert read(tmp_path, text + numbers).emergency == {"911", "18005550199", "*55"}
    assert read(tmp_path, "[verification]\nemergency_numbers = []").emergency == frozenset()


STI_PA = "sti_pa_ca_file = 'pa.pem'\n"


@pytest.mark.parametrize(
    "url",
    [
        *("http://sti-pa.example.net/crl", "sti-pa.example.net", "https://", "https:///crl", "https://h:x/", "https://h:0/"),
        *("https://h:65536/", "https://u@h/", "https://[::1/", "https://h/a b", "file:///crl"),
    ],
)
@pytest.mark.parametrize("name", ["trust_list_url", "crl_url"])
def test_lists_are_fetched_by_https_only(tmp_path: Path, name: str, url: str) -> None:
    hint = f"[trust] {name} takes a URL like https://host/path"
    assert hint in refusal(tmp_path, f"[trust]\n{STI_PA}{name} = '{url}'")


def test_urls_of_the_lists_may_have_port_and_query(tmp_path: Path) -> None:
    settings = read(tmp_path, f"[trust]\n{STI_PA}crl_url = 'https://sti-pa.example.net:8080/crl?x=1'")
    assert settings.trust.crl_url == "https://sti-pa.example.net:8080/crl?x=1"


@pytest.mark.parametrize(
    "line", ["trust_list_url = 'https://h/'", "trust_list_file = 'x'", "crl_url = 'https://h/'", "crl_file = 'x'"]
)
def test_lists_that_nobody_could_have_signed_are_refused(tmp_path: Path, line: str) -> None:
    hint = f"[trust] {line.partition(' ')[0]} needs sti_pa_ca_file"
    assert hint in refusal(tmp_path, f"[trust]\n{line}")
    assert read(tmp_path, f"[trust]\n{STI_PA}{line}").trust.sti_pa_ca_file == tmp_path / "pa.pem"


def test_no_call_would_pass_without_a_list_that_has_to_be_there(tmp_path: Path) -> None:
    hint = '[trust] crl_failure = "hard" needs crl_url or crl_file'
    assert hint in refusal(tmp_path, "[trust]\ncrl_failure = 'hard'")
    for line in ("crl_url = 'https://h/'", "crl_file = 'x'"):
        assert read(tmp_path, f"[trust]\n{STI_PA}crl_failure = 'hard'\n{line}").trust.hard


def test_files_of_the_lists_are_relative_to_the_file(tmp_path: Path) -> None:
    trust = read(tmp_path, f"[trust]\n{STI_PA}trust_list_file = 'list'\ncrl_file = '/a/crl'").trust
    assert (trust.trust_list_file, trust.crl_file) == (tmp_path / "list", Path("/a/crl"))


def test_state_is_kept_nowhere_where_that_is_wanted(tmp_path: Path) -> None:
    assert read(tmp_path, "[cache]\nstate_dir = ''").state_dir is None
    assert read(tmp_path, "[cache]\nstate_dir = 'state'").state_dir == tmp_path / "state"


def test_certificate_signs_from_a_time_on(tmp_path: Path) -> None:
    times = read(tmp_path, "[certificate.new]\nsign_from = 2026-12-01T03:00:00Z\n[certificate.other]").sign_from
    assert times == {"new": 1796094000.0}


@pytest.mark.parametrize("value", ["2026-12-01T03:00:00", "2026-12-01", '"2026-12-01T03:00:00Z"', "1796094000", "03:00:00"])
def test_time_to_sign_from_has_its_zone(tmp_path: Path, value: str) -> None:
    detail = refusal(tmp_path, f"[certificate.new]\nsign_from = {value}")
    assert "[certificate.new] sign_from takes a date and time with its zone" in detail


def test_certificate_says_nothing_else(tmp_path: Path) -> None:
    assert "[certificate.new] sign_fron; did you mean sign_from?" in refusal(
        tmp_path, "[certificate.new]\nsign_fron = 1", "option_unknown"
    )
    assert "certificate holds sections, write [certificate.NAME]" in refusal(tmp_path, "certificate = 1")


def test_example_of_a_certificate_is_read(tmp_path: Path) -> None:
    tail = sample().partition("# A pair that")[2].partition("# Example:\n")[2]
    lines = [line.removeprefix("# ") for line in tail.splitlines()]
    assert read(tmp_path, "\n".join(lines)).sign_from


def test_sample_names_what_a_trunk_may_say() -> None:
    tail = sample().partition("# Trunks that")[2].partition("# A pair that")[0]
    assert all(name in tail for name in TRUNK_OPTIONS)
    lines = [line.removeprefix("# ") for line in tail.partition("# Example:\n")[2].splitlines()]
    assert tomllib.loads("\n".join(lines)) == {"trunk": {"carrier-a": {"failure_action": "reject", "require_identity": True}}}
