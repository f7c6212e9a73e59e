"""The signing policy's file: what is read from it, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from uuid import UUID

import pytest

from kamailio_app.errors import PolicyRefused, SettingsRefused
from kamailio_app.passport.claims import Attestation
from kamailio_app.policy.attestation import Call, Customer, Decision, Trunk
from kamailio_app.policy.countries import COUNTRIES
from kamailio_app.policy.masks import MASKS
from kamailio_app.policy.rules import DEFAULT, Policy, Rule
from kamailio_app.runtime.policy_file import load, parse
from kamailio_app.runtime.policy_options import CONDITIONS, CUSTOMER, PHRASES, SIGNING, TRUNK, TRUNK_LISTS
from kamailio_app.tn import NumberPlan

CFG = Path(__file__).parents[3] / "cfg"
SAMPLE = CFG / "signing-policy.toml"
PATH = Path("/etc/kamailio/signing-policy.toml")
ORIGID = "123e4567-e89b-12d3-a456-426655440000"


def read(text: str) -> Policy:
    return parse(PATH, text)


def rule(text: str) -> Rule:
    return read(f'[[rule]]\nname = "it"\n{text}').rules[0]


def refusal(text: str) -> str:
    with pytest.raises(PolicyRefused) as caught:
        read(text)
    assert caught.value.token == "policy_malformed"
    assert caught.value.detail.startswith(f"{PATH}: ")
    return caught.value.detail.removeprefix(f"{PATH}: ")


# --- Rules ------------------------------------------------------------------------------------------------------


def test_empty_file_signs_as_no_file_does() -> None:
    policy = read("")
    assert policy.uses == DEFAULT.uses
    assert policy.rules == DEFAULT.rules


def test_conditions_take_a_value_or_several() -> None:
    text = """port = 5060
        source = ["192.0.2.0/24", "2001:db8::1"]
        transport = ["tls", "wss"]
        tls_peer = "sbc*"
        caller = ["12155551212", "1215*", "12155550000-12155559999", "anonymous", "*67*"]
        called = "911"
        caller_in = ["own", "other"]
        do_not_originate = false
        emergency = [true, false]
        identity = true
        asked = ["A", "none"]"""
    assert rule(text).conditions == {
        "port": (5060,),
        "source": ("192.0.2.0/24", "2001:db8::1"),
        "transport": ("tls", "wss"),
        "tls_peer": ("sbc*",),
        "caller": ("12155551212", "1215*", "12155550000-12155559999", "anonymous", "*67*"),
        "called": ("911",),
        "caller_in": ("own", "other"),
        "do_not_originate": (False,),
        "emergency": (True, False),
        "identity": (True,),
        "asked": ("A", "none"),
    }


def test_every_condition_can_be_asked() -> None:
    assert CONDITIONS.keys() == MASKS.keys()


def test_outcome_of_a_rule() -> None:
    text = f"""attest = "A"\ncertificate = "sp.1"\nspc = "123A"\norigid = "{ORIGID.upper()}"\nexisting_identity = "div"
        drop_malformed = true\ndiv = true\nrcd = true\nrph = true\nmky = true
        uri = true\nbase = true\np_headers = true\nunsigned = "reject" """
    assert rule(text) == Rule(
        Decision(
            "it",
            "sign",
            Attestation.FULL,
            503,
            "Service Unavailable",
            "sp.1",
            "123A",
            ORIGID,
            "div",
            drop_malformed=True,
            div=True,
            rph=True,
            rcd=True,
            mky=True,
            uri=True,
            base=True,
            p_headers=True,
            unsigned="reject",
        ),
        says=frozenset(SIGNING) - {"existing_identity"} | {"identity"},
    )


def test_rule_may_ask_for_identity_and_say_what_becomes_of_it() -> None:
    asked = rule('identity = true\nexisting_identity = "div"')
    assert asked.conditions == {"identity": (True,)}
    assert asked.decision.identity == "div"
    assert asked.says == {"identity"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [('certificate = "theirs"', ("theirs", "")), ('spc = "5678"', ("", "5678")), ('attest = "A"', ("ours", "1234"))],
)
def test_rule_that_says_whose_certificate_signs_drops_that_of_the_defaults(said: str, expected: tuple[str, str]) -> None:
    policy = parse(
        Path("policy.toml"), f'[defaults]\ncertificate = "ours"\nspc = "1234"\n[[rule]]\nname = "a"\nport = 1\n{said}'
    )
    decision = policy.rules[0].decision
    assert (decision.certificate, decision.spc) == expected


def test_defaults_are_for_all_rules_and_for_calls_that_no_rule_decides() -> None:
    policy = read(
        '[defaults]\nattest = "C"\ndiv = true\n[[rule]]\nname = "a"\nport = 1\ndiv = false\n[[rule]]\nname = "b"\nsign = true'
    )
    a, b, default = (rule.decision for rule in policy.rules)
    assert (a.attest, a.div) == (Attestation.GATEWAY, False)
    assert (b.attest, b.div) == (default.attest, default.div) == (Attestation.GATEWAY, True)
    assert [rule.says for rule in policy.rules] == [frozenset({"div"}), frozenset(), frozenset()]


def test_sign_false_lets_the_call_go_on() -> None:
    assert rule("sign = false").decision == Decision("it", "pass")


def test_call_that_is_not_signed_says_nothing_for_us_where_no_call_may() -> None:
    policy = read(
        '[defaults]\np_headers = true\n[[rule]]\nname = "a"\nport = 1\nsign = false\n[[rule]]\nname = "b"\nreject = 403'
    )
    assert all(rule.decision.p_headers for rule in policy.rules)


@pytest.mark.parametrize(
    ("word", "code", "phrase"),
    [
        ("403", 403, "Forbidden"),
        ('"603 Decline"', 603, "Decline"),
        ('"608"', 608, "Rejected"),
        ('"499 Not Today"', 499, "Not Today"),
    ],
)
def test_reject_and_unsigned_take_an_answer(word: str, code: int, phrase: str) -> None:
    assert rule(f"reject = {word}").decision == Decision("it", "reject", code=code, phrase=phrase)
    assert rule(f"unsigned = {word}").decision == Decision("it", unsigned="reject", code=code, phrase=phrase)


def test_codes_that_need_no_phrase_have_one() -> None:
    assert all(400 <= code < 700 and phrase for code, phrase in PHRASES.items())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port = 0", "port: takes ports; one, or a list"),
        ("port = true", "port: takes ports"),
        ("port = []", "port: takes ports"),
        ('port = ["5060"]', "port: takes ports"),
        ('source = "192.0.2.1/24"', "source: takes addresses and networks"),
        ('source = "fe80::1%eth0"', "source: takes"),
        ('source = "::ffff:192.0.2.0/120"', "source: takes"),
        ("source = 1", "source: takes"),
        ('transport = "TLS"', "transport: takes udp, tcp, tls, sctp, ws, wss"),
        ('tls_peer = "*.example"', "tls_peer: takes names of hosts"),
        ('tls_peer = ""', "tls_peer: takes"),
        ('trunk = "a b"', "trunk: takes names"),
        ('trunk = "a*b"', "trunk: takes names"),
        ('caller = "+12155551212"', "caller: takes numbers"),
        ('caller = "1234567890123456"', "caller: takes numbers"),
        ("caller = 12155551212", "caller: takes numbers"),
        ('caller = "10-9"', "caller: takes numbers"),
        ('caller = "19-10"', "caller: takes numbers"),
        ('caller = "1-2-3"', "caller: takes numbers"),
        ('caller = ""', "caller: takes numbers"),
        ('caller = "1\\n"', "caller: takes numbers"),
        ('caller_in = "mine"', "caller_in: takes own, other, none"),
        ('asked = ""', "asked: takes A, B, C, none"),
        ("identity = 1", "identity: takes true or false"),
        ('attest = "D"', "attest is one of A, B, C, asked"),
        ('attest = "a"', "attest is one of"),
        ('certificate = "../x"', "certificate is made of"),
        ('spc = "12 4"', "spc is made of"),
        ('origid = "x"', 'origid: takes "call", "trunk", "customer", a UUID'),
        ('origid = "123e4567e89b12d3a456426655440000"', "origid: takes"),
        ('identity = "div"', "identity: takes true or false"),
        ('existing_identity = "drop"', "existing_identity is one of pass, replace, div"),
        ("div = 1", "div takes true or false"),
        ("unsigned = 200", 'unsigned: takes "pass", "reject", a code'),
        ("unsigned = true", "unsigned takes text"),
        ('unsigned = "later"', "unsigned: takes"),
        ("sign = 1", "sign: takes true or false"),
        ("reject = true", "reject: takes a code"),
        ("reject = 302", "reject: takes a code"),
        ("reject = 499", "reject: takes a code"),
        ('reject = "403 a\\r\\nb"', "reject: takes a code"),
        ('reject = "499  "', "reject: takes a code"),
        ("reject = []", "reject: takes a code"),
        ('sign = false\nattest = "A"', "attest: says nothing of a call that is not signed"),
        ("sign = false\nreject = 403", "sign: says nothing of a call that is not signed"),
        ("sign = true\nreject = 403", "sign: says nothing"),
        ("reject = 403\ndiv = true", "div: says nothing"),
        ('sign = false\nunsigned = "pass"', "unsigned: says nothing"),
        ('atest = "A"', "'atest' is unknown; did you mean attest?"),
        ("qqqq = 1", "'qqqq' is unknown"),
        ('trunk = "nowhere"', "trunk: there is no [trunk.nowhere]"),
    ],
)
def test_rule_that_is_refused_says_why(text: str, reason: str) -> None:
    assert f"rule it: {reason}" in refusal(f'[[rule]]\nname = "it"\n{text}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", ""),
        ("rule = 1", "rule: write [[rule]], once for each"),
        ("rule = [1]", "rule: write [[rule]]"),
        ("[rule]", "rule: write [[rule]]"),
        ("[[rule]]", "rule number 1: name: takes"),
        ("[[rule]]\nname = 1", "rule number 1: name: takes"),
        ('[[rule]]\nname = "a b"', "rule number 1: name: takes"),
        ('[[rule]]\nname = "default"', "rule default: name: is taken already"),
        ('[[rule]]\nname = "a"\nport = 1\n[[rule]]\nname = "a"', "rule a: name: is taken already"),
        ('[[rule]]\nname = "a"\n[[rule]]\nname = "b"', "rule b never decides: rule a before it takes all its calls"),
        ("[rules]", "the file: 'rules' is unknown; did you mean rule?"),
        ("defaults = 1", "defaults: is a section, write [defaults]"),
        ("[defaults]\nsign = false", "[defaults]: 'sign' is unknown"),
        ('[defaults]\norigid = "x"', "[defaults]: origid: takes"),
        ('country = "xx"', "country: is one of us, ca, fr"),
        ("country = 1", "country: is one of"),
        ("country = []", "country: is one of"),
        ("customer = 1", "customer: holds sections, write [customer.NAME]"),
        ("customer.a = 1", "customer.a: is a section, write [customer.NAME]"),
        ("[customer.'a b']", "[customer.'a b']: a name is 1 to 64"),
        ("[customer.a]\nmask = 1", "[customer.a]: 'mask' is unknown"),
        ('[customer.a]\norigid = "x"', "[customer.a]: origid: takes a UUID"),
        ('[customer.a]\ndisplay_name = "a\\nb"', "[customer.a]: display_name takes no control characters"),
        ('[customer.a]\nlogo = "http://x"', "[customer.a]: logo is made of"),
        ('[customer.a]\nlogo = "https://x/"', "[customer.a]: logo and logo_digest go together"),
        (f'[customer.a]\nlogo_digest = "sha256-{"a" * 43}="', "[customer.a]: logo and logo_digest go together"),
        ('[trunk.a]\ncustomer = "x"', "[trunk.a] customer: there is no [customer.x]"),
        ('[trunk.a]\ncustomer = "a b"', "[trunk.a]: customer is made of"),
        ('[trunk.a]\nsource = "x"', "[trunk.a]: source: takes addresses"),
        ('[trunk.a]\nsorce = "x"', "[trunk.a]: 'sorce' is unknown; did you mean source?"),
        ('[trunk.a]\ncountry = "xx"', "[trunk.a]: country is one of"),
        ('[trunk.a]\nexisting_identity = "drop"', "[trunk.a]: existing_identity is one of"),
        ('[trunk.a]\nbypass = "ABC123-X"', "[trunk.a]: bypass: needs country"),
        ('[trunk.a]\ncountry = "us"\nbypass = "ABC123-X"', "[trunk.a]: bypass: is no token of its country's"),
        ('country = "fr"\n[trunk.a]\nbypass = "X"', "[trunk.a]: bypass: is no token"),
        ("[trunk.a]\nnational_number_length = 99", "[trunk.a]: national_number_length lies between"),
        ('country = "us"\n[customer.a]\nspc = "12345"', "[customer.a]: spc: 12345 is none of us"),
        ('country = "fr"\n[defaults]\nspc = "1234"', "rule default: spc: 1234 is none of fr"),
        ('country = "fr"\n[trunk.a]\nspc = "1234"', "[trunk.a]: spc: 1234 is none of fr"),
        ("[trunk.a]\nunsigned = 200", "[trunk.a]: unsigned: takes"),
        ('[trunk.a]\nattest = "D"', "[trunk.a]: attest is one of"),
        ("[trunk.a]\ndiv = 1", "[trunk.a]: div"),
        ("[trunk.a]\nreject = 403", "[trunk.a]: 'reject' is unknown"),
        (
            '[customer.b]\nspc = "5678"\n[trunk.a]\nspc = "5678"',
            "[trunk.a] signs with the certificate of [customer.b], and not his calls alone",
        ),
        (
            '[[rule]]\nname = "a"\nemergency = [true, true]\nreject = 403',
            "rule a never decides: an emergency call is never rejected",
        ),
        (
            '[customer.a]\nspc = "1234"\n[[rule]]\nname = "r"\ncustomer = "a"\nspc = "5678"',
            "rule r signs calls of [customer.a] with another provider's certificate",
        ),
    ],
)
def test_file_that_is_refused_says_why(text: str, reason: str) -> None:
    assert reason in refusal(text)


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "1" * 5000])
def test_text_that_hurts_is_refused(text: str) -> None:
    refusal(text)


# --- Customers and trunks ---------------------------------------------------------------------------------------


def test_customer_says_who_he_is() -> None:
    digest = f"sha256-{'a' * 43}="
    policy = read(
        f"""[customer.a]\ncertificate = "x"\nspc = "1234"\norigid = "{ORIGID}"\ndisplay_name = "A & Söhne"
        call_reason = "Delivery"\nlogo = "https://a.example/l.png"\nlogo_digest = "{digest}" """
    )
    assert policy.customers == {
        "a": Customer("a", "x", "1234", ORIGID, "A & Söhne", "Delivery", "https://a.example/l.png", digest)
    }


def test_trunk_says_where_calls_come_in() -> None:
    policy = read(
        f"""country = "us"\n[customer.c]\n[trunk.a]\ncustomer = "c"\nsource = "192.0.2.1"\ntransport = ["tls", "tcp"]
        tls_peer = "x*"\ncountry = "fr"\norigid = "{ORIGID}"\nexisting_identity = "replace"
        bypass = "ABC123-XYZ"\nnational_prefix = "9" """
    )
    assert policy.trunks["a"] == Trunk(
        "a",
        "c",
        ("192.0.2.1",),
        ("tls", "tcp"),
        ("x*",),
        NumberPlan("33", "9", "00", 9),
        "fr",
        ORIGID,
        "Identity-Bypass",
        "ABC123-XYZ",
        {"identity": "replace"},
    )


def test_trunk_says_how_its_calls_are_signed() -> None:
    policy = read(
        """[trunk.a]\nattest = "B"\ncertificate = "x"\nunsigned = 480\ndiv = true\nrcd = true\nrph = true\nmky = true
        uri = true\nbase = true\np_headers = true\ndrop_malformed = true
        [trunk.b]\nattest = "asked"\nspc = "1234"\nunsigned = "pass" """
    )
    assert policy.trunks["a"].says == {
        "attest": Attestation.PARTIAL, "certificate": "x", "spc": "", "unsigned": "reject", "code": 480,
        "phrase": "Temporarily Unavailable",
        **dict.fromkeys(("div", "rcd", "rph", "mky", "uri", "base", "p_headers", "drop_malformed"), True),
    }  # fmt: skip
    assert policy.trunks["b"].says == {
        "attest": None, "certificate": "", "spc": "1234", "unsigned": "pass", "code": 0, "phrase": "",
    }  # fmt: skip
    assert read("[trunk.a]").trunks["a"].says == {}


def test_trunks_dial_as_the_country_does_or_as_they_say() -> None:
    assert read("[trunk.a]").trunks["a"].plan is None
    assert read('country = "us"\n[trunk.a]').trunks["a"].plan == COUNTRIES["us"].plan
    assert read('[trunk.a]\ncountry_code = "49"').trunks["a"].plan == NumberPlan("49")
    assert read('country = "fr"\n[trunk.a]').trunks["a"].bypass_header == ""


def test_origid_that_is_not_said_stays_the_same() -> None:
    policy, again = (read("[customer.a]\n[customer.b]\n[trunk.a]") for _ in range(2))
    origids = [policy.customers["a"].origid, policy.customers["b"].origid, policy.trunks["a"].origid]
    assert len(set(origids)) == 3
    assert all(str(UUID(origid)) == origid for origid in origids)
    assert origids[0] == again.customers["a"].origid == "5822febf-aeb4-5e4d-89ee-159509811845"


# --- Files ------------------------------------------------------------------------------------------------------


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[[rule]]\nname = "a"', "utf-8")
    assert [rule.name for rule in load(path).rules] == ["a", "default"]


@pytest.mark.parametrize("octets", [None, b"\xff"])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, octets: bytes | None) -> None:
    path = tmp_path / "policy.toml"
    if octets:
        path.write_bytes(octets)
    with pytest.raises(SettingsRefused, match=re.escape(str(path))) as caught:
        load(path)
    assert caught.value.token == "settings_unreadable"


# --- The sample -------------------------------------------------------------------------------------------------


def test_sample_explains_every_word() -> None:
    text = SAMPLE.read_text("utf-8")
    for word in (*CONDITIONS, *SIGNING, *CUSTOMER, *TRUNK, *TRUNK_LISTS, *COUNTRIES, "sign", "reject"):
        assert re.search(rf"\b{word}\b", text), word


def test_samples_defaults_are_the_codes() -> None:
    said = tomllib.loads(SAMPLE.read_text("utf-8"))["defaults"]
    assert said.keys() == SIGNING.keys() - {"certificate"}
    assert {name: SIGNING[name].default for name in said if name != "spc"} == {n: v for n, v in said.items() if n != "spc"}


@pytest.mark.parametrize(
    ("call", "caller_in", "attest"),
    [
        (Call("12155550123", "1", customer="acme"), "own", "A"),
        (Call("12155550123", "1", customer="acme"), "other", "B"),
        (Call("12155550123", "1", customer="acme"), "none", "B"),
        (Call("12155550123", "1", trunk="gateway-paris"), "own", "C"),
        (Call("12155550123", "1"), "other", None),
        (Call("", "1", customer="acme"), "none", None),
    ],
)
def test_sample_attests_by_the_criteria_of_atis_1000074(call: Call, caller_in: str, attest: str | None) -> None:
    policy = load(SAMPLE)
    decision = policy.conclude(policy.examine(call), caller_in=caller_in)  # type: ignore[arg-type]
    assert decision.attest == attest
    assert decision.action == ("sign" if attest else "pass")


def test_commented_lines_of_the_sample_are_right_as_well() -> None:
    lines = SAMPLE.read_text("utf-8").splitlines()
    shown = [
        re.sub(r"^# (?=(?:logo|logo_digest|country|country_code|\w+_prefix|national_number_length|bypass) *= )", "", line)
        for line in lines
    ]
    assert sum(one != other for one, other in zip(lines, shown, strict=True)) == 8
    policy = read("\n".join(shown))
    assert policy.customers["acme"].logo
    assert policy.trunks["beta-1"].bypass
