"""The plots of a throughput run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tests.load import headline
from tests.load.kinds import BY_NAME, KINDS, Software
from tests.load.page import Plot
from tests.load.step import Step

PERCENTILES: Final = (("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"))
SHADES: Final = ("#9ecae1", "#6baed6", "#2171b5", "#08306b")
COLOURS: Final = {Software.NONE: "#8c93a1", Software.OURS: "#1b7f5c", Software.SECSIPID: "#c8662b"}
PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")
STYLE: Final[Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ec",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 130,
}


def figure(width: float, height: float) -> Figure:
    """A figure in the reports' style; no window is opened."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path: Path) -> None:
    with mpl.rc_context(STYLE):
        drawn.savefig(path, metadata={"Software": None})


def draw(directory: Path, steps: Sequence[Step]) -> list[Plot]:
    """Write the PNGs of a run into the directory."""
    drawn = [_latency(directory, steps, workers) for workers in sorted({step.workers for step in steps})]
    return [*drawn, *_cpu(directory, steps), _memory(directory, steps)]


def _latency(directory: Path, steps: Sequence[Step], workers: int) -> Plot:
    climbs = {step.kind for step in steps if step.workers == workers and step.purpose == "climb"}
    kinds = [kind for kind in KINDS if kind.name in climbs]
    columns = min(3, len(kinds))
    lines = -(-len(kinds) // columns)
    with mpl.rc_context(STYLE):
        whole = figure(max(7, 4 * columns), 2.7 * lines + 0.5)
        axes = whole.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        flat = [each for line in axes for each in line]
        for ax, kind in zip(flat, kinds, strict=False):
            own = [step for step in steps if step.kind == kind.name and step.workers == workers and step.purpose == "climb"]
            _panel(ax, sorted(own, key=lambda step: step.offered_per_s), headline.best(steps, kind.name, workers))
            ax.set_title(kind.title.replace(": ", ":\n"), fontsize=9, loc="left")
        for ax in flat[len(kinds) :]:
            ax.set_visible(False)
        for line in axes:
            line[0].set_ylabel("INVITE to 200, ms")
        for ax in flat[max(0, len(kinds) - columns) : len(kinds)]:
            ax.set_xlabel("offered calls/s")
            ax.tick_params(labelbottom=True)
        handles, labels = flat[0].get_legend_handles_labels()
        whole.legend(handles, labels, loc="outside upper right", ncols=len(labels))
        name = f"latency-{workers}.png"
        save(whole, directory / name)
    return Plot(
        name, f"Offered rate against response time, {workers} worker{'s' if workers > 1 else ''}; x: a limit was crossed"
    )


def _panel(ax: Axes, steps: Sequence[Step], best: float) -> None:
    # Of a rate that was tried twice the second
    steps = [step for step in {step.offered_per_s: step for step in steps}.values() if step.p99_ms is not None]
    if not steps:
        ax.text(0.5, 0.5, "no call was answered", transform=ax.transAxes, ha="center")
        return
    rates = [step.offered_per_s for step in steps]
    for (label, name), colour in zip(PERCENTILES, SHADES, strict=True):
        ax.plot(rates, [getattr(step, name) for step in steps], color=colour, label=label, linewidth=1.4)
    clean = [step for step in steps if step.clean]
    bad = [step for step in steps if not step.clean]
    ax.plot([s.offered_per_s for s in clean], [s.p99_ms or 0 for s in clean], "o", color=SHADES[2], markersize=3.5)
    ax.plot([s.offered_per_s for s in bad], [s.p99_ms or 0 for s in bad], "x", color="#c1272d", markersize=6)
    if best:
        ax.axvline(best, color="#1b7f5c", linewidth=1, linestyle="--", label="highest clean")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.yaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_formatter(NullFormatter())


def _cpu(directory: Path, steps: Sequence[Step]) -> list[Plot]:
    rows = [row for row in headline.rows(steps) if row.cpu is not None]
    if not rows:
        return []
    with mpl.rc_context(STYLE):
        whole = figure(9.5, 0.34 * len(rows) + 1.2)
        ax = whole.subplots()
        places = range(len(rows), 0, -1)
        for place, row in zip(places, rows, strict=True):
            assert row.cpu is not None
            cpu, added = row.cpu.median, max(row.added.median, 0.0) if row.added else 0.0
            ax.barh(place, cpu - added, color="#c9cdd6", height=0.72)
            ax.barh(place, added, left=cpu - added, color=COLOURS[row.kind.software], height=0.72)
            ax.plot([row.cpu.low, row.cpu.high], [place, place], color="#20242c", linewidth=1)
            ax.text(row.cpu.high, place, f" {cpu:.0f}" + (f" (+{row.added.median:.0f})" if row.added else ""), va="center")
        ax.set_yticks(list(places), [f"{row.kind.title}, {row.workers} w." for row in rows])
        ax.set_xlabel(
            "CPU microseconds per call, all processes of the edges; coloured: added to relaying; line: lowest to highest"
        )
        ax.margins(x=0.12)
        ax.grid(visible=False, axis="y")
        save(whole, directory / "cpu.png")
    return [Plot("cpu.png", "CPU time per call at the rate where it was compared: medians")]


def _memory(directory: Path, steps: Sequence[Step]) -> Plot:
    with mpl.rc_context(STYLE):
        whole = figure(9.5, 4)
        ax = whole.subplots()
        dashes = dict(zip(sorted({step.workers for step in steps}), ("-", "--", ":", "-."), strict=False))
        shades = mpl.colormaps["tab10"]
        for number, kind in enumerate(kind for kind in KINDS if kind.name != "direct"):
            for workers, dash in dashes.items():
                own = [
                    step for step in steps if (step.kind, step.workers) == (kind.name, workers) and step.purpose != "compare"
                ]
                if not own:
                    continue
                ax.plot(
                    [step.started_s + step.seconds - own[0].started_s for step in own],
                    [step.anonymous_kib / 1024 / _count(step) for step in own],
                    dash,
                    marker="o",
                    markersize=2.5,
                    linewidth=1.2,
                    color=shades(number),
                    label=f"{kind.name}, {workers} w.",
                )
        ax.set_xlabel("seconds since the edge took its first call")
        ax.set_ylabel("anonymous memory per SIP worker, MiB")
        ax.set_ylim(0, 1.15 * max((step.anonymous_kib / 1024 / _count(step) for step in steps), default=0) or 1)
        if ax.lines:
            whole.legend(loc="outside right center")
        save(whole, directory / "memory.png")
    caption = "Anonymous memory of a SIP worker as its ladder goes on; an edge starts anew after a step that crossed a limit"
    return Plot("memory.png", caption)


def _count(step: Step) -> int:
    """SIP workers of all edges of the step."""
    return step.workers * max(1, len(BY_NAME[step.kind].base))
