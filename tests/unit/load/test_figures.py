"""The README says what the published run measured, and nothing else."""

from __future__ import annotations

from tests.load import publish, report
from tests.load.report import Report


def test_readme_has_the_headline_of_the_published_run() -> None:
    run = Report.read(publish.FIGURES / report.JSON)
    assert publish.between(publish.README.read_text()).strip() == report.headline_table(run)


def test_published_report_is_rendered_from_the_published_run() -> None:
    run = Report.read(publish.FIGURES / report.JSON)
    head, _, rest = (publish.FIGURES / "report.md").read_text().partition("\n\n")
    assert head == f"# {report.TITLE}"
    assert rest.startswith(report.headline_table(run))
