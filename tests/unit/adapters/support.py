"""A Kamailio with the product in it, without Kamailio, network and clock."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from kamailio_app.adapters import kamailio
from kamailio_app.adapters.kamailio import Stirshaken
from kamailio_app.adapters.parking import Parking
from kamailio_app.credentials.credential import Credential
from kamailio_app.runtime.link import FETCH
from kamailio_app.runtime.service import Service
from tests.fake_ksr import FakeKsr, Message, Mode

from ..builders import X5U, hierarchy, identity, pem, provider
from ..runtime.support import Clock, Keeper, Post, Web, sections_with, toml

ENTRY_POINTS: Final = (
    "stir_sign",
    "stir_verify",
    "stir_resume",
    "stir_tag",
    "stir_park",
    "stir_unpark",
    "stir_fetched",
    "stir_next",
    "stir_keep",
)
RESULTS: Final = ("token", "code", "phrase", "verstat", "attest", "origid")
MORE_RESULTS: Final = ("reason", "rcd_name", "rcd_reason", "rph", "diverted", "replay")


class World:
    """Settings, a pair that signs, trust anchors, a repository, and one Kamailio with as many processes as are started."""

    def __init__(self, mode: Mode, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.ksr = FakeKsr(mode, self.clock)
        self.web = Web()
        self.post = Post(self.web, self.clock)
        self.keeper = Keeper(self.post)
        self.slept = 0.0
        self.directory = directory
        self.path = directory / "stirshaken.toml"
        self.certificates = directory / "certs"
        (directory / "trusted.pem").write_bytes(pem(hierarchy().root.certificate))
        (directory / "pa.pem").write_bytes(pem(hierarchy().policy_root.certificate))
        provider().write(self.certificates, "sp1234")
        self.settings()
        monkeypatch.setattr(kamailio, "KSR", self.ksr)
        orders: Any = self.post
        monkeypatch.setattr(kamailio, "Service", partial(Service, clock=self.clock, sleep=self._sleep, orders=orders))
        monkeypatch.setattr(kamailio, "Keeper", lambda _orders, _log, record: self.keeper)
        monkeypatch.setattr(kamailio, "Parking", partial(Parking, clock=self.clock))
        # The certificates of the tests end in a month, which would be said
        monkeypatch.setattr(kamailio, "_LOOK_EVERY", 1 << 40)
        monkeypatch.setenv(kamailio.SETTINGS_VARIABLE, str(self.path))

    def settings(self, **sections: Mapping[str, Any]) -> None:
        """Write the settings file; `sections` are the deviations."""
        self.path.write_text(toml(sections_with(**sections)), "utf-8")

    def start(self, **sections: Mapping[str, Any]) -> Stirshaken:
        """The first process of a Kamailio."""
        if sections:
            self.settings(**sections)
        stir = Stirshaken(self.path)
        weakref.finalize(stir, stir.service.record.close)
        assert stir.child_init(1) == 0
        self.started = stir.service
        return stir

    def process(self, first: Stirshaken) -> Stirshaken:
        """Another process of the same Kamailio: forked before anything was reloaded."""
        stir = Stirshaken(self.path)
        weakref.finalize(stir, stir.service.record.close)
        stir.service.accepted, stir.service.trust = first.service.accepted, first.service.trust
        stir.port._secret = first.port._secret
        return stir

    def _sleep(self, seconds: float) -> None:
        """A process waits; what it ordered is fetched meanwhile."""
        self.clock.now += seconds
        self.slept += seconds
        self.post.deliver(self.started)

    def call(self, *headers: tuple[str, bytes], **changes: Any) -> Message:
        """The next message: an initial INVITE with these headers."""
        self.ksr.avp.clear()
        self.ksr.message = Message(headers=list(headers), **changes)
        return self.ksr.message

    def signed_call(self, *headers: tuple[str, bytes], value: str | None = None, **changes: Any) -> Message:
        """An INVITE with an Identity header that is right in everything."""
        return self.call(("Identity", (value or identity()).encode()), *headers, **changes)

    def keep(self, stir: Stirshaken) -> None:
        """One turn of the process that keeps the fetch process: what is ordered is fetched, and told."""
        assert stir.stir_keep(None) == 1

    def fetched(self, stir: Stirshaken, url: str = X5U) -> None:
        """It has been fetched before, for whoever."""
        self.post.put(FETCH, stir.service.generation_now, url)
        self.keep(stir)

    def at_hand(self, stir: Stirshaken) -> None:
        """The credential of the signer has been fetched before."""
        self.fetched(stir)
        assert isinstance(stir.service.credentials.get(X5U, self.clock.now), Credential)

    def results(self, *names: str) -> dict[str, str | int]:
        return {name: self.ksr.var.get(f"stir_{name}", 0) for name in names or RESULTS}

    def reload(self) -> None:
        """What the operator does: kamcmd pv.shvSet stirshaken int N."""
        epoch = self.ksr.shv["stirshaken"]
        assert isinstance(epoch, int)
        self.ksr.shv["stirshaken"] = epoch + 1

    def internal_errors(self) -> list[str]:
        return [line for _level, line in self.ksr.logs if "internal_error" in line]
