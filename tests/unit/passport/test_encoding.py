"""Base64url and JSON of a PASSporT: deterministic out, strict in."""

from __future__ import annotations

from time import perf_counter

import pytest

from kamailio_app.passport.encoding import canonical_json, from_base64url, json_object, to_base64url

from ..builders import refused

# --- Base64url (RFC 7515 2) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(20))
def test_there_and_back_without_padding(length: int) -> None:
    octets = bytes(range(246, 256)) * 2
    text = to_base64url(octets[:length])
    assert "=" not in text
    assert from_base64url(text) == octets[:length]


def test_the_alphabet_is_url_safe() -> None:
    assert to_base64url(b"\xfb\xff\xbf") == "-_-_"
    assert from_base64url("-_-_") == b"\xfb\xff\xbf"


@pytest.mark.parametrize("text", ["A", "AAAAA", "A=", "AAAA="])
def test_impossible_lengths_are_refused(text: str) -> None:
    with refused("passport_malformed"):
        from_base64url(text)


@pytest.mark.parametrize("last", sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") - set("AQgw")))
def test_unused_bits_of_two_characters_have_to_be_zero(last: str) -> None:
    with refused("passport_malformed"):
        from_base64url("A" + last)


@pytest.mark.parametrize("last", ["B", "-", "_", "9", "1", "D"])
def test_unused_bits_of_three_characters_have_to_be_zero(last: str) -> None:
    with refused("passport_malformed"):
        from_base64url("AA" + last)


def test_what_is_no_ascii_is_refused() -> None:
    with refused("passport_malformed"):
        from_base64url("é" * 4)


def test_what_cannot_be_decoded_is_refused() -> None:
    with refused("passport_malformed"):
        from_base64url("=AAA")


# --- JSON out (RFC 8225 9) --------------------------------------------------------------------------------------


def test_deterministic_json_of_rfc_8225_9() -> None:
    value = {
        "orig": {"tn": "12155551212"},
        "iat": 1443208345,
        "dest": {"uri": ["sip:b@c"], "tn": ["1", "2"]},
        "x": [True, None],
    }
    assert canonical_json(value) == (
        b'{"dest":{"tn":["1","2"],"uri":["sip:b@c"]},"iat":1443208345,"orig":{"tn":"12155551212"},"x":[true,null]}'
    )


def test_members_are_sorted_by_code_point_and_written_in_utf_8() -> None:
    # UTF-16 would put U+1F600 before U+FB01
    assert canonical_json({"\U0001f600": 1, "\ufb01": 2, "é": 3, "z": 4}) == '{"z":4,"é":3,"\ufb01":2,"\U0001f600":1}'.encode()


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


# --- JSON in ----------------------------------------------------------------------------------------------------


def test_object_is_read_with_whitespace_and_in_any_order() -> None:
    assert json_object(b' {"b" : 1,\n"a": [true, null, 1.5, "\xc3\xa9"]} ') == {"b": 1, "a": [True, None, 1.5, "é"]}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"{}x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1}{"a":1}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":0x1}',
        b'{"a":"\n"}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{\x00"a":1}',
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b"null",
        b"true",
        b"1",
        b'"a"',
        b"[]",
        b'[{"a":1}]',
    ],
    ids=lambda octets: repr(octets[:30]),
)
def test_anything_but_one_object_with_unique_names_is_refused(octets: bytes) -> None:
    with refused("passport_malformed"):
        json_object(octets)


@pytest.mark.parametrize("octets", [b'{"a":"' + b"x" * 1_000_000 + b'"}', b'{"a":[' + b"1," * 500_000 + b"1]}"], ids=len)
def test_a_megabyte_is_read_in_bounded_time(octets: bytes) -> None:
    began = perf_counter()
    assert json_object(octets)
    assert perf_counter() - began < 1
