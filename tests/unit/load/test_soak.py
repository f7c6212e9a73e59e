"""The report of a soak: a leak is called so, a short run is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.load import soak
from tests.load.__main__ import duration
from tests.load.files import Counts
from tests.load.slope import Verdict
from tests.load.soak import Sample, Soak


def made(seconds: float, growth_kib_per_hour: float) -> Soak:
    moments = [seconds * index / 200 for index in range(201)]
    grown = [50_000 + round(growth_kib_per_hour * moment / 3600) + index % 3 for index, moment in enumerate(moments)]
    samples = tuple(
        Sample(moment, int(moment * 100), 0, 0, kib * 2, kib, kib, 6000.0, 10, 900.0, 80, 20)
        for moment, kib in zip(moments, grown, strict=True)
    )
    series = {"signing: udp receiver": tuple(grown), "signing: timer": (400,) * 201}
    latency = {"p50": 2.0, "max": None}
    return Soak("2026-11-23 12:00 UTC", "command", {"CPU": "A CPU"}, {}, 100, 2, seconds, latency, samples, series)


@pytest.mark.parametrize(
    ("seconds", "growth", "expected"),
    [(14400, 0, Verdict.NO_LEAK), (14400, 2000, Verdict.LEAK), (90, 2000, Verdict.UNDECIDED)],
)
def test_verdict_of_a_soak(seconds: float, growth: float, expected: Verdict) -> None:
    judged = {each.name: each.verdict for each in soak.judge(made(seconds, growth))}
    assert judged["signing: udp receiver, anonymous"] is expected
    assert judged["all processes, anonymous"] is expected


def test_report_names_what_leaks(tmp_path: Path) -> None:
    soak.write(made(14400, 2000), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "Leak: all processes, anonymous, all processes, PSS, signing: udp receiver, anonymous." in text
    assert "signing: timer" not in text
    assert (tmp_path / "samples.csv").read_text().count("\n") == 202
    assert "data:image/png" in (tmp_path / "report.html").read_text()


def test_leak_and_failed_calls_are_wrong() -> None:
    assert soak.wrong(made(14400, 0)) == []
    assert soak.wrong(made(90, 2000)) == []
    assert soak.wrong(made(14400, 2000))[0] == "leak: all processes, anonymous"
    whole = made(14400, 0)
    failed = replace(whole, samples=(*whole.samples[:-1], replace(whole.samples[-1], failed=3)))
    assert soak.wrong(failed) == ["3 calls failed"]


def test_soak_that_ends_early_is_an_error() -> None:
    soak.complete(Counts(100, 99, 1, 0, {}), 100, "")
    with pytest.raises(RuntimeError, match="99 of 100 calls were placed\nits words"):
        soak.complete(Counts(99, 99, 0, 0, {}), 100, "its words")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("4h", 14400), ("1.5h", 5400)])
def test_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "4d", "0s", "-1h"])
def test_no_duration(text: str) -> None:
    with pytest.raises(Exception, match="a number and s, m or h"):
        duration(text)
