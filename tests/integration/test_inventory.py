"""The number inventory from a real PostgreSQL, and exchanged while several processes look numbers up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.runtime import number_file
from kamailio_app.runtime.number_entries import Entries
from kamailio_app.runtime.numbers import INVENTORY, Numbers

from .postgresql import PASSWORD, USER, Postgresql

ROWS = 50_000
QUERY = "select phone as number, name as customer, 7 from numbers join customers on customers.id = customer"
TABLES = (
    "create table customers (id int primary key, name text)",
    "insert into customers select i, 'customer-' || i from generate_series(0, 99) i",
    "create table numbers (customer int, phone text)",
    f"insert into numbers select i % 100, (12150000000 + i * 7)::text from generate_series(1, {ROWS}) i",
    "insert into numbers values (1, '1800*'), (2, '18005551000-18005551999'), (3, '+1 (800) 555.1500')",
    "create table never (phone bigint)",
    "insert into never values (12155550100), (911), (null)",
    "create function spoil() returns text language sql as $$ insert into never values (1); select 'spoilt' $$",
)


@pytest.fixture(scope="module")
def database() -> Iterator[Postgresql]:
    with Postgresql() as server:
        server.execute(*TABLES)
        yield server


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "numbers.mdb"


def shakenctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with nothing in its environment but what is said."""
    return subprocess.run(
        [sys.executable, "-m", "kamailio_app.cli.main", "numbers", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "STIRSHAKEN_SETTINGS": "/nonexistent",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported(place: Path, url: str, query: str, *options: str, **environment: str) -> Any:
    environment = environment or {"PGPASSWORD": PASSWORD}
    done = shakenctl("import", "--from", url, "--query", query, "--out", str(place), "--json", *options, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(place: Path, url: str, query: str, *options: str, **environment: str) -> str:
    """What is said, which is never the password."""
    environment = environment or {"PGPASSWORD": PASSWORD}
    done = shakenctl("import", "--from", url, "--query", query, "--out", str(place), *options, **environment)
    assert done.returncode == 3
    assert not done.stdout
    assert PASSWORD not in done.stderr
    return done.stderr


def test_inventory_comes_out_of_the_database(database: Postgresql, place: Path) -> None:
    data = imported(place, database.url, QUERY)
    assert (data["entries"], data["customers"], data["bad"]) == (ROWS + 3, 100, 0)
    assert data["source"] == f"postgresql://{database.directory}:5432/postgres"
    with_owner = Numbers(place)
    assert with_owner.owners("12150000007") == ("customer-1",)
    assert with_owner.owners(str(12150000000 + 7 * ROWS)) == ("customer-0",)
    assert with_owner.owners("12150000008") == ()
    assert with_owner.owners("18005551500") == ("customer-1", "customer-2", "customer-3")
    assert with_owner.owners("18005552000") == ("customer-1",)


def test_rows_come_in_portions_and_nothing_can_be_written(database: Postgresql, place: Path) -> None:
    before = database.log.stat().st_size
    imported(place, database.url, QUERY)
    log = database.log.read_text()[before:]
    assert "BEGIN READ ONLY" in log
    assert log.count("FETCH FORWARD") >= ROWS // 20_000
    assert PASSWORD not in log
    assert "read-only transaction" in refusal(place, database.url, "select spoil(), '911'")


def test_password_may_lie_in_a_file(database: Postgresql, place: Path, tmp_path: Path) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:{USER}:{PASSWORD}\n")
    passwords.chmod(0o600)
    assert imported(place, database.url, QUERY, PGPASSFILE=str(passwords))["entries"] == ROWS + 3


def test_wrong_password_is_said_and_not_shown(database: Postgresql, place: Path) -> None:
    said = refusal(place, database.url, QUERY, PGPASSWORD="hunter2")
    assert "password authentication failed" in said
    assert "hunter2" not in said
    assert "no password supplied" in refusal(place, database.url, QUERY, PGUSER=USER)
    assert not place.exists()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select nonsense", 'column "nonsense" does not exist'),
        ("selekt 1", 'syntax error at or near "selekt"'),
        ("select 'alpha'", "the query answers 1 column; it takes customer and number"),
        ("select 911 as number, 'alpha' as account", "there is a column number, and none is customer"),
        ("select 'alpha', '911' where false", "there is no number in it"),
        ("select 'alpha', null union all select null, '911'", "2 bad lines"),
        ("select 'alpha', 12155551212.0::numeric(20,1)", "'12155551212.0' is no number"),
        ("select pg_terminate_backend(pg_backend_pid()), '911'", "terminat"),
        ("delete from never returning phone, phone", "syntax error"),
        ("select 'alpha', i::text from generate_series(100, 200) i where 1 / (150 - i) < 2", "division by zero"),
    ],
)
def test_former_list_stays_if_the_query_fails(database: Postgresql, place: Path, query: str, reason: str) -> None:
    imported(place, database.url, "select 'former', '911'")
    assert reason in refusal(place, database.url, query)
    assert Numbers(place).owners("911") == ("former",)
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_database_that_is_not_there_is_said(place: Path, tmp_path: Path) -> None:
    assert "No such file" in refusal(place, f"postgresql://{USER}@/postgres?host={tmp_path}", QUERY)


def test_do_not_originate_list_comes_out_of_the_database(database: Postgresql, place: Path) -> None:
    data = imported(place, database.url, "select phone from never", "--list", "do-not-originate", "--skip-bad")
    assert (data["entries"], data["bad"], data["bad_lines"][0][:7]) == (2, 1, "line 3:")
    assert Numbers(place).holds("911")


def write(place: Path, generation: int) -> None:
    """All that is asked for belongs to the generation; the file is another one each time."""
    entries = Entries()
    for number in ("12155550000-12155559999", "331*"):
        entries.add(f"g{generation}", number)
    for step in range(500 * (generation % 4)):
        entries.add("others", str(17000000000 + step * 3))
    number_file.write(place, entries, kind=INVENTORY, source="test", now=0.0)


def test_list_is_exchanged_while_processes_look_numbers_up(place: Path) -> None:
    generations, readers = 40, 3
    write(place, 0)
    command = [sys.executable, "-m", "tests.integration.number_reader", str(place), str(generations)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(readers)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for generation in range(1, generations + 1):
            write(place, generation)
        for process in processes:
            said, trouble = process.communicate(timeout=60)
            assert (process.returncode, trouble) == (0, "")
            looks, seen = map(int, said.split())
            assert 2 < seen <= generations + 1
            assert looks > generations
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)


def test_import_that_is_killed_leaves_the_former_list(place: Path, tmp_path: Path) -> None:
    write(place, 1)
    before = place.read_bytes()
    many = tmp_path / "many.csv"
    many.write_text("".join(f"alpha,{12000000000 + number * 3}\n" for number in range(300_000)))
    command = [sys.executable, "-m", "kamailio_app.cli.main", "numbers", "import", str(many), "--out", str(place)]
    new = place.with_name("numbers.mdb.new")
    environment = os.environ | {"STIRSHAKEN_SETTINGS": "/nonexistent"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (new.exists() and new.stat().st_size):
            assert process.poll() is None, "it was done before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait(10)
    assert new.exists()
    assert place.read_bytes() == before
    write(place, 2)
    assert Numbers(place).owners("12155551212") == ("g2",)
    assert not new.exists()


def test_bench_prints_its_figures() -> None:
    command = [sys.executable, "-m", "tests.bench.inventory", "--numbers", "2000", "--looks", "500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ("missed (at most 5)" in done.stdout), done.stderr
    assert ("reached (at most 5)" in done.stdout) is (done.returncode == 0)
    rows = dict(line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("|"))
    assert float(rows["import, seconds"]) > 0
    assert float(rows["owners of a number, us"]) > 0
