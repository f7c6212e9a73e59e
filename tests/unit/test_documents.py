"""What the documents promise is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

from kamailio_app.errors import FAILURES
from kamailio_app.runtime.settings import parse
from tests.documents import TABLES, VERIFICATION, with_table

from .cli.command_tree import parsed

ROOT: Final = Path(__file__).resolve().parents[2]
_LINK: Final = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def documents() -> list[str]:
    skipped = {".venv", "build", "results", ".pytest_cache"}
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if not skipped & set(path.relative_to(ROOT).parts))


@pytest.mark.parametrize("document", documents())
def test_what_a_document_links_to_is_there(document: str) -> None:
    path = ROOT / document
    links = [link for link in _LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_tables_are_the_codes(path: Path) -> None:
    text, (name, make) = path.read_text("utf-8"), TABLES[path]
    assert text == with_table(text, name, make()), "make documents"


def settings_blocks() -> list[tuple[str, str]]:
    found = re.compile(r"```toml\n(.*?)```", re.DOTALL)
    return [(document, block) for document in documents() for block in found.findall((ROOT / document).read_text("utf-8"))]


def is_settings(document: str, block: str) -> bool:
    """Blocks of other files begin with their name."""
    return document.startswith("cfg/") and not block.startswith("# signing-policy")


@pytest.mark.parametrize(("document", "block"), [entry for entry in settings_blocks() if is_settings(*entry)])
def test_settings_that_a_document_shows_are_settings(document: str, block: str) -> None:
    assert parse(ROOT / document, block)


def command_lines() -> list[tuple[str, str]]:
    """What stands between the words of a page and begins with shakenctl."""
    pages = [document for document in documents() if document == "README.md" or document.startswith("cfg/")]
    spans = re.compile(r"`(shakenctl [^`]+)`")
    return sorted(
        {(page, " ".join(line.split())) for page in pages for line in spans.findall((ROOT / page).read_text("utf-8"))}
    )


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_command_between_the_words_of_a_page_is_one(page: str, line: str) -> None:
    parsed(shlex.split(line)[1:], whole=False)


def test_every_failure_of_verification_is_in_the_table() -> None:
    table = VERIFICATION.read_text("utf-8").partition("<!-- failures: begin -->")[2]
    told = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert told == {token for token, failure in FAILURES.items() if failure.error.code}


def test_every_package_of_the_edge_image_is_pinned_as_the_project_pins_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    constraints = (ROOT / "docker/constraints.txt").read_text().splitlines()
    assert {*project["dependencies"], *project["optional-dependencies"]["lifecycle"]} <= set(constraints)
    assert [line for line in constraints if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []


def test_make_names_each_of_its_commands() -> None:
    """The comment on top of the Makefile is its help."""
    text = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z-]+)", text.partition("\n\n")[0]))
    known = subprocess.run(["make", "--dry-run", "--question", *sorted(named)], cwd=ROOT, capture_output=True, check=False)
    assert known.returncode in (0, 1), known.stderr.decode()
