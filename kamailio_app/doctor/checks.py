"""All checks, in the order of the table; and what `cfg/DOCTOR.md` says of them: `python -m kamailio_app.doctor.checks`."""

from __future__ import annotations

from typing import Final

from kamailio_app.doctor import clock, files, pairs, publication, python, self_call, server, transport, trust
from kamailio_app.doctor.finding import Check
from kamailio_app.doctor.site import ROOT

_MODULES: Final = (files, pairs, trust, publication, clock, server, python, transport, self_call)
CHECKS: Final[tuple[Check, ...]] = tuple(check for module in _MODULES for check in module.CHECKS)
AREAS: Final = tuple(dict.fromkeys(check.area for check in CHECKS))


_ABOUT: Final = {module.AREA: (module.__doc__ or "").partition("\n")[0] for module in _MODULES}
_HOME: Final = "/opt/kamailio-stirshaken"  # as cfg/README.md installs it


def table() -> str:
    """In Markdown, an area after the other."""
    lines: list[str] = []
    for area in AREAS:
        lines += [f"### {area}", "", _ABOUT[area], "", "| check | looks at | what to do | from |", "|---|---|---|---|"]
        lines += [f"| {check.name} | {check.about} | {check.fix} | {check.clause} |" for check in CHECKS if check.area == area]
        lines.append("")
    return "\n".join(lines).replace(str(ROOT), _HOME)


if __name__ == "__main__":
    print(table(), end="")
