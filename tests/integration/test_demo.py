"""`make demo` as a user runs it: every row as it should be, twice at once, nothing left running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from kamailio_app.lab.edge import ROOT


def processes_of(directory: str) -> list[str]:
    """Command lines that name the directory: Kamailio's have their cfg in it, SIPp's its trace file."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if directory in command:
            found.append(command)
    return found


def test_two_demos_at_once_both_come_out_right_and_leave_no_process() -> None:
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "TMPDIR": directory}
        command = [sys.executable, "-m", "kamailio_app.lab.demo"]
        runs = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        outputs = [run.communicate(timeout=90)[0] for run in runs]
        for run, output in zip(runs, outputs, strict=True):
            assert run.returncode == 0, output
            assert re.search(r"^24 calls in .* 0 rows not as they should be\. Logs: ", output, re.MULTILINE)
        assert processes_of(directory) == []
        assert not list(Path(directory).rglob("*.key"))
