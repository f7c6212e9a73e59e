"""Makes a run the published one: its files into figures/, its headline into the README between two markers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from kamailio_app.lab.edge import ROOT
from tests.load import report
from tests.load.report import Report

FIGURES: Final = ROOT / "tests/load/figures"
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- load: begin -->"
END: Final = "<!-- load: end -->"


def between(text: str) -> str:
    """What stands between the markers. Errors: ValueError if they are not there, once each and in this order."""
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or begin > end:
        raise ValueError(f"README.md needs one line {BEGIN} and, below it, one line {END}")
    return text[begin + len(BEGIN) : end]


def filled(text: str, table: str) -> str:
    """The text with `table` between the markers. Errors: ValueError, as above."""
    between(text)
    return f"{text[: text.find(BEGIN)]}{BEGIN}\n{table}\n{text[text.find(END) :]}"


def main(source: Path) -> int:
    """Publish the run in `source`: the exit status."""
    try:
        run = Report.read(source / report.JSON)
        text = filled(README.read_text(), report.headline_table(run))
    except (OSError, ValueError) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(FIGURES, ignore_errors=True)
    FIGURES.mkdir()
    for file in [
        source / report.JSON,
        source / report.CSV,
        source / "report.md",
        source / "report.html",
        *source.glob("*.png"),
    ]:
        shutil.copy(file, FIGURES)
    README.write_text(text)
    return 0
