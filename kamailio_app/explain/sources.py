"""Where the certificates of strangers come from: a file, a directory, the network, or what the edge here has kept on disk."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError, failure
from kamailio_app.explain.header_checks import moment
from kamailio_app.explain.judge import Found
from kamailio_app.explain.trust import Trusted, fetched, trusted
from kamailio_app.runtime.disk import read_kept
from kamailio_app.runtime.fetcher import Fetcher
from kamailio_app.runtime.settings import Settings

MAX_FETCHED: Final = 200
_MAX_OCTETS: Final = 1 << 20
# Strangers choose URLs: no part of one leads out of the directory
_PART: Final = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9._\-]{0,254}", re.ASCII)
_NOWHERE: Final = "not at hand: give --certificate FILE or --chain-dir DIR, or fetch it with --fetch"


class Sources:
    """`file` stands for every URL; `directory` has files named like the ends of URLs; `live` fetches under the settings' rules;
    `ca` is trusted instead of what the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        file: Path | None = None,
        directory: Path | None = None,
        live: bool = False,
        ca: Path | None = None,
    ) -> None:
        """Errors: `input_unreadable`."""
        self._settings = settings
        self._file = _chain(file) if file is not None else None
        if self._file is not None and self._file.error is not None:
            raise failure("input_unreadable", self._file.error.detail, self._file.error.advice)
        self._directory = directory
        self.live = live
        self._ca = ca
        self._known: dict[str, Found] = {}

    def prepare(self, urls: Iterable[str]) -> Trusted:
        """Fetch what is to be fetched, all at once, and say what is trusted. Errors: `option_invalid`."""
        if not self.live:
            return trusted(self._settings, self._ca)
        wanted = [url for url in dict.fromkeys(urls) if self._near(url) is None]
        return asyncio.run(self._fetch(wanted))

    def find(self, url: str) -> Found:
        """What is behind a URL."""
        near = self._near(url)
        if near is not None:
            return near
        if url not in self._known:
            self._known[url] = self._kept(url)
        return self._known[url]

    def _near(self, url: str) -> Found | None:
        if self._file is not None:
            return self._file
        return _in_directory(self._directory, url) if self._directory is not None else None

    def _kept(self, url: str) -> Found:
        kept = read_kept(self._settings.state_dir, url)
        if kept is None or not kept.pem:
            if self._directory is not None:
                return Found(
                    words=f"not at hand: {self._directory} has no {urlsplit(url).path.strip('/')}, nor its last part alone"
                )
            directory = self._settings.state_dir
            closed = directory is not None and os.path.exists(directory) and not os.access(directory, os.X_OK)
            return Found(words=f"{_NOWHERE}; what the edge keeps in {directory} is not yours to read" if closed else _NOWHERE)
        return Found(kept.pem.encode(), words=f"kept on disk by the edge, until {moment(kept.expires)}")

    async def _fetch(self, urls: list[str]) -> Trusted:
        try:
            fetcher = Fetcher(self._settings.fetch)
        except (OSError, ValueError) as error:
            raise failure("option_invalid", f"[x5u]: {error}") from error
        try:
            found, trust = await asyncio.gather(
                asyncio.gather(*(fetcher.fetch(url) for url in urls[:MAX_FETCHED])),
                _at_once(trusted(self._settings, self._ca)) if self._ca else fetched(self._settings, fetcher),
            )
        finally:
            await fetcher.close()
        for url, download in zip(urls, found, strict=False):
            anew = self._kept(url).octets is None  # what the edge has kept it need not fetch
            if isinstance(download, StirError):
                self._known[url] = Found(error=download, words="fetched now", fetched=anew)
            else:
                words = f"fetched now, Cache-Control: {download.cache_control or 'none'}"
                self._known[url] = Found(download.octets, words=words, fetched=anew)
        for url in urls[MAX_FETCHED:]:
            self._known[url] = Found(words=f"not fetched: more than {MAX_FETCHED} certificates")
        return trust


async def _at_once(trust: Trusted) -> Trusted:
    return trust


def _in_directory(directory: Path, url: str) -> Found | None:
    """DIR/1234/chain.pem or DIR/chain.pem, of https://host/1234/chain.pem."""
    parts = urlsplit(url).path.strip("/").split("/")
    if not all(map(_PART.fullmatch, parts)):
        return None
    for path in (directory.joinpath(*parts), directory / parts[-1]):
        if path.is_file():
            return _chain(path)
    return None


def _chain(path: Path) -> Found:
    """A file of ours that stands for a repository. What is no certificate there is no fault of the signer's."""
    octets = _read(path)
    try:
        parse_chain(octets)
    except StirError as error:
        advice = f"`shakenctl inspect {path}` says what it is; a chain is PEM or DER, the signer's certificate first."
        return Found(error=failure(error.token, f"{path} holds no certificate chain", advice))
    return Found(octets, words=str(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_OCTETS)
    except OSError as error:
        raise failure("input_unreadable", f"{path}: {error.strerror}") from error
