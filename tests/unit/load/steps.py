"""A clean step by default; a test passes only its deviation."""

from __future__ import annotations

from typing import Any

from tests.load.step import Step


def step(**deviation: Any) -> Step:
    members: dict[str, Any] = {
        "kind": "relay",
        "workers": 1,
        "purpose": "climb",
        "started_s": 0.0,
        "seconds": 2.0,
        "offered_per_s": 100.0,
        "achieved_per_s": 100.0,
        "calls": 2000,
        "failed": 0,
        "retransmissions": 0,
        "p50_ms": 2.0,
        "p90_ms": 3.0,
        "p99_ms": 4.0,
        "p999_ms": 5.0,
        "max_ms": 6.0,
        "cpu_us_per_call": 150.0,
        "workers_cpu_us_per_call": 140.0,
        "worker_share": 0.3,
        "caller_share": 0.2,
        "callee_share": 0.2,
        "machine_idle": 0.5,
        "machine_others": 0.0,
        "rss_kib": 40000,
        "pss_kib": 20000,
        "anonymous_kib": 10000,
        "descriptors": 80,
        "system_drops": 0,
        "generator_drops": 0,
    }
    return Step(**{**members, **deviation})
