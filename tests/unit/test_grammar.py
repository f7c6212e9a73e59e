"""ABNF fragments, and text of a peer made fit for a log line."""

from __future__ import annotations

import re
from time import perf_counter

import pytest

from kamailio_app import grammar


@pytest.mark.parametrize("text", ["ES256", "shaken", "a-b.c!d%e*f_g+h`i'j~k"])
def test_token_takes_what_rfc_3261_25_1_allows(text: str) -> None:
    assert re.fullmatch(grammar.TOKEN, text)


@pytest.mark.parametrize("text", ["", "a b", "a;b", '"a"', "a,b", "é", "a\r"])
def test_token_takes_nothing_else(text: str) -> None:
    assert not re.fullmatch(grammar.TOKEN, text)


@pytest.mark.parametrize("text", ['""', '"a b"', r'"a\"b"', '"a\tb"', r'"\\"', '"é"'])
def test_quoted_string(text: str) -> None:
    assert re.fullmatch(grammar.QUOTED_STRING, text)


@pytest.mark.parametrize("text", ['"', '"a"b"', '"a\r\nb"', '"\x00"', '"\x7f"', '"\\\n"', '"a\\"'])
def test_broken_quoted_string(text: str) -> None:
    assert not re.fullmatch(grammar.QUOTED_STRING, text)


@pytest.mark.parametrize("character", [" ", "<", ">", '"', "\r", "\n", "\x00", "\x7f", "é", "\\", "^", "`", "{", "|"])
def test_uri_characters_exclude_what_could_inject(character: str) -> None:
    assert not re.fullmatch(grammar.URI_CHARACTERS, f"https://h/{character}x")


@pytest.mark.parametrize("fold", ["\r\n ", "\n\t", " \t\r\n \t", "  \n "])
def test_fold_is_one_space(fold: str) -> None:
    assert grammar.FOLD.sub(" ", f"a{fold}b") == "a b"


def test_folds_that_follow_each_other_are_all_unfolded() -> None:
    assert grammar.FOLD.sub(" ", "a\r\n \r\n b") == "a  b"


def test_line_end_without_space_is_no_fold() -> None:
    assert grammar.FOLD.sub(" ", "a\r\nb") == "a\r\nb"


def test_unfolding_takes_linear_time() -> None:
    began = perf_counter()
    grammar.FOLD.sub(" ", "a" + " " * 1_000_000 + "b")
    assert perf_counter() - began < 1


def test_printable_leaves_plain_text() -> None:
    assert grammar.printable("abc-123@example.com") == "abc-123@example.com"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", r"a\x20b"),
        ("a\r\nb", r"a\x0d\x0ab"),
        ('a"b', r"a\x22b"),
        ("a\\b", r"a\x5cb"),
        ("\x00\x1b[31m", r"\x00\x1b[31m"),
        ("é", r"\xe9"),
        ("\U0001f600", r"\x1f600"),
        ("\ud800", r"\xd800"),
    ],
)
def test_printable_escapes_what_would_break_a_field(text: str, shown: str) -> None:
    assert grammar.printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 253 + "..."),
        ("\n" * 256, r"\x0a" * 256),
        ("\U0001f600" * 100_000, r"\x1f600" * 253 + "..."),
    ],
    ids=range(4),
)
def test_printable_shows_no_more_of_a_text_than_its_limit(text: str, shown: str) -> None:
    assert grammar.printable(text) == shown


def test_printable_takes_another_limit() -> None:
    assert grammar.printable("abcdefgh", 6) == "abc..."


def test_one_line_keeps_spaces_and_nothing_else_that_is_not_ascii() -> None:
    assert grammar.one_line("a b\r\nc\x00\u2028é") == r"a b\x0d\x0ac\x00\x2028\xe9"
    assert grammar.one_line("x" * 2000) == "x" * 1021 + "..."
