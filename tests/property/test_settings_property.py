"""The settings file: any text is a set of checked values or refused, with the file's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.errors import FAILURES, SettingsRefused
from kamailio_app.runtime.options import SECTIONS
from kamailio_app.runtime.settings import Settings, load

from .support import PROPERTY, any_text, attempt

OPTIONS = [option.name for _title, options in SECTIONS.values() for option in options]
VALUES = [
    "true",
    "false",
    "0",
    "1",
    "-1",
    "60",
    "1e9",
    "nan",
    "inf",
    '""',
    '"A"',
    '"pai"',
    '"https://h/{name}"',
    "[]",
    "[443]",
    "{}",
    '["10.0.0.0/8"]',
    '["192.0.2.53:53"]',
    '["911"]',
    '"https://h/"',
    '"hard"',
]
FRAGMENTS = [
    *(f"[{section}]\n" for section in (*SECTIONS, "trunk", "trunk.a", 'trunk."b c"')),
    *(f"{option} = " for option in OPTIONS),
    *(f"{value}\n" for value in VALUES),
    *("\n", "=", "[", "]", '"', "#", "1979-05-27", "\\u0000", "[[signing]]\n", "a.b = 1\n"),
]


def _loaded(path: Path, octets: bytes) -> Settings | None:
    path.write_bytes(octets)
    settings, token = attempt(load, path)
    if settings is None:
        assert FAILURES[token].error is SettingsRefused
        with pytest.raises(SettingsRefused, match=re.escape(str(path))):
            load(path)
    return settings


@PROPERTY
@given(octets=st.binary() | any_text(FRAGMENTS).map(lambda text: text.encode("utf-8", "replace")))
@example(octets=b"[signing]\nattest_level = 1\n")
@example(octets=b"\xff")
@example(octets=b"signing = 1\n")
def test_any_text_is_settings_or_refused(tmp_path: Path, octets: bytes) -> None:
    _loaded(tmp_path / "stirshaken.toml", octets)


@PROPERTY
@given(option=st.sampled_from(OPTIONS), value=st.sampled_from(VALUES) | st.text(max_size=20).map(repr))
def test_any_value_of_any_option_is_taken_or_refused(tmp_path: Path, option: str, value: str) -> None:
    section = next(name for name, (_title, options) in SECTIONS.items() if option in (o.name for o in options))
    path = tmp_path / "stirshaken.toml"
    loaded = _loaded(path, f"[{section}]\n{option} = {value}\n".encode("utf-8", "replace"))
    elsewhere = _loaded(path, f"[nowhere]\n{option} = {value}\n".encode("utf-8", "replace"))
    assert elsewhere is None
    assert loaded is None or loaded.path == path


def test_empty_file_has_every_default(tmp_path: Path) -> None:
    assert _loaded(tmp_path / "stirshaken.toml", b"") is not None
