"""The checklists for the documentation: `python -m kamailio_app.lifecycle.checklist_table`."""

from __future__ import annotations

from collections.abc import Iterator

from kamailio_app.lifecycle.checklist import Fact, Field, Step
from kamailio_app.lifecycle.checklist_steps import COUNTRIES

_NAMES = {"US": "United States", "CA": "Canada", "FR": "France"}


def tables() -> str:
    """All checklists in Markdown: a table of the steps, and what is known of them, each with its source."""
    return "\n".join(line for country, steps in COUNTRIES.items() for line in _country(country, steps)) + "\n"


def _country(country: str, steps: tuple[Step, ...]) -> Iterator[str]:
    yield f"### {_NAMES[country]}: `--country {country}`"
    yield ""
    yield "| step | what it is | needs | where | what you note | what is checked here | commands |"
    yield "|---|---|---|---|---|---|---|"
    for step in steps:
        cells = (
            f"`{step.id}`",
            f"{step.title}. {step.purpose}",
            ", ".join(f"`{need}`" for need in step.needs),
            step.where + (f"; {step.takes}" if step.takes else ""),
            "; ".join(map(_field, step.fields)),
            step.checked,
            "<br>".join(f"`{command}`" for command in step.commands),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    for step in steps:
        yield from (f"- `{step.id}`: {_fact(fact)}" for fact in step.facts)
    yield ""


def _field(field: Field) -> str:
    return f"`{field.name}=` {field.what}: {field.form} ({field.source})"


def _fact(fact: Fact) -> str:
    source = f"{fact.source}{f', {fact.as_of}' if fact.as_of else ''}"
    return f"{fact.text} ({source}{'' if fact.confirmed else '; **not confirmed**'})"


if __name__ == "__main__":
    print(tables(), end="")
