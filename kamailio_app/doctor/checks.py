"""All checks, in the order of the table; and what `cfg/DOCTOR.md` says of them: `python -m kamailio_app.doctor.checks`."""

from __future__ import annotations

from typing import Final

from kamailio_app.doctor import clock, files, pairs, publication, python, self_call, server, transport, trust
from kamailio_app.doctor.finding import Check

CHECKS: Final[tuple[Check, ...]] = (
    *files.CHECKS,
    *pairs.CHECKS,
    *trust.CHECKS,
    *publication.CHECKS,
    *clock.CHECKS,
    *server.CHECKS,
    *python.CHECKS,
    *transport.CHECKS,
    *self_call.CHECKS,
)
AREAS: Final = tuple(dict.fromkeys(check.area for check in CHECKS))


def table() -> str:
    """In Markdown."""
    lines = ["| area | check | looks at | fix | from |", "|---|---|---|---|---|"]
    lines += [f"| {c.area} | {c.name} | {c.about} | {c.fix} | {c.clause} |".replace("$(", "\\$(") for c in CHECKS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
