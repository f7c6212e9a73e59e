"""Whom an edge trusts, seen from beside: what the edge itself has, and what is left where it would not start."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.runtime.service import Service
from kamailio_app.runtime.settings import Settings, load
from kamailio_app.runtime.trusted import CA_FILE, STI_PA_CA_FILE, Trusted

from ..builders import evil, hierarchy, provider
from .support import LISTS, sourced, toml, trust


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Roots of one's own, and lists of an STI-PA on disk that has another."""
    (tmp_path / "own.pem").write_bytes(evil().root.pem)
    (tmp_path / "pa.pem").write_bytes(hierarchy().policy_root.pem)
    text = toml({"verification": {"ca_file": "own.pem"}, "trust": LISTS, "cache": {"state_dir": "state"}})
    (tmp_path / "stirshaken.toml").write_text(text)
    known = load(tmp_path / "stirshaken.toml")
    sourced(trust([hierarchy().root.certificate], [provider().certificate]), tmp_path).to_disk(tmp_path / "state")
    return known


def test_it_is_what_the_edge_has(settings: Settings) -> None:
    held = Trusted(settings)
    table: Any = {}
    with closing(Service(settings.path, table)) as service:
        assert held.anchors.fingerprints == service.anchors.fingerprints
        assert held.revocations == service._revocations is not None
    own, listed = TrustAnchors([evil().root.certificate]), TrustAnchors([hierarchy().root.certificate])
    assert held.own.fingerprints == own.fingerprints
    assert held.anchors.fingerprints == own.fingerprints | listed.fingerprints
    assert held.sti_pa.certificates == (hierarchy().policy_root.certificate,)
    assert held.problems == {}


@pytest.mark.parametrize(("name", "option"), [("own.pem", CA_FILE), ("pa.pem", STI_PA_CA_FILE)])
@pytest.mark.parametrize("octets", [None, b"junk"])
def test_roots_that_cannot_be_read_are_a_problem_and_trusted_is_nothing_for_them(
    settings: Settings, tmp_path: Path, name: str, option: str, octets: bytes | None
) -> None:
    (tmp_path / name).unlink()
    if octets is not None:
        (tmp_path / name).write_bytes(octets)
    held = Trusted(settings)
    (problem,) = held.problems.values()
    assert (list(held.problems), problem.token) == ([option], "option_invalid")
    assert problem.detail.startswith(f"{option}: ")
    # Without the STI-PA's roots its lists are nobody's
    assert len(held.anchors) == 1
    assert (held.trust_list is None) is (option == STI_PA_CA_FILE)
