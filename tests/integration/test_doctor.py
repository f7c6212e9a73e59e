"""The doctor before a running edge of either kind; and repositories and time servers that say nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kamailio_app.doctor.checks import AREAS
from kamailio_app.doctor.examination import examine
from kamailio_app.doctor.finding import Finding, State
from kamailio_app.doctor.site import Site
from kamailio_app.lab.network import Network
from tests.integration.conftest import Site as EdgeSite
from tests.integration.conftest import amended


def settings(network: Network, **sections: dict[str, Any]) -> str:
    """As a provider has it: with his code, and with roots for his own web server."""
    own = {"provider": {"spc": "1234"}, "publication": {"publication_tls_ca_file": str(network.ca_file)}}
    return network.settings(**{**own, **sections})


@pytest.fixture
def edge(network: Network, tmp_path: Path, cfg: str) -> Iterator[EdgeSite]:
    workers = len(os.sched_getaffinity(0))
    with EdgeSite(network, tmp_path, cfg, settings=settings(network), workers=workers) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        _reload(site)
        assert site.outbound()[0]
        yield site


def _reload(site: EdgeSite) -> None:
    site.edge.rpc("pv.shvSet", "stirshaken", "int", str(int(time.time())))


def look(site: EdgeSite, *areas: str, **options: Any) -> list[Finding]:
    control = f"unix:{site.edge.directory}/control"
    return examine(Site(site.edge.settings_file, control=control, ntp="127.0.0.1:1", **options), areas)


def words(findings: list[Finding], check: str) -> str:
    return "\n".join(f"{each.state}: {each.seen}" for each in findings if each.check == check)


def test_running_edge_is_in_order(edge: EdgeSite) -> None:
    found = look(edge, "server", "pairs", "python", "self-call", "trust", fetch=True)
    assert [each for each in found if each.state is not State.GOOD] == []
    assert "program that fetches" in words(found, "processes")


def test_everything_else_is_at_most_what_a_laboratory_is(edge: EdgeSite) -> None:
    # What keeps this machine's clock is not the edge's to say
    found = look(edge, *(area for area in AREAS if area != "clock"))
    assert [each for each in found if each.state is State.BAD] == []
    assert {each.check for each in found if each.state is State.WARNING} == {"relaxed options", "x5u", "large requests"}
    assert "it goes by UDP" in words(found, "large requests")


def test_chain_that_came_after_the_last_reload_is_seen(edge: EdgeSite) -> None:
    assert words(look(edge, "server"), "last reload").startswith("good: reloaded ")
    ends, found = time.monotonic() + 10, ""
    while not found.startswith("warning: reloaded ") and time.monotonic() < ends:
        # In the second of the reload nobody can tell which came first
        (edge.edge.directory / "certs/late.pem").write_bytes(edge.network.provider.chain_pem)
        found = words(look(edge, "server"), "last reload")
    assert "changed since: late.pem" in found
    _reload(edge)
    assert words(look(edge, "server"), "last reload").startswith("good: reloaded ")


def test_reload_with_a_number_that_is_no_time_cannot_be_compared(edge: EdgeSite) -> None:
    edge.edge.rpc("pv.shvSet", "stirshaken", "int", "7")
    assert words(look(edge, "server"), "last reload").startswith("not looked at: ")


def test_edge_that_signs_nothing_says_why(network: Network, tmp_path: Path, cfg: str) -> None:
    with EdgeSite(network, tmp_path, cfg, settings=settings(network)) as site:
        site.outbound()
        found = look(site, "server", "pairs")
        assert words(found, "what it said").startswith("bad: certificate_none")
        assert words(found, "who signs now").startswith("bad: certificate_none")


def test_modules_and_processes_that_are_missing_are_seen(network: Network, tmp_path: Path) -> None:
    bare = tmp_path / "bare.cfg"
    bare.write_text(
        'loadmodule "sl.so"\nloadmodule "ctl.so"\nmodparam("ctl", "binrpc", EDGE_CONTROL)\nlisten=EDGE_LISTEN\nchildren=1\n'
        'request_route {\n\tsl_send_reply("200", "OK");\n}\n'
    )
    with EdgeSite(network, tmp_path / "edge", str(bare), settings=settings(network)) as site:
        found = look(site, "server")
        assert "app_python3" in words(found, "modules")
        assert words(found, "processes").startswith("bad: not there: keeper")
        assert words(found, "last reload").startswith("not looked at: ")


def test_threads_mode_is_found_in_what_the_running_server_was_started_with(network: Network, tmp_path: Path, cfg: str) -> None:
    with EdgeSite(network, tmp_path, amended(cfg, tmp_path), settings=settings(network)) as site:
        assert words(look(site, "server"), "threads_mode").startswith("good: ")
        # 5.6 does not know the parameter, so it is written behind its back
        path = tmp_path / f"amended-{cfg}"
        path.write_text(path.read_text() + 'modparam("app_python3", "threads_mode", 1)\n')
        assert words(look(site, "server"), "threads_mode").startswith("bad: ")


def test_silence_everywhere_holds_nobody_up(network: Network, tmp_path: Path) -> None:
    """Repository, STI-PA, NTP server and control socket take what they are told, and never answer."""
    directory = tmp_path / "silent"
    directory.mkdir()
    silent = f"https://localhost:{network.silent_port}"
    lists = {"trust_list_url": f"{silent}/list", "crl_url": f"{silent}/crl", "sti_pa_ca_file": str(network.ca_file)}
    signing = {"certificate_dir": "certs", "public_cert_url": f"{silent}/{{name}}.pem"}
    text = settings(network, signing=signing, trust=lists, x5u={"fetch_timeout": 1.0})
    (directory / "stirshaken.toml").write_text(text)
    network.provider.write(directory / "certs", "sp1234")
    with socket.socket(socket.AF_UNIX) as control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ntp:
        control.bind(str(directory / "control"))
        control.listen(50)
        ntp.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "kamailio_app.cli.main", "doctor", "--json", "--fetch"]
        command += ["--settings", str(directory / "stirshaken.toml"), "--control", f"unix:{directory}/control"]
        command += ["--ntp", f"127.0.0.1:{ntp.getsockname()[1]}"]
        began = time.monotonic()
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        took = time.monotonic() - began
    assert took < 35, took
    assert (ran.returncode, ran.stderr) == (1, "")
    found = [Finding(**each) for each in json.loads(ran.stdout)["findings"]]
    assert words(found, "sign and verify").startswith("good: ")
    assert words(found, "version").startswith("bad: no Kamailio answers")
    assert words(found, "NTP").startswith("not looked at: ")
    assert "x5u_timeout" in words(found, "as published")
    assert words(found, "lists now").count("trust_unreachable") == 2
    assert "bad: sp1234: connect: " in words(found, "x5u")
