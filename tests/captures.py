"""`make captures`: walks the whole way to a certificate in the laboratory and writes what the terminal showed: cfg/WALK.md.

What differs from run to run is written as it would be elsewhere: directories, ports, keys, times.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kamailio_app.lab.edge import ROOT
from kamailio_app.lab.walk import Step, Walk, walk_in

PAGE: Final = ROOT / "cfg/WALK.md"
_HEAD: Final = """# From nothing to a verified call, as a terminal shows it

The whole way in the laboratory: an STI-PA, an STI-CA and a certificate repository on this machine, a provider who has an
account at each, and two edges. What each step is for, and what it takes outside of a laboratory:
[ONBOARDING.md](ONBOARDING.md).

`make walk` goes it again, in less than a minute. It ran on {host}.
Everything is in one directory, here `/var/lib/lab`; each command ran there, with
`STIRSHAKEN_SETTINGS=/var/lib/lab/stirshaken.toml`. Hosts, ports and URLs are written as they would be elsewhere.

By hand it takes two terminals: `shakenctl lab up ~/shaken-lab` in one,
`export STIRSHAKEN_SETTINGS=~/shaken-lab/stirshaken.toml` and the commands of this page in the other. The edges and the calls
are the walk's own. `make captures` writes this page.
"""


def page(walk: Walk, directory: Path, host: str) -> str:
    """The page of a walk in `directory`, on `host`."""
    return "\n".join([_HEAD.format(host=host), *(line for step in walk.steps for line in _section(step, directory))])


def this_host() -> str:
    """What it ran on: system, Kamailio, Python."""
    said = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True).stdout
    kamailio = re.search(r"kamailio ([\d.]+)", said)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux").partition(" (")[0]
    return f"{system}, Kamailio {kamailio[1] if kamailio else '?'}, Python {platform.python_version()}"


def _section(step: Step, directory: Path) -> Iterator[str]:
    yield f"## {step.title}\n"
    yield "```console"
    yield f"$ {elsewhere(step.command, directory)}"
    if step.output.strip():
        yield elsewhere(step.output.rstrip("\n"), directory)
    yield "```\n"


# What is this machine's own, and what stands for it
_OWN: Final = (
    (re.compile(r"\b127\.77\.\d+\.(\d)\b"), r"192.0.2.\1"),
    (re.compile(r"https://localhost:\d+/acme"), "https://stica.example.net/acme"),
    (re.compile(r"https://localhost:\d+/(?=[\w{}.-]+\.pem)"), "https://cr.example.net/"),
    (re.compile(r"https://localhost:\d+"), "https://sti-pa.example.net"),
)


def elsewhere(text: str, directory: Path) -> str:
    """What a terminal of somebody else shows."""
    text = text.replace(str(directory), "/var/lib/lab").replace(str(ROOT), "/opt/kamailio-stirshaken")
    for own, instead in _OWN:
        text = own.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def main() -> int:
    """The exit status: 1 if a step was not as it should be, and then the page stays as it was."""
    with tempfile.TemporaryDirectory(prefix="shakenctl-walk-") as made:
        directory = Path(made).resolve()
        walk = walk_in(directory, print)
        if walk.good:
            PAGE.write_text(page(walk, directory, this_host()), "utf-8")
    return 0 if walk.good else 1


if __name__ == "__main__":
    sys.exit(main())
