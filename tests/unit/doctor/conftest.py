"""A clinic for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .clinic import Clinic, opened


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    with opened(tmp_path, monkeypatch) as made:
        yield made
