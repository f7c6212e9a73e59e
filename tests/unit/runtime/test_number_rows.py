"""CSV as people export it, and what becomes of rows that are none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kamailio_app.errors import StirError
from kamailio_app.runtime import number_postgresql
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.number_import import Import, Imported
from kamailio_app.runtime.number_rows import Row, collect, csv_rows
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, Numbers
from kamailio_app.tn import AS_WRITTEN, NumberPlan


def rows(text: str, *, named: bool = True, delimiter: str = ",") -> list[Row]:
    return list(csv_rows(io.StringIO(text, newline=""), "test.csv", named=named, delimiter=delimiter))


def refusal(text: str, *, named: bool = True) -> str:
    with pytest.raises(StirError) as refused:
        rows(text, named=named)
    assert refused.value.token == "inventory_malformed"
    return refused.value.detail


def test_without_header_the_customer_stands_first() -> None:
    assert rows("alpha,911\r\nbeta,912,note\r\n") == [(1, "alpha", "911"), (2, "beta", "912")]


def test_header_names_the_columns_in_any_order() -> None:
    assert rows('Id, Number ,"CUSTOMER"\n7,911,alpha\n') == [(2, "alpha", "911")]
    assert rows("note,number\nx,911\n", named=False) == [(2, "", "911")]


def test_list_without_customers_has_the_number_first() -> None:
    assert rows("911,note\n912\n", named=False) == [(1, "", "911"), (2, "", "912")]


def test_header_without_customers_is_refused() -> None:
    assert refusal("number,account\n911,alpha\n") == "test.csv: line 1: there is a column number, and none is customer"


def test_empty_lines_are_none_and_lines_keep_their_number() -> None:
    assert rows("\n\nalpha,911\n\nbeta,912\n") == [(3, "alpha", "911"), (5, "beta", "912")]
    assert rows("") == []


def test_quotes_spaces_and_other_delimiters() -> None:
    assert rows('"alpha", "911"\n beta ,912\n') == [(1, "alpha", "911"), (2, "beta", "912")]
    assert rows("alpha;911\n", delimiter=";") == [(1, "alpha", "911")]


def test_what_is_not_there_is_empty() -> None:
    assert rows("alpha\nbeta,\n") == [(1, "alpha", ""), (2, "beta", "")]
    assert rows("number,customer\n911\n") == [(2, "", "911")]


def test_note_of_several_lines_is_one_row() -> None:
    assert rows('alpha,911,"a\nb"\nbeta,912\n') == [(2, "alpha", "911"), (3, "beta", "912")]


@pytest.mark.parametrize("text", ['alpha,"911\nbeta,912\n', 'alpha,911\nbeta,"912"x\n', f"alpha,{'9' * 200_000}\n"])
def test_what_is_no_csv_is_refused_as_a_whole(text: str) -> None:
    assert refusal(text).startswith("test.csv: line ")


# --- The whole import


def imported(place: Path, text: str, *, kind: str = INVENTORY, plan: NumberPlan = AS_WRITTEN, **options: bool) -> Imported:
    job = Import(kind, "test.csv", place, plan, **options)
    return job.run(csv_rows(io.StringIO(text, newline=""), job.source, named=job.named), now=1.0)


def reason(place: Path, text: str, *, skip_bad: bool = False) -> str:
    with pytest.raises(StirError) as refused:
        imported(place, text, skip_bad=skip_bad)
    assert refused.value.token == "inventory_malformed"
    return refused.value.detail


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "numbers.mdb"


def test_import_says_what_it_did(place: Path) -> None:
    done = imported(place, "alpha,100-199\nbeta,150\nalpha,160\n")
    assert (done.about.entries, done.about.shared, done.doubled, done.bad.count) == (3, 1, 1, 0)
    assert (done.about.source, done.about.made, done.about.kind) == ("test.csv", 1.0, INVENTORY)
    assert Numbers(place).owners("150") == ("alpha", "beta")


def test_numbers_become_canonical_by_the_plan(place: Path) -> None:
    imported(place, "alpha,(215) 555.1212\n", plan=NumberPlan("1", "1", "011", 10))
    assert Numbers(place).owners("12155551212") == ("alpha",)


def test_bad_rows_are_shown_and_nothing_is_imported(place: Path) -> None:
    imported(place, "alpha,911\n")
    text = "".join(f"alpha,bad{number}\n" for number in range(25)) + "alpha,912\n"
    lines = reason(place, text).splitlines()
    assert lines[0] == "test.csv: 25 bad lines, so nothing is imported:"
    assert lines[1] == "  line 1: 'bad0' is no number, prefix* or first-last"
    assert len(lines) == 11
    assert Numbers(place).owners("912") == ()
    assert Numbers(place).owners("911") == ("alpha",)


def test_bad_rows_may_be_left_out(place: Path) -> None:
    done = imported(place, "alpha,bad\nbeta,911\n,912\n", skip_bad=True)
    assert done.bad.count == 2
    assert [line.partition(":")[0] for line in done.bad.first] == ["line 1", "line 3"]
    assert Numbers(place).owners("911") == ("beta",)
    assert not Numbers(place).holds("912")


@pytest.mark.parametrize("text", ["", "customer,number\n", "alpha,bad\n"])
def test_nothing_is_no_list_unless_that_is_meant(place: Path, text: str) -> None:
    imported(place, "alpha,911\n")
    assert "there is no number in it" in reason(place, text, skip_bad=True)
    assert Numbers(place).holds("911")
    imported(place, text, skip_bad=True, allow_empty=True)
    assert not Numbers(place).holds("911")


def test_octets_that_are_no_text_are_a_bad_row(place: Path) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfnumber,customer\n911,caf\xe9\n912,beta\n"), "utf-8-sig", errors="replace")
    entries = Entries()
    bad = collect(csv_rows(text, "test.csv", named=True), entries, lambda _rows: None)
    assert bad.count == 1
    assert len(entries) == 1


def test_progress_is_told_now_and_then() -> None:
    told: list[int] = []
    text = "".join(f"alpha,{number}\n" for number in range(1, 45_001))
    collect(csv_rows(io.StringIO(text), "test.csv", named=True), Entries(), told.append)
    assert told == [20_000, 40_000]


def test_do_not_originate_list(place: Path) -> None:
    done = imported(place, "number\n911\n1900*\n", kind=DO_NOT_ORIGINATE)
    assert done.about.customers == 0
    assert Numbers(place).holds("19005551212")


# --- URLs of databases: a password must not be seen, in whatever comes of it

URLS = (
    "postgresql://user:hunter2@db.example.test/numbers",
    "postgres://user:hunter2@db.example.test:5433/numbers",
    "postgresql://db.example.test/numbers?password=hunter2",
    "postgresql://db.example.test/numbers?sslpassword=hunter2",
    "postgresql://user:hunter2@[broken/numbers",
    "postgresql://user:hunter2@host/db?nonsense=hunter2",
    "postgresql://user:hunter2@host:port:port/db",
    "mysql://user:hunter2@db.example.test/numbers",
    "user=user password=hunter2 host=db.example.test",
    "hunter2",
    "",
)


@pytest.mark.parametrize("url", URLS)
def test_password_is_refused_and_not_said(url: str) -> None:
    for function in (number_postgresql.source, lambda url: list(number_postgresql.rows(url, "select", named=True))):
        with pytest.raises(StirError) as refused:
            function(url)
        assert refused.value.token == "inventory_unreadable"
        assert "hunter2" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_database_is_called_without_its_user() -> None:
    assert number_postgresql.source("postgres://user@db.example.test/numbers") == "postgresql://db.example.test:5432/numbers"
    assert number_postgresql.source("postgresql:///numbers?host=/run/pg&port=5433") == "postgresql:///run/pg:5433/numbers"
