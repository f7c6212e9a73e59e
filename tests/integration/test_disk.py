"""A disk that is full, read-only or full of rubbish: calls verify all the same (real Kamailio, both modes)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kamailio_app.lab.network import Network
from tests.integration.conftest import Site
from tests.integration.policy_administrator import PolicyAdministrator
from tests.integration.traffic import BUSY, BusyPhone, call, until

LOST = "certificates are not kept over a restart"


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting is not allowed here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Until nothing more can be written there."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def settings(network: Network, state_dir: Path, **sections: dict[str, object]) -> str:
    return network.settings(verification={"failure_action": "reject"}, cache={"state_dir": str(state_dir)}, **sections)


def fresh(network: Network, name: str) -> str:
    """An Identity header whose certificate nobody has fetched yet."""
    network.repository.chains[name] = network.provider.chain_pem
    return network.identity(x5u=network.repository.url(name))


def assert_calls_go_on(site: Site, place: Path, kind: str) -> None:
    """They are verified, and the log says once what is wrong."""
    for number in range(4):
        ended = call(site, fresh(site.network, f"{place.parent.name}-{kind}-{number}.pem"))
        assert ended.code == BUSY, (kind, ended.line)
    about = [line for line in site.edge.log().splitlines() if str(place / "certificates.sqlite") in line and LOST in line]
    assert len(about) == 1, kind
    assert site.edge.alive


def test_state_directory_that_cannot_be_written_costs_no_call(network: Network, tmp_path: Path, cfg: str) -> None:
    in_place = tmp_path / "file"
    in_place.write_text("not a directory")
    administrator = PolicyAdministrator(network, tmp_path.name)
    administrator.publish_list([network.hierarchy.root], 1)
    administrator.publish_crl([], 1)
    trust = administrator.by_url()
    with Site(network, tmp_path, cfg, settings=settings(network, in_place, trust=trust)) as site, BusyPhone(site.phone):
        assert_calls_go_on(site, in_place, "file")
        until(lambda: "crl taken over" in site.edge.log() and "trust_list taken over" in site.edge.log(), "both lists")
        for name in ("trust_list", "crl"):
            assert site.edge.log().count(f"{name} is in use and not on disk") == 1
        with mounted(tmp_path / "full", "size=64k") as full:
            fill(full / "rubbish")
            site.edge.settings_file.write_text(settings(network, full, trust=trust))
            site.edge.reload()
            assert_calls_go_on(site, full, "full")
        with mounted(tmp_path / "readonly", "size=64k,ro") as readonly:
            site.edge.settings_file.write_text(settings(network, readonly, trust=trust))
            site.edge.reload()
            assert_calls_go_on(site, readonly, "readonly")
        # And when that is over
        good = tmp_path / "good"
        site.edge.settings_file.write_text(settings(network, good, trust=trust))
        site.edge.reload()
        assert call(site, fresh(network, f"{tmp_path.name}-good.pem")).code == BUSY
        for name in ("certificates.sqlite", "trust_list", "crl"):
            until((good / name).exists, f"{name} on disk")


def test_rubbish_in_the_state_directory_is_replaced(network: Network, tmp_path: Path, cfg: str) -> None:
    place = tmp_path / "state"
    place.mkdir()
    rubbish = os.urandom(8192)
    (place / "certificates.sqlite").write_bytes(rubbish)
    administrator = PolicyAdministrator(network, tmp_path.name)
    administrator.publish_list([network.hierarchy.root], 1)
    administrator.publish_crl([], 1)
    (place / "trust_list").write_text('{"format": "stirshaken-trust-list-1", "certificates_pem": "-----BEG')
    (place / "crl").write_bytes(b"\xff\xfe\x00")
    text = settings(network, place, trust=administrator.by_url())
    with Site(network, tmp_path, cfg, settings=text) as site, BusyPhone(site.phone):
        assert_calls_go_on(site, place, "rubbish")
        until(lambda: "crl taken over" in site.edge.log() and "trust_list taken over" in site.edge.log(), "both lists")
        assert (place / "certificates.sqlite").read_bytes()[:15] == b"SQLite format 3"
        assert (place / "trust_list").read_text() != ""
        assert (place / "crl").read_text() != ""
