"""The Identity header field: what is read, what is refused, how it is written."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter

import pytest

from kamailio_app.errors import BadIdentityInfo, InvalidIdentityHeader
from kamailio_app.identity import (
    MAX_FIELD_OCTETS,
    MAX_MERGED_OCTETS,
    IdentityHeader,
    IdentityParameters,
    parameter_text,
    parse_identity,
    split_values,
)

from .builders import refused

INFO = "https://cr.example.test/a.pem"
D = "aGVhZA.cGF5bG9hZA.c2ln"
FULL = IdentityParameters(INFO, "ES256", "shaken")


def parameters(text: str) -> IdentityParameters:
    return parse_identity(D + text).parameters


# --- Read -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f";info=<{INFO}>;alg=ES256;ppt=shaken",
        f";info=<{INFO}>;ppt=shaken;alg=ES256",
        f";alg=ES256;ppt=shaken;info=<{INFO}>",
        f';info=<{INFO}>;alg=ES256;ppt="shaken"',
        f';info=<{INFO}>;alg="ES256";ppt="shaken"',
        f" ; info = <{INFO}> ; alg = ES256 ; ppt = shaken ",
        f"\t;\tinfo\t=\t<{INFO}>;alg=ES256;ppt=shaken\t",
        f";INFO=<{INFO}>;Alg=ES256;PPT=shaken",
        f';info=<{INFO}>;alg=ES256;foo=bar;ppt=shaken;flag;q="a;b,c\\"";u=<sip:x@y>',
        f";info=<{INFO}>\r\n ;alg=ES256\r\n\t;ppt=shaken",
        f";info=<{INFO}>\n ;alg=ES256;ppt=shaken",
    ],
)
def test_order_case_quotes_spaces_folds_and_unknown_parameters_do_not_matter(text: str) -> None:
    assert parameters(text) == FULL


def test_absent_alg_and_ppt_are_none() -> None:
    assert parameters(f";info=<{INFO}>") == IdentityParameters(INFO, None, None)


def test_values_keep_their_case() -> None:
    assert parameters(f";info=<{INFO.upper()}>;alg=es256;ppt=SHAKEN") == IdentityParameters(INFO.upper(), "es256", "SHAKEN")


def test_empty_quoted_value_is_empty_not_absent() -> None:
    assert parameters(f';info=<{INFO}>;alg="";ppt=""') == IdentityParameters(INFO, "", "")


def test_digest_is_kept_octet_for_octet() -> None:
    assert parse_identity(f"  {D};info=<{INFO}>").digest == D


def test_full_form_is_not_compact() -> None:
    assert not parse_identity(f"{D};info=<{INFO}>").compact


def test_compact_form() -> None:
    header = parse_identity(f"..c2ln;info=<{INFO}>")
    assert header.compact
    assert header.digest == "..c2ln"


def test_fold_inside_the_digest_leaves_no_space() -> None:
    assert parse_identity(f"aGVh\r\n ZA.cGF5\r\n\tbG9hZA.c2ln;info=<{INFO}>").digest == D


def test_long_parameters_are_read_but_not_remembered() -> None:
    text = f";info=<{INFO}>;x={'y' * 600}"
    assert parameters(text) == parameters(text) == IdentityParameters(INFO, None, None)


# --- Refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a",
        "a.b",
        "a.b.",
        "a.b.c.d",
        "..",
        "a.b.c==",
        "a+b.c/d.e",
        "é.b.c",
        "a.b.\x00",
        "{}.b.c",
        f";info=<{INFO}>",
        f"a.b.c.d;info=<{INFO}>",
        f"a.b.c=;info=<{INFO}>",
        f"a.b;info=<{INFO}>",
    ],
)
def test_what_has_no_passport_in_front(value: str) -> None:
    with refused("identity_malformed"):
        parse_identity(value)


@pytest.mark.parametrize(
    "text",
    [
        f";info=<{INFO}>x",
        f";info=<{INFO}>;info=<{INFO}>",
        f";info=<{INFO}>;alg=ES256;ALG=ES256",
        f";info=<{INFO}>;ppt=shaken;ppt=shaken",
        f";info=<{INFO}>;alg",
        f";info=<{INFO}>;ppt",
        f";info=<{INFO}>;ppt;alg=ES256",
        f";info=<{INFO}>;alg=<ES256>",
        f";info=<{INFO}>;alg=",
        f';info=<{INFO}>;ppt="shaken',
        f";info=<{INFO}>;",
        f";;info=<{INFO}>",
        f";info=<{INFO}>,",
        f";info=<{INFO}> alg=ES256",
        f";info=<{INFO}>\n",
        f";info=<{INFO}>\r\n",
    ],
)
def test_parameters_that_break_the_grammar(text: str) -> None:
    with refused("identity_malformed"):
        parameters(text)


@pytest.mark.parametrize(
    "text",
    [
        f";info={INFO}",
        f';info="{INFO}"',
        ";info=token",
        ";info",
        ";info=",
        ";info=<>",
        f";info=<{INFO}",
        f";INFO={INFO}",
        f";alg=ES256; info = {INFO}",
        ";info=<cr.example.test/a.pem>",
        ";info=</a.pem>",
        ";info=<https:>",
        ";info=<:a>",
        ";info=<1https://a.b/>",
        ";info=<#>",
    ],
)
def test_info_that_is_no_uri_in_angle_brackets(text: str) -> None:
    with refused("info_malformed"):
        parameters(text)


@pytest.mark.parametrize("evil", ["\r\nX: y", "\r", "\n", " ", "\t", ">", "<", '"', "\x00", "\x7f", "\\", "é", "\u2028"])
def test_info_takes_nothing_that_could_inject_a_header(evil: str) -> None:
    with refused("identity_malformed" if evil == ">" else "info_malformed"):
        parameters(f";info=<https://cr.example.test/{evil}a.pem>")


@pytest.mark.parametrize("evil", ["\r\n", "\n", "\r", "\x00"])
def test_quoted_values_take_no_line_end(evil: str) -> None:
    with refused("identity_malformed"):
        parameters(f';info=<{INFO}>;x="{evil}"')


@pytest.mark.parametrize("text", ["", " ", ";alg=ES256;ppt=shaken", ";infos=<https://a.b/>"])
def test_info_is_mandatory(text: str) -> None:
    with refused("info_missing"):
        parameters(text)


def test_a_field_of_16_kilobytes_is_read_and_one_octet_more_is_not() -> None:
    head = f"{D};info=<{INFO}>;x="
    fits = head + "y" * (MAX_FIELD_OCTETS - len(head))
    assert parse_identity(fits).digest == D
    with refused("identity_too_large"):
        parse_identity(fits + "y")


# --- Several values in one field --------------------------------------------------------------------------------


def test_one_value_is_left_as_it_is() -> None:
    assert split_values(D) == [D]


def test_comma_parts_values() -> None:
    one, two = f"{D};info=<{INFO}>", f"{D};info=<{INFO}>;ppt=shaken"
    assert split_values(f"{one}, {two}") == [one, f" {two}"]
    assert [parse_identity(value).digest for value in split_values(f"{one}, {two}")] == [D, D]


def test_comma_in_brackets_or_quotes_parts_nothing() -> None:
    value = f'{D};info=<https://a.b/x,y>;q="a,\\",b"'
    assert split_values(value + "," + value) == [value, value]


@pytest.mark.parametrize("field", [",", " , ,", ",,,"])
def test_empty_values_are_none(field: str) -> None:
    assert split_values(field) == []


def test_folded_field_is_unfolded_before_it_is_parted() -> None:
    assert split_values(f"{D};x=1,\r\n {D}") == [f"{D};x=1", f" {D}"]


def test_largest_values_are_parted() -> None:
    value = D + ";x=" + "y" * (MAX_FIELD_OCTETS - len(D) - 3)
    assert split_values(",".join([value] * 9)) == [value] * 9


def test_oversized_field_is_one_value_that_is_refused() -> None:
    field = "a,b" * MAX_MERGED_OCTETS
    assert split_values(field) == [field]
    with refused("identity_too_large"):
        parse_identity(field)


@pytest.mark.parametrize("field", [f'{D};x="a,{D}', f"{D};info=<a,{D}", f'{D},"\\', f"{D},<"])
def test_what_is_never_closed_reaches_to_the_end(field: str) -> None:
    assert "".join(split_values(field)).replace(",", "") == field.replace(",", "")


@pytest.mark.parametrize(
    "piece",
    [
        ",",
        "<",
        ">",
        '"',
        '\\"',
        '"\\',
        "\\",
        " ",
        "\t",
        "\n",
        "\r\n",
        " \r\n",
        "\n ",
        ";",
        ";a",
        "; ",
        ";a=",
        "a.",
        ".",
        '"",',
        "<>,",
        ";a =",
        "a",
    ],
)
def test_16_kilobytes_of_anything_are_read_in_linear_time(piece: str) -> None:
    text = (piece * MAX_FIELD_OCTETS)[: MAX_FIELD_OCTETS - 200]
    began = perf_counter()
    for field in (text, "," + text, "\n" + text + "x", f"{D};info=<{INFO}>" + text, D + text, "x" + text + "x\n y"):
        for value in split_values(field)[:10]:
            with suppress(InvalidIdentityHeader, BadIdentityInfo):
                parse_identity(value)
    assert perf_counter() - began < 0.5


# --- Written ----------------------------------------------------------------------------------------------------


def test_text_is_in_the_form_that_every_verifier_reads() -> None:
    assert str(IdentityHeader(D, FULL)) == f"{D};info=<{INFO}>;alg=ES256;ppt=shaken"


def test_absent_parameters_are_not_written() -> None:
    assert parameter_text(IdentityParameters(INFO, None, None)) == f";info=<{INFO}>"


def test_there_and_back() -> None:
    header = IdentityHeader(D, FULL)
    assert parse_identity(str(header)) == header


def test_compact_form_keeps_only_the_signature() -> None:
    header = IdentityHeader(D, FULL).in_compact_form()
    assert header.compact
    assert str(header) == f"..c2ln;info=<{INFO}>;alg=ES256;ppt=shaken"
