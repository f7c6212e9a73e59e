"""The interpreter that Kamailio embeds: does it find our package and those that it is pinned to (kemi_scripts/)?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, bad, good, warning
from kamailio_app.doctor.site import ROOT, Site
from kamailio_app.errors import StirError
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.access import ENTER, READ, refusal

AREA: Final = "python"
VENV_VARIABLE: Final = "STIRSHAKEN_VENV"
_INSTALL: Final = f"make -C {ROOT} install"
_DISTRIBUTION: Final = "kamailio-stirshaken"
_LIBRARY: Final = re.compile(r"/libpython(3\.[0-9]+)\.so")
_SECONDS: Final = 10.0
_DEFAULT: Final = "python3"
# As the servers import it, and what their virtualenv has; nothing is compiled to disk
_PROGRAM: Final = """
import json, re, sys
from importlib import metadata
sys.path[1:1] = sys.argv[1:]
wanted, found = {}, {}
try:
    for line in metadata.requires("%s") or ():
        pinned = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        if pinned:
            wanted[pinned[1]] = pinned[2]
            try:
                found[pinned[1]] = metadata.version(pinned[1])
            except metadata.PackageNotFoundError:
                found[pinned[1]] = ""
except metadata.PackageNotFoundError:
    pass
error = ""
try:
    import kamailio_app.runtime.fetch_process, kamailio_app.runtime.service
except Exception as raised:
    error = f"{type(raised).__name__}: {raised}"
print(json.dumps({"version": "%%d.%%d" %% sys.version_info[:2], "wanted": wanted, "found": found, "error": error}))
"""


def _interpreter(site: Site) -> tuple[str, str]:
    """The program, and where it is known from. Errors: NotLookedAt."""
    version = _embedded(site)
    source = "the running Kamailio" if version else "the system, as no Kamailio runs here"
    name = f"python{version}" if version else _DEFAULT
    # Not whatever comes first on PATH: Debian's own is the one that Kamailio is linked with
    program = shutil.which(name, path=os.pathsep.join(("/usr/bin", "/usr/local/bin")))
    if program is None:
        raise NotLookedAt(f"there is no {name} to ask", f"apt install {name}")
    return program, source


def _embedded(site: Site) -> str:
    """The version of libpython in the running Kamailio; empty if that cannot be known."""
    try:
        pids = sorted(site.server.processes())
        found = _LIBRARY.search(Path(f"/proc/{pids[0]}/maps").read_text("utf-8", "replace")) if pids else None
    except (NotLookedAt, StirError, OSError):
        return ""
    return found[1] if found else ""


def _venv() -> Path:
    return Path(os.environ.get(VENV_VARIABLE, ROOT / ".venv"))


def _packages_of(version: str) -> Path:
    return _venv() / "lib" / f"python{version}" / "site-packages"


def _imports(site: Site) -> Iterator[Seen]:
    program, source = _interpreter(site)
    said = _ask(program)
    version = str(said["version"])
    if not _packages_of(version).is_dir():
        there = ", ".join(sorted(path.name for path in _venv().glob("lib/python3*"))) or "nothing"
        yield bad(f"{source} has Python {version}, the virtualenv {_venv()} has {there}")
        return
    if said["error"]:
        yield bad(f"Python {version}: {one_line(str(said['error']), 300)}")
        return
    differ = [
        f"{name} {said['found'][name] or 'missing'}, not {pin}"
        for name, pin in said["wanted"].items()
        if said["found"][name] != pin
    ]
    if differ:
        yield warning(f"Python {version}: {'; '.join(differ)}")
    elif not said["wanted"]:
        yield warning(f"Python {version} imports the package, and {_DISTRIBUTION} is not installed: versions are not known")
    else:
        yield good(f"Python {version} of {source}: {len(said['wanted'])} packages as pinned")


def _ask(program: str) -> dict[str, Any]:
    """Errors: NotLookedAt."""
    # Twice: which packages are its own depends on its version
    version = _run(program, "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    said = _run(program, _PROGRAM % _DISTRIBUTION, str(ROOT), str(_packages_of(version)))
    try:
        answer = json.loads(said)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NotLookedAt(f"{program} says what is not understood")
    return answer


def _run(program: str, text: str, *arguments: str) -> str:
    try:
        command = [program, "-I", "-B", "-c", text, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise NotLookedAt(f"{program}: {one_line(str(error), 200)}") from error


def _readable(site: Site) -> Iterator[Seen]:
    for path in (ROOT / "kamailio_app", ROOT / "kemi_scripts", _venv()):
        try:
            refused = refusal(site.runs_as, path, READ | ENTER)
        except FileNotFoundError as error:
            yield bad(f"{path}: {error.strerror}")
            return
        if refused:
            yield bad(refused, f"chmod -R a+rX {path}")
            return
    yield good(f"{ROOT} by {site.runs_as.name}")


CHECKS: Final = (
    Check(
        AREA,
        "packages",
        "The interpreter that Kamailio embeds imports the package from its virtualenv, with the versions that are pinned.",
        _INSTALL,
        "kemi_scripts/stirshaken_paths.py",
        _imports,
        "host",
        2 * _SECONDS,
    ),
    Check(
        AREA,
        "readable",
        "Package, scripts and virtualenv can be read by Kamailio's user: a reload is not root's.",
        f"chmod -R a+rX {ROOT}",
        "cfg/README.md, Install",
        _readable,
        "host",
    ),
)
