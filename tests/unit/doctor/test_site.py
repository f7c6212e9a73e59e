"""Settings that are wrong are a finding, and the rest is looked at as far as it can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kamailio_app.doctor.finding import NotLookedAt
from kamailio_app.doctor.site import Site, leniently
from kamailio_app.errors import StirError

from .clinic import Clinic

MISTAKES = """
[signing]
attest_level = "D"  # not this
certificate_dir = "keys"
[logs]
calls = true
[verification]
ca_fill = "x"
[trust]
crl_url = "https://pa.example.test/crl"
"""


def test_every_mistake_is_found_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    path.write_text(MISTAKES)
    found, mistakes = leniently(path)
    named = ("[logs]", "attest_level", "ca_fill", "crl_url")
    assert {word for error in mistakes for word in named if word in error.detail} == {*named}
    assert len(mistakes) == len(named)
    assert found is not None
    assert (found.certificate_dir, found.trust.crl_url) == (tmp_path / "keys", "")


@pytest.mark.parametrize(("text", "token"), [(None, "settings_unreadable"), ("[signing", "settings_malformed")])
def test_what_cannot_be_read_at_all_is_one_mistake(tmp_path: Path, text: str | None, token: str) -> None:
    path = tmp_path / "stirshaken.toml"
    if text is not None:
        path.write_text(text)
    found, mistakes = leniently(path)
    assert (found, [error.token for error in mistakes]) == (None, [token])
    with pytest.raises(NotLookedAt):
        _ = Site(path).settings


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='[]={}"#.\n ab_signing certificate', max_size=200) | st.text(max_size=60))
def test_any_text_is_settings_or_mistakes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stirshaken.toml"
    path.write_text(text, "utf-8", errors="replace")
    found, mistakes = leniently(path)
    assert found is not None or mistakes
    assert all(isinstance(error, StirError) for error in mistakes)


def test_option_over_several_lines_is_no_endless_loop(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    path.write_text('[x5u]\nx5u_ports = [\n  "a",\n  "b",\n]\n')
    found, mistakes = leniently(path)
    assert found is None
    assert [error.token for error in mistakes] == ["option_invalid", "settings_malformed"]


def test_user_is_the_running_servers_else_kamailio(clinic: Clinic) -> None:
    clinic.server.listed = {1: "main process - attendant"}
    assert clinic.site(user="").runs_as.uid == 0
    with pytest.raises(NotLookedAt, match="there is no user nobody-here"):
        _ = clinic.site(user="nobody-here").runs_as
