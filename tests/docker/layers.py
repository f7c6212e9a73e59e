"""What is in the layers of an image, also in those that a later layer hides."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Iterator
from typing import IO, Final

# Not after a NUL: GnuTLS has the keys of its self-test in its library
_KEY: Final = re.compile(rb"(?<!\0)-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64,}")


def saved(image: str) -> list[str]:
    """The files of all layers that hold a private key in PEM; streams `docker save`."""
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = [path for layer in _tars(process.stdout) for path in files_with_keys(layer)]
    assert process.returncode == 0
    return found


def files_with_keys(layer: tarfile.TarFile) -> Iterator[str]:
    """The files of one layer that hold a private key in PEM."""
    for member in layer:
        file = layer.extractfile(member) if member.isfile() else None
        if file is not None and _KEY.search(file.read()):
            yield member.name


def _tars(stream: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """The layers in an image's archive; the rest of its files are no archives."""
    with tarfile.open(fileobj=stream, mode="r|*") as image:
        for member in image:
            file = image.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            try:
                with tarfile.open(fileobj=file, mode="r|*") as layer:
                    yield layer
            except tarfile.ReadError:
                continue
