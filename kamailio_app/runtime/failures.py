"""The table of failures for the documentation: `python -m kamailio_app.runtime.failures`."""

from __future__ import annotations

from kamailio_app.errors import FAILURES
from kamailio_app.policy.codes import PROFILES


def table() -> str:
    """All failures of verification in Markdown: what each is, what each profile answers, what to do."""
    lines = [
        f"| token | meaning | clause | {' | '.join(PROFILES)} | verstat | what to do |",
        "|---" * (5 + len(PROFILES)) + "|",
    ]
    for token, row in FAILURES.items():
        if row.error.code:
            codes = [str(profile.answer(token).code) for profile in PROFILES.values()]
            lines.append(f"| `{token}` | {row.meaning} | {row.clause} | {' | '.join(codes)} | {row.verstat} | {row.advice} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
