"""`shakenctl policy`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main

from ..runtime.number_lists import do_not_originate

CFG = Path(__file__).parents[3] / "cfg"
POLICY = str(CFG / "signing-policy.toml")
EXPECT = str(CFG / "signing-policy-test.toml")


def run(*arguments: str, settings: Path | str = "/nowhere/stirshaken.toml") -> Result:
    return CliRunner().invoke(main, ["policy", *arguments], env={"STIRSHAKEN_SETTINGS": str(settings)})


def explain(*arguments: str) -> Result:
    return run("explain", "--policy", POLICY, "--from", "12155550123", "--to", "12155551213", *arguments)


# --- explain ----------------------------------------------------------------------------------------------------


def test_explain_says_every_rule_up_to_the_one_that_decides() -> None:
    result = explain("--source", "192.0.2.3", "--caller-in", "own", "--asked", "B")
    assert result.exit_code == 0
    *steps, outcome = result.stdout.splitlines()
    assert steps == [
        "12155550123 calls 12155551213, trunk acme-1, customer acme, source 192.0.2.3, asked B",
        "rule do-not-originate: do_not_originate false is not true",
        "rule no-number: caller 12155550123 is not anonymous",
        "rule others-number: caller_in own is not other",
        "rule own-number: matches",
    ]
    assert outcome.startswith("signed: A, spc 1234, origid ")
    assert outcome.endswith("Identity that is there: pass, rcd")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--never-calls"], "rejected: 603 Decline"),
        ([], "goes on unsigned"),
        (["--trunk", "gateway-paris"], "signed: C, spc 1234, origid 9c1f0a52-5d0e-4d3c-8f52-3c1f6f6f2b90"),
        (["--customer", "beta-telecom"], "signed: B, spc 5678"),
        (["--never-calls", "--emergency", "--trunk", "acme-2"], "signed: B"),
        (["--identity", "--trunk", "beta-1"], "Identity that is there: div"),
    ],
)
def test_explain_says_what_happens(arguments: list[str], said: str) -> None:
    result = explain(*arguments)
    assert result.exit_code == 0
    assert said in result.stdout.splitlines()[-1]


def test_explain_says_which_names_the_policy_does_not_know() -> None:
    lines = explain("--trunk", "nowhere", "--customer", "nobody").stdout.splitlines()
    assert lines[:3] == [
        "12155550123 calls 12155551213, trunk nowhere",
        "there is no [trunk.nowhere]",
        "there is no [customer.nobody]: as if nobody were named",
    ]


def test_explain_says_what_happens_to_calls_that_cannot_be_signed(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[defaults]\nunsigned = "reject"\ncertificate = "x"\ndiv = true', "utf-8")
    result = run("explain", "--policy", str(policy), "--from", "anonymous", "--to", "sip:bob@example.net")
    assert result.stdout.splitlines() == [
        "anonymous calls anonymous",
        "rule default: matches",
        "signed: C, certificate x, origid call, Identity that is there: pass, div, "
        "if it cannot be signed: 503 Service Unavailable",
    ]


def test_explain_says_that_no_rule_asks_the_do_not_originate_list(tmp_path: Path) -> None:
    do_not_originate(tmp_path / "never.mdb", "12155550123")
    policy = tmp_path / "policy.toml"
    policy.write_text('[[rule]]\nname = "all"\nattest = "A"\n')
    arguments = ("explain", "--policy", str(policy), "--do-not-originate", str(tmp_path / "never.mdb"), "--to", "12155551213")
    lines = run(*arguments, "--from", "12155550123").stdout.splitlines()
    assert lines[1].startswith("the caller is on the do-not-originate list, and no rule asks for it here")
    assert "do-not-originate list" not in run(*arguments, "--from", "12155550124").stdout
    assert json.loads(run(*arguments, "--from", "12155550123", "--json").stdout)["overlooked"] is True
    # Whoever says himself whether it is on the list is not told
    assert "do-not-originate" not in run(*arguments, "--from", "12155550123", "--calls").stdout


def test_explain_tells_the_same_as_json() -> None:
    result = explain("--trunk", "acme-1", "--port", "5060", "--transport", "tls", "--tls-peer", "x", "--calls", "--json")
    told = json.loads(result.stdout)
    assert told["call"]["caller"] == "12155550123"
    assert (told["call"]["port"], told["call"]["transport"], told["call"]["tls_peer"]) == (5060, "tls", "x")
    assert (told["caller_in"], told["do_not_originate"]) == ("none", False)
    assert told["steps"][-1] == {"rule": "known-customer", "matches": True, "why": "matches"}
    assert (told["decision"]["attest"], told["decision"]["action"]) == ("B", "sign")


def test_address_that_is_none_is_no_address() -> None:
    result = explain("--source", "192.0.2.555")
    assert (result.exit_code, "no IP address" in result.stderr) == (2, True)


def test_expectations_that_are_not_there_are_no_settings(tmp_path: Path) -> None:
    result = run("test", str(tmp_path / "nosuch.toml"), "--policy", POLICY)
    said, advice = result.stderr.splitlines()
    assert (result.exit_code, "the expectations" in said, "[[expect]]" in advice) == (3, True, True)


def test_explain_takes_policy_and_numbers_from_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "stirshaken.toml"
    settings.write_text(
        f'[signing]\npolicy_file = "{POLICY}"\n[numbers]\ncountry_code = "1"\nnational_number_length = 10', "utf-8"
    )
    result = run("explain", "--from", "2155550123", "--to", "911", "--trunk", "gateway-x", settings=settings)
    assert result.stdout.startswith("12155550123 calls 911, trunk gateway-x, emergency\n")
    assert "signed: C" in result.stdout


@pytest.mark.parametrize(("option", "text"), [("--from", "alice"), ("--to", "bob")])
def test_explain_refuses_what_is_no_number(option: str, text: str) -> None:
    result = explain(option, text)
    assert result.exit_code == 2
    assert f"Invalid value for {option}" in result.stderr


def test_explain_without_policy_or_settings_says_what_is_missing() -> None:
    result = run("explain", "--from", "1", "--to", "2")
    assert result.exit_code == 3
    assert result.stderr.startswith("settings_unreadable: /nowhere/stirshaken.toml")


def test_explain_shows_why_a_policy_is_refused(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[rule]]\nname = "a"\natest = "A"', "utf-8")
    result = run("explain", "--policy", str(policy), "--from", "1", "--to", "2")
    assert result.exit_code == 3
    assert "rule a: 'atest' is unknown; did you mean attest?" in result.stderr


def test_inventory_that_is_no_inventory_is_an_error(tmp_path: Path) -> None:
    inventory = tmp_path / "numbers.mdb"
    inventory.write_bytes(b"no")
    result = explain("--trunk", "acme-1", "--inventory", str(inventory))
    assert result.exit_code == 3
    assert "inventory_unreadable" in result.stderr


# --- test -------------------------------------------------------------------------------------------------------


def test_sample_does_what_the_sample_expects() -> None:
    result = run("test", "--policy", POLICY, EXPECT)
    assert (result.exit_code, result.stdout) == (0, "9 of 9 calls as expected\n")


def test_expectation_that_is_not_met_is_said_with_the_reason(tmp_path: Path) -> None:
    expect = tmp_path / "expect.toml"
    expect.write_text(
        '[[expect]]\nname = "it"\ncaller = "12155550123"\ncalled = "1"\ntrunk = "acme-1"\ncaller_in = "own"\nattest = "B"\n'
        '[[expect]]\ncaller = "12155550123"\ncalled = "1"\naction = "pass"\n',
        "utf-8",
    )
    result = run("test", "--policy", POLICY, str(expect))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "it: attest is A, not B",
        "  rule do-not-originate: do_not_originate false is not true",
        "  rule no-number: caller 12155550123 is not anonymous",
        "  rule others-number: caller_in own is not other",
        "  rule own-number: matches",
        "1 of 2 calls as expected",
    ]
    told = json.loads(run("test", "--policy", POLICY, str(expect), "--json").stdout)
    assert [(one["name"], one["differs"]) for one in told] == [("it", "attest is A, not B"), ("number 2", "")]


@pytest.mark.parametrize("text", ["", "[[expect]]\ncaller = 'x y'\nrule = 'a'"])
def test_file_that_expects_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    expect = tmp_path / "expect.toml"
    expect.write_text(text, "utf-8")
    result = run("test", "--policy", POLICY, str(expect))
    assert result.exit_code == 3
    assert str(expect) in result.stderr


def test_file_that_is_not_there_is_an_error() -> None:
    assert run("test", "--policy", POLICY, "/nowhere/expect.toml").exit_code == 3
    assert run("test", "--policy", POLICY).exit_code == 2
