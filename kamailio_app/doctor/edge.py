"""The service that every process of the server begins with, made of the settings here. What it refuses, no server takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from kamailio_app.doctor.finding import NotLookedAt
from kamailio_app.doctor.site import Site
from kamailio_app.runtime.link import Orders
from kamailio_app.runtime.service import Service


@dataclass
class Table:
    """The table that processes share, of one who is alone."""

    entries: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        return self.entries.get(key)

    def put(self, key: str, value: str, _lifetime: int) -> None:
        self.entries[key] = value


@contextmanager
def service(site: Site, table: Table) -> Iterator[Service]:
    """For as long as it is looked at. Errors: those of `Service`; NotLookedAt where the settings file is refused."""
    if site.mistakes:
        raise NotLookedAt("the settings are refused: no server starts with them", "See files: settings.")
    with closing(Orders()) as orders:
        made = Service(site.path, table, clock=site.clock, orders=orders)
        try:
            yield made
        finally:
            made.close()
