"""A clock that stands still, a web without network, a table that several processes share, a settings file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kamailio_app.errors import StirError, failure
from kamailio_app.runtime.fetcher import Download
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.settings import FetchRules

from ..builders import NOW, X5U, hierarchy, pem, provider

Answer = Download | StirError | Exception


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Web:
    """What the fetcher finds under each URL, and what it was asked for."""

    answers: dict[str, Answer] = field(default_factory=lambda: {X5U: Download(provider().chain_pem, "")})
    asked: list[list[str]] = field(default_factory=list)
    closed: int = 0

    def fetch(self, urls: Iterable[str]) -> dict[str, Download | StirError]:
        self.asked.append(list(urls))
        found: dict[str, Download | StirError] = {}
        for url in self.asked[-1]:
            answer = self.answers.get(url, failure("x5u_unreachable"))
            if isinstance(answer, Exception) and not isinstance(answer, StirError):
                raise answer
            found[url] = answer
        return found

    def close(self) -> None:
        self.closed += 1


def toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


@dataclass
class Table:
    """Text shared by all processes, with the lifetimes it was given."""

    clock: Clock
    entries: dict[str, tuple[str, float]] = field(default_factory=dict)
    lifetimes: dict[str, int] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        text, ends = self.entries.get(key, ("", 0.0))
        return text if self.clock.now < ends else None

    def put(self, key: str, value: str, lifetime: int) -> None:
        self.entries[key] = (value, self.clock.now + lifetime)
        self.lifetimes[key] = lifetime


class Host:
    """Settings, a pair that signs and trust anchors; a repository; services are the processes."""

    def __init__(self, directory: Path, **sections: Mapping[str, Any]) -> None:
        self.directory = directory
        self.clock, self.web = Clock(), Web()
        self.table = Table(self.clock)
        self.rules: list[FetchRules] = []
        (directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate))
        provider().write(directory / "certs", "sp1234")
        self.settings(**sections)

    def settings(self, **sections: Mapping[str, Any]) -> None:
        values: dict[str, dict[str, Any]] = {
            "signing": {"certificate_dir": "certs", "public_cert_url": "https://cr.example.test/{name}.pem"},
            "verification": {"ca_file": "trusted.pem"},
        }
        for section, options in sections.items():
            values.setdefault(section, {}).update(options)
        (self.directory / "stirshaken.toml").write_text(toml(values), "utf-8")

    def service(self) -> Service:
        def make(rules: FetchRules) -> Any:
            self.rules.append(rules)
            return self.web

        path = self.directory / "stirshaken.toml"
        return Service(path, self.table, clock=self.clock, make_fetcher=cast("Any", make))
