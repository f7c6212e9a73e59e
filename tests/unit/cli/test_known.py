"""Settings that a command can do without, unless they are named."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kamailio_app.cli.known import settings_if_any


def said(path: Path, arguments: list[str], environment: dict[str, str] | None = None) -> str:
    @click.command()
    @click.option("--settings", type=click.Path(path_type=Path), default=path, envvar="STIRSHAKEN_SETTINGS")
    def command(settings: Path) -> None:
        known = settings_if_any(settings)
        click.echo(known.provider.spc if known else "none")

    result = CliRunner().invoke(command, arguments, env={"STIRSHAKEN_SETTINGS": None, **(environment or {})})
    return result.output.strip() or type(result.exception).__name__


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there.toml").write_text('[provider]\nspc = "1234"\n')
    return tmp_path / "there.toml"


def test_settings_in_the_usual_place_are_read_if_they_are_there(there: Path) -> None:
    assert said(there, []) == "1234"
    assert said(there.with_name("nowhere.toml"), []) == "none"


def test_settings_that_are_named_have_to_be_there(there: Path) -> None:
    nowhere = str(there.with_name("nowhere.toml"))
    assert said(there, ["--settings", nowhere]) == "SettingsRefused"
    assert said(there, [], {"STIRSHAKEN_SETTINGS": nowhere}) == "SettingsRefused"
