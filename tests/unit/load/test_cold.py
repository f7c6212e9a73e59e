"""The report of cold calls, and the certificates that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, validate
from kamailio_app.lab.pki import Hierarchy
from tests.load import cold
from tests.load.cold import Cold, Level, Phase
from tests.load.repository import certificates
from tests.unit.builders import NOW


def phase(**deviation: Any) -> Phase:
    members: dict[str, Any] = {
        "name": "cold, step",
        "offered_per_s": 50.0,
        "achieved_per_s": 50.0,
        "calls": 1000,
        "failed": 0,
        "retransmissions": 0,
        "fetched": 1000,
        "tokens": {},
        "p50_ms": 10.0,
        "p90_ms": 20.0,
        "p99_ms": 30.0,
        "p999_ms": 40.0,
        "max_ms": 50.0,
        "in_flight": 7,
        "cpu_us_per_call": 7000.0,
        "repository_us_per_call": 2000.0,
        "machine_idle": 0.5,
    }
    return Phase(**{**members, **deviation})


@pytest.mark.parametrize(
    ("deviation", "clean"),
    [
        ({}, True),
        ({"retransmissions": 1}, True),
        ({"retransmissions": 2}, False),
        ({"failed": 1}, False),
        ({"tokens": {"x5u_timeout": 1}}, False),
        ({"p99_ms": 501.0}, False),
        ({"p99_ms": None}, False),
    ],
)
def test_clean_phase(deviation: dict[str, Any], clean: bool) -> None:
    assert phase(**deviation).clean is clean


def made(phases: tuple[Phase, ...], best: float = 50.0, levels: tuple[Level, ...] = ()) -> Cold:
    return Cold("2026-11-23 12:00 UTC", "command", {}, {}, 2000, 2000, 1, best, phases, levels)


@pytest.mark.parametrize(
    ("deviation", "best", "words"),
    [
        ({}, 50.0, []),
        ({"failed": 9}, 50.0, []),
        ({}, 0.0, ["no rate of cold calls was clean"]),
        ({"name": "cold, the rest", "failed": 9}, 50.0, ["cold, the rest: 9 calls failed"]),
    ],
)
def test_run_without_clean_rate_or_with_failed_calls_is_wrong(deviation: dict[str, Any], best: float, words: list[str]) -> None:
    assert cold.wrong(made((phase(**deviation),), best)) == words


def test_report_has_tokens_and_the_most_calls_of_a_clean_phase(tmp_path: Path) -> None:
    phases = (phase(), phase(in_flight=900, failed=9, tokens={"x5u_timeout": 9}))
    levels = (Level("before the first call", 1, 2, 3.0, 4),)
    run = made(phases, levels=levels)
    cold.write(run, tmp_path, [1.0, 2.0, 30.0])
    text = (tmp_path / "report.md").read_text()
    assert "at most 7 calls waited at once" in text
    assert "x5u_timeout 9" in text
    assert "x5u_timeout=9" in (tmp_path / "phases.csv").read_text()
    assert "data:image/png" in (tmp_path / "report.html").read_text()


def test_every_certificate_is_another_one_and_valid(tmp_path: Path) -> None:
    hierarchy = Hierarchy(NOW)
    hierarchy.service_provider().write(tmp_path, "provider")
    hierarchy.intermediate.write(tmp_path, "issuer")
    anchors = TrustAnchors(parse_chain(hierarchy.root.pem, limit=1))
    chains = certificates(tmp_path, 3)
    assert len({validate(chain, anchors, NOW).fingerprint for chain in chains}) == 3
