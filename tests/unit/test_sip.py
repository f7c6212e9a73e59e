"""SIP values: who calls whom, SIP-date, verstat."""

from __future__ import annotations

from time import perf_counter

import pytest

from kamailio_app import sip
from kamailio_app.sip import Party
from kamailio_app.tn import NumberPlan

from .builders import DATE, NOW, ORIG, refused, request

NANP = NumberPlan("1", "1", "011", 10)
LARGE = 65536


def tn(value: str) -> Party:
    return Party("tn", value)


def uri(value: str) -> Party:
    return Party("uri", value)


# --- Canonical form: the table of RFC 8224 8 --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "party"),
    [
        ("tel:+1-215-555-0121", tn("12155550121")),
        ("sip:+12155550121@example.com;user=phone", tn("12155550121")),
        ("sip:2155550121@10.0.0.1", tn("12155550121")),
        ("sip:+12155550121;npdi;rn=+12155550000@gw;user=phone", tn("12155550121")),
        ("sip:+12155550121;verstat=TN-Validation-Passed@gw;user=phone", tn("12155550121")),
        ("sip:%2B12155550121@gw;user=phone", tn("12155550121")),
        ("tel:5550121;phone-context=+1215", tn("12155550121")),
        ("sip:011442071838750@gw", tn("442071838750")),
        ("tel:+44(0)2071838750", None),
        ("sip:911@gw", tn("911")),
        ("urn:service:sos", uri("urn:service:sos")),
        ("tel:*67", tn("*67")),
        ("sip:%23123@gw", tn("#123")),
        ("sip:anonymous@anonymous.invalid", uri("sip:anonymous@anonymous.invalid")),
        ("sip:alice@Example.COM:5070;transport=tcp?x=y", uri("sip:alice@example.com")),
        ("sips:B%6Fb@EXAMPLE.com", uri("sips:bob@example.com")),
        ("sip:1-800-FLOWERS@gw;user=phone", uri("sip:1-800-flowers@gw")),
    ],
)
def test_canonicalisation_table(value: str, party: Party | None) -> None:
    assert sip.party(value, NANP) == party


def test_name_addr_of_the_canonicalisation_table() -> None:
    assert [sip.party(found) for found in sip.uris('"Bob" <sips:B%6Fb@EXAMPLE.com>')] == [uri("sips:bob@example.com")]


@pytest.mark.parametrize(
    ("value", "party"),
    [
        ("TEL:+12155550121", tn("12155550121")),
        ("tel:+12155550121;isub=1234;ext=99", tn("12155550121")),
        ("tel:+12155550121;phone-context=+44", tn("12155550121")),
        ("tel:5550121;isub=1;phone-context=+1-215", tn("12155550121")),
        ("tel:911;phone-context=example.com", tn("911")),
        ("sip:+12155550121:secret@gw;user=phone", tn("12155550121")),
        ("sip:2155550121;phone-context=+1@gw;user=phone", tn("12155550121")),
        ("sip:+1%2D215%2D555%2D0121@gw;user=phone", tn("12155550121")),
        ("sip:+12155550121@gw;user=PHONE", tn("12155550121")),
        ("SIPS:+12155550121@gw", tn("12155550121")),
    ],
)
def test_parameters_and_escapes_never_reach_the_number(value: str, party: Party) -> None:
    assert sip.party(value) == party


@pytest.mark.parametrize(
    ("value", "party"),
    [
        ("sip:alice@example.com", uri("sip:alice@example.com")),
        ("sip:alice;day=tue@example.com", uri("sip:alice@example.com")),
        ("sip:alice:secret@example.com", uri("sip:alice@example.com")),
        ("sip:example.com", uri("sip:example.com")),
        ("sip:example.com:5060;lr", uri("sip:example.com")),
        ("sip:alice@[2001:DB8::1]:5060", uri("sip:alice@[2001:db8::1]")),
        ("sip:alice@[2001:DB8::1]", uri("sip:alice@[2001:db8::1]")),
        ("sips:alice@example.com", uri("sips:alice@example.com")),
        ("sip:()@gw", uri("sip:()@gw")),
        ("sip:1800flowers@gw", uri("sip:1800flowers@gw")),
        ("sip:@example.com", uri("sip:example.com")),
        ("sip:1234567890123456@gw", uri("sip:1234567890123456@gw")),
        ("URN:Service:SOS", uri("urn:service:sos")),
    ],
)
def test_what_is_no_number_is_a_uri_without_parameters_password_and_port(value: str, party: Party) -> None:
    assert sip.party(value) == party


@pytest.mark.parametrize(
    ("value", "party"),
    [
        ("tel:12155550121;phone-context=pbx.example.com", None),
        ("tel:2155550121;isub=1;Phone-Context=pbx.example.com", None),
        ("tel:5550121;phone-context=", None),
        ("tel:555012;phone-context=pbx.example.com", tn("555012")),
        ("sip:911;phone-context=ims.example.net@gw;user=phone", tn("911")),
        ("sip:12155550121;phone-context=pbx.example.com@gw;user=phone", uri("sip:12155550121@gw")),
        ("tel:+12155550121;phone-context=pbx.example.com", tn("12155550121")),
        ("tel:12155550121;phone-contextual=pbx.example.com", tn("12155550121")),
    ],
)
def test_number_of_a_domain_is_no_global_number(value: str, party: Party | None) -> None:
    """RFC 3966 5.1.5."""
    assert sip.party(value) == sip.party(value, NANP) == party


@pytest.mark.parametrize(
    "value", ["", "sip:", "alice", "mailto:alice@example.com", "sip:alice@", "tel:", "urn:", "tel:alice", "sip:;lr"]
)
def test_what_names_nobody(value: str) -> None:
    assert sip.party(value) is None


@pytest.mark.parametrize("user", ["a b", "a<b", 'a"b', "a\r\nb", "%zz", "é", "a\x00"])
def test_user_part_that_breaks_the_grammar_names_nobody(user: str) -> None:
    assert sip.party(f"sip:{user}@gw") is None


@pytest.mark.parametrize("host", ["g w", "gw>", "gw\r\n", "[::1", "gw:x", "gw,gw", "é"])
def test_host_that_breaks_the_grammar_names_nobody(host: str) -> None:
    assert sip.party(f"sip:alice@{host}") is None


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+12155550121@gw",
        "sips:+1@gw:5060;user=phone",
        "tel:+1215;isub=1",
        "tel:+1",
        "sip:+1234567890123456@gw",
        "sip:+1:pw@gw",
    ],
)
@pytest.mark.parametrize("form", ["{}", "<{}>", '"A" <{}>', "Alice <{}>", "<{}>;x=y", "<{}> ", '"a<b" <{}>', "<{}>,<sip:b@c>"])
def test_short_way_says_what_the_general_rules_say(uri: str, form: str) -> None:
    # Upper case takes the long way
    value = form.format(uri)
    slow = form.format(uri.partition(":")[0].upper() + ":" + uri.partition(":")[2])
    assert sip.caller(request(asserted=(value,)), "pai") == sip.caller(request(asserted=(slow,)), "pai")


# --- Caller and called ------------------------------------------------------------------------------------------

ANONYMOUS = "sip:anonymous@anonymous.invalid"


def test_asserted_identity_goes_before_from() -> None:
    call = request(asserted=("<sip:+12155550199@gw>",))
    assert sip.caller(call, "pai") == tn("12155550199")


def test_from_only_if_so_chosen() -> None:
    call = request(asserted=("<sip:+12155550199@gw>",))
    assert sip.caller(call, "from") == tn("12155550121")


def test_from_if_there_is_no_asserted_identity() -> None:
    assert sip.caller(request(), "pai") == tn("12155550121")


def test_anonymous_from_with_asserted_identity_is_the_asserted_number() -> None:
    call = request(from_uri=ANONYMOUS, asserted=('"Alice" <sip:+12155550121@gw;user=phone>',))
    assert sip.caller(call, "pai") == tn("12155550121")


def test_anonymous_from_alone_is_no_number() -> None:
    assert sip.caller(request(from_uri=ANONYMOUS), "pai") == uri(ANONYMOUS)


@pytest.mark.parametrize(
    "asserted",
    [
        ("<sip:+12155550100@gw>, <tel:+12155550121>",),
        ("<tel:+12155550121>, <sip:+12155550100@gw>",),
        ("<sip:+12155550100@gw>", "<tel:+12155550121>"),
        ("<sip:+12155550100@gw>", "<TEL:+12155550121>"),
        ("<sip:alice@gw>,<tel:+12155550121>",),
        ('"a, <sip:x@y>" <sip:alice@gw> , tel:+12155550121;foo=bar',),
        ("<sip:alice@gw>,<sip:+12155550121@gw>",),
        ("<tel:+1(0)2>,<sip:+12155550121@gw>",),
    ],
)
def test_of_two_asserted_identities_the_number_counts_and_tel_before_sip(asserted: tuple[str, ...]) -> None:
    assert sip.caller(request(asserted=asserted), "pai") == tn("12155550121")


def test_asserted_uri_counts_if_no_number_is_asserted() -> None:
    assert sip.caller(request(asserted=("<sip:alice@gw>",)), "pai") == uri("sip:alice@gw")


@pytest.mark.parametrize(
    "asserted", ["", "<>", "garbage", '"', "<mailto:a@b>", "<pres:bob@x>", '"A" <sip:+12155559999@x', "<tel:+1-abc>"]
)
def test_caller_of_an_unreadable_asserted_identity_is_nobody(asserted: str) -> None:
    for values in ((asserted,), (asserted, asserted), (f"{asserted}, {asserted}",)):
        assert sip.caller(request(asserted=values), "pai") is None
    assert sip.caller(request(asserted=(asserted,)), "from") == tn("12155550121")
    assert sip.caller(request(asserted=(asserted, "<tel:+12155550199>")), "pai") == tn("12155550199")


def test_called_is_to_or_the_request_uri() -> None:
    call = request(to_uri="tel:+12155550131", request_uri="sip:+12155550132@gw")
    assert sip.called(call, "to") == tn("12155550131")
    assert sip.called(call, "request_uri") == tn("12155550132")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<sip:a@b>", ["sip:a@b"]),
        ("sip:a@b", ["sip:a@b"]),
        ("sip:a@b;tag=1", ["sip:a@b"]),
        ("Alice B. <sip:a@b;x=y>;z=1", ["sip:a@b;x=y"]),
        (r'"A \"<sip:x@y>\"" <sip:a@b>', ["sip:a@b"]),
        ("<sip:a@b>,<sip:c@d>", ["sip:a@b", "sip:c@d"]),
        (" sip:a@b ,\ttel:+1", ["sip:a@b", "tel:+1"]),
        ("", []),
        ('"unclosed <sip:a@b>', []),
        ("<unclosed", []),
        ("<sip:a@b>,", ["sip:a@b"]),
    ],
)
def test_uris_of_a_header_field(value: str, found: list[str]) -> None:
    assert sip.uris(value) == found


@pytest.mark.parametrize(
    ("fields", "private"),
    [
        ([], False),
        (["none"], False),
        (["NONE", " none"], False),
        (["none;id"], True),
        (["none,id"], True),
        (["x"], True),
        ([";"], True),
    ],
)
def test_privacy_is_anything_but_none(fields: list[str], private: bool) -> None:
    assert sip.wants_privacy(fields) is private


# --- Hostile text takes linear time -----------------------------------------------------------------------------

PIECES = [
    "sip:", "sip:sip:", "sip:1", "sip:+1;", "sip:1:", "sip:1@", "tel:", "tel:+1;", ";", "; ", " ", "<", ">", '"',
    "\\", '\\"', '"\\', ",", ", ", "<,", '",', "@", ":", "%", "%2", "%41", ";verstat", ";verstat=", "; verstat = x",
    ";verstat=x ", "?", "=", "\t", "(", "0", "a<", 'a"', "sip:+1;verstat", "user=phone;", ";phone-context=+1",
    ";phone-context=",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_64_kilobytes_of_anything_are_read_in_linear_time(piece: str) -> None:
    text = (piece * LARGE)[:LARGE]
    began = perf_counter()
    for value in (text, f"sip:{text}@gw;user=phone", f"tel:{text}", f"<sip:a@b>,{text}x"):
        sip.uris(value)
        sip.party(value)
        sip.with_verstat(value, "No-TN-Validation", tn("1"))
    sip.caller(request(asserted=(text,)), "pai")
    assert perf_counter() - began < 1


# --- Date -------------------------------------------------------------------------------------------------------


def test_sip_date_there_and_back() -> None:
    assert sip.parse_date(DATE) == NOW
    assert sip.format_date(NOW) == DATE
    assert sip.format_date(NOW + 0.999) == DATE


@pytest.mark.parametrize("month", range(12))
def test_every_month_there_and_back(month: int) -> None:
    moment = NOW + month * 30 * 86400
    assert sip.parse_date(sip.format_date(moment)) == moment


def test_leap_second_and_surrounding_space_are_read() -> None:
    assert sip.parse_date(" Sat, 31 Dec 2016 23:59:60 GMT ") == 1483228800


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Tue, 14 Nov 2023 22:13:20 UTC",
        "Tue, 14 Nov 2023 22:13:20 +0000",
        "Tue, 14 Nov 2023 22:13:20",
        "Tue, 14 Nov 23 22:13:20 GMT",
        "Tue, 4 Nov 2023 22:13:20 GMT",
        "14 Nov 2023 22:13:20 GMT",
        "Tue, 14 nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 2023 24:13:20 GMT",
        "Tue, 14 Nov 2023 22:60:20 GMT",
        "Tue, 14 Nov 2023 22:13:61 GMT",
        "Tue, 00 Nov 2023 22:13:20 GMT",
        "Tue, 31 Nov 2023 22:13:20 GMT",
        "Thu, 29 Feb 2023 22:13:20 GMT",
        "Tue, 99 Nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 0000 22:13:20 GMT",
        "Tue, 14 Nov ٢٠٢٣ 22:13:20 GMT",
        "1700000000",
        DATE + "x",
    ],
)
def test_anything_else_is_no_sip_date(text: str) -> None:
    with refused("date_malformed"):
        sip.parse_date(text)


# --- verstat ----------------------------------------------------------------------------------------------------

PASSED = "TN-Validation-Passed"


@pytest.mark.parametrize(
    ("value", "tagged"),
    [
        ("tel:+12155550121", f"tel:+12155550121;verstat={PASSED}"),
        ("<tel:+12155550121>", f"<tel:+12155550121;verstat={PASSED}>"),
        ("<tel:+12155550121;isub=1>", f"<tel:+12155550121;verstat={PASSED};isub=1>"),
        ("sip:+12155550121@gw;user=phone", f"sip:+12155550121;verstat={PASSED}@gw;user=phone"),
        ('"A" <sips:+12155550121@gw>;x=1', f'"A" <sips:+12155550121;verstat={PASSED}@gw>;x=1'),
        ("sip:2155550121:secret@gw", f"sip:2155550121;verstat={PASSED}:secret@gw"),
        ("sip:+12155550121;rn=+1@gw", f"sip:+12155550121;verstat={PASSED};rn=+1@gw"),
        ("<sip:+1@a>, <tel:+1>", f"<sip:+1;verstat={PASSED}@a>, <tel:+1;verstat={PASSED}>"),
        ("SIP:+12155550121@gw", f"SIP:+12155550121;verstat={PASSED}@gw"),
        ("sip:alice@gw", "sip:alice@gw"),
        ("sip:gw", "sip:gw"),
        ("sip:10.0.0.1", "sip:10.0.0.1"),
        ("urn:service:sos", "urn:service:sos"),
        ("", ""),
    ],
)
def test_verstat_goes_behind_the_number_and_before_the_host(value: str, tagged: str) -> None:
    of = next((found for named in sip.uris(value) if (found := sip.party(named))), tn(ORIG))
    assert sip.with_verstat(value, PASSED, of) == tagged


@pytest.mark.parametrize(
    "value",
    [
        "tel:+12155550122",
        "tel:+1215555012",
        "tel:2155550121",
        "<sip:+12155550122@gw;user=phone>",
        "sip:2155550121@gw",
        "sip:+1215555012;ext=1@gw",
        "sip:2155550121;phone-context=+44@gw",
        "tel:2155550121;phone-context=+44",
        "tel:12155550121;phone-context=+44",
        "sip:12155550121;phone-context=+44@gw",
        "sip:alice@12155550121",
        "sip:alice@gw;x=+12155550121",
    ],
)
def test_number_that_was_not_verified_carries_no_verstat(value: str) -> None:
    of = tn(ORIG)
    assert sip.with_verstat(value, PASSED, of) == value
    spoofed = value.replace("@", f";verstat={PASSED}@") if "@" in value else f"{value};verstat={PASSED}"
    assert sip.with_verstat(spoofed, PASSED, of) == value
    # Also where the one that was verified stands beside it
    both = f"<{value.strip('<>')}>, <tel:+{ORIG}>"
    assert sip.with_verstat(both, PASSED, of) == f"<{value.strip('<>')}>, <tel:+{ORIG};verstat={PASSED}>"


@pytest.mark.parametrize(
    ("value", "tagged"),
    [
        ("tel:+1-215-555-0121", f"tel:+1-215-555-0121;verstat={PASSED}"),
        ("tel:5550121;phone-context=+1215", f"tel:5550121;verstat={PASSED};phone-context=+1215"),
        ("<sip:5550121;phone-context=+1215@gw>", f"<sip:5550121;verstat={PASSED};phone-context=+1215@gw>"),
        ("<sip:2155550121@gw>", f"<sip:2155550121;verstat={PASSED}@gw>"),
        ("tel:12155550121", f"tel:12155550121;verstat={PASSED}"),
        (
            '"A, B" <tel:2155550121>;x, sip:+12155550121@a',
            f'"A, B" <tel:2155550121;verstat={PASSED}>;x, sip:+12155550121;verstat={PASSED}@a',
        ),
    ],
)
def test_number_is_known_by_what_it_means_and_not_by_how_it_is_written(value: str, tagged: str) -> None:
    assert sip.with_verstat(value, PASSED, tn(ORIG), NANP) == tagged


@pytest.mark.parametrize("value", ["sip:alice@gw", "<sip:alice@gw>", "sip:1@gw", "urn:service:sos"])
def test_caller_without_number_carries_no_verstat(value: str) -> None:
    assert sip.with_verstat(value, PASSED, uri("sip:alice@gw")) == value


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("tel:+1;verstat=TN-Validation-Passed", "tel:+1"),
        ("<tel:+1;verstat=TN-Validation-Passed;isub=1>", "<tel:+1;isub=1>"),
        ("sip:+1;verstat=TN-Validation-Passed@gw;user=phone", "sip:+1@gw;user=phone"),
        ("sip:+1;VerStat=TN-Validation-Passed@gw", "sip:+1@gw"),
        ("sip:+1;verstat@gw", "sip:+1@gw"),
        ("sip:+1@gw;verstat=TN-Validation-Passed", "sip:+1@gw"),
        ("sip:+1@gw;verstat=x?h=v", "sip:+1@gw?h=v"),
        ("<sip:+1@gw>;verstat=TN-Validation-Passed-A;tag=1", "<sip:+1@gw>;tag=1"),
        ("<sip:+1@gw> ; verstat = x ;tag=1", "<sip:+1@gw>  ;tag=1"),
        ("tel:+1;verstat=a;verstat=b", "tel:+1"),
        ("tel:+1;verstat=Passed=A", "tel:+1"),
        ("<tel:+1;verstat=x>,<tel:+2;verstat=y>", "<tel:+1>,<tel:+2>"),
        ("sip:verstat@gw", "sip:verstat@gw"),
        ("tel:+1;verstatus=x", "tel:+1;verstatus=x"),
        ("tel:+1", "tel:+1"),
    ],
)
def test_verstat_from_outside_is_removed(value: str, clean: str) -> None:
    assert sip.without_verstat(value) == clean


@pytest.mark.parametrize(
    "value",
    [
        "tel:+1;;verstat=x verstat=TN-Validation-Passed",
        "tel:+1;;verstat verstat verstat=TN-Validation-Passed",
        "tel:+1;ver;verstatstat=TN-Validation-Passed",
        "tel:+1;ver;verstat=xstat=TN-Validation-Passed",
        "tel:+1;verstat=;verstat=;verstat=TN-Validation-Passed",
        "tel:+1;\tverstat\t=\tTN-Validation-Passed",
    ],
)
def test_what_is_left_never_closes_up_to_another_verstat(value: str) -> None:
    clean = sip.without_verstat(value)
    assert sip.without_verstat(clean) == clean
    assert "; verstat" not in clean
    assert ";verstat=" not in clean


def test_our_verstat_replaces_the_one_from_outside() -> None:
    value = "<sip:+1;verstat=TN-Validation-Passed@gw;user=phone>"
    of = tn("1")
    assert sip.with_verstat(value, "TN-Validation-Failed", of) == "<sip:+1;verstat=TN-Validation-Failed@gw;user=phone>"
