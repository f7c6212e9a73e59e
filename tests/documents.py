"""`make documents`: writes what the documents take from the code: cfg/stirshaken.toml, cfg/examples, tables between marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from kamailio_app.doctor import checks
from kamailio_app.lifecycle import checklist_table
from kamailio_app.runtime import failures, options
from tests import examples

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = ROOT / "cfg/stirshaken.toml"
VERIFICATION: Final = ROOT / "cfg/VERIFICATION.md"
# By document: the name in its marks, and what is written between them
TABLES: Final[dict[Path, tuple[str, Callable[[], str]]]] = {
    VERIFICATION: ("failures", failures.table),
    ROOT / "cfg/ONBOARDING.md": ("checklists", checklist_table.tables),
    ROOT / "cfg/DOCTOR.md": ("checks", checks.table),
}


def with_table(text: str, name: str, table: str) -> str:
    """The document with this table between its marks. Errors: ValueError if it has no place for it."""
    before, begin, rest = text.partition(f"<!-- {name}: begin -->\n")
    _former, end, after = rest.partition(f"<!-- {name}: end -->")
    if not begin or not end:
        raise ValueError(f"the document does not say where the {name} go")
    return f"{before}{begin}{table}{end}{after}"


if __name__ == "__main__":
    SAMPLE.write_text(options.sample(), "utf-8")
    examples.write(examples.EXAMPLES)
    for document, (name, make) in TABLES.items():
        document.write_text(with_table(document.read_text("utf-8"), name, make()), "utf-8")
