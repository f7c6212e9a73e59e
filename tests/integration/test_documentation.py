"""The blocks that a reader copies, executed: lines into a stock kamailio.cfg, and the reload command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from kamailio_app.lab.edge import ROOT
from kamailio_app.lab.network import Network
from tests.integration.conftest import Site
from tests.integration.peer import Peer

STOCK: Final = Path("/etc/kamailio/kamailio.cfg")
INSTALLED: Final = "/opt/kamailio-stirshaken"
_CODE: Final = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [code for found, code in _CODE.findall(text) if found == language]


def installed_here(block: str) -> str:
    assert INSTALLED in block
    return block.replace(INSTALLED, str(ROOT)).strip()


def stock_with(*, include: str, call: str, before: str, routes: str = "") -> str:
    """Debian's kamailio.cfg with the blocks where the documentation says; listens where the test wants it."""
    stock = STOCK.read_text("utf-8")
    for anchor in ("#!KAMAILIO\n", "\nrequest_route {\n", f"\n\t{before}\n"):
        assert anchor in stock
    stock = stock.replace("\nrequest_route {\n", f"\n{include}\n\nrequest_route {{\n", 1)
    stock = stock.replace(f"\n\t{before}\n", f"\n\t{call}\n\t{before}\n", 1)
    return stock.replace("#!KAMAILIO\n", "#!KAMAILIO\nlisten=EDGE_LISTEN\n", 1) + routes


def site_with(network: Network, directory: Path, cfg: str) -> Site:
    """The edge of the test runs that configuration; its control socket is the stock one, below the run directory."""
    file = directory / "stock.cfg"
    file.write_text(cfg.replace('loadmodule "ctl.so"', 'loadmodule "ctl.so"\nmodparam("ctl", "binrpc", EDGE_CONTROL)'))
    return Site(network, directory, str(file), workers=2)


def test_two_lines_make_a_stock_kamailio_sign_and_the_reload_command_works(network: Network, tmp_path: Path) -> None:
    readme = (ROOT / "cfg/README.md").read_text("utf-8")
    include, call = blocks(readme, "cfg")[:2]
    assert include.count("\n") == call.count("\n") == 1
    cfg = stock_with(include=installed_here(include), call=call.strip(), before="route(SIPOUT);")
    with site_with(network, tmp_path, cfg) as site:
        register(site, site.carrier)
        assert outbound(site) == ""
        network.provider.write(site.edge.directory / "certs", "sp1234")
        command = next(line for line in blocks(readme, "sh")[1].splitlines() if line.startswith("kamcmd "))
        words = command.replace("$(date +%s)", "1767225600").split()[1:]
        site.edge.rpc(*words)
        assert all(";ppt=shaken" in outbound(site) for _ in range(6))


def register(site: Site, peer: Peer) -> None:
    """The stock script sends calls to those who registered."""
    peer.invite(site.target, method="REGISTER", uri=f"sip:{site.edge.host}:{site.edge.port}")
    assert peer.final().code == 200


def outbound(site: Site) -> str:
    """A call through the stock script to who registered: the Identity that arrived there."""
    site.phone.invite(site.target)
    request = site.carrier.receive_request("INVITE")
    site.carrier.answer(request)
    assert site.phone.final().code == 486
    return request.header("identity")


@pytest.mark.parametrize("parked", [False, True], ids=["blocking", "parked"])
def test_verifying_blocks_of_the_documentation_verify(network: Network, tmp_path: Path, parked: bool) -> None:
    found = blocks((ROOT / "cfg/README.md").read_text("utf-8"), "cfg")
    calls = [block for block in found if "\troute(STIR_VERIFY)" in f"\t{block}"]
    if parked:
        include = next(block for block in found if "STIRSHAKEN_PARK" in block)
        routes = next(block for block in found if "route[STIR_CONTINUE]" in block)
        (tag,) = (block for block in found if block.startswith("route(STIR_TAG)"))
        cfg = stock_with(include=installed_here(include), call=calls[1], before="route(SIPOUT);", routes=routes)
        anchor = "\nbranch_route[MANAGE_BRANCH] {\n"
        assert cfg.count(anchor) == 1
        cfg = cfg.replace(anchor, f"{anchor}\t{tag}")
    else:
        cfg = stock_with(include=installed_here(found[0]), call=calls[0], before="route(SIPOUT);")
    with site_with(network, tmp_path, cfg) as site:
        register(site, site.phone)
        for _ in range(3):
            site.carrier.invite(site.target, extra=identity_line(network))
            request = site.phone.receive_request("INVITE")
            assert "verstat=TN-Validation-Passed" in request.header("from")
            site.phone.answer(request)
            assert site.carrier.final().code == 486
            with pytest.raises(TimeoutError):  # one call, one branch
                site.phone.receive_request("INVITE", timeout=0.3)


def identity_line(network: Network) -> str:
    return f"Identity: {network.identity()}\r\n"
