"""The chains in `publication_dir`, for a server that is its own repository (STI-CR): a URL's path -> the file's text.

Whoever asks is a stranger: the name is matched before a file is touched, and nothing but NAME.pem of that directory is read.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9._\-]{0,127}", re.ASCII)
_MAX_FILE: Final = 1 << 16  # octets: more is fetched by no verifier
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_KEY: Final = "PRIVATE KEY-----"
_PLACE: Final = "{name}"


def name_of(form: str, url: str) -> str:
    """The NAME in a URL, or a path, of this form (that of `public_cert_url`); empty if it has another form."""
    places = form.count(_PLACE)
    length, over = divmod(len(url) - len(form.replace(_PLACE, "")), max(1, places))
    begin = form.find(_PLACE)
    name = url[begin : begin + length]
    # The form again with this name: it may stand there more than once
    return name if places and not over and _NAME.fullmatch(name) and form.replace(_PLACE, name) == url else ""


def published_chain(directory: Path | None, public_cert_url: str, path: str) -> str | None:
    """The chain behind a URL's path, as `public_cert_url` forms it; None if there is none.

    A file that holds a private key, or no certificate, is none: it came there by mistake.
    """
    name = name_of(urlsplit(public_cert_url).path, path)
    if directory is None or not name:
        return None
    try:
        # Neither a link out of the directory nor a pipe that never ends
        descriptor = os.open(directory / f"{name}.pem", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        octets = os.read(descriptor, _MAX_FILE + 1)
    finally:
        os.close(descriptor)
    text = octets.decode("ascii", "replace")
    return text if len(octets) <= _MAX_FILE and text.isascii() and _BEGIN in text and _KEY not in text else None
