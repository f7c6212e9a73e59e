"""The load test as a user runs it: quickly, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.lab.edge import ROOT
from tests.integration.test_demo import processes_of
from tests.load.kinds import KINDS


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: the path of a Unix socket has no more than 107 octets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def started(directory: Path) -> subprocess.Popen[str]:
    (directory / "tmp").mkdir()
    command = [sys.executable, "-m", "tests.load", "--quick", "--output", str(directory / "out")]
    environment = {**os.environ, "TMPDIR": str(directory / "tmp")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_quick_run_measures_every_kind_and_leaves_nothing_behind(directory: Path) -> None:
    run = started(directory)
    output = run.communicate(timeout=110)[0]
    assert run.returncode == 0, output
    steps = json.loads((directory / "out/quick/report.json").read_text())["steps"]
    assert {step["kind"] for step in steps} == {kind.name for kind in KINDS}
    # Whether a step is clean depends on who else uses the machine; that calls are answered does not
    assert all(step["p50_ms"] for step in steps), output
    assert {file.name for file in (directory / "out/quick").iterdir()} >= {"steps.csv", "report.md", "report.html", "cpu.png"}
    assert processes_of(str(directory)) == []
    assert list((directory / "tmp").iterdir()) == []


def test_interrupted_run_ends_its_processes(directory: Path) -> None:
    run = started(directory)
    assert run.stdout
    for line in run.stdout:
        if line.startswith("relay"):
            break
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=30)[0]
    assert run.returncode == 130, output
    assert "interrupted: no report" in output
    assert processes_of(str(directory)) == []
    assert list((directory / "tmp").iterdir()) == []
    assert not (directory / "out/quick/report.json").exists()
