"""A report as a few blocks, rendered as Markdown and as one HTML file that needs no other."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from kamailio_app.lab.edge import ROOT

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Table:
    """The first `left` columns hold words, the others figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


@dataclass(frozen=True)
class Plot:
    """A PNG beside the report."""

    file: str
    caption: str


Block = Heading | Text | Table | Plot


@dataclass(frozen=True)
class Page:
    title: str
    blocks: Sequence[Block]

    def markdown(self) -> str:
        return "\n\n".join([f"# {self.title}", *(_markdown(block) for block in self.blocks)]) + "\n"

    def html(self, directory: Path) -> str:
        """Plots are read from the directory and become part of the page."""
        template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
            (_HERE / "report.html.j2").read_text()
        )
        blocks = [(type(block).__name__, block) for block in self.blocks]
        return template.render(
            title=self.title, blocks=blocks, style=Markup(style()), data=lambda file: _data(directory / file)
        )

    def write(self, directory: Path) -> None:
        """report.md and report.html."""
        (directory / "report.md").write_text(self.markdown())
        (directory / "report.html").write_text(self.html(directory))


def markdown_table(table: Table) -> str:
    rule = ["---" if column < table.left else "---:" for column in range(len(table.head))]
    rows = [_row(table.head), f"|{'|'.join(rule)}|", *(_row(row) for row in table.rows)]
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Text(text):
            return text
        case Table():
            return markdown_table(block)
        case Plot(file, caption):
            return f"![{caption}]({file})"


def style() -> str:
    """The style sheet of the project's reports."""
    return (ROOT / "tests/report_style.css").read_text()


def _data(path: Path) -> str:
    return "data:image/png;base64," + b64encode(path.read_bytes()).decode()
