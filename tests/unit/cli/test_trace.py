"""`shakenctl trace`: what it finds and says, how times are given, and its exit status."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kamailio_app.cli.main import main
from kamailio_app.runtime.record import Record
from kamailio_app.runtime.record_line import DAY
from kamailio_app.runtime.record_ring import Ring
from kamailio_app.runtime.recording import Recording

from ..runtime.recorded import NOON, ORIGID, put, rules


class Office:
    """An operator with a record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._record = Record()
        self.settings = directory / "stirshaken.toml"
        self.settings.write_text(
            '[record]\nrecord_calls = true\nrecord_dir = "calls"\n'
            '[numbers]\ncountry_code = "1"\nnational_prefix = "1"\nnational_number_length = 10\n'
        )

    def add(self, mask: int = 0, **fields: Any) -> None:
        assert put(self._record, **fields)
        calls = rules(self.directory / "calls", mask=mask)
        with closing(Recording(Ring(*self._record.fds), calls, lambda *_said: None)) as recorder:
            while recorder.turn():
                pass

    def trace(self, *words: str, settings: Path | None = None) -> Result:
        return CliRunner().invoke(main, ["trace", "--settings", str(settings or self.settings), *words])

    def found(self, *words: str) -> list[str]:
        """Call-IDs."""
        result = self.trace("--json", *words)
        assert result.exit_code in (0, 1), result.output
        return [call["call_id"] for call in json.loads(result.stdout)["calls"]]

    def close(self) -> None:
        self._record.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with closing(Office(tmp_path)) as made:
        made.add(call_id="1@x")
        made.add(call_id="2@x", time=NOON + DAY, orig="12155550199", origid="other")
        yield made


def test_call_is_shown(office: Office) -> None:
    result = office.trace("--origid", ORIGID.upper())
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()
    assert head.split() == ["time", "orig", "dest", "attest", "result", "token", "trunk", "customer", "origid", "call_id"]
    assert row.split() == [
        *("2026-12-01T12:00:00.000Z", "12155550121", "12155550131", "A", "signed", "pbx", "acme", ORIGID, "1@x"),
    ]
    assert result.stderr == ""


@pytest.mark.parametrize("number", ["12155550121", "+12155550121", "2155550121", "+1 (215) 555-0121", "1-215-555-0121"])
def test_number_is_found_as_it_is_dialled(office: Office, number: str) -> None:
    assert office.found("--orig", number) == ["1@x"]


def test_all_words_must_fit(office: Office) -> None:
    assert office.found("--dest", "12155550131") == ["1@x", "2@x"]
    assert office.found("--dest", "12155550131", "--origid", "other") == ["2@x"]
    assert office.found("--dest", "12155550131", "--call-id", "3@x") == []
    assert office.found("--call-id", "2@x") == ["2@x"]


def test_nothing_found_is_the_answer_no(office: Office) -> None:
    result = office.trace("--origid", "nobody")
    assert (result.exit_code, result.stdout) == (1, "nothing found\n")
    result = office.trace("--origid", "nobody", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"calls": [], "more": False, "masked": False})


def test_something_must_be_asked_for(office: Office) -> None:
    result = office.trace("--since", "2026-12-01")
    assert result.exit_code == 2
    assert "--origid, --orig, --dest or --call-id" in result.output


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--since", "2026-12-02"], ["2@x"]),
        (["--until", "2026-12-01"], ["1@x"]),
        (["--since", "2026-12-01", "--until", "2026-12-02"], ["1@x", "2@x"]),
        (["--until", "2026-12-01T11:59:59"], []),
        (["--until", "2026-12-01T13:00:00+01:00"], ["1@x"]),
        (["--until", "2026-12-01T12:59:59+01:00"], []),
        (["--since", "2026-12-01T12:00:00.001Z"], ["2@x"]),
        (["--since", "1d"], ["2@x"]),
        (["--since", "24h"], ["2@x"]),
        (["--since", "1441m"], ["2@x"]),
        (["--since", "3d"], ["1@x", "2@x"]),
        (["--since", "2d", "--until", "100000s"], ["1@x"]),
    ],
)
def test_times(office: Office, words: list[str], found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamailio_app.cli.trace.time", SimpleNamespace(time=lambda: NOON + 2 * DAY - 1))
    assert office.found("--dest", "12155550131", *words) == found


@pytest.mark.parametrize(
    "time", ["yesterday", "90z", "", "2026-13-01", "-1d", "1969-12-31", "99999999d", "0001-01-01T00:00:00+23:00"]
)
def test_time_that_is_none(office: Office, time: str) -> None:
    result = office.trace("--orig", "1", f"--since={time}")
    assert result.exit_code == 2
    assert "--since" in result.output


def test_limit_is_said(office: Office) -> None:
    result = office.trace("--dest", "12155550131", "--limit", "1")
    assert result.exit_code == 0
    assert "2@x" in result.stdout
    assert "1@x" not in result.stdout
    assert "Earlier calls are not shown (--limit 1)" in result.stderr


def test_masked_numbers_are_said(office: Office) -> None:
    office.add(mask=4, call_id="3@x", time=NOON + 2 * DAY, orig="12155557777")
    assert office.found("--orig", "12155550121") == ["1@x", "3@x"]
    assert "Numbers are recorded without their last digits" in office.trace("--orig", "12155550121").stderr
    assert "Numbers" not in office.trace("--call-id", "3@x").stderr


def test_table_for_other_programs(office: Office, tmp_path: Path) -> None:
    office.add(call_id='=cmd|"/c calc"!A1', time=NOON + 2 * DAY, x5u="https://cr.example.com/a.pem")
    result = office.trace("--dest", "12155550131", "--csv", str(tmp_path / "calls.csv"))
    assert (result.exit_code, result.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "calls.csv").read_text())))
    # No spreadsheet computes what a stranger wrote
    assert [row["call_id"] for row in rows] == ["1@x", "2@x", '\'=cmd|"/c calc"!A1']
    assert rows[2]["x5u"] == "https://cr.example.com/a.pem"
    assert (rows[0]["us"], rows[0]["x5u"], rows[0]["fingerprint"]) == ("43", "", "ab" * 32)
    assert office.trace("--call-id", "1@x", "--csv", "-").stdout.splitlines()[1].startswith("2026-12-01T12:00:00.000Z,1@x,")
    assert office.trace("--call-id", "nobody", "--csv", "-").exit_code == 1


def test_strangers_text_does_not_reach_the_terminal(office: Office) -> None:
    office.add(call_id="\x1b[2Jevil\x07 x", time=NOON + 2 * DAY)
    result = office.trace("--call-id", "\x1b[2Jevil\x07 x")
    assert "\x1b" not in result.stdout
    assert "\\x1b[2Jevil\\x07\\x20x" in result.stdout


def test_record_from_elsewhere(office: Office, tmp_path: Path) -> None:
    (tmp_path / "calls").rename(tmp_path / "copy")
    result = office.trace("--call-id", "1@x")
    assert result.exit_code == 3
    assert "record_unreadable" in result.stderr
    assert "record_dir" in result.stderr
    result = office.trace("--call-id", "1@x", "--directory", str(tmp_path / "copy"), settings=tmp_path / "none")
    assert result.exit_code == 0
    assert office.trace("--call-id", "1@x", settings=tmp_path / "none").exit_code == 3


def test_record_that_is_not_kept_says_so(tmp_path: Path) -> None:
    settings = tmp_path / "stirshaken.toml"
    for text, words in (("record_calls = false", "`record_calls = true`"), ("record_calls = true", "`record_dir`")):
        settings.write_text(f'[record]\nrecord_dir = "nowhere"\n{text}\n')
        result = CliRunner().invoke(main, ["trace", "--orig", "911", "--settings", str(settings)])
        assert (result.exit_code, words in result.stderr) == (3, True)
