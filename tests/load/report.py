"""The report of a throughput run: report.json and steps.csv hold everything, the rest is rendered from the JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from tests.load import headline, plots
from tests.load.kinds import Kind
from tests.load.page import Block, Heading, Page, Plot, Table, Text, markdown_table
from tests.load.step import Lengths, Limit, Limits, Step, shown

TITLE: Final = "Throughput of a SIP edge with STIR/SHAKEN, end to end"
JSON, CSV = "report.json", "steps.csv"

_MEANING: Final = (
    "A step is clean if no call failed, at most {retransmissions:.1%} as many messages as calls were retransmitted, 99 % of "
    "the calls were answered within {p99_ms:g} ms, and at least {achieved:.0%} of the offered rate was achieved. Whose "
    "limit a step met: the load generator's if a SIPp had no time left, the system's if its workers had none, other "
    "processes' if these took more than a tenth of the cores, the machine's if all cores were busy, else of whoever's "
    "socket lost datagrams to a burst."
)
_LENGTHS: Final = (
    "A step of a ladder has {climb:g} s of calls. The highest clean rate is one that was clean for {confirm:g} s as well; if "
    "it was not, a lower one was confirmed. A finished transaction stays in memory for 5 s."
)
_COMPARED: Final = (
    "All kinds at one rate, {repetitions} times {compare:g} s each. Their edges live side by side, are warm and take turns, so "
    "that a change of the machine meets all of them. Median (lowest to highest). CPU time is that of all processes of the "
    "edges, from the scheduler. Added: less what the same relaying costs without STIR/SHAKEN in the same round (of two edges: "
    "relay plus relay with Identity). Carrying the Identity: what relaying costs more if the INVITE brings an Identity along, "
    "which is in what signing adds. Times ours: what secsipid adds against what we add for the same work. SIP workers: their "
    "part alone, without timers, processes that fetch, and the rest."
)
_COLUMNS_MEAN: Final = (
    "CPU us: of all processes of the edges, and of their SIP workers, per call. Worker, Caller, Callee: CPU time as a share of "
    "one core. Idle, Others: of all cores; others are neither the edges nor SIPp. Lost: datagrams at the edges' sockets and at "
    "SIPp's. Memory and descriptors are of all SIP workers together; RSS and PSS hold the shared memory that they touched, "
    "where finished transactions stay for five seconds; anonymous memory is their heap and stacks."
)


@dataclass(frozen=True)
class Report:
    """A run. `date` in UTC; `limits` that a clean step keeps."""

    date: str
    command: str
    seconds: float
    machine: dict[str, str]
    versions: dict[str, str]
    limits: Limits
    lengths: Lengths
    steps: tuple[Step, ...]

    def write(self, directory: Path) -> None:
        """report.json, steps.csv, the plots, report.md and report.html."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / JSON).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_rows(directory / CSV, [asdict(step) for step in self.steps], [field.name for field in fields(Step)])
        page(self, plots.draw(directory, self.steps)).write(directory)

    @classmethod
    def read(cls, path: Path) -> Report:
        """From report.json."""
        members: dict[str, Any] = json.loads(path.read_text())
        steps = tuple(Step(**{**step, "limit": Limit(step["limit"])}) for step in members["steps"])
        members = {**members, "steps": steps, "limits": Limits(**members["limits"]), "lengths": Lengths(**members["lengths"])}
        return cls(**members)


def write_rows(path: Path, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """A CSV file with a head; floats with six digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow([f"{row[name]:.6g}" if isinstance(row[name], float) else row[name] for name in names])


def headline_table(report: Report) -> str:
    """The table that the README has, with what it depends on."""
    words = [block.text for block in disturbed(report.steps)]
    return "\n\n".join([markdown_table(_headline(report)), depends(report), *words])


def _headline(report: Report) -> Table:
    return Table(headline.HEAD, [headline.cells(row) for row in headline.rows(report.steps)])


def _compared(report: Report) -> list[Block]:
    """CPU time of all processes and of the SIP workers alone."""
    lines = []
    for row in headline.rows(report.steps):
        if row.cpu is None:
            continue
        figures = [
            headline.spread(headline.Spread.of(measured(report.steps, row.kind, row.workers, whose)))
            for measured in (_cpu, headline.added, headline.carrying)
            for whose in (headline.ALL, headline.WORKERS)
        ]
        lines.append([row.kind.title, str(row.workers), f"{headline.common_rate(report.steps, row.workers):g}", *figures])
    if not lines:
        return []
    head = ("Kind", "Workers", "Calls/s", "CPU us", "SIP workers", "Added us", "SIP workers", "Carrying us", "SIP workers")
    text = _COMPARED.format(**asdict(report.lengths))
    return [Heading("CPU time compared"), Text(text), Table(head, lines)]


def _cpu(steps: Sequence[Step], kind: Kind, workers: int, whose: str) -> list[float]:
    return headline.compared(steps, kind.name, workers, whose)


def depends(report: Report) -> str:
    """One line: when, where, with what."""
    machine, versions = report.machine, report.versions
    rates = [
        f"{rate:g}/s with {workers} worker{'s' if workers > 1 else ''}"
        for workers in sorted({step.workers for step in report.steps})
        if (rate := headline.common_rate(report.steps, workers))
    ]
    compared = f" CPU time compared at {', '.join(rates)}: median (lowest to highest)." if rates else ""
    return (
        f"{report.date[:10]}, {machine['CPU']}, {machine['Cores']} cores shared by SIPp and the edges, "
        f"Kamailio {versions['Kamailio']}, Python {versions['Python in Kamailio']}, SIPp {versions['SIPp']}, "
        f"secsipid {versions['secsipid package']}.{compared}"
    )


def page(report: Report, drawn: Sequence[Plot]) -> Page:
    limits = report.limits
    blocks: list[Block] = [
        _headline(report),
        Text(depends(report)),
        *disturbed(report.steps),
        Text(_MEANING.format(**asdict(limits))),
        Text(_LENGTHS.format(**asdict(report.lengths))),
        *_compared(report),
    ]
    for plot in drawn:
        blocks.append(plot)
    blocks += [Heading("Steps"), Text(_COLUMNS_MEAN), steps_table(report.steps), Heading("Run"), facts(report)]
    return Page(TITLE, blocks)


_DISTURBED: Final = 0.05


def disturbed(steps: Sequence[Step]) -> list[Text]:
    """A warning if other processes took CPU time from the measured ones."""
    noisy = sum(step.machine_others > _DISTURBED for step in steps)
    if not noisy:
        return []
    return [
        Text(
            f"Disturbed: in {noisy} of {len(steps)} steps other processes took more than {_DISTURBED:.0%} of the cores. "
            "These figures are not those of a quiet machine."
        )
    ]


_COLUMNS: Final = (
    "Kind",
    "Ended",
    "Workers",
    "Offered/s",
    "Achieved/s",
    "Calls",
    "Failed",
    "Retrans.",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "Max ms",
    "CPU us",
    "of workers",
    "Worker",
    "Caller",
    "Callee",
    "Idle",
    "Others",
    "Lost",
    "RSS MiB",
    "PSS MiB",
    "Anonymous MiB",
    "FDs",
)


def steps_table(steps: Sequence[Step]) -> Table:
    return Table(
        _COLUMNS,
        [
            [
                step.kind if step.purpose == "climb" else f"{step.kind} ({step.purpose})",
                f"{step.limit}: {step.crossed}" if step.crossed else "clean",
                str(step.workers),
                f"{step.offered_per_s:g}",
                f"{step.achieved_per_s:.0f}",
                str(step.calls),
                str(step.failed),
                str(step.retransmissions),
                *(shown(value) for value in (step.p50_ms, step.p90_ms, step.p99_ms, step.p999_ms, step.max_ms)),
                f"{step.cpu_us_per_call:.0f}",
                f"{step.workers_cpu_us_per_call:.0f}",
                *(f"{share:.0%}" for share in (step.worker_share, step.caller_share, step.callee_share)),
                *(f"{share:.0%}" for share in (step.machine_idle, step.machine_others)),
                f"{step.system_drops}+{step.generator_drops}",
                *(f"{kib / 1024:.1f}" for kib in (step.rss_kib, step.pss_kib, step.anonymous_kib)),
                str(step.descriptors),
            ]
            for step in steps
        ],
        left=2,
    )


def facts(report: Report) -> Table:
    """Machine, versions, command."""
    rows = {"Date": report.date, "Command": report.command, "Seconds": f"{report.seconds:.0f}"}
    return Table(("", ""), [[name, value] for name, value in {**rows, **report.machine, **report.versions}.items()], left=2)
