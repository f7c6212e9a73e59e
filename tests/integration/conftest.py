"""A small network for each module, and the two ways to run an edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from kamailio_app.lab.edge import EXEC, KEMI, ROOT, Edge
from kamailio_app.lab.network import Network
from tests.integration.peer import Peer


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("network")) as lab:
        yield lab


@pytest.fixture(params=[EXEC, KEMI], ids=["exec", "kemi"])
def cfg(request: pytest.FixtureRequest) -> str:
    """Native routing that calls Python, and routing in Python."""
    value: str = request.param
    return value


def hasty(cfg: str, directory: Path) -> str:
    """The same routing; transactions that have ended are forgotten after half a second instead of five."""
    return amended(cfg, directory, 'modparam("tm", "wt_timer", 500)')


def amended(cfg: str, directory: Path, *lines: str) -> str:
    """The same routing, with more lines behind it."""
    path = directory / f"amended-{Path(cfg).name}"
    path.write_text("\n".join([f'include_file "{ROOT / "cfg" / cfg}"', *lines, ""]))
    return str(path)


class Site:
    """One edge between a phone on the inside and a carrier on the outside."""

    def __init__(self, network: Network, directory: Path, cfg: str, *, number: int = 30, **options: object) -> None:
        """Its addresses are those of the network from `number` on."""
        self.network = network
        self.phone, self.carrier = Peer(network.host(number + 1)), Peer(network.host(number + 2))
        self.spare = Peer(network.host(number + 3))
        settings = options.pop("settings", network.settings())
        self.edge: Edge = network.edge(
            directory.name,
            number,
            cfg,
            settings=settings,
            inside=[self.phone.uri, *([self.spare.uri] if options.pop("failover", False) else [])],
            carriers=options.pop("carriers", [self.carrier.uri]),
            **options,
        )
        self.target = (self.edge.host, self.edge.port)

    def __enter__(self) -> Self:
        try:
            self.edge.start()
        except RuntimeError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.edge.stop()
        for peer in (self.phone, self.carrier, self.spare):
            peer.close()

    def outbound(self, **fields: object) -> tuple[str, str]:
        """A call from the phone to the carrier, which refuses it: the Identity that the carrier saw, and the Call-ID."""
        call_id = self.phone.invite(self.target, **fields)  # type: ignore[arg-type]
        request = self.carrier.receive_request("INVITE")
        assert request.header("call-id") == call_id
        self.carrier.answer(request)
        assert self.phone.final().code == 486
        return request.header("identity"), call_id

    def words(self, call_id: str) -> dict[str, str]:
        """The call's line in the log."""
        return self.edge.calls().get(call_id, {})
