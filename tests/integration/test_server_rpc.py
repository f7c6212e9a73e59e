"""`lifecycle.server` and a real Kamailio: what it answers to each question."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.errors import StirError
from kamailio_app.lab.network import Network
from kamailio_app.lifecycle.server import Kamailio
from kamailio_app.runtime.in_use import InUse
from tests.integration.conftest import Site


def test_running_kamailio_answers_all_questions(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        server = Kamailio(f"{site.edge.directory}/control")
        assert server.version().count(".") == 2
        assert {"app_python3", "htable", "tm", "ctl"} <= server.modules()
        assert {*site.edge.worker_pids()} <= server.processes().keys()
        assert 0 <= server.uptime() < 60
        assert server.transactions()["current"] == 0
        assert server.in_use() == InUse(0, {})
        network.provider.write(site.edge.directory / "certs", "sp1234")
        assert site.outbound()[0] == ""
        first, second = server.reload(), server.reload()
        assert first != second
        # No call has come since: the keeper looks
        found = server.take_over()
        assert found == server.in_use()
        assert found is not None
        assert [*found.pairs] == ["sp1234"]
        assert ";ppt=shaken" in site.outbound()[0]
        assert server.entry("stirshaken", "nothing of that name") == ""
        with pytest.raises(StirError, match="server_refused"):
            server.rpc("no.such.command")
    with pytest.raises(StirError, match="server_unreachable"):
        server.version()
