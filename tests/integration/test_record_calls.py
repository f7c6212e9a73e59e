"""Calls through the real Kamailio, both modes, are found in the record by what a traceback names; and after SIGKILL."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from kamailio_app.cli.main import main
from kamailio_app.lab.network import CALLED, CALLER, Network
from kamailio_app.passport.encoding import from_base64url
from kamailio_app.runtime.record_store import places
from tests.integration.conftest import Site
from tests.integration.fetching import Fetching
from tests.integration.line import SigningSite
from tests.integration.traffic import until

RECORD = {"record_calls": True, "record_dir": "calls"}


def recorded(site: Site) -> list[dict[str, Any]]:
    directory = site.edge.directory / "calls"
    if not directory.is_dir():
        return []
    text = b"".join(place.file(directory).read_bytes() for place in places(directory))
    return [json.loads(line) for line in text.decode().split("\n")[:-1]]


def has(site: Site, call_id: str) -> bool:
    return any(call["call_id"] == call_id for call in recorded(site))


def traced(site: Site, *words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["trace", "--settings", str(site.edge.settings_file), "--json", *words])
    assert result.exit_code in (0, 1), result.output
    calls: list[dict[str, Any]] = json.loads(result.stdout)["calls"]
    return calls


def claims(identity: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(from_base64url(identity.split(".")[1]))
    return found


def test_calls_are_found_by_what_a_traceback_names(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, settings=network.settings(record=RECORD)) as site:
        _, unsigned = site.outbound()
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        began = time.time()
        identity, signed = site.outbound()
        until(lambda: has(site, signed), "the call on disk", 2)

        said = claims(identity)
        (call,) = traced(site, "--origid", said["origid"])
        assert call["call_id"] == signed
        assert (call["orig"], call["dest"]) == (said["orig"]["tn"], said["dest"]["tn"][0]) == (CALLER[1:], CALLED[1:])
        assert (call["attest"], call["result"], call["token"]) == (said["attest"], "signed", "")
        assert call["spc"] == "1234"
        assert call["x5u"] == network.repository.url("sp1234.pem")
        assert call["fingerprint"].startswith(_fingerprint(site.edge.log()))
        assert began - 1 < _seconds(call["time"]) < time.time() + 1
        assert 0 < call["us"] < 1_000_000
        assert [each["call_id"] for each in traced(site, "--orig", CALLER)] == [unsigned, signed]
        assert [each["result"] for each in traced(site, "--dest", CALLED)] == ["unsigned", "signed"]
        (call,) = traced(site, "--call-id", unsigned)
        assert (call["token"], call["origid"], call["attest"]) == ("certificate_none", "", "")


def test_recording_begins_and_ends_with_a_reload(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, settings=network.settings()) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        site.outbound()
        site.edge.settings_file.write_text(network.settings(record={**RECORD, "record_mask": 4}))
        site.edge.reload()
        _, second = site.outbound()
        until(lambda: has(site, second), "the call on disk")
        site.edge.settings_file.write_text(network.settings())
        site.edge.reload()
        for _ in range(4):
            site.outbound()
        (call,) = recorded(site)
        assert (call["call_id"], call["orig"]) == (second, f"{CALLER[1:-4]}xxxx")


def test_killed_kamailio_and_killed_recorder_leave_a_whole_record(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg, settings=network.settings(record=RECORD)) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        made = []
        for _ in range(3):
            made += [site.outbound()[1] for _ in range(20)]
            fetching = Fetching(site)
            fetching.process.kill()
            made += [site.outbound()[1] for _ in range(20)]
            recorder = fetching.again()
        until(lambda: has(site, made[-1]), "the last call on disk")
        # The server alone: what it did until now is in memory, and its recorder brings it to disk
        made += [site.outbound()[1] for _ in range(20)]
        for pid in site.edge.pids():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not recorder.is_running() or recorder.status() == "zombie", "the recorder's end")
        counts = Counter(call["call_id"] for call in recorded(site))
        assert counts == dict.fromkeys(made, 1)
        # And the same directory is good for the next start
        site.edge.kill()
        site.edge.start()
        _, after = site.outbound()
        until(lambda: has(site, after), "a call on disk")
        assert traced(site, "--call-id", made[0])
        assert "cut a last line" not in site.edge.log()


def _fingerprint(log: str) -> str:
    found = re.search(r"fingerprint=([0-9a-f]{16})", log)
    assert found
    return found[1]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_call_that_is_rejected_is_one_call_however_often_it_is_sent(network: Network, tmp_path: Path, cfg: str) -> None:
    settings = network.settings(signing={"policy_file": "policy.toml"}, record=RECORD)
    with SigningSite(network, tmp_path, cfg, '[[rule]]\nname = "never"\nreject = "603 Decline"\n', settings=settings) as site:
        call_id = site.phone.invite(site.target, branch="again")
        first = site.phone.receive()
        for _ in range(3):
            site.phone.invite(site.target, branch="again", call_id=call_id)
            again = site.phone.receive()
            assert (again.start_line, again.header("to")) == (first.start_line, first.header("to"))
        assert first.start_line == "SIP/2.0 603 Decline"
        site.phone.invite(site.target, branch="again", call_id=call_id)
        assert site.phone.final().code == 603
        last = site.phone.invite(site.target)
        assert site.phone.final().header("call-id") == last
        until(lambda: has(site, last), "the call on disk", 2)
        assert [each["call_id"] for each in recorded(site)] == [call_id, last]
        assert site.edge.log().count(f"sign call-id={call_id} ") == 1
