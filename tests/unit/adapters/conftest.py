"""The world of each test, in both manners of KSR; in the end nothing may be amiss that Kamailio would not have said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_ksr import MODES

from .desk import OPEN, Desk
from .support import World


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(request.param, tmp_path, monkeypatch)
    yield world
    assert world.ksr.violations == []
    assert world.ksr.held == []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
