"""From an empty directory to a verified call with one command, through the laboratory's STI-PA and STI-CA, and back again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from kamailio_app.lab.edge import ROOT
from tests.captures import PAGE, elsewhere
from tests.integration.test_demo import processes_of

SECONDS = 60


def test_one_command_goes_the_whole_way_and_leaves_no_process(tmp_path: Path) -> None:
    directory = tmp_path / "walk"
    run = subprocess.run(
        [sys.executable, "-m", "kamailio_app.cli.main", "lab", "walk", str(directory), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    walk = json.loads(run.stdout)
    assert run.returncode == 0, walk["steps"][-1]
    assert walk["good"]
    assert walk["seconds"] < SECONDS
    assert processes_of(str(directory)) == []
    # No secret was shown
    shown = json.dumps(walk)
    for secret in (directory / "secrets").iterdir():
        assert secret.read_text().strip() not in shown
    # And the page shows these very steps
    text = PAGE.read_text("utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [step["title"] for step in walk["steps"]], "make captures"
    dated = re.compile(r"sp1234-\d{8}")
    commands = [dated.sub("NAME", command) for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE)]
    assert commands == [dated.sub("NAME", elsewhere(step["command"], directory)) for step in walk["steps"]], "make captures"
