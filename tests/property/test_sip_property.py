"""SIP values: dates, URIs, asserted identities, verstat, x5u. No exception, canonical results, nothing foreign left."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.credentials.lifetime import LifetimeRules, lifetime
from kamailio_app.credentials.x5u import DEFAULT_RULES, MAX_URL_OCTETS, check_x5u
from kamailio_app.grammar import one_line, printable
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Party, caller, format_date, parse_date, party, uris, with_verstat, without_verstat
from kamailio_app.sti_as import check_date, sign
from kamailio_app.tn import NumberPlan, canonical_tn

from .support import INVITE, NOW, PROPERTY, any_text, attempt, replace, signer, soup

URI_FRAGMENTS = [
    "sip:", "sips:", "tel:", "urn:service:sos", "SIP:", "+", "1", "215", "5550121", "911", "*67", "#", "@", ":", "%", "%2B",
    "%31", "%40", "%3B", "%25", "%zz", "alice", "Example.COM", "[2001:db8::1]", ":5060", ";", "?", "=", ";user=phone",
    ";phone-context=+1215", ";npdi", ";rn=+1999", ";verstat=TN-Validation-Passed", "-", ".", "(0)", "(", ")", " ", "<", ">",
    '"', ",", "\\", "\r\n", "\t", "\0", "\u0661", "\u017f", "\u0130",
]  # fmt: skip
URIS = any_text(URI_FRAGMENTS)
NANP = NumberPlan("1", "1", "011", 10)

TN = re.compile(r"[0-9#*]{1,15}")
URI = re.compile(r"sips?:(?:[a-z0-9\-_.!~*'()&=+$,?/%]+@)?(?:[a-z0-9\-_.]+|\[[0-9a-f:.]+\])|urn:.+", re.DOTALL)


def _check_canonical(found: Party | None) -> None:
    if found is None:
        return
    if found.kind == "tn":
        assert TN.fullmatch(found.value)
        assert party(f"tel:{found.value}") == found
    else:
        assert URI.fullmatch(found.value)
        assert found.value == found.value.lower()
        assert party(found.value) == found


@PROPERTY
@given(URIS)
@example("sip:a%2540@h")
@example("sip:a%%341@h")
@example("sip:a%3Bb@h")
@example("sip:h:5:6")
@example("sip:+1%202@h;user=phone")
@example("sip:1-800-FLOWERS@h;user=phone")
def test_any_text_as_uri_names_a_canonical_identity_or_none(uri: str) -> None:
    _check_canonical(party(uri))


@PROPERTY
@given(URIS)
def test_local_knowledge_gives_canonical_numbers_too(uri: str) -> None:
    found = party(uri, NANP)
    if found is not None and found.kind == "tn":
        assert TN.fullmatch(found.value)
        assert party(f"tel:+{found.value}", NANP) in (found, party(f"tel:{found.value}", NANP), None)


@PROPERTY
@given(st.sampled_from(["sip", "sips", "tel"]), soup(["+", "+1", *URI_FRAGMENTS, "@h"]))
@example("sip", "+1;x@h;user=phone")
@example("tel", "+1;phone-context=+44")
@example("sip", "+1:pw@h")
@example("sip", "+1@")
@example("tel", "+1;a=b?c")
def test_scheme_has_no_case(scheme: str, rest: str) -> None:
    """The usual number is recognised at once; what that finds is what the rules find."""
    assert party(f"{scheme}:{rest}") == party(f"{scheme.upper()}:{rest}")
    assert party(f"{scheme}:{rest}", NANP) == party(f"{scheme.upper()}:{rest}", NANP)


@PROPERTY
@given(st.lists(any_text(URI_FRAGMENTS), max_size=3))
@example(["\t" * 50 + '"'])
def test_any_text_as_asserted_identity_is_read(values: list[str]) -> None:
    request = replace(INVITE, asserted=tuple(values))
    _check_canonical(caller(request, "pai"))
    for value in values:
        for uri in uris(value):
            assert uri in value
            assert not set("<>") & set(uri)


@PROPERTY
@given(URIS, URIS, st.lists(URIS, max_size=2))
def test_any_uris_are_signed_or_left_alone(from_uri: str, to_uri: str, asserted: list[str]) -> None:
    request = replace(INVITE, from_uri=from_uri, to_uri=to_uri, asserted=tuple(asserted))
    signed, token = attempt(sign, request, Attestation.GATEWAY, signer(), now=NOW, origid="x")
    if signed is None:
        assert token in ("orig_missing", "dest_missing")
        return
    assert TN.fullmatch(signed.claims.orig.value)
    assert TN.fullmatch(signed.claims.dest[0].value)
    assert not set('\r\n ,"') & set(signed.identity)


@PROPERTY
@given(any_text(URI_FRAGMENTS))
def test_canonical_number_is_canonical(text: str) -> None:
    tn = canonical_tn(text)
    if tn is not None:
        assert TN.fullmatch(tn)
        assert canonical_tn(tn) == tn
        # No digit is invented or lost
        assert re.sub(r"[^0-9#*]", "", text) == tn


@PROPERTY
@given(st.from_regex(r"[2-9][0-9]{9}", fullmatch=True))
def test_all_ways_to_dial_a_national_number_are_one(number: str) -> None:
    for written in (number, f"1{number}", f"+1{number}", f"0111{number}", f"+1 ({number[:3]}) {number[3:6]}-{number[6:]}"):
        assert canonical_tn(written, NANP) == f"1{number}"


# --- Date ---------------------------------------------------------------------------------------------------------

DATE_FRAGMENTS = [
    "Mon", "Tue", "Sat", ", ", ",", " ", "00", "01", "13", "29", "31", "99", "Jan", "Feb", "Nov", "2023", "0000", "9999", "24",
    "23:59:60", "22:13:20", ":", "GMT", " GMT", "UTC", "Mon, 01 Jan 0000 00:00:00 GMT", "Tue, 14 Nov 2023 22:13:20 GMT",
]  # fmt: skip


@PROPERTY
@given(any_text(DATE_FRAGMENTS))
@example("Mon, 01 Jan 0000 00:00:00 GMT")
@example("Tue, 30 Feb 2023 00:00:00 GMT")
def test_any_text_as_date_is_a_moment_or_malformed(text: str) -> None:
    moment, token = attempt(parse_date, text)
    if moment is None:
        assert token == "date_malformed"
        return
    assert text.strip()[5:16] == format_date(moment)[5:16] or ":60 " in text


@PROPERTY
@given(st.from_regex(r"(Mon|Sun), [0-9]{2} (Jan|Feb|Apr|Dec) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT", fullmatch=True))
def test_any_digits_in_a_date_are_a_moment_or_malformed(text: str) -> None:
    test_any_text_as_date_is_a_moment_or_malformed.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@PROPERTY
@given(st.integers(-62135596800, 253402300799))
def test_every_moment_is_written_and_read_to_the_same(moment: int) -> None:
    assert parse_date(format_date(moment)) == moment


@PROPERTY
@given(st.integers(0, 4000000000), st.integers(0, 4000000000), st.integers(0, 1000000))
def test_date_is_fresh_to_both_sides_alike(date: int, now: int, window: int) -> None:
    expected = "" if abs(now - date) <= window else "date_stale" if now > date else "date_in_future"
    assert attempt(check_date, format_date(date), window, now) == (None if expected else date, expected)


# --- verstat ------------------------------------------------------------------------------------------------------

VERSTAT_FRAGMENTS = [
    *URI_FRAGMENTS, ";verstat", "verstat", "VERSTAT", ";verstat=", "verstat=TN-Validation-Passed", "ver", "stat", "=",
    " ;", "; ", ";;", "TN-Validation-Passed", "tel:+1", "sip:+1", "<sip:+1;verstat=x@h>", "<tel:+1;verstat=x>",
]  # fmt: skip
ANY_VERSTAT = re.compile(r";[\s]*verstat(?=[\s;:<>@?,\"=]|$)", re.IGNORECASE | re.ASCII)


@PROPERTY
@given(any_text(VERSTAT_FRAGMENTS, 20))
@example("<tel:+1;;verstat verstat=P>")
@example("<tel:+1;;;verstat verstat verstat=P>")
@example("sip:+1;verstat:secret@h")
@example('"a;verstat=b" <tel:+1>')
@example("tel:+1;\n verstat=P")
def test_no_foreign_verstat_is_left(value: str) -> None:
    cleaned = without_verstat(value)
    assert not ANY_VERSTAT.search(cleaned)
    assert without_verstat(cleaned) == cleaned
    for delimiter in '<>@,"':
        assert cleaned.count(delimiter) == value.count(delimiter)


@PROPERTY
@given(any_text(VERSTAT_FRAGMENTS, 20))
@example("<tel:+1;;verstat verstat=P>")
@example("sip:+1;verstat:secret@h")
@example("<tel:1>,<tel:1;phone-context=+215>")
def test_the_only_verstat_is_ours(value: str) -> None:
    of = Party("tn", "1")
    marked = with_verstat(value, "No-TN-Validation", of)
    found = ANY_VERSTAT.findall(marked)
    assert marked.count(";verstat=No-TN-Validation") >= len(found)
    assert marked.replace(";verstat=No-TN-Validation", "") == without_verstat(value)
    if ";verstat=No-TN-Validation:" not in marked:  # a password goes with a verstat in front of it
        assert with_verstat(marked, "No-TN-Validation", of) == marked


@PROPERTY
@given(any_text(VERSTAT_FRAGMENTS, 20))
@example("<tel:1>,<tel:1;phone-context=+215>")
@example("sip:1;phone-context=+215@h")
def test_verstat_stands_on_the_caller_that_was_verified_only(value: str) -> None:
    found = caller(replace(INVITE, asserted=(value,)), "pai")
    other = Party("tn", "19995550100")
    assert with_verstat(value, "No-TN-Validation", other) == without_verstat(value)
    for uri in uris(without_verstat(value)):
        if found and party(uri) != found:
            assert with_verstat(uri, "No-TN-Validation", found) == uri


# --- x5u and the rest ---------------------------------------------------------------------------------------------

URL_FRAGMENTS = [
    "https://", "HTTPS://", "http://", "https:", "//", "/", "cr.example.test", "127.0.0.1", "127.1", "0x7f.1", "2130706433",
    "[::1]", "localhost", "a", "-", ".", ":", ":443", ":8443", ":9443", "@", "u:p@", "?", "?a=b", "#", "#f", "%2f", "\\",
    "\r\n", "\0", " ", "\u3002", "\uff0e", "x.pem",
]  # fmt: skip


@PROPERTY
@given(any_text(URL_FRAGMENTS))
@example("https://a" + "a" * MAX_URL_OCTETS)
def test_url_that_passes_is_https_to_a_name_and_nothing_else(url: str) -> None:
    _, token = attempt(check_x5u, url, DEFAULT_RULES)
    if token:
        assert token == "x5u_refused"
        return
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert parts.hostname
    assert parts.port in (None, 443, 8443)
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert not set("?#@\\") & set(url.partition("//")[2].partition("/")[0])
    assert url.isascii()
    try:
        ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    raise AssertionError(url)


@PROPERTY
@given(any_text(["max-age", "=", "s-maxage=", "99999999999", "90000", ",", " ", '"', "no-store"]))
def test_any_cache_control_gives_a_lifetime_within_bounds(text: str) -> None:
    assert 86400 <= lifetime(text, LifetimeRules()) <= 604800


@PROPERTY
@given(st.text(st.characters(), max_size=400), st.integers(4, 300))
def test_shown_text_is_one_field_of_bounded_length(text: str, limit: int) -> None:
    shown, line = printable(text, limit), one_line(text, limit)
    assert re.fullmatch(r"[\x21-\x7e]*", shown)
    assert re.fullmatch(r"[\x20-\x7e]*", line)
    assert max(len(shown), len(line)) <= limit * len("\\x10ffff")
    assert '"' not in shown
