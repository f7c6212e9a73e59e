"""cfg/PUBLISHING.md: its command lines are such, its settings are accepted, its files are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import kamailio_app
from kamailio_app.runtime import settings as settings_file

from .cli.command_tree import parsed

ROOT = Path(kamailio_app.__file__).parent.parent
PAGE = (ROOT / "cfg/PUBLISHING.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
LINES = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_command_line_is_one(line: str) -> None:
    assert line.startswith("shakenctl publish ")
    parsed(shlex.split(line)[1:])


def test_settings_are_accepted() -> None:
    (text,) = [code for language, code in BLOCKS if language == "toml"]
    known = settings_file.parse(Path("/etc/kamailio/stirshaken.toml"), text)
    assert known.public_cert_url.replace("{name}", "sp1234-20261129") in PAGE
    assert known.provider.publication.directory == Path("/var/www/sti-cr")


def test_options_and_files_that_it_names_are_there() -> None:
    sample = (ROOT / "cfg/stirshaken.toml").read_text("utf-8")
    for option in ("public_cert_url", "publication_dir", "switch_after", "keep_published_hours", "provider_state_dir"):
        assert f"`{option}" in PAGE
        assert f"\n{option} = " in sample
    for name in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "cfg" / name).is_file()
    defines = re.findall(r"STI_CR_\w+", PAGE)
    cfg = (ROOT / "cfg/sti-cr-kamailio.cfg").read_text("utf-8")
    assert defines
    assert all(define in cfg for define in defines)
