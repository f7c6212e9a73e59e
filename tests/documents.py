"""`make documents`: writes what the documents take from the code: cfg/stirshaken.toml and the table of failures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kamailio_app.runtime import failures, options

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = ROOT / "cfg/stirshaken.toml"
VERIFICATION: Final = ROOT / "cfg/VERIFICATION.md"
_BEGIN, _END = "<!-- failures: begin -->\n", "<!-- failures: end -->"


def with_failures(text: str) -> str:
    """The document with the table of failures as it is now. Errors: ValueError if it has no place for it."""
    before, begin, rest = text.partition(_BEGIN)
    _former, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError("the document does not say where the table of failures goes")
    return f"{before}{begin}{failures.table()}{end}{after}"


if __name__ == "__main__":
    SAMPLE.write_text(options.sample(), "utf-8")
    VERIFICATION.write_text(with_failures(VERIFICATION.read_text("utf-8")), "utf-8")
