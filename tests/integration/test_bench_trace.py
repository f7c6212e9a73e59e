"""`make bench-trace`, with few calls: questions are answered by the index, and nothing is left behind.

How long they take is for a machine that nobody else uses.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from kamailio_app.lab.edge import ROOT


def test_run_with_few_calls_ends_well_and_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tests.bench.trace", "--calls", "50000", "--days", "3", "--seconds", "20"]
        environment = {**os.environ, "TMPDIR": directory}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
        assert (run.returncode, run.stderr) == (0, "")
        assert list(Path(directory).iterdir()) == []
    for row in ("alone", "beside another worker that does nothing else", "beside the recorder", "origid", "caller", "nobody"):
        assert re.search(rf"^\| {row} \| [0-9]", run.stdout, re.MULTILINE), run.stdout
    assert "50,000 calls in 3 days, 3 files" in run.stdout
