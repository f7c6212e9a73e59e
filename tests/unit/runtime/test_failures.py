"""The table of failures for the documentation."""

from __future__ import annotations

import subprocess
import sys

from kamailio_app.errors import FAILURES
from kamailio_app.runtime.failures import table

OF_VERIFICATION = [token for token, row in FAILURES.items() if row.error.code]


def test_table_for_the_documentation_has_a_line_for_every_failure_of_verification() -> None:
    head, rule, *lines = table().splitlines()
    assert head.startswith("| token | meaning | clause | rfc8224 | atis1000082 | man | verstat |")
    assert {line.count("|") for line in (head, rule, *lines)} == {9}
    assert [line.split("`")[1] for line in lines] == OF_VERIFICATION
    assert "| RFC 8224 4.1 | 438 | 436 | 436 | No-TN-Validation |" in next(line for line in lines if "`info_mismatch`" in line)


def test_table_is_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "kamailio_app.runtime.failures"], check=True, capture_output=True, encoding="utf-8", timeout=60
    )
    assert printed.stdout == table()
