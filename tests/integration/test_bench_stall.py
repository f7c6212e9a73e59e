"""`make bench-stall` as a user runs it, quickly: whether its calls end as they should and nothing is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from kamailio_app.lab.edge import ROOT
from tests.integration.test_demo import processes_of


def test_quick_run_ends_well_and_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tests.bench.stall", "--quick"]
        environment = {**os.environ, "TMPDIR": directory}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
        # A call that did not end as it should, a transaction or a process that is left: no figures
        assert (run.returncode, run.stderr) == (0, "")
        assert processes_of(directory) == []
        assert list(Path(directory).iterdir()) == []
    for row in ("all cached", "a fifth stalled", r"ratio; p99 (reached|missed) .*", "host known", "host new", "after its end"):
        assert re.search(rf"^\| 1 \| {row} \|", run.stdout, re.MULTILINE), run.stdout
    assert "`python -m tests.bench.stall --quick`, 20" in run.stdout
