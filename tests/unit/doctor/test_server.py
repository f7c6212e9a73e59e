"""What is asked of a running Kamailio, and what is read of its configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kamailio_app.doctor.configuration import text_of
from kamailio_app.doctor.examination import examine
from kamailio_app.doctor.finding import NotLookedAt, State
from kamailio_app.doctor.server import _epoch
from kamailio_app.errors import failure
from kamailio_app.lifecycle.server import Kamailio

from .clinic import Clinic


def test_server_that_does_not_answer_is_bad_once_and_says_how_it_would(clinic: Clinic) -> None:
    clinic.server.gone = True
    version, *others = clinic.findings("server", "transport")
    assert (version.check, version.state) == ("version", State.BAD)
    assert version.seen == "no Kamailio answers: unix:/nowhere: connection refused"
    assert "systemctl status kamailio" in version.fix
    assert "--no-server" in version.fix
    assert {each.state for each in others} == {State.UNSEEN}
    assert all('loadmodule "ctl.so"' in each.fix for each in (version, *others))


@pytest.mark.parametrize("options", [{"offline": True}, {"served": False}])
def test_server_that_nobody_misses_is_no_judgement(clinic: Clinic, options: dict[str, bool]) -> None:
    clinic.server.gone = True
    assert {each.state for each in clinic.findings("server", **options)} == {State.UNSEEN}


def test_server_that_is_not_to_run_here_is_not_asked(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clinic.server, "rpc", None)
    assert {each.seen for each in clinic.findings("server", served=False)} == {"no Kamailio is asked (--no-server)"}


def test_server_without_settings_is_no_judgement(clinic: Clinic) -> None:
    clinic.server.gone = True
    site = clinic.site()
    clinic.settings.unlink()
    assert {each.state for each in examine(site, ["server"])} == {State.UNSEEN}


def test_server_that_goes_away_meanwhile_is_no_judgement(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> frozenset[str]:
        raise failure("server_unreachable", "it ended")

    monkeypatch.setattr(clinic.server, "modules", gone)
    assert clinic.words("server", "modules").startswith("not looked at: server_unreachable: it ended")


@pytest.mark.parametrize("version", ["5.6.0", "5.8.4", "6.0.1", "6.1.4"])
def test_versions_that_are_supported(clinic: Clinic, version: str) -> None:
    clinic.server.answers["core.version"] = f"kamailio {version} (x86_64/linux)"
    assert clinic.words("server", "version") == f"good: Kamailio {version} -> "


def test_edge_whose_routing_is_python_parks_by_itself(clinic: Clinic) -> None:
    clinic.server.answers["core.ppdefines"] = "EDGE_UDP_MTU\n"
    (clinic.directory / "kamailio.cfg").write_text('cfgengine "python"\n')
    assert clinic.words("server", "parking").startswith("good: ")


@pytest.mark.parametrize(
    "line",
    [
        '# modparam("app_python3", "threads_mode", 1)',
        '/* modparam("app_python3", "threads_mode", 1)\n */',
        'modparam("app_python3", "threads_mode", 0)',
        'modparam("htable", "threads_mode", 1)',
    ],
)
def test_threads_mode_that_is_not_set_is_fine(clinic: Clinic, line: str) -> None:
    (clinic.directory / "kamailio.cfg").write_text(f"#!KAMAILIO\n{line}\n")
    assert clinic.words("server", "threads_mode").startswith("good: ")


def test_many_workers_are_said(clinic: Clinic) -> None:
    clinic.server.listed |= {1000 + number: "tcp receiver (generic)" for number in range(9 * len(os.sched_getaffinity(0)))}
    assert "children=" in clinic.words("server", "workers")


def test_server_of_another_host_has_no_processes_here(clinic: Clinic) -> None:
    del clinic.server.listed[os.getpid()]
    clinic.server.listed[1 << 22] = "RTIMER EXEC child=0 timer=stirshaken"
    assert clinic.words("server", "processes").startswith("not looked at: its processes are not of this host")


def test_what_it_said_before_the_last_reload_is_over(clinic: Clinic) -> None:
    clinic.server.answers["htable.dump stirshaken"] = "{\n\tname: certificate_none:17\n\tvalue: 1\n}\n"
    assert clinic.words("server", "what it said").startswith("good: nothing")


def test_what_it_said_of_one_provider_names_him(clinic: Clinic) -> None:
    site = clinic.site()
    entry = f"{{\n\tname: certificate_none::5678:{clinic.server.epoch}\n\tvalue: 1\n}}\n{{\n\tname: odd\n\tvalue: 2\n}}\n"
    clinic.server.answers["htable.dump stirshaken"] = entry
    assert site.signs
    assert "certificate_none (:5678): " in clinic.words("server", "what it said")


def test_edge_that_is_not_to_sign_may_say_so(clinic: Clinic) -> None:
    clinic.set("signing", public_cert_url="")
    clinic.site()
    clinic.server.answers["htable.dump stirshaken"] = f"{{\n\tname: certificate_none:{clinic.server.epoch}\n\tvalue: 1\n}}\n"
    assert clinic.words("server", "what it said").startswith("not looked at: certificate_none")


def test_variable_that_is_missing_is_named(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clinic.server, "rpc", lambda *_words: "kamailio 5.6.3\n")
    for name in ("what it said", "last reload"):
        assert clinic.words("server", name).startswith("not looked at: ")
    with pytest.raises(NotLookedAt, match="no shared variable"):
        _epoch(clinic.site())


def test_configuration_is_read_with_what_it_includes(tmp_path: Path) -> None:
    class Running(Kamailio):
        def rpc(self, *words: str) -> str:
            return {"core.arg": "kamailio\n-f\nmain.cfg\n", "core.pwd": f"{tmp_path}\n"}[words[0]]

    (tmp_path / "main.cfg").write_text('one\n  include_file "part/a.cfg"\n!!import_file "gone.cfg"\n# include_file "b.cfg"\n')
    (tmp_path / "part").mkdir()
    (tmp_path / "part/a.cfg").write_text('two\ninclude_file "../main.cfg"\n')
    (tmp_path / "b.cfg").write_text("three\n")
    text = text_of(Running())
    assert ("one" in text, "two" in text, "three" in text) == (True, True, False)
    (tmp_path / "main.cfg").unlink()
    with pytest.raises(NotLookedAt, match="cannot be read"):
        text_of(Running())
