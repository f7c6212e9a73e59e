"""Settings that a command can do without."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from kamailio_app.runtime.settings import Settings, load


def settings_if_any(path: Path) -> Settings | None:
    """None if there are none in the usual place and nobody named another. Errors: those of `settings.load`."""
    named = click.get_current_context().get_parameter_source("settings") is not ParameterSource.DEFAULT
    return load(path) if named or path.exists() else None
