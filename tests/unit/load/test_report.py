"""The headline's arithmetic, and the report in its forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.load import headline, publish, report
from tests.load.headline import Spread
from tests.load.kinds import BY_NAME
from tests.load.page import Heading, Page, Plot, Table, Text, markdown_table
from tests.load.report import Report
from tests.load.step import Lengths, Limit, Limits, Step
from tests.unit.load.steps import step

STEPS = (
    step(kind="direct", offered_per_s=200.0, cpu_us_per_call=0.0),
    step(kind="direct", offered_per_s=200.0, purpose="confirm", cpu_us_per_call=0.0),
    *(step(offered_per_s=rate, purpose=purpose) for rate, purpose in ((400.0, "climb"), (800.0, "climb"), (800.0, "confirm"))),
    step(kind="sign", offered_per_s=400.0, cpu_us_per_call=999.0),
    step(kind="sign", offered_per_s=400.0, purpose="confirm"),
    step(kind="sign", offered_per_s=800.0, crossed="9 failed", limit=Limit.SYSTEM),
    step(kind="sign", offered_per_s=200.0, purpose="half", p50_ms=1.25, p99_ms=9.75),
    *(
        step(kind=kind, offered_per_s=300.0, purpose="compare", cpu_us_per_call=cpu, workers_cpu_us_per_call=cpu - 10)
        for relay in (150.0, 170.0, 160.0)
        for kind, cpu in (
            ("relay", relay),
            ("sign", relay + 50),
            ("secsipid-sign", relay + relay / 2),
            ("relay-identity", relay + 20),
        )
    ),
)


def made(steps: tuple[Step, ...] = STEPS) -> Report:
    machine = {"CPU": "A CPU", "Cores": "2"}
    names = ("kamailio-stirshaken", "Kamailio", "Python in Kamailio", "secsipid package", "SIPp", "Python of the lab")
    return Report(
        "2026-11-23 12:00 UTC", "python -m tests.load", 12.5, machine, dict.fromkeys(names, "1.0"), Limits(), Lengths(), steps
    )


def test_cpu_time_is_compared_at_one_rate_below_the_lowest_best() -> None:
    assert headline.rate_to_compare(STEPS, 1, ["relay", "sign"]) == 300
    assert headline.rate_to_compare(STEPS, 1, ["relay", "verify"]) == 600
    assert headline.rate_to_compare(STEPS, 2, ["relay"]) is None
    assert headline.common_rate(STEPS, 1) == 300
    assert headline.common_rate(STEPS, 2) is None


def test_best_rate_is_one_that_was_confirmed() -> None:
    climbed = [step(offered_per_s=800.0), step(offered_per_s=1000.0)]
    refuted = step(offered_per_s=1000.0, purpose="confirm", crossed="p99 200 ms", limit=Limit.MACHINE)
    assert headline.best(climbed, "relay", 1) == 0
    (row,) = headline.rows([*climbed, refuted, step(offered_per_s=880.0, purpose="confirm")])
    assert (row.best, row.limit) == (880, Limit.MACHINE)


def test_headline_row() -> None:
    row = next(row for row in headline.rows(STEPS) if row.kind.name == "sign")
    assert (row.best, row.limit, row.cpu, row.added) == (400, Limit.SYSTEM, Spread(210, 200, 220), Spread(50, 50, 50))
    assert headline.cells(row)[1:8] == ["1", "400", "system", "1.2", "9.8", "210 (200 to 220)", "50 (50 to 50)"]
    assert headline.cells(row)[8:] == [""]


def test_kind_that_was_only_compared_has_no_rate() -> None:
    row = next(row for row in headline.rows(STEPS) if row.kind.name == "relay-identity")
    assert headline.cells(row)[1:8] == ["1", "", "", "", "", "180 (170 to 190)", ""]


def test_secsipid_is_compared_with_ours_round_by_round() -> None:
    row = next(row for row in headline.rows(STEPS) if row.kind.name == "secsipid-sign")
    assert (row.added, row.times_ours) == (Spread(80, 75, 85), Spread(1.6, 1.5, 1.7))


def test_step_that_was_not_clean_is_not_compared() -> None:
    bad = step(kind="sign", purpose="compare", cpu_us_per_call=9000.0, crossed="1 failed", limit=Limit.SYSTEM)
    assert headline.compared([bad, *STEPS], "sign", 1) == [200, 220, 210]


def test_two_edges_are_compared_with_two_relays() -> None:
    cpu = {"relay": 100.0, "relay-identity": 110.0, "both": 400.0}
    steps = [step(kind=name, purpose="compare", cpu_us_per_call=each) for name, each in cpu.items()]
    assert headline.added(steps, BY_NAME["both"], 1) == [190]
    assert headline.added(steps[1:], BY_NAME["both"], 1) == []


def test_rate_that_was_tried_twice_counts_as_the_second_time() -> None:
    steps = [
        step(purpose="confirm"),
        step(offered_per_s=150.0, crossed="1 failed", limit=Limit.UNEXPLAINED),
        step(offered_per_s=150.0),
        step(offered_per_s=160.0, crossed="1 failed", limit=Limit.SYSTEM),
    ]
    assert headline.rows(steps)[0].limit is Limit.SYSTEM


def test_report_compares_workers_alone_and_says_lengths(tmp_path: Path) -> None:
    made().write(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "A step of a ladder has 1.5 s of calls" in text
    assert "3 times 2 s each" in text
    added = "50 (50 to 50) | 50 (50 to 50) | 20 (20 to 20) | 20 (20 to 20) |"
    assert f"| relay + signed by us | 1 | 300 | 210 (200 to 220) | 200 (190 to 210) | {added}" in text


def test_report_comes_back_from_its_json(tmp_path: Path) -> None:
    made().write(tmp_path)
    assert Report.read(tmp_path / report.JSON) == made()


def test_steps_are_named_columns(tmp_path: Path) -> None:
    made().write(tmp_path)
    with (tmp_path / report.CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(STEPS)
    assert (rows[2]["kind"], rows[2]["offered_per_s"], rows[2]["p99_ms"]) == ("relay", "400", "4")


def test_step_without_an_answer_is_still_json(tmp_path: Path) -> None:
    none = step(p50_ms=None, p90_ms=None, p99_ms=None, p999_ms=None, max_ms=None, crossed="all failed", limit=Limit.SYSTEM)
    made((none,)).write(tmp_path)
    assert json.loads((tmp_path / report.JSON).read_text())["steps"][0]["p99_ms"] is None


def test_reports_begin_with_the_headline_and_html_stands_alone(tmp_path: Path) -> None:
    made().write(tmp_path)
    markdown, html = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    assert markdown.splitlines()[2].startswith("| Kind | Workers |")
    assert html.count("data:image/png;base64,") == html.count("<img") == 3
    assert "http" not in html.replace("https://", "http").split("</style>")[1]


def test_disturbed_run_says_so() -> None:
    assert report.disturbed(STEPS) == []
    (block,) = report.disturbed([step(machine_others=0.2), step()])
    assert isinstance(block, Text)
    assert block.text.startswith("Disturbed: in 1 of 2 steps")


def test_markdown_table() -> None:
    assert markdown_table(Table(("a", "b"), [("x|y", "1")])) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_html_escapes(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"png")
    page = Page("<1>", [Heading("<2>"), Text("<3>"), Table(("<4>",), [("<5>",)]), Plot("plot.png", "<6>")])
    html = page.html(tmp_path)
    assert not [number for number in range(1, 7) if f"<{number}>" in html]
    assert "data:image/png;base64,cG5n" in html


def test_published_table_stands_between_the_markers() -> None:
    text = f"a\n{publish.BEGIN}\nold\n{publish.END}\nb\n"
    filled = publish.filled(text, "| new |")
    assert filled == f"a\n{publish.BEGIN}\n| new |\n{publish.END}\nb\n"
    assert publish.between(filled).strip() == "| new |"


@pytest.mark.parametrize("text", ["", publish.BEGIN, f"{publish.END}{publish.BEGIN}", f"{publish.BEGIN * 2}{publish.END}"])
def test_nothing_is_published_without_the_markers(text: str) -> None:
    with pytest.raises(ValueError, match="load: begin"):
        publish.filled(text, "| new |")


def test_publishing_fills_figures_and_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme, figures = tmp_path / "README.md", tmp_path / "figures"
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "FIGURES", figures)
    made().write(tmp_path / "run")
    readme.write_text("no markers")
    assert publish.main(tmp_path / "run") == 1
    assert not figures.exists()
    readme.write_text(f"{publish.BEGIN}\n{publish.END}\n")
    assert publish.main(tmp_path / "run") == 0
    assert publish.between(readme.read_text()).strip() == report.headline_table(made())
    assert {file.name for file in figures.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "steps.csv",
        "cpu.png",
        "latency-1.png",
        "memory.png",
    }


def test_nothing_is_published_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish.main(tmp_path) == 1
    assert "report.json" in capsys.readouterr().err
