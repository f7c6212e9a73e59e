"""The text of the running Kamailio's configuration, with what it includes: for the few things that no RPC tells.

Conditions (`#!ifdef`) are not followed: what stands there may be in force.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kamailio_app.doctor.finding import NotLookedAt
from kamailio_app.lifecycle.server import Kamailio

_DEFAULT: Final = Path("/etc/kamailio/kamailio.cfg")
_INCLUDE: Final = re.compile(r'^\s*(?:!!|#!)?(?:include_file|import_file)\s+"([^"\n]+)"', re.MULTILINE)
_COMMENT: Final = re.compile(r"^[ \t]*(?:#(?!!)|//).*$|/\*[\s\S]*?\*/", re.MULTILINE)
_MAX_FILES: Final = 50
_MAX_OCTETS: Final = 1 << 20


def text_of(server: Kamailio) -> str:
    """All of its files, one after another. Errors: NotLookedAt, `server_unreachable`, `server_refused`."""
    words = server.rpc("core.arg").split()
    after = words.index("-f") + 1 if "-f" in words else 0
    here = server.rpc("core.pwd").strip()
    main = Path(here, words[after]) if 0 < after < len(words) else _DEFAULT
    texts: dict[Path, str] = {}
    _read(main, texts)
    if not texts.get(main):
        raise NotLookedAt(
            f"{main} cannot be read", "Run the doctor on the host of Kamailio, as a user who may read its configuration."
        )
    return "\n".join(texts.values())


def _read(path: Path, texts: dict[Path, str]) -> None:
    if path in texts or len(texts) >= _MAX_FILES:
        return
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_OCTETS).decode("utf-8", "replace")
    except OSError:
        text = ""
    texts[path] = _COMMENT.sub("", text)
    for included in _INCLUDE.findall(texts[path]):
        _read(path.parent / included, texts)
