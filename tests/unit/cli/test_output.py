"""What all commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kamailio_app.cli.main import main
from kamailio_app.cli.output import UNUSABLE, fail
from kamailio_app.errors import FAILURES, failure


def test_failure_is_said_with_what_to_do_and_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fail(failure("credential_malformed", "\x1b]0;owned\x07 of a peer\r\n  in two lines\x9b" + "x" * 5000))
    assert ended.value.code == UNUSABLE
    said = capsys.readouterr().err
    first, second, advice = said.splitlines()
    assert first == "credential_malformed: \\x1b]0;owned\\x07 of a peer\\x0d"
    assert second.startswith("  in two lines\\x9bxxx")
    assert len(second) < 1200
    assert advice == FAILURES["credential_malformed"].advice


def test_advice_of_the_case_goes_before_that_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail(failure("acme_unreachable", "no route", "Look at this one.\nThen at \x1b that."))
    assert capsys.readouterr().err.splitlines() == ["acme_unreachable: no route", "Look at this one.", "Then at \\x1b that."]


def test_settings_that_are_not_there_say_what_to_copy_where(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sti-pa", "login", "--settings", str(tmp_path / "nosuch.toml")])
    said, advice = result.stderr.splitlines()
    assert (result.exit_code, said) == (3, f"settings_unreadable: {tmp_path / 'nosuch.toml'}: No such file or directory")
    for words in ("cfg/stirshaken.toml", "--settings", "STIRSHAKEN_SETTINGS"):
        assert words in advice
